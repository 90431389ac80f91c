"""Tuning Gaussian processes: exact gradients, invariance under units, honest ends, priors."""

import dataclasses
import math
import types
import warnings

import numpy as np
import pytest
from contracts import check_units
from numpy.testing import assert_allclose
from test_gp import dense, surface

import smoothderiv as sd
from conftest import mixed_data
from smoothderiv import kernels
from smoothderiv.gp import stages
from smoothderiv.gp.dense import LARGEST_CONDITION
from smoothderiv.gp.search import criterion_of
from smoothderiv.gp.unknowns import Unknowns

FREE = [
    kernels.Matern52(),
    kernels.SquaredExponential(),
    kernels.Wiener(3),
    kernels.RationalQuadratic(sigma=2.0),
    kernels.Matern72() + kernels.Periodic(scale=kernels.LogNormal(1.0, 3.0)),
    kernels.Matern72() * kernels.Polynomial(2, sigma=1.0) + kernels.Constant(),
]


def tuned(model, data, criterion="evidence"):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sd.TuningWarning)
        return sd.tune(model, data, criterion)


def check_gradient(model, data, criterion, tol=1e-6):
    search = model.search(data, criterion)
    rng = np.random.default_rng(0)
    starts = np.concatenate(Unknowns(model, data).starts())
    best = min(starts, key=lambda start: search.loss(start)[0])
    point = best + 0.1 * rng.standard_normal(len(search.names))
    gradient = search.loss(point)[1]
    for j, step in enumerate(1e-3 * np.eye(len(point))):
        near, far = (
            search.loss(point + k * step)[0] - search.loss(point - k * step)[0] for k in (1, 2)
        )
        difference = (8 * near - far) / 12e-3
        assert gradient[j] == pytest.approx(difference, rel=tol, abs=tol * np.abs(gradient).max())


@pytest.mark.parametrize("criterion", ["evidence", "loo"])
@pytest.mark.parametrize("kernel", FREE, ids=lambda k: type(k).__name__)
def test_gradients_equal_central_differences(kernel, criterion):
    data = mixed_data(known=False) + sd.observe([0.5], [0.0], yerr=0)
    check_gradient(dense(kernel, mean="constant"), data, criterion)


SOLVED = [
    (kernels.Matern52(), "dense", "evidence"),
    (kernels.Matern52(), "dense", "loo"),
    (kernels.Matern52(), "markov", "evidence"),
    (kernels.Wiener(3), "markov", "evidence"),
    (kernels.SquaredExponential(kernels.LogNormal(0.2, 2.0)), "band", "evidence"),
    (kernels.SquaredExponential(kernels.LogNormal(0.2, 2.0)), "band", "loo"),
    (kernels.SquaredExponential(kernels.AtLeast(0.2)), "band", "evidence"),
    (kernels.Matern52(kernels.AtLeast(0.3)), "markov", "loo"),
]


@pytest.mark.parametrize(("kernel", "solver", "criterion"), SOLVED, ids=str)
def test_a_criterion_is_the_same_without_its_gradient(kernel, solver, criterion):
    unknowns = Unknowns(sd.GaussianProcess(kernel, mean=0.3), mixed_data(known=False))
    found = criterion_of(unknowns, criterion, solver)
    for point in unknowns.starts()[0]:
        assert found.value(point) == pytest.approx(found.loss(point)[0], rel=1e-13)


@pytest.mark.parametrize("criterion", ["evidence", "loo"])
def test_gradients_in_the_plane_one_scale_each(criterion):
    data = surface()
    free = sd.observe(data.x, data.y, nu=data.nu)
    check_gradient(dense(kernels.Matern72(), mean="linear"), free, criterion)
    check_gradient(dense(kernels.SquaredExponential(isotropic=True)), free, criterion)


def test_the_nugget_is_differentiated_too():
    x = np.linspace(0, 1, 25)
    data = sd.observe(x, np.sin(3 * x), yerr=1e-6)
    model = dense(kernels.Matern52(sigma=30.0), noise={1: 2e-5})
    data = data + sd.observe(x, 3 * np.cos(3 * x), nu=1)
    search = model.search(data, "evidence")
    point = np.log([1.0])
    loss, gradient = search.loss(point)
    post = dataclasses.replace(model, kernel=kernels.Matern52(1.0, 30.0)).condition(data)
    assert post.nugget == 0.0  # not needed there
    assert post.condition > 1e8
    # But the loss has it, to be smooth: eta of the diagonal costs (tr A^-1 - |A^-1 y|^2) eta / 2.
    K = post.model.kernel.cov(data.x, data.nu) + np.diag(data.sd(post.noise) ** 2)
    size = np.sqrt(np.diag(K))
    inverse = np.linalg.inv(K / size / size[:, None])
    eta = len(data) / LARGEST_CONDITION
    nats = 0.5 * eta * (np.trace(inverse) - np.sum((inverse @ (data.y / size)) ** 2))
    assert nats > 1e-4
    assert loss + post.log_evidence == pytest.approx(nats, rel=0.02)
    h = 1e-4
    difference = (search.loss(point + h)[0] - search.loss(point - h)[0]) / (2 * h)
    assert gradient[0] == pytest.approx(difference, rel=1e-5)
    better = dataclasses.replace(model, kernel=kernels.Matern52(0.2, 30.0)).condition(data)
    assert search.loss(np.log([0.2]))[0] == -better.log_evidence  # where it is far from needed


