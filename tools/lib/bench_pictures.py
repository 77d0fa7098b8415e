#!/usr/bin/env python3
"""Times of whole pictures on a GPU: from a prompt to the bytes of a PNG file, cold and warm, by stages.

bench_pictures.py FOLDER --flamec build/gpu/flamec --library build/gpu/libflame_diffusion.so
                  [--size 1024] [--steps 4] [--repeats 5] [--dtype bf16] [--diffusers]

FOLDER is a whole pipeline folder (test/e2e/pipelines/whole.py makes one, of the true sizes, too). Models are compiled first
unless an earlier call has done so. `cold` is a new process with compiled models; what the page cache holds of the weights is
what writing or reading them before has left. `warm` runs are one process's, with a new prompt each: no text is known. With
--diffusers the same goes through diffusers' FluxPipeline, eager, without its safety checks or progress bars.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import os
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "test/e2e"))
from flame_diffusion import Library
from flame_pipeline import Pipeline

STAGES = ("texts", "denoising", "decoding")


def show(what, seconds, detail=""):
    print(f"{what:<28}{seconds:9.3f} s  {detail}", flush=True)


def flamec(args, *more):
    command = [args.flamec, "generate", args.folder, "--target=cuda", "--dtype", args.dtype, *more]
    begin = time.perf_counter()
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"})
    if done.returncode:
        sys.exit(f"{done.stderr[-3000:]}\nflamec ended with {done.returncode}")
    return time.perf_counter() - begin, done


def warm(args, artifacts):
    for runtime in pathlib.Path(args.library).parent.glob("libflame_rt.so*"):
        ctypes.CDLL(str(runtime), mode=ctypes.RTLD_GLOBAL)
    pipeline = Pipeline(Library(pathlib.Path(args.library)), args.folder, artifacts)
    values = {"steps": args.steps, "width": args.size, "height": args.size}
    plan = pipeline.plan(["x"], **values)
    print("planned: peak %.2f GB; weights and runs of each part: %s GB" % (
        plan.peak_bytes / 1e9,
        ", ".join(f"{w / 1e9:.2f} + {r / 1e9:.2f}" for w, r in zip(plan.weight_bytes, plan.run_bytes))), flush=True)  # fmt: skip
    totals, stages = [], []
    for i in range(args.repeats + 2):
        begin = time.perf_counter()
        [image] = pipeline.generate([f"a red fox in the snow, number {i}"], seed=i, **values)
        made = time.perf_counter()
        data = image.png()
        end = time.perf_counter()
        numbers = pipeline.statistics()
        row = [*numbers.seconds, end - made]
        if i == 0:
            show("first in a process", end - begin, f"of which {numbers.loading_seconds:.2f} s bring weights to the GPU")
        if i > 1:  # the second one records CUDA graphs
            totals.append(end - begin)
            stages.append(row)
    show("warm, median", statistics.median(totals), f"{len(data) / 1e6:.2f} MB of PNG; {min(totals):.3f} to {max(totals):.3f} s")
    for name, column in zip((*STAGES, "PNG"), zip(*stages)):
        show(f"  {name}", statistics.median(column))
    print(f"peak {numbers.peak_bytes / 1e9:.2f} GB, weights included", flush=True)


def eager(args):
    import diffusers
    import torch

    dtype = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}[args.dtype]
    begin = time.perf_counter()
    pipeline = diffusers.FluxPipeline.from_pretrained(str(args.folder), torch_dtype=dtype, local_files_only=True).to("cuda")
    pipeline.set_progress_bar_config(disable=True)
    show("diffusers, loading", time.perf_counter() - begin)
    times = []
    for i in range(args.repeats + 1):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        image = pipeline(prompt=f"a red fox in the snow, number {i}", num_inference_steps=args.steps, height=args.size,
                         width=args.size, max_sequence_length=256, generator=torch.Generator().manual_seed(i)).images[0]  # fmt: skip
        image.save(io.BytesIO(), format="png")
        times.append(time.perf_counter() - begin)
    show("diffusers, eager, warm", statistics.median(times[1:]), f"peak {torch.cuda.max_memory_allocated() / 1e9:.2f} GB")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--flamec", required=True)
    parser.add_argument("--library", required=True)
    parser.add_argument("--size", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--dtype", choices=("bf16", "f16", "f32"), default="bf16")
    parser.add_argument("--diffusers", action="store_true")
    args = parser.parse_args()
    seconds, done = flamec(args, "--compile-only")
    show("compiling", seconds, "; ".join(line.strip() for line in done.stderr.splitlines() if "compiled" in line))
    artifacts = done.stdout.strip()
    picture = pathlib.Path(artifacts).parent / "cold.png"
    seconds, done = flamec(args, "--prompt", "a red fox in the snow", "--size", str(args.size), "--steps", str(args.steps), "-o", picture)
    show("cold, a process of its own", seconds, f"{picture.stat().st_size / 1e6:.2f} MB of PNG")
    print("".join(f"    {line}\n" for line in done.stderr.splitlines()), end="", flush=True)
    warm(args, artifacts)
    if args.diffusers:
        eager(args)


if __name__ == "__main__":
    main()
