//===- Regex.h - RE2's syntax, matched in linear time ---------------------===//
//
// A Thompson automaton whose states are advanced together, so time is proportional to text × pattern whatever the
// pattern, and nothing recurses on the text. Supported: literals, '.', classes with ranges, negation, \d \w \s and
// POSIX names, groups (capturing, named, non-capturing), alternation, * + ? {n,m} greedy or lazy, ^ $ \A \z \b \B,
// escapes
// (\n, \t, \x41, \x{1F600}, \Q…\E), and the flags i, m, s, U. Refused, with an explanation: back references and
// look-around (which RE2 has not, either), and Unicode properties (\pN), which would need large tables.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_HOST_REGEX_H
#define FLAME_RUNTIME_HOST_REGEX_H

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace flame::rt {

class Regex {
public:
  /// nullopt, and an explanation in `error`, where the pattern is invalid, unsupported or too large.
  static std::optional<Regex> compile(std::string_view pattern, std::string &error);
  /// True where the whole text matches. Text that is not UTF-8 matches byte by byte where only '.' or a negated class
  /// meets the bytes.
  bool matches(std::string_view text) const;

private:
  friend class RegexCompiler;

  struct Range {
    uint32_t first, last;
  };
  enum class Op : uint8_t {
    Class,
    Split,
    Jump,
    TextBegin,
    TextEnd,
    LineBegin,
    LineEnd,
    WordBoundary,
    NoWordBoundary,
    Accept
  };
  struct Instruction {
    Op op;
    int32_t a = -1, b = -1; // targets; Class: a is the target
    uint32_t classBegin = 0, classEnd = 0;
  };

  struct Context {
    bool textBegin, textEnd, lineBegin, lineEnd, wordBoundary;
  };
  void addState(std::vector<int32_t> &list, std::vector<uint32_t> &marks, uint32_t mark, std::vector<int32_t> &stack,
                int32_t state, const Context &context) const;

  std::vector<Instruction> program;
  std::vector<Range> ranges;
  int32_t start = 0;
};

} // namespace flame::rt

#endif
