//===- Python.h - a Python interpreter as a child process -------------------------------------------------------------===//
#ifndef FLAME_TOOLS_FLAMEC_PYTHON_H
#define FLAME_TOOLS_FLAMEC_PYTHON_H

#include <string>
#include <vector>

namespace flame::tool {

/// $FLAME_PYTHON, else "python3" from the PATH.
std::string pythonProgram();

struct PythonResult {
  int status = 0;          // exit code; negative: the signal; 127: could not be started
  std::string out, errors; // what it printed
  std::string firstLine() const { return out.substr(0, out.find('\n')); }
  /// The last line of what it said on stderr.
  std::string problem() const;
};
/// Runs the interpreter to its end; stdin is empty.
PythonResult runPython(const std::vector<std::string> &arguments);

} // namespace flame::tool

#endif // FLAME_TOOLS_FLAMEC_PYTHON_H
