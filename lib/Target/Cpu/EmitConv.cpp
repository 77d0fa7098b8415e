//===- EmitConv.cpp - blocked convolutions ----------------------------------------------------------------------------===//
//
// A convolution is a matrix product: packed weights times the pixels that each output pixel sees. The iteration space is
// tiles of the result, some output channels times a strip of pixels. The strip is brought to scratch memory first, with
// whatever the region computes before the convolution:
//
// - flat (a kernel of one element): channels × pixels;
// - shifted (strides of 1): channels × rows of the image with their padding. Rows have a common pitch, so that a step in
//   the kernel is a constant offset and the product reads the strip in place; sums at the ends of rows, over pixels of two
//   rows, are never stored;
// - unfolded (everything else): each element of the kernel has its own copy of the pixels (im2col).
//
// The tile's elements are then pulled through what the region computes after the convolution, and stored.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "MicroKernel.h"
#include "flame/Ops/Conv.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"

using namespace mlir;
using namespace flame;
using namespace flame::cpu;
using Values = ElementBuilder::Values;
using arith::CmpIPredicate;

namespace {

/// One spatial dim.
struct Axis {
  DimExpr in, out, kernel, pad;
  int64_t stride = 1, dilation = 1;
};

class Conv {
public:
  Conv(KernelBuilder &kernel, ConvOp op)
      : kernel(kernel), op(op), shapes(kernel.shapes), e(kernel.b, kernel.loc, kernel, kernel.shapes), scratch(kernel) {}

  /// False if the convolution is not for blocks; nothing is built then.
  bool prepare() {
    xDims.assign(shapes.dims(op.getX()));
    dims.assign(shapes.dims(op.getResult()));
    weight = op.weightDims(shapes);
    elementType = getElementTypeOrSelf(op.getX().getType());
    type = computeType(elementType);
    if (!op.getPackedShape() || type.getIntOrFloatBitWidth() < 32 || getElementTypeOrSelf(op.getW().getType()) != type)
      return false;
    bytes = type.getIntOrFloatBitWidth() / 8;
    groups = op.getGroups();
    m = *weight[0].constant() / groups;
    c = *weight[1].constant();
    spatial = xDims.size() - 2;
    flat = true;
    SmallVector<Axis> axes;
    taps = 1;
    for (int64_t d = 0; d < spatial; ++d) {
      Axis axis{xDims[d + 2], dims[d + 2], weight[d + 2], shapes.element(op.getPads(), d), op.getStrides()[d],
                op.getDilations()[d]};
      flat &= axis.kernel.isConstant(1) && axis.stride == 1 && axis.pad.isConstant(0) &&
              shapes.element(op.getPads(), d + spatial).isConstant(0);
      taps *= *axis.kernel.constant();
      axes.push_back(axis);
    }
    if (m < 1 || c < 1 || taps < 1 || (!flat && spatial > 2))
      return false;
    DimExpr one = shapes.constant(1);
    vertical = {one, one, one, shapes.constant(0)};
    if (!flat) {
      horizontal = axes.back();
      if (spatial == 2)
        vertical = axes.front();
    }
    shifted = !flat && vertical.stride == 1 && horizontal.stride == 1 && taps <= 25;

    ConvProblem problem{m, c, taps, 1, shifted, flat, one, one, one, xDims[0] * groups};
    pixels = one;
    for (int64_t d = 0; d < spatial; ++d)
      pixels = pixels * dims[d + 2];
    if (flat) {
      problem.columns = pixels;
    } else {
      // Long rows are cut.
      auto width = horizontal.out.constant();
      segment = width && *width <= 240 ? horizontal.out : min(horizontal.out, shapes.constant(128));
      segments = width && *width <= 240 ? one : ceilDiv(horizontal.out, shapes.constant(128));
      reachRows = (*vertical.kernel.constant() - 1) * vertical.dilation;
      reachColumns = (*horizontal.kernel.constant() - 1) * horizontal.dilation;
      pitch = shifted ? segment + reachColumns : segment;
      problem.rows = vertical.out;
      problem.columns = segment;
      problem.pitch = pitch;
      problem.tapRows = reachRows + 1;
    }
    s = convSchedule(kernel.target, bytes, problem);
    return shapes.dim(op.getW(), 3).isConstant(s.mr);
  }

