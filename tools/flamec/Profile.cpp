//===- Profile.cpp - flamec profile: where the time of a model goes -----------------------------------------------===//
//
// The runtime's times by command: on a GPU between two events around the command, so that the launch of a very short
// kernel is part of its time.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Help.h"
#include "Machine.h"
#include "Model.h"
#include "Roofline.h"
#include "Run.h"
#include "flame/Support/Version.h"
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>

using namespace flame;
using namespace flame::tool;
using Json = nlohmann::ordered_json;

namespace {

struct ProfileSettings : MeasureSettings {
  std::string trace;
  unsigned top = 40;
};

double microseconds(const Work &work, uint64_t runs) { return double(work.nanoseconds) / 1e3 / double(runs); }

struct Profile {
  std::vector<Work> rows; // in the order of the plan
  uint64_t runs = 0;
  Roofline roof;
  double milliseconds = 0; // of a run without profiling, the median
  std::string device;

  double microseconds() const {
    double sum = 0;
    for (const Work &row : rows)
      sum += ::microseconds(row, runs);
    return sum;
  }
  /// How much of the bandwidth a command reaches; 0 where it moves nothing.
  double share(const Work &row) const {
    return row.nanoseconds && roof.bandwidth > 0 ? double(row.bytes) / (double(row.nanoseconds) / 1e9) / roof.bandwidth : 0;
  }
  /// How near it comes to the time that its bytes or its operations take at least; 0 where nobody knows.
  double roofline(const Work &row) const {
    return row.nanoseconds && !roof.peaks.empty() ? roof.seconds(row) / (double(row.nanoseconds) / 1e9) : 0;
  }
};

const char *nameOf(flame_math math) {
  return math == FLAME_MATH_F32    ? "f32"
         : math == FLAME_MATH_TF32 ? "tf32"
         : math == FLAME_MATH_F16  ? "f16"
         : math == FLAME_MATH_BF16 ? "bf16"
                                   : "unknown";
}

/// What only keeps the books.
bool isBookkeeping(const std::string &command) {
  return command == "alloc" || command == "free" || command == "bind_dims" || command == "alias" || command == "check";
}

Profile measure(const ProfileSettings &settings, const Model &model) {
  using Clock = std::chrono::steady_clock;
  auto since = [](Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); };
  std::vector<Value> inputs = io::resolveInputs(model.module.inputs(), settings.model.inputs);
  size_t outputs = model.module.outputs().size();
  Session session(model.module);
  Profile profile;
  for (const auto &[key, value] : model.module.properties())
    if (key == "target")
      profile.device = value;
  // Half of the time without profiling, which costs something and keeps CUDA graphs from being used.
  std::vector<double> times;
  session.run(inputs, outputs);
  session.run(inputs, outputs);
  for (Clock::time_point start = Clock::now(); times.size() < 3 || since(start) < settings.seconds / 2;) {
    Clock::time_point begin = Clock::now();
    session.run(inputs, outputs);
    times.push_back(since(begin) * 1e3);
  }
  std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
  profile.milliseconds = times[times.size() / 2];

  check(flame_session_profile(session.get(), 1));
  session.run(inputs, outputs);
  check(flame_session_profile(session.get(), 1)); // from here it counts
  for (Clock::time_point start = Clock::now(); profile.runs < 3 || since(start) < settings.seconds / 2; ++profile.runs)
    session.run(inputs, outputs);
  profile.rows = profiledWork(session);
  profile.roof = Roofline::measure(session, profile.device, profile.rows);
  return profile;
}

