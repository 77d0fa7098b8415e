//===- RowPipeline.h - how the blocks of a grid share rows in chunks ----------------------------------------------===//
#pragma once
#include "schedule/Team.h"

namespace flame {

struct RowPipelineShape {
  /// Warps of a block, by what they do, in this order.
  static constexpr int countingWarps = 8, joiningWarps = 1, fetchingWarps = 1, storingWarps = 16,
                       warps = countingWarps + joiningWarps + fetchingWarps + storingWarps;
  static constexpr int threads = warps * 32, counting = countingWarps * 32, joining = joiningWarps * 32;
  /// Of a chunk, all inputs together; a multiple of what its warps read at a time.
  static constexpr int chunkBytes = 32 << 10;
  static constexpr int minStages = 3, maxStages = 8, maxChunks = 1280;
  /// Of a grid; no GPU from sm_80 on has fewer multiprocessors.
  static constexpr int minBlocks = 8, maxBlocks = 256;
  /// Chunks that a block asks for before the first of them has come: on sm_90, unless a schedule says otherwise, and before. Were it
  /// more, those of a row that others wait for would come late. On sm_90 chunks come from the second-level cache, as the block has
  /// asked for them before it had a place.
  static constexpr int ahead = 1, olderAhead = 3;
  /// 64-bit words of shared memory: two barriers for each stage, and two barriers and two numbers for each step whose results
  /// are not stored yet.
  static constexpr int stageWords = 2, stepWords = 4, words = (stageWords + stepWords) * maxStages;

  /// Of the session's state: places for what has been counted of chunks, shared out among the blocks. A block uses its places
  /// in two laps.
  static constexpr int places = 8192, firstPlace = TicketState::bytes, bytes = firstPlace + places * TeamState::words * 8;
  static_assert(places / 4 >= maxChunks + maxBlocks, "a row fits into a lap, whose steps are a power of two");
};

/// Of rows that stream through the grid.
struct LongRowSchedule {
  int chunkBytes = RowPipelineShape::chunkBytes; // at most
  int ahead = RowPipelineShape::ahead;           // chunks that a block asks for before the first of them has come
};

} // namespace flame
