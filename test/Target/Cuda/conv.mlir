// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s
// Convolutions as products: the weight by a matrix that is gathered from x.

// CHECK-LABEL: // conv: conv add
// CHECK: const auto body = [&](const int row, const int column, const float sum) -> unsigned short {
// CHECK: in2[row]
// CHECK: const auto place = [&](const int row, const int column) -> int {
// CHECK-NEXT: return (column / 784 * 128 + row) * 784 + column % 784;
// CHECK: flame::gemm<flame::MmaSchedule{{.*}}, flame::Arithmetic::F16>(flame::Problem<int>{128, 1568, 576},
// CHECK-NEXT: flame::Plain<unsigned short, flame::Major::Depth, 16, int>{in1, 576},
// CHECK-NEXT: flame::Gather<2, unsigned short, int>{in0,
// CHECK-NEXT: {64, {56, 56}, {28, 28}, {3, 3}, {2, 2}, {1, 1}, {1, 1}}},
// CHECK-NEXT: flame::store<true>(out0, body, place));
func.func @gathered(%x: tensor<2x64x56x56xf16>, %w: tensor<128x64x3x3xf16>, %b: tensor<128x1x1xf16>) -> tensor<2x128x28x28xf16> {
  %0 = flame.region "conv"(%x, %w, %b) : (tensor<2x64x56x56xf16>, tensor<128x64x3x3xf16>, tensor<128x1x1xf16>) -> tensor<2x128x28x28xf16> {
  ^bb0(%a: tensor<2x64x56x56xf16>, %c: tensor<128x64x3x3xf16>, %d: tensor<128x1x1xf16>):
    %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
    %4 = flame.conv %a, %c, %pads {strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>} : (tensor<2x64x56x56xf16>, tensor<128x64x3x3xf16>, tensor<4xi64>) -> tensor<2x128x28x28xf16>
    %5 = flame.add %4, %d : (tensor<2x128x28x28xf16>, tensor<128x1x1xf16>) -> tensor<2x128x28x28xf16>
    flame.yield %5 : tensor<2x128x28x28xf16>
  }
  return %0 : tensor<2x128x28x28xf16>
}

// A kernel of one element reads x as it is, a matrix an image.
// CHECK-LABEL: // conv: conv
// CHECK: flame::simtGemm<flame::SimtSchedule{{.*}}, flame::Arithmetic::F32>(flame::Problem<int>{32, 64, 16},
// CHECK-NEXT: flame::Plain<float, flame::Major::Depth, 16, int>{in1, 16},
// CHECK-NEXT: flame::Plain<float, flame::Major::Side, 16, int>{in0 + (n{{[0-9]+}} * 1024), 64},
func.func @pointwise(%x: tensor<3x16x8x8xf32>, %w: tensor<32x16x1x1xf32>) -> tensor<3x32x8x8xf32> {
  %0 = flame.region "conv"(%x, %w) : (tensor<3x16x8x8xf32>, tensor<32x16x1x1xf32>) -> tensor<3x32x8x8xf32> {
  ^bb0(%a: tensor<3x16x8x8xf32>, %c: tensor<32x16x1x1xf32>):
    %pads = flame.constant {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
    %4 = flame.conv %a, %c, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<3x16x8x8xf32>, tensor<32x16x1x1xf32>, tensor<4xi64>) -> tensor<3x32x8x8xf32>
    flame.yield %4 : tensor<3x32x8x8xf32>
  }
  return %0 : tensor<3x32x8x8xf32>
}
