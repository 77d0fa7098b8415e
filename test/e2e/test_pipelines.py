#!/usr/bin/env python3
"""Models of diffusers and transformers folders against float64 numpy: tiny ones of the true classes, in three dtypes."""

from __future__ import annotations

import json
import os
import re
import sys

import flame_cli
import numpy as np
from pipelines import make_pipeline, reference, safetensors
from support import BIN, ROOT, FlameTest, main

sys.path.insert(0, str(ROOT / "test/gpu"))
import flame_rt  # noqa: E402

# Errors count against the greatest magnitude of the expected tensor: a network's outputs are sums, whose small elements
# are differences of great ones. Narrow types have no tolerance of their own: the root mean square of their error may not be
# greater than that of executing the model in that type step by step, as frameworks do.
TOLERANCE = 1e-5
STEPWISE = 1.1
DTYPES = ("F32", "F16", "BF16")
NUMPY = {"F32": np.float32, "F16": np.float16, "BF16": np.uint16}


def rounded(values, dtype):
    """Numbers that the type can hold, as float64."""
    if dtype == "BF16":
        return safetensors.from_bfloat16(safetensors.to_bfloat16(values)).astype(np.float64)
    return np.asarray(values, NUMPY[dtype]).astype(np.float64)


VERBOSE = bool(os.environ.get("FLAME_TEST_VERBOSE"))


class PipelineTest(FlameTest):
    def folder(self, dtype="F32", **options):
        self.dtype = dtype
        return make_pipeline.make(self.scratch / "pipeline", dtype=dtype, **options)

    def model(self, part):
        """The configuration and the weights in float64."""
        folder = self.scratch / "pipeline" / part
        return json.loads((folder / "config.json").read_text()), safetensors.read_folder(folder)

    def floats(self, *shape, seed=7):
        return rounded(np.random.default_rng(seed).standard_normal(shape), self.dtype)

    def stored(self, values):
        """Floats as the model's element type, bfloat16 as ml_dtypes' type."""
        if self.dtype == "BF16":
            import ml_dtypes

            return safetensors.to_bfloat16(values).view(ml_dtypes.bfloat16)
        return np.asarray(values, NUMPY[self.dtype])

    def agree(self, part, inputs, expect, *arguments):
        """Compiles the part, runs it on inputs, compares all outputs with those of `expect`."""
        folder = self.scratch / "pipeline" / part
        artifact = self.compiled(folder, "-q", *arguments)
        self.assertFalse(list(folder.glob("*.flame")), "the folder was written to")
        actual = flame_cli.run_model(self.flamec, artifact, inputs, self.scratch, "--weights-dir", folder)
        exact = expect()
        stepwise = exact
        if self.dtype != "F32":
            with reference.rounding_each_step(lambda x: rounded(x, self.dtype)):
                stepwise = expect()
        self.assertEqual(len(actual), len(exact))
        for i, (a, e, s) in enumerate(zip(actual, exact, stepwise)):
            self.assertEqual(a.shape, e.shape, f"{part}: output {i}")
            if e.dtype.kind == "i":
                np.testing.assert_array_equal(a, e)
                continue
            self.assertEqual(a.dtype.itemsize, np.dtype(NUMPY[self.dtype]).itemsize)
            a = safetensors.from_bfloat16(a.view(np.uint16)) if self.dtype == "BF16" else a
            self.assertGreater(np.abs(e).std(), 0, "nothing was compared")
            error = a.astype(np.float64) - e
            if self.dtype == "F32":
                self.assertLessEqual(np.abs(error).max() / np.abs(e).max(), TOLERANCE, f"{part}: output {i}")
            else:
                ratio = np.sqrt((error**2).mean() / ((np.asarray(s) - e) ** 2).mean())
                self.assertLessEqual(ratio, STEPWISE, f"{part}: output {i}")
                if VERBOSE:
                    print(f"{part} output {i} {self.dtype}: {ratio:.3f} of the stepwise error")


