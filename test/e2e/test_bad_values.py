#!/usr/bin/env python3
"""Inputs that do not fit the model, unreadable files, and odd values that are allowed."""

from __future__ import annotations

import io

import bad_onnx
import flame_cli
import numpy as np
from models import catalogue
from models.graph import save
from support import FlameTest, main, reference


class BadValues(FlameTest):
    def setUp(self):
        super().setUp()
        self.model = save(catalogue.MODELS["mlp"].build(), self.scratch / "mlp.onnx")
        self.artifact = self.compiled(self.model)
        self.good = catalogue.MODELS["mlp"].inputs(0)["x"]

    def run_with(self, array=None, *, data=None, name="x", extra=()):
        path = self.scratch / "x.npy"
        if data is not None:
            path.write_bytes(data)
        elif array is not None:
            np.save(path, array)
        return self.flamec(
            "run", self.artifact, "--input", f"{name}={path}", *extra, "--output-dir", self.scratch / "out"
        )

    def test_good(self):
        self.ok(self.run_with(self.good))

    def test_wrong_rank(self):
        self.assert_clear_error(self.run_with(self.good[0]), (3,), ["x"], r"rank|shape|dim")

    def test_wrong_dimension(self):
        self.assert_clear_error(self.run_with(self.good[:, :7]), (3,), ["x"], r"shape|dim|16")

    def test_wrong_dtype(self):
        self.assert_clear_error(self.run_with(self.good.astype(np.int64)), (3,), ["x"], r"type|i64|int64|f32")

    def test_unknown_input(self):
        self.assert_clear_error(self.run_with(self.good, name="y"), (2, 3), ["y"], r"no input|unknown|input.*x")

    def test_missing_input(self):
        done = self.flamec("run", self.artifact, "--output-dir", self.scratch / "out")
        self.assert_clear_error(done, (2, 3), ["x"], r"input|missing|--input")

    def test_missing_file(self):
        done = self.flamec("run", self.artifact, "--input", f"x={self.scratch}/absent.npy")
        self.assert_clear_error(done, (2, 3), ["absent.npy"], r"no such file|not exist|cannot open")

    def test_damaged_npy(self):
        buffer = io.BytesIO()
        np.save(buffer, self.good)
        data = buffer.getvalue()
        cases = {
            "empty": b"",
            "magic only": data[:6],
            "header cut": data[:40],
            "data cut": data[:-5],
            "trailing": data + b"xyz",
            "header length": data[:8] + b"\xff\xff" + data[10:],
            "version 9": data[:6] + b"\x09\x00" + data[8:],
            "negative shape": data.replace(b"(3, 16)", b"(-3,16)"),
            "huge shape": data.replace(b"(3, 16)", b"(9**9,)"),
            "object dtype": data.replace(b"'<f4'", b"'|O' "),
            "not npy": b"PK\x05\x06" + bytes(40),
        }
        for what, bad in cases.items():
            with self.subTest(what):
                self.assert_clear_error(
                    self.run_with(data=bad), (3,), ["x.npy"], r"npy|header|bytes|shape|dtype|type|version"
                )

    def test_big_endian_and_fortran_order_are_read_or_refused(self):
        for what, array in (("big", self.good.astype(">f4")), ("fortran", np.asfortranarray(self.good))):
            with self.subTest(what):
                done = self.run_with(array)
                if done.status == 0:
                    (actual,) = flame_cli.read_outputs(self.scratch / "out")
                    np.testing.assert_allclose(actual, reference(self.model, {"x": self.good})[0], rtol=1e-4, atol=1e-6)
                else:
                    self.assert_clear_error(done, (3,), ["x.npy"], r"endian|order|fortran")

    def test_zero_batch(self):
        (actual,) = flame_cli.run_model(self.flamec, self.artifact, {"x": self.good[:0]}, self.scratch)
        self.assertEqual(actual.shape, (0, 5))

    def test_nan_and_infinity_pass_through(self):
        x = self.good.copy()
        x[0, 0], x[1, 1] = np.nan, np.inf
        relu = save(catalogue.MODELS["relu"].build(), self.scratch / "relu.onnx")
        values = np.array([[np.nan, np.inf, -np.inf, -0.0]], np.float32)
        (actual,) = flame_cli.run_model(self.flamec, relu, {"x": values}, self.scratch)
        np.testing.assert_array_equal(actual, np.maximum(values, 0))
        (actual,) = flame_cli.run_model(self.flamec, self.artifact, {"x": x}, self.scratch)
        self.assertTrue(np.isnan(actual[0]).all(), "a NaN in the row must reach its probabilities")
        self.assertTrue(np.isfinite(actual[2]).all(), "a row without NaN must stay finite")

    def test_index_out_of_range(self):
        from onnx import TensorProto, numpy_helper

        table = numpy_helper.from_array(np.arange(8, dtype=np.float32).reshape(4, 2), "table")
        gather = bad_onnx.node("Gather", "table", "x", to="y", name="lookup", axis=0)
        made = bad_onnx.model(
            [gather], [bad_onnx.info("x", ("n",), TensorProto.INT64)], [bad_onnx.info("y", ("n", 2))], [table]
        )
        path = self.scratch / "lookup.onnx"
        path.write_bytes(made.SerializeToString())
        feeds = flame_cli.write_inputs({"x": np.array([0, 3, 4], np.int64)}, self.scratch / "in")
        done = self.flamec("run", path, *flame_cli.inputs(feeds), "--output-dir", self.scratch / "out")
        self.assert_clear_error(done, (3,), ["lookup"], r"index|range|4")

    def test_index_out_of_range_of_other_operators(self):
        from onnx import TensorProto, numpy_helper

        i64, f32 = TensorProto.INT64, TensorProto.FLOAT
        table = numpy_helper.from_array(np.arange(24, dtype=np.float32).reshape(2, 3, 4), "table")
        row = numpy_helper.from_array(np.ones((1, 3, 4), np.float32), "row")
        vector = numpy_helper.from_array(np.ones((1, 4), np.float32), "vector")
        # operator, inputs behind x, attributes, the shape of x and of y, indices that are right, and wrong ones
        cases = [
            ("GatherND", [], {}, [1, 2], [1, 4], [[-2, 2]], [[0, 3]]),
            ("GatherND", [], {"batch_dims": 1}, [2, 1], [2, 4], [[2], [-3]], [[0], [-4]]),
            ("GatherElements", [], {"axis": 1}, [1, 1, 1], [1, 1, 1], [[[-3]]], [[[3]]]),
            ("ScatterND", ["vector"], {}, [1, 2], [2, 3, 4], [[1, -3]], [[2, 0]]),
            ("ScatterElements", ["row"], {"axis": 0}, [1, 3, 4], [2, 3, 4], np.full((1, 3, 4), -2), np.full((1, 3, 4), 2)),
        ]
        for op, more, attributes, shape, result, right, wrong in cases:
            with self.subTest(op, **attributes):
                node = bad_onnx.node(op, "table", "x", *more, to="y", name="places", **attributes)
                used = [t for t in (table, row, vector) if t.name in ("table", *more)]
                made = bad_onnx.model([node], [bad_onnx.info("x", shape, i64)], [bad_onnx.info("y", result, f32)], used)
                path = self.scratch / f"{op}.onnx"
                path.write_bytes(made.SerializeToString())
                flame_cli.run_model(self.flamec, path, {"x": np.array(right, np.int64)}, self.scratch)
                feeds = flame_cli.write_inputs({"x": np.array(wrong, np.int64)}, self.scratch / "in")
                done = self.flamec("run", path, *flame_cli.inputs(feeds), "--output-dir", self.scratch / "out")
                self.assert_clear_error(done, (3,), ["places"], r"index|range")

    def test_batch_that_two_inputs_disagree_on(self):
        made = bad_onnx.model([bad_onnx.node("Add", "x", "z", to="y", name="sum")], inputs=["x", "z"])
        path = self.scratch / "sum.onnx"
        path.write_bytes(made.SerializeToString())
        values = {"x": np.ones((2, 4), np.float32), "z": np.ones((3, 4), np.float32)}
        feeds = flame_cli.write_inputs(values, self.scratch / "in")
        done = self.flamec("run", path, *flame_cli.inputs(feeds), "--output-dir", self.scratch / "out")
        self.assert_clear_error(done, (3,), [], r"\bn\b|2.*3|3.*2|dim|shape")


if __name__ == "__main__":
    main()
