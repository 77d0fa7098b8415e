//===- StoreGroup.h - from a warpgroup's sums to results ---------------------------------------------------------===//
//
// A warp has 16 rows of the warpgroup's 64. It passes them on some columns at a time through a piece of shared memory of its
// own: to the copy engine, which writes lines of 128 bytes where a tensor map says, or to an epilogue that takes runs of
// columns (see Store.h). Of two products at once a thread has two sums for each element, the second product's behind the first's.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/Store.h"
#include "ptx/Convert.h"
#include "ptx/Matrix.h"
#include "ptx/Tensor.h"
#include "tile/Bits.h"

namespace flame {

/// One result, a matrix in memory or one for each batch: (row, column, sum) → stored element of 2 or 4 bytes. The body is
/// called for every element of a tile; where that lies outside, for the nearest inside. One that `isLong` stands there for some elements
/// and is repeated for the others, which takes the compiler less time; otherwise it stands there for each, so that all that it reads is
/// under way at one time.
template <typename T, typename Body, bool isLong> struct TensorStore {
  using Element = T;
  static constexpr bool repeatsBody = isLong, clips = false, hasSource = false;
  const TensorMap &map;
  Body body;
};
template <typename T, bool isLong = false, typename Body>
FLAME_DEVICE TensorStore<T, Body, isLong> tensorStore(const TensorMap &map, Body body) {
  return {map, body};
}
/// Whether what stores 64 rows is so long that it stands in a kernel once, for all of them.
template <typename Epilogue> constexpr bool standsOnce = false;
/// A TensorStore, or one with more.
template <typename Epilogue> constexpr bool isTensorStore = false;
template <typename Epilogue>
  requires requires { Epilogue::repeatsBody; }
constexpr bool isTensorStore<Epilogue> = true;
/// The same of a matrix whose rows may end for a tile before they end in memory: those that the copy engine would write too many of, the
/// warp writes by itself, `result` being where the matrix begins, and lines of `pitch` elements whole vectors of 16 bytes.
template <typename T, typename Body, bool isLong, typename Index> struct ClippedStore : TensorStore<T, Body, isLong> {
  static constexpr bool clips = true;
  T *result;
  Index pitch;
};
template <typename T, bool isLong = false, typename Body, typename Index>
FLAME_DEVICE ClippedStore<T, Body, isLong, Index> clippedStore(const TensorMap &map, Body body, T *result, Index pitch) {
  return {{map, body}, result, pitch};
}
/// A TensorStore with a body that also takes the element of `source` in the result's place, such as a residual's: (row, column, sum, element).
/// A warp reads whole lines of it, where bodies would read elements of eight lines at a time. Lines of both, `pitch`, which is that from line
/// to line, and `source` are multiples of 16 bytes. Its text is long.
template <typename Base, typename Index> struct Sourced : Base {
  static constexpr bool hasSource = true;
  const typename Base::Element *source;
  Index pitch;
};
template <typename Base, typename Index> constexpr bool standsOnce<Sourced<Base, Index>> = true;
template <typename Base, typename Index>
FLAME_DEVICE Sourced<Base, Index> sourced(Base base, const typename Base::Element *source, Index pitch) {
  return {base, source, pitch};
}

/// A warp's piece of 16 lines of 128 bytes goes to `result`: the first `rows` lines and `bytes` of each, whole vectors. Not unrolled, as
/// it is rare, and all of the warp's sums are in registers beside it.
template <typename T, typename Index> FLAME_DEVICE void storeLines(const void *slab, T *result, Index pitch, int rows, int bytes) {
  const int chunk = threadId() % 8;
#pragma unroll 1
  for (int first = 0; first < 16; first += 4) {
    const int line = first + threadId() % 32 / 8;
    if (line < rows && chunk * 16 < bytes)
      *(Vector *)((unsigned char *)(result + line * pitch) + chunk * 16) = *((const Vector *)slab + line * 8 + (chunk ^ line % 8));
  }
}

/// See storeGroup.
template <int slabs, int pitch, int products, typename T, bool isLong, int sums, int batchDims, typename Sum, typename Index, typename Epilogue>
FLAME_DEVICE void storeByMap(const Sum (&d)[sums], SharedAddress shared, Index row, Index column,
                             const int (&batch)[batchDims], const Problem<Index> &p, const Epilogue &epilogue) {
  constexpr int each = sums / products, columns = 2 * each, chunk = 128 / (int)sizeof(T), chunks = (columns + chunk - 1) / chunk;
  static_assert(columns >= chunk && (sizeof(T) == 2 || sizeof(T) == 4), "lines of 128 bytes");
  // Sums in a chunk, and those for which the body stands there.
  constexpr int held = chunk / 2, part = isLong ? 16 : held, parts = held / part;
  [[maybe_unused]] constexpr int unrolledChunks = isLong ? 1 : chunks, unrolledParts = isLong ? 1 : parts; // by pragmas alone
  const int lane = threadId() % 32;
  if (row >= p.rows)
    return;
  constexpr int folds = foldsOf<Epilogue>;
  static_assert(folds == 0 || columns % foldColumns == 0, "whole runs of columns");
  const Index first = least(row + lane / 4, p.rows - 1), second = least(row + lane / 4 + 8, p.rows - 1);
  // Of the source the first chunk goes straight to shared memory, as all registers hold sums. What the next chunk needs is under way while the
  // second half of one is computed, whose first half's sums are gone.
  static_assert(!Epilogue::hasSource || (!isLong && !Epilogue::clips), "nobody asks for it");
  constexpr int sourceVectors = 4;
  [[maybe_unused]] Vector brought[sourceVectors];
  auto eachVector = [&](int c, auto function) {
    if constexpr (Epilogue::hasSource) {
      constexpr int each = 16 / (int)sizeof(T);
      const Index at = least(column + least(c * chunk, columns - chunk) + lane % 8 * each, p.columns - each);
#pragma unroll
      for (int i = 0; i < sourceVectors; ++i) {
        const int line = 4 * i + lane / 8;
        function(i, line * 128 + (lane % 8 ^ line % 8) * 16, epilogue.source + least(row + line, p.rows - 1) * epilogue.pitch + at);
      }
    }
  };
  auto bringNext = [&](int c, int j) {
    if (c + 1 < chunks && j == part / 8)
      eachVector(c + 1, [&](int i, int, const T *from) { brought[i] = *(const Vector *)from; });
  };
#pragma unroll unrolledChunks
  for (int c = 0; c < chunks; ++c) {
    // The last chunk may repeat columns of the one before.
    const int start = least(c * chunk, columns - chunk);
    if (column + start >= p.columns)
      break;
    // Registers have no index: of all chunks the one whose turn it is.
    Sum inChunk[products * held];
#pragma unroll
    for (int turn = 0; turn < chunks; ++turn)
      if (c == turn) {
        if (isLong)
          keepBranch();
#pragma unroll
        for (int i = 0; i < products * held; ++i)
          inChunk[i] = d[i / held * each + least(turn * chunk, columns - chunk) / 2 + i % held];
      }
    // A piece is free when all but the latest stores have read theirs.
    if (c == 0 || slabs == 1)
      waitStoresRead<0>();
    else
      waitStoresRead<slabs - 1>();
    syncWarp();
    const SharedAddress slab = shared + c % slabs * pitch;
    if constexpr (Epilogue::hasSource) {
      // To where the results will be, from which each lane takes the elements that it puts its own in the place of.
      if (c == 0) {
        eachVector(c, [&](int, int to, const T *from) { copyAsync<16>(slab + to, from, 16); });
        commitCopies();
        waitCopies<0>();
      } else {
        eachVector(c, [&](int i, int to, const T *) { *(Vector *)pointerTo(slab + to) = brought[i]; });
      }
      syncWarp();
    }
#pragma unroll unrolledParts
    for (int t = 0; t < parts; ++t) {
      Sum inPart[products * part];
#pragma unroll
      for (int i = 0; i < products * part; ++i) {
        inPart[i] = inChunk[i / part * held + i % part];
#pragma unroll
        for (int turn = 1; turn < parts; ++turn)
          inPart[i] = t == turn ? inChunk[i / part * held + turn * part + i % part] : inPart[i];
      }
      auto value = [&](int half, int j, int k, auto... source) {
        const Index at = least(column + start + 2 * part * t + 8 * j + lane % 4 * 2 + k, p.columns - 1);
        const int i = j * 4 + half * 2 + k;
        if constexpr (products == 1)
          return epilogue.body(half ? second : first, at, inPart[i], source...);
        else
          return epilogue.body(half ? second : first, at, inPart[i], inPart[part + i], source...);
      };
      if constexpr (sizeof(T) == 2) {
#pragma unroll
        for (int j = 0; j < part / 4; j += 2) {
          const int line = lane % 16, at = t * (part / 4) + j + lane / 16;
          const SharedAddress place = slab + line * 128 + (at ^ line % 8) * 16;
          [[maybe_unused]] unsigned source[4];
          bringNext(c, j);
          if constexpr (Epilogue::hasSource)
            loadMatrices(source, place);
          auto pair = [&](int half, int jj) {
            unsigned short low, high;
            if constexpr (Epilogue::hasSource) {
              const unsigned word = source[(jj - j) * 2 + half];
              low = (unsigned short)value(half, jj, 0, (T)word), high = (unsigned short)value(half, jj, 1, (T)(word >> 16));
            } else {
              low = (unsigned short)value(half, jj, 0), high = (unsigned short)value(half, jj, 1);
            }
            return (unsigned)low | (unsigned)high << 16;
          };
          storeMatrices(place, pair(0, j), pair(1, j), pair(0, j + 1), pair(1, j + 1));
        }
      } else {
#pragma unroll
        for (int j = 0; j < part / 4; ++j) {
          bringNext(c, j);
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            const int line = lane / 4 + 8 * half, at = 2 * (t * (part / 4) + j) + lane % 4 / 2;
            const SharedAddress place = slab + line * 128 + (at ^ line % 8) * 16 + lane % 2 * 8;
            if constexpr (Epilogue::hasSource) {
              const auto source = *(const Pack<T, 2> *)pointerTo(place);
              storeShared(place, bitsOf(value(half, j, 0, source.values[0])), bitsOf(value(half, j, 1, source.values[1])));
            } else {
              storeShared(place, bitsOf(value(half, j, 0)), bitsOf(value(half, j, 1)));
            }
          }
        }
      }
    }
    fenceShared();
    syncWarp();
    if constexpr (Epilogue::clips) {
      if (p.rows - row < 16) {
        const int bytes = (int)least(p.columns - column - start, (Index)chunk) * (int)sizeof(T);
        storeLines(pointerTo(slab), epilogue.result + row * epilogue.pitch + column + start, epilogue.pitch, (int)(p.rows - row), bytes);
        continue;
      }
    }
    if (lane == 0) {
      int at[batchDims + 2] = {(int)column + start, (int)row};
#pragma unroll
      for (int d = 0; d < batchDims; ++d)
        at[d + 2] = batch[d];
      storeTensor(epilogue.map, slab, at);
      commitStores();
    }
    if constexpr (folds > 0) {
      // From shared memory, two lanes a line: what stands there for each sum would take the compiler half as long again. What comes twice gives the
      // same numbers.
      constexpr int elements = 16 / (int)sizeof(T), lanes = foldColumns / (4 * elements);
      static_assert(lanes > 0, "a lane has no more than a run");
      const int line = lane / 2;
      const Index toRow = row + line, toColumn = column + start + lane % 2 * (4 * elements);
      Carried<folds> carried;
      epilogue.folds.begin(carried.of);
#pragma unroll 1
      for (int vector = 0; vector < 4; ++vector) {
        const auto stored = *((const Pack<T, elements> *)pointerTo(slab) + line * 8 + ((lane % 2 * 4 + vector) ^ line % 8));
#pragma unroll
        for (int i = 0; i < elements; ++i)
          epilogue.folds.step(carried.of, stored.values[i]);
      }
      epilogue.folds.template end<lanes>(carried.of, toRow, toColumn, toRow < p.rows && toColumn < p.columns);
    }
  }
}

