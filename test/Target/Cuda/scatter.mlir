// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s

// What index tuples point to is a row of a few blocks' own, 16 bytes an access; each row is written once.
// CHECK-LABEL: // loops: scatter_nd
// CHECK: __launch_bounds__(512)
// CHECK: const auto target = [&](const long long update) -> long long {
// CHECK: flame::ScatterRows<512, 63, 16>({65536, 256, 16384, 1}).replace(in0, in2, out0, (int *)shared0, target);
func.func @rows(%x: tensor<65536x2048xbf16>, %i: tensor<16384x1xi64>, %u: tensor<16384x2048xbf16>) -> tensor<65536x2048xbf16> {
  %0 = flame.region "loops"(%x, %i, %u) : (tensor<65536x2048xbf16>, tensor<16384x1xi64>, tensor<16384x2048xbf16>) -> tensor<65536x2048xbf16> {
  ^bb0(%a: tensor<65536x2048xbf16>, %b: tensor<16384x1xi64>, %c: tensor<16384x2048xbf16>):
    %1 = flame.scatter_nd %a, %b, %c : (tensor<65536x2048xbf16>, tensor<16384x1xi64>, tensor<16384x2048xbf16>) -> tensor<65536x2048xbf16>
    flame.yield %1 : tensor<65536x2048xbf16>
  }
  return %0 : tensor<65536x2048xbf16>
}

// Sums of whole rows in the order of the updates; single elements where tuples point to them, and fewer blocks where there are many.
// CHECK-LABEL: // loops: scatter_nd
// CHECK: const auto update = [&](const long long to, const long long from) {
// CHECK: flame::ScatterRows<512, 1, 16>({2, 2500, 100, 5}).combine(in0, out0, (int *)shared0, target, update);
func.func @sums(%x: tensor<2x10000xf32>, %i: tensor<100x1xi64>, %u: tensor<100x10000xf32>) -> tensor<2x10000xf32> {
  %0 = flame.region "loops"(%x, %i, %u) : (tensor<2x10000xf32>, tensor<100x1xi64>, tensor<100x10000xf32>) -> tensor<2x10000xf32> {
  ^bb0(%a: tensor<2x10000xf32>, %b: tensor<100x1xi64>, %c: tensor<100x10000xf32>):
    %1 = flame.scatter_nd %a, %b, %c {reduction = "add"} : (tensor<2x10000xf32>, tensor<100x1xi64>, tensor<100x10000xf32>) -> tensor<2x10000xf32>
    flame.yield %1 : tensor<2x10000xf32>
  }
  return %0 : tensor<2x10000xf32>
}

// CHECK-LABEL: // loops: scatter_nd
// CHECK: flame::ScatterRows<512, 76, 4>({10000, 1, 100000, 1}).replace(
func.func @elements(%x: tensor<100x100xf32>, %i: tensor<100000x2xi64>, %u: tensor<100000xf32>) -> tensor<100x100xf32> {
  %0 = flame.region "loops"(%x, %i, %u) : (tensor<100x100xf32>, tensor<100000x2xi64>, tensor<100000xf32>) -> tensor<100x100xf32> {
  ^bb0(%a: tensor<100x100xf32>, %b: tensor<100000x2xi64>, %c: tensor<100000xf32>):
    %1 = flame.scatter_nd %a, %b, %c : (tensor<100x100xf32>, tensor<100000x2xi64>, tensor<100000xf32>) -> tensor<100x100xf32>
    flame.yield %1 : tensor<100x100xf32>
  }
  return %0 : tensor<100x100xf32>
}
