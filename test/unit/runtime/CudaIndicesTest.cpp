//===- CudaIndicesTest.cpp - indices that the GPU checks ---------------------===//
//
// check_indices between kernels is work of the GPU: no run waits for it, and no bad index stays unsaid.
//
//===----------------------------------------------------------------------===//

#include "FakeCudaDriver.h"
#include "Models.h"
#include "TestSupport.h"

using namespace flame::test;
namespace plan = flame::plan;

namespace {

class CudaIndices : public OnFakeGpu {};

/// y = indices + 10, after a check that they are in [-5, 5), or with check_ends rise to at most 5. `before` adds a kernel in front of the check, whose result
/// lies in the arena.
PlanBuilder lookUp(bool before = false, const char *check = "check_indices") {
  PlanBuilder p;
  const int n = p.symbol("n"), ne = p.symbolExpr(n), ten = p.constant(10), zero = p.constant(0);
  const int x = p.input("indices", DType::I64, {ne}, {"n"}), y = p.heap("y", DType::I64, {ne});
  const int checked = p.heap("checked", DType::I64, {ne}), extents = p.data<int64_t>("extents", DType::I64, {1}, {5});
  p.bind(x, {n});
  int in = x;
  if (before) {
    in = p.arena("in", DType::I64, {ne}, 1, 2);
    p.launch("k_addi", {x, in}, {zero}, ne, "copy");
  }
  p.host(check, {in, extents}, {checked}, "embedding");
  const int t = p.heap("t", DType::I64, {ne});
  p.alloc(t);
  p.launch("k_addi", {checked, t}, {zero}, ne, "gather");
  p.free(checked);
  p.alloc(y);
  p.launch("k_addi", {t, y}, {ten}, ne, "add");
  p.output("y", y, {"n"});
  p.onCuda();
  return p;
}

constexpr const char *kMessage =
    "node 'embedding': check_indices: index 7 (element 2 of input 0 (i64[4])) is out of range "
    "for a dimension of size 5";

const std::vector<int64_t> kGood = {0, 4, -5, 1}, kBad = {0, 4, 7, -6};

ValuePtr toDevice(const std::vector<int64_t> &indices) {
  // y - 10 of a run that leaves its result on the GPU would be checked as well; a plan without a check makes the
  // tensor.
  PlanBuilder p;
  const int four = p.constant(4), zero = p.constant(0);
  const int x = p.input("x", DType::I64, {four}, {"4"}), y = p.heap("y", DType::I64, {four});
  p.alloc(y);
  p.launch("k_addi", {x, y}, {zero}, four, "copy");
  p.output("y", y, {"4"});
  auto copy = load(p.onCuda().finish());
  auto s = session(copy);
  EXPECT_OK(flame_session_device_outputs(s.get(), 1));
  return std::move(run(s, 1, tensor<int64_t>({4}, indices))[0]);
}

Result failing(const SessionPtr &s, const ValuePtr &indices) {
  std::vector<ValuePtr> outputs;
  Result result = tryRun(s, {indices.get()}, 1, outputs);
  EXPECT_TRUE(result.ok() || !outputs[0]);
  return result;
}

void expectGood(const SessionPtr &s) {
  EXPECT_EQ(values<int64_t>(run(s, 1, tensor<int64_t>({4}, kGood))[0]), (std::vector<int64_t>{10, 14, 5, 11}));
}

} // namespace

TEST_F(CudaIndices, NameTheFirstThatIsOutOfRange) {
  for (bool before : {false, true}) {
    auto module = load(lookUp(before).finish());
    auto s = session(module);
    for (int round = 0; round < 4; ++round) { // from the third on by a graph
      expectGood(s);
      EXPECT_FAILS(failing(s, tensor<int64_t>({4}, kBad)), FLAME_BAD_DATA, kMessage);
    }
    expectGood(s);
    EXPECT_FAILS(failing(s, tensor<int64_t>({4}, {0, -6, 7, 9})), FLAME_BAD_DATA, "index -6 (element 1 of");
    EXPECT_FAILS(failing(s, tensor<int64_t>({2}, {5, 0})), FLAME_BAD_DATA, "index 5 (element 0 of input 0 (i64[2]))");
    expectGood(s);
  }
}

/// The same of ends of groups.
TEST_F(CudaIndices, MayBeEndsThatMustRise) {
  for (bool before : {false, true}) {
    auto module = load(lookUp(before, "check_ends").finish());
    auto s = session(module);
    for (int round = 0; round < 4; ++round) {
      EXPECT_EQ(values<int64_t>(run(s, 1, tensor<int64_t>({4}, {0, 3, 3, 5}))[0]), (std::vector<int64_t>{10, 13, 13, 15}));
      EXPECT_FAILS(failing(s, tensor<int64_t>({4}, {0, 3, 2, 9})), FLAME_BAD_DATA,
                   "node 'embedding': check_ends: end 2 (element 2 of input 0 (i64[4])) is less than the one before, 3");
    }
    EXPECT_FAILS(failing(s, tensor<int64_t>({3}, {1, 6, 0})), FLAME_BAD_DATA,
                 "end 6 (element 1 of input 0 (i64[3])) lies behind the rows, of which there are 5");
    EXPECT_FAILS(failing(s, tensor<int64_t>({2}, {-1, 6})), FLAME_BAD_DATA, "end -1 (element 0 of input 0 (i64[2])) is negative");
  }
}

