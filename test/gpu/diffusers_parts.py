"""A pipeline folder's models in the classes of diffusers and transformers, on the GPU: what the comparison and the benchmark
share. A part is the name of a model's subfolder."""

from __future__ import annotations

import json
import pathlib
import sys
import warnings

import numpy as np
import torch

PARTS = ("text_encoder", "text_encoder_2", "transformer", "vae")
CONFIGS = {"CLIPTextModel": "CLIPTextConfig", "T5EncoderModel": "T5Config"}
TYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def pipelines():
    """The maker of pipeline folders (test/e2e/pipelines)."""
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))
    from pipelines import make_pipeline

    return make_pipeline


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
    try:
        with torch.device("cuda"):
            if "_class_name" in config:
                import diffusers

                model = getattr(diffusers, config["_class_name"]).from_config(config)
            else:
                import transformers

                name = config["architectures"][0]
                model = getattr(transformers, name)(getattr(transformers, CONFIGS[name])(**config))
    finally:
        torch.set_default_dtype(torch.float32)
    # Newer versions of transformers name the text encoder's modules without the prefix that files have.
    if not any(name.startswith("text_model.") for name in model.state_dict()):
        tensors = {name.removeprefix("text_model."): value for name, value in tensors.items()}
    missing, extra = model.load_state_dict(tensors, strict=False)
    missing = [name for name in missing if name != "encoder.embed_tokens.weight"]  # the same as shared.weight
    if missing or extra:
        raise RuntimeError(f"{part}: missing {missing[:5]}, superfluous {extra[:5]}")
    return model.eval().requires_grad_(False)


def inputs_of(part, config, dtype, image, tokens, batch=1):
    """{name: tensor}, in the order of the model's inputs, for pictures of `image` pixels a side and `tokens` of text."""
    generator = torch.Generator("cuda").manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, device="cuda").to(dtype)

    def ids(count):
        return torch.randint(0, config["vocab_size"], (batch, count), generator=generator, device="cuda")

    side = image // 16
    if part == "text_encoder":
        return {"input_ids": ids(min(77, config["max_position_embeddings"]))}
    if part == "text_encoder_2":
        return {"input_ids": ids(tokens)}
    if part == "vae":
        return {"latent": normal(batch, config["latent_channels"], 2 * side, 2 * side)}
    place = torch.zeros(side, side, 3, device="cuda")
    place[..., 1], place[..., 2] = torch.arange(side, device="cuda")[:, None], torch.arange(side, device="cuda")
    inputs = {
        "hidden_states": normal(batch, side * side, config["in_channels"]),
        "encoder_hidden_states": normal(batch, tokens, config["joint_attention_dim"]),
        "pooled_projections": normal(batch, config["pooled_projection_dim"]),
        "timestep": torch.full((batch,), 0.75, device="cuda"),
        "img_ids": place.reshape(-1, 3),
        "txt_ids": torch.zeros(tokens, 3, device="cuda"),
    }
    return inputs | ({"guidance": torch.full((batch,), 3.5, device="cuda")} if config["guidance_embeds"] else {})


def typed(inputs, dtype):
    """The inputs as the classes take them: those that are not places in the model's type."""
    return {name: x.to(dtype) if x.is_floating_point() and "ids" not in name else x for name, x in inputs.items()}


def caller(part, model):
    """A function of the typed inputs that gives the model's results as flame has them."""
    if part == "vae":
        decode = getattr(model, "decode", model)  # a compiled decoder is a function
        return lambda inputs: [decode(inputs["latent"], return_dict=False)[0]]
    count = 2 if part == "text_encoder" else 1
    return lambda inputs: list(model(**inputs, return_dict=False)[:count])


def run(part, model, inputs, dtype):
    with torch.no_grad():
        return caller(part, model)(typed(inputs, dtype))


def reference(part, model, inputs):
    """The results with everything in a wider type. The model has its own type again afterwards, and its numbers: each of a
    narrow type is one of a wider type."""
    dtype = next(model.parameters()).dtype
    wide = torch.float64 if dtype == torch.float32 else torch.float32
    exact = run(part, model.to(wide), inputs, wide)
    model.to(dtype)
    torch.cuda.empty_cache()
    return exact


def rms(x):
    return float(x.double().square().mean().sqrt())


def outcome(ours, theirs, exact):
    """{"text", "good", and "ratio" for narrow types} of one result: flame's error beside PyTorch's."""
    error, allowed = rms(ours.double() - exact.double()), rms(theirs.double() - exact.double())
    finite = bool(torch.isfinite(ours).all())
    if theirs.dtype == torch.float32:
        relative = float((ours.double() - exact).abs().max() / exact.abs().max())
        return {"good": finite and relative <= 1e-5, "text": f"error {relative:.2e} of the greatest magnitude"}
    ratio = error / allowed if allowed else float("inf")
    return {"good": finite and ratio <= 1.1, "ratio": ratio,
            "text": f"rms error {error:.3e} of {rms(exact):.3e}, PyTorch's {allowed:.3e}: {ratio:.3f}"}  # fmt: skip
