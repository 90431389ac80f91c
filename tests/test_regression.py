"""RegressionSpline: golden and certified cases, dense references, exact rows, laws, refusals."""

from fractions import Fraction
from pathlib import Path

import contracts
import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.interpolate import BPoly, CubicHermiteSpline, make_smoothing_spline

import smoothderiv as sd
from conftest import mixed_data, wave
from smoothderiv.splines import BSplineBasis

DATA = Path(__file__).parent / "data"


def uniform(count, k, a=0.0, b=1.0):
    return BSplineBasis.clamped(np.linspace(a, b, count + 2)[1:-1], a, b, k)


MODELS = {
    "plain": sd.RegressionSpline(uniform(12, 5)),
    "penalised": sd.RegressionSpline(uniform(30, 5), lam=1e-6, order=3),
    "rough": sd.RegressionSpline(uniform(40, 3), lam=1e-5, order=2),
    "polynomial": sd.RegressionSpline(uniform(5, 3), lam=np.inf, order=3),
}


def test_golden_position_speed_acceleration():
    """Coefficients from R's splines::splineDesign; the table is in the data folder."""
    table = np.genfromtxt(DATA / "position_speed_acceleration.csv", delimiter=",", names=True)
    order = table["ord"].astype(int)
    data = sd.observe(table["x"], table["y"], table["sd"], order)
    post = sd.RegressionSpline(BSplineBasis.clamped([3, 6], 0, 9, 3)).condition(data)
    golden = [2.38868343559, 2.77917907684, 2.06604895211]
    golden += [-8.56947052202, -21.85566626850, -29.98024939044]
    assert_allclose(post.coef, golden, rtol=1e-8)
    assert_allclose(((post.residuals() / table["sd"]) ** 2).sum(), 8.357422, rtol=1e-7)
    assert_allclose(
        post(4.5, nu=[0, 1, 2]), [-3.6446190856, -3.5338377355, -1.0477554685], rtol=1e-8
    )
    assert_allclose(
        post(9.0, nu=[0, 1, 2]), [-29.9802493904, -8.1245831219, -0.9876568325], rtol=1e-8
    )


def test_certified_polynomial_of_degree_ten_keeps_its_digits():
    """NIST StRD Filip (82 points, degree 10, raw units), against exact rational arithmetic."""
    table = np.genfromtxt(DATA / "nist_filip.csv", delimiter=",", names=True)
    x, y = table["x"], table["y"]
    exact = _exact_polynomial_fit(x, y, 10)
    post = sd.RegressionSpline(knots=0, degree=10, noise={0: 1.0}).condition(sd.observe(x, y))
    assert_allclose(post(x), exact, rtol=1e-10)
    residual_sd = np.sqrt((post.residuals() ** 2).sum() / (82 - 11))
    assert_allclose(residual_sd, 0.334801051324544e-02, rtol=1e-10)
    tuned = sd.tune(sd.RegressionSpline(knots=0, degree=10), sd.observe(x, y))
    assert_allclose(tuned.noise[0], 0.334801051324544e-02, rtol=1e-9)


def _exact_polynomial_fit(x, y, degree):
    xs, ys = [Fraction(v) for v in x], [Fraction(v) for v in y]
    size = degree + 1
    rows = [
        [sum(v ** (i + j) for v in xs) for j in range(size)]
        + [sum(u * v**i for u, v in zip(ys, xs, strict=True))]
        for i in range(size)
    ]
    for i in range(size):
        pivot = next(r for r in range(i, size) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for r in range(size):
            if r != i:
                factor = rows[r][i] / rows[i][i]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[i], strict=True)]
    beta = [rows[i][size] / rows[i][i] for i in range(size)]
    return np.array([float(sum(b * v**j for j, b in enumerate(beta))) for v in xs])


@pytest.mark.parametrize("name", MODELS)
def test_contract(name, mixed):
    contracts.check_posterior(MODELS[name].condition(mixed), orders=(0, 1, 2))


@pytest.mark.parametrize("name", MODELS)
def test_leave_one_out_permutation_and_replicates(name, mixed):
    contracts.check_leave_one_out(MODELS[name], mixed, rows=[0, 45, 80])
    contracts.check_permutation(MODELS[name].condition, mixed)
    contracts.check_replicates(MODELS[name].condition, mixed)


