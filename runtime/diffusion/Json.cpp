//===- Json.cpp - JSON files that nobody vouches for -----------------------===//

#include "Json.h"

#include "Error.h"
#include "Files.h"
#include "Unicode.h"

#include <cmath>
#include <unordered_set>
#include <vector>

namespace flame::diffusion {

namespace {

std::string shortened(std::string text) {
  if (text.size() > 200) {
    text.resize(200);
    text += "…";
  }
  // A cut or hostile name must not break the message's encoding.
  for (size_t bad; (bad = unicode::firstInvalid(text)) != std::string::npos;)
    text[bad] = '?';
  for (char &c : text)
    if (static_cast<unsigned char>(c) < 0x20)
      c = '?';
  return text;
}

const char *kindOf(const nlohmann::json &value) { return value.is_null() ? "null" : value.type_name(); }

} // namespace

Json Json::parse(std::string_view text, const std::string &file) {
  auto root = std::make_shared<Root>();
  root->file = file;
  const auto bad = [&](const std::string &problem) { rt::fail(FLAME_BAD_DATA, file, ": ", problem); };
  std::vector<std::unordered_set<std::string>> names;
  using Event = nlohmann::json::parse_event_t;
  const nlohmann::json::parser_callback_t watch = [&](int depth, Event event, nlohmann::json &parsed) {
    if (depth > kJsonDepth)
      bad(rt::cat("nested deeper than ", kJsonDepth, " levels"));
    if (event == Event::object_start)
      names.emplace_back();
    else if (event == Event::object_end)
      names.pop_back();
    else if (event == Event::key && !names.back().insert(parsed.get_ref<const std::string &>()).second)
      bad("the name '" + shortened(parsed.get_ref<const std::string &>()) + "' occurs twice in one object");
    return true;
  };
  try {
    root->value = nlohmann::json::parse(text.begin(), text.end(), watch);
  } catch (const nlohmann::json::exception &error) {
    const std::string what = error.what(); // "[json.exception.parse_error.101] parse error at …"
    const size_t end = what.find("] ");
    bad("no valid JSON: " + shortened(end == std::string::npos ? what : what.substr(end + 2)));
  }
  const nlohmann::json *node = &root->value;
  return Json(std::move(root), node, "");
}

Json Json::load(const std::string &path) { return parse(readFile(path), path); }

void Json::fail(const std::string &problem) const {
  rt::fail(FLAME_BAD_DATA, root->file, ": ", shortened(place), place.empty() ? "" : " ", problem);
}

void Json::requireObject() const {
  if (!node->is_object())
    fail(rt::cat("must be an object, not ", kindOf(*node)));
}

std::optional<Json> Json::find(const std::string &key) const {
  requireObject();
  const auto member = node->find(key);
  if (member == node->end() || member->is_null())
    return std::nullopt;
  return Json(root, &*member, place + (place.empty() ? "" : ".") + key);
}

Json Json::at(const std::string &key) const {
  if (auto member = find(key))
    return *member;
  fail("lacks '" + key + "'");
}

Json Json::at(size_t index) const {
  if (!node->is_array())
    fail(rt::cat("must be an array, not ", kindOf(*node)));
  if (index >= node->size())
    fail(rt::cat("has ", node->size(), " elements; at least ", index + 1, " are expected"));
  return Json(root, &(*node)[index], rt::cat(place, "[", index, "]"));
}

const std::string &Json::string() const {
  if (!node->is_string())
    fail(rt::cat("must be a string, not ", kindOf(*node)));
  return node->get_ref<const std::string &>();
}

bool Json::boolean() const {
  if (!node->is_boolean())
    fail(rt::cat("must be true or false, not ", kindOf(*node)));
  return node->get<bool>();
}

double Json::number() const {
  if (!node->is_number())
    fail(rt::cat("must be a number, not ", kindOf(*node)));
  const double number = node->get<double>();
  if (!std::isfinite(number))
    fail("must be a finite number");
  return number;
}

int64_t Json::integer(int64_t least, int64_t most) const {
  const double number = this->number();
  if (number != std::floor(number) || number < static_cast<double>(least) || number > static_cast<double>(most))
    fail(rt::cat("must be an integer from ", least, " to ", most));
  return node->is_number_integer() ? node->get<int64_t>() : static_cast<int64_t>(number);
}

std::string Json::string(const std::string &key, const std::string &otherwise) const {
  const auto member = find(key);
  return member ? member->string() : otherwise;
}
bool Json::boolean(const std::string &key, bool otherwise) const {
  const auto member = find(key);
  return member ? member->boolean() : otherwise;
}
double Json::number(const std::string &key, double otherwise) const {
  const auto member = find(key);
  return member ? member->number() : otherwise;
}
int64_t Json::integer(const std::string &key, int64_t otherwise, int64_t least, int64_t most) const {
  const auto member = find(key);
  return member ? member->integer(least, most) : otherwise;
}

} // namespace flame::diffusion
