// RUN: flame-opt %s --flame-form-regions=attention --split-input-file | FileCheck %s
// RUN: flame-opt %s --flame-form-regions --split-input-file | FileCheck %s --check-prefix=APART

// As exporters spell it: heads that are split and joined by transposes, a scale, a mask by key.
// CHECK-LABEL: @bert
// CHECK: flame.region "attention"
// CHECK-COUNT-3: flame.transpose
// CHECK: flame.matmul
// CHECK: flame.div
// CHECK: flame.add
// CHECK: flame.reduce
// CHECK: flame.matmul
// CHECK-NEXT: flame.transpose
// CHECK-NOT: flame.region
// APART-LABEL: @bert
// APART: flame.region "contract"
// APART: flame.region "row"
// APART: flame.region "contract"
func.func @bert(%q: tensor<2x37x12x64xf16>, %k: tensor<2x37x12x64xf16>, %v: tensor<2x37x12x64xf16>, %mask: tensor<2x1x1x37xf16>) -> tensor<2x37x12x64xf16> {
  %c = flame.constant {value = dense<8.0> : tensor<f16>} : () -> tensor<f16>
  %0 = flame.transpose %q {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x37x12x64xf16>) -> tensor<2x12x37x64xf16>
  %1 = flame.transpose %k {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x37x12x64xf16>) -> tensor<2x12x37x64xf16>
  %2 = flame.transpose %v {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x37x12x64xf16>) -> tensor<2x12x37x64xf16>
  %3 = flame.matmul %0, %1 {transpose_y = true} : (tensor<2x12x37x64xf16>, tensor<2x12x37x64xf16>) -> tensor<2x12x37x37xf16>
  %4 = flame.div %3, %c : (tensor<2x12x37x37xf16>, tensor<f16>) -> tensor<2x12x37x37xf16>
  %5 = flame.add %4, %mask : (tensor<2x12x37x37xf16>, tensor<2x1x1x37xf16>) -> tensor<2x12x37x37xf16>
  %6 = flame.cast %5 {to = f32} : (tensor<2x12x37x37xf16>) -> tensor<2x12x37x37xf32>
  %7 = flame.reduce %6 {axes = array<i64: 3>, kind = "max"} : (tensor<2x12x37x37xf32>) -> tensor<2x12x37x1xf32>
  %8 = flame.sub %6, %7 : (tensor<2x12x37x37xf32>, tensor<2x12x37x1xf32>) -> tensor<2x12x37x37xf32>
  %9 = flame.exp %8 : (tensor<2x12x37x37xf32>) -> tensor<2x12x37x37xf32>
  %10 = flame.reduce %9 {axes = array<i64: 3>, kind = "sum"} : (tensor<2x12x37x37xf32>) -> tensor<2x12x37x1xf32>
  %11 = flame.reciprocal %10 : (tensor<2x12x37x1xf32>) -> tensor<2x12x37x1xf32>
  %12 = flame.mul %9, %11 : (tensor<2x12x37x37xf32>, tensor<2x12x37x1xf32>) -> tensor<2x12x37x37xf32>
  %13 = flame.cast %12 {to = f16} : (tensor<2x12x37x37xf32>) -> tensor<2x12x37x37xf16>
  %14 = flame.matmul %13, %2 : (tensor<2x12x37x37xf16>, tensor<2x12x37x64xf16>) -> tensor<2x12x37x64xf16>
  %15 = flame.transpose %14 {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x12x37x64xf16>) -> tensor<2x37x12x64xf16>
  return %15 : tensor<2x37x12x64xf16>
}

// -----

