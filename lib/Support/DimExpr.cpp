//===- DimExpr.cpp - normal form of symbolic dimensions ---------------------------------------------------------------===//
//
// Every operation returns a uniqued node in normal form: terms sorted by their factors, factors by the order in which
// their atoms were made. A coefficient that does not fit in 64 bits stays a sum or a product of ones that do (equal only
// to one made in the same way), so that whoever evaluates it, with checked arithmetic, finds the overflow.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Support/DimExpr.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/MathExtras.h"
#include <limits>
#include <map>
#include <vector>

using namespace flame;
using namespace flame::detail;

namespace {
using Key = std::vector<int64_t>;
bool factorsLess(const DimTerm &a, const DimTerm &b) {
  return std::lexicographical_compare(a.factors.begin(), a.factors.end(), b.factors.begin(), b.factors.end(),
                                      [](const DimAtom *x, const DimAtom *y) { return x->id < y->id; });
}
} // namespace

struct DimContext::Impl {
  std::map<Key, std::unique_ptr<DimNode>> nodes;
  std::map<std::tuple<AtomKind, const DimNode *, const DimNode *>, const DimAtom *> opaque;
  std::vector<std::unique_ptr<DimAtom>> atoms;
  std::vector<DimAtom *> symbols;
};

DimContext::DimContext() : impl(std::make_unique<Impl>()) {}
DimContext::~DimContext() = default;

static DimExpr unique(DimContext *context, llvm::SmallVector<DimTerm, 2> terms) {
  llvm::sort(terms, [](const DimTerm &a, const DimTerm &b) {
    if (a.factors == b.factors) // of numbers that don't fit together the order counts
      return a.coefficient < b.coefficient;
    return factorsLess(a, b);
  });
  llvm::SmallVector<DimTerm, 2> merged;
  for (DimTerm &term : terms) {
    bool alike = !merged.empty() && merged.back().factors == term.factors;
    if (int64_t sum; alike && !llvm::AddOverflow(merged.back().coefficient, term.coefficient, sum))
      merged.back().coefficient = sum;
    else
      merged.push_back(std::move(term));
  }
  llvm::erase_if(merged, [](const DimTerm &t) { return t.coefficient == 0; });
  Key key;
  for (const DimTerm &term : merged) {
    key.push_back(term.coefficient);
    key.push_back(term.factors.size());
    for (const DimAtom *atom : term.factors)
      key.push_back(atom->id);
  }
  std::unique_ptr<DimNode> &node = context->impl->nodes[key];
  if (!node)
    node = std::make_unique<DimNode>(DimNode{context, std::move(merged)});
  return DimExpr(node.get());
}

static DimExpr atomExpr(DimContext *context, const DimAtom *atom) {
  DimTerm term{1, {atom}};
  return unique(context, {term});
}

static DimExpr opaque(AtomKind kind, DimExpr a, DimExpr b, bool nonNegative) {
  DimContext *context = a.node->context;
  const DimAtom *&slot = context->impl->opaque[{kind, a.node, b.node}];
  if (!slot) {
    unsigned id = context->impl->atoms.size();
    context->impl->atoms.push_back(std::make_unique<DimAtom>(DimAtom{kind, id, 0, nonNegative, a, b, {}}));
    slot = context->impl->atoms.back().get();
  }
  return atomExpr(context, slot);
}

/// A factor for a number that the coefficient has no room for.
static const DimAtom *constantAtom(DimContext *context, int64_t value) {
  DimExpr number = context->constant(value);
  return opaque(AtomKind::Constant, number, number, value >= 0).node->terms[0].factors[0];
}

DimExpr DimContext::constant(int64_t value) {
  DimTerm term{value, {}};
  return unique(this, {term});
}

DimExpr DimContext::symbol(llvm::StringRef name, bool nonNegative) {
  unsigned id = impl->atoms.size(), symbol = impl->symbols.size();
  impl->atoms.push_back(
      std::make_unique<DimAtom>(DimAtom{AtomKind::Symbol, id, symbol, nonNegative, {}, {}, name.str()}));
  impl->symbols.push_back(impl->atoms.back().get());
  return atomExpr(this, impl->atoms.back().get());
}

