"""The Markov solver gives the dense answer in O(n)."""

import dataclasses
import math

import numpy as np
import pytest
from contracts import check_posterior, check_rows, check_units, places
from numpy.testing import assert_allclose
from scipy import optimize
from test_gp_tuning import check_gradient, tuned

import smoothderiv as sd
from conftest import mixed_data
from smoothderiv import kernels
from smoothderiv.gp.markov import MarkovPosterior
from smoothderiv.gp.search import criterion_of
from smoothderiv.gp.stages import NATS
from smoothderiv.gp.unknowns import Unknowns
from smoothderiv.model import UndeterminedError
from smoothderiv.statespace.priors import Matern

KERNELS = [
    kernels.Matern32(0.2, 1.3),
    kernels.Matern52(0.2, 1.3),
    kernels.Matern72(0.2, 1.3),
    kernels.Wiener(3, 200.0),
]


def both(kernel, data, mean=0.3):
    solvers = ("dense", "markov")
    return [sd.GaussianProcess(kernel, mean=mean, solver=s).condition(data) for s in solvers]


def rows(kernel):
    data = mixed_data() + sd.observe([0.31], [0.2], yerr=0)
    return data[data.nu <= kernel.smoothness]


@pytest.mark.parametrize("mean", [0.3, "constant", "cubic"])
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_the_same_answer_as_dense(kernel, mean):
    dense, markov = both(kernel, rows(kernel), mean)
    x = np.r_[places(dense), dense.data.x[:5]]
    for nu in range(int(kernel.smoothness) + 1):
        size = np.abs(dense(x, nu)).max()
        assert_allclose(markov(x, nu), dense(x, nu), atol=1e-9 * size)
        assert_allclose(markov.std(x, nu), dense.std(x, nu), atol=1e-7 * size)
        assert_allclose(markov.cov(x, nu, x, 0), dense.cov(x, nu, x, 0), atol=1e-9 * size)
        joint = [post._joint(x, np.array([0, nu])) for post in (markov, dense)]
        assert_allclose(*joint, atol=1e-8 * size**2)
    assert_allclose(markov.log_evidence, dense.log_evidence, rtol=1e-8)
    assert_allclose(markov.edf, dense.edf, rtol=1e-7)
    assert_allclose(markov.leverage(), dense.leverage(), atol=1e-8)
    assert_allclose(markov.loo().std, dense.loo().std, rtol=1e-6)
    assert_allclose(markov.residuals(), dense.residuals(), atol=1e-8)
    for a, b in ((0.1, 0.9), (0.8, -0.2), (0.5, 0.5)):
        assert_allclose(markov.integral(a, b), dense.integral(a, b), rtol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS[1:], ids=str)
def test_contract(kernel):
    check_posterior(both(kernel, mixed_data())[1])


@pytest.mark.parametrize("kernel", KERNELS[2:], ids=str)
def test_contract_with_an_estimated_mean(kernel):
    check_posterior(both(kernel, mixed_data(), "cubic")[1])


def test_rows_that_leave_the_mean_free_are_refused():
    data = sd.observe([0.0, 1.0], [0.2, 0.4], yerr=0.1, nu=1)
    with pytest.raises(UndeterminedError, match="constant of the mean undetermined"):
        sd.GaussianProcess(kernels.Matern52(1.0, 1.0), mean="linear").condition(data)


def test_a_far_mean_costs_no_digits():
    """Adding 1e6 and a slope to the data adds them to the answer, and nothing else."""
    kernel, data = kernels.Matern52(0.2, 1.3), mixed_data()
    x = np.linspace(-0.2, 1.2, 9)
    far = dataclasses.replace(data, y=data.y + np.where(data.nu == 0, 1e6 + 1e3 * data.x, 0.0))
    far = dataclasses.replace(far, y=far.y + np.where(data.nu == 1, 1e3, 0.0))
    model = sd.GaussianProcess(kernel, mean="linear", solver="markov")
    near, moved = model.condition(data), model.condition(far)
    assert_allclose(moved(x) - 1e6 - 1e3 * x, near(x), atol=1e-8)
    assert_allclose(moved.std(x, 1), near.std(x, 1), rtol=1e-12)
    assert_allclose(moved.log_evidence, near.log_evidence, rtol=1e-8)


