#!/usr/bin/env python3
"""Makes models of single attentions with inputs and references, for a machine with a GPU.

    make_attention_cases.py --flamec FLAMEC --gpu sm_90a [--filter REGEX] [--jobs N] OUT

As make_contract_cases.py, which see: references are NumPy's in f64 of the same rounded inputs, rounded once. Scales are powers of
two, which every type holds. `--target=cpu` and an emulated GPU work as there.
"""

from __future__ import annotations

import numpy as np
from make_contract_cases import DTYPES, EPSILON, Case, main, tensor


class Attention(Case):
    """Adds what attention is spelled by: one operator of ONNX, or single ones."""

    def __init__(self, name, dtype):
        super().__init__(name, dtype, normal=True)

    def softmax(self, scores):
        scores = scores.astype(np.float64)
        with np.errstate(invalid="ignore"):
            weights = np.exp(scores - scores.max(-1, keepdims=True, initial=-np.inf))
            return weights / weights.sum(-1, keepdims=True)

    def mask(self, name, shape, dims=None, kind="bool", row=None):
        """A mask as input; row `row` sees nothing."""
        visible = self.random.random(shape) < 0.7
        visible[..., :1] = True
        if row is not None:
            visible[..., row, :] = False
        if kind == "bool":
            self.inputs.append((name, visible, "bool", dims or list(shape)))
            return np.where(visible, 0.0, -np.inf)
        bias = np.where(visible, self.random.integers(-2, 3, shape), -np.inf if kind == "inf" else -10000.0)
        data = bias.astype(self.inputs[0][1].dtype)
        self.inputs.append((name, data, self.dtype, dims or list(shape)))
        return data.astype(np.float64)

    def operator(self, q, k, v, added=None, mask="", causal=False, softcap=0.0, scale=0.125, heads=None, past=0):
        """ONNX's Attention of inputs [B, H, S, D] or, with `heads` (of queries, of keys), [B, S, H D]."""
        x, y, z = self.value[q], self.value[k], self.value[v]
        attributes = {"scale": scale, "is_causal": int(causal)}
        if softcap:
            attributes["softcap"] = softcap
        if heads:
            attributes |= {"q_num_heads": heads[0], "kv_num_heads": heads[1]}
            x, y, z = (t.reshape(*t.shape[:2], h, -1).swapaxes(1, 2) for t, h in zip((x, y, z), (heads[0], *heads[1:] * 2)))
        y, z = (np.repeat(t, x.shape[1] // t.shape[1], 1) for t in (y, z))
        scores = x @ y.swapaxes(-1, -2) * scale
        if softcap:
            scores = np.tanh(scores / softcap) * softcap
        if added is not None:
            scores = scores + added
        if causal:
            scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, -np.inf)
        result = self.softmax(scores) @ z
        if heads:
            result = result.swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1)
        return self.node("Attention", [q, k, v] + ([mask] if mask else []), result, **attributes)

    def sizes(self, *numbers):
        return self.node("Constant", [], np.array(numbers), value_ints=list(numbers))

    def repeated(self, x, heads, queries):
        """[B, S, H D] as exporters write it for so many heads of queries: [B, Q, S, D]."""
        b, tokens, width = self.value[x].shape
        split = self.node("Reshape", [x, self.sizes(0, 0, heads, width // heads)], self.value[x].reshape(b, tokens, heads, -1))
        inside = self.transpose(split, [0, 2, 1, 3])
        once = self.node("Unsqueeze", [inside, self.sizes(2)], self.value[inside][:, :, None])
        wide = self.node("Expand", [once, self.sizes(1, heads, queries // heads, 1, 1)], np.repeat(self.value[once], queries // heads, 2))
        return self.node("Reshape", [wide, self.sizes(-1, queries, tokens, width // heads)], self.value[wide].reshape(b, queries, tokens, -1))

    def bert(self, q, k, v, heads, added=None, mask="", divisor=8.0, split=(), guarded=False, known=False):
        """What exporters make of it: [B, S, H D] split (keys and values may be so; `guarded`: weights that are NaN become 0; `known`: sizes of heads are constants), MatMul, Div, Add, Softmax, MatMul, joined."""
        sizes = [0, 0, heads, self.value[q].shape[-1] // heads]
        shape = self.sizes(*sizes) if known else self.input("shape", (4,), dtype="i64", data=np.array(sizes))

        def heads_of(x, perm):
            if self.value[x].ndim == 4:
                return x if perm == [0, 2, 1, 3] else self.transpose(x, [0, 1, 3, 2])
            value = self.value[x].reshape(*self.value[x].shape[:2], heads, -1)
            return self.transpose(self.node("Reshape", [x, shape], value), perm)

        product = self.matmul(heads_of(q, [0, 2, 1, 3]), heads_of(k, [0, 2, 3, 1]))
        by = self.input("divisor", (), data=np.array(divisor))
        scores = self.node("Div", [product, by], self.value[product] / divisor)
        if mask:
            scores = self.node("Add", [scores, mask], self.value[scores] + added)
        weights = self.node("Softmax", [scores], self.softmax(self.value[scores]), axis=-1)
        if guarded:
            nothing = self.node("Constant", [], np.array(0.0), value=tensor("nothing", np.array(0.0), self.dtype))
            is_nan = self.node("IsNaN", [weights], np.isnan(self.value[weights]))
            weights = self.node("Where", [is_nan, nothing, weights], np.where(self.value[is_nan], 0.0, self.value[weights]))
        result = self.transpose(self.matmul(weights, heads_of(v, [0, 2, 1, 3])), [0, 2, 1, 3])
        return result


class LogSum(Attention):
    """An attention and the log-sum-exp of its scores, f32. Queries and keys are whole numbers, so that scores are exact in every type."""

    def __init__(self, name, dtype):
        super().__init__(name, dtype)
        self.out_dtypes = {}

    def number(self, name, value):
        return self.input(name, (), dtype="f32", data=np.array(value))

    def scores(self, q, k, mask=None, added=None):
        """[B, H, S, T] in f32 of inputs [B, H, S, D] and [B, H, T, D]."""
        product = self.matmul(q, self.transpose(k, [0, 1, 3, 2]))
        wide = self.node("Cast", [product], self.value[product], to=1)
        scale = self.number(f"scale_{q}{k}", 0.125)
        scores = self.node("Mul", [wide, scale], self.value[wide] * 0.125)
        return self.node("Add", [scores, mask], self.value[scores] + added) if mask else scores

    def weigh(self, scores, v):
        weights = self.node("Softmax", [scores], self.softmax(self.value[scores]), axis=-1)
        narrow = self.node("Cast", [weights], self.value[weights], to=DTYPES[self.dtype][0])
        return self.matmul(narrow, v)

    def log_sum(self, scores, kind):
        with np.errstate(invalid="ignore", divide="ignore"):
            value = self.value[scores]
            peak = value.max(-1, keepdims=True)
            shift = np.where(np.isfinite(peak), peak, 0)
            total = np.log(np.exp(value - shift).sum(-1, keepdims=True)) + shift
        axes = self.axes(f"axes_{scores}", -1)
        if kind == "spelled":  # as softmax computes it: NaN where nothing is seen
            m = self.node("ReduceMax", [scores, axes], peak, keepdims=1)
            with np.errstate(invalid="ignore"):
                e = self.node("Exp", [self.node("Sub", [scores, m], value - peak)], np.exp(value - peak))
            z = self.node("ReduceSum", [e, axes], self.value[e].sum(-1, keepdims=True), keepdims=1)
            return self.node("Add", [self.node("Log", [z], np.log(self.value[z])), m], np.log(self.value[z]) + peak)
        result = total if kind == "kept" else total[..., 0]
        return self.node("ReduceLogSumExp", [scores, axes], result, keepdims=int(kind == "kept"))

    def error(self, log_sum):
        """1 + 256 times its error, so that the tolerance of 16 bits is a narrow one for it; what sees nothing stays what it is."""
        exact = self.input(f"exact_{log_sum}", self.value[log_sum].shape, dtype="f32", data=self.value[log_sum])
        with np.errstate(invalid="ignore"):
            error = self.node("Sub", [log_sum, exact], self.value[log_sum] - self.value[exact])
        times = self.node("Mul", [error, self.number(f"times_{log_sum}", 256)], self.value[error] * 256)
        result = self.node("Add", [times, self.number(f"one_{log_sum}", 1)], self.value[times] + 1)
        self.value[result] = np.where(np.isnan(self.value[result]), np.nan, 1.0)
        self.out_dtypes[result] = "f32"
        return result

    def whole(self, name, shape):
        return self.input(name, shape, data=self.random.integers(-1, 2, shape))


def log_sums():
    """(case, names of the outputs): attentions whose log-sum-exp is a result, too."""
    for dtype in ("f16", "bf16"):
        for d, e in ((64, 64), (128, 128), (40, 48), (192, 128), (256, 256), (512, 512)):
            for s, t in ((1, 1), (17, 67), (128, 128), (131, 200), (1, 300)):
                for kind in ("reduced", "kept", "spelled"):
                    if kind != "reduced" and (s, t) != (17, 67):
                        continue
                    c = LogSum(f"log_sum_{kind}_{dtype}_{d}_{e}_{s}x{t}", dtype)
                    scores = c.scores(c.whole("q", (2, 3, s, d)), c.whole("k", (2, 3, t, d)))
                    # Before the result, and read before it; or after.
                    first = kind != "spelled" and c.error(c.log_sum(scores, kind))
                    y = c.weigh(scores, c.input("v", (2, 3, t, e)))
                    yield c, [c.transpose(y, [0, 2, 1, 3]), first or c.error(c.log_sum(scores, kind))]
        for s, t, d, heads in ((1, 700, 64, 2), (5, 1100, 128, 3), (16, 1025, 40, 1), (3, 40, 64, 2)):
            c = LogSum(f"log_sum_shared_keys_{dtype}_{s}x{t}_{heads}x{d}", dtype)
            c.schedule = [{"family": family, "schedule": {"splits": 132}} for family in ("attention", "wgmma-attention")]
            scores = c.scores(c.whole("q", (2, heads, s, d)), c.whole("k", (2, heads, t, d)))
            yield c, [c.weigh(scores, c.input("v", (2, heads, t, d))), c.error(c.log_sum(scores, "reduced"))]
        # Rows that see nothing: minus infinity, or NaN as it is spelled; heads of symbolic sizes.
        for kind in ("reduced", "spelled"):
            c = LogSum(f"log_sum_unseen_{kind}_{dtype}", dtype)
            q, k = c.input("q", (2, 4, 70, 64), ["b", 4, "s", 64], data=c.random.integers(-1, 2, (2, 4, 70, 64))), c.whole("k", (2, 4, 90, 64))
            c.inputs[-1] = (*c.inputs[-1][:3], ["b", 4, "t", 64])
            visible = np.where(c.random.random((2, 1, 70, 90)) < 0.6, 0.0, -np.inf)
            visible[:, :, 33] = -np.inf
            visible[..., 0] = np.where(np.arange(70) == 33, -np.inf, 0)
            mask = c.input("mask", visible.shape, ["b", 1, "s", "t"], dtype="f32", data=visible)
            scores = c.scores(q, k, mask, visible)
            total = c.log_sum(scores, kind)
            c.out_dtypes[total] = "f32"
            yield c, [c.weigh(scores, c.input("v", (2, 4, 90, 32), ["b", 4, "t", 32])), total]
        # Parts of the keys, joined by their log-sum-exps.
        for s, t, u, d in ((40, 50, 90, 64), (1, 300, 77, 128)):
            c = LogSum(f"log_sum_joined_{dtype}_{s}x{t}_{u}x{d}", dtype)
            q, parts = c.whole("q", (1, 2, s, d)), []
            for i, keys in enumerate((t, u)):
                scores = c.scores(q, c.whole(f"key{i}", (1, 2, keys, d)))
                y = c.weigh(scores, c.input(f"value{i}", (1, 2, keys, d)))
                wide = c.node("Cast", [y], c.value[y], to=1)
                parts.append((wide, c.log_sum(scores, "kept")))
            most = c.node("Max", [total for _, total in parts], np.maximum(*(c.value[total] for _, total in parts)))
            terms, factors = [], []
            for wide, total in parts:
                below = c.node("Sub", [total, most], c.value[total] - c.value[most])
                factors.append(c.node("Exp", [below], np.exp(c.value[below])))
                terms.append(c.node("Mul", [wide, factors[-1]], c.value[wide] * c.value[factors[-1]]))
            above, below = (c.node("Add", pair, c.value[pair[0]] + c.value[pair[1]]) for pair in (terms, factors))
            joined = c.node("Div", [above, below], c.value[above] / c.value[below])
            c.out_dtypes[joined] = "f32"
            yield c, joined


def attentions():
    """(case, name of the output)."""
    for dtype in ("f16", "bf16"):
        sizes = ((8, 8), (16, 16), (40, 40), (64, 64), (80, 80), (96, 96), (128, 128), (64, 128), (192, 128), (256, 256), (33, 20),
                 (384, 384), (512, 512))  # fmt: skip
        for d, e in sizes:
            for s, t in ((1, 1), (17, 67), (128, 128), (1, 300), (131, 1)):
                c = Attention(f"head_{dtype}_{d}_{e}_{s}x{t}", dtype)
                yield c, c.operator(c.input("q", (2, 3, s, d)), c.input("k", (2, 3, t, d)), c.input("v", (2, 3, t, e)))
        # Many heads of few numbers, so that blocks are large: those of queries differ by powers of two, keys have one.
        for d, s, t in ((64, 300, 300), (64, 257, 1031), (128, 383, 390), (40, 140, 140)):
            for causal in (False, True):
                c = Attention(f"many{'_causal' if causal else ''}_{dtype}_{d}_{s}x{t}", dtype)
                factor = c.input("factor", (1, 70, 1, 1), data=2.0 ** c.random.integers(-2, 2, (1, 70, 1, 1)))
                x = c.input("x", (1, 1, s, d))
                q = c.node("Mul", [x, factor], c.value[x] * c.value[factor])
                y = c.operator(q, c.input("k", (1, 1, t, d)), c.input("v", (1, 1, t, d)), causal=causal)
                axes = c.input("axes", (1,), dtype="i64", data=np.array([1]))
                # Not the mean: it is smaller than what was rounded.
                extreme, function = ("ReduceMin", np.min) if causal else ("ReduceMax", np.max)
                yield c, c.node(extreme, [y, axes], function(c.value[y], axis=1, keepdims=True))
        # More tiles than a GPU has multiprocessors; heads share queries and keys.
        for causal in (False, True):
            c = Attention(f"many_shared{'_causal' if causal else ''}_{dtype}", dtype)
            heads = c.input("heads", (4,), dtype="i64", data=np.array([1, 70, 1, 1]))
            q, k = (c.node("Expand", [c.input(n, (1, 1, s, 64)), heads], np.repeat(c.value[n], 70, 1)) for n, s in (("q", 400), ("k", 410)))
            yield c, c.operator(q, k, c.input("v", (1, 70, 410, 16)), causal=causal)
        for s, t in ((1, 40), (77, 77), (100, 61), (64, 200)):
            sizes = f"{dtype}_{s}x{t}"
            shapes = [(2, 4, s, 32), (2, 4, t, 32), (2, 4, t, 48)]

            def case(name):
                c = Attention(f"{name}_{sizes}", dtype)
                return c, [c.input(n, shape) for n, shape in zip("qkv", shapes)]

            c, qkv = case("causal")
            yield c, c.operator(*qkv, causal=True)
            c, qkv = case("softcap")
            yield c, c.operator(*qkv, softcap=2.0)
            for name, shape in (("rows", (s, t)), ("heads", (1, 4, s, t)), ("all", (2, 4, s, t)), ("keys", (2, 1, 1, t))):
                for kind in ("bool", "add", "inf"):
                    c, qkv = case(f"mask_{name}_{kind}")
                    yield c, c.operator(*qkv, c.mask("mask", shape, kind=kind), "mask")
            c, qkv = case("mask_causal_softcap")
            yield c, c.operator(*qkv, c.mask("mask", (2, 1, s, t)), "mask", causal=True, softcap=4.0)
            c, qkv = case("unseen_row")
            yield c, c.operator(*qkv, c.mask("mask", (2, 1, s, t), row=s // 2), "mask")
        # Few queries over many keys: several blocks have a part of them each.
        for s, t, d, heads in ((1, 700, 64, 2), (5, 1100, 128, 3), (16, 1025, 40, 1), (70, 530, 64, 1), (3, 40, 64, 2)):
            for kind in ("", "causal", "mask", "softcap", "dynamic"):
                c = Attention(f"shared_keys{kind and '_' + kind}_{dtype}_{s}x{t}_{heads}x{d}", dtype)
                c.schedule = [{"family": family, "schedule": {"splits": 132}} for family in ("attention", "wgmma-attention")]
                dims = ["b", heads, "s", d] if kind == "dynamic" else None
                q = c.input("q", (2, heads, s, d), dims)
                k, v = (c.input(n, (2, heads, t, d), dims and ["b", heads, "t", d]) for n in "kv")
                if kind == "mask":
                    yield c, c.operator(q, k, v, c.mask("mask", (2, 1, s, t), row=s // 2 if s > 1 else None), "mask")
                else:
                    yield c, c.operator(q, k, v, causal=kind == "causal", softcap=2.0 if kind == "softcap" else 0.0)
        # More tiles than multiprocessors: those of the last round are shared.
        for s, t, d, heads in ((5, 700, 64, 68), (1000, 1000, 80, 9), (1531, 1100, 64, 6), (200, 530, 40, 47)):
            for kind in ("", "causal", "dynamic"):
                c = Attention(f"shared_last_keys{kind and '_' + kind}_{dtype}_{s}x{t}_{heads}x{d}", dtype)
                c.schedule = [{"family": "wgmma-attention", "schedule": {"splits": 132}}]
                dims = ["b", heads, "s", d] if kind == "dynamic" else None
                q = c.input("q", (2, heads, s, d), dims)
                k, v = (c.input(n, (2, heads, t, d), dims and ["b", heads, "t", d]) for n in "kv")
                yield c, c.operator(q, k, v, causal=kind == "causal")
        for heads, keys in ((4, 1), (6, 2), (4, 4)):
            for causal in (False, True):
                c = Attention(f"joined_{dtype}_{heads}_{keys}_{causal}", dtype)
                q = c.input("q", (2, 45, heads * 24), ["b", "s", heads * 24])
                k, v = (c.input(n, (2, 50, keys * 24), ["b", "t", keys * 24]) for n in "kv")
                yield c, c.operator(q, k, v, causal=causal, heads=(heads, keys))
                if not causal:
                    c = Attention(f"repeated_{dtype}_{heads}_{keys}", dtype)
                    q = c.input("q", (2, 45, heads * 64), ["b", "s", heads * 64])
                    k, v = (c.input(n, (2, 50, keys * 64), ["b", 50, keys * 64]) for n in "kv")
                    c.kernels, c.kernels_in_all = ["flame::wgmmaAttention<"], 1
                    kv = [c.repeated(x, keys, heads) for x in (k, v)]
                    yield c, c.bert(q, *kv, heads, c.mask("mask", (2, 1, 45, 50), ["b", 1, "s", 50], kind="add"), "mask", known=True)
                c = Attention(f"grouped_{dtype}_{heads}_{keys}_{causal}", dtype)
                q = c.input("q", (2, heads, 45, 24))
                k, v = (c.input(n, (2, keys, 50, 24)) for n in "kv")
                yield c, c.operator(q, k, v, c.mask("mask", (2, 1, 45, 50)), "mask", causal=causal)
        # Rows that see nothing are 0; blocks that share keys, too.
        for s, t, splits in ((70, 90, 1), (5, 900, 132)):
            c = Attention(f"guarded_{dtype}_{s}x{t}", dtype)
            c.schedule = [{"family": family, "schedule": {"splits": splits}} for family in ("attention", "wgmma-attention")]
            q, k, v = (c.input(n, (2, tokens, 3 * 64)) for n, tokens in zip("qkv", (s, t, t)))
            mask = c.mask("mask", (2, 1, s, t), kind="inf")
            for b in range(2):
                c.inputs[-1][1][b, 0, s // 2 + b] = mask[b, 0, s // 2 + b] = -np.inf
            c.kernels, c.kernels_in_all = ["flame::wgmmaAttention<", "flame::zeroForNaN("], 1
            yield c, c.bert(q, k, v, 3, mask, "mask", guarded=True, known=True)
        for b, s, h, d in ((1, 128, 12, 64), (2, 37, 3, 64), (3, 16, 2, 40)):
            c = Attention(f"bert_{dtype}_{b}x{s}x{h}x{d}", dtype)
            q, k, v = (c.input(n, (b, s, h * d), ["b", "s", h * d]) for n in "qkv")
            yield c, c.bert(q, k, v, h, c.mask("mask", (b, 1, 1, s), ["b", 1, 1, "s"], kind="add"), "mask")
            c = Attention(f"bert_plain_{dtype}_{b}x{s}x{h}x{d}", dtype)
            q, k, v = (c.input(n, (b, s, h * d)) for n in "qkv")
            yield c, c.bert(q, k, v, h)
    c = Attention("strict_f32", "f32")
    yield c, c.operator(c.input("q", (1, 2, 33, 16)), c.input("k", (1, 2, 40, 16)), c.input("v", (1, 2, 40, 16)))
    c = Attention("large_head_f16", "f16")
    yield c, c.operator(c.input("q", (1, 2, 33, 264)), c.input("k", (1, 2, 40, 264)), c.input("v", (1, 2, 40, 16)))


class Bytes(Attention):
    """softmax(q k^T) v of floats of 8 bits, as exporters of quantised models spell it. `dtype` is what they are dequantised to."""

    # Of weights: half a step relative to them; half of the smallest number, where the scale gives 1 the number 256. That a target does not round
    # them, as GPUs don't, is no error.
    ROUNDING = {"e4m3": (2.0**-4, 2.0**-10), "e5m2": (2.0**-3, 2.0**-17)}

    def __init__(self, name, dtype, kind):
        super().__init__(name, dtype)
        self.kind = kind
        self.out_dtypes = {}
        self.step, self.least = self.ROUNDING[kind]

    def number(self, name, value, dtype="f32"):
        if name not in self.value:
            self.constants(name, np.array(value), dtype)
        return name

    def constants(self, name, data, dtype):
        self.weights.append(tensor(name, data, dtype))
        self.value[name] = data.astype(np.float64)
        return name

    def scaled(self, x, scale, axis=None):
        by = self.value[scale]
        by = by.reshape(-1, *[1] * (self.value[x].ndim - axis - 1)) if axis is not None else by
        return self.node("DequantizeLinear", [x, scale], self.value[x] * by, **({} if axis is None else {"axis": axis}))

    def dequantised(self, name, shape, dims=None, by="one", power=-1, data=None, dtype=None):
        """An input times a constant, an input, or one of each head (dim 1)."""
        dtype = dtype or self.dtype
        x = self.input(name, shape, dims, dtype=self.kind, data=data)
        if by == "heads":
            scale = self.constants(f"scale_{name}", 2.0 ** self.random.integers(-3, 1, shape[1]), dtype)
            return self.scaled(x, scale, axis=1)
        if by == "input":
            return self.scaled(x, self.input(f"scale_{name}", (), dtype=dtype, data=np.array(2.0**power)))
        return self.scaled(x, self.number(f"scale_{name}", 2.0**power, dtype))

    def rounded(self, weights, scale=2.0**-8):
        """The weights in 8 bits and back; the reference has them as they are."""
        value = self.value[weights]
        by = self.number("scale_w", scale)
        code = self.node("QuantizeLinear", [weights, by, self.constants("zero", np.array(0.0), self.kind)], value)
        return self.node("DequantizeLinear", [code, self.number("scale_d", scale, self.dtype), "zero"], value)

    def attention(self, q, k, v, added=None, mask="", causal=False, rounds=True, transposed=False, wide=False):
        """`transposed`: keys come so. `wide`: queries and keys are f32, and so are scores."""
        wide |= self.dtype == "f32"
        key = k if transposed else self.transpose(k, [*range(self.value[k].ndim - 2), self.value[k].ndim - 1, self.value[k].ndim - 2])
        product = self.matmul(q, key)
        scores = self.node("Mul", [product, self.number("times", 0.25, "f32" if wide else self.dtype)], self.value[product] * 0.25)
        if not wide:
            scores = self.node("Cast", [scores], self.value[scores], to=1)
        if mask:
            scores = self.node("Add", [scores, mask], self.value[scores] + added)
        if causal:
            lower = np.tri(*self.value[scores].shape[-2:], dtype=bool)
            seen = self.constants("seen", lower, "bool")
            hidden = self.number("hidden", -np.inf)
            scores = self.node("Where", [seen, scores, hidden], np.where(lower, self.value[scores], -np.inf))
        self.scores = scores
        weights = self.node("Softmax", [scores], self.softmax(self.value[scores]), axis=-1)
        if rounds:
            weights = self.rounded(weights)
        elif self.dtype != "f32":
            weights = self.node("Cast", [weights], self.value[weights], to=DTYPES[self.dtype][0])
        self.weights_of_last, self.values_of_last = self.value[weights], self.value[v]
        return self.matmul(weights, v)

    def errors(self, y, perm=None):
        """Names of outputs that are 1 plus a little: more than half of the tolerance where an element is off by more than rounding the weights
        can do, or all are, relative in the norm, than many weights that lie evenly between the numbers of 8 bits. `perm` before it leaves the
        attention's result as it is."""
        w, v = self.weights_of_last, np.abs(self.values_of_last)
        with np.errstate(invalid="ignore"):
            bound = (self.step * w + self.least / 256) @ v + EPSILON[self.dtype if self.dtype != "f32" else "f16"] * np.abs(self.value[y])
        if perm:
            y, bound = self.transpose(y, perm), bound.transpose(perm)
        if self.dtype != "f32":
            y = self.node("Cast", [y], self.value[y], to=1)
        exact = self.value[y]
        fine = np.isfinite(exact)
        bound = np.where(fine & (bound > 0), bound, 1)
        off = self.node("Sub", [y, self.input("exact", exact.shape, dtype="f32", data=exact)], np.where(fine, 0.0, np.nan))
        self.rtol = EPSILON["f16"]
        part = self.node("Mul", [off, self.input("part", exact.shape, dtype="f32", data=2 * self.rtol / bound)], self.value[off])
        worst = self.node("Add", [part, self.number("unit", 1)], np.where(fine, 1.0, np.nan))
        self.out_dtypes[worst] = "f32"
        if not fine.all() or exact.size < 1000 or w.shape[-1] < 30:
            return [worst]
        squares = self.node("Mul", [off, off], self.value[off])
        axes = self.constants("axes", np.arange(exact.ndim), "i64")
        mean = self.node("ReduceMean", [squares, axes], np.zeros([1] * exact.ndim), keepdims=1)
        root = self.node("Sqrt", [mean], self.value[mean])
        times = 2 * self.rtol / (self.step / 3**0.5 * np.sqrt(np.mean(exact**2)))
        together = self.node("Add", [self.node("Mul", [root, self.number("times_root", times)], self.value[root]), "unit"], np.ones([1] * exact.ndim))
        self.out_dtypes[together] = "f32"
        return [worst, together]


def bytes_cases():
    """(case, names of the outputs): attentions of floats of 8 bits."""
    heads_first = [0, 2, 1, 3]
    turn = 0
    for kind in ("e4m3", "e5m2"):
        for d, e in ((64, 64), (128, 128), (96, 80), (256, 256), (192, 128), (32, 16), (40, 40), (48, 64), (512, 512)):
            for s, t in ((1, 1), (17, 67), (128, 128), (131, 300), (1, 700)):
                dtype = ("bf16", "f16", "f32")[turn := (turn + 1) % 3]
                c = Bytes(f"bytes_{kind}_{dtype}_{d}_{e}_{s}x{t}", dtype, kind)
                y = c.attention(c.dequantised("q", (2, 3, s, d)), c.dequantised("k", (2, 3, t, d)), c.dequantised("v", (2, 3, t, e)))
                yield c, c.errors(y, heads_first if turn else None)
        for s, t in ((77, 77), (100, 261)):
            shapes = [(2, 4, s, 64), (2, 4, t, 64), (2, 4, t, 64)]
            for name in ("causal", "heads", "inputs", "mask", "unseen", "transposed", "unrounded", "unrounded_f16", "scaled_query"):
                c = Bytes(f"bytes_{name}_{kind}_{s}x{t}", "f16" if name == "unrounded_f16" else "bf16", kind)
                by = {"heads": "heads", "inputs": "input"}.get(name, "one")
                q, k, v = (c.dequantised(n, shape, by=by) for n, shape in zip("qkv", shapes))
                if name == "transposed":
                    k = c.dequantised("kt", (2, 4, 64, t))
                if name == "scaled_query":
                    q = c.node("Mul", [q, c.number("half", 0.5, c.dtype)], c.value[q] * 0.5)
                mask = added = None
                if name in ("mask", "unseen"):
                    visible = c.random.random((2, 1, s, t)) < 0.7
                    visible[..., :1] = True
                    if name == "unseen":
                        visible[:, :, s // 2] = False
                    added = np.where(visible, c.random.integers(-2, 3, visible.shape), -np.inf)
                    mask = c.input("mask", added.shape, dtype="f32", data=added)
                y = c.attention(q, k, v, added, mask or "", causal=name == "causal", rounds=not name.startswith("unrounded"), transposed=name == "transposed")
                if name.startswith("unrounded"):
                    c.rtol = EPSILON[c.dtype]
                    yield c, y
                else:
                    yield c, c.errors(y, heads_first)
        # Heads of projections, some of which share keys; symbolic sizes.
        for heads, shared in ((4, 1), (6, 2), (4, 4)):
            for name, dims in (("grouped", False), ("dynamic", True)):
                c = Bytes(f"bytes_{name}_{kind}_{heads}_{shared}", "bf16", kind)
                b, s, t, d = 2, 45, 130, 64

                def split(x, length, count):
                    shape = c.constants(f"shape_{x}", np.array([0, 0, count, d]), "i64")
                    value = c.value[x].reshape(b, length, count, d)
                    return c.transpose(c.node("Reshape", [x, shape], value), heads_first)

                q = split(c.dequantised("q", (b, s, heads * d), dims and ["b", "s", heads * d]), s, heads)
                k, v = (split(c.dequantised(n, (b, t, shared * d), dims and ["b", "t", shared * d]), t, shared) for n in "kv")
                group = c.constants("group", np.array([0, shared, heads // shared, -1, d]), "i64")
                q = c.node("Reshape", [q, group], c.value[q].reshape(b, shared, heads // shared, s, d))
                two = c.constants("two", np.array([2]), "i64")
                k, v = (c.node("Unsqueeze", [x, two], c.value[x][:, :, None]) for x in (k, v))
                yield c, c.errors(c.attention(q, k, v))
        # Few queries over many keys, for which several blocks have a part of them each; all tiles that there are.
        for s, t, d, heads in ((1, 700, 64, 2), (5, 1100, 128, 3), (70, 530, 64, 1)):
            c = Bytes(f"bytes_shared_keys_{kind}_{s}x{t}_{heads}x{d}", "bf16", kind)
            c.schedule = [{"family": family, "schedule": {"splits": 132}} for family in ("attention", "wgmma-attention")]
            y = c.attention(c.dequantised("q", (2, heads, s, d)), c.dequantised("k", (2, heads, t, d)), c.dequantised("v", (2, heads, t, d)))
            yield c, c.errors(y, heads_first)
        for d, rows, keys in BYTE_TILES:
            for causal in (False, True):
                c = Bytes(f"bytes_tile_{kind}_{d}_{rows}x{keys}{'_causal' if causal else ''}", "bf16", kind)
                c.schedule = [{"family": "wgmma-attention", "schedule": {"rows": rows, "keys": keys}}]
                # Scores far apart, so that peaks rise.
                q, k = (c.dequantised(n, (1, 3, length, d), power=p, dtype="f32") for n, length, p in (("q", 333, 1), ("k", 700, 0)))
                y = c.attention(q, k, c.dequantised("v", (1, 3, 700, d)), causal=causal, wide=True)
                yield c, c.errors(y, heads_first)
        # Whole numbers, so that scores are exact: the log-sum-exp of each row beside the result.
        for s, t, d in ((17, 67, 64), (131, 400, 128), (1, 1100, 64)):
            c = BytesLogSum(f"bytes_log_sum_{kind}_{s}x{t}x{d}", "bf16", kind)
            q, k = (c.dequantised(n, (2, 3, length, d), power=0, data=c.random.integers(-1, 2, (2, 3, length, d))) for n, length in (("q", s), ("k", t)))
            y = c.attention(q, k, c.dequantised("v", (2, 3, t, d)))
            total = c.error(c.log_sum(c.scores, "reduced"))
            yield c, [*c.errors(y, heads_first), total]


class BytesLogSum(Bytes):
    log_sum, error = LogSum.log_sum, LogSum.error


class Projection(Attention):
    """Attentions of a projection of x, [b, s, 72], whose columns are `heads[i]` heads of each one's queries, then of keys and of values. What becomes
    of queries and keys, a norm, a rotation, is rounded to the type before attention, in the reference as in the model."""

    def __init__(self, name, dtype, heads, width, kind, b, s):
        super().__init__(name, dtype)
        self.typical = "b=1,s=4096"
        self.random = np.random.default_rng([len(name), len(heads), width, b, s])
        weights = np.random.default_rng([len(heads), width])  # the same ones for all sizes
        total, whole = 3 * sum(heads), lambda *shape: self.random.integers(-4, 5, shape)
        x = self.input("x", (b, s, 72), ["b", "s", 72], data=whole(b, s, 72))
        p = self.matmul(x, self.known("w", weights.choice((-1, 0, 0, 1), (72, total * width)), dtype))
        bias = self.known("bias", weights.integers(-4, 5, total * width), dtype)
        p = self.node("Add", [p, bias], self.value[p] + self.value[bias])
        assert np.abs(self.value[p]).max() <= 256  # which all types hold
        p = self.node("Reshape", [p, self.axes("heads", 0, 0, total, width)], self.value[p].reshape(b, s, total, width))
        angle = np.linspace(0, 1, width // 2) * np.arange(s)[:, None] ** 0.5
        turns = [self.input(n, angle.shape, ["s", width // 2], dtype="f32", data=f(angle)) for n, f in (("cos", np.cos), ("sin", np.sin))]
        turns = [self.node("Unsqueeze", [t, self.axes(f"axis_{t}", 1)], self.value[t][:, None]) for t in turns]
        if kind == "norm":  # no rotation
            self.inputs = self.inputs[:1]
            self.nodes, turns = self.nodes[:-2], []
        ends = [0, *np.cumsum(3 * heads)]
        parts = []
        for i, (begin, end) in enumerate(zip(ends, ends[1:])):
            part = self.slice(p, 2, begin, end)
            parts.append(self.transpose(self.head(part, f"head{i}_", kind, weights, turns) if i < 2 * len(heads) else part, [0, 2, 1, 3]))
        # Scores of a few units.
        scale = (1 / 4 if width == 128 else 1 / 2) if "norm" in kind else (2.0**-10 if width == 128 else 2.0**-9)
        self.result = [self.operator(*parts[i :: len(heads)], scale=scale) for i in range(len(heads))]
        # One text for all queries and keys.
        borders = ", ".join(str(end * width) for end in ends[1 : 2 * len(heads) + 1])
        self.kernels, self.kernels_in_all = [f"flame::segmentStore<{width}, ", f", {borders}>("], 1 + len(heads)

    def known(self, name, data, dtype):
        self.weights.append(tensor(name, data, dtype))
        self.value[name] = data.astype(DTYPES[dtype][1]).astype(np.float64)
        return name

    def slice(self, x, axis, begin, end, step=1):
        names = [self.axes(f"{part}{len(self.weights)}", number) for part, number in (("begin", begin), ("end", end), ("axis", axis), ("step", step))]
        at = tuple(slice(begin, end, step) if d == axis else slice(None) for d in range(self.value[x].ndim))
        return self.node("Slice", [x, *names], self.value[x][at])

    def head(self, x, name, kind, weights, turns):
        """norm: over each head; halves: i turns with i + half a head, neighbours: 2 i with 2 i + 1, to where halves would be."""

        def combined(op, x, y):
            value = {"Mul": np.multiply, "Add": np.add, "Sub": np.subtract, "Div": np.divide}[op](self.value[x], self.value[y])
            return self.node(op, [x, y], value)

        x, width = self.node("Cast", [x], self.value[x], to=DTYPES["f32"][0]), self.value[x].shape[-1]
        if "norm" in kind:
            mean = self.node("ReduceMean", [combined("Mul", x, x), self.axes(f"last_{name}", -1)], (self.value[x] ** 2).mean(-1, keepdims=True))
            root = combined("Add", mean, self.known(f"epsilon_{name}", np.array(1e-6), "f32"))
            x = combined("Div", x, self.node("Sqrt", [root], np.sqrt(self.value[root])))
            x = combined("Mul", x, self.known(f"norm_{name}", weights.uniform(0.5, 1.5, width), "f32"))
        if "halves" in kind or "neighbours" in kind:
            apart = [(0, width // 2, 1), (width // 2, width, 1)] if "halves" in kind else [(0, width, 2), (1, width, 2)]
            (a, b), (c, s) = (self.slice(x, 3, *at) for at in apart), turns
            parts = [combined("Sub", combined("Mul", a, c), combined("Mul", b, s)), combined("Add", combined("Mul", a, s), combined("Mul", b, c))]
            x = self.node("Concat", parts, np.concatenate([self.value[t] for t in parts], -1), axis=-1)
        return self.node("Cast", [x], self.value[x].astype(DTYPES[self.dtype][1]).astype(np.float64), to=DTYPES[self.dtype][0])


def projections(few=False):
    """Norms and rotations of heads in the product that makes them, which sm_90a has for many rows, with any number of them. `few`: only of few
    rows, for an emulated GPU."""
    # Rows that end within a warp's, in another matrix, in another tile.
    sizes, many = [(1, 1), (1, 7), (2, 17), (3, 67)], [(1, 4099), (2, 2051)]
    for dtype in ("f16", "bf16"):
        for width in (64, 128):
            for heads in ((3,), (3, 2)):
                for kind in ("norm_neighbours", "norm_halves", "neighbours", "halves", "norm"):
                    for name, chosen in (("", sizes), ("many_", many)):
                        # Many rows take the reference long.
                        if name and (few or len(heads) > 1 or (dtype == "f16") != (width == 64) or kind not in ("norm_neighbours", "halves")):
                            continue
                        text = f"projection_{name}{kind}_{'_'.join(map(str, heads))}x{width}_{dtype}"
                        c, *c.further = (Projection(text, dtype, heads, width, kind, b, s) for b, s in chosen)
                        yield c, c.result


# Heads, queries, keys of each of flame's tiles.
BYTE_TILES = ((64, 192, 128), (64, 128, 192), (64, 128, 128), (64, 64, 128), (128, 192, 80), (128, 128, 128), (128, 64, 128), (256, 128, 96),
              (256, 64, 96), (256, 128, 64))  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main(__doc__, lambda: [*attentions(), *log_sums(), *bytes_cases(), *projections()]))
