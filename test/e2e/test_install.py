#!/usr/bin/env python3
"""The installed package: a project of its own finds and uses it; the runtime is small and knows nothing of LLVM."""

from __future__ import annotations

import os
import re
import subprocess

import numpy as np
from models import catalogue
from models.graph import save
from support import BIN, ROOT, FlameTest, main, reference

RUNTIME_BYTES = 3_000_000


class Install(FlameTest):
    def call(self, *command, **options):
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=600, **options)
        self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def installed(self):
        prefix = self.scratch / "prefix"
        self.call("cmake", "--install", BIN.parent, "--prefix", prefix)
        return prefix

    def libraries(self, program):
        """Names of the shared libraries that a program or library needs, directly or not."""
        return re.findall(r"^\s*(\S+)", self.call("ldd", program), re.MULTILINE)

    def test_a_consumer_project(self):
        prefix = self.installed()
        build = self.scratch / "consumer"
        self.call("cmake", "-G", "Ninja", "-S", ROOT / "test/consumer", "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
        self.call("cmake", "--build", build)
        model = save(catalogue.MODELS["mlp"].build(), self.scratch / "mlp.onnx")
        artifact = self.scratch / "mlp.flame"
        self.call(build / "compile_model", model, artifact)
        out = self.call(build / "run_model", artifact)
        (expected,) = reference(model, {"x": np.zeros((2, 16), np.float32)})
        self.assertRegex(out, r"^probabilities \[2, 5\] sum ")
        self.assertAlmostEqual(float(out.split()[-1]), float(expected.sum()), places=4)

    def test_the_compiler_library_reports_errors(self):
        prefix = self.installed()
        build = self.scratch / "consumer"
        self.call("cmake", "-G", "Ninja", "-S", ROOT / "test/consumer", "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}")
        self.call("cmake", "--build", build, "--target", "compile_model")
        bad = self.scratch / "bad.onnx"
        bad.write_bytes(b"not a model")
        done = subprocess.run(
            [build / "compile_model", bad, self.scratch / "x.flame"], capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.returncode, 3, done.stderr)
        self.assertIn("bad.onnx", done.stderr)
        self.assertFalse((self.scratch / "x.flame").exists())

    def test_installed_programs_work(self):
        prefix = self.installed()
        self.assertRegex(self.call(prefix / "bin/flamec", "--version"), r"\d+\.\d+\.\d+")
        self.call(prefix / "bin/flame-run", "--help")

    def test_the_runtime_is_small_and_free_of_llvm(self):
        prefix = self.installed()
        libraries = [p for p in prefix.rglob("libflame_rt*") if p.is_file() and not p.is_symlink()]
        self.assertTrue(libraries, f"no libflame_rt in {sorted(prefix.rglob('*'))}")
        for path in [*libraries, prefix / "bin/flame-run"]:
            with self.subTest(path.name):
                stripped = self.scratch / path.name
                self.call("strip", "-o", stripped, path)
                self.assertLess(stripped.stat().st_size, RUNTIME_BYTES)
                self.assertNotRegex(
                    self.call("nm", "-C", path, env={**os.environ, "LC_ALL": "C"}), r"\bllvm::|\bmlir::"
                )
        needed = self.libraries(prefix / "bin/flame-run")
        self.assertFalse([n for n in needed if "LLVM" in n or "MLIR" in n], needed)


if __name__ == "__main__":
    main()
