#!/usr/bin/env python3
"""`--target=cuda` on a machine without a GPU: compilation, the cache of kernels, edited kernels, errors.

What needs NVRTC is skipped where `flamec doctor` does not find it. The fake driver of the unit tests plays a GPU where only
its description counts; it can't run real kernels (test/gpu/commands.py does that on a GPU).
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unittest

import onnx
import PIL.Image
from models import catalogue
from models.graph import save
from onnx import TensorProto, helper
from pipelines import whole
from support import BIN, ROOT, FlameTest, main

FAKE_DRIVER = BIN.parent / "lib" / "libflame_fake_cuda.so"
NO_DRIVER = {"FLAME_CUDA_DRIVER": "/nonexistent/libcuda.so"}
CNN = ROOT / "examples/digits/cnn.onnx"


def findings(env):
    done = subprocess.run([BIN / "flamec", "doctor", "--format=json"], capture_output=True, text=True, env=env, timeout=120)
    return {f["what"]: f for f in json.loads(done.stdout)}


class CudaTest(FlameTest):
    def setUp(self):
        super().setUp()
        self.cache = self.scratch / "cache"
        self.flamec.env |= {"FLAME_CACHE_DIR": str(self.cache), **NO_DRIVER}

    def cuda(self, *arguments, name="m.flame", env=None):
        """Compiles the digits network: the artifact's bytes and what was said."""
        out = self.scratch / name
        done = self.ok(self.flamec("compile", CNN, "--target=cuda", "-o", out, *arguments, env=env))
        return out.read_bytes(), done.stderr

    def inspected(self, name="m.flame"):
        return json.loads(self.ok(self.flamec("inspect", self.scratch / name, "--format=json")).stdout)

    def entries(self):
        return sorted(p for p in self.cache.iterdir() if len(p.name) == 64)


