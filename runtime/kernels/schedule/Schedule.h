//===- Schedule.h - how a contraction is cut into tiles ----------------------------------------------------------===//
//
// Plain structs that are template arguments of the kernels and, on the host, what the compiler decides. Both sides
// compute threads and shared memory from them by the functions here, so that a launch never disagrees with its kernel.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once

// The compiler of the host sees plain functions.
#ifdef __CUDACC__
#define FLAME_BOTH __host__ __device__
#else
#define FLAME_BOTH
#endif

namespace flame {

/// What is multiplied. The storage of F16 and BF16 is their bits; sums are kept in f32, of I8 and U8 in 32-bit
/// integers.
enum class Arithmetic { F16, BF16, TF32, F32, F64, I32, I64, I8, U8, E4M3, E5M2 };

FLAME_BOTH constexpr int sizeOf(Arithmetic type) {
  switch (type) {
  case Arithmetic::F16:
  case Arithmetic::BF16:
    return 2;
  case Arithmetic::TF32:
  case Arithmetic::F32:
  case Arithmetic::I32:
    return 4;
  case Arithmetic::F64:
  case Arithmetic::I64:
    return 8;
  case Arithmetic::I8:
  case Arithmetic::U8:
  case Arithmetic::E4M3:
  case Arithmetic::E5M2:
    return 1;
  }
  return 0;
}

/// Multiplied by matrix instructions; the others by ordinary multiply-adds.
FLAME_BOTH constexpr bool isMatrix(Arithmetic type) { return sizeOf(type) <= 2 || type == Arithmetic::TF32; }

/// Columns of a row of which an epilogue gives one partial reduction (epilogue/Fold.h).
constexpr int foldColumns = 32;

FLAME_BOTH constexpr int larger(int x, int y) { return x > y ? x : y; }

/// Which dim of an operand is contiguous: the inner one, or rows of x (columns of y).
enum class Major { Depth, Side };

/// Tiles of a product by matrix instructions: a block computes rows × columns of the result by warpRows × warpColumns
/// warps, in steps of `depth` of the inner dim, of which `stages` are in flight. Where a result has too few tiles to fill
/// the GPU, `slices` groups of such warps share each step's depth and add up their sums in the end: more copies are in
/// flight and fewer steps follow each other. With `splits` that many blocks, a cluster, share a tile's inner dim and add
/// up their sums through each other's shared memory; where there are no clusters the first of them does it all.
struct MmaSchedule {
  int rows, columns, depth, warpRows, warpColumns, stages, slices = 1, splits = 1;

