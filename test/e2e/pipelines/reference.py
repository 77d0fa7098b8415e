"""The models of a pipeline in float64 numpy, from the definitions: no graph, no tensors shared with flame.

Weights are {name: float64 array}. `rounding` gives the nearest number of the model's element type, for the two places where
a definition rounds on purpose (the time step); frequencies that a definition computes in float32 are float32 here.

Within `rounding_each_step(rounding)` the result of every step is rounded: layers, norms, activations and attention once each,
arithmetic between them each time. These are the numbers of a framework that executes a model in a narrow type step by step.
"""

from __future__ import annotations

import contextlib
import functools
import math

import numpy as np

_rounding = None


@contextlib.contextmanager
def rounding_each_step(rounding):
    global _rounding
    _rounding = rounding
    try:
        yield
    finally:
        _rounding = None


class Rounded(np.ndarray):
    """float64 whose arithmetic rounds."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        return as_rounded(getattr(ufunc, method)(*map(plain, inputs), **options))


def plain(value):
    return np.asarray(value) if isinstance(value, np.ndarray) else value


def as_rounded(result):
    if isinstance(result, tuple):
        return tuple(map(as_rounded, result))
    floats = isinstance(result, np.ndarray) and result.dtype == np.float64
    return np.asarray(_rounding(result), np.float64).view(Rounded) if _rounding and floats else result


def step(function):
    """A function that a framework computes in a wide type and rounds once."""

    @functools.wraps(function)
    def run(*arguments, **options):
        global _rounding
        if _rounding is None:
            return function(*arguments, **options)
        rounding, _rounding = _rounding, None
        try:
            result = function(*map(plain, arguments), **{k: plain(v) for k, v in options.items()})
        finally:
            _rounding = rounding
        return as_rounded(result)

    return run


def erf(x):
    return np.vectorize(math.erf, otypes=[np.float64])(x)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


ACTIVATIONS = {
    "gelu": lambda x: 0.5 * x * (1 + erf(x / math.sqrt(2))),
    "gelu_new": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "silu": lambda x: x * sigmoid(x),
    "relu": lambda x: np.maximum(x, 0),
}
ACTIVATIONS = {name: step(function) for name, function in ACTIVATIONS.items()}


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class Weights:
    """Weights below a prefix."""

    def __init__(self, tensors, prefix=""):
        self.tensors, self.prefix = tensors, prefix

    def __getitem__(self, name):
        return as_rounded(self.tensors[self.prefix + name])

    def __contains__(self, name):
        return self.prefix + name in self.tensors

    def at(self, name):
        return Weights(self.tensors, f"{self.prefix}{name}.")


@step
def linear(w, x):
    y = x @ w["weight"].T
    return y + w["bias"] if "bias" in w else y


@step
def standard(x, epsilon, axes=-1):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + epsilon)


@step
def layer_norm(w, x, epsilon):
    return standard(x, epsilon) * w["weight"] + w["bias"]


@step
def rms_norm(w, x, epsilon):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + epsilon) * w["weight"]


def split_heads(x, heads):
    return x.reshape(*x.shape[:2], heads, -1).transpose(0, 2, 1, 3)


def join_heads(x):
    x = x.transpose(0, 2, 1, 3)
    return x.reshape(*x.shape[:2], -1)


@step
def attend(q, k, v, scale=None, bias=0.0, causal=False):
    """[batch, heads, tokens, width]; heads of k and v are repeated for groups of q's."""
    groups = q.shape[1] // k.shape[1]
    k, v = np.repeat(k, groups, 1), np.repeat(v, groups, 1)
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    scores = q @ k.swapaxes(-1, -2) * scale + bias
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
    return softmax(scores) @ v


