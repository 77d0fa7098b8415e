//===- ModelConfig.h - the config.json of a model
//---------------------------------------------------------------------===//
//
// Typed access with defaults and ranges. An absent key, or one that is null, has its default; a value of another type
// or out of range throws ImportError, which names the file, the key and what is possible.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_MODELS_MODELCONFIG_H
#define FLAME_MODELS_MODELCONFIG_H

#include "flame/Import/Json.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringRef.h"
#include <optional>

namespace flame {

class ModelConfig {
public:
  /// No dimension, and no number of layers, of any model comes near these.
  static constexpr int64_t kLargestSize = int64_t(1) << 24, kMostLayers = 4096;

  ModelConfig(Json json, std::string file) : json(std::move(json)), file(std::move(file)) {}

  bool has(llvm::StringRef key) const { return find(key) != nullptr; }
  /// Without a default the key is needed.
  int64_t integer(llvm::StringRef key, std::optional<int64_t> otherwise = std::nullopt, int64_t least = 1,
                  int64_t most = kLargestSize) const;
  int64_t layers(llvm::StringRef key, std::optional<int64_t> otherwise = std::nullopt) const {
    return integer(key, otherwise, 0, kMostLayers);
  }
  double number(llvm::StringRef key, std::optional<double> otherwise = std::nullopt) const;
  bool flag(llvm::StringRef key, bool otherwise) const;
  std::string text(llvm::StringRef key, std::optional<std::string> otherwise = std::nullopt) const;
  llvm::SmallVector<int64_t> integers(llvm::StringRef key,
                                      std::optional<llvm::SmallVector<int64_t>> otherwise = std::nullopt,
                                      int64_t least = 1, int64_t most = kLargestSize) const;
  std::vector<std::string> texts(llvm::StringRef key, std::vector<std::string> otherwise) const;

  /// Throws about a key: "<file>: <key> is <value>; <problem>".
  [[noreturn]] void fail(llvm::StringRef key, const std::string &problem,
                         ImportStatus status = ImportStatus::BadInput) const;
  /// `count` as parts of `whole`; throws unless it divides it.
  int64_t divide(llvm::StringRef wholeKey, int64_t whole, llvm::StringRef countKey, int64_t count) const;
  /// Throws unless the key, where it is there, has this value: what the builder takes for granted.
  void expect(llvm::StringRef key, const Json &value) const;

  const Json json;
  const std::string file;

private:
  const Json *find(llvm::StringRef key) const;
  [[noreturn]] void missing(llvm::StringRef key) const;
  int64_t asInteger(llvm::StringRef key, const Json &value, int64_t least, int64_t most) const;
};

} // namespace flame

#endif // FLAME_MODELS_MODELCONFIG_H
