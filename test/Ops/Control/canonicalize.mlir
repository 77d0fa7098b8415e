// RUN: flame-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: @constant_condition
// CHECK-NEXT: return %arg1
func.func @constant_condition(%a: tensor<2xf32>, %b: tensor<2xf32>) -> tensor<2xf32> {
  %c = flame.constant {value = dense<false> : tensor<i1>} : () -> tensor<i1>
  %0 = flame.if %c : (tensor<i1>) -> tensor<2xf32> {
    flame.yield %a : tensor<2xf32>
  } else {
    flame.yield %b : tensor<2xf32>
  }
  return %0 : tensor<2xf32>
}

// CHECK-LABEL: @unused
// CHECK-NEXT: return
func.func @unused(%c: tensor<i1>, %a: tensor<2xf32>) {
  %0 = flame.if %c : (tensor<i1>) -> tensor<2xf32> {
    flame.yield %a : tensor<2xf32>
  } else {
    flame.yield %a : tensor<2xf32>
  }
  return
}
