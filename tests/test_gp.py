"""GaussianProcess: the contract, and a law for each thing that others get wrong."""

import math
import warnings

import naive_gp as naive
import numpy as np
import pytest
from contracts import (
    check_leave_one_out,
    check_permutation,
    check_posterior,
    check_replicates,
)
from numpy.testing import assert_allclose
from scipy.interpolate import BPoly, BSpline, CubicHermiteSpline, make_smoothing_spline
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process import kernels as sk

import smoothderiv as sd
from conftest import mixed_data, wave
from smoothderiv import kernels
from smoothderiv.gp import memory
from smoothderiv.gp.dense import LARGEST_CONDITION
from smoothderiv.model import UndeterminedError


def dense(kernel, **fields):
    """Return the process with the solver that is tested here."""
    return sd.GaussianProcess(kernel, solver="dense", **fields)


ONE_D = [
    kernels.Matern52(0.2, 1.0),
    kernels.Matern72(0.3, 1.0) + kernels.Periodic(0.5, 1.0, 0.3),
    kernels.SquaredExponential(0.15, 1.0),
    kernels.RationalQuadratic(0.2, 1.0, alpha=1.0) * kernels.Polynomial(2, 1.0, 1.0),
    kernels.Wiener(3, 200.0),
]


def surface(n=25, noise=0.05, seed=0):
    """Values, gradients and one mixed partial of sin(x0) cos(2 x1), rows at places of their own."""
    rng = np.random.default_rng(seed)
    truth = {
        (0, 0): lambda a, b: np.sin(a) * np.cos(2 * b),
        (1, 0): lambda a, b: np.cos(a) * np.cos(2 * b),
        (0, 1): lambda a, b: -2 * np.sin(a) * np.sin(2 * b),
        (1, 1): lambda a, b: -2 * np.cos(a) * np.sin(2 * b),
    }
    data = None
    for k, (nu, f) in enumerate(truth.items()):
        X = rng.uniform(-1, 1, (n - 5 * k, 2))
        part = sd.observe(X, f(*X.T) + noise * rng.standard_normal(len(X)), yerr=noise, nu=nu)
        data = part if data is None else data + part
    return data


PLANE = kernels.Matern72((1.3, 0.8), 1.2)


@pytest.fixture(scope="module")
def plane():
    return dense(PLANE, mean="constant").condition(surface())


# The contract.


@pytest.mark.parametrize("kernel", ONE_D, ids=lambda k: type(k).__name__)
def test_contract(kernel, mixed):
    model = dense(kernel)
    check_posterior(model.condition(mixed))
    check_leave_one_out(model, mixed, [0, 17, 50, 80])


def test_contract_with_an_estimated_mean(mixed):
    model = dense(kernels.Matern72(0.3, 1.0), mean="quadratic")
    check_posterior(model.condition(mixed), orders=(0, 1, 2))
    check_leave_one_out(model, mixed, [0, 17, 50, 80])


@pytest.mark.parametrize("mean", [0.0, "linear"])
def test_rows_may_come_in_any_order_and_in_replicates(mean, mixed):
    model = dense(kernels.Matern52(0.2, 1.0), mean=mean)
    check_permutation(model.condition, mixed)
    check_replicates(model.condition, mixed)


# Against the textbook and against other packages.


@pytest.mark.parametrize("mean", [0.7, "linear"])
def test_any_rows_and_any_questions_in_the_plane_equal_the_textbook(mean):
    data = surface()
    rng = np.random.default_rng(1)
    x, orders = rng.uniform(-1.2, 1.2, (17, 2)), np.array(naive.multi_indices(2, 2))
    nu = orders[rng.integers(len(orders), size=17)]
    K = PLANE.cov(data.x, data.nu)
    cross, prior = PLANE.cov(x, nu, data.x, data.nu), PLANE.cov(x, nu)
    y, H, h, shift = data.y, None, None, 0.0
    if mean == "linear":
        H, h = (np.c_[(o == 0).all(1), design(p, o)] for p, o in ((data.x, data.nu), (x, nu)))
    else:
        y = y - mean * (data.nu == 0).all(1)
        shift = mean * (nu == 0).all(1)
    m, cov = naive.regression(K, cross, prior, y, data.yerr, H, h)
    post = dense(PLANE, mean=mean).condition(data)
    assert_allclose(post(x, nu), m + shift, rtol=1e-9, atol=1e-9)
    assert_allclose(post.cov(x, nu), cov, rtol=1e-8, atol=1e-9)
    assert_allclose(post.var(x, nu), np.diag(cov), rtol=1e-8, atol=1e-9)


