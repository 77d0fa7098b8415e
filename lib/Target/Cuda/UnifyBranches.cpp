//===- UnifyBranches.cpp - branches that differ in offsets and signs alone --------------------------------------------===//
//
// The two sides of a branch often do the same at different places: a rotary embedding reads the other half of its row, to the
// left or to the right, and turns the sign on one side. Such a branch becomes straight code in which only the offset and the
// sign are chosen. It reads exactly what the taken side would have read, so nothing is read that was not read before; but
// the reads no longer wait for the branch, and neighbours' reads can become one access.
//
// Before: scf.if with results, whose sides compute and read; equal index arithmetic is one value (CSE has run).
// After: those whose sides have the same form are gone.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "KernelBuilder.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace flame;

namespace {

/// An index as a value and an offset; no value: the offset alone.
struct Offset {
  Value base;
  int64_t constant = 0;

  explicit Offset(Value value) : base(value) {
    while (base) {
      if (auto literal = base.getDefiningOp<arith::ConstantIndexOp>()) {
        constant += literal.value();
        base = {};
      } else if (auto sum = base.getDefiningOp<arith::AddIOp>(); sum && literalOf(sum.getRhs())) {
        constant += *literalOf(sum.getRhs());
        base = sum.getLhs();
      } else if (auto difference = base.getDefiningOp<arith::SubIOp>(); difference && literalOf(difference.getRhs())) {
        constant -= *literalOf(difference.getRhs());
        base = difference.getLhs();
      } else {
        break;
      }
    }
  }

private:
  static std::optional<int64_t> literalOf(Value value) {
    auto literal = value.getDefiningOp<arith::ConstantIndexOp>();
    return literal ? std::optional(literal.value()) : std::nullopt;
  }
};

class Unifier {
public:
  explicit Unifier(scf::IfOp branch) : branch(branch), b(branch), loc(branch.getLoc()) {}

  bool run() {
    auto yes = cast<scf::YieldOp>(branch.thenBlock()->getTerminator()).getOperands();
    auto no = cast<scf::YieldOp>(branch.elseBlock()->getTerminator()).getOperands();
    for (auto [x, y] : llvm::zip(yes, no))
      if (!unify(x, y, /*build=*/false))
        return false;
    if (!reads)
      return false; // a choice between numbers is best left as it is
    for (auto [x, y, result] : llvm::zip(yes, no, branch.getResults()))
      result.replaceAllUsesWith(*unify(x, y, /*build=*/true));
    branch.erase();
    return true;
  }

private:
  scf::IfOp branch;
  OpBuilder b; // before the branch
  Location loc;
  bool reads = false;
  llvm::DenseMap<std::pair<Value, Value>, Value> known;
  llvm::DenseMap<int64_t, Value> choices;

  bool isOuter(Value value) {
    Operation *op = value.getDefiningOp();
    return !op || !branch->isAncestor(op);
  }

  /// What is `x` on one side and `y` on the other; with `build` false it is only found out whether there is such a thing, and
  /// a value that is not null stands for yes.
  std::optional<Value> unify(Value x, Value y, bool build) {
    if (x.getType() != y.getType())
      return std::nullopt;
    if (auto it = known.find({x, y}); build && it != known.end())
      return it->second;
    std::optional<Value> result = x == y && isOuter(x) ? x : x.getType().isIndex() ? unifyIndex(x, y, build) : unifyOp(x, y, build);
    if (result && build)
      known[{x, y}] = *result;
    return result;
  }

  std::optional<Value> unifyIndex(Value x, Value y, bool build) {
    Offset left(x), right(y);
    if (bool(left.base) != bool(right.base))
      return std::nullopt;
    Value base;
    if (left.base) {
      std::optional<Value> both = left.base == right.base && isOuter(left.base) ? std::optional(left.base)
                                                                               : unifyOp(left.base, right.base, build);
      if (!both)
        return std::nullopt;
      base = *both;
    }
    if (!build)
      return x;
    // Neighbours have the same difference and share the choice.
    int64_t difference = left.constant - right.constant;
    if (difference) {
      Value &choice = choices[difference];
      if (!choice)
        choice = arith::SelectOp::create(b, loc, branch.getCondition(), index(difference), index(0));
      base = base ? Value(arith::AddIOp::create(b, loc, base, choice)) : choice;
    }
    if (!base)
      return index(right.constant);
    return right.constant ? arith::AddIOp::create(b, loc, base, index(right.constant)) : base;
  }

  Value index(int64_t number) { return arith::ConstantIndexOp::create(b, loc, number); }

  std::optional<Value> unifyOp(Value x, Value y, bool build) {
    Operation *left = x.getDefiningOp(), *right = y.getDefiningOp();
    auto isNumber = [&](Operation *op) { return op && op->hasTrait<OpTrait::ConstantLike>(); };
    if ((isOuter(x) || isNumber(left)) && (isOuter(y) || isNumber(right))) {
      if (!build)
        return x;
      auto outside = [&](Value value) { return isOuter(value) ? value : b.clone(*value.getDefiningOp())->getResult(0); };
      Value yes = outside(x), no = outside(y);
      return arith::SelectOp::create(b, loc, branch.getCondition(), yes, no);
    }
    if (left && right && !isOuter(x) && !isOuter(y) && left->getName() == right->getName() &&
        left->getAttrDictionary() == right->getAttrDictionary() && left->getNumOperands() == right->getNumOperands() &&
        left->getNumResults() == 1 && left->getNumRegions() == 0 && (isPure(left) || isa<memref::LoadOp>(left)))
      return unifySame(left, right, build);
    // One side turns the sign.
    if (auto turned = x.getDefiningOp<arith::NegFOp>(); turned && !isOuter(x))
      if (std::optional<Value> both = unify(turned.getOperand(), y, build))
        return build ? chooseSign(*both, true) : *both;
    if (auto turned = y.getDefiningOp<arith::NegFOp>(); turned && !isOuter(y))
      if (std::optional<Value> both = unify(x, turned.getOperand(), build))
        return build ? chooseSign(*both, false) : *both;
    return std::nullopt;
  }

  Value chooseSign(Value value, bool turnedIfTrue) {
    Value turned = arith::NegFOp::create(b, loc, value);
    return arith::SelectOp::create(b, loc, branch.getCondition(), turnedIfTrue ? turned : value, turnedIfTrue ? value : turned);
  }

  std::optional<Value> unifySame(Operation *left, Operation *right, bool build) {
    SmallVector<Value> operands;
    for (auto [x, y] : llvm::zip(left->getOperands(), right->getOperands())) {
      bool memory = isa<MemRefType>(x.getType());
      if (memory && (x != y || !isOuter(x)))
        return std::nullopt;
      std::optional<Value> both = memory ? std::optional(x) : unify(x, y, build);
      if (!both)
        return std::nullopt;
      operands.push_back(*both);
    }
    reads |= isa<memref::LoadOp>(left);
    if (!build)
      return left->getResult(0);
    Operation *copy = b.clone(*left);
    copy->setOperands(operands);
    return copy->getResult(0);
  }
};

} // namespace

void flame::cuda::unifyBranches(func::FuncOp function) {
  SmallVector<scf::IfOp> branches;
  function.walk([&](scf::IfOp branch) { // inner ones first
    if (branch.elseBlock() && branch.getNumResults() > 0)
      branches.push_back(branch);
  });
  for (scf::IfOp branch : branches)
    Unifier(branch).run();
}
