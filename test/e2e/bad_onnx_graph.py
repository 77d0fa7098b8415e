"""Malformed nodes, attributes, control flow and functions, for bad_onnx.py."""

from __future__ import annotations

import numpy as np
from bad_onnx import BAD, UNSUPPORTED, case, info, model, node, varint
from onnx import AttributeProto, FunctionProto, TensorProto, helper, numpy_helper

# ---- nodes and attributes --------------------------------------------------------------------------------------------


@case(r"attribute.*(kernel_shape|type)|kernel_shape.*(ints|type|string)")
def attribute_of_wrong_type(folder):
    w = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w")
    conv = node("Conv", "x", "w", to="y", name="conv", kernel_shape="three by three")
    return model([conv], inputs=[info("x", (1, 1, 8, 8))], outputs=[info("y", None)], weights=[w])


@case(r"attribute|axis")
def attribute_without_a_value(folder):
    softmax = node("Softmax", "x", to="y", name="softmax")
    softmax.attribute.append(AttributeProto(name="axis"))
    return model([softmax])


@case(r"attribute|perm")
def attribute_twice(folder):
    made = node("Transpose", "x", to="y", name="transpose", perm=[1, 0])
    made.attribute.append(helper.make_attribute("perm", [0, 1]))
    return model([made], outputs=[info("y", None)])


@case(r"to\b|attribute")
def required_attribute_missing(folder):
    return model([node("Cast", "x", to="y", name="cast")])


@case(r"type|dtype|99")
def cast_to_unknown_dtype(folder):
    return model([_cast(99)])


def _cast(dtype):
    made = node("Cast", "x", to="y", name="cast")
    made.attribute.append(helper.make_attribute("to", dtype))
    return made


@case(r"input")
def too_few_inputs(folder):
    return model([node("Add", "x", to="y", name="sum")])


@case(r"input")
def too_many_inputs(folder):
    return model([node("Relu", "x", "x", "x", to="y", name="relu")])


@case(r"axes has 3 elements, the tensor 2 dimensions")
def more_axes_than_dimensions(folder):
    return _sum_over_axes((3, 4), 3)


@case(r"too many possibilities; make the axes input a constant", BAD, UNSUPPORTED)
def many_axes_known_at_run_time(folder):
    return _sum_over_axes((2, 3, 4, 5, 6, 7), 5)


def _sum_over_axes(shape, count):
    inputs = [info("x", shape), helper.make_tensor_value_info("axes", TensorProto.INT64, [count])]
    return model([node("ReduceSum", "x", "axes", to="y", name="sum")], inputs=inputs, outputs=[info("y", None)])


@case(r"output")
def too_many_outputs(folder):
    return model([node("Relu", "x", to=("y", "z"), name="relu")])


@case(r"type|dtype|i64|int64|element")
def operands_of_different_types(folder):
    return model([node("Add", "x", "i", to="y", name="sum")], inputs=["x", info("i", ("n", 4), TensorProto.INT64)])


@case(r"shape|dim|4.*5|5.*4|inner")
def matmul_shapes_do_not_fit(folder):
    w = numpy_helper.from_array(np.ones((5, 6), np.float32), "w")
    return model([node("MatMul", "x", "w", to="y", name="product")], outputs=[info("y", None)], weights=[w])


@case(r"broadcast|shape|dim")
def shapes_do_not_broadcast(folder):
    w = numpy_helper.from_array(np.ones((3,), np.float32), "w")
    return model([node("Add", "x", "w", to="y", name="sum")], outputs=[info("y", None)], weights=[w])


@case(r"axis|range|rank")
def axis_out_of_range(folder):
    return model([node("Softmax", "x", to="y", name="softmax", axis=7)])


@case(r"perm")
def permutation_repeats_an_axis(folder):
    return model([node("Transpose", "x", to="y", name="transpose", perm=[0, 0])], outputs=[info("y", None)])


