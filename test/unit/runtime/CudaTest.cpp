//===- CudaTest.cpp - CUDA plans on a fake driver --------------------------===//
//
// What the executor's tests do not see: where tensors are, the choice of code, failures of the driver, debugging modes,
// DLPack. CudaGraphTest.cpp has the graphs.
//
//===----------------------------------------------------------------------===//

#include "FakeCudaDriver.h"
#include "Models.h"
#include "TestSupport.h"
#include "capi/DlpackAbi.h"
#include "cuda/CudaModule.h"
#include "cuda/TensorMaps.h"

#include <thread>

using namespace flame::test;
namespace plan = flame::plan;
namespace rt = flame::rt;

namespace {

class Cuda : public OnFakeGpu {};

flame_options withFlags(uint32_t flags) {
  flame_options options = defaultOptions();
  options.flags |= flags;
  return options;
}

/// x f32[4] → a kernel of one buffer → y.
PlanBuilder single(const char *kernel) {
  PlanBuilder p;
  const int four = p.constant(4), one = p.constant(1), zero = p.constant(0);
  const int x = p.input("x", DType::F32, {four}, {"4"}), y = p.heap("y", DType::F32, {four});
  p.alloc(y);
  p.launch("k_scale", {x, y}, {one, zero}, four, "before");
  p.launch(kernel, {y}, {}, four, "culprit");
  p.launch("k_scale", {y, y}, {one, zero}, four, "after");
  p.output("y", y, {"4"});
  p.onCuda();
  return p;
}

flame_code lifeCycle(const std::vector<uint8_t> &bytes, const flame_options &options,
                     const std::vector<const flame_value *> &inputs, size_t outputCount,
                     std::string *message = nullptr) {
  ModulePtr module;
  Result result = tryLoad(bytes, module, options);
  flame_session *session = nullptr;
  if (result.ok())
    result = Result(flame_session_create(module.get(), &session));
  SessionPtr owner(session);
  for (int i = 0; i < 3 && result.ok(); ++i) {
    std::vector<ValuePtr> outputs;
    result = tryRun(owner, inputs, outputCount, outputs);
  }
  if (message)
    *message = result.message;
  return result.code;
}

} // namespace

// ---- the driver and the code

TEST_F(Cuda, NamesWhatIsWrongWithTheDriver) {
  FLAME_FAKE_GPU_ONLY();
  auto message = [](const std::string &path) {
    setenv("FLAME_CUDA_DRIVER", path.c_str(), 1);
    std::string text;
    try {
      rt::cuda::Driver::load();
    } catch (const rt::Error &error) {
      EXPECT_EQ(error.code, FLAME_DEVICE);
      text = error.message;
    }
    setenv("FLAME_CUDA_DRIVER", testFile(FLAME_TEST_FAKE_CUDA).c_str(), 1);
    return text;
  };
  EXPECT_NE(message("/nonexistent/libcuda.so").find("the driver cannot be loaded: /nonexistent/libcuda.so"),
            std::string::npos);
  EXPECT_NE(message(testFile(FLAME_TEST_DEVICE_KERNELS)).find("is not a CUDA driver"), std::string::npos);
  gpu.version = 10020;
  EXPECT_NE(
      message(testFile(FLAME_TEST_FAKE_CUDA)).find("supports CUDA 10.2, flame needs 11.4 or newer; update the driver"),
      std::string::npos);
  gpu.version = 0;
  EXPECT_NE(message(testFile(FLAME_TEST_FAKE_CUDA)).find("is the toolkit's stub"), std::string::npos);
  gpu.version = 13000;
  gpu.devices = 0;
  EXPECT_NE(message(testFile(FLAME_TEST_FAKE_CUDA)).find("the driver finds none"), std::string::npos);
}

TEST_F(Cuda, ChoosesTheDevice) {
  FLAME_FAKE_GPU_ONLY();
  const auto bytes = addScale().onCuda().finish();
  flame_options options = defaultOptions();
  options.device = 1;
  {
    auto module = load(bytes, options);
    auto s = session(module);
    ASSERT_OK(flame_session_device_outputs(s.get(), 1));
    auto out = run(s, 1, tensor<float>({1, 4}, iota(4)), tensor<float>({1, 4}, iota(4)));
    EXPECT_EQ(flame_tensor_device(out[0].get()), 1);
  }
  options.device = 7;
  auto module = load(bytes, options);
  flame_session *s = nullptr;
  EXPECT_FAILS(flame_session_create(module.get(), &s), FLAME_DEVICE, "there is no GPU 7: the driver finds 2 devices");
  setenv("FLAME_DEVICE", "many", 1);
  options.device = 0;
  module = load(bytes, options);
  EXPECT_FAILS(flame_session_create(module.get(), &s), FLAME_INVALID_ARGUMENT, "FLAME_DEVICE is 'many'");
  unsetenv("FLAME_DEVICE");
}

// ---- tensor maps

