"""Runs backend-suite tests through ONNX Runtime: a JSON request a line on stdin, a JSON answer a line on stdout.

Request {"folder", "rtol", "atol"}: compare with the expected outputs. {"folder", "save"}: write the outputs as .npy.
Answer {} or {"error": "..."}.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys

import ml_dtypes  # noqa: F401  (registers bfloat16 and the 8-bit floats with numpy)
import numpy as np
import onnx
import onnx_compare
import onnx_data
import onnxruntime


def feed(value):
    return value.tolist() if isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 0 else value


def handle(request):
    folder = pathlib.Path(request["folder"])
    model = onnx.load(folder / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    test = onnx_data.Test(folder.name, "", folder, 0, 0)
    for inputs, outputs in onnx_data.data_sets(test):
        declared = onnx_data.inputs_to_feed(model)
        feeds = {v.name: feed(onnx_data.load_value(p, v.type)) for p, v in zip(inputs, declared)}
        actual = session.run(None, feeds)
        if "save" in request:
            for i, value in enumerate(actual):
                np.save(os.path.join(request["save"], f"{i}.npy"), value)
            return None
        expected = [onnx_data.load_value(p, v.type) for p, v in zip(outputs, model.graph.output)]
        found = onnx_compare.difference(expected, actual, request["rtol"], request["atol"])
        if found:
            return found
    return None


def main():
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print must not mix with the answers
    for line in sys.stdin:
        try:
            error = handle(json.loads(line))
        except Exception as exception:
            error = f"{type(exception).__name__}: {exception}"
        answers.write(json.dumps({"error": error} if error else {}) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
