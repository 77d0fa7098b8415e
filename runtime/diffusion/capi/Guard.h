//===- Guard.h - exceptions become statuses --------------------------------===//
#ifndef FLAME_DIFFUSION_CAPI_GUARD_H
#define FLAME_DIFFUSION_CAPI_GUARD_H

#include "Error.h"
#include "flame_rt.hpp"

#include <new>

namespace flame::diffusion {

/// Runs a function of the C interface; no exception passes it.
template <typename Function> flame_status *guard(Function &&function) noexcept {
  try {
    function();
    return nullptr;
  } catch (const rt::Error &error) {
    return flame_status_create(error.code, error.what());
  } catch (const RuntimeError &error) {
    return flame_status_create(error.code(), error.what());
  } catch (const std::bad_alloc &) {
    return flame_status_create(FLAME_OUT_OF_MEMORY, "out of memory");
  } catch (const std::length_error &) { // a container beyond any possible size
    return flame_status_create(FLAME_OUT_OF_MEMORY, "out of memory");
  } catch (const std::exception &error) {
    return flame_status_create(FLAME_INTERNAL, error.what());
  } catch (...) {
    return flame_status_create(FLAME_INTERNAL, "unknown exception");
  }
}

/// What an argument points to; it must not be NULL.
template <typename T> T &given(T *pointer, const char *name) {
  if (!pointer)
    rt::fail(FLAME_INVALID_ARGUMENT, name, " is NULL");
  return *pointer;
}

} // namespace flame::diffusion

#endif
