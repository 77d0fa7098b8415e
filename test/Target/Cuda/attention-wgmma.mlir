// RUN: flame-opt %s --flame-form-regions=attention --flame-emit-cuda=wgmma --split-input-file | FileCheck %s
// RUN: flame-opt %s --flame-form-regions=attention --flame-emit-cuda --split-input-file | FileCheck %s --check-prefix=WITHOUT
// Attention for sm_90a: operands and result by tensor maps with the dims of the batch, one kernel with two bodies.

// WITHOUT-NOT: wgmmaAttention
// WITHOUT-NOT: TensorMap

// Heads lie inside of positions, in operands and result. Functions look which head their block is at.
// CHECK-LABEL: // attention: {{.*}}matmul
// CHECK: __launch_bounds__(FLAME_IF_WGMMA(384, 128), 1)
// CHECK: const __grid_constant__ flame::TensorMap map3) {
// CHECK: int head = (int)(
// CHECK: const auto score = [&](const int row, const int column, const float product) -> float {
// CHECK-NEXT: = head;
// CHECK-NEXT: in{{[0-9]+}}[{{.*}}1024 + column]
// CHECK: #if FLAME_HAS_WGMMA
// CHECK-NEXT: flame::wgmmaAttention<flame::WgmmaAttentionSchedule{128, {{[0-9]+}}, 64, 64, 2, {{[0-9]}}, 1}, flame::Arithmetic::F16, flame::Major::Depth, flame::Major::Side>(flame::AttentionProblem{(int)1024, (int)1024, (int)64, (int)64}, flame::Heads{(int)12, (int)2, (int)1},
// CHECK-NEXT: {map0, {1, 1, 0}},
// CHECK-NEXT: {map1, {1, 1, 0}},
// CHECK-NEXT: {map2, {1, 1, 0}}, nullptr,
// CHECK-NEXT: [&](int at) { head = at; return flame::scores(1.44269502f, score); },
// CHECK-NEXT: [&](int at) { head = at; return flame::tensorStore<unsigned short>(map3, body); });
// CHECK-NEXT: #else
// CHECK-NEXT: flame::attention<
// CHECK: #endif
// CHECK: dims = ["64", "1024", "12", "2", "1"], offset = "0", strides = ["1536", "128", "1572864", "1536"], type = f16
func.func @heads(%q: tensor<2x1024x12x64xf16>, %k: tensor<2x1024x12x64xf16>, %v: tensor<2x1024x12x64xf16>, %mask: tensor<2x1x1x1024xf16>) -> tensor<2x1024x12x64xf16> {
  %0 = flame.transpose %q {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x1024x12x64xf16>) -> tensor<2x12x1024x64xf16>
  %1 = flame.transpose %k {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x1024x12x64xf16>) -> tensor<2x12x1024x64xf16>
  %2 = flame.transpose %v {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x1024x12x64xf16>) -> tensor<2x12x1024x64xf16>
  %4 = flame.matmul %0, %1 {transpose_y = true} : (tensor<2x12x1024x64xf16>, tensor<2x12x1024x64xf16>) -> tensor<2x12x1024x1024xf16>
  %5 = flame.add %4, %mask : (tensor<2x12x1024x1024xf16>, tensor<2x1x1x1024xf16>) -> tensor<2x12x1024x1024xf16>
  %7 = flame.reduce %5 {axes = array<i64: 3>, kind = "max"} : (tensor<2x12x1024x1024xf16>) -> tensor<2x12x1024x1xf16>
  %8 = flame.sub %5, %7 : (tensor<2x12x1024x1024xf16>, tensor<2x12x1024x1xf16>) -> tensor<2x12x1024x1024xf16>
  %9 = flame.exp %8 : (tensor<2x12x1024x1024xf16>) -> tensor<2x12x1024x1024xf16>
  %10 = flame.reduce %9 {axes = array<i64: 3>, kind = "sum"} : (tensor<2x12x1024x1024xf16>) -> tensor<2x12x1024x1xf16>
  %11 = flame.div %9, %10 : (tensor<2x12x1024x1024xf16>, tensor<2x12x1024x1xf16>) -> tensor<2x12x1024x1024xf16>
  %12 = flame.matmul %11, %2 : (tensor<2x12x1024x1024xf16>, tensor<2x12x1024x64xf16>) -> tensor<2x12x1024x64xf16>
  %13 = flame.transpose %12 {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x12x1024x64xf16>) -> tensor<2x1024x12x64xf16>
  return %13 : tensor<2x1024x12x64xf16>
}

