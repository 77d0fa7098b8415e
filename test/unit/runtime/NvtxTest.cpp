//===- NvtxTest.cpp - ranges for profilers -----------------------------------===//

#include "FakeCudaDriver.h"
#include "Models.h"
#include "TestSupport.h"

using namespace flame::test;
namespace plan = flame::plan;

namespace {

/// The environment with a profiler in it.
class Nvtx : public testing::Test {
protected:
  void SetUp() override { setenv("NVTX_INJECTION64_PATH", testFile(FLAME_TEST_FAKE_NVTX).c_str(), 1); }
  void TearDown() override { unsetenv("NVTX_INJECTION64_PATH"); }

  /// What was pushed since the last call.
  static std::string ranges() {
    void *library = dlopen(testFile(FLAME_TEST_FAKE_NVTX).c_str(), RTLD_NOW | RTLD_LOCAL);
    auto get = library ? reinterpret_cast<const char *(*)()>(dlsym(library, "flameFakeNvtxRanges")) : nullptr;
    return get ? get() : "no library";
  }
};

} // namespace

TEST_F(Nvtx, NamesCommandsByTheirNodes) {
  auto module = load(addScale().finish());
  auto s = session(module);
  auto a = tensor<float>({2, 4}, iota(8));
  ranges();
  run(s, 1, a, a);
  EXPECT_EQ(ranges(), "test\n  add_node\n  scale_node\n");
}

TEST_F(Nvtx, EndsRangesOfRunsThatFail) {
  PlanBuilder p;
  const int one = p.constant(1);
  const int x = p.input("x", DType::I64, {one}, {"1"}), y = p.heap("y", DType::I64, {one});
  const int extents = p.data<int64_t>("extents", DType::I64, {1}, {5});
  p.host("check_indices", {x, extents}, {y}, "lookup");
  p.output("y", y, {"1"});
  auto module = load(p.finish());
  auto s = session(module);
  ranges();
  std::vector<ValuePtr> outputs;
  EXPECT_FAILS(flame_session_run(s.get(), nullptr, 0, nullptr, 0), FLAME_INVALID_ARGUMENT, "");
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(tryRun(s, {tensor<int64_t>({1}, {9}).get()}, 1, outputs).code, FLAME_BAD_DATA);
    EXPECT_EQ(ranges(), "test\n  lookup\n") << "every range that began has ended";
  }
}

TEST_F(Nvtx, NamesSectionsOfGraphs) {
  fakeCuda();
  auto module = load(addScale().onCuda().finish());
  auto s = session(module);
  auto a = tensor<float>({2, 4}, iota(8));
  ranges();
  run(s, 1, a, a);
  const std::string first = ranges();
  EXPECT_EQ(first, "test\n  add_node … scale_node (2 commands)\n    add_node\n    scale_node\n");
  run(s, 1, a, a);
  EXPECT_EQ(ranges(), first);
}

TEST_F(Nvtx, NamesLoops) {
  fakeCuda();
  PlanBuilder p;
  const int four = p.constant(4), two = p.constant(2), zero = p.constant(0);
  const int trip = p.input("trip", DType::I64, {}, {}), start = p.input("start", DType::F32, {four}, {"4"});
  p.addBlock("init");
  const int body = p.addBlock("body");
  p.argument("i", DType::I64, {}, body);
  const int go = p.argument("go", DType::Bool, {}, body), v = p.argument("v", DType::F32, {four}, body);
  const int w = p.heap("w", DType::F32, {four}, body);
  p.alloc(w, body);
  p.launch("k_scale", {v, w}, {two, zero}, four, "double", body);
  p.root.blocks[body]->results = {go, w};
  const int last = p.heap("last", DType::F32, {four});
  plan::LoopT l;
  l.trip = trip;
  l.body = body;
  l.carried = {start};
  l.results = {last};
  p.command(std::move(l), "repeat");
  p.output("last", last, {"4"});
  for (bool cuda : {false, true}) {
    auto module = load(cuda ? p.onCuda().finish() : p.finish());
    auto s = session(module);
    ranges();
    run(s, 1, tensor<int64_t>({}, {2}), tensor<float>({4}, iota(4)));
    EXPECT_EQ(ranges(), "test\n  repeat\n    double\n    double\n");
  }
}

TEST(NvtxAbsent, NothingIsLoaded) {
  for (const char *path : {"", "/there/is/no/such/library.so"}) {
    setenv("NVTX_INJECTION64_PATH", path, 1);
    auto module = load(addScale().finish());
    auto s = session(module);
    auto a = tensor<float>({2, 4}, iota(8));
    EXPECT_EQ(run(s, 1, a, a).size(), 1u);
  }
  unsetenv("NVTX_INJECTION64_PATH");
}
