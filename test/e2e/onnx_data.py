"""The tests of the onnx wheel's backend suite, as onnx.backend.test.runner finds them.

A test is a folder with model.onnx and test_data_set_*/{input,output}_*.pb. The nine light models have no such folder
in the wheel: their inputs are made by a formula and their outputs lie beside the models, so `load` lays the folders.
"""

from __future__ import annotations

import dataclasses
import pathlib
import shutil

import numpy as np
import onnx
from onnx import numpy_helper
from onnx.backend.test.loader import DATA_DIR, load_model_tests

KINDS = ("node", "real", "simple", "pytorch-converted", "pytorch-operator")

# Tests of which a copy with one wrong expected output must fail, and what is made wrong.
SPOILED = (
    ("test_add", "value"),
    ("test_relu", "dtype"),
    ("test_relu", "shape"),
    ("test_and2d", "value"),
    ("test_argmax_keepdims_example", "value"),
    ("test_cast_FLOAT_to_BFLOAT16", "value"),
    ("test_strnorm_model_monday_empty_output", "value"),
    ("test_sequence_insert_at_back", "value"),
    ("test_sequence_insert_at_back", "length"),
)


@dataclasses.dataclass(frozen=True)
class Test:
    name: str
    kind: str
    folder: pathlib.Path
    rtol: float
    atol: float


def load(light_folder):
    """All tests, by kind and name; folders for the light models are made under `light_folder`."""
    tests = []
    for kind in KINDS:
        for case in sorted(load_model_tests(kind=kind), key=lambda c: c.name):
            folder = pathlib.Path(case.model_dir) if case.model_dir else lay_light_model(case.model_name, light_folder)
            tests.append(Test(case.name, kind, folder, case.rtol, case.atol))
    return tests


def light_model(name):
    """The path of a light model in the wheel, e.g. of `resnet50`."""
    return pathlib.Path(DATA_DIR) / "light" / f"light_{name}.onnx"


def light_inputs(model):
    """{name: array}: for every input without an initializer the ramp i/n that the suite prescribes."""
    feeds = {}
    for value in inputs_to_feed(model):
        shape = tuple(d.dim_value if d.HasField("dim_value") else 1 for d in value.type.tensor_type.shape.dim)
        n = int(np.prod(shape))
        feeds[value.name] = (np.arange(n).reshape(shape) / n).astype(np.float32)
    return feeds


def lay_light_model(name, light_folder):
    source = light_model(name)
    folder = light_folder / name
    data = folder / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, folder / "model.onnx")
    model = onnx.load(source)
    for i, (key, value) in enumerate(light_inputs(model).items()):
        (data / f"input_{i}.pb").write_bytes(numpy_helper.from_array(value, key).SerializeToString())
    for i in range(len(model.graph.output)):
        shutil.copyfile(source.with_name(f"light_{name}_output_{i}.pb"), data / f"output_{i}.pb")
    return folder


def data_sets(test):
    """[(input files, output files)] of a test, each in the order of the model's inputs and outputs."""
    sets = []
    for folder in sorted(test.folder.glob("test_data_set_*")):
        files = []
        for what in ("input", "output"):
            count = len(list(folder.glob(f"{what}_*.pb")))
            files.append([folder / f"{what}_{i}.pb" for i in range(count)])
        sets.append(tuple(files))
    return sets


def inputs_to_feed(model):
    """The declarations to which input_0.pb, input_1.pb … belong: the graph's inputs that have no initializer."""
    weights = {i.name for i in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def load_value(path, value_type):
    """The array, list of arrays, or None that a .pb file holds, by the type that the model declares."""
    data = pathlib.Path(path).read_bytes()
    kind = value_type.WhichOneof("value")
    if kind == "tensor_type":
        return numpy_helper.to_array(onnx.TensorProto.FromString(data))
    if kind == "sequence_type":
        return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
    if kind == "optional_type":
        return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
    raise ValueError(f"{path}: cannot read a value of type {kind}")


def operators(test):
    """Sorted [domain, operator, opset] of all nodes of the model, those in subgraphs and functions included."""
    model = onnx.load(test.folder / "model.onnx", load_external_data=False)
    found = set()

    def visit(nodes, opsets):
        for node in nodes:
            found.add((node.domain, node.op_type, opsets.get(node.domain, 0)))
            for attribute in node.attribute:
                for graph in [attribute.g, *attribute.graphs]:
                    visit(graph.node, opsets)

    visit(model.graph.node, {o.domain: o.version for o in model.opset_import})
    for function in model.functions:
        visit(function.node, {o.domain: o.version for o in function.opset_import})
    return sorted(found)


def spoil(test, how, folder):
    """A copy of the test under `folder` whose first expected output has a wrong value, dtype, shape or length."""
    shutil.copytree(test.folder, folder)
    model = onnx.load(folder / "model.onnx")
    path = folder / "test_data_set_0" / "output_0.pb"
    value_type = model.graph.output[0].type
    if value_type.WhichOneof("value") == "sequence_type":
        values = load_value(path, value_type)
        if how == "length":
            values = values[:-1]
        else:
            values[-1] = _spoil_array(values[-1], how)
        path.write_bytes(numpy_helper.from_list(values).SerializeToString())
    else:
        tensor = onnx.TensorProto.FromString(path.read_bytes())
        array = _spoil_array(numpy_helper.to_array(tensor), how)
        path.write_bytes(numpy_helper.from_array(array, tensor.name).SerializeToString())
    return dataclasses.replace(test, name=f"{test.name}-{how}", folder=folder)


def _spoil_array(array, how):
    if how == "shape":
        return array.reshape(*array.shape, 1)
    if how == "dtype":
        return array.astype(np.float64)
    array = array.copy()
    last = tuple(n - 1 for n in array.shape)
    if array.dtype == object:
        array[last] = array[last] + "?"
    elif array.dtype == bool:
        array[last] = not array[last]
    else:
        # An infinity or NaN would stay what it is.
        if np.issubdtype(array.dtype, np.inexact) or array.dtype.kind == "V":
            last = tuple(np.argwhere(np.isfinite(array.astype(np.float64)))[-1])
        array[last] = array[last] * array.dtype.type(2) + array.dtype.type(1)
    return array
