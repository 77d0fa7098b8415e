// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s

// Short rows: a warp each, joined by shuffles alone. What a thread reads it reads once, four neighbours at a time; in the
// second turn half of the threads have none.
// CHECK-LABEL: // row: reduce sub exp
// CHECK: row_0(
// CHECK-NOT: __shared__
// CHECK: / 32
// CHECK: flame_load<4>(in0 +
// CHECK: const bool [[INSIDE:v[0-9]+]] = {{n[0-9]+}} < 48;
// CHECK: flame_load<4>(in0 +
// CHECK: [[INSIDE]] ?
// CHECK-COUNT-5: __shfl_xor_sync
// CHECK-NOT: in0
// CHECK-NOT: __syncthreads
// CHECK: flame_store<4>(out0 +
// CHECK: if ([[INSIDE]]) {
// CHECK-NEXT: flame_store<4>(out0 + {{.*}}, {expf({{.*}}), expf({{.*}}), expf({{.*}}), expf({{.*}})});
// CHECK-LABEL: // row: reduce
func.func @short(%x: tensor<10001x192xf32>) -> tensor<10001x192xf32> {
  %0 = flame.region "row"(%x) : (tensor<10001x192xf32>) -> tensor<10001x192xf32> {
  ^bb0(%a: tensor<10001x192xf32>):
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "max"} : (tensor<10001x192xf32>) -> tensor<10001x1xf32>
    %2 = flame.sub %a, %1 : (tensor<10001x192xf32>, tensor<10001x1xf32>) -> tensor<10001x192xf32>
    %3 = flame.exp %2 : (tensor<10001x192xf32>) -> tensor<10001x192xf32>
    flame.yield %3 : tensor<10001x192xf32>
  }
  return %0 : tensor<10001x192xf32>
}

// Long rows: a block each, joined through shared memory; all reads are under way before the first shuffle.
// CHECK: row_1(
// CHECK: __shared__ float [[MEMORY:shared[0-9]+]][2];
// CHECK-COUNT-16: flame_load<4>(in0 +
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

// A length that is not known, or too long for registers: a loop.
// CHECK-LABEL: // row: reduce
// CHECK: row_2(
// CHECK: __shared__ float [[MEMORY:shared[0-9]+]][4];
// CHECK: for (long long [[I:i[0-9]+]] = [[LANE:n[0-9]+]]; [[I]] < size0; [[I]] += 128) {
// CHECK-COUNT-5: __shfl_xor_sync
func.func @dynamic(%x: tensor<3x?xf32>) -> tensor<3x1xf32> {
  %0 = flame.region "row"(%x) : (tensor<3x?xf32>) -> tensor<3x1xf32> {
  ^bb0(%a: tensor<3x?xf32>):
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "sum"} : (tensor<3x?xf32>) -> tensor<3x1xf32>
    flame.yield %1 : tensor<3x1xf32>
  }
  return %0 : tensor<3x1xf32>
}

// The weight of a norm is read before the row's sum is waited for.
// CHECK-LABEL: // row: mul reduce mul mul
// CHECK: flame_load<4>(in0
// CHECK: flame_load<4>(in1
// CHECK: __shfl_xor_sync
func.func @weight(%x: tensor<8x256xf32>, %w: tensor<256xf32>) -> tensor<8x256xf32> {
  %0 = flame.region "row"(%x, %w) : (tensor<8x256xf32>, tensor<256xf32>) -> tensor<8x256xf32> {
  ^bb0(%a: tensor<8x256xf32>, %b: tensor<256xf32>):
    %1 = flame.mul %a, %a : (tensor<8x256xf32>, tensor<8x256xf32>) -> tensor<8x256xf32>
    %2 = flame.reduce %1 {axes = array<i64: 1>, kind = "sum"} : (tensor<8x256xf32>) -> tensor<8x1xf32>
    %3 = flame.mul %a, %2 : (tensor<8x256xf32>, tensor<8x1xf32>) -> tensor<8x256xf32>
    %4 = flame.mul %3, %b : (tensor<8x256xf32>, tensor<256xf32>) -> tensor<8x256xf32>
    flame.yield %4 : tensor<8x256xf32>
  }
  return %0 : tensor<8x256xf32>
}
