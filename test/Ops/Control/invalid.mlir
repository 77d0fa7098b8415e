// RUN: flame-opt %s --split-input-file --verify-diagnostics

func.func @f(%c: tensor<2xi1>, %a: tensor<2xf32>) {
  // expected-error @+1 {{condition must be a bool of one element, has type 'tensor<2xi1>'}}
  %0 = flame.if %c : (tensor<2xi1>) -> tensor<2xf32> {
    flame.yield %a : tensor<2xf32>
  } else {
    flame.yield %a : tensor<2xf32>
  }
  return
}

// -----
func.func @f(%c: tensor<i1>, %a: tensor<2xf32>) {
  // expected-error @+1 {{has a then branch of 1 values and an else branch of 0}}
  %0 = flame.if %c : (tensor<i1>) -> tensor<2xf32> {
    flame.yield %a : tensor<2xf32>
  } else {
    flame.yield
  }
  return
}

// -----
func.func @f(%c: tensor<i1>, %a: tensor<2xf32>, %b: tensor<2x1xf32>) {
  // expected-error @+1 {{has branches that give result #0 the ranks 1 and 2}}
  %0 = flame.if %c : (tensor<i1>) -> tensor<2xf32> {
    flame.yield %a : tensor<2xf32>
  } else {
    flame.yield %b : tensor<2x1xf32>
  }
  return
}

// -----
func.func @f(%c: tensor<i1>, %a: tensor<2xf32>, %b: tensor<2xf16>) {
  // expected-error @+1 {{has branches that give result #0 the element types float32 and float16; cast one of them}}
  %0 = flame.if %c : (tensor<i1>) -> tensor<2xf32> {
    flame.yield %a : tensor<2xf32>
  } else {
    flame.yield %b : tensor<2xf16>
  }
  return
}

// -----
func.func @f(%c: tensor<i1>, %a: tensor<2xf32>, %b: !flame.seq<tensor<2xf32>>) {
  // expected-error @+1 {{has branches that give result #0 the types}}
  %0 = flame.if %c : (tensor<i1>) -> tensor<2xf32> {
    flame.yield %a : tensor<2xf32>
  } else {
    flame.yield %b : !flame.seq<tensor<2xf32>>
  }
  return
}

// -----
func.func @f(%c: tensor<i1>, %a: tensor<2xf32>) {
  // expected-error @+1 {{has a branch with block arguments}}
  %0 = flame.if %c : (tensor<i1>) -> tensor<2xf32> {
  ^bb(%x: tensor<2xf32>):
    flame.yield %a : tensor<2xf32>
  } else {
    flame.yield %a : tensor<2xf32>
  }
  return
}

// -----
func.func @f(%n: tensor<f32>) {
  // expected-error @+1 {{trip count must be an int64 of one element, has type 'tensor<f32>'}}
  flame.loop %n {has_trip = true, has_condition = false} : (tensor<f32>) -> () {
  ^body(%i: tensor<i64>, %go: tensor<i1>):
    flame.yield %go : tensor<i1>
  }
  return
}

// -----
func.func @f() {
  // expected-error @+1 {{has fewer operands than has_trip and has_condition say}}
  flame.loop {has_trip = true, has_condition = false} : () -> () {
  ^body(%i: tensor<i64>, %go: tensor<i1>):
    flame.yield %go : tensor<i1>
  }
  return
}

// -----
func.func @f(%c: tensor<i64>) {
  // expected-error @+1 {{condition must be a bool of one element, has type 'tensor<i64>'}}
  flame.loop %c {has_trip = false, has_condition = true} : (tensor<i64>) -> () {
  ^body(%i: tensor<i64>, %go: tensor<i1>):
    flame.yield %go : tensor<i1>
  }
  return
}

// -----
func.func @f(%n: tensor<i64>, %x: tensor<2xf32>) {
  // expected-error @+1 {{has a body with 2 arguments; iteration, condition and 1 carried values make 3}}
  %0 = flame.loop %n, %x {has_trip = true, has_condition = false} : (tensor<i64>, tensor<2xf32>) -> tensor<2xf32> {
  ^body(%i: tensor<i64>, %go: tensor<i1>):
    flame.yield %go, %x : tensor<i1>, tensor<2xf32>
  }
  return
}

// -----
func.func @f(%n: tensor<i64>) {
  // expected-error @+1 {{they must be int64 and bool of one element}}
  flame.loop %n {has_trip = true, has_condition = false} : (tensor<i64>) -> () {
  ^body(%i: tensor<i32>, %go: tensor<i1>):
    flame.yield %go : tensor<i1>
  }
  return
}

// -----
func.func @f(%n: tensor<i64>, %x: tensor<2xf32>) {
  // expected-error @+1 {{carried value #0 starts as 'tensor<2xf32>', which the body's argument of type 'tensor<3xf32>' can't hold}}
  %0 = flame.loop %n, %x {has_trip = true, has_condition = false} : (tensor<i64>, tensor<2xf32>) -> tensor<3xf32> {
  ^body(%i: tensor<i64>, %go: tensor<i1>, %y: tensor<3xf32>):
    flame.yield %go, %y : tensor<i1>, tensor<3xf32>
  }
  return
}

// -----
func.func @f(%n: tensor<i64>, %x: tensor<2xf32>, %z: tensor<2x2xf32>) {
  // expected-error @+1 {{carried value #0 is 'tensor<2xf32>' before an iteration and 'tensor<2x2xf32>' after it; rank and element type must stay}}
  %0 = flame.loop %n, %x {has_trip = true, has_condition = false} : (tensor<i64>, tensor<2xf32>) -> tensor<2xf32> {
  ^body(%i: tensor<i64>, %go: tensor<i1>, %y: tensor<2xf32>):
    flame.yield %go, %z : tensor<i1>, tensor<2x2xf32>
  }
  return
}

// -----
func.func @f(%n: tensor<i64>, %x: tensor<2xf32>) {
  // expected-error @+1 {{has a body that yields 1 values; the condition and the carried values make 2}}
  %0 = flame.loop %n, %x {has_trip = true, has_condition = false} : (tensor<i64>, tensor<2xf32>) -> tensor<2xf32> {
  ^body(%i: tensor<i64>, %go: tensor<i1>, %y: tensor<2xf32>):
    flame.yield %go : tensor<i1>
  }
  return
}

// -----
func.func @f(%n: tensor<i64>) {
  // expected-error @+1 {{has a body that yields a condition of type 'tensor<i64>'}}
  flame.loop %n {has_trip = true, has_condition = false} : (tensor<i64>) -> () {
  ^body(%i: tensor<i64>, %go: tensor<i1>):
    flame.yield %i : tensor<i64>
  }
  return
}

// -----
func.func @f(%n: tensor<i64>, %s: !flame.seq<tensor<2xf32>>) {
  // expected-error @+1 {{scan output #0 has type '!flame.seq<tensor<2xf32>>'; only tensors can be stacked}}
  %0 = flame.loop %n {has_trip = true, has_condition = false} : (tensor<i64>) -> tensor<?x2xf32> {
  ^body(%i: tensor<i64>, %go: tensor<i1>):
    flame.yield %go, %s : tensor<i1>, !flame.seq<tensor<2xf32>>
  }
  return
}
