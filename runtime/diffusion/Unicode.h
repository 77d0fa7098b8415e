//===- Unicode.h - characters as the tokenizers see them -------------------===//
//
// Classes and mappings of Unicode characters, in the versions that Hugging Face's tokenizers follows
// (UnicodeTables.inc). Texts are valid UTF-8 everywhere below the entry points, which check it with firstInvalid.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_DIFFUSION_UNICODE_H
#define FLAME_DIFFUSION_UNICODE_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace flame::diffusion::unicode {

/// Where the first byte is that belongs to no character (no surrogates, nothing overlong); npos in valid UTF-8.
size_t firstInvalid(std::string_view text);

/// The character at `at`, which is moved behind it.
char32_t next(std::string_view text, size_t &at);
void append(std::string &out, char32_t c);

bool isLetter(char32_t c); // \p{L}
bool isNumber(char32_t c); // \p{N}
bool isSpace(char32_t c);  // White_Space, which is \s

/// Normalisation form C.
std::string compose(std::string_view text);
/// Every character by itself, without regard to its place in a word.
std::string lower(std::string_view text);

/// Where the extended grapheme cluster ends that begins at `at` (UAX #29 up to rule 12; rule 9c, conjuncts, is left
/// out: it joins what is longer than any cluster that a tokenizer looks at).
size_t graphemeEnd(std::string_view text, size_t at);

} // namespace flame::diffusion::unicode

#endif