def test_matern12_has_its_kink():
    dense, markov = both(kernels.Matern12(0.2, 1.0), mixed_data().of(0))
    check_rows(markov)
    assert_allclose(markov.integral(0.1, 0.9), dense.integral(0.1, 0.9), rtol=1e-9)


def test_auto_chooses_it_where_it_is_exact():
    x = np.linspace(0, 1, 60)
    data = sd.observe(x, np.sin(x), yerr=0.1)
    kernel = kernels.Matern52(0.2, 1.0)

    def chosen(kernel=kernel, mean=0.0):
        post = sd.GaussianProcess(kernel, mean=mean).condition(data)
        return isinstance(post, MarkovPosterior)

    assert chosen()
    assert chosen(kernels.Wiener(3, 1.0))
    assert chosen(mean="constant")
    assert not chosen(kernels.SquaredExponential(0.2, 1.0))
    assert chosen(kernel + kernels.Nuisance(kernels.Matern12(0.1, 0.1)) + kernel)
    assert not chosen(kernel + kernels.SquaredExponential(0.2, 1.0))
    assert not chosen(sum([kernels.Matern72(0.2, 1.0)] * 3, kernel))  # 15 numbers of state


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match="solver: 'markov' is for Matern 1/2"):
        sd.GaussianProcess(kernels.SquaredExponential(1.0, 1.0), solver="markov")
    plane = sd.observe([[0.0, 1.0]], [1.0], yerr=0.1)
    with pytest.raises(ValueError, match="1-D x, not 2"):
        sd.GaussianProcess(kernels.Matern52(1.0, 1.0), solver="markov").condition(plane)


@pytest.mark.parametrize("gap", [1e-5, 1.0, 3.5, 8.0, 14.0, 30.0, 60.0, 1e4])
@pytest.mark.parametrize("kernel", KERNELS[:3], ids=str)
def test_gaps_short_and_forgotten(kernel, gap):
    x = 0.2 * np.r_[0, 1, 2, 2 + gap, 3 + gap, 3 + 2 * gap]
    data = sd.observe(x, np.sin(x), yerr=0.1) + sd.observe(x, np.cos(x), yerr=0.5, nu=1)
    dense, markov = both(kernel, data)
    assert_allclose(markov.log_evidence, dense.log_evidence, rtol=1e-9)
    ask = np.r_[x, 0.2 * np.r_[2 + gap / 2, 4 + 3 * gap, -gap]]
    for nu in (0, 1):
        assert_allclose(markov(ask, nu), dense(ask, nu), atol=1e-9)
        assert_allclose(markov.std(ask, nu), dense.std(ask, nu), rtol=1e-7)


def test_long_series_need_no_matrix():
    x = np.cumsum(np.random.default_rng(0).uniform(0.01, 2.0, 50_000))
    data = sd.observe(x, np.sin(x), yerr=0.1) + sd.observe(x, np.cos(x), yerr=0.1, nu=1)
    model = sd.GaussianProcess(kernels.Matern52(1.0, 1.0))
    post = model.condition(data)
    ask = np.linspace(0, x[-1], 501)
    answer = [post(ask, nu) for nu in (0, 1, 2)] + [post.std(ask, nu) for nu in (0, 1, 2)]
    assert np.isfinite(answer).all()
    near = np.abs(data.x - ask[250]) < 30
    local = sd.GaussianProcess(kernels.Matern52(1.0, 1.0), solver="dense").condition(data[near])
    for nu in (0, 1, 2):
        assert post(ask[250], nu) == pytest.approx(float(local(ask[250], nu)), abs=1e-9)
        assert post.std(ask[250], nu) == pytest.approx(float(local.std(ask[250], nu)), rel=1e-9)
    assert math.isfinite(post.log_evidence)


FREE = [kernels.Matern12(), kernels.Matern32(), kernels.Matern52(), kernels.Matern72()]
FREE += [kernels.Wiener(2), kernels.Wiener(3)]


