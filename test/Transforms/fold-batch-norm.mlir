// RUN: flame-opt %s --flame-fold-batch-norm --split-input-file | FileCheck %s

// A bias, then a batch normalisation: one factor in the weight, one offset left.
// CHECK-LABEL: @conv
// CHECK-SAME: %[[X:.*]]: tensor<?x3x8x8xf32>
func.func @conv(%x: tensor<?x3x8x8xf32>) -> tensor<?x4x8x8xf32> {
  %pads = flame.constant {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
  %w = flame.constant {value = dense<2.0> : tensor<4x3x1x1xf32>} : () -> tensor<4x3x1x1xf32>
  %bias = flame.constant {value = dense<[[[1.0]],[[2.0]],[[3.0]],[[4.0]]]> : tensor<4x1x1xf32>} : () -> tensor<4x1x1xf32>
  %factor = flame.constant {value = dense<[[[5.0]],[[6.0]],[[7.0]],[[8.0]]]> : tensor<4x1x1xf32>} : () -> tensor<4x1x1xf32>
  %y = flame.conv %x, %w, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<?x3x8x8xf32>, tensor<4x3x1x1xf32>, tensor<4xi64>) -> tensor<?x4x8x8xf32>
  %b = flame.add %y, %bias : (tensor<?x4x8x8xf32>, tensor<4x1x1xf32>) -> tensor<?x4x8x8xf32>
  %s = flame.mul %b, %factor : (tensor<?x4x8x8xf32>, tensor<4x1x1xf32>) -> tensor<?x4x8x8xf32>
  %z = flame.add %s, %bias : (tensor<?x4x8x8xf32>, tensor<4x1x1xf32>) -> tensor<?x4x8x8xf32>
  // CHECK-DAG: %[[OFFSET:.*]] = flame.mul %{{.*}}, %[[FACTOR:.*]] : (tensor<4x1x1xf32>, tensor<4x1x1xf32>)
  // CHECK-DAG: %[[BOTH:.*]] = flame.add %[[OFFSET]], %{{.*}} : (tensor<4x1x1xf32>, tensor<4x1x1xf32>)
  // CHECK-DAG: %[[COLUMN:.*]] = flame.reshape %[[FACTOR]], %{{.*}} -> tensor<4x1x1x1xf32>
  // CHECK-DAG: %[[W:.*]] = flame.mul %{{.*}}, %[[COLUMN]] : (tensor<4x3x1x1xf32>, tensor<4x1x1x1xf32>)
  // CHECK: %[[Y:.*]] = flame.conv %[[X]], %[[W]]
  // CHECK-NEXT: %[[Z:.*]] = flame.add %[[Y]], %[[BOTH]]
  // CHECK-NEXT: return %[[Z]]
  return %z : tensor<?x4x8x8xf32>
}

// -----

