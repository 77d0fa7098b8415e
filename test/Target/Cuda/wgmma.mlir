// RUN: flame-opt %s --flame-emit-cuda=wgmma | FileCheck %s
// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s --check-prefix=WITHOUT
// Products for sm_90a: operands and result by tensor maps, one kernel with two bodies.

// WITHOUT-NOT: wgmmaGemm
// WITHOUT-NOT: TensorMap

// CHECK-LABEL: // contract: matmul add
// CHECK: __launch_bounds__(FLAME_IF_WGMMA({{[0-9]+}}, {{[0-9]+}}), 1)
// CHECK-NEXT: contract_0({{.*}}, const __grid_constant__ flame::TensorMap map0, const __grid_constant__ flame::TensorMap map1, const __grid_constant__ flame::TensorMap map2) {
// CHECK: const auto body = [&](const int row, const int column, const float sum) -> unsigned short {
// CHECK: #if FLAME_HAS_WGMMA
// CHECK-NEXT: flame::wgmmaGemm<flame::WgmmaSchedule{{.*}}, flame::Arithmetic::BF16, flame::Major::Depth, flame::Major::Side>(flame::Problem<int>{4608, 3072, 1024}, 1,
// CHECK-NEXT: flame::TensorOperand{map0, 0}, flame::TensorOperand{map1, 0},
// CHECK-NEXT: [&](int) { return flame::tensorStore<unsigned short>(map2, body); });
// CHECK-NEXT: #else
// CHECK-NEXT: flame::gemm<
// CHECK: #endif
func.func @bias(%x: tensor<4608x1024xbf16>, %w: tensor<1024x3072xbf16>, %b: tensor<3072xbf16>) -> tensor<4608x3072xbf16> {
  %0 = flame.region "contract"(%x, %w, %b) : (tensor<4608x1024xbf16>, tensor<1024x3072xbf16>, tensor<3072xbf16>) -> tensor<4608x3072xbf16> {
  ^bb0(%a: tensor<4608x1024xbf16>, %c: tensor<1024x3072xbf16>, %d: tensor<3072xbf16>):
    %1 = flame.matmul %a, %c : (tensor<4608x1024xbf16>, tensor<1024x3072xbf16>) -> tensor<4608x3072xbf16>
    %2 = flame.add %1, %d : (tensor<4608x3072xbf16>, tensor<3072xbf16>) -> tensor<4608x3072xbf16>
    flame.yield %2 : tensor<4608x3072xbf16>
  }
  return %0 : tensor<4608x3072xbf16>
}

// Lines of 1022 elements do not begin at multiples of 16 bytes.
// CHECK-LABEL: // contract: matmul
// CHECK-NOT: wgmmaGemm
func.func @unaligned(%x: tensor<4608x1022xbf16>, %w: tensor<1022x3072xbf16>) -> tensor<4608x3072xbf16> {
  %0 = flame.region "contract"(%x, %w) : (tensor<4608x1022xbf16>, tensor<1022x3072xbf16>) -> tensor<4608x3072xbf16> {
  ^bb0(%a: tensor<4608x1022xbf16>, %c: tensor<1022x3072xbf16>):
    %1 = flame.matmul %a, %c : (tensor<4608x1022xbf16>, tensor<1022x3072xbf16>) -> tensor<4608x3072xbf16>
    flame.yield %1 : tensor<4608x3072xbf16>
  }
  return %0 : tensor<4608x3072xbf16>
}

