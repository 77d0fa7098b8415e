#!/usr/bin/env python3
"""Trains the two networks of networks.py on scikit-learn's digits and writes what the demo ships, beside this file:

  cnn.onnx, transformer.onnx                      the trained networks
  heldout_images.npy   float32 [360, 1, 8, 8]     scans that training never saw
  heldout_labels.npy   int64 [360]

Seeds are fixed and the arithmetic runs on one thread, so a machine makes the same files every time. About a minute.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
import time

import autodiff as ad
import numpy as np
import onnxruntime
from networks import Cnn, Transformer
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

HELD_OUT = 360
BATCH = 64


def split():
    """(training images, labels), (held-out images, labels): a fixed random fifth is held out."""
    digits = load_digits()
    images = digits.images.astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(0).permutation(len(images))
    kept, held = order[HELD_OUT:], order[:HELD_OUT]
    return (images[kept], labels[kept]), (images[held], labels[held])


def shifted(images, rng):
    """Moves every image by up to one pixel in each direction: an 8×8 window of the image with a border of one."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    offsets = rng.choice(3, size=(len(images), 2), p=(0.2, 0.6, 0.2))
    return np.stack([p[:, i : i + 8, j : j + 8] for p, (i, j) in zip(padded, offsets)])


def train(network, images, labels, epochs, peak_rate):
    rng = np.random.default_rng(3)
    optimiser = ad.AdamW(list(network.parameters.values()))
    steps_per_epoch = len(images) // BATCH
    total = epochs * steps_per_epoch
    step = 0
    for epoch in range(epochs):
        order = rng.permutation(len(images))
        losses = []
        for i in range(steps_per_epoch):
            pick = order[i * BATCH : (i + 1) * BATCH]
            loss = ad.cross_entropy(network.forward(shifted(images[pick], rng)), labels[pick])
            loss.backward()
            rate = peak_rate * min(1.0, (step + 1) / 50) * 0.5 * (1 + np.cos(np.pi * step / total))
            optimiser.step(rate)
            losses.append(float(loss.value))
            step += 1
        if epoch % 10 == 9:
            print(f"  epoch {epoch + 1:3}  loss {np.mean(losses):.4f}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    folder = parser.parse_args().output_dir
    folder.mkdir(parents=True, exist_ok=True)

    (images, labels), (held_images, held_labels) = split()
    np.save(folder / "heldout_images.npy", held_images)
    np.save(folder / "heldout_labels.npy", held_labels)
    for network, file, epochs, rate in ((Cnn(), "cnn.onnx", 30, 3e-3), (Transformer(), "transformer.onnx", 60, 2e-3)):
        start = time.perf_counter()
        print(network.name, file=sys.stderr)
        train(network, images, labels, epochs, rate)
        model = network.export().SerializeToString(deterministic=True)
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        logits = session.run(None, {"image": held_images})[0]
        if not network.buffers:  # with batch statistics training and inference differ on purpose
            np.testing.assert_allclose(logits, network.forward(held_images).value, rtol=1e-3, atol=1e-3)
        accuracy = float((logits.argmax(1) == held_labels).mean())
        seconds = time.perf_counter() - start
        print(f"{file}: {len(model) / 1024:.0f} KiB, held-out accuracy {accuracy:.2%}, {seconds:.0f} s")
        if accuracy < 0.95:
            sys.exit(f"{file}: accuracy {accuracy:.2%} is under 95 %; not written")
        (folder / file).write_bytes(model)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
