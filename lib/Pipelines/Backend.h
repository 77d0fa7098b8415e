//===- Backend.h - what the compilation asks of a target --------------------------------------------------------------===//
#ifndef FLAME_LIB_PIPELINES_BACKEND_H
#define FLAME_LIB_PIPELINES_BACKEND_H

#include "flame/Conversion/ToPlan.h"
#include "flame/Pipelines/Compiler.h"
#include "flame/Regions/FormRegions.h"
#include "llvm/Support/Error.h"
#include <memory>

namespace flame {

/// A target's part of one compilation: first a kernel for every region, then their code.
class Backend {
public:
  virtual ~Backend() = default;

  /// The options name a machine that the target can't compile for, or a compiler that it needs is not there.
  static llvm::Expected<std::unique_ptr<Backend>> create(const CompileOptions &options, mlir::MLIRContext *context);

  /// Passes that only this target wants, before regions are formed.
  virtual void addPasses(mlir::OpPassManager &passes) {}
  /// Passes that only this target wants, on the regions.
  virtual void addRegionPasses(mlir::OpPassManager &passes) {}
  /// What regions this target has kernels for.
  virtual FormRegionsOptions regionOptions() const { return {}; }
  virtual mlir::FailureOr<KernelLaunch> emit(RegionOp region, ShapeContext &shapes) = 0;
  /// Different kernels so far.
  virtual unsigned kernels() const = 0;
  /// `finish` failed for what was compiled, not for what it is compiled with.
  bool sourceFailed() const { return badSource; }
  /// How many of them `finish` found compiled.
  unsigned cachedKernels() const { return cached; }
  /// Their text, for people.
  virtual std::string text() = 0;
  /// The schedules of its kernels, as a file that the target takes back.
  virtual std::string schedules() { return "[]\n"; }
  /// Tells of what was asked for and not used; empty: nothing.
  virtual std::string unused() { return ""; }
  /// Sets the plan's device and properties.
  virtual void describe(model::Plan &plan) = 0;
  /// Takes the kernels from this file, which defines all that were generated with the same parameters.
  virtual llvm::Error replaceKernels(llvm::StringRef path) {
    return llvm::createStringError("the kernels of this target can't be replaced");
  }
  /// Compiles the kernels into `plan.codes`. The error has a complete message; empty if diagnostics have told it.
  virtual llvm::Error finish(unsigned threads, llvm::function_ref<void(unsigned done, unsigned total)> progress,
                             model::Plan &plan) = 0;

protected:
  unsigned cached = 0;
  bool badSource = false;
};

} // namespace flame

#endif // FLAME_LIB_PIPELINES_BACKEND_H
