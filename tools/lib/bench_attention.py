#!/usr/bin/env python3
"""Attention against PyTorch's scaled_dot_product_attention on the same GPU, in one process, on the same tensors.

    bench_attention.py make --flamec FLAMEC [--gpu sm_90a] [--filter REGEX] FOLDER       needs onnx; no GPU
    bench_attention.py run --library libflame_rt.so [--rounds N] [--format table|md|json] FOLDER     needs PyTorch and a GPU

Each case is checked against float64 first, on its last heads. Then flame, FlashAttention-2 and cuDNN (PyTorch's backends) are timed
in alternating rounds, as bench_rows.py does; the last columns are the rivals' times over flame's: above 1 flame is faster.
The status is 1 if a result is wrong.

Cases of fp8 have queries, keys and values in E4M3, weights that the model rounds to it, and results in bf16. That flame makes numbers of 16 bits of
the values is part of its time. PyTorch has no such attention: rivals, and flame itself, have the same numbers in bf16.
"""

from __future__ import annotations

import json
import pathlib
import re
import subprocess
import sys

from bench_gpu import command_line, print_head, print_table, sustained

# batch, heads, tokens, size of a head, causal; those of fp8 are among the others, too
CASES = [
    (1, 24, 4608, 128, False), (1, 24, 1536, 128, False), (2, 10, 4096, 64, False), (2, 20, 1024, 64, False),
    (4, 32, 4096, 128, True), (1, 16, 16384, 128, False), (1, 16, 16384, 128, True), (1, 12, 128, 64, False),
    (8, 12, 128, 64, False), (1, 12, 512, 64, False), (1, 16, 4096, 80, False), (1, 16, 4096, 256, False),
    (4, 32, 4096, 64, True), (1, 16, 4096, 96, False), (1, 8, 4096, 40, False), (1, 16, 200, 64, False),
]  # fmt: skip
FP8_CASES = [
    (1, 24, 4608, 128, False), (1, 24, 1536, 128, False), (2, 10, 4096, 64, False), (4, 32, 4096, 128, True),
    (1, 16, 16384, 128, False), (1, 16, 16384, 128, True), (1, 16, 4096, 256, False), (4, 32, 4096, 64, True),
]  # fmt: skip
LARGEST_ERROR = 6e-3  # in the norm, where 1 is all of the result; of both, as flame does not round weights to 8 bits


def make(args):
    import onnx
    from onnx import TensorProto as T
    from onnx import helper as h

    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    names = {case: f"{'x'.join(map(str, case[:4]))}{' causal' if case[4] else ''}" for case in CASES}
    wanted = [(case, "bf16", name) for case, name in names.items()] + [(case, "fp8", f"{names[case]} fp8") for case in FP8_CASES]
    wanted = [w for w in wanted if not args.filter or re.search(args.filter, w[2])]
    # What an attention of fp8 is compared with.
    compared = [(case, "bf16", names[case]) for case, kind, _ in wanted if kind == "fp8"]
    for (b, n, s, d, causal), kind, name in [*wanted, *(c for c in compared if c not in wanted)]:
        shape = [b, n, s, d]
        given = [h.make_tensor_value_info(x, T.FLOAT8E4M3FN if kind == "fp8" else T.BFLOAT16, shape) for x in "qkv"]
        result = [h.make_tensor_value_info("y", T.BFLOAT16, shape)]
        nodes, constants = fp8_nodes(h, T, s, d, causal) if kind == "fp8" else ([h.make_node("Attention", ["q", "k", "v"], ["y"], is_causal=int(causal))], [])
        model = h.make_model(h.make_graph(nodes, "attention", given, result, constants), opset_imports=[h.make_opsetid("", 23)],
                             ir_version=11)  # fmt: skip
        stem = name.replace(" ", "_")
        onnx.save(model, folder / f"{stem}.onnx")
        subprocess.run([args.flamec, "compile", folder / f"{stem}.onnx", "-o", folder / f"{stem}.flame", "--target=cuda",
                        f"--gpu={args.gpu}", "-q", *args.option], check=True)  # fmt: skip
        (folder / f"{stem}.onnx").unlink()
        made.append({"name": name, "shape": shape, "causal": causal, "file": f"{stem}.flame", "kind": kind,
                     "bf16": f"{names[b, n, s, d, causal].replace(' ', '_')}.flame", "timed": (tuple([*shape, causal]), kind, name) in wanted})  # fmt: skip
    (folder / "attention.json").write_text(json.dumps(made))
    print(f"{len(made)} cases in {folder}")


