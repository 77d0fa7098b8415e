"""Compares values as onnx.backend.test.runner does: number, shapes, dtypes, strings exactly, numbers in tolerances."""

from __future__ import annotations

import numpy as np


def difference(expected, actual, rtol, atol, where="output"):
    """None if `actual` is as `expected`, else a line that says where and how it differs."""
    if isinstance(expected, (list, tuple)):
        if not isinstance(actual, (list, tuple)):
            return f"{where}: a sequence was expected, found {type(actual).__name__}"
        if len(expected) != len(actual):
            return f"{where}: {len(expected)} elements were expected, found {len(actual)}"
        for i, (e, a) in enumerate(zip(expected, actual)):
            found = difference(e, a, rtol, atol, f"{where}[{i}]")
            if found:
                return found
        return None
    if expected is None or actual is None:
        return None if expected is None and actual is None else f"{where}: one is an empty optional, the other is not"
    expected, actual = np.asarray(expected), np.asarray(actual)
    if expected.shape != actual.shape:
        return f"{where}: shape {list(actual.shape)}, expected {list(expected.shape)}"
    if expected.dtype.kind in "OUS":
        bad = np.asarray(expected.astype(object) != actual.astype(object))
        return f"{where}: {int(bad.sum())} strings differ" if bad.any() else None
    if expected.dtype != actual.dtype:
        return f"{where}: type {actual.dtype}, expected {expected.dtype}"
    if expected.size == 0:
        return None
    wide = np.complex128 if expected.dtype.kind == "c" else np.float64
    if expected.dtype.kind in "biu":
        bad = ~np.isclose(actual.astype(wide), expected.astype(wide), rtol=rtol, atol=atol)
        bad &= actual != expected
    else:
        bad = ~np.isclose(actual.astype(wide), expected.astype(wide), rtol=rtol, atol=atol, equal_nan=True)
    if not bad.any():
        return None
    at = tuple(int(i) for i in np.argwhere(bad)[0])
    return (
        f"{where}: {int(bad.sum())} of {bad.size} elements differ, first at {list(at)}: "
        f"{actual[at]}, expected {expected[at]}"
    )
