//===- Strings.cpp - operators on string tensors --------------------------===//
//
// StringConcat, StringSplit, StringNormalizer, RegexFullMatch, Equal and Where on strings.
//
//===----------------------------------------------------------------------===//

#include "Elements.h"
#include "HostContext.h"
#include "Regex.h"
#include "Unicode.h"

#include <algorithm>

namespace flame::rt {

namespace {

Dims broadcast(HostContext &c, std::initializer_list<const Tensor *> tensors) {
  std::vector<const Dims *> shapes;
  for (const Tensor *t : tensors)
    shapes.push_back(&t->dims);
  auto out = broadcastDims(shapes);
  if (!out) {
    std::string list;
    for (const Tensor *t : tensors)
      list += (list.empty() ? "" : ", ") + t->dims.str();
    c.fail("the shapes ", list, " do not broadcast");
  }
  return *out;
}

void stringConcat(HostContext &c) {
  const Tensor &a = c.stringTensor(0), &b = c.stringTensor(1);
  Tensor out = c.makeTensor(FLAME_STRING, broadcast(c, {&a, &b}));
  BroadcastIndex ia(a.dims, out.dims), ib(b.dims, out.dims);
  constexpr size_t kLongest = size_t(1) << 28; // a loop that doubles a string must not eat the machine
  for (int64_t i = 0, n = out.elements(); i < n; ++i) {
    const std::string &left = a.strings()[ia.next()], &right = b.strings()[ib.next()];
    if (left.size() + right.size() > kLongest)
      c.fail("a string would be longer than ", formatBytes(kLongest));
    out.strings()[i] = left + right;
  }
  c.setOutput(0, std::move(out));
}

void equalString(HostContext &c) {
  const Tensor &a = c.stringTensor(0), &b = c.stringTensor(1);
  Tensor out = c.makeTensor(FLAME_BOOL, broadcast(c, {&a, &b}));
  BroadcastIndex ia(a.dims, out.dims), ib(b.dims, out.dims);
  for (int64_t i = 0, n = out.elements(); i < n; ++i)
    out.as<uint8_t>()[i] = a.strings()[ia.next()] == b.strings()[ib.next()];
  c.setOutput(0, std::move(out));
}

void whereString(HostContext &c) {
  const Tensor &condition = c.tensor(0), &a = c.stringTensor(1), &b = c.stringTensor(2);
  if (condition.dtype != FLAME_BOOL)
    c.fail(c.describeInput(0), " is not a tensor of bools");
  Tensor out = c.makeTensor(FLAME_STRING, broadcast(c, {&condition, &a, &b}));
  BroadcastIndex ic(condition.dims, out.dims), ia(a.dims, out.dims), ib(b.dims, out.dims);
  for (int64_t i = 0, n = out.elements(); i < n; ++i) {
    const int64_t fromA = ia.next(), fromB = ib.next();
    out.strings()[i] = condition.as<uint8_t>()[ic.next()] ? a.strings()[fromA] : b.strings()[fromB];
  }
  c.setOutput(0, std::move(out));
}

// ---- StringSplit

bool isSpace(char ch) { return ch == ' ' || (ch >= '\t' && ch <= '\r') || (ch >= 0x1c && ch <= 0x1f); }

std::vector<std::string> splitAtSpaces(std::string_view text, int64_t most) {
  std::vector<std::string> parts;
  size_t at = 0;
  for (;;) {
    while (at < text.size() && isSpace(text[at]))
      ++at;
    if (at == text.size())
      return parts;
    if (most >= 0 && static_cast<int64_t>(parts.size()) == most) {
      // As in Python, the rest keeps its inner spaces; ONNX's reference keeps those at its end as well.
      parts.emplace_back(text.substr(at));
      return parts;
    }
    size_t end = at;
    while (end < text.size() && !isSpace(text[end]))
      ++end;
    parts.emplace_back(text.substr(at, end - at));
    at = end;
  }
}

std::vector<std::string> splitAt(std::string_view text, std::string_view delimiter, int64_t most) {
  std::vector<std::string> parts;
  size_t at = 0;
  while (most < 0 || static_cast<int64_t>(parts.size()) < most) {
    const size_t end = text.find(delimiter, at);
    if (end == std::string_view::npos)
      break;
    parts.emplace_back(text.substr(at, end - at));
    at = end + delimiter.size();
  }
  parts.emplace_back(text.substr(at));
  return parts;
}

void stringSplit(HostContext &c) {
  const Tensor &x = c.stringTensor(0);
  const std::string delimiter = c.attrString("delimiter", "");
  const int64_t most = c.attrInt("maxsplit", -1);
  std::vector<std::vector<std::string>> rows;
  size_t width = 0;
  for (int64_t i = 0; i < x.elements(); ++i) {
    rows.push_back(delimiter.empty() ? splitAtSpaces(x.strings()[i], most) : splitAt(x.strings()[i], delimiter, most));
    width = std::max(width, rows.back().size());
  }
  Dims dims = x.dims;
  dims.push_back(width);
  Tensor out = c.makeTensor(FLAME_STRING, dims), counts = c.makeTensor(FLAME_I64, x.dims);
  for (size_t i = 0; i < rows.size(); ++i) {
    std::move(rows[i].begin(), rows[i].end(), out.strings() + i * width);
    counts.as<int64_t>()[i] = rows[i].size();
  }
  c.setOutput(0, std::move(out));
  c.setOutput(1, std::move(counts));
}

// ---- StringNormalizer

void stringNormalizer(HostContext &c) {
  const Tensor &x = c.stringTensor(0);
  const bool matrix = x.rank() == 2;
  if (!(x.rank() == 1 || (matrix && x.dims[0] == 1)))
    c.fail(c.describeInput(0), " is neither [C] nor [1,C]");
  const std::string action = c.attrString("case_change_action", "NONE");
  const bool caseSensitive = c.attrInt("is_case_sensitive", 0) != 0;
  if (action != "NONE" && action != "LOWER" && action != "UPPER")
    c.fail("case_change_action is '", action, "'; NONE, LOWER or UPPER is expected");
  std::vector<std::string> stopwords;
  for (const std::string &word : c.attrStrings("stopwords"))
    stopwords.push_back(caseSensitive ? word : toLower(word));
  std::sort(stopwords.begin(), stopwords.end());
  std::vector<std::string> kept;
  for (int64_t i = 0; i < x.elements(); ++i) {
    const std::string &text = x.strings()[i];
    if (std::binary_search(stopwords.begin(), stopwords.end(), caseSensitive ? text : toLower(text)))
      continue;
    kept.push_back(action == "LOWER" ? toLower(text) : action == "UPPER" ? toUpper(text) : text);
  }
  if (kept.empty())
    kept.emplace_back();
  const int64_t count = kept.size();
  Tensor out = c.makeTensor(FLAME_STRING, matrix ? Dims{1, count} : Dims{count});
  std::move(kept.begin(), kept.end(), out.strings());
  c.setOutput(0, std::move(out));
}

void regexFullMatch(HostContext &c) {
  const Tensor &x = c.stringTensor(0);
  const std::string pattern = c.attrString("pattern", "");
  std::string error;
  auto regex = Regex::compile(pattern, error);
  if (!regex)
    c.fail("the pattern '", pattern, "' cannot be used: ", error);
  Tensor out = c.makeTensor(FLAME_BOOL, x.dims);
  for (int64_t i = 0, n = x.elements(); i < n; ++i)
    out.as<uint8_t>()[i] = regex->matches(x.strings()[i]);
  c.setOutput(0, std::move(out));
}

} // namespace

// clang-format off
FLAME_HOST_FAMILY(Strings,
    {"string_concat", stringConcat},
    {"string_split", stringSplit},
    {"string_normalizer", stringNormalizer},
    {"regex_full_match", regexFullMatch},
    {"equal_string", equalString},
    {"where_string", whereString})
// clang-format on

} // namespace flame::rt
