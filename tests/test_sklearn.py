"""Laws of the regressor: scikit-learn's own checks, and the posterior's answers unchanged."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import smoothderiv as sd
from smoothderiv.integrations.sklearn import SmoothRegressor

SPLINE = sd.SmoothingSpline(order=3)


def wave(n=80, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 6, n)
    return x[:, None], np.sin(x) + 0.1 * rng.standard_normal(n)


@pytest.mark.filterwarnings("ignore::smoothderiv.TuningWarning")
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning")
def test_scikit_learns_own_checks():
    """Numbers are held to be quick; the default passes too (100 s)."""
    kernel = sd.kernels.Matern52(scale=3.0, sigma=1.0)
    held = sd.GaussianProcess(kernel, noise={0: 0.1})
    checks = check_estimator(SmoothRegressor(held), on_fail="raise")
    assert len(checks) > 40


@pytest.mark.parametrize("nu", [0, 1])
def test_predictions_are_those_of_the_posterior(nu):
    X, y = wave()
    fitted = SmoothRegressor(SPLINE, nu=nu).fit(X, y, yerr=0.1)
    post = sd.smooth(sd.observe(X[:, 0], y, 0.1), SPLINE)
    ask = np.linspace(0, 6, 9)
    mean, std = fitted.predict(ask[:, None], return_std=True)
    assert_allclose(mean, post(ask, nu), rtol=1e-13)
    assert_allclose(std, post.std(ask, nu), rtol=1e-13)
    assert_allclose(fitted.predict(ask[:, None]), mean)
    assert fitted.score(X, y) == pytest.approx(1 - np.var(y - post(X[:, 0])) / np.var(y), rel=1e-2)
    assert fitted.model_ == post.model or repr(fitted.model_) == repr(post.model)


def test_several_features_give_gradients():
    rng = np.random.default_rng(1)
    X = rng.uniform(0, 2, (40, 2))
    y = np.sin(X[:, 0]) * X[:, 1] + 1e-3 * rng.standard_normal(40)
    model = sd.GaussianProcess(sd.kernels.Matern52(scale=1.5, sigma=1.0), noise={(0, 0): 1e-3})
    fitted = SmoothRegressor(model, nu=(1, 0)).fit(X, y)
    ask = np.array([[1.0, 1.0]])
    gradient = sd.smooth(sd.observe(X, y), model).gradient(ask)
    mean, std = fitted.predict(ask, return_std=True)
    assert_allclose(mean[0], gradient.mean[0, 0], rtol=1e-10)
    assert_allclose(std[0] ** 2, gradient.cov[0, 0, 0], rtol=1e-8)
    assert abs(mean[0] - np.cos(1.0)) < 4 * std[0]


@pytest.mark.parametrize("features", [1, 2])
def test_without_a_model_the_fit_is_the_default_of_smooth_wherever_y_begins(features):
    rng = np.random.default_rng(0)
    X = rng.uniform(size=(25, features))
    y = np.sin(3 * X.sum(axis=1)) + 0.05 * rng.standard_normal(25)
    ask = np.array([[0.5] * features, [2.0] * features])
    places = X[:, 0] if features == 1 else X
    post = sd.smooth(sd.observe(places, y), nu=0)
    found = SmoothRegressor().fit(X, y).predict(ask)
    assert_allclose(found, post(ask[:, 0] if features == 1 else ask), rtol=1e-12)
    assert_allclose(SmoothRegressor().fit(X, y + 100).predict(ask) - 100, found, rtol=1e-5)
    with pytest.raises(ValueError, match=r"1 sample\(s\)"):
        SmoothRegressor().fit(X[:1], y[:1])
    with pytest.raises(ValueError, match=r"array.reshape\(-1, 1\)"):
        SmoothRegressor().fit(X[:, 0], y)


def test_clones_and_pickles_say_the_same():
    X, y = wave()
    fitted = SmoothRegressor(nu=1).fit(X, y)
    ask = np.linspace(0, 6, 5)[:, None]
    again = pickle.loads(pickle.dumps(fitted))
    assert_allclose(again.predict(ask), fitted.predict(ask), rtol=1e-12)
    assert clone(fitted).get_params() == fitted.get_params()
    assert not hasattr(clone(fitted), "posterior_")


def test_pickles_hold_the_doubts_of_the_fit():
    X, y = wave()
    with pytest.warns(sd.NoiseWarning):
        fitted = SmoothRegressor().fit(X, y, yerr=0.01)
    assert fitted.posterior_.notes
    again = pickle.loads(pickle.dumps(fitted))
    assert again.posterior_.notes == fitted.posterior_.notes


def test_pipelines_and_searches():
    X, y = wave()
    straight = sd.SmoothingSpline(order=3, q=1e-9, noise={0: 0.1})
    grid = {"smoothregressor__model": [straight, SPLINE]}
    search = GridSearchCV(make_pipeline(StandardScaler(), SmoothRegressor()), grid, cv=4)
    search.fit(X, y)
    assert search.best_params_["smoothregressor__model"].q is None
    assert search.best_score_ > 0.95
