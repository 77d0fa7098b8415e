//===- Texts.cpp - see Texts.h ---------------------------------------------===//

#include "Texts.h"

#include <algorithm>

namespace flame::diffusion {

std::shared_ptr<const EncodedText> TextCache::find(const std::string &prompt, size_t tokens) {
  const auto known = std::find_if(texts.begin(), texts.end(),
                                  [&](const auto &text) { return text->tokens == tokens && text->prompt == prompt; });
  if (known == texts.end())
    return nullptr;
  std::rotate(known, known + 1, texts.end());
  return texts.back();
}

std::shared_ptr<const EncodedText> TextCache::add(EncodedText text) {
  if (texts.size() == kCapacity)
    texts.pop_front();
  return texts.emplace_back(std::make_shared<const EncodedText>(std::move(text)));
}

} // namespace flame::diffusion
