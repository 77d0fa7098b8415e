//===- Help.cpp - help pages, and suggestions for misspelt words ------------------------------------------------------===//
#include "Help.h"
#include "InputSpec.h"
#include <map>

using namespace flame;
using namespace flame::tool;

static constexpr size_t kWidth = 90;

static std::map<const CLI::App *, Manual> &manuals() {
  static std::map<const CLI::App *, Manual> pages;
  return pages;
}

void flame::tool::document(CLI::App *app, Manual manual) { manuals()[app] = std::move(manual); }

/// Columns that a UTF-8 text takes; all our characters are one wide.
static size_t columns(std::string_view text) {
  size_t count = 0;
  for (char c : text)
    count += (c & 0xc0) != 0x80;
  return count;
}

/// Breaks `text` at spaces; every line but the first begins with `indent` spaces, the first stands at `column`.
static std::string wrap(const std::string &text, size_t column, size_t indent) {
  std::string out, word;
  size_t at = column;
  bool first = true;
  auto flush = [&] {
    if (word.empty())
      return;
    if (!first && at + 1 + columns(word) > kWidth) {
      out += "\n" + std::string(indent, ' ');
      at = indent;
      first = true;
    }
    if (!first) {
      out += ' ';
      ++at;
    }
    out += word;
    at += columns(word);
    word.clear();
    first = false;
  };
  for (char c : text) {
    if (c == ' ') {
      flush();
    } else if (c == '\n') {
      flush();
      out += "\n" + std::string(indent, ' ');
      at = indent;
      first = true;
    } else {
      word += c;
    }
  }
  flush();
  return out;
}

static std::string entry(const std::string &head, const std::string &text, size_t column) {
  std::string out = "  " + head;
  size_t at = columns(out);
  if (at + 2 > column) {
    out += "\n" + std::string(column, ' ');
  } else {
    out += std::string(column - at, ' ');
  }
  return out + wrap(text, column, column) + "\n";
}

static std::string optionHead(const CLI::Option &option) {
  if (option.get_positional())
    return option.get_type_name();
  std::string names;
  for (const std::string &name : option.get_snames())
    names += (names.empty() ? "-" : ", -") + name;
  for (const std::string &name : option.get_lnames())
    names += (names.empty() ? "--" : ", --") + name;
  if (option.get_expected_max() > 0 && !option.get_type_name().empty())
    names += " " + option.get_type_name();
  return names;
}

static const char *const exitCodes[][2] = {
    {"0", "ok"},
    {"1", "internal error: a bug of flame; a crash leaves a reproducer folder"},
    {"2", "usage: an unknown option, a missing argument"},
    {"3", "bad input: a model, artifact or input file that is damaged or does not fit"},
    {"4", "unsupported: an operator, an opset, a processor"},
    {"5", "accuracy: results deviate from the reference"},
    {"6", "out of memory, or beyond --memory-limit"},
    {"7", "device: a GPU or its driver failed"},
    {"130", "interrupted by Ctrl-C"},
};

std::string flame::tool::helpPage(const CLI::App &app) {
  bool top = app.get_parent() == nullptr;
  std::string name = top ? "flamec" : "flamec " + app.get_name();
  const Manual &manual = manuals()[&app];
  std::string out = name + " - " + app.get_description() + "\n\nusage\n";
  std::string synopsis;
  for (char c : manual.synopsis)
    synopsis += c == '\n' ? std::string("\n  ") : std::string(1, c);
  out += "  " + synopsis + "\n";
  if (!manual.description.empty())
    out += "\n" + wrap(manual.description, 0, 0) + "\n";
  if (top) {
    out += "\nsubcommands\n";
    for (const CLI::App *sub : app.get_subcommands([](const CLI::App *sub) { return !sub->get_group().empty(); }))
      out += entry(sub->get_name(), sub->get_description(), 12);
  }
  std::string arguments, options;
  for (const CLI::Option *option : app.get_options()) {
    if (option->get_group().empty())
      continue;
    (option->get_positional() ? arguments : options) += entry(optionHead(*option), option->get_description(), 30);
  }
  if (!arguments.empty())
    out += "\narguments\n" + arguments;
  out += "\noptions\n" + options;
  if (top) {
    out += "\nexit status\n";
    for (auto &[code, meaning] : exitCodes)
      out += entry(code, meaning, 8);
  }
  if (!manual.examples.empty()) {
    out += "\nexamples\n";
    for (const auto &[what, command] : manual.examples)
      out += "  " + wrap(what, 2, 2) + "\n    $ " + command + "\n";
  }
  out += top ? "\n`flamec SUBCOMMAND --help` tells more.\n" : "\nExit status: see `flamec --help`.\n";
  return out;
}

CLI::Validator flame::tool::oneOf(std::vector<std::string> values) {
  return CLI::Validator(
      [values](std::string &given) -> std::string {
        std::string list;
        for (const std::string &value : values) {
          if (value == given)
            return "";
          list += (list.empty() ? "" : ", ") + value;
        }
        std::string near = io::nearest(given, values);
        return "'" + given + "' is not one of " + list + (near.empty() ? "" : "; did you mean '" + near + "'?");
      },
      "");
}

std::string flame::tool::unknownOption(const CLI::App &sub, const std::vector<std::string> &arguments) {
  std::vector<std::string> known;
  for (const CLI::Option *option : sub.get_options()) {
    for (const std::string &name : option->get_snames())
      known.push_back("-" + name);
    if (option->get_group().empty())
      continue;
    for (const std::string &name : option->get_lnames())
      known.push_back("--" + name);
  }
  for (const std::string &argument : arguments) {
    if (argument == "--")
      return "";
    if (argument.size() < 2 || argument[0] != '-' || isdigit(static_cast<unsigned char>(argument[1])) ||
        argument[1] == '.')
      continue;
    std::string name = argument.substr(0, argument.find('='));
    if (argument[1] != '-')
      name = name.substr(0, 2); // a value may follow without a space
    if (sub.get_option_no_throw(name))
      continue;
    std::string shown = argument.substr(0, argument.find('=')), near = io::nearest(shown, known);
    return "unknown option '" + shown + "'" + (near.empty() ? "" : "; did you mean '" + near + "'?");
  }
  return "";
}

std::string flame::tool::nearestSubcommand(const CLI::App &app, const std::string &word) {
  std::vector<std::string> names;
  for (const CLI::App *sub : app.get_subcommands([](const CLI::App *sub) { return !sub->get_group().empty(); }))
    names.push_back(sub->get_name());
  return io::nearest(word, names);
}
