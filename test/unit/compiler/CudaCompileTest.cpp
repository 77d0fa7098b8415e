//===- CudaCompileTest.cpp - units of kernels: parallel compilation, cache, errors --------------------------------===//
//
// NVRTC itself is needed by the tests of the suite Nvrtc; they are skipped where it is absent.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "flame/Target/Cuda/Compile.h"
#include "flame/Target/Cuda/Device.h"
#include "flame/Target/Cuda/EditedKernels.h"

#include <filesystem>
#include <gtest/gtest.h>

using namespace flame;
using namespace flame::cuda;

namespace {

/// A unit with `count` kernels, of which number `wrong` does not compile.
Unit unit(const std::string &name, int count, int wrong = -1) {
  Unit out;
  unsigned line = 1;
  for (int i = 0; i < count; ++i) {
    std::string symbol = name + "_" + std::to_string(i);
    out.parts.push_back({symbol, "loop: add (node" + std::to_string(i) + ")", line});
    out.source += "// loop: add\nextern \"C\" __global__ void " + symbol +
                  "(float *out0) {\n  out0[threadIdx.x] = " + (i == wrong ? "missing" : std::to_string(i)) + ";\n}\n";
    line += 4;
  }
  return out;
}

TEST(CudaUnits, LogsBlameAKernel) {
  Unit u = unit("k", 3);
  auto blamed = [&](const char *log) {
    const Unit::Part *part = blamedKernel(u, log);
    return part ? part->symbol : "";
  };
  EXPECT_EQ(blamed("model.cu(3): error: identifier \"missing\" is undefined\n"), "k_0");
  EXPECT_EQ(blamed("model.cu(1): warning #1\nmodel.cu(7): error: expected a \";\"\nmodel.cu(11): error: x\n"), "k_1");
  EXPECT_EQ(blamed("model.cu(99): error: x"), "k_2");
  EXPECT_EQ(blamed("ptxas error   : Entry function 'k_2' uses too much shared data (0x20000 bytes, 0xc000 max)"),
            "k_2");
  EXPECT_EQ(blamed("nvrtc: error: invalid value for --gpu-architecture (-arch)"), "");
}

TEST(CudaUnits, NamesOfArchitectures) {
  EXPECT_EQ(architectureOf(9, 0), "sm_90a");
  EXPECT_EQ(architectureOf(8, 6), "sm_86");
  EXPECT_EQ(architectureOf(12, 0), "sm_120");
}

const char *const generated = R"(
__device__ __forceinline__ float helper(float x) { return x; }
// loop: add
extern "C" __global__ void __launch_bounds__(256)
loop_0(const float *__restrict__ in0, unsigned short *__restrict__ out0, const long long size0) {
  if (size0 > 0) { out0[0] = 1; }
}
// row: softmax
extern "C" __global__ void __launch_bounds__(128)
row_1(const float *__restrict__ in0) {
}
)";

TEST(EditedKernels, ReadsHeads) {
  std::vector<Signature> found = signaturesOf(generated);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].symbol, "loop_0");
  EXPECT_EQ(found[0].parameters, (std::vector<std::string>{"float*", "unsigned short*", "long long"}));
  EXPECT_EQ(found[0].threads, 256);
  EXPECT_EQ(found[0].line, 5u);
  EXPECT_EQ(found[1].symbol, "row_1");
  EXPECT_EQ(found[1].line, 10u);
}

TEST(EditedKernels, TakesWhatIsCalledTheSameWay) {
  const char *edited = R"(#define BODY(x) { \
    x }
struct Pair { float a, b; };
extern "C" {
/* extern "C" __global__ void loop_0(int) {} */
__global__ void loop_0(float const* input, unsigned short *out, long long n) { if (n) { *out = '}'; } }
__global__ void loop_0_helper();
}
template <int N> __global__ void other() {}
extern "C" __global__ void __launch_bounds__(128, 2) row_1(const float in[1]);
extern "C" __global__ __launch_bounds__(512) void row_1(float *) {}
)";
  auto unit = checkEditedKernels("e.cu", edited, generated);
  ASSERT_TRUE(bool(unit)) << llvm::toString(unit.takeError());
  EXPECT_EQ(unit->source, edited);
  ASSERT_EQ(unit->parts.size(), 2u);
  EXPECT_EQ(unit->parts[0].symbol, "loop_0");
  EXPECT_EQ(unit->parts[0].firstLine, 6u);
}

