//===- DonationTest.cpp - outputs in the memory of inputs --------------------===//

#include "FakeCudaDriver.h"
#include "Models.h"
#include "TestSupport.h"
#include "flame_rt.hpp"

#include <array>

using namespace flame::test;
namespace plan = flame::plan;

namespace {

/// Every test runs on the CPU and on the fake GPU; there the tensors are in its memory.
class Donation : public testing::TestWithParam<plan::Device> {
protected:
  bool cuda() const { return GetParam() == plan::Device::Cuda; }
  void SetUp() override {
    if (cuda())
      fakeCuda();
  }
  void TearDown() override {
    if (cuda()) {
      EXPECT_EQ(fakeCuda().violation, "");
      EXPECT_EQ(fakeCuda().alive(), 0) << "something leaked";
    }
  }
  ModulePtr make(PlanBuilder p) { return load(cuda() ? p.onCuda().finish() : p.finish()); }

  /// f32[4] where the kernels are, in the caller's memory.
  ValuePtr state(float start) {
    auto host = tensor<float>({4}, iota(4, start));
    if (!cuda())
      return host;
    auto module = load(copier().onCuda().finish());
    auto s = session(module);
    EXPECT_OK(flame_session_device_outputs(s.get(), 1));
    return std::move(run(s, 1, host)[0]);
  }
  static PlanBuilder copier() {
    PlanBuilder p;
    const int four = p.constant(4), one = p.constant(1), zero = p.constant(0);
    const int x = p.input("x", DType::F32, {four}, {"4"}), y = p.heap("y", DType::F32, {four});
    p.alloc(y);
    p.launch("k_scale", {x, y}, {one, zero}, four, "copy");
    p.output("y", y, {"4"});
    return p;
  }
  static std::vector<float> read(const ValuePtr &value) {
    flame_value *copy = nullptr;
    EXPECT_OK(flame_tensor_copy(value.get(), &copy));
    return values<float>(ValuePtr(copy));
  }
  /// One run; outputs[i] NULL: made by the run and released.
  template <size_t n, size_t m>
  static Result step(const SessionPtr &s, std::array<flame_value *, n> inputs, std::array<flame_value *, m> outputs) {
    std::array<flame_value *, m> given = outputs;
    Result result(flame_session_run(s.get(), inputs.data(), n, given.data(), m));
    for (size_t i = 0; i < m; ++i)
      if (!outputs[i])
        flame_value_release(given[i]);
    return result;
  }
  static uint64_t peak(const ModulePtr &module) {
    uint64_t now, most;
    flame_module_memory(module.get(), &now, &most);
    return most;
  }
};

enum class Kind { InStep, Unstated, ReadLater, ReadBefore };

/// next = state + gradient; what else the plan does with the state.
PlanBuilder update(Kind kind) {
  PlanBuilder p;
  const int four = p.constant(4), two = p.constant(2), one = p.constant(1), zero = p.constant(0);
  const int state = p.input("state", DType::F32, {four}, {"4"}), gradient = p.input("gradient", DType::F32, {four}, {"4"});
  const int next = p.heap("next", DType::F32, {four}), twice = p.heap("twice", DType::F32, {four});
  auto double_ = [&] {
    p.alloc(twice);
    p.launch("k_scale", {state, twice}, {two, zero}, four, "twice");
  };
  if (kind == Kind::ReadBefore) {
    double_();
    const int t = p.heap("t", DType::F32, {four});
    p.alloc(t);
    p.launch("k_add", {state, gradient, t}, {}, four, "sum");
    p.alloc(next);
    p.launch("k_scale", {t, next}, {one, zero}, four, "store");
  } else {
    p.alloc(next);
    p.launch("k_add", {state, gradient, next}, {}, four, "update");
    if (kind != Kind::Unstated)
      p.root.blocks[0]->commands.back()->body.AsLaunch()->in_place = {0, 2};
    double_();
    if (kind != Kind::ReadLater) { // of the new value, then
      p.root.blocks[0]->commands.back()->body.AsLaunch()->buffers[0] = next;
    }
  }
  p.output("next", next, {"4"});
  p.output("twice", twice, {"4"});
  return p;
}

} // namespace

INSTANTIATE_TEST_SUITE_P(Devices, Donation, testing::Values(plan::Device::Cpu, plan::Device::Cuda),
                         [](const auto &info) { return info.param == plan::Device::Cuda ? "Cuda" : "Cpu"; });

TEST_P(Donation, KeepsStatesInTheirMemory) {
  for (Kind kind : {Kind::InStep, Kind::Unstated, Kind::ReadLater, Kind::ReadBefore}) {
    auto module = make(update(kind));
    auto s = session(module);
    auto state = this->state(0), gradient = this->state(1), twice = this->state(0);
    void *const place = flame_tensor_data(state.get());
    const uint64_t before = peak(module);
    const int64_t graphs = fakeCuda().graphsMade, updates = fakeCuda().nodeUpdates;
    std::vector<float> expected = iota(4);
    for (int i = 0; i < 5; ++i) {
      ASSERT_TRUE((step<2, 2>(s, {state.get(), gradient.get()}, {state.get(), twice.get()}).ok()));
      std::vector<float> old = expected;
      for (int k = 0; k < 4; ++k)
        expected[k] += 1 + k;
      EXPECT_EQ(read(state), expected) << int(kind);
      const bool ofTheOld = kind == Kind::ReadLater || kind == Kind::ReadBefore;
      for (int k = 0; k < 4; ++k)
        EXPECT_EQ(read(twice)[k], 2 * (ofTheOld ? old : expected)[k]);
    }
    EXPECT_EQ(flame_tensor_data(state.get()), place);
    EXPECT_EQ(read(gradient), iota(4, 1));
    if (kind == Kind::InStep) {
      EXPECT_EQ(peak(module), before) << "no memory of its own";
    }
    if (cuda() && kind == Kind::InStep) {
      EXPECT_FAKE_EQ(fakeCuda().graphsMade, graphs + 1);
      EXPECT_FAKE_EQ(fakeCuda().nodeUpdates, updates) << "the same addresses in every run";
    }
    if (kind == Kind::Unstated || kind == Kind::ReadLater) {
      EXPECT_GE(peak(module), before + 16);
    }
  }
}

