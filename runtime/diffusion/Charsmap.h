//===- Charsmap.h - sentencepiece's precompiled normaliser -----------------===//
//
// A blob: the size of a double-array trie (darts-clone), the trie's 32-bit units, and texts that end with a zero byte.
// A key's value is where its replacement begins.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_DIFFUSION_CHARSMAP_H
#define FLAME_DIFFUSION_CHARSMAP_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flame::diffusion {

class Charsmap {
public:
  Charsmap() = default; // changes nothing
  /// Throws Error(FLAME_BAD_DATA), naming `file`, where the blob's parts do not fit together.
  Charsmap(std::string_view blob, const std::string &file);

  /// Replaces grapheme clusters of less than six bytes, and characters, as tokenizers does: by what their shortest
  /// beginning in the trie becomes.
  std::string normalize(std::string_view text) const;

private:
  std::optional<std::string_view> replacement(std::string_view part) const;

  std::vector<uint32_t> units;
  std::string texts;
};

} // namespace flame::diffusion

#endif