class Pipelines(PipelineTest):
    def each_dtype(self, check, part, **options):
        for dtype in DTYPES:
            with self.subTest(dtype):
                self.folder(dtype, only=(part,), **options)
                check()

    def clip(self, part="text_encoder", seed=3):
        config, weights = self.model(part)
        ids = np.random.default_rng(seed).integers(0, config["vocab_size"], (2, 77))
        projected = config["architectures"] == ["CLIPTextModelWithProjection"]
        order = -1 if projected else 1
        self.agree(part, {"input_ids": ids}, lambda: reference.clip_text(weights, config, ids)[::order])

    def test_clip_text(self):
        self.each_dtype(self.clip, "text_encoder")

    def test_clip_text_with_projection(self):
        changes = {"architectures": ["CLIPTextModelWithProjection"], "projection_dim": 24, "hidden_act": "gelu", "eos_token_id": 7}
        self.folder(only=("text_encoder",), changes={"text_encoder": changes})
        self.clip()

    def test_clip_text_without_prefix(self):
        self.folder(only=("text_encoder",))
        config, weights = self.model("text_encoder")
        (path,) = (self.scratch / "pipeline" / "text_encoder").glob("*.safetensors")
        safetensors.write(path, {name.removeprefix("text_model."): value for name, value in weights.items()})
        ids = np.random.default_rng(4).integers(0, config["vocab_size"], (2, 9))
        self.agree("text_encoder", {"input_ids": ids}, lambda: reference.clip_text(weights, config, ids))

    def t5(self, tokens=150):
        config, weights = self.model("text_encoder_2")
        # More tokens than the furthest distance that has a bucket of its own.
        ids = np.random.default_rng(5).integers(0, config["vocab_size"], (2, tokens))
        self.agree("text_encoder_2", {"input_ids": ids}, lambda: [reference.t5_encoder(weights, config, ids)])

    def test_t5_encoder(self):
        self.each_dtype(self.t5, "text_encoder_2")

    def transformer(self, batch=2, height=4, width=6, tokens=5, step=None):
        """The model, or with `step` that step of three."""
        config, weights = self.model("transformer")
        image = np.zeros((height, width, 3), np.float32)
        image[..., 1], image[..., 2] = np.arange(height)[:, None], np.arange(width)
        inputs = {
            "hidden_states": self.floats(batch, height * width, config["in_channels"]),
            "encoder_hidden_states": self.floats(batch, tokens, config["joint_attention_dim"], seed=8),
            "pooled_projections": self.floats(batch, config["pooled_projection_dim"], seed=9),
            "timestep": np.linspace(1, 0.2, batch, dtype=np.float32),
            "img_ids": image.reshape(-1, 3),
            "txt_ids": np.zeros((tokens, 3), np.float32),
        }
        if config["guidance_embeds"]:
            inputs["guidance"] = np.full(batch, 3.5, np.float32)
        given, arguments = dict(inputs), ()
        if step is not None:
            timesteps, sizes = np.float32([1, 0.75, 0.25]), np.float32([-0.25, -0.5, -0.25])
            inputs["timestep"] = np.full(batch, timesteps[step])
            del given["timestep"]
            given |= {"step": np.int64(step), "timesteps": timesteps, "step_sizes": sizes}
            arguments = ("--part", "step")

        def expect():
            sample = reference.flux_transformer(weights, config, inputs, lambda x: rounded(x, self.dtype))
            if step is None:
                return [sample]
            return [inputs["hidden_states"] + rounded(sizes[step] * sample, self.dtype), np.array(step + 1, np.int64)]

        floats = ("hidden_states", "encoder_hidden_states", "pooled_projections")
        self.agree("transformer", given | {name: self.stored(inputs[name]) for name in floats}, expect, *arguments)

    def test_flux_transformer(self):
        self.each_dtype(self.transformer, "transformer")

    def test_flux_transformer_with_guidance(self):
        self.each_dtype(self.transformer, "transformer", changes={"transformer": {"guidance_embeds": True}})

    def test_flux_step(self):
        self.each_dtype(lambda: self.transformer(step=1), "transformer")
        self.folder(only=("transformer",), changes={"transformer": {"guidance_embeds": True}})
        self.transformer(step=2)

    def test_one_artifact_serves_every_size(self):
        self.folder(only=("transformer",))
        self.transformer(1, 2, 2, 1)
        self.transformer(3, 5, 3, 9)

    def vae(self, height=3, width=5):
        config, weights = self.model("vae")
        latent = self.floats(2, config["latent_channels"], height, width)
        model = reference.Autoencoder(weights, config)
        self.agree("vae", {"latent": self.stored(latent)}, lambda: [model.decode(latent)])

    def test_vae_decoder(self):
        self.each_dtype(self.vae, "vae")

    def test_vae_pictures(self):
        self.folder(only=("vae",))
        config, weights = self.model("vae")
        artifact = self.compiled(self.scratch / "pipeline/vae", "-q", "--part", "pictures")

        def run(tokens):
            return flame_cli.run_model(self.flamec, artifact, {"tokens": tokens}, self.scratch, "--weights-dir",
                                       self.scratch / "pipeline/vae")  # fmt: skip

        rows, columns, channels = 2, 3, config["latent_channels"]
        tokens = self.floats(2, rows, columns, channels * 4).astype(np.float32)
        patches = tokens.astype(np.float64).reshape(2, rows, columns, channels, 2, 2).transpose(0, 3, 1, 4, 2, 5)
        latents = patches.reshape(2, channels, rows * 2, columns * 2) / config["scaling_factor"] + config["shift_factor"]
        image = reference.Autoencoder(weights, config).decode(latents).transpose(0, 2, 3, 1)
        pixels, bad, sample = run(tokens)
        self.assertLessEqual(np.abs(sample.transpose(0, 2, 3, 1) - image).max() / np.abs(image).max(), TOLERANCE)
        self.assertEqual((pixels.dtype, pixels.shape), (np.uint8, image.shape))
        self.assertGreater(image.std(), 0.05, "nothing was compared")
        # Rounded to the nearest, but for what float32 leaves undecided.
        self.assertLess(np.abs(pixels - np.clip(image / 2 + 0.5, 0, 1) * 255).max(), 0.51)
        np.testing.assert_array_equal(bad, [0, 0])
        tokens[1] = np.nan
        pixels, bad, _ = run(tokens)
        np.testing.assert_array_equal(bad, [0, image[1].size])
        self.assertFalse(pixels[1].any())

    def test_vae_with_quantising_convolutions(self):
        self.folder(only=("vae",), changes={"vae": {"use_quant_conv": True, "use_post_quant_conv": True}})
        self.vae()
        self.encoder()

    def encoder(self):
        config, weights = self.model("vae")
        sample = self.floats(1, config["in_channels"], 24, 40)
        model = reference.Autoencoder(weights, config)
        self.agree("vae", {"sample": self.stored(sample)}, lambda: model.encode(sample), "--part", "encoder")

    def test_vae_encoder(self):
        self.each_dtype(self.encoder, "vae")

    def test_shards(self):
        self.folder(only=("transformer",), shard_bytes=400_000)
        self.assertGreater(len(list((self.scratch / "pipeline/transformer").glob("*.safetensors"))), 3)
        self.transformer()

    def test_another_dtype_than_the_weights(self):
        self.folder("BF16", only=("text_encoder",))
        self.dtype = "F32"
        config, weights = self.model("text_encoder")
        ids = np.random.default_rng(1).integers(0, config["vocab_size"], (1, 9))
        self.agree("text_encoder", {"input_ids": ids}, lambda: reference.clip_text(weights, config, ids), "--dtype", "f32")


