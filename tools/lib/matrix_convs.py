"""The convolutions of bench_matrix.py: those of SDXL's UNet and of the autoencoders' decoders, channels last on both sides, as a
whole model runs them.
"""

from __future__ import annotations

import math

# Images, channels, side, channels of the result, side of the kernel, stride.
SHAPES = [
    (2, 320, 128, 320, 3, 1), (2, 640, 64, 640, 3, 1), (2, 1280, 32, 1280, 3, 1), (2, 960, 128, 320, 3, 1), (2, 1920, 64, 640, 3, 1),
    (2, 2560, 32, 1280, 3, 1), (2, 320, 128, 320, 3, 2), (2, 640, 64, 640, 3, 2), (2, 320, 64, 640, 1, 1), (2, 1920, 64, 640, 1, 1),
    (1, 512, 128, 512, 3, 1), (1, 512, 256, 512, 3, 1), (1, 512, 512, 256, 3, 1), (1, 256, 512, 256, 3, 1), (1, 256, 1024, 128, 3, 1),
    (1, 128, 1024, 128, 3, 1), (1, 512, 512, 256, 1, 1), (64, 64, 56, 64, 3, 1), (64, 256, 14, 256, 3, 1),
]  # fmt: skip
# Further inputs: b of the result's channels, r of its shape.
KINDS = {"conv": "", "conv_bias": "b", "conv_residual": "br"}


def cases():
    """(kind, shape, type)."""
    for shape in SHAPES:
        yield "conv", shape, "bfloat16"
    for shape in (SHAPES[0], SHAPES[10]):
        yield "conv", shape, "float16"
        yield "conv_residual", shape, "bfloat16"


class Conv:
    """One of them; what bench_matrix.py asks of a problem."""

    def __init__(self, kind, shape):
        self.kind = kind
        self.n, self.c, self.side, self.k, self.kernel, self.stride = shape
        self.pad = self.kernel // 2
        self.out = (self.side + 2 * self.pad - self.kernel) // self.stride + 1
        self.result = [self.n, self.out, self.out, self.k]
        self.depth = self.c * self.kernel**2
        self.flops = 2 * math.prod(self.result) * self.depth

    @property
    def label(self):
        return f"{self.n}x{self.c}x{self.side}x{self.side} {self.k}x{self.kernel}x{self.kernel}" + (f" /{self.stride}" if self.stride > 1 else "")

    def inputs(self):
        """(name, shape); the weight lies as channels last has it."""
        further = {"b": [self.k], "r": self.result}
        return [("x", [self.n, self.side, self.side, self.c]), ("w", [self.k, self.kernel, self.kernel, self.c]),
                *((i, further[i]) for i in KINDS[self.kind])]  # fmt: skip

    def scale(self, i, _):
        return self.depth**-0.5 if i == 1 else 1

    def nodes(self, helper):
        last, first = [0, 2, 3, 1], [0, 3, 1, 2]
        yield helper.make_node("Transpose", ["x"], ["xt"], perm=first)
        yield helper.make_node("Transpose", ["w"], ["wt"], perm=first)
        bias = ["b"] if "b" in KINDS[self.kind] else []
        yield helper.make_node("Conv", ["xt", "wt", *bias], ["c"], pads=[self.pad] * 4, strides=[self.stride] * 2)
        residual = "r" in KINDS[self.kind]
        yield helper.make_node("Transpose", ["c"], ["t" if residual else "y"], perm=last)
        if residual:
            yield helper.make_node("Add", ["t", "r"], ["y"])

    def function(self):
        import torch.nn.functional as F

        def call(x, w, b=None, r=None):
            y = F.conv2d(x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2), b, self.stride, self.pad).permute(0, 2, 3, 1)
            return y if r is None else y + r

        return call

    def errors(self, inputs, results):
        """Relative errors in the norm against float64: of the two opposite corners of the result, borders included."""
        import torch

        size = min(16, self.out)
        reach = (size - 1) * self.stride + self.kernel - self.pad  # of x, for the windows of a corner
        x, w, *further = [t.double() if i else t for i, t in enumerate(inputs)]
        parts = {"begin": (slice(0, reach), slice(0, size)), "end": (slice((self.out - size) * self.stride - self.pad, None), slice(self.out - size, None))}
        wanted, cudnn = [], torch.backends.cudnn.enabled
        torch.backends.cudnn.enabled = False
        for name, (read, write) in parts.items():
            if name == "end" and self.out <= size:
                continue
            some = x[:, read, read].double()
            zeros = [self.pad if name == "begin" else 0, self.pad if name == "end" or self.out <= size else 0]
            some = torch.nn.functional.pad(some.permute(0, 3, 1, 2), zeros * 2)
            y = torch.nn.functional.conv2d(some, w.permute(0, 3, 1, 2), further[0] if further else None, self.stride)
            y = y.permute(0, 2, 3, 1)[:, :size, :size]
            wanted.append((write, y if len(further) < 2 else y + further[1][:, write, write]))
        torch.backends.cudnn.enabled = cudnn
        norm = sum(y.norm() ** 2 for _, y in wanted) ** 0.5
        return [(sum((r[:, at, at].double() - y).norm() ** 2 for at, y in wanted) ** 0.5 / norm).item() if torch.isfinite(r).all() else math.inf
                for r in results]  # fmt: skip
