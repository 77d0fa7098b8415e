//===- EmitContract.cpp - matrix products in tiles ----------------------------------------------------------------===//
//
// A product becomes a call of a device template: by matrix instructions for f16, bf16 and 8 bits, by ordinary
// multiply-adds for f32 (strict arithmetic), f64 and 32- and 64-bit integers, and by a template of its own where one
// operand has but a few rows. An operand that is memory, through whatever transposes and slices, is handed over as
// address and pitch; any other as a function of its indices. What the region does with the product is handed over as a
// function too. Two products of one left operand (see Analysis/PairedProducts.h) are one call, with two right operands and a function of
// both sums.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ContractCall.h"
#include "FoldEpilogue.h"
#include "SegmentEpilogue.h"
#include "KernelOps.h"
#include "StridedOperand.h"
#include "flame/Analysis/PairedProducts.h"
#include "flame/Body/ScaledProduct.h"
#include "flame/Ops/Contraction.h"
#include "flame/Ops/Shape.h"
#include "llvm/Support/SaveAndRestore.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;
using arith::CmpIPredicate;

namespace {

/// The anchor of one region on its way into a call.
class ContractEmitter : ContractCall {
public:
  /// Of one product, or of two that are paired.
  template <typename Op>
  ContractEmitter(KernelBuilder &kernel, ArrayRef<Op> ops)
      : ContractCall(kernel), op(ops.front()), other(ops.size() == 2 ? Product(ops.back()) : Product()), products(ops.size()), folds(kernel),
        epilogue(kernel, SmallVector<Value>(llvm::map_range(ops, [](Op op) { return op.getResult(); })), folds.results()) {}
  ContractEmitter(KernelBuilder &kernel, ScaledMatMulOp scaled)
      : ContractCall(kernel), op(scaled), scaled(scaled), products(1), folds(kernel), epilogue(kernel, {scaled.getResult()}, folds.results()) {}

  LogicalResult emit() {
    if (auto found = scaled || other || op.ends ? std::nullopt : SegmentEpilogue::match(kernel, op.result))
      segments.emplace(std::move(*found));
    if (op.isPacked || (!segments && !epilogue.isSupported()) || !chooseArithmetic())
      return emitLoop(kernel);
    shapeUp();
    if (op.ends && (!ends || !ends->strides[0].isConstant(1)))
      return emitLoop(kernel);
    ContractSizes sizes{likely(batches), likely(rows), likely(columns), likely(depth), products};
    sizes.folds = folds.count();
    if (groups)
      sizes.groups = std::max<int64_t>(likely(groups), 1);
    if (scaled)
      sizes.scaleColumns = scaled.getColumns();
    if (segments)
      return emitSegments(sizes);
    if (!groups && folds.count() == 0) {
      FailureOr<bool> isThin = emitThin(sizes);
      if (failed(isThin) || *isThin)
        return isThin;
    }
    if (type == Arithmetic::F32 && kernel.tf32)
      type = Arithmetic::TF32;
    if (other && !isMatrix(type))
      return emitLoop(kernel);
    // Folds are those of the rows of one matrix, from whole tiles. Who makes such regions sees to that; any other is right, and slow.
    if (folds.count() > 0 && (groups || scaled || !isMatrix(type) || !batch.empty() || y.isVector || !isMultiple(columns, foldColumns)))
      return emitLoop(kernel);
    const bool plain = !other || lineOrder(y, columns.isConstant(1)) == lineOrder(z, columns.isConstant(1));
    sizes.x = orderOf(x, /*isX=*/true), sizes.y = orderOf(y, /*isX=*/false, plain);
    if (failed(chooseTiles(sizes)))
      return failure();
    // A schedule that a person gave may put the border of two tensors inside of a tile.
    if (x.further && !isMultiple(x.border, tileDepth)) {
      x.memory.reset();
      x.further.reset();
    }
    DimExpr blocks = tiles(rows, columns);
    placeBatch(blocks);
    std::string problem = problemText(rows, columns, depth);
    std::string xText = operandText(x, /*isX=*/true), yText = rightText();
    if (groups) {
      problem += ", " + groupsText();
      yText = "[&](int group) { return " + yText + "; }";
    }
    std::string end = epilogueText();
    if ((isMatrix(type) || narrow) && failed(useWgmma(problem, sizes, end)))
      return failure();
    callTiles({problem, xText, yText, withFolds(end)});
    kernel.kernel.extent = batches * blocks;
    return success();
  }

private:
  struct Product {
    Value x, y, result; // null: none
    Value ends;         // of groups of rows; null: there are none
    bool transposeX = false, transposeY = false, isPacked = false;

