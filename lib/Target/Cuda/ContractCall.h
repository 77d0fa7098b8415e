//===- ContractCall.h - calls of the templates of products -----------------------------------------------------------===//
//
// What a matrix product and a convolution have in common on their way into a call of a device template: the choice of the
// template and its tiles, and the text of the call with what it is handed.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_CONTRACTCALL_H
#define FLAME_LIB_TARGET_CUDA_CONTRACTCALL_H

#include "ChooseSchedule.h"
#include "ContractEpilogue.h"
#include "KernelBuilder.h"
#include "Schedules.h"
#include "llvm/ADT/ArrayRef.h"

namespace flame::cuda {

/// The only op of this type in the region; null where there are several or none.
template <typename Op> Op onlyAnchor(RegionOp region) {
  auto ops = region.getBlock()->getOps<Op>();
  return llvm::hasSingleElement(ops) ? *ops.begin() : Op();
}

class ContractCall {
protected:
  explicit ContractCall(KernelBuilder &kernel)
      : kernel(kernel), shapes(kernel.shapes), e(kernel.b, kernel.loc, kernel, kernel.shapes) {}

  KernelBuilder &kernel;
  ShapeContext &shapes;
  ElementBuilder e;
  Arithmetic type = Arithmetic::F32;
  std::string head; // of the text: template and schedule
  int tileRows = 0, tileColumns = 0, tileDepth = 0; // of the result
  int warpColumns = 0;                              // of it, for a warp
  llvm::SmallVector<mlir::Value> operands; // of the call
  std::string wgmma; // the call's text in code for sm_90a; empty: the same

  /// Matrix instructions where there are any for `type`. Fails with an error of the region on a schedule that a person gave.
  mlir::LogicalResult chooseTiles(const ContractSizes &sizes);
  /// What a file of schedules may take its place by.
  template <typename Schedule>
  mlir::LogicalResult settle(llvm::StringRef family, const ContractSizes &sizes, std::optional<Schedule> &chosen,
                             llvm::function_ref<bool(const Schedule &)> isValid) {
    llvm::Error error = cuda::settle(kernel.schedules, family, problemOf(sizes), chosen, isValid);
    if (error)
      return mlir::emitError(kernel.region.getLoc()) << llvm::toString(std::move(error));
    return mlir::success();
  }
  /// By wgmma, for sm_90a: the tiles, none where mma.sync is likely faster.
  mlir::FailureOr<std::optional<WgmmaSchedule>> chooseWgmmaTiles(const WgmmaProblem &problem, const ContractSizes &sizes);
  /// Threads, shared memory and blocks. Tensor maps are the caller's: map0 and map1 of the operands, map2 of the result.
  void launchWgmma(const WgmmaSchedule &s, const WgmmaProblem &problem, DimExpr batches, DimExpr rows, DimExpr columns, int products = 1);
  /// Where blocks that share tiles (`streamK`) leave sums to each other: the call's last argument, behind scales.
  std::string sharesText();
  /// Groups of rows, of any sizes, each with tiles of its own; null where there are none. Noted before tiles are asked for.
  DimExpr groups;
  /// The call, with "head, type, orders>(" in front of `arguments`.
  void callWgmma(const WgmmaSchedule &s, const WgmmaProblem &problem, llvm::ArrayRef<std::string> arguments);
  /// True if a result of this type whose lines have so many elements can be stored by the copy engine.
  static bool isStorable(const WgmmaSchedule &s, mlir::Type elementType, DimExpr columns, int products = 1);
  /// The result's map, of `batches` matrices.
  void mapResult(mlir::Type elementType, DimExpr rows, DimExpr columns, DimExpr pitch, DimExpr batches, DimExpr batchPitch);
  /// The epilogue that stores by it. Of groups of rows, tiles end where these do. `function` is the other epilogue's; with `sourced`, that
  /// body takes its place. Of batches `first` is the text of the first row of one among all rows.
  std::string storeByMap(const WgmmaSchedule &s, mlir::Type elementType, DimExpr pitch, mlir::Value function,
                         std::optional<ContractEpilogue::SourcedBody> sourced, llvm::StringRef first = {});
  /// The body of the other epilogue, whose operands are the last ones so far: result, body, place.
  mlir::Value storedBody() const { return operands[operands.size() - 2]; }
  /// Blocks of one product.
  DimExpr tiles(DimExpr rows, DimExpr columns);
  /// The call, with "head, type>(" in front of `arguments`, which are divided by commas and new lines.
  void callTiles(std::initializer_list<std::string> arguments);
  void call(const std::string &text);

  /// What the operand is called in the text.
  std::string operand(mlir::Value value);
  std::string number(DimExpr expr) { return operand(e.expr(expr)); }
  llvm::json::Object problemOf(const ContractSizes &sizes) const;
  std::string address(mlir::Value memory, mlir::Value offset);
  std::string problemText(DimExpr rows, DimExpr columns, DimExpr depth);
  /// Elements in lines of `pitch` along "Depth" or "Side", `further` elements behind the offset. `isWeight`: constants of the model may be
  /// read early.
  std::string plainText(llvm::StringRef order, DimExpr pitch, mlir::Value memory, mlir::Value offset, bool isWeight,
                        const std::string &further = "");

private:
  /// Tiles of so many rows, at most.
  DimExpr down(DimExpr rows, int tileRows);
};

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_CONTRACTCALL_H
