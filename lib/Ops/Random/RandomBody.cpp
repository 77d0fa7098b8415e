//===- RandomBody.cpp - Philox4x32-10 ---------------------------------------------------------------------------------===//
//
// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3" (SC 2011).
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Body/Bodies.h"
#include "flame/Ops/Random.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include <array>
#include <cmath>

using namespace mlir;
using namespace flame;

namespace {
struct Philox {
  ScalarBuilder &s;
  Type i32 = s.b.getI32Type(), i64 = s.b.getI64Type();

  Value word(uint32_t value) { return s.make<arith::ConstantOp>(s.b.getI32IntegerAttr(int32_t(value))); }
  Value wide(int64_t value) { return s.make<arith::ConstantOp>(s.b.getI64IntegerAttr(value)); }
  Value low(Value x) { return s.make<arith::TruncIOp>(i32, x); }
  Value high(Value x) { return low(s.make<arith::ShRUIOp>(x, wide(32))); }
  Value extend(Value x) { return s.make<arith::ExtUIOp>(i64, x); }
  Value bitXor(Value x, Value y) { return s.make<arith::XOrIOp>(x, y); }

  /// Four words from an i64 key and an i64 counter.
  std::array<Value, 4> words(Value key, Value counter) {
    std::array<Value, 4> c{low(counter), high(counter), word(0), word(0)};
    std::array<Value, 2> k{low(key), high(key)};
    for (int round = 0; round < 10; ++round) {
      Value first = s.make<arith::MulIOp>(extend(c[0]), wide(0xD2511F53));
      Value second = s.make<arith::MulIOp>(extend(c[2]), wide(0xCD9E8D57));
      c = {bitXor(bitXor(high(second), c[1]), k[0]), low(second), bitXor(bitXor(high(first), c[3]), k[1]), low(first)};
      k = {s.add(k[0], word(0x9E3779B9)), s.add(k[1], word(0xBB67AE85))};
    }
    return c;
  }
  /// A number of [0, 1): the upper 24 bits of one word, or 53 bits of two. `up` moves it by one step, to (0, 1].
  Value unit(Value x, Value y, Type type, bool up) {
    bool isDouble = type.isF64();
    Value bits = isDouble ? s.make<arith::OrIOp>(s.make<arith::ShLIOp>(extend(x), wide(32)), extend(y)).getResult() : extend(x);
    bits = s.make<arith::ShRUIOp>(bits, wide(isDouble ? 11 : 8));
    if (up)
      bits = s.add(bits, wide(1));
    return s.mul(s.make<arith::UIToFPOp>(type, bits), s.number(type, std::ldexp(1.0, isDouble ? -53 : -24)));
  }
};
} // namespace

static Value randomElement(RandomOp op, ElementBuilder &b, ValueRange index) {
  Type type = op.getType();
  ScalarBuilder s = b.scalars(type);
  Philox philox{s};
  Value key = b.element(op.getSeed(), {});
  Value position = b.linearize(index, b.shapes().dims(op.getResult()));
  auto [x, y, z, w] = philox.words(key, b.fromIndex(position, philox.i64));
  if (op.getDistribution() == "uniform")
    return philox.unit(x, y, type, false);
  bool isDouble = type.isF64();
  Value radius = s.sqrt(s.mul(s.number(type, -2), s.log(philox.unit(x, y, type, true))));
  Value turn = isDouble ? philox.unit(z, w, type, false) : philox.unit(y, y, type, false);
  return s.mul(radius, s.make<math::CosOp>(s.mul(s.number(type, 2 * M_PI), turn)));
}

void flame::registerRandomBodies(MLIRContext *context) {
  attachElement<RandomOp, randomElement, /*Cheap=*/false>(context);
}
