//===- Team.h - the memory that blocks of a cooperative kernel talk through ---------------------------------------===//
#pragma once

namespace flame {

/// Of the session's state. Beyond so many blocks a grid of teams gains nothing.
struct TeamState {
  static constexpr int blocks = 512;   // of a grid
  static constexpr int words = 4;      // of 32 bits that a block can publish at once
  static constexpr int header = 128;   // bytes before the slots
  static constexpr int bytes = header + 2 * blocks * words * 8;
};

/// Of the session's state: counters, behind the slots of teams.
struct TicketState {
  static constexpr int first = TeamState::bytes, tickets = 1024, bytes = first + 4 * tickets;
};

/// Of the session's state: flags of blocks that leave sums to each other (tile/StreamK.h), one for each warp of a tile, behind the counters.
/// No GPU of this kind has more multiprocessors, each with one block.
struct ShareState {
  static constexpr int first = TicketState::bytes, blocks = 144, warps = 12, bytes = first + 4 * blocks * warps;
};

} // namespace flame
