//===- Roofline.h - what a run does, and how soon this device could have done it --------------------------------------===//
//
// Bytes are what a command has to read and write, each tensor once; what it reads again counts against it. The roofline is
// a copy and, on a GPU, loops of nothing but arithmetic, measured in the same session.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_TOOLS_FLAMEC_ROOFLINE_H
#define FLAME_TOOLS_FLAMEC_ROOFLINE_H

#include "Model.h"
#include <map>

namespace flame::tool {

/// One command of the plan, over all runs that were profiled.
struct Work {
  std::string command, nodes;
  uint64_t calls, nanoseconds, bytes, flops;
  flame_math math;
};
/// What a session has done since it is being profiled, in the order of the plan, without the commands that contain others.
std::vector<Work> profiledWork(const Session &session);

struct Roofline {
  double bandwidth = 0;               // bytes a second
  std::map<flame_math, double> peaks; // operations a second, of what the commands do; none on a CPU

  /// Measures it, where `target` is "cuda" with the peaks that `work` needs.
  static Roofline measure(const Session &session, const std::string &target, const std::vector<Work> &work);
  /// Seconds that the bytes or the operations of a command take at least; 0 where nobody knows.
  double seconds(const Work &work) const;
};

} // namespace flame::tool

#endif // FLAME_TOOLS_FLAMEC_ROOFLINE_H
