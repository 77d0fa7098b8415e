"""Small models for the importer's tests: `models.py NAME FILE`, or `models.py --all FOLDER` for the fuzzer's seeds."""

import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64, BOOL, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL, TensorProto.STRING
MODELS = {}


def model(build):
    MODELS[build.__name__] = build
    return build


def info(name, shape=(2, 3), dtype=FLOAT):
    return helper.make_tensor_value_info(name, dtype, shape)


def weight(name, values, dtype=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def graph(nodes, inputs, outputs, weights=(), name="g", **fields):
    return helper.make_graph(list(nodes), name, list(inputs), list(outputs), list(weights), **fields)


def finish(g, opset=21, functions=(), domains=(), ir_version=10):
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(*domain) for domain in domains]
    return helper.make_model(g, opset_imports=opsets, functions=list(functions), ir_version=ir_version)


def single(op, inputs, outputs, opset=21, domain="", weights=(), **attributes):
    """One node; inputs and outputs are value infos, `weights` more inputs after them."""
    names = [value.name for value in inputs] + [tensor.name for tensor in weights]
    node = helper.make_node(op, names, [value.name for value in outputs], name="the_node", domain=domain, **attributes)
    domains = [(domain, 5)] if domain else []
    return finish(graph([node], inputs, outputs, weights), opset, domains=domains)


@model
def names_and_dims():
    nodes = [
        helper.make_node("Add", ["x", "y"], ["s"], name="first"),
        helper.make_node("Exp", ["s"], ["e"]),
        helper.make_node("Relu", ["e"], ["out"]),
    ]
    inputs = [info("x", ("batch", None, 4)), info("y", ("batch", 1, 4))]
    return finish(graph(nodes, inputs, [info("out", ("batch", None, 4))]))


@model
def unordered():
    nodes = [
        helper.make_node("Exp", ["b"], ["out"]),
        helper.make_node("Neg", ["a"], ["b"]),
        helper.make_node("Abs", ["x"], ["a"]),
    ]
    return finish(graph(nodes, [info("x")], [info("out")]))


@model
def weights():
    big, small = weight("big", np.arange(600).reshape(2, 300)), weight("small", [1, 2, 3, 4])
    packed = helper.make_tensor("packed", FLOAT, (2, 300), np.arange(600, dtype=np.float32))
    nodes = [
        helper.make_node("Add", ["x", "big"], ["s"]),
        helper.make_node("Add", ["s", "packed"], ["out"]),
        helper.make_node("Neg", ["small"], ["other"]),
    ]
    outputs = [info("out", (2, 300)), info("other", (4,))]
    return finish(graph(nodes, [info("x", (2, 300))], outputs, [big, small, packed]))


@model
def input_with_initializer():
    nodes = [helper.make_node("Add", ["x", "w"], ["out"])]
    return finish(graph(nodes, [info("x"), info("w", (3,))], [info("out")], [weight("w", [1, 2, 3])]), ir_version=3)


@model
def dtypes():
    """Every element type that int32_data and raw data encode, as outputs."""
    tensors = [
        helper.make_tensor("f16", TensorProto.FLOAT16, (2,), [1.5, -2]),
        helper.make_tensor("bf16", TensorProto.BFLOAT16, (2,), [1.5, -2]),
        helper.make_tensor("i4", TensorProto.INT4, (3,), [-8, 7, -1]),
        helper.make_tensor("u4", TensorProto.UINT4, (3,), [15, 0, 7]),
        helper.make_tensor("i8", TensorProto.INT8, (2,), [-128, 127]),
        helper.make_tensor("u8", TensorProto.UINT8, (2,), [255, 1]),
        helper.make_tensor("u64", TensorProto.UINT64, (1,), [2**64 - 1]),
        helper.make_tensor("b", BOOL, (2,), [True, False]),
        helper.make_tensor("text", STRING, (2,), ["a", "bc"]),
        helper.make_tensor("e4m3", TensorProto.FLOAT8E4M3FN, (2,), [1, -2]),
        helper.make_tensor("empty", FLOAT, (0, 3), []),
        weight("raw_bool", [True, False, True], bool),
    ]
    outputs = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors]
    return finish(graph([], [], outputs, tensors))


