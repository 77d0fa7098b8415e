//===- Unicode.cpp - characters as the tokenizers see them -----------------===//

#include "Unicode.h"

#include <algorithm>
#include <array>
#include <iterator>
#include <tuple>
#include <vector>

namespace flame::diffusion::unicode {

namespace {

/// Bits 0-3: letter, number, white space, pictograph; 4-7: Break; from 8: canonical combining class.
struct CharacterRange {
  char32_t first, last;
  uint32_t properties;
};
/// `length` characters from kDecomposed[offset].
struct Decomposition {
  char32_t from;
  uint16_t offset, length;
};
struct Composition {
  char32_t first, second, to;
};
struct Lowered {
  char32_t from, to;
};

#include "UnicodeTables.inc"

enum Property : uint32_t { Letter = 1, Number = 2, Space = 4, Pictograph = 8 };
enum class Break : uint32_t {
  Other,
  CR,
  LF,
  Control,
  Extend,
  Joiner,
  Regional,
  Prepend,
  SpacingMark,
  L,
  V,
  T,
  LV,
  LVT
};

uint32_t search(char32_t c) {
  const auto *range = std::upper_bound(std::begin(kRanges), std::end(kRanges), c,
                                       [](char32_t value, const CharacterRange &r) { return value < r.first; });
  return range != std::begin(kRanges) && c <= range[-1].last ? range[-1].properties : 0;
}

uint32_t properties(char32_t c) {
  static const auto latin = [] {
    std::array<uint32_t, 256> table;
    for (char32_t i = 0; i < table.size(); ++i)
      table[i] = search(i);
    return table;
  }();
  return c < latin.size() ? latin[c] : search(c);
}

uint32_t combiningClass(char32_t c) { return properties(c) >> 8; }
Break breakOf(char32_t c) { return static_cast<Break>(properties(c) >> 4 & 15); }

/// The entry of a sorted table whose key `from` is c, or nullptr.
template <typename Entry, size_t N> const Entry *find(const Entry (&table)[N], char32_t c) {
  const auto *entry = std::lower_bound(std::begin(table), std::end(table), c,
                                       [](const Entry &e, char32_t value) { return e.from < value; });
  return entry != std::end(table) && entry->from == c ? entry : nullptr;
}

// Hangul syllables are computed (The Unicode Standard, 3.12).
constexpr char32_t kS = 0xAC00, kL = 0x1100, kV = 0x1161, kT = 0x11A7;
constexpr char32_t kLCount = 19, kVCount = 21, kTCount = 28, kSCount = kLCount * kVCount * kTCount;

void decompose(char32_t c, std::vector<char32_t> &out) {
  if (c - kS < kSCount) {
    const char32_t s = c - kS;
    out.push_back(kL + s / (kVCount * kTCount));
    out.push_back(kV + s % (kVCount * kTCount) / kTCount);
    if (s % kTCount)
      out.push_back(kT + s % kTCount);
  } else if (const auto *entry = find(kDecompositions, c)) {
    out.insert(out.end(), kDecomposed + entry->offset, kDecomposed + entry->offset + entry->length);
  } else {
    out.push_back(c);
  }
}

/// What the pair becomes, or 0.
char32_t composePair(char32_t first, char32_t second) {
  if (first - kL < kLCount && second - kV < kVCount)
    return kS + ((first - kL) * kVCount + (second - kV)) * kTCount;
  if (first - kS < kSCount && (first - kS) % kTCount == 0 && second - kT - 1 < kTCount - 1)
    return first + (second - kT);
  const auto *entry =
      std::lower_bound(std::begin(kCompositions), std::end(kCompositions), std::tie(first, second),
                       [](const Composition &c, const auto &key) { return std::tie(c.first, c.second) < key; });
  return entry != std::end(kCompositions) && entry->first == first && entry->second == second ? entry->to : 0;
}

} // namespace

size_t firstInvalid(std::string_view text) {
  const auto *p = reinterpret_cast<const unsigned char *>(text.data());
  for (size_t i = 0, n = text.size(); i < n;) {
    const unsigned char c = p[i];
    if (c < 0x80) {
      ++i;
      continue;
    }
    const size_t length = c < 0xC2 ? 0 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : c < 0xF5 ? 4 : 0;
    if (length == 0 || n - i < length)
      return i;
    for (size_t k = 1; k < length; ++k)
      if ((p[i + k] & 0xC0) != 0x80)
        return i;
    if ((c == 0xE0 && p[i + 1] < 0xA0) || (c == 0xED && p[i + 1] > 0x9F) || (c == 0xF0 && p[i + 1] < 0x90) ||
        (c == 0xF4 && p[i + 1] > 0x8F))
      return i;
    i += length;
  }
  return std::string_view::npos;
}

char32_t next(std::string_view text, size_t &at) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(static_cast<unsigned char>(text[i])); };
  const char32_t c = byte(at);
  if (c < 0x80)
    return at += 1, c;
  if (c < 0xE0) {
    at += 2;
    return (c & 0x1F) << 6 | (byte(at - 1) & 0x3F);
  }
  if (c < 0xF0) {
    at += 3;
    return (c & 0x0F) << 12 | (byte(at - 2) & 0x3F) << 6 | (byte(at - 1) & 0x3F);
  }
  at += 4;
  return (c & 0x07) << 18 | (byte(at - 3) & 0x3F) << 12 | (byte(at - 2) & 0x3F) << 6 | (byte(at - 1) & 0x3F);
}

