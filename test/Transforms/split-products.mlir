// RUN: flame-opt %s --flame-split-products --split-input-file | FileCheck %s
// RUN: flame-opt %s --flame-split-products=tf32 --split-input-file | FileCheck %s --check-prefix=TF32

// A gated layer that is stored as one, with a bias.
// CHECK-LABEL: @gated
// CHECK-SAME: %[[X:.*]]: tensor<?x64xf16>, %[[W:.*]]: tensor<64x256xf16>, %[[B:.*]]: tensor<256xf16>
func.func @gated(%x: tensor<?x64xf16>, %w: tensor<64x256xf16>, %b: tensor<256xf16>) -> tensor<?x128xf16> {
  // CHECK: %[[V:.*]] = flame.slice %[[W]]{{.*}} -> tensor<64x128xf16>
  // CHECK: %[[U:.*]] = flame.slice %[[W]]{{.*}} -> tensor<64x128xf16>
  // CHECK: %[[P:.*]] = flame.matmul %[[X]], %[[V]]
  // CHECK: %[[Q:.*]] = flame.matmul %[[X]], %[[U]]
  // CHECK: %[[C:.*]] = flame.slice %[[B]]{{.*}} -> tensor<128xf16>
  // CHECK: %[[S:.*]] = flame.add %[[P]], %[[C]]
  // CHECK: %[[D:.*]] = flame.slice %[[B]]{{.*}} -> tensor<128xf16>
  // CHECK: %[[G:.*]] = flame.add %[[Q]], %[[D]]
  // CHECK-NOT: flame.slice
  // CHECK: %[[A:.*]] = flame.gelu %[[G]]
  // CHECK: flame.mul %[[S]], %[[A]]
  %m = flame.shape_of %x : (tensor<?x64xf16>) -> tensor<2xi64>
  %0 = flame.constant {value = dense<0> : tensor<1xi64>} : () -> tensor<1xi64>
  %1 = flame.constant {value = dense<1> : tensor<1xi64>} : () -> tensor<1xi64>
  %n = flame.constant {value = dense<128> : tensor<1xi64>} : () -> tensor<1xi64>
  %rows = flame.slice %m, %0, %1, %1 : (tensor<2xi64>, tensor<1xi64>, tensor<1xi64>, tensor<1xi64>) -> tensor<1xi64>
  %size = flame.concat %rows, %n {axis = 0 : i64} : (tensor<1xi64>, tensor<1xi64>) -> tensor<2xi64>
  %start0 = flame.constant {value = dense<0> : tensor<2xi64>} : () -> tensor<2xi64>
  %start1 = flame.constant {value = dense<[0, 128]> : tensor<2xi64>} : () -> tensor<2xi64>
  %steps = flame.constant {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
  %p = flame.matmul %x, %w : (tensor<?x64xf16>, tensor<64x256xf16>) -> tensor<?x256xf16>
  %q = flame.add %p, %b : (tensor<?x256xf16>, tensor<256xf16>) -> tensor<?x256xf16>
  %s = flame.slice %q, %start0, %size, %steps : (tensor<?x256xf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<?x128xf16>
  %g = flame.slice %q, %start1, %size, %steps : (tensor<?x256xf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<?x128xf16>
  %a = flame.gelu %g : (tensor<?x128xf16>) -> tensor<?x128xf16>
  %y = flame.mul %s, %a : (tensor<?x128xf16>, tensor<?x128xf16>) -> tensor<?x128xf16>
  return %y : tensor<?x128xf16>
}

// -----

// One part leaves by itself; parts that never meet; a third reader; parts that the copy engine could not read: one product.
// CHECK-LABEL: @apart
// CHECK-COUNT-4: flame.matmul
// CHECK-NOT: flame.matmul
// CHECK: return
func.func @apart(%x: tensor<8x64xf16>, %w: tensor<64x256xf16>, %v: tensor<64x264xf16>) -> (tensor<8x128xf16>, tensor<8x128xf16>, tensor<8x128xf16>, tensor<8x128xf16>, tensor<8x128xf16>, tensor<8x128xf16>, tensor<8x128xf16>, tensor<8x128xf16>) {
  %size = flame.constant {value = dense<[8, 128]> : tensor<2xi64>} : () -> tensor<2xi64>
  %start0 = flame.constant {value = dense<0> : tensor<2xi64>} : () -> tensor<2xi64>
  %start1 = flame.constant {value = dense<[0, 128]> : tensor<2xi64>} : () -> tensor<2xi64>
  %start2 = flame.constant {value = dense<[0, 132]> : tensor<2xi64>} : () -> tensor<2xi64>
  %steps = flame.constant {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
  %p = flame.matmul %x, %w : (tensor<8x64xf16>, tensor<64x256xf16>) -> tensor<8x256xf16>
  %s = flame.slice %p, %start0, %size, %steps : (tensor<8x256xf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<8x128xf16>
  %g = flame.slice %p, %start1, %size, %steps : (tensor<8x256xf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<8x128xf16>
  %y = flame.mul %s, %g : (tensor<8x128xf16>, tensor<8x128xf16>) -> tensor<8x128xf16>
  %p1 = flame.matmul %x, %w : (tensor<8x64xf16>, tensor<64x256xf16>) -> tensor<8x256xf16>
  %s1 = flame.slice %p1, %start0, %size, %steps : (tensor<8x256xf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<8x128xf16>
  %g1 = flame.slice %p1, %start1, %size, %steps : (tensor<8x256xf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<8x128xf16>
  %p2 = flame.matmul %x, %w : (tensor<8x64xf16>, tensor<64x256xf16>) -> tensor<8x256xf16>
  %s2 = flame.slice %p2, %start0, %size, %steps : (tensor<8x256xf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<8x128xf16>
  %g2 = flame.slice %p2, %start1, %size, %steps : (tensor<8x256xf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<8x128xf16>
  %h2 = flame.slice %p2, %start1, %size, %steps : (tensor<8x256xf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<8x128xf16>
  %y2 = flame.mul %s2, %g2 : (tensor<8x128xf16>, tensor<8x128xf16>) -> tensor<8x128xf16>
  %p3 = flame.matmul %x, %v : (tensor<8x64xf16>, tensor<64x264xf16>) -> tensor<8x264xf16>
  %s3 = flame.slice %p3, %start0, %size, %steps : (tensor<8x264xf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<8x128xf16>
  %g3 = flame.slice %p3, %start2, %size, %steps : (tensor<8x264xf16>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<8x128xf16>
  %y3 = flame.mul %s3, %g3 : (tensor<8x128xf16>, tensor<8x128xf16>) -> tensor<8x128xf16>
  return %s, %y, %s1, %g1, %y2, %h2, %y3, %y3 : tensor<8x128xf16>, tensor<8x128xf16>, tensor<8x128xf16>, tensor<8x128xf16>, tensor<8x128xf16>, tensor<8x128xf16>, tensor<8x128xf16>, tensor<8x128xf16>
}

// -----

// f32 only where it is multiplied as TF32.
// CHECK-LABEL: @words
// CHECK: flame.matmul
// CHECK-NOT: flame.matmul
// TF32-LABEL: @words
// TF32-COUNT-2: flame.matmul
func.func @words(%x: tensor<8x64xf32>, %w: tensor<256x64xf32>) -> tensor<8x128xf32> {
  %size = flame.constant {value = dense<[8, 128]> : tensor<2xi64>} : () -> tensor<2xi64>
  %start0 = flame.constant {value = dense<0> : tensor<2xi64>} : () -> tensor<2xi64>
  %start1 = flame.constant {value = dense<[0, 128]> : tensor<2xi64>} : () -> tensor<2xi64>
  %steps = flame.constant {value = dense<1> : tensor<2xi64>} : () -> tensor<2xi64>
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<8x64xf32>, tensor<256x64xf32>) -> tensor<8x256xf32>
  %s = flame.slice %p, %start0, %size, %steps : (tensor<8x256xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<8x128xf32>
  %g = flame.slice %p, %start1, %size, %steps : (tensor<8x256xf32>, tensor<2xi64>, tensor<2xi64>, tensor<2xi64>) -> tensor<8x128xf32>
  %y = flame.mul %s, %g : (tensor<8x128xf32>, tensor<8x128xf32>) -> tensor<8x128xf32>
  return %y : tensor<8x128xf32>
}
