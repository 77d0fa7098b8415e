// RUN: flame-opt %s --flame-emit-cuda=wgmma --split-input-file | FileCheck %s
// RUN: flame-opt %s --flame-emit-cuda --split-input-file | FileCheck %s --check-prefix=WITHOUT
// Convolutions for sm_90a: windows and weight by tensor maps, one kernel with two bodies.

// WITHOUT-NOT: wgmmaGemm
// WITHOUT-NOT: TensorMap

// Channels last on both sides: windows are the rows. Channels that are no whole lines make the inner dim longer.
// CHECK-LABEL: // conv: transpose transpose conv add transpose
// CHECK: const auto body = [&](const int row, const int column, const float sum) -> unsigned short {
// CHECK: in2[column]
// CHECK: #if FLAME_HAS_WGMMA
// CHECK-NEXT: flame::wgmmaGemm<flame::WgmmaSchedule{{.*}}, flame::Arithmetic::BF16, flame::Major::Depth, flame::Major::Depth>(flame::Problem<int>{8192, 640, 1152}, (int)1,
// CHECK-NEXT: flame::WindowOperand<2>{map0, {(int)72, (int)72, {(int)128, (int)130}, {(int)64, (int)64}, {(int)3, (int)3}, {2, 2}, {1, 2}, {(int)1, (int)0}}},
// CHECK-NEXT: flame::TapOperand{map1, (int)72, (int)640},
// CHECK-NEXT: [&](int) { return flame::tensorStore<unsigned short>(map2, body); });
// CHECK-NEXT: #else
// CHECK-NEXT: flame::gemm<
// CHECK: flame::GatherLast<2,
// CHECK: #endif
// CHECK: box = array<i32: 64, 256>, buffer = {{[01]}} : i64, dims = ["72", "130", "128", "2"], lower = array<i32: 0, -1>, offset = "0", steps = array<i32: 2, 2>, strides = ["144", "18720", "2396160"], type = bf16, upper = array<i32: -3, -1>
// CHECK: dims = ["72", "640", "9"], offset = "0", strides = ["1296", "144"]
// CHECK: dims = ["640", "8192", "1"]
func.func @planes(%x: tensor<2x128x130x72xbf16>, %w: tensor<640x3x3x72xbf16>, %b: tensor<640x1x1xbf16>) -> tensor<2x64x64x640xbf16> {
  %0 = flame.region "conv"(%x, %w, %b) : (tensor<2x128x130x72xbf16>, tensor<640x3x3x72xbf16>, tensor<640x1x1xbf16>) -> tensor<2x64x64x640xbf16> {
  ^bb0(%a: tensor<2x128x130x72xbf16>, %c: tensor<640x3x3x72xbf16>, %d: tensor<640x1x1xbf16>):
    %pads = flame.constant {value = dense<[1, 0, 1, 1]> : tensor<4xi64>} : () -> tensor<4xi64>
    %1 = flame.transpose %a {perm = array<i64: 0, 3, 1, 2>} : (tensor<2x128x130x72xbf16>) -> tensor<2x72x128x130xbf16>
    %2 = flame.transpose %c {perm = array<i64: 0, 3, 1, 2>} : (tensor<640x3x3x72xbf16>) -> tensor<640x72x3x3xbf16>
    %4 = flame.conv %1, %2, %pads {strides = array<i64: 2, 2>, dilations = array<i64: 1, 2>} : (tensor<2x72x128x130xbf16>, tensor<640x72x3x3xbf16>, tensor<4xi64>) -> tensor<2x640x64x64xbf16>
    %5 = flame.add %4, %d : (tensor<2x640x64x64xbf16>, tensor<640x1x1xbf16>) -> tensor<2x640x64x64xbf16>
    %6 = flame.transpose %5 {perm = array<i64: 0, 2, 3, 1>} : (tensor<2x640x64x64xbf16>) -> tensor<2x64x64x640xbf16>
    flame.yield %6 : tensor<2x64x64x640xbf16>
  }
  return %0 : tensor<2x64x64x640xbf16>
}

