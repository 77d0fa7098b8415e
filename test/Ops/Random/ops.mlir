// RUN: flame-opt %s | FileCheck %s

func.func @random(%shape: tensor<2xi64>, %seed: tensor<i64>) -> tensor<?x?xf32> {
  // CHECK: flame.random %{{.*}} {distribution = "normal", type = f32} : (tensor<2xi64>, tensor<i64>) -> tensor<?x?xf32>
  %0 = flame.random %shape, %seed {distribution = "normal", type = f32} : (tensor<2xi64>, tensor<i64>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}
