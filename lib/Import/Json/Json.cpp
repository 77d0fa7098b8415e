//===- Json.cpp - see Json.h
//------------------------------------------------------------------------------------------===//
#include "flame/Import/Json.h"
#include "flame/Support/RegularFile.h"
#include <set>
#include <vector>

using namespace flame;

std::string flame::jsonProblem(const nlohmann::detail::exception &error) {
  std::string text = error.what();
  // "[json.exception.parse_error.101] parse error at line 1, column 2: …"
  if (size_t end = text.find("] "); text.starts_with("[json.exception") && end != std::string::npos)
    text.erase(0, end + 2);
  return text;
}

Json flame::parseJson(std::string_view text, const std::string &name, const JsonLimits &limits) {
  auto fail = [&](const std::string &problem) { throw ImportError(name + ": " + problem); };
  if (text.size() > limits.bytes)
    fail("has " + std::to_string(text.size()) + " bytes; files of its kind have at most " +
         std::to_string(limits.bytes));
  std::vector<std::set<std::string>> keys;
  auto check = [&](int depth, Json::parse_event_t event, Json &parsed) {
    if (depth >= int(limits.depth))
      fail("is nested more than " + std::to_string(limits.depth) + " deep");
    if (event == Json::parse_event_t::object_start)
      keys.emplace_back();
    else if (event == Json::parse_event_t::object_end)
      keys.pop_back();
    else if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      fail("has the key '" + parsed.get<std::string>() + "' twice in one object; keep one of them");
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const nlohmann::detail::exception &error) {
    fail("is not valid JSON: " + jsonProblem(error));
  }
  return {};
}

Json flame::readJson(const std::string &path, const JsonLimits &limits) {
  RegularFile file;
  std::string text, problem = file.open(path);
  if (problem.empty() && file.size() > limits.bytes)
    problem =
        "has " + std::to_string(file.size()) + " bytes; files of its kind have at most " + std::to_string(limits.bytes);
  if (problem.empty())
    problem = file.read(0, file.size(), text);
  if (!problem.empty())
    throw ImportError(path + ": " + problem);
  return parseJson(text, path, limits);
}
