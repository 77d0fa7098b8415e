//===- WgmmaGemm.h - a product by wgmma ----------------------------------------------------------------------------===//
//
// As many blocks as the GPU holds at one time take tile after tile. One thread of a block, the producer, asks the copy
// engine for step after step of the operands, ahead of the warpgroups that multiply, the consumers; the stages of shared
// memory between them form a ring. With ping-pong the two consumers take turns at tiles, and one's results leave while
// the other multiplies.
//
// An operand gives the producer, for a tile, its steps of the inner dim in their order: `steps<Tile>(line, inner, batch, rank)`
// is an object whose `load` copies the next one. Here operands are tensor maps of rank 3 with the boxes of TensorTile:
// contiguous dim, lines, batch; those of a convolution are in impl/WgmmaConv.h.
//
// With groups of rows (tile/Groups.h) in place of batches, tiles are those of one group after the other, x and the result are one matrix, and
// y has a matrix for each group. What a tile reads beyond its group's rows is not stored. Rows behind the groups meet what lies outside of
// both operands, which is zeros.
//
// With `streamK` (tile/StreamK.h) blocks have parts of the inner dim of some tiles, whose sums one of them adds up. To operands and to what
// scales or stores, such a piece is a tile that begins later.
//
// An operand that is `early` is written by no kernel of a run. The producer fills the ring with it before it waits for the
// kernels before this one, and the other operand follows into the same stages.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "epilogue/StoreGroup.h"
#include "pipeline/BlockScales.h"
#include "pipeline/Ring.h"
#include "pipeline/SumExchange.h"
#include "pipeline/TensorTile.h"
#include "ptx/Grid.h"
#include "tile/Groups.h"
#include "tile/Raster.h"
#include "tile/StreamK.h"

namespace flame {

/// An operand: `batchStep` is 0 where all batches have the same matrix. `constant`: no kernel of a run writes it.
template <bool constant = false> struct TensorOperand {
  static constexpr bool early = constant;
  const TensorMap &map;
  int batchStep;

  template <typename Tile> struct Steps {
    const TensorMap &map;
    int line, inner, batch, rank;
    FLAME_DEVICE void load(SharedAddress to, SharedAddress barrier) {
      Tile::load(map, to, barrier, line, inner, {batch}, rank);
      skip();
    }
    /// Goes on to the next step without a copy.
    FLAME_DEVICE void skip() { inner += Tile::step; }
  };
  template <typename Tile> FLAME_DEVICE Steps<Tile> steps(int line, int inner, int batch, int rank) const {
    return {map, line, inner, batch * batchStep, rank};
  }
};

/// Two operands one after the other along the inner dim, of which the first ends at `border`, between two tiles.
struct JoinedTensors {
  static constexpr bool early = false;
  const TensorMap &map, &further;
  int border, batchStep;

