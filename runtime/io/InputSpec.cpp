//===- InputSpec.cpp - see InputSpec.h ------------------------------------===//

#include "InputSpec.h"
#include "Elements.h"
#include "Npy.h"
#include "OnnxPb.h"
#include "Random.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>

namespace flame::io {

namespace {

std::optional<int64_t> parseNumber(std::string_view text) {
  int64_t value;
  auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc() || parsed.ptr != text.data() + text.size())
    return std::nullopt;
  return value;
}

struct ShapeSpec {
  std::vector<int64_t> dims;
  flame_dtype dtype = FLAME_UNDEFINED;
};

/// "4x16:f32", "4x16", ":f32"; nullopt for anything else.
std::optional<ShapeSpec> parseShape(std::string_view text) {
  ShapeSpec out;
  const size_t colon = text.rfind(':');
  if (colon != std::string_view::npos) {
    out.dtype = parseDType(text.substr(colon + 1));
    if (out.dtype == FLAME_UNDEFINED)
      return std::nullopt;
    text = text.substr(0, colon);
  } else if (text.empty()) {
    return std::nullopt;
  }
  while (!text.empty()) {
    const size_t end = std::min(text.find_first_of("x,"), text.size());
    auto dim = parseNumber(text.substr(0, end));
    if (!dim || *dim < 0)
      return std::nullopt;
    out.dims.push_back(*dim);
    text = end == text.size() ? std::string_view() : text.substr(end + 1);
  }
  return out;
}

class Resolver {
public:
  Resolver(std::span<const flame_port> ports, const InputOptions &options)
      : ports(ports), options(options), known(options.dims), values(ports.size()), random(ports.size()),
        generator(options.seed) {}

  std::vector<Value> run() {
    if (!options.archive.empty())
      readArchive(options.archive);
    for (const std::string &spec : options.specs)
      apply(spec);
    // Given inputs tell the symbolic dimensions of random ones.
    for (size_t i = 0; i < ports.size(); ++i)
      if (values[i] && values[i].isTensor() && ports[i].rank == static_cast<int32_t>(values[i].dims().size()))
        for (int32_t d = 0; d < ports[i].rank; ++d)
          known.try_emplace(ports[i].dims[d], values[i].dims()[d]);
    for (size_t i = 0; i < ports.size(); ++i) {
      if (values[i])
        continue;
      if (!random[i] && !options.randomOthers)
        throw InputError("input '" + std::string(ports[i].name) + "' (" + ports[i].type +
                         ") is not given; say --input " + ports[i].name + "=FILE, or --random-inputs");
      values[i] = makeRandom(i);
    }
    return std::move(values);
  }

private:
  Value makeRandom(size_t index) {
    const flame_port &port = ports[index];
    if (port.kind != FLAME_TENSOR || port.rank < 0)
      throw InputError("input '" + std::string(port.name) + "' (" + port.type +
                       ") cannot be made up: its shape is not known; give a file or a shape such as 2x3:f32");
    std::vector<int64_t> dims;
    for (int32_t d = 0; d < port.rank; ++d) {
      auto number = parseNumber(port.dims[d]);
      auto named = known.find(port.dims[d]);
      dims.push_back(number ? *number : named != known.end() ? named->second : 1);
    }
    return randomTensor(port.dtype, dims, generator);
  }

  size_t find(std::string_view name, const std::string &spec) {
    std::vector<std::string> names;
    for (size_t i = 0; i < ports.size(); ++i) {
      if (ports[i].name == name)
        return i;
      names.push_back(ports[i].name);
    }
    const std::string near = nearest(name, names);
    std::string list;
    for (const std::string &n : names)
      list += (list.empty() ? "" : ", ") + n;
    throw InputError("'" + spec + "': the model has no input '" + std::string(name) + "'" +
                     (near.empty() ? "; its inputs are: " + list : "; did you mean '" + near + "'?"));
  }

  void apply(const std::string &spec) {
    // Names may contain '=': prefer an input whose whole name stands in front of one.
    size_t index = ports.size(), start = 0;
    for (size_t i = 0; i < ports.size(); ++i) {
      const std::string prefix = std::string(ports[i].name) + "=";
      if (spec.starts_with(prefix) && prefix.size() > start) {
        index = i;
        start = prefix.size();
      }
    }
    if (index == ports.size()) {
      const size_t equals = spec.find('=');
      if (equals == std::string::npos && spec.ends_with(".npz"))
        return readArchive(spec);
      if (equals == std::string::npos && ports.size() == 1) {
        index = 0;
      } else {
        if (equals == std::string::npos)
          throw InputError("'" + spec + "': an input is given as NAME=FILE, NAME=random or NAME=SHAPE:TYPE");
        index = find(std::string_view(spec).substr(0, equals), spec);
      }
    }
    const std::string value = spec.substr(start);
    const flame_port &port = ports[index];
    if (value.ends_with(".npz")) {
      values[index] = fromArchive(value, port);
    } else if (value == "random") {
      random[index] = true;
    } else if (auto shape = parseShape(value)) {
      values[index] = randomTensor(shape->dtype ? shape->dtype : port.dtype, shape->dims, generator);
    } else {
      values[index] = readValue(value, port.kind, port.dtype);
    }
  }

  void readArchive(const std::string &path) {
    for (auto &[name, bytes] : parseNpz(readFile(path), path)) {
      const size_t index = find(name, path);
      values[index] = parseNpy(bytes, path + ": " + name, ports[index].dtype);
    }
  }

  /// The array of an archive that has the input's name, or the only one.
  static Value fromArchive(const std::string &path, const flame_port &port) {
    const auto arrays = parseNpz(readFile(path), path);
    std::string names;
    for (const auto &[name, bytes] : arrays) {
      if (name == port.name || arrays.size() == 1)
        return parseNpy(bytes, path + ": " + name, port.dtype);
      names += (names.empty() ? "" : ", ") + name;
    }
    throw InputError(path + ": it has no array '" + std::string(port.name) + "'; its arrays are: " + names);
  }

  std::span<const flame_port> ports;
  const InputOptions &options;
  std::map<std::string, int64_t> known;
  std::vector<Value> values;
  std::vector<bool> random;
  std::mt19937_64 generator;
};

} // namespace

std::vector<Value> resolveInputs(std::span<const flame_port> ports, const InputOptions &options) {
  return Resolver(ports, options).run();
}

Value readValue(const std::string &path, flame_kind kind, flame_dtype expected) {
  if (path.ends_with(".pb"))
    return readOnnxPb(path, kind);
  if (path.ends_with(".npy"))
    return readNpy(path, expected);
  throw InputError("'" + path + "' is neither an .npy nor a .pb file, nor 'random', nor a shape such as 2x3:f32");
}

std::string nearest(std::string_view word, std::span<const std::string> candidates) {
  std::string best;
  size_t bestDistance = word.size() / 3 + 2;
  for (const std::string &candidate : candidates) {
    std::vector<size_t> row(candidate.size() + 1);
    std::iota(row.begin(), row.end(), 0);
    for (size_t i = 0; i < word.size(); ++i) {
      size_t diagonal = row[0];
      row[0] = i + 1;
      for (size_t j = 0; j < candidate.size(); ++j) {
        const size_t substituted = diagonal + (word[i] != candidate[j]);
        diagonal = row[j + 1];
        row[j + 1] = std::min({row[j] + 1, row[j + 1] + 1, substituted});
      }
    }
    if (row.back() < bestDistance) {
      bestDistance = row.back();
      best = candidate;
    }
  }
  return best;
}

} // namespace flame::io