def design(x, nu):
    """The derivatives of the two coordinates."""
    columns = []
    for a in range(2):
        own = np.eye(2, dtype=int)[a]
        columns.append(np.where((nu == 0).all(1), x[:, a], (nu == own).all(1)))
    return np.array(columns, dtype=float).T


@pytest.mark.parametrize(
    ("kernel", "other"),
    [
        (kernels.Matern12(0.4, 1.5), 2.25 * sk.Matern(0.4, nu=0.5)),
        (kernels.Matern32(0.4, 1.5), 2.25 * sk.Matern(0.4, nu=1.5)),
        (kernels.Matern52((0.4, 0.9), 1.5), 2.25 * sk.Matern((0.4, 0.9), nu=2.5)),
        (kernels.SquaredExponential(0.4, 1.5), 2.25 * sk.RBF(0.4)),
        (
            kernels.RationalQuadratic(0.4, 1.5, alpha=0.7),
            2.25 * sk.RationalQuadratic(0.4, alpha=0.7),
        ),
        (
            kernels.Linear(1.5) + kernels.Constant(0.5),
            2.25 * sk.DotProduct(0.0, "fixed") + sk.ConstantKernel(0.25),
        ),
    ],
    ids=lambda k: type(k).__name__,
)
def test_values_equal_scikit_learn(kernel, other):
    rng = np.random.default_rng(4)
    X, Xs = rng.uniform(-1, 1, (30, 2)), rng.uniform(-1, 1, (11, 2))
    y = np.sin(3 * X[:, 0]) + X[:, 1] + 0.1 * rng.standard_normal(30)
    post = dense(kernel).condition(sd.observe(X, y, yerr=0.1))
    witness = GaussianProcessRegressor(other, alpha=0.01, optimizer=None).fit(X, y)
    mean, std = witness.predict(Xs, return_std=True)
    assert_allclose(post(Xs), mean, rtol=1e-9, atol=1e-10)
    assert_allclose(post.std(Xs), std, rtol=1e-7)
    assert_allclose(post.log_evidence, witness.log_marginal_likelihood_value_, rtol=1e-10)


@pytest.mark.parametrize("lam", [1e-6, 1e-3, 1.0])
def test_wiener_is_the_smoothing_spline(lam):
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 40) + 0.005 * rng.standard_normal(40)
    data = sd.observe(x, np.sin(6 * x) + 0.1 * rng.standard_normal(40), yerr=1.0)
    post = dense(kernels.Wiener(2, lam**-0.5)).condition(data)
    xs = np.linspace(x[0], x[-1], 101)
    spline = make_smoothing_spline(x, data.y, lam=lam)
    assert_allclose(post(xs), spline(xs), atol=1e-8)
    other = sd.RegressionSpline(knots=x[1:-1], lam=lam, order=2).condition(data)
    assert_allclose(post.log_evidence, other.log_evidence, rtol=1e-9)
    assert_allclose(post.edf, other.edf, rtol=1e-7)


def test_exact_rows_are_met_and_make_hermite_splines():
    x = np.linspace(0, 2, 9)
    xs = np.linspace(0, 2, 83)
    data = sd.observe(x, np.sin(x), yerr=0) + sd.observe(x, np.cos(x), yerr=0, nu=1)
    post = dense(kernels.Wiener(2, 1.0)).condition(data)
    assert_allclose(post(xs), CubicHermiteSpline(x, np.sin(x), np.cos(x))(xs), atol=1e-12)
    assert_allclose(post(x, 1), np.cos(x), atol=1e-11)
    assert post.std(x).max() < 1e-7
    assert post.nugget == 0.0
    data = data + sd.observe(x, -np.sin(x), yerr=0, nu=2)
    quintic = BPoly.from_derivatives(x, np.c_[np.sin(x), np.cos(x), -np.sin(x)])
    post = dense(kernels.Wiener(3, 1.0)).condition(data)
    assert_allclose(post(xs), quintic(xs), atol=1e-12)
    assert post.edf == pytest.approx(27.0)
    assert (post.loo().log_density == 0.0).all()


