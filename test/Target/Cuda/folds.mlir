// RUN: flame-opt %s --flame-form-regions="attention siblings paired" --flame-absorb-folds="wgmma" | FileCheck %s
// RUN: flame-opt %s --flame-form-regions="attention siblings paired" --flame-absorb-folds="wgmma" --flame-emit-cuda=wgmma | FileCheck %s --check-prefix=CUDA

// A tensor that no GPU holds is quantised by its largest magnitude: the product gives that of each 32 columns of a row, and what was one
// kernel that reads the product twice becomes one of these numbers and one of the product.

// CHECK-LABEL: @quantise
// CHECK: %[[Y:.*]]:2 = flame.region "contract"({{.*}} -> (tensor<4096x14336xbf16>, tensor<448x4096xf32>)
// CHECK: %[[P:.*]] = flame.matmul
// CHECK: %[[A:.*]] = flame.abs %[[P]]
// CHECK: %[[F:.*]] = flame.cast %[[A]] {{.*}} -> tensor<4096x14336xf32>
// CHECK: %[[R:.*]] = flame.reshape %[[F]], {{.*}} -> tensor<4096x448x32xf32>
// CHECK: %[[M:.*]] = flame.reduce %[[R]] {axes = array<i64: 2>, keepdims = false, kind = "max"} : (tensor<4096x448x32xf32>) -> tensor<4096x448xf32>
// CHECK: %[[T:.*]] = flame.transpose %[[M]] {perm = array<i64: 1, 0>}
// CHECK: flame.yield %[[P]], %[[T]]
// CHECK: %[[S:.*]]:2 = flame.region "loop"(%[[Y]]#1) : (tensor<448x4096xf32>) -> (tensor<1x1xbf16>, tensor<1x1xbf16>)
// CHECK: flame.reduce {{.*}} {axes = array<i64: 0, 1>, kind = "max"} : (tensor<448x4096xf32>) -> tensor<1x1xf32>
// CHECK: flame.cast
// CHECK: flame.div
// CHECK: flame.region "loop"(%[[Y]]#0, %[[S]]#1)
// CHECK-NOT: flame.reduce
// CHECK: flame.div
// CHECK: flame.cast {{.*}} -> tensor<4096x14336xf8E4M3FN>

// CUDA-LABEL: contract: matmul
// CUDA: none0 = [&]() -> float
// CUDA: step0 = [&](const float sum, const unsigned short stored) -> float
// CUDA: fabsf
// CUDA: join0 = [&](const float a, const float b) -> float
// CUDA: flame_maximum
// CUDA: FLAME_HAS_WGMMA
// CUDA: wgmmaGemm
// CUDA: flame::folding(flame::tensorStore<unsigned short{{.*}}>(map2, body), flame::folds(
// CUDA: flame::fold(out1, none0, step0, join0)
// CUDA: flame::gemm<
// CUDA: flame::folding(flame::store<true>(out0, body, place), flame::folds(
// CUDA: flame::fold(out1, none0, step0, join0)
func.func @quantise(%x: tensor<4096x4096xbf16>, %w: tensor<14336x4096xbf16>) -> (tensor<4096x14336xf8E4M3FN>, tensor<1x1xbf16>) {
  %limit = flame.constant {value = dense<448.0> : tensor<bf16>} : () -> tensor<bf16>
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<4096x4096xbf16>, tensor<14336x4096xbf16>) -> tensor<4096x14336xbf16>
  %a = flame.abs %p : (tensor<4096x14336xbf16>) -> tensor<4096x14336xbf16>
  %m = flame.reduce %a {kind = "max", axes = array<i64: 0, 1>, keepdims = true} : (tensor<4096x14336xbf16>) -> tensor<1x1xbf16>
  %s = flame.div %m, %limit : (tensor<1x1xbf16>, tensor<bf16>) -> tensor<1x1xbf16>
  %d = flame.div %p, %s : (tensor<4096x14336xbf16>, tensor<1x1xbf16>) -> tensor<4096x14336xbf16>
  %q = flame.cast %d {to = f8E4M3FN} : (tensor<4096x14336xbf16>) -> tensor<4096x14336xf8E4M3FN>
  return %q, %s : tensor<4096x14336xf8E4M3FN>, tensor<1x1xbf16>
}

