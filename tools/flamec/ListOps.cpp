//===- ListOps.cpp - flamec --list-ops --------------------------------------------------------------------------------===//
//
// The importer's registry as data: docs/Coverage.md is made from it. `opsets` are all versions of the domain in which the
// operator can be imported, `dtypes` the element types that its importer takes.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "Commands.h"
#include "flame/Import/OnnxNode.h"
#include <map>
#include <nlohmann/json.hpp>
#include <set>

using namespace flame;

namespace {

/// In the order in which types are listed.
const std::vector<std::string> allTypes = {
    "f64",    "f32",        "f16",    "bf16",       "f8E4M3FN",  "f8E4M3FNUZ", "f8E5M2", "f8E5M2FNUZ",
    "f8E8M0FNU", "f4E2M1FN", "i64", "i32", "i16", "i8", "i4", "i2", "u64", "u32", "u16", "u8", "u4", "u2", "bool", "string"};

const std::vector<std::string> floats = {"f64", "f32", "f16", "bf16"};
const std::vector<std::string> integers = {"i64", "i32", "i16", "i8", "u64", "u32", "u16", "u8"};
const std::vector<std::string> quantized = {"f8E4M3FN", "f8E4M3FNUZ", "f8E5M2", "f8E5M2FNUZ", "f4E2M1FN", "i16", "i8",
                                            "i4",       "i2",         "u16",    "u8",         "u4",       "u2"};

/// The types behind a word of OnnxRegistry::Entry::dtypes.
std::vector<std::string> typesOf(const std::string &word) {
  static const std::map<std::string, std::string> names = {
      {"float64", "f64"}, {"float32", "f32"}, {"float16", "f16"}, {"bfloat16", "bf16"}, {"int64", "i64"},
      {"int32", "i32"},   {"int16", "i16"},   {"int8", "i8"},     {"uint64", "u64"},    {"uint32", "u32"},
      {"uint16", "u16"},  {"uint8", "u8"},    {"bool", "bool"},   {"string", "string"}};
  if (word == "all")
    return allTypes;
  if (word == "float")
    return floats;
  if (word == "integer")
    return integers;
  if (word == "quantized")
    return quantized;
  if (word == "numeric") {
    std::vector<std::string> both = floats;
    both.insert(both.end(), integers.begin(), integers.end());
    return both;
  }
  if (auto found = names.find(word); found != names.end())
    return {found->second};
  return {};
}

struct Row {
  std::set<int64_t> opsets;
  std::set<std::string> types;
};

} // namespace

int tool::listOps(const std::string &format) {
  std::map<std::pair<std::string, std::string>, Row> rows;
  for (const OnnxRegistry::Entry &entry : OnnxRegistry::get().entries()) {
    Row &row = rows[{entry.domain, entry.opType}];
    // Only versions of the domain that exist.
    static const std::map<std::string, int64_t> newest = {{"", 27}, {"ai.onnx.ml", 5}};
    auto last = newest.find(entry.domain);
    for (int64_t opset = entry.sinceOpset; opset <= (last == newest.end() ? 1 : last->second); ++opset)
      row.opsets.insert(opset);
    row.opsets.insert(entry.sinceOpset);
    std::string word;
    for (char c : entry.dtypes + " ") {
      if (c != ' ' && c != ',') {
        word += c;
        continue;
      }
      for (const std::string &type : typesOf(word))
        row.types.insert(type);
      word.clear();
    }
  }
  if (format == "table") {
    std::printf("%-28s %-36s %-8s %s\n", "domain", "operator", "opsets", "types");
    for (const auto &[key, row] : rows) {
      std::string types;
      for (const std::string &type : allTypes)
        if (row.types.count(type))
          types += (types.empty() ? "" : " ") + type;
      std::string opsets = std::to_string(*row.opsets.begin()) + "–" + std::to_string(*row.opsets.rbegin());
      std::printf("%-28s %-36s %-10s %s\n", key.first.empty() ? "ai.onnx" : key.first.c_str(), key.second.c_str(),
                  opsets.c_str(), types.c_str());
    }
    return 0;
  }
  auto list = nlohmann::ordered_json::array();
  for (const auto &[key, row] : rows) {
    std::vector<std::string> types;
    for (const std::string &type : allTypes)
      if (row.types.count(type))
        types.push_back(type);
    list.push_back({{"domain", key.first},
                    {"op", key.second},
                    {"opsets", row.opsets},
                    {"dtypes", types},
                    {"targets", {"cpu"}}});
  }
  std::puts(list.dump(1).c_str());
  return 0;
}
