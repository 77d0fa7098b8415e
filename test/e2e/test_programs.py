#!/usr/bin/env python3
"""Pipeline folders compiled to one program: its pictures are those of the models that run one by one, in all bytes."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import tempfile
import unittest

import flame_cli
import numpy as np
import PIL.Image
from flame_diffusion import CPU, Library
from flame_pipeline import Pipeline
from pipelines import make_pipeline, safetensors, whole
from support import BIN, FlameTest, main

PROMPTS = ["A red fox in the snow", "une étoile filante, très détaillée", "x"]


LIBRARIES = BIN.parent / "lib"
EMULATION = {"FLAME_NVRTC": str(LIBRARIES / "libflame_fake_nvrtc.so"), "FLAME_CUDA_DRIVER": str(LIBRARIES / "libflame_fake_cuda.so")}


class Folder:
    """A tiny pipeline with both ways to run it; `arguments` are the compiler's."""

    def __init__(self, test, path, *arguments, made=False, name=None, **options):
        self.path = path if made else whole.make(path, **options)
        self.guided, self.dtype = options.get("guided", False), {"F32": "f32", "BF16": "bf16", "F16": "f16"}[options.get("dtype", "F32")]
        self.library = Library(LIBRARIES / "libflame_diffusion.so")
        self.clip, self.t5 = (self.library.tokenizer(self.path / name) for name in ("tokenizer", "tokenizer_2"))
        name = name or path.name
        self.artifacts, self.program = path.parent / f"{name}.parts", path.parent / f"{name}.flame"
        test.ok(test.flamec("generate", self.path, "--compile-only", "--artifacts", self.artifacts, *arguments))
        test.ok(test.flamec("compile", self.path, "-o", self.program, "--weights=external", *arguments))
        self.pipeline = None

    def picture(self, prompt, **options):
        """Of the models one by one."""
        self.pipeline = self.pipeline or Pipeline(self.library, self.path, self.artifacts, threads=1)
        return self.pipeline.generate([prompt], **options)[0].pixels()

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

    def run_program(self, folder, inputs):
        # One thread here and there, so that both cut their work alike.
        return flame_cli.run_model(self.flamec, folder.program, inputs, self.scratch, "--weights-dir", folder.path, "--threads", "1")

    def agree(self, folder, width, height, steps=2, tokens=16, prompts=PROMPTS[:1], guidance=3.5):
        seeds = [5 + i for i in range(len(prompts))]
        inputs = folder.inputs(prompts, seeds, width, height, steps, tokens, guidance)
        pixels, bad = self.run_program(folder, inputs)
        for i, (prompt, seed) in enumerate(zip(prompts, seeds)):
            expected = folder.picture(prompt, seed=seed, steps=steps, width=width, height=height, text_tokens=tokens, guidance=guidance)
            self.assertEqual(pixels[i].shape, (height, width, 3))
            self.assertGreater(expected.std(), 5, "nothing was compared")
            np.testing.assert_array_equal(pixels[i], expected)
        np.testing.assert_array_equal(bad, [0] * len(prompts))

    def test_sizes_and_steps(self):
        for dtype in ("F32", "BF16", "F16"):
            for width, height, steps, tokens in ((64, 64, 4, 40), (96, 48, 1, 16), (16, 160, 3, 7), (32, 32, 2, 256)):
                with self.subTest(dtype=dtype, width=width, height=height, steps=steps):
                    self.agree(self.folder(dtype), width, height, steps, tokens)

    def test_batches_of_prompts(self):
        for dtype in ("F32", "BF16"):
            with self.subTest(dtype=dtype):
                self.agree(self.folder(dtype), 64, 48, prompts=PROMPTS)

    def test_guidance_and_dynamic_shift(self):
        for dtype in ("F32", "BF16"):
            for guidance, steps in ((3.5, 4), (1.5, 3)):
                with self.subTest(dtype=dtype, guidance=guidance):
                    self.agree(self.folder(dtype, guided=True), 48, 80, steps, guidance=guidance, prompts=PROMPTS[:2])

    def test_models_of_several_types(self):
        """Each model computes in the type of its weights, and gets what others give it in that."""
        folder = self.folder("BF16")
        mixed = self.scratch / "mixed"
        whole.make(mixed, dtype="BF16")
        wide = self.folder("F32").path
        for part in ("text_encoder_2", "vae"):
            shutil.rmtree(mixed / part)
            shutil.copytree(wide / part, mixed / part)
        self.agree(Folder(self, mixed, made=True, dtype="BF16"), 48, 48)
        # And in another one that is asked for.
        asked = Folder(self, folder.path, "--dtype", "f32", made=True, dtype="F32", name="asked")
        self.agree(asked, 48, 48)

    def test_no_step_at_all(self):
        """With one noise level there is nothing to do: the noise is decoded."""
        folder = self.folder()
        inputs = folder.inputs(PROMPTS[:1], [1], 48, 32, 1, 8, 0)
        inputs["sigmas"] = inputs["sigmas"][:1]
        pixels, _ = self.run_program(folder, inputs)
        tokens = inputs["noise"].reshape(1, 4, 2, 2, 3, 2).transpose(0, 2, 4, 1, 3, 5).reshape(1, 2, 3, 16)
        expected = flame_cli.run_model(self.flamec, folder.artifacts / "vae.flame", {"tokens": tokens}, self.scratch,
                                       "--weights-dir", folder.path / "vae", "--threads", "1")[0]  # fmt: skip
        self.assertGreater(expected.std(), 5, "nothing was compared")
        np.testing.assert_array_equal(pixels, expected)

    def test_what_is_no_number_is_counted(self):
        folder = self.folder()
        inputs = folder.inputs(PROMPTS[:2], [1, 2], 32, 32, 1, 8, 0)
        inputs["noise"][1] = np.nan
        pixels, bad = self.run_program(folder, inputs)
        np.testing.assert_array_equal(bad, [0, 32 * 32 * 3])
        self.assertTrue(pixels[0].any() and not pixels[1].any())

    def test_bad_inputs(self):
        folder = self.folder()
        good = folder.inputs(PROMPTS[:2], [1, 2], 32, 48, 2, 8, 0)
        for name, value, says in (
            ("noise", good["noise"][:, :, :3], r"can't reshape \[batch, 4, height, width\]"),
            ("noise", good["noise"][:1], "batch"),
            ("noise", good["noise"][:, :3], "noise"),
            ("clip_ids", np.tile(good["clip_ids"], 2), "text_model.embeddings': check_indices: index 77"),
            ("t5_ids", good["t5_ids"] + 100_000, "'text_encoder_2.shared': check_indices: index 100"),
            ("sigmas", good["sigmas"][:0], r"the shape \[-1\], with a negative dimension"),
        ):
            with self.subTest(name, says=says):
                files = flame_cli.write_inputs(good | {name: value}, self.scratch / "inputs")
                done = self.flamec("run", folder.program, *flame_cli.inputs(files), "--weights-dir", folder.path)
                self.assert_clear_error(done, (3,), [], says)

    def test_the_loop_holds_what_changes_alone(self):
        """What depends on the texts, the size and the schedule alone is computed once."""
        text = self.ok(self.flamec("compile", self.folder().path, "--emit", "flame")).stdout
        before, _, rest = text.partition("flame.loop")
        body, _, after = rest.partition("flame.yield")
        self.assertNotIn("flame.loop", after)
        transformer = json.loads((self.folder().path / "transformer/config.json").read_text())
        double, single = transformer["num_layers"], transformer["num_single_layers"]
        # Double blocks: two modulations, eight projections, two products of attention, four of feed-forward; single ones: a
        # modulation, five projections, two products of attention. Beside them two embedders' second layers, the first one of the
        # time's, x_embedder, norm_out and proj_out.
        self.assertEqual(body.count("flame.matmul"), 16 * double + 8 * single + 6)
        self.assertEqual(body.count("flame.cos "), 1, "the tables of the rotation are made in each step")
        self.assertEqual(before.count("flame.cos "), len(transformer["axes_dims_rope"]))
        self.assertEqual(text.count("flame.conv "), after.count("flame.conv "))
        # The plan: nothing waits for the loop, nothing is prepared in it.
        plan = self.ok(self.flamec("compile", self.folder().path, "--emit", "plan")).stdout
        self.assertRegex(plan, r"loop trip \(-1 \+ sigmas\) condition none")
        loop = re.search(r"^block \d+ body\((.*)\) -> \((.*)\)\n((?:  .*\n)*)", plan, re.MULTILINE)
        self.assertEqual(loop[1].split(", ")[1], loop[2].split(", ")[0], "the condition is copied")
        commands = loop[3]
        self.assertNotIn("pack_panels", commands)
        self.assertEqual(re.findall(r": (?:call|copy|\w+ = read)", commands), [])

    def test_what_is_said_to_come_next(self):
        done = self.ok(self.flamec("compile", self.folder().path, "-o", self.scratch / "p.flame", "--weights=external"))
        next_one = re.search(r"next: flamec (.*)", done.stderr)[1].split()
        self.assertEqual(next_one[0], "inspect")
        self.assertIn("t5_ids", self.ok(self.flamec(*next_one)).stdout)

    def test_inspect(self):
        text = self.ok(self.flamec("inspect", self.folder(guided=True).program)).stdout
        for line in (r"clip_ids +i64\[batch,clip_tokens\]", r"t5_ids +i64\[batch,text_tokens\]", r"noise +f32\[batch,4,height,width\]",
                     r"sigmas +f32\[sigmas\]", r"guidance +f32\[batch\]", r"not_numbers +i64\[batch\]",
                     r"pixels +u8\[batch,16\*floordiv\(height, 2\),16\*floordiv\(width, 2\),3\]",
                     r"transformer/diffusion_pytorch_model.safetensors"):  # fmt: skip
            self.assertRegex(text, line)


