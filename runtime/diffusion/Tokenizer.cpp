//===- Tokenizer.cpp - text to token ids -----------------------------------===//

#include "Tokenizer.h"

#include "Error.h"
#include "Files.h"
#include "TokenizerFiles.h"
#include "Unicode.h"

#include <algorithm>

namespace flame::diffusion {

std::vector<int32_t> Tokenizer::tokens(std::string_view text) const {
  if (const size_t bad = unicode::firstInvalid(text); bad != std::string_view::npos)
    rt::fail(FLAME_INVALID_ARGUMENT, "the text is no valid UTF-8 at byte ", bad);
  std::vector<int32_t> ids;
  for (const TextPart &part : added.split(text))
    if (part.id >= 0)
      ids.push_back(part.id);
    else
      encodeText(part.text, ids);
  return ids;
}

Encoding Tokenizer::encode(std::string_view text, size_t length) const {
  if (length == 0)
    length = maximum;
  const size_t special = (first >= 0) + (last >= 0);
  if (length < special + 1)
    rt::fail(FLAME_INVALID_ARGUMENT, "a text of ", length, " tokens has no place for one beside the ", special,
             " that every text gets; ask for at least ", special + 1);
  const std::vector<int32_t> all = tokens(text);
  const size_t kept = std::min(all.size(), length - special);
  Encoding encoding;
  encoding.dropped = all.size() - kept;
  encoding.ids.reserve(length);
  if (first >= 0)
    encoding.ids.push_back(first);
  encoding.ids.insert(encoding.ids.end(), all.begin(), all.begin() + kept);
  if (last >= 0)
    encoding.ids.push_back(last);
  encoding.used = encoding.ids.size();
  encoding.ids.resize(length, padding);
  return encoding;
}

TokenizerFiles::TokenizerFiles(const std::string &folder) : folder(folder) {
  const auto load = [&](const char *name) -> std::optional<Json> {
    if (!fileExists(path(name)))
      return std::nullopt;
    auto json = Json::load(path(name));
    if (!json.isObject())
      json.fail("must be an object");
    return json;
  };
  config = load("tokenizer_config.json");
  specialTokensMap = load("special_tokens_map.json");
  tokenizer = load("tokenizer.json");
}

std::string TokenizerFiles::path(const char *name) const { return joinPath(folder, name); }

std::string TokenizerFiles::named(const char *name, const char *otherwise) const {
  // Without added_tokens_decoder, special_tokens_map.json has the last word, as in transformers.
  const bool legacy = !config || !config->find("added_tokens_decoder");
  for (const auto *source : {legacy ? &specialTokensMap : &config, &config})
    if (*source)
      if (const auto token = (*source)->find(name))
        return token->isString() ? token->string() : token->at("content").string();
  return otherwise;
}

size_t TokenizerFiles::modelMaxLength() const {
  const auto length = config ? config->find("model_max_length") : std::nullopt;
  if (!length || length->number() > 1e9)
    return 0;
  return static_cast<size_t>(length->integer(1, 1'000'000'000));
}

std::vector<AddedToken> TokenizerFiles::addedTokens(Vocabulary &vocabulary,
                                                    const std::vector<std::string> &always) const {
  auto tokens = AddedTokens::read(config ? &*config : nullptr, specialTokensMap ? &*specialTokensMap : nullptr,
                                  tokenizer ? &*tokenizer : nullptr);
  for (const std::string &content : always)
    if (std::none_of(tokens.begin(), tokens.end(), [&](const AddedToken &t) { return t.content == content; }))
      tokens.push_back({content});
  int32_t next = static_cast<int32_t>(vocabulary.size());
  for (AddedToken &token : tokens) {
    const auto [entry, isNew] = vocabulary.emplace(token.content, next);
    next += isNew;
    if (token.id >= 0 && token.id != entry->second)
      config->fail(rt::cat("gives the token '", token.content, "' the id ", token.id, ", the vocabulary of ", folder,
                           " the id ", entry->second, ": the files are not of one model"));
    token.id = entry->second;
  }
  return tokens;
}

std::unique_ptr<Tokenizer> loadTokenizer(const std::string &folder) {
  const TokenizerFiles files(folder);
  std::string name = files.config ? files.config->string("tokenizer_class", "") : "";
  if (name.ends_with("Fast"))
    name.resize(name.size() - 4);
  if (name.empty() || name == "PreTrainedTokenizer" || name == "TokenizersBackend") {
    std::string model;
    if (files.tokenizer)
      model = files.tokenizer->at("model").string("type", "");
    if (fileExists(files.path("merges.txt")) || model == "BPE")
      name = "CLIPTokenizer";
    else if (fileExists(files.path("spiece.model")) || model == "Unigram")
      name = "T5Tokenizer";
    else
      rt::fail(FLAME_IO, folder,
               " is no tokenizer: it has neither tokenizer.json, nor vocab.json with merges.txt, nor spiece.model");
  }
  if (name == "CLIPTokenizer")
    return makeClipTokenizer(files);
  if (name == "T5Tokenizer")
    return makeT5Tokenizer(files);
  rt::fail(FLAME_UNSUPPORTED, files.path("tokenizer_config.json"), ": tokenizers of the class '", name,
           "' are not supported; CLIPTokenizer and T5Tokenizer are");
}

} // namespace flame::diffusion
