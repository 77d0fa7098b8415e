// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s
// Products as calls of the device templates.

// What comes before the product is a function on the way into shared memory; what comes after it, one on the way out.
// CHECK-LABEL: // contract: relu matmul add
// CHECK: __launch_bounds__(256)
// CHECK-NEXT: contract_0(const float *__restrict__ in0, {{.*}} const long long size0)
// CHECK-NEXT: flame_begin();
// CHECK-NEXT: const auto x = [&](const long long row, const long long depth) -> float {
// CHECK-NEXT: const float [[V:v[0-9]+]] = in0[row * 96 + depth];
// CHECK-NEXT: return flame_maximum([[V]], 0.0f);
// CHECK: const auto body = [&](const long long row, const long long column, const float sum) -> float {
// CHECK-NEXT: const float [[Z:v[0-9]+]] = in2[column];
// CHECK-NEXT: return sum + [[Z]];
// CHECK: const auto place = [&](const long long row, const long long column) -> long long {
// CHECK-NEXT: return row * 40 + column;
// CHECK: flame::simtGemm<flame::SimtSchedule{{.*}}, flame::Arithmetic::F32>(flame::Problem<long long>{size0, 40, 96},
// CHECK-NEXT: flame::computed<float, flame::Major::Depth>(x),
// CHECK-NEXT: flame::Plain<float, flame::Major::Side, 16, long long>{in1, 40},
// CHECK-NEXT: flame::store<true>(out0, body, place));
func.func @fused(%x: tensor<?x96xf32>, %y: tensor<96x40xf32>, %z: tensor<40xf32>) -> tensor<?x40xf32> {
  %0 = flame.region "contract"(%x, %y, %z) : (tensor<?x96xf32>, tensor<96x40xf32>, tensor<40xf32>) -> tensor<?x40xf32> {
  ^bb0(%a: tensor<?x96xf32>, %b: tensor<96x40xf32>, %c: tensor<40xf32>):
    %1 = flame.relu %a : (tensor<?x96xf32>) -> tensor<?x96xf32>
    %2 = flame.matmul %1, %b : (tensor<?x96xf32>, tensor<96x40xf32>) -> tensor<?x40xf32>
    %3 = flame.add %2, %c : (tensor<?x40xf32>, tensor<40xf32>) -> tensor<?x40xf32>
    flame.yield %3 : tensor<?x40xf32>
  }
  return %0 : tensor<?x40xf32>
}

// Transposes that operands are read through are pitches; with all sizes known, indices have 32 bits.
// CHECK-LABEL: // contract: transpose transpose matmul
// CHECK: const int [[BATCH:n[0-9]+]] = (int)blockIdx.x /
// CHECK-NEXT: const int [[START:n[0-9]+]] = [[BATCH]] / 4 * 32768 + [[BATCH]] % 4 * 64;
// CHECK: return flame_float_to_half(sum);
// CHECK: flame::gemm<flame::MmaSchedule{{.*}}, flame::Arithmetic::F16>(flame::Problem<int>{128, 128, 64},
// CHECK-NEXT: flame::Plain<unsigned short, flame::Major::Depth, 16, int>{in0 + [[START]], 256},
// CHECK-NEXT: flame::Plain<unsigned short, flame::Major::Depth, 16, int>{in1 + [[START]], 256},
func.func @attn(%x: tensor<2x128x4x64xf16>, %y: tensor<2x128x4x64xf16>) -> tensor<2x4x128x128xf16> {
  %0 = flame.region "contract"(%x, %y) : (tensor<2x128x4x64xf16>, tensor<2x128x4x64xf16>) -> tensor<2x4x128x128xf16> {
  ^bb0(%a: tensor<2x128x4x64xf16>, %b: tensor<2x128x4x64xf16>):
    %1 = flame.transpose %a {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x128x4x64xf16>) -> tensor<2x4x128x64xf16>
    %2 = flame.transpose %b {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x128x4x64xf16>) -> tensor<2x4x128x64xf16>
    %3 = flame.matmul %1, %2 {transpose_y = true} : (tensor<2x4x128x64xf16>, tensor<2x4x128x64xf16>) -> tensor<2x4x128x128xf16>
    flame.yield %3 : tensor<2x4x128x128xf16>
  }
  return %0 : tensor<2x4x128x128xf16>
}

