"""Law 6: where theory says that two engines are the same, they give the same numbers."""

import dataclasses

import contracts
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.interpolate import make_smoothing_spline

import smoothderiv as sd
from conftest import mixed_data, wave
from smoothderiv.model import ContradictionError
from smoothderiv.splines import BSplineBasis

RNG = np.random.default_rng(11)
X = np.sort(RNG.uniform(0, 1, 35))
VALUES = sd.observe(X, wave(X) + 0.1 * RNG.standard_normal(35), 0.1)
ASK = np.linspace(X[0], X[-1], 60)
Q = 4e3
ORDERS = (0, 1)


def knots_at(x, order):
    return BSplineBasis.clamped(x[1:-1], x[0], x[-1], 2 * order - 1)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_penalised_splines_with_all_knots_are_the_smoothing_spline(order):
    """The mean everywhere; at the data also std, evidence, edf and leave-one-out."""
    spline = sd.SmoothingSpline(order=order, q=Q).condition(VALUES)
    basis = knots_at(X, order)
    fit = sd.RegressionSpline(basis, lam=1 / Q, order=order).condition(VALUES)
    for nu in range(order):
        mean = spline(ASK, nu)
        assert_allclose(fit(ASK, nu), mean, atol=1e-8 * np.abs(mean).max())
    assert_allclose(fit.std(X), spline.std(X), rtol=1e-8)
    assert_allclose(fit.log_evidence, spline.log_evidence, rtol=1e-9)
    assert_allclose(fit.edf, spline.edf, rtol=1e-9)
    assert_allclose(fit.loo().log_density, spline.loo().log_density, rtol=1e-7, atol=1e-9)
    assert (fit.std(ASK) <= spline.std(ASK) * (1 + 1e-9)).all(), "a finite basis knows less doubt"


def test_scipys_smoothing_spline_is_the_same_curve():
    reference = make_smoothing_spline(X, VALUES.y, lam=0.1**2 / Q)
    post = sd.SmoothingSpline(order=2, q=Q).condition(VALUES)
    for nu in ORDERS:
        expected = reference(ASK, nu=nu)
        assert_allclose(post(ASK, nu), expected, atol=1e-8 * np.abs(expected).max())


def test_tuning_finds_the_same_smoothing_in_both_engines():
    data = sd.observe(X, VALUES.y)
    spline = sd.tune(sd.SmoothingSpline(order=2), data)
    fit = sd.tune(sd.RegressionSpline(knots_at(X, 2), lam=None, order=2), data)
    assert_allclose(1 / fit.lam, spline.q, rtol=1e-6)
    assert_allclose(fit.noise[0], spline.noise[0], rtol=1e-7)
    assert_allclose(fit.tuning.loss, spline.tuning.loss, rtol=1e-9)


@pytest.mark.parametrize("order", [2, 3])
def test_the_dense_wiener_process_is_the_smoothing_spline(order):
    data = mixed_data(n=(25, 15, 8 if order == 3 else 0))
    spline = sd.SmoothingSpline(order=order, q=Q).condition(data)
    kernel = sd.kernels.Wiener(order=order, sigma=np.sqrt(Q))
    dense = sd.GaussianProcess(kernel, solver="dense").condition(data)
    ask = contracts.places(spline)
    for nu in range(order):
        mean, std = spline(ask, nu), spline.std(ask, nu)
        assert_allclose(dense(ask, nu), mean, atol=1e-7 * np.abs(mean).max())
        assert_allclose(dense.std(ask, nu), std, rtol=1e-6)


