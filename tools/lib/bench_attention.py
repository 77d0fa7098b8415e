#!/usr/bin/env python3
"""Attention against PyTorch's scaled_dot_product_attention on the same GPU, in one process, on the same tensors.

    bench_attention.py make --flamec FLAMEC [--gpu sm_90a] [--filter REGEX] FOLDER       needs onnx; no GPU
    bench_attention.py run --library libflame_rt.so [--rounds N] [--format table|md|json] FOLDER     needs PyTorch and a GPU

Each case is checked against float64 first, on its last heads. Then flame, FlashAttention-2 and cuDNN (PyTorch's backends) are timed
in alternating rounds, as bench_rows.py does; the last columns are the rivals' times over flame's: above 1 flame is faster.
The status is 1 if a result is wrong.
"""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys

from bench_gpu import command_line, print_head, print_table, sustained

# batch, heads, tokens, size of a head, causal
CASES = [
    (1, 24, 4608, 128, False), (1, 24, 1536, 128, False), (2, 10, 4096, 64, False), (2, 20, 1024, 64, False),
    (4, 32, 4096, 128, True), (1, 16, 16384, 128, False), (1, 16, 16384, 128, True), (1, 12, 128, 64, False),
    (8, 12, 128, 64, False), (1, 12, 512, 64, False), (1, 16, 4096, 80, False), (1, 16, 4096, 256, False),
    (4, 32, 4096, 64, True), (1, 16, 4096, 96, False), (1, 8, 4096, 40, False), (1, 16, 200, 64, False),
]  # fmt: skip


def make(args):
    import onnx
    from onnx import TensorProto as T
    from onnx import helper as h

    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for b, n, s, d, causal in CASES:
        name = f"{b}x{n}x{s}x{d}{' causal' if causal else ''}"
        if args.filter and not re.search(args.filter, name):
            continue
        node = h.make_node("Attention", ["q", "k", "v"], ["y"], is_causal=int(causal))
        values = [h.make_tensor_value_info(x, T.BFLOAT16, [b, n, s, d]) for x in "qkvy"]
        model = h.make_model(h.make_graph([node], "attention", values[:3], values[3:]),
                             opset_imports=[h.make_opsetid("", 23)], ir_version=11)  # fmt: skip
        stem = name.replace(" ", "_")
        onnx.save(model, folder / f"{stem}.onnx")
        subprocess.run([args.flamec, "compile", folder / f"{stem}.onnx", "-o", folder / f"{stem}.flame", "--target=cuda",
                        f"--gpu={args.gpu}", "-q", *args.option], check=True)  # fmt: skip
        (folder / f"{stem}.onnx").unlink()
        made.append({"name": name, "shape": [b, n, s, d], "causal": causal, "file": f"{stem}.flame"})
    (folder / "attention.json").write_text(json.dumps(made))
    print(f"{len(made)} cases in {folder}")


def error(got, q, k, v, causal):
    """What differs from float64, or None; of the last two heads, a part of the rows at a time."""
    import torch

    q, k, v = (t[-1:, -2:].double() for t in (q, k, v))
    scale = torch.tensor(q.shape[-1] ** -0.5).bfloat16().double().item()  # the operator's, in the type of its inputs
    tokens, worst = q.shape[2], 0.0
    for first in range(0, tokens, 1024):
        scores = q[:, :, first : first + 1024] @ k.transpose(-1, -2) * scale
        if causal:
            rows = torch.arange(first, first + scores.shape[2], device=q.device)[:, None]
            scores = scores.masked_fill(torch.arange(tokens, device=q.device)[None] > rows, float("-inf"))
        want = torch.softmax(scores, -1) @ v
        part = got[-1:, -2:, first : first + 1024].double()
        worst = max(worst, ((part - want).norm() / want.norm()).item())
    return None if worst < 6e-3 and torch.isfinite(got.float()).all() else f"differs by {worst:.2e}, relative in the norm"


def run(args):
    import torch
    import torch.nn.functional as F
    from torch.nn.attention import SDPBackend, sdpa_kernel

    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "test" / "gpu"))
    import flame_rt

    folder = pathlib.Path(args.folder)
    torch.manual_seed(1)

    def rival(backend, q, k, v, causal):
        def call():
            with sdpa_kernel(backend):
                return F.scaled_dot_product_attention(q, k, v, is_causal=causal)

        return call

    rows = []
    for case in json.loads((folder / "attention.json").read_text()):
        if args.filter and not re.search(args.filter, case["name"]):
            continue
        q, k, v = (torch.randn(case["shape"], device="cuda").bfloat16() for _ in range(3))
        out = torch.full_like(q, float("nan"))
        row = {"name": case["name"]}
        rows.append(row)
        try:
            session = flame_rt.Module(args.library, folder / case["file"]).session()
            session.on_stream(torch.cuda.current_stream().cuda_stream)
            call = session.bind([q, k, v], [out])
            call()
            torch.cuda.synchronize()
            row["error"] = error(out, q, k, v, case["causal"])
        except flame_rt.FlameError as failure:
            row["error"] = str(failure)
        if row["error"]:
            print(f"{case['name']}: {row['error']}", file=sys.stderr, flush=True)
            continue
        functions = {"flame": call}
        for name, backend in (("flash", SDPBackend.FLASH_ATTENTION), ("cudnn", SDPBackend.CUDNN_ATTENTION)):
            try:
                function = rival(backend, q, k, v, case["causal"])
                function()
                functions[name] = function
            except RuntimeError:
                pass  # the backend doesn't do this shape
        row["us"] = sustained(functions, args.rounds, args.milliseconds)
        b, n, s, d = case["shape"]
        row["TFLOP/s"] = 4 * b * n * s * s * d / (2 if case["causal"] else 1) / row["us"]["flame"] / 1e6
    report(rows, args.format)
    return 1 if any(row["error"] for row in rows) or not rows else 0


def report(rows, style):
    if style == "json":
        print(json.dumps(rows, indent=1))
        return
    head = ["B x H x S x D", "flame µs", "TFLOP/s", "flash ÷ flame", "cuDNN ÷ flame"]
    lines = []
    for r in rows:
        if r["error"]:
            lines.append([r["name"], "failed", "", "", ""])
            continue
        ratios = [f"{r['us'][n] / r['us']['flame']:.2f}" if n in r["us"] else "" for n in ("flash", "cudnn")]
        lines.append([r["name"], f"{r['us']['flame']:.1f}", f"{r['TFLOP/s']:.0f}", *ratios])
    if style == "md":
        print_head("Attention", "attention", "bf16; flame, FlashAttention-2 and "
              "cuDNN by\nscaled_dot_product_attention, on the same tensors in alternating rounds of one process, results checked "
              "first. In the last\ncolumns above 1 means that flame is faster. Short ones are bound by PyTorch's calls.")  # fmt: skip
    print_table(head, lines, markdown=style == "md")


if __name__ == "__main__":
    sys.exit(command_line(__doc__, make, run, compiles=False))