@pytest.mark.parametrize("criterion", ["evidence", "loo"])
def test_the_gradient_is_zero_at_the_optimum(criterion):
    data = mixed_data(known=False)
    model = tuned(dense(kernels.SquaredExponential()), data, criterion)
    assert model.tuning.names == (
        "kernel.sigma",
        "kernel.scale",
        "noise[0]",
        "noise[1]",
        "noise[2]",
    )
    assert np.abs(model.tuning.gradient).max() < 1e-6
    assert model.noise[1] == pytest.approx(0.5, rel=0.3)
    post = model.condition(data)
    merit = post.log_evidence if criterion == "evidence" else post.loo().log_density.sum()
    prior = np.log(list(model.noise.values())).sum()  # of each level that shares the rows
    assert merit + prior == pytest.approx(-model.tuning.loss, rel=1e-9)


@pytest.mark.parametrize("solver", ["dense", "markov"])
def test_rows_without_noise_are_left_out_where_there_are_no_others(solver):
    data = mixed_data(n=(12, 6, 0))
    data = dataclasses.replace(data, yerr=np.zeros(len(data)))
    model = sd.GaussianProcess(kernels.Matern52(), mean="constant", solver=solver)
    check_gradient(model, data, "loo")
    found = tuned(model, data, "loo")
    assert np.abs(found.tuning.gradient).max() < 1e-6
    density = found.condition(data).log_predictive()
    assert density.sum() == pytest.approx(-found.tuning.loss, rel=1e-9)
    again = dataclasses.replace(found, tuning=None)
    assert again.merit(data, "loo") == pytest.approx(density.sum(), rel=1e-12)


@pytest.mark.parametrize("a", [1e-9, 1e9])
@pytest.mark.parametrize("criterion", ["evidence", "loo"])
@pytest.mark.parametrize("kernel", [kernels.Matern52(), kernels.SquaredExponential()], ids=str)
def test_units_change_nothing_tuning_included(kernel, criterion, a):
    def fit(data):
        return tuned(dense(kernel), data, criterion).condition(data)

    data = mixed_data(n=(30, 20, 0), known=False)
    check_units(fit, data, a, c=3e-4, b=5 * a)


def bent_line(center):
    return (kernels.SquaredExponential() + kernels.Linear(center=center)) * (
        kernels.Constant() + kernels.Linear(center=center)
    )


AMPLITUDES = [
    lambda center: kernels.SquaredExponential() + kernels.Linear(center=center),
    bent_line,
    lambda center: (kernels.Constant() + kernels.Linear(center=center)) * kernels.Matern72(),
    lambda center: (
        kernels.Matern72()
        * (
            kernels.Linear(center=center)
            + kernels.Linear(center=center) * kernels.Linear(center=center)
        )
    ),
]


@pytest.mark.parametrize("a", [1e-9, 1e9])
@pytest.mark.parametrize("kernel", AMPLITUDES)
def test_amplitudes_of_different_units_start_each_in_its_own(kernel, a):
    def fit(data):
        model = dense(kernel(float(data.x.min())))
        return tuned(model, data).condition(data)

    check_units(fit, mixed_data(n=(18, 8, 0), known=False), a, c=3e-4, b=5 * a)


def test_numbers_that_are_given_keep_their_units_in_a_product():
    rng, x = np.random.default_rng(0), np.linspace(0, 3, 30)
    y = x * np.sin(2 * x) + 0.1 * rng.standard_normal(30)
    posts = []
    for unit, size in ((1.0, 1.0), (1e-6, 1e4)):
        data = sd.observe(unit * x, size * y)
        kernel = kernels.SquaredExponential(sigma=2.0 * size) * kernels.Linear()
        posts.append(tuned(dense(kernel), data).condition(data))
    assert_allclose(posts[1](1e-6 * x), 1e4 * posts[0](x), rtol=1e-8)


