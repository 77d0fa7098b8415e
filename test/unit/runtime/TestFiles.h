//===- TestFiles.h - what was built for the tests and lies beside them -----===//
#ifndef FLAME_TEST_UNIT_RUNTIME_TESTFILES_H
#define FLAME_TEST_UNIT_RUNTIME_TESTFILES_H

#include <cstdlib>
#include <string>

namespace flame::test {

/// Where a file is that CMake knows as `built`: there, or with FLAME_TEST_FILES in that folder, as on another machine.
inline std::string testFile(const char *built) {
  const char *folder = std::getenv("FLAME_TEST_FILES");
  const std::string path = built;
  return folder && *folder ? folder + path.substr(path.find_last_of('/')) : path;
}

} // namespace flame::test

#endif
