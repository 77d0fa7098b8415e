//===- WeightFolder.cpp - see WeightFolder.h
//--------------------------------------------------------------------------===//
#include "WeightFolder.h"
#include "flame/Import/Json.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/InterleavedRange.h"
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

using namespace mlir;
using namespace flame;
namespace fs = std::filesystem;

namespace {

constexpr size_t kShown = 40; // tensors of a kind in one message

/// True if there is something of that name, a broken link included: reading it then says what is wrong.
bool isThere(const fs::path &path) {
  std::error_code error;
  return fs::symlink_status(path, error).type() != fs::file_type::not_found;
}

std::string shapeText(ArrayRef<int64_t> shape) {
  std::string text = "[";
  llvm::raw_string_ostream(text) << llvm::interleaved(shape, ",") << "]";
  return text;
}

std::string listed(const std::string &title, std::vector<std::string> lines) {
  if (lines.empty())
    return "";
  size_t count = lines.size();
  std::string text = "\n  " + std::to_string(count) + (count == 1 ? " tensor" : " tensors") + " " + title + ":";
  for (size_t i = 0; i < std::min(count, kShown); ++i)
    text += "\n    " + lines[i];
  return count > kShown ? text + "\n    and " + std::to_string(count - kShown) + " more" : text;
}

} // namespace

WeightFolder::WeightFolder(const std::string &folder, bool isDiffusers, const std::string &model)
    : folder(folder), model(model), isDiffusers(isDiffusers) {
  const std::string stem = isDiffusers ? "diffusion_pytorch_model" : "model";
  const std::string single = stem + ".safetensors", index = single + ".index.json";
  bool hasSingle = isThere(fs::path(folder) / single), hasIndex = isThere(fs::path(folder) / index);
  // Where there are both, each library has its own preference.
  if (hasIndex && (isDiffusers || !hasSingle))
    readIndex(index);
  else if (hasSingle)
    readShard(single, nullptr);
  else
    readVariant(stem);
}

void WeightFolder::readVariant(const std::string &stem) {
  // Files of another precision: "model.fp16.safetensors".
  std::set<std::string> variants;
  std::error_code error;
  for (const fs::directory_entry &entry : fs::directory_iterator(folder, error)) {
    std::string name = entry.path().filename();
    if (StringRef(name).starts_with(stem + ".") &&
        (StringRef(name).ends_with(".safetensors.index.json") ||
         (StringRef(name).ends_with(".safetensors") && !StringRef(name).contains("-of-"))))
      variants.insert(name);
  }
  if (variants.size() > 1)
    throw ImportError(folder + ": has no " + stem + ".safetensors, but several variants of it: " +
                      llvm::join(variants, ", ") + "; leave one of them, or link it to " + stem + ".safetensors");
  if (variants.empty())
    noSafetensors();
  const std::string &only = *variants.begin();
  return StringRef(only).ends_with(".json") ? readIndex(only) : readShard(only, nullptr);
}

void WeightFolder::noSafetensors() const {
  std::string pickle;
  std::error_code error;
  for (const fs::directory_entry &entry : fs::directory_iterator(folder, error)) {
    std::string name = entry.path().filename();
    for (const char *suffix : {".bin", ".pt", ".pth", ".ckpt", ".pkl"})
      if (StringRef(name).ends_with(suffix) && (pickle.empty() || name < pickle))
        pickle = name;
  }
  std::string wanted = isDiffusers ? "diffusion_pytorch_model.safetensors" : "model.safetensors";
  if (!pickle.empty())
    throw ImportError(
        folder + ": has its weights as a Python pickle (" + pickle +
        "), which can run any program when it is read; save the model with safe_serialization=True, which "
        "makes " +
        wanted);
  throw ImportError(folder + ": has no " + wanted + " and no " + wanted +
                    ".index.json beside its config.json; download the model's weights, too");
}

void WeightFolder::readIndex(const std::string &name) {
  std::string path = folder + "/" + name;
  Json json = readJson(path, {64ull << 20, 8});
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    throw ImportError(path + ": has no 'weight_map' that leads from tensors to files; download the index again");
  std::map<std::string, std::map<std::string, std::string>> shards; // file → its tensors
  for (const auto &[tensor, file] : json["weight_map"].items()) {
    auto fail = [&](const std::string &problem) {
      throw ImportError(path + ": the tensor '" + tensor + "' is said to be in " +
                        file.dump(-1, ' ', false, Json::error_handler_t::replace) + ", " + problem);
    };
    if (!file.is_string())
      fail("which is no file name");
    const std::string &shard = file.get_ref<const std::string &>();
    if (shard.empty() || shard.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos || shard == "." ||
        shard == "..")
      fail("which isn't the plain name of a file in the folder; put the shards beside the index");
    if (!StringRef(shard).ends_with(".safetensors"))
      fail("which is no safetensors file; save the model with safe_serialization=True");
    shards[shard].emplace(tensor, shard);
  }
  std::vector<std::string> absent;
  for (const auto &[shard, contents] : shards)
    if (!isThere(fs::path(folder) / shard))
      absent.push_back(shard);
  if (!absent.empty())
    throw ImportError(path + ": names files that aren't there: " + llvm::join(absent, ", ") + "; download them");
  std::map<std::string, std::string> all;
  for (const auto &[shard, contents] : shards)
    all.insert(contents.begin(), contents.end());
  for (const auto &[shard, contents] : shards)
    readShard(shard, &all);
  std::vector<std::string> lines;
  for (const auto &[tensor, shard] : all)
    if (!tensors.contains(tensor))
      lines.push_back(tensor + " (said to be in " + shard + ")");
  if (!lines.empty())
    throw ImportError(path + ": index and shards don't belong together; download both again" +
                      listed("in no shard", lines));
}