namespace {

/// x f32[n, 16] → what a kernel with a tensor map of x but its first row gets to see, int64[17]: blocks, map.
PlanBuilder tensorMap() {
  PlanBuilder p;
  const int n = p.symbol("n"), rows = p.symbolExpr(n), width = p.constant(16), words = p.constant(17);
  const int x = p.input("x", DType::F32, {rows, width}, {"n", "16"}), y = p.heap("y", DType::I64, {words});
  p.bind(x, {n, -1});
  p.alloc(y);
  p.launch("k_tensor", {x, y}, {}, p.constant(5));
  auto &launch = *p.root.blocks[0]->commands.back()->body.AsLaunch();
  auto map = std::make_unique<plan::TensorMapT>();
  map->buffer = 0;
  map->dtype = DType::F32;
  map->offset = p.constant(64);
  map->dims = {width, p.add(rows, p.constant(-1))};
  map->strides = {p.constant(64)};
  map->box = {16, 128};
  launch.tensors.push_back(std::move(map));
  launch.extent_wgmma = p.mul(rows, p.constant(2));
  auto wgmma = std::make_unique<plan::WgmmaT>();
  wgmma->threads = 384;
  wgmma->shared = 100 << 10;
  wgmma->cluster = 2;
  p.root.kernels.back()->wgmma = std::move(wgmma);
  p.output("y", y, {"17"});
  p.onCuda();
  return p;
}

std::vector<int64_t> seen(const SessionPtr &s, int64_t rows) {
  auto x = tensor<float>({rows, 16}, std::vector<float>(rows * 16));
  return values<int64_t>(run(s, 1, x)[0]);
}

} // namespace

TEST_F(Cuda, KernelsForWgmmaGetTensorMaps) {
  FLAME_FAKE_GPU_ONLY();
  auto module = load(tensorMap().finish());
  auto s = session(module);
  gpu.tensorMaps = 0;
  auto words = seen(s, 100);
  EXPECT_EQ(words[0], 2) << "three multiprocessors hold one cluster";
  EXPECT_EQ(words[1], 7 | 2 << 8 | 3 << 16) << "f32, two dims, swizzled";
  EXPECT_EQ(words[2], 3) << "bit 21 is cleared for a small tensor";
  EXPECT_EQ(words[3], 64) << "the first row is left out";
  EXPECT_EQ(std::vector(words.begin() + 4, words.begin() + 6), (std::vector<int64_t>{16, 99}));
  EXPECT_EQ(words[9], 64);
  EXPECT_EQ(words[14], 16 | 128 << 12);
  EXPECT_EQ(seen(s, 1)[5], 1) << "a dim of nothing counts as one";
  gpu.version = 13020;
  EXPECT_NE(seen(session(module), 5000)[2] & 1 << 21, 0);
}

TEST_F(Cuda, TensorMapsAreKept) {
  FLAME_FAKE_GPU_ONLY();
  rt::cuda::TensorMaps maps;
  const rt::cuda::Driver &driver = rt::cuda::Driver::get();
  rt::TensorView view{reinterpret_cast<void *>(4096), FLAME_F16, 2, {64, 8}, {128}, {64, 8}, false, {}};
  rt::TensorView other = view;
  other.dims[1] = 9;
  auto device = rt::cuda::Device::open(0);
  rt::cuda::ContextScope scope(*device);
  gpu.tensorMaps = 0;
  const auto first = maps.find(driver, view);
  EXPECT_NE(maps.find(driver, other), first);
  EXPECT_EQ(maps.find(driver, view), first);
  EXPECT_EQ(gpu.tensorMaps, 2);
}

TEST_F(Cuda, TensorMapsOfWindows) {
  FLAME_FAKE_GPU_ONLY();
  PlanBuilder p = tensorMap();
  auto &map = *p.root.blocks[0]->commands.back()->body.AsLaunch()->tensors[0];
  const int one = p.constant(1);
  map.dims = {map.dims[0], map.dims[1], p.constant(7), one}; // channels, positions, an image
  map.strides = {map.strides[0], p.constant(64), p.constant(64)};
  map.lower = {-1, -2}, map.upper = {-3, 0}, map.steps = {2, 1};
  auto words = seen(session(load(p.finish())), 100);
  EXPECT_EQ(words[1], 7 | 4 << 8 | 3 << 16) << "f32, four dims, swizzled";
  EXPECT_EQ(std::vector(words.begin() + 4, words.begin() + 8), (std::vector<int64_t>{16, 99, 7, 1}));
  EXPECT_EQ(words[14], 16 | 128 << 12);
  EXPECT_EQ(words[15], 0xff | 0xfd << 8 | 0xfell << 16);
  EXPECT_EQ(words[16], 2 | 1 << 8);
}

TEST_F(Cuda, OtherCodeHasNoTensorMaps) {
  FLAME_FAKE_GPU_ONLY();
  gpu.major = 8;
  auto module = load(tensorMap().finish());
  gpu.tensorMaps = 0;
  auto s = session(module);
  auto words = seen(s, 100);
  EXPECT_EQ(words[0], 5);
  EXPECT_EQ(std::vector(words.begin() + 1, words.end()), std::vector<int64_t>(16));
  EXPECT_EQ(gpu.tensorMaps, 0);
}