  FLAME_BOTH constexpr int warps() const { return warpRows * warpColumns; }
  FLAME_BOTH constexpr int threads() const { return 32 * warps() * slices; }
  FLAME_BOTH constexpr int stageBytes(Arithmetic type) const { return (rows + columns) * depth * sizeOf(type); }
  /// A warp's slab of rows on its way from registers to memory; 8 words between rows keep banks apart.
  FLAME_BOTH constexpr int slabPitch() const { return columns / warpColumns + 8; }
  FLAME_BOTH constexpr int slabBytes(int slabRows) const { return slabRows * slabPitch() * 4; }
  /// Rows of a slab: all of the warp's where the operands' memory holds them, otherwise fewer.
  FLAME_BOTH constexpr int slabRows(Arithmetic type) const {
    int count = rows / warpRows;
    while (splits == 1 && count % 32 == 0 && slices * warps() * slabBytes(count) > stages * stageBytes(type))
      count /= 2;
    return count;
  }
  FLAME_BOTH constexpr int sharedBytes(Arithmetic type) const {
    return larger(stages * stageBytes(type), slices * warps() * slabBytes(slabRows(type)));
  }
  /// The blocks of a cluster add up whole tiles, narrow ones, since they take registers for it.
  FLAME_BOTH constexpr bool canSplit(Arithmetic type) const {
    return splits == 1 || (columns <= 64 && slices * warps() * slabBytes(rows / warpRows) <= stages * stageBytes(type));
  }
  /// Whether there is such a kernel for operands in these orders.
  FLAME_BOTH constexpr bool isValid(Arithmetic type, Major x = Major::Depth, Major y = Major::Depth, int products = 1) const {
    return rows > 0 && columns > 0 && warpRows > 0 && warpColumns > 0 && stages >= 2 && slices > 0 && splits > 0 && splits <= 8 &&
           rows % (16 * warpRows) == 0 && columns % (16 * warpColumns) == 0 && depth > 0 &&
           depth * sizeOf(type) % (32 * slices) == 0 && threads() <= 1024 && canSplit(type) && sharedBytes(type) <= 227 * 1024 &&
           ((x == Major::Depth && y == Major::Depth && products == 1) || isEven());
  }
  /// The swizzle of lines along the side leads a warp from its first place to the others where it has a power of two of them, and
  /// columns of two products take turns in one order for all threads. Both take registers, too, that larger warps' sums need.
  FLAME_BOTH constexpr bool isEven() const {
    const int down = rows / warpRows, across = columns / warpColumns;
    return (down & (down - 1)) == 0 && (across & (across - 1)) == 0 && down * across <= 64 * 64;
  }
  /// Whether a warp has whole runs of columns of each product, as folds of the result need.
  FLAME_BOTH constexpr bool takesFolds(int products = 1) const { return columns / warpColumns / products % foldColumns == 0; }
  /// The same on GPUs before Hopper, some of which have no more than 99 KiB for a block.
  FLAME_BOTH constexpr MmaSchedule older(Arithmetic type) const {
    MmaSchedule s = *this;
    while (s.sharedBytes(type) > 99 * 1024 && (s.stages > 2 || s.depth * sizeOf(type) > 64 * slices))
      if (s.stages > 2)
        --s.stages;
      else
        s.depth /= 2, s.stages = 3;
    return s;
  }
};

/// Tiles of a product by wgmma (sm_90a). The copy engine brings steps of `depth` of the inner dim of a tile of rows ×
/// columns, `stages` of them ahead, into shared memory; `consumers` warpgroups multiply. They share the rows of a tile, or
/// with `pingPong` work on tiles of their own, one storing while the other multiplies. Blocks of a cluster have tiles
/// next to each other, `clusterRows` down (they share columns of y) or `clusterColumns` across (they share rows of x), and
/// each copies its part of what they share to all. Tiles are taken in bands of `band` clusters down, so that those under way
/// share operands in the second-level cache. Each warp hands its results to the copy engine through `slabs` pieces
/// of shared memory. `promote`: sums of one step are added to the total by ordinary additions, for the 8-bit floats,
/// whose products wgmma adds with few bits. A tile of a product with few rows may have any multiple of 8 of them, if it is
/// the only one down: wgmma takes 64 rows at a time, and what it reads beyond is never stored. Several such tiles
/// lie one below the other if they have whole pieces of 16 rows. `splits` blocks, a cluster, have one tile together, each a
/// part of the inner dim; each adds up and stores its part of the columns. `streamK`: tiles that leave the last round of blocks partly empty, and
/// those of the round before, are shared by steps of the inner dim (tile/StreamK.h). Of two products at once (`products`) a tile has half of its
/// columns each.
struct WgmmaSchedule {
  int rows, columns, depth, stages, consumers;
  bool pingPong = false;
  int clusterRows = 1, clusterColumns = 1, band = 8, slabs = 2;
  bool promote = false;
  int splits = 1;
  bool streamK = false;

