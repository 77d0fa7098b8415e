//===- CudaGraphTest.cpp - sections of plans as CUDA graphs ----------------===//

#include "FakeCudaDriver.h"
#include "Models.h"
#include "Sections.h"
#include "TestSupport.h"

#include <cmath>

using namespace flame::test;
namespace plan = flame::plan;

namespace {

class CudaGraph : public OnFakeGpu {
protected:
  void SetUp() override {
    OnFakeGpu::SetUp();
    gpu.graphLaunches = gpu.graphsMade = gpu.nodeUpdates = gpu.launches = 0;
  }
};

std::vector<float> expected(int64_t n, float start) {
  std::vector<float> out;
  for (int64_t i = 0; i < n * 4; ++i)
    out.push_back((2 * (start + i)) * 2 + 1);
  return out;
}

} // namespace

TEST_F(CudaGraph, CapturesAtTheSecondRunOfAShape) {
  auto module = load(addScale().onCuda().finish());
  auto s = session(module);
  auto go = [&](int64_t n, float start) {
    auto a = tensor<float>({n, 4}, iota(n * 4, start));
    EXPECT_EQ(values<float>(run(s, 1, a, a)[0]), expected(n, start));
  };
  go(2, 0);
  EXPECT_FAKE_EQ(gpu.graphsMade, 0);
  EXPECT_FAKE_EQ(gpu.launches, 2);
  go(2, 1);
  EXPECT_FAKE_EQ(gpu.graphsMade, 1);
  EXPECT_FAKE_EQ(gpu.graphLaunches, 1);
  go(3, 2);
  EXPECT_FAKE_EQ(gpu.graphLaunches, 1) << "another shape";
  go(3, 3);
  for (int i = 0; i < 5; ++i) {
    go(2, 4 + i);
    go(3, 5 + i);
  }
  EXPECT_FAKE_EQ(gpu.graphsMade, 2);
  EXPECT_FAKE_EQ(gpu.graphLaunches, 12);
  EXPECT_FAKE_EQ(gpu.launches, 28);
}

TEST_F(CudaGraph, OverlapsKernelsThatWait) {
  for (const char *target : {"sm_90a", "sm_80"}) {
    auto builder = addScale().onCuda();
    for (auto &kernel : builder.root.kernels)
      kernel->waits = true;
    if (!onRealGpu())
      builder.root.codes[0]->target = target;
    auto module = load(builder.finish());
    auto s = session(module);
    gpu.overlaps = 0;
    auto a = tensor<float>({2, 4}, iota(8));
    for (int i = 0; i < 3; ++i)
      EXPECT_EQ(values<float>(run(s, 1, a, a)[0]), expected(2, 0));
    // Code for older architectures does not wait by itself.
    EXPECT_FAKE_EQ(gpu.overlaps, target == std::string("sm_90a") ? 1 : 0);
  }
}

TEST_F(CudaGraph, FollowsPointers) {
  auto module = load(addScale().onCuda().finish());
  auto s = session(module);
  ASSERT_OK(flame_session_device_outputs(s.get(), 1));
  auto host = tensor<float>({1, 4}, iota(4));
  std::vector<ValuePtr> kept; // every output keeps its memory, so the next one gets another address
  kept.push_back(std::move(run(s, 1, host, host)[0]));
  for (int i = 0; i < 6; ++i)
    kept.push_back(std::move(run(s, 1, kept.back(), kept.back())[0]));
  EXPECT_FAKE_EQ(gpu.graphsMade, 1);
  EXPECT_TRUE(onRealGpu() || gpu.nodeUpdates >= 5);
  float value = 1;
  for (const ValuePtr &out : kept) {
    value = value * 4 + 1;
    flame_value *copy = nullptr;
    ASSERT_OK(flame_tensor_copy(out.get(), &copy));
    EXPECT_EQ(values<float>(ValuePtr(copy))[1], value);
  }
}

TEST_F(CudaGraph, StaysOffWhereItIsToldTo) {
  flame_options options = defaultOptions();
  options.flags |= FLAME_NO_GRAPHS;
  auto module = load(addScale().onCuda().finish(), options);
  auto s = session(module);
  auto a = tensor<float>({1, 4}, iota(4));
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(values<float>(run(s, 1, a, a)[0]), expected(1, 0));
  EXPECT_FAKE_EQ(gpu.graphsMade, 0);
}