def unknown_noise(kernel):
    """Return rows of each order that exists, their noise unknown; some places repeat."""
    data = mixed_data(known=False, n=(40, 30, 0))
    data = data + sd.observe(data.x[:3], data.y[:3] + 0.1, nu=data.nu[:3])
    return data[data.nu <= kernel.smoothness]


@pytest.mark.parametrize("kernel", FREE, ids=str)
@pytest.mark.parametrize("criterion", ["evidence", "loo"])
@pytest.mark.parametrize("mean", [0.3, "cubic"])
def test_tuning_has_exact_gradients(kernel, mean, criterion):
    data = unknown_noise(kernel) + sd.observe([0.5], [0.0], yerr=0)
    if mean != "cubic":  # of which a place far away would say something by itself alone
        data = data + sd.observe([3.0, 3.1, 60.0], [1.0, 1.2, 0.5], yerr=0.1)
    check_gradient(sd.GaussianProcess(kernel, mean=mean, solver="markov"), data, criterion)


@pytest.mark.parametrize("order", [2, 3])
def test_leave_one_out_of_a_wiener_process_is_that_of_the_spline(order):
    kernel = kernels.Wiener(order)
    data = unknown_noise(kernel)
    unknowns = Unknowns(sd.GaussianProcess(kernel, mean="linear"), data)
    for point in unknowns.starts()[1]:
        sigma, *levels = np.exp(point)
        spline = sd.SmoothingSpline(order, sigma**2, dict(enumerate(levels)))
        found = spline.condition(data).loo().log_density.sum() + point[1:].sum()
        assert criterion_of(unknowns, "loo", "markov").value(point) == pytest.approx(-found)


# an Ornstein-Uhlenbeck process about a line becomes Brownian motion, of no length and no size
BOTH = [(kernel, 0.3) for kernel in FREE] + [(kernel, "linear") for kernel in FREE[1:]]


@pytest.mark.parametrize("mean", [0.3, "linear"])
@pytest.mark.parametrize("kernel", FREE[:-1], ids=str)
def test_leave_one_out_and_its_gradient_are_those_of_dense(kernel, mean):
    data = unknown_noise(kernel)
    unknowns = Unknowns(sd.GaussianProcess(kernel, mean=mean), data)
    dense, markov = (criterion_of(unknowns, "loo", solver) for solver in ("dense", "markov"))
    for point in unknowns.starts()[1]:
        (loss, slope), (other, found) = dense.loss(point), markov.loss(point)
        assert other == pytest.approx(loss, rel=1e-9)
        assert_allclose(found, slope, atol=1e-7 * np.abs(slope).max())
        assert markov.value(point) == pytest.approx(other, rel=1e-13)


@pytest.mark.parametrize(("kernel", "mean"), BOTH, ids=str)
def test_tuning_finds_what_the_dense_solver_finds(kernel, mean):
    data = unknown_noise(kernel)
    dense, markov = (
        tuned(sd.GaussianProcess(kernel, mean=mean, solver=s), data) for s in ("dense", "markov")
    )
    assert markov.tuning.names == dense.tuning.names
    inside = np.isfinite(markov.tuning.log_values)
    assert np.abs(markov.tuning.gradient[inside]).max() < 1e-6
    assert_allclose(markov.tuning.log_values, dense.tuning.log_values, atol=1e-6)
    assert_allclose(markov.tuning.loss, dense.tuning.loss, atol=1e-8)
    same = 1e-12 if mean == 0.3 else 1e-8  # a line and a nearly integrated process resemble
    prior = np.log(list(markov.noise.values())).sum() if len(markov.noise) > 1 else 0.0
    assert_allclose(markov.condition(data).log_evidence + prior, -markov.tuning.loss, rtol=same)


UNITS = [(FREE[1], 0.0), (FREE[3], 0.0), (FREE[5], 0.0), (FREE[2], "constant")]


@pytest.mark.parametrize("a", [1e-9, 1e9])
@pytest.mark.parametrize(("kernel", "mean"), UNITS, ids=str)
def test_units_change_nothing_tuning_included(kernel, mean, a):
    def fit(data):
        return tuned(sd.GaussianProcess(kernel, mean=mean, solver="markov"), data).condition(data)

    data = mixed_data(known=False)  # of the Wiener process the noise of curvatures runs to zero
    check_units(fit, data[data.nu <= kernel.smoothness], a, c=3e-4, b=5 * a)


