//===- EmitTranspose.cpp - transposes of the last dim ---------------------------------------------------------------===//
//
// A transpose that moves the last dim reads and writes neighbours of different dims. What comes before the transpose is
// computed on the way in, what comes after it on the way out. There are two ways:
//
//   squares   where both dims are multiples of the widest access, a thread reads a square of as many lines as an access has
//             elements, and writes its columns: every access is 16 bytes (8 for elements of one byte) and nothing goes through
//             shared memory;
//   tiles     otherwise a block takes a square tile of the two dims: it reads along the operand's last dim, keeps the tile in
//             shared memory, and writes along the result's.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "KernelBuilder.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;
using Values = ElementBuilder::Values;
using arith::CmpIPredicate;

namespace {
struct Match {
  Operation *op;
  SmallVector<int64_t> perm;
  size_t across; // the dim of the result that is the operand's last
};
} // namespace

/// The region's only transpose, if all that depends on it is pointwise of its shape and all that it depends on is pointwise,
/// too, and the dims are worth a tile.
static std::optional<Match> match(KernelBuilder &kernel) {
  constexpr int64_t least = 8;
  ShapeContext &shapes = kernel.shapes;
  std::optional<Match> found;
  llvm::SmallPtrSet<Value, 16> dependent;
  for (Operation &op : kernel.region.getBlock()->without_terminator()) {
    if (op.getNumResults() != 1)
      return std::nullopt;
    Value result = op.getResult(0);
    if (op.getName().stripDialect() == "transpose") {
      auto perm = op.getAttrOfType<DenseI64ArrayAttr>("perm");
      if (found || !perm || perm.size() < 2 || perm.asArrayRef().back() == perm.size() - 1)
        return std::nullopt;
      found = Match{&op, SmallVector<int64_t>(perm.asArrayRef()), 0};
      found->across = llvm::find(found->perm, perm.size() - 1) - found->perm.begin();
      dependent.insert(result);
    } else if (op.getName().stripDialect() == "constant") {
      continue;
    } else if (!isa<PointwiseInterface>(op)) {
      return std::nullopt;
    } else if (llvm::any_of(op.getOperands(), [&](Value v) { return dependent.contains(v); })) {
      if (ArrayRef<DimExpr>(shapes.dims(result)) != ArrayRef<DimExpr>(shapes.dims(found->op->getResult(0))))
        return std::nullopt;
      dependent.insert(result);
    }
  }
  if (!found || !llvm::all_of(kernel.region.getYielded(), [&](Value v) { return dependent.contains(v); }))
    return std::nullopt;
  ArrayRef<DimExpr> dims = shapes.dims(found->op->getResult(0));
  for (DimExpr dim : {dims.back(), dims[found->across]})
    if (dim.constant().value_or(least) < least)
      return std::nullopt;
  return found;
}

/// The elements of a square's side: those of the widest access; 0 where squares are no way.
static int64_t squareSide(KernelBuilder &kernel, const Match &transpose) {
  constexpr int64_t accessBytes = 16, threads = 256, enoughBlocks = 264;
  ShapeContext &shapes = kernel.shapes;
  Value result = transpose.op->getResult(0);
  unsigned bits = 8, ops = 0;
  auto add = [&](Value value) {
    bits = std::max(bits, storageType(getElementTypeOrSelf(value.getType())).getIntOrFloatBitWidth());
  };
  llvm::for_each(kernel.region.getBlock()->getArguments(), add);
  llvm::for_each(kernel.region.getYielded(), add);
  for (Operation &op : kernel.region.getBlock()->without_terminator())
    ops += op.getName().stripDialect() != "constant";
  constexpr int64_t mostElements = 64, mostCode = 256; // in registers; of all ops
  int64_t side = std::min<int64_t>(accessBytes * 8 / bits, 8);
  ArrayRef<DimExpr> dims = shapes.dims(result);
  int64_t elements = 1;
  for (DimExpr dim : dims)
    elements *= dim.constant().value_or(0);
  for (DimExpr dim : {dims.back(), dims[transpose.across]})
    if (!dim.constant() || *dim.constant() % side != 0)
      return 0;
  if (side < 2 || side * side > mostElements || side * side * ops > mostCode ||
      elements / (side * side * threads) < enoughBlocks)
    return 0;
  return side;
}

