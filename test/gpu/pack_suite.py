#!/usr/bin/env python3
"""Packs the ONNX backend suite, compiled for a GPU, for a machine that has one but neither onnx nor the compiler.

    pack_suite.py --flamec FLAMEC --gpu sm_90a [--filter REGEX] [--jobs N] OUT

OUT, a folder or a .tar.gz, holds, for every test that compiles, artifact, inputs and expected outputs, and `tests.json`, which
run_suite.py reads: [{"name", "folder", "inputs": [[name, file]…], "outputs": [[name, file]…]}], and the tests that do not
compile with the reason.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))

import onnx
import onnx_data
from suite_folder import finish, report, suite_folder


def pack(test, args, out):
    folder = out / test.name
    folder.mkdir()
    command = [args.flamec, "compile", test.folder / "model.onnx", "-o", folder / "model.flame", "--target=cuda"]
    command += [f"--gpu={args.gpu}", "--embed-weights", "-q"]
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=300)
    entry = {"name": test.name}
    if done.returncode != 0:
        shutil.rmtree(folder)
        return entry | {"error": done.stderr.strip()[:2000] or f"status {done.returncode}"}
    model = onnx.load(test.folder / "model.onnx", load_external_data=False)
    initialized = {i.name for i in model.graph.initializer}
    inputs = [i.name for i in model.graph.input if i.name not in initialized]
    entry["sets"] = []
    for data in sorted(test.folder.glob("test_data_set_*")):
        if not list(data.glob("output_*.pb")):
            continue
        (folder / data.name).mkdir()
        for file in data.glob("*.pb"):
            shutil.copyfile(file, folder / data.name / file.name)
        entry["sets"].append(
            {
                "inputs": [[name, f"{data.name}/input_{i}.pb"] for i, name in enumerate(inputs)],
                "outputs": [[o.name, f"{data.name}/output_{i}.pb"] for i, o in enumerate(model.graph.output)],
            }
        )
    return entry


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flamec", required=True, type=pathlib.Path)
    parser.add_argument("--gpu", default="sm_90a")
    parser.add_argument("--filter", default="")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("target_folder", metavar="OUT", type=pathlib.Path)
    args = parser.parse_args()
    if not (pathlib.Path(onnx_data.DATA_DIR) / "node").is_dir():
        raise SystemExit(f"onnx {onnx.__version__} comes without the data of its tests; install the version of tools/requirements.txt, "
                         "or take build/gpu/onnx.tar.gz from a machine that has it")
    with suite_folder(args.target_folder) as out, tempfile.TemporaryDirectory() as scratch:
        # The light models need files that are downloaded or generated; whole models are measured elsewhere.
        tests = [t for t in onnx_data.load(pathlib.Path(scratch)) if t.kind != "light" and re.search(args.filter, t.name)]
        with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
            entries = list(pool.map(lambda t: pack(t, args, out), tests))
        finish(entries, out)
    report(entries, args.target_folder)


if __name__ == "__main__":
    main()
