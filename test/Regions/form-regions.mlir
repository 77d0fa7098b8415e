// RUN: flame-opt %s --flame-form-regions --split-input-file | FileCheck %s

// Heads of an attention: both operands are read through their transposes, the result is stored through one.
// CHECK-LABEL: @heads
// CHECK-SAME: %[[Q:.*]]: tensor<2x?x4x8xf32>, %[[K:.*]]: tensor<2x?x4x8xf32>
func.func @heads(%q: tensor<2x?x4x8xf32>, %k: tensor<2x?x4x8xf32>) -> (tensor<2x?x4x8xf32>) {
  // CHECK: %[[R:.*]] = flame.region "contract"(%[[Q]], %[[K]])
  // CHECK: flame.transpose
  // CHECK: flame.transpose
  // CHECK: flame.matmul
  // CHECK: flame.matmul
  // CHECK: flame.transpose
  // CHECK: return
  // CHECK-NOT: "loop"
  %0 = flame.transpose %q {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x?x4x8xf32>) -> tensor<2x4x?x8xf32>
  %1 = flame.transpose %k {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x?x4x8xf32>) -> tensor<2x4x?x8xf32>
  %2 = flame.matmul %0, %1 {transpose_y = true} : (tensor<2x4x?x8xf32>, tensor<2x4x?x8xf32>) -> tensor<2x4x?x?xf32>
  %3 = flame.transpose %k {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x?x4x8xf32>) -> tensor<2x4x?x8xf32>
  %4 = flame.matmul %2, %3 : (tensor<2x4x?x?xf32>, tensor<2x4x?x8xf32>) -> tensor<2x4x?x8xf32>
  %5 = flame.transpose %4 {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x4x?x8xf32>) -> tensor<2x?x4x8xf32>
  return %5 : tensor<2x?x4x8xf32>
}

// -----

// A transpose that cuts rows apart is a kernel of its own: a product would read it element by element, many times.
// CHECK-LABEL: @columns
func.func @columns(%x: tensor<8x4x16xf32>, %y: tensor<8x16x4xf32>) -> tensor<16x4x4xf32> {
  // CHECK: flame.region "loop"
  // CHECK: flame.transpose
  // CHECK: flame.region "contract"
  %0 = flame.transpose %x {perm = array<i64: 2, 1, 0>} : (tensor<8x4x16xf32>) -> tensor<16x4x8xf32>
  %1 = flame.transpose %y {perm = array<i64: 1, 0, 2>} : (tensor<8x16x4xf32>) -> tensor<16x8x4xf32>
  %2 = flame.matmul %0, %1 : (tensor<16x4x8xf32>, tensor<16x8x4xf32>) -> tensor<16x4x4xf32>
  return %2 : tensor<16x4x4xf32>
}

// -----

