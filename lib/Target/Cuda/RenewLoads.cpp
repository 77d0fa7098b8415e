//===- RenewLoads.cpp - see RenewLoads.h ----------------------------------------------------------------------------===//
#include "RenewLoads.h"
#include "KernelOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/IRMapping.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;

namespace {

/// Renews what a block of ops reads. Its places where threads wait cut it into sections, numbered in their order.
class Renewer {
public:
  explicit Renewer(Block &block) : block(block) {}

  void run() {
    for (Operation &op : llvm::make_early_inc_range(block)) {
      op.walk([&](Operation *inner) {
        for (OpOperand &operand : inner->getOpOperands())
          if (auto made = known.find(operand.get()); made != known.end() && made->second.section < waits.size())
            operand.set(renewed(made->second.first, &op));
      });
      if (isa<gpu::BarrierOp>(op))
        waits.push_back(&op);
      else
        remember(op);
    }
  }

private:
  /// A value that comes from an element of such a read by a few ops and is made again in later sections.
  struct Made {
    Value first;      // the one that was there before
    unsigned section; // where this one is made
    unsigned ops;
  };
  static constexpr unsigned mostOps = 12;

  Block &block;
  SmallVector<Operation *> waits;
  DenseMap<Value, Made> known;
  DenseMap<std::pair<Value, unsigned>, Value> again; // by the first one and the section
  DenseMap<Value, std::pair<Value, unsigned>> packed; // of a read, the latest and its section

  /// Vectors of 16-bit elements.
  bool isPacked(Value value) const {
    auto load = value.getDefiningOp<vector::LoadOp>();
    return load && load->getBlock() == &block && load.getVectorType().getElementTypeBitWidth() == 16 &&
           load.getVectorType().getNumElements() >= 4;
  }

  void remember(Operation &op) {
    if (op.getNumResults() != 1)
      return;
    unsigned ops = 1;
    bool ofElement = false;
    if (auto element = dyn_cast<vector::ExtractOp>(op)) {
      ofElement = isPacked(element->getOperand(0));
    } else if (isa<arith::ArithDialect, math::MathDialect>(op.getDialect()) && isPure(&op)) {
      for (Value operand : op.getOperands())
        if (auto made = known.find(operand); made != known.end()) {
          ofElement = true;
          ops += made->second.ops;
        }
    }
    if (ofElement && ops <= mostOps)
      known[op.getResult(0)] = {op.getResult(0), unsigned(waits.size()), ops};
  }

  /// The elements of a read in the section that has been reached.
  Value packedHere(Value load) {
    auto &[latest, section] = packed.try_emplace(load, load, 0).first->second;
    if (section < waits.size()) {
      OpBuilder b(block.getParentOp()->getContext());
      b.setInsertionPointAfter(waits.back());
      latest = ValueOp::create(b, load.getLoc(), load.getType(), "flame_renew($0)", latest);
      section = waits.size();
    }
    return latest;
  }

  Value renewed(Value first, Operation *before) {
    const std::pair key(first, unsigned(waits.size()));
    if (Value here = again.lookup(key))
      return here;
    Operation *op = first.getDefiningOp();
    IRMapping operands;
    for (Value operand : op->getOperands()) {
      if (isPacked(operand))
        operands.map(operand, packedHere(operand));
      else if (auto made = known.find(operand); made != known.end() && made->second.section < waits.size())
        operands.map(operand, renewed(Value(made->second.first), before));
    }
    OpBuilder b(before);
    Value here = b.clone(*op, operands)->getResult(0);
    known[here] = {first, key.second, known.lookup(first).ops};
    return again[key] = here;
  }
};

} // namespace

void flame::cuda::renewLoads(func::FuncOp function) {
  if (!function->hasAttr(renewsLoads))
    return;
  SmallVector<Block *> blocks;
  function.walk([&](Block *block) { blocks.push_back(block); });
  for (Block *block : blocks)
    Renewer(*block).run();
}
