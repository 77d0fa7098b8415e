//===- HostContext.h - what a host function sees --------------------------===//
//
// Host functions are the runtime's own operators: strings, sequences, optionals, and everything whose output size
// depends on data. A family is one file here, src/host/<Family>.cpp, that ends in
//
//   FLAME_HOST_FAMILY(Family, {"function_name", function}, …)
//
// CMake collects the families by file name; nothing else is edited. README.md documents every function.
//
// Rules: inputs are read-only; outputs are made with makeTensor and handed over with setOutput; a failure is
// context.fail(...), which adds the node's name. An input that the model omits is absent (`has` is false). Functions
// must accept zero-size tensors and any rank.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_HOST_HOSTCONTEXT_H
#define FLAME_RUNTIME_HOST_HOSTCONTEXT_H

#include "../Plan.h"

#include <span>
#include <string_view>

namespace flame::rt {

class HostContext {
public:
  HostContext(const HostCallCommand &call, std::span<const Value *const> inputs, std::span<Value> outputs,
              const Ref<Allocator> &allocator)
      : call(call), inputs(inputs), outputs(outputs), memory(allocator) {}

  // ---- inputs
  size_t inputCount() const { return inputs.size(); }
  bool has(size_t index) const { return index < inputs.size() && inputs[index]; }
  /// Any kind of value; fails where it is absent.
  const Value &input(size_t index) const;
  const Tensor &tensor(size_t index) const;
  const Value &sequence(size_t index) const;
  /// A string tensor.
  const Tensor &stringTensor(size_t index) const;
  /// A tensor with exactly one element of an integer or bool type.
  int64_t intScalar(size_t index) const;
  /// As intScalar for float types and integers.
  double floatScalar(size_t index) const;

  // ---- attributes (ONNX's names); `fallback` where the attribute is absent
  const Attribute *attribute(std::string_view name) const;
  int64_t attrInt(std::string_view name, int64_t fallback) const;
  double attrFloat(std::string_view name, double fallback) const;
  std::string attrString(std::string_view name, std::string_view fallback) const;
  std::span<const int64_t> attrInts(std::string_view name) const;
  std::span<const double> attrFloats(std::string_view name) const;
  std::span<const std::string> attrStrings(std::string_view name) const;
  /// The attribute `axis` (or `axisName`) made non-negative for `rank` dimensions; fails out of range.
  int axis(int rank, int64_t fallback, std::string_view axisName = "axis") const;

  // ---- outputs
  size_t outputCount() const { return outputs.size(); }
  bool wants(size_t index) const { return index < outputs.size(); }
  const Ref<Allocator> &allocator() const { return memory; }
  Tensor makeTensor(DType dtype, const Dims &dims) const { return rt::makeTensor(memory, dtype, dims); }
  void setOutput(size_t index, Tensor tensor) { setOutput(index, Value::of(std::move(tensor))); }
  /// Ignored where the model does not use this output.
  void setOutput(size_t index, Value value);

  /// FLAME_BAD_DATA: the values do not fit the operator.
  template <typename... Args> [[noreturn]] void fail(const Args &...args) const {
    rt::fail(FLAME_BAD_DATA, call.function, ": ", args...);
  }
  /// "input 0 (f32[2,3])"
  std::string describeInput(size_t index) const;

private:
  const HostCallCommand &call;
  std::span<const Value *const> inputs;
  std::span<Value> outputs;
  Ref<Allocator> memory;
};

/// What check_indices says of element `element` of `described`, "input 0 (i64[2,3])".
std::string badIndexText(int64_t index, int64_t element, const std::string &described, int64_t extent);
/// The same of check_ends: `limit` is the number of rows where the end is greater, otherwise the end before.
std::string badEndText(int64_t end, int64_t element, const std::string &described, int64_t limit);

struct HostEntry {
  std::string_view name;
  HostFunction function;
};

/// nullptr where there is none.
HostFunction findHostFunction(std::string_view name);

#define FLAME_HOST_FAMILY(family, ...)                                                                                 \
  std::span<const ::flame::rt::HostEntry> flameHostFamily##family() {                                                  \
    static constexpr ::flame::rt::HostEntry entries[] = {__VA_ARGS__};                                                 \
    return entries;                                                                                                    \
  }

// ---- reading numbers of any integer or float type
/// Element `index` of an integer or bool tensor; a u64 beyond int64 wraps. The caller has checked the type.
int64_t readInteger(const Tensor &tensor, int64_t index);
/// Element `index` of any real type.
double readReal(const Tensor &tensor, int64_t index);

} // namespace flame::rt

#endif
