// RUN: flame-opt %s | FileCheck %s

// CHECK-LABEL: @pools
func.func @pools(%x: tensor<?x3x32x?xf32>, %i: tensor<1x1x5xui8>) {
  // CHECK: flame.max_pool {{.*}} -> (tensor<?x3x16x?xf32>, tensor<?x3x16x?xi64>)
  %0:2 = flame.max_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>} : (tensor<?x3x32x?xf32>) -> (tensor<?x3x16x?xf32>, tensor<?x3x16x?xi64>)
  // CHECK: flame.average_pool {{.*}} -> tensor<?x3x11x?xf32>
  %1 = flame.average_pool %x {kernel = array<i64: 3, 3>, strides = array<i64: 3, 3>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>, auto_pad = "SAME_LOWER"} : (tensor<?x3x32x?xf32>) -> tensor<?x3x11x?xf32>
  %2 = flame.lp_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 1, 1>, dilations = array<i64: 2, 2>, pads = array<i64: 0, 0, 0, 0>, p = 3.0 : f64} : (tensor<?x3x32x?xf32>) -> tensor<?x3x30x?xf32>
  // Rounded up there would be a third window, but it starts behind the data.
  // CHECK: flame.max_pool {{.*}} -> (tensor<1x1x2xui8>, tensor<1x1x2xi64>)
  %3:2 = flame.max_pool %i {kernel = array<i64: 1>, strides = array<i64: 4>, dilations = array<i64: 1>, pads = array<i64: 0, 1>, ceil_mode = true} : (tensor<1x1x5xui8>) -> (tensor<1x1x2xui8>, tensor<1x1x2xi64>)
  return
}
