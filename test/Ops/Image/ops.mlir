// RUN: flame-opt %s | FileCheck %s

// CHECK-LABEL: @resize
func.func @resize(%x: tensor<1x3x8x?xf32>, %t: tensor<3xf32>, %n: tensor<1xi64>) -> tensor<1x3x16x?xf32> {
  %size = flame.constant {value = dense<16> : tensor<1xi64>} : () -> tensor<1xi64>
  // CHECK: flame.resize {{.*}} -> tensor<1x3x16x?xf32>
  %0 = flame.resize %x, %size {axis = 2 : i64, mode = "linear", coordinates = "half_pixel"} : (tensor<1x3x8x?xf32>, tensor<1xi64>) -> tensor<1x3x16x?xf32>
  %1 = flame.resize %0, %n, %t {axis = 3 : i64, mode = "nearest", coordinates = "tf_crop_and_resize", rounding = "floor"} : (tensor<1x3x16x?xf32>, tensor<1xi64>, tensor<3xf32>) -> tensor<1x3x16x?xf32>
  return %1 : tensor<1x3x16x?xf32>
}

// CHECK-LABEL: @sample
func.func @sample(%x: tensor<2x3x8x9xf32>, %grid: tensor<2x4x5x2xf32>, %rois: tensor<?x4xf32>, %b: tensor<?xi64>) {
  // CHECK: flame.grid_sample {{.*}} -> tensor<2x3x4x5xf32>
  %0 = flame.grid_sample %x, %grid {mode = "cubic", padding = "border", align_corners = false} : (tensor<2x3x8x9xf32>, tensor<2x4x5x2xf32>) -> tensor<2x3x4x5xf32>
  // CHECK: flame.roi_align {{.*}} -> tensor<?x3x7x6xf32>
  %1 = flame.roi_align %x, %rois, %b {mode = "avg", output_height = 7 : i64, output_width = 6 : i64, sampling_ratio = 2 : i64, spatial_scale = 0.5 : f64, half_pixel = true} : (tensor<2x3x8x9xf32>, tensor<?x4xf32>, tensor<?xi64>) -> tensor<?x3x7x6xf32>
  return
}

// CHECK-LABEL: @blocks
func.func @blocks(%x: tensor<1x5x5xf32>, %m: tensor<4x3x3xf32>) {
  %image = flame.constant {value = dense<5> : tensor<2xi64>} : () -> tensor<2xi64>
  %block = flame.constant {value = dense<[1, 5]> : tensor<2xi64>} : () -> tensor<2xi64>
  // CHECK: flame.col2im {{.*}} -> tensor<1x1x5x5xf32>
  %0 = flame.col2im %x, %image, %block {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : (tensor<1x5x5xf32>, tensor<2xi64>, tensor<2xi64>) -> tensor<1x1x5x5xf32>
  // CHECK: flame.det {{.*}} -> (tensor<4xf32>, tensor<4x3x3xf32>)
  %1:2 = flame.det %m : (tensor<4x3x3xf32>) -> (tensor<4xf32>, tensor<4x3x3xf32>)
  return
}