// A batch that meets one matrix is more rows.
// CHECK-LABEL: // contract: matmul add
// CHECK: flame::gemm<flame::MmaSchedule{{.*}}, flame::Arithmetic::BF16>(flame::Problem<long long>{size0, 3072, 768},
// CHECK-NEXT: flame::Plain<unsigned short, flame::Major::Depth, 16, long long>{in0, 768},
// CHECK-NEXT: flame::Plain<unsigned short, flame::Major::Side, 16, long long>{in1, 3072},
func.func @linear(%x: tensor<?x?x768xbf16>, %y: tensor<768x3072xbf16>, %z: tensor<3072xbf16>) -> tensor<?x?x3072xbf16> {
  %0 = flame.region "contract"(%x, %y, %z) : (tensor<?x?x768xbf16>, tensor<768x3072xbf16>, tensor<3072xbf16>) -> tensor<?x?x3072xbf16> {
  ^bb0(%a: tensor<?x?x768xbf16>, %b: tensor<768x3072xbf16>, %c: tensor<3072xbf16>):
    %2 = flame.matmul %a, %b : (tensor<?x?x768xbf16>, tensor<768x3072xbf16>) -> tensor<?x?x3072xbf16>
    %3 = flame.add %2, %c : (tensor<?x?x3072xbf16>, tensor<3072xbf16>) -> tensor<?x?x3072xbf16>
    flame.yield %3 : tensor<?x?x3072xbf16>
  }
  return %0 : tensor<?x?x3072xbf16>
}

// Rows are stored in another order.
// CHECK-LABEL: // contract: matmul transpose
// CHECK: const int [[BATCH:n[0-9]+]] = (int)blockIdx.x /
// CHECK-DAG: const int [[HEAD:n[0-9]+]] = [[BATCH]] % 4;
// CHECK-DAG: const int [[N:n[0-9]+]] = [[BATCH]] / 4;
// CHECK: const auto place
// CHECK-NEXT: return (([[N]] * 128 + row) * 4 + [[HEAD]]) * 64 + column;
func.func @out(%x: tensor<2x4x128x128xf16>, %y: tensor<2x4x128x64xf16>) -> tensor<2x128x4x64xf16> {
  %0 = flame.region "contract"(%x, %y) : (tensor<2x4x128x128xf16>, tensor<2x4x128x64xf16>) -> tensor<2x128x4x64xf16> {
  ^bb0(%a: tensor<2x4x128x128xf16>, %b: tensor<2x4x128x64xf16>):
    %3 = flame.matmul %a, %b : (tensor<2x4x128x128xf16>, tensor<2x4x128x64xf16>) -> tensor<2x4x128x64xf16>
    %1 = flame.transpose %3 {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x4x128x64xf16>) -> tensor<2x128x4x64xf16>
    flame.yield %1 : tensor<2x128x4x64xf16>
  }
  return %0 : tensor<2x128x4x64xf16>
}

// One row: the matrix is read once, by a warp a column.
// CHECK-LABEL: // contract: matmul
// CHECK: flame::thinAlong<flame::ThinSchedule{1, 1, true}, flame::Arithmetic::F16, false>(flame::Problem<int>{1, 3072, 768},
// CHECK-NEXT: flame::ThinRows<unsigned short, int>{in0, 768, 1},
func.func @gemv(%x: tensor<1x1x768xf16>, %y: tensor<3072x768xf16>) -> tensor<1x1x3072xf16> {
  %0 = flame.region "contract"(%x, %y) : (tensor<1x1x768xf16>, tensor<3072x768xf16>) -> tensor<1x1x3072xf16> {
  ^bb0(%a: tensor<1x1x768xf16>, %b: tensor<3072x768xf16>):
    %2 = flame.matmul %a, %b {transpose_y = true}: (tensor<1x1x768xf16>, tensor<3072x768xf16>) -> tensor<1x1x3072xf16>
    flame.yield %2 : tensor<1x1x3072xf16>
  }
  return %0 : tensor<1x1x3072xf16>
}

// 8-bit integers multiply along the inner dim alone, so the columns of a matrix that is not transposed are gathered.
// CHECK-LABEL: // contract: matmul
// CHECK: const auto y = [&](const int column, const int depth) -> unsigned char {
// CHECK: flame::gemm<flame::MmaSchedule{{.*}}, flame::Arithmetic::I8>(
// CHECK-NEXT: flame::Plain<unsigned char, flame::Major::Depth, 16, int>{in0, 64},
// CHECK-NEXT: flame::computed<unsigned char, flame::Major::Depth>(y),
func.func @integer(%x: tensor<100x64xi8>, %y: tensor<64x72xi8>) -> tensor<100x72xi32> {
  %0 = flame.region "contract"(%x, %y) : (tensor<100x64xi8>, tensor<64x72xi8>) -> tensor<100x72xi32> {
  ^bb0(%a: tensor<100x64xi8>, %b: tensor<64x72xi8>):
    %2 = flame.matmul %a, %b {type = i32} : (tensor<100x64xi8>, tensor<64x72xi8>) -> tensor<100x72xi32>
    flame.yield %2 : tensor<100x72xi32>
  }
  return %0 : tensor<100x72xi32>
}
