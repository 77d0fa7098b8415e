//===- FormRegions.cpp - fusion: which ops share a kernel -------------------------------------------------------------===//
//
// Visits the ops of a block from the last to the first. An op joins the group of its users if all its demanded users are
// in one group and pulling it from there computes each of its elements about once; otherwise it becomes the root of a new
// group. Only a group's root is stored, and, in row programs and pointwise groups, what others read later on: the residual
// sum beside its norm, the scale beside what it scales. A matrix product also takes in the movement that its operands are read
// through, and a transpose that its result is stored through. Constants of one element and other free producers are
// cloned into every group that reads them.
//
// With the option `topk`, each topk is a region of its own; otherwise it stays a host function.
//
// With the option `siblings`, row programs of short rows that go over the same rows and share an operand, such as the norms of queries
// and keys, become one with several results.
//
// With the option `joined`, a product of f16 or bf16 may read its left operand out of two tensors, instead of out of their
// concatenation along the inner dim.
//
// With the option `paired`, two products of one left operand whose results meet in pointwise ops, as those of a gated layer do, share
// a region. Parts of a weight that they read stay where they are.
//
// With the option `attention`, softmax(score(q k^T)) v is one group: its products, its softmax, what comes in between, and
// the scaling of its operands, for heads up to `largest-head`. Positions, such as those of a causal mask, are cloned into it. The log-sum-exp
// of the same scores is a second result of it.
//
// Before: flame ops in the blocks of @main and of its control flow.
// After: only `flame.region`, constants, weights, views, host functions and control flow are left; values that nobody
// demands are gone.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Regions/FormRegions.h"
#include "flame/Analysis/Attention.h"
#include "flame/Analysis/Demand.h"
#include "flame/Analysis/ImageOrder.h"
#include "flame/Analysis/PairedProducts.h"
#include "flame/Ops/Conv.h"
#include "flame/Ops/Index.h"
#include "flame/Ops/Region.h"
#include "flame/Ops/Shape.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/SetVector.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace flame;

namespace {

constexpr unsigned maxGroupOps = 48, maxGroupInputs = 24;

enum class Anchor { Loop, Row, Contract, Conv, Attention, TopK, Loops };

const char *anchorName(Anchor anchor) {
  switch (anchor) {
  case Anchor::Loop:
    return "loop";
  case Anchor::Row:
    return "row";
  case Anchor::Contract:
    return "contract";
  case Anchor::Conv:
    return "conv";
  case Anchor::Attention:
    return "attention";
  case Anchor::TopK:
    return "topk";
  case Anchor::Loops:
    return "loops";
  }
  return "";
}

struct Group {
  Operation *root;
  Anchor anchor;
  SmallVector<Operation *> ops; // last first
  /// For Row: dims of a full row tensor, and how many of them are trailing (reduced).
  SmallVector<DimExpr> rowDims;
  unsigned rowAxes = 0;
  /// For Contract, Conv and Attention: the op that gives the result, and the ops that operands are read through.
  Operation *anchorOp = nullptr;
  /// For Contract: another product of the same left operand.
  Operation *secondOp = nullptr;
  /// For Attention.
  std::optional<Attention> attention;
  /// Ops beside the root whose results are stored, last first.
  SmallVector<Operation *> alsoStored;
  llvm::SmallPtrSet<Operation *, 4> reads, scoreReads;
  bool constant = false;
};

bool isReduce(Operation *op) { return op->getName().getStringRef() == "flame.reduce"; }

/// True for an op that kernel code can compute.
bool isKernelOp(Operation *op) {
  return isa<PointwiseInterface, ElementInterface, LoopsInterface>(op) && !op->hasTrait<trait::HostOnly>() &&
         !isa<RegionOp>(op);
}

/// A topk whose elements compare as signs and magnitudes do, or as integers. There are floats whose NaN is a negative zero.
bool isKernelTopK(Operation *op) {
  return isa<TopKOp>(op) && isNumeric(getElementTypeOrSelf(op->getOperand(0).getType())) &&
         !isa<Float8E4M3FNUZType, Float8E5M2FNUZType, Float8E4M3B11FNUZType>(getElementTypeOrSelf(op->getOperand(0).getType()));
}

/// Rough price of one element, in simple arithmetic operations.
unsigned elementCost(Operation *op) {
  StringRef name = op->getName().stripDialect();
  static const llvm::StringSet<> expensive = {"exp",  "log",  "tanh", "erf",   "pow",  "sin",  "cos",   "tan",  "asin",
                                              "acos", "atan", "sinh", "cosh",  "gelu", "silu", "mish",  "asinh", "acosh",
                                              "atanh", "softplus", "sigmoid", "selu", "elu", "celu"};
  if (expensive.contains(name))
    return 12;
  return name == "div" || name == "sqrt" || name == "mod" || name == "fmod" ? 4 : 1;
}

bool isMovement(Operation *op) {
  static const llvm::StringSet<> names = {"transpose", "slice", "concat", "pad", "expand", "tile", "gather", "fill",
                                          "iota",      "pack_panels"};
  return names.contains(op->getName().stripDialect());
}

class Former {
public:
  Former(func::FuncOp function, const FormRegionsOptions &options)
      : shapes(exprs), demand(function, shapes), function(function), options(options) {}

