//===- PackContractions.cpp - constant operands in the order kernels read them ----------------------------------------===//
//
// A weight that a matrix product or a convolution reads is packed into panels by an op of its own. That op reads nothing
// but constants, so it runs once, when a module is loaded.
//
// Before:  %r = flame.matmul %x, %w : (tensor<?x768xf32>, tensor<768x3072xf32>) -> tensor<?x3072xf32>
// After:   %p = flame.pack_panels %w {width = 16} : … -> tensor<192x768x16xf32>
//          %r = flame.matmul %x, %p {packed_columns = 3072} : …
//
// Runs before kernel regions are formed; only on flame ops.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Schedule.h"
#include "flame/Body/ScalarBuilder.h"
#include "flame/Ops/Constant.h"
#include "flame/Ops/Contraction.h"
#include "flame/Ops/Conv.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/Shape.h"
#include "flame/Target/Cpu/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace flame;
using namespace flame::cpu;

namespace {

/// Fewer elements than this are not worth a kernel of their own.
constexpr int64_t leastElements = 256;

struct PackContractionsPass : PassWrapper<PackContractionsPass, OperationPass<func::FuncOp>> {
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(PackContractionsPass)
  PackContractionsPass() = default;
  PackContractionsPass(const PackContractionsPass &other) : PassWrapper(other) {}
  explicit PackContractionsPass(StringRef cpu) { processor = cpu.str(); }
  StringRef getArgument() const override { return "flame-pack-contractions"; }
  StringRef getDescription() const override { return "Pack constant operands of contractions into panels"; }

  Option<std::string> processor{*this, "target", llvm::cl::desc("Processor to compile for"),
                                llvm::cl::init("x86-64-v3")};

  void runOnOperation() override {
    llvm::Expected<Target> target = Target::parse(processor);
    if (!target) {
      getOperation().emitError() << toString(target.takeError());
      return signalPassFailure();
    }
    machine = std::move(*target);
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<MatMulOp, ConvOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      if (auto product = dyn_cast<MatMulOp>(op))
        pack(product);
      else
        pack(cast<ConvOp>(op));
    }
  }

private:
  Target machine;
  DenseMap<Value, bool> constants;
  DenseMap<std::pair<Value, int64_t>, Value> packed; // by weight and shape of the panels: shared weights are packed once

  /// True if only constants and weights lead to a value.
  bool isConstant(Value value) {
    if (auto it = constants.find(value); it != constants.end())
      return it->second;
    Operation *op = value.getDefiningOp();
    bool result = op && op->getNumRegions() == 0 && isPure(op) && op->getNumResults() == 1;
    constants[value] = result;
    if (result)
      result = llvm::all_of(op->getOperands(), [&](Value operand) { return isConstant(operand); });
    return constants[value] = result;
  }

  /// The weight's static type, if it may be packed.
  RankedTensorType packable(Value weight) {
    auto type = dyn_cast<RankedTensorType>(weight.getType());
    if (!type || !type.hasStaticShape() || type.getNumElements() < leastElements || !isConstant(weight) ||
        !isNumeric(type.getElementType()) || computeType(type.getElementType()).getIntOrFloatBitWidth() < 32)
      return {};
    return type;
  }

  Value constantVector(OpBuilder &b, Location loc, ArrayRef<int64_t> values) {
    auto type = RankedTensorType::get({int64_t(values.size())}, b.getI64Type());
    return ConstantOp::create(b, loc, type, DenseElementsAttr::get(type, values));
  }

  /// Elements in their compute type, which is how panels are read.
  Value computed(OpBuilder &b, Location loc, Value value, Type to) {
    auto type = cast<RankedTensorType>(value.getType());
    if (type.getElementType() == to)
      return value;
    return CastOp::create(b, loc, type.clone(to), value, TypeAttr::get(to));
  }

  Value panels(OpBuilder &b, Location loc, Value matrix, int64_t width, bool transpose) {
    auto type = cast<RankedTensorType>(matrix.getType());
    SmallVector<int64_t> shape(type.getShape());
    size_t rank = shape.size();
    int64_t rows = shape[rank - (transpose ? 1 : 2)], columns = shape[rank - (transpose ? 2 : 1)];
    shape.resize(rank - 2);
    shape.append({(columns + width - 1) / width, rows, width});
    return PackPanelsOp::create(b, loc, RankedTensorType::get(shape, type.getElementType()), matrix,
                                b.getI64IntegerAttr(width), b.getBoolAttr(transpose));
  }

  void pack(MatMulOp op) {
    RankedTensorType type = packable(op.getY());
    auto x = dyn_cast<RankedTensorType>(op.getX().getType());
    if (!type || !x || type.getRank() < 2 || x.getRank() < 2 || op.getPackedColumns() || isConstant(op.getX()))
      return;
    Type element = computeType(getElementTypeOrSelf(op.getResult().getType()));
    if (isa<IntegerType>(element) && getElementTypeOrSelf(op.getResult().getType()) != type.getElementType())
      return;
    unsigned bytes = element.getIntOrFloatBitWidth() / 8;
    int64_t rank = type.getRank(), columns = type.getDimSize(op.getTransposeY() ? rank - 2 : rank - 1);
    OpBuilder b(op);
    b.setInsertionPointAfterValue(op.getY());
    Value &shared = packed[{op.getY(), op.getTransposeY() ? -2 : -1}];
    if (!shared)
      shared = panels(b, op.getLoc(), computed(b, op.getLoc(), op.getY(), element), microTile(machine, bytes).nr,
                      op.getTransposeY());
    // What the operands' types no longer tell.
    Type result = getElementTypeOrSelf(op.getResult().getType());
    if (result != getElementTypeOrSelf(x) || element != result)
      op.setTypeAttr(TypeAttr::get(result));
    op.getYMutable().assign(shared);
    op.setTransposeY(false);
    op.setPackedColumns(columns);
  }

  void pack(ConvOp op) {
    RankedTensorType type = packable(op.getW());
    if (!type || op.getPackedShape())
      return;
    int64_t groups = op.getGroups(), m = type.getDimSize(0) / groups, inner = type.getNumElements() / type.getDimSize(0);
    // Only windows that the blocked generator takes: up to two spatial dims, or a kernel of one element.
    if (type.getRank() > 4 && inner != type.getDimSize(1))
      return;
    Type element = computeType(type.getElementType());
    unsigned bytes = element.getIntOrFloatBitWidth() / 8;
    OpBuilder b(op);
    b.setInsertionPointAfterValue(op.getW());
    Value &shared = packed[{op.getW(), groups}];
    if (!shared) {
      Value weight = computed(b, op.getLoc(), op.getW(), element);
      auto matrices = RankedTensorType::get({groups, m, inner}, element);
      weight = ReshapeOp::create(b, op.getLoc(), matrices, weight, constantVector(b, op.getLoc(), matrices.getShape()));
      shared = panels(b, op.getLoc(), weight, convMicroTile(machine, bytes, m).mr, /*transpose=*/true);
    }
    op.setPackedShape(type.getShape());
    op.getWMutable().assign(shared);
  }
};

} // namespace

std::unique_ptr<Pass> flame::cpu::createPackContractionsPass(StringRef target) {
  return std::make_unique<PackContractionsPass>(target);
}

void flame::cpu::registerCpuPasses() {
  registerEmitCpuPass();
  PassRegistration<PackContractionsPass>();
}
