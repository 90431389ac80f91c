"""Sums of processes and correlated noise in O(n): the dense matrix, exactly."""

import dataclasses

import numpy as np
import pytest
from contracts import check_permutation, check_posterior, check_units
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from test_correlated import noisy
from test_gp_tuning import tuned

import smoothderiv as sd
from conftest import mixed_data
from smoothderiv import kernels
from smoothderiv.gp.kernels import Matern12, Matern32, Matern52, Matern72, Nuisance
from smoothderiv.gp.markov import MarkovPosterior
from smoothderiv.gp.search import criterion_of
from smoothderiv.gp.unknowns import Unknowns
from smoothderiv.statespace import fisher
from smoothderiv.statespace.priors import Matern
from smoothderiv.statespace.superposition import Superposition

NOISE = {0: 0.1, 1: 0.5, 2: 3.0}
SUMS = {
    "noise": Matern72(0.4, 1.0) + Nuisance(Matern12(0.05, 0.2)),
    "noise first": Nuisance(Matern12(0.5, 0.02)) + Matern52(0.4, 5.0),
    "slow and quick": Matern72(1.0, 3.0) + Matern52(0.1, 0.2),
    "alike": Matern52(0.3, 1.0) + Matern52(0.3, 1.0),
    "all": Matern52(1.0, 3.0)
    + Nuisance(Matern12(0.05, 0.1))
    + Matern52(0.1, 0.2)
    + Nuisance(Matern32(0.2, 0.1)),
}
each_sum = pytest.mark.parametrize("kernel", SUMS.values(), ids=SUMS)
each_mean = pytest.mark.parametrize("mean", [0.5, "linear"])


def both(kernel, data, noise, mean=0.0):
    """Return the posterior in O(n), and that by the dense matrix."""
    model = sd.GaussianProcess(kernel, noise, mean, solver="markov")
    fit, dense = (dataclasses.replace(model, solver=s).condition(data) for s in ("markov", "dense"))
    assert isinstance(fit, MarkovPosterior)
    assert not isinstance(dense, MarkovPosterior)
    return fit, dense


def check_same(fit, dense, x, rtol=1e-9):
    """Every answer of one is that of the other, to rounding beside the largest."""

    def same(one, other):
        other = np.asarray(other)
        assert_allclose(one, other, rtol=rtol, atol=rtol * np.abs(other).max())

    for nu in (0, 1, 2):
        same(fit(x, nu), dense(x, nu))
        same(fit.std(x, nu), dense.std(x, nu))
        same(fit.cov(x, nu), dense.cov(x, nu))
    same(fit.log_evidence, dense.log_evidence)
    same(fit.leverage(), dense.leverage())
    same(fit.residuals(), dense.residuals())
    same(fit.log_predictive(), dense.log_predictive())
    for part in ("mean", "std", "log_density"):
        same(getattr(fit.loo(), part), getattr(dense.loo(), part))
    same(fit.integral(-0.1, 0.7), dense.integral(-0.1, 0.7))


@each_mean
@each_sum
def test_answers_are_those_of_the_matrix(kernel, mean):
    data = mixed_data(3, n=(25, 12, 6), known=False)
    fit, dense = both(kernel, data, NOISE, mean)
    check_same(fit, dense, np.linspace(-0.1, 1.1, 15))


@each_mean
@each_sum
def test_evidence_and_gradient_are_those_of_the_matrix(kernel, mean):
    data = mixed_data(4, n=(25, 12, 6), known=False)
    numbers = [p.value for p in kernel.parameters(1)]
    free = kernel.filled([None] * len(numbers))
    unknowns = Unknowns(sd.GaussianProcess(free, mean=mean), data)
    point = np.log([*numbers, *NOISE.values()]) + 0.2
    loss, slope = criterion_of(unknowns, "evidence", "markov").loss(point)
    reference, gradient = criterion_of(unknowns, "evidence", "dense").loss(point)
    assert_allclose(loss, reference, rtol=1e-11)
    assert_allclose(slope, gradient, rtol=1e-8, atol=1e-10 * np.abs(gradient).max())