TEST_F(CudaGraph, CapturesLoopBodies) {
  // body: t = 2 v, u = t + v; the next value lies in an arena and is copied on its way out.
  PlanBuilder p;
  const int four = p.constant(4), two = p.constant(2), zero = p.constant(0);
  const int trip = p.input("trip", DType::I64, {}, {}), start = p.input("start", DType::F32, {four}, {"4"});
  p.addBlock("init");
  const int body = p.addBlock("body");
  p.argument("i", DType::I64, {}, body);
  const int go = p.argument("go", DType::Bool, {}, body), v = p.argument("v", DType::F32, {four}, body);
  const int t = p.arena("t", DType::F32, {four}, 0, 1, body), u = p.arena("u", DType::F32, {four}, 1, 3, body),
            w = p.heap("w", DType::F32, {four}, body);
  p.launch("k_scale", {v, t}, {two, zero}, four, "double", body);
  p.launch("k_add", {t, v, u}, {}, four, "add", body);
  p.alloc(w, body);
  p.copy(u, w, body);
  p.root.blocks[body]->results = {go, w};
  const int last = p.heap("last", DType::F32, {four});
  plan::LoopT l;
  l.trip = trip;
  l.body = body;
  l.carried = {start};
  l.results = {last};
  p.command(std::move(l), "loop");
  p.output("last", last, {"4"});
  auto module = load(p.onCuda().finish());
  auto s = session(module);
  for (int round = 0; round < 2; ++round)
    EXPECT_EQ(values<float>(run(s, 1, tensor<int64_t>({}, {5}), tensor<float>({4}, iota(4)))[0]),
              (std::vector<float>{0, 243, 486, 729}));
  EXPECT_FAKE_EQ(gpu.graphsMade, 1);
  EXPECT_FAKE_EQ(gpu.graphLaunches, 9);
}

TEST_F(CudaGraph, StepsOfALoopFollowEachOtherWithoutTheCpu) {
  // for (i < n - 1) v = 2 (2 v), n being a dim of an input: nothing is read back, and each step is a graph.
  PlanBuilder p;
  const int n = p.symbol("n"), ne = p.symbolExpr(n), four = p.constant(4), two = p.constant(2), zero = p.constant(0);
  const int steps = p.expr(plan::ExprOp::Add, ne, p.constant(-1));
  const int levels = p.input("levels", DType::F32, {ne}, {"n"}), start = p.input("start", DType::F32, {four}, {"4"});
  p.bind(levels, {n});
  p.addBlock("init");
  const int body = p.addBlock("body");
  p.argument("i", DType::I64, {}, body);
  const int go = p.argument("go", DType::Bool, {}, body), v = p.argument("v", DType::F32, {four}, body);
  const int t = p.arena("t", DType::F32, {four}, 0, 2, body), w = p.heap("w", DType::F32, {four}, body);
  p.launch("k_scale", {v, t}, {two, zero}, four, "double", body);
  p.alloc(w, body);
  p.launch("k_scale", {t, w}, {two, zero}, four, "double again", body);
  p.root.blocks[body]->results = {go, w};
  const int last = p.heap("last", DType::F32, {four});
  plan::LoopT l;
  l.count = steps;
  l.body = body;
  l.carried = {start};
  l.results = {last};
  p.command(std::move(l), "loop");
  p.output("last", last, {"4"});
  auto module = load(p.onCuda().finish());
  // The body's arena, its result, and from the second step on that of the one before.
  constexpr uint64_t kVector = 16, kArena = 256;
  for (auto [count, expected] : {std::pair<int64_t, uint64_t>{1, kVector}, {2, kArena + kVector}, {3, kArena + 2 * kVector}}) {
    const int64_t dims[] = {count, 4};
    const flame_shape shapes[] = {{1, dims}, {1, dims + 1}};
    uint64_t bytes = 0;
    int exact = 1;
    ASSERT_OK(flame_module_planned_bytes(module.get(), shapes, 2, &bytes, &exact));
    EXPECT_EQ(bytes, expected) << count;
    EXPECT_FALSE(exact);
  }
  auto s = session(module);
  for (int64_t count : {1, 2, 4, 4, 7, 4, 0}) {
    auto levels = tensor<float>({count}, iota(count)), start = tensor<float>({4}, iota(4));
    const int64_t copies = gpu.copiesToHost, graphs = gpu.graphLaunches;
    const float factor = std::pow(4.0f, float(std::max<int64_t>(count - 1, 0)));
    EXPECT_EQ(values<float>(run(s, 1, levels, start)[0]), (std::vector<float>{0, factor, 2 * factor, 3 * factor}));
    EXPECT_FAKE_EQ(gpu.copiesToHost - copies, count > 1) << "the result alone, where it isn't the input";
    if (count == 7) {
      EXPECT_FAKE_EQ(gpu.graphLaunches - graphs, 5) << "all steps but the first one of the shape";
    }
  }
}