TEST_F(Cuda, RefusesImpossibleTensorMaps) {
  auto refused = [](auto change, const char *message) {
    PlanBuilder p = tensorMap();
    for (auto &command : p.root.blocks[0]->commands)
      if (auto *launch = command->body.AsLaunch())
        change(p, *launch);
    ModulePtr module;
    EXPECT_FAILS(tryLoad(p.finish(), module), FLAME_BAD_ARTIFACT, message);
  };
  refused([](auto &, auto &l) { l.tensors[0]->box[1] = 257; }, "the box of a tensor map has a dim of 257");
  refused([](auto &, auto &l) { l.tensors[0]->box[0] = 128; }, "a line of a tensor map's box has 128 elements");
  refused([](auto &, auto &l) { l.tensors[0]->dtype = DType::BF16, l.tensors[0]->tf32 = true; }, "rounds bf16 to TF32");
  refused([](auto &, auto &l) { l.tensors[0]->strides.clear(); }, "a tensor map has 2 dims, 0 strides");
  auto windows = [](auto &l, std::vector<int32_t> lower, std::vector<int32_t> steps) {
    auto &map = *l.tensors[0];
    map.dims.resize(4, map.dims[0]), map.strides.resize(3, map.strides[0]);
    map.lower = std::move(lower), map.upper = {0, 0}, map.steps = std::move(steps);
  };
  refused([&](auto &, auto &l) { windows(l, {-129, 0}, {1, 1}); }, "have a corner at -129");
  refused([&](auto &, auto &l) { windows(l, {0, 0}, {1, 9}); }, "are 9 positions apart");
  refused([&](auto &, auto &l) { windows(l, {0}, {1, 1}); }, "has windows of 2 dims from 1 to 2");
  refused([&](auto &, auto &l) { windows(l, {0, 0}, {1}); }, "has windows of 1 dims from 2 to 2");
  refused([&](auto &, auto &l) { windows(l, {0, 0}, {1, 1}), l.tensors[0]->box = {16, 128, 1, 1}; }, "and a box of 4");
  refused([](auto &, auto &l) { l.tensors[0]->buffer = 2; }, "buffer of a tensor map");
  refused([](auto &, auto &l) { l.extent_wgmma = -1; }, "expression");
  refused([](auto &p, auto &) { p.root.kernels.back()->wgmma.reset(); }, "takes none");
  refused([](auto &p, auto &) { p.root.kernels.back()->wgmma->shared = 1 << 20; }, "which no GPU gives it");
}

TEST_F(Cuda, ChoosesTheCode) {
  FLAME_FAKE_GPU_ONLY();
  using rt::CodeFormat;
  auto code = [](CodeFormat format, const char *target) { return rt::CodeInfo{format, target, {}, nullptr, 0, 0, 0}; };
  const std::vector<rt::CodeInfo> all = {code(CodeFormat::Ptx, "compute_80"), code(CodeFormat::Cubin, "sm_80"),
                                         code(CodeFormat::Cubin, "sm_86"), code(CodeFormat::Cubin, "sm_90a"),
                                         code(CodeFormat::Ptx, "compute_90a")};
  auto target = [&](int major, int minor) {
    const int chosen = rt::cuda::chooseCode(all, 0, major, minor);
    return chosen == -1 ? std::string() : all[chosen].target;
  };
  EXPECT_EQ(target(9, 0), "sm_90a");
  EXPECT_EQ(target(8, 0), "sm_80");
  EXPECT_EQ(target(8, 6), "sm_86");
  EXPECT_EQ(target(8, 9), "sm_86");
  EXPECT_EQ(target(10, 0), "compute_80");
  EXPECT_EQ(target(12, 0), "compute_80");
  EXPECT_EQ(target(7, 5), "");
  EXPECT_EQ(rt::cuda::chooseCode(all, 1, 9, 0), -1);

  gpu.major = 7;
  gpu.minor = 5;
  std::string message;
  EXPECT_EQ(lifeCycle(addScale().onCuda().finish(), defaultOptions(), {}, 1, &message), FLAME_UNSUPPORTED);
  EXPECT_NE(message.find("it has code for sm_90a, compute_80; GPU 0 (Fake GPU, sm_75) runs none of these"),
            std::string::npos)
      << message;
}

TEST_F(Cuda, LoadsPtxAndShowsItsErrors) {
  FLAME_FAKE_GPU_ONLY();
  gpu.major = 12;
  {
    auto module = load(addScale().onCuda().finish());
    auto s = session(module);
    auto out = run(s, 1, tensor<float>({1, 4}, iota(4)), tensor<float>({1, 4}, iota(4)));
    EXPECT_EQ(values<float>(out[0]), (std::vector<float>{1, 5, 9, 13}));
  }
  auto p = addScale();
  p.onCuda();
  const std::string text = "no ptx";
  p.root.codes[1] = PlanBuilder::code(plan::CodeFormat::Ptx, "compute_80", std::vector<char>(text.begin(), text.end()));
  std::string message;
  EXPECT_EQ(lifeCycle(p.finish(), defaultOptions(), {}, 1, &message), FLAME_DEVICE);
  EXPECT_NE(message.find("line 1: this is no PTX"), std::string::npos) << message;
}

TEST_F(Cuda, AsksForSharedMemory) {
  auto q = addScale();
  q.onCuda();
  q.root.kernels[0]->shared = 200 * 1024;
  auto a = tensor<float>({1, 4}, iota(4));
  EXPECT_EQ(lifeCycle(q.finish(), defaultOptions(), {a.get(), a.get()}, 1), FLAME_OK);
}

