// RUN: flame-opt %s --split-input-file --verify-diagnostics

func.func @f(%x: tensor<2x6xf32>) {
  %shape = flame.constant {value = dense<[3, 5]> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-error @+1 {{can't reshape [2, 6] (12 elements) to [3, 5] (15)}}
  %0 = flame.reshape %x, %shape : (tensor<2x6xf32>, tensor<2xi64>) -> tensor<3x5xf32>
  return
}

// -----
func.func @f(%x: tensor<2x6xf32>) {
  %shape = flame.constant {value = dense<[-3, -4]> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-error @+1 {{shape[0] is negative: -3}}
  %0 = flame.reshape %x, %shape : (tensor<2x6xf32>, tensor<2xi64>) -> tensor<3x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x6xf32>, %s: tensor<2xi32>) {
  // expected-error @+1 {{shape must be an i64 vector, has type 'tensor<2xi32>'}}
  %0 = flame.reshape %x, %s : (tensor<2x6xf32>, tensor<2xi32>) -> tensor<3x4xf32>
  return
}

// -----
func.func @f(%x: tensor<2x6xf32>) {
  // expected-error @+1 {{perm [1, 1] is not a permutation of the 2 dimensions of x}}
  %0 = flame.transpose %x {perm = array<i64: 1, 1>} : (tensor<2x6xf32>) -> tensor<6x6xf32>
  return
}

// -----
func.func @f(%x: tensor<2x6xf32>) {
  %shape = flame.constant {value = dense<[4, 6]> : tensor<2xi64>} : () -> tensor<2xi64>
  // expected-error @+1 {{can't broadcast [2, 6] to [4, 6]}}
  %0 = flame.expand %x, %shape : (tensor<2x6xf32>, tensor<2xi64>) -> tensor<4x6xf32>
  return
}

// -----
func.func @f(%x: tensor<2x6xf32>, %y: tensor<2x5xf32>) {
  // expected-error @+1 {{operands #0 and #1 have sizes 6 and 5 in dimension 1; only axis 0 may differ}}
  %0 = flame.concat %x, %y {axis = 0 : i64} : (tensor<2x6xf32>, tensor<2x5xf32>) -> tensor<4x6xf32>
  return
}

// -----
func.func @f(%x: tensor<2x6xf32>, %y: tensor<2x6xf16>) {
  // expected-error @+1 {{operand #1 has element type float16, operand #0 float32}}
  %0 = flame.concat %x, %y {axis = 0 : i64} : (tensor<2x6xf32>, tensor<2x6xf16>) -> tensor<4x6xf32>
  return
}

// -----
func.func @f(%y: tensor<4xf32>) {
  %two = flame.constant {value = dense<2> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-error @+1 {{takes elements 2 to 4 of dimension 0, which has 4 elements}}
  %0 = flame.slice %y, %two, %two, %two : (tensor<4xf32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<2xf32>
  return
}

// -----
func.func @f(%x: tensor<5xf32>) {
  %low = flame.constant {value = dense<-3> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-error @+1 {{cuts off more than dimension 0 has: its size would be -1}}
  %0 = flame.pad %x, %low, %low {mode = "constant"} : (tensor<5xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<?xf32>
  return
}

// -----
func.func @f(%x: tensor<5xf32>) {
  %low = flame.constant {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  // expected-error @+1 {{mode 'mirror' is none of constant, reflect, edge, wrap}}
  %0 = flame.pad %x, %low, %low {mode = "mirror"} : (tensor<5xf32>, tensor<1xi64>, tensor<1xi64>) -> tensor<7xf32>
  return
}
