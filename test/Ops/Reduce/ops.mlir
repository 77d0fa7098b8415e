// RUN: flame-opt %s | FileCheck %s

// CHECK-LABEL: @reduce
func.func @reduce(%x: tensor<2x?x4xf32>) -> (tensor<2x1x1xf32>, tensor<?xf32>, tensor<2x?x4xf32>) {
  // CHECK: flame.reduce %{{.*}} {axes = array<i64: 1, 2>, kind = "sum"} : (tensor<2x?x4xf32>) -> tensor<2x1x1xf32>
  %0 = flame.reduce %x {kind = "sum", axes = array<i64: 1, 2>} : (tensor<2x?x4xf32>) -> tensor<2x1x1xf32>
  %1 = flame.reduce %x {kind = "mean", axes = array<i64: 0, 2>, keepdims = false} : (tensor<2x?x4xf32>) -> tensor<?xf32>
  // No axes: the identity.
  %2 = flame.reduce %x {kind = "max", axes = array<i64>} : (tensor<2x?x4xf32>) -> tensor<2x?x4xf32>
  return %0, %1, %2 : tensor<2x1x1xf32>, tensor<?xf32>, tensor<2x?x4xf32>
}

// The values of small integer tensors are followed.
// CHECK-LABEL: @values
func.func @values() -> tensor<24xf32> {
  %0 = flame.constant {value = dense<[2, 3, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  %1 = flame.reduce %0 {kind = "prod", axes = array<i64: 0>} : (tensor<3xi64>) -> tensor<1xi64>
  %2 = flame.constant {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %3 = flame.fill %1, %2 : (tensor<1xi64>, tensor<f32>) -> tensor<24xf32>
  return %3 : tensor<24xf32>
}

// CHECK-LABEL: @positions
func.func @positions(%x: tensor<2x3xi8>) -> (tensor<2x1xi64>, tensor<3xi64>) {
  // CHECK: flame.arg_reduce %{{.*}} {axis = 1 : i64, kind = "max"} : (tensor<2x3xi8>) -> tensor<2x1xi64>
  %0 = flame.arg_reduce %x {kind = "max", axis = 1} : (tensor<2x3xi8>) -> tensor<2x1xi64>
  %1 = flame.arg_reduce %x {kind = "min", axis = 0, keepdims = false, select_last_index = true} : (tensor<2x3xi8>) -> tensor<3xi64>
  return %0, %1 : tensor<2x1xi64>, tensor<3xi64>
}

// CHECK-LABEL: @scan
func.func @scan(%x: tensor<2x?xf64>) -> tensor<2x?xf64> {
  // CHECK: flame.scan %{{.*}} {axis = 1 : i64, exclusive = true, kind = "prod"}
  %0 = flame.scan %x {kind = "prod", axis = 1, exclusive = true} : (tensor<2x?xf64>) -> tensor<2x?xf64>
  return %0 : tensor<2x?xf64>
}
