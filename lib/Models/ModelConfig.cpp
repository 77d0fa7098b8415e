//===- ModelConfig.cpp - see ModelConfig.h
//----------------------------------------------------------------------------===//
#include "flame/Models/ModelConfig.h"

using namespace flame;
using llvm::StringRef;

const Json *ModelConfig::find(StringRef key) const {
  auto found = json.is_object() ? json.find(key.str()) : json.end();
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

void ModelConfig::missing(StringRef key) const {
  throw ImportError(file + ": lacks '" + key.str() + "', which a model of its class needs");
}

void ModelConfig::fail(StringRef key, const std::string &problem, ImportStatus status) const {
  const Json *value = find(key);
  std::string text = value ? value->dump(-1, ' ', false, Json::error_handler_t::replace) : "absent";
  if (text.size() > 60)
    text = text.substr(0, 60) + "…";
  throw ImportError(file + ": '" + key.str() + "' is " + text + "; " + problem, status);
}

int64_t ModelConfig::asInteger(StringRef key, const Json &value, int64_t least, int64_t most) const {
  // A number above 2^63 is unsigned in JSON's eyes.
  bool fits = value.is_number_integer() && !(value.is_number_unsigned() && value.get<uint64_t>() > uint64_t(INT64_MAX));
  if (!fits || value.get<int64_t>() < least || value.get<int64_t>() > most)
    fail(key, "a whole number from " + std::to_string(least) + " to " + std::to_string(most) + " is needed");
  return value.get<int64_t>();
}

int64_t ModelConfig::integer(StringRef key, std::optional<int64_t> otherwise, int64_t least, int64_t most) const {
  const Json *value = find(key);
  if (!value && !otherwise)
    missing(key);
  return value ? asInteger(key, *value, least, most) : *otherwise;
}

double ModelConfig::number(StringRef key, std::optional<double> otherwise) const {
  const Json *value = find(key);
  if (!value && !otherwise)
    missing(key);
  if (value && !value->is_number())
    fail(key, "a number is needed");
  return value ? value->get<double>() : *otherwise;
}

bool ModelConfig::flag(StringRef key, bool otherwise) const {
  const Json *value = find(key);
  if (value && !value->is_boolean())
    fail(key, "true or false is needed");
  return value ? value->get<bool>() : otherwise;
}

std::string ModelConfig::text(StringRef key, std::optional<std::string> otherwise) const {
  const Json *value = find(key);
  if (!value && !otherwise)
    missing(key);
  if (value && !value->is_string())
    fail(key, "a string is needed");
  return value ? value->get<std::string>() : *otherwise;
}

llvm::SmallVector<int64_t> ModelConfig::integers(StringRef key, std::optional<llvm::SmallVector<int64_t>> otherwise,
                                                 int64_t least, int64_t most) const {
  const Json *value = find(key);
  if (!value && !otherwise)
    missing(key);
  if (!value)
    return *otherwise;
  if (!value->is_array() || value->empty() || value->size() > 64)
    fail(key, "a list of 1 to 64 whole numbers is needed");
  llvm::SmallVector<int64_t> list;
  for (const Json &item : *value)
    list.push_back(asInteger(key, item, least, most));
  return list;
}

std::vector<std::string> ModelConfig::texts(StringRef key, std::vector<std::string> otherwise) const {
  const Json *value = find(key);
  if (!value)
    return otherwise;
  std::vector<std::string> list;
  bool ok = value->is_array();
  if (ok)
    for (const Json &item : *value) {
      ok &= item.is_string();
      list.push_back(ok ? item.get<std::string>() : "");
    }
  if (!ok)
    fail(key, "a list of strings is needed");
  return list;
}

int64_t ModelConfig::divide(StringRef wholeKey, int64_t whole, StringRef countKey, int64_t count) const {
  if (whole % count)
    fail(countKey, "it must divide '" + wholeKey.str() + "', which is " + std::to_string(whole));
  return whole / count;
}

void ModelConfig::expect(StringRef key, const Json &value) const {
  const Json *found = find(key);
  if (found && *found != value)
    fail(key, "only " + value.dump() + " is supported", ImportStatus::Unsupported);
}
