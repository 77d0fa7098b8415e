//===- Safetensors.cpp - see Safetensors.h
//----------------------------------------------------------------------------===//
#include "flame/Import/Safetensors.h"
#include "flame/IR/Flame.h"
#include "flame/Import/Json.h"
#include "flame/Support/RegularFile.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/ADT/StringSwitch.h"
#include "llvm/Support/CheckedArithmetic.h"
#include "llvm/Support/Endian.h"

using namespace mlir;
using namespace flame;

namespace {

constexpr uint64_t kPrefix = 8, kLongestHeader = 100'000'000, kMostElements = uint64_t(1) << 55;
constexpr unsigned kHighestRank = 64;

/// Bits of an element; 0 for an unknown name.
unsigned elementBits(llvm::StringRef dtype) {
  return llvm::StringSwitch<unsigned>(dtype)
      .Case("F4", 4)
      .Cases({"F6_E2M3", "F6_E3M2"}, 6)
      .Cases({"BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"}, 8)
      .Cases({"U16", "I16", "F16", "BF16"}, 16)
      .Cases({"U32", "I32", "F32"}, 32)
      .Cases({"U64", "I64", "F64", "C64"}, 64)
      .Default(0);
}

std::string shapeText(const std::vector<int64_t> &shape) {
  std::string text;
  for (int64_t size : shape)
    text += (text.empty() ? "" : ",") + std::to_string(size);
  return "[" + text + "]";
}

/// Takes the header apart as it is parsed: whatever its author wrote, no more than the description itself is kept.
class HeaderParser : public nlohmann::json_sax<Json> {
public:
  HeaderParser(SafetensorsFile &file) : file(file) {}
  std::string problem;

  bool key(std::string &text) override {
    if (depth == 1) {
      if (!names.insert(text).second)
        return fail("the tensor '" + text + "' is described twice");
      inMetadata = text == "__metadata__";
      seen = 0;
      current = {};
      current.name = text;
      return true;
    }
    field = text;
    if (inMetadata)
      return metadataKeys.insert(text).second || fail("the metadata have the key '" + text + "' twice");
    unsigned bit = text == "dtype" ? 1 : text == "shape" ? 2 : text == "data_offsets" ? 4 : 0;
    if (!bit)
      return fail(who() + "has the entry '" + text + "'; dtype, shape and data_offsets are all there is");
    if (seen & bit)
      return fail(who() + "has the entry '" + text + "' twice");
    seen |= bit;
    return true;
  }
  bool start_object(size_t) override {
    if (depth >= 2 || inArray)
      return misplaced("an object");
    ++depth;
    return true;
  }
  bool end_object() override {
    if (--depth != 1)
      return true;
    if (inMetadata)
      return true;
    if (seen != 7)
      return fail(who() + "lacks its " + (!(seen & 1) ? "dtype" : !(seen & 2) ? "shape" : "data_offsets"));
    if (offsets.size() != 2)
      return fail(who() + "has " + std::to_string(offsets.size()) + " data_offsets; begin and end are needed");
    if (offsets[0] > offsets[1])
      return fail(who() + "ends at " + std::to_string(offsets[1]) + ", before its begin at " +
                  std::to_string(offsets[0]));
    current.offset = offsets[0];
    current.length = offsets[1] - offsets[0];
    offsets.clear();
    file.tensors.push_back(std::move(current));
    return true;
  }
  bool start_array(size_t) override {
    if (depth != 2 || inArray || inMetadata || field == "dtype")
      return misplaced("an array");
    inArray = true;
    return true;
  }
  bool end_array() override {
    inArray = false;
    return true;
  }
  bool string(std::string &text) override {
    if (inMetadata && depth == 2) {
      file.metadata.emplace_back(field, text);
      return true;
    }
    if (depth != 2 || inArray || field != "dtype")
      return misplaced("a string");
    current.dtype = text;
    return true;
  }
  bool number_unsigned(uint64_t value) override {
    if (!inArray)
      return misplaced("a number");
    if (field == "data_offsets") {
      offsets.push_back(value);
      return offsets.size() <= 2 || fail(who() + "has more than two data_offsets");
    }
    if (value > kMostElements)
      return fail(who() + "has a size of " + std::to_string(value) + ", more than any memory");
    current.shape.push_back(int64_t(value));
    return current.shape.size() <= kHighestRank || fail(who() + "has a rank over " + std::to_string(kHighestRank));
  }
  bool number_integer(int64_t value) override {
    return inArray ? fail(who() + "has the negative number " + std::to_string(value) + " in its " + field)
                   : misplaced("a number");
  }
  bool number_float(double, const std::string &text) override {
    return inArray
               ? fail(who() + "has the number " + text + " in its " + field + "; a whole number below 2^64 is needed")
               : misplaced("a number");
  }
  bool null() override { return misplaced("null"); }
  bool boolean(bool) override { return misplaced("a bool"); }
  bool binary(Json::binary_t &) override { return misplaced("binary data"); }
  bool parse_error(size_t, const std::string &, const nlohmann::detail::exception &error) override {
    return fail("is not valid JSON: " + jsonProblem(error));
  }

private:
  SafetensorsFile &file;
  SafetensorsTensor current;
  std::vector<uint64_t> offsets;
  llvm::StringSet<> names, metadataKeys;
  std::string field;
  unsigned depth = 0, seen = 0;
  bool inArray = false, inMetadata = false;

