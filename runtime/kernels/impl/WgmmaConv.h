//===- WgmmaConv.h - operands of a convolution for wgmma ----------------------------------------------------------===//
//
// A convolution is a product of windows of x [images, positions…, channels] and the weight [output channels, taps…,
// channels]; either may be the rows. The inner dim goes tap by tap through the channels of a group, in lines of 128 bytes; the last
// line of a tap is filled up by zeros, so that the product's depth is taps × whole lines. In several groups that last line
// would hold channels of the next group, so those of a group are whole lines. Groups are the product's batch.
//
//===------------------------------------------------------------------------------------------------------------------===//
#pragma once
#include "impl/WgmmaGemm.h"

namespace flame {

/// The lines of the inner dim, in their order. Behind the last tap there are none.
template <int perLine> struct TapLines {
  int perTap, tap, line; // lines of a tap; where we are

  FLAME_DEVICE TapLines(int channels, int inner) : perTap((channels + perLine - 1) / perLine) {
    tap = inner / perLine / perTap;
    line = inner / perLine % perTap;
  }
  FLAME_DEVICE int channel() const { return line * perLine; }
  /// True at the first line of a tap.
  FLAME_DEVICE bool next() {
    if (++line < perTap)
      return false;
    line = 0;
    ++tap;
    return true;
  }
};

/// Sizes of a convolution over `rank` dims, the innermost last; literals in the kernel's text where they are known.
template <int rank> struct WindowShape {
  int channels, allChannels; // of a group, of x
  int in[rank], out[rank], kernel[rank], stride[rank], dilation[rank], pad[rank];
};

/// x, by a map of windows.
template <int rank> struct WindowOperand {
  static constexpr bool early = false;
  const TensorMap &map;
  WindowShape<rank> shape;

  template <typename Tile> struct Steps {
    static_assert(Tile::major == Major::Depth, "channels are contiguous");
    const TensorMap &map;
    const WindowShape<rank> &x;
    TapLines<Tile::perLine> lines;
    int block, first, taps; // of the cluster; channel of the group; elements of the kernel, none where x has none
    int at[rank + 2], offset[rank]; // as loadWindows takes them

    FLAME_DEVICE Steps(const WindowOperand &operand, int window, int inner, int group, int block)
        : map(operand.map), x(operand.shape), lines(x.channels, inner), block(block), first(group * x.channels), taps(1) {
      if constexpr (Tile::blocks > 1)
        window += block * Tile::part;
#pragma unroll
      for (int d = rank - 1; d >= 0; --d) {
        at[rank - d] = window % x.out[d] * x.stride[d] - x.pad[d];
        window /= x.out[d];
        taps *= x.in[d] == 0 ? 0 : x.kernel[d];
      }
      at[rank + 1] = window;
      goToTap();
    }
    FLAME_DEVICE void goToTap() {
      int rest = lines.tap;
#pragma unroll
      for (int d = rank - 1; d >= 0; --d) {
        offset[rank - 1 - d] = rest % x.kernel[d] * x.dilation[d];
        rest /= x.kernel[d];
      }
    }
    FLAME_DEVICE void load(SharedAddress to, SharedAddress barrier) {
#pragma unroll
      for (int box = 0; box < Tile::boxes; ++box) {
        // What no weight is multiplied by must not be read as NaN.
        at[0] = lines.tap < taps ? first + lines.channel() : x.allChannels;
        if constexpr (Tile::blocks == 1)
          loadWindows<rank>(map, to + box * Tile::boxBytes, barrier, at, offset);
        else
          castWindows<rank>(map, to + box * Tile::boxBytes + block * Tile::part * 128, barrier, at, offset,
                            (unsigned short)((1 << Tile::blocks) - 1));
        if (lines.next())
          goToTap();
      }
    }
  };
  template <typename Tile> FLAME_DEVICE Steps<Tile> steps(int window, int inner, int group, int block) const {
    return {*this, window, inner, group, block};
  }
};

/// The weight, by a tensor map of rank 3: channels, output channels of all groups, taps. `constant`: no kernel of a run writes it.
template <bool constant = false> struct TapOperand {
  static constexpr bool early = constant;
  const TensorMap &map;
  int channels, outChannels; // of a group

  template <typename Tile> struct Steps {
    static_assert(Tile::major == Major::Depth, "channels are contiguous");
    const TensorMap &map;
    TapLines<Tile::perLine> lines;
    int line, rank;

    FLAME_DEVICE void load(SharedAddress to, SharedAddress barrier) {
#pragma unroll
      for (int box = 0; box < Tile::boxes; ++box) {
        Tile::loadBox(map, to, barrier, box, lines.channel(), line, {lines.tap}, rank);
        lines.next();
      }
    }
    /// Goes on to the next step without a copy.
    FLAME_DEVICE void skip() {
#pragma unroll
      for (int box = 0; box < Tile::boxes; ++box)
        lines.next();
    }
  };
  template <typename Tile> FLAME_DEVICE Steps<Tile> steps(int line, int inner, int group, int rank) const {
    return {map, {channels, inner}, line + group * outChannels, rank};
  }
};

} // namespace flame
