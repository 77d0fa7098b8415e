#!/usr/bin/env python3
"""Makes a FLUX pipeline folder in the layout that diffusers saves, with seeded random weights; numpy is all it needs.

make_pipeline.py FOLDER [--size tiny|schnell|dev] [--dtype F32|BF16|F16] [--seed N] [--only PART…] [--hollow]

`tiny` has the same classes with few small layers, under 5 MB. `schnell` and `dev` have the published sizes and shards. The
tokenizers are not made here; `model_index.json` names them. `--hollow` writes sparse files of zeros, which take no space:
compiling needs names and shapes alone, and the artifact then runs with the same folder made whole.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

import numpy as np

if __package__ in (None, ""):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from pipelines import classes, safetensors

MODEL_INDEX = {
    "_class_name": "FluxPipeline",
    "_diffusers_version": "0.30.0",
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def clip(width, heads, layers, inner, vocabulary):
    return {
        "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_act": "quick_gelu",
        "hidden_size": width, "intermediate_size": inner, "num_attention_heads": heads, "num_hidden_layers": layers,
        "max_position_embeddings": 77, "vocab_size": vocabulary, "layer_norm_eps": 1e-05, "projection_dim": width,
        "bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1,
    }  # fmt: skip


def t5(width, heads, head, layers, inner, vocabulary):
    return {
        "architectures": ["T5EncoderModel"], "model_type": "t5", "d_model": width, "d_ff": inner, "d_kv": head,
        "num_heads": heads, "num_layers": layers, "vocab_size": vocabulary, "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-06, "feed_forward_proj": "gated-gelu",
        "dense_act_fn": "gelu_new", "is_gated_act": True, "pad_token_id": 0, "eos_token_id": 1,
        "tie_word_embeddings": False,
    }  # fmt: skip


def flux(head, heads, axes, double, single, channels, context, pooled, guidance):
    return {
        "_class_name": "FluxTransformer2DModel", "_diffusers_version": "0.30.0", "attention_head_dim": head,
        "axes_dims_rope": axes, "guidance_embeds": guidance, "in_channels": channels, "joint_attention_dim": context,
        "num_attention_heads": heads, "num_layers": double, "num_single_layers": single, "patch_size": 1,
        "pooled_projection_dim": pooled,
    }  # fmt: skip


def vae(widths, layers, groups, latent):
    return {
        "_class_name": "AutoencoderKL", "_diffusers_version": "0.30.0", "act_fn": "silu", "block_out_channels": widths,
        "down_block_types": ["DownEncoderBlock2D"] * len(widths), "up_block_types": ["UpDecoderBlock2D"] * len(widths),
        "force_upcast": True, "in_channels": 3, "out_channels": 3, "latent_channels": latent, "layers_per_block": layers,
        "mid_block_add_attention": True, "norm_num_groups": groups, "sample_size": 1024, "scaling_factor": 0.3611,
        "shift_factor": 0.1159, "use_post_quant_conv": False, "use_quant_conv": False,
    }  # fmt: skip


def scheduler(dynamic):
    return {
        "_class_name": "FlowMatchEulerDiscreteScheduler", "_diffusers_version": "0.30.0", "base_image_seq_len": 256,
        "base_shift": 0.5, "max_image_seq_len": 4096, "max_shift": 1.15, "num_train_timesteps": 1000,
        "shift": 3.0 if dynamic else 1.0, "use_dynamic_shifting": dynamic,
    }  # fmt: skip


def configurations(size, clip_vocabulary=1000, t5_vocabulary=1000):
    """{part: configuration}; the vocabularies are those of `tiny`, whose tokenizers decide."""
    if size == "tiny":
        return {
            "text_encoder": clip(32, 4, 2, 64, clip_vocabulary),
            "text_encoder_2": t5(48, 3, 16, 2, 96, t5_vocabulary),
            "transformer": flux(32, 2, [8, 12, 12], 2, 2, 16, 48, 32, False),
            "vae": vae([8, 16, 16, 24], 1, 4, 4),
        }
    guidance = size == "dev"
    return {
        "text_encoder": clip(768, 12, 12, 3072, 49408),
        "text_encoder_2": t5(4096, 64, 64, 24, 10240, 32128),
        "transformer": flux(128, 24, [16, 56, 56], 19, 38, 64, 4096, 768, guidance),
        "vae": vae([128, 256, 512, 512], 2, 32, 16),
    }


class Numbers:
    """Normally distributed numbers, in slices of one pool that is drawn once: full-size models in the time a copy takes."""

    SIZE = 4194301  # prime: no row of a matrix meets the same numbers again

    def __init__(self, seed, dtype):
        self.random = np.random.default_rng(seed)
        self.pool = self.random.standard_normal(self.SIZE, np.float32)
        self.dtype, self.scaled = dtype, {}

    def data(self, name, shape):
        """The bytes of a tensor."""
        count = int(np.prod(shape))
        if len(shape) == 1 and name.endswith("weight"):
            spread, middle = 0.1, 1.0  # of a norm
        elif len(shape) == 1:
            spread, middle = 0.1, 0.0
        elif "embedding" in name or name in ("shared.weight", "model.embed_tokens.weight"):
            spread, middle = 0.5, 0.0
        elif "relative_attention_bias" in name:
            spread, middle = 1.0, 0.0
        else:
            spread, middle = float(np.prod(shape[1:])) ** -0.5, 0.0
        key = (spread, middle)
        if key not in self.scaled:
            encoded = safetensors.encode(self.pool * np.float32(spread) + np.float32(middle), self.dtype)
            self.scaled[key] = np.frombuffer(encoded, safetensors.TYPES[self.dtype])
        pool = self.scaled[key]
        start = int(self.random.integers(self.SIZE))
        # Slices of the pool, round and round.
        first = pool[start : start + count]
        rest, chunks = count - len(first), [first]
        while rest > 0:
            chunks.append(pool[: min(rest, self.SIZE)])
            rest -= len(chunks[-1])
        return chunks


def write_model(folder, config, numbers, dtype, shard_bytes):
    """config.json and the weights, in as many files as needed; without `numbers` they are zeros that take no space."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    stem = "diffusion_pytorch_model" if "_class_name" in config else "model"
    width = np.dtype(safetensors.TYPES[dtype]).itemsize
    shards, total = [[]], 0
    for name, shape in sorted(classes.tensors(config).items()):
        length = int(np.prod(shape)) * width
        if shards[-1] and sum(entry[3] for entry in shards[-1]) + length > shard_bytes:
            shards.append([])
        shards[-1].append((name, dtype, shape, length))
        total += length
    weight_map = {}
    for i, entries in enumerate(shards):
        name = f"{stem}.safetensors" if len(shards) == 1 else f"{stem}-{i + 1:05}-of-{len(shards):05}.safetensors"
        with open(folder / name, "wb") as file:
            file.write(safetensors.header(entries, {"format": "pt"}))
            for entry in entries:
                for chunk in numbers.data(entry[0], entry[2]) if numbers else ():
                    file.write(chunk)
            if not numbers:
                file.truncate(file.tell() + sum(entry[3] for entry in entries))
        weight_map |= {entry[0]: name for entry in entries}
    if len(shards) > 1:
        index = {"metadata": {"total_size": total}, "weight_map": weight_map}
        (folder / f"{stem}.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")


def make(folder, size="tiny", dtype="F32", seed=0, only=(), shard_bytes=None, changes=None, hollow=False, **vocabularies):
    """Makes the folder; `changes`: {part: {key: value}} of the configurations."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(MODEL_INDEX, indent=2) + "\n")
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler(size == "dev"), indent=2) + "\n")
    shard_bytes = shard_bytes or (10**9 if size == "tiny" else 99 * 10**8)
    for i, (part, config) in enumerate(configurations(size, **vocabularies).items()):
        if only and part not in only:
            continue
        config = {**config, **(changes or {}).get(part, {})}
        numbers = None if hollow else Numbers(seed * 1000 + i, dtype)
        write_model(folder / part, config, numbers, dtype, shard_bytes)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--size", choices=("tiny", "schnell", "dev"), default="tiny")
    parser.add_argument("--dtype", choices=("F32", "BF16", "F16"), default="F32")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=(), help="parts to make")
    parser.add_argument("--hollow", action="store_true", help="zeros that take no space")
    args = parser.parse_args()
    make(args.folder, args.size, args.dtype, args.seed, args.only, hollow=args.hollow)


if __name__ == "__main__":
    main()