def clip_text(tensors, config, ids):
    """last_hidden_state, pooler_output (or text_embeds, where there is a projection)."""
    w = Weights(tensors).at("text_model")
    heads, epsilon, act = config["num_attention_heads"], config["layer_norm_eps"], ACTIVATIONS[config["hidden_act"]]
    x = w["embeddings.token_embedding.weight"][ids] + w["embeddings.position_embedding.weight"][: ids.shape[1]]
    for i in range(config["num_hidden_layers"]):
        layer = w.at(f"encoder.layers.{i}")
        attn, y = layer.at("self_attn"), layer_norm(layer.at("layer_norm1"), x, epsilon)
        q, k, v = (split_heads(linear(attn.at(n), y), heads) for n in ("q_proj", "k_proj", "v_proj"))
        x = x + linear(attn.at("out_proj"), join_heads(attend(q, k, v, causal=True)))
        y = act(linear(layer.at("mlp.fc1"), layer_norm(layer.at("layer_norm2"), x, epsilon)))
        x = x + linear(layer.at("mlp.fc2"), y)
    x = layer_norm(w.at("final_layer_norm"), x, epsilon)
    end = config["eos_token_id"]
    at = ids.argmax(1) if end == 2 else (ids == end).argmax(1)
    pooled = x[np.arange(len(ids)), at]
    if "text_projection.weight" in tensors:
        pooled = pooled @ tensors["text_projection.weight"].T
    return x, pooled


def t5_bucket(distance, buckets, furthest):
    """The bucket of key − query, both directions."""
    half = buckets // 2
    exact, first, far = half // 2, half if distance > 0 else 0, abs(distance)
    if far < exact:
        return first + far
    return first + min(exact + int(math.log(far / exact) / math.log(furthest / exact) * (half - exact) + 1e-9), half - 1)


def t5_encoder(tensors, config, ids):
    w, epsilon, heads = Weights(tensors), config["layer_norm_epsilon"], config["num_heads"]
    tokens = ids.shape[1]
    table = w["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    buckets, furthest = config["relative_attention_num_buckets"], config["relative_attention_max_distance"]
    bias = np.empty((heads, tokens, tokens))
    for query in range(tokens):
        for key in range(tokens):
            bias[:, query, key] = table[t5_bucket(key - query, buckets, furthest)]
    x = w["shared.weight"][ids]
    for i in range(config["num_layers"]):
        block = w.at(f"encoder.block.{i}")
        attn, y = block.at("layer.0.SelfAttention"), rms_norm(block.at("layer.0.layer_norm"), x, epsilon)
        q, k, v = (split_heads(linear(attn.at(n), y), heads) for n in "qkv")
        x = x + linear(attn.at("o"), join_heads(attend(q, k, v, scale=1.0, bias=bias)))
        dense, y = block.at("layer.1.DenseReluDense"), rms_norm(block.at("layer.1.layer_norm"), x, epsilon)
        x = x + linear(dense.at("wo"), ACTIVATIONS["gelu_new"](linear(dense.at("wi_0"), y)) * linear(dense.at("wi_1"), y))
    return rms_norm(w.at("encoder.final_layer_norm"), x, epsilon)


@step
def rotate(x, angles):
    """x [batch, heads, tokens, width] as complex numbers of neighbours, turned by angles [tokens, width / 2]."""
    turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angles)
    return np.stack([turned.real, turned.imag], -1).reshape(x.shape)


@step
def rotate_halves(x, angles):
    half = x.shape[-1] // 2
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * angles)
    return np.concatenate([turned.real, turned.imag], -1)


def waves(number, width=256):
    half = width // 2
    exponents = np.float32(-math.log(10000)) * np.arange(half, dtype=np.float32) / np.float32(half)
    frequencies = np.exp(exponents.astype(np.float64)).astype(np.float32)
    angles = (number.astype(np.float32)[:, None] * frequencies).astype(np.float64)
    return np.concatenate([np.cos(angles), np.sin(angles)], -1)