// -----

// The log-sum-exp of the scores leaves by a function of its own, in both generations; the copy engine still stores the result. As it is
// spelled, it is NaN for a row that sees nothing.
// CHECK-LABEL: // attention: {{.*}}log add matmul
// CHECK: float *__restrict__ out1
// CHECK: const auto logSum = [&](const int row, const float number) {
// CHECK: out1[{{.*}}] = {{.*}} == {{.*}} ? {{.*}} : number;
// CHECK: flame::wgmmaAttention<
// CHECK: [&](int at) { head = at; return flame::tensorStore<unsigned short>(map3, body); },
// CHECK-NEXT: flame::SharedKeys{1}, nullptr, flame::totals(logSum));
// CHECK: flame::attention<
// CHECK: flame::SharedKeys{1}, 0, flame::totals(logSum));
func.func @log_sum(%q: tensor<24x1024x64xf16>, %k: tensor<24x1024x64xf16>, %v: tensor<24x1024x64xf16>) -> (tensor<24x1024x64xf16>, tensor<24x1024x1xf32>) {
  %0 = flame.matmul %q, %k {transpose_y = true, type = f32} : (tensor<24x1024x64xf16>, tensor<24x1024x64xf16>) -> tensor<24x1024x1024xf32>
  %1 = flame.reduce %0 {axes = array<i64: 2>, kind = "max"} : (tensor<24x1024x1024xf32>) -> tensor<24x1024x1xf32>
  %2 = flame.sub %0, %1 : (tensor<24x1024x1024xf32>, tensor<24x1024x1xf32>) -> tensor<24x1024x1024xf32>
  %3 = flame.exp %2 : (tensor<24x1024x1024xf32>) -> tensor<24x1024x1024xf32>
  %4 = flame.reduce %3 {axes = array<i64: 2>, kind = "sum"} : (tensor<24x1024x1024xf32>) -> tensor<24x1024x1xf32>
  %5 = flame.div %3, %4 : (tensor<24x1024x1024xf32>, tensor<24x1024x1xf32>) -> tensor<24x1024x1024xf32>
  %6 = flame.cast %5 {to = f16} : (tensor<24x1024x1024xf32>) -> tensor<24x1024x1024xf16>
  %7 = flame.matmul %6, %v : (tensor<24x1024x1024xf16>, tensor<24x1024x64xf16>) -> tensor<24x1024x64xf16>
  %8 = flame.log %4 : (tensor<24x1024x1xf32>) -> tensor<24x1024x1xf32>
  %9 = flame.add %1, %8 : (tensor<24x1024x1xf32>, tensor<24x1024x1xf32>) -> tensor<24x1024x1xf32>
  return %7, %9 : tensor<24x1024x64xf16>, tensor<24x1024x1xf32>
}

// -----

// Keys and values of one head for all, keys whose lines run along the keys; any number of queries; results that the kernel stores
// by itself, since they are narrower than a line.
// CHECK-LABEL: // attention: matmul
// CHECK: #if FLAME_HAS_WGMMA
// CHECK-NEXT: flame::wgmmaAttention<flame::WgmmaAttentionSchedule{{.*}}, flame::Arithmetic::BF16, flame::Major::Side, flame::Major::Side>(
// CHECK-NEXT: {map0, {1, 0, 0}},
// CHECK-NEXT: {map1, {0, 0, 0}},
// CHECK-NEXT: {map2, {0, 0, 0}}, nullptr,
// CHECK-NEXT: flame::scores(
// CHECK-NEXT: return flame::store<true>(out0, body, place); });
func.func @shared(%q: tensor<8x?x32xbf16>, %k: tensor<1x32x512xbf16>, %v: tensor<1x512x48xbf16>) -> tensor<8x?x48xbf16> {
  %4 = flame.matmul %q, %k : (tensor<8x?x32xbf16>, tensor<1x32x512xbf16>) -> tensor<8x?x512xbf16>
  %7 = flame.reduce %4 {axes = array<i64: 2>, kind = "max"} : (tensor<8x?x512xbf16>) -> tensor<8x?x1xbf16>
  %8 = flame.sub %4, %7 : (tensor<8x?x512xbf16>, tensor<8x?x1xbf16>) -> tensor<8x?x512xbf16>
  %9 = flame.exp %8 : (tensor<8x?x512xbf16>) -> tensor<8x?x512xbf16>
  %10 = flame.reduce %9 {axes = array<i64: 2>, kind = "sum"} : (tensor<8x?x512xbf16>) -> tensor<8x?x1xbf16>
  %11 = flame.div %9, %10 : (tensor<8x?x512xbf16>, tensor<8x?x1xbf16>) -> tensor<8x?x512xbf16>
  %12 = flame.matmul %11, %v : (tensor<8x?x512xbf16>, tensor<1x512x48xbf16>) -> tensor<8x?x48xbf16>
  return %12 : tensor<8x?x48xbf16>
}

