#!/usr/bin/env python3
"""Tokenizers give the ids of transformers' CLIPTokenizer and T5Tokenizer, token for token."""

from __future__ import annotations

import json
import pathlib
import random
import tempfile
import time
import unittest

import tokenizer_folders
from flame_diffusion import BAD_DATA, INVALID_ARGUMENT, IO, UNSUPPORTED, FlameError, Library
from support import BIN
from transformers import CLIPTokenizer, T5Tokenizer

TEXTS = [
    "", " ", "   \t\n ", "a", "A red fox in the snow", "It's what we've said, they'll see; I'm sure you'd know: isn't it?",
    "IT'S WHAT WE'VE SAID 'S'T'RE'VE'M'LL'D ''s '' 's", "x'sy 'll'll don''t", "4k 8K 1990s ½ ² Ⅷ ٣٤ १२३ 12,345.678",
    "!!! ... ?!?! --- a-b_c (d) [e] {f} <g> #h @i $5 100% ^~`|\\/", "naïve café Ångström ÀÉÎÕÜ ß ẞ ﬁ ﬂ Ǆ ǆ ĳ",
    "e\u0301 a\u0308\u0323 a\u0323\u0308 q\u0323\u0307 \u0301 leading o\u0302\u0303\u0301 \u1100\u1161\u11a8 각",
    "İstanbul ISTANBUL ı I ΑΣ ΣΑΣ. ς Σ ΌΣΟΣ", "雪の中の赤い狐、水彩画。红色的狐狸 빨간 여우 ｆｕｌｌ　ｗｉｄｔｈ ㌔ ㈱ ｶﾞ",
    "ثعلب أحمر في الثلج، لوحة ‏زيتية‎ مُحَمَّد ﷺ ﻼ", "हिन्दी में नमस्ते ক্ষ தமிழ் ไทยไม่มีช่องว่าง ລາວ ខ្មែរ မြန်မာ",
    "👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷🇩 1️⃣ ©️ ® ™ ❤️ ☃ ©\u200d© ®\u200d☃ 🧑🏿‍🚀", "a\u00a0b\u2003c\u3000d\u2028e\u2029f\u200bg\ufeffh\u1680i\u205fj\u180ek",
    "a\r\nb\rc\nd\x0be\x0cf\x85g\x1ch\x1fi", "nul-free \x01\x02\x1b[0m \x7f \x80 \x9f \xad soft", "&amp; &lt;b&gt; &#39; &nbsp;&eacute; <br/>",
    "<|startoftext|>a photo<|endoftext|> b <|STARTOFTEXT|> c <|endofText|>x <|startoftext <|endoftext||>",
    "!<|startoftext|>! x<|endoftext|>y'<|endoftext|>'s  <|endoftext|>  z",
    "</s> a</s>b <pad> <unk>x <extra_id_0> <extra_id_99>y <extra_id_100> <EXTRA_ID_1> <s>", "▁a ▁▁ b▁c ▁ _ \u2581",
    "\u0600\u0601a \u06dd1 \u070fab \u08e2x \u0d4e\u0d15 \U000110bdx", "\ud7a3\u11a7\uac00\u11a8 \u1112\u1161\u11ab \uac01\u1100",
    "\U0001d400\U0001d7ce 𝓗𝓮𝓵𝓵𝓸 \U00020000\U0002a6df \U000e0041\U000e007f \ue000 \uffff \U0010ffff \ufffd",
    "Z̵̢͚͖a̷l̸g̶o̴ t̷e̸x̵t̶ " + "a" + "\u0301\u0323" * 200, "a" * 5000, "word " * 3000, "ab'" * 2000, "雪" * 1500, "\u0301" * 500,
    "x" + " " * 4000 + "y", "🦊" * 700, "A red fox in the snow, digital art, highly detailed, sharp focus. " * 40,
    "fi\ufb01\u0301 \ufb01\u200d \u212b \u1e9b\u0323 \u0344 \u0958 \ufb1d \u2adc \u0f73\u0f75 \u0f71\u0f72",
    "ﬀ ﬃ ſ ŉ ʹ ; · Å Ω K", "a\u0327\u0301\u0345 \u0345\u0327 \u05b0\u05b7 \u0e38\u0e48 \u3099か\u3099 \u0c4d\u0cbf\u0cd5",
]  # fmt: skip


