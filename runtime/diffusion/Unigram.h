//===- Unigram.h - the unigram language model of sentencepiece -------------===//
#ifndef FLAME_DIFFUSION_UNIGRAM_H
#define FLAME_DIFFUSION_UNIGRAM_H

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace flame::diffusion {

struct Piece {
  std::string text;
  double score; // a logarithm of its probability
};

/// Cuts a text into the pieces whose scores have the greatest sum.
class Unigram {
public:
  Unigram() = default;
  /// Ids are positions in `pieces`; `unknown` is the id of what no piece covers, a character each, neighbours joined.
  /// Empty pieces are never found. The unknown id must be one of a piece.
  Unigram(const std::vector<Piece> &pieces, int32_t unknown);

  /// Appends the ids of a text, which is valid UTF-8.
  void encode(std::string_view text, std::vector<int32_t> &ids) const;

private:
  int32_t child(int32_t node, unsigned char byte) const;
  /// The id of the piece with this text, or -1.
  int32_t find(std::string_view text) const;

  struct Node {
    int32_t id = -1; // of the piece that ends here
  };
  std::vector<Node> nodes;                        // a trie over bytes; 0 is its root
  std::unordered_map<uint64_t, int32_t> children; // (node, byte) to node
  std::vector<double> scores;
  double unknownScore = 0;
  int32_t unknown = -1;
};

} // namespace flame::diffusion

#endif