  bool fail(const std::string &text) {
    if (problem.empty())
      problem = text;
    return false;
  }
  std::string who() const { return "the tensor '" + current.name + "' "; }
  bool misplaced(const char *what) {
    if (depth == 0)
      return fail(std::string("is ") + what + " where an object is needed");
    if (inMetadata)
      return fail(std::string("has ") + what + (depth == 1 ? " as" : " in") +
                  " its metadata, which must be an object of strings");
    return fail(who() + "has " + what + (depth == 1 ? "" : " as its " + field) +
                ", which must be an object with dtype, shape and data_offsets");
  }
};

/// The bytes a tensor of this shape has; throws a message that follows its name.
uint64_t neededBytes(const SafetensorsTensor &tensor) {
  unsigned bits = elementBits(tensor.dtype);
  if (!bits)
    throw std::string("has the element type '" + tensor.dtype + "', which is unknown");
  uint64_t count = 1;
  bool empty = false;
  for (int64_t size : tensor.shape) {
    empty |= size == 0;
    if (size)
      count = llvm::checkedMulUnsigned(count, uint64_t(size)).value_or(kMostElements + 1);
    if (count > kMostElements)
      throw std::string("has the shape " + shapeText(tensor.shape) + ", more elements than any memory");
  }
  if (empty)
    return 0;
  if (count * bits % 8)
    throw std::string("has " + std::to_string(count) + " elements of " + std::to_string(bits) +
                      " bits, which are no whole number of bytes");
  return count * bits / 8;
}

} // namespace

Type flame::safetensorsType(MLIRContext *context, llvm::StringRef dtype) {
  // The numbers of dtypeFromCode.
  int code = llvm::StringSwitch<int>(dtype)
                 .Case("F32", 1)
                 .Case("U8", 2)
                 .Case("I8", 3)
                 .Case("U16", 4)
                 .Case("I16", 5)
                 .Case("I32", 6)
                 .Case("I64", 7)
                 .Case("BOOL", 9)
                 .Case("F16", 10)
                 .Case("F64", 11)
                 .Case("U32", 12)
                 .Case("U64", 13)
                 .Case("C64", 14)
                 .Case("BF16", 16)
                 .Case("F8_E4M3", 17)
                 .Case("F8_E4M3FNUZ", 18)
                 .Case("F8_E5M2", 19)
                 .Case("F8_E5M2FNUZ", 20)
                 .Case("F8_E8M0", 24)
                 .Default(0);
  return code ? dtypeFromCode(context, code) : Type();
}

/// The length of the header that the first eight bytes announce.
static uint64_t headerLength(llvm::StringRef prefix, uint64_t size, const std::string &name) {
  if (size < kPrefix)
    throw ImportError(name + ": has " + std::to_string(size) +
                      " bytes, a safetensors file has at least eight; the download did not finish");
  uint64_t length = llvm::support::endian::read64le(prefix.data());
  if (length > kLongestHeader)
    throw ImportError(
        name + ": announces a header of " + std::to_string(length) +
        " bytes, more than the 100 MB that a safetensors file may have; it is no safetensors file, or damaged");
  if (length > size - kPrefix)
    throw ImportError(name + ": announces a header of " + std::to_string(length) + " bytes and has only " +
                      std::to_string(size) + "; the download did not finish");
  return length;
}

SafetensorsFile flame::parseSafetensors(llvm::StringRef head, uint64_t size, const std::string &name) {
  uint64_t length = headerLength(head, size, name);
  llvm::StringRef text = head.substr(kPrefix, length);
  auto fail = [&](const std::string &problem) { throw ImportError(name + ": " + problem); };
  if (!text.starts_with("{"))
    fail("its header is no JSON object; it is no safetensors file, or damaged");
  SafetensorsFile file;
  file.size = size;
  HeaderParser parser(file);
  if (!Json::sax_parse(text.begin(), text.end(), &parser))
    fail("its header: " + parser.problem + "; the file is damaged");
  uint64_t begin = kPrefix + length, total = size - begin;
  for (SafetensorsTensor &tensor : file.tensors) {
    auto about = [&](const std::string &problem) { fail("the tensor '" + tensor.name + "' " + problem); };
    uint64_t needed = 0;
    try {
      needed = neededBytes(tensor);
    } catch (const std::string &problem) {
      about(problem);
    }
    if (tensor.length != needed)
      about("takes " + std::to_string(tensor.length) + " bytes, " + tensor.dtype + shapeText(tensor.shape) + " needs " +
            std::to_string(needed));
    if (tensor.offset > total || tensor.length > total - tensor.offset)
      about("ends at byte " + std::to_string(tensor.offset + tensor.length) + " of the " + std::to_string(total) +
            " that the file has after its header; the download did not finish");
  }
  llvm::stable_sort(file.tensors, [](const SafetensorsTensor &a, const SafetensorsTensor &b) {
    return std::pair(a.offset, a.length) < std::pair(b.offset, b.length);
  });
  uint64_t end = 0;
  for (SafetensorsTensor &tensor : file.tensors) {
    if (tensor.offset < end)
      fail("the tensor '" + tensor.name + "' overlaps the one before it");
    if (tensor.offset > end)
      fail("there is a hole of " + std::to_string(tensor.offset - end) + " bytes before the tensor '" + tensor.name +
           "'");
    end += tensor.length;
    tensor.offset += begin;
  }
  if (end != total)
    fail("has " + std::to_string(total - end) + " bytes after its last tensor that belong to none");
  return file;
}

SafetensorsFile flame::readSafetensors(const std::string &path) {
  RegularFile file;
  std::string head, problem = file.open(path);
  auto read = [&](uint64_t bytes) {
    if (problem.empty())
      problem = file.read(0, bytes, head);
    if (!problem.empty())
      throw ImportError(path + ": " + problem);
  };
  read(std::min(kPrefix, file.size()));
  read(kPrefix + headerLength(head, file.size(), path));
  return parseSafetensors(head, file.size(), path);
}
