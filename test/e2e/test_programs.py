#!/usr/bin/env python3
"""Pipeline folders compiled to one program: its pictures are those of the models that run one by one, in all bytes."""

from __future__ import annotations

import json
import pathlib
import re
import tempfile

import flame_cli
import numpy as np
from flame_diffusion import CPU, Library
from flame_pipeline import Pipeline
from pipelines import make_pipeline, safetensors, whole
from support import BIN, FlameTest, main

PROMPTS = ["A red fox in the snow", "une étoile filante, très détaillée", "x"]


class Folder:
    """A tiny pipeline with both ways to run it."""

    def __init__(self, test, path, **options):
        self.path = whole.make(path, **options)
        self.guided, self.dtype = options.get("guided", False), {"F32": "f32", "BF16": "bf16", "F16": "f16"}[options.get("dtype", "F32")]
        self.library = Library(BIN.parent / "lib/libflame_diffusion.so")
        self.clip, self.t5 = (self.library.tokenizer(self.path / name) for name in ("tokenizer", "tokenizer_2"))
        self.artifacts, self.program = path.parent / f"{path.name}.parts", path.parent / f"{path.name}.flame"
        test.ok(test.flamec("generate", self.path, "--compile-only", "--artifacts", self.artifacts))
        test.ok(test.flamec("compile", self.path, "-o", self.program, "--weights=external"))
        self.pipeline = Pipeline(self.library, self.path, self.artifacts)

    def inputs(self, prompts, seeds, width, height, steps, tokens, guidance):
        vae = json.loads((self.path / "vae/config.json").read_text())
        scale, channels = 2 ** (len(vae["block_out_channels"]) - 1), vae["latent_channels"]
        size = (channels, height // scale, width // scale)
        scheduler = self.library.scheduler(self.path / "scheduler/scheduler_config.json")
        _, sigmas = scheduler.prepare(steps, width * height // (2 * scale) ** 2)
        ids = {name: np.array([tokenizer.encode(prompt, length)[0] for prompt in prompts], np.int64)
               for name, tokenizer, length in (("clip_ids", self.clip, 0), ("t5_ids", self.t5, tokens))}  # fmt: skip
        noise = np.stack([self.library.generator(CPU, seed).normal(self.dtype, int(np.prod(size))).reshape(size) for seed in seeds])
        inputs = ids | {"noise": noise, "sigmas": sigmas}
        return inputs | ({"guidance": np.full(len(prompts), guidance, np.float32)} if self.guided else {})


class Programs(FlameTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="flame-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.shared, cls.folders = pathlib.Path(folder.name), {}

    def folder(self, dtype="F32", guided=False):
        key = f"{dtype}{guided}"
        if key not in self.folders:
            self.folders[key] = Folder(self, self.shared / key, dtype=dtype, guided=guided)
        return self.folders[key]

    def agree(self, folder, width, height, steps=2, tokens=16, prompts=PROMPTS[:1], guidance=3.5):
        seeds = [5 + i for i in range(len(prompts))]
        inputs = folder.inputs(prompts, seeds, width, height, steps, tokens, guidance)
        pixels, bad = flame_cli.run_model(self.flamec, folder.program, inputs, self.scratch, "--weights-dir", folder.path)
        for i, (prompt, seed) in enumerate(zip(prompts, seeds)):
            [image] = folder.pipeline.generate([prompt], seed=seed, steps=steps, width=width, height=height,
                                               text_tokens=tokens, guidance=guidance)  # fmt: skip
            expected = image.pixels()
            self.assertEqual(pixels[i].shape, (height, width, 3))
            self.assertGreater(expected.std(), 5, "nothing was compared")
            np.testing.assert_array_equal(pixels[i], expected)
        np.testing.assert_array_equal(bad, [0] * len(prompts))

    def test_sizes_and_steps(self):
        for dtype in ("F32", "BF16", "F16"):
            for width, height, steps, tokens in ((64, 64, 4, 40), (96, 48, 1, 16), (16, 160, 3, 7), (32, 32, 2, 256)):
                with self.subTest(dtype=dtype, width=width, height=height, steps=steps):
                    self.agree(self.folder(dtype), width, height, steps, tokens)


if __name__ == "__main__":
    main()
