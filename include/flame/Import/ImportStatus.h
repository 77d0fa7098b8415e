//===- ImportStatus.h - how an import ends
//----------------------------------------------------------------------------===//
#ifndef FLAME_IMPORT_IMPORTSTATUS_H
#define FLAME_IMPORT_IMPORTSTATUS_H

#include <stdexcept>
#include <string>

namespace flame {

/// The kinds of failure, as the exit codes of the tools distinguish them.
enum class ImportStatus { Ok, BadInput, Unsupported };

/// A complete message: the file, the cause, the remedy.
struct ImportError : std::runtime_error {
  explicit ImportError(const std::string &text, ImportStatus status = ImportStatus::BadInput)
      : std::runtime_error(text), status(status) {}
  ImportStatus status;
};

} // namespace flame

#endif // FLAME_IMPORT_IMPORTSTATUS_H