    Product() = default;
    explicit Product(MatMulOp op)
        : x(op.getX()), y(op.getY()), result(op.getResult()), transposeX(op.getTransposeX()), transposeY(op.getTransposeY()),
          isPacked(op.getPackedColumns().has_value()) {}
    explicit Product(GroupedMatMulOp op)
        : x(op.getX()), y(op.getY()), result(op.getResult()), ends(op.getEnds()), transposeY(op.getTransposeY()) {}
    explicit Product(ScaledMatMulOp op) : x(op.getX()), y(op.getY()), result(op.getResult()), transposeY(true) {}
    explicit operator bool() const { return bool(result); }
  };

  /// One operand as a matrix per batch, a line dim (rows of x, columns of y) and the inner dim.
  struct Side {
    Value value;
    Type elementType;
    SmallVector<DimExpr> batch; // own batch dims
    DimExpr batchStride;        // if followsBatch
    bool isVector, transposed;  // transposed: the inner dim comes before the line dim in x, after it in y
    std::optional<StridedOperand> memory;
    DimExpr lineStride, depthStride; // if memory
    /// The operand from `border` of the inner dim on, in memory of its own, with the same strides but from line to line.
    std::optional<StridedOperand> further;
    DimExpr border, furtherStride;
  };

  /// Whole segments of the result are at hand in tiles by wgmma alone.
  LogicalResult emitSegments(ContractSizes &sizes) {
    sizes.segment = segments->width;
    if (!batch.empty() || !isMatrix(type))
      return emitLoop(kernel);
    kernel.waitsLater = true;
    kernel.templates.push_back("epilogue/StoreSegments.h");
    std::string problem = problemText(rows, columns, depth);
    if (failed(useWgmma(problem, sizes, "")))
      return failure();
    if (wgmma.empty())
      return emitLoop(kernel);
    kernel.kernel.threads = 128;
    kernel.kernel.extent = shapes.constant(1);
    call("__trap()");
    return success();
  }

  Product op, other;
  std::optional<SegmentEpilogue> segments;
  ScaledMatMulOp scaled; // `op`, if blocks of its operands have scales
  int products;
  FoldEpilogue folds;
  ContractEpilogue epilogue;
  Type elementType; // what operands are converted to
  /// Elements of 8 bits that wgmma multiplies; other matrix instructions multiply them as f16, which has all their values.
  std::optional<Arithmetic> narrow;
  Side x, y, z; // z: the other product's y
  std::optional<StridedOperand> xScale, yScale; // of `scaled`, if they are memory
  std::optional<StridedOperand> ends;           // of groups
  DimExpr xScaleRow;                            // from row to row
  SmallVector<DimExpr> batch; // of the result, empty if its dims are part of the rows
  SmallVector<DimExpr> rowDims;
  DimExpr batches, rows, columns, depth;
  Values batchAt;

  /// False if no template multiplies such elements.
  bool chooseArithmetic() {
    Type left = getElementTypeOrSelf(op.x.getType()), right = getElementTypeOrSelf(op.y.getType());
    elementType = getElementTypeOrSelf(op.result.getType());
    Type compute = computeType(elementType);
    if (scaled) {
      if (left != right || !isa<Float8E4M3FNType, Float8E5M2Type>(left) || !compute.isF32())
        return false;
      // As they are by wgmma alone; by the others as the model has them, scaled.
      narrow = isa<Float8E4M3FNType>(left) ? Arithmetic::E4M3 : Arithmetic::E5M2;
      type = elementType.isF16() ? Arithmetic::F16 : elementType.isBF16() ? Arithmetic::BF16 : Arithmetic::F32;
    } else if (left == right && (left.isF16() || left.isBF16()) && compute.isF32()) {
      type = left.isF16() ? Arithmetic::F16 : Arithmetic::BF16;
      elementType = left;
    } else if (left == right && left.isInteger(8) && elementType.isInteger(32)) {
      type = left.isUnsignedInteger() ? Arithmetic::U8 : Arithmetic::I8;
      elementType = left;
    } else if (left == right && isa<Float8E4M3FNType, Float8E5M2Type>(left) && compute.isF32()) {
      narrow = isa<Float8E4M3FNType>(left) ? Arithmetic::E4M3 : Arithmetic::E5M2;
      type = Arithmetic::F16;
      elementType = e.b.getF16Type();
    } else if (compute.isF32()) {
      type = Arithmetic::F32;
      elementType = compute;
    } else if (compute.isF64()) {
      type = Arithmetic::F64;
    } else if (compute.isInteger(32)) {
      type = Arithmetic::I32;
    } else if (compute.isInteger(64)) {
      type = Arithmetic::I64;
    } else {
      return false;
    }
    return true;
  }