def test_exact_rows_that_contradict_each_other_are_refused():
    data = sd.observe([0.3, 0.7, 0.3], [2.0, 1.9, 2.5], yerr=0)
    model = dense(kernels.SquaredExponential(1.0, 1.0))
    with pytest.raises(ValueError, match=r"row 2 is exact .* contradicts row 0"):
        model.condition(data)
    with pytest.raises(ValueError, match=r"row 2 is exact .* contradicts row 0"):
        sd.tune(dense(kernels.SquaredExponential()), data)
    same = sd.observe([0.3, 0.7, 0.3], [2.0, 1.9, 2.0], yerr=0)
    zero = sd.observe([0.3, 0.7, 0.3], [0.0, 1.9, 1e-16], yerr=0)  # such as sin(pi)
    assert model.condition(zero)(0.7) == pytest.approx(1.9, rel=1e-6)
    assert_allclose(model.condition(same)(0.5), model.condition(same[:2])(0.5), rtol=1e-6)


def test_exact_rows_that_rounding_lets_go_are_told():
    x = np.linspace(0, 10, 60)
    data = sd.observe(x, np.sin(x), yerr=0)
    with pytest.warns(sd.NoiseWarning, match="missed by 0.42.*singular to rounding"):
        dense(kernels.SquaredExponential(30.0, 1.0)).condition(data)
    post = dense(kernels.SquaredExponential(1.5, 1.0)).condition(data)
    assert_allclose(post(x), np.sin(x), atol=np.sqrt(post.nugget))


# What others get wrong.


def test_the_number_of_places_asked_need_not_be_that_of_the_data(plane):
    for count in (1, 2, 400):
        x = np.random.default_rng(count).uniform(-1, 1, (count, 2))
        assert plane.gradient(x).cov.shape == (count, 2, 2)
        assert plane.hessian(x).var.shape == (count, 2, 2)
        one = plane.gradient(x[:1])
        assert_allclose(plane.gradient(x).cov[0], one.cov[0], rtol=1e-9)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_gradients_have_the_shape_of_the_places(plane, shape):
    x = np.random.default_rng(0).uniform(-1, 1, (*shape, 2))
    gradient, hessian = plane.gradient(x), plane.hessian(x)
    shape = shape or (1,)  # one place alone
    flat, bent = plane.gradient(x.reshape(-1, 2)), plane.hessian(x.reshape(-1, 2))
    assert gradient.mean.shape == gradient.std.shape == (*shape, 2)
    for found, expected in (
        (gradient.mean, flat.mean),
        (gradient.cov, flat.cov),
        (hessian.mean, bent.mean),
        (hessian.var, bent.var),
        (plane.gradient_of_variance(x), plane.gradient_of_variance(x.reshape(-1, 2))),
    ):
        assert found.shape[: len(shape)] == shape
        assert_allclose(found.ravel(), expected.ravel())
    assert repr(gradient).splitlines()[1:] == repr(flat).splitlines()[1:]
    assert repr(hessian).splitlines()[1:] == repr(bent).splitlines()[1:]
    assert [part.shape for part in gradient.along([0.6, -0.8])] == [shape, shape]


@pytest.mark.parametrize("wrong", [[1, 0, 0], [np.nan, 0], 1.0, [[1, 0]] * 4])
def test_directions_are_finite_and_of_as_many_dimensions(plane, wrong):
    with pytest.raises(ValueError, match=r"direction: .*finite numbers of shape \(2,\) are needed"):
        plane.gradient(np.zeros((3, 2))).along(wrong)


def test_hessian_at_a_training_place_is_the_derivative_of_the_gradient(plane):
    x, h = plane.data.x[:4], 1e-5
    hessian = plane.hessian(x)
    for a in range(2):
        step = h * np.eye(2)[a]
        difference = (plane.gradient(x + step).mean - plane.gradient(x - step).mean) / (2 * h)
        assert_allclose(hessian.mean[:, a], difference, atol=1e-7)
    assert_allclose(hessian.mean, hessian.mean.transpose(0, 2, 1))
    assert_allclose(hessian.var[:, 0, 1], plane.var(x, (1, 1)), rtol=1e-12)
    assert (hessian.std > 0).all()


