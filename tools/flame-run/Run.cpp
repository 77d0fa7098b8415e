//===- Run.cpp - see Run.h ------------------------------------------------===//

#include "Run.h"
#include "Elements.h"
#include "Npy.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <numeric>

namespace flame::run {

namespace {

flame_session *interruptible = nullptr;
volatile std::sig_atomic_t interruptions = 0;

/// The first Ctrl-C ends the run at its next command, the second ends the process.
void onInterrupt(int) {
  if (interruptions)
    std::_Exit(Interrupted);
  interruptions = 1;
  if (interruptible)
    flame_session_cancel(interruptible);
}

std::string mebibytes(uint64_t bytes) {
  char buffer[32];
  if (bytes < 1 << 20)
    std::snprintf(buffer, sizeof(buffer), "%.1f KiB", bytes / 1024.0);
  else
    std::snprintf(buffer, sizeof(buffer), "%.1f MiB", bytes / 1048576.0);
  return buffer;
}

std::string jsonString(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      char buffer[8];
      std::snprintf(buffer, sizeof(buffer), "\\u%04x", c);
      out += buffer;
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string typeOf(const flame_port &port) {
  if (port.type[0])
    return port.type;
  std::string out = flame_dtype_name(port.dtype);
  if (port.kind != FLAME_TENSOR || port.rank < 0)
    return out;
  out += '[';
  for (int32_t d = 0; d < port.rank; ++d)
    out += (d ? "," : "") + std::string(port.dims[d]);
  return out + "]";
}

void dumpSignature(const Module &module, bool json) {
  if (json) {
    auto list = [](const std::vector<flame_port> &ports) {
      std::string out = "[";
      for (size_t i = 0; i < ports.size(); ++i) {
        static const char *const kinds[] = {"tensor", "sequence", "optional"};
        out += (i ? ", {" : "{") + ("\"name\": " + jsonString(ports[i].name)) + ", \"kind\": \"" +
               kinds[ports[i].kind] + "\", \"dtype\": \"" + flame_dtype_name(ports[i].dtype) + "\", \"dims\": ";
        if (ports[i].rank < 0) {
          out += "null}";
          continue;
        }
        out += '[';
        for (int32_t d = 0; d < ports[i].rank; ++d)
          out += (d ? ", " : "") + jsonString(ports[i].dims[d]);
        out += "]}";
      }
      return out + "]";
    };
    std::string properties;
    for (const auto &[key, value] : module.properties())
      properties += (properties.empty() ? "" : ", ") + jsonString(key) + ": " + jsonString(value);
    std::printf("{\"name\": %s, \"producer\": %s, \"inputs\": %s, \"outputs\": %s, \"properties\": {%s}}\n",
                jsonString(module.name()).c_str(), jsonString(module.producer()).c_str(), list(module.inputs()).c_str(),
                list(module.outputs()).c_str(), properties.c_str());
    return;
  }
  std::printf("%s (%s)\n", std::string(module.name()).c_str(), std::string(module.producer()).c_str());
  for (const flame_port &port : module.inputs())
    std::printf("  input   %-24s %s\n", port.name, typeOf(port).c_str());
  for (const flame_port &port : module.outputs())
    std::printf("  output  %-24s %s\n", port.name, typeOf(port).c_str());
  for (const auto &[key, value] : module.properties())
    std::printf("  %-32s %s\n", key.c_str(), value.c_str());
}

void writeOutput(const std::string &path, const Value &value) {
  if (value.isTensor())
    return io::writeNpy(path + ".npy", value);
  for (size_t i = 0; i < value.length(); ++i)
    writeOutput(path + "." + std::to_string(i), value.at(i));
}

void printOutputs(const std::vector<flame_port> &ports, const std::vector<Value> &outputs) {
  for (size_t i = 0; i < outputs.size(); ++i)
    std::printf("%s: %s\n%s\n", ports[i].name, io::describe(outputs[i]).c_str(), io::formatValue(outputs[i]).c_str());
}

int compareOutputs(const Settings &settings, const std::vector<flame_port> &ports, const std::vector<Value> &outputs) {
  int code = Ok;
  for (const std::string &spec : settings.expected) {
    size_t index = ports.size();
    std::string path;
    for (size_t i = 0; i < ports.size(); ++i) {
      const std::string prefix = std::string(ports[i].name) + "=";
      if (spec.starts_with(prefix)) {
        index = i;
        path = spec.substr(prefix.size());
      }
    }
    if (index == ports.size())
      throw UsageError("'" + spec + "': --expect takes NAME=FILE with the name of an output");
    const Value expected = io::readValue(path, ports[index].kind, ports[index].dtype);
    const io::Comparison result = io::compare(outputs[index], expected, settings.tolerance);
    std::fprintf(stderr, "output '%s': %s\n", ports[index].name, result.equal ? "agrees" : result.message.c_str());
    if (!result.equal)
      code = Accuracy;
  }
  return code;
}

void bench(const Session &session, const std::vector<Value> &inputs, size_t outputs, int runs, bool json) {
  std::vector<double> times;
  const int warmup = std::max(1, std::min(runs / 10, 10));
  for (int i = -warmup; i < runs; ++i) {
    const auto start = std::chrono::steady_clock::now();
    session.run(inputs, outputs);
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - start;
    if (i >= 0)
      times.push_back(time.count());
  }
  std::sort(times.begin(), times.end());
  const double mean = std::accumulate(times.begin(), times.end(), 0.0) / times.size();
  const double median = times[times.size() / 2], p90 = times[std::min(times.size() - 1, times.size() * 9 / 10)];
  std::printf(json ? "{\"runs\": %d, \"median_ms\": %.6f, \"mean_ms\": %.6f, \"min_ms\": %.6f, \"p90_ms\": %.6f}\n"
                   : "%d runs: median %.3f ms, mean %.3f ms, fastest %.3f ms, 90 %% within %.3f ms\n",
              runs, median, mean, times.front(), p90);
}

void printProfile(const Session &session) {
  std::vector<flame_profile_entry> entries(flame_session_profile_entries(session.get(), nullptr, 0));
  entries.resize(flame_session_profile_entries(session.get(), entries.data(), entries.size()));
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto &a, const auto &b) { return a.nanoseconds > b.nanoseconds; });
  double total = 0;
  for (const auto &entry : entries)
    total += entry.nanoseconds;
  std::printf("%10s %6s %8s  %-32s %s\n", "us a call", "%", "calls", "command", "source");
  for (const auto &entry : entries)
    std::printf("%10.1f %6.1f %8llu  %-32s %s\n", entry.nanoseconds / 1e3 / entry.calls,
                total > 0 ? 100 * entry.nanoseconds / total : 0.0, static_cast<unsigned long long>(entry.calls),
                entry.command, entry.node);
}

} // namespace

