//===- ClipTokenizer.cpp - byte-level BPE as CLIP has it -------------------===//
//
// Text is composed (NFC), its white space joined, lower-cased, and cut into contractions, runs of letters, single
// numbers, and runs of anything else. Each word's UTF-8 bytes are merged pair by pair, the pair of the lowest rank
// first; the last symbol of a word carries "</w>".
//
//===----------------------------------------------------------------------===//

#include "Error.h"
#include "Files.h"
#include "Tokenizer.h"
#include "TokenizerFiles.h"
#include "Unicode.h"

#include <array>
#include <queue>

namespace flame::diffusion {

using rt::cat;
using rt::fail;

namespace {

constexpr std::string_view kEndOfWord = "</w>";

/// The character that stands for a byte in the vocabulary: itself where it is printable, otherwise one from U+0100 on.
std::array<std::string, 256> byteCharacters() {
  std::array<std::string, 256> characters;
  char32_t other = 0x100;
  for (unsigned b = 0; b < 256; ++b) {
    const bool printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
    unicode::append(characters[b], printable ? b : other++);
  }
  return characters;
}

/// White space joined to one space each, lower case.
std::string normalize(std::string_view text) {
  const std::string composed = unicode::compose(text);
  std::string joined;
  joined.reserve(composed.size());
  bool space = false;
  for (size_t i = 0; i < composed.size();) {
    const size_t begin = i;
    if (unicode::isSpace(unicode::next(composed, i))) {
      if (!space)
        joined += ' ';
      space = true;
    } else {
      joined.append(composed, begin, i - begin);
      space = false;
    }
  }
  return unicode::lower(joined);
}

enum class Class { Space, Letter, Number, Other };

Class classOf(char32_t c) {
  return unicode::isLetter(c)   ? Class::Letter
         : unicode::isNumber(c) ? Class::Number
         : unicode::isSpace(c)  ? Class::Space
                                : Class::Other;
}

/// Where the word ends that begins at `at`, which is no white space. The order of the cases is that of CLIP's regular
/// expression.
size_t wordEnd(std::string_view text, size_t at) {
  const std::string_view rest = text.substr(at);
  for (const std::string_view whole : {"'s", "'t", "'re", "'ve", "'m", "'ll", "'d"})
    if (rest.starts_with(whole))
      return at + whole.size();
  const Class first = classOf(unicode::next(text, at));
  if (first == Class::Number)
    return at;
  while (at < text.size()) {
    size_t after = at;
    if (classOf(unicode::next(text, after)) != first)
      break;
    at = after;
  }
  return at;
}

class ClipTokenizer final : public Tokenizer {
public:
  explicit ClipTokenizer(const TokenizerFiles &files) {
    readVocabulary(files);
    const std::string bosToken = files.named("bos_token", "<|startoftext|>");
    const std::string eosToken = files.named("eos_token", "<|endoftext|>");
    const std::string unkToken = files.named("unk_token", "<|endoftext|>");
    const std::string padToken = files.named("pad_token", "<|endoftext|>");
    const auto tokens = files.addedTokens(vocabulary, {bosToken, eosToken, unkToken, padToken});
    first = vocabulary.at(bosToken);
    last = vocabulary.at(eosToken);
    unknown = vocabulary.at(unkToken);
    padding = vocabulary.at(padToken);
    maximum = files.modelMaxLength() ? files.modelMaxLength() : 77;
    for (const auto &[token, id] : vocabulary)
      count = std::max(count, id + 1);
    const auto characters = byteCharacters();
    for (size_t b = 0; b < 256; ++b) {
      inside[b] = idOf(characters[b]);
      atEnd[b] = idOf(characters[b] + std::string(kEndOfWord));
    }
    added = AddedTokens(tokens, normalize);
    vocabulary.clear(); // merges are by id
  }

protected:
  void encodeText(std::string_view text, std::vector<int32_t> &ids) const override {
    for (size_t at = 0; at < text.size();) {
      size_t after = at;
      if (unicode::isSpace(unicode::next(text, after))) {
        at = after;
        continue;
      }
      // The names of the special tokens are words, which are cut once more into runs of a class.
      const std::string_view rest = text.substr(at);
      bool special = false;
      for (const std::string_view name : {"<|startoftext|>", "<|endoftext|>"})
        if (rest.starts_with(name)) {
          encodeWord("<|", ids);
          encodeWord(name.substr(2, name.size() - 4), ids);
          encodeWord("|>", ids);
          at += name.size();
          special = true;
          break;
        }
      if (special)
        continue;
      const size_t end = wordEnd(text, at);
      encodeWord(text.substr(at, end - at), ids);
      at = end;
    }
  }

private:
  struct Merge {
    int32_t rank, result;
  };
  struct Symbol {
    int32_t id, previous, next; // -1: none; id -1: merged into the one before
  };
  struct Candidate {
    int32_t rank, position, result;
    bool operator>(const Candidate &other) const {
      return rank != other.rank ? rank > other.rank : position > other.position;
    }
  };

