//===- ExecutorTest.cpp - commands, arenas, branches, loops ---------------===//

#include "FakeCudaDriver.h"
#include "Models.h"
#include "TestSupport.h"

using namespace flame::test;
namespace plan = flame::plan;

namespace {

/// Every test runs on the CPU and on the fake GPU.
class Executor : public testing::TestWithParam<plan::Device> {
protected:
  void SetUp() override {
    if (GetParam() == plan::Device::Cuda)
      fakeCuda();
  }
  void TearDown() override {
    if (GetParam() == plan::Device::Cuda) {
      EXPECT_EQ(fakeCuda().violation, "");
      EXPECT_EQ(fakeCuda().alive(), 0) << "something leaked";
    }
  }
  static std::vector<uint8_t> artifact(PlanBuilder p) {
    if (GetParam() == plan::Device::Cuda)
      p.onCuda();
    return p.finish();
  }
};

} // namespace

INSTANTIATE_TEST_SUITE_P(Devices, Executor, testing::Values(plan::Device::Cpu, plan::Device::Cuda),
                         [](const auto &info) { return info.param == plan::Device::Cuda ? "Cuda" : "Cpu"; });

TEST_P(Executor, RunsKernels) {
  auto module = load(artifact(addScale()));
  auto s = session(module);
  for (int64_t n : {1, 3, 1000, 3, 0}) {
    auto a = tensor<float>({n, 4}, iota(n * 4)), b = tensor<float>({n, 4}, iota(n * 4, 10));
    auto out = run(s, 1, a, b);
    ASSERT_EQ(out.size(), 1u);
    EXPECT_EQ(dims(out[0]), (std::vector<int64_t>{n, 4}));
    auto y = values<float>(out[0]);
    for (int64_t i = 0; i < n * 4; ++i)
      ASSERT_EQ(y[i], (2 * i + 10) * 2 + 1);
  }
}

TEST_P(Executor, WritesIntoTheCallersOutput) {
  auto module = load(artifact(addScale()));
  auto s = session(module);
  auto a = tensor<float>({2, 4}, iota(8)), b = tensor<float>({2, 4}, iota(8));
  auto y = tensor<float>({2, 4}, std::vector<float>(8));
  void *const before = flame_tensor_data(y.get());
  const flame_value *inputs[] = {a.get(), b.get()};
  flame_value *outputs[] = {y.get()};
  ASSERT_OK(flame_session_run(s.get(), inputs, 2, outputs, 1));
  EXPECT_EQ(outputs[0], y.get());
  EXPECT_EQ(flame_tensor_data(y.get()), before);
  EXPECT_EQ(values<float>(y)[7], 29);

  auto wrong = tensor<float>({4, 2}, std::vector<float>(8));
  outputs[0] = wrong.get();
  EXPECT_FAILS(flame_session_run(s.get(), inputs, 2, outputs, 1), FLAME_INVALID_ARGUMENT,
               "output 'y' is f32[2,4], the tensor given for it f32[4,2]");
}

TEST_P(Executor, NamesWrongInputs) {
  auto module = load(artifact(addScale()));
  auto s = session(module);
  std::vector<ValuePtr> out;
  auto good = tensor<float>({2, 4}, iota(8)), narrow = tensor<float>({2, 3}, iota(6)),
       longer = tensor<float>({3, 4}, iota(12)), flat = tensor<float>({8}, iota(8));
  auto wide = tensor<double>({2, 4}, std::vector<double>(8));
  auto expect = [&](const ValuePtr &a, const ValuePtr &b, const char *text) {
    Result r = tryRun(s, {a.get(), b.get()}, 1, out);
    EXPECT_EQ(r.code, FLAME_INVALID_ARGUMENT);
    EXPECT_NE(r.message.find(text), std::string::npos) << r.message;
  };
  expect(narrow, good, "input 'a' has shape [2,3], the model wants [n,4]");
  expect(good, longer, "input 'b' has shape [3,4], the model wants [n,4] with n = 2 as in input 'a'");
  expect(flat, good, "input 'a' has shape [8], the model wants [n,4]");
  expect(wide, good, "input 'a' is f64[2,4], the model wants f32[n,4]");
  Result r = tryRun(s, {good.get()}, 1, out);
  EXPECT_NE(r.message.find("the model has 2 inputs ('a', 'b'); 1 was given"), std::string::npos) << r.message;
  r = tryRun(s, {good.get(), nullptr}, 1, out);
  EXPECT_NE(r.message.find("input 1 ('b') is NULL"), std::string::npos) << r.message;
  r = tryRun(s, {good.get(), good.get()}, 2, out);
  EXPECT_NE(r.message.find("the model has 1 outputs"), std::string::npos) << r.message;
}

