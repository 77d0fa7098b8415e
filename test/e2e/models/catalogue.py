#!/usr/bin/env python3
"""The models that tests and benchmarks use, by name.

PYTHONPATH=test/e2e python3 -m models.catalogue NAME -o FILE.onnx [--external FILE] [--inputs DIR]
PYTHONPATH=test/e2e python3 -m models.catalogue --list
"""

from __future__ import annotations

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Callable

import numpy as np

from . import bert, gpt2, light, simple
from .graph import save


@dataclasses.dataclass(frozen=True)
class Entry:
    what: str
    build: Callable  # () -> onnx.ModelProto
    inputs: Callable  # (seed) -> {input name: array}


def _language_model(module, config, batch, sequence, what):
    return Entry(what, lambda: module.build(config), lambda seed: module.inputs(config, batch, sequence, seed))


def _light(name):
    return Entry(
        f"light {name} of the onnx wheel, random weights",
        lambda: light.build(name),
        lambda seed: light.inputs(name, seed),
    )


MODELS = {
    "resnet50": _light("resnet50"),
    "densenet121": _light("densenet121"),
    "vgg19": _light("vgg19"),
    "bert-base": _language_model(bert, bert.BASE, 1, 128, "BERT-base-shaped encoder, 12 layers of 768"),
    "gpt2": _language_model(gpt2, gpt2.BASE, 1, 128, "GPT-2-shaped causal transformer, 12 layers of 768"),
    "bert-tiny": _language_model(bert, bert.TINY, 2, 16, "BERT-shaped encoder, 2 layers of 64"),
    "gpt2-tiny": _language_model(gpt2, gpt2.TINY, 2, 16, "GPT-2-shaped causal transformer, 2 layers of 64"),
    "relu": Entry("one node", simple.relu, simple.relu_inputs),
    "mlp": Entry("three dense layers", simple.mlp, simple.mlp_inputs),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=MODELS)
    parser.add_argument("-o", "--output", type=pathlib.Path)
    parser.add_argument("--external", metavar="FILE", help="put the weights into this file beside the model")
    parser.add_argument("--inputs", type=pathlib.Path, metavar="DIR", help="write example inputs there as .npy")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list or not args.name:
        for name, entry in MODELS.items():
            print(f"{name:12} {entry.what}")
        return 0 if args.list else 2
    entry = MODELS[args.name]
    if args.output:
        save(entry.build(), args.output, args.external)
    if args.inputs:
        args.inputs.mkdir(parents=True, exist_ok=True)
        for i, (name, value) in enumerate(entry.inputs(0).items()):
            np.save(args.inputs / f"{name.replace('/', '_')}.npy", value)
    return 0


if __name__ == "__main__":
    sys.exit(main())
