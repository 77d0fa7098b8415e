// RUN: flame-opt %s --split-input-file --verify-diagnostics

func.func @shapes(%x: tensor<2x3xf32>, %y: tensor<4xf32>) {
  // expected-error@+1 {{can't broadcast shapes [2, 3] and [4]}}
  %0 = flame.add %x, %y : (tensor<2x3xf32>, tensor<4xf32>) -> tensor<2x3xf32>
  return
}

// -----

func.func @mixed(%x: tensor<2xf32>, %y: tensor<2xf16>) {
  // expected-error@+1 {{operands have element types float32 and float16; cast one of them}}
  %0 = flame.mul %x, %y : (tensor<2xf32>, tensor<2xf16>) -> tensor<2xf32>
  return
}

// -----

func.func @float(%x: tensor<2xi32>) {
  // expected-error@+1 {{operand #0 has element type int32; a floating-point type is needed: insert a cast}}
  %0 = flame.exp %x : (tensor<2xi32>) -> tensor<2xi32>
  return
}

// -----

func.func @integer(%x: tensor<2xf32>) {
  // expected-error@+1 {{operand #0 has element type float32; an integer type is needed: insert a cast}}
  %0 = flame.bit_not %x : (tensor<2xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @bool(%x: tensor<2xi1>) {
  // expected-error@+1 {{operand #0 has element type bool; a number is needed: insert a cast}}
  %0 = flame.add %x, %x : (tensor<2xi1>, tensor<2xi1>) -> tensor<2xi1>
  return
}

// -----

func.func @logic(%x: tensor<2xi8>) {
  // expected-error@+1 {{operand #0 has element type int8; bool is needed: insert a cast}}
  %0 = flame.not %x : (tensor<2xi8>) -> tensor<2xi1>
  return
}

// -----

func.func @condition(%c: tensor<2xi8>, %x: tensor<2xf32>) {
  // expected-error@+1 {{condition must be bool, has int8}}
  %0 = flame.where %c, %x, %x : (tensor<2xi8>, tensor<2xf32>, tensor<2xf32>) -> tensor<2xf32>
  return
}

// -----

func.func @width(%x: tensor<2xf32>) {
  // expected-error@+1 {{can't reinterpret float32 as int16: their widths differ}}
  %0 = flame.bitcast %x {to = i16} : (tensor<2xf32>) -> tensor<2xi16>
  return
}

// -----

func.func @string(%x: tensor<2x!flame.string>) {
  // expected-error@+1 {{operand #0 has element type string; a numeric type or bool is needed}}
  %0 = flame.equal %x, %x : (tensor<2x!flame.string>, tensor<2x!flame.string>) -> tensor<2xi1>
  return
}

// -----

func.func @rank(%x: tensor<*xf32>) {
  // expected-error@+1 {{needs tensors of known rank}}
  %0 = flame.neg %x : (tensor<*xf32>) -> tensor<*xf32>
  return
}
