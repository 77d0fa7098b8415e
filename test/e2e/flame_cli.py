"""Calls flamec and flame-run from tests: status, output, time and peak memory of a process."""

from __future__ import annotations

import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import numpy as np


@dataclasses.dataclass
class Done:
    arguments: list
    status: int  # negative: the signal that ended the process
    stdout: str
    stderr: str
    seconds: float
    peak_bytes: int  # maximal resident set, mapped files included

    def error(self):
        """The message of a failed call, in one line."""
        if self.status < 0:
            return f"ended by {signal.Signals(-self.status).name}"
        lines = [line for line in self.stderr.splitlines() if "error:" in line] or self.stderr.splitlines()
        return f"status {self.status}: {lines[0] if lines else 'no message'}"


class PeakMemory(threading.Thread):
    """The maximal resident set of a child, asked for every few milliseconds until the child is gone.

    Its ru_maxrss would not do: Linux counts what the parent held when it forked as the child's.
    """

    def __init__(self, pid):
        super().__init__(daemon=True)
        self.path, self.peak = f"/proc/{pid}/status", 0
        self.start()

    def run(self):
        while True:
            try:
                with open(self.path, "rb") as file:
                    found = [line for line in file if line.startswith(b"VmHWM:")]
            except OSError:
                return
            if not found:  # it has ended
                return
            self.peak = int(found[0].split()[1]) * 1024
            time.sleep(0.004)

    def bytes(self):
        self.join()
        return self.peak


class Cli:
    def __init__(self, program, env=None):
        self.program = str(program)
        self.env = {**os.environ, "NO_COLOR": "1", **(env or {})}

    def measured(self, *arguments, timeout=600, stdin=None, cwd=None, env=None):
        """Runs the program to its end; a time-out kills it and reads as SIGKILL."""
        command = [self.program, *map(str, arguments)]
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            start = time.perf_counter()
            child = subprocess.Popen(
                command, stdin=stdin or subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd,
                env={**self.env, **(env or {})},
            )  # fmt: skip
            watchdog = threading.Timer(timeout, child.kill)
            watchdog.start()
            memory = PeakMemory(child.pid)
            try:
                _, wait_status = os.waitpid(child.pid, 0)
            finally:
                watchdog.cancel()
            seconds = time.perf_counter() - start
            child.returncode = os.waitstatus_to_exitcode(wait_status)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        return Done(command, child.returncode, *texts, seconds, memory.bytes())

    __call__ = measured


def inputs(files):
    """Command-line arguments that bind inputs to files: {name: path}."""
    return [argument for name, path in files.items() for argument in ("--input", f"{name}={path}")]


def write_inputs(feeds, folder):
    """Saves arrays as .npy and gives {name: path}."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for i, (name, value) in enumerate(feeds.items()):
        files[name] = folder / f"in{i}.npy"
        np.save(files[name], value)
    return files


def read_outputs(folder):
    """The arrays that `run --output-dir` wrote, in the order of the model's outputs."""
    files = sorted(pathlib.Path(folder).glob("*.npy"), key=lambda p: int(p.name.split("-")[0]))
    return [np.load(f) for f in files]


def run_model(cli, model, feeds, scratch, *arguments):
    """Runs a model or artifact on arrays: the list of its outputs. Raises with flamec's message if it fails."""
    scratch = pathlib.Path(scratch)
    out = scratch / "outputs"
    shutil.rmtree(out, ignore_errors=True)
    done = cli("run", model, *inputs(write_inputs(feeds, scratch / "inputs")), "--output-dir", out, *arguments)
    if done.status != 0:
        raise RuntimeError(f"{' '.join(done.arguments)}: {done.error()}")
    return read_outputs(out)


def median_ms(report):
    """The median latency in a report of `flamec bench --format=json`."""
    return float(report["latency_ms"]["median"])
