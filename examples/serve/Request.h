//===- Request.h - what a client asks for ----------------------------------===//
#ifndef FLAME_SERVE_REQUEST_H
#define FLAME_SERVE_REQUEST_H

#include <cstdint>
#include <stdexcept>
#include <string>

/// The request's fault: becomes status 400 with this text.
struct BadRequest : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Zeros stand for the model's values.
struct Request {
  std::string prompt;
  uint64_t seed = 0;
  size_t width = 0, height = 0, steps = 0, textTokens = 0;
  double guidance = 0;

  /// Whether both can be made in one run.
  bool goesWith(const Request &other) const {
    return width == other.width && height == other.height && steps == other.steps && textTokens == other.textTokens &&
           guidance == other.guidance;
  }
};

/// Reads {"prompt": "…", "seed": 7, "width": 512, "height": 512, "steps": 4, "text_tokens": 256, "guidance": 3.5}, of
/// which only the prompt is needed. Throws BadRequest for anything else, unknown names included: a misspelt one would
/// go unnoticed.
Request parseRequest(const std::string &body);

#endif
