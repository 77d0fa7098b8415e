// RUN: flame-opt %s --canonicalize --cse | FileCheck %s

// CHECK-LABEL: @unique
// CHECK-COUNT-1: flame.constant
// CHECK-NOT: flame.constant
func.func @unique() -> (tensor<i64>, tensor<i64>) {
  %0 = flame.constant {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  %1 = flame.constant {value = dense<2> : tensor<i64>} : () -> tensor<i64>
  return %0, %1 : tensor<i64>, tensor<i64>
}
