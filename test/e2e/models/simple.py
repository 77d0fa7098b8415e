"""Small models for tests of the tools themselves."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from .graph import Graph


def relu():
    """One node: y = max(x, 0), float32 [batch, 4]."""
    g = Graph("relu", opset=17)
    g.op("Relu", g.input("x", "float32", ["batch", 4]), name="y")
    g.outputs.append(helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4]))
    return g.model()


def relu_inputs(seed=0):
    return {"x": np.random.default_rng(seed).standard_normal((3, 4), dtype=np.float32)}


def mlp(width=32, classes=5, seed=40):
    """float32 [batch, 16] → two ReLU layers → softmax over `classes`."""
    g = Graph("mlp", opset=17, seed=seed)
    x = g.input("x", "float32", ["batch", 16])
    x = g.op("Relu", g.linear(x, "fc1", 16, width), name="relu1")
    x = g.op("Relu", g.linear(x, "fc2", width, width), name="relu2")
    x = g.op("Softmax", g.linear(x, "fc3", width, classes), name="softmax", axis=-1)
    g.output("probabilities", x, "float32", ["batch", classes])
    return g.model()


def mlp_inputs(seed=0):
    return {"x": np.random.default_rng(seed).standard_normal((3, 16), dtype=np.float32)}


def wide(path, gigabytes=1):
    """A model of `gigabytes` of weights in wide.bin, a file of holes: quick to write, and nothing need ever read it."""
    side = 8192
    count = gigabytes * 2**30 // (side * side * 4)
    weights, nodes, x = [], [], "x"
    for i in range(count):
        tensor = TensorProto(name=f"w{i}", data_type=TensorProto.FLOAT, dims=[side, side])
        tensor.data_location = TensorProto.EXTERNAL
        length = side * side * 4
        for key, value in (("location", "wide.bin"), ("offset", i * length), ("length", length)):
            tensor.external_data.add(key=key, value=str(value))
        weights.append(tensor)
        y = "y" if i == count - 1 else f"h{i}"
        nodes.append(helper.make_node("MatMul", [x, f"w{i}"], [y], name=f"matmul{i}"))
        x = y
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", side]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "wide", values[:1], values[1:], weights)
    onnx.save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    with open(path.parent / "wide.bin", "wb") as file:
        file.truncate(count * side * side * 4)
    return path