TEST(EditedKernels, RefusesWhatIsNot) {
  auto refused = [](std::string text, const std::string &from, const std::string &to) {
    if (size_t at = text.find(from); at != std::string::npos)
      text.replace(at, from.size(), to);
    auto unit = checkEditedKernels("e.cu", text, generated);
    return unit ? std::string() : llvm::toString(unit.takeError());
  };
  EXPECT_EQ(refused(generated, "row_1", "row_2").find("e.cu: the kernel 'row_1' is missing"), 0u);
  EXPECT_EQ(refused(generated, "extern \"C\" ", "").find("e.cu: the kernel 'loop_0' is missing"), 0u);
  EXPECT_EQ(
      refused(generated, ", const long long size0", ""),
      "e.cu:5: the kernel 'loop_0' takes (float*, unsigned short*), the model calls it with (float*, unsigned short*, "
      "long long); parameters must stay as they were");
  EXPECT_EQ(refused(generated, "(256)", "(64)"),
            "e.cu:5: the kernel 'loop_0' is bound to 64 threads of a block, the model "
            "launches it with 256");
  EXPECT_NE(refused(std::string(generated) + generated, "", "").find("is defined more than once"), std::string::npos);
  EXPECT_NE(refused("", "", ""), "");
  for (size_t length = 0; length < strlen(generated); ++length) // no crash
    EXPECT_NE(refused(std::string(generated).substr(0, length), "", ""),
              std::string(length < strlen(generated) - 3 ? "" : "x"));
}

class NvrtcTest : public testing::Test {
protected:
  void SetUp() override {
    auto loaded = Nvrtc::load();
    if (!loaded)
      GTEST_SKIP() << llvm::toString(loaded.takeError());
    nvrtc = std::move(*loaded);
    std::string name = testing::TempDir() + "flame-nvrtc-test-XXXXXX";
    ASSERT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  void TearDown() override {
    if (!folder.empty())
      std::filesystem::remove_all(folder);
  }

  llvm::Expected<CompiledUnits> compile(const std::vector<Unit> &units, unsigned threads,
                                        const std::string &cacheFolder = "") {
    FileCache cache(cacheFolder);
    unsigned last = 0;
    auto result = compileUnits(*nvrtc, units, architectures, threads, cache, [&](unsigned done) {
      EXPECT_LE(last, done);
      last = done;
    });
    if (result) {
      EXPECT_EQ(last, units.size() * architectures.size());
    }
    return result;
  }

  std::unique_ptr<Nvrtc> nvrtc;
  std::string folder;
  const std::vector<std::string> architectures = {"sm_90a", "compute_80"};
};

TEST_F(NvrtcTest, ThreadsAndCacheChangeNothing) {
  std::vector<Unit> units = {unit("a", 1), unit("b", 5), unit("c", 2)};
  auto one = compile(units, 1), many = compile(units, 8), cold = compile(units, 2, folder),
       warm = compile(units, 2, folder);
  ASSERT_TRUE(one && many && cold && warm);
  EXPECT_EQ(one->codes.size(), 6u);
  EXPECT_EQ(one->codes, many->codes);
  EXPECT_EQ(one->codes, cold->codes);
  EXPECT_EQ(one->codes, warm->codes);
  EXPECT_EQ(cold->cached, 0u);
  EXPECT_EQ(warm->cached, 6u);
  units[1] = unit("b", 4);
  auto changed = compile(units, 2, folder);
  ASSERT_TRUE(bool(changed));
  EXPECT_EQ(changed->cached, 4u);
}

TEST_F(NvrtcTest, ErrorsNameKernelAndNodes) {
  auto result = compile({unit("a", 1), unit("b", 3, 1)}, 2);
  ASSERT_FALSE(bool(result));
  std::string message = llvm::toString(result.takeError());
  EXPECT_EQ(message.find("kernel 'b_1' (loop: add (node1)), which begins at line 5: NVRTC "), 0u) << message;
  EXPECT_NE(message.find("\"missing\" is undefined"), std::string::npos) << message;
}

} // namespace
