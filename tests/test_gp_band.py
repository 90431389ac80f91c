"""The band solver gives the dense answer for the squared exponential on a line, in O(n)."""

import dataclasses
import math

import mpmath
import numpy as np
import pytest
from contracts import (
    check_leave_one_out,
    check_permutation,
    check_posterior,
    check_replicates,
    check_units,
    places,
)
from numpy.testing import assert_allclose
from test_gp_tuning import check_gradient, tuned

import smoothderiv as sd
from conftest import mixed_data, wave
from smoothderiv import kernels
from smoothderiv.gp.band.grid import Grid, resolution
from smoothderiv.gp.band.posterior import BandPosterior
from smoothderiv.gp.criteria import DenseCriterion
from smoothderiv.gp.search import BandCriterion
from smoothderiv.gp.unknowns import Unknowns
from smoothderiv.model import UndeterminedError

EPS = np.finfo(float).eps
MEANS = [0.3, "constant", "cubic", np.polynomial.Polynomial([1.0, 2.0])]


def mean_of(mean):
    if not callable(mean):
        return mean
    return lambda x, nu: mean.deriv(nu)(x) if nu else mean(x)


def both(scale, data, mean=0.3):
    kernel, mean = kernels.SquaredExponential(scale, 1.3), mean_of(mean)
    solvers = ("dense", "band")
    return [sd.GaussianProcess(kernel, mean=mean, solver=s).condition(data) for s in solvers]


def with_gaps():
    """Return rows of all orders up to 3, in any order, some far away or at one place."""
    far = sd.observe([9.0, 9.1, 9.7, 30.0, -4.0], [1.0, 1.2, 0.3, 0.5, 0.1], 0.1)
    cubic = sd.observe([0.3, 0.31, 9.0], [10.0, -30.0, 20.0], 40.0, nu=3)
    return far + mixed_data() + cubic + mixed_data()[:3]


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4, 6])
@pytest.mark.parametrize("scale", [1e-3, 0.7, 1e9])
def test_functions_on_the_grid_have_the_covariance_of_the_kernel(order, scale):
    grid = Grid.of(scale, 1.3, order)
    x = scale * np.r_[np.linspace(-0.2, 0.2, 9), 1.23, 3.1, 5.7]
    kernel = kernels.SquaredExponential(scale, 1.3)
    for nu, other in ((order, order), (order, 0)):
        rows = np.zeros((2, len(x), 200))
        for out, q in zip(rows, (nu, other), strict=True):
            first, found, _ = grid.rows(x, np.full(len(x), q), 1.0)
            for row, at, values in zip(out, first + 100, found, strict=True):
                row[at : at + grid.width] = values
        size = np.sqrt(kernel.cov([0.0], nu)[0, 0] * kernel.cov([0.0], other)[0, 0])
        assert_allclose(rows[0] @ rows[1].T, kernel.cov(x, nu, x, other), atol=20 * EPS * size)


@pytest.mark.parametrize("order", range(7))
def test_the_stated_bound_is_the_error(order):
    """At a place of the grid and at mid-step what aliases is largest, and of opposite sign."""
    mpmath.mp.dps = 40
    step = mpmath.mpf(1) / 2  # coarse, so that it shows
    size = mpmath.sqrt(mpmath.sqrt(2 / mpmath.pi) * step)

    def summed(x):
        def phi(t):
            return (-1) ** order * mpmath.hermite(order, t) * mpmath.exp(-(t**2))

        return sum((size * phi(x - k * step)) ** 2 for k in range(-30, 31))

    odd = mpmath.fac2(2 * order - 1)
    bound = 2 * (2 * mpmath.pi) ** (2 * order) * mpmath.exp(-((2 * mpmath.pi) ** 2) / 2) / odd
    errors = [abs(summed(x) / odd - 1) for x in (0, step / 2)]
    assert bound / 2 < max(errors) < bound * (1 + 1e-9)
    fine, half = resolution(order)
    aliased = 2 * (math.pi * fine) ** (2 * order) * math.exp(-((math.pi * fine) ** 2) / 2)
    assert aliased / odd < 4 * EPS
    assert half > 5.5 * fine


