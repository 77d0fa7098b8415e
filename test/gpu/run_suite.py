#!/usr/bin/env python3
"""Runs a packed suite (pack_suite.py) on the GPU of this machine; needs flame-run and Python alone.

    run_suite.py --flame-run FLAME_RUN [--jobs N] [--report REPORT.json] SUITE_FOLDER

Tolerances are those of the ONNX backend suite, unless a test has its own. Random operators are skipped here: what their specification promises is
checked where they can be compared, on the CPU. Ends with `N passed, N failed, N skipped`.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import json
import pathlib
import re
import subprocess

RANDOM = re.compile(r"^test_(bernoulli|training_dropout(?!_zero))")


def run(entry, args):
    if "error" in entry:
        return "failed", "not compiled: " + entry["error"].splitlines()[-1]
    if RANDOM.match(entry["name"]):
        return "skipped", "random"
    folder = args.suite / entry["name"]
    for data in entry["sets"]:
        command = [args.flame_run, folder / "model.flame", "-q", *args.option]
        command += [f"--rtol={entry.get('rtol', 1e-3)}", f"--atol={entry.get('atol', 1e-7)}"]
        for name, file in data["inputs"]:
            command += ["-i", f"{name}={folder / file}"]
        for name, file in data["outputs"]:
            command += ["--expect", f"{name}={folder / file}"]
        try:
            done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120)
        except subprocess.TimeoutExpired:
            return "failed", "did not end in 120 s"
        if done.returncode != 0:
            text = (done.stderr + done.stdout).strip()
            return "failed", f"status {done.returncode}: " + (text.splitlines()[-1][:400] if text else "no message")
    return "passed", ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flame-run", required=True, type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--option", action="append", default=[], help="handed to flame-run")
    parser.add_argument("--filter", default="")
    parser.add_argument("suite", type=pathlib.Path)
    args = parser.parse_args()
    entries = [e for e in json.loads((args.suite / "tests.json").read_text()) if re.search(args.filter, e["name"])]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(lambda e: run(e, args), entries))
    report = [{"name": e["name"], "status": s, "reason": r} for e, (s, r) in zip(entries, results)]
    if args.report:
        args.report.write_text(json.dumps(report, indent=1))
    for row in report:
        if row["status"] == "failed":
            print(f"FAIL {row['name']}: {row['reason']}")
    count = collections.Counter(row["status"] for row in report)
    print(f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
