//===- Dlpack.cpp - DLPack import and export ------------------------------===//

#include "../cuda/Transfer.h"
#include "DlpackAbi.h"
#include "Handles.h"

#include <cstring>

using namespace flame::rt;

namespace {

enum Code : uint8_t {
  Int = 0,
  UInt = 1,
  Float = 2,
  BFloat = 4,
  Complex = 5,
  Bool = 6,
  Float8E4M3FN = 10,
  Float8E4M3FNUZ = 11,
  Float8E5M2 = 12,
  Float8E5M2FNUZ = 13,
  Float8E8M0FNU = 14
};

enum DeviceType : int32_t { kCpu = 1, kCuda = 2, kCudaHost = 3 };

struct Mapping {
  DType dtype;
  uint8_t code, bits;
};

// The packed 4- and 2-bit types have no counterpart: flame gives every element a byte.
constexpr Mapping kMappings[] = {
    {FLAME_F32, Float, 32},
    {FLAME_U8, UInt, 8},
    {FLAME_I8, Int, 8},
    {FLAME_U16, UInt, 16},
    {FLAME_I16, Int, 16},
    {FLAME_I32, Int, 32},
    {FLAME_I64, Int, 64},
    {FLAME_BOOL, Bool, 8},
    {FLAME_F16, Float, 16},
    {FLAME_F64, Float, 64},
    {FLAME_U32, UInt, 32},
    {FLAME_U64, UInt, 64},
    {FLAME_C64, Complex, 64},
    {FLAME_C128, Complex, 128},
    {FLAME_BF16, BFloat, 16},
    {FLAME_F8E4M3FN, Float8E4M3FN, 8},
    {FLAME_F8E4M3FNUZ, Float8E4M3FNUZ, 8},
    {FLAME_F8E5M2, Float8E5M2, 8},
    {FLAME_F8E5M2FNUZ, Float8E5M2FNUZ, 8},
    {FLAME_F8E8M0FNU, Float8E8M0FNU, 8},
};

DType fromDlpack(DLDataType type) {
  if (type.lanes == 1)
    for (const Mapping &m : kMappings)
      if (m.code == type.code && m.bits == type.bits)
        return m.dtype;
  fail(FLAME_UNSUPPORTED, "the DLPack type with code ", static_cast<int>(type.code), ", ", static_cast<int>(type.bits),
       " bits and ", type.lanes, " lanes has no counterpart");
}

DLDataType toDlpack(DType dtype) {
  for (const Mapping &m : kMappings)
    if (m.dtype == dtype)
      return {m.code, m.bits, 1};
  fail(FLAME_UNSUPPORTED, "a tensor of ", dtypeName(dtype), " has no counterpart in DLPack");
}

bool isDense(const DLTensor &t) {
  if (!t.strides)
    return true;
  uint64_t stride = 1; // beside a zero the other dims may be of any size
  for (int i = t.ndim - 1; i >= 0; --i) {
    if (t.shape[i] == 0)
      return true;
    if (t.shape[i] != 1 && static_cast<uint64_t>(t.strides[i]) != stride)
      return false;
    stride *= static_cast<uint64_t>(t.shape[i]);
  }
  return true;
}

void copyStrided(const char *from, const DLTensor &t, const Tensor &to) {
  const size_t size = elementSize(to.dtype);
  const int64_t count = to.elements();
  int64_t index[kMaxRank] = {}, offset = 0;
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to.as<char>() + i * size, from + offset * static_cast<int64_t>(size), size);
    for (int d = t.ndim - 1; d >= 0; --d) {
      offset += t.strides[d];
      if (++index[d] < t.shape[d])
        break;
      offset -= t.strides[d] * t.shape[d];
      index[d] = 0;
    }
  }
}

constexpr uint64_t kReadOnly = 1; // in DLManagedTensorVersioned::flags

template <typename Managed> void deleteManaged(void *managed) {
  auto *m = static_cast<Managed *>(managed);
  if (m->deleter)
    m->deleter(m);
}