  void build() {
    auto constant = [&](int64_t value) { return shapes.constant(value); };
    // Rows of the strip in scratch memory are an odd number of cache lines apart.
    auto spread = [&](DimExpr size) {
      int64_t line = 64 / bytes;
      return ceilDiv(size, constant(2 * line)) * (2 * line) + line;
    };
    DimExpr stripSize, strips;
    inner = c * taps;
    if (flat) {
      strips = ceilDiv(pixels, constant(s.nc));
      stride = constant(s.nc);
      tileStride = constant(s.nc);
      stripSize = stride * c;
    } else {
      DimExpr rows = constant(s.stripRows);
      strips = ceilDiv(vertical.out, rows) * segments;
      // A tile's row holds whole micro-tiles.
      tileStride = ceilDiv((rows - 1) * pitch + segment, constant(s.nr)) * s.nr;
      stride = shifted ? spread((rows + reachRows) * pitch) : spread(tileStride);
      stripSize = shifted ? stride * c + (s.nr + reachColumns) : stride * inner;
    }
    strip = scratch.part(e, stripSize, bytes);
    tile = scratch.part(e, tileStride * s.mc, bytes);
    int64_t channelTiles = (m + s.mc - 1) / s.mc;

    e.loop(kernel.begin, kernel.end, {e.index(-1)}, [&](Value t, ValueRange last) {
      Value channelTile = e.remi(t, e.index(channelTiles)), id = e.divi(t, e.index(channelTiles));
      Values grid = e.delinearize(id, {xDims[0], constant(groups), strips});
      image = grid[0];
      group = grid[1];
      place(grid[2]);
      firstChannel = e.muli(channelTile, e.index(s.mc));
      channelCount = e.mini(e.subi(e.index(m), firstChannel), e.index(s.mc));
      e.ifThen(e.cmpi(CmpIPredicate::ne, id, last[0]), [&] {
        if (flat)
          packFlat();
        else if (shifted)
          packShifted();
        else
          packUnfolded();
      });
      multiply();
      finish();
      return Values{id};
    });
    kernel.kernel.extent = xDims[0] * strips * (groups * channelTiles);
    DimExpr work = tileStride * (std::min(s.mc, m) * inner);
    kernel.kernel.grain = grainFor(shapes, floorDiv(work, constant(s.lanes)) + 64);
    kernel.kernel.scratch = scratch.total();
  }

private:
  KernelBuilder &kernel;
  ConvOp op;
  ShapeContext &shapes;
  ElementBuilder e;
  ScratchLayout scratch;
  ConvSchedule s;
  Type elementType, type;
  unsigned bytes;
  SmallVector<DimExpr> xDims, dims, weight;
  int64_t groups, m, c, taps, inner, spatial, reachRows = 0, reachColumns = 0;
  bool flat, shifted;
  Axis vertical, horizontal;
  DimExpr pixels, segment, segments, pitch;
  DimExpr stride, tileStride; // elements between rows of the strip and of the tile
  Value strip, tile;
  // Of the tile in work.
  Value image, group, firstChannel, channelCount;
  Value firstPixel, firstRow, firstColumn, rowCount, columnCount;
  Value width; // pixels of the strip, those between rows included

  /// Where a strip lies in the result.
  void place(Value index) {
    if (flat) {
      firstPixel = e.muli(index, e.index(s.nc));
      width = e.mini(e.subi(e.expr(pixels), firstPixel), e.index(s.nc));
      return;
    }
    Value segmentIndex = e.remi(index, e.expr(segments)), rowIndex = e.divi(index, e.expr(segments));
    firstRow = e.muli(rowIndex, e.index(s.stripRows));
    rowCount = e.mini(e.subi(e.expr(vertical.out), firstRow), e.index(s.stripRows));
    firstColumn = e.muli(segmentIndex, e.expr(segment));
    columnCount = segments.isConstant(1) ? e.expr(segment)
                                         : e.mini(e.subi(e.expr(horizontal.out), firstColumn), e.expr(segment));
    width = e.addi(e.muli(e.subi(rowCount, e.index(1)), e.expr(pitch)), columnCount);
  }

  void store(Value position, Value scalar) {
    LLVM::StoreOp::create(e.b, e.loc, scalar, kernel.address(e.b, e.loc, strip, type, position));
  }
  Value channelOf(Value channel) { return groups == 1 ? channel : e.addi(e.muli(group, e.index(c)), channel); }