def flux_transformer(tensors, config, inputs, rounding=lambda x: x):
    w, heads, head = Weights(tensors), config["num_attention_heads"], config["attention_head_dim"]
    silu, gelu = ACTIVATIONS["silu"], ACTIVATIONS["gelu_new"]

    def embed(name, x):
        e = w.at(f"time_text_embed.{name}")
        return linear(e.at("linear_2"), silu(linear(e.at("linear_1"), x)))

    def embed_number(name, x):
        return embed(name, rounding(waves(rounding(rounding(x.astype(np.float64)) * 1000))))

    condition = embed_number("timestep_embedder", inputs["timestep"]) + embed("text_embedder", inputs["pooled_projections"])
    if config["guidance_embeds"]:
        condition = condition + embed_number("guidance_embedder", inputs["guidance"])
    ids = np.concatenate([inputs["txt_ids"], inputs["img_ids"]]).astype(np.float64)
    angles = np.concatenate(
        [ids[:, i, None] * 10000.0 ** (-np.arange(0, n, 2) / n) for i, n in enumerate(config["axes_dims_rope"])], 1
    )

    def modulation(block, count):
        return np.split(linear(block.at("linear"), silu(condition))[:, None], count, -1)

    def modulate(x, shift, scale):
        return standard(x, 1e-6) * (1 + scale) + shift

    def project(attn, x, names, norms):
        q, k, v = (split_heads(linear(attn.at(n), x), heads) for n in names)
        return rms_norm(attn.at(norms[0]), q, 1e-6), rms_norm(attn.at(norms[1]), k, 1e-6), v

    def joint(q, k, v):
        return join_heads(attend(rotate(q, angles), rotate(k, angles), v, scale=head**-0.5))

    def feed_forward(ff, x):
        return linear(ff.at("net.2"), gelu(linear(ff.at("net.0.proj"), x)))

    image, text = linear(w.at("x_embedder"), inputs["hidden_states"]), linear(w.at("context_embedder"), inputs["encoder_hidden_states"])
    tokens = text.shape[1]
    for i in range(config["num_layers"]):
        block = w.at(f"transformer_blocks.{i}")
        m, c, attn = modulation(block.at("norm1"), 6), modulation(block.at("norm1_context"), 6), block.at("attn")
        of_image = project(attn, modulate(image, *m[:2]), ("to_q", "to_k", "to_v"), ("norm_q", "norm_k"))
        names = ("add_q_proj", "add_k_proj", "add_v_proj")
        of_text = project(attn, modulate(text, *c[:2]), names, ("norm_added_q", "norm_added_k"))
        y = joint(*(np.concatenate(pair, 2) for pair in zip(of_text, of_image)))
        image = image + m[2] * linear(attn.at("to_out.0"), y[:, tokens:])
        text = text + c[2] * linear(attn.at("to_add_out"), y[:, :tokens])
        image = image + m[5] * feed_forward(block.at("ff"), modulate(image, *m[3:5]))
        text = text + c[5] * feed_forward(block.at("ff_context"), modulate(text, *c[3:5]))
    x = np.concatenate([text, image], 1)
    for i in range(config["num_single_layers"]):
        block = w.at(f"single_transformer_blocks.{i}")
        shift, scale, gate = modulation(block.at("norm"), 3)
        y = modulate(x, shift, scale)
        attended = joint(*project(block.at("attn"), y, ("to_q", "to_k", "to_v"), ("norm_q", "norm_k")))
        both = np.concatenate([attended, gelu(linear(block.at("proj_mlp"), y))], -1)
        x = x + gate * linear(block.at("proj_out"), both)
    scale, shift = modulation(w.at("norm_out"), 2)
    return linear(w.at("proj_out"), modulate(x[:, tokens:], shift, scale))


@step
def conv(w, x, stride=1, pads=(1, 1)):
    kernel = w["weight"]
    size = kernel.shape[-1]
    pads = (0, 0) if size == 1 else pads
    x = np.pad(x, ((0, 0), (0, 0), pads, pads))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (2, 3))[:, :, ::stride, ::stride]
    return np.einsum("nchwij,ocij->nohw", windows, kernel, optimize=True) + w["bias"][:, None, None]


