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

// A norm over groups of channels between two convolutions: moments of channels, of groups, and the rest, all with channels last. Nothing
// but the weights is turned, and the number of images may be unknown.
// CHECK-LABEL: @norm
// CHECK: %[[X:.*]] = flame.region "conv"({{.*}} -> tensor<?x8x8x64xf16>
// CHECK-NOT: flame.reshape %[[X]]
// CHECK: %[[M:.*]]:2 = flame.region "loop"(%[[X]], %{{.*}}) : (tensor<?x8x8x64xf16>, tensor<4xi64>) -> (tensor<?x1x1x64xf32>, tensor<?x1x1x64xf32>)
// CHECK: flame.reduce %{{.*}} {axes = array<i64: 1, 2>, kind = "mean"}
// CHECK: %[[A:.*]] = flame.reshape %[[M]]#0, {{.*}} -> tensor<?x32x2x1x1xf32>
// CHECK: %[[G:.*]]:2 = flame.region "loop"(%[[A]],
// CHECK: flame.expand %{{.*}} -> tensor<?x32x2x1x1xf32>
// CHECK: %[[C:.*]] = flame.reshape %[[G]]#0, {{.*}} -> tensor<?x64x1x1xf32>
// CHECK: %[[S:.*]] = flame.reshape %{{.*}} -> tensor<64x1x1xf16>
// CHECK: %[[Y:.*]] = flame.region "loop"(%[[X]], %[[S]], %[[C]], %{{.*}}) : (tensor<?x8x8x64xf16>, tensor<64x1x1xf16>, tensor<?x64x1x1xf32>, tensor<?x64x1x1xf32>) -> tensor<?x8x8x64xf16>
// CHECK-NOT: flame.reduce
// CHECK: flame.silu
// CHECK: flame.region "conv"(%[[Y]], %{{.*}}, %[[X]])
// CUDA-LABEL: // conv: {{.*}}transpose
// CUDA-NOT: // loop: transpose{{$}}
// CUDA: return %
func.func @norm(%x: tensor<?x64x8x8xf16>, %scale: tensor<32x2x1x1xf16>) -> tensor<?x64x8x8xf16> {
  %w = flame.weight {name = "w", ref = #flame.weight_ref<"w", 0, 73728>, type = tensor<64x64x3x3xf16>} : () -> tensor<64x64x3x3xf16>
  %shape = flame.shape_of %x : (tensor<?x64x8x8xf16>) -> tensor<4xi64>
  %zero = flame.constant {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %one = flame.constant {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %rest = flame.constant {value = dense<[32, 2, 8, 8]> : tensor<4xi64>} : () -> tensor<4xi64>
  %images = flame.slice %shape, %zero, %one, %one : (tensor<4xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %rows = flame.concat %images, %rest {axis = 0 : i64} : (tensor<1xi64>, tensor<4xi64>) -> tensor<5xi64>
  %0 = flame.region "conv"(%x, %w) : (tensor<?x64x8x8xf16>, tensor<64x64x3x3xf16>) -> tensor<?x64x8x8xf16> {
  ^bb0(%a: tensor<?x64x8x8xf16>, %c: tensor<64x64x3x3xf16>):
    %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
    %y = flame.conv %a, %c, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<?x64x8x8xf16>, tensor<64x64x3x3xf16>, tensor<4xi64>) -> tensor<?x64x8x8xf16>
    flame.yield %y : tensor<?x64x8x8xf16>
  }
  %1 = flame.reshape %0, %rows : (tensor<?x64x8x8xf16>, tensor<5xi64>) -> tensor<?x32x2x8x8xf16>
  %2 = flame.region "row"(%1, %scale) : (tensor<?x32x2x8x8xf16>, tensor<32x2x1x1xf16>) -> tensor<?x32x2x8x8xf16> {
  ^bb0(%a: tensor<?x32x2x8x8xf16>, %s: tensor<32x2x1x1xf16>):
    %e = flame.constant {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
    %b = flame.cast %a {to = f32} : (tensor<?x32x2x8x8xf16>) -> tensor<?x32x2x8x8xf32>
    %m = flame.reduce %b {axes = array<i64: 2, 3, 4>, kind = "mean"} : (tensor<?x32x2x8x8xf32>) -> tensor<?x32x1x1x1xf32>
    %d = flame.sub %b, %m : (tensor<?x32x2x8x8xf32>, tensor<?x32x1x1x1xf32>) -> tensor<?x32x2x8x8xf32>
    %q = flame.mul %d, %d : (tensor<?x32x2x8x8xf32>, tensor<?x32x2x8x8xf32>) -> tensor<?x32x2x8x8xf32>
    %v = flame.reduce %q {axes = array<i64: 2, 3, 4>, kind = "mean"} : (tensor<?x32x2x8x8xf32>) -> tensor<?x32x1x1x1xf32>
    %f = flame.add %v, %e : (tensor<?x32x1x1x1xf32>, tensor<f32>) -> tensor<?x32x1x1x1xf32>
    %g = flame.sqrt %f : (tensor<?x32x1x1x1xf32>) -> tensor<?x32x1x1x1xf32>
    %h = flame.div %d, %g : (tensor<?x32x2x8x8xf32>, tensor<?x32x1x1x1xf32>) -> tensor<?x32x2x8x8xf32>
    %i = flame.cast %h {excess, to = f16} : (tensor<?x32x2x8x8xf32>) -> tensor<?x32x2x8x8xf16>
    %j = flame.mul %i, %s : (tensor<?x32x2x8x8xf16>, tensor<32x2x1x1xf16>) -> tensor<?x32x2x8x8xf16>
    %k = flame.silu %j : (tensor<?x32x2x8x8xf16>) -> tensor<?x32x2x8x8xf16>
    flame.yield %k : tensor<?x32x2x8x8xf16>
  }
  %3 = flame.reshape %2, %shape : (tensor<?x32x2x8x8xf16>, tensor<4xi64>) -> tensor<?x64x8x8xf16>
  %4 = flame.region "conv"(%3, %w, %0) : (tensor<?x64x8x8xf16>, tensor<64x64x3x3xf16>, tensor<?x64x8x8xf16>) -> tensor<?x64x8x8xf16> {
  ^bb0(%a: tensor<?x64x8x8xf16>, %c: tensor<64x64x3x3xf16>, %r: tensor<?x64x8x8xf16>):
    %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
    %y = flame.conv %a, %c, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<?x64x8x8xf16>, tensor<64x64x3x3xf16>, tensor<4xi64>) -> tensor<?x64x8x8xf16>
    %z = flame.add %y, %r : (tensor<?x64x8x8xf16>, tensor<?x64x8x8xf16>) -> tensor<?x64x8x8xf16>
    flame.yield %z : tensor<?x64x8x8xf16>
  }
  return %4 : tensor<?x64x8x8xf16>
}