  Side side(Value value, bool isX, bool transposed) {
    Side s;
    s.value = value;
    s.elementType = getElementTypeOrSelf(value.getType());
    SmallVector<DimExpr> dims(shapes.dims(value));
    s.isVector = dims.size() == 1;
    s.transposed = transposed;
    s.batch.assign(dims.begin(), dims.end() - (s.isVector ? 1 : 2));
    s.memory = stridedOperand(kernel, value);
    if (s.memory) {
      ArrayRef<DimExpr> strides = s.memory->strides;
      // x is [line, depth], y [depth, line], unless transposed.
      bool lineFirst = isX != transposed;
      s.depthStride = s.isVector ? strides[0] : strides[strides.size() - (lineFirst ? 1 : 2)];
      s.lineStride = s.isVector ? shapes.constant(0) : strides[strides.size() - (lineFirst ? 2 : 1)];
    }
    if (auto concat = value.getDefiningOp<ConcatOp>(); concat && isX)
      joinTensors(s, concat);
    return s;
  }

  /// Two tensors one after the other along the inner dim, if both are lines along it.
  void joinTensors(Side &s, ConcatOp concat) {
    int64_t last = shapes.rank(concat.getResult()) - 1;
    if (concat.getXs().size() != 2 || last < 1 || int64_t(concat.getAxis()) != last || s.transposed || !isMatrix(type) ||
        sizeOf(type) != 2 || s.elementType != elementType)
      return;
    // No tile of any schedule has the border inside.
    constexpr int64_t wholeTiles = 256;
    DimExpr border = shapes.dim(concat.getXs()[0], last);
    if (border.constant().value_or(1) % wholeTiles != 0)
      return;
    auto first = stridedOperand(kernel, concat.getXs()[0]), second = stridedOperand(kernel, concat.getXs()[1]);
    if (!first || !second || !first->strides[last].isConstant(1) || !second->strides[last].isConstant(1))
      return;
    s.border = border;
    s.memory = first, s.further = second;
    s.depthStride = first->strides[last], s.lineStride = first->strides[last - 1], s.furtherStride = second->strides[last - 1];
  }

  /// Sizes of the product. A batch of x that meets one matrix y is more rows.
  void shapeUp() {
    SmallVector<DimExpr> xDims(shapes.dims(op.x)), yDims(shapes.dims(op.y)),
        dims(shapes.dims(op.result));
    x = side(op.x, true, op.transposeX);
    y = side(op.y, false, op.transposeY);
    if (other)
      z = side(other.y, false, other.transposeY);
    if (op.ends) {
      ends = stridedOperand(kernel, op.ends);
      groups = shapes.dim(op.ends, 0);
    }
    if (scaled) {
      xScale = stridedOperand(kernel, scaled.getXScale()), yScale = stridedOperand(kernel, scaled.getYScale());
      if (xScale)
        xScaleRow = *(xScale->strides.end() - 2);
    }
    DimExpr one = shapes.constant(1);
    depth = x.isVector ? xDims[0] : xDims[xDims.size() - (x.transposed ? 2 : 1)];
    columns = y.isVector ? one : dims.back();
    ArrayRef<DimExpr> before = ArrayRef<DimExpr>(dims).drop_back(y.isVector ? 0 : 1);
    if (!x.isVector)
      rowDims.push_back(before.back());
    batch.assign(before.begin(), before.end() - (x.isVector ? 0 : 1));
    rows = x.isVector ? one : rowDims[0];
    bool single = llvm::all_of(y.batch, [](DimExpr d) { return d.isConstant(1); });
    if (single && !batch.empty() && !x.isVector && x.batch == batch && joinsRows()) {
      if (xScale && !joinsRows(*xScale, xScaleRow))
        xScale.reset();
      rowDims.insert(rowDims.begin(), batch.begin(), batch.end());
      batch.clear();
      x.batch.clear();
      for (DimExpr dim : ArrayRef(rowDims).drop_back())
        rows = rows * dim;
    }
    batches = one;
    for (DimExpr dim : batch)
      batches = batches * dim;
  }

