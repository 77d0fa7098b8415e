//===- Unicode.h - UTF-8 and simple case mapping --------------------------===//
//
// One-to-one case mapping of the Latin, Greek, Cyrillic and Armenian scripts, independent of any locale. Characters
// whose mapping changes the number of characters (ß) stay as they are.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_HOST_UNICODE_H
#define FLAME_RUNTIME_HOST_UNICODE_H

#include <cstdint>
#include <string>
#include <string_view>

namespace flame::rt {

/// A byte that is not part of valid UTF-8 decodes to kInvalidByte + byte and encodes back to itself.
inline constexpr uint32_t kInvalidByte = 0x110000;

/// The code point at `at`, which moves behind it. `at` is inside the text.
uint32_t decodeUtf8(std::string_view text, size_t &at);
void encodeUtf8(std::string &out, uint32_t code);

uint32_t toLower(uint32_t code);
uint32_t toUpper(uint32_t code);
std::string toLower(std::string_view text);
std::string toUpper(std::string_view text);

} // namespace flame::rt

#endif