// Scaled queries, a division in place of the reciprocal, a causal mask whose positions become part of the region, an epilogue.
// CHECK-LABEL: @causal
// CHECK: flame.region "attention"
// CHECK-DAG: flame.iota
// CHECK-DAG: flame.less_equal
// CHECK-DAG: flame.mul
// CHECK: flame.where
// CHECK: flame.div
// CHECK: flame.matmul
// CHECK-NEXT: flame.relu
// CHECK-NOT: flame.region
func.func @causal(%q: tensor<2x40x32xbf16>, %k: tensor<2x50x32xbf16>, %v: tensor<2x50x16xbf16>) -> tensor<2x40x16xbf16> {
  %s = flame.constant {value = dense<0.25> : tensor<bf16>} : () -> tensor<bf16>
  %low = flame.constant {value = dense<0xFF80> : tensor<bf16>} : () -> tensor<bf16>
  %n = flame.constant {value = dense<40> : tensor<1xi64>} : () -> tensor<1xi64>
  %m = flame.constant {value = dense<50> : tensor<1xi64>} : () -> tensor<1xi64>
  %column = flame.constant {value = dense<[40, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %0 = flame.iota %n {type = i64} : (tensor<1xi64>) -> tensor<40xi64>
  %1 = flame.reshape %0, %column : (tensor<40xi64>, tensor<2xi64>) -> tensor<40x1xi64>
  %2 = flame.iota %m {type = i64} : (tensor<1xi64>) -> tensor<50xi64>
  %3 = flame.less_equal %2, %1 : (tensor<50xi64>, tensor<40x1xi64>) -> tensor<40x50xi1>
  %4 = flame.mul %q, %s : (tensor<2x40x32xbf16>, tensor<bf16>) -> tensor<2x40x32xbf16>
  %5 = flame.matmul %4, %k {transpose_y = true} : (tensor<2x40x32xbf16>, tensor<2x50x32xbf16>) -> tensor<2x40x50xbf16>
  %6 = flame.where %3, %5, %low : (tensor<40x50xi1>, tensor<2x40x50xbf16>, tensor<bf16>) -> tensor<2x40x50xbf16>
  %7 = flame.reduce %6 {axes = array<i64: 2>, kind = "max"} : (tensor<2x40x50xbf16>) -> tensor<2x40x1xbf16>
  %8 = flame.sub %6, %7 : (tensor<2x40x50xbf16>, tensor<2x40x1xbf16>) -> tensor<2x40x50xbf16>
  %9 = flame.exp %8 : (tensor<2x40x50xbf16>) -> tensor<2x40x50xbf16>
  %10 = flame.reduce %9 {axes = array<i64: 2>, kind = "sum"} : (tensor<2x40x50xbf16>) -> tensor<2x40x1xbf16>
  %11 = flame.div %9, %10 : (tensor<2x40x50xbf16>, tensor<2x40x1xbf16>) -> tensor<2x40x50xbf16>
  %12 = flame.matmul %11, %v : (tensor<2x40x50xbf16>, tensor<2x50x16xbf16>) -> tensor<2x40x16xbf16>
  %13 = flame.relu %12 : (tensor<2x40x16xbf16>) -> tensor<2x40x16xbf16>
  return %13 : tensor<2x40x16xbf16>
}

// -----

// Weights that someone else reads, too, are stored.
// CHECK-LABEL: @weights
// CHECK-NOT: "attention"
func.func @weights(%q: tensor<2x40x32xf16>, %k: tensor<2x50x32xf16>, %v: tensor<2x50x16xf16>) -> (tensor<2x40x16xf16>, tensor<2x40x50xf16>) {
  %5 = flame.matmul %q, %k {transpose_y = true} : (tensor<2x40x32xf16>, tensor<2x50x32xf16>) -> tensor<2x40x50xf16>
  %7 = flame.reduce %5 {axes = array<i64: 2>, kind = "max"} : (tensor<2x40x50xf16>) -> tensor<2x40x1xf16>
  %8 = flame.sub %5, %7 : (tensor<2x40x50xf16>, tensor<2x40x1xf16>) -> tensor<2x40x50xf16>
  %9 = flame.exp %8 : (tensor<2x40x50xf16>) -> tensor<2x40x50xf16>
  %10 = flame.reduce %9 {axes = array<i64: 2>, kind = "sum"} : (tensor<2x40x50xf16>) -> tensor<2x40x1xf16>
  %11 = flame.div %9, %10 : (tensor<2x40x50xf16>, tensor<2x40x1xf16>) -> tensor<2x40x50xf16>
  %12 = flame.matmul %11, %v : (tensor<2x40x50xf16>, tensor<2x50x16xf16>) -> tensor<2x40x16xf16>
  return %12, %11 : tensor<2x40x16xf16>, tensor<2x40x50xf16>
}

// -----

// f32 is strict: its products are no matter of 16-bit matrix instructions.
// CHECK-LABEL: @strict
// CHECK-NOT: "attention"
func.func @strict(%q: tensor<2x40x32xf32>, %k: tensor<2x50x32xf32>, %v: tensor<2x50x16xf32>) -> tensor<2x40x16xf32> {
  %5 = flame.matmul %q, %k {transpose_y = true} : (tensor<2x40x32xf32>, tensor<2x50x32xf32>) -> tensor<2x40x50xf32>
  %7 = flame.reduce %5 {axes = array<i64: 2>, kind = "max"} : (tensor<2x40x50xf32>) -> tensor<2x40x1xf32>
  %8 = flame.sub %5, %7 : (tensor<2x40x50xf32>, tensor<2x40x1xf32>) -> tensor<2x40x50xf32>
  %9 = flame.exp %8 : (tensor<2x40x50xf32>) -> tensor<2x40x50xf32>
  %10 = flame.reduce %9 {axes = array<i64: 2>, kind = "sum"} : (tensor<2x40x50xf32>) -> tensor<2x40x1xf32>
  %11 = flame.div %9, %10 : (tensor<2x40x50xf32>, tensor<2x40x1xf32>) -> tensor<2x40x50xf32>
  %12 = flame.matmul %11, %v : (tensor<2x40x50xf32>, tensor<2x50x16xf32>) -> tensor<2x40x16xf32>
  return %12 : tensor<2x40x16xf32>
}

// -----

// A head of more than 256.
// CHECK-LABEL: @large
// CHECK-NOT: "attention"
func.func @large(%q: tensor<2x40x264xf16>, %k: tensor<2x50x264xf16>, %v: tensor<2x50x16xf16>) -> tensor<2x40x16xf16> {
  %5 = flame.matmul %q, %k {transpose_y = true} : (tensor<2x40x264xf16>, tensor<2x50x264xf16>) -> tensor<2x40x50xf16>
  %7 = flame.reduce %5 {axes = array<i64: 2>, kind = "max"} : (tensor<2x40x50xf16>) -> tensor<2x40x1xf16>
  %8 = flame.sub %5, %7 : (tensor<2x40x50xf16>, tensor<2x40x1xf16>) -> tensor<2x40x50xf16>
  %9 = flame.exp %8 : (tensor<2x40x50xf16>) -> tensor<2x40x50xf16>
  %10 = flame.reduce %9 {axes = array<i64: 2>, kind = "sum"} : (tensor<2x40x50xf16>) -> tensor<2x40x1xf16>
  %11 = flame.div %9, %10 : (tensor<2x40x50xf16>, tensor<2x40x1xf16>) -> tensor<2x40x50xf16>
  %12 = flame.matmul %11, %v : (tensor<2x40x50xf16>, tensor<2x50x16xf16>) -> tensor<2x40x16xf16>
  return %12 : tensor<2x40x16xf16>
}

// -----

// The log-sum-exp of the same scores, with the peak that may be infinite left in the exponent, is a second result: read before the
// context is computed, and by what joins it with that.
// CHECK-LABEL: @log_sum
// CHECK-SAME: %{{.*}}, %{{.*}}, %{{.*}}, %[[OTHER:[a-z0-9]*]]:
// CHECK: %[[R:.*]]:2 = flame.region "attention"
// CHECK-SAME: -> (tensor<2x40x16xbf16>, tensor<2x40x1xf32>) {
// CHECK: %[[L:.*]] = flame.add
// CHECK: %[[Y:.*]] = flame.matmul
// CHECK-NEXT: flame.yield %[[Y]], %[[L]]
// CHECK: flame.reshape %[[R]]#1
// CHECK: flame.region "loop"(%[[R]]#1, %[[OTHER]])
// CHECK: flame.region "loop"(%[[R]]#0, %
// CHECK-NOT: flame.region
func.func @log_sum(%q: tensor<2x40x32xbf16>, %k: tensor<2x50x32xbf16>, %v: tensor<2x50x16xbf16>, %other: tensor<2x40x1xf32>)
    -> (tensor<2x40xf32>, tensor<2x40x16xf32>) {
  %inf = flame.constant {value = dense<0x7F800000> : tensor<f32>} : () -> tensor<f32>
  %zero = flame.constant {value = dense<0.0> : tensor<f32>} : () -> tensor<f32>
  %flat = flame.constant {value = dense<[2, 40]> : tensor<2xi64>} : () -> tensor<2xi64>
  %0 = flame.matmul %q, %k {transpose_y = true, type = f32} : (tensor<2x40x32xbf16>, tensor<2x50x32xbf16>) -> tensor<2x40x50xf32>
  %1 = flame.reduce %0 {axes = array<i64: 2>, kind = "max"} : (tensor<2x40x50xf32>) -> tensor<2x40x1xf32>
  %2 = flame.abs %1 : (tensor<2x40x1xf32>) -> tensor<2x40x1xf32>
  %3 = flame.less %2, %inf : (tensor<2x40x1xf32>, tensor<f32>) -> tensor<2x40x1xi1>
  %4 = flame.where %3, %1, %zero : (tensor<2x40x1xi1>, tensor<2x40x1xf32>, tensor<f32>) -> tensor<2x40x1xf32>
  %5 = flame.sub %0, %4 : (tensor<2x40x50xf32>, tensor<2x40x1xf32>) -> tensor<2x40x50xf32>
  %6 = flame.exp %5 : (tensor<2x40x50xf32>) -> tensor<2x40x50xf32>
  %7 = flame.reduce %6 {axes = array<i64: 2>, kind = "sum"} : (tensor<2x40x50xf32>) -> tensor<2x40x1xf32>
  %8 = flame.log %7 : (tensor<2x40x1xf32>) -> tensor<2x40x1xf32>
  %9 = flame.add %8, %4 : (tensor<2x40x1xf32>, tensor<2x40x1xf32>) -> tensor<2x40x1xf32>
  %10 = flame.reshape %9, %flat : (tensor<2x40x1xf32>, tensor<2xi64>) -> tensor<2x40xf32>
  %11 = flame.sub %9, %other : (tensor<2x40x1xf32>, tensor<2x40x1xf32>) -> tensor<2x40x1xf32>
  %12 = flame.sub %0, %1 : (tensor<2x40x50xf32>, tensor<2x40x1xf32>) -> tensor<2x40x50xf32>
  %13 = flame.exp %12 : (tensor<2x40x50xf32>) -> tensor<2x40x50xf32>
  %14 = flame.reduce %13 {axes = array<i64: 2>, kind = "sum"} : (tensor<2x40x50xf32>) -> tensor<2x40x1xf32>
  %15 = flame.div %13, %14 : (tensor<2x40x50xf32>, tensor<2x40x1xf32>) -> tensor<2x40x50xf32>
  %16 = flame.cast %15 {to = bf16} : (tensor<2x40x50xf32>) -> tensor<2x40x50xbf16>
  %17 = flame.matmul %16, %v : (tensor<2x40x50xbf16>, tensor<2x50x16xbf16>) -> tensor<2x40x16xbf16>
  %18 = flame.cast %17 {to = f32} : (tensor<2x40x16xbf16>) -> tensor<2x40x16xf32>
  %19 = flame.mul %18, %11 : (tensor<2x40x16xf32>, tensor<2x40x1xf32>) -> tensor<2x40x16xf32>
  return %10, %19 : tensor<2x40xf32>, tensor<2x40x16xf32>
}

// -----

// The peak itself is wanted: no attention, since no kernel gives it.
// CHECK-LABEL: @peak
// CHECK-NOT: "attention"
func.func @peak(%q: tensor<2x40x32xbf16>, %k: tensor<2x50x32xbf16>, %v: tensor<2x50x16xbf16>) -> (tensor<2x40x1xf32>, tensor<2x40x1xf32>, tensor<2x40x16xbf16>) {
  %0 = flame.matmul %q, %k {transpose_y = true, type = f32} : (tensor<2x40x32xbf16>, tensor<2x50x32xbf16>) -> tensor<2x40x50xf32>
  %1 = flame.reduce %0 {axes = array<i64: 2>, kind = "max"} : (tensor<2x40x50xf32>) -> tensor<2x40x1xf32>
  %2 = flame.sub %0, %1 : (tensor<2x40x50xf32>, tensor<2x40x1xf32>) -> tensor<2x40x50xf32>
  %3 = flame.exp %2 : (tensor<2x40x50xf32>) -> tensor<2x40x50xf32>
  %4 = flame.reduce %3 {axes = array<i64: 2>, kind = "sum"} : (tensor<2x40x50xf32>) -> tensor<2x40x1xf32>
  %5 = flame.log %4 : (tensor<2x40x1xf32>) -> tensor<2x40x1xf32>
  %6 = flame.add %1, %5 : (tensor<2x40x1xf32>, tensor<2x40x1xf32>) -> tensor<2x40x1xf32>
  %7 = flame.div %3, %4 : (tensor<2x40x50xf32>, tensor<2x40x1xf32>) -> tensor<2x40x50xf32>
  %8 = flame.cast %7 {to = bf16} : (tensor<2x40x50xf32>) -> tensor<2x40x50xbf16>
  %9 = flame.matmul %8, %v : (tensor<2x40x50xbf16>, tensor<2x50x16xbf16>) -> tensor<2x40x16xbf16>
  return %1, %6, %9 : tensor<2x40x1xf32>, tensor<2x40x1xf32>, tensor<2x40x16xbf16>
}
