//===- Texts.h - what the text encoders made of prompts --------------------===//
#ifndef FLAME_DIFFUSION_TEXTS_H
#define FLAME_DIFFUSION_TEXTS_H

#include "flame_rt.hpp"

#include <deque>
#include <memory>

namespace flame::diffusion {

/// A prompt as the transformer takes it, in CPU memory: [1, tokens, width] and [1, width].
struct EncodedText {
  std::string prompt;
  size_t tokens;
  Value states, pooled;
};

/// The texts that were used last. A text stays as long as somebody holds it, here or elsewhere.
class TextCache {
public:
  static constexpr size_t kCapacity = 32;

  std::shared_ptr<const EncodedText> find(const std::string &prompt, size_t tokens);
  std::shared_ptr<const EncodedText> add(EncodedText text);

private:
  std::deque<std::shared_ptr<const EncodedText>> texts; // the one used last is the last
};

} // namespace flame::diffusion

#endif