@pytest.mark.parametrize("name", ["plain", "penalised", "rough"])
@pytest.mark.parametrize("pins", [False, True])
def test_equals_dense_least_squares(name, pins, mixed):
    model = MODELS[name]
    data = mixed
    if pins:
        data = data + sd.observe([0.31, 0.8], [0.2, -0.1], yerr=0) + sd.observe([0.0], [3.0], 0, 1)
    post = model.condition(data)
    dense = naive.DenseSpline(post.basis, data, None, model.lam, model.order)
    x, nu = np.repeat(np.linspace(-0.1, 1.1, 40), 3), np.tile([0, 1, 2], 40)
    mean, var = dense.mean(x, nu), dense.var(x, nu)
    assert_allclose(post(x, nu), mean, rtol=1e-7, atol=1e-8 * np.abs(mean).max())
    assert_allclose(post.var(x, nu), var, rtol=1e-6, atol=1e-12 * var.max())
    assert_allclose(post.coef_cov(), dense.cov, atol=1e-9 * np.abs(dense.cov).max())


@pytest.mark.parametrize("name", ["plain", "penalised"])
def test_gradient_of_the_objective_is_zero_at_the_result(name, mixed):
    model = MODELS[name]
    post = model.condition(mixed)
    rows = post.basis.rows(mixed.x, mixed.nu).toarray() / mixed.yerr[:, None]
    gradient = rows.T @ (post.residuals() / mixed.yerr)
    gradient -= model.lam * (post.basis.penalty(model.order) @ post.coef)
    size = np.abs(rows.T) @ np.abs(mixed.y / mixed.yerr)
    assert (np.abs(gradient) < 1e-11 * size.max()).all()


def test_equals_scipys_smoothing_spline():
    rng = np.random.default_rng(3)
    x = np.sort(rng.uniform(0, 1, 40))
    y = wave(x) + 0.1 * rng.standard_normal(40)
    lam = 1e-5
    reference = make_smoothing_spline(x, y, lam=lam)
    knots = BSplineBasis.clamped(x[1:-1], x[0], x[-1], 3)
    post = sd.RegressionSpline(knots, lam=lam, order=2, noise={0: 1.0}).condition(sd.observe(x, y))
    ask = np.linspace(x[0], x[-1], 101)
    for nu in (0, 1):
        expected = reference(ask, nu=nu)
        assert_allclose(post(ask, nu), expected, atol=1e-8 * np.abs(expected).max())


def test_evidence_is_harvilles_of_the_dense_gaussian(mixed):
    """The penalised prior is flat on polynomials and Gaussian on the rest of the basis."""
    basis, order, lam = uniform(6, 4), 2, 3e-4
    data = mixed
    post = sd.RegressionSpline(basis, lam=lam, order=order).condition(data)
    u = data.x - 0.5
    design = np.column_stack([np.where(data.nu == 0, 1.0, 0.0), np.where(data.nu == 0, u, 1.0)])
    design[data.nu == 2] = 0.0
    values, vectors = np.linalg.eigh(basis.penalty(order).toarray())
    root = vectors[:, order:] / np.sqrt(lam * values[order:])
    rows = basis.rows(data.x, data.nu).toarray() @ root
    dense = naive.restricted_log_likelihood(design, data.y, rows @ rows.T + np.diag(data.yerr**2))
    assert_allclose(post.log_evidence, dense, rtol=1e-8)


@pytest.mark.parametrize("lam", [0.0, np.inf])
def test_evidence_without_a_prior_is_harvilles_regression(lam, mixed):
    basis = uniform(4, 3)
    post = sd.RegressionSpline(basis, lam=lam, order=3).condition(mixed)
    design = basis.rows(mixed.x, mixed.nu).toarray()
    if lam:
        u = mixed.x - 0.5
        one = np.ones_like(u)
        columns = (one, 0 * u, 0 * u), (u, one, 0 * u), (u**2, 2 * u, 2 * one)
        design = np.column_stack([np.choose(mixed.nu, column) for column in columns])
    dense = naive.restricted_log_likelihood(design, mixed.y, np.diag(mixed.yerr**2))
    assert_allclose(post.log_evidence, dense, rtol=1e-9)