// The number has no dims: its kernel is one of its own from the beginning. Rows of any number.

// CHECK-LABEL: @number
// CHECK: %[[Y:.*]]:2 = flame.region "contract"({{.*}} -> (tensor<?x65536xf16>, tensor<2048x?xf32>)
// CHECK: flame.matmul
// CHECK: flame.add
// CHECK: flame.reduce {{.*}} {axes = array<i64: 2>, keepdims = false, kind = "max"}
// CHECK: flame.region "loop"(%[[Y]]#1) : (tensor<2048x?xf32>) -> tensor<f16>
// CHECK: flame.reduce {{.*}} {axes = array<i64: 0, 1>, keepdims = false, kind = "max"} : (tensor<2048x?xf32>) -> tensor<f32>
// CHECK: flame.region "loop"(%[[Y]]#0
func.func @number(%x: tensor<?x4096xf16>, %w: tensor<65536x4096xf16>, %b: tensor<65536xf16>) -> tensor<?x65536xf8E5M2> {
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<?x4096xf16>, tensor<65536x4096xf16>) -> tensor<?x65536xf16>
  %y = flame.add %p, %b : (tensor<?x65536xf16>, tensor<65536xf16>) -> tensor<?x65536xf16>
  %a = flame.abs %y : (tensor<?x65536xf16>) -> tensor<?x65536xf16>
  %m = flame.reduce %a {kind = "max", axes = array<i64: 0, 1>, keepdims = false} : (tensor<?x65536xf16>) -> tensor<f16>
  %d = flame.div %y, %m : (tensor<?x65536xf16>, tensor<f16>) -> tensor<?x65536xf16>
  %q = flame.cast %d {to = f8E5M2} : (tensor<?x65536xf16>) -> tensor<?x65536xf8E5M2>
  return %q : tensor<?x65536xf8E5M2>
}

// Statistics of rows that somebody else reads; of a batch, whose rows are those of one matrix.

// CHECK-LABEL: @statistics
// CHECK: %[[Y:.*]]:2 = flame.region "contract"({{.*}} -> (tensor<2x4096x4096xbf16>, tensor<128x2x4096x1xf32>)
// CHECK: flame.reduce {{.*}} {axes = array<i64: 3>, kind = "sum"} : (tensor<2x4096x128x32xf32>) -> tensor<2x4096x128x1xf32>
// CHECK: flame.transpose {{.*}} {perm = array<i64: 2, 0, 1, 3>}
// CHECK: flame.region "loop"(%[[Y]]#1) : (tensor<128x2x4096x1xf32>) -> tensor<2x4096x1xf32>
// CHECK: flame.reduce {{.*}} {axes = array<i64: 0>, keepdims = false, kind = "mean"}
// CHECK: dense<3.125000e-02>
// CHECK: flame.mul
func.func @statistics(%x: tensor<2x4096x512xbf16>, %w: tensor<4096x512xbf16>) -> (tensor<2x4096x4096xbf16>, tensor<2x4096x1xf32>) {
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<2x4096x512xbf16>, tensor<4096x512xbf16>) -> tensor<2x4096x4096xbf16>
  %f = flame.cast %p {to = f32} : (tensor<2x4096x4096xbf16>) -> tensor<2x4096x4096xf32>
  %s = flame.mul %f, %f : (tensor<2x4096x4096xf32>, tensor<2x4096x4096xf32>) -> tensor<2x4096x4096xf32>
  %m = flame.reduce %s {kind = "mean", axes = array<i64: 2>, keepdims = true} : (tensor<2x4096x4096xf32>) -> tensor<2x4096x1xf32>
  return %p, %m : tensor<2x4096x4096xbf16>, tensor<2x4096x1xf32>
}

// A gated layer: two products of one operand.

