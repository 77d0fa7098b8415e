"""The light convolutional networks of the onnx wheel with seeded random weights instead of one repeated number.

The wheel ships the true graphs, every large weight as ConstantOfShape(0.02): enough for its backend suite, but a wrong
channel or tap would not show. `build` puts random weights in their place, scaled so that activations stay near one.
"""

from __future__ import annotations

import numpy as np
import onnx
import onnx_data
from onnx import numpy_helper

# Variance of a convolution's output over that of its input: residual sums need less than plain chains.
GAINS = {"resnet50": 0.7, "densenet121": 2.0, "vgg19": 2.0}


def build(name, seed=30):
    rng = np.random.default_rng(seed)
    model = onnx.load(onnx_data.light_model(name))
    graph = model.graph
    shapes = {i.name: i for i in graph.initializer}
    users = {}
    for node in graph.node:
        for position, value in enumerate(node.input):
            users.setdefault(value, (node, position))

    kept, added, dropped = [], [], set()
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(int(n) for n in numpy_helper.to_array(shapes[node.input[0]]))
        value = _weight(rng, users, node.output[0], shape, GAINS[name])
        added.append(numpy_helper.from_array(value.astype(np.float32), node.output[0]))
        dropped.add(node.input[0])
    weights = [i for i in graph.initializer if i.name not in dropped] + added
    inputs = [i for i in graph.input if i.name not in shapes]
    for field, values in ((graph.node, kept), (graph.initializer, weights), (graph.input, inputs)):
        del field[:]
        field.extend(values)
    model.ir_version = 4  # from here on a weight need not be declared as an input
    return model


def _weight(rng, users, name, shape, gain):
    """Random values fit for the place where the value is used first."""
    node, position = users[name]
    if node.op_type == "Unsqueeze":  # a per-channel factor or offset
        node, position = users[node.output[0]]
        return 1 + 0.1 * rng.standard_normal(shape) if node.op_type == "Mul" else 0.1 * rng.standard_normal(shape)
    if position == 1 and node.op_type in ("Conv", "Gemm"):
        fan_in = int(np.prod(shape[1:]))
        return rng.standard_normal(shape, dtype=np.float32) * np.sqrt((gain if node.op_type == "Conv" else 1) / fan_in)
    if node.op_type == "BatchNormalization" and position in (1, 4):
        return rng.uniform(0.5, 1.5, shape)
    return 0.1 * rng.standard_normal(shape)


def inputs(name, seed=0):
    model = onnx.load(onnx_data.light_model(name))
    rng = np.random.default_rng(seed)
    (value,) = onnx_data.inputs_to_feed(model)
    shape = [d.dim_value for d in value.type.tensor_type.shape.dim]
    return {value.name: rng.standard_normal(shape, dtype=np.float32)}
