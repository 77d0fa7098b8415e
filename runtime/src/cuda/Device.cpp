//===- Device.cpp - see Device.h ------------------------------------------===//

#include "Device.h"

#include <algorithm>
#include <atomic>

namespace flame::rt::cuda {

namespace {

thread_local const Device *current = nullptr; // the device of the innermost ContextScope

std::mutex devicesMutex;
std::vector<Device *> openDevices; // without references: ~Device removes itself

} // namespace

Ref<Device> Device::open(int ordinal) {
  const Driver &driver = Driver::get();
  if (ordinal < 0 || ordinal >= driver.devices)
    fail(FLAME_DEVICE, "there is no GPU ", ordinal, ": the driver finds ", driver.devices,
         driver.devices == 1 ? " device" : " devices", ", counted from 0 (options.device, FLAME_DEVICE)");
  std::lock_guard lock(devicesMutex);
  for (Device *device : openDevices)
    if (device->ordinal == ordinal && device->retainIfAlive())
      return Ref<Device>::adopt(device);
  openDevices.reserve(openDevices.size() + 1);
  auto device = Ref<Device>::adopt(new Device(driver, ordinal));
  openDevices.push_back(device.get());
  return device;
}

Device::Device(const Driver &driver, int ordinal) : driver(driver), ordinal(ordinal) {
  check(driver.deviceGet(&handle, ordinal), "opening the GPU");
  char text[256] = {};
  check(driver.deviceGetName(text, sizeof(text) - 1, handle), "asking the GPU's name");
  name = text;
  auto attribute = [&](int which) {
    int value = 0;
    check(driver.deviceGetAttribute(&value, which, handle), "asking the GPU's properties");
    return value;
  };
  major = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  multiprocessors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  maxShared = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  const bool pools = attribute(CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED);
  size_t total = 0;
  check(driver.deviceTotalMem(&total, handle), "asking the GPU's memory");
  memory = total;
  check(driver.primaryCtxRetain(&context, handle), "making a context on the GPU");
  if (!pools)
    return;
  // A pool of our own: the device's default pool belongs to the host application.
  CUmemPoolProps properties{};
  properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, handle};
  uint64_t keep = UINT64_MAX; // between runs, too: what a session frees it soon wants again
  CUresult result = driver.memPoolCreate(&pool, &properties);
  if (result == CUDA_SUCCESS)
    result = driver.memPoolSetAttribute(pool, CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, &keep);
  if (result != CUDA_SUCCESS) {
    if (pool)
      driver.memPoolDestroy(pool);
    driver.primaryCtxRelease(handle);
    check(result, "making a memory pool on the GPU");
  }
}

Device::~Device() {
  {
    std::lock_guard lock(devicesMutex);
    openDevices.erase(std::remove(openDevices.begin(), openDevices.end(), this), openDevices.end());
  }
  try {
    ContextScope scope(*this);
    own.reset();
    if (pool)
      driver.memPoolDestroy(pool);
  } catch (const Error &) {
    // The context is gone, and the pool with it.
  }
  driver.primaryCtxRelease(handle);
}

std::string Device::describe() const { return cat("GPU ", ordinal, " (", name, ", sm_", major, minor, ")"); }

void Device::checkPointer(const void *pointer) const {
  ContextScope scope(*this);
  const Driver::Place place = driver.placeOf(pointer);
  if (place.type != CU_MEMORYTYPE_DEVICE)
    fail(FLAME_INVALID_ARGUMENT, "the pointer given as memory of ", describe(), " is not in device memory");
  if (place.device != ordinal)
    fail(FLAME_INVALID_ARGUMENT, "the pointer given as memory of GPU ", ordinal, " is memory of GPU ", place.device);
}

const OwnKernels &Device::ownKernels() const {
  ContextScope scope(*this);
  std::lock_guard lock(ownMutex);
  if (!own)
    own = std::make_unique<OwnKernels>(driver);
  return *own;
}

void Device::synchronize() const {
  ContextScope scope(*this);
  check(driver.ctxSynchronize(), "waiting for the GPU");
}

void Device::reclaim() const {
  ContextScope scope(*this);
  synchronize();
  {
    std::lock_guard lock(streamsMutex);
    for (Stream *stream : streams)
      stream->reclaim();
  }
  synchronize();
}

ContextScope::ContextScope(const Device &device) : device(device), outer(current) {
  if (outer == &device)
    return;
  check(device.driver.ctxPushCurrent(device.context), "entering the GPU's context");
  pushed = true;
  current = &device;
}

ContextScope::~ContextScope() {
  if (!pushed)
    return;
  CUcontext popped;
  device.driver.ctxPopCurrent(&popped);
  current = outer;
}

// ---- streams