void WeightFolder::readShard(const std::string &name, const std::map<std::string, std::string> *index) {
  std::string path = folder + "/" + name;
  SafetensorsFile file = readSafetensors(path);
  std::vector<std::string> stray;
  for (SafetensorsTensor &tensor : file.tensors) {
    if (index) {
      auto found = index->find(tensor.name);
      if (found == index->end())
        stray.push_back(tensor.name + " (not in the index)");
      else if (found->second != name)
        stray.push_back(tensor.name + " (said to be in " + found->second + ")");
    }
    std::string key = tensor.name;
    tensors.try_emplace(key, Tensor{std::move(tensor), unsigned(files.size()), {}});
  }
  if (!stray.empty())
    throw ImportError(path + ": index and shards don't belong together; download both again" +
                      listed("in the wrong shard", stray));
  files.push_back(name);
}

std::string WeightFolder::commonType() const {
  std::map<std::string, uint64_t> bytes;
  for (const auto &entry : tensors)
    if (StringRef type = entry.second.description.dtype;
        type == "F32" || type == "F16" || type == "BF16" || type == "F64")
      bytes[type.str()] += entry.second.description.length;
  auto most = std::max_element(bytes.begin(), bytes.end(), [](auto &a, auto &b) { return a.second < b.second; });
  return most == bytes.end() ? "" : most->first;
}

int64_t WeightFolder::numBlocks(const std::string &prefix) const {
  int64_t count = 0;
  for (const auto &entry : tensors) {
    StringRef rest = entry.first();
    int64_t number;
    if (rest.consume_front(prefix) && rest.consume_front(".") && !rest.consumeInteger(10, number) &&
        rest.starts_with("."))
      count = std::max(count, number + 1);
  }
  return count;
}

Value WeightFolder::weight(GraphBuilder &g, const std::string &name, ArrayRef<int64_t> shape, Type type) {
  Type f32 = g.b.getF32Type();
  auto found = tensors.find(name);
  // What is wrong is noted; a stand-in, which nobody will read, lets the builder go on.
  auto standIn = [&] {
    auto ref = WeightRefAttr::get(type.getContext(), "", 0, 0);
    return g.cast(function->weight(named(name), ref, RankedTensorType::get(shape, f32), g.loc), type);
  };
  if (found == tensors.end()) {
    missing.push_back(named(name) + " " + shapeText(shape));
    return standIn();
  }
  Tensor &tensor = found->second;
  const SafetensorsTensor &is = tensor.description;
  if (ArrayRef<int64_t>(is.shape) != shape) {
    misshapen.push_back(named(name) + " is " + shapeText(is.shape) + ", the configuration wants " + shapeText(shape));
    tensor.value = standIn();
    return tensor.value;
  }
  Type stored = safetensorsType(type.getContext(), is.dtype);
  if (!isa_and_nonnull<FloatType>(stored)) {
    misshapen.push_back(named(name) + " has elements of type " + is.dtype + ", floating-point numbers are wanted");
    tensor.value = standIn();
    return tensor.value;
  }
  if (!tensor.value) {
    ++numWeights;
    auto rankedType = RankedTensorType::get(shape, stored);
    numParameters += rankedType.getNumElements();
    numBytes += is.length;
    auto ref = WeightRefAttr::get(type.getContext(), path(tensor.file), is.offset, is.length);
    std::string full = named(name);
    tensor.value = function->weight(full, ref, rankedType, NameLoc::get(g.b.getStringAttr(full)));
  }
  return g.cast(tensor.value, type);
}

void WeightFolder::addProblems(WeightProblems &problems) const {
  std::vector<std::string> extra;
  for (const auto &entry : tensors)
    if (!entry.second.value &&
        llvm::none_of(ignored, [&](const std::string &prefix) { return entry.first().starts_with(prefix); }))
      extra.push_back(named(entry.first()) + " " + shapeText(entry.second.description.shape));
  llvm::sort(extra);
  llvm::append_range(problems.missing, missing);
  llvm::append_range(problems.misshapen, misshapen);
  llvm::append_range(problems.extra, extra);
}

std::string WeightProblems::text() const {
  return listed("missing", missing) + listed("of another shape or type", misshapen) +
         listed("that no model of this configuration has", extra);
}

std::vector<std::string> WeightFolder::usedFiles() const {
  std::set<unsigned> used;
  for (const auto &entry : tensors)
    if (entry.second.value)
      used.insert(entry.second.file);
  std::vector<std::string> names;
  for (unsigned file : used)
    names.push_back(path(file));
  return names;
}
