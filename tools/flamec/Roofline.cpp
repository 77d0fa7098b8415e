//===- Roofline.cpp - see Roofline.h ----------------------------------------------------------------------------------===//
#include "Roofline.h"
#include <algorithm>

using namespace flame;
using namespace flame::tool;

/// Branches and loops contain other commands; their time would count twice.
static bool isContainer(const std::string &command) { return command == "if" || command == "loop"; }

std::vector<Work> flame::tool::profiledWork(const Session &session) {
  std::vector<flame_profile_entry> entries(flame_session_profile_entries(session.get(), nullptr, 0));
  std::vector<flame_profile_work> work(entries.size());
  flame_session_profile_entries(session.get(), entries.data(), entries.size());
  flame_session_profile_work(session.get(), work.data(), work.size());
  std::vector<flame_math> math(entries.size(), FLAME_MATH_UNKNOWN);
  flame_session_profile_math(session.get(), math.data(), math.size());
  std::vector<Work> all;
  for (size_t i = 0; i < entries.size(); ++i)
    if (!isContainer(entries[i].command))
      all.push_back({entries[i].command, entries[i].node, entries[i].calls, entries[i].nanoseconds, work[i].bytes,
                     work[i].flops, math[i]});
  return all;
}

Roofline Roofline::measure(const Session &session, const std::string &target, const std::vector<Work> &work) {
  Roofline roofline;
  check(flame_session_bandwidth(session.get(), &roofline.bandwidth));
  if (target != "cuda")
    return roofline;
  for (const Work &w : work)
    if (w.flops && w.math != FLAME_MATH_UNKNOWN && !roofline.peaks.count(w.math))
      check(flame_session_peak(session.get(), w.math, &roofline.peaks[w.math]));
  return roofline;
}

double Roofline::seconds(const Work &work) const {
  auto peak = peaks.find(work.math);
  return std::max(bandwidth > 0 ? double(work.bytes) / bandwidth : 0,
                  peak == peaks.end() ? 0 : double(work.flops) / peak->second);
}
