// RUN: flame-opt %s --flame-form-regions=attention --flame-emit-cuda --split-input-file | FileCheck %s
// Attention as calls of the device template.

// A mask is part of the function of the score; with the factor it takes no more than the conversion to base 2 on top.
// CHECK-LABEL: // attention: transpose matmul div add
// CHECK: const auto score = [&](const int row, const int column, const float product) -> float {
// CHECK-NEXT: const unsigned short [[M:v[0-9]+]] = in{{[0-9]+}}[{{.*}} + column];
// CHECK-NEXT: return product / 8.0f + flame_half_to_float([[M]]);
// CHECK: flame::attention<flame::AttentionSchedule{{.*}}, flame::Arithmetic::F16>(flame::AttentionProblem{(int)37, (int)37, (int)64, (int)64},
// CHECK-NEXT: flame::Plain<unsigned short, flame::Major::Depth, 16, int>{in{{[0-9]+}} + {{.*}}, 768},
// CHECK-NEXT: flame::Plain<unsigned short, flame::Major::Depth, 16, int>{in{{[0-9]+}} + {{.*}}, 64},
// CHECK-NEXT: flame::Plain<unsigned short, flame::Major::Side, 16, int>{in{{[0-9]+}} + {{.*}}, 64},
// CHECK-NEXT: flame::scores(1.44269502f, score),
// CHECK-NEXT: flame::store<true>(out0, body, place));
func.func @mask(%q: tensor<2x37x12x64xf16>, %k: tensor<2x12x37x64xf16>, %v: tensor<2x12x37x64xf16>, %mask: tensor<2x1x1x37xf16>) -> tensor<2x12x37x64xf16> {
  %c = flame.constant {value = dense<8.0> : tensor<f16>} : () -> tensor<f16>
  %0 = flame.transpose %q {perm = array<i64: 0, 2, 1, 3>} : (tensor<2x37x12x64xf16>) -> tensor<2x12x37x64xf16>
  %3 = flame.matmul %0, %k {transpose_y = true} : (tensor<2x12x37x64xf16>, tensor<2x12x37x64xf16>) -> tensor<2x12x37x37xf16>
  %4 = flame.div %3, %c : (tensor<2x12x37x37xf16>, tensor<f16>) -> tensor<2x12x37x37xf16>
  %5 = flame.add %4, %mask : (tensor<2x12x37x37xf16>, tensor<2x1x1x37xf16>) -> tensor<2x12x37x37xf16>
  %7 = flame.reduce %5 {axes = array<i64: 3>, kind = "max"} : (tensor<2x12x37x37xf16>) -> tensor<2x12x37x1xf16>
  %8 = flame.sub %5, %7 : (tensor<2x12x37x37xf16>, tensor<2x12x37x1xf16>) -> tensor<2x12x37x37xf16>
  %9 = flame.exp %8 : (tensor<2x12x37x37xf16>) -> tensor<2x12x37x37xf16>
  %10 = flame.reduce %9 {axes = array<i64: 3>, kind = "sum"} : (tensor<2x12x37x37xf16>) -> tensor<2x12x37x1xf16>
  %11 = flame.div %9, %10 : (tensor<2x12x37x37xf16>, tensor<2x12x37x1xf16>) -> tensor<2x12x37x37xf16>
  %12 = flame.matmul %11, %v : (tensor<2x12x37x37xf16>, tensor<2x12x37x64xf16>) -> tensor<2x12x37x64xf16>
  return %12 : tensor<2x12x37x64xf16>
}

// -----

// Positive factors become part of the conversion to base 2, a causal mask the number of keys that a row sees; keys whose
// lines run the other way are read as they lie.
// CHECK-LABEL: // attention:
// CHECK: const auto score = [&](const long long row, const long long column, const float product) -> float {
// CHECK-NEXT: return product;
// CHECK: const auto limit = [&](const long long row)
// CHECK: return row + 1;
// CHECK: flame::Plain<unsigned short, flame::Major::Side, 8, long long>{in{{[0-9]+}} + {{.*}}, 500},
// CHECK: flame::scores(0.360673755f, score, limit),
func.func @causal(%q: tensor<2x400x32xbf16>, %k: tensor<2x32x500xbf16>, %v: tensor<2x500x16xbf16>) -> tensor<2x400x16xbf16> {
  %s = flame.constant {value = dense<0.25> : tensor<bf16>} : () -> tensor<bf16>
  %low = flame.constant {value = dense<0xFF80> : tensor<bf16>} : () -> tensor<bf16>
  %n = flame.constant {value = dense<400> : tensor<1xi64>} : () -> tensor<1xi64>
  %m = flame.constant {value = dense<500> : tensor<1xi64>} : () -> tensor<1xi64>
  %column = flame.constant {value = dense<[400, 1]> : tensor<2xi64>} : () -> tensor<2xi64>
  %0 = flame.iota %n {type = i64} : (tensor<1xi64>) -> tensor<400xi64>
  %1 = flame.reshape %0, %column : (tensor<400xi64>, tensor<2xi64>) -> tensor<400x1xi64>
  %2 = flame.iota %m {type = i64} : (tensor<1xi64>) -> tensor<500xi64>
  %3 = flame.less_equal %2, %1 : (tensor<500xi64>, tensor<400x1xi64>) -> tensor<400x500xi1>
  %4 = flame.mul %q, %s : (tensor<2x400x32xbf16>, tensor<bf16>) -> tensor<2x400x32xbf16>
  %5 = flame.matmul %4, %k : (tensor<2x400x32xbf16>, tensor<2x32x500xbf16>) -> tensor<2x400x500xbf16>
  %6 = flame.where %3, %5, %low : (tensor<400x500xi1>, tensor<2x400x500xbf16>, tensor<bf16>) -> tensor<2x400x500xbf16>
  %7 = flame.reduce %6 {axes = array<i64: 2>, kind = "max"} : (tensor<2x400x500xbf16>) -> tensor<2x400x1xbf16>
  %8 = flame.sub %6, %7 : (tensor<2x400x500xbf16>, tensor<2x400x1xbf16>) -> tensor<2x400x500xbf16>
  %9 = flame.exp %8 : (tensor<2x400x500xbf16>) -> tensor<2x400x500xbf16>
  %10 = flame.reduce %9 {axes = array<i64: 2>, kind = "sum"} : (tensor<2x400x500xbf16>) -> tensor<2x400x1xbf16>
  %11 = flame.div %9, %10 : (tensor<2x400x500xbf16>, tensor<2x400x1xbf16>) -> tensor<2x400x500xbf16>
  %12 = flame.matmul %11, %v : (tensor<2x400x500xbf16>, tensor<2x500x16xbf16>) -> tensor<2x400x16xbf16>
  return %12 : tensor<2x400x16xbf16>
}
