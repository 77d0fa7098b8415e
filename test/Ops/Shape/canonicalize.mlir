// RUN: flame-opt %s --canonicalize --split-input-file | FileCheck %s

// CHECK-LABEL: @transposes
// CHECK-SAME: (%[[X:.*]]: tensor<2x3x4xf32>)
// CHECK: return %[[X]]
func.func @transposes(%x: tensor<2x3x4xf32>) -> tensor<2x3x4xf32> {
  %0 = flame.transpose %x {perm = array<i64: 2, 0, 1>} : (tensor<2x3x4xf32>) -> tensor<4x2x3xf32>
  %1 = flame.transpose %0 {perm = array<i64: 1, 2, 0>} : (tensor<4x2x3xf32>) -> tensor<2x3x4xf32>
  return %1 : tensor<2x3x4xf32>
}

// -----
// CHECK-LABEL: @reshapes
// CHECK-SAME: (%[[X:.*]]: tensor<?x6xf32>,
// CHECK-COUNT-1: flame.reshape %[[X]]
// CHECK-NOT: flame.reshape
func.func @reshapes(%x: tensor<?x6xf32>, %s: tensor<2xi64>, %t: tensor<1xi64>) -> tensor<?x?xf32> {
  %0 = flame.reshape %x, %t : (tensor<?x6xf32>, tensor<1xi64>) -> tensor<?xf32>
  %1 = flame.reshape %0, %s : (tensor<?xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  return %1 : tensor<?x?xf32>
}

// -----
// CHECK-LABEL: @unit_transpose
// CHECK: flame.reshape
// CHECK-NOT: flame.transpose
func.func @unit_transpose(%x: tensor<1x3x1x4xf32>) -> tensor<3x1x4x1xf32> {
  %0 = flame.transpose %x {perm = array<i64: 1, 0, 3, 2>} : (tensor<1x3x1x4xf32>) -> tensor<3x1x4x1xf32>
  return %0 : tensor<3x1x4x1xf32>
}

// -----
// CHECK-LABEL: @identities
// CHECK-SAME: (%[[X:.*]]: tensor<2x3xf32>, %[[D:.*]]: tensor<?x?xf32>)
// CHECK: return %[[X]], %[[X]], %[[X]], %[[X]], %[[D]], %[[D]]
func.func @identities(%x: tensor<2x3xf32>, %d: tensor<?x?xf32>) -> (tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<?x?xf32>, tensor<?x?xf32>) {
  %zero = flame.constant {value = dense<0> : tensor<2xi64>} : () -> tensor<2xi64>
  %one = flame.constant {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
  %shape = flame.shape_of %x : (tensor<2x3xf32>) -> tensor<2xi64>
  %0 = flame.expand %x, %shape : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<2x3xf32>
  %1 = flame.slice %0, %zero, %shape, %one : (tensor<2x3xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<2x3xf32>
  %2 = flame.concat %x {axis = 1 : i64} : (tensor<2x3xf32>) -> tensor<2x3xf32>
  %3 = flame.tile %x, %one : (tensor<2x3xf32>, tensor<2xi64>) -> tensor<2x3xf32>
  %4 = flame.pad %d, %zero, %zero {mode = "reflect"} : (tensor<?x?xf32>, tensor<2xi64>, tensor<2xi64>) -> tensor<?x?xf32>
  %sizes = flame.shape_of %d : (tensor<?x?xf32>) -> tensor<2xi64>
  %5 = flame.reshape %d, %sizes : (tensor<?x?xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  return %0, %1, %2, %3, %4, %5 : tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<2x3xf32>, tensor<?x?xf32>, tensor<?x?xf32>
}