Json json(const ProfileSettings &settings, const Profile &profile) {
  Machine machine = thisMachine();
  Json rows = Json::array();
  double total = profile.microseconds();
  Json peaks = Json::object();
  for (auto [math, peak] : profile.roof.peaks)
    peaks[nameOf(math)] = peak;
  for (const Work &row : profile.rows) {
    rows.push_back({{"command", row.command},
                    {"nodes", row.nodes},
                    {"calls_per_run", double(row.calls) / double(profile.runs)},
                    {"microseconds_per_run", microseconds(row, profile.runs)},
                    {"share_of_time", total > 0 ? microseconds(row, profile.runs) / total : 0},
                    {"bytes_per_run", row.bytes / profile.runs},
                    {"flops_per_run", row.flops / profile.runs},
                    {"bytes_per_second", row.nanoseconds ? double(row.bytes) / double(row.nanoseconds) * 1e9 : 0},
                    {"flops_per_second", row.nanoseconds ? double(row.flops) / double(row.nanoseconds) * 1e9 : 0},
                    {"share_of_bandwidth", profile.share(row)}});
    if (!profile.roof.peaks.empty()) {
      rows.back()["arithmetic"] = nameOf(row.math);
      rows.back()["share_of_roofline"] = profile.roofline(row);
    }
  }
  return {{"model", settings.model.path},
          {"target", profile.device},
          {"runs", profile.runs},
          {"latency_ms", profile.milliseconds},
          {"profiled_ms", total / 1e3},
          {"copy_bytes_per_second", profile.roof.bandwidth},
          {"peak_flops_per_second", peaks},
          {"commands", rows},
          {"environment", {{"flame", version()}, {"processor", machine.processor}, {"system", machine.system}}}};
}

std::string cell(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value >= 1000 ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value);
  return text;
}

std::string table(const ProfileSettings &settings, const Profile &profile) {
  std::vector<const Work *> order;
  double total = profile.microseconds(), rest = 0, kernelTime = 0;
  uint64_t bytes = 0, flops = 0;
  for (const Work &row : profile.rows) {
    if (!isBookkeeping(row.command))
      order.push_back(&row);
    else
      rest += microseconds(row, profile.runs);
    bytes += row.bytes / profile.runs;
    flops += row.flops / profile.runs;
    kernelTime += row.bytes ? microseconds(row, profile.runs) : 0;
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const Work *a, const Work *b) { return a->nanoseconds > b->nanoseconds; });
  std::string out;
  char line[256];
  auto print = [&](const std::string &us, const std::string &percent, const std::string &calls,
                   const std::string &moved, const std::string &rate, const std::string &share,
                   const std::string &operations, const std::string &roof, const std::string &command,
                   const std::string &nodes) {
    std::snprintf(line, sizeof line, "%10s %6s %6s %9s %8s %7s %9s  ", us.c_str(), percent.c_str(), calls.c_str(),
                  moved.c_str(), rate.c_str(), share.c_str(), operations.c_str());
    out += line;
    if (!profile.roof.peaks.empty()) {
      std::snprintf(line, sizeof line, "%6s  ", roof.c_str());
      out += line;
    }
    out += command + (nodes.empty() ? "" : "  [" + nodes + "]") + "\n";
  };
  print("us a run", "%", "calls", "bytes", "GB/s", "% copy", "GFLOP/s", "% roof", "command", "source");
  size_t shown = 0;
  for (const Work *row : order) {
    double us = microseconds(*row, profile.runs);
    if (settings.top && shown++ >= settings.top) {
      rest += us;
      continue;
    }
    double seconds = double(row->nanoseconds) / 1e9;
    print(cell(us), cell(total > 0 ? 100 * us / total : 0), cell(double(row->calls) / double(profile.runs)),
          row->bytes ? formatBytes(row->bytes / profile.runs) : "",
          row->bytes && seconds > 0 ? cell(row->bytes / seconds / 1e9) : "",
          row->bytes ? cell(100 * profile.share(*row)) : "",
          row->flops && seconds > 0 ? cell(row->flops / seconds / 1e9) : "",
          profile.roofline(*row) > 0 ? cell(100 * profile.roofline(*row)) : "", row->command, row->nodes);
  }
  if (rest > 0)
    print(cell(rest), cell(total > 0 ? 100 * rest / total : 0), "", "", "", "", "", "", "everything else", "");
  out += "run       " + cell(profile.milliseconds) + " ms without profiling; " + cell(total / 1e3) + " ms in " +
         std::to_string(order.size()) + " commands (" + std::to_string(profile.runs) + " runs)\n";
  out += "kernels   " + formatBytes(bytes) + " and " + cell(double(flops) / 1e9) + " GFLOP a run";
  if (kernelTime > 0)
    out +=
        ", " + cell(double(bytes) / kernelTime / 1e3) + " GB/s, " + cell(double(flops) / kernelTime / 1e3) + " GFLOP/s";
  out += "\nroofline  a copy moves " + cell(profile.roof.bandwidth / 1e9) + " GB/s here (" + profile.device +
         "), read and written\n";
  for (auto [math, peak] : profile.roof.peaks)
    out += std::string("          ") + (math == FLAME_MATH_F32 ? "multiply-adds" : "matrix instructions") + " in " +
           nameOf(math) + " reach " + cell(peak / 1e9) + " GFLOP/s\n";
  return out;
}

