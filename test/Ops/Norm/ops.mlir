// RUN: flame-opt %s | FileCheck %s

func.func @window(%x: tensor<2x?x4xf32>) -> tensor<2x?x4xf32> {
  // CHECK: flame.window_sum %{{.*}} {after = 2 : i64, axis = 1 : i64, before = 2 : i64}
  %0 = flame.window_sum %x {axis = 1, before = 2, after = 2} : (tensor<2x?x4xf32>) -> tensor<2x?x4xf32>
  return %0 : tensor<2x?x4xf32>
}
