//===- EmitConv.cpp - convolutions --------------------------------------------------------------------------------===//
//
// A convolution is a product of the weight [output channels, input channels × kernel] and a matrix that is gathered from
// x [input channels × kernel, images × output positions], for each group: the templates of products do it, with the
// gather as one operand. With a kernel of one element that operand is x itself. A result with channels last is the
// transposed product. Few output channels in a group (depthwise) make poor tiles: there each thread computes an element
// by the plain definition.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ContractCall.h"
#include "ContractEpilogue.h"
#include "flame/Ops/Conv.h"
#include "flame/Ops/Shape.h"

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

namespace {

/// The region's input that a convolution reads as x or w, perhaps with its channels last.
struct ConvOperand {
  Value memory; // null: it is computed
  bool isLast = false;
};
ConvOperand operandOf(KernelBuilder &kernel, Value value) {
  if (kernel.isMaterialized(value))
    return {value, false};
  auto transpose = value.getDefiningOp<TransposeOp>();
  if (!transpose || !kernel.isMaterialized(transpose.getX()))
    return {};
  ArrayRef<int64_t> perm = transpose.getPerm();
  for (auto [d, source] : llvm::enumerate(perm))
    if (source != (d == 0 ? 0 : d == 1 ? int64_t(perm.size()) - 1 : int64_t(d) - 1))
      return {};
  return {transpose.getX(), true};
}

/// The anchor of one region on its way into a call.
class ConvEmitter : ContractCall {
public:
  ConvEmitter(KernelBuilder &kernel, ConvOp op) : ContractCall(kernel), op(op), epilogue(kernel, op.getResult()) {}

  LogicalResult emit() {
    if (!measure())
      return emitLoop(kernel);
    ContractSizes sizes{likely(batches), likely(channels), likely(positions), likely(depth)};
    if (transposedProduct)
      std::swap(sizes.rows, sizes.columns);
    if (failed(chooseTiles(sizes)))
      return failure();
    DimExpr rows = transposedProduct ? positions : channels, columns = transposedProduct ? channels : positions;
    DimExpr blocks = tiles(rows, columns);
    Value batch = batches.isConstant(1) ? e.index(0) : e.divi(kernel.block, e.expr(blocks));
    image = e.index(0);
    Value group = batch;
    if (imageIsBatch) {
      Values at = e.delinearize(batch, {dims[0], shapes.constant(groups)});
      image = at[0], group = at[1];
    }
    firstChannel = e.muli(group, e.expr(channels));
    std::string problem = problemText(rows, columns, depth);
    std::string weight = plainText("Depth", depth, w.memory, e.muli(firstChannel, e.expr(depth)), /*isWeight=*/true);
    std::string data = dataText(group);
    if (transposedProduct)
      std::swap(weight, data);
    callTiles({problem, weight, data, epilogueText()});
    kernel.kernel.extent = batches * blocks;
    return success();
  }

private:
  ConvOp op;
  ContractEpilogue epilogue;
  ConvOperand x, w;
  SmallVector<DimExpr> xDims, dims, pads; // of x and the result as [N, C, D…]
  SmallVector<DimExpr> kernelDims, outDims;
  int64_t groups = 1;
  size_t rank = 0; // spatial dims
  // Of a product: channels of a group by positions, of one image or of all.
  DimExpr channels, groupChannels, positions, depth, batches;
  bool pointwise = true, imageIsBatch = false, transposedProduct = false;
  Value image, firstChannel;