class Schedules(CudaTest):
    def test_which_long_rows_stream_through_the_grid(self):
        """Group norms of 64 rows of 320 KB, whose blocks form teams unless a file says otherwise."""
        path, table = self.scratch / "norm.onnx", self.scratch / "schedule.json"
        ports = [helper.make_tensor_value_info(n, TensorProto.BFLOAT16, d) for n, d in
                 (("x", [2, 320, 128, 128]), ("w", [320]), ("b", [320]), ("y", [2, 320, 128, 128]))]  # fmt: skip
        node = helper.make_node("GroupNormalization", ["x", "w", "b"], ["y"], num_groups=32)
        save(helper.make_model(helper.make_graph([node], "norm", ports[:3], ports[3:]),
                               opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)  # fmt: skip
        options = ["--target=cuda", "--gpu=sm_90a"]
        listed = json.loads(self.ok(self.flamec("compile", path, *options, "--emit=schedules")).stdout)
        self.assertEqual(listed, [{"family": "long-row", "problem": {"rows": 64, "bytes": 327680}, "schedule": None}])
        self.assertIn("flame::Team team(", self.ok(self.flamec("compile", path, *options, "--emit=cuda")).stdout)
        for schedule, code in (({"chunkBytes": 16384, "ahead": 6}, 0), ({"chunkBytes": 0}, 4), ({"chunks": 7}, 4)):
            table.write_text(json.dumps([listed[0] | {"schedule": schedule}]))
            done = self.flamec("compile", path, *options, "--emit=cuda", f"--schedule={table}")
            self.assertEqual(done.status, code, done.stderr)
            if code:
                self.assertRegex(done.stderr, "schedule.json: entry 1")
            else:
                self.assertIn("const flame::RowPipeline<8, 6, flame::RowPipelineShape, 6> pipeline(", done.stdout)


class WithNvrtc(CudaTest):
    def setUp(self):
        super().setUp()
        nvrtc = findings(self.flamec.env)["NVRTC"]
        if nvrtc["verdict"] != "ok":
            self.skipTest(nvrtc["found"])

    def test_without_a_gpu_the_stated_default(self):
        self.cuda()
        self.assertEqual([c["target"] for c in self.inspected()["target"]["code"]], ["sm_90a", "compute_80"])

    def test_the_gpu_present_is_the_default(self):
        if not FAKE_DRIVER.exists():
            self.skipTest("this build has no fake driver")
        self.cuda(env={"FLAME_CUDA_DRIVER": str(FAKE_DRIVER)})
        self.assertEqual([c["target"] for c in self.inspected()["target"]["code"]], ["sm_90a"])
        done = self.ok(self.flamec("doctor", env={"FLAME_CUDA_DRIVER": str(FAKE_DRIVER)}))
        self.assertIn("Fake GPU", done.stdout)

    def test_products_by_wgmma_for_sm_90a_alone(self):
        nodes = [helper.make_node("MatMul", ["x", "y"], ["z"])]
        info = [helper.make_tensor_value_info(n, TensorProto.FLOAT16, [512, 512]) for n in "xyz"]
        graph = helper.make_graph(nodes, "product", info[:2], info[2:])
        model = self.scratch / "product.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), model)
        for gpu, uses in (("sm_90a", self.assertIn), ("sm_90", self.assertNotIn)):
            text = self.ok(self.flamec("compile", model, f"--gpu={gpu}", "--emit=cuda")).stdout
            uses("wgmmaGemm<", text.split("// contract")[1])

    def test_bytes_depend_on_neither_threads_nor_cache(self):
        first, said = self.cuda("--threads=1", "--no-cache")
        self.assertNotIn("cached", said)
        self.assertFalse(self.cache.exists())
        self.assertEqual(first, self.cuda("--threads=8")[0])
        warm, said = self.cuda()
        self.assertEqual(first, warm)
        self.assertRegex(said, r"(\d+) kernels, \1 cached")

    def test_damaged_entries_are_compiled_again(self):
        first, _ = self.cuda()
        for path in self.entries():
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2])
        again, said = self.cuda()
        self.assertEqual(first, again)
        self.assertNotIn("cached", said)
        self.assertIn("cached", self.cuda()[1])

    def test_eight_processes_share_a_cache(self):
        command = [BIN / "flamec", "compile", CNN, "--target=cuda", "-q", "-o"]
        outs = [self.scratch / f"{i}.flame" for i in range(8)]
        children = [subprocess.Popen([*command, out], env=self.flamec.env, stderr=subprocess.PIPE, text=True) for out in outs]
        for child in children:
            _, said = child.communicate(timeout=300)
            self.assertEqual(child.returncode, 0, said)
        self.assertEqual(len({out.read_bytes() for out in outs}), 1)
        self.assertFalse([p for p in self.cache.iterdir() if len(p.name) != 64], "temporary files are left")

    def test_a_folder_that_cannot_be_written_is_no_error(self):
        self.cache.write_text("a file")
        self.assertNotIn("cached", self.cuda()[1])

    def test_pictures_but_for_the_kernels(self):
        """All of `flamec generate` that is no kernel: compiling, uploads, steps in a stream, graphs, parts that take turns."""
        if not FAKE_DRIVER.exists():
            self.skipTest("this build has no fake driver")
        folder = whole.make(self.scratch / "tiny", dtype="BF16")
        env = {"FLAME_CUDA_DRIVER": str(FAKE_DRIVER), "FLAME_FAKE_KERNELS": "none"}

        def generate(*arguments):
            done = self.ok(self.flamec("generate", folder, "--target=cuda", "--size", "64x32", "--steps", "3", "--text-tokens", "16",
                                       "--prompt", "a fox", *arguments, "-o", self.scratch / "p.png", env=env))  # fmt: skip
            for line in done.stdout.splitlines():
                with PIL.Image.open(line) as image:
                    self.assertEqual((image.size, image.getextrema()), ((64, 32), ((0, 0),) * 3))
            return done

        first = generate("--prompt", "a hare", "--images", "2", "--batch", "3")
        self.assertEqual((first.stderr.count("compiled "), len(first.stdout.splitlines())), (4, 4))
        parts = re.findall(r"(\w+) ([\d.]+) (kB|MB)[,)]", first.stderr)
        sizes = [float(number) * {"kB": 1e3, "MB": 1e6}[unit] for _, number, unit in parts]
        self.assertEqual(len(sizes), 4, first.stderr)
        peak = re.search(r"done +peak ([\d.]+) MB ", first.stderr)
        planned = re.search(r"memory +peak ([\d.]+) MB planned", first.stderr)
        self.assertAlmostEqual(float(peak[1]), float(planned[1]), delta=0.1 * float(planned[1]))
        limited = generate("--images", "3", "--batch", "1", "--memory-limit", str(int(max(sizes) * 1.1)))
        self.assertNotIn("compiled ", limited.stderr)
        self.assertIn("idle parts are moved out of the way", limited.stderr)
        self.assertRegex(generate("--profile").stderr, r" 3  transformer +\w+")

    def test_edited_kernels(self):
        text = self.ok(self.flamec("compile", CNN, "--emit=cuda")).stdout
        edited = self.scratch / "edited.cu"
        edited.write_text("// mine\n__device__ int helper() { return 1; }\n" + text)
        self.cuda("--kernels", edited)
        self.assertEqual(self.inspected()["target"]["properties"]["kernels"], "edited")
        # An error in a body is NVRTC's; kernel, file and line are named.
        symbol = text[: text.index("(const float *__restrict__")].split()[-1]
        line = text[: text.index(f"{symbol}(")].count("\n") + 1
        start = text.index("{", text.index(f"{symbol}(")) + 1
        edited.write_text(text[:start] + " nonsense;" + text[start:])
        done = self.flamec("compile", CNN, "--target=cuda", "--kernels", edited, "-o", self.scratch / "x.flame")
        self.assert_clear_error(done, (3,), [symbol, f"{edited}({line})", f"line {line}"], "nonsense")

    def test_the_time_of_kernels(self):
        """tools/bench.sh nvrtc: the slowest kernel of each case of the pages of products and attention."""
        done = subprocess.run([sys.executable, ROOT / "tools/lib/bench_nvrtc.py", "--flamec", BIN / "flamec", "--repeats", "1", "--format", "json",
                               "--filter", "77x1280x1280 bfloat16|1x12x128x64"], capture_output=True, text=True, env=self.flamec.env, timeout=300)  # fmt: skip
        self.assertEqual(done.returncode, 0, done.stderr)
        times = {t["name"]: t["seconds"] for t in json.loads(done.stdout)}
        self.assertEqual(set(times), {"linear_77x1280x1280_bfloat16", "1x12x128x64"})
        for name, seconds in times.items():
            self.assertTrue(0.01 < seconds < 60, f"{name}: {seconds} s")

    def test_unknown_architectures(self):
        done = self.flamec("compile", CNN, "--target=cuda", "--gpu=sm_99", "-o", self.scratch / "x.flame")
        self.assert_clear_error(done, (7,), ["sm_99"], "gpu-architecture")
        done = self.flamec("compile", CNN, "--target=cuda", "--gpu=sm_75", "-o", self.scratch / "x.flame")
        self.assert_clear_error(done, (2,), ["sm_75"], "too old: kernels need sm_80")