  /// True if any region was formed.
  bool run() {
    formBlock(function.getBody().front());
    return formed;
  }

private:
  DimContext exprs;
  ShapeContext shapes;
  Demand demand;
  func::FuncOp function;
  FormRegionsOptions options;
  DenseMap<Operation *, Group *> groupOf;
  DenseMap<Operation *, Attention> attentions; // by the op that gives the result
  /// That op by the one that gives a log-sum-exp, and by that op all that depends on the log-sum-exp.
  DenseMap<Operation *, Operation *> contexts;
  DenseMap<Operation *, llvm::SetVector<Operation *>> logSumReaders;
  bool formed = false;

  /// A producer that costs next to nothing and has no data operands: cloned into every user.
  bool isFree(Operation *op) {
    if (!op || op->getNumResults() != 1)
      return false;
    StringRef name = op->getName().stripDialect();
    if (name != "constant")
      return false;
    auto type = dyn_cast<RankedTensorType>(op->getResult(0).getType());
    auto elements = op->getAttrOfType<DenseElementsAttr>("value");
    return type && elements && elements.isSplat() && isNumeric(type.getElementType()) && type.getNumElements() > 0 &&
           isa<ElementInterface>(op);
  }

  bool sameDims(Value a, Value b) { return shapes.dims(a) == shapes.dims(b); }

  /// True if the op may be computed as part of a row program over `group`'s rows.
  bool fitsRow(Group &group, Operation *op) {
    if (isMovementInRow(group, op) || isRowRead(group, op))
      return true;
    if (isReduce(op))
      return isRowShaped(group, op->getResult(0));
    return isa<PointwiseInterface>(op) &&
           (isRowShaped(group, op->getResult(0)) || hasLeadingDims(group, op->getResult(0)));
  }

  /// The leading dims are those of the group's rows, the others are its own: half of each row, say.
  bool hasLeadingDims(Group &group, Value value) {
    ArrayRef<DimExpr> dims = shapes.dims(value), full = group.rowDims;
    return dims.size() == full.size() && dims.drop_back(group.rowAxes) == full.drop_back(group.rowAxes);
  }

  /// Takes rows, or what is the same for many of them, out of something greater: some heads of a joined projection, one
  /// of the vectors that modulate a norm. Or takes the first rows from one tensor and the others from the next, each of which may be
  /// part of something greater.
  bool isRowRead(Group &group, Operation *op) {
    if (joinsRows(group, op))
      return true;
    if (op->getName().stripDialect() != "slice")
      return false;
    return isRowShaped(group, op->getResult(0)) || llvm::all_of(op->getUsers(), [&](Operation *user) {
             return !demand.isDemanded(user) || (llvm::is_contained(group.ops, user) && joinsRows(group, user));
           });
  }
  bool joinsRows(Group &group, Operation *op) {
    auto concat = dyn_cast<ConcatOp>(op);
    return concat && shapes.dims(op->getResult(0)) == ArrayRef<DimExpr>(group.rowDims) &&
           uint64_t(concat.getAxis()) + group.rowAxes < group.rowDims.size();
  }

  /// Cuts or joins each row by itself, such as the halves that a rotary embedding turns.
  bool isMovementInRow(Group &group, Operation *op) {
    StringRef name = op->getName().stripDialect();
    if ((name != "slice" && name != "concat") || !hasLeadingDims(group, op->getResult(0)))
      return false;
    if (name == "slice")
      return hasLeadingDims(group, op->getOperand(0));
    return llvm::all_of(op->getOperands(), [&](Value operand) { return hasLeadingDims(group, operand); });
  }

  /// Right-aligned: every leading dim equal to the row tensor's or 1; the trailing dims all equal, or all 1.
  bool isRowShaped(Group &group, Value value) {
    ArrayRef<DimExpr> dims = shapes.dims(value), full = group.rowDims;
    if (dims.size() > full.size())
      return false;
    unsigned shift = full.size() - dims.size();
    bool allOne = true, allFull = true;
    for (unsigned d = 0; d < dims.size(); ++d) {
      bool one = dims[d].isConstant(1), same = dims[d] == full[d + shift];
      if (!one && !same)
        return false;
      if (d + shift >= full.size() - group.rowAxes) {
        allOne &= one;
        allFull &= same;
      }
    }
    return allOne || (allFull && dims.size() >= group.rowAxes);
  }

  /// The axes of a reduce that keeps its dims and reduces trailing dims alone; 0 otherwise.
  unsigned trailingAxes(Operation *reduce) {
    auto axes = reduce->getAttrOfType<DenseI64ArrayAttr>("axes");
    auto keep = reduce->getAttrOfType<BoolAttr>("keepdims");
    int64_t rank = shapes.rank(reduce->getOperand(0));
    if (!axes || axes.empty() || !keep || !keep.getValue())
      return 0;
    SmallVector<int64_t> sorted(axes.asArrayRef());
    llvm::sort(sorted);
    for (auto [i, axis] : llvm::enumerate(sorted))
      if (axis != rank - int64_t(sorted.size()) + int64_t(i))
        return 0;
    return sorted.size();
  }