@pytest.mark.parametrize("criterion", ["evidence", "gcv", "loo"])
def test_gradient_of_the_criterion_equals_differences(criterion):
    data = mixed_data(known=False)
    if criterion == "gcv":
        data = data.of(0)
    model = sd.RegressionSpline(uniform(15, 5), lam=None, order=3)
    search = model.search(data, criterion)
    point = 0.6 * search.lower + 0.4 * search.upper
    _, gradient = search.loss(point)
    for j in range(len(point)):
        step = 1e-5 * np.eye(len(point))[j]
        difference = (search.loss(point + step)[0] - search.loss(point - step)[0]) / 2e-5
        assert_allclose(gradient[j], difference, rtol=1e-5, atol=1e-5)


def test_jumps_that_the_penalty_does_not_see_are_free():
    """A triple knot of a cubic lets f' jump, which a penalty on f'' leaves free."""
    basis = BSplineBasis.clamped([0.2, 0.5, 0.5, 0.5, 0.8], 0, 1, 3)
    x = np.linspace(0, 1, 60)
    data = sd.observe(x, np.abs(x - 0.5), 0.01)
    model = sd.RegressionSpline(basis, lam=1e3, order=2)
    post = model.condition(data)
    assert_allclose(post(x), data.y, atol=1e-9)
    dense = naive.DenseSpline(basis, data, None, 1e3, 2)
    assert_allclose(post.std(x), np.sqrt(dense.var(x, 0 * x.astype(int))), rtol=1e-8)
    search = sd.RegressionSpline(basis, lam=None, order=2).search(data, "evidence")
    point = 0.5 * (search.lower + search.upper)
    step = np.array([1e-4])
    difference = (search.loss(point + step)[0] - search.loss(point - step)[0]) / 2e-4
    assert_allclose(search.loss(point)[1][0], difference, rtol=1e-6, atol=1e-6)


def test_tuned_lam_is_not_beaten_by_a_fine_grid():
    for seed in range(4):
        data = mixed_data(seed, n=(60, 0, 0), sd_=(0.3, 1, 1)).of(0)
        model = sd.tune(sd.RegressionSpline(uniform(30, 5), lam=None, order=3), data)
        search = sd.RegressionSpline(uniform(30, 5), lam=None, order=3).search(data, "evidence")
        grid = np.linspace(search.lower[0], search.upper[0], 400)
        assert model.tuning.loss <= min(search.loss(np.array([v]))[0] for v in grid) + 1e-9


@pytest.mark.parametrize("fit", [sd.smooth, lambda d: sd.smooth(d, sd.RegressionSpline())])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("a", [1e-9, 1e-3, 60.0, 1e9])
@pytest.mark.filterwarnings("ignore::smoothderiv.TuningWarning")
def test_units_with_the_tuner_in_the_loop(fit, known, a):
    contracts.check_units(fit, mixed_data(known=known), a, c=1e-6 * a, b=0.3 * a)


@pytest.mark.filterwarnings("ignore::smoothderiv.TuningWarning")
def test_laws_of_the_tuned_fit(mixed):
    def fit(data):
        return sd.smooth(data, sd.RegressionSpline(degree=5, lam=None, order=3))

    contracts.check_posterior(fit(mixed), orders=(0, 1, 2))
    contracts.check_permutation(fit, mixed_data(known=False))
    contracts.check_replicates(fit, mixed)
    contracts.check_polynomials(fit, 2)
    contracts.check_polynomials(lambda d: sd.smooth(d, sd.RegressionSpline()), 3)


def test_one_unknown_level_is_the_residual_standard_deviation():
    data = mixed_data(known=False).of(0)
    model = sd.tune(sd.RegressionSpline(uniform(5, 3)), data)
    post = model.condition(data)
    rss = (post.residuals() ** 2).sum()
    assert_allclose(post.noise[0], np.sqrt(rss / (len(data) - 9)), rtol=1e-9)
    assert_allclose(post.dof, len(data) - 9, rtol=1e-9)
    assert_allclose(post.noise_dof()[0], post.dof, rtol=1e-9)
    several = sd.smooth(mixed_data(known=False), sd.RegressionSpline(uniform(5, 3)))
    assert_allclose(sum(several.noise_dof().values()), 85 - 9, rtol=1e-9)