TEST_P(Executor, ReusesTheArena) {
  // A chain of ten temporaries of one size: two at a time are alive.
  PlanBuilder p;
  const int n = p.constant(1024), one = p.constant(1);
  const int x = p.input("x", DType::F32, {n}, {"1024"});
  int before = x;
  for (int i = 0; i < 10; ++i) {
    const int t = p.arena("t" + std::to_string(i), DType::F32, {n}, i, i + 1);
    p.launch("k_scale", {before, t}, {one, one}, n);
    before = t;
  }
  p.copy(before, p.heap("y", DType::F32, {n}));
  p.output("y", p.root.slots.size() - 1, {"1024"});
  auto module = load(artifact(p));
  auto s = session(module);
  auto out = run(s, 1, tensor<float>({1024}, iota(1024)));
  EXPECT_EQ(values<float>(out[0])[5], 15);
  flame_shape shape{1, nullptr};
  const int64_t dim = 1024;
  shape.dims = &dim;
  uint64_t bytes;
  int exact;
  ASSERT_OK(flame_module_planned_bytes(module.get(), &shape, 1, &bytes, &exact));
  EXPECT_EQ(bytes, 2 * 4096u);
  out.clear();
  uint64_t current, peak;
  flame_module_memory(module.get(), &current, &peak);
  // Artifact copy, arena, output.
  EXPECT_LT(peak, 8 * 4096u + 20000);
}

TEST_P(Executor, ReportsFailingChecksWithTheNode) {
  PlanBuilder p;
  const int n = p.symbol("n"), m = p.symbol("m");
  const int ne = p.symbolExpr(n), me = p.symbolExpr(m);
  const int a = p.input("a", DType::F32, {ne}, {"?"}), b = p.input("b", DType::F32, {me}, {"?"});
  p.bind(a, {n});
  p.bind(b, {m});
  p.check(plan::Relation::EqualOrOne, ne, me, "operands of 'a+b' do not broadcast", "my_add");
  p.output("y", a, {"?"});
  auto module = load(artifact(p));
  auto s = session(module);
  std::vector<ValuePtr> out;
  auto two = tensor<float>({2}, iota(2)), three = tensor<float>({3}, iota(3)), one = tensor<float>({1}, iota(1));
  Result r = tryRun(s, {two.get(), three.get()}, 1, out);
  EXPECT_EQ(r.code, FLAME_BAD_DATA);
  EXPECT_EQ(r.message, "node 'my_add': operands of 'a+b' do not broadcast (2 ~ 3 is false)");
  EXPECT_EQ(out[0], nullptr);
  // The session stays usable, and an input that is an output is copied.
  auto good = run(s, 1, two, one);
  EXPECT_EQ(values<float>(good[0]), iota(2));
  EXPECT_NE(flame_tensor_data(good[0].get()), flame_tensor_data(two.get()));
}

TEST_P(Executor, AliasesAndReadsElements) {
  // y = reshape(x, shape) with the shape read from data.
  PlanBuilder p;
  const int n = p.symbol("n"), r0 = p.symbol("r0"), r1 = p.symbol("r1");
  const int ne = p.symbolExpr(n), e0 = p.symbolExpr(r0), e1 = p.symbolExpr(r1), two = p.constant(2);
  const int x = p.input("x", DType::F32, {ne}, {"n"}), shape = p.input("shape", DType::I64, {two}, {"2"});
  p.bind(x, {n});
  p.readElement(shape, 0, r0);
  p.readElement(shape, 1, r1);
  const int y = p.slot("y", Storage::Alias, DType::F32, {e0, e1}, 0, -1, -1, x);
  p.alias(x, y);
  p.output("y", y, {"?", "?"});
  auto module = load(artifact(p));
  auto s = session(module);
  auto out = run(s, 1, tensor<float>({6}, iota(6)), tensor<int64_t>({2}, {2, 3}));
  EXPECT_EQ(dims(out[0]), (std::vector<int64_t>{2, 3}));
  std::vector<ValuePtr> none;
  auto x6 = tensor<float>({6}, iota(6));
  auto bad = tensor<int64_t>({2}, {4, 3}), negative = tensor<int64_t>({2}, {-2, -3}),
       huge = tensor<int64_t>({2}, {INT64_MAX, 4});
  for (auto *shape : {&bad, &negative, &huge}) {
    Result r = tryRun(s, {x6.get(), shape->get()}, 1, none);
    EXPECT_EQ(r.code, FLAME_BAD_DATA) << r.message;
    EXPECT_NE(r.message.find("node 'alias'"), std::string::npos) << r.message;
    EXPECT_NE(r.message.find(shape == &bad ? "cannot be seen as f32[4,3]" : "tensor 'y' would have the shape"),
              std::string::npos)
        << r.message;
  }
}

