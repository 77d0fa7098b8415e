//===- EmitConv.cpp - convolutions --------------------------------------------------------------------------------===//
//
// A convolution is a product of the weight [output channels, input channels × kernel] and a matrix that is gathered from
// x [input channels × kernel, images × output positions], for each group: the templates of products do it, with the
// gather as one operand. With a kernel of one element that operand is x itself. A result with channels last is the
// transposed product. On sm_90a, where channels come last, wgmma multiplies and the copy engine gathers. Few output channels in a group (depthwise) make poor tiles: there each thread computes an element
// by the plain definition.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ContractCall.h"
#include "KernelOps.h"
#include "StridedOperand.h"
#include "flame/Analysis/ImageOrder.h"
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
  return isChannelsFirst(transpose) ? ConvOperand{transpose.getX(), true} : ConvOperand{};
}

/// The anchor of one region on its way into a call.
class ConvEmitter : ContractCall {
public:
  ConvEmitter(KernelBuilder &kernel, ConvOp op) : ContractCall(kernel), op(op), epilogue(kernel, op.getResult()) {}

  LogicalResult emit() {
    if (!measure())
      return emitLoop(kernel);
    ContractSizes sizes{likely(batches), likely(channels), likely(positions), likely(depth)};
    sizes.y = x.isLast ? Major::Depth : Major::Side;
    if (transposedProduct)
      std::swap(sizes.rows, sizes.columns), std::swap(sizes.x, sizes.y);
    if (failed(chooseTiles(sizes)))
      return failure();
    rows = transposedProduct ? positions : channels, columns = transposedProduct ? channels : positions;
    std::optional<WgmmaSchedule> tilesByWgmma;
    if (canUseWgmma()) {
      auto chosen = chooseWgmmaTiles(wgmmaProblem(), sizes);
      if (failed(chosen))
        return failure();
      tilesByWgmma = *chosen;
    }
    DimExpr blocks = tiles(rows, columns);
    Value batch = batches.isConstant(1) ? e.index(0) : e.divi(kernel.block, e.expr(blocks));
    image = e.index(0);
    Value group = batch;
    if (imageIsBatch) {
      Values at = e.delinearize(batch, {dims[0], shapes.constant(groups)});
      image = at[0], group = at[1];
    }
    Value firstChannel = e.muli(group, e.expr(channels));
    if (tilesByWgmma && groups != 1) {
      CallOp::create(e.b, kernel.loc, "int group = (int)($0)", {group});
      changesGroup = true;
    }
    groupOfBlock = group;
    std::string problem = problemText(rows, columns, depth);
    std::string weight = plainText("Depth", depth, w.memory, e.muli(firstChannel, e.expr(depth)), /*isWeight=*/true);
    std::string data = dataText(group);
    if (transposedProduct)
      std::swap(weight, data);
    std::string end = epilogueText();
    if (tilesByWgmma)
      useWgmma(*tilesByWgmma, end);
    callTiles({problem, weight, data, end});
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
  DimExpr channels, groupChannels, positions, depth, batches, rows, columns;
  bool pointwise = true, imageIsBatch = false, transposedProduct = false;
  Value image, groupOfBlock;
  bool changesGroup = false; // blocks by wgmma take several groups: functions look which one it is

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

  /// One for each spatial dim.
  std::string list(llvm::function_ref<std::string(size_t)> element) {
    std::string text = "{";
    for (size_t d = 0; d < rank; ++d)
      text += (d ? ", " : "") + element(d);
    return text + "}";
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
    return epilogue.build(e, [&](ElementBuilder &b, Value row, Value column) { return indexOf(b, row, column); }, contiguous, operands);
  }
  Values indexOf(ElementBuilder &b, Value row, Value column) {
    Value n = image, position = transposedProduct ? row : column, channel = transposedProduct ? column : row;
    if (!imageIsBatch) {
      Values at = b.delinearize(position, {dims[0], product(shapes, outDims)});
      n = at[0], position = at[1];
    }
    Value group = changesGroup ? ValueOp::create(b.b, kernel.loc, b.b.getIndexType(), "group", {}) : groupOfBlock;
    Values at{n, b.addi(b.muli(group, b.expr(channels)), channel)};
    llvm::append_range(at, b.delinearize(position, outDims));
    return at;
  }

  // ---- by wgmma, for sm_90a

  int64_t perLine() const { return WgmmaSchedule::lineBytes / sizeOf(type); }
  int64_t taps() const {
    int64_t count = 1;
    for (DimExpr dim : kernelDims)
      count *= *dim.constant();
    return count;
  }
  /// Of the product, which goes through whole lines of channels for each tap.
  int64_t depthOfLines() const { return taps() * llvm::alignTo(*groupChannels.constant(), perLine()); }
  bool isMatrixOfPixels() const { return pointwise && groups == 1; }

  /// Last places of a window's first element in dim `d`, relative to the dim's end.
  std::optional<int64_t> upperCorner(size_t d) {
    auto pad = shapes.element(op.getPads(), d + rank).constant();
    if (!pad)
      return std::nullopt;
    return *pad - (*kernelDims[d].constant() - 1) * op.getDilations()[d];
  }

  /// True if the copy engine can gather x and read the weight: channels last, at multiples of 16 bytes, and windows that
  /// its maps have bits for.
  bool canUseWgmma() {
    constexpr int64_t bits = 16, mostStride = 8;
    const int64_t aligned = 16 / sizeOf(type), reach = int64_t(1) << (bits / rank - 1);
    auto count = groupChannels.constant();
    bool unit = llvm::all_of(kernelDims, [](DimExpr dim) { return dim.isConstant(1); });
    if (!kernel.wgmma || !isMatrix(type) || !x.isLast || (!unit && !w.isLast) || !count || *count == 0 ||
        *count % aligned != 0 || (groups != 1 && (*count % perLine() != 0 || !channels.constant())))
      return false;
    if (isMatrixOfPixels())
      return true;
    for (size_t d = 0; d < rank; ++d) {
      auto size = kernelDims[d].constant(), pad = pads[d].constant();
      if (!size || *size == 0 || !pad || op.getStrides()[d] > mostStride)
        return false;
      auto upper = upperCorner(d);
      if (!upper || *pad > reach || *pad <= -reach || *upper < -reach || *upper >= reach ||
          (*size - 1) * op.getDilations()[d] >= 2 * reach)
        return false;
    }
    return true;
  }

  WgmmaProblem wgmmaProblem() {
    WgmmaProblem problem{type, Major::Depth, Major::Depth, rows.constant()};
    if (!isMatrixOfPixels()) {
      double elements = double(likely(product(shapes, xDims))) + double(likely(positions)) * double(likely(dims[1])) +
                        double(likely(dims[1])) * double(likely(depth));
      problem.windows = WgmmaProblem::Windows{depthOfLines(), elements * sizeOf(type)};
    }
    return problem;
  }

  /// Windows of x, or its pixels.
  TensorMap dataMap(int lines) {
    const int64_t size = sizeOf(type);
    DimExpr stride = xDims[1] * size, one = shapes.constant(1);
    TensorMap map{kernel.positionOf(kernel.bufferOf(x.memory)), getElementTypeOrSelf(x.memory.getType()), shapes.constant(0), {xDims[1]}, {}, {int(perLine()), lines}, type == Arithmetic::TF32};
    if (isMatrixOfPixels()) {
      map.dims.append({positions, one});
      map.strides = {stride, stride};
      map.box.push_back(1);
      return map;
    }
    for (size_t d = rank; d-- > 0;) {
      map.dims.push_back(xDims[d + 2]);
      map.strides.push_back(stride);
      map.lower.push_back(-*pads[d].constant());
      map.upper.push_back(*upperCorner(d));
      map.steps.push_back(op.getStrides()[d]);
      stride = stride * xDims[d + 2];
    }
    map.dims.push_back(xDims[0]);
    map.strides.push_back(stride);
    return map;
  }
  /// Channels, output channels of all groups, taps.
  TensorMap weightMap(int lines) {
    const int64_t size = sizeOf(type);
    return {kernel.positionOf(kernel.bufferOf(w.memory)),
            getElementTypeOrSelf(w.memory.getType()),
            shapes.constant(0),
            {groupChannels, channels * groups, isMatrixOfPixels() ? shapes.constant(1) : shapes.constant(taps())},
            {depth * size, groupChannels * size},
            {int(perLine()), lines, 1},
            type == Arithmetic::TF32};
  }

  void useWgmma(const WgmmaSchedule &s, const std::string &end) {
    const WgmmaProblem problem = wgmmaProblem();
    launchWgmma(s, problem, batches, rows, columns);
    TensorMap data = dataMap(transposedProduct ? s.rows / s.clusterColumns : s.columns / s.clusterRows),
              weight = weightMap(transposedProduct ? s.columns / s.clusterRows : s.rows / s.clusterColumns);
    if (!transposedProduct)
      std::swap(data, weight);
    kernel.kernel.wgmma.tensors = {data, weight};
    // A single result can be stored by the copy engine as a matrix of each group.
    Value yielded = kernel.region.getYielded()[0];
    Type stored = getElementTypeOrSelf(yielded.getType());
    auto transpose = yielded == op.getResult() ? TransposeOp() : yielded.getDefiningOp<TransposeOp>();
    bool isMatrix = transposedProduct ? isChannelsLast(transpose) : !transpose && dims[0].isConstant(1);
    std::string store = end;
    if (kernel.region.getNumResults() == 1 && isMatrix && isStorable(s, stored, columns)) {
      DimExpr pitch = transposedProduct ? dims[1] : columns;
      Value body = storedBody();
      mapResult(stored, rows, columns, pitch, batches, transposedProduct ? columns : rows * columns);
      auto indexOfBody = [&](ElementBuilder &b, Value row, Value column) { return indexOf(b, row, column); };
      auto sourced = batches.isConstant(1) && s.takesSource() ? epilogue.buildSourced(e, indexOfBody) : std::nullopt;
      store = storeByMap(s, stored, pitch, body, sourced);
    }
    if (changesGroup)
      store = "[&](int at) { group = at; return " + store + "; }";
    else
      store = "[&](int) { return " + store + "; }";
    std::string dataMapName = transposedProduct ? "map0" : "map1", weightMapName = transposedProduct ? "map1" : "map0",
                constant = kernel.isConstant(w.memory) ? "<true>" : "", dataText, weightText;
    if (isMatrixOfPixels()) {
      dataText = "flame::TensorOperand{" + dataMapName + ", 0}";
      weightText = "flame::TensorOperand" + constant + "{" + weightMapName + ", 0}";
      kernel.templates.push_back("impl/WgmmaGemm.h");
    } else {
      auto integer = [&](DimExpr expr) { return "(int)" + number(expr); };
      dataText = "flame::WindowOperand<" + std::to_string(rank) + ">{" + dataMapName + ", {" + integer(groupChannels) +
                 ", " + integer(xDims[1]) + ", " + list([&](size_t d) { return integer(xDims[d + 2]); }) + ", " +
                 list([&](size_t d) { return integer(outDims[d]); }) + ", " +
                 list([&](size_t d) { return integer(kernelDims[d]); }) + ", " +
                 list([&](size_t d) { return std::to_string(op.getStrides()[d]); }) + ", " +
                 list([&](size_t d) { return std::to_string(op.getDilations()[d]); }) + ", " +
                 list([&](size_t d) { return integer(pads[d]); }) + "}}";
      weightText = "flame::TapOperand" + constant + "{" + weightMapName + ", " + integer(groupChannels) + ", " + integer(channels) + "}";
      kernel.templates.push_back("impl/WgmmaConv.h");
    }
    std::string sizes = problemText(rows, columns, isMatrixOfPixels() ? depth : shapes.constant(depthOfLines()));
    SmallVector<std::string> arguments{sizes + ", (int)" + number(batches), transposedProduct ? dataText : weightText,
                                       transposedProduct ? weightText : dataText, store};
    if (s.streamK)
      arguments.append({"flame::NoScales()", sharesText()});
    callWgmma(s, problem, arguments);
  }
};

} // namespace

LogicalResult flame::cuda::emitConv(KernelBuilder &kernel) {
  ConvOp op = onlyAnchor<ConvOp>(kernel.region);
  return op ? ConvEmitter(kernel, op).emit() : emitLoop(kernel);
}
