"""Malformed tensors and external data, for bad_onnx.py."""

from __future__ import annotations

import os
import struct

import onnx
from bad_onnx import BAD, FLOAT, UNSUPPORTED, case, info, model, node
from onnx import TensorProto

# ---- tensors ---------------------------------------------------------------------------------------------------------


def weight(**fields):
    return TensorProto(name="w", **fields)


def with_weight(tensor):
    return model([node("Add", "x", "w", to="y", name="sum")], weights=[tensor], outputs=[info("y", None)])


@case(r"bytes|size|elements|raw")
def raw_data_too_short(folder):
    return with_weight(weight(dims=[4], data_type=FLOAT, raw_data=bytes(12)))


@case(r"bytes|size|elements|raw")
def raw_data_too_long(folder):
    return with_weight(weight(dims=[4], data_type=FLOAT, raw_data=bytes(20)))


@case(r"elements|size|float_data|values|numbers")
def too_few_values(folder):
    return with_weight(weight(dims=[4], data_type=FLOAT, float_data=[1, 2]))


@case(r"data|raw|both|twice|elements|values")
def raw_data_and_values_at_once(folder):
    return with_weight(weight(dims=[4], data_type=FLOAT, raw_data=bytes(16), float_data=[1, 2, 3]))


@case(r"type|dtype|99")
def unknown_dtype(folder):
    return with_weight(weight(dims=[4], data_type=99, raw_data=bytes(16)))


@case(r"type|dtype|undefined")
def undefined_dtype(folder):
    return with_weight(weight(dims=[4], data_type=0, raw_data=bytes(16)))


@case(r"negative|dim|-1")
def negative_dimension(folder):
    return with_weight(weight(dims=[-1], data_type=FLOAT, raw_data=b""))


@case(r"overflow|large|size|elements|bytes")
def dimensions_overflow(folder):
    return with_weight(weight(dims=[2**62, 2**62, 4], data_type=FLOAT, raw_data=bytes(16)))


@case(r"overflow|large|size|elements|bytes|data|numbers")
def terabyte_of_nothing(folder):
    return with_weight(weight(dims=[2**38], data_type=FLOAT))


@case(r"bool|value|range|byte|string|data|elements|type")
def strings_where_numbers_belong(folder):
    return with_weight(weight(dims=[2], data_type=FLOAT, string_data=[b"one", b"two"]))


@case(r"index|indices|range|sparse", BAD, UNSUPPORTED)
def sparse_index_out_of_range(folder):
    values = TensorProto(name="w", dims=[1], data_type=FLOAT, raw_data=struct.pack("<f", 1))
    indices = TensorProto(name="i", dims=[1], data_type=TensorProto.INT64, raw_data=struct.pack("<q", 400))
    made = with_weight(weight(dims=[4], data_type=FLOAT, raw_data=bytes(16)))
    del made.graph.initializer[:]
    made.graph.sparse_initializer.append(onnx.SparseTensorProto(values=values, indices=indices, dims=[4]))
    return made


@case(r"negative|dim|-5")
def input_with_negative_dimension(folder):
    return model([node("Relu", "x", to="y")], inputs=[info("x", (-5, 4))], outputs=[info("y", None)])


@case(r"type|dtype|element", BAD, UNSUPPORTED)
def input_without_a_type(folder):
    made = model([node("Relu", "x", to="y")])
    made.graph.input[0].ClearField("type")
    return made


@case(r"type|dtype|element|77")
def input_of_unknown_dtype(folder):
    made = model([node("Relu", "x", to="y")])
    made.graph.input[0].type.tensor_type.elem_type = 77
    return made


# ---- external data ---------------------------------------------------------------------------------------------------


def external(folder, location="weights.bin", size=64, write=True, **entries):
    """A model whose weight w, float32 [4, 4], is said to be in `location`."""
    if write:
        (folder / "weights.bin").write_bytes(bytes(size))
    tensor = weight(dims=[4, 4], data_type=FLOAT)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        if value is not None:
            tensor.external_data.add(key=key, value=str(value))
    return model([node("MatMul", "x", "w", to="y", name="product")], weights=[tensor])


def nested(folder):
    """The model's own folder, inside `folder`, so that there is an outside."""
    inner = folder / "model"
    inner.mkdir()
    return inner


