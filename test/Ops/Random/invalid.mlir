// RUN: flame-opt %s --split-input-file --verify-diagnostics

func.func @distribution(%shape: tensor<2xi64>, %seed: tensor<i64>) {
  // expected-error@+1 {{distribution is "poisson"; it must be "uniform" or "normal"}}
  %0 = flame.random %shape, %seed {distribution = "poisson", type = f32} : (tensor<2xi64>, tensor<i64>) -> tensor<?x?xf32>
  return
}

// -----

func.func @type(%shape: tensor<2xi64>, %seed: tensor<i64>) {
  // expected-error@+1 {{can't draw float16; draw float32 or float64 and cast}}
  %0 = flame.random %shape, %seed {distribution = "normal", type = f16} : (tensor<2xi64>, tensor<i64>) -> tensor<?x?xf16>
  return
}

// -----

func.func @seed(%shape: tensor<2xi64>, %seed: tensor<1xi64>) {
  // expected-error@+1 {{seed must be an i64 scalar, has type 'tensor<1xi64>'}}
  %0 = flame.random %shape, %seed {distribution = "normal", type = f32} : (tensor<2xi64>, tensor<1xi64>) -> tensor<?x?xf32>
  return
}