def test_gradient_is_made_of_the_partial_derivatives_and_their_covariance(plane):
    x = np.array([[0.1, -0.3], [0.8, 0.2], [3.0, 3.0]])
    gradient = plane.gradient(x)
    for a, nu in enumerate([(1, 0), (0, 1)]):
        assert_allclose(gradient.mean[:, a], plane(x, nu), rtol=1e-12)
        assert_allclose(gradient.std[:, a], plane.std(x, nu), rtol=1e-10)
    joint = plane.cov(np.repeat(x[:1], 2, axis=0), [(1, 0), (0, 1)])
    assert_allclose(gradient.cov[0], joint, rtol=1e-10)
    v, h = np.array([0.6, -0.8]), 1e-5
    mean, std = gradient.along(v)
    assert_allclose(mean, (plane(x + h * v) - plane(x - h * v)) / (2 * h), atol=1e-8)
    assert_allclose(std[0], math.sqrt(v @ joint @ v), rtol=1e-10)
    far = dense(kernels.Matern52(1.0, 2.0)).condition(surface()).gradient([[99.0, 0]])
    assert_allclose(far.cov[0], 20 / 3 * np.eye(2), rtol=1e-12, atol=1e-12)


def test_the_gradient_of_the_variance_is_another_question(plane):
    x, h = np.array([[0.1, -0.3], [1.4, 0.2]]), 1e-5
    slopes = plane.gradient_of_variance(x)
    for a in range(2):
        step = h * np.eye(2)[a]
        difference = (plane.var(x + step) - plane.var(x - step)) / (2 * h)
        assert_allclose(slopes[:, a], difference, rtol=1e-5)
    assert np.abs(slopes - plane.gradient(x).std ** 2).min() > 0.01


def test_gradients_and_hessians_are_told_with_their_stds(plane):
    x = np.full((9, 2), 0.3) + 0.05 * np.arange(9)[:, None]
    for found in (plane.gradient(x), plane.hessian(x)):
        words = repr(found)
        assert len(words.splitlines()) == 8
        assert f"shape {found.mean.shape}" in words
        mean, std = found.mean[0].ravel(), found.std[0].ravel()
        for m, s in zip(mean, std, strict=True):
            assert f"{m:.6g} ± {s:.2g}" in words.splitlines()[1]


def test_every_engine_answers_for_its_gradient(mixed):
    x = np.linspace(0.1, 0.9, 5)
    for model in (dense(ONE_D[0]), sd.RegressionSpline(knots=8, degree=5)):
        post = model.condition(mixed)
        gradient, hessian = post.gradient(x), post.hessian(x)
        assert_allclose(gradient.mean[:, 0], post(x, 1), rtol=1e-12)
        assert_allclose(gradient.cov[:, 0, 0], post.var(x, 1), rtol=1e-9)
        assert_allclose(hessian.mean[:, 0, 0], post(x, 2), rtol=1e-12)
        assert_allclose(hessian.var[:, 0, 0], post.var(x, 2), rtol=1e-9)
        slope = (post.var(x + 1e-6) - post.var(x - 1e-6)) / 2e-6
        assert_allclose(post.gradient_of_variance(x)[:, 0], slope, rtol=1e-4, atol=1e-7)


def test_an_order_that_the_process_lacks_is_refused(mixed):
    with pytest.raises(ValueError, match=r"order 2 .*Matern52.*row 70"):
        dense(kernels.Matern32(0.2, 1.0)).condition(mixed)
    with pytest.raises(ValueError, match=r"order 2 .*Matern52"):
        sd.tune(dense(kernels.Matern32()), mixed)
    post = dense(kernels.Matern32(0.2, 1.0)).condition(mixed.of(0))
    with pytest.raises(ValueError, match="order 0 to 1"):
        post(0.5, nu=2)


@pytest.mark.parametrize("mean", ["linear", lambda x, nu: (2 + 3 * x, 3 + 0 * x, 0 * x)[nu]])
def test_the_slope_of_the_mean_is_in_the_gradient(mean):
    x = np.linspace(0, 1, 12)
    data = sd.observe(x, 2 + 3 * x, yerr=0.01)
    post = dense(kernels.Matern52(0.1, 0.01), mean=mean).condition(data)
    for far in (-5.0, 0.5, 7.0):
        assert post(far, 1) == pytest.approx(3.0, abs=1e-9)
        assert post(far) == pytest.approx(2 + 3 * far, abs=1e-8)


def test_a_spline_can_be_the_mean():
    spline = BSpline(np.r_[[0.0] * 4, [1.0] * 4], [0.0, 1.0, -1.0, 2.0], 3)
    data = sd.observe([0.2, 0.9], spline([0.2, 0.9]), yerr=0.1)
    post = dense(kernels.Matern52(0.2, 0.1), mean=spline).condition(data)
    x = np.linspace(0, 1, 7)
    for nu in (0, 1, 2):
        assert_allclose(post(x, nu), spline(x, nu), atol=1e-12)


