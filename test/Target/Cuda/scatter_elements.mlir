// A scatter copies its input, unless its result is stored there; each thread has a line of its own.
// RUN: flame-opt %s --flame-form-regions --flame-emit-cuda | FileCheck %s

// CHECK-LABEL: // loops: scatter_elements
// CHECK: const bool [[SAME:v[0-9]+]] = ((unsigned long long)in0 == (unsigned long long)out0);
// CHECK: if ([[SAME]] != true) {
// CHECK: out0[{{.*}}] = in0[
// CHECK: out0[{{.*}}] = in2[
func.func @main(%x: tensor<2x?x8xf32>, %i: tensor<2x3x8xi64>, %u: tensor<2x3x8xf32>) -> tensor<2x?x8xf32> {
  %0 = flame.scatter_elements %x, %i, %u {axis = 1 : i64} : (tensor<2x?x8xf32>, tensor<2x3x8xi64>, tensor<2x3x8xf32>) -> tensor<2x?x8xf32>
  return %0 : tensor<2x?x8xf32>
}
