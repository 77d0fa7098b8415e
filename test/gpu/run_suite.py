#!/usr/bin/env python3
"""Runs a packed suite (pack_suite.py) on the GPU of this machine; needs flame-run and Python alone.

    run_suite.py --flame-run FLAME_RUN [--jobs N] [--expected FILE] [--report REPORT.json] SUITE_FOLDER

Tolerances are those of the ONNX backend suite, unless a test has its own. Random operators are skipped here: what their specification promises is
checked where they can be compared, on the CPU. FILE lists tests that fail, a name and the reason a line, as on the CPU: one that
passes unexpectedly is a failure. A program runs many tests, since making a GPU's context takes longer than they do;
after an error of the GPU it is started anew. Ends with one line of totals.
"""

from __future__ import annotations

import argparse
import collections
import concurrent.futures
import json
import pathlib
import re
import subprocess
import threading

RANDOM = re.compile(r"^test_(bernoulli|training_dropout(?!_zero))")


class Program:
    """flame-run --each; one for each thread."""

    local = threading.local()

    def __init__(self, path):
        self.child = subprocess.Popen(
            [str(path), "--each"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace")  # fmt: skip

    @classmethod
    def run(cls, path, words):
        """(exit code, output) of one command line."""
        self = getattr(cls.local, "program", None)
        if self is None:
            self = cls.local.program = cls(path)
        watchdog = threading.Timer(120, self.child.kill)
        watchdog.start()
        try:
            self.child.stdin.write("\t".join(map(str, words)) + "\n")
            self.child.stdin.flush()
            output = ""
            for line in self.child.stdout:
                if done := re.match(r"exit (\d+)$", line):
                    code = int(done[1])
                    break
                output += line
            else:
                code = self.child.wait()
                output += f"flame-run ended with status {code}"
        except BrokenPipeError:
            code, output = -1, "flame-run ended"
        finally:
            watchdog.cancel()
        if code not in (0, 2, 3, 4, 5, 6):  # the context may be lost
            self.child.kill()
            self.child.wait()
            cls.local.program = None
        return code, output


def run(entry, args):
    if "error" in entry:
        return "failed", "not compiled: " + entry["error"].splitlines()[-1]
    if RANDOM.match(entry["name"]):
        return "skipped", "random"
    folder = args.suite / entry["name"]
    for data in entry["sets"]:
        words = [folder / "model.flame", "-q", *args.option]
        words += [f"--rtol={entry.get('rtol', 1e-3)}", f"--atol={entry.get('atol', 1e-7)}"]
        for name, file in data["inputs"]:
            words += ["-i", f"{name}={folder / file}"]
        for name, file in data["outputs"]:
            words += ["--expect", f"{name}={folder / file}"]
        code, output = Program.run(args.flame_run, words)
        if "fails" in entry:
            if code != 3 or not re.search(entry["fails"], output):
                return "failed", f"status {code} and not /{entry['fails']}/: " + output.strip()[:400]
        elif code != 0:
            text = output.strip()
            return "failed", f"status {code}: " + (text.splitlines()[-1][:400] if text else "no message")
    return "passed", ""


def expect(name, outcome, expected):
    """A test that is known to fail is skipped when it does, and fails when it does not."""
    if name not in expected:
        return outcome
    if outcome[0] == "failed":
        return "skipped", expected[name]
    return ("failed", "passes though it is listed as failing") if outcome[0] == "passed" else outcome


def read_expected(path):
    lines = [line.split("#")[0].strip() for line in path.read_text().splitlines()] if path else []
    return {name: reason.strip() for name, _, reason in (line.partition(":") for line in lines if line)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flame-run", required=True, type=pathlib.Path)
    parser.add_argument("--jobs", type=int, default=8)
    parser.add_argument("--expected", type=pathlib.Path)
    parser.add_argument("--report", type=pathlib.Path)
    parser.add_argument("--option", action="append", default=[], help="handed to flame-run")
    parser.add_argument("--filter", default="")
    parser.add_argument("--title", default="onnx 1.22.0 backend suite (cuda)")
    parser.add_argument("suite", type=pathlib.Path)
    args = parser.parse_args()
    entries = [e for e in json.loads((args.suite / "tests.json").read_text()) if re.search(args.filter, e["name"])]
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        results = list(pool.map(lambda e: run(e, args), entries))
    expected = read_expected(args.expected)
    results = [expect(e["name"], r, expected) for e, r in zip(entries, results)]
    report = [{"name": e["name"], "status": s, "reason": r} for e, (s, r) in zip(entries, results)]
    if args.report:
        args.report.write_text(json.dumps(report, indent=1))
    for row in report:
        if row["status"] == "failed":
            print(f"FAIL {row['name']}: {row['reason']}")
    count = collections.Counter(row["status"] for row in report)
    print(f"{args.title}: {count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped of {len(report)}")
    return 1 if count["failed"] else 0


if __name__ == "__main__":
    raise SystemExit(main())