  /// Turns a loop group into a row group around `reduce`, if every op of it fits.
  bool becomeRow(Group &group, Operation *reduce) {
    if (group.anchor == Anchor::Row)
      return isReduce(reduce) && trailingAxes(reduce) == group.rowAxes &&
             shapes.dims(reduce->getOperand(0)) == ArrayRef<DimExpr>(group.rowDims);
    if (group.anchor != Anchor::Loop)
      return false;
    unsigned axes = trailingAxes(reduce);
    if (axes == 0)
      return false;
    Group row = group;
    row.anchor = Anchor::Row;
    row.rowDims.assign(shapes.dims(reduce->getOperand(0)));
    row.rowAxes = axes;
    // Without leading dims there is nothing to run in parallel: the reduction is better a kernel of its own.
    for (Operation *op : row.ops)
      if (!fitsRow(row, op) || (isReduce(op) && op != group.root))
        return false;
    // The root must be a full row tensor or a row scalar of all leading dims.
    ArrayRef<DimExpr> root = shapes.dims(group.root->getResult(0));
    if (root.size() != row.rowDims.size())
      return false;
    for (unsigned d = 0; d + axes < root.size(); ++d)
      if (root[d] != row.rowDims[d])
        return false;
    group = std::move(row);
    return true;
  }

  /// The reduction that `op` is a function of, through pointwise ops of its own shape whose users are all in `group` or on
  /// the way; null if there is none.
  Operation *reductionBehind(Operation *op, Group &group) {
    SmallVector<Operation *> way{op};
    auto staysInside = [&](Operation *producer) {
      return llvm::all_of(producer->getUsers(), [&](Operation *user) {
        return llvm::is_contained(way, user) || llvm::is_contained(group.ops, user);
      });
    };
    for (size_t i = 0; i < way.size() && i < 8; ++i)
      for (Value operand : way[i]->getOperands()) {
        Operation *producer = operand.getDefiningOp();
        if (!producer || producer->getBlock() != op->getBlock() || !sameDims(operand, op->getResult(0)) ||
            !staysInside(producer))
          continue;
        if (isReduce(producer))
          return producer;
        if (isa<PointwiseInterface>(producer))
          way.push_back(producer);
      }
    return nullptr;
  }

  /// Can `op`, which is read by others too, be a second result of `group`? Their reading comes after the group's root.
  bool canBeStored(Operation *op, Group &group) {
    if (op->getNumResults() != 1 || !(isa<PointwiseInterface>(op) || isReduce(op)))
      return false;
    for (Operation *member : group.ops)
      if (!isa<PointwiseInterface>(member) && !isReduce(member) &&
          !(group.anchor == Anchor::Row && isRowRead(group, member)))
        return false;
    ArrayRef<DimExpr> dims = shapes.dims(op->getResult(0));
    if (group.anchor == Anchor::Loop)
      return sameDims(op->getResult(0), group.root->getResult(0)) && !isReduce(op);
    // As long as a row tensor, with all its leading dims.
    unsigned leading = group.rowDims.size() - group.rowAxes;
    return group.anchor == Anchor::Row && dims.size() == group.rowDims.size() &&
           dims.take_front(leading) == ArrayRef<DimExpr>(group.rowDims).take_front(leading);
  }

  /// Of the groups that read `op`, the one that could store it as well: the first to run, if all other users come later.
  Group *groupToStore(Operation *op, Block &block) {
    Group *first = nullptr;
    for (Operation *user : op->getUsers())
      if (Group *group = user->getBlock() == &block ? groupOf.lookup(user) : nullptr)
        if (!first || group->root->isBeforeInBlock(first->root))
          first = group;
    if (!first)
      return nullptr;
    for (Operation *user : op->getUsers()) {
      Group *group = user->getBlock() == &block ? groupOf.lookup(user) : nullptr;
      Operation *at = group ? group->root : block.findAncestorOpInBlock(*user);
      if (group != first && (!at || !first->root->isBeforeInBlock(at)))
        return nullptr;
    }
    return first;
  }

  /// Can `op` be computed inside `group`, pulled by its users there?
  bool canJoin(Operation *op, Group &group) {
    if (group.attention && llvm::is_contained(group.attention->ops, op))
      return true;
    if (op->getNumResults() != 1 || group.ops.size() >= maxGroupOps || group.anchor == Anchor::Loops ||
        group.anchor == Anchor::TopK)
      return false;
    if (demand.isConstant(op) != group.constant && !isPartOfWeight(op, group))
      return false;
    Value value = op->getResult(0);
    unsigned uses = 0;
    for (OpOperand &use : value.getUses()) {
      if (isShapeOperand(use))
        return false; // its numbers are wanted, so it needs a buffer
      ++uses;
    }
    if (inputsAfter(group, op) > maxGroupInputs)
      return false;
    if (op->hasTrait<trait::ContractAnchor>() || op->hasTrait<trait::ConvAnchor>())
      return canAnchor(op, group) || canPair(op, group);
    if (isReduce(op)) {
      if (group.anchor == Anchor::Loop && !becomeRow(group, op))
        return joinsAsInnerLoop(op, group);
      return group.anchor == Anchor::Row && becomeRow(group, op);
    }
    // A function of row sums, such as 1/sqrt(mean + epsilon), which comes before the sum itself.
    if (group.anchor == Anchor::Loop && isa<PointwiseInterface>(op) && !sameDims(value, group.root->getResult(0)))
      if (Operation *reduce = reductionBehind(op, group))
        becomeRow(group, reduce);
    if (group.anchor == Anchor::Row) {
      return fitsRow(group, op) && elementCost(op) * uses <= 24;
    }
    if (isa<PointwiseInterface>(op) || isMovement(op) || op->hasTrait<trait::ViewLike>()) {
      if (group.anchor == Anchor::Attention && isAttentionRead(op, group))
        return true;
      if (group.anchor == Anchor::Contract || group.anchor == Anchor::Conv || group.anchor == Anchor::Attention)
        return isa<PointwiseInterface>(op) || isPartOfBias(op) ? isEpilogue(op, group) : isOperandRead(op, group);
      return pulledOnce(op, group, uses);
    }
    return false;
  }

