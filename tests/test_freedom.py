"""Student's degrees of freedom when several noise levels are estimated."""

import dataclasses

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import special, stats

import smoothderiv as sd
from conftest import mixed_data
from smoothderiv.answers.freedom import dof_of_order, satterthwaite


def test_satterthwaites_rule():
    inf = np.inf
    assert_allclose(satterthwaite(np.array([5.0]), np.array([20.0])), 20.0)
    assert_allclose(satterthwaite(np.array([5.0, 5.0]), np.array([20.0, 20.0])), 40.0)
    assert_allclose(satterthwaite(np.array([5.0, 5.0]), np.array([20.0, inf])), 80.0)
    mostly_known = satterthwaite(np.array([1.0, 9.0]), np.array([3.0, inf]))
    assert mostly_known > 100
    poor = satterthwaite(np.array([9.0, 1.0]), np.array([3.0, 100.0]))
    assert 3.0 < poor < 4.0, "the many rows that tell little do not hide the few that tell much"
    met = satterthwaite(np.array([4.0, 5.0]), np.array([0.0, 30.0]))
    assert_allclose(met, 30.0)
    assert satterthwaite(np.array([4.0]), np.array([0.0])) == 1.0
    rounding = satterthwaite(np.array([4.0, 5.0]), np.array([1e-13, 30.0]))
    assert_allclose(rounding, 30.0)
    assert satterthwaite(np.array([4.0, 5.0]), np.array([1e-3, 30.0])) == 1.0


every_engine = pytest.mark.parametrize(
    "model",
    [
        sd.RegressionSpline(6, 5, noise={0: 0.1, 1: 0.5}),
        sd.SmoothingSpline(3, q=1e6, noise={0: 0.1, 1: 0.5}),
        sd.GaussianProcess(sd.kernels.Matern52(0.3, 1.0), {0: 0.1, 1: 0.5}, solver="dense"),
        sd.GaussianProcess(sd.kernels.Matern52(0.3, 1.0), {0: 0.1, 1: 0.5}, solver="markov"),
    ],
    ids=["regression", "smoothing", "dense", "markov"],
)


@every_engine
def test_every_engine_uses_it(model):
    data = mixed_data(n=(40, 20, 0), known=False)
    post = model.condition(data)
    leverage = post.leverage()
    parameters = np.array([leverage[data.nu == nu].sum() for nu in (0, 1)])
    left = np.array([40, 20]) - parameters
    assert_allclose(post.dof, satterthwaite(parameters, left), rtol=1e-6)
    assert post.dof < left.sum()
    assert np.isinf(model.condition(mixed_data(n=(40, 20, 0))).dof)


@every_engine
@pytest.mark.parametrize("known", [False, True])
def test_each_order_has_that_of_the_noise_that_its_variance_is_made_of(model, known):
    """By differences of the variance along the log of each squared level."""
    data = mixed_data(n=(12, 8, 0), known=False)
    if known:
        data = data.of(0) + dataclasses.replace(data.of(1), yerr=np.full(8, 0.5))
    post = model.condition(data)
    places, free, step = np.unique(data.x), 1.0 - post.leverage(), 1e-3

    def variance(order, nu, by):
        rows = data.is_of(order)
        moved = dataclasses.replace(data, weight=np.where(rows, np.exp(-by), 1.0))
        return model.condition(moved).var(places, nu)

    for nu in (0, 1):
        parts = [(variance(o, nu, step) - variance(o, nu, -step)) / (2 * step) for o in (0, 1)]
        shares = np.array(parts) / np.sum(parts, axis=0)
        left = np.array([free[data.is_of(0)].sum(), free[data.is_of(1)].sum()])
        left[1] = np.inf if known else left[1]
        rate = (shares**2 / left[:, None]).sum(axis=0).mean()
        assert_allclose(dof_of_order(post, np.array(nu)), 1.0 / rate, rtol=1e-4)
        half = post.interval(places, nu)[1] - post(places, nu)
        assert_allclose(half, stats.t.ppf(0.975, 1.0 / rate) * post.std(places, nu), rtol=1e-4)


def test_slopes_that_are_met_do_not_widen_the_limits_of_values():
    """Slopes of unknown noise that is almost nothing, beside values of known noise."""
    rng, x = np.random.default_rng(0), np.linspace(0.05, 0.95, 19)
    t, u = rng.uniform(0, 1, 30), rng.uniform(0, 1, 30)
    data = sd.observe(t, np.sin(6 * t) + 0.1 * rng.standard_normal(30), 0.1)
    data += sd.observe(u, 6 * np.cos(6 * u) + 1e-3 * rng.standard_normal(30), nu=1)
    post = sd.smooth(data, sd.SmoothingSpline(3))
    half = post.interval(x)[1] - post(x)
    assert_allclose(half, special.ndtri(0.975) * post.std(x), rtol=0.02)
    assert (post.band(x)[1] - post(x) < 3.0 * post.std(x)).all()
    assert (post.interval(x, 1)[1] - post(x, 1) > 3.0 * post.std(x, 1)).all()


def test_intervals_hold_when_the_poorly_known_noise_matters():
    """Few values that tell f, many slopes of great noise: 95 % intervals of f and f'."""
    x, held = np.linspace(0.05, 0.95, 19), []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        data = sd.observe(rng.uniform(0, 1, 60), 0.1 * rng.standard_normal(60))
        data += sd.observe(rng.uniform(0, 1, 8), 0.05 * rng.standard_normal(8), nu=1)
        post = sd.tune(sd.RegressionSpline(1), data).condition(data)
        lower, upper = post.interval(x, 1)
        held.append(np.mean((lower < 0) & (upper > 0)))
    assert 0.905 < np.mean(held) < 0.97


@pytest.mark.parametrize("level", [(0.5, 0.95), "high", 95, 0, 1.0, None, np.nan])
def test_a_level_that_is_no_probability_is_told(level):
    post = sd.RegressionSpline(0).condition(sd.observe(np.arange(5.0), np.arange(5.0), 0.1))
    words = "one at a time" if isinstance(level, tuple) else "such as 0.95"
    with pytest.raises(ValueError, match=f"level: .* is not a probability .*{words}"):
        post.interval(0.0, level=level)


@pytest.mark.parametrize(
    "model",
    [
        sd.SmoothingSpline(2, 1.0),
        sd.SmoothingSpline(3, 1.0),
        sd.RegressionSpline(3, 3, lam=0.1),
        sd.GaussianProcess(sd.kernels.Matern52(1.0, 1.0), solver="markov"),
        sd.GaussianProcess(sd.kernels.Matern52(1.0, 1.0), solver="dense"),
        sd.GaussianProcess(sd.kernels.Wiener(2, 1.0), solver="dense"),
    ],
    ids=repr,
)
def test_an_exact_row_given_again_takes_nothing_more(model):
    x = np.array([0.0, 0.3, 0.5, 0.9, 1.4, 2.0, 2.2])
    yerr, nu = np.where(np.isin(x, [0.5, 1.4]), 0.0, 0.1), (x == 1.4).astype(int)
    data = sd.observe(x, np.sin(x), yerr, nu=nu)
    again = np.concatenate((np.arange(7), [2, 4, 4]))
    once, often = model.condition(data), model.condition(data[again])
    assert often.edf == pytest.approx(once.edf, rel=1e-8)
    together = np.bincount(again, often.leverage())
    assert_allclose(together, once.leverage(), rtol=1e-7)
    assert_allclose(often.loo().std[:7][yerr > 0], once.loo().std[yerr > 0], rtol=1e-7)
