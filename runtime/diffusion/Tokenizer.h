//===- Tokenizer.h - text to token ids -------------------------------------===//
//
// Tokenizers of text encoders, read from a folder as transformers saves it. Ids are those of transformers'
// CLIPTokenizer and T5Tokenizer (version 5; the "fast" ones of version 4).
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_DIFFUSION_TOKENIZER_H
#define FLAME_DIFFUSION_TOKENIZER_H

#include "AddedTokens.h"

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace flame::diffusion {

/// A text as a model takes it.
struct Encoding {
  std::vector<int32_t> ids; // padded to the length that was asked for
  size_t used = 0;          // ids before the padding, special ones included
  size_t dropped = 0;       // tokens of the text that did not fit
};

class Tokenizer {
public:
  virtual ~Tokenizer() = default;

  /// All ids of a text, without those that encode adds at its ends. Errors: FLAME_INVALID_ARGUMENT where the text is no
  /// valid UTF-8.
  std::vector<int32_t> tokens(std::string_view text) const;
  /// Exactly `length` ids (0: modelMaxLength): special ones at the ends, the text cut where it is too long, padding
  /// behind. Errors: as tokens(); FLAME_INVALID_ARGUMENT where the special ones alone do not fit.
  Encoding encode(std::string_view text, size_t length = 0) const;

  size_t modelMaxLength() const { return maximum; }
  /// Ids that encode adds; -1: none.
  int32_t bos() const { return first; }
  int32_t eos() const { return last; }
  int32_t pad() const { return padding; }
  /// One more than the largest id.
  int32_t idCount() const { return count; }

protected:
  /// Ids of text without added tokens, normalised.
  virtual void encodeText(std::string_view text, std::vector<int32_t> &ids) const = 0;

  AddedTokens added;
  size_t maximum = 0;
  int32_t first = -1, last = -1, padding = -1, count = 0;
};

/// Reads tokenizer_config.json, special_tokens_map.json, and tokenizer.json, vocab.json with merges.txt, or
/// spiece.model, whatever there is. Errors: FLAME_IO, FLAME_BAD_DATA, FLAME_UNSUPPORTED (another class of tokenizer),
/// each naming the file.
std::unique_ptr<Tokenizer> loadTokenizer(const std::string &folder);

} // namespace flame::diffusion

#endif
