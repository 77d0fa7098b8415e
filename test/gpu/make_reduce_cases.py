#!/usr/bin/env python3
"""Makes models of reductions, norms and scans with inputs and references, for a machine with a GPU.

    make_reduce_cases.py --flamec FLAMEC --gpu sm_90a [--filter REGEX] [--jobs N] OUT.tar.gz

The archive is run by run_suite.py. References are NumPy's in f64, rounded once to the result's type. Sums of small whole
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
    n = case.node("GroupNormalization", [x, w, b], y, num_groups=groups, epsilon=1e-5)
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
    # Far from zero: squares of the numbers themselves would lose all digits.
    case = Case("group_norm_offset_f32", "f32", normal=True)
    case.rtol = 1e-3
    x = case.input("x", (1, 4, 65536))
    name, data, *rest = case.inputs[0]
    case.inputs[0] = (name, data + np.float32(10000), *rest)
    case.value[x] = case.inputs[0][1].astype(np.float64)
    yield case, group_norm(case, x, 2, False)


def cases():
    return [*rows()]


if __name__ == "__main__":
    raise SystemExit(main(__doc__, cases))