class Autoencoder:
    def __init__(self, tensors, config):
        self.w, self.config = Weights(tensors), config

    @step
    def group_norm(self, w, x):
        grouped = x.reshape(x.shape[0], self.config["norm_num_groups"], -1)
        return standard(grouped, 1e-6).reshape(x.shape) * w["weight"][:, None, None] + w["bias"][:, None, None]

    def activated(self, w, x):
        return ACTIVATIONS[self.config["act_fn"]](self.group_norm(w, x))

    def resnet(self, w, x):
        y = conv(w.at("conv1"), self.activated(w.at("norm1"), x))
        y = conv(w.at("conv2"), self.activated(w.at("norm2"), y))
        return y + (conv(w.at("conv_shortcut"), x) if "conv_shortcut.weight" in w else x)

    def middle(self, w, x):
        x = self.resnet(w.at("resnets.0"), x)
        attn = w.at("attentions.0")
        y = self.group_norm(attn.at("group_norm"), x).reshape(*x.shape[:2], -1).swapaxes(1, 2)
        q, k, v = (split_heads(linear(attn.at(n), y), 1) for n in ("to_q", "to_k", "to_v"))
        y = linear(attn.at("to_out.0"), join_heads(attend(q, k, v)))
        return self.resnet(w.at("resnets.1"), x + y.swapaxes(1, 2).reshape(x.shape))

    def decode(self, x):
        if "post_quant_conv.weight" in self.w:
            x = conv(self.w.at("post_quant_conv"), x)
        w = self.w.at("decoder")
        x = self.middle(w.at("mid_block"), conv(w.at("conv_in"), x))
        count = len(self.config["block_out_channels"])
        for i in range(count):
            block = w.at(f"up_blocks.{i}")
            for k in range(self.config["layers_per_block"] + 1):
                x = self.resnet(block.at(f"resnets.{k}"), x)
            if i + 1 < count:
                x = conv(block.at("upsamplers.0.conv"), x.repeat(2, 2).repeat(2, 3))
        return conv(w.at("conv_out"), self.activated(w.at("conv_norm_out"), x))

    def encode(self, x):
        """mean, logvar"""
        w = self.w.at("encoder")
        x = conv(w.at("conv_in"), x)
        count = len(self.config["block_out_channels"])
        for i in range(count):
            block = w.at(f"down_blocks.{i}")
            for k in range(self.config["layers_per_block"]):
                x = self.resnet(block.at(f"resnets.{k}"), x)
            if i + 1 < count:
                x = conv(block.at("downsamplers.0.conv"), x, stride=2, pads=(0, 1))
        x = self.middle(w.at("mid_block"), x)
        x = conv(w.at("conv_out"), self.activated(w.at("conv_norm_out"), x))
        if "quant_conv.weight" in self.w:
            x = conv(self.w.at("quant_conv"), x)
        mean, logvar = np.split(x, 2, 1)
        return mean, np.clip(logvar, -30, 20)


    def tiled_decode(self, x, sample_min_size, overlap=0.25):
        """By tiles whose overlaps are weighted sums, from the definition of what each pixel is: a tile fades in over what
        is above it, which has faded in itself, then over what is to its left."""
        scale = 2 ** (len(self.config["block_out_channels"]) - 1)
        side, step, extent = sample_min_size // scale, int(sample_min_size // scale * (1 - overlap)), int(sample_min_size * overlap)
        starts = [range(0, size, step) for size in x.shape[2:]]
        tiles = {(i, j): self.decode(x[:, :, i : i + side, j : j + side]) for i in starts[0] for j in starts[1]}

        def fade(before, tile, axis):
            count = min(before.shape[axis], tile.shape[axis], extent)
            if not count:
                return tile
            before, tile = np.moveaxis(before, axis, -1), np.moveaxis(tile, axis, -1).copy()
            weight = np.arange(count) / count
            tile[..., :count] = before[..., before.shape[-1] - count :] * (1 - weight) + tile[..., :count] * weight
            return np.moveaxis(tile, -1, axis)

        image = np.full((x.shape[0], 3, x.shape[2] * scale, x.shape[3] * scale), np.nan)
        for i, j in sorted(tiles):
            if i:
                tiles[i, j] = fade(tiles[i - step, j], tiles[i, j], 2)
            if j:
                tiles[i, j] = fade(tiles[i, j - step], tiles[i, j], 3)
            shown = tiles[i, j][:, :, : step * scale, : step * scale]
            image[:, :, i * scale : i * scale + shown.shape[2], j * scale : j * scale + shown.shape[3]] = shown
        return image


