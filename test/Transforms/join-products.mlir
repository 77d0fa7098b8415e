// RUN: flame-opt %s --flame-join-products --split-input-file | FileCheck %s

// Two products with biases: one product, one bias, two parts.
// CHECK-LABEL: @biases
// CHECK-SAME: %[[X:.*]]: tensor<1x?x64xf16>
func.func @biases(%x: tensor<1x?x64xf16>) -> (tensor<1x32x?xf16>, tensor<1x16x?xf16>) {
  %wq = flame.weight {name = "q", ref = #flame.weight_ref<"w", 0, 4096>, type = tensor<64x32xf16>} : () -> tensor<64x32xf16>
  %wk = flame.weight {name = "k", ref = #flame.weight_ref<"w", 4096, 2048>, type = tensor<64x16xf16>} : () -> tensor<64x16xf16>
  %bq = flame.weight {name = "bq", ref = #flame.weight_ref<"w", 8192, 64>, type = tensor<32xf16>} : () -> tensor<32xf16>
  %bk = flame.weight {name = "bk", ref = #flame.weight_ref<"w", 8256, 32>, type = tensor<16xf16>} : () -> tensor<16xf16>
  // CHECK: %[[W:.*]] = flame.concat %{{.*}}, %{{.*}} {axis = 1 : i64} : (tensor<64x32xf16>, tensor<64x16xf16>) -> tensor<64x48xf16>
  // CHECK: %[[Y:.*]] = flame.matmul %[[X]], %[[W]]
  // CHECK: %[[B:.*]] = flame.concat %{{.*}}, %{{.*}} {axis = 0 : i64} : (tensor<32xf16>, tensor<16xf16>) -> tensor<48xf16>
  // CHECK: %[[Z:.*]] = flame.add %[[Y]], %[[B]]
  // CHECK-COUNT-2: flame.slice %[[Z]]
  // CHECK-NOT: flame.matmul
  // CHECK: return
  %q = flame.matmul %x, %wq : (tensor<1x?x64xf16>, tensor<64x32xf16>) -> tensor<1x?x32xf16>
  %qb = flame.add %q, %bq : (tensor<1x?x32xf16>, tensor<32xf16>) -> tensor<1x?x32xf16>
  %k = flame.matmul %x, %wk : (tensor<1x?x64xf16>, tensor<64x16xf16>) -> tensor<1x?x16xf16>
  %kb = flame.add %bk, %k : (tensor<16xf16>, tensor<1x?x16xf16>) -> tensor<1x?x16xf16>
  %qt = flame.transpose %qb {perm = array<i64: 0, 2, 1>} : (tensor<1x?x32xf16>) -> tensor<1x32x?xf16>
  %kt = flame.transpose %kb {perm = array<i64: 0, 2, 1>} : (tensor<1x?x16xf16>) -> tensor<1x16x?xf16>
  return %qt, %kt : tensor<1x32x?xf16>, tensor<1x16x?xf16>
}

// -----

// A gate is computed with its product; many rows keep a GPU busy anyway; weights that are no constants stay apart.
// CHECK-LABEL: @apart
// CHECK-NOT: flame.concat
// CHECK: return
func.func @apart(%x: tensor<8x64xf16>, %many: tensor<4096x64xf16>, %w: tensor<64x32xf16>) -> (tensor<32x8xf16>, tensor<32x8xf16>, tensor<32x4096xf16>, tensor<32x4096xf16>, tensor<32x8xf16>) {
  %wq = flame.weight {name = "q", ref = #flame.weight_ref<"w", 0, 4096>, type = tensor<64x32xf16>} : () -> tensor<64x32xf16>
  %wk = flame.weight {name = "k", ref = #flame.weight_ref<"w", 4096, 4096>, type = tensor<64x32xf16>} : () -> tensor<64x32xf16>
  %q = flame.matmul %x, %wq : (tensor<8x64xf16>, tensor<64x32xf16>) -> tensor<8x32xf16>
  %s = flame.sigmoid %q : (tensor<8x32xf16>) -> tensor<8x32xf16>
  %k = flame.matmul %x, %wk : (tensor<8x64xf16>, tensor<64x32xf16>) -> tensor<8x32xf16>
  %st = flame.transpose %s {perm = array<i64: 1, 0>} : (tensor<8x32xf16>) -> tensor<32x8xf16>
  %kt = flame.transpose %k {perm = array<i64: 1, 0>} : (tensor<8x32xf16>) -> tensor<32x8xf16>
  %a = flame.matmul %many, %wq : (tensor<4096x64xf16>, tensor<64x32xf16>) -> tensor<4096x32xf16>
  %b = flame.matmul %many, %wk : (tensor<4096x64xf16>, tensor<64x32xf16>) -> tensor<4096x32xf16>
  %at = flame.transpose %a {perm = array<i64: 1, 0>} : (tensor<4096x32xf16>) -> tensor<32x4096xf16>
  %bt = flame.transpose %b {perm = array<i64: 1, 0>} : (tensor<4096x32xf16>) -> tensor<32x4096xf16>
  %c = flame.matmul %x, %w : (tensor<8x64xf16>, tensor<64x32xf16>) -> tensor<8x32xf16>
  %ct = flame.transpose %c {perm = array<i64: 1, 0>} : (tensor<8x32xf16>) -> tensor<32x8xf16>
  return %st, %kt, %at, %bt, %ct : tensor<32x8xf16>, tensor<32x8xf16>, tensor<32x4096xf16>, tensor<32x4096xf16>, tensor<32x8xf16>
}

// -----

// In a loop, whose constants are computed when the module is loaded, too.
// CHECK-LABEL: @loop
func.func @loop(%n: tensor<i64>, %x: tensor<1x?x64xf16>) -> tensor<1x?x64xf16> {
  %wq = flame.weight {name = "q", ref = #flame.weight_ref<"w", 0, 4096>, type = tensor<64x32xf16>} : () -> tensor<64x32xf16>
  %wk = flame.weight {name = "k", ref = #flame.weight_ref<"w", 4096, 4096>, type = tensor<64x32xf16>} : () -> tensor<64x32xf16>
  // CHECK: flame.loop
  // CHECK: ^bb0(%{{.*}}: tensor<i64>, %{{.*}}: tensor<i1>, %[[X:.*]]: tensor<1x?x64xf16>):
  // CHECK: %[[W:.*]] = flame.concat %{{.*}}, %{{.*}} {axis = 1 : i64} : (tensor<64x32xf16>, tensor<64x32xf16>) -> tensor<64x64xf16>
  // CHECK: %[[Y:.*]] = flame.matmul %[[X]], %[[W]]
  // CHECK-COUNT-2: flame.slice %[[Y]]
  // CHECK-NOT: flame.matmul
  // CHECK: flame.yield
  %y = flame.loop %n, %x {has_trip = true, has_condition = false, fixed = [array<i64: 1>]}
      : (tensor<i64>, tensor<1x?x64xf16>) -> tensor<1x?x64xf16> {
  ^body(%i: tensor<i64>, %go: tensor<i1>, %v: tensor<1x?x64xf16>):
    %q = flame.matmul %v, %wq : (tensor<1x?x64xf16>, tensor<64x32xf16>) -> tensor<1x?x32xf16>
    %k = flame.matmul %v, %wk : (tensor<1x?x64xf16>, tensor<64x32xf16>) -> tensor<1x?x32xf16>
    %both = flame.concat %k, %q {axis = 2 : i64} : (tensor<1x?x32xf16>, tensor<1x?x32xf16>) -> tensor<1x?x64xf16>
    flame.yield %go, %both : tensor<i1>, tensor<1x?x64xf16>
  }
  return %y : tensor<1x?x64xf16>
}
