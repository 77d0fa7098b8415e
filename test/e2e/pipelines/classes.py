"""The tensors that a model of each class has: names and shapes, from its configuration.

A specification of its own, from the published checkpoints: what flame's builders ask for is checked against it.
"""

from __future__ import annotations


def linear(name, outputs, inputs, bias=True):
    return {f"{name}.weight": (outputs, inputs)} | ({f"{name}.bias": (outputs,)} if bias else {})


def norm(name, width, bias=True):
    return {f"{name}.weight": (width,)} | ({f"{name}.bias": (width,)} if bias else {})


def conv(name, outputs, inputs, kernel=3):
    return {f"{name}.weight": (outputs, inputs, kernel, kernel), f"{name}.bias": (outputs,)}


def clip_text(config):
    width, inner = config["hidden_size"], config["intermediate_size"]
    root = "text_model"
    out = {
        f"{root}.embeddings.token_embedding.weight": (config["vocab_size"], width),
        f"{root}.embeddings.position_embedding.weight": (config["max_position_embeddings"], width),
    }
    for i in range(config["num_hidden_layers"]):
        layer = f"{root}.encoder.layers.{i}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            out |= linear(f"{layer}.self_attn.{name}", width, width)
        out |= norm(f"{layer}.layer_norm1", width) | norm(f"{layer}.layer_norm2", width)
        out |= linear(f"{layer}.mlp.fc1", inner, width) | linear(f"{layer}.mlp.fc2", width, inner)
    out |= norm(f"{root}.final_layer_norm", width)
    if config["architectures"] == ["CLIPTextModelWithProjection"]:
        out |= linear("text_projection", config["projection_dim"], width, bias=False)
    return out


def t5_encoder(config):
    width, inner, heads = config["d_model"], config["d_ff"], config["num_heads"] * config["d_kv"]
    out = {"shared.weight": (config["vocab_size"], width)}
    for i in range(config["num_layers"]):
        block = f"encoder.block.{i}"
        for name in "qkv":
            out |= linear(f"{block}.layer.0.SelfAttention.{name}", heads, width, bias=False)
        out |= linear(f"{block}.layer.0.SelfAttention.o", width, heads, bias=False)
        if i == 0:
            table = f"{block}.layer.0.SelfAttention.relative_attention_bias.weight"
            out[table] = (config["relative_attention_num_buckets"], config["num_heads"])
        for name in ("wi_0", "wi_1"):
            out |= linear(f"{block}.layer.1.DenseReluDense.{name}", inner, width, bias=False)
        out |= linear(f"{block}.layer.1.DenseReluDense.wo", width, inner, bias=False)
        out |= norm(f"{block}.layer.0.layer_norm", width, bias=False)
        out |= norm(f"{block}.layer.1.layer_norm", width, bias=False)
    return out | norm("encoder.final_layer_norm", width, bias=False)


def flux_transformer(config):
    head, width = config["attention_head_dim"], config["attention_head_dim"] * config["num_attention_heads"]
    out = linear("x_embedder", width, config["in_channels"])
    out |= linear("context_embedder", width, config["joint_attention_dim"])
    embedders = {"timestep_embedder": 256, "text_embedder": config["pooled_projection_dim"]}
    if config["guidance_embeds"]:
        embedders["guidance_embedder"] = 256
    for name, inputs in embedders.items():
        out |= linear(f"time_text_embed.{name}.linear_1", width, inputs)
        out |= linear(f"time_text_embed.{name}.linear_2", width, width)
    for i in range(config["num_layers"]):
        block = f"transformer_blocks.{i}"
        out |= linear(f"{block}.norm1.linear", 6 * width, width) | linear(f"{block}.norm1_context.linear", 6 * width, width)
        for name in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj", "to_out.0", "to_add_out"):
            out |= linear(f"{block}.attn.{name}", width, width)
        for name in ("norm_q", "norm_k", "norm_added_q", "norm_added_k"):
            out |= norm(f"{block}.attn.{name}", head, bias=False)
        for name in ("ff", "ff_context"):
            out |= linear(f"{block}.{name}.net.0.proj", 4 * width, width) | linear(f"{block}.{name}.net.2", width, 4 * width)
    for i in range(config["num_single_layers"]):
        block = f"single_transformer_blocks.{i}"
        out |= linear(f"{block}.norm.linear", 3 * width, width) | linear(f"{block}.proj_mlp", 4 * width, width)
        out |= linear(f"{block}.proj_out", width, 5 * width)
        for name in ("to_q", "to_k", "to_v"):
            out |= linear(f"{block}.attn.{name}", width, width)
        for name in ("norm_q", "norm_k"):
            out |= norm(f"{block}.attn.{name}", head, bias=False)
    return out | linear("norm_out.linear", 2 * width, width) | linear("proj_out", config["in_channels"], width)


