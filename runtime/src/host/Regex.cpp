//===- Regex.cpp - see Regex.h --------------------------------------------===//
//
// Parsing yields a tree, the tree yields the program. Both recursions follow the nesting of the pattern, which is
// limited.
//
//===----------------------------------------------------------------------===//

#include "Regex.h"
#include "Unicode.h"

#include <algorithm>
#include <memory>

namespace flame::rt {

namespace {

constexpr int kMaxNesting = 200;
constexpr int kMaxRepeat = 1000;        // RE2's own limit
constexpr size_t kMaxProgram = 200'000; // instructions
constexpr uint32_t kMaxCode = kInvalidByte + 0xFF;

struct PatternError {
  std::string message;
};

enum Flags : int { IgnoreCase = 1, MultiLine = 2, DotAll = 4 };

} // namespace

class RegexCompiler {
public:
  using Range = Regex::Range;
  using Op = Regex::Op;

  explicit RegexCompiler(std::string_view pattern) : pattern(pattern) {}

  Regex run() {
    auto tree = alternation(0);
    if (at != pattern.size())
      throw PatternError{"unmatched ')'"};
    const int32_t accept = emit({Op::Accept});
    out.start = build(*tree, accept);
    return std::move(out);
  }

private:
  struct Node {
    enum Kind { Empty, Class, Assert, Concat, Alternate, Repeat } kind = Empty;
    std::vector<Range> ranges;
    Op op = Op::Accept;
    std::vector<std::unique_ptr<Node>> children;
    int low = 0, high = 0; // high -1: unbounded
  };
  using NodePtr = std::unique_ptr<Node>;

  static NodePtr make(typename Node::Kind kind) {
    auto node = std::make_unique<Node>();
    node->kind = kind;
    return node;
  }
  static NodePtr makeAssert(Op op) {
    auto node = make(Node::Assert);
    node->op = op;
    return node;
  }

  bool more() const { return at < pattern.size(); }
  bool accept(std::string_view text) {
    if (pattern.substr(at, text.size()) != text)
      return false;
    at += text.size();
    return true;
  }

  // ---- parsing
  NodePtr alternation(int depth) {
    if (depth > kMaxNesting)
      throw PatternError{"its groups are nested too deeply"};
    const int outerFlags = flags;
    auto node = make(Node::Alternate);
    node->children.push_back(concatenation(depth));
    while (accept("|"))
      node->children.push_back(concatenation(depth));
    flags = outerFlags;
    return node->children.size() == 1 ? std::move(node->children[0]) : std::move(node);
  }

  NodePtr concatenation(int depth) {
    auto node = make(Node::Concat);
    while (more() && pattern[at] != '|' && pattern[at] != ')') {
      if (accept("\\Q")) {
        const size_t end = std::min(pattern.find("\\E", at), pattern.size());
        while (at < end)
          node->children.push_back(literal(decodeUtf8(pattern, at)));
        accept("\\E");
        continue;
      }
      NodePtr item = atom(depth);
      if (item)
        node->children.push_back(repetition(std::move(item)));
    }
    return node;
  }

  NodePtr repetition(NodePtr item) {
    for (bool repeated = false;; repeated = true) {
      int low, high;
      const size_t before = at;
      if (accept("*")) {
        low = 0, high = -1;
      } else if (accept("+")) {
        low = 1, high = -1;
      } else if (accept("?")) {
        low = 0, high = 1;
      } else if (!counted(low, high)) {
        return item;
      }
      accept("?"); // lazy: the same language
      if (repeated)
        throw PatternError{"bad repetition operator '" + std::string(pattern.substr(before, at - before)) +
                           "' behind another"};
      auto node = make(Node::Repeat);
      node->children.push_back(std::move(item));
      node->low = low;
      node->high = high;
      item = std::move(node);
    }
  }