def test_polynomials_of_many_variables():
    """There are ``(d + 3)! / (d! 3!)`` cubic monomials, and 4^d exponents up to 3."""
    x = np.random.default_rng(0).uniform(-1, 1, (300, 20))
    data = sd.observe(x, 1 + x[:, 3] * x[:, 7] - x[:, 0] ** 2, yerr=0.01)
    post = dense(kernels.Matern52(1.0, 0.1), mean="quadratic").condition(data)
    assert len(post.beta) == 231
    gradient = post.gradient(x[:5]).mean
    assert_allclose(gradient[:, [0, 3]], np.c_[-2 * x[:5, 0], x[:5, 7]], atol=0.15)


@pytest.mark.parametrize(
    ("mean", "words"),
    [
        (lambda x, nu: np.zeros(3), r"mean\(x, 0\) returned shape \(3,\) for 2 places"),
        (lambda x, nu: np.where(x > 0.5, np.nan, x), r"mean\(x, 0\) is nan at x = 0.9"),
    ],
)
def test_a_mean_without_an_answer_is_refused(mean, words):
    with pytest.raises(ValueError, match=words):
        dense(kernels.Matern52(0.2, 0.1), mean=mean).condition(
            sd.observe([0.2, 0.9], [1.0, 2.0], yerr=0.1)
        )


def test_covariances_may_be_negative(mixed):
    post = dense(kernels.Matern52(0.2, 1.0)).condition(mixed)
    cov = post.cov(np.linspace(0, 1, 30), 1)
    assert cov.min() < -0.05 * cov.max()


def test_long_series_are_finite_and_right():
    x = np.sort(np.random.default_rng(0).uniform(0, 1e6, 300))
    x = np.sort(np.r_[x, x[::7] + 0.5])
    data = sd.observe(x, np.sin(x), yerr=0.1) + sd.observe(x, np.cos(x), yerr=0.1, nu=1)
    kernel = kernels.Matern52(1.0, 1.0)
    post = dense(kernel).condition(data)
    ask = np.r_[x[:5] + 0.1, 2e6]
    cross, K = kernel.cov(ask, 1, data.x, data.nu), kernel.cov(data.x, data.nu)
    mean, cov = naive.regression(K, cross, kernel.cov(ask, 1), data.y, data.yerr)
    assert_allclose(post(ask, 1), mean, atol=1e-11)
    assert_allclose(post.var(ask, 1), np.diag(cov), rtol=1e-9)


def test_paths_of_f_and_of_its_derivative_are_one_function():
    data = sd.observe([0.0, 0.4, 1.0], [0.0, 1.0, 0.0], yerr=0.05)
    post = dense(kernels.Matern72(0.4, 1.0)).condition(data)
    x = np.linspace(0, 1, 101)
    paths = post.sample(x, [[0], [1]], size=20, rng=0)
    difference = np.gradient(paths[:, 0], x, axis=1)[:, 1:-1]
    assert_allclose(difference, paths[:, 1, 1:-1], atol=0.01 * np.abs(paths[:, 1]).max())


# Conditioning.


def test_the_nugget_bounds_the_condition_number_and_is_absent_where_not_needed():
    x = np.linspace(0, 1, 60)
    data = sd.observe(x, np.sin(6 * x), yerr=0) + sd.observe(x, 6 * np.cos(6 * x), yerr=0, nu=1)
    smooth = dense(kernels.SquaredExponential(0.5, 1.0))
    post = smooth.condition(data)
    assert 0 < post.nugget == pytest.approx(120 / (LARGEST_CONDITION - 1))
    K = kernels.SquaredExponential(0.5, 1.0).cov(data.x, data.nu)
    size = np.sqrt(np.diag(K))
    eigenvalues = np.linalg.eigvalsh(K / size / size[:, None] + post.nugget * np.eye(120))
    assert eigenvalues[-1] / eigenvalues[0] <= LARGEST_CONDITION * (1 + 1e-3)
    assert_allclose(post(x + 0.004), np.sin(6 * (x + 0.004)), atol=1e-6)
    rough = dense(kernels.Matern52(0.05, 1.0)).condition(data)
    assert rough.nugget == 0.0
    assert_allclose(rough(x, 1), 6 * np.cos(6 * x), rtol=1e-9, atol=1e-9)
    noisy = sd.observe(x, data.y[:60], yerr=0.01)
    assert smooth.condition(noisy).nugget == 0.0


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_condition_does_not_depend_on_the_unit_of_x(scale):
    x = np.linspace(0, 1, 50)
    data = None
    for nu in (0, 1, 2):
        part = sd.observe(scale * x, wave(x, nu) / scale**nu, yerr=0, nu=nu)
        data = part if data is None else data + part
    post = dense(kernels.Matern52(scale / 49, 1.0)).condition(data)
    assert post.condition < 110


