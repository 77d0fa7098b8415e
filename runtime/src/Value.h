//===- Value.h - tensors, sequences, optionals ----------------------------===//
//
// A Value is what a slot, an input or an output holds. Copying one shares the memory. Values are immutable once they
// are visible to anyone else, except for the bytes of a tensor while a kernel writes them.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_VALUE_H
#define FLAME_RUNTIME_VALUE_H

#include "DType.h"
#include "Memory.h"

#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace flame::rt {

inline constexpr int kMaxRank = 32;

class Dims {
public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> dims) : Dims(dims.begin(), static_cast<int>(dims.size())) {}
  /// Throws where the rank exceeds kMaxRank.
  Dims(const int64_t *dims, int rank) {
    for (int i = 0; i < rank; ++i)
      push_back(dims[i]);
  }
  Dims(const Dims &other) { *this = other; }
  Dims &operator=(const Dims &other) {
    count = other.count;
    for (int i = 0; i < count; ++i)
      values[i] = other.values[i];
    return *this;
  }

  int rank() const { return count; }
  size_t size() const { return count; }
  bool empty() const { return count == 0; }
  int64_t &operator[](int i) { return values[i]; }
  int64_t operator[](int i) const { return values[i]; }
  int64_t *begin() { return values; }
  int64_t *end() { return values + count; }
  const int64_t *begin() const { return values; }
  const int64_t *end() const { return values + count; }
  const int64_t *data() const { return values; }
  void push_back(int64_t dim) {
    if (count == kMaxRank)
      fail(FLAME_UNSUPPORTED, "a tensor has more than ", kMaxRank, " dimensions");
    values[count++] = dim;
  }
  void clear() { count = 0; }
  void insert(int at, int64_t dim);
  void erase(int at);

  bool operator==(const Dims &other) const {
    if (count != other.count)
      return false;
    for (int i = 0; i < count; ++i)
      if (values[i] != other.values[i])
        return false;
    return true;
  }
  std::string str() const { return formatDims(values, count); }

private:
  int64_t values[kMaxRank];
  int count = 0;
};

/// Number of elements; nullopt where a dimension is negative or the product exceeds int64.
std::optional<int64_t> countElements(const Dims &dims);
/// Bytes of a dense tensor; nullopt as above or where the size exceeds half of the address space.
std::optional<size_t> countBytes(DType dtype, const Dims &dims);

/// How long a tensor's memory lasts.
enum class Origin : uint8_t {
  Owned,   // `buffer` keeps it
  Static,  // a weight, constant or persistent value: as long as the module
  Arena,   // until its lifetime in the session's arena ends
  Borrowed // the caller's input: until the run ends (`buffer` may keep it longer)
};

struct Tensor {
  DType dtype = FLAME_UNDEFINED;
  Origin origin = Origin::Owned;
  Dims dims;
  int16_t device = kHost; // where `data` is
  void *data = nullptr;
  size_t bytes = 0;
  Ref<Buffer> buffer;

  int rank() const { return dims.rank(); }
  /// The dims are valid by construction; beside a zero the others may be of any size.
  int64_t elements() const {
    uint64_t n = 1;
    for (int64_t d : dims)
      n *= static_cast<uint64_t>(d);
    return n;
  }
  template <typename T> T *as() const { return static_cast<T *>(data); }
  std::string *strings() const { return static_cast<std::string *>(data); }
  bool isString() const { return dtype == FLAME_STRING; }
  bool onHost() const { return device == kHost; }
};

struct Value;

struct List : RefCounted {
  std::vector<Value> items;
};

struct Value {
  flame_kind kind = FLAME_TENSOR;
  bool set = false;
  Tensor tensor;  // Tensor; for the other kinds only `dtype`, the element type, is meaningful
  Ref<List> list; // Sequence: the items; Optional: no item or one

  static Value of(Tensor tensor);
  static Value sequence(DType dtype, std::vector<Value> items);
  /// `content` nullptr: empty.
  static Value optional(DType dtype, const Value *content);

  size_t length() const { return list ? list->items.size() : 0; }
  const std::vector<Value> &items() const;
  /// "f32[2,3]", "sequence of 4 f32 tensors", "empty optional".
  std::string describe() const;
};

/// A fresh tensor where the allocator's memory is. Strings are empty, everything else is uninitialised. Throws on an
/// impossible size.
Tensor makeTensor(const Ref<Allocator> &allocator, DType dtype, const Dims &dims);
/// The three below are for tensors in CPU memory; Queue.h has what also works on a GPU.
/// A copy with memory of its own.
Tensor copyTensor(const Ref<Allocator> &allocator, const Tensor &tensor);
/// Copies all elements; both have the same dtype and number of elements.
void copyElements(const Tensor &from, const Tensor &to);
void copyElements(const Tensor &from, int64_t fromIndex, const Tensor &to, int64_t toIndex, int64_t count);

/// "f32[2,3]"
std::string describeTensor(DType dtype, const Dims &dims);

} // namespace flame::rt

/// What the C interface's flame_value points to.
struct flame_value : flame::rt::RefCounted {
  flame::rt::Value value;
};

#endif
