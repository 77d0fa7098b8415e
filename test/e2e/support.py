"""What the test files share: where the programs are, scratch folders, and what a clear error is."""

from __future__ import annotations

import os
import pathlib
import re
import sys
import tempfile
import unittest

import flame_cli
import numpy as np
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = pathlib.Path(os.environ.get("FLAME_BIN", ROOT / "build/release/bin"))
CRASH = re.compile(r"Stack dump|Assertion .* failed|terminate called|Sanitizer|Segmentation fault|PLEASE submit a bug")


class FlameTest(unittest.TestCase):
    """A test with the programs as self.flamec and self.flame_run and a scratch folder of its own."""

    maxDiff = None

    def setUp(self):
        # Tools that start Python (flamec check) find the interpreter that has onnxruntime.
        env = {"PATH": f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"}
        self.flamec = flame_cli.Cli(BIN / "flamec", env)
        self.flame_run = flame_cli.Cli(BIN / "flame-run", env)
        folder = tempfile.TemporaryDirectory(prefix="flame-test-")
        self.addCleanup(folder.cleanup)
        self.scratch = pathlib.Path(folder.name)

    def ok(self, done):
        """Asserts that a call succeeded; shows its messages if not."""
        self.assertEqual(done.status, 0, f"{' '.join(done.arguments)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done

    def compiled(self, model, *arguments):
        artifact = self.scratch / "model.flame"
        self.ok(self.flamec("compile", model, "-o", artifact, *arguments))
        return artifact

    def assert_clear_error(self, done, statuses, names, says):
        """An error message on stderr that names every one of `names` and matches `says`; never a crash."""
        text = f"{' '.join(done.arguments)}\nstatus {done.status}\n{done.stdout[-1000:]}{done.stderr[-3000:]}"
        self.assertNotRegex(done.stderr + done.stdout, CRASH, f"crashed: {text}")
        self.assertGreaterEqual(done.status, 0, f"ended by a signal: {text}")
        self.assertIn(done.status, statuses, text)
        self.assertIn("error:", done.stderr, text)
        for name in names:
            self.assertIn(str(name), done.stderr, f"the message does not name {name}: {text}")
        self.assertRegex(done.stderr, re.compile(says, re.IGNORECASE), f"the message does not give the cause: {text}")

    def assert_agrees(self, actual, expected, rtol=1e-3, atol=1e-4, what=""):
        self.assertEqual(len(actual), len(expected), f"{what}: number of outputs")
        for i, (a, e) in enumerate(zip(actual, expected)):
            self.assertEqual(a.dtype, e.dtype, f"{what}: dtype of output {i}")
            self.assertEqual(a.shape, e.shape, f"{what}: shape of output {i}")
            np.testing.assert_allclose(a, e, rtol=rtol, atol=atol, err_msg=f"{what}: output {i}")


def reference(model, feeds):
    """ONNX Runtime's outputs for a model file."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def main():
    unittest.main(verbosity=2)
