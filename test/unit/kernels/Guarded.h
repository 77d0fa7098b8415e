//===- Guarded.h - operands whose end can't be read over ----------------------------------------------------------===//
#pragma once
#include <cstddef>
#include <sys/mman.h>

namespace flame {

/// Memory that ends where its last page does.
template <typename T> class Guarded {
public:
  explicit Guarded(size_t count) : count(count) {
    const size_t page = 4096;
    bytes = (count * sizeof(T) + page - 1) / page * page + page;
    memory = (char *)mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(memory + bytes - page, page, PROT_NONE);
    data = (T *)(memory + bytes - page) - count;
  }
  ~Guarded() { munmap(memory, bytes); }
  T &operator[](size_t i) { return data[i]; }

  T *data;
  size_t count;

private:
  char *memory;
  size_t bytes;
};

} // namespace flame
