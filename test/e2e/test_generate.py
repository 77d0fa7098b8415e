#!/usr/bin/env python3
"""`flamec generate` and the pipeline of libflame_diffusion: pictures of a tiny FLUX folder against float64 NumPy."""

from __future__ import annotations

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading

import numpy as np
import PIL.Image
from flame_diffusion import CPU, FlameError, Library
from flame_pipeline import Pipeline, ProgressFunction
from pipelines import make_pipeline, reference, safetensors, whole
from support import BIN, FlameTest, main
from transformers import CLIPTokenizer, T5Tokenizer

PROMPTS = ["A red fox in the snow", "une étoile filante 🌠, très détaillée"]
CANCELLED, BAD_DATA, INVALID_ARGUMENT, IO, BAD_ARTIFACT = 6, 8, 1, 7, 2


class Reference:
    """FluxPipeline in float64, from what diffusers' pipeline_flux.py computes; ids are those of transformers."""

    def __init__(self, folder, library):
        self.folder, self.library = folder, library
        self.models = {p: (safetensors.read_folder(folder / p), json.loads((folder / p / "config.json").read_text()))
                       for p in ("text_encoder", "text_encoder_2", "transformer", "vae")}  # fmt: skip
        self.clip = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.t5 = T5Tokenizer.from_pretrained(folder / "tokenizer_2")

    def picture(self, prompt, seed, steps, width, height, tokens, guidance=3.5, tiles=()):
        """`tiles`: sizes of tiles and, perhaps, how much they overlap."""

        def ids(tokenizer, length):
            return np.array([tokenizer(prompt, padding="max_length", truncation=True, max_length=length)["input_ids"]])

        config, vae = self.models["transformer"][1], self.models["vae"][1]
        scale, channels = 2 ** (len(vae["block_out_channels"]) - 1), config["in_channels"] // 4
        rows, columns = height // scale, width // scale
        pooled = reference.clip_text(*self.models["text_encoder"], ids(self.clip, 77))[1]
        states = reference.t5_encoder(*self.models["text_encoder_2"], ids(self.t5, tokens))
        noise = self.library.generator(CPU, seed).normal("f32", channels * rows * columns)
        patches = noise.reshape(channels, rows // 2, 2, columns // 2, 2).transpose(1, 3, 0, 2, 4)
        latents = patches.reshape(1, rows * columns // 4, channels * 4).astype(np.float64)
        positions = np.zeros((rows // 2, columns // 2, 3))
        positions[..., 1], positions[..., 2] = np.arange(rows // 2)[:, None], np.arange(columns // 2)
        inputs = {"encoder_hidden_states": states, "pooled_projections": pooled, "img_ids": positions.reshape(-1, 3),
                  "txt_ids": np.zeros((tokens, 3)), "guidance": np.array([guidance])}  # fmt: skip
        sigmas = np.linspace(1, 1 / steps, steps)
        if config["guidance_embeds"]:  # the schedule of dev
            mu = 0.5 + (1.15 - 0.5) * (latents.shape[1] - 256) / (4096 - 256)
            sigmas = np.exp(mu) / (np.exp(mu) + 1 / sigmas - 1)
        for sigma, following in zip(sigmas, np.append(sigmas[1:], 0)):
            inputs |= {"hidden_states": latents, "timestep": np.array([sigma])}
            latents = latents + (following - sigma) * reference.flux_transformer(*self.models["transformer"], inputs)
        planes = latents.reshape(rows // 2, columns // 2, channels, 2, 2).transpose(2, 0, 3, 1, 4).reshape(1, channels, rows, columns)
        decoder = reference.Autoencoder(*self.models["vae"])
        decode = (lambda x: decoder.tiled_decode(x, *tiles)) if tiles else decoder.decode
        image = decode(planes / vae["scaling_factor"] + vae["shift_factor"])
        return np.clip(image[0] / 2 + 0.5, 0, 1).transpose(1, 2, 0) * 255


def psnr(a, b):
    error = ((np.asarray(a, float) - b) ** 2).mean()
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


class Generate(FlameTest):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="flame-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.shared = pathlib.Path(folder.name)
        cls.library = Library(BIN.parent / "lib/libflame_diffusion.so")
        cls.folder = whole.make(cls.shared / "tiny")

    def generate(self, *arguments, folder=None):
        env = {"FLAME_CACHE_DIR": str(self.shared / "cache")}
        return self.flamec("generate", folder or self.folder, *arguments, env=env, cwd=self.scratch)

    def pictures(self, *arguments, folder=None):
        done = self.ok(self.generate(*arguments, folder=folder))
        return [np.array(PIL.Image.open(self.scratch / line)) for line in done.stdout.splitlines()]

    def agrees(self, picture, *arguments, folder=None, least=60.0, **options):
        expected = Reference(folder or self.folder, self.library).picture(*arguments, **options)
        self.assertEqual(picture.shape, expected.shape)
        self.assertGreater(expected.std(), 5, "nothing was compared")
        # Against the picture rounded as PNG rounds it.
        self.assertGreaterEqual(psnr(picture, np.rint(expected)), least)

    def test_picture(self):
        [picture] = self.pictures("--prompt", PROMPTS[0], "--size", "96x64", "--seed", "7", "-o", "fox.png")
        self.agrees(picture, PROMPTS[0], 7, 4, 96, 64, 256)
        image = PIL.Image.open(self.scratch / "fox.png")
        image.load()
        parameters = json.loads(image.text["parameters"])
        for key, value in {"prompt": PROMPTS[0], "seed": 7, "steps": 4, "width": 96, "height": 64, "model": "tiny"}.items():
            self.assertEqual(parameters[key], value)

    def test_guidance_and_dynamic_shift(self):
        folder = whole.make(self.shared / "dev", guided=True)
        arguments = ("--prompt", PROMPTS[1], "--size", "64", "--seed", "3", "--steps", "6", "--text-tokens", "40")
        [picture] = self.pictures(*arguments, "--guidance", "2.5", folder=folder)
        self.agrees(picture, PROMPTS[1], 3, 6, 64, 64, 40, 2.5, folder=folder)
        [other] = self.pictures(*arguments, folder=folder)
        self.assertTrue((picture != other).any())

    def test_bf16(self):
        folder = whole.make(self.shared / "bf16", dtype="BF16")
        [picture] = self.pictures("--prompt", PROMPTS[0], "--size", "64", "--seed", "1", folder=folder)
        self.assertEqual(picture.shape, (64, 64, 3))
        wide = self.pictures("--prompt", PROMPTS[0], "--size", "64", "--seed", "1", "--dtype", "f32", folder=folder)[0]
        self.assertTrue((picture != wide).any())

    def test_batches_and_seeds(self):
        """A picture is that of its prompt and seed, whatever is made beside it."""
        both = ("--prompt", PROMPTS[0], "--prompt", PROMPTS[1], "--size", "64x48", "--steps", "2", "--text-tokens", "30")
        together = self.pictures(*both, "--images", "2", "--seed", "5", "-o", "a.png")
        self.assertEqual(sorted(p.name for p in self.scratch.glob("a*.png")), [f"a-{i}.png" for i in (1, 2, 3, 4)])
        alone = self.pictures(*both, "--images", "2", "--seed", "5", "--batch", "1", "-o", "b.png")
        listed = self.pictures(*both, "--images", "2", "--seed", "5,6,5,6", "--batch", "3", "-o", "c.png")
        for i, (a, b, c) in enumerate(zip(together, alone, listed)):
            self.assertGreaterEqual(psnr(a, b), 60, i)
            self.assertGreaterEqual(psnr(a, c), 60, i)
            self.agrees(a, PROMPTS[i // 2], 5 + i % 2, 2, 64, 48, 30)
        (self.scratch / "prompts.txt").write_text(f"{PROMPTS[0]}\r\n\n  \n{PROMPTS[1]}")
        of_file = self.pictures("--prompt-file", "prompts.txt", *both[4:], "--seed", "5", "-o", "d.png")
        np.testing.assert_array_equal(of_file[0], self.pictures(*both, "--seed", "5", "-o", "e.png")[0])

    def test_models_are_compiled_once(self):
        arguments = ("--prompt", "x", "--size", "32", "--steps", "1", "--text-tokens", "8", "--threads", "1")
        folder = whole.make(self.shared / "once", dtype="F16")
        self.assertEqual(self.ok(self.generate(*arguments, folder=folder)).stderr.count("compiled "), 4)
        self.assertEqual(self.ok(self.generate(*arguments, folder=folder)).stderr.count("compiled "), 0)
        # What counts is what the files say, not where they lie, when they were written, or the weights.
        moved = self.shared / "moved"
        shutil.copytree(folder, moved)
        weights = moved / "vae/diffusion_pytorch_model.safetensors"
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
        self.assertEqual(self.ok(self.generate(*arguments, folder=moved)).stderr.count("compiled "), 0)
        config = folder / "vae/config.json"
        config.write_text(config.read_text() + " ")
        self.assertEqual(self.ok(self.generate(*arguments, folder=folder)).stderr.count("compiled "), 4)
        where = self.ok(self.generate("--compile-only", "--artifacts", "here", folder=folder)).stdout.strip()
        self.assertEqual({p.name for p in (self.scratch / where).iterdir()},
                         {f"{n}.flame" for n in ("text_encoder", "text_encoder_2", "transformer", "vae")})  # fmt: skip

    def test_processes_that_start_together_compile_once(self):
        folder = whole.make(self.shared / "together", guided=True)
        command = [BIN / "flamec", "generate", folder, "--prompt", "x", "--size", "32", "--steps", "1", "--text-tokens", "8"]
        children = [subprocess.Popen([*map(str, command), "-o", self.scratch / f"{i}.png"], text=True, stderr=subprocess.PIPE,
                                     stdout=subprocess.PIPE, env={**os.environ, "NO_COLOR": "1", "FLAME_CACHE_DIR": str(self.scratch / "c")})
                    for i in range(3)]  # fmt: skip
        said = [child.communicate(timeout=600)[1] for child in children]
        self.assertEqual([child.returncode for child in children], [0] * 3, said)
        self.assertEqual("".join(said).count("compiled "), 4)
        self.assertEqual(len({(self.scratch / f"{i}.png").read_bytes() for i in range(3)}), 1)
        [kept] = (self.scratch / "c/pipelines").iterdir()
        self.assertEqual({p.name for p in kept.iterdir()},
                         {f"{n}.flame" for n in ("text_encoder", "text_encoder_2", "transformer", "vae")})  # fmt: skip

    def test_memory_limit(self):
        arguments = ("--prompt", PROMPTS[0], "--size", "64", "--seed", "1", "--steps", "2", "--text-tokens", "16")
        done = self.ok(self.generate(*arguments, "-o", "a.png"))
        parts = dict(re.findall(r"(text_encoder|text_encoder_2|transformer|vae) ([\d.]+ [kM]?B)", done.stderr))
        self.assertEqual(len(parts), 4, done.stderr)
        sizes = {name: float(text.split()[0]) * {"kB": 1e3, "MB": 1e6}[text.split()[1]] for name, text in parts.items()}
        self.assertRegex(done.stderr, r"memory +peak [\d.]+ MB planned \(")
        self.assertRegex(done.stderr, r"done +peak [\d.]+ .?B beside mapped weights")
        # Between the largest part alone and all of them: parts take turns, the picture is the same.
        limit = int(max(sizes.values()) * 1.1)
        self.assertLess(limit, sum(sizes.values()))
        limited = self.ok(self.generate(*arguments, "-o", "b.png", "--memory-limit", str(limit)))
        self.assertIn("idle parts are moved out of the way", limited.stderr)
        self.assertEqual((self.scratch / "a.png").read_bytes(), (self.scratch / "b.png").read_bytes())
        peak = re.search(r"done +peak ([\d.]+) (.?B)", limited.stderr)
        self.assertLessEqual(float(peak[1]) * {"kB": 1e3, "MB": 1e6}[peak[2]], limit * 1.01)
        refused = self.generate(*arguments, "--memory-limit", str(int(max(sizes.values()) * 0.9)))
        self.assert_clear_error(refused, [6], ["memory limit"], "alone needs .* raise the limit")

    def test_tiles(self):
        arguments = ("--prompt", PROMPTS[0], "--seed", "7", "--steps", "2", "--text-tokens", "16")
        on = ("--vae-tiling", "on", "--tile-sample-min-size")
        for width, height, tiles in ((160, 144, (64,)), (112, 64, (64, 0.5)), (128, 144, (128,)), (96, 48, (64, 0.75))):
            with self.subTest(tiles):
                overlap = ("--tile-overlap-factor", str(tiles[1])) if tiles[1:] else ()
                [picture] = self.pictures(*arguments, "--size", f"{width}x{height}", *on, str(tiles[0]), *overlap)
                self.agrees(picture, PROMPTS[0], 7, 2, width, height, 16, tiles=tiles)
        # A picture of a tile's size or less is decoded as a whole, and so are others unless tiles are asked for.
        whole_picture = self.pictures(*arguments, "--size", "96")[0]
        np.testing.assert_array_equal(self.pictures(*arguments, "--size", "96", *on, "128")[0], whole_picture)
        self.assertTrue((self.pictures(*arguments, "--size", "96", *on, "64")[0] != whole_picture).any())

    def test_tiles_under_a_memory_limit(self):
        values = {"width": 512, "height": 512, "tile_sample_min_size": 256}
        where = self.ok(self.generate("--compile-only")).stdout.strip()
        free = Pipeline(self.library, self.folder, where)
        plan = free.plan(["x"], **values)
        self.assertEqual(plan.tile_sample_size, 0)
        each = [w + r for w, r in zip(plan.weight_bytes, plan.run_bytes)]
        limit = int(max(*each[:3], each[3] * 0.5))
        self.assertLess(limit, each[3], "the decoder alone must be above the limit")
        limited = Pipeline(self.library, self.folder, where, limit)
        planned = limited.plan(["x"], steps=1, text_tokens=8, **values)
        self.assertEqual(planned.tile_sample_size, 256)
        self.assertLessEqual(planned.peak_bytes, limit)
        [tiled] = self.run_pipeline(limited, ["x"], steps=1, text_tokens=8, **values)
        self.assertLessEqual(limited.statistics().peak_bytes, limit)
        [asked] = self.run_pipeline(free, ["x"], steps=1, text_tokens=8, vae_tiling=1, **values)
        np.testing.assert_array_equal(tiled, asked)
        with self.assertRaisesRegex(FlameError, "vae alone needs .* smaller tiles"):
            self.run_pipeline(limited, ["x"], steps=1, text_tokens=8, vae_tiling=2, **values)

    def test_profile(self):
        done = self.ok(self.generate("--prompt", "x", "--size", "32", "--steps", "2", "--text-tokens", "8", "--profile"))
        rows = re.findall(r"^ +[\d.]+ +[\d.]+ +(\d+)  (\w+) +\S", done.stderr, re.MULTILINE)
        self.assertEqual(len(rows), 30, done.stderr)
        self.assertIn(("2", "transformer"), rows)
        self.assertIn(("1", "vae"), rows)
        self.assertRegex(done.stderr, r"denoising +1 picture, [\d.]+ it/s")

    def test_errors(self):
        def fails(status, names, says, *arguments, folder=None):
            with self.subTest(arguments=arguments, folder=folder):
                self.assert_clear_error(self.generate(*arguments, folder=folder), [status], names, says)

        prompt = ("--prompt", "x")
        fails(2, ["--prompt"], "no prompt")
        fails(2, ["--size 3by4"], "is no size", *prompt, "--size", "3by4")
        fails(2, ["3 seeds"], "one for each", *prompt, "--seed", "1,2,3")
        fails(3, ["100 x 64"], "multiples of 16", *prompt, "--size", "100x64")
        fails(3, ["513"], "text tokens", *prompt, "--text-tokens", "513")
        for tile, overlap in ((40, 0.25), (16, 0.25), (64, 0.3), (64, 1), (64, -1)):
            arguments = ("--vae-tiling", "on", "--tile-sample-min-size", str(tile), "--tile-overlap-factor", str(overlap))
            fails(3, [f"tiles of {tile}"], "multiples of 16", *prompt, *arguments)
        fails(2, ["--vae-tiling"], "auto", *prompt, "--vae-tiling", "maybe")
        fails(3, ["nowhere"], "is no folder", *prompt, folder=self.scratch / "nowhere")
        fails(3, ["missing.txt"], "is no file", "--prompt-file", "missing.txt")
        (self.scratch / "empty.txt").write_text("\n \n")
        fails(3, ["empty.txt"], "no prompt", "--prompt-file", "empty.txt")
        broken = whole.make(self.shared / "broken")
        index = broken / "model_index.json"
        index.write_text('{"_class_name": "StableDiffusionPipeline"}')
        fails(4, ["StableDiffusionPipeline", "model_index.json"], "not supported", *prompt, folder=broken)
        index.write_text("{")
        fails(3, ["model_index.json"], "JSON", *prompt, folder=broken)
        index.write_text(json.dumps(make_pipeline.MODEL_INDEX))
        schedule = broken / "scheduler/scheduler_config.json"
        kept = schedule.read_text()
        schedule.write_text('{"_class_name": "DDIMScheduler"}')
        fails(4, ["scheduler_config.json", "DDIMScheduler"], "FlowMatchEulerDiscreteScheduler", *prompt, folder=broken)
        schedule.write_text(kept)
        (broken / "tokenizer/vocab.json").unlink()
        fails(3, ["vocab.json"], "No such file", *prompt, folder=broken)
        fails(3, ["text_encoder"], "is missing", *prompt, folder=self.shared / "tiny/tokenizer")

    def load(self, folder=None):
        where = self.ok(self.generate("--compile-only", folder=folder)).stdout.strip()
        return Pipeline(self.library, folder or self.folder, where)

    def statistics(self, pipeline):
        """(texts encoded, parts loaded) of the last run; checks the rest."""
        out = pipeline.statistics()
        self.assertTrue(all(s >= 0 for s in out.seconds) and out.seconds[1] > 0 and out.peak_bytes > 1000)
        return out.texts_encoded, out.parts_loaded

    def run_pipeline(self, pipeline, prompts, progress=None, **values):
        settings = {"steps": 2, "width": 64, "height": 64, "text_tokens": 16} | values
        return [image.pixels() for image in pipeline.generate(prompts, progress, **settings)]

    def test_progress_and_cancellation(self):
        pipeline = self.load()
        seen = []

        @ProgressFunction
        def watch(progress, user):
            p = progress.contents
            seen.append((p.stage, p.step, p.steps))
            return 0

        first = self.run_pipeline(pipeline, PROMPTS, watch)
        self.assertEqual(self.statistics(pipeline), (2, 4))
        stages = [[(s, i, n) for i in range(n + 1)] for s, n in ((0, 2), (1, 2), (2, 2))]
        self.assertEqual(seen, sum(stages, []))
        for end in range(len(seen)):
            left = [end]

            @ProgressFunction
            def stop(progress, user):
                left[0] -= 1
                return int(left[0] < 0)

            with self.assertRaisesRegex(FlameError, "cancelled") as caught:
                self.run_pipeline(pipeline, PROMPTS, stop)
            self.assertEqual(caught.exception.code, CANCELLED)
        # A cancelled run leaves nothing behind, and what was encoded is known.
        np.testing.assert_array_equal(self.run_pipeline(pipeline, PROMPTS), first)
        self.assertEqual(self.statistics(pipeline), (0, 0))
        # Nothing is reported, and nothing else changes, with batches of one.
        for a, b in zip(self.run_pipeline(pipeline, PROMPTS, batch=1), first):
            self.assertGreaterEqual(psnr(a, b), 60)

    def test_cancellation_from_another_thread(self):
        pipeline = self.load()
        begun = threading.Event()

        @ProgressFunction
        def watch(progress, user):
            if progress.contents.stage == 1:
                begun.set()
            return 0

        def cancel():
            begun.wait(60)
            pipeline.cancel()

        thread = threading.Thread(target=cancel)
        thread.start()
        with self.assertRaisesRegex(FlameError, "cancel") as caught:
            self.run_pipeline(pipeline, ["x"], watch, steps=1000)
        thread.join()
        self.assertEqual(caught.exception.code, CANCELLED)

    def test_interface_errors(self):
        pipeline = self.load()
        for prompts, values, code, says in (
            ([], {}, INVALID_ARGUMENT, "no prompt"), ([b"a\xff"], {}, INVALID_ARGUMENT, "UTF-8"),
            (["x"], {"width": 8}, INVALID_ARGUMENT, "multiples of 16"), (["x"], {"steps": 5000}, INVALID_ARGUMENT, "1 to 1000"),
            (["x"], {"guidance": -1.0}, INVALID_ARGUMENT, "guidance"), (["x"], {"generator": 9}, INVALID_ARGUMENT, "kind 9"),
            (["x"], {"images": 1 << 40}, INVALID_ARGUMENT, "pictures"), (["x"], {"text_tokens": 1}, INVALID_ARGUMENT, "text tokens"),
        ):  # fmt: skip
            with self.subTest(says), self.assertRaisesRegex(FlameError, says) as caught:
                self.run_pipeline(pipeline, prompts, **values)
            self.assertEqual(caught.exception.code, code)
        # Artifacts of other models, and none.
        where = pathlib.Path(self.ok(self.generate("--compile-only")).stdout.strip())
        for part, says in (("vae", "vae.flame has no input 'tokens': .* with --part=pictures"),
                           ("transformer", "transformer.flame has no input 'step': .* with --part=step"),
                           ("text_encoder_2", "text_encoder_2.flame is missing: compile")):  # fmt: skip
            other = self.scratch / part
            shutil.copytree(where, other)
            (other / f"{part}.flame").unlink()
            if "is missing" not in says:
                self.ok(self.flamec("compile", self.folder / part, "--weights=external", "-o", other / f"{part}.flame"))
            with self.assertRaisesRegex(FlameError, says):
                Pipeline(self.library, self.folder, other)
        wrong = self.scratch / "wrong"
        shutil.copytree(where, wrong)
        shutil.copy(where / "vae.flame", wrong / "transformer.flame")
        with self.assertRaisesRegex(FlameError, "the artifact was made from one of"):
            Pipeline(self.library, self.folder, wrong)


if __name__ == "__main__":
    main()
