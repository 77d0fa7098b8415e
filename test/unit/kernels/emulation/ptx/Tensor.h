//===- Tensor.h - runtime/kernels/ptx/Tensor.h, emulated ----------------------------------------------------------===//
//
// A box poisons its target, others run, and then it lands. Stores read shared memory when they are waited for.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Barrier.h"
#include <algorithm>

namespace flame {

/// In the place of the driver's 128 bytes, of which libflame_fake_cuda.so's tell all of it.
struct alignas(64) TensorMap {
  unsigned char *begin;
  int elementBytes, rank;
  long long dims[5], strides[5]; // in bytes
  int box[5];
  // A map of windows: `box` is channels and windows, the corners are those of the positions, the innermost dim first.
  bool windows = false;
  int lower[3] = {}, upper[3] = {}, steps[3] = {};

  /// `values`: addresses of the words that FakeCuda.cpp's encodeMap writes.
  static TensorMap of(void *const *values) {
    auto word = [&](int i) { return *(const unsigned long long *)values[i]; };
    // What the driver calls u8, u16, u32, i32, u64, i64, f16, f32, f64, bf16, f32 that is cut to TF32, the same.
    constexpr int bytes[] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
    TensorMap map{(unsigned char *)word(2), bytes[word(0) & 0xff], int(word(0) >> 8 & 0xff), {}, {}, {}};
    for (int i = 0; i < map.rank; ++i) {
      map.dims[i] = word(3 + i);
      map.strides[i] = i == 0 ? map.elementBytes : word(7 + i);
      map.box[i] = word(13) >> 12 * i & 0xfff;
    }
    map.windows = word(12);
    for (int i = 0; i < 3; ++i) {
      map.lower[i] = (signed char)(word(14) >> 16 * i);
      map.upper[i] = (signed char)(word(14) >> (16 * i + 8));
      map.steps[i] = word(15) >> 8 * i & 0xff;
    }
    return map;
  }
};

inline void prefetchMap(const TensorMap &) {}
inline SharedAddress swizzledShared() { return emulator::shared(); }
/// In the 128-byte swizzle, by the address.
inline unsigned char *swizzled(unsigned char *at) {
  const size_t address = (size_t)at; // every block's memory begins at a multiple of 1024
  return (unsigned char *)(address ^ (address >> 7 & 7) << 4);
}

/// Calls visit(shared, global or null) for each element of a line of the box, which lies at `at` in the tensor.
template <int rank, typename Visit>
void visitLine(const TensorMap &map, SharedAddress shared, int line, const long long (&at)[rank], Visit visit) {
  for (int i = 0; i < map.box[0]; ++i) {
    long long offset = 0;
    bool inside = true;
    for (int d = 0; d < rank; ++d) {
      const long long position = at[d] + (d == 0 ? i : 0);
      inside &= position >= 0 && position < map.dims[d];
      offset += position * map.strides[d];
    }
    visit(swizzled(shared + line * 128 + i * map.elementBytes), inside ? map.begin + offset : nullptr);
  }
}
template <int rank> void checkMap(const TensorMap &map, SharedAddress shared, bool windows) {
  if (rank != map.rank || map.box[0] * map.elementBytes != 128 || reinterpret_cast<size_t>(shared) % 1024 || map.windows != windows)
    std::abort();
}

/// The same for each line of the box.
template <int rank, typename Visit>
void visitBox(const TensorMap &map, SharedAddress shared, const int (&at)[rank], Visit visit) {
  checkMap<rank>(map, shared, false);
  int lines = 1;
  for (int d = 1; d < rank; ++d)
    lines *= map.box[d];
  for (int line = 0; line < lines; ++line) {
    long long place[rank] = {at[0]};
    for (int d = 1, rest = line; d < rank; ++d) {
      place[d] = at[d] + rest % map.box[d];
      rest /= map.box[d];
    }
    visitLine(map, shared, line, place, visit);
  }
}
/// The same for a tap of some windows, one after the other.
template <int rank, typename Visit>
void visitWindows(const TensorMap &map, SharedAddress shared, const int (&at)[rank + 2], const int (&tap)[rank],
                  Visit visit) {
  checkMap<rank + 2>(map, shared, true);
  // The copy engine has so many bits for corners and taps together.
  constexpr int bits = 16 / rank;
  long long place[rank + 2];
  for (int d = 0; d < rank + 2; ++d)
    place[d] = at[d];
  for (int d = 0; d < rank; ++d)
    if (tap[d] < 0 || tap[d] >= 1 << bits || std::min(map.lower[d], map.upper[d]) < -(1 << (bits - 1)) ||
        std::max(map.lower[d], map.upper[d]) >= 1 << (bits - 1) || map.steps[d] < 1 || map.steps[d] > 8)
      std::abort();
  for (int line = 0; line < map.box[1]; ++line) {
    long long from[rank + 2] = {place[0]};
    for (int d = 0; d < rank; ++d)
      from[d + 1] = place[d + 1] + tap[d];
    from[rank + 1] = place[rank + 1];
    visitLine(map, shared, line, from, visit);
    for (int d = 1; d < rank + 2; ++d) {
      if (d == rank + 1) {
        ++place[d];
        break;
      }
      if ((place[d] += map.steps[d - 1]) < map.dims[d] + map.upper[d - 1])
        break;
      place[d] = map.lower[d - 1];
    }
  }
}

/// Poisons what visitAll(visit) visits, lets others run, and fills it.
template <typename VisitAll> void loadElements(const TensorMap &map, SharedAddress barrier, VisitAll visitAll) {
  int bytes = 0;
  visitAll([&](unsigned char *shared, unsigned char *) {
    std::memset(shared, 0xff, map.elementBytes);
    bytes += map.elementBytes;
  });
  for (int i = 0; i < 2; ++i)
    emulator::yield();
  visitAll([&](unsigned char *shared, unsigned char *global) {
    if (global)
      std::memcpy(shared, global, map.elementBytes);
    else
      std::memset(shared, 0, map.elementBytes);
  });
  flame::at(barrier).bytes -= bytes;
  endPhase(barrier);
}
template <int rank>
void loadTensor(const TensorMap &map, SharedAddress to, SharedAddress barrier, const int (&at)[rank]) {
  loadElements(map, barrier, [&](auto visit) { visitBox(map, to, at, visit); });
}
template <int rank>
void loadWindows(const TensorMap &map, SharedAddress to, SharedAddress barrier, const int (&at)[rank + 2],
                 const int (&tap)[rank]) {
  loadElements(map, barrier, [&](auto visit) { visitWindows<rank>(map, to, at, tap, visit); });
}
/// Calls load(to, barrier) for each block of the cluster that `ranks` has bits of.
template <typename Load> void cast(SharedAddress to, SharedAddress barrier, unsigned short ranks, Load load) {
  for (int rank = 0; ranks >> rank; ++rank)
    if (ranks >> rank & 1)
      load(clusterAddress(to, rank), clusterAddress(barrier, rank));
}
template <int rank>
void castTensor(const TensorMap &map, SharedAddress to, SharedAddress barrier, const int (&at)[rank], unsigned short ranks) {
  cast(to, barrier, ranks, [&](SharedAddress there, SharedAddress its) { loadTensor(map, there, its, at); });
}
template <int rank>
void castWindows(const TensorMap &map, SharedAddress to, SharedAddress barrier, const int (&at)[rank + 2], const int (&tap)[rank],
                 unsigned short ranks) {
  cast(to, barrier, ranks, [&](SharedAddress there, SharedAddress its) { loadWindows<rank>(map, there, its, at, tap); });
}

template <int rank> void storeTensor(const TensorMap &map, SharedAddress from, const int (&at)[rank]) {
  struct Place {
    int at[rank];
  } place;
  std::memcpy(place.at, at, sizeof at);
  emulator::start(1, [&map, from, place] {
    visitBox(map, from, place.at, [&](unsigned char *shared, unsigned char *global) {
      if (global)
        std::memcpy(global, shared, map.elementBytes);
    });
  });
}
inline void commitStores() { emulator::commitWork(1); }
template <int pending> void waitStoresRead() { emulator::waitForWork(1, pending); }

inline void storeMatrices(SharedAddress line, unsigned a, unsigned b, unsigned c, unsigned d) {
  const int lane = threadId() % 32;
  std::memcpy(emulator::slot(lane), &line, sizeof line);
  syncWarp();
  const unsigned matrices[4] = {a, b, c, d};
  for (int matrix = 0; matrix < 4; ++matrix) {
    unsigned char *to;
    std::memcpy(&to, emulator::slot(matrix * 8 + lane / 4), sizeof to);
    std::memcpy(to + lane % 4 * 4, &matrices[matrix], 4);
  }
  syncWarp();
}
inline void storeShared(SharedAddress at, unsigned a, unsigned b) {
  std::memcpy(at, &a, 4);
  std::memcpy(at + 4, &b, 4);
}
inline void storeShared(SharedAddress at, unsigned a) { std::memcpy(at, &a, 4); }
inline void storeShared(SharedAddress at, unsigned short a) { std::memcpy(at, &a, 2); }
inline void fenceShared() {}

} // namespace flame
