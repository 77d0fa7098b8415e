// RUN: flame-opt %s --split-input-file --verify-diagnostics

func.func @axis(%x: tensor<2xf32>) {
  // expected-error@+1 {{axis 1 is out of range for rank 1}}
  %0 = flame.window_sum %x {axis = 1, before = 0, after = 0} : (tensor<2xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @window(%x: tensor<2xf32>) {
  // expected-error@+1 {{window reaches -1 before and 0 after an element; neither may be negative}}
  %0 = flame.window_sum %x {axis = 0, before = -1, after = 0} : (tensor<2xf32>) -> tensor<2xf32>
  return
}
