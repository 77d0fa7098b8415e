//===- Console.cpp - messages and progress on stderr ------------------------------------------------------------------===//
#include "Console.h"
#include <cstdio>
#include <cstdlib>
#include <unistd.h>

using namespace flame::tool;

Console::Console() {
  terminal = isatty(STDERR_FILENO);
  const char *noColour = std::getenv("NO_COLOR"), *term = std::getenv("TERM");
  bool dumb = term && std::string_view(term) == "dumb";
  terminal &= !dumb;
  colour = terminal && !(noColour && *noColour);
}

void Console::clearBar() {
  if (barShown)
    std::fputs("\r\033[K", stderr);
  barShown = false;
}

void Console::error(std::string_view message) {
  clearBar();
  std::fprintf(stderr, "%serror:%s %.*s\n", colour ? "\033[1;31m" : "", colour ? "\033[0m" : "", int(message.size()),
               message.data());
}

void Console::warning(std::string_view message) {
  clearBar();
  std::fprintf(stderr, "%swarning:%s %.*s\n", colour ? "\033[1;35m" : "", colour ? "\033[0m" : "",
               int(message.size()), message.data());
}

void Console::phase(std::string_view name, std::string_view detail, double seconds) {
  if (quiet)
    return;
  clearBar();
  std::fprintf(stderr, "%-12.*s%-48.*s %6.1f s\n", int(name.size()), name.data(), int(detail.size()), detail.data(),
               seconds);
}

void Console::bar(std::string_view name, unsigned done, unsigned total, std::string_view detail) {
  if (quiet || !terminal || total == 0)
    return;
  constexpr unsigned width = 24;
  std::string filled;
  for (unsigned i = 0; i < width; ++i)
    filled += i * total < done * width ? "█" : " ";
  std::fprintf(stderr, "\r\033[K%-12.*s%s %u/%u%s%.*s", int(name.size()), name.data(), filled.c_str(), done, total,
               detail.empty() ? "" : "  ", int(detail.size()), detail.data());
  std::fflush(stderr);
  barShown = true;
}

void Console::line(std::string_view text) {
  if (quiet)
    return;
  clearBar();
  std::fprintf(stderr, "%.*s\n", int(text.size()), text.data());
}

std::string flame::tool::formatBytes(uint64_t bytes) {
  const char *units[] = {"B", "kB", "MB", "GB", "TB"};
  double value = double(bytes);
  int unit = 0;
  while (value >= 1000 && unit < 4) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
  return text;
}
