// RUN: flame-opt %s | FileCheck %s

// CHECK-LABEL: @gathers
func.func @gathers(%x: tensor<?x5x7xf16>, %i: tensor<2x3xi32>, %e: tensor<2x5x9xi64>, %t: tensor<4x2xi64>) -> tensor<?x2x3x7xf16> {
  // CHECK: flame.gather {{.*}} {axis = 1 : i64} : (tensor<?x5x7xf16>, tensor<2x3xi32>) -> tensor<?x2x3x7xf16>
  %0 = flame.gather %x, %i {axis = 1 : i64} : (tensor<?x5x7xf16>, tensor<2x3xi32>) -> tensor<?x2x3x7xf16>
  // CHECK: flame.gather_elements {{.*}} -> tensor<2x5x9xf16>
  %1 = flame.gather_elements %x, %e {axis = 2 : i64} : (tensor<?x5x7xf16>, tensor<2x5x9xi64>) -> tensor<2x5x9xf16>
  // CHECK: flame.gather_nd {{.*}} -> tensor<4x7xf16>
  %2 = flame.gather_nd %x, %t : (tensor<?x5x7xf16>, tensor<4x2xi64>) -> tensor<4x7xf16>
  return %0 : tensor<?x2x3x7xf16>
}

// Values of a shape go through a gather with constant indices.
// CHECK-LABEL: @follow
func.func @follow(%x: tensor<?x8xf32>, %y: tensor<8x?xf32>) -> tensor<8xi64> {
  %shape = flame.shape_of %x : (tensor<?x8xf32>) -> tensor<2xi64>
  %last = flame.constant {value = dense<-1> : tensor<i64>} : () -> tensor<i64>
  %n = flame.gather %shape, %last {axis = 0 : i64} : (tensor<2xi64>, tensor<i64>) -> tensor<i64>
  // CHECK: flame.iota {{.*}} -> tensor<8xi64>
  %0 = flame.iota %n {type = i64} : (tensor<i64>) -> tensor<8xi64>
  return %0 : tensor<8xi64>
}

// CHECK-LABEL: @scatters
func.func @scatters(%x: tensor<5x7xi8>, %i: tensor<2x7xi64>, %u: tensor<2x7xi8>, %t: tensor<3x1xi64>, %v: tensor<3x7xi8>, %l: tensor<7xi64>) -> tensor<5x7xi8> {
  %0 = flame.scatter_elements %x, %i, %u {axis = 0 : i64, reduction = "add"} : (tensor<5x7xi8>, tensor<2x7xi64>, tensor<2x7xi8>) -> tensor<5x7xi8>
  %1 = flame.scatter_nd %0, %t, %v : (tensor<5x7xi8>, tensor<3x1xi64>, tensor<3x7xi8>) -> tensor<5x7xi8>
  %2 = flame.reverse_sequence %1, %l {batch_axis = 1 : i64, time_axis = 0 : i64} : (tensor<5x7xi8>, tensor<7xi64>) -> tensor<5x7xi8>
  return %2 : tensor<5x7xi8>
}

// CHECK-LABEL: @ends
// CHECK: flame.check_ends {{.*}} -> tensor<?xi32>
func.func @ends(%e: tensor<?xi32>, %rows: tensor<1xi64>) -> tensor<?xi32> {
  %0 = flame.check_ends %e, %rows : (tensor<?xi32>, tensor<1xi64>) -> tensor<?xi32>
  return %0 : tensor<?xi32>
}

// CHECK-LABEL: @data_dependent
func.func @data_dependent(%x: tensor<5x7xf32>, %c: tensor<?xi1>, %k: tensor<1xi64>) {
  %0 = flame.nonzero %x : (tensor<5x7xf32>) -> tensor<2x?xi64>
  %1 = flame.compress %x, %c {axis = 1 : i64} : (tensor<5x7xf32>, tensor<?xi1>) -> tensor<5x?xf32>
  %2:4 = flame.unique %x : (tensor<5x7xf32>) -> (tensor<?xf32>, tensor<?xi64>, tensor<35xi64>, tensor<?xi64>)
  %3:2 = flame.topk %x, %k {axis = 0 : i64} : (tensor<5x7xf32>, tensor<1xi64>) -> (tensor<?x7xf32>, tensor<?x7xi64>)
  return
}