int exitCode(flame_code code) {
  switch (code) {
  case FLAME_OK:
    return Ok;
  case FLAME_INVALID_ARGUMENT:
  case FLAME_BAD_ARTIFACT:
  case FLAME_IO:
  case FLAME_BAD_DATA:
    return BadInput;
  case FLAME_UNSUPPORTED:
    return Unsupported;
  case FLAME_OUT_OF_MEMORY:
    return OutOfMemory;
  case FLAME_CANCELLED:
    return Interrupted;
  case FLAME_DEVICE:
    return Device;
  default:
    return Internal;
  }
}

uint64_t parseBytes(const std::string &text) {
  uint64_t value = 0;
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  std::string unit(parsed.ptr, text.data() + text.size() - parsed.ptr);
  if (!unit.empty())
    unit[0] = static_cast<char>(std::toupper(static_cast<unsigned char>(unit[0])));
  int shift = -1;
  if (unit.empty() || unit == "B")
    shift = 0;
  else if (unit == "K" || unit == "KiB" || unit == "KB")
    shift = 10;
  else if (unit == "M" || unit == "MiB" || unit == "MB")
    shift = 20;
  else if (unit == "G" || unit == "GiB" || unit == "GB")
    shift = 30;
  if (parsed.ec != std::errc() || shift < 0 || value > UINT64_MAX >> shift)
    throw UsageError("'" + text + "' is not an amount of memory such as 512M or 2G");
  return value << shift;
}

