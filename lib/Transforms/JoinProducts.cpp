//===- JoinProducts.cpp - products of one operand by several weights become one ------------------------------------------===//
//
// See Passes.td. Works where what is computed from weights alone runs once.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "FunctionRewriter.h"
#include "flame/Analysis/Constants.h"
#include "flame/Builder/GraphBuilder.h"
#include "flame/Ops/Contraction.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/Shape.h"
#include "flame/Transforms/Passes.h"
#include "llvm/ADT/MapVector.h"

using namespace mlir;
using namespace flame;

namespace flame {
#define GEN_PASS_DEF_JOINPRODUCTS
#include "flame/Transforms/Passes.h.inc"
} // namespace flame

namespace {

/// With more rows or columns than this each product keeps the machine busy by itself, and a joined weight is memory twice.
constexpr int64_t manyRows = 2048, manyColumns = 8192;
/// Columns of 16 bytes and more, whatever the type, so that each part begins at a multiple of that.
constexpr int64_t columnUnit = 16;

/// One of the products, perhaps with a bias.
struct Member {
  MatMulOp product;
  AddOp sum;  // null: no bias
  Value bias; // of rank 1, or of dims of one element before that
  int64_t columns;

  Operation *last() { return sum ? sum.getOperation() : product.getOperation(); }
};

class Joiner : FunctionRewriter {
public:
  explicit Joiner(func::FuncOp function) : FunctionRewriter(function) {}

  void run() {
    for (Block *block : loadTimeBlocks(function)) {
      // Products that may be joined: same operand, same kind.
      llvm::MapVector<std::pair<Value, Attribute>, SmallVector<Member>> groups;
      for (MatMulOp product : block->getOps<MatMulOp>())
        if (std::optional<Member> member = memberOf(product))
          groups[{product.getX(), kind(*member)}].push_back(*member);
      for (auto &[key, members] : groups)
        join(members);
    }
    sweep();
  }

private:
  ConstantValues constants;

  static RankedTensorType typeOf(Value value) { return cast<RankedTensorType>(value.getType()); }

  /// What must be equal, apart from x: types, orders, whether there is a bias.
  Attribute kind(Member &member) {
    OpBuilder b(member.product);
    MatMulOp op = member.product;
    Type bias = member.bias ? getElementTypeOrSelf(member.bias.getType()) : b.getNoneType();
    return b.getArrayAttr({TypeAttr::get(getElementTypeOrSelf(op.getY().getType())),
                           TypeAttr::get(getElementTypeOrSelf(op.getResult().getType())),
                           b.getBoolAttr(op.getTransposeY()), TypeAttr::get(bias)});
  }

  std::optional<Member> memberOf(MatMulOp op) {
    auto x = dyn_cast<RankedTensorType>(op.getX().getType()), y = dyn_cast<RankedTensorType>(op.getY().getType());
    if (!x || !y || x.getRank() < 2 || y.getRank() != 2 || op.getTransposeX() || op.getPackedColumns() ||
        constants.contains(op.getX()) || !constants.contains(op.getY()))
      return {};
    DimExpr rows = exprs.constant(1);
    for (DimExpr dim : shapes.dims(op.getX()).drop_back())
      rows = rows * dim;
    Member member{op, {}, {}, y.getDimSize(op.getTransposeY() ? 0 : 1)};
    if (rows.constant().value_or(0) > manyRows || member.columns > manyColumns || member.columns % columnUnit != 0)
      return {};
    if (auto sum = op->hasOneUse() ? dyn_cast<AddOp>(*op->user_begin()) : AddOp()) {
      Value other = sum->getOperand(sum->getOperand(0) == op.getResult());
      auto type = dyn_cast<RankedTensorType>(other.getType());
      bool isRow = type && type.hasStaticShape() && type.getRank() >= 1 && type.getShape().back() == member.columns &&
                   type.getNumElements() == member.columns && type.getRank() <= x.getRank();
      if (isRow && constants.contains(other))
        member.sum = sum, member.bias = other;
    }
    // What is computed of a part alone is better computed with the product.
    for (Operation *user : member.last()->getUsers())
      if (!isa<ReshapeOp, TransposeOp, SliceOp, ConcatOp, MatMulOp>(user))
        return {};
    return member;
  }

  /// True if the value exists before `op`.
  static bool precedes(Value value, Operation *op) {
    Operation *producer = value.getDefiningOp();
    return !producer || producer->getBlock() != op->getBlock() || producer->isBeforeInBlock(op);
  }

  void join(SmallVector<Member> &members) {
    if (members.empty())
      return;
    MatMulOp first = members.front().product;
    llvm::erase_if(members, [&](Member &m) {
      return !precedes(m.product.getY(), first) || (m.bias && !precedes(m.bias, first));
    });
    if (members.size() < 2)
      return;
    OpBuilder b(first);
    SmallVector<Location> locations;
    for (Member &m : members)
      locations.push_back(m.product.getLoc());
    GraphBuilder g(b, FusedLoc::get(b.getContext(), locations), shapes);
    SmallVector<Value> weights, biases;
    for (Member &m : members) {
      weights.push_back(m.product.getY());
      if (m.bias)
        biases.push_back(g.reshape(m.bias, {m.columns}));
    }
    Value weight = g.concat(weights, first.getTransposeY() ? 0 : 1);
    Value joined = g.create(MatMulOp::getOperationName(), {first.getX(), weight}, first->getAttrs())->getResult(0);
    if (!biases.empty())
      joined = g.add(joined, g.concat(biases, 0));
    int64_t start = 0, axis = shapes.rank(joined) - 1;
    for (Member &m : members) {
      g.loc = m.product.getLoc();
      Value part = g.sliceAxis(joined, axis, exprs.constant(start), exprs.constant(m.columns));
      m.last()->getResult(0).replaceAllUsesWith(part);
      start += m.columns;
    }
  }
};

struct JoinProductsPass : flame::impl::JoinProductsBase<JoinProductsPass> {
  void runOnOperation() override { Joiner(getOperation()).run(); }
};

} // namespace