  unsigned inputsAfter(Group &group, Operation *op) {
    llvm::SmallDenseSet<Value> inputs;
    auto add = [&](Operation *member) {
      for (Value operand : member->getOperands()) {
        Operation *producer = operand.getDefiningOp();
        if (!producer || (producer != op && !llvm::is_contained(group.ops, producer)))
          inputs.insert(operand);
      }
    };
    for (Operation *member : group.ops)
      add(member);
    add(op);
    return inputs.size();
  }

  /// A reduction inside a loop group: its users must be pointwise of its own shape, so that it runs once per element. Beside
  /// it there may be others over the same elements.
  bool joinsAsInnerLoop(Operation *op, Group &group) {
    Value value = op->getResult(0);
    if (isReduce(group.root) || !sameDims(value, group.root->getResult(0)))
      return false;
    auto isBeside = [&](Operation *member) {
      return isReduce(member) && member->getAttr("axes") == op->getAttr("axes") &&
             member->getAttr("keepdims") == op->getAttr("keepdims") && sameDims(member->getOperand(0), op->getOperand(0));
    };
    for (Operation *member : group.ops)
      if (!(isa<PointwiseInterface>(member) || isBeside(member)) || !sameDims(member->getResult(0), value))
        return false;
    return true;
  }

  bool pulledOnce(Operation *op, Group &group, unsigned uses) {
    Value value = op->getResult(0);
    bool cheap = elementCost(op) <= 2;
    for (OpOperand &use : value.getUses()) {
      Operation *user = use.getOwner();
      if (!demand.isDemanded(user) || !llvm::is_contained(group.ops, user))
        continue;
      if (isa<PointwiseInterface>(user)) {
        if (!sameDims(value, user->getResult(0)) && !(cheap && isCheapTree(op, group)))
          return false;
      } else if (isReduce(user)) {
        continue;
      } else if (isMovement(user) || user->hasTrait<trait::ViewLike>()) {
        StringRef name = user->getName().stripDialect();
        bool repeats = name == "expand" || name == "tile" || name == "gather" || name == "pad";
        if (repeats && !(cheap && isCheapTree(op, group)))
          return false;
      } else {
        return false;
      }
    }
    // Pulled at different indices by different users it is computed more than once.
    return uses == 1 || cheap || isa<PointwiseInterface>(op);
  }

  /// No loads beyond one and no arithmetic to speak of behind `op`.
  bool isCheapTree(Operation *op, Group &) {
    unsigned operands = 0;
    for (OpOperand &operand : op->getOpOperands())
      operands += !isShapeOperand(operand) && !isFree(operand.get().getDefiningOp());
    return operands <= 1;
  }

  /// A transpose that leaves rows of the last dim whole.
  static bool keepsRows(Operation *op) {
    auto perm = op->getAttrOfType<DenseI64ArrayAttr>("perm");
    return op->getName().stripDialect() == "transpose" && perm && !perm.empty() &&
           perm.asArrayRef().back() == perm.size() - 1;
  }

  /// Only ops of the full result shape: anything else would be recomputed for each element. The conversion of a bias or a scale
  /// is not worth a kernel, nor is a part of it.
  bool isOfEach(Operation *op, Value result) {
    if (isa<PointwiseInterface>(op))
      return sameDims(op->getResult(0), result) ||
             (op->getName().stripDialect() == "cast" && isa<FloatType>(getElementTypeOrSelf(op->getOperand(0).getType())));
    return isPartOfBias(op);
  }

  bool isPartOfBias(Operation *op) {
    return op->getName().stripDialect() == "slice" && shapes.rank(op->getResult(0)) == 1 &&
           llvm::all_of(op->getUsers(), [](Operation *user) { return isa<PointwiseInterface>(user); });
  }

  bool canAnchor(Operation *op, Group &group) {
    if (group.anchor != Anchor::Loop)
      return false;
    bool contract = op->hasTrait<trait::ContractAnchor>();
    auto readers = logSumReaders.find(op);
    for (Operation *member : group.ops) {
      // What reads the log-sum-exp comes behind the region that gives it.
      if (readers != logSumReaders.end() && readers->second.contains(member))
        return false;
      // A product may store its rows in another order.
      if (contract && member == group.root && keepsRows(member))
        continue;
      // A convolution may store its channels last, and read what is added to it so.
      if (!contract && options.channelsLast && isLastOfConv(member, op, group))
        continue;
      if (!isOfEach(member, op->getResult(0)))
        return false;
    }
    setAnchor(op, group);
    return true;
  }