/// Trace events as Perfetto and chrome://tracing read them: an average run, its commands one after the other.
void writeTrace(const ProfileSettings &settings, const Profile &profile) {
  Json events = Json::array();
  events.push_back({{"name", "process_name"}, {"ph", "M"}, {"pid", 1}, {"args", {{"name", settings.model.path}}}});
  events.push_back({{"name", "thread_name"},
                    {"ph", "M"},
                    {"pid", 1},
                    {"tid", 1},
                    {"args", {{"name", profile.device == "cuda" ? "GPU" : "CPU"}}}});
  double at = 0;
  for (const Work &row : profile.rows) {
    double us = microseconds(row, profile.runs);
    if (isBookkeeping(row.command) && us < 1)
      continue;
    events.push_back({{"name", row.command},
                      {"cat", row.bytes ? "kernel" : "runtime"},
                      {"ph", "X"},
                      {"pid", 1},
                      {"tid", 1},
                      {"ts", at},
                      {"dur", us},
                      {"args",
                       {{"nodes", row.nodes},
                        {"calls", double(row.calls) / double(profile.runs)},
                        {"bytes", row.bytes / profile.runs},
                        {"flops", row.flops / profile.runs},
                        {"share of copy bandwidth", profile.share(row)},
                        {"share of roofline", profile.roofline(row)}}}});
    at += us;
  }
  Json out{{"traceEvents", events}, {"displayTimeUnit", "ns"}};
  std::ofstream file(settings.trace, std::ios::binary);
  file << out.dump(1, ' ', false, Json::error_handler_t::replace) << "\n";
  file.flush();
  if (!file)
    throw io::InputError(settings.trace + ": can't be written: " + std::strerror(errno));
}

} // namespace

Command flame::tool::addProfile(CLI::App &app, Console &console) {
  auto settings = std::make_shared<ProfileSettings>();
  CLI::App *sub = app.add_subcommand("profile", "show where the time of a model goes, kernel by kernel");
  document(sub,
           {"flamec profile MODEL [--target TARGET] [--random-inputs] [options]",
            "Runs the model again and again and reports the time of each kernel and runtime function with the nodes it "
            "came from, the bytes it must read and write (each tensor once), its operations, and which share of the "
            "bandwidth of a copy, measured on the same device, it reaches. On a GPU, times are taken by events around "
            "each command (CUDA graphs are off meanwhile), the peak of arithmetic is measured, too, and % roof is the "
            "least time that the bytes or the operations take, over the time.",
            {{"On this machine's GPU:", "flamec profile model.onnx --target=cuda --random-inputs"},
             {"A timeline for ui.perfetto.dev:", "flamec profile model.flame --random-inputs --trace trace.json"}}});
  settings->add(sub, "six", {"json"});
  sub->add_option("--top", settings->top, "lines of the table; 0: all (default: 40)")->type_name("N");
  sub->add_option("--trace", settings->trace, "write a trace of an average run for Perfetto or chrome://tracing")
      ->type_name("FILE");
  return [settings, &console]() -> int {
    return printMeasurement(*settings, console, [&](const Model &model) {
      Profile profile = measure(*settings, model);
      if (!settings->trace.empty())
        writeTrace(*settings, profile);
      return settings->format == "json"
                 ? json(*settings, profile).dump(2, ' ', false, Json::error_handler_t::replace) + "\n"
                 : table(*settings, profile);
    });
  };
}
