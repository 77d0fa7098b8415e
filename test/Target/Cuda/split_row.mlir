// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s

// Rows that no block can hold are shared by blocks that run at the same time: each holds a piece in shared memory, where
// all reductions and the results find it. Two reductions that depend on each other in this way take one exchange.
// CHECK-LABEL: // row: reduce sub exp reduce div
// CHECK: __launch_bounds__(512, 2)
// CHECK-NEXT: row_0({{.*}}, unsigned int *__restrict__ state) {
// CHECK: float *const [[PIECE:shared[0-9]+]] = reinterpret_cast<float *>(flame::dynamicShared() + 0);
// CHECK: gridDim.x
// CHECK: flame::Team team(state,
// CHECK: flame::copyAsync<16>(flame::sharedAddress([[PIECE]] +
// CHECK: flame::waitCopies<0>();
// CHECK-NEXT: if (
// CHECK-NEXT: team.come();
// CHECK: flame_load<4>([[PIECE]] +
// What is beyond shared memory is read again.
// CHECK: flame_load<4>(in0 +
// CHECK: team.publish({{.+}}, {{.+}});
// CHECK-NEXT: team.collect({{shared[0-9]+}}, {{shared[0-9]+}});
// CHECK-NOT: team.publish
// CHECK: flame_load<4>([[PIECE]] +
// CHECK: flame_store<4>(out0 +
// The next row takes the place of what is done with.
// CHECK: flame::copyAsync<16>(flame::sharedAddress([[PIECE]] +
// CHECK: team.leave(
func.func @softmax(%x: tensor<4x1000000xf32>) -> tensor<4x1000000xf32> {
  %0 = flame.region "row"(%x) : (tensor<4x1000000xf32>) -> tensor<4x1000000xf32> {
  ^bb0(%a: tensor<4x1000000xf32>):
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "max"} : (tensor<4x1000000xf32>) -> tensor<4x1xf32>
    %2 = flame.sub %a, %1 : (tensor<4x1000000xf32>, tensor<4x1xf32>) -> tensor<4x1000000xf32>
    %3 = flame.exp %2 : (tensor<4x1000000xf32>) -> tensor<4x1000000xf32>
    %4 = flame.reduce %3 {axes = array<i64: 1>, kind = "sum"} : (tensor<4x1000000xf32>) -> tensor<4x1xf32>
    %5 = flame.div %3, %4 : (tensor<4x1000000xf32>, tensor<4x1xf32>) -> tensor<4x1000000xf32>
    flame.yield %5 : tensor<4x1000000xf32>
  }
  return %0 : tensor<4x1000000xf32>
}

// 16 bytes at a time of narrower elements.
// CHECK-LABEL: // row: reduce sub
// CHECK: row_1(
// CHECK: unsigned short *const [[PIECE:shared[0-9]+]]
// CHECK: flame::waitCopies<0>();
// CHECK: flame_load<8>([[PIECE]] +
// CHECK: team.publish({{v[0-9]+}});
// CHECK-NEXT: team.collect({{shared[0-9]+}});
// CHECK: flame_store<8>(out0 +
// CHECK: flame::copyAsync<16>(flame::sharedAddress([[PIECE]] +
// CHECK: flame::commitCopies();
func.func @many(%x: tensor<400x131072xbf16>) -> tensor<400x131072xbf16> {
  %0 = flame.region "row"(%x) : (tensor<400x131072xbf16>) -> tensor<400x131072xbf16> {
  ^bb0(%a: tensor<400x131072xbf16>):
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "max"} : (tensor<400x131072xbf16>) -> tensor<400x1xbf16>
    %2 = flame.sub %a, %1 : (tensor<400x131072xbf16>, tensor<400x1xbf16>) -> tensor<400x131072xbf16>
    flame.yield %2 : tensor<400x131072xbf16>
  }
  return %0 : tensor<400x131072xbf16>
}

