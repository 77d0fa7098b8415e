// RUN: flame-opt %s --flame-form-regions=topk --flame-emit-cuda | FileCheck %s
// RUN: flame-opt %s --flame-form-regions | FileCheck %s --check-prefix=HOST

// Without the option it is a function of the runtime.
// HOST-NOT: flame.region
// HOST-COUNT-7: flame.topk
// HOST-NOT: flame.region

// A warp a row; positions beside keys of 16 bits.
// CHECK-LABEL: // topk: topk
// CHECK: __launch_bounds__(256)
// CHECK-NOT: scratch
// CHECK: flame::topkWarps(flame::TopKRows<flame::TopKSchedule{256, 256, 4}, flame::KeyFormat{flame::KeyKind::Float, 16, 0x7f80}, true, unsigned short>{{[{][{]}}4096, 200, 8, 1},
// CHECK-NEXT: (const unsigned short *)in0, (unsigned short *)out0, (unsigned long long *)out1});
func.func @experts(%x: tensor<4096x200xbf16>) -> (tensor<4096x8xbf16>, tensor<4096x8xi64>) {
  %k = flame.constant {value = dense<8> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = flame.topk %x, %k {axis = 1 : i64} : (tensor<4096x200xbf16>, tensor<1xi64>) -> (tensor<4096x8xbf16>, tensor<4096x8xi64>)
  return %v, %i : tensor<4096x8xbf16>, tensor<4096x8xi64>
}

// A block a row, along a dim that is not the last; the values are not wanted.
// CHECK-LABEL: // topk: topk
// CHECK: __launch_bounds__(512)
// CHECK-NOT: scratch
// CHECK: flame::topkBlock(flame::TopKRows<flame::TopKSchedule{512, 2048, 8}, flame::KeyFormat{flame::KeyKind::Signed, 32, 0x0}, false, unsigned int>{{[{][{]}}21, 2000, 2000, 7},
// CHECK-NEXT: (const unsigned int *)in0, nullptr, (unsigned long long *)out0});
func.func @argsort(%x: tensor<3x2000x7xi32>) -> tensor<3x2000x7xi64> {
  %k = flame.constant {value = dense<2000> : tensor<i64>} : () -> tensor<i64>
  %v, %i = flame.topk %x, %k {axis = 1 : i64, largest = 0 : i64} : (tensor<3x2000x7xi32>, tensor<i64>) -> (tensor<3x2000x7xi32>, tensor<3x2000x7xi64>)
  return %i : tensor<3x2000x7xi64>
}

// Few elements of long rows: four blocks select of each.
// CHECK-LABEL: // topk: topk
// CHECK: __launch_bounds__(512)
// CHECK-NEXT: topk_2({{.*}}*__restrict__ scratch, unsigned int *__restrict__ state) {
// CHECK: flame::topkSelect(flame::TopKRows<flame::TopKSchedule{512, 8192, 8}, {{.*}}, true, unsigned short>{{[{][{]}}64, 131072, 50, 1},
// CHECK-NEXT: out1}, 4, scratch, state);
func.func @sampling(%x: tensor<64x131072xf16>) -> (tensor<64x50xf16>, tensor<64x50xi64>) {
  %k = flame.constant {value = dense<50> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = flame.topk %x, %k {axis = 1 : i64} : (tensor<64x131072xf16>, tensor<1xi64>) -> (tensor<64x50xf16>, tensor<64x50xi64>)
  return %v, %i : tensor<64x50xf16>, tensor<64x50xi64>
}

// Enough rows of middling length: a block each, which needs no scratch memory. Keys of 64 bits take 16 bytes.
// CHECK-LABEL: // topk: topk
// CHECK-NOT: state
// CHECK: flame::topkSelect(flame::TopKRows<flame::TopKSchedule{256, 2048, 16}, flame::KeyFormat{flame::KeyKind::Float, 64, 0x7ff0000000000000}, true, unsigned long long>{{[{][{]}}1000, 2048, 10, 1},
// CHECK-NEXT: 1, nullptr, nullptr);
func.func @rows(%x: tensor<1000x2048xf64>) -> tensor<1000x10xf64> {
  %k = flame.constant {value = dense<10> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = flame.topk %x, %k {axis = 1 : i64} : (tensor<1000x2048xf64>, tensor<1xi64>) -> (tensor<1000x10xf64>, tensor<1000x10xi64>)
  return %v : tensor<1000x10xf64>
}

// All of long rows: tiles that are merged by blocks that run at the same time.
// CHECK-LABEL: // topk: topk
// CHECK: flame::topkLong(flame::TopKRows<flame::TopKSchedule{512, 8192, 8}, flame::KeyFormat{flame::KeyKind::Unsigned, 8, 0x0}, true, unsigned char>{{[{][{]}}4, 100000, 100000, 1},
func.func @sort(%x: tensor<4x100000xui8>) -> tensor<4x100000xui8> {
  %k = flame.constant {value = dense<100000> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = flame.topk %x, %k {axis = 1 : i64} : (tensor<4x100000xui8>, tensor<1xi64>) -> (tensor<4x100000xui8>, tensor<4x100000xi64>)
  return %v : tensor<4x100000xui8>
}

// Nothing known of the length, but k is small: selection does it. Of k, nothing: whichever the run needs.
// CHECK-LABEL: // topk: topk
// CHECK: flame::topkSelect({{.*}}{{[{][{]}}size0, size1, 5, 1},
func.func @long(%x: tensor<?x?xf32>) -> tensor<?x5xf32> {
  %k = flame.constant {value = dense<5> : tensor<1xi64>} : () -> tensor<1xi64>
  %v, %i = flame.topk %x, %k {axis = 1 : i64} : (tensor<?x?xf32>, tensor<1xi64>) -> (tensor<?x5xf32>, tensor<?x5xi64>)
  return %v : tensor<?x5xf32>
}
// CHECK-LABEL: // topk: topk
// CHECK: flame::topkLong({{.*}}{{[{][{]}}size0, size1, size2, 1},
func.func @any(%x: tensor<?x?xf32>, %k: tensor<1xi64>) -> tensor<?x?xf32> {
  %v, %i = flame.topk %x, %k {axis = 1 : i64} : (tensor<?x?xf32>, tensor<1xi64>) -> (tensor<?x?xf32>, tensor<?x?xi64>)
  return %v : tensor<?x?xf32>
}
