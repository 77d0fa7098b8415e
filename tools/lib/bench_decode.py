#!/usr/bin/env python3
"""A token of a language model against PyTorch on the same GPU, in one process, on the same weights and caches.

    bench_decode.py make --flamec FLAMEC [--gpu sm_90a] FOLDER                     no GPU
    bench_decode.py run --library libflame_rt.so [--rounds N] [--filter REGEX] [--format table|md|json] FOLDER     needs PyTorch and a GPU

Layers of Llama 3 8B (32 heads of 128, 8 of keys and values), fewer of them and with a smaller vocabulary, bf16, `--part decode` with caches that
are updated in place. Weights are random; `run` writes them (2.3 GB), and removes them again. Each case is checked first: its error against
float32 must not exceed 1.1 times that of PyTorch in bf16. Then flame and PyTorch, its kernels in a CUDA graph, are timed in alternating rounds. TB/s
counts weights and the keys and values of the sequences, each once. `--artifact NAME=FILE` (of run) times one more. The status is 1 if a result is wrong.
"""

from __future__ import annotations

import json
import math
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from bench_gpu import command_line, print_head, print_table, sustained

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": 4096,
    "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8, "num_hidden_layers": 4,
    "rms_norm_eps": 1e-05, "rope_theta": 500000.0, "tie_word_embeddings": False, "vocab_size": 32000,
}  # fmt: skip
WIDTH, INNER, HEADS, KEY_HEADS = (CONFIG[k] for k in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"))
LAYERS, VOCABULARY, HEAD, EPSILON = CONFIG["num_hidden_layers"], CONFIG["vocab_size"], WIDTH // HEADS, CONFIG["rms_norm_eps"]
# sequences, positions in their caches
CASES = [(1, 128), (1, 8192), (1, 32768), (4, 2048), (16, 1024)]


def shapes():
    """{name: shape} of the weights."""
    result = {"model.embed_tokens.weight": (VOCABULARY, WIDTH), "model.norm.weight": (WIDTH,), "lm_head.weight": (VOCABULARY, WIDTH)}
    for i in range(LAYERS):
        layer = f"model.layers.{i}."
        for name, rows, columns in (("self_attn.q_proj", WIDTH, WIDTH), ("self_attn.k_proj", KEY_HEADS * HEAD, WIDTH),
                                    ("self_attn.v_proj", KEY_HEADS * HEAD, WIDTH), ("self_attn.o_proj", WIDTH, WIDTH),
                                    ("mlp.gate_proj", INNER, WIDTH), ("mlp.up_proj", INNER, WIDTH), ("mlp.down_proj", WIDTH, INNER)):  # fmt: skip
            result[f"{layer}{name}.weight"] = (rows, columns)
        for name in ("input_layernorm", "post_attention_layernorm"):
            result[f"{layer}{name}.weight"] = (WIDTH,)
    return result


def write_folder(folder, weights=None):
    """The model's folder; without `weights` a hollow one, which is enough to compile."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    header, at = {}, 0
    for name, shape in shapes().items():
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(folder / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        if weights is None:
            file.truncate(8 + len(text) + at)
        else:
            import torch

            for name in shapes():
                file.write(weights[name].view(torch.int16).cpu().numpy().tobytes())


def make(args):
    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        model = pathlib.Path(scratch) / "llama"
        write_folder(model)
        subprocess.run([args.flamec, "compile", model, "--part", "decode", "-o", folder / "llama.flame", "--target=cuda",
                        f"--gpu={args.gpu}", "-q", *args.option], check=True)  # fmt: skip


# ---- the same in PyTorch


def step(weights, ids, past, caches):
    """Logits [batch, vocabulary] of one token for each sequence; its key and value are put into the caches."""
    import torch
    import torch.nn.functional as F

    dtype = weights["lm_head.weight"].dtype
    x = F.embedding(ids, weights["model.embed_tokens.weight"])[:, 0]
    batch = x.shape[0]
    angles = past * CONFIG["rope_theta"] ** (-torch.arange(0, HEAD, 2, device=x.device, dtype=torch.float32) / HEAD)
    cosine, sine = angles.cos(), angles.sin()

    def norm(x, name):
        return F.rms_norm(x, (WIDTH,), weights[name + ".weight"], EPSILON)

    def turned(x):
        low, high = x.float().chunk(2, -1)
        return torch.cat([low * cosine - high * sine, high * cosine + low * sine], -1).to(dtype)

    for i, (keys, values) in enumerate(caches):
        layer = f"model.layers.{i}."
        linear = lambda x, name: F.linear(x, weights[f"{layer}{name}.weight"])  # noqa: B023, E731
        y = norm(x, layer + "input_layernorm")
        q = turned(linear(y, "self_attn.q_proj").view(batch, HEADS, HEAD))
        keys[:, :, past] = turned(linear(y, "self_attn.k_proj").view(batch, KEY_HEADS, HEAD))
        values[:, :, past] = linear(y, "self_attn.v_proj").view(batch, KEY_HEADS, HEAD)
        # Heads that share keys are rows: its kernels read them once then.
        y = F.scaled_dot_product_attention(q.view(batch, KEY_HEADS, -1, HEAD), keys[:, :, : past + 1], values[:, :, : past + 1])
        x = x + linear(y.reshape(batch, WIDTH), "self_attn.o_proj")
        y = norm(x, layer + "post_attention_layernorm")
        x = x + linear(F.silu(linear(y, "mlp.gate_proj")) * linear(y, "mlp.up_proj"), "mlp.down_proj")
    return F.linear(norm(x, "model.norm"), weights["lm_head.weight"])


def captured(call):
    """The call as a CUDA graph."""
    import torch

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        call(), call()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def measure(case, sessions, weights, exact, args):
    import torch

    batch, past = case
    row = {"case": list(case), "error": None}
    ids = torch.randint(0, VOCABULARY, (batch, 1), device="cuda")
    lengths = torch.full((batch,), past, device="cuda", dtype=torch.int64)
    shape = (batch, KEY_HEADS, past + 1, HEAD)
    caches = [tuple(torch.randn(shape, device="cuda", dtype=torch.bfloat16) for _ in range(2)) for _ in range(LAYERS)]
    want = step(exact, ids, past, [(k.float(), v.float()) for k, v in caches])
    logits = torch.full((batch, VOCABULARY), math.nan, device="cuda", dtype=torch.bfloat16)

    def theirs():
        logits.copy_(step(weights, ids, past, caches))

    functions = {"PyTorch": captured(theirs)}
    functions["PyTorch"]()
    errors = {"PyTorch": ((logits.float() - want).norm() / want.norm()).item()}
    flat, keep = [x for pair in caches for x in pair], []
    for name, session in sessions.items():
        keep.append(torch.full((batch, 1, VOCABULARY), math.nan, device="cuda", dtype=torch.bfloat16))
        functions[name] = session.bind([ids, lengths, *flat], [keep[-1], *flat])
        for _ in range(3):  # in a graph, too
            functions[name]()
        torch.cuda.synchronize()
        errors[name] = ((keep[-1][:, 0].float() - want).norm() / want.norm()).item()
        if not errors[name] <= 1.1 * errors["PyTorch"]:
            row["error"] = f"{name}: relative error in the norm {errors[name]:.2e}, PyTorch's {errors['PyTorch']:.2e}"
    row["errors"], row["us"] = errors, sustained(functions, args.rounds, args.milliseconds)
    weight_bytes = 2 * sum(math.prod(s) for n, s in shapes().items() if "embed" not in n)
    row["TB/s"] = (weight_bytes + 2 * sum(x.numel() for x in flat)) / row["us"]["flame"] / 1e6
    return row


def run(args):
    import torch

    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "test" / "gpu"))
    import flame_rt

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.manual_seed(1)
    memory = pathlib.Path("/dev/shm")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="flame-decode-", dir=memory if memory.is_dir() and shutil.disk_usage(memory).free > 8e9 else None))
    rows = []
    try:
        with torch.no_grad():
            weights = {n: (torch.randn(s, device="cuda") * (s[-1] ** -0.5) if len(s) == 2 else 1 + 0.1 * torch.randn(s, device="cuda")).bfloat16()
                       for n, s in shapes().items()}  # fmt: skip
            write_folder(folder, weights)
            exact = {name: w.float() for name, w in weights.items()}
            artifacts = {"flame": pathlib.Path(args.folder) / "llama.flame"} | dict(a.split("=", 1) for a in args.artifact)
            sessions = {name: flame_rt.Module(args.library, path, weights=folder).session() for name, path in artifacts.items()}
            for session in sessions.values():
                session.on_stream(torch.cuda.current_stream().cuda_stream)
            for case in CASES:
                if args.filter and not re.search(args.filter, "{}x{}".format(*case)):
                    continue
                rows.append(measure(case, sessions, weights, exact, args))
                if rows[-1]["error"]:
                    print(rows[-1]["error"], file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report(rows, args.format, [name for name in sessions if name != "flame"])
    return 1 if any(row["error"] for row in rows) or not rows else 0


def report(rows, style, others):
    if style == "json":
        print(json.dumps(rows, indent=1))
        return
    head = ["sequences", "positions", "flame µs", "TB/s", "PyTorch µs", "PyTorch ÷ flame", "error ÷ PyTorch's", *(f"{o} µs" for o in others)]
    lines = []
    for row in rows:
        us, errors = row["us"], row["errors"]
        lines.append([*map(str, row["case"]), f"{us['flame']:.1f}", f"{row['TB/s']:.2f}", f"{us['PyTorch']:.1f}", f"{us['PyTorch'] / us['flame']:.2f}",
                      f"{errors['flame'] / errors['PyTorch']:.2f}", *(f"{us[o]:.1f}" for o in others)])  # fmt: skip
    if style == "md":
        print_head("Tokens of a language model", "decode", f"{LAYERS} layers of Llama 3 8B and a vocabulary of {VOCABULARY}, bf16, one token for\neach of "
                   "some sequences behind so many positions; PyTorch's kernels in a CUDA graph. TB/s counts weights, keys and values once.")  # fmt: skip
    print_table(head, lines, markdown=style == "md", left=0)


def options(commands):
    commands["run"].add_argument("--artifact", action="append", default=[], metavar="NAME=FILE", help="one more to time")


if __name__ == "__main__":
    sys.exit(command_line(__doc__, make, run, compiles=False, more=options, rounds=3))
