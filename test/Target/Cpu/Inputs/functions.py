"""Elementary functions against numpy in float64: units in the last place over the whole range, special values, signs."""

import math
import sys

import numpy as np
from harness import Kernel, region, tensor

N = 1 << 14
rng = np.random.default_rng(3)
erf = np.vectorize(math.erf, otypes=[np.float64])
FUNCTIONS = {"exp": (np.exp, 2), "log": (np.log, 2), "tanh": (np.tanh, 2), "erf": (erf, 2)}
SPECIAL = [0.0, -0.0, np.inf, -np.inf, np.nan, 1, -1, 88.7, 88.73, -87.4, -103.9, -104.5, 1e-40, -1e-40, 1.4e-45, 3.4e38, -3.4e38]


def ranges():
    yield "all bits", rng.integers(0, 2**32, N, dtype=np.uint32).view(np.float32)
    yield "[-1, 1]", rng.uniform(-1, 1, N)
    yield "near 0", rng.standard_normal(N) * 1e-3
    yield "near 1", 1 + rng.standard_normal(N) * 1e-3
    yield "[-10, 10]", rng.uniform(-10, 10, N)
    yield "[-110, 110]", rng.uniform(-110, 110, N)
    yield "special", np.resize(SPECIAL, N)


def check(name, function, limit, target):
    T = tensor([N])
    kernel = Kernel(region("loop", [([N],)], [([N],)], f"%s = flame.{name} %a0 : ({T}) -> {T}\nflame.yield %s : {T}"), target)
    for label, x in ranges():
        x = x.astype(np.float32)
        got = kernel.run([x], [np.empty(N, np.float32)])[0]
        with np.errstate(all="ignore"):
            want = function(x.astype(np.float64))
            rounded = want.astype(np.float32)
        finite = np.isfinite(rounded)
        same = (np.isnan(rounded) & np.isnan(got)) | (rounded == got)
        units = np.abs(got[finite] - want[finite]) / np.spacing(np.maximum(np.abs(rounded[finite]), np.float32(1e-45)))
        # At the edge of the range a result may round to infinity.
        edge = np.abs(rounded[finite]) > 3.4e38
        if not same[~finite].all() or (units[~edge] > limit).any():
            sys.exit(f"{name} on {label} for {target}: {np.nanmax(units, initial=0):.2f} units")
        zero = x == 0
        if name != "exp" and name != "log" and not (np.signbit(got[zero]) == np.signbit(x[zero])).all():
            sys.exit(f"{name} loses the sign of zero")


for target in ("x86-64-v3", "x86-64"):
    for name, (function, limit) in FUNCTIONS.items():
        check(name, function, limit, target)
print("ok")