@model
def sparse():
    values = weight("w", [5, 7])
    indices = weight("w_indices", [1, 5], np.int64)
    tensor = helper.make_sparse_tensor(values, indices, [2, 3])
    nodes = [helper.make_node("Add", ["x", "w"], ["out"])]
    return finish(graph(nodes, [info("x")], [info("out")], sparse_initializer=[tensor]))


@model
def local_function():
    body = [
        helper.make_node("LeakyRelu", ["a"], ["b"], name="inner"),
        helper.make_node("Add", ["b", "b"], ["c"]),
    ]
    reference = onnx.AttributeProto(name="alpha", ref_attr_name="slope", type=onnx.AttributeProto.FLOAT)
    body[0].attribute.append(reference)
    function = helper.make_function("mine", "Twice", ["a"], ["c"], body, [helper.make_opsetid("", 21)], ["slope"])
    nodes = [
        helper.make_node("Twice", ["x"], ["h"], domain="mine", slope=0.25),
        helper.make_node("Twice", ["h"], ["out"], domain="mine"),
    ]
    return finish(graph(nodes, [info("x")], [info("out")]), functions=[function], domains=[("mine", 1)])


@model
def recursive_function():
    body = [helper.make_node("F", ["a"], ["b"], domain="mine")]
    function = helper.make_function("mine", "F", ["a"], ["b"], body, [helper.make_opsetid("mine", 1)], [])
    nodes = [helper.make_node("F", ["x"], ["out"], domain="mine")]
    return finish(graph(nodes, [info("x")], [info("out")]), functions=[function], domains=[("mine", 1)])


@model
def branches():
    """The branches use outer names and differ in a dim."""
    then = graph([helper.make_node("Identity", ["x"], ["t"])], [], [info("t", None)])
    other = graph([helper.make_node("Concat", ["x", "x"], ["e"], axis=0)], [], [info("e", None)])
    nodes = [helper.make_node("If", ["c"], ["out"], then_branch=then, else_branch=other)]
    return finish(graph(nodes, [info("c", (), BOOL), info("x")], [info("out", (None, 3))]))


@model
def constant_branch():
    """A constant condition chooses while importing: the branches have different ranks."""
    then = graph([helper.make_node("Neg", ["x"], ["t"])], [], [info("t", None)])
    other = graph([helper.make_node("ReduceSum", ["x"], ["e"], keepdims=0)], [], [info("e", None)])
    nodes = [helper.make_node("If", ["c"], ["out"], then_branch=then, else_branch=other)]
    return finish(graph(nodes, [info("x")], [info("out")], [weight("c", True, bool)]))


def nested_ifs(depth):
    inner = graph([helper.make_node("Neg", ["x"], ["r"])], [], [info("r", None)])
    for level in range(depth):
        same = graph([helper.make_node("Abs", ["x"], ["r"])], [], [info("r", None)])
        node = helper.make_node("If", ["c"], ["r"], name=f"if{level}", then_branch=inner, else_branch=same)
        inner = graph([node], [], [info("r", None)])
    return finish(graph(inner.node, [info("c", (), BOOL), info("x")], [info("r")]))


@model
def ifs_nested_20():
    return nested_ifs(20)


@model
def ifs_nested_300():
    return nested_ifs(300)


def loop(carried, results, trip=True, condition=False, body_nodes=(), body_outputs=(), body_inputs=()):
    inputs = [info("i", (), INT64), info("go", (), BOOL)] + list(body_inputs)
    body = graph(body_nodes, inputs, body_outputs, name="body")
    operands = ["n" if trip else "", "c" if condition else ""] + [name for name, _ in carried]
    nodes = [helper.make_node("Loop", operands, [value.name for value in results], name="loop", body=body)]
    values = [info(name, shape) for name, shape in carried]
    values += [info("n", (), INT64)] * trip + [info("c", (), BOOL)] * condition
    return finish(graph(nodes, values, results))


