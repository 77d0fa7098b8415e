//===- Version.h - the compiler's version -----------------------------------------------------------------------------===//
#ifndef FLAME_SUPPORT_VERSION_H
#define FLAME_SUPPORT_VERSION_H

namespace flame {
/// "0.1.0", from the build.
const char *version();
} // namespace flame

#endif // FLAME_SUPPORT_VERSION_H