TEST_F(CudaGraph, KnowsWhereScratchMemoryHasMoved) {
  // Two kernels of one section; the second one's larger scratch area replaces the first one's.
  PlanBuilder p;
  const int n = p.symbol("n"), ne = p.symbolExpr(n), one = p.constant(1);
  const int x = p.input("x", DType::F32, {ne}, {"n"}), y = p.heap("y", DType::F32, {ne}), z = p.heap("z", DType::F32, {ne});
  p.bind(x, {n});
  p.alloc(y);
  p.launch("k_reverse", {x, y}, {ne}, one, "first", 0, -1, p.mul(ne, p.constant(4)));
  p.alloc(z);
  p.launch("k_reverse", {y, z}, {ne}, one, "second", 0, -1, p.mul(ne, p.constant(8)));
  p.output("z", z, {"n"});
  auto module = load(p.onCuda().finish());
  auto s = session(module);
  for (int64_t n : {4, 4, 4, 4, 100, 100, 100, 4, 4, 1000, 1000, 1000, 100, 4, 4})
    EXPECT_EQ(values<float>(run(s, 1, tensor<float>({n}, iota(n)))[0]), iota(n));
}

TEST_F(CudaGraph, ReplaysWithoutLookingAtKernels) {
  PlanBuilder p;
  const int many = p.constant(64), one = p.constant(1);
  const int x = p.input("x", DType::F32, {many}, {"64"}), y = p.heap("y", DType::F32, {many});
  constexpr int kKernels = 40;
  std::vector<int> t;
  for (int i = 0; i < kKernels; ++i)
    t.push_back(p.arena("t", DType::F32, {many}, i, i + 1 < kKernels ? i + 1 : kKernels + 1));
  for (int i = 0; i < kKernels; ++i)
    p.launch("k_scale", {i ? t[i - 1] : x, t[i]}, {one, one}, many, "step");
  p.alloc(y);
  p.launch("k_scale", {t.back(), y}, {one, one}, many, "last");
  p.output("y", y, {"64"});
  auto module = load(p.onCuda().finish());
  auto s = session(module);
  auto host = tensor<float>({64}, iota(64));
  ASSERT_OK(flame_session_device_outputs(s.get(), 1));
  auto in = std::move(run(s, 1, host)[0]), out = std::move(run(s, 1, in)[0]);
  const flame_value *inputs[] = {in.get()};
  flame_value *outputs[] = {out.get()};
  for (int round = 0; round < 5; ++round) {
    const int64_t calls = gpu.calls;
    ASSERT_OK(flame_session_run(s.get(), inputs, 1, outputs, 1));
    if (round > 1) {
      EXPECT_FAKE_EQ(gpu.calls - calls, 3); // the same few, however many kernels there are
    }
    flame_value *copy = nullptr;
    ASSERT_OK(flame_tensor_copy(out.get(), &copy));
    EXPECT_EQ(values<float>(ValuePtr(copy)), iota(64, 2 * (kKernels + 1)));
  }
  EXPECT_FAKE_EQ(gpu.graphsMade, 1);
}

TEST_F(CudaGraph, SurvivesADriverThatRefuses) {
  FLAME_FAKE_GPU_ONLY();
  const auto bytes = addScale().onCuda().finish();
  auto a = tensor<float>({1, 4}, iota(4));
  for (int64_t n = 0;; ++n) {
    auto module = load(bytes);
    auto s = session(module);
    run(s, 1, a, a);
    gpu.failCall = n;
    std::vector<ValuePtr> out;
    Result r = tryRun(s, {a.get(), a.get()}, 1, out);
    const bool reached = gpu.failCall.exchange(-1) < 0;
    if (r.ok()) {
      EXPECT_EQ(values<float>(out[0]), expected(1, 0));
    }
    out = run(s, 1, a, a);
    EXPECT_EQ(values<float>(out[0]), expected(1, 0));
    if (!reached)
      break;
  }
}
