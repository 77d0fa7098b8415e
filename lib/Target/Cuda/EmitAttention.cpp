//===- EmitAttention.cpp - softmax(score(q k^T)) v in one kernel --------------------------------------------------===//
//
// The region becomes a call of runtime/kernels/impl/Attention.h. What lies between the first product and the softmax is
// handed over as a function of (row, column, score); factors of the scores that are known to be positive become one
// with the conversion to base 2, and masks that hide the keys from some bound on become that bound, so that what nobody
// sees is not computed.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ChooseSchedule.h"
#include "Schedules.h"
#include "ContractEpilogue.h"
#include "schedule/Team.h"
#include "KernelOps.h"
#include "StridedOperand.h"
#include "flame/Analysis/Attention.h"
#include "flame/Ops/Pointwise.h"
#include "flame/Ops/Shape.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/StringExtras.h"
#include <cmath>

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;
using arith::CmpIPredicate;

namespace {

class AttentionEmitter {
public:
  AttentionEmitter(KernelBuilder &kernel, const Attention &attention)
      : kernel(kernel), shapes(kernel.shapes), attention(attention),
        epilogue(kernel, MatMulOp(attention.context).getResult(), attention.logSum, 1 / attention.weightScale), e(kernel.b, kernel.loc, kernel, kernel.shapes) {}