TEST_F(CudaIndices, ShareASectionWithWhatReadsThem) {
  PlanBuilder p;
  const int n = p.symbol("n"), ne = p.symbolExpr(n), zero = p.constant(0);
  const int x = p.input("indices", DType::I64, {ne}, {"n"}), y = p.heap("y", DType::I64, {ne});
  const int checked = p.heap("checked", DType::I64, {ne}), extents = p.data<int64_t>("extents", DType::I64, {1}, {5});
  const int t = p.arena("t", DType::I64, {ne}, 2, 4);
  p.bind(x, {n});
  p.host("check_indices", {x, extents}, {checked}, "embedding");
  p.launch("k_addi", {checked, t}, {zero}, ne, "gather"); // the first that touches the arena
  p.alloc(y);
  p.launch("k_addi", {t, y}, {zero}, ne, "add");
  p.output("y", y, {"n"});
  auto module = load(p.onCuda().finish());
  auto s = session(module);
  const int64_t graphs = gpu.graphsMade, launches = gpu.graphLaunches;
  for (int round = 0; round < 4; ++round)
    EXPECT_EQ(values<int64_t>(run(s, 1, tensor<int64_t>({4}, kGood))[0]), kGood);
  EXPECT_FAKE_EQ(gpu.graphsMade, graphs + 1);
  EXPECT_FAKE_EQ(gpu.graphLaunches, launches + 3);
}

TEST_F(CudaIndices, AreFoundAmongMany) {
  auto module = load(lookUp().finish());
  auto s = session(module);
  std::vector<int64_t> many(100000, 3);
  EXPECT_EQ(values<int64_t>(run(s, 1, tensor<int64_t>({100000}, many))[0])[99999], 13);
  many[77777] = -123456789012;
  many[99998] = 5;
  EXPECT_FAILS(
      failing(s, tensor<int64_t>({100000}, many)), FLAME_BAD_DATA,
      "index -123456789012 (element 77777 of input 0 (i64[100000])) is out of range for a dimension of size 5");
  EXPECT_EQ(dims(run(s, 1, tensor<int64_t>({0}, {}))[0]), (std::vector<int64_t>{0}));
}

TEST_F(CudaIndices, DoNotMakeARunWait) {
  auto module = load(lookUp().finish());
  const auto good = toDevice(kGood);
  auto s = session(module);
  ASSERT_OK(flame_session_device_outputs(s.get(), 1));
  ASSERT_OK(flame_session_set_stream(s.get(), nullptr, 1));
  auto out = std::move(run(s, 1, good)[0]);
  const flame_value *inputs[] = {good.get()};
  flame_value *outputs[] = {out.get()};
  const int64_t copies = gpu.copiesToHost, graphs = gpu.graphsMade;
  int64_t launches = 0, calls = 0;
  for (int round = 0; round < 5; ++round) {
    const int64_t before = gpu.calls;
    launches = gpu.launches;
    ASSERT_OK(flame_session_run(s.get(), inputs, 1, outputs, 1));
    EXPECT_FAKE_EQ(gpu.launches, launches) << "nothing has waited, so nothing has run";
    if (round > 2) {
      EXPECT_FAKE_EQ(gpu.calls - before, calls) << "the graph replays";
    }
    calls = gpu.calls - before;
  }
  EXPECT_FAKE_EQ(gpu.copiesToHost, copies);
  EXPECT_FAKE_EQ(gpu.graphsMade, graphs + 1) << "one section";
  ASSERT_OK(flame_session_wait(s.get()));
  EXPECT_FAKE_EQ(gpu.copiesToHost, copies);
  flame_value *copy = nullptr;
  ASSERT_OK(flame_tensor_copy(out.get(), &copy));
  EXPECT_EQ(values<int64_t>(ValuePtr(copy)), (std::vector<int64_t>{10, 14, 5, 11}));
}

