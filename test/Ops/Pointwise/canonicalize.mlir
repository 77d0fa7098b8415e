// RUN: flame-opt %s --canonicalize --split-input-file | FileCheck %s

// CHECK-LABEL: @identities
// CHECK-SAME: (%[[X:.*]]: tensor<?xf32>, %[[N:.*]]: tensor<4xi64>)
func.func @identities(%x: tensor<?xf32>, %n: tensor<4xi64>) -> (tensor<?xf32>, tensor<4xi64>) {
  %one = flame.constant {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %zero = flame.constant {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %none = flame.constant {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
  %0 = flame.mul %one, %x : (tensor<f32>, tensor<?xf32>) -> tensor<?xf32>
  %1 = flame.sub %0, %zero : (tensor<?xf32>, tensor<f32>) -> tensor<?xf32>
  %2 = flame.pow %1, %one : (tensor<?xf32>, tensor<f32>) -> tensor<?xf32>
  %3 = flame.neg %2 : (tensor<?xf32>) -> tensor<?xf32>
  %4 = flame.neg %3 : (tensor<?xf32>) -> tensor<?xf32>
  %5 = flame.add %n, %none : (tensor<4xi64>, tensor<4xi64>) -> tensor<4xi64>
  // CHECK-NEXT: return %[[X]], %[[N]]
  return %4, %5 : tensor<?xf32>, tensor<4xi64>
}

// -----

// What changes the shape or a sign stays.
// CHECK-LABEL: @kept
func.func @kept(%x: tensor<?xf32>, %ones: tensor<?xf32>) -> (tensor<1x?xf32>, tensor<?xf32>) {
  %one = flame.constant {value = dense<1.0> : tensor<1x1xf32>} : () -> tensor<1x1xf32>
  %zero = flame.constant {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  // CHECK: flame.mul
  %0 = flame.mul %x, %one : (tensor<?xf32>, tensor<1x1xf32>) -> tensor<1x?xf32>
  // CHECK: flame.add
  %1 = flame.add %x, %zero : (tensor<?xf32>, tensor<f32>) -> tensor<?xf32>
  return %0, %1 : tensor<1x?xf32>, tensor<?xf32>
}

// -----

// CHECK-LABEL: @casts
// CHECK-SAME: (%[[X:.*]]: tensor<?xbf16>, %[[Y:.*]]: tensor<?xf32>)
func.func @casts(%x: tensor<?xbf16>, %y: tensor<?xf32>) -> (tensor<?xbf16>, tensor<?xf32>) {
  %0 = flame.cast %x {to = f32} : (tensor<?xbf16>) -> tensor<?xf32>
  %1 = flame.cast %0 {to = bf16} : (tensor<?xf32>) -> tensor<?xbf16>
  // Rounding is not undone.
  // CHECK: flame.cast %[[Y]] {to = bf16}
  %2 = flame.cast %y {to = bf16} : (tensor<?xf32>) -> tensor<?xbf16>
  %3 = flame.cast %2 {to = f32} : (tensor<?xbf16>) -> tensor<?xf32>
  // CHECK: return %[[X]],
  return %1, %3 : tensor<?xbf16>, tensor<?xf32>
}

// -----

// CHECK-LABEL: @where
// CHECK-SAME: (%[[X:.*]]: tensor<2xf32>, %[[Y:.*]]: tensor<2xf32>)
func.func @where(%x: tensor<2xf32>, %y: tensor<2xf32>) -> tensor<2xf32> {
  %c = flame.constant {value = dense<false> : tensor<i1>} : () -> tensor<i1>
  %0 = flame.where %c, %x, %y : (tensor<i1>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  // CHECK: return %[[Y]]
  return %0 : tensor<2xf32>
}
