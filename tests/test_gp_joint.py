"""Joint covariances of dense processes: against 50 digits, however little noise the rows have."""

import mpmath as mp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import smoothderiv as sd

EPS = np.finfo(float).eps


def squared_exponential(x, nu, y, nu2):
    """Return covariances of f and f' of unit length and amplitude, in many digits."""
    out = mp.matrix(len(x), len(y))
    for i, (a, p) in enumerate(zip(x, nu, strict=True)):
        for j, (b, r) in enumerate(zip(y, nu2, strict=True)):
            t = mp.mpf(float(a)) - mp.mpf(float(b))
            by_orders = {(0, 0): 1, (1, 0): -t, (0, 1): t, (1, 1): 1 - t**2}
            out[i, j] = by_orders[int(p), int(r)] * mp.exp(-(t**2) / 2)
    return out


def reference(data, x, nu, nugget=0.0):
    """Return the covariance of answers, and sums of the deviations that they are made of."""
    rows = squared_exponential(data.x, data.nu, data.x, data.nu)
    for i, noise in enumerate(data.yerr):
        rows[i, i] += mp.mpf(float(noise)) ** 2
        rows[i, i] *= 1 + mp.mpf(nugget)
    cross = squared_exponential(x, nu, data.x, data.nu)
    weights = cross * rows**-1
    cov = squared_exponential(x, nu, x, nu) - weights * cross.T
    size = [1 + mp.fsum(abs(w) for w in weights[i, :]) for i in range(len(x))]
    return np.array(cov.tolist(), dtype=float), np.array(size, dtype=float)


def rows(seed):
    """Return values and slopes, apart by a third of a length, of any noise, some of none."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.3, 0.6, 8))
    nu = (np.arange(8) % 4 == 2).astype(int)
    noise = 10 ** rng.uniform(-9, -1, 8) if seed % 2 else np.full(8, 10 ** rng.uniform(-9, -1))
    noise[rng.random(8) < 0.2] = 0.0
    return sd.observe(x, np.where(nu, np.cos(x), np.sin(x)), noise, nu=nu)


def questions(data, rng):
    """Return places of rows, ones that all but touch, and ones between; some of slopes."""
    x = np.concatenate((data.x[[0, 3]], data.x[1] + [0.1, 0.1001, 0.12], rng.uniform(1, 4, 3)))
    return x, np.array([0, 0, 0, 0, 0, 0, 1, 1])


def conditioned(data):
    kernel = sd.kernels.SquaredExponential(1.0, 1.0)
    return sd.GaussianProcess(kernel, solver="dense").condition(data)


@pytest.mark.parametrize("seed", range(12))
def test_covariances_are_those_of_many_digits_to_the_rounding_of_what_they_are_made_of(seed):
    data = rows(seed)
    post, (x, nu) = conditioned(data), questions(data, np.random.default_rng(seed))
    expected, size = reference(data, x, nu, post.nugget)
    found = post.cov(x, nu)
    assert np.abs((found - expected) / size / size[:, None]).max() < 100 * EPS
    assert_allclose(np.diag(found), post.var(x, nu), rtol=1e-12, atol=0)
    assert_allclose(post.cov(x[:5], nu[:5], x[3:], nu[3:]), found[:5, 3:], rtol=1e-9, atol=1e-30)
    joint = post._joint(x, np.array([0, 1]))
    for place, both in zip(x, joint, strict=True):
        assert_allclose(both, post.cov([place, place], [0, 1]), rtol=1e-9, atol=100 * EPS)


@pytest.mark.parametrize("seed", range(12))
def test_correlations_are_positive_and_samples_spread_as_is_said(seed):
    data = rows(seed)
    post, (x, nu) = conditioned(data), questions(data, np.random.default_rng(seed))
    std = post.std(x, nu)
    scale = np.where(std > 0, std, 1.0)
    correlation = post.cov(x, nu) / scale / scale[:, None]
    assert np.linalg.eigvalsh(correlation)[0] > -1e-8
    samples = (post.sample(x, nu, 4000, rng=seed) - post(x, nu)) / scale
    assert_allclose(samples.std(axis=0), np.where(std > 0, 1.0, 0.0), atol=0.06)
    near = samples[:, 2] - samples[:, 4]
    assert near.std() == pytest.approx(
        np.sqrt(correlation[2, 2] + correlation[4, 4] - 2 * correlation[2, 4]), rel=0.06
    )


@pytest.mark.parametrize("noise", [0.0, 1e-9, 1e-6, 1e-4, 1e-2])
def test_the_increment_between_close_places_is_known_better_than_either(noise):
    x, ask = np.arange(0, 3.01, 0.5), np.array([1.6, 1.62])
    data = sd.observe(x, np.sin(x), noise)
    post, (cov, _) = conditioned(data), reference(data, ask, [0, 0])
    increment = np.sqrt(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1])
    assert post.contrast(ask, [-1, 1])[1] == pytest.approx(increment, rel=1e-5)
    assert np.diff(post.sample(ask, size=4000, rng=0)).std() == pytest.approx(increment, rel=0.06)