@pytest.mark.parametrize("mean", MEANS, ids=str)
@pytest.mark.parametrize("scale", [0.6, 0.1, 0.02])
def test_the_same_answer_as_dense(scale, mean):
    dense, band = both(scale, with_gaps(), mean)
    assert isinstance(band, BandPosterior)
    x = np.r_[places(dense), np.linspace(0, 1, 9), dense.data.x[:9], 9.3, 29.9, 31.0, 99.0]
    for nu in range(4):
        size, spread = np.abs(dense(x, nu)).max(), dense.std(x, nu).max()
        assert_allclose(band(x, nu), dense(x, nu), atol=1e-11 * size)
        assert_allclose(band.std(x, nu), dense.std(x, nu), atol=1e-11 * spread)
        both_ = spread * dense.std(x).max()
        assert_allclose(band.cov(x, nu, x, 0), dense.cov(x, nu, x, 0), atol=1e-11 * both_)
        some = np.r_[30, 24, 26]
        assert_allclose(band.cov(x[some], nu), dense.cov(x[some], nu), atol=1e-11 * spread**2)
    assert_allclose(band.log_evidence, dense.log_evidence, rtol=1e-11)
    assert_allclose(band.beta, dense.beta, rtol=1e-9)
    assert_allclose(band.edf, dense.edf, rtol=1e-11)
    assert_allclose(band.leverage(), dense.leverage(), atol=1e-11)
    free = np.maximum(1.0 - dense.leverage(), EPS)
    assert (np.abs(band.loo().std / dense.loo().std - 1) < 1e-11 + 1e2 * EPS / free).all()
    size = np.abs(dense.data.y).max()
    assert_allclose(band.residuals(), dense.residuals(), atol=1e-10 * size)


@pytest.mark.parametrize("mean", MEANS, ids=str)
def test_the_same_integrals_as_dense(mean):
    dense, band = both(0.3, mixed_data() + sd.observe([5.0], [1.0], 0.1), mean)
    for a, b in ((0.1, 0.9), (0.8, -0.2), (0.5, 0.5), (-1.0, 7.0), (11.0, 12.0)):
        assert_allclose(band.integral(a, b), dense.integral(a, b), rtol=1e-9)


@pytest.mark.parametrize("mean", ["linear", 0.0])
def test_contract(mean):
    model = sd.GaussianProcess(kernels.SquaredExponential(0.2, 1.3), mean=mean, solver="band")
    check_posterior(model.condition(mixed_data()), orders=(0, 1, 2))
    check_leave_one_out(model, mixed_data(), [0, 3, 50, 80])
    check_replicates(model.condition, mixed_data())
    check_permutation(model.condition, mixed_data())


@pytest.mark.parametrize("mean", [0.3, "constant", "cubic"])
@pytest.mark.parametrize("scale", [0.4, 0.15, 0.01])
@pytest.mark.parametrize("criterion", ["evidence", "loo"])
def test_the_criterion_and_its_gradient_are_those_of_dense(criterion, scale, mean):
    data = mixed_data(known=False) + sd.observe([3.0, 3.1, 9.0], [1.0, 1.2, 0.5], yerr=0.1)
    unknowns = Unknowns(sd.GaussianProcess(kernels.SquaredExponential(), mean=mean), data)
    point = np.log([1.3, scale, 0.1, 0.5, 5.0])
    dense, slope = DenseCriterion(unknowns, criterion).loss(point)
    loss, gradient = BandCriterion(unknowns, criterion).loss(point)
    if criterion == "loo" and scale == 0.01:  # slopes and curvatures of which others say nothing
        assert loss == np.inf
        return
    assert loss == pytest.approx(dense, rel=1e-11 if criterion == "evidence" else 1e-9)
    size = np.abs(slope).max()
    assert_allclose(gradient, slope, atol=(1e-9 if criterion == "evidence" else 1e-7) * size)


@pytest.mark.parametrize("mean", [0.3, "cubic"])
def test_many_rows_in_a_panel_are_reduced_and_change_nothing(mean):
    """Three groups crowd each panel: known noise, unknown noise, slopes."""
    data = mixed_data(known=False, n=(150, 120, 90)) + mixed_data(1, n=(90, 0, 0)).of(0)
    model = sd.GaussianProcess(kernels.SquaredExponential(0.3, 1.3), mean=mean)
    free = dataclasses.replace(model, kernel=kernels.SquaredExponential())
    unknowns, point = Unknowns(free, data), np.log([1.3, 0.3, 0.1, 0.5, 5.0])
    for criterion in ("evidence", "loo"):
        loss, gradient = BandCriterion(unknowns, criterion).loss(point)
        dense, slope = DenseCriterion(unknowns, criterion).loss(point)
        assert loss == pytest.approx(dense, rel=1e-11)
        assert_allclose(gradient, slope, atol=1e-9 * np.abs(slope).max())
    known = dataclasses.replace(model, noise={0: 0.1, 1: 0.5, 2: 5.0})
    posts = [dataclasses.replace(known, solver=s).condition(data) for s in ("dense", "band")]
    assert len(posts[1]._fit.reduced.rows) < 0.8 * len(data)
    for nu in range(4):
        mean_, std = (posts[0].mean(data.x, nu), posts[0].std(data.x, nu))
        assert_allclose(posts[1](data.x, nu), mean_, atol=1e-11 * np.abs(mean_).max())
        assert_allclose(posts[1].std(data.x, nu), std, atol=1e-10 * std.max())


