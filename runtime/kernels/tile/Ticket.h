//===- Ticket.h - which of several blocks comes last --------------------------------------------------------------===//
#pragma once
#include "ptx/Grid.h"
#include "schedule/Team.h"

namespace flame {

/// Whether `count` blocks have come here with this ticket, this one the last, for all threads of the block in `*last` (shared
/// memory). Then it sees what the others wrote before they came. The counter is 0 before and after.
FLAME_DEVICE void comesLast(unsigned *state, int ticket, int count, bool *last) {
  fenceDevice();
  syncBlock();
  if (threadId() == 0) {
    if (count == 1) {
      *last = true;
    } else {
      unsigned *counter = state + TicketState::first / 4 + ticket;
      *last = addToState(counter) == (unsigned)count - 1;
      if (*last)
        *counter = 0;
    }
  }
  syncBlock();
  fenceDevice();
}

} // namespace flame
