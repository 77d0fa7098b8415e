#!/usr/bin/env python3
"""Makes a whole FLUX pipeline folder: models with seeded random weights and tokenizers that were trained on a small text.

whole.py FOLDER [--size tiny|schnell|dev] [--dtype F32|BF16|F16] [--guided] [--only PART…] [--hollow]

Needs the packages tokenizers and sentencepiece. Folders of one size and type are the same on every machine but for the
tokenizers' versions. `--guided` makes a tiny folder of dev's kind: with a guidance embedding and dev's schedule.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

if __package__ in (None, ""):
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import tokenizer_folders
from pipelines import make_pipeline


def make(folder, size="tiny", dtype="F32", guided=False, **options):
    folder = pathlib.Path(folder)
    clip = tokenizer_folders.clip(folder / "tokenizer", 600)
    t5 = tokenizer_folders.t5(folder / "tokenizer_2", 360)
    words = json.loads((clip / "vocab.json").read_text())
    added = json.loads((t5 / "tokenizer_config.json").read_text())["added_tokens_decoder"]
    vocabularies = {"clip_vocabulary": len(words), "t5_vocabulary": max(map(int, added)) + 1}
    special = {"eos_token_id": words["<|endoftext|>"], "bos_token_id": words["<|startoftext|>"]}
    changes = {"text_encoder": special} | ({"transformer": {"guidance_embeds": True}} if guided else {})
    make_pipeline.make(folder, size, dtype, changes=changes, **vocabularies, **options)
    if guided:
        (folder / "scheduler/scheduler_config.json").write_text(json.dumps(make_pipeline.scheduler(True), indent=2) + "\n")
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--size", choices=("tiny", "schnell", "dev"), default="tiny")
    parser.add_argument("--dtype", choices=("F32", "BF16", "F16"), default="F32")
    parser.add_argument("--guided", action="store_true")
    parser.add_argument("--only", nargs="+", default=(), help="models to make; the rest of the folder is made, too")
    parser.add_argument("--hollow", action="store_true", help="weights are zeros that take no space")
    args = parser.parse_args()
    make(args.folder, args.size, args.dtype, args.guided, only=args.only, hollow=args.hollow)


if __name__ == "__main__":
    main()