def resnet(name, inputs, outputs):
    out = norm(f"{name}.norm1", inputs) | conv(f"{name}.conv1", outputs, inputs)
    out |= norm(f"{name}.norm2", outputs) | conv(f"{name}.conv2", outputs, outputs)
    return out | (conv(f"{name}.conv_shortcut", outputs, inputs, 1) if inputs != outputs else {})


def middle(name, width):
    out = resnet(f"{name}.resnets.0", width, width) | resnet(f"{name}.resnets.1", width, width)
    out |= norm(f"{name}.attentions.0.group_norm", width)
    for projection in ("to_q", "to_k", "to_v", "to_out.0"):
        out |= linear(f"{name}.attentions.0.{projection}", width, width)
    return out


def autoencoder_kl(config):
    widths, layers, latent = config["block_out_channels"], config["layers_per_block"], config["latent_channels"]
    out = conv("encoder.conv_in", widths[0], config["in_channels"])
    before = widths[0]
    for i, width in enumerate(widths):
        for k in range(layers):
            out |= resnet(f"encoder.down_blocks.{i}.resnets.{k}", before, width)
            before = width
        if i + 1 < len(widths):
            out |= conv(f"encoder.down_blocks.{i}.downsamplers.0.conv", width, width)
    out |= middle("encoder.mid_block", widths[-1]) | norm("encoder.conv_norm_out", widths[-1])
    out |= conv("encoder.conv_out", 2 * latent, widths[-1])
    out |= conv("decoder.conv_in", widths[-1], latent) | middle("decoder.mid_block", widths[-1])
    before = widths[-1]
    for i, width in enumerate(reversed(widths)):
        for k in range(layers + 1):
            out |= resnet(f"decoder.up_blocks.{i}.resnets.{k}", before, width)
            before = width
        if i + 1 < len(widths):
            out |= conv(f"decoder.up_blocks.{i}.upsamplers.0.conv", width, width)
    out |= norm("decoder.conv_norm_out", widths[0]) | conv("decoder.conv_out", config["out_channels"], widths[0])
    if config["use_quant_conv"]:
        out |= conv("quant_conv", 2 * latent, 2 * latent, 1)
    if config["use_post_quant_conv"]:
        out |= conv("post_quant_conv", latent, latent, 1)
    return out


def llama(config):
    width, inner = config["hidden_size"], config["intermediate_size"]
    head = width // config["num_attention_heads"]
    keys = head * config["num_key_value_heads"]
    out = {"model.embed_tokens.weight": (config["vocab_size"], width)}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        for name, outputs in (("q_proj", width), ("k_proj", keys), ("v_proj", keys), ("o_proj", width)):
            out |= linear(f"{layer}.self_attn.{name}", outputs, width, bias=False)
        out |= linear(f"{layer}.mlp.gate_proj", inner, width, bias=False)
        out |= linear(f"{layer}.mlp.up_proj", inner, width, bias=False)
        out |= linear(f"{layer}.mlp.down_proj", width, inner, bias=False)
        out |= norm(f"{layer}.input_layernorm", width, bias=False)
        out |= norm(f"{layer}.post_attention_layernorm", width, bias=False)
    out |= norm("model.norm", width, bias=False)
    return out | ({} if config["tie_word_embeddings"] else linear("lm_head", config["vocab_size"], width, bias=False))


CLASSES = {
    "AutoencoderKL": autoencoder_kl,
    "CLIPTextModel": clip_text,
    "CLIPTextModelWithProjection": clip_text,
    "FluxTransformer2DModel": flux_transformer,
    "LlamaForCausalLM": llama,
    "T5EncoderModel": t5_encoder,
}


def tensors(config):
    """{name: shape} of a model."""
    return CLASSES[config.get("_class_name") or config["architectures"][0]](config)