def test_priors_and_given_numbers_are_tuned_too():
    data = mixed_data(known=False)
    for kernel in (
        kernels.SquaredExponential(kernels.LogNormal(0.2, 2.0)),
        kernels.SquaredExponential(kernels.AtLeast(0.2)),
        kernels.SquaredExponential(0.2),
        kernels.SquaredExponential(sigma=1.0),
        kernels.SquaredExponential((None,), 1.0),
    ):
        model = sd.GaussianProcess(kernel, noise={0: 0.1}, solver="band")
        check_gradient(model, data, "evidence")
        check_gradient(model, data, "loo")


@pytest.mark.parametrize("criterion", ["evidence", "loo"])
@pytest.mark.parametrize("mean", [0.0, "linear"])
def test_tuning_finds_the_optimum_of_dense(mean, criterion):
    data = mixed_data(known=False, n=(80, 40, 0))
    kernel = kernels.SquaredExponential()
    models = [
        tuned(sd.GaussianProcess(kernel, mean=mean, solver=s), data, criterion)
        for s in ("dense", "band")
    ]
    dense, band = models
    assert_allclose(band.tuning.loss, dense.tuning.loss, rtol=1e-10)
    assert_allclose(band.tuning.log_values, dense.tuning.log_values, atol=1e-7)
    assert np.abs(band.tuning.gradient).max() < 1e-6


@pytest.mark.parametrize(("a", "b"), [(1e-9, 0.0), (1e9, 0.0), (1.0, 1e3)])
def test_units_change_nothing_tuning_included(a, b):
    data = mixed_data(known=False)

    def fit(rows):
        model = sd.GaussianProcess(kernels.SquaredExponential(), mean="constant", solver="band")
        return tuned(model, rows).condition(rows)

    check_units(fit, data, a, c=1e5, b=b, rtol=1e-7 if b else 1e-8)


@pytest.mark.parametrize("noise", [1e-2, 1e-5, 1e-8])
def test_small_noise_costs_digits_by_its_root_alone(noise):
    """Against 60 digits: variances are sums of squares, so that they are right to their size."""
    mpmath.mp.dps = 60
    x = np.linspace(0, 1, 12)
    kernel = kernels.SquaredExponential(0.4, 1.0)
    data = sd.observe(x, np.sin(5 * x), yerr=noise)
    post = sd.GaussianProcess(kernel, solver="band").condition(data)
    ask = 0.37

    def covariance(r, q):
        u = r / mpmath.mpf(0.4)
        slope = (-1 / (mpmath.sqrt(2) * mpmath.mpf(0.4))) ** q
        return mpmath.hermite(q, u / mpmath.sqrt(2)) * slope * mpmath.exp(-u * u / 2)

    at = [mpmath.mpf(v) for v in x]
    K = mpmath.matrix([[covariance(s - t, 0) for t in at] for s in at])
    K += mpmath.mpf(noise) ** 2 * mpmath.eye(len(at))
    for nu in (0, 1):
        k = mpmath.matrix([covariance(mpmath.mpf(ask) - t, nu) for t in at])
        mean = float((k.T * mpmath.lu_solve(K, mpmath.matrix(data.y.tolist())))[0])
        prior = (-1) ** nu * covariance(mpmath.mpf(0), 2 * nu)
        variance = float(prior - (k.T * mpmath.lu_solve(K, k))[0])
        assert_allclose(post(ask, nu), mean, rtol=1e3 * EPS / noise)
        assert_allclose(post.var(ask, nu), variance, rtol=1e3 * EPS / noise)


