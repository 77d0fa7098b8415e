// RUN: flame-opt %s --flame-emit-cuda=wgmma --split-input-file | FileCheck %s
// Of a matrix that lies as the result does, such as a residual, the store reads whole lines; bodies get its elements.

// CHECK-LABEL: // contract: matmul add mul add
// CHECK: const auto body = [&](const int row, const int column, const float sum) -> unsigned short {
// CHECK-NEXT: in4[row * 3072 + column]
// CHECK: const auto bodyOfSource = [&](const int row, const int column, const float sum, const unsigned short element) -> unsigned short {
// CHECK-NEXT: in2[column]
// CHECK-NEXT: in3[column]
// CHECK-NEXT: flame_bf16_to_float(element)
// CHECK: flame::wgmmaGemm<
// CHECK: [&](int) { return flame::sourced(flame::tensorStore<unsigned short>(map2, bodyOfSource), in4, (int)3072); });
// CHECK: flame::store<true>(out0, body, place)
func.func @gate(%x: tensor<4608x3072xbf16>, %w: tensor<3072x3072xbf16>, %b: tensor<3072xbf16>, %g: tensor<1x3072xbf16>, %r: tensor<4608x3072xbf16>) -> tensor<4608x3072xbf16> {
  %0 = flame.region "contract"(%x, %w, %b, %g, %r) : (tensor<4608x3072xbf16>, tensor<3072x3072xbf16>, tensor<3072xbf16>, tensor<1x3072xbf16>, tensor<4608x3072xbf16>) -> tensor<4608x3072xbf16> {
  ^bb0(%a: tensor<4608x3072xbf16>, %c: tensor<3072x3072xbf16>, %d: tensor<3072xbf16>, %e: tensor<1x3072xbf16>, %f: tensor<4608x3072xbf16>):
    %1 = flame.matmul %a, %c {transpose_y = true} : (tensor<4608x3072xbf16>, tensor<3072x3072xbf16>) -> tensor<4608x3072xbf16>
    %2 = flame.add %1, %d : (tensor<4608x3072xbf16>, tensor<3072xbf16>) -> tensor<4608x3072xbf16>
    %3 = flame.mul %2, %e : (tensor<4608x3072xbf16>, tensor<1x3072xbf16>) -> tensor<4608x3072xbf16>
    %4 = flame.add %f, %3 : (tensor<4608x3072xbf16>, tensor<4608x3072xbf16>) -> tensor<4608x3072xbf16>
    flame.yield %4 : tensor<4608x3072xbf16>
  }
  return %0 : tensor<4608x3072xbf16>
}

// -----

// Of two, the first; of batches, from their own first row on.
// CHECK-LABEL: // contract: matmul add add
// CHECK: const auto bodyOfSource = [&](const int row, const int column, const float sum, const unsigned short element) -> unsigned short {
// CHECK: in3[
// CHECK: flame::sourced(flame::tensorStore<unsigned short>(map2, flame::fromRow(first, bodyOfSource)), in2 + first * 1280, (int)1280); });
func.func @batches(%x: tensor<3x1024x512xf16>, %y: tensor<3x512x1280xf16>, %r: tensor<3x1024x1280xf16>, %s: tensor<3x1024x1280xf16>) -> tensor<3x1024x1280xf16> {
  %0 = flame.region "contract"(%x, %y, %r, %s) : (tensor<3x1024x512xf16>, tensor<3x512x1280xf16>, tensor<3x1024x1280xf16>, tensor<3x1024x1280xf16>) -> tensor<3x1024x1280xf16> {
  ^bb0(%a: tensor<3x1024x512xf16>, %c: tensor<3x512x1280xf16>, %d: tensor<3x1024x1280xf16>, %e: tensor<3x1024x1280xf16>):
    %1 = flame.matmul %a, %c : (tensor<3x1024x512xf16>, tensor<3x512x1280xf16>) -> tensor<3x1024x1280xf16>
    %2 = flame.add %1, %d : (tensor<3x1024x1280xf16>, tensor<3x1024x1280xf16>) -> tensor<3x1024x1280xf16>
    %3 = flame.add %2, %e : (tensor<3x1024x1280xf16>, tensor<3x1024x1280xf16>) -> tensor<3x1024x1280xf16>
    flame.yield %3 : tensor<3x1024x1280xf16>
  }
  return %0 : tensor<3x1024x1280xf16>
}

// -----

