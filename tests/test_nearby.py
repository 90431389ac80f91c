"""States about places, found again from marked rows, are those of a pass over all rows."""

import numpy as np
import pytest
from contracts import check_posterior
from numpy.testing import assert_allclose

import smoothderiv as sd
from smoothderiv import kernels
from smoothderiv.statespace import markov, nearby
from smoothderiv.statespace.backward import errors_of
from smoothderiv.statespace.kept import leverages, marks_of, states_about, states_of
from smoothderiv.statespace.markov import MarkovRows
from smoothderiv.statespace.priors import IntegratedWiener, Matern
from smoothderiv.statespace.states import diagonal
from smoothderiv.statespace.superposition import Superposition
from smoothderiv.statespace.varying import VaryingWiener

KNOTS = np.array([0.0, 0.3, 0.6, 1.0])
PRIORS = [
    *(IntegratedWiener(order, 10.0 ** (2 * order - 1)) for order in range(1, 7)),
    *(Matern(degree, 0.2) for degree in range(4)),
    *(Matern(degree, 20.0, 30.0) for degree in range(4)),
    VaryingWiener(3, 1e5, 1.0, KNOTS, np.array([1.0, 100.0, 0.1])),
    Superposition((Matern(2, 0.2),), (Matern(0, 0.02, 0.5),)),
]
KINDS = ["plain", "few at first", "ties and pins", "a gap", "uneven noise", "no values at first"]


@pytest.fixture
def marked(monkeypatch):
    """Have rows treated as if they were many."""
    monkeypatch.setattr(markov, "_MANY", 1)
    monkeypatch.setattr(markov, "_MANY_WIENER", 1)
    monkeypatch.setattr(markov, "_LONG", 0)
    monkeypatch.setattr(nearby, "_STEPS", 64)


def data_of(kind, dimension, n=500):
    """Return x, y, sd, nu of sorted rows."""
    rng = np.random.default_rng(dimension)
    x, nu, yerr = np.sort(rng.uniform(0, 1, n)), np.zeros(n, dtype=np.int64), np.full(n, 0.1)
    if kind == "few at first":
        x = np.sort(rng.beta(3, 1, n))
    if kind == "ties and pins":
        x[100:140] = x[100]
        yerr[rng.choice(np.r_[:90, 150:n], 20, replace=False)] = 0.0
        nu = rng.integers(0, min(dimension, 3), n)
    if kind == "a gap":
        x = np.where(x < 0.5, 0.2 * x, 0.8 + 0.2 * x)
    if kind == "uneven noise":
        yerr = 10.0 ** rng.uniform(-6, 0, n)
    if kind == "no values at first" and dimension > 1:
        nu[:40] = 1
    y = np.sin(8 * x + 0.5 * np.pi * nu) * 8.0**nu
    return x, y + yerr * rng.standard_normal(n), yerr, nu


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("prior", PRIORS, ids=lambda p: f"{type(p).__name__}{p.dimension}")
def test_few_places_are_answered_as_all_are(prior, kind, marked, monkeypatch):
    d, (x, y, yerr, nu) = prior.dimension, data_of(kind, prior.dimension)
    rng = np.random.default_rng(0)
    asked = np.concatenate((rng.uniform(-0.1, 1.1, 9), x[[0, 1, 17, 250, -2, -1]], [-0.1, 1.1]))
    few, every = (MarkovRows.of(prior, x, y, yerr, nu) for _ in range(2))
    found, pull, leverage = leverages(few)
    mean, factor = states_about(few, asked).at(asked)
    monkeypatch.setattr(markov, "_MANY", len(x) + 1)
    monkeypatch.setattr(markov, "_MANY_WIENER", len(x) + 1)
    assert_allclose(every.likelihood(), found, rtol=1e-13)
    errors = errors_of(every)[1]
    assert_allclose(pull, errors.pull, rtol=1e-12, atol=1e-12 * np.abs(pull).max())
    assert_allclose(leverage, np.clip(1 - yerr**2 * errors.diagonal, 0, 1), rtol=1e-11, atol=1e-14)
    one, two = states_of(every).at(asked)
    for order in range(d):
        component = np.full(len(asked), order)
        std = np.sqrt(diagonal(two, component))
        rounding = 1e-11 * np.abs(one[:, order]).max()
        assert (np.abs(mean - one)[:, order] <= 1e-8 * std + rounding).all()
        assert_allclose(np.sqrt(diagonal(factor, component)), std, rtol=1e-8)


def test_few_rows_are_smoothed_for_few_places(marked):
    x, y, yerr, nu = data_of("plain", 2, 5000)
    rows = MarkovRows.of(IntegratedWiener(2, 1e3), x, y, yerr, nu)
    used = states_about(rows, np.array([0.5, 0.7])).rows.x
    assert len(used) < 100
    assert used[0] < 0.5 < used[-1]


def test_runs_are_apart_and_hold_the_rows_beside_each_place(marked):
    x, y, yerr, nu = data_of("a gap", 3, 3000)
    rows = MarkovRows.of(IntegratedWiener(3, 1e5), x, y, yerr, nu)
    asked = np.random.default_rng(1).uniform(-0.1, 1.1, 50)
    first, last = nearby.runs_about(rows, marks_of(rows), asked).T
    assert (first[1:] > last[:-1]).all()
    before = np.searchsorted(x, asked, side="right") - 1
    for row in (np.maximum(before, 0), np.minimum(before + 1, len(x) - 1)):
        run = np.searchsorted(first, row, side="right") - 1
        assert (row <= last[run]).all()


@pytest.mark.parametrize("kernel", [None, kernels.Matern52(0.2, 1.0), kernels.Wiener(2, 30.0)])
def test_a_posterior_keeps_the_contract(kernel, marked):
    x, y, yerr, _ = data_of("plain", 2, 200)
    model = sd.SmoothingSpline(3, q=1e4)
    if kernel is not None:
        model = sd.GaussianProcess(kernel, mean="constant", solver="markov")
    check_posterior(model.condition(sd.observe(x, y, yerr)))


def test_long_questions_in_any_order(marked):
    x, y, yerr, _ = data_of("plain", 2, 300)
    post = sd.SmoothingSpline(2, q=1e3).condition(sd.observe(x, y, yerr))
    asked = np.random.default_rng(2).uniform(0, 1, 100_000)
    low, high = post.interval(asked, 1)
    part = slice(99_000, None)
    assert_allclose(0.5 * (low + high)[part], post(asked[part], 1), rtol=1e-9)
    assert_allclose(
        (high - low)[part] / (high - low)[-1], post.std(asked[part], 1) / post.std(asked[-1], 1)
    )


def test_a_contradiction_is_named_by_its_row(marked):
    x, y, yerr, _ = data_of("plain", 2, 300)
    x[201], yerr[200:202] = x[200], 0.0
    model = sd.GaussianProcess(kernels.Matern52(0.2, 1.0), solver="markov")
    with pytest.raises(ValueError, match="row 201 "):
        model.condition(sd.observe(x, y, yerr))