unsigned DimContext::numSymbols() const { return impl->symbols.size(); }
llvm::StringRef DimContext::symbolName(unsigned symbol) const { return impl->symbols[symbol]->name; }
int64_t DimContext::typical(unsigned symbol) const { return impl->symbols[symbol]->typical; }
void DimContext::setTypical(unsigned symbol, int64_t size) { impl->symbols[symbol]->typical = size; }

std::optional<int64_t> DimExpr::constant() const {
  if (node->terms.empty())
    return 0;
  if (node->terms.size() == 1 && node->terms[0].factors.empty())
    return node->terms[0].coefficient;
  return std::nullopt;
}

std::optional<unsigned> DimExpr::symbol() const {
  if (node->terms.size() != 1)
    return std::nullopt;
  const DimTerm &term = node->terms[0];
  if (term.coefficient != 1 || term.factors.size() != 1 || term.factors[0]->kind != AtomKind::Symbol)
    return std::nullopt;
  return term.factors[0]->symbol;
}

bool DimExpr::hasSymbols() const {
  return llvm::any_of(node->terms, [](const DimTerm &term) {
    return llvm::any_of(term.factors, [](const DimAtom *atom) {
      return atom->kind == AtomKind::Symbol || atom->a.hasSymbols() || atom->b.hasSymbols();
    });
  });
}

bool DimExpr::isNonNegative() const {
  return llvm::all_of(node->terms, [](const DimTerm &term) {
    return term.coefficient >= 0 && llvm::all_of(term.factors, [](const DimAtom *a) { return a->nonNegative; });
  });
}

DimExpr flame::operator+(DimExpr a, DimExpr b) {
  llvm::SmallVector<DimTerm, 2> terms(a.node->terms);
  terms.append(b.node->terms.begin(), b.node->terms.end());
  return unique(a.node->context, std::move(terms));
}

DimExpr flame::operator*(DimExpr a, DimExpr b) {
  llvm::SmallVector<DimTerm, 2> terms;
  for (const DimTerm &x : a.node->terms)
    for (const DimTerm &y : b.node->terms) {
      DimTerm term{0, x.factors};
      term.factors.append(y.factors.begin(), y.factors.end());
      if (llvm::MulOverflow(x.coefficient, y.coefficient, term.coefficient)) {
        term.coefficient = x.coefficient;
        term.factors.push_back(constantAtom(a.node->context, y.coefficient));
      }
      llvm::sort(term.factors, [](const DimAtom *p, const DimAtom *q) { return p->id < q->id; });
      terms.push_back(std::move(term));
    }
  return unique(a.node->context, std::move(terms));
}

DimExpr flame::operator-(DimExpr a, DimExpr b) { return a == b ? a.node->context->constant(0) : a + b * -1; }
DimExpr flame::operator+(DimExpr a, int64_t b) { return a + a.node->context->constant(b); }
DimExpr flame::operator-(DimExpr a, int64_t b) { return a - a.node->context->constant(b); }
DimExpr flame::operator*(DimExpr a, int64_t b) { return a * a.node->context->constant(b); }

/// True of the one quotient that has no place in 64 bits.
static bool divisionOverflows(int64_t a, int64_t b) { return a == std::numeric_limits<int64_t>::min() && b == -1; }

static int64_t floorDivide(int64_t a, int64_t b) {
  int64_t q = a / b;
  return (a % b != 0 && (a < 0) != (b < 0)) ? q - 1 : q;
}

/// term / divisor, if exact.
static std::optional<DimTerm> divideExactly(const DimTerm &term, const DimTerm &divisor) {
  if (divisor.coefficient == 0 || divisionOverflows(term.coefficient, divisor.coefficient) ||
      term.coefficient % divisor.coefficient != 0)
    return std::nullopt;
  DimTerm result{term.coefficient / divisor.coefficient, term.factors};
  for (const DimAtom *factor : divisor.factors) {
    auto it = llvm::find(result.factors, factor);
    if (it == result.factors.end())
      return std::nullopt;
    result.factors.erase(it);
  }
  return result;
}

