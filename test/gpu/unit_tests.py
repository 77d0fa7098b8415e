#!/usr/bin/env python3
"""The runtime's unit tests of CUDA plans (GoogleTest, linked statically) with the real driver.

    unit_tests.py --pack build/gpu [--report FILE.json]

Tests that steer the fake driver count as skipped. Those in which a kernel faults have a process each, since the context is
lost. Ends with `N passed, N failed, N skipped`.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from outcome import finish

HERE = pathlib.Path(__file__).resolve().parent
GROUPS = ("Cuda.*:CudaGraph.*:CudaStream.*:*/Executor.*/Cuda", "CudaFault.*")


def run(pack, group):
    with tempfile.TemporaryDirectory() as scratch:
        out = pathlib.Path(scratch) / "out.json"
        done = subprocess.run(
            [pack / "flame_runtime_tests", f"--gtest_filter={group}", f"--gtest_output=json:{out}", "--gtest_brief=1"],
            capture_output=True, text=True, timeout=300, env=os.environ | {"FLAME_TEST_GPU": "1", "FLAME_TEST_FILES": str(pack)})  # fmt: skip
        if not out.exists():
            return [{"name": group, "status": "failed", "reason": f"status {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}"}]
        rows = []
        for suite in json.loads(out.read_text())["testsuites"]:
            for test in suite["testsuite"]:
                failures = [f["failure"] for f in test.get("failures", [])]
                status = "failed" if failures else "skipped" if test["result"] == "SKIPPED" else "passed"
                reason = failures[0].replace("\n", " ")[:400] if failures else "steers the fake driver" if status == "skipped" else ""
                rows.append({"name": f"{suite['name']}.{test['name']}", "status": status, "reason": reason})
        return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pack", type=lambda p: pathlib.Path(p).resolve(), default=HERE.parents[1] / "build/gpu")
    parser.add_argument("--report", type=pathlib.Path)
    args = parser.parse_args()
    rows = [row for group in GROUPS for row in run(args.pack, group)]
    for row in rows:
        if row["status"] == "failed":
            print(f"FAIL {row['name']}: {row['reason']}")
    return finish(rows, args.report)


if __name__ == "__main__":
    sys.exit(main())
