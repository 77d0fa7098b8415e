//===- Request.cpp - see Request.h -----------------------------------------===//
#include "Request.h"

#include <cmath>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>

namespace {

using Json = nlohmann::json;

constexpr size_t kLongestPrompt = 20'000; // bytes
constexpr uint64_t kMostSteps = 1000, kLargestSide = 4096, kMostTokens = 512;

uint64_t integerOf(const std::string &name, const Json &value, uint64_t most) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > most)
    throw BadRequest("'" + name + "' must be an integer from 0 to " + std::to_string(most));
  return value.get<uint64_t>();
}

} // namespace

Request parseRequest(const std::string &body) {
  const Json json = Json::parse(body, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object())
    throw BadRequest("the body must be a JSON object such as {\"prompt\": \"a red fox in the snow\"}");
  Request request;
  const auto size = [&](size_t &to, uint64_t most) {
    return [&to, most](const std::string &name, const Json &value) { to = integerOf(name, value, most); };
  };
  const std::map<std::string, std::function<void(const std::string &, const Json &)>> fields = {
      {"prompt",
       [&](const std::string &, const Json &value) {
         if (!value.is_string() || value.get_ref<const std::string &>().size() > kLongestPrompt)
           throw BadRequest("'prompt' must be a text of at most " + std::to_string(kLongestPrompt) + " bytes");
         request.prompt = value;
       }},
      {"seed", [&](const std::string &name, const Json &value) { request.seed = integerOf(name, value, UINT64_MAX); }},
      {"width", size(request.width, kLargestSide)},
      {"height", size(request.height, kLargestSide)},
      {"steps", size(request.steps, kMostSteps)},
      {"text_tokens", size(request.textTokens, kMostTokens)},
      {"guidance",
       [&](const std::string &, const Json &value) {
         if (!value.is_number() || !(value.get<double>() >= 0) || !std::isfinite(value.get<double>()))
           throw BadRequest("'guidance' must be a number of 0 or more");
         request.guidance = value;
       }},
  };
  for (const auto &[name, value] : json.items()) {
    const auto field = fields.find(name);
    if (field == fields.end()) {
      std::string known;
      for (const auto &[other, read] : fields)
        known += (known.empty() ? "" : ", ") + other;
      throw BadRequest("there is no field '" + name + "'; there are " + known);
    }
    field->second(name, value);
  }
  if (!json.contains("prompt"))
    throw BadRequest("'prompt' is missing");
  return request;
}
