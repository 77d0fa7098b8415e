//===- SegmentEpilogue.h - what a product does with whole segments of its columns ---------------------------------===//
//
// The counterpart of runtime/kernels/epilogue/StoreSegments.h: a region whose product's columns are segments, of which some are normed
// or turned (see AbsorbSegments.cpp).
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_SEGMENTEPILOGUE_H
#define FLAME_LIB_TARGET_CUDA_SEGMENTEPILOGUE_H

#include "KernelBuilder.h"
#include "flame/Ops/Reduce.h"
#include "flame/Ops/Shape.h"

namespace flame::cuda {

/// Which elements of a segment are together in a thread: those of pair i are 2 i and 2 i + 1, or i and i + half a segment.
enum class Pairing { Neighbours, Halves };

/// How a value [.., segments, width] is computed of such segments: an element at a place of pair i by `out` needs the elements of pair i
/// by `in`, and perhaps a sum over the segment.
struct SegmentPairing {
  Pairing in, out;
  ReduceOp sum; // null: there is none
  int64_t begin; // the first of the segments that it is computed of
};
/// None for a value that needs more.
std::optional<SegmentPairing> pairingOf(mlir::Value value, mlir::Value segments, ShapeContext &shapes);

class SegmentEpilogue {
public:
  /// Sizes of segments that the template has.
  static bool hasWidth(int64_t width) { return width == 64 || width == 128 || width == 256; }
  /// Of a region that yields nothing but segments of `product`, its own or what is computed of them.
  static std::optional<SegmentEpilogue> match(KernelBuilder &kernel, mlir::Value product);

  int64_t width;

  /// Builds the functions; appends what they are called in the text to `operands` and returns the text of the epilogue argument, which
  /// stores by the tensor map `map`. `rowDims`: the dims that the product's rows count through.
  std::string build(ElementBuilder &e, llvm::ArrayRef<DimExpr> rowDims, llvm::StringRef map, llvm::SmallVectorImpl<mlir::Value> &operands);

private:
  struct Part {
    int64_t begin, end; // segments
    mlir::Value value;
    SegmentPairing pairing;
  };

  SegmentEpilogue(KernelBuilder &kernel, mlir::Value product, ReshapeOp segments)
      : width(segments.getType().getShape().back()), kernel(kernel), product(product), segments(segments) {}
  mlir::Value finished(ReduceOp sum);
  mlir::Value function(ElementBuilder &e, const Part &part, llvm::StringRef name, llvm::ArrayRef<DimExpr> rowDims);
  llvm::SmallVector<mlir::Value> functions(ElementBuilder &e, const Part &part, llvm::ArrayRef<DimExpr> rowDims);
  bool isSame(const Part &part);

  KernelBuilder &kernel;
  mlir::Value product;
  ReshapeOp segments;
  llvm::SmallVector<Part> parts;
};

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_SEGMENTEPILOGUE_H