// -----

// Groups are the batch: functions look which one their tile belongs to. Any number of images, of any size.
// CHECK-LABEL: // conv: transpose transpose conv add transpose
// CHECK: int group = (int)(
// CHECK: const auto body = [&](const {{.*}} row, const {{.*}} column, const float sum) -> unsigned short {
// CHECK: = group;
// CHECK: #if FLAME_HAS_WGMMA
// CHECK-NEXT: flame::wgmmaGemm<flame::WgmmaSchedule{{.*}}, flame::Arithmetic::F16, flame::Major::Depth, flame::Major::Depth>(flame::Problem<{{.*}}, 256, 1152}, (int)2,
// CHECK-NEXT: flame::WindowOperand<2>{map0, {(int)128, (int)256, {(int)size{{.*}}}, {(int)3, (int)3}, {1, 1}, {1, 1}, {(int)1, (int)1}}},
// CHECK-NEXT: flame::TapOperand{map1, (int)128, (int)256},
// CHECK-NEXT: [&](int at) { group = at; return flame::tensorStore<unsigned short>(map2, body); });
func.func @groups(%x: tensor<?x?x?x256xf16>, %w: tensor<512x3x3x128xf16>, %b: tensor<512x1x1xf16>) -> tensor<?x?x?x512xf16> {
  %0 = flame.region "conv"(%x, %w, %b) : (tensor<?x?x?x256xf16>, tensor<512x3x3x128xf16>, tensor<512x1x1xf16>) -> tensor<?x?x?x512xf16> {
  ^bb0(%a: tensor<?x?x?x256xf16>, %c: tensor<512x3x3x128xf16>, %d: tensor<512x1x1xf16>):
    %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
    %1 = flame.transpose %a {perm = array<i64: 0, 3, 1, 2>} : (tensor<?x?x?x256xf16>) -> tensor<?x256x?x?xf16>
    %2 = flame.transpose %c {perm = array<i64: 0, 3, 1, 2>} : (tensor<512x3x3x128xf16>) -> tensor<512x128x3x3xf16>
    %4 = flame.conv %1, %2, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>, groups = 2 : i64} : (tensor<?x256x?x?xf16>, tensor<512x128x3x3xf16>, tensor<4xi64>) -> tensor<?x512x?x?xf16>
    %5 = flame.add %4, %d : (tensor<?x512x?x?xf16>, tensor<512x1x1xf16>) -> tensor<?x512x?x?xf16>
    %6 = flame.transpose %5 {perm = array<i64: 0, 2, 3, 1>} : (tensor<?x512x?x?xf16>) -> tensor<?x?x?x512xf16>
    flame.yield %6 : tensor<?x?x?x512xf16>
  }
  return %0 : tensor<?x?x?x512xf16>
}

// -----

// A result with channels first has windows as columns.
// CHECK-LABEL: // conv: transpose transpose conv
// CHECK: flame::wgmmaGemm<{{.*}}>(flame::Problem<int>{512, 4096, 576}, (int)1,
// CHECK-NEXT: flame::TapOperand{map0,
// CHECK-NEXT: flame::WindowOperand<2>{map1,
// CHECK-NEXT: flame::tensorStore<unsigned short>(map2, body); });
// CHECK: dims = ["4096", "512", "1"]
func.func @first(%x: tensor<1x64x64x64xf16>, %w: tensor<512x3x3x64xf16>) -> tensor<1x512x64x64xf16> {
  %0 = flame.region "conv"(%x, %w) : (tensor<1x64x64x64xf16>, tensor<512x3x3x64xf16>) -> tensor<1x512x64x64xf16> {
  ^bb0(%a: tensor<1x64x64x64xf16>, %c: tensor<512x3x3x64xf16>):
    %pads = flame.constant {value = dense<1> : tensor<4xi64>} : () -> tensor<4xi64>
    %1 = flame.transpose %a {perm = array<i64: 0, 3, 1, 2>} : (tensor<1x64x64x64xf16>) -> tensor<1x64x64x64xf16>
    %2 = flame.transpose %c {perm = array<i64: 0, 3, 1, 2>} : (tensor<512x3x3x64xf16>) -> tensor<512x64x3x3xf16>
    %4 = flame.conv %1, %2, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<1x64x64x64xf16>, tensor<512x64x3x3xf16>, tensor<4xi64>) -> tensor<1x512x64x64xf16>
    flame.yield %4 : tensor<1x512x64x64xf16>
  }
  return %0 : tensor<1x512x64x64xf16>
}