// Any number of rows; results of 9214 columns leave by the kernel itself.
// CHECK-LABEL: // contract: matmul
// CHECK: wgmmaGemm
// CHECK-NEXT: map0
// CHECK-NEXT: flame::store<true>(out0, body, place); });
func.func @rows(%x: tensor<?x1024xf16>, %w: tensor<9214x1024xf16>) -> tensor<?x9214xf16> {
  %0 = flame.region "contract"(%x, %w) : (tensor<?x1024xf16>, tensor<9214x1024xf16>) -> tensor<?x9214xf16> {
  ^bb0(%a: tensor<?x1024xf16>, %c: tensor<9214x1024xf16>):
    %1 = flame.matmul %a, %c {transpose_y = true} : (tensor<?x1024xf16>, tensor<9214x1024xf16>) -> tensor<?x9214xf16>
    flame.yield %1 : tensor<?x9214xf16>
  }
  return %0 : tensor<?x9214xf16>
}

// Rows of a batch's matrices between each other: a batch of products, the right side the same for all. The functions of the
// epilogue count rows through all of them.
// CHECK-LABEL: // contract: transpose matmul
// CHECK: wgmmaGemm
// CHECK-SAME: flame::Problem<int>{4096, 3072, 3072}, 3,
// CHECK-NEXT: flame::TensorOperand{map0, 1}, flame::TensorOperand{map1, 0},
// CHECK-NEXT: [&](int batch) { const int first = (int)batch * 4096; return flame::tensorStore<unsigned short>(map2, flame::fromRow(first, bodyOfAll)); });
func.func @batches(%x: tensor<4096x3x3072xbf16>, %w: tensor<3072x3072xbf16>) -> tensor<3x4096x3072xbf16> {
  %0 = flame.region "contract"(%x, %w) : (tensor<4096x3x3072xbf16>, tensor<3072x3072xbf16>) -> tensor<3x4096x3072xbf16> {
  ^bb0(%a: tensor<4096x3x3072xbf16>, %c: tensor<3072x3072xbf16>):
    %s = flame.transpose %a {perm = array<i64: 1, 0, 2>} : (tensor<4096x3x3072xbf16>) -> tensor<3x4096x3072xbf16>
    %1 = flame.matmul %s, %c {transpose_y = true} : (tensor<3x4096x3072xbf16>, tensor<3072x3072xbf16>) -> tensor<3x4096x3072xbf16>
    flame.yield %1 : tensor<3x4096x3072xbf16>
  }
  return %0 : tensor<3x4096x3072xbf16>
}

// A left operand in two parts, one after the other along the inner dim: the copy engine reads each where it is.
// CHECK-LABEL: // contract: concat matmul
// CHECK: wgmmaGemm
// CHECK-NEXT: flame::JoinedTensors{map0, map3, 3072, 0}, flame::TensorOperand{map1, 0},
// CHECK: flame::gemm<
// CHECK-NEXT: flame::joined<int>(flame::Plain<{{.*}}>{in0, 3072}, flame::Plain<{{.*}}>{in1, 12288}, 3072),
func.func @parts(%x: tensor<4608x3072xbf16>, %z: tensor<4608x12288xbf16>, %w: tensor<3072x15360xbf16>) -> tensor<4608x3072xbf16> {
  %0 = flame.region "contract"(%x, %z, %w) : (tensor<4608x3072xbf16>, tensor<4608x12288xbf16>, tensor<3072x15360xbf16>) -> tensor<4608x3072xbf16> {
  ^bb0(%a: tensor<4608x3072xbf16>, %b: tensor<4608x12288xbf16>, %c: tensor<3072x15360xbf16>):
    %j = flame.concat %a, %b {axis = 1 : i64} : (tensor<4608x3072xbf16>, tensor<4608x12288xbf16>) -> tensor<4608x15360xbf16>
    %1 = flame.matmul %j, %c {transpose_y = true} : (tensor<4608x15360xbf16>, tensor<3072x15360xbf16>) -> tensor<4608x3072xbf16>
    flame.yield %1 : tensor<4608x3072xbf16>
  }
  return %0 : tensor<4608x3072xbf16>
}

