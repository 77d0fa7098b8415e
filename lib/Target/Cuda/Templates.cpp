//===- Templates.cpp - see Templates.h ----------------------------------------------------------------------------===//
#include "Templates.h"
#include "llvm/Support/ErrorHandling.h"

using namespace llvm;

namespace {
struct TemplateFile {
  StringRef name, text;
};
const TemplateFile files[] = {
#include "flame/Target/Cuda/Templates.inc"
};
} // namespace

void flame::cuda::appendTemplate(StringRef name, StringSet<> &seen, std::string &text) {
  if (!seen.insert(name).second)
    return;
  const auto *file = find_if(files, [&](const TemplateFile &f) { return f.name == name; });
  if (file == std::end(files))
    report_fatal_error("no device template " + name);
  StringRef rest = file->text;
  bool head = true;
  while (!rest.empty()) {
    StringRef line;
    std::tie(line, rest) = rest.split('\n');
    StringRef included = line;
    if (included.consume_front("#include \"")) {
      appendTemplate(included.take_until([](char c) { return c == '"'; }), seen, text);
      continue;
    }
    if (line.starts_with("#pragma once") || (head && (line.starts_with("//") || line.empty())))
      continue;
    head = false;
    text += line.str() + "\n";
  }
}
