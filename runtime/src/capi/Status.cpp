//===- Status.cpp - statuses and versions of the C interface --------------===//

#include "Handles.h"
#include "PlanFormat.h"

#include <new>
#include <system_error>

#ifndef FLAME_VERSION
#define FLAME_VERSION "0.1.0"
#endif

namespace flame::rt {

static flame_status theOutOfMemoryStatus{FLAME_OUT_OF_MEMORY, "out of memory"};

flame_status *outOfMemoryStatus() noexcept { return &theOutOfMemoryStatus; }

flame_status *makeStatus(flame_code code, const std::string &message) noexcept {
  try {
    return new flame_status{code, message};
  } catch (...) {
    return outOfMemoryStatus();
  }
}

flame_status *currentExceptionStatus() noexcept {
  try {
    throw;
  } catch (const Error &error) {
    return makeStatus(error.code, error.message);
  } catch (const std::bad_alloc &) {
    return outOfMemoryStatus();
  } catch (const std::length_error &) {
    return outOfMemoryStatus(); // a container beyond any possible size
  } catch (const std::system_error &error) {
    return makeStatus(FLAME_INTERNAL, error.what());
  } catch (const std::exception &error) {
    return makeStatus(FLAME_INTERNAL, error.what());
  } catch (...) {
    return makeStatus(FLAME_INTERNAL, "unknown exception");
  }
}

} // namespace flame::rt

using namespace flame::rt;

flame_code flame_status_code(const flame_status *status) { return status ? status->code : FLAME_OK; }
const char *flame_status_message(const flame_status *status) { return status ? status->message.c_str() : ""; }
flame_status *flame_status_create(flame_code code, const char *message) {
  try {
    return makeStatus(code, message ? message : "");
  } catch (...) {
    return outOfMemoryStatus();
  }
}
void flame_status_free(flame_status *status) {
  if (status != outOfMemoryStatus())
    delete status;
}

const char *flame_code_name(flame_code code) {
  switch (code) {
  case FLAME_OK:
    return "ok";
  case FLAME_INVALID_ARGUMENT:
    return "invalid argument";
  case FLAME_BAD_ARTIFACT:
    return "bad artifact";
  case FLAME_UNSUPPORTED:
    return "unsupported";
  case FLAME_OUT_OF_MEMORY:
    return "out of memory";
  case FLAME_INTERNAL:
    return "internal error";
  case FLAME_CANCELLED:
    return "cancelled";
  case FLAME_IO:
    return "input/output error";
  case FLAME_BAD_DATA:
    return "bad data";
  case FLAME_DEVICE:
    return "device error";
  default:
    break;
  }
  return "unknown";
}

const char *flame_version(void) { return FLAME_VERSION; }
uint32_t flame_plan_version(void) { return flame::plan::kPlanVersion; }
int flame_abi_version(void) { return FLAME_RT_ABI_VERSION; }

size_t flame_dtype_size(flame_dtype dtype) { return dtype == FLAME_STRING ? 0 : elementSize(dtype); }
const char *flame_dtype_name(flame_dtype dtype) { return dtypeName(dtype); }