  /// "{3}", "{3,}", "{3,5}"; anything else is literal text, as in RE2.
  bool counted(int &low, int &high) {
    const size_t before = at;
    auto number = [&](int &value) {
      const size_t start = at;
      value = 0;
      while (more() && pattern[at] >= '0' && pattern[at] <= '9') {
        value = std::min(value * 10 + (pattern[at] - '0'), kMaxRepeat + 1);
        ++at;
      }
      return at > start;
    };
    if (accept("{") && number(low)) {
      high = low;
      if (accept(",") && !number(high))
        high = -1;
      if (accept("}")) {
        if (low > kMaxRepeat || high > kMaxRepeat || (high != -1 && high < low))
          throw PatternError{"bad repetition count '" + std::string(pattern.substr(before, at - before)) + "'"};
        return true;
      }
    }
    at = before;
    return false;
  }

  NodePtr atom(int depth) {
    if (accept("("))
      return group(depth);
    if (accept("["))
      return characterClass();
    if (accept("."))
      return classNode(flags & DotAll ? std::vector<Range>{{0, kMaxCode}}
                                      : std::vector<Range>{{0, '\n' - 1}, {'\n' + 1, kMaxCode}});
    if (accept("^"))
      return makeAssert(flags & MultiLine ? Op::LineBegin : Op::TextBegin);
    if (accept("$"))
      return makeAssert(flags & MultiLine ? Op::LineEnd : Op::TextEnd);
    if (accept("\\"))
      return escape();
    const char c = pattern[at];
    if (c == '*' || c == '+' || c == '?')
      throw PatternError{std::string("no argument for repetition operator '") + c + "'"};
    return literal(decodeUtf8(pattern, at));
  }

  NodePtr group(int depth) {
    if (accept("?")) {
      if (accept("P<") || (pattern.substr(at, 1) == "<" && pattern.substr(at, 2) != "<=" &&
                           pattern.substr(at, 2) != "<!" && accept("<"))) {
        const size_t end = pattern.find('>', at);
        if (end == std::string_view::npos || end == at)
          throw PatternError{"bad name of a group"};
        at = end + 1;
      } else {
        if (accept("=") || accept("!") || accept("<"))
          throw PatternError{"look-around is not supported"};
        int set = 0;
        bool negative = false;
        for (;; ++at) {
          if (!more())
            throw PatternError{"missing ')'"};
          const char c = pattern[at];
          if (c == '-' && !negative) {
            negative = true;
            continue;
          }
          const int flag = c == 'i' ? IgnoreCase : c == 'm' ? MultiLine : c == 's' ? DotAll : 0;
          if (flag == 0 && c != 'U')
            break;
          set = negative ? set & ~flag : set | flag;
          if (negative)
            cleared |= flag;
        }
        const int outer = flags, next = (flags | set) & ~cleared;
        cleared = 0;
        if (accept(")")) { // for the rest of the group around it
          flags = next;
          return nullptr;
        }
        if (!accept(":"))
          throw PatternError{"bad flags of a group"};
        flags = next;
        NodePtr inner = alternation(depth + 1);
        flags = outer;
        if (!accept(")"))
          throw PatternError{"missing ')'"};
        return inner;
      }
    }
    NodePtr inner = alternation(depth + 1);
    if (!accept(")"))
      throw PatternError{"missing ')'"};
    return inner;
  }

  // ---- characters
  NodePtr literal(uint32_t code) { return classNode({{code, code}}); }

  NodePtr classNode(std::vector<Range> ranges) {
    auto node = make(Node::Class);
    node->ranges = std::move(ranges);
    if (flags & IgnoreCase)
      foldCase(node->ranges);
    normalise(node->ranges);
    return node;
  }

  /// Adds the other case of every letter; the scripts with case lie below 0x10000.
  static void foldCase(std::vector<Range> &ranges) {
    const size_t count = ranges.size();
    for (size_t i = 0; i < count; ++i)
      for (uint32_t code = ranges[i].first; code <= std::min<uint32_t>(ranges[i].last, 0xFFFF); ++code)
        for (uint32_t other : {toLower(code), toUpper(code)})
          if (other != code)
            ranges.push_back({other, other});
  }

