#!/usr/bin/env python3
"""flamec's commands on a real GPU: needs flamec and NVRTC, a GPU with its driver, and Python without packages.

    commands.py [--bin build/release/bin] [--filter REGEX] [MODEL.onnx…]

Without models, those of examples/digits. Ends with `N passed, N failed, N skipped`.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ARGS = argparse.Namespace(bin=ROOT / "build/release/bin", models=[])


class OnGpu(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="flame-gpu-")
        cls.scratch = pathlib.Path(cls.folder.name)
        cls.env = os.environ | {"FLAME_CACHE_DIR": str(cls.scratch / "cache"), "NO_COLOR": "1"}

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def flamec(self, *arguments, status=0, env=None):
        command = [str(ARGS.bin / "flamec"), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, env=self.env | (env or {}), timeout=300)
        self.assertEqual(done.returncode, status, f"{' '.join(command)}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done

    def each(self):
        for model in ARGS.models:
            with self.subTest(model.name):
                yield model

    def reference(self, model):
        """Arguments of `run` that compare the outputs with the CPU's for the same random inputs."""
        out = self.scratch / f"cpu-{model.stem}"
        self.flamec("run", model, "--random-inputs", "--output-dir", out, "-q")
        artifact = self.scratch / "cpu.flame"
        self.flamec("compile", model, "-o", artifact)
        ports = json.loads(self.flamec("inspect", artifact, "--format=json").stdout)["outputs"]
        files = sorted(out.glob("*.npy"), key=lambda p: int(p.name.split("-")[0]))
        expect = [word for port, file in zip(ports, files) for word in ("--expect", f"{port['name']}={file}")]
        return ["--random-inputs", "--rtol=1e-3", "--atol=1e-4", *expect]

    def test_doctor_finds_the_gpu(self):
        found = {f["what"]: f for f in json.loads(self.flamec("doctor", "--format=json").stdout)}
        self.assertIn("GPU", found, found["CUDA driver"])
        self.assertEqual(found["GPU"]["verdict"], "ok", found)
        self.assertEqual(found["NVRTC"]["verdict"], "ok", found)
        self.assertIn("compiles for sm_", found["GPU"]["found"])

    def test_compiles_for_the_gpu_present(self):
        found = {f["what"]: f for f in json.loads(self.flamec("doctor", "--format=json").stdout)}
        name = re.search(r"compiles for (\S+)", found["GPU"]["found"])[1]
        for model in self.each():
            artifact = self.scratch / "default.flame"
            self.flamec("compile", model, "--target=cuda", "-o", artifact, "--embed-weights")
            code = json.loads(self.flamec("inspect", artifact, "--format=json").stdout)["target"]["code"]
            self.assertIn(name, [c["target"] for c in code])

    def test_run_agrees_with_the_cpu(self):
        for model in self.each():
            expect = self.reference(model)
            self.flamec("run", model, "--target=cuda", *expect, "-q")
            for gpu in ("compute_80", "sm_80,sm_90a,compute_80"):
                artifact = self.scratch / "some.flame"
                self.flamec("compile", model, "--target=cuda", f"--gpu={gpu}", "-o", artifact, "--embed-weights")
                self.flamec("run", artifact, *expect, "-q")

    def test_check_against_the_cpu(self):
        for model in self.each():
            done = self.flamec("check", model, "--target=cuda", "--against=cpu", "--format=json", "--rtol=1e-3", "--atol=1e-4")
            report = json.loads(done.stdout)
            self.assertTrue(report["agrees"])
            self.assertGreater(len(report["tensors"]), 3)

    def test_check_names_the_first_node_that_deviates(self):
        for model in self.each():
            # No tolerance at all: sums in another order differ somewhere.
            command = [str(ARGS.bin / "flamec"), "check", str(model), "--target=cuda", "--against=cpu", "--rtol=0", "--atol=0",
                       "--output-dir", str(self.scratch / "deviation")]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, env=self.env, timeout=300)
            self.assertIn(done.returncode, (0, 5), done.stderr)
            if done.returncode == 5:
                self.assertRegex(done.stdout, r"first deviation: '.+', made by ")

    def test_bench(self):
        for model in self.each():
            done = self.flamec("bench", model, "--target=cuda", "--random-inputs", "--seconds=0.3", "--format=json")
            report = json.loads(done.stdout)
            self.assertGreater(report["latency_ms"]["median"], 0)
            self.assertEqual(report["environment"]["artifact"]["target"], "cuda")

    def test_profile(self):
        for model in self.each():
            trace = self.scratch / "trace.json"
            done = self.flamec("profile", model, "--target=cuda", "--random-inputs", "--seconds=0.3", "--format=json",
                               "--trace", trace)  # fmt: skip
            report = json.loads(done.stdout)
            self.assertEqual(report["target"], "cuda")
            self.assertGreater(report["copy_bytes_per_second"], 5e10)
            kernels = [c for c in report["commands"] if c["bytes_per_run"]]
            self.assertTrue(kernels)
            for kernel in kernels:
                self.assertGreater(kernel["microseconds_per_run"], 0)
                self.assertLess(kernel["share_of_bandwidth"], 20)  # small tensors stay in the cache
                self.assertGreaterEqual(kernel["share_of_roofline"], kernel["share_of_bandwidth"])
            for peak in report["peak_flops_per_second"].values():
                self.assertGreater(peak, 1e12)
            self.assertTrue([e for e in json.loads(trace.read_text())["traceEvents"] if e["ph"] == "X"])

    def test_edited_kernels_run(self):
        for model in self.each():
            expect = self.reference(model)
            text = self.flamec("compile", model, "--emit=cuda").stdout
            edited, artifact = self.scratch / "edited.cu", self.scratch / "edited.flame"
            edited.write_text(text.replace("{\n", "{ // edited\n"))
            self.flamec("compile", model, "--target=cuda", "--kernels", edited, "-o", artifact, "--embed-weights")
            self.flamec("run", artifact, *expect, "-q")
            # Every kernel returns at once: the edited text is what runs.
            heads = re.sub(r"(\n\w+\([^)]*\) \{)", r"\1\n  return;", text)
            self.assertNotEqual(heads, text)
            edited.write_text(heads)
            self.flamec("compile", model, "--target=cuda", "--kernels", edited, "-o", artifact, "--embed-weights")
            self.flamec("run", artifact, *expect, "-q", status=5)

    def test_a_gpu_without_code_is_an_error(self):
        model = ARGS.models[0]
        artifact = self.scratch / "other.flame"
        self.flamec("compile", model, "--target=cuda", "--gpu=sm_100", "-o", artifact, "--embed-weights")
        done = self.flamec("run", artifact, "--random-inputs", status=4)
        self.assertIn("compile the model with --gpu=", done.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ARGS.bin)
    parser.add_argument("--filter", default="")
    parser.add_argument("models", type=pathlib.Path, nargs="*")
    parser.parse_args(namespace=ARGS)
    ARGS.models = ARGS.models or [ROOT / "examples/digits" / name for name in ("cnn.onnx", "transformer.onnx")]
    tests = [t for t in unittest.defaultTestLoader.loadTestsFromTestCase(OnGpu) if re.search(ARGS.filter, t.id())]
    result = unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(tests))
    failed = len({str(test).split(" (models")[0] for test, _ in result.failures + result.errors})
    skipped = len(result.skipped)
    print(f"{result.testsRun - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