  void packFlat() {
    SmallVector<DimExpr> sizes(xDims.begin() + 2, xDims.end());
    e.loop(e.index(0), e.index(c), {}, [&](Value channel, ValueRange) {
      return e.loop(e.index(0), width, {}, [&](Value p, ValueRange) {
        Values at{image, channelOf(channel)};
        llvm::append_range(at, e.delinearize(e.addi(firstPixel, p), sizes));
        store(e.addi(e.muli(channel, e.expr(stride)), p), e.element(op.getX(), at));
        return Values();
      });
    });
  }

  /// One row of pixels into the strip at `base`: output column j of `count` reads input column origin + j · step of row
  /// `row` of a channel, or 0 outside of the image.
  void packRow(Value channel, Value row, Value origin, int64_t step, Value count, Value base) {
    Value zero = e.index(0), by = e.index(step);
    auto firstAt = [&](Value column) { // least j with origin + j · step >= column, within the row
      Value distance = e.subi(column, origin);
      Value j = step == 1 ? distance : e.floorDivi(e.addi(distance, e.index(step - 1)), by);
      return e.clampi(j, zero, count);
    };
    Value inside = e.inRange(row, zero, e.expr(vertical.in));
    Value low = e.select(inside, firstAt(zero), count), high = e.select(inside, firstAt(e.expr(horizontal.in)), count);
    Value none = e.scalars(elementType).number(elementType, 0);
    auto clear = [&](Value from, Value to) {
      e.loop(from, to, {}, [&](Value j, ValueRange) {
        store(e.addi(base, j), none);
        return Values();
      });
    };
    clear(zero, low);
    e.loop(low, high, {}, [&](Value j, ValueRange) {
      Values at{image, channelOf(channel)};
      if (spatial == 2)
        at.push_back(row);
      at.push_back(e.addi(origin, e.muli(j, by)));
      store(e.addi(base, j), e.element(op.getX(), at));
      return Values();
    });
    clear(e.maxi(high, low), count);
  }

  void packShifted() {
    Value origin = e.subi(firstColumn, e.expr(horizontal.pad));
    e.loop(e.index(0), e.index(c), {}, [&](Value channel, ValueRange) {
      return e.loop(e.index(0), e.addi(rowCount, e.index(reachRows)), {}, [&](Value r, ValueRange) {
        Value row = e.addi(e.subi(firstRow, e.expr(vertical.pad)), r);
        Value base = e.addi(e.muli(channel, e.expr(stride)), e.muli(r, e.expr(pitch)));
        packRow(channel, row, origin, 1, e.expr(pitch), base);
        return Values();
      });
    });
  }

  void packUnfolded() {
    e.loop(e.index(0), e.index(c), {}, [&](Value channel, ValueRange) {
      return e.loop(e.index(0), e.expr(vertical.kernel), {}, [&](Value ky, ValueRange) {
        return e.loop(e.index(0), e.expr(horizontal.kernel), {}, [&](Value kx, ValueRange) {
          Value k = e.linearize({channel, ky, kx}, {shapes.constant(c), vertical.kernel, horizontal.kernel});
          return e.loop(e.index(0), rowCount, {}, [&](Value r, ValueRange) {
            Value row = e.addi(e.subi(e.muli(e.addi(firstRow, r), e.index(vertical.stride)), e.expr(vertical.pad)),
                               e.muli(ky, e.index(vertical.dilation)));
            Value origin = e.addi(e.subi(e.muli(firstColumn, e.index(horizontal.stride)), e.expr(horizontal.pad)),
                                  e.muli(kx, e.index(horizontal.dilation)));
            Value base = e.addi(e.muli(k, e.expr(stride)), e.muli(r, e.expr(pitch)));
            packRow(channel, row, origin, horizontal.stride, columnCount, base);
            return Values();
          });
        });
      });
    });
  }

