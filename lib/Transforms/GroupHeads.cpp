//===- GroupHeads.cpp - keys and values that heads share are not repeated for each --------------------------------------===//
//
// See Passes.td. Works from the second product back to the first, so that all that lies between is known before anything changes.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "FunctionRewriter.h"
#include "flame/Builder/GraphBuilder.h"
#include "flame/Builder/NeuralOps.h"
#include "flame/Ops/Contraction.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/Reduce.h"
#include "flame/Ops/Shape.h"
#include "flame/Transforms/Passes.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace flame;

namespace flame {
#define GEN_PASS_DEF_GROUPHEADS
#include "flame/Transforms/Passes.h.inc"
} // namespace flame

namespace {

class Grouper : FunctionRewriter {
public:
  explicit Grouper(func::FuncOp function) : FunctionRewriter(function) {}

  void run() {
    SmallVector<MatMulOp> products;
    function.walk([&](MatMulOp product) { products.push_back(product); });
    for (MatMulOp product : products)
      if (!product->use_empty())
        group(product);
    sweep();
  }

private:
  /// Longest way from the second product to the first.
  static constexpr unsigned longestWay = 64;

  /// What a tensor [B, Hq, .., ..] repeats: each head of [B, Hkv, 1, .., ..] so many times in a row.
  struct Repeated {
    Value shared;
    Dims dims; // [B, Hkv, .., ..]
  };
  std::optional<Repeated> repeatedOf(Value value) {
    auto joined = value.getDefiningOp<ReshapeOp>();
    auto expand = joined ? joined.getX().getDefiningOp<ExpandOp>() : ExpandOp();
    if (!expand || shapes.rank(joined) != 4 || shapes.rank(expand) != 5 || shapes.rank(expand.getX()) != 5)
      return std::nullopt;
    Dims all = dimsOf(joined), repeated = dimsOf(expand), once = repeated;
    once[2] = exprs.constant(1);
    if (repeated[2].isConstant(1) || dimsOf(expand.getX()) != once || repeated[1] * repeated[2] != all[1] ||
        Dims{repeated[0], repeated[3], repeated[4]} != Dims{all[0], all[2], all[3]})
      return std::nullopt;
    return Repeated{expand.getX(), {once[0], once[1], once[3], once[4]}};
  }
  /// Keys or values as [B, Hkv, .., ..].
  Value compact(GraphBuilder &g, const Repeated &repeated) {
    auto split = repeated.shared.getDefiningOp<ReshapeOp>();
    return split && dimsOf(split.getX()) == repeated.dims ? split.getX() : g.reshape(repeated.shared, repeated.dims);
  }

  /// The ops from a product of queries with repeated keys to the weights of values.
  struct Way {
    Block *block; // where all of it is
    llvm::SetVector<Operation *> ops;
    llvm::DenseMap<Operation *, bool> seen;
    MatMulOp scores; // null: there is none
  };
  /// Whether a value is computed from such a product, head by head.
  bool leadsBack(Value value, const DimExpr &heads, const DimExpr &keyHeads, Way &way, unsigned depth = 0) {
    Operation *op = value.getDefiningOp();
    if (!op || op->getBlock() != way.block || depth == longestWay || shapes.rank(value) != 4 || dimsOf(value)[1] != heads)
      return false;
    auto [known, isNew] = way.seen.try_emplace(op, false);
    if (!isNew)
      return known->second;
    bool leads = false;
    if (auto product = dyn_cast<MatMulOp>(op)) {
      auto keys = repeatedOf(product.getY());
      leads = keys && keys->dims[1] == keyHeads && isPlain(product) && (!way.scores || way.scores == product);
      if (leads)
        way.scores = product;
    } else if (auto reduce = dyn_cast<ReduceOp>(op)) {
      leads = reduce.getKeepdims() && llvm::all_of(reduce.getAxes(), [](int64_t axis) { return axis >= 2; }) &&
              leadsBack(reduce.getX(), heads, keyHeads, way, depth + 1);
    } else if (isa<PointwiseInterface>(op) && op->getNumResults() == 1) {
      for (Value operand : op->getOperands())
        leads |= leadsBack(operand, heads, keyHeads, way, depth + 1);
    }
    if (leads)
      way.ops.insert(op);
    return way.seen[op] = leads;
  }
  bool isPlain(MatMulOp product) {
    return !product.getTransposeX() && !product.getPackedColumns() && shapes.rank(product.getX()) == 4 &&
           dimsOf(product.getX())[1] == dimsOf(product)[1] && dimsOf(product.getX())[0] == dimsOf(product.getY())[0];
  }

  void group(MatMulOp product) {
    auto values = repeatedOf(product.getY());
    if (!values || !isPlain(product))
      return;
    Way way{product->getBlock(), {}, {}, {}};
    if (!leadsBack(product.getX(), dimsOf(product)[1], values->dims[1], way))
      return;
    // Who reads scores besides would have them computed twice.
    for (Operation *op : way.ops)
      for (Operation *user : op->getUsers())
        if (user != product && !way.ops.contains(user) && !isOpTriviallyDead(user))
          return;
    OpBuilder b(product);
    GraphBuilder g(b, product.getLoc(), shapes);
    Value keys = compact(g, *repeatedOf(way.scores.getY()));
    const HeadGroups groups(g, way.scores.getX(), keys);
    llvm::DenseMap<Value, Value> made;
    for (Operation *op : way.ops) {
      g.loc = op->getLoc();
      SmallVector<Value> operands;
      SmallVector<NamedAttribute> attributes(op->getAttrs());
      if (op == way.scores) {
        operands = {groups.split(way.scores.getX()), groups.share(keys)};
      } else {
        for (Value operand : op->getOperands()) {
          Value &grouped = made[operand];
          operands.push_back(grouped ? grouped : grouped = groups.ofScores(operand));
        }
      }
      if (auto reduce = dyn_cast<ReduceOp>(op)) {
        SmallVector<int64_t> axes(reduce.getAxes());
        for (int64_t &axis : axes)
          ++axis;
        for (NamedAttribute &attribute : attributes)
          if (attribute.getName() == reduce.getAxesAttrName())
            attribute.setValue(b.getDenseI64ArrayAttr(axes));
      }
      made[op->getResult(0)] = g.create(op->getName().getStringRef(), operands, attributes)->getResult(0);
    }
    g.loc = product.getLoc();
    Value result = g.create(product->getName().getStringRef(), {made[product.getX()], groups.share(compact(g, *values))}, product->getAttrs())->getResult(0);
    // Heads that go inside of tokens do so by one transpose: behind a reshape it would be a copy.
    for (Operation *user : llvm::make_early_inc_range(product->getUsers()))
      if (auto inside = dyn_cast<TransposeOp>(user); inside && inside.getPerm() == ArrayRef<int64_t>{0, 2, 1, 3})
        inside.getResult().replaceAllUsesWith(g.reshape(g.transpose(result, {0, 3, 1, 2, 4}), dimsOf(inside)));
    if (!llvm::all_of(product->getUsers(), [](Operation *user) { return isOpTriviallyDead(user); }))
      product.getResult().replaceAllUsesWith(groups.join(result));
  }
};

struct GroupHeadsPass : flame::impl::GroupHeadsBase<GroupHeadsPass> {
  void runOnOperation() override { Grouper(getOperation()).run(); }
};

} // namespace