  static constexpr int lineBytes = 128, slabBytes = 2048, slabRows = 16, barrierBytes = 16;
  /// Blocks that share operands, and those of a cluster.
  FLAME_BOTH constexpr int sharers() const { return clusterRows * clusterColumns; }
  FLAME_BOTH constexpr int cluster() const { return sharers() * splits; }
  /// Columns of a tile that a block stores.
  FLAME_BOTH constexpr int storedColumns() const { return columns / splits; }
  /// Sums that the other blocks of a tile send to this one, and the barriers for them.
  FLAME_BOTH constexpr int receivedBytes() const {
    return splits == 1 ? 0 : (splits - 1) * wholeRows() * storedColumns() * 4 + barrierBytes;
  }
  /// With `streamK`: of a block's sums of a tile in memory, and the fewest steps that a block has of a tile, unless a tile has fewer: others
  /// would cost more than they take off another block.
  FLAME_BOTH constexpr int shareBytes() const { return wholeRows() * columns * 4; }
  static constexpr int leastShare = 4;
  /// One warpgroup copies.
  FLAME_BOTH constexpr int threads() const { return 128 * (consumers + 1); }
  /// Rows that wgmma takes, of a tile and of a warpgroup.
  FLAME_BOTH constexpr int wholeRows() const { return (rows + 63) / 64 * 64; }
  FLAME_BOTH constexpr int groupRows() const { return pingPong ? wholeRows() : wholeRows() / consumers; }
  /// Warpgroups that read a stage.
  FLAME_BOTH constexpr int readers() const { return pingPong ? 1 : consumers; }
  /// Whether a long body may stand in a loop (TensorStore): it takes longer there, which another warpgroup's products hide, and registers.
  FLAME_BOTH constexpr bool loopsBodies() const { return pingPong && groupRows() / 64 * columns / 2 <= 160; }
  /// Registers of a thread that copies and of one that multiplies; 0: as the compiler has it.
  FLAME_BOTH constexpr int copyRegisters() const { return consumers == 1 ? 0 : consumers == 2 ? 40 : 32; }
  FLAME_BOTH constexpr int multiplyRegisters() const { return consumers == 1 ? 0 : consumers == 2 ? 232 : 160; }
  /// Bytes of `lines` rows of x, or columns of y, in a stage: boxes of lines of 128 bytes.
  FLAME_BOTH constexpr int boxes(Arithmetic type, Major major, int lines) const {
    const int perLine = lineBytes / sizeOf(type);
    return major == Major::Depth ? depth / perLine : (lines + perLine - 1) / perLine;
  }
  FLAME_BOTH constexpr int operandBytes(Arithmetic type, Major major, int lines) const {
    return boxes(type, major, lines) * (major == Major::Depth ? lines : depth) * lineBytes;
  }
  FLAME_BOTH constexpr int stageBytes(Arithmetic type, Major x, Major y) const {
    return operandBytes(type, x, rows) + operandBytes(type, y, columns);
  }
  FLAME_BOTH constexpr int sharedBytes(Arithmetic type, Major x, Major y) const {
    return stages * (stageBytes(type, x, y) + barrierBytes) + 4 * consumers * slabs * slabBytes + receivedBytes();
  }
  /// Of shared memory for a table of so many groups of rows (tile/Groups.h), behind the rest.
  FLAME_BOTH static constexpr int tableBytes(int groups) { return 8 * (groups + 2); }
  /// Lines of the largest box, and how many the copy engine takes.
  static constexpr int mostBoxLines = 256;
  FLAME_BOTH constexpr int boxLines(Major x, Major y) const {
    return larger(x == Major::Depth ? rows : depth, y == Major::Depth ? columns : depth);
  }
  /// Whether there is such a kernel. Registers of sums, and of what else a thread needs, are bounded. `besides`: bytes of shared memory
  /// for something else.
  static constexpr int mostSharedBytes = 227 * 1024;
  FLAME_BOTH constexpr bool isValid(Arithmetic type, Major x, Major y, int products = 1, int besides = 0) const {
    const int perLine = lineBytes / sizeOf(type), sums = groupRows() / 64 * columns / 2 * (promote ? 2 : 1), unit = 8 * products;
    const bool narrow = sizeOf(type) == 2;
    return stages >= 2 && consumers >= 1 && consumers <= 3 && (!pingPong || consumers == 2) && groupRows() % 64 == 0 &&
           groupRows() > 0 && columns >= unit && columns <= 256 && columns % unit == 0 && depth % perLine == 0 && depth > 0 &&
           (narrow || (x == Major::Depth && y == Major::Depth)) && boxLines(x, y) <= mostBoxLines && sharers() <= 2 && band > 0 && slabs >= 1 &&
           splits >= 1 && splits <= 8 && (splits == 1 || (sharers() == 1 && !pingPong && columns % (unit * splits) == 0 && sums <= 64)) &&
           (!streamK || (splits == 1 && (pingPong || groupRows() / 64 * columns / 2 <= 144))) && // more leave no registers
           (products == 1 || y == Major::Depth || columns % (perLine * products) == 0) && // whole boxes
           rows <= 256 && rows % 8 == 0 && (clusterRows == 1 || columns % (2 * unit) == 0) &&
           (rows % 64 == 0 || (sharers() == 1 && (wholeRows() - rows) * lineBytes <= operandBytes(type, y, columns))) &&
           sums <= (consumers == 3 ? 112 : 200) && sharedBytes(type, x, y) + besides <= mostSharedBytes;
  }
  /// Positions of the inner dim that have one scale, where blocks of 8-bit floats have scales: steps hold whole blocks. Whether there is such
  /// a kernel, of those that are valid; a thread has scales beside its sums.
  static constexpr int scaledDepth = 128;
  FLAME_BOTH constexpr bool takesScales(Arithmetic type) const {
    return (type == Arithmetic::E4M3 || type == Arithmetic::E5M2) && promote && depth % scaledDepth == 0;
  }
  /// Whether a block stores whole runs of columns of each product, as folds of the result need, and by the copy engine, a line of 16-bit elements
  /// at least. The largest tiles with turns leave them no registers, nor do others with a body of two sums.
  FLAME_BOTH constexpr bool takesFolds(int products = 1) const {
    return storedColumns() / products % foldColumns == 0 && storedColumns() / products * 2 >= lineBytes &&
           (!pingPong || loopsBodies() || (products == 1 && columns < 192));
  }
  /// Whether there are registers for lines of a matrix that the epilogue reads (Sourced) beside the sums of one product, and beside those and folds.
  FLAME_BOTH constexpr bool takesSource(bool folds = false) const {
    return !streamK && (!pingPong || loopsBodies()) && (!folds || (consumers < 3 && !pingPong));
  }
  /// Whether a tile holds whole segments of columns of 16-bit results, and a warp's pieces of shared memory one of them.
  FLAME_BOTH constexpr bool takesSegments(int width) const {
    return columns % width == 0 && splits == 1 && slabs * lineBytes >= 2 * width && rows % 64 == 0;
  }
};

/// Tiles of a product by ordinary multiply-adds: 256 threads as 16 × 16, each with side × side elements of the result.
struct SimtSchedule {
  int side, depth, stages;

