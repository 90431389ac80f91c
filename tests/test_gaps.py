"""Long gaps: answers beside them are those of many digits, or are told to be lost."""

import warnings

import numpy as np
import pytest
from naive_statespace import DenseSpline
from numpy.testing import assert_allclose

import smoothderiv as sd


def rows_about(gap, order, seed):
    """Return rows of values, slopes and curvatures, some of little noise, with a gap between."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.1, 2.0, 10))
    x[5:] += gap
    nu = np.minimum(rng.integers(0, 3, 10), order - 1)
    nu[[0, 2, 4, 7, 9]] = 0
    return sd.observe(x, rng.standard_normal(10), 10 ** rng.uniform(-2.5, 0.3, 10), nu=nu)


def beside_the_gap(data):
    """Return places: rows on either side of the gap, and ones between rows."""
    x = data.x
    return np.concatenate((x[4:8], [x[4] + 0.3, x[5] - 0.3], 0.5 * (x[5:7] + x[6:8])))


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("gap", [1.0, 100.0, 1000.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_answers_beside_a_gap_are_those_of_many_digits(order, gap, seed):
    data = rows_about(gap, order, seed)
    post = sd.SmoothingSpline(order, 0.004).condition(data)
    truth = DenseSpline(order, 0.004, data.x, data.y, data.yerr, data.nu)
    x, nu = beside_the_gap(data), np.zeros(8, dtype=int)
    expected = truth.cov(x, nu)
    std = np.sqrt(np.diag(expected))
    assert_allclose(post.std(x), std, rtol=1e-5)
    assert_allclose((post(x) - truth.mean(x, nu)) / std, 0.0, atol=1e-5)
    assert_allclose(post.cov(x) / std / std[:, None], expected / std / std[:, None], atol=1e-5)
    spread = post.sample(x, size=2000, rng=seed).std(axis=0)
    assert_allclose(spread, std, rtol=0.1)


@pytest.mark.parametrize("order", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("gap", [1e2, 1e4, 1e5])
def test_lost_digits_are_told(order, gap):
    data = rows_about(gap, order, 3)
    truth = DenseSpline(order, 0.004, data.x, data.y, data.yerr, data.nu)
    x = beside_the_gap(data)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        found = sd.SmoothingSpline(order, 0.004).condition(data).std(x)
    off = np.abs(found / truth.std(x, np.zeros(8, dtype=int)) - 1).max()
    assert told or off < 1e-3
    assert all("small differences" in str(w.message) for w in told)
    assert not told or off > 1e-5


@pytest.mark.parametrize("order", [3, 4, 5])
@pytest.mark.parametrize("seed", [0, 35, 64, 98])
def test_means_over_steps_of_any_length_are_those_of_many_digits_or_told(order, seed):
    rng = np.random.default_rng(seed)
    x = np.cumsum(10 ** rng.uniform(-6, 1, 16))
    nu = np.minimum(rng.integers(0, 3, 16), order - 1)
    nu[::5] = 0
    yerr = np.where(rng.random(16) < 0.15, 0.0, 10 ** rng.uniform(-3, 1, 16))
    data = sd.observe(x, rng.standard_normal(16), yerr, nu=nu)
    truth = DenseSpline(order, 1.0, x, data.y, yerr, nu, digits=200)
    expected, std = truth.mean(x, nu), truth.std(x, nu)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        post = sd.SmoothingSpline(order, 1.0).condition(data)
        off = np.abs(post(x, nu) - expected) / (std + np.abs(expected))
        wide = np.abs(post.std(x, nu)[yerr > 0] / std[yerr > 0] - 1)
    assert told or max(off.max(), wide.max()) < 1e-3