  /// True if rows of consecutive matrices of x are one pitch apart throughout, or x is computed anyway.
  bool joinsRows() {
    if (!x.memory)
      return !x.transposed;
    return joinsRows(*x.memory, x.lineStride) && (!x.further || joinsRows(*x.further, x.furtherStride));
  }
  bool joinsRows(const StridedOperand &memory, DimExpr &lineStride) {
    DimExpr reach = lineStride * rows;
    bool onlyOneRow = rows.isConstant(1), started = false;
    for (size_t d = x.batch.size(); d-- > 0;) {
      if (x.batch[d].isConstant(1))
        continue;
      if (onlyOneRow && !started)
        lineStride = memory.strides[d]; // rows of one are as far apart as the batch says
      else if (memory.strides[d] != reach)
        return false;
      started = true;
      reach = memory.strides[d] * x.batch[d];
    }
    return true;
  }

  void placeBatch(DimExpr tiles) {
    Value at = batches.isConstant(1) ? e.index(0) : e.divi(kernel.block, e.expr(tiles));
    batchAt = e.delinearize(at, batch);
  }

  /// True for matrices of which each group has one.
  bool isOfGroups(const Side &s) const { return groups && &s != &x; }

  /// The batch index of an operand: its dims follow the result's, right-aligned, where they are not broadcast.
  Values batchOf(const Side &s) {
    Values index;
    size_t shift = batch.size() - s.batch.size();
    for (size_t d = 0; d < s.batch.size(); ++d) {
      if (s.batch[d].isConstant(1))
        index.push_back(e.index(0));
      else if (s.batch[d] == batch[d + shift] || s.batch[d].constant())
        index.push_back(batchAt[d + shift]);
      else
        index.push_back(
            e.select(e.cmpi(CmpIPredicate::eq, e.expr(s.batch[d]), e.index(1)), e.index(0), batchAt[d + shift]));
    }
    return index;
  }

  /// Where the matrix of this block's batch begins.
  Value beginning(const Side &s) { return beginning(s, *s.memory); }
  Value beginning(const Side &s, const StridedOperand &memory) {
    Value offset = e.expr(memory.offset);
    if (!s.batch.empty() && !isOfGroups(s))
      for (auto [at, stride] : llvm::zip(batchOf(s), memory.strides))
        offset = e.addi(offset, e.muli(at, e.expr(stride)));
    return offset;
  }

  /// True if lines may run along the side: matrix instructions transpose elements of 16 bits alone.
  bool readsSide() const { return !isMatrix(type) || sizeOf(type) == 2; }
  /// True if the operand's elements in memory are what the template multiplies.
  bool isPlain(const Side &s) { return s.memory && s.elementType == elementType; }
  /// The order in which a plain operand can be read in lines; empty if neither dim is contiguous.
  std::optional<StringRef> lineOrder(const Side &s, bool single) {
    if (!isPlain(s))
      return std::nullopt;
    if (s.depthStride.isConstant(1) || depth.isConstant(1))
      return StringRef("Depth");
    if ((s.lineStride.isConstant(1) || single) && readsSide())
      return StringRef("Side");
    return std::nullopt;
  }
  std::string plainText(const Side &s, StringRef order, bool single) {
    bool alongDepth = order == "Depth";
    // The pitch of a single line matters to nobody, and a pitch of nothing is aligned.
    bool oneLine = alongDepth ? single : depth.isConstant(1);
    DimExpr pitch = oneLine ? shapes.constant(0) : alongDepth ? s.lineStride : s.depthStride;
    std::string ofGroup = isOfGroups(s) ? " + ($I)group * " + number(s.memory->strides[0]) : "";
    std::string text = ContractCall::plainText(order, pitch, s.memory->memory, beginning(s), /*isWeight=*/true, ofGroup);
    if (!s.further)
      return text;
    std::string more = ContractCall::plainText(order, s.furtherStride, s.further->memory, beginning(s, *s.further), /*isWeight=*/true);
    return "flame::joined<$I>(" + text + ", " + more + ", " + number(s.border) + ")";
  }

  /// y, or both right operands by turns.
  std::string rightText() {
    if (!other)
      return operandText(y, /*isX=*/false);
    bool single = columns.isConstant(1), plain = lineOrder(y, single) == lineOrder(z, single);
    std::string left = operandText(y, /*isX=*/false, plain), right = operandText(z, /*isX=*/false, plain);
    return "flame::paired<" + std::to_string(warpColumns) + ">(" + left + ",\n      " + right + ")";
  }

  /// The order of an operand's lines; if `plain`, as they are in memory, where they are. What can be read in either order is
  /// read along its faster dim.
  Major orderOf(const Side &s, bool isX, bool plain = true) {
    if (auto order = lineOrder(s, (isX ? rows : columns).isConstant(1)); order && plain)
      return *order == "Depth" ? Major::Depth : Major::Side;
    return !readsSide() || (isX ? !s.transposed : s.transposed) ? Major::Depth : Major::Side;
  }

