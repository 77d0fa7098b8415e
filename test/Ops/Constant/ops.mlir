// RUN: flame-opt %s | FileCheck %s

func.func @constants() -> (tensor<2xi64>, tensor<3xui8>, tensor<f32>) {
  // CHECK: flame.constant {value = dense<[2, 3]> : tensor<2xi64>}
  %0 = flame.constant {value = dense<[2, 3]> : tensor<2xi64>} : () -> tensor<2xi64>
  %1 = flame.constant {value = dense<7> : tensor<3xui8>} : () -> tensor<3xui8>
  %2 = flame.constant {value = dense<1.5> : tensor<f32>} : () -> tensor<f32>
  return %0, %1, %2 : tensor<2xi64>, tensor<3xui8>, tensor<f32>
}

func.func @strings() -> tensor<2x!flame.string> {
  // CHECK: dense<["ab", "c"]> : tensor<2x!flame.string>
  %0 = flame.constant {value = dense<["ab", "c"]> : tensor<2x!flame.string>} : () -> tensor<2x!flame.string>
  return %0 : tensor<2x!flame.string>
}

func.func @weight() -> tensor<2x3xbf16> {
  // CHECK: flame.weight {name = "w", ref = #flame.weight_ref<"w.bin", 64, 12>, type = tensor<2x3xbf16>}
  %0 = flame.weight {name = "w", ref = #flame.weight_ref<"w.bin", 64, 12>, type = tensor<2x3xbf16>} : () -> tensor<2x3xbf16>
  return %0 : tensor<2x3xbf16>
}

// Sizes from data are dynamic; from constants, static.
func.func @sizes(%n: tensor<i64>, %shape: tensor<2xi64>, %v: tensor<i1>) -> (tensor<?xi32>, tensor<4xf16>, tensor<?x?xi1>) {
  %four = flame.constant {value = dense<4> : tensor<i64>} : () -> tensor<i64>
  %0 = flame.iota %n {type = i32} : (tensor<i64>) -> tensor<?xi32>
  // CHECK: flame.iota %{{.*}} {type = f16} : (tensor<i64>) -> tensor<4xf16>
  %1 = flame.iota %four {type = f16} : (tensor<i64>) -> tensor<4xf16>
  %2 = flame.fill %shape, %v : (tensor<2xi64>, tensor<i1>) -> tensor<?x?xi1>
  return %0, %1, %2 : tensor<?xi32>, tensor<4xf16>, tensor<?x?xi1>
}
