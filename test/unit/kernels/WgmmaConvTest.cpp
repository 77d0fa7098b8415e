//===- WgmmaConvTest.cpp - convolutions by wgmma, emulated --------------------------------------------------------===//
//
// Against the plain definition, of small whole numbers, so that sums are exact: tiles that overhang, strides, dilations,
// padding of different sizes, groups, channels that don't fill a line, one to three dims, windows as rows and as columns.
//
//===------------------------------------------------------------------------------------------------------------------===//
#include "impl/WgmmaConv.h"
#include "Guarded.h"
#include <array>
#include <gtest/gtest.h>
#include <random>
#include <vector>

using namespace flame;

namespace {

constexpr auto F16 = Arithmetic::F16, BF16 = Arithmetic::BF16;

template <int rank> struct Shape {
  int images, channels, outChannels;
  std::array<int, rank> in, kernel, stride, dilation, padBegin, padEnd;
  int groups = 1;

  int out(int d) const {
    return (in[d] + padBegin[d] + padEnd[d] - dilation[d] * (kernel[d] - 1) - 1) / stride[d] + 1;
  }
};

int tiles(int size, int tile) { return (size + tile - 1) / tile; }

/// How a result is stored: by the copy engine, or by the kernel itself.
/// How results are stored: by the copy engine, with the body for every element or in loops, or by the kernel.
enum class By { Engine, Repeated, Kernel };

template <WgmmaSchedule s, Arithmetic type, bool windowsAreRows = true, By by = By::Engine, int rank>
void check(const Shape<rank> &c, int blocks = 3) {
  using T = unsigned short;
  constexpr int perLine = 64;
  int area = 1, positions = 1, taps = 1;
  for (int d = 0; d < rank; ++d)
    area *= c.in[d], positions *= c.out(d), taps *= c.kernel[d];
  const int per = c.channels / c.groups, outPer = c.outChannels / c.groups, windows = c.images * positions;
  std::mt19937 random(1);
  auto number = [&] { return int(random() % 9) - 4; };
  Guarded<T> x(size_t(c.images) * area * c.channels), w(size_t(c.outChannels) * taps * per),
      result(size_t(windows) * c.outChannels);
  for (size_t i = 0; i < x.count; ++i)
    x[i] = narrow<type>(float(number()));
  for (size_t i = 0; i < w.count; ++i)
    w[i] = narrow<type>(float(number()));
  for (size_t i = 0; i < result.count; ++i)
    result[i] = 0x7fff;

  WindowShape<rank> shape{per, c.channels, {}, {}, {}, {}, {}, {}};
  TensorMap xMap{(unsigned char *)x.data, 2, rank + 2, {c.channels}, {2}, {perLine, windowsAreRows ? s.rows : s.columns}, true};
  long long stride = 2ll * c.channels;
  for (int d = rank - 1, i = 1; d >= 0; --d, ++i) {
    shape.in[d] = c.in[d], shape.out[d] = c.out(d), shape.kernel[d] = c.kernel[d], shape.stride[d] = c.stride[d];
    shape.dilation[d] = c.dilation[d], shape.pad[d] = c.padBegin[d];
    xMap.dims[i] = c.in[d], xMap.strides[i] = stride, xMap.steps[i - 1] = c.stride[d];
    xMap.lower[i - 1] = -c.padBegin[d], xMap.upper[i - 1] = c.padEnd[d] - (c.kernel[d] - 1) * c.dilation[d];
    stride *= c.in[d];
  }
  for (int i = 1; i <= rank; ++i)
    xMap.dims[i] = std::max(xMap.dims[i], 1ll); // as the runtime has it
  xMap.dims[rank + 1] = c.images, xMap.strides[rank + 1] = stride;
  const TensorMap wMap{(unsigned char *)w.data, 2, 3, {per, c.outChannels, taps}, {2, 2ll * taps * per, 2ll * per},
                       {perLine, windowsAreRows ? s.columns : s.rows, 1}};
  // The result is [windows, groups, channels of a group], or [groups, channels of a group, windows].
  TensorMap map{(unsigned char *)result.data, 2, 3, {outPer, windows, c.groups}, {2, 2ll * c.outChannels, 2ll * outPer}, {perLine, 16, 1}};
  if (!windowsAreRows)
    map = {(unsigned char *)result.data, 2, 3, {windows, outPer, c.groups}, {2, 2ll * windows, 2ll * outPer * windows}, {perLine, 16, 1}};
  auto placeOf = [&](int group, int channel, int window) {
    return windowsAreRows ? window * c.outChannels + group * outPer + channel : (group * outPer + channel) * windows + window;
  };
  auto bias = [](int channel, int window) { return float(channel % 3 - window % 2); };
  const int depth = taps * tiles(per, perLine) * perLine;
  const Problem<int> p = windowsAreRows ? Problem<int>{windows, outPer, depth} : Problem<int>{outPer, windows, depth};
  emulator::launch(blocks, s.threads(), s.sharedBytes(type, Major::Depth, Major::Depth), [&] {
    auto body = [&](int row, int column, float sum) {
      return narrow<type>(sum + (windowsAreRows ? bias(column, row) : bias(row, column)));
    };
    auto makeEpilogue = [&](int group) {
      if constexpr (by != By::Kernel)
        return tensorStore<T, by == By::Repeated>(map, body);
      else
        return flame::store<true>(result.data, body, [&, group](int row, int column) {
          return windowsAreRows ? placeOf(group, column, row) : placeOf(group, row, column);
        });
    };
    const WindowOperand<rank> data{xMap, shape};
    const TapOperand<windowsAreRows> weight{wMap, per, outPer};
    if constexpr (windowsAreRows)
      wgmmaGemm<s, type, Major::Depth, Major::Depth>(p, c.groups, data, weight, makeEpilogue);
    else
      wgmmaGemm<s, type, Major::Depth, Major::Depth>(p, c.groups, weight, data, makeEpilogue);
  });

  for (int window = 0; window < windows; ++window)
    for (int m = 0; m < c.outChannels; ++m) {
      float sum = bias(m % outPer, window);
      for (int tap = 0; tap < taps; ++tap) {
        int image = window, rest = tap, at = 0, pitch = 1;
        bool inside = true;
        for (int d = rank - 1; d >= 0; --d) {
          const int position = image % c.out(d) * c.stride[d] - c.padBegin[d] + rest % c.kernel[d] * c.dilation[d];
          inside &= position >= 0 && position < c.in[d];
          at += position * pitch, pitch *= c.in[d];
          image /= c.out(d), rest /= c.kernel[d];
        }
        for (int k = 0; inside && k < per; ++k)
          sum += widen<type>(x[(size_t(image) * area + at) * c.channels + m / outPer * per + k]) *
                 widen<type>(w[(size_t(m) * taps + tap) * per + k]);
      }
      ASSERT_EQ(result[placeOf(m / outPer, m % outPer, window)], narrow<type>(sum)) << window << ", " << m;
    }
}

TEST(WgmmaConv, Planes) {
  const Shape<2> same{2, 64, 72, {9, 11}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}};
  check<WgmmaSchedule{128, 64, 64, 3, 2}, F16>(same);
  check<WgmmaSchedule{64, 64, 64, 3, 1}, BF16, true, By::Kernel>(same);
  check<WgmmaSchedule{64, 64, 64, 3, 1}, BF16, true, By::Repeated>(same);
  check<WgmmaSchedule{128, 160, 64, 3, 2}, BF16, true, By::Repeated>(same);
  check<WgmmaSchedule{64, 64, 128, 2, 1}, BF16>(same); // two lines a step, nine lines in all
  check<WgmmaSchedule{64, 64, 64, 3, 2, true}, F16>(same, 2);
  check<WgmmaSchedule{24, 64, 64, 3, 1}, F16>(Shape<2>{1, 64, 8, {4, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}});
}

