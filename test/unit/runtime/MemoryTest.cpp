//===- MemoryTest.cpp - limits, hooks, failing allocations ----------------===//
//
// This file replaces the global operator new, so that any allocation can be made to fail, not only those of tensors.
//
//===----------------------------------------------------------------------===//

#include "FakeCudaDriver.h"
#include "Models.h"
#include "TestSupport.h"

#include <atomic>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>

using namespace flame::test;

namespace {

std::atomic<int64_t> countdown{-1}; // the allocation that fails; negative: none
std::atomic<int64_t> alive{0};      // allocations by operator new that are not freed

void *allocate(size_t bytes) {
  if (countdown.load(std::memory_order_relaxed) >= 0 && countdown.fetch_sub(1) == 0)
    return nullptr;
  void *memory = std::malloc(bytes ? bytes : 1);
  if (memory)
    alive.fetch_add(1, std::memory_order_relaxed);
  return memory;
}

} // namespace

void *operator new(size_t bytes) {
  if (void *memory = allocate(bytes))
    return memory;
  throw std::bad_alloc();
}
void *operator new[](size_t bytes) { return operator new(bytes); }
void *operator new(size_t bytes, const std::nothrow_t &) noexcept { return allocate(bytes); }
void *operator new[](size_t bytes, const std::nothrow_t &) noexcept { return allocate(bytes); }
void operator delete(void *memory) noexcept {
  if (memory)
    alive.fetch_sub(1, std::memory_order_relaxed);
  std::free(memory);
}
void operator delete[](void *memory) noexcept { operator delete(memory); }
void operator delete(void *memory, size_t) noexcept { operator delete(memory); }
void operator delete[](void *memory, size_t) noexcept { operator delete(memory); }

namespace {

/// Loads, makes a session, runs twice, reads the outputs, releases everything. Returns the first error's code.
flame_code lifeCycle(const std::vector<uint8_t> &bytes, const flame_options &options, const flame_value *const *inputs,
                     size_t inputCount, size_t outputCount) {
  flame_code code = FLAME_OK;
  auto note = [&](flame_status *status) {
    const bool ok = status == nullptr;
    if (code == FLAME_OK)
      code = flame_status_code(status);
    flame_status_free(status);
    return ok;
  };
  flame_module *module = nullptr;
  flame_session *session = nullptr;
  if (note(flame_module_load_memory(bytes.data(), bytes.size(), &options, &module)) &&
      note(flame_session_create(module, &session))) {
    for (int i = 0; i < 2; ++i) {
      flame_value *outputs[8] = {};
      if (!note(flame_session_run(session, inputs, inputCount, outputs, outputCount))) {
        for (size_t k = 0; k < outputCount; ++k)
          EXPECT_EQ(outputs[k], nullptr);
      }
      for (size_t k = 0; k < outputCount; ++k)
        flame_value_release(outputs[k]);
    }
  }
  flame_session_release(session);
  flame_module_release(module);
  return code;
}

} // namespace

TEST(Memory, SurvivesTheFailureOfAnyTensorAllocation) {
  const auto bytes = everything().finish();
  auto x = tensor<float>({3, 2}, iota(6));
  auto c = tensor<bool>({}, {false});
  const flame_value *inputs[] = {x.get(), c.get()};
  uint64_t n = 1;
  for (;; ++n) {
    flame_options options = defaultOptions();
    options.fail_allocation = n;
    const flame_code code = lifeCycle(bytes, options, inputs, 2, 5);
    if (code == FLAME_OK)
      break;
    ASSERT_EQ(code, FLAME_OUT_OF_MEMORY) << n;
    ASSERT_LT(n, 1000u);
  }
  EXPECT_GT(n, 10u);
}

namespace {

void failEveryAllocation(const std::vector<uint8_t> &bytes) {
  auto x = tensor<float>({3, 2}, iota(6));
  auto c = tensor<bool>({}, {true});
  const flame_value *inputs[] = {x.get(), c.get()};
  flame_options options = defaultOptions();
  options.threads = 1; // threads that start allocate, too, but not on a schedule
  lifeCycle(bytes, options, inputs, 2, 5);
  int64_t n = 0;
  for (;; ++n) {
    const int64_t before = alive.load();
    countdown = n;
    const flame_code code = lifeCycle(bytes, options, inputs, 2, 5);
    const bool reached = countdown.exchange(-1) < 0;
    ASSERT_EQ(alive.load(), before) << "allocation " << n << " failed and something leaked";
    if (!reached)
      break;
    ASSERT_TRUE(code == FLAME_OUT_OF_MEMORY || code == FLAME_OK) << n << ": " << flame_code_name(code);
    ASSERT_LT(n, 100000);
  }
  EXPECT_GT(n, 100);
}

} // namespace

TEST(Memory, SurvivesTheFailureOfAnyAllocationWithoutLeaks) { failEveryAllocation(everything().finish()); }

TEST(Memory, SurvivesTheFailureOfAnyAllocationInFrontOfAGpu) {
  FLAME_FAKE_GPU_ONLY();
  fakeCuda();
  failEveryAllocation(everything().onCuda().finish());
  EXPECT_EQ(fakeCuda().alive(), 0);
  EXPECT_EQ(fakeCuda().violation, "");
}