Stream::Stream(Ref<Device> on) : device(std::move(on)) {
  ContextScope scope(*device);
  std::lock_guard lock(device->streamsMutex);
  device->streams.reserve(device->streams.size() + 1);
  check(device->driver.streamCreate(&own, CU_STREAM_NON_BLOCKING), "making a stream");
  handle = own;
  device->streams.push_back(this);
}

Stream::~Stream() {
  {
    std::lock_guard lock(device->streamsMutex);
    std::erase(device->streams, this);
  }
  try {
    ContextScope scope(*device);
    releaseDeferred();
    device->driver.streamSynchronize(own);
    device->driver.streamDestroy(own);
  } catch (const Error &) {
    // The context is gone, and the stream with it.
  }
}

void Stream::enter(CUstream target) noexcept {
  std::lock_guard lock(mutex);
  handle = target;
  running = pending = true;
  unordered = target != own && device->pool; // without a pool, the driver waits for the device where memory is freed
  releaseDeferred();
}

void Stream::leave() noexcept {
  std::lock_guard lock(mutex);
  handle = own;
  running = false;
}

void Stream::retire() noexcept {
  reclaim();
  std::lock_guard lock(mutex);
  retired = true;
}

void Stream::reclaim() noexcept {
  std::lock_guard lock(mutex);
  if (deferred.empty() || !foreign())
    return;
  device->driver.ctxSynchronize(); // a failure means that nothing runs any more
  releaseDeferred();
}

void *Stream::allocate(size_t bytes) {
  ContextScope scope(*device);
  {
    std::lock_guard lock(mutex);
    if (deferred.capacity() < live + 1)
      deferred.reserve(2 * live + 64);
    ++live;
  }
  CUdeviceptr pointer = 0;
  const Driver &driver = device->driver;
  CUresult result = device->pool ? driver.memAllocFromPoolAsync(&pointer, bytes, device->pool, use())
                                 : driver.memAlloc(&pointer, bytes);
  if (result == CUDA_ERROR_OUT_OF_MEMORY && device->pool) {
    // Other streams' memory may be on its way back to the pool, in pieces that do not fit.
    device->reclaim();
    driver.memPoolTrimTo(device->pool, 0);
    result = driver.memAllocFromPoolAsync(&pointer, bytes, device->pool, use());
  }
  if (result != CUDA_SUCCESS) {
    std::lock_guard lock(mutex);
    --live;
  }
  if (result == CUDA_ERROR_OUT_OF_MEMORY)
    return nullptr;
  check(result, "allocating memory of the GPU");
  return reinterpret_cast<void *>(pointer);
}

void Stream::giveBack(void *memory) noexcept {
  std::lock_guard lock(mutex);
  if (deferring || (foreign() && !retired)) {
    deferred.push_back(memory);
    return;
  }
  if (foreign()) {
    try {
      ContextScope scope(*device);
      device->driver.ctxSynchronize();
    } catch (const Error &) {
      // The context is gone, and the memory with it.
    }
  }
  releaseNow(memory);
}

void Stream::releaseNow(void *memory) noexcept {
  --live;
  try {
    ContextScope scope(*device);
    if (device->pool)
      device->driver.memFreeAsync(address(memory), handle);
    else
      device->driver.memFree(address(memory));
  } catch (const Error &) {
    // The context is gone, and the memory with it.
  }
}

void Stream::defer(bool on) noexcept {
  std::lock_guard lock(mutex);
  deferring = on;
  if (!on)
    releaseDeferred();
}

void Stream::releaseDeferred() noexcept {
  for (void *memory : deferred)
    releaseNow(memory);
  deferred.clear();
}

void Stream::watch(uint32_t *watched) noexcept {
  std::lock_guard lock(mutex);
  flag = watched;
}

bool Stream::isFlagged() noexcept {
  std::lock_guard lock(mutex);
  return flag && std::atomic_ref(*flag).load(std::memory_order_acquire);
}

void Stream::read(void *to, const void *from, size_t bytes) {
  ContextScope scope(*device);
  const Driver &driver = device->driver;
  {
    std::lock_guard lock(mutex);
    if (handle != own || unordered)
      check(driver.ctxSynchronize(), "reading memory of the GPU");
  }
  check(driver.memcpyDtoHAsync(to, address(from), bytes, own), "reading memory of the GPU");
  check(driver.streamSynchronize(own), "reading memory of the GPU");
}

Event::Event(const Ref<Device> &on, bool timed) : device(on) {
  ContextScope scope(*device);
  check(device->driver.eventCreate(&handle, timed ? CU_EVENT_DEFAULT : CU_EVENT_DISABLE_TIMING), "making an event");
}

Event::~Event() {
  if (handle)
    device->driver.eventDestroy(handle);
}

Event::Event(Event &&other) noexcept : device(std::move(other.device)), handle(std::exchange(other.handle, nullptr)) {}

} // namespace flame::rt::cuda
