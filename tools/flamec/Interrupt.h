//===- Interrupt.h - what Ctrl-C and crashes do -----------------------------------------------------------------------===//
#ifndef FLAME_TOOLS_FLAMEC_INTERRUPT_H
#define FLAME_TOOLS_FLAMEC_INTERRUPT_H

namespace flame::tool {

/// Call before any thread starts. From then on SIGINT and SIGTERM reach only a thread of their own, which removes the
/// files of llvm::sys::RemoveFileOnSignal, says so, and ends the process with 130 (143 for SIGTERM).
void watchInterrupts();

/// A crash (a signal such as SIGSEGV or SIGABRT) prints a message and starts `flamec reproduce` in a new process, which
/// leaves a folder with the model without its weights and the command that fails; the exit code is 1.
void installCrashHandler(int argc, char **argv);

} // namespace flame::tool

#endif // FLAME_TOOLS_FLAMEC_INTERRUPT_H
