//===- EmitConv.cpp - convolutions
//------------------------------------------------------------------------------------===//
//
// A convolution is a product of the weight [output channels, input channels × kernel] by a matrix that is gathered from
// x [input channels × kernel, images × output positions], for each group: the templates of products do it, with the
// gather as their second operand. With a kernel of one element that operand is x itself. Few output channels in a group
// (depthwise) make poor tiles: there each thread computes an element by the plain definition.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ChooseSchedule.h"
#include "ContractEpilogue.h"
#include "KernelOps.h"
#include "StridedOperand.h"
#include "flame/Ops/Conv.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;

static DimExpr product(ShapeContext &shapes, ArrayRef<DimExpr> dims) {
  DimExpr size = shapes.constant(1);
  for (DimExpr dim : dims)
    size = size * dim;
  return size;
}

static std::optional<Arithmetic> arithmeticOf(Type type) {
  if (type.isF16())
    return Arithmetic::F16;
  if (type.isBF16())
    return Arithmetic::BF16;
  if (type.isF32())
    return Arithmetic::F32;
  if (type.isF64())
    return Arithmetic::F64;
  return std::nullopt;
}

LogicalResult flame::cuda::emitConv(KernelBuilder &kernel) {
  ShapeContext &shapes = kernel.shapes;
  ConvOp op;
  unsigned anchors = 0;
  for (Operation &inner : kernel.region.getBlock()->without_terminator())
    if (auto conv = dyn_cast<ConvOp>(inner)) {
      op = conv;
      ++anchors;
    }
  if (anchors != 1 || op.getPackedShape() || !kernel.isMaterialized(op.getX()) || !kernel.isMaterialized(op.getW()))
    return emitLoop(kernel);
  ContractEpilogue epilogue(kernel, op.getResult());
  Type elementType = getElementTypeOrSelf(op.getX().getType());
  std::optional<Arithmetic> type = arithmeticOf(elementType);
  SmallVector<DimExpr> x(shapes.dims(op.getX())), w(shapes.dims(op.getW())), dims(shapes.dims(op.getResult()));
  int64_t groups = op.getGroups();
  size_t rank = x.size() - 2;
  if (!type || getElementTypeOrSelf(op.getW().getType()) != elementType || rank < 1 || rank > 3 ||
      !epilogue.isSupported())
    return emitLoop(kernel);
  DimExpr channels = groups == 1 ? w[0] : floorDiv(w[0], shapes.constant(groups));
  if (groups != 1 && channels.constant().value_or(0) < 16)
    return emitLoop(kernel);

  ArrayRef<DimExpr> outDims = ArrayRef(dims).drop_front(2), kernelDims = ArrayRef(w).drop_front(2);
  DimExpr positions = product(shapes, outDims), depth = w[1] * product(shapes, kernelDims);
  SmallVector<DimExpr> pads;
  bool pointwise = true;
  for (size_t d = 0; d < rank; ++d) {
    pads.push_back(shapes.element(op.getPads(), d));
    pointwise &=
        kernelDims[d].isConstant(1) && op.getStrides()[d] == 1 && pads[d].isConstant(0) && outDims[d] == x[d + 2];
  }
  // A matrix x per image, or one gathered matrix of all images.
  DimExpr columns = pointwise ? positions : dims[0] * positions, batches = shapes.constant(groups);
  if (pointwise)
    batches = dims[0] * groups;

  bool matrix = sizeOf(*type) == 2;
  ContractSizes sizes{likely(batches), likely(channels), likely(columns), likely(depth)};
  std::string head;
  int tileRows, tileColumns;
  if (matrix) {
    MmaSchedule schedule = chooseMma(*type, sizes);
    head = "flame::gemm<" + cuda::text(schedule);
    kernel.kernel.threads = schedule.threads();
    kernel.kernel.shared = schedule.sharedBytes(*type);
    tileRows = schedule.rows, tileColumns = schedule.columns;
    kernel.templates.push_back("impl/Gemm.h");
  } else {
    SimtSchedule schedule = chooseSimt(*type, sizes);
    head = "flame::simtGemm<" + cuda::text(schedule);
    kernel.kernel.threads = schedule.threads();
    kernel.kernel.shared = schedule.sharedBytes(*type);
    tileRows = tileColumns = schedule.tile();
    kernel.templates.push_back("impl/Simt.h");
  }
  DimExpr tiles = ceilDiv(channels, shapes.constant(tileRows)) * ceilDiv(columns, shapes.constant(tileColumns));

  ElementBuilder e(kernel.b, kernel.loc, kernel, shapes);
  SmallVector<Value> operands;
  auto operand = [&](Value value) {
    operands.push_back(value);
    return "$" + std::to_string(operands.size() - 1);
  };
  auto number = [&](DimExpr expr) { return operand(e.expr(expr)); };
  auto address = [&](Value value, Value offset) {
    std::string memory = operand(kernel.bufferOf(value));
    return getConstantIntValue(getAsOpFoldResult(offset)) == 0 ? memory : memory + " + " + operand(offset);
  };
  Value batch = batches.isConstant(1) ? e.index(0) : e.divi(kernel.block, e.expr(tiles));
  Value image, group = batch;
  if (pointwise) {
    Values at = e.delinearize(batch, {dims[0], shapes.constant(groups)});
    image = at[0], group = at[1];
  }
  Value firstChannel = e.muli(group, e.expr(channels));

  std::string storage = storageName(elementType);
  std::string problem = "flame::Problem<$I>{" + number(channels) + ", " + number(columns) + ", " + number(depth) + "}";
  std::string weight = "flame::Plain<" + storage + ", flame::Major::Depth, " +
                       std::to_string(copyBytes(depth, sizeOf(*type))) + ", $I>{" +
                       address(op.getW(), e.muli(firstChannel, e.expr(depth))) + ", " + number(depth) + "}";
  Value inputChannel = e.muli(group, e.expr(w[1]));
  DimExpr area = product(shapes, ArrayRef(x).drop_front(2));
  std::string data;
  if (pointwise) {
    Value start = e.muli(e.addi(e.muli(image, e.expr(x[1])), inputChannel), e.expr(area));
    data = "flame::Plain<" + storage + ", flame::Major::Side, " + std::to_string(copyBytes(area, sizeOf(*type))) +
           ", $I>{" + address(op.getX(), start) + ", " + number(area) + "}";
  } else {
    kernel.templates.push_back("impl/Conv.h");
    auto list = [&](llvm::function_ref<std::string(size_t)> element) {
      std::string text = "{";
      for (size_t d = 0; d < rank; ++d)
        text += (d ? ", " : "") + element(d);
      return text + "}";
    };
    std::string of = "<" + std::to_string(rank) + ", ";
    data = "flame::Gather" + of + storage + ", $I>{" + address(op.getX(), e.muli(inputChannel, e.expr(area))) +
           ",\n          {" + number(x[1]) + ", " + list([&](size_t d) { return number(x[d + 2]); }) + ", " +
           list([&](size_t d) { return number(outDims[d]); }) + ", " +
           list([&](size_t d) { return number(kernelDims[d]); }) + ", " +
           list([&](size_t d) { return std::to_string(op.getStrides()[d]); }) + ", " +
           list([&](size_t d) { return std::to_string(op.getDilations()[d]); }) + ", " +
           list([&](size_t d) { return number(pads[d]); }) + "}}";
  }
  // Runs of columns stay within an image.
  bool contiguous = pointwise || dims[0].isConstant(1) || (positions.constant() && *positions.constant() % 8 == 0);
  std::string end = epilogue.build(
      e,
      [&](ElementBuilder &b, Value row, Value column) {
        Value n = image, position = column;
        if (!pointwise) {
          Values at = b.delinearize(column, {dims[0], positions});
          n = at[0], position = at[1];
        }
        Values at{n, b.addi(firstChannel, row)};
        llvm::append_range(at, b.delinearize(position, outDims));
        return at;
      },
      contiguous, operands);
  CallOp::create(e.b, kernel.loc,
                 head + ", " + cuda::text(*type) + ">(" + problem + ",\n      " + weight + ",\n      " + data +
                     ",\n      " + end + ")",
                 operands);
  kernel.kernel.extent = batches * tiles;
  return success();
}
