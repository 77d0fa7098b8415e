// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s

// Both dims are multiples of eight: a thread turns a square of eight by eight, 16 bytes an access, without shared memory.
// CHECK-LABEL: // loop: transpose relu
// CHECK: loop_0(
// CHECK-NOT: __shared__
// CHECK-COUNT-8: flame_load<8>(in0 +
// CHECK-COUNT-8: flame_store<8>(out0 +
// CHECK-NOT: out0
func.func @squares(%x: tensor<4096x2056xbf16>) -> tensor<2056x4096xbf16> {
  %0 = flame.region "loop"(%x) : (tensor<4096x2056xbf16>) -> tensor<2056x4096xbf16> {
  ^bb0(%a: tensor<4096x2056xbf16>):
    %1 = flame.transpose %a {perm = array<i64: 1, 0>} : (tensor<4096x2056xbf16>) -> tensor<2056x4096xbf16>
    %2 = flame.relu %1 : (tensor<2056x4096xbf16>) -> tensor<2056x4096xbf16>
    flame.yield %2 : tensor<2056x4096xbf16>
  }
  return %0 : tensor<2056x4096xbf16>
}

// An odd dim: tiles through shared memory, as for dims that are not known and for matrices too small to fill a GPU by squares.
// CHECK-LABEL: // loop: transpose
// CHECK: loop_1(
// CHECK: __shared__ float
// CHECK: __syncthreads();
func.func @tiles(%x: tensor<4096x2047xf32>) -> tensor<2047x4096xf32> {
  %0 = flame.region "loop"(%x) : (tensor<4096x2047xf32>) -> tensor<2047x4096xf32> {
  ^bb0(%a: tensor<4096x2047xf32>):
    %1 = flame.transpose %a {perm = array<i64: 1, 0>} : (tensor<4096x2047xf32>) -> tensor<2047x4096xf32>
    flame.yield %1 : tensor<2047x4096xf32>
  }
  return %0 : tensor<2047x4096xf32>
}
