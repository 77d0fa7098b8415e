//===- Schedules.h - schedules as text, chosen and given ----------------------------------------------------------===//
//
// A schedule is written as a C++ expression into kernels and as JSON into files. A file of schedules is an array of
//
//   {"family": "wgmma", "problem": {"type": "BF16", "rows": 4608, …}, "schedule": {"rows": 128, …}}
//
// `flamec compile --emit=schedules` prints those that the compiler has chosen, `--schedule FILE` takes them back, edited. An
// entry is for all problems that agree with the fields it names; the first one counts. Problems of two products at once
// have a field `products`, which is 2; `columns` are those of each, those of a schedule's tiles both. Problems whose operands have a scale for
// each block have a field `scaleColumns`, the columns of such a block; those of rows that go by groups a field `groups`, their number; those with
// partial reductions of the result a field `folds`, their number.
// `"schedule": null` means that this family is not used. Fields of a schedule that an entry doesn't name stay as they were chosen.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_SCHEDULES_H
#define FLAME_LIB_TARGET_CUDA_SCHEDULES_H

#include "flame/Target/Cuda/ScheduleFile.h"
#include "schedule/RowPipeline.h"
#include "schedule/Schedule.h"
#include "schedule/TopK.h"
#include "schedule/WgmmaAttention.h"
#include "llvm/ADT/STLFunctionalExtras.h"
#include <string>

namespace flame::cuda {

/// Calls `field(name, member)` for all members, in their order in the struct. `name` is the struct's.
template <typename F> void fields(MmaSchedule &s, F field) {
  field("rows", s.rows), field("columns", s.columns), field("depth", s.depth), field("warpRows", s.warpRows);
  field("warpColumns", s.warpColumns), field("stages", s.stages), field("slices", s.slices), field("splits", s.splits);
}
template <typename F> void fields(WgmmaSchedule &s, F field) {
  field("rows", s.rows), field("columns", s.columns), field("depth", s.depth), field("stages", s.stages);
  field("consumers", s.consumers), field("pingPong", s.pingPong), field("clusterRows", s.clusterRows);
  field("clusterColumns", s.clusterColumns), field("band", s.band), field("slabs", s.slabs), field("promote", s.promote);
  field("splits", s.splits), field("streamK", s.streamK);
}
template <typename F> void fields(SimtSchedule &s, F field) {
  field("side", s.side), field("depth", s.depth), field("stages", s.stages);
}
template <typename F> void fields(ThinSchedule &s, F field) {
  field("rows", s.rows), field("lines", s.lines), field("along", s.along);
}
template <typename F> void fields(AttentionSchedule &s, F field) {
  field("rows", s.rows), field("keys", s.keys), field("warpRows", s.warpRows), field("warpKeys", s.warpKeys);
  field("depth", s.depth), field("width", s.width), field("stages", s.stages), field("splits", s.splits);
}
template <typename F> void fields(WgmmaAttentionSchedule &s, F field) {
  field("rows", s.rows), field("keys", s.keys), field("depth", s.depth), field("width", s.width);
  field("stages", s.stages), field("slabs", s.slabs), field("splits", s.splits);
}
template <typename F> void fields(TopKSchedule &s, F field) {
  field("threads", s.threads), field("tile", s.tile), field("pairBytes", s.pairBytes);
}
template <typename F> void fields(LongRowSchedule &s, F field) { field("chunkBytes", s.chunkBytes), field("ahead", s.ahead); }
inline const char *nameOf(const MmaSchedule &) { return "MmaSchedule"; }
inline const char *nameOf(const WgmmaSchedule &) { return "WgmmaSchedule"; }
inline const char *nameOf(const SimtSchedule &) { return "SimtSchedule"; }
inline const char *nameOf(const ThinSchedule &) { return "ThinSchedule"; }
inline const char *nameOf(const AttentionSchedule &) { return "AttentionSchedule"; }
inline const char *nameOf(const WgmmaAttentionSchedule &) { return "WgmmaAttentionSchedule"; }
inline const char *nameOf(const TopKSchedule &) { return "TopKSchedule"; }
inline const char *nameOf(const LongRowSchedule &) { return "LongRowSchedule"; }

/// As a template argument in a kernel's text.
template <typename Schedule> std::string text(Schedule s) {
  std::string all;
  fields(s, [&](const char *, auto value) {
    all += all.empty() ? "" : ", ";
    if constexpr (std::is_same_v<decltype(value), bool>)
      all += value ? "true" : "false";
    else
      all += std::to_string(value);
  });
  return std::string("flame::") + nameOf(s) + "{" + all + "}";
}
llvm::StringRef nameOf(Arithmetic type);
std::string text(Arithmetic type);

/// What is done with a schedule's chosen value, `null` for a family that is not used: it becomes the file's, and is listed.
/// Fails with a message that names the entry.
template <typename Schedule>
llvm::Error settle(ScheduleFile *file, llvm::StringRef family, llvm::json::Object problem, std::optional<Schedule> &chosen,
                   llvm::function_ref<bool(const Schedule &)> isValid) {
  if (!file)
    return llvm::Error::success();
  if (const ScheduleFile::Entry *entry = file->find(family, problem)) {
    const llvm::json::Object *given = entry->schedule.getAsObject();
    if (!given) {
      chosen.reset();
    } else {
      Schedule s = chosen.value_or(Schedule());
      llvm::StringSet<> known;
      std::string wrong;
      fields(s, [&](const char *name, auto &value) {
        known.insert(name);
        if (const llvm::json::Value *number = given->get(name); number && !read(*number, value))
          wrong = name;
      });
      for (const auto &[name, value] : *given)
        if (!known.contains(llvm::StringRef(name)))
          wrong = llvm::StringRef(name).str();
      if (!wrong.empty())
        return entry->error("field '" + wrong + "' is unknown or has a value of another type");
      if (!isValid(s))
        return entry->error("there is no kernel of such a schedule: " + text(s));
      chosen = s;
    }
  }
  llvm::json::Value value = nullptr;
  if (chosen) {
    llvm::json::Object object;
    fields(*chosen, [&](const char *name, auto &member) { object[name] = member; });
    value = std::move(object);
  }
  file->list(family, std::move(problem), std::move(value));
  return llvm::Error::success();
}

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_SCHEDULES_H
