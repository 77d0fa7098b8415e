#!/usr/bin/env python3
"""Writes what PyTorch's generators draw, the reference of test/e2e/test_diffusion.py (data/torch_random.json); needs torch.

    make_torch_random.py [--device cpu] [--device cuda] torch_random.json

A case is a generator, seeded once, and a sequence of torch.randn calls on it. Of each call the file keeps the SHA-256 of
all its bytes (little endian), and the bits of its first and last values in hexadecimal.
"""

from __future__ import annotations

import argparse
import hashlib
import json

import torch

TYPES = {"f32": torch.float32, "f64": torch.float64, "f16": torch.float16, "bf16": torch.bfloat16}
SHOWN = 24

# (seed, type, element counts of the calls). Below 16 elements the CPU generator takes another way, and keeps the second
# normal number of a pair for the next call; counts that are no multiple of 16 end with 16 values drawn anew.
CPU = [(seed, kind, counts)
       for kind in TYPES
       for seed, counts in [(0, [5]), (42, [16]), (1234567890123, [3, 1, 16, 2, 17, 1, 31, 40]), (2**32 - 1, [4096])]]  # fmt: skip
CPU += [(0, "f32", [15, 15]), (7, "f32", [1000003]), (7, "bf16", [1 * 16 * 64 * 64]), (2**63 + 11, "f32", [64, 7, 64])]
# One element a thread up to 132 * 2048 threads of an H100 or H200, then up to four, then more rounds.
CUDA = [(seed, kind, counts)
        for kind in TYPES
        for seed, counts in [(0, [5]), (42, [16, 257, 3]), (1234567890123, [4096, 4096])]]  # fmt: skip
CUDA += [
    (7, "f32", [270336, 10]),
    (7, "f32", [270337, 10]),
    (8, "f32", [132 * 2048 * 3 + 5, 10]),
    (8, "bf16", [132 * 2048 * 4, 10]),
    (9, "f32", [132 * 2048 * 4 + 1, 10]),
    (9, "f64", [132 * 2048 * 2 + 1, 10]),
    (10, "bf16", [1 * 16 * 128 * 128, 1 * 16 * 128 * 128]),
    (2**63 + 11, "f32", [64]),
]


def bits(tensor):
    width = tensor.element_size()
    data = tensor.contiguous().cpu().view(torch.uint8).numpy().tobytes()
    return [data[i : i + width][::-1].hex() for i in range(0, len(data), width)], hashlib.sha256(data).hexdigest()


def case(device, seed, kind, counts):
    generator = torch.Generator(device).manual_seed(seed if seed < 2**63 else seed - 2**64)
    calls = []
    for count in counts:
        values, digest = bits(torch.randn(count, generator=generator, device=device, dtype=TYPES[kind]))
        calls.append({"count": count, "sha256": digest, "first": " ".join(values[:SHOWN]), "last": " ".join(values[-8:])})
    return {"device": device, "seed": seed, "type": kind, "calls": calls}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", action="append", choices=["cpu", "cuda"], help="default: both")
    parser.add_argument("output", type=argparse.FileType("w"))
    args = parser.parse_args()
    report = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability(), "cases": []}
    for device, cases in (("cpu", CPU), ("cuda", CUDA)):
        if device not in (args.device or ["cpu", "cuda"]):
            continue
        if device == "cuda":
            properties = torch.cuda.get_device_properties(0)
            report["gpu"] = {"name": properties.name, "multiprocessors": properties.multi_processor_count,
                             "threads": properties.max_threads_per_multi_processor}  # fmt: skip
        report["cases"] += [case(device, *c) for c in cases]
    # A case a line, so that the file can be read.
    lines = [json.dumps(c) for c in report.pop("cases")]
    args.output.write(json.dumps(report)[:-1] + ', "cases": [\n' + ",\n".join(lines) + "\n]}\n")


if __name__ == "__main__":
    main()
