// RUN: flame-opt %s --flame-assign-layout --split-input-file | FileCheck %s
// RUN: flame-opt %s --flame-assign-layout --flame-emit-cuda --split-input-file | FileCheck %s --check-prefix=CUDA

// What the second convolution reads is stored with channels last, and its weight turned once. The first one reads an image
// of three channels as it is; the result of the function keeps its order.
// CHECK-LABEL: @chain
// CHECK: %[[Y:.*]] = flame.region "conv"(%{{.*}}, %{{.*}}) : (tensor<1x3x16x16xf16>, tensor<16x3x3x3xf16>) -> tensor<1x16x16x16xf16>
// CHECK: %[[R:.*]] = flame.relu
// CHECK-NEXT: %[[T:.*]] = flame.transpose %[[R]] {perm = array<i64: 0, 2, 3, 1>}
// CHECK-NEXT: flame.yield %[[T]]
// CHECK: flame.region "conv"(%[[Y]], %[[V:.*]]) : (tensor<1x16x16x16xf16>, tensor<32x3x3x16xf16>) -> tensor<1x32x16x16xf16>
// CHECK: flame.transpose %{{.*}} {perm = array<i64: 0, 3, 1, 2>} : (tensor<1x16x16x16xf16>)
// CHECK: flame.transpose %{{.*}} {perm = array<i64: 0, 3, 1, 2>} : (tensor<32x3x3x16xf16>) -> tensor<32x16x3x3xf16>
// CHECK-NOT: flame.transpose
// CHECK: return
// The product is positions by channels where channels are stored last, channels by positions otherwise.
// CUDA-LABEL: // loop: transpose
// CUDA-LABEL: // conv: conv relu transpose
// CUDA: return row * 16 + column;
// CUDA: flame::Problem<int>{256, 16, 27},
// CUDA: flame::Gather<2,
// CUDA-LABEL: // conv: transpose transpose conv
// CUDA: flame::Problem<int>{32, 256, 144},
// CUDA-NEXT: flame::Plain<unsigned short, flame::Major::Depth, 16, int>{in1, 144},
// CUDA-NEXT: flame::GatherLast<2, unsigned short, int>{in0,
// CUDA-NEXT: {16, {16, 16}, {16, 16}, {3, 3}, {1, 1}, {1, 1}, {1, 1}}, 16},
func.func @chain(%x: tensor<1x3x16x16xf16>) -> tensor<1x32x16x16xf16> {
  %w = flame.weight {name = "w", ref = #flame.weight_ref<"w", 0, 864>, type = tensor<16x3x3x3xf16>} : () -> tensor<16x3x3x3xf16>
  %v = flame.weight {name = "v", ref = #flame.weight_ref<"w", 864, 9216>, type = tensor<32x16x3x3xf16>} : () -> tensor<32x16x3x3xf16>
  %0 = flame.region "conv"(%x, %w) : (tensor<1x3x16x16xf16>, tensor<16x3x3x3xf16>) -> tensor<1x16x16x16xf16> {
  ^bb0(%a: tensor<1x3x16x16xf16>, %c: tensor<16x3x3x3xf16>):
    %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
    %y = flame.conv %a, %c, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x3x16x16xf16>, tensor<16x3x3x3xf16>, tensor<4xi64>) -> tensor<1x16x16x16xf16>
    %r = flame.relu %y : (tensor<1x16x16x16xf16>) -> tensor<1x16x16x16xf16>
    flame.yield %r : tensor<1x16x16x16xf16>
  }
  %1 = flame.region "conv"(%0, %v) : (tensor<1x16x16x16xf16>, tensor<32x16x3x3xf16>) -> tensor<1x32x16x16xf16> {
  ^bb0(%a: tensor<1x16x16x16xf16>, %c: tensor<32x16x3x3xf16>):
    %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
    %y = flame.conv %a, %c, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x16x16x16xf16>, tensor<32x16x3x3xf16>, tensor<4xi64>) -> tensor<1x32x16x16xf16>
    flame.yield %y : tensor<1x32x16x16xf16>
  }
  return %1 : tensor<1x32x16x16xf16>
}

// -----

// f32 is multiplied as it lies; a weight that is computed in every run is not turned.
// CHECK-LABEL: @kept
// CHECK-NOT: flame.transpose
// CHECK: return
func.func @kept(%x: tensor<1x16x16x16xf32>, %z: tensor<1x16x16x16xf16>, %v: tensor<16x16x3x3xf16>) -> (tensor<1x16x16x16xf32>, tensor<1x16x16x16xf16>) {
  %w = flame.weight {name = "w", ref = #flame.weight_ref<"w", 0, 9216>, type = tensor<16x16x3x3xf32>} : () -> tensor<16x16x3x3xf32>
  %0 = flame.region "conv"(%x, %w) : (tensor<1x16x16x16xf32>, tensor<16x16x3x3xf32>) -> tensor<1x16x16x16xf32> {
  ^bb0(%a: tensor<1x16x16x16xf32>, %c: tensor<16x16x3x3xf32>):
    %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
    %y = flame.conv %a, %c, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x16x16x16xf32>, tensor<16x16x3x3xf32>, tensor<4xi64>) -> tensor<1x16x16x16xf32>
    flame.yield %y : tensor<1x16x16x16xf32>
  }
  %1 = flame.region "conv"(%z, %v) : (tensor<1x16x16x16xf16>, tensor<16x16x3x3xf16>) -> tensor<1x16x16x16xf16> {
  ^bb0(%a: tensor<1x16x16x16xf16>, %c: tensor<16x16x3x3xf16>):
    %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
    %y = flame.conv %a, %c, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x16x16x16xf16>, tensor<16x16x3x3xf16>, tensor<4xi64>) -> tensor<1x16x16x16xf16>
    flame.yield %y : tensor<1x16x16x16xf16>
  }
  return %0, %1 : tensor<1x16x16x16xf32>, tensor<1x16x16x16xf16>
}