def test_auto_chooses_it_where_it_can_and_pays():
    x = np.linspace(0, 1, 300)
    many, few = (sd.observe(t, np.sin(t), yerr=0.1) for t in (x, x[:20]))
    kernel = kernels.SquaredExponential(0.2, 1.0)

    def chosen(data, **given):
        model = dataclasses.replace(sd.GaussianProcess(kernel), **given)
        return isinstance(model.condition(data), BandPosterior)

    assert chosen(many)
    assert chosen(many, mean="constant")
    assert chosen(few, solver="band")
    assert not chosen(few)
    assert not chosen(many, solver="dense")
    assert not chosen(many, kernel=kernel + kernels.Constant(1.0))
    pin = sd.observe([0.5], [0.1], yerr=0.0)
    assert not chosen(many + pin)
    more = many + many + many + many
    assert chosen(more + pin, mean="constant")
    slopes = sd.observe(more.x, more.y, yerr=0.1, nu=1)
    assert not chosen(slopes + pin, mean="constant")  # which the pin alone determines
    crowd = sd.observe(x[:100], np.sin(x[:100]), yerr=0.0)
    assert not chosen(more + crowd)  # they follow from each other, but for a nugget


PINS = sd.observe([0.5, -0.7, 9.3, 2.2, 0.5], [1.0, 0.2, 0.4, 0.1, 30.0], 0, nu=[0, 0, 0, 1, 1])


@pytest.mark.parametrize("mean", [0.3, "constant", "cubic"])
@pytest.mark.parametrize("scale", [0.6, 0.15, 0.04])
def test_exact_rows_give_the_same_answer_as_dense(scale, mean):
    data = mixed_data() + PINS + PINS[:2]
    dense, band = both(scale, mixed_data() + PINS, mean)[0], both(scale, data, mean)[1]
    assert_allclose(band(PINS.x, PINS.nu), PINS.y, rtol=1e-9)
    assert_allclose(band.sample(PINS.x, PINS.nu, rng=0)[0], PINS.y, rtol=1e-6)
    x = np.r_[np.linspace(-1.5, 2.5, 40), 0.5, 2.2, 9.29, 30.0]
    for nu in range(4):
        expected, std = dense(x, nu), dense.std(x, nu)
        assert_allclose(band(x, nu), expected, atol=1e-10 * np.abs(expected).max())
        assert_allclose(band.std(x, nu) ** 2, std**2, atol=1e-12 * std.max() ** 2)
    cov = dense.cov(x, 1, x[:9], 0)
    assert_allclose(band.cov(x, 1, x[:9], 0), cov, atol=1e-11 * np.abs(cov).max())
    assert_allclose(band.integral(0.0, 1.5), dense.integral(0.0, 1.5), rtol=1e-10)
    assert band.log_evidence == pytest.approx(dense.log_evidence, rel=1e-11)
    leverage = band._leverage()
    assert_allclose(leverage[: len(dense.data)], dense._leverage(), atol=1e-9)
    assert (leverage[data.exact] == 1.0).all()


@pytest.mark.parametrize("mean", [0.3, "cubic"])
@pytest.mark.parametrize("criterion", ["evidence", "loo"])
def test_the_gradient_with_exact_rows_is_that_of_dense(criterion, mean):
    data = mixed_data(known=False) + PINS
    unknowns = Unknowns(sd.GaussianProcess(kernels.SquaredExponential(), mean=mean), data)
    point = np.log([1.3, 0.15, 0.1, 0.5, 5.0])
    dense, slope = DenseCriterion(unknowns, criterion).loss(point)
    found = BandCriterion(unknowns, criterion)
    loss, gradient = found.loss(point)
    assert loss == pytest.approx(dense, rel=1e-11)
    assert_allclose(gradient, slope, atol=1e-9 * np.abs(slope).max())
    assert found.value(point) == loss


@pytest.mark.parametrize("a", [1e-9, 1e9])
def test_units_change_nothing_with_exact_rows(a):
    def fit(rows):
        model = sd.GaussianProcess(kernels.SquaredExponential(), mean="constant", solver="band")
        return tuned(model, rows).condition(rows)

    check_units(fit, mixed_data(known=False) + PINS[:2], a, c=1e5, b=a)


def test_no_places_and_many():
    post = both(0.3, mixed_data(), "linear")[1]
    none = np.zeros(0)
    assert post(none).shape == post.std(none).shape == (0,)
    assert post.cov(none).shape == (0, 0)
    assert post.sample(none, size=3).shape == (3, 0)
    assert post.cov(none, 0, [0.1, 0.2], 0).shape == (0, 2)
    many = np.linspace(-1, 2, 20_011)
    for ask in (post.mean, post.std):
        assert_allclose(ask(many, 1)[-20:], ask(many[-20:], 1), rtol=1e-13)


