// RUN: flame-opt %s | flame-opt | FileCheck %s

// CHECK-LABEL: func.func @ranks
func.func @ranks(%v: tensor<4xf32>, %m: tensor<4x5xf32>, %b: tensor<7x1x3x4xf32>, %c: tensor<2x4x5xf32>) {
  // CHECK: flame.matmul {{.*}} -> tensor<5xf32>
  %0 = flame.matmul %v, %m : (tensor<4xf32>, tensor<4x5xf32>) -> tensor<5xf32>
  // CHECK: flame.matmul {{.*}} -> tensor<f32>
  %1 = flame.matmul %v, %v : (tensor<4xf32>, tensor<4xf32>) -> tensor<f32>
  // CHECK: flame.matmul {{.*}} -> tensor<7x2x3x5xf32>
  %2 = flame.matmul %b, %c : (tensor<7x1x3x4xf32>, tensor<2x4x5xf32>) -> tensor<7x2x3x5xf32>
  // CHECK: flame.matmul {{.*}} -> tensor<7x1x3xf32>
  %3 = flame.matmul %b, %v : (tensor<7x1x3x4xf32>, tensor<4xf32>) -> tensor<7x1x3xf32>
  return
}

// CHECK-LABEL: func.func @types
func.func @types(%x: tensor<3x4xi8>, %y: tensor<4x5xui8>, %d: tensor<?x?xf16>) {
  // CHECK: flame.matmul {{.*}} {type = i32} {{.*}} -> tensor<3x5xi32>
  %0 = flame.matmul %x, %y {type = i32} : (tensor<3x4xi8>, tensor<4x5xui8>) -> tensor<3x5xi32>
  // CHECK: flame.matmul {{.*}} {transpose_x = true} {{.*}} -> tensor<?x?xf16>
  %1 = flame.matmul %d, %d {transpose_x = true} : (tensor<?x?xf16>, tensor<?x?xf16>) -> tensor<?x?xf16>
  return
}

// CHECK-LABEL: func.func @packed
func.func @packed(%x: tensor<3x4xf32>, %w: tensor<5x4xf32>) {
  // CHECK: flame.pack_panels {{.*}} -> tensor<1x4x16xf32>
  %0 = flame.pack_panels %w {width = 16, transpose = true} : (tensor<5x4xf32>) -> tensor<1x4x16xf32>
  // CHECK: flame.matmul {{.*}} {packed_columns = 5 : i64} {{.*}} -> tensor<3x5xf32>
  %1 = flame.matmul %x, %0 {packed_columns = 5 : i64} : (tensor<3x4xf32>, tensor<1x4x16xf32>) -> tensor<3x5xf32>
  return
}

// CHECK-LABEL: func.func @scaled
func.func @scaled(%x: tensor<2x7x300xf8E4M3FN>, %y: tensor<200x300xf8E4M3FN>, %s: tensor<2x7x3xf32>, %t: tensor<2x3xf32>, %u: tensor<200x3xf32>) {
  // CHECK: flame.scaled_matmul {{.*}} {columns = 128 : i64, depth = 128 : i64, type = bf16} {{.*}} -> tensor<2x7x200xbf16>
  %0 = flame.scaled_matmul %x, %y, %s, %t {columns = 128 : i64, depth = 128 : i64, type = bf16}
    : (tensor<2x7x300xf8E4M3FN>, tensor<200x300xf8E4M3FN>, tensor<2x7x3xf32>, tensor<2x3xf32>) -> tensor<2x7x200xbf16>
  // CHECK: flame.scaled_matmul {{.*}} {columns = 1 : i64, depth = 128 : i64, type = f32} {{.*}} -> tensor<2x7x200xf32>
  %1 = flame.scaled_matmul %x, %y, %s, %u {columns = 1 : i64, depth = 128 : i64, type = f32}
    : (tensor<2x7x300xf8E4M3FN>, tensor<200x300xf8E4M3FN>, tensor<2x7x3xf32>, tensor<200x3xf32>) -> tensor<2x7x200xf32>
  return
}
