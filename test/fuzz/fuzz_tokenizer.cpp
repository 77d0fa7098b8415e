//===- fuzz_tokenizer.cpp - a tokenizer's files, and texts for it ----------===//
//
// The first byte says which file the rest up to the separator is; what follows the separator is a text. Whatever the
// files hold, loading gives a tokenizer or an error, and a tokenizer gives ids within its range, no more than it was
// asked for.
//
//===----------------------------------------------------------------------===//

#include "Error.h"
#include "Files.h"
#include "Tokenizer.h"

#include <cstdlib>
#include <filesystem>
#include <string>

using namespace flame;
using namespace flame::diffusion;

namespace {

constexpr std::string_view kSeparator = "\n----\n";

const char *const kClipVocabulary =
    R"({"a":0,"b":1,"c":2,"a</w>":3,"b</w>":4,"c</w>":5,"ab":6,"abc</w>":7,"<|startoftext|>":8,"<|endoftext|>":9})";
const char *const kClipMerges = "#version: 0.2\na b\nab c</w>\n";
const char *const kT5 =
    R"({"model":{"type":"Unigram","unk_id":2,"vocab":[["<pad>",0],["</s>",0],["<unk>",0],["▁",-2],["a",-3],["▁a",-2.5]]}})";

std::string folder() {
  static const std::string path = [] {
    std::string name = "/tmp/fuzz_tokenizer.XXXXXX";
    if (!mkdtemp(name.data()))
      std::abort();
    static const std::string kept = name;
    std::atexit([] { std::filesystem::remove_all(kept); });
    return name;
  }();
  return path;
}

void put(const char *name, std::string_view text) { writeFile(joinPath(folder(), name), text.data(), text.size()); }

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size == 0)
    return 0;
  static const char *const names[] = {
      "vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.json", "spiece.model"};
  for (const auto &entry : std::filesystem::directory_iterator(folder()))
    std::filesystem::remove(entry.path());
  const unsigned which = data[0] % 8;
  const std::string_view rest(reinterpret_cast<const char *>(data) + 1, size - 1);
  const size_t end = std::min(rest.find(kSeparator), rest.size());
  const std::string_view text = end == rest.size() ? "<|endoftext|> Ab\u0301c a" : rest.substr(end + kSeparator.size());
  if (which < 4) {
    put("vocab.json", kClipVocabulary);
    put("merges.txt", kClipMerges);
  } else if (which >= 6) { // only the text changes
    put("tokenizer.json", kT5);
  }
  if (which < 6)
    put(names[which], rest.substr(0, end));
  try {
    const auto tokenizer = loadTokenizer(folder());
    const Encoding encoding = tokenizer->encode(which < 6 ? text : rest, 32);
    if (encoding.ids.size() != 32 || encoding.used > 32)
      std::abort();
    for (const int32_t id : encoding.ids)
      if (id < 0 || id >= tokenizer->idCount())
        std::abort();
  } catch (const rt::Error &) {
  }
  return 0;
}
