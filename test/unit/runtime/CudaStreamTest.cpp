//===- CudaStreamTest.cpp - runs in the application's streams --------------===//
//
// The fake driver checks that everything which touches the same memory is in an order (FakeOrder.h), so these tests
// have to make the runtime change streams, release and end at awkward moments; results alone would come out right by
// luck.
//
//===----------------------------------------------------------------------===//

#include "FakeCudaDriver.h"
#include "Models.h"
#include "TestSupport.h"
#include "cuda/Device.h"

#include <optional>

using namespace flame::test;
namespace rt = flame::rt;

namespace {

/// y = x + 1 for f32[n], with no memory but the output's.
PlanBuilder increment() {
  PlanBuilder p;
  const int n = p.symbol("n"), ne = p.symbolExpr(n), one = p.constant(1);
  const int x = p.input("x", DType::F32, {ne}, {"n"}), y = p.heap("y", DType::F32, {ne});
  p.bind(x, {n});
  p.alloc(y);
  p.launch("k_scale", {x, y}, {one, one}, ne, "step");
  p.output("y", y, {"n"});
  p.onCuda();
  return p;
}

/// A stream of the host application's.
class AppStream {
public:
  AppStream() : device(rt::cuda::Device::open(0)) {
    rt::cuda::ContextScope scope(*device);
    EXPECT_EQ(device->driver.streamCreate(&handle, CU_STREAM_NON_BLOCKING), 0);
  }
  ~AppStream() {
    rt::cuda::ContextScope scope(*device);
    EXPECT_EQ(device->driver.streamDestroy(handle), 0);
  }
  AppStream(const AppStream &) = delete;

  /// Puts a copy of the tensor's bytes into the stream.
  void copy(CUdeviceptr to, const ValuePtr &from) {
    rt::cuda::ContextScope scope(*device);
    EXPECT_EQ(device->driver.memcpyDtoDAsync(to, rt::cuda::address(flame_tensor_data(from.get())),
                                             flame_tensor_elements(from.get()) * sizeof(float), handle),
              0);
  }
  void wait() {
    rt::cuda::ContextScope scope(*device);
    EXPECT_EQ(device->driver.streamSynchronize(handle), 0);
  }

  rt::Ref<rt::cuda::Device> device;
  CUstream handle = nullptr;
};

class CudaStream : public OnFakeGpu {};

SessionPtr deviceSession(const ModulePtr &module) {
  auto s = session(module);
  EXPECT_OK(flame_session_device_outputs(s.get(), 1));
  return s;
}

ValuePtr onDevice(const ModulePtr &module, float start) {
  auto s = deviceSession(module);
  auto host = tensor<float>({1, 4}, iota(4, start));
  return std::move(run(s, 1, host, host)[0]); // 4 x + 1
}

void use(const SessionPtr &s, const AppStream &stream) {
  EXPECT_OK(flame_session_set_stream(s.get(), stream.handle, 1));
}

std::vector<float> read(const ValuePtr &value) {
  flame_value *copy = nullptr;
  EXPECT_OK(flame_tensor_copy(value.get(), &copy));
  return values<float>(ValuePtr(copy));
}

/// After `times` applications of y = 4 x + 1 to 0, 1, 2, 3.
std::vector<float> applied(int times) {
  std::vector<float> v = iota(4);
  for (int i = 0; i < times; ++i)
    for (float &x : v)
      x = 4 * x + 1;
  return v;
}

} // namespace

