#!/usr/bin/env python3
"""Every malformed file of bad_onnx.py: a clear error with the right exit code, soon and in little memory."""

from __future__ import annotations

import bad_onnx
from support import FlameTest, main


class BadOnnx(FlameTest):
    def check(self, case):
        path = case.build(self.scratch)
        before = self.scratch / "out.flame"
        before.write_bytes(b"what was there before")
        done = self.flamec("compile", path, "-o", before, timeout=60)
        self.assert_clear_error(done, case.status, ["bad.onnx"], case.says)
        self.assertLess(done.seconds, 20, "rejecting the file took too long")
        self.assertLess(done.peak_bytes, 1 << 30, "rejecting the file took too much memory")
        self.assertEqual(before.read_bytes(), b"what was there before", "a failed compilation replaced the artifact")


def add(case):
    def test(self):
        self.check(case)

    test.__name__ = f"test_{case.name}"
    test.__doc__ = None
    setattr(BadOnnx, test.__name__, test)


for _case in bad_onnx.CASES:
    add(_case)


class GoodOnnx(FlameTest):
    """What looks odd and is allowed."""

    def test_symlink_inside_the_folder(self):
        made = bad_onnx.bad_onnx_data.external(self.scratch, "link.bin")
        (self.scratch / "link.bin").symlink_to("weights.bin")
        path = bad_onnx.bad_onnx_data.stored(made, self.scratch)
        self.compiled(path)

    def test_external_data_in_a_subfolder(self):
        made = bad_onnx.bad_onnx_data.external(self.scratch, "sub/weights.bin", write=False)
        (self.scratch / "sub").mkdir()
        (self.scratch / "sub" / "weights.bin").write_bytes(bytes(64))
        self.compiled(bad_onnx.bad_onnx_data.stored(made, self.scratch))

    def test_zero_size_and_rank_0_weights(self):
        from onnx import TensorProto

        scalar = TensorProto(name="s", dims=[], data_type=1, raw_data=bytes(4))
        nothing = TensorProto(name="z", dims=[0, 4], data_type=1, raw_data=b"")
        nodes = [
            bad_onnx.node("Add", "x", "s", to="h", name="sum"),
            bad_onnx.node("Concat", "h", "z", to="y", name="concat", axis=0),
        ]
        path = self.scratch / "good.onnx"
        path.write_bytes(bad_onnx.model(nodes, weights=[scalar, nothing]).SerializeToString())
        self.compiled(path)


if __name__ == "__main__":
    main()