/// By all threads of the warpgroup. The warp's rows begin at `row` (in the result), the sums' columns at `column`.
/// `shared`: the warp's `slabs` pieces of 2048 bytes, `pitch` bytes apart. `batch`: where its matrix is in the tensor map.
template <int slabs, int pitch, int products = 1, int sums, int batchDims, typename Sum, typename Index, typename Epilogue>
  requires isTensorStore<Epilogue>
FLAME_DEVICE void storeGroup(const Sum (&d)[sums], SharedAddress shared, Index row, Index column,
                             const int (&batch)[batchDims], const Problem<Index> &p, const Epilogue &epilogue) {
  storeByMap<slabs, pitch, products, typename Epilogue::Element, Epilogue::repeatsBody>(d, shared, row, column, batch, p, epilogue);
}

/// The same for an epilogue that stores by itself. Its body stands here once, in loops, so that a long one takes no more of
/// the compiler's time than a short one.
template <int slabs, int pitch, int products = 1, int sums, int batchDims, typename Sum, typename Index, typename Epilogue>
FLAME_DEVICE void storeGroup(const Sum (&d)[sums], SharedAddress shared, Index row, Index column,
                             const int (&)[batchDims], const Problem<Index> &p, const Epilogue &epilogue) {
  // 8 words between rows keep banks apart.
  constexpr int each = sums / products, columns = 2 * each, chunk = least(columns, (slabs == 1 ? 16 : 48) / products),
                linePitch = products * chunk + 8;
  constexpr int chunks = (columns + chunk - 1) / chunk, width = Epilogue::width, runs = chunk / width;
  static_assert((slabs == 1 || pitch == WgmmaSchedule::slabBytes) && 16 * linePitch * 4 <= slabs * WgmmaSchedule::slabBytes && chunk % width == 0, "whole runs in the slab");
  const int lane = threadId() % 32;
  Sum *slab = (Sum *)pointerTo(shared);
#pragma unroll 1
  for (int c = 0; c < chunks; ++c) {
    syncWarp();
    // Registers have no index: of all chunks the one whose turn it is.
#pragma unroll
    for (int turn = 0; turn < chunks; ++turn)
      if (c == turn) {
#pragma unroll
        for (int p = 0; p < products; ++p)
#pragma unroll
          for (int i = turn * chunk / 2; i < least((turn + 1) * chunk / 2, each); i += 2)
            *(Pack<Sum, 2> *)(slab + (lane / 4 + i / 2 % 2 * 8) * linePitch + p * chunk + i / 4 * 8 - turn * chunk +
                              lane % 4 * 2) = {d[p * each + i], d[p * each + i + 1]};
      }
    syncWarp();
#pragma unroll 1
    for (int run = lane; run < 16 * runs; run += 32) {
      const int inRow = run / runs, inColumn = run % runs * width;
      const Index toRow = row + inRow, toColumn = column + c * chunk + inColumn;
      const Sum *from = slab + inRow * linePitch + inColumn;
      if (c * chunk + inColumn < columns && toRow < p.rows && toColumn < p.columns) {
        const int valid = (int)least(p.columns - toColumn, (Index)width);
        if constexpr (products == 1)
          epilogue.run(toRow, toColumn, valid, from);
        else
          epilogue.run(toRow, toColumn, valid, from, from + chunk);
      }
    }
  }
}

} // namespace flame
