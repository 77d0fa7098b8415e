"""Runs a model by ONNX Runtime and saves the tensors that are asked for; part of `flamec check`.

Arguments: MODEL NAMES INPUTS OUTPUTS. NAMES is a text file with a value's name a line. INPUTS is a folder with names.txt
and <line>.npy for each of its lines. OUTPUTS gets <line>.npy for each line of NAMES that could be computed, and done.txt
with the version of ONNX Runtime. Needs numpy and onnxruntime. Exit code 3: packages are missing; 4: ONNX Runtime refuses
the model. Graph optimisations are off, so that every node runs as it is written.
"""

import os
import sys


def fail(code, message):
    print(message, file=sys.stderr)
    sys.exit(code)


try:
    import numpy
    import onnxruntime
except ImportError as error:
    fail(3, str(error))


def varint(value):
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def field(number, payload):
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def lines(path):
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read().split("\n")[:-1]


def session(model, folder, names):
    """The model with these values as further outputs: appending to a protobuf message merges into it."""
    outputs = b"".join(field(12, field(1, n.encode("utf-8", "surrogateescape"))) for n in names)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    data = model + field(7, outputs) if outputs else model
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def main():
    path, names_file, inputs, outputs = sys.argv[1:]
    with open(path, "rb") as file:
        model = file.read()
    folder = os.path.abspath(os.path.dirname(path) or ".")
    names = lines(names_file)
    try:
        own = {o.name for o in session(model, folder, []).get_outputs()}
        runner = session(model, folder, [n for n in names if n not in own])
    except Exception as error:
        fail(4, " ".join(str(error).split()))
    feeds = {}
    given = lines(os.path.join(inputs, "names.txt"))
    types = {i.name: i.type for i in runner.get_inputs()}
    for number, name in enumerate(given):
        value = numpy.load(os.path.join(inputs, f"{number}.npy"))
        if types.get(name) == "tensor(string)":
            value = value.astype(object)
        feeds[name] = value
    plain = {"float", "double", "float16", "bool", "string"} | {f"{u}int{b}" for u in ("", "u") for b in (8, 16, 32, 64)}
    kinds = {o.name: o.type for o in runner.get_outputs()}
    wanted = [n for n in names if kinds.get(n, "")[7:-1] in plain]
    try:
        values = runner.run(wanted, feeds)
    except Exception as error:
        fail(4, " ".join(str(error).split()))
    results = dict(zip(wanted, values))
    for number, name in enumerate(names):
        value = results.get(name)
        if value is None:
            continue
        value = numpy.asarray(value)
        if value.dtype == object:
            value = value.astype(str)
        numpy.save(os.path.join(outputs, f"{number}.npy"), value)
    with open(os.path.join(outputs, "done.txt"), "w") as file:
        file.write(onnxruntime.__version__)


main()
