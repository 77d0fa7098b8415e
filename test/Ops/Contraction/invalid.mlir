// RUN: flame-opt %s --split-input-file --verify-diagnostics

func.func @inner(%x: tensor<3x4xf32>, %y: tensor<5x6xf32>) {
  // expected-error @+1 {{inner dims differ: x has 4, y has 5 (shapes [3, 4] and [5, 6])}}
  %0 = flame.matmul %x, %y : (tensor<3x4xf32>, tensor<5x6xf32>) -> tensor<3x6xf32>
  return
}

// -----

func.func @scalars(%x: tensor<f32>, %y: tensor<5x6xf32>) {
  // expected-error @+1 {{operands need rank 1 or more}}
  %0 = flame.matmul %x, %y : (tensor<f32>, tensor<5x6xf32>) -> tensor<6xf32>
  return
}

// -----

func.func @mixed(%x: tensor<3x4xi8>, %y: tensor<4x6xui8>) {
  // expected-error @+1 {{operands have element types int8 and uint8; cast one of them}}
  %0 = flame.matmul %x, %y : (tensor<3x4xi8>, tensor<4x6xui8>) -> tensor<3x6xi8>
  return
}

// -----

func.func @bools(%x: tensor<3x4xi1>) {
  // expected-error @+1 {{a product needs numbers}}
  %0 = flame.matmul %x, %x {transpose_y = true} : (tensor<3x4xi1>, tensor<3x4xi1>) -> tensor<3x3xi1>
  return
}

// -----

func.func @batch(%x: tensor<2x3x4xf32>, %y: tensor<5x4x6xf32>) {
  // expected-error @+1 {{can't broadcast batch dims [2] and [5]}}
  %0 = flame.matmul %x, %y : (tensor<2x3x4xf32>, tensor<5x4x6xf32>) -> tensor<2x3x6xf32>
  return
}

// -----

func.func @vector(%x: tensor<4xf32>, %y: tensor<4x6xf32>) {
  // expected-error @+1 {{can't transpose an operand of rank 1}}
  %0 = flame.matmul %x, %y {transpose_x = true} : (tensor<4xf32>, tensor<4x6xf32>) -> tensor<6xf32>
  return
}

// -----

func.func @panels(%x: tensor<3x4xf32>, %y: tensor<1x4x16xf32>) {
  // expected-error @+1 {{doesn't hold 20 columns}}
  %0 = flame.matmul %x, %y {packed_columns = 20 : i64} : (tensor<3x4xf32>, tensor<1x4x16xf32>) -> tensor<3x20xf32>
  return
}

// -----

func.func @scales(%x: tensor<7x300xf8E4M3FN>, %y: tensor<200x300xf8E4M3FN>, %s: tensor<7x2xf32>, %t: tensor<2x3xf32>) {
  // expected-error @+1 {{x_scale has shape [7, 2]; blocks of 128 columns by 128 of the inner dim need [7, 3]}}
  %0 = flame.scaled_matmul %x, %y, %s, %t {columns = 128 : i64, depth = 128 : i64, type = f32}
    : (tensor<7x300xf8E4M3FN>, tensor<200x300xf8E4M3FN>, tensor<7x2xf32>, tensor<2x3xf32>) -> tensor<7x200xf32>
  return
}

// -----

func.func @scale_type(%x: tensor<7x128xf8E4M3FN>, %y: tensor<128x128xf8E4M3FN>, %s: tensor<7x1xbf16>, %t: tensor<1x1xf32>) {
  // expected-error @+1 {{x_scale has element type bfloat16; elements are floats and scales f32}}
  %0 = flame.scaled_matmul %x, %y, %s, %t {columns = 128 : i64, depth = 128 : i64, type = f32}
    : (tensor<7x128xf8E4M3FN>, tensor<128x128xf8E4M3FN>, tensor<7x1xbf16>, tensor<1x1xf32>) -> tensor<7x128xf32>
  return
}

// -----

func.func @scaled_vector(%x: tensor<128xf8E4M3FN>, %y: tensor<128x128xf8E4M3FN>, %s: tensor<1xf32>, %t: tensor<1x1xf32>) {
  // expected-error @+1 {{needs x of rank 2 or more and y of rank 2, has shapes [128] and [128, 128]}}
  %0 = flame.scaled_matmul %x, %y, %s, %t {columns = 128 : i64, depth = 128 : i64, type = f32}
    : (tensor<128xf8E4M3FN>, tensor<128x128xf8E4M3FN>, tensor<1xf32>, tensor<1x1xf32>) -> tensor<128xf32>
  return
}

// -----

func.func @blocks(%x: tensor<7x128xf8E4M3FN>, %y: tensor<128x128xf8E4M3FN>, %s: tensor<7x1xf32>, %t: tensor<1x1xf32>) {
  // expected-error @+1 {{has blocks of 0 columns by 128; they need one element at least}}
  %0 = flame.scaled_matmul %x, %y, %s, %t {columns = 0 : i64, depth = 128 : i64, type = f32}
    : (tensor<7x128xf8E4M3FN>, tensor<128x128xf8E4M3FN>, tensor<7x1xf32>, tensor<1x1xf32>) -> tensor<7x128xf32>
  return
}

// -----

func.func @scaled_sum(%x: tensor<7x128xf8E4M3FN>, %y: tensor<128x128xf8E4M3FN>, %s: tensor<7x1xf32>, %t: tensor<1x1xf32>) {
  // expected-error @+1 {{can't give int32; sums are f32}}
  %0 = flame.scaled_matmul %x, %y, %s, %t {columns = 128 : i64, depth = 128 : i64, type = i32}
    : (tensor<7x128xf8E4M3FN>, tensor<128x128xf8E4M3FN>, tensor<7x1xf32>, tensor<1x1xf32>) -> tensor<7x128xi32>
  return
}