// CHECK-LABEL: @conv_transpose_groups
func.func @conv_transpose_groups(%x: tensor<1x4x8xf32>) -> tensor<1x6x8xf32> {
  %pads = flame.constant {value = dense<0> : tensor<2xi64>} : () -> tensor<2xi64>
  %more = flame.constant {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %w = flame.constant {value = dense<2.0> : tensor<4x3x1xf32>} : () -> tensor<4x3x1xf32>
  %factor = flame.constant {value = dense<3.0> : tensor<6x1xf32>} : () -> tensor<6x1xf32>
  %y = flame.conv_transpose %x, %w, %pads, %more {groups = 2, strides = array<i64: 1>, dilations = array<i64: 1>} : (tensor<1x4x8xf32>, tensor<4x3x1xf32>, tensor<2xi64>, tensor<1xi64>) -> tensor<1x6x8xf32>
  // CHECK: %[[W:.*]] = flame.mul %{{.*}}, %{{.*}} : (tensor<2x2x3x1xf32>, tensor<2x1x3x1xf32>)
  // CHECK: %[[V:.*]] = flame.reshape %[[W]], %{{.*}} -> tensor<4x3x1xf32>
  // CHECK: %[[Y:.*]] = flame.conv_transpose %{{.*}}, %[[V]]
  // CHECK-NEXT: return %[[Y]]
  %z = flame.mul %y, %factor : (tensor<1x6x8xf32>, tensor<6x1xf32>) -> tensor<1x6x8xf32>
  return %z : tensor<1x6x8xf32>
}

// -----

// CHECK-LABEL: @matmul
func.func @matmul(%x: tensor<?x3xf32>) -> tensor<?x4xf32> {
  %w = flame.constant {value = dense<2.0> : tensor<4x3xf32>} : () -> tensor<4x3xf32>
  %factor = flame.constant {value = dense<[3.0, 4.0, 5.0, 6.0]> : tensor<4xf32>} : () -> tensor<4xf32>
  %y = flame.matmul %x, %w {transpose_y = true} : (tensor<?x3xf32>, tensor<4x3xf32>) -> tensor<?x4xf32>
  // CHECK: %[[INVERSE:.*]] = flame.reciprocal
  // CHECK: %[[COLUMN:.*]] = flame.reshape %[[INVERSE]], %{{.*}} -> tensor<4x1xf32>
  // CHECK: flame.mul %{{.*}}, %[[COLUMN]]
  // CHECK: flame.matmul
  // CHECK-NEXT: return
  %z = flame.div %y, %factor : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  return %z : tensor<?x4xf32>
}

// -----

// Without a weight before it a chain becomes one multiply-add.
// CHECK-LABEL: @chain
// CHECK-SAME: %[[X:.*]]: tensor<?x4xf32>
func.func @chain(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %a = flame.constant {value = dense<[3.0, 4.0, 5.0, 6.0]> : tensor<4xf32>} : () -> tensor<4xf32>
  %b = flame.constant {value = dense<[7.0, 8.0, 5.0, 6.0]> : tensor<4xf32>} : () -> tensor<4xf32>
  %0 = flame.mul %x, %a : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %1 = flame.sub %0, %b : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %2 = flame.mul %1, %b : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  %3 = flame.add %2, %a : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  // CHECK: %[[M:.*]] = flame.mul %[[X]], %{{.*}} : (tensor<?x4xf32>
  // CHECK-NEXT: %[[S:.*]] = flame.add %[[M]]
  // CHECK-NEXT: return %[[S]]
  return %3 : tensor<?x4xf32>
}

// -----

// Nothing to gain, or not a number a channel, or a result that others read.
// CHECK-LABEL: @keep
func.func @keep(%x: tensor<?x4xf32>, %y: tensor<1x2x3xf32>) -> (tensor<?x4xf32>, tensor<?x4xf32>, tensor<1x2x3xf32>) {
  %a = flame.constant {value = dense<[3.0, 4.0, 5.0, 6.0]> : tensor<4xf32>} : () -> tensor<4xf32>
  %w = flame.constant {value = dense<2.0> : tensor<4x4xf32>} : () -> tensor<4x4xf32>
  %k = flame.constant {value = dense<2.0> : tensor<2x2x1xf32>} : () -> tensor<2x2x1xf32>
  %row = flame.constant {value = dense<[3.0, 4.0, 5.0]> : tensor<3xf32>} : () -> tensor<3xf32>
  %pads = flame.constant {value = dense<0> : tensor<2xi64>} : () -> tensor<2xi64>
  // CHECK: flame.matmul
  // CHECK-NEXT: flame.mul
  %0 = flame.matmul %x, %w : (tensor<?x4xf32>, tensor<4x4xf32>) -> tensor<?x4xf32>
  %1 = flame.mul %0, %a : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
  // CHECK: flame.conv
  // CHECK-NEXT: flame.mul
  %2 = flame.conv %y, %k, %pads {strides = array<i64: 1>, dilations = array<i64: 1>} : (tensor<1x2x3xf32>, tensor<2x2x1xf32>, tensor<2xi64>) -> tensor<1x2x3xf32>
  %3 = flame.mul %2, %row : (tensor<1x2x3xf32>, tensor<3xf32>) -> tensor<1x2x3xf32>
  return %0, %1, %3 : tensor<?x4xf32>, tensor<?x4xf32>, tensor<1x2x3xf32>
}

// -----

// In a loop, whose constants are computed when the module is loaded, but not in a branch, which may never be taken.
// CHECK-LABEL: @loop
func.func @loop(%n: tensor<i64>, %c: tensor<i1>, %x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  %f = flame.constant {value = dense<[1.0, 2.0, 3.0, 4.0]> : tensor<4xf32>} : () -> tensor<4xf32>
  %g = flame.constant {value = dense<[5.0, 6.0, 7.0, 8.0]> : tensor<4xf32>} : () -> tensor<4xf32>
  // CHECK: flame.loop
  // CHECK: ^bb0(%{{.*}}: tensor<i64>, %{{.*}}: tensor<i1>, %[[X:.*]]: tensor<?x4xf32>):
  // CHECK: %[[BOTH:.*]] = flame.mul %{{.*}}, %{{.*}} : (tensor<4xf32>, tensor<4xf32>)
  // CHECK-NEXT: %[[Y:.*]] = flame.mul %[[X]], %[[BOTH]]
  // CHECK-NEXT: flame.yield %{{.*}}, %[[Y]]
  %y = flame.loop %n, %x {has_trip = true, has_condition = false, fixed = [array<i64: 0>]}
      : (tensor<i64>, tensor<?x4xf32>) -> tensor<?x4xf32> {
  ^body(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<?x4xf32>):
    %a = flame.mul %v, %f : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    %b = flame.mul %a, %g : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    flame.yield %go, %b : tensor<i1>, tensor<?x4xf32>
  }
  // CHECK: flame.if
  // CHECK: flame.mul
  // CHECK-NEXT: flame.mul
  // CHECK-NEXT: flame.yield
  %z = flame.if %c : (tensor<i1>) -> tensor<?x4xf32> {
    %a = flame.mul %y, %f : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    %b = flame.mul %a, %g : (tensor<?x4xf32>, tensor<4xf32>) -> tensor<?x4xf32>
    flame.yield %b : tensor<?x4xf32>
  } else {
    flame.yield %y : tensor<?x4xf32>
  }
  return %z : tensor<?x4xf32>
}
