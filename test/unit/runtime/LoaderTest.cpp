//===- LoaderTest.cpp - damaged and malicious artifacts -------------------===//

#include "Models.h"
#include "TestSupport.h"

#include "Plan.h"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sys/stat.h>

using namespace flame::test;
namespace plan = flame::plan;

namespace {

/// Reads the plan without loading its code: what a flipped bit could confuse. True where it was accepted.
bool readable(const std::vector<uint8_t> &sealed) {
  void *memory = std::aligned_alloc(64, (sealed.size() + 63) / 64 * 64);
  std::memcpy(memory, sealed.data(), sealed.size());
  bool accepted = true;
  try {
    flame::rt::readPlan(static_cast<const uint8_t *>(memory), sealed.size(), "test");
  } catch (const flame::rt::Error &error) {
    EXPECT_TRUE(error.code == FLAME_BAD_ARTIFACT || error.code == FLAME_UNSUPPORTED) << error.message;
    accepted = false;
  }
  std::free(memory);
  return accepted;
}

/// The artifact with a change to its root object fails to load with this message.
void expectRejected(const std::function<PlanBuilder()> &make, const std::function<void(PlanBuilder &)> &change,
                    const std::string &text, flame_code code = FLAME_BAD_ARTIFACT) {
  PlanBuilder p = make();
  change(p);
  ModulePtr module;
  Result result = tryLoad(p.finish(), module);
  EXPECT_EQ(result.code, code) << result.message;
  EXPECT_NE(result.message.find(text), std::string::npos) << result.message;
  EXPECT_EQ(module, nullptr);
}

class TemporaryDirectory {
public:
  TemporaryDirectory() {
    char name[] = "/tmp/flame-test-XXXXXX";
    path = mkdtemp(name);
  }
  ~TemporaryDirectory() { std::filesystem::remove_all(path); }
  std::string write(const std::string &name, const std::vector<uint8_t> &bytes) const {
    std::filesystem::create_directories(std::filesystem::path(path + "/" + name).parent_path());
    std::ofstream(path + "/" + name, std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()), bytes.size());
    return path + "/" + name;
  }
  std::string path;
};

} // namespace

TEST(Loader, RejectsEveryTruncation) {
  const auto bytes = everything().finish();
  for (size_t n = 0; n < bytes.size(); ++n) {
    ModulePtr module;
    std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + n);
    cut.reserve(1); // data() is not NULL
    Result r = tryLoad(cut, module);
    ASSERT_EQ(r.code, FLAME_BAD_ARTIFACT) << n << ": " << r.message;
  }
}

TEST(Loader, RejectsEveryBitFlip) {
  auto bytes = everything().finish();
  ModulePtr module;
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] ^= 1 << bit % 8;
    Result r = tryLoad(bytes, module);
    ASSERT_EQ(r.code, FLAME_BAD_ARTIFACT) << bit << ": " << r.message;
    bytes[bit / 8] ^= 1 << bit % 8;
  }
  EXPECT_TRUE(tryLoad(bytes, module).ok());
}

TEST(Loader, SurvivesEveryBitFlipBehindAValidSeal) {
  // As a stranger could craft it: the seal is made anew after every change.
  auto sealed = everything().finish();
  std::vector<uint8_t> body(sealed.begin(), sealed.end() - plan::kSealBytes);
  size_t accepted = 0;
  for (size_t bit = 0; bit < body.size() * 8; ++bit) {
    body[bit / 8] ^= 1 << bit % 8;
    accepted += readable(PlanBuilder::seal(body));
    body[bit / 8] ^= 1 << bit % 8;
  }
  // Names, constants and code change without harm; the rest must be noticed.
  EXPECT_LT(accepted, body.size() * 8);
}

TEST(Loader, SurvivesEveryTruncationBehindAValidSeal) {
  auto sealed = everything().finish();
  const std::vector<uint8_t> body(sealed.begin(), sealed.end() - plan::kSealBytes);
  for (size_t n = 0; n < body.size(); ++n)
    readable(PlanBuilder::seal(std::vector<uint8_t>(body.begin(), body.begin() + n)));
}

