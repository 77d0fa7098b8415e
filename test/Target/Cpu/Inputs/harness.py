"""Compiles a region of textual IR with flame-opt and calls its kernel through ctypes.

A test states a region's inputs, results and body; `Kernel.run` launches it in a number of chunks, as the runtime does, and
leaves the results in the given arrays.
"""

import ctypes
import json
import os
import subprocess
import tempfile

import numpy as np

ctypes.CDLL("libm.so.6", ctypes.RTLD_GLOBAL)

DTYPES = {
    "f32": np.float32, "f64": np.float64, "f16": np.float16, "i64": np.int64, "i32": np.int32,
    "i16": np.int16, "i8": np.int8, "ui8": np.uint8, "i1": np.bool_,
}


def tensor(shape, dtype="f32"):
    return "tensor<" + "".join(f"{d}x" for d in shape) + dtype + ">"


def region(anchor, inputs, results, body, dims=None):
    """A function with one region. `inputs`, `results`: (shape, dtype); the body sees the inputs as %a0, %a1, … .
    `dims`: for each input the names of its dims, or None."""
    ins = [tensor(*i) for i in inputs]
    outs = [tensor(*r) for r in results]

    def attribute(i):
        if not dims or not dims[i]:
            return ""
        return " {flame.dims = [" + ", ".join(f'"{d}"' for d in dims[i]) + "]}"

    arguments = ", ".join(f"%x{i}: {t}{attribute(i)}" for i, t in enumerate(ins))
    names = ", ".join(f"%x{i}" for i in range(len(ins)))
    block = ", ".join(f"%a{i}: {t}" for i, t in enumerate(ins))
    returned = ", ".join(f"%r#{i}" for i in range(len(outs)))
    return (
        f"func.func @main({arguments}) -> ({', '.join(outs)}) {{\n"
        f"  %r:{len(outs)} = flame.region \"{anchor}\"({names}) : ({', '.join(ins)}) -> ({', '.join(outs)}) {{\n"
        f"  ^bb0({block}):\n{body}\n  }}\n  return {returned} : {', '.join(outs)}\n}}\n"
    )


class Kernel:
    def __init__(self, text, target="x86-64-v3"):
        self.folder = tempfile.TemporaryDirectory()
        source, code = (os.path.join(self.folder.name, n) for n in ("kernel.mlir", "kernel.so"))
        with open(source, "w") as f:
            f.write(text)
        done = subprocess.run(
            ["flame-opt", source, f"--flame-emit-cpu=output={code} target={target}", "-o", os.devnull],
            capture_output=True, text=True,
        )
        if done.returncode:
            raise RuntimeError(f"flame-opt failed on\n{text}\n{done.stderr[:4000]}")
        with open(code + ".json") as f:
            self.launch = json.load(f)[0]
        self.function = getattr(ctypes.CDLL(code), self.launch["symbol"])
        self.function.restype = None

    def run(self, inputs, results, symbols=None, chunks=1):
        names = dict(symbols or {}, floordiv=lambda a, b: a // b, mod=lambda a, b: a % b, min=min, max=max)

        def number(text):
            return int(eval(text, {}, names))

        buffers = [*inputs, *results]
        used = self.launch["buffers"]
        pointers = (ctypes.c_void_p * max(1, len(used)))(*[buffers[b].ctypes.data for b in used])
        args = [number(a) for a in self.launch["args"]]
        numbers = (ctypes.c_int64 * max(1, len(args)))(*args)
        # Scratch memory is dirty: what a kernel reads of it, it must have written.
        scratch = np.full(number(self.launch["scratch"]) + 128, 255, np.uint8)
        start = (scratch.ctypes.data + 63) // 64 * 64
        size = start - scratch.ctypes.data + number(self.launch["scratch"])
        extent = number(self.launch["extent"])
        cuts = [extent * c // chunks for c in range(chunks + 1)]
        for begin, end in zip(cuts, cuts[1:]):
            if begin < end:
                self.function(pointers, numbers, ctypes.c_void_p(start), ctypes.c_int64(begin), ctypes.c_int64(end))
        assert (scratch[size:] == 255).all(), "wrote past the end of scratch memory"
        return results
