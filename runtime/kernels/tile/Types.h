//===- Types.h - storage and sums of what is multiplied ----------------------------------------------------------===//
#pragma once
#include "ptx/Device.h"
#include "schedule/Schedule.h"

namespace flame {

template <Arithmetic type> struct TypeOf;
template <> struct TypeOf<Arithmetic::F16> {
  using Storage = unsigned short;
  using Sum = float;
};
template <> struct TypeOf<Arithmetic::BF16> {
  using Storage = unsigned short;
  using Sum = float;
};
template <> struct TypeOf<Arithmetic::TF32> {
  using Storage = float;
  using Sum = float;
};
template <> struct TypeOf<Arithmetic::F32> {
  using Storage = float;
  using Sum = float;
};
template <> struct TypeOf<Arithmetic::F64> {
  using Storage = double;
  using Sum = double;
};
// Unsigned, so that sums wrap.
template <> struct TypeOf<Arithmetic::I32> {
  using Storage = unsigned int;
  using Sum = unsigned int;
};
template <> struct TypeOf<Arithmetic::I64> {
  using Storage = unsigned long long;
  using Sum = unsigned long long;
};
template <> struct TypeOf<Arithmetic::I8> {
  using Storage = unsigned char;
  using Sum = int;
};
template <> struct TypeOf<Arithmetic::E4M3> {
  using Storage = unsigned char;
  using Sum = float;
};
template <> struct TypeOf<Arithmetic::E5M2> {
  using Storage = unsigned char;
  using Sum = float;
};
template <> struct TypeOf<Arithmetic::U8> {
  using Storage = unsigned char;
  using Sum = int;
};

/// 16 bytes that are loaded and stored at once.
struct alignas(16) Vector {
  unsigned words[4];
};
/// As many values as given, aligned as one.
template <typename T, int count> struct alignas(sizeof(T) * count) Pack { T values[count]; };

/// Products that an operand y is for: two, if a tile's columns are those of two matrices that meet the same x.
template <typename Operand> constexpr int productsOf = 1;
template <typename Operand>
  requires requires { Operand::products; }
constexpr int productsOf<Operand> = Operand::products;

/// Sizes of a product; `Index` holds every position in its operands.
template <typename Index> struct Problem { Index rows, columns, depth; };

template <typename Index> FLAME_DEVICE constexpr Index least(Index x, Index y) { return x < y ? x : y; }

/// 0 <= i < count, which is not negative itself.
template <typename Index> FLAME_DEVICE constexpr bool isIndex(Index i, Index count) {
  if constexpr (sizeof(Index) == 4)
    return (unsigned)i < (unsigned)count;
  else
    return (unsigned long long)i < (unsigned long long)count;
}

/// Where a block's tile begins. Blocks go down eight tiles of rows before they go on to the next columns, so that those
/// in flight at one time share operands in the second-level cache.
template <typename Index> struct TilePosition { Index row, column; };
template <typename Index>
FLAME_DEVICE TilePosition<Index> tilePosition(const Problem<Index> &p, unsigned block, int tileRows, int tileColumns) {
  unsigned down = (unsigned)((p.rows + tileRows - 1) / tileRows),
           across = (unsigned)((p.columns + tileColumns - 1) / tileColumns);
  constexpr unsigned group = 8;
  unsigned tile = block % (down * across), band = tile / (group * across),
           inBand = tile % (group * across);
  unsigned height = least(down - band * group, group);
  return {(Index)(band * group + inBand % height) * tileRows, (Index)(inBand / height) * tileColumns};
}

/// Blocks that have the tiles of their numbers, or a block that was given one.
struct ByBlock {};
template <typename Index>
FLAME_DEVICE TilePosition<Index> placed(ByBlock, const Problem<Index> &p, unsigned block, int tileRows, int tileColumns) {
  return tilePosition(p, block, tileRows, tileColumns);
}
template <typename Index>
FLAME_DEVICE TilePosition<Index> placed(TilePosition<Index> at, const Problem<Index> &, unsigned, int, int) {
  return at;
}

} // namespace flame
