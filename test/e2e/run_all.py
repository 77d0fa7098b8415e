#!/usr/bin/env python3
"""Runs every test_*.py of this folder and ends with `N passed, N failed, N skipped`.

run_all.py [--bin build/release/bin] [--filter REGEX] [--jobs N]

With --jobs classes of tests run in N processes at a time; what each prints comes when it has ended.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import io
import multiprocessing
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


def run(tests, stream):
    """(tests run, ids of the failed ones, number of skipped ones)."""
    result = unittest.TextTestRunner(stream, resultclass=Result, verbosity=2).run(unittest.TestSuite(tests))
    return result.testsRun, set(getattr(result, "bad", ())), len(result.skipped)


def run_class(number):
    stream = io.StringIO()
    return *run(classes[number], stream), stream.getvalue()


def main():
    global classes
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, help="folder of flamec and flame-run")
    parser.add_argument("--filter", default="", help="run the tests whose id contains this regular expression")
    parser.add_argument("--jobs", type=int, default=1, help="classes of tests at a time")
    args = parser.parse_args()
    if args.bin:
        os.environ["FLAME_BIN"] = str(args.bin.resolve())
    found = unittest.defaultTestLoader.discover(str(HERE), "test_*.py", str(HERE))
    tests = [t for t in flatten(found) if re.search(args.filter, t.id())]
    ran, bad, skipped = 0, set(), 0
    if args.jobs > 1:
        by_class = {}
        for test in tests:
            by_class.setdefault(type(test), []).append(test)
        # The largest first, so that none is left alone at the end.
        classes = sorted(by_class.values(), key=len, reverse=True)
        with concurrent.futures.ProcessPoolExecutor(args.jobs, multiprocessing.get_context("fork")) as pool:
            started = {pool.submit(run_class, i): members for i, members in enumerate(classes)}
            for done in concurrent.futures.as_completed(started):
                try:
                    more, failures, left_out, text = done.result()
                except concurrent.futures.process.BrokenProcessPool as error:  # a test has ended its process
                    lost = started[done]
                    more, failures, left_out, text = len(lost), {t.id() for t in lost}, 0, f"{lost[0].id()}: {error}"
                print(text, flush=True)
                ran, bad, skipped = ran + more, bad | failures, skipped + left_out
        for name in sorted(bad):
            print(f"failed: {name}")
    else:
        ran, bad, skipped = run(tests, sys.stdout)
    failed = len(bad)
    if not tests:
        print("error: no tests were found")
        failed = 1
    print(f"{max(ran - failed - skipped, 0)} passed, {failed} failed, {skipped} skipped", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
