#!/usr/bin/env python3
"""Makes models of single products and convolutions with inputs and references, for a machine with a GPU.

    make_contract_cases.py --flamec FLAMEC --gpu sm_90a [--filter REGEX] [--jobs N] OUT

OUT is a folder or a .tar.gz, as pack_suite.py makes it, and is run by run_suite.py. References are NumPy's in f64, rounded once to the
result's type. Inputs are small whole numbers, so that every sum is exact in f32 and products must agree to the last bit;
only cases with a transcendental epilogue, and those with normally distributed inputs, have a tolerance. With `--target=cpu`
the same cases run without a GPU, and with an emulated GPU as test/unit/kernels/FakeNvrtc.cpp says.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import math
import os
import pathlib
import re
import subprocess
import zlib

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto, helper
from suite_folder import finish, report, suite_folder

DTYPES = {
    "f16": (TensorProto.FLOAT16, np.dtype(np.float16)),
    "bf16": (TensorProto.BFLOAT16, np.dtype(ml_dtypes.bfloat16)),
    "f32": (TensorProto.FLOAT, np.dtype(np.float32)),
    "f64": (TensorProto.DOUBLE, np.dtype(np.float64)),
    "i32": (TensorProto.INT32, np.dtype(np.int32)),
    "i64": (TensorProto.INT64, np.dtype(np.int64)),
    "i8": (TensorProto.INT8, np.dtype(np.int8)),
    "u8": (TensorProto.UINT8, np.dtype(np.uint8)),
    "e4m3": (TensorProto.FLOAT8E4M3FN, np.dtype(ml_dtypes.float8_e4m3fn)),
    "e5m2": (TensorProto.FLOAT8E5M2, np.dtype(ml_dtypes.float8_e5m2)),
    "bool": (TensorProto.BOOL, np.dtype(np.bool_)),
}
EPSILON = {"f16": 2.0**-10, "bf16": 2.0**-7, "f32": 2.0**-18, "f64": 2.0**-45}
OPSET = 23
ENDS = {  # of groups of 140 rows or a few more
    "uneven": [10, 80, 81, 140], "first_empty": [0, 3, 70, 140], "last_empty": [64, 70, 140, 140], "some_empty": [5, 5, 5, 133, 133, 140],
    "one": [140], "behind": [20, 50, 90], "none": [0, 0, 0], "tiles": [64, 128, 128, 140], "many": [140 * (g // 3) // 85 for g in range(256)],
}  # fmt: skip
BAD_ENDS = {
    "falling": ([10, 80, 79, 140], "end 79 \\(element 2 of input 0 \\(i32\\[4\\]\\)\\) is less than the one before, 80"),
    "behind": ([10, 80, 141, 200], "end 141 \\(element 2 of input 0 \\(i32\\[4\\]\\)\\) lies behind the rows, of which there are 140"),
    "negative": ([-1, 80, 80, 140], "end -1 \\(element 0 of input 0 \\(i32\\[4\\]\\)\\) is negative"),
    "least": ([-(2**31), 2**31 - 1, 7, 140], "element 0 of"),
}  # fmt: skip


def wgmma(rows, columns, depth, stages, consumers, **more):
    schedule = {"rows": rows, "columns": columns, "depth": depth, "stages": stages, "consumers": consumers}
    return schedule | {"pingPong": False, "clusterRows": 1, "clusterColumns": 1, "band": 8, "slabs": 1, "splits": 1} | more


def reads_lines(schedule):
    """Whether its epilogue reads a residual in whole lines, where elements have 16 bits."""
    turns = schedule["pingPong"] and (schedule["rows"] + 63) // 64 * schedule["columns"] // 2 > 160
    return not schedule.get("streamK") and not turns and schedule["columns"] // schedule["splits"] >= 64


# Schedules by what is special about them, so that each is run, whatever the compiler would choose.
WGMMA = {
    "wide": wgmma(128, 256, 64, 4, 2), "three": wgmma(192, 192, 64, 4, 3), "narrow": wgmma(64, 32, 128, 6, 1),
    "pingpong": wgmma(128, 128, 64, 5, 2, pingPong=True), "pingpong64": wgmma(64, 256, 64, 4, 2, pingPong=True, slabs=2),
    "rows2": wgmma(128, 128, 64, 5, 2, clusterRows=2), "columns2": wgmma(128, 128, 64, 5, 2, clusterColumns=2),
    "split2": wgmma(64, 128, 64, 6, 1, splits=2), "split4": wgmma(128, 128, 64, 4, 2, splits=4),
    "split8": wgmma(64, 64, 64, 6, 1, splits=8), "few16": wgmma(16, 112, 64, 8, 1), "few80": wgmma(80, 64, 64, 8, 2),
    "few80split": wgmma(80, 64, 64, 6, 2, splits=2), "few8": wgmma(8, 64, 128, 6, 1, slabs=2),
    "shared": wgmma(128, 256, 64, 4, 2, streamK=True), "shared_pingpong": wgmma(128, 128, 64, 5, 2, pingPong=True, streamK=True),
    "shared_rows2": wgmma(128, 128, 64, 5, 2, clusterRows=2, streamK=True),
}  # fmt: skip

# The same for few rows.
STREAMS = {"eight": wgmma(8, 48, 128, 7, 1), "narrow": wgmma(8, 16, 256, 8, 1), "sixteen": wgmma(16, 112, 64, 6, 1), "large": wgmma(16, 128, 64, 11, 1)}


def tensor(name, array, dtype):
    return helper.make_tensor(name, DTYPES[dtype][0], array.shape, array.astype(DTYPES[dtype][1]).tobytes(), raw=True)


class Case:
    """Nodes are added as in the model; `value` holds what each name is in f64."""

    def __init__(self, name, dtype, normal=False):
        self.name, self.dtype, self.normal = name, dtype, normal
        self.random = np.random.default_rng(zlib.crc32(name.encode()))
        self.inputs, self.nodes, self.value, self.weights = [], [], {}, []
        self.rtol = EPSILON[dtype] if normal else 0.0
        self.out_dtype = None  # where it is not `dtype`
        self.out_dtypes = {}  # of some of several outputs
        self.schedule = None  # entries of a file of schedules, see flamec compile --schedule
        self.fails = None  # what is said when the model runs, a regular expression
        self.typical = None  # "b=2,s=64": symbolic dims and what their kernels are tuned for, see flamec compile --typical
        self.further = []  # cases of the same model, whose data are further sets of this one's
        self.kernels, self.kernels_in_all = [], None  # what stands in the source for sm_90a, and how many kernels that has

    def input(self, name, shape, dims=None, dtype=None, data=None):
        dtype = dtype or self.dtype
        if data is not None:
            pass
        elif self.normal:
            data = self.random.standard_normal(shape)
        else:
            data = self.random.integers(0 if dtype == "u8" else -4, 5, shape)
        data = np.asarray(data).astype(DTYPES[dtype][1])
        self.inputs.append((name, data, dtype, dims or list(shape)))
        self.value[name] = data.astype(np.float64)
        return name

    def constant(self, name, shape, choices=(-1, 0, 0, 1)):
        """A weight."""
        data = self.random.choice(choices, shape).astype(DTYPES[self.dtype][1])
        self.weights.append(tensor(name, data, self.dtype))
        self.value[name] = data.astype(np.float64)
        return name

    def axes(self, name, *values):
        self.weights.append(helper.make_tensor(name, TensorProto.INT64, [len(values)], values))
        return name

    def node(self, op, inputs, result, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [f"v{len(self.nodes)}"], **attributes))
        self.value[f"v{len(self.nodes) - 1}"] = result
        return f"v{len(self.nodes) - 1}"

    def matmul(self, x, y):
        return self.node("MatMul", [x, y], np.matmul(self.value[x], self.value[y]))

    def grouped(self, x, y, ends, transpose_y=False, **attributes):
        """Rows of x up to each end by that group's matrix."""
        a, b, last = self.value[x], self.value[y].swapaxes(1, 2) if transpose_y else self.value[y], 0
        result = np.zeros((len(a), b.shape[2]))
        if not self.fails:
            for matrix, end in zip(b, self.value[ends].astype(np.int64)):
                result[last:end] = a[last:end] @ matrix
                last = end
        return self.node("GroupedMatMul", [x, y, ends], result, domain="flame", transpose_y=int(transpose_y), **attributes)

    def transpose(self, x, perm):
        return self.node("Transpose", [x], np.transpose(self.value[x], perm), perm=perm)

    def epilogue(self, kind, x):
        value = self.value[x]
        if kind == "bias":
            return self.node("Add", [x, b := self.input("bias", value.shape[-1:])], value + self.value[b])
        if kind == "relu":
            biased = self.epilogue("bias", x)
            return self.node("Relu", [biased], np.maximum(self.value[biased], 0))
        if kind == "residual":
            return self.node("Add", [x, r := self.input("residual", value.shape)], value + self.value[r])
        if kind == "sigmoid":
            self.rtol = 8 * EPSILON[self.dtype]
            return self.node("Sigmoid", [x], 1 / (1 + np.exp(-value)))
        return x

    def write(self, folder, output):
        """`output`: a name, or several."""
        names = [output] if isinstance(output, str) else list(output)
        dtypes = [self.out_dtypes.get(name, self.out_dtype or self.dtype) for name in names]
        inputs = [helper.make_tensor_value_info(n, DTYPES[d][0], dims) for n, _, d, dims in self.inputs]
        values = [self.value[name] for name in names]
        is_dynamic = any(isinstance(s, str) for *_, dims in self.inputs for s in dims)
        outputs = [helper.make_tensor_value_info(n, DTYPES[d][0], None if is_dynamic else v.shape) for n, d, v in zip(names, dtypes, values)]
        graph = helper.make_graph(self.nodes, "case", inputs, outputs, self.weights)
        domains = [helper.make_opsetid(domain, version) for domain, version in (("", OPSET), ("flame", 1))]
        model = helper.make_model(graph, opset_imports=domains, ir_version=10)
        folder.mkdir(parents=True)
        onnx.save(model, folder / "model.onnx")
        sets, atols = zip(*(c.write_data(folder, f"data{i or ''}", names, dtypes) for i, c in enumerate([self, *self.further])))
        return {"name": self.name, "rtol": self.rtol, "atol": min(atols), **({"fails": self.fails} if self.fails else {}), "sets": list(sets)}

    def write_data(self, folder, place, names, dtypes):
        (folder / place).mkdir()
        files, values = [], [self.value[name] for name in names]
        for i, (name, data, d, _) in enumerate(self.inputs):
            (folder / place / f"input_{i}.pb").write_bytes(tensor(name, data, d).SerializeToString())
            files.append([name, f"{place}/input_{i}.pb"])
        for i, (name, value, dtype) in enumerate(zip(names, values, dtypes)):
            (folder / place / f"output_{i}.pb").write_bytes(tensor(name, value, dtype).SerializeToString())
        # What sums to little of large terms has their error.
        finite = [float(np.where(np.isfinite(value), np.abs(value), 0).max(initial=0)) for value in values]
        outputs = [[name, f"{place}/output_{i}.pb"] for i, name in enumerate(names)]
        return {"inputs": files, "outputs": outputs}, self.rtol * min(finite) if self.rtol else 0.0

    def lacks(self, source):
        """What the kernels should have and do not."""
        source = source[source.rindex("} // namespace flame") :]
        if missing := [text for text in self.kernels if text not in source]:
            return f"no {missing[0]} in the kernels"
        count = source.count("__global__")
        return f"{count} kernels, not {self.kernels_in_all}" if self.kernels_in_all not in (None, count) else None


