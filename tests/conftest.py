"""Fixtures shared by the tests: one mixed data set, and settings for hypothesis."""

import numpy as np
import pytest
from hypothesis import settings

import smoothderiv as sd

settings.register_profile("house", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("house")


def wave(x, nu=0):
    """The truth of the mixed data: sin(2 pi x) + sin(6 pi x) / 2, and its derivatives."""
    phase = nu * np.pi / 2
    low, high = 2 * np.pi, 6 * np.pi
    return low**nu * np.sin(low * x + phase) + 0.5 * high**nu * np.sin(high * x + phase)


def mixed_data(seed=0, n=(40, 30, 15), sd_=(0.1, 0.5, 5.0), known=True):
    """Values, slopes and curvatures of the wave on [0, 1], irregular, with normal noise."""
    rng = np.random.default_rng(seed)
    data = None
    for nu, (count, level) in enumerate(zip(n, sd_, strict=True)):
        x = rng.uniform(0, 1, count)
        y = wave(x, nu) + level * rng.standard_normal(count)
        part = sd.observe(x, y, yerr=level if known else None, nu=nu)
        data = part if data is None else data + part
    return data


@pytest.fixture
def mixed():
    return mixed_data()
