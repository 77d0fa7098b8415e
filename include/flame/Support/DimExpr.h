//===- DimExpr.h - symbolic integer expressions of dimensions ---------------------------------------------------------===//
//
// A DimExpr is an integer polynomial over atoms; an atom is a symbol (a dimension of an input, a number read from data)
// or an opaque floordiv / mod / min / max of two expressions. Expressions are kept in a normal form and uniqued, so that
// two expressions are provably equal exactly when they compare equal: "two dims are equal because the model says so".
// A number that does not fit in 64 bits is no constant: it stays the sum or product that makes it, and fails when evaluated.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_SUPPORT_DIMEXPR_H
#define FLAME_SUPPORT_DIMEXPR_H

#include "llvm/ADT/DenseMapInfo.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace flame {

class DimContext;

namespace detail {
struct DimNode;
struct DimAtom;
} // namespace detail

/// An expression. Cheap to copy; valid as long as the DimContext that made it. A default-constructed one is null.
class DimExpr {
public:
  DimExpr() = default;
  explicit DimExpr(const detail::DimNode *node) : node(node) {}
  explicit operator bool() const { return node != nullptr; }
  bool operator==(DimExpr other) const { return node == other.node; }
  bool operator!=(DimExpr other) const { return node != other.node; }

  /// The value, if the expression is a constant.
  std::optional<int64_t> constant() const;
  bool isConstant(int64_t value) const { return constant() == value; }
  /// The symbol's number, if the expression is a lone symbol.
  std::optional<unsigned> symbol() const;
  /// False if a number, or arithmetic of numbers that has no result in 64 bits (an overflow, a division by zero).
  bool hasSymbols() const;
  /// True only if no assignment of the symbols makes it negative (dimension symbols are never negative).
  bool isNonNegative() const;
  std::string str() const;

  const detail::DimNode *node = nullptr;
};

DimExpr operator+(DimExpr a, DimExpr b);
DimExpr operator-(DimExpr a, DimExpr b);
DimExpr operator*(DimExpr a, DimExpr b);
DimExpr operator+(DimExpr a, int64_t b);
DimExpr operator-(DimExpr a, int64_t b);
DimExpr operator*(DimExpr a, int64_t b);
/// Division and remainder round toward negative infinity.
DimExpr floorDiv(DimExpr a, DimExpr b);
DimExpr ceilDiv(DimExpr a, DimExpr b);
DimExpr mod(DimExpr a, DimExpr b);
DimExpr min(DimExpr a, DimExpr b);
DimExpr max(DimExpr a, DimExpr b);

/// Owns and uniques expressions. Not thread-safe.
class DimContext {
public:
  DimContext();
  ~DimContext();
  DimContext(const DimContext &) = delete;

  DimExpr constant(int64_t value);
  /// A new symbol. `nonNegative` is true for dimensions, false for numbers read from data.
  DimExpr symbol(llvm::StringRef name, bool nonNegative = true);
  unsigned numSymbols() const;
  llvm::StringRef symbolName(unsigned symbol) const;
  /// The size to tune for where a choice depends on it. Any other must work too.
  int64_t typical(unsigned symbol) const;
  void setTypical(unsigned symbol, int64_t size);

  struct Impl;
  std::unique_ptr<Impl> impl;
};

/// Rebuilds an expression bottom-up into another representation (a plan's shape program, SSA values). `T` is what a
/// subexpression becomes.
template <typename T> struct DimVisitor {
  virtual ~DimVisitor() = default;
  virtual T constant(int64_t value) = 0;
  virtual T symbol(unsigned symbol) = 0;
  virtual T add(T a, T b) = 0;
  virtual T mul(T a, T b) = 0;
  virtual T floorDiv(T a, T b) = 0;
  virtual T mod(T a, T b) = 0;
  virtual T min(T a, T b) = 0;
  virtual T max(T a, T b) = 0;
  T visit(DimExpr expr);
};

namespace detail {
enum class AtomKind : uint8_t { Symbol, Constant, FloorDiv, Mod, Min, Max };
struct DimAtom {
  AtomKind kind;
  unsigned id;     // position in creation order; the sort key of factors
  unsigned symbol; // for Symbol
  bool nonNegative;
  DimExpr a, b; // for Constant: the number, twice
  std::string name;
  int64_t typical = 512; // for Symbol: a size that nobody has told is neither tiny nor huge
};
struct DimTerm {
  int64_t coefficient;
  llvm::SmallVector<const DimAtom *, 2> factors; // sorted by id, repeated for powers
};
struct DimNode {
  DimContext *context;
  llvm::SmallVector<DimTerm, 2> terms; // sorted by factors; no zero coefficient; empty means 0
};
} // namespace detail

template <typename T> T DimVisitor<T>::visit(DimExpr expr) {
  if (auto c = expr.constant())
    return constant(*c);
  T sum{};
  bool first = true;
  for (const detail::DimTerm &term : expr.node->terms) {
    T product{};
    bool empty = true;
    if (term.coefficient != 1 || term.factors.empty()) {
      product = constant(term.coefficient);
      empty = false;
    }
    for (const detail::DimAtom *atom : term.factors) {
      T factor{};
      switch (atom->kind) {
      case detail::AtomKind::Symbol:
        factor = symbol(atom->symbol);
        break;
      case detail::AtomKind::Constant:
        factor = visit(atom->a);
        break;
      case detail::AtomKind::FloorDiv:
        factor = floorDiv(visit(atom->a), visit(atom->b));
        break;
      case detail::AtomKind::Mod:
        factor = mod(visit(atom->a), visit(atom->b));
        break;
      case detail::AtomKind::Min:
        factor = min(visit(atom->a), visit(atom->b));
        break;
      case detail::AtomKind::Max:
        factor = max(visit(atom->a), visit(atom->b));
        break;
      }
      product = empty ? factor : mul(product, factor);
      empty = false;
    }
    sum = first ? product : add(sum, product);
    first = false;
  }
  return sum;
}

} // namespace flame

namespace llvm {
template <> struct DenseMapInfo<flame::DimExpr> {
  using Node = DenseMapInfo<const flame::detail::DimNode *>;
  static flame::DimExpr getEmptyKey() { return flame::DimExpr(Node::getEmptyKey()); }
  static flame::DimExpr getTombstoneKey() { return flame::DimExpr(Node::getTombstoneKey()); }
  static unsigned getHashValue(flame::DimExpr e) { return Node::getHashValue(e.node); }
  static bool isEqual(flame::DimExpr a, flame::DimExpr b) { return a == b; }
};
} // namespace llvm

#endif // FLAME_SUPPORT_DIMEXPR_H
