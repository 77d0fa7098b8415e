#!/usr/bin/env python3
"""Donated inputs: training states that are updated in their own memory, against NumPy and against runs that donate nothing."""

from __future__ import annotations

import sys

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from support import BIN, ROOT, FlameTest, main

sys.path.insert(0, str(ROOT / "test/gpu"))
import flame_rt  # noqa: E402

LIBRARY = BIN.parent / "lib" / "libflame_rt.so"
RATE, FIRST, SECOND, TINY = 0.125, 0.875, 0.96875, 1e-6


def graph(nodes, inputs, outputs, dims, constants=()):
    def ports(names):
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, dims) for n in names]

    weights = [numpy_helper.from_array(np.float32(value), name) for name, value in constants]
    model = helper.make_model(helper.make_graph(nodes, "g", ports(inputs), ports(outputs), weights),
                              opset_imports=[helper.make_opsetid("", 17)])  # fmt: skip
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def adam(dims):
    """p, m, v, g → p', m', v'."""
    steps = [
        ("Mul", "m b1", "m_old"), ("Mul", "g c1", "m_new"), ("Add", "m_old m_new", "m2"),
        ("Mul", "g g", "gg"), ("Mul", "v b2", "v_old"), ("Mul", "gg c2", "v_new"), ("Add", "v_old v_new", "v2"),
        ("Sqrt", "v2", "root"), ("Add", "root eps", "below"), ("Div", "m2 below", "step"), ("Mul", "step lr", "scaled"),
        ("Sub", "p scaled", "p2"),
    ]  # fmt: skip
    nodes = [helper.make_node(op, ins.split(), [out], name=out) for op, ins, out in steps]
    constants = [("b1", FIRST), ("c1", 1 - FIRST), ("b2", SECOND), ("c2", 1 - SECOND), ("eps", TINY), ("lr", RATE)]
    return graph(nodes, ["p", "m", "v", "g"], ["p2", "m2", "v2"], dims, constants)


def random_graph(rng, dims):
    """Pointwise ops of three inputs, now and then one that is not; three outputs."""
    names, nodes = ["a", "b", "c"], []
    for i in range(rng.integers(3, 9)):
        op = rng.choice(["Add", "Mul", "Sub", "Max", "Relu", "Transpose", "Softmax"], p=[0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1])
        ins = list(rng.choice(names, 1 if op in ("Relu", "Transpose", "Softmax") else 2))
        names.append(f"t{i}")
        attributes = {"perm": [1, 0]} if op == "Transpose" else {}
        nodes.append(helper.make_node(op, ins, [names[-1]], name=names[-1], **attributes))
    for i, name in enumerate(rng.choice(names, 3)):
        nodes.append(helper.make_node("Identity" if rng.random() < 0.3 else "Neg", [name], [f"out{i}"], name=f"out{i}"))
    return graph(nodes, ["a", "b", "c"], ["out0", "out1", "out2"], dims)


