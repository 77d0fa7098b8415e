// RUN: flame-opt %s "--flame-form-regions=attention largest-head=512" --flame-emit-cuda=wgmma | FileCheck %s
// RUN: flame-opt %s --flame-form-regions=attention | FileCheck %s --check-prefix=WITHOUT
// Heads of 512: two warpgroups have the same 64 queries and half of the columns each, where the target is known to have wgmma.

// WITHOUT-NOT: "attention"

// CHECK-LABEL: // attention: {{.*}}matmul
// CHECK: __launch_bounds__(FLAME_IF_WGMMA(384, {{[0-9]+}}), 1)
// CHECK: flame::wgmmaAttention<flame::WgmmaAttentionSchedule{64, 32, 512, 512, 2, 2, 1}, flame::Arithmetic::BF16, flame::Major::Depth, flame::Major::Side>
// CHECK: dims = ["512", "1024", "1", "1", "1"]
func.func @wide(%q: tensor<1x1024x512xbf16>, %k: tensor<1x1024x512xbf16>, %v: tensor<1x1024x512xbf16>) -> tensor<1x1024x512xbf16> {
  %scale = flame.constant {value = dense<0.0441941731> : tensor<f32>} : () -> tensor<f32>
  %0 = flame.matmul %q, %k {transpose_y = true, type = f32} : (tensor<1x1024x512xbf16>, tensor<1x1024x512xbf16>) -> tensor<1x1024x1024xf32>
  %1 = flame.mul %0, %scale : (tensor<1x1024x1024xf32>, tensor<f32>) -> tensor<1x1024x1024xf32>
  %2 = flame.reduce %1 {axes = array<i64: 2>, kind = "max"} : (tensor<1x1024x1024xf32>) -> tensor<1x1024x1xf32>
  %3 = flame.sub %1, %2 : (tensor<1x1024x1024xf32>, tensor<1x1024x1xf32>) -> tensor<1x1024x1024xf32>
  %4 = flame.exp %3 : (tensor<1x1024x1024xf32>) -> tensor<1x1024x1024xf32>
  %5 = flame.reduce %4 {axes = array<i64: 2>, kind = "sum"} : (tensor<1x1024x1024xf32>) -> tensor<1x1024x1xf32>
  %6 = flame.reciprocal %5 : (tensor<1x1024x1xf32>) -> tensor<1x1024x1xf32>
  %7 = flame.mul %4, %6 : (tensor<1x1024x1024xf32>, tensor<1x1024x1xf32>) -> tensor<1x1024x1024xf32>
  %8 = flame.cast %7 {to = bf16} : (tensor<1x1024x1024xf32>) -> tensor<1x1024x1024xbf16>
  %9 = flame.matmul %8, %v : (tensor<1x1024x1024xbf16>, tensor<1x1024x512xbf16>) -> tensor<1x1024x512xbf16>
  return %9 : tensor<1x1024x512xbf16>
}
