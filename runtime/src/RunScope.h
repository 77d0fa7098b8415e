//===- RunScope.h - between a queue's begin and its end -------------------===//
#ifndef FLAME_RUNTIME_RUNSCOPE_H
#define FLAME_RUNTIME_RUNSCOPE_H

#include "Queue.h"

#include <exception>

namespace flame::rt {

/// What holds during a run, the computation of the initialised weights, or a measurement.
template <typename Cleanup> class RunScope {
public:
  RunScope(Queue &queue, Cleanup cleanup) : queue(queue), cleanup(std::move(cleanup)) { queue.begin(); }
  ~RunScope() {
    cleanup(); // what a run releases is released in its stream
    queue.end(std::uncaught_exceptions() > exceptions);
  }

private:
  Queue &queue;
  Cleanup cleanup;
  const int exceptions = std::uncaught_exceptions();
};

} // namespace flame::rt

#endif