  std::string operandText(Side &s, bool isX, bool plain = true) {
    bool single = (isX ? rows : columns).isConstant(1);
    if (auto order = lineOrder(s, single); order && plain)
      return plainText(s, *order, single);
    // By function.
    bool alongDepth = orderOf(s, isX, plain) == Major::Depth;
    StringRef line = isX ? "row" : "column", functionName = isX ? "x" : &s == &z ? "z" : "y";
    const bool ofGroup = isOfGroups(s);
    SmallVector<Type> types(ofGroup ? 3 : 2, e.b.getIndexType());
    const StringRef names[] = {line, "depth", "group"};
    Value function =
        FunctionOp::create(e.b, kernel.loc, functionName, types, ArrayRef(names).take_front(types.size()), [&](ValueRange args) {
          Value stored;
          e.scope([&] {
            Values at = ofGroup ? Values{args[2]} : batchOf(s);
            if (isX && batch.empty() && rowDims.size() > 1) {
              at = e.delinearize(args[0], rowDims); // the batch is part of the rows
              at.insert(at.end() - s.transposed, args[1]);
            } else if (s.isVector) {
              at.push_back(args[1]);
            } else {
              bool lineFirst = isX != s.transposed;
              at.push_back(args[lineFirst ? 0 : 1]);
              at.push_back(args[lineFirst ? 1 : 0]);
            }
            ScalarBuilder scalars = e.scalars(elementType);
            Value element = scaled ? scalars.cast(scaledElement(e, scaled, isX, at), e.b.getF32Type(), elementType)
                                   : scalars.cast(e.element(s.value, at), s.elementType, elementType);
            stored = scalars.toStorage(element, elementType);
          });
          return stored;
        });
    std::string element = operand(function);
    return "flame::computed<" + storageName(elementType) + ", flame::Major::" + (alongDepth ? "Depth" : "Side") + ">(" +
           (ofGroup ? "flame::ofGroup(group, " + element + ")" : element) + ")";
  }

  std::string groupsText() {
    bool wide = getElementTypeOrSelf(op.ends.getType()).isInteger(64);
    std::string from = address(ends->memory, e.expr(ends->offset)), count = number(groups), all = number(rows), type = wide ? "long long" : "int";
    return "flame::RowGroups<" + type + ", $I>{(const " + type + " *)(" + from + "), (int)(" + count + "), ($I)(" + all + ")}";
  }

  Values indexOf(ElementBuilder &b, ArrayRef<Value> before, ArrayRef<DimExpr> dims, Value row, Value column) {
    Values at(before);
    if (dims.size() == 1)
      at.push_back(row);
    else
      llvm::append_range(at, b.delinearize(row, dims));
    if (!y.isVector)
      at.push_back(column);
    return at;
  }
  /// Of a row among those of all batches.
  Values indexOfAll(ElementBuilder &b, Value row, Value column) {
    SmallVector<DimExpr> dims(batch);
    llvm::append_range(dims, rowDims);
    return indexOf(b, {}, dims, row, column);
  }
  std::string epilogueText() {
    return epilogue.build(
        e, [&](ElementBuilder &b, Value row, Value column) { return indexOf(b, batchAt, rowDims, row, column); },
        /*contiguous=*/true, operands);
  }
  /// The epilogue with what it gives beside its result.
  std::string withFolds(const std::string &store) {
    if (folds.count() == 0)
      return store;
    kernel.templates.push_back("epilogue/Fold.h");
    return folds.build(e, store, rows, operands);
  }
  /// For tiles of which each has its batch: the functions count rows through all batches.
  std::string epilogueOfBatches(StringRef first) {
    return epilogue.build(
        e, [&](ElementBuilder &b, Value row, Value column) { return indexOfAll(b, row, column); },
        /*contiguous=*/true, operands,
        [&](const std::string &function) { return "flame::fromRow(" + first.str() + ", " + function + ")"; }, "OfAll");
  }

  // ---- by wgmma, for sm_90a

  /// An operand that the copy engine can read: contiguous along one dim, the lines and the start at multiples of 16 bytes
  /// for all sizes that the model may run with.
  std::optional<Major> wgmmaOrder(const Side &s) {
    int size = sizeOf(type);
    if (!isPlain(s) || s.isVector || !isMultiple(s.memory->offset, 16 / size) || !isMultiple(s.batchStride, 16 / size))
      return std::nullopt;
    if (s.further && !(isMultiple(s.further->offset, 16 / size) && isMultiple(s.furtherStride, 16 / size)))
      return std::nullopt;
    if (s.depthStride.isConstant(1) && isMultiple(s.lineStride, 16 / size))
      return Major::Depth;
    if (s.lineStride.isConstant(1) && size == 2 && isMultiple(s.depthStride, 16 / size))
      return Major::Side;
    return std::nullopt;
  }