def test_a_number_that_is_given_is_not_in_the_gradient():
    data = mixed_data(4, n=(25, 12, 0), known=False)
    kernel = Nuisance(Matern12(None, 0.2)) + Matern52(0.4)
    unknowns = Unknowns(sd.GaussianProcess(kernel, {0: 0.1, 1: 0.5}), data)
    assert unknowns.names == ("kernel.parts[0].kernel.scale", "kernel.parts[1].sigma")
    point = np.log([0.05, 1.3])
    slope = criterion_of(unknowns, "evidence", "markov").loss(point)[1]
    assert_allclose(slope, criterion_of(unknowns, "evidence", "dense").loss(point)[1], rtol=1e-8)


@pytest.mark.parametrize("kernel", [SUMS["noise"], SUMS["slow and quick"]], ids=["noise", "sum"])
def test_the_contract_holds(kernel):
    data = mixed_data(3, n=(30, 10, 0), known=False)
    model = sd.GaussianProcess(kernel, NOISE)
    post = model.condition(data)
    assert isinstance(post, MarkovPosterior)
    check_posterior(post)
    check_permutation(model.condition, data)


def test_units_change_nothing_with_tuning():
    data = mixed_data(5, n=(80, 0, 0), known=False)
    model = sd.GaussianProcess(Matern72() + Nuisance(Matern12()))
    for a in (1e-9, 1e9):
        check_units(lambda data: sd.smooth(data, model), data, a, c=1e-6, rtol=1e-6)


@given(
    places=st.lists(st.sampled_from(np.r_[np.linspace(0, 1, 9), 40.0]), min_size=2, max_size=12),
    exact=st.sets(st.integers(0, 11), max_size=2),
    sizes=st.tuples(*[st.sampled_from([1e-3, 0.3, 20.0])] * 4),
    seed=st.integers(0, 99),
)
def test_any_rows_are_answered_as_by_the_matrix(places, exact, sizes, seed):
    """Of repeated places, exact rows, far places, parts of any size and length."""
    rng = np.random.default_rng(seed)
    x, nu = np.array(places), rng.integers(0, 2, len(places))
    yerr = 0.1 + rng.uniform(size=len(x))
    first = np.unique(np.column_stack((x, nu)), axis=0, return_index=True)[1]
    yerr[[k for k in exact if k in first]] = 0.0
    data = sd.observe(x, np.sin(x) + nu, yerr, nu)
    long, short, signal, noise = sizes
    kernel = Matern52(long, signal) + Nuisance(Matern12(short, noise))
    fit, dense = both(kernel, data, None)
    if dense.nugget:
        return
    tol = 1e-13 * dense.condition * max(1.0, signal / noise) + 1e-9
    where = np.linspace(-0.3, 1.3, 7)
    for nu in (0, 1):
        size = np.sqrt(Matern52(long, signal).cov([0.0], nu)[0, 0])
        assert_allclose(fit(where, nu), dense(where, nu), atol=tol * max(size, 1.0))
        assert_allclose(fit.std(where, nu), dense.std(where, nu), atol=np.sqrt(tol) * size)
    assert_allclose(fit.log_evidence, dense.log_evidence, rtol=tol, atol=tol * len(x))


def test_long_gradients_go_in_parts(monkeypatch):
    data = mixed_data(6, n=(60, 20, 0), known=False)
    unknowns = Unknowns(sd.GaussianProcess(Matern52() + Nuisance(Matern12())), data)
    criterion = criterion_of(unknowns, "evidence", "markov")
    point = np.log([1.0, 0.4, 0.2, 0.05, 0.1, 0.5])
    _, whole = criterion.loss(point)
    shares = both(SUMS["noise"], data, NOISE)[0].leverage()
    monkeypatch.setattr(fisher, "_AT_ONCE", 7)
    assert_allclose(criterion.loss(point)[1], whole, rtol=1e-10)
    assert_allclose(both(SUMS["noise"], data, NOISE)[0].leverage(), shares, rtol=1e-10)


