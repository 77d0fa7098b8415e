//===- Python.cpp - a Python interpreter as a child process -----------------------------------------------------------===//
#include "Python.h"
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace flame::tool;

extern char **environ;

std::string flame::tool::pythonProgram() {
  const char *chosen = std::getenv("FLAME_PYTHON");
  return chosen && *chosen ? chosen : "python3";
}

std::string PythonResult::problem() const {
  std::string text = errors;
  while (!text.empty() && (text.back() == '\n' || text.back() == ' '))
    text.pop_back();
  size_t line = text.rfind('\n');
  if (text.empty())
    return status < 0 ? "ended by signal " + std::to_string(-status) : "exit code " + std::to_string(status);
  return line == std::string::npos ? text : text.substr(line + 1);
}

PythonResult flame::tool::runPython(const std::vector<std::string> &arguments) {
  PythonResult result;
  std::string program = pythonProgram();
  std::vector<char *> argv = {program.data()};
  std::vector<std::string> copies = arguments;
  for (std::string &argument : copies)
    argv.push_back(argument.data());
  argv.push_back(nullptr);

  int out[2], errors[2];
  if (pipe2(out, O_CLOEXEC) != 0)
    return {127, "", std::strerror(errno)};
  if (pipe2(errors, O_CLOEXEC) != 0) {
    close(out[0]);
    close(out[1]);
    return {127, "", std::strerror(errno)};
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, errors[1], STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none; // we block SIGINT; Ctrl-C must end the child
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t child = 0;
  int failed = posix_spawnp(&child, program.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(out[1]);
  close(errors[1]);
  if (failed) {
    close(out[0]);
    close(errors[0]);
    return {127, "", std::strerror(failed)};
  }
  pollfd pipes[2] = {{out[0], POLLIN, 0}, {errors[0], POLLIN, 0}};
  std::string *texts[2] = {&result.out, &result.errors};
  for (int open = 2; open > 0;) {
    if (poll(pipes, 2, -1) < 0 && errno != EINTR)
      break;
    for (int i = 0; i < 2; ++i) {
      if (pipes[i].fd < 0 || !pipes[i].revents)
        continue;
      char buffer[4096];
      ssize_t count = read(pipes[i].fd, buffer, sizeof buffer);
      if (count > 0) {
        texts[i]->append(buffer, size_t(count));
      } else if (count == 0 || errno != EINTR) {
        pipes[i].fd = -1; // poll skips it
        --open;
      }
    }
  }
  close(out[0]);
  close(errors[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  result.status = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
  return result;
}
