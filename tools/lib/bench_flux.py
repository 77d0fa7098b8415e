#!/usr/bin/env python3
"""The models of FLUX.1-schnell in their full sizes against diffusers and transformers, in one process, on the same weights.

    bench_flux.py make --flamec FLAMEC [--gpu sm_90a] [--filter REGEX] FOLDER       needs NumPy; no GPU
    bench_flux.py run --library libflame_rt.so [--rounds N] [--format table|md|json] FOLDER     needs PyTorch, diffusers and a GPU

Weights are random, 34 GB in all; `run` writes them where there is room (--weights), and removes them again unless they were there
before. Each part is checked first: its error against float32 weights and activations must not exceed 1.1 times that of PyTorch in
bf16. Then flame, diffusers step by step and torch.compile are timed in alternating rounds, each long enough to be
sustained. The blocks of the transformer are compiled one of a kind (compile_repeated_blocks), which takes a fifth of the time that
the whole model takes; --whole compiles the whole. The status is 1 if a result is wrong.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from bench_gpu import command_line, print_head, print_table, sustained

ROOT = pathlib.Path(__file__).resolve().parents[2]
MAKER = ROOT / "test" / "e2e" / "pipelines" / "make_pipeline.py"
IMAGE, TOKENS = 1024, 512
# part: name in the table; small ones first, while the weights of the large ones are being written
PARTS = {
    "text_encoder": "CLIP-L, 77 tokens",
    "vae": f"VAE decode, {IMAGE}²",
    "text_encoder_2": f"T5-XXL, {TOKENS} tokens",
    "transformer": f"transformer step, {(IMAGE // 16) ** 2} + {TOKENS} tokens",
}


def chosen(pattern):
    return [part for part, name in PARTS.items() if not pattern or re.search(pattern, f"{part} {name}")]


def write_weights(folder, part, hollow=False):
    """A process that writes the part's folder."""
    return subprocess.Popen([sys.executable, MAKER, folder, "--size", "schnell", "--dtype", "BF16", "--only", part,
                             *(["--hollow"] if hollow else [])])  # fmt: skip


def make(args):
    folder = pathlib.Path(args.folder)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        for part in chosen(args.filter):
            if write_weights(scratch, part, hollow=True).wait():
                raise SystemExit(f"{MAKER} failed")
            shutil.copy(pathlib.Path(scratch) / part / "config.json", folder / f"{part}.json")
            began = time.perf_counter()
            subprocess.run([args.flamec, "compile", pathlib.Path(scratch) / part, "-o", folder / f"{part}.flame", "--target=cuda",
                            f"--gpu={args.gpu}", "-q", *args.option], check=True)  # fmt: skip
            print(f"{part}: compiled in {time.perf_counter() - began:.1f} s")


def place_of_weights(wanted):
    """A folder for 34 GB: in memory where that is large, since models are then loaded fastest."""
    if wanted:
        return pathlib.Path(wanted)
    memory = pathlib.Path("/dev/shm")
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 40e9
    return pathlib.Path(tempfile.mkdtemp(prefix="flame-flux-", dir=memory if roomy else None))


def compiled(part, model, whole):
    """(call, what is compiled of it)"""
    import diffusers_parts as parts
    import torch

    if part == "transformer" and not whole:
        model.compile_repeated_blocks()
        return parts.caller(part, model), "its blocks"
    return parts.caller(part, torch.compile(model.decode if part == "vae" else model)), "all of it"


def measure(part, weights, args):
    """The part's row."""
    import diffusers_parts as parts
    import flame_rt
    import torch

    row = {"part": part, "name": PARTS[part], "error": None}
    model = parts.load(part, weights / part)
    config = json.loads((weights / part / "config.json").read_text())
    if config != json.loads((pathlib.Path(args.folder) / f"{part}.json").read_text()):
        raise RuntimeError(f"{weights / part}/config.json is not the configuration that {args.folder}/{part}.flame was compiled for")
    inputs = parts.inputs_of(part, config, torch.bfloat16, IMAGE, TOKENS)
    theirs, exact = parts.run(part, model, inputs, torch.bfloat16), parts.reference(part, model, inputs)
    outputs = [torch.full_like(x, float("nan")) for x in theirs]
    began = time.perf_counter()
    session = flame_rt.Module(args.library, pathlib.Path(args.folder) / f"{part}.flame", weights=weights / part).session()
    session.on_stream(torch.cuda.current_stream().cuda_stream)
    call = session.bind(list(inputs.values()), outputs)
    call()
    torch.cuda.synchronize()
    row["load s"] = time.perf_counter() - began
    results = [parts.outcome(*values) for values in zip(outputs, theirs, exact)]
    row["ratio"] = max(r["ratio"] for r in results)
    if not all(r["good"] for r in results):
        row["error"] = "; ".join(r["text"] for r in results)
    del theirs, exact
    typed, step = parts.typed(inputs, torch.bfloat16), parts.caller(part, model)

    def eager():
        with torch.compiler.set_stance("force_eager"):
            step(typed)

    functions = {"flame": call, "eager": eager}
    if not args.no_compile:
        torch._dynamo.reset()
        fast, row["compiled"] = compiled(part, model, args.whole)
        began = time.perf_counter()
        fast(typed), fast(typed)
        torch.cuda.synchronize()
        row["compile s"] = time.perf_counter() - began
        functions["compile"] = lambda: fast(typed)
    for f in functions.values():
        f()
    row["ms"] = {name: us / 1e3 for name, us in sustained(functions, args.rounds, args.milliseconds).items()}
    row["finite"] = all(bool(torch.isfinite(x).all()) for x in outputs)
    if not row["finite"]:
        row["error"] = "a later run gave numbers that are not finite"
    return row