// A scaled weight is never stored: its panels are computed from the weight itself.
// CHECK-LABEL: @panels
func.func @panels(%x: tensor<?x32xf32>) -> tensor<?x32xf32> {
  %w = flame.constant {value = dense<1.0> : tensor<32x4x8xf32>} : () -> tensor<32x4x8xf32>
  %f = flame.weight {name = "factors", ref = #flame.weight_ref<"w.bin", 0, 128>, type = tensor<32x1x1xf32>} : () -> tensor<32x1x1xf32>
  %shape = flame.constant {value = dense<[32, 32]> : tensor<2xi64>} : () -> tensor<2xi64>
  // CHECK: flame.region "loop"
  // CHECK: flame.mul
  // CHECK-NEXT: flame.reshape
  // CHECK-NEXT: flame.pack_panels
  // CHECK: flame.region "contract"
  %0 = flame.mul %w, %f : (tensor<32x4x8xf32>, tensor<32x1x1xf32>) -> tensor<32x4x8xf32>
  %1 = flame.reshape %0, %shape : (tensor<32x4x8xf32>, tensor<2xi64>) -> tensor<32x32xf32>
  %2 = flame.pack_panels %1 {width = 16 : i64} : (tensor<32x32xf32>) -> tensor<2x32x16xf32>
  %3 = flame.matmul %x, %2 {packed_columns = 32 : i64} : (tensor<?x32xf32>, tensor<2x32x16xf32>) -> tensor<?x32xf32>
  return %3 : tensor<?x32xf32>
}

// -----

// What a product reads is stored by its own kernel, even in the product's shape; what it gives is stored once.
// CHECK-LABEL: @chain
func.func @chain(%x: tensor<?x16xf32>, %w: tensor<16x16xf32>) -> tensor<?x16xf32> {
  // CHECK: flame.region "contract"
  // CHECK: flame.matmul
  // CHECK-NEXT: flame.tanh
  // CHECK: flame.region "contract"
  // CHECK: flame.matmul
  // CHECK-NEXT: flame.relu
  %0 = flame.matmul %x, %w : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
  %1 = flame.tanh %0 : (tensor<?x16xf32>) -> tensor<?x16xf32>
  %2 = flame.matmul %1, %w : (tensor<?x16xf32>, tensor<16x16xf32>) -> tensor<?x16xf32>
  %3 = flame.relu %2 : (tensor<?x16xf32>) -> tensor<?x16xf32>
  return %3 : tensor<?x16xf32>
}

// -----

// Positions of the maxima that nobody asks for are not computed.
// CHECK-LABEL: @pool
func.func @pool(%x: tensor<1x4x8x8xf32>) -> tensor<1x4x4x4xf32> {
  // CHECK: flame.region "loop"(%{{.*}}) : (tensor<1x4x8x8xf32>) -> tensor<1x4x4x4xf32>
  %0:2 = flame.max_pool %x {kernel = array<i64: 2, 2>, strides = array<i64: 2, 2>, dilations = array<i64: 1, 1>, pads = array<i64: 0, 0, 0, 0>} : (tensor<1x4x8x8xf32>) -> (tensor<1x4x4x4xf32>, tensor<1x4x4x4xi64>)
  return %0#0 : tensor<1x4x4x4xf32>
}

// The root mean square is a function of a row's sum, and the sum comes before it: one row program, x read once.
// CHECK-LABEL: func.func @root_mean_square
// CHECK: flame.region "row"
// CHECK: flame.mul
// CHECK: flame.reduce
// CHECK: flame.sqrt
// CHECK: flame.reciprocal
// CHECK: flame.mul
// CHECK: flame.yield
// CHECK-NOT: flame.region
// CHECK: return
func.func @root_mean_square(%x: tensor<4x64xf32>) -> tensor<4x64xf32> {
  %0 = flame.mul %x, %x : (tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xf32>
  %1 = flame.reduce %0 {axes = array<i64: 1>, kind = "mean"} : (tensor<4x64xf32>) -> tensor<4x1xf32>
  %2 = flame.sqrt %1 : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %3 = flame.reciprocal %2 : (tensor<4x1xf32>) -> tensor<4x1xf32>
  %4 = flame.mul %x, %3 : (tensor<4x64xf32>, tensor<4x1xf32>) -> tensor<4x64xf32>
  return %4 : tensor<4x64xf32>
}

// What is read elsewhere as well is a second result: the sum of a residual, the scale of a quantisation.
// CHECK-LABEL: func.func @residual
// CHECK: [[R:%.+]]:2 = flame.region "row"
// CHECK: [[SUM:%.+]] = flame.add
// CHECK: [[Y:%.+]] = flame.sub
// CHECK: flame.yield [[Y]], [[SUM]]
// CHECK: return [[R]]#1, [[R]]#0
func.func @residual(%x: tensor<4x64xf32>, %y: tensor<4x64xf32>) -> (tensor<4x64xf32>, tensor<4x64xf32>) {
  %0 = flame.add %x, %y : (tensor<4x64xf32>, tensor<4x64xf32>) -> tensor<4x64xf32>
  %1 = flame.reduce %0 {axes = array<i64: 1>, kind = "max"} : (tensor<4x64xf32>) -> tensor<4x1xf32>
  %2 = flame.sub %0, %1 : (tensor<4x64xf32>, tensor<4x1xf32>) -> tensor<4x64xf32>
  return %0, %2 : tensor<4x64xf32>, tensor<4x64xf32>
}

// Read by a group that runs before the one that could store it: a region of its own.
// CHECK-LABEL: func.func @read_before
// CHECK: [[SUM:%.+]] = flame.region "loop"
// CHECK: flame.add
// CHECK: [[PRODUCT:%.+]] = flame.region "contract"([[SUM]]
// CHECK: flame.region "loop"({{.*}}[[PRODUCT]]
func.func @read_before(%x: tensor<64x64xf32>, %y: tensor<64x64xf32>) -> tensor<64x64xf32> {
  %0 = flame.add %x, %y : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %1 = flame.matmul %0, %x : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %2 = flame.matmul %1, %0 : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %3 = flame.mul %2, %2 : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %4 = flame.add %0, %1 : (tensor<64x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
  %5 = flame.exp %4 : (tensor<64x64xf32>) -> tensor<64x64xf32>
  %6 = flame.reduce %5 {axes = array<i64: 0>, kind = "sum"} : (tensor<64x64xf32>) -> tensor<1x64xf32>
  %7 = flame.mul %3, %6 : (tensor<64x64xf32>, tensor<1x64xf32>) -> tensor<64x64xf32>
  return %7 : tensor<64x64xf32>
}

// -----

// A row program reads its rows, and what is the same for many of them, out of greater tensors: two of six heads, one of
// the vectors of a modulation. The sum of squares comes after both reads.
// CHECK-LABEL: func.func @parts
// CHECK-SAME: %[[X:.*]]: tensor<7x6x32xf32>, %[[M:.*]]: tensor<7x3x32xf32>
func.func @parts(%x: tensor<7x6x32xf32>, %m: tensor<7x3x32xf32>) -> tensor<7x2x32xf32> {
  %one = flame.constant {value = dense<1> : tensor<3xi64>} : () -> tensor<3xi64>
  %start = flame.constant {value = dense<[0, 2, 0]> : tensor<3xi64>} : () -> tensor<3xi64>
  %two = flame.constant {value = dense<[7, 2, 32]> : tensor<3xi64>} : () -> tensor<3xi64>
  %vector = flame.constant {value = dense<[7, 1, 32]> : tensor<3xi64>} : () -> tensor<3xi64>
  // CHECK: %[[Y:.*]] = flame.region "row"(%[[X]],
  // CHECK: flame.slice
  // CHECK: flame.slice
  // CHECK: flame.yield
  // CHECK: return %[[Y]]
  %0 = flame.slice %x, %start, %two, %one : (tensor<7x6x32xf32>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<7x2x32xf32>
  %1 = flame.slice %m, %start, %vector, %one : (tensor<7x3x32xf32>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<7x1x32xf32>
  %2 = flame.mul %0, %0 : (tensor<7x2x32xf32>, tensor<7x2x32xf32>) -> tensor<7x2x32xf32>
  %3 = flame.reduce %2 {kind = "sum", axes = array<i64: 2>, keepdims = true} : (tensor<7x2x32xf32>) -> tensor<7x2x1xf32>
  %4 = flame.sqrt %3 : (tensor<7x2x1xf32>) -> tensor<7x2x1xf32>
  %5 = flame.div %0, %4 : (tensor<7x2x32xf32>, tensor<7x2x1xf32>) -> tensor<7x2x32xf32>
  %6 = flame.mul %5, %1 : (tensor<7x2x32xf32>, tensor<7x1x32xf32>) -> tensor<7x2x32xf32>
  return %6 : tensor<7x2x32xf32>
}

// -----

// Rows of two tensors, one after the other, each a part of something greater: the row program reads them where they are. Joined along
// the row itself they would be other rows.
// CHECK-LABEL: func.func @rows_of_two
// CHECK-SAME: %[[X:.*]]: tensor<7x6x32xf32>, %[[Y:.*]]: tensor<4x6x32xf32>
func.func @rows_of_two(%x: tensor<7x6x32xf32>, %y: tensor<4x6x32xf32>) -> tensor<11x2x32xf32> {
  %one = flame.constant {value = dense<1> : tensor<3xi64>} : () -> tensor<3xi64>
  %start = flame.constant {value = dense<[0, 2, 0]> : tensor<3xi64>} : () -> tensor<3xi64>
  %seven = flame.constant {value = dense<[7, 2, 32]> : tensor<3xi64>} : () -> tensor<3xi64>
  %four = flame.constant {value = dense<[4, 2, 32]> : tensor<3xi64>} : () -> tensor<3xi64>
  // CHECK: %[[R:.*]] = flame.region "row"({{.*}}%[[X]], {{.*}}%[[Y]]
  // CHECK-COUNT-2: flame.slice
  // CHECK: flame.concat
  // CHECK: flame.reduce
  // CHECK: flame.yield
  // CHECK: return %[[R]]
  %0 = flame.slice %x, %start, %seven, %one : (tensor<7x6x32xf32>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<7x2x32xf32>
  %1 = flame.slice %y, %start, %four, %one : (tensor<4x6x32xf32>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<4x2x32xf32>
  %2 = flame.concat %0, %1 {axis = 0 : i64} : (tensor<7x2x32xf32>, tensor<4x2x32xf32>) -> tensor<11x2x32xf32>
  %3 = flame.abs %2 : (tensor<11x2x32xf32>) -> tensor<11x2x32xf32>
  %4 = flame.mul %3, %3 : (tensor<11x2x32xf32>, tensor<11x2x32xf32>) -> tensor<11x2x32xf32>
  %5 = flame.reduce %4 {kind = "sum", axes = array<i64: 2>, keepdims = true} : (tensor<11x2x32xf32>) -> tensor<11x2x1xf32>
  %6 = flame.div %3, %5 : (tensor<11x2x32xf32>, tensor<11x2x1xf32>) -> tensor<11x2x32xf32>
  return %6 : tensor<11x2x32xf32>
}

// -----

// Repeated rows and columns of an image, with channels inside: views between the repetition and its two orders are no reason
// to store anything.
// CHECK-LABEL: @upsample
// CHECK: flame.region "loop"
// CHECK: flame.transpose
// CHECK: flame.reshape
// CHECK: flame.expand
// CHECK: flame.reshape
// CHECK: flame.transpose
// CHECK: return
// CHECK-NOT: flame.region
func.func @upsample(%x: tensor<2x8x4x5xbf16>) -> tensor<2x8x8x10xbf16> {
  %apart = flame.constant {value = dense<[2, 4, 1, 5, 1, 8]> : tensor<6xi64>} : () -> tensor<6xi64>
  %twice = flame.constant {value = dense<[2, 4, 2, 5, 2, 8]> : tensor<6xi64>} : () -> tensor<6xi64>
  %image = flame.constant {value = dense<[2, 8, 10, 8]> : tensor<4xi64>} : () -> tensor<4xi64>
  %0 = flame.transpose %x {perm = array<i64: 0, 2, 3, 1>} : (tensor<2x8x4x5xbf16>) -> tensor<2x4x5x8xbf16>
  %1 = flame.reshape %0, %apart : (tensor<2x4x5x8xbf16>, tensor<6xi64>) -> tensor<2x4x1x5x1x8xbf16>
  %2 = flame.expand %1, %twice : (tensor<2x4x1x5x1x8xbf16>, tensor<6xi64>) -> tensor<2x4x2x5x2x8xbf16>
  %3 = flame.reshape %2, %image : (tensor<2x4x2x5x2x8xbf16>, tensor<4xi64>) -> tensor<2x8x10x8xbf16>
  %4 = flame.transpose %3 {perm = array<i64: 0, 3, 1, 2>} : (tensor<2x8x10x8xbf16>) -> tensor<2x8x8x10xbf16>
  return %4 : tensor<2x8x8x10xbf16>
}

// Rows by groups: activations and factors of rows follow the product, ends stay numbers of their own.
// CHECK-LABEL: @groups
// CHECK: %[[E:.*]] = flame.region "loop"
// CHECK-NEXT: ^bb0
// CHECK-NEXT: flame.constant
// CHECK: flame.slice
// CHECK: flame.region "contract"(%{{.*}}, %{{.*}}, %[[E]], %{{.*}})
// CHECK: flame.grouped_matmul
// CHECK: flame.gelu
// CHECK: flame.mul
func.func @groups(%x: tensor<64x32xbf16>, %y: tensor<4x16x32xbf16>, %e: tensor<5xi32>, %f: tensor<64x1xbf16>) -> tensor<64x16xbf16> {
  %c0 = flame.constant {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %c1 = flame.constant {value = dense<4> : tensor<1xi64>} : () -> tensor<1xi64>
  %0 = flame.slice %e, %c0, %c1, %c0 : (tensor<5xi32>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<4xi32>
  %1 = flame.grouped_matmul %x, %y, %0 {transpose_y = true} : (tensor<64x32xbf16>, tensor<4x16x32xbf16>, tensor<4xi32>) -> tensor<64x16xbf16>
  %2 = flame.gelu %1 : (tensor<64x16xbf16>) -> tensor<64x16xbf16>
  %3 = flame.mul %2, %f : (tensor<64x16xbf16>, tensor<64x1xbf16>) -> tensor<64x16xbf16>
  return %3 : tensor<64x16xbf16>
}
