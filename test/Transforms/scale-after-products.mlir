// RUN: flame-opt %s --flame-scale-after-products --split-input-file | FileCheck %s

// A scale for each row of x and for each column of y; y is a constant, stored along the columns.
// CHECK-LABEL: @rows_and_columns
// CHECK-SAME: %[[Q:.*]]: tensor<16x64xf8E4M3FN>, %[[S:.*]]: tensor<16x1xf32>
func.func @rows_and_columns(%q: tensor<16x64xf8E4M3FN>, %s: tensor<16x1xf32>) -> tensor<16x32xbf16> {
  %w = flame.weight {name = "w", ref = #flame.weight_ref<"w", 0, 2048>, type = tensor<64x32xf8E4M3FN>} : () -> tensor<64x32xf8E4M3FN>
  %t = flame.weight {name = "t", ref = #flame.weight_ref<"w", 2048, 128>, type = tensor<32xf32>} : () -> tensor<32xf32>
  // CHECK-DAG: %[[W:.*]] = flame.weight {{.*}}tensor<64x32xf8E4M3FN>
  // CHECK-DAG: %[[T:.*]] = flame.weight {{.*}}tensor<32xf32>
  // CHECK: %[[V:.*]] = flame.transpose %[[W]] {perm = array<i64: 1, 0>}
  // CHECK: %[[P:.*]] = flame.matmul %[[Q]], %[[V]] {transpose_y = true, type = f32}
  // CHECK: %[[A:.*]] = flame.mul %[[P]], %[[S]]
  // CHECK: %[[B:.*]] = flame.mul %[[A]], %[[T]]
  // CHECK: %[[C:.*]] = flame.cast %[[B]] {excess, to = bf16}
  // CHECK: return %[[C]]
  %0 = flame.cast %q {to = f32} : (tensor<16x64xf8E4M3FN>) -> tensor<16x64xf32>
  %1 = flame.mul %0, %s : (tensor<16x64xf32>, tensor<16x1xf32>) -> tensor<16x64xf32>
  %2 = flame.cast %1 {to = bf16, excess} : (tensor<16x64xf32>) -> tensor<16x64xbf16>
  %3 = flame.cast %w {to = f32} : (tensor<64x32xf8E4M3FN>) -> tensor<64x32xf32>
  %4 = flame.mul %t, %3 : (tensor<32xf32>, tensor<64x32xf32>) -> tensor<64x32xf32>
  %5 = flame.cast %4 {to = bf16, excess} : (tensor<64x32xf32>) -> tensor<64x32xbf16>
  %6 = flame.matmul %2, %5 : (tensor<16x64xbf16>, tensor<64x32xbf16>) -> tensor<16x32xbf16>
  return %6 : tensor<16x32xbf16>
}

// -----

// Signed bytes with zero points of 0: sums of 32 bits. Both operands are transposed, and their scales with them.
// CHECK-LABEL: @bytes
// CHECK-SAME: %[[X:.*]]: tensor<8x16xi8>, %[[Y:.*]]: tensor<12x8xi8>, %[[S:.*]]: tensor<1x16xf32>, %[[T:.*]]: tensor<12x1xf32>
func.func @bytes(%x: tensor<8x16xi8>, %y: tensor<12x8xi8>, %s: tensor<1x16xf32>, %t: tensor<12x1xf32>) -> tensor<16x12xf32> {
  // CHECK: %[[P:.*]] = flame.matmul %[[X]], %[[Y]] {transpose_x = true, transpose_y = true, type = i32}
  // CHECK: %[[F:.*]] = flame.cast %[[P]] {to = f32}
  // CHECK: %[[A:.*]] = flame.transpose %[[S]] {perm = array<i64: 1, 0>}
  // CHECK: %[[B:.*]] = flame.mul %[[F]], %[[A]]
  // CHECK: %[[C:.*]] = flame.transpose %[[T]] {perm = array<i64: 1, 0>}
  // CHECK: %[[D:.*]] = flame.mul %[[B]], %[[C]]
  // CHECK: return %[[D]]
  %zero = flame.constant {value = dense<0> : tensor<i8>} : () -> tensor<i8>
  %z = flame.cast %zero {to = f32} : (tensor<i8>) -> tensor<f32>
  %0 = flame.cast %x {to = f32} : (tensor<8x16xi8>) -> tensor<8x16xf32>
  %1 = flame.sub %0, %z : (tensor<8x16xf32>, tensor<f32>) -> tensor<8x16xf32>
  %2 = flame.mul %1, %s : (tensor<8x16xf32>, tensor<1x16xf32>) -> tensor<8x16xf32>
  %3 = flame.cast %y {to = f32} : (tensor<12x8xi8>) -> tensor<12x8xf32>
  %4 = flame.mul %3, %t : (tensor<12x8xf32>, tensor<12x1xf32>) -> tensor<12x8xf32>
  %5 = flame.matmul %2, %4 {transpose_x = true, transpose_y = true} : (tensor<8x16xf32>, tensor<12x8xf32>) -> tensor<16x12xf32>
  return %5 : tensor<16x12xf32>
}

// -----

// A scale that changes along the inner dim, a zero point, a conversion of the model's own: as they are.
// CHECK-LABEL: @others
func.func @others(%x: tensor<4x8xf8E5M2>, %y: tensor<8x4xf8E5M2>, %u: tensor<4x8xi8>, %v: tensor<8x4xi8>, %s: tensor<8xf32>)
    -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xbf16>) {
  // CHECK-NOT: type =
  // CHECK: flame.matmul %{{.*}}, %{{.*}} : (tensor<4x8xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  // CHECK: flame.matmul %{{.*}}, %{{.*}} : (tensor<4x8xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  // CHECK: flame.matmul %{{.*}}, %{{.*}} : (tensor<4x8xbf16>, tensor<8x4xbf16>) -> tensor<4x4xbf16>
  %0 = flame.cast %x {to = f32} : (tensor<4x8xf8E5M2>) -> tensor<4x8xf32>
  %1 = flame.cast %y {to = f32} : (tensor<8x4xf8E5M2>) -> tensor<8x4xf32>
  %2 = flame.mul %0, %s : (tensor<4x8xf32>, tensor<8xf32>) -> tensor<4x8xf32>
  %3 = flame.matmul %2, %1 : (tensor<4x8xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  %one = flame.constant {value = dense<1.0> : tensor<f32>} : () -> tensor<f32>
  %4 = flame.cast %u {to = f32} : (tensor<4x8xi8>) -> tensor<4x8xf32>
  %5 = flame.sub %4, %one : (tensor<4x8xf32>, tensor<f32>) -> tensor<4x8xf32>
  %6 = flame.cast %v {to = f32} : (tensor<8x4xi8>) -> tensor<8x4xf32>
  %7 = flame.matmul %5, %6 : (tensor<4x8xf32>, tensor<8x4xf32>) -> tensor<4x4xf32>
  %8 = flame.cast %0 {to = bf16} : (tensor<4x8xf32>) -> tensor<4x8xbf16>
  %9 = flame.cast %1 {to = bf16} : (tensor<8x4xf32>) -> tensor<8x4xbf16>
  %10 = flame.matmul %8, %9 : (tensor<4x8xbf16>, tensor<8x4xbf16>) -> tensor<4x4xbf16>
  return %3, %7, %10 : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xbf16>
}

// -----

// Scales for blocks of 128 as DequantizeLinear repeats them: x has one for each row, y one for each column; the last block is a part of one.
// CHECK-LABEL: @blocks_of_rows
// CHECK-SAME: %[[Q:.*]]: tensor<16x200xf8E4M3FN>, %[[S:.*]]: tensor<16x2xf32>, %[[W:.*]]: tensor<32x200xf8E4M3FN>, %[[T:.*]]: tensor<32x2xbf16>
func.func @blocks_of_rows(%q: tensor<16x200xf8E4M3FN>, %s: tensor<16x2xf32>, %w: tensor<32x200xf8E4M3FN>, %t: tensor<32x2xbf16>) -> tensor<16x32xbf16> {
  // CHECK: %[[U:.*]] = flame.cast %[[T]] {to = f32}
  // CHECK: %[[P:.*]] = flame.scaled_matmul %[[Q]], %[[W]], %[[S]], %[[U]] {columns = 1 : i64, depth = 128 : i64, type = bf16}
  // CHECK: return %[[P]]
  %i0 = flame.constant {value = dense<0> : tensor<2xi64>} : () -> tensor<2xi64>
  %i1 = flame.constant {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
  %xs = flame.constant {value = dense<[16, 200]> : tensor<2xi64>} : () -> tensor<2xi64>
  %x1 = flame.constant {value = dense<[16, 2, 1]> : tensor<3xi64>} : () -> tensor<3xi64>
  %x2 = flame.constant {value = dense<[16, 2, 128]> : tensor<3xi64>} : () -> tensor<3xi64>
  %x3 = flame.constant {value = dense<[16, 256]> : tensor<2xi64>} : () -> tensor<2xi64>
  %ys = flame.constant {value = dense<[32, 200]> : tensor<2xi64>} : () -> tensor<2xi64>
  %y1 = flame.constant {value = dense<[32, 2, 1]> : tensor<3xi64>} : () -> tensor<3xi64>
  %y2 = flame.constant {value = dense<[32, 2, 128]> : tensor<3xi64>} : () -> tensor<3xi64>
  %y3 = flame.constant {value = dense<[32, 256]> : tensor<2xi64>} : () -> tensor<2xi64>
  %0 = flame.cast %q {to = f32} : (tensor<16x200xf8E4M3FN>) -> tensor<16x200xf32>
  %1 = flame.reshape %s, %x1 : (tensor<16x2xf32>, tensor<3xi64>) -> tensor<16x2x1xf32>
  %2 = flame.expand %1, %x2 : (tensor<16x2x1xf32>, tensor<3xi64>) -> tensor<16x2x128xf32>
  %3 = flame.reshape %2, %x3 : (tensor<16x2x128xf32>, tensor<2xi64>) -> tensor<16x256xf32>
  %4 = flame.slice %3, %i0, %xs, %i1 : (tensor<16x256xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<16x200xf32>
  %5 = flame.mul %0, %4 : (tensor<16x200xf32>, tensor<16x200xf32>) -> tensor<16x200xf32>
  %6 = flame.cast %5 {to = bf16, excess} : (tensor<16x200xf32>) -> tensor<16x200xbf16>
  %7 = flame.cast %w {to = f32} : (tensor<32x200xf8E4M3FN>) -> tensor<32x200xf32>
  %8 = flame.reshape %t, %y1 : (tensor<32x2xbf16>, tensor<3xi64>) -> tensor<32x2x1xbf16>
  %9 = flame.expand %8, %y2 : (tensor<32x2x1xbf16>, tensor<3xi64>) -> tensor<32x2x128xbf16>
  %10 = flame.reshape %9, %y3 : (tensor<32x2x128xbf16>, tensor<2xi64>) -> tensor<32x256xbf16>
  %11 = flame.slice %10, %i0, %ys, %i1 : (tensor<32x256xbf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<32x200xbf16>
  %12 = flame.cast %11 {to = f32} : (tensor<32x200xbf16>) -> tensor<32x200xf32>
  %13 = flame.mul %7, %12 : (tensor<32x200xf32>, tensor<32x200xf32>) -> tensor<32x200xf32>
  %14 = flame.cast %13 {to = bf16, excess} : (tensor<32x200xf32>) -> tensor<32x200xbf16>
  %15 = flame.matmul %6, %14 {transpose_y = true} : (tensor<16x200xbf16>, tensor<32x200xbf16>) -> tensor<16x32xbf16>
  return %15 : tensor<16x32xbf16>
}

// -----

// Scales multiplied in a shape whose dims are blocks and places in them; a constant y with its inner dim first, and x with a scale for each
// row, which all blocks have.
// CHECK-LABEL: @squares
// CHECK-SAME: %[[Q:.*]]: tensor<16x256xf8E4M3FN>, %[[S:.*]]: tensor<16x1xf32>, %[[T:.*]]: tensor<2x3xf32>
func.func @squares(%q: tensor<16x256xf8E4M3FN>, %s: tensor<16x1xf32>, %t: tensor<2x3xf32>) -> tensor<16x384xf32> {
  // CHECK: %[[W:.*]] = flame.weight
  // CHECK: %[[V:.*]] = flame.transpose %[[W]] {perm = array<i64: 1, 0>}
  // CHECK: %[[E:.*]] = flame.expand %[[S]]
  // CHECK: %[[U:.*]] = flame.transpose %[[T]] {perm = array<i64: 1, 0>}
  // CHECK: %[[P:.*]] = flame.scaled_matmul %[[Q]], %[[V]], %[[E]], %[[U]] {columns = 128 : i64, depth = 128 : i64, type = f32}
  // CHECK: return %[[P]]
  %w = flame.weight {name = "w", ref = #flame.weight_ref<"w", 0, 98304>, type = tensor<256x384xf8E4M3FN>} : () -> tensor<256x384xf8E4M3FN>
  %blocks = flame.constant {value = dense<[2, 128, 3, 128]> : tensor<4xi64>} : () -> tensor<4xi64>
  %each = flame.constant {value = dense<[2, 1, 3, 1]> : tensor<4xi64>} : () -> tensor<4xi64>
  %whole = flame.constant {value = dense<[256, 384]> : tensor<2xi64>} : () -> tensor<2xi64>
  %0 = flame.cast %q {to = f32} : (tensor<16x256xf8E4M3FN>) -> tensor<16x256xf32>
  %1 = flame.mul %0, %s : (tensor<16x256xf32>, tensor<16x1xf32>) -> tensor<16x256xf32>
  %2 = flame.cast %w {to = f32} : (tensor<256x384xf8E4M3FN>) -> tensor<256x384xf32>
  %3 = flame.reshape %2, %blocks : (tensor<256x384xf32>, tensor<4xi64>) -> tensor<2x128x3x128xf32>
  %4 = flame.reshape %t, %each : (tensor<2x3xf32>, tensor<4xi64>) -> tensor<2x1x3x1xf32>
  %5 = flame.mul %3, %4 : (tensor<2x128x3x128xf32>, tensor<2x1x3x1xf32>) -> tensor<2x128x3x128xf32>
  %6 = flame.reshape %5, %whole : (tensor<2x128x3x128xf32>, tensor<2xi64>) -> tensor<256x384xf32>
  %7 = flame.matmul %1, %6 : (tensor<16x256xf32>, tensor<256x384xf32>) -> tensor<16x384xf32>
  return %7 : tensor<16x384xf32>
}

// -----

// Blocks of another size, scales that are repeated as a whole, rows of x that share a scale: as they are.
// CHECK-LABEL: @other_blocks
func.func @other_blocks(%q: tensor<128x256xf8E5M2>, %w: tensor<32x256xf8E5M2>, %s: tensor<128x4xf32>, %t: tensor<32x2xf32>, %u: tensor<32x128xf32>,
                        %v: tensor<2x2xf32>) -> (tensor<128x32xf32>, tensor<128x32xf32>, tensor<128x32xf32>) {
  // CHECK-NOT: scaled_matmul
  %q64 = flame.constant {value = dense<[128, 4, 64]> : tensor<3xi64>} : () -> tensor<3xi64>
  %q1 = flame.constant {value = dense<[128, 4, 1]> : tensor<3xi64>} : () -> tensor<3xi64>
  %qs = flame.constant {value = dense<[128, 256]> : tensor<2xi64>} : () -> tensor<2xi64>
  %w128 = flame.constant {value = dense<[32, 2, 128]> : tensor<3xi64>} : () -> tensor<3xi64>
  %w1 = flame.constant {value = dense<[32, 2, 1]> : tensor<3xi64>} : () -> tensor<3xi64>
  %wt = flame.constant {value = dense<[32, 1, 128]> : tensor<3xi64>} : () -> tensor<3xi64>
  %ws = flame.constant {value = dense<[32, 256]> : tensor<2xi64>} : () -> tensor<2xi64>
  %r4 = flame.constant {value = dense<[2, 64, 2, 128]> : tensor<4xi64>} : () -> tensor<4xi64>
  %r1 = flame.constant {value = dense<[2, 1, 2, 1]> : tensor<4xi64>} : () -> tensor<4xi64>
  %x = flame.cast %q {to = f32} : (tensor<128x256xf8E5M2>) -> tensor<128x256xf32>
  %y = flame.cast %w {to = f32} : (tensor<32x256xf8E5M2>) -> tensor<32x256xf32>
  %x3 = flame.reshape %x, %q64 : (tensor<128x256xf32>, tensor<3xi64>) -> tensor<128x4x64xf32>
  %s3 = flame.reshape %s, %q1 : (tensor<128x4xf32>, tensor<3xi64>) -> tensor<128x4x1xf32>
  %xm = flame.mul %x3, %s3 : (tensor<128x4x64xf32>, tensor<128x4x1xf32>) -> tensor<128x4x64xf32>
  %x64 = flame.reshape %xm, %qs : (tensor<128x4x64xf32>, tensor<2xi64>) -> tensor<128x256xf32>
  %t3 = flame.reshape %t, %w1 : (tensor<32x2xf32>, tensor<3xi64>) -> tensor<32x2x1xf32>
  %te = flame.expand %t3, %w128 : (tensor<32x2x1xf32>, tensor<3xi64>) -> tensor<32x2x128xf32>
  %tw = flame.reshape %te, %ws : (tensor<32x2x128xf32>, tensor<2xi64>) -> tensor<32x256xf32>
  %y128 = flame.mul %y, %tw : (tensor<32x256xf32>, tensor<32x256xf32>) -> tensor<32x256xf32>
  %u3 = flame.reshape %u, %wt : (tensor<32x128xf32>, tensor<3xi64>) -> tensor<32x1x128xf32>
  %ue = flame.expand %u3, %w128 : (tensor<32x1x128xf32>, tensor<3xi64>) -> tensor<32x2x128xf32>
  %uw = flame.reshape %ue, %ws : (tensor<32x2x128xf32>, tensor<2xi64>) -> tensor<32x256xf32>
  %yu = flame.mul %y, %uw : (tensor<32x256xf32>, tensor<32x256xf32>) -> tensor<32x256xf32>
  %xr = flame.reshape %x, %r4 : (tensor<128x256xf32>, tensor<4xi64>) -> tensor<2x64x2x128xf32>
  %v4 = flame.reshape %v, %r1 : (tensor<2x2xf32>, tensor<4xi64>) -> tensor<2x1x2x1xf32>
  %xv = flame.mul %xr, %v4 : (tensor<2x64x2x128xf32>, tensor<2x1x2x1xf32>) -> tensor<2x64x2x128xf32>
  %x2 = flame.reshape %xv, %qs : (tensor<2x64x2x128xf32>, tensor<2xi64>) -> tensor<128x256xf32>
  %0 = flame.matmul %x64, %y128 {transpose_y = true} : (tensor<128x256xf32>, tensor<32x256xf32>) -> tensor<128x32xf32>
  %1 = flame.matmul %x2, %yu {transpose_y = true} : (tensor<128x256xf32>, tensor<32x256xf32>) -> tensor<128x32xf32>
  %2 = flame.matmul %x2, %y128 {transpose_y = true} : (tensor<128x256xf32>, tensor<32x256xf32>) -> tensor<128x32xf32>
  return %0, %1, %2 : tensor<128x32xf32>, tensor<128x32xf32>, tensor<128x32xf32>
}

// -----

// Elements are moved as they are where the scale is one number; what they are multiplied by otherwise comes after the product, too. A scale that
// is known stays a number.
// CHECK-LABEL: @moved
// CHECK-SAME: %[[Q:.*]]: tensor<5x24xf8E4M3FN>, %[[K:.*]]: tensor<5x24xf8E4M3FN>, %[[S:.*]]: tensor<1xf32>
func.func @moved(%q: tensor<5x24xf8E4M3FN>, %k: tensor<5x24xf8E4M3FN>, %s: tensor<1xf32>) -> tensor<3x5x5xf32> {
  // CHECK: %[[Q3:.*]] = flame.reshape %[[Q]], {{.*}} -> tensor<5x3x8xf8E4M3FN>
  // CHECK: %[[QT:.*]] = flame.transpose %[[Q3]] {{.*}} -> tensor<3x5x8xf8E4M3FN>
  // CHECK: %[[K3:.*]] = flame.reshape %[[K]], {{.*}} -> tensor<5x3x8xf8E4M3FN>
  // CHECK: %[[KT:.*]] = flame.transpose %[[K3]] {{.*}} -> tensor<3x8x5xf8E4M3FN>
  // CHECK: %[[P:.*]] = flame.matmul %[[QT]], %[[KT]] {type = f32}
  // CHECK: %[[A:.*]] = flame.mul %[[P]], %[[S]]
  // CHECK: %[[T:.*]] = flame.constant {{.*}}dense<2.500000e-01> : tensor<f32>
  // CHECK: %[[B:.*]] = flame.mul %[[A]], %[[T]]
  // CHECK: %[[H:.*]] = flame.constant {{.*}}dense<5.000000e-01> : tensor<f32>
  // CHECK: %[[C:.*]] = flame.mul %[[B]], %[[H]]
  // CHECK: return %[[C]]
  %split = flame.constant {value = dense<[5, 3, 8]> : tensor<3xi64>} : () -> tensor<3xi64>
  %half = flame.constant {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %t = flame.constant {value = dense<0.25> : tensor<bf16>} : () -> tensor<bf16>
  %tf = flame.cast %t {to = f32} : (tensor<bf16>) -> tensor<f32>
  %0 = flame.cast %q {to = f32} : (tensor<5x24xf8E4M3FN>) -> tensor<5x24xf32>
  %1 = flame.mul %0, %s : (tensor<5x24xf32>, tensor<1xf32>) -> tensor<5x24xf32>
  %2 = flame.reshape %1, %split : (tensor<5x24xf32>, tensor<3xi64>) -> tensor<5x3x8xf32>
  %3 = flame.mul %2, %half : (tensor<5x3x8xf32>, tensor<f32>) -> tensor<5x3x8xf32>
  %4 = flame.transpose %3 {perm = array<i64: 1, 0, 2>} : (tensor<5x3x8xf32>) -> tensor<3x5x8xf32>
  %5 = flame.cast %k {to = f32} : (tensor<5x24xf8E4M3FN>) -> tensor<5x24xf32>
  %6 = flame.mul %5, %tf : (tensor<5x24xf32>, tensor<f32>) -> tensor<5x24xf32>
  %7 = flame.reshape %6, %split : (tensor<5x24xf32>, tensor<3xi64>) -> tensor<5x3x8xf32>
  %8 = flame.transpose %7 {perm = array<i64: 1, 2, 0>} : (tensor<5x3x8xf32>) -> tensor<3x8x5xf32>
  %9 = flame.matmul %4, %8 : (tensor<3x5x8xf32>, tensor<3x8x5xf32>) -> tensor<3x5x5xf32>
  return %9 : tensor<3x5x5xf32>
}

// -----

// A scale of each row would have to move with its elements.
// CHECK-LABEL: @moved_rows
// CHECK: flame.matmul %{{.*}}, %{{.*}} : (tensor<24x5xf32>, tensor<5x24xf32>) -> tensor<24x24xf32>
func.func @moved_rows(%q: tensor<5x24xf8E4M3FN>, %k: tensor<5x24xf8E4M3FN>, %s: tensor<5x1xf32>) -> tensor<24x24xf32> {
  %0 = flame.cast %q {to = f32} : (tensor<5x24xf8E4M3FN>) -> tensor<5x24xf32>
  %1 = flame.mul %0, %s : (tensor<5x24xf32>, tensor<5x1xf32>) -> tensor<5x24xf32>
  %2 = flame.transpose %1 {perm = array<i64: 1, 0>} : (tensor<5x24xf32>) -> tensor<24x5xf32>
  %3 = flame.cast %k {to = f32} : (tensor<5x24xf8E4M3FN>) -> tensor<5x24xf32>
  %4 = flame.matmul %2, %3 : (tensor<24x5xf32>, tensor<5x24xf32>) -> tensor<24x24xf32>
  return %4 : tensor<24x24xf32>
}
