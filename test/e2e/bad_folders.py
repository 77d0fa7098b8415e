"""Malformed and hostile model folders, each with what flamec must say about it.

Every case starts from a good folder of a small CLIP text encoder and spoils one thing. `CASES` holds the safetensors
files' faults, then those of indices, configurations and folders; `says` is a regular expression that the message must match,
`names` what it must name.
"""

from __future__ import annotations

import dataclasses
import json
import os
import struct
from collections.abc import Callable

from pipelines import make_pipeline, safetensors

BAD, UNSUPPORTED = 3, 4
FILE, INDEX = "model.safetensors", "model.safetensors.index.json"
CLIP = make_pipeline.clip(8, 2, 2, 16, 20)


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    spoil: Callable
    says: str
    names: tuple
    status: int


CASES: list[Case] = []


def case(says, *names, status=BAD):
    def register(spoil):
        CASES.append(Case(spoil.__name__, spoil, says, names or (FILE,), status))
        return spoil

    return register


def good(folder, config=CLIP, shard_bytes=10**9):
    make_pipeline.write_model(folder, config, make_pipeline.Numbers(1, "F32"), "F32", shard_bytes)
    return folder


def header_of(folder):
    data = (folder / FILE).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def with_header(folder, text, data=b""):
    text = text if isinstance(text, bytes) else json.dumps(text).encode()
    (folder / FILE).write_bytes(struct.pack("<Q", len(text)) + text + data)


