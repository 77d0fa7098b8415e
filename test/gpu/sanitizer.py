#!/usr/bin/env python3
"""A subset of the packed cases under NVIDIA's compute-sanitizer: memcheck, racecheck, initcheck, synccheck.

    sanitizer.py --pack build/gpu [--suites FOLDER] [--filter REGEX] [--report FILE.json]

Every kernel form is in the subset, with the smallest cases of a type each. A line a tool and group; API errors that the
runtime would have to expect count as errors, too. Ends with `N passed, N failed, N skipped`.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from outcome import finish
from suite_folder import opened

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = {
    "memcheck": ["--report-api-errors", "all", "--padding", "32"],
    "racecheck": ["--racecheck-report", "all"],
    "initcheck": [],
    "synccheck": [],
}
SECONDS = 60  # for the cases of a suite; a tool that finds something at every access takes longer than anybody waits
# A suite and the cases of it, one expression a form; the first `LIMIT` matches of each are taken.
LIMIT = 3
SUBSET = {
    "onnx": [
        r"test_add$", r"test_gelu", r"test_softmax_axis_2", r"test_layer_normalization_3d_axis1", r"test_reduce_sum_",
        r"test_transpose_", r"test_gather", r"test_scatter", r"test_concat_3d", r"test_slice", r"test_edge_pad", r"test_resize",
        r"test_top_k", r"test_cumsum", r"test_maxpool_2d", r"test_averagepool", r"test_matmul", r"test_gemm", r"test_conv_",
        r"test_convtranspose", r"test_attention_4d", r"test_lstm", r"test_gru", r"test_quantizelinear", r"test_nonzero",
        r"test_unique", r"test_einsum", r"test_one_hot", r"test_argmax", r"test_instancenorm", r"test_group_normalization",
        r"test_rotary", r"test_dft", r"test_loop11", r"test_if$", r"test_range", r"test_where", r"test_cast_FLOAT_to",
        r"test_dequantize", r"test_gridsample", r"test_roialign", r"test_nonmaxsuppression", r"test_rms",
    ],
    "contract": [
        r"matmul_f16_", r"matmul_bf16_", r"matmul_f32_", r"matmul_f64_", r"matmul_i32_", r"epilogue_", r"dynamic_", r"scores_",
        r"context_", r"integer_", r"conv_plain", r"conv_groups", r"conv_depthwise", r"conv_strided", r"vector_",
    ],
    "attention": [r"f16", r"bf16", r"causal", r"mask"],
    "forms": [r"loop", r"row", r"reduce", r"transpose", r"gather", r"scatter", r"concat", r"scan", r"sort", r"pool", r"pad"],
}  # fmt: skip
# initcheck sees nothing of what the copy engine stores: it reports each element of it that a next kernel reads, and no other.
UNSEEN = {"initcheck": r"^many_"}


def choose(folder, suite, tool, expression):
    """Command lines of flame-run for the cases of a suite that the tool understands; at most LIMIT for each expression."""
    entries = [e for e in json.loads((folder / "tests.json").read_text()) if "error" not in e and re.search(expression, e["name"])
               and not (tool in UNSEEN and re.search(UNSEEN[tool], e["name"]))]  # fmt: skip
    chosen = {}
    for pattern in SUBSET[suite]:
        for entry in [e for e in entries if re.search(pattern, e["name"])][:LIMIT]:
            chosen[entry["name"]] = entry
    lines = []
    for entry in chosen.values():
        at = folder / entry["name"]
        for data in entry["sets"][:1]:
            words = [at / "model.flame", "-q", *(f"-i{name}={at / file}" for name, file in data["inputs"])]
            lines.append("\t".join(map(str, words)))
    return lines


def find():
    for path in (os.environ.get("FLAME_COMPUTE_SANITIZER"), shutil.which("compute-sanitizer"), "/usr/local/cuda/bin/compute-sanitizer"):
        if path and pathlib.Path(path).exists():
            return path
    return None


def run(tool, program, lines):
    """(status, what it found) of the command lines in one process under a tool."""
    command = [find(), "--tool", tool, *TOOLS[tool], "--error-exitcode", "86", "--print-limit", "20", program, "--each"]
    try:
        done = subprocess.run([str(c) for c in command], input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired as late:
        said = late.stdout or ""
        ended = len(re.findall(r"^exit \d+$", said if isinstance(said, str) else said.decode(errors="replace"), re.MULTILINE))
        at = f"in {lines[ended].split()[0]}" if ended < len(lines) else "after the last case"
        return "failed", f"stopped after {SECONDS} s, {at}"
    text = done.stdout + done.stderr
    ran = re.findall(r"^exit (\d+)$", text, re.MULTILINE)
    summary = re.search(r"SUMMARY: (\d+) (?:errors?|hazards?)", text)
    if done.returncode == 0 and summary and summary[1] == "0" and ran == ["0"] * len(lines):
        return "passed", ""
    found = [line for line in text.splitlines() if line.startswith("=========") and len(line) > 12]
    bad = f"{len(ran)} of {len(lines)} cases ended, {sum(c != '0' for c in ran)} with an error; " if ran != ["0"] * len(lines) else ""
    return "failed", bad + " | ".join(line.removeprefix("=========").strip() for line in found[:12])[:1500] + text[-200:] * bool(bad)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=lambda p: pathlib.Path(p).resolve(), default=HERE.parents[1] / "build/gpu")
    parser.add_argument("--filter", default="")
    parser.add_argument("--report", type=pathlib.Path)
    args = parser.parse_args()
    rows = []
    if not find():
        rows = [{"name": tool, "status": "skipped", "reason": "compute-sanitizer is not installed"} for tool in TOOLS]
    with tempfile.TemporaryDirectory(prefix="flame-sanitizer-") as scratch:
        for suite in SUBSET if find() else ():
            with opened(args.pack, suite, pathlib.Path(scratch)) as folder:
                for tool in TOOLS if folder else ():
                    if not (lines := choose(folder, suite, tool, args.filter)):
                        continue
                    start = time.perf_counter()
                    status, reason = run(tool, args.pack / "flame-run", lines)
                    print(f"{tool} {suite}: {status}, {len(lines)} cases in {time.perf_counter() - start:.1f} s {reason}", flush=True)
                    rows.append({"name": f"{tool} {suite}", "status": status, "reason": reason})
        # The tool must be able to see something: a test whose kernel writes to a wild address.
        tests = args.pack / "flame_runtime_tests"
        if find() and tests.exists():
            done = subprocess.run(
                [find(), "--tool", "memcheck", tests, "--gtest_filter=CudaFault.*"], capture_output=True, text=True, timeout=120,
                env=os.environ | {"FLAME_TEST_GPU": "1", "FLAME_TEST_FILES": str(args.pack)})  # fmt: skip
            seen = "Invalid __global__ write" in done.stdout + done.stderr
            rows.append({"name": "memcheck sees a wild write", "status": "passed" if seen else "failed",
                         "reason": "" if seen else (done.stdout + done.stderr)[-400:]})  # fmt: skip
    return finish(rows, args.report)


if __name__ == "__main__":
    sys.exit(main())