TEST_F(Cuda, KernelsThatNeedMoreBlocksAreRefused) {
  FLAME_FAKE_GPU_ONLY();
  auto withLeast = [&](int blocks, std::string *message) {
    auto q = addScale();
    q.onCuda();
    q.root.kernels[0]->cooperative = true;
    q.root.kernels[0]->least_blocks = blocks;
    auto a = tensor<float>({1, 4}, iota(4));
    return lifeCycle(q.finish(), defaultOptions(), {a.get(), a.get()}, 1, message);
  };
  std::string message;
  EXPECT_EQ(withLeast(3, &message), FLAME_OK) << message;
  EXPECT_EQ(withLeast(4, &message), FLAME_UNSUPPORTED);
  EXPECT_NE(message.find("needs 4 blocks at one time"), std::string::npos) << message;
  EXPECT_NE(message.find("holds 3 on 3 multiprocessors; run it on a larger GPU"), std::string::npos) << message;
  EXPECT_EQ(withLeast(-1, &message), FLAME_BAD_ARTIFACT);
}

TEST_F(Cuda, NamesMissingKernels) {
  auto p = addScale();
  p.onCuda();
  p.root.kernels[0]->symbol = "k_nothing";
  std::string message;
  EXPECT_EQ(lifeCycle(p.finish(), defaultOptions(), {}, 1, &message), FLAME_BAD_ARTIFACT);
  EXPECT_NE(message.find("does not define the kernel 'k_nothing'"), std::string::npos) << message;
}

/// A plan whose second kernel is in a second unit.
PlanBuilder twoUnits() {
  auto p = addScale();
  p.onCuda();
  const size_t codes = p.root.codes.size();
  for (size_t i = 0; i < codes; ++i) {
    p.root.codes.push_back(std::make_unique<plan::CodeT>(*p.root.codes[i]));
    p.root.codes.back()->unit = 1;
  }
  p.root.kernels[1]->unit = 1;
  return p;
}

TEST_F(Cuda, LoadsEveryUnit) {
  auto module = load(twoUnits().finish());
  {
    auto s = session(module);
    EXPECT_FAKE_EQ(gpu.modules, 2);
    auto out = run(s, 1, tensor<float>({1, 4}, iota(4)), tensor<float>({1, 4}, iota(4)));
    EXPECT_EQ(values<float>(out[0]), (std::vector<float>{1, 5, 9, 13}));
  }
  module.reset();
  EXPECT_FAKE_EQ(gpu.modules, 0);
}

TEST_F(Cuda, UnitsWithoutTheirCode) {
  std::string message;
  auto p = twoUnits();
  p.root.kernels[1]->unit = 2;
  EXPECT_EQ(lifeCycle(p.finish(), defaultOptions(), {}, 1, &message), FLAME_BAD_ARTIFACT);
  EXPECT_NE(message.find("is in unit 2 of the kernels, which has no code"), std::string::npos) << message;
  p = twoUnits();
  p.root.codes.back()->unit = 99;
  EXPECT_EQ(lifeCycle(p.finish(), defaultOptions(), {}, 1, &message), FLAME_BAD_ARTIFACT);
  EXPECT_NE(message.find("unit of kernels"), std::string::npos) << message;
}

// ---- where values are

TEST_F(Cuda, UploadsWeightsOnce) {
  PlanBuilder p;
  const int many = p.constant(3 << 20);
  std::vector<float> numbers = iota(3 << 20);
  const int w = p.data<float>("w", DType::F32, {3 << 20}, numbers);
  const int v = p.data<float>("v", DType::F32, {3 << 20}, numbers);
  const int x = p.input("x", DType::F32, {many}, {"n"}), y = p.heap("y", DType::F32, {many}),
            z = p.heap("z", DType::F32, {many});
  p.alloc(y);
  p.launch("k_add", {x, w, y}, {}, many, "add");
  p.alloc(z);
  p.launch("k_add", {y, v, z}, {}, many, "add");
  p.output("z", z, {"n"});
  auto module = load(p.onCuda().finish());
  uint64_t weights, loading;
  flame_module_weight_bytes(module.get(), &weights, &loading);
  EXPECT_EQ(weights, 24u << 20);
  EXPECT_EQ(loading, 0u);
  auto s1 = session(module);
  const int64_t copies = gpu.copiesToDevice;
  auto s2 = session(module);
  EXPECT_EQ(gpu.copiesToDevice, copies);
  uint64_t current;
  flame_module_memory(module.get(), &current, nullptr);
  EXPECT_GE(current, 24u << 20);
  for (auto *s : {&s1, &s2}) {
    auto out = run(*s, 1, tensor<float>({3 << 20}, numbers));
    const auto z = values<float>(out[0]);
    for (size_t i = 0; i < z.size(); i += 1001)
      ASSERT_EQ(z[i], 3.f * i);
  }
}

