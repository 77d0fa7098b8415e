// RUN: flame-opt %s --canonicalize | FileCheck %s

// CHECK-LABEL: @nothing
// CHECK-SAME: (%[[X:.*]]: tensor<?x3xf32>)
func.func @nothing(%x: tensor<?x3xf32>) -> tensor<?x3xf32> {
  %0 = flame.reduce %x {kind = "sum", axes = array<i64>} : (tensor<?x3xf32>) -> tensor<?x3xf32>
  // CHECK-NEXT: return %[[X]]
  return %0 : tensor<?x3xf32>
}
