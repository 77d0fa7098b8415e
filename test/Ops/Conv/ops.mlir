// RUN: flame-opt %s | flame-opt | FileCheck %s

// CHECK-LABEL: func.func @conv
func.func @conv(%x: tensor<?x6x9x?xf32>, %w: tensor<4x3x3x3xf32>) {
  %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
  // CHECK: flame.conv {{.*}} -> tensor<?x4x5x?xf32>
  %0 = flame.conv %x, %w, %pads {strides = array<i64: 2, 1>, dilations = array<i64: 1, 1>, groups = 2} : (tensor<?x6x9x?xf32>, tensor<4x3x3x3xf32>, tensor<4xi64>) -> tensor<?x4x5x?xf32>
  return
}

// CHECK-LABEL: func.func @window_larger_than_image
func.func @window_larger_than_image(%x: tensor<1x1x2xf32>, %w: tensor<1x1x3xf32>) {
  %pads = flame.constant {value = dense<0> : tensor<2xi64>} : () -> tensor<2xi64>
  // CHECK: flame.conv {{.*}} -> tensor<1x1x0xf32>
  %0 = flame.conv %x, %w, %pads {strides = array<i64: 1>, dilations = array<i64: 1>} : (tensor<1x1x2xf32>, tensor<1x1x3xf32>, tensor<2xi64>) -> tensor<1x1x0xf32>
  return
}

// CHECK-LABEL: func.func @transposed
func.func @transposed(%x: tensor<1x4x3x3xf32>, %w: tensor<4x5x3x3xf32>) {
  %pads = flame.constant {value = dense<[1, 1, 0, 0]> : tensor<4xi64>} : () -> tensor<4xi64>
  %more = flame.constant {value = dense<[0, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  // CHECK: flame.conv_transpose {{.*}} -> tensor<1x10x6x7xf32>
  %0 = flame.conv_transpose %x, %w, %pads, %more {strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, groups = 2} : (tensor<1x4x3x3xf32>, tensor<4x5x3x3xf32>, tensor<4xi64>, tensor<2xi64>) -> tensor<1x10x6x7xf32>
  return
}

// CHECK-LABEL: func.func @deformed
func.func @deformed(%x: tensor<1x2x4x4xf32>, %w: tensor<3x2x2x2xf32>, %offset: tensor<1x8x3x3xf32>, %mask: tensor<1x4x3x3xf32>) {
  %pads = flame.constant {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
  // CHECK: flame.deform_conv {{.*}} -> tensor<1x3x3x3xf32>
  %0 = flame.deform_conv %x, %w, %pads, %offset, %mask {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x2x4x4xf32>, tensor<3x2x2x2xf32>, tensor<4xi64>, tensor<1x8x3x3xf32>, tensor<1x4x3x3xf32>) -> tensor<1x3x3x3xf32>
  return
}