class Donation(FlameTest):
    def module(self, model, name="model"):
        path, out = self.scratch / f"{name}.onnx", self.scratch / f"{name}.flame"
        onnx.save(model, path)
        self.ok(self.flamec("compile", path, "-o", out))
        return flame_rt.Module(LIBRARY, out)

    def test_states_of_a_training_step(self):
        rng = np.random.default_rng(1)
        for dims, shape in ((["n", 5], (7, 5)), ([33, 64], (33, 64)), ([3], (3,))):
            module = self.module(adam(dims))
            p, m, v, g = (rng.standard_normal(shape).astype(np.float32) for _ in range(4))
            v = np.abs(v)
            session = module.session()
            step = session.bind([p, m, v, g], [p, m, v])
            wide = [x.astype(np.float64) for x in (p, m, v)]
            for _ in range(10):
                step()
                wide[1] = FIRST * wide[1] + (1 - FIRST) * g
                wide[2] = SECOND * wide[2] + (1 - SECOND) * g.astype(np.float64) ** 2
                wide[0] = wide[0] - RATE * wide[1] / (np.sqrt(wide[2]) + TINY)
            for state, expected in zip((p, m, v), wide):
                np.testing.assert_allclose(state, expected, rtol=1e-4, atol=1e-5)

    def test_the_plan_says_what_is_in_place(self):
        path = self.scratch / "adam.onnx"
        onnx.save(adam(["n", 64]), path)
        for target in ("cpu", "cuda"):
            text = self.ok(self.flamec("compile", path, "--emit=plan", f"--target={target}")).stdout
            launches = [line for line in text.splitlines() if "launch @" in line]
            self.assertEqual(len(launches), 1, text)
            for state in ("%0", "%1", "%2"):
                self.assertIn(f"in place of {state}", launches[0])
        # A transpose reads elsewhere than it writes.
        onnx.save(graph([helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0]), helper.make_node("Add", ["x", "t"], ["y"])],
                        ["x"], ["y"], [8, 8]), path)  # fmt: skip
        self.assertNotIn("in place", self.ok(self.flamec("compile", path, "--emit=plan")).stdout)

    def test_scatters(self):
        """x updated where it lies; what reads the old x afterwards ("Doubled") still sees it."""
        rng = np.random.default_rng(3)
        x0 = rng.standard_normal((6, 5, 4)).astype(np.float32)
        rows = np.array([[[4] * 4, [0] * 4], [[1] * 4, [2] * 4]], np.int64)  # [2, 2, 4], along axis 1
        tuples = np.array([[5], [0]], np.int64)
        for op, indices, shape in (("ScatterElements", rows, (2, 2, 4)), ("ScatterND", tuples, (2, 5, 4)), ("Doubled", tuples, (2, 5, 4))):
            attributes = {"axis": 1} if op == "ScatterElements" else {}
            nodes = [helper.make_node("ScatterND" if op == "Doubled" else op, ["x", "i", "u"], ["s"], **attributes)]
            nodes.append(helper.make_node("Add", ["s", "x"], ["y"]) if op == "Doubled" else helper.make_node("Neg", ["s"], ["y"]))
            ports = [("x", TensorProto.FLOAT, x0.shape), ("i", TensorProto.INT64, indices.shape), ("u", TensorProto.FLOAT, shape)]
            outputs = [("s", TensorProto.FLOAT, x0.shape), ("y", TensorProto.FLOAT, x0.shape)]
            model = helper.make_model(helper.make_graph(nodes, "g", [helper.make_tensor_value_info(*p) for p in ports],
                                                        [helper.make_tensor_value_info(*p) for p in outputs]),
                                      opset_imports=[helper.make_opsetid("", 17)])  # fmt: skip
            model.ir_version = 8
            onnx.checker.check_model(model)
            with self.subTest(op):
                module = self.module(model)
                text = self.ok(self.flamec("compile", self.scratch / "model.onnx", "--emit=plan")).stdout
                self.assertRegex(text, r"launch @.*in place of %0")
                updates = rng.standard_normal(shape).astype(np.float32)
                expected = x0.copy()
                if op == "ScatterElements":
                    for a, b, c in np.ndindex(shape):
                        expected[a, indices[a, b, c], c] = updates[a, b, c]
                else:
                    expected[tuples[:, 0]] = updates
                other = expected + x0 if op == "Doubled" else -expected
                fresh = [out.numpy() for out in module.session().run([x0, indices, updates])]
                x, y = x0.copy(), np.empty_like(x0)
                session = module.session()
                session.bind([x, indices, updates], [x, y])()
                for donated, plain, exact in zip((x, y), fresh, (expected, other)):
                    np.testing.assert_array_equal(donated, exact)
                    np.testing.assert_array_equal(plain, exact)

    def test_rows_are_scattered_in_place(self):
        rng = np.random.default_rng(3)

        def model(reduction, updates):
            given = {"x": [33, 8], "i": [33, 1], "u": [33, 8]}
            return helper.make_model(
                helper.make_graph(
                    [helper.make_node("ScatterND", ["x", "i", updates], ["y"], reduction=reduction)], "scatter",
                    [helper.make_tensor_value_info(n, TensorProto.INT64 if n == "i" else TensorProto.FLOAT, d) for n, d in given.items()],
                    [helper.make_tensor_value_info("y", TensorProto.FLOAT, given["x"])]),
                opset_imports=[helper.make_opsetid("", 18)], ir_version=9)  # fmt: skip

        for reduction in ("none", "add"):
            module = self.module(model(reduction, "u"), reduction)
            x, u = (rng.integers(-9, 9, (33, 8)).astype(np.float32) for _ in range(2))
            i = rng.integers(-33, 33, (33, 1))
            expected = x.copy()
            for at, row in zip(i[:, 0], u):
                expected[at] = row + (expected[at] if reduction == "add" else 0)
            session = module.session()
            session.bind([x, i, u], [x])()
            np.testing.assert_array_equal(x, expected, err_msg=reduction)
        # Updates that lie where the result would go are needed longer.
        for updates in ("u", "x"):
            path = self.scratch / "scatter.onnx"
            onnx.save(model("none", updates), path)
            for target in ("cpu", "cuda"):
                text = self.ok(self.flamec("compile", path, "--emit=plan", f"--target={target}")).stdout
                (self.assertIn if updates == "u" else self.assertNotIn)("in place of %0", text)

    def test_any_pair_of_input_and_output(self):
        rng = np.random.default_rng(2)
        for case in range(25):
            module = self.module(random_graph(rng, [16, 16]), f"m{case}")
            inputs = [rng.standard_normal((16, 16)).astype(np.float32) for _ in range(3)]
            expected = [out.numpy() for out in module.session().run(inputs)]
            session = module.session()
            for _ in range(4):
                own = [x.copy() for x in inputs]
                # Outputs 0, 1, 2 go to these inputs, or to memory of their own.
                into = [own[i] if rng.random() < 0.8 else np.empty_like(own[0]) for i in rng.permutation(3)]
                session.bind(own, into)()
                for k in range(3):
                    np.testing.assert_array_equal(into[k], expected[k], err_msg=f"case {case}, output {k}")


if __name__ == "__main__":
    main()