@pytest.mark.parametrize("degree", [1, 2, 3])
@pytest.mark.parametrize("away", [0.0, 30.0, 300.0])
def test_polynomials_are_tuned_from_afar(degree, away):
    rng, x = np.random.default_rng(0), np.linspace(0, 10, 40)
    y = np.polyval(rng.standard_normal(degree + 1) / 10.0 ** np.arange(degree, -1, -1), x)
    data = sd.observe(x, y + 0.1 * rng.standard_normal(40))
    model = dense(kernels.Polynomial(degree, center=-away))
    found = tuned(model, data)
    for reach in (5.0, 10.0):
        known = kernels.Polynomial(degree, away + reach, 10.0**-degree, -away)
        other = dataclasses.replace(model, kernel=known, noise={0: 0.1}).condition(data)
        assert -found.tuning.loss > other.log_evidence


@pytest.mark.parametrize("a", [1e-9, 1e9])
def test_noise_that_runs_to_zero_ends_there_in_any_unit(a):
    data = mixed_data(known=False, sd_=(0, 0, 0)).of(0)

    def fit(rows):
        post = tuned(dense(kernels.Wiener(2)), rows).condition(rows)
        assert post.model.tuning.ends == ("noise[0]: no noise",)
        return post

    check_units(fit, data, a, c=3e-4, b=5 * a, rtol=1e-6)  # of widths that are next to nothing


def test_units_of_each_dimension_of_the_plane():
    data = surface(18)
    unit = np.array([1e-9, 1e6])
    moved = sd.observe(data.x * unit + unit, 7 * data.y / (unit**data.nu).prod(1), nu=data.nu)
    posts = []
    for d in (sd.observe(data.x, data.y, nu=data.nu), moved):
        posts.append(tuned(dense(kernels.Matern72()), d).condition(d))
    x = np.random.default_rng(3).uniform(-1, 1, (9, 2))
    ours, theirs = posts[0].gradient(x), posts[1].gradient(x * unit + unit)
    assert_allclose(theirs.mean * unit / 7, ours.mean, rtol=1e-7, atol=1e-8)
    assert_allclose(theirs.std * unit / 7, ours.std, rtol=1e-6)


def test_an_optimum_at_an_edge_is_reported():
    x = np.linspace(0, 1, 20)
    rng = np.random.default_rng(0)
    flat = sd.observe(np.c_[x, rng.uniform(size=20)], np.sin(6 * x), yerr=0.05)
    with pytest.warns(sd.TuningWarning, match=r"scale\[1\]: no change along it"):
        sd.tune(dense(kernels.Matern52()), flat)


def test_a_prior_keeps_few_data_from_sending_a_scale_to_infinity():
    data = sd.observe([0.0, 1.0, 2.0], [1.0, 1.1, 1.2], yerr=0.2)
    free = tuned(dense(kernels.Matern52(), mean=0), data)
    assert free.kernel.scale > 100
    prior = kernels.Matern52(scale=kernels.LogNormal(1.0, 2.0))
    model = sd.tune(dense(prior, mean=0), data)
    assert 0.5 < model.kernel.scale < 5
    assert model.tuning.ends == ()


def test_tuning_recovers_the_process_that_made_the_data():
    rng = np.random.default_rng(5)
    x = np.sort(rng.uniform(0, 30, 150))
    nu = rng.integers(0, 2, 150)
    truth = kernels.Matern52(1.5, 2.0)
    y = np.linalg.cholesky(truth.cov(x, nu) + 1e-10 * np.eye(150)) @ rng.standard_normal(150)
    data = sd.observe(x, y + np.where(nu == 0, 0.2, 0.4) * rng.standard_normal(150), nu=nu)
    model = sd.tune(dense(kernels.Matern52()), data)
    assert model.kernel.scale == pytest.approx(1.5, rel=0.2)
    assert model.kernel.sigma == pytest.approx(2.0, rel=0.3)
    assert model.noise == pytest.approx({0: 0.2, 1: 0.4}, rel=0.35)


@pytest.mark.filterwarnings("ignore::smoothderiv.tuning.TuningWarning")  # of lengths held too long
@pytest.mark.parametrize("seed", [4, 5])
def test_no_length_that_is_held_does_better_on_a_line(seed):
    """Kinks at even places: the best basin of lengths is narrow, and another one wide."""
    rng, x = np.random.default_rng(seed), np.linspace(0, 4, 400)
    vee = np.abs(x % 1 - 0.5) - 0.25
    data = sd.observe(x, vee / vee.std() + 0.1 * rng.standard_normal(400))
    check_lengths(data, kernels.SquaredExponential(), 0.0, np.geomspace(0.05, 2.0, 12))


