// RUN: flame-opt %s --flame-emit-cuda=wgmma | FileCheck %s
// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s --check-prefix=WITHOUT
// Products of few rows for sm_90a: the kernel for few rows for all other code, and tiles of some columns for each multiprocessor in its
// place. Weights may be copied before the kernels before this one have ended; the kernel waits for them itself.

// WITHOUT-NOT: wgmmaGemm
// WITHOUT-NOT: flame_begin();

// CHECK-LABEL: // contract: matmul
// CHECK-NOT: flame_begin();
// CHECK: #if FLAME_HAS_WGMMA
// CHECK-NEXT: flame::wgmmaGemm<flame::WgmmaSchedule{8, 32, 128, {{[0-9]+}}, 1, false, 1, 1, 8, 1, false, 1, false}, flame::Arithmetic::BF16, flame::Major::Depth, flame::Major::Depth>(flame::Problem<int>{1, 4096, 4096}, 1,
// CHECK-NEXT: flame::TensorOperand{map0, 0}, flame::TensorOperand<true>{map1, 0},
// CHECK: #else
// CHECK-NEXT: flame::thinAlong<flame::ThinSchedule{1, 2, true}, flame::Arithmetic::BF16, false>(flame::Problem<int>{1, 4096, 4096},
// CHECK-NEXT: flame::ThinRows<unsigned short, int>{in0,
// CHECK-NEXT: flame::Plain<unsigned short, flame::Major::Depth, 16, int, true>{in1, 4096},
func.func @weight(%x: tensor<1x4096xbf16>, %w: tensor<4096x4096xbf16>) -> tensor<1x4096xbf16> {
  %0 = flame.region "contract"(%x, %w) {flame.constant_inputs = array<i64: 1>} : (tensor<1x4096xbf16>, tensor<4096x4096xbf16>) -> tensor<1x4096xbf16> {
  ^bb0(%a: tensor<1x4096xbf16>, %b: tensor<4096x4096xbf16>):
    %1 = flame.matmul %a, %b {transpose_y = true} : (tensor<1x4096xbf16>, tensor<4096x4096xbf16>) -> tensor<1x4096xbf16>
    flame.yield %1 : tensor<1x4096xbf16>
  }
  return %0 : tensor<1x4096xbf16>
}

// A matrix that is an input may be what the kernel before this one has made.
// CHECK-LABEL: // contract: matmul
// CHECK: flame::wgmmaGemm<
// CHECK-NEXT: flame::TensorOperand{map0, 0}, flame::TensorOperand{map1, 0},
// CHECK: flame::Plain<unsigned short, flame::Major::Depth, 16, int>{in1, 4096},
func.func @input(%x: tensor<1x4096xbf16>, %w: tensor<4096x4096xbf16>) -> tensor<1x4096xbf16> {
  %0 = flame.region "contract"(%x, %w) : (tensor<1x4096xbf16>, tensor<4096x4096xbf16>) -> tensor<1x4096xbf16> {
  ^bb0(%a: tensor<1x4096xbf16>, %b: tensor<4096x4096xbf16>):
    %1 = flame.matmul %a, %b {transpose_y = true} : (tensor<1x4096xbf16>, tensor<4096x4096xbf16>) -> tensor<1x4096xbf16>
    flame.yield %1 : tensor<1x4096xbf16>
  }
  return %0 : tensor<1x4096xbf16>
}

// Columns for a tenth of the multiprocessors: no tiles by the copy engine.
// CHECK-LABEL: // contract: matmul
// CHECK-NOT: wgmmaGemm
// CHECK: flame::thinAlong<
func.func @narrow(%x: tensor<1x4096xbf16>, %w: tensor<104x4096xbf16>) -> tensor<1x104xbf16> {
  %0 = flame.region "contract"(%x, %w) : (tensor<1x4096xbf16>, tensor<104x4096xbf16>) -> tensor<1x104xbf16> {
  ^bb0(%a: tensor<1x4096xbf16>, %b: tensor<104x4096xbf16>):
    %1 = flame.matmul %a, %b {transpose_y = true} : (tensor<1x4096xbf16>, tensor<104x4096xbf16>) -> tensor<1x104xbf16>
    flame.yield %1 : tensor<1x104xbf16>
  }
  return %0 : tensor<1x104xbf16>
}