  FLAME_BOTH constexpr bool isValid(Arithmetic type) const {
    return side >= 1 && side <= 8 && depth > 0 && depth % 8 == 0 && stages >= 2 && sharedBytes(type) <= 99 * 1024;
  }
  FLAME_BOTH constexpr int tile() const { return 16 * side; }
  FLAME_BOTH constexpr int threads() const { return 256; }
  /// Elements between lines of the shared tiles: 16 bytes more than needed keep banks apart and vectors aligned.
  FLAME_BOTH constexpr int pitch(Arithmetic type) const { return tile() + 16 / sizeOf(type); }
  FLAME_BOTH constexpr int stageBytes(Arithmetic type) const { return 2 * depth * pitch(type) * sizeOf(type); }
  FLAME_BOTH constexpr int slabPitch() const { return tile() + 4; }
  FLAME_BOTH constexpr int slabBytes(Arithmetic type) const { return 2 * slabPitch() * sizeOf(type); }
  FLAME_BOTH constexpr int sharedBytes(Arithmetic type) const {
    return larger(stages * stageBytes(type), 8 * slabBytes(type));
  }
};

/// Products with at most `rows` rows, bound by reading the wide operand once. `along`: the wide operand is contiguous
/// along the inner dim and each warp computes `lines` columns; otherwise it is contiguous along the columns, of which a
/// block of 8 warps computes `lines` vectors of 16 bytes.
struct ThinSchedule {
  int rows, lines;
  bool along;

  FLAME_BOTH constexpr int threads() const { return 256; }
  FLAME_BOTH constexpr int columns(int bytes) const { return along ? 8 * lines : lines * (16 / bytes); }
  /// Partial sums of the warps.
  FLAME_BOTH constexpr int sharedBytes(int bytes, int products = 1) const {
    return along ? 0 : 8 * rows * products * columns(bytes) * 4;
  }
};

/// Blocks that share the keys of some queries (pipeline/KeySplits.h): of a launch no more than `blocks`, about as many as GPUs
/// have multiprocessors, each with `steps` steps of keys at least, and only where there are `manyKeys`.
struct KeySharing {
  static constexpr int blocks = 132, steps = 2, manyKeys = 1024;
  /// Elements of f32 that a block leaves of a row: `width` sums, the peak, the total, up to 16 bytes.
  FLAME_BOTH static constexpr int elements(int width) { return width + 4; }
};

/// Attention: a block computes `rows` queries by warpRows × warpKeys warps, over the keys in steps of `keys`, of which each
/// warp of a row takes its part. `depth` and `width`: sizes of a head of queries and keys, and of values, rounded up to
/// 16. With one stage nothing is fetched ahead: for keys that fit in a step. Up to `splits` blocks share the keys of some queries.
struct AttentionSchedule {
  int rows, keys, warpRows, warpKeys, depth, width, stages, splits = 1;

  FLAME_BOTH constexpr int threads() const { return 32 * warpRows * warpKeys; }
  /// Elements of a line in shared memory that holds `size` of 16 bits: lines of 2, 4 or a multiple of 8 chunks.
  FLAME_BOTH static constexpr int line(int size) { return size <= 16 ? 16 : size <= 32 ? 32 : (size + 63) / 64 * 64; }
  FLAME_BOTH constexpr int queryBytes() const { return rows * line(depth) * 2; }
  FLAME_BOTH constexpr int keyBytes() const { return keys * line(depth) * 2; }
  FLAME_BOTH constexpr int stageBytes() const { return keyBytes() + keys * line(width) * 2; }
  FLAME_BOTH constexpr int slabPitch() const { return width + 8; }
  FLAME_BOTH constexpr int slabBytes() const { return 16 * slabPitch() * 4; }
  /// Slabs of the warps and, where several share rows, their maxima and sums.
  FLAME_BOTH constexpr int resultBytes() const {
    return warpRows * warpKeys * (slabBytes() + (warpKeys > 1 ? rows / warpRows * 8 : 0));
  }
  FLAME_BOTH constexpr int sharedBytes() const { return larger(queryBytes() + stages * stageBytes(), resultBytes()); }
};

} // namespace flame
