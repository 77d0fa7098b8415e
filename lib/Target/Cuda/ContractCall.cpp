//===- ContractCall.cpp - see ContractCall.h ---------------------------------------------------------------------===//
#include "ContractCall.h"
#include "ContractEpilogue.h"
#include "KernelOps.h"
#include "StridedOperand.h"
#include "mlir/Dialect/Utils/StaticValueUtils.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace flame;
using namespace flame::cuda;

llvm::json::Object ContractCall::problemOf(const ContractSizes &sizes) const {
  return llvm::json::Object{
          {"type", nameOf(type)},
          {"batches", sizes.batches},
          {"rows", sizes.rows},
          {"columns", sizes.columns},
          {"depth", sizes.depth}};
}

LogicalResult ContractCall::chooseTiles(const ContractSizes &sizes) {
  if (isMatrix(type)) {
    std::optional<MmaSchedule> chosen = chooseMma(type, sizes);
    if (failed(settle<MmaSchedule>("mma", sizes, chosen, [&](const MmaSchedule &s) { return s.isValid(type); })))
      return failure();
    // Every GPU has this one.
    MmaSchedule schedule = chosen.value_or(chooseMma(type, sizes));
    head = "flame::gemm<" + cuda::text(schedule);
    kernel.kernel.threads = schedule.threads();
    // Shared memory bounds the blocks at one time; without this, ptxas saves registers for more of them, and spills.
    kernel.kernel.minBlocks = 1;
    kernel.kernel.shared = schedule.sharedBytes(type);
    kernel.kernel.sharedBefore90 = schedule.older(type).sharedBytes(type);
    kernel.kernel.cluster = schedule.splits;
    tileRows = schedule.rows, tileColumns = schedule.columns;
    kernel.templates.push_back("impl/Gemm.h");
    kernel.waitsLater = true;
    return success();
  }
  std::optional<SimtSchedule> chosen = chooseSimt(type, sizes);
  if (failed(settle<SimtSchedule>("simt", sizes, chosen, [&](const SimtSchedule &s) { return s.isValid(type); })))
    return failure();
  SimtSchedule schedule = chosen.value_or(chooseSimt(type, sizes));
  head = "flame::simtGemm<" + cuda::text(schedule);
  kernel.kernel.threads = schedule.threads();
  kernel.kernel.shared = schedule.sharedBytes(type);
  tileRows = tileColumns = schedule.tile();
  kernel.templates.push_back("impl/Simt.h");
  return success();
}

DimExpr ContractCall::tiles(DimExpr rows, DimExpr columns) {
  return ceilDiv(rows, shapes.constant(tileRows)) * ceilDiv(columns, shapes.constant(tileColumns)) *
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

std::string ContractCall::plainText(StringRef order, DimExpr pitch, Value memory, Value offset, bool isWeight) {
  std::string from = address(memory, offset), step = number(pitch);
  return "flame::Plain<" + storageName(getElementTypeOrSelf(memory.getType())) + ", flame::Major::" + order.str() +
         ", " + std::to_string(copyBytes(pitch, sizeOf(type))) + ", $I" +
         (isWeight && kernel.isConstant(memory) ? ", true" : "") + ">{" + from + ", " + step + "}";
}
