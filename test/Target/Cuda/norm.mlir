// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s

// A group of channels that streams through the grid. A chunk lies within a channel, so weight and bias are read by the chunk's
// number and not by the element's, before the row's numbers are waited for. Of these the deviation comes as its reciprocal, which meets the
// weight once for all neighbours.
// CHECK-LABEL: // row: cast reduce sub mul reduce add sqrt reciprocal mul cast mul add sigmoid mul
// CHECK: row_0(
// CHECK: = 1.0f / sqrtf({{.+}});
// CHECK: pipeline.handOver(
// CHECK: [[CHANNEL:n[0-9]+]] = {{n[0-9]+}} * 16 + {{n[0-9]+}} / 32768;
// CHECK: [[WEIGHT:v[0-9]+]] = in1{{\[}}[[CHANNEL]]];
// CHECK: [[BIAS:v[0-9]+]] = in2{{\[}}[[CHANNEL]]];
// CHECK: pipeline.awaitJoined(
// CHECK: [[RECIPROCAL:v[0-9]+]] = pipeline.number<float>({{.+}}, 1);
// CHECK: for (int [[SLOT:i[0-9]+]] = {{.+}} += 512)
// CHECK-NOT: in1
// CHECK: [[FACTOR:v[0-9]+]] = [[RECIPROCAL]] * flame_bf16_to_float([[WEIGHT]]);
// CHECK: [[ADDEND:v[0-9]+]] = flame_bf16_to_float([[BIAS]]);
// CHECK: (flame_bf16_to_float({{v[0-9]+}}[7]) - {{v[0-9]+}}) * [[FACTOR]] + [[ADDEND]];
func.func @group_norm(%x: tensor<1x32x16x512x512xbf16>, %w: tensor<32x16x1x1xbf16>, %b: tensor<32x16x1x1xbf16>) -> tensor<1x32x16x512x512xbf16> {
  %0 = flame.region "row"(%x, %w, %b) : (tensor<1x32x16x512x512xbf16>, tensor<32x16x1x1xbf16>, tensor<32x16x1x1xbf16>) -> tensor<1x32x16x512x512xbf16> {
  ^bb0(%a: tensor<1x32x16x512x512xbf16>, %s: tensor<32x16x1x1xbf16>, %t: tensor<32x16x1x1xbf16>):
    %epsilon = flame.constant {value = dense<1.0e-5> : tensor<f32>} : () -> tensor<f32>
    %1 = flame.cast %a {to = f32} : (tensor<1x32x16x512x512xbf16>) -> tensor<1x32x16x512x512xf32>
    %2 = flame.reduce %1 {axes = array<i64: 2, 3, 4>, kind = "mean"} : (tensor<1x32x16x512x512xf32>) -> tensor<1x32x1x1x1xf32>
    %3 = flame.sub %1, %2 : (tensor<1x32x16x512x512xf32>, tensor<1x32x1x1x1xf32>) -> tensor<1x32x16x512x512xf32>
    %4 = flame.mul %3, %3 : (tensor<1x32x16x512x512xf32>, tensor<1x32x16x512x512xf32>) -> tensor<1x32x16x512x512xf32>
    %5 = flame.reduce %4 {axes = array<i64: 2, 3, 4>, kind = "mean"} : (tensor<1x32x16x512x512xf32>) -> tensor<1x32x1x1x1xf32>
    %6 = flame.add %5, %epsilon : (tensor<1x32x1x1x1xf32>, tensor<f32>) -> tensor<1x32x1x1x1xf32>
    %7 = flame.sqrt %6 : (tensor<1x32x1x1x1xf32>) -> tensor<1x32x1x1x1xf32>
    %8 = flame.reciprocal %7 : (tensor<1x32x1x1x1xf32>) -> tensor<1x32x1x1x1xf32>
    %9 = flame.mul %3, %8 : (tensor<1x32x16x512x512xf32>, tensor<1x32x1x1x1xf32>) -> tensor<1x32x16x512x512xf32>
    %10 = flame.cast %9 {excess, to = bf16} : (tensor<1x32x16x512x512xf32>) -> tensor<1x32x16x512x512xbf16>
    %11 = flame.mul %10, %s : (tensor<1x32x16x512x512xbf16>, tensor<32x16x1x1xbf16>) -> tensor<1x32x16x512x512xbf16>
    %12 = flame.add %11, %t : (tensor<1x32x16x512x512xbf16>, tensor<32x16x1x1xbf16>) -> tensor<1x32x16x512x512xbf16>
    %13 = flame.sigmoid %12 : (tensor<1x32x16x512x512xbf16>) -> tensor<1x32x16x512x512xbf16>
    %14 = flame.mul %12, %13 : (tensor<1x32x16x512x512xbf16>, tensor<1x32x16x512x512xbf16>) -> tensor<1x32x16x512x512xbf16>
    flame.yield %14 : tensor<1x32x16x512x512xbf16>
  }
  return %0 : tensor<1x32x16x512x512xbf16>
}

// Rows of much more than the second-level cache holds, which keeps what is written and not yet in memory.
// CHECK-LABEL: // row: reduce sub
// CHECK: row_1(
// CHECK-NOT: flame_load<
// CHECK: flame_load_stream<8>(in0 +
// CHECK: flame_store<8>(out0 +
func.func @centre(%x: tensor<32768x8192xbf16>) -> tensor<32768x8192xbf16> {
  %0 = flame.region "row"(%x) : (tensor<32768x8192xbf16>) -> tensor<32768x8192xbf16> {
  ^bb0(%a: tensor<32768x8192xbf16>):
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "mean"} : (tensor<32768x8192xbf16>) -> tensor<32768x1xbf16>
    %2 = flame.sub %a, %1 : (tensor<32768x8192xbf16>, tensor<32768x1xbf16>) -> tensor<32768x8192xbf16>
    flame.yield %2 : tensor<32768x8192xbf16>
  }
  return %0 : tensor<32768x8192xbf16>
}