TEST_P(Executor, Branches) {
  PlanBuilder p;
  const int four = p.constant(4), two = p.constant(2), zero = p.constant(0), hundred = p.constant(100);
  const int condition = p.input("c", DType::Bool, {}, {});
  const int x = p.input("x", DType::F32, {four}, {"4"});
  p.addBlock("init");
  const int thenBlock = p.addBlock("then"), elseBlock = p.addBlock("else");
  // The result of `then` lies in its arena, of `else` on the heap.
  const int t = p.arena("t", DType::F32, {four}, 0, 0, thenBlock);
  p.launch("k_scale", {x, t}, {two, zero}, four, "double", thenBlock);
  p.root.blocks[thenBlock]->results = {t};
  const int e = p.heap("e", DType::F32, {four}, elseBlock);
  p.alloc(e, elseBlock);
  p.launch("k_scale", {x, e}, {zero, hundred}, four, "hundred", elseBlock);
  p.root.blocks[elseBlock]->results = {e};
  const int y = p.heap("y", DType::F32, {four});
  plan::IfT branch;
  branch.condition = condition;
  branch.then_block = thenBlock;
  branch.else_block = elseBlock;
  branch.results = {y};
  p.command(std::move(branch), "if_node");
  p.output("y", y, {"4"});
  auto module = load(artifact(p));
  auto s = session(module);
  auto in = tensor<float>({4}, iota(4));
  EXPECT_EQ(values<float>(run(s, 1, tensor<bool>({}, {true}), in)[0]), (std::vector<float>{0, 2, 4, 6}));
  EXPECT_EQ(values<float>(run(s, 1, tensor<bool>({}, {false}), in)[0]), std::vector<float>(4, 100));
}

TEST_P(Executor, Loops) {
  auto module = load(artifact(loop()));
  auto s = session(module);
  auto start = tensor<float>({2}, {10, 20});
  for (int64_t trip : {0, 1, 3, 10}) {
    auto out = run(s, 3, tensor<int64_t>({}, {trip}), start);
    const int64_t ran = std::min<int64_t>(trip, 4); // the condition i < 3 ends it after i == 3
    EXPECT_EQ(values<float>(out[0]), (std::vector<float>{10.f + ran, 20.f + ran}));
    EXPECT_EQ(dims(out[1]), (std::vector<int64_t>{ran, 2}));
    std::vector<int64_t> expected(ran);
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(values<int64_t>(out[2]), expected);
    if (ran) {
      EXPECT_EQ(values<float>(out[1])[2 * ran - 2], 10 + ran);
    }
  }
}

TEST_P(Executor, InitialisesPersistentValuesOnce) {
  // init: w2 = w * 3; main: y = x + w2
  PlanBuilder p;
  const int two = p.constant(2), three = p.constant(3), zero = p.constant(0);
  const int init = p.addBlock("init");
  const int w = p.data<float>("w", DType::F32, {2}, {1, 2});
  const int w2 = p.slot("w2", Storage::Persistent, DType::F32, {two}, init);
  p.launch("k_scale", {w, w2}, {three, zero}, two, "fold", init);
  const int view = p.slot("w2.view", Storage::Persistent, DType::F32, {p.constant(1), two}, init);
  p.alias(w2, view, init);
  const int x = p.input("x", DType::F32, {two}, {"2"});
  const int y = p.heap("y", DType::F32, {two});
  p.alloc(y);
  p.launch("k_add", {x, view, y}, {}, two, "add");
  p.output("y", y, {"2"});
  p.output("w2", w2, {"2"});
  auto module = load(artifact(p));
  // Two elements, however many views there are of them; on a GPU what they are computed of is there meanwhile.
  uint64_t bytes, loading;
  flame_module_weight_bytes(module.get(), &bytes, &loading);
  EXPECT_EQ(bytes, 8u);
  EXPECT_EQ(loading, GetParam() == plan::Device::Cpu ? 0u : 256u);
  auto s1 = session(module), s2 = session(module);
  auto in = tensor<float>({2}, {1, 1});
  for (auto *s : {&s1, &s2}) {
    auto out = run(*s, 2, in);
    EXPECT_EQ(values<float>(out[0]), (std::vector<float>{4, 7}));
    EXPECT_EQ(values<float>(out[1]), (std::vector<float>{3, 6}));
    static_cast<float *>(flame_tensor_data(out[1].get()))[0] = -1; // the caller's copy
  }
}