@pytest.mark.parametrize("name", ["Matern12", "Matern32", "Matern52", "Matern72"])
def test_a_matern_process_is_the_same_by_markov_and_by_dense(name):
    kernel = getattr(sd.kernels, name)(sigma=1.3, scale=0.4)
    data = VALUES
    if name != "Matern12":
        xs = np.array([0.13, 0.5, 0.5, 0.77])
        data = data + sd.observe(xs, wave(xs, 1), 0.5, nu=1)
    markov = sd.GaussianProcess(kernel, solver="markov").condition(data)
    dense = sd.GaussianProcess(kernel, solver="dense").condition(data)
    ask = contracts.places(dense)
    for nu in range(int(dense.highest_order) + 1):
        mean = dense(ask, nu)
        assert_allclose(markov(ask, nu), mean, atol=1e-8 * np.abs(mean).max())
        assert_allclose(markov.std(ask, nu), dense.std(ask, nu), rtol=1e-7)
    assert_allclose(markov.log_evidence, dense.log_evidence, rtol=1e-9)
    assert_allclose(markov.edf, dense.edf, rtol=1e-8)


EXACT = [
    sd.RegressionSpline(6, 3, lam=1.0, order=2),
    sd.SmoothingSpline(2, q=1.0),
    sd.SmoothingSpline(2, q=0.0),
    sd.AdaptiveSpline(2, knots=(0.0, 1.0), q=(1.0, 2.0)),
    sd.GaussianProcess(sd.kernels.Matern52(0.3, 1.0), solver="markov"),
    sd.GaussianProcess(sd.kernels.Matern52(0.3, 1.0), solver="dense"),
    sd.GaussianProcess(sd.kernels.SquaredExponential(0.3, 1.0), solver="band"),
]


@pytest.mark.parametrize("model", EXACT, ids=lambda model: f"{model}"[:50])
def test_exact_rows_that_agree_are_met_and_others_are_refused_by_name(model):
    """Agreement is to rounding: 0.1 + 0.2 is 0.3, whatever else the curve has to meet."""
    x = np.linspace(0, 1, 9)
    noisy = sd.observe(x, 0.2 + 0.2 * x + 0.05 * np.cos(40 * x), 0.1)
    pins = sd.observe([0.5, 0.5, 0.2], [0.1 + 0.2, 0.3, 0.24], 0.0)
    for data in (pins + noisy, noisy + pins, pins + noisy + sd.observe([0.7], [0.2], 0.0, nu=1)):
        post = model.condition(data)
        assert_allclose(post([0.5, 0.2]), [0.3, 0.24], rtol=1e-9)
        assert_allclose(post.std([0.5, 0.2]), 0.0, atol=3e-6)  # the dense nugget
        assert np.isfinite(post.log_evidence)
    with pytest.raises(ContradictionError, match=r"yerr: .*row 1"):
        model.condition(sd.observe([0.5, 0.5], [0.3, 0.3 + 1e-9], 0.0) + noisy)


@pytest.mark.parametrize("noise", [1e-2, 1e-6, 1e-8, 1e-10])
@pytest.mark.parametrize("model", EXACT, ids=lambda model: f"{model}"[:50])
def test_the_variance_at_a_row_is_its_leverage_times_its_noise(model, noise):
    """However small the noise beside the curve; and a doubt at one place is that of covariances."""
    x = np.linspace(0, 1, 12)
    data = sd.observe(x, wave(x, 0), noise) + sd.observe(x[::3], wave(x[::3], 1), 3 * noise, nu=1)
    post = model.condition(data)
    variance = post.var(data.x, data.nu)
    assert_allclose(variance / data.sd({}) ** 2, post.leverage(), rtol=1e-7)
    assert_allclose(np.diag(post.cov(data.x, data.nu)), variance, rtol=1e-7)
    assert_allclose(
        post._joint(x[::3], np.arange(2))[:, [0, 1], [0, 1]].T.ravel(),
        post.var(np.tile(x[::3], 2), np.repeat([0, 1], 4)),
        rtol=1e-7,
    )
    assert (post.std(np.linspace(0, 1, 200)) > 0.1 * noise).all()


