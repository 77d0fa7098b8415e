#!/usr/bin/env python3
"""Whole models against ONNX Runtime, and the bars for compiling them: seconds, and memory relative to the weights."""

from __future__ import annotations

import json

import flame_cli
import numpy as np
from models import catalogue, simple
from models.graph import save, weight_bytes
from support import ROOT, FlameTest, main, reference

COMPILE_SECONDS = 15
COMPILE_MEMORY = 1.5  # of the weights, beyond what compiling one node takes
ONE_NODE_SECONDS = 0.3


class WholeModels(FlameTest):
    def one_node(self):
        path = save(catalogue.MODELS["relu"].build(), self.scratch / "relu.onnx")
        return min(
            (self.ok(self.flamec("compile", path, "-o", self.scratch / "r.flame")) for _ in range(5)),
            key=lambda d: d.seconds,
        )

    def agree(self, name, external=None, bars=False):
        model = save(catalogue.MODELS[name].build(), self.scratch / "model.onnx", external)
        feeds = catalogue.MODELS[name].inputs(1)
        artifact = self.scratch / "model.flame"
        done = self.ok(self.flamec("compile", model, "-o", artifact))
        actual = flame_cli.run_model(self.flamec, artifact, feeds, self.scratch)
        self.assert_agrees(actual, reference(model, feeds), what=name)
        if bars:
            weights = weight_bytes(model)
            beyond = done.peak_bytes - self.one_node().peak_bytes
            print(f"{done.seconds:.1f} s, {beyond / weights:.2f} of the weights ", end="", flush=True)
            self.assertLess(done.seconds, COMPILE_SECONDS)
            self.assertLess(beyond, COMPILE_MEMORY * weights)

    def test_mlp(self):
        self.agree("mlp")

    def test_bert_tiny(self):
        self.agree("bert-tiny")

    def test_gpt2_tiny(self):
        self.agree("gpt2-tiny")

    def test_resnet50(self):
        self.agree("resnet50", bars=True)

    def test_densenet121(self):
        self.agree("densenet121", bars=True)

    def test_vgg19(self):
        self.agree("vgg19", "weights.bin", bars=True)

    def test_bert_base(self):
        self.agree("bert-base", "weights.bin", bars=True)

    def test_gpt2(self):
        self.agree("gpt2", "weights.bin", bars=True)

    def test_external_and_embedded_weights_give_the_same_numbers(self):
        feeds = catalogue.MODELS["gpt2-tiny"].inputs(2)
        results = []
        for external in (None, "weights.bin"):
            for weights in ("external", "embed"):
                folder = self.scratch / f"{external}-{weights}"
                model = save(catalogue.MODELS["gpt2-tiny"].build(), folder / "model.onnx", external)
                artifact = folder / "model.flame"
                self.ok(self.flamec("compile", model, "-o", artifact, f"--weights={weights}"))
                if weights == "embed":  # a single file: nothing beside it is needed
                    (folder / "weights.bin").unlink(missing_ok=True)
                    model.unlink()
                results.append(flame_cli.run_model(self.flamec, artifact, feeds, folder)[0])
        for other in results[1:]:
            np.testing.assert_array_equal(other, results[0])

    def test_digits(self):
        images = np.load(ROOT / "examples/digits/heldout_images.npy")
        labels = np.load(ROOT / "examples/digits/heldout_labels.npy")
        for name in ("cnn", "transformer"):
            with self.subTest(name):
                model = ROOT / f"examples/digits/{name}.onnx"
                artifact = self.scratch / f"{name}.flame"
                self.ok(self.flamec("compile", model, "-o", artifact, "--embed-weights"))
                (logits,) = flame_cli.run_model(self.flamec, artifact, {"image": images}, self.scratch)
                (expected,) = reference(model, {"image": images})
                self.assert_agrees([logits], [expected], what=name)
                self.assertGreater((logits.argmax(1) == labels).mean(), 0.95)

    def test_threads_do_not_change_the_numbers(self):
        model = save(catalogue.MODELS["bert-tiny"].build(), self.scratch / "model.onnx")
        feeds = catalogue.MODELS["bert-tiny"].inputs(3)
        one, two = (flame_cli.run_model(self.flamec, model, feeds, self.scratch, "--threads", n) for n in (1, 2))
        for a, b in zip(one, two):
            np.testing.assert_array_equal(a, b)


class CompileTime(FlameTest):
    def test_one_node(self):
        path = save(catalogue.MODELS["relu"].build(), self.scratch / "relu.onnx")
        times = [self.ok(self.flamec("compile", path, "-o", self.scratch / "r.flame")).seconds for _ in range(7)]
        print(f"{min(times):.2f} s ", end="", flush=True)
        self.assertLess(min(times), ONE_NODE_SECONDS)

    def test_a_gigabyte_of_weights_is_not_copied(self):
        path = save(catalogue.MODELS["relu"].build(), self.scratch / "relu.onnx")
        base = self.ok(self.flamec("compile", path, "-o", self.scratch / "r.flame"))
        wide = simple.wide(self.scratch / "wide.onnx")
        done = self.ok(self.flamec("compile", wide, "-o", self.scratch / "w.flame"))
        beyond = done.peak_bytes - base.peak_bytes
        print(f"{done.seconds:.1f} s, {beyond / 2**20:.0f} MiB ", end="", flush=True)
        self.assertLess(beyond, 2**28, "compiling took more than a quarter of the weights")
        self.assertLess((self.scratch / "w.flame").stat().st_size, 2**24, "the weights went into the artifact")


class Bench(FlameTest):
    def test_report(self):
        path = save(catalogue.MODELS["mlp"].build(), self.scratch / "mlp.onnx")
        files = flame_cli.write_inputs(catalogue.MODELS["mlp"].inputs(0), self.scratch / "in")
        done = self.ok(self.flamec("bench", path, *flame_cli.inputs(files), "--format=json"))
        self.assertGreater(flame_cli.median_ms(json.loads(done.stdout)), 0)
        self.ok(self.flamec("bench", path, "--random-inputs"))


if __name__ == "__main__":
    main()