@case(r"reshape|elements|shape")
def reshape_changes_the_number_of_elements(folder):
    shape = numpy_helper.from_array(np.array([7], np.int64), "s")
    reshape = node("Reshape", "x", "s", to="y", name="reshape")
    return model([reshape], inputs=[info("x", (2, 4))], outputs=[info("y", None)], weights=[shape])


def _sized(kind, sizes, **attributes):
    """`kind` of a 2×4 input with the numbers `sizes` as its second input."""
    numbers = numpy_helper.from_array(np.array(sizes, np.int64), "sizes")
    one = node(kind, "x", "sizes", to="y", name="sized", **attributes)
    return model([one], inputs=[info("x", (2, 4))], outputs=[info("y", None)], weights=[numbers])


@case(r"sized.*more than 2\^63 bytes")
def more_bytes_than_64_bits_count(folder):
    return _sized("Tile", [2**40, 2**40])


@case(r"sized.*2305843009213693953, 8.*more than 2\^63 bytes")
def reshape_whose_product_wraps_to_the_number_of_elements(folder):
    return _sized("Reshape", [2**61 + 1, 8])


@case(r"sized.*dimension 0 of its result is .*9223372036854775807.*no size")
def a_size_that_does_not_fit_in_64_bits(folder):
    return _sized("Pad", [2**63 - 1, 0, 2**63 - 1, 0])


@case(r"stride|zero|positive")
def convolution_with_stride_zero(folder):
    w = numpy_helper.from_array(np.ones((1, 1, 3, 3), np.float32), "w")
    conv = node("Conv", "x", "w", to="y", name="conv", strides=[0, 0])
    return model([conv], inputs=[info("x", (1, 1, 8, 8))], outputs=[info("y", None)], weights=[w])


@case(r"group|channel")
def convolution_groups_do_not_divide(folder):
    w = numpy_helper.from_array(np.ones((4, 2, 3, 3), np.float32), "w")
    conv = node("Conv", "x", "w", to="y", name="conv", group=3)
    return model([conv], inputs=[info("x", (1, 5, 8, 8))], outputs=[info("y", None)], weights=[w])


@case(r"split|sum|size")
def split_sizes_do_not_add_up(folder):
    sizes = numpy_helper.from_array(np.array([1, 1], np.int64), "s")
    split = node("Split", "x", "s", to=("y", "z"), name="split", axis=1)
    return model([split], outputs=[info("y", None), info("z", None)], weights=[sizes])


@case(r"type|dtype|element|declared|does not match|float|f32")
def output_declared_with_another_type(folder):
    return model([node("Relu", "x", to="y", name="relu")], outputs=[info("y", ("n", 4), TensorProto.INT64)])


# ---- control flow and functions --------------------------------------------------------------------------------------


def branch(nodes, output="b", name="branch"):
    return helper.make_graph(nodes, name, [], [info(output, None)])


@case(r"branch|output|result")
def if_branches_differ_in_number(folder):
    one = branch([node("Relu", "x", to="b")])
    two = helper.make_graph([node("Relu", "x", to="b"), node("Neg", "x", to="c")], "two", [], [info("b"), info("c")])
    made = node("If", "c0", to="y", name="choose", then_branch=one, else_branch=two)
    return model([made], inputs=["x", info("c0", (), TensorProto.BOOL)])


@case(r"type|dtype|element|branch")
def if_branches_differ_in_type(folder):
    one = branch([node("Relu", "x", to="b")])
    cast = node("Cast", "x", to="b")
    cast.attribute.append(helper.make_attribute("to", TensorProto.INT64))
    made = node("If", "c0", to="y", name="choose", then_branch=one, else_branch=branch([cast]))
    return model([made], inputs=["x", info("c0", (), TensorProto.BOOL)], outputs=[info("y", None)])


