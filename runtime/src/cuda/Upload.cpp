//===- Upload.cpp - see Upload.h -------------------------------------------===//

#include "Upload.h"

#include "../ThreadPool.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <exception>
#include <mutex>
#include <utility>

namespace flame::rt::cuda {

namespace {

constexpr size_t kChunkBytes = 4 << 20;
constexpr size_t kChunksEach = 2; // of a thread: one is filled while the other is on its way
// Eight cores fill pinned memory faster than the bus empties it.
constexpr int kMaxThreads = 8;

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

/// One upload; chunks of the image are filled and sent by several threads.
class Upload {
public:
  Upload(const Stream &stream, void *to, const std::vector<Piece> &pieces)
      : stream(stream), to(to), pieces(pieces), total(pieces.back().offset + pieces.back().bytes),
        chunks((total - 1) / kChunkBytes + 1) {}

  void run(int threads) {
    const int most = static_cast<int>(std::clamp<uint64_t>(chunks / kChunksEach, 1, std::min(threads, kMaxThreads)));
    ThreadPool pool(most);
    rings.resize(pool.size());
    pool.parallelFor(
        static_cast<int64_t>(chunks), 1, pool.size(),
        [](void *self, int participant, int64_t begin, int64_t end) {
          static_cast<Upload *>(self)->send(participant, begin, end);
        },
        this);
    if (failure)
      std::rethrow_exception(failure);
  }

private:
  struct Ring {
    std::vector<Chunk> chunks;
    size_t used = 0;
  };

  void send(int participant, int64_t begin, int64_t end) noexcept {
    try {
      ContextScope scope(*stream.device);
      for (int64_t i = begin; i < end && !failed.load(std::memory_order_relaxed); ++i)
        sendChunk(rings[participant], static_cast<uint64_t>(i) * kChunkBytes);
    } catch (...) {
      std::lock_guard lock(mutex);
      if (!failed.exchange(true))
        failure = std::current_exception();
    }
  }

  void sendChunk(Ring &ring, uint64_t begin) {
    const Driver &driver = stream.device->driver;
    const size_t bytes = std::min<uint64_t>(kChunkBytes, total - begin), place = ring.used++ % kChunksEach;
    if (ring.chunks.size() <= place)
      ring.chunks.emplace_back(stream.device, std::min<uint64_t>(kChunkBytes, total));
    else
      check(driver.eventSynchronize(ring.chunks[place].copied.handle), "bringing weights to the GPU");
    Chunk &chunk = ring.chunks[place];
    fill(static_cast<char *>(chunk.memory), begin, begin + bytes);
    check(driver.memcpyHtoDAsync(address(to) + begin, chunk.memory, bytes, stream.handle),
          "bringing weights to the GPU");
    check(driver.eventRecord(chunk.copied.handle, stream.handle), "bringing weights to the GPU");
  }

  void fill(char *memory, uint64_t begin, uint64_t end) const {
    auto piece = std::partition_point(pieces.begin(), pieces.end(),
                                      [&](const Piece &p) { return p.offset + p.bytes <= begin; });
    for (; piece != pieces.end() && piece->offset < end; ++piece) {
      const uint64_t first = std::max(piece->offset, begin), last = std::min(piece->offset + piece->bytes, end);
      const char *from = static_cast<const char *>(piece->from) + (first - piece->offset);
      std::memcpy(memory + (first - begin), from, last - first);
    }
  }

  const Stream &stream;
  void *const to;
  const std::vector<Piece> &pieces;
  const uint64_t total, chunks;
  std::vector<Ring> rings; // a thread each
  std::mutex mutex;
  std::atomic<bool> failed{false};
  std::exception_ptr failure;
};

} // namespace

void upload(const Ref<Stream> &stream, void *to, const std::vector<Piece> &pieces, int threads) {
  if (pieces.empty())
    return;
  ContextScope scope(*stream->device);
  Upload all(*stream, to, pieces);
  // Copies of a failed upload must not read buffers that are gone.
  struct Settle {
    const Stream &stream;
    ~Settle() { stream.device->driver.streamSynchronize(stream.handle); }
  } settle{*stream};
  all.run(threads);
  check(stream->device->driver.streamSynchronize(stream->handle), "bringing weights to the GPU");
}

} // namespace flame::rt::cuda