def test_what_it_cannot_do_is_refused():
    kernel = kernels.SquaredExponential(1.0, 1.0)
    with pytest.raises(ValueError, match="solver: 'band' is for one SquaredExponential"):
        sd.GaussianProcess(kernels.Matern52(1.0, 1.0), solver="band")
    model = sd.GaussianProcess(kernel, solver="band")
    with pytest.raises(ValueError, match="1-D x, not 2"):
        model.condition(sd.observe([[0.0, 1.0]], [1.0], yerr=0.1))
    exact = sd.observe([0.0, 1.0], [1.0, 2.0], yerr=0.0)
    with pytest.raises(ValueError, match=r"2 of 2 rows are exact .* use solver='dense', 'auto'"):
        model.condition(exact)
    assert sd.GaussianProcess(kernel).condition(exact)(1.0) == pytest.approx(2.0, rel=1e-12)
    soft = sd.observe([0.0, 3.0], [1.0, 2.0], yerr=0.1)
    crowd = sd.observe(np.linspace(0, 1, 50), np.ones(50), yerr=0.0)
    with pytest.raises(ValueError, match=r"some of the 50 exact rows .* solver='dense'"):
        model.condition(soft + crowd)
    slopes = sd.observe([0.0, 3.0], [1.0, 2.0], yerr=0.1, nu=1)
    with pytest.raises(UndeterminedError, match=r"exact rows .* such as row 2, .* use solver"):
        dataclasses.replace(model, mean="constant").condition(slopes + exact)
    with pytest.raises(ValueError, match=r"row 3 is exact .* contradicts row 2"):
        model.condition(soft + sd.observe([1.0, 1.0], [1.0, 2.0], yerr=0.0))


def test_many_exact_rows_among_very_many_are_refused_by_name():
    x = np.linspace(0, 1, 8001)
    data = sd.observe(x, x, yerr=0.1) + sd.observe(x[:201], x[:201], yerr=0)
    with pytest.raises(ValueError, match=r"201 rows are exact .* row 8001, .* all 8202 rows"):
        sd.GaussianProcess(kernels.SquaredExponential(0.1, 1.0)).condition(data)


def test_leave_one_out_by_the_matrix_of_many_rows_is_refused_by_name():
    x = np.linspace(0, 1, 5001)
    kernel = kernels.RationalQuadratic()
    with pytest.raises(ValueError, match=r"'loo' of RationalQuadratic.* at most 5000 rows"):
        sd.tune(sd.GaussianProcess(kernel), sd.observe(x, x), "loo")


def test_leave_one_out_of_many_rows():
    x = np.sort(np.random.default_rng(1).uniform(0, 30, 6000))
    data = sd.observe(x, wave(x) + 0.2 * np.random.default_rng(2).standard_normal(6000))
    model = sd.tune(sd.GaussianProcess(kernels.SquaredExponential(sigma=1.0)), data, "loo")
    assert 0.195 < model.noise[0] < 0.205
    noise = model.tuning.gradient[1]
    assert noise**2 / (2 * 2 * len(data)) < 1e-3  # nats that are left, of a curvature of 2 n
    density = model.condition(data).loo().log_density.sum()
    assert density == pytest.approx(-model.tuning.loss, rel=1e-9)


def test_leave_one_out_of_many_rows_beside_exact_ones():
    x = np.sort(np.random.default_rng(1).uniform(0, 30, 6000))
    data = sd.observe(x, wave(x) + 0.2 * np.random.default_rng(2).standard_normal(6000), yerr=0.2)
    data = data + sd.observe(x[::600], wave(x[::600]), yerr=0.0)
    free = sd.GaussianProcess(kernels.SquaredExponential(sigma=1.0))
    model, criterion = sd.tune(free, data, "loo"), BandCriterion(Unknowns(free, data), "loo")
    for step in (-0.1, -0.01, 0.01, 0.1):
        moved = criterion.value(model.tuning.log_values + step)
        assert moved > model.tuning.loss - 1e-3  # nats, in which a search of many rows settles
    density = model.condition(data).loo().log_density[~data.exact].sum()
    assert density == pytest.approx(-model.tuning.loss, rel=1e-9)


