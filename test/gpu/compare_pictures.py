#!/usr/bin/env python3
"""Pictures of `flamec generate` on a GPU against those of diffusers' FluxPipeline there, and against flamec's on the CPU.

compare_pictures.py FOLDER --flamec build/gpu/flamec [--size 128] [--steps 4] [--prompt TEXT…] [--no-cpu] [--no-diffusers] [--exact]

FOLDER is a whole pipeline folder (test/e2e/pipelines/whole.py makes one). The same prompts and seeds go through both, with
noise of the CPU's and of the GPU's generator. A picture fails below 60 dB where the folder's weights are float32, below
40 dB otherwise (peak signal-to-noise ratio of the pixels). With --exact the ratios of both against diffusers in float32, from the same
noise, are printed, too: how far apart two pictures may be that are equally far from that one. The last line is `N passed, N failed, N skipped`.
"""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import PIL.Image

PROMPTS = ["A red fox in the snow", "une étoile filante, très détaillée"]


def psnr(a, b):
    error = ((a.astype(np.float64) - b) ** 2).mean()
    return np.inf if error == 0 else 10 * np.log10(255**2 / error)


def stored_type(folder):
    """Element type of the transformer's first tensor, as safetensors names it."""
    path = sorted((folder / "transformer").glob("*.safetensors"))[0]
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    return next(entry["dtype"] for name, entry in header.items() if name != "__metadata__")


def pictures_of_flamec(args, target, generator):
    with tempfile.TemporaryDirectory() as scratch:
        command = [args.flamec, "generate", args.folder, "--target", target, "--seed", "7", "--size", str(args.size),
                   "--steps", str(args.steps), "--text-tokens", str(args.tokens), "--generator", generator,
                   "-o", f"{scratch}/p.png", *(x for p in args.prompt for x in ("--prompt", p))]  # fmt: skip
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=args.timeout,
                              env={**os.environ, "NO_COLOR": "1"})  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"flamec ended with {done.returncode}: {done.stderr[-1500:]}")
        if args.verbose:
            print(done.stderr, flush=True)
        return [np.array(PIL.Image.open(line)) for line in done.stdout.splitlines()]


def load_again(model, folder):
    """Newer versions of transformers name the text encoder's modules without the prefix that files have, and then take random
    numbers for what they miss."""
    from safetensors.torch import load_file

    known = model.state_dict()
    tensors = {key: value for path in folder.glob("*.safetensors") for key, value in load_file(str(path)).items()}
    tensors = {key if key in known else key.removeprefix("text_model."): value for key, value in tensors.items()}
    missing, extra = model.load_state_dict(tensors, strict=False)
    missing = [key for key in missing if key not in ("encoder.embed_tokens.weight", "shared.weight") and "position_ids" not in key]
    if missing or extra:
        raise RuntimeError(f"{folder}: missing {missing[:5]}, superfluous {extra[:5]}")


def load_diffusers(folder, dtype):
    import diffusers
    import torch

    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    pipeline = diffusers.FluxPipeline.from_pretrained(str(folder), torch_dtype=getattr(torch, dtype), local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    for part in ("text_encoder", "text_encoder_2"):
        load_again(getattr(pipeline, part), folder / part)
    return pipeline.to("cuda")


def noise_of(args, pipeline, generator):
    import torch

    dtype, channels = pipeline.transformer.dtype, pipeline.transformer.config.in_channels // 4
    return pipeline.prepare_latents(1, channels, args.size, args.size, dtype, "cuda", torch.Generator(generator).manual_seed(7))[0]


def pictures_of_diffusers(args, pipeline, noise):
    """Of all prompts, each from the same noise."""
    out = []
    for prompt in args.prompt:
        image = pipeline(prompt=prompt, num_inference_steps=args.steps, height=args.size, width=args.size,
                         max_sequence_length=args.tokens, guidance_scale=3.5, output_type="pil",
                         latents=noise.to(pipeline.transformer.dtype)).images[0]  # fmt: skip
        out.append(np.array(image))
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--flamec", required=True)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--prompt", nargs="+", default=PROMPTS)
    parser.add_argument("--timeout", type=int, default=300)
    parser.add_argument("--no-cpu", action="store_true")
    parser.add_argument("--no-diffusers", action="store_true")
    parser.add_argument("--exact", action="store_true", help="diffusers in float32, too")
    parser.add_argument("--verbose", action="store_true", help="what flamec says")
    args = parser.parse_args()
    if args.exact and args.no_diffusers:
        parser.error("--exact needs diffusers")
    stored = stored_type(args.folder)
    least = 60 if stored == "F32" else 40
    counts = {"passed": 0, "failed": 0, "skipped": 0}

    def compare(what, ours, theirs):
        for i, (a, b) in enumerate(zip(ours, theirs)):
            ratio, worst = psnr(a, b), int(np.abs(a.astype(int) - b).max())
            good = a.shape == b.shape and ratio >= least and b.std() > 5
            counts["passed" if good else "failed"] += 1
            print(f"{'ok  ' if good else 'FAIL'} {what}, picture {i}: {ratio:.1f} dB (at least {least}), "
                  f"largest difference {worst}, deviation of its pixels {b.std():.0f}", flush=True)  # fmt: skip

    pipeline = None
    if not args.no_diffusers:
        pipeline = load_diffusers(args.folder, {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}[stored])
    made = []
    for generator in ("cpu", "cuda"):
        ours = pictures_of_flamec(args, "cuda", generator)
        if pipeline:
            noise = noise_of(args, pipeline, generator)
            theirs = pictures_of_diffusers(args, pipeline, noise)
            compare(f"{stored}, {generator} noise, diffusers", ours, theirs)
            made.append((generator, noise, ours, theirs))
        if generator == "cpu" and not args.no_cpu:
            compare(f"{stored}, {generator} noise, flamec on the CPU", ours, pictures_of_flamec(args, "cpu", generator))
    if args.exact:
        import torch

        pipeline.to(dtype=torch.float32)
        for generator, noise, ours, theirs in made:
            for i, exact in enumerate(pictures_of_diffusers(args, pipeline, noise)):
                print(f"     {generator} noise, picture {i}, against float32: flamec {psnr(ours[i], exact):.1f} dB, "
                      f"diffusers {psnr(theirs[i], exact):.1f} dB", flush=True)  # fmt: skip
    print(", ".join(f"{n} {what}" for what, n in counts.items()))
    return counts["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