  template <typename Tile> struct Steps {
    const TensorMap &map, &further;
    int border, line, inner, batch, rank;
    FLAME_DEVICE void load(SharedAddress to, SharedAddress barrier) {
      if (inner < border)
        Tile::load(map, to, barrier, line, inner, {batch}, rank);
      else
        Tile::load(further, to, barrier, line, inner - border, {batch}, rank);
      inner += Tile::step;
    }
  };
  template <typename Tile> FLAME_DEVICE Steps<Tile> steps(int line, int inner, int batch, int rank) const {
    return {map, further, border, line, inner, batch * batchStep, rank};
  }
};

/// Two products of the same rows: half of a tile's columns are of `map`, half of `other`.
template <bool constant = false> struct PairedTensors {
  static constexpr int products = 2;
  static constexpr bool early = constant;
  const TensorMap &map, &other;
  int batchStep;

  template <typename Tile> struct Steps {
    const TensorMap &map, &other;
    int line, inner, batch, rank;
    FLAME_DEVICE void load(SharedAddress to, SharedAddress barrier) {
      Tile::loadPair(map, other, to, barrier, line, inner, {batch}, rank);
      skip();
    }
    FLAME_DEVICE void skip() { inner += Tile::step; }
  };
  template <typename Tile> FLAME_DEVICE Steps<Tile> steps(int line, int inner, int batch, int rank) const {
    return {map, other, line, inner, batch * batchStep, rank};
  }
};

/// What the producer has of a tile.
template <typename X, typename Y> struct OperandSteps {
  X x;
  Y y;
};

template <typename Scales> constexpr int blocksOf(int depth) {
  if constexpr (Scales::any)
    return depth / Scales::inner;
  else
    return 1;
}

/// `batches`: their number, or groups of rows. The epilogue's view: the batch that a tile belongs to is known to it from `epilogue(batch)`.
/// `scales`: NoScales or BlockScales, which are for one batch. `shares`: NoShares, or with `streamK` TileShares.
template <WgmmaSchedule s, Arithmetic type, Major xMajor, Major yMajor, typename Index, typename Batches, typename X, typename Y,
          typename MakeEpilogue, typename Scales = NoScales, typename Shares = NoShares>
FLAME_DEVICE void wgmmaGemm(Problem<Index> p, Batches batches, X x, Y y, MakeEpilogue makeEpilogue, Scales scales = {}, Shares shares = {}) {
  constexpr int products = productsOf<Y>, columns = s.columns / products; // of each
  static_assert(s.isValid(type, xMajor, yMajor, products) && (!Scales::any || (s.takesScales(type) && products == 1)), "no such schedule");
  static_assert(s.streamK == Shares::any, "memory for sums that blocks leave to each other");
  using Sum = typename TypeOf<type>::Sum;
  using XTile = TensorTile<type, xMajor, s.rows, s.depth, s.clusterColumns>;
  using YTile = TensorTile<type, yMajor, s.columns, s.depth, s.clusterRows>;
  constexpr int stageBytes = XTile::bytes + YTile::bytes, cluster = s.cluster(), sharers = s.sharers(),
                steps = s.depth * sizeOf(type) / 32;
  static_assert(stageBytes == s.stageBytes(type, xMajor, yMajor), "the launch's shared memory");

  const SharedAddress shared = swizzledShared(), slabs = shared + s.stages * stageBytes;
  const Ring<s.stages> ring{slabs + 4 * s.consumers * s.slabs * s.slabBytes};
  const SumExchange<s, Sum, products> exchange{ring.end()};
  constexpr bool grouped = isRowGroups<Batches>;
  static_assert(!grouped || (!X::early && !Y::early && !Scales::any), "what a tile reads is known when the kernels before have ended");
  const int group = uniform(threadId() / 128);
  const int rank = cluster == 1 ? 0 : clusterRank();
  if (threadId() == 0) {
    prefetchMap(x.map);
    prefetchMap(y.map);
    ring.make(4 * s.readers() * sharers);
    if constexpr (s.splits > 1)
      exchange.make();
  }
  if constexpr (cluster == 1)
    syncBlock();
  else
    syncCluster();

  const unsigned across = (unsigned)((p.columns + columns * s.clusterColumns - 1) / (columns * s.clusterColumns));
  const auto raster = [&] {
    if constexpr (grouped) {
      awaitProducers();
      const GroupedRaster groups{(GroupedRaster::Entry *)pointerTo(ring.end() + s.receivedBytes()), batches.count, across, (unsigned)s.band};
      groups.make(batches, s.rows * s.clusterRows);
      return groups;
    } else {
      return Raster{(unsigned)((p.rows + s.rows * s.clusterRows - 1) / (s.rows * s.clusterRows)), across, (unsigned)s.band};
    }
  }();
  using Place = decltype(raster(0));
  const unsigned tiles = [&] {
    if constexpr (grouped)
      return raster.tiles();
    else
      return raster.down * across * (unsigned)batches;
  }();
  // A sum of nothing is one step outside of the operands, as are steps of the last splits that the inner dim has no more.
  const int turns = p.depth == 0 ? 1 : (int)((p.depth + s.depth * s.splits - 1) / (s.depth * s.splits)),
            origin = p.depth == 0 ? s.depth : s.splits > 1 ? rank * turns * s.depth : 0;
  auto makeCourse = [&] {
    const unsigned clusters = (unsigned)gridSize() / cluster, own = (unsigned)blockId() / cluster;
    if constexpr (s.streamK)
      return SharedTiles(tiles, own, clusters, turns);
    else
      return WholeTiles(tiles, own, clusters, turns);
  };
  // What takes long to make is the same for both roles, where the one that copies has registers left for it beside a table of groups. Otherwise
  // each makes its own, which leaves more registers to the epilogue.
  constexpr bool hasCommon = s.streamK && !grouped;
  const auto common = [&] {
    if constexpr (hasCommon)
      return makeCourse();
    else
      return NoShares();
  }();
  auto ownCourse = [&] {
    if constexpr (hasCommon)
      return common;
    else
      return makeCourse();
  };
  auto rowOf = [&](const Place &at) {
    const int inBatch = (at.row * s.clusterRows + (s.clusterRows > 1 ? rank : 0)) * s.rows;
    if constexpr (grouped)
      return at.first + inBatch;
    else
      return inBatch;
  };
  auto columnOf = [&](const Place &at) {
    return (at.column * s.clusterColumns + (s.clusterColumns > 1 ? rank : 0)) * columns;
  };

  if (group == s.consumers) {
    if constexpr (s.copyRegisters() > 0)
      giveRegisters<s.copyRegisters()>();
    if (threadId() % 128 < 32 && isElected()) {
      auto stepsAt = [&](const Piece &piece) {
        const Place at = raster(piece.tile);
        const int inner = s.streamK ? origin + piece.from * s.depth : origin;
        // No rows are behind those that groups have.
        int row = rowOf(at);
        if constexpr (grouped)
          row = at.batch < batches.count ? row : (int)p.rows;
        return OperandSteps{x.template steps<XTile>(row, inner, at.batch, rank),
                            y.template steps<YTile>(columnOf(at), inner, at.batch, rank)};
      };
      auto course = ownCourse();
      // Of the first piece, the stages that an early operand has come to.
      int begun = 0;
      if constexpr (X::early || Y::early) {
        if (course.any()) {
          begun = least(course.steps(), s.stages);
          auto operands = stepsAt(course.piece());
#pragma unroll 1
          for (int stage = 0; stage < begun; ++stage) {
            const SharedAddress full = ring.full(stage), to = shared + stage * stageBytes;
            arriveExpecting(full, stageBytes);
            if constexpr (X::early)
              operands.x.load(to, full);
            if constexpr (Y::early)
              operands.y.load(to + XTile::bytes, full);
          }
        }
      }
      awaitProducers();
      RingPlace<s.stages> place;
#pragma unroll 1
      for (; course.any(); course.next()) {
        auto operands = stepsAt(course.piece());
        const int turns = course.steps();
        int turn = 0;
        if constexpr (X::early || Y::early) {
#pragma unroll 1
          for (; turn < begun; ++turn, place.next()) {
            const SharedAddress full = ring.full(place.stage), to = shared + place.stage * stageBytes;
            if constexpr (X::early)
              operands.x.skip();
            else
              operands.x.load(to, full);
            if constexpr (Y::early)
              operands.y.skip();
            else
              operands.y.load(to + XTile::bytes, full);
          }
          begun = 0;
        }
#pragma unroll 1
        for (; turn < turns; ++turn, place.next()) {
          const SharedAddress full = ring.full(place.stage), to = shared + place.stage * stageBytes;
          await(ring.empty(place.stage), place.parity ^ 1);
          arriveExpecting(full, stageBytes);
          operands.x.load(to, full);
          operands.y.load(to + XTile::bytes, full);
        }
      }
      // Earlier, next kernels' blocks would take what places they find; the next product's fill their rings where this one's end.
      releaseDependents();
    }
    if constexpr (cluster > 1) {
      // Others still write to this block's shared memory and arrive at its barriers.
      arriveCluster();
      awaitCluster();
    }
  } else {
    if constexpr (s.multiplyRegisters() > 0)
      takeRegisters<s.multiplyRegisters()>();
    awaitProducers(); // for what epilogues read and write
    constexpr int slices = s.groupRows() / 64; // of 64 rows
    const int lane = threadId() % 32, inGroup = s.pingPong ? 0 : group * s.groupRows();
    const SharedAddress slab = slabs + threadId() / 32 * s.slabs * s.slabBytes;
    auto release = [&](int stage) {
      if constexpr (sharers == 1) {
        if (lane == 0)
          arrive(ring.empty(stage));
      } else if (lane < sharers) {
        arriveAt(ring.empty(stage), lane);
      }
    };
    RingPlace<s.stages> place;
    int sent = 0; // tiles whose sums this block has exchanged, modulo 2
    auto course = ownCourse();
    // The other consumer's piece.
    auto skipPiece = [&] {
      place.skip(course.steps());
      course.next();
    };
    if (s.pingPong && group == 1)
      skipPiece();
    auto scalesOf = [&] {
      if constexpr (Scales::any) {
        using OfThread = typename Scales::template OfThread<slices, s.columns>;
        static_assert(OfThread::bytes <= 4 * s.slabs * s.slabBytes, "scales find place where results leave later");
        return OfThread(scales, p, group, slabs + group * 4 * s.slabs * s.slabBytes);
      } else {
        return scales;
      }
    }();
    auto startScales = [&] {
      if constexpr (Scales::any)
        if (course.any()) {
          const Piece piece = course.piece();
          const Place at = raster(piece.tile);
          scalesOf.start((Index)(rowOf(at) + inGroup), (Index)columnOf(at), (origin + piece.from * s.depth) / Scales::inner);
        }
    };
    constexpr int blocks = blocksOf<Scales>(s.depth); // of a stage's inner dim, those whose sums are scaled apart
    startScales();
#pragma unroll 1
    while (course.any()) {
      const Piece piece = course.piece();
      const int turns = piece.steps();
      [[maybe_unused]] const bool leaves = course.leaves(), joins = course.joins();
      const auto at = raster(piece.tile);
      Sum d[slices][s.columns / 2];
      // Starts the products of one stage, or of one of `parts` of its inner dim, which add to the sums there unless they are the first.
      auto multiply = [&](Sum(&to)[slices][s.columns / 2], int turn, bool first, int part = 0, int parts = 1) {
        const SharedAddress from = shared + place.stage * stageBytes;
        const unsigned long long yMatrix = YTile::matrix(from + XTile::bytes, 0);
        if (part == 0) {
          await(ring.full(place.stage), place.parity);
          if (s.pingPong && turn + 1 == turns && course.more())
            arriveThreads(2 - group, 256);
        }
        fenceProducts();
#pragma unroll
        for (int k = part * steps / parts; k < (part + 1) * steps / parts; ++k)
#pragma unroll
          for (int slice = 0; slice < slices; ++slice)
            multiplyGroup<type, xMajor == Major::Side, yMajor == Major::Side>(
                to[slice], XTile::matrix(from, inGroup + slice * 64) + XTile::further(k), yMatrix + YTile::further(k),
                !first || k > part * steps / parts);
        commitProducts();
      };
      // Not before the other consumer has met its last stage: from further behind, the phase that this one waits for could
      // not be told from one that ended long ago.
      if (s.pingPong && !course.isFirst())
        syncThreads(1 + group, 256);
      if constexpr (!s.promote) {
        int before = 0;
#pragma unroll 1
        for (int turn = 0; turn < turns; ++turn) {
          multiply(d, turn, turn == 0);
          // The group before has read its stage when at most this one is under way.
          waitProducts<1>();
          if (turn > 0)
            release(before);
          before = place.stage;
          place.next();
        }
        waitProducts<0>();
        release(before);
#pragma unroll
        for (int slice = 0; slice < slices; ++slice)
          pin(d[slice]);
      } else {
#pragma unroll
        for (int i = 0; i < slices * s.columns / 2; ++i)
          d[i / (s.columns / 2)][i % (s.columns / 2)] = Sum(0);
        if constexpr (Scales::any)
          scalesOf.begin();
#pragma unroll 1
        for (int turn = 0; turn < turns; ++turn, place.next()) {
#pragma unroll
          for (int block = 0; block < blocks; ++block) {
            Sum part[slices][s.columns / 2];
            multiply(part, turn, true, block, blocks);
            if constexpr (Scales::any)
              scalesOf.next();
            waitProducts<0>();
            if (block + 1 == blocks)
              release(place.stage);
#pragma unroll
            for (int slice = 0; slice < slices; ++slice) {
              pin(part[slice]);
              if constexpr (Scales::any) {
                scalesOf.add(d[slice], part[slice], slice);
              } else {
#pragma unroll
                for (int i = 0; i < s.columns / 2; ++i)
                  d[slice][i] += part[slice][i];
              }
            }
          }
        }
        if constexpr (Scales::any)
          scalesOf.end();
      }
      course.next();
      if constexpr (s.pingPong)
        skipPiece();
      // Those of the next piece come while this one is stored.
      startScales();
      if constexpr (s.streamK) {
        constexpr int threads = 128 * s.readers();
        const int thread = s.pingPong ? threadId() % 128 : threadId();
        if (leaves) {
          shares.template leave<s.shareBytes(), threads>(d, thread);
          continue;
        }
        if (joins)
          course.others([&](unsigned other) {
            shares.template add<s.shareBytes(), threads>(d, (int)other * cluster + rank, thread);
          });
      }
      int batch = at.batch; // of the result
      // Of the 64 rows that wgmma takes, those of a tile of fewer.
      Problem<Index> within = p;
      if constexpr (grouped)
        batch = 0, within.rows = (Index)at.end;
      if constexpr (s.rows % 64 != 0)
        within.rows = least(within.rows, (Index)(rowOf(at) + s.rows));
      const auto epilogue = makeEpilogue(batch);
      auto storeSlice = [&](const auto &sums, int slice, int column) {
        storeGroup<s.slabs, s.slabBytes, products>(
            sums, slab, (Index)(rowOf(at) + inGroup + slice * 64 + threadId() % 128 / 32 * 16), (Index)column, {batch}, within, epilogue);
      };
      auto store = [&](auto &sums, int column) {
        constexpr int count = sizeof(sums[0]) / sizeof(Sum);
        if constexpr (slices > 1 && standsOnce<decltype(makeEpilogue(batch))>) {
          // The next slice moves to where the first one was.
#pragma unroll 1
          for (int slice = 0; slice < slices; ++slice) {
            storeSlice(sums[0], slice, column);
#pragma unroll
            for (int i = 0; i < (slices - 1) * count; ++i)
              sums[i / count][i % count] = sums[i / count + 1][i % count];
          }
        } else {
#pragma unroll
          for (int slice = 0; slice < slices; ++slice)
            storeSlice(sums[slice], slice, column);
        }
      };
      if constexpr (s.splits == 1) {
        store(d, columnOf(at));
      } else {
        Sum own[slices][s.storedColumns() / 2];
        exchange.add(d, own, rank, sent);
        store(own, columnOf(at) + rank * s.storedColumns() / products);
      }
    }
    waitStoresRead<0>();
    if constexpr (cluster > 1) {
      arriveCluster();
      awaitCluster();
    }
  }
}

} // namespace flame