TEST_P(Donation, LooksAtAllInputs) {
  // The gradient is the state's own memory, or a part of it: not in place, and right nevertheless.
  auto module = make(update(Kind::InStep));
  auto s = session(module);
  auto state = this->state(0);
  ASSERT_TRUE((step<2, 2>(s, {state.get(), state.get()}, {state.get(), nullptr}).ok()));
  EXPECT_EQ(read(state), (std::vector<float>{0, 2, 4, 6}));
  if (cuda())
    return; // memory of a GPU is wrapped with its alignment alone
  std::vector<float> memory = iota(8);
  const int64_t dims[] = {4};
  auto wrap = [&](size_t offset) {
    flame_value *value = nullptr;
    EXPECT_OK(flame_tensor_wrap(FLAME_F32, dims, 1, memory.data() + offset, 16, nullptr, nullptr, &value));
    return ValuePtr(value);
  };
  auto first = wrap(0), second = wrap(2);
  ASSERT_TRUE((step<2, 2>(s, {first.get(), second.get()}, {second.get(), nullptr}).ok()));
  EXPECT_EQ(memory, (std::vector<float>{0, 1, 2, 4, 6, 8, 6, 7}));
}

TEST_P(Donation, MayCross) {
  // (a, b) → (b + b, a + a), each into the other's memory.
  PlanBuilder p;
  const int four = p.constant(4);
  const int a = p.input("a", DType::F32, {four}, {"4"}), b = p.input("b", DType::F32, {four}, {"4"});
  const int x = p.heap("x", DType::F32, {four}), y = p.heap("y", DType::F32, {four});
  p.alloc(x);
  p.launch("k_add", {b, b, x}, {}, four, "x");
  p.alloc(y);
  p.launch("k_add", {a, a, y}, {}, four, "y");
  p.output("x", x, {"4"});
  p.output("y", y, {"4"});
  auto module = make(std::move(p));
  auto s = session(module);
  auto first = state(0), second = state(10);
  for (auto [into, other] : {std::pair(&first, &second), std::pair(&second, &first)}) {
    auto before1 = read(first), before2 = read(second);
    ASSERT_TRUE((step<2, 2>(s, {first.get(), second.get()}, {into->get(), other->get()}).ok()));
    for (int k = 0; k < 4; ++k) {
      EXPECT_EQ(read(*into)[k], 2 * before2[k]);
      EXPECT_EQ(read(*other)[k], 2 * before1[k]);
    }
  }
}

TEST_P(Donation, WorksFromTheOtherSide) {
  // The state is in CPU memory, wherever the kernels are.
  auto module = make(update(Kind::InStep));
  auto s = session(module);
  auto state = tensor<float>({4}, iota(4)), gradient = tensor<float>({4}, iota(4, 1));
  for (int i = 1; i < 4; ++i) {
    ASSERT_TRUE((step<2, 2>(s, {state.get(), gradient.get()}, {state.get(), nullptr}).ok()));
    EXPECT_EQ(values<float>(state)[3], 3 + 4 * i);
  }
}

TEST_P(Donation, RefusesOneMemoryForTwoOutputs) {
  auto module = make(update(Kind::InStep));
  auto s = session(module);
  auto state = this->state(0), gradient = this->state(1);
  EXPECT_FAILS(std::move((step<2, 2>(s, {state.get(), gradient.get()}, {state.get(), state.get()}))),
               FLAME_INVALID_ARGUMENT, "outputs 'next' and 'twice' are given the same memory");
  EXPECT_EQ(read(state), iota(4));
}

TEST(DonationPlan, IsChecked) {
  for (std::vector<int32_t> pairs : {std::vector<int32_t>{0}, {0, 3}, {-1, 2}}) {
    PlanBuilder p = update(Kind::Unstated);
    p.root.blocks[0]->commands[1]->body.AsLaunch()->in_place = pairs;
    ModulePtr module;
    EXPECT_FAILS(tryLoad(p.finish(), module), FLAME_BAD_ARTIFACT, "buffer");
  }
}

TEST(DonationPlan, HasAWrapper) {
  const auto bytes = update(Kind::InStep).finish();
  auto module = flame::Module::loadMemory(bytes);
  flame::Session s(module);
  std::vector<float> state = iota(4), gradient = iota(4, 1), twice(4);
  auto wrap = [](std::vector<float> &v) {
    const int64_t dims[] = {4};
    return flame::Value::wrap(FLAME_F32, dims, v.data(), v.size() * sizeof(float));
  };
  const flame::Value x = wrap(state), g = wrap(gradient), t = wrap(twice);
  for (int i = 0; i < 2; ++i)
    s.runInto(std::array{x, g}, std::array{x, t});
  EXPECT_EQ(state, (std::vector<float>{2, 5, 8, 11}));
  EXPECT_EQ(twice, (std::vector<float>{4, 10, 16, 22}));
}
