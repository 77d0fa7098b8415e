// RUN: flame-opt %s --split-input-file --verify-diagnostics

func.func @gates(%q: tensor<1x2x3x8xf32>, %s: tensor<1x2x8x8xf32>) {
  // expected-error@+1 {{has 0 gates; it needs one for gated and one for delta}}
  %0:2 = flame.linear_attention %q, %q, %q, %s {gated = true, delta = false, scale = 0.5}
      : (tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x8x8xf32>)
      -> (tensor<1x2x3x8xf32>, tensor<1x2x8x8xf32>)
  return
}

// -----

func.func @state(%q: tensor<1x2x3x8xf32>, %s: tensor<1x2x4x8xf32>) {
  // expected-error@+1 {{state dimension 2 is 4, query dimension 3 is 8; they must agree}}
  %0:2 = flame.linear_attention %q, %q, %q, %s {gated = false, delta = false, scale = 0.5}
      : (tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x4x8xf32>)
      -> (tensor<1x2x3x8xf32>, tensor<1x2x4x8xf32>)
  return
}

// -----

func.func @type(%q: tensor<1x2x3x8xf32>, %s: tensor<1x2x8x8xf64>) {
  // expected-error@+1 {{state has element type float64, query has float32}}
  %0:2 = flame.linear_attention %q, %q, %q, %s {gated = false, delta = false, scale = 0.5}
      : (tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x3x8xf32>, tensor<1x2x8x8xf64>)
      -> (tensor<1x2x3x8xf32>, tensor<1x2x8x8xf32>)
  return
}
