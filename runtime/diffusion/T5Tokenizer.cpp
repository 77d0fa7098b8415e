//===- T5Tokenizer.cpp - unigram pieces as T5 has them ---------------------===//
//
// Text is normalised by the model's character map and cut at white space; each word gets "▁" in front, is cut before
// every further "▁", and goes through the unigram model.
//
//===----------------------------------------------------------------------===//

#include "Charsmap.h"
#include "Error.h"
#include "Files.h"
#include "SentencePieceModel.h"
#include "Tokenizer.h"
#include "TokenizerFiles.h"
#include "Unicode.h"

#include <array>
#include <limits>

namespace flame::diffusion {

namespace {

constexpr std::string_view kSpace = "\xE2\x96\x81"; // "▁"

std::string decodeBase64(const std::string &text, const Json &place) {
  static const auto values = [] {
    std::array<int8_t, 256> table;
    table.fill(-1);
    constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < digits.size(); ++i)
      table[static_cast<unsigned char>(digits[i])] = static_cast<int8_t>(i);
    return table;
  }();
  std::string_view digits = text;
  for (int i = 0; i < 2 && digits.ends_with('='); ++i)
    digits.remove_suffix(1);
  if (text.size() % 4 || digits.size() % 4 == 1)
    place.fail("is no base64: its length is wrong");
  std::string out;
  out.reserve(digits.size() * 3 / 4);
  uint32_t bits = 0;
  int have = 0;
  for (const char c : digits) {
    const int8_t value = values[static_cast<unsigned char>(c)];
    if (value < 0)
      place.fail("is no base64: it has other characters");
    bits = bits << 6 | static_cast<uint32_t>(value);
    have += 6;
    if (have >= 8) {
      have -= 8;
      out += static_cast<char>(bits >> have & 0xFF);
    }
  }
  return out;
}

class T5Tokenizer final : public Tokenizer {
public:
  explicit T5Tokenizer(const TokenizerFiles &files) {
    std::vector<Piece> pieces;
    int32_t unknown = 0;
    if (files.tokenizer)
      unknown = readJson(*files.tokenizer, pieces);
    else
      unknown = readModel(files, pieces);
    Vocabulary vocabulary;
    for (size_t i = 0; i < pieces.size(); ++i)
      vocabulary[pieces[i].text] = static_cast<int32_t>(i);
    const std::string eosToken = files.named("eos_token", "</s>"), padToken = files.named("pad_token", "<pad>");
    std::vector<std::string> always = {eosToken, files.named("unk_token", "<unk>"), padToken};
    for (int64_t i = 0, n = sentinelCount(files); i < n; ++i)
      always.push_back(rt::cat("<extra_id_", i, ">"));
    const auto tokens = files.addedTokens(vocabulary, always);
    last = vocabulary.at(eosToken);
    padding = vocabulary.at(padToken);
    maximum = files.modelMaxLength() ? files.modelMaxLength() : 512;
    for (const auto &[token, id] : vocabulary)
      count = std::max(count, id + 1);
    model = Unigram(pieces, unknown);
    added = AddedTokens(tokens, [this](std::string_view text) { return charsmap.normalize(text); });
  }
  T5Tokenizer(const T5Tokenizer &) = delete; // `added` refers to this one

protected:
  void encodeText(std::string_view text, std::vector<int32_t> &ids) const override {
    for (size_t at = 0; at < text.size();) {
      size_t end = at, after = at;
      while (after < text.size() && !unicode::isSpace(unicode::next(text, after)))
        end = after;
      if (end > at)
        encodeWord(text.substr(at, end - at), ids);
      at = std::max(after, end);
    }
  }

private:
  static int64_t sentinelCount(const TokenizerFiles &files) {
    return files.config ? files.config->integer("extra_ids", 100, 0, 10'000) : 100;
  }

  /// The pieces and the character map of tokenizer.json; returns the unknown id.
  int32_t readJson(const Json &file, std::vector<Piece> &pieces) {
    const Json model = file.at("model");
    if (const std::string type = model.string("type", "Unigram"); type != "Unigram")
      model.fail("is of the type '" + type + "'; T5Tokenizer needs Unigram");
    if (model.boolean("byte_fallback", false))
      model.fail("has byte_fallback, which is not supported");
    const Json list = model.at("vocab");
    if (!list.isArray() || list.size() == 0 || list.size() > static_cast<size_t>(kMostTokens))
      list.fail("must be an array of [token, score], with one element at least");
    pieces.reserve(list.size());
    for (size_t i = 0; i < list.size(); ++i) {
      const Json piece = list.at(i);
      pieces.push_back({piece.at(0).string(), piece.at(1).number()});
    }
    if (const auto normalizer = file.find("normalizer")) {
      const auto take = [&](const Json &json) {
        if (json.string("type", "") == "Precompiled")
          if (const auto map = json.find("precompiled_charsmap"))
            charsmap = Charsmap(decodeBase64(map->string(), *map), file.file());
      };
      if (normalizer->string("type", "") == "Sequence") {
        const Json parts = normalizer->at("normalizers");
        for (size_t i = 0; i < parts.size(); ++i)
          take(parts.at(i));
      } else {
        take(*normalizer);
      }
    }
    return static_cast<int32_t>(model.at("unk_id").integer(0, static_cast<int64_t>(pieces.size()) - 1));
  }

  /// The same of spiece.model, which lacks the sentinels; they stand behind its pieces, the first one last.
  int32_t readModel(const TokenizerFiles &files, std::vector<Piece> &pieces) {
    const std::string path = files.path("spiece.model");
    SentencePieceModel file(readFile(path), path);
    pieces = std::move(file.pieces);
    for (int64_t i = sentinelCount(files); i-- > 0;)
      pieces.push_back({rt::cat("<extra_id_", i, ">"), 0});
    if (!file.charsmap.empty())
      charsmap = Charsmap(file.charsmap, path);
    return file.unknown;
  }

  void encodeWord(std::string_view word, std::vector<int32_t> &ids) const {
    std::string text;
    if (!word.starts_with(kSpace))
      text = kSpace;
    text += word;
    for (size_t begin = 0; begin < text.size();) {
      const size_t end = std::min(text.find(kSpace, begin + kSpace.size()), text.size());
      model.encode(std::string_view(text).substr(begin, end - begin), ids);
      begin = end;
    }
  }

  Charsmap charsmap;
  Unigram model;
};

} // namespace

std::unique_ptr<Tokenizer> makeT5Tokenizer(const TokenizerFiles &files) { return std::make_unique<T5Tokenizer>(files); }

} // namespace flame::diffusion