def stored(made, folder):
    path = folder / "bad.onnx"
    path.write_bytes(made.SerializeToString())
    return path


OUTSIDE = r"outside|escape|\.\.|absolute|leaves|folder|directory"


@case(OUTSIDE)
def external_path_goes_up(folder):
    inner = nested(folder)
    (folder / "secret.bin").write_bytes(bytes(64))
    return stored(external(inner, "../secret.bin"), inner)


@case(OUTSIDE)
def external_path_goes_down_and_up(folder):
    inner = nested(folder)
    (inner / "a").mkdir()
    (folder / "secret.bin").write_bytes(bytes(64))
    return stored(external(inner, "a/../../secret.bin"), inner)


@case(OUTSIDE)
def external_path_is_absolute(folder):
    inner = nested(folder)
    (folder / "secret.bin").write_bytes(bytes(64))
    return stored(external(inner, str(folder / "secret.bin")), inner)


@case(OUTSIDE + "|link")
def external_file_is_a_symlink_out(folder):
    inner = nested(folder)
    (folder / "secret.bin").write_bytes(bytes(64))
    (inner / "link.bin").symlink_to("../secret.bin")
    return stored(external(inner, "link.bin"), inner)


@case(OUTSIDE + "|link")
def external_folder_is_a_symlink_out(folder):
    inner = nested(folder)
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "secret.bin").write_bytes(bytes(64))
    (inner / "sub").symlink_to("../elsewhere")
    return stored(external(inner, "sub/secret.bin"), inner)


@case(OUTSIDE + "|link")
def external_file_is_a_hard_link(folder):
    inner = nested(folder)
    (folder / "secret.bin").write_bytes(bytes(64))
    os.link(folder / "secret.bin", inner / "link.bin")
    return stored(external(inner, "link.bin"), inner)


@case(r"loop|link|open|resolve")
def external_file_is_a_symlink_loop(folder):
    (folder / "a.bin").symlink_to("b.bin")
    (folder / "b.bin").symlink_to("a.bin")
    return external(folder, "a.bin")


@case(r"regular file|pipe|fifo")
def external_file_is_a_fifo(folder):
    os.mkfifo(folder / "pipe.bin")
    return external(folder, "pipe.bin")


@case(r"regular file|directory|folder")
def external_file_is_a_directory(folder):
    (folder / "sub").mkdir()
    return external(folder, "sub")


@case(r"no such file|not exist|missing|cannot open|not found")
def external_file_missing(folder):
    return external(folder, "absent.bin", write=False)


@case(r"location|path|empty")
def external_location_missing(folder):
    return external(folder, None)


@case(r"location|path|empty|directory|regular file")
def external_location_empty(folder):
    return external(folder, "")


@case(r"NUL|zero byte|\\0|\\x00|location|path|control character")
def external_location_with_nul(folder):
    return external(folder, "weights.bin\0.txt")


@case(r"offset")
def external_offset_negative(folder):
    return external(folder, offset=-4)


@case(r"offset|end|beyond|past|size")
def external_offset_past_the_end(folder):
    return external(folder, offset=4096)


@case(r"offset|end|beyond|past|size|large")
def external_offset_a_petabyte(folder):
    return external(folder, offset=2**50)


@case(r"offset|number|integer")
def external_offset_is_not_a_number(folder):
    return external(folder, offset="here")


@case(r"offset|number|integer|large|range")
def external_offset_over_64_bits(folder):
    return external(folder, offset=2**70)


@case(r"length")
def external_length_negative(folder):
    return external(folder, length=-64)


@case(r"length|end|beyond|past|size|bytes")
def external_length_past_the_end(folder):
    return external(folder, length=4096)


@case(r"length|end|beyond|past|size|bytes|large")
def external_length_a_petabyte(folder):
    return external(folder, length=2**50)


@case(r"length|bytes|shape|size")
def external_length_is_not_the_shape(folder):
    return external(folder, length=32)


@case(r"end|beyond|past|size|bytes|short|truncated")
def external_file_too_short(folder):
    return external(folder, size=60)


@case(r"offset|length|overflow|end|beyond|past|size")
def external_offset_plus_length_overflows(folder):
    return external(folder, offset=2**63 - 8, length=64)
