#!/usr/bin/env python3
"""One artifact serves every batch and sequence length, with no recompilation."""

from __future__ import annotations

import hashlib

import flame_cli
from models import bert, gpt2
from models.graph import save
from support import FlameTest, main, reference


class DynamicShapes(FlameTest):
    def serve(self, module, config, shapes, external=None):
        model = save(module.build(config), self.scratch / "model.onnx", external)
        artifact = self.compiled(model)
        before = hashlib.sha256(artifact.read_bytes()).hexdigest()
        for batch, sequence in shapes:
            with self.subTest(batch=batch, sequence=sequence):
                feeds = module.inputs(config, batch, sequence, seed=batch * 1000 + sequence)
                actual = self.run_artifact(artifact, feeds)
                self.assert_agrees(actual, reference(model, feeds), what=f"batch {batch}, sequence {sequence}")
        self.assertEqual(hashlib.sha256(artifact.read_bytes()).hexdigest(), before, "running changed the artifact")

    def run_artifact(self, artifact, feeds):
        """By flame-run, which has no compiler."""
        files = flame_cli.write_inputs(feeds, self.scratch / "in")
        out = self.scratch / "out"
        for old in out.glob("*.npy"):
            old.unlink()
        self.ok(self.flame_run(artifact, *flame_cli.inputs(files), "--output-dir", out))
        return flame_cli.read_outputs(out)

    def test_bert_small_every_batch(self):
        shapes = [(batch, sequence) for batch in range(1, 9) for sequence in (16, 33, 128, 512)]
        self.serve(bert, bert.TINY, shapes)

    def test_bert_base_corners(self):
        self.serve(bert, bert.BASE, [(1, 16), (8, 16), (1, 512), (3, 77), (8, 512)], "weights.bin")

    def test_gpt2_small(self):
        self.serve(gpt2, gpt2.TINY, [(1, 1), (1, 2), (2, 17), (5, 128)])


if __name__ == "__main__":
    main()