static void emitSquares(KernelBuilder &kernel, const Match &transpose, int64_t side) {
  // A warp reads 128 bytes of each line and writes pieces of 64 bytes of each column; a block reads lines of 512 bytes and
  // writes 128. Of the shapes measured on an H200 it is the fastest; docs/rationale/performance.md.
  constexpr int threads = 256, warp = 32, acrossInWarp = 8, warpsAcross = 4;
  constexpr int64_t squaresAcross = acrossInWarp * warpsAcross, squaresAlong = threads / squaresAcross;
  ShapeContext &shapes = kernel.shapes;
  Value result = transpose.op->getResult(0), operand = transpose.op->getOperand(0);
  kernel.kernel.threads = threads;
  ArrayRef<DimExpr> dims = shapes.dims(result);
  size_t rank = dims.size(), across = transpose.across, along = rank - 1;
  SmallVector<DimExpr> grid;
  for (size_t d = 0; d < rank; ++d)
    if (d != across && d != along)
      grid.push_back(dims[d]);
  grid.push_back(ceilDiv(dims[across], shapes.constant(squaresAcross * side)));
  grid.push_back(ceilDiv(dims[along], shapes.constant(squaresAlong * side)));

  ElementBuilder e(kernel.b, kernel.loc, kernel, shapes);
  Values place = e.delinearize(kernel.block, grid), base(rank);
  size_t next = 0;
  for (size_t d = 0; d < rank; ++d)
    if (d != across && d != along)
      base[d] = place[next++];
  Value inWarp = e.remi(kernel.thread, e.index(warp)), number = e.divi(kernel.thread, e.index(warp));
  Value x = e.addi(e.remi(inWarp, e.index(acrossInWarp)),
                   e.muli(e.remi(number, e.index(warpsAcross)), e.index(acrossInWarp)));
  Value y = e.addi(e.divi(inWarp, e.index(acrossInWarp)),
                   e.muli(e.divi(number, e.index(warpsAcross)), e.index(warp / acrossInWarp)));
  auto first = [&](Value tile, Value square, int64_t squares) {
    return e.muli(e.addi(e.muli(tile, e.index(squares)), square), e.index(side));
  };
  Value firstAcross = first(place[next], x, squaresAcross), firstAlong = first(place[next + 1], y, squaresAlong);
  auto squares = [&] {
    SmallVector<Values> indices, elements(kernel.region.getNumResults());
    Values values;
    auto forEach = [&](bool reading, function_ref<void(int64_t, const Values &)> visit) {
      for (int64_t line = 0; line < side; ++line)
        for (int64_t lane = 0; lane < side; ++lane) {
          Values at(base);
          at[across] = e.addi(firstAcross, e.index(reading ? lane : line));
          at[along] = e.addi(firstAlong, e.index(reading ? line : lane));
          visit(reading ? line * side + lane : lane * side + line, at);
        }
    };
    forEach(true, [&](int64_t, const Values &at) {
      Values source(rank);
      for (size_t d = 0; d < rank; ++d)
        source[transpose.perm[d]] = at[d];
      values.push_back(e.element(operand, source));
    });
    // All elements first, then all stores: an operand of what comes after may be read by several.
    forEach(false, [&](int64_t position, const Values &at) {
      e.scope([&] {
        e.setScalar(result, values[position]);
        for (auto [yielded, list] : llvm::zip(kernel.region.getYielded(), elements))
          list.push_back(e.element(yielded, at));
        e.clearScalar(result);
      });
      indices.push_back(at);
    });
    for (auto [i, list] : llvm::enumerate(elements))
      for (auto [at, element] : llvm::zip(indices, list))
        kernel.storeResult(e, i, at, element);
  };
  bool whole = *dims[across].constant() % (squaresAcross * side) == 0 && *dims[along].constant() % (squaresAlong * side) == 0;
  if (whole)
    squares();
  else
    e.ifThen(arith::AndIOp::create(e.b, e.loc, e.cmpi(CmpIPredicate::slt, firstAcross, e.expr(dims[across])),
                                   e.cmpi(CmpIPredicate::slt, firstAlong, e.expr(dims[along]))),
             squares);
  DimExpr blocks = shapes.constant(1);
  for (DimExpr dim : grid)
    blocks = blocks * dim;
  kernel.kernel.extent = blocks;
}