DimExpr flame::floorDiv(DimExpr a, DimExpr b) {
  DimContext *context = a.node->context;
  auto ca = a.constant(), cb = b.constant();
  if (cb == 1)
    return a;
  if (ca && cb && *cb != 0 && !divisionOverflows(*ca, *cb))
    return context->constant(floorDivide(*ca, *cb));
  if (ca == 0)
    return a;
  // x*b + r over b is x + r over b, whatever the signs: take out what divides exactly.
  if (b.node->terms.size() == 1) {
    llvm::SmallVector<DimTerm, 2> whole, rest;
    for (const DimTerm &term : a.node->terms) {
      if (auto quotient = divideExactly(term, b.node->terms[0]))
        whole.push_back(*quotient);
      else
        rest.push_back(term);
    }
    if (rest.empty())
      return unique(context, std::move(whole));
    if (!whole.empty())
      return unique(context, std::move(whole)) + floorDiv(unique(context, std::move(rest)), b);
  }
  if (a == b)
    return context->constant(1);
  // (x / c) / d is x / (c*d) for positive constants.
  if (cb && *cb > 0 && a.node->terms.size() == 1 && a.node->terms[0].coefficient == 1 &&
      a.node->terms[0].factors.size() == 1) {
    const DimAtom *atom = a.node->terms[0].factors[0];
    if (atom->kind == AtomKind::FloorDiv && atom->b.constant() && *atom->b.constant() > 0)
      return floorDiv(atom->a, atom->b * b);
  }
  return opaque(AtomKind::FloorDiv, a, b, a.isNonNegative() && b.isNonNegative());
}

DimExpr flame::ceilDiv(DimExpr a, DimExpr b) { return floorDiv(a + b - 1, b); }

DimExpr flame::mod(DimExpr a, DimExpr b) {
  DimContext *context = a.node->context;
  auto ca = a.constant(), cb = b.constant();
  if (ca && cb && *cb != 0)
    return context->constant(divisionOverflows(*ca, *cb) ? 0 : *ca - floorDivide(*ca, *cb) * *cb);
  if (b.node->terms.size() == 1) {
    llvm::SmallVector<DimTerm, 2> rest;
    for (const DimTerm &term : a.node->terms)
      if (!divideExactly(term, b.node->terms[0]))
        rest.push_back(term);
    if (rest.empty())
      return context->constant(0);
    if (rest.size() != a.node->terms.size())
      return mod(unique(context, std::move(rest)), b);
  }
  if (a == b)
    return context->constant(0);
  return opaque(AtomKind::Mod, a, b, b.isNonNegative());
}

static DimExpr extremum(AtomKind kind, DimExpr a, DimExpr b) {
  bool isMax = kind == AtomKind::Max;
  if (a == b)
    return a;
  if (auto ca = a.constant(), cb = b.constant(); ca && cb)
    return a.node->context->constant(isMax ? std::max(*ca, *cb) : std::min(*ca, *cb));
  if ((a - b).isNonNegative())
    return isMax ? a : b;
  if ((b - a).isNonNegative())
    return isMax ? b : a;
  // Operands in an order that does not depend on addresses, so that builds are reproducible.
  if (b.str() < a.str())
    std::swap(a, b);
  bool nonNegative =
      isMax ? a.isNonNegative() || b.isNonNegative() : a.isNonNegative() && b.isNonNegative();
  return opaque(kind, a, b, nonNegative);
}

DimExpr flame::min(DimExpr a, DimExpr b) { return extremum(AtomKind::Min, a, b); }
DimExpr flame::max(DimExpr a, DimExpr b) { return extremum(AtomKind::Max, a, b); }

static std::string atomString(const DimAtom *atom) {
  auto call = [&](const char *name) { return std::string(name) + "(" + atom->a.str() + ", " + atom->b.str() + ")"; };
  switch (atom->kind) {
  case AtomKind::Symbol:
    return atom->name;
  case AtomKind::Constant:
    return atom->a.str();
  case AtomKind::FloorDiv:
    return call("floordiv");
  case AtomKind::Mod:
    return call("mod");
  case AtomKind::Min:
    return call("min");
  case AtomKind::Max:
    return call("max");
  }
  return {};
}

std::string DimExpr::str() const {
  if (auto c = constant())
    return std::to_string(*c);
  std::string text;
  for (const DimTerm &term : node->terms) {
    std::string number = std::to_string(term.coefficient);
    if (!text.empty()) {
      text += term.coefficient < 0 ? " - " : " + ";
      number.erase(0, term.coefficient < 0);
    }
    std::string product;
    if (number != "1" || term.factors.empty())
      product = number;
    for (const DimAtom *atom : term.factors)
      product += (product.empty() ? "" : "*") + atomString(atom);
    text += product;
  }
  return text;
}
