#!/usr/bin/env python3
"""Makes models of every kernel form over element types and odd sizes, with inputs and references, for a machine with a GPU.

    make_form_cases.py --flamec FLAMEC [--gpu sm_90a | --target cpu] [--filter REGEX] [--jobs N] OUT

The archive has the form of pack_suite.py's and is run by run_suite.py. A model has the operators of one form on one type, an
output each, with symbolic dims; its data sets have the sizes: none, one, primes, powers of two and their neighbours.
References are NumPy's, of floats in f64 and rounded once to the type. What moves or compares elements must agree to the
last bit.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import zlib

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h
from suite_folder import finish, report, suite_folder

OPSET = 22
FLOATS = {"f16": np.float16, "bf16": ml_dtypes.bfloat16, "f32": np.float32, "f64": np.float64}
INTEGERS = {"i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64,
            "u8": np.uint8, "u16": np.uint16, "u32": np.uint32, "u64": np.uint64}  # fmt: skip
NARROW = {"f8e4m3": ml_dtypes.float8_e4m3fn, "f8e5m2": ml_dtypes.float8_e5m2}
DTYPES = {name: np.dtype(t) for name, t in {**FLOATS, **INTEGERS, **NARROW, "bool": np.bool_}.items()}
ONNX = {"f16": T.FLOAT16, "bf16": T.BFLOAT16, "f32": T.FLOAT, "f64": T.DOUBLE, "i8": T.INT8, "i16": T.INT16, "i32": T.INT32,
        "i64": T.INT64, "u8": T.UINT8, "u16": T.UINT16, "u32": T.UINT32, "u64": T.UINT64, "bool": T.BOOL,
        "f8e4m3": T.FLOAT8E4M3FN, "f8e5m2": T.FLOAT8E5M2}  # fmt: skip
# Relative to a result, one rounding of f64 and a few of the arithmetic's own; sums relative to their terms.
RTOL = {"f16": 2e-3, "bf16": 1.6e-2, "f32": 4e-6, "f64": 1e-12}
SIZES = (0, 1, 2, 31, 127, 128, 257, 1009, 4099)


def numbers(random, dtype, shape, low=-4.0, high=4.0):
    kind = DTYPES[dtype]
    if dtype == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if dtype in INTEGERS:
        info = np.iinfo(kind)
        return random.integers(max(info.min, -100), min(info.max, 100), shape, endpoint=True).astype(kind)
    # Few different values compress well; they are no whole numbers, so sums round.
    grid = 16 if high - low > 1 else 64
    return (np.round(random.uniform(low, high, shape) * grid) / grid + 1 / 1024).astype(kind)


class Case:
    """A model and its data sets. `add` gives an output by ONNX nodes and a NumPy function of the inputs."""

    def __init__(self, name, dtype, exact=False, rtol=None):
        self.name, self.dtype = name, dtype
        self.rtol = 0.0 if exact or dtype not in RTOL else rtol or RTOL[dtype]
        self.inputs, self.constants, self.nodes, self.outputs = [], [], [], []
        self.sets = []

    def input(self, name, dims, dtype=None):
        self.inputs.append((name, dims, dtype or self.dtype))
        return name

    def constant(self, array, dtype="i64"):
        name = f"c{len(self.constants)}"
        array = np.asarray(array).astype(DTYPES[dtype])
        self.constants.append(h.make_tensor(name, ONNX[dtype], array.shape, array.tobytes(), raw=True))
        return name

    def add(self, op, inputs, function, out=None, count=1, which=0, **attributes):
        """The node's output number `which` of `count`; `function` takes the data of the model's inputs by name."""
        name = f"{op.lower()}_{len(self.outputs)}"
        names = ["" for _ in range(count)]
        names[which] = name
        self.nodes.append(h.make_node(op, inputs, names, **attributes))
        self.outputs.append((name, function, out or self.dtype))

    def data(self, **arrays):
        self.sets.append(arrays)

    def write(self, folder):
        graph = h.make_graph(
            self.nodes, "case", [h.make_tensor_value_info(n, ONNX[d], dims) for n, dims, d in self.inputs],
            [h.make_tensor_value_info(n, ONNX[d], None) for n, _, d in self.outputs], self.constants)  # fmt: skip
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", OPSET)], ir_version=10)
        folder.mkdir(parents=True)
        onnx.save(model, folder / "model.onnx")
        entry = {"name": self.name, "rtol": self.rtol, "atol": 0.0, "sets": []}
        for i, arrays in enumerate(self.sets):
            (folder / f"set{i}").mkdir()

            def store(name, array, dtype, kind, number):
                file = f"set{i}/{kind}_{number}.pb"
                array = np.asarray(array)
                proto = h.make_tensor(name, ONNX[dtype], array.shape, array.tobytes(), raw=True)
                (folder / file).write_bytes(proto.SerializeToString())
                return [name, file]

            inputs = [store(n, arrays[n], d, "input", k) for k, (n, _, d) in enumerate(self.inputs)]
            wide = {n: a.astype(np.float64) if d in FLOATS else a for (n, _, d), a in zip(self.inputs, arrays.values())}
            outputs = []
            with np.errstate(all="ignore"):
                for k, (name, function, dtype) in enumerate(self.outputs):
                    value = np.asarray(function(**wide))
                    outputs.append(store(name, value.astype(DTYPES[dtype]), dtype, "output", k))
                    if dtype in FLOATS and self.rtol and value.size:
                        finite = np.abs(value[np.isfinite(value)])
                        entry["atol"] = max(entry["atol"], self.rtol * float(finite.max(initial=0.0)) / 4)
            entry["sets"].append({"inputs": inputs, "outputs": outputs})
        return entry


def erf(x):
    import math

    return np.vectorize(math.erf, otypes=[np.float64])(x)


def pointwise(random):
    for d in FLOATS:
        c = Case(f"loop_float_{d}", d)
        x, y = c.input("x", ["n"]), c.input("y", ["n"])
        for op, f in (("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide)):
            c.add(op, [x, y], lambda x, y, f=f: f(x, y))
        for op, f in (
            ("Exp", np.exp), ("Tanh", np.tanh), ("Sigmoid", lambda x: 1 / (1 + np.exp(-x))), ("Erf", erf), ("Sin", np.sin),
            ("Cos", np.cos), ("Gelu", lambda x: 0.5 * x * (1 + erf(x / np.sqrt(2)))), ("Softplus", lambda x: np.log1p(np.exp(x))),
            ("Elu", lambda x: np.where(x < 0, np.exp(x) - 1, x)), ("Atan", np.arctan), ("HardSwish", lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
        ):  # fmt: skip
            c.add(op, [x], lambda x, y, f=f: f(x))
        c.nodes.append(h.make_node("Abs", [y], ["size"]))
        for op, f in (("Sqrt", np.sqrt), ("Log", np.log), ("Reciprocal", lambda v: 1 / v)):
            c.add(op, ["size"], lambda x, y, f=f: f(np.abs(y)))
        for n in SIZES:
            c.data(x=numbers(random, d, n), y=np.where((v := numbers(random, d, n)) == 0, DTYPES[d].type(1), v))
        yield c

        c = Case(f"loop_exact_{d}", d, exact=True)
        x, y = c.input("x", ["n"]), c.input("y", ["n"])
        for op, f in (("Abs", np.abs), ("Neg", np.negative), ("Relu", lambda v: np.where(np.isnan(v), v, np.maximum(v, 0))), ("Floor", np.floor),
                      ("Ceil", np.ceil), ("Round", np.rint), ("Identity", lambda v: v), ("Sign", np.sign)):  # fmt: skip
            if d != "bf16" or op not in ("Floor", "Ceil", "Round"):
                c.add(op, [x], lambda x, y, f=f: f(x))
        c.add("Max", [x, y], lambda x, y: np.maximum(x, y))
        c.add("Min", [x, y], lambda x, y: np.minimum(x, y))
        for op, f in (("Less", np.less), ("Equal", np.equal), ("GreaterOrEqual", np.greater_equal)):
            c.add(op, [x, y], lambda x, y, f=f: f(x, y), out="bool")
        c.add("IsNaN", [x], lambda x, y: np.isnan(x), out="bool")
        for n in SIZES:
            v = numbers(random, d, n)
            if n > 30:
                v[:8] = [np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -1.5, 2.5]
            c.data(x=v, y=np.where(random.random(n) < 0.3, v, numbers(random, d, n)))
        yield c

    for d in INTEGERS:
        c = Case(f"loop_integer_{d}", d)
        x, y = c.input("x", ["n"]), c.input("y", ["n"])
        ops = [("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("BitwiseAnd", np.bitwise_and), ("BitwiseXor", np.bitwise_xor),
               ("Max", np.maximum), ("Min", np.minimum)]  # fmt: skip
        if d[0] == "u":
            ops += [("Div", np.floor_divide), ("Mod", np.mod)]
        else:
            ops += [("Div", lambda x, y: (np.sign(x.astype(object)) * np.sign(y.astype(object)) * (abs(x.astype(object)) // abs(y.astype(object))))),
                    ("Mod", np.mod)]  # fmt: skip
        for op, f in ops:
            c.add(op, [x, y], lambda x, y, f=f: f(x, y))
        for op, f in (("Less", np.less), ("Equal", np.equal)):
            c.add(op, [x, y], lambda x, y, f=f: f(x, y), out="bool")
        c.add("BitwiseNot", [x], lambda x, y: ~x)
        for n in SIZES:
            y = numbers(random, d, n)
            y[y == 0] = 3
            c.data(x=numbers(random, d, n), y=y)
        yield c

    c = Case("loop_bool", "bool")
    x, y = c.input("x", ["n"]), c.input("y", ["n"])
    for op, f in (("And", np.logical_and), ("Or", np.logical_or), ("Xor", np.logical_xor), ("Equal", np.equal)):
        c.add(op, [x, y], lambda x, y, f=f: f(x, y))
    c.add("Not", [x], lambda x, y: ~x)
    for n in SIZES:
        c.data(x=numbers(random, "bool", n), y=numbers(random, "bool", n))
    yield c

    for d in ("f16", "f32", "i32", "u8"):
        c = Case(f"loop_broadcast_{d}", d, exact=True)
        x, y, s = c.input("x", ["a", "b", "c"]), c.input("y", ["b", 1]), c.input("s", [])
        m = c.input("m", ["a", 1, "c"], "bool")
        c.add("Max", [x, y], lambda x, y, s, m: np.maximum(x, y))
        c.add("Min", [x, s], lambda x, y, s, m: np.minimum(x, s))
        c.add("Where", [m, x, y], lambda x, y, s, m: np.where(m, x, y))
        for a, b, e in ((1, 1, 1), (3, 5, 7), (2, 127, 129), (5, 0, 3), (1, 1, 1009), (31, 2, 64)):
            c.data(x=numbers(random, d, (a, b, e)), y=numbers(random, d, (b, 1)), s=numbers(random, d, ()), m=numbers(random, "bool", (a, 1, e)))
        yield c


def casts(random):
    for d in (*FLOATS, *INTEGERS, *NARROW, "bool"):
        c = Case(f"loop_cast_{d}", d, exact=True)
        x = c.input("x", ["n"])

        def convert(x, to, source=d):
            # From the stored type itself; floats leave through f64, integers saturate nowhere as all values fit.
            if to == "bool":
                return x != 0
            wide = x.astype(np.float64) if source in NARROW else x
            if to in NARROW:
                return np.asarray(wide).astype(np.float32).astype(DTYPES[to])
            return np.trunc(wide) if to in INTEGERS and source not in INTEGERS and source != "bool" else wide

        for to in DTYPES:
            if to != d:
                c.add("Cast", [x], lambda x, to=to: convert(x, to), out=to, to=ONNX[to])
        for n in SIZES:
            v = numbers(random, d, n, 0.0, 100.0)
            if d in INTEGERS:
                v = np.abs(v.astype(np.int64)).clip(0, 100).astype(DTYPES[d])
            c.data(x=v)
        yield c


def rows(random):
    for d in FLOATS:
        c = Case(f"row_{d}", d, rtol=2 * RTOL[d])
        x, w, b = c.input("x", ["r", "n"]), c.input("w", ["n"]), c.input("b", ["n"])

        def softmax(x):
            e = np.exp(x - x.max(-1, keepdims=True, initial=-np.inf))
            return e / e.sum(-1, keepdims=True)

        def norm(x, w, b):
            return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * w + b

        c.add("Softmax", [x], lambda x, w, b: softmax(x), axis=-1)
        c.add("LogSoftmax", [x], lambda x, w, b: np.log(softmax(x)), axis=-1)
        if d != "f64":
            c.add("LayerNormalization", [x, w, b], norm, axis=-1, epsilon=1e-5)
        axes = c.constant([-1])
        c.add("ReduceMax", [x, axes], lambda x, w, b: x.max(-1), keepdims=0)
        c.add("ReduceMean", [x, axes], lambda x, w, b: x.mean(-1, keepdims=True))
        c.add("ReduceL2", [x, axes], lambda x, w, b: np.sqrt((x * x).sum(-1)), keepdims=0)
        c.add("ReduceLogSumExp", [x, axes], lambda x, w, b: np.log(np.exp(x).sum(-1)), keepdims=0)
        for r, n in ((1, 1), (0, 5), (7, 2), (3, 31), (5, 127), (4, 128), (33, 129), (2, 1000), (3, 4099), (1, 16411), (100, 16)):
            c.data(x=numbers(random, d, (r, n)), w=numbers(random, d, n), b=numbers(random, d, n))
        yield c

        # Rows of two tensors, one after the other: two of six heads of each.
        for n in (40, 128, "n"):
            c = Case(f"rows_of_two_{n}_{d}", d, rtol=2 * RTOL[d])
            x, y = c.input("x", ["a", 6, n]), c.input("y", ["b", 6, n])
            starts, ends, axes = c.constant([2]), c.constant([4]), c.constant([1])
            for name in (x, y):
                c.nodes.append(h.make_node("Slice", [name, starts, ends, axes], [f"part_{name}"]))
            c.nodes.append(h.make_node("Concat", ["part_x", "part_y"], ["joined"], axis=0))
            c.add("Softmax", ["joined"], lambda x, y: softmax(np.concatenate([x[:, 2:4], y[:, 2:4]])), axis=-1)
            for a, b, length in ((1, 1, 33), (0, 3, 7), (5, 0, 64), (7, 4, 129), (33, 2, 96)):
                length = n if n != "n" else length
                c.data(x=numbers(random, d, (a, 6, length)), y=numbers(random, d, (b, 6, length)))
            yield c


def reductions(random):
    for d in (*FLOATS, "i32", "i64"):
        c = Case(f"reduce_{d}", d, rtol=d in RTOL and 8 * RTOL[d])  # thousands of terms, in any order
        x = c.input("x", ["a", "b", "c"])
        for axes in ([0], [1], [0, 2], [0, 1, 2]):
            at, name = tuple(axes), c.constant(axes)
            c.add("ReduceSum", [x, name], lambda x, at=at: x.sum(at), keepdims=0)
            c.add("ReduceMin", [x, name], lambda x, at=at: x.min(at), keepdims=0)
            if d in FLOATS:
                c.add("ReduceMean", [x, name], lambda x, at=at: x.mean(at), keepdims=0)
                c.add("ReduceSumSquare", [x, name], lambda x, at=at: (x * x).sum(at), keepdims=0)
        for shape in ((1, 1, 1), (2, 3, 5), (31, 7, 33), (127, 2, 64), (3, 257, 1), (1, 4099, 3), (500, 1, 33), (2, 64, 101)):
            c.data(x=numbers(random, d, shape, 0.5, 1.5))
        yield c
        c = Case(f"reduce_arg_{d}", d, exact=True)
        x = c.input("x", ["a", "b", "c"])
        for axis in range(3):
            c.add("ArgMax", [x], lambda x, axis=axis: x.argmax(axis), out="i64", axis=axis, keepdims=0)
            c.add("ArgMin", [x], lambda x, axis=axis: np.expand_dims(x.argmin(axis), axis), out="i64", axis=axis)
        for shape in ((1, 1, 1), (2, 3, 5), (31, 7, 33), (127, 2, 64), (3, 257, 1), (1, 4099, 3)):
            c.data(x=numbers(random, d, shape))
        yield c


MOVED = ("u8", "f16", "f32", "i64", "bool")
SHAPES = ((1, 1, 1), (2, 3, 5), (0, 3, 4), (31, 33, 7), (16, 65, 2), (3, 127, 67), (1, 1009, 4), (64, 1, 129))


def movement(random):
    for d in MOVED:
        c = Case(f"transpose_{d}", d, exact=True)
        x = c.input("x", ["a", "b", "c"])
        for perm in ([0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]):
            c.add("Transpose", [x], lambda x, perm=perm: x.transpose(perm), perm=perm)
        for shape in SHAPES:
            c.data(x=numbers(random, d, shape))
        yield c

        c = Case(f"concat_{d}", d, exact=True)
        x, y = c.input("x", ["a", "b", "c"]), c.input("y", ["a", "b", "c"])
        for axis in range(3):
            c.add("Concat", [x, y, x], lambda x, y, axis=axis: np.concatenate([x, y, x], axis), axis=axis)
        c.add("Tile", [x, c.constant([2, 1, 3])], lambda x, y: np.tile(x, (2, 1, 3)))
        c.add("Expand", [x, c.constant([2, 1, 1, 1])], lambda x, y: np.broadcast_to(x, (2, *x.shape)))
        for shape in SHAPES:
            c.data(x=numbers(random, d, shape), y=numbers(random, d, shape))
        yield c

        c = Case(f"slice_{d}", d, exact=True)
        x = c.input("x", ["a", "b", "c"])
        for start, stop, step in ((0, 2, 1), (1, 1000000, 2), (-1, -1000000, -1), (-3, 1000000, 1)):
            for axis in (1, 2):
                words = [c.constant([v]) for v in (start, stop, axis, step)]
                index = (slice(None),) * axis + (slice(start, stop if abs(stop) < 1000 else None, step),)
                c.add("Slice", [x, *words], lambda x, index=index: x[index])
        for shape in SHAPES:
            c.data(x=numbers(random, d, shape))
        yield c

        c = Case(f"pad_{d}", d, exact=True)
        x = c.input("x", ["a", "b", "c"])
        pads = c.constant([0, 1, 2, 1, 0, 3])
        width = [(0, 1), (1, 0), (2, 3)]
        if d != "bool":
            c.add("Pad", [x, pads], lambda x: np.pad(x, width))
            c.add("Pad", [x, pads], lambda x: np.pad(x, width, mode="edge"), mode="edge")
            c.add("Pad", [x, c.constant([0, -1, 0, 0, 0, 1])], lambda x: np.pad(x[:, 1:], [(0, 0), (0, 0), (0, 1)]))
        else:
            c.add("Pad", [x, pads], lambda x: np.pad(x, width))
        for shape in SHAPES:
            if 0 not in shape:
                c.data(x=numbers(random, d, shape))
        yield c

        for index in ("i32", "i64"):
            c = Case(f"gather_{d}_{index}", d, exact=True)
            x, i = c.input("x", ["a", "b", "c"]), c.input("i", ["k"], index)
            e = c.input("e", ["a", "k", "c"], index)
            for axis in range(3):
                c.add("Gather", [x, i], lambda x, i, e, axis=axis: np.take(x, i % x.shape[axis], axis), axis=axis)
            c.add("GatherElements", [x, e], lambda x, i, e: np.take_along_axis(x, e, 1), axis=1)
            for shape, k in (((1, 1, 1), 1), ((2, 3, 5), 4), ((31, 33, 7), 35), ((16, 65, 2), 0), ((3, 127, 5), 131), ((2, 1009, 3), 7)):
                low = min(shape)
                c.data(x=numbers(random, d, shape), i=random.integers(-low, low, k).astype(DTYPES[index]),
                       e=random.integers(0, shape[1], (shape[0], k, shape[2])).astype(DTYPES[index]))  # fmt: skip
            yield c

        c = Case(f"scatter_{d}", d, exact=True)
        x, i, u = c.input("x", ["a", "b"]), c.input("i", ["k", "b"], "i64"), c.input("u", ["k", "b"])
        j, v = c.input("j", ["k", 1], "i64"), c.input("v", ["k", "b"])

        def along(x, i, u, j, v):
            out = x.copy()
            np.put_along_axis(out, i, u, 0)
            return out

        def rows_of(x, i, u, j, v):
            out = x.copy()
            out[j[:, 0]] = v
            return out

        c.add("ScatterElements", [x, i, u], along, axis=0)
        c.add("ScatterND", [x, j, v], rows_of)
        for a, b, k in ((1, 1, 1), (5, 3, 2), (31, 33, 7), (127, 129, 127), (1009, 4, 500), (7, 257, 0)):
            order = np.stack([random.permutation(a)[:k] for _ in range(b)], 1) if k else np.zeros((0, b))
            c.data(x=numbers(random, d, (a, b)), i=order.astype(np.int64), u=numbers(random, d, (k, b)),
                   j=random.permutation(a)[:k, None].astype(np.int64), v=numbers(random, d, (k, b)))  # fmt: skip
        yield c


        # Slices of known length, several updates of one, indices from the end, tuples of two.
        for length in (1, 6, 24) if d in ("u8", "bf16", "f32", "i64") else ():
            c = Case(f"scatter_slices_{d}_{length}", d, exact=True)
            x, y = c.input("x", ["a", length]), c.input("y", ["a", "b", length])
            i, u = c.input("i", ["k", 1], "i64"), c.input("u", ["k", length])
            j = c.input("j", ["k", 2], "i32" if length == 6 else "i64")

            def whole(*shape):  # so that sums are exact
                return random.integers(0, 9, shape).astype(DTYPES[d])

            def update(x, i, u, combine):
                out = x.copy()
                for at, slice in zip(i, u):
                    out[tuple(at)] = combine(out[tuple(at)], slice)
                return out

            reductions = {"none": lambda old, new: new, "max": np.maximum, "min": np.minimum}
            if d != "bf16":
                reductions["add"] = lambda old, new: old + new
            for name, combine in reductions.items():
                c.add("ScatterND", [x, i, u], lambda x, y, i, u, j, f=combine: update(x, i, u, f), reduction=name)
                c.add("ScatterND", [y, j, u], lambda x, y, i, u, j, f=combine: update(y, j, u, f), reduction=name)
            for a, b, k in ((1, 1, 1), (5, 3, 2), (31, 7, 700), (40, 129, 600), (1200, 3, 50), (7, 2, 0)):
                ends = np.array([[a, b]])
                c.data(x=whole(a, length), y=whole(a, b, length), i=random.integers(-a, a, (k, 1)).astype(np.int64), u=whole(k, length),
                       j=random.integers(-ends, ends, (k, 2)).astype(np.int32 if length == 6 else np.int64))  # fmt: skip
            yield c


def scans(random):
    for d in ("f32", "f64", "i32", "i64", "f16", "bf16"):
        c = Case(f"scan_{d}", d, rtol=d in RTOL and 4 * RTOL[d])
        x = c.input("x", ["a", "b", "c"])
        for axis in range(3):
            name = c.constant(axis)
            c.add("CumSum", [x, name], lambda x, axis=axis: np.cumsum(x, axis))
            c.add("CumSum", [x, name], lambda x, axis=axis: np.cumsum(x, axis) - x, exclusive=1)
            c.add("CumSum", [x, name], lambda x, axis=axis: np.flip(np.cumsum(np.flip(x, axis), axis), axis), reverse=1)
        for shape in ((1, 1, 1), (2, 3, 5), (0, 3, 4), (31, 33, 7), (2, 127, 17), (1, 1009, 3), (2, 1, 4099)):
            c.data(x=numbers(random, d, shape, 0.5, 1.5))
        yield c


def sorting(random):
    def order(x, k, largest, axis=-1):
        # Of equal ones the first; NaN is the greatest.
        ranks = np.unique(x, return_inverse=True)[1].reshape(x.shape)
        return np.take(np.argsort(-ranks if largest else ranks, axis, kind="stable"), range(k), axis)

    def special(dtype, shape):
        x = numbers(random, dtype, shape)
        if dtype in FLOATS and x.size > 30:
            x.flat[random.permutation(x.size)[:8]] = [np.nan, np.inf, -np.inf, 0.0, -0.0, np.nan, -np.nan, 0.0]
        return x

    # Sizes of the run alone.
    for d in (*FLOATS, *INTEGERS):
        c = Case(f"sort_{d}", d, exact=True)
        x, k = c.input("x", ["a", "n"]), c.input("k", [1], "i64")
        for b in (1, 0):
            c.add("TopK", [x, k], lambda x, k, b=b: np.take_along_axis(x, order(x, int(k[0]), b), -1), count=2, largest=b)
            c.add("TopK", [x, k], lambda x, k, b=b: order(x, int(k[0]), b), count=2, which=1, out="i64", largest=b)
        for a, n, top in ((1, 1, 1), (3, 5, 2), (7, 31, 31), (2, 128, 7), (3, 1009, 100), (1, 4099, 4099), (300, 16, 1), (4, 64, 0),
                          (0, 5, 3), (2, 0, 0), (2, 40009, 60), (1, 20011, 20011), (2, 17000, 5000)):  # fmt: skip
            c.data(x=special(d, (a, n)), k=np.array([top], np.int64))
        yield c

    # Sizes of the model: those that warps sort, blocks, blocks that keep the best, and that merge tiles.
    known = (((100, 9), 1, 9), ((37, 100), 1, 7), ((33, 256), 1, 256), ((5, 33, 20), 1, 4), ((3, 2000), 1, 2000), ((2, 700, 9), 1, 100),
             ((300, 1024), 1, 8), ((2, 30011), 1, 50), ((2, 70016), 1, 1000), ((20000, 3), 0, 20), ((2, 20011), 1, 20011),
             ((17000, 2), 0, 5000))  # fmt: skip
    for d in (*FLOATS, *INTEGERS):
        c = Case(f"sort_known_{d}", d, exact=True)
        data = {}
        for i, (shape, axis, top) in enumerate(known):
            name = c.input(f"x{i}", list(shape))
            data[name] = special(d, shape)
            words, b = [name, c.constant([top])], i % 2

            def picks(at=name, top=top, b=b, axis=axis, **x):
                return order(x[at], top, b, axis)

            def values(at=name, picks=picks, axis=axis, **x):
                return np.take_along_axis(x[at], picks(**x), axis)

            c.add("TopK", words, values, count=2, axis=axis, largest=b)
            c.add("TopK", words, picks, count=2, which=1, out="i64", axis=axis, largest=b)
        c.data(**data)
        yield c


def pooling(random):
    for d in ("f16", "bf16", "f32", "f64"):
        c = Case(f"pool_{d}", d)
        x = c.input("x", ["n", "c", "h", "w"])
        blocks = np.lib.stride_tricks.sliding_window_view
        c.add("MaxPool", [x], lambda x: blocks(x, (2, 3), (2, 3))[:, :, ::2, ::1].max((-1, -2)), kernel_shape=[2, 3], strides=[2, 1])
        c.add("AveragePool", [x], lambda x: blocks(x, (3, 3), (2, 3)).mean((-1, -2)), kernel_shape=[3, 3])
        c.add("GlobalAveragePool", [x], lambda x: x.mean((2, 3), keepdims=True))
        c.add("GlobalMaxPool", [x], lambda x: x.max((2, 3), keepdims=True))
        for shape in ((1, 1, 3, 3), (2, 3, 7, 5), (1, 7, 17, 33), (2, 2, 32, 33), (0, 2, 4, 4)):
            c.data(x=numbers(random, d, shape, 0.5, 1.5))
        yield c


FORMS = (pointwise, casts, rows, reductions, movement, scans, sorting, pooling)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flamec", required=True, type=pathlib.Path)
    parser.add_argument("--gpu", default="sm_90a")
    parser.add_argument("--target", default="cuda")
    parser.add_argument("--filter", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("target_folder", metavar="OUT", type=pathlib.Path)
    args = parser.parse_args()

    def compile(case, out):
        folder = out / case.name
        entry = case.write(folder)
        command = [args.flamec, "compile", folder / "model.onnx", "-o", folder / "model.flame", f"--target={args.target}", "-q"]
        command += [f"--gpu={args.gpu}"] if args.target == "cuda" else []
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=500)
        return entry | ({"error": done.stderr.strip()[:2000] or f"status {done.returncode}"} if done.returncode else {})

    with suite_folder(args.target_folder) as out:
        cases = [c for form in FORMS for c in form(np.random.default_rng(zlib.crc32(form.__name__.encode()))) if re.search(args.filter, c.name)]
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            entries = list(pool.map(lambda case: compile(case, out), cases))
        finish(entries, out)
    return report(entries, args.target_folder)


if __name__ == "__main__":
    raise SystemExit(main())