@unittest.skipUnless(all(map(os.path.exists, EMULATION.values())), "the unit tests' libraries are not built")
class EmulatedPrograms(FlameTest):
    def test_program(self):
        """On an emulated GPU of sm_90a: the pictures are those of the models one by one there."""
        self.flamec.env |= EMULATION | {"FLAME_CACHE_DIR": str(self.scratch / "cache")}
        folder = Folder(self, self.scratch / "tiny", "--target=cuda", "--gpu=sm_90a", dtype="BF16")
        inputs = folder.inputs(PROMPTS[:1], [5], 32, 48, 3, 8, 0)
        pixels, bad = flame_cli.run_model(self.flamec, folder.program, inputs, self.scratch, "--weights-dir", folder.path)
        out = self.scratch / "picture.png"
        self.ok(self.flamec("generate", folder.path, "--artifacts", folder.artifacts, "--target=cuda", "--gpu=sm_90a", "--prompt", PROMPTS[0],
                            "--seed", "5", "--steps", "3", "--size", "32x48", "--text-tokens", "8", "-o", out))  # fmt: skip
        expected = np.array(PIL.Image.open(out))
        self.assertGreater(expected.std(), 5, "nothing was compared")
        np.testing.assert_array_equal(pixels[0], expected)
        np.testing.assert_array_equal(bad, [0])


