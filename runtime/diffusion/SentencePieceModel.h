//===- SentencePieceModel.h - spiece.model ---------------------------------===//
#ifndef FLAME_DIFFUSION_SENTENCEPIECEMODEL_H
#define FLAME_DIFFUSION_SENTENCEPIECEMODEL_H

#include "Unigram.h"

#include <string>
#include <string_view>
#include <vector>

namespace flame::diffusion {

/// What the protocol buffer `sentencepiece.ModelProto` says of a unigram model.
struct SentencePieceModel {
  /// Parses a file's bytes; `file` names it. Throws Error(FLAME_BAD_DATA) where they are damaged, FLAME_UNSUPPORTED
  /// where the model is not a unigram model.
  SentencePieceModel(std::string_view bytes, const std::string &file);

  std::vector<Piece> pieces;
  int32_t unknown = 0;
  std::string charsmap; // empty: none
};

} // namespace flame::diffusion

#endif