  /// A product beside the anchor: the group's ops behind it are pointwise ones of the anchor's shape, which is its own, too.
  bool canPair(Operation *op, Group &group) {
    if (!options.paired || group.anchor != Anchor::Contract || group.secondOp || !group.anchorOp ||
        !(arePaired<MatMulOp>(group.anchorOp, op) || arePaired<GroupedMatMulOp>(group.anchorOp, op)) ||
        llvm::any_of(op->getUsers(), [&](Operation *user) { return user == group.anchorOp || group.reads.contains(user); }))
      return false;
    group.secondOp = op;
    return true;
  }
  template <typename Op> bool arePaired(Operation *first, Operation *second) {
    return isa<Op>(first) && isa<Op>(second) && flame::arePaired(cast<Op>(first), cast<Op>(second), shapes, options.tf32);
  }

  static bool isAnchor(Operation *op, const Group &group) { return op == group.anchorOp || op == group.secondOp; }

  /// A cut through a weight that paired products read. A region of its own would copy it, and keep both in memory while it does.
  bool isPartOfWeight(Operation *op, Group &group) {
    Operation *source = op->getNumOperands() ? op->getOperand(0).getDefiningOp() : nullptr;
    return group.secondOp && !group.constant && op->getName().stripDialect() == "slice" && source && isSource(source) &&
           llvm::all_of(op->getUsers(), [&](Operation *user) { return isAnchor(user, group); });
  }

  /// A transpose of the convolution's result, or of what the ops behind it read in that order. Where each thread computes an
  /// element (depthwise) only if x comes with channels last, too, and will be read so.
  bool isLastOfConv(Operation *member, Operation *op, Group &group) {
    auto conv = cast<ConvOp>(op);
    auto transpose = dyn_cast<TransposeOp>(member), ofX = conv.getX().getDefiningOp<TransposeOp>();
    if (!transpose || !isChannelsLast(dyn_cast<TransposeOp>(group.root)) ||
        (conv.getGroups() != 1 &&
         !(isChannelsFirst(ofX) && getElementTypeOrSelf(conv.getX().getType()).getIntOrFloatBitWidth() == 16)))
      return false;
    if (member == group.root)
      return true;
    Operation *read = transpose.getX().getDefiningOp();
    return isChannelsFirst(transpose) && !(read && llvm::is_contained(group.ops, read)) &&
           sameDims(transpose.getResult(), op->getResult(0));
  }

  void setAnchor(Operation *op, Group &group) {
    group.anchor = op->hasTrait<trait::ContractAnchor>() ? Anchor::Contract : Anchor::Conv;
    group.anchorOp = op;
    if (auto it = attentions.find(op); it != attentions.end()) {
      group.anchor = Anchor::Attention;
      group.attention = it->second;
    }
  }

  bool isEpilogue(Operation *op, Group &group) {
    // What the anchor reads is better stored: it would be computed again for each tile that reads it.
    for (Operation *user : op->getUsers())
      if (isAnchor(user, group) || group.reads.contains(user) ||
          (group.attention && llvm::is_contained(group.attention->ops, user)))
        return false;
    return isOfEach(op, group.anchorOp->getResult(0));
  }

  /// Movement that a product can read its operand through: each row is packed about once, from contiguous elements.
  bool isOperandRead(Operation *op, Group &group) {
    StringRef name = op->getName().stripDialect();
    if (group.anchor != Anchor::Contract || !(keepsRows(op) || name == "slice" || name == "expand" || isJoined(op, group)))
      return false;
    for (Operation *user : op->getUsers())
      if ((!isAnchor(user, group) && !group.reads.contains(user)) || isEnds(op, user))
        return false;
    group.reads.insert(op);
    return true;
  }
  /// What a product reads as ends of groups has a buffer of its own.
  static bool isEnds(Operation *op, Operation *user) {
    auto product = dyn_cast<GroupedMatMulOp>(user);
    return product && product.getEnds() == op->getResult(0);
  }

  /// Two tensors that the product reads as one along its inner dim: the border is between whole tiles, and there are rows enough
  /// for tiles at all.
  bool isJoined(Operation *op, Group &group) {
    constexpr int64_t wholeTiles = 256, fewRows = 4;
    auto product = dyn_cast<MatMulOp>(group.anchorOp);
    auto concat = dyn_cast<ConcatOp>(op);
    if (!options.joined || !concat || !product || concat.getXs().size() != 2 || product.getX() != concat.getResult() ||
        product.getY() == concat.getResult() || product.getTransposeX() || product.getPackedColumns())
      return false;
    int64_t last = shapes.rank(product.getX()) - 1;
    Type type = getElementTypeOrSelf(product.getX().getType());
    if (last < 1 || int64_t(concat.getAxis()) != last || !(type.isF16() || type.isBF16()) ||
        getElementTypeOrSelf(product.getY().getType()) != type)
      return false;
    auto border = shapes.dim(concat.getXs()[0], last).constant(), columns = shapes.dims(product.getResult()).back().constant();
    DimExpr rows = shapes.constant(1);
    for (DimExpr dim : shapes.dims(product.getX()).drop_back())
      rows = rows * dim;
    return border && *border > 0 && *border % wholeTiles == 0 && columns.value_or(INT64_MAX) > fewRows &&
           rows.constant().value_or(INT64_MAX) > fewRows;
  }

