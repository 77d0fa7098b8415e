// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s

// Short rows: a warp each, joined by shuffles alone.
// CHECK-LABEL: // row: reduce sub exp
// CHECK: row_0(
// CHECK-NOT: __shared__
// CHECK: / 32
// CHECK-COUNT-5: __shfl_xor_sync
// CHECK-NOT: __syncthreads
// CHECK: expf(
// CHECK-LABEL: // row: reduce
func.func @short(%x: tensor<100x64xf32>) -> tensor<100x64xf32> {
  %0 = flame.region "row"(%x) : (tensor<100x64xf32>) -> tensor<100x64xf32> {
  ^bb0(%a: tensor<100x64xf32>):
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "max"} : (tensor<100x64xf32>) -> tensor<100x1xf32>
    %2 = flame.sub %a, %1 : (tensor<100x64xf32>, tensor<100x1xf32>) -> tensor<100x64xf32>
    %3 = flame.exp %2 : (tensor<100x64xf32>) -> tensor<100x64xf32>
    flame.yield %3 : tensor<100x64xf32>
  }
  return %0 : tensor<100x64xf32>
}

// Long rows: a block each, joined through shared memory.
// CHECK: row_1(
// CHECK: __shared__ float [[MEMORY:shared[0-9]+]][8];
// CHECK: for (int [[I:i[0-9]+]] = [[LANE:n[0-9]+]]; [[I]] < 4096; [[I]] += 256) {
// CHECK-COUNT-5: __shfl_xor_sync
// CHECK: [[MEMORY]][
// CHECK: __syncthreads();
func.func @long(%x: tensor<3x4096xf32>) -> tensor<3x1xf32> {
  %0 = flame.region "row"(%x) : (tensor<3x4096xf32>) -> tensor<3x1xf32> {
  ^bb0(%a: tensor<3x4096xf32>):
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "sum"} : (tensor<3x4096xf32>) -> tensor<3x1xf32>
    flame.yield %1 : tensor<3x1xf32>
  }
  return %0 : tensor<3x1xf32>
}
