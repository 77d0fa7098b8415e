#!/usr/bin/env python3
"""Runs the packed GPU tests (tools/gpu-pack.sh) on the GPU of this machine; needs Python and a driver.

    run_all.py [--pack build/gpu] [--jobs N] [--report FILE.json] [--filter REGEX]

Ends with `N passed, N failed, N skipped` over all suites; the status is 1 if anything failed or nothing ran.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tarfile
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SUITES = [("onnx 1.22.0 backend suite (cuda)", "onnx"), ("products and convolutions (cuda)", "contract")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=pathlib.Path, default=HERE.parents[1] / "build/gpu")
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("--report", type=pathlib.Path, help="totals and failures of each suite, as JSON")
    parser.add_argument("--filter", default="")
    args = parser.parse_args()
    totals, report = [0, 0, 0], {}
    with tempfile.TemporaryDirectory(prefix="flame-gpu-") as scratch:
        scratch = pathlib.Path(scratch)
        for title, name in SUITES:
            archive = args.pack / f"{name}.tar.gz"
            if not archive.exists():
                print(f"{title}: {archive} is missing; bash tools/gpu-pack.sh makes it", file=sys.stderr)
                totals[1] += 1
                continue
            folder = scratch / name
            with tarfile.open(archive) as tar:
                tar.extractall(folder)
            suite = next(folder.rglob("tests.json")).parent
            command = [sys.executable, HERE / "run_suite.py", "--flame-run", args.pack / "flame-run", "--jobs", args.jobs,
                       "--title", title, "--filter", args.filter, "--report", scratch / f"{name}.json", suite]  # fmt: skip
            if name == "onnx":
                command += ["--expected", HERE.parent / "e2e/onnx_expected_failures.txt"]
            done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
            print(done.stdout.rstrip(), done.stderr.rstrip(), sep="\n" if done.stderr else "", flush=True)
            count = re.search(r"(\d+) passed, (\d+) failed, (\d+) skipped of \d+\s*$", done.stdout)
            if not count:
                totals[1] += 1
                continue
            numbers = [int(n) for n in count.groups()]
            totals = [a + b for a, b in zip(totals, numbers)]
            rows = json.loads((scratch / f"{name}.json").read_text())
            report[title] = {
                "passed": numbers[0], "failed": numbers[1], "skipped": numbers[2],
                "not passed": {r["name"]: r["reason"] for r in rows if r["status"] != "passed"},
            }  # fmt: skip
    if args.report:
        args.report.write_text(json.dumps(report, indent=1))
    print("{} passed, {} failed, {} skipped".format(*totals))
    return 1 if totals[1] or not totals[0] else 0


if __name__ == "__main__":
    sys.exit(main())
