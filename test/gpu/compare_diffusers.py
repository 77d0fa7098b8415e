#!/usr/bin/env python3
"""A pipeline's models and schedule against the classes of diffusers and transformers, on a GPU.

compare_diffusers.py FOLDER ARTIFACTS --lib libflame_rt.so [--part PART…] [--image 1024] [--tokens 256] [--batch 1]
                     [--diffusion libflame_diffusion.so]

FOLDER is a pipeline folder (test/e2e/pipelines/make_pipeline.py makes one), ARTIFACTS has `PART.flame` of `flamec compile
FOLDER/PART --target=cuda`. Each part runs on the same seeded inputs in PyTorch in a wider type (the reference), in PyTorch in
the folder's type, and in flame. A part fails where flame's error, as the root mean square, is over 1.1 times PyTorch's; in
float32 where it is over 1e-5 of the greatest magnitude. With --diffusion the steps of the folder's FlowMatch schedule are
compared with those of diffusers on the GPU, bit for bit. The last line is `N passed, N failed, N skipped`.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import diffusers_parts as parts
import flame_rt


def compare(part, args):
    """Prints the part's rows; True if it passed."""
    folder = args.folder / part
    try:
        model = parts.load(part, folder)
        dtype = next(model.parameters()).dtype
        inputs = parts.inputs_of(part, json.loads((folder / "config.json").read_text()), dtype, args.image, args.tokens, args.batch)
        theirs, exact = parts.run(part, model, inputs, dtype), parts.reference(part, model, inputs)
        del model
        torch.cuda.empty_cache()
        session = flame_rt.Module(args.lib, args.artifacts / f"{part}.flame", weights=folder).session()
        session.device_outputs()
        ours = [x.torch().clone() for x in session.run(list(inputs.values()))]
    except (ImportError, AttributeError, RuntimeError) as error:
        print(f"FAIL {part}: {error}", flush=True)
        return False
    passed = len(ours) == len(theirs)
    for i, results in enumerate(zip(ours, theirs, exact)):
        outcome = parts.outcome(*results)
        print(f"{'ok  ' if outcome['good'] else 'FAIL'} {part} output {i}: {outcome['text']}", flush=True)
        passed &= outcome["good"]
    return passed


def compare_schedule(args):
    """Steps of FlowMatchEulerDiscreteScheduler, whose sigmas are on the GPU, as its pipelines have them; True if all are equal."""
    import diffusers

    parts.pipelines()  # its folder has the library's interface, too
    from flame_diffusion import TYPES, Library

    file = args.folder / "scheduler" / "scheduler_config.json"
    config, passed = json.loads(file.read_text()), True
    ours = Library(args.diffusion).scheduler(file)
    for steps in (1, 4, 28):
        theirs = diffusers.FlowMatchEulerDiscreteScheduler.from_config(config)
        start, tokens = np.linspace(1, 1 / steps, steps), 4096
        # The pipeline's shift, of 4096 tokens.
        fixed = [config[key] for key in ("base_image_seq_len", "max_image_seq_len", "base_shift", "max_shift")]
        slope = (fixed[3] - fixed[2]) / (fixed[1] - fixed[0])
        shift = {"mu": tokens * slope + fixed[2] - slope * fixed[0]} if config["use_dynamic_shifting"] else {}
        theirs.set_timesteps(sigmas=start, device="cuda", **shift)
        timesteps, sigmas = ours.prepare(steps, tokens)
        same = np.array_equal(theirs.timesteps.cpu().numpy(), timesteps) and np.array_equal(theirs.sigmas.cpu().numpy(), sigmas)
        report = [f"sigmas and timesteps {'equal' if same else 'DIFFER'}"]
        for name, dtype in (("f32", torch.float32), ("bf16", torch.bfloat16), ("f16", torch.float16)):
            generator = torch.Generator("cuda").manual_seed(steps)
            sample = torch.randn(1 << 16, generator=generator, device="cuda").to(dtype)
            theirs._step_index, different = None, 0
            for i, t in enumerate(theirs.timesteps):
                prediction = torch.randn(sample.shape, generator=generator, device="cuda").to(dtype)
                host = [x.cpu().view(torch.int16 if dtype.itemsize == 2 else torch.int32).numpy().view(TYPES[name][1])
                        for x in (prediction, sample)]  # fmt: skip
                sample = theirs.step(prediction, t, sample, return_dict=False)[0]
                got = torch.from_numpy(ours.step(i, name, *host).astype(np.float32)).cuda()
                different += int((got != sample.float()).sum())
            report.append(f"{name} steps differ in {different} of {steps << 16} numbers")
            same &= different == 0
        print(f"{'ok  ' if same else 'FAIL'} schedule of {steps} steps: {', '.join(report)}", flush=True)
        passed &= same
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("artifacts", type=pathlib.Path)
    parser.add_argument("--lib", required=True)
    parser.add_argument("--diffusion", type=pathlib.Path, help="libflame_diffusion.so, to compare the schedule")
    parser.add_argument("--part", nargs="*", choices=parts.PARTS, default=parts.PARTS)
    parser.add_argument("--image", type=int, default=1024, help="side of the picture in pixels")
    parser.add_argument("--tokens", type=int, default=256, help="of the text")
    parser.add_argument("--batch", type=int, default=1, help="more give a small model's errors enough numbers to compare")
    args = parser.parse_args()
    # PyTorch's float32 is a reference: without TF32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    if args.diffusion:
        counts["passed" if compare_schedule(args) else "failed"] += 1
    for part in args.part:
        if not (args.artifacts / f"{part}.flame").exists():
            print(f"skip {part}: no artifact")
            counts["skipped"] += 1
            continue
        counts["passed" if compare(part, args) else "failed"] += 1
    print(", ".join(f"{n} {what}" for what, n in counts.items()))
    return counts["failed"] > 0


if __name__ == "__main__":
    sys.exit(main())
