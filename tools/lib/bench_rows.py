#!/usr/bin/env python3
"""Memory-bound kernels against PyTorch on the same GPU, in one process, on the same tensors.

    bench_rows.py make --flamec FLAMEC [--gpu sm_90a] [--filter REGEX] FOLDER       needs onnx; no GPU
    bench_rows.py run --library libflame_rt.so [--rounds N] [--format table|md|json] FOLDER     needs PyTorch and a GPU

Each case is checked against float64 first. Then flame, ATen (eager) and torch.compile are timed in alternating rounds,
each round long enough to be sustained; the table gives the medians, the bandwidth that counts each input read once and each
output written once, its share of a copy kernel's bandwidth measured in the same rounds, and the rivals' times over
flame's: above 1 flame is faster. The status is 1 if a result is wrong.
"""

from __future__ import annotations

import json
import pathlib
import re
import statistics
import subprocess
import sys

from bench_gpu import clock, command_line, print_head, print_table

ROWS = 32768
MOVES = ("gather", "scatter", "concat", "concat_channels", "slice", "slice_odd", "pad", "transpose", "heads")
HIDDEN = (2048, 4096, 8192)


def cases():
    """(name, kind, shape parameters)."""
    for h in HIDDEN:
        for kind in ("rmsnorm", "layernorm", "softmax", "residual_rmsnorm", "adaln", "bias_gelu", "silu_gate", "quantize"):
            yield f"{kind} {ROWS}x{h}", kind, [ROWS, h]
        yield f"cast {ROWS}x{h}", "cast", [ROWS, h]
    for h in HIDDEN:
        yield f"rmsnorm_rope {h}", "rmsnorm_rope", [8, 4096, h // 128, 128]
    yield "groupnorm_silu 2x320x128x128", "groupnorm_silu", [2, 320, 128, 128]
    yield "groupnorm_silu 1x512x512x512", "groupnorm_silu", [1, 512, 512, 512]
    yield "softmax 256x131072", "softmax", [256, 131072]
    yield "softmax 1x16777216", "softmax", [1, 1 << 24]
    yield "sum of columns 32768x4096", "column_sum", [32768, 4096]
    yield "mean of channels 32x256x56x56", "channel_mean", [32, 256, 56, 56]
    yield "sum of all 32768x4096", "full_sum", [32768, 4096]
    yield "argmax 256x131072", "argmax", [256, 131072]
    yield "cumsum 4096x8192", "cumsum", [4096, 8192]
    yield "cumsum 8x1048576", "cumsum", [8, 1 << 20]
    yield "cumsum of columns 8192x4096", "cumsum_columns", [8192, 4096]
    yield "topk 50 of 64x131072", "topk_50", [64, 131072]
    yield "topk 8 of 8192x256", "topk_8", [8192, 256]
    yield "topk 1000 of 8x120000", "topk_1000", [8, 120000]
    yield "topk 64 of 1x16777216", "topk_64", [1, 1 << 24]
    yield "sort 4096x4096", "topk_4096", [4096, 4096]
    yield "sort 64x131072", "topk_131072", [64, 131072]
    yield "adaln flux 4608x3072", "adaln", [4608, 3072]
    yield "transpose 8192x8192", "transpose", [8192, 8192]
    yield "transpose 1x24x4608x128", "heads", [1, 4608, 24, 128]
    yield "gather 32768 of 65536x2048", "gather", [65536, 2048]
    yield "scatter 16384 into 65536x2048", "scatter", [65536, 2048]
    yield "concat of columns 32768x2048", "concat", [32768, 2048]
    yield "concat of channels 2x640x64x64", "concat_channels", [2, 640, 64, 64]
    yield "slice of columns 32768x4096", "slice", [32768, 4096]
    yield "slice of odd columns 32768x4096", "slice_odd", [32768, 4096]
    yield "pad 2x320x128x128", "pad", [2, 320, 128, 128]


# ---- models


def make(args):
    from onnx import TensorProto as T
    from onnx import helper as h
    import onnx

    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, kind, shape in cases():
        if args.filter and not re.search(args.filter, name):
            continue
        last = shape[-1]
        inputs, outputs, nodes, constants = [("x", shape)], [("y", T.BFLOAT16, shape)], [], []

        def node(op, ins, outs, **attributes):
            nodes.append(h.make_node(op, ins, outs, **attributes))

        def number(name, value, dtype=T.BFLOAT16):
            constants.append(h.make_tensor(name, dtype, [], [value]))
            return name

        if kind == "rmsnorm":
            inputs.append(("w", [last]))
            node("RMSNormalization", ["x", "w"], ["y"], axis=-1, epsilon=1e-5)
        elif kind == "layernorm":
            inputs += [("w", [last]), ("b", [last])]
            node("LayerNormalization", ["x", "w", "b"], ["y"], axis=-1, epsilon=1e-5)
        elif kind == "softmax":
            node("Softmax", ["x"], ["y"], axis=-1)
        elif kind == "residual_rmsnorm":
            inputs += [("r", shape), ("w", [last])]
            outputs.append(("s", T.BFLOAT16, shape))
            node("Add", ["x", "r"], ["s"])
            node("RMSNormalization", ["s", "w"], ["y"], axis=-1, epsilon=1e-5)
        elif kind == "adaln":
            inputs += [("scale", [1, last]), ("shift", [1, last])]
            constants += [h.make_tensor("ones", T.BFLOAT16, [last], [1.0] * last)]
            node("LayerNormalization", ["x", "ones"], ["n"], axis=-1, epsilon=1e-6)
            node("Add", ["scale", number("one", 1.0)], ["s1"])
            node("Mul", ["n", "s1"], ["m"])
            node("Add", ["m", "shift"], ["y"])
        elif kind == "bias_gelu":
            inputs.append(("b", [last]))
            node("Add", ["x", "b"], ["a"])
            node("Gelu", ["a"], ["y"], approximate="tanh")
        elif kind == "silu_gate":
            inputs.append(("g", shape))
            node("Sigmoid", ["x"], ["s"])
            node("Mul", ["x", "s"], ["a"])
            node("Mul", ["a", "g"], ["y"])
        elif kind == "quantize":
            outputs[:] = [("y", T.FLOAT8E4M3FN, shape), ("scale", T.FLOAT, shape[:-1] + [1])]
            node("Cast", ["x"], ["f"], to=T.FLOAT)
            node("Abs", ["f"], ["a"])
            constants.append(h.make_tensor("axes", T.INT64, [1], [len(shape) - 1]))
            node("ReduceMax", ["a", "axes"], ["m"], keepdims=1)
            node("Div", ["m", number("top", 448.0, T.FLOAT)], ["scale"])
            node("Div", ["f", "scale"], ["q"])
            node("Cast", ["q"], ["y"], to=T.FLOAT8E4M3FN)
        elif kind == "cast":
            outputs[:] = [("y", T.FLOAT, shape)]
            node("Cast", ["x"], ["y"], to=T.FLOAT)
        elif kind == "rmsnorm_rope":
            half = [1, shape[1], 1, last]
            inputs += [("w", [last]), ("cos", half), ("sin", half)]
            node("RMSNormalization", ["x", "w"], ["n"], axis=-1, epsilon=1e-5)
            for i, (start, end) in enumerate(((0, last // 2), (last // 2, last))):
                constants += [h.make_tensor(f"{k}{i}", T.INT64, [1], [v]) for k, v in (("from", start), ("to", end), ("axis", 3))]
                node("Slice", ["n", f"from{i}", f"to{i}", f"axis{i}"], [f"half{i}"])
            node("Neg", ["half1"], ["minus"])
            node("Concat", ["minus", "half0"], ["turned"], axis=-1)
            node("Mul", ["n", "cos"], ["nc"])
            node("Mul", ["turned", "sin"], ["ts"])
            node("Add", ["nc", "ts"], ["y"])
        elif kind == "groupnorm_silu":
            inputs += [("w", [shape[1]]), ("b", [shape[1]])]
            node("GroupNormalization", ["x", "w", "b"], ["n"], num_groups=32, epsilon=1e-5)
            node("Sigmoid", ["n"], ["s"])
            node("Mul", ["n", "s"], ["y"])
        elif kind in ("column_sum", "channel_mean", "full_sum"):
            axes = {"column_sum": [0], "channel_mean": [0, 2, 3], "full_sum": list(range(len(shape)))}[kind]
            outputs[:] = [("y", T.BFLOAT16, [n for d, n in enumerate(shape) if d not in axes])]
            constants.append(h.make_tensor("axes", T.INT64, [len(axes)], axes))
            node("ReduceMean" if "mean" in kind else "ReduceSum", ["x", "axes"], ["y"], keepdims=0)
        elif kind == "argmax":
            outputs[:] = [("y", T.INT64, shape[:-1])]
            node("ArgMax", ["x"], ["y"], axis=-1, keepdims=0)
        elif kind.startswith("topk_"):
            k = int(kind[5:])
            outputs[:] = [("y", T.BFLOAT16, [shape[0], k]), ("i", T.INT64, [shape[0], k])]
            constants.append(h.make_tensor("k", T.INT64, [1], [k]))
            node("TopK", ["x", "k"], ["y", "i"])
        elif kind.startswith("cumsum"):
            constants.append(h.make_tensor("axis", T.INT64, [], [0 if "columns" in kind else 1]))
            node("CumSum", ["x", "axis"], ["y"])
        elif kind == "transpose":
            outputs[:] = [("y", T.BFLOAT16, shape[::-1])]
            node("Transpose", ["x"], ["y"], perm=[1, 0])
        elif kind == "heads":
            outputs[:] = [("y", T.BFLOAT16, [shape[0], shape[2], shape[1], shape[3]])]
            node("Transpose", ["x"], ["y"], perm=[0, 2, 1, 3])
        elif kind == "gather":
            inputs.append(("i", [shape[0] // 2], shape[0]))
            outputs[:] = [("y", T.BFLOAT16, [shape[0] // 2, last])]
            node("Gather", ["x", "i"], ["y"], axis=0)
        elif kind == "scatter":
            inputs += [("i", [shape[0] // 4, 1], shape[0]), ("u", [shape[0] // 4, last])]
            node("ScatterND", ["x", "i", "u"], ["y"])
        elif kind.startswith("concat"):
            axis = 1
            inputs.append(("z", [n // 2 if d == axis else n for d, n in enumerate(shape)]))
            outputs[:] = [("y", T.BFLOAT16, [n * 3 // 2 if d == axis else n for d, n in enumerate(shape)])]
            node("Concat", ["x", "z"], ["y"], axis=axis)
        elif kind.startswith("slice"):
            start = 1 if kind == "slice_odd" else last // 4
            outputs[:] = [("y", T.BFLOAT16, [shape[0], last // 2])]
            constants += [h.make_tensor(n, T.INT64, [1], [v]) for n, v in (("from", start), ("to", start + last // 2), ("axis", 1))]
            node("Slice", ["x", "from", "to", "axis"], ["y"])
        elif kind == "pad":
            outputs[:] = [("y", T.BFLOAT16, shape[:2] + [n + 2 for n in shape[2:]])]
            constants.append(h.make_tensor("pads", T.INT64, [8], [0, 0, 1, 1] * 2))
            node("Pad", ["x", "pads"], ["y"])
        graph = h.make_graph(
            nodes, kind, [h.make_tensor_value_info(i[0], T.INT64 if len(i) > 2 else T.BFLOAT16, i[1]) for i in inputs],
            [h.make_tensor_value_info(n, t, s) for n, t, s in outputs], constants)  # fmt: skip
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 23)], ir_version=11)
        stem = re.sub(r"\W+", "_", name)
        onnx.save(model, folder / f"{stem}.onnx")
        subprocess.run([args.flamec, "compile", folder / f"{stem}.onnx", "-o", folder / f"{stem}.flame", "--target=cuda",
                        f"--gpu={args.gpu}", "-q", *args.option], check=True)  # fmt: skip
        made.append({"name": name, "kind": kind, "shape": shape, "file": f"{stem}.flame",
                     "inputs": [i[1:] for i in inputs]})  # fmt: skip
        (folder / f"{stem}.onnx").unlink()
    (folder / "rows.json").write_text(json.dumps(made))
    print(f"{len(made)} cases in {folder}")


# ---- the same in PyTorch


def torch_function(kind):
    import torch
    import torch.nn.functional as F

    def rope(n, cos, sin):
        a, b = n.chunk(2, -1)
        return n * cos + torch.cat((-b, a), -1) * sin

    def quantize(x):
        f = x.float()
        scale = f.abs().amax(-1, keepdim=True) / 448
        return (f / scale).to(torch.float8_e4m3fn), scale

    def residual(x, r, w):
        s = x + r
        return F.rms_norm(s, s.shape[-1:], w, 1e-5), s

    if kind.startswith("topk_"):
        k = int(kind[5:])
        return lambda x: tuple(torch.topk(x, k) if k < x.shape[-1] else torch.sort(x, stable=True, descending=True))
    return {
        "rmsnorm": lambda x, w: F.rms_norm(x, x.shape[-1:], w, 1e-5),
        "layernorm": lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b, 1e-5),
        "softmax": lambda x: F.softmax(x, -1),
        "residual_rmsnorm": residual,
        "adaln": lambda x, scale, shift: F.layer_norm(x, x.shape[-1:], None, None, 1e-6) * (1 + scale) + shift,
        "bias_gelu": lambda x, b: F.gelu(x + b, approximate="tanh"),
        "silu_gate": lambda x, g: F.silu(x) * g,
        "quantize": quantize,
        "cast": lambda x: x.float(),
        "rmsnorm_rope": lambda x, w, cos, sin: rope(F.rms_norm(x, x.shape[-1:], w, 1e-5), cos, sin),
        "groupnorm_silu": lambda x, w, b: F.silu(F.group_norm(x, 32, w, b, 1e-5)),
        "column_sum": lambda x: x.sum(0),
        "channel_mean": lambda x: x.mean((0, 2, 3)),
        "full_sum": lambda x: x.sum(),
        "argmax": lambda x: x.argmax(-1),
        "cumsum": lambda x: x.cumsum(-1),
        "cumsum_columns": lambda x: x.cumsum(0),
        "transpose": lambda x: x.t().contiguous(),
        "heads": lambda x: x.transpose(1, 2).contiguous(),
        "gather": lambda x, i: x[i],
        "scatter": lambda x, i, u: x.index_copy(0, i[:, 0], u),
        "concat": lambda x, z: torch.cat((x, z), 1),
        "concat_channels": lambda x, z: torch.cat((x, z), 1),
        "slice": lambda x: x[:, x.shape[1] // 4 : x.shape[1] * 3 // 4].contiguous(),
        "slice_odd": lambda x: x[:, 1 : 1 + x.shape[1] // 2].contiguous(),
        "pad": lambda x: F.pad(x, (1, 1, 1, 1)),
    }[kind]


def flat(result):
    return list(result) if isinstance(result, tuple) else [result]


def wrong(kind, got, inputs):
    """What differs from float64, or None. Rounding to the outputs' type is allowed for, and bf16 steps between ops."""
    import torch

    if kind.startswith("topk_"):  # of equal ones the first, to the last bit
        order = torch.sort(inputs[0], stable=True, descending=True)
        same = [torch.equal(g, w[:, : int(kind[5:])]) for g, w in zip(got, order)]
        return None if all(same) else f"output {same.index(False)} is not that of a stable sort"
    if kind in MOVES:
        return None if torch.equal(got[0], torch_function(kind)(*inputs)) else "output 0 has other elements"
    function = torch_function("quantize" if kind == "quantize" else kind)
    if kind == "quantize":
        f = inputs[0].double()
        scale = f.abs().amax(-1, keepdim=True) / 448
        want = [f / scale, scale]
    elif kind == "cast":
        want = [inputs[0].double()]
    else:
        want = flat(function(*[t.double() for t in inputs]))
    if kind == "argmax":  # of equal ones any
        chosen = inputs[0].gather(-1, got[0].unsqueeze(-1)).squeeze(-1)
        return None if torch.equal(chosen, inputs[0].amax(-1)) else "output 0 is not where the largest are"
    for i, (g, w) in enumerate(zip(got, want)):
        if not torch.isfinite(g.float()).all():
            return f"output {i} has numbers that are not finite"
        error = ((g.double() - w).norm() / w.norm()).item()
        limit = {torch.float8_e4m3fn: 4e-2, torch.float32: 1e-6}.get(g.dtype, 6e-3)
        if not error < limit:
            return f"output {i} differs by {error:.2e}, relative in the norm"
    return None


def random_input(shape, limit=None):
    """bf16, or with a limit whole numbers below it, all different where there are as many."""
    import torch

    if limit is None:
        return torch.randn(shape, device="cuda").to(torch.bfloat16)
    return torch.randperm(limit, device="cuda")[: torch.Size(shape).numel()].view(shape)


def touched(kind, inputs, outputs):
    """Bytes that the case must read and write: of what is gathered from or cut, the part that is asked for."""
    size = sum(t.numel() * t.element_size() for t in inputs + outputs)
    if kind in ("gather", "slice", "slice_odd"):
        size -= (inputs[0].numel() - outputs[0].numel()) * inputs[0].element_size()
    return size


# ---- timing


def run(args):
    import torch

    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "test" / "gpu"))
    import flame_rt

    folder = pathlib.Path(args.folder)
    torch.manual_seed(1)
    stream = torch.cuda.current_stream().cuda_stream
    timed = clock()

    copy_from = torch.randn(1 << 28, device="cuda", dtype=torch.bfloat16)
    copy_to = torch.empty_like(copy_from)

    def copy():
        copy_to.copy_(copy_from)

    rows, failures = [], 0
    for case in json.loads((folder / "rows.json").read_text()):
        if args.filter and not re.search(args.filter, case["name"]):
            continue
        inputs = [random_input(*i) for i in case["inputs"]]
        eager = torch_function(case["kind"])
        expected = flat(eager(*inputs))
        outputs = [torch.full_like(t, -1) if t.dtype == torch.int64 else torch.full_like(t, float("nan")) if t.dtype != torch.float8_e4m3fn else
                   torch.full(t.shape, 127, dtype=torch.uint8, device="cuda").view(t.dtype) for t in expected]  # fmt: skip
        row = {"name": case["name"]}
        rows.append(row)
        try:
            session = flame_rt.Module(args.library, folder / case["file"]).session()
            session.on_stream(stream)
            call = session.bind(inputs, outputs)
            call()
            torch.cuda.synchronize()
            row["error"] = wrong(case["kind"], outputs, inputs)
        except flame_rt.FlameError as error:
            row["error"] = str(error)
        if row["error"]:
            failures += 1
            print(f"{case['name']}: {row['error']}", file=sys.stderr, flush=True)
            continue
        size = touched(case["kind"], inputs, outputs)
        part, part_to = copy_from[: size // 4], copy_to[: size // 4]  # as many bytes read and written as the case has
        functions = {"flame": call, "eager": lambda: eager(*inputs), "copy": copy, "same": lambda: part_to.copy_(part)}
        if not args.no_compile:
            torch._dynamo.reset()
            compiled = torch.compile(eager, dynamic=False)
            functions["compile"] = lambda: compiled(*inputs)
        for function in functions.values():
            function(), function()
        counts = {n: max(5, int(args.milliseconds * 1e3 / max(1.0, timed(f, 3)))) for n, f in functions.items()}
        times = {n: [] for n in functions}
        for _ in range(args.rounds):
            for n, f in functions.items():
                times[n].append(timed(f, counts[n]))
        median = {n: statistics.median(t) for n, t in times.items()}
        copied = 2 * copy_from.numel() * 2 / median["copy"] / 1e6
        row |= {"us": median, "TB/s": size / median["flame"] / 1e6, "copy TB/s": copied}
        row["of copy"] = row["TB/s"] / copied
        row["of same"] = row["TB/s"] / (4 * part.numel() / median["same"] / 1e6)
        for rival in ("eager", "compile"):
            if rival in median:
                row[rival] = median[rival] / median["flame"]
        del inputs, outputs, expected, call, session
    report(rows, args.format)
    return 1 if failures else 0


def report(rows, style):
    if style == "json":
        print(json.dumps(rows, indent=1))
        return
    head = ["case", "flame µs", "TB/s", "of copy", "same size", "ATen ÷ flame", "compile ÷ flame"]
    lines = []
    for r in rows:
        if r["error"]:
            lines.append([r["name"], "failed"] + [""] * 5)
            continue
        lines.append([r["name"], f"{r['us']['flame']:.1f}", f"{r['TB/s']:.2f}", f"{100 * r['of copy']:.0f} %", f"{100 * r['of same']:.0f} %",
                      f"{r['eager']:.2f}", f"{r['compile']:.2f}" if "compile" in r else ""])  # fmt: skip
    if style == "md":
        print_head("Memory-bound kernels", "rows", "bf16 unless named otherwise; flame, ATen and "
              "torch.compile on the same tensors\nin alternating rounds of one process, results checked against float64 first. "
              "TB/s counts each input read once and each output\nwritten once; \"of copy\" is the share of what a copy kernel "
              "reached in the same rounds on 512 MiB, \"same size\" of what\nit reached on as many bytes as the case has. In the last columns above 1 "
              "means that flame is faster.")  # fmt: skip
    print_table(head, lines, markdown=style == "md")


if __name__ == "__main__":
    sys.exit(command_line(__doc__, make, run))