class FullSizePrograms(FlameTest):
    def kernels(self, *arguments):
        """{kernel: source without its name}, and the kernels in the order of the plan's blocks."""
        cuda = ("--target=cuda", "--gpu=sm_90a", "--weights=external")
        source = self.ok(self.flamec("compile", *arguments, *cuda, "--emit=cuda")).stdout
        kernels = {}
        for text in re.split(r'(?=extern "C" __global__)', source[source.rindex("} // namespace flame") :])[1:]:
            name = re.search(r"\b(\w+_\d+)\(", text)[1]
            kernels[name] = re.sub(rf"\b{name}\b", "kernel", re.sub(r"//.*", "", text))
        plan = self.ok(self.flamec("compile", *arguments, *cuda, "--emit=plan")).stdout
        return kernels, [re.findall(r"launch @(\w+)", block) for block in re.split(r"^block ", plan, flags=re.MULTILINE)[1:]]

    def test_steps_in_the_loop_are_steps(self):
        """Tuned for the same sizes, all kernels of a step in the loop are those of the transformer's part `step`, in their order."""
        folder = make_pipeline.make(self.scratch / "schnell", "schnell", "BF16", hollow=True)
        program, (_, _, body) = self.kernels(folder)
        step, (main, _) = self.kernels(folder / "transformer", "--part", "step")
        steps = [step[name] for name in main]
        self.assertGreater(len(body), 500)
        # Behind what the program does before the loop, and before the number of the next step.
        self.assertEqual([program[name] for name in body], steps[-1 - len(body) : -1])


