//===- ContractEpilogue.h - what a contraction does with its sums -------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_CONTRACTEPILOGUE_H
#define FLAME_LIB_TARGET_CUDA_CONTRACTEPILOGUE_H

#include "KernelBuilder.h"

namespace flame::cuda {

/// The ops of a region that depend on the results of its anchor (or, of two products at once, of both): pointwise ones of its shape, and at the end of each result
/// perhaps a transpose that leaves the last dim in place, so that an element of the results needs one element of the
/// product and rows stay contiguous.
class ContractEpilogue {
public:
  /// `beside`: results that the caller stores by itself. `unit`: what the kernel's sums are multiplied by to give the products.
  ContractEpilogue(KernelBuilder &kernel, llvm::ArrayRef<mlir::Value> products, llvm::ArrayRef<mlir::Value> beside = {}, double unit = 1)
      : kernel(kernel), products(products), product(products.front()), unit(unit) {
    for (auto [i, value] : llvm::enumerate(kernel.region.getYielded()))
      if (!llvm::is_contained(beside, value))
        results.push_back(i);
  }

  /// The region's results that it stores.
  llvm::ArrayRef<unsigned> stored() const { return results; }

  /// False if the region does something else with the product. `anyOrder`: the transposes may move the last dim, too.
  bool isSupported(bool anyOrder = false);
  /// True if neighbours along dim `dim` of the product lie next to each other in all results.
  bool storesColumn(int64_t dim);

  using IndexOf = llvm::function_ref<ElementBuilder::Values(ElementBuilder &, mlir::Value row, mlir::Value column)>;
  /// Builds the functions; appends what they are called in the text to `operands` and returns the text of the epilogue
  /// argument. `indexOf` gives the product's index. `contiguous`: eight columns from a multiple of eight on lie next to
  /// each other in the result.
  /// `wrap` may put the functions' names in the text into a call; `suffix` tells them from those of another epilogue.
  std::string build(ElementBuilder &e, IndexOf indexOf, bool contiguous, llvm::SmallVectorImpl<mlir::Value> &operands,
                    llvm::function_ref<std::string(const std::string &)> wrap = {}, llvm::StringRef suffix = "");

  /// The body of the only result for a store that reads a whole tensor by itself, whose elements lie as the result's do (Sourced in
  /// epilogue/StoreGroup.h); its last argument is that tensor's element.
  struct SourcedBody {
    mlir::Value function, source;
  };
  /// None where the region reads no such tensor. There is one result.
  std::optional<SourcedBody> buildSourced(ElementBuilder &e, IndexOf indexOf);

private:
  mlir::Value buildBody(ElementBuilder &e, IndexOf indexOf, llvm::StringRef name, mlir::Value *source);
  ElementBuilder::Values resultIndex(unsigned result, mlir::ValueRange index);

  KernelBuilder &kernel;
  llvm::SmallVector<mlir::Value, 2> products;
  mlir::Value product; // the first one
  double unit;
  llvm::SmallVector<unsigned, 2> results;
};

/// The name of a storage type in a kernel's text.
std::string storageName(mlir::Type elementType);

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_CONTRACTEPILOGUE_H
