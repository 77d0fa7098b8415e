#!/usr/bin/env python3
"""Whole models of sm_90a on an emulated GPU: wgmma, the copy engine's tensor maps, clusters.

FakeNvrtc.cpp of the unit tests compiles the kernels for the CPU, the fake driver runs them with the tensor maps that the
runtime asks it for. Sizes are small, since the emulation is slow, and numbers are whole and small, so that sums are exact.
Where the compiler would take mma.sync for so little, the images are a symbolic number that is typically larger.
"""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import unittest

import numpy as np
import onnx
from support import BIN, FlameTest, main, reference

LIBRARIES = BIN.parent / "lib"
GPU_SUITE = pathlib.Path(__file__).resolve().parents[1] / "gpu"
NVRTC, DRIVER = LIBRARIES / "libflame_fake_nvrtc.so", LIBRARIES / "libflame_fake_cuda.so"
IMAGES = 2
ONE, NEGATIVE = 0x3C00, 0xBC00  # 1 and -1 as ONNX's text form has them in f16
SCHEDULE = {"rows": 64, "columns": 64, "depth": 64, "stages": 3, "consumers": 1, "pingPong": False, "clusterRows": 1,
            "clusterColumns": 1, "band": 8, "slabs": 1, "splits": 1}  # fmt: skip


