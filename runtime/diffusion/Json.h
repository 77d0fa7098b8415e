//===- Json.h - JSON files that nobody vouches for -------------------------===//
//
// A parsed file and typed access to it. Every error is an Error(FLAME_BAD_DATA) that names the file, the place in it
// and what is expected there. Refused: anything but UTF-8, nesting deeper than kJsonDepth, a name twice in one object,
// text behind the value.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_DIFFUSION_JSON_H
#define FLAME_DIFFUSION_JSON_H

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace flame::diffusion {

inline constexpr int kJsonDepth = 64;

/// A value of a file, with its place for messages: "scheduler_config.json: num_train_timesteps".
class Json {
public:
  /// Parses text; `file` names it in messages.
  static Json parse(std::string_view text, const std::string &file);
  static Json load(const std::string &path);

  /// Throws Error(FLAME_BAD_DATA): place, then what is wrong.
  [[noreturn]] void fail(const std::string &problem) const;

  bool isObject() const { return value().is_object(); }
  bool isArray() const { return value().is_array(); }
  bool isString() const { return value().is_string(); }
  bool isNull() const { return value().is_null(); }
  size_t size() const { return value().size(); }

  /// The member, if this is an object that has it and it is not null.
  std::optional<Json> find(const std::string &key) const;
  /// The member; it must be there.
  Json at(const std::string &key) const;
  /// An element of an array.
  Json at(size_t index) const;

  const std::string &string() const;
  bool boolean() const;
  double number() const; // finite
  int64_t integer(int64_t least, int64_t most) const;

  /// The member's value, or the default where it is missing or null.
  std::string string(const std::string &key, const std::string &otherwise) const;
  bool boolean(const std::string &key, bool otherwise) const;
  double number(const std::string &key, double otherwise) const;
  int64_t integer(const std::string &key, int64_t otherwise, int64_t least, int64_t most) const;

  /// For each member of an object, in the order of their names: function(name, Json). The value must be an object.
  template <typename Function> void members(Function function) const {
    requireObject();
    for (const auto &[key, member] : value().items())
      function(key, Json(root, &member, place + (place.empty() ? "" : ".") + key));
  }
  const nlohmann::json &value() const { return *node; }
  const std::string &file() const { return root->file; }

private:
  struct Root {
    nlohmann::json value;
    std::string file;
  };
  Json(std::shared_ptr<const Root> root, const nlohmann::json *node, std::string place)
      : root(std::move(root)), node(node), place(std::move(place)) {}
  void requireObject() const;

  std::shared_ptr<const Root> root;
  const nlohmann::json *node;
  std::string place;
};

} // namespace flame::diffusion

#endif
