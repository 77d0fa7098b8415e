// RUN: flame-opt %s --split-input-file --verify-diagnostics

func.func @channels(%x: tensor<1x6x9x9xf32>, %w: tensor<4x4x3x3xf32>) {
  %pads = flame.constant {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
  // expected-error @+1 {{the channels of x must be groups times the second dim of w, are 6 and 4}}
  %0 = flame.conv %x, %w, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x6x9x9xf32>, tensor<4x4x3x3xf32>, tensor<4xi64>) -> tensor<1x4x7x7xf32>
  return
}

// -----

func.func @ranks(%x: tensor<1x6x9x9xf32>, %w: tensor<4x6x3xf32>) {
  %pads = flame.constant {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
  // expected-error @+1 {{x and w must have the same rank, have shapes [1, 6, 9, 9] and [4, 6, 3]}}
  %0 = flame.conv %x, %w, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x6x9x9xf32>, tensor<4x6x3xf32>, tensor<4xi64>) -> tensor<1x4x7x7xf32>
  return
}

// -----

func.func @strides(%x: tensor<1x6x9x9xf32>, %w: tensor<4x6x3x3xf32>) {
  %pads = flame.constant {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
  // expected-error @+1 {{strides must have 2 elements, has 1}}
  %0 = flame.conv %x, %w, %pads {strides = array<i64: 1>, dilations = array<i64: 1, 1>} : (tensor<1x6x9x9xf32>, tensor<4x6x3x3xf32>, tensor<4xi64>) -> tensor<1x4x7x7xf32>
  return
}

// -----

func.func @dilations(%x: tensor<1x6x9x9xf32>, %w: tensor<4x6x3x3xf32>) {
  %pads = flame.constant {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
  // expected-error @+1 {{dilations must be 1 or more, has 0}}
  %0 = flame.conv %x, %w, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 0, 1>} : (tensor<1x6x9x9xf32>, tensor<4x6x3x3xf32>, tensor<4xi64>) -> tensor<1x4x7x7xf32>
  return
}

// -----

func.func @groups(%x: tensor<1x6x9x9xf32>, %w: tensor<5x3x3x3xf32>) {
  %pads = flame.constant {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
  // expected-error @+1 {{the first dim of w, 5, must be a multiple of groups, 2}}
  %0 = flame.conv %x, %w, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, groups = 2} : (tensor<1x6x9x9xf32>, tensor<5x3x3x3xf32>, tensor<4xi64>) -> tensor<1x5x7x7xf32>
  return
}

// -----

func.func @types(%x: tensor<1x6x9xf32>, %w: tensor<4x6x3xf16>) {
  %pads = flame.constant {value = dense<0> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-error @+1 {{x has element type float32, w float16; cast one of them}}
  %0 = flame.conv %x, %w, %pads {strides = array<i64: 1>, dilations = array<i64: 1>} : (tensor<1x6x9xf32>, tensor<4x6x3xf16>, tensor<2xi64>) -> tensor<1x4x7xf32>
  return
}

// -----

func.func @pads(%x: tensor<1x4x3xf32>, %w: tensor<4x5x3xf32>) {
  %pads = flame.constant {value = dense<9> : tensor<2xi64>} : () -> tensor<2xi64>
  %more = flame.constant {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-error @+1 {{spatial dim 0 of the result would be -13: the pads exceed what the windows cover}}
  %0 = flame.conv_transpose %x, %w, %pads, %more {strides = array<i64: 1>, dilations = array<i64: 1>} : (tensor<1x4x3xf32>, tensor<4x5x3xf32>, tensor<2xi64>, tensor<1xi64>) -> tensor<1x5x5xf32>
  return
}

// -----

func.func @offsets(%x: tensor<1x2x4x4xf32>, %w: tensor<3x2x2x2xf32>, %offset: tensor<1x4x3x3xf32>) {
  %pads = flame.constant {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
  // expected-error @+1 {{offset must have one channel per offset group and kernel element and spatial dim, are 4 and 8}}
  %0 = flame.deform_conv %x, %w, %pads, %offset {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x2x4x4xf32>, tensor<3x2x2x2xf32>, tensor<4xi64>, tensor<1x4x3x3xf32>) -> tensor<1x3x3x3xf32>
  return
}