  void multiply() {
    Value rowPanels = e.divi(e.addi(channelCount, e.index(s.mr - 1)), e.index(s.mr));
    Value columnPanels = e.divi(e.addi(width, e.index(s.nr - 1)), e.index(s.nr));
    buildClear(kernel, e, s, type, tile, e.muli(e.muli(rowPanels, e.index(s.mr)), e.expr(tileStride)));
    // Weights: panels [group, panel, k, mr].
    Values head{group, e.divi(firstChannel, e.index(s.mr)), e.index(0), e.index(0)};
    SmallVector<DimExpr> packed(shapes.dims(op.getW()));
    Value left = kernel.address(e.b, e.loc, kernel.inputBuffer(cast<BlockArgument>(op.getW())), type,
                                e.linearize(head, packed));
    // A group of the inner dim is a channel of a shifted strip, with all its taps, or one row of another strip.
    int64_t groupRows = shifted ? taps : 1, innerGroups = inner / groupRows;
    int64_t step = std::max<int64_t>(1, s.kc / groupRows);
    Values offsets;
    if (shifted) {
      for (int64_t ky = 0; ky < *vertical.kernel.constant(); ++ky)
        for (int64_t kx = 0; kx < *horizontal.kernel.constant(); ++kx)
          offsets.push_back(e.expr(pitch * (ky * vertical.dilation) + kx * horizontal.dilation));
    } else {
      offsets.push_back(e.index(0));
    }
    e.loop(e.index(0), e.index(innerGroups), e.index(step), {}, [&](Value first, ValueRange) {
      Value length = e.mini(e.subi(e.index(innerGroups), first), e.index(step));
      e.loop(e.index(0), columnPanels, {}, [&](Value j, ValueRange) {
        Value b = kernel.address(e.b, e.loc, strip, type,
                                 e.addi(e.muli(first, e.expr(stride)), e.muli(j, e.index(s.nr))));
        e.loop(e.index(0), rowPanels, {}, [&](Value i, ValueRange) {
          MicroOperands o;
          o.a = kernel.address(
              e.b, e.loc, left, type,
              e.addi(e.muli(i, e.index(inner * s.mr)), e.muli(first, e.index(groupRows * s.mr))));
          o.b = b;
          o.stride = e.expr(stride);
          o.taps = offsets;
          o.groups = length;
          o.tile = kernel.address(e.b, e.loc, tile, type,
                                  e.addi(e.muli(i, e.expr(tileStride * s.mr)), e.muli(j, e.index(s.nr))));
          o.tileStride = e.expr(tileStride);
          buildMicroKernel(kernel, e, s, type, o);
          return Values();
        });
        return Values();
      });
      return Values();
    });
  }

  void finishAt(Value channel, Value position, ValueRange pixel) {
    Value sum = LLVM::LoadOp::create(
        e.b, e.loc, type,
        kernel.address(e.b, e.loc, tile, type, e.addi(e.muli(channel, e.expr(tileStride)), position)));
    e.setScalar(op.getResult(), sum);
    Values at{image, e.addi(e.addi(e.muli(group, e.index(m)), firstChannel), channel)};
    llvm::append_range(at, pixel);
    for (auto [result, value] : llvm::enumerate(kernel.region.getYielded()))
      kernel.storeResult(e, result, at, e.element(value, at));
  }

  void finish() {
    SmallVector<DimExpr> sizes(dims.begin() + 2, dims.end());
    // Where the tile's rows follow each other as the result's do, they are one row.
    bool joined = flat || (!shifted && segments.isConstant(1));
    e.loop(e.index(0), channelCount, {}, [&](Value channel, ValueRange) {
      if (joined) {
        Value start = flat ? firstPixel : e.muli(firstRow, e.expr(horizontal.out));
        return e.loop(e.index(0), width, {}, [&](Value p, ValueRange) {
          finishAt(channel, p, e.delinearize(e.addi(start, p), sizes));
          return Values();
        });
      }
      return e.loop(e.index(0), rowCount, {}, [&](Value r, ValueRange) {
        return e.loop(e.index(0), columnCount, {}, [&](Value w, ValueRange) {
          Values pixel;
          if (spatial == 2)
            pixel.push_back(e.addi(firstRow, r));
          pixel.push_back(e.addi(firstColumn, w));
          finishAt(channel, e.addi(e.muli(r, e.expr(pitch)), w), pixel);
          return Values();
        });
      });
    });
  }
};

} // namespace

LogicalResult flame::cpu::emitConv(KernelBuilder &kernel) {
  ConvOp op;
  for (Operation &inner : kernel.region.getBlock()->without_terminator())
    if (auto conv = dyn_cast<ConvOp>(&inner)) {
      if (op)
        return emitLoop(kernel);
      op = conv;
    }
  if (!op || !isPlainEpilogue(kernel, op.getResult()))
    return emitLoop(kernel);
  Conv conv(kernel, op);
  if (!conv.prepare())
    return emitLoop(kernel);
  conv.build();
  return success();
}