@unittest.skipUnless(NVRTC.exists() and DRIVER.exists(), "the unit tests' libraries are not built")
class Emulated(FlameTest):
    def setUp(self):
        super().setUp()
        emulation = {"FLAME_NVRTC": str(NVRTC), "FLAME_CUDA_DRIVER": str(DRIVER), "FLAME_CACHE_DIR": str(self.scratch / "cache")}
        self.flamec.env |= emulation
        self.flame_run.env |= emulation

    def check(self, graph, kernels, kernels_in_all=None, rtol=0.0, atol=0.0, limit=5, schedules=(), given=None, expected=None, opset=21, **schedule):
        """`graph` in ONNX's text form computes what ONNX Runtime does, or what `expected` makes of the inputs, by kernels whose source has all
        of `kernels`. `schedule`: of products, beside `schedules`. `given`: inputs that are no random numbers."""
        model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["" : {opset}, "flame" : 1]> {graph}')
        path, artifact, table = (self.scratch / name for name in ("model.onnx", "model.flame", "schedule.json"))
        onnx.save(model, path)
        random = np.random.default_rng(0)
        feeds, words = {}, []
        for port in model.graph.input:
            shape = [dim.dim_value or IMAGES for dim in port.type.tensor_type.shape.dim]
            element = onnx.helper.tensor_dtype_to_np_dtype(port.type.tensor_type.elem_type)
            feeds[port.name] = (given or {}).get(port.name, random.integers(1 - limit, limit, shape).astype(element))
            np.save(self.scratch / f"{port.name}.npy", feeds[port.name])
            words += ["-i", f"{port.name}={self.scratch / port.name}.npy"]
        options = ["--target=cuda", "--gpu=sm_90a"]
        if any(dim.dim_param for port in model.graph.input for dim in port.type.tensor_type.shape.dim):
            options.append("--typical=n=256")
        if schedule or schedules:
            products = [{"family": "wgmma", "schedule": SCHEDULE | schedule}] if schedule else []
            table.write_text(json.dumps([*schedules, *products]))
            options.append(f"--schedule={table}")
        source = self.ok(self.flamec("compile", path, *options, "--emit=cuda")).stdout
        source = source[max(source.rfind("} // namespace flame"), 0) :]  # kernels of loops have no templates before them
        for kernel in kernels:
            self.assertTrue(kernel in source, f"no {kernel} in the kernels")
        if kernels_in_all:
            self.assertEqual(source.count("__global__"), kernels_in_all)
        self.ok(self.flamec("compile", path, *options, "-o", artifact))
        done = self.flame_run(artifact, "-q", *words, "-o", self.scratch)
        wanted = expected(feeds) if expected else reference(path, feeds)
        if isinstance(wanted, str):  # an error
            self.assertEqual(done.status, 3)
            self.assertIn(wanted, done.stderr)
            return
        self.ok(done)
        for i, (result, want) in enumerate(zip(model.graph.output, wanted, strict=True)):
            np.testing.assert_allclose(np.load(self.scratch / f"{i}-{result.name}.npy"), want, rtol=rtol, atol=atol)

    PRODUCT = "product (float16[120,200] x, float16[200,136] w, float16[136] b) => (float16[120,136] y) { s = MatMul(x, w) y = Add(s, b) }"

    def test_products_of_clusters_that_share_operands(self):
        self.check(self.PRODUCT, ["WgmmaSchedule{64, 64, 64, 3, 1, false, 2, 1", "FLAME_CLUSTER"], clusterRows=2)

    def test_products_of_clusters_that_share_sums(self):
        self.check(self.PRODUCT, ["wgmmaGemm", "FLAME_CLUSTER"], splits=2)

    GATED = """gated (float16[120,200] x, float16[136,200] w, float16[136,200] v, float16[136] b) => (float16[120,136] y)
               { wt = Transpose<perm = [1,0]>(w) p = MatMul(x, wt) q = Add(p, b) r = Relu(q)
                 vt = Transpose<perm = [1,0]>(v) u = MatMul(x, vt) y = Sub(r, u) }"""

    def test_two_products_at_once(self):
        self.check(self.GATED, ["PairedTensors{map1, map"], kernels_in_all=1, clusterRows=2)

    def test_two_products_of_clusters_that_share_sums(self):
        self.check(self.GATED, ["PairedTensors{map1, map", "FLAME_CLUSTER"], kernels_in_all=1, splits=2)

    def test_product_whose_halves_meet(self):
        weight = ", ".join(str((NEGATIVE, 0, ONE)[i % 7 % 3]) for i in range(200 * 272))
        self.check(
            f"""halves (float16[120,200] x, float16[272] b) => (float16[120,136] y) <float16[200,272] w = {{{weight}}}>
                {{ p = MatMul(x, w) q = Add(p, b) h, g = Split<axis = -1, num_outputs = 2>(q) r = Relu(g) y = Sub(h, r) }}""",
            ["PairedTensors<true>{map1, map"], kernels_in_all=1, columns=128)  # fmt: skip

    def test_products_of_few_rows_by_weights(self):
        """Weights come before the wait for the kernels before, in tiles of 16 rows for any number of them."""
        weights = [", ".join(str((NEGATIVE, 0, ONE, 0)[(i * 7 + i // 64 + k) % 4]) for i in range(136 * 72)) for k in range(2)]
        for rows in (1, 20):
            self.check(
                f"""streams (float16[{rows},72] x) => (float16[{rows},72] y)
                    <float16[136,72] w = {{{weights[0]}}}, float16[72,136] v = {{{weights[1]}}}>
                    {{ wt = Transpose<perm = [1,0]>(w) p = MatMul(x, wt) r = Relu(p) vt = Transpose<perm = [1,0]>(v) y = MatMul(r, vt) }}""",
                ["WgmmaSchedule{16, 32, 128, 3, 1", "flame::TensorOperand<true>{map1, 0}"], kernels_in_all=2, limit=2,
                rows=16, columns=32, depth=128)  # fmt: skip

    def shared(self, graph, kernels, **more):
        """With blocks that share tiles by steps of the inner dim, three of them at a time."""
        self.check(graph, ["flame::TileShares{scratch, state}", *kernels], streamK=True, **{"limit": 2, "columns": 32} | more)

    def test_products_whose_blocks_share_tiles(self):
        """34 tiles of ten steps, of which four are shared; a second product, of ten, finds all flags down."""
        graph = f"""shared (float16[120,600] x, float16[600,520] w, float16[520] b, float16[520,136] v) => (float16[120,520] y, float16[120,136] z)
                    <float16 low = {{0}}, float16 high = {{{ONE}}}> {{ s = MatMul(x, w) y = Add(s, b) r = Clip(y, low, high) z = MatMul(r, v) }}"""
        self.shared(graph, [], kernels_in_all=2)
        self.shared(graph, ["WgmmaSchedule{64, 32, 64, 3, 2, true"], kernels_in_all=2, consumers=2, pingPong=True)

    def test_batches_whose_blocks_share_tiles(self):
        self.shared("batches (float16[n,120,600] x, float16[n,600,72] w) => (float16[n,120,72] y) { y = MatMul(x, w) }", [], columns=64)

    def test_two_products_at_once_whose_blocks_share_tiles(self):
        gated = self.GATED.replace("200", "600")
        self.shared(gated, ["PairedTensors{map1, map"], kernels_in_all=1, columns=64, rows=128, consumers=2)

    def test_groups_of_rows_whose_blocks_share_tiles(self):
        self.shared(self.GROUPS.replace("200", "600"), ["flame::RowGroups<int, int>{"], given={"ends": self.ENDS}, kernels_in_all=1, columns=64,
                    expected=lambda f: [self.by_groups(f["x"], f["w"], f["ends"]) + f["b"]])  # fmt: skip

    def test_convolution_whose_blocks_share_tiles(self):
        weight = ", ".join(str((NEGATIVE, 0, ONE)[i % 3]) for i in range(40 * 40 * 9))
        self.shared(
            f"""convolution (float16[n,40,9,11] x) => (float16[n,9,11,40] y) <float16[40,40,3,3] w = {{{weight}}}>
                {{ s = Conv<pads = [1,1,1,1]>(x, w) r = Relu(s) y = Transpose<perm = [0,2,3,1]>(r) }}""", ["WindowOperand<2>"])  # fmt: skip

    GROUPS = """groups (float16[150,200] x, float16[5,136,200] w, int32[5] ends, float16[136] b) => (float16[150,136] y)
                { p = flame.GroupedMatMul <transpose_y = 1> (x, w, ends) y = Add(p, b) }"""
    GATED_GROUPS = """groups (float16[150,200] x, float16[5,136,200] w, float16[5,136,200] v, int32[5] ends) => (float16[150,136] y)
                      { p = flame.GroupedMatMul <transpose_y = 1> (x, w, ends) r = Relu(p)
                        q = flame.GroupedMatMul <transpose_y = 1> (x, v, ends) y = Sub(r, q) }"""
    ENDS = np.array([70, 70, 71, 140, 143], np.int32)

    @staticmethod
    def by_groups(x, w, ends):
        result, begin = np.zeros((len(x), w.shape[1])), 0
        for matrix, end in zip(w.astype(np.float64), ends):
            result[begin:end] = x[begin:end] @ matrix.T
            begin = end
        return result

    def test_products_of_groups_of_rows(self):
        """By blocks alone, by clusters that share operands or sums, by tiles of few rows."""
        for schedule in ({}, {"clusterRows": 2}, {"clusterColumns": 2}, {"splits": 2}, {"rows": 16, "columns": 128}):
            self.check(self.GROUPS, ["flame::RowGroups<int, int>{", "clippedStore"], given={"ends": self.ENDS}, kernels_in_all=1,
                       expected=lambda f: [self.by_groups(f["x"], f["w"], f["ends"]) + f["b"]], **{"columns": 128} | schedule)  # fmt: skip

    def test_two_products_of_groups_of_rows(self):
        for schedule in ({"columns": 128}, {"columns": 128, "clusterRows": 2}, {"splits": 2}):
            self.check(self.GATED_GROUPS, ["PairedTensors{map1, map"], given={"ends": self.ENDS}, kernels_in_all=1, limit=3,
                       expected=lambda f: [np.maximum(self.by_groups(f["x"], f["w"], f["ends"]), 0) - self.by_groups(f["x"], f["v"], f["ends"])],
                       **schedule)  # fmt: skip

    def test_wrong_ends_of_groups_are_errors(self):
        for ends, text in (
            ([70, 60, 71, 140, 143], "check_ends: end 60 (element 1 of input 0 (i32[5])) is less than the one before, 70"),
            ([70, 70, 71, 140, 151], "check_ends: end 151 (element 4 of input 0 (i32[5])) lies behind the rows, of which there are 150"),
            ([-7, 70, 71, 140, 150], "check_ends: end -7 (element 0 of input 0 (i32[5])) is negative"),
        ):
            self.check(self.GROUPS, [], given={"ends": np.array(ends, np.int32)}, expected=lambda f, text=text: text, columns=128)

    def test_products_with_scales_of_blocks(self):
        """One for each 128 elements of a row of x, and of a column of y or a square of it."""
        for columns in (1, 128):
            self.check(
                f"""scaled (float16[70,256] x, float16[70,2] s, float16[256,256] w, float16[{256 // columns},2] t) => (float[70,256] y)
                    <int64[3] parts = {{70,2,128}}, int64[3] each = {{70,2,1}}, int64[2] rows = {{70,256}}, int64[4] blocks =
                     {{{256 // columns},{columns},2,128}}, int64[4] squares = {{{256 // columns},1,2,1}}, int64[2] whole = {{256,256}}>
                    {{ xq = Cast<to = 17>(x) xf = Cast<to = 1>(xq) xp = Reshape(xf, parts) sf = Cast<to = 1>(s) sp = Reshape(sf, each)
                       xs = Mul(xp, sp) xd = Reshape(xs, rows)
                       wq = Cast<to = 17>(w) wf = Cast<to = 1>(wq) wp = Reshape(wf, blocks) tf = Cast<to = 1>(t) tp = Reshape(tf, squares)
                       ws = Mul(wp, tp) wd = Reshape(ws, whole) wt = Transpose<perm = [1,0]>(wd) y = MatMul(xd, wt) }}""",
                [f"BlockScales<{columns}, int>", "WgmmaSchedule{64, 64, 128, 3, 1"], limit=3, depth=128, promote=True)  # fmt: skip

    def test_convolution(self):
        weight = ", ".join(str((NEGATIVE, 0, ONE)[i % 3]) for i in range(64 * 40 * 9))
        self.check(
            f"""convolution (float16[n,40,9,11] x) => (float16[n,9,6,64] y) <float16[64,40,3,3] w = {{{weight}}}>
                {{ s = Conv<pads = [1,1,1,1], strides = [1,2]>(x, w) r = Relu(s) y = Transpose<perm = [0,2,3,1]>(r) }}""",
            ["WindowOperand<2>"])  # fmt: skip

    def test_convolution_between_transposes(self):
        self.check(
            """convolution (float16[n,9,11,40] x, float16[64,3,3,40] w, float16[64] b, float16[n,9,11,64] r) => (float16[n,9,11,64] y)
               { xt = Transpose<perm = [0,3,1,2]>(x) wt = Transpose<perm = [0,3,1,2]>(w) s = Conv<pads = [1,1,1,1]>(xt, wt)
                 t = Transpose<perm = [0,2,3,1]>(s) u = Add(t, b) y = Add(u, r) }""",
            ["WindowOperand<2>"], kernels_in_all=1, limit=2)  # fmt: skip

    def test_rows_of_two_blocks_each(self):
        """Pieces of one size, whole turns of the threads: their loops are known, and so is what a block joins."""
        self.check("rows (float16[89,65536] x) => (float16[89,65536] y) { y = Softmax<axis = -1>(x) }",
                   ["flame::Team team(state", "#pragma unroll 8", ", 2);", "team.come();"], kernels_in_all=1, rtol=2e-3, atol=1e-7)  # fmt: skip
        self.check("rows (float16[89,65536] x) => (float16[89,65536] y) { y = MeanVarianceNormalization<axes = [1]>(x) }",
                   ["flame::Team team(state", "team.come();"], kernels_in_all=1, rtol=4e-3, atol=2e-3)  # fmt: skip

    def test_rows_of_several_dims_of_which_the_last_is_known(self):
        for kind, columns in (("Max", 640), ("Max", 6), ("Min", 5)):
            self.check(f"rows (float[n,3,{columns}] x) => (float[n,3,{columns}] y) {{ m = Reduce{kind}<keepdims = 1>(x) y = Sub(x, m) }}", ["row_0"],
                       kernels_in_all=1)  # fmt: skip

    def projection(self, normed, pairs):
        """Attention of x's projection, whose columns are the heads of queries, keys and values: turned, and perhaps normed before."""

        def head(name, begin, weight):
            end, last = begin + 3, weight if normed else None
            text = f"{name}s = Slice(h, i{begin}, i{end}, i2) {name}f = Cast<to = 1>({name}s) "
            if normed:
                text += (f"{name}q = Mul({name}f, {name}f) {name}m = ReduceMean({name}q, i3) {name}e = Add({name}m, epsilon) "
                         f"{name}r = Sqrt({name}e) {name}d = Div({name}f, {name}r) {name}n = Mul({name}d, {last}) ")  # fmt: skip
            whole = f"{name}n" if normed else f"{name}f"
            first, second = ("i0, i64, i3, i1", "i64, i128, i3, i1") if pairs == "halves" else ("i0, i128, i3, i2", "i1, i128, i3, i2")
            return text + (
                f"{name}a = Slice({whole}, {first}) {name}b = Slice({whole}, {second}) "
                f"{name}1 = Mul({name}a, cu) {name}2 = Mul({name}b, su) {name}3 = Sub({name}1, {name}2) "
                f"{name}4 = Mul({name}a, su) {name}5 = Mul({name}b, cu) {name}6 = Add({name}4, {name}5) "
                f"{name}t = Concat<axis = 3>({name}3, {name}6) {name}h = Cast<to = 10>({name}t) ")  # fmt: skip

        numbers = " ".join(f"int64[1] i{n} = {{{n}}}," for n in (0, 1, 2, 3, 6, 9, 64, 128))
        return f"""projection (float16[n,50,72] x, float16[72,1152] w, float16[1152] b, float[128] g, float[128] f, float[50,64] c,
                       float[50,64] s) => (float16[n,50,3,128] y)
                   <{numbers} int64[4] heads = {{0, 0, 9, 128}}, float epsilon = {{0.000001}}, float16 scale = {{18816}}>
                   {{ m = MatMul(x, w) p = Add(m, b) h = Reshape(p, heads) cu = Unsqueeze(c, i1) su = Unsqueeze(s, i1)
                      {head("q", 0, "g")} {head("k", 3, "f")} vh = Slice(h, i6, i9, i2)
                      qp = Transpose<perm = [0,2,1,3]>(qh) kp = Transpose<perm = [0,2,3,1]>(kh) vp = Transpose<perm = [0,2,1,3]>(vh)
                      z = MatMul(qp, kp) zs = Div(z, scale) a = Softmax<axis = -1>(zs) o = MatMul(a, vp)
                      y = Transpose<perm = [0,2,1,3]>(o) }}"""

    def test_heads_normed_and_turned_by_the_product_that_makes_them(self):
        """Queries and keys differ in what they read at most: the kernel has one text for both."""
        for normed, pairs, parts in (
            (True, "neighbours", ("Neighbours, flame::Pairing::Halves, 384, 768>(fold0", "= part == 1 ? in")),
            (True, "halves", ("Halves, flame::Pairing::Halves, 384, 768>(fold0", "= part == 1 ? in")),
            (False, "halves", ("Halves, flame::Pairing::Halves, 384, 768>(first0",)),
        ):
            with self.subTest(normed=normed, pairs=pairs):
                self.check(self.projection(normed, pairs), ["segmentStore<128", *parts, "wgmmaAttention"], kernels_in_all=2, rtol=4e-3,
                           atol=4e-3 if normed else 2e-2, limit=2)  # fmt: skip

    def test_projections_of_the_suite_for_a_gpu(self):
        """Some of test/gpu: rows that end within a warp's, in another matrix, in another tile; several attentions of one projection."""
        make = ("import sys; sys.path.insert(0, sys.argv.pop(1)); import make_attention_cases as m; "
                "sys.exit(m.main('', lambda: m.projections(few=True)))")  # fmt: skip
        chosen = "projection_(norm_neighbours_3_2x128_bf16|norm_halves_3x64_f16|neighbours_3_2x64_bf16|norm_3x128_f16)"
        commands = (
            [sys.executable, "-c", make, GPU_SUITE, "--flamec", BIN / "flamec", "--jobs=2", f"--filter={chosen}", self.scratch / "suite"],
            [sys.executable, GPU_SUITE / "run_suite.py", "--flame-run", BIN / "flame-run", "--jobs=2", self.scratch / "suite"],
        )
        for command, words in zip(commands, ("4 of 4 packed", "4 passed, 0 failed")):
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=os.environ | self.flamec.env, timeout=300)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(words, done.stdout)

    def quantised(self, keep, wide):
        """A product that is scaled by its largest magnitude and rounded to 8 bits, as dynamic quantisation does. `wide`: it is stored in f32; otherwise in
        f16, and somebody else reads it."""
        return f"""quantised (float16[n,61,40] x, float16[40,1024] w, float16[1024] b)
                   => (float[n,61,1024] q, float[{"1,1,1" if keep else ""}] s{"" if wide else ", float16[n,61,1024] y"}) <float limit = {{448}}>
                   {{ {"y = MatMul(x, w)" if keep else "p = MatMul(x, w) y = Add(p, b)"} f = Cast<to = 1>(y) a = Abs({"f" if wide else "y"})
                      m = ReduceMax<keepdims = {int(keep)}>(a) g = Cast<to = 1>(m) s = Div(g, limit)
                      d = Div(f, s) e = Cast<to = 17>(d) q = Cast<to = 1>(e) }}"""

    def test_products_that_begin_the_reductions_of_their_results(self):
        """The largest magnitude of a tensor that is quantised by it: where one kernel would need the product twice, and where two would."""
        for keep, wide, schedule in (
            (False, False, {}), (True, False, {}), (False, True, {}), (True, False, {"rows": 128, "consumers": 2, "pingPong": True}),
            (False, True, {"clusterRows": 2}), (True, False, {"clusterColumns": 2}), (False, False, {"splits": 2}), (True, False, {"columns": 192}),
        ):  # fmt: skip
            with self.subTest(keep=keep, wide=wide, **schedule):
                store = f"flame::folding(flame::tensorStore<{'float' if wide else 'unsigned short'}>(map2, body), flame::folds("
                self.check(self.quantised(keep, wide), [store, "none0, step0, join0"], kernels_in_all=3, limit=4, **{"columns": 128} | schedule)

    def test_statistics_of_rows_that_products_begin(self):
        """Sums, squares and extremes of rows, of what is stored."""
        self.check(
            """statistics (float16[n,61,40] x, float16[40,1024] w) => (float[n,61,1024] y, float[n,61] a, float[n,61,1] b, float[n,61] c)
               <int64[1] last = {-1}>
               { p = MatMul(x, w) r = Relu(p) y = Cast<to = 1>(r) a = ReduceSum<keepdims = 0>(y, last) s = Mul(y, y) b = ReduceMean(s, last)
                 g = Neg(y) c = ReduceMin<keepdims = 0>(g, last) }""",
            ["flame::fold(out1, none0, step0, join0)", "none2, step2, join2"], limit=3, columns=128)  # fmt: skip

    def test_attention(self):
        self.check(  # scaled by 8, which is 18432 in f16
            """attention (float16[1,2,70,64] q, float16[1,2,90,64] k, float16[1,2,90,64] v) => (float16[1,2,70,64] y)
               <float16 scale = {18432}>
               { t = Transpose<perm = [0,1,3,2]>(k) s = MatMul(q, t) m = Div(s, scale) w = Softmax<axis = -1>(m) y = MatMul(w, v) }""",
            ["wgmmaAttention"], rtol=2e-3, atol=4e-3, limit=2)  # fmt: skip

    def test_attention_of_grouped_heads(self):
        """Query heads that share keys and values are one kernel that reads them in place, whatever they are masked with; heads may lie inside of
        tokens."""
        for inputs, attributes, operands, result, kernels in (
            ("float16[n,4,40,64] q, float16[n,2,56,64] k, float16[n,2,56,64] v", "is_causal = 1", "q, k, v", "float16[n,4,40,64] y", 1),
            ("float16[n,40,256] q, float16[n,56,64] k, float16[n,56,64] v", "q_num_heads = 4, kv_num_heads = 1", "q, k, v", "float16[n,40,256] y", 1),
            ("float16[n,4,40,64] q, float16[n,2,56,64] k, float16[n,2,56,48] v, float16[n,4,40,56] m", "softcap = 2.0", "q, k, v, m",
             "float16[n,4,40,48] y", 3),
            ("float16[n,4,40,64] q, float16[n,2,56,64] k, float16[n,2,56,64] v, float16[n,1,40,56] m", "scale = 0.25", "q, k, v, m",
             "float16[n,4,40,64] y", 2),
        ):  # fmt: skip
            self.check(f"attention ({inputs}) => ({result}) {{ y = Attention<{attributes}>({operands}) }}", ["wgmmaAttention"], kernels_in_all=kernels,
                       rtol=2e-3, atol=4e-3, limit=2, opset=23)  # fmt: skip

    def test_attention_whose_weights_are_guarded(self):
        """Weights that are no numbers count as 0: rows that see nothing are 0, not NaN. Blocks may share keys."""
        for queries, keys, schedules in ((70, 90, ()), (5, 900, [{"family": "wgmma-attention", "schedule": {"splits": 132}}])):
            self.check(
                f"""attention (float16[n,2,{queries},64] q, float16[n,2,{keys},64] k, float16[n,2,{keys},64] v) => (float16[n,2,{queries},64] y)
                    <float16 scale = {{12288}}, float16 zero = {{0}}, float16 none = {{64512}}, float16 bound = {{0}}, int64[1] last = {{-1}}>
                    {{ f = ReduceSum<keepdims = 1>(q, last) sees = Greater(f, bound) m = Where(sees, zero, none) t = Transpose<perm = [0,1,3,2]>(k)
                       p = MatMul(q, t) s = Mul(p, scale) a = Add(s, m) w = Softmax<axis = -1>(a) nan = IsNaN(w) c = Where(nan, zero, w)
                       y = MatMul(c, v) }}""",
                ["wgmmaAttention", "flame::zeroForNaN("], rtol=2e-3, atol=4e-3, limit=2, schedules=schedules)  # fmt: skip

    def test_attention_of_repeated_keys(self):
        """Keys and values that exporters write once for each query head are read in place, heads being inside of tokens."""
        repeated = " ".join(
            f"{x}1 = Reshape({x}, narrow) {x}2 = Transpose<perm = [0,2,1,3]>({x}1) {x}3 = Unsqueeze({x}2, at) {x}4 = Expand({x}3, times) {x}5 = Reshape({x}4, all)"
            for x in "kv")
        self.check(
            f"""attention (float16[n,40,384] q, float16[n,56,128] k, float16[n,56,128] v, float16[n,1,40,56] m) => (float16[n,40,384] y)
                <float16 scale = {{12288}}, int64[4] wide = {{0,0,6,64}}, int64[4] narrow = {{0,0,2,64}}, int64[5] times = {{1,2,3,1,1}},
                 int64[4] all = {{-1,6,56,64}}, int64[1] at = {{2}}, int64[3] flat = {{0,0,-1}}>
                {{ {repeated} q1 = Reshape(q, wide) q2 = Transpose<perm = [0,2,1,3]>(q1) t = Transpose<perm = [0,1,3,2]>(k5) p = MatMul(q2, t)
                   s = Mul(p, scale) a = Add(s, m) w = Softmax<axis = -1>(a) o = MatMul(w, v5) x = Transpose<perm = [0,2,1,3]>(o) y = Reshape(x, flat) }}""",
            ["wgmmaAttention"], kernels_in_all=1, rtol=2e-3, atol=4e-3, limit=2)  # fmt: skip

    def test_attention_with_its_log_sum(self):
        """The log-sum-exp of the scores comes from the same kernel, which blocks that share keys join, too."""
        for queries, keys, kernel, schedules in (
            (70, 90, "flame::SharedKeys{1}, nullptr, flame::totals(logSum)", ()),
            (3, 700, "flame::SharedKeys{(int)6, scratch, state}, [&]", [{"family": "wgmma-attention", "schedule": {"keys": 64, "splits": 132}}]),
        ):
            self.check(
                f"""attention (float16[1,2,{queries},64] q, float16[1,2,{keys},64] k, float16[1,2,{keys},64] v)
                    => (float16[1,2,{queries},64] y, float[1,2,{queries}] l) <float scale = {{0.125}}, int64[1] last = {{-1}}>
                    {{ t = Transpose<perm = [0,1,3,2]>(k) p = MatMul(q, t) f = Cast<to = 1>(p) s = Mul(f, scale)
                       l = ReduceLogSumExp<keepdims = 0>(s, last) e = Softmax<axis = -1>(s) w = Cast<to = 10>(e) y = MatMul(w, v) }}""",
                ["wgmmaAttention", kernel], kernels_in_all=1, rtol=2e-3, atol=4e-3, limit=2, schedules=schedules)  # fmt: skip

    def test_attention_of_floats_of_8_bits(self):
        """The first product of 8 bits. A few keys have most of a row's weight, so that results are far apart; the reference rounds weights of 1 in all to
        8 bits, which moves its results of numbers up to 1 by a sixteenth at most."""
        graph = """attention (float16[2,70,64] q, float16[2,90,64] k, float16[2,90,48] v) => (float16[2,70,48] y) <float sw = {{0.00390625}}>
            {{ q8 = Cast<to = 17>(q) k8 = Cast<to = 17>(k) v8 = Cast<to = 17>(v) qf = Cast<to = 1>(q8) kf = Cast<to = 1>(k8) vf = Cast<to = {0}>(v8)
               t = Transpose<perm = [0,2,1]>(kf) s = MatMul(qf, t) e = Softmax<axis = -1>(s) {1} y = Cast<to = 10>(o) }}"""
        rounded = graph.format(1, "d = Div(e, sw) w8 = Cast<to = 17>(d) wf = Cast<to = 1>(w8) w = Mul(wf, sw) o = MatMul(w, vf)")
        kernel = "flame::Arithmetic::F16, flame::Major::Depth, flame::Major::Side, flame::Arithmetic::E4M3>"
        self.check(rounded, [kernel], kernels_in_all=4, atol=0.0625, limit=2)
        exact = graph.format(10, "w = Cast<to = 10>(e) o = MatMul(w, vf)")
        self.check(exact, [kernel], rtol=2e-3, atol=4e-3, limit=2)

    def test_attention_of_blocks_that_share_keys(self):
        self.check(
            """attention (float16[2,3,64] q, float16[2,700,64] k, float16[2,700,64] v) => (float16[2,3,64] y)
               <float16 scale = {18432}>
               { t = Transpose<perm = [0,2,1]>(k) s = MatMul(q, t) m = Div(s, scale) w = Softmax<axis = -1>(m) y = MatMul(w, v) }""",
            ["wgmmaAttention", "flame::SharedKeys{(int)3, scratch, state}, [&]"], rtol=2e-3, atol=4e-3, limit=2,
            schedules=[{"family": "wgmma-attention", "schedule": {"keys": 128, "splits": 132}}])  # fmt: skip

    def test_attention_of_blocks_that_share_the_last_tiles(self):
        """Of 134 tiles 132 are a block's each, whatever the sizes of a run are."""
        for rows, shared in (("3", "(int)3, scratch, state, (int)132}, [&]"), ("n", "(int)")):
            self.check(
                f"""attention (float16[134,{rows},64] q, float16[134,300,64] k, float16[134,300,64] v) => (float16[134,{rows},64] y)
                    <float16 scale = {{18432}}>
                    {{ t = Transpose<perm = [0,2,1]>(k) s = MatMul(q, t) m = Div(s, scale) w = Softmax<axis = -1>(m) y = MatMul(w, v) }}""",
                ["wgmmaAttention", "flame::SharedKeys{" + shared], rtol=2e-3, atol=4e-3, limit=2,
                schedules=[{"family": "wgmma-attention", "schedule": {"rows": 64, "keys": 64, "splits": 132}}])  # fmt: skip


if __name__ == "__main__":
    main()
