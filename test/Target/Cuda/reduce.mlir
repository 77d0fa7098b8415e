// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s

// Sums of columns: neighbouring threads have neighbouring columns, four each; lanes share the rows, blocks share them once
// more, and the block that comes last adds up.
// CHECK-LABEL: // loop: reduce
// CHECK: loop_0({{.*}}, unsigned long long *__restrict__ scratch, unsigned int *__restrict__ state) {
// CHECK: for (int [[ROW:i[0-9]+]] = {{.*}} += 8) {
// CHECK-NEXT: [[ROW]] * 4096
// CHECK-NEXT: flame_load<4>(in0 +
// CHECK: __syncthreads();
// CHECK: scratch[
// CHECK: flame::comesLast(state, {{.*}}, (int)(16), [[LAST:shared[0-9]+]]);
// CHECK-NEXT: [[IS:v[0-9]+]] = [[LAST]][0];
// CHECK-NEXT: if ([[IS]]) {
// CHECK: scratch[
// CHECK: flame_store<4>(out0 +
func.func @columns(%x: tensor<32768x4096xf32>) -> tensor<4096xf32> {
  %0 = flame.region "loop"(%x) : (tensor<32768x4096xf32>) -> tensor<4096xf32> {
  ^bb0(%a: tensor<32768x4096xf32>):
    %1 = flame.reduce %a {axes = array<i64: 0>, keepdims = false, kind = "sum"} : (tensor<32768x4096xf32>) -> tensor<4096xf32>
    flame.yield %1 : tensor<4096xf32>
  }
  return %0 : tensor<4096xf32>
}

// A channel's elements lie in pieces: neighbouring threads read neighbours within them. Enough results for all
// multiprocessors, so each is one block's.
// CHECK-LABEL: // loop: reduce
// CHECK: loop_1(
// CHECK-NOT: scratch
// CHECK: += 256) {
// CHECK: flame_load<4>(in0 +
// CHECK: out0[{{.*}}] = {{v[0-9]+}} / 100352.0f;
func.func @channels(%x: tensor<32x2048x56x56xf32>) -> tensor<2048xf32> {
  %0 = flame.region "loop"(%x) : (tensor<32x2048x56x56xf32>) -> tensor<2048xf32> {
  ^bb0(%a: tensor<32x2048x56x56xf32>):
    %1 = flame.reduce %a {axes = array<i64: 0, 2, 3>, keepdims = false, kind = "mean"} : (tensor<32x2048x56x56xf32>) -> tensor<2048xf32>
    flame.yield %1 : tensor<2048xf32>
  }
  return %0 : tensor<2048xf32>
}

// The position of a maximum travels with it; indices that the kernel itself put into memory stay 32 bits.
// CHECK-LABEL: // loop: arg_reduce
// CHECK: loop_2(
// CHECK: __shared__ float
// CHECK: __shared__ int
// CHECK: flame_min({{.*}}, 8000)
// CHECK: out0[{{.*}}] = (unsigned long long)
func.func @argmax(%x: tensor<64x32000xf32>) -> tensor<64xi64> {
  %0 = flame.region "loop"(%x) : (tensor<64x32000xf32>) -> tensor<64xi64> {
  ^bb0(%a: tensor<64x32000xf32>):
    %1 = flame.arg_reduce %a {axis = 1 : i64, keepdims = false, kind = "max"} : (tensor<64x32000xf32>) -> tensor<64xi64>
    flame.yield %1 : tensor<64xi64>
  }
  return %0 : tensor<64xi64>
}

// Two reductions of one shape in one pass, and what is computed from them.
// CHECK-LABEL: // loop: mul reduce reduce sub
// CHECK: loop_3(
// CHECK: in0[
// CHECK-NOT: in0[
// CHECK: out0[
func.func @both(%x: tensor<1000x7xf32>) -> tensor<7xf32> {
  %0 = flame.region "loop"(%x) : (tensor<1000x7xf32>) -> tensor<7xf32> {
  ^bb0(%a: tensor<1000x7xf32>):
    %1 = flame.mul %a, %a : (tensor<1000x7xf32>, tensor<1000x7xf32>) -> tensor<1000x7xf32>
    %2 = flame.reduce %a {axes = array<i64: 0>, keepdims = false, kind = "sum"} : (tensor<1000x7xf32>) -> tensor<7xf32>
    %3 = flame.reduce %1 {axes = array<i64: 0>, keepdims = false, kind = "sum"} : (tensor<1000x7xf32>) -> tensor<7xf32>
    %4 = flame.sub %3, %2 : (tensor<7xf32>, tensor<7xf32>) -> tensor<7xf32>
    flame.yield %4 : tensor<7xf32>
  }
  return %0 : tensor<7xf32>
}

// So few elements that the thread of their result does them.
// CHECK-LABEL: // loop: reduce
// CHECK: loop_4(
// CHECK-NOT: __shared__
func.func @few(%x: tensor<4x100000xf32>) -> tensor<100000xf32> {
  %0 = flame.region "loop"(%x) : (tensor<4x100000xf32>) -> tensor<100000xf32> {
  ^bb0(%a: tensor<4x100000xf32>):
    %1 = flame.reduce %a {axes = array<i64: 0>, keepdims = false, kind = "sum"} : (tensor<4x100000xf32>) -> tensor<100000xf32>
    flame.yield %1 : tensor<100000xf32>
  }
  return %0 : tensor<100000xf32>
}