  /// What queries, keys and values are read through: movement that leaves lines of one of the last two dims contiguous, and
  /// the scaling of queries or keys, which is one of the scores.
  bool isAttentionRead(Operation *op, Group &group) {
    MatMulOp scores = group.attention->scores, context = group.attention->context;
    bool scales = matchScaling(op, shapes).has_value();
    if (auto perm = op->getAttrOfType<DenseI64ArrayAttr>("perm"); perm && op->getName().stripDialect() == "transpose") {
      int64_t last = perm.size() - 1;
      if (perm.empty() || (perm[last] != last && perm[last - 1] != last))
        return false;
    } else if (!scales && op->getName().stripDialect() != "slice" && op->getName().stripDialect() != "expand") {
      return false;
    }
    for (OpOperand &use : op->getResult(0).getUses()) {
      Operation *user = use.getOwner();
      bool direct = user == scores || (user == context && use.getOperandNumber() == 1 && !scales);
      if (!direct && !(group.reads.contains(user) && (!scales || group.scoreReads.contains(user))))
        return false;
    }
    group.reads.insert(op);
    if (llvm::all_of(op->getUsers(), [&](Operation *user) { return user == scores || group.scoreReads.contains(user); }))
      group.scoreReads.insert(op);
    return true;
  }

  void findAttention(Block &block) {
    auto isIgnored = [&](Operation *user) {
      return !demand.isDemanded(user) && user->getNumResults() != 0 && user->getNumRegions() == 0;
    };
    for (Operation &op : block) {
      auto product = dyn_cast<MatMulOp>(op);
      if (!product || !demand.isDemanded(&op))
        continue;
      std::optional<Attention> found = matchAttention(product, shapes, isIgnored, options.largestHead);
      bool constant = demand.isConstant(&op);
      if (found && getElementTypeOrSelf(product.getY().getType()).getIntOrFloatBitWidth() == 16 &&
          llvm::all_of(found->ops, [&](Operation *inner) { return demand.isConstant(inner) == constant; }))
        attentions[&op] = std::move(*found);
    }
    SmallVector<Operation *> withLogSum;
    for (Operation &op : block)
      if (auto it = attentions.find(&op); it != attentions.end() && it->second.logSum && demand.isDemanded(it->second.logSum.getDefiningOp()))
        withLogSum.push_back(&op);
    for (Operation *op : withLogSum)
      placeLogSum(attentions[op], block);
  }

  /// The log-sum-exp becomes a result of the attention's region, which stands where its last op does: so it is computed before the second product,
  /// and what reads it comes behind all that the region may take in.
  void placeLogSum(const Attention &attention, Block &block) {
    Operation *context = attention.context, *logSum = attention.logSum.getDefiningOp();
    for (Operation *op : attention.ops)
      if (context->isBeforeInBlock(op)) {
        for (Value operand : op->getOperands()) // constants, as all else leads to the product, too
          if (Operation *producer = operand.getDefiningOp(); producer && producer->getBlock() == &block && context->isBeforeInBlock(producer))
            producer->moveBefore(context);
        op->moveBefore(context);
      }
    llvm::SetVector<Operation *> readers, behind;
    auto addUsers = [&](Operation *op, llvm::SetVector<Operation *> &to, llvm::function_ref<bool(Operation *)> counts) {
      for (Operation *user : op->getUsers())
        if (Operation *at = block.findAncestorOpInBlock(*user); at && counts(at))
          to.insert(at);
    };
    addUsers(logSum, readers, [](Operation *) { return true; });
    for (size_t i = 0; i < readers.size(); ++i)
      addUsers(readers[i], readers, [](Operation *) { return true; });
    auto mayJoin = [&](Operation *op) { return !readers.contains(op) && (isa<PointwiseInterface>(op) || isMovement(op)); };
    addUsers(context, behind, mayJoin);
    for (size_t i = 0; i < behind.size() && i < maxGroupOps; ++i)
      addUsers(behind[i], behind, mayJoin);
    Operation *last = context;
    for (Operation *op : behind)
      if (last->isBeforeInBlock(op))
        last = op;
    SmallVector<Operation *> early;
    for (Operation *reader : readers)
      if (reader->isBeforeInBlock(last))
        early.push_back(reader);
    llvm::sort(early, [](Operation *a, Operation *b) { return a->isBeforeInBlock(b); });
    for (Operation *reader : llvm::reverse(early))
      reader->moveAfter(last);
    contexts[logSum] = context;
    logSumReaders[context] = std::move(readers);
  }

  /// True if all that read `op` have a copy of their own.
  bool isClonedOnly(Operation *op, Block &block, const llvm::DenseSet<Operation *> &cloned) {
    return !op->use_empty() && llvm::all_of(op->getUsers(), [&](Operation *user) {
      Group *group = user->getBlock() == &block ? groupOf.lookup(user) : nullptr;
      return cloned.contains(user) || (group && group->attention && llvm::is_contained(group->attention->positions, op));
    });
  }

  Anchor ownAnchor(Operation *op) {
    return isa<PointwiseInterface, ElementInterface>(op) ? Anchor::Loop : isa<TopKOp>(op) ? Anchor::TopK : Anchor::Loops;
  }

