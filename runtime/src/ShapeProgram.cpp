//===- ShapeProgram.cpp - see ShapeProgram.h ------------------------------===//

#include "ShapeProgram.h"

#include <algorithm>

namespace flame::rt {

namespace {

constexpr uint64_t kConstantEpoch = UINT64_MAX;

int64_t floorDiv(int64_t a, int64_t b) { return a / b - (a % b != 0 && (a < 0) != (b < 0)); }

int64_t apply(ExprOp op, int64_t a, int64_t b) {
  int64_t out = 0;
  bool overflow = false;
  switch (op) {
  case ExprOp::Add:
    overflow = __builtin_add_overflow(a, b, &out);
    break;
  case ExprOp::Mul:
    overflow = __builtin_mul_overflow(a, b, &out);
    break;
  case ExprOp::FloorDiv:
  case ExprOp::Mod:
    if (b == 0)
      fail(FLAME_BAD_DATA, "division by zero in a shape computation (", a, " / 0)");
    if (a == INT64_MIN && b == -1) {
      overflow = op == ExprOp::FloorDiv;
      break;
    }
    out = op == ExprOp::FloorDiv ? floorDiv(a, b) : a - floorDiv(a, b) * b;
    break;
  case ExprOp::Min:
    return std::min(a, b);
  case ExprOp::Max:
    return std::max(a, b);
  case ExprOp::Const:
  case ExprOp::Symbol:
    break;
  }
  if (overflow)
    fail(FLAME_BAD_DATA, "a shape computation overflows 64 bits (", a, op == ExprOp::Add ? " + " : " * ", b, ")");
  return out;
}

} // namespace

ShapeProgram::ShapeProgram(const Plan &plan)
    : plan(plan), symbols(plan.symbols.size()), memo(plan.exprs.size()), defined(plan.symbols.size()),
      memoEpoch(plan.exprs.size()) {
  for (size_t i = 0; i < plan.exprs.size(); ++i) {
    if (plan.exprs[i].op == ExprOp::Const) {
      memo[i] = plan.exprs[i].imm;
      memoEpoch[i] = kConstantEpoch;
    }
  }
}

void ShapeProgram::reset() { std::fill(defined.begin(), defined.end(), 0); }

void ShapeProgram::set(int32_t symbol, int64_t value) {
  if (symbols[symbol] != value || !defined[symbol]) {
    // A symbol that is set again to the value it had in the last run invalidates nothing.
    if (symbols[symbol] != value)
      ++epoch;
    symbols[symbol] = value;
    defined[symbol] = 1;
  }
}

ShapeProgram::Outcome ShapeProgram::compute(int32_t expr, int32_t *undefinedSymbol) {
  stack.clear();
  stack.push_back(expr);
  while (!stack.empty()) {
    const int32_t top = stack.back();
    const Expr &e = plan.exprs[top];
    if (e.op == ExprOp::Symbol) {
      if (!defined[e.a]) {
        *undefinedSymbol = e.a;
        return Outcome::Undefined;
      }
      memo[top] = symbols[e.a];
    } else {
      bool ready = true;
      for (int32_t operand : {e.a, e.b}) {
        if (memoEpoch[operand] < epoch) {
          stack.push_back(operand);
          ready = false;
        }
      }
      if (!ready)
        continue;
      memo[top] = apply(e.op, memo[e.a], memo[e.b]);
    }
    memoEpoch[top] = epoch;
    stack.pop_back();
  }
  return Outcome::Done;
}

int64_t ShapeProgram::evalSlow(int32_t expr) {
  int32_t symbol = -1;
  if (compute(expr, &symbol) == Outcome::Undefined)
    fail(FLAME_INTERNAL, "the plan uses the symbol '", plan.symbols[symbol], "' before it is defined");
  return memo[expr];
}

std::optional<int64_t> ShapeProgram::tryEval(int32_t expr) {
  int32_t symbol = -1;
  if (memoEpoch[expr] < epoch && compute(expr, &symbol) == Outcome::Undefined)
    return std::nullopt;
  return memo[expr];
}

} // namespace flame::rt