def test_tuning_of_many_rows_recovers_the_process():
    rng = np.random.default_rng(2)
    x = np.sort(rng.uniform(0, 400, 4000))
    truth = Matern(2, scale=1.5, sigma=2.0)
    steps = truth.steps(np.diff(x, prepend=x[0] - 100.0))
    state, path = np.zeros(3), np.empty(4000)
    for i in range(4000):
        state = steps.transition[i] @ state + steps.root[i] @ rng.standard_normal(3)
        path[i] = 2.0 * state[0]
    data = sd.observe(x, path + 0.3 * rng.standard_normal(4000))
    model = sd.tune(sd.GaussianProcess(kernels.Matern52()), data)
    assert model.kernel.scale == pytest.approx(1.5, rel=0.1)
    assert model.kernel.sigma == pytest.approx(2.0, rel=0.15)
    assert model.noise[0] == pytest.approx(0.3, rel=0.05)


@pytest.mark.parametrize("kernel", [kernels.Matern32(), kernels.Matern72()], ids=str)
def test_leave_one_out_of_many_rows_is_tuned_by_way_of_a_stretch(kernel):
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 75, 1500))
    data = sd.observe(x, np.sin(x) + 0.1 * rng.standard_normal(1500))
    model = sd.GaussianProcess(kernel)
    found = tuned(model, data, "loo").tuning
    assert found.settled == NATS
    unknowns = Unknowns(model, data)
    criterion = criterion_of(unknowns, "loo", "markov")
    bounds = list(zip(*unknowns.bounds, strict=True))
    for start in (np.clip(found.log_values, *unknowns.bounds), unknowns.starts()[1, 0]):
        best = optimize.minimize(criterion.loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
        assert found.loss < best.fun + 10 * NATS


@pytest.mark.parametrize("yerr", [0.0, 1e-20, 1e-16, 1e-12, 1e-8])
@pytest.mark.parametrize("signal", [kernels.Matern32, kernels.Matern72], ids=lambda k: k.__name__)
@pytest.mark.parametrize("noise", [kernels.Matern32, kernels.Matern52], ids=lambda k: k.__name__)
def test_slopes_known_exactly_or_nearly_beside_smooth_noise(signal, noise, yerr):
    """They determine one of the numbers that values are sums of, at places however close."""
    rng = np.random.default_rng(3)
    kernel = signal(1.5, 2.0) + kernels.Matern52(0.7, 0.6) + kernels.Nuisance(noise(0.5, 0.3))
    x = np.sort(rng.uniform(0, 4, 8))
    pinned = x[[1, 4]] + np.array([0.3, 1e-7])
    data = sd.observe(x, rng.normal(size=8), 0.2) + sd.observe(pinned, rng.normal(size=2), yerr, 1)
    dense, markov = both(kernel, data)
    at = np.linspace(-0.5, 4.5, 21)
    for nu in (0, 1):
        size = np.abs(dense(at, nu)).max()
        assert_allclose(markov(at, nu), dense(at, nu), atol=1e-9 * size)
        assert_allclose(markov.std(at, nu), dense.std(at, nu), atol=1e-9 * size)
        assert_allclose(markov.cov(at, nu, at, 0), dense.cov(at, nu, at, 0), atol=1e-9 * size)
    assert_allclose(markov.log_evidence, dense.log_evidence, rtol=1e-10)
    assert_allclose(markov.residuals(), dense.residuals(), atol=1e-10)
    free = sd.kernels.Matern52(None, None) + sd.kernels.Nuisance(noise(0.5, None))
    unknowns = Unknowns(sd.GaussianProcess(free), data)
    for point in unknowns.starts()[1]:
        found = [criterion_of(unknowns, "evidence", s).loss(point) for s in ("dense", "markov")]
        assert_allclose(found[1][0], found[0][0], rtol=1e-9)
        assert_allclose(found[1][1], found[0][1], atol=1e-6 * np.abs(found[0][1]).max())
