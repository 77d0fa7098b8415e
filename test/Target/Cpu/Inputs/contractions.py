"""Matrix products and convolutions against numpy in float64: odd sizes, broadcasting, every layout and element type."""

import sys

import numpy as np
from harness import DTYPES, Kernel, region, tensor

rng = np.random.default_rng(7)
TOLERANCE = {"f32": 2e-6, "f64": 1e-14, "f16": 1e-3, "i32": 0}


def values(shape, dtype):
    if dtype.startswith("i"):
        return rng.integers(-9, 9, shape).astype(DTYPES[dtype])
    return rng.standard_normal(shape).astype(DTYPES[dtype])


def compare(what, got, want, dtype):
    error = np.abs(got.astype(np.float64) - want).max(initial=0) / max(1e-30, np.abs(want).max(initial=0))
    if error > TOLERANCE[dtype] or not np.isfinite(got.astype(np.float64)).all():
        sys.exit(f"{what}: relative error {error:.2e}")


def panels(matrices, width):
    """pack_panels: […, K, N] → […, ceil(N / width), K, width]."""
    *batch, k, n = matrices.shape
    count = -(-n // width)
    wide = np.zeros((*batch, k, count * width), matrices.dtype)
    wide[..., :n] = matrices
    return np.ascontiguousarray(np.moveaxis(wide.reshape(*batch, k, count, width), -2, -3))


def matmul(m, k, n, x_batch=(), y_batch=(), dtype="f32", tx=False, ty=False, packed=False, bias=True, dynamic=False,
           target="x86-64-v3", anchor="contract"):
    x, y, c = values((*x_batch, m, k), dtype), values((*y_batch, k, n), dtype), values((n,), dtype)
    want = x.astype(np.float64) @ y.astype(np.float64)
    if bias:
        want = np.maximum(want + c, 0)
    attributes = []
    if tx:
        x = np.ascontiguousarray(np.swapaxes(x, -1, -2))
        attributes.append("transpose_x = true")
    if ty:
        y = np.ascontiguousarray(np.swapaxes(y, -1, -2))
        attributes.append("transpose_y = true")
    if packed:
        y = panels(y, 8 if dtype == "f64" else 16)
        attributes.append(f"packed_columns = {n}")
    shapes, symbols, dims = [list(x.shape), list(y.shape), [n], list(want.shape)], {}, None
    if dynamic:
        dims = [[f"x{i}" for i in range(x.ndim)], [str(d) for d in y.shape], None]
        for i, size in enumerate(x.shape[:-1]):
            symbols[f"x{i}"] = size
            shapes[0][i] = shapes[3][i] = "?"
    X, Y, C, R = (tensor(s, dtype) for s in shapes)
    body = f"%s = flame.matmul %a0, %a1 {{{', '.join(attributes)}}} : ({X}, {Y}) -> {R}\n"
    if bias:
        body += f"%t = flame.add %s, %a2 : ({R}, {C}) -> {R}\n%u = flame.relu %t : ({R}) -> {R}\nflame.yield %u : {R}"
    else:
        body += f"flame.yield %s : {R}"
    inputs = [(shapes[0], dtype), (shapes[1], dtype)] + ([([n], dtype)] if bias else [])
    kernel = Kernel(region(anchor, inputs, [(shapes[3], dtype)], body, dims and dims[: len(inputs)]), target)
    for chunks in (1, 3):
        result = np.full(want.shape, 77, DTYPES[dtype])
        kernel.run([x, y, c][: len(inputs)], [result], symbols, chunks)
        compare(f"matmul {x_batch}{m}x{k} {y_batch}{k}x{n} {dtype} {attributes} dynamic={dynamic}", result, want, dtype)


def grouped(ends, m, k, n, dtype="f32", ty=False, dynamic=False, wide=False, anchor="contract"):
    """Rows by groups; what lies behind the last end is 0, whatever x is there."""
    groups = len(ends)
    x, y, c = values((m, k), dtype), values((groups, k, n), dtype), values((n,), dtype)
    want = np.zeros((m, n))
    for begin, end, matrix in zip([0, *ends], ends, y):
        want[begin:end] = x[begin:end].astype(np.float64) @ matrix.astype(np.float64)
    want = np.maximum(want + c, 0)
    if not dtype.startswith("i"):
        x[ends[-1]:] = np.inf
    y = np.ascontiguousarray(np.swapaxes(y, 1, 2)) if ty else y
    integers = "i64" if wide else "i32"
    shapes, dims, symbols = [[m, k], list(y.shape), [groups], [n], [m, n]], None, {}
    if dynamic:
        shapes[0][0] = shapes[1][0] = shapes[2][0] = shapes[4][0] = "?"
        dims, symbols = [["m", str(k)], ["g", *map(str, y.shape[1:])], ["g"], None], {"m": m, "g": groups}
    X, Y, C, R, E = (tensor(s, d) for s, d in zip((*shapes[:2], *shapes[3:], shapes[2]), (dtype,) * 4 + (integers,)))
    body = (f"%s = flame.grouped_matmul %a0, %a1, %a2 {{transpose_y = {str(ty).lower()}}} : ({X}, {Y}, {E}) -> {R}\n"
            f"%t = flame.add %s, %a3 : ({R}, {C}) -> {R}\n%u = flame.relu %t : ({R}) -> {R}\nflame.yield %u : {R}")
    inputs = [(shapes[0], dtype), (shapes[1], dtype), (shapes[2], integers), (shapes[3], dtype)]
    kernel = Kernel(region(anchor, inputs, [(shapes[4], dtype)], body, dims))
    for chunks in (1, 3):
        result = np.full(want.shape, 77, DTYPES[dtype])
        kernel.run([x, y, np.array(ends, DTYPES[integers]), c], [result], symbols, chunks)
        compare(f"groups {ends} {m}x{k}x{n} {dtype} {ty} dynamic={dynamic} {anchor}", result, want, dtype)


def conv_reference(x, w, pads, strides, dilations, groups):
    n = len(strides)
    x, w = x.astype(np.float64), w.astype(np.float64)
    x = np.pad(x, [(0, 0), (0, 0)] + [(pads[i], pads[i + n]) for i in range(n)])
    sizes = [(x.shape[i + 2] - (w.shape[i + 2] - 1) * dilations[i] - 1) // strides[i] + 1 for i in range(n)]
    out = np.zeros((x.shape[0], w.shape[0], *sizes))
    c, m = w.shape[1], w.shape[0] // groups
    for k in np.ndindex(*w.shape[2:]):
        part = x[(slice(None), slice(None)) + tuple(
            slice(k[i] * dilations[i], k[i] * dilations[i] + (sizes[i] - 1) * strides[i] + 1, strides[i])
            for i in range(n))]
        for g in range(groups):
            out[:, g * m:(g + 1) * m] += np.einsum(
                "mc,nc...->nm...", w[(slice(g * m, (g + 1) * m), slice(None)) + k], part[:, g * c:(g + 1) * c])
    return out


def conv(batch, channels, size, out, kernel, pads=None, strides=None, dilations=None, groups=1, dtype="f32", packed=True,
         dynamic=False, target="x86-64-v3"):
    n = len(size)
    pads, strides, dilations = pads or [0] * 2 * n, strides or [1] * n, dilations or [1] * n
    x, w = values((batch, channels, *size), dtype), values((out, channels // groups, *kernel), dtype)
    c = values((out, *[1] * n), dtype)
    want = np.maximum(conv_reference(x, w, pads, strides, dilations, groups) + c, 0)
    shape, m, k = w.shape, out // groups, w[0].size
    attributes = (f"strides = array<i64: {', '.join(map(str, strides))}>, "
                  f"dilations = array<i64: {', '.join(map(str, dilations))}>, groups = {groups}")
    weight_dtype = dtype
    if packed:
        w = panels(np.swapaxes(w.reshape(groups, m, k), 1, 2), min(m, 6))
        attributes += f", packed_shape = array<i64: {', '.join(map(str, shape))}>"
        if dtype == "f16":
            w, weight_dtype = w.astype(np.float32), "f32"
    xs, rs, symbols, dims = list(x.shape), list(want.shape), {}, None
    if dynamic:
        dims = [["n", str(channels)] + [f"s{i}" for i in range(n)], None, None]
        symbols = {"n": batch, **{f"s{i}": s for i, s in enumerate(size)}}
        xs, rs = ["?", channels] + ["?"] * n, ["?", out] + ["?"] * n
    X, W, C, R, P = tensor(xs, dtype), tensor(w.shape, weight_dtype), tensor(c.shape, dtype), tensor(rs, dtype), tensor(
        [2 * n], "i64")
    body = (f"%p = flame.constant {{value = dense<[{', '.join(map(str, pads))}]> : {P}}} : () -> {P}\n"
            f"%s = flame.conv %a0, %a1, %p {{{attributes}}} : ({X}, {W}, {P}) -> {R}\n"
            f"%t = flame.add %s, %a2 : ({R}, {C}) -> {R}\n%u = flame.relu %t : ({R}) -> {R}\nflame.yield %u : {R}")
    built = Kernel(region("conv", [(xs, dtype), (w.shape, weight_dtype), (c.shape, dtype)], [(rs, dtype)], body, dims), target)
    for chunks in (1, 3):
        result = np.full(want.shape, 77, DTYPES[dtype])
        built.run([x, w, c], [result], symbols, chunks)
        compare(f"conv {x.shape} {shape} pads {pads} strides {strides} dilations {dilations} groups {groups} {dtype} "
                f"packed={packed} dynamic={dynamic}", result, want, dtype)


def main():
    for dtype in ("f32", "f64", "f16", "i32"):
        matmul(7, 5, 9, dtype=dtype)
        matmul(13, 70, 33, dtype=dtype, ty=True)
    for dtype in ("f32", "f64", "i32"):
        matmul(13, 70, 33, dtype=dtype, packed=True)
    matmul(1, 300, 50, packed=True)
    matmul(1, 1, 1)
    matmul(131, 300, 270, bias=False)
    matmul(9, 11, 40, tx=True)
    matmul(9, 11, 40, tx=True, ty=True)
    matmul(9, 11, 40, x_batch=(2, 3), y_batch=(3,))
    matmul(9, 11, 40, x_batch=(3, 1), y_batch=(1, 2))
    matmul(3, 11, 17, x_batch=(5,), packed=True)
    matmul(50, 40, 30, x_batch=(3,), dynamic=True, packed=True)
    matmul(150, 40, 30, x_batch=(3,), y_batch=(3,), dynamic=True)
    matmul(9, 0, 40)
    matmul(7, 5, 9, target="x86-64")
    matmul(7, 5, 9, anchor="loop")
    for dtype in ("f32", "f64", "f16", "i32"):
        grouped([3, 3, 20, 21], 21, 33, 17, dtype)
        grouped([0, 70, 200], 230, 40, 50, dtype, ty=True, wide=True)
    grouped([150], 150, 40, 30)
    grouped([0, 0], 9, 40, 30)
    grouped([5, 9], 9, 0, 30)
    grouped([0, 70, 200], 230, 40, 50, dynamic=True)
    grouped([i // 3 for i in range(100)], 40, 20, 9, dynamic=True, wide=True)
    grouped([3, 3, 20, 21], 23, 33, 17, anchor="loop")
    for dtype in ("f32", "f64", "f16", "i32"):
        conv(1, 3, (5, 6), 4, (3, 3), [1, 1, 1, 1], dtype=dtype)
        conv(2, 5, (9, 7), 7, (3, 3), [1, 1, 1, 1], [2, 2], dtype=dtype)
        conv(2, 5, (9, 7), 7, (1, 1), dtype=dtype)
    conv(1, 3, (5, 6), 4, (3, 3), [1, 1, 1, 1], packed=False)
    conv(2, 5, (7, 9), 7, (3, 2), [1, 0, 2, 1], [2, 1], [1, 2])
    conv(2, 5, (7, 9), 7, (3, 2), [1, 0, 2, 1], dilations=[2, 3])
    conv(1, 6, (11,), 9, (4,), [2, 1], [1], [2])
    conv(1, 6, (300,), 9, (4,), [2, 1], [1], [2])
    conv(1, 2, (3, 300), 3, (6, 6), [5, 5, 5, 5])
    conv(2, 4, (3, 4, 5), 6, (1, 1, 1))
    conv(1, 2, (3, 4, 5), 3, (2, 2, 2), [1, 0, 1, 0, 1, 0], packed=False)
    conv(2, 8, (9, 9), 8, (3, 3), [1, 1, 1, 1], groups=8)
    conv(1, 8, (9, 9), 12, (3, 3), [1, 1, 1, 1], [2, 2], groups=2)
    conv(1, 70, (30, 31), 80, (3, 3), [1, 1, 1, 1])
    for strides in ([1, 1], [2, 2]):
        conv(2, 5, (7, 9), 7, (3, 3), [1, 1, 1, 1], strides, dynamic=True)
        conv(2, 5, (7, 150), 7, (3, 3), [1, 1, 1, 1], strides, dynamic=True)
    conv(2, 5, (17, 19), 7, (1, 1), dynamic=True)
    print("ok")


main()
