//===- ShareReciprocals.cpp - one division for many quotients ---------------------------------------------------------===//
//
// A row that is divided by its scale and rounded to a float of 16 bits or less, as quantisation does, needs no division of f32
// for each element: with r = 1 / y, rounded, x · r is off by 1½ units in the last place of f32, which the narrow float
// shows where it is a tie to within 2⁻²³. Exact are powers of two, as scales often are.
//
// So that r neither overflows nor loses bits where y is tiny or huge, x and y are scaled by the same power of two; infinity, zero
// and NaN give what the division gives.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "KernelBuilder.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace flame;
using arith::CmpFPredicate;

/// True if nothing but roundings to 16 bits or less read the quotient.
static bool isOnlyRounded(arith::DivFOp quotient) {
  return quotient.getType().isF32() && !quotient->use_empty() && llvm::all_of(quotient->getUsers(), [](Operation *user) {
           auto rounded = dyn_cast<arith::TruncFOp>(user);
           return rounded && rounded.getType().getIntOrFloatBitWidth() <= 16;
         });
}

void flame::cuda::shareReciprocals(func::FuncOp function) {
  constexpr size_t worthwhile = 4;
  llvm::MapVector<Value, SmallVector<arith::DivFOp>> byDivisor;
  function.walk([&](arith::DivFOp quotient) {
    if (isOnlyRounded(quotient))
      byDivisor[quotient.getRhs()].push_back(quotient);
  });
  for (auto &[divisor, quotients] : byDivisor) {
    if (quotients.size() < worthwhile)
      continue;
    OpBuilder b(function.getContext());
    b.setInsertionPointAfterValue(divisor);
    Location loc = quotients.front().getLoc();
    auto number = [&](double value) -> Value {
      return arith::ConstantOp::create(b, loc, b.getF32FloatAttr(static_cast<float>(value)));
    };
    const double tiny = 0x1p-64, huge = 0x1p64;
    Value magnitude = math::AbsFOp::create(b, loc, divisor);
    Value isTiny = arith::CmpFOp::create(b, loc, CmpFPredicate::OLT, magnitude, number(tiny));
    Value isHuge = arith::CmpFOp::create(b, loc, CmpFPredicate::OGT, magnitude, number(huge));
    Value down = arith::SelectOp::create(b, loc, isHuge, number(tiny), number(1));
    Value scale = arith::SelectOp::create(b, loc, isTiny, number(huge), down);
    Value reciprocal = arith::DivFOp::create(b, loc, number(1), arith::MulFOp::create(b, loc, divisor, scale));
    for (arith::DivFOp quotient : quotients) {
      b.setInsertionPoint(quotient);
      Value scaled = arith::MulFOp::create(b, loc, quotient.getLhs(), scale);
      quotient.replaceAllUsesWith(arith::MulFOp::create(b, loc, scaled, reciprocal).getResult());
      quotient.erase();
    }
  }
}
