//===- ScheduleTest.cpp - the choice of schedules, and what the compiler makes of each ----------------------------===//
#include "ChooseSchedule.h"
#include "Schedules.h"
#include "Templates.h"
#include "flame/Target/Cuda/Nvrtc.h"
#include <array>
#include <cmath>
#include <cstdio>
#include <gtest/gtest.h>
#include <limits>

using namespace flame;
using namespace flame::cuda;

namespace {

static auto loadNvrtc() { return llvm::expectedToOptional(Nvrtc::load()); }

/// Files of runtime/kernels with what they include, each once.
static std::string templatesOf(std::initializer_list<const char *> files) {
  std::string text;
  llvm::StringSet<> seen;
  for (const char *file : files)
    appendTemplate(file, seen, text);
  return text;
}

/// A kernel in CUDA C++.
struct Source {
  std::string name, text;
  bool older; // for GPUs before sm_90, too
};
template <typename Compiler> static void expectNeitherSpillsNorWaits(Compiler &nvrtc, const std::vector<Source> &sources) {
  for (const Source &source : sources)
    for (const char *architecture : {"sm_80", "sm_90a"}) {
      if (!source.older && llvm::StringRef(architecture) == "sm_80")
        continue;
      std::string log;
      auto code = nvrtc->compile(source.text, architecture, &log);
      ASSERT_TRUE(bool(code)) << source.name << ": " << toString(code.takeError());
      EXPECT_NE(log.find(" 0 bytes spill stores, 0 bytes spill loads"), std::string::npos) << source.name << architecture << ":\n" << log;
      EXPECT_EQ(log.find("(C75"), std::string::npos) << source.name << " is serialized, or keeps its registers:\n" << log;
    }
}

TEST(Schedule, FollowsTheProblem) {
  auto mma = [](ContractSizes sizes) {
    MmaSchedule s = chooseMma(Arithmetic::F16, sizes);
    return std::pair(s.rows, s.columns);
  };
  auto area = [&](ContractSizes sizes) { return mma(sizes).first * mma(sizes).second; };
  EXPECT_GE(area({1, 8192, 8192, 8192}), 128 * 128);                     // many tiles: the most efficient
  EXPECT_EQ(mma({1, 4608, 3072, 3072}), std::pair(192, 192));            // they fill three rounds
  EXPECT_EQ(mma({1, 16, 4096, 4096}).first, 16);                         // few rows: nothing wasted on absent ones
  EXPECT_LE(mma({1, 512, 512, 512}).first, 64);                          // few tiles: enough for all multiprocessors
  EXPECT_GE(mma({64, 512, 512, 64}).first, 128);                         // a batch makes up for it
  EXPECT_EQ(chooseMma(Arithmetic::I8, {1, 8192, 8192, 8192}).depth, 128); // the same bytes
  EXPECT_EQ(chooseSimt(Arithmetic::F32, {1, 4096, 4096, 4096}).tile(), 128);
  EXPECT_EQ(chooseSimt(Arithmetic::F32, {1, 100, 100, 100}).tile(), 32);
  EXPECT_EQ(chooseSimt(Arithmetic::F64, {1, 4096, 4096, 4096}).tile(), 64);
}

TEST(Schedule, AttentionFollowsTheProblem) {
  auto rows = [](int64_t batches, int64_t tokens, int head, bool masked = false) {
    return chooseAttention({batches, tokens, tokens, head, head, masked}).rows;
  };
  EXPECT_EQ(rows(24, 4608, 128), 128);                                 // many tiles: the most efficient
  EXPECT_EQ(rows(20, 4096, 64, true), 64);                             // a mask needs registers
  EXPECT_EQ(rows(12, 128, 64), 16);                                    // few tiles: enough for all multiprocessors
  EXPECT_EQ(rows(96, 128, 64), 64);                                    // a batch makes up for it
  EXPECT_EQ(chooseAttention({12, 128, 128, 64, 64, false}).stages, 1); // all keys at once
  AttentionSchedule odd = chooseAttention({24, 4608, 4608, 72, 40, false});
  EXPECT_EQ(std::pair(odd.depth, odd.width), std::pair(80, 48));
  // What every GPU from sm_80 on gives a block.
  for (int head : {8, 40, 64, 96, 128, 192, 256})
    for (int64_t tokens : {1, 128, 512, 4096})
      for (int64_t batches : {1, 16, 1000})
        for (bool masked : {false, true})
          EXPECT_LE(chooseAttention({batches, tokens, tokens, head, head, masked}).sharedBytes(), 99 << 10)
              << head << ", " << tokens << ", " << batches;
}

TEST(Schedule, FewTilesShareTheInnerDim) {
  EXPECT_GT(chooseMma(Arithmetic::F16, {1, 128, 768, 768}).slices, 1);
  EXPECT_GT(chooseMma(Arithmetic::F16, {1, 64, 64, 32768}).splits, 1);
  EXPECT_EQ(chooseMma(Arithmetic::F16, {1, 8192, 8192, 8192}).splits, 1);
}

TEST(Schedule, EachFitsItsGpu) {
  for (const MmaSchedule &s : mmaSchedules()) {
    EXPECT_LE(s.sharedBytes(Arithmetic::F16), 227 << 10) << text(s);
    const MmaSchedule older = s.older(Arithmetic::F16);
    EXPECT_LE(older.sharedBytes(Arithmetic::F16), 99 << 10) << text(s);
    EXPECT_TRUE(older.isValid(Arithmetic::F16)) << text(s);
  }
}

TEST(Schedule, UnknownSizesAreLikelyOnes) {
  DimContext context;
  DimExpr n = context.symbol("n");
  EXPECT_EQ(likely(n), 512);
  EXPECT_EQ(likely(n * n + 3), 512 * 512 + 3);
  EXPECT_EQ(likely(floorDiv(n, context.constant(2))), 256);
}

/// A product by `head` (template and schedule) on operands in these orders.
std::string product(const std::string &templates, const std::string &head, Arithmetic type, const std::string &storage,
                    const char *sum, const char *xMajor, const char *yMajor, int threads) {
  auto plain = [&](const char *name, const char *major) {
    return "flame::Plain<" + storage + ", flame::Major::" + major + ", 16, int>{" + name + ", pitch}";
  };
  return templates + "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(threads) + ", 1) product(const " +
         storage + " *x, const " + storage + " *y, " + sum +
         " *out, int m, int n, int k, int pitch) {\n  auto body = [&](int row, int column, " + sum +
         " sum) { return sum; };\n  auto place = [&](int row, int column) { return row * n + column; };\n  flame::" +
         head + ", " + text(type) + ">(flame::Problem<int>{m, n, k}, " + plain("x", xMajor) + ", " +
         plain("y", yMajor) + ", flame::store<true>(out, body, place));\n}\n";
}

TEST(Schedule, NoneSpills) {
  auto nvrtc = loadNvrtc();
  if (!nvrtc)
    GTEST_SKIP() << "no NVRTC";
  const std::string matrix = templatesOf({"impl/Gemm.h"}), simt = templatesOf({"impl/Simt.h"});
  std::vector<std::pair<std::string, std::string>> sources; // name, text
  for (const MmaSchedule &s : mmaSchedules()) {
    for (auto [x, y] : {std::pair("Depth", "Depth"), std::pair("Depth", "Side"), std::pair("Side", "Depth")})
      if (s.isValid(Arithmetic::F16, x[0] == 'D' ? Major::Depth : Major::Side, y[0] == 'D' ? Major::Depth : Major::Side))
        sources.push_back({text(s) + x + y, product(matrix, "gemm<" + text(s), Arithmetic::F16, "unsigned short",
                                                  "float", x, y, s.threads())});
    MmaSchedule shared = s;
    shared.splits = 4;
    if (shared.canSplit(Arithmetic::F16))
      sources.push_back({text(shared), product(matrix, "gemm<" + text(shared), Arithmetic::F16, "unsigned short",
                                               "float", "Depth", "Depth", s.threads())});
    MmaSchedule bytes = s;
    bytes.depth *= 2;
    sources.push_back({text(bytes) + " I8", product(matrix, "gemm<" + text(bytes), Arithmetic::I8, "unsigned char",
                                                    "int", "Depth", "Depth", s.threads())});
  }
  struct {
    Arithmetic type;
    const char *storage;
  } types[] = {{Arithmetic::F32, "float"},
               {Arithmetic::F64, "double"},
               {Arithmetic::I32, "unsigned int"},
               {Arithmetic::I64, "unsigned long long"}};
  for (auto [type, storage] : types)
    for (int64_t size : {4096, 700, 100}) {
      SimtSchedule s = chooseSimt(type, {1, size, size, size});
      sources.push_back(
          {text(s) + text(type), product(simt, "simtGemm<" + text(s), type, storage, storage, "Depth", "Side", 256)});
    }
  for (const char *architecture : {"sm_80", "sm_90a"})
    for (const auto &[name, source] : sources) {
      std::string log;
      auto code = (*nvrtc)->compile(source, architecture, &log);
      ASSERT_TRUE(bool(code)) << name << ": " << toString(code.takeError());
      EXPECT_NE(log.find(" 0 bytes spill stores, 0 bytes spill loads"), std::string::npos)
          << name << " for " << architecture << ":\n"
          << log;
    }
}

TEST(Schedule, WgmmaFollowsTheProblem) {
  WgmmaProblem product{Arithmetic::BF16, Major::Depth, Major::Depth};
  for (const WgmmaSchedule &s : wgmmaSchedules())
    for (Major x : {Major::Depth, Major::Side})
      for (Major y : {Major::Depth, Major::Side})
        EXPECT_TRUE(fitted(s, Arithmetic::BF16, x, y).isValid(Arithmetic::BF16, x, y)) << text(s);
  auto large = chooseWgmma(product, {1, 8192, 8192, 8192});
  ASSERT_TRUE(large);
  EXPECT_GE(large->rows * large->columns, 128 * 192); // the most efficient
  WgmmaSchedule few = fitted({64, 112, 64, 8, 1}, Arithmetic::BF16, Major::Depth, Major::Depth, 13);
  EXPECT_EQ(few.rows, 16) << "only those that there are are copied";
  EXPECT_GT(few.stages, 8) << "which leaves memory for more copies under way";
  EXPECT_EQ(fitted({192, 192, 64, 4, 3}, Arithmetic::BF16, Major::Depth, Major::Depth, 100).consumers, 1)
      << "of three none would be without rows";
  product.rows = 77;
  auto narrow = chooseWgmma(product, {1, 77, 4096, 4096});
  ASSERT_TRUE(narrow);
  EXPECT_EQ(narrow->rows, 80) << text(*narrow);
  EXPECT_GE(4096 / narrow->columns * narrow->splits, 100) << "tiles for most multiprocessors, " << text(*narrow);
  // Few rows: a tile for every multiprocessor, and as many steps ahead as there is memory for. Where the number of rows is not
  // known, there may be several tiles.
  for (int64_t rows : {1, 4, 16, 32})
    for (std::optional<int64_t> known : {std::optional(rows), std::optional<int64_t>()})
      for (int64_t columns : {1024, 4096, 6144, 14336, 128256})
        for (Major order : {Major::Depth, Major::Side}) {
          auto s = chooseWgmma({Arithmetic::BF16, Major::Depth, order, known, {}, rows <= 4, true}, {1, rows, columns, 4096});
          if (!s) {
            EXPECT_TRUE(order == Major::Side || (rows <= 4 && columns == 1024)) << rows << " x " << columns;
            continue;
          }
          EXPECT_TRUE(s->isValid(Arithmetic::BF16, Major::Depth, order)) << text(*s);
          if (order == Major::Side || columns < 4096)
            continue;
          EXPECT_GE(s->stages * s->stageBytes(Arithmetic::BF16, Major::Depth, order), 150 << 10) << text(*s);
          EXPECT_TRUE(known ? s->rows >= rows && s->rows < rows + 8 : s->rows == (rows + 15) / 16 * 16) << text(*s);
          const int64_t tiles = (columns + s->columns - 1) / s->columns, rounds = (tiles + 131) / 132;
          EXPECT_GE(double(tiles) / double(132 * rounds), 0.9) << text(*s) << " for " << columns;
        }
  // Whatever the sizes, the copy engine takes the boxes: at most 256 lines.
  for (Arithmetic type : {Arithmetic::BF16, Arithmetic::F16, Arithmetic::I8, Arithmetic::E4M3, Arithmetic::TF32})
    for (Major x : {Major::Depth, Major::Side})
      for (Major y : {Major::Depth, Major::Side})
        for (int64_t rows : {1, 3, 8, 16, 17, 32, 33, 64, 77, 512})
          for (int64_t columns : {8, 64, 104, 512, 1000, 1024, 4096, 14336})
            for (int64_t depth : {64, 520, 1024, 4096, 14336})
              for (std::optional<int64_t> known : {std::optional(rows), std::optional<int64_t>()})
                for (int products : {1, 2}) {
                  ContractSizes sizes{1, rows, columns, depth};
                  sizes.products = products;
                  auto s = chooseWgmma({type, x, y, known, {}, rows <= 4 && sizeOf(type) == 2, true}, sizes);
                  if (!s)
                    continue;
                  ASSERT_LE(x == Major::Depth ? s->rows : s->depth, 256) << text(*s);
                  ASSERT_LE(y == Major::Depth ? s->columns : s->depth, 256) << text(*s);
                }
  EXPECT_FALSE((WgmmaSchedule{16, 16, 512, 4, 1}.isValid(Arithmetic::BF16, Major::Side, Major::Depth)));
  EXPECT_TRUE((WgmmaSchedule{16, 16, 512, 4, 1}.isValid(Arithmetic::BF16, Major::Depth, Major::Depth)));
  product.rows.reset();
  product.type = Arithmetic::TF32;
  auto wide = chooseWgmma(product, {1, 4096, 4096, 4096});
  ASSERT_TRUE(wide);
  EXPECT_EQ(wide->depth % 32, 0) << "the same bytes";
  product.y = Major::Side;
  EXPECT_FALSE(chooseWgmma(product, {1, 4096, 4096, 4096})) << "no transposes of 32 bits";
}

TEST(Schedule, WgmmaNeitherSpillsNorWaits) {
  auto nvrtc = loadNvrtc();
  if (!nvrtc)
    GTEST_SKIP() << "no NVRTC";
  const std::string head = templatesOf({"impl/WgmmaGemm.h"});
  // By the copy engine, or by the kernel itself, which f32 results of a body stand for.
  auto source = [&](const WgmmaSchedule &s, Arithmetic type, const char *x, const char *y, bool engine, bool isLong = false, int scaleColumns = 0) {
    std::string sum = type == Arithmetic::I8 ? "int" : "float";
    std::string scales = scaleColumns == 0 ? "" : ", flame::BlockScales<" + std::to_string(scaleColumns) + ", int>{bias, k / 128, 1, bias + m, k / 128, 1}";
    if (s.streamK)
      scales = (scales.empty() ? ", flame::NoScales()" : scales) + ", flame::TileShares{sums, state}";
    return head + "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(s.threads()) +
           ", 1) product(const __grid_constant__ flame::TensorMap x, const __grid_constant__ flame::TensorMap y, "
           "const __grid_constant__ flame::TensorMap z, " + sum + " *out, const " + sum + " *bias, int m, int n, int k, float *__restrict__ sums, "
           "unsigned *__restrict__ state) {\n"
           "  auto body = [&](int row, int column, " + sum + " sum) { return sum + bias[column]; };\n"
           "  auto gelu = [&](int row, int column, " + sum + " sum) { const float v = sum + bias[column]; return (unsigned short)"
           "(__float_as_uint(__fdividef(v, 1 + __expf(-1.6f * v * (1 + 0.045f * v * v)))) >> 16); };\n"
           "  auto place = [&](int row, int column) { return row * n + column; };\n  flame::wgmmaGemm<" +
           text(s) + ", " + text(type) + ", flame::Major::" + x + ", flame::Major::" + y +
           ">(flame::Problem<int>{m, n, k}, 1, flame::TensorOperand{x, 0}, flame::TensorOperand<true>{y, 0}, [&](int) { return " +
           (isLong   ? "flame::tensorStore<unsigned short, true>(z, gelu)"
            : engine ? "flame::tensorStore<" + sum + ">(z, body)"
                     : "flame::store<true>(out, body, place)") +
           "; }" + scales + ");\n}\n";
  };
  std::vector<std::pair<std::string, std::string>> sources; // name, text
  for (const WgmmaSchedule &base : wgmmaSchedules()) {
    if (base.loopsBodies())
      sources.push_back({text(base) + " with a long body", source(base, Arithmetic::BF16, "Depth", "Depth", true, true)});
    WgmmaSchedule s = fitted(base, Arithmetic::BF16, Major::Depth, Major::Side), split = base;
    split.splits = 4;
    split = fitted(split, Arithmetic::BF16, Major::Depth, Major::Side);
    if (base.columns <= 128 && split.isValid(Arithmetic::BF16, Major::Depth, Major::Side))
      sources.push_back({text(split), source(split, Arithmetic::BF16, "Depth", "Side", false)});
    sources.push_back({text(s), source(s, Arithmetic::BF16, "Depth", "Side", true)});
    s = fitted(base, Arithmetic::F16, Major::Side, Major::Depth);
    sources.push_back({text(s) + " stores itself", source(s, Arithmetic::F16, "Side", "Depth", false)});
    // Blocks that share tiles.
    for (Major y : {Major::Depth, Major::Side}) {
      s = fitted(base, Arithmetic::BF16, Major::Depth, y);
      s.streamK = true;
      if (!s.isValid(Arithmetic::BF16, Major::Depth, y))
        continue;
      const char *order = y == Major::Depth ? "Depth" : "Side";
      sources.push_back({text(s), source(s, Arithmetic::BF16, "Depth", order, true)});
      sources.push_back({text(s) + " stores itself", source(s, Arithmetic::BF16, "Depth", order, false)});
      if (base.loopsBodies())
        sources.push_back({text(s) + " with a long body", source(s, Arithmetic::BF16, "Depth", order, true, true)});
    }
  }
  for (const WgmmaSchedule &base : wgmmaSchedules()) {
    const WgmmaSchedule s = fitted(base, Arithmetic::E4M3, Major::Depth, Major::Depth);
    EXPECT_TRUE(s.promote) << "wgmma adds products of 8-bit floats with few bits";
    if (!s.isValid(Arithmetic::E4M3, Major::Depth, Major::Depth))
      continue;
    sources.push_back({text(s) + " E4M3", source(s, Arithmetic::E4M3, "Depth", "Depth", true)});
    // With scales of blocks: of 128 columns, and of one.
    EXPECT_TRUE(s.takesScales(Arithmetic::E4M3)) << text(s);
    WgmmaSchedule shared = s;
    shared.streamK = true;
    if (shared.isValid(Arithmetic::E4M3, Major::Depth, Major::Depth))
      for (int columns : {0, 1, 128})
        sources.push_back({text(shared) + " scaled by " + std::to_string(columns),
                           source(shared, Arithmetic::E4M3, "Depth", "Depth", true, false, columns)});
    for (int columns : {1, 128})
      sources.push_back({text(s) + " scaled by " + std::to_string(columns), source(s, Arithmetic::E4M3, "Depth", "Depth", true, false, columns)});
  }
  for (int64_t rows : {1, 16, 32})
    for (int64_t columns : {1024, 4096, 14336})
      if (auto s = chooseWgmma({Arithmetic::BF16, Major::Depth, Major::Depth, rows, {}, false, true}, {1, rows, columns, 4096}))
        sources.push_back({text(*s), source(*s, Arithmetic::BF16, "Depth", "Depth", false)});
  for (Arithmetic type : {Arithmetic::TF32, Arithmetic::I8})
    for (int64_t size : {4096, 700})
      if (auto s = chooseWgmma({type, Major::Depth, Major::Depth}, {1, size, size, size}))
        sources.push_back({text(*s) + text(type), source(*s, type, "Depth", "Depth", true)});
  // Heads that are normed and turned, for as many rows as that is done for.
  const std::string withSegments = templatesOf({"impl/WgmmaGemm.h", "epilogue/StoreSegments.h"});
  for (int width : {64, 128, 256}) {
    ContractSizes sizes{1, 4608, 36ll * width, 3072};
    sizes.segment = width;
    auto s = chooseWgmma({Arithmetic::BF16, Major::Depth, Major::Depth, {}, {}, false, true}, sizes);
    ASSERT_TRUE(s) << width;
    EXPECT_TRUE(s->takesSegments(width)) << text(*s);
    auto part = [&](const char *in, std::initializer_list<int> ends) {
      std::string text = std::string("flame::segmentPart<flame::Pairing::") + in + ", flame::Pairing::Halves";
      for (int end : ends)
        text += ", " + std::to_string(end * width);
      return text + ">(fold, finish, first, second), ";
    };
    sources.push_back({text(*s) + " of segments of " + std::to_string(width),
        withSegments + "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(s->threads()) + ", 1) product(const __grid_constant__ "
        "flame::TensorMap x, const __grid_constant__ flame::TensorMap y, const __grid_constant__ flame::TensorMap z, const float *__restrict__ c, "
        "const float *__restrict__ bias, int size, int m, int n, int k) {\n"
        "  auto wide = [&](unsigned short a) { return __uint_as_float((unsigned)a << 16); };\n"
        "  auto bits = [&](float v) { return (unsigned short)(__float_as_uint(v) >> 16); };\n"
        "  auto body = [&](int row, int column, float sum) { return bits(sum + bias[column]); };\n"
        "  auto fold = [&](int, int, int, int, int, unsigned short a, unsigned short b) { return wide(a) * wide(a) + wide(b) * wide(b); };\n"
        "  auto finish = [&](float sum) { return 1 / sqrtf(sum / " + std::to_string(width) + " + 1e-6f); };\n"
        "  auto turned = [&](int row, int part, int pair, float a, float b, float total) { const float *at = (part ? c : bias) + (long long)row * " + std::to_string(width) +
        " + pair; return bits(at[0] * a * total * bias[2 * pair] + at[" + std::to_string(width / 2) + "] * b * total * bias[2 * pair + 1]); };\n"
        "  auto first = [&](int, int row, int part, int, int pair, unsigned short a, unsigned short b, float total) { return turned(row, part, pair, wide(a), -wide(b), total); };\n"
        "  auto second = [&](int, int row, int part, int, int pair, unsigned short a, unsigned short b, float total) { return turned(row, part, pair, wide(b), wide(a), total); };\n"
        "  flame::wgmmaGemm<" + text(*s) + ", flame::Arithmetic::BF16, flame::Major::Depth, flame::Major::Depth>(flame::Problem<int>{m, n, k}, 1, "
        "flame::TensorOperand{x, 0}, flame::TensorOperand<true>{y, 0}, [&](int) { return flame::segmentStore<" + std::to_string(width) +
        ", unsigned short, int>(z, size, body, " + part("Neighbours", {12, 18}) + part("Halves", {24}) + "flame::SamePart<" +
        std::to_string(36 * width) + ">()); });\n}\n"});
  }
  for (const auto &[name, source] : sources) {
    std::string log;
    auto code = (*nvrtc)->compile(source, "sm_90a", &log);
    ASSERT_TRUE(bool(code)) << name << ": " << toString(code.takeError());
    EXPECT_NE(log.find(" 0 bytes spill stores, 0 bytes spill loads"), std::string::npos) << name << ":\n" << log;
    EXPECT_EQ(log.find("(C75"), std::string::npos) << name << " is serialized, or keeps its registers:\n" << log;
  }
}

/// What sharing the tiles of the last rounds is likely to give by the prices, printed as tables; the outcome is in docs/rationale/performance.md.
TEST(Schedule, StreamKIsPricedNotChosen) {
  const WgmmaProblem product{Arithmetic::BF16, Major::Depth, Major::Depth};
  auto shared = [](WgmmaSchedule s) {
    s.streamK = true;
    return s;
  };
  auto isValid = [&](const WgmmaSchedule &s) { return s.isValid(product.type, product.x, product.y); };
  auto rounds = [](const ContractSizes &z, const WgmmaSchedule &s) {
    return double((z.rows + s.rows - 1) / s.rows * ((z.columns + s.columns - 1) / s.columns)) / 132;
  };
  auto tile = [](const WgmmaSchedule &s) {
    return std::to_string(s.rows) + "x" + std::to_string(s.columns) + (s.pingPong ? " p" : "") + (s.splits > 1 ? " split" : "");
  };
  auto bestShared = [&](const ContractSizes &sizes) {
    WgmmaSchedule best;
    double least = std::numeric_limits<double>::infinity();
    for (const WgmmaSchedule &base : wgmmaSchedules()) {
      const WgmmaSchedule whole = fitted(base, product.type, product.x, product.y), s = shared(whole);
      if (!isValid(s))
        continue;
      const double all = rounds(sizes, s), time = likelyTime(product, sizes, s);
      if (all == std::floor(all)) {
        EXPECT_EQ(time, likelyTime(product, sizes, whole)) << text(s) << ": nothing is shared";
      }
      if (time < least)
        best = s, least = time;
    }
    return best;
  };
  std::printf("| M x N x K | chosen | rounds | us | shared | rounds | us | chosen / shared | the chosen one, shared |\n");
  for (auto [rows, columns, depth] : {std::array<int64_t, 3>{4608, 3072, 3072}, {4608, 9216, 3072}, {4608, 12288, 3072}, {4608, 3072, 12288},
                                      {4608, 21504, 3072}, {4608, 3072, 15360}, {512, 9216, 3072}, {8192, 8192, 8192}, {8192, 1280, 1280},
                                      {2048, 10240, 1280}, {2048, 2048, 2048}, {2048, 2048, 8192}, {1024, 1024, 8192}}) {
    const ContractSizes sizes{1, rows, columns, depth};
    const auto chosen = chooseWgmma(product, sizes);
    ASSERT_TRUE(chosen);
    EXPECT_FALSE(chosen->streamK) << "within a model it gains nothing";
    const WgmmaSchedule best = bestShared(sizes);
    const double now = likelyTime(product, sizes, *chosen), then = likelyTime(product, sizes, best);
    char same[16] = "";
    if (isValid(shared(*chosen)))
      std::snprintf(same, sizeof same, "%.3f", now / likelyTime(product, sizes, shared(*chosen)));
    std::printf("| %dx%dx%d | %s | %.2f | %.1f | %s | %.2f | %.1f | %.3f | %s |\n", int(rows), int(columns), int(depth), tile(*chosen).c_str(),
                rounds(sizes, *chosen), now / 1000, tile(best).c_str(), rounds(sizes, best), then / 1000, now / then, same);
  }
  // One tile for any number of rows, as models have it whose sizes are open.
  std::printf("| N x K | chosen for 4608 rows | shared for 4608 | chosen / shared for 64, 128 ... 8192 rows, mean | least | most | "
              "its tile, whole / shared, mean |\n");
  for (auto [columns, depth] : {std::pair<int64_t, int64_t>{3072, 3072}, {9216, 3072}, {3072, 12288}}) {
    const ContractSizes usual{1, 4608, columns, depth};
    const auto chosen = chooseWgmma(product, usual);
    ASSERT_TRUE(chosen);
    const WgmmaSchedule best = bestShared(usual);
    WgmmaSchedule whole = best;
    whole.streamK = false;
    double logs = 0, same = 0, most = 0, least = std::numeric_limits<double>::infinity();
    constexpr int count = 8192 / 64;
    for (int64_t rows = 64; rows <= 8192; rows += 64) {
      const ContractSizes sizes{1, rows, columns, depth};
      const double ratio = likelyTime(product, sizes, *chosen) / likelyTime(product, sizes, best);
      same += std::log(likelyTime(product, sizes, whole) / likelyTime(product, sizes, best));
      logs += std::log(ratio), most = std::max(most, ratio), least = std::min(least, ratio);
    }
    std::printf("| %dx%d | %s | %s | %.3f | %.3f | %.3f | %.3f |\n", int(columns), int(depth), tile(*chosen).c_str(),
                tile(best).c_str(), std::exp(logs / count), least, most, std::exp(same / count));
  }
  // A round and a twelfth: by whole tiles two rounds.
  const ContractSizes text512{1, 512, 9216, 3072};
  const WgmmaSchedule wide{128, 256, 64, 4, 2};
  EXPECT_LT(likelyTime(product, text512, shared(wide)), 0.8 * likelyTime(product, text512, wide));
  // Tiles of one step have nothing to share, but would pay for it.
  const ContractSizes shallow{1, 512, 9216, 64};
  EXPECT_GT(likelyTime(product, shallow, shared(wide)), likelyTime(product, shallow, wide));
  // Splits are another way to share a tile.
  WgmmaSchedule both{64, 64, 64, 6, 1};
  both.splits = 2;
  EXPECT_TRUE(both.isValid(Arithmetic::BF16, Major::Depth, Major::Depth));
  EXPECT_FALSE(shared(both).isValid(Arithmetic::BF16, Major::Depth, Major::Depth));
}

/// Rows that go by groups, as those of a mixture of experts.
TEST(Schedule, GroupsFollowTheProblem) {
  auto choose = [](int64_t rows, int64_t columns, int64_t depth, int64_t groups, int products = 1) {
    ContractSizes sizes{1, rows, columns, depth, products};
    sizes.groups = groups;
    WgmmaProblem problem{Arithmetic::BF16, Major::Depth, Major::Depth};
    problem.groups = int(groups);
    return chooseWgmma(problem, sizes);
  };
  for (int products : {1, 2})
    for (int64_t groups : {8, 64, 256, 2000})
      for (int64_t rows : {64, 512, 4096, 16384})
        for (int64_t columns : {2048, 7168, 14336}) {
          auto s = choose(rows, columns, 4096, groups, products);
          if (!s) {
            EXPECT_TRUE(groups == 8 && rows == 64 && columns == 2048) << "few matrices may be read as fast by mma.sync";
            continue;
          }
          EXPECT_LE(s->sharedBytes(Arithmetic::BF16, Major::Depth, Major::Depth) + WgmmaSchedule::tableBytes(groups), 227 << 10) << text(*s);
          // No much higher than a group likely is: its last tile would be rows that nobody needs.
          if (rows >= 8 * groups)
            EXPECT_LE(s->rows, std::max<int64_t>(64, 2 * rows / groups)) << text(*s);
          else
            EXPECT_LE(s->rows, 32) << text(*s) << ": lines that nobody needs are not brought";
        }
  auto large = choose(16384, 14336, 4096, 8);
  ASSERT_TRUE(large);
  EXPECT_GE(large->rows, 128) << text(*large);
  ContractSizes few{1, 64, 2048, 7168}, many = few;
  few.groups = 64, many.groups = 4;
  EXPECT_EQ(chooseMma(Arithmetic::BF16, few).rows, 16);
  EXPECT_NEAR(few.matrices(), 40, 1) << "some groups have no rows";
  EXPECT_NEAR(many.matrices(), 4, 0.01);
}

TEST(Schedule, GroupsNeitherSpillNorWait) {
  auto nvrtc = loadNvrtc();
  if (!nvrtc)
    GTEST_SKIP() << "no NVRTC";
  const std::string head = templatesOf({"impl/WgmmaGemm.h", "impl/Gemm.h"});
  auto begin = [](int threads) {
    return "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(threads) +
           ", 1) product(const __grid_constant__ flame::TensorMap x, const __grid_constant__ flame::TensorMap y, const __grid_constant__ "
           "flame::TensorMap z, unsigned short *out, const unsigned short *a, const unsigned short *b, const int *ends, const float *factor, "
           "int m, int n, int k, int g, float *__restrict__ sums, unsigned *__restrict__ state) {\n"
           "  auto body = [&](int row, int column, float sum) { return (unsigned short)(__float_as_uint(sum * factor[row]) >> 16); };\n"
           "  auto gated = [&](int row, int column, float sum, float other) { return (unsigned short)"
           "(__float_as_uint(__fdividef(sum, 1 + __expf(-sum)) * other) >> 16); };\n"
           "  auto place = [&](int row, int column) { return row * n + column; };\n"
           "  const flame::Problem<int> p{m, n, k};\n  const flame::RowGroups<int, int> groups{ends, g, m};\n";
  };
  std::vector<std::pair<std::string, std::string>> sources; // name, text
  for (const WgmmaSchedule &base : wgmmaSchedules())
    for (auto [products, streamK] : {std::pair(1, false), std::pair(1, true), std::pair(2, false), std::pair(2, true)}) {
      WgmmaProblem problem{Arithmetic::BF16, Major::Depth, Major::Depth};
      problem.groups = 256;
      WgmmaSchedule s = fitted(base, Arithmetic::BF16, problem.x, problem.y, {}, problem.tableBytes());
      s.streamK = streamK;
      if (!s.isValid(Arithmetic::BF16, problem.x, problem.y, products, problem.tableBytes()) || !problem.hasRegisters(s, products))
        continue;
      std::string right = products == 1 ? "flame::TensorOperand{y, 1}" : "flame::PairedTensors{y, y, 1}", function = products == 1 ? "body" : "gated";
      std::vector<std::string> stores{"flame::store<true>(out, " + function + ", place)"};
      if (s.storedColumns() / products * 2 >= WgmmaSchedule::lineBytes)
        stores.push_back("flame::clippedStore<unsigned short>(z, " + function + ", out, n)");
      for (const std::string &store : stores)
        sources.push_back({text(s) + store, begin(s.threads()) + "  flame::wgmmaGemm<" + text(s) +
                                                ", flame::Arithmetic::BF16, flame::Major::Depth, flame::Major::Depth>(p, groups, flame::TensorOperand{x, 0}, " +
                                                right + ", [&](int) { return " + store + "; }" +
                                                (streamK ? ", flame::NoScales(), flame::TileShares{sums, state}" : "") + ");\n}\n"});
    }
  for (const MmaSchedule &s : mmaSchedules())
    if (s.isEven())
      sources.push_back({text(s), begin(s.threads()) + "  flame::groupedGemm<" + text(s) +
                                      ", flame::Arithmetic::BF16>(p, groups, flame::Plain<unsigned short, flame::Major::Depth, 16, int>{a, k}, [&](int group) "
                                      "{ return flame::Plain<unsigned short, flame::Major::Depth, 16, int>{b + group * n * k, k}; }, "
                                      "flame::store<true>(out, body, place));\n}\n"});
  for (const auto &[name, source] : sources) {
    std::string log;
    auto code = (*nvrtc)->compile(head + source, "sm_90a", &log);
    ASSERT_TRUE(bool(code)) << name << ": " << toString(code.takeError());
    EXPECT_NE(log.find(" 0 bytes spill stores, 0 bytes spill loads"), std::string::npos) << name << ":\n" << log;
    EXPECT_EQ(log.find("(C75"), std::string::npos) << name << " is serialized, or keeps its registers:\n" << log;
  }
}

/// Two products at once, as in a gated layer.
TEST(Schedule, PairsFollowTheProblem) {
  const WgmmaProblem product{Arithmetic::BF16, Major::Depth, Major::Depth};
  // As one product of twice the columns, of which half as many are stored.
  for (int64_t rows : {77, 512, 4096})
    for (int64_t columns : {5632, 11264, 22528}) {
      WgmmaProblem known = product;
      known.rows = rows;
      auto pair = chooseWgmma(known, {1, rows, columns, 4096, 2}), one = chooseWgmma(known, {1, rows, 2 * columns, 4096});
      ASSERT_TRUE(pair && one) << rows << " x " << columns;
      EXPECT_TRUE(pair->isValid(Arithmetic::BF16, Major::Depth, Major::Depth, 2)) << text(*pair);
      EXPECT_EQ(pair->columns % 16, 0) << text(*pair);
      EXPECT_NEAR(pair->columns * pair->wholeRows(), one->columns * one->wholeRows(), one->columns * one->wholeRows() / 2) << text(*pair);
    }
  // Halves of lines along the side are whole boxes of 64 columns.
  auto side = chooseWgmma({Arithmetic::BF16, Major::Depth, Major::Side}, {1, 4096, 11264, 4096, 2});
  ASSERT_TRUE(side);
  EXPECT_EQ(side->columns % 128, 0) << text(*side);
  EXPECT_EQ(chooseMma(Arithmetic::BF16, {1, 16, 4096, 4096, 2}).rows, 16);
}

TEST(Schedule, PairsNeitherSpillNorWait) {
  auto nvrtc = loadNvrtc();
  if (!nvrtc)
    GTEST_SKIP() << "no NVRTC";
  const std::string templates = templatesOf({"impl/WgmmaGemm.h", "impl/Gemm.h", "impl/Thin.h"});
  // SiLU, and much the same with biases.
  const char *bodies[] = {"__fdividef(sum, 1 + __expf(-sum)) * other",
                          "(sum + bias[column]) * __fdividef(other + bias[n + column], 1 + __expf(-1.6f * (other + bias[n + column])))"};
  auto kernel = [&](int threads, const char *body, const std::string &call) {
    return templates + "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(threads) +
           ", 1) product(const __grid_constant__ flame::TensorMap xMap, const __grid_constant__ flame::TensorMap yMap, "
           "const __grid_constant__ flame::TensorMap zMap, const __grid_constant__ flame::TensorMap to, const unsigned short *x, "
           "const unsigned short *y, const unsigned short *z, unsigned short *out, const float *bias, int m, int n, int k, int pitch, "
           "float *__restrict__ sums, unsigned *__restrict__ state) {\n"
           "  auto body = [&](int row, int column, float sum, float other) { return (unsigned short)(__float_as_uint(" +
           body + ") >> 16); };\n  auto place = [&](int row, int column) { return row * n + column; };\n  flame::" + call + ";\n}\n";
  };
  auto major = [](Major order) { return std::string("flame::Major::") + (order == Major::Depth ? "Depth" : "Side"); };
  auto byWgmma = [&](const WgmmaSchedule &s, Arithmetic type, Major y, const char *body) {
    bool engine = s.storedColumns() / 2 >= 64;
    return kernel(s.threads(), body,
                  "wgmmaGemm<" + text(s) + ", " + text(type) + ", flame::Major::Depth, " + major(y) +
                      ">(flame::Problem<int>{m, n, k}, 1, flame::TensorOperand{xMap, 0}, flame::PairedTensors{yMap, zMap, 0}, [&](int) { return " +
                      (engine ? "flame::tensorStore<unsigned short>(to, body)" : "flame::store<true>(out, body, place)") + "; }" +
                      (s.streamK ? ", flame::NoScales(), flame::TileShares{sums, state})" : ")"));
  };
  auto pair = [&](int group, Major order) {
    std::string plain = "flame::Plain<unsigned short, " + major(order) + ", 16, int>";
    return "flame::paired<" + std::to_string(group) + ">(" + plain + "{y, pitch}, " + plain + "{z, pitch}), ";
  };
  const std::string sizes = "(flame::Problem<int>{m, n, k}, ", end = "flame::store<true>(out, body, place)";
  std::vector<Source> sources;
  for (const WgmmaSchedule &base : wgmmaSchedules())
    for (int splits : {1, 2, 4})
      for (Major y : {Major::Depth, Major::Side})
        for (Arithmetic type : {Arithmetic::BF16, Arithmetic::E4M3}) {
          WgmmaSchedule s = base;
          s.splits = splits;
          s = fitted(s, type, Major::Depth, y);
          if (!s.isValid(type, Major::Depth, y, 2) || (splits > 1 && (base.columns > 128 || type == Arithmetic::E4M3)))
            continue;
          for (const char *body : bodies)
            if (body == bodies[0] || (splits == 1 && y == Major::Depth))
              sources.push_back({text(s) + text(type) + major(y), byWgmma(s, type, y, body), false});
          s.streamK = true;
          if (s.isValid(type, Major::Depth, y, 2))
            sources.push_back({text(s) + text(type) + major(y), byWgmma(s, type, y, bodies[1]), false});
        }
  for (const MmaSchedule &base : mmaSchedules())
    for (Major y : {Major::Depth, Major::Side})
      for (int splits : {1, 4}) {
        MmaSchedule s = base;
        s.splits = splits;
        if (s.isValid(Arithmetic::BF16, Major::Depth, y, 2))
          sources.push_back({text(s) + major(y),
                             kernel(s.threads(), bodies[0],
                                    "gemm<" + text(s) + ", flame::Arithmetic::BF16>" + sizes +
                                        "flame::Plain<unsigned short, flame::Major::Depth, 16, int>{x, pitch}, " +
                                        pair(s.columns / s.warpColumns / 2, y) + end + ")"),
                             true});
      }
  for (int rows : {1, 2, 4})
    for (bool along : {true, false}) {
      const ThinSchedule s{rows, along ? 1 : 4, along};
      sources.push_back({text(s),
                         kernel(s.threads(), bodies[0],
                                (along ? "thinAlong<" : "thinAcross<") + text(s) + ", flame::Arithmetic::BF16, false>" + sizes +
                                    "flame::ThinRows<unsigned short, int>{x, pitch, 1}, " + pair(8, along ? Major::Depth : Major::Side) + end +
                                    ", 100)"),
                         true});
    }
  expectNeitherSpillsNorWaits(*nvrtc, sources);
}

/// Results of which partial reductions are kept.
TEST(Schedule, FoldsFollowTheProblem) {
  for (int products : {1, 2})
    for (int64_t rows : {512, 4096, 4608})
      for (int64_t columns : {2048, 12288, 14336}) {
        ContractSizes sizes{1, rows, columns, 4096, products}, folded = sizes;
        folded.folds = 2;
        const WgmmaProblem problem{Arithmetic::BF16, Major::Depth, Major::Depth, rows};
        const MmaSchedule beside = chooseMma(Arithmetic::BF16, folded);
        EXPECT_TRUE(beside.takesFolds(products) && beside.isValid(Arithmetic::BF16, Major::Depth, Major::Side, products)) << text(beside);
        auto chosen = chooseWgmma(problem, folded);
        ASSERT_TRUE(chosen);
        EXPECT_TRUE(chosen->takesFolds(products)) << text(*chosen);
        const double with = likelyTime(Arithmetic::BF16, problem, folded), without = likelyTime(Arithmetic::BF16, problem, sizes);
        EXPECT_GE(with, without);
        // Of many tiles there are some as good.
        if (rows >= 4096 && columns >= 12288 && products == 1) {
          EXPECT_LE(with, 1.03 * without) << text(*chosen);
        }
      }
  static_assert(WgmmaSchedule{64, 64, 64, 4, 1}.takesFolds() && !WgmmaSchedule{64, 64, 64, 4, 1, false, 1, 1, 8, 2, false, 4}.takesFolds());
  static_assert(WgmmaSchedule{64, 192, 64, 4, 1}.takesFolds(2) && !WgmmaSchedule{64, 144, 64, 4, 1}.takesFolds());
}

TEST(Schedule, FoldsNeitherSpillNorWait) {
  auto nvrtc = loadNvrtc();
  if (!nvrtc)
    GTEST_SKIP() << "no NVRTC";
  const std::string templates = templatesOf({"impl/WgmmaGemm.h", "impl/Gemm.h", "epilogue/Fold.h"});
  // A largest magnitude, and the sums that a norm needs beside it.
  auto kernel = [&](int threads, int products, const std::string &call) {
    return templates + "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(threads) +
           ", 1) product(const __grid_constant__ flame::TensorMap xMap, const __grid_constant__ flame::TensorMap yMap, "
           "const __grid_constant__ flame::TensorMap zMap, const __grid_constant__ flame::TensorMap to, const unsigned short *x, "
           "const unsigned short *y, const unsigned short *z, unsigned short *out, float *most, float *sums, float *squares, const float *bias, "
           "int m, int n, int k, int pitch) {\n"
           "  auto wide = [](unsigned short v) { return __uint_as_float((unsigned)v << 16); };\n"
           "  auto body = [&](int row, int column, float sum" + std::string(products == 2 ? ", float other" : "") + ") { const float v = " +
           (products == 2 ? "__fdividef(sum, 1 + __expf(-sum)) * other" : "sum + bias[column]") +
           "; unsigned short r; asm(\"cvt.rn.bf16.f32 %0, %1;\" : \"=h\"(r) : \"f\"(v)); return r; };\n"
           "  auto place = [&](int row, int column) { return row * n + column; };\n"
           "  auto larger = [](float a, float b) { float c; asm(\"max.NaN.f32 %0, %1, %2;\" : \"=f\"(c) : \"f\"(a), \"f\"(b)); return c; };\n"
           "  auto add = [](float a, float b) { return a + b; };\n  auto none = [] { return 0.f; };\n"
           "  auto magnitude = [&](float a, unsigned short v) { return larger(a, fabsf(wide(v))); };\n"
           "  auto plus = [&](float a, unsigned short v) { return a + wide(v); };\n"
           "  auto square = [&](float a, unsigned short v) { return a + wide(v) * wide(v); };\n  flame::" + call + ";\n}\n";
  };
  auto folding = [](const std::string &store, int folds) {
    std::string text = "flame::folding(" + store + ", flame::folds(m, flame::fold(most, none, magnitude, larger)";
    return text + (folds == 1 ? "" : ", flame::fold(sums, none, plus, add), flame::fold(squares, none, square, add)") + "))";
  };
  std::vector<Source> sources;
  const std::string depth = "flame::Major::Depth";
  for (const WgmmaSchedule &base : wgmmaSchedules())
    for (int products : {1, 2})
      for (int folds : {1, 3})
        for (bool isLong : {false, true}) {
          const WgmmaSchedule s = fitted(base, Arithmetic::BF16, Major::Depth, Major::Depth);
          if (!s.takesFolds(products) || !s.isValid(Arithmetic::BF16, Major::Depth, Major::Depth, products) || (isLong && (!s.loopsBodies() || products == 2)))
            continue;
          const std::string right = products == 2 ? "flame::PairedTensors{yMap, zMap, 0}" : "flame::TensorOperand{yMap, 0}";
          sources.push_back({text(s) + " products " + std::to_string(products) + " folds " + std::to_string(folds),
                             kernel(s.threads(), products,
                                    "wgmmaGemm<" + text(s) + ", flame::Arithmetic::BF16, " + depth + ", " + depth +
                                        ">(flame::Problem<int>{m, n, k}, 1, flame::TensorOperand{xMap, 0}, " + right + ", [&](int) { return " +
                                        folding("flame::tensorStore<unsigned short" + std::string(isLong ? ", true" : "") + ">(to, body)", folds) + "; })"),
                             false});
        }
  for (int products : {1, 2})
    for (int64_t rows : {256, 4096})
      for (int64_t columns : {1024, 14336}) {
        ContractSizes sizes{1, rows, columns, 4096, products};
        sizes.folds = 3;
        const MmaSchedule s = chooseMma(Arithmetic::BF16, sizes);
        const std::string plain = "flame::Plain<unsigned short, " + depth + ", 16, int>";
        const std::string right = products == 1 ? plain + "{y, pitch}"
                                                : "flame::paired<" + std::to_string(s.columns / s.warpColumns / 2) + ">(" + plain + "{y, pitch}, " + plain + "{z, pitch})";
        sources.push_back({text(s) + " products " + std::to_string(products),
                           kernel(s.threads(), products,
                                  "gemm<" + text(s) + ", flame::Arithmetic::BF16>(flame::Problem<int>{m, n, k}, " + plain + "{x, pitch}, " + right + ", " +
                                      folding("flame::store<true>(out, body, place)", 3) + ")"),
                           true});
      }
  expectNeitherSpillsNorWaits(*nvrtc, sources);
}

TEST(Schedule, SourcedStoresNeitherSpillNorWait) {
  auto nvrtc = loadNvrtc();
  if (!nvrtc)
    GTEST_SKIP() << "no NVRTC";
  const std::string templates = templatesOf({"impl/WgmmaGemm.h", "epilogue/Fold.h"});
  static_assert(!WgmmaSchedule{128, 192, 64, 4, 2, true}.takesSource() && !WgmmaSchedule{192, 192, 64, 4, 3}.takesSource(true));
  // A residual with a gate and a bias; its largest magnitude.
  auto kernel = [&](const WgmmaSchedule &s, bool wide, bool folds) {
    const std::string type = wide ? "float" : "unsigned short", store = "flame::sourced(flame::tensorStore<" + type + ">(to, body), source, n)";
    return templates + "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(s.threads()) +
           ", 1) product(const __grid_constant__ flame::TensorMap xMap, const __grid_constant__ flame::TensorMap yMap, const __grid_constant__ "
           "flame::TensorMap to, const " + type + " *__restrict__ source, float *__restrict__ most, const unsigned short *__restrict__ gate, "
           "const unsigned short *__restrict__ bias, int m, int n, int k) {\n"
           "  auto wide = [](auto v) { if constexpr (sizeof(v) == 2) return __uint_as_float((unsigned)v << 16); else return v; };\n"
           "  auto body = [&](int row, int column, float sum, " + type + " element) { const float v = (sum + wide(bias[column])) * wide(gate[column]) + wide(element); " +
           (wide ? "return v;" : "unsigned short r; asm(\"cvt.rn.bf16.f32 %0, %1;\" : \"=h\"(r) : \"f\"(v)); return r;") + " };\n"
           "  auto magnitude = [&](float a, " + type + " v) { return fmaxf(a, fabsf(wide(v))); };\n"
           "  auto larger = [](float a, float b) { return fmaxf(a, b); };\n  auto none = [] { return 0.f; };\n  flame::wgmmaGemm<" + text(s) +
           ", flame::Arithmetic::BF16, flame::Major::Depth, flame::Major::Depth>(flame::Problem<int>{m, n, k}, 1, flame::TensorOperand{xMap, 0}, "
           "flame::TensorOperand{yMap, 0}, [&](int) { return " +
           (folds ? "flame::folding(" + store + ", flame::folds(m, flame::fold(most, none, magnitude, larger)))" : store) + "; });\n}\n";
  };
  std::vector<Source> sources;
  for (const WgmmaSchedule &base : wgmmaSchedules()) {
    const WgmmaSchedule s = fitted(base, Arithmetic::BF16, Major::Depth, Major::Depth);
    if (!s.takesSource())
      continue;
    for (bool wide : {false, true})
      if (s.columns * (wide ? 4 : 2) >= WgmmaSchedule::lineBytes)
        sources.push_back({text(s) + (wide ? " of 32 bits" : ""), kernel(s, wide, false), false});
    if (s.takesFolds() && s.takesSource(true))
      sources.push_back({text(s) + " with a fold", kernel(s, false, true), false});
  }
  expectNeitherSpillsNorWaits(*nvrtc, sources);
}

TEST(Schedule, TopKFollowsTheProblem) {
  const KeyFormat half{KeyKind::Float, 16, 0x7c00}, real{KeyKind::Float, 32, 0x7f800000}, wide{KeyKind::Signed, 64};
  auto form = [](const KeyFormat &format, std::optional<int64_t> length, std::optional<int64_t> k) {
    return chooseTopK(format, length, k).form;
  };
  EXPECT_EQ(form(half, 256, 8), TopKForm::Warps);
  EXPECT_EQ(form(real, 8192, 8192), TopKForm::Block);        // all of what fits into a tile
  EXPECT_EQ(form(wide, 8192, 8192), TopKForm::Long);         // which depends on the type
  EXPECT_EQ(form(real, 8192, 50), TopKForm::Select);         // little of it
  EXPECT_EQ(form(half, 131072, 50), TopKForm::Select);
  EXPECT_EQ(form(half, std::nullopt, 50), TopKForm::Select); // whatever the length
  EXPECT_EQ(form(half, 131072, 4000), TopKForm::Long);
  EXPECT_EQ(form(half, 131072, std::nullopt), TopKForm::Long);
  EXPECT_EQ(chooseTopK(half, 65535, 50).schedule.pairBytes, 4); // positions take 16 bits
  EXPECT_EQ(chooseTopK(half, 65536, 50).schedule.pairBytes, 8);
  EXPECT_EQ(chooseTopK(real, int64_t(1) << 32, 50).schedule.pairBytes, 16);
  for (int64_t length : {0, 1, 257, 1000, 4097, 30000, 100000})
    for (int64_t k : {1, 100, 1000})
      for (const KeyFormat &format : {half, real, wide}) {
        TopKSchedule s = chooseTopK(format, length, std::min(k, length)).schedule;
        EXPECT_LE(s.sharedBytes(), 99 << 10) << text(s);
        EXPECT_TRUE(s.threads % 32 == 0 && s.threads >= 128 && llvm::isPowerOf2_32(s.tile)) << text(s);
      }
}

TEST(Schedule, TopKDoesNotSpill) {
  auto nvrtc = loadNvrtc();
  if (!nvrtc)
    GTEST_SKIP() << "no NVRTC";
  const std::string head = templatesOf({"impl/TopK.h"});
  struct {
    KeyFormat format;
    const char *storage;
  } types[] = {{{KeyKind::Float, 16, 0x7f80}, "unsigned short"}, {{KeyKind::Signed, 64}, "unsigned long long"}};
  struct {
    const char *call, *sizes;
    std::optional<int64_t> length, k;
  } problems[] = {{"topkWarps(rows)", "rowCount, 256, 8, 1", 256, 8},
                  {"topkBlock(rows)", "rowCount, 4096, 4096, 1", 4096, 4096},
                  {"topkSelect(rows, 6, scratch, state)", "64, 131072, 50, 1", 131072, 50},
                  {"topkLong(rows, pieces, scratch, state)", "rowCount, length, k, 1", std::nullopt, std::nullopt}};
  for (const char *architecture : {"sm_80", "sm_90a"})
    for (auto [format, storage] : types)
      for (auto [call, sizes, length, k] : problems) {
        TopKSchedule s = chooseTopK(format, length, k).schedule;
        bool isLong = !length || *length > 4096;
        std::string source =
            head + "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(s.threads) +
            (isLong ? ", " + std::to_string(s.blocksAtOnce()) : "") + ") topk(const " + storage + " *x, " + storage +
            " *values, unsigned long long *indices, long long rowCount, long long length, long long k, long long pieces, "
            "void *scratch, unsigned *state) {\n  const flame::TopKRows<" +
            text(s) + ", " + text(format) + ", true, " + storage + "> rows{{" + sizes +
            "}, x, values, indices};\n  flame::" + call + ";\n}\n";
        std::string log;
        auto code = (*nvrtc)->compile(source, architecture, &log);
        ASSERT_TRUE(bool(code)) << call << ": " << toString(code.takeError());
        EXPECT_NE(log.find(" 0 bytes spill stores, 0 bytes spill loads"), std::string::npos) << call << ":\n" << log;
      }
}

TEST(Schedule, AttentionByWgmmaFollowsTheProblem) {
  auto choose = [](int64_t batches, int64_t queries, int64_t keys, int head, bool masked = false, bool limited = false) {
    return *chooseWgmmaAttention({{batches, queries, keys, head, head, masked}, Major::Depth, Major::Side, limited});
  };
  EXPECT_EQ(choose(24, 4608, 4608, 128).rows, 128);
  EXPECT_EQ(choose(40, 1024, 1024, 64).rows, 192);             // three warpgroups are faster
  EXPECT_EQ(choose(24, 1280, 1280, 64).rows, 128);             // unless tiles of two fill the last round
  EXPECT_EQ(choose(40, 1024, 1024, 64, /*masked=*/true).rows, 128);
  EXPECT_EQ(choose(12, 128, 128, 64).rows, 64);                // few queries
  EXPECT_EQ(std::pair(choose(8, 999, 999, 72).depth, choose(8, 999, 999, 40).width), std::pair(80, 48));
  for (int head : {8, 40, 64, 72, 96, 128, 160, 192, 256})
    for (Major k : {Major::Depth, Major::Side})
      for (Major v : {Major::Depth, Major::Side})
        for (int64_t tokens : {1, 77, 4096}) {
          auto s = chooseWgmmaAttention({{20, tokens, tokens, head, head, false}, k, v, false});
          if (v == Major::Side || head <= 128 || head > 192) {
            ASSERT_TRUE(s.has_value()) << head;
            EXPECT_TRUE(s->isValid(k, v)) << text(*s);
          }
        }
  // Few queries over many keys are shared out; where tiles are enough, or keys are few, they are not.
  for (int64_t queries : {1, 4, 64})
    for (int64_t keys : {4096, 32768})
      for (bool limited : {false, true})
        EXPECT_GT(choose(8, queries, keys, 128, limited, limited).splits, 1) << queries << ", " << keys;
  EXPECT_GT(chooseAttention({8, 4, 8192, 128, 128, true}).splits, 1);
  EXPECT_EQ(choose(8, 4, 512, 128).splits, 1);
  EXPECT_EQ(choose(128, 4, 8192, 128).splits, 1);
  EXPECT_EQ(choose(8, 1024, 1024, 128).splits, 1);
  // So are the tiles of a last round that would leave much of the GPU idle: 440 are three rounds and 44, 176 one and 44, 520 three and 124.
  // Rows that see different numbers of keys are tiles of different lengths, which fill it by themselves.
  EXPECT_GT(choose(20, 4096, 4096, 64).splits, 1);
  EXPECT_GT(choose(8, 4096, 4096, 40).splits, 1);
  EXPECT_EQ(choose(26, 2560, 2560, 64).splits, 1);
  EXPECT_EQ(choose(20, 4096, 4096, 64, false, true).splits, 1);
  EXPECT_EQ(choose(20, 4096, 4096, 64, true).splits, 1);   // a body of the scores takes the registers
  // Products take most of the time, and idle multiprocessors' power; with queries and keys of 8 bits still.
  EXPECT_EQ(choose(24, 4608, 4608, 128).splits, 1);
  EXPECT_EQ(chooseWgmmaAttention({{24, 1536, 1536, 128, 128, false}, Major::Depth, Major::Side, false, 1})->splits, 1);
  EXPECT_EQ(chooseAttention({8, 1024, 1024, 128, 128, false}).splits, 1);
  EXPECT_FALSE(chooseWgmmaAttention({{20, 4096, 4096, 264, 264, false}, Major::Depth, Major::Side, false}));
  EXPECT_EQ(choose(1, 16384, 16384, 512).consumers(), 2); // of the same 64 rows
  // Queries and keys of 8 bits run along the head, in steps of 32.
  for (int head : {8, 16, 40, 64, 72, 96, 128, 160, 192, 256, 384, 512})
    for (bool masked : {false, true}) {
      auto s = chooseWgmmaAttention({{20, 4096, 4096, head, head, masked}, Major::Depth, Major::Side, false, 1});
      ASSERT_TRUE(s.has_value()) << head;
      EXPECT_TRUE(s->isValid(Major::Depth, Major::Side, 1)) << text(*s);
      EXPECT_EQ(s->depth % 32, 0) << text(*s);
      EXPECT_FALSE(s->isValid(Major::Side, Major::Side, 1));
    }
  EXPECT_FALSE(chooseWgmmaAttention({{20, 4096, 4096, 64, 64, false}, Major::Side, Major::Side, false, 1}));
  EXPECT_GT(chooseWgmmaAttention({{8, 4, 8192, 128, 128, false}, Major::Depth, Major::Side, false, 1})->splits, 1);
}

TEST(Schedule, AttentionByWgmmaDoesNotSpill) {
  auto nvrtc = loadNvrtc();
  if (!nvrtc)
    GTEST_SKIP() << "no NVRTC";
  const std::string head = templatesOf({"impl/WgmmaAttention.h"});
  struct Case {
    WgmmaAttentionProblem problem;
    const char *scoring;
    const AttentionTile *tile = nullptr; // null: what is chosen
  };
  const Case cases[] = {
      {{{24, 4608, 4608, 128, 128, false}, Major::Depth, Major::Side, false}, "flame::scores(0.2f, plain)"},
      {{{24, 4608, 4608, 128, 128, false}, Major::Side, Major::Depth, true}, "flame::scores(0.2f, plain, limit)"},
      {{{24, 4608, 4608, 128, 128, true}, Major::Depth, Major::Side, false}, "flame::scores(1.4f, biased)"},
      {{{40, 1024, 1024, 64, 64, false}, Major::Depth, Major::Side, true}, "flame::scores(0.2f, plain, limit)"},
      {{{40, 1024, 1024, 64, 64, true}, Major::Depth, Major::Side, true}, "flame::scores(1.4f, biased, limit)"},
      {{{12, 128, 128, 64, 64, true}, Major::Depth, Major::Side, false}, "flame::scores(1.4f, biased)"},
      {{{16, 4096, 4096, 256, 256, false}, Major::Depth, Major::Side, false}, "flame::scores(0.2f, plain)"},
      {{{16, 4096, 4096, 256, 256, true}, Major::Depth, Major::Side, false}, "flame::scores(1.4f, biased)"},
      {{{1, 16384, 16384, 512, 512, false}, Major::Depth, Major::Side, false}, "flame::scores(0.2f, plain)"},
      {{{1, 16384, 16384, 384, 384, true}, Major::Depth, Major::Side, true}, "flame::scores(1.4f, biased, limit)"},
      {{{16, 4096, 4096, 80, 80, false}, Major::Depth, Major::Side, false}, "flame::scores(0.2f, plain)"},
      {{{8, 4, 8192, 128, 128, true}, Major::Depth, Major::Side, true}, "flame::scores(1.4f, biased, limit)"},
      {{{8, 4, 8192, 128, 128, false}, Major::Depth, Major::Side, false}, "flame::scores(0.2f, plain)"},
      {{{2, 16, 8192, 256, 256, false}, Major::Depth, Major::Side, true}, "flame::scores(0.2f, plain, limit)"},
      {{{8, 4, 8192, 128, 128, false}, Major::Depth, Major::Side, false, 1}, "flame::scores(0.2f, plain)"},
      {{{2, 16, 8192, 256, 256, false}, Major::Depth, Major::Side, true, 1}, "flame::scores(0.2f, plain, limit)"},
  };
  std::vector<Case> all(std::begin(cases), std::end(cases));
  // Each tile for queries and keys of 8 bits.
  for (const AttentionTile &t : attentionTiles(1))
    for (bool limited : {false, true}) {
      const char *scoring = t.masked   ? limited ? "flame::scores(1.4f, biased, limit)" : "flame::scores(1.4f, biased)"
                            : limited ? "flame::scores(0.2f, plain, limit)"
                                      : "flame::scores(0.2f, plain)";
      all.push_back({{{24, 4608, 4608, t.head, t.head, t.masked}, Major::Depth, Major::Side, limited, 1}, scoring, &t});
    }
  for (const auto &[problem, scoring, tile] : all) {
    for (bool tells : {false, true}) { // the log-sum-exp of each row, too
      WgmmaAttentionSchedule s = *chooseWgmmaAttention(problem);
      if (tile)
        s.rows = tile->rows, s.keys = tile->keys;
      auto major = [](Major order) { return order == Major::Depth ? "flame::Major::Depth" : "flame::Major::Side"; };
      std::string source =
          head + "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(s.threads()) +
          ", 1) attention(const __grid_constant__ flame::TensorMap q, const __grid_constant__ flame::TensorMap k, const "
          "__grid_constant__ flame::TensorMap v, const __grid_constant__ flame::TensorMap o, const float *bias, int m, int n, "
          "int heads, int past, unsigned *state, float *scratch, unsigned short *out) {\n  auto place = [&](int row, int column) "
          "{ return row * n + column; };\n  auto plain = [&](int, int, float product) { return product; };\n"
          "  auto biased = [&](int row, int column, float product) { return product * 0.1f + bias[(long long)row * n + "
          "column]; };\n  auto limit = [&](int row) { return past + row + 1; };\n  auto body = [&](int, int, float sum) -> "
          "unsigned short { return (unsigned short)(__float_as_uint(sum) >> 16); };\n  flame::wgmmaAttention<" +
          text(s) + ", flame::Arithmetic::BF16, " + major(problem.k) + ", " + major(problem.v) + ", flame::Arithmetic::" +
          (problem.keyBytes == 1 ? "E4M3" : "BF16") + ">(flame::AttentionProblem{m, n, " + std::to_string(problem.sizes.depth) + ", " +
          std::to_string(problem.sizes.columns) +
          "}, flame::Heads{heads, 1, 1}, {q, {1, 0, 0}}, {k, {1, 0, 0}}, {v, {1, 0, 0}}, state, [&](int) { return " + scoring +
          "; }, [&](int) { return flame::tensorStore<unsigned short>(o, body); }" +
          (s.splits > 1 ? ", flame::SharedKeys{past, scratch, state}, [&](int) { return flame::store<true>(out, body, place); }"
           : tells      ? ", flame::SharedKeys{1}, nullptr"
                        : "") +
          (tells ? ", flame::totals([&](int row, float number) { scratch[row * heads] = number; })" : "") + ");\n}\n";
      std::string log;
      auto code = (*nvrtc)->compile(source, "sm_90a", &log);
      ASSERT_TRUE(bool(code)) << text(s) << ": " << toString(code.takeError());
      EXPECT_NE(log.find(" 0 bytes spill stores, 0 bytes spill loads"), std::string::npos) << text(s) << scoring << ":\n" << log;
      EXPECT_EQ(log.find("(C75"), std::string::npos) << text(s) << " is serialized, or keeps its registers:\n" << log;
    }
  }
}

TEST(Schedule, AttentionHardlySpills) {
  auto nvrtc = loadNvrtc();
  if (!nvrtc)
    GTEST_SKIP() << "no NVRTC";
  const std::string head = templatesOf({"impl/Attention.h"});
  for (AttentionSizes sizes : {AttentionSizes{24, 4608, 4608, 128, 128, false},
                               {20, 4096, 4096, 64, 64, false},
                               {12, 128, 128, 64, 64, false},
                               {16, 4096, 4096, 256, 256, false}}) {
    AttentionSchedule s = chooseAttention(sizes);
    auto plain = [](const char *name, const char *major) {
      return std::string("flame::Plain<unsigned short, flame::Major::") + major + ", 16, long long>{" + name +
             ", pitch}";
    };
    std::string source =
        head + "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(s.threads()) +
        ") attention(const unsigned short *q, const unsigned short *k, const unsigned short *v, float *out, "
        "int m, int n, long long pitch) {\n  auto score = [&](int, int, float product) { return product; };\n"
        "  auto body = [&](int, int, float sum) { return sum; };\n  auto place = [&](int row, int column) { "
        "return row * pitch + column; };\n  flame::attention<" +
        text(s) + ", flame::Arithmetic::F16>(flame::AttentionProblem{m, n, " + std::to_string(sizes.depth) + ", " +
        std::to_string(sizes.columns) + "}, " + plain("q", "Depth") + ", " + plain("k", "Depth") + ", " +
        plain("v", "Side") + ", flame::scores(0.2f, score), flame::store<true>(out, body, place));\n}\n";
    std::string log;
    auto code = (*nvrtc)->compile(source, "sm_90a", &log);
    ASSERT_TRUE(bool(code)) << text(s) << ": " << toString(code.takeError());
    size_t at = log.find(" bytes spill stores");
    ASSERT_NE(at, std::string::npos) << log;
    // A few values that stay the same throughout.
    EXPECT_LE(std::stoi(log.substr(log.rfind(' ', at - 1))), 32) << text(s) << ":\n" << log;
  }
}

} // namespace