  LogicalResult emit() {
    if (!epilogue.isSupported())
      return emitLoop(kernel);
    MatMulOp scores = attention.scores, context = attention.context;
    elementType = getElementTypeOrSelf(context.getY().getType());
    SmallVector<DimExpr> dims(shapes.dims(scores.getResult())), result(shapes.dims(context.getResult()));
    batch.assign(dims.begin(), dims.end() - 2);
    DimExpr rows = dims[dims.size() - 2], keys = dims.back();
    Value q = unscaled(scores.getX()), k = unscaled(scores.getY()), v = context.getY();
    DimExpr depth = shapes.dims(q)[batchRank(q) + (scores.getTransposeX() ? 0 : 1)], columns = result.back();
    findBounds();
    bool plain = takeFactors();
    DimExpr batches = shapes.constant(1);
    for (DimExpr dim : batch)
      batches = batches * dim;
    AttentionSizes sizes{likely(batches),        likely(rows),             likely(keys),
                         int(*depth.constant()), int(*columns.constant()), !plain};
    const Arithmetic type = arithmetic(elementType), keyType = arithmetic(getElementTypeOrSelf(k.getType()));
    const int keyBytes = sizeOf(keyType);
    llvm::json::Object described{{"type", nameOf(type)},     {"batches", sizes.batches}, {"queries", sizes.queries},
                                 {"keys", sizes.keys},       {"depth", sizes.depth},     {"width", sizes.columns},
                                 {"causal", !bounds.empty()}, {"masked", sizes.masked}};
    if (keyType != type)
      described["key type"] = nameOf(keyType);
    auto fits = [](int padded, int size, int unit) { return padded >= size && padded < size + unit && padded % unit == 0; };
    auto fitsHead = [&](const auto &s, int unit) { return fits(s.depth, sizes.depth, unit) && fits(s.width, sizes.columns, 16); };
    std::optional<AttentionSchedule> chosen = chooseAttention(sizes);
    if (failed(settle<AttentionSchedule>("attention", described, chosen, [&](const AttentionSchedule &s) {
          return fitsHead(s, 16) && s.warpRows > 0 && s.warpKeys > 0 && s.warpRows * s.warpKeys <= 32 && s.rows > 0 && s.keys > 0 &&
                 s.rows % (16 * s.warpRows) == 0 && s.keys % (16 * s.warpKeys) == 0 && (s.stages == 1 || s.stages == 2) &&
                 s.splits > 0 && s.sharedBytes() <= 99 << 10;
        })))
      return failure();
    AttentionSchedule schedule = chosen.value_or(chooseAttention(sizes));
    kernel.kernel.threads = schedule.threads();
    kernel.kernel.shared = schedule.sharedBytes();
    kernel.templates.push_back("impl/Attention.h");
    DimExpr tiles = ceilDiv(rows, shapes.constant(schedule.rows));
    // Keys are [keys, depth] if the product transposes them; values [keys, columns] if it does not.
    bool queryLast = !scores.getTransposeX(), keyLast = scores.getTransposeY(), valueLast = context.getTransposeY();
    std::optional<HeadOperand> heads[3];
    std::optional<WgmmaAttentionSchedule> wgmma;
    bool sharesLast = false;
    if (kernel.wgmma && headAxes().size() <= 3 && (heads[0] = headOperand(q, queryLast)) &&
        (heads[1] = headOperand(k, keyLast)) && (heads[2] = headOperand(v, valueLast)) && heads[0]->order == Major::Depth) {
      const WgmmaAttentionProblem byWgmma{sizes, heads[1]->order, heads[2]->order, !bounds.empty(), keyBytes};
      wgmma = chooseWgmmaAttention(byWgmma);
      if (failed(settle<WgmmaAttentionSchedule>("wgmma-attention", described, wgmma, [&](const WgmmaAttentionSchedule &s) {
            return fitsHead(s, s.stepBytes / keyBytes) && s.isValid(heads[1]->order, heads[2]->order, keyBytes);
          })))
        return failure();
      sharesLast = wgmma && byWgmma.sharesLastTiles(*wgmma);
    }
    // Blocks that share a tile's keys lie next to each other.
    DimExpr parts = share(schedule, batches, rows, keys).parts;
    Sharing wgmmaSharing = wgmma ? share(*wgmma, batches, rows, keys, sharesLast) : Sharing();
    tiles = tiles * parts;
    Value head = batches.isConstant(1) ? e.index(0) : e.divi(kernel.block, e.expr(tiles));
    const bool isShared = !parts.isConstant(1);
    if (wgmma) {
      CallOp::create(e.b, kernel.loc, "int head = (int)($0)", {head});
      changesHead = true;
    }
    batchAt = e.delinearize(head, batch);

    std::string problem;
    for (DimExpr size : {rows, keys, depth, columns})
      problem += (problem.empty() ? "(int)" : ", (int)") + operand(e.expr(size));
    problem = "flame::AttentionProblem{" + problem + "}";
    std::string text = "flame::attention<" + cuda::text(schedule) + ", " + cuda::text(type) + ">(" + problem + ",\n      " +
                       side(q, "q", queryLast, /*anyOrder=*/false) + ",\n      " +
                       side(k, "k", keyLast, /*anyOrder=*/true) + ",\n      " +
                       side(v, "v", valueLast, /*anyOrder=*/true) + ",\n      ";
    std::string score = scoring(plain);
    if (attention.zeroesNaN)
      score = "flame::zeroForNaN(" + score + ")";
    std::string end = epilogue.build(
        e,
        [&](ElementBuilder &, Value row, Value column) {
          Values at(headAt());
          at.append({row, column});
          return at;
        },
        /*contiguous=*/true, operands);
    // The store's operands are the last ones.
    std::string tensorStore = "flame::tensorStore<unsigned short>(map3, $" + std::to_string(operands.size() - 2) + ")", logSums;
    if (attention.logSum)
      logSums = ", flame::totals(" + operand(logSumBody()) + ")";
    std::string wgmmaText;
    if (wgmma) {
      std::string storing = storeByMaps(*wgmma, keyBytes, rows, columns, *heads[0], *heads[1], *heads[2]) ? tensorStore : end;
      wgmmaText = "flame::wgmmaAttention<" + cuda::text(*wgmma) + ", " + cuda::text(type) + ", " + name(heads[1]->order) +
                  ", " + name(heads[2]->order) + (keyType == type ? "" : ", " + cuda::text(keyType)) + ">(" + problem + ", " +
                  headsText();
      for (auto [i, operand] : llvm::enumerate(heads))
        wgmmaText += ",\n      {map" + std::to_string(i) + ", " + operand->steps + "}";
      if (bounds.empty()) {
        wgmmaText += ", nullptr";
      } else {
        kernel.kernel.state = std::max(kernel.kernel.state, wgmma->stateBytes);
        wgmmaText += ", " + operand(kernel.stateMemory());
      }
      wgmmaText += ",\n      [&](int at) { head = at; return " + score + "; },\n      [&](int at) { head = at; return " +
                   storing + "; }";
      if (!wgmmaSharing.parts.isConstant(1))
        wgmmaText += ",\n      " + sharedKeys(wgmmaSharing) + ", [&](int at) { head = at; return " + end + "; }";
      else if (!logSums.empty())
        wgmmaText += ",\n      flame::SharedKeys{1}, nullptr";
      wgmmaText += logSums + ")";
      kernel.kernel.wgmma.extent = wgmmaSharing.whole + (wgmmaSharing.tiles - wgmmaSharing.whole) * wgmmaSharing.parts;
      kernel.templates.push_back("impl/WgmmaAttention.h");
    }
    text += score + ",\n      " + end;
    if (isShared)
      text += ",\n      " + sharedKeys({tiles, parts, shapes.constant(0)}) + ", (int)" + operand(head);
    else if (!logSums.empty())
      text += ",\n      flame::SharedKeys{1}, 0";
    CallOp::create(e.b, kernel.loc, text + logSums + ")", operands, wgmmaText);
    kernel.kernel.extent = batches * tiles;
    return success();
  }

private:
  KernelBuilder &kernel;
  ShapeContext &shapes;
  Attention attention;
  ContractEpilogue epilogue;
  ElementBuilder e;
  Type elementType; // of weights and values; that mma.sync multiplies queries and keys in, too
  SmallVector<DimExpr> batch; // of the scores and the result
  Values batchAt;           // of the block
  bool changesHead = false; // blocks by wgmma take several heads: functions look which one it is
  SmallVector<Value> operands;  // of the call
  SmallVector<Scaling> factors; // of the scores, still to be applied
  SmallVector<KeyBound> bounds;
  double scale = 1; // of the scores, beyond what their function does
  Value score;      // what the function computes

