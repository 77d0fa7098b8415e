#!/usr/bin/env python3
"""Model folders: every malformed one of bad_folders.py gives a clear error; the hub's cache and variants work; inspect."""

from __future__ import annotations

import json
import os

import bad_folders
import flame_cli
import numpy as np
from pipelines import make_pipeline, safetensors
from support import FlameTest, main


class BadFolders(FlameTest):
    def check(self, case):
        folder = bad_folders.good(self.scratch / "model")
        case.spoil(folder)
        before = self.scratch / "out.flame"
        before.write_bytes(b"what was there before")
        done = self.flamec("compile", folder, "-o", before, timeout=60)
        self.assert_clear_error(done, (case.status,), case.names, case.says)
        self.assertLess(done.seconds, 20, "rejecting the folder took too long")
        self.assertLess(done.peak_bytes, 1 << 30, "rejecting the folder took too much memory")
        self.assertEqual(before.read_bytes(), b"what was there before", "a failed compilation replaced the artifact")

    def test_a_file_that_shrinks_while_it_is_mapped(self):
        folder = bad_folders.good(self.scratch / "model")
        artifact = self.compiled(folder, "--weights=external")
        (folder / bad_folders.FILE).write_bytes((folder / bad_folders.FILE).read_bytes()[:-64])
        done = self.flamec("run", artifact, "--random-inputs", "--weights-dir", folder)
        self.assert_clear_error(done, (3,), [bad_folders.FILE], "has .* bytes, the artifact was made from one of")

    def test_usage(self):
        folder = bad_folders.good(self.scratch / "model")
        done = self.flamec("compile", folder, "--part", "decoder")
        self.assert_clear_error(done, (3,), ["CLIPTextModel"], "has no part 'decoder'; it is one whole")


def add(case):
    def test(self):
        self.check(case)

    test.__name__ = f"test_{case.name}"
    test.__doc__ = None
    setattr(BadFolders, test.__name__, test)


for _case in bad_folders.CASES:
    add(_case)


class GoodFolders(FlameTest):
    def run_clip(self, artifact, *arguments):
        ids = np.arange(10).reshape(2, 5)
        return flame_cli.run_model(self.flamec, artifact, {"input_ids": ids}, self.scratch, *arguments)

    def test_cache_of_the_hub(self):
        """snapshots/<commit>/file → ../../blobs/<hash>"""
        good = bad_folders.good(self.scratch / "good")
        root = self.scratch / "models--a--b"
        (root / "blobs").mkdir(parents=True)
        snapshot = root / "snapshots" / "0123"
        snapshot.mkdir(parents=True)
        for i, name in enumerate(("config.json", bad_folders.FILE)):
            os.rename(good / name, root / "blobs" / f"{i}")
            (snapshot / name).symlink_to(f"../../blobs/{i}")
        artifact = self.compiled(snapshot, "--weights=external")
        self.run_clip(artifact, "--weights-dir", snapshot)

    def test_embedded_and_external_weights_agree(self):
        folder = bad_folders.good(self.scratch / "model")
        outside = self.run_clip(self.compiled(folder, "--weights=external"), "--weights-dir", folder)
        inside = self.run_clip(self.compiled(folder, "--weights=embed"))
        memory = self.run_clip(folder)
        for a, b, c in zip(outside, inside, memory):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, c)

    def test_one_variant_of_the_weights(self):
        folder = bad_folders.good(self.scratch / "model")
        os.rename(folder / bad_folders.FILE, folder / "model.fp16.safetensors")
        self.compiled(folder)

    def test_zero_size_and_rank_0_tensors_are_valid(self):
        """They are read; that no model has them is another matter."""
        folder = bad_folders.good(self.scratch / "model")
        tensors = safetensors.read(folder / bad_folders.FILE)
        safetensors.write(folder / bad_folders.FILE, tensors | {"nothing": np.zeros((0, 4)), "number": np.zeros(())})
        done = self.flamec("compile", folder)
        self.assert_clear_error(done, (3,), ["nothing [0,4]", "number []"], "2 tensors that no model")

    def test_a_trailing_slash_and_the_default_name(self):
        folder = bad_folders.good(self.scratch / "model")
        self.ok(self.flamec("compile", f"{folder}/", cwd=self.scratch))
        self.assertTrue((self.scratch / "model.flame").is_file())

    def test_builds_are_reproducible(self):
        folder = bad_folders.good(self.scratch / "model")
        first = self.compiled(folder).read_bytes()
        self.assertEqual(first, self.compiled(folder).read_bytes())

    def test_inspect_of_a_pipeline(self):
        folder = make_pipeline.make(self.scratch / "pipeline")
        done = self.ok(self.flamec("inspect", folder, "--format", "json"))
        info = json.loads(done.stdout)
        self.assertEqual(info["class"], "FluxPipeline")
        parts = {part["name"]: part for part in info["parts"]}
        self.assertEqual(parts["transformer"]["class"], "FluxTransformer2DModel")
        self.assertEqual(parts["transformer"]["dtype"], "f32")
        self.assertIn({"name": "hidden_states", "type": "float32[batch,image_tokens,16]"}, parts["transformer"]["inputs"])
        self.assertFalse(parts["scheduler"]["model"])
        text = self.ok(self.flamec("inspect", folder)).stdout
        self.assertIn("FluxPipeline", text)
        self.assertIn("encoder_hidden_states  float32[batch,text_tokens,48]", text)
        self.assertIn("## vae", self.ok(self.flamec("inspect", folder, "--format", "md")).stdout)
        program = info["program"]
        self.assertEqual([port["name"] for port in program["inputs"]], ["clip_ids", "t5_ids", "noise", "sigmas"])
        self.assertIn({"name": "noise", "type": "float32[batch,4,height,width]"}, program["inputs"])
        models = [part for part in info["parts"] if part["model"]]
        self.assertEqual(program["weights"]["count"], sum(part["weights"]["count"] for part in models))
        self.assertRegex(text, r"as one program\n  class +FluxPipeline\n")
        # A pipeline that can't be one is shown all the same.
        index = folder / "model_index.json"
        index.write_text(index.read_text().replace("FluxPipeline", "FluxControlPipeline"))
        other = json.loads(self.ok(self.flamec("inspect", folder, "--format", "json")).stdout)
        self.assertNotIn("program", other)
        self.assertEqual(other["parts"], info["parts"])

    def test_inspect_of_a_model(self):
        folder = bad_folders.good(self.scratch / "model")
        self.assertIn("CLIPTextModel", self.ok(self.flamec("inspect", folder)).stdout)


if __name__ == "__main__":
    main()