// Floats of 8 bits: as they are by wgmma, whose sums of a step are added up apart, and as f16 by the others; scales behind the sum.
// CHECK-LABEL: // contract: matmul cast mul mul cast
// CHECK: const auto x = [&](const int row, const int depth) -> unsigned short {
// CHECK: return flame_float_to_half(flame_e4m3_to_float(
// CHECK: const auto body = [&](const int row, const int column, const float sum) -> unsigned short {
// CHECK-NEXT: const float [[S:.*]] = in2[row];
// CHECK-NEXT: const unsigned short [[T:.*]] = in3[column];
// CHECK-NEXT: return flame_float_to_bf16(sum * [[S]] * flame_bf16_to_float([[T]]));
// CHECK: flame::wgmmaGemm<flame::WgmmaSchedule{{{.*}}, true, 1, false}, flame::Arithmetic::E4M3, flame::Major::Depth, flame::Major::Depth>(
// CHECK: flame::gemm<{{.*}}, flame::Arithmetic::F16>(
// CHECK-NEXT: flame::computed<unsigned short, flame::Major::Depth>(x),
func.func @quantised(%x: tensor<4608x1024xf8E4M3FN>, %w: tensor<3072x1024xf8E4M3FN>, %s: tensor<4608x1xf32>, %t: tensor<3072xbf16>) -> tensor<4608x3072xbf16> {
  %0 = flame.region "contract"(%x, %w, %s, %t) : (tensor<4608x1024xf8E4M3FN>, tensor<3072x1024xf8E4M3FN>, tensor<4608x1xf32>, tensor<3072xbf16>) -> tensor<4608x3072xbf16> {
  ^bb0(%a: tensor<4608x1024xf8E4M3FN>, %c: tensor<3072x1024xf8E4M3FN>, %d: tensor<4608x1xf32>, %e: tensor<3072xbf16>):
    %1 = flame.matmul %a, %c {transpose_y = true, type = f32} : (tensor<4608x1024xf8E4M3FN>, tensor<3072x1024xf8E4M3FN>) -> tensor<4608x3072xf32>
    %2 = flame.cast %e {to = f32} : (tensor<3072xbf16>) -> tensor<3072xf32>
    %3 = flame.mul %1, %d : (tensor<4608x3072xf32>, tensor<4608x1xf32>) -> tensor<4608x3072xf32>
    %4 = flame.mul %3, %2 : (tensor<4608x3072xf32>, tensor<3072xf32>) -> tensor<4608x3072xf32>
    %5 = flame.cast %4 {to = bf16} : (tensor<4608x3072xf32>) -> tensor<4608x3072xbf16>
    flame.yield %5 : tensor<4608x3072xbf16>
  }
  return %0 : tensor<4608x3072xbf16>
}

// Two products of one operand: a tile has half of its columns of each right one, and a body both sums.
// CHECK-LABEL: // contract: matmul matmul silu mul
// CHECK: map3) {
// CHECK: const auto body = [&](const int row, const int column, const float sum, const float other) -> unsigned short {
// CHECK: flame::wgmmaGemm<{{.*}}>(flame::Problem<int>{4096, 11264, 4096}, 1,
// CHECK-NEXT: flame::TensorOperand{map0, 0}, flame::PairedTensors{map1, map3, 0},
// CHECK-NEXT: [&](int) { return flame::tensorStore<unsigned short>(map2, body); });
// CHECK: flame::gemm<
// CHECK-NEXT: flame::Plain<{{.*}}>{in0, 4096},
// CHECK-NEXT: flame::paired<{{[0-9]+}}>(flame::Plain<{{.*}}>{in1, 4096},
// CHECK-NEXT: flame::Plain<{{.*}}>{in2, 4096}),
func.func @paired(%x: tensor<4096x4096xbf16>, %v: tensor<11264x4096xbf16>, %w: tensor<11264x4096xbf16>) -> tensor<4096x11264xbf16> {
  %0 = flame.region "contract"(%x, %v, %w) : (tensor<4096x4096xbf16>, tensor<11264x4096xbf16>, tensor<11264x4096xbf16>) -> tensor<4096x11264xbf16> {
  ^bb0(%a: tensor<4096x4096xbf16>, %c: tensor<11264x4096xbf16>, %d: tensor<11264x4096xbf16>):
    %1 = flame.matmul %a, %c {transpose_y = true} : (tensor<4096x4096xbf16>, tensor<11264x4096xbf16>) -> tensor<4096x11264xbf16>
    %2 = flame.matmul %a, %d {transpose_y = true} : (tensor<4096x4096xbf16>, tensor<11264x4096xbf16>) -> tensor<4096x11264xbf16>
    %3 = flame.silu %1 : (tensor<4096x11264xbf16>) -> tensor<4096x11264xbf16>
    %4 = flame.mul %3, %2 : (tensor<4096x11264xbf16>, tensor<4096x11264xbf16>) -> tensor<4096x11264xbf16>
    flame.yield %4 : tensor<4096x11264xbf16>
  }
  return %0 : tensor<4096x11264xbf16>
}

