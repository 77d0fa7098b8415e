#!/usr/bin/env python3
"""flamec as a person meets it: help, exit codes, suggestions, where output goes, colours, interruption."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import time
from pathlib import Path

import bad_onnx
import numpy as np
from models import catalogue
from models.graph import save
from support import BIN, ROOT, FlameTest, main

ESCAPE = "\x1b["
SUBCOMMANDS = ("compile", "run", "bench", "check", "profile", "inspect", "doctor")


class Help(FlameTest):
    def test_help_names_every_subcommand_and_exit_code(self):
        done = self.ok(self.flamec("--help"))
        for word in SUBCOMMANDS:
            self.assertIn(word, done.stdout)
        for code in ("0", "1", "2", "3", "4", "5", "6", "7", "130"):
            self.assertRegex(done.stdout, rf"(?m)^\s*{code}\s+\S")
        self.assertEqual(done.stderr, "")

    def test_help_of_every_subcommand(self):
        for word in SUBCOMMANDS:
            with self.subTest(word):
                done = self.ok(self.flamec(word, "--help"))
                self.assertIn(f"flamec {word}", done.stdout)
                self.assertGreater(len(done.stdout.splitlines()), 5)

    def test_version(self):
        self.assertRegex(self.ok(self.flamec("--version")).stdout, r"\d+\.\d+\.\d+")

    def test_lines_fit_a_terminal(self):
        for word in ("", *SUBCOMMANDS):
            done = self.ok(self.flamec(*([word] if word else []), "--help"))
            self.assertLessEqual(max(map(len, done.stdout.splitlines())), 100, f"flamec {word} --help")


class Usage(FlameTest):
    def test_no_arguments(self):
        self.assertEqual(self.flamec().status, 2)

    def test_unknown_subcommand(self):
        self.assert_clear_error(self.flamec("compil", "x.onnx"), (2,), ["compil"], r"did you mean.*compile")

    def test_unknown_option(self):
        done = self.flamec("compile", "x.onnx", "--embed-weight")
        self.assert_clear_error(done, (2,), ["--embed-weight"], r"did you mean.*--embed-weights")

    def test_bad_value_of_an_option(self):
        done = self.flamec("compile", "x.onnx", "--emit=flam")
        self.assert_clear_error(done, (2,), ["flam"], r"did you mean|onnx-ir.*regions|one of")

    def test_missing_model(self):
        self.assert_clear_error(self.flamec("compile"), (2,), [], r"model|argument")

    def test_model_that_does_not_exist(self):
        self.assert_clear_error(self.flamec("compile", "absent.onnx"), (3,), ["absent.onnx"], r"no such file|not exist")


class Working(FlameTest):
    def setUp(self):
        super().setUp()
        self.model = save(catalogue.MODELS["mlp"].build(), self.scratch / "mlp.onnx")
        self.input = self.scratch / "x.npy"
        np.save(self.input, catalogue.MODELS["mlp"].inputs(0)["x"])

    def random_model(self):
        """One node whose numbers no two systems share."""
        random = bad_onnx.node("RandomNormal", to="noise", name="random", shape=[4], mean=0.0, scale=1.0)
        nodes = [random, bad_onnx.node("Add", "x", "noise", to="y", name="sum")]
        path = self.scratch / "random.onnx"
        path.write_bytes(bad_onnx.model(nodes).SerializeToString())
        return path

    def test_data_on_stdout_progress_on_stderr(self):
        done = self.ok(self.flamec("compile", self.model, "-o", self.scratch / "m.flame"))
        self.assertEqual(done.stdout, "")
        done = self.ok(self.flamec("compile", self.model, "--emit=flame"))
        self.assertIn("flame.", done.stdout)
        self.assertNotIn("importing", done.stdout)
        file = self.scratch / "m.mlir"
        self.assertEqual(self.ok(self.flamec("compile", self.model, "--emit=flame", "-o", file)).stdout, "")
        self.assertEqual(file.read_text(), done.stdout)
        self.assertIn("can't be written", self.flamec("compile", self.model, "--emit=flame", "-o", self.scratch / "none/m.mlir").stderr)

    def test_every_stage_can_be_emitted(self):
        for stage in ("onnx-ir", "flame", "regions", "plan"):
            with self.subTest(stage):
                self.assertGreater(len(self.ok(self.flamec("compile", self.model, f"--emit={stage}")).stdout), 100)

    def test_run_prints_or_writes(self):
        done = self.ok(self.flamec("run", self.model, "--input", f"x={self.input}"))
        self.assertIn("probabilities", done.stdout)
        out = self.scratch / "out"
        self.ok(self.flamec("run", self.model, "--input", f"x={self.input}", "--output-dir", out))
        self.assertEqual([p.name for p in out.iterdir()], ["0-probabilities.npy"])

    def test_random_inputs(self):
        self.ok(self.flamec("run", self.model, "--random-inputs"))

    def test_inspect(self):
        artifact = self.compiled(self.model)
        done = self.ok(self.flamec("inspect", artifact))
        for word in ("x", "probabilities", "batch", "f32"):
            self.assertIn(word, done.stdout)
        json.loads(self.ok(self.flamec("inspect", artifact, "--format=json")).stdout)

    def test_doctor(self):
        self.assertGreater(len(self.ok(self.flamec("doctor")).stdout), 50)

    def test_check_agrees(self):
        self.ok(self.flamec("check", self.model, "--against", "onnxruntime"))

    def test_check_finds_a_deviation(self):
        done = self.flamec("check", self.random_model(), "--against", "onnxruntime")
        self.assertEqual(done.status, 5, done.stdout + done.stderr)
        self.assertRegex(done.stdout + done.stderr, r"noise|\by\b")

    def test_memory_limit(self):
        done = self.flamec("run", self.model, "--input", f"x={self.input}", "--memory-limit=64")
        self.assert_clear_error(done, (6,), [], r"memory|limit|peak")

    def test_unsupported_operators_are_all_reported(self):
        nodes = [
            bad_onnx.node("Frobnicate", "x", to="a", name="first"),
            bad_onnx.node("Frobnicate", "a", to="b", name="second"),
            bad_onnx.node("Quuxify", "b", to="y", name="third"),
        ]
        path = self.scratch / "odd.onnx"
        path.write_bytes(bad_onnx.model(nodes).SerializeToString())
        done = self.flamec("compile", path, "-o", self.scratch / "odd.flame")
        self.assert_clear_error(done, (4,), ["Frobnicate", "Quuxify", "first", "third"], r"unsupported|not supported")
        self.assertFalse((self.scratch / "odd.flame").exists())

    def test_output_that_cannot_be_written(self):
        for where in (self.scratch / "no/such/folder/m.flame", "/dev/full", "/proc/m.flame"):
            with self.subTest(where=where):
                done = self.flamec("compile", self.model, "-o", where)
                self.assertNotEqual(done.status, 0)
                self.assertGreater(done.status, 0, "ended by a signal")
                self.assertIn(str(where), done.stderr)
                self.assertIn("error:", done.stderr)

    def test_model_name_alone_compiles(self):
        """`flamec model.onnx -o model.flame` is `flamec compile model.onnx -o model.flame`."""
        self.ok(self.flamec(self.model, "-o", self.scratch / "m.flame"))
        self.assertTrue((self.scratch / "m.flame").exists())

    def test_interrupt(self):
        artifact = self.compiled(self.model)
        bench = [str(BIN / "flamec"), "bench", str(artifact), "--random-inputs", "--seconds=60"]
        child = subprocess.Popen(bench, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(1.0)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
        self.assertEqual(child.returncode, 130, (out + err).decode())

    def wait_for_handler(self, pid, number):
        for _ in range(600):
            caught = re.search(r"^SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text(), re.M)
            if int(caught[1], 16) >> (number - 1) & 1:
                return
            time.sleep(0.05)
        self.fail(f"process {pid} never handled signal {number}")

    def test_crash_leaves_a_reproducer(self):
        """Wherever it comes: while models are read and compiled threads hold the allocator's locks."""
        bench = [str(BIN / "flamec"), "bench", str(self.model), "--random-inputs", "--seconds=60"]
        for number in range(8):
            scratch = self.scratch / str(number)
            scratch.mkdir()
            env = {**os.environ, "TMPDIR": str(scratch)}
            child = subprocess.Popen(bench, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
            self.wait_for_handler(child.pid, signal.SIGSEGV)
            time.sleep(1.0 if number == 0 else 0.07 * number)
            child.send_signal(signal.SIGSEGV)
            _, err = child.communicate(timeout=60)
            self.assertEqual(child.returncode, 1, err.decode())
            (folder,) = scratch.glob("flame-crash*")
            self.assertIn(str(folder), err.decode())
            self.assertIn("bench model.onnx", (folder / "run.sh").read_text())
        self.ok(self.flamec("compile", folder / "model.onnx", "-o", self.scratch / "again.flame"))


class Colour(FlameTest):
    def on_a_terminal(self, *arguments, env):
        """What the program writes to a terminal."""
        try:
            master, slave = pty.openpty()
        except OSError as error:  # a container without /dev/pts
            self.skipTest(f"no pseudo-terminal here: {error}")
        merged = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm-256color"} | env
        child = subprocess.Popen(
            [str(BIN / "flamec"), *map(str, arguments)], stdin=slave, stdout=slave, stderr=slave, env=merged
        )
        os.close(slave)
        text = b""
        while True:
            ready, _, _ = select.select([master], [], [], 20)
            try:
                data = os.read(master, 65536) if ready else b""
            except OSError:  # the other end is closed
                break
            if not data:
                break
            text += data
        os.close(master)
        child.wait(timeout=20)
        return text.decode(errors="replace")

    def test_colour_on_a_terminal_only(self):
        self.assertIn(ESCAPE, self.on_a_terminal("compile", "absent.onnx", env={}))
        self.assertNotIn(ESCAPE, self.on_a_terminal("compile", "absent.onnx", env={"NO_COLOR": "1"}))
        done = self.flamec("compile", "absent.onnx", env={"NO_COLOR": ""})
        self.assertNotIn(ESCAPE, done.stderr)

    def test_no_animation_off_a_terminal(self):
        done = self.ok(self.flamec("compile", ROOT / "examples/digits/cnn.onnx", "-o", self.scratch / "m.flame"))
        self.assertNotIn("\r", done.stderr)
        self.assertNotIn(ESCAPE, done.stderr)


if __name__ == "__main__":
    main()
