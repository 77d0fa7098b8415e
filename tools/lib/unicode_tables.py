#!/usr/bin/env python3
"""Writes runtime/diffusion/UnicodeTables.inc: the character classes and mappings of the tokenizers.

    unicode_tables.py runtime/diffusion/UnicodeTables.inc

What Hugging Face's `tokenizers` says of each character is asked of the installed version itself: its parts (Oniguruma,
unicode-normalization, unicode-segmentation, the Rust library) follow different versions of Unicode, and ids must agree
with all of them. The Unicode data of the Python package `regex` only proposes what to ask for. Needs tokenizers, regex,
unicodedata2 and sentencepiece; takes a minute. Run it when test/e2e/test_tokenizers.py says that a newer version of
tokenizers disagrees.
"""

from __future__ import annotations

import importlib.metadata
import io
import pathlib
import sys
import tempfile

import regex
import sentencepiece
import unicodedata2
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Regex, normalizers

CHARACTERS = [chr(c) for c in range(0x110000) if not 0xD800 <= c < 0xE000]
BREAKS = ["Other", "CR", "LF", "Control", "Extend", "ZWJ", "Regional_Indicator", "Prepend", "SpacingMark", "L", "V",
          "T", "LV", "LVT"]  # fmt: skip
LETTER, NUMBER, SPACE, PICTOGRAPH = 1, 2, 4, 8


def matching(pattern):
    erase = normalizers.Replace(Regex(pattern), "")
    return {c for c in CHARACTERS if not erase.normalize_str(c)}


def charsmap(rules):
    """A sentencepiece normaliser of these replacements."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "rules.tsv")
        path.write_text("".join(f"{ord(a):X}\t{ord(b):X}\n" for a, b in rules.items()))
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(["the cat sat on the mat and it was a nice cat that was fat"] * 5), vocab_size=40,
            model_writer=model, normalization_rule_tsv=str(path), minloglevel=2, hard_vocab_limit=False)  # fmt: skip
    proto = sentencepiece_model_pb2.ModelProto()
    proto.ParseFromString(model.getvalue())
    return normalizers.Precompiled(proto.normalizer_spec.precompiled_charsmap)


def grapheme_breaks():
    """Class of UAX #29 of each character that has one in the version of tokenizers."""
    proposed = {}
    for name in BREAKS[1:]:
        for c in CHARACTERS:
            if regex.match(rf"\p{{GCB={name}}}", c):
                proposed[c] = name
    # A grapheme of less than six bytes is replaced as a whole, by what its beginning becomes.
    replace = charsmap({"a": "X"})
    prepended = charsmap({**{c: "Y" for c, name in proposed.items() if name == "Prepend"}, "a": "X"})
    for c, name in list(proposed.items()):
        if name in ("Extend", "SpacingMark", "ZWJ") and replace.normalize_str("a" + c) != "X":
            del proposed[c]
        if name == "Prepend" and prepended.normalize_str(c + "a") != "Y":
            del proposed[c]
    for c in CHARACTERS:
        if c != "a" and c not in proposed and replace.normalize_str("a" + c) == "X":
            sys.exit(f"U+{ord(c):04X} extends a grapheme in tokenizers, but has no class in regex {regex.__version__}")
    return proposed


def combining_classes():
    """Only those that tokenizers knows: it moves the character before one of a higher class."""
    decompose = normalizers.NFD()
    classes = {}
    for c in CHARACTERS:
        value = unicodedata2.combining(c)
        if value and (value >= 240 or decompose.normalize_str("a\u0345" + c) == "a" + c + "\u0345" or
                      len(decompose.normalize_str(c)) > 1):  # fmt: skip
            classes[c] = value
    return classes


def main():
    letters, numbers, spaces = matching(r"\p{L}"), matching(r"\p{N}"), matching(r"\s")
    breaks, classes = grapheme_breaks(), combining_classes()
    decompose, compose, lower = normalizers.NFD(), normalizers.NFC(), normalizers.Lowercase()

    def properties(c):
        value = LETTER * (c in letters) | NUMBER * (c in numbers) | SPACE * (c in spaces)
        value |= PICTOGRAPH * bool(regex.match(r"\p{Extended_Pictographic}", c))
        return value | BREAKS.index(breaks.get(c, "Other")) << 4 | classes.get(c, 0) << 8

    ranges = []  # [first, last, properties]
    for c in CHARACTERS:
        value = properties(c)
        if ranges and ranges[-1][2] == value and ranges[-1][1] == ord(c) - 1:
            ranges[-1][1] = ord(c)
        elif value:
            ranges.append([ord(c), ord(c), value])
    # Hangul syllables are computed. Full decompositions, so that one look-up is enough.
    decompositions, compositions, lowered = [], [], []
    for c in CHARACTERS:
        parts = decompose.normalize_str(c)
        if parts != c and not 0xAC00 <= ord(c) <= 0xD7A3:
            decompositions.append((ord(c), parts))
            if compose.normalize_str(parts) == c:
                # The last character joins what all before it compose to.
                first = compose.normalize_str(parts[:-1])
                if len(first) != 1 or len(parts) < 2:
                    sys.exit(f"U+{ord(c):04X} is no pair")
                compositions.append((ord(first), ord(parts[-1]), ord(c)))
        if (small := lower.normalize_str(c)) != c:
            lowered.append((ord(c), small))
    text = "".join(parts for _, parts in decompositions)
    special = [(c, s) for c, s in lowered if len(s) > 1]

    def rows(items, per):
        return [", ".join(items[i : i + per]) + "," for i in range(0, len(items), per)]

    offset, entries = 0, []
    for c, parts in decompositions:
        entries.append(f"{{{c:#x}, {offset}, {len(parts)}}}")
        offset += len(parts)
    compositions.sort()
    lines = [
        "// Generated by tools/lib/unicode_tables.py; do not edit.",
        f"// Characters as tokenizers {importlib.metadata.version('tokenizers')} sees them.",
        "constexpr CharacterRange kRanges[] = {", *rows([f"{{{a:#x}, {b:#x}, {p:#x}}}" for a, b, p in ranges], 5), "};",
        "constexpr Decomposition kDecompositions[] = {", *rows(entries, 6), "};",
        "constexpr char32_t kDecomposed[] = {", *rows([f"{ord(c):#x}" for c in text], 14), "};",
        "constexpr Composition kCompositions[] = {",
        *rows([f"{{{a:#x}, {b:#x}, {c:#x}}}" for a, b, c in compositions], 5), "};",
        "constexpr Lowered kLowered[] = {",
        *rows([f"{{{c:#x}, {ord(s):#x}}}" for c, s in lowered if len(s) == 1], 7), "};",
    ]  # fmt: skip
    if [(c, s) for c, s in special] != [(0x130, "i\u0307")]:
        sys.exit(f"more than U+0130 becomes several small letters: {special}; Unicode.cpp knows that one")
    pathlib.Path(sys.argv[1]).write_text("\n".join(lines) + "\n")
    print(f"{len(ranges)} ranges, {len(decompositions)} decompositions, {len(compositions)} compositions, {len(lowered)} "
          "small letters")  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main()
