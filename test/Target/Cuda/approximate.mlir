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
