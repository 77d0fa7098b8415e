//===- Help.h - help pages, and suggestions for misspelt words --------------------------------------------------------===//
#ifndef FLAME_TOOLS_FLAMEC_HELP_H
#define FLAME_TOOLS_FLAMEC_HELP_H

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace flame::tool {

/// What a help page says beyond the options.
struct Manual {
  std::string synopsis;    // "flamec run MODEL [--input NAME=VALUE]... [options]"
  std::string description; // paragraphs, separated by empty lines
  std::vector<std::pair<std::string, std::string>> examples; // what it is for, the command
};
void document(CLI::App *app, Manual manual);

/// The help page of flamec or of a subcommand: lines of at most 90 columns.
std::string helpPage(const CLI::App &app);

/// A value from a list; the error message lists the values and suggests the nearest.
CLI::Validator oneOf(std::vector<std::string> values);

/// Looks for options that `sub` does not have; an error message with a suggestion, or "".
std::string unknownOption(const CLI::App &sub, const std::vector<std::string> &arguments);
/// The nearest of the subcommands that --help shows, or "".
std::string nearestSubcommand(const CLI::App &app, const std::string &word);

} // namespace flame::tool

#endif // FLAME_TOOLS_FLAMEC_HELP_H
