"""cuBLASLt through ctypes: the library that PyTorch has loaded, its best of several heuristics."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_float, c_int, c_int32, c_int64, c_size_t, c_uint64, c_void_p

from bench_gpu import around, sustained

# cudaDataType_t and cublasComputeType_t, from NVIDIA's library_types.h and cublas_api.h
TYPES = {"float32": 0, "float16": 2, "bfloat16": 14, "float8_e4m3fn": 28, "float8_e5m2": 29}
COMPUTE_F32, COMPUTE_TF32 = 68, 77
# cublasLtMatmulDescAttributes_t and cublasLtMatmulPreferenceAttributes_t, from cublasLt.h
TRANSPOSE_A, TRANSPOSE_B, A_SCALE, B_SCALE, MOST_WORKSPACE = 3, 4, 17, 18, 1
WORKSPACE = 64 << 20


class Heuristic(ctypes.Structure):
    _fields_ = [("algorithm", c_uint64 * 8), ("workspace", c_size_t), ("state", c_int), ("waves", c_float), ("reserved", c_int * 4)]


def _loaded(name):
    """The path under which this process has mapped a library."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            if name in line:
                return line.split()[-1]
    raise OSError(f"{name} is not loaded")


class Product:
    """y = x @ w^T for contiguous x [M, K], w [N, K]; with `transposed` false w is [K, N]. Call `tune` once, then the
    object, with tensors of these shapes."""

    library = handle = None

    def __init__(self, m, n, k, dtype, out_dtype, transposed=True, tf32=False, scales=()):
        import torch

        if Product.library is None:
            torch.ones(8, 8, device="cuda", dtype=torch.bfloat16) @ torch.ones(8, 8, device="cuda", dtype=torch.bfloat16)
            Product.library = ctypes.CDLL(_loaded("libcublasLt.so"))
            Product.handle = c_void_p()
            self._check(self.library.cublasLtCreate(byref(Product.handle)))
        self.workspace = torch.empty(WORKSPACE, device="cuda", dtype=torch.uint8)
        lib, self.description, self.scales = self.library, c_void_p(), scales
        self._check(lib.cublasLtMatmulDescCreate(byref(self.description), COMPUTE_TF32 if tf32 else COMPUTE_F32, TYPES["float32"]))
        # The library's matrices go down columns: y^T = w · x^T.
        self._set(TRANSPOSE_A, c_int32(int(transposed)))
        self._set(TRANSPOSE_B, c_int32(0))
        for attribute, scale in zip((A_SCALE, B_SCALE), scales):
            self._set(attribute, c_void_p(scale.data_ptr()))
        kind, out = TYPES[dtype], TYPES[out_dtype]
        self.w = self._layout(kind, k, n) if transposed else self._layout(kind, n, k)
        self.x, self.y = self._layout(kind, k, m), self._layout(out, n, m)
        self.one, self.zero, self.algorithm = c_float(1), c_float(0), None

    @staticmethod
    def _check(status):
        if status:
            raise RuntimeError(f"cuBLASLt status {status}")

    def _set(self, attribute, value):
        self._check(self.library.cublasLtMatmulDescSetAttribute(self.description, attribute, byref(value), c_size_t(ctypes.sizeof(value))))

    def _layout(self, kind, rows, columns):
        layout = c_void_p()
        self._check(self.library.cublasLtMatrixLayoutCreate(byref(layout), kind, c_uint64(rows), c_uint64(columns), c_int64(rows)))
        return layout

    def _run(self, algorithm, x, w, y):
        import torch

        return self.library.cublasLtMatmul(
            self.handle, self.description, byref(self.one), c_void_p(w.data_ptr()), self.w, c_void_p(x.data_ptr()), self.x,
            byref(self.zero), c_void_p(y.data_ptr()), self.y, c_void_p(y.data_ptr()), self.y, byref(algorithm),
            c_void_p(self.workspace.data_ptr()), c_size_t(WORKSPACE), c_void_p(torch.cuda.current_stream().cuda_stream))  # fmt: skip

    def tune(self, sets, results, count=10):
        """Times what the library proposes, at most `count`, over all the copies of x and w, and keeps the fastest. The three fastest are
        timed once more for longer: near the limit of the power the order of the others is noise."""
        preference, found = c_void_p(), c_int()
        self._check(self.library.cublasLtMatmulPreferenceCreate(byref(preference)))
        most = c_size_t(WORKSPACE)
        self._check(self.library.cublasLtMatmulPreferenceSetAttribute(preference, MOST_WORKSPACE, byref(most), c_size_t(8)))
        proposed = (Heuristic * count)()
        self._check(self.library.cublasLtMatmulAlgoGetHeuristic(
            self.handle, self.description, self.w, self.x, self.y, self.y, preference, count, proposed, byref(found)))  # fmt: skip
        works = {i: r.algorithm for i, r in enumerate(proposed[: found.value])
                 if r.state == 0 and self._run(r.algorithm, *sets[0], results[0]) == 0}  # fmt: skip
        if not works:
            raise RuntimeError("cuBLASLt has no algorithm for this")
        for rounds, milliseconds, kept in ((2, 8, 3), (3, 30, 1)):
            turns = {i: around([lambda a=a, s=s, y=y: self._run(a, *s, y) for s, y in zip(sets, results)]) for i, a in works.items()}
            times = sustained(turns, rounds, milliseconds)
            works = {i: works[i] for i in sorted(times, key=times.get)[:kept]}
        [self.algorithm] = works.values()

    def bound(self, x, w, y):
        """A function of no arguments that multiplies these."""
        import torch

        arguments = (
            self.handle, self.description, byref(self.one), c_void_p(w.data_ptr()), self.w, c_void_p(x.data_ptr()), self.x,
            byref(self.zero), c_void_p(y.data_ptr()), self.y, c_void_p(y.data_ptr()), self.y, byref(self.algorithm),
            c_void_p(self.workspace.data_ptr()), c_size_t(WORKSPACE), c_void_p(torch.cuda.current_stream().cuda_stream))  # fmt: skip
        function = self.library.cublasLtMatmul
        return lambda: function(*arguments)
