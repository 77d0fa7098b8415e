//===- ScheduleFile.h - schedules that a person gives, and those that were chosen ----------------------------------===//
//
// See lib/Target/Cuda/Schedules.h for the form of the file.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_TARGET_CUDA_SCHEDULEFILE_H
#define FLAME_TARGET_CUDA_SCHEDULEFILE_H

#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <optional>
#include <string>
#include <vector>

namespace flame::cuda {

class ScheduleFile {
public:
  struct Entry {
    std::string place; // "schedules.json: entry 3"
    std::string family;
    llvm::json::Object problem;
    llvm::json::Value schedule = nullptr;
    mutable bool used = false;

    llvm::Error error(const llvm::Twine &message) const;
  };

  /// No entries.
  ScheduleFile() = default;
  /// Reads and checks the file; an empty path gives none.
  static llvm::Expected<ScheduleFile> open(llvm::StringRef path);

  /// The first entry for this problem, or null.
  const Entry *find(llvm::StringRef family, const llvm::json::Object &problem);
  /// Remembers what was chosen; the same problem is listed once.
  void list(llvm::StringRef family, llvm::json::Object problem, llvm::json::Value schedule);
  /// All that was chosen, in the order of the kernels, as a file.
  std::string text() const;
  /// An entry that no kernel has met, or an empty string.
  std::string unused() const;

private:
  std::vector<Entry> entries, chosen;
};

/// Whether `value` is a whole number that fits, or a truth value, and then its value.
bool read(const llvm::json::Value &value, int &number);
bool read(const llvm::json::Value &value, bool &flag);

} // namespace flame::cuda

#endif // FLAME_TARGET_CUDA_SCHEDULEFILE_H