TEST_F(Cuda, MovesValuesBetweenKernelsAndHostFunctions) {
  // A host function reads a kernel's result twice (one transfer), its outputs go to a kernel, an element is read back.
  PlanBuilder p;
  const int n = p.symbol("n"), ne = p.symbolExpr(n), k = p.symbol("k"), one = p.constant(1), zero = p.constant(0);
  const int x = p.input("x", DType::F32, {ne}, {"n"});
  const int t = p.heap("t", DType::F32, {ne});
  p.bind(x, {n});
  p.alloc(t);
  p.launch("k_scale", {x, t}, {p.constant(2), zero}, ne, "double");
  auto sequence = [&](const std::string &name) {
    const int slot = p.slot(name, Storage::Heap, DType::F32, {}, 0);
    p.root.slots[slot]->kind = ValueKind::Sequence;
    return slot;
  };
  const int s = sequence("s"), index = p.data<int64_t>("index", DType::I64, {}, {1});
  p.host("sequence_construct", {t, t}, {s}, "construct");
  const int item = p.heap("item", DType::F32, {ne});
  p.host("sequence_at", {s, index}, {item}, "at");
  const int y = p.heap("y", DType::F32, {ne});
  p.alloc(y);
  p.launch("k_add", {item, t, y}, {}, ne, "add");
  const int counts = p.data<int64_t>("counts", DType::I64, {2}, {3, 5}),
            more = p.heap("more", DType::I64, {p.constant(2)});
  p.alloc(more);
  p.launch("k_addi", {counts, more}, {one}, p.constant(2), "more");
  p.readElement(more, 1, k);
  const int ke = p.symbolExpr(k), f = p.heap("f", DType::F32, {ke});
  p.alloc(f);
  p.launch("k_fill", {f}, {ke}, ke, "fill");
  p.output("y", y, {"n"});
  p.output("f", f, {"?"});
  auto module = load(p.onCuda().finish());
  auto s1 = session(module);
  auto in = tensor<float>({3}, iota(3));
  for (int round = 0; round < 3; ++round) {
    const int64_t before = gpu.copiesToHost;
    auto out = run(s1, 2, in);
    EXPECT_EQ(values<float>(out[0]), (std::vector<float>{0, 4, 8}));
    EXPECT_EQ(values<float>(out[1]), std::vector<float>(6, 6));
    EXPECT_FAKE_EQ(gpu.copiesToHost - before, 4); // t, the element, two outputs
  }
}

TEST_F(Cuda, TakesAndLeavesDeviceTensors) {
  auto module = load(addScale().onCuda().finish());
  auto s = session(module);
  ASSERT_OK(flame_session_device_outputs(s.get(), 1));
  auto a = tensor<float>({2, 4}, iota(8));
  auto first = run(s, 1, a, a);
  EXPECT_EQ(flame_tensor_device(first[0].get()), 0);
  // A device tensor as input, as output in place, through DLPack and back.
  DLManagedTensor *managed = nullptr;
  ASSERT_OK(flame_tensor_to_dlpack(first[0].get(), &managed));
  EXPECT_EQ(managed->dl_tensor.device.device_type, 2);
  EXPECT_EQ(managed->dl_tensor.data, flame_tensor_data(first[0].get()));
  flame_value *raw = nullptr;
  ASSERT_OK(flame_tensor_from_dlpack(managed, &raw));
  ValuePtr imported(raw);
  EXPECT_EQ(flame_tensor_device(raw), 0);
  const int64_t before = gpu.copiesToDevice + gpu.copiesToHost;
  auto second = run(s, 1, imported, first[0]);
  const flame_value *inputs[] = {imported.get(), imported.get()};
  flame_value *outputs[] = {second[0].get()};
  void *const place = flame_tensor_data(second[0].get());
  ASSERT_OK(flame_session_run(s.get(), inputs, 2, outputs, 1));
  EXPECT_EQ(flame_tensor_data(second[0].get()), place);
  EXPECT_EQ(gpu.copiesToDevice + gpu.copiesToHost, before) << "everything was on the device";
  ASSERT_OK(flame_tensor_copy(second[0].get(), &raw));
  ValuePtr copied(raw);
  EXPECT_EQ(flame_tensor_device(raw), -1);
  EXPECT_EQ(values<float>(copied)[1], (4 * 1 + 1) * 4 + 1);
  // Neither memory of the CPU nor of another GPU passes for this one's.
  float local[8];
  const int64_t shape[] = {2, 4};
  EXPECT_FAILS(flame_tensor_wrap_device(FLAME_F32, shape, 2, 0, local, sizeof(local), nullptr, nullptr, &raw),
               FLAME_INVALID_ARGUMENT, "is not in device memory");
  if (!onRealGpu())
    EXPECT_FAILS(flame_tensor_wrap_device(FLAME_F32, shape, 2, 1, place, sizeof(local), nullptr, nullptr, &raw),
                 FLAME_INVALID_ARGUMENT, "is memory of GPU 0");
  // A CPU model takes and fills device tensors, too.
  auto onCpu = load(addScale().finish());
  auto cpu = session(onCpu);
  auto result = run(cpu, 1, imported, a);
  EXPECT_EQ(values<float>(result[0])[1], (5 + 1) * 2 + 1);
  ASSERT_OK(flame_session_run(cpu.get(), inputs, 2, outputs, 1));
  ASSERT_OK(flame_tensor_copy(second[0].get(), &raw));
  copied.reset(raw);
  EXPECT_EQ(values<float>(copied)[1], 5 * 4 + 1);
  EXPECT_FAILS(flame_session_set_stream(cpu.get(), nullptr, 1), FLAME_INVALID_ARGUMENT, "runs on the CPU");
}