@model
def counted_loop():
    nodes = [
        helper.make_node("Identity", ["go"], ["on"]),
        helper.make_node("Add", ["h", "h"], ["next"]),
        helper.make_node("Identity", ["next"], ["seen"]),
    ]
    outputs = [info("on", (), BOOL), info("next", (2,)), info("seen", (2,))]
    results = [info("last", (2,)), info("all", (None, 2))]
    return loop([("x", (2,))], results, body_nodes=nodes, body_outputs=outputs, body_inputs=[info("h", (2,))])


@model
def growing_loop():
    """Iterations change dim 0 of the carried value and not dim 1."""
    nodes = [
        helper.make_node("ReduceMax", ["h"], ["m"], keepdims=0),
        helper.make_node("Less", ["m", "m"], ["on"]),
        helper.make_node("Concat", ["h", "x"], ["next"], axis=0),
    ]
    outputs = [info("on", (), BOOL), info("next", None)]
    inputs = [info("h", None)]
    results = [info("last", (None, "w"))]
    return loop([("x", (1, "w"))], results, False, True, nodes, outputs, inputs)


@model
def scan():
    nodes = [helper.make_node("Add", ["s", "e"], ["t"]), helper.make_node("Identity", ["t"], ["y"])]
    body = graph(nodes, [info("s", (2,)), info("e", (2,))], [info("t", (2,)), info("y", (2,))])
    node = helper.make_node(
        "Scan", ["h", "x"], ["last", "all"], name="scan", body=body, num_scan_inputs=1,
        scan_input_axes=[1], scan_input_directions=[1], scan_output_axes=[1], scan_output_directions=[1],
    )  # fmt: skip
    inputs, outputs = [info("h", (2,)), info("x", (2, "t"))], [info("last", (2,)), info("all", (2, "t"))]
    return finish(graph([node], inputs, outputs))


@model
def sequences():
    nodes = [
        helper.make_node("SequenceEmpty", [], ["s0"]),
        helper.make_node("SequenceInsert", ["s0", "x"], ["s1"]),
        helper.make_node("SequenceInsert", ["s1", "y", "zero"], ["s2"]),
        helper.make_node("SequenceAt", ["s2", "zero"], ["out"]),
        helper.make_node("SequenceLength", ["s2"], ["count"]),
    ]
    inputs, outputs = [info("x", (2, 3)), info("y", (4, 3))], [info("out", (None, 3)), info("count", (), INT64)]
    return finish(graph(nodes, inputs, outputs, [weight("zero", 0, np.int64)]))


@model
def sequence_map():
    body = graph([helper.make_node("Add", ["a", "b"], ["r"])], [info("a", ("k",)), info("b", ("k",))], [info("r", ("k",))])
    node = helper.make_node("SequenceMap", ["s", "x"], ["out"], name="map", body=body)
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, ["k"])
    result = helper.make_tensor_sequence_value_info("out", FLOAT, ["k"])
    return finish(graph([node], [sequence, info("x", ("k",))], [result]))


@model
def optionals():
    kind = helper.make_optional_type_proto(helper.make_tensor_type_proto(FLOAT, ("n",)))
    nodes = [
        helper.make_node("OptionalHasElement", ["x"], ["has"]),
        helper.make_node("OptionalGetElement", ["x"], ["y"]),
    ]
    inputs = [helper.make_value_info("x", kind)]
    return finish(graph(nodes, inputs, [info("has", (), BOOL), info("y", ("n",))]))


@model
def strings():
    nodes = [
        helper.make_node("StringConcat", ["x", "y"], ["z"]),
        helper.make_node("RegexFullMatch", ["z"], ["m"], pattern="a.*"),
        helper.make_node("StringSplit", ["z"], ["parts", "count"], delimiter=","),
    ]
    inputs = [info("x", ("n",), STRING), info("y", (1,), STRING)]
    outputs = [info("m", ("n",), BOOL), info("parts", ("n", None), STRING), info("count", ("n",), INT64)]
    return finish(graph(nodes, inputs, outputs))


@model
def label_encoder():
    attributes = {"keys_strings": ["a", "b"], "values_int64s": [3, 4], "default_int64": -7}
    return single("LabelEncoder", [info("x", ("n",), STRING)], [info("y", ("n",), INT64)], domain="ai.onnx.ml", **attributes)


