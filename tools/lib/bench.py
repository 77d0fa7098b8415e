"""Compares flame with ONNX Runtime on the models of test/e2e/models; see tools/bench.sh.

One run measures both systems alternately, on the same inputs and with the same number of threads, so that whatever
else the machine does meets both. flame's numbers come from flamec itself (a process a round), ONNX Runtime's from a
session in this process.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import platform
import statistics
import sys
import time

import flame_cli
import numpy as np
import onnxruntime
from models import catalogue
from models.graph import save, weight_bytes

DEFAULT = "resnet50,densenet121,vgg19,bert-base,gpt2"
EXTERNAL = {"vgg19", "bert-base", "gpt2"}  # large enough to keep the weights in a file of their own


def prepare(name, scratch):
    """Builds the model and its inputs once: (model path, {input name: .npy path}, {input name: array})."""
    folder = scratch / name
    model = folder / "model.onnx"
    feeds = catalogue.MODELS[name].inputs(0)
    files = {key: folder / f"input{i}.npy" for i, key in enumerate(feeds)}
    if not model.exists():
        save(catalogue.MODELS[name].build(), model, "weights.bin" if name in EXTERNAL else None)
    for key, path in files.items():
        np.save(path, feeds[key])
    return model, files, feeds


def ort_session(model, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def ort_latency(session, feeds, seconds):
    """Median milliseconds over runs of `seconds` in all, after one run to warm up."""
    session.run(None, feeds)
    times = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, feeds)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def measure(name, cli, args, base_memory):
    model, files, feeds = prepare(name, args.scratch)
    artifact = model.with_suffix(".flame")
    weights = weight_bytes(model)
    compiled = cli.measured("compile", model, "-o", artifact)
    if compiled.status != 0:
        return {"model": name, "error": compiled.error()}

    start = time.perf_counter()
    session = ort_session(model, args.threads)
    ort_load = time.perf_counter() - start
    expected = session.run(None, feeds)
    outputs = args.scratch / name / "outputs"
    ran = cli.measured("run", artifact, *flame_cli.inputs(files), "--output-dir", outputs, "--threads", args.threads)
    if ran.status != 0:
        return {"model": name, "error": ran.error()}
    actual = flame_cli.read_outputs(outputs)
    worst = max(float(np.max(np.abs(a - e) / (1e-3 + np.abs(e)))) for a, e in zip(actual, expected))
    if len(actual) != len(expected) or any(
        not np.allclose(a, e, rtol=args.rtol, atol=args.atol) for a, e in zip(actual, expected)
    ):
        return {"model": name, "error": f"results deviate from ONNX Runtime's by {worst:.2e} relative"}

    flame_times, ort_times = [], []
    for _ in range(args.rounds):
        bench = cli.measured("bench", artifact, *flame_cli.inputs(files), "--threads", args.threads, "--format=json")
        if bench.status != 0:
            return {"model": name, "error": bench.error()}
        flame_times.append(flame_cli.median_ms(json.loads(bench.stdout)))
        ort_times.append(ort_latency(session, feeds, args.seconds))
    flame, ort = statistics.median(flame_times), statistics.median(ort_times)
    return {
        "model": name,
        "flame_ms": flame,
        "ort_ms": ort,
        "ratio": flame / ort,
        "compile_s": compiled.seconds,
        "ort_load_s": ort_load,
        "weights_mb": weights / 1e6,
        "compile_peak_mb": compiled.peak_bytes / 1e6,
        "compile_peak_over_weights": (compiled.peak_bytes - base_memory) / max(weights, 1),
        "run_peak_mb": ran.peak_bytes / 1e6,
        "worst_relative": worst,
    }


MARKDOWN_HEAD = """# Performance

Written by `bash tools/bench.sh cpu --format md`; do not edit. Whole models against ONNX Runtime: latency of one run
with both systems measured alternately in one process tree, time to compile, memory. The models are those of
`test/e2e/models`: the light convolutional networks of the onnx wheel with random weights, and transformers of the
shapes of BERT base and GPT-2 at batch 1, sequence 128. The ratio is flame's time over ONNX Runtime's: below 1 flame is
faster. Results are compared before anything is timed.
"""

COLUMNS = (
    ("model", "model", "{}"),
    ("flame ms", "flame_ms", "{:.2f}"),
    ("ORT ms", "ort_ms", "{:.2f}"),
    ("ratio", "ratio", "{:.2f}"),
    ("compile s", "compile_s", "{:.2f}"),
    ("weights MB", "weights_mb", "{:.0f}"),
    ("compile peak MB", "compile_peak_mb", "{:.0f}"),
    ("peak/weights", "compile_peak_over_weights", "{:.2f}"),
    ("run peak MB", "run_peak_mb", "{:.0f}"),
    ("worst rel. diff", "worst_relative", "{:.1e}"),
)


def table(rows, markdown):
    cells = [[title for title, _, _ in COLUMNS]]
    for row in rows:
        if "error" in row:
            cells.append([row["model"], row["error"]] + [""] * (len(COLUMNS) - 2))
        else:
            cells.append([form.format(row[key]) for _, key, form in COLUMNS])
    widths = [max(len(r[i]) for r in cells if i != 1 or "" not in r) for i in range(len(COLUMNS))]
    lines = []
    for number, row in enumerate(cells):
        padded = [c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))]
        lines.append("| " + " | ".join(padded) + " |" if markdown else "  ".join(padded).rstrip())
        if number == 0 and markdown:
            lines.append("|" + "|".join(("---" if i == 0 else "---:") for i in range(len(widths))) + "|")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flamec", required=True)
    parser.add_argument("--scratch", type=pathlib.Path, required=True)
    parser.add_argument("--models", default=DEFAULT, help=f"default: {DEFAULT}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of ONNX Runtime in a round")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rtol", type=float, default=1e-3)
    parser.add_argument("--atol", type=float, default=1e-4)
    parser.add_argument("--format", choices=["table", "md", "json"], default="table")
    args = parser.parse_args()

    unknown = set(args.models.split(",")) - set(catalogue.MODELS)
    if unknown:
        parser.error(f"no such models: {', '.join(sorted(unknown))}; there are: {', '.join(catalogue.MODELS)}")
    cli = flame_cli.Cli(args.flamec)
    one_node, _, _ = prepare("relu", args.scratch)
    base = cli.measured("compile", one_node, "-o", one_node.with_suffix(".flame"))
    if base.status != 0:
        sys.exit(f"flamec cannot compile one node: {base.error()}")
    rows = []
    for name in args.models.split(","):
        print(f"  {name} …", file=sys.stderr, flush=True)
        rows.append(measure(name, cli, args, base.peak_bytes))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {args.threads} threads each, fp32"
    about = (
        f"ONNX Runtime {onnxruntime.__version__}; {machine}; medians of {args.rounds} alternating rounds. "
        f"peak/weights: memory of the compilation beyond that of one node ({base.peak_bytes / 1e6:.0f} MB), over the "
        f"weights. One node compiles in {base.seconds:.2f} s."
    )
    if args.format == "json":
        print(json.dumps({"about": about, "one_node_s": base.seconds, "models": rows}, indent=1))
    elif args.format == "md":
        print(f"{MARKDOWN_HEAD}\n{table(rows, True)}\n\n{about}")
    else:
        print(f"{table(rows, False)}\n{about}")
    return 1 if any("error" in row for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
