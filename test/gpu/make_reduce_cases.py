#!/usr/bin/env python3
"""Makes models of reductions, norms and scans with inputs and references, for a machine with a GPU.

    make_reduce_cases.py --flamec FLAMEC --gpu sm_90a [--filter REGEX] [--jobs N] OUT

What they make is run by run_suite.py. References are NumPy's in f64, rounded once to the result's type. Sums of small whole
numbers are exact in f32, so they must agree to the last bit; means, norms and softmax have a tolerance. With
`--target=cpu` the same cases run without a GPU, and with an emulated GPU as test/unit/kernels/FakeNvrtc.cpp says.
"""

from __future__ import annotations

import numpy as np
from make_contract_cases import DTYPES, main
from make_contract_cases import Case as PlainCase
from onnx import TensorProto, helper

FLOATS = ("f16", "bf16", "f32", "f64")
# One step of rounding beyond that of the result, and the errors of a long sum in f32.
LOOSE = {"f16": 2.0**-9, "bf16": 2.0**-6, "f32": 2.0**-17, "f64": 2.0**-40}


class Case(PlainCase):
    """Large inputs repeat a prime number of values, so that the archive stays small and misplaced pieces show."""

    def input(self, name, shape, dims=None, dtype=None):
        period, count = 997, int(np.prod(shape))
        if count <= period:
            return super().input(name, shape, dims, dtype)
        super().input(name, (period,), dims or list(shape), dtype)
        _, data, dtype, dims = self.inputs.pop()
        data = np.resize(data, shape)
        self.inputs.append((name, data, dtype, dims))
        self.value[name] = data.astype(np.float64)
        return name


def constant(case, name, values):
    """An operand that the model knows, of 64-bit integers."""
    values = np.asarray(values, np.int64)
    value = helper.make_tensor(name, TensorProto.INT64, values.shape, values.ravel())
    case.nodes.append(helper.make_node("Constant", [], [name], value=value))
    return name


def near(case):
    case.rtol = LOOSE[case.dtype]
    return case


# ---- rows


def softmax(case, x):
    value = case.value[x]
    e = np.exp(value - value.max(-1, keepdims=True))
    return case.node("Softmax", [x], e / e.sum(-1, keepdims=True), axis=-1)


def group_norm(case, x, groups, silu):
    value = case.value[x]
    channels = value.shape[1]
    w, b = case.input("w", (channels,)), case.input("b", (channels,))
    rows = value.reshape(value.shape[0], groups, -1)
    rows = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(rows.var(-1, keepdims=True) + 1e-5)
    per = [1, channels] + [1] * (value.ndim - 2)
    y = rows.reshape(value.shape) * case.value[w].reshape(per) + case.value[b].reshape(per)
    n = case.node("GroupNormalization", [x, w, b], y, num_groups=groups, epsilon=1e-5,
                  stash_type=TensorProto.DOUBLE if case.dtype == "f64" else TensorProto.FLOAT)  # fmt: skip
    if not silu:
        return n
    s = case.node("Sigmoid", [n], 1 / (1 + np.exp(-y)))
    return case.node("Mul", [n, s], y / (1 + np.exp(-y)))


