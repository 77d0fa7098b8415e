// RUN: flame-opt %s | flame-opt | FileCheck %s

// CHECK-LABEL: @branches
func.func @branches(%c: tensor<i1>, %a: tensor<2xf32>, %b: tensor<3xf32>) -> tensor<?xf32> {
  // CHECK: flame.if %{{.*}} : (tensor<i1>) -> tensor<?xf32> {
  // CHECK:   flame.yield
  // CHECK: } else {
  %0 = flame.if %c : (tensor<i1>) -> tensor<?xf32> {
    flame.yield %a : tensor<2xf32>
  } else {
    flame.yield %b : tensor<3xf32>
  }
  return %0 : tensor<?xf32>
}

// CHECK-LABEL: @sequences
func.func @sequences(%c: tensor<i1>, %a: !flame.seq<tensor<2xf32>>, %b: !flame.seq<tensor<3xf32>>)
    -> !flame.seq<tensor<?xf32>> {
  %0 = flame.if %c : (tensor<i1>) -> !flame.seq<tensor<?xf32>> {
    flame.yield %a : !flame.seq<tensor<2xf32>>
  } else {
    flame.yield %b : !flame.seq<tensor<3xf32>>
  }
  return %0 : !flame.seq<tensor<?xf32>>
}

// A counted loop: the scan output has the trip count as its first dim.
// CHECK-LABEL: @counted
func.func @counted(%x: tensor<4xf32>, %zero: tensor<4xf32>) -> (tensor<4xf32>, tensor<5x4xf32>) {
  %n = flame.constant {value = dense<5> : tensor<i64>} : () -> tensor<i64>
  // CHECK: flame.loop %{{.*}}, %{{.*}} {has_condition = false, has_trip = true}
  %sum, %all = flame.loop %n, %zero {has_trip = true, has_condition = false}
      : (tensor<i64>, tensor<4xf32>) -> (tensor<4xf32>, tensor<5x4xf32>) {
  ^body(%i: tensor<i64>, %go: tensor<i1>, %total: tensor<4xf32>):
    %next = flame.add %total, %x : (tensor<4xf32>, tensor<4xf32>) -> tensor<4xf32>
    flame.yield %go, %next, %next : tensor<i1>, tensor<4xf32>, tensor<4xf32>
  }
  return %sum, %all : tensor<4xf32>, tensor<5x4xf32>
}

// A dim that iterations change, and one of unknown size that they don't.
// CHECK-LABEL: @growing
func.func @growing(%c: tensor<i1>, %x: tensor<1x?xf32>) -> tensor<?x?xf32> {
  // CHECK: fixed = [array<i64: 1>]
  %0 = flame.loop %c, %x {has_trip = false, has_condition = true, fixed = [array<i64: 1>]}
      : (tensor<i1>, tensor<1x?xf32>) -> tensor<?x?xf32> {
  ^body(%i: tensor<i64>, %go: tensor<i1>, %rows: tensor<?x?xf32>):
    %more = flame.concat %rows, %x {axis = 0 : i64} : (tensor<?x?xf32>, tensor<1x?xf32>) -> tensor<?x?xf32>
    flame.yield %go, %more : tensor<i1>, tensor<?x?xf32>
  }
  return %0 : tensor<?x?xf32>
}