// CHECK-LABEL: @gated
// CHECK: flame.region "contract"({{.*}} -> (tensor<4096x16384xbf16>, tensor<512x4096xf32>)
// CHECK-COUNT-2: flame.matmul
// CHECK: flame.reduce
// CUDA-LABEL: contract: {{.*}}silu
// CUDA: flame::PairedTensors
// CUDA: flame::folding(flame::tensorStore
func.func @gated(%x: tensor<4096x256xbf16>, %v: tensor<16384x256xbf16>, %w: tensor<16384x256xbf16>) -> (tensor<4096x16384xbf16>, tensor<bf16>) {
  %p = flame.matmul %x, %v {transpose_y = true} : (tensor<4096x256xbf16>, tensor<16384x256xbf16>) -> tensor<4096x16384xbf16>
  %q = flame.matmul %x, %w {transpose_y = true} : (tensor<4096x256xbf16>, tensor<16384x256xbf16>) -> tensor<4096x16384xbf16>
  %g = flame.silu %p : (tensor<4096x16384xbf16>) -> tensor<4096x16384xbf16>
  %y = flame.mul %g, %q : (tensor<4096x16384xbf16>, tensor<4096x16384xbf16>) -> tensor<4096x16384xbf16>
  %a = flame.abs %y : (tensor<4096x16384xbf16>) -> tensor<4096x16384xbf16>
  %m = flame.reduce %a {kind = "max", axes = array<i64: 0, 1>, keepdims = false} : (tensor<4096x16384xbf16>) -> tensor<bf16>
  return %y, %m : tensor<4096x16384xbf16>, tensor<bf16>
}

// A norm keeps its rows on chip, and so does the quantisation of a tensor that all blocks together hold.

// CHECK-LABEL: @norm
// CHECK: flame.region "contract"({{.*}} -> tensor<4096x4096xbf16>
// CHECK: flame.region "row"
func.func @norm(%x: tensor<4096x512xbf16>, %w: tensor<4096x512xbf16>) -> tensor<4096x4096xbf16> {
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<4096x512xbf16>, tensor<4096x512xbf16>) -> tensor<4096x4096xbf16>
  %s = flame.mul %p, %p : (tensor<4096x4096xbf16>, tensor<4096x4096xbf16>) -> tensor<4096x4096xbf16>
  %m = flame.reduce %s {kind = "mean", axes = array<i64: 1>, keepdims = true} : (tensor<4096x4096xbf16>) -> tensor<4096x1xbf16>
  %r = flame.sqrt %m : (tensor<4096x1xbf16>) -> tensor<4096x1xbf16>
  %y = flame.div %p, %r : (tensor<4096x4096xbf16>, tensor<4096x1xbf16>) -> tensor<4096x4096xbf16>
  return %y : tensor<4096x4096xbf16>
}
// CHECK-LABEL: @held
// CHECK: flame.region "contract"({{.*}} -> tensor<2048x4096xbf16>
func.func @held(%x: tensor<2048x512xbf16>, %w: tensor<4096x512xbf16>) -> tensor<2048x4096xf8E4M3FN> {
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<2048x512xbf16>, tensor<4096x512xbf16>) -> tensor<2048x4096xbf16>
  %a = flame.abs %p : (tensor<2048x4096xbf16>) -> tensor<2048x4096xbf16>
  %m = flame.reduce %a {kind = "max", axes = array<i64: 0, 1>, keepdims = true} : (tensor<2048x4096xbf16>) -> tensor<1x1xbf16>
  %d = flame.div %p, %m : (tensor<2048x4096xbf16>, tensor<1x1xbf16>) -> tensor<2048x4096xbf16>
  %q = flame.cast %d {to = f8E4M3FN} : (tensor<2048x4096xbf16>) -> tensor<2048x4096xf8E4M3FN>
  return %q : tensor<2048x4096xf8E4M3FN>
}

// Results too small to gain anything; columns that are no whole runs; another tensor in what is reduced; rows, which another dim than the columns
// is; products in an order that kinds of sums don't know.