def fp8_nodes(h, T, tokens, head, causal):
    """Nodes and constants of softmax(q k^T / √head) v, weights rounded to E4M3 as exporters of quantised models spell it."""
    import numpy as np

    constants = [h.make_tensor(name, T.FLOAT, [], [value]) for name, value in (("one", 1.0), ("root", head**-0.5), ("step", 2.0**-8))]
    constants.append(h.make_tensor("zero", T.FLOAT8E4M3FN, [], b"\0", raw=True))
    nodes = [h.make_node("DequantizeLinear", [x, "one"], [f"{x}_wide"]) for x in "qkv"]
    nodes += [h.make_node("Transpose", ["k_wide"], ["k_turned"], perm=[0, 1, 3, 2]), h.make_node("MatMul", ["q_wide", "k_turned"], ["products"]),
              h.make_node("Mul", ["products", "root"], ["scores"])]  # fmt: skip
    if causal:
        sizes = {"size": tokens, "first": 0, "by": 1}
        constants += [h.make_tensor(name, T.INT64, [], [value]) for name, value in sizes.items()]
        constants += [h.make_tensor("axis", T.INT64, [1], [1]), h.make_tensor("hidden", T.FLOAT, [], [-np.inf])]
        nodes += [h.make_node("Range", ["first", "size", "by"], ["keys"]), h.make_node("Unsqueeze", ["keys", "axis"], ["queries"]),
                  h.make_node("LessOrEqual", ["keys", "queries"], ["seen"]), h.make_node("Where", ["seen", "scores", "hidden"], ["masked"])]  # fmt: skip
    return nodes + [
        h.make_node("Softmax", ["masked" if causal else "scores"], ["weights"], axis=-1),
        h.make_node("QuantizeLinear", ["weights", "step", "zero"], ["rounded"]), h.make_node("DequantizeLinear", ["rounded", "step"], ["weights_wide"]),
        h.make_node("MatMul", ["weights_wide", "v_wide"], ["y_wide"]), h.make_node("Cast", ["y_wide"], ["y"], to=T.BFLOAT16),
    ], constants  # fmt: skip


def error(got, q, k, v, causal, fp8):
    """Relative in the norm, against float64; of the last two heads, a part of the rows at a time."""
    import torch

    q, k, v = (t[-1:, -2:].float().double() for t in (q, k, v))
    scale = torch.tensor(q.shape[-1] ** -0.5)
    scale = (scale if fp8 else scale.bfloat16()).double().item()  # the operator's is in the type of its inputs
    tokens, worst = q.shape[2], 0.0
    for first in range(0, tokens, 1024):
        scores = q[:, :, first : first + 1024] @ k.transpose(-1, -2) * scale
        if causal:
            rows = torch.arange(first, first + scores.shape[2], device=q.device)[:, None]
            scores = scores.masked_fill(torch.arange(tokens, device=q.device)[None] > rows, float("-inf"))
        want = torch.softmax(scores, -1) @ v
        part = got[-1:, -2:, first : first + 1024].double()
        worst = max(worst, ((part - want).norm() / want.norm()).item())
    return worst if torch.isfinite(got.float()).all() else float("inf")


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
        if not case["timed"] or (args.filter and not re.search(args.filter, case["name"])):
            continue
        fp8 = case["kind"] == "fp8"
        q, k, v = (torch.randn(case["shape"], device="cuda").to(torch.float8_e4m3fn if fp8 else torch.bfloat16) for _ in range(3))
        row = {"name": case["name"], "error": None}
        rows.append(row)

        def bound(file, given):
            out = torch.full(case["shape"], float("nan"), device="cuda", dtype=torch.bfloat16)
            session = flame_rt.Module(args.library, folder / file).session()
            session.on_stream(torch.cuda.current_stream().cuda_stream)
            call = session.bind(given, [out])
            call()
            torch.cuda.synchronize()
            return call, out

        try:
            call, out = bound(case["file"], [q, k, v])
            row["norm"] = error(out, q, k, v, case["causal"], fp8)
            if not row["norm"] < LARGEST_ERROR:
                row["error"] = f"differs by {row['norm']:.2e}, relative in the norm"
            functions = {"flame": call}
            if fp8:
                q, k, v = (t.bfloat16() for t in (q, k, v))
                functions["bf16"], _ = bound(case["bf16"], [q, k, v])
        except flame_rt.FlameError as failure:
            row["error"] = str(failure)
        if row["error"]:
            print(f"{case['name']}: {row['error']}", file=sys.stderr, flush=True)
            continue
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
    head = ["B x H x S x D", "flame µs", "TFLOP/s", "error", "flash ÷ flame", "cuDNN ÷ flame", "flame bf16 ÷ flame"]
    lines = []
    for r in rows:
        if r["error"]:
            lines.append([r["name"], "failed", "", "", "", "", ""])
            continue
        ratios = [f"{r['us'][n] / r['us']['flame']:.2f}" if n in r["us"] else "" for n in ("flash", "cudnn", "bf16")]
        lines.append([r["name"], f"{r['us']['flame']:.1f}", f"{r['TFLOP/s']:.0f}", f"{r['norm']:.1e}", *ratios])
    if style == "md":
        print_head("Attention", "attention", "bf16; flame, FlashAttention-2 and "
              "cuDNN by\nscaled_dot_product_attention, on the same tensors in alternating rounds of one process, results checked "
              "first: the error is\nthat against float64, relative in the norm. In the last columns above 1 means that flame is faster. Short ones are "
              "bound by PyTorch's calls.\nfp8: queries, keys, values and weights in E4M3, of which flame keeps the latter two in 16 bits; the rivals, and flame "
              "in the last column, have\nthe same numbers in bf16.")  # fmt: skip
    print_table(head, lines, markdown=style == "md")


if __name__ == "__main__":
    sys.exit(command_line(__doc__, make, run, compiles=False))
