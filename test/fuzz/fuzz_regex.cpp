//===- fuzz_regex.cpp - patterns and texts --------------------------------===//
//
// Pattern and text are separated by the first zero byte.
//
//===----------------------------------------------------------------------===//

#include "host/Regex.h"

#include <algorithm>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const std::string_view all(reinterpret_cast<const char *>(data), size);
  const size_t zero = std::min(all.find('\0'), all.size());
  std::string error;
  if (auto regex = flame::rt::Regex::compile(all.substr(0, zero), error))
    regex->matches(all.substr(std::min(zero + 1, all.size())).substr(0, 1000));
  return 0;
}
