// RUN: flame-opt %s --flame-norm-channels-last --split-input-file | FileCheck %s
// RUN: flame-opt %s --flame-norm-channels-last --flame-form-regions --split-input-file | FileCheck %s --check-prefix=REGIONS

// Two kernels read the image, in the order of its channels.
// CHECK-LABEL: @norm
// CHECK: %[[C:.*]] = flame.conv
// CHECK: %[[T:.*]] = flame.transpose %[[C]] {perm = array<i64: 0, 2, 3, 1>} : (tensor<2x32x64x80xbf16>) -> tensor<2x64x80x32xbf16>
// CHECK: %[[W:.*]] = flame.cast %[[T]]
// CHECK: %[[P:.*]] = flame.pad %[[W]]
// CHECK: flame.slice %[[P]]
// CHECK: %[[S:.*]] = flame.slice %[[W]]
// CHECK: %[[D:.*]] = flame.sub %[[W]], %[[S]]
// CHECK: flame.reduce %[[D]] {axes = array<i64: 1, 2>{{.*}} : (tensor<2x64x80x32xf32>) -> tensor<2x1x1x32xf32>
// CHECK: flame.reduce %{{.*}} {axes = array<i64: 1, 2>
// CHECK: flame.reduce %{{.*}} {axes = array<i64: 2>{{.*}} : (tensor<2x4x8xf32>) -> tensor<2x4x1xf32>
// CHECK: flame.reduce %{{.*}} {axes = array<i64: 2>
// CHECK: %[[U:.*]] = flame.transpose %[[C]] {perm = array<i64: 0, 2, 3, 1>}
// CHECK: %[[V:.*]] = flame.cast %[[U]]
// CHECK: %[[F:.*]] = flame.mul %[[V]], %{{.*}} : (tensor<2x64x80x32xf32>, tensor<2x1x1x32xf32>)
// CHECK: %[[A:.*]] = flame.add %[[F]]
// CHECK: %[[N:.*]] = flame.cast %[[A]]
// CHECK: %[[Y:.*]] = flame.silu %[[N]]
// CHECK: %[[R:.*]] = flame.transpose %[[Y]] {perm = array<i64: 0, 3, 1, 2>}
// CHECK: flame.conv %[[R]]
//
// One kernel for both statistics, one for factor and addend, one for the result.
// REGIONS-LABEL: @norm
// REGIONS: flame.region "conv"
// REGIONS: flame.region "loop"
// REGIONS: flame.pad
// REGIONS-COUNT-2: flame.reduce
// REGIONS: flame.yield %{{.*}}, %{{.*}} : tensor<2x1x1x32xf32>, tensor<2x1x1x32xf32>
// REGIONS: flame.region "row"
// REGIONS: flame.yield %{{.*}}, %{{.*}} : tensor<2x4x8xf32>, tensor<2x4x8xf32>
// REGIONS: flame.region "loop"
// REGIONS: flame.silu
// REGIONS: flame.yield %{{.*}} : tensor<2x32x64x80xbf16>
// REGIONS-NOT: flame.region "loop"
// REGIONS: flame.region "conv"
func.func @norm(%x: tensor<2x32x64x80xbf16>) -> tensor<2x32x64x80xbf16> {
  %pads = flame.constant {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
  %epsilon = flame.constant {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %split = flame.constant {value = dense<[2, 4, 8, 64, 80]> : tensor<5xi64>} : () -> tensor<5xi64>
  %back = flame.constant {value = dense<[2, 32, 64, 80]> : tensor<4xi64>} : () -> tensor<4xi64>
  %w = flame.weight {name = "w", ref = #flame.weight_ref<"f", 0, 2048>, type = tensor<32x32x1x1xbf16>} : () -> tensor<32x32x1x1xbf16>
  %scale = flame.weight {name = "scale", ref = #flame.weight_ref<"f", 2048, 64>, type = tensor<4x8x1x1xbf16>} : () -> tensor<4x8x1x1xbf16>
  %bias = flame.weight {name = "bias", ref = #flame.weight_ref<"f", 2112, 64>, type = tensor<4x8x1x1xbf16>} : () -> tensor<4x8x1x1xbf16>
  %c = flame.conv %x, %w, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<2x32x64x80xbf16>, tensor<32x32x1x1xbf16>, tensor<4xi64>) -> tensor<2x32x64x80xbf16>
  %g = flame.reshape %c, %split : (tensor<2x32x64x80xbf16>, tensor<5xi64>) -> tensor<2x4x8x64x80xbf16>
  %f = flame.cast %g {to = f32} : (tensor<2x4x8x64x80xbf16>) -> tensor<2x4x8x64x80xf32>
  %m = flame.reduce %f {axes = array<i64: 2, 3, 4>, kind = "mean"} : (tensor<2x4x8x64x80xf32>) -> tensor<2x4x1x1x1xf32>
  %d = flame.sub %f, %m : (tensor<2x4x8x64x80xf32>, tensor<2x4x1x1x1xf32>) -> tensor<2x4x8x64x80xf32>
  %q = flame.mul %d, %d : (tensor<2x4x8x64x80xf32>, tensor<2x4x8x64x80xf32>) -> tensor<2x4x8x64x80xf32>
  %v = flame.reduce %q {axes = array<i64: 2, 3, 4>, kind = "mean"} : (tensor<2x4x8x64x80xf32>) -> tensor<2x4x1x1x1xf32>
  %e = flame.add %v, %epsilon : (tensor<2x4x1x1x1xf32>, tensor<f32>) -> tensor<2x4x1x1x1xf32>
  %r = flame.sqrt %e : (tensor<2x4x1x1x1xf32>) -> tensor<2x4x1x1x1xf32>
  %i = flame.reciprocal %r : (tensor<2x4x1x1x1xf32>) -> tensor<2x4x1x1x1xf32>
  %n = flame.mul %d, %i : (tensor<2x4x8x64x80xf32>, tensor<2x4x1x1x1xf32>) -> tensor<2x4x8x64x80xf32>
  %h = flame.cast %n {excess, to = bf16} : (tensor<2x4x8x64x80xf32>) -> tensor<2x4x8x64x80xbf16>
  %s = flame.mul %h, %scale : (tensor<2x4x8x64x80xbf16>, tensor<4x8x1x1xbf16>) -> tensor<2x4x8x64x80xbf16>
  %b = flame.add %s, %bias : (tensor<2x4x8x64x80xbf16>, tensor<4x8x1x1xbf16>) -> tensor<2x4x8x64x80xbf16>
  %a = flame.silu %b : (tensor<2x4x8x64x80xbf16>) -> tensor<2x4x8x64x80xbf16>
  %y = flame.reshape %a, %back : (tensor<2x4x8x64x80xbf16>, tensor<4xi64>) -> tensor<2x32x64x80xbf16>
  %z = flame.conv %y, %w, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<2x32x64x80xbf16>, tensor<32x32x1x1xbf16>, tensor<4xi64>) -> tensor<2x32x64x80xbf16>
  return %z : tensor<2x32x64x80xbf16>
}

// -----

// Nobody wants channels last: groups stay rows.
// CHECK-LABEL: @rows
// CHECK-NOT: flame.transpose
// CHECK: return
func.func @rows(%x: tensor<2x32x64x80xbf16>, %scale: tensor<4x8x1x1xbf16>, %bias: tensor<4x8x1x1xbf16>) -> tensor<2x32x64x80xbf16> {
  %epsilon = flame.constant {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %split = flame.constant {value = dense<[2, 4, 8, 64, 80]> : tensor<5xi64>} : () -> tensor<5xi64>
  %back = flame.constant {value = dense<[2, 32, 64, 80]> : tensor<4xi64>} : () -> tensor<4xi64>
  %c = flame.relu %x : (tensor<2x32x64x80xbf16>) -> tensor<2x32x64x80xbf16>
  %g = flame.reshape %c, %split : (tensor<2x32x64x80xbf16>, tensor<5xi64>) -> tensor<2x4x8x64x80xbf16>
  %f = flame.cast %g {to = f32} : (tensor<2x4x8x64x80xbf16>) -> tensor<2x4x8x64x80xf32>
  %m = flame.reduce %f {axes = array<i64: 2, 3, 4>, kind = "mean"} : (tensor<2x4x8x64x80xf32>) -> tensor<2x4x1x1x1xf32>
  %d = flame.sub %f, %m : (tensor<2x4x8x64x80xf32>, tensor<2x4x1x1x1xf32>) -> tensor<2x4x8x64x80xf32>
  %q = flame.mul %d, %d : (tensor<2x4x8x64x80xf32>, tensor<2x4x8x64x80xf32>) -> tensor<2x4x8x64x80xf32>
  %v = flame.reduce %q {axes = array<i64: 2, 3, 4>, kind = "mean"} : (tensor<2x4x8x64x80xf32>) -> tensor<2x4x1x1x1xf32>
  %e = flame.add %v, %epsilon : (tensor<2x4x1x1x1xf32>, tensor<f32>) -> tensor<2x4x1x1x1xf32>
  %r = flame.sqrt %e : (tensor<2x4x1x1x1xf32>) -> tensor<2x4x1x1x1xf32>
  %i = flame.reciprocal %r : (tensor<2x4x1x1x1xf32>) -> tensor<2x4x1x1x1xf32>
  %n = flame.mul %d, %i : (tensor<2x4x8x64x80xf32>, tensor<2x4x1x1x1xf32>) -> tensor<2x4x8x64x80xf32>
  %h = flame.cast %n {to = bf16} : (tensor<2x4x8x64x80xf32>) -> tensor<2x4x8x64x80xbf16>
  %s = flame.mul %h, %scale : (tensor<2x4x8x64x80xbf16>, tensor<4x8x1x1xbf16>) -> tensor<2x4x8x64x80xbf16>
  %b = flame.add %s, %bias : (tensor<2x4x8x64x80xbf16>, tensor<4x8x1x1xbf16>) -> tensor<2x4x8x64x80xbf16>
  %y = flame.reshape %b, %back : (tensor<2x4x8x64x80xbf16>, tensor<4xi64>) -> tensor<2x32x64x80xbf16>
  return %y : tensor<2x32x64x80xbf16>
}
