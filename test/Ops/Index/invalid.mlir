// RUN: flame-opt %s --split-input-file --verify-diagnostics

func.func @f(%x: tensor<5x7xf32>, %i: tensor<2xi64>) {
  // expected-error @+1 {{axis 2 is out of range for rank 2}}
  %0 = flame.gather %x, %i {axis = 2 : i64} : (tensor<5x7xf32>, tensor<2xi64>) -> tensor<5x2xf32>
  return
}

// -----
func.func @f(%x: tensor<5x7xf32>) {
  %i = flame.constant {value = dense<[0, 7]> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-error @+1 {{index 7 is out of range for dimension 1 of size 7}}
  %0 = flame.gather %x, %i {axis = 1 : i64} : (tensor<5x7xf32>, tensor<2xi64>) -> tensor<5x2xf32>
  return
}

// -----
func.func @f(%x: tensor<5x7xf32>, %i: tensor<2xf32>) {
  // expected-error @+1 {{indices must be an integer tensor, has type 'tensor<2xf32>'}}
  %0 = flame.gather %x, %i {axis = 0 : i64} : (tensor<5x7xf32>, tensor<2xf32>) -> tensor<2x7xf32>
  return
}

// -----
func.func @f(%x: tensor<5x7xf32>, %i: tensor<6x2xi64>) {
  // expected-error @+1 {{dimension 0 of indices has size 6, more than x's 5}}
  %0 = flame.gather_elements %x, %i {axis = 1 : i64} : (tensor<5x7xf32>, tensor<6x2xi64>) -> tensor<6x2xf32>
  return
}

// -----
func.func @f(%x: tensor<5x7xf32>, %i: tensor<6x3xi64>) {
  // expected-error @+1 {{index tuples have 3 elements, x has 2 dimensions to index}}
  %0 = flame.gather_nd %x, %i : (tensor<5x7xf32>, tensor<6x3xi64>) -> tensor<6xf32>
  return
}

// -----
func.func @f(%x: tensor<5x7xf32>, %i: tensor<6x1xi64>, %u: tensor<6x6xf32>) {
  // expected-error @+1 {{updates must have shape [6, 7], have [6, 6]}}
  %0 = flame.scatter_nd %x, %i, %u : (tensor<5x7xf32>, tensor<6x1xi64>, tensor<6x6xf32>) -> tensor<5x7xf32>
  return
}

// -----
func.func @f(%x: tensor<5xf32>, %i: tensor<2xi64>, %u: tensor<2xf32>) {
  // expected-error @+1 {{reduction 'mean' is none of none, add, mul, max, min}}
  %0 = flame.scatter_elements %x, %i, %u {axis = 0 : i64, reduction = "mean"} : (tensor<5xf32>, tensor<2xi64>, tensor<2xf32>) -> tensor<5xf32>
  return
}

// -----
func.func @f(%x: tensor<5x7xf32>) {
  %k = flame.constant {value = dense<6> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-error @+1 {{k is 6, dimension 0 of x has only 5 elements}}
  %0:2 = flame.topk %x, %k {axis = 0 : i64} : (tensor<5x7xf32>, tensor<1xi64>) -> (tensor<6x7xf32>, tensor<6x7xi64>)
  return
}

// -----

func.func @ends(%e: tensor<2x3xi32>, %rows: tensor<1xi64>) {
  // expected-error @+1 {{ends must be an int32 or int64 vector, have type 'tensor<2x3xi32>'}}
  %0 = flame.check_ends %e, %rows : (tensor<2x3xi32>, tensor<1xi64>) -> tensor<2x3xi32>
  return
}
