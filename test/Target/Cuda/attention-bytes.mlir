// RUN: flame-opt %s --flame-widen-weights --flame-form-regions=attention --split-input-file | FileCheck %s
// RUN: flame-opt %s --flame-widen-weights --flame-form-regions=attention --flame-emit-cuda=wgmma --split-input-file | FileCheck %s --check-prefix=CUDA

// Queries, keys, weights and values of 8 bits: the second product is one of 16, of weights as they were before they were rounded, and of values that
// the kernel which rounds them stores so. What the weights were divided by becomes a factor of the result.
// CHECK-LABEL: @both
// CHECK: %[[V:.*]] = flame.region "loop"(%{{.*}}) : (tensor<2x90x64xf32>) -> tensor<2x90x64xf16> {
// CHECK: flame.div
// CHECK-NEXT: %[[Q:.*]] = flame.cast %{{.*}} {to = f8E4M3FN}
// CHECK-NEXT: %[[H:.*]] = flame.cast %[[Q]] {to = f16}
// CHECK-NEXT: flame.yield %[[H]]
// CHECK: flame.region "attention"(%{{.*}}, %{{.*}}, %[[V]]) : (tensor<2x70x64xf8E4M3FN>, tensor<2x90x64xf8E4M3FN>, tensor<2x90x64xf16>) -> tensor<2x70x64xbf16> {
// CHECK: flame.matmul %{{.*}}, %{{.*}} {transpose_y = true, type = f32} : (tensor<2x70x64xf8E4M3FN>, tensor<2x90x64xf8E4M3FN>)
// CHECK: flame.div
// CHECK-NEXT: %[[W:.*]] = flame.cast %{{.*}} {to = f16} : (tensor<2x70x90xf32>) -> tensor<2x70x90xf16>
// CHECK-NEXT: flame.matmul %[[W]], %{{.*}} {type = f32} : (tensor<2x70x90xf16>, tensor<2x90x64xf16>) -> tensor<2x70x64xf32>
// CHECK-NOT: flame.region
// CUDA-LABEL: // loop: div cast cast
// CUDA-LABEL: // attention: matmul
// CUDA: const auto k = [&](const int side, const int depth) -> unsigned short {
// CUDA: return flame_float_to_half(flame_e4m3_to_float(
// CUDA: return flame_float_to_bf16(sum * 256.0f * 0.00390625f * 0.5f);
// CUDA: flame::wgmmaAttention<flame::WgmmaAttentionSchedule{{.*}}, flame::Arithmetic::F16, flame::Major::Depth, flame::Major::Side, flame::Arithmetic::E4M3>(
// CUDA: flame::attention<flame::AttentionSchedule{{.*}}, flame::Arithmetic::F16>(
// CUDA-NEXT: flame::computed<unsigned short, flame::Major::Depth>(q),
// CUDA-NEXT: flame::computed<unsigned short, flame::Major::Depth>(k),
// CUDA-NEXT: flame::Plain<unsigned short, flame::Major::Side, 16, int>{in2
func.func @both(%q: tensor<2x70x64xf8E4M3FN>, %k: tensor<2x90x64xf8E4M3FN>, %x: tensor<2x90x64xf32>) -> tensor<2x70x64xbf16> {
  %s = flame.constant {value = dense<0.125> : tensor<f32>} : () -> tensor<f32>
  %sv = flame.constant {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %sw = flame.constant {value = dense<0.00390625> : tensor<f32>} : () -> tensor<f32>
  %xs = flame.div %x, %sv : (tensor<2x90x64xf32>, tensor<f32>) -> tensor<2x90x64xf32>
  %v = flame.cast %xs {to = f8E4M3FN} : (tensor<2x90x64xf32>) -> tensor<2x90x64xf8E4M3FN>
  %p = flame.matmul %q, %k {transpose_y = true, type = f32} : (tensor<2x70x64xf8E4M3FN>, tensor<2x90x64xf8E4M3FN>) -> tensor<2x70x90xf32>
  %c = flame.mul %p, %s : (tensor<2x70x90xf32>, tensor<f32>) -> tensor<2x70x90xf32>
  %m = flame.reduce %c {axes = array<i64: 2>, kind = "max"} : (tensor<2x70x90xf32>) -> tensor<2x70x1xf32>
  %d = flame.sub %c, %m : (tensor<2x70x90xf32>, tensor<2x70x1xf32>) -> tensor<2x70x90xf32>
  %e = flame.exp %d : (tensor<2x70x90xf32>) -> tensor<2x70x90xf32>
  %z = flame.reduce %e {axes = array<i64: 2>, kind = "sum"} : (tensor<2x70x90xf32>) -> tensor<2x70x1xf32>
  %r = flame.reciprocal %z : (tensor<2x70x1xf32>) -> tensor<2x70x1xf32>
  %w = flame.mul %e, %r : (tensor<2x70x90xf32>, tensor<2x70x1xf32>) -> tensor<2x70x90xf32>
  %ws = flame.div %w, %sw : (tensor<2x70x90xf32>, tensor<f32>) -> tensor<2x70x90xf32>
  %w8 = flame.cast %ws {to = f8E4M3FN} : (tensor<2x70x90xf32>) -> tensor<2x70x90xf8E4M3FN>
  %y = flame.matmul %w8, %v {type = f32} : (tensor<2x70x90xf8E4M3FN>, tensor<2x90x64xf8E4M3FN>) -> tensor<2x70x64xf32>
  %yw = flame.mul %y, %sw : (tensor<2x70x64xf32>, tensor<f32>) -> tensor<2x70x64xf32>
  %yv = flame.mul %yw, %sv : (tensor<2x70x64xf32>, tensor<f32>) -> tensor<2x70x64xf32>
  %o = flame.cast %yv {to = bf16} : (tensor<2x70x64xf32>) -> tensor<2x70x64xbf16>
  return %o : tensor<2x70x64xbf16>
}

// -----

// Values that are there in 8 bits are copied; the weights' scale is a factor. Heads that share values share the copy.
// CHECK-LABEL: @heads
// CHECK: flame.region "loop"(%{{.*}}) : (tensor<96x2x64xf8E5M2>) -> tensor<2x96x64xf16> {
// CHECK-NEXT: ^bb
// CHECK-NEXT: flame.cast
// CHECK-NEXT: flame.transpose
// CHECK: flame.region "attention"
// CHECK: flame.expand
// CHECK: flame.matmul %{{.*}}, %{{.*}} {type = f32} : (tensor<2x3x70x96xf16>, tensor<2x3x96x64xf16>)
// CUDA-LABEL: // attention: {{.*}}matmul
// CUDA: return sum * 1024.0f;
// CUDA: flame::wgmmaAttention<flame::WgmmaAttentionSchedule{{.*}}, flame::Arithmetic::F16, flame::Major::Depth, flame::Major::Side, flame::Arithmetic::E5M2>(
// CUDA-SAME: flame::Heads{(int)3, (int)2, (int)1},
// CUDA-NEXT: {map0, {1, 1, 0}},
// CUDA-NEXT: {map1, {1, 1, 0}},
// CUDA-NEXT: {map2, {0, 1, 0}}, nullptr,
func.func @heads(%q: tensor<2x3x70x64xf8E5M2>, %k: tensor<2x3x96x64xf8E5M2>, %v: tensor<96x2x64xf8E5M2>) -> tensor<2x3x70x64xf32> {
  %sw = flame.constant {value = dense<1024.0> : tensor<f32>} : () -> tensor<f32>
  %one = flame.constant {value = dense<[2, 1, 96, 64]> : tensor<4xi64>} : () -> tensor<4xi64>
  %three = flame.constant {value = dense<[2, 3, 96, 64]> : tensor<4xi64>} : () -> tensor<4xi64>
  %vt = flame.transpose %v {perm = array<i64: 1, 0, 2>} : (tensor<96x2x64xf8E5M2>) -> tensor<2x96x64xf8E5M2>
  %v1 = flame.reshape %vt, %one : (tensor<2x96x64xf8E5M2>, tensor<4xi64>) -> tensor<2x1x96x64xf8E5M2>
  %v3 = flame.expand %v1, %three : (tensor<2x1x96x64xf8E5M2>, tensor<4xi64>) -> tensor<2x3x96x64xf8E5M2>
  %c = flame.matmul %q, %k {transpose_y = true, type = f32} : (tensor<2x3x70x64xf8E5M2>, tensor<2x3x96x64xf8E5M2>) -> tensor<2x3x70x96xf32>
  %m = flame.reduce %c {axes = array<i64: 3>, kind = "max"} : (tensor<2x3x70x96xf32>) -> tensor<2x3x70x1xf32>
  %d = flame.sub %c, %m : (tensor<2x3x70x96xf32>, tensor<2x3x70x1xf32>) -> tensor<2x3x70x96xf32>
  %e = flame.exp %d : (tensor<2x3x70x96xf32>) -> tensor<2x3x70x96xf32>
  %z = flame.reduce %e {axes = array<i64: 3>, kind = "sum"} : (tensor<2x3x70x96xf32>) -> tensor<2x3x70x1xf32>
  %r = flame.reciprocal %z : (tensor<2x3x70x1xf32>) -> tensor<2x3x70x1xf32>
  %w = flame.mul %e, %r : (tensor<2x3x70x96xf32>, tensor<2x3x70x1xf32>) -> tensor<2x3x70x96xf32>
  %ws = flame.mul %w, %sw : (tensor<2x3x70x96xf32>, tensor<f32>) -> tensor<2x3x70x96xf32>
  %w8 = flame.cast %ws {to = f8E5M2} : (tensor<2x3x70x96xf32>) -> tensor<2x3x70x96xf8E5M2>
  %y = flame.matmul %w8, %v3 {type = f32} : (tensor<2x3x70x96xf8E5M2>, tensor<2x3x96x64xf8E5M2>) -> tensor<2x3x70x64xf32>
  return %y : tensor<2x3x70x64xf32>
}

// -----

// Weights that the model does not round to 8 bits.
// CHECK-LABEL: @scores_alone
// CHECK: flame.region "attention"
// CUDA-LABEL: // attention: matmul
// CUDA: flame::wgmmaAttention<flame::WgmmaAttentionSchedule{{.*}}, flame::Arithmetic::BF16, flame::Major::Depth, flame::Major::Side, flame::Arithmetic::E4M3>(
// CUDA: flame::attention<flame::AttentionSchedule{{.*}}, flame::Arithmetic::BF16>(
func.func @scores_alone(%q: tensor<2x70x64xf8E4M3FN>, %k: tensor<2x90x64xf8E4M3FN>, %v: tensor<2x90x64xbf16>) -> tensor<2x70x64xbf16> {
  %c = flame.matmul %q, %k {transpose_y = true, type = f32} : (tensor<2x70x64xf8E4M3FN>, tensor<2x90x64xf8E4M3FN>) -> tensor<2x70x90xf32>
  %m = flame.reduce %c {axes = array<i64: 2>, kind = "max"} : (tensor<2x70x90xf32>) -> tensor<2x70x1xf32>
  %d = flame.sub %c, %m : (tensor<2x70x90xf32>, tensor<2x70x1xf32>) -> tensor<2x70x90xf32>
  %e = flame.exp %d : (tensor<2x70x90xf32>) -> tensor<2x70x90xf32>
  %z = flame.reduce %e {axes = array<i64: 2>, kind = "sum"} : (tensor<2x70x90xf32>) -> tensor<2x70x1xf32>
  %r = flame.reciprocal %z : (tensor<2x70x1xf32>) -> tensor<2x70x1xf32>
  %w = flame.mul %e, %r : (tensor<2x70x90xf32>, tensor<2x70x1xf32>) -> tensor<2x70x90xf32>
  %w16 = flame.cast %w {to = bf16} : (tensor<2x70x90xf32>) -> tensor<2x70x90xbf16>
  %y = flame.matmul %w16, %v : (tensor<2x70x90xbf16>, tensor<2x90x64xbf16>) -> tensor<2x70x64xbf16>
  return %y : tensor<2x70x64xbf16>
}

// -----

// A scale by which a weight of 1 becomes 1000, more than the type has: the model means 448.
// CHECK-LABEL: @saturates
// CHECK-NOT: "attention"
// CHECK: return
// CUDA-NOT: // attention
func.func @saturates(%q: tensor<2x70x64xf8E4M3FN>, %k: tensor<2x90x64xf8E4M3FN>, %v: tensor<2x90x64xf8E4M3FN>) -> tensor<2x70x64xf32> {
  %sw = flame.constant {value = dense<0.001> : tensor<f32>} : () -> tensor<f32>
  %c = flame.matmul %q, %k {transpose_y = true, type = f32} : (tensor<2x70x64xf8E4M3FN>, tensor<2x90x64xf8E4M3FN>) -> tensor<2x70x90xf32>
  %m = flame.reduce %c {axes = array<i64: 2>, kind = "max"} : (tensor<2x70x90xf32>) -> tensor<2x70x1xf32>
  %d = flame.sub %c, %m : (tensor<2x70x90xf32>, tensor<2x70x1xf32>) -> tensor<2x70x90xf32>
  %e = flame.exp %d : (tensor<2x70x90xf32>) -> tensor<2x70x90xf32>
  %z = flame.reduce %e {axes = array<i64: 2>, kind = "sum"} : (tensor<2x70x90xf32>) -> tensor<2x70x1xf32>
  %r = flame.reciprocal %z : (tensor<2x70x1xf32>) -> tensor<2x70x1xf32>
  %w = flame.mul %e, %r : (tensor<2x70x90xf32>, tensor<2x70x1xf32>) -> tensor<2x70x90xf32>
  %ws = flame.div %w, %sw : (tensor<2x70x90xf32>, tensor<f32>) -> tensor<2x70x90xf32>
  %w8 = flame.cast %ws {to = f8E4M3FN} : (tensor<2x70x90xf32>) -> tensor<2x70x90xf8E4M3FN>
  %y = flame.matmul %w8, %v {type = f32} : (tensor<2x70x90xf8E4M3FN>, tensor<2x90x64xf8E4M3FN>) -> tensor<2x70x64xf32>
  return %y : tensor<2x70x64xf32>
}