// One row: both weights are read once, by the kernel for few rows.
// CHECK-LABEL: // contract: matmul matmul mul
// CHECK: flame::thinAlong<
// CHECK: flame::paired<8>(
// CHECK-NOT: wgmmaGemm
func.func @pairedRow(%x: tensor<1x4096xbf16>, %v: tensor<11264x4096xbf16>, %w: tensor<11264x4096xbf16>) -> tensor<1x11264xbf16> {
  %0 = flame.region "contract"(%x, %v, %w) : (tensor<1x4096xbf16>, tensor<11264x4096xbf16>, tensor<11264x4096xbf16>) -> tensor<1x11264xbf16> {
  ^bb0(%a: tensor<1x4096xbf16>, %c: tensor<11264x4096xbf16>, %d: tensor<11264x4096xbf16>):
    %1 = flame.matmul %a, %c {transpose_y = true} : (tensor<1x4096xbf16>, tensor<11264x4096xbf16>) -> tensor<1x11264xbf16>
    %2 = flame.matmul %a, %d {transpose_y = true} : (tensor<1x4096xbf16>, tensor<11264x4096xbf16>) -> tensor<1x11264xbf16>
    %3 = flame.mul %1, %2 : (tensor<1x11264xbf16>, tensor<1x11264xbf16>) -> tensor<1x11264xbf16>
    flame.yield %3 : tensor<1x11264xbf16>
  }
  return %0 : tensor<1x11264xbf16>
}

