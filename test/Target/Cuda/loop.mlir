// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s
// A thread an element; sizes that are not known are arguments.

// CHECK-LABEL: // loop: add relu
// CHECK-NEXT: extern "C" __global__ void __launch_bounds__(256)
// CHECK-NEXT: loop_0(const float *__restrict__ in0, float *__restrict__ out0, const long long size0) {
// CHECK: = (long long)blockIdx.x * 256 + (long long)threadIdx.x;
// CHECK: if ([[AT:n[0-9]+]] < size0) {
// CHECK: [[X:v[0-9]+]] = in0[[[AT]]];
// CHECK: out0[[[AT]]] = flame_maximum([[X]] + [[X]], 0.0f);
func.func @pointwise(%x: tensor<?xf32>) -> tensor<?xf32> {
  %0 = flame.region "loop"(%x) : (tensor<?xf32>) -> tensor<?xf32> {
  ^bb0(%a: tensor<?xf32>):
    %1 = flame.add %a, %a : (tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
    %2 = flame.relu %1 : (tensor<?xf32>) -> tensor<?xf32>
    flame.yield %2 : tensor<?xf32>
  }
  return %0 : tensor<?xf32>
}

// Halves are their bits; a transpose is an index.
// CHECK-LABEL: // loop: transpose
// CHECK: loop_1(const unsigned short *__restrict__ in0, unsigned short *__restrict__ out0) {
// CHECK: if ([[AT:n[0-9]+]] < 35) {
// CHECK: in0[{{.*}} % 5 * 7 + {{.*}} / 5]
func.func @transpose(%x: tensor<5x7xf16>) -> tensor<7x5xf16> {
  %0 = flame.region "loop"(%x) : (tensor<5x7xf16>) -> tensor<7x5xf16> {
  ^bb0(%a: tensor<5x7xf16>):
    %1 = flame.transpose %a {perm = array<i64: 1, 0>} : (tensor<5x7xf16>) -> tensor<7x5xf16>
    flame.yield %1 : tensor<7x5xf16>
  }
  return %0 : tensor<7x5xf16>
}

// To bf16 through f32, rounded to odd: the comparison is false on NaN.
// CHECK-LABEL: // loop: cast
// CHECK: [[X:v[0-9]+]] = in0[
// CHECK: [[BACK:v[0-9]+]] = (double)
// CHECK: ([[BACK]] < [[X]] || [[BACK]] > [[X]])
func.func @narrow(%x: tensor<?xf64>) -> tensor<?xbf16> {
  %0 = flame.region "loop"(%x) : (tensor<?xf64>) -> tensor<?xbf16> {
  ^bb0(%a: tensor<?xf64>):
    %1 = flame.cast %a {to = bf16} : (tensor<?xf64>) -> tensor<?xbf16>
    flame.yield %1 : tensor<?xbf16>
  }
  return %0 : tensor<?xbf16>
}
