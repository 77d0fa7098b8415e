// RUN: flame-opt %s --split-input-file --verify-diagnostics

func.func @f() {
  // expected-error @+1 {{result #0 has type 'tensor<2xi32>', inferred is 'tensor<2xi64>'}}
  %0 = flame.constant {value = dense<[2, 3]> : tensor<2xi64>} : () -> tensor<2xi32>
  return
}

// -----
func.func @f() {
  // expected-error @+1 {{'w' needs a tensor type of known sizes, has 'tensor<?xf32>'}}
  %0 = flame.weight {name = "w", ref = #flame.weight_ref<"w.bin", 0, 8>, type = tensor<?xf32>} : () -> tensor<?xf32>
  return
}

// -----
func.func @f(%n: tensor<2xi64>) {
  // expected-error @+1 {{n must be an i64 tensor of one element, has type 'tensor<2xi64>'}}
  %0 = flame.iota %n {type = i64} : (tensor<2xi64>) -> tensor<?xi64>
  return
}

// -----
func.func @f() {
  %n = flame.constant {value = dense<-1> : tensor<i64>} : () -> tensor<i64>
  // expected-error @+1 {{has a negative length -1}}
  %0 = flame.iota %n {type = i64} : (tensor<i64>) -> tensor<?xi64>
  return
}

// -----
func.func @f(%shape: tensor<?xi64>, %v: tensor<f32>) {
  // expected-error @+1 {{shape must have a known number of elements}}
  %0 = flame.fill %shape, %v : (tensor<?xi64>, tensor<f32>) -> tensor<?xf32>
  return
}

// -----
func.func @f(%shape: tensor<1xi64>, %v: tensor<1xf32>) {
  // expected-error @+1 {{value must have rank 0}}
  %0 = flame.fill %shape, %v : (tensor<1xi64>, tensor<1xf32>) -> tensor<?xf32>
  return
}
