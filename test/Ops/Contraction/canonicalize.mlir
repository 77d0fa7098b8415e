// RUN: flame-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: func.func @transposed
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x4xf32>, %[[Y:.*]]: tensor<2x5x4xf32>)
func.func @transposed(%x: tensor<2x3x4xf32>, %y: tensor<2x5x4xf32>) -> tensor<2x3x5xf32> {
  // CHECK-NEXT: %[[R:.*]] = flame.matmul %[[X]], %[[Y]] {transpose_y = true}
  // CHECK-NEXT: return %[[R]]
  %t = flame.transpose %y {perm = array<i64: 0, 2, 1>} : (tensor<2x5x4xf32>) -> tensor<2x4x5xf32>
  %0 = flame.matmul %x, %t : (tensor<2x3x4xf32>, tensor<2x4x5xf32>) -> tensor<2x3x5xf32>
  return %0 : tensor<2x3x5xf32>
}

// Keys of attention: the transpose that is left moves whole rows.
// CHECK-LABEL: func.func @keys
func.func @keys(%q: tensor<2x4x7x8xf32>, %k: tensor<2x7x4x8xf32>) -> tensor<2x4x7x7xf32> {
  // CHECK: %[[K:.*]] = flame.transpose %{{.*}} {perm = array<i64: 0, 2, 1, 3>}
  // CHECK: flame.matmul %{{.*}}, %[[K]] {transpose_y = true}
  %t = flame.transpose %k {perm = array<i64: 0, 2, 3, 1>} : (tensor<2x7x4x8xf32>) -> tensor<2x4x8x7xf32>
  %0 = flame.matmul %q, %t : (tensor<2x4x7x8xf32>, tensor<2x4x8x7xf32>) -> tensor<2x4x7x7xf32>
  return %0 : tensor<2x4x7x7xf32>
}

// CHECK-LABEL: func.func @other
func.func @other(%x: tensor<2x3x4xf32>, %y: tensor<4x2x5xf32>) -> tensor<2x3x5xf32> {
  // CHECK: flame.transpose
  %t = flame.transpose %y {perm = array<i64: 1, 0, 2>} : (tensor<4x2x5xf32>) -> tensor<2x4x5xf32>
  %0 = flame.matmul %x, %t : (tensor<2x3x4xf32>, tensor<2x4x5xf32>) -> tensor<2x3x5xf32>
  return %0 : tensor<2x3x5xf32>
}
