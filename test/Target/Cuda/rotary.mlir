// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s

// A row whose halves change places: eight threads have a row of 128, each of them both halves, so there is nothing to choose
// and every element is read once. Four rows share a warp, and shuffles stay among eight threads. The rows are so short that
// each thread takes part in two, and all is read before the first shuffle.
// CHECK-LABEL: // row: reduce mul slice slice neg concat add
// CHECK: row_0(
// CHECK: / 8
// CHECK-NOT: if (
// CHECK-COUNT-4: flame_load<8>(in0 +
// CHECK-NOT: flame_load
// CHECK: __shfl_xor_sync(0xffffffffu, {{.*}}, 4u)
// CHECK: __shfl_xor_sync(0xffffffffu, {{.*}}, 2u)
// CHECK: __shfl_xor_sync(0xffffffffu, {{.*}}, 1u)
// CHECK-COUNT-4: flame_store<8>(out0 +
// CHECK-LABEL: // loop: slice
func.func @halves(%x: tensor<65536x128xbf16>) -> tensor<65536x128xbf16> {
  %0 = flame.region "row"(%x) : (tensor<65536x128xbf16>) -> tensor<65536x128xbf16> {
  ^bb0(%a: tensor<65536x128xbf16>):
    %start = flame.constant {value = dense<0> : tensor<2xi64>} : () -> tensor<2xi64>
    %middle = flame.constant {value = dense<[0, 64]> : tensor<2xi64>} : () -> tensor<2xi64>
    %size = flame.constant {value = dense<[65536, 64]> : tensor<2xi64>} : () -> tensor<2xi64>
    %one = flame.constant {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "sum"} : (tensor<65536x128xbf16>) -> tensor<65536x1xbf16>
    %2 = flame.mul %a, %1 : (tensor<65536x128xbf16>, tensor<65536x1xbf16>) -> tensor<65536x128xbf16>
    %3 = flame.slice %2, %start, %size, %one : (tensor<65536x128xbf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<65536x64xbf16>
    %4 = flame.slice %2, %middle, %size, %one : (tensor<65536x128xbf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<65536x64xbf16>
    %5 = flame.neg %4 : (tensor<65536x64xbf16>) -> tensor<65536x64xbf16>
    %6 = flame.concat %5, %3 {axis = 1 : i64} : (tensor<65536x64xbf16>, tensor<65536x64xbf16>) -> tensor<65536x128xbf16>
    %7 = flame.add %6, %2 : (tensor<65536x128xbf16>, tensor<65536x128xbf16>) -> tensor<65536x128xbf16>
    flame.yield %7 : tensor<65536x128xbf16>
  }
  return %0 : tensor<65536x128xbf16>
}

// Without a reduction a thread has eight neighbours of one half. Which half the others come from decides an offset and a sign,
// and no branch.
// CHECK: loop_1(
// CHECK: const bool [[LEFT:v[0-9]+]] = {{n[0-9]+}} < 64;
// CHECK: ([[LEFT]] ? 128 : 0);
// CHECK-COUNT-2: flame_load<8>(in0 +
// CHECK-NOT: if (
// CHECK: [[LEFT]] ? -{{v[0-9]+}} : {{v[0-9]+}}
// CHECK: flame_store<8>(out0 +
func.func @rotate(%x: tensor<65536x128xbf16>) -> tensor<65536x128xbf16> {
  %0 = flame.region "loop"(%x) : (tensor<65536x128xbf16>) -> tensor<65536x128xbf16> {
  ^bb0(%a: tensor<65536x128xbf16>):
    %start = flame.constant {value = dense<0> : tensor<2xi64>} : () -> tensor<2xi64>
    %middle = flame.constant {value = dense<[0, 64]> : tensor<2xi64>} : () -> tensor<2xi64>
    %size = flame.constant {value = dense<[65536, 64]> : tensor<2xi64>} : () -> tensor<2xi64>
    %one = flame.constant {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
    %3 = flame.slice %a, %start, %size, %one : (tensor<65536x128xbf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<65536x64xbf16>
    %4 = flame.slice %a, %middle, %size, %one : (tensor<65536x128xbf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<65536x64xbf16>
    %5 = flame.neg %4 : (tensor<65536x64xbf16>) -> tensor<65536x64xbf16>
    %6 = flame.concat %5, %3 {axis = 1 : i64} : (tensor<65536x64xbf16>, tensor<65536x64xbf16>) -> tensor<65536x128xbf16>
    %7 = flame.add %6, %a : (tensor<65536x128xbf16>, tensor<65536x128xbf16>) -> tensor<65536x128xbf16>
    flame.yield %7 : tensor<65536x128xbf16>
  }
  return %0 : tensor<65536x128xbf16>
}

// Five short rows: threads of the last warp that have no row compute the last one again, as all must take part in shuffles,
// and store nothing.
// CHECK-LABEL: // row: reduce sub
// CHECK: row_2(
// CHECK: [[ROW:n[0-9]+]] = {{.*}} / 16;
// CHECK: flame_min([[ROW]], 4)
// CHECK-COUNT-4: __shfl_xor_sync
// CHECK: if ([[ROW]] < 5
// CHECK: out0[
func.func @few(%x: tensor<5x13xf32>) -> tensor<5x13xf32> {
  %0 = flame.region "row"(%x) : (tensor<5x13xf32>) -> tensor<5x13xf32> {
  ^bb0(%a: tensor<5x13xf32>):
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "max"} : (tensor<5x13xf32>) -> tensor<5x1xf32>
    %2 = flame.sub %a, %1 : (tensor<5x13xf32>, tensor<5x1xf32>) -> tensor<5x13xf32>
    flame.yield %2 : tensor<5x13xf32>
  }
  return %0 : tensor<5x13xf32>
}