def random_texts(count, seed):
    """Strings of characters from all of Unicode, of scripts, of ASCII, and of the pieces that matter."""
    rng = random.Random(seed)
    pieces = ["<|endoftext|>", "<|startoftext|>", "</s>", "<extra_id_7>", "'s", "'LL", "▁", "\r\n", "  ", "\u200d", "\u0301",
              "fox", " Snow", "99", "ﬁ", "\u1100\u1161", "🇩", "\ufe0f", "©"]  # fmt: skip
    blocks = [(0x20, 0x7F), (0x20, 0x7F), (0xA0, 0x250), (0x300, 0x370), (0x370, 0x500), (0x590, 0x700), (0x900, 0xE00),
              (0x1100, 0x1200), (0x1E00, 0x2100), (0x2000, 0x2070), (0x3040, 0x3100), (0xAC00, 0xAC80), (0xFB00, 0xFE00),
              (0xFE00, 0xFFFF), (0x1F300, 0x1F700), (0, 0x20), (0x10000, 0x11000), (0, 0x110000)]  # fmt: skip
    for _ in range(count):
        low, high = rng.choice(blocks)
        text = ""
        for _ in range(rng.choice([1, 2, 3, 5, 8, 20, 60])):
            choice = rng.random()
            if choice < 0.15:
                text += rng.choice(pieces)
            elif choice < 0.3:
                text += chr(rng.randrange(0x20, 0x7F))
            else:
                c = rng.randrange(low, high)
                text += chr(c) if c and not 0xD800 <= c < 0xE000 else " "
        yield text