TEST_P(Executor, UsesScratchMemoryPerThread) {
  PlanBuilder p;
  const int n = p.symbol("rows"), ne = p.symbolExpr(n), width = p.constant(257), bytes = p.constant(257 * 4);
  const int x = p.input("x", DType::F32, {ne, width}, {"rows", "257"});
  const int y = p.heap("y", DType::F32, {ne, width});
  p.bind(x, {n, -1});
  p.alloc(y);
  p.launch("k_reverse", {x, y}, {width}, ne, "reverse", 0, p.constant(1), bytes);
  p.output("y", y, {"rows", "257"});
  flame_options options = defaultOptions();
  options.threads = 4;
  auto module = load(artifact(p), options);
  EXPECT_EQ(flame_module_threads(module.get()), 4);
  auto s = session(module);
  for (int round = 0; round < 20; ++round) {
    const int64_t rows = 500;
    auto out = run(s, 1, tensor<float>({rows, 257}, iota(rows * 257)));
    auto y = values<float>(out[0]);
    for (int64_t i = 0; i < rows * 257; ++i)
      ASSERT_EQ(y[i], static_cast<float>(i / 257 * 257 + 256 - i % 257));
  }
}

TEST_P(Executor, ObservesAndProfiles) {
  auto module = load(artifact(addScale()));
  auto s = session(module);
  std::vector<std::string> seen;
  ASSERT_OK(flame_session_observe(
      s.get(),
      [](const char *name, const char *node, const flame_value *value, void *user) {
        static_cast<std::vector<std::string> *>(user)->push_back(
            std::string(name) + " from " + node + " = " +
            std::to_string(static_cast<const float *>(flame_tensor_data(value))[0]).substr(0, 4));
      },
      &seen));
  ASSERT_OK(flame_session_profile(s.get(), 1));
  run(s, 1, tensor<float>({1, 4}, iota(4)), tensor<float>({1, 4}, iota(4, 1)));
  EXPECT_EQ(seen, (std::vector<std::string>{"sum from node 'add_node' = 1.00", "y from node 'scale_node' = 3.00"}));
  flame_profile_entry entries[8];
  ASSERT_EQ(flame_session_profile_entries(s.get(), entries, 8), 4u);
  EXPECT_STREQ(entries[1].node, "node 'add_node'");
  EXPECT_STREQ(entries[1].command, "test kernel k_add");
  EXPECT_EQ(entries[1].calls, 1u);
}

TEST_P(Executor, CountsBytesAndOperations) {
  auto p = addScale();
  for (auto &command : p.root.blocks[0]->commands)
    if (auto *launch = command->body.AsLaunch(); launch && launch->kernel == 0)
      launch->flops = launch->extent;
  auto module = load(artifact(std::move(p)));
  auto s = session(module);
  ASSERT_OK(flame_session_profile(s.get(), 1));
  for (int i = 0; i < 3; ++i)
    run(s, 1, tensor<float>({2, 4}, iota(8)), tensor<float>({2, 4}, iota(8)));
  flame_profile_work work[8] = {};
  ASSERT_EQ(flame_session_profile_work(s.get(), work, 8), 4u);
  EXPECT_EQ(work[0].bytes, 0u); // binds dims
  EXPECT_EQ(work[1].bytes, 3u * 3 * 8 * sizeof(float));
  EXPECT_EQ(work[1].flops, 3u * 8);
  EXPECT_EQ(work[3].bytes, 3u * 2 * 8 * sizeof(float));
  EXPECT_EQ(work[3].flops, 0u);
}

TEST_P(Executor, MeasuresTheBandwidth) {
  auto module = load(artifact(addScale()));
  auto s = session(module);
  double bandwidth = 0;
  ASSERT_OK(flame_session_bandwidth(s.get(), &bandwidth));
  EXPECT_GT(bandwidth, 1e6);
  run(s, 1, tensor<float>({1, 4}, iota(4)), tensor<float>({1, 4}, iota(4)));
}

