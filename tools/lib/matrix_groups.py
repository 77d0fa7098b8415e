"""The products of bench_matrix.py whose rows go by groups, as those of a mixture of experts: rows sorted by their expert, and a matrix for
each. Groups are uneven, as routing makes them.
"""

from __future__ import annotations

import math

# M, N, K, groups: Mixtral's experts, and those of DeepSeek on one GPU of several and of one.
SHAPES = [
    *((m, 14336, 4096, 8) for m in (64, 4096, 8192, 16384)),
    *((m, 2048, 7168, 64) for m in (64, 4096, 8192, 16384)),
    *((m, 2048, 7168, 256) for m in (64, 8192, 16384)),
    *((m, 7168, 2048, 256) for m in (64, 8192, 16384)),
]  # fmt: skip
# Further weights; their names in a model.
KINDS = {"grouped": "w", "grouped_swiglu": "wv"}
ENDS = "ends"


def cases():
    """(kind, shape, type)."""
    for shape in SHAPES:
        yield "grouped", shape, "bfloat16"
    for shape in ((8192, 14336, 4096, 8), (8192, 2048, 7168, 64), (64, 2048, 7168, 256)):
        yield "grouped_swiglu", shape, "bfloat16"


class Groups:
    """One of them; what bench_matrix.py asks of a problem."""

    def __init__(self, kind, shape):
        self.weights = KINDS[kind]
        self.m, self.k, self.depth, self.groups = shape
        self.result = [self.m, self.k]

    @property
    def label(self):
        return f"{self.m}x{self.k}x{self.depth} {self.groups}"

    def inputs(self):
        """(name, shape)."""
        return [("x", [self.m, self.depth]), *((w, [self.groups, self.k, self.depth]) for w in self.weights), (ENDS, [self.groups])]

    def scale(self, i, _):
        return self.depth**-0.5 if i > 0 else 1

    def tensor(self, i):
        """Input i where it is no random numbers: ends of groups that each row chose by odds that differ."""
        import torch

        if i <= len(self.weights):
            return None
        odds = torch.softmax(0.5 * torch.randn(self.groups, device="cuda"), 0)
        chosen = torch.multinomial(odds, self.m, replacement=True)
        return torch.bincount(chosen, minlength=self.groups).cumsum(0).to(torch.int32)

    def bytes(self, inputs, result):
        """What is read and written at least: matrices of groups that have rows."""
        ends = inputs[-1].tolist()
        used = sum(end > begin for begin, end in zip([0, *ends], ends))
        each = inputs[1][0].numel() * inputs[1].itemsize
        return (inputs[0].numel() + result.numel()) * result.itemsize + used * each * len(self.weights)

    def nodes(self, helper):
        for w in self.weights:
            to = "y" if self.weights == "w" else f"p{w}"
            yield helper.make_node("GroupedMatMul", ["x", w, ENDS], [to], domain="flame", transpose_y=1)
        if self.weights == "wv":
            yield helper.make_node("Sigmoid", ["pw"], ["s"])
            yield helper.make_node("Mul", ["pw", "s"], ["a"])
            yield helper.make_node("Mul", ["a", "pv"], ["y"])

    def function(self):
        import torch
        import torch.nn.functional as F

        def call(x, *further):
            *weights, ends = further
            products = [torch._grouped_mm(x, w.transpose(1, 2), ends) for w in weights]
            return products[0] if len(products) == 1 else F.silu(products[0]) * products[1]

        return call

    def errors(self, inputs, results):
        """Relative errors in the norm against float64: of some rows of each group, the first and the last among them."""
        import torch

        x, *weights, ends = inputs
        begin, wanted = 0, []
        for group, end in enumerate(ends.tolist()):
            if end > begin:
                rows = torch.unique(torch.linspace(begin, end - 1, 5).long())
                products = [x[rows].double() @ w[group].double().T for w in weights]
                wanted.append((rows, products[0] if len(products) == 1 else torch.nn.functional.silu(products[0]) * products[1]))
            begin = end
        norm = sum(y.norm() ** 2 for _, y in wanted) ** 0.5
        return [(sum((r[rows].double() - y).norm() ** 2 for rows, y in wanted) ** 0.5 / norm).item() if torch.isfinite(r).all() else math.inf
                for r in results]  # fmt: skip