class Tokenizers(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.library = Library(BIN.parent / "lib/libflame_diffusion.so")
        folder = tempfile.TemporaryDirectory(prefix="flame-test-")
        cls.addClassCleanup(folder.cleanup)
        cls.scratch = pathlib.Path(folder.name)
        cls.clip_folder = tokenizer_folders.clip(cls.scratch / "clip")
        cls.t5_folder = tokenizer_folders.t5(cls.scratch / "t5")

    def agree(self, ours, theirs, texts, length):
        wrong = []
        for text in texts:
            if (mine := ours.tokens(text)) != (right := theirs.encode(text, add_special_tokens=False)):
                wrong.append(f"{text[:80]!r}: {mine[:40]}, expected {right[:40]}")
            padded, used, dropped = ours.encode(text, length)
            expected = theirs(text, padding="max_length", truncation=True, max_length=length)
            if padded != expected["input_ids"] or used != sum(expected["attention_mask"]):
                wrong.append(f"{text[:80]!r} padded: {padded}, expected {expected['input_ids']}")
            self.assertEqual(used + dropped, len(theirs.encode(text)), text[:80])
        self.assertFalse(wrong, f"{len(wrong)} differ:\n" + "\n".join(wrong[:20]))

    def check(self, folder, kind, length, count=4000):
        ours, theirs = self.library.tokenizer(folder), kind.from_pretrained(folder)
        self.assertEqual(ours.max_length, theirs.model_max_length)
        self.agree(ours, theirs, TEXTS + list(random_texts(count, 1)), length)

    def test_clip(self):
        self.check(self.clip_folder, CLIPTokenizer, 77)

    def test_clip_in_one_file(self):
        CLIPTokenizer.from_pretrained(self.clip_folder).save_pretrained(self.scratch / "clip5")
        self.check(self.scratch / "clip5", CLIPTokenizer, 20, 300)

    def test_clip_without_some_bytes(self):
        self.check(tokenizer_folders.clip(self.scratch / "clip-bytes", 500, missing_bytes=True), CLIPTokenizer, 9, 300)

    def test_clip_padded_with_another_token(self):
        """As the second CLIP tokenizer of SDXL is: padded with "!"; without added_tokens_decoder."""
        folder = tokenizer_folders.clip(self.scratch / "clip-pad")
        for name, change in (("tokenizer_config.json", {"pad_token": "!"}), ("special_tokens_map.json", {"pad_token": "!"})):
            values = json.loads((folder / name).read_text()) | change
            values.pop("added_tokens_decoder", None)
            (folder / name).write_text(json.dumps(values))
        self.check(folder, CLIPTokenizer, 77, 300)

    def test_t5(self):
        self.check(self.t5_folder, T5Tokenizer, 64)

    def test_t5_of_sentencepiece_alone(self):
        self.check(tokenizer_folders.t5(self.scratch / "t5-model", json_file=False), T5Tokenizer, 512, 300)

    def test_t5_in_one_file(self):
        T5Tokenizer.from_pretrained(self.t5_folder).save_pretrained(self.scratch / "t55")
        self.check(self.scratch / "t55", T5Tokenizer, 256, 300)

    def test_every_character(self):
        """By itself, and behind and before a letter and a mark: classes, mappings, and grapheme clusters of all."""
        for folder, kind in ((self.clip_folder, CLIPTokenizer), (self.t5_folder, T5Tokenizer)):
            ours, theirs = self.library.tokenizer(folder), kind.from_pretrained(folder)
            characters = [chr(c) for c in range(1, 0x110000) if not 0xD800 <= c < 0xE000]
            for form in ("{0}", "a{0}", "{0}a", "9{0}!{0}", "ﬁ{0}", "\u0345{0}b"):
                texts = [" ".join(form.format(c) for c in characters[i : i + 64]) for i in range(0, 0x1100, 64)]
                texts += [" ".join(form.format(c) for c in characters[i : i + 64])
                          for i in range(0x1100, len(characters), 64 if form == "{0}" else 64 * 24)]  # fmt: skip
                wrong = [t for t in texts if ours.tokens(t) != theirs.encode(t, add_special_tokens=False)]
                self.assertFalse(wrong, f"{kind.__name__} {form}: {len(wrong)} of {len(texts)} differ: {wrong[:1]!a}")

    def test_speed(self):
        """Under a millisecond a prompt of 77 tokens and more, and no worse than linear in its length."""
        prompt = "A red fox in the snow, digital art, highly detailed, sharp focus, studio lighting. " * 6
        for folder in (self.clip_folder, self.t5_folder):
            tokenizer = self.library.tokenizer(folder)

            def seconds(text):
                best = 9.0
                for _ in range(15):
                    start = time.process_time()
                    tokenizer.encode(text, 77)
                    best = min(best, time.process_time() - start)
                return best

            self.assertLess(seconds(prompt), 1e-3)
            for unit in ("a", "\u0301", "<|endoftext|>", "fox ", "'"):
                self.assertLess(seconds(unit * (400_000 // len(unit))), 2, unit)

    def refuses(self, folder, code, *says):
        with self.assertRaises(FlameError) as caught:
            self.library.tokenizer(folder)
        self.assertEqual(caught.exception.code, code, str(caught.exception))
        for part in says:
            self.assertIn(part, str(caught.exception))

    def test_bad_files(self):
        cases = [
            ("clip", "vocab.json", b"", BAD_DATA, ["vocab.json", "JSON"]),
            ("clip", "vocab.json", b"[1]", BAD_DATA, ["vocab.json", "must be an object"]),
            ("clip", "vocab.json", b'{"a": 1, "a": 2}', BAD_DATA, ["vocab.json", "'a'", "twice"]),
            ("clip", "vocab.json", b'{"a": -1}', BAD_DATA, ["vocab.json", "integer"]),
            ("clip", "vocab.json", b'{"a": 1.5}', BAD_DATA, ["vocab.json", "integer"]),
            ("clip", "vocab.json", b'{"a": 1e300}', BAD_DATA, ["vocab.json", "integer"]),
            ("clip", "vocab.json", b'{"\xff": 1}', BAD_DATA, ["vocab.json"]),
            ("clip", "vocab.json", b"[" * 100_000, BAD_DATA, ["vocab.json", "nested"]),
            ("clip", "vocab.json", b"{}", BAD_DATA, ["vocab.json", "empty"]),
            ("clip", "vocab.json", None, IO, ["vocab.json", "No such file"]),
            ("clip", "merges.txt", None, IO, ["merges.txt"]),
            ("clip", "merges.txt", b"#version: 0.2\na\n", BAD_DATA, ["merges.txt", "line 2"]),
            ("clip", "merges.txt", b"a b c\n", BAD_DATA, ["merges.txt", "line 1"]),
            ("clip", "merges.txt", b"qqq zzz\n", BAD_DATA, ["merges.txt", "'qqq'", "vocabulary"]),
            ("clip", "merges.txt", b"\xff\xfe\n", BAD_DATA, ["merges.txt", "UTF-8"]),
            ("clip", "tokenizer_config.json", b"[]", BAD_DATA, ["tokenizer_config.json", "object"]),
            ("clip", "tokenizer_config.json", b'{"tokenizer_class": "LlamaTokenizer"}', UNSUPPORTED, ["LlamaTokenizer"]),
            ("clip", "tokenizer_config.json", b'{"tokenizer_class": 3}', BAD_DATA, ["tokenizer_class", "string"]),
            ("clip", "tokenizer_config.json", b'{"added_tokens_decoder": {"x": {}}}', BAD_DATA, ["added_tokens_decoder"]),
            ("clip", "tokenizer_config.json", b'{"added_tokens_decoder": {"3": {"content": "<|endoftext|>"}}}', BAD_DATA,
             ["tokenizer_config.json", "<|endoftext|>", "id 3"]),
            ("clip", "tokenizer_config.json", b'{"model_max_length": 0}', BAD_DATA, ["model_max_length"]),
            ("t5", "tokenizer.json", b"{}", BAD_DATA, ["tokenizer.json", "model"]),
            ("t5", "tokenizer.json", b'{"model": {"type": "BPE"}}', BAD_DATA, ["tokenizer.json", "BPE", "Unigram"]),
            ("t5", "tokenizer.json", b'{"model": {"unk_id": 0, "vocab": []}}', BAD_DATA, ["vocab"]),
            ("t5", "tokenizer.json", b'{"model": {"unk_id": 0, "vocab": [["a"]]}}', BAD_DATA, ["vocab[0]"]),
            ("t5", "tokenizer.json", b'{"model": {"unk_id": 0, "vocab": [["a", "b"]]}}', BAD_DATA, ["vocab[0][1]", "number"]),
            ("t5", "tokenizer.json", b'{"model": {"unk_id": 5, "vocab": [["a", 0]]}}', BAD_DATA, ["unk_id"]),
            ("t5", "tokenizer.json", b'{"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAA"}, '
             b'"model": {"unk_id": 0, "vocab": [["a", 0]]}}', BAD_DATA, ["precompiled_charsmap", "base64"]),
            ("t5", "tokenizer.json", b'{"normalizer": {"type": "Precompiled", "precompiled_charsmap": "//8AAAAA"}, '
             b'"model": {"unk_id": 0, "vocab": [["a", 0]]}}', BAD_DATA, ["character map", "damaged"]),
            ("model", "spiece.model", b"", BAD_DATA, ["spiece.model", "no pieces"]),
            ("model", "spiece.model", b"\x0a\xff\xff\xff\xff\x0f", BAD_DATA, ["spiece.model"]),
            ("model", "spiece.model", b"\x0b", BAD_DATA, ["spiece.model"]),
            ("model", "spiece.model", None, IO, ["spiece.model"]),
        ]  # fmt: skip
        for i, (kind, name, data, code, says) in enumerate(cases):
            with self.subTest(kind=kind, name=name, data=data[:60] if data else data):
                folder = self.scratch / f"bad-{i}"
                if kind == "clip":
                    tokenizer_folders.clip(folder, 300)
                else:
                    tokenizer_folders.t5(folder, 260, json_file=kind == "t5")
                (folder / name).unlink()
                if data is not None:
                    (folder / name).write_bytes(data)
                self.refuses(folder, code, *says)

    def test_every_truncation_of_a_model(self):
        folder = tokenizer_folders.t5(self.scratch / "cut", 260, json_file=False)
        data = (folder / "spiece.model").read_bytes()
        for end in list(range(0, 600)) + list(range(600, len(data), 977)):
            (folder / "spiece.model").write_bytes(data[:end])
            try:
                self.library.tokenizer(folder).tokens("A red fox")
            except FlameError as error:
                self.assertRegex(str(error), "spiece.model|not of one model")

    def test_no_tokenizer(self):
        (self.scratch / "nothing").mkdir()
        self.refuses(self.scratch / "nothing", IO, "nothing", "tokenizer.json")

    def test_bad_texts(self):
        for folder in (self.clip_folder, self.t5_folder):
            tokenizer = self.library.tokenizer(folder)
            for data in (b"a\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"ab\xe2\x82", b"\x80"):
                with self.assertRaisesRegex(FlameError, "UTF-8 at byte"):
                    tokenizer.tokens(data)
            with self.assertRaisesRegex(FlameError, "no place") as caught:
                tokenizer.encode("a fox", 1)
            self.assertEqual(caught.exception.code, INVALID_ARGUMENT)


if __name__ == "__main__":
    unittest.main(verbosity=2)