def products():
    """(case, name of the output) for matrix products."""
    odd = [1, 2, 5, 16, 17, 63, 64, 65, 127, 128, 129]
    shapes = [(m, n, k) for m, n, k in zip(odd, odd[4:] + odd[:4], odd[7:] + odd[:7])]
    shapes += [(1000, 127, 64), (129, 1000, 65), (64, 64, 1000), (127, 128, 1), (64, 40, 0), (256, 512, 256), (31, 31, 31)]
    shapes += [(1, 1000, 512), (1, 1001, 513), (4, 1000, 512), (3, 97, 129), (1000, 1, 512), (513, 2, 77), (16, 512, 1024), (1, 1, 1)]
    for dtype in ("f16", "bf16", "f32", "f64", "i32", "i64"):
        for m, n, k in shapes:
            if dtype in ("f64", "i32", "i64") and m * n * k > 200000:
                continue
            for tx in (False, True):
                for ty in (False, True):
                    c = Case(f"matmul_{dtype}_{m}x{n}x{k}_{'t' if tx else 'n'}{'t' if ty else 'n'}", dtype)
                    x = c.input("x", (k, m) if tx else (m, k))
                    y = c.input("y", (n, k) if ty else (k, n))
                    x = c.transpose(x, [1, 0]) if tx else x
                    y = c.transpose(y, [1, 0]) if ty else y
                    yield c, c.matmul(x, y)
    for dtype in ("f16", "bf16", "f32"):
        for kind in ("bias", "relu", "residual", "sigmoid"):
            for m, n, k in ((65, 130, 72), (128, 128, 64), (1, 200, 96), (200, 256, 33)):
                c = Case(f"epilogue_{kind}_{dtype}_{m}x{n}x{k}", dtype)
                yield c, c.epilogue(kind, c.matmul(c.input("x", (m, k)), c.input("y", (k, n))))
        for m, n, k in ((300, 300, 300), (1, 512, 1024), (130, 70, 2000)):
            c = Case(f"normal_{dtype}_{m}x{n}x{k}", dtype, normal=True)
            yield c, c.matmul(c.input("x", (m, k)), c.input("y", (k, n)))
        # A residual twice, another one, a gate of columns and one of rows: lines of the first one are read by the store.
        for m, n, k in ((200, 136, 64), (333, 520, 136), (2056, 264, 72)):
            c = Case(f"source_{dtype}_{m}x{n}x{k}", dtype)
            y = c.matmul(c.input("x", (m, k)), c.transpose(c.input("w", (n, k)), [1, 0]))
            y = c.node("Mul", [y, g := c.input("gate", (n,))], c.value[y] * c.value[g])
            r, q, h = c.input("r", (m, n)), c.input("q", (m, n)), c.input("h", (m, 1))
            y = c.node("Add", [r, y], c.value[r] + c.value[y])
            y = c.node("Sub", [y, scaled := c.node("Mul", [q, h], c.value[q] * c.value[h])], c.value[y] - c.value[scaled])
            yield c, c.node("Add", [y, r], c.value[y] + c.value[r])
        for name, xs, ys in (
            ("batch", (3, 40, 24), (3, 24, 56)),
            ("batch2", (2, 3, 33, 17), (2, 3, 17, 65)),
            ("broadcast_x", (40, 24), (3, 24, 56)),
            ("broadcast_y", (3, 40, 24), (24, 56)),
            ("broadcast_both", (2, 1, 40, 24), (1, 3, 24, 56)),
            ("rows", (5, 1, 24), (24, 56)),
            ("vector_x", (24,), (24, 56)),
            ("vector_y", (40, 24), (24,)),
            ("batch_vector", (3, 40, 24), (24,)),
        ):
            c = Case(f"{name}_{dtype}", dtype)
            yield c, c.matmul(c.input("x", xs), c.input("y", ys))
        for m, n, k in ((70, 130, 72), (1, 64, 128), (33, 7, 5)):
            c = Case(f"dynamic_{dtype}_{m}x{n}x{k}", dtype)
            yield c, c.epilogue("bias", c.matmul(c.input("x", (2, m, k), ["b", "m", "k"]), c.input("y", (k, n), ["k", n])))
            c = Case(f"dynamic_all_{dtype}_{m}x{n}x{k}", dtype)
            yield c, c.matmul(c.input("x", (2, m, k), ["b", "m", "k"]), c.input("y", (2, k, n), ["b", "k", "n"]))
        # Heads: transposes on the way in and out.
        for s, h, d in ((128, 4, 64), (77, 3, 40), (1, 2, 32)):
            c = Case(f"scores_{dtype}_{s}_{h}x{d}", dtype)
            q = c.transpose(c.input("q", (2, s, h, d)), [0, 2, 1, 3])
            yield c, c.matmul(q, c.transpose(c.input("k", (2, s, h, d)), [0, 2, 3, 1]))
            c = Case(f"context_{dtype}_{s}_{h}x{d}", dtype)
            v = c.transpose(c.input("v", (2, s, h, d)), [0, 2, 1, 3])
            yield c, c.transpose(c.matmul(c.input("p", (2, h, s, s)), v), [0, 2, 1, 3])
        # Few tiles and a long inner dim: slices of it, blocks that share a tile; weights that are read early.
        for m, n, k in ((128, 768, 3072), (49, 512, 4608), (17, 96, 2056), (50, 200, 1000), (128, 2304, 768), (5, 64, 8192)):
            for kind in ("", "relu"):
                c = Case(f"deep{kind and '_' + kind}_{dtype}_{m}x{n}x{k}", dtype)
                y = c.matmul(c.input("x", (m, k)), c.constant("y", (k, n), (0, 0, 0, 0, 0, 0, 1, -1)))
                clipped = np.clip(c.value[y], -100, 100)
                low, high = c.constant("low", (), (-100,)), c.constant("high", (), (100,))
                y = c.node("Clip", [y, low, high], clipped)
                yield c, c.epilogue(kind, y) if kind else y
        # Tiles of the copy engine that overhang in every dim, in every order, and what they are stored by.
        for m, n, k in ((300, 520, 200), (1000, 1032, 712), (77, 4096, 264), (2050, 136, 1096)):
            for orders in ("nn", "nt", "tn", "tt"):
                c = Case(f"large_{dtype}_{m}x{n}x{k}_{orders}", dtype)
                x = c.input("x", (k, m) if orders[0] == "t" else (m, k))
                y = c.input("y", (n, k) if orders[1] == "t" else (k, n))
                x = c.transpose(x, [1, 0]) if orders[0] == "t" else x
                y = c.transpose(y, [1, 0]) if orders[1] == "t" else y
                yield c, c.matmul(x, y)
            for kind in ("relu", "residual", "sigmoid"):
                c = Case(f"large_{kind}_{dtype}_{m}x{n}x{k}", dtype)
                yield c, c.epilogue(kind, c.matmul(c.input("x", (m, k)), c.input("y", (k, n))))
            c = Case(f"large_transposed_{dtype}_{m}x{n}x{k}", dtype)
            yield c, c.transpose(c.matmul(c.input("x", (2, m, k)), c.input("y", (k, n))), [1, 0, 2])
            c = Case(f"large_dynamic_{dtype}_{m}x{n}x{k}", dtype)
            yield c, c.epilogue("bias", c.matmul(c.input("x", (1, m, k), ["b", "m", k]), c.input("y", (k, n))))
        # Few rows are likely: as many as that, and more.
        for m in (1, 3, 4, 5, 9):
            for n, k, order in ((40, 72, "n"), (264, 520, "t"), (33, 17, "n")):
                c = Case(f"likely_few_{dtype}_{m}x{n}x{k}", dtype)
                c.typical = "b=2"
                y = c.input("y", (n, k) if order == "t" else (k, n))
                y = c.transpose(y, [1, 0]) if order == "t" else y
                yield c, c.epilogue("relu", c.matmul(c.input("x", (m, k), ["b", k]), y))
        # A left operand in two parts.
        for m, n, first, second in ((130, 264, 256, 320), (77, 72, 512, 8), (5, 40, 256, 33), (300, 520, 768, 256), (2, 64, 256, 64)):
            for order in "nt":
                c = Case(f"two_parts_{dtype}_{m}x{n}x{first}_{second}{order}", dtype)
                parts = [c.input("a", (2, m, first), ["b", "m", first]), c.input("c", (2, m, second), ["b", "m", second])]
                x = c.node("Concat", parts, np.concatenate([c.value[p] for p in parts], -1), axis=-1)
                y = c.input("y", (n, first + second) if order == "t" else (first + second, n))
                yield c, c.epilogue("relu", c.matmul(x, c.transpose(y, [1, 0]) if order == "t" else y))
        # Several products of one operand.
        for m in (1, 24, 130):
            c = Case(f"joined_{dtype}_{m}", dtype)
            x = c.input("x", (1, m, 72))
            parts = []
            for i, n in enumerate((64, 32, 64)):
                y = c.matmul(x, c.constant(f"w{i}", (72, n)))
                y = c.node("Add", [y, b := c.constant(f"b{i}", (n,))], c.value[y] + c.value[b])
                parts.append(c.transpose(y, [0, 2, 1]))
            y = c.node("Concat", parts, np.concatenate([c.value[p] for p in parts], 1), axis=1)
            yield c, y
    for name, schedule in WGMMA.items():
        rows = schedule["rows"]
        # One tile of few rows, tiles that overhang, and more of them than the GPU has multiprocessors.
        many = (2056, 2072, 1160 if "streamK" in schedule else 136)
        sizes = ((rows, 1032, 520), (rows - 3, 264, 1160)) if rows % 64 else ((77, 1032, 520), (333, 520, 1160), many)
        for m, n, k in sizes:
            for kind in ("", "sigmoid", "residual"):
                c = Case(f"wgmma_{name}_{m}x{n}x{k}{kind}", "bf16")
                c.schedule = [{"family": "wgmma", "schedule": schedule}]
                y = c.matmul(c.input("x", (m, k)), c.transpose(c.input("w", (n, k)), [1, 0]))
                c.kernels = ["flame::sourced("] if kind == "residual" and reads_lines(schedule) else []
                yield c, c.epilogue(kind, y) if kind else y
        c = Case(f"wgmma_two_parts_{name}", "bf16")
        c.schedule = [{"family": "wgmma", "schedule": schedule}]
        m = rows if rows % 64 else 333
        parts = [c.input("a", (m, 512)), c.input("c", (m, 648))]
        x = c.node("Concat", parts, np.concatenate([c.value[p] for p in parts], -1), axis=-1)
        yield c, c.epilogue("relu", c.matmul(x, c.input("y", (1160, 520))))
        # Batches: each matrix has its own, one is the same for all, rows are cut out of more.
        m, n, k = (rows if rows % 64 else 141), 264, 200
        for kind, xs, ys in (
            ("both", (5, m, k), (5, k, n)), ("dims", (2, 3, m, k), (2, 3, k, n)), ("left", (m, k), (3, k, n)),
            ("dynamic", (3, m, k), (3, k, n)), ("sliced", (3, m + 9, k), (k, n)), ("scatter", (3, m, k), (3, k, n)),
        ):  # fmt: skip
            c = Case(f"wgmma_batch_{kind}_{name}", "bf16")
            c.schedule = [{"family": "wgmma", "schedule": schedule}]
            symbols = ["b", "m", k] if kind == "dynamic" and rows % 64 == 0 else None
            x, y = c.input("x", xs, symbols), c.input("y", ys, ["b", k, n] if symbols else None)
            if kind == "sliced":
                x = c.node("Slice", [x, c.axes("from", 7), c.axes("to", 7 + m), c.axes("axis", 1)], c.value[x][:, 7 : 7 + m])
            y = c.matmul(x, y)
            if kind == "scatter":  # two results
                z = c.epilogue("sigmoid", y)
                y = c.node("Concat", [y, z], np.concatenate([c.value[y], c.value[z]], 0), axis=0)
            if kind in ("dims", "dynamic", "left"):
                r = c.input("r", c.value[y].shape, symbols and ["b", "m", n])
                y = c.node("Add", [r, y], c.value[r] + c.value[y])
                c.kernels = ["flame::sourced("] if reads_lines(schedule) else []
            yield c, c.transpose(c.epilogue("sigmoid", y), [1, 0, 2]) if kind == "both" else y
    # Few rows by weights, which come before the kernels before this one have ended; more rows than were expected.
    for name, schedule in STREAMS.items():
        for dtype in ("f16", "bf16"):
            for m, n, k, typical in ((1, 1032, 520, None), (4, 520, 1160, None), (3, 264, 72, "b=1"), (8, 72, 4104, None), (45, 520, 264, "b=2")):
                c = Case(f"stream_{name}_{dtype}_{m}x{n}x{k}{'_dynamic' if typical else ''}", dtype)
                if m > schedule["rows"] and not typical:
                    continue
                # Tiles one below the other are whole pieces of 16 rows.
                c.schedule, c.typical = [{"family": "wgmma", "schedule": schedule | ({"rows": 16} if typical else {})}], typical
                y = c.input("x", (m, k), ["b", k] if typical else None)
                for i, (rows, width) in enumerate(((n, k), (k, n), (n, k))):
                    w = c.constant(f"w{i}", (rows, width), (0,) * 14 + (-1, 1))
                    y = c.matmul(y, c.transpose(w, [1, 0]))
                    low, high = (c.constant(f"{bound}{i}", (), (value,)) for bound, value in (("low", -8), ("high", 8)))
                    y = c.node("Clip", [y, low, high], np.clip(c.value[y], -8, 8))
                yield c, c.epilogue("residual", y) if not typical else y
    for x, y in (("i8", "i8"), ("u8", "i8"), ("u8", "u8")):
        for m, n, k in ((65, 70, 72), (128, 128, 64), (1, 17, 33)):
            c = Case(f"integer_{x}_{y}_{m}x{n}x{k}", x)
            c.out_dtype = "i32"
            a, b = c.input("x", (m, k)), c.input("y", (k, n), dtype=y)
            yield c, c.node("MatMulInteger", [a, b], np.matmul(c.value[a], c.value[b]))


