// RUN: flame-opt %s --split-input-file --verify-diagnostics

func.func @f(%x: tensor<1x3x8x8xf32>) {
  // expected-error @+1 {{x has 2 spatial dimensions, but kernel, strides, dilations and pads have 1, 2, 2 and 4 elements}}
  %0 = flame.average_pool %x {kernel = array<i64: 3>, strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : (tensor<1x3x8x8xf32>) -> tensor<1x3x8x8xf32>
  return
}

// -----
func.func @f(%x: tensor<1x3x8xf32>) {
  // expected-error @+1 {{kernel, strides and dilations must be positive; spatial dimension 0 has 0}}
  %0 = flame.average_pool %x {kernel = array<i64: 3>, strides = array<i64: 0>, dilations = array<i64: 1>, pads = array<i64: 0, 0>} : (tensor<1x3x8xf32>) -> tensor<1x3x8xf32>
  return
}

// -----
func.func @f(%x: tensor<1x3x8xf32>) {
  // expected-error @+1 {{the kernel reaches over 9 elements of spatial dimension 0, which has only 8 with padding}}
  %0 = flame.average_pool %x {kernel = array<i64: 9>, strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>} : (tensor<1x3x8xf32>) -> tensor<1x3x0xf32>
  return
}

// -----
func.func @f(%x: tensor<1x3x8xi32>) {
  // expected-error @+1 {{x must be a float tensor, has element type int32}}
  %0 = flame.average_pool %x {kernel = array<i64: 2>, strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>} : (tensor<1x3x8xi32>) -> tensor<1x3x7xi32>
  return
}

// -----
func.func @f(%x: tensor<1x3x8xf32>) {
  // expected-error @+1 {{auto_pad 'SAME' is none of NOTSET, VALID, SAME_UPPER, SAME_LOWER}}
  %0 = flame.average_pool %x {kernel = array<i64: 2>, strides = array<i64: 1>, dilations = array<i64: 1>, pads = array<i64: 0, 0>, auto_pad = "SAME"} : (tensor<1x3x8xf32>) -> tensor<1x3x7xf32>
  return
}
