"""The two networks of this example: how each is trained (on `autodiff`) and how each is written as ONNX.

Both take `image`, float32 [batch, 1, 8, 8] with values 0 to 16 as scikit-learn's digits have them, and give `logits`,
float32 [batch, 10]; the batch is symbolic. `forward` and `export` say the same computation twice; train.py checks
with ONNX Runtime that they agree.
"""

from __future__ import annotations

import autodiff as ad
import numpy as np
import onnx
from autodiff import Var
from onnx import TensorProto, helper, numpy_helper


class Network:
    """Named parameters, and the state that training updates outside the gradient (`buffers`)."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.parameters = {}
        self.buffers = {}

    def weight(self, name, *shape, fan_in=None, gain=1.0):
        fan_in = fan_in or shape[0]
        value = self.rng.standard_normal(shape, dtype=np.float32) * np.float32(gain / np.sqrt(fan_in))
        self.parameters[name] = Var(value)

    def fill(self, name, value, *shape):
        self.parameters[name] = Var(np.full(shape, value, np.float32))

    def __getitem__(self, name):
        return self.parameters[name]


class Cnn(Network):
    """Three 3×3 convolutions with batch normalisation and ReLU, two poolings, one dense layer."""

    name = "digits-cnn"
    opset, ir_version = 17, 8
    channels = (1, 16, 32, 32)

    def __init__(self, seed=1):
        super().__init__(seed)
        for i, (c, k) in enumerate(zip(self.channels, self.channels[1:]), start=1):
            self.weight(f"conv{i}.weight", k, c, 3, 3, fan_in=9 * c, gain=np.sqrt(2))
            self.fill(f"norm{i}.gamma", 1, k)
            self.fill(f"norm{i}.beta", 0, k)
            self.buffers[f"norm{i}.mean"] = np.zeros(k, np.float32)
            self.buffers[f"norm{i}.variance"] = np.ones(k, np.float32)
        self.weight("head.weight", 128, 10)
        self.fill("head.bias", 0, 10)

    def forward(self, images):
        x = Var(images) * (1 / 16)
        for i in (1, 2, 3):
            x = ad.conv3x3(x, self[f"conv{i}.weight"])
            running = (self.buffers[f"norm{i}.mean"], self.buffers[f"norm{i}.variance"])
            x = ad.relu(ad.batch_norm(x, self[f"norm{i}.gamma"], self[f"norm{i}.beta"], running))
            if i > 1:
                x = ad.max_pool2x2(x)
        return x.reshape(-1, 128) @ self["head.weight"] + self["head.bias"]

    def export(self):
        g = Graph(self)
        x = g.op("Mul", "image", g.constant("scale", np.float32(1 / 16)))
        for i in (1, 2, 3):
            x = g.op("Conv", x, f"conv{i}.weight", name=f"conv{i}", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            norm = [f"norm{i}.{part}" for part in ("gamma", "beta", "mean", "variance")]
            x = g.op("BatchNormalization", x, *norm, name=f"norm{i}", epsilon=1e-5)
            x = g.op("Relu", x, name=f"relu{i}")
            if i > 1:
                x = g.op("MaxPool", x, name=f"pool{i}", kernel_shape=[2, 2], strides=[2, 2])
        x = g.op("Flatten", x, name="flatten", axis=1)
        g.op("Gemm", x, "head.weight", "head.bias", name="head", output="logits")
        return g.model()


class Transformer(Network):
    """An encoder over the sixteen 2×2 patches: learned positions, pre-normalised blocks, exact GELU, mean pooling."""

    name = "digits-transformer"
    opset, ir_version = 21, 10
    width, heads, hidden, layers, tokens = 64, 4, 128, 2, 16

    def __init__(self, seed=2):
        super().__init__(seed)
        w = self.width
        self.weight("embed.weight", 4, w)
        self.fill("embed.bias", 0, w)
        self.weight("positions", self.tokens, w, fan_in=1, gain=0.1)
        for i in range(self.layers):
            for norm in ("norm1", "norm2"):
                self.fill(f"block{i}.{norm}.gamma", 1, w)
                self.fill(f"block{i}.{norm}.beta", 0, w)
            for name, rows, columns, gain in (
                ("qkv", w, 3 * w, 1.0),
                ("proj", w, w, 0.5),
                ("up", w, self.hidden, 1.0),
                ("down", self.hidden, w, 0.5),
            ):
                self.weight(f"block{i}.{name}.weight", rows, columns, gain=gain)
                self.fill(f"block{i}.{name}.bias", 0, columns)
        self.fill("norm.gamma", 1, w)
        self.fill("norm.beta", 0, w)
        self.weight("head.weight", w, 10)
        self.fill("head.bias", 0, 10)

    def dense(self, x, name):
        return x @ self[f"{name}.weight"] + self[f"{name}.bias"]

    def norm(self, x, name):
        return ad.layer_norm(x, self[f"{name}.gamma"], self[f"{name}.beta"])

    def forward(self, images):
        n, t, w, h = len(images), self.tokens, self.width, self.heads
        x = (Var(images) * (1 / 16)).reshape(n, 4, 2, 4, 2).transpose(0, 1, 3, 2, 4).reshape(n, t, 4)
        x = self.dense(x, "embed") + self["positions"]
        for i in range(self.layers):
            block = f"block{i}"
            qkv = self.dense(self.norm(x, f"{block}.norm1"), f"{block}.qkv")
            qkv = qkv.reshape(n, t, 3, h, w // h).transpose(2, 0, 3, 1, 4)
            scores = qkv[0] @ qkv[1].transpose(0, 1, 3, 2) * float((w // h) ** -0.5)
            mixed = (ad.softmax(scores) @ qkv[2]).transpose(0, 2, 1, 3).reshape(n, t, w)
            x = x + self.dense(mixed, f"{block}.proj")
            hidden = ad.gelu(self.dense(self.norm(x, f"{block}.norm2"), f"{block}.up"))
            x = x + self.dense(hidden, f"{block}.down")
        return self.dense(self.norm(x, "norm").mean(axis=1), "head")

    def export(self):
        g = Graph(self)
        t, w, h = self.tokens, self.width, self.heads

        def dense(x, name, **kwargs):
            product = g.op("MatMul", x, f"{name}.weight", name=f"{name}.matmul")
            return g.op("Add", product, f"{name}.bias", name=f"{name}.add", **kwargs)

        def norm(x, name):
            return g.op("LayerNormalization", x, f"{name}.gamma", f"{name}.beta", name=name, axis=-1, epsilon=1e-5)

        def reshape(x, name, *shape):
            return g.op("Reshape", x, g.constant(f"{name}.shape", np.array(shape, np.int64)), name=name)

        x = g.op("Mul", "image", g.constant("scale", np.float32(1 / 16)), name="scaled")
        x = reshape(x, "patches.split", -1, 4, 2, 4, 2)
        x = g.op("Transpose", x, name="patches.order", perm=[0, 1, 3, 2, 4])
        x = reshape(x, "patches", -1, t, 4)
        x = g.op("Add", dense(x, "embed"), "positions", name="embedded")
        for i in range(self.layers):
            b = f"block{i}"
            qkv = reshape(dense(norm(x, f"{b}.norm1"), f"{b}.qkv"), f"{b}.heads", 0, t, 3, h, w // h)
            parts = []
            for k, (part, perm) in enumerate((("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3]))):
                one = g.op("Gather", qkv, g.constant(f"{b}.{part}.index", np.int64(k)), name=f"{b}.{part}", axis=2)
                parts.append(g.op("Transpose", one, name=f"{b}.{part}.order", perm=perm))
            scores = g.op("MatMul", parts[0], parts[1], name=f"{b}.scores")
            scores = g.op("Mul", scores, g.constant(f"{b}.scale", np.float32((w // h) ** -0.5)), name=f"{b}.scaled")
            mixed = g.op("MatMul", g.op("Softmax", scores, name=f"{b}.softmax", axis=-1), parts[2], name=f"{b}.mix")
            mixed = g.op("Transpose", mixed, name=f"{b}.mix.order", perm=[0, 2, 1, 3])
            x = g.op("Add", x, dense(reshape(mixed, f"{b}.merge", 0, t, w), f"{b}.proj"), name=f"{b}.residual1")
            hidden = g.op("Gelu", dense(norm(x, f"{b}.norm2"), f"{b}.up"), name=f"{b}.gelu")
            x = g.op("Add", x, dense(hidden, f"{b}.down"), name=f"{b}.residual2")
        axes = g.constant("pool.axes", np.array([1], np.int64))
        dense(g.op("ReduceMean", norm(x, "norm"), axes, name="pool", keepdims=0), "head", output="logits")
        return g.model()


class Graph:
    """Collects the nodes and constants of one network's ONNX model. A node's name is also its output's name."""

    def __init__(self, network):
        self.network = network
        self.nodes = []
        self.initializers = {n: p.value for n, p in network.parameters.items()} | dict(network.buffers)

    def constant(self, name, value):
        self.initializers[name] = np.asarray(value)
        return name

    def op(self, kind, *inputs, name=None, output=None, **attributes):
        name = name or f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [output or name], name=name, **attributes))
        return output or name

    def model(self):
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
        weights = [numpy_helper.from_array(v, n) for n, v in self.initializers.items()]
        graph = helper.make_graph(self.nodes, self.network.name, [image], [logits], weights)
        opset = helper.make_opsetid("", self.network.opset)
        model = helper.make_model(
            graph, opset_imports=[opset], ir_version=self.network.ir_version, producer_name="flame-examples"
        )
        onnx.checker.check_model(model, full_check=True)
        return model