def test_a_matrix_that_does_not_fit_is_refused_with_the_number_and_the_way_out():
    data = sd.observe(np.arange(1_000_000.0), np.zeros(1_000_000), yerr=1.0)
    with pytest.raises(ValueError, match=r"1000000 rows need a matrix of 7450.*SmoothingSpline"):
        dense(kernels.Matern52(1.0, 1.0)).condition(data)


def test_memory_is_what_the_machine_tells(monkeypatch, tmp_path):
    table = tmp_path / "meminfo"
    table.write_text("MemFree: 5 kB\nMemAvailable:   2048 kB\n")
    monkeypatch.setattr(memory, "_TABLE", table)
    assert memory.available() == 2.0**21
    with pytest.raises(ValueError, match=r"6000 rows .* 0\.0 GiB are available"):
        dense(kernels.Matern52(1.0, 1.0)).condition(sd.observe(np.arange(6e3), np.zeros(6000), 1.0))
    monkeypatch.setattr(memory, "_TABLE", tmp_path / "none")
    assert memory.available() > 2.0**28
    monkeypatch.setattr(memory.os, "sysconf", _untold)
    assert memory.available() == math.inf


def _untold(name):
    raise ValueError(f"unrecognized configuration name {name}")


def test_data_that_leave_the_mean_free_are_refused():
    slopes = sd.observe([0.0, 1.0], [1.0, 2.0], yerr=0.1, nu=1)
    with pytest.raises(UndeterminedError, match="constant of the mean"):
        dense(kernels.Wiener(2, 1.0)).condition(slopes)
    with pytest.raises(UndeterminedError, match="linear part"):
        dense(kernels.Matern52(1.0, 1.0), mean="linear").condition(
            sd.observe([0.0], [1.0], yerr=0.1)
        )
    post = dense(kernels.Matern52(1.0, 1.0)).condition(slopes)
    assert post.std(0.5) > 0.5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: dense("matern"), "kernel: 'matern'"),
        (lambda: sd.GaussianProcess(ONE_D[0], solver="gpu"), "solver: 'gpu'"),
        (lambda: dense(ONE_D[0], mean="cosine"), "mean: 'cosine'"),
        (lambda: dense(ONE_D[0], mean=math.nan), "mean: nan"),
        (lambda: dense(ONE_D[0], noise={0: -1.0}), "noise"),
        (lambda: dense(kernels.Matern52()).condition(mixed_data()), "kernel.sigma"),
        (lambda: dense(kernels.Wiener(2, 1.0)).condition(surface()), "one dimension"),
        (
            lambda: sd.tune(dense(kernels.Matern52()), mixed_data(), "gcv"),
            "'evidence' or 'loo'",
        ),
        (
            lambda: dense(kernels.Linear(1.0)).condition(
                sd.observe([0.0, 1.0], [1.0, 1.0], yerr=0)
            ),
            "row 0 is exact",
        ),
    ],
)
def test_what_has_no_answer_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_noise_of_values_in_the_plane_may_be_named_by_0():
    data = surface()
    values = sd.observe(data.x, data.y, nu=data.nu).of((0, 0))
    kernel = kernels.Matern52(0.5, 1.0)
    short, full = (
        dense(kernel, noise=noise).condition(values) for noise in ({0: 0.1}, {(0, 0): 0.1})
    )
    assert_allclose(short(values.x), full(values.x), rtol=0)
    assert short.model.noise == full.model.noise == {(0, 0): 0.1}


@pytest.mark.parametrize("key", [1, (0,), "values"])
def test_noise_of_no_order_is_refused(key):
    values = sd.observe(surface().x, surface().y)
    with pytest.raises(ValueError, match=r"noise: the key .* multi-index of 2 numbers, or 0"):
        dense(kernels.Matern52(0.5, 1.0), noise={key: 0.1}).condition(values)
    line = sd.observe([0.0, 1.0], [0.0, 1.0])
    if key != 1:
        with pytest.raises(ValueError, match="in 1 dimension; give a number"):
            dense(kernels.Matern52(0.5, 1.0), noise={key: 0.1}).condition(line)