def test_relative_noise_estimates_one_scale():
    rng = np.random.default_rng(8)
    x, size = rng.uniform(0, 1, 300), rng.uniform(0.5, 2, 300)
    y = wave(x) + 0.2 * size * rng.standard_normal(300)
    post = sd.smooth(sd.observe(x, y, size, relative=True), sd.RegressionSpline(20, 5))
    assert abs(post.noise[0] / 0.2 - 1) < 0.1


def test_a_level_for_each_order_is_found_also_with_few_rows():
    levels = []
    for seed in range(12):
        data = mixed_data(seed, n=(200, 100, 8), sd_=(0.1, 0.5, 5.0), known=False)
        model = sd.RegressionSpline(uniform(15, 5))
        levels.append([sd.tune(model, data).noise[nu] for nu in (0, 1, 2)])
    free = np.array([200, 100, 8]) - np.array([10, 10, 1.0])
    ratio = np.mean(np.square(levels), axis=0) / np.square([0.1, 0.5, 5.0])
    ratio *= (free - 1) / free  # the prior of levels that share the rows counts for one of each
    spread = np.sqrt(2 / 12 / free)
    assert (np.abs(ratio - 1) < 4.5 * spread).all()


@given(
    seed=st.integers(0, 99),
    pins=st.lists(
        st.tuples(st.integers(0, 40), st.integers(0, 2)), min_size=1, max_size=12, unique=True
    ),
)
def test_exact_rows_are_met_whatever_their_pattern(seed, pins):
    rng = np.random.default_rng(seed)
    basis = uniform(17, 5)
    x, nu = np.array([p[0] / 40 for p in pins]), np.array([p[1] for p in pins])
    y = wave(x, nu)
    x_soft = rng.uniform(0, 1, 60)
    data = sd.observe(x_soft, wave(x_soft) + rng.standard_normal(60), 1.0)
    data = data + sd.observe(x, y, 0.0, nu)
    post = sd.RegressionSpline(basis, lam=1e-9, order=3).condition(data)
    scale = np.abs(basis.rows(x, nu)).sum(axis=1) * np.abs(post.coef).max()
    assert (np.abs(post(x, nu) - y) <= 1e-11 * scale).all()
    typical = post.std(0.5 * (x[:1] + 0.987), nu[:1])
    assert (
        post.std(x, nu)
        <= 1e-6
        * np.maximum(typical, post.std(np.linspace(0, 1, 50)).max())
        * np.array([1, 200, 4e4])[nu]
    ).all()
    dense = naive.DenseSpline(basis, data, None, 1e-9, 3)
    ask = np.linspace(0, 1, 21)
    expected = dense.mean(ask, np.zeros(21, dtype=int))
    assert_allclose(post(ask), expected, atol=1e-6 * np.abs(expected).max())
    assert_allclose(post.leverage()[60:], 1.0)


def test_many_exact_rows_stay_banded():
    x = np.linspace(0, 1, 401)
    data = sd.observe(x, np.sin(9 * x), yerr=0.0) + sd.observe([0.5003], [0.0], yerr=1.0)
    post = sd.RegressionSpline(uniform(800, 3), lam=1e-12, order=2).condition(data)
    assert_allclose(post(x), np.sin(9 * x), atol=1e-12)
    assert post._solution.factor.unit.shape[1] < 120


def test_exact_values_and_slopes_are_hermite_interpolation():
    x = np.array([0.0, 0.4, 1.0, 1.7])
    y, slope = np.sin(3 * x), 3 * np.cos(3 * x)
    knots = BSplineBasis.clamped(np.repeat(x[1:-1], 2), 0.0, 1.7, 3)
    data = sd.observe(x, y, 0.0) + sd.observe(x, slope, 0.0, nu=1)
    post = sd.RegressionSpline(knots).condition(data)
    ask = np.linspace(0, 1.7, 50)
    assert_allclose(post(ask), CubicHermiteSpline(x, y, slope)(ask), atol=1e-13)
    assert_allclose(post.std(ask), 0.0, atol=0)
    quintic = BSplineBasis.clamped(np.repeat(x[1:-1], 3), 0.0, 1.7, 5)
    data = data + sd.observe(x, -9 * np.sin(3 * x), 0.0, nu=2)
    post = sd.RegressionSpline(quintic).condition(data)
    hermite = BPoly.from_derivatives(x, np.column_stack([y, slope, -9 * np.sin(3 * x)]))
    assert_allclose(post(ask), hermite(ask), atol=1e-12)
    assert_allclose(post.to_ppoly()(ask), hermite(ask), atol=1e-12)


