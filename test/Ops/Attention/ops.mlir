// RUN: flame-opt %s | FileCheck %s

// Four query heads share two states.
func.func @linear(%q: tensor<1x4x?x8xf32>, %k: tensor<1x2x?x8xf32>, %v: tensor<1x2x?x6xf32>, %s: tensor<1x2x8x6xf32>,
                  %decay: tensor<1x2x?x1xf32>, %beta: tensor<1x1x?x1xf32>) -> (tensor<1x4x?x6xf32>, tensor<1x2x8x6xf32>) {
  // CHECK: flame.linear_attention %{{.*}} {delta = true, gated = true, scale = 5.000000e-01 : f64}
  %0:2 = flame.linear_attention %q, %k, %v, %s, %decay, %beta {gated = true, delta = true, scale = 0.5}
      : (tensor<1x4x?x8xf32>, tensor<1x2x?x8xf32>, tensor<1x2x?x6xf32>, tensor<1x2x8x6xf32>, tensor<1x2x?x1xf32>, tensor<1x1x?x1xf32>)
      -> (tensor<1x4x?x6xf32>, tensor<1x2x8x6xf32>)
  return %0#0, %0#1 : tensor<1x4x?x6xf32>, tensor<1x2x8x6xf32>
}
