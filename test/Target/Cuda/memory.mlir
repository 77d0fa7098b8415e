// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s
// Accesses of 16 bytes, tiles for transposes, conversions by the hardware.

// Eight halves a thread; the bias of a dim in the middle is one number for all of them.
// CHECK-LABEL: // loop: add
// CHECK: if ([[AT:n[0-9]+]] < 131072) {
// CHECK: flame_load<8>(in0 +
// CHECK: = in1[
// CHECK-NOT: in1[
// CHECK: flame_store<8>(out0 +
func.func @vector(%x: tensor<4x64x4096xf16>, %y: tensor<64x1xf16>) -> tensor<4x64x4096xf16> {
  %0 = flame.region "loop"(%x, %y) : (tensor<4x64x4096xf16>, tensor<64x1xf16>) -> tensor<4x64x4096xf16> {
  ^bb0(%a: tensor<4x64x4096xf16>, %b: tensor<64x1xf16>):
    %1 = flame.add %a, %b : (tensor<4x64x4096xf16>, tensor<64x1xf16>) -> tensor<4x64x4096xf16>
    flame.yield %1 : tensor<4x64x4096xf16>
  }
  return %0 : tensor<4x64x4096xf16>
}

// An operand without the leading dim is read at its own place.
// CHECK-LABEL: // loop: mul
// CHECK: const int [[GROUP:n[0-9]+]] = (int)blockIdx.x * 256 + (int)threadIdx.x;
// CHECK: const int [[INNER:n[0-9]+]] = [[GROUP]] % 512 * 8;
// CHECK: const int [[LINE:n[0-9]+]] = [[GROUP]] / 512 % 64 * 4096;
// CHECK: flame_load<8>(in1 + [[LINE]] + [[INNER]])
func.func @suffix(%x: tensor<4x64x4096xf16>, %y: tensor<64x4096xf16>) -> tensor<4x64x4096xf16> {
  %0 = flame.region "loop"(%x, %y) : (tensor<4x64x4096xf16>, tensor<64x4096xf16>) -> tensor<4x64x4096xf16> {
  ^bb0(%a: tensor<4x64x4096xf16>, %b: tensor<64x4096xf16>):
    %1 = flame.mul %a, %b : (tensor<4x64x4096xf16>, tensor<64x4096xf16>) -> tensor<4x64x4096xf16>
    flame.yield %1 : tensor<4x64x4096xf16>
  }
  return %0 : tensor<4x64x4096xf16>
}

// An odd last dim: one by one.
// CHECK-LABEL: // loop: relu
// CHECK-NOT: flame_load
// CHECK: out0[
func.func @odd(%x: tensor<70000x17xf16>) -> tensor<70000x17xf16> {
  %0 = flame.region "loop"(%x) : (tensor<70000x17xf16>) -> tensor<70000x17xf16> {
  ^bb0(%a: tensor<70000x17xf16>):
    %1 = flame.relu %a : (tensor<70000x17xf16>) -> tensor<70000x17xf16>
    flame.yield %1 : tensor<70000x17xf16>
  }
  return %0 : tensor<70000x17xf16>
}

// A transpose goes through a tile; what is before it happens on the way in, what is after it on the way out.
// CHECK-LABEL: // loop: exp transpose add
// CHECK: __shared__ float [[TILE:shared[0-9]+]][1056];
// CHECK-COUNT-4: expf(
// CHECK-COUNT-4: [[TILE]][{{.*}}] = {{.*}};
// CHECK: __syncthreads();
// CHECK: [[TILE]][
// CHECK: in1[
// CHECK: out0[
func.func @tile(%x: tensor<2x100x?xf32>, %y: tensor<100xf32>) -> tensor<2x?x100xf32> {
  %0 = flame.region "loop"(%x, %y) : (tensor<2x100x?xf32>, tensor<100xf32>) -> tensor<2x?x100xf32> {
  ^bb0(%a: tensor<2x100x?xf32>, %b: tensor<100xf32>):
    %1 = flame.exp %a : (tensor<2x100x?xf32>) -> tensor<2x100x?xf32>
    %2 = flame.transpose %1 {perm = array<i64: 0, 2, 1>} : (tensor<2x100x?xf32>) -> tensor<2x?x100xf32>
    %3 = flame.add %2, %b : (tensor<2x?x100xf32>, tensor<100xf32>) -> tensor<2x?x100xf32>
    flame.yield %3 : tensor<2x?x100xf32>
  }
  return %0 : tensor<2x?x100xf32>
}

// CHECK-LABEL: // loop: cast
// CHECK: [[X:v[0-9]+]] = in0[
// CHECK: out0[{{.*}}] = flame_float_to_bf16([[X]]);
func.func @bf16(%x: tensor<35xf32>) -> tensor<35xbf16> {
  %0 = flame.region "loop"(%x) : (tensor<35xf32>) -> tensor<35xbf16> {
  ^bb0(%a: tensor<35xf32>):
    %1 = flame.cast %a {to = bf16} : (tensor<35xf32>) -> tensor<35xbf16>
    flame.yield %1 : tensor<35xbf16>
  }
  return %0 : tensor<35xbf16>
}

// CHECK-LABEL: // loop: cast
// CHECK: [[X:v[0-9]+]] = in0[
// CHECK: out0[{{.*}}] = flame_float_to_e4m3([[X]]);
func.func @fp8(%x: tensor<35xf32>) -> tensor<35xf8E4M3FN> {
  %0 = flame.region "loop"(%x) : (tensor<35xf32>) -> tensor<35xf8E4M3FN> {
  ^bb0(%a: tensor<35xf32>):
    %1 = flame.cast %a {to = f8E4M3FN} : (tensor<35xf32>) -> tensor<35xf8E4M3FN>
    flame.yield %1 : tensor<35xf8E4M3FN>
  }
  return %0 : tensor<35xf8E4M3FN>
}

// Half is a number of 16 bits: an integer becomes one by way of float.
// CHECK-LABEL: // loop: cast
// CHECK: flame_float_to_half((float)(signed char)
func.func @half(%x: tensor<35xi8>) -> tensor<35xf16> {
  %0 = flame.region "loop"(%x) : (tensor<35xi8>) -> tensor<35xf16> {
  ^bb0(%a: tensor<35xi8>):
    %1 = flame.cast %a {to = f16} : (tensor<35xi8>) -> tensor<35xf16>
    flame.yield %1 : tensor<35xf16>
  }
  return %0 : tensor<35xf16>
}
