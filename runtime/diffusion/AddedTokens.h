//===- AddedTokens.h - tokens that are found in the text itself ------------===//
//
// Special tokens and their like ("<|endoftext|>", "<extra_id_0>"): a text is cut at them before the model sees it.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_DIFFUSION_ADDEDTOKENS_H
#define FLAME_DIFFUSION_ADDEDTOKENS_H

#include "Json.h"

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace flame::diffusion {

struct AddedToken {
  std::string content;
  bool normalized = false; // looked for in the normalised text
  bool lstrip = false;     // takes white space before it along
  bool rstrip = false;     // … and behind it
  int32_t id = -1;
};

/// A part of a text: an added token, or text between them where id is -1.
struct TextPart {
  std::string text;
  int32_t id = -1;
};

class AddedTokens {
public:
  /// The tokens of a folder as transformers finds them: `added_tokens_decoder` of tokenizer_config.json; without one,
  /// special_tokens_map.json and `added_tokens` of tokenizer.json; then what the configuration names as bos, eos, unk
  /// and pad token, then the extra special tokens. Any of the files may be absent.
  static std::vector<AddedToken> read(const Json *config, const Json *specialTokensMap, const Json *tokenizer);

  AddedTokens() = default;
  /// `tokens` have their ids. `normalize` is what the tokenizer does to a text.
  AddedTokens(std::vector<AddedToken> tokens, std::function<std::string(std::string_view)> normalize);

  /// Cuts out tokens that are not normalised, normalises what is between them, cuts out those that are.
  std::vector<TextPart> split(std::string_view text) const;

private:
  struct Entry {
    std::string pattern;
    int32_t id;
    bool lstrip, rstrip;
  };
  /// Patterns by their first byte, the longest first.
  using Index = std::array<std::vector<Entry>, 256>;
  static void cut(std::string_view text, const Index &index, std::vector<TextPart> &parts);

  Index raw, normalized;
  std::function<std::string(std::string_view)> normalize;
};

} // namespace flame::diffusion

#endif
