// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s

// A block scans a line tile by tile.
// CHECK-LABEL: // loops: scan
// CHECK: __launch_bounds__(256)
// CHECK-NEXT: loops_0(
// CHECK-NOT: state
// CHECK: flame_load<4>(in0 +
// CHECK-COUNT-6: __shfl_up_sync
// CHECK: __syncthreads();
// CHECK: flame_store<4>(out0 +
func.func @lines(%x: tensor<4096x8192xf32>) -> tensor<4096x8192xf32> {
  %0 = flame.region "loops"(%x) : (tensor<4096x8192xf32>) -> tensor<4096x8192xf32> {
  ^bb0(%a: tensor<4096x8192xf32>):
    %1 = flame.scan %a {axis = 1 : i64, kind = "sum"} : (tensor<4096x8192xf32>) -> tensor<4096x8192xf32>
    flame.yield %1 : tensor<4096x8192xf32>
  }
  return %0 : tensor<4096x8192xf32>
}

// Few long lines: blocks sum their pieces, tell each other, and begin with what comes before.
// CHECK-LABEL: // loops: scan
// CHECK: loops_1({{.*}}, unsigned int *__restrict__ state) {
// CHECK: __shfl_xor_sync
// CHECK: team.publish({{.+}});
// CHECK-NEXT: team.collect({{shared[0-9]+}});
// CHECK: __shfl_up_sync
func.func @long(%x: tensor<2x1048576xi16>) -> tensor<2x1048576xi16> {
  %0 = flame.region "loops"(%x) : (tensor<2x1048576xi16>) -> tensor<2x1048576xi16> {
  ^bb0(%a: tensor<2x1048576xi16>):
    %1 = flame.scan %a {axis = 1 : i64, kind = "sum", exclusive = true, reverse = true} : (tensor<2x1048576xi16>) -> tensor<2x1048576xi16>
    flame.yield %1 : tensor<2x1048576xi16>
  }
  return %0 : tensor<2x1048576xi16>
}

// Along another dim: neighbouring threads have neighbouring lines.
// CHECK-LABEL: // loops: scan
// CHECK: loops_2(
// CHECK-NOT: __shfl
func.func @columns(%x: tensor<50x3000xf32>) -> tensor<50x3000xf32> {
  %0 = flame.region "loops"(%x) : (tensor<50x3000xf32>) -> tensor<50x3000xf32> {
  ^bb0(%a: tensor<50x3000xf32>):
    %1 = flame.scan %a {axis = 0 : i64, kind = "sum"} : (tensor<50x3000xf32>) -> tensor<50x3000xf32>
    flame.yield %1 : tensor<50x3000xf32>
  }
  return %0 : tensor<50x3000xf32>
}