// Scales of blocks of 8-bit floats: the kernel gets where they are, the other generation scaled operands. x's scales are the same for all
// blocks of a row.
// CHECK-LABEL: // contract: expand scaled_matmul add
// CHECK: const auto x = [&](const int row, const int depth) -> unsigned short {
// CHECK: = in2[row];
// CHECK: flame_float_to_bf16(flame_e4m3_to_float(
// CHECK: const auto y = [&](const int column, const int depth) -> unsigned short {
// CHECK: = in3[column / 128 * 8 + depth / 128]
// CHECK: flame::wgmmaGemm<flame::WgmmaSchedule{{{.*}}, true, 1, false}, flame::Arithmetic::E4M3, flame::Major::Depth, flame::Major::Depth>(
// CHECK-NEXT: map0
// CHECK-NEXT: flame::tensorStore<unsigned short>(map2, body); },
// CHECK-NEXT: flame::BlockScales<128, int>{in2, 1, 0, in3, 8, 1});
// CHECK: flame::gemm<{{.*}}, flame::Arithmetic::BF16>(
// CHECK-NEXT: flame::computed<unsigned short, flame::Major::Depth>(x),
// WITHOUT-NOT: BlockScales
func.func @scaled(%x: tensor<4608x1024xf8E4M3FN>, %w: tensor<3072x1024xf8E4M3FN>, %s: tensor<4608x1xf32>, %t: tensor<24x8xf32>, %b: tensor<3072xbf16>) -> tensor<4608x3072xbf16> {
  %0 = flame.region "contract"(%x, %w, %s, %t, %b) : (tensor<4608x1024xf8E4M3FN>, tensor<3072x1024xf8E4M3FN>, tensor<4608x1xf32>, tensor<24x8xf32>, tensor<3072xbf16>) -> tensor<4608x3072xbf16> {
  ^bb0(%a: tensor<4608x1024xf8E4M3FN>, %c: tensor<3072x1024xf8E4M3FN>, %d: tensor<4608x1xf32>, %e: tensor<24x8xf32>, %f: tensor<3072xbf16>):
    %n = flame.constant {value = dense<[4608, 8]> : tensor<2xi64>} : () -> tensor<2xi64>
    %g = flame.expand %d, %n : (tensor<4608x1xf32>, tensor<2xi64>) -> tensor<4608x8xf32>
    %1 = flame.scaled_matmul %a, %c, %g, %e {columns = 128 : i64, depth = 128 : i64, type = bf16} : (tensor<4608x1024xf8E4M3FN>, tensor<3072x1024xf8E4M3FN>, tensor<4608x8xf32>, tensor<24x8xf32>) -> tensor<4608x3072xbf16>
    %2 = flame.add %1, %f : (tensor<4608x3072xbf16>, tensor<3072xbf16>) -> tensor<4608x3072xbf16>
    flame.yield %2 : tensor<4608x3072xbf16>
  }
  return %0 : tensor<4608x3072xbf16>
}

// By columns; blocks of another size go by scaled operands on every GPU.
// CHECK-LABEL: // contract: transpose scaled_matmul
// CHECK: flame::BlockScales<1, int>{in2, 8, 1, in3, 1, 3072});
// CHECK-LABEL: // contract: scaled_matmul
// CHECK-NOT: wgmmaGemm
// CHECK: in3[column * 16 + depth / 64]
func.func @scaled_columns(%x: tensor<4608x1024xf8E4M3FN>, %w: tensor<3072x1024xf8E4M3FN>, %s: tensor<4608x8xf32>, %t: tensor<8x3072xf32>, %u: tensor<4608x16xf32>, %v: tensor<3072x16xf32>) -> (tensor<4608x3072xbf16>, tensor<4608x3072xbf16>) {
  %0 = flame.region "contract"(%x, %w, %s, %t) : (tensor<4608x1024xf8E4M3FN>, tensor<3072x1024xf8E4M3FN>, tensor<4608x8xf32>, tensor<8x3072xf32>) -> tensor<4608x3072xbf16> {
  ^bb0(%a: tensor<4608x1024xf8E4M3FN>, %c: tensor<3072x1024xf8E4M3FN>, %d: tensor<4608x8xf32>, %e: tensor<8x3072xf32>):
    %f = flame.transpose %e {perm = array<i64: 1, 0>} : (tensor<8x3072xf32>) -> tensor<3072x8xf32>
    %2 = flame.scaled_matmul %a, %c, %d, %f {columns = 1 : i64, depth = 128 : i64, type = bf16} : (tensor<4608x1024xf8E4M3FN>, tensor<3072x1024xf8E4M3FN>, tensor<4608x8xf32>, tensor<3072x8xf32>) -> tensor<4608x3072xbf16>
    flame.yield %2 : tensor<4608x3072xbf16>
  }
  %1 = flame.region "contract"(%x, %w, %u, %v) : (tensor<4608x1024xf8E4M3FN>, tensor<3072x1024xf8E4M3FN>, tensor<4608x16xf32>, tensor<3072x16xf32>) -> tensor<4608x3072xbf16> {
  ^bb0(%a: tensor<4608x1024xf8E4M3FN>, %c: tensor<3072x1024xf8E4M3FN>, %d: tensor<4608x16xf32>, %e: tensor<3072x16xf32>):
    %2 = flame.scaled_matmul %a, %c, %d, %e {columns = 1 : i64, depth = 64 : i64, type = bf16} : (tensor<4608x1024xf8E4M3FN>, tensor<3072x1024xf8E4M3FN>, tensor<4608x16xf32>, tensor<3072x16xf32>) -> tensor<4608x3072xbf16>
    flame.yield %2 : tensor<4608x3072xbf16>
  }
  return %0, %1 : tensor<4608x3072xbf16>, tensor<4608x3072xbf16>
}