template <typename Managed> void import(Managed *managed, flame_value **value) {
  const DLTensor &t = managed->dl_tensor;
  const bool cuda = t.device.device_type == kCuda;
  if (!cuda && t.device.device_type != kCpu && t.device.device_type != kCudaHost)
    fail(FLAME_UNSUPPORTED, "the DLPack tensor is on device type ", t.device.device_type,
         "; copy it to CPU memory first");
  Tensor tensor;
  tensor.dtype = fromDlpack(t.dtype);
  tensor.dims = dimsArgument(t.shape, t.ndim);
  auto bytes = countBytes(tensor.dtype, tensor.dims);
  if (!bytes)
    fail(FLAME_INVALID_ARGUMENT, "the DLPack tensor has the impossible shape ", tensor.dims.str());
  if (*bytes)
    checkHandle(static_cast<char *>(t.data), "the DLPack tensor's data");
  char *data = static_cast<char *>(t.data) + t.byte_offset;
  if (cuda) {
    if (!isDense(t))
      fail(FLAME_UNSUPPORTED, "the DLPack tensor is strided, and on a GPU; make it contiguous first");
    if (t.device.device_id < 0 || t.device.device_id > INT16_MAX)
      fail(FLAME_INVALID_ARGUMENT, "the DLPack tensor is on GPU ", t.device.device_id, ", which does not exist");
    if (*bytes)
      flame::rt::cuda::checkMemory(t.device.device_id, data);
    tensor.device = static_cast<int16_t>(t.device.device_id);
  }
  auto handle = wrapValue(Value());
  if (isDense(t)) {
    tensor.bytes = *bytes;
    tensor.data = data;
    tensor.buffer = wrapBuffer(data, *bytes, deleteManaged<Managed>, managed);
    if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>)
      tensor.buffer->readOnly = managed->flags & kReadOnly;
  } else {
    tensor = makeTensor(Allocator::shared(), tensor.dtype, tensor.dims);
    copyStrided(data, t, tensor);
    deleteManaged<Managed>(managed);
  }
  handle->value = Value::of(std::move(tensor));
  *value = handle.detach();
}

template <typename Managed> struct Export {
  Managed managed{};
  Ref<Buffer> buffer;
  Dims dims;
  Dims strides;
};

template <typename Managed> Managed *exportTensor(const flame_value *value) {
  const Value &v = checkHandle(value, "tensor").value;
  if (v.kind != FLAME_TENSOR)
    fail(FLAME_INVALID_ARGUMENT, "the value is ", v.describe(), ", not a tensor");
  const Tensor &t = v.tensor;
  const DLDataType type = toDlpack(t.dtype);
  if (!t.buffer)
    fail(FLAME_INVALID_ARGUMENT, "the tensor does not own its memory; copy it first");
  auto *out = new Export<Managed>;
  out->buffer = t.buffer;
  out->dims = t.dims;
  out->strides = t.dims;
  uint64_t stride = 1; // beside a zero the other dims may be of any size
  for (int i = t.rank() - 1; i >= 0; --i) {
    out->strides[i] = static_cast<int64_t>(stride);
    stride *= static_cast<uint64_t>(t.dims[i]);
  }
  if constexpr (std::is_same_v<Managed, DLManagedTensorVersioned>)
    out->managed.flags = t.buffer->readOnly ? kReadOnly : 0;
  DLTensor &dl = out->managed.dl_tensor;
  dl.data = t.data;
  dl.device.device_type = static_cast<decltype(dl.device.device_type)>(t.onHost() ? kCpu : kCuda);
  dl.device.device_id = t.onHost() ? 0 : t.device;
  dl.ndim = t.rank();
  dl.dtype = type;
  dl.shape = out->dims.begin();
  dl.strides = out->strides.begin();
  out->managed.manager_ctx = out;
  out->managed.deleter = [](Managed *self) { delete static_cast<Export<Managed> *>(self->manager_ctx); };
  return &out->managed;
}

} // namespace

flame_status *flame_tensor_from_dlpack(DLManagedTensor *managed, flame_value **value) {
  return guard([&] {
    checkHandle(managed, "managed");
    checkHandle(value, "value");
    import(managed, value);
  });
}

flame_status *flame_tensor_from_dlpack_versioned(DLManagedTensorVersioned *managed, flame_value **value) {
  return guard([&] {
    checkHandle(managed, "managed");
    checkHandle(value, "value");
    if (managed->version.major != 1)
      fail(FLAME_UNSUPPORTED, "the tensor is of DLPack version ", managed->version.major, ".", managed->version.minor,
           "; version 1 is supported");
    import(managed, value);
  });
}

flame_status *flame_tensor_to_dlpack(const flame_value *tensor, DLManagedTensor **managed) {
  return guard([&] {
    checkHandle(managed, "managed");
    *managed = exportTensor<DLManagedTensor>(tensor);
  });
}

flame_status *flame_tensor_to_dlpack_versioned(const flame_value *tensor, DLManagedTensorVersioned **managed) {
  return guard([&] {
    checkHandle(managed, "managed");
    auto *out = exportTensor<DLManagedTensorVersioned>(tensor);
    out->version = {1, 1};
    *managed = out;
  });
}
