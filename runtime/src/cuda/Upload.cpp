//===- Upload.cpp - see Upload.h -------------------------------------------===//

#include "Upload.h"

#include <algorithm>
#include <cstring>

namespace flame::rt::cuda {

namespace {

constexpr size_t kChunkBytes = 8 << 20;
constexpr size_t kChunks = 4;

/// A pinned buffer and the end of the copy that reads it.
class Chunk {
public:
  Chunk(const Ref<Device> &device, size_t bytes) : copied(device, /*timed=*/false) {
    check(device->driver.memAllocHost(&memory, bytes), "allocating pinned memory");
  }
  ~Chunk() {
    if (memory)
      copied.device->driver.memFreeHost(memory);
  }
  Chunk(Chunk &&other) noexcept : copied(std::move(other.copied)), memory(std::exchange(other.memory, nullptr)) {}

  Event copied;
  void *memory = nullptr;
};

} // namespace

void upload(const Ref<Stream> &stream, void *to, const std::vector<Piece> &pieces) {
  if (pieces.empty())
    return;
  const Ref<Device> &device = stream->device;
  const Driver &driver = device->driver;
  ContextScope scope(*device);
  const uint64_t total = pieces.back().offset + pieces.back().bytes;
  std::vector<Chunk> ring;
  ring.reserve(kChunks);
  // Copies of a failed upload must not read buffers that are gone.
  struct Settle {
    const Stream &stream;
    ~Settle() { stream.device->driver.streamSynchronize(stream.handle); }
  } settle{*stream};
  size_t next = 0, within = 0; // piece, and byte of it
  for (uint64_t begin = 0, index = 0; begin < total; begin += kChunkBytes, ++index) {
    const size_t bytes = std::min<uint64_t>(kChunkBytes, total - begin);
    if (ring.size() < kChunks)
      ring.emplace_back(device, std::min<uint64_t>(kChunkBytes, total));
    Chunk &chunk = ring[index % kChunks];
    if (index >= kChunks)
      check(driver.eventSynchronize(chunk.copied.handle), "bringing weights to the GPU");
    for (; next < pieces.size() && pieces[next].offset < begin + bytes; ++next, within = 0) {
      const Piece &piece = pieces[next];
      const uint64_t at = piece.offset + within;
      const size_t part = std::min<uint64_t>(piece.bytes - within, begin + bytes - at);
      std::memcpy(static_cast<char *>(chunk.memory) + (at - begin), static_cast<const char *>(piece.from) + within,
                  part);
      within += part;
      if (within < piece.bytes)
        break;
    }
    check(driver.memcpyHtoDAsync(address(to) + begin, chunk.memory, bytes, stream->handle),
          "bringing weights to the GPU");
    check(driver.eventRecord(chunk.copied.handle, stream->handle), "bringing weights to the GPU");
  }
  check(driver.streamSynchronize(stream->handle), "bringing weights to the GPU");
}

} // namespace flame::rt::cuda