// Elements of another width lie elsewhere, as do those of a column for all and of a transposed matrix.
// CHECK-LABEL: // contract: transpose cast matmul add add add
// CHECK-NOT: flame::sourced(
// CHECK: flame::tensorStore<unsigned short>(map2, body)
// CHECK-NOT: flame::sourced(
// CHECK: #else
func.func @others(%x: tensor<3072x1024xbf16>, %y: tensor<1024x3072xbf16>, %r: tensor<3072x3072xf32>, %s: tensor<3072x3072xbf16>, %t: tensor<3072x1xbf16>) -> tensor<3072x3072xbf16> {
  %0 = flame.region "contract"(%x, %y, %r, %s, %t) : (tensor<3072x1024xbf16>, tensor<1024x3072xbf16>, tensor<3072x3072xf32>, tensor<3072x3072xbf16>, tensor<3072x1xbf16>) -> tensor<3072x3072xbf16> {
  ^bb0(%a: tensor<3072x1024xbf16>, %c: tensor<1024x3072xbf16>, %d: tensor<3072x3072xf32>, %e: tensor<3072x3072xbf16>, %f: tensor<3072x1xbf16>):
    %t0 = flame.transpose %e {perm = array<i64: 1, 0>} : (tensor<3072x3072xbf16>) -> tensor<3072x3072xbf16>
    %c0 = flame.cast %d {to = bf16} : (tensor<3072x3072xf32>) -> tensor<3072x3072xbf16>
    %1 = flame.matmul %a, %c : (tensor<3072x1024xbf16>, tensor<1024x3072xbf16>) -> tensor<3072x3072xbf16>
    %2 = flame.add %1, %c0 : (tensor<3072x3072xbf16>, tensor<3072x3072xbf16>) -> tensor<3072x3072xbf16>
    %3 = flame.add %2, %t0 : (tensor<3072x3072xbf16>, tensor<3072x3072xbf16>) -> tensor<3072x3072xbf16>
    %4 = flame.add %3, %f : (tensor<3072x3072xbf16>, tensor<3072x1xbf16>) -> tensor<3072x3072xbf16>
    flame.yield %4 : tensor<3072x3072xbf16>
  }
  return %0 : tensor<3072x3072xbf16>
}

// -----

// Channels last.
// CHECK-LABEL: // conv: transpose transpose conv transpose add transpose
// CHECK: flame::wgmmaGemm<
// CHECK: [&](int) { return flame::sourced(flame::tensorStore<unsigned short>(map2, bodyOfSource), in2, (int)640); });
func.func @planes(%x: tensor<2x64x64x640xbf16>, %w: tensor<640x3x3x640xbf16>, %r: tensor<2x64x64x640xbf16>) -> tensor<2x64x64x640xbf16> {
  %0 = flame.region "conv"(%x, %w, %r) : (tensor<2x64x64x640xbf16>, tensor<640x3x3x640xbf16>, tensor<2x64x64x640xbf16>) -> tensor<2x64x64x640xbf16> {
  ^bb0(%a: tensor<2x64x64x640xbf16>, %c: tensor<640x3x3x640xbf16>, %d: tensor<2x64x64x640xbf16>):
    %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
    %1 = flame.transpose %a {perm = array<i64: 0, 3, 1, 2>} : (tensor<2x64x64x640xbf16>) -> tensor<2x640x64x64xbf16>
    %2 = flame.transpose %c {perm = array<i64: 0, 3, 1, 2>} : (tensor<640x3x3x640xbf16>) -> tensor<640x640x3x3xbf16>
    %3 = flame.conv %1, %2, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<2x640x64x64xbf16>, tensor<640x640x3x3xbf16>, tensor<4xi64>) -> tensor<2x640x64x64xbf16>
    %4 = flame.transpose %d {perm = array<i64: 0, 3, 1, 2>} : (tensor<2x64x64x640xbf16>) -> tensor<2x640x64x64xbf16>
    %5 = flame.add %3, %4 : (tensor<2x640x64x64xbf16>, tensor<2x640x64x64xbf16>) -> tensor<2x640x64x64xbf16>
    %6 = flame.transpose %5 {perm = array<i64: 0, 2, 3, 1>} : (tensor<2x640x64x64xbf16>) -> tensor<2x64x64x640xbf16>
    flame.yield %6 : tensor<2x64x64x640xbf16>
  }
  return %0 : tensor<2x64x64x640xbf16>
}

// -----