// A block's squares are of differences from its own mean; the team adds what the means differ by. Two-byte elements that
// do not come in groups of four bytes are not copied asynchronously: every pass reads memory.
// CHECK-LABEL: // row: reduce sub mul reduce
// CHECK: row_2(
// CHECK-NOT: dynamicShared
// CHECK: team.publish({{.+}}, {{.+}});
// CHECK: team.collect([[MEANS:shared[0-9]+]], [[SQUARES:shared[0-9]+]]);
// CHECK: [[MEANS]][
// CHECK: [[SQUARES]][
// One number a row, from one block.
// CHECK: out0[
func.func @variance(%x: tensor<2x131101xf16>) -> tensor<2x1xf16> {
  %0 = flame.region "row"(%x) : (tensor<2x131101xf16>) -> tensor<2x1xf16> {
  ^bb0(%a: tensor<2x131101xf16>):
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "mean"} : (tensor<2x131101xf16>) -> tensor<2x1xf16>
    %2 = flame.sub %a, %1 : (tensor<2x131101xf16>, tensor<2x1xf16>) -> tensor<2x131101xf16>
    %3 = flame.mul %2, %2 : (tensor<2x131101xf16>, tensor<2x131101xf16>) -> tensor<2x131101xf16>
    %4 = flame.reduce %3 {axes = array<i64: 1>, kind = "mean"} : (tensor<2x131101xf16>) -> tensor<2x1xf16>
    flame.yield %4 : tensor<2x1xf16>
  }
  return %0 : tensor<2x1xf16>
}

// Teams whose blocks have pieces of one size in whole turns of the threads: their number, and that of each loop, is known.
// CHECK-LABEL: // row: reduce sub mul reduce
// CHECK: row_3(
// CHECK: const int [[ROW:n[0-9]+]] = n{{[0-9]+}} / 4;
// CHECK: flame::Team team(state, ([[ROW]] * 4), 4);
// CHECK: for (int [[TURN:i[0-9]+]] = 0; [[TURN]] < 10; ++[[TURN]]) {
// CHECK: flame::copyAsync<16>(
// CHECK: team.come();
// CHECK: #pragma unroll 10
// CHECK-NEXT: for (int [[TURN:i[0-9]+]] = 0; [[TURN]] < 10; ++[[TURN]]) {
// One warp tells what all have counted.
// CHECK: team.publish({{.+}}, {{.+}});
// CHECK-NEXT: }
// CHECK-NEXT: team.collect(
// The next row's pieces are on their way only where there is a next row.
// CHECK: #pragma unroll 2
// CHECK: flame_store<8>(out0 +
// CHECK: flame::copyAsync<16>(
// CHECK: #pragma unroll 2
// CHECK-NOT: copyAsync
// CHECK: flame_store<8>(out0 +
// CHECK: team.leave((int)(64));
func.func @even(%x: tensor<64x163840xbf16>) -> tensor<64x163840xbf16> {
  %0 = flame.region "row"(%x) : (tensor<64x163840xbf16>) -> tensor<64x163840xbf16> {
  ^bb0(%a: tensor<64x163840xbf16>):
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "mean"} : (tensor<64x163840xbf16>) -> tensor<64x1xbf16>
    %2 = flame.sub %a, %1 : (tensor<64x163840xbf16>, tensor<64x1xbf16>) -> tensor<64x163840xbf16>
    %3 = flame.mul %2, %2 : (tensor<64x163840xbf16>, tensor<64x163840xbf16>) -> tensor<64x163840xbf16>
    %4 = flame.reduce %3 {axes = array<i64: 1>, kind = "mean"} : (tensor<64x163840xbf16>) -> tensor<64x1xbf16>
    %5 = flame.mul %2, %4 : (tensor<64x163840xbf16>, tensor<64x1xbf16>) -> tensor<64x163840xbf16>
    flame.yield %5 : tensor<64x163840xbf16>
  }
  return %0 : tensor<64x163840xbf16>
}

// Rows that one block does sooner than blocks can talk.
// CHECK-LABEL: // row: reduce sub
// CHECK: row_4(
// CHECK-NOT: Team
func.func @short(%x: tensor<4x16384xf32>) -> tensor<4x16384xf32> {
  %0 = flame.region "row"(%x) : (tensor<4x16384xf32>) -> tensor<4x16384xf32> {
  ^bb0(%a: tensor<4x16384xf32>):
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "max"} : (tensor<4x16384xf32>) -> tensor<4x1xf32>
    %2 = flame.sub %a, %1 : (tensor<4x16384xf32>, tensor<4x1xf32>) -> tensor<4x16384xf32>
    flame.yield %2 : tensor<4x16384xf32>
  }
  return %0 : tensor<4x16384xf32>
}

