//===- FormRegions.h - from ops to kernel regions ---------------------------------------------------------------------===//
#ifndef FLAME_REGIONS_FORMREGIONS_H
#define FLAME_REGIONS_FORMREGIONS_H

#include "mlir/Pass/Pass.h"

namespace flame {
struct FormRegionsOptions {
  bool attention = false;    ///< the target has kernels for regions with the anchor `attention`
  bool topk = false;         ///< … `topk`
  bool siblings = false;     ///< row programs of short rows that go over the same rows are one kernel
  bool joined = false;       ///< products read an operand that is two tensors one after the other along the inner dim
  bool channelsLast = false; ///< convolutions store their results with channels last if a transpose asks for that
  bool paired = false;       ///< two products of one operand whose results meet are one kernel
  bool tf32 = false;         ///< f32 is multiplied as TF32
  int64_t largestHead = 256; ///< of an attention, where it is a multiple of 128
};
/// Puts every op that becomes kernel code into a `flame.region`, fusing as it goes.
std::unique_ptr<mlir::Pass> createFormRegionsPass(const FormRegionsOptions &options = {});
} // namespace flame

#endif // FLAME_REGIONS_FORMREGIONS_H
