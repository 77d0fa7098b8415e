//===- MergeBranches.cpp - one branch for neighbours that go the same way ---------------------------------------------===//
//
// A body that asks on which side of a border an element lies (concat, slice, pad) asks it for each of several neighbours. Where the
// border and the neighbours' start are multiples of the same number, all of them lie on one side: the question is put for
// the first alone, and the branches become one, in which reads of neighbours can become one access.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "KernelBuilder.h"
#include "mlir/Dialect/GPU/IR/GPUDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using arith::CmpIPredicate;

static std::optional<int64_t> literal(Value value) {
  auto constant = value.getDefiningOp<arith::ConstantIndexOp>();
  return constant ? std::optional(constant.value()) : std::nullopt;
}

/// The largest power of two up to 16 that certainly divides an index.
static int64_t divisor(Value value) {
  constexpr int64_t most = 16;
  auto power = [&](int64_t n) { return n == 0 ? int64_t(most) : std::min<int64_t>(most, n & -n); };
  if (auto number = literal(value))
    return power(*number);
  if (auto product = value.getDefiningOp<arith::MulIOp>())
    return std::min(most, divisor(product.getLhs()) * divisor(product.getRhs()));
  if (auto sum = value.getDefiningOp<arith::AddIOp>())
    return std::min(divisor(sum.getLhs()), divisor(sum.getRhs()));
  return 1;
}

void flame::cuda::compareStarts(func::FuncOp function) {
  function.walk([](arith::CmpIOp compare) {
    // start + offset < border, with 0 ≤ offset < step, and start and border multiples of step.
    auto predicate = compare.getPredicate();
    auto sum = compare.getLhs().getDefiningOp<arith::AddIOp>();
    auto border = literal(compare.getRhs());
    if (!sum || !border || (predicate != CmpIPredicate::slt && predicate != CmpIPredicate::sge))
      return;
    auto offset = literal(sum.getRhs());
    if (!offset || *offset <= 0)
      return;
    int64_t step = std::min(divisor(sum.getLhs()), *border == 0 ? 16 : *border & -*border);
    if (*offset < step)
      compare.getLhsMutable().assign(sum.getLhs());
  });
}

/// What `op` needs that is computed after `before` in the same block, in order; nothing if some of it can't be moved.
static std::optional<SmallVector<Operation *>> neededAfter(scf::IfOp op, Operation *before) {
  llvm::SetVector<Operation *> needed;
  bool movable = true;
  auto add = [&](Value value) {
    Operation *producer = value.getDefiningOp();
    if (!producer || producer->getBlock() != before->getBlock() || producer->isBeforeInBlock(before))
      return;
    movable &= producer != before && isPure(producer) && producer->getNumRegions() == 0 &&
               !isa<gpu::ShuffleOp>(producer);
    needed.insert(producer);
  };
  op->walk([&](Operation *inner) { llvm::for_each(inner->getOperands(), add); });
  needed.remove(op);
  for (size_t i = 0; i < needed.size() && movable; ++i)
    llvm::for_each(needed[i]->getOperands(), add);
  if (!movable)
    return std::nullopt;
  SmallVector<Operation *> ordered(needed.begin(), needed.end());
  llvm::sort(ordered, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
  return ordered;
}

/// True if the branch does nothing but compute and read.
static bool onlyReads(scf::IfOp op) {
  return !op->walk([](Operation *inner) {
              bool harmless = isa<scf::IfOp, scf::YieldOp, memref::LoadOp>(inner) || isPure(inner);
              return harmless ? WalkResult::advance() : WalkResult::interrupt();
            }).wasInterrupted();
}

static scf::IfOp merge(scf::IfOp first, scf::IfOp second) {
  OpBuilder b(first);
  SmallVector<Type> types(first.getResultTypes());
  llvm::append_range(types, second.getResultTypes());
  auto both = scf::IfOp::create(b, first.getLoc(), types, first.getCondition(), /*withElseRegion=*/true);
  auto fill = [&](Block *target, Block *one, Block *two) {
    if (!target->empty())
      target->getTerminator()->erase();
    SmallVector<Value> results;
    for (Block *part : {one, two}) {
      Operation *yield = part->getTerminator();
      llvm::append_range(results, yield->getOperands());
      target->getOperations().splice(target->end(), part->getOperations(), part->begin(), yield->getIterator());
    }
    OpBuilder inner = OpBuilder::atBlockEnd(target);
    scf::YieldOp::create(inner, first.getLoc(), results);
  };
  fill(both.thenBlock(), first.thenBlock(), second.thenBlock());
  fill(both.elseBlock(), first.elseBlock(), second.elseBlock());
  first.replaceAllUsesWith(both.getResults().take_front(first.getNumResults()));
  second.replaceAllUsesWith(both.getResults().drop_front(first.getNumResults()));
  first.erase();
  second.erase();
  return both;
}

void flame::cuda::mergeBranches(func::FuncOp function) {
  SmallVector<Block *> blocks;
  function.walk([&](Block *block) { blocks.push_back(block); });
  for (Block *block : blocks) {
    llvm::DenseMap<Value, scf::IfOp> open; // by condition
    SmallVector<scf::IfOp> branches(block->getOps<scf::IfOp>());
    for (scf::IfOp branch : branches) {
      if (!branch.elseBlock() || branch.getNumResults() == 0 || !onlyReads(branch))
        continue;
      scf::IfOp &first = open[branch.getCondition()];
      if (first)
        if (auto needed = neededAfter(branch, first)) {
          for (Operation *op : *needed)
            op->moveBefore(first);
          first = merge(first, branch);
          continue;
        }
      first = branch;
    }
  }
}
