//===- AddedTokens.cpp - tokens that are found in the text itself ----------===//

#include "AddedTokens.h"

#include "Unicode.h"

#include <algorithm>
#include <map>

namespace flame::diffusion {

namespace {

/// A string, or an object as AddedToken is written.
AddedToken tokenOf(const Json &json) {
  AddedToken token;
  if (json.isString()) {
    token.content = json.string();
    return token;
  }
  token.content = json.at("content").string();
  token.lstrip = json.boolean("lstrip", false);
  token.rstrip = json.boolean("rstrip", false);
  token.normalized = json.boolean("normalized", !json.boolean("special", true));
  if (json.boolean("single_word", false))
    json.fail("single_word is not supported: remove it where whole words need not be told apart");
  return token;
}

constexpr const char *kNamed[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                  "pad_token", "cls_token", "mask_token"};

} // namespace

std::vector<AddedToken> AddedTokens::read(const Json *config, const Json *specialTokensMap, const Json *tokenizer) {
  std::vector<AddedToken> tokens;
  const auto add = [&](AddedToken token) {
    if (!token.content.empty() && std::none_of(tokens.begin(), tokens.end(),
                                               [&](const AddedToken &known) { return known.content == token.content; }))
      tokens.push_back(std::move(token));
  };
  const auto addNamed = [&](const Json &from) {
    for (const char *name : kNamed)
      if (const auto token = from.find(name))
        add(tokenOf(*token));
    for (const char *name : {"additional_special_tokens", "extra_special_tokens"})
      if (const auto list = from.find(name); list && list->isArray())
        for (size_t i = 0; i < list->size(); ++i)
          add(tokenOf(list->at(i)));
  };
  const auto decoder = config ? config->find("added_tokens_decoder") : std::nullopt;
  if (decoder) {
    std::map<int64_t, AddedToken> byId;
    decoder->members([&](const std::string &id, const Json &token) {
      const bool digits = !id.empty() && id.size() < 10 && id.find_first_not_of("0123456789") == std::string::npos;
      if (!digits)
        token.fail("must be named by the token's id");
      AddedToken added = tokenOf(token);
      added.id = static_cast<int32_t>(std::stol(id));
      byId.emplace(added.id, std::move(added));
    });
    for (auto &[id, token] : byId)
      add(std::move(token));
  } else {
    if (specialTokensMap)
      addNamed(*specialTokensMap);
    if (tokenizer)
      if (const auto list = tokenizer->find("added_tokens"))
        for (size_t i = 0; i < list->size(); ++i)
          add(tokenOf(list->at(i)));
  }
  if (config)
    addNamed(*config);
  return tokens;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, std::function<std::string(std::string_view)> normalize)
    : normalize(std::move(normalize)) {
  for (const AddedToken &token : tokens) {
    std::string pattern = token.normalized ? this->normalize(token.content) : token.content;
    if (pattern.empty())
      continue;
    auto &entries = (token.normalized ? normalized : raw)[static_cast<unsigned char>(pattern[0])];
    entries.push_back({std::move(pattern), token.id, token.lstrip, token.rstrip});
  }
  for (Index *index : {&raw, &normalized})
    for (auto &entries : *index)
      std::stable_sort(entries.begin(), entries.end(),
                       [](const Entry &a, const Entry &b) { return a.pattern.size() > b.pattern.size(); });
}

void AddedTokens::cut(std::string_view text, const Index &index, std::vector<TextPart> &parts) {
  size_t done = 0; // everything before belongs to a part
  // Matches are leftmost, then longest, and don't overlap; white space that a match takes along is not searched for
  // the end of the next one.
  for (size_t at = 0; at < text.size();) {
    const auto &entries = index[static_cast<unsigned char>(text[at])];
    const auto entry = std::find_if(entries.begin(), entries.end(),
                                    [&](const Entry &e) { return text.compare(at, e.pattern.size(), e.pattern) == 0; });
    if (entry == entries.end()) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + entry->pattern.size();
    at = end;
    if (entry->lstrip)
      while (begin > done) {
        size_t previous = begin - 1;
        while (previous > done && (static_cast<unsigned char>(text[previous]) & 0xC0) == 0x80)
          --previous;
        size_t after = previous;
        if (!unicode::isSpace(unicode::next(text, after)))
          break;
        begin = previous;
      }
    if (entry->rstrip)
      while (end < text.size()) {
        size_t after = end;
        if (!unicode::isSpace(unicode::next(text, after)))
          break;
        end = after;
      }
    begin = std::max(begin, done);
    end = std::max(end, begin);
    if (done < begin)
      parts.push_back({std::string(text.substr(done, begin - done)), -1});
    parts.push_back({std::string(text.substr(begin, end - begin)), entry->id});
    done = end;
  }
  if (done < text.size())
    parts.push_back({std::string(text.substr(done)), -1});
}

std::vector<TextPart> AddedTokens::split(std::string_view text) const {
  std::vector<TextPart> first, parts;
  cut(text, raw, first);
  for (TextPart &part : first)
    if (part.id >= 0)
      parts.push_back(std::move(part));
    else
      cut(normalize(part.text), normalized, parts);
  return parts;
}

} // namespace flame::diffusion
