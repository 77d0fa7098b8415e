"""A GPT-2-shaped causal transformer with seeded random weights, batch and sequence symbolic.

Input input_ids: int64 [batch, sequence]. Output last_hidden_state [batch, sequence, width]. Written as exporters write
it: shapes computed with Shape, Gather and Concat, positions with Range, the causal mask cut out of a constant, one
fused qkv product as Gemm on a flattened tensor, tanh-GELU spelled out with Pow.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from .graph import Graph


@dataclasses.dataclass(frozen=True)
class Config:
    layers: int
    width: int
    heads: int
    vocabulary: int
    positions: int = 1024


BASE = Config(layers=12, width=768, heads=12, vocabulary=50257)
TINY = Config(layers=2, width=64, heads=4, vocabulary=500, positions=128)


def gelu_tanh(g, x, name):
    """x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³)))"""

    def scalar(part, value):
        return g.constant(f"{name}.{part}", np.float32(value))

    cube = g.op("Pow", x, scalar("three", 3), name=f"{name}.cube")
    inner = g.op("Add", x, g.op("Mul", cube, scalar("c", 0.044715), name=f"{name}.cubic"), name=f"{name}.inner")
    inner = g.op("Mul", inner, scalar("k", np.sqrt(2 / np.pi)), name=f"{name}.scaled")
    gate = g.op("Add", g.op("Tanh", inner, name=f"{name}.tanh"), scalar("one", 1), name=f"{name}.gate")
    half = g.op("Mul", x, scalar("half", 0.5), name=f"{name}.halved")
    return g.op("Mul", half, gate, name=name)


def build(config, seed=20):
    c, w, head = config, config.width, config.width // config.heads
    g = Graph("gpt2", opset=17, seed=seed)
    ids = g.input("input_ids", "int64", ["batch", "sequence"])
    zero, one = g.ints("zero", 0), g.ints("one", 1)

    shape = g.op("Shape", ids, name="shape")
    batch = g.op("Gather", shape, zero, name="batch", axis=0)
    length = g.op("Gather", shape, one, name="length", axis=0)
    scalar_length = g.op("Squeeze", length, zero, name="length.scalar")
    positions = g.op(
        "Range", g.constant("from", np.int64(0)), scalar_length, g.constant("step", np.int64(1)), name="positions"
    )
    words = g.op("Gather", g.normal("wte", c.vocabulary, w), ids, name="words")
    x = g.op("Add", words, g.op("Gather", g.normal("wpe", c.positions, w), positions, name="places"), name="embedded")

    causal = g.constant("causal", np.tril(np.ones((1, 1, c.positions, c.positions), np.bool_)))
    rows = g.op("Slice", causal, zero, length, g.ints("axis2", 2), name="causal.rows")
    causal = g.op("Slice", rows, zero, length, g.ints("axis3", 3), name="causal.square")
    lowest = g.constant("lowest", np.float32(np.finfo(np.float32).min))

    def conv1d(x, name, inner, outer):
        """GPT-2's dense layer: Gemm over all tokens at once, then back to [batch, sequence, outer]."""
        weight, bias = g.normal(f"{name}.weight", inner, outer), g.near(f"{name}.bias", 0, outer)
        flat = g.op("Reshape", x, g.ints(f"{name}.flat", -1, inner), name=f"{name}.flattened")
        back = g.op("Concat", batch, length, g.ints(f"{name}.outer", outer), name=f"{name}.shape", axis=0)
        return g.op("Reshape", g.op("Gemm", flat, weight, bias, name=f"{name}.gemm"), back, name=name)

    for i in range(c.layers):
        p = f"h{i}"
        qkv = conv1d(g.layer_norm(x, f"{p}.ln1", w, 1e-5), f"{p}.attn", w, 3 * w)
        parts = g.op("Split", qkv, g.ints(f"{p}.sizes", w, w, w), name=f"{p}.qkv", outputs=3, axis=2)
        sizes = g.op("Concat", batch, length, g.ints(f"{p}.head", c.heads, head), name=f"{p}.heads.shape", axis=0)
        q, k, v = (
            g.op("Transpose", g.op("Reshape", y, sizes, name=f"{y}.split"), name=f"{y}.heads", perm=perm)
            for y, perm in zip(parts, ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
        )
        scores = g.op("MatMul", q, k, name=f"{p}.scores")
        scores = g.op("Mul", scores, g.constant(f"{p}.scale", np.float32(head**-0.5)), name=f"{p}.scaled")
        scores = g.op("Where", causal, scores, lowest, name=f"{p}.masked")
        mixed = g.op("MatMul", g.op("Softmax", scores, name=f"{p}.softmax", axis=-1), v, name=f"{p}.mixed")
        mixed = g.op("Transpose", mixed, name=f"{p}.mixed.order", perm=[0, 2, 1, 3])
        merge = g.op("Concat", batch, length, g.ints(f"{p}.width", w), name=f"{p}.merge.shape", axis=0)
        mixed = g.op("Reshape", mixed, merge, name=f"{p}.merged")
        x = g.op("Add", conv1d(mixed, f"{p}.proj", w, w), x, name=f"{p}.residual1")
        up = gelu_tanh(g, conv1d(g.layer_norm(x, f"{p}.ln2", w, 1e-5), f"{p}.fc", w, 4 * w), f"{p}.gelu")
        x = g.op("Add", x, conv1d(up, f"{p}.out", 4 * w, w), name=f"{p}.residual2")

    g.output("last_hidden_state", g.layer_norm(x, "ln_f", w, 1e-5), "float32", ["batch", "sequence", w])
    return g.model()


def inputs(config, batch, sequence, seed=0):
    rng = np.random.default_rng(seed)
    return {"input_ids": rng.integers(0, config.vocabulary, (batch, sequence), dtype=np.int64)}