bool flame::cuda::emitTranspose(KernelBuilder &kernel) {
  std::optional<Match> transpose = match(kernel);
  if (!transpose)
    return false;
  if (int64_t side = squareSide(kernel, *transpose)) {
    emitSquares(kernel, *transpose, side);
    return true;
  }
  constexpr int threads = 256;
  ShapeContext &shapes = kernel.shapes;
  Value result = transpose->op->getResult(0), operand = transpose->op->getOperand(0);
  Type elementType = getElementTypeOrSelf(result.getType()), stored = storageType(elementType);
  // A line of a tile is 128 bytes, and a word is left between lines, so that the lines of a column lie in different banks.
  int64_t bytes = std::max(1u, stored.getIntOrFloatBitWidth() / 8), side = std::clamp<int64_t>(128 / bytes, 32, 64);
  int64_t pitch = side + std::max<int64_t>(1, 4 / bytes);
  kernel.kernel.threads = threads;

  SmallVector<DimExpr> dims(shapes.dims(result));
  size_t rank = dims.size(), across = transpose->across, along = rank - 1;
  DimExpr size = shapes.constant(side);
  SmallVector<DimExpr> grid;
  for (size_t d = 0; d < rank; ++d)
    if (d != across && d != along)
      grid.push_back(dims[d]);
  grid.push_back(ceilDiv(dims[across], size));
  grid.push_back(ceilDiv(dims[along], size));

  ElementBuilder e(kernel.b, kernel.loc, kernel, shapes);
  Values place = e.delinearize(kernel.block, grid), base(rank);
  size_t next = 0;
  for (size_t d = 0; d < rank; ++d)
    if (d != across && d != along)
      base[d] = place[next++];
  Value firstAcross = e.muli(place[next], e.index(side)), firstAlong = e.muli(place[next + 1], e.index(side));
  Value limitAcross = e.expr(dims[across]), limitAlong = e.expr(dims[along]);
  Value tile = kernel.sharedMemory(stored, side * pitch);
  ScalarBuilder s = e.scalars(elementType);

  // A warp's threads are neighbours along `lane`; each takes every (threads / side)-th line.
  Value lane = e.remi(kernel.thread, e.index(side)), line = e.divi(kernel.thread, e.index(side));
  struct Place {
    Values at;      // in the result
    Value inside;   // null: always
    Value position; // in the tile, which is stored as it is read: a line is a place along the result's last dim
  };
  auto places = [&](bool reading) {
    SmallVector<Place> all;
    bool whole = llvm::all_of(ArrayRef<DimExpr>{dims[across], dims[along]},
                              [&](DimExpr dim) { return dim.constant().value_or(1) % side == 0; });
    Value laneAt = e.addi(reading ? firstAcross : firstAlong, lane);
    Value laneInside = whole ? Value() : e.cmpi(CmpIPredicate::slt, laneAt, reading ? limitAcross : limitAlong);
    for (int64_t i = 0; i < side; i += threads / side) {
      Value step = e.addi(line, e.index(i)), lineAt = e.addi(reading ? firstAlong : firstAcross, step);
      Place place{base, {}, {}};
      place.at[across] = reading ? laneAt : lineAt;
      place.at[along] = reading ? lineAt : laneAt;
      if (!whole)
        place.inside = arith::AndIOp::create(
            e.b, e.loc, laneInside, e.cmpi(CmpIPredicate::slt, lineAt, reading ? limitAlong : limitAcross));
      place.position = reading ? e.addi(e.muli(step, e.index(pitch)), lane) : e.addi(e.muli(lane, e.index(pitch)), step);
      all.push_back(std::move(place));
    }
    return all;
  };
  // All reads are under way before the first is waited for.
  SmallVector<Place> reads = places(true);
  Values values;
  for (Place &place : reads) {
    auto read = [&] {
      Values source(rank);
      for (size_t d = 0; d < rank; ++d)
        source[transpose->perm[d]] = place.at[d];
      return s.toStorage(e.element(operand, source), elementType);
    };
    values.push_back(place.inside ? e.ifElse(place.inside, read, [&] { return s.toStorage(s.number(elementType, 0), elementType); })
                                  : read());
  }
  for (auto [place, value] : llvm::zip(reads, values))
    memref::StoreOp::create(e.b, e.loc, value, tile, place.position);
  kernel.barrier();
  for (Place &place : places(false)) {
    auto write = [&] {
      Value scalar = memref::LoadOp::create(e.b, e.loc, tile, place.position);
      e.setScalar(result, s.fromStorage(scalar, elementType));
      SmallVector<Value> elements;
      for (Value yielded : kernel.region.getYielded())
        elements.push_back(e.element(yielded, place.at));
      for (auto [i, element] : llvm::enumerate(elements))
        kernel.storeResult(e, i, place.at, element);
      e.clearScalar(result);
    };
    if (place.inside)
      e.ifThen(place.inside, write);
    else
      write();
  }
  DimExpr blocks = shapes.constant(1);
  for (DimExpr dim : grid)
    blocks = blocks * dim;
  kernel.kernel.extent = blocks;
  return true;
}