def test_leave_one_out_of_sharp_rows_is_tuned_by_the_matrix():
    x = np.linspace(0, 60, 401)
    data = sd.observe(x, np.sin(x), yerr=1e-7)
    model = sd.GaussianProcess(kernels.SquaredExponential(sigma=1.0))
    unknowns = Unknowns(model, data)
    assert BandCriterion(unknowns, "loo").value(np.log([0.2])) == np.inf
    search = model.search(data, "loo")
    dense = DenseCriterion(unknowns, "loo").value(np.log([0.2]))
    assert search.value(np.log([0.2])) == pytest.approx(dense, rel=1e-12)


def test_long_series():
    x = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.5, 20_000))
    data = sd.observe(x, np.sin(x), yerr=0.1) + sd.observe(x[::4], np.cos(x[::4]), yerr=0.1, nu=1)
    post = sd.GaussianProcess(kernels.SquaredExponential(1.0, 1.0), mean="constant").condition(data)
    assert isinstance(post, BandPosterior)
    ask = np.linspace(0, x[-1], 501)
    answer = [post(ask, nu) for nu in (0, 1, 2)] + [post.std(ask, nu) for nu in (0, 1, 2)]
    assert np.isfinite(answer).all()
    assert_allclose(post(ask[1:-1], 1), np.cos(ask[1:-1]), atol=6 * post.std(ask[1:-1], 1).max())
    near = np.abs(data.x - ask[250]) < 30
    kernel = kernels.SquaredExponential(1.0, 1.0)
    local = sd.GaussianProcess(kernel, mean=float(post.beta[0]), solver="dense").condition(
        data[near]
    )
    for nu in (0, 1, 2):
        assert post(ask[250], nu) == pytest.approx(float(local(ask[250], nu)), abs=1e-9)
        assert post.std(ask[250], nu) == pytest.approx(float(local.std(ask[250], nu)), rel=1e-4)
    assert math.isfinite(post.log_evidence)


def test_tuning_of_many_rows():
    x = np.sort(np.random.default_rng(1).uniform(0, 5, 2000))
    data = sd.observe(x, wave(x) + 0.2 * np.random.default_rng(2).standard_normal(2000))
    model = sd.tune(sd.GaussianProcess(kernels.SquaredExponential()), data)
    assert 0.18 < model.noise[0] < 0.22
    assert np.abs(model.tuning.gradient).max() < 1e-4
    post = model.condition(data)
    ask = np.linspace(0.2, 4.8, 50)
    assert (np.abs(post(ask, 1) - wave(ask, 1)) < 5 * post.std(ask, 1)).all()


@pytest.mark.parametrize("mean", MEANS[:2], ids=str)
@pytest.mark.parametrize("scale", [0.6, 1e-3, 1e-5])
def test_rows_that_share_no_function_need_no_columns_for_the_value(scale, mean):
    model = sd.GaussianProcess(kernels.SquaredExponential(), mean=mean)
    criterion = BandCriterion(Unknowns(model, with_gaps()))
    point = np.log([1.3, scale])
    assert criterion.value(point) == pytest.approx(criterion.loss(point)[0], rel=1e-13)


@pytest.mark.parametrize("mean", MEANS[:3], ids=str)
def test_a_rough_criterion_is_near_the_exact_one(mean):
    """An error of K of 1e-5 of the noise changes log|K + R| by n times that at most."""
    x = np.sort(np.random.default_rng(1).uniform(0, 5, 300))
    y = wave(x) + 0.2 * np.random.default_rng(2).standard_normal(300)
    data = sd.observe(x, y) + sd.observe(x[::5], wave(x[::5], 1), yerr=0.5, nu=1)
    model = sd.GaussianProcess(kernels.SquaredExponential(), mean=mean)
    unknowns = Unknowns(model, data)
    exact, rough = BandCriterion(unknowns), BandCriterion(unknowns, rough=True)
    most, sensible = 0.5e-5 * len(data), 0
    for point in unknowns.starts().reshape(-1, 3):
        loss, slope = exact.loss(point)
        near, gradient = rough.loss(point)
        assert rough.value(point) == pytest.approx(near, rel=1e-11)
        assert near != loss
        if loss < len(data):
            sensible += 1
            assert abs(near - loss) < most
            assert_allclose(gradient, slope, atol=50 * most)
    assert sensible > 3


def test_leave_one_out_that_is_lost_in_rounding_is_told():
    x = np.linspace(0, 600, 1200)
    data = sd.observe(x, np.sin(x), yerr=1e-6)
    model = sd.GaussianProcess(kernels.SquaredExponential(), solver="band")
    with pytest.warns(sd.TuningWarning, match="loo did not converge"):
        sd.tune(model, data, "loo")
