#!/usr/bin/env python3
"""Makes the models of runtime_checks.py, compiled for a GPU, for a machine that has one but no compiler.

    make_runtime_cases.py --flamec FLAMEC [--gpu sm_90a] FOLDER

Weights of the transformer are inputs, so that the artifact is small and the other machine makes them.
"""

from __future__ import annotations

import argparse
import os
import pathlib
import subprocess
import tempfile

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as h

OPSET = 22
HIDDEN, HEADS, LAYERS = 768, 12, 12


class Graph:
    def __init__(self, dtype):
        self.dtype, self.nodes, self.inputs, self.constants = dtype, [], [], []

    def input(self, name, dims, dtype=None):
        self.inputs.append(h.make_tensor_value_info(name, dtype or self.dtype, dims))
        return name

    def constant(self, name, array):
        self.constants.append(onnx.numpy_helper.from_array(np.asarray(array), name))
        return name

    def __call__(self, op, *inputs, **attributes):
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(h.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def model(self, outputs):
        outs = [h.make_tensor_value_info(name, dtype, dims) for name, dtype, dims in outputs]
        graph = h.make_graph(self.nodes, "model", self.inputs, outs, self.constants)
        return h.make_model(graph, opset_imports=[h.make_opsetid("", OPSET)], ir_version=10)


def bert():
    """The encoder of BERT-base in f16 over [batch, sequence, 768]."""
    g = Graph(T.FLOAT16)
    x = g.input("x", ["batch", "sequence", HIDDEN])
    split = g.constant("split", np.array([0, 0, HEADS, HIDDEN // HEADS], np.int64))
    join = g.constant("join", np.array([0, 0, HIDDEN], np.int64))
    scale = g.constant("scale", np.float16((HIDDEN // HEADS) ** -0.5))

    def linear(name, x, n, k):
        w, b = g.input(f"{name}.w", [k, n]), g.input(f"{name}.b", [n])
        return g("Add", g("MatMul", x, w), b)

    def norm(name, x):
        w, b = g.input(f"{name}.w", [HIDDEN]), g.input(f"{name}.b", [HIDDEN])
        return g("LayerNormalization", x, w, b, axis=-1, epsilon=1e-5)

    for i in range(LAYERS):
        p = f"layer{i}"
        q, k, v = (g("Reshape", linear(f"{p}.{n}", x, HIDDEN, HIDDEN), split) for n in "qkv")
        scores = g("MatMul", g("Transpose", q, perm=[0, 2, 1, 3]), g("Transpose", k, perm=[0, 2, 3, 1]))
        weights = g("Softmax", g("Mul", scores, scale), axis=-1)
        mixed = g("Transpose", g("MatMul", weights, g("Transpose", v, perm=[0, 2, 1, 3])), perm=[0, 2, 1, 3])
        x = norm(f"{p}.norm1", g("Add", x, linear(f"{p}.out", g("Reshape", mixed, join), HIDDEN, HIDDEN)))
        up = g("Gelu", linear(f"{p}.up", x, 4 * HIDDEN, HIDDEN))
        x = norm(f"{p}.norm2", g("Add", x, linear(f"{p}.down", up, HIDDEN, 4 * HIDDEN)))
    return g.model([(x, T.FLOAT16, ["batch", "sequence", HIDDEN])])


def large():
    """Temporaries as large as the input that cannot be fused away, beside two outputs."""
    g = Graph(T.FLOAT)
    x = g.input("x", ["rows", 4096])
    turned = g("Transpose", g("Softmax", x, axis=-1), perm=[1, 0])
    sums = g("ReduceSum", g("Softmax", turned, axis=-1), g.constant("axes", np.array([1], np.int64)), keepdims=0)
    y = g("Softmax", g("Transpose", g("Relu", turned), perm=[1, 0]), axis=-1)
    return g.model([(y, T.FLOAT, ["rows", 4096]), (sums, T.FLOAT, [4096])])


def weights():
    """48 MiB of weights, a third of them transposed once at load."""
    g = Graph(T.FLOAT)
    x = g.input("x", ["rows", 2048])
    for i in range(3):
        w = g.constant(f"w{i}", (np.arange(2048 * 2048, dtype=np.float32).reshape(2048, 2048) % 7 - 3) / 4096)
        x = g("MatMul", x, w if i else g("Transpose", w, perm=[1, 0]))
    return g.model([(x, T.FLOAT, ["rows", 2048])])


def chain():
    """Two small kernels, for streams, failures and latency."""
    g = Graph(T.FLOAT)
    x = g.input("x", ["n", "m"])
    s = g("Softmax", x, axis=-1)
    y = g("Softmax", g("Add", s, g.constant("one", np.float32(1))), axis=0)
    return g.model([(y, T.FLOAT, ["n", "m"])])


# file: (model, options)
CASES = {
    "bert": (bert, []),
    "large": (large, []),
    "weights": (weights, ["--embed-weights"]),
    "chain": (chain, []),
    "other": (chain, ["--gpu=sm_100"]),
    "ptx": (chain, ["--gpu=compute_80"]),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flamec", required=True, type=pathlib.Path)
    parser.add_argument("--gpu", default="sm_90a")
    parser.add_argument("folder", type=pathlib.Path)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for name, (make, options) in CASES.items():
            model = os.path.join(scratch, "model.onnx")
            onnx.save(make(), model)
            if not any(o.startswith("--gpu") for o in options):
                options = [*options, f"--gpu={args.gpu}"]
            subprocess.run(
                [args.flamec, "compile", model, "-o", args.folder / f"{name}.flame", "--target=cuda", "-q", *options], check=True)
    print(f"{len(CASES)} artifacts, {sum(p.stat().st_size for p in args.folder.iterdir()) / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