def test_the_start_keeps_a_small_part_beside_a_large_one():
    prior = Superposition((Matern(2, 0.4, 1.0),), (Matern(0, 0.1, 1e-12),))
    U, _ = prior.start()
    diagonal = np.diag(U) * prior.units**2
    assert_allclose(diagonal[0], 1e-24, rtol=1e-12)  # of a value beside f: the noise


def test_noise_that_no_row_has_changes_nothing():
    x = np.linspace(0, 1, 9)
    data = sd.observe(x, np.cos(3 * x), 0.1, nu=1)
    signal = Matern52(0.5, 1.0)
    alone, beside = (
        sd.GaussianProcess(kernel, mean=0.0).condition(data)
        for kernel in (signal, signal + Nuisance(Matern32(0.1, 1e90)))
    )
    assert_allclose(beside(x), alone(x), rtol=1e-12)
    assert_allclose(beside.std(x), alone.std(x), rtol=1e-12)


def test_states_are_those_of_the_parts():
    """``turn`` and ``back`` are inverse, and rows see f or f with noise."""
    plain = Superposition((Matern(3, 1.0, 2.0), Matern(2, 0.1)))
    assert plain.answers.tolist() == [0, 1, 2]
    assert_allclose(plain.turn @ plain.back, np.eye(7), atol=1e-14)
    prior = Superposition((Matern(3, 1.0, 2.0), Matern(2, 0.1)), (Matern(1, 0.3), Matern(0, 0.2)))
    assert_allclose(prior.turn @ prior.back, np.eye(prior.dimension), atol=1e-14)
    cov, unit = prior.stationary(), prior.units
    value, f = 0, prior.answers[0]
    assert_allclose(cov[value, value] * unit[value] ** 2, 4.0 + 1.0 + 1.0 + 1.0)
    assert_allclose(cov[f, f] * unit[f] ** 2, 4.0 + 1.0)
    assert_allclose(cov[f, value] * unit[f] * unit[value], 4.0 + 1.0)
    for order in (1, 2):
        both_parts = sum(k.cov([0.0], order)[0, 0] for k in (Matern72(1.0, 2.0), Matern52(0.1, 1)))
        k = prior.answers[order]
        assert_allclose(cov[k, k] * unit[k] ** 2, both_parts)


def test_tuning_of_many_rows_finds_slow_and_quick_parts():
    """What is tuned on samples must not end in their optimum, with f in the place of the noise."""
    rng, n = np.random.default_rng(1), 45_000  # more than the stretches between samples and all
    x = np.linspace(0, 40, n)
    drift, noise = np.exp(-x[1] / 0.1), np.empty(n)
    noise[0] = 0.2 * rng.standard_normal()
    for i, step in enumerate(0.2 * np.sqrt(1 - drift**2) * rng.standard_normal(n - 1)):
        noise[i + 1] = drift * noise[i] + step
    data = sd.observe(x, np.sin(x) + noise + 0.05 * rng.standard_normal(n))
    post = sd.smooth(data, correlated=True)
    model = post.model.models[0]
    process = model.kernel.parts[1].kernel
    assert_allclose([process.sigma, process.scale, model.noise[0]], [0.2, 0.1, 0.05], rtol=0.2)
    assert np.mean(np.abs(post(x, 1) - np.cos(x)) < 2 * post.std(x, 1)) > 0.85


def test_left_out_rows_are_tuned_by_the_matrix_and_refused_for_many():
    model = sd.GaussianProcess(SUMS["noise"].filled([None] * 4))
    few = noisy(5, 0.8, n=60)
    dense = dataclasses.replace(model, solver="dense")
    fit, reference = (tuned(m, few, "loo") for m in (model, dense))
    assert_allclose(fit.tuning.loss, reference.tuning.loss, rtol=1e-9)
    x = np.linspace(0, 1, 6000)
    with pytest.raises(ValueError, match="for at most 5000 rows"):
        sd.tune(model, sd.observe(x, np.sin(x)), "loo")


def test_sums_that_are_not_markov_are_refused():
    with pytest.raises(ValueError, match="solver: 'markov' is for Matern"):
        sd.GaussianProcess(Matern52() + kernels.Periodic(), solver="markov")