TEST_F(CudaIndices, AreReportedByTheNextCall) {
  auto module = load(lookUp().finish());
  const auto good = toDevice(kGood), bad = toDevice(kBad);
  auto s = session(module);
  ASSERT_OK(flame_session_wait(s.get())); // nothing has run
  ASSERT_OK(flame_session_device_outputs(s.get(), 1));
  ASSERT_OK(flame_session_set_stream(s.get(), nullptr, 1));
  for (int round = 0; round < 3; ++round) {
    EXPECT_TRUE(failing(s, good).ok());
    EXPECT_TRUE(failing(s, bad).ok()) << "it goes on behind the call";
    EXPECT_FAILS(flame_session_wait(s.get()), FLAME_BAD_DATA, kMessage);
    EXPECT_OK(flame_session_wait(s.get()));
    // The application waits by itself, and the next run tells; the one after that is fine.
    std::vector<ValuePtr> outputs;
    flame_value *copy = nullptr;
    EXPECT_OK(flame_tensor_copy(std::move(run(s, 1, good)[0]).get(), &copy));
    EXPECT_EQ(values<int64_t>(ValuePtr(copy)), (std::vector<int64_t>{10, 14, 5, 11}));
    ASSERT_TRUE(tryRun(s, {bad.get()}, 1, outputs).ok());
    EXPECT_FAILS(flame_tensor_copy(outputs[0].get(), &copy), FLAME_BAD_DATA, "flame_session_wait says which");
    EXPECT_FAILS(failing(s, good), FLAME_BAD_DATA, kMessage);
    EXPECT_TRUE(failing(s, good).ok());
    EXPECT_OK(flame_session_wait(s.get()));
  }
  EXPECT_FAILS(flame_session_wait(nullptr), FLAME_INVALID_ARGUMENT, "session is NULL");
  // What comes to the CPU is waited for in the run itself.
  EXPECT_TRUE(failing(s, bad).ok());
  ASSERT_OK(flame_session_device_outputs(s.get(), 0));
  EXPECT_FAILS(failing(s, good), FLAME_BAD_DATA, kMessage);
  EXPECT_TRUE(failing(s, good).ok());
}

TEST_F(CudaIndices, FailAtOnceInSyncMode) {
  flame_options options = defaultOptions();
  options.flags |= FLAME_SYNC;
  auto module = load(lookUp().finish(), options);
  auto s = session(module);
  expectGood(s);
  const int64_t launches = gpu.launches;
  EXPECT_FAILS(failing(s, tensor<int64_t>({4}, kBad)), FLAME_BAD_DATA, kMessage);
  EXPECT_FAKE_EQ(gpu.launches, launches + 1) << "no kernel came behind the check";
  expectGood(s);
}

TEST_F(CudaIndices, OfAFailedRunAreForgotten) {
  // The run fails for another reason behind the check and in front of anything that waits.
  PlanBuilder p = lookUp();
  p.check(plan::Relation::LessEqual, p.symbolExpr(0), p.constant(4), "at most 4", "limit");
  auto module = load(p.finish());
  auto s = session(module);
  EXPECT_FAILS(failing(s, tensor<int64_t>({5}, {9, 9, 9, 9, 9})), FLAME_BAD_DATA, "at most 4");
  expectGood(s);
}

TEST_F(CudaIndices, AreCheckedByTheCpuWhereTheDriverCompilesNothing) {
  FLAME_FAKE_GPU_ONLY();
  gpu.compilesPtx = false;
  auto module = load(lookUp().finish());
  auto s = session(module);
  for (int round = 0; round < 3; ++round) {
    expectGood(s);
    EXPECT_FAILS(failing(s, tensor<int64_t>({4}, kBad)), FLAME_BAD_DATA, kMessage);
  }
}

TEST_F(CudaIndices, SurviveADriverThatFails) {
  FLAME_FAKE_GPU_ONLY();
  const auto bytes = lookUp(true).finish();
  for (int64_t n = 0;; ++n) {
    auto module = load(bytes);
    gpu.failCall = n;
    flame_session *made = nullptr;
    Result created(flame_session_create(module.get(), &made));
    SessionPtr s(made);
    for (int round = 0; round < 4 && created.ok(); ++round) {
      std::vector<ValuePtr> outputs;
      Result result = tryRun(s, {tensor<int64_t>({4}, round % 2 ? kBad : kGood).get()}, 1, outputs);
      if (gpu.failCall == -1)
        continue; // the failure has happened
      EXPECT_EQ(result.ok(), round % 2 == 0) << result.message;
    }
    if (gpu.failCall >= 0)
      break;
    gpu.failCall = -1;
  }
}

TEST_F(CudaIndices, PlanTheirMemory) {
  for (bool before : {false, true}) {
    auto module = load(lookUp(before).finish());
    auto s = session(module);
    ASSERT_OK(flame_session_device_outputs(s.get(), 1));
    const auto in = toDevice(kGood);
    const int64_t dims[] = {4};
    const flame_shape shape{1, dims};
    uint64_t planned = 0, weights = 0, now = 0, peak = 0;
    int exact = 0;
    ASSERT_OK(flame_module_planned_bytes(module.get(), &shape, 1, &planned, &exact));
    EXPECT_TRUE(exact);
    flame_module_memory(module.get(), &weights, &now);
    run(s, 1, in);
    flame_module_memory(module.get(), &now, &peak);
    EXPECT_EQ(peak - weights, planned) << before;
  }
}
