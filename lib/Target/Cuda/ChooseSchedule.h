//===- ChooseSchedule.h - the schedule of a contraction -----------------------------------------------------------===//
//
// Pure functions of the problem: no trial runs, no GPU. Sizes that are not known are taken as likely ones.
//
//===------------------------------------------------------------------------------------------------------------------===//
#ifndef FLAME_LIB_TARGET_CUDA_CHOOSESCHEDULE_H
#define FLAME_LIB_TARGET_CUDA_CHOOSESCHEDULE_H

#include "flame/Support/DimExpr.h"
#include "schedule/Schedule.h"
#include "schedule/TopK.h"
#include "schedule/WgmmaAttention.h"
#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <optional>
#include <string>

namespace flame::cuda {

/// A product: result [batches, rows, columns], inner dim `depth`; or two of the same rows at once (`products`), each of so many columns.
/// `x` and `y`: the orders of operands in shared memory by mma.sync. With `groups`, rows go by so many, of sizes that nobody knows, and each
/// meets a matrix y of its own.
struct ContractSizes {
  int64_t batches = 1, rows, columns, depth;
  int products = 1;
  Major x = Major::Depth, y = Major::Depth;
  int64_t scaleColumns = 0; // of a block of y with a scale of its own; 0: there are none
  int64_t segment = 0;      // columns that the epilogue needs together (epilogue/StoreSegments.h); 0: each by itself
  int64_t groups = 0;       // 0: there are none
  int folds = 0;            // partial reductions of the result (epilogue/Fold.h)

  /// Matrices y that are likely read: chance leaves groups without rows where there are few for each.
  double matrices() const;
  /// The likely number of rows that one of them meets.
  double rowsOfEach() const;
  /// Tiles of so many rows, likely.
  int64_t down(int64_t tileRows) const;
};

/// The schedules that chooseMma picks from, for elements of 16 bits; for others the same bytes.
llvm::ArrayRef<MmaSchedule> mmaSchedules();
MmaSchedule chooseMma(Arithmetic type, const ContractSizes &sizes);

/// What a product by wgmma is chosen for: the operands' orders, and the number of rows if it is known.
struct WgmmaProblem {
  Arithmetic type;
  Major x, y;
  std::optional<int64_t> rows = {};
  /// A convolution's inner dim goes on in whole lines for each tap, and it reads x many times.
  struct Windows {
    int64_t depth; // of whole lines
    double bytes;  // that are read and written at least
  };
  std::optional<Windows> windows = {};
  bool isThin = false;   // without wgmma, the kernel for up to four rows takes its place, not mma.sync
  bool isWeight = false; // no kernel of a run writes y
  int groups = 0;        // of rows, for which a block has a table in shared memory
  int tableBytes() const { return groups == 0 ? 0 : WgmmaSchedule::tableBytes(groups); }
  /// False where borders of groups and a body of two sums, or tiles that are shared, need registers that the largest tiles with turns have
  /// given to sums, or three consumers have not.
  bool hasRegisters(const WgmmaSchedule &s, int products) const {
    if (groups == 0)
      return true;
    if (s.streamK && (s.pingPong ? s.groupRows() / 64 * s.columns / 2 > 144 : s.consumers == 3 && products == 2))
      return false;
    return products == 1 || !s.pingPong || s.loopsBodies();
  }
};
/// The schedules that chooseWgmma picks from, for elements of 16 bits; for others the same bytes.
llvm::ArrayRef<WgmmaSchedule> wgmmaSchedules();
/// The same schedule for this type and these orders: with fewer stages where tiles whose lines run along the side need more
/// memory, with fewer rows and more stages where the product has no more. `besides`: bytes of shared memory for something else.
WgmmaSchedule fitted(WgmmaSchedule schedule, Arithmetic type, Major x, Major y, std::optional<int64_t> rows = {}, int besides = 0);
/// Nanoseconds that such tiles likely take.
double likelyTime(const WgmmaProblem &problem, const ContractSizes &sizes, const WgmmaSchedule &schedule);
/// Empty where the product by mma.sync is likely faster.
std::optional<WgmmaSchedule> chooseWgmma(const WgmmaProblem &problem, const ContractSizes &sizes);
/// The likely time of the product by the better of both, in nanoseconds of an H200; without `problem` by mma.sync.
double likelyTime(Arithmetic type, const std::optional<WgmmaProblem> &problem, const ContractSizes &sizes);
SimtSchedule chooseSimt(Arithmetic type, const ContractSizes &sizes);

/// Attention: `batches` counts heads, `depth` and `columns` are the sizes of a head of queries and keys, and of values.
/// With `masked`, scores have a body of their own, which takes registers.
struct AttentionSizes {
  int64_t batches, queries, keys;
  int depth, columns;
  bool masked;
};
AttentionSchedule chooseAttention(const AttentionSizes &sizes);
/// By wgmma: `k` and `v` are the orders of keys and values. With `limited`, rows see different numbers of keys. Empty where
/// mma.sync is likely faster, and for heads that no tiles are made for.
struct WgmmaAttentionProblem {
  AttentionSizes sizes;
  Major k, v;
  bool limited;
  int keyBytes = 2; // of an element of queries and keys

  /// Whether blocks share the tiles of the last round. Tiles of different lengths fill it by themselves, a body of the scores leaves no registers
  /// for it, and where products take most of the time, the GPU's power limits them: others take what idle multiprocessors leave.
  bool sharesLastTiles(const WgmmaAttentionSchedule &schedule) const;
};
/// Queries and keys of tiles made for heads of up to `head`; `masked`: for scores with a body of their own.
struct AttentionTile {
  int head, rows, keys;
  bool masked;
};
/// What chooseWgmmaAttention picks from.
llvm::ArrayRef<AttentionTile> attentionTiles(int keyBytes);
std::optional<WgmmaAttentionSchedule> chooseWgmmaAttention(const WgmmaAttentionProblem &problem);

/// The first k of rows; see runtime/kernels/impl/TopK.h for the forms. `length` of a row and the most that k can be,
/// where they are known.
enum class TopKForm { Warps, Block, Select, Long };
struct TopKChoice {
  TopKForm form;
  TopKSchedule schedule;
};
TopKChoice chooseTopK(const KeyFormat &format, std::optional<int64_t> length, std::optional<int64_t> mostWanted);

/// The value of an expression where every unknown size is 512: of the order of sequences and batches times sequences.
int64_t likely(DimExpr expr);

/// As a template argument in a kernel's text.
std::string text(const KeyFormat &format);

} // namespace flame::cuda

#endif // FLAME_LIB_TARGET_CUDA_CHOOSESCHEDULE_H