// Many long rows stream through the grid in chunks: warps that count, join, fetch and store, each with a loop over the
// block's chunks. A chunk is read once: each thread counts differences from the mean of its first group and their squares. Those
// that join set all right.
// CHECK-LABEL: // row: reduce sub mul reduce mul
// CHECK: __launch_bounds__(832, 1)
// CHECK-NEXT: row_5({{.*}}, unsigned int *__restrict__ state) {
// CHECK: unsigned short *const [[CHUNKS:shared[0-9]+]] = reinterpret_cast<unsigned short *>(flame::dynamicShared() + 0);
// CHECK: const flame::RowPipeline<7, 3> pipeline(state, {{.*}}(int)(129), (int)(2064));
// CHECK: pipeline.firstItem();
// CHECK: pipeline.blocks();
// CHECK: pipeline.awaitFetched(
// CHECK: pipeline.stageOf(
// CHECK: flame_load<8>([[CHUNKS]] +
// CHECK: flame_load<8>([[CHUNKS]] +
// The numbers of warps are joined behind one barrier.
// CHECK: pipeline.endCounting(
// CHECK: pipeline.syncCounting();
// CHECK-NOT: {{flame_load|syncCounting}}
// CHECK: pipeline.publish({{.+}}, {{.+}}, {{.+}});
// CHECK-NOT: syncCounting
// CHECK: pipeline.collect({{.+}}, [[MEANS:shared[0-9]+]], [[SQUARES:shared[0-9]+]]);
// One warp joins what has been counted of the chunks, in one pass: of differences from the mean of the thread's first one.
// CHECK: const float [[SHIFT:v[0-9]+]] = [[MEANS]][flame_min(
// CHECK: const float [[MEAN:v[0-9]+]] = [[MEANS]][
// CHECK: [[MEAN]] - [[SHIFT]];
// CHECK: [[SQUARES]][
// CHECK-NOT: {{syncJoining|\[i[0-9]+\]}}
// CHECK: pipeline.handOver({{.+}}, {{.+}}, {{.+}});
// CHECK: pipeline.prefetch(in0 + {{.+}}, {{.+}});
// CHECK-NEXT: pipeline.beginFetch(
// CHECK: pipeline.fetch({{.+}}, [[CHUNKS]] + {{.+}}, in0 + {{.+}}, {{.+}});
// CHECK: pipeline.endFetch(
// CHECK: pipeline.awaitJoined(
// CHECK: pipeline.number<float>({{.+}}, 0);
// CHECK: flame_load<8>([[CHUNKS]] +
// CHECK: flame_store<8>(out0 +
// Where the grid's memory holds no row, it is read again.
// CHECK: flame_load<8>(in0 +
// CHECK: flame_store<8>(out0 +
// CHECK: pipeline.endStoring(
// CHECK: pipeline.leave();
func.func @long(%x: tensor<16x2097160xbf16>) -> tensor<16x2097160xbf16> {
  %0 = flame.region "row"(%x) : (tensor<16x2097160xbf16>) -> tensor<16x2097160xbf16> {
  ^bb0(%a: tensor<16x2097160xbf16>):
    %1 = flame.reduce %a {axes = array<i64: 1>, kind = "mean"} : (tensor<16x2097160xbf16>) -> tensor<16x1xbf16>
    %2 = flame.sub %a, %1 : (tensor<16x2097160xbf16>, tensor<16x1xbf16>) -> tensor<16x2097160xbf16>
    %3 = flame.mul %2, %2 : (tensor<16x2097160xbf16>, tensor<16x2097160xbf16>) -> tensor<16x2097160xbf16>
    %4 = flame.reduce %3 {axes = array<i64: 1>, kind = "mean"} : (tensor<16x2097160xbf16>) -> tensor<16x1xbf16>
    %5 = flame.mul %2, %4 : (tensor<16x2097160xbf16>, tensor<16x1xbf16>) -> tensor<16x2097160xbf16>
    flame.yield %5 : tensor<16x2097160xbf16>
  }
  return %0 : tensor<16x2097160xbf16>
}
