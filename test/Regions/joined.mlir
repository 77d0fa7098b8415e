// RUN: flame-opt %s --flame-form-regions=joined | FileCheck %s
// RUN: flame-opt %s --flame-form-regions | FileCheck %s --check-prefix=WITHOUT
// A product reads its left operand out of two tensors; what made the second one is fused there.

// CHECK-LABEL: @parts
// CHECK: flame.region "contract"
// CHECK: flame.matmul
// CHECK-NEXT: flame.gelu
// CHECK: flame.region "contract"
// CHECK: flame.concat
// CHECK-NEXT: flame.matmul
// WITHOUT-LABEL: @parts
// WITHOUT: flame.region "contract"
// WITHOUT: flame.region "loop"
// WITHOUT: flame.gelu
// WITHOUT-NEXT: flame.concat
// WITHOUT: flame.region "contract"
func.func @parts(%a: tensor<?x256xbf16>, %x: tensor<?x64xbf16>, %v: tensor<64x512xbf16>, %w: tensor<768x128xbf16>) -> tensor<?x128xbf16> {
  %0 = flame.matmul %x, %v : (tensor<?x64xbf16>, tensor<64x512xbf16>) -> tensor<?x512xbf16>
  %1 = flame.gelu %0 : (tensor<?x512xbf16>) -> tensor<?x512xbf16>
  %2 = flame.concat %a, %1 {axis = 1 : i64} : (tensor<?x256xbf16>, tensor<?x512xbf16>) -> tensor<?x768xbf16>
  %3 = flame.matmul %2, %w : (tensor<?x768xbf16>, tensor<768x128xbf16>) -> tensor<?x128xbf16>
  return %3 : tensor<?x128xbf16>
}

// A border that no tile begins at; rows of another type than the product reads.
// CHECK-LABEL: @copied
// CHECK: flame.region "loop"
// CHECK: flame.concat
// CHECK: flame.region "contract"
// CHECK: flame.region "loop"
// CHECK: flame.concat
// CHECK: flame.region "contract"
func.func @copied(%a: tensor<8x96xbf16>, %b: tensor<8x256xbf16>, %c: tensor<8x256xf32>, %w: tensor<352x128xbf16>, %v: tensor<512x128xf32>) -> (tensor<8x128xbf16>, tensor<8x128xf32>) {
  %0 = flame.concat %a, %b {axis = 1 : i64} : (tensor<8x96xbf16>, tensor<8x256xbf16>) -> tensor<8x352xbf16>
  %1 = flame.matmul %0, %w : (tensor<8x352xbf16>, tensor<352x128xbf16>) -> tensor<8x128xbf16>
  %2 = flame.concat %c, %c {axis = 1 : i64} : (tensor<8x256xf32>, tensor<8x256xf32>) -> tensor<8x512xf32>
  %3 = flame.matmul %2, %v : (tensor<8x512xf32>, tensor<512x128xf32>) -> tensor<8x128xf32>
  return %1, %3 : tensor<8x128xbf16>, tensor<8x128xf32>
}