def entry(dtype="F32", shape=(2, 2), offsets=(0, 16)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def one(folder, tensor, data=bytes(16)):
    """A file of one tensor "x"."""
    with_header(folder, {"x": tensor}, data)


# ---- the file -----------------------------------------------------------------------------------------------------------


@case("has 0 bytes")
def no_bytes(folder):
    (folder / FILE).write_bytes(b"")


@case("has 7 bytes")
def seven_bytes(folder):
    (folder / FILE).write_bytes(bytes(7))


@case("header of 5000 bytes and has only")
def header_beyond_the_file(folder):
    (folder / FILE).write_bytes(struct.pack("<Q", 5000) + b"{}")


@case("100 MB")
def header_beyond_the_limit(folder):
    with open(folder / FILE, "wb") as file:
        file.write(struct.pack("<Q", 100_000_001))
        file.truncate(200_000_000)


@case("100 MB")
def header_of_2_to_the_64(folder):
    (folder / FILE).write_bytes(struct.pack("<Q", 2**64 - 1) + b"{}")


@case("no JSON object")
def not_an_object(folder):
    with_header(folder, b"[1]")


@case("UTF-8")
def not_utf8(folder):
    with_header(folder, b'{"\xff\xfe": 1}')


@case("not valid JSON")
def truncated_json(folder):
    with_header(folder, b'{"x": {"dtype": "F32", "sha')


@case("must be an object with dtype")
def json_100000_deep(folder):
    with_header(folder, b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


@case("described twice", FILE, "'x'")
def duplicate_names(folder):
    tensor = json.dumps(entry())
    with_header(folder, f'{{"x": {tensor}, "x": {tensor}}}'.encode(), bytes(16))


@case("'dtype' twice", FILE, "'x'")
def duplicate_entry(folder):
    with_header(folder, b'{"x": {"dtype": "F32", "dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}', bytes(16))


@case("'F33', which is unknown", FILE, "'x'")
def unknown_dtype(folder):
    one(folder, entry("F33"))


@case("negative number -2 in its shape", FILE, "'x'")
def negative_size(folder):
    one(folder, entry(shape=(-2, 2)))


@case("1.5 in its shape; a whole number", FILE, "'x'")
def fractional_size(folder):
    one(folder, entry(shape=(1.5, 2)))


@case("more than any memory", FILE, "'x'")
def huge_size(folder):
    one(folder, entry(shape=(2**63,)))


@case("whole number below 2\\^64", FILE, "'x'")
def size_beyond_64_bits(folder):
    one(folder, entry(shape=(2**70,)))


@case("more elements than any memory", FILE, "'x'")
def overflowing_product(folder):
    one(folder, entry(shape=(2**32, 2**32, 4)))


@case("rank over", FILE, "'x'")
def rank_of_100(folder):
    one(folder, entry(shape=(1,) * 100, offsets=(0, 4)), bytes(4))


@case("before its begin", FILE, "'x'")
def end_before_begin(folder):
    one(folder, entry(offsets=(16, 0)))


@case("negative number -8 in its data_offsets", FILE, "'x'")
def negative_offset(folder):
    one(folder, entry(offsets=(-8, 8)))


@case("more than two data_offsets", FILE, "'x'")
def three_offsets(folder):
    one(folder, entry(offsets=(0, 8, 16)))


@case("1 data_offsets", FILE, "'x'")
def one_offset(folder):
    one(folder, entry(offsets=(0,)))


@case("overlaps", FILE, "'y'")
def overlap(folder):
    with_header(folder, {"x": entry(), "y": entry(offsets=(8, 24))}, bytes(24))


@case("hole of 8 bytes", FILE, "'y'")
def hole(folder):
    with_header(folder, {"x": entry(), "y": entry(offsets=(24, 40))}, bytes(40))


@case("8 bytes after its last tensor")
def trailing_bytes(folder):
    one(folder, entry(), bytes(24))


@case("ends at byte 16 of the 12", FILE, "'x'")
def truncated_data(folder):
    one(folder, entry(), bytes(12))


@case("takes 16 bytes, F32\\[2,3\\] needs 24", FILE, "'x'")
def bytes_unlike_the_shape(folder):
    one(folder, entry(shape=(2, 3)))


@case("metadata, which must be an object of strings")
def metadata_number(folder):
    with_header(folder, {"__metadata__": {"format": 1}, "x": entry()}, bytes(16))


@case("metadata, which must be an object of strings")
def metadata_string(folder):
    with_header(folder, {"__metadata__": "pt", "x": entry()}, bytes(16))


@case("twice")
def metadata_twice(folder):
    with_header(folder, b'{"__metadata__": {"a": "1", "a": "2"}}')


@case("lacks its dtype", FILE, "'x'")
def no_dtype(folder):
    with_header(folder, {"x": {"shape": [2, 2], "data_offsets": [0, 16]}}, bytes(16))


@case("dtype, shape and data_offsets", FILE, "'x'")
def unknown_entry(folder):
    one(folder, entry() | {"stride": [1]})


@case("must be an object with dtype", FILE, "'x'")
def tensor_is_a_number(folder):
    with_header(folder, {"x": 1})


@case("not valid JSON")
def text_behind_the_header(folder):
    with_header(folder, b'{} {')


@case("no whole number of bytes", FILE, "'x'")
def half_a_byte(folder):
    one(folder, entry("F4", shape=(3,), offsets=(0, 1)), bytes(1))


@case("not a regular file")
def fifo(folder):
    (folder / FILE).unlink()
    os.mkfifo(folder / FILE)


@case("is a folder")
def folder_for_a_file(folder):
    (folder / FILE).unlink()
    (folder / FILE).mkdir()


@case("too many levels of symbolic links|symbolic link")
def symlink_loop(folder):
    (folder / FILE).unlink()
    (folder / FILE).symlink_to(FILE)


@case("no such file")
def broken_link(folder):
    (folder / FILE).unlink()
    (folder / FILE).symlink_to("../blobs/0123")


# ---- what the tensors are ---------------------------------------------------------------------------------------------


def changed(folder, change):
    tensors = safetensors.read(folder / FILE)
    change(tensors)
    safetensors.write(folder / FILE, tensors)


@case("2 tensors missing", "final_layer_norm.weight [8]", "final_layer_norm.bias [8]")
def missing_tensors(folder):
    def change(tensors):
        del tensors["text_model.final_layer_norm.weight"], tensors["text_model.final_layer_norm.bias"]

    changed(folder, change)


@case("that no model of this configuration has", "lora.down", "lora.up")
def extra_tensors(folder):
    changed(folder, lambda t: t.update({"lora.down": t["text_model.final_layer_norm.bias"]} | {"lora.up": t["text_model.final_layer_norm.bias"]}))


@case("is \\[2,4\\], the configuration wants \\[8\\]", "final_layer_norm.bias")
def misshapen_tensor(folder):
    changed(folder, lambda t: t.update({"text_model.final_layer_norm.bias": t["text_model.final_layer_norm.bias"].reshape(2, 4)}))


@case("1 tensor missing", "final_layer_norm.bias", "other", "mlp.fc1.bias is", "1 tensor of another shape", "1 tensor that no model")
def all_kinds_at_once(folder):
    def change(tensors):
        tensors["other"] = tensors.pop("text_model.final_layer_norm.bias")
        tensors["text_model.encoder.layers.1.mlp.fc1.bias"] = tensors["other"]

    changed(folder, change)


@case("has elements of type I32", "final_layer_norm.bias")
def integers_for_floats(folder):
    table, data = header_of(folder)
    table["text_model.final_layer_norm.bias"]["dtype"] = "I32"
    with_header(folder, table, data)


@case("no weights of type F32", "model", status=UNSUPPORTED)
def quantised_alone(folder):
    one(folder, entry("I8", (4, 4)))


# ---- indices and shards -----------------------------------------------------------------------------------------------


def sharded(folder):
    """The folder in shards; the index, whose changes `write` stores."""
    (folder / FILE).unlink()
    good(folder, shard_bytes=4000)
    return json.loads((folder / INDEX).read_text())


def write_index(folder, index):
    (folder / INDEX).write_text(index if isinstance(index, str) else json.dumps(index))


def first_shard(index):
    return sorted(set(index["weight_map"].values()))[0]


@case("plain name of a file", INDEX)
def shard_in_the_parent_folder(folder):
    index = sharded(folder)
    name = first_shard(index)
    os.rename(folder / name, folder.parent / name)
    index["weight_map"] = {t: f"../{s}" if s == name else s for t, s in index["weight_map"].items()}
    write_index(folder, index)


@case("plain name of a file", INDEX)
def absolute_shard(folder):
    index = sharded(folder)
    index["weight_map"] = {t: str(folder / s) for t, s in index["weight_map"].items()}
    write_index(folder, index)


@case("no file name", INDEX)
def shard_is_a_number(folder):
    index = sharded(folder)
    index["weight_map"]["text_model.final_layer_norm.bias"] = 7
    write_index(folder, index)


@case("aren't there: model-00001", INDEX)
def missing_shard(folder):
    (folder / first_shard(sharded(folder))).unlink()


@case("twice", INDEX)
def tensor_in_two_shards(folder):
    index = sharded(folder)
    entries = [f'"{t}": "{s}"' for t, s in index["weight_map"].items()]
    write_index(folder, '{"weight_map": {' + ", ".join([*entries, entries[0]]) + "}}")


@case("wrong shard", "final_layer_norm.bias", "said to be in model-00001")
def tensor_in_the_wrong_shard(folder):
    index = sharded(folder)
    index["weight_map"]["text_model.final_layer_norm.bias"] = first_shard(index)
    write_index(folder, index)


@case("not in the index", "final_layer_norm.bias")
def tensor_not_in_the_index(folder):
    index = sharded(folder)
    del index["weight_map"]["text_model.final_layer_norm.bias"]
    write_index(folder, index)


@case("in no shard", "no.such.tensor")
def tensor_in_no_shard(folder):
    index = sharded(folder)
    index["weight_map"]["no.such.tensor"] = first_shard(index)
    write_index(folder, index)


@case("no safetensors file", INDEX)
def shard_of_another_kind(folder):
    index = sharded(folder)
    index["weight_map"]["text_model.final_layer_norm.bias"] = "pytorch_model-00001-of-00002.bin"
    write_index(folder, index)


@case("weight_map", INDEX)
def index_without_a_map(folder):
    sharded(folder)
    write_index(folder, "{}")


@case("not valid JSON", INDEX)
def index_is_no_json(folder):
    sharded(folder)
    write_index(folder, '{"weight_map": ')


@case("deep", INDEX)
def deep_index(folder):
    sharded(folder)
    write_index(folder, "[" * 100_000)


# ---- configurations ---------------------------------------------------------------------------------------------------


def configured(folder, text):
    (folder / "config.json").write_text(text if isinstance(text, str) else json.dumps(text))


@case("can't be opened", "config.json")
def no_configuration(folder):
    (folder / "config.json").unlink()


@case("not valid JSON", "config.json")
def broken_configuration(folder):
    configured(folder, '{"architectures": ["CLIPTextModel"')


@case("no JSON object", "config.json")
def configuration_is_a_list(folder):
    configured(folder, "[]")


@case("twice", "config.json", "hidden_size")
def key_twice(folder):
    configured(folder, '{"architectures": ["CLIPTextModel"], "hidden_size": 8, "hidden_size": 9}')


@case("names no class", "config.json")
def no_class(folder):
    configured(folder, {"hidden_size": 8})


@case("did you mean 'CLIPTextModel'", "config.json", "CLIPTextModle", status=UNSUPPORTED)
def misspelt_class(folder):
    configured(folder, CLIP | {"architectures": ["CLIPTextModle"]})


@case("not supported; supported are", "config.json", "MambaForCausalLM", "LlamaForCausalLM", status=UNSUPPORTED)
def unknown_class(folder):
    configured(folder, CLIP | {"architectures": ["MambaForCausalLM"]})


@case("from 0 to 4096", "config.json", "num_hidden_layers")
def gigantic_layer_count(folder):
    configured(folder, CLIP | {"num_hidden_layers": 10**12})


@case("the weights have 2 blocks", "config.json", "num_hidden_layers")
def too_many_layers(folder):
    configured(folder, CLIP | {"num_hidden_layers": 4000})


@case("from 0 to 4096", "config.json", "num_hidden_layers")
def negative_layer_count(folder):
    configured(folder, CLIP | {"num_hidden_layers": -1})


@case("it must divide 'hidden_size', which is 8", "config.json", "num_attention_heads")
def heads_that_do_not_divide(folder):
    configured(folder, CLIP | {"num_attention_heads": 3})


@case("a whole number from 1", "config.json", "num_attention_heads")
def no_heads(folder):
    configured(folder, CLIP | {"num_attention_heads": 0})


@case("a whole number from 1", "config.json", "hidden_size")
def fractional_width(folder):
    configured(folder, CLIP | {"hidden_size": 8.5})


@case("a whole number from 1", "config.json", "hidden_size")
def width_is_text(folder):
    configured(folder, CLIP | {"hidden_size": "8"})


@case("activation 'softsign' is unknown", "config.json")
def unknown_activation(folder):
    configured(folder, CLIP | {"hidden_act": "softsign"})


@case("layer.*weights|blocks|shape|wants", "text_model")
def another_width(folder):
    configured(folder, CLIP | {"hidden_size": 16, "num_attention_heads": 4})


@case("quantised weights", "config.json", status=UNSUPPORTED)
def quantised(folder):
    configured(folder, CLIP | {"quantization_config": {"quant_method": "bitsandbytes"}})


# ---- folders ----------------------------------------------------------------------------------------------------------


@case("Python pickle \\(pytorch_model.bin\\).*safe_serialization", "model")
def pickle_only(folder):
    os.rename(folder / FILE, folder / "pytorch_model.bin")


@case("has no model.safetensors", "model")
def no_weights(folder):
    (folder / FILE).unlink()


@case("several variants of it: model.fp16.safetensors, model.fp32.safetensors", "model")
def two_variants(folder):
    os.rename(folder / FILE, folder / "model.fp16.safetensors")
    (folder / "model.fp32.safetensors").symlink_to("model.fp16.safetensors")


@case("not a regular file", "config.json")
def configuration_is_a_fifo(folder):
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


@case("at most", "config.json")
def huge_configuration(folder):
    with open(folder / "config.json", "wb") as file:
        file.truncate(1 << 33)


@case("can't be opened", "scheduler/scheduler_config.json")
def a_pipeline_of_nothing(folder):
    (folder / "config.json").unlink()
    (folder / "model_index.json").write_text(json.dumps(make_pipeline.MODEL_INDEX))