// A long body stands in a loop where warpgroups take turns; one that reads an element for each of the result does not.
// CHECK-LABEL: // contract: matmul add gelu
// CHECK: wgmmaGemm<flame::WgmmaSchedule{{[{][0-9]+, [0-9]+, [0-9]+, [0-9]+, [0-9]+}}, true,
// CHECK: flame::tensorStore<unsigned short, true>(map2, body); });
func.func @long(%x: tensor<4608x3072xbf16>, %w: tensor<12288x3072xbf16>, %b: tensor<12288xbf16>) -> tensor<4608x12288xbf16> {
  %0 = flame.region "contract"(%x, %w, %b) : (tensor<4608x3072xbf16>, tensor<12288x3072xbf16>, tensor<12288xbf16>) -> tensor<4608x12288xbf16> {
  ^bb0(%a: tensor<4608x3072xbf16>, %c: tensor<12288x3072xbf16>, %d: tensor<12288xbf16>):
    %1 = flame.matmul %a, %c {transpose_y = true} : (tensor<4608x3072xbf16>, tensor<12288x3072xbf16>) -> tensor<4608x12288xbf16>
    %2 = flame.add %1, %d : (tensor<4608x12288xbf16>, tensor<12288xbf16>) -> tensor<4608x12288xbf16>
    %3 = flame.gelu %2 {approximate = true} : (tensor<4608x12288xbf16>) -> tensor<4608x12288xbf16>
    flame.yield %3 : tensor<4608x12288xbf16>
  }
  return %0 : tensor<4608x12288xbf16>
}

// CHECK-LABEL: // contract: matmul add gelu
// CHECK: wgmmaGemm<flame::WgmmaSchedule{{[{][0-9]+, [0-9]+, [0-9]+, [0-9]+, [0-9]+}}, true,
// CHECK: flame::sourced(flame::tensorStore<unsigned short>(map2, bodyOfSource), in2, (int)12288); });
func.func @residual(%x: tensor<4608x3072xbf16>, %w: tensor<12288x3072xbf16>, %r: tensor<4608x12288xbf16>) -> tensor<4608x12288xbf16> {
  %0 = flame.region "contract"(%x, %w, %r) : (tensor<4608x3072xbf16>, tensor<12288x3072xbf16>, tensor<4608x12288xbf16>) -> tensor<4608x12288xbf16> {
  ^bb0(%a: tensor<4608x3072xbf16>, %c: tensor<12288x3072xbf16>, %d: tensor<4608x12288xbf16>):
    %1 = flame.matmul %a, %c {transpose_y = true} : (tensor<4608x3072xbf16>, tensor<12288x3072xbf16>) -> tensor<4608x12288xbf16>
    %2 = flame.add %1, %d : (tensor<4608x12288xbf16>, tensor<4608x12288xbf16>) -> tensor<4608x12288xbf16>
    %3 = flame.gelu %2 {approximate = true} : (tensor<4608x12288xbf16>) -> tensor<4608x12288xbf16>
    flame.yield %3 : tensor<4608x12288xbf16>
  }
  return %0 : tensor<4608x12288xbf16>
}

