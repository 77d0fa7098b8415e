//===- CodeObject.h - native code of an artifact, ready to call -----------===//
#ifndef FLAME_RUNTIME_CODEOBJECT_H
#define FLAME_RUNTIME_CODEOBJECT_H

#include "Plan.h"

namespace flame::rt {

/// Throws Error(FLAME_BAD_ARTIFACT) unless checksum and size are right.
void checkCode(const CodeInfo &code);
/// Decompresses to `out`, which has room for code.size bytes.
void decompress(const CodeInfo &code, void *out);

/// A loaded shared object. The code is checked against its checksum, decompressed into anonymous memory and given to
/// the dynamic loader; nothing is written to a disk.
class CodeObject {
public:
  /// Throws Error: FLAME_UNSUPPORTED (another architecture, missing CPU features, device code), FLAME_BAD_ARTIFACT.
  explicit CodeObject(const CodeInfo &code);
  ~CodeObject();
  CodeObject(CodeObject &&other) noexcept;
  CodeObject &operator=(CodeObject &&) = delete;

  /// Throws Error(FLAME_BAD_ARTIFACT) where the object does not define it.
  void *symbol(const std::string &name) const;

private:
  void *handle = nullptr;
  int descriptor = -1;
};

} // namespace flame::rt

#endif
