#!/usr/bin/env python3
"""Latency of small models in f16 against PyTorch on the same GPU, in one process, on the same weights and inputs.

    bench_short.py make --flamec FLAMEC [--gpu sm_90a] [--models NAME,NAME] [--dynamic] FOLDER     needs onnx; no GPU
    bench_short.py run --library libflame_rt.so [--models NAME,NAME] [--kernels] [--no-compile] FOLDER
                                                                           needs PyTorch and a GPU

bert: the encoder of BERT base (12 layers of 768, 12 heads, 128 tokens), batch 1; resnet50: v1.5 with batch normalisations,
batch 1, 224 x 224. Weights are random, from a seed: `make` and `run` write the same weight file, so that no weights travel (the
compiler reads the smallest ones, the rest is bound at load). Each model is checked first: its error against f32 may be at most 1.1 times that of
PyTorch in f16. Then flame (on the current stream), PyTorch eager (channels-last too for convolutions) and
torch.compile(mode="reduce-overhead") are timed in alternating rounds; the table gives medians of the time of one run among
many in a row, and of a run that is waited for. The status is 1 if a result is wrong.
"""

from __future__ import annotations

import argparse
import collections
import json
import math
import pathlib
import re
import statistics
import subprocess
import sys
import time

import numpy as np

from bench_gpu import clock, print_head, print_table

LAYERS, WIDTH, HEADS, HIDDEN, TOKENS, VOCABULARY = 12, 768, 12, 3072, 128, 30522
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
ALIGNMENT = 64


# ---- weights: (name, shape, centre, deviation)


def bert_weights():
    yield "words", (VOCABULARY, WIDTH), 0, 0.02
    yield "places", (TOKENS, WIDTH), 0, 0.02

    def norm(name):
        yield f"{name}.gamma", (WIDTH,), 1, 0.05
        yield f"{name}.beta", (WIDTH,), 0, 0.05

    def linear(name, rows, columns):
        yield f"{name}.weight", (rows, columns), 0, 0.03
        yield f"{name}.bias", (columns,), 0, 0.05

    yield from norm("embedded")
    for i in range(LAYERS):
        for part in ("query", "key", "value", "output"):
            yield from linear(f"{i}.{part}", WIDTH, WIDTH)
        yield from norm(f"{i}.norm1")
        yield from linear(f"{i}.up", WIDTH, HIDDEN)
        yield from linear(f"{i}.down", HIDDEN, WIDTH)
        yield from norm(f"{i}.norm2")


def resnet_blocks():
    """(name, channels in, width, stride, has a projection)."""
    channels = 64
    for s, (blocks, width) in enumerate(STAGES):
        for b in range(blocks):
            yield f"{s}.{b}", channels, width, 2 if b == 0 and s > 0 else 1, b == 0
            channels = 4 * width


def resnet50_weights():
    def conv(name, out, into, size, gamma=1.0):
        yield f"{name}.weight", (out, into, size, size), 0, math.sqrt(2 / (into * size * size))
        yield f"{name}.gamma", (out,), gamma, 0.05
        yield f"{name}.beta", (out,), 0, 0.1
        yield f"{name}.mean", (out,), 0, 0.1
        yield f"{name}.variance", (out,), 1, 0.05

    yield from conv("stem", 64, 3, 7)
    for name, channels, width, _, projected in resnet_blocks():
        yield from conv(f"{name}.reduce", width, channels, 1)
        yield from conv(f"{name}.spread", width, width, 3)
        yield from conv(f"{name}.expand", 4 * width, width, 1, 0.3)
        if projected:
            yield from conv(f"{name}.project", 4 * width, channels, 1, 0.7)
    yield "classes.weight", (1000, 2048), 0, 0.02
    yield "classes.bias", (1000,), 0, 0.05


WEIGHTS = {"bert": bert_weights, "resnet50": resnet50_weights}


