"""The demo behind tools/demo.sh: two networks trained on scanned digits, compiled and run by flamec, and a picture of a text."""

from __future__ import annotations

import argparse
import json
import os
import pathlib
import shutil
import statistics
import sys
import time

import flame_cli
import numpy as np
import onnxruntime
import PIL.Image
from pipelines import whole

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "examples/digits"
SHADES = " .:-=+*#%@"


def show(label, text):
    print(f"  {label:<11}{text}")


def draw(images, labels, answers):
    """Some scans side by side in characters, with the answers below."""
    for row in range(8):
        print("    " + "   ".join("".join(SHADES[int(v * 9 // 16)] * 2 for v in image[0, row]) for image in images))
    texts = [f"{a}" if a == e else f"{a} (is {e})" for a, e in zip(answers, labels)]
    print("    " + "   ".join(t.center(16) for t in texts))


def ort_ms(session, feeds):
    session.run(None, feeds)
    times = []
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        start = time.perf_counter()
        session.run(None, feeds)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def latency(cli, artifact, session, image, scratch):
    """(flame's, ONNX Runtime's) median milliseconds on these images, both with every core."""
    feeds = {"image": image}
    files = flame_cli.write_inputs(feeds, scratch)
    done = required(cli("bench", artifact, *flame_cli.inputs(files), "--format=json"))
    return flame_cli.median_ms(json.loads(done.stdout)), ort_ms(session, feeds)


def required(done):
    if done.status != 0:
        sys.exit(f"{done.stderr}\nerror: {' '.join(done.arguments)} ended with status {done.status}")
    return done


def demonstrate(name, what, cli, scratch, images, labels):
    model, artifact = DIGITS / f"{name}.onnx", scratch / f"{name}.flame"
    print(f"\n{what}: examples/digits/{name}.onnx")
    done = required(cli("compile", model, "-o", artifact, "--embed-weights"))
    size = artifact.stat().st_size
    show("compiled", f"in {done.seconds:.2f} s to {os.path.relpath(artifact)}, {size / 1024:.0f} KiB")

    (logits,) = flame_cli.run_model(cli, artifact, {"image": images}, scratch / name)
    answers = logits.argmax(1)
    right = int((answers == labels).sum())
    show("accuracy", f"{right} of {len(labels)} held-out digits ({right / len(labels):.1%})")

    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"image": images})
    same = int((answers == expected.argmax(1)).sum())
    worst = float(np.abs(logits - expected).max())
    show("agreement", f"{same} of {len(labels)} labels as ONNX Runtime, logits differ by at most {worst:.1e}")

    for batch in (images[:1], images):
        flame, ort = latency(cli, artifact, session, batch, scratch / name)
        one = "one digit" if len(batch) == 1 else f"{len(batch)} digits"
        show("latency", f"{one}: {flame:.3f} ms, ONNX Runtime {ort:.3f} ms")

    print(f"  $ flamec inspect {artifact.name}")
    for line in required(cli("inspect", artifact)).stdout.rstrip().splitlines():
        print(f"    {line}")
    ok = same == len(labels) and right / len(labels) > 0.95 and np.allclose(logits, expected, rtol=1e-3, atol=1e-4)
    return answers, ok


def paint(cli, scratch):
    """A picture of a text: the classes, the folder layout and the steps of FLUX.1-schnell with small random weights."""
    folder, picture = whole.make(scratch / "tiny-flux"), scratch / "fox.png"
    prompt = ("--prompt", "A red fox in the snow", "--size", "256x128", "--seed", "7", "--steps", "4")
    print("\nText to a picture: a FLUX pipeline with small random weights, in the folder layout of diffusers")
    environment = {"FLAME_CACHE_DIR": str(scratch / "cache")}
    first = required(cli("generate", folder, *prompt, "-o", picture, env=environment))
    again = required(cli("generate", folder, *prompt, "-o", scratch / "again.png", env=environment))
    show("generated", f"{os.path.relpath(picture)} in {first.seconds:.2f} s, compiling its four models; then in {again.seconds:.2f} s")
    for line in again.stderr.splitlines():
        print(f"    {line}")
    with PIL.Image.open(picture) as image:
        parameters, pixels = json.loads(image.text["parameters"]), np.array(image)
    show("carries", ", ".join(f"{key} {parameters[key]}" for key in ("prompt", "seed", "steps", "software")))
    grey = pixels.reshape(16, 8, 64, 4, 3).mean((1, 3, 4))  # noise that a random model has made of noise
    grey = (grey - grey.min()) / max(float(np.ptp(grey)), 1)
    for row in grey:
        print("    " + "".join(SHADES[int(v * 9)] for v in row))
    return pixels.std() > 5 and picture.read_bytes() == (scratch / "again.png").read_bytes()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flamec", required=True)
    parser.add_argument("--scratch", type=pathlib.Path, required=True)
    args = parser.parse_args()
    shutil.rmtree(args.scratch, ignore_errors=True)
    args.scratch.mkdir(parents=True)

    cli = flame_cli.Cli(args.flamec)
    images, labels = np.load(DIGITS / "heldout_images.npy"), np.load(DIGITS / "heldout_labels.npy")
    print(f"{len(labels)} scanned digits that training never saw, {os.cpu_count()} cores")
    answers, good = demonstrate("cnn", "Convolutional network", cli, args.scratch, images, labels)
    _, also_good = demonstrate("transformer", "Transformer encoder", cli, args.scratch, images, labels)
    print("\nFour of the scans, and what the convolutional network reads:")
    wrong = np.flatnonzero(answers != labels)[:1]  # an honest choice: if it misreads one, that one is shown
    chosen = [*(int(np.flatnonzero(labels == digit)[0]) for digit in (3, 5, 8, 4)[len(wrong) :]), *wrong]
    draw(images[chosen], labels[chosen], answers[chosen])
    if not (good and also_good):
        sys.exit("error: accuracy or agreement is not what it should be")
    if not paint(cli, args.scratch):
        sys.exit("error: the picture is empty, or another one the second time")


if __name__ == "__main__":
    main()