  void formBlock(Block &block) {
    std::vector<std::unique_ptr<Group>> groups;
    SmallVector<Operation *> ops;
    llvm::DenseSet<Operation *> cloned;
    if (options.attention)
      findAttention(block);
    for (Operation &op : block)
      ops.push_back(&op);
    for (Operation *op : llvm::reverse(ops)) {
      for (Region &region : op->getRegions())
        for (Block &inner : region)
          formBlock(inner);
      // A view costs nothing as long as it has a buffer to show. Reading constants through one saves that buffer, and so does
      // reading what is repeated.
      bool isView = op->hasTrait<trait::ViewLike>();
      if (isClonedOnly(op, block, cloned)) {
        cloned.insert(op);
        continue;
      }
      if (!(isKernelOp(op) || (options.topk && isKernelTopK(op))) || !demand.isDemanded(op) || isSource(op) ||
          (isView && !demand.isConstant(op) && !isBesideExpand(op)))
        continue;
      if (auto it = contexts.find(op); it != contexts.end()) {
        Group *group = groupOf.lookup(it->second);
        group->ops.push_back(op);
        group->alsoStored.push_back(op);
        groupOf[op] = group;
        continue;
      }
      Group *joined = nullptr;
      bool outside = false;
      for (Operation *user : op->getUsers()) {
        if (!demand.isDemanded(user) && user->getNumResults() != 0 && user->getNumRegions() == 0)
          continue;
        Group *group = user->getBlock() == &block ? groupOf.lookup(user) : nullptr;
        outside |= !group || (joined && joined != group);
        joined = group;
      }
      if (joined && !outside && canJoin(op, *joined)) {
        joined->ops.push_back(op);
        groupOf[op] = joined;
        continue;
      }
      if (isView)
        continue;
      if (Group *first = groupToStore(op, block)) {
        // Joining may turn a pointwise group into a row program; that is undone if the op can't be a result of it.
        Group before = *first;
        if (canJoin(op, *first) && canBeStored(op, *first)) {
          first->ops.push_back(op);
          first->alsoStored.push_back(op);
          groupOf[op] = first;
          continue;
        }
        *first = std::move(before);
      }
      auto group = std::make_unique<Group>();
      group->root = op;
      group->anchor = ownAnchor(op);
      if (op->hasTrait<trait::ContractAnchor>() || op->hasTrait<trait::ConvAnchor>())
        setAnchor(op, *group);
      group->ops.push_back(op);
      group->constant = demand.isConstant(op);
      if (isReduce(op))
        becomeRow(*group, op);
      groupOf[op] = group.get();
      groups.push_back(std::move(group));
    }
    if (options.siblings)
      mergeSiblings(groups, block);
    formed |= !groups.empty();
    for (auto &group : groups)
      outline(*group);
    // Values that only shape computations used are gone now; erase what is left of them.
    for (Operation *op : llvm::reverse(ops))
      if (!groupOf.count(op) && isOpTriviallyDead(op) && !isa<func::FuncOp>(op))
        op->erase();
  }

  /// A view of what an expand makes, or of movement that an expand reads: between its kernel's ops if it joins them.
  static bool isBesideExpand(Operation *op) {
    auto isExpand = [](Operation *other) { return other && other->getName().stripDialect() == "expand"; };
    Operation *producer = op->getOperand(0).getDefiningOp();
    if (!producer || !producer->hasOneUse() || !op->hasOneUse())
      return false;
    return isExpand(producer) || (isMovement(producer) && isExpand(*op->user_begin()));
  }

  /// Can all that reads results of `group` come after `op`?
  bool isReadAfter(Group &group, Operation *op, Block &block) {
    auto readAfter = [&](Operation *stored) {
      return llvm::all_of(stored->getUsers(), [&](Operation *user) {
        Group *reader = user->getBlock() == &block ? groupOf.lookup(user) : nullptr;
        if (reader == &group || !demand.isDemanded(user))
          return reader == &group || (user->getNumResults() != 0 && user->getNumRegions() == 0);
        Operation *at = reader ? reader->root : block.findAncestorOpInBlock(*user);
        return at && op->isBeforeInBlock(at);
      });
    };
    return readAfter(group.root) && llvm::all_of(group.alsoStored, readAfter);
  }

  llvm::SmallDenseSet<Value> inputsOf(const Group &group) {
    llvm::SmallDenseSet<Value> inputs;
    for (Operation *op : group.ops)
      for (Value operand : op->getOperands())
        if (!llvm::is_contained(group.ops, operand.getDefiningOp()) && !isFree(operand.getDefiningOp()))
          inputs.insert(operand);
    return inputs;
  }

  /// One kernel loads the rows of both at a time, and what they share once. What reads the earlier one must wait for the later one, so
  /// nothing that the later one needs can be among it.
  void mergeSiblings(std::vector<std::unique_ptr<Group>> &groups, Block &block) {
    constexpr int64_t longestRow = 512;
    auto isShort = [&](const Group &group) {
      int64_t length = 1;
      for (DimExpr dim : ArrayRef(group.rowDims).take_back(group.rowAxes))
        length *= dim.constant().value_or(longestRow + 1);
      return length <= longestRow;
    };
    auto canMerge = [&](Group &earlier, Group &later) {
      if (earlier.anchor != Anchor::Row || later.anchor != Anchor::Row || earlier.constant != later.constant ||
          earlier.rowAxes != later.rowAxes || earlier.rowDims != later.rowDims || !isShort(later) ||
          earlier.ops.size() + later.ops.size() > maxGroupOps || !isReadAfter(earlier, later.root, block))
        return false;
      llvm::SmallDenseSet<Value> inputs = inputsOf(later);
      size_t count = inputs.size(), shared = 0;
      for (Value input : inputsOf(earlier))
        (inputs.contains(input) ? shared : count) += 1;
      return shared > 0 && count <= maxGroupInputs;
    };
    // Later groups come first.
    for (size_t i = 0; i < groups.size(); ++i)
      for (size_t j = i + 1; j < groups.size(); ++j) {
        Group &later = *groups[i], &earlier = *groups[j];
        if (!canMerge(earlier, later))
          continue;
        for (Operation *op : earlier.ops) {
          later.ops.push_back(op);
          groupOf[op] = &later;
        }
        later.alsoStored.push_back(earlier.root);
        llvm::append_range(later.alsoStored, earlier.alsoStored);
        groups.erase(groups.begin() + j--);
      }
  }