@pytest.mark.filterwarnings("ignore::smoothderiv.tuning.TuningWarning")
def test_no_length_that_is_held_does_better_in_the_plane():
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 1, (90, 2))
    u, v = 15 * x[:, 0] - 5, 15 * x[:, 1]
    y = (v - 0.129 * u**2 + 1.59 * u - 6) ** 2 + 9.6 * np.cos(u)
    data = sd.observe(x, y / y.std() + 0.02 * rng.standard_normal(90))
    kernel = kernels.SquaredExponential(isotropic=True)
    check_lengths(data, kernel, "constant", np.geomspace(0.1, 3.0, 8))


def check_lengths(data, kernel, mean, lengths):
    def loss(kernel):
        return sd.tune(sd.GaussianProcess(kernel, mean=mean), data).tuning.loss

    held = [loss(dataclasses.replace(kernel, scale=float(length))) for length in lengths]
    assert loss(kernel) <= min(held)


@pytest.mark.parametrize("cycles", [1.86, 2.87, 7.3])
@pytest.mark.parametrize("rest", [None, kernels.Matern52()], ids=["alone", "drifting"])
def test_a_period_is_found(rest, cycles):
    rng = np.random.default_rng(8)
    x, period = np.sort(rng.uniform(0, 10, 80)), 10.0 / cycles
    y = np.sin(2 * np.pi * x / period) + 0.5 * np.sin(4 * np.pi * x / period)
    data = sd.observe(x, y + 0.1 * rng.standard_normal(80))

    def loss(periodic):
        return tuned(dense(periodic if rest is None else periodic + rest), data).tuning.loss

    assert loss(kernels.Periodic()) < loss(kernels.Periodic(period=period)) + 1e-6


def many_dimensions(yerr, n=50):
    """Values and gradients in six dimensions of different lengths, one of which is a line."""
    rng = np.random.default_rng(0)
    x, length = rng.uniform(-1, 1, (n, 6)), np.array([0.5, 0.8, 1.2, 2.0, 4.0, 8.0])
    slopes = np.cos(x / length) / length
    slopes[:, 5] = 0.3
    y = np.sin(x / length)[:, :5].sum(axis=1) + 0.3 * x[:, 5]
    errors = 0.01 * rng.standard_normal((7, n))
    data = sd.observe(x, y + errors[0], yerr=yerr)
    for a, nu in enumerate(np.eye(6, dtype=int)):
        data = data + sd.observe(x, slopes[:, a] + errors[1 + a], yerr=yerr, nu=nu)
    return data


@pytest.mark.parametrize("yerr", [0.01, None], ids=["known", "tuned"])
def test_stages_of_places_lead_to_the_optimum_of_all_rows(yerr, monkeypatch):
    model, data = sd.GaussianProcess(kernels.SquaredExponential(), mean=0.0), many_dimensions(yerr)
    found = tuned(model, data)
    assert found.tuning.settled == stages.NATS
    monkeypatch.setattr("smoothderiv.gp.search.optimum_in_stages", lambda *_: None)
    at_once = tuned(model, data)
    assert at_once.tuning.settled == 0.0
    assert found.tuning.loss < at_once.tuning.loss + 10 * stages.NATS


def test_a_search_ends_where_rounding_leaves_no_gain():
    """The loss has an error of 1e-3 nats, as that of an ill-conditioned matrix has."""
    curvature = np.geomspace(1.0, 1e4, 6)

    class Rough:
        def value(self, point):
            return self.loss(point)[0]

        def loss(self, point):
            noise = 1e-3 * math.sin(1e7 * float(point.sum()))
            return 0.5 * float(curvature @ point**2) + noise, curvature * point

    space = types.SimpleNamespace(bounds=(np.full(6, -9.0), np.full(6, 9.0)))
    for seed in range(20):
        start = np.random.default_rng(seed).uniform(-3, 3, 6)
        point, ended = stages._descended(space, Rough(), start, 1e-3)
        assert ended
        assert Rough().value(point) < 0.1


@pytest.mark.parametrize("mean", [0, "constant"])
@pytest.mark.parametrize(("period", "seed"), [(6.3, 0), (5.0, 1), (7.5, 2), (11.0, 3)])
def test_a_period_about_as_long_as_the_data_is_found(period, seed, mean):
    rng = np.random.default_rng(seed)
    t = np.sort(rng.uniform(0, 6, 40))
    data = sd.observe(t, np.sin(2 * np.pi * t / period + seed) + 0.1 * rng.standard_normal(40))
    found = sd.tune(dense(kernels.Periodic(), mean=mean), data).condition(data).log_evidence
    for held in (5.0, 5.5, 6.0, 6.3, 6.7, 7.2, 8.0, 10.0, 100.0):
        model = dense(kernels.Periodic(period=held), mean=mean)
        assert sd.tune(model, data).condition(data).log_evidence < found + 1.0, "within a nat"