@pytest.mark.parametrize(
    "model",
    [*EXACT, sd.GaussianProcess(sd.kernels.SquaredExponential(0.3, 1.0), solver="dense")],
    ids=lambda model: f"{model}"[:50],
)
def test_increments_over_no_way_are_as_sure_as_the_slope(model, monkeypatch):
    """Nothing cancels but what is left of a highest derivative; in between both ways agree."""
    post = model.condition(VALUES)
    place = 0.4123
    for distance in (1e-6, 1e-9, 1e-12):
        beside = np.array([place, place + distance])
        way = beside[1] - beside[0]
        expected = way * post.std(place, 1)
        assert_allclose(post.derivative(1).integral(*beside)[1], expected, rtol=1e-4)
        assert_allclose(post.contrast(beside[::-1], [3.0, -3.0])[1], 3 * expected, rtol=1e-4)
        if post.highest_order > 1:
            thrice = np.array([place - way, place, place + way])
            bend = post.contrast(thrice, [1.0, -2.0, 1.0])[1]
            assert_allclose(bend, way**2 * post.std(place, 2), rtol=1e-2)
    whole = [([0.41, 0.4101], [1, -1]), ([0.4099, 0.41, 0.4101], [1, -3, 2])]
    plain = [post.contrast(*question)[1] for question in whole]
    monkeypatch.setattr("smoothderiv.answers.contrast._CANCELS", 1e9)
    slopes = [post.contrast(*question)[1] for question in whole]
    assert_allclose(slopes, plain, rtol=1e-4)


def test_what_cancels_without_a_derivative_has_the_width_of_its_rounding():
    post = sd.SmoothingSpline(1, q=1.0).condition(VALUES)
    x, weights = np.array([0.4, 0.4 + 1e-15]), np.array([1.0, -1.0])
    assert post.contrast(x, weights)[1] >= np.sqrt(np.finfo(float).eps) * post.std(0.4)
    assert post.contrast([X[0], X[1]], [1.0, -1.0])[1] > 0
    pins = sd.SmoothingSpline(2, q=1.0).condition(sd.observe([0.0, 1.0], [0.0, 1.0], 0.0))
    assert pins.contrast([0.0, 1.0], [1.0, -1.0])[1] == 0.0


def test_surfaces_have_width_at_rows_of_little_noise_and_beside_them():
    x = np.random.default_rng(0).uniform(size=(60, 2))
    model = sd.GaussianProcess(sd.kernels.Matern52(1.0, 1.0))
    post = model.condition(sd.observe(x, np.sin(x.sum(axis=1)), 1e-8))
    assert_allclose(post.std(x), 1e-8 * np.sqrt(post.leverage()), rtol=1e-7)
    beside = post.std(x + 1e-12)
    assert (beside >= 0.99e-8).all()
    assert (beside <= 1e-7).all()
    assert_allclose(post.sample(x, size=4000, rng=0).std(axis=0), post.std(x), rtol=0.1)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_exact_rows_determine_a_polynomial_without_noise(order):
    """With q = 0 the state is known wherever the rows have determined it."""
    poly = np.polynomial.Polynomial([1.0, 2.0, -3.0, 0.5][:order])
    at = np.linspace(-0.5, 1.5, 9)
    x = np.array([0.0, 0.3, 0.4, 0.8, 1.0, 1.0])
    values = sd.observe(x, poly(x), 0.0)
    slopes = sd.observe(x[1:4], poly.deriv()(x[1:4]), 0.0, nu=1) if order > 1 else values
    for data in (values[:order], values, slopes + values[:1], values[-1:] + slopes + values):
        post = sd.SmoothingSpline(order, q=0.0).condition(data)
        assert_allclose(post(at), poly(at), atol=1e-11)
        assert_allclose(post.std(at), 0.0, atol=1e-12)
        assert_allclose(post.residuals(), 0.0, atol=1e-12)
        if order > 1:
            assert_allclose(post(at, 1), poly.deriv()(at), atol=1e-11)
    bent = dataclasses.replace(values, y=values.y + 1e-6 * (np.arange(6) == 4))
    with pytest.raises(ContradictionError, match=r"row [45]"):
        sd.SmoothingSpline(order, q=0.0).condition(bent)
