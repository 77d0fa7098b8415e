// RUN: flame-opt %s --flame-print-cost --split-input-file -o %t.mlir | FileCheck %s

// CHECK: matmul: 64*[[N:[a-z0-9]+]] operations, 128 + 48*[[N]] bytes
// CHECK: reduce: 8*[[N]] operations
// CHECK: exp: [[N]] operations, 8*[[N]] bytes
// CHECK: total: 73*[[N]] operations
func.func @main(%x: tensor<?x4xf32> {flame.dims = ["n", ""]}, %w: tensor<4x8xf32>) -> tensor<?x1xf32> {
  %0 = flame.matmul %x, %w : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
  %1 = flame.reduce %0 {axes = array<i64: 1>, kind = "sum"} : (tensor<?x8xf32>) -> tensor<?x1xf32>
  %2 = flame.exp %1 : (tensor<?x1xf32>) -> tensor<?x1xf32>
  return %2 : tensor<?x1xf32>
}

// -----

// Movement costs bytes alone, and only those of the rows that it takes.
// CHECK: gather: 0 operations, 528 bytes
// CHECK: conv: 4608 operations, {{.*}} bytes
func.func @main(%table: tensor<1000x32xf32>, %rows: tensor<2xi64>, %x: tensor<1x4x4x8xf32>, %w: tensor<8x1x3x3xf32>) -> (tensor<2x32xf32>, tensor<1x8x4x8xf32>) {
  %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
  %0 = flame.gather %table, %rows {axis = 0 : i64} : (tensor<1000x32xf32>, tensor<2xi64>) -> tensor<2x32xf32>
  %1 = flame.conv %x, %w, %pads {groups = 4, strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x4x4x8xf32>, tensor<8x1x3x3xf32>, tensor<4xi64>) -> tensor<1x8x4x8xf32>
  return %0, %1 : tensor<2x32xf32>, tensor<1x8x4x8xf32>
}

// -----

// A region: the operations of its body, the bytes of its inputs and results.
// CHECK: region: 128 operations, 512 bytes
// CHECK-NEXT: total: 128 operations, 512 bytes
func.func @main(%x: tensor<64xf32>) -> tensor<64xf32> {
  %0 = flame.region "loop"(%x) : (tensor<64xf32>) -> tensor<64xf32> {
  ^bb0(%a: tensor<64xf32>):
    %1 = flame.tanh %a : (tensor<64xf32>) -> tensor<64xf32>
    %2 = flame.neg %1 : (tensor<64xf32>) -> tensor<64xf32>
    flame.yield %2 : tensor<64xf32>
  }
  return %0 : tensor<64xf32>
}

// -----

// Of groups, as if every row had one.
// CHECK: grouped_matmul: 560 operations, 756 bytes
func.func @main(%x: tensor<14x4xf32>, %y: tensor<3x4x5xf32>, %e: tensor<3xi32>) -> tensor<14x5xf32> {
  %0 = flame.grouped_matmul %x, %y, %e : (tensor<14x4xf32>, tensor<3x4x5xf32>, tensor<3xi32>) -> tensor<14x5xf32>
  return %0 : tensor<14x5xf32>
}