  /// What a file of schedules may take its place by.
  template <typename Schedule>
  LogicalResult settle(StringRef family, llvm::json::Object problem, std::optional<Schedule> &chosen,
                       llvm::function_ref<bool(const Schedule &)> isValid) {
    llvm::Error error = cuda::settle(kernel.schedules, family, std::move(problem), chosen, isValid);
    if (error)
      return mlir::emitError(kernel.region.getLoc()) << llvm::toString(std::move(error));
    return success();
  }

  /// Of `tiles` tiles those from `whole` on have `parts` blocks each.
  struct Sharing {
    DimExpr tiles, parts, whole;
  };
  /// Blocks that share the keys of a tile, each with a few steps at least: tiles that are too few for the GPU, and with `last` those that are left
  /// for the last round. They have memory to leave in what they have, unless they turn out to be one each.
  template <typename Schedule> Sharing share(Schedule &s, DimExpr batches, DimExpr rows, DimExpr keys, bool last = false) {
    DimExpr zero = shapes.constant(0), one = shapes.constant(1), blocks = shapes.constant(KeySharing::blocks),
            tiles = batches * ceilDiv(rows, shapes.constant(s.rows));
    Sharing none{tiles, one, zero};
    if (s.splits == 1)
      return none;
    DimExpr few = last ? mod(tiles, blocks) : tiles, some = max(few, one), once = floorDiv(blocks, some), parts = max(once, one);
    if (last) // of tiles for more than half of the GPU thirds in two rounds
      parts = once + (one - min(once - one, one)) * (floorDiv(blocks * 2, some) * 2 - 4);
    DimExpr most = min(shapes.constant(s.splits), ceilDiv(keys, shapes.constant(KeySharing::steps * s.keys)));
    parts = max(one, min(parts, most));
    if (parts.isConstant(1)) {
      s.splits = 1;
      return none;
    }
    DimExpr bytes = min(parts - one, one) * parts * few * int64_t(s.rows) * int64_t(4 * KeySharing::elements(s.width));
    kernel.kernel.scratch = kernel.kernel.scratch ? max(kernel.kernel.scratch, bytes) : bytes;
    kernel.kernel.state = TicketState::bytes;
    return {tiles, parts, tiles - few};
  }
  std::string sharedKeys(const Sharing &sharing) {
    std::string count = operand(e.expr(sharing.parts)), memory = operand(kernel.scratchMemory(e.b.getF32Type()));
    std::string text = "flame::SharedKeys{(int)" + count + ", " + memory + ", " + operand(kernel.stateMemory());
    if (!sharing.whole.isConstant(0))
      text += ", (int)" + operand(e.expr(sharing.whole));
    return text + "}";
  }

