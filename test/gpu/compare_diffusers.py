#!/usr/bin/env python3
"""A pipeline's models against the classes of diffusers and transformers, on a GPU.

compare_diffusers.py FOLDER ARTIFACTS --lib libflame_rt.so [--part PART…] [--image 1024] [--tokens 256] [--milliseconds]

FOLDER is a pipeline folder (test/e2e/pipelines/make_pipeline.py makes one), ARTIFACTS has `PART.flame` of `flamec compile
FOLDER/PART --target=cuda`. Each part runs on the same seeded inputs in PyTorch with float32 weights (the reference), in PyTorch in
the folder's type, and in flame. A part fails where flame's error, as the root mean square, is over 1.1 times PyTorch's; in
float32 where it is over 1e-5 of the greatest magnitude. The last line is `N passed, N failed, N skipped`.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
import warnings

import numpy as np
import torch

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import flame_rt

STEPWISE, TOLERANCE = 1.1, 1e-5
PARTS = ("text_encoder", "text_encoder_2", "transformer", "vae")
CONFIGS = {"CLIPTextModel": "CLIPTextConfig", "T5EncoderModel": "T5Config"}
TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def stored_tensors(folder):
    """{name: tensor on the GPU} of all shards."""
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        data = np.memmap(path, np.uint8, "r")
        begin = 8 + int.from_bytes(data[:8].tobytes(), "little")
        for name, entry in json.loads(data[8:begin].tobytes()).items():
            if name != "__metadata__":
                first, last = entry["data_offsets"]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # nobody writes to it
                    flat = torch.from_numpy(data[begin + first : begin + last])
                tensors[name] = flat.cuda().view(TYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def load(part, folder):
    """The model on the GPU, in the type of its weights."""
    tensors = stored_tensors(folder)
    torch.set_default_dtype(next(iter(tensors.values())).dtype)
    config = json.loads((folder / "config.json").read_text())
    with torch.device("cuda"):
        if "_class_name" in config:
            import diffusers

            model = getattr(diffusers, config["_class_name"]).from_config(config)
        else:
            import transformers

            name = config["architectures"][0]
            model = getattr(transformers, name)(getattr(transformers, CONFIGS[name])(**config))
    torch.set_default_dtype(torch.float32)
    # Newer versions of transformers name the text encoder's modules without the prefix that files have.
    if not any(name.startswith("text_model.") for name in model.state_dict()):
        tensors = {name.removeprefix("text_model."): value for name, value in tensors.items()}
    missing, extra = model.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if name != "encoder.embed_tokens.weight"]  # the same as shared.weight
    if missing or extra:
        raise RuntimeError(f"{part}: missing {missing[:5]}, superfluous {extra[:5]}")
    return model.eval()


def inputs_of(part, config, dtype, args):
    """{name: tensor}, in the order of the model's inputs."""
    generator = torch.Generator("cuda").manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, device="cuda").to(dtype)

    def ids(tokens):
        return torch.randint(0, config["vocab_size"], (1, tokens), generator=generator, device="cuda")

    side = args.image // 16
    if part == "text_encoder":
        return {"input_ids": ids(min(77, config["max_position_embeddings"]))}
    if part == "text_encoder_2":
        return {"input_ids": ids(args.tokens)}
    if part == "vae":
        return {"latent": normal(1, config["latent_channels"], 2 * side, 2 * side)}
    image = torch.zeros(side, side, 3, device="cuda")
    image[..., 1], image[..., 2] = torch.arange(side, device="cuda")[:, None], torch.arange(side, device="cuda")
    inputs = {
        "hidden_states": normal(1, side * side, config["in_channels"]),
        "encoder_hidden_states": normal(1, args.tokens, config["joint_attention_dim"]),
        "pooled_projections": normal(1, config["pooled_projection_dim"]),
        "timestep": torch.tensor([0.75], device="cuda"),
        "img_ids": image.reshape(-1, 3),
        "txt_ids": torch.zeros(args.tokens, 3, device="cuda"),
    }
    return inputs | ({"guidance": torch.tensor([3.5], device="cuda")} if config["guidance_embeds"] else {})


def run_torch(part, model, inputs, dtype):
    moved = {name: x.to(dtype) if x.is_floating_point() and "ids" not in name else x for name, x in inputs.items()}
    with torch.no_grad():
        if part == "vae":
            return [model.decode(moved["latent"], return_dict=False)[0]]
        outputs = model(**moved, return_dict=False)
        return list(outputs[:2] if part == "text_encoder" else outputs[:1])


def milliseconds(call, repeats=10):
    for _ in range(3):
        call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3 / repeats


def rms(x):
    return float(x.double().square().mean().sqrt())


def compare(part, args):
    """Prints the part's row; True if it passed."""
    folder = args.folder / part
    config = json.loads((folder / "config.json").read_text())
    try:
        model = load(part, folder)
    except (ImportError, AttributeError, RuntimeError) as error:
        print(f"FAIL {part}: {error}", flush=True)
        return False
    dtype = next(model.parameters()).dtype
    inputs = inputs_of(part, config, dtype, args)
    theirs = run_torch(part, model, inputs, dtype)
    their_time = milliseconds(lambda: run_torch(part, model, inputs, dtype)) if args.milliseconds else 0
    compiled_time = 0
    if args.compile:
        compiled = torch.compile(model)
        compiled_time = milliseconds(lambda: run_torch(part, compiled, inputs, dtype))
        del compiled
    exact = run_torch(part, model.float(), inputs, torch.float32)
    del model
    torch.cuda.empty_cache()
    module = flame_rt.Module(args.lib, args.artifacts / f"{part}.flame", weights=folder)
    session = module.session()
    session.device_outputs()
    ours = [x.torch().clone() for x in session.run(list(inputs.values()))]
    our_time = milliseconds(lambda: session.run(list(inputs.values()))) if args.milliseconds else 0
    passed = True
    for i, (a, b, e) in enumerate(zip(ours, theirs, exact)):
        error, allowed = rms(a.float() - e), rms(b.float() - e)
        if dtype == torch.float32:
            relative = float((a - e).abs().max() / e.abs().max())
            good = relative <= TOLERANCE
            text = f"error {relative:.2e} of the greatest magnitude"
        else:
            good = error <= STEPWISE * allowed
            text = f"rms error {error:.3e} of {rms(e):.3e}, PyTorch's {allowed:.3e}: {error / allowed:.3f}"
        good &= bool(torch.isfinite(a).all())
        times = f"; {our_time:.2f} ms, PyTorch {their_time:.2f} ms" if args.milliseconds and i == 0 else ""
        times += f", compiled {compiled_time:.2f} ms" if args.compile and i == 0 else ""
        print(f"{'ok  ' if good else 'FAIL'} {part} output {i}: {text}{times}", flush=True)
        passed &= good
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("artifacts", type=pathlib.Path)
    parser.add_argument("--lib", required=True)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--image", type=int, default=1024, help="side of the picture in pixels")
    parser.add_argument("--tokens", type=int, default=256, help="of the text")
    parser.add_argument("--milliseconds", action="store_true", help="time both, one call after the other")
    parser.add_argument("--compile", action="store_true", help="time torch.compile, too, which takes a minute a part")
    args = parser.parse_args()
    # PyTorch's float32 is the reference: without TF32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    counts = {"passed": 0, "failed": 0, "skipped": 0}
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