// CHECK-LABEL: @small
// CHECK: flame.region "contract"({{.*}} -> tensor<512x1024xbf16>
func.func @small(%x: tensor<512x4096xbf16>, %w: tensor<1024x4096xbf16>) -> (tensor<512x1024xbf16>, tensor<bf16>) {
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<512x4096xbf16>, tensor<1024x4096xbf16>) -> tensor<512x1024xbf16>
  %m = flame.reduce %p {kind = "max", axes = array<i64: 0, 1>, keepdims = false} : (tensor<512x1024xbf16>) -> tensor<bf16>
  return %p, %m : tensor<512x1024xbf16>, tensor<bf16>
}
// CHECK-LABEL: @odd
// CHECK: flame.region "contract"({{.*}} -> tensor<8192x8208xbf16>
func.func @odd(%x: tensor<8192x512xbf16>, %w: tensor<8208x512xbf16>) -> (tensor<8192x8208xbf16>, tensor<bf16>) {
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<8192x512xbf16>, tensor<8208x512xbf16>) -> tensor<8192x8208xbf16>
  %m = flame.reduce %p {kind = "max", axes = array<i64: 0, 1>, keepdims = false} : (tensor<8192x8208xbf16>) -> tensor<bf16>
  return %p, %m : tensor<8192x8208xbf16>, tensor<bf16>
}
// CHECK-LABEL: @difference
// CHECK: flame.region "contract"({{.*}} -> tensor<8192x8192xbf16>
func.func @difference(%x: tensor<8192x512xbf16>, %w: tensor<8192x512xbf16>, %z: tensor<8192x8192xbf16>) -> (tensor<8192x8192xbf16>, tensor<bf16>) {
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<8192x512xbf16>, tensor<8192x512xbf16>) -> tensor<8192x8192xbf16>
  %d = flame.sub %p, %z : (tensor<8192x8192xbf16>, tensor<8192x8192xbf16>) -> tensor<8192x8192xbf16>
  %m = flame.reduce %d {kind = "max", axes = array<i64: 0, 1>, keepdims = false} : (tensor<8192x8192xbf16>) -> tensor<bf16>
  return %p, %m : tensor<8192x8192xbf16>, tensor<bf16>
}
// CHECK-LABEL: @columns
// CHECK: flame.region "contract"({{.*}} -> tensor<8192x8192xbf16>
func.func @columns(%x: tensor<8192x512xbf16>, %w: tensor<8192x512xbf16>) -> (tensor<8192x8192xbf16>, tensor<8192xbf16>) {
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<8192x512xbf16>, tensor<8192x512xbf16>) -> tensor<8192x8192xbf16>
  %m = flame.reduce %p {kind = "max", axes = array<i64: 0>, keepdims = false} : (tensor<8192x8192xbf16>) -> tensor<8192xbf16>
  return %p, %m : tensor<8192x8192xbf16>, tensor<8192xbf16>
}
// CHECK-LABEL: @factors
// CHECK: flame.region "contract"({{.*}} -> tensor<8192x8192xbf16>
func.func @factors(%x: tensor<8192x512xbf16>, %w: tensor<8192x512xbf16>) -> (tensor<8192x8192xbf16>, tensor<bf16>) {
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<8192x512xbf16>, tensor<8192x512xbf16>) -> tensor<8192x8192xbf16>
  %m = flame.reduce %p {kind = "prod", axes = array<i64: 0, 1>, keepdims = false} : (tensor<8192x8192xbf16>) -> tensor<bf16>
  return %p, %m : tensor<8192x8192xbf16>, tensor<bf16>
}

// Without wgmma, by other matrix instructions; f32 only where it is multiplied as TF32.

// CHECK-LABEL: @strict
// CHECK: flame.region "contract"({{.*}} -> tensor<8192x8192xf32>
func.func @strict(%x: tensor<8192x512xf32>, %w: tensor<8192x512xf32>) -> (tensor<8192x8192xf32>, tensor<f32>) {
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<8192x512xf32>, tensor<8192x512xf32>) -> tensor<8192x8192xf32>
  %m = flame.reduce %p {kind = "max", axes = array<i64: 0, 1>, keepdims = false} : (tensor<8192x8192xf32>) -> tensor<f32>
  return %p, %m : tensor<8192x8192xf32>, tensor<f32>
}
