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

// Longer columns: threads of a block share them, each some rows.
// CHECK-LABEL: // loops: scan
// CHECK: __launch_bounds__(1024)
// CHECK-NEXT: loops_3(
// CHECK-NOT: state
// CHECK: float shared0[1024];
// CHECK: for ({{.*}} < 8192; {{.*}} += 256) {
// CHECK-COUNT-8: = in0[
// CHECK: __syncthreads();
// CHECK-NEXT: shared0[
// CHECK-NEXT: __syncthreads();
// CHECK-COUNT-8: out0[
func.func @long_columns(%x: tensor<8192x4096xbf16>) -> tensor<8192x4096xbf16> {
  %0 = flame.region "loops"(%x) : (tensor<8192x4096xbf16>) -> tensor<8192x4096xbf16> {
  ^bb0(%a: tensor<8192x4096xbf16>):
    %1 = flame.scan %a {axis = 0 : i64, kind = "sum"} : (tensor<8192x4096xbf16>) -> tensor<8192x4096xbf16>
    flame.yield %1 : tensor<8192x4096xbf16>
  }
  return %0 : tensor<8192x4096xbf16>
}

// Many columns: a thread has neighbouring ones.
// CHECK-LABEL: // loops: scan
// CHECK: __launch_bounds__(256)
// CHECK-COUNT-8: flame_load<4>(in0 +
// CHECK-COUNT-8: flame_store<4>(out0 +
func.func @many_columns(%x: tensor<2x1000x65536xf32>) -> tensor<2x1000x65536xf32> {
  %0 = flame.region "loops"(%x) : (tensor<2x1000x65536xf32>) -> tensor<2x1000x65536xf32> {
  ^bb0(%a: tensor<2x1000x65536xf32>):
    %1 = flame.scan %a {axis = 1 : i64, kind = "sum", reverse = true} : (tensor<2x1000x65536xf32>) -> tensor<2x1000x65536xf32>
    flame.yield %1 : tensor<2x1000x65536xf32>
  }
  return %0 : tensor<2x1000x65536xf32>
}

// Few long columns: teams of blocks, the sums of their columns in scratch memory.
// CHECK-LABEL: // loops: scan
// CHECK: loops_5({{.*}} scratch, unsigned int *__restrict__ state) {
// CHECK: scratch[{{.*}}] =
// CHECK: flame::fenceDevice();
// CHECK-NEXT: __syncthreads();
// CHECK-NEXT: team.publish(0u);
// CHECK-NEXT: team.collect({{shared[0-9]+}});
// CHECK-NEXT: flame::fenceDevice();
// CHECK: = scratch[
// CHECK: out0[
// CHECK: team.leave(
func.func @few_columns(%x: tensor<1000000x16xi64>) -> tensor<1000000x16xi64> {
  %0 = flame.region "loops"(%x) : (tensor<1000000x16xi64>) -> tensor<1000000x16xi64> {
  ^bb0(%a: tensor<1000000x16xi64>):
    %1 = flame.scan %a {axis = 0 : i64, kind = "sum", exclusive = true} : (tensor<1000000x16xi64>) -> tensor<1000000x16xi64>
    flame.yield %1 : tensor<1000000x16xi64>
  }
  return %0 : tensor<1000000x16xi64>
}
