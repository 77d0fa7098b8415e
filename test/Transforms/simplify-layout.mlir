// RUN: flame-opt %s --flame-simplify-layout --split-input-file | FileCheck %s

// A product over flattened rows, between reshapes.
// CHECK-LABEL: @rows
// CHECK-SAME: %[[X:.*]]: tensor<?x?x4xf32>, %[[W:.*]]: tensor<4x8xf32>, %[[B:.*]]: tensor<8xf32>
func.func @rows(%x: tensor<?x?x4xf32>, %w: tensor<4x8xf32>, %bias: tensor<8xf32>) -> tensor<?x?x8xf32> {
  %zero = flame.constant {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %one = flame.constant {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %four = flame.constant {value = dense<4> : tensor<1xi64>} : () -> tensor<1xi64>
  %eight = flame.constant {value = dense<8> : tensor<1xi64>} : () -> tensor<1xi64>
  %sizes = flame.shape_of %x : (tensor<?x?x4xf32>) -> tensor<3xi64>
  %b = flame.slice %sizes, %zero, %one, %one : (tensor<3xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %s = flame.slice %sizes, %one, %one, %one : (tensor<3xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %bs = flame.mul %b, %s : (tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %flat = flame.concat %bs, %four {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %deep = flame.concat %b, %s, %eight {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<3xi64>
  %0 = flame.reshape %x, %flat : (tensor<?x?x4xf32>, tensor<2xi64>) -> tensor<?x4xf32>
  %1 = flame.matmul %0, %w : (tensor<?x4xf32>, tensor<4x8xf32>) -> tensor<?x8xf32>
  %2 = flame.add %1, %bias : (tensor<?x8xf32>, tensor<8xf32>) -> tensor<?x8xf32>
  %3 = flame.reshape %2, %deep : (tensor<?x8xf32>, tensor<3xi64>) -> tensor<?x?x8xf32>
  // CHECK: %[[M:.*]] = flame.matmul %[[X]], %[[W]]
  // CHECK-NEXT: %[[A:.*]] = flame.add %[[M]], %[[B]]
  // CHECK-NEXT: return %[[A]]
  return %3 : tensor<?x?x8xf32>
}

// -----

// Pointwise ops stay with the product; the reshape comes last.
// CHECK-LABEL: @sink
func.func @sink(%x: tensor<2x3x4xf32>, %w: tensor<2x4x8xf32>) -> tensor<6x8xf32> {
  %shape = flame.constant {value = dense<[6, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %0 = flame.matmul %x, %w : (tensor<2x3x4xf32>, tensor<2x4x8xf32>) -> tensor<2x3x8xf32>
  %1 = flame.reshape %0, %shape : (tensor<2x3x8xf32>, tensor<2xi64>) -> tensor<6x8xf32>
  // CHECK: %[[M:.*]] = flame.matmul
  // CHECK-NEXT: %[[T:.*]] = flame.tanh %[[M]]
  // CHECK-NEXT: %[[A:.*]] = flame.add %[[T]], %[[M]]
  // CHECK: %[[R:.*]] = flame.reshape %[[A]]
  // CHECK-NEXT: return %[[R]]
  %2 = flame.tanh %1 : (tensor<6x8xf32>) -> tensor<6x8xf32>
  %3 = flame.add %2, %1 : (tensor<6x8xf32>, tensor<6x8xf32>) -> tensor<6x8xf32>
  return %3 : tensor<6x8xf32>
}

// -----

// Heads of a fused projection: the slice comes after the reshape.
// CHECK-LABEL: @heads
// CHECK-SAME: %[[X:.*]]: tensor<?x12xf32>
func.func @heads(%x: tensor<?x12xf32>) -> tensor<2x?x3xf32> {
  %zero = flame.constant {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %one = flame.constant {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %ones = flame.constant {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
  %six = flame.constant {value = dense<6> : tensor<1xi64>} : () -> tensor<1xi64>
  %last = flame.constant {value = dense<[2, 3]> : tensor<2xi64>} : () -> tensor<2xi64>
  %starts = flame.constant {value = dense<[0, 6]> : tensor<2xi64>} : () -> tensor<2xi64>
  %shape = flame.shape_of %x : (tensor<?x12xf32>) -> tensor<2xi64>
  %n = flame.slice %shape, %zero, %one, %one : (tensor<2xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %sizes = flame.concat %n, %six {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %split = flame.concat %n, %last {axis = 0 : i64} : (tensor<1xi64>, tensor<2xi64>) -> tensor<3xi64>
  %0 = flame.slice %x, %starts, %sizes, %ones : (tensor<?x12xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<?x6xf32>
  %1 = flame.reshape %0, %split : (tensor<?x6xf32>, tensor<3xi64>) -> tensor<?x2x3xf32>
  // CHECK: %[[R:.*]] = flame.reshape %[[X]], %{{.*}} -> tensor<?x4x3xf32>
  // CHECK: %[[S:.*]] = flame.slice %[[R]]
  // CHECK-NEXT: flame.transpose %[[S]]
  %2 = flame.transpose %1 {perm = array<i64: 1, 0, 2>} : (tensor<?x2x3xf32>) -> tensor<2x?x3xf32>
  return %2 : tensor<2x?x3xf32>
}

// -----

// Heads of two fused projections, one after the other: each part comes after a reshape of its own.
// CHECK-LABEL: @joined_heads
// CHECK-SAME: %[[X:.*]]: tensor<5x12xf32>, %[[Y:.*]]: tensor<4x12xf32>
func.func @joined_heads(%x: tensor<5x12xf32>, %y: tensor<4x12xf32>) -> tensor<9x2x3xf32> {
  %ones = flame.constant {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
  %starts = flame.constant {value = dense<[0, 6]> : tensor<2xi64>} : () -> tensor<2xi64>
  %five = flame.constant {value = dense<[5, 6]> : tensor<2xi64>} : () -> tensor<2xi64>
  %four = flame.constant {value = dense<[4, 6]> : tensor<2xi64>} : () -> tensor<2xi64>
  %split = flame.constant {value = dense<[9, 2, 3]> : tensor<3xi64>} : () -> tensor<3xi64>
  %0 = flame.slice %x, %starts, %five, %ones : (tensor<5x12xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<5x6xf32>
  %1 = flame.slice %y, %starts, %four, %ones : (tensor<4x12xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<4x6xf32>
  %2 = flame.concat %0, %1 {axis = 0 : i64} : (tensor<5x6xf32>, tensor<4x6xf32>) -> tensor<9x6xf32>
  // CHECK: %[[A:.*]] = flame.reshape %[[X]], %{{.*}} -> tensor<5x4x3xf32>
  // CHECK: %[[P:.*]] = flame.slice %[[A]], %{{.*}} -> tensor<5x2x3xf32>
  // CHECK: %[[B:.*]] = flame.reshape %[[Y]], %{{.*}} -> tensor<4x4x3xf32>
  // CHECK: %[[Q:.*]] = flame.slice %[[B]], %{{.*}} -> tensor<4x2x3xf32>
  // CHECK: %[[R:.*]] = flame.concat %[[P]], %[[Q]] {axis = 0 : i64}
  // CHECK-NEXT: return %[[R]]
  %3 = flame.reshape %2, %split : (tensor<9x6xf32>, tensor<3xi64>) -> tensor<9x2x3xf32>
  return %3 : tensor<9x2x3xf32>
}

// -----

// Joined along the dim that is split, parts have no whole heads to themselves.
// CHECK-LABEL: @joined_columns
// CHECK: %[[C:.*]] = flame.concat
// CHECK: flame.reshape %[[C]]
func.func @joined_columns(%x: tensor<5x12xf32>, %y: tensor<5x12xf32>) -> tensor<5x4x3xf32> {
  %ones = flame.constant {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
  %starts = flame.constant {value = dense<[0, 6]> : tensor<2xi64>} : () -> tensor<2xi64>
  %five = flame.constant {value = dense<[5, 6]> : tensor<2xi64>} : () -> tensor<2xi64>
  %split = flame.constant {value = dense<[5, 4, 3]> : tensor<3xi64>} : () -> tensor<3xi64>
  %0 = flame.slice %x, %starts, %five, %ones : (tensor<5x12xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<5x6xf32>
  %1 = flame.slice %y, %starts, %five, %ones : (tensor<5x12xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<5x6xf32>
  %2 = flame.concat %0, %1 {axis = 1 : i64} : (tensor<5x6xf32>, tensor<5x6xf32>) -> tensor<5x12xf32>
  %3 = flame.reshape %2, %split : (tensor<5x12xf32>, tensor<3xi64>) -> tensor<5x4x3xf32>
  return %3 : tensor<5x4x3xf32>
}

// -----

// CHECK-LABEL: @transposes
// CHECK-SAME: %[[X:.*]]: tensor<?x4xf32>, %[[Y:.*]]: tensor<?x1x4xf32>
func.func @transposes(%x: tensor<?x4xf32>, %y: tensor<?x1x4xf32>) -> (tensor<?x4xf32>, tensor<1x?x4xf32>, tensor<4x?xf32>) {
  %half = flame.constant {value = dense<0.5> : tensor<f32>} : () -> tensor<f32>
  %0 = flame.transpose %x {perm = array<i64: 1, 0>} : (tensor<?x4xf32>) -> tensor<4x?xf32>
  %1 = flame.mul %0, %half : (tensor<4x?xf32>, tensor<f32>) -> tensor<4x?xf32>
  %2 = flame.transpose %1 {perm = array<i64: 1, 0>} : (tensor<4x?xf32>) -> tensor<?x4xf32>
  // CHECK-DAG: %[[M:.*]] = flame.mul %[[X]], %{{.*}} : (tensor<?x4xf32>
  // Only a dim of one element moves.
  %3 = flame.transpose %y {perm = array<i64: 1, 0, 2>} : (tensor<?x1x4xf32>) -> tensor<1x?x4xf32>
  // CHECK-DAG: %[[R:.*]] = flame.reshape %[[Y]], %{{.*}} -> tensor<1x?x4xf32>
  // Nothing to meet: stays where it is.
  // CHECK-DAG: %[[T:.*]] = flame.transpose %[[X]]
  // CHECK-DAG: %[[K:.*]] = flame.tanh %[[T]]
  %4 = flame.transpose %x {perm = array<i64: 1, 0>} : (tensor<?x4xf32>) -> tensor<4x?xf32>
  %5 = flame.tanh %4 : (tensor<4x?xf32>) -> tensor<4x?xf32>
  // CHECK: return %[[M]], %[[R]], %[[K]]
  return %2, %3, %5 : tensor<?x4xf32>, tensor<1x?x4xf32>, tensor<4x?xf32>
}

// -----

// Sizes that only happen to agree don't count: nothing is known of the shape operand.
// CHECK-LABEL: @unknown
func.func @unknown(%x: tensor<?x?xf32>, %shape: tensor<2xi64>) -> tensor<?x?xf32> {
  // CHECK: flame.reshape
  %0 = flame.reshape %x, %shape : (tensor<?x?xf32>, tensor<2xi64>) -> tensor<?x?xf32>
  return %0 : tensor<?x?xf32>
}

// -----

// The sum of squares of each head is a row program from the cast on, so the cast and the squares stay behind the reshape;
// the bias goes with the product.
// CHECK-LABEL: @heads
func.func @heads(%x: tensor<5x4xbf16>, %w: tensor<4x8xbf16>, %bias: tensor<8xbf16>) -> (tensor<5x2x4xf32>, tensor<5x2x1xf32>) {
  %dims = flame.constant {value = dense<[5, 2, 4]> : tensor<3xi64>} : () -> tensor<3xi64>
  // CHECK: %[[B:.*]] = flame.add %{{.*}} : (tensor<5x8xbf16>, tensor<8xbf16>) -> tensor<5x8xbf16>
  // CHECK: %[[R:.*]] = flame.reshape %[[B]], %{{.*}} -> tensor<5x2x4xbf16>
  // CHECK: %[[W:.*]] = flame.cast %[[R]] {to = f32} : (tensor<5x2x4xbf16>) -> tensor<5x2x4xf32>
  // CHECK: %[[S:.*]] = flame.mul %[[W]], %[[W]] : (tensor<5x2x4xf32>, tensor<5x2x4xf32>)
  // CHECK: flame.reduce %[[S]]
  %0 = flame.matmul %x, %w : (tensor<5x4xbf16>, tensor<4x8xbf16>) -> tensor<5x8xbf16>
  %1 = flame.add %0, %bias : (tensor<5x8xbf16>, tensor<8xbf16>) -> tensor<5x8xbf16>
  %2 = flame.reshape %1, %dims : (tensor<5x8xbf16>, tensor<3xi64>) -> tensor<5x2x4xbf16>
  %3 = flame.cast %2 {to = f32} : (tensor<5x2x4xbf16>) -> tensor<5x2x4xf32>
  %4 = flame.mul %3, %3 : (tensor<5x2x4xf32>, tensor<5x2x4xf32>) -> tensor<5x2x4xf32>
  %5 = flame.reduce %4 {kind = "sum", axes = array<i64: 2>, keepdims = true} : (tensor<5x2x4xf32>) -> tensor<5x2x1xf32>
  return %3, %5 : tensor<5x2x4xf32>, tensor<5x2x1xf32>
}

// -----

// CHECK-LABEL: @slices
// CHECK-SAME: %[[X:.*]]: tensor<3x16xf32>
func.func @slices(%x: tensor<3x16xf32>) -> tensor<2x2xf32> {
  %one = flame.constant {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
  %half = flame.constant {value = dense<[3, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %middle = flame.constant {value = dense<[0, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
  %few = flame.constant {value = dense<2> : tensor<2xi64>} : () -> tensor<2xi64>
  %start = flame.constant {value = dense<[1, 4]> : tensor<2xi64>} : () -> tensor<2xi64>
  // CHECK: %[[S:.*]] = flame.constant {value = dense<[1, 12]> : tensor<2xi64>}
  // CHECK: %[[Y:.*]] = flame.slice %[[X]], %[[S]], %{{.*}}, %{{.*}} -> tensor<2x2xf32>
  // CHECK: return %[[Y]]
  %0 = flame.slice %x, %middle, %half, %one : (tensor<3x16xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<3x8xf32>
  %1 = flame.slice %0, %start, %few, %one : (tensor<3x8xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<2x2xf32>
  return %1 : tensor<2x2xf32>
}