def llama_frequencies(config, head):
    rope = config.get("rope_parameters") or {"rope_theta": config["rope_theta"], **(config.get("rope_scaling") or {})}
    plain = np.float32(rope["rope_theta"]) ** -(np.arange(0, head, 2, dtype=np.float32) / np.float32(head))
    if rope.get("rope_type", "default") == "default":
        return plain
    # llama3: long waves are made longer, short ones stay, those in between lie in between.
    low, high, context = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    out = []
    for frequency in plain:
        wave = 2 * np.pi / frequency
        if wave < context / high:
            out.append(frequency)
        elif wave > context / low:
            out.append(frequency / rope["factor"])
        else:
            smooth = (context / wave - low) / (high - low)
            out.append((1 - smooth) * frequency / rope["factor"] + smooth * frequency)
    return np.array(out, np.float32)


def llama(tensors, config, ids, past=None):
    """logits, and a list of (keys, values) a layer. `past`: how many tokens of each sequence the caches [batch, heads, capacity,
    head] hold, and the caches, which then are copied and take the new tokens'."""
    w, epsilon = Weights(tensors), config["rms_norm_eps"]
    heads, key_heads = config["num_attention_heads"], config["num_key_value_heads"]
    head = config["hidden_size"] // heads
    lengths, caches = past or (np.zeros(len(ids), np.int64), None)
    positions = lengths[:, None] + np.arange(ids.shape[1])
    angles = (positions.astype(np.float32)[:, None, :, None] * llama_frequencies(config, head)).astype(np.float64)

    def put(cache, states):
        cache = cache.copy()
        for i, length in enumerate(lengths):
            cache[i, :, length : length + ids.shape[1]] = states[i]
        return as_rounded(cache)

    x, cache = w["model.embed_tokens.weight"][ids], []
    for i in range(config["num_hidden_layers"]):
        layer = w.at(f"model.layers.{i}")
        attn, y = layer.at("self_attn"), rms_norm(layer.at("input_layernorm"), x, epsilon)
        q = rotate_halves(split_heads(linear(attn.at("q_proj"), y), heads), angles)
        k = rotate_halves(split_heads(linear(attn.at("k_proj"), y), key_heads), angles)
        v = split_heads(linear(attn.at("v_proj"), y), key_heads)
        if caches:
            k, v = put(caches[i][0], k), put(caches[i][1], v)
            hidden = np.where(np.arange(k.shape[2]) <= positions[:, None, :, None], 0.0, -np.inf)
            y = attend(q, k, v, bias=hidden)
        else:
            y = attend(q, k, v, causal=True)
        x = x + linear(attn.at("o_proj"), join_heads(y))
        mlp, y = layer.at("mlp"), rms_norm(layer.at("post_attention_layernorm"), x, epsilon)
        x = x + linear(mlp.at("down_proj"), ACTIVATIONS["silu"](linear(mlp.at("gate_proj"), y)) * linear(mlp.at("up_proj"), y))
        cache.append((k, v))
    x = rms_norm(w.at("model.norm"), x, epsilon)
    return linear(w.at("model.embed_tokens" if config["tie_word_embeddings"] else "lm_head"), x), cache