def paired():
    """Two products of one operand whose results meet, as in a gated layer: two weights, or the halves of one."""

    def case(name, dtype, m, n, k, kind, form, order, schedule=None, dims=None, typical=None):
        """`form`: two inputs, the halves of one input, two weights or the halves of one; `order`: t: [n, k]."""
        c = Case(f"paired_{name}{kind}_{form}_{dtype}_{m}x{n}x{k}{order}", dtype)
        c.typical = typical
        if schedule:
            c.schedule = [{"family": "wgmma", "schedule": schedule}]
        x = c.input("x", (m, k), dims)

        def right(name, shape):
            # Sums that narrow types hold exactly.
            choices = (-1, 0, 0, 0, 0, 0, 0, 1)
            return c.constant(name, shape, choices) if "weight" in form else c.input(name, shape, data=c.random.choice(choices, shape))

        def linear(i, columns):
            w = right(f"w{i}", (columns, k) if order == "t" else (k, columns))
            y = c.matmul(x, c.transpose(w, [1, 0]) if order == "t" else w)
            return c.node("Add", [y, b := right(f"b{i}", (columns,))], c.value[y] + c.value[b])

        if "half" in form:
            whole = linear(0, 2 * n)
            first, second = (
                c.node("Slice", [whole, c.axes(f"from{i}", i * n), c.axes(f"to{i}", (i + 1) * n), c.axes(f"axis{i}", 1)], c.value[whole][:, i * n : (i + 1) * n])
                for i in (0, 1)
            )
        else:
            first, second = linear(0, n), linear(1, n)
        gate, value = c.value[second], c.value[first]
        if kind == "relu":
            second = c.node("Relu", [second], np.maximum(gate, 0))
            return c, c.node("Sub", [first, second], value - np.maximum(gate, 0))
        c.rtol = 4 * EPSILON[dtype]
        if kind == "swiglu":
            sigmoid = c.node("Sigmoid", [second], 1 / (1 + np.exp(-gate)))
            second = c.node("Mul", [second, sigmoid], gate * c.value[sigmoid])
        else:
            kinds = {"geglu": ("none", 0.5 * gate * (1 + np.vectorize(math.erf)(gate / math.sqrt(2)))),
                     "tanh": ("tanh", 0.5 * gate * (1 + np.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3))))}  # fmt: skip
            second = c.node("Gelu", [second], kinds[kind][1], approximate=kinds[kind][0])
        return c, c.node("Mul", [first, second], value * c.value[second])

    for dtype in ("f16", "bf16", "f32"):
        for form in ("two", "half", "two_weights", "half_weight"):
            for order in "nt":
                for m, n, k in ((1, 200, 520), (1, 33, 65), (3, 41, 100), (16, 520, 264), (77, 36, 72), (130, 136, 65), (300, 264, 200), (65, 1, 40)):
                    yield case("", dtype, m, n, k, "relu", form, order)
            for kind in ("swiglu", "geglu", "tanh"):
                yield case("", dtype, 77, 136, 200, kind, form, "t")
                yield case("", dtype, 1, 136, 200, kind, form, "n")
        for m in (1, 4, 9, 130):
            yield case("dynamic_", dtype, m, 72, 136, "relu", "two", "t", dims=["m", 136])
            yield case("likely_few_", dtype, m, 72, 136, "relu", "half", "n", dims=["m", 136], typical="m=2")
    for name, schedule in (WGMMA | {"split8": wgmma(64, 128, 64, 4, 1, splits=8)}).items():
        rows, columns = schedule["rows"], schedule["columns"]
        for m, n, k in ((rows - 3, 520, 520),) if rows % 64 else ((77, 520, 520), (333, 264, 200), (1030, 1032, 136)):
            yield case(f"wgmma_{name}_", "bf16", m, n, k, "relu", "two", "t", schedule)
        m = rows if rows % 64 else 141
        for kind in ("relu", "swiglu"):
            # What is parted along the side is boxes of 64 columns.
            yield case(f"wgmma_{name}_", "f16", m, 100 if columns % 128 else 136, 328, kind, "half_weight", "t" if columns % 128 else "n", schedule)
    # Few rows by weights that come early; more rows than were expected.
    for m, n, k in ((1, 264, 520), (16, 72, 1160), (45, 136, 72)):
        for form in ("two_weights", "half_weight"):
            dynamic = {"dims": ["m", k], "typical": "m=1"} if m == 45 else {}
            yield case("stream_", "bf16", m, n, k, "relu", form, "t", wgmma(16, 64, 128, 6, 1), **dynamic)
    for dtype in ("e4m3", "i8"):
        for m, n, k in ((65, 72, 48), (1, 64, 64), (300, 520, 144), (77, 1032, 640)):
            c = Case(f"paired_quantised_{dtype}_{m}x{n}x{k}", dtype)
            c.out_dtype = "f32"

            def dequantised(name, shape):
                x = c.input(name, shape)
                scale = c.input(f"{name}_scale", (shape[0],), dtype="f32", data=np.ldexp(1.0, c.random.integers(-2, 3, shape[0])))
                return c.node("DequantizeLinear", [x, scale], c.value[x] * c.value[scale][:, None], axis=0)

            x = dequantised("x", (m, k))
            p, u = (c.matmul(x, c.transpose(dequantised(w, (n, k)), [1, 0])) for w in "wv")
            gate = c.node("Relu", [p], np.maximum(c.value[p], 0))
            yield c, c.node("Sub", [gate, u], c.value[gate] - c.value[u])