TEST(Loader, NamesWhatIsWrongWithTheFile) {
  TemporaryDirectory dir;
  const auto bytes = addScale().finish();
  flame_module *module = nullptr;
  EXPECT_FAILS(flame_module_load((dir.path + "/none.flame").c_str(), nullptr, &module), FLAME_IO,
               "none.flame: cannot open: No such file");
  EXPECT_FAILS(flame_module_load(dir.path.c_str(), nullptr, &module), FLAME_IO, "it is a directory");
  ASSERT_EQ(mkfifo((dir.path + "/fifo").c_str(), 0600), 0);
  EXPECT_FAILS(flame_module_load((dir.path + "/fifo").c_str(), nullptr, &module), FLAME_IO, "not a regular file");
  EXPECT_FAILS(flame_module_load(dir.write("empty", {}).c_str(), nullptr, &module), FLAME_BAD_ARTIFACT,
               "it is not a flame artifact (too short)");
  EXPECT_FAILS(flame_module_load(dir.write("text", std::vector<uint8_t>(100, 'x')).c_str(), nullptr, &module),
               FLAME_BAD_ARTIFACT, "the identifier 'FLME' is missing");
  auto cut = bytes;
  cut.resize(cut.size() - 1);
  EXPECT_FAILS(flame_module_load(dir.write("cut", cut).c_str(), nullptr, &module), FLAME_BAD_ARTIFACT,
               "has trailing bytes, or was not written by flamec");
  auto flipped = bytes;
  flipped[100] ^= 4;
  EXPECT_FAILS(flame_module_load(dir.write("flipped", flipped).c_str(), nullptr, &module), FLAME_BAD_ARTIFACT,
               "its checksum does not match");
  ASSERT_OK(flame_module_load(dir.write("good", bytes).c_str(), nullptr, &module));
  EXPECT_STREQ(flame_module_name(module), "test");
  flame_module_release(module);
}

TEST(Loader, TellsVersions) {
  expectRejected(
      addScale, [](PlanBuilder &p) { p.root.version = plan::kPlanVersion + 1; }, "it was written by a newer flame");
  expectRejected(
      addScale, [](PlanBuilder &p) { p.root.version = 0; }, "it was written by an older flame");
}

TEST(Loader, ChecksTheMachine) {
  expectRejected(
      addScale, [](PlanBuilder &p) { p.root.codes[0]->target = "z80"; }, "its code is for z80", FLAME_UNSUPPORTED);
  expectRejected(
      addScale,
      [](PlanBuilder &p) {
        p.root.codes[0]->features = {"avx9000", "+warp"};
      },
      "CPU features that this processor does not have: avx9000, warp", FLAME_UNSUPPORTED);
  expectRejected(
      addScale, [](PlanBuilder &p) { p.root.codes[0]->format = plan::CodeFormat::Cubin; }, "does not fit its device, cpu");
}

TEST(Loader, ChecksDevicePlans) {
  auto bad = [](std::function<void(PlanBuilder &)> change, const char *text) {
    auto cuda = [&](PlanBuilder &p) {
      p.root.device = plan::Device::Cuda;
      for (auto &code : p.root.codes)
        code->format = plan::CodeFormat::Cubin;
      for (auto &kernel : p.root.kernels) {
        kernel->code = -1;
        kernel->threads = 128;
      }
      change(p);
    };
    expectRejected(addScale, cuda, text);
  };
  bad([](PlanBuilder &p) { p.root.device = static_cast<plan::Device>(7); }, "unknown device (7)");
  bad([](PlanBuilder &p) { p.root.codes[0]->format = plan::CodeFormat::ElfSharedObject; },
      "does not fit its device, cuda");
  bad([](PlanBuilder &p) { p.root.codes.clear(); }, "it has kernels and no code");
  bad([](PlanBuilder &p) { p.root.kernels[0]->code = 0; }, "is in a code object, not in a unit");
  for (int threads : {0, 33, 1056, -32})
    bad([=](PlanBuilder &p) { p.root.kernels[0]->threads = threads; }, "not a multiple of 32 in [32, 1024]");
  for (int shared : {-1, 227 * 1024 + 1})
    bad([=](PlanBuilder &p) { p.root.kernels[0]->shared = shared; }, "bytes of shared memory, a block has at most");
  bad([](PlanBuilder &p) { static_cast<plan::LaunchT *>(p.root.blocks[0]->commands[1]->body.value)->grain = 0; },
      "a launch on a GPU has a grain");
}

