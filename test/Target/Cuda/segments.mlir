// RUN: flame-opt %s --flame-form-regions="attention siblings" --flame-absorb-segments | FileCheck %s
// RUN: flame-opt %s --flame-form-regions="attention siblings" --flame-absorb-segments --flame-emit-cuda=wgmma | FileCheck %s --check-prefix=CUDA

// The projection of x has 6 heads: two of queries, which are normed and turned (neighbours come to lie half a head apart), two of
// keys, turned as halves, and two of values. One kernel computes them all, attention reads them out of its result.

// CHECK-LABEL: @projection
// CHECK: %[[H:.*]] = flame.region "contract"({{.*}} -> tensor<8192x6x64xbf16>
// CHECK: flame.matmul
// CHECK: flame.add
// CHECK: flame.reshape
// CHECK: flame.reduce
// CHECK: flame.concat {{.*}} {axis = 2
// CHECK: flame.concat {{.*}} {axis = 1 : i64} : (tensor<8192x2x64xbf16>, tensor<8192x2x64xbf16>, tensor<8192x2x64xbf16>)
// CHECK: flame.region "attention"(%[[H]]

// CUDA: fold0 = {{.*}}outer{{.*}}inner{{.*}}segment{{.*}}pair
// CUDA: finish0 = {{.*}}sum
// CUDA: sqrtf
// CUDA: wgmmaGemm
// CUDA: segmentStore<64, unsigned short, {{.*}}>(map2
// CUDA: segmentPart<flame::Pairing::Neighbours, flame::Pairing::Halves, 128>(fold0, finish0, first0, second0)
// CUDA: segmentPart<flame::Pairing::Halves, flame::Pairing::Halves, 256>(first1, second1)
// CUDA: SamePart<384>()
func.func @projection(%x: tensor<8192x128xbf16>, %w: tensor<384x128xbf16>, %b: tensor<384xbf16>, %g: tensor<64xf32>, %c: tensor<8192x1x32xf32>, %s: tensor<8192x1x32xf32>) -> tensor<2x8192x64xbf16> {
  %heads = flame.constant {value = dense<[8192, 6, 64]> : tensor<3xi64>} : () -> tensor<3xi64>
  %two = flame.constant {value = dense<[8192, 2, 64]> : tensor<3xi64>} : () -> tensor<3xi64>
  %half = flame.constant {value = dense<[8192, 2, 32]> : tensor<3xi64>} : () -> tensor<3xi64>
  %zero = flame.constant {value = dense<0> : tensor<3xi64>} : () -> tensor<3xi64>
  %one = flame.constant {value = dense<1> : tensor<3xi64>} : () -> tensor<3xi64>
  %toK = flame.constant {value = dense<[0, 2, 0]> : tensor<3xi64>} : () -> tensor<3xi64>
  %toV = flame.constant {value = dense<[0, 4, 0]> : tensor<3xi64>} : () -> tensor<3xi64>
  %odd = flame.constant {value = dense<[0, 0, 1]> : tensor<3xi64>} : () -> tensor<3xi64>
  %further = flame.constant {value = dense<[0, 0, 32]> : tensor<3xi64>} : () -> tensor<3xi64>
  %twos = flame.constant {value = dense<[1, 1, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %epsilon = flame.constant {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<8192x128xbf16>, tensor<384x128xbf16>) -> tensor<8192x384xbf16>
  %pb = flame.add %p, %b : (tensor<8192x384xbf16>, tensor<384xbf16>) -> tensor<8192x384xbf16>
  %h = flame.reshape %pb, %heads : (tensor<8192x384xbf16>, tensor<3xi64>) -> tensor<8192x6x64xbf16>
  %q0 = flame.slice %h, %zero, %two, %one : (tensor<8192x6x64xbf16>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x64xbf16>
  %qf = flame.cast %q0 {to = f32} : (tensor<8192x2x64xbf16>) -> tensor<8192x2x64xf32>
  %qq = flame.mul %qf, %qf : (tensor<8192x2x64xf32>, tensor<8192x2x64xf32>) -> tensor<8192x2x64xf32>
  %qm = flame.reduce %qq {axes = array<i64: 2>, kind = "mean"} : (tensor<8192x2x64xf32>) -> tensor<8192x2x1xf32>
  %qe = flame.add %qm, %epsilon : (tensor<8192x2x1xf32>, tensor<f32>) -> tensor<8192x2x1xf32>
  %qs = flame.sqrt %qe : (tensor<8192x2x1xf32>) -> tensor<8192x2x1xf32>
  %qr = flame.reciprocal %qs : (tensor<8192x2x1xf32>) -> tensor<8192x2x1xf32>
  %qn = flame.mul %qf, %qr : (tensor<8192x2x64xf32>, tensor<8192x2x1xf32>) -> tensor<8192x2x64xf32>
  %qg = flame.mul %qn, %g : (tensor<8192x2x64xf32>, tensor<64xf32>) -> tensor<8192x2x64xf32>
  %qa = flame.slice %qg, %zero, %half, %twos : (tensor<8192x2x64xf32>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x32xf32>
  %qb = flame.slice %qg, %odd, %half, %twos : (tensor<8192x2x64xf32>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x32xf32>
  %q1 = flame.mul %qa, %c : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %q2 = flame.mul %qb, %s : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %q3 = flame.sub %q1, %q2 : (tensor<8192x2x32xf32>, tensor<8192x2x32xf32>) -> tensor<8192x2x32xf32>
  %q4 = flame.mul %qa, %s : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %q5 = flame.mul %qb, %c : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %q6 = flame.add %q4, %q5 : (tensor<8192x2x32xf32>, tensor<8192x2x32xf32>) -> tensor<8192x2x32xf32>
  %qt = flame.concat %q3, %q6 {axis = 2 : i64} : (tensor<8192x2x32xf32>, tensor<8192x2x32xf32>) -> tensor<8192x2x64xf32>
  %q = flame.cast %qt {to = bf16} : (tensor<8192x2x64xf32>) -> tensor<8192x2x64xbf16>
  %k0 = flame.slice %h, %toK, %two, %one : (tensor<8192x6x64xbf16>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x64xbf16>
  %kf = flame.cast %k0 {to = f32} : (tensor<8192x2x64xbf16>) -> tensor<8192x2x64xf32>
  %ka = flame.slice %kf, %zero, %half, %one : (tensor<8192x2x64xf32>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x32xf32>
  %kb = flame.slice %kf, %further, %half, %one : (tensor<8192x2x64xf32>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x32xf32>
  %k1 = flame.mul %ka, %c : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %k2 = flame.mul %kb, %s : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %k3 = flame.sub %k1, %k2 : (tensor<8192x2x32xf32>, tensor<8192x2x32xf32>) -> tensor<8192x2x32xf32>
  %k4 = flame.mul %ka, %s : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %k5 = flame.mul %kb, %c : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %k6 = flame.add %k4, %k5 : (tensor<8192x2x32xf32>, tensor<8192x2x32xf32>) -> tensor<8192x2x32xf32>
  %kt = flame.concat %k3, %k6 {axis = 2 : i64} : (tensor<8192x2x32xf32>, tensor<8192x2x32xf32>) -> tensor<8192x2x64xf32>
  %k = flame.cast %kt {to = bf16} : (tensor<8192x2x64xf32>) -> tensor<8192x2x64xbf16>
  %v = flame.slice %h, %toV, %two, %one : (tensor<8192x6x64xbf16>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x64xbf16>
  %qp = flame.transpose %q {perm = array<i64: 1, 0, 2>} : (tensor<8192x2x64xbf16>) -> tensor<2x8192x64xbf16>
  %kp = flame.transpose %k {perm = array<i64: 1, 0, 2>} : (tensor<8192x2x64xbf16>) -> tensor<2x8192x64xbf16>
  %vp = flame.transpose %v {perm = array<i64: 1, 0, 2>} : (tensor<8192x2x64xbf16>) -> tensor<2x8192x64xbf16>
  %z = flame.matmul %qp, %kp {transpose_y = true, type = f32} : (tensor<2x8192x64xbf16>, tensor<2x8192x64xbf16>) -> tensor<2x8192x8192xf32>
  %m = flame.reduce %z {axes = array<i64: 2>, kind = "max"} : (tensor<2x8192x8192xf32>) -> tensor<2x8192x1xf32>
  %zm = flame.sub %z, %m : (tensor<2x8192x8192xf32>, tensor<2x8192x1xf32>) -> tensor<2x8192x8192xf32>
  %e = flame.exp %zm : (tensor<2x8192x8192xf32>) -> tensor<2x8192x8192xf32>
  %t = flame.reduce %e {axes = array<i64: 2>, kind = "sum"} : (tensor<2x8192x8192xf32>) -> tensor<2x8192x1xf32>
  %tr = flame.reciprocal %t : (tensor<2x8192x1xf32>) -> tensor<2x8192x1xf32>
  %a = flame.mul %e, %tr : (tensor<2x8192x8192xf32>, tensor<2x8192x1xf32>) -> tensor<2x8192x8192xf32>
  %ab = flame.cast %a {to = bf16} : (tensor<2x8192x8192xf32>) -> tensor<2x8192x8192xbf16>
  %o = flame.matmul %ab, %vp : (tensor<2x8192x8192xbf16>, tensor<2x8192x64xbf16>) -> tensor<2x8192x64xbf16>
  return %o : tensor<2x8192x64xbf16>
}

// Queries of which the first head is subtracted from all need more than their own segment: they keep their kernel.

// CHECK-LABEL: @of_another_segment
// CHECK: flame.region "contract"
// CHECK-NOT: flame.reduce
// CHECK: flame.yield
// CHECK: flame.reduce
// CHECK: flame.region "attention"
func.func @of_another_segment(%x: tensor<8192x128xbf16>, %w: tensor<384x128xbf16>, %b: tensor<384xbf16>, %g: tensor<64xf32>, %c: tensor<8192x1x32xf32>, %s: tensor<8192x1x32xf32>) -> tensor<2x8192x64xbf16> {
  %heads = flame.constant {value = dense<[8192, 6, 64]> : tensor<3xi64>} : () -> tensor<3xi64>
  %two = flame.constant {value = dense<[8192, 2, 64]> : tensor<3xi64>} : () -> tensor<3xi64>
  %half = flame.constant {value = dense<[8192, 2, 32]> : tensor<3xi64>} : () -> tensor<3xi64>
  %zero = flame.constant {value = dense<0> : tensor<3xi64>} : () -> tensor<3xi64>
  %one = flame.constant {value = dense<1> : tensor<3xi64>} : () -> tensor<3xi64>
  %toK = flame.constant {value = dense<[0, 2, 0]> : tensor<3xi64>} : () -> tensor<3xi64>
  %toV = flame.constant {value = dense<[0, 4, 0]> : tensor<3xi64>} : () -> tensor<3xi64>
  %odd = flame.constant {value = dense<[0, 0, 1]> : tensor<3xi64>} : () -> tensor<3xi64>
  %further = flame.constant {value = dense<[0, 0, 32]> : tensor<3xi64>} : () -> tensor<3xi64>
  %twos = flame.constant {value = dense<[1, 1, 2]> : tensor<3xi64>} : () -> tensor<3xi64>
  %epsilon = flame.constant {value = dense<1.0e-6> : tensor<f32>} : () -> tensor<f32>
  %p = flame.matmul %x, %w {transpose_y = true} : (tensor<8192x128xbf16>, tensor<384x128xbf16>) -> tensor<8192x384xbf16>
  %pb = flame.add %p, %b : (tensor<8192x384xbf16>, tensor<384xbf16>) -> tensor<8192x384xbf16>
  %h = flame.reshape %pb, %heads : (tensor<8192x384xbf16>, tensor<3xi64>) -> tensor<8192x6x64xbf16>
  %q0 = flame.slice %h, %zero, %two, %one : (tensor<8192x6x64xbf16>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x64xbf16>
  %qf = flame.cast %q0 {to = f32} : (tensor<8192x2x64xbf16>) -> tensor<8192x2x64xf32>
  %qq = flame.mul %qf, %qf : (tensor<8192x2x64xf32>, tensor<8192x2x64xf32>) -> tensor<8192x2x64xf32>
  %qm = flame.reduce %qq {axes = array<i64: 2>, kind = "mean"} : (tensor<8192x2x64xf32>) -> tensor<8192x2x1xf32>
  %qe = flame.add %qm, %epsilon : (tensor<8192x2x1xf32>, tensor<f32>) -> tensor<8192x2x1xf32>
  %qs = flame.sqrt %qe : (tensor<8192x2x1xf32>) -> tensor<8192x2x1xf32>
  %qr = flame.reciprocal %qs : (tensor<8192x2x1xf32>) -> tensor<8192x2x1xf32>
  %qn = flame.mul %qf, %qr : (tensor<8192x2x64xf32>, tensor<8192x2x1xf32>) -> tensor<8192x2x64xf32>
  %qg = flame.mul %qn, %g : (tensor<8192x2x64xf32>, tensor<64xf32>) -> tensor<8192x2x64xf32>
  %qa = flame.slice %qg, %zero, %half, %twos : (tensor<8192x2x64xf32>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x32xf32>
  %qb = flame.slice %qg, %odd, %half, %twos : (tensor<8192x2x64xf32>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x32xf32>
  %q1 = flame.mul %qa, %c : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %q2 = flame.mul %qb, %s : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %q3 = flame.sub %q1, %q2 : (tensor<8192x2x32xf32>, tensor<8192x2x32xf32>) -> tensor<8192x2x32xf32>
  %q4 = flame.mul %qa, %s : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %q5 = flame.mul %qb, %c : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %q6 = flame.add %q4, %q5 : (tensor<8192x2x32xf32>, tensor<8192x2x32xf32>) -> tensor<8192x2x32xf32>
  %qt = flame.concat %q3, %q6 {axis = 2 : i64} : (tensor<8192x2x32xf32>, tensor<8192x2x32xf32>) -> tensor<8192x2x64xf32>
  %firstHead = flame.constant {value = dense<[8192, 1, 64]> : tensor<3xi64>} : () -> tensor<3xi64>
  %q7 = flame.slice %qt, %zero, %firstHead, %one : (tensor<8192x2x64xf32>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x1x64xf32>
  %q8 = flame.sub %qt, %q7 : (tensor<8192x2x64xf32>, tensor<8192x1x64xf32>) -> tensor<8192x2x64xf32>
  %q = flame.cast %q8 {to = bf16} : (tensor<8192x2x64xf32>) -> tensor<8192x2x64xbf16>
  %k0 = flame.slice %h, %toK, %two, %one : (tensor<8192x6x64xbf16>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x64xbf16>
  %kf = flame.cast %k0 {to = f32} : (tensor<8192x2x64xbf16>) -> tensor<8192x2x64xf32>
  %ka = flame.slice %kf, %zero, %half, %one : (tensor<8192x2x64xf32>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x32xf32>
  %kb = flame.slice %kf, %further, %half, %one : (tensor<8192x2x64xf32>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x32xf32>
  %k1 = flame.mul %ka, %c : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %k2 = flame.mul %kb, %s : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %k3 = flame.sub %k1, %k2 : (tensor<8192x2x32xf32>, tensor<8192x2x32xf32>) -> tensor<8192x2x32xf32>
  %k4 = flame.mul %ka, %s : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %k5 = flame.mul %kb, %c : (tensor<8192x2x32xf32>, tensor<8192x1x32xf32>) -> tensor<8192x2x32xf32>
  %k6 = flame.add %k4, %k5 : (tensor<8192x2x32xf32>, tensor<8192x2x32xf32>) -> tensor<8192x2x32xf32>
  %kt = flame.concat %k3, %k6 {axis = 2 : i64} : (tensor<8192x2x32xf32>, tensor<8192x2x32xf32>) -> tensor<8192x2x64xf32>
  %k = flame.cast %kt {to = bf16} : (tensor<8192x2x64xf32>) -> tensor<8192x2x64xbf16>
  %v = flame.slice %h, %toV, %two, %one : (tensor<8192x6x64xbf16>, tensor<3xi64>, tensor<3xi64>, tensor<3xi64>) -> tensor<8192x2x64xbf16>
  %qp = flame.transpose %q {perm = array<i64: 1, 0, 2>} : (tensor<8192x2x64xbf16>) -> tensor<2x8192x64xbf16>
  %kp = flame.transpose %k {perm = array<i64: 1, 0, 2>} : (tensor<8192x2x64xbf16>) -> tensor<2x8192x64xbf16>
  %vp = flame.transpose %v {perm = array<i64: 1, 0, 2>} : (tensor<8192x2x64xbf16>) -> tensor<2x8192x64xbf16>
  %z = flame.matmul %qp, %kp {transpose_y = true, type = f32} : (tensor<2x8192x64xbf16>, tensor<2x8192x64xbf16>) -> tensor<2x8192x8192xf32>
  %m = flame.reduce %z {axes = array<i64: 2>, kind = "max"} : (tensor<2x8192x8192xf32>) -> tensor<2x8192x1xf32>
  %zm = flame.sub %z, %m : (tensor<2x8192x8192xf32>, tensor<2x8192x1xf32>) -> tensor<2x8192x8192xf32>
  %e = flame.exp %zm : (tensor<2x8192x8192xf32>) -> tensor<2x8192x8192xf32>
  %t = flame.reduce %e {axes = array<i64: 2>, kind = "sum"} : (tensor<2x8192x8192xf32>) -> tensor<2x8192x1xf32>
  %tr = flame.reciprocal %t : (tensor<2x8192x1xf32>) -> tensor<2x8192x1xf32>
  %a = flame.mul %e, %tr : (tensor<2x8192x8192xf32>, tensor<2x8192x1xf32>) -> tensor<2x8192x8192xf32>
  %ab = flame.cast %a {to = bf16} : (tensor<2x8192x8192xf32>) -> tensor<2x8192x8192xbf16>
  %o = flame.matmul %ab, %vp : (tensor<2x8192x8192xbf16>, tensor<2x8192x64xbf16>) -> tensor<2x8192x64xbf16>
  return %o : tensor<2x8192x64xbf16>
}