  /// Notes how far apart the matrices of consecutive batches are: 0 if there is but one. False if they are not evenly apart.
  bool followsBatch(Side &s) {
    s.batchStride = shapes.constant(0);
    if (isOfGroups(s)) {
      if (isPlain(s))
        s.batchStride = s.memory->strides[0];
      // What is behind the last group reads zeros behind the last matrix.
      return !s.batchStride.isConstant(0);
    }
    if (llvm::all_of(s.batch, [](DimExpr dim) { return dim.isConstant(1); }))
      return true;
    if (!isPlain(s) || s.further || ArrayRef(s.batch) != ArrayRef(batch))
      return false;
    DimExpr reach;
    for (size_t d = batch.size(); d-- > 0;) {
      if (batch[d].isConstant(1))
        continue;
      if (!reach)
        s.batchStride = s.memory->strides[d];
      else if (s.memory->strides[d] != reach)
        return false;
      reach = s.memory->strides[d] * batch[d];
    }
    return true;
  }

  TensorMap tensorMap(const Side &s, DimExpr lines, Major order, int linesOfBox, DimExpr depth) {
    int64_t size = sizeOf(type);
    bool along = order == Major::Depth;
    DimExpr stride = (along ? s.lineStride : s.depthStride) * size;
    bool single = s.batchStride.isConstant(0);
    return {kernel.positionOf(kernel.bufferOf(s.memory->memory)),
            elementType,
            s.memory->offset * size,
            {along ? depth : lines, along ? lines : depth, single ? shapes.constant(1) : isOfGroups(s) ? groups : batches},
            {stride, single ? stride : s.batchStride * size},
            {int(WgmmaSchedule::lineBytes / size), linesOfBox, 1},
            type == Arithmetic::TF32};
  }

  /// Its type in the text: what is the same in all runs may be copied before the kernels before this one have ended.
  std::string tensorOperand(const Side &s) {
    return std::string("flame::TensorOperand") + (!groups && kernel.isConstant(s.memory->memory) ? "<true>" : "");
  }

  /// True if the template reads both operands' scales where they are.
  bool canScale() {
    const uint64_t columns = scaled.getColumns();
    return batch.empty() && xScale && yScale && int64_t(scaled.getDepth()) == WgmmaSchedule::scaledDepth &&
           (columns == 1 || (columns % 8 == 0 && llvm::isPowerOf2_64(columns)));
  }
  std::string scalesText() {
    auto text = [&](const StridedOperand &scale, DimExpr line) {
      std::string begin = address(scale.memory, e.expr(scale.offset)), step = number(line);
      return begin + ", " + step + ", " + number(scale.strides.back());
    };
    std::string left = text(*xScale, xScaleRow), right = text(*yScale, yScale->strides[0]);
    return "flame::BlockScales<" + std::to_string(scaled.getColumns()) + ", $I>{" + left + ", " + right + "}";
  }