TEST_P(Executor, MeasuresThePeakOfArithmetic) {
  auto module = load(artifact(addScale()));
  auto s = session(module);
  double peak = -1;
  for (flame_math math : {FLAME_MATH_F32, FLAME_MATH_TF32, FLAME_MATH_F16, FLAME_MATH_BF16}) {
    if (GetParam() == plan::Device::Cpu) {
      EXPECT_FAILS(flame_session_peak(s.get(), math, &peak), FLAME_UNSUPPORTED, "on GPUs alone");
    } else {
      ASSERT_OK(flame_session_peak(s.get(), math, &peak));
      EXPECT_GT(peak, 1e9);
    }
  }
  for (int math : {-1, int(FLAME_MATH_UNKNOWN), 5})
    EXPECT_FAILS(flame_session_peak(s.get(), static_cast<flame_math>(math), &peak), FLAME_INVALID_ARGUMENT, "math is ");
  EXPECT_FAILS(flame_session_peak(s.get(), FLAME_MATH_F32, nullptr), FLAME_INVALID_ARGUMENT, "flops_per_second");
  if (GetParam() == plan::Device::Cuda && !onRealGpu()) {
    fakeCuda().compilesPtx = false;
    s.reset();
    module = load(artifact(addScale()));
    s = session(module);
    EXPECT_FAILS(flame_session_peak(s.get(), FLAME_MATH_F32, &peak), FLAME_UNSUPPORTED, "compiles no PTX");
    fakeCuda().compilesPtx = true;
  }
  run(s, 1, tensor<float>({1, 4}, iota(4)), tensor<float>({1, 4}, iota(4)));
}

TEST_P(Executor, TellsTheArithmeticOfKernels) {
  auto math = [](PlanBuilder p, const std::string &description, plan::DType dtype, bool tf32) {
    p.root.kernels[0]->description = description;
    for (auto &slot : p.root.slots)
      slot->dtype = dtype;
    if (tf32) {
      auto property = std::make_unique<plan::PropertyT>();
      property->key = "precision";
      property->value = "tf32";
      p.root.properties.push_back(std::move(property));
    }
    auto module = load(artifact(std::move(p)));
    auto s = session(module);
    EXPECT_OK(flame_session_profile(s.get(), 1));
    std::vector<ValuePtr> inputs, outputs;
    const int64_t dims[] = {1, 4};
    for (int i = 0; i < 2; ++i) {
      flame_value *value = nullptr;
      EXPECT_OK(flame_tensor_create(nullptr, static_cast<flame_dtype>(dtype), dims, 2, &value));
      std::memset(flame_tensor_data(value), 0, flame_tensor_bytes(value));
      inputs.emplace_back(value);
    }
    EXPECT_TRUE(tryRun(s, {inputs[0].get(), inputs[1].get()}, 1, outputs).ok());
    std::vector<flame_math> found(flame_session_profile_math(s.get(), nullptr, 0));
    EXPECT_EQ(flame_session_profile_math(s.get(), found.data(), found.size()), found.size());
    EXPECT_EQ(found.size(), flame_session_profile_entries(s.get(), nullptr, 0));
    return found.size() > 1 ? found[1] : FLAME_MATH_FORCE_INT; // behind bind_dims
  };
  EXPECT_EQ(math(addScale(), "contract: matmul", plan::DType::F32, false), FLAME_MATH_F32);
  EXPECT_EQ(math(addScale(), "contract: matmul", plan::DType::F32, true), FLAME_MATH_TF32);
  EXPECT_EQ(math(addScale(), "loop: add", plan::DType::F32, true), FLAME_MATH_F32);
  EXPECT_EQ(math(addScale(), "contract: matmul", plan::DType::I32, false), FLAME_MATH_UNKNOWN);
  EXPECT_EQ(flame_session_profile_math(nullptr, nullptr, 0), 0u);
}

TEST_P(Executor, RunsABitOfEverything) {
  auto module = load(artifact(everything()));
  auto s = session(module);
  for (bool branch : {true, false}) {
    auto out = run(s, 5, tensor<float>({3, 2}, iota(6)), tensor<bool>({}, {branch}));
    EXPECT_EQ(values<float>(out[0]), (std::vector<float>{3, 1, 7, 5, 11, 9}));
    EXPECT_EQ(values<float>(out[1]), branch ? (std::vector<float>{4, 7, 10, 13}) : std::vector<float>(4, 2));
    EXPECT_EQ(stringValues(out[2])[1], "b!");
    EXPECT_EQ(flame_sequence_length(out[3].get()), 3u);
    EXPECT_EQ(values<float>(out[4]), std::vector<float>(6, 4));
  }
}