  static Arithmetic arithmetic(Type type) {
    return type.isF16()                   ? Arithmetic::F16
           : type.isBF16()                ? Arithmetic::BF16
           : isa<Float8E4M3FNType>(type) ? Arithmetic::E4M3
                                          : Arithmetic::E5M2;
  }

  std::string operand(Value value) {
    operands.push_back(value);
    return "$" + std::to_string(operands.size() - 1);
  }
  size_t batchRank(Value value) { return shapes.rank(value) - 2; }

  /// The operand of the first product without its factors.
  Value unscaled(Value value) {
    while (auto scaling = matchScaling(value.getDefiningOp(), shapes)) {
      factors.push_back(*scaling);
      value = scaling->x;
    }
    return value;
  }

  /// Takes masks that are bounds off the score, from the outside.
  void findBounds() {
    score = attention.score;
    for (;;) {
      Operation *op = score.getDefiningOp();
      if (auto cast = dyn_cast_or_null<CastOp>(op);
          cast && isa<FloatType>(getElementTypeOrSelf(cast.getX().getType()))) {
        score = cast.getX();
        continue;
      }
      auto where = dyn_cast_or_null<WhereOp>(op);
      auto hidden = where ? splatNumber(where.getY()) : std::nullopt;
      auto bound = hidden && *hidden == -INFINITY && shapes.dims(where.getX()) == shapes.dims(where.getResult())
                       ? matchKeyBound(where.getCondition(), shapes)
                       : std::nullopt;
      if (!bound)
        return;
      bounds.push_back(*bound);
      score = where.getX();
    }
  }

  /// If the score is the product times positive numbers: true, and `scale` is their product.
  bool takeFactors() {
    double product = 1;
    Value value = score;
    auto take = [&](const Scaling &scaling) {
      auto number = splatNumber(scaling.factor);
      if (!number || !(*number > 0) || !std::isfinite(*number))
        return false;
      product *= scaling.divides ? 1 / *number : *number;
      return true;
    };
    while (value != attention.scores->getResult(0)) {
      Operation *op = value.getDefiningOp();
      if (auto cast = dyn_cast<CastOp>(op)) {
        value = cast.getX();
        continue;
      }
      auto scaling = matchScaling(op, shapes);
      if (!scaling || !take(*scaling))
        return false;
      value = scaling->x;
    }
    if (!llvm::all_of(factors, take) || !std::isfinite(product) || float(product) == 0)
      return false;
    scale = product;
    return true;
  }

