// RUN: flame-opt %s --flame-form-regions=paired | FileCheck %s
// RUN: flame-opt %s --flame-form-regions="paired tf32" | FileCheck %s --check-prefix=TF32
// RUN: flame-opt %s --flame-form-regions | FileCheck %s --check-prefix=WITHOUT
// Two products of one operand whose results meet in pointwise ops are one region.

// CHECK-LABEL: @gated
// CHECK: flame.region "contract"
// CHECK: flame.matmul
// CHECK: flame.matmul
// CHECK: flame.add
// CHECK-NOT: flame.region
// CHECK: return
// WITHOUT-LABEL: @gated
// WITHOUT-COUNT-2: flame.region "contract"
func.func @gated(%x: tensor<?x64xbf16>, %v: tensor<64x256xbf16>, %w: tensor<64x256xbf16>, %b: tensor<256xbf16>, %r: tensor<?x256xbf16>) -> tensor<?x256xbf16> {
  %0 = flame.matmul %x, %v : (tensor<?x64xbf16>, tensor<64x256xbf16>) -> tensor<?x256xbf16>
  %1 = flame.add %0, %b : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
  %2 = flame.silu %1 : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
  %3 = flame.matmul %x, %w : (tensor<?x64xbf16>, tensor<64x256xbf16>) -> tensor<?x256xbf16>
  %4 = flame.mul %2, %3 : (tensor<?x256xbf16>, tensor<?x256xbf16>) -> tensor<?x256xbf16>
  %5 = flame.add %4, %r : (tensor<?x256xbf16>, tensor<?x256xbf16>) -> tensor<?x256xbf16>
  return %5 : tensor<?x256xbf16>
}

// Another operand, another order, a result that somebody else reads, one that the other product reads: apart.
// CHECK-LABEL: @operand
// CHECK-COUNT-2: flame.region "contract"
func.func @operand(%x: tensor<8x64xf16>, %z: tensor<8x64xf16>, %v: tensor<64x256xf16>, %w: tensor<64x256xf16>) -> tensor<8x256xf16> {
  %0 = flame.matmul %x, %v : (tensor<8x64xf16>, tensor<64x256xf16>) -> tensor<8x256xf16>
  %1 = flame.matmul %z, %w : (tensor<8x64xf16>, tensor<64x256xf16>) -> tensor<8x256xf16>
  %2 = flame.mul %0, %1 : (tensor<8x256xf16>, tensor<8x256xf16>) -> tensor<8x256xf16>
  return %2 : tensor<8x256xf16>
}
// CHECK-LABEL: @order
// CHECK-COUNT-2: flame.region "contract"
func.func @order(%x: tensor<8x64xf16>, %v: tensor<64x256xf16>, %w: tensor<256x64xf16>) -> tensor<8x256xf16> {
  %0 = flame.matmul %x, %v : (tensor<8x64xf16>, tensor<64x256xf16>) -> tensor<8x256xf16>
  %1 = flame.matmul %x, %w {transpose_y = true} : (tensor<8x64xf16>, tensor<256x64xf16>) -> tensor<8x256xf16>
  %2 = flame.mul %0, %1 : (tensor<8x256xf16>, tensor<8x256xf16>) -> tensor<8x256xf16>
  return %2 : tensor<8x256xf16>
}
// CHECK-LABEL: @result
// CHECK-COUNT-2: flame.region "contract"
func.func @result(%x: tensor<8x64xf16>, %v: tensor<64x256xf16>, %w: tensor<64x256xf16>) -> (tensor<8x256xf16>, tensor<8x256xf16>) {
  %0 = flame.matmul %x, %v : (tensor<8x64xf16>, tensor<64x256xf16>) -> tensor<8x256xf16>
  %1 = flame.matmul %x, %w : (tensor<8x64xf16>, tensor<64x256xf16>) -> tensor<8x256xf16>
  %2 = flame.mul %0, %1 : (tensor<8x256xf16>, tensor<8x256xf16>) -> tensor<8x256xf16>
  return %0, %2 : tensor<8x256xf16>, tensor<8x256xf16>
}
// CHECK-LABEL: @chain
// CHECK-COUNT-2: flame.region "contract"
func.func @chain(%x: tensor<64x64xf16>, %v: tensor<64x64xf16>) -> tensor<64x64xf16> {
  %0 = flame.matmul %x, %v : (tensor<64x64xf16>, tensor<64x64xf16>) -> tensor<64x64xf16>
  %1 = flame.matmul %x, %0 : (tensor<64x64xf16>, tensor<64x64xf16>) -> tensor<64x64xf16>
  %2 = flame.mul %0, %1 : (tensor<64x64xf16>, tensor<64x64xf16>) -> tensor<64x64xf16>
  return %2 : tensor<64x64xf16>
}

// No more than two. Which of three is of no matter; the third one's result is read.
// CHECK-LABEL: @three
// CHECK-COUNT-2: flame.region "contract"
// CHECK-NOT: flame.region
// CHECK: return
func.func @three(%x: tensor<8x64xf16>, %u: tensor<64x256xf16>, %v: tensor<64x256xf16>, %w: tensor<64x256xf16>) -> tensor<8x256xf16> {
  %0 = flame.matmul %x, %u : (tensor<8x64xf16>, tensor<64x256xf16>) -> tensor<8x256xf16>
  %1 = flame.matmul %x, %v : (tensor<8x64xf16>, tensor<64x256xf16>) -> tensor<8x256xf16>
  %2 = flame.matmul %x, %w : (tensor<8x64xf16>, tensor<64x256xf16>) -> tensor<8x256xf16>
  %3 = flame.mul %0, %1 : (tensor<8x256xf16>, tensor<8x256xf16>) -> tensor<8x256xf16>
  %4 = flame.mul %3, %2 : (tensor<8x256xf16>, tensor<8x256xf16>) -> tensor<8x256xf16>
  return %4 : tensor<8x256xf16>
}

