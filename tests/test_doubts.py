"""Data that may be fitted but look like a mistake are told, and others are not."""

import warnings

import numpy as np
import pytest

import smoothderiv as sd
from smoothderiv._doubts import doubts_of_angles, doubts_of_places

X = np.arange(120.0)


def _heading(seed, turns=1.3, noise=3.0, n=120):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 360) + 360 * turns * X[:n] / n + noise * rng.standard_normal(n)


@pytest.mark.parametrize(
    ("turn", "low", "hint"),
    [(360, 0, "360"), (360, -180, "360"), (2 * np.pi, 0, "True"), (2 * np.pi, -np.pi, "True")],
)
def test_wrapped_angles_are_told(turn, low, hint):
    for seed in range(20):
        for turns, noise in ((1.3, 3.0), (-6.0, 3.0), (1.1, 10.0)):
            angle = np.mod(turn / 360 * _heading(seed, turns, noise) - low, turn) + low
            (words,) = doubts_of_angles(sd.observe(X, angle))
            assert f"circular={hint} if they are angles" in words


def test_a_heading_about_north_is_told():
    noise = 8 * np.random.default_rng(0).standard_normal(120)
    (words,) = doubts_of_angles(sd.observe(X, np.mod(noise, 360)))
    assert "jump" in words


def test_other_values_are_not():
    """Curves, noise, steps, spikes, outliers, refills and counts that span 0 to 360."""
    for seed in range(50):
        rng = np.random.default_rng(seed)
        noise = 3 * rng.standard_normal(120)
        outlier = 15 + noise
        outlier[60] = 350
        spiked = 180 + 120 * np.sin(X / 20) + noise
        spiked[rng.integers(0, 120, 5)] = rng.uniform(0, 360, 5)
        every = [
            180 + 170 * np.sin(X / 5) + noise,
            180 + 155 * np.sign(np.sin(X / 10)) + noise,
            180 + 150 * np.sign(np.sin(X / 10)) + noise,
            20 + 330 * (X > 60) + noise,
            20 + 330 * np.exp(-(((X - 60) / 3) ** 2)) + noise,
            330 - np.mod(5 * X, 310) + noise,
            rng.uniform(0, 360, 120),
            180 + 60 * rng.standard_normal(120),
            outlier,
            spiked,
            180 + 170 * np.sin(2 * np.pi * 0.47 * X),  # quick, for its samples
        ]
        for k, y in enumerate(every):
            for size in (1.0, 2 * np.pi / 360):
                data = sd.observe(X, size * np.clip(y, 0, 360))
                assert not list(doubts_of_angles(data)), (seed, k)


def test_smooth_tells_a_forgotten_period_and_unwraps_where_it_is_given():
    y = np.mod(_heading(0), 360)
    with pytest.warns(
        UserWarning, match=r"y: values from .* jump (once|[0-9]+ times) .*; give circular=360"
    ):
        sd.smooth(sd.observe(X, y), sd.SmoothingSpline(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        post = sd.smooth(sd.observe(X, y), sd.SmoothingSpline(3), circular=360)
    assert abs(np.median(post(X, 1)) - 360 * 1.3 / 120) < 0.1


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_places_on_a_line_are_told_and_others_are_not(scale):
    k = np.arange(12.0)
    line = np.c_[k, 2 * scale * k]
    y = np.sin(k / 3)
    (words,) = doubts_of_places(sd.observe(line, y))
    assert "the 12 places lie, to a hundredth, on a line, along (" in words
    bent = np.c_[k, scale * (2 * k + 2 * np.sin(k))]
    assert not list(doubts_of_places(sd.observe(bent, y)))
    across = sd.observe(line[:1], [0.0], 0.1, nu=(1, 0))
    assert not list(doubts_of_places(sd.observe(line, y) + across))
    plane = np.c_[k, np.sin(k), k + np.sin(k)]
    assert "in 2 of 3 dimensions" in next(doubts_of_places(sd.observe(plane, y)))
    assert not list(doubts_of_places(sd.observe(k, y)))


def test_smooth_tells_of_stations_on_a_line():
    k = np.arange(12.0)
    noise = 0.05 * np.random.default_rng(0).standard_normal(12)
    with pytest.warns(
        UserWarning, match=r"12 places lie, to a hundredth, on a line, along \(0.5, 1\)"
    ):
        sd.smooth(sd.observe(np.c_[k, 2 * k], np.sin(k / 3) + noise, 0.05))
