//===- Console.h - messages and progress on stderr --------------------------------------------------------------------===//
#ifndef FLAME_TOOLS_FLAMEC_CONSOLE_H
#define FLAME_TOOLS_FLAMEC_CONSOLE_H

#include <cstdint>
#include <string>
#include <string_view>

namespace flame::tool {

/// Writes to stderr. Colour and animation only on a terminal; NO_COLOR and TERM=dumb are respected.
class Console {
public:
  Console();
  void error(std::string_view message);
  void warning(std::string_view message);
  /// A finished phase: "importing   412 nodes, opset 21      0.8 s".
  void phase(std::string_view name, std::string_view detail, double seconds);
  /// The bar of a running phase, with what else is to be said of it; nothing off a terminal.
  void bar(std::string_view name, unsigned done, unsigned total, std::string_view detail = {});
  void line(std::string_view text);
  bool quiet = false;

private:
  void clearBar();
  bool terminal, colour, barShown = false;
};

/// "1.4 MB"
std::string formatBytes(uint64_t bytes);

} // namespace flame::tool

#endif // FLAME_TOOLS_FLAMEC_CONSOLE_H