def rows():
    """Long rows, which several blocks share; their number, and lengths that are multiples of nothing."""
    for dtype in FLOATS:
        for r, c in ((1, 131072), (3, 65536), (7, 70008), (2, 131101), (1, 400000), (40, 65536)):
            if r * c * DTYPES[dtype][1].itemsize > 2 << 20 and dtype != "bf16":
                continue
            case = near(Case(f"softmax_{dtype}_{r}x{c}", dtype, normal=True))
            yield case, softmax(case, case.input("x", (r, c)))
            case = near(Case(f"row_mean_{dtype}_{r}x{c}", dtype))
            x = case.input("x", (r, c))
            mean = case.value[x].mean(1, keepdims=True)
            yield case, case.node("ReduceMean", [x, constant(case, "axes", [1])], mean, keepdims=1)
        for shape, groups in (((1, 8, 200, 200), 2), ((2, 32, 64, 64), 1), ((1, 6, 37, 613), 2), ((1, 4, 262144), 4), ((3, 5, 131), 5)):
            for silu in (False, True):
                name = "x".join(map(str, shape))
                case = near(Case(f"group_norm_{'silu_' if silu else ''}{dtype}_{name}_{groups}", dtype, normal=True))
                yield case, group_norm(case, case.input("x", shape), groups, silu)
        # A row of several dims, of which the last is known.
        for columns in (640, 1093):
            case = Case(f"rows_of_dims_{dtype}_{columns}", dtype)
            x = case.input("x", (3, 7, columns), ["b", "s", columns])
            whole(case, x, -60, 60)
            most = case.value[x].max(keepdims=True)
            yield case, case.node("Sub", [x, case.node("ReduceMax", [x], most, keepdims=1)], case.value[x] - most)
    # Teams of a number of blocks that the compiler knows: one row each (SDXL's), several, with results of other lengths, and a maximum first.
    for shape, groups in (((2, 320, 128, 128), 32), ((1, 40, 65536), 10), ((3, 100, 32768), 50)):
        case = near(Case(f"group_norm_even_bf16_{'x'.join(map(str, shape))}", "bf16", normal=True))
        yield case, group_norm(case, case.input("x", shape), groups, True)
    for dtype, r, c in (("f16", 70, 163840), ("f32", 300, 49152)):
        case = near(Case(f"softmax_even_{dtype}_{r}x{c}", dtype, normal=True))
        yield case, softmax(case, case.input("x", (r, c)))
    case = near(Case("row_mean_even_f16_200x81920", "f16"))
    x = case.input("x", (200, 81920))
    yield case, case.node("ReduceMean", [x, constant(case, "axes", [1])], case.value[x].mean(1, keepdims=True), keepdims=1)
    # So many rows that each team does several.
    for dtype, shape, groups in (("bf16", (1, 25, 524288), 25), ("f32", (2, 120, 32771), 20), ("f16", (5, 64, 65536), 32)):
        case = near(Case(f"group_norm_many_{dtype}", dtype, normal=True))
        yield case, group_norm(case, case.input("x", shape), groups, False)
    # So long ones that they stream through the grid in chunks; the last one longer than its shared memory.
    for dtype, shape, groups in (("bf16", (1, 34, 1048616), 34), ("f32", (1, 30, 600004), 30), ("f64", (1, 64, 131073), 32),
                                 ("f16", (2, 24, 700, 1000), 12), ("bf16", (1, 2, 16777216), 2)):  # fmt: skip
        case = near(Case(f"group_norm_long_{dtype}_{shape[-1]}", dtype, normal=True))
        yield case, group_norm(case, case.input("x", shape), groups, True)
    case = Case("row_sum_long_f32", "f32")
    x = case.input("x", (40, 524300))
    yield case, case.node("ReduceSum", [x, constant(case, "axes", [1])], case.value[x].sum(1, keepdims=True), keepdims=1)
    for r, c in ((140, 131072), (30, 1 << 20)):
        case = near(Case(f"softmax_many_bf16_{r}x{c}", "bf16", normal=True))
        yield case, softmax(case, case.input("x", (r, c)))
        case = near(Case(f"row_mean_many_f16_{r}x{c}", "f16"))
        x = case.input("x", (r, c))
        mean = case.value[x].mean(1, keepdims=True)
        yield case, case.node("ReduceMean", [x, constant(case, "axes", [1])], mean, keepdims=1)
    # Far from zero: squares of the numbers themselves would lose all digits.
    case = Case("group_norm_offset_f32", "f32", normal=True)
    case.rtol = 1e-3
    x = case.input("x", (1, 4, 65536))
    name, data, *rest = case.inputs[0]
    case.inputs[0] = (name, data + np.float32(10000), *rest)
    case.value[x] = case.inputs[0][1].astype(np.float64)
    yield case, group_norm(case, x, 2, False)


# ---- reductions over any dims

SHAPES = (
    # shape, axes
    ((4096, 96), [0]), ((1000, 7), [0]), ((977, 1031), [0]), ((333, 64), [0]), ((20000, 4), [0]), ((3, 2048, 48), [1]),
    ((5, 701, 3), [1]), ((16, 24, 14, 20), [0, 2, 3]), ((9, 5, 13, 17), [0, 2, 3]), ((6, 40, 8, 8), [1]), ((64, 3, 50), [0, 2]),
    ((100, 1000), [1]), ((3, 100003), [1]), ((1009, 33), [1]), ((300, 1, 40, 1), [0, 2]), ((100, 997), None), ((1 << 18,), [0]),
    ((1,), [0]), ((40, 0, 3), [1]), ((0, 64), [0]), ((64, 0), [0]), ((2, 3, 4), [0, 1]),
)  # fmt: skip


def whole(case, x, low, high):
    """Gives an input other whole numbers."""
    name, data, *rest = case.inputs[-1]
    values = np.resize(case.random.integers(low, high, 997), data.shape)
    case.inputs[-1] = (name, values.astype(data.dtype), *rest)
    case.value[x] = case.inputs[-1][1].astype(np.float64)