def run(args):
    import torch

    sys.path.insert(0, str(ROOT / "test" / "gpu"))
    # PyTorch's float32 is the reference: without TF32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    weights = place_of_weights(args.weights)
    todo = [part for part in chosen(args.filter) if (pathlib.Path(args.folder) / f"{part}.flame").exists()]
    writers = {part: write_weights(weights, part) for part in todo if not (weights / part).exists()}
    rows = []
    try:
        with torch.no_grad():
            for part in todo:
                if part in writers and writers[part].wait():
                    raise SystemExit(f"{MAKER} failed")
                try:
                    rows.append(measure(part, weights, args))
                except (ImportError, RuntimeError) as error:
                    rows.append({"part": part, "name": PARTS[part], "error": str(error)})
                if rows[-1]["error"]:
                    print(f"{part}: {rows[-1]['error']}", file=sys.stderr, flush=True)
                report(rows[-1:], "table", sys.stdout if args.format == "table" else sys.stderr)
                if part in writers:
                    shutil.rmtree(weights / part)
                torch._dynamo.reset()
                torch.cuda.empty_cache()
    finally:
        for part, writer in writers.items():
            writer.kill()
            writer.wait()
            shutil.rmtree(weights / part, ignore_errors=True)
        if not args.weights:
            shutil.rmtree(weights, ignore_errors=True)
    if args.format != "table":
        report(rows, args.format)
    return 1 if any(row["error"] for row in rows) or not rows else 0


def report(rows, style, stream=None):
    if style == "json":
        print(json.dumps(rows, indent=1))
        return
    head = ["model", "flame ms", "eager ms", "compile ms", "eager ÷ flame", "compile ÷ flame", "error ÷ PyTorch's", "load s",
            "compile s"]  # fmt: skip
    lines = []
    for row in rows:
        ms = row.get("ms")
        if not ms:
            lines.append([row["name"], "failed", *[""] * 7])
            continue
        rival = ms.get("compile")
        lines.append([row["name"], f"{ms['flame']:.2f}", f"{ms['eager']:.2f}", f"{rival:.2f}" if rival else "",
                      f"{ms['eager'] / ms['flame']:.2f}", f"{rival / ms['flame']:.2f}" if rival else "", f"{row['ratio']:.3f}",
                      f"{row['load s']:.1f}", f"{row['compile s']:.0f}" if rival else ""])  # fmt: skip
    if style == "md":
        import diffusers
        import transformers

        blocks = any(row.get("compiled") == "its blocks" for row in rows)
        print_head("The models of FLUX.1-schnell", "flux", f"diffusers {diffusers.__version__}, transformers "
              f"{transformers.__version__}, bf16, batch 1, random\nweights; all on the same weights and inputs in alternating "
              "rounds of one process. Above 1 in the columns \"÷ flame\" flame\nis faster. Errors are those against float32 weights "
              "and activations, flame's over PyTorch's; up to 1.1 is asked for.\n\"Load\": from files in memory to the end of the "
              "first run. \"Compile s\": the first two runs of torch.compile" +
              (", which compiles the\ntransformer block by block (`compile_repeated_blocks`)." if blocks else "."))  # fmt: skip
    with contextlib.redirect_stdout(stream or sys.stdout):
        print_table(head, lines, markdown=style == "md")


def options(commands):
    commands["run"].add_argument("--weights", help="folder of the weights; they stay there if they were there")
    commands["run"].add_argument("--whole", action="store_true", help="torch.compile of the whole transformer, a minute or more")


if __name__ == "__main__":
    sys.exit(command_line(__doc__, make, run, more=options, rounds=3))
