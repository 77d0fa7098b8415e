//===- EmitTopK.cpp - the first k elements of rows in one kernel --------------------------------------------------===//
//
// The region becomes a call of runtime/kernels/impl/TopK.h; which of its forms, follows from what is known of the row's
// length and of k. Rows may lie along any dim.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "ChooseSchedule.h"
#include "Schedules.h"
#include "ContractEpilogue.h"
#include "KernelBuilder.h"
#include "KernelOps.h"
#include "flame/Ops/Index.h"
#include "schedule/Team.h"
#include "llvm/Support/MathExtras.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;

namespace {

/// Three blocks for each of 132 multiprocessors share the rows, in pieces that are worth a block: of so many elements,
/// and so many for each that it leaves to the last block.
constexpr int64_t manyBlocks = 396, leastPiece = 1 << 13, leastForEach = 16;

/// Elements are compared by their bits.
KeyFormat keyFormat(Type type) {
  int bits = 8 * std::max(1u, dtypeBytes(type));
  auto real = dyn_cast<FloatType>(type);
  if (!real)
    return {type.isInteger(1) || isUnsigned(type) ? KeyKind::Unsigned : KeyKind::Signed, bits};
  const llvm::fltSemantics &semantics = real.getFloatSemantics();
  if (!APFloat::semanticsHasSignedRepr(semantics))
    return {KeyKind::Unsigned, bits};
  APFloat most = APFloat::semanticsHasInf(semantics) ? APFloat::getInf(semantics) : APFloat::getLargest(semantics);
  return {KeyKind::Float, int(real.getWidth()), most.bitcastToAPInt().getZExtValue()};
}

/// A number that the expression never exceeds, as min(n, 1000).
std::optional<int64_t> upperBound(DimExpr expr) {
  if (auto constant = expr.constant())
    return constant;
  const auto &terms = expr.node->terms;
  if (terms.size() != 1 || terms[0].coefficient != 1 || terms[0].factors.size() != 1 ||
      terms[0].factors[0]->kind != flame::detail::AtomKind::Min)
    return std::nullopt;
  std::optional<int64_t> a = upperBound(terms[0].factors[0]->a), b = upperBound(terms[0].factors[0]->b);
  return a && b ? std::min(*a, *b) : a ? a : b;
}

} // namespace

LogicalResult flame::cuda::emitTopK(KernelBuilder &kernel) {
  auto ops = kernel.region.getBlock()->without_terminator();
  auto found = llvm::find_if(ops, [](Operation &op) { return isa<TopKOp>(op); });
  if (found == ops.end() || !kernel.isMaterialized(cast<TopKOp>(*found).getX()))
    return kernel.region.emitOpError("has anchor 'topk' but no topk of an input");
  auto op = cast<TopKOp>(*found);
  ShapeContext &shapes = kernel.shapes;
  ElementBuilder e(kernel.b, kernel.loc, kernel, shapes);
  Type elementType = getElementTypeOrSelf(op.getX().getType());
  KeyFormat format = keyFormat(elementType);
  SmallVector<DimExpr> dims(shapes.dims(op.getX()));
  DimExpr one = shapes.constant(1), length = dims[op.getAxis()], k = shapes.dims(op.getValues())[op.getAxis()];
  DimExpr stride = one, rows = one;
  for (auto [d, dim] : llvm::enumerate(dims)) {
    if (int64_t(d) != op.getAxis())
      rows = rows * dim;
    if (int64_t(d) > op.getAxis())
      stride = stride * dim;
  }
  auto [form, schedule] = chooseTopK(format, length.constant(), upperBound(k));
  if (schedule.pairBytes == 8 && format.bits == 32 &&
      failed(shapes.require(kernel.region, Requirement::LessEqual, length, shapes.constant(0xffffffff),
                            "topk finds its way in rows of fewer than 2^32 elements of 32 bits")))
    return failure();
  kernel.kernel.threads = schedule.threads;
  kernel.templates.push_back("impl/TopK.h");

  SmallVector<Value> operands;
  auto operand = [&](Value value) {
    operands.push_back(value);
    return "$" + std::to_string(operands.size() - 1);
  };
  // Elements are moved as their bits.
  static const char *const words[] = {"unsigned char", "unsigned short", "unsigned int", "unsigned long long"};
  std::string word = words[llvm::Log2_32(std::max(1u, dtypeBytes(elementType)))];
  auto result = [&](Value value, const std::string &type) -> std::string {
    auto stored = llvm::find(kernel.region.getYielded(), value);
    if (stored == kernel.region.getYielded().end())
      return "nullptr";
    return "(" + type + " *)" + operand(kernel.resultBuffer(stored - kernel.region.getYielded().begin()));
  };
  std::string problem;
  for (DimExpr size : {rows, length, k, stride})
    problem += (problem.empty() ? "" : ", ") + operand(e.expr(size));
  std::string arguments = "flame::TopKRows<" + cuda::text(schedule) + ", " + cuda::text(format) + ", " +
                          (op.getLargest() ? "true" : "false") + ", " + word + ">{{" + problem + "},\n      ";
  arguments += "(const " + word + " *)" + operand(kernel.bufferOf(op.getX())) + ", ";
  arguments += result(op.getValues(), word) + ", ";
  arguments += result(op.getIndices(), "unsigned long long") + "}";

  std::string function;
  if (form == TopKForm::Warps) {
    function = "topkWarps";
    kernel.kernel.extent = ceilDiv(rows, shapes.constant(schedule.threads / std::min(schedule.tile, 32)));
  } else if (form == TopKForm::Block) {
    function = "topkBlock";
    kernel.kernel.extent = rows;
  } else {
    DimExpr pieces = max(one, min(floorDiv(shapes.constant(manyBlocks), max(rows, one)),
                                  floorDiv(length, max(shapes.constant(leastPiece), k * leastForEach))));
    DimExpr tasks = rows * pieces, pairs = pieces.isConstant(1) ? shapes.constant(0) : tasks * k;
    function = form == TopKForm::Select ? "topkSelect" : "topkLong";
    if (form == TopKForm::Long) {
      // Merging is for more than selection can keep; only then its memory is needed.
      DimExpr tiles = rows * ceilDiv(length, shapes.constant(schedule.tile));
      DimExpr merges = max(shapes.constant(0), min(one, k - shapes.constant(schedule.kept())));
      pairs = pairs + merges * tiles * shapes.constant(2 * int64_t(schedule.tile));
      tasks = min(max(tasks, tiles), shapes.constant(TeamState::blocks));
      kernel.kernel.cooperative = true;
    }
    kernel.kernel.extent = tasks;
    kernel.kernel.minBlocks = schedule.blocksAtOnce();
    arguments += ", " + operand(e.expr(pieces));
    if (pairs.isConstant(0)) {
      arguments += ", nullptr, nullptr";
    } else {
      kernel.kernel.scratch = pairs * shapes.constant(schedule.pairBytes);
      kernel.kernel.state = TicketState::bytes;
      arguments += ", " + operand(kernel.scratchMemory(e.b.getI64Type())) + ", " + operand(kernel.stateMemory());
    }
  }
  if (form != TopKForm::Warps)
    kernel.kernel.shared = schedule.sharedBytes();
  CallOp::create(e.b, kernel.loc, "flame::" + function + "(" + arguments + ")", operands);
  return success();
}