TEST_F(Cuda, RejectsTensorsOfAnotherDevice) {
  FLAME_FAKE_GPU_ONLY();
  flame_options options = defaultOptions();
  auto first = load(addScale().onCuda().finish(), options);
  options.device = 1;
  auto second = load(addScale().onCuda().finish(), options);
  auto s1 = session(first), s2 = session(second);
  ASSERT_OK(flame_session_device_outputs(s1.get(), 1));
  auto a = tensor<float>({1, 4}, iota(4));
  auto out = run(s1, 1, a, a);
  std::vector<ValuePtr> none;
  Result r = tryRun(s2, {out[0].get(), a.get()}, 1, none);
  EXPECT_EQ(r.code, FLAME_INVALID_ARGUMENT);
  EXPECT_NE(r.message.find("a tensor is on GPU 0 and the model runs on GPU 1"), std::string::npos) << r.message;
}

// ---- failures

TEST_F(Cuda, SurvivesTheFailureOfAnyCall) {
  FLAME_FAKE_GPU_ONLY();
  const auto bytes = everything().onCuda().finish();
  auto x = tensor<float>({3, 2}, iota(6));
  auto c = tensor<bool>({}, {true});
  int64_t n = 0;
  for (;; ++n) {
    gpu.failCall = n;
    const flame_code code = lifeCycle(bytes, defaultOptions(), {x.get(), c.get()}, 5);
    const bool reached = gpu.failCall.exchange(-1) < 0;
    ASSERT_EQ(gpu.alive(), 0) << "call " << n << " failed and something leaked";
    ASSERT_EQ(gpu.violation, "") << n;
    if (!reached)
      break;
    ASSERT_TRUE(code == FLAME_DEVICE || code == FLAME_OK) << n << ": " << flame_code_name(code);
    ASSERT_LT(n, 100000);
  }
  EXPECT_GT(n, 100);
}

TEST_F(Cuda, SurvivesTheFailureOfAnyAllocation) {
  FLAME_FAKE_GPU_ONLY();
  const auto bytes = everything().onCuda().finish();
  auto x = tensor<float>({3, 2}, iota(6));
  auto c = tensor<bool>({}, {false});
  for (bool pools : {true, false}) {
    gpu.pools = pools;
    int64_t n = 0;
    for (;; ++n) {
      // The allocation is tried again after the pool has been trimmed.
      int failures = 0;
      std::string message;
      gpu.failAllocation = n;
      const flame_code code = lifeCycle(bytes, defaultOptions(), {x.get(), c.get()}, 5, &message);
      failures += gpu.failAllocation.exchange(-1) < 0;
      ASSERT_EQ(gpu.alive(), 0) << n;
      if (!failures)
        break;
      ASSERT_TRUE(pools ? code == FLAME_OK : code == FLAME_OUT_OF_MEMORY) << n << ": " << message;
    }
    EXPECT_GT(n, 10);
  }
  for (uint64_t n = 1;; ++n) {
    flame_options options = defaultOptions();
    options.fail_allocation = n;
    const flame_code code = lifeCycle(bytes, options, {x.get(), c.get()}, 5);
    ASSERT_EQ(gpu.alive(), 0) << n;
    if (code == FLAME_OK)
      break;
    ASSERT_EQ(code, FLAME_OUT_OF_MEMORY) << n;
  }
}

TEST_F(Cuda, NamesTensorsWhenTheMemoryIsFull) {
  FLAME_FAKE_GPU_ONLY();
  PlanBuilder p;
  const int n = p.symbol("n"), ne = p.symbolExpr(n), one = p.constant(1);
  const int x = p.input("x", DType::F32, {ne}, {"n"});
  const int big = p.arena("big", DType::F32, {p.mul(ne, p.constant(100))}, 1, 1);
  p.bind(x, {n});
  p.launch("k_fill", {big}, {one}, ne, "first");
  const int y = p.heap("y", DType::F32, {ne});
  p.alloc(y);
  p.launch("k_scale", {x, y}, {one, one}, ne, "second");
  p.output("y", y, {"n"});
  const auto bytes = p.onCuda().finish();
  gpu.memory = 100'000;
  auto x1 = tensor<float>({1000}, iota(1000));
  std::string message;
  EXPECT_EQ(lifeCycle(bytes, defaultOptions(), {x1.get()}, 1, &message), FLAME_OUT_OF_MEMORY);
  for (const char *text :
       {"the tensors of block 'main' need an arena of 390.7 KiB: GPU 0 (Fake GPU, sm_90) is out of memory",
        "of 97.6 KiB are free", "largest tensors: 'big' f32[100000]"})
    EXPECT_NE(message.find(text), std::string::npos) << text << " in: " << message;
  gpu.memory = 1 << 30;
  flame_options options = defaultOptions();
  options.memory_limit = 100'000;
  EXPECT_EQ(lifeCycle(bytes, options, {x1.get()}, 1, &message), FLAME_OUT_OF_MEMORY);
  EXPECT_NE(message.find("the memory limit of 97.6 KiB would be exceeded"), std::string::npos) << message;
}