  /// Where the operand's matrix of this block's batch begins, or a function of its elements. `depthLast`: its last dim
  /// is the inner one of its product; for values, that of the keys.
  std::string side(Value value, StringRef name, bool depthLast, bool anyOrder) {
    SmallVector<DimExpr> dims(shapes.dims(value));
    auto memory = stridedOperand(kernel, value);
    if (memory && getElementTypeOrSelf(memory->memory.getType()) == elementType) {
      DimExpr last = memory->strides.back(), before = memory->strides[dims.size() - 2];
      // A single line has no pitch.
      bool lastRuns = last.isConstant(1), beforeRuns = before.isConstant(1) && !lastRuns;
      bool alongDepth = lastRuns == depthLast;
      if ((lastRuns || beforeRuns) && (alongDepth || anyOrder)) {
        DimExpr pitch = lastRuns ? before : last;
        Value offset = e.expr(memory->offset);
        for (auto [at, stride] : llvm::zip(batchOf(dims), memory->strides))
          offset = e.addi(offset, e.muli(at, e.expr(stride)));
        std::string from = operand(kernel.bufferOf(memory->memory));
        if (getConstantIntValue(getAsOpFoldResult(offset)) != 0)
          from += " + " + operand(offset);
        return "flame::Plain<" + storageName(elementType) + ", flame::Major::" + (alongDepth ? "Depth" : "Side") +
               ", " + std::to_string(copyBytes(pitch, 2)) + ", $I>{" + from + ", " + operand(e.expr(pitch)) + "}";
      }
    }
    Type index = e.b.getIndexType();
    Value function = FunctionOp::create(e.b, kernel.loc, name, {index, index}, {"side", "depth"}, [&](ValueRange args) {
      Value stored;
      e.scope([&] {
        Values at = batchOf(dims);
        at.append({args[depthLast ? 0 : 1], args[depthLast ? 1 : 0]});
        // Floats of 8 bits are floats of either kind of 16, too.
        ScalarBuilder s = e.scalars(elementType);
        stored = s.toStorage(s.cast(e.element(value, at), getElementTypeOrSelf(value.getType()), elementType), elementType);
      });
      return stored;
    });
    // Values run along the side, as they do in memory.
    return "flame::computed<" + storageName(elementType) + ", flame::Major::" + (name == "v" ? "Side" : "Depth") +
           ">(" + operand(function) + ")";
  }

  /// The batch index of an operand, right-aligned, 0 where it is broadcast.
  Values batchOf(ArrayRef<DimExpr> dims) {
    Values index;
    size_t own = dims.size() - 2, shift = batch.size() - own;
    for (size_t d = 0; d < own; ++d) {
      if (dims[d].isConstant(1))
        index.push_back(e.index(0));
      else if (dims[d] == batch[d + shift] || dims[d].constant())
        index.push_back(batchAt[d + shift]);
      else
        index.push_back(
            e.select(e.cmpi(CmpIPredicate::eq, e.expr(dims[d]), e.index(1)), e.index(0), batchAt[d + shift]));
    }
    return index;
  }

  /// The batch index that a function is called for.
  Values headAt() {
    if (!changesHead)
      return batchAt;
    return e.delinearize(ValueOp::create(e.b, kernel.loc, e.b.getIndexType(), "head", {}), batch);
  }

  /// The element of a value that is broadcast to [batch, row, column].
  Value at(Value value, Value row, Value column) {
    Values index(headAt());
    index.append({row, column});
    return e.broadcastElement(value, shapes.dims(attention.score), index);
  }

  // ---- by wgmma, for sm_90a

  /// An operand as the copy engine reads it, but for the lines that it copies at a time.
  struct HeadOperand {
    TensorMap map;
    Major order;
    std::string steps; // in each dim of the batch 0 where the operand is broadcast, otherwise 1
  };

  static std::string name(Major order) { return order == Major::Depth ? "flame::Major::Depth" : "flame::Major::Side"; }

  /// The dims of the batch that are more than one, from the inside out.
  SmallVector<size_t> headAxes() {
    SmallVector<size_t> axes;
    for (size_t d = batch.size(); d-- > 0;)
      if (!batch[d].isConstant(1))
        axes.push_back(d);
    return axes;
  }
  std::string headsText() {
    std::string text;
    SmallVector<size_t> axes = headAxes();
    for (size_t i = 0; i < 3; ++i)
      text += std::string(i ? ", " : "") + "(int)" + operand(i < axes.size() ? e.expr(batch[axes[i]]) : e.index(1));
    return "flame::Heads{" + text + "}";
  }