  static void normalise(std::vector<Range> &ranges) {
    std::sort(ranges.begin(), ranges.end(), [](Range a, Range b) { return a.first < b.first; });
    std::vector<Range> merged;
    for (Range r : ranges) {
      if (!merged.empty() && r.first <= merged.back().last + 1)
        merged.back().last = std::max(merged.back().last, r.last);
      else
        merged.push_back(r);
    }
    ranges = std::move(merged);
  }

  static std::vector<Range> negate(std::vector<Range> ranges) {
    normalise(ranges);
    std::vector<Range> inverse;
    uint32_t next = 0;
    for (Range r : ranges) {
      if (r.first > next)
        inverse.push_back({next, r.first - 1});
      next = r.last + 1;
    }
    if (next <= kMaxCode)
      inverse.push_back({next, kMaxCode});
    return inverse;
  }

  /// \d and the like; empty where `c` is none of them.
  static std::vector<Range> perlClass(char c) {
    switch (c) {
    case 'd':
      return {{'0', '9'}};
    case 'w':
      return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}};
    case 's':
      return {{'\t', '\n'}, {'\f', '\r'}, {' ', ' '}};
    case 'D':
    case 'W':
    case 'S':
      return negate(perlClass(static_cast<char>(c + 32)));
    default:
      return {};
    }
  }

  NodePtr escape() {
    if (!more())
      throw PatternError{"trailing '\\'"};
    const char c = pattern[at];
    if (auto ranges = perlClass(c); !ranges.empty()) {
      ++at;
      return classNode(std::move(ranges));
    }
    switch (c) {
    case 'A':
      ++at;
      return makeAssert(Op::TextBegin);
    case 'z':
      ++at;
      return makeAssert(Op::TextEnd);
    case 'b':
      ++at;
      return makeAssert(Op::WordBoundary);
    case 'B':
      ++at;
      return makeAssert(Op::NoWordBoundary);
    case 'C':
      ++at;
      return classNode({{0, kMaxCode}});
    default:
      return literal(escapedCharacter());
    }
  }

  /// The character behind a backslash.
  uint32_t escapedCharacter() {
    const char c = pattern[at];
    switch (c) {
    case 'n':
      ++at;
      return '\n';
    case 't':
      ++at;
      return '\t';
    case 'r':
      ++at;
      return '\r';
    case 'f':
      ++at;
      return '\f';
    case 'v':
      ++at;
      return '\v';
    case 'a':
      ++at;
      return '\a';
    case 'x':
      ++at;
      return hexadecimal();
    case '0': {
      uint32_t value = 0;
      for (int i = 0; i < 3 && more() && pattern[at] >= '0' && pattern[at] <= '7'; ++i)
        value = value * 8 + (pattern[at++] - '0');
      return value;
    }
    case 'p':
    case 'P':
      throw PatternError{"Unicode properties (\\p) are not supported"};
    default:
      if (c >= '1' && c <= '9')
        throw PatternError{"back references are not supported"};
      if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
        throw PatternError{std::string("unknown escape '\\") + c + "'"};
      return decodeUtf8(pattern, at);
    }
  }

  uint32_t hexadecimal() {
    const bool braces = accept("{");
    uint32_t value = 0;
    int digits = 0;
    for (; more() && (braces ? digits < 8 : digits < 2); ++at, ++digits) {
      const char c = pattern[at];
      const int digit = c >= '0' && c <= '9'   ? c - '0'
                        : c >= 'a' && c <= 'f' ? c - 'a' + 10
                        : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                               : -1;
      if (digit < 0)
        break;
      value = value * 16 + digit;
    }
    if (digits == 0 || (!braces && digits != 2) || (braces && !accept("}")) || value > 0x10FFFF)
      throw PatternError{"bad '\\x' escape"};
    return value;
  }

  NodePtr characterClass() {
    const bool inverted = accept("^");
    std::vector<Range> ranges;
    for (bool first = true;; first = false) {
      if (!more())
        throw PatternError{"missing ']'"};
      if (!first && accept("]"))
        break;
      if (accept("[:")) {
        posixClass(ranges);
        continue;
      }
      if (at + 1 < pattern.size() && pattern[at] == '\\') {
        if (auto perl = perlClass(pattern[at + 1]); !perl.empty()) {
          at += 2;
          ranges.insert(ranges.end(), perl.begin(), perl.end());
          continue;
        }
      }
      const uint32_t low = classCharacter();
      uint32_t high = low;
      if (at + 1 < pattern.size() && pattern[at] == '-' && pattern[at + 1] != ']') {
        ++at;
        high = classCharacter();
        if (high < low)
          throw PatternError{"a range in a character class is reversed"};
      }
      ranges.push_back({low, high});
    }
    if (flags & IgnoreCase)
      foldCase(ranges);
    normalise(ranges);
    auto node = make(Node::Class);
    node->ranges = inverted ? negate(std::move(ranges)) : std::move(ranges);
    return node;
  }

  uint32_t classCharacter() {
    if (accept("\\")) {
      if (!more())
        throw PatternError{"missing ']'"};
      return escapedCharacter();
    }
    return decodeUtf8(pattern, at);
  }

  void posixClass(std::vector<Range> &ranges) {
    const size_t end = pattern.find(":]", at);
    if (end == std::string_view::npos)
      throw PatternError{"missing ':]'"};
    std::string_view name = pattern.substr(at, end - at);
    at = end + 2;
    const bool inverted = !name.empty() && name[0] == '^';
    if (inverted)
      name.remove_prefix(1);
    struct Named {
      std::string_view name;
      std::vector<Range> ranges;
    };
    static const Named classes[] = {{"alnum", {{'0', '9'}, {'A', 'Z'}, {'a', 'z'}}},
                                    {"alpha", {{'A', 'Z'}, {'a', 'z'}}},
                                    {"ascii", {{0, 127}}},
                                    {"blank", {{'\t', '\t'}, {' ', ' '}}},
                                    {"cntrl", {{0, 31}, {127, 127}}},
                                    {"digit", {{'0', '9'}}},
                                    {"graph", {{'!', '~'}}},
                                    {"lower", {{'a', 'z'}}},
                                    {"print", {{' ', '~'}}},
                                    {"punct", {{'!', '/'}, {':', '@'}, {'[', '`'}, {'{', '~'}}},
                                    {"space", {{'\t', '\r'}, {' ', ' '}}},
                                    {"upper", {{'A', 'Z'}}},
                                    {"word", {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}},
                                    {"xdigit", {{'0', '9'}, {'A', 'F'}, {'a', 'f'}}}};
    for (const Named &c : classes) {
      if (c.name != name)
        continue;
      const auto add = inverted ? negate(c.ranges) : c.ranges;
      ranges.insert(ranges.end(), add.begin(), add.end());
      return;
    }
    throw PatternError{"unknown character class '[:" + std::string(name) + ":]'"};
  }

  // ---- code generation: every function returns the entry of code that continues at `next`
  int32_t emit(Regex::Instruction instruction) {
    if (out.program.size() >= kMaxProgram)
      throw PatternError{"it is too large"};
    out.program.push_back(instruction);
    return out.program.size() - 1;
  }

  int32_t build(const Node &node, int32_t next) {
    switch (node.kind) {
    case Node::Empty:
      return next;
    case Node::Class: {
      Regex::Instruction i{Op::Class, next};
      i.classBegin = out.ranges.size();
      out.ranges.insert(out.ranges.end(), node.ranges.begin(), node.ranges.end());
      i.classEnd = out.ranges.size();
      if (out.ranges.size() > 4 * kMaxProgram)
        throw PatternError{"it is too large"};
      return emit(i);
    }
    case Node::Assert:
      return emit({node.op, next});
    case Node::Concat:
      for (size_t i = node.children.size(); i-- > 0;)
        next = build(*node.children[i], next);
      return next;
    case Node::Alternate: {
      int32_t entry = build(*node.children.back(), next);
      for (size_t i = node.children.size() - 1; i-- > 0;) {
        const int32_t branch = build(*node.children[i], next);
        entry = emit({Op::Split, branch, entry});
      }
      return entry;
    }
    case Node::Repeat:
      return buildRepeat(node, next);
    }
    return next;
  }

  int32_t buildRepeat(const Node &node, int32_t next) {
    const Node &body = *node.children[0];
    int32_t entry = next;
    if (node.high == -1) {
      const int32_t split = emit({Op::Split, -1, next});
      out.program[split].a = build(body, split);
      entry = split;
    } else {
      for (int i = node.low; i < node.high; ++i) {
        const int32_t inner = build(body, entry);
        entry = emit({Op::Split, inner, next});
      }
    }
    for (int i = 0; i < node.low; ++i)
      entry = build(body, entry);
    return entry;
  }

  std::string_view pattern;
  size_t at = 0;
  int flags = 0, cleared = 0;
  Regex out;
};

