#!/usr/bin/env python3
"""Runs the backend suite of the pinned onnx wheel: every test of every kind, each in a process of its own.

A test passes when the outputs agree with the suite's in its own tolerances (rtol 1e-3, atol 1e-7 unless the test
says otherwise), or, for the random operators listed in onnx_properties.py, when they have every property that the
specification promises. Nothing is left out: a test that did not run counts as failed, and so does one that is listed
in onnx_expected_failures.txt and passes. Before the suite, spoiled copies of a few tests must fail, which shows that
the comparison can.

    onnx_suite.py [--runner flamec|ort] [--device cpu] [--filter REGEX] [--jobs N] [--update-expected]

The last line is `onnx 1.22.0 backend suite (cpu): N passed, N failed, N skipped of 1914`; skipped are the tests that
ran and failed as listed. Status 1 if anything failed, 2 for a wrong use.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import sys
import tempfile
import time

import onnx
import onnx_data
import onnx_runners

ONNX_VERSION = "1.22.0"
TESTS = 1914
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
EXPECTED = HERE / "onnx_expected_failures.txt"


def read_expected(path):
    """{test name: reason} of lines `name: reason`; `#` starts a comment line."""
    expected = {}
    if not path.exists():
        return expected
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, colon, reason = line.partition(":")
        if not colon or not reason.strip():
            sys.exit(f"{path}:{number}: expected `test_name: reason`, found: {line}")
        if name in expected:
            sys.exit(f"{path}:{number}: {name} is listed twice")
        expected[name] = reason.strip()
    return expected


def write_expected(path, expected, results):
    header = [line for line in path.read_text().splitlines() if line.startswith("#")] if path.exists() else []
    lines = [
        f"{r.test.name}: {expected.get(r.test.name) or r.reason}"
        for r in sorted(results, key=lambda r: r.test.name)
        if not r.passed
    ]
    path.write_text("\n".join(header + lines) + "\n")


def run_all(tests, runner, jobs):
    """Results in the order of completion; the largest models start first so that none is left running alone."""
    order = sorted(tests, key=lambda t: t.kind != "real")
    live = sys.stderr.isatty()
    results = []
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for future in concurrent.futures.as_completed([pool.submit(runner.run, t) for t in order]):
            results.append(future.result())
            done = len(results)
            if live:
                print(f"\r  {done}/{len(order)}", end="", file=sys.stderr, flush=True)
            elif done % 500 == 0:
                print(f"  {done}/{len(order)}", file=sys.stderr, flush=True)
    if live:
        print("\r\033[K", end="", file=sys.stderr)
    return results


def check_comparison(runner, tests, folder):
    """Names of the spoiled tests that passed nevertheless: each must be empty for the suite to mean anything."""
    undetected = []
    by_name = {t.name: t for t in tests}
    for name, how in onnx_data.SPOILED:
        original = runner.run(by_name[name])
        if not original.passed:
            continue  # it is reported by the suite itself
        spoiled = onnx_data.spoil(by_name[name], how, folder / f"{name}-{how}")
        result = runner.run(spoiled)
        if result.passed:
            undetected.append(f"{name} with a wrong {how}")
    return undetected


def write_report(path, args, results, expected):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for r in sorted(results, key=lambda r: (r.test.kind, r.test.name)):
        rows.append(
            {
                "name": r.test.name,
                "kind": r.test.kind,
                "ops": onnx_data.operators(r.test),
                "status": "passed" if r.passed else "expected failure" if r.test.name in expected else "failed",
                "by": r.by,
                "reason": r.reason,
                "seconds": round(r.seconds, 3),
            }
        )
    report = {"onnx": ONNX_VERSION, "runner": args.runner, "device": args.device, "tests": rows}
    path.write_text(json.dumps(report, indent=1))


def summarise(args, results, expected, undetected, selected):
    """Prints what happened, the suite's line last; returns whether everything was as expected."""
    passed = [r for r in results if r.passed]
    unexpected_pass = sorted(r.test.name for r in passed if r.test.name in expected)
    failed = [r for r in results if not r.passed and r.test.name not in expected]
    xfailed = [r for r in results if not r.passed and r.test.name in expected]

    for r in sorted(failed, key=lambda r: r.test.name):
        print(f"FAIL {r.test.name}: {r.reason}")
    for name in unexpected_pass:
        print(f"UNEXPECTED PASS {name}: remove it from {EXPECTED.name} (listed: {expected[name]})")
    for what in undetected:
        print(f"FAIL comparison: {what} was accepted")
    missing = len(selected) - len(results)
    if missing:
        print(f"FAIL {missing} tests did not run")

    by_property = sum(r.by == "property" for r in passed)
    slowest = sorted(results, key=lambda r: -r.seconds)[:3]
    print(f"slowest: {', '.join(f'{r.test.name} {r.seconds:.1f} s' for r in slowest)}")
    print(f"{by_property} of the passed are random operators, checked for what the specification promises")
    if xfailed:
        kinds = collections.Counter(expected[r.test.name] for r in xfailed)
        print(f"{len(xfailed)} skipped: they ran and failed as listed in test/e2e/{EXPECTED.name}")
        for reason, count in kinds.most_common(12):
            print(f"  {count:4}  {reason}")
    bad = len(failed) + missing + len(undetected) + len(unexpected_pass)
    good = len(passed) - len(unexpected_pass)
    total = TESTS if len(selected) == TESTS else f"{len(selected)} selected ({TESTS} in all)"
    print(
        f"onnx {ONNX_VERSION} backend suite ({args.device}): "
        f"{good} passed, {bad} failed, {len(xfailed)} skipped of {total}",
        flush=True,
    )
    return bad == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runner", choices=["flamec", "ort"], default="flamec")
    parser.add_argument("--flamec", default=str(ROOT / "build/release/bin/flamec"))
    parser.add_argument("--device", choices=["cpu"], default="cpu")
    parser.add_argument("--filter", default="", help="run the tests whose name contains this regular expression")
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("FLAME_JOBS", os.cpu_count() or 1)))
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one test (the light models get thrice)")
    parser.add_argument("--report", type=pathlib.Path, help="default: build/test-results/onnx-DEVICE.json")
    parser.add_argument("--update-expected", action="store_true", help="rewrite the list of expected failures")
    args = parser.parse_args()

    if onnx.__version__ != ONNX_VERSION:
        sys.exit(f"onnx is {onnx.__version__}, the suite is that of {ONNX_VERSION}: run tools/setup.sh")
    with tempfile.TemporaryDirectory(prefix="flame-onnx-") as scratch:
        scratch = pathlib.Path(scratch)
        tests = onnx_data.load(scratch / "light")
        if len(tests) != TESTS:
            sys.exit(f"the onnx wheel holds {len(tests)} tests, {TESTS} were expected")
        names = {t.name for t in tests}
        expected = read_expected(EXPECTED) if args.runner == "flamec" else {}
        unknown = sorted(set(expected) - names)
        if unknown:
            sys.exit(f"{EXPECTED}: no such tests: {', '.join(unknown)}")
        selected = [t for t in tests if re.search(args.filter, t.name)]
        if not selected:
            sys.exit(f"no test matches --filter '{args.filter}'")

        start = time.perf_counter()
        with onnx_runners.make(args, scratch) as runner:
            undetected = [] if args.filter else check_comparison(runner, tests, scratch / "spoiled")
            results = run_all(selected, runner, args.jobs)
        print(f"{len(results)} tests in {time.perf_counter() - start:.0f} s by {args.runner}")
        name = f"onnx-{args.device}" + ("" if args.runner == "flamec" else "-ort")
        write_report(args.report or ROOT / f"build/test-results/{name}.json", args, results, expected)
        if args.update_expected:
            if args.runner != "flamec" or args.filter:
                sys.exit("--update-expected needs a whole run of flamec")
            write_expected(EXPECTED, expected, results)
        return 0 if summarise(args, results, expected, undetected, selected) else 1


if __name__ == "__main__":
    sys.exit(main())