class WithoutNvrtc(CudaTest):
    """Needs neither NVRTC nor a GPU."""

    def test_edited_kernels_are_checked_before_they_are_compiled(self):
        text = self.ok(self.flamec("compile", CNN, "--emit=cuda")).stdout
        symbol = text[: text.index("(const float *__restrict__")].split()[-1]
        edited = self.scratch / "edited.cu"

        def compiled(source):
            edited.write_text(source)
            return self.flamec("compile", CNN, "--target=cuda", "--kernels", edited, env={"FLAME_NVRTC": "/nonexistent"})

        self.assert_clear_error(compiled(text.replace(f"{symbol}(", "gone(")), (3,), [edited, symbol], "missing")
        self.assert_clear_error(compiled(text.replace(f"{symbol}(const float", f"{symbol}(const double")), (3,),
                                [f"{edited}:", symbol], r"takes \(double\*")  # fmt: skip
        self.assert_clear_error(compiled(""), (3,), [edited, symbol], "missing")
        done = self.flamec("compile", CNN, "--target=cuda", "--kernels", self.scratch / "absent.cu")
        self.assert_clear_error(done, (3,), ["absent.cu"], "no such file")
        self.assert_clear_error(self.flamec("compile", CNN, "--kernels", edited), (2,), ["--kernels"], "--target=cuda")

    def test_typical_sizes(self):
        info = [helper.make_tensor_value_info(n, TensorProto.FLOAT16, dims) for n, dims in
                (("x", ["b", 1024]), ("y", [1024, 1024]), ("z", ["b", 1024]))]  # fmt: skip
        graph = helper.make_graph([helper.make_node("MatMul", ["x", "y"], ["z"])], "product", info[:2], info[2:])
        model = self.scratch / "product.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), model)
        for size, template in (("b=1", "flame::thinA"), ("b=4096", "flame::wgmmaGemm<")):
            text = self.ok(self.flamec("compile", model, "--gpu=sm_90a", "--emit=cuda", "--typical", size)).stdout
            self.assertIn(template, text.split("// contract")[1])
        done = self.flamec("compile", model, "--target=cuda", "--typical", "batch=2")
        self.assert_clear_error(done, (2,), [model, "'batch'"], "there are: b")
        done = self.flamec("compile", CNN, "--target=cuda", "--typical", "b")
        self.assert_clear_error(done, (2,), ["'b'"], "NAME=NUMBER")
        done = self.flamec("compile", model, "--typical", "b=1")
        self.assert_clear_error(done, (2,), ["--typical"], "--target=cuda")

    def test_nvrtc_missing(self):
        done = self.flamec("compile", CNN, "--target=cuda", env={"FLAME_NVRTC": "/nonexistent/libnvrtc.so"})
        self.assert_clear_error(done, (7,), ["/nonexistent/libnvrtc.so"], "pip install nvidia-cuda-nvrtc")
        done = subprocess.run([sys.executable, ROOT / "tools/lib/bench_nvrtc.py", "--flamec", BIN / "flamec"], capture_output=True, text=True,
                              env=self.flamec.env | {"FLAME_NVRTC": "/nonexistent/libnvrtc.so"}, timeout=120)  # fmt: skip
        self.assertEqual(done.returncode, 1)
        self.assertIn("nvidia-cuda-nvrtc", done.stderr)
        doctor = findings(self.flamec.env | {"FLAME_NVRTC": "/nonexistent/libnvrtc.so"})
        self.assertIn("nvidia-cuda-nvrtc", doctor["NVRTC"]["remedy"])
        self.assertIn("driver", doctor["CUDA driver"]["remedy"])

    def test_running_needs_a_gpu(self):
        for command in (["run", "--random-inputs"], ["bench", "--random-inputs"], ["check", "--against=cpu"],
                        ["profile", "--random-inputs"]):  # fmt: skip
            with self.subTest(command[0]):
                done = self.flamec(command[0], CNN, "--target=cuda", *command[1:])
                self.assert_clear_error(done, (7,), ["--target=cuda", "/nonexistent/libcuda.so"], "no CUDA driver")

    def test_artifacts_have_their_target(self):
        artifact = self.compiled(CNN)
        done = self.flamec("run", artifact, "--target=cuda", "--random-inputs")
        self.assert_clear_error(done, (2,), [artifact], "compiled already")
        done = self.flamec("bench", CNN, "--gpu=sm_90a", "--random-inputs")
        self.assert_clear_error(done, (2,), ["--gpu"], "--target=cuda")


