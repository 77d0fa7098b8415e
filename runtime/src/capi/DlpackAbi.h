//===- DlpackAbi.h - the structs of DLPack, by its published layout -------===//
//
// Private: users of flame_rt.h include their own dlpack.h, whose structs have the same names and layout.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_CAPI_DLPACKABI_H
#define FLAME_RUNTIME_CAPI_DLPACKABI_H

#include <cstdint>

extern "C" {

struct DLDevice {
  int32_t device_type; // 1: CPU, 3: pinned host memory of CUDA
  int32_t device_id;
};

struct DLDataType {
  uint8_t code, bits;
  uint16_t lanes;
};

struct DLTensor {
  void *data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape;
  int64_t *strides; // in elements; NULL: dense row-major
  uint64_t byte_offset;
};

struct DLManagedTensor {
  DLTensor dl_tensor;
  void *manager_ctx;
  void (*deleter)(DLManagedTensor *self);
};

struct DLPackVersion {
  uint32_t major, minor;
};

struct DLManagedTensorVersioned {
  DLPackVersion version;
  void *manager_ctx;
  void (*deleter)(DLManagedTensorVersioned *self);
  uint64_t flags; // 1: read-only, 2: copied
  DLTensor dl_tensor;
};
}

#endif
