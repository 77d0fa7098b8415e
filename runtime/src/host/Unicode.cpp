//===- Unicode.cpp - see Unicode.h ----------------------------------------===//

#include "Unicode.h"

namespace flame::rt {

uint32_t decodeUtf8(std::string_view text, size_t &at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(at);
  if (lead < 0x80)
    return text[at++];
  const int length = lead >= 0xF0 && lead <= 0xF4  ? 4
                     : lead >= 0xE0 && lead < 0xF0 ? 3
                     : lead >= 0xC2 && lead < 0xE0 ? 2
                                                   : 0;
  uint32_t code = lead & (0x7F >> length);
  bool valid = length != 0 && text.size() - at >= static_cast<size_t>(length);
  for (int i = 1; valid && i < length; ++i) {
    valid = (byte(at + i) & 0xC0) == 0x80;
    code = code << 6 | (byte(at + i) & 0x3F);
  }
  valid = valid && code <= 0x10FFFF && !(code >= 0xD800 && code < 0xE000) && !(length == 3 && code < 0x800) &&
          !(length == 4 && code < 0x10000);
  if (!valid) {
    ++at;
    return kInvalidByte + lead;
  }
  at += length;
  return code;
}

void encodeUtf8(std::string &out, uint32_t code) {
  auto tail = [&](int shift) { out += static_cast<char>(0x80 | (code >> shift & 0x3F)); };
  if (code >= kInvalidByte) {
    out += static_cast<char>(code - kInvalidByte);
  } else if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    tail(0);
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    tail(6);
    tail(0);
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

namespace {

/// Upper-case letters [first, last]; the lower-case letter is `offset` further on. With `alternating`, upper and lower
/// case take turns, beginning with an upper-case letter at `first`.
struct CaseRange {
  uint32_t first, last;
  int32_t offset;
  bool alternating;
};

constexpr CaseRange kRanges[] = {
    {'A', 'Z', 32, false},       {0xC0, 0xD6, 32, false},     {0xD8, 0xDE, 32, false},    {0x100, 0x12E, 1, true},
    {0x132, 0x136, 1, true},     {0x139, 0x147, 1, true},     {0x14A, 0x176, 1, true},    {0x178, 0x178, -121, false},
    {0x179, 0x17D, 1, true},     {0x1CD, 0x1DB, 1, true},     {0x1DE, 0x1EE, 1, true},    {0x1F8, 0x21E, 1, true},
    {0x222, 0x232, 1, true},     {0x370, 0x372, 1, true},     {0x376, 0x376, 1, true},    {0x386, 0x386, 38, false},
    {0x388, 0x38A, 37, false},   {0x38C, 0x38C, 64, false},   {0x38E, 0x38F, 63, false},  {0x391, 0x3A1, 32, false},
    {0x3A3, 0x3AB, 32, false},   {0x3D8, 0x3EE, 1, true},     {0x400, 0x40F, 80, false},  {0x410, 0x42F, 32, false},
    {0x460, 0x480, 1, true},     {0x48A, 0x4BE, 1, true},     {0x4C0, 0x4C0, 15, false},  {0x4C1, 0x4CD, 1, true},
    {0x4D0, 0x52E, 1, true},     {0x531, 0x556, 48, false},   {0x1E00, 0x1E94, 1, true},  {0x1EA0, 0x1EFE, 1, true},
    {0x2160, 0x216F, 16, false}, {0x24B6, 0x24CF, 26, false}, {0xFF21, 0xFF3A, 32, false}};

template <uint32_t (*Map)(uint32_t)> std::string mapText(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t at = 0; at < text.size();)
    encodeUtf8(out, Map(decodeUtf8(text, at)));
  return out;
}

} // namespace

uint32_t toLower(uint32_t code) {
  for (const CaseRange &r : kRanges)
    if (code >= r.first && code <= r.last)
      return !r.alternating || (code - r.first) % 2 == 0 ? code + r.offset : code;
  return code;
}

uint32_t toUpper(uint32_t code) {
  if (code == 0xB5)
    return 0x39C; // micro sign
  if (code == 0x3C2)
    return 0x3A3; // final sigma
  if (code == 0x131)
    return 'I';
  if (code == 0x17F)
    return 'S';
  for (const CaseRange &r : kRanges) {
    const uint32_t upper = code - r.offset;
    if (upper >= r.first && upper <= r.last && (!r.alternating || (upper - r.first) % 2 == 0))
      return upper;
  }
  return code;
}

std::string toLower(std::string_view text) { return mapText<toLower>(text); }
std::string toUpper(std::string_view text) { return mapText<toUpper>(text); }

} // namespace flame::rt
