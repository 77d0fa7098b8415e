"""Tokenizer folders as diffusers saves them, with vocabularies trained on a small text."""

from __future__ import annotations

import io
import json
import pathlib
import re

import sentencepiece
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

TEXT = """
A red fox in the snow, digital art, highly detailed, sharp focus, studio lighting, 35mm photograph.
An astronaut riding a horse on the moon; oil painting by a master, dramatic clouds, golden hour.
The quick brown fox jumps over the lazy dog. It's what we've said, they'll see, I'm sure you'd know, isn't it?
A cat holding a sign that says "hello world", 4k, 8k, trending on the front page, 1990s film grain.
Ein kleines Mädchen mit roten Schuhen läuft über die Straße. Une étoile filante dans la forêt enchantée, où ça?
El niño pequeño corre por la montaña, ¿dónde está la canción? Große Bäume, schöne Häuser, ĳsselmeer.
Красная лиса в снегу, картина маслом. Маленький дом у реки. Ζωγραφιά της θάλασσας, μια όμορφη μέρα.
雪の中の赤い狐、水彩画。東京の夜景。红色的狐狸在雪地里，油画。빨간 여우가 눈 속에 있다. ثعلب أحمر في الثلج، لوحة زيتية.
a portrait of a woman, a portrait of a man, a landscape with mountains, a river and a lake, watercolor, pencil sketch
"""


def clip(folder: pathlib.Path, size=900, missing_bytes=False):
    """vocab.json, merges.txt, special_tokens_map.json and tokenizer_config.json, as CLIPTokenizer of version 4 saves
    them. Every byte is a token, unless only those of the text are to be."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", unk_token="<|endoftext|>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, end_of_word_suffix="</w>", show_progress=False,
                                  initial_alphabet=[] if missing_bytes else alphabet)  # fmt: skip
    tokenizer.train_from_iterator([TEXT.lower()] * 2, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    # CLIP's order: bytes, bytes that end a word, merged ones in the order of their merges, special ones.
    merged = list(dict.fromkeys(a + b for a, b in merges))
    single = [t for t in tokens if t not in set(merged)]
    ends = [t for t in single if t.endswith("</w>")]
    if not missing_bytes:
        ends += [f"{b}</w>" for b in sorted(alphabet) if f"{b}</w>" not in ends]
    order = [t for t in single if not t.endswith("</w>")] + ends + merged + ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(order))}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
    lines = ["#version: 0.2"] + [f"{a} {b}" for a, b in merges]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")

    def special(content):
        return {"content": content, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}

    start, end = special("<|startoftext|>"), special("<|endoftext|>")
    names = {"bos_token": start, "eos_token": end, "unk_token": end}
    (folder / "special_tokens_map.json").write_text(json.dumps(names | {"pad_token": "<|endoftext|>"}, indent=2))
    decoder = {str(vocabulary[t["content"]]): t | {"special": True} for t in (start, end)}
    config = {
        "add_prefix_space": False, "added_tokens_decoder": decoder, "bos_token": "<|startoftext|>",
        "clean_up_tokenization_spaces": True, "do_lower_case": True, "eos_token": "<|endoftext|>", "errors": "replace",
        "model_max_length": 77, "pad_token": "<|endoftext|>", "tokenizer_class": "CLIPTokenizer",
        "unk_token": "<|endoftext|>",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    return folder


def t5(folder: pathlib.Path, size=420, json_file=True, sentinels=100):
    """spiece.model, tokenizer_config.json and, if asked for, tokenizer.json, as T5TokenizerFast saves them."""
    folder.mkdir(parents=True, exist_ok=True)
    model = io.BytesIO()
    lines = [line for line in TEXT.splitlines() if line] * 4
    lines += re.findall(r"\w+", TEXT) * 2
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=size, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        character_coverage=0.98, normalization_rule_name="nmt_nfkc", minloglevel=2, hard_vocab_limit=False)  # fmt: skip
    (folder / "spiece.model").write_bytes(model.getvalue())
    extra = [f"<extra_id_{i}>" for i in range(sentinels)]

    def special(content):
        return {"content": content, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False}

    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    pieces = processor.get_piece_size()
    ids = {"<pad>": 0, "</s>": 1, "<unk>": 2} | {e: pieces + sentinels - 1 - i for i, e in enumerate(extra)}
    names = {"eos_token": special("</s>"), "pad_token": special("<pad>"), "unk_token": special("<unk>")}
    (folder / "special_tokens_map.json").write_text(
        json.dumps({"additional_special_tokens": [special(e) for e in extra]} | names, indent=2))  # fmt: skip
    config = {
        "added_tokens_decoder": {str(i): special(t) | {"special": True} for t, i in sorted(ids.items(), key=lambda x: x[1])},
        "additional_special_tokens": extra, "clean_up_tokenization_spaces": True, "eos_token": "</s>",
        "extra_ids": sentinels, "legacy": True, "model_max_length": 512, "pad_token": "<pad>", "sp_model_kwargs": {},
        "tokenizer_class": "T5Tokenizer", "unk_token": "<unk>",
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))
    if json_file:
        (folder / "tokenizer.json").write_text(_t5_json(model.getvalue(), ids, special))
    return folder


def _t5_json(model, ids, special):
    import base64

    from sentencepiece import sentencepiece_model_pb2

    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model)
    vocabulary = [[p.piece, p.score] for p in proto.pieces]
    vocabulary += [[t, 0.0] for t in sorted((t for t in ids if t.startswith("<extra")), key=ids.get)]
    space = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [{"id": i} | special(t) | {"special": True} for t, i in sorted(ids.items(), key=lambda x: x[1])],
        "normalizer": {"type": "Precompiled",
                       "precompiled_charsmap": base64.b64encode(proto.normalizer_spec.precompiled_charsmap).decode()},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, space]},
        "post_processor": {"type": "TemplateProcessing",
                           "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                           "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}},
                                    {"Sequence": {"id": "B", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                           "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}},
        "decoder": space,
        "model": {"type": "Unigram", "unk_id": 2, "vocab": vocabulary, "byte_fallback": False},
    }, ensure_ascii=False)  # fmt: skip
