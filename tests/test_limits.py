"""Student's degrees of freedom when several noise levels are estimated."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import smoothderiv as sd
from conftest import mixed_data
from smoothderiv.answers.limits import satterthwaite


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


@pytest.mark.parametrize(
    "model",
    [
        sd.RegressionSpline(6, 5, noise={0: 0.1, 1: 0.5}),
        sd.SmoothingSpline(3, q=1e6, noise={0: 0.1, 1: 0.5}),
        sd.GaussianProcess(sd.kernels.Matern52(0.3, 1.0), {0: 0.1, 1: 0.5}, solver="dense"),
        sd.GaussianProcess(sd.kernels.Matern52(0.3, 1.0), {0: 0.1, 1: 0.5}, solver="markov"),
    ],
    ids=["regression", "smoothing", "dense", "markov"],
)
def test_every_engine_uses_it(model):
    data = mixed_data(n=(40, 20, 0), known=False)
    post = model.condition(data)
    leverage = post.leverage()
    parameters = np.array([leverage[data.nu == nu].sum() for nu in (0, 1)])
    left = np.array([40, 20]) - parameters
    assert_allclose(post.dof, satterthwaite(parameters, left), rtol=1e-6)
    assert post.dof < left.sum()
    assert np.isinf(model.condition(mixed_data(n=(40, 20, 0))).dof)


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