@pytest.mark.parametrize("nu", [0, 1])
def test_integrals_over_very_many_lengths_are_those_of_the_sum(nu):
    """Against the trapezoidal rule, which is exact to rounding for sums over the whole line."""
    kernel = kernels.SquaredExponential(1e-3, 1.3)
    data = sd.observe([0.2, 0.2005, 0.7], [1.0, 2.0, 0.5], yerr=0.1, nu=nu)
    post = dense(kernel).condition(data)
    t = np.concatenate([np.linspace(c - 0.0125, c + 0.013, 256) for c in (0.2, 0.7)])
    mean, std = post.integral(0.0, 1.0)
    apart = t[1] - t[0]
    assert mean == pytest.approx(apart * post(t).sum(), rel=1e-9, abs=1e-12)
    row = apart * kernel.cov(t, 0, data.x, data.nu).sum(axis=0)
    prior = 1.3**2 * (1e-3 * math.sqrt(2 * math.pi) - 2e-6)  # 2 int_0^1 (1 - r) k(r) dr
    inner = row @ np.linalg.solve(kernel.cov(data.x, data.nu) + 0.01 * np.eye(3), row)
    assert std == pytest.approx(math.sqrt(prior - inner), rel=1e-9)


def test_integral_of_a_wiener_process_over_its_anchor():
    x = np.linspace(0, 1, 6)
    post = dense(kernels.Wiener(2, 3.0)).condition(sd.observe(x, np.sin(x), yerr=0.1))
    node, weight = np.polynomial.legendre.leggauss(12)
    edges = np.linspace(0.1, 0.95, 201)
    t = (edges[:-1, None] + np.diff(edges)[:, None] * 0.5 * (1 + node)).ravel()
    w = (0.5 * np.diff(edges)[:, None] * weight).ravel()
    mean, std = post.integral(0.1, 0.95)
    assert mean == pytest.approx(w @ post(t), rel=1e-10)
    assert std == pytest.approx(math.sqrt(w @ post.cov(t) @ w), rel=1e-6)
    assert post.integral(0.3, 0.3) == (0.0, 0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="shorter intervals"):
            dense(kernels.RationalQuadratic(1e-6, 1.0, alpha=1.0)).condition(post.data).integral(
                0, 1
            )


STATIONARY = [
    (kernels.SquaredExponential(1.0, 2.0), "band"),
    (kernels.SquaredExponential(1.0, 2.0), "dense"),
    (kernels.Matern52(1.0, 2.0), "dense"),
    (kernels.Matern52(1.0, 2.0), "markov"),
]


def of_a_cosine(kernel, solver):
    t = np.linspace(0, 6, 40)
    return sd.GaussianProcess(kernel, solver=solver).condition(sd.observe(t, np.cos(t), 0.1))


@pytest.mark.parametrize(
    ("kernel", "solver"), [*STATIONARY, (kernels.Matern52(1.0, 2.0), "iterative")]
)
def test_far_from_all_data_a_stationary_process_is_its_prior(kernel, solver):
    post = of_a_cosine(kernel, solver)
    far = np.array([1e3, 1e12, -1e16, 1e20, -1e20, 3e20, 1e155, -1e300])
    with np.errstate(over="ignore", invalid="ignore"):
        assert_allclose(post(far), 0.0, atol=1e-12)
        assert_allclose(post.cov(far), 4.0 * np.eye(len(far)), atol=1e-12)
        assert_allclose(post.std(np.array([0.5, 1e20])), [post.std(0.5), 2.0], rtol=1e-9)


@pytest.mark.parametrize(("kernel", "solver"), STATIONARY)
def test_integrals_over_more_lengths_than_can_be_afforded_are_refused(kernel, solver):
    post = of_a_cosine(kernel, solver)
    with pytest.raises(ValueError, match=r"from 0 to 1e\+09 are .* times the length 1 .*shorter"):
        post.integral(0, 1e9)
    variances = np.diff([post.integral(0, end)[1] ** 2 for end in (100, 200, 300)])
    assert_allclose(variances[1], variances[0], rtol=1e-9)  # as of the prior: alike and long