TEST_F(CudaStream, UploadsAreOrderedWithRuns) {
  auto module = load(addScale().onCuda().finish());
  auto s = deviceSession(module);
  auto upload = [&](const ValuePtr &from) {
    flame_value *there = nullptr;
    EXPECT_OK(flame_session_upload(s.get(), from.get(), &there));
    return ValuePtr(there);
  };
  for (const bool inStream : {false, true}) {
    ASSERT_OK(flame_session_set_stream(s.get(), nullptr, inStream));
    auto host = tensor<float>({1, 4}, iota(4));
    const auto a = upload(host);
    std::fill_n(static_cast<float *>(flame_tensor_data(host.get())), 4, -1.f); // it was read
    EXPECT_EQ(flame_tensor_device(a.get()), 0);
    EXPECT_EQ(flame_tensor_data(upload(a).get()), flame_tensor_data(a.get())) << "copied what was there";
    const int64_t copies = gpu.copiesToDevice;
    EXPECT_EQ(read(run(s, 1, a, a)[0]), applied(1));
    EXPECT_EQ(gpu.copiesToDevice, copies);
  }
  flame_value *there = nullptr;
  EXPECT_FAILS(flame_session_upload(s.get(), nullptr, &there), FLAME_INVALID_ARGUMENT, "tensor is NULL");
  EXPECT_FAILS(flame_session_upload(nullptr, nullptr, &there), FLAME_INVALID_ARGUMENT, "session is NULL");
}

TEST_F(CudaStream, RunsReturnBeforeTheGpuHasEnded) {
  auto module = load(addScale().onCuda().finish());
  const auto a = onDevice(module, 0);
  auto s = deviceSession(module);
  ASSERT_OK(flame_session_set_stream(s.get(), nullptr, 1));
  std::vector<ValuePtr> outputs;
  const int64_t launches = gpu.launches;
  for (int i = 0; i < 3; ++i)
    for (ValuePtr &out : run(s, 1, a, a))
      outputs.push_back(std::move(out));
  EXPECT_EQ(gpu.launches, launches) << "the runs have waited for the GPU";
  EXPECT_EQ(read(outputs[2]), applied(2));
}

TEST_F(CudaStream, RunsIntoTensorsOnTheGpuReturnEarlyToo) {
  auto module = load(addScale().onCuda().finish());
  const auto a = onDevice(module, 0), out = onDevice(module, 9);
  auto s = session(module); // without device_outputs: the tensor given says where
  ASSERT_OK(flame_session_set_stream(s.get(), nullptr, 1));
  const flame_value *inputs[] = {a.get(), a.get()};
  const int64_t launches = gpu.launches;
  for (int i = 0; i < 3; ++i) {
    flame_value *outputs[] = {out.get()};
    ASSERT_OK(flame_session_run(s.get(), inputs, 2, outputs, 1));
  }
  EXPECT_EQ(gpu.launches, launches) << "the runs have waited for the GPU";
  EXPECT_EQ(read(out), applied(2));
}

TEST_F(CudaStream, SteadyStateHasNoEventsToWaitFor) {
  flame_options options = defaultOptions();
  options.flags = 0;
  auto module = load(addScale().onCuda().finish(), options);
  const auto in = onDevice(module, 0), out = onDevice(module, 9);
  auto s = deviceSession(module);
  AppStream stream;
  use(s, stream);
  const flame_value *inputs[] = {in.get(), in.get()};
  for (bool bound : {true, false}) {
    for (int round = 0; round < 6; ++round) {
      const int64_t records = gpu.eventRecords, waits = gpu.eventWaits, graphs = gpu.graphLaunches, calls = gpu.calls;
      flame_value *outputs[] = {bound ? out.get() : nullptr};
      use(s, stream); // as an application may do before each run
      ASSERT_OK(flame_session_run(s.get(), inputs, 2, outputs, 1));
      if (round > 2) {
        EXPECT_LE(gpu.eventRecords - records, 1);
        EXPECT_EQ(gpu.eventWaits, waits);
        EXPECT_FAKE_EQ(gpu.graphLaunches - graphs, 1);
        EXPECT_LE(gpu.calls - calls, bound ? 3 : 6); // the stream's number, the graph, the record; memory
      }
      const ValuePtr made(bound ? nullptr : outputs[0]);
      EXPECT_EQ(read(bound ? out : made), applied(2));
    }
  }
}

