//===- ModelFiles.cpp - the files a model consists of -----------------------------------------------------------------===//
#include "ModelFiles.h"
#include "flame/Builder/GraphBuilder.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/MathExtras.h"
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace llvm;
using namespace flame;
using namespace flame::onnx;

namespace {
struct Descriptor {
  int fd;
  explicit Descriptor(int fd) : fd(fd) {}
  ~Descriptor() {
    if (fd >= 0)
      ::close(fd);
  }
};
} // namespace

MappedFile::~MappedFile() {
  if (data)
    ::munmap(data, size);
}

std::string MappedFile::open(const std::string &path) {
  // Non-blocking, so that a FIFO does not hang the open.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.fd < 0)
    return std::string("can't be opened: ") + std::strerror(errno) + "; check the path and its permissions";
  struct stat info;
  if (::fstat(file.fd, &info) != 0)
    return std::string("can't be examined: ") + std::strerror(errno);
  if (!S_ISREG(info.st_mode))
    return S_ISDIR(info.st_mode) ? "is a folder; name the .onnx file in it" : "is not a regular file";
  if (info.st_size == 0)
    return "is empty; the download or the export did not finish";
  if (info.st_size > INT_MAX)
    return "has " + std::to_string(info.st_size) +
           " bytes, and an ONNX file can't be larger than 2 GiB; save the model with external data "
           "(onnx.save(..., save_as_external_data=True))";
  void *mapped = ::mmap(nullptr, info.st_size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (mapped == MAP_FAILED)
    return std::string("can't be mapped: ") + std::strerror(errno);
  data = mapped;
  size = info.st_size;
  return "";
}

const ModelFolder::DataFile &ModelFolder::find(StringRef location) {
  if (auto known = files.find(location); known != files.end())
    return known->second;
  auto refuse = [&](const Twine &why) {
    throw BuildError(("external data file '" + location + "' " + why).str());
  };
  if (folder.empty())
    refuse("can't be read: the model was not read from a folder");
  if (location.empty())
    throw BuildError("external data without a 'location'; the model is malformed, save it again");
  if (location.contains('\0'))
    throw BuildError("the name of an external data file contains a NUL character");
  if (location.front() == '/' || location.contains('\\') || (location.size() > 1 && location[1] == ':'))
    refuse("must be named relative to the model's folder, with '/'");
  std::string clean;
  for (StringRef part : split(location, '/')) {
    if (part == "..")
      refuse("lies outside the model's folder; move it beside the model and name it without '..'");
    if (part.empty() || part == ".")
      continue;
    clean += (clean.empty() ? "" : "/") + part.str();
  }
  std::unique_ptr<char, decltype(&std::free)> root(::realpath(folder.c_str(), nullptr), &std::free);
  if (!root)
    refuse("can't be found: the model's folder: " + Twine(std::strerror(errno)));
  std::string path = std::string(root.get()) + "/" + clean;
  std::unique_ptr<char, decltype(&std::free)> real(::realpath(path.c_str(), nullptr), &std::free);
  if (!real)
    refuse("can't be opened: " + Twine(std::strerror(errno)) + "; it belongs beside the model");
  // Links that stay in the folder do no harm.
  std::string inside = root.get() == std::string("/") ? "/" : std::string(root.get()) + "/";
  if (!StringRef(real.get()).starts_with(inside))
    refuse("is a symbolic link out of the model's folder; put the file itself there");
  Descriptor file(::open(real.get(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW));
  struct stat info;
  if (file.fd < 0 || ::fstat(file.fd, &info) != 0)
    refuse("can't be opened: " + Twine(std::strerror(errno)));
  if (!S_ISREG(info.st_mode))
    refuse("is not a regular file");
  if (info.st_nlink > 1)
    refuse("has another hard link; put a copy of its own into the model's folder");
  return files[location] = {StringRef(real.get()).drop_front(inside.size()).str(), uint64_t(info.st_size)};
}

FilePiece ModelFolder::locate(StringRef location, StringRef offset, StringRef length, uint64_t needed) {
  const DataFile &file = find(location);
  uint64_t size = file.size;
  FilePiece piece{file.path, 0, needed};
  auto number = [&](StringRef text, StringRef what, uint64_t &value) {
    if (!text.empty() && text.getAsInteger(10, value))
      throw BuildError(("external data file '" + location + "': the " + what + " '" + text +
                        "' is not a number of bytes").str());
  };
  number(offset, "offset", piece.offset);
  number(length, "length", piece.length);
  if (piece.length != needed)
    throw BuildError(("external data file '" + location + "': length " + length + " is given, the tensor needs " +
                      Twine(needed) + " bytes").str());
  if (piece.offset > size || piece.length > size - piece.offset)
    throw BuildError(("external data file '" + location + "' has " + Twine(size) + " bytes, the tensor is said to be " +
                      Twine(piece.length) + " bytes at offset " + Twine(piece.offset) +
                      "; the file is truncated or belongs to another model").str());
  return piece;
}

std::string ModelFolder::read(const FilePiece &piece) {
  std::string path = folder + "/" + piece.file, bytes(piece.length, '\0');
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  size_t done = 0;
  while (file.fd >= 0 && done < bytes.size()) {
    ssize_t count = ::pread(file.fd, bytes.data() + done, bytes.size() - done, piece.offset + done);
    if (count <= 0)
      break;
    done += count;
  }
  if (done < bytes.size())
    throw BuildError("external data file '" + piece.file + "' can't be read: " + std::strerror(errno));
  return bytes;
}