  /// The call for sm_90a, and its launch; none where the copy engine can't read the operands or the other kernel is likely faster.
  /// Its epilogue is `end`.
  LogicalResult useWgmma(const std::string &problem, const ContractSizes &sizes, const std::string &end, bool isThin = false) {
    // A block has a table of the groups, whose size is part of the launch.
    constexpr int64_t mostGroups = 4096;
    const int64_t count = groups ? groups.constant().value_or(0) : 1;
    if (!kernel.wgmma || count < 1 || count > mostGroups)
      return success();
    llvm::SaveAndRestore<Arithmetic> multiplied(type, narrow.value_or(type));
    llvm::SaveAndRestore<Type> stored(elementType, narrow ? x.elementType : elementType);
    if (!followsBatch(x) || !followsBatch(y) || (other && !followsBatch(z)))
      return success();
    auto xOrder = wgmmaOrder(x), yOrder = wgmmaOrder(y);
    if (!xOrder || !yOrder || (other && wgmmaOrder(z) != yOrder) || (scaled && !canScale()))
      return success();
    const bool isWeight = !groups && kernel.isConstant(y.memory->memory) && (!other || kernel.isConstant(z.memory->memory));
    WgmmaProblem product{type, *xOrder, *yOrder, groups ? std::nullopt : rows.constant(), {}, isThin, isWeight};
    if (groups)
      product.groups = int(count);
    auto chosen = chooseWgmmaTiles(product, sizes);
    if (failed(chosen))
      return failure();
    if (!*chosen || (x.further && !isMultiple(x.border, (*chosen)->depth)))
      return success();
    const WgmmaSchedule &s = **chosen;
    // A single result in the product's own order can be stored by the copy engine.
    Value yielded = kernel.region.getYielded()[0];
    Type resultType = getElementTypeOrSelf(yielded.getType());
    const bool isOwnOrder = yielded == op.result || !yielded.getDefiningOp<TransposeOp>(),
               byMap = epilogue.stored().size() == 1 && isOwnOrder && isStorable(s, resultType, columns, products);
    if (folds.count() > 0 && !byMap)
      return success();
    launchWgmma(s, product, batches, rows, columns, products);
    auto boxLines = [&](Major order, int lines, int sharers) {
      return (order == Major::Depth ? lines : s.depth) / sharers;
    };
    WgmmaLaunch &launch = kernel.kernel.wgmma;
    launch.tensors.push_back(
        tensorMap(x, rows, *xOrder, boxLines(*xOrder, s.rows, s.clusterColumns), x.further ? x.border : depth));
    const int columnsOfBox = boxLines(*yOrder, s.columns / products, s.clusterRows);
    launch.tensors.push_back(tensorMap(y, columns, *yOrder, columnsOfBox, depth));
    bool batched = !batches.isConstant(1);
    std::string store = batched ? epilogueOfBatches("first") : end;
    if (segments) {
      mapResult(resultType, rows, columns, columns, batches, columns);
      store = segments->build(e, rowDims, "map2", operands);
    } else if (byMap) {
      Value body = storedBody();
      mapResult(resultType, rows, columns, columns, batches, batched ? columns * rows : columns);
      auto indexOfBody = [&](ElementBuilder &b, Value row, Value column) {
        return batched ? indexOfAll(b, row, column) : indexOf(b, batchAt, rowDims, row, column);
      };
      auto sourced = groups || products > 1 || !s.takesSource(folds.count() > 0) ? std::nullopt : epilogue.buildSourced(e, indexOfBody);
      store = withFolds(storeByMap(s, resultType, columns, body, sourced, batched ? "first" : ""));
    }
    std::string left = tensorOperand(x) + "{map0, ";
    if (x.further) {
      Side more = x;
      more.memory = x.further, more.lineStride = x.furtherStride;
      left = "flame::JoinedTensors{map0, map" + std::to_string(launch.tensors.size()) + ", " + this->number(x.border) + ", ";
      launch.tensors.push_back(tensorMap(more, rows, *xOrder, boxLines(*xOrder, s.rows, s.clusterColumns), depth - x.border));
    }
    std::string right = tensorOperand(y) + "{map1, ";
    if (other) {
      right = std::string("flame::PairedTensors") + (isWeight ? "<true>" : "") + "{map1, map" +
              std::to_string(launch.tensors.size()) + ", ";
      launch.tensors.push_back(tensorMap(z, columns, *yOrder, columnsOfBox, depth));
    }
    std::string number = groups ? "" : ", 1", make = "[&](int) { return ";
    if (batched) {
      number = ", " + this->number(batches);
      make = "[&](int batch) { const $I first = ($I)batch * " + this->number(rows) + "; return ";
    }
    auto step = [](const Side &s) { return s.batchStride.isConstant(0) ? "0}" : "1}"; };
    kernel.templates.push_back("impl/WgmmaGemm.h");
    SmallVector<std::string> arguments{problem + number, left + step(x) + ", " + right + step(y), make + store + "; }"};
    if (scaled || s.streamK)
      arguments.push_back(scaled ? scalesText() : "flame::NoScales()");
    if (s.streamK)
      arguments.push_back(sharesText());
    callWgmma(s, product, arguments);
    return success();
  }

