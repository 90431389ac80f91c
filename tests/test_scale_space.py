"""SiZer: the middle row is the tuned fit, the widest a polynomial, the narrowest knows little."""

import numpy as np
import pytest

import smoothderiv as sd
from conftest import wave

RNG = np.random.default_rng(6)
X = np.sort(RNG.uniform(0, 1, 150))
DATA = sd.observe(X, wave(X) + 0.1 * RNG.standard_normal(150))


@pytest.mark.parametrize(
    "model",
    [
        None,
        sd.RegressionSpline(knots=25, degree=5, lam=None, order=3),
        sd.AdaptiveSpline(3, variation=3.0),
    ],
    ids=["default", "regression", "adaptive"],
)
def test_each_row_is_the_band_of_one_smoothing(model):
    found = sd.sizer(DATA, model, count=9)
    assert found.sign.shape == (9, 400)
    assert (np.diff(found.edf) > 0).all()
    assert found.width[4] == pytest.approx(1.0)
    tuned = sd.tune(sd.SmoothingSpline(3) if model is None else model, DATA)
    post = tuned.condition(DATA)
    assert found.edf[4] == pytest.approx(post.edf, rel=1e-6)
    lower, upper = post.band(found.x, 1, within=(found.x[0], found.x[-1]))
    np.testing.assert_array_equal(found.sign[4], np.where(lower > 0, 1, np.where(upper < 0, -1, 0)))
    truth = np.sign(wave(found.x, 1))
    wrong = (found.sign[4] != 0) & (found.sign[4] != truth)
    assert not wrong.any()
    assert (found.sign[-1] != 0).mean() < 0.5 * (found.sign[4] != 0).mean()


def test_noise_alone_shows_nothing_and_a_line_shows_at_wide_smoothing():
    held = sd.SmoothingSpline(2, q=1.0, noise={0: 1.0})
    shown = []
    for seed in range(20):
        noise = np.random.default_rng(seed).standard_normal(150)
        shown.append((sd.sizer(sd.observe(X, noise), held, count=5).sign != 0).any(axis=1))
    assert np.mean(shown, axis=0).max() <= 0.25  # 5 % expected of each row, 1 of 20
    rising = sd.sizer(sd.observe(X, 5 * X + RNG.standard_normal(150)), held, count=5)
    assert (rising.sign[0] == 1).all()


@pytest.mark.filterwarnings("ignore::smoothderiv.TuningWarning")  # of a polynomial
@pytest.mark.parametrize(
    "model",
    [
        None,
        sd.RegressionSpline(knots=8, degree=5, lam=None, order=3),
        sd.AdaptiveSpline(3),
    ],
    ids=["default", "regression", "adaptive"],
)
def test_what_is_tuned_to_a_polynomial_bends_by_one_degree_of_freedom_more(model):
    x = np.linspace(0, 1, 60)
    y = 2 * x - x**2 + 0.1 * np.random.default_rng(1).standard_normal(60)
    assert sd.tune(sd.SmoothingSpline(3), sd.observe(x, y)).q == 0.0
    found = sd.sizer(sd.observe(x, y), model, count=3)
    np.testing.assert_allclose(found.edf[:2], [3.0, 4.0], atol=1e-4)
    other = sd.sizer(sd.observe(1e6 * x, 1e3 * y), model, count=3)
    np.testing.assert_allclose(other.edf, found.edf, rtol=1e-6)


def test_units_of_x_and_y_change_nothing():
    found = sd.sizer(DATA, count=5)
    other = sd.sizer(sd.observe(1e6 * X + 3, 1e-3 * DATA.y), count=5)
    assert (found.sign != other.sign).mean() < 2e-3
    np.testing.assert_allclose(other.edf, found.edf, rtol=1e-6)


def test_curvature_datetimes_and_refusals():
    spline = sd.RegressionSpline(knots=25, degree=5, lam=None, order=3)
    bent = sd.sizer(DATA, spline, nu=2, count=3)
    assert set(np.unique(bent.sign)) == {-1, 0, 1}
    times = np.datetime64("2026-01-01") + np.round(X * 86400e3).astype("m8[ms]")
    assert sd.sizer(sd.observe(times, DATA.y), count=3).x[-1] > 80_000
    with pytest.raises(ValueError, match="x: there are no places; give at least one"):
        sd.sizer(DATA, x=[])
    with pytest.raises(ValueError, match="no penalty"):
        sd.sizer(DATA, sd.RegressionSpline(5))
    with pytest.raises(ValueError, match="no penalty"):
        sd.sizer(DATA, sd.GaussianProcess(sd.kernels.Matern52(1.0, 1.0)))
    with pytest.raises(ValueError, match="nu: 2 was asked"):
        sd.sizer(DATA, sd.SmoothingSpline(2), nu=2)
    with pytest.raises(ValueError, match="polynomial"):
        sd.sizer(DATA, sd.SmoothingSpline(2, q=0.0))
    for count in (0, 1.5, None):
        with pytest.raises(ValueError, match=f"count: {count} smoothings; give 1 or more"):
            sd.sizer(DATA, count=count)
    with pytest.raises(ValueError, match="several dimensions"):
        sd.sizer(sd.observe(np.eye(2), [0, 1.0], 0.1))
