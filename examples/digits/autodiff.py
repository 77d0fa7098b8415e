"""Reverse-mode differentiation over numpy arrays: just enough to train the two networks of this example.

A `Var` holds a value and, after `backward`, its gradient. Every function below computes its result at once and
records how a gradient of the result flows to its operands. Broadcasting follows numpy.
"""

from __future__ import annotations

import numpy as np
from scipy.special import erf as _erf


class Var:
    def __init__(self, value, parents=(), pull=None):
        self.value = np.asarray(value, dtype=np.float32)
        self.parents = parents
        self.pull = pull  # gradient of this value -> gradients of the parents
        self.grad = None

    shape = property(lambda self: self.value.shape)

    def __add__(self, other):
        other = as_var(other)
        return Var(self.value + other.value, (self, other), lambda g: (g, g))

    def __sub__(self, other):
        other = as_var(other)
        return Var(self.value - other.value, (self, other), lambda g: (g, -g))

    def __mul__(self, other):
        other = as_var(other)
        return Var(self.value * other.value, (self, other), lambda g: (g * other.value, g * self.value))

    def __matmul__(self, other):
        def pull(g):
            return g @ other.value.swapaxes(-1, -2), self.value.swapaxes(-1, -2) @ g

        return Var(self.value @ other.value, (self, other), pull)

    def __getitem__(self, index):
        def pull(g):
            out = np.zeros_like(self.value)
            out[index] = g
            return (out,)

        return Var(self.value[index], (self,), pull)

    def reshape(self, *shape):
        return Var(self.value.reshape(shape), (self,), lambda g: (g.reshape(self.shape),))

    def transpose(self, *axes):
        return Var(self.value.transpose(axes), (self,), lambda g: (g.transpose(np.argsort(axes)),))

    def mean(self, axis, keepdims=False):
        value = self.value.mean(axis=axis, keepdims=True)
        count = self.value.size // value.size

        def pull(g):
            return (np.broadcast_to(g.reshape(value.shape) / count, self.shape),)

        return Var(value if keepdims else value.squeeze(axis), (self,), pull)

    def max(self, axis):
        value = self.value.max(axis=axis, keepdims=True)
        first = self.value == value
        first &= first.cumsum(axis=axis) == 1  # on a tie the gradient goes to the first
        return Var(value.squeeze(axis), (self,), lambda g: (first * np.expand_dims(g, axis),))

    def backward(self):
        order, seen = [], set()

        def visit(node):
            if id(node) not in seen:
                seen.add(id(node))
                for parent in node.parents:
                    visit(parent)
                order.append(node)

        visit(self)
        self.grad = np.ones_like(self.value)
        for node in reversed(order):
            if node.pull is None:
                continue
            for parent, grad in zip(node.parents, node.pull(node.grad)):
                grad = _unbroadcast(grad, parent.shape)
                parent.grad = grad if parent.grad is None else parent.grad + grad


def as_var(x):
    return x if isinstance(x, Var) else Var(x)


def _unbroadcast(grad, shape):
    """Sums `grad` over the axes along which a value of `shape` was broadcast."""
    grad = grad.sum(axis=tuple(range(grad.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and grad.shape[i] != 1)
    return grad.sum(axis=axes, keepdims=True) if axes else grad


def relu(x):
    return Var(np.maximum(x.value, 0), (x,), lambda g: (g * (x.value > 0),))


def gelu(x):
    """The exact GELU, x·Φ(x)."""
    cdf = 0.5 * (1 + _erf(x.value / np.sqrt(2.0)))
    pdf = np.exp(-0.5 * x.value**2) / np.sqrt(2 * np.pi)
    return Var(x.value * cdf, (x,), lambda g: (g * (cdf + x.value * pdf).astype(np.float32),))


def softmax(x):
    e = np.exp(x.value - x.value.max(axis=-1, keepdims=True))
    y = e / e.sum(axis=-1, keepdims=True)
    return Var(y, (x,), lambda g: (y * (g - (g * y).sum(axis=-1, keepdims=True)),))


def rsqrt(x):
    y = 1 / np.sqrt(x.value)
    return Var(y, (x,), lambda g: (-0.5 * g * y**3,))


def layer_norm(x, gamma, beta, epsilon=1e-5):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred * rsqrt((centred * centred).mean(axis=-1, keepdims=True) + epsilon) * gamma + beta


def batch_norm(x, gamma, beta, running, momentum=0.9, epsilon=1e-5):
    """Normalises [N, C, H, W] with the batch's statistics and updates `running` = [mean, variance] in place."""
    mean = x.mean(axis=(0, 2, 3), keepdims=True)
    centred = x - mean
    variance = (centred * centred).mean(axis=(0, 2, 3), keepdims=True)
    for kept, new in zip(running, (mean, variance)):
        kept *= momentum
        kept += (1 - momentum) * new.value.reshape(-1)
    return centred * rsqrt(variance + epsilon) * gamma.reshape(1, -1, 1, 1) + beta.reshape(1, -1, 1, 1)


def conv3x3(x, weight):
    """[N, C, H, W] by [K, C, 3, 3] with a border of one zero: [N, K, H, W]."""
    n, c, h, w = x.shape
    padded = np.pad(x.value, ((0, 0), (0, 0), (1, 1), (1, 1)))
    taps = [(i, j) for i in range(3) for j in range(3)]
    columns = np.stack([padded[:, :, i : i + h, j : j + w] for i, j in taps], axis=2).reshape(n, c * 9, h * w)
    flat = weight.value.reshape(len(weight.value), -1)

    def pull(g):
        g = g.reshape(n, -1, h * w)
        spread = (flat.T @ g).reshape(n, c, 9, h, w)
        out = np.zeros_like(padded)
        for t, (i, j) in enumerate(taps):
            out[:, :, i : i + h, j : j + w] += spread[:, :, t]
        return out[:, :, 1:-1, 1:-1], np.einsum("nkp,ncp->kc", g, columns, optimize=True).reshape(weight.shape)

    return Var((flat @ columns).reshape(n, -1, h, w), (x, weight), pull)


def max_pool2x2(x):
    n, c, h, w = x.shape
    windows = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5)
    return windows.reshape(n, c, h // 2, w // 2, 4).max(axis=-1)


def cross_entropy(logits, labels):
    """Mean over the batch of -log softmax(logits)[label]."""
    shifted = logits.value - logits.value.max(axis=-1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    rows = np.arange(len(labels))

    def pull(g):
        grad = np.exp(log_p)
        grad[rows, labels] -= 1
        return (g * grad / len(labels),)

    return Var(-log_p[rows, labels].mean(), (logits,), pull)


class AdamW:
    def __init__(self, parameters, decay=0.01):
        self.parameters = parameters
        self.decay = decay
        self.m = [np.zeros_like(p.value) for p in parameters]
        self.v = [np.zeros_like(p.value) for p in parameters]
        self.t = 0

    def step(self, rate):
        self.t += 1
        for p, m, v in zip(self.parameters, self.m, self.v):
            m += 0.1 * (p.grad - m)
            v += 0.001 * (p.grad**2 - v)
            update = (m / (1 - 0.9**self.t)) / (np.sqrt(v / (1 - 0.999**self.t)) + 1e-8)
            decay = self.decay if p.value.ndim > 1 else 0.0
            p.value -= np.float32(rate) * (update + decay * p.value)
            p.grad = None