  /// Empty where the copy engine can't read it: lines, heads and the start must lie at multiples of 16 bytes for all sizes that the
  /// model may run with. `depthLast` as for side().
  std::optional<HeadOperand> headOperand(Value value, bool depthLast) {
    Type type = getElementTypeOrSelf(value.getType());
    const int64_t size = sizeOf(arithmetic(type)), aligned = 16 / size;
    SmallVector<DimExpr> dims(shapes.dims(value));
    auto memory = stridedOperand(kernel, value);
    if (!memory || getElementTypeOrSelf(memory->memory.getType()) != type || !isMultiple(memory->offset, aligned))
      return std::nullopt;
    auto isStride = [&](DimExpr stride) {
      return isMultiple(stride, aligned) && stride.constant().value_or(1) > 0;
    };
    size_t own = dims.size() - 2;
    bool lastRuns = memory->strides[own + 1].isConstant(1), beforeRuns = memory->strides[own].isConstant(1);
    DimExpr pitch = memory->strides[lastRuns ? own : own + 1];
    if (!(lastRuns || beforeRuns) || !isStride(pitch))
      return std::nullopt;
    HeadOperand result{{kernel.positionOf(kernel.bufferOf(memory->memory)), type, memory->offset * size, {}, {}, {}},
                       lastRuns == depthLast ? Major::Depth : Major::Side, ""};
    result.map.dims = {dims[lastRuns ? own + 1 : own], dims[lastRuns ? own : own + 1]};
    result.map.strides = {pitch * size};
    size_t shift = batch.size() - own;
    for (size_t axis : headAxes()) {
      bool broadcast = axis < shift || dims[axis - shift].isConstant(1) || memory->strides[axis - shift].isConstant(0);
      if (!broadcast && (dims[axis - shift] != batch[axis] || !isStride(memory->strides[axis - shift])))
        return std::nullopt;
      result.map.dims.push_back(broadcast ? shapes.constant(1) : dims[axis - shift]);
      result.map.strides.push_back((broadcast ? pitch : memory->strides[axis - shift]) * size);
      result.steps += broadcast ? "0, " : "1, ";
    }
    for (size_t i = headAxes().size(); i < 3; ++i) {
      result.map.dims.push_back(shapes.constant(1));
      result.map.strides.push_back(pitch * size);
      result.steps += "0, ";
    }
    result.steps = "{" + StringRef(result.steps).drop_back(2).str() + "}";
    return result;
  }

  /// The launch by wgmma. True if the copy engine stores the result.
  bool storeByMaps(const WgmmaAttentionSchedule &s, int keyBytes, DimExpr rows, DimExpr columns, HeadOperand q, HeadOperand k,
                   HeadOperand v) {
    WgmmaLaunch &launch = kernel.kernel.wgmma;
    launch.threads = s.threads();
    launch.shared = s.sharedBytes(k.order, v.order, keyBytes);
    q.map.box = {s.lineBytes / keyBytes, s.rows, 1, 1, 1};
    k.map.box = {s.lineBytes / keyBytes, k.order == Major::Depth ? s.keys : s.depth, 1, 1, 1};
    v.map.box = {s.perLine, v.order == Major::Side ? s.keys : s.width, 1, 1, 1};
    launch.tensors = {q.map, k.map, v.map};
    if (epilogue.stored().size() != 1)
      return false;
    const unsigned only = epilogue.stored().front();
    Value yielded = kernel.region.getYielded()[only];
    Type stored = getElementTypeOrSelf(yielded.getType());
    if (!(stored.isF16() || stored.isBF16()) || !isMultiple(columns, 8) ||
        s.width < s.perLine)
      return false;
    // Where a step along a dim of [batch, rows, columns] leads in the result.
    Value product = attention.context->getResult(0);
    auto transpose = yielded == product ? TransposeOp() : yielded.getDefiningOp<TransposeOp>();
    SmallVector<DimExpr> sizes(shapes.dims(yielded)), strides(sizes.size());
    DimExpr stride = shapes.constant(2);
    for (size_t d = sizes.size(); d-- > 0; stride = stride * sizes[d])
      strides[transpose ? transpose.getPerm()[d] : d] = stride;
    TensorMap map{kernel.positionOf(kernel.resultBuffer(only)), stored, shapes.constant(0), {columns, rows},
                  {strides[batch.size()]},                   {s.perLine, s.slabRows, 1, 1, 1}};
    for (size_t axis : headAxes()) {
      map.dims.push_back(batch[axis]);
      map.strides.push_back(strides[axis]);
    }
    map.dims.resize(5, shapes.constant(1));
    map.strides.resize(4, strides[batch.size()]);
    launch.tensors.push_back(map);
    return true;
  }
  /// Stores a row's log-sum-exp.
  Value logSumBody() {
    const unsigned result = llvm::find(kernel.region.getYielded(), attention.logSum) - kernel.region.getYielded().begin();
    return FunctionOp::create(e.b, kernel.loc, "logSum", {e.b.getIndexType(), e.b.getF32Type()}, {"row", "number"}, [&](ValueRange args) {
      e.scope([&] {
        Value number = args[1];
        if (attention.isNaNOfNothing) { // its largest score is minus infinity then, from which the model subtracts that
          ScalarBuilder s = e.scalars(e.b.getF32Type());
          Value nothing = s.number(e.b.getF32Type(), -INFINITY);
          number = e.select(arith::CmpFOp::create(e.b, kernel.loc, arith::CmpFPredicate::OEQ, number, nothing),
                            s.number(e.b.getF32Type(), NAN), number);
        }
        Values at(headAt());
        at.append({args[0], e.index(0)});
        kernel.storeResult(e, result, at, number);
      });
      return Value();
    });
  }