@case(r"bool|condition")
def if_condition_is_not_bool(folder):
    one = branch([node("Relu", "x", to="b")])
    two = branch([node("Neg", "x", to="b")])
    made = node("If", "c0", to="y", name="choose", then_branch=one, else_branch=two)
    return model([made], inputs=["x", info("c0", ())])


@case(r"branch|attribute")
def if_without_else(folder):
    made = node("If", "c0", to="y", name="choose", then_branch=branch([node("Relu", "x", to="b")]))
    return model([made], inputs=["x", info("c0", (), TensorProto.BOOL)])


@case(r"body|input|carried|state|argument")
def loop_body_with_wrong_arguments(folder):
    body = helper.make_graph([node("Relu", "v", to="w")], "body", [info("v")], [info("w")])
    trip = numpy_helper.from_array(np.array(3, np.int64), "trip")
    return model([node("Loop", "trip", "", "x", to="y", name="loop", body=body)], weights=[trip])


@case(r"nest|deep|depth|recursion|protobuf|parse", BAD, UNSUPPORTED)
def five_hundred_nested_ifs(folder):
    """Written byte by byte: Python's protobuf refuses to nest that deep itself."""

    def field(number, data):
        return varint(number << 3 | 2) + varint(len(data)) + data

    made = model([node("Identity", "b0", to="y")], inputs=["x", info("c0", (), TensorProto.BOOL)])
    other = branch([node("Neg", "x", to="e")], "e").SerializeToString()
    other = field(5, field(1, b"else_branch") + field(6, other) + b"\xa0\x01\x05")
    inner = node("Relu", "x", to="b500").SerializeToString()
    for depth in reversed(range(500)):
        output = info(f"b{depth + 1}", None).SerializeToString()
        graph = field(1, inner) + field(2, b"nested") + field(12, output)
        then = field(5, field(1, b"then_branch") + field(6, graph) + b"\xa0\x01\x05")
        inner = field(1, b"c0") + field(2, b"b%d" % depth) + field(3, b"if%d" % depth) + field(4, b"If") + then + other
    rest = made.graph.SerializeToString()
    made.ClearField("graph")
    return made.SerializeToString() + field(7, field(1, inner) + rest)


LOCAL = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]


def function(name, nodes):
    return helper.make_function("local", name, ["x"], ["y"], nodes, LOCAL)


def calling(*functions):
    return model([node("F", "x", to="y", domain="local", name="call")], functions=functions, opsets=LOCAL)


@case(r"recurs|itself|cycl|calls")
def function_calls_itself(folder):
    return calling(function("F", [node("F", "x", to="y", domain="local")]))


@case(r"recurs|itself|cycl|calls")
def functions_call_each_other(folder):
    return calling(
        function("F", [node("G", "x", to="y", domain="local")]), function("G", [node("F", "x", to="y", domain="local")])
    )


@case(r"twice|duplicate|already|more than once")
def function_defined_twice(folder):
    return calling(function("F", [node("Relu", "x", to="y")]), function("F", [node("Neg", "x", to="y")]))


@case(r"large|too many|limit|nest|expan|nodes|depth", BAD, UNSUPPORTED)
def functions_that_double_forty_times(folder):
    """Every function calls the next one twice: 2^40 nodes when expanded."""
    functions: list[FunctionProto] = []
    for i in range(40):
        kind, domain = (f"F{i + 1}", "local") if i < 39 else ("Relu", "")
        nodes = [node(kind, "x", to="h", domain=domain, name="a"), node(kind, "h", to="y", domain=domain, name="b")]
        functions.append(function("F" if i == 0 else f"F{i}", nodes))
    return calling(*functions)


@case(r"undefined|not defined|no output|y\b")
def function_output_is_never_computed(folder):
    return calling(function("F", [node("Relu", "x", to="other")]))


@case(r"input|argument")
def function_called_with_too_many_inputs(folder):
    made = calling(function("F", [node("Relu", "x", to="y")]))
    made.graph.node[0].input.extend(["x", "x"])
    return made
