"""A small builder of ONNX graphs: names its values, collects nodes and initializers, writes the model.

Weights come from one seeded generator in the order of the calls, so a model is the same every time it is built.
"""

from __future__ import annotations

import pathlib

import numpy as np
import onnx
from onnx import TensorProto, external_data_helper, helper, numpy_helper

DTYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "bool": TensorProto.BOOL}


class Graph:
    def __init__(self, name, opset, seed=0):
        self.name = name
        self.opset = opset
        self.rng = np.random.default_rng(seed)
        self.nodes, self.inputs, self.outputs, self.weights = [], [], [], {}

    def input(self, name, dtype, shape):
        self.inputs.append(helper.make_tensor_value_info(name, DTYPES[dtype], shape))
        return name

    def output(self, name, value, dtype, shape):
        """Declares `value` as a graph output called `name`."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"{name}.out"))
        self.outputs.append(helper.make_tensor_value_info(name, DTYPES[dtype], shape))

    def constant(self, name, value):
        self.weights[name] = np.asarray(value)
        return name

    def ints(self, name, *values):
        return self.constant(name, np.array(values, np.int64))

    def normal(self, name, *shape, std=0.02):
        return self.constant(name, self.rng.standard_normal(shape, dtype=np.float32) * np.float32(std))

    def near(self, name, centre, *shape, std=0.05):
        noise = self.rng.standard_normal(shape, dtype=np.float32) * np.float32(std)
        return self.constant(name, np.float32(centre) + noise)

    def op(self, kind, *inputs, name, outputs=1, **attributes):
        """Adds a node called `name`; the result is its output's name, or a list where it has several."""
        names = [name] if outputs == 1 else [f"{name}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=name, **attributes))
        return name if outputs == 1 else names

    def linear(self, x, name, rows, columns):
        product = self.op("MatMul", x, self.normal(f"{name}.weight", rows, columns), name=f"{name}.matmul")
        return self.op("Add", product, self.near(f"{name}.bias", 0, columns), name=name)

    def layer_norm(self, x, name, width, epsilon):
        gamma, beta = self.near(f"{name}.gamma", 1, width), self.near(f"{name}.beta", 0, width)
        return self.op("LayerNormalization", x, gamma, beta, name=name, axis=-1, epsilon=epsilon)

    def model(self):
        weights = [numpy_helper.from_array(np.asarray(v, order="C"), n) for n, v in self.weights.items()]
        graph = helper.make_graph(self.nodes, self.name, self.inputs, self.outputs, weights)
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="flame-tests")


def save(model, path, external=None):
    """Writes the model. `external`: the name of the file beside it that gets all weights of 1 KiB or more."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if external:
        (path.parent / external).unlink(missing_ok=True)
        external_data_helper.convert_model_to_external_data(model, location=external, size_threshold=1024)
    onnx.save_model(model, path)
    return path


def weight_bytes(path):
    """Bytes of all initializers and constants of a model file, by their shapes (external data is not read)."""
    model = onnx.load(path, load_external_data=False)
    total = 0
    for tensor in model.graph.initializer:
        total += int(np.prod(tensor.dims, dtype=np.int64)) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return total