def grouped():
    """Rows that go by groups, each of which meets a matrix of its own."""

    def few(c, shape):
        """What gives sums that 8 bits hold: where regions of one target are several of another, they are rounded in between."""
        return c.random.choice((-1, 0, 0, 1), shape)

    def case(name, dtype, ends, m, n, k, order, wide=False, **known):
        """`order`: t: [group, n, k]; `wide`: i64 ends."""
        c = Case(f"grouped_{name}_{dtype}_{m}x{n}x{k}{order}{'w' if wide else ''}", dtype, **known)
        g = len(ends)
        x, y = c.input("x", (m, k)), c.input("y", shape := (g, n, k) if order == "t" else (g, k, n), data=few(c, shape) if "gated" in name else None)
        ends = c.input("ends", (g,), dtype="i64" if wide else "i32", data=ends)
        return c, c.grouped(x, y, ends, order == "t") if dtype not in ("e4m3", "e5m2") else (x, y, ends)

    for dtype in ("f16", "bf16", "f32", "f64", "i32", "i64"):
        for kind, ends in ENDS.items():
            for n, k in ((24, 40), (9, 17)) if kind == "many" else ((72, 136), (33, 41)):
                if dtype in ("f64", "i32", "i64") and n % 2 == 0:
                    continue
                for order in "nt":
                    yield case(kind, dtype, ends, 140, n, k, order, wide=kind == "behind")
    for dtype in ("f16", "bf16", "f32"):
        for m, n, k, ends in ((64, 72, 64, [64]), (7, 40, 0, [2, 7]), (1, 8, 8, [0, 1]), (3000, 264, 72, [1000, 1000, 2999]), (40, 40, 264, list(range(1, 41)))):
            yield case("sizes", dtype, ends, m, n, k, "t")
        yield case("normal", dtype, [100, 333, 600], 600, 328, 520, "t", normal=True)
        # More behind the product: activations, factors of rows, another order; two products of one x.
        for kind in ("bias", "relu", "residual", "sigmoid"):
            c, y = case(kind, dtype, ENDS["behind"], 140, 72, 136, "t")
            yield c, c.epilogue(kind, y)
        c, y = case("factors", dtype, ENDS["uneven"], 140, 72, 136, "t")
        yield c, c.node("Mul", [y, f := c.input("f", (140, 1))], c.value[y] * c.value[f])
        c, y = case("transposed", dtype, ENDS["uneven"], 140, 72, 136, "n")
        yield c, c.transpose(y, [1, 0])
        for kind, order in (("gated", "t"), ("gated", "n"), ("two", "t")):
            c, y = case(kind, dtype, ENDS["some_empty"], 140, 72, 136, order)
            shape = (6, 72, 136) if order == "t" else (6, 136, 72)
            z = c.grouped("x", c.input("z", shape, data=few(c, shape)), "ends", order == "t")
            y = c.node("Relu", [y], np.maximum(c.value[y], 0))
            yield c, c.node("Sub", [y, z], c.value[y] - c.value[z]) if kind == "gated" else [y, z]
        # Rows of any number; operands that are parts of others.
        c = Case(f"grouped_dynamic_{dtype}", dtype)
        yield c, c.grouped(c.input("x", (140, 136), ["t", 136]), c.input("y", (4, 72, 136)), c.input("ends", (4,), dtype="i32", data=ENDS["uneven"]), True)
        c = Case(f"grouped_dynamic_groups_{dtype}", dtype)
        y, ends = c.input("y", (4, 72, 136), ["g", 72, 136]), c.input("ends", (4,), ["g"], dtype="i32", data=ENDS["uneven"])
        yield c, c.grouped(c.input("x", (140, 136), ["t", 136]), y, ends, True)
        c = Case(f"grouped_no_rows_{dtype}", dtype)
        yield c, c.grouped(c.input("x", (0, 136), ["t", 136]), c.input("y", (4, 72, 136)), c.input("ends", (4,), dtype="i32", data=[0] * 4), True)
        c = Case(f"grouped_no_groups_{dtype}", dtype)
        yield c, c.epilogue("bias", c.grouped(c.input("x", (70, 136)), c.input("y", (0, 72, 136)), c.input("ends", (0,), dtype="i32", data=[]), True))
        c = Case(f"grouped_parts_{dtype}", dtype)
        x, y, ends = c.input("x", (150, 136)), c.input("y", (4, 100, 136)), c.input("ends", (9,), dtype="i32", data=[7, *ENDS["uneven"], 1, 2, 3, 4])
        x = c.node("Slice", [x, c.axes("x0", 10), c.axes("x1", 150), c.axes("x2", 0)], c.value[x][10:])
        y = c.node("Slice", [y, c.axes("y0", 8), c.axes("y1", 80), c.axes("y2", 1)], c.value[y][:, 8:80])
        ends = c.node("Slice", [ends, c.axes("e0", 1), c.axes("e1", 5), c.axes("e2", 0)], c.value[ends][1:5])
        yield c, c.grouped(x, y, ends, True)
        # Ends that the model computes: routes counted by their experts.
        c = Case(f"grouped_counts_{dtype}", dtype)
        counts = c.input("counts", (4,), dtype="i64", data=[10, 70, 1, 59])
        ends = c.node("CumSum", [counts, c.axes("axis", 0)], np.cumsum(c.value[counts]))
        yield c, c.grouped(c.input("x", (140, 136)), c.input("y", (4, 72, 136)), ends, True)
        c = Case(f"grouped_known_{dtype}", dtype)
        c.weights.append(helper.make_tensor("known", TensorProto.INT32, [4], ENDS["uneven"]))
        c.value["known"] = np.array(ENDS["uneven"], np.float64)
        yield c, c.grouped(c.input("x", (140, 136)), c.constant("y", (4, 72, 136)), "known", True)
        for kind, (ends, text) in BAD_ENDS.items():
            c = Case(f"grouped_bad_{kind}_{dtype}", dtype)
            c.fails = text
            x, y = c.input("x", (140, 136)), c.input("y", (4, 72, 136))
            yield c, c.grouped(x, y, c.input("ends", (4,), dtype="i32", data=ends), True)
    for dtype in ("e4m3", "e5m2"):
        for n, k in ((72, 144), (72, 41)):
            for out in ("f32", "bf16"):
                c, (x, y, ends) = case(f"to_{out}", dtype, ENDS["some_empty"], 140, n, k, "t")
                c.out_dtype = out
                yield c, c.grouped(x, y, ends, True, type=DTYPES[out][0])
    c, (x, y, ends) = case("gated_to_f32", "e4m3", ENDS["behind"], 140, 72, 144, "t")
    c.out_dtype = "f32"
    y, z = (c.grouped(x, y, ends, True, type=TensorProto.FLOAT) for y in (y, c.input("z", (3, 72, 144), data=few(c, (3, 72, 144)))))
    yield c, c.node("Sub", [y, z], c.value[y] - c.value[z])
    for name, schedule in (("narrow", wgmma(64, 64, 128, 6, 1, promote=True)), ("pingpong", wgmma(64, 128, 128, 4, 2, pingPong=True, promote=True))):
        c, (x, y, ends) = case(f"wgmma_{name}", "e4m3", ENDS["behind"], 140, 136, 272, "t")
        c.out_dtype = "f32"
        c.schedule = [{"family": "wgmma", "schedule": schedule}]
        yield c, c.grouped(x, y, ends, True, type=TensorProto.FLOAT)
    # Each kind of schedule.
    for name, schedule in (WGMMA | STREAMS).items():
        for m, ends in ((140, ENDS["uneven"]), (700, [3, 300, 301, 317, 620]), (75, [g // 2 for g in range(64)])):
            for kind in ("relu", "gated"):
                if schedule["splits"] > 1 and kind == "gated" and schedule["columns"] % (16 * schedule["splits"]):
                    continue
                n, k = (264, 200) if len(ends) < 64 else (72, 40)
                c, y = case(f"wgmma_{name}_{len(ends)}_{kind}", "bf16", ends, m, n, k, "t")
                c.schedule = [{"family": "wgmma", "schedule": schedule}]
                if kind == "gated":
                    z = c.grouped("x", c.input("z", shape := (len(ends), n, k), data=few(c, shape)), "ends", True)
                    yield c, c.node("Sub", [y, z], c.value[y] - c.value[z])
                else:
                    yield c, c.epilogue("relu", y)


def folds():
    """Products whose results are reduced, over everything or over rows: where that is likely worth it, as for so many rows as these are compiled for,
    their kernels begin it."""

    def case(name, dtype, m, n, k, kind, order="n", schedule=None):
        c = Case(f"fold_{name}{kind}_{dtype}_{m}x{n}x{k}{order}", dtype)
        c.typical = "b=512"
        c.schedule = [{"family": "wgmma", "schedule": schedule}] if schedule else None

        def few(shape):  # sums that narrow types hold exactly
            return c.random.choice((-1, 0, 0, 1), shape)

        def operand(name, shape, dims=None):
            """8-bit floats are multiplied as they are, and scaled behind."""
            x = c.input(name, shape, dims, data=few(shape))
            if dtype != "e4m3":
                return x
            scale = c.input(f"{name}_scale", (), dtype="f32", data=0.5)
            return c.node("DequantizeLinear", [x, scale], c.value[x] * 0.5)

        c.out_dtype = "f32" if dtype == "e4m3" or kind == "rows" else dtype
        x, w = operand("x", (2, m, k), ["b", m, k]), operand("w", (n, k) if order == "t" else (k, n))
        y = c.matmul(x, c.transpose(w, [1, 0]) if order == "t" else w)
        if kind == "rows":
            if dtype != "e4m3":
                y = c.node("Cast", [y], c.value[y], to=TensorProto.FLOAT)
            sums = c.node("ReduceSum", [y, c.axes("last", 2)], c.value[y].sum(2), keepdims=0)
            most = c.node("ReduceMax", [c.node("Abs", [y], np.abs(c.value[y])), "last"], np.abs(c.value[y]).max(2, keepdims=True))
            squares = c.node("ReduceMean", [c.node("Mul", [y, y], c.value[y] ** 2), "last"], (c.value[y] ** 2).mean(2, keepdims=True))
            return c, [y, sums, most, squares]
        if kind == "all":  # behind an activation
            y = c.node("Relu", [y], np.maximum(c.value[y], 0))
        kept = int(kind == "both")
        most = c.node("ReduceMax", [c.node("Abs", [y], np.abs(c.value[y]))], np.abs(c.value[y]).max(keepdims=bool(kept)), keepdims=kept)
        return c, [y, most, c.node("Sub", [y, most], c.value[y] - c.value[most])]

    for dtype in ("f16", "bf16", "f32", "e4m3"):
        for kind in ("all", "rows"):
            for m, n, k in ((61, 512, 48), (3, 1024, 144), (130, 576, 16)):
                yield case("", dtype, m, n, k, kind, "t")
            if dtype != "e4m3":
                yield case("", dtype, 61, 512, 40, kind)
                yield case("", dtype, 61, 528, 40, kind)  # no whole runs of columns
        # More than all blocks hold.
        if dtype in ("f16", "bf16"):
            for m, n, k in ((61, 512, 48), (130, 576, 16)):
                yield case("", dtype, m, n, k, "both", "t")
    for name in ("wide", "pingpong", "pingpong64", "rows2", "columns2", "split2"):
        for kind in ("all", "both", "rows"):
            yield case(f"wgmma_{name}_", "bf16", 77, 640, 136, kind, "t", WGMMA[name])


def quantised():
    """Products of dequantised operands; scales are powers of two, so that results are exact before they are rounded."""

    def dequantised(c, x, shape, axis):
        scale = c.input(f"{x}_scale", shape, dtype=c.out_dtype, data=np.ldexp(1.0, c.random.integers(-2, 3, shape)))
        per = c.value[scale].reshape([-1 if d == axis and shape else 1 for d in range(c.value[x].ndim)]) if len(shape) < 2 else c.value[scale]
        attributes = {"axis": axis} if len(shape) == 1 else {"axis": axis, "block_size": c.value[x].shape[axis]} if shape else {}
        return c.node("DequantizeLinear", [x, scale], c.value[x] * per, **attributes)

    for dtype in ("e4m3", "e5m2", "i8"):
        for out in ("f32", "bf16", "f16"):
            for m, n, k in ((65, 72, 48), (1, 64, 33), (128, 264, 256), (300, 520, 144), (77, 1032, 640)):
                for kind in ("tensor", "row", "transposed", "weight"):
                    c = Case(f"quantised_{kind}_{dtype}_{out}_{m}x{n}x{k}", dtype)
                    c.out_dtype = out
                    # A scale of each row is one block of the inner dim.
                    x = dequantised(c, c.input("x", (m, k)), () if kind == "tensor" else (m, 1), 1)
                    if kind == "transposed":
                        y = c.transpose(dequantised(c, c.input("y", (n, k)), (n,), 0), [1, 0])
                    else:
                        y = c.constant("y", (k, n)) if kind == "weight" else c.input("y", (k, n))
                        y = dequantised(c, y, () if kind == "tensor" else (n,), 1)
                    z = c.matmul(x, y)
                    if kind != "tensor":
                        b = c.input("b", (n,), dtype=out)
                        z = c.node("Relu", [c.node("Add", [z, b], c.value[z] + c.value[b])], np.maximum(c.value[z] + c.value[b], 0))
                    # Two roundings, of the product and of the sum, where the second has the first one's result.
                    c.rtol = EPSILON[out] if out != "f32" and kind != "tensor" else 0.0
                    yield c, z
    for name in ("wide128", "pingpong", "rows2", "columns2", "split2", "split8", "few16", "few80"):
        schedule = WGMMA["rows2" if name == "wide128" else name]
        schedule = schedule | {"depth": 2 * schedule["depth"], "promote": True} | ({"clusterRows": 1} if name == "wide128" else {})
        # Registers hold no second sums of such tiles.
        for promote in (False,) if name in ("pingpong", "split2") else (True, False):
            for m, n, k in (((schedule["rows"], 1032, 528),) if schedule["rows"] % 64 else ((77, 1032, 528), (333, 520, 1168))):
                c = Case(f"quantised_wgmma_{name}_{m}x{n}x{k}{'' if promote else '_plain'}", "e4m3")
                c.out_dtype = "f32"
                c.schedule = [{"family": "wgmma", "schedule": schedule | {"promote": promote}}]
                x = dequantised(c, c.input("x", (m, k)), (m, 1), 1)
                y = c.transpose(dequantised(c, c.input("y", (n, k)), (n,), 0), [1, 0])
                yield c, c.matmul(x, y)


def scaled_blocks():
    """Products of 8-bit floats with a scale for each 128 elements of a row, and for the same of a column or of 128 columns of y. Powers of
    two and small whole numbers: sums are exact."""

    def scales(c, name, shape):
        if c.normal:
            return c.input(name, shape, dtype="f32", data=c.random.uniform(0.5, 2, shape))
        return c.input(name, shape, dtype="f32", data=np.ldexp(1.0, c.random.integers(-2, 3, shape)))

    def repeated(array, axis, size):
        return np.take(np.repeat(array, 128, axis), range(size), axis)

    def dequantised(c, x, s, axis):
        per = repeated(c.value[s], axis, c.value[x].shape[axis])
        return c.node("DequantizeLinear", [x, s], c.value[x] * per, axis=axis, block_size=128, output_dtype=DTYPES[c.out_dtype][0])

    def expanded(c, s):
        """A scale of 128 rows is repeated for each of them, as far as there are rows."""
        rows, blocks = c.value[s].shape
        s = c.node("Unsqueeze", [s, c.axes(f"{s}1", 1)], c.value[s][:, None])
        s = c.node("Expand", [s, c.axes(f"{s}e", rows, 128, blocks)], np.repeat(c.value[s], 128, 1))
        return c.node("Reshape", [s, c.axes(f"{s}r", -1, blocks)], c.value[s].reshape(-1, blocks))

    def multiplied(c, x, s, sizes, scale_sizes):
        """Cast, Mul in dims of blocks, Reshape."""
        name = x
        wide = c.node("Cast", [x], c.value[x], to=TensorProto.FLOAT)
        wide = c.node("Reshape", [wide, c.axes(f"{name}b", *sizes)], c.value[x].reshape(sizes))
        s = c.node("Reshape", [s, c.axes(f"{name}s", *scale_sizes)], c.value[s].reshape(scale_sizes))
        y = c.node("Mul", [s, wide], c.value[s] * c.value[wide])
        return c.node("Reshape", [y, c.axes(f"{name}w", *c.value[x].shape)], c.value[y].reshape(c.value[x].shape))

    def case(name, dtype, out, m, n, k, columns, form="linear", dims=None, schedule=None, lead=()):
        c = Case(f"scaled_{name}{form}_{dtype}_{out}_{'x'.join(map(str, (*lead, m, n, k)))}_{columns}", dtype)
        c.out_dtype = out
        if "normal" in name:
            c.normal, c.rtol = True, EPSILON[out]
        if schedule:
            c.schedule = [{"family": "wgmma", "schedule": schedule}]
        blocks = -(-k // 128)
        x, s = c.input("x", (*lead, m, k), dims), scales(c, "s", (*lead, m, blocks))
        if dims:
            c.inputs[-1] = (*c.inputs[-1][:3], [*dims[:-1], blocks])
        t = scales(c, "t", (-(-n // columns), blocks))
        if form == "multiplied":
            x = multiplied(c, x, s, (m, blocks, 128), (m, blocks, 1))
            w = c.input("w", (n, k))
            y = multiplied(c, w, t, (n // columns, columns, blocks, 128), (n // columns, 1, blocks, 1))
            return c, c.matmul(x, c.transpose(y, [1, 0]))
        x = dequantised(c, x, s, len(lead) + 1)
        t = t if columns == 1 else expanded(c, t)
        if form == "weight":  # stored by the inner dim
            w = c.constant("w", (k, n))
            y = dequantised(c, w, c.transpose(t, [1, 0]), 0)
        else:
            y = c.transpose(dequantised(c, c.input("w", (n, k)), t, 1), [1, 0])
        z = c.matmul(x, y)
        if form == "relu":
            b = c.input("b", (n,), dtype=out)
            z = c.node("Relu", [c.node("Add", [z, b], c.value[z] + c.value[b])], np.maximum(c.value[z] + c.value[b], 0))
            c.rtol = EPSILON[out] if out != "f32" else 0.0
        return c, z

    for out in ("f32", "bf16"):
        for columns in (1, 128):
            for m, n, k in ((1, 128, 128), (65, 256, 384), (128, 384, 528), (300, 128, 144), (77, 1024, 640)):
                for form in ("linear", "weight", "relu"):
                    yield case("", "e4m3", out, m, n, k, columns, form)
            yield case("", "e5m2", out, 130, 256, 400, columns)
            if out == "f32":
                yield case("", "e4m3", out, 130, 256, 512, columns, "multiplied")
            yield case("rows_", "e4m3", out, 33, 256, 272, columns, lead=(3,))
            yield case("dynamic_", "e4m3", out, 45, 256, 272, columns, lead=(2,), dims=["b", "m", 272])
    yield case("", "e4m3", "f16", 70, 256, 400, 128)
    for columns in (1, 128):
        yield case("normal_", "e4m3", "bf16", 130, 256, 1024, columns)
    for name in ("rows128", "wide", "columns192", "pingpong", "rows2", "columns2", "split2", "split8", "few16", "deep"):
        schedule = {
            "rows128": wgmma(128, 128, 64, 4, 2), "wide": wgmma(128, 160, 64, 4, 2), "columns192": wgmma(128, 192, 64, 3, 2),
            "pingpong": wgmma(64, 192, 64, 4, 2, pingPong=True), "deep": wgmma(128, 32, 128, 4, 2),
        }.get(name) or WGMMA[name]  # fmt: skip
        schedule = schedule | {"depth": 2 * schedule["depth"], "promote": True, "columns": min(schedule["columns"], 192)}
        if name == "split2":
            schedule["columns"] = 64
        for columns in (1, 128):
            m = schedule["rows"] if schedule["rows"] % 64 else 333
            yield case(f"wgmma_{name}_", "e4m3", "bf16", m, 1152, 528, columns, schedule=schedule)
            yield case(f"wgmma_{name}_", "e4m3", "f32", m if m < 64 else 77, 384, 1168, columns, schedule=schedule)


def convolve(x, w, strides, dilations, pads, groups):
    """The plain definition in f64; x [N, C, D…], w [M, C / groups, K…]."""
    rank = x.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0)] + [(pads[d], pads[d + rank]) for d in range(rank)])
    out = [(x.shape[d + 2] - dilations[d] * (w.shape[d + 2] - 1) - 1) // strides[d] + 1 for d in range(rank)]
    result = np.zeros((x.shape[0], w.shape[0], *out))
    per, c = w.shape[0] // groups, w.shape[1]
    for tap in np.ndindex(*w.shape[2:]):
        window = tuple(slice(t * l, t * l + s * (o - 1) + 1, s) for t, l, s, o in zip(tap, dilations, strides, out))
        for g in range(groups):
            part = x[(slice(None), slice(g * c, (g + 1) * c)) + window]
            result[:, g * per : (g + 1) * per] += np.einsum("mc,nc...->nm...", w[(slice(g * per, (g + 1) * per), slice(None)) + tap], part)
    return result


def convolutions():
    for dtype in ("f16", "bf16", "f32", "f64"):
        for name, xs, ws, strides, dilations, pads, groups in (
            ("plain", (2, 8, 20, 20), (24, 8, 3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
            ("aligned", (2, 16, 16, 16), (64, 16, 3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
            ("strided", (1, 3, 33, 31), (17, 3, 7, 7), (2, 2), (1, 1), (3, 3, 3, 3), 1),
            ("asymmetric", (3, 5, 11, 14), (9, 5, 2, 3), (2, 1), (1, 2), (0, 2, 1, 3), 1),
            ("groups", (2, 32, 9, 9), (64, 16, 3, 3), (1, 1), (2, 2), (2, 2, 2, 2), 2),
            ("depthwise", (2, 12, 15, 15), (12, 1, 3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 12),
            ("pointwise", (3, 40, 8, 8), (72, 40, 1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1),
            ("pointwise_odd", (2, 7, 7, 7), (33, 7, 1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1),
            ("line", (2, 6, 100), (20, 6, 5), (3,), (2,), (4, 1), 1),
            ("volume", (1, 4, 7, 8, 9), (18, 4, 3, 2, 3), (1, 2, 1), (1, 1, 2), (1, 0, 2, 1, 1, 2), 1),
        ):
            attributes = {"strides": strides, "dilations": dilations, "pads": pads, "group": groups}
            for kind in ("", "bias", "relu"):
                c = Case(f"conv_{name}{kind and '_' + kind}_{dtype}", dtype)
                x, w = c.input("x", xs), c.input("w", ws)
                inputs, result = [x, w], convolve(c.value[x], c.value[w], strides, dilations, pads, groups)
                if kind:
                    inputs.append(b := c.input("b", (ws[0],)))
                    result = result + c.value[b].reshape(-1, *[1] * (len(xs) - 2))
                y = c.node("Conv", inputs, result, **attributes)
                yield c, c.node("Relu", [y], np.maximum(result, 0)) if kind == "relu" else y


def channels_last():
    """Convolutions of 16-bit floats and TF32 with weights that are known, so that the copy engine gathers windows: results in either
    order, every kind of schedule."""
    shapes = {
        "plain": ((2, 64, 20, 20), (72, 64, 3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
        "few": ((3, 8, 7, 6), (64, 8, 3, 2), (1, 1), (1, 1), (0, 1, 2, 0), 1),
        "lines": ((1, 72, 12, 9), (64, 72, 2, 3), (1, 1), (1, 1), (1, 1, 0, 1), 1),
        "strided": ((2, 16, 10, 12), (64, 16, 2, 3), (2, 1), (1, 2), (1, 0, 0, 3), 1),
        "down": ((2, 64, 65, 70), (64, 64, 3, 3), (2, 2), (1, 1), (0, 0, 1, 1), 1),
        "wide": ((1, 16, 20, 23), (64, 16, 7, 7), (3, 4), (1, 1), (3, 3, 3, 3), 1),
        "apart": ((2, 16, 11, 10), (64, 16, 2, 2), (3, 4), (1, 1), (0, 0, 0, 0), 1),
        "groups": ((2, 128, 9, 9), (144, 64, 3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 2),
        "pointwise": ((3, 40, 8, 8), (72, 40, 1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1),
        "skipping": ((3, 64, 9, 8), (64, 64, 1, 1), (2, 3), (1, 1), (0, 0, 0, 0), 1),
        "line": ((3, 24, 100), (64, 24, 5), (3,), (2,), (4, 1), 1),
        "volume": ((2, 16, 5, 6, 4), (64, 16, 3, 2, 3), (1, 2, 1), (1, 1, 2), (1, 0, 2, 1, 1, 2), 1),
        "many": ((5, 64, 33, 31), (72, 64, 3, 3), (1, 1), (1, 1), (1, 1, 1, 1), 1),
    }  # fmt: skip

    def case(name, dtype, shape, last, kind, dims=None, schedule=None):
        xs, ws, strides, dilations, pads, groups = shape
        c = Case(f"{name}{kind and '_' + kind}_{dtype}", dtype)
        if schedule:
            c.schedule = [{"family": "wgmma", "schedule": schedule}]
        x, w = c.input("x", xs, dims), c.constant("w", ws, (-1, 0, 0, 1))
        result = convolve(c.value[x], c.value[w], strides, dilations, pads, groups)
        inputs = [x, w]
        if kind:
            inputs.append(b := c.constant("b", (ws[0],), (-2, 0, 1)))
            result = result + c.value[b].reshape(-1, *[1] * (len(xs) - 2))
        # What narrow types hold exactly.
        y = c.node("Conv", inputs, result, strides=strides, dilations=dilations, pads=pads, group=groups)
        low, high = c.constant("low", (), (-100,)), c.constant("high", (), (100,))
        y = c.node("Clip", [y, low, high], np.clip(result, -100, 100))
        if kind == "residual":
            y = c.node("Add", [y, r := c.input("r", result.shape)], c.value[y] + c.value[r])
        y = c.transpose(y, [0, *range(2, len(xs)), 1]) if last else y
        if kind == "sum":  # channels last, too
            y = c.node("Add", [r := c.input("r", c.value[y].shape), y], c.value[r] + c.value[y])
        return c, y

    for dtype in ("f16", "bf16", "f32"):
        for name, shape in shapes.items():
            for last in (True, False):
                for kind in ("", "bias", "residual", "sum") if last else ("", "sum"):
                    yield case(f"channels_last_{name}{'' if last else '_first'}", dtype, shape, last, kind)
        xs = shapes["many"][0]
        yield case("channels_last_dynamic", dtype, shapes["many"], True, "bias", ["n", xs[1], "h", "w"])
    for name, schedule in WGMMA.items():
        if schedule["rows"] % 64 == 0:
            for shape in ("many", "down", "lines"):
                for kind in ("", "sum"):
                    c, y = case(f"channels_last_{name}_{shape}", "bf16", shapes[shape], True, kind, schedule=schedule)
                    c.kernels = ["flame::sourced("] if kind and reads_lines(schedule) else []
                    yield c, y


def networks():
    """Several convolutions, between which channels may be the last dim in memory; numbers stay exact between them."""
    for dtype in ("f16", "bf16", "f32"):
        for images, channels, size, groups in ((1, 3, 24, 1), (2, 16, 13, 1), (3, 8, 9, 1), (1, 24, 14, 1), (2, 32, 11, 2), (1, 64, 7, 1)):
            c = Case(f"network_{dtype}_{images}x{channels}x{size}_{groups}", dtype)

            def conv(x, name, out, kernel, stride=1, pad=0, groups=1):
                w = c.constant(name, (out, c.value[x].shape[1] // groups, kernel, kernel), (0, 0, 0, 0, 1, -1))
                pads = [pad] * 4
                result = convolve(c.value[x], c.value[w], (stride,) * 2, (1, 1), pads, groups)
                return c.node("Conv", [x, w], result, strides=[stride] * 2, pads=pads, group=groups)

            def clip(x):
                low, high = "zero", "six"
                return c.node("Clip", [x, low, high], np.clip(c.value[x], 0, 6))

            c.constant("zero", (), (0,)), c.constant("six", (), (6,))
            x = clip(conv(c.input("x", (images, channels, size, size)), "w0", 32, 3, 2, 1))
            pooled = c.value[x][:, :, : c.value[x].shape[2] // 2 * 2, : c.value[x].shape[3] // 2 * 2]
            n, k, h, w = pooled.shape
            x = c.node("MaxPool", [x], pooled.reshape(n, k, h // 2, 2, w // 2, 2).max((3, 5)), kernel_shape=[2, 2], strides=[2, 2])
            y = clip(conv(x, "w1", 48, 3, 1, 1, groups))
            y = clip(conv(y, "w2", 48, 3, 1, 1, 48))
            y = conv(y, "w3", 40, 1)
            skip = conv(x, "w4", 40, 1)
            y = clip(c.node("Add", [y, skip], c.value[y] + c.value[skip]))
            y = clip(conv(y, "w5", 72, 1, 2))
            mean = c.value[y].sum((2, 3), keepdims=True)
            yield c, c.node("ReduceSum", [y, c.axes("axes", 2, 3)], mean, keepdims=1)


def norms():
    """Norms over groups of channels between convolutions, as residual blocks have them: they keep channels last."""
    for dtype in ("f16", "bf16"):
        for images, channels, size, groups, mean in ((1, 64, 16, 32, 0), (3, 80, 9, 8, 0), (2, 64, 33, 64, 0), (1, 96, 12, 2, 4), (2, 320, 24, 32, 0)):
            for dims in (None, ["n", channels, "h", "w"]):
                c = Case(f"norm_{dtype}_{images}x{channels}x{size}_{groups}{'_dynamic' if dims else ''}", dtype, normal=True)
                c.rtol *= 4  # three results are rounded on the way
                x = c.input("x", (images, channels, size, size), dims)

                def conv(x, name, bias):
                    w, b = c.constant(name, (channels, channels, 3, 3), (-1 / 32, 0, 1 / 32)), c.constant(name + "b", (channels,), bias)
                    result = convolve(c.value[x], c.value[w], (1, 1), (1, 1), (1, 1, 1, 1), 1) + c.value[b].reshape(-1, 1, 1)
                    return c.node("Conv", [x, w, b], result, pads=[1] * 4)

                def norm(x):
                    scale, bias = c.constant(f"s{x}", (channels,), (0.5, 1, 1.5)), c.constant(f"t{x}", (channels,), (-1, 0, 1))
                    rows = c.value[x].reshape(images, groups, -1)
                    rows = (rows - rows.mean(2, keepdims=True)) / np.sqrt(rows.var(2, keepdims=True) + 1e-5)
                    result = rows.reshape(c.value[x].shape) * c.value[scale].reshape(-1, 1, 1) + c.value[bias].reshape(-1, 1, 1)
                    y = c.node("GroupNormalization", [x, scale, bias], result, num_groups=groups, epsilon=1e-5)
                    s = c.node("Sigmoid", [y], 1 / (1 + np.exp(-result)))
                    return c.node("Mul", [y, s], result * c.value[s])

                x = conv(x, "w0", (mean - 1, mean, mean + 1))
                y = conv(norm(conv(norm(x), "w1", (-1, 0, 1))), "w2", (0, 1))
                yield c, c.node("Add", [y, x], c.value[y] + c.value[x])


def main(description, make):
    """Packs the cases that `make` gives: pairs of a case and the name of its output."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flamec", required=True, type=pathlib.Path)
    parser.add_argument("--gpu", default="sm_90a")
    parser.add_argument("--target", default="cuda")
    parser.add_argument("--precision", default="strict", help="tf32: whole numbers are exact in it, too")
    parser.add_argument("--option", action="append", default=[], help="one more of flamec compile")
    parser.add_argument("--filter", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("target_folder", metavar="OUT", type=pathlib.Path)
    args = parser.parse_args()
    if args.precision == "tf32":
        EPSILON["f32"] = EPSILON["f16"]  # as many bits of each factor

    def compile(case, output, out):
        folder = out / case.name
        entry = case.write(folder, output)
        command = [args.flamec, "compile", folder / "model.onnx", f"--target={args.target}", "-q"]
        if args.target == "cuda" and case.typical:
            command += [word for typical in case.typical.split(",") for word in ("--typical", typical)]
        if args.target == "cuda" and case.schedule and "sm_90a" in args.gpu:
            (folder / "schedule.json").write_text(json.dumps(case.schedule))
            command.append(f"--schedule={folder / 'schedule.json'}")
        if args.target == "cuda":
            command += [f"--gpu={args.gpu}", f"--precision={args.precision}", *args.option]
        if args.target == "cuda" and args.gpu == "sm_90a" and case.kernels:
            printed = subprocess.run([*map(str, command), "--emit=cuda"], capture_output=True, text=True, timeout=300)
            if printed.returncode == 0 and (lacking := case.lacks(printed.stdout)):
                return entry | {"error": lacking}
        done = subprocess.run([*map(str, command), "-o", str(folder / "model.flame")], capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            return entry | {"error": done.stderr.strip()[:2000] or f"status {done.returncode}"}
        return entry

    with suite_folder(args.target_folder) as out:
        cases = [(c, o) for c, o in make() if re.search(args.filter, c.name)]
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            entries = list(pool.map(lambda pair: compile(*pair, out), cases))
        finish(entries, out)
    return report(entries, args.target_folder)


if __name__ == "__main__":
    raise SystemExit(main(__doc__, lambda: [*products(), *paired(), *grouped(), *folds(), *quantised(), *scaled_blocks(), *convolutions(), *channels_last(), *networks(), *norms()]))