class BadPipelines(FlameTest):
    """Pipeline folders that can't be one program."""

    def refused(self, spoil, statuses, names, says, *arguments):
        folder = make_pipeline.make(self.scratch / "pipeline")
        spoil(folder)
        done = self.flamec("compile", folder, "-o", self.scratch / "out.flame", *arguments)
        self.assert_clear_error(done, statuses, names, says)
        return done.stderr

    def edited(self, path, **changes):
        def edit(folder):
            text = json.loads((folder / path).read_text())
            (folder / path).write_text(json.dumps({k: v for k, v in {**text, **changes}.items() if v != "gone"}))

        return edit

    def test_another_class(self):
        edit = self.edited("model_index.json", _class_name="StableDiffusionXLPipeline")
        self.refused(edit, (4,), ["StableDiffusionXLPipeline", "pipeline/transformer"], "supported are FluxPipeline; its models can be")

    def test_another_scheduler(self):
        edit = self.edited("scheduler/scheduler_config.json", _class_name="EulerDiscreteScheduler")
        self.refused(edit, (4,), ["scheduler_config.json", "EulerDiscrete"], "takes the steps of FlowMatchEulerDiscreteScheduler")

    def test_no_scheduler(self):
        self.refused(lambda f: (f / "scheduler/scheduler_config.json").unlink(), (3,), ["scheduler_config.json"], "")

    def test_a_model_that_is_not_listed(self):
        self.refused(self.edited("model_index.json", vae="gone"), (3,), ["model_index.json"], "lists no 'vae'")

    def test_a_model_of_another_class(self):
        edit = self.edited("text_encoder/config.json", architectures=["CLIPTextModelWithProjection"], projection_dim=32)
        self.refused(edit, (4,), ["text_encoder/config.json"], "the text_encoder of a FluxPipeline must be a CLIPTextModel")

    def test_models_that_do_not_belong_together(self):
        for path, changes, key in (("transformer", {"joint_attention_dim": 40}, "joint_attention_dim"),
                                   ("transformer", {"pooled_projection_dim": 40}, "pooled_projection_dim"),
                                   ("vae", {"latent_channels": 8}, "in_channels")):  # fmt: skip
            with self.subTest(key):
                edit = self.edited(f"{path}/config.json", **changes)
                self.refused(edit, (3,), ["transformer/config.json", key], "belong together")

    def test_all_problems_of_all_models_at_once(self):
        def spoil(folder):
            for part, change in (("text_encoder", {"text_model.final_layer_norm.bias": None}),
                                 ("transformer", {"proj_out.bias": np.zeros(3)}), ("vae", {"decoder.more": np.zeros((2, 2))})):  # fmt: skip
                (path,) = (folder / part).glob("*.safetensors")
                tensors = safetensors.read(path) | change
                safetensors.write(path, {name: value for name, value in tensors.items() if value is not None})

        text = self.refused(spoil, (3,), [], r"1 tensor missing:\n +text_encoder.text_model.final_layer_norm.bias \[32\]")
        self.assertRegex(text, r"1 tensor of another shape or type:\n +transformer.proj_out.bias is \[3\], the configuration wants \[16\]")
        self.assertRegex(text, r"1 tensor that no model of this configuration has:\n +vae.decoder.more \[2,2\]")

    def test_a_part(self):
        self.refused(lambda f: None, (3,), ["pipeline/vae"], "has no part 'decoder', it is one program", "--part", "decoder")


if __name__ == "__main__":
    main()