TEST(Loader, ChecksTheCode) {
  auto recompress = [](PlanBuilder &p, const std::string &object) {
    auto &code = *p.root.codes[0];
    code.size = object.size();
    code.data.resize(ZSTD_compressBound(object.size()));
    code.data.resize(ZSTD_compress(code.data.data(), code.data.size(), object.data(), object.size(), 1));
    code.checksum = plan::checksum(code.data.data(), code.data.size());
  };
  expectRejected(
      addScale, [](PlanBuilder &p) { p.root.codes[0]->data[20] ^= 1; }, "checksum of its code");
  expectRejected(
      addScale, [](PlanBuilder &p) { p.root.codes[0]->size += 1; }, "bytes");
  expectRejected(
      addScale, [](PlanBuilder &p) { p.root.codes[0]->size -= 1; }, "cannot be decompressed");
  expectRejected(
      addScale, [](PlanBuilder &p) { p.root.codes[0]->size = UINT64_MAX; }, "its code would have");
  expectRejected(
      addScale, [&](PlanBuilder &p) { recompress(p, "not an object"); }, "its code cannot be loaded");
  expectRejected(
      addScale, [](PlanBuilder &p) { p.root.kernels[0]->symbol = "k_nothing"; },
      "does not define the kernel 'k_nothing'");
}

TEST(Loader, ChecksEveryIndex) {
  using P = PlanBuilder &;
  auto bad = [](std::function<void(P)> change, const char *text) { expectRejected(everything, change, text); };
  auto command = [](P p, int block, int index) { return p.root.blocks[block]->commands[index]->body.value; };
  bad([](P p) { p.root.slots[0]->dims[0] = 9999; }, "refers to expression 9999");
  bad([](P p) { p.root.slots[0]->source = 77; }, "refers to constant 77");
  bad([](P p) { p.root.slots[2]->block = -2; }, "refers to block -2");
  bad([](P p) { p.root.inputs[0]->slot = 0; }, "not bound to an input slot");
  bad([](P p) { p.root.inputs[1]->slot = p.root.inputs[0]->slot; }, "not bound to an input slot of its own");
  bad([](P p) { p.root.outputs[0]->slot = 1000; }, "refers to slot 1000");
  bad([](P p) { p.root.kernels[0]->code = 3; }, "refers to code object 3");
  bad([](P p) { p.root.exprs[0] = plan::Expr(plan::ExprOp::Symbol, 1000, 0, 0); }, "refers to symbol 1000");
  bad([](P p) { p.root.blocks[0]->commands[1]->nodes[0] = 500; }, "refers to node name 500");
  bad([&](P p) { static_cast<plan::LaunchT *>(command(p, 0, 1))->kernel = 9; }, "refers to kernel 9");
  bad([&](P p) { static_cast<plan::LaunchT *>(command(p, 0, 1))->buffers[0] = -1; }, "refers to slot -1");
  bad([&](P p) { static_cast<plan::LaunchT *>(command(p, 0, 1))->extent = -1; }, "refers to expression -1");
  bad([&](P p) { static_cast<plan::BindDimsT *>(command(p, 0, 0))->symbols[0] = 5; }, "refers to symbol 5");
  bad([&](P p) { static_cast<plan::IfT *>(command(p, 0, 5))->then_block = 0; }, "used by more than one command");
  bad([&](P p) { static_cast<plan::IfT *>(command(p, 0, 5))->else_block = 2; }, "used by more than one command");
  bad([&](P p) { static_cast<plan::IfT *>(command(p, 0, 5))->results.clear(); }, "does not fit the branch");
  bad([&](P p) { static_cast<plan::LoopT *>(command(p, 0, 8))->carried.clear(); }, "does not fit the loop");
  bad([&](P p) { static_cast<plan::LoopT *>(command(p, 0, 8))->count = 9999; }, "refers to expression 9999");
  bad([&](P p) { static_cast<plan::LoopT *>(command(p, 0, 8))->count = 0; }, "two trip counts");
  bad([&](P p) { static_cast<plan::HostCallT *>(command(p, 0, 6))->outputs[0] = 0; },
      "neither on the heap nor persistent");
  bad([](P p) { p.root.blocks[0]->results[0] = -7; }, "refers to slot -7");
  bad([](P p) { p.root.blocks.clear(); }, "");
}

