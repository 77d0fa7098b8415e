//===- Charsmap.cpp - sentencepiece's precompiled normaliser ---------------===//

#include "Charsmap.h"

#include "Error.h"
#include "Unicode.h"

#include <cstring>

namespace flame::diffusion {

namespace {

// A unit of darts-clone's double array.
bool hasLeaf(uint32_t unit) { return unit >> 8 & 1; }
uint32_t label(uint32_t unit) { return unit & (1u << 31 | 0xFF); }
uint32_t offset(uint32_t unit) { return unit >> 10 << ((unit & 1u << 9) >> 6); }
uint32_t value(uint32_t unit) { return unit & ((1u << 31) - 1); }

constexpr size_t kLongestCluster = 5;

} // namespace

Charsmap::Charsmap(std::string_view blob, const std::string &file) {
  uint32_t bytes = 0;
  if (blob.size() >= sizeof bytes)
    std::memcpy(&bytes, blob.data(), sizeof bytes);
  if (blob.size() < sizeof bytes || bytes > blob.size() - sizeof bytes || bytes % sizeof(uint32_t) || bytes == 0)
    rt::fail(FLAME_BAD_DATA, file, ": the normaliser's character map is damaged: its trie has ", bytes, " bytes of ",
             blob.size());
  units.resize(bytes / sizeof(uint32_t));
  std::memcpy(units.data(), blob.data() + sizeof bytes, bytes);
  texts = blob.substr(sizeof bytes + bytes);
  if (unicode::firstInvalid(texts) != std::string::npos)
    rt::fail(FLAME_BAD_DATA, file, ": the normaliser's character map is damaged: its texts are no valid UTF-8");
}

std::optional<std::string_view> Charsmap::replacement(std::string_view part) const {
  if (units.empty())
    return std::nullopt;
  size_t node = offset(units[0]);
  for (const char c : part) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte == 0)
      return std::nullopt;
    node ^= byte;
    if (node >= units.size() || label(units[node]) != byte)
      return std::nullopt;
    const uint32_t unit = units[node];
    node ^= offset(unit);
    if (!hasLeaf(unit))
      continue;
    const size_t begin = node < units.size() ? value(units[node]) : texts.size() + 1;
    if (begin > texts.size() || (begin < texts.size() && (static_cast<unsigned char>(texts[begin]) & 0xC0) == 0x80))
      return std::nullopt; // a damaged map
    return std::string_view(texts).substr(begin, texts.find('\0', begin) - begin);
  }
  return std::nullopt;
}

std::string Charsmap::normalize(std::string_view text) const {
  if (units.empty())
    return std::string(text);
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const size_t end = unicode::graphemeEnd(text, at);
    if (end - at <= kLongestCluster)
      if (const auto whole = replacement(text.substr(at, end - at))) {
        out += *whole;
        at = end;
        continue;
      }
    while (at < end) {
      const size_t begin = at;
      unicode::next(text, at);
      const std::string_view character = text.substr(begin, at - begin);
      out += replacement(character).value_or(character);
    }
  }
  return out;
}

} // namespace flame::diffusion