TEST(WgmmaConv, ChannelsThatDoNotFillALine) {
  check<WgmmaSchedule{64, 64, 64, 3, 1}, F16>(Shape<2>{3, 8, 64, {7, 6}, {3, 2}, {1, 1}, {1, 1}, {0, 1}, {2, 0}});
  check<WgmmaSchedule{64, 64, 128, 2, 1}, BF16>(Shape<2>{1, 72, 64, {12, 9}, {2, 3}, {1, 1}, {1, 1}, {1, 1}, {0, 1}});
}

TEST(WgmmaConv, StridesDilationsPadding) {
  constexpr WgmmaSchedule s{64, 64, 64, 3, 1};
  check<s, F16>(Shape<2>{2, 16, 64, {10, 12}, {2, 3}, {2, 1}, {1, 2}, {1, 0}, {0, 3}});
  check<s, F16>(Shape<2>{2, 16, 64, {13, 9}, {3, 3}, {2, 2}, {1, 1}, {0, 0}, {1, 1}});
  check<s, BF16>(Shape<2>{1, 16, 64, {20, 23}, {7, 7}, {3, 4}, {1, 1}, {3, 3}, {3, 3}});
  check<s, BF16>(Shape<2>{3, 64, 64, {9, 8}, {1, 1}, {2, 3}, {1, 1}, {0, 0}, {0, 0}});
  // The last windows leave out the end of x.
  check<s, F16>(Shape<2>{2, 8, 64, {11, 10}, {2, 2}, {3, 4}, {1, 1}, {0, 0}, {0, 0}});
}

TEST(WgmmaConv, LinesAndVolumes) {
  constexpr WgmmaSchedule s{64, 64, 64, 3, 1};
  check<s, F16>(Shape<1>{3, 24, 64, {50}, {5}, {3}, {2}, {4}, {1}});
  check<s, BF16>(Shape<3>{2, 8, 64, {5, 6, 4}, {3, 2, 3}, {1, 2, 1}, {1, 1, 2}, {1, 0, 2}, {1, 1, 2}});
}

TEST(WgmmaConv, NothingButPadding) {
  check<WgmmaSchedule{64, 64, 64, 3, 1}, F16>(Shape<2>{2, 8, 64, {0, 5}, {2, 3}, {1, 1}, {1, 1}, {2, 1}, {1, 1}});
}

TEST(WgmmaConv, Groups) {
  constexpr WgmmaSchedule s{64, 64, 64, 3, 1};
  check<s, F16>(Shape<2>{2, 128, 144, {6, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}, 2});
  check<s, BF16, true, By::Kernel>(Shape<2>{1, 192, 24, {9, 9}, {3, 3}, {2, 2}, {1, 1}, {1, 1}, {1, 1}, 3});
}

TEST(WgmmaConv, WindowsAsColumns) {
  const Shape<2> c{1, 40, 70, {10, 12}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}};
  check<WgmmaSchedule{64, 64, 64, 3, 1}, F16, false>(c);
  check<WgmmaSchedule{128, 128, 64, 3, 2}, BF16, false, By::Kernel>(c);
  check<WgmmaSchedule{8, 128, 64, 3, 1}, BF16, false>(Shape<2>{1, 40, 4, {10, 12}, {3, 3}, {1, 1}, {1, 1}, {1, 1}, {1, 1}});
}

} // namespace
