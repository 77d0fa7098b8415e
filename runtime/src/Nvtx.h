//===- Nvtx.h - ranges that a profiler shows -------------------------------===//
//
// The application's side of NVTX 3: a profiler (Nsight Systems, …) names its library in the environment variable
// NVTX_INJECTION64_PATH, which is loaded by the first session and told where the functions are that it may set. Nothing
// is linked; without a profiler a range costs a comparison. Ranges are in the domain "flame".
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_NVTX_H
#define FLAME_RUNTIME_NVTX_H

#include <string>

namespace flame::rt {

class Nvtx {
public:
  /// nullptr where no profiler is attached, or where its library cannot be used.
  static const Nvtx *attached();

  void push(const char *name) const;
  void pop() const;

private:
  explicit Nvtx(const std::string &path);
  std::string path;
  bool usable = false;
  void *domain = nullptr;
};

/// A range that ends with this object at the latest.
class NvtxRange {
public:
  /// `nvtx` nullptr: no range.
  explicit NvtxRange(const Nvtx *nvtx) : nvtx(nvtx) {}
  NvtxRange(const Nvtx *nvtx, const std::string &name) : nvtx(nvtx) { begin(name); }
  ~NvtxRange() { end(); }
  NvtxRange(const NvtxRange &) = delete;

  /// Nothing where the name is empty.
  void begin(const std::string &name) {
    if (!nvtx || name.empty())
      return;
    nvtx->push(name.c_str());
    open = true;
  }
  void end() {
    if (open)
      nvtx->pop();
    open = false;
  }

private:
  const Nvtx *nvtx;
  bool open = false;
};

} // namespace flame::rt

#endif
