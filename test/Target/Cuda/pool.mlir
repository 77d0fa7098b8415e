// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s

// Every window has elements of the data, and they are neighbours: one outside is replaced by the nearest inside, so that nothing branches.
// CHECK-LABEL: // loop: max_pool
// CHECK: loop_0(
// CHECK-NOT: for (
// CHECK: flame_min(flame_max({{.*}}, 0), 8)
// CHECK-COUNT-9: = in0[
// CHECK-NOT: for (
// CHECK: out0[
func.func @nearest(%x: tensor<2x3x9x16xf32>) -> tensor<2x3x5x8xf32> {
  %0 = flame.region "loop"(%x) : (tensor<2x3x9x16xf32>) -> tensor<2x3x5x8xf32> {
  ^bb0(%a: tensor<2x3x9x16xf32>):
    %1:2 = flame.max_pool %a {kernel = array<i64: 3, 3>, strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 1, 1, 1, 1>} : (tensor<2x3x9x16xf32>) -> (tensor<2x3x5x8xf32>, tensor<2x3x5x8xi64>)
    flame.yield %1#0 : tensor<2x3x5x8xf32>
  }
  return %0 : tensor<2x3x5x8xf32>
}

// The element next to a hole of a window with holes is none of its own: loops over what lies in the data.
// CHECK: loop_1(
// CHECK-COUNT-2: for (
// CHECK: = in0[
func.func @apart(%x: tensor<2x3x9x16xf32>) -> tensor<2x3x7x14xf32> {
  %0 = flame.region "loop"(%x) : (tensor<2x3x9x16xf32>) -> tensor<2x3x7x14xf32> {
  ^bb0(%a: tensor<2x3x9x16xf32>):
    %1:2 = flame.max_pool %a {kernel = array<i64: 3, 3>, strides = array<i64: 1, 1>, dilations = array<i64: 2, 2>, pads = array<i64: 1, 1, 1, 1>} : (tensor<2x3x9x16xf32>) -> (tensor<2x3x7x14xf32>, tensor<2x3x7x14xi64>)
    flame.yield %1#0 : tensor<2x3x7x14xf32>
  }
  return %0 : tensor<2x3x7x14xf32>
}
