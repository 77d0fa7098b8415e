//===- ContractCall.cpp - see ContractCall.h ---------------------------------------------------------------------===//
#include "ContractCall.h"
#include "KernelOps.h"
#include "StridedOperand.h"
#include "schedule/Team.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;

llvm::json::Object ContractCall::problemOf(const ContractSizes &sizes) const {
  llvm::json::Object problem{
          {"type", nameOf(type)},
          {"batches", sizes.batches},
          {"rows", sizes.rows},
          {"columns", sizes.columns},
          {"depth", sizes.depth}};
  if (sizes.products != 1)
    problem["products"] = sizes.products;
  if (sizes.scaleColumns != 0)
    problem["scaleColumns"] = sizes.scaleColumns;
  if (sizes.segment != 0)
    problem["segment"] = sizes.segment;
  if (sizes.groups != 0)
    problem["groups"] = sizes.groups;
  if (sizes.folds != 0)
    problem["folds"] = sizes.folds;
  return problem;
}

LogicalResult ContractCall::chooseTiles(const ContractSizes &sizes) {
  if (isMatrix(type)) {
    std::optional<MmaSchedule> chosen = chooseMma(type, sizes);
    if (failed(settle<MmaSchedule>("mma", sizes, chosen, [&](const MmaSchedule &s) {
          return s.isValid(type, sizes.x, sizes.y, sizes.products) && (sizes.folds == 0 || s.takesFolds(sizes.products));
        })))
      return failure();
    // Every GPU has this one.
    MmaSchedule schedule = chosen.value_or(chooseMma(type, sizes));
    head = (groups ? "flame::groupedGemm<" : "flame::gemm<") + cuda::text(schedule);
    kernel.kernel.threads = schedule.threads();
    // Shared memory bounds the blocks at one time; without this, ptxas saves registers for more of them, and spills.
    kernel.kernel.minBlocks = 1;
    kernel.kernel.shared = schedule.sharedBytes(type);
    kernel.kernel.sharedBefore90 = schedule.older(type).sharedBytes(type);
    kernel.kernel.cluster = schedule.splits;
    tileRows = schedule.rows, tileColumns = schedule.columns / sizes.products, tileDepth = schedule.depth;
    warpColumns = tileColumns / schedule.warpColumns;
    kernel.templates.push_back("impl/Gemm.h");
    kernel.waitsLater = true;
    return success();
  }
  std::optional<SimtSchedule> chosen = chooseSimt(type, sizes);
  if (failed(settle<SimtSchedule>("simt", sizes, chosen, [&](const SimtSchedule &s) { return s.isValid(type); })))
    return failure();
  SimtSchedule schedule = chosen.value_or(chooseSimt(type, sizes));
  head = (groups ? "flame::groupedSimtGemm<" : "flame::simtGemm<") + cuda::text(schedule);
  kernel.kernel.threads = schedule.threads();
  kernel.kernel.shared = schedule.sharedBytes(type);
  tileRows = tileColumns = schedule.tile();
  kernel.templates.push_back("impl/Simt.h");
  return success();
}

FailureOr<std::optional<WgmmaSchedule>> ContractCall::chooseWgmmaTiles(const WgmmaProblem &problem,
                                                                       const ContractSizes &sizes) {
  std::optional<WgmmaSchedule> chosen = chooseWgmma(problem, sizes);
  auto isValid = [&](const WgmmaSchedule &s) {
    // Tiles one below the other are whole pieces of what warps store.
    return s.isValid(problem.type, problem.x, problem.y, sizes.products, problem.tableBytes()) &&
           (sizes.scaleColumns == 0 || s.takesScales(problem.type)) && (sizes.segment == 0 || s.takesSegments(int(sizes.segment))) &&
           (sizes.folds == 0 || s.takesFolds(sizes.products)) &&
           (s.rows % WgmmaSchedule::slabRows == 0 || problem.groups > 0 || problem.rows.value_or(INT64_MAX) <= s.rows);
  };
  if (failed(settle<WgmmaSchedule>("wgmma", sizes, chosen, isValid)))
    return failure();
  return chosen;
}

void ContractCall::launchWgmma(const WgmmaSchedule &s, const WgmmaProblem &problem, DimExpr batches, DimExpr rows,
                               DimExpr columns, int products) {
  WgmmaLaunch &launch = kernel.kernel.wgmma;
  launch.threads = s.threads();
  launch.shared = s.sharedBytes(problem.type, problem.x, problem.y) + problem.tableBytes();
  launch.cluster = s.cluster();
  launch.extent = batches * down(rows, s.rows * s.clusterRows) *
                  ceilDiv(columns, shapes.constant(s.columns / products * s.clusterColumns)) * int64_t(s.cluster());
  if (s.streamK) {
    // Tiles may be shared by more blocks than there are tiles. There is memory for so many.
    DimExpr most = shapes.constant(ShareState::blocks / s.cluster() * s.cluster());
    launch.extent = min(launch.extent * int64_t(ShareState::blocks), most);
    kernel.kernel.scratch = most * int64_t(s.shareBytes());
    kernel.kernel.state = ShareState::bytes;
  }
}

std::string ContractCall::sharesText() {
  std::string memory = operand(kernel.scratchMemory(e.b.getF32Type()));
  return "flame::TileShares{" + memory + ", " + operand(kernel.stateMemory()) + "}";
}

