// RUN: flame-opt %s | FileCheck %s

// Shapes broadcast; known sizes win over unknown ones.
// CHECK-LABEL: @broadcast
func.func @broadcast(%x: tensor<2x1x?xf32>, %y: tensor<3x4xf32>) -> tensor<2x3x4xf32> {
  // CHECK: flame.add %{{.*}} : (tensor<2x1x?xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  %0 = flame.add %x, %y : (tensor<2x1x?xf32>, tensor<3x4xf32>) -> tensor<2x3x4xf32>
  return %0 : tensor<2x3x4xf32>
}

// CHECK-LABEL: @types
func.func @types(%x: tensor<2xf16>, %n: tensor<2xi32>, %u: tensor<2xui8>, %b: tensor<2xi1>)
    -> (tensor<2xf16>, tensor<2xi1>, tensor<2xf16>, tensor<2xf8E4M3FN>, tensor<2xui8>, tensor<2xi1>, tensor<2xi8>) {
  // CHECK: flame.pow %{{.*}} : (tensor<2xf16>, tensor<2xi32>) -> tensor<2xf16>
  %0 = flame.pow %x, %n : (tensor<2xf16>, tensor<2xi32>) -> tensor<2xf16>
  // CHECK: flame.less %{{.*}} -> tensor<2xi1>
  %1 = flame.less %x, %x : (tensor<2xf16>, tensor<2xf16>) -> tensor<2xi1>
  %2 = flame.where %b, %x, %x : (tensor<2xi1>, tensor<2xf16>, tensor<2xf16>) -> tensor<2xf16>
  // CHECK: flame.cast %{{.*}} {saturate = false, to = f8E4M3FN}
  %3 = flame.cast %x {to = f8E4M3FN, saturate = false} : (tensor<2xf16>) -> tensor<2xf8E4M3FN>
  %4 = flame.shift_left %u, %u : (tensor<2xui8>, tensor<2xui8>) -> tensor<2xui8>
  %5 = flame.xor %b, %b : (tensor<2xi1>, tensor<2xi1>) -> tensor<2xi1>
  %6 = flame.bitcast %u {to = i8} : (tensor<2xui8>) -> tensor<2xi8>
  return %0, %1, %2, %3, %4, %5, %6
      : tensor<2xf16>, tensor<2xi1>, tensor<2xf16>, tensor<2xf8E4M3FN>, tensor<2xui8>, tensor<2xi1>, tensor<2xi8>
}

// CHECK-LABEL: @activations
func.func @activations(%x: tensor<?xf32>) -> tensor<?xf32> {
  // Defaults are not printed.
  // CHECK: flame.leaky_relu %{{[^ ]*}} : (tensor<?xf32>)
  %0 = flame.leaky_relu %x : (tensor<?xf32>) -> tensor<?xf32>
  // CHECK: flame.gelu %{{.*}} {approximate = true}
  %1 = flame.gelu %0 {approximate = true} : (tensor<?xf32>) -> tensor<?xf32>
  // CHECK: flame.hard_sigmoid %{{.*}} {alpha = 2.500000e-01 : f64}
  %2 = flame.hard_sigmoid %1 {alpha = 0.25} : (tensor<?xf32>) -> tensor<?xf32>
  // CHECK: flame.is_inf %{{.*}} {negative = false}
  %3 = flame.is_inf %2 {negative = false} : (tensor<?xf32>) -> tensor<?xi1>
  %4 = flame.where %3, %0, %2 : (tensor<?xi1>, tensor<?xf32>, tensor<?xf32>) -> tensor<?xf32>
  return %4 : tensor<?xf32>
}