class Llama(PipelineTest):
    CONFIG = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 48,
        "intermediate_size": 80, "num_attention_heads": 6, "num_key_value_heads": 2, "num_hidden_layers": 2,
        "rms_norm_eps": 1e-05, "rope_theta": 10000.0, "tie_word_embeddings": False, "vocab_size": 120,
    }  # fmt: skip

    LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 128}  # fmt: skip

    def llama(self, dtype, **changes):
        self.dtype = dtype
        folder = self.scratch / "pipeline/llama"
        numbers = make_pipeline.Numbers(11, dtype)
        make_pipeline.write_model(folder, {**self.CONFIG, **changes}, numbers, dtype, 10**9)
        return self.model("llama")

    def prefill(self, dtype, **changes):
        config, weights = self.llama(dtype, **changes)
        ids = np.random.default_rng(2).integers(0, config["vocab_size"], (2, 33))

        def expect():
            logits, cache = reference.llama(weights, config, ids)
            return [logits, *(x for layer in cache for x in layer)]

        self.agree("llama", {"input_ids": ids}, expect)

    def test_llama_prefill(self):
        for dtype in DTYPES:
            with self.subTest(dtype):
                self.prefill(dtype)

    def test_llama_with_tied_embeddings(self):
        self.prefill("F32", tie_word_embeddings=True, num_key_value_heads=6)

    def test_llama_with_scaled_frequencies(self):
        for changes in ({"rope_scaling": self.LLAMA3}, {"rope_parameters": self.LLAMA3 | {"rope_theta": 5000.0}, "rope_theta": 1.0}):
            with self.subTest(changes):
                self.prefill("F32", **changes)

    def decode(self, dtype, lengths, tokens, capacity=12, **changes):
        config, weights = self.llama(dtype, **changes)
        batch, lengths = len(lengths), np.array(lengths)
        ids = np.random.default_rng(3).integers(0, config["vocab_size"], (batch, tokens))
        shape = (batch, config["num_key_value_heads"], capacity, config["hidden_size"] // config["num_attention_heads"])
        caches = [tuple(self.floats(*shape, seed=20 + 2 * i + k) for k in range(2)) for i in range(config["num_hidden_layers"])]
        inputs = {"input_ids": ids, "past_lengths": lengths}
        for i, pair in enumerate(caches):
            for name, cache in zip(("key", "value"), pair):
                inputs[f"past.{i}.{name}"] = self.stored(cache)

        def expect():
            logits, updated = reference.llama(weights, config, ids, (lengths, caches))
            return [logits, *(x for layer in updated for x in layer)]

        self.agree("llama", inputs, expect, "--part", "decode")

    def test_llama_decode(self):
        for dtype in DTYPES:
            with self.subTest(dtype):
                # Many tokens: their errors are those of few numbers each.
                self.decode(dtype, np.random.default_rng(6).integers(0, 12, 48), 1)
                self.decode(dtype, [2, 6, 0, 17, 20, 9], 12, capacity=32)
        self.decode("F32", [3], 9, tie_word_embeddings=True, num_key_value_heads=6, rope_scaling=self.LLAMA3)

    def test_llama_token_by_token(self):
        """After a prefill, one token at a time, with caches that are updated in their own memory."""
        config, weights = self.llama("F32", rope_scaling=self.LLAMA3)
        folder, layers, capacity, first, tokens = self.scratch / "pipeline/llama", config["num_hidden_layers"], 24, 9, 17
        modules = {}
        for part in ("prefill", "decode"):
            path = self.scratch / f"{part}.flame"
            self.ok(self.flamec("compile", folder, "-q", "-o", path, "--part", part))
            modules[part] = flame_rt.Module(BIN.parent / "lib/libflame_rt.so", path, weights=folder)
        prefill, decode = (modules[part].session() for part in ("prefill", "decode"))
        ids = np.random.default_rng(4).integers(0, config["vocab_size"], (2, tokens))
        whole, *_ = (value.numpy() for value in prefill.run([ids]))
        exact, _ = reference.llama(weights, config, ids)
        _, *past = (value.numpy() for value in prefill.run([np.ascontiguousarray(ids[:, :first])]))
        caches = []
        for states in past:
            caches.append(np.zeros((2, states.shape[1], capacity, states.shape[3]), np.float32))
            caches[-1][:, :, :first] = states
        self.assertEqual(len(caches), 2 * layers)
        token, lengths = np.empty((2, 1), np.int64), np.full(2, first)
        logits = np.empty((2, 1, config["vocab_size"]), np.float32)
        step = decode.bind([token, lengths, *caches], [logits, *caches])
        for place in range(first, tokens):
            token[:, 0] = ids[:, place]
            step()
            lengths += 1
            for expected in (whole[:, place], exact[:, place]):
                self.assertLessEqual(np.abs(logits[:, 0] - expected).max() / np.abs(expected).max(), TOLERANCE)
        # Tokens that don't fit are an error, and so is a negative number of those before them.
        for wrong in (capacity, -1):
            lengths[:] = wrong
            with self.assertRaisesRegex(flame_rt.FlameError, "out of range"):
                step()

    def test_llama_caches_are_updated_in_place(self):
        self.llama("BF16")
        folder = self.scratch / "pipeline/llama"
        for target in (("--target=cpu",), ("--target=cuda", "--gpu=sm_90a")):
            text = self.ok(self.flamec("compile", folder, "-q", "--part", "decode", "--emit=plan", *target)).stdout
            self.assertEqual(len(re.findall(r"in place of.*loops: scatter_elements", text)), 4, text)
        # Attention over a cache is one kernel, which skips what lies behind a sequence's end.
        text = self.ok(self.flamec("compile", folder, "-q", "--part", "decode", "--emit=regions", *target)).stdout
        self.assertEqual(text.count('flame.region "attention"'), 2, text)
        code = self.ok(self.flamec("compile", folder, "-q", "--part", "decode", "--emit=cuda", *target)).stdout
        self.assertRegex(code, r"flame::wgmmaAttention<(?s:.)*?flame::scores\(.*, limit\)")

    def test_llama_errors(self):
        self.llama("F32", rope_scaling={"rope_type": "yarn", "factor": 2.0})
        folder = self.scratch / "pipeline/llama"
        self.assert_clear_error(self.flamec("compile", folder), [4], ["rope_scaling", "config.json"], "llama3 and default")
        self.llama("F32", rope_parameters=3)
        self.assert_clear_error(self.flamec("compile", folder), [3], ["rope_parameters", "config.json"], "an object")
        self.llama("F32")
        self.assert_clear_error(self.flamec("compile", folder, "--part", "step"), [3], ["step", "prefill, decode"], "no part")


if __name__ == "__main__":
    main()
