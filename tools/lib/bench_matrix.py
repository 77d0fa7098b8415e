#!/usr/bin/env python3
"""Matrix products and convolutions against cuBLASLt, cuDNN and PyTorch on the same GPU, in one process, on the same tensors.

    bench_matrix.py make --flamec FLAMEC [--gpu sm_90a] [--filter REGEX] FOLDER       needs onnx; no GPU
    bench_matrix.py run --library libflame_rt.so [--rounds N] [--format table|md|json] FOLDER     needs PyTorch and a GPU

Each case is checked against float64 first, on some rows, and its error is compared with the rival's. Then all are timed in
alternating rounds, each long enough to be sustained, over as many copies of the tensors as the second-level cache can't hold. The
rival of a plain product is cuBLASLt with the fastest of the ten algorithms that it proposes; that of a product of 8-bit floats with scales
is torch._scaled_mm, with scales of blocks torch.nn.functional.scaled_mm (where it takes their shapes, else _scaled_mm with a scale for each
row); that of products whose rows go by groups, torch._grouped_mm; that of a product with more behind it, torch.compile; that of a convolution, cuDNN with the fastest of its algorithms (channels last, cudnn.benchmark). Plain products are also compiled without wgmma, for the generation of mma.sync. The last columns are the
rivals' times over flame's: above 1 flame is faster. The status is 1 if a result is wrong.
"""

from __future__ import annotations

import json
import math
import pathlib
import re
import subprocess
import sys

import matrix_convs
import matrix_groups
from bench_gpu import around, command_line, print_head, print_table, sustained

SHAPES = [
    (4608, 3072, 3072), (4608, 9216, 3072), (4608, 12288, 3072), (4608, 3072, 12288), (4608, 21504, 3072), (4608, 3072, 15360),
    (512, 9216, 3072), (8192, 8192, 8192), (8192, 1280, 1280), (2048, 10240, 1280), (77, 4096, 4096), (16, 14336, 4096),
    (1, 14336, 4096), (77, 1280, 1280), (1, 4096, 4096), (16, 4096, 14336),
]  # fmt: skip
# What each kind computes of x [M, K] and its further inputs: shapes by M, N, K, and PyTorch's words.
KINDS = {
    "linear": [("w", "NK")],
    "matmul": [("w", "KN")],
    "bias_gelu": [("w", "NK"), ("b", "N")],
    "gate_residual": [("w", "NK"), ("b", "N"), ("g", "1N"), ("r", "MN")],
    "swiglu": [("w", "NK"), ("v", "NK")],
    "geglu": [("w", "NK"), ("v", "NK")],
    # As diffusers has it: one linear layer, of whose halves the second one gates the first.
    "geglu_halves": [("w", "DK"), ("b", "D")],
    # Quantised x and w, with one scale each, or one for each row of x and of w.
    "fp8_tensor": [("w", "NK"), ("s", ""), ("t", "")],
    "fp8_row": [("w", "NK"), ("s", "M"), ("t", "N")],
    # One for each 128 elements of a row of x, and for each square of 128 of w, or for the same as of x.
    "fp8_block": [("w", "NK"), ("s", "MB"), ("t", "SB")],
    "fp8_block_row": [("w", "NK"), ("s", "MB"), ("t", "NB")],
}


def cases():
    """(kind, (M, N, K), type)."""
    for shape in SHAPES:
        yield "linear", shape, "bfloat16"
    for shape in ((4608, 3072, 3072), (2048, 10240, 1280)):
        yield "matmul", shape, "bfloat16"
        yield "linear", shape, "float16"
        yield "linear", shape, "tf32"
    for shape in SHAPES:
        if shape[0] >= 16:
            yield "fp8_tensor", shape, "float8_e4m3fn"
            yield "fp8_row", shape, "float8_e4m3fn"
            yield "fp8_block", shape, "float8_e4m3fn"
    for shape in ((4608, 3072, 3072), (4608, 3072, 12288), (8192, 8192, 8192), (16, 14336, 4096)):
        yield "fp8_block_row", shape, "float8_e4m3fn"
    yield "bias_gelu", (4608, 12288, 3072), "bfloat16"
    yield "gate_residual", (4608, 3072, 12288), "bfloat16"
    for n in (5632, 11264, 22528):
        for m in (16, 4096):
            yield "swiglu", (m, n, 4096), "bfloat16"
    yield "geglu", (4096, 11264, 4096), "bfloat16"
    for shape in ((8192, 2560, 640), (2048, 5120, 1280)):  # of SDXL's UNet
        yield "geglu_halves", shape, "bfloat16"
    yield from matrix_groups.cases()
    yield from matrix_convs.cases()


