"""Malformed and hostile ONNX files, each with what flamec must say about it.

`CASES` holds one entry a fault: of the file and its names here, of tensors and external data in bad_onnx_data.py, of
nodes, control flow and functions in bad_onnx_graph.py. `build(folder)` writes the file and returns its path; `says` is
a regular expression that the message must match besides naming the file. Faults that make the file invalid are bad
input (exit code 3); what is valid, but beyond flame, is unsupported (4); where either is a fair reading both are
accepted.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper, numpy_helper

FLOAT = TensorProto.FLOAT
BAD, UNSUPPORTED = 3, 4


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    build: Callable
    says: str
    status: tuple


CASES: list[Case] = []


def case(says, *status):
    """Registers the decorated builder, which returns a ModelProto, bytes, or the path of a file it wrote."""

    def register(build):
        def write(folder):
            made = build(folder)
            if isinstance(made, (str, os.PathLike)):
                return made
            path = folder / "bad.onnx"
            path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
            return path

        CASES.append(Case(build.__name__, write, says, status or (BAD,)))
        return build

    return register


def info(name, shape=("n", 4), dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def model(nodes, inputs=("x",), outputs=("y",), weights=(), opset=17, functions=(), opsets=None):
    def values(names):
        return [info(v) if isinstance(v, str) else v for v in names]

    graph = helper.make_graph(list(nodes), "bad", values(inputs), values(outputs), list(weights))
    opsets = opsets if opsets is not None else [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, functions=list(functions))


def good():
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    return model([node("MatMul", "x", "w", to="y", name="matmul")], weights=[weight])


def node(kind, *inputs, to, name=None, domain="", **attributes):
    outputs = [to] if isinstance(to, str) else list(to)
    return helper.make_node(kind, list(inputs), outputs, name=name or f"{kind.lower()}0", domain=domain, **attributes)


# ---- the file itself -------------------------------------------------------------------------------------------------


@case(r"no such file|does not exist|cannot open")
def missing_file(folder):
    return folder / "bad.onnx"


@case(r"directory|folder|not a (regular )?file")
def a_directory(folder):
    (folder / "bad.onnx").mkdir()
    return folder / "bad.onnx"


@case(r"regular file|pipe|fifo")
def a_fifo(folder):
    os.mkfifo(folder / "bad.onnx")
    return folder / "bad.onnx"


@case(r"empty")
def empty(folder):
    return b""


@case(r"2 GiB|2 GB|too large|larger than")
def over_two_gib(folder):
    path = folder / "bad.onnx"
    with open(path, "wb") as file:
        file.write(good().SerializeToString())
        file.truncate(2**31 + 4096)
    return path


@case(r"protobuf|not an ONNX|parse|malformed")
def a_png(folder):
    return b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(64))


@case(r"protobuf|not an ONNX|parse|malformed")
def a_text(folder):
    return b"<html><body>404 not found</body></html>\n"


@case(r"git[- ]lfs|not an ONNX")
def a_git_lfs_pointer(folder):
    return b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n"


@case(r"protobuf|parse|malformed|truncated|not an ONNX")
def zeros(folder):
    return bytes(4096)


def _truncated(share):
    def build(folder):
        data = good().SerializeToString()
        return data[: int(len(data) * share)]

    build.__name__ = f"truncated_at_{int(share * 100)}_percent"
    return build


for _share in (0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
    case(r"truncated|protobuf|parse|malformed|no graph|cut|incomplete|opset|missing")(_truncated(_share))


@case(r"graph")
def no_graph(folder):
    made = good()
    made.ClearField("graph")
    return made


@case(r"protobuf|parse|malformed|nest|depth|recursion")
def protobuf_nested_10000_deep(folder):
    """A TypeProto of sequences of sequences …"""
    inner = b""
    for _ in range(10000):
        element = b"\x0a" + varint(len(inner)) + inner  # Sequence.elem_type
        inner = b"\x22" + varint(len(element)) + element  # TypeProto.sequence_type
    value = b"\x0a\x01x" + b"\x12" + varint(len(inner)) + inner
    graph = b"\x12\x01g" + b"\x5a" + varint(len(value)) + value
    return b"\x08\x08" + b"\x3a" + varint(len(graph)) + graph


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


# ---- versions and names ----------------------------------------------------------------------------------------------


@case(r"IR version", BAD, UNSUPPORTED)
def ir_version_from_the_future(folder):
    made = good()
    made.ir_version = 9999
    return made


@case(r"opset", BAD, UNSUPPORTED)
def opset_from_the_future(folder):
    return model([node("Relu", "x", to="y")], opset=9999)


@case(r"opset", BAD, UNSUPPORTED)
def opset_negative(folder):
    return model([node("Relu", "x", to="y")], opset=-3)


@case(r"opset")
def opset_missing(folder):
    return model([node("Relu", "x", to="y")], opsets=[])


@case(r"com\.example\.nothing", UNSUPPORTED)
def unknown_domain(folder):
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example.nothing", 1)]
    return model([node("Relu", "x", to="y", domain="com.example.nothing", name="odd")], opsets=opsets)


@case(r"Frobnicate", UNSUPPORTED)
def unknown_operator(folder):
    return model([node("Frobnicate", "x", to="y", name="odd")])


@case(r"operator|op_type|no type", BAD, UNSUPPORTED)
def operator_without_name(folder):
    return model([node("", "x", to="y", name="odd")])


@case(r"(?s)Frobnicate.*Quuxify|Quuxify.*Frobnicate", UNSUPPORTED)
def two_unknown_operators_are_both_reported(folder):
    return model([node("Frobnicate", "x", to="h", name="one"), node("Quuxify", "h", to="y", name="two")])


@case(r"undefined|not defined|unknown value|nowhere")
def undefined_input(folder):
    return model([node("Add", "x", "nowhere", to="y", name="sum")])


@case(r"undefined|not defined|never computed|no node|lost")
def undefined_graph_output(folder):
    return model([node("Relu", "x", to="y")], outputs=["y", "lost"])


@case(r"twice|two nodes|duplicate|already|redefin|more than once|cycl")
def duplicate_value(folder):
    return model([node("Relu", "x", to="y", name="one"), node("Neg", "x", to="y", name="two")])


@case(r"twice|two nodes|duplicate|already|redefin|more than once|cycl")
def duplicate_initializer(folder):
    weights = [numpy_helper.from_array(np.full((4,), v, np.float32), "w") for v in (1, 2)]
    return model([node("Add", "x", "w", to="y")], weights=weights)


@case(r"twice|two nodes|duplicate|already|redefin|more than once|cycl")
def duplicate_input(folder):
    return model([node("Relu", "x", to="y")], inputs=["x", "x"])


@case(r"twice|two nodes|duplicate|already|redefin|more than once|cycl")
def node_overwrites_input(folder):
    return model([node("Relu", "x", to="x"), node("Relu", "x", to="y")])


@case(r"NUL|zero byte|\\0|\\x00|invalid name|control character")
def nul_in_a_name(folder):
    return model([node("Relu", "x\0z", to="y")], inputs=["x\0z"])


@case(r"UTF-8|utf8|protobuf|parse|malformed|invalid name")
def name_is_not_utf8(folder):
    data = model([node("Relu", "xxxx", to="y", name="relu")], inputs=["xxxx"]).SerializeToString()
    return data.replace(b"xxxx", b"\xff\xfe\xfd\xfc")


@case(r"cycl|order|undefined|not defined|before")
def cyclic_graph(folder):
    add = node("Add", "x", "b", to="a", name="one")
    return model([add, node("Relu", "a", to="b", name="two"), node("Neg", "b", to="y", name="three")])


@case(r"cycl|order|undefined|not defined|itself|before")
def node_feeds_itself(folder):
    return model([node("Add", "x", "y", to="y", name="loop")])


# The other two files register their cases when they are imported, with what is defined above.
import bad_onnx_data  # noqa: E402, F401
import bad_onnx_graph  # noqa: E402, F401
