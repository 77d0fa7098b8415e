"""Reads and writes safetensors files with numpy alone. bfloat16 is uint16 in memory: the upper half of a float32."""

from __future__ import annotations

import json
import pathlib
import struct

import numpy as np

TYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "BF16": np.uint16, "I64": np.int64, "U8": np.uint8}


def to_bfloat16(values):
    """float32 → the bits of the nearest bfloat16, ties to even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def encode(values, dtype):
    """Floats as the bytes of a type."""
    return to_bfloat16(values).tobytes() if dtype == "BF16" else np.asarray(values).astype(TYPES[dtype]).tobytes()


def header(entries, metadata=None):
    """The bytes before the tensors: `entries` is [(name, dtype, shape, bytes)] in the order of the tensors."""
    table, offset = {}, 0
    if metadata is not None:
        table["__metadata__"] = metadata
    for name, dtype, shape, length in entries:
        table[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + length]}
        offset += length
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write(path, tensors, dtype="F32"):
    """Writes {name: array of floats}."""
    parts = {name: encode(value, dtype) for name, value in tensors.items()}
    entries = [(name, dtype, np.shape(tensors[name]), len(data)) for name, data in parts.items()]
    pathlib.Path(path).write_bytes(header(entries, {"format": "pt"}) + b"".join(parts.values()))


def read(path):
    """{name: array}; bfloat16 as float32."""
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    out = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        array = np.frombuffer(data[8 + length + begin : 8 + length + end], TYPES[entry["dtype"]])
        out[name] = (from_bfloat16(array) if entry["dtype"] == "BF16" else array).reshape(entry["shape"])
    return out


def read_folder(folder):
    """All tensors of a model folder as float64."""
    out = {}
    for path in sorted(pathlib.Path(folder).glob("*.safetensors")):
        out |= read(path)
    return {name: value.astype(np.float64) for name, value in out.items()}
