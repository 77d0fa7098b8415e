//===- Unigram.cpp - the unigram language model of sentencepiece -----------===//
//
// Viterbi's algorithm over a trie of the pieces. Sums are taken in the order of tokenizers, in f64, and an equal sum
// does not replace a former one: ids agree where two ways of cutting are as good.
//
//===----------------------------------------------------------------------===//

#include "Unigram.h"

#include "Unicode.h"

#include <algorithm>
#include <limits>

namespace flame::diffusion {

namespace {

constexpr double kUnknownPenalty = 10; // below the least score

uint64_t edge(int32_t node, unsigned char byte) { return uint64_t{static_cast<uint32_t>(node)} << 8 | byte; }

} // namespace

Unigram::Unigram(const std::vector<Piece> &pieces, int32_t unknown) : unknown(unknown) {
  nodes.emplace_back();
  double least = std::numeric_limits<double>::infinity();
  size_t bytes = 0;
  for (const Piece &piece : pieces)
    bytes += piece.text.size();
  children.reserve(bytes / 2);
  for (size_t id = 0; id < pieces.size(); ++id) {
    const Piece &piece = pieces[id];
    scores.push_back(piece.score);
    least = std::min(least, piece.score);
    int32_t node = 0;
    for (const char c : piece.text) {
      const auto [entry, isNew] =
          children.emplace(edge(node, static_cast<unsigned char>(c)), static_cast<int32_t>(nodes.size()));
      if (isNew)
        nodes.emplace_back();
      node = entry->second;
    }
    if (node)
      nodes[node].id = static_cast<int32_t>(id); // of two equal pieces the later one
  }
  unknownScore = least - kUnknownPenalty;
}

int32_t Unigram::child(int32_t node, unsigned char byte) const {
  const auto entry = children.find(edge(node, byte));
  return entry == children.end() ? -1 : entry->second;
}

int32_t Unigram::find(std::string_view text) const {
  int32_t node = 0;
  for (size_t i = 0; i < text.size() && node >= 0; ++i)
    node = child(node, static_cast<unsigned char>(text[i]));
  return node < 0 ? -1 : nodes[node].id;
}

void Unigram::encode(std::string_view text, std::vector<int32_t> &ids) const {
  struct End {
    double score = 0;
    size_t begin = std::string_view::npos; // npos: nothing ends here
    int32_t id = -1;
  };
  std::vector<End> ends(text.size() + 1);
  for (size_t at = 0, after = 0; at < text.size(); at = after) {
    unicode::next(text, after);
    const double before = ends[at].score;
    const auto offer = [&](size_t end, int32_t id, double score) {
      if (ends[end].begin == std::string_view::npos || before + score > ends[end].score)
        ends[end] = {before + score, at, id};
    };
    bool covered = false; // the character is a piece
    int32_t node = 0;
    for (size_t i = at; i < text.size(); ++i) {
      node = child(node, static_cast<unsigned char>(text[i]));
      if (node < 0)
        break;
      if (const int32_t id = nodes[node].id; id >= 0) {
        offer(i + 1, id, scores[id]);
        covered |= i + 1 == after;
      }
    }
    if (!covered)
      offer(after, unknown, unknownScore);
  }
  const size_t first = ids.size();
  for (size_t end = text.size(); end > 0;) {
    size_t begin = ends[end].begin;
    int32_t id = ends[end].id;
    if (id == unknown) {
      while (begin > 0 && ends[begin].id == unknown)
        begin = ends[begin].begin;
      if (const int32_t whole = find(text.substr(begin, end - begin)); whole >= 0)
        id = whole;
    }
    ids.push_back(id);
    end = begin;
  }
  std::reverse(ids.begin() + first, ids.end());
}

} // namespace flame::diffusion
