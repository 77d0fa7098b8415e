//===- DimExprTest.cpp - symbolic dimensions at the ends of 64 bits ---------------------------------------------------===//
//
// What has a value in 64 bits gets it, whatever the order; what has none is no constant, and says so when evaluated.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Support/DimExpr.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "gtest/gtest.h"
#include <limits>
#include <random>

using namespace flame;
using Number = std::optional<int64_t>;

namespace {
constexpr int64_t Least = std::numeric_limits<int64_t>::min(), Most = std::numeric_limits<int64_t>::max();

/// Evaluates as a runtime does: with checked arithmetic; nothing if a step has no value.
struct Evaluator : DimVisitor<Number> {
  int64_t value;
  explicit Evaluator(int64_t value) : value(value) {}
  Number constant(int64_t number) override { return number; }
  Number symbol(unsigned) override { return value; }
  Number add(Number a, Number b) override { return a && b ? llvm::checkedAdd(*a, *b) : Number(); }
  Number mul(Number a, Number b) override { return a && b ? llvm::checkedMul(*a, *b) : Number(); }
  Number floorDiv(Number a, Number b) override { return divided(a, b, /*remainder=*/false); }
  Number mod(Number a, Number b) override { return divided(a, b, /*remainder=*/true); }
  Number min(Number a, Number b) override { return a && b ? std::min(*a, *b) : Number(); }
  Number max(Number a, Number b) override { return a && b ? std::max(*a, *b) : Number(); }

  static Number divided(Number a, Number b, bool remainder) {
    if (!a || !b || *b == 0)
      return {};
    __int128 quotient = __int128(*a) / *b, rest = __int128(*a) % *b;
    if (rest != 0 && (rest < 0) != (*b < 0)) {
      --quotient;
      rest += *b;
    }
    __int128 result = remainder ? rest : quotient;
    return result > Most ? Number() : Number(int64_t(result));
  }
};
} // namespace

TEST(DimExpr, OverflowIsNoNumber) {
  DimContext context;
  DimExpr big = context.constant(Most), two = context.constant(2);
  for (DimExpr e : {big * two, big + two, context.constant(Least) - 1, context.constant(Least) * -1,
                    floorDiv(context.constant(Least), context.constant(-1)), big + big + big, (big * big) * big}) {
    EXPECT_FALSE(e.constant()) << e.str();
    EXPECT_FALSE(e.hasSymbols()) << e.str();
    EXPECT_EQ(Evaluator(0).visit(e), std::nullopt) << e.str();
  }
  EXPECT_TRUE((big * two).isNonNegative());
  EXPECT_EQ(big * two, big * two);
  EXPECT_NE(big * two, big * context.constant(4));
}

TEST(DimExpr, OverflowIsKept) {
  DimContext context;
  DimExpr n = context.symbol("n"), e = n * Most + n * 2 + 5;
  EXPECT_TRUE(e.hasSymbols());
  EXPECT_EQ(Evaluator(0).visit(e), 5);
  EXPECT_EQ(Evaluator(1).visit(e), std::nullopt);
  EXPECT_EQ(Evaluator(0).visit(n * Most * 3 + 7), 7);
}

TEST(DimExpr, ExtremesCompare) {
  DimContext context;
  DimExpr least = context.constant(Least), most = context.constant(Most);
  EXPECT_EQ(max(least, context.constant(5)).constant(), 5);
  EXPECT_EQ(min(least, context.constant(5)).constant(), Least);
  EXPECT_EQ(max(most, context.constant(-5)).constant(), Most);
  EXPECT_EQ(mod(least, context.constant(-1)).constant(), 0);
}

/// Random expressions of numbers of all sizes against the same steps in checked arithmetic.
TEST(DimExpr, RandomExpressions) {
  std::mt19937_64 random(7);
  auto number = [&] {
    switch (random() % 5) {
    case 0:
      return Least + int64_t(random() % 3);
    case 1:
      return Most - int64_t(random() % 3);
    case 2:
      return int64_t(random());
    default:
      return int64_t(random() % 9) - 4;
    }
  };
  int known = 0, unknown = 0;
  for (int trial = 0; trial < 20000; ++trial) {
    DimContext context;
    DimExpr n = context.symbol("n", /*nonNegative=*/false), e = n;
    Evaluator evaluator(number());
    Number value = evaluator.value;
    for (int step = 0; step < 4; ++step) {
      int64_t c = number();
      DimExpr constant = random() % 4 ? context.constant(c) : n;
      Number other = constant == n ? Number(evaluator.value) : Number(c);
      switch (random() % 6) {
      case 0:
        e = e + constant, value = evaluator.add(value, other);
        break;
      case 1:
        e = e * constant, value = evaluator.mul(value, other);
        break;
      case 2:
        e = floorDiv(e, constant), value = evaluator.floorDiv(value, other);
        break;
      case 3:
        e = mod(e, constant), value = evaluator.mod(value, other);
        break;
      case 4:
        e = min(e, constant), value = evaluator.min(value, other);
        break;
      default:
        e = max(e, constant), value = evaluator.max(value, other);
      }
    }
    Number got = evaluator.visit(e);
    if (value && got)
      EXPECT_EQ(*value, *got) << e.str() << " for n = " << evaluator.value;
    known += value && got;
    unknown += !value;
    EXPECT_FALSE(e.str().empty());
  }
  EXPECT_GT(known, 2000);
  EXPECT_GT(unknown, 2000);
}
