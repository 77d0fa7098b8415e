// RUN: flame-opt %s --flame-sink-conv-transposes --split-input-file | FileCheck %s
// RUN: flame-opt %s --flame-sink-conv-transposes --flame-form-regions=channels-last --flame-assign-layout --split-input-file | FileCheck %s --check-prefix=REGIONS

// Images and weights come with channels last: one kernel, which reads and stores them so.
// CHECK-LABEL: @residual
// CHECK: %[[C:.*]] = flame.conv
// CHECK: %[[B:.*]] = flame.reshape %{{.*}} : (tensor<24xf16>, tensor<3xi64>) -> tensor<24x1x1xf16>
// CHECK: %[[S:.*]] = flame.add %[[C]], %[[B]] : (tensor<2x24x9x11xf16>, tensor<24x1x1xf16>) -> tensor<2x24x9x11xf16>
// CHECK: %[[R:.*]] = flame.transpose %arg3 {perm = array<i64: 0, 3, 1, 2>}
// CHECK: %[[A:.*]] = flame.add %[[S]], %[[R]] : (tensor<2x24x9x11xf16>, tensor<2x24x9x11xf16>)
// CHECK: %[[Y:.*]] = flame.relu %[[A]]
// CHECK: %[[T:.*]] = flame.transpose %[[Y]] {perm = array<i64: 0, 2, 3, 1>} : (tensor<2x24x9x11xf16>) -> tensor<2x9x11x24xf16>
// CHECK: return %[[T]]
// REGIONS-LABEL: @residual
// REGIONS-NOT: flame.region "loop"
// REGIONS: flame.region "conv"(%{{.*}}) : (tensor<2x9x11x16xf16>, tensor<24x3x3x16xf16>, tensor<24x1x1xf16>, tensor<2x9x11x24xf16>) -> tensor<2x9x11x24xf16>
// REGIONS-NOT: flame.region
// REGIONS: return
func.func @residual(%x: tensor<2x9x11x16xf16>, %w: tensor<24x3x3x16xf16>, %b: tensor<24xf16>, %r: tensor<2x9x11x24xf16>) -> tensor<2x9x11x24xf16> {
  %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
  %xt = flame.transpose %x {perm = array<i64: 0, 3, 1, 2>} : (tensor<2x9x11x16xf16>) -> tensor<2x16x9x11xf16>
  %wt = flame.transpose %w {perm = array<i64: 0, 3, 1, 2>} : (tensor<24x3x3x16xf16>) -> tensor<24x16x3x3xf16>
  %c = flame.conv %xt, %wt, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<2x16x9x11xf16>, tensor<24x16x3x3xf16>, tensor<4xi64>) -> tensor<2x24x9x11xf16>
  %t = flame.transpose %c {perm = array<i64: 0, 2, 3, 1>} : (tensor<2x24x9x11xf16>) -> tensor<2x9x11x24xf16>
  %s = flame.add %t, %b : (tensor<2x9x11x24xf16>, tensor<24xf16>) -> tensor<2x9x11x24xf16>
  %a = flame.add %s, %r : (tensor<2x9x11x24xf16>, tensor<2x9x11x24xf16>) -> tensor<2x9x11x24xf16>
  %y = flame.relu %a : (tensor<2x9x11x24xf16>) -> tensor<2x9x11x24xf16>
  return %y : tensor<2x9x11x24xf16>
}

// -----

// Nothing is gained where the convolution's result is wanted in both orders, or something that has no counterpart is added.
// CHECK-LABEL: @kept
// CHECK: flame.conv
// CHECK-NEXT: %[[T:.*]] = flame.transpose
// CHECK-NEXT: %[[Y:.*]] = flame.relu %[[T]]
// CHECK: flame.conv
// CHECK-NEXT: %[[U:.*]] = flame.transpose
// CHECK-NEXT: %[[Z:.*]] = flame.add %[[U]], %arg2
func.func @kept(%x: tensor<1x8x5x5xf16>, %w: tensor<8x8x1x1xf16>, %b: tensor<5x8xf16>) -> (tensor<1x8x5x5xf16>, tensor<1x5x5x8xf16>, tensor<1x5x5x8xf16>) {
  %pads = flame.constant {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
  %c = flame.conv %x, %w, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x8x5x5xf16>, tensor<8x8x1x1xf16>, tensor<4xi64>) -> tensor<1x8x5x5xf16>
  %t = flame.transpose %c {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x8x5x5xf16>) -> tensor<1x5x5x8xf16>
  %y = flame.relu %t : (tensor<1x5x5x8xf16>) -> tensor<1x5x5x8xf16>
  %d = flame.conv %x, %w, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x8x5x5xf16>, tensor<8x8x1x1xf16>, tensor<4xi64>) -> tensor<1x8x5x5xf16>
  %u = flame.transpose %d {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x8x5x5xf16>) -> tensor<1x5x5x8xf16>
  %z = flame.add %u, %b : (tensor<1x5x5x8xf16>, tensor<5x8xf16>) -> tensor<1x5x5x8xf16>
  return %c, %y, %z : tensor<1x8x5x5xf16>, tensor<1x5x5x8xf16>, tensor<1x5x5x8xf16>
}