std::optional<Regex> Regex::compile(std::string_view pattern, std::string &error) {
  try {
    return RegexCompiler(pattern).run();
  } catch (const PatternError &e) {
    error = e.message;
    return std::nullopt;
  }
}

void Regex::addState(std::vector<int32_t> &list, std::vector<uint32_t> &marks, uint32_t mark,
                     std::vector<int32_t> &stack, int32_t state, const Context &context) const {
  stack.push_back(state);
  while (!stack.empty()) {
    const int32_t s = stack.back();
    stack.pop_back();
    if (marks[s] == mark)
      continue;
    marks[s] = mark;
    const Instruction &i = program[s];
    bool passes = false;
    switch (i.op) {
    case Op::Class:
    case Op::Accept:
      list.push_back(s);
      continue;
    case Op::Split:
      stack.push_back(i.b);
      stack.push_back(i.a);
      continue;
    case Op::Jump:
      passes = true;
      break;
    case Op::TextBegin:
      passes = context.textBegin;
      break;
    case Op::TextEnd:
      passes = context.textEnd;
      break;
    case Op::LineBegin:
      passes = context.lineBegin;
      break;
    case Op::LineEnd:
      passes = context.lineEnd;
      break;
    case Op::WordBoundary:
      passes = context.wordBoundary;
      break;
    case Op::NoWordBoundary:
      passes = !context.wordBoundary;
      break;
    }
    if (passes)
      stack.push_back(i.a);
  }
}

