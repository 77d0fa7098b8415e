//===- ChooseSchedule.cpp - see ChooseSchedule.h
//----------------------------------------------------------------------===//
#include "ChooseSchedule.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/Twine.h"
#include <algorithm>
#include <array>
#include <cmath>

using namespace flame;
using namespace flame::cuda;

namespace {
/// A schedule and how much of a multiprocessor's peak its tiles can reach: large tiles read shared memory less often.
struct Candidate {
  MmaSchedule schedule;
  double efficiency;
};
constexpr Candidate candidates[] = {
    {{128, 256, 32, 2, 4, 4}, 1.0}, {{128, 128, 32, 2, 2, 4}, 0.95}, {{128, 64, 32, 2, 2, 4}, 0.8},
    {{64, 128, 32, 2, 2, 4}, 0.8},  {{64, 64, 64, 2, 2, 3}, 0.65},   {{32, 64, 64, 2, 2, 4}, 0.4},
    {{16, 64, 64, 1, 4, 5}, 0.22},  {{16, 32, 128, 1, 2, 4}, 0.15},
};
/// Multiprocessors of the data-centre GPUs of the generations in question: 108 and 132.
constexpr int64_t multiprocessors = 120;

int64_t ceilDivide(int64_t x, int64_t y) { return (x + y - 1) / y; }

/// The time of all tiles, in elements of the result at peak, if every multiprocessor works off its share.
double price(const ContractSizes &s, int64_t rows, int64_t columns, double efficiency) {
  double blocks = double(s.batches) * ceilDivide(std::max<int64_t>(s.rows, 1), rows) *
                  ceilDivide(std::max<int64_t>(s.columns, 1), columns);
  return std::ceil(blocks / multiprocessors) * rows * columns / efficiency;
}

struct LikelyValue : DimVisitor<int64_t> {
  int64_t constant(int64_t value) override { return value; }
  int64_t symbol(unsigned) override { return 512; }
  int64_t add(int64_t a, int64_t b) override { return a + b; }
  // Products of many unknown sizes stay far from overflow.
  int64_t mul(int64_t a, int64_t b) override {
    int64_t product;
    return __builtin_mul_overflow(a, b, &product) ? INT64_MAX / 4
                                                  : std::clamp<int64_t>(product, -(1ll << 40), 1ll << 40);
  }
  int64_t floorDiv(int64_t a, int64_t b) override { return b > 0 ? a / b : a; }
  int64_t mod(int64_t a, int64_t b) override { return b > 0 ? a % b : a; }
  int64_t min(int64_t a, int64_t b) override { return std::min(a, b); }
  int64_t max(int64_t a, int64_t b) override { return std::max(a, b); }
};
} // namespace

llvm::ArrayRef<MmaSchedule> flame::cuda::mmaSchedules() {
  static const auto schedules = [] {
    std::array<MmaSchedule, std::size(candidates)> all{};
    for (size_t i = 0; i < all.size(); ++i)
      all[i] = candidates[i].schedule;
    return all;
  }();
  return schedules;
}

MmaSchedule flame::cuda::chooseMma(Arithmetic type, const ContractSizes &sizes) {
  const Candidate *best = nullptr;
  double least = 0;
  for (const Candidate &candidate : candidates) {
    double time = price(sizes, candidate.schedule.rows, candidate.schedule.columns, candidate.efficiency);
    if (!best || time < least) {
      best = &candidate;
      least = time;
    }
  }
  MmaSchedule schedule = best->schedule;
  schedule.depth = schedule.depth * 2 / sizeOf(type);
  return schedule;
}

SimtSchedule flame::cuda::chooseSimt(Arithmetic type, const ContractSizes &sizes) {
  bool wide = sizeOf(type) == 8;
  SimtSchedule large{8, wide ? 8 : 16, 3}, medium{4, 16, 3}, small{2, 16, 3};
  double largeTime = price(sizes, 128, 128, 1.0), mediumTime = price(sizes, 64, 64, 0.6),
         smallTime = price(sizes, 32, 32, 0.25);
  // Eight-byte sums of 8 × 8 would take all registers.
  if (!wide && largeTime <= mediumTime && largeTime <= smallTime)
    return large;
  return mediumTime <= smallTime ? medium : small;
}

AttentionSchedule flame::cuda::chooseAttention(const AttentionSizes &s) {
  auto round = [](int size) { return (size + 15) / 16 * 16; };
  const int depth = round(s.depth), width = round(s.columns), head = std::max(depth, width);
  auto make = [&](int rows, int keys, int warpRows, int warpKeys, int stages) {
    return AttentionSchedule{rows, keys, warpRows, warpKeys, depth, width, stages};
  };
  auto blocks = [&](int rows) { return s.batches * ceilDivide(std::max<int64_t>(s.queries, 1), rows); };
  if (head > 128)
    return make(64, 32, 4, 1, 2);
  // Warps of 32 rows read keys and values half as often as those of 16.
  if (blocks(128) >= multiprocessors)
    return head > 64 ? make(128, s.masked ? 32 : 64, 4, 1, 2) : make(128, 64, 4, 1, 2);
  if (blocks(64) >= multiprocessors)
    return make(64, 64, 4, 1, 2);
  // Few rows: warps share them, each with a part of the keys.
  if (s.queries > 16 && blocks(32) >= multiprocessors)
    return make(32, 64, 2, 2, 2);
  return s.keys <= 128 && head <= 64 ? make(16, 128, 1, 4, 1) : make(16, 64, 1, 4, 2);
}

int64_t flame::cuda::likely(DimExpr expr) { return LikelyValue().visit(expr); }

static std::string braces(llvm::StringRef name, std::initializer_list<int> numbers) {
  std::string text = ("flame::" + name + "{").str();
  for (int number : numbers)
    text += (text.back() == '{' ? "" : ", ") + std::to_string(number);
  return text + "}";
}
std::string flame::cuda::text(const MmaSchedule &s) {
  return braces("MmaSchedule", {s.rows, s.columns, s.depth, s.warpRows, s.warpColumns, s.stages});
}
std::string flame::cuda::text(const SimtSchedule &s) { return braces("SimtSchedule", {s.side, s.depth, s.stages}); }
std::string flame::cuda::text(const ThinSchedule &s) {
  return "flame::ThinSchedule{" + std::to_string(s.rows) + ", " + std::to_string(s.lines) +
         (s.along ? ", true}" : ", false}");
}
std::string flame::cuda::text(const AttentionSchedule &s) {
  return braces("AttentionSchedule", {s.rows, s.keys, s.warpRows, s.warpKeys, s.depth, s.width, s.stages});
}
std::string flame::cuda::text(Arithmetic type) {
  static const char *const names[] = {"F16", "BF16", "TF32", "F32", "F64", "I32", "I64", "I8", "U8"};
  return std::string("flame::Arithmetic::") + names[int(type)];
}
