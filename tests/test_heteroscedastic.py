"""Noise whose level varies along x: found where it does, left alone where it does not."""

import numpy as np
import pytest
from contracts import check_units

import smoothderiv as sd

X = np.linspace(0, 4, 300)
LEVELS = {
    "constant": 0.1 + 0 * X,
    "ramp": 0.03 + 0.07 * X,
    "step": np.where(X > 2, 0.3, 0.05),
}
MODEL = sd.SmoothingSpline(3)


def curve(x, nu=0):
    return 3.0**nu * np.sin(3 * x + nu * np.pi / 2)


def noisy(kind, seed):
    return sd.observe(X, curve(X) + LEVELS[kind] * np.random.default_rng(seed).standard_normal(300))


@pytest.mark.parametrize("kind", ["ramp", "step"])
def test_a_level_that_varies_is_followed(kind):
    """The slope gets better, and its intervals hold where noise is small and where it is large."""
    plain, better, inside, ratio = [], [], [], []
    for seed in range(6):
        data = noisy(kind, seed)
        plain.append(np.mean((sd.smooth(data, MODEL)(X, 1) - curve(X, 1)) ** 2))
        post = sd.smooth(data, MODEL, varying=True)
        better.append(np.mean((post(X, 1) - curve(X, 1)) ** 2))
        lower, upper = post.interval(X, 1)
        held = (lower <= curve(X, 1)) & (curve(X, 1) <= upper)
        inside.append([held[:150].mean(), held[150:].mean()])
        ratio.append(post.data.sd(post.noise) / LEVELS[kind])
    assert np.mean(better) < 0.85 * np.mean(plain)
    assert np.mean(inside, axis=0).min() > 0.93
    assert 0.85 < np.exp(np.mean(np.log(ratio))) < 1.15
    assert np.std(np.log(ratio)) < 0.5 * np.std(np.log(LEVELS[kind]))


def test_a_constant_level_stays():
    for seed in range(8):
        post = sd.smooth(noisy("constant", seed), MODEL, varying=True)
        assert np.all(post.data.weight == 1.0)


def test_stated_noise_stays():
    data = noisy("ramp", 0)
    stated = sd.observe(data.x, data.y, LEVELS["ramp"])
    assert np.all(sd.smooth(stated, MODEL, varying=True).data.weight == 1.0)


def test_both_outliers_and_a_varying_level():
    data = noisy("ramp", 1)
    y = data.y.copy()
    y[[40, 200]] += [1.5, -4.0]
    post = sd.smooth(sd.observe(X, y), MODEL, varying=True, robust=True)
    sd_there = post.data.sd(post.noise)
    assert (sd_there[[40, 200]] > 4 * LEVELS["ramp"][[40, 200]]).all()
    assert np.sqrt(np.mean((post(X, 1) - curve(X, 1)) ** 2)) < 0.4


def test_units_change_nothing():
    check_units(lambda d: sd.smooth(d, MODEL, varying=True), noisy("ramp", 2)[::3], 1e6, rtol=1e-6)
