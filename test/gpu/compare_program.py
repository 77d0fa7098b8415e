#!/usr/bin/env python3
"""A pipeline folder as one program against its models run one by one, on a GPU: pictures, time, memory.

compare_program.py FOLDER --program FILE.flame --parts DIR --libraries DIR [--size 1024] [--steps 4] [--tokens 256] [--batch 1]
                   [--rounds 5]

FOLDER is a whole pipeline folder (test/e2e/pipelines/whole.py makes one), FILE.flame what `flamec compile FOLDER --target=cuda`
made of it, --parts what `flamec generate FOLDER --compile-only --target=cuda --artifacts DIR` did. The program's time is that of a
run from tensors on the GPU to pixels on the GPU; that of the models is a whole `generate` without the texts, which it keeps.
Pictures are equal where all kernels are the same, which products are where they were tuned for the same sizes, as they are unless
`--typical` says otherwise. A picture fails below 60 dB where the folder's weights are float32, below 40 dB otherwise. Needs torch.
"""

from __future__ import annotations

import argparse
import pathlib
import statistics
import sys
import time

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "e2e"))
import flame_rt
from compare_pictures import psnr, stored_type
from flame_diffusion import CPU, Library
from flame_pipeline import Pipeline

PROMPTS = ["A red fox in the snow", "une étoile filante, très détaillée", "a lighthouse", "two ships at sea"]
TYPES = {"F32": ("f32", torch.float32), "BF16": ("bf16", torch.bfloat16), "F16": ("f16", torch.float16)}


def median(run, rounds):
    """Milliseconds, each round waited for."""
    times = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        start = time.perf_counter()
        run()
        torch.cuda.synchronize()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--program", required=True)
    parser.add_argument("--parts", required=True)
    parser.add_argument("--libraries", type=pathlib.Path, required=True)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--guidance", type=float, help="of a folder with guidance")
    args = parser.parse_args()

    library = Library(args.libraries / "libflame_diffusion.so")
    runtime = args.libraries / "libflame_rt.so"
    clip, t5 = (library.tokenizer(args.folder / name) for name in ("tokenizer", "tokenizer_2"))
    name, dtype = TYPES[stored_type(args.folder)]
    prompts, seeds = (PROMPTS * args.batch)[: args.batch], list(range(7, 7 + args.batch))
    _, sigmas = library.scheduler(args.folder / "scheduler/scheduler_config.json").prepare(args.steps, (args.size // 16) ** 2)
    channels, side = 16 if args.folder.joinpath("vae/config.json").read_text().count('"latent_channels": 16') else 4, args.size // 8
    noise = [library.generator(CPU, seed).normal(name, channels * side * side) for seed in seeds]
    noise = torch.from_numpy(np.stack(noise).astype(np.float32)).to(dtype).reshape(args.batch, channels, side, side)
    ids = [torch.tensor([tokenizer.encode(p, length)[0] for p in prompts], dtype=torch.int64) for tokenizer, length in
           ((clip, 0), (t5, args.tokens))]  # fmt: skip
    inputs = [*ids, noise, torch.from_numpy(sigmas)]
    if args.guidance is not None:
        inputs.append(torch.full((args.batch,), args.guidance))
    inputs = [tensor.cuda().contiguous() for tensor in inputs]

    start = time.perf_counter()
    session = flame_rt.Module(runtime, args.program, weights=args.folder).session()
    loaded = time.perf_counter() - start
    session.device_outputs()
    result = []

    def run():
        result[:] = session.run(inputs)

    first = median(run, 1)
    own = median(run, args.rounds)
    pixels, bad = (value.numpy() for value in result)
    memory = flame_rt.device_memory(runtime)
    print(f"program: {own:.1f} ms (first run {first:.0f} ms, loaded in {loaded:.1f} s), peak {memory.peak / 1e9:.2f} GB")
    result.clear()
    del session
    flame_rt.trim(runtime)

    pipeline = Pipeline(library, args.folder, args.parts)
    options = {"steps": args.steps, "width": args.size, "height": args.size, "text_tokens": args.tokens}
    if args.guidance is not None:
        options["guidance"] = args.guidance
    pictures = []

    def generate():
        # One by one: the program's pictures have a seed each, too.
        pictures[:] = [image for prompt, seed in zip(prompts, seeds) for image in pipeline.generate([prompt], seed=seed, **options)]

    generate()
    texts = pipeline.statistics().seconds[0]
    other = median(generate, args.rounds)
    statistic = pipeline.statistics()
    print(f"models:  {other:.1f} ms with known texts; of the last picture denoising {1e3 * statistic.seconds[1]:.1f} ms, decoding "
          f"{1e3 * statistic.seconds[2]:.1f} ms; its texts took {1e3 * texts:.1f} ms at first; peak {statistic.peak_bytes / 1e9:.2f} GB")  # fmt: skip
    failed = bad.any()
    for i, image in enumerate(pictures):
        other = image.pixels()
        difference, ratio = np.abs(pixels[i].astype(int) - other), psnr(pixels[i], other)
        failed |= ratio < (60 if dtype == torch.float32 else 40) or other.std() < 1
        print(f"picture {i}: {ratio:.1f} dB, {(difference > 0).mean():.2%} of the numbers differ, by {difference.max()} at most")
    print("0 passed, 1 failed, 0 skipped" if failed else "1 passed, 0 failed, 0 skipped")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