TEST(Loader, ChecksSizesAndLifetimes) {
  using P = PlanBuilder &;
  auto bad = [](std::function<void(P)> change, const char *text) { expectRejected(everything, change, text); };
  auto slotNamed = [](P p, const std::string &name) -> plan::SlotT & {
    for (auto &s : p.root.slots)
      if (s->name == name)
        return *s;
    throw std::runtime_error(name);
  };
  bad([](P p) { p.root.constants[0]->dims = {5}; }, "constant 0, f32[5], has 16 bytes");
  bad([](P p) { p.root.constants[0]->dims = {-4}; }, "impossible type");
  bad([](P p) { p.root.constants[0]->dims = {INT64_MAX, INT64_MAX}; }, "impossible type");
  bad([](P p) { p.root.constants[0]->dtype = plan::DType::Undefined; }, "impossible type");
  bad([](P p) { p.root.constants[1]->strings.pop_back(); }, "has 1 strings");
  expectRejected(
      everything, [](P p) { p.root.constants[0]->dims.assign(40, 1); }, "more than 32 dimensions", FLAME_UNSUPPORTED);
  bad([&](P p) { slotNamed(p, "t0").last = 1; }, "lives in commands [1, 1] and is used by command 2");
  bad([&](P p) { slotNamed(p, "t0").first = 2; }, "lives in commands [2, 2]");
  bad([&](P p) { slotNamed(p, "t0").last = 100; }, "has the lifetime [1, 100]");
  bad([&](P p) { slotNamed(p, "row").block = 0; }, "lives in commands");
  bad([&](P p) { slotNamed(p, "a").block = 3; }, "of block 3 is used in block 2");
  bad([&](P p) { slotNamed(p, "w").dtype = plan::DType::F64; }, "does not have the type of its data");
  bad([&](P p) { slotNamed(p, "t0").dtype = plan::DType::String; }, "not a tensor of known rank and plain elements");
  bad([&](P p) { slotNamed(p, "y").dtype = plan::DType::String; }, "a kernel gets the string tensor 'y'");
  expectRejected(
      everything, [&](P p) { slotNamed(p, "y").dims.assign(40, 0); }, "more than 32 dimensions", FLAME_UNSUPPORTED);
  bad([](P p) { p.root.exprs[4] = plan::Expr(plan::ExprOp::Add, 4, 0, 0); }, "which does not precede it");
  bad([](P p) { p.root.exprs[4] = plan::Expr(static_cast<plan::ExprOp>(99), 0, 0, 0); }, "unknown operator");
  PlanBuilder p;
  const int x = p.input("x", DType::F32, {p.constant(2)}, {"2"});
  const int a = p.slot("a", Storage::Alias, DType::F32, {0}, 0, -1, -1, x + 2),
            b = p.slot("b", Storage::Alias, DType::F32, {0}, 0, -1, -1, a);
  (void)b;
  ModulePtr module;
  Result r = tryLoad(p.finish(), module);
  EXPECT_NE(r.message.find("is an alias of itself"), std::string::npos) << r.message;
}

