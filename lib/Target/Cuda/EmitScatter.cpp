//===- EmitScatter.cpp - slices that are scattered into a tensor --------------------------------------------------------===//
//
// The region becomes a call of runtime/kernels/impl/Scatter.h: what index tuples point to are its rows. Here: where tuples point,
// how one group of a row is combined with an update, and how rows are dealt out to blocks. Every block goes through all
// tuples, so there are many blocks only where that is little beside the rows themselves.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ChooseSchedule.h"
#include "KernelBuilder.h"
#include "KernelOps.h"
#include "flame/Body/Scatter.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;

namespace {

constexpr int threads = 512;
/// Eight blocks for each of 132 multiprocessors, or one; rows of a block, whose numbers are in shared memory.
constexpr int64_t manyBlocks = 1056, fewBlocks = 132, mostRows = 4096;

struct ScatterDeal {
  int64_t rows = 1;  // of a block
  int64_t parts = 1; // of a row, a block each
};

ScatterDeal dealOut(int64_t rows, int64_t groups, int64_t updates) {
  // A tuple takes a thread as long as a quarter of a group does.
  int64_t blocks = manyBlocks;
  while (blocks > fewBlocks && updates / 4 * blocks > rows * groups)
    blocks /= 2;
  ScatterDeal deal;
  deal.parts = std::clamp<int64_t>(llvm::divideCeil(blocks, rows), 1, llvm::divideCeil(groups, threads));
  deal.rows = std::clamp<int64_t>(llvm::divideCeil(rows * deal.parts, blocks), 1, mostRows);
  return deal;
}

} // namespace

bool flame::cuda::emitScatter(KernelBuilder &kernel) {
  auto ops = kernel.region.getBlock()->without_terminator();
  auto op = llvm::hasSingleElement(ops) ? dyn_cast<ScatterNDOp>(*ops.begin()) : ScatterNDOp();
  if (!op || kernel.region.getNumResults() != 1 || kernel.region.getYielded()[0] != op.getResult())
    return false;
  ShapeContext &shapes = kernel.shapes;
  SmallVector<DimExpr> dims(shapes.dims(op.getX())), tuples(shapes.dims(op.getIndices()));
  const int64_t length = *tuples.pop_back_val().constant();
  if (length == 0 || !kernel.isMaterialized(op.getX()) || !kernel.isMaterialized(op.getIndices()) ||
      !kernel.isMaterialized(op.getUpdates()))
    return false;
  ArrayRef<DimExpr> outer = ArrayRef<DimExpr>(dims).take_front(length), inner = ArrayRef<DimExpr>(dims).drop_front(length);
  DimExpr rows = shapes.constant(1), groups = shapes.constant(1), updates = shapes.constant(1);
  for (DimExpr dim : outer)
    rows = rows * dim;
  for (DimExpr dim : tuples)
    updates = updates * dim;
  if (!updates.constant() &&
      failed(shapes.require(kernel.region, Requirement::LessEqual, updates, shapes.constant(INT32_MAX),
                            "scatter_nd counts its updates in 31 bits")))
    return false;
  Type elementType = getElementTypeOrSelf(op.getX().getType());
  const int64_t bytes = storageType(elementType).getIntOrFloatBitWidth() / 8;
  int64_t width = 1;
  if (!inner.empty() && inner.back().constant())
    while (width * 2 * bytes <= 16 && *inner.back().constant() % (width * 2) == 0)
      width *= 2;
  for (auto [d, dim] : llvm::enumerate(inner))
    groups = groups * (d + 1 == inner.size() && width > 1 ? shapes.constant(*dim.constant() / width) : dim);

  auto atLeastOne = [](DimExpr expr) { return std::max<int64_t>(1, likely(expr)); };
  const ScatterDeal deal = dealOut(atLeastOne(rows), atLeastOne(groups), atLeastOne(updates));
  ElementBuilder e(kernel.b, kernel.loc, kernel, shapes);
  Type index = e.b.getIndexType();
  Value target = FunctionOp::create(e.b, kernel.loc, "target", {index}, {"update"}, [&](ValueRange args) {
    Value row;
    e.scope([&] {
      Value inside;
      ElementBuilder::Values at = scatterTarget(op, e, e.delinearize(args[0], tuples), inside);
      row = e.select(inside, e.linearize(at, outer), e.index(-1));
    });
    return row;
  });
  Value x = kernel.bufferOf(op.getX()), source = kernel.bufferOf(op.getUpdates()), out = kernel.resultBuffer(0);
  const std::string kind = "flame::ScatterRows<" + std::to_string(threads) + ", " + std::to_string(deal.rows) + ", " +
                           std::to_string(width * bytes) + ">";
  const std::string call = kind + "({$0, $1, $2, " + std::to_string(deal.parts) + "})";
  ElementBuilder::Values operands{e.expr(rows), e.expr(groups), e.expr(updates), x, source, out};
  kernel.templates.push_back("impl/Scatter.h");
  kernel.kernel.threads = threads;
  if (op.getReduction() == "none") {
    operands.append({kernel.sharedMemory(e.b.getI32Type(), deal.rows), target});
    CallOp::create(e.b, kernel.loc, call + ".replace($3, $4, $5, (int *)$6, $7)", operands);
  } else {
    Value update = FunctionOp::create(e.b, kernel.loc, "update", {index, index}, {"to", "from"}, [&](ValueRange args) {
      e.scope([&] {
        ScalarBuilder s = e.scalars(elementType);
        ElementBuilder::Values results, to;
        for (int64_t lane = 0; lane < width; ++lane) {
          auto element = [&](Value memory, Value group) {
            Value at = e.addi(e.muli(group, e.index(width)), e.index(lane));
            if (memory == out)
              to.push_back(at);
            return s.fromStorage(memref::LoadOp::create(e.b, kernel.loc, memory, at), elementType);
          };
          Value old = element(out, args[0]);
          results.push_back(scatterUpdate(e, op.getReduction(), elementType, old, element(source, args[1])));
        }
        for (auto [at, result] : llvm::zip(to, results))
          memref::StoreOp::create(e.b, kernel.loc, s.toStorage(result, elementType), out, at);
      });
      return Value();
    });
    operands.append({kernel.sharedMemory(e.b.getI32Type(), threads + threads / 32), target, update});
    CallOp::create(e.b, kernel.loc, call + ".combine($3, $5, (int *)$6, $7, $8)", operands);
  }
  kernel.kernel.extent = ceilDiv(rows, shapes.constant(deal.rows)) * shapes.constant(deal.parts);
  return true;
}
