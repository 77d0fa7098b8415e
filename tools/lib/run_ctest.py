"""Runs the tests that CMake registered (GoogleTest) and ends with `N passed, N failed, N skipped`."""

from __future__ import annotations

import argparse
import pathlib
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--filter", help="run the tests whose name matches this regular expression")
    args = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "ctest.xml"
        command = ["ctest", "--test-dir", str(args.build), "--output-on-failure", "--progress", "--timeout", "300"]
        command += ["-j", str(args.jobs), "--output-junit", str(report)]
        if args.filter:
            command += ["-R", args.filter]
        subprocess.run(command)
        cases = ElementTree.parse(report).getroot().findall("testcase") if report.exists() else []
    passed = sum(c.get("status") == "run" for c in cases)
    skipped = sum(c.get("status") in ("notrun", "disabled") for c in cases)
    failed = len(cases) - passed - skipped
    if not cases:
        print("error: ctest found no tests")
        failed = 1
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