TEST(Loader, RejectsUnknownHostFunctions) {
  PlanBuilder p;
  const int y = p.heap("y", DType::F32, {});
  p.host("launch_missiles", {}, {y}, "n");
  p.output("y", y, {});
  ModulePtr module;
  Result r = tryLoad(p.finish(), module);
  EXPECT_EQ(r.code, FLAME_UNSUPPORTED);
  EXPECT_NE(r.message.find("it needs the host function 'launch_missiles'"), std::string::npos) << r.message;
}

TEST(Loader, RejectsDeepNesting) {
  PlanBuilder p;
  const int c = p.input("c", DType::Bool, {}, {});
  p.addBlock("init");
  int parent = 0;
  for (int i = 0; i < 500; ++i) {
    plan::IfT branch;
    branch.condition = c;
    branch.then_block = p.addBlock("then");
    branch.else_block = p.addBlock("else");
    const int next = branch.then_block;
    p.command(std::move(branch), "", parent);
    parent = next;
  }
  ModulePtr module;
  Result r = tryLoad(p.finish(), module);
  EXPECT_EQ(r.code, FLAME_BAD_ARTIFACT);
  EXPECT_NE(r.message.find("nested deeper than"), std::string::npos) << r.message;
}

TEST(Loader, RejectsBlocksOutOfReach) {
  PlanBuilder p;
  const int x = p.input("x", DType::F32, {p.constant(2)}, {"2"});
  p.output("x", x, {"2"});
  p.addBlock("init");
  const int stray = p.addBlock("stray");
  p.root.blocks[stray]->results = {1 << 20}; // no command leads here, so nothing else would look at it
  ModulePtr module;
  Result r = tryLoad(p.finish(), module);
  EXPECT_EQ(r.code, FLAME_BAD_ARTIFACT);
  EXPECT_NE(r.message.find("block 2 is used by no command"), std::string::npos) << r.message;
}

TEST(Loader, EvaluatesLongExpressionChains) {
  PlanBuilder p;
  const int n = p.symbol("n");
  int e = p.symbolExpr(n);
  const int x = p.input("x", DType::F32, {e}, {"n"}), one = p.constant(1);
  for (int i = 0; i < 200000; ++i)
    e = p.add(e, one);
  const int y = p.heap("y", DType::F32, {e});
  p.bind(x, {n});
  p.alloc(y);
  p.launch("k_fill", {y}, {one}, e);
  p.output("y", y, {"?"});
  auto module = load(p.finish());
  auto s = session(module);
  EXPECT_EQ(dims(run(s, 1, tensor<float>({1}, {0}))[0]), (std::vector<int64_t>{200001}));
}

namespace {

/// y = x + w with w f32[4] in a file beside the artifact, at byte 8.
PlanBuilder withWeights(const std::string &path, uint64_t size = 24, uint64_t offset = 8, uint64_t length = 16) {
  PlanBuilder p;
  auto file = std::make_unique<plan::WeightFileT>();
  file->path = path;
  file->size = size;
  p.root.files.push_back(std::move(file));
  auto param = std::make_unique<plan::ParamT>();
  param->name = "w";
  param->dtype = DType::F32;
  param->dims = {4};
  param->file = 0;
  param->offset = offset;
  param->length = length;
  p.root.params.push_back(std::move(param));
  const int four = p.constant(4);
  const int w = p.slot("w", Storage::Param, DType::F32, {four}, -1, -1, -1, 0);
  const int x = p.input("x", DType::F32, {four}, {"4"}), y = p.heap("y", DType::F32, {four});
  p.alloc(y);
  p.launch("k_add", {x, w, y}, {}, four, "add");
  p.output("y", y, {"4"});
  return p;
}

std::vector<uint8_t> weightFile() {
  std::vector<uint8_t> bytes(24);
  const float values[] = {10, 20, 30, 40};
  std::memcpy(bytes.data() + 8, values, sizeof(values));
  return bytes;
}

} // namespace

