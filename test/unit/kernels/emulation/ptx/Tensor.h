//===- Tensor.h - runtime/kernels/ptx/Tensor.h, emulated ----------------------------------------------------------===//
//
// A box poisons its target, others run, and then it lands. Stores read shared memory when they are waited for.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "ptx/Barrier.h"

namespace flame {

/// In the place of the driver's 128 bytes.
struct alignas(64) TensorMap {
  unsigned char *begin;
  int elementBytes, rank;
  long long dims[5], strides[5]; // in bytes
  int box[5];
};

inline void prefetchMap(const TensorMap &) {}
inline SharedAddress swizzledShared() { return emulator::shared(); }
/// In the 128-byte swizzle, by the address.
inline unsigned char *swizzled(unsigned char *at) {
  const size_t offset = at - emulator::shared();
  return emulator::shared() + (offset ^ (offset >> 7 & 7) << 4);
}

/// Calls visit(shared, global or null) for each element of the box.
template <int rank, typename Visit>
void visitBox(const TensorMap &map, SharedAddress shared, const int (&at)[rank], Visit visit) {
  if (rank != map.rank || map.box[0] * map.elementBytes != 128 || (shared - emulator::shared()) % 1024)
    std::abort();
  int lines = 1;
  for (int d = 1; d < rank; ++d)
    lines *= map.box[d];
  for (int line = 0; line < lines; ++line)
    for (int i = 0; i < map.box[0]; ++i) {
      long long offset = 0;
      bool inside = true;
      for (int d = 0, rest = line; d < rank; ++d) {
        const long long position = at[d] + (d == 0 ? i : rest % map.box[d]);
        inside &= position >= 0 && position < map.dims[d];
        offset += position * map.strides[d];
        rest = d == 0 ? rest : rest / map.box[d];
      }
      visit(swizzled(shared + line * 128 + i * map.elementBytes), inside ? map.begin + offset : nullptr);
    }
}

template <int rank>
void loadTensor(const TensorMap &map, SharedAddress to, SharedAddress barrier, const int (&at)[rank]) {
  int bytes = 0;
  visitBox(map, to, at, [&](unsigned char *shared, unsigned char *) {
    std::memset(shared, 0xff, map.elementBytes);
    bytes += map.elementBytes;
  });
  for (int i = 0; i < 2; ++i)
    emulator::yield();
  visitBox(map, to, at, [&](unsigned char *shared, unsigned char *global) {
    if (global)
      std::memcpy(shared, global, map.elementBytes);
    else
      std::memset(shared, 0, map.elementBytes);
  });
  flame::at(barrier).bytes -= bytes;
  endPhase(barrier);
}
/// There are no clusters.
template <int rank>
void castTensor(const TensorMap &, SharedAddress, SharedAddress, const int (&)[rank], unsigned short) {
  std::abort();
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
inline void fenceShared() {}

} // namespace flame
