// RUN: flame-opt %s --split-input-file --verify-diagnostics

func.func @kind(%x: tensor<2xf32>) {
  // expected-error@+1 {{kind is "norm"; it must be one of sum, prod, max, min, mean}}
  %0 = flame.reduce %x {kind = "norm", axes = array<i64: 0>} : (tensor<2xf32>) -> tensor<1xf32>
  return
}

// -----

func.func @axis(%x: tensor<2xf32>) {
  // expected-error@+1 {{axis 1 is out of range for rank 1}}
  %0 = flame.reduce %x {kind = "sum", axes = array<i64: 1>} : (tensor<2xf32>) -> tensor<1xf32>
  return
}

// -----

func.func @twice(%x: tensor<2x2xf32>) {
  // expected-error@+1 {{axis 0 is named twice}}
  %0 = flame.reduce %x {kind = "sum", axes = array<i64: 0, 0>} : (tensor<2x2xf32>) -> tensor<1x2xf32>
  return
}

// -----

func.func @bool(%x: tensor<2xi1>) {
  // expected-error@+1 {{operand has element type bool; a number is needed: insert a cast}}
  %0 = flame.reduce %x {kind = "sum", axes = array<i64: 0>} : (tensor<2xi1>) -> tensor<1xi1>
  return
}

// -----

func.func @scalar(%x: tensor<f32>) {
  // expected-error@+1 {{axis 0 is out of range for rank 0}}
  %0 = flame.scan %x {kind = "sum", axis = 0} : (tensor<f32>) -> tensor<f32>
  return
}