def problem_of(kind, shape):
    """What knows the kinds of a file of their own; None for the others."""
    if kind in matrix_convs.KINDS:
        return matrix_convs.Conv(kind, shape)
    return matrix_groups.Groups(kind, shape) if kind in matrix_groups.KINDS else None


def dims(letters, m, n, k):
    """The sizes that stand for the letters."""
    return [{"M": m, "N": n, "K": k, "D": 2 * n, "1": 1, "B": -(-k // 128), "S": -(-n // 128)}[letter] for letter in letters]


# ---- models


def make(args):
    import onnx
    from onnx import TensorProto as T
    from onnx import helper as h

    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for kind, shape, dtype in cases():
        own = problem_of(kind, shape)
        name = f"{kind} {own.label if own else 'x'.join(map(str, shape))} {dtype}"
        if args.filter and not re.search(args.filter, name):
            continue
        onnx_type = {"bfloat16": T.BFLOAT16, "float16": T.FLOAT16, "tf32": T.FLOAT, "float8_e4m3fn": T.BFLOAT16}[dtype]
        inputs = own.inputs() if own else [("x", [shape[0], shape[2]])] + [(i, dims(letters, *shape)) for i, letters in KINDS[kind]]
        result = own.result if own else list(shape[:2])
        nodes, constants = list(own.nodes(h)) if own else [], []

        def node(op, ins, outs, **attributes):
            nodes.append(h.make_node(op, ins, outs, **attributes))

        product = "y" if kind in ("linear", "matmul") or kind.startswith("fp8") else "p"
        left = "x"
        types = {i: onnx_type for i, _ in inputs} | ({matrix_groups.ENDS: T.INT32} if kind in matrix_groups.KINDS else {})
        if kind.startswith("fp8"):
            types |= {"x": T.FLOAT8E4M3FN, "w": T.FLOAT8E4M3FN, "s": T.FLOAT, "t": T.FLOAT}
            blocks = {"axis": 1, "block_size": 128} if "block" in kind else {"axis": 0}
            if kind == "fp8_block":  # repeated for each row
                node("Unsqueeze", ["t", "one"], ["t1"])
                node("Expand", ["t1", "whole"], ["t128"])
                node("Reshape", ["t128", "flat"], ["tw"])
                numbers = {"one": [1], "whole": [1, 128, 1], "flat": [-1, -(-shape[2] // 128)]}
                constants = [h.make_tensor(name, T.INT64, [len(v)], v) for name, v in numbers.items()]
            node("DequantizeLinear", ["x", "s"], ["xd"], output_dtype=T.BFLOAT16, **blocks)
            node("DequantizeLinear", ["w", "tw" if kind == "fp8_block" else "t"], ["wd"], output_dtype=T.BFLOAT16, **blocks)
            left = "xd"
        for weight, to in (("w", product), ("v", "u")):
            if own or weight not in [i for i, _ in inputs]:
                continue
            if kind == "matmul":
                node("MatMul", ["x", weight], [to])
            else:
                node("Transpose", ["wd" if left == "xd" else weight], [weight + "t"], perm=[1, 0])
                node("MatMul", [left, weight + "t"], [to])
        if kind == "bias_gelu":
            node("Add", ["p", "b"], ["a"])
            node("Gelu", ["a"], ["y"], approximate="tanh")
        elif kind == "gate_residual":
            node("Add", ["p", "b"], ["a"])
            node("Mul", ["a", "g"], ["ag"])
            node("Add", ["r", "ag"], ["y"])
        elif kind == "swiglu":
            node("Sigmoid", ["p"], ["s"])
            node("Mul", ["p", "s"], ["a"])
            node("Mul", ["a", "u"], ["y"])
        elif kind == "geglu":
            node("Gelu", ["p"], ["a"], approximate="tanh")
            node("Mul", ["a", "u"], ["y"])
        elif kind == "geglu_halves":
            node("Add", ["p", "b"], ["q"])
            node("Split", ["q"], ["h", "g"], axis=-1, num_outputs=2)
            node("Gelu", ["g"], ["a"])
            node("Mul", ["h", "a"], ["y"])
        graph = h.make_graph(nodes, kind, [h.make_tensor_value_info(i, types[i], s) for i, s in inputs],
                             [h.make_tensor_value_info("y", onnx_type, result)], constants)  # fmt: skip
        model = h.make_model(graph, opset_imports=[h.make_opsetid("", 23), h.make_opsetid("flame", 1)], ir_version=11)
        stem = re.sub(r"\W+", "_", name)
        onnx.save(model, folder / f"{stem}.onnx")
        files = {}
        # Code for sm_90 has no wgmma.
        plain = kind in ("linear", "matmul", "grouped", "conv")
        for generation, gpu in {"flame": args.gpu, **({"sm80": "sm_90"} if plain and args.gpu == "sm_90a" else {})}.items():
            files[generation] = f"{stem}.{generation}.flame"
            subprocess.run([args.flamec, "compile", folder / f"{stem}.onnx", "-o", folder / files[generation], "--target=cuda",
                            f"--gpu={gpu}", "-q", *(["--precision=tf32"] if dtype == "tf32" else []), *args.option], check=True)  # fmt: skip
        (folder / f"{stem}.onnx").unlink()
        made.append({"name": name, "kind": kind, "shape": list(shape), "type": dtype, "inputs": [s for _, s in inputs], "files": files})
    (folder / "matrix.json").write_text(json.dumps(made))
    print(f"{len(made)} cases in {folder}")


# ---- the same in PyTorch


def torch_function(kind):
    import torch
    import torch.nn.functional as F

    def geglu_halves(x, w, b):
        hidden, gate = F.linear(x, w, b).chunk(2, -1)
        return hidden * F.gelu(gate)

    def scaled(x, w, s, t):
        if x.dtype == torch.float64:
            return (x @ w.T) * s.reshape(-1, 1) * t
        s, t = (s[:, None], t[None]) if s.dim() else (s, t)
        return torch._scaled_mm(x, w.T, scale_a=s, scale_b=t, out_dtype=torch.bfloat16)

    def scaled_blocks(x, w, s, t):  # in float64
        m, k = x.shape
        return (x * s.repeat_interleave(128, 1)[:, :k]) @ (w * t.repeat_interleave(-(-len(w) // len(t)), 0).repeat_interleave(128, 1)[:, :k]).T

    return {
        "fp8_tensor": scaled,
        "fp8_row": scaled,
        "fp8_block": scaled_blocks,
        "fp8_block_row": scaled_blocks,
        "linear": lambda x, w: x @ w.T,
        "matmul": lambda x, w: x @ w,
        "bias_gelu": lambda x, w, b: F.gelu(F.linear(x, w, b), approximate="tanh"),
        "gate_residual": lambda x, w, b, g, r: r + g * F.linear(x, w, b),
        "swiglu": lambda x, w, v: F.silu(x @ w.T) * (x @ v.T),
        "geglu_halves": geglu_halves,
        "geglu": lambda x, w, v: F.gelu(x @ w.T, approximate="tanh") * (x @ v.T),
    }[kind]


def block_rival(x, w, s, t):
    """A call of the rival and whether it computes the same. Scales lie as it wants them: those of rows with rows last, those of squares with
    whole fours of blocks. Where it refuses the sizes, a scale for each row takes their place."""
    import torch
    import torch.nn.functional as F

    def rows_last(scales):
        return scales.T.contiguous().T

    blocks, squares = F.ScalingType.BlockWise1x128, len(t) < len(w)
    s, first = rows_last(s), s[:, :1].contiguous()
    t = F.pad(t, (0, -t.shape[1] % 4)).T if squares else rows_last(t)
    recipe = F.ScalingType.BlockWise128x128 if squares else blocks

    def call():
        return F.scaled_mm(x, w.T, s, blocks, t, recipe, output_dtype=torch.bfloat16)

    try:
        call()
        return call, True
    except (RuntimeError, ValueError) as refused:
        print(f"the rival refuses blocks of {tuple(x.shape)} by {tuple(w.shape)}: {str(refused)[:100]}", file=sys.stderr)
    ones = torch.ones(1, len(w), device="cuda")
    return lambda: torch._scaled_mm(x, w.T, scale_a=first, scale_b=ones, out_dtype=torch.bfloat16), False


def errors(case, inputs, results):
    """Relative errors in the norm against float64, of some rows of the results."""
    import torch

    m = case["shape"][0]
    rows = torch.randperm(m, device="cuda")[:64]
    letters = ["MK", *(l for _, l in KINDS[case["kind"]])]
    some = [t[rows] if l.startswith("M") else t for l, t in zip(letters, inputs)]
    want = torch_function(case["kind"])(*[t.double() for t in some])
    return [((r[rows].double() - want).norm() / want.norm()).item() if torch.isfinite(r).all() else math.inf for r in results]


# ---- timing


def run(args):
    import torch

    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "test" / "gpu"))
    import cublaslt
    import flame_rt

    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    folder, stream = pathlib.Path(args.folder), torch.cuda.current_stream().cuda_stream
    torch.manual_seed(1)
    limits = {"bfloat16": 4e-3, "float8_e4m3fn": 4e-3, "float16": 5e-4, "tf32": 1e-3}
    rows, failures = [], 0
    for case in json.loads((folder / "matrix.json").read_text()):
        if args.filter and not re.search(args.filter, case["name"]):
            continue
        kind = case["kind"]
        own = problem_of(kind, case["shape"])
        m, n, k = (math.prod(own.result[:-1]), own.k, own.depth) if own else case["shape"]
        shape = own.result if own else (m, n)
        dtype = torch.float32 if case["type"] == "tf32" else getattr(torch, case["type"])
        types = [torch.float32 if dtype.itemsize == 1 and i > 1 else dtype for i in range(len(case["inputs"]))]
        result_type = torch.bfloat16 if dtype.itemsize == 1 else dtype
        size = sum(math.prod(s) * t.itemsize for s, t in zip(case["inputs"], types)) + m * n * result_type.itemsize
        copies = max(1, min(8, -(-(180 << 20) // size)))  # more than the second-level cache holds, thrice
        sets = []
        for _ in range(copies):
            scale = own.scale if own else lambda i, s: k**-0.5 if i in (1, 2) and len(s) == 2 and s[0] > 1 and dtype.itemsize > 1 else 1
            tensor = own.tensor if kind in matrix_groups.KINDS else lambda i: None
            given = [tensor(i) for i in range(len(types))]
            sets.append([torch.randn(s, device="cuda").mul_(scale(i, s)).to(t) if g is None else g
                         for i, (s, t, g) in enumerate(zip(case["inputs"], types, given))])  # fmt: skip
        results = {g: [torch.full(shape, math.nan, device="cuda", dtype=result_type) for _ in sets] for g in [*case["files"], "rival"]}
        row = {"name": case["name"], "error": None}
        rows.append(row)
        calls, keep = {}, []
        try:
            for generation, file in case["files"].items():
                session = flame_rt.Module(args.library, folder / file).session()
                session.on_stream(stream)
                calls[generation] = [session.bind(i, [o]) for i, o in zip(sets, results[generation])]
                keep.append(session)
            eager = own.function() if own else torch_function(kind)
            calls["eager"] = [lambda i=i: eager(*i) for i in sets]
            if kind in ("linear", "matmul"):
                # Into tensors of their own, as the others: one that is used again stays in the second-level cache.
                outs = [torch.empty(shape, device="cuda", dtype=result_type) for _ in sets]
                calls["eager"] = [lambda x=x, w=w, o=o: torch.matmul(x, w.T if kind == "linear" else w, out=o) for (x, w), o in zip(sets, outs)]
                product = cublaslt.Product(m, n, k, str(dtype).removeprefix("torch."), str(dtype).removeprefix("torch."), kind == "linear", case["type"] == "tf32")
                product.tune(sets, results["rival"])
                calls["rival"] = [product.bound(*i, o) for i, o in zip(sets, results["rival"])]
            elif "block" in kind:
                del calls["eager"]
                calls["rival"], same = zip(*(block_rival(*i) for i in sets))
                results["rival"] = [call() for call in calls["rival"]]
                if not all(same):
                    del results["rival"]
            elif kind in ("conv", "grouped") or kind.startswith("fp8"):
                results["rival"] = [eager(*i) for i in sets]
                calls["rival"] = calls.pop("eager")
            elif args.no_compile:
                del results["rival"]
            else:
                torch._dynamo.reset()
                compiled = torch.compile(eager, dynamic=False)
                results["rival"] = [compiled(*i) for i in sets]
                calls["rival"] = [lambda i=i: compiled(*i) for i in sets]
            for functions in calls.values():
                for function in functions:
                    function()
            torch.cuda.synchronize()
            check = own.errors if own else lambda *a: errors(case, *a)
            row["errors"] = dict(zip(results, check(sets[-1], [r[-1] for r in results.values()])))
            wrong = {g: e for g, e in row["errors"].items() if g != "rival" and not e < limits[case["type"]] * (2 if "glu" in kind else 1)}
            if wrong:
                row["error"] = f"relative errors in the norm {wrong}"
        except (flame_rt.FlameError, RuntimeError) as failure:
            row["error"] = str(failure)
        if row["error"]:
            failures += 1
            print(f"{case['name']}: {row['error']}", file=sys.stderr, flush=True)
            continue

        row["us"] = sustained({g: around(f) for g, f in calls.items()}, args.rounds, args.milliseconds)
        flops = 2 * m * n * k * (2 if "glu" in kind else 1)
        if kind in matrix_groups.KINDS:
            size = own.bytes(sets[0], results["flame"][0])
        row["TFLOP/s"], row["TB/s"] = flops / row["us"]["flame"] / 1e6, size / row["us"]["flame"] / 1e6
        del sets, results, calls, keep
    report(rows, args.format)
    return 1 if failures or not rows else 0


def report(rows, style):
    if style == "json":
        print(json.dumps(rows, indent=1))
        return
    head = ["M x N x K", "flame µs", "TFLOP/s", "TB/s", "rival ÷ flame", "eager ÷ flame", "rival ÷ sm80", "error ÷ rival's"]
    lines, ratios = [], {}
    for r in rows:
        if r["error"]:
            lines.append([r["name"], "failed"] + [""] * 6)
            continue
        us, error = r["us"], r["errors"]
        rival = us["rival"] / us["flame"] if "rival" in us else None
        group = "thin" if r["name"].startswith("linear") and int(re.search(r" (\d+)x", r["name"])[1]) < 128 else r["name"].split()[0]
        if rival:
            ratios.setdefault(f"{group} {r['name'].split()[-1]}", []).append(rival)
        lines.append([r["name"], f"{us['flame']:.1f}", f"{r['TFLOP/s']:.0f}", f"{r['TB/s']:.2f}", f"{rival:.2f}" if rival else "",
                      f"{us['eager'] / us['flame']:.2f}" if "eager" in us else "", f"{us['rival'] / us['sm80']:.2f}" if "sm80" in us and rival else "",
                      f"{error['flame'] / error['rival']:.2f}" if error.get("rival") else ""])  # fmt: skip
    if style == "md":
        print_head("Matrix products", "matrix", "flame, cuBLASLt (the fastest of the ten algorithms\nthat it proposes) for plain "
              "products, torch's scaled_mm for those of 8-bit floats (where it refuses the shape for scales of blocks, with a scale for each row, and no\n"
              "errors are compared), torch._grouped_mm for those whose rows go by groups (M x N x K and their number), torch.compile for those with more behind them, and PyTorch eager, on the same tensors in\nalternating rounds of "
              "one process, over as many copies of the tensors as the second-level cache can't hold; results checked\nagainst float64 "
              "first. Ratios of times: above 1 flame is faster; \"rival ÷ sm80\" is that of the generation of mma.sync. The last\n"
              "column compares errors against float64.")  # fmt: skip
    print_table(head, lines, markdown=style == "md")
    print()
    means = [[g, str(len(x)), f"{math.exp(sum(map(math.log, x)) / len(x)):.3f}", f"{min(x):.2f}"] for g, x in ratios.items()]
    print_table(["rival ÷ flame", "cases", "geometric mean", "least"], means, markdown=style == "md")


if __name__ == "__main__":
    sys.exit(command_line(__doc__, make, run))