  /// A product whose one side has a few lines, or likely has, reads the other side once for every few; false if it is none.
  FailureOr<bool> emitThin(const ContractSizes &sizes) {
    if (type != Arithmetic::F16 && type != Arithmetic::BF16 && type != Arithmetic::F32)
      return false;
    constexpr int64_t fewLines = 4;
    // Of two thin sides the one with more lines is the wide one.
    bool swapped = likely(columns) < likely(rows);
    Side &thin = swapped ? y : x, &wide = swapped ? x : y;
    DimExpr thinLines = swapped ? columns : rows, wideLines = swapped ? rows : columns;
    int64_t lines = likely(thinLines);
    // More lines than expected make more groups of them.
    bool grouped = !thinLines.constant();
    if (lines < 1 || lines > fewLines || !isPlain(thin) || x.further || (grouped && (swapped || !batches.isConstant(1))) ||
        (other && swapped))
      return false;
    if (grouped)
      lines = fewLines;
    auto order = lineOrder(wide, wideLines.isConstant(1));
    if (!order || (other && lineOrder(z, wideLines.isConstant(1)) != order))
      return false;
    bool along = *order == "Depth";
    // Two lines a warp where that still leaves a block for every multiprocessor.
    constexpr int64_t manyLines = 4096;
    bool two = lines == 1 && !other && likely(wideLines) >= manyLines;
    const ThinSchedule usual{int(llvm::PowerOf2Ceil(lines)), along ? (two ? 2 : 1) : 4, along};
    std::optional<ThinSchedule> chosen = usual;
    auto isValid = [&](const ThinSchedule &s) {
      return s.rows == usual.rows && s.along == along && llvm::isPowerOf2_32(s.lines) && s.lines <= 8;
    };
    if (failed(settle<ThinSchedule>("thin", sizes, chosen, isValid)))
      return failure();
    if (!chosen)
      return false;
    const ThinSchedule schedule = *chosen;
    int bytes = sizeOf(type);
    DimExpr blocks = ceilDiv(wideLines, shapes.constant(schedule.columns(bytes)));
    kernel.kernel.threads = schedule.threads();
    kernel.kernel.shared = schedule.sharedBytes(bytes, products);
    kernel.templates.push_back("impl/Thin.h");
    placeBatch(blocks);
    // The template's rows are the thin side's lines.
    std::string problem, first;
    Value begin = beginning(thin);
    if (grouped) {
      Value group = e.muli(e.divi(kernel.block, e.expr(blocks)), e.index(fewLines));
      first = operand(group);
      std::string count = operand(e.mini(e.subi(e.expr(thinLines), group), e.index(fewLines)));
      std::string across = number(wideLines), inner = number(depth);
      problem = "flame::Problem<$I>{" + count + ", " + across + ", " + inner + "}";
      begin = e.addi(begin, e.muli(group, e.expr(thin.lineStride)));
    } else {
      problem = problemText(thinLines, wideLines, depth);
    }
    std::string thinAddress = address(thin.memory->memory, begin), thinLine = number(thin.lineStride),
                thinDepth = number(thin.depthStride), storage = storageName(elementType);
    std::string wideText = plainText(wide, *order, wideLines.isConstant(1));
    if (other) // the template doesn't care for groups
      wideText = "flame::paired<8>(" + wideText + ",\n      " + plainText(z, *order, wideLines.isConstant(1)) + ")";
    std::string end = grouped ? epilogueOfBatches(first) : epilogueText();
    kernel.waitsLater = true;
    if (isMatrix(type) && !swapped) {
      std::string whole = grouped ? problemText(rows, columns, depth) : problem;
      if (failed(useWgmma(whole, sizes, grouped ? epilogueText() : end, /*isThin=*/true)))
        return failure();
    }
    call(std::string("flame::") + (along ? "thinAlong<" : "thinAcross<") + cuda::text(schedule) + ", " +
         cuda::text(type) + (swapped ? ", true>(" : ", false>(") + problem + ",\n      flame::ThinRows<" + storage +
         ", $I>{" + thinAddress + ", " + thinLine + ", " + thinDepth + "},\n      " + wideText + ",\n      " + end +
         ", " + operand(e.expr(blocks)) + ")");
    kernel.kernel.extent = (grouped ? ceilDiv(thinLines, shapes.constant(fewLines)) : batches) * blocks;
    return true;
  }
};

} // namespace

LogicalResult flame::cuda::emitContract(KernelBuilder &kernel) {
  if (auto scaled = onlyAnchor<ScaledMatMulOp>(kernel.region))
    return llvm::hasSingleElement(kernel.region.getBlock()->getOps<MatMulOp>()) ? emitLoop(kernel) : ContractEmitter(kernel, scaled).emit();
  SmallVector<MatMulOp> ops(kernel.region.getBlock()->getOps<MatMulOp>());
  SmallVector<GroupedMatMulOp> grouped(kernel.region.getBlock()->getOps<GroupedMatMulOp>());
  auto isOne = [&](auto &ops) { return ops.size() == 1 || (ops.size() == 2 && arePaired(ops[0], ops[1], kernel.shapes, kernel.tf32)); };
  if (ops.empty() && isOne(grouped))
    return ContractEmitter(kernel, ArrayRef<GroupedMatMulOp>(grouped)).emit();
  return grouped.empty() && isOne(ops) ? ContractEmitter(kernel, ArrayRef<MatMulOp>(ops)).emit() : emitLoop(kernel);
}
