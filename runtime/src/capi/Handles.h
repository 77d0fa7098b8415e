//===- Handles.h - what the C interface's opaque types are ----------------===//
//
// Also `guard`, through which every fallible entry point runs: no exception passes it.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_CAPI_HANDLES_H
#define FLAME_RUNTIME_CAPI_HANDLES_H

#include "../Session.h"

struct flame_status {
  flame_code code;
  std::string message;
};

namespace flame::rt {

/// Never throws; where even the status cannot be allocated, a static out-of-memory status is returned.
flame_status *makeStatus(flame_code code, const std::string &message) noexcept;
flame_status *outOfMemoryStatus() noexcept;
/// Turns the exception in flight into a status.
flame_status *currentExceptionStatus() noexcept;

template <typename Function> flame_status *guard(Function &&function) noexcept {
  try {
    function();
    return nullptr;
  } catch (...) {
    return currentExceptionStatus();
  }
}

template <typename T> T &checkHandle(T *pointer, const char *name) {
  if (!pointer)
    fail(FLAME_INVALID_ARGUMENT, name, " is NULL");
  return *pointer;
}

inline Ref<flame_value> wrapValue(Value value) {
  auto handle = makeRef<flame_value>();
  handle->value = std::move(value);
  return handle;
}

// flame_module and flame_session are never defined: a handle is the object's address under another name.
inline flame_module *wrap(Module *module) { return reinterpret_cast<flame_module *>(module); }
inline flame_session *wrap(Session *session) { return reinterpret_cast<flame_session *>(session); }
inline Module *unwrap(flame_module *module) { return reinterpret_cast<Module *>(module); }
inline const Module *unwrap(const flame_module *module) { return reinterpret_cast<const Module *>(module); }
inline Session *unwrap(flame_session *session) { return reinterpret_cast<Session *>(session); }
inline const Session *unwrap(const flame_session *session) { return reinterpret_cast<const Session *>(session); }
/// Checks a shape that came through the C interface.
Dims dimsArgument(const int64_t *dims, int32_t rank);

} // namespace flame::rt

#endif