TEST_F(CudaStream, FollowsTheApplicationFromStreamToStream) {
  auto module = load(addScale().onCuda().finish());
  for (bool numbers : {true, false}) {
    gpu.streamNumbers = numbers;
    const auto in = onDevice(module, 0);
    auto s = deviceSession(module);
    std::vector<ValuePtr> kept = run(s, 1, in, in);
    AppStream first, second;
    const int64_t waits = gpu.eventWaits;
    int at = 0, changes = 0;
    for (int to : {1, 1, 2, 2, 1, 0, 0, 2, 1, 1, 2}) {
      if (to)
        use(s, to == 1 ? first : second);
      else
        ASSERT_OK(flame_session_set_stream(s.get(), nullptr, 0));
      // An application that uses in one stream what was made in another one has to order them; waiting does.
      if (at && to != at)
        (at == 1 ? first : second).wait();
      changes += at && to != at;
      kept.push_back(std::move(run(s, 1, kept.back(), kept.back())[0]));
      if (kept.size() % 3 == 0)
        kept.erase(kept.begin()); // memory that another stream has used
      at = to;
    }
    if (numbers) {
      EXPECT_LE(gpu.eventWaits - waits, changes);
    }
    EXPECT_EQ(read(kept.back()), applied(13));
  }
}

TEST_F(CudaStream, StreamsNeedNotBeOrderedByTheApplication) {
  // Inputs that nobody writes: only the session's own memory connects the runs.
  auto module = load(addScale().onCuda().finish());
  const auto in = onDevice(module, 0);
  auto s = deviceSession(module);
  AppStream streams[3];
  std::vector<ValuePtr> outputs;
  const int64_t launches = gpu.launches;
  for (int i = 0; i < 12; ++i) {
    use(s, streams[i * i % 3]);
    for (ValuePtr &out : run(s, 1, in, in))
      outputs.push_back(std::move(out));
  }
  EXPECT_EQ(gpu.launches, launches) << "changing the stream has waited for the GPU";
  streams[2].wait(); // the others come first
  for (const ValuePtr &out : outputs)
    EXPECT_EQ(read(out), applied(2));
}

TEST_F(CudaStream, StreamsMayGoBetweenRuns) {
  auto module = load(addScale().onCuda().finish());
  const auto in = onDevice(module, 0);
  for (bool numbers : {true, false}) {
    gpu.streamNumbers = numbers;
    auto s = deviceSession(module);
    std::optional<AppStream> stream;
    for (int i = 0; i < 5; ++i) {
      stream.emplace();
      use(s, *stream);
      auto out = run(s, 1, in, in);
      stream.reset(); // with work in it
      if (i % 2)
        out.clear();
    }
    ASSERT_OK(flame_session_set_stream(s.get(), nullptr, 0));
    EXPECT_EQ(read(run(s, 1, in, in)[0]), applied(2));
    stream.emplace();
    auto brief = load(increment().finish());
    s = deviceSession(brief);
    auto host = tensor<float>({1000}, iota(1000));
    auto first = run(s, 1, host);
    use(s, *stream);
    auto out = run(s, 1, first[0]);
    stream.reset();
    s.reset();
    brief.reset(); // and the kernels' code
    EXPECT_EQ(read(out[0]), iota(1000, 2));
  }
}

TEST_F(CudaStream, ReleasedOutputsMayStillBeRead) {
  auto module = load(addScale().onCuda().finish());
  const auto in = onDevice(module, 0);
  AppStream stream, other;
  const auto keeper = onDevice(module, 5), second = onDevice(module, 5);
  auto s = deviceSession(module), competitor = deviceSession(module);
  use(s, stream);
  use(competitor, other);
  for (const ValuePtr *target : {&keeper, &second}) {
    auto out = run(s, 1, in, in);
    stream.copy(rt::cuda::address(flame_tensor_data(target->get())), out[0]);
    if (target == &second)
      s.reset(); // the session ends before its output
    const int64_t launches = gpu.launches;
    out.clear();
    EXPECT_TRUE(target == &second || gpu.launches == launches) << "releasing has waited for the GPU";
    run(competitor, 1, in, in);
    if (s)
      run(s, 1, in, in);
  }
  stream.wait();
  EXPECT_EQ(read(keeper), applied(2));
  EXPECT_EQ(read(second), applied(2));
}

