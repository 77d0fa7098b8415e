//===- ShareFactors.cpp - one product of the factors that many elements have in common ------------------------------------===//
//
// A normalised row is multiplied by the reciprocal of its deviation and by the weight of a channel; where several neighbours have
// both in common, (x · u) · v becomes x · (u · v), with one product for all of them. It is off by another half unit in
// the last place of f32, so only kernels do so whose results have 16 bits or less. Other factors than reciprocals are left alone:
// powers of two that keep numbers in range (ShareReciprocals.cpp) must not meet each other.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "KernelBuilder.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace flame;

static bool isReciprocal(Value value) {
  if (Operation *op = value.getDefiningOp(); op && op->hasAttr(cuda::isReciprocalNumber))
    return true;
  auto quotient = value.getDefiningOp<arith::DivFOp>();
  return quotient && matchPattern(quotient.getLhs(), m_OneFloat());
}

/// True if nothing of more than 16 bits is stored into a buffer.
static bool isNarrow(func::FuncOp function) {
  return !function
              .walk([](memref::StoreOp store) {
                bool wide = isa<BlockArgument>(store.getMemRef()) && store.getValueToStore().getType().getIntOrFloatBitWidth() > 16;
                return wide ? WalkResult::interrupt() : WalkResult::advance();
              })
              .wasInterrupted();
}

void flame::cuda::shareFactors(func::FuncOp function) {
  constexpr size_t worthwhile = 4;
  if (!isNarrow(function))
    return;
  struct Product {
    arith::MulFOp whole, part; // part is one of whole's operands
    Value x;                   // and this one of part's
  };
  function.walk([&](Block *block) {
    llvm::MapVector<std::pair<Value, Value>, SmallVector<Product>> byFactors;
    for (auto whole : block->getOps<arith::MulFOp>()) {
      if (!whole.getType().isF32())
        continue;
      for (auto [side, v] : {std::pair(whole.getLhs(), whole.getRhs()), std::pair(whole.getRhs(), whole.getLhs())}) {
        auto part = side.getDefiningOp<arith::MulFOp>();
        if (!part || !part->hasOneUse() || part->getBlock() != block)
          continue;
        for (auto [u, x] : {std::pair(part.getRhs(), part.getLhs()), std::pair(part.getLhs(), part.getRhs())})
          if (isReciprocal(u))
            byFactors[{u, v}].push_back({whole, part, x});
      }
    }
    DenseSet<Operation *> done;
    for (auto &[factors, products] : byFactors) {
      llvm::erase_if(products, [&](Product &p) {
        return done.contains(p.whole) || done.contains(p.part); // of a longer chain
      });
      if (products.size() < worthwhile)
        continue;
      OpBuilder b(products.front().whole); // the first in the block
      Value both = arith::MulFOp::create(b, products.front().whole.getLoc(), factors.first, factors.second);
      for (Product &p : products) {
        done.insert(p.whole);
        done.insert(p.part);
        p.whole->setOperands({p.x, both});
        p.part.erase();
      }
    }
  });
}