@model
def tfidf():
    attributes = {"mode": "TF", "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 0}
    attributes |= {"ngram_counts": [0, 2], "ngram_indexes": [0, 1, 2], "pool_int64s": [2, 3, 2, 3]}
    return single("TfIdfVectorizer", [info("x", ("n", 6), INT64)], [info("y", ("n", 3))], **attributes)


@model
def lstm():
    inputs = [info("x", ("t", "b", 3)), info("w", (2, 8, 3)), info("r", (2, 8, 2)), info("bias", (2, 16))]
    outputs = [info("y", ("t", 2, "b", 2)), info("h", (2, "b", 2)), info("c", (2, "b", 2))]
    return single("LSTM", inputs, outputs, hidden_size=2, direction="bidirectional", clip=3.0)


@model
def gru():
    inputs = [info("x", (4, 2, 3)), info("w", (1, 6, 3)), info("r", (1, 6, 2))]
    return single("GRU", inputs, [info("y", (4, 1, 2, 2))], hidden_size=2, linear_before_reset=1)


@model
def tree_ensemble():
    attributes = {
        "n_targets": 1, "aggregate_function": 1, "post_transform": 0, "tree_roots": [0], "nodes_featureids": [0, 1],
        "nodes_modes": helper.make_tensor("m", TensorProto.UINT8, (2,), [0, 6]),
        "nodes_splits": helper.make_tensor("s", FLOAT, (2,), [1.5, 0]), "nodes_truenodeids": [1, 1],
        "nodes_trueleafs": [0, 1], "nodes_falsenodeids": [0, 2], "nodes_falseleafs": [1, 1],
        "membership_values": helper.make_tensor("v", FLOAT, (3,), [1, 2, float("nan")]),
        "leaf_targetids": [0, 0, 0], "leaf_weights": helper.make_tensor("w", FLOAT, (3,), [10, 20, 30]),
    }  # fmt: skip
    return single("TreeEnsemble", [info("x", ("n", 2))], [info("y", ("n", 1))], domain="ai.onnx.ml", **attributes)


@model
def unsupported():
    nodes = [
        helper.make_node("Relux", ["x"], ["a"], name="one"),
        helper.make_node("Relux", ["a"], ["b"]),
        helper.make_node("Wibble", ["b"], ["out"], name="w", domain="com.example"),
    ]
    return finish(graph(nodes, [info("x")], [info("out")]), domains=[("com.example", 1)])


@model
def misspelt_name():
    nodes = [helper.make_node("Exp", ["hiden"], ["out"]), helper.make_node("Neg", ["x"], ["hidden"])]
    return finish(graph(nodes, [info("x")], [info("out")]))


@model
def cycle():
    nodes = [helper.make_node("Exp", ["b"], ["a"], name="p"), helper.make_node("Neg", ["a"], ["b"], name="q")]
    return finish(graph(nodes, [info("x")], [info("b")]))


@model
def wrong_attribute():
    return single("Concat", [info("x")], [info("y")], axis="rows")


@model
def bad_broadcast():
    return single("Add", [info("x", (2, 3)), info("y", (4,))], [info("z")])


@model
def short_weight():
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[3], raw_data=b"\0" * 8)
    return single("Add", [info("x")], [info("y")], weights=[tensor])


def external(location, **entries):
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=str(value))
    return single("Add", [info("x")], [info("y")], weights=[tensor])


@model
def external_above():
    return external("../w.bin")


@model
def external_beyond():
    pathlib.Path(sys.argv[2]).parent.joinpath("w.bin").write_bytes(b"\0" * 16)
    return external("w.bin", offset=8, length=12)


@model
def external_good():
    pathlib.Path(sys.argv[2]).parent.joinpath("w.bin").write_bytes(np.arange(4, dtype=np.float32).tobytes())
    return external("w.bin", offset=4)


def main():
    name, target = sys.argv[1], pathlib.Path(sys.argv[2])
    if name == "--all":
        for name, build in MODELS.items():
            if not name.startswith("external") and name != "ifs_nested_300":
                (target / f"{name}.onnx").write_bytes(build().SerializeToString())
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(MODELS[name]().SerializeToString())


if __name__ == "__main__":
    main()
