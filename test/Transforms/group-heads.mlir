// RUN: flame-opt %s --flame-group-heads --split-input-file | FileCheck %s

// Twelve heads in groups of three; scores have a mask, and come as weights from a softmax spelled out.
// CHECK-LABEL: @attention
// CHECK-SAME: %[[Q:arg0]]: {{.*}}%[[K:arg1]]: {{.*}}%[[V:arg2]]: {{.*}}%[[M:arg3]]:
func.func @attention(%x: tensor<?x70x12x64xf16> {flame.dims = ["b", 70, 12, 64]}, %k: tensor<?x4x70x64xf16> {flame.dims = ["b", 4, 70, 64]},
                     %v: tensor<?x4x70x64xf16> {flame.dims = ["b", 4, 70, 64]}, %m: tensor<?x1x70x70xf16> {flame.dims = ["b", 1, 70, 70]}) -> tensor<?x70x12x64xf16> {
  // CHECK-NOT: flame.expand
  // CHECK: %[[S:.*]] = flame.reshape %[[Q]]{{.*}} -> tensor<?x70x4x3x64xf16>
  // CHECK: %[[T:.*]] = flame.transpose %[[S]] {perm = array<i64: 0, 2, 3, 1, 4>}
  // CHECK: %[[U:.*]] = flame.reshape %[[K]]{{.*}} -> tensor<?x4x1x70x64xf16>
  // CHECK: %[[P:.*]] = flame.matmul %[[T]], %[[U]] {transpose_y = true} : {{.*}} -> tensor<?x4x3x70x70xf16>
  // CHECK: %[[N:.*]] = flame.reshape %[[M]]{{.*}} -> tensor<?x1x1x70x70xf16>
  // CHECK: %[[A:.*]] = flame.add %[[P]], %[[N]]
  // CHECK: %[[H:.*]] = flame.reduce %[[A]] {axes = array<i64: 4>, kind = "max"} : {{.*}} -> tensor<?x4x3x70x1xf16>
  // CHECK: %[[D:.*]] = flame.sub %[[A]], %[[H]]
  // CHECK: %[[E:.*]] = flame.exp %[[D]]
  // CHECK: %[[L:.*]] = flame.reduce %[[E]] {axes = array<i64: 4>, kind = "sum"}
  // CHECK: %[[W:.*]] = flame.div %[[E]], %[[L]]
  // CHECK: %[[Z:.*]] = flame.reshape %[[V]]{{.*}} -> tensor<?x4x1x70x64xf16>
  // CHECK: %[[R:.*]] = flame.matmul %[[W]], %[[Z]] : {{.*}} -> tensor<?x4x3x70x64xf16>
  // CHECK: %[[I:.*]] = flame.transpose %[[R]] {perm = array<i64: 0, 3, 1, 2, 4>}
  // CHECK: %[[J:.*]] = flame.reshape %[[I]]{{.*}} -> tensor<?x70x12x64xf16>
  // CHECK: return %[[J]]
  %q = flame.transpose %x {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x70x12x64xf16>) -> tensor<?x12x70x64xf16>
  %zero = flame.constant {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %one = flame.constant {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %shape = flame.shape_of %x : (tensor<?x70x12x64xf16>) -> tensor<4xi64>
  %b = flame.slice %shape, %zero, %one, %one : (tensor<4xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %once = flame.constant {value = dense<[4, 1, 70, 64]> : tensor<4xi64>} : () -> tensor<4xi64>
  %thrice = flame.constant {value = dense<[4, 3, 70, 64]> : tensor<4xi64>} : () -> tensor<4xi64>
  %heads = flame.constant {value = dense<[12, 70, 64]> : tensor<3xi64>} : () -> tensor<3xi64>
  %s = flame.concat %b, %once {axis = 0 : i64} : (tensor<1xi64>, tensor<4xi64>) -> tensor<5xi64>
  %t = flame.concat %b, %thrice {axis = 0 : i64} : (tensor<1xi64>, tensor<4xi64>) -> tensor<5xi64>
  %u = flame.concat %b, %heads {axis = 0 : i64} : (tensor<1xi64>, tensor<3xi64>) -> tensor<4xi64>
  %k0 = flame.reshape %k, %s : (tensor<?x4x70x64xf16>, tensor<5xi64>) -> tensor<?x4x1x70x64xf16>
  %k1 = flame.expand %k0, %t : (tensor<?x4x1x70x64xf16>, tensor<5xi64>) -> tensor<?x4x3x70x64xf16>
  %k2 = flame.reshape %k1, %u : (tensor<?x4x3x70x64xf16>, tensor<4xi64>) -> tensor<?x12x70x64xf16>
  %v0 = flame.reshape %v, %s : (tensor<?x4x70x64xf16>, tensor<5xi64>) -> tensor<?x4x1x70x64xf16>
  %v1 = flame.expand %v0, %t : (tensor<?x4x1x70x64xf16>, tensor<5xi64>) -> tensor<?x4x3x70x64xf16>
  %v2 = flame.reshape %v1, %u : (tensor<?x4x3x70x64xf16>, tensor<4xi64>) -> tensor<?x12x70x64xf16>
  %p = flame.matmul %q, %k2 {transpose_y = true} : (tensor<?x12x70x64xf16>, tensor<?x12x70x64xf16>) -> tensor<?x12x70x70xf16>
  %a = flame.add %p, %m : (tensor<?x12x70x70xf16>, tensor<?x1x70x70xf16>) -> tensor<?x12x70x70xf16>
  %h = flame.reduce %a {kind = "max", axes = array<i64: 3>} : (tensor<?x12x70x70xf16>) -> tensor<?x12x70x1xf16>
  %d = flame.sub %a, %h : (tensor<?x12x70x70xf16>, tensor<?x12x70x1xf16>) -> tensor<?x12x70x70xf16>
  %e = flame.exp %d : (tensor<?x12x70x70xf16>) -> tensor<?x12x70x70xf16>
  %l = flame.reduce %e {kind = "sum", axes = array<i64: 3>} : (tensor<?x12x70x70xf16>) -> tensor<?x12x70x1xf16>
  %w = flame.div %e, %l : (tensor<?x12x70x70xf16>, tensor<?x12x70x1xf16>) -> tensor<?x12x70x70xf16>
  %r = flame.matmul %w, %v2 : (tensor<?x12x70x70xf16>, tensor<?x12x70x64xf16>) -> tensor<?x12x70x64xf16>
  %y = flame.transpose %r {perm = array<i64: 0, 2, 1, 3>} : (tensor<?x12x70x64xf16>) -> tensor<?x70x12x64xf16>
  return %y : tensor<?x70x12x64xf16>
}

// -----

// Scores that somebody reads besides would be computed twice.
// CHECK-LABEL: @scores_are_a_result
// CHECK-COUNT-2: flame.expand
func.func @scores_are_a_result(%q: tensor<1x6x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) -> (tensor<1x6x8x16xf32>, tensor<1x6x8x8xf32>) {
  %s = flame.constant {value = dense<[1, 2, 1, 8, 16]> : tensor<5xi64>} : () -> tensor<5xi64>
  %t = flame.constant {value = dense<[1, 2, 3, 8, 16]> : tensor<5xi64>} : () -> tensor<5xi64>
  %u = flame.constant {value = dense<[1, 6, 8, 16]> : tensor<4xi64>} : () -> tensor<4xi64>
  %k0 = flame.reshape %k, %s : (tensor<1x2x8x16xf32>, tensor<5xi64>) -> tensor<1x2x1x8x16xf32>
  %k1 = flame.expand %k0, %t : (tensor<1x2x1x8x16xf32>, tensor<5xi64>) -> tensor<1x2x3x8x16xf32>
  %k2 = flame.reshape %k1, %u : (tensor<1x2x3x8x16xf32>, tensor<4xi64>) -> tensor<1x6x8x16xf32>
  %v0 = flame.reshape %v, %s : (tensor<1x2x8x16xf32>, tensor<5xi64>) -> tensor<1x2x1x8x16xf32>
  %v1 = flame.expand %v0, %t : (tensor<1x2x1x8x16xf32>, tensor<5xi64>) -> tensor<1x2x3x8x16xf32>
  %v2 = flame.reshape %v1, %u : (tensor<1x2x3x8x16xf32>, tensor<4xi64>) -> tensor<1x6x8x16xf32>
  %p = flame.matmul %q, %k2 {transpose_y = true} : (tensor<1x6x8x16xf32>, tensor<1x6x8x16xf32>) -> tensor<1x6x8x8xf32>
  %w = flame.exp %p : (tensor<1x6x8x8xf32>) -> tensor<1x6x8x8xf32>
  %r = flame.matmul %w, %v2 : (tensor<1x6x8x8xf32>, tensor<1x6x8x16xf32>) -> tensor<1x6x8x16xf32>
  return %r, %w : tensor<1x6x8x16xf32>, tensor<1x6x8x8xf32>
}

// -----

// Heads that take turns at the keys are no groups, nor is a reduction over heads computed head by head.
// CHECK-LABEL: @no_groups
// CHECK-COUNT-2: flame.expand
func.func @no_groups(%q: tensor<1x6x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) -> tensor<1x6x8x16xf32> {
  %s = flame.constant {value = dense<[1, 1, 2, 8, 16]> : tensor<5xi64>} : () -> tensor<5xi64>
  %t = flame.constant {value = dense<[1, 3, 2, 8, 16]> : tensor<5xi64>} : () -> tensor<5xi64>
  %u = flame.constant {value = dense<[1, 6, 8, 16]> : tensor<4xi64>} : () -> tensor<4xi64>
  %k0 = flame.reshape %k, %s : (tensor<1x2x8x16xf32>, tensor<5xi64>) -> tensor<1x1x2x8x16xf32>
  %k1 = flame.expand %k0, %t : (tensor<1x1x2x8x16xf32>, tensor<5xi64>) -> tensor<1x3x2x8x16xf32>
  %k2 = flame.reshape %k1, %u : (tensor<1x3x2x8x16xf32>, tensor<4xi64>) -> tensor<1x6x8x16xf32>
  %v0 = flame.reshape %v, %s : (tensor<1x2x8x16xf32>, tensor<5xi64>) -> tensor<1x1x2x8x16xf32>
  %v1 = flame.expand %v0, %t : (tensor<1x1x2x8x16xf32>, tensor<5xi64>) -> tensor<1x3x2x8x16xf32>
  %v2 = flame.reshape %v1, %u : (tensor<1x3x2x8x16xf32>, tensor<4xi64>) -> tensor<1x6x8x16xf32>
  %p = flame.matmul %q, %k2 {transpose_y = true} : (tensor<1x6x8x16xf32>, tensor<1x6x8x16xf32>) -> tensor<1x6x8x8xf32>
  %r = flame.matmul %p, %v2 : (tensor<1x6x8x8xf32>, tensor<1x6x8x16xf32>) -> tensor<1x6x8x16xf32>
  return %r : tensor<1x6x8x16xf32>
}

// -----

// CHECK-LABEL: @over_heads
// CHECK-COUNT-2: flame.expand
func.func @over_heads(%q: tensor<1x6x8x16xf32>, %k: tensor<1x2x8x16xf32>, %v: tensor<1x2x8x16xf32>) -> tensor<1x6x8x16xf32> {
  %s = flame.constant {value = dense<[1, 2, 1, 8, 16]> : tensor<5xi64>} : () -> tensor<5xi64>
  %t = flame.constant {value = dense<[1, 2, 3, 8, 16]> : tensor<5xi64>} : () -> tensor<5xi64>
  %u = flame.constant {value = dense<[1, 6, 8, 16]> : tensor<4xi64>} : () -> tensor<4xi64>
  %k0 = flame.reshape %k, %s : (tensor<1x2x8x16xf32>, tensor<5xi64>) -> tensor<1x2x1x8x16xf32>
  %k1 = flame.expand %k0, %t : (tensor<1x2x1x8x16xf32>, tensor<5xi64>) -> tensor<1x2x3x8x16xf32>
  %k2 = flame.reshape %k1, %u : (tensor<1x2x3x8x16xf32>, tensor<4xi64>) -> tensor<1x6x8x16xf32>
  %v0 = flame.reshape %v, %s : (tensor<1x2x8x16xf32>, tensor<5xi64>) -> tensor<1x2x1x8x16xf32>
  %v1 = flame.expand %v0, %t : (tensor<1x2x1x8x16xf32>, tensor<5xi64>) -> tensor<1x2x3x8x16xf32>
  %v2 = flame.reshape %v1, %u : (tensor<1x2x3x8x16xf32>, tensor<4xi64>) -> tensor<1x6x8x16xf32>
  %p = flame.matmul %q, %k2 {transpose_y = true} : (tensor<1x6x8x16xf32>, tensor<1x6x8x16xf32>) -> tensor<1x6x8x8xf32>
  %h = flame.reduce %p {kind = "sum", axes = array<i64: 1>} : (tensor<1x6x8x8xf32>) -> tensor<1x1x8x8xf32>
  %w = flame.sub %p, %h : (tensor<1x6x8x8xf32>, tensor<1x1x8x8xf32>) -> tensor<1x6x8x8xf32>
  %r = flame.matmul %w, %v2 : (tensor<1x6x8x8xf32>, tensor<1x6x8x16xf32>) -> tensor<1x6x8x16xf32>
  return %r : tensor<1x6x8x16xf32>
}