void append(std::string &out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | c >> 6);
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | c >> 12);
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | c >> 18);
    out += static_cast<char>(0x80 | (c >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (c >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

bool isLetter(char32_t c) { return properties(c) & Letter; }
bool isNumber(char32_t c) { return properties(c) & Number; }
bool isSpace(char32_t c) { return properties(c) & Space; }

std::string compose(std::string_view text) {
  // Nothing below U+0300 changes or combines: the first byte of all that does is 0xCC or more.
  if (std::all_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0xCC; }))
    return std::string(text);
  std::vector<char32_t> all;
  all.reserve(text.size());
  for (size_t i = 0; i < text.size();)
    decompose(next(text, i), all);
  // Canonical order: marks between two starters, by class.
  for (size_t i = 0; i < all.size();) {
    if (combiningClass(all[i]) == 0) {
      ++i;
      continue;
    }
    size_t end = i;
    while (end < all.size() && combiningClass(all[end]) != 0)
      ++end;
    if (end - i > 1)
      std::stable_sort(all.begin() + i, all.begin() + end,
                       [](char32_t a, char32_t b) { return combiningClass(a) < combiningClass(b); });
    i = end;
  }
  // A character joins the last starter unless one of its class or a higher one stands between them.
  size_t kept = 0, starter = all.size();
  uint32_t lastClass = 0;
  for (const char32_t c : all) {
    const uint32_t own = combiningClass(c);
    if (starter < kept && (starter + 1 == kept || lastClass < own))
      if (const char32_t joined = composePair(all[starter], c)) {
        all[starter] = joined;
        continue;
      }
    if (own == 0)
      starter = kept;
    lastClass = own;
    all[kept++] = c;
  }
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < kept; ++i)
    append(out, all[i]);
  return out;
}

std::string lower(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const char32_t c = next(text, i);
    if (c < 0x80)
      out += static_cast<char>(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    else if (c == 0x130) // the only one that becomes two
      out += "i\xCC\x87";
    else if (const auto *entry = find(kLowered, c))
      append(out, entry->to);
    else
      append(out, c);
  }
  return out;
}

size_t graphemeEnd(std::string_view text, size_t at) {
  char32_t c = next(text, at);
  Break before = breakOf(c);
  bool pictograph = properties(c) & Pictograph; // … and nothing but Extend since
  bool joined = false;                          // a pictograph, Extend*, and a joiner just before
  size_t regional = before == Break::Regional;
  while (at < text.size()) {
    size_t end = at;
    c = next(text, end);
    const Break b = breakOf(c);
    const bool breaks = [&] {
      using enum Break;
      if (before == CR && b == LF)
        return false;
      if (before == CR || before == LF || before == Control || b == CR || b == LF || b == Control)
        return true;
      if (before == L && (b == L || b == V || b == LV || b == LVT))
        return false;
      if ((before == LV || before == V) && (b == V || b == T))
        return false;
      if ((before == LVT || before == T) && b == T)
        return false;
      if (b == Extend || b == Joiner || b == SpacingMark || before == Prepend)
        return false;
      if (joined && (properties(c) & Pictograph))
        return false;
      return !(before == Regional && b == Regional && regional % 2 == 1);
    }();
    if (breaks)
      return at;
    joined = pictograph && b == Break::Joiner;
    pictograph = (properties(c) & Pictograph) || (pictograph && b == Break::Extend);
    regional = b == Break::Regional ? regional + 1 : 0;
    before = b;
    at = end;
  }
  return at;
}

} // namespace flame::diffusion::unicode
