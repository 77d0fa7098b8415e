//===- Interrupt.cpp - what Ctrl-C and crashes do ---------------------------------------------------------------------===//
#include "Interrupt.h"
#include "Commands.h"
#include "llvm/Support/Signals.h"
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace flame;

void tool::watchInterrupts() {
  static sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  if (pthread_sigmask(SIG_BLOCK, &signals, nullptr) != 0)
    return;
  std::thread([] {
    int signal = 0;
    while (sigwait(&signals, &signal) != 0) {
    }
    llvm::sys::RunInterruptHandlers();
    const char *text = signal == SIGINT ? "\nflamec: interrupted\n" : "\nflamec: terminated\n";
    if (write(STDERR_FILENO, text, std::strlen(text)) < 0) {
    }
    _exit(128 + signal);
  }).detach();
}

namespace {

std::vector<char *> reproducer; // arguments of the process that describes the crash

void say(const char *text) {
  if (write(STDERR_FILENO, text, std::strlen(text)) < 0) {
  }
}

/// Only async-signal-safe calls. Not fork: it takes the allocator's locks, and one of them may be held where the signal came.
void onCrash(int signal) {
  struct sigaction action {};
  action.sa_handler = SIG_DFL;
  for (int other : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT})
    sigaction(other, &action, nullptr);
  say("\nerror: flamec has crashed (");
  say(signal == SIGSEGV   ? "segmentation fault"
      : signal == SIGBUS  ? "bus error: has a file become shorter while it was in use?"
      : signal == SIGILL  ? "illegal instruction"
      : signal == SIGFPE  ? "arithmetic error"
                          : "aborted");
  say("); this is a bug of flame\n");
  llvm::sys::RunInterruptHandlers();
  pid_t child = vfork();
  if (child == 0) {
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execv("/proc/self/exe", reproducer.data());
    _exit(1);
  }
  if (child > 0)
    while (waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
    }
  _exit(int(Status::Internal));
}

} // namespace

void tool::installCrashHandler(int argc, char **argv) {
  if (argc > 1 && std::strcmp(argv[1], "reproduce") == 0)
    return; // a crash of the helper ends here
  // Makes LLVM put its handlers in place now, so that ours come on top.
  llvm::sys::SetInterruptFunction(nullptr);
  static char subcommand[] = "reproduce", dashes[] = "--";
  reproducer = {argv[0], subcommand, dashes};
  reproducer.insert(reproducer.end(), argv + 1, argv + argc);
  reproducer.push_back(nullptr);
  static char stack[1 << 16];
  stack_t alternate{};
  alternate.ss_sp = stack;
  alternate.ss_size = sizeof(stack);
  sigaltstack(&alternate, nullptr); // the crash may be a stack overflow
  struct sigaction action {};
  action.sa_handler = onCrash;
  action.sa_flags = SA_ONSTACK | SA_NODEFER;
  for (int signal : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT})
    sigaction(signal, &action, nullptr);
}