def test_contradictory_exact_rows_are_refused_and_repeated_ones_are_not():
    base = sd.observe(np.linspace(0, 1, 20), np.zeros(20), 0.1)
    same = base + sd.observe([0.5, 0.5], [1.0, 1.0], 0.0)
    assert_allclose(sd.RegressionSpline(4).condition(same)(0.5), 1.0)
    with pytest.raises(ValueError, match=r"row 21 .*contradict|contradict.*row 21"):
        sd.RegressionSpline(4).condition(base + sd.observe([0.5, 0.5], [1.0, 1.1], 0.0))


@pytest.mark.parametrize(
    ("data", "model", "words"),
    [
        (sd.observe([0, 1, 2, 3.0], [1, 2, 3, 4.0], 1.0, nu=1), sd.RegressionSpline(0), "constant"),
        (
            sd.observe([0, 1, 2, 3.0], [1, 2, 3, 4.0], 1.0, nu=2),
            sd.RegressionSpline(0, 5, lam=1.0, order=3),
            "straight line",
        ),
        (
            sd.observe(np.r_[0:1:20j, 9:10:20j], np.zeros(40), 1.0),
            sd.RegressionSpline(np.arange(0.5, 10, 0.5)),
            r"between x = [\d.]+ and x = [\d.]+ undetermined",
        ),
        (sd.observe([0.0, 1.0], [0.0, 1.0], 1.0), sd.RegressionSpline(0), "degree 2"),
        (sd.observe([1.0, 1.0], [0.0, 1.0], 1.0), sd.RegressionSpline(0), "all rows are at x = 1"),
        (
            sd.observe([0, 1.0], [0, 1.0], 1.0, nu=4),
            sd.RegressionSpline(0),
            "row 0 observes order 4",
        ),
        (sd.observe([0, 1.0], [0, 1.0]), sd.RegressionSpline(0, 1), r"noise\[0\]: unknown"),
        (sd.observe([0, 1.0], [0, 1.0], 1.0), sd.RegressionSpline(degree=1), "knots: unknown"),
        (
            sd.observe([0.0], [np.nan]),
            sd.RegressionSpline(0),
            r"no row to fit \(1 rows were missing",
        ),
        (sd.observe(np.eye(3), [0, 1, 2.0]), sd.RegressionSpline(0), "use sd.GaussianProcess"),
    ],
)
def test_what_cannot_be_fitted_is_refused_with_advice(data, model, words):
    with pytest.raises(ValueError, match=words):
        model.condition(data)


def test_a_gap_is_bridged_by_the_penalty():
    data = sd.observe(np.r_[0:1:20j, 9:10:20j], np.r_[0:1:20j, 9:10:20j], 0.1)
    post = sd.RegressionSpline(np.arange(0.5, 10, 0.5), lam=1.0).condition(data)
    assert_allclose(post([4.0, 5.0]), [4.0, 5.0], rtol=1e-9)
    assert post.std(5.0) > 5 * post.std(0.5)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"degree": -1}, "degree"),
        ({"lam": -1.0}, "lam"),
        ({"lam": None, "order": 4}, "order"),
        ({"order": 0}, "order"),
        ({"knots": -2}, "knots"),
        ({"noise": {0: -1.0}}, "noise: the level of order 0"),
        ({"noise": 0.1}, "noise: 0.1 is not a mapping"),
        ({"knots": [0.5, np.nan]}, "knots: row 1 is nan, but every entry must be finite"),
    ],
)
def test_bad_fields_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        sd.RegressionSpline(**fields)


def test_memory_of_a_fit_does_not_grow_with_a_design_matrix():
    import tracemalloc

    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(0, 1, 200_000))
    data = sd.observe(x, np.sin(x), 1.0)
    model = sd.RegressionSpline(uniform(500, 3))
    model.condition(data)
    tracemalloc.start()
    model.condition(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 8 * len(x)