// Strict f32 has no matrix instructions.
// CHECK-LABEL: @words
// CHECK-COUNT-2: flame.region "contract"
// TF32-LABEL: @words
// TF32: flame.region "contract"
// TF32-NOT: flame.region
// TF32: return
func.func @words(%x: tensor<8x64xf32>, %v: tensor<64x256xf32>, %w: tensor<64x256xf32>) -> tensor<8x256xf32> {
  %0 = flame.matmul %x, %v : (tensor<8x64xf32>, tensor<64x256xf32>) -> tensor<8x256xf32>
  %1 = flame.matmul %x, %w : (tensor<8x64xf32>, tensor<64x256xf32>) -> tensor<8x256xf32>
  %2 = flame.mul %0, %1 : (tensor<8x256xf32>, tensor<8x256xf32>) -> tensor<8x256xf32>
  return %2 : tensor<8x256xf32>
}

// The parts of one weight are read where they are, and so are those of a bias that is no constant.
// CHECK-LABEL: @parts
// CHECK: %[[W:.*]] = flame.weight
// CHECK: flame.region "contract"(%[[W]],
// CHECK-COUNT-4: flame.slice
// CHECK-NOT: flame.region
// CHECK: return
func.func @parts(%x: tensor<?x64xbf16>, %b: tensor<512xbf16>) -> tensor<?x256xbf16> {
  %w = flame.weight {name = "w", ref = #flame.weight_ref<"w", 0, 65536>, type = tensor<512x64xbf16>} : () -> tensor<512x64xbf16>
  %s0 = flame.constant {value = dense<0> : tensor<2xi64>} : () -> tensor<2xi64>
  %s1 = flame.constant {value = dense<[256, 0]> : tensor<2xi64>} : () -> tensor<2xi64>
  %n = flame.constant {value = dense<[256, 64]> : tensor<2xi64>} : () -> tensor<2xi64>
  %one = flame.constant {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
  %t0 = flame.constant {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %t1 = flame.constant {value = dense<256> : tensor<1xi64>} : () -> tensor<1xi64>
  %step = flame.constant {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %u = flame.slice %w, %s0, %n, %one : (tensor<512x64xbf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<256x64xbf16>
  %v = flame.slice %w, %s1, %n, %one : (tensor<512x64xbf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<256x64xbf16>
  %0 = flame.matmul %x, %u {transpose_y = true} : (tensor<?x64xbf16>, tensor<256x64xbf16>) -> tensor<?x256xbf16>
  %1 = flame.matmul %x, %v {transpose_y = true} : (tensor<?x64xbf16>, tensor<256x64xbf16>) -> tensor<?x256xbf16>
  %c = flame.slice %b, %t0, %t1, %step : (tensor<512xbf16>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<256xbf16>
  %d = flame.slice %b, %t1, %t1, %step : (tensor<512xbf16>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<256xbf16>
  %2 = flame.add %0, %c : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
  %3 = flame.add %1, %d : (tensor<?x256xbf16>, tensor<256xbf16>) -> tensor<?x256xbf16>
  %4 = flame.mul %2, %3 : (tensor<?x256xbf16>, tensor<?x256xbf16>) -> tensor<?x256xbf16>
  return %4 : tensor<?x256xbf16>
}

// Rows that go by groups, if by the same ones.
// CHECK-LABEL: @groups
// CHECK: flame.region "contract"
// CHECK: flame.grouped_matmul
// CHECK: flame.grouped_matmul
// CHECK: flame.mul
// CHECK-NOT: flame.region
// CHECK: return
// WITHOUT-LABEL: @groups
// WITHOUT-COUNT-2: flame.region "contract"
func.func @groups(%x: tensor<?x64xbf16>, %v: tensor<4x256x64xbf16>, %w: tensor<4x256x64xbf16>, %e: tensor<4xi32>) -> tensor<?x256xbf16> {
  %0 = flame.grouped_matmul %x, %v, %e {transpose_y = true} : (tensor<?x64xbf16>, tensor<4x256x64xbf16>, tensor<4xi32>) -> tensor<?x256xbf16>
  %1 = flame.silu %0 : (tensor<?x256xbf16>) -> tensor<?x256xbf16>
  %2 = flame.grouped_matmul %x, %w, %e {transpose_y = true} : (tensor<?x64xbf16>, tensor<4x256x64xbf16>, tensor<4xi32>) -> tensor<?x256xbf16>
  %3 = flame.mul %1, %2 : (tensor<?x256xbf16>, tensor<?x256xbf16>) -> tensor<?x256xbf16>
  return %3 : tensor<?x256xbf16>
}
// CHECK-LABEL: @other_groups
// CHECK-COUNT-2: flame.region "contract"
func.func @other_groups(%x: tensor<8x64xbf16>, %v: tensor<4x256x64xbf16>, %w: tensor<4x256x64xbf16>, %e: tensor<4xi32>, %f: tensor<4xi32>) -> tensor<8x256xbf16> {
  %0 = flame.grouped_matmul %x, %v, %e {transpose_y = true} : (tensor<8x64xbf16>, tensor<4x256x64xbf16>, tensor<4xi32>) -> tensor<8x256xbf16>
  %1 = flame.grouped_matmul %x, %w, %f {transpose_y = true} : (tensor<8x64xbf16>, tensor<4x256x64xbf16>, tensor<4xi32>) -> tensor<8x256xbf16>
  %2 = flame.mul %0, %1 : (tensor<8x256xbf16>, tensor<8x256xbf16>) -> tensor<8x256xbf16>
  return %2 : tensor<8x256xbf16>
}
