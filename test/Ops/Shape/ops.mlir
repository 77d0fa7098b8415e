// RUN: flame-opt %s | FileCheck %s

// Values of small integer tensors decide the result types.
// CHECK-LABEL: @reshape
func.func @reshape(%x: tensor<2x6xf32>, %d: tensor<?x6xf32>, %s: tensor<2xi64>) -> (tensor<3x4xf32>, tensor<?x?xf32>) {
  %shape = flame.constant {value = dense<[3, 4]> : tensor<2xi64>} : () -> tensor<2xi64>
  // CHECK: flame.reshape %{{.*}}, %{{.*}} : (tensor<2x6xf32>, tensor<2xi64>) -> tensor<3x4xf32>
  %0 = flame.reshape %x, %shape : (tensor<2x6xf32>, tensor<2xi64>) -> tensor<3x4xf32>
  %1 = flame.reshape %d, %s : (tensor<?x6xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  return %0, %1 : tensor<3x4xf32>, tensor<?x?xf32>
}

// CHECK-LABEL: @move
func.func @move(%x: tensor<2x?x4xi1>, %y: tensor<4x2x?xi1>) -> tensor<4x4x?xi1> {
  // CHECK: flame.transpose %{{.*}} {perm = array<i64: 2, 0, 1>} : (tensor<2x?x4xi1>) -> tensor<4x2x?xi1>
  %0 = flame.transpose %x {perm = array<i64: 2, 0, 1>} : (tensor<2x?x4xi1>) -> tensor<4x2x?xi1>
  // CHECK: flame.concat %{{.*}}, %{{.*}} {axis = 1 : i64} : (tensor<4x2x?xi1>, tensor<4x2x?xi1>) -> tensor<4x4x?xi1>
  %1 = flame.concat %0, %y {axis = 1 : i64} : (tensor<4x2x?xi1>, tensor<4x2x?xi1>) -> tensor<4x4x?xi1>
  return %1 : tensor<4x4x?xi1>
}

// CHECK-LABEL: @window
func.func @window(%x: tensor<5x?xf32>, %v: tensor<f32>) -> (tensor<2x?xf32>, tensor<7x?xf32>, tensor<10x?xf32>) {
  %starts = flame.constant {value = dense<[4, 0]> : tensor<2xi64>} : () -> tensor<2xi64>
  %steps = flame.constant {value = dense<[-2, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %two = flame.constant {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = flame.shape_of %x : (tensor<5x?xf32>) -> tensor<2xi64>
  %one = flame.constant {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %n = flame.slice %shape, %one, %one, %one : (tensor<2xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %sizes = flame.concat %two, %n {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %0 = flame.slice %x, %starts, %sizes, %steps : (tensor<5x?xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<2x?xf32>
  %low = flame.constant {value = dense<[3, 0]> : tensor<2xi64>} : () -> tensor<2xi64>
  %high = flame.constant {value = dense<[-1, 0]> : tensor<2xi64>} : () -> tensor<2xi64>
  // CHECK: flame.pad {{.*}} -> tensor<7x?xf32>
  %1 = flame.pad %x, %low, %high, %v {mode = "constant"} : (tensor<5x?xf32>, tensor<2xi64>, tensor<2xi64>, tensor<f32>) -> tensor<7x?xf32>
  %repeats = flame.constant {value = dense<[2, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %2 = flame.tile %x, %repeats : (tensor<5x?xf32>, tensor<2xi64>) -> tensor<10x?xf32>
  return %0, %1, %2 : tensor<2x?xf32>, tensor<7x?xf32>, tensor<10x?xf32>
}

// CHECK-LABEL: @expand
func.func @expand(%x: tensor<1x?xf8E4M3FN>, %s: tensor<3xi64>) -> tensor<?x?x?xf8E4M3FN> {
  %0 = flame.expand %x, %s : (tensor<1x?xf8E4M3FN>, tensor<3xi64>) -> tensor<?x?x?xf8E4M3FN>
  return %0 : tensor<?x?x?xf8E4M3FN>
}
