// RUN: flame-opt %s --split-input-file --verify-diagnostics

func.func @f(%x: tensor<1x8xf32>, %n: tensor<1xi64>) {
  // expected-error @+1 {{mode 'area' is none of nearest, linear, cubic}}
  %0 = flame.resize %x, %n {axis = 1 : i64, mode = "area", coordinates = "half_pixel"} : (tensor<1x8xf32>, tensor<1xi64>) -> tensor<1x?xf32>
  return
}

// -----
func.func @f(%x: tensor<1x0xf32>) {
  %n = flame.constant {value = dense<3> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-error @+1 {{can't sample from dimension 1, which is empty}}
  %0 = flame.resize %x, %n {axis = 1 : i64, mode = "nearest", coordinates = "half_pixel"} : (tensor<1x0xf32>, tensor<1xi64>) -> tensor<1x3xf32>
  return
}

// -----
func.func @f(%x: tensor<1x1x8x8xf32>, %grid: tensor<2x4x4x2xf32>) {
  // expected-error @+1 {{x has batch 1, grid 2}}
  %0 = flame.grid_sample %x, %grid {mode = "linear", padding = "zeros", align_corners = false} : (tensor<1x1x8x8xf32>, tensor<2x4x4x2xf32>) -> tensor<1x1x4x4xf32>
  return
}

// -----
func.func @f(%m: tensor<2x3xf32>) {
  // expected-error @+1 {{matrices must be square, they are 2 by 3}}
  %0:2 = flame.det %m : (tensor<2x3xf32>) -> (tensor<f32>, tensor<2x3xf32>)
  return
}

// -----
func.func @f(%x: tensor<1x5x6xf32>) {
  %image = flame.constant {value = dense<5> : tensor<2xi64>} : () -> tensor<2xi64>
  %block = flame.constant {value = dense<[1, 5]> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-error @+1 {{dimension 2 of x is 6, the image has 5 blocks}}
  %0 = flame.col2im %x, %image, %block {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : (tensor<1x5x6xf32>, tensor<2xi64>, tensor<2xi64>) -> tensor<1x1x5x5xf32>
  return
}