TEST(Loader, MapsWeights) {
  TemporaryDirectory dir, other;
  dir.write("sub/w.bin", weightFile());
  const std::string path = dir.write("m.flame", withWeights("sub/w.bin").finish());
  flame_module *raw = nullptr;
  ASSERT_OK(flame_module_load(path.c_str(), nullptr, &raw));
  ModulePtr module(raw);
  auto s = session(module);
  auto x = tensor<float>({4}, {1, 2, 3, 4});
  EXPECT_EQ(values<float>(run(s, 1, x)[0]), (std::vector<float>{11, 22, 33, 44}));
  // Shrinking the file under the map is noticed before the memory is touched.
  std::filesystem::resize_file(dir.path + "/sub/w.bin", 8);
  std::vector<ValuePtr> out;
  Result r = tryRun(s, {x.get()}, 1, out);
  EXPECT_EQ(r.code, FLAME_IO);
  EXPECT_NE(r.message.find("the file shrank from 24 to 8 bytes"), std::string::npos) << r.message;

  EXPECT_FAILS(flame_module_load(path.c_str(), nullptr, &raw), FLAME_IO,
               "has 8 bytes, the artifact was made from one of 24");
  std::filesystem::remove(dir.path + "/sub/w.bin");
  EXPECT_FAILS(flame_module_load(path.c_str(), nullptr, &raw), FLAME_IO, "weights_directory");
  other.write("sub/w.bin", weightFile());
  flame_options options = defaultOptions();
  options.weights_directory = other.path.c_str();
  ASSERT_OK(flame_module_load(path.c_str(), &options, &raw));
  module.reset(raw);
  auto s2 = session(module);
  EXPECT_EQ(values<float>(run(s2, 1, x)[0])[3], 44);
}

TEST(Loader, KeepsWeightPathsInside) {
  TemporaryDirectory dir;
  flame_module *raw = nullptr;
  for (const char *path : {"../w.bin", "/etc/passwd", "a/../../w.bin", "..", "", "a/.."}) {
    const std::string file = dir.write("m.flame", withWeights(path).finish());
    EXPECT_FAILS(flame_module_load(file.c_str(), nullptr, &raw), FLAME_BAD_ARTIFACT,
                 "is not a relative path inside the artifact's directory");
  }
  auto reject = [&](PlanBuilder p, const char *text) {
    const std::string file = dir.write("m.flame", p.finish());
    EXPECT_FAILS(flame_module_load(file.c_str(), nullptr, &raw), FLAME_BAD_ARTIFACT, text);
  };
  reject(withWeights("w.bin", 24, 9, 16), "exceeds its file");
  reject(withWeights("w.bin", 24, UINT64_MAX - 8, 16), "exceeds its file");
  reject(withWeights("w.bin", 24, 0, 12), "f32[4], has 12 bytes");
}

TEST(Loader, CopiesOnlyMisalignedWeights) {
  TemporaryDirectory dir;
  auto bytes = weightFile();
  bytes.insert(bytes.begin(), 0);
  dir.write("w.bin", bytes);
  const std::string path = dir.write("m.flame", withWeights("w.bin", 25, 9, 16).finish());
  flame_options options = defaultOptions();
  std::string log;
  options.log = [](flame_log_level, const char *message, void *user) { *static_cast<std::string *>(user) += message; };
  options.log_user = &log;
  flame_module *raw = nullptr;
  ASSERT_OK(flame_module_load(path.c_str(), &options, &raw));
  ModulePtr module(raw);
  EXPECT_NE(log.find("weight 'w' is not aligned"), std::string::npos);
  auto s = session(module);
  EXPECT_EQ(values<float>(run(s, 1, tensor<float>({4}, {1, 2, 3, 4}))[0])[0], 11);
}