class OnTheCpu(FlameTest):
    """What profile and check do on every target."""

    def test_profile(self):
        model = save(catalogue.MODELS["mlp"].build(), self.scratch / "mlp.onnx")
        trace = self.scratch / "trace.json"
        done = self.ok(self.flamec("profile", model, "--random-inputs", "--seconds=0.1", "--format=json", "--trace", trace))
        report = json.loads(done.stdout)
        self.assertGreater(report["copy_bytes_per_second"], 1e8)
        kernels = [c for c in report["commands"] if c["bytes_per_run"]]
        self.assertGreater(sum(c["flops_per_run"] for c in kernels), 0)
        for kernel in kernels:
            self.assertIn("node", kernel["nodes"])
            self.assertEqual(kernel["calls_per_run"], 1)
        self.assertAlmostEqual(sum(c["share_of_time"] for c in report["commands"]), 1, places=6)
        events = json.loads(trace.read_text())["traceEvents"]
        slices = [e for e in events if e["ph"] == "X"]
        self.assertGreaterEqual(len(slices), len(kernels))
        for before, after in zip(slices, slices[1:]):
            self.assertAlmostEqual(before["ts"] + before["dur"], after["ts"], places=3)
        table = self.ok(self.flamec("profile", model, "--random-inputs", "--seconds=0.1")).stdout
        self.assertRegex(table, r"roofline  a copy moves [\d.]+ GB/s")
        done = self.flamec("profile", model, "--random-inputs", "--trace", self.scratch / "no/folder.json")
        self.assert_clear_error(done, (3,), ["no/folder.json"], "can't be written")

    def test_check_against_the_cpu(self):
        report = json.loads(self.ok(self.flamec("check", CNN, "--against=cpu", "--format=json")).stdout)
        self.assertTrue(report["agrees"])
        self.assertEqual(report["against"], "the CPU")
        self.assertGreater(len(report["tensors"]), 3)


if __name__ == "__main__":
    main()
