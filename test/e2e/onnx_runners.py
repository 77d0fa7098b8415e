"""Who runs a test of the backend suite: flamec (one process a test), or ONNX Runtime (a pool of worker processes).

`make` gives a context manager with `run(test) -> Result`; `run` may be called from several threads.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np
import onnx
import onnx_data
import onnx_properties

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass
class Result:
    test: onnx_data.Test
    passed: bool
    reason: str
    seconds: float
    by: str  # "values" or "property"


@contextlib.contextmanager
def make(args, scratch):
    runner = FlamecRunner(args) if args.runner == "flamec" else OrtRunner(args)
    try:
        yield runner
    finally:
        runner.close()


class Runner:
    def __init__(self, args):
        self.args = args

    def run(self, test):
        start = time.perf_counter()
        check = onnx_properties.CHECKS.get(test.name)
        try:
            reason = self.properties(test, check) if check else self.values(test)
        except Exception as error:  # a fault of one test must not end the run
            reason = f"{type(error).__name__}: {error}"
        reason = " ".join(str(reason or "").split())[:300]
        return Result(test, not reason, reason, time.perf_counter() - start, "property" if check else "values")

    def properties(self, test, check):
        """Runs the model twice and gives both runs' outputs to the property check."""
        model = onnx.load(test.folder / "model.onnx")
        inputs = [
            onnx_data.load_value(path, value.type)
            for path, value in zip(onnx_data.data_sets(test)[0][0], onnx_data.inputs_to_feed(model))
        ]
        expected = [
            onnx_data.load_value(path, value.type)
            for path, value in zip(onnx_data.data_sets(test)[0][1], model.graph.output)
        ]
        runs = [self.outputs(test, model) for _ in range(2)]
        for outputs in runs:
            if len(outputs) != len(expected):
                return f"{len(expected)} outputs were expected, found {len(outputs)}"
            for i, (e, a) in enumerate(zip(expected, outputs)):
                if e.shape != a.shape or e.dtype != a.dtype:
                    return f"output {i}: {a.dtype}{list(a.shape)}, expected {e.dtype}{list(e.shape)}"
        return check(inputs, runs)

    def timeout(self, test):
        return self.args.timeout * (3 if test.kind == "real" else 1)

    def close(self):
        pass


class FlamecRunner(Runner):
    def __init__(self, args):
        super().__init__(args)
        if not os.access(args.flamec, os.X_OK):
            sys.exit(f"{args.flamec} does not exist: build it with bash tools/build.sh")
        self.env = {**os.environ, "NO_COLOR": "1"}

    def call(self, test, *arguments):
        """(status, stdout, stderr) of flamec; a status of None is a time-out."""
        try:
            done = subprocess.run(
                [self.args.flamec, *map(str, arguments)],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=self.timeout(test), env=self.env,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return None, "", ""
        return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")

    def values(self, test):
        status, out, err = self.call(test, "suite-test", test.folder, "--rtol", test.rtol, "--atol", test.atol)
        if status == 0 and out.strip().startswith("PASS"):
            return None
        return describe(status, out, err, self.timeout(test))

    def outputs(self, test, model):
        files = onnx_data.data_sets(test)[0][0]
        feeds = [f"--input={value.name}={path}" for value, path in zip(onnx_data.inputs_to_feed(model), files)]
        folder = tempfile.mkdtemp(prefix="flame-random-")
        try:
            status, out, err = self.call(test, "run", test.folder / "model.onnx", *feeds, "--output-dir", folder)
            if status != 0:
                raise RuntimeError(describe(status, out, err, self.timeout(test)))
            files = sorted(pathlib.Path(folder).glob("*.npy"), key=lambda p: int(p.name.split("-")[0]))
            return [np.load(f) for f in files]
        finally:
            shutil.rmtree(folder)


def describe(status, out, err, timeout):
    if status is None:
        return f"no result after {timeout:.0f} s"
    if status < 0:
        return f"flamec was ended by {signal.Signals(-status).name}"
    for line in out.splitlines():
        if line.startswith("FAIL"):
            return line[4:].lstrip(": ") or f"status {status}"
    for line in err.splitlines():
        if "error:" in line:
            return line.split("error:", 1)[1].strip()
    return f"status {status} and no message"


class OrtRunner(Runner):
    """Worker processes, because ONNX Runtime may end a process; a dead one is replaced."""

    def __init__(self, args):
        super().__init__(args)
        self.idle = queue.LifoQueue()
        self.all = []
        self.lock = threading.Lock()

    def start(self):
        worker = subprocess.Popen(
            [sys.executable, str(HERE / "onnx_ort_worker.py")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        with self.lock:
            self.all.append(worker)
        return worker

    def ask(self, test, request):
        try:
            worker = self.idle.get_nowait()
        except queue.Empty:
            worker = self.start()
        watchdog = threading.Timer(self.timeout(test), worker.kill)
        watchdog.start()
        try:
            worker.stdin.write(json.dumps(request) + "\n")
            worker.stdin.flush()
            answer = worker.stdout.readline()
        except BrokenPipeError:
            answer = ""
        finally:
            watchdog.cancel()
        if not answer:
            worker.kill()
            return {"error": f"the process ended or gave no result in {self.timeout(test):.0f} s"}
        self.idle.put(worker)
        return json.loads(answer)

    def values(self, test):
        return self.ask(test, {"folder": str(test.folder), "rtol": test.rtol, "atol": test.atol}).get("error")

    def outputs(self, test, model):
        with tempfile.TemporaryDirectory(prefix="flame-random-") as folder:
            answer = self.ask(test, {"folder": str(test.folder), "save": folder})
            if answer.get("error"):
                raise RuntimeError(answer["error"])
            return [np.load(f) for f in sorted(pathlib.Path(folder).glob("*.npy"))]

    def close(self):
        for worker in self.all:
            worker.kill()
            worker.wait()