// The largest tiles with turns have no registers for it.
// CHECK-LABEL: // contract: matmul add
// CHECK: wgmmaGemm<flame::WgmmaSchedule{128, 192, {{[0-9]+, [0-9]+, [0-9]+}}, true,
// CHECK-NOT: flame::sourced(
// CHECK: flame::tensorStore<unsigned short>(
// CHECK-NOT: flame::sourced(
// CHECK: #else
func.func @turns(%x: tensor<3x1024x512xf16>, %y: tensor<3x512x3072xf16>, %r: tensor<3x1024x3072xf16>) -> tensor<3x1024x3072xf16> {
  %0 = flame.region "contract"(%x, %y, %r) : (tensor<3x1024x512xf16>, tensor<3x512x3072xf16>, tensor<3x1024x3072xf16>) -> tensor<3x1024x3072xf16> {
  ^bb0(%a: tensor<3x1024x512xf16>, %c: tensor<3x512x3072xf16>, %d: tensor<3x1024x3072xf16>):
    %1 = flame.matmul %a, %c : (tensor<3x1024x512xf16>, tensor<3x512x3072xf16>) -> tensor<3x1024x3072xf16>
    %2 = flame.add %1, %d : (tensor<3x1024x3072xf16>, tensor<3x1024x3072xf16>) -> tensor<3x1024x3072xf16>
    flame.yield %2 : tensor<3x1024x3072xf16>
  }
  return %0 : tensor<3x1024x3072xf16>
}

// -----

// Two products at once, and rows in groups, have bodies that read.
// CHECK-LABEL: // contract: matmul matmul mul add
// CHECK-NOT: flame::sourced(
// CHECK: flame::PairedTensors{
// CHECK-NOT: flame::sourced(
// CHECK: #else
func.func @pair(%x: tensor<4096x512xbf16>, %y: tensor<512x1280xbf16>, %z: tensor<512x1280xbf16>, %r: tensor<4096x1280xbf16>) -> tensor<4096x1280xbf16> {
  %0 = flame.region "contract"(%x, %y, %z, %r) : (tensor<4096x512xbf16>, tensor<512x1280xbf16>, tensor<512x1280xbf16>, tensor<4096x1280xbf16>) -> tensor<4096x1280xbf16> {
  ^bb0(%a: tensor<4096x512xbf16>, %c: tensor<512x1280xbf16>, %d: tensor<512x1280xbf16>, %e: tensor<4096x1280xbf16>):
    %1 = flame.matmul %a, %c : (tensor<4096x512xbf16>, tensor<512x1280xbf16>) -> tensor<4096x1280xbf16>
    %2 = flame.matmul %a, %d : (tensor<4096x512xbf16>, tensor<512x1280xbf16>) -> tensor<4096x1280xbf16>
    %3 = flame.mul %1, %2 : (tensor<4096x1280xbf16>, tensor<4096x1280xbf16>) -> tensor<4096x1280xbf16>
    %4 = flame.add %3, %e : (tensor<4096x1280xbf16>, tensor<4096x1280xbf16>) -> tensor<4096x1280xbf16>
    flame.yield %4 : tensor<4096x1280xbf16>
  }
  return %0 : tensor<4096x1280xbf16>
}

// -----

// CHECK-LABEL: // contract: grouped_matmul add
// CHECK-NOT: flame::sourced(
// CHECK: flame::clippedStore<
// CHECK-NOT: flame::sourced(
// CHECK: #else
func.func @groups(%x: tensor<4096x1024xbf16>, %w: tensor<8x2048x1024xbf16>, %e: tensor<8xi32>, %r: tensor<4096x2048xbf16>) -> tensor<4096x2048xbf16> {
  %0 = flame.region "contract"(%x, %w, %e, %r) : (tensor<4096x1024xbf16>, tensor<8x2048x1024xbf16>, tensor<8xi32>, tensor<4096x2048xbf16>) -> tensor<4096x2048xbf16> {
  ^bb0(%a: tensor<4096x1024xbf16>, %c: tensor<8x2048x1024xbf16>, %d: tensor<8xi32>, %f: tensor<4096x2048xbf16>):
    %1 = flame.grouped_matmul %a, %c, %d {transpose_y = true} : (tensor<4096x1024xbf16>, tensor<8x2048x1024xbf16>, tensor<8xi32>) -> tensor<4096x2048xbf16>
    %2 = flame.add %1, %f : (tensor<4096x2048xbf16>, tensor<4096x2048xbf16>) -> tensor<4096x2048xbf16>
    flame.yield %2 : tensor<4096x2048xbf16>
  }
  return %0 : tensor<4096x2048xbf16>
}