TEST_F(CudaStream, ReleasedMemoryIsThereWhenAnotherSessionNeedsIt) {
  FLAME_FAKE_GPU_ONLY();
  auto module = load(increment().finish());
  auto s = deviceSession(module), t = deviceSession(module);
  AppStream stream;
  use(s, stream);
  auto host = tensor<float>({1000}, iota(1000));
  auto in = std::move(run(s, 1, host)[0]);
  gpu.memory = 9'000; // the input and one output
  auto out = run(s, 1, in);
  out.clear();
  EXPECT_EQ(read(run(t, 1, in)[0]), iota(1000, 2));
}

TEST_F(CudaStream, SessionsInTwoStreamsShareInitialisedWeights) {
  auto module = load(everything().onCuda().finish());
  auto c = tensor<bool>({}, {true});
  AppStream first, second;
  auto s = deviceSession(module), t = deviceSession(module);
  use(s, first);
  use(t, second);
  for (int round = 0; round < 4; ++round)
    for (const SessionPtr *each : {&s, &t}) {
      auto out = run(*each, 5, tensor<float>({3, 2}, iota(6)), c);
      EXPECT_EQ(read(out[0]), (std::vector<float>{3, 1, 7, 5, 11, 9}));
      EXPECT_EQ(read(out[1]), (std::vector<float>{4, 7, 10, 13}));
    }
}

TEST_F(CudaStream, FindsWritesBeyondTensorsThere) {
  flame_options options = defaultOptions();
  options.flags |= FLAME_RED_ZONES;
  auto module = load(addScale().onCuda().finish(), options);
  const auto in = onDevice(module, 0);
  auto s = deviceSession(module);
  AppStream stream;
  use(s, stream);
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(read(run(s, 1, in, in)[0]), applied(2));
}

TEST_F(CudaStream, SurvivesTheFailureOfAnyCall) {
  FLAME_FAKE_GPU_ONLY();
  const auto bytes = addScale().onCuda().finish();
  int64_t n = 0;
  for (bool reached = true; reached; ++n) {
    {
      auto module = load(bytes);
      const auto in = onDevice(module, 0);
      AppStream first, second;
      auto s = deviceSession(module);
      gpu.failCall = n;
      for (const AppStream *stream : {&first, &first, &first, &second, &first}) {
        use(s, *stream);
        std::vector<ValuePtr> out;
        tryRun(s, {in.get(), in.get()}, 1, out);
      }
      reached = gpu.failCall.exchange(-1) < 0;
      use(s, second);
      EXPECT_EQ(read(run(s, 1, in, in)[0]), applied(2)) << n;
    }
    ASSERT_EQ(gpu.alive(), 0) << "call " << n << " failed and something leaked";
    ASSERT_EQ(gpu.violation, "") << n;
  }
  EXPECT_GT(n, 15);
}

TEST_F(CudaStream, TheFakeDriverNoticesMissingOrder) {
  FLAME_FAKE_GPU_ONLY();
  auto module = load(addScale().onCuda().finish());
  const auto a = onDevice(module, 0), b = onDevice(module, 1), c = onDevice(module, 2);
  const CUdeviceptr to = rt::cuda::address(flame_tensor_data(b.get())),
                    next = rt::cuda::address(flame_tensor_data(c.get()));
  for (bool ordered : {true, false}) {
    AppStream first, second;
    rt::cuda::Event event(first.device, /*timed=*/false);
    first.copy(to, a);
    rt::cuda::ContextScope scope(*first.device);
    if (ordered) {
      ASSERT_EQ(first.device->driver.eventRecord(event.handle, first.handle), 0);
      ASSERT_EQ(first.device->driver.streamWaitEvent(second.handle, event.handle, 0), 0);
    }
    second.copy(next, b);
    first.device->driver.streamSynchronize(second.handle);
    first.device->driver.streamSynchronize(first.handle);
    EXPECT_EQ(gpu.violation.empty(), ordered) << gpu.violation;
  }
  EXPECT_NE(gpu.violation.find("memory that work in another stream uses"), std::string::npos) << gpu.violation;
  reset();
  std::optional<AppStream> gone(std::in_place);
  auto s = deviceSession(module);
  use(s, *gone);
  gone.reset();
  std::vector<ValuePtr> out;
  tryRun(s, {a.get(), a.get()}, 1, out);
  EXPECT_NE(gpu.violation.find("has been destroyed"), std::string::npos);
  reset();
}
