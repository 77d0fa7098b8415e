"""What the specification promises of the suite's random operators, for the tests whose numbers are a generator's.

Every check gets the inputs and the outputs of two runs, whose shapes and dtypes have been compared already, and
returns None or what is wrong. Frequencies may deviate from their expectation by six standard deviations, which chance
alone exceeds once in 500 million; a seed must give the same numbers every time.
"""

from __future__ import annotations

import numpy as np

SIGMAS = 6


def bernoulli(seeded):
    """Every output element is 0 or 1, and 1 with the probability that the input gives."""

    def check(inputs, runs):
        p = inputs[0].astype(np.float64)
        for (drawn,) in runs:
            if not np.isin(drawn, (0, 1)).all():
                return "values other than 0 and 1"
            if (drawn[p == 0] != 0).any() or (drawn[p == 1] != 1).any():
                return "a certain outcome did not happen"
            deviation = abs(drawn.sum(dtype=np.float64) - p.sum())
            if deviation > SIGMAS * np.sqrt((p * (1 - p)).sum()):
                return f"{drawn.sum():.0f} ones where {p.sum():.1f} are expected of {p.size}"
        if seeded and not np.array_equal(runs[0][0], runs[1][0]):
            return "two runs with the same seed differ"
        return None

    return check


def training_dropout(inputs, runs):
    """An element is kept and scaled by 1/(1-ratio), or zero, and zero with probability `ratio`; the mask says which."""
    x = inputs[0]
    ratio = float(inputs[1]) if len(inputs) > 1 else 0.5
    for outputs in runs:
        y = outputs[0]
        kept = outputs[1] if len(outputs) > 1 else y != 0
        if not np.allclose(y[kept], x[kept] / (1 - ratio), rtol=1e-5, atol=1e-7):
            return "a kept element is not the input scaled by 1/(1-ratio)"
        if (y[~kept] != 0).any():
            return "a dropped element is not zero"
        dropped = int((~kept).sum())
        if abs(dropped - ratio * x.size) > SIGMAS * np.sqrt(ratio * (1 - ratio) * x.size):
            return f"{dropped} of {x.size} dropped at ratio {ratio}"
    if any(not np.array_equal(a, b) for a, b in zip(*runs)):
        return "two runs with the same seed differ"
    return None


CHECKS = {
    "test_bernoulli": bernoulli(seeded=False),
    "test_bernoulli_expanded": bernoulli(seeded=False),
    "test_bernoulli_double": bernoulli(seeded=False),
    "test_bernoulli_double_expanded": bernoulli(seeded=False),
    "test_bernoulli_seed": bernoulli(seeded=True),
    "test_bernoulli_seed_expanded": bernoulli(seeded=True),
    "test_training_dropout": training_dropout,
    "test_training_dropout_default": training_dropout,
    "test_training_dropout_mask": training_dropout,
    "test_training_dropout_default_mask": training_dropout,
}