def offsets(model):
    """{name: (offset in bytes, shape)} in the weight file, and its size."""
    at, places = 0, {}
    for name, shape, _, _ in WEIGHTS[model]():
        places[name] = at, shape
        at += -(-math.prod(shape) * 2 // ALIGNMENT) * ALIGNMENT
    return places, at


def write_weights(model, path):
    """Writes the numbers into the weight file, and returns them."""
    rng = np.random.RandomState(20)  # its numbers are the same in every version of NumPy
    places, size = offsets(model)
    file = np.memmap(path, np.float16, "w+", shape=(size // 2,))
    arrays = {}
    for name, shape, centre, deviation in WEIGHTS[model]():
        at = places[name][0] // 2
        values = rng.standard_normal(shape) * deviation + centre
        arrays[name] = values.astype(np.float16)
        file[at : at + values.size] = arrays[name].ravel()
    file.flush()
    return arrays


# ---- ONNX


def make_graph(model, dynamic):
    from onnx import TensorProto as T
    from onnx import helper as h

    nodes, extra = [], []

    def node(op, inputs, name, **attributes):
        nodes.append(h.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def ints(name, *values):
        extra.append(h.make_tensor(name, T.INT64, [len(values)], values))
        return name

    batch = "batch" if dynamic else 1
    if model == "bert":
        tokens = "tokens" if dynamic else TOKENS
        inputs = [h.make_tensor_value_info("ids", T.INT64, [batch, tokens])]
        extra.append(h.make_tensor("scale", T.FLOAT16, [], [math.sqrt(WIDTH // HEADS)]))

        def norm(x, name):
            return node("LayerNormalization", [x, f"{name}.gamma", f"{name}.beta"], name, axis=-1, epsilon=1e-5)

        def linear(x, name):
            product = node("MatMul", [x, f"{name}.weight"], f"{name}.product")
            return node("Add", [product, f"{name}.bias"], name)

        x = node("Gather", ["words", "ids"], "words.of")
        places = "places"
        if dynamic:
            length = node("Shape", ["ids"], "length", start=1, end=2)
            places = node("Slice", ["places", ints("zero", 0), length, ints("axis0", 0)], "places.of")
        x = norm(node("Add", [x, places], "sum"), "embedded")
        ints("split", 0, 0, HEADS, WIDTH // HEADS), ints("merge", 0, 0, WIDTH)
        for i in range(LAYERS):

            def heads(part, order):
                y = node("Reshape", [linear(x, f"{i}.{part}"), "split"], f"{i}.{part}.split")
                return node("Transpose", [y], f"{i}.{part}.heads", perm=order)

            scores = node("MatMul", [heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1])], f"{i}.scores")
            scores = node("Softmax", [node("Div", [scores, "scale"], f"{i}.scaled")], f"{i}.softmax", axis=-1)
            mixed = node("MatMul", [scores, heads("value", [0, 2, 1, 3])], f"{i}.mixed")
            mixed = node("Transpose", [mixed], f"{i}.mixed.order", perm=[0, 2, 1, 3])
            mixed = node("Reshape", [mixed, "merge"], f"{i}.merged")
            x = norm(node("Add", [linear(mixed, f"{i}.output"), x], f"{i}.residual1"), f"{i}.norm1")
            up = node("Gelu", [linear(x, f"{i}.up")], f"{i}.gelu")
            x = norm(node("Add", [linear(up, f"{i}.down"), x], f"{i}.residual2"), f"{i}.norm2")
        result, dims = x, [batch, tokens, WIDTH]
    else:
        inputs = [h.make_tensor_value_info("image", T.FLOAT16, [batch, 3, 224, 224])]

        def conv(x, name, size, stride):
            pad = size // 2
            y = node("Conv", [x, f"{name}.weight"], f"{name}.conv", kernel_shape=[size, size], strides=[stride, stride],
                     pads=[pad] * 4)  # fmt: skip
            return node("BatchNormalization", [y] + [f"{name}.{k}" for k in ("gamma", "beta", "mean", "variance")], name)

        x = node("Relu", [conv("image", "stem", 7, 2)], "stem.relu")
        x = node("MaxPool", [x], "pool", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        for name, _, _, stride, projected in resnet_blocks():
            y = node("Relu", [conv(x, f"{name}.reduce", 1, 1)], f"{name}.relu1")
            y = node("Relu", [conv(y, f"{name}.spread", 3, stride)], f"{name}.relu2")
            y = conv(y, f"{name}.expand", 1, 1)
            skip = conv(x, f"{name}.project", 1, stride) if projected else x
            x = node("Relu", [node("Add", [y, skip], f"{name}.residual")], f"{name}.relu3")
        x = node("Flatten", [node("GlobalAveragePool", [x], "mean")], "flat")
        result, dims = node("Gemm", [x, "classes.weight", "classes.bias"], "classes", transB=1), [batch, 1000]
    nodes.append(h.make_node("Identity", [result], ["y"]))
    weights = []
    for name, (at, shape) in offsets(model)[0].items():
        tensor = T(data_type=T.FLOAT16, dims=shape, name=name, data_location=T.EXTERNAL)
        for key, value in (("location", f"{model}.weights"), ("offset", at), ("length", math.prod(shape) * 2)):
            tensor.external_data.add(key=key, value=str(value))
        weights.append(tensor)
    graph = h.make_graph(nodes, model, inputs, [h.make_tensor_value_info("y", T.FLOAT16, dims)], weights + extra)
    return h.make_model(graph, opset_imports=[h.make_opsetid("", 20)], ir_version=10)


def make(args):
    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for model in args.models:
        onnx_file, weights = folder / f"{model}.onnx", folder / f"{model}.weights"
        onnx_file.write_bytes(make_graph(model, args.dynamic).SerializeToString())
        write_weights(model, weights)
        subprocess.run([args.flamec, "compile", onnx_file, "-o", folder / f"{model}.flame", "--target=cuda",
                        f"--gpu={args.gpu}", "--weights=external", "-q"], check=True)  # fmt: skip
        if not args.keep:
            onnx_file.unlink()
            weights.unlink()
    print(f"{', '.join(args.models)} in {folder}")


# ---- the same in PyTorch


def torch_model(model, arrays):
    import torch
    import torch.nn.functional as F
    from torch import nn

    class Bert(nn.Module):
        def __init__(self):
            super().__init__()

            def layer():
                parts = {name: nn.Linear(WIDTH, WIDTH) for name in ("query", "key", "value", "output")}
                parts |= {"up": nn.Linear(WIDTH, HIDDEN), "down": nn.Linear(HIDDEN, WIDTH)}
                return nn.ModuleDict(parts | {name: nn.LayerNorm(WIDTH) for name in ("norm1", "norm2")})

            self.words, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(TOKENS, WIDTH)
            self.embedded = nn.LayerNorm(WIDTH)
            self.layers = nn.ModuleList(layer() for _ in range(LAYERS))

        def forward(self, ids):
            x = self.embedded(self.words(ids) + self.places.weight[: ids.shape[1]])
            for layer in self.layers:

                def heads(part):
                    return layer[part](x).unflatten(2, (HEADS, WIDTH // HEADS)).transpose(1, 2)

                mixed = F.scaled_dot_product_attention(heads("query"), heads("key"), heads("value"))
                x = layer["norm1"](layer["output"](mixed.transpose(1, 2).flatten(2)) + x)
                x = layer["norm2"](layer["down"](F.gelu(layer["up"](x))) + x)
            return x

    class Block(nn.Module):
        def __init__(self, channels, width, stride, projected):
            super().__init__()

            def conv(into, out, size, stride=1):
                return nn.Sequential(nn.Conv2d(into, out, size, stride, size // 2, bias=False), nn.BatchNorm2d(out))

            self.reduce, self.spread = conv(channels, width, 1), conv(width, width, 3, stride)
            self.expand = conv(width, 4 * width, 1)
            self.project = conv(channels, 4 * width, 1, stride) if projected else None

        def forward(self, x):
            y = self.expand(F.relu(self.spread(F.relu(self.reduce(x)))))
            return F.relu(y + (self.project(x) if self.project else x))

    class ResNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64))
            self.blocks = nn.ModuleDict({n.replace(".", "_"): Block(*rest) for n, *rest in resnet_blocks()})
            self.classes = nn.Linear(2048, 1000)

        def forward(self, x):
            x = F.max_pool2d(F.relu(self.stem(x)), 3, 2, 1)
            for block in self.blocks.values():
                x = block(x)
            return self.classes(x.mean((2, 3)))

    made = (Bert if model == "bert" else ResNet)().eval().requires_grad_(False).cuda()

    def parameter(name):
        """The module's parameter or statistic of an ONNX weight's name."""
        path, _, last = name.rpartition(".")
        if model == "bert":
            if not path:
                return getattr(made, name).weight
            module = made.embedded if path == "embedded" else made.layers[int(path.split(".")[0])][path.split(".")[1]]
        elif path == "classes":
            module = made.classes
        else:
            block, _, part = path.rpartition(".")
            pair = made.stem if path == "stem" else getattr(made.blocks[block.replace(".", "_")], part)
            module = pair[0 if last == "weight" else 1]
        names = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
        return getattr(module, names.get(last, last))

    for name, values in arrays.items():
        if model == "bert" and name.endswith(".weight"):
            values = values.T
        parameter(name).copy_(torch.from_numpy(np.ascontiguousarray(values)).float())
    return made


# ---- timing


def kernel_table(call, runs=20):
    """Times of every kernel of a run, by the profiler of PyTorch, which sees all of the process."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    call(), call(), call()
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as profiler:
        for _ in range(runs):
            call()
        torch.cuda.synchronize()
    spans = sorted((e.time_range.start, e.time_range.end, e.name) for e in profiler.events()
                   if e.device_type == torch.autograd.DeviceType.CUDA)  # fmt: skip
    by_name = collections.OrderedDict()
    for start, end, name in spans:
        by_name.setdefault(name, []).append(end - start)
    busy = sum(end - start for start, end, _ in spans) / runs
    first, last = spans[0][0], spans[-1][1]
    print(f"  {len(spans) / runs:.1f} kernels and copies a run, {busy:.1f} µs of kernels, {(last - first) / runs:.1f} µs from start to start")
    families = collections.Counter()
    for name, times in by_name.items():
        families[re.sub(r"\d+", "#", name)] += sum(times) / runs
    for name, times in by_name.items():
        print(f"  {statistics.median(times):8.2f} µs x {len(times) / runs:4.1f}  {name[:110]}")
    print("  shares: " + ", ".join(f"{n[:60]} {t:.0f}" for n, t in families.most_common(12)))


def run(args):
    import torch

    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "test" / "gpu"))
    import flame_rt

    folder = pathlib.Path(args.folder)
    torch.manual_seed(1)
    torch.backends.cudnn.benchmark = True
    in_a_row = clock()

    def waited_for(function, count):
        times = []
        for _ in range(count):
            began = time.perf_counter()
            function()
            torch.cuda.synchronize()
            times.append((time.perf_counter() - began) * 1e6)
        return statistics.median(times)

    rows, failures = [], 0
    for model in args.models:
        arrays = write_weights(model, folder / f"{model}.weights")
        exact, half = torch_model(model, arrays), torch_model(model, arrays).half()
        if model == "bert":
            x = torch.randint(0, VOCABULARY, (1, TOKENS), device="cuda")
            exact_x = x
        else:
            x = torch.randn(1, 3, 224, 224, device="cuda").half()
            exact_x = x.float()
        with torch.no_grad():
            want = exact(exact_x).double()
            rival = half(x)
            y = torch.full_like(rival, float("nan"))
            row = {"name": model, "error": None}
            rows.append(row)
            try:
                began = time.perf_counter()
                session = flame_rt.Module(args.library, folder / f"{model}.flame").session()
                session.on_stream(torch.cuda.current_stream().cuda_stream)
                call = session.bind([x], [y])
                call()
                torch.cuda.synchronize()
                row["load s"] = time.perf_counter() - began
                for _ in range(4):  # the second run makes graphs, later ones replay them
                    y.fill_(float("nan"))
                    call()
                torch.cuda.synchronize()
            except flame_rt.FlameError as error:
                row["error"] = str(error)
            else:

                def error(value):
                    return ((value.double() - want).norm() / want.norm()).item()

                row |= {"flame error": error(y), "torch error": error(rival)}
                if not row["flame error"] <= 1.1 * row["torch error"]:
                    row["error"] = f"differs from f32 by {row['flame error']:.2e}, PyTorch in f16 by {row['torch error']:.2e}"
            if row["error"]:
                failures += 1
                print(f"{model}: {row['error']}", file=sys.stderr, flush=True)
                if "flame error" not in row:
                    continue  # it did not run
            functions = {"flame": call, "eager": lambda half=half, x=x: half(x)}
            if model == "resnet50":
                last, last_x = torch_model(model, arrays).half().to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)  # fmt: skip
                functions["eager, channels last"] = lambda: last(last_x)
            measure(row, functions, args, in_a_row, waited_for)
            if args.kernels:
                kernel_table(call)
            if not args.no_compile:
                compiled = {"compile": (half, x)} | ({"compile, channels last": (last, last_x)} if model == "resnet50" else {})
                for name, (module, value) in compiled.items():
                    torch._dynamo.reset()
                    began = time.perf_counter()
                    made = torch.compile(module, mode="reduce-overhead", dynamic=False)
                    for _ in range(4):
                        made(value)
                    torch.cuda.synchronize()
                    print(f"{model}, {name}: compiled in {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
                    functions = {"flame": call, name: lambda made=made, value=value: made(value)}
                    # A later compilation resets what an earlier one has made, so each has rounds with flame of its own.
                    measure(row, functions, args, in_a_row, waited_for)
                    if args.kernels:
                        kernel_table(functions[name])
        del call, session
        if args.format == "table":
            report([row], "table")
    if args.format != "table":
        report(rows, args.format)
    return 1 if failures else 0


def measure(row, functions, args, in_a_row, waited_for):
    for function in functions.values():
        in_a_row(function, 5)
    counts = {n: max(20, int(args.milliseconds * 1e3 / max(1.0, in_a_row(f, 10)))) for n, f in functions.items()}
    times, waits = ({n: [] for n in functions} for _ in range(2))
    for _ in range(args.rounds):
        for n, f in functions.items():
            times[n].append(in_a_row(f, counts[n]))
            waits[n].append(waited_for(f, 50))
    for key, values in (("us", times), ("waited", waits)):
        row.setdefault(key, {}).update({n: statistics.median(v) for n, v in values.items() if v})
    return row


def report(rows, style):
    if style == "json":
        print(json.dumps(rows, indent=1), flush=True)
        return
    table = [["model", "", "µs in a row", "waited for", "÷ flame", "error"]]
    for row in rows:
        if row["error"]:
            table.append([row["name"], "flame", "", "", "", row["error"]])
        for name in row.get("us", {}):
            us, waited = row["us"][name], row["waited"][name]
            error = row.get("flame error" if name == "flame" else "torch error")
            table.append([row["name"], name, f"{us:.1f}", f"{waited:.1f}", f"{us / row['us']['flame']:.2f}", f"{error:.2e}"])
    if style == "md":
        print_head("Short models", "short", "f16, batch 1; all on the same weights in alternating rounds "
              "of one process,\nerrors against f32 checked first. \"In a row\": the time of a run among many; \"waited for\": with a "
              "wait after every run.\nAbove 1 in the column \"÷ flame\" flame is faster.")  # fmt: skip
    print_table(table[0], table[1:], markdown=style == "md", left=2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    m = commands.add_parser("make")
    m.add_argument("--flamec", required=True)
    m.add_argument("--gpu", default="sm_90a")
    m.add_argument("--dynamic", action="store_true", help="batch and tokens symbolic")
    m.add_argument("--keep", action="store_true", help="leave the ONNX file and the weight file")
    r = commands.add_parser("run")
    r.add_argument("--library", required=True)
    r.add_argument("--rounds", type=int, default=9)
    r.add_argument("--milliseconds", type=float, default=60, help="length of one measurement")
    r.add_argument("--kernels", action="store_true", help="the time of every kernel, by PyTorch's profiler")
    r.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    r.add_argument("--format", choices=["table", "md", "json"], default="table")
    for p in (m, r):
        p.add_argument("--models", type=lambda text: text.split(","), default=list(WEIGHTS))
        p.add_argument("folder")
    args = parser.parse_args()
    if unknown := [m for m in args.models if m not in WEIGHTS]:
        parser.error(f"there is no model {', '.join(unknown)}; there are {', '.join(WEIGHTS)}")
    return make(args) if args.command == "make" else run(args)


if __name__ == "__main__":
    sys.exit(main())
