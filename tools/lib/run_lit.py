"""Runs the lit suites of a build directory and ends with `N passed, N failed, N skipped`.

lit's own verdicts are mapped so: an expected failure passes, an unexpected pass fails, unsupported and excluded tests
are skipped. A build without a configured suite, or a suite without tests, is a failure.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

PASSED = {"PASS", "FLAKYPASS", "XFAIL"}
SKIPPED = {"UNSUPPORTED", "SKIPPED", "EXCLUDED"}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--filter", help="run the tests whose path matches this regular expression")
    parser.add_argument("--suite", default="", help="a folder below test/; default: all but gpu")
    args = parser.parse_args()

    site = args.build / "test"
    if not (site / "lit.site.cfg.py").exists():
        sys.exit(f"error: {site}/lit.site.cfg.py does not exist: the build has no lit suite configured")
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "lit.json"
        command = [
            str(pathlib.Path(sys.executable).with_name("lit")),
            "-sv",
            "--order=lexical",
            f"-j{args.jobs}",
            f"--output={report}",
        ]
        if args.filter:
            command += ["--filter", args.filter]
        command.append(str(site / args.suite))
        status = subprocess.run(command).returncode
        tests = json.loads(report.read_text())["tests"] if report.exists() else []
    codes = [t["code"] for t in tests]
    passed = sum(c in PASSED for c in codes)
    skipped = sum(c in SKIPPED for c in codes)
    failed = len(codes) - passed - skipped
    if not tests:
        print("error: lit found no tests")
        failed = 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed or (status and not failed) else 0


if __name__ == "__main__":
    sys.exit(main())