// -----

// Few queries over many keys: blocks share the keys, as many as there are multiprocessors for all heads.
// CHECK-LABEL: // attention: matmul
// CHECK: float *__restrict__ scratch, unsigned int *__restrict__ state
// CHECK: flame::wgmmaAttention<flame::WgmmaAttentionSchedule{64, 128, 128, 128, 2, {{[12]}}, 132},
// CHECK: [&](int at) { head = at; return flame::tensorStore<unsigned short>(map3, body); },
// CHECK-NEXT: flame::SharedKeys{(int)16, scratch, state}, [&](int at) { head = at; return flame::store<true>(out0, body, place); });
// CHECK: #else
// CHECK-NEXT: flame::attention<flame::AttentionSchedule{16, 64, 1, 4, 128, 128, 2, 132},
// CHECK: flame::SharedKeys{(int)16, scratch, state}, (int)
func.func @few(%q: tensor<8x4x128xbf16>, %k: tensor<8x4096x128xbf16>, %v: tensor<8x4096x128xbf16>) -> tensor<8x4x128xbf16> {
  %4 = flame.matmul %q, %k {transpose_y = true} : (tensor<8x4x128xbf16>, tensor<8x4096x128xbf16>) -> tensor<8x4x4096xbf16>
  %7 = flame.reduce %4 {axes = array<i64: 2>, kind = "max"} : (tensor<8x4x4096xbf16>) -> tensor<8x4x1xbf16>
  %8 = flame.sub %4, %7 : (tensor<8x4x4096xbf16>, tensor<8x4x1xbf16>) -> tensor<8x4x4096xbf16>
  %9 = flame.exp %8 : (tensor<8x4x4096xbf16>) -> tensor<8x4x4096xbf16>
  %10 = flame.reduce %9 {axes = array<i64: 2>, kind = "sum"} : (tensor<8x4x4096xbf16>) -> tensor<8x4x1xbf16>
  %11 = flame.div %9, %10 : (tensor<8x4x4096xbf16>, tensor<8x4x1xbf16>) -> tensor<8x4x4096xbf16>
  %12 = flame.matmul %11, %v : (tensor<8x4x4096xbf16>, tensor<8x4096x128xbf16>) -> tensor<8x4x128xbf16>
  return %12 : tensor<8x4x128xbf16>
}

// -----

// Lines of 36 elements do not begin at multiples of 16 bytes.
// CHECK-LABEL: // attention: matmul
// CHECK-NOT: wgmmaAttention
func.func @unaligned(%q: tensor<8x512x36xbf16>, %k: tensor<8x512x36xbf16>, %v: tensor<8x512x64xbf16>) -> tensor<8x512x64xbf16> {
  %4 = flame.matmul %q, %k {transpose_y = true} : (tensor<8x512x36xbf16>, tensor<8x512x36xbf16>) -> tensor<8x512x512xbf16>
  %7 = flame.reduce %4 {axes = array<i64: 2>, kind = "max"} : (tensor<8x512x512xbf16>) -> tensor<8x512x1xbf16>
  %8 = flame.sub %4, %7 : (tensor<8x512x512xbf16>, tensor<8x512x1xbf16>) -> tensor<8x512x512xbf16>
  %9 = flame.exp %8 : (tensor<8x512x512xbf16>) -> tensor<8x512x512xbf16>
  %10 = flame.reduce %9 {axes = array<i64: 2>, kind = "sum"} : (tensor<8x512x512xbf16>) -> tensor<8x512x1xbf16>
  %11 = flame.div %9, %10 : (tensor<8x512x512xbf16>, tensor<8x512x1xbf16>) -> tensor<8x512x512xbf16>
  %12 = flame.matmul %11, %v : (tensor<8x512x512xbf16>, tensor<8x512x64xbf16>) -> tensor<8x512x64xbf16>
  return %12 : tensor<8x512x64xbf16>
}
