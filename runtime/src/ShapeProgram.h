//===- ShapeProgram.h - evaluation of the plan's integer expressions ------===//
//
// Values of the symbols of one session, and the expressions over them, each computed at most once per change of a
// symbol. All arithmetic is checked. Expressions are evaluated without recursion: chains may be long.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_SHAPEPROGRAM_H
#define FLAME_RUNTIME_SHAPEPROGRAM_H

#include "Plan.h"

#include <optional>

namespace flame::rt {

class ShapeProgram {
public:
  explicit ShapeProgram(const Plan &plan);

  /// Forgets all symbols; values computed from them stay valid for the next run that sets the same numbers.
  void reset();
  void set(int32_t symbol, int64_t value);
  bool isDefined(int32_t symbol) const { return defined[symbol]; }
  int64_t symbol(int32_t symbol) const { return symbols[symbol]; }
  /// All symbols; those that are not defined have the value of an earlier run, or 0.
  const std::vector<int64_t> &symbolValues() const { return symbols; }

  /// Throws Error(FLAME_INVALID_ARGUMENT) on overflow or division by zero, FLAME_INTERNAL on an undefined symbol.
  int64_t eval(int32_t expr) {
    if (memoEpoch[expr] >= epoch)
      return memo[expr];
    return evalSlow(expr);
  }
  /// As eval, but nullopt where a symbol is not defined (yet).
  std::optional<int64_t> tryEval(int32_t expr);

  /// Changes whenever any symbol gets another value.
  uint64_t currentEpoch() const { return epoch; }

private:
  enum class Outcome { Done, Undefined };
  int64_t evalSlow(int32_t expr);
  Outcome compute(int32_t expr, int32_t *undefinedSymbol);

  const Plan &plan;
  std::vector<int64_t> symbols, memo;
  std::vector<uint8_t> defined;
  std::vector<uint64_t> memoEpoch;
  std::vector<int32_t> stack;
  uint64_t epoch = 1;
};

} // namespace flame::rt

#endif
