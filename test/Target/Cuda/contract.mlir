// RUN: flame-opt %s --flame-emit-cuda | FileCheck %s
// A tile of 64×64 a block, with what comes before the product on the way into shared memory and what comes after it on the
// way out.

// CHECK-LABEL: // contract: relu matmul add
// CHECK: contract_0(
// CHECK: __shared__ float [[X:shared[0-9]+]][1040];
// CHECK: __shared__ float [[Y:shared[0-9]+]][1040];
// CHECK: flame_maximum({{.*}}, 0.0f)
// CHECK: [[X]][
// CHECK: [[Y]][
// CHECK: __syncthreads();
// CHECK: for (long long {{i[0-9]+}} = 0; {{i[0-9]+}} < 16;
// CHECK: __syncthreads();
// CHECK: in2[
// CHECK: out0[
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
