//===- MicroKernel.h - the inner loop of every contraction ------------------------------------------------------------===//
//
// Multiplies mr rows by nr columns in registers. Rows come from a panel [k][mr]; columns are read in place, one vector load
// after the other, at b + group · stride + tap: packed panels have one tap and stride nr, a strip of an image has a tap for
// each element of the convolution's kernel. The sums are added to a tile in scratch memory.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CPU_MICROKERNEL_H
#define FLAME_LIB_TARGET_CPU_MICROKERNEL_H

#include "KernelBuilder.h"
#include "Schedule.h"

namespace flame::cpu {

/// Parts of scratch memory, laid out one after the other.
class ScratchLayout {
public:
  explicit ScratchLayout(KernelBuilder &kernel) : kernel(kernel), size(kernel.shapes.constant(0)) {}
  /// A part of so many elements, aligned to 64 bytes.
  mlir::Value part(ElementBuilder &e, DimExpr elements, unsigned bytes);
  DimExpr total() const { return size; }

private:
  KernelBuilder &kernel;
  DimExpr size;
};

struct MicroOperands {
  mlir::Value a;                         // panel of rows at the first group
  mlir::Value b;                         // first column at the first group
  mlir::Value stride;                    // elements of b from one group to the next
  llvm::SmallVector<mlir::Value> taps;   // elements from a group's first to each of its rows
  mlir::Value groups;                    // the inner dim is groups × taps
  mlir::Value tile, tileStride;          // where the sums go; elements from one row to the next
};

/// `type` is the compute type of the elements.
void buildMicroKernel(KernelBuilder &kernel, ElementBuilder &e, const Schedule &schedule, mlir::Type type,
                      const MicroOperands &operands);
/// Sets the first `count` elements (a multiple of the vector's lanes) to 0.
void buildClear(KernelBuilder &kernel, ElementBuilder &e, const Schedule &schedule, mlir::Type type,
                mlir::Value pointer, mlir::Value count);

/// True if the region's results are elementwise functions of `anchor` (and of other things) in its shape or, with
/// `transposed`, transposes of such functions.
bool isPlainEpilogue(KernelBuilder &kernel, mlir::Value anchor, bool transposed = false);

} // namespace flame::cpu

#endif // FLAME_LIB_TARGET_CPU_MICROKERNEL_H