bool Regex::matches(std::string_view text) const {
  auto isWord = [](uint32_t c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
  };
  constexpr uint32_t none = UINT32_MAX;
  std::vector<int32_t> current, next, stack;
  std::vector<uint32_t> marks(program.size());
  uint32_t mark = 0, previous = none;
  size_t at = 0;
  auto peek = [&](size_t position) { return position < text.size() ? decodeUtf8(text, position) : none; };
  auto contextBetween = [&](uint32_t before, uint32_t after) {
    return Context{before == none, after == none, before == none || before == '\n', after == none || after == '\n',
                   (before != none && isWord(before)) != (after != none && isWord(after))};
  };
  addState(current, marks, ++mark, stack, start, contextBetween(previous, peek(at)));
  while (at < text.size()) {
    const uint32_t code = decodeUtf8(text, at);
    const Context context = contextBetween(code, peek(at));
    next.clear();
    if (++mark == 0) { // after 2^32 characters
      std::fill(marks.begin(), marks.end(), 0);
      mark = 1;
    }
    for (int32_t s : current) {
      const Instruction &i = program[s];
      if (i.op != Op::Class)
        continue;
      const Range *begin = ranges.data() + i.classBegin, *end = ranges.data() + i.classEnd;
      const Range *r = std::upper_bound(begin, end, code, [](uint32_t c, const Range &r) { return c < r.first; });
      if (r != begin && code <= (r - 1)->last)
        addState(next, marks, mark, stack, i.a, context);
    }
    std::swap(current, next);
    previous = code;
    if (current.empty())
      return false;
  }
  return std::any_of(current.begin(), current.end(), [&](int32_t s) { return program[s].op == Op::Accept; });
}

} // namespace flame::rt