  bool isSource(Operation *op) {
    StringRef name = op->getName().stripDialect();
    return name == "constant" || name == "weight";
  }

  void outline(Group &group) {
    // Free producers are cloned; everything else from outside becomes an input.
    llvm::SetVector<Operation *> members(group.ops.rbegin(), group.ops.rend());
    llvm::SetVector<Operation *> clones;
    llvm::SetVector<Value> inputs;
    llvm::SmallPtrSet<Operation *, 8> positions;
    if (group.attention)
      positions.insert_range(group.attention->positions);
    std::function<void(Operation *)> readOperands = [&](Operation *op) {
      for (Value operand : op->getOperands()) {
        Operation *producer = operand.getDefiningOp();
        if (producer && members.contains(producer))
          continue;
        if (producer && (isFree(producer) || positions.contains(producer))) {
          if (!clones.contains(producer)) {
            readOperands(producer);
            clones.insert(producer);
          }
          continue;
        }
        inputs.insert(operand);
      }
    };
    for (Operation *op : members)
      readOperands(op);
    // An element that nobody reads is not computed; loops of an op's own may need all their results.
    SmallVector<Value> stored;
    for (Value result : group.root->getResults())
      if (group.anchor == Anchor::Loops || !result.use_empty() || group.root->use_empty())
        stored.push_back(result);
    for (Operation *op : llvm::reverse(group.alsoStored))
      stored.push_back(op->getResult(0));
    OpBuilder b(group.root);
    SmallVector<Location> locations;
    for (Operation *op : members)
      locations.push_back(op->getLoc());
    Location loc = FusedLoc::get(b.getContext(), locations);
    auto region = RegionOp::create(b, loc, TypeRange(ValueRange(stored)), inputs.getArrayRef(),
                                   b.getStringAttr(anchorName(group.anchor)), StringAttr());
    Block *body = b.createBlock(&region.getBody());
    IRMapping mapping;
    for (Value input : inputs)
      mapping.map(input, body->addArgument(input.getType(), input.getLoc()));
    for (Operation *op : clones)
      b.clone(*op, mapping);
    for (Operation *op : members)
      b.clone(*op, mapping);
    SmallVector<Value> results;
    for (Value result : stored)
      results.push_back(mapping.lookup(result));
    YieldOp::create(b, loc, results);
    for (auto [result, output] : llvm::zip(stored, region->getResults()))
      result.replaceAllUsesWith(output);
    for (Operation *op : llvm::reverse(members.getArrayRef())) {
      // Users that nobody demands may remain; they go with the final sweep.
      if (op->use_empty())
        op->erase();
      else
        groupOf.erase(op);
    }
  }
};

struct FormRegionsPass : PassWrapper<FormRegionsPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(FormRegionsPass)
  StringRef getArgument() const override { return "flame-form-regions"; }
  StringRef getDescription() const override { return "Fuse ops into kernel regions"; }
  Option<bool> attention{*this, "attention", llvm::cl::desc("Put attention into one region"), llvm::cl::init(false)};
  Option<bool> joined{*this, "joined", llvm::cl::desc("Let products read two tensors as one"), llvm::cl::init(false)};
  Option<bool> siblings{*this, "siblings", llvm::cl::desc("Merge row programs over the same rows"), llvm::cl::init(false)};
  Option<bool> topk{*this, "topk", llvm::cl::desc("Put topk into regions"), llvm::cl::init(false)};
  Option<bool> paired{*this, "paired", llvm::cl::desc("Let two products of one operand share a kernel"), llvm::cl::init(false)};
  Option<bool> tf32{*this, "tf32", llvm::cl::desc("f32 is multiplied as TF32"), llvm::cl::init(false)};
  Option<bool> channelsLast{*this, "channels-last", llvm::cl::desc("Let convolutions store channels last"), llvm::cl::init(false)};
  Option<int64_t> largestHead{*this, "largest-head", llvm::cl::desc("Largest head of an attention"), llvm::cl::init(256)};

  FormRegionsPass() = default;
  FormRegionsPass(const FormRegionsPass &other) : PassWrapper(other) {}
  explicit FormRegionsPass(const FormRegionsOptions &options) {
    attention = options.attention;
    topk = options.topk;
    joined = options.joined;
    paired = options.paired;
    tf32 = options.tf32;
    channelsLast = options.channelsLast;
    siblings = options.siblings;
    largestHead = options.largestHead;
  }

  void runOnOperation() override {
    // Inference may follow a number through single ops that it can't follow through a region, so that forming regions
    // makes a few more values demanded: they get regions of their own.
    while (Former(getOperation(), {attention, topk, siblings, joined, channelsLast, paired, tf32, largestHead}).run())
      ;
  }
};

} // namespace

std::unique_ptr<Pass> flame::createFormRegionsPass(const FormRegionsOptions &options) {
  return std::make_unique<FormRegionsPass>(options);
}