  static uint64_t pair(int32_t a, int32_t b) {
    return uint64_t{static_cast<uint32_t>(a)} << 32 | static_cast<uint32_t>(b);
  }

  int32_t idOf(const std::string &token) const {
    const auto entry = vocabulary.find(token);
    return entry == vocabulary.end() ? -1 : entry->second;
  }

  void readVocabulary(const TokenizerFiles &files) {
    if (files.tokenizer) {
      const Json model = files.tokenizer->at("model");
      addTokens(model.at("vocab"));
      const Json list = model.at("merges");
      if (!list.isArray())
        list.fail("must be an array");
      for (size_t i = 0; i < list.size(); ++i) {
        const Json merge = list.at(i);
        if (merge.isArray() && merge.size() == 2)
          addMerge(merge.at(0).string(), merge.at(1).string(), merge);
        else
          addMerge(merge.string(), merge);
      }
      return;
    }
    addTokens(Json::load(files.path("vocab.json")));
    // A pair of tokens a line, after the line "#version: 0.2".
    const std::string path = files.path("merges.txt");
    const std::string text = readFile(path);
    if (const size_t bad = unicode::firstInvalid(text); bad != std::string::npos)
      fail(FLAME_BAD_DATA, path, " is no valid UTF-8 at byte ", bad);
    struct Line {
      const std::string &path;
      size_t number = 0;
      [[noreturn]] void fail(const std::string &problem) const {
        rt::fail(FLAME_BAD_DATA, path, ", line ", number, ": ", problem);
      }
    } line{path};
    for (size_t begin = 0; begin < text.size();) {
      size_t end = text.find('\n', begin);
      end = end == std::string::npos ? text.size() : end;
      std::string content = text.substr(begin, end - begin);
      begin = end + 1;
      ++line.number;
      if (content.ends_with('\r'))
        content.pop_back();
      if (!content.starts_with("#version"))
        addMerge(content, line);
    }
  }

  void addTokens(const Json &tokens) {
    vocabulary.reserve(tokens.size());
    tokens.members([&](const std::string &token, const Json &id) {
      vocabulary.emplace(token, static_cast<int32_t>(id.integer(0, kMostTokens)));
    });
    if (vocabulary.empty())
      tokens.fail("is empty");
  }

  template <typename Place> void addMerge(const std::string &both, const Place &place) {
    const size_t space = both.find(' ');
    if (space == std::string::npos || both.find(' ', space + 1) != std::string::npos)
      place.fail("must be two tokens with one space between them");
    addMerge(both.substr(0, space), both.substr(space + 1), place);
  }

  template <typename Place> void addMerge(const std::string &a, const std::string &b, const Place &place) {
    const auto known = [&](const std::string &token) {
      const int32_t id = idOf(token);
      if (id < 0)
        place.fail("the token '" + token + "' is not in the vocabulary: the files are not of one model");
      return id;
    };
    const int32_t left = known(a), right = known(b);
    merges[pair(left, right)] = {rank++, known(a + b)};
  }

  void encodeWord(std::string_view word, std::vector<int32_t> &ids) const {
    std::vector<Symbol> symbols;
    symbols.reserve(word.size());
    for (size_t i = 0; i < word.size(); ++i) {
      const auto &table = i + 1 == word.size() ? atEnd : inside;
      const int32_t id = table[static_cast<unsigned char>(word[i])];
      const auto own = static_cast<int32_t>(i);
      symbols.push_back({id < 0 ? unknown : id, own - 1, i + 1 == word.size() ? -1 : own + 1});
    }
    std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
    const auto propose = [&](int32_t position) {
      if (position < 0 || symbols[position].next < 0)
        return;
      const auto merge = merges.find(pair(symbols[position].id, symbols[symbols[position].next].id));
      if (merge != merges.end())
        queue.push({merge->second.rank, position, merge->second.result});
    };
    for (size_t i = 0; i < symbols.size(); ++i)
      propose(static_cast<int32_t>(i));
    while (!queue.empty()) {
      const Candidate top = queue.top();
      queue.pop();
      Symbol &left = symbols[top.position];
      if (left.id < 0 || left.next < 0)
        continue;
      Symbol &right = symbols[left.next];
      const auto merge = merges.find(pair(left.id, right.id));
      if (merge == merges.end() || merge->second.result != top.result)
        continue; // one of the two has merged with another symbol since
      left.id = top.result;
      right.id = -1;
      left.next = right.next;
      if (left.next >= 0)
        symbols[left.next].previous = top.position;
      propose(left.previous);
      propose(top.position);
    }
    for (const Symbol &symbol : symbols)
      if (symbol.id >= 0)
        ids.push_back(symbol.id);
  }

  Vocabulary vocabulary;
  std::unordered_map<uint64_t, Merge> merges;
  int32_t rank = 0, unknown = -1;
  std::array<int32_t, 256> inside, atEnd; // of each byte of a word
};

} // namespace

std::unique_ptr<Tokenizer> makeClipTokenizer(const TokenizerFiles &files) {
  return std::make_unique<ClipTokenizer>(files);
}

} // namespace flame::diffusion
