//===- PlanBuilder.h - slots, expressions and command lists of a plan in the making -----------------------------------===//
#ifndef FLAME_LIB_CONVERSION_PLANBUILDER_H
#define FLAME_LIB_CONVERSION_PLANBUILDER_H

#include "flame/Conversion/ToPlan.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"
#include <map>

namespace flame {

class PlanBuilder {
public:
  PlanBuilder(model::Plan &plan, ShapeContext &shapes, const ToPlanOptions &options)
      : plan(plan), shapes(shapes), options(options) {}

  model::Plan &plan;
  int32_t mainBlock = 0, initBlock = 1;

  int32_t addBlock(llvm::StringRef name, int32_t parent);
  /// A new slot for `value`; later `slot(value)` is it.
  int32_t addSlot(mlir::Value value, model::Storage storage, int32_t block);
  /// A slot for a kernel's result: in the arena if its size is known when the block is entered, else on the heap.
  int32_t addResultSlot(mlir::Value value, int32_t block);
  int32_t slot(mlir::Value value);
  /// The slot that owns the memory of an alias.
  int32_t rootOf(int32_t slot) const;
  /// Moves an arena slot to the heap (its memory must outlive the block).
  void toHeap(int32_t slot);

  int32_t expr(DimExpr expr);
  /// True if the plan has every symbol of the expression already: `expr` then makes no run read a number from data.
  bool knowsSymbols(DimExpr expr);
  int32_t kernel(const KernelLaunch &launch, RegionOp region);
  llvm::SmallVector<int32_t> nodes(mlir::Operation *op);
  mlir::LogicalResult addConstant(mlir::Operation *op);
  mlir::LogicalResult addWeight(mlir::Operation *op);
  mlir::LogicalResult attributes(mlir::Operation *op, std::vector<model::Attribute> &list);

  template <typename Body>
  void append(int32_t block, Body &&body, llvm::ArrayRef<int32_t> nodes, mlir::ValueRange makes = {}) {
    model::Command command;
    command.body = std::forward<Body>(body);
    command.nodes.assign(nodes.begin(), nodes.end());
    lists[block].push_back({std::move(command), llvm::SmallVector<mlir::Value, 1>(makes)});
  }
  /// Symbols that are dims of `value` (an argument, a host function's or a control op's result) get their numbers here.
  void bindDims(mlir::Value value, int32_t slot, int32_t block);
  /// The run-time checks that `op` and the ops in it require.
  void checks(mlir::Operation *op, int32_t block, llvm::ArrayRef<int32_t> nodes);

  /// Inserts the reads of symbols, the frees, and computes lifetimes.
  mlir::LogicalResult finish();

private:
  struct Entry {
    model::Command command;
    llvm::SmallVector<mlir::Value, 1> makes;
  };
  int32_t planSymbol(unsigned symbol);
  bool knownAtEntry(DimExpr expr, int32_t block);
  bool isAncestor(int32_t ancestor, int32_t block) const;
  mlir::LogicalResult insertReads();
  void computeLifetimes();
  /// Calls `use` for every slot a command touches, nested blocks included.
  void forEachSlot(const model::Command &command, llvm::function_ref<void(int32_t)> use);
  int32_t fileIndex(llvm::StringRef path, mlir::Operation *op);

  ShapeContext &shapes;
  const ToPlanOptions &options;
  std::vector<std::vector<Entry>> lists;
  std::vector<int32_t> parents;
  llvm::DenseMap<mlir::Value, int32_t> slots;
  std::map<model::Expr, int32_t> exprIds;
  llvm::DenseMap<DimExpr, int32_t> exprCache;
  llvm::MapVector<unsigned, int32_t> symbolIds;
  std::map<std::string, int32_t> kernelIds, nodeIds;
  size_t checked = 0;
  std::map<std::tuple<int, int32_t, int32_t, int32_t>, bool> emittedChecks;
};

} // namespace flame

#endif // FLAME_LIB_CONVERSION_PLANBUILDER_H
