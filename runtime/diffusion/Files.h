//===- Files.h - the small files of a model folder -------------------------===//
#ifndef FLAME_DIFFUSION_FILES_H
#define FLAME_DIFFUSION_FILES_H

#include <cstddef>
#include <string>
#include <string_view>

namespace flame::diffusion {

/// What no configuration or vocabulary comes near; a larger file is taken for a mistake.
inline constexpr size_t kLargestTextFile = size_t{256} << 20;

/// folder + "/" + name
std::string joinPath(std::string_view folder, std::string_view name);
/// A regular file (or a link to one) is there.
bool fileExists(const std::string &path);
/// All of a regular file. Throws Error(FLAME_IO) naming the path and the reason.
std::string readFile(const std::string &path, size_t limit = kLargestTextFile);
/// Writes by a temporary file beside `path` and a rename: another process sees the old file or the whole new one.
/// Throws Error(FLAME_IO).
void writeFile(const std::string &path, const void *data, size_t bytes);

} // namespace flame::diffusion

#endif
