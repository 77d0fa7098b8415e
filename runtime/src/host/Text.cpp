//===- Text.cpp - TfIdfVectorizer, LabelEncoder ---------------------------===//

#include "Elements.h"
#include "HostContext.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>

namespace flame::rt {

namespace {

// ---- TfIdfVectorizer

/// The n-grams of the pool as a tree: from a node, an item leads to the next node; a node may end an n-gram.
template <typename Item> class NgramTree {
public:
  static constexpr int32_t kRoot = 0;

  int32_t follow(int32_t node, const Item &item) const {
    auto next = edges.find({node, item});
    return next == edges.end() ? -1 : next->second;
  }
  int32_t extend(int32_t node, const Item &item) {
    auto [edge, fresh] = edges.try_emplace({node, item}, static_cast<int32_t>(ngrams.size()));
    if (fresh)
      ngrams.push_back(-1);
    return edge->second;
  }
  int64_t ngramAt(int32_t node) const { return ngrams[node]; }
  void endNgram(int32_t node, int64_t ngram) { ngrams[node] = ngram; }

private:
  std::map<std::pair<int32_t, Item>, int32_t> edges;
  std::vector<int64_t> ngrams{-1};
};

struct TfIdfOptions {
  int64_t shortest, longest, skips;
  std::span<const int64_t> counts, indexes;
};

template <typename Item, typename Elements>
void countNgrams(HostContext &c, const TfIdfOptions &options, std::span<const Item> pool, Elements elements,
                 int64_t rows, int64_t columns, int64_t width, float *frequencies) {
  NgramTree<Item> tree;
  int64_t ngram = 0;
  for (size_t size = 1; size <= options.counts.size(); ++size) {
    const int64_t begin = options.counts[size - 1];
    const int64_t end = size < options.counts.size() ? options.counts[size] : static_cast<int64_t>(pool.size());
    if (begin < 0 || begin > end || end > static_cast<int64_t>(pool.size()))
      c.fail("ngram_counts is not ascending within the pool of ", pool.size(), " items");
    const bool wanted = static_cast<int64_t>(size) >= options.shortest && static_cast<int64_t>(size) <= options.longest;
    for (int64_t at = begin; at + static_cast<int64_t>(size) <= end; at += size, ++ngram) {
      if (!wanted)
        continue;
      int32_t node = NgramTree<Item>::kRoot;
      for (size_t i = 0; i < size; ++i)
        node = tree.extend(node, pool[at + i]);
      tree.endNgram(node, ngram);
    }
  }
  if (ngram > static_cast<int64_t>(options.indexes.size()))
    c.fail("the pool has ", ngram, " n-grams, ngram_indexes ", options.indexes.size(), " entries");

  for (int64_t row = 0; row < rows; ++row) {
    int64_t shortest = options.shortest;
    for (int64_t distance = 1; distance <= options.skips + 1; ++distance) {
      // No n-gram fits at this distance, nor at a larger one.
      if (shortest > 1 && distance > columns)
        break;
      for (int64_t start = 0; start < columns; ++start) {
        int32_t node = NgramTree<Item>::kRoot;
        int64_t size = 1;
        for (int64_t at = start; at < columns && size <= options.longest; at += distance, ++size) {
          node = tree.follow(node, elements.get(row * columns + at));
          if (node < 0)
            break;
          if (size >= shortest && tree.ngramAt(node) >= 0)
            frequencies[row * width + options.indexes[tree.ngramAt(node)]] += 1;
        }
      }
      // Single items do not depend on the distance and count once.
      if (shortest == 1 && ++shortest > options.longest)
        break;
    }
  }
}

void tfidfVectorizer(HostContext &c) {
  const Tensor &x = c.tensor(0);
  if (x.rank() != 1 && x.rank() != 2 && !(x.rank() == 0))
    c.fail(c.describeInput(0), " is neither [C] nor [N,C]");
  TfIdfOptions options{c.attrInt("min_gram_length", 1), c.attrInt("max_gram_length", 1), c.attrInt("max_skip_count", 0),
                       c.attrInts("ngram_counts"), c.attrInts("ngram_indexes")};
  if (options.shortest < 1 || options.longest < options.shortest || options.skips < 0)
    c.fail("min_gram_length, max_gram_length or max_skip_count is out of range");
  constexpr int64_t kMaxWidth = int64_t(1) << 31;
  int64_t width = 0;
  for (int64_t index : options.indexes) {
    if (index < 0 || index >= kMaxWidth)
      c.fail("ngram_indexes has the entry ", index);
    width = std::max(width, index + 1);
  }
  const int64_t rows = x.rank() == 2 ? x.dims[0] : 1, columns = x.rank() == 0 ? 1 : x.dims[x.rank() - 1];
  Tensor out = c.makeTensor(FLAME_F32, x.rank() == 2 ? Dims{rows, width} : Dims{width});
  auto *values = out.as<float>();
  std::fill_n(values, out.elements(), 0.0f);

  if (x.isString()) {
    countNgrams<std::string>(c, options, c.attrStrings("pool_strings"), StringElements{x.strings()}, rows, columns,
                             width, values);
  } else if (x.dtype == FLAME_I32) {
    countNgrams<int64_t>(c, options, c.attrInts("pool_int64s"), PlainElements<int32_t>{x.as<int32_t>()}, rows, columns,
                         width, values);
  } else if (x.dtype == FLAME_I64) {
    countNgrams<int64_t>(c, options, c.attrInts("pool_int64s"), PlainElements<int64_t>{x.as<int64_t>()}, rows, columns,
                         width, values);
  } else {
    c.fail(c.describeInput(0), " is not of strings, i32 or i64");
  }

  const std::string mode = c.attrString("mode", "TF");
  const auto weights = c.attrFloats("weights");
  if (mode != "TF" && mode != "IDF" && mode != "TFIDF")
    c.fail("mode is '", mode, "'; TF, IDF or TFIDF is expected");
  if (mode != "TF" && !weights.empty() && static_cast<int64_t>(weights.size()) < width)
    c.fail("there are ", weights.size(), " weights for ", width, " columns");
  for (int64_t i = 0, n = out.elements(); i < n; ++i) {
    if (mode == "IDF")
      values[i] = values[i] > 0 ? 1.0f : 0.0f;
    if (mode != "TF" && !weights.empty())
      values[i] *= static_cast<float>(weights[i % width]);
  }
  c.setOutput(0, std::move(out));
}

// ---- LabelEncoder

/// The list that the model gives as `prefix` + "int64s", "floats", "strings" or "tensor".
const Attribute *findList(HostContext &c, const std::string &prefix) {
  for (const char *suffix : {"tensor", "int64s", "floats", "strings"})
    if (const Attribute *a = c.attribute(prefix + suffix))
      return a;
  c.fail("the attribute ", prefix, "… is missing");
}

/// A key by its bits: floats as doubles, all NaN alike, -0 as 0.
uint64_t keyOf(double value) {
  if (std::isnan(value))
    return 0x7ff8000000000000;
  return std::bit_cast<uint64_t>(value == 0 ? 0.0 : value);
}

/// For every element of x: its position among the keys, or -1.
std::vector<int64_t> lookUp(HostContext &c, const Tensor &x, const Attribute &keys) {
  const int64_t count = x.elements();
  std::vector<int64_t> found(count, -1);
  auto search = [&](const auto &table, auto keyAt) {
    for (int64_t i = 0; i < count; ++i)
      if (auto at = table.find(keyAt(i)); at != table.end())
        found[i] = at->second;
  };
  if (x.isString()) {
    std::unordered_map<std::string, int64_t> table;
    for (size_t i = 0; i < keys.strings.size(); ++i)
      table.insert_or_assign(keys.strings[i], i); // of equal keys the last counts, as in the reference
    search(table, [&](int64_t i) -> const std::string & { return x.strings()[i]; });
  } else if (x.dtype == FLAME_C64 || x.dtype == FLAME_C128) {
    c.fail(c.describeInput(0), " is of complex numbers");
  } else if (isInteger(x.dtype) || x.dtype == FLAME_BOOL) {
    std::unordered_map<int64_t, int64_t> table;
    for (size_t i = 0; i < keys.ints.size(); ++i)
      table.insert_or_assign(keys.ints[i], i);
    search(table, [&](int64_t i) { return readInteger(x, i); });
  } else {
    std::unordered_map<uint64_t, int64_t> table;
    for (size_t i = 0; i < keys.floats.size(); ++i)
      table.insert_or_assign(keyOf(x.dtype == FLAME_F32 ? static_cast<float>(keys.floats[i]) : keys.floats[i]), i);
    search(table, [&](int64_t i) { return keyOf(readReal(x, i)); });
  }
  return found;
}

template <typename T, typename From>
void mapValues(HostContext &c, const std::vector<int64_t> &found, const std::vector<From> &values, T fallback, T *out) {
  for (size_t i = 0; i < found.size(); ++i) {
    if (found[i] >= static_cast<int64_t>(values.size()))
      c.fail("there are fewer values than keys");
    out[i] = found[i] < 0 ? fallback : static_cast<T>(values[found[i]]);
  }
}

void labelEncoder(HostContext &c) {
  const Tensor &x = c.tensor(0);
  const Attribute &keys = *findList(c, "keys_"), &values = *findList(c, "values_");
  const std::vector<int64_t> found = lookUp(c, x, keys);
  // keys_tensor and its like carry no element type of their own: "dtype" has that of the output.
  const DType byName = values.name == "values_int64s"    ? FLAME_I64
                       : values.name == "values_floats"  ? FLAME_F32
                       : values.name == "values_strings" ? FLAME_STRING
                                                         : FLAME_UNDEFINED;
  const DType dtype = static_cast<DType>(c.attrInt("dtype", byName));
  const Attribute *fallback = c.attribute("default_tensor");
  Tensor out;
  auto defaultFloat = [&](double otherwise) {
    return fallback && !fallback->floats.empty() ? fallback->floats[0] : c.attrFloat("default_float", otherwise);
  };
  auto defaultInt = [&](int64_t otherwise) {
    return fallback && !fallback->ints.empty() ? fallback->ints[0] : c.attrInt("default_int64", otherwise);
  };
  if (isKnown(dtype))
    out = c.makeTensor(dtype, x.dims);
  switch (dtype) {
  case FLAME_STRING: {
    const std::string other =
        fallback && !fallback->strings.empty() ? fallback->strings[0] : c.attrString("default_string", "_Unused");
    mapValues<std::string>(c, found, values.strings, other, out.strings());
    break;
  }
  case FLAME_F32:
    mapValues<float>(c, found, values.floats, static_cast<float>(defaultFloat(-0.0)), out.as<float>());
    break;
  case FLAME_F64:
    mapValues<double>(c, found, values.floats, defaultFloat(-0.0), out.as<double>());
    break;
  case FLAME_I64:
    mapValues<int64_t>(c, found, values.ints, defaultInt(-1), out.as<int64_t>());
    break;
  case FLAME_I32:
    mapValues<int32_t>(c, found, values.ints, static_cast<int32_t>(defaultInt(-1)), out.as<int32_t>());
    break;
  case FLAME_I16:
    mapValues<int16_t>(c, found, values.ints, static_cast<int16_t>(defaultInt(-1)), out.as<int16_t>());
    break;
  default:
    c.fail("the values' element type ", dtypeName(dtype), " is not one of string, f32, f64, i16, i32, i64");
  }
  c.setOutput(0, std::move(out));
}

} // namespace

// clang-format off
FLAME_HOST_FAMILY(Text,
    {"tfidf_vectorizer", tfidfVectorizer},
    {"label_encoder", labelEncoder})
// clang-format on

} // namespace flame::rt
