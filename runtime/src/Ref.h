//===- Ref.h - intrusive reference counts ---------------------------------===//
//
// RefCounted objects start with one reference, which Ref::adopt takes over. The count is atomic: values and modules
// travel between threads.
//
//===----------------------------------------------------------------------===//
#ifndef FLAME_RUNTIME_REF_H
#define FLAME_RUNTIME_REF_H

#include <atomic>
#include <cstddef>
#include <utility>

namespace flame::rt {

class RefCounted {
public:
  RefCounted() = default;
  RefCounted(const RefCounted &) = delete;
  RefCounted &operator=(const RefCounted &) = delete;
  virtual ~RefCounted() = default;

  void retain() const { count.fetch_add(1, std::memory_order_relaxed); }
  void release() const {
    if (count.fetch_sub(1, std::memory_order_acq_rel) == 1)
      delete this;
  }
  /// For lists that do not count as owners: false where the object is on its way out.
  bool retainIfAlive() const {
    size_t seen = count.load(std::memory_order_relaxed);
    while (seen && !count.compare_exchange_weak(seen, seen + 1, std::memory_order_acq_rel)) {
    }
    return seen != 0;
  }
  bool isShared() const { return count.load(std::memory_order_acquire) > 1; }

private:
  mutable std::atomic<size_t> count{1};
};

template <typename T> class Ref {
public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  Ref(const Ref &other) : object(other.object) {
    if (object)
      object->retain();
  }
  Ref(Ref &&other) noexcept : object(std::exchange(other.object, nullptr)) {}
  Ref &operator=(Ref other) noexcept {
    std::swap(object, other.object);
    return *this;
  }
  ~Ref() {
    if (object)
      object->release();
  }

  /// Takes over the caller's reference.
  static Ref adopt(T *object) {
    Ref ref;
    ref.object = object;
    return ref;
  }
  /// Adds a reference.
  static Ref share(T *object) {
    if (object)
      object->retain();
    return adopt(object);
  }

  T *get() const { return object; }
  T *operator->() const { return object; }
  T &operator*() const { return *object; }
  explicit operator bool() const { return object != nullptr; }
  /// Gives the reference to the caller.
  T *detach() { return std::exchange(object, nullptr); }
  void reset() { *this = Ref(); }

private:
  T *object = nullptr;
};

template <typename T, typename... Args> Ref<T> makeRef(Args &&...args) {
  return Ref<T>::adopt(new T(std::forward<Args>(args)...));
}

} // namespace flame::rt

#endif
