"""A BERT-shaped encoder with seeded random weights, batch and sequence symbolic.

Inputs input_ids, attention_mask, token_type_ids: int64 [batch, sequence]. Outputs last_hidden_state [batch, sequence,
width] and pooled [batch, width]. Exact GELU written with Erf, LayerNormalization of opset 17, positions sliced by the
sequence length, a mask of 0 hides a token.
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
    hidden: int
    vocabulary: int
    positions: int = 512
    types: int = 2


BASE = Config(layers=12, width=768, heads=12, hidden=3072, vocabulary=30522)
TINY = Config(layers=2, width=64, heads=4, hidden=256, vocabulary=500)


def gelu(g, x, name):
    """x · (1 + erf(x/√2)) / 2, as exporters of older opsets write it."""
    scaled = g.op("Div", x, g.constant(f"{name}.sqrt2", np.float32(np.sqrt(2))), name=f"{name}.scaled")
    erf = g.op("Erf", scaled, name=f"{name}.erf")
    one = g.op("Add", erf, g.constant(f"{name}.one", np.float32(1)), name=f"{name}.plus1")
    product = g.op("Mul", x, one, name=f"{name}.product")
    return g.op("Mul", product, g.constant(f"{name}.half", np.float32(0.5)), name=name)


def build(config, seed=10):
    c, w, head = config, config.width, config.width // config.heads
    g = Graph("bert", opset=17, seed=seed)
    ids = g.input("input_ids", "int64", ["batch", "sequence"])
    mask = g.input("attention_mask", "int64", ["batch", "sequence"])
    types = g.input("token_type_ids", "int64", ["batch", "sequence"])

    length = g.op("Gather", g.op("Shape", ids, name="shape"), g.constant("axis1", np.int64(1)), name="length", axis=0)
    length = g.op("Unsqueeze", length, g.ints("axes0", 0), name="length1")
    position_ids = g.constant("position_ids", np.arange(c.positions, dtype=np.int64)[None])
    position_ids = g.op("Slice", position_ids, g.ints("start", 0), length, g.ints("axes1", 1), name="positions")
    words = g.op("Gather", g.normal("words.weight", c.vocabulary, w), ids, name="words")
    kinds = g.op("Gather", g.normal("types.weight", c.types, w), types, name="types")
    places = g.op("Gather", g.normal("places.weight", c.positions, w), position_ids, name="places")
    x = g.op("Add", g.op("Add", words, kinds, name="words+types"), places, name="embedded")
    x = g.layer_norm(x, "embeddings.norm", w, 1e-12)

    visible = g.op("Cast", g.op("Unsqueeze", mask, g.ints("axes12", 1, 2), name="mask4"), name="mask.f32", to=1)
    hidden = g.op("Sub", g.constant("visible", np.float32(1)), visible, name="hidden")
    bias = g.op("Mul", hidden, g.constant("lowest", np.float32(np.finfo(np.float32).min)), name="bias")

    for i in range(c.layers):
        p = f"layer{i}"
        split = g.ints(f"{p}.split", 0, 0, c.heads, head)

        def heads(name, perm):
            y = g.op("Reshape", g.linear(x, f"{p}.{name}", w, w), split, name=f"{p}.{name}.split")
            return g.op("Transpose", y, name=f"{p}.{name}.heads", perm=perm)

        q, k, v = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
        scores = g.op("MatMul", q, k, name=f"{p}.scores")
        scores = g.op("Div", scores, g.constant(f"{p}.sqrt", np.float32(np.sqrt(head))), name=f"{p}.scaled")
        scores = g.op("Add", scores, bias, name=f"{p}.masked")
        mixed = g.op("MatMul", g.op("Softmax", scores, name=f"{p}.softmax", axis=-1), v, name=f"{p}.mixed")
        mixed = g.op("Transpose", mixed, name=f"{p}.mixed.order", perm=[0, 2, 1, 3])
        mixed = g.op("Reshape", mixed, g.ints(f"{p}.merge", 0, 0, w), name=f"{p}.merged")
        attended = g.op("Add", g.linear(mixed, f"{p}.output", w, w), x, name=f"{p}.residual1")
        x = g.layer_norm(attended, f"{p}.norm1", w, 1e-12)
        up = gelu(g, g.linear(x, f"{p}.up", w, c.hidden), f"{p}.gelu")
        x = g.op("Add", g.linear(up, f"{p}.down", c.hidden, w), x, name=f"{p}.residual2")
        x = g.layer_norm(x, f"{p}.norm2", w, 1e-12)

    first = g.op("Gather", x, g.constant("token0", np.int64(0)), name="first", axis=1)
    g.normal("pooler.weight", w, w)
    pooled = g.op("Gemm", first, "pooler.weight", g.near("pooler.bias", 0, w), name="pooler", transB=1)
    g.output("last_hidden_state", x, "float32", ["batch", "sequence", w])
    g.output("pooled", g.op("Tanh", pooled, name="pooler.tanh"), "float32", ["batch", w])
    return g.model()


def inputs(config, batch, sequence, seed=0):
    """{name: array}: random tokens; the last quarter of every row but the first is masked out."""
    rng = np.random.default_rng(seed)
    mask = np.ones((batch, sequence), np.int64)
    mask[1:, sequence - sequence // 4 :] = 0
    return {
        "input_ids": rng.integers(0, config.vocabulary, (batch, sequence), dtype=np.int64),
        "attention_mask": mask,
        "token_type_ids": rng.integers(0, config.types, (batch, sequence), dtype=np.int64),
    }