// -----

// A weight that is computed in every run is turned where each of its elements is multiplied that often.
// CHECK-LABEL: @computed
// CHECK: %[[X:.*]] = flame.region "loop"(%arg0) : (tensor<1x16x64x64xf16>) -> tensor<1x64x64x16xf16>
// CHECK: %[[W:.*]] = flame.region "loop"(%arg1) : (tensor<16x16x3x3xf16>) -> tensor<16x3x3x16xf16>
// CHECK: flame.region "conv"(%[[X]], %[[W]])
func.func @computed(%x: tensor<1x16x64x64xf16>, %w: tensor<16x16x3x3xf16>) -> tensor<1x16x64x64xf16> {
  %0 = flame.region "conv"(%x, %w) : (tensor<1x16x64x64xf16>, tensor<16x16x3x3xf16>) -> tensor<1x16x64x64xf16> {
  ^bb0(%a: tensor<1x16x64x64xf16>, %c: tensor<16x16x3x3xf16>):
    %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
    %y = flame.conv %a, %c, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x16x64x64xf16>, tensor<16x16x3x3xf16>, tensor<4xi64>) -> tensor<1x16x64x64xf16>
    flame.yield %y : tensor<1x16x64x64xf16>
  }
  return %0 : tensor<1x16x64x64xf16>
}

// -----

// An image that comes with channels last is read as it is; what else reads the transposed one keeps that. A depthwise
// convolution reads it, too.
// CHECK-LABEL: @original
// CHECK: flame.region "loop"(%arg0) : (tensor<1x9x9x16xf16>) -> tensor<1x16x9x9xf16>
// CHECK: flame.region "conv"(%arg0, %arg1) : (tensor<1x9x9x16xf16>, tensor<16x3x3x16xf16>) -> tensor<1x9x9x16xf16>
// CHECK: flame.region "conv"(%arg0, %arg2) : (tensor<1x9x9x16xf16>, tensor<16x1x3x3xf16>)
// CUDA-LABEL: // loop: transpose
// CUDA-LABEL: // conv: transpose transpose conv transpose
// CUDA: flame::GatherLast<2, unsigned short, int>{in0,
// CUDA-LABEL: // conv: transpose conv
func.func @original(%x: tensor<1x9x9x16xf16>, %w: tensor<16x3x3x16xf16>, %d: tensor<16x1x3x3xf16>) -> (tensor<1x16x9x9xf16>, tensor<1x9x9x16xf16>, tensor<1x16x9x9xf16>) {
  %0 = flame.region "loop"(%x) : (tensor<1x9x9x16xf16>) -> tensor<1x16x9x9xf16> {
  ^bb0(%a: tensor<1x9x9x16xf16>):
    %t = flame.transpose %a {perm = array<i64: 0, 3, 1, 2>} : (tensor<1x9x9x16xf16>) -> tensor<1x16x9x9xf16>
    flame.yield %t : tensor<1x16x9x9xf16>
  }
  %1 = flame.region "loop"(%w) : (tensor<16x3x3x16xf16>) -> tensor<16x16x3x3xf16> {
  ^bb0(%a: tensor<16x3x3x16xf16>):
    %t = flame.transpose %a {perm = array<i64: 0, 3, 1, 2>} : (tensor<16x3x3x16xf16>) -> tensor<16x16x3x3xf16>
    flame.yield %t : tensor<16x16x3x3xf16>
  }
  %2 = flame.region "conv"(%0, %1) : (tensor<1x16x9x9xf16>, tensor<16x16x3x3xf16>) -> tensor<1x9x9x16xf16> {
  ^bb0(%a: tensor<1x16x9x9xf16>, %c: tensor<16x16x3x3xf16>):
    %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
    %y = flame.conv %a, %c, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x16x9x9xf16>, tensor<16x16x3x3xf16>, tensor<4xi64>) -> tensor<1x16x9x9xf16>
    %t = flame.transpose %y {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x16x9x9xf16>) -> tensor<1x9x9x16xf16>
    flame.yield %t : tensor<1x9x9x16xf16>
  }
  %3 = flame.region "conv"(%0, %d) : (tensor<1x16x9x9xf16>, tensor<16x1x3x3xf16>) -> tensor<1x16x9x9xf16> {
  ^bb0(%a: tensor<1x16x9x9xf16>, %c: tensor<16x1x3x3xf16>):
    %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
    %y = flame.conv %a, %c, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, groups = 16} : (tensor<1x16x9x9xf16>, tensor<16x1x3x3xf16>, tensor<4xi64>) -> tensor<1x16x9x9xf16>
    flame.yield %y : tensor<1x16x9x9xf16>
  }
  return %0, %2, %3 : tensor<1x16x9x9xf16>, tensor<1x9x9x16xf16>, tensor<1x16x9x9xf16>
}