std::map<std::string, int64_t> parseDims(const std::vector<std::string> &dims) {
  std::map<std::string, int64_t> sizes;
  for (const std::string &dim : dims) {
    const size_t equals = dim.rfind('=');
    int64_t value = -1;
    if (equals != std::string::npos)
      std::from_chars(dim.data() + equals + 1, dim.data() + dim.size(), value);
    if (value < 0)
      throw UsageError("'" + dim + "': a dimension is given as NAME=NUMBER");
    sizes[dim.substr(0, equals)] = value;
  }
  return sizes;
}

std::string fileName(std::string name) {
  for (char &c : name)
    if (c == '/' || c == '\0' || static_cast<unsigned char>(c) < 0x20)
      c = '_';
  name.resize(std::min<size_t>(name.size(), 200)); // a folder takes names of 255 bytes
  if (name.empty() || name == "." || name == "..")
    name += '_';
  return name;
}

void writeOutputs(const std::string &folder, const std::vector<flame_port> &ports, const std::vector<Value> &outputs) {
  std::error_code error;
  std::filesystem::create_directories(folder, error); // a failure shows when the first file is written
  for (size_t i = 0; i < outputs.size(); ++i)
    writeOutput(folder + "/" + std::to_string(i) + "-" + fileName(ports[i].name), outputs[i]);
}

int execute(Settings settings) {
  settings.inputs.dims = parseDims(settings.dims);
  Options options;
  options.threads = settings.threads;
  options.flags = (settings.poison ? FLAME_POISON_FILL : 0) | (settings.sync ? FLAME_SYNC : 0) |
                  (settings.redZones ? FLAME_RED_ZONES : 0) | (settings.noGraphs ? FLAME_NO_GRAPHS : 0);
  options.device = settings.device;
  if (!settings.weightsDirectory.empty())
    options.weights_directory = settings.weightsDirectory.c_str();
  if (!settings.memoryLimit.empty())
    options.memory_limit = parseBytes(settings.memoryLimit);
  options.log = [](flame_log_level level, const char *message, void *) {
    if (level >= FLAME_LOG_WARNING)
      std::fprintf(stderr, "flame-run: warning: %s\n", message);
  };
  return execute(Module::load(settings.artifact, options), settings);
}

int execute(const Module &module, const Settings &settings) {
  if (settings.dumpSignature) {
    dumpSignature(module, settings.json);
    return Ok;
  }
  const auto inputPorts = module.inputs(), outputPorts = module.outputs();
  const std::vector<Value> inputs = io::resolveInputs(inputPorts, settings.inputs);
  const Session session(module);
  interruptible = session.get();
  struct Clear {
    ~Clear() { interruptible = nullptr; }
  } clear;
  std::signal(SIGINT, onInterrupt);

  if (settings.profile)
    check(flame_session_profile(session.get(), 1));
  const std::vector<Value> outputs = session.run(inputs, outputPorts.size());
  const int code = compareOutputs(settings, outputPorts, outputs);
  if (!settings.outputDirectory.empty()) {
    writeOutputs(settings.outputDirectory, outputPorts, outputs);
  } else if (!settings.quiet && settings.bench == 0) {
    printOutputs(outputPorts, outputs);
  }
  if (settings.bench > 0)
    bench(session, inputs, outputPorts.size(), settings.bench, settings.json);
  if (settings.profile)
    printProfile(session);
  if (!settings.quiet) {
    uint64_t current, peak;
    flame_module_memory(module.get(), &current, &peak);
    std::fprintf(stderr, "%s: %d threads, peak %s beside the weights\n", settings.program.c_str(), module.threads(),
                 mebibytes(peak).c_str());
  }
  return code;
}

} // namespace flame::run
