//===- TokenizerFiles.h - what a tokenizer's folder holds ------------------===//
#ifndef FLAME_DIFFUSION_TOKENIZERFILES_H
#define FLAME_DIFFUSION_TOKENIZERFILES_H

#include "AddedTokens.h"
#include "Json.h"

#include <optional>
#include <string>
#include <unordered_map>

namespace flame::diffusion {

class Tokenizer;

/// Ids by token.
using Vocabulary = std::unordered_map<std::string, int32_t>;
/// More tokens than any model has; ids above are refused.
inline constexpr int64_t kMostTokens = 1 << 24;

/// The JSON files of a folder that are there, parsed.
struct TokenizerFiles {
  explicit TokenizerFiles(const std::string &folder);

  std::string path(const char *name) const;
  /// "bos_token" and the like: the content of what the configuration names so, or the default.
  std::string named(const char *name, const char *otherwise) const;
  /// model_max_length; 0 where the configuration has none (transformers writes 1e30).
  size_t modelMaxLength() const;
  /// The added tokens with their ids: those of `vocabulary`, which gains the ones that it lacks.
  std::vector<AddedToken> addedTokens(Vocabulary &vocabulary, const std::vector<std::string> &always) const;

  std::string folder;
  std::optional<Json> config, specialTokensMap, tokenizer;
};

std::unique_ptr<Tokenizer> makeClipTokenizer(const TokenizerFiles &files);
std::unique_ptr<Tokenizer> makeT5Tokenizer(const TokenizerFiles &files);

} // namespace flame::diffusion

#endif