TEST_F(Cuda, PlansThePeakOfAnyShape) {
  auto module = load(addScale().onCuda().finish());
  auto planned = [&](int64_t n) {
    const int64_t dims[] = {n, 4};
    const flame_shape shapes[] = {{2, dims}, {2, dims}};
    uint64_t bytes = 0;
    int exact = 0;
    EXPECT_OK(flame_module_planned_bytes(module.get(), shapes, 2, &bytes, &exact));
    EXPECT_TRUE(exact);
    return bytes;
  };
  auto other = session(module);
  auto onDevice = [&](int64_t n) {
    EXPECT_OK(flame_session_device_outputs(other.get(), 1));
    const auto host = tensor<float>({n, 4}, iota(n * 4));
    return std::move(run(other, 1, host, host)[0]);
  };
  flame_gpu_memory before{}, kept{}, after{};
  for (int64_t n : {64, 1024, 256}) {
    const auto a = onDevice(n);
    auto fresh = session(module);
    EXPECT_OK(flame_session_device_outputs(fresh.get(), 1));
    EXPECT_OK(flame_device_trim(0));
    EXPECT_OK(flame_device_memory(0, &before));
    run(fresh, 1, a, a);
    EXPECT_OK(flame_device_memory(0, &after));
    EXPECT_EQ(after.peak - before.used, planned(n));
  }

  // A larger arena takes the place of the smaller one, so the run adds less than its peak to what is in use. (The fake
  // driver counts memory as free when the stream has come that far.)
  const auto a = onDevice(256), b = onDevice(1024);
  auto s = session(module);
  ASSERT_OK(flame_session_device_outputs(s.get(), 1));
  ASSERT_OK(flame_device_memory(0, &before));
  run(s, 1, a, a);
  ASSERT_OK(flame_device_trim(0));
  ASSERT_OK(flame_device_memory(0, &kept));
  run(s, 1, b, b);
  ASSERT_OK(flame_device_memory(0, &after));
  EXPECT_EQ(kept.used - before.used, planned(256) - 256 * 16) << "the arena, without the output";
  EXPECT_EQ(after.used - before.used, planned(1024) - 1024 * 16);
  EXPECT_GE(after.peak - before.used, planned(1024));
  EXPECT_LE(after.peak - before.used, planned(1024) + (kept.used - before.used));
}

TEST_F(Cuda, ForgetsWeightsThatOnlyTheInitBlockReads) {
  constexpr int64_t large = 1 << 18; // elements
  auto plan = [&](bool readLater) {
    PlanBuilder p;
    const int two = p.constant(2), one = p.constant(1), four = p.constant(4), init = p.addBlock("init");
    const int w = p.data<float>("w", DType::F32, {large}, iota(large));
    const int folded = p.slot("folded", Storage::Persistent, DType::F32, {four}, init);
    p.launch("k_scale", {w, folded}, {two, one}, four, "fold", init);
    const int x = p.input("x", DType::F32, {four}, {"4"}), y = p.heap("y", DType::F32, {four});
    p.alloc(y);
    p.launch("k_add", {x, readLater ? w : folded, y}, {}, four, "sum");
    p.output("y", y, {"4"});
    return p.onCuda().finish();
  };
  for (bool readLater : {false, true}) {
    flame_gpu_memory before{}, most{}, after{};
    const auto bytes = plan(readLater);
    ASSERT_OK(flame_device_trim(0));
    ASSERT_OK(flame_device_memory(0, &before));
    auto module = load(bytes);
    auto s = session(module);
    auto x = tensor<float>({4}, iota(4));
    for (int round = 0; round < 2; ++round)
      EXPECT_EQ(values<float>(run(s, 1, x)[0]),
                readLater ? (std::vector<float>{0, 2, 4, 6}) : (std::vector<float>{1, 4, 7, 10}));
    ASSERT_OK(flame_device_memory(0, &most)); // trimming begins a new peak
    ASSERT_OK(flame_device_trim(0));
    ASSERT_OK(flame_device_memory(0, &after));
    if (readLater)
      EXPECT_GE(after.used - before.used, uint64_t(large) * 4);
    else
      EXPECT_LT(after.used - before.used, uint64_t(large) * 4);
    EXPECT_GE(most.peak - before.used, uint64_t(large) * 4);
  }
}