  std::string scoring(bool plain) {
    Type index = e.b.getIndexType(), real = e.b.getF32Type();
    Value body = FunctionOp::create(e.b, kernel.loc, "score", {index, index, real}, {"row", "column", "product"},
                                    [&](ValueRange args) {
                                      Value result = args[2];
                                      if (!plain)
                                        e.scope([&] {
                                          ScalarBuilder s = e.scalars(real);
                                          Value product = args[2];
                                          for (const Scaling &scaling : factors) {
                                            Type type = getElementTypeOrSelf(scaling.factor.getType());
                                            Values zeros(shapes.rank(scaling.factor), e.index(0));
                                            Value factor = s.cast(e.element(scaling.factor, zeros), type, real);
                                            product = scaling.divides ? s.div(product, factor) : s.mul(product, factor);
                                          }
                                          e.setScalar(attention.scores->getResult(0), product);
                                          result = at(score, args[0], args[1]);
                                          e.clearScalar(attention.scores->getResult(0));
                                        });
                                      return result;
                                    });
    double log2e = 1.44269504088896340736;
    std::string factor = operand(arith::ConstantOp::create(e.b, kernel.loc, e.b.getF32FloatAttr(float(scale * log2e))));
    std::string text = "flame::scores(" + factor + ", " + operand(body);
    if (bounds.empty())
      return text + ")";
    Value limit = FunctionOp::create(e.b, kernel.loc, "limit", {index}, {"row"}, [&](ValueRange args) {
      Value least;
      e.scope([&] {
        for (const KeyBound &bound : bounds) {
          Type type = getElementTypeOrSelf(bound.bound.getType());
          Value end = e.toIndex(at(bound.bound, args[0], e.index(0)), type);
          end = e.addi(e.subi(end, e.expr(bound.offset)), e.index(bound.inclusive ? 1 : 0));
          least = least ? e.mini(least, end) : end;
        }
      });
      return least;
    });
    return text + ", " + operand(limit) + ")";
  }
};

} // namespace

/// What the templates take; what regions are formed for is the pipeline's choice.
static constexpr int64_t largestHead = 512;

LogicalResult flame::cuda::emitAttention(KernelBuilder &kernel) {
  // The product that no other product depends on; the region holds nothing that others read.
  for (Operation &op : llvm::reverse(kernel.region.getBlock()->without_terminator()))
    if (auto context = dyn_cast<MatMulOp>(op)) {
      std::optional<Attention> attention =
          matchAttention(context, kernel.shapes, [](Operation *) { return false; }, largestHead);
      return attention ? AttentionEmitter(kernel, *attention).emit() : emitLoop(kernel);
    }
  return emitLoop(kernel);
}