// Rows that go by groups: one kernel over all of them, with ends read by the device; stores of a group's last rows are the kernel's own.
// CHECK-LABEL: // contract: grouped_matmul
// CHECK: #if FLAME_HAS_WGMMA
// CHECK-NEXT: flame::wgmmaGemm<flame::WgmmaSchedule{{.*}}, flame::Arithmetic::BF16, flame::Major::Depth, flame::Major::Depth>(flame::Problem<int>{4096, 2048, 1024}, flame::RowGroups<int, int>{(const int *)(in2), (int)(8), (int)(4096)},
// CHECK-NEXT: flame::TensorOperand{map0, 0}, flame::TensorOperand{map1, 1},
// CHECK-NEXT: [&](int) { return flame::clippedStore<unsigned short>(map2, body, {{.*}}, (int)2048); });
// CHECK-NEXT: #else
// CHECK-NEXT: flame::groupedGemm<flame::MmaSchedule{{.*}}, flame::Arithmetic::BF16>(flame::Problem<int>{4096, 2048, 1024}, flame::RowGroups<int, int>{(const int *)(in2), (int)(8), (int)(4096)},
// CHECK-NEXT: flame::Plain<unsigned short, flame::Major::Depth, 16, int>{in0, 1024},
// CHECK-NEXT: [&](int group) { return flame::Plain<unsigned short, flame::Major::Depth, 16, int>{in1 + (int)group * 2097152, 1024}; },
func.func @grouped(%x: tensor<4096x1024xbf16>, %w: tensor<8x2048x1024xbf16>, %e: tensor<8xi32>) -> tensor<4096x2048xbf16> {
  %0 = flame.region "contract"(%x, %w, %e) : (tensor<4096x1024xbf16>, tensor<8x2048x1024xbf16>, tensor<8xi32>) -> tensor<4096x2048xbf16> {
  ^bb0(%a: tensor<4096x1024xbf16>, %c: tensor<8x2048x1024xbf16>, %d: tensor<8xi32>):
    %1 = flame.grouped_matmul %a, %c, %d {transpose_y = true} : (tensor<4096x1024xbf16>, tensor<8x2048x1024xbf16>, tensor<8xi32>) -> tensor<4096x2048xbf16>
    flame.yield %1 : tensor<4096x2048xbf16>
  }
  return %0 : tensor<4096x2048xbf16>
}

// A number of groups that is not known has no table in shared memory; matrices that are computed know their group.
// CHECK-LABEL: // contract: cast grouped_matmul
// CHECK-NOT: wgmmaGemm
// CHECK: const auto y = [&](const {{.*}} column, const {{.*}} depth, const {{.*}} group) -> unsigned short {
// CHECK: flame::RowGroups<long long, {{.*}}>{(const long long *)(in2),
// CHECK: [&](int group) { return flame::computed<unsigned short, flame::Major::Depth>(flame::ofGroup(group, y)); },
func.func @unknown_groups(%x: tensor<4096x1024xf16>, %w: tensor<?x2048x1024xf8E4M3FN> {flame.dims = ["g", "", ""]}, %e: tensor<?xi64> {flame.dims = ["g"]}) -> tensor<4096x2048xf16> {
  %0 = flame.region "contract"(%x, %w, %e) : (tensor<4096x1024xf16>, tensor<?x2048x1024xf8E4M3FN>, tensor<?xi64>) -> tensor<4096x2048xf16> {
  ^bb0(%a: tensor<4096x1024xf16>, %c: tensor<?x2048x1024xf8E4M3FN>, %d: tensor<?xi64>):
    %f = flame.cast %c {to = f16} : (tensor<?x2048x1024xf8E4M3FN>) -> tensor<?x2048x1024xf16>
    %1 = flame.grouped_matmul %a, %f, %d {transpose_y = true} : (tensor<4096x1024xf16>, tensor<?x2048x1024xf16>, tensor<?xi64>) -> tensor<4096x2048xf16>
    flame.yield %1 : tensor<4096x2048xf16>
  }
  return %0 : tensor<4096x2048xf16>
}