void ContractCall::callWgmma(const WgmmaSchedule &s, const WgmmaProblem &problem, ArrayRef<std::string> arguments) {
  auto major = [](Major order) { return order == Major::Depth ? "flame::Major::Depth" : "flame::Major::Side"; };
  wgmma = "flame::wgmmaGemm<" + cuda::text(s) + ", " + cuda::text(problem.type) + ", " + major(problem.x) + ", " +
          major(problem.y) + ">(" + llvm::join(arguments, ",\n      ") + ")";
}

bool ContractCall::isStorable(const WgmmaSchedule &s, Type elementType, DimExpr columns, int products) {
  Type stored = storageType(elementType);
  int bytes = stored.isIntOrFloat() ? int(stored.getIntOrFloatBitWidth()) / 8 : 0;
  return (bytes == 2 || bytes == 4) && isMultiple(columns, 16 / bytes) &&
         s.storedColumns() / products * bytes >= WgmmaSchedule::lineBytes;
}

/// A body of one sum (two take registers that a loop needs) that takes the compiler some time, and reads nothing that differs from row to
/// row, of which much should be under way at one time.
static bool isLong(FunctionOp body) {
  constexpr int some = 6; // of operations: more than a bias and a conversion
  Region &region = body->getRegion(0);
  int operations = 0;
  bool readsRows = false;
  llvm::SmallPtrSet<Value, 16> ofRow;
  ofRow.insert(region.getArgument(0));
  body->walk([&](Operation *op) {
    operations += isa<arith::ArithDialect, math::MathDialect>(op->getDialect()) && isa<FloatType>(op->getResult(0).getType());
    if (llvm::none_of(op->getOperands(), [&](Value operand) { return ofRow.contains(operand); }))
      return;
    ofRow.insert_range(op->getResults());
    readsRows |= isa<memref::LoadOp>(op);
  });
  return operations >= some && !readsRows && region.getNumArguments() == 3;
}

void ContractCall::mapResult(Type elementType, DimExpr rows, DimExpr columns, DimExpr pitch, DimExpr batches, DimExpr batchPitch) {
  int bytes = int(storageType(elementType).getIntOrFloatBitWidth()) / 8;
  kernel.kernel.wgmma.tensors.push_back({kernel.positionOf(kernel.resultBuffer(0)),
                                         elementType,
                                         shapes.constant(0),
                                         {columns, rows, batches},
                                         {pitch * int64_t(bytes), batchPitch * int64_t(bytes)},
                                         {WgmmaSchedule::lineBytes / bytes, WgmmaSchedule::slabRows, 1}});
}

std::string ContractCall::storeByMap(const WgmmaSchedule &s, Type elementType, DimExpr pitch, Value function,
                                     std::optional<ContractEpilogue::SourcedBody> sourced, StringRef first) {
  if (sourced)
    function = sourced->function;
  const bool repeated = s.loopsBodies() && !sourced && isLong(function.getDefiningOp<FunctionOp>());
  const std::string type = storageName(elementType) + (repeated ? ", true" : "");
  std::string body = operand(function);
  if (!first.empty())
    body = "flame::fromRow(" + first.str() + ", " + body + ")";
  if (groups) {
    std::string result = operand(kernel.resultBuffer(0));
    return "flame::clippedStore<" + type + ">(map2, " + body + ", " + result + ", ($I)" + number(pitch) + ")";
  }
  std::string store = "flame::tensorStore<" + type + ">(map2, " + body + ")";
  if (!sourced)
    return store;
  std::string source = operand(kernel.bufferOf(sourced->source)), step = number(pitch);
  if (!first.empty())
    source += " + " + first.str() + " * " + step;
  return "flame::sourced(" + store + ", " + source + ", ($I)" + step + ")";
}

DimExpr ContractCall::down(DimExpr rows, int tileRows) {
  if (!groups)
    return ceilDiv(rows, shapes.constant(tileRows));
  // As many as groups may have places for (tile/Groups.h): of each the last one may be in part another's. None where there are no rows.
  return (floorDiv(rows, shapes.constant(tileRows)) + groups + 1) * min(rows, shapes.constant(1));
}

DimExpr ContractCall::tiles(DimExpr rows, DimExpr columns) {
  return down(rows, tileRows) * ceilDiv(columns, shapes.constant(tileColumns)) *
         int64_t(kernel.kernel.cluster);
}

void ContractCall::callTiles(std::initializer_list<std::string> arguments) {
  call(head + ", " + cuda::text(type) + ">(" + llvm::join(arguments, ",\n      ") + ")");
}

void ContractCall::call(const std::string &text) { CallOp::create(e.b, kernel.loc, text, operands, wgmma); }

std::string ContractCall::operand(Value value) {
  operands.push_back(value);
  return "$" + std::to_string(operands.size() - 1);
}

std::string ContractCall::address(Value memory, Value offset) {
  std::string begin = operand(kernel.bufferOf(memory));
  if (getConstantIntValue(getAsOpFoldResult(offset)) == 0)
    return begin;
  return begin + " + " + operand(offset);
}

std::string ContractCall::problemText(DimExpr rows, DimExpr columns, DimExpr depth) {
  std::string m = number(rows), n = number(columns), k = number(depth);
  return "flame::Problem<$I>{" + m + ", " + n + ", " + k + "}";
}

std::string ContractCall::plainText(StringRef order, DimExpr pitch, Value memory, Value offset, bool isWeight, const std::string &further) {
  std::string from = address(memory, offset) + further, step = number(pitch);
  return "flame::Plain<" + storageName(getElementTypeOrSelf(memory.getType())) + ", flame::Major::" + order.str() +
         ", " + std::to_string(copyBytes(pitch, sizeOf(type))) + ", $I" +
         (isWeight && kernel.isConstant(memory) ? ", true" : "") + ">{" + from + ", " + step + "}";
}
