// RUN: flame-opt %s --flame-scale-after-products --split-input-file | FileCheck %s

// A scale for each row of x and for each column of y; y is a constant, stored along the columns.
// CHECK-LABEL: @rows_and_columns
// CHECK-SAME: %[[Q:.*]]: tensor<16x64xf8E4M3FN>, %[[S:.*]]: tensor<16x1xf32>
func.func @rows_and_columns(%q: tensor<16x64xf8E4M3FN>, %s: tensor<16x1xf32>) -> tensor<16x32xbf16> {
  %w = flame.weight {name = "w", ref = #flame.weight_ref<"w", 0, 2048>, type = tensor<64x32xf8E4M3FN>} : () -> tensor<64x32xf8E4M3FN>
  %t = flame.weight {name = "t", ref = #flame.weight_ref<"w", 2048, 128>, type = tensor<32xf32>} : () -> tensor<32xf32>
  // CHECK-DAG: %[[W:.*]] = flame.weight {{.*}}tensor<64x32xf8E4M3FN>
  // CHECK-DAG: %[[T:.*]] = flame.weight {{.*}}tensor<32xf32>
  // CHECK: %[[V:.*]] = flame.transpose %[[W]] {perm = array<i64: 1, 0>}
  // CHECK: %[[P:.*]] = flame.matmul %[[Q]], %[[V]] {transpose_y = true, type = f32}
  // CHECK: %[[A:.*]] = flame.mul %[[P]], %[[S]]
  // CHECK: %[[B:.*]] = flame.mul %[[A]], %[[T]]
  // CHECK: %[[C:.*]] = flame.cast %[[B]] {excess, to = bf16}
  // CHECK: return %[[C]]
  %0 = flame.cast %q {to = f32} : (tensor<16x64xf8E4M3FN>) -> tensor<16x64xf32>
  %1 = flame.mul %0, %s : (tensor<16x64xf32>, tensor<16x1xf32>) -> tensor<16x64xf32>
  %2 = flame.cast %1 {to = bf16, excess} : (tensor<16x64xf32>) -> tensor<16x64xbf16>
  %3 = flame.cast %w {to = f32} : (tensor<64x32xf8E4M3FN>) -> tensor<64x32xf32>
  %4 = flame.mul %t, %3 : (tensor<32xf32>, tensor<64x32xf32>) -> tensor<64x32xf32>
  %5 = flame.cast %4 {to = bf16, excess} : (tensor<64x32xf32>) -> tensor<64x32xbf16>
  %6 = flame.matmul %2, %5 : (tensor<16x64xbf16>, tensor<64x32xbf16>) -> tensor<16x32xbf16>
  return %6 : tensor<16x32xbf16>
}

// -----

// Signed bytes with zero points of 0: sums of 32 bits. Both operands are transposed, and their scales with them.
// CHECK-LABEL: @bytes
// CHECK-SAME: %[[X:.*]]: tensor<8x16xi8>, %[[Y:.*]]: tensor<12x8xi8>, %[[S:.*]]: tensor<1x16xf32>, %[[T:.*]]: tensor<12x1xf32>
func.func @bytes(%x: tensor<8x16xi8>, %y: tensor<12x8xi8>, %s: tensor<1x16xf32>, %t: tensor<12x1xf32>) -> tensor<16x12xf32> {
  // CHECK: %[[P:.*]] = flame.matmul %[[X]], %[[Y]] {transpose_x = true, transpose_y = true, type = i32}
  // CHECK: %[[F:.*]] = flame.cast %[[P]] {to = f32}
  // CHECK: %[[A:.*]] = flame.transpose %[[S]] {perm = array<i64: 1, 0>}
  // CHECK: %[[B:.*]] = flame.mul %[[F]], %[[A]]
  // CHECK: %[[C:.*]] = flame.transpose %[[T]] {perm = array<i64: 1, 0>}
  // CHECK: %[[D:.*]] = flame.mul %[[B]], %[[C]]
  // CHECK: return %[[D]]
  %zero = flame.constant {value = dense<0> : tensor<i8>} : () -> tensor<i8>
  %z = flame.cast %zero {to = f32} : (tensor<i8>) -> tensor<f32>
  %0 = flame.cast %x {to = f32} : (tensor<8x16xi8>) -> tensor<8x16xf32>
  %1 = flame.sub %0, %z : (tensor<8x16xf32>, tensor<f32>) -> tensor<8x16xf32>
  %2 = flame.mul %1, %s : (tensor<8x16xf32>, tensor<1x16xf32>) -> tensor<8x16xf32>
  %3 = flame.cast %y {to = f32} : (tensor<12x8xi8>) -> tensor<12x8xf32>
  %4 = flame.mul %3, %t : (tensor<12x8xf32>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %5 = flame.matmul %2, %4 {transpose_x = true, transpose_y = true} : (tensor<8x16xf32>, tensor<12x8xf32>) -> tensor<16x12xf32>
  return %5 : tensor<16x12xf32>
}

// -----

// A scale that changes along the inner dim, a zero point, a conversion of the model's own: as they are.
// CHECK-LABEL: @others
func.func @others(%x: tensor<4x8xf8E5M2>, %y: tensor<8x4xf8E5M2>, %u: tensor<4x8xi8>, %v: tensor<8x4xi8>, %s: tensor<8xf32>)
    -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xbf16>) {
  // CHECK-NOT: type =
  // CHECK: flame.matmul %{{.*}}, %{{.*}} : (tensor<4x8xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  // CHECK: flame.matmul %{{.*}}, %{{.*}} : (tensor<4x8xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  // CHECK: flame.matmul %{{.*}}, %{{.*}} : (tensor<4x8xbf16>, tensor<8x4xbf16>) -> tensor<4x4xbf16>
  %0 = flame.cast %x {to = f32} : (tensor<4x8xf8E5M2>) -> tensor<4x8xf32>
  %1 = flame.cast %y {to = f32} : (tensor<8x4xf8E5M2>) -> tensor<8x4xf32>
  %2 = flame.mul %0, %s : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  %3 = flame.matmul %2, %1 : (tensor<4x8xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  %one = flame.constant {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %4 = flame.cast %u {to = f32} : (tensor<4x8xi8>) -> tensor<4x8xf32>
  %5 = flame.sub %4, %one : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %6 = flame.cast %v {to = f32} : (tensor<8x4xi8>) -> tensor<8x4xf32>
  %7 = flame.matmul %5, %6 : (tensor<4x8xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  %8 = flame.cast %0 {to = bf16} : (tensor<4x8xf32>) -> tensor<4x8xbf16>
  %9 = flame.cast %1 {to = bf16} : (tensor<8x4xf32>) -> tensor<8x4xbf16>
  %10 = flame.matmul %8, %9 : (tensor<4x8xbf16>, tensor<8x4xbf16>) -> tensor<4x4xbf16>
  return %3, %7, %10 : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xbf16>
}