def reductions():
    for dtype in ("f16", "bf16", "f32", "f64", "i32", "i64", "i8", "u8"):
        for shape, axes in SHAPES:
            name = "x".join(map(str, shape)) + "_" + ("all" if axes is None else "".join(map(str, axes)))
            over = tuple(axes) if axes is not None else None
            for op, function in (("Sum", np.sum), ("Max", np.max), ("Mean", np.mean)):
                if (op != "Sum" and 0 in shape) or (op == "Mean" and dtype[0] not in "fb"):
                    continue
                if op == "Sum" and dtype in ("i8", "u8"):
                    continue  # ONNX has none
                keep = len(shape) % 2
                case = Case(f"reduce_{op.lower()}_{dtype}_{name}", dtype)
                x = case.input("x", shape)
                whole(case, x, -1 if op == "Sum" and dtype != "u8" else 0, 2 if op == "Sum" else 120)
                if op == "Mean":
                    near(case)
                result = function(case.value[x], axis=over, keepdims=bool(keep))
                if op == "Sum" and dtype in ("f16", "bf16") and np.abs(result).max(initial=0) > 200:
                    near(case)
                inputs = [x] if axes is None else [x, constant(case, "axes", axes)]
                yield case, case.node(f"Reduce{op}", inputs, np.asarray(result), keepdims=keep)
            if axes is not None and len(axes) == 1 and shape[axes[0]] > 0 and 0 not in shape:
                for op, function in (("ArgMax", np.argmax), ("ArgMin", np.argmin)):
                    for last in (0, 1):
                        case = Case(f"{op.lower()}_{'last_' if last else ''}{dtype}_{name}", dtype)
                        case.out_dtype = "i64"
                        x = case.input("x", shape)
                        whole(case, x, 0, 5)  # many are equal
                        value = case.value[x]
                        if last:
                            result = value.shape[axes[0]] - 1 - function(np.flip(value, axes[0]), axis=axes[0])
                        else:
                            result = function(value, axis=axes[0])
                        yield case, case.node(op, [x], result, axis=axes[0], keepdims=0, select_last_index=last)
        # A function of two reductions of one tensor.
        if dtype in FLOATS:
            case = near(Case(f"variance_{dtype}", dtype))
            x = case.input("x", (3000, 70))
            value = case.value[x]
            square = case.node("Mul", [x, x], value**2)
            axes = constant(case, "axes", [0])
            mean = case.node("ReduceMean", [x, axes], value.mean(0), keepdims=0)
            squares = case.node("ReduceMean", [square, axes], (value**2).mean(0), keepdims=0)
            both = case.node("Mul", [mean, mean], value.mean(0) ** 2)
            yield case, case.node("Sub", [squares, both], value.var(0))
        for shape, axis in (((2000, 60), 0), ((60, 4000), 1)):
            case = Case(f"reduce_dynamic_{dtype}_{axis}", dtype)
            if dtype in ("i8", "u8"):
                continue
            x = case.input("x", shape, ["n", "m"])
            whole(case, x, -1, 2)
            yield case, case.node("ReduceSum", [x, constant(case, "axes", [axis])], case.value[x].sum(axis), keepdims=0)
    for values, name in (([1.0, np.nan, 3, np.nan], "nan"), ([-np.inf] * 4, "inf")):
        for op in ("ArgMax", "ArgMin"):
            case = Case(f"{op.lower()}_{name}", "f32")
            case.out_dtype = "i64"
            x = case.input("x", (5, 4000))
            case.inputs[0] = (x, np.resize(np.float32(values), (5, 4000)), "f32", [5, 4000])
            yield case, case.node(op, [x], np.full(5, 1.0 if name == "nan" else 0.0), axis=1, keepdims=0)


# ---- scans


def scans():
    for dtype in ("f16", "bf16", "f32", "f64", "i32", "i64"):
        for shape, axis in (((3, 1024), 1), ((5, 1000), 1), ((2, 3, 77), 2), ((1,), 0), ((2, 100003), 1), ((1, 1 << 18), 1),
                            ((300, 40), 1), ((70, 33), 0), ((4, 0), 1), ((0, 4), 1), ((40, 50), 0), ((2, 700, 60), 1), ((513, 128), 0),
                            ((70, 34000), 0), ((40000, 3), 0), ((2, 37001, 4), 1)):  # fmt: skip
            for exclusive, reverse in ((0, 0), (1, 0), (0, 1), (1, 1)):
                if np.prod(shape) > 1e6 and (dtype, exclusive) != ("f16", 1):
                    continue
                name = "x".join(map(str, shape)) + f"_{axis}" + "_exclusive" * exclusive + "_reverse" * reverse
                case = Case(f"cumsum_{dtype}_{name}", dtype)
                x = case.input("x", shape)
                whole(case, x, -1, 2)
                value = np.flip(case.value[x], axis) if reverse else case.value[x]
                result = np.cumsum(value, axis) - (value if exclusive else 0)
                result = np.flip(result, axis) if reverse else result
                if dtype in ("f16", "bf16") and np.abs(result).max(initial=0) > 200:
                    near(case)
                inputs = [x, constant(case, "axis", axis)]
                yield case, case.node("CumSum", inputs, result, exclusive=exclusive, reverse=reverse)


def cases():
    return [*rows(), *reductions(), *scans()]


if __name__ == "__main__":
    raise SystemExit(main(__doc__, cases))
