//===- Error.h - the runtime's one exception and its status codes ---------===//
//
// Inside the runtime a failure is an Error (or std::bad_alloc); src/capi turns both into flame_status. Messages say
// what is wrong with which tensor or file, and what to do about it.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_ERROR_H
#define FLAME_RUNTIME_ERROR_H

#include "flame_rt.h"

#include <exception>
#include <string>
#include <string_view>
#include <type_traits>

namespace flame::rt {

class Error : public std::exception {
public:
  Error(flame_code code, std::string message) : code(code), message(std::move(message)) {}
  const char *what() const noexcept override { return message.c_str(); }

  flame_code code;
  std::string message;
  bool located = false; // the message names the source nodes already
};

inline void appendText(std::string &out, std::string_view text) { out += text; }
inline void appendText(std::string &out, const char *text) { out += text ? text : "(null)"; }
inline void appendText(std::string &out, const std::string &text) { out += text; }
inline void appendText(std::string &out, char c) { out += c; }
template <typename T>
requires std::is_integral_v<T>
void appendText(std::string &out, T number) { out += std::to_string(number); }

/// All arguments (strings, characters, integers) in one string.
template <typename... Args> std::string cat(const Args &...args) {
  std::string out;
  (appendText(out, args), ...);
  return out;
}

template <typename... Args> [[noreturn]] void fail(flame_code code, const Args &...args) {
  throw Error(code, cat(args...));
}

/// "1.5 MiB", "64 bytes".
std::string formatBytes(uint64_t bytes);
/// "[2,3]"
std::string formatDims(const int64_t *dims, int rank);

} // namespace flame::rt

#endif
