"""Limits at each place by itself: quantiles of a mixture of Student distributions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import special, stats

import smoothderiv as sd
from conftest import mixed_data
from smoothderiv.answers.marginal import Marginal, _student

SOME_DOF = (1.0, 2.5, 8.0, 29.9, 30.0, 75.0, 1e4, 1e8, np.inf)


@pytest.mark.parametrize("dof", SOME_DOF)
def test_students_distribution(dof):
    z = np.concatenate((np.linspace(-40, 40, 2001), [-np.inf, np.inf]))
    tail, density = _student(z, dof)
    assert_allclose(tail, stats.t.cdf(z, dof), rtol=3e-7, atol=2e-12)
    assert_allclose(density, stats.t.pdf(z, dof), rtol=1e-10, atol=1e-300)


@st.composite
def mixtures(draw):
    count, rng = draw(st.integers(2, 7)), np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    apart, uneven = draw(st.floats(0, 6)), draw(st.floats(0, 4))
    weights = rng.dirichlet(np.full(count, 0.5))
    means = 10.0**apart * rng.standard_normal((count, 12))
    stds = 10.0 ** rng.uniform(-uneven, uneven, (count, 12))
    own = draw(st.sampled_from([1, 12]))
    return Marginal(weights, means, stds, rng.choice(SOME_DOF, (count, own)))


@settings(deadline=None, max_examples=60)
@given(mixtures(), st.sampled_from([1e-3, 0.5, 0.95, 0.999999]))
def test_quantiles_have_the_probability_that_they_say(mixture, level):
    lower, upper = mixture.interval(level)
    assert (lower < upper).all()
    for limit, side in ((lower, -1), (upper, 1)):
        z = side * (mixture.means - limit) / mixture.stds  # beyond the limit, the smaller side
        outside = mixture.weights @ stats.t.cdf(z, mixture.dof)
        rounding = np.spacing(np.abs(limit)) * (mixture.weights[:, None] / mixture.stds).sum(axis=0)
        assert (np.abs(outside - (0.5 - 0.5 * level)) < 1e-7 * (1 - level) + rounding).all()


def test_members_that_agree_are_one():
    one = Marginal(np.ones(1), np.ones((1, 3)), np.full((1, 3), 0.2), np.array([[7.0]]))
    same = Marginal(np.full(4, 0.25), np.ones((4, 3)), np.full((4, 3), 0.2), np.full((4, 1), 7.0))
    assert_allclose(same.interval(0.9), one.interval(0.9), rtol=1e-13)
    assert_allclose(same.std, one.std)
    assert_allclose(same.above(1.1), one.above(1.1))


def test_places_that_are_exactly_known_have_no_width():
    means = np.array([[1.0, 1.0, 0.0], [1.0, 2.0, 0.0]])
    exact = Marginal(np.array([0.3, 0.7]), means, np.zeros((2, 3)), np.full((2, 1), np.inf))
    lower, upper = exact.interval(0.5)
    assert_allclose(lower, [1.0, 1.0, 0.0])
    assert_allclose(upper, [1.0, 2.0, 0.0])
    assert_allclose(exact.above(1.5), [0.0, 0.7, 0.0])
    assert_allclose(exact.above(0.0), [1.0, 1.0, 0.0])


def test_every_answer_has_the_same_limits():
    data = mixed_data(n=(40, 10, 0), known=False)
    models = (sd.SmoothingSpline(2), sd.SmoothingSpline(3))
    post, x = sd.smooth(data, sd.ModelAverage(models)), np.linspace(0.1, 0.9, 9)
    lower, upper = post.interval(x, 1, level=0.9)
    assert np.abs(lower + upper - 2 * post(x, 1)).max() > 1e-3 * np.max(upper - lower), "skew"
    table = post.frame(x, nu=[0, 1, 1], level=0.9)
    assert len(table.column_names) == 9, "an order that is asked twice is answered once"
    assert_allclose(table["lower_1"], lower)
    assert_allclose(table["upper_1"], upper)
    assert_allclose(table["std_1"], post.std(x, 1), rtol=1e-12)
    assert_allclose(post.derivative().interval(x, level=0.9), (lower, upper))
    estimate = sd.differentiate(data.x[:40], data.y[:40], at=x)
    limits = estimate.posterior.interval(x, 1)
    assert_allclose((estimate.lower, estimate.upper), limits)
    assert_allclose(estimate.posterior.prob_positive(x, 1) > 0.975, limits[0] > 0)


def test_shares_of_paths_lie_beyond_them():
    """Members of known noise, of which one is far less sure of the slope than the other."""
    models = (sd.SmoothingSpline(2, q=3e6), sd.SmoothingSpline(3, q=4e5))
    post = sd.ModelAverage(models, weights=(0.1, 0.9)).condition(mixed_data(n=(30, 0, 0)))
    x, size = np.linspace(0.2, 0.8, 5), 40_000
    paths = post.sample(x, 1, size=size, rng=0)
    lower, upper = post.interval(x, 1, level=0.9)
    for share in (np.mean(paths < lower, axis=0), np.mean(paths > upper, axis=0)):
        assert_allclose(share, 0.05, atol=4.5 * np.sqrt(0.05 * 0.95 / size))
    half = special.ndtri(0.95) * post.std(x, 1)
    gaussian = np.mean(np.abs(paths - post(x, 1)) < half, axis=0)
    assert (gaussian > 0.91).all(), "a Gaussian of the same variance would be too wide"