TEST(Memory, ValuesSurviveTheFailureOfAnyAllocation) {
  const int64_t shape[] = {2};
  const char *texts[] = {"one string that is longer than the inline buffer", "b"};
  // The first round, in which nothing fails, makes what is allocated once in a process; it is not measured.
  for (int64_t n = -1;; ++n) {
    const int64_t before = alive.load();
    countdown = n;
    flame_value *a = nullptr, *s = nullptr, *q = nullptr, *o = nullptr, *item = nullptr;
    DLManagedTensor *managed = nullptr;
    flame_status_free(flame_tensor_create(nullptr, FLAME_F32, shape, 1, &a));
    flame_status_free(flame_tensor_from_strings(shape, 1, texts, nullptr, &s));
    if (a) {
      flame_status_free(flame_sequence_create(FLAME_F32, &a, 1, &q));
      flame_status_free(flame_optional_create(a, &o));
      flame_status_free(flame_sequence_at(q, 0, &item));
      flame_status_free(flame_tensor_to_dlpack(a, &managed));
    }
    const bool reached = countdown.exchange(-1) < 0;
    flame_value *back = nullptr;
    if (managed) {
      EXPECT_OK(flame_tensor_from_dlpack(managed, &back));
      flame_value_release(back);
    }
    for (flame_value *v : {a, s, q, o, item})
      flame_value_release(v);
    if (n < 0)
      continue;
    ASSERT_EQ(alive.load(), before) << n;
    if (!reached)
      break;
  }
}

TEST(Memory, LimitNamesPeakAndTensors) {
  PlanBuilder p;
  const int n = p.symbol("n"), ne = p.symbolExpr(n), one = p.constant(1);
  const int x = p.input("x", DType::F32, {ne}, {"n"});
  const int big = p.arena("big", DType::F32, {p.mul(ne, p.constant(100))}, 1, 2),
            small = p.arena("small", DType::F32, {ne}, 1, 2);
  p.bind(x, {n});
  p.launch("k_scale", {x, small}, {one, one}, ne, "first");
  p.launch("k_fill", {big}, {one}, ne, "second");
  const int y = p.heap("y", DType::F32, {ne});
  p.alloc(y);
  p.launch("k_scale", {x, y}, {one, one}, ne, "third");
  p.output("y", y, {"n"});
  flame_options options = defaultOptions();
  options.memory_limit = 100'000;
  auto module = load(p.finish(), options);
  auto s = session(module);
  run(s, 1, tensor<float>({10}, iota(10)));
  std::vector<ValuePtr> out;
  auto large = tensor<float>({1000}, iota(1000));
  Result r = tryRun(s, {large.get()}, 1, out);
  EXPECT_EQ(r.code, FLAME_OUT_OF_MEMORY);
  for (const char *text : {"the memory limit of 97.6 KiB", "a peak of", "largest tensors: 'big' f32[100000] 390.6 KiB",
                           "'small' f32[1000]", "raise the limit"})
    EXPECT_NE(r.message.find(text), std::string::npos) << text << " in: " << r.message;
  EXPECT_EQ(dims(run(s, 1, tensor<float>({20}, iota(20)))[0]), (std::vector<int64_t>{20}));
  uint64_t current, peak;
  flame_module_memory(module.get(), &current, &peak);
  EXPECT_LE(peak, 100'000u);

  flame_shape shape{1, nullptr};
  const int64_t dim = 1000;
  shape.dims = &dim;
  uint64_t planned;
  int exact;
  ASSERT_OK(flame_module_planned_bytes(module.get(), &shape, 1, &planned, &exact));
  EXPECT_EQ(planned, 400'000u + 4032 + 4000);
  EXPECT_EQ(exact, 1);
  EXPECT_FAILS(flame_module_planned_bytes(module.get(), &shape, 0, &planned, &exact), FLAME_INVALID_ARGUMENT,
               "1 input");
}

TEST(Memory, UsesTheHooksForEverythingAndReturnsIt) {
  struct Counter {
    std::mutex mutex;
    std::map<void *, size_t> live;
    size_t count = 0;
  } counter;
  flame_options options = defaultOptions();
  options.allocator.user = &counter;
  options.allocator.alloc = [](size_t bytes, size_t alignment, void *user) {
    void *memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    auto &c = *static_cast<Counter *>(user);
    std::lock_guard lock(c.mutex);
    c.live[memory] = bytes;
    ++c.count;
    return memory;
  };
  options.allocator.free = [](void *memory, size_t bytes, void *user) {
    auto &c = *static_cast<Counter *>(user);
    std::lock_guard lock(c.mutex);
    EXPECT_EQ(c.live[memory], bytes);
    c.live.erase(memory);
    std::free(memory);
  };
  std::vector<ValuePtr> kept;
  {
    auto module = load(everything().finish(), options);
    auto s = session(module);
    kept = run(s, 5, tensor<float>({3, 2}, iota(6)), tensor<bool>({}, {true}));
  }
  // Outputs outlive module and session.
  EXPECT_EQ(values<float>(kept[0])[0], 3);
  EXPECT_GT(counter.count, 5u);
  kept.clear();
  EXPECT_TRUE(counter.live.empty());
}

TEST(Memory, KeepsNothingBetweenRunsButTheArena) {
  auto module = load(everything().finish());
  auto s = session(module);
  auto x = tensor<float>({3, 2}, iota(6));
  auto c = tensor<bool>({}, {true});
  run(s, 5, x, c);
  uint64_t first, current, peak;
  flame_module_memory(module.get(), &first, &peak);
  for (int i = 0; i < 20; ++i)
    run(s, 5, x, c);
  flame_module_memory(module.get(), &current, nullptr);
  EXPECT_EQ(first, current);
}