TEST_F(Cuda, TellsTheMemoryOfADevice) {
  flame_gpu_memory before{}, memory{};
  {
    auto module = load(addScale().onCuda().finish());
    auto s = session(module);
    ASSERT_OK(flame_session_device_outputs(s.get(), 1));
    ASSERT_OK(flame_device_trim(0));
    ASSERT_OK(flame_device_memory(0, &before));
    EXPECT_EQ(before.peak, before.used);
    auto a = tensor<float>({1000, 4}, iota(4000));
    auto out = run(s, 1, a, a);
    ASSERT_OK(flame_device_memory(0, &memory));
    // The arena and the output; two inputs were there meanwhile.
    EXPECT_GE(memory.used - before.used, 32'000u);
    EXPECT_LE(memory.used - before.used, 34'000u);
    EXPECT_GE(memory.peak - before.used, 64'000u);
    EXPECT_LE(memory.peak - before.used, 66'000u);
    EXPECT_GE(memory.reserved, memory.used);
  }
  EXPECT_FAILS(flame_device_memory(99, &memory), FLAME_DEVICE, "there is no GPU 99");
  EXPECT_FAILS(flame_device_memory(0, nullptr), FLAME_INVALID_ARGUMENT, "memory");
  gpu.pools = false;
  if (!onRealGpu())
    EXPECT_FAILS(flame_device_trim(0), FLAME_UNSUPPORTED, "has no memory pools");
}

TEST_F(Cuda, NamesKernelsThatMayHaveFailed) {
  FLAME_FAKE_GPU_ONLY();
  auto x = tensor<float>({4}, iota(4));
  std::string message;
  EXPECT_EQ(lifeCycle(single("k_fault").finish(), defaultOptions(), {x.get()}, 1, &message), FLAME_DEVICE);
  for (const char *text :
       {"an illegal memory access was encountered (CUDA_ERROR_ILLEGAL_ADDRESS)",
        "the last kernels were 'k_scale' (node 'before'), 'k_fault' (node 'culprit')", "flame-run --sync"})
    EXPECT_NE(message.find(text), std::string::npos) << text << " in: " << message;
}

/// On a real GPU in a process of its own: the context does not survive.
class CudaFault : public Cuda {};
TEST_F(CudaFault, SyncNamesTheFailingKernel) {
  auto x = tensor<float>({4}, iota(4));
  std::string message;
  EXPECT_EQ(lifeCycle(single("k_fault").finish(), withFlags(FLAME_SYNC), {x.get()}, 1, &message), FLAME_DEVICE);
  for (const char *text : {"kernel 'k_fault' (node 'culprit') failed", "an illegal memory access was encountered"})
    EXPECT_NE(message.find(text), std::string::npos) << text << " in: " << message;
}

TEST_F(Cuda, FindsWritesBeyondTensors) {
  const auto bytes = single("k_overrun").finish();
  auto x = tensor<float>({4}, iota(4));
  std::string message;
  EXPECT_EQ(lifeCycle(bytes, withFlags(FLAME_RED_ZONES), {x.get()}, 1, &message), FLAME_INTERNAL);
  EXPECT_NE(message.find("memory behind a tensor of 16 bytes has been overwritten"), std::string::npos) << message;
  EXPECT_EQ(lifeCycle(bytes, withFlags(FLAME_RED_ZONES | FLAME_SYNC), {x.get()}, 1, &message), FLAME_INTERNAL);
  EXPECT_NE(message.find("node 'culprit': tensor 'y' f32[4]: memory behind"), std::string::npos) << message;
}

TEST_F(Cuda, RunsInAllModes) {
  auto x = tensor<float>({3, 2}, iota(6));
  auto c = tensor<bool>({}, {true});
  for (int flags :
       std::initializer_list<int>{0, FLAME_SYNC, FLAME_RED_ZONES, FLAME_NO_GRAPHS, FLAME_SYNC | FLAME_RED_ZONES})
    for (bool cuda : {true, false}) {
      auto p = everything();
      auto module = load(cuda ? p.onCuda().finish() : p.finish(), withFlags(flags));
      auto s = session(module);
      for (int round = 0; round < 3; ++round) {
        auto out = run(s, 5, x, c);
        EXPECT_EQ(values<float>(out[0]), (std::vector<float>{3, 1, 7, 5, 11, 9}));
        EXPECT_EQ(values<float>(out[1]), (std::vector<float>{4, 7, 10, 13}));
      }
    }
}

TEST_F(Cuda, ProfilesWithEvents) {
  auto module = load(loop().onCuda().finish());
  auto s = session(module);
  ASSERT_OK(flame_session_profile(s.get(), 1));
  run(s, 3, tensor<int64_t>({}, {3}), tensor<float>({2}, {1, 2}));
  flame_profile_entry entries[16];
  const size_t count = flame_session_profile_entries(s.get(), entries, 16);
  bool found = false;
  for (size_t i = 0; i < count; ++i)
    if (std::string(entries[i].command) == "test kernel k_scale") {
      found = true;
      EXPECT_EQ(entries[i].calls, 3u);
    }
  EXPECT_TRUE(found);
}

// ---- many at a time

TEST_F(Cuda, SessionsAndThreadsShareAModule) {
  auto module = load(everything().onCuda().finish());
  auto c = tensor<bool>({}, {true});
  std::vector<std::thread> threads;
  std::atomic<int> failures{0};
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&, t] {
      flame_session *raw = nullptr;
      if (flame_status *status = flame_session_create(module.get(), &raw)) {
        flame_status_free(status);
        ++failures;
        return;
      }
      SessionPtr s(raw);
      for (int round = 0; round < 30; ++round) {
        const int64_t n = 1 + (round + t) % 4;
        auto x = tensor<float>({n, 2}, iota(2 * n, t));
        std::vector<ValuePtr> out;
        Result r = tryRun(s, {x.get(), c.get()}, 5, out);
        failures += !r.ok() || values<float>(out[0])[0] != 2 * (t + 1) + 1;
      }
    });
  for (std::thread &thread : threads)
    thread.join();
  EXPECT_EQ(failures, 0);
}

TEST_F(Cuda, OutputsOutliveTheirModule) {
  std::vector<ValuePtr> out;
  {
    auto module = load(addScale().onCuda().finish());
    auto s = session(module);
    ASSERT_OK(flame_session_device_outputs(s.get(), 1));
    auto a = tensor<float>({1, 4}, iota(4));
    out = run(s, 1, a, a);
  }
  EXPECT_TRUE(onRealGpu() || gpu.alive() > 0);
  flame_value *copy = nullptr;
  ASSERT_OK(flame_tensor_copy(out[0].get(), &copy));
  EXPECT_EQ(values<float>(ValuePtr(copy))[3], 13);
}
