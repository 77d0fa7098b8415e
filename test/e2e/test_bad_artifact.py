#!/usr/bin/env python3
"""Damaged, foreign and misused artifacts: a clear error naming the file, exit code 3, never a crash."""

from __future__ import annotations

import random

import flame_cli
from models import catalogue
from models.graph import save
from support import FlameTest, main


class BadArtifact(FlameTest):
    def setUp(self):
        super().setUp()
        model = save(catalogue.MODELS["mlp"].build(), self.scratch / "mlp.onnx")
        self.artifact = self.compiled(model, "--embed-weights")
        self.bytes = self.artifact.read_bytes()
        self.files = flame_cli.write_inputs(catalogue.MODELS["mlp"].inputs(0), self.scratch / "in")
        self.bad = self.scratch / "bad.flame"

    def run_bad(self, data):
        self.bad.write_bytes(data)
        return self.flame_run(self.bad, *flame_cli.inputs(self.files), "--output-dir", self.scratch / "out", timeout=30)

    def test_intact(self):
        self.ok(self.run_bad(self.bytes))

    def test_truncations(self):
        size = len(self.bytes)
        cuts = {0, 1, 4, 7, 8, 15, 16, 31, 32, 63, 64, size - 1, size - 4, size - 64} | {
            size * i // 60 for i in range(60)
        }
        for cut in sorted(cuts):
            with self.subTest(bytes=cut):
                self.assert_clear_error(
                    self.run_bad(self.bytes[:cut]), (3,), ["bad.flame"], r"empty|truncated|damaged|artifact|short|size"
                )

    def test_single_bit_flips(self):
        rng = random.Random(7)
        for at in [*range(32), *rng.sample(range(32, len(self.bytes)), 100)]:
            data = bytearray(self.bytes)
            data[at] ^= 1 << rng.randrange(8)
            with self.subTest(byte=at):
                self.assert_clear_error(
                    self.run_bad(bytes(data)), (3,), ["bad.flame"], r"damaged|artifact|version|checksum|truncated|size"
                )

    def test_appended_bytes(self):
        self.assert_clear_error(
            self.run_bad(self.bytes + b"more"), (3,), ["bad.flame"], r"damaged|artifact|size|trailing"
        )

    def test_another_kind_of_file(self):
        for data in (
            b"\x89PNG\r\n\x1a\n" + bytes(100),
            b"\x7fELF" + bytes(100),
            b"{}",
            (self.scratch / "mlp.onnx").read_bytes(),
        ):
            with self.subTest(data=data[:4]):
                self.assert_clear_error(
                    self.run_bad(data), (3,), ["bad.flame"], r"artifact|not a|damaged|truncated|short"
                )

    def test_missing(self):
        done = self.flame_run(self.scratch / "absent.flame")
        self.assert_clear_error(done, (3,), ["absent.flame"], r"no such file|not exist|cannot open")

    def test_directory(self):
        done = self.flame_run(self.scratch)
        self.assert_clear_error(done, (3,), [self.scratch.name], r"directory|regular file|not a file")


class Weights(FlameTest):
    """An artifact whose weights are in the model's file beside it."""

    def setUp(self):
        super().setUp()
        self.model = save(catalogue.MODELS["mlp"].build(), self.scratch / "mlp.onnx", "weights.bin")
        self.artifact = self.compiled(self.model, "--weights=external")
        self.files = flame_cli.write_inputs(catalogue.MODELS["mlp"].inputs(0), self.scratch / "in")

    def run_it(self):
        return self.flame_run(self.artifact, *flame_cli.inputs(self.files), "--output-dir", self.scratch / "out")

    def test_intact(self):
        self.ok(self.run_it())

    def test_weights_missing(self):
        (self.scratch / "weights.bin").unlink()
        self.assert_clear_error(self.run_it(), (3,), ["weights.bin"], r"no such file|not exist|cannot open|missing")

    def test_weights_shrunk(self):
        data = (self.scratch / "weights.bin").read_bytes()
        (self.scratch / "weights.bin").write_bytes(data[:-8])
        self.assert_clear_error(self.run_it(), (3,), ["weights.bin"], r"bytes|size|short|changed|truncated")


if __name__ == "__main__":
    main()
