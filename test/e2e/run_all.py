#!/usr/bin/env python3
"""Runs every test_*.py of this folder and ends with `N passed, N failed, N skipped`.

run_all.py [--bin build/release/bin] [--filter REGEX]
"""

from __future__ import annotations

import argparse
import os
import pathlib
import re
import sys
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent


class Result(unittest.TextTestResult):
    """Counts test methods, not subtests, and shows what each method took if that was long."""

    def startTest(self, test):
        super().startTest(test)
        self.started = time.perf_counter()
        self.bad = set() if not hasattr(self, "bad") else self.bad

    def stopTest(self, test):
        seconds = time.perf_counter() - self.started
        if seconds > 5:
            self.stream.writeln(f"    {seconds:.0f} s")
        super().stopTest(test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.bad.add(test.id())

    def addError(self, test, err):
        super().addError(test, err)
        self.bad.add(test.id())

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.bad.add(test.id())


def flatten(suite):
    for item in suite:
        yield from flatten(item) if isinstance(item, unittest.TestSuite) else [item]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, help="folder of flamec and flame-run")
    parser.add_argument("--filter", default="", help="run the tests whose id contains this regular expression")
    args = parser.parse_args()
    if args.bin:
        os.environ["FLAME_BIN"] = str(args.bin.resolve())
    found = unittest.defaultTestLoader.discover(str(HERE), "test_*.py", str(HERE))
    tests = [t for t in flatten(found) if re.search(args.filter, t.id())]
    result = unittest.TextTestRunner(sys.stdout, resultclass=Result, verbosity=2).run(unittest.TestSuite(tests))
    failed = len(getattr(result, "bad", ()))
    skipped = len(result.skipped)
    if not tests:
        print("error: no tests were found")
        failed = 1
    print(f"{max(result.testsRun - failed - skipped, 0)} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
