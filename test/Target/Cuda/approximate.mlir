// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s

// What is rounded to 16 bits needs no more than the hardware's approximations, and is rounded two at a time.
// CHECK-LABEL: // loop: sigmoid
// CHECK: loop_0(
// CHECK: flame_reciprocal(flame_exp(-flame_half_to_float({{v[0-9]+}}[0])) + 1.0f)
// CHECK: flame_store<8>(out0 + {{.*}}, flame_pack_half<8>(
func.func @half(%x: tensor<1048576xf16>) -> tensor<1048576xf16> {
  %0 = flame.region "loop"(%x) : (tensor<1048576xf16>) -> tensor<1048576xf16> {
  ^bb0(%a: tensor<1048576xf16>):
    %1 = flame.sigmoid %a : (tensor<1048576xf16>) -> tensor<1048576xf16>
    flame.yield %1 : tensor<1048576xf16>
  }
  return %0 : tensor<1048576xf16>
}

// f32 stays exact.
// CHECK-LABEL: // loop: sigmoid
// CHECK: loop_1(
// CHECK: 1.0f / (expf(-{{v[0-9]+}}[0]) + 1.0f)
func.func @single(%x: tensor<1048576xf32>) -> tensor<1048576xf32> {
  %0 = flame.region "loop"(%x) : (tensor<1048576xf32>) -> tensor<1048576xf32> {
  ^bb0(%a: tensor<1048576xf32>):
    %1 = flame.sigmoid %a : (tensor<1048576xf32>) -> tensor<1048576xf32>
    flame.yield %1 : tensor<1048576xf32>
  }
  return %0 : tensor<1048576xf32>
}

// A quotient may be a whole number that a floor behind it must see.
// CHECK-LABEL: // loop: div
// CHECK: loop_2(
// CHECK: flame_half_to_float({{.*}}) / flame_half_to_float(
func.func @quotient(%x: tensor<1048576xf16>, %y: tensor<1048576xf16>) -> tensor<1048576xf16> {
  %0 = flame.region "loop"(%x, %y) : (tensor<1048576xf16>, tensor<1048576xf16>) -> tensor<1048576xf16> {
  ^bb0(%a: tensor<1048576xf16>, %b: tensor<1048576xf16>):
    %1 = flame.div %a, %b : (tensor<1048576xf16>, tensor<1048576xf16>) -> tensor<1048576xf16>
    flame.yield %1 : tensor<1048576xf16>
  }
  return %0 : tensor<1048576xf16>
}

// Quotients of one divisor that are only rounded to a narrow float: one division a row, of numbers scaled so that its result
// is neither infinite nor subnormal.
// CHECK-LABEL: // row: cast abs reduce div cast
// CHECK: row_3(
// CHECK: [[RECIPROCAL:v[0-9]+]] = 1.0f / (
// CHECK-NOT: /
// CHECK: flame_pack_e4m3<8>(
func.func @quantise(%x: tensor<4096x256xbf16>) -> tensor<4096x256xf8E4M3FN> {
  %0 = flame.region "row"(%x) : (tensor<4096x256xbf16>) -> tensor<4096x256xf8E4M3FN> {
  ^bb0(%a: tensor<4096x256xbf16>):
    %1 = flame.cast %a {to = f32} : (tensor<4096x256xbf16>) -> tensor<4096x256xf32>
    %2 = flame.abs %1 : (tensor<4096x256xf32>) -> tensor<4096x256xf32>
    %3 = flame.reduce %2 {axes = array<i64: 1>, kind = "max"} : (tensor<4096x256xf32>) -> tensor<4096x1xf32>
    %4 = flame.div %1, %3 : (tensor<4096x256xf32>, tensor<4096x1xf32>) -> tensor<4096x256xf32>
    %5 = flame.cast %4 {to = f8E4M3FN} : (tensor<4096x256xf32>) -> tensor<4096x256xf8E4M3FN>
    flame.yield %5 : tensor<4096x256xf8E4M3FN>
  }
  return %0 : tensor<4096x256xf8E4M3FN>
}

// A quotient that is read as f32 keeps its division.
// CHECK-LABEL: // row: reduce div
// CHECK: row_4(
// CHECK: {{v[0-9]+}} / {{v[0-9]+}}, {{v[0-9]+}} / {{v[0-9]+}}
func.func @single_quotient(%x: tensor<4096x256xf32>) -> tensor<4096x256xf32> {
  %0 = flame.region "row"(%x) : (tensor<4096x256xf32>) -> tensor<4096x256xf32> {
  ^bb0(%a: tensor<4096x256xf32>):
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "max"} : (tensor<4096x256xf32>) -> tensor<4096x1xf32>
    %2 = flame.div %a, %1 : (tensor<4096x256xf32>, tensor<4096x1xf32>) -> tensor<4096x256xf32>
    flame.yield %2 : tensor<4096x256xf32>
  }
  return %0 : tensor<4096x256xf32>
}

// Exact GELU: the tail of the normal distribution for 16 bits, erf for f32.
// CHECK-LABEL: // loop: gelu
// CHECK-NOT: erff(
// CHECK: flame_reciprocal(
// CHECK: flame_exp(
// CHECK-NOT: erff(
// CHECK-LABEL: // loop: gelu
// CHECK: erff(
func.func @gelu(%x: tensor<1048576xf16>, %y: tensor<1048576xf32>) -> (tensor<1048576xf16>, tensor<1048576xf32>) {
  %0 = flame.region "loop"(%x) : (tensor<1048576xf16>) -> tensor<1048576xf16> {
  ^bb0(%a: tensor<1048576xf16>):
    %1 = flame.gelu %a : (tensor<1048576xf16>) -> tensor<1048576xf16>
    flame.yield %1 : tensor<1048576xf16>
  }
  %2 = flame.region "loop"(%y) : (tensor<1048576xf32>) -> tensor<1048576xf32> {
  ^bb0(%a: tensor<1048576xf32>):
    %1 = flame.gelu %a : (tensor<1048576xf32>) -> tensor<1048576xf32>
    flame.yield %1 : tensor<1048576xf32>
  }
  return %0, %2 : tensor<1048576xf16>, tensor<1048576xf32>
}
