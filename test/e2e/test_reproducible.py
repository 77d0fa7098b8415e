#!/usr/bin/env python3
"""The same input and options give the same bytes, whatever the folder, the time, the threads and the environment."""

from __future__ import annotations

import shutil

from models import catalogue
from models.graph import save
from support import ROOT, FlameTest, main


class Reproducible(FlameTest):
    def artifacts_equal(self, model, *arguments):
        results = []
        for i, env in enumerate(
            ({}, {"TZ": "Asia/Tokyo", "LC_ALL": "C", "HOME": "/nonexistent", "FLAME_NUM_THREADS": "1"})
        ):
            folder = self.scratch / f"somewhere{'-else' * i}"
            folder.mkdir()
            for file in model.parent.iterdir():
                if file.suffix in (".onnx", ".bin"):
                    shutil.copy(file, folder)
            out = folder / "model.flame"
            self.ok(self.flamec("compile", model.name, "-o", "model.flame", *arguments, cwd=folder, env=env))
            results.append(out.read_bytes())
        again = self.scratch / "again.flame"
        self.ok(self.flamec("compile", self.scratch / "somewhere" / model.name, "-o", again, *arguments))
        results.append(again.read_bytes())
        for other in results[1:]:
            self.assertTrue(results[0] == other, "two compilations of the same model differ")

    def test_cnn(self):
        self.artifacts_equal(ROOT / "examples/digits/cnn.onnx")

    def test_transformer_with_embedded_weights(self):
        self.artifacts_equal(ROOT / "examples/digits/transformer.onnx", "--embed-weights")

    def test_external_data(self):
        folder = self.scratch / "source"
        self.artifacts_equal(save(catalogue.MODELS["gpt2-tiny"].build(), folder / "model.onnx", "weights.bin"))


if __name__ == "__main__":
    main()
