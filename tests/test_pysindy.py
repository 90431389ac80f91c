"""Laws of PySINDy's and derivative's methods: they hand on what the posterior says."""

import derivative
import numpy as np
import pysindy as ps
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

import smoothderiv as sd
import smoothderiv.integrations.derivative
from smoothderiv.integrations.pysindy import SmoothDifferentiation

SPLINE = sd.SmoothingSpline(order=3)


@pytest.fixture(scope="module")
def states():
    rng = np.random.default_rng(3)
    t = np.sort(rng.uniform(0, 6, 90))
    return t, np.column_stack((np.sin(t), np.cos(t))) + 0.05 * rng.standard_normal((90, 2))


@pytest.mark.parametrize("yerr", [None, 0.05])
def test_states_and_slopes_are_the_posteriors(states, yerr):
    t, x = states
    method = SmoothDifferentiation(SPLINE, yerr=yerr)
    slope = method(x, t)
    for k in (0, 1):
        post = sd.smooth(sd.observe(t, x[:, k], yerr), SPLINE)
        assert_allclose(slope[:, k], post(t, 1), rtol=1e-13)
        assert_allclose(method.smoothed_x_[:, k], post(t), rtol=1e-13)
        assert_allclose(method.std_[:, k], post.std(t, 1), rtol=1e-13)


def test_a_step_stands_for_even_times_and_fields_keep_their_shape():
    x = np.random.default_rng(0).standard_normal((3, 40, 2)).cumsum(axis=1)
    method = SmoothDifferentiation(SPLINE)
    even = method(x, 0.5)
    assert even.shape == method.smoothed_x_.shape == method.std_.shape == x.shape
    assert_allclose(even[1], method(x[1], 0.5 * np.arange(40)), rtol=1e-10)


def test_one_state_may_be_a_plain_array(states):
    t, x = states
    method = SmoothDifferentiation(SPLINE)
    alone = method(x[:, 0], t)
    assert alone.shape == method.smoothed_x_.shape == method.std_.shape == t.shape
    assert_allclose(alone, method(x[:, :1], t)[:, 0], rtol=1e-13)


def test_gaps_are_bridged(states):
    t, x = states
    x = x.copy()
    x[40:44, 0] = np.nan
    assert np.isfinite(SmoothDifferentiation(SPLINE)(x, t)).all()


@pytest.mark.filterwarnings("ignore::UserWarning:pysindy")
def test_sindy_finds_a_pendulum(states):
    t, x = states
    method = SmoothDifferentiation(SPLINE)
    model = ps.SINDy(
        optimizer=ps.STLSQ(threshold=0.2),
        feature_library=ps.PolynomialLibrary(degree=2, include_bias=False),
        differentiation_method=clone(method),
    ).fit([x, x[:60]], t=[t, t[:60]])
    expected = np.zeros((2, 5))
    expected[0, 1], expected[1, 0] = 1, -1
    assert_allclose(model.coefficients(), expected, atol=0.06)


def test_the_plug_in_says_the_same(states):
    t, x = states
    post = sd.smooth(sd.observe(t, x[:, 0]), SPLINE)
    for nu in (1, 2):
        found = derivative.dxdt(x, t, kind="smoothderiv", axis=0, model=SPLINE, nu=nu)
        assert_allclose(found[:, 0], post(t, nu), rtol=1e-13)
    smoothed = derivative.smooth_x(x[:, 0], t, kind="smoothderiv", model=SPLINE)
    assert_allclose(smoothed, post(t), rtol=1e-13)
    one = smoothderiv.integrations.derivative.Smooth(SPLINE)
    assert one.compute(t, x[:, 0], 7) == pytest.approx(post(t[7], 1), rel=1e-13)
    assert one.compute_x(t, x[:, 0], 7) == pytest.approx(post(t[7]), rel=1e-13)
    by_sindy = ps.SINDyDerivative(kind="smoothderiv", model=SPLINE)
    assert_allclose(by_sindy(x, t)[:, 0], post(t, 1), rtol=1e-13)
