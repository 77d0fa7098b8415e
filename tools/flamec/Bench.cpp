//===- Bench.cpp - flamec bench ---------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "Help.h"
#include "Machine.h"
#include "Elements.h"
#include "Model.h"
#include "Roofline.h"
#include "flame/Support/Version.h"
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>
#include <numeric>

using namespace flame;
using namespace flame::tool;
using Json = nlohmann::ordered_json;

namespace {

/// Latencies in milliseconds, sorted. At least three runs are measured, however long they take; before that the model
/// warms up for a tenth of the time, at least one run.
std::vector<double> measure(const Session &session, const std::vector<Value> &inputs, size_t outputs, double seconds) {
  using Clock = std::chrono::steady_clock;
  auto since = [](Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); };
  Clock::time_point start = Clock::now();
  do
    session.run(inputs, outputs);
  while (since(start) < seconds / 10);
  std::vector<double> times;
  start = Clock::now();
  while (times.size() < 3 || since(start) < seconds) {
    Clock::time_point begin = Clock::now();
    session.run(inputs, outputs);
    times.push_back(since(begin) * 1e3);
  }
  std::sort(times.begin(), times.end());
  return times;
}

/// The smallest measured value that `fraction` of the runs do not exceed.
double quantile(const std::vector<double> &sorted, double fraction) {
  size_t rank = size_t(std::max(0.0, std::ceil(fraction * double(sorted.size())) - 1));
  return sorted[std::min(rank, sorted.size() - 1)];
}

double median(const std::vector<double> &sorted) {
  size_t half = sorted.size() / 2;
  return sorted.size() % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/// Milliseconds that a run takes at least by its bytes and operations; 0 where nobody knows, as on a CPU.
double leastMilliseconds(const Session &session, const std::vector<Value> &inputs, size_t outputs, const std::string &target) {
  if (target != "cuda")
    return 0;
  check(flame_session_profile(session.get(), 1));
  session.run(inputs, outputs);
  const std::vector<Work> work = profiledWork(session);
  check(flame_session_profile(session.get(), 0));
  const Roofline roofline = Roofline::measure(session, target, work);
  return std::accumulate(work.begin(), work.end(), 0.0, [&](double sum, const Work &w) { return sum + roofline.seconds(w); }) * 1e3;
}

Json report(const MeasureSettings &settings, const Model &model) {
  std::vector<flame_port> ports = model.module.inputs();
  std::vector<Value> inputs = io::resolveInputs(ports, settings.model.inputs);
  Session session(model.module);
  std::vector<double> times = measure(session, inputs, model.module.outputs().size(), settings.seconds);
  uint64_t current = 0, peak = 0;
  flame_module_memory(model.module.get(), &current, &peak);

  Json shapes = Json::object();
  for (size_t i = 0; i < ports.size(); ++i)
    shapes[ports[i].name] = io::describe(inputs[i]);
  Machine machine = thisMachine();
  Json properties = Json::object();
  for (const auto &[key, value] : model.module.properties())
    properties[key] = value;
  const double least = leastMilliseconds(session, inputs, model.module.outputs().size(), properties.value("target", ""));
  const char *threadVariable = std::getenv("FLAME_NUM_THREADS");
  return {{"model", settings.model.path},
          {"inputs", shapes},
          {"runs", times.size()},
          {"latency_ms",
           {{"min", times.front()},
            {"median", median(times)},
            {"mean", std::accumulate(times.begin(), times.end(), 0.0) / double(times.size())},
            {"p95", quantile(times, 0.95)},
            {"max", times.back()}}},
          {"roofline", least > 0 ? Json{{"least_ms", least}, {"share", least / median(times)}} : Json()},
          {"threads", model.module.threads()},
          {"peak_bytes", peak},
          {"environment",
           {{"flame", version()},
            {"processor", machine.processor},
            {"cores", machine.cores},
            {"memory_bytes", machine.memory},
            {"system", machine.system},
            {"FLAME_NUM_THREADS", threadVariable ? threadVariable : ""},
            {"artifact", properties}}}};
}

const char *const columns[] = {"min", "median", "mean", "p95", "max"};

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, value < 10 ? "%.4f" : "%.2f", value);
  return text;
}

std::string formatted(const Json &result, const std::string &format) {
  const Json &latency = result["latency_ms"], &environment = result["environment"];
  std::string threads = result["threads"].dump(), runs = result["runs"].dump(), peak = formatBytes(result["peak_bytes"]);
  if (format == "json")
    return result.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
  if (format == "csv") {
    std::string head = "model,threads,runs", row = "\"";
    for (char c : result["model"].get<std::string>())
      row += c == '"' ? std::string("\"\"") : std::string(1, c);
    row += "\"," + threads + "," + runs;
    for (const char *column : columns) {
      head += std::string(",") + column + "_ms";
      row += "," + latency[column].dump();
    }
    return head + ",peak_bytes\n" + row + "," + result["peak_bytes"].dump() + "\n";
  }
  if (format == "md") {
    std::string head = "| model | threads | runs |", rule = "| --- | ---: | ---: |",
                row = "| " + result["model"].get<std::string>() + " | " + threads + " | " + runs + " |";
    for (const char *column : columns) {
      head += std::string(" ") + column + " ms |";
      rule += " ---: |";
      row += " " + number(latency[column]) + " |";
    }
    return head + " peak |\n" + rule + " ---: |\n" + row + " " + peak + " |\n";
  }
  std::string out = "latency   ";
  for (const char *column : columns)
    out += std::string(column) + " " + number(latency[column]) + (column == columns[4] ? " ms\n" : "   ");
  out += "runs      " + runs + " with " + threads + (threads == "1" ? " thread" : " threads") + "\n";
  if (const Json &roofline = result["roofline"]; !roofline.is_null())
    out += "roofline  at least " + number(roofline["least_ms"]) + " ms by bytes and operations, " +
           number(100 * roofline["share"].get<double>()) + " % of the median\n";
  out += "memory    peak " + peak + " beside weights and inputs\n";
  for (const auto &[name, shape] : result["inputs"].items())
    out += "input     " + name + " " + shape.get<std::string>() + "\n";
  out += "machine   " + environment["processor"].get<std::string>() + ", " + environment["cores"].dump() + " cores, " +
         environment["system"].get<std::string>() + "\n";
  return out;
}

} // namespace

Command flame::tool::addBench(CLI::App &app, Console &console) {
  auto settings = std::make_shared<MeasureSettings>();
  CLI::App *sub = app.add_subcommand("bench", "measure the latency of a model or an artifact");
  document(sub, {"flamec bench MODEL [--input NAME=VALUE]... [--random-inputs] [options]",
                 "Runs the model again and again on the same inputs and reports the fastest run, the median, the mean, the "
                 "95th percentile and the slowest run in milliseconds, after a warm-up of a tenth of the time. Loading "
                 "and compiling are not part of it. On a GPU also the time that the bytes and operations of all "
                 "kernels take at least, by a copy and loops of arithmetic measured there, and its share of the median.",
                 {{"Batch 8, two threads:", "flamec bench model.flame --random-inputs --dim batch=8 --threads 2"},
                  {"For scripts:", "flamec bench model.flame --input x=1x16:f32 --seconds 5 --format json"}}});
  settings->add(sub, "three", {"json", "csv", "md"});
  return [settings, &console]() -> int {
    return printMeasurement(*settings, console, [&](const Model &model) {
      return formatted(report(*settings, model), settings->format);
    });
  };
}
