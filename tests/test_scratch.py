"""Laws at every order of the state space engine, also run without the compiler.

There scratch is as large as compiled code has it, and as little cleared: a loop that writes beyond
it fails, and one that reads what it did not write answers NaN.
"""

import numpy as np
import pytest

import smoothderiv as sd
from smoothderiv.statespace import _error_loops, _loops, _score_loops


def rows(count=9):
    x = np.linspace(0, 1, count)
    y = np.sin(5 * x) + 0.05 * np.cos(40 * x)
    return sd.observe(x, y, yerr=0.05) + sd.observe([0.3, 0.8], [1.0, -3.0], yerr=0.2, nu=1)


def spline(order):
    return sd.SmoothingSpline(order, q=10.0 ** (2 * order))


@pytest.mark.parametrize("order", range(2, 13))
def test_the_integral_is_that_of_the_mean_and_of_the_covariance(order):
    data = rows(max(9, order + 3))
    post = spline(order).condition(data)
    node, weight = np.polynomial.legendre.leggauss(8)
    edges = np.unique(np.r_[data.x, 1.0])
    half = 0.5 * np.diff(edges)[:, None]
    places = (edges[:-1, None] + half * (1 + node)).ravel()
    weights = (half * weight).ravel()
    mean, std = post.integral(0.0, 1.0)
    assert np.isclose(mean, weights @ post(places), rtol=1e-7)
    assert np.isclose(std, post.contrast(places, weights)[1], rtol=2e-3)


@pytest.mark.parametrize("order", range(1, 13))
def test_loops_read_what_they_wrote(order):
    data = rows(max(9, order + 3)) if order > 1 else rows().of(0)
    post = spline(order).condition(data)
    at = np.linspace(-0.1, 1.1, 5)
    asked = [post.mean(at), post.std(at), post.cov(at), post.residuals(), post.loo().log_density]
    asked += [post.sample(at, rng=0), post.band(at, rng=0), post.log_evidence, post.edf]
    assert all(np.isfinite(part).all() for part in asked)


@pytest.mark.parametrize("criterion", ["evidence", "gcv", "loo"])
@pytest.mark.parametrize("order", [2, 5, 12])
def test_scores_are_finite(order, criterion):
    model = sd.SmoothingSpline(order, noise={0: 0.05, 1: 0.2})
    search = model.search(rows(order + 5), criterion)
    loss, gradient = search.loss(0.5 * (search.lower + search.upper))
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_loops_agree_on_what_they_share():
    shared = {
        (module.APART, module.MAX_DIMENSION) for module in (_loops, _error_loops, _score_loops)
    }
    assert len(shared) == 1
    with pytest.raises(ValueError, match="order"):
        sd.SmoothingSpline(_loops.MAX_DIMENSION)
