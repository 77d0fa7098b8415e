//===- FakeOrder.h - who may touch memory when on the fake GPU --------------===//
//
// Vector clocks: each piece of work knows, for every stream, how much of that stream's work is done for certain before
// it begins (by the order within its stream, by events, by waits of the CPU). Two accesses to one allocation, one of
// them a write, that are in no such order are a race, whatever happened to come first this time.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_TEST_UNIT_RUNTIME_FAKEORDER_H
#define FLAME_TEST_UNIT_RUNTIME_FAKEORDER_H

#include <algorithm>
#include <cstdint>
#include <map>

namespace flame::test {

/// By stream number: the positions up to which its work is done.
class Clock {
public:
  uint64_t at(uint64_t stream) const {
    auto known = done.find(stream);
    return known == done.end() ? 0 : known->second;
  }
  void set(uint64_t stream, uint64_t position) { done[stream] = position; }
  void join(const Clock &other) {
    for (auto [stream, position] : other.done)
      done[stream] = std::max(done[stream], position);
  }

private:
  std::map<uint64_t, uint64_t> done;
};

/// A piece of work: its place and what is done before it.
struct Moment {
  uint64_t stream = 0, position = 0;
  Clock clock;
};

/// What has been done to one allocation.
class AccessLog {
public:
  /// False where the access is in a race with an earlier one.
  bool note(const Moment &moment, bool write) {
    for (auto [stream, position] : writes)
      if (moment.clock.at(stream) < position)
        return false;
    if (write)
      for (auto [stream, position] : reads)
        if (moment.clock.at(stream) < position)
          return false;
    uint64_t &last = (write ? writes : reads)[moment.stream];
    last = std::max(last, moment.position);
    return true;
  }

private:
  std::map<uint64_t, uint64_t> writes, reads; // by stream, the last position
};

} // namespace flame::test

#endif