  /// Sizes and orders; false if no template takes them.
  bool measure() {
    x = operandOf(kernel, op.getX()), w = operandOf(kernel, op.getW());
    Type elementType = getElementTypeOrSelf(op.getX().getType());
    std::optional<Arithmetic> arithmetic = arithmeticOf(elementType);
    if (op.getPackedShape() || !x.memory || !w.memory || !arithmetic ||
        getElementTypeOrSelf(op.getW().getType()) != elementType || !epilogue.isSupported(/*anyOrder=*/true))
      return false;
    type = *arithmetic;
    // Its matrix instructions read lines along the inner dim alone.
    if (type == Arithmetic::F32 && kernel.tf32 && x.isLast)
      type = Arithmetic::TF32;
    xDims.assign(shapes.dims(op.getX()));
    dims.assign(shapes.dims(op.getResult()));
    SmallVector<DimExpr> wDims(shapes.dims(op.getW()));
    rank = xDims.size() - 2;
    groups = op.getGroups();
    channels = groups == 1 ? wDims[0] : floorDiv(wDims[0], shapes.constant(groups));
    if (rank < 1 || rank > 3 || (groups != 1 && channels.constant().value_or(0) < 16))
      return false;
    groupChannels = wDims[1];
    kernelDims.assign(wDims.begin() + 2, wDims.end());
    outDims.assign(dims.begin() + 2, dims.end());
    positions = product(shapes, outDims);
    depth = groupChannels * product(shapes, kernelDims);
    bool unit = true;
    for (size_t d = 0; d < rank; ++d) {
      pads.push_back(shapes.element(op.getPads(), d));
      unit &= kernelDims[d].isConstant(1);
      pointwise &= op.getStrides()[d] == 1 && pads[d].isConstant(0) && outDims[d] == xDims[d + 2];
    }
    pointwise &= unit;
    // The weight's inner dim follows x's; with a kernel of one element it has either order.
    bool isChunked = isMatrix(type) && groupChannels.constant().value_or(1) % 8 == 0;
    if ((x.isLast && !pointwise && !isChunked) || (!unit && x.isLast != w.isLast))
      return false;
    transposedProduct = epilogue.storesColumn(1);
    // A matrix x per image, or one of all images.
    imageIsBatch = pointwise && !x.isLast;
    batches = shapes.constant(groups);
    if (imageIsBatch)
      batches = dims[0] * groups;
    else
      positions = dims[0] * positions;
    return true;
  }

  std::string dataText(Value group) {
    Value inputChannel = e.muli(group, e.expr(groupChannels));
    DimExpr area = product(shapes, ArrayRef(xDims).drop_front(2));
    if (pointwise && x.isLast)
      return plainText("Depth", xDims[1], x.memory, inputChannel, /*isWeight=*/false);
    if (pointwise)
      return plainText("Side", area, x.memory,
                       e.muli(e.addi(e.muli(image, e.expr(xDims[1])), inputChannel), e.expr(area)), /*isWeight=*/false);
    kernel.templates.push_back("impl/Conv.h");
    auto list = [&](llvm::function_ref<std::string(size_t)> element) {
      std::string text = "{";
      for (size_t d = 0; d < rank; ++d)
        text += (d ? ", " : "") + element(d);
      return text + "}";
    };
    std::string text = std::string(x.isLast ? "flame::GatherLast<" : "flame::Gather<") + std::to_string(rank) + ", " +
                       storageName(getElementTypeOrSelf(x.memory.getType())) + ", $I>{" +
                       address(x.memory, x.isLast ? inputChannel : e.muli(inputChannel, e.expr(area))) + ",\n          {" +
                       number(xDims[1]) + ", " + list([&](size_t d) { return number(xDims[d + 2]); }) + ", " +
                       list([&](size_t d) { return number(outDims[d]); }) + ", " +
                       list([&](size_t d) { return number(kernelDims[d]); }) + ", " +
                       list([&](size_t d) { return std::to_string(op.getStrides()[d]); }) + ", " +
                       list([&](size_t d) { return std::to_string(op.getDilations()[d]); }) + ", " +
                       list([&](size_t d) { return number(pads[d]); }) + "}";
    return text + (x.isLast ? ", " + number(groupChannels) + "}" : "}");
  }

  std::string epilogueText() {
    DimExpr area = product(shapes, outDims);
    // Runs of columns stay within an image.
    bool contiguous = transposedProduct || imageIsBatch || dims[0].isConstant(1) ||
                      (area.constant() && *area.constant() % 8 == 0);
    return epilogue.build(
        e,
        [&](ElementBuilder &b, Value row, Value column) {
          Value n = image, position = transposedProduct ? row : column, channel = transposedProduct ? column : row;
          if (!imageIsBatch) {
            Values at = b.delinearize(position, {dims[0], area});
            n = at[0], position = at[1];
          }
          Values at{n, b.addi(firstChannel, channel)};
          llvm::append_range(at, b.delinearize(position, outDims));
          return at;
        },
        contiguous, operands);
  }
};

} // namespace

LogicalResult flame::cuda::emitConv(KernelBuilder &kernel) {
  ConvOp op = onlyAnchor<ConvOp>(kernel.region);
  return op ? ConvEmitter(kernel, op).emit() : emitLoop(kernel);
}
