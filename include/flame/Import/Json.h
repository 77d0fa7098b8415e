//===- Json.h - JSON files that anybody may have written
//--------------------------------------------------------------===//
//
// Configurations and indices of models. Bounded in size and depth; a key that occurs twice in an object is an error,
// since readers disagree on which one counts.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_IMPORT_JSON_H
#define FLAME_IMPORT_JSON_H

#include "flame/Import/ImportStatus.h"
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace flame {

using Json = nlohmann::json;

struct JsonLimits {
  uint64_t bytes = 16ull << 20;
  unsigned depth = 64;
};

/// Throws ImportError, whose text begins with `name`.
Json parseJson(std::string_view text, const std::string &name, const JsonLimits &limits = {});
/// Reads a regular file; symbolic links are followed. Throws ImportError.
Json readJson(const std::string &path, const JsonLimits &limits = {});

/// nlohmann's message of a syntax error without its own prefix.
std::string jsonProblem(const nlohmann::detail::exception &error);

} // namespace flame

#endif // FLAME_IMPORT_JSON_H