// -----

// A kernel of one element reads pixels as a matrix.
// CHECK-LABEL: // conv: transpose conv transpose
// CHECK: flame::wgmmaGemm<{{.*}}>(flame::Problem<int>{32768, 320, 640}, (int)1,
// CHECK-NEXT: flame::TensorOperand{map0, 0},
// CHECK-NEXT: flame::TensorOperand{map1, 0},
// CHECK-NEXT: flame::tensorStore<unsigned short>(map2, body); });
func.func @pointwise(%x: tensor<2x128x128x640xf16>, %w: tensor<320x640x1x1xf16>) -> tensor<2x128x128x320xf16> {
  %0 = flame.region "conv"(%x, %w) : (tensor<2x128x128x640xf16>, tensor<320x640x1x1xf16>) -> tensor<2x128x128x320xf16> {
  ^bb0(%a: tensor<2x128x128x640xf16>, %c: tensor<320x640x1x1xf16>):
    %pads = flame.constant {value = dense<0> : tensor<4xi64>} : () -> tensor<4xi64>
    %1 = flame.transpose %a {perm = array<i64: 0, 3, 1, 2>} : (tensor<2x128x128x640xf16>) -> tensor<2x640x128x128xf16>
    %4 = flame.conv %1, %c, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 1, 1>} : (tensor<2x640x128x128xf16>, tensor<320x640x1x1xf16>, tensor<4xi64>) -> tensor<2x320x128x128xf16>
    %6 = flame.transpose %4 {perm = array<i64: 0, 2, 3, 1>} : (tensor<2x320x128x128xf16>) -> tensor<2x128x128x320xf16>
    flame.yield %6 : tensor<2x128x128x320xf16>
  }
  return %0 : tensor<2x128x128x320xf16>
}

// -----

// Windows that begin further out than maps have bits for.
// CHECK-LABEL: // conv: transpose transpose conv transpose
// CHECK-NOT: wgmmaGemm
func.func @far(%x: tensor<1x300x64x64xf16>, %w: tensor<512x3x3x64xf16>) -> tensor<1x298x64x512xf16> {
  %0 = flame.region "conv"(%x, %w) : (tensor<1x300x64x64xf16>, tensor<512x3x3x64xf16>) -> tensor<1x298x64x512xf16> {
  ^bb0(%a: tensor<1x300x64x64xf16>, %c: tensor<512x3x3x64xf16>):
    %pads = flame.constant {value = dense<[129, 1, 129, 1]> : tensor<4xi64>} : () -> tensor<4xi64>
    %1 = flame.transpose %a {perm = array<i64: 0, 3, 1, 2>} : (tensor<1x300x64x64xf16>) -> tensor<1x64x300x64xf16>
    %2 = flame.transpose %c {perm = array<i64: 0, 3, 1, 2>} : (tensor<512x3x3x64xf16>) -> tensor<512x64x3x3xf16>
    %4 = flame.conv %1, %2, %pads {strides = array<i64: 1, 1>, dilations = array<i64: 130, 1>} : (tensor<1x64x300x64xf16>, tensor<512x64x3x3xf16>, tensor<4xi64>) -> tensor<1x512x298x64xf16>
    %6 = flame.transpose %4 {perm = array<i64: 0, 2, 3, 1>} : (tensor<1x512x298x64xf16>) -> tensor<1x298x64x512xf16>
    flame.yield %6 : tensor<1x298x64x512xf16>
  }
  return %0 : tensor<1x298x64x512xf16>
}
