"""The smoothing spline: against many digits, other programs, limits, and its own laws."""

import warnings

import contracts
import numpy as np
import pytest
from naive_statespace import DenseSpline
from numpy.testing import assert_allclose
from scipy.interpolate import CubicHermiteSpline, CubicSpline, make_smoothing_spline

import smoothderiv as sd
from smoothderiv.integrations.filterpy import to_filterpy, transition
from smoothderiv.model import UndeterminedError
from smoothderiv.statespace.backward import errors_of
from smoothderiv.statespace.criteria import Criterion
from smoothderiv.statespace.kept import states_of
from smoothderiv.statespace.markov import MarkovRows
from smoothderiv.statespace.priors import IntegratedWiener, Matern
from smoothderiv.statespace.states import covariances, diagonal

TINY = 1e-200


def mixed_data(rng, n=30, noise=True):
    x = np.sort(rng.uniform(0, 1, n))
    values = sd.observe(x, np.sin(6 * x) + 0.1 * rng.normal(size=n), yerr=None if noise else 0.1)
    xs = rng.uniform(0, 1, n // 2)
    slopes = 6 * np.cos(6 * xs) + 0.4 * rng.normal(size=n // 2)
    return values + sd.observe(xs, slopes, yerr=None if noise else 0.4, nu=1)


def hard_rows(kind, order, span, rng, n=12):
    """Rows with random orders, ties, steps of ratio 1e8, or exact values or rows among them."""
    x = rng.uniform(0, 1, n)
    if kind == "steps":
        x = np.cumsum(10.0 ** rng.uniform(-8, 0, n))
    x = (x - x.min()) / np.ptp(x) * span
    nu = np.zeros(n, dtype=int)
    nu[1::2] = rng.integers(0, order, len(nu[1::2]))
    if kind == "ties":
        x[4] = x[3] = x[2]
    yerr = rng.uniform(0.05, 0.5, n)
    if kind == "exact values":
        yerr[::4], nu[:] = 0.0, 0
    if kind == "exact rows":
        yerr[1::3] = 0.0
    q = 10.0 ** rng.uniform(-1, 4) / span ** (2 * order - 1)
    return q, x, rng.normal(size=n) / span**nu, yerr / span**nu, nu


HARD = [
    ("ties", 1e6),
    ("ties", 1e-6),
    ("exact values", 1.0),
    ("exact rows", 1e-6),
    ("steps", 1.0),
    ("steps", 1e6),
]


@pytest.mark.parametrize("order", range(1, 7))
@pytest.mark.parametrize(("kind", "span"), HARD)
def test_many_digits(order, kind, span):
    """States between and at the rows, covariances, P y, diag P, the likelihood, by 120 digits."""
    q, x, y, yerr, nu = hard_rows(kind, order, span, np.random.default_rng(order))
    post = sd.SmoothingSpline(order, q).condition(sd.observe(x, y, yerr, nu))
    exact = DenseSpline(order, q, x, y, yerr, nu)
    ask = np.concatenate((np.unique(x)[::2], np.sort(x)[:-1:3] + 0.01 * span, [1.1 * span]))
    places, orders = np.repeat(ask, order), np.tile(np.arange(order), len(ask))
    mean, std = exact.mean(places, orders), exact.std(places, orders)
    rtol = 1e-12 if order <= 4 else 1e-8
    size = np.array([np.abs(mean[orders == k]).max() for k in range(order)])[orders]
    assert (np.abs(post(places, orders) - mean) <= rtol * (size + std)).all()
    known = std < 1e-25 / span**orders
    assert_allclose(post.std(places, orders)[~known], std[~known], rtol=rtol)
    assert (post.std(places, orders)[known] <= 1e-16 / span ** orders[known]).all()
    pull, precision = exact.errors()
    found = errors_of(post.rows)[1]
    assert_allclose(found.pull, pull, rtol=1e-11)
    assert_allclose(found.diagonal, precision, rtol=1e-12)
    if (yerr > 0).all():
        assert_allclose(post.log_evidence, exact.log_evidence(), rtol=1e-11)


def test_covariance_between_places_and_orders():
    q, x, y, yerr, nu = hard_rows("ties", 3, 1.0, np.random.default_rng(0))
    post = sd.SmoothingSpline(3, q).condition(sd.observe(x, y, yerr, nu))
    ask = np.array([0.0, x[3], 0.31, 0.32, 0.9, 1.2, 0.31])
    orders = np.array([0, 1, 0, 2, 1, 0, 1])
    exact = DenseSpline(3, q, x, y, yerr, nu).cov(ask, orders)
    scale = np.sqrt(np.diag(exact))
    assert_allclose(
        post.cov(ask, orders) / scale / scale[:, None], exact / scale / scale[:, None], atol=1e-11
    )


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_contract(order):
    rng = np.random.default_rng(order)
    data = mixed_data(rng, noise=False) if order > 1 else mixed_data(rng, noise=False).of(0)
    contracts.check_posterior(sd.SmoothingSpline(order, q=20.0).condition(data), range(order))


def test_leave_one_out_rows_and_replicates():
    data = mixed_data(np.random.default_rng(2), 15, noise=False)
    model = sd.SmoothingSpline(3, q=500.0)
    contracts.check_leave_one_out(model, data, range(0, 22, 3))
    contracts.check_permutation(model.condition, data, orders=(0, 1, 2))
    contracts.check_replicates(model.condition, data, orders=(0, 1, 2))


@pytest.mark.parametrize("a", [1e-9, 1e9])
def test_units_with_tuning(a):
    data = mixed_data(np.random.default_rng(3))

    def fit(rows):
        return sd.tune(sd.SmoothingSpline(3), rows).condition(rows)

    contracts.check_units(fit, data, a, c=3e4, b=0.3 * a, orders=(0, 1, 2))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_polynomials(degree):
    model = sd.SmoothingSpline(degree + 1, q=3.0)
    contracts.check_polynomials(model.condition, degree)
    contracts.check_polynomials(sd.SmoothingSpline(degree + 1, q=0.0).condition, degree)


def test_scipy_smoothing_spline_at_the_same_lam():
    rng = np.random.default_rng(4)
    x = np.sort(rng.uniform(0, 3, 50))
    y, yerr = np.sin(4 * x) + 0.1 * rng.normal(size=50), rng.uniform(0.05, 0.2, 50)
    theirs = make_smoothing_spline(x, y, w=1 / yerr**2, lam=1 / 7.0)
    post = sd.SmoothingSpline(2, q=7.0).condition(sd.observe(x, y, yerr))
    ask = np.linspace(x[0], x[-1], 333)
    assert_allclose(post(ask), theirs(ask), atol=1e-9)
    assert_allclose(post(ask, nu=1), theirs(ask, nu=1), atol=1e-8)
    pieces = post.to_ppoly()
    assert_allclose(pieces(ask), post(ask), atol=1e-12)
    assert_allclose(pieces(ask, nu=3), theirs(ask, nu=3), rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_of_noise_next_to_nothing_rows_left_out_are_as_of_none(order):
    x, y = np.linspace(0, 1, 12), np.cos(7 * np.arange(12.0))
    model = sd.SmoothingSpline(order, q=1.0)
    tiny, exact = (model.condition(sd.observe(x, y, yerr)) for yerr in (1e-13, 0.0))
    assert_allclose(tiny.loo().log_density, exact.log_predictive(), rtol=1e-9)
    assert_allclose(tiny.log_predictive(), exact.log_predictive(), rtol=1e-9)


@pytest.mark.parametrize("order", [3, 12])
@pytest.mark.parametrize("gap", [1e-20, 1e-30, 1e-310])
def test_rows_hardly_apart_are_as_rows_at_one_place(order, gap):
    """Powers of the gap are no numbers any more, the curve is."""
    x = np.append([0.0, gap], np.linspace(0.05, 1.0, 30))
    y, ask = np.sin(5 * x) + 0.01 * np.cos(70 * np.arange(32)), np.array([0, gap / 2, gap, 0.3])
    model = sd.SmoothingSpline(order, q=100.0, noise={0: 0.01})
    apart, one = (model.condition(sd.observe(np.append([0.0, g], x[2:]), y)) for g in (gap, 0.0))
    for nu in range(0, order, 2):
        scale = np.abs(one(ask, nu)).max()
        assert_allclose(apart(ask, nu), one(ask, nu), atol=1e-9 * scale, rtol=0)
        assert_allclose(apart.to_ppoly()(ask[[0, 3]], nu), one(ask[[0, 3]], nu), atol=1e-9 * scale)


def test_no_noise_interpolates():
    x = np.array([0.0, 0.4, 1.0, 1.1, 2.0])
    y, slope = np.sin(x), np.cos(x)
    ask = np.linspace(0, 2, 41)
    values = sd.observe(x, y, yerr=0.0)
    post = sd.SmoothingSpline(2, q=1.0).condition(values)
    assert_allclose(post(ask), CubicSpline(x, y, bc_type="natural")(ask), atol=1e-12)
    both = sd.SmoothingSpline(2, q=1.0).condition(values + sd.observe(x, slope, yerr=0.0, nu=1))
    assert_allclose(both(ask), CubicHermiteSpline(x, y, slope)(ask), atol=1e-12)
    assert_allclose(both.std(x, nu=1), 0.0)
    assert_allclose(both.leverage(), 1.0)


def test_filterpy_goes_on_from_here():
    data = mixed_data(np.random.default_rng(5), noise=False)
    model = sd.SmoothingSpline(3, q=300.0)
    problem = to_filterpy(model, data)
    means, covs, _, _ = problem.kf.batch_filter(
        problem.zs, Fs=problem.Fs, Qs=problem.Qs, Hs=problem.Hs, Rs=problem.Rs
    )
    smoothed, smoothed_covs, _, _ = problem.kf.rts_smoother(
        means, covs, Fs=problem.Fs, Qs=problem.Qs
    )
    post = model.condition(data)
    orders = np.arange(3)
    for i in range(0, len(problem.x), 5):
        ask = np.full(3, problem.x[i])
        std = np.sqrt(np.diag(smoothed_covs[i]))
        assert (np.abs(post(ask, orders) - smoothed[i][:, 0]) <= 1e-10 * std).all()
        # filterpy subtracts large covariances at its first row: 2e-10 from 60 digits, ours 4e-16
        assert_allclose(post.std(ask, orders), std, rtol=1e-8 if i == 0 else 1e-10)
    exact = DenseSpline(3, 300.0, data.x, data.y, data.yerr, data.nu, digits=60)
    first = np.full(3, problem.x[0])
    assert_allclose(post.std(first, orders), exact.std(first, orders), rtol=1e-13)


def test_matern_is_the_dense_process():
    """Any proper prior in the same loops: means, variances and likelihood of a Matern process."""
    rng = np.random.default_rng(6)
    for degree in (0, 2, 3):
        prior = Matern(degree, scale=0.7, sigma=1.3)
        x = np.sort(rng.uniform(0, 4, 12))
        nu = rng.integers(0, degree + 1, 12)
        y, noise = rng.normal(size=12), rng.uniform(0.1, 0.3, 12)
        rows = MarkovRows.of(prior, x, y, noise, nu)
        ask = np.array([-0.5, 0.3, x[4], 2.2, 3.999, 5.0])
        K = matern_cov(prior, x, nu, x, nu)
        cross = matern_cov(prior, ask, np.zeros(6, int), x, nu)
        total = K + np.diag(noise**2)
        mean, factor = states_of(rows).at(ask)
        assert_allclose(mean[:, 0] * prior.sigma, cross @ np.linalg.solve(total, y), atol=1e-11)
        var = 1.3**2 - np.einsum("ij,ji->i", cross, np.linalg.solve(total, cross.T))
        got = diagonal(factor, np.zeros(6, int)) * prior.sigma**2
        assert_allclose(got, var, rtol=1e-9, atol=1e-12)
        found, errors = errors_of(rows)
        log_p = found.chi + found.logs
        assert_allclose(log_p, y @ np.linalg.solve(total, y) + np.linalg.slogdet(total)[1])
        assert_allclose(errors.diagonal, np.diag(np.linalg.inv(total)), rtol=1e-10)
        chain = states_of(rows).chain(np.sort(ask))
        found = (chain.whole * chain.weight[:, None, :]) @ np.swapaxes(chain.whole, 1, 2)
        assert_allclose(found, covariances(states_of(rows).at(np.sort(ask))[1]), atol=1e-13)


@pytest.mark.parametrize("gap", [1e-6, 3.0, 20.0, 300.0])
def test_matern_across_any_gap(gap):
    """The state is a Markov chain of a proper prior: dense algebra on it, well conditioned."""
    rng = np.random.default_rng(15)
    prior = Matern(3, scale=np.sqrt(7.0), sigma=1.0)  # rate 1
    x = np.array([0.0, 0.5, 1.0, 1.0 + gap, 1.7 + gap, 1.7 + 2 * gap])
    nu = np.array([0, 1, 3, 0, 2, 1])
    y, noise = rng.normal(size=6), np.array([0.3, 0.2, 0.5, 1e-3, 0.1, 0.2])
    states = states_of(MarkovRows.of(prior, x, y, noise, nu))
    ask = np.array([0.0, 1.0, 1.0 + 0.4 * gap, 1.0 + gap, 1.7 + 1.5 * gap])
    mean, factor = states.at(ask)
    total = matern_cov(prior, x, nu, x, nu) + np.diag(noise**2)
    for k in range(4):
        cross = matern_cov(prior, ask, np.full(5, k), x, nu)
        assert_allclose(mean[:, k], cross @ np.linalg.solve(total, y), atol=1e-11)
        var = prior.stationary()[k, k] - np.einsum(
            "ij,ji->i", cross, np.linalg.solve(total, cross.T)
        )
        assert_allclose(diagonal(factor, np.full(5, k)), var, rtol=1e-10, atol=1e-14)


def matern_cov(prior, x, nu, x2, nu2):
    """Covariances of derivatives, by the state: Cov(z(s), z(t)) = P A(t - s)' for s < t."""
    P, unit = prior.stationary(), prior.units
    out = np.empty((len(x), len(x2)))
    for i in range(len(x)):
        for j in range(len(x2)):
            A = prior.steps(np.array([abs(x2[j] - x[i])])).transition[0]
            cov = P @ A.T if x[i] <= x2[j] else A @ P
            out[i, j] = cov[nu[i], nu2[j]] * unit[nu[i]] * unit[nu2[j]]
    return out


def test_matern_steps_keep_the_process_stationary():
    for degree in range(5):
        prior = Matern(degree, 1.0)
        steps = prior.steps(np.array([1e-7, 1e-3, 0.2, 1.0, 5.0, 30.0]))
        P = prior.stationary()
        for A, root in zip(steps.transition, steps.root, strict=True):
            assert_allclose(A @ P @ A.T + root @ root.T, P, atol=1e-13)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_matern_noise_of_a_step_is_that_of_two_halves(degree):
    """``Q(2 h) = A(h) Q(h) A(h)' + Q(h)``, entry by entry, wherever another rule takes over."""
    prior = Matern(degree, scale=np.sqrt(max(2 * degree + 1, 1)))  # rate 1
    h = np.array([1e-7, 1.9e-5, 1e-5, 9e-4, 5e-4, 1.9e-2, 1e-2, 0.2, 1.0, 3.0])
    half, whole = prior.steps(h), prior.steps(2 * h)
    Q = half.root @ half.root.transpose(0, 2, 1)
    both = half.transition @ Q @ half.transition.transpose(0, 2, 1) + Q
    assert_allclose(whole.root @ whole.root.transpose(0, 2, 1), both, rtol=1e-13, atol=1e-15)
    tiny = h < 1e-2
    assert_allclose((whole.root @ whole.root.transpose(0, 2, 1))[tiny], both[tiny], rtol=1e-13)


def test_wiener_noise_is_the_textbook_one():
    """Q_ij = q h^(2d-1-i-j) / ((2d-1-i-j) (d-1-i)! (d-1-j)!)."""
    from math import factorial

    for d in range(1, 8):
        Q = IntegratedWiener(d, 2.5).covariance(0.3)
        for i in range(d):
            for j in range(d):
                power = 2 * d - 1 - i - j
                want = 2.5 * 0.3**power / (power * factorial(d - 1 - i) * factorial(d - 1 - j))
                assert_allclose(Q[i, j], want, rtol=1e-13)
    assert_allclose(transition(3, 2.0), [[1, 2, 2], [0, 1, 2], [0, 0, 1]])


@pytest.mark.parametrize(
    ("kind", "rows", "q"),
    [
        *((kind, rows, None) for kind in ("evidence", "loo") for rows in ("two", "some", "known")),
        *(("gcv", rows, q) for rows, q in (("known", None), ("one", None), ("one", 3e3))),
    ],
)
def test_gradients_are_exact(kind, rows, q):
    """With two unknown levels, one beside known noise and an exact row, one alone, or none."""
    rng = np.random.default_rng(7)
    data = mixed_data(rng, noise=rows in ("two", "one"))
    if rows == "some":
        data = data.of(0) + mixed_data(rng).of(1) + sd.observe([0.2], [1.0], yerr=0.0)
    criterion = Criterion(sd.SmoothingSpline(3, q), data.of(0) if rows == "one" else data, kind)
    point = np.array([7.0, -0.5] if q is None else [-0.5])[: len(criterion.names)]
    gradient = criterion.loss(point)[1]
    for j, step in enumerate(np.eye(len(point)) * 1e-4):
        difference = criterion.loss(point + step)[0] - criterion.loss(point - step)[0]
        assert_allclose(gradient[j], difference / 2e-4, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("order", [2, 3, 4, 6])
def test_leverages_of_many_rows(order):
    """With q = 0 they are those of a polynomial by orthogonal columns."""
    x = np.linspace(0, 1, 2000)
    data = sd.observe(x, np.sin(6 * x), yerr=0.1)
    post = sd.SmoothingSpline(order, q=0.0).condition(data)
    columns = np.linalg.qr(np.polynomial.legendre.legvander(2 * x - 1, order - 1))[0]
    hat = (columns**2).sum(axis=1)
    assert_allclose(post.leverage(), hat, rtol=1e-10)
    assert_allclose(post.edf, order, rtol=1e-11)
    left = data.y - columns @ (columns.T @ data.y)
    assert_allclose(post.residuals(), left, atol=1e-11)


@pytest.mark.parametrize("order", range(1, 7))
def test_every_row_is_prior_or_noise(order):
    """``tr P (K + R) = n - m``, ``y'P (K + R) P y = y'P y``, with a crowd of rows at the start."""
    rng = np.random.default_rng(order)
    x = np.concatenate((np.linspace(0, 1e-3, 1000), np.sort(rng.uniform(0, 1, 4000))))
    nu = np.where(rng.uniform(size=5000) < 0.3, rng.integers(0, order, 5000), 0)
    yerr = 0.1 * 10.0**nu
    data = sd.observe(
        x, np.sin(6 * x + nu * np.pi / 2) * 6.0**nu + yerr * rng.normal(size=5000), yerr, nu
    )
    rows = sd.SmoothingSpline(order, 1e3).rows(data)
    likelihood, errors = errors_of(rows)
    left = float(yerr**2 @ errors.diagonal)
    assert_allclose(left + errors.excess, 5000 - order, rtol=1e-12)
    assert_allclose(yerr**2 @ errors.pull**2 + errors.penalty, likelihood.chi, rtol=1e-11)
    assert (errors.diagonal > 0).all()
    assert (yerr**2 * errors.diagonal < 1 + 1e-14).all()


@pytest.mark.parametrize("kind", ["evidence", "gcv", "loo"])
def test_gradients_are_exact_with_many_rows(kind):
    data = mixed_data(np.random.default_rng(13), n=400)
    criterion = Criterion(sd.SmoothingSpline(4), data.of(0) if kind == "gcv" else data, kind)
    for both in ([2.0, -0.5], [15.0, 0.5]):
        point = np.array(both)[: len(criterion.names)]
        gradient = criterion.loss(point)[1]
        for j, step in enumerate(np.eye(len(point)) * 1e-3):
            difference = criterion.loss(point + step)[0] - criterion.loss(point - step)[0]
            assert_allclose(gradient[j], difference / 2e-3, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", ["gcv", "loo"])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_gradients_are_exact_where_noise_is_invisible(kind, order):
    x = np.linspace(0, 1, 60)
    values = sd.observe(x, np.sin(6 * x))
    slopes = sd.observe(x, 6 * np.cos(6 * x) + 0.1 * (-1.0) ** np.arange(60), nu=1)
    both = [(values + slopes, [9.0, 16.0])] if kind == "loo" else []
    for data, point in ((values, [9.0 * order]), *both):
        criterion = Criterion(sd.SmoothingSpline(order), data, kind)
        gradient = criterion.loss(np.array(point))[1]
        for j, step in enumerate(np.eye(len(point))):
            up, down = criterion.loss(point + 0.1 * step), criterion.loss(point - 0.1 * step)
            assert_allclose(gradient[j], (up[0] - down[0]) / 0.2, rtol=1e-2, atol=1e-4)


@pytest.mark.parametrize("kind", ["evidence", "gcv", "loo"])
def test_no_fine_grid_beats_the_optimum(kind):
    rng = np.random.default_rng(8)
    x = np.sort(rng.uniform(0, 1, 60))
    wiggle = np.sin(6 * x) + 0.3 * np.sin(90 * x) * (x > 0.6)
    for noise in (0.02, 0.3):
        data = sd.observe(x, wiggle + noise * rng.normal(size=60))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", sd.TuningWarning)
            best = sd.tune(sd.SmoothingSpline(2), data, kind).tuning
        criterion = Criterion(sd.SmoothingSpline(2), data, kind)
        grid = [criterion.loss(np.array([v]))[0] for v in np.arange(-25, 40, 0.1)]
        assert best.loss <= min(grid) + 1e-6
        assert len(best.curve[0]) > 20


def test_tuning_many_rows_finds_what_all_rows_say():
    rng = np.random.default_rng(9)
    x = np.sort(rng.uniform(0, 1, 6000))
    data = sd.observe(x, np.sin(12 * x) + 0.1 * rng.normal(size=6000))
    best = sd.tune(sd.SmoothingSpline(2), data).tuning
    criterion = Criterion(sd.SmoothingSpline(2), data, "evidence")
    assert best.loss <= min(criterion.loss(np.array([v]))[0] for v in np.arange(0, 30, 1.0)) + 1e-6
    assert np.abs(best.gradient).max() < 1e-4


def test_tuning_many_rows_asks_all_of_them_rarely(monkeypatch):
    rng = np.random.default_rng(12)
    x = np.sort(rng.uniform(0, 1, 50000))
    data = sd.observe(x, np.sin(12 * x) + 0.1 * rng.normal(size=len(x)))
    asked, loss = [], Criterion.loss

    def counted(self, point):
        asked.append(len(self.data))
        return loss(self, point)

    monkeypatch.setattr(Criterion, "loss", counted)
    sd.tune(sd.SmoothingSpline(2), data)
    assert asked.count(len(data)) <= 10


@pytest.mark.parametrize("kind", ["evidence", "loo"])
@pytest.mark.parametrize("noises", [(0.05, 0.5), (0.0, 0.3), (0.1, 0.0)])
def test_no_fine_grid_beats_two_levels(kind, noises):
    """Values and slopes, each of unknown noise, which may be none."""
    rng, model = np.random.default_rng(16), sd.SmoothingSpline(2)
    x = np.sort(rng.uniform(0, 1, 40))
    truth = sd.observe(x[::2], np.sin(6 * x[::2])) + sd.observe(x, 6 * np.cos(6 * x), nu=1)
    noise = np.array(noises)[truth.nu] * rng.normal(size=60)
    data = sd.observe(truth.x, truth.y + noise, nu=truth.nu)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always", sd.TuningWarning)
        best, criterion = sd.tune(model, data, kind), Criterion(model, data, kind)
    assert not any("did not converge" in str(one.message) for one in seen)
    grid = [[a, b] for a in np.arange(-10, 45, 2.5) for b in np.arange(-12, 12, 1.0)]
    least = min(criterion.loss(np.array(point))[0] for point in grid)
    assert best.tuning.loss <= least + 1e-6
    for order, level in enumerate(noises):
        if level == 0.0:
            assert best.noise[order] < 0.01 * np.abs(truth.of(order).y).max()


@pytest.mark.parametrize("kind", ["evidence", "gcv", "loo"])
def test_tuning_beside_exact_rows_that_no_polynomial_meets(kind):
    x, pins = np.linspace(0, 1, 50), np.array([0.0, 0.3, 0.6, 1.0])
    rng = np.random.default_rng(11)
    data = sd.observe(x, np.sin(6 * x) + 0.1 * rng.normal(size=50))
    data = data + sd.observe(pins, np.sin(6 * pins), yerr=0.0)
    post = sd.tune(sd.SmoothingSpline(2), data, kind).condition(data)
    assert_allclose(post(pins), np.sin(6 * pins), atol=1e-14)
    assert 0.05 < post.noise[0] < 0.2


@pytest.mark.parametrize("kind", ["evidence", "gcv", "loo"])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_an_exact_polynomial_is_the_plain_truth(kind, degree):
    x = np.sort(np.random.default_rng(17).uniform(-1, 1, 25))
    y = np.polyval([3.0, -1.0, 0.3][: degree + 1], x)
    for order in (degree + 1, degree + 2):
        for data in (sd.observe(x, y), sd.observe(x, y + 1e6), sd.observe(x, 0.0 * y)):
            with pytest.warns(sd.TuningWarning, match="a straight line|a polynomial"):
                model = sd.tune(sd.SmoothingSpline(order), data, kind)
            assert model.q == 0.0
            size = np.abs(data.y).max()
            assert model.noise[0] <= 1e-14 * size + 1e-99
            post = model.condition(data)
            assert_allclose(post(x), data.y, rtol=0, atol=1e-14 * size)
            assert_allclose(post.edf, order, rtol=1e-9)


@pytest.mark.parametrize("kind", ["evidence", "gcv", "loo"])
@pytest.mark.parametrize(("order", "n"), [(2, 60), (3, 60), (3, 200), (4, 100)])
def test_smooth_rows_without_noise_are_interpolated(kind, order, n):
    x = np.linspace(0, 1, n)
    data = sd.observe(x, np.sin(6 * x))
    with pytest.warns(sd.TuningWarning) as seen:
        model = sd.tune(sd.SmoothingSpline(order), data, kind)
    assert len(seen) == 1
    assert "an interpolant" in str(seen[0].message)
    assert model.noise == {0: 0.0}
    assert_allclose(model.condition(data)(x), data.y, atol=1e-15)


def test_edges_are_exact_and_reported():
    x = np.linspace(0, 1, 30)
    line = sd.observe(x, 2 * x + 1 + 0.1 * (-1.0) ** np.arange(30))
    with pytest.warns(sd.TuningWarning, match="a straight line"):
        model = sd.tune(sd.SmoothingSpline(2), line)
    assert model.q == 0.0
    post = model.condition(line)
    assert_allclose(post(x), np.polyval(np.polyfit(x, line.y, 1), x), atol=1e-12)
    assert_allclose(post.edf, 2.0)
    assert_allclose(post.noise[0] ** 2, ((line.y - post(x)) ** 2).sum() / 28)
    rng = np.random.default_rng(10)
    walk = sd.observe(x, np.cumsum(rng.normal(size=30)))
    with pytest.warns(sd.TuningWarning, match="an interpolant"):
        model = sd.tune(sd.SmoothingSpline(1), walk)
    assert model.noise == {0: 0.0}
    assert_allclose(model.condition(walk)(x), walk.y, rtol=1e-13)


def test_what_is_free_is_named():
    model, x = sd.SmoothingSpline(3, q=1.0), np.array([0.0, 1.0, 2.0])
    # x^2 - 1 has value 0 at -1 and 1, and slope 0 at 0
    birkhoff = sd.observe([-1.0, 0.0, 1.0], np.zeros(3), yerr=0.1, nu=[0, 1, 0])
    with pytest.raises(UndeterminedError, match=r"a constant.*add a value"):
        model.condition(sd.observe(x, x, yerr=0.1, nu=1))
    with pytest.raises(UndeterminedError, match=r"polynomial - 1 \+ 1 u\^2"):
        model.condition(birkhoff)
    with pytest.raises(UndeterminedError, match="2 polynomials"):
        model.condition(sd.observe([0.0, 0.0], [1.0, 2.0], yerr=0.1))
    with pytest.raises(UndeterminedError, match="nothing to estimate"):
        sd.tune(sd.SmoothingSpline(2), sd.observe([0.0, 1.0], [0.0, 1.0]))
    later = sd.observe(x, x, yerr=0.1, nu=1) + sd.observe([5.0], [1.0], yerr=0.1)
    assert_allclose(model.condition(later)(5.0), 1.0, atol=1e-9)


def test_refusals_name_the_remedy():
    data = sd.observe([0.0, 1.0, 2.0], [0.0, 1.0, 0.0], yerr=0.1)
    with pytest.raises(ValueError, match=r"SmoothingSpline\(order=3\)"):
        sd.SmoothingSpline(2, q=1.0).condition(data + sd.observe([0.0], [0.0], yerr=1.0, nu=2))
    with pytest.raises(ValueError, match="contradicts"):
        sd.SmoothingSpline(2, q=1.0).condition(data + sd.observe([1.0, 1.0], [0.0, 1.0], yerr=0.0))
    with pytest.raises(ValueError, match="tune"):
        sd.SmoothingSpline(2).condition(data)
    with pytest.raises(ValueError, match="order"):
        sd.SmoothingSpline(0)
    with pytest.raises(ValueError, match="q"):
        sd.SmoothingSpline(2, q=-1.0)
    with pytest.raises(ValueError, match="one variable"):
        sd.SmoothingSpline(2, q=1.0).condition(sd.observe(np.zeros((3, 2)), np.zeros(3), 0.1))


def test_dof_counts_the_rows_whose_level_was_estimated():
    data = mixed_data(np.random.default_rng(11)).of(0)
    post = sd.tune(sd.SmoothingSpline(3), data).condition(data)
    assert_allclose(post.dof, len(data) - post.edf)
    known = mixed_data(np.random.default_rng(11), noise=False)
    assert sd.SmoothingSpline(3, q=1.0).condition(known).dof == np.inf


def test_statsmodels_likelihood_up_to_the_documented_constant():
    """A local linear trend on a grid is order 2 with its integrated noise given."""
    from statsmodels.tsa.statespace.mlemodel import MLEModel

    rng = np.random.default_rng(12)
    y = np.cumsum(np.cumsum(rng.normal(size=40))) + rng.normal(size=40)
    model = MLEModel(y, k_states=2, k_posdef=2, initialization="diffuse", loglikelihood_burn=0)
    model["design"] = [[1.0, 0.0]]
    model["transition"] = [[1.0, 1.0], [0.0, 1.0]]
    model["selection"] = np.eye(2)
    model["obs_cov"] = [[1.0]]
    model["state_cov"] = 0.5 * np.array([[1 / 3, 1 / 2], [1 / 2, 1.0]])
    post = sd.SmoothingSpline(2, q=0.5).condition(sd.observe(np.arange(40.0), y, yerr=1.0))
    u = np.arange(40.0)
    X = np.stack((np.ones(40), u), axis=1)
    harville = 0.5 * np.linalg.slogdet(X.T @ X)[1]
    diffuse = model.ssm.loglike() + 0.5 * 2 * np.log(2 * np.pi)
    assert_allclose(post.log_evidence, diffuse + harville, rtol=1e-8)
