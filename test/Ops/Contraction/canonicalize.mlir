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

// Matrices of groups, too.
// CHECK-LABEL: func.func @groups
// CHECK-SAME: (%[[X:.*]]: tensor<7x4xf32>, %[[Y:.*]]: tensor<3x5x4xf32>, %[[E:.*]]: tensor<3xi32>)
func.func @groups(%x: tensor<7x4xf32>, %y: tensor<3x5x4xf32>, %e: tensor<3xi32>) -> tensor<7x5xf32> {
  // CHECK-NEXT: %[[R:.*]] = flame.grouped_matmul %[[X]], %[[Y]], %[[E]] {transpose_y = true}
  // CHECK-NEXT: return %[[R]]
  %t = flame.transpose %y {perm = array<i64: 0, 2, 1>} : (tensor<3x5x4xf32>) -> tensor<3x4x5xf32>
  %0 = flame.grouped_matmul %x, %t, %e : (tensor<7x4xf32>, tensor<3x4x5xf32>, tensor<3xi32>) -> tensor<7x5xf32>
  return %0 : tensor<7x5xf32>
}

// One group of all rows is an ordinary product; of some rows it is not.
// CHECK-LABEL: func.func @single
func.func @single(%x: tensor<7x4xi8>, %y: tensor<1x5x4xi8>) -> tensor<7x5xi32> {
  // CHECK: %[[M:.*]] = flame.reshape {{.*}} -> tensor<5x4xi8>
  // CHECK: flame.matmul %{{.*}}, %[[M]] {transpose_y = true, type = i32} : (tensor<7x4xi8>, tensor<5x4xi8>) -> tensor<7x5xi32>
  %e = flame.constant {value = dense<7> : tensor<1xi64>} : () -> tensor<1xi64>
  %0 = flame.grouped_matmul %x, %y, %e {transpose_y = true, type = i32} : (tensor<7x4xi8>, tensor<1x5x4xi8>, tensor<1xi64>) -> tensor<7x5xi32>
  return %0 : tensor<7x5xi32>
}
// CHECK-LABEL: func.func @some
func.func @some(%x: tensor<7x4xf32>, %y: tensor<1x4x5xf32>, %f: tensor<1xi64>) -> (tensor<7x5xf32>, tensor<7x5xf32>) {
  // CHECK-COUNT-2: flame.grouped_matmul
  %e = flame.constant {value = dense<6> : tensor<1xi64>} : () -> tensor<1xi64>
  %0 = flame.grouped_matmul %x, %y, %e : (tensor<7x4xf32>, tensor<1x4x5xf32>, tensor<1xi64>) -> tensor<7x5xf32>
  %1 = flame.grouped_matmul %x, %y, %f : (tensor<7x4xf32>, tensor<1x4x5xf32>, tensor<1xi64>) -> tensor<7x5xf32>
  return %0, %1 : tensor<7x5xf32>, tensor<7x5xf32>
}
