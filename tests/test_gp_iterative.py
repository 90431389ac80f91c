"""The iterative solver: the dense answer within its stated error, without the matrix."""

import tracemalloc

import numpy as np
import pytest
from numpy.testing import assert_allclose

import smoothderiv as sd
from smoothderiv import kernels
from smoothderiv.gp import assembly
from smoothderiv.gp.assembly import Layout
from smoothderiv.gp.iterative import VARIANCE_ERROR
from smoothderiv.gp.preconditioner import Preconditioner

KERNELS = [
    kernels.SquaredExponential((1.3, 0.8), 2.0),
    kernels.Matern32(1.0, 2.0),
    kernels.Matern72((1.0, 2.0), 0.5),
    kernels.RationalQuadratic(1.0, 1.0, alpha=0.7) + kernels.Matern52(0.3, 1.0),
    kernels.Matern52(1.0, 1.0) * kernels.SquaredExponential(2.0, 1.0),
]


def field(n=70, ndim=2, noise=0.05, seed=0):
    """Values and all slopes of a wave over the cube, with noise."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 4, (n, ndim))
    phase = x.sum(axis=1) / np.sqrt(ndim)
    data = sd.observe(x, np.sin(phase) + noise * rng.standard_normal(n), yerr=noise)
    for nu in np.eye(ndim, dtype=int):
        slope = np.cos(phase) / np.sqrt(ndim) + noise * rng.standard_normal(n)
        data = data + sd.observe(x, slope, yerr=noise, nu=nu)
    return data


def both(kernel, data, mean=0.0):
    solvers = ("dense", "iterative")
    return [sd.GaussianProcess(kernel, mean=mean, solver=s).condition(data) for s in solvers]


@pytest.mark.parametrize("vectors", [1, 9])
@pytest.mark.parametrize("orders", [((0, 0),), ((0, 0), (1, 0), (0, 1)), ((0, 1), (1, 1))])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
def test_products_are_those_of_the_matrix(kernel, orders, vectors):
    if max(map(sum, orders)) > kernel.smoothness:
        kernel = kernels.Matern52(0.7, 1.0)
    rng = np.random.default_rng(0)
    x, extra = rng.standard_normal((40, 2)) + 1e3, rng.standard_normal((5, 2))
    x[3] = x[4]
    places = np.concatenate([x] * len(orders) + [extra])
    nu = np.concatenate([np.tile(order, (40, 1)) for order in orders] + [np.zeros((5, 2), int)])
    layout = Layout.of(places, nu, 16)
    v = rng.standard_normal((vectors, len(layout)))
    expected = v @ assembly.cross(kernel, layout, layout)
    found = assembly.products(kernel, layout, v)
    assert_allclose(found, expected, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
def test_the_preconditioner_is_below_the_matrix_and_inverts_itself(kernel):
    x = np.random.default_rng(0).uniform(0, 4, (80, 2))
    nu = np.repeat([[0, 0], [0, 1]], 80, axis=0)
    layout = Layout.of(np.tile(x, (2, 1)), nu)
    K = assembly.cross(kernel, layout, layout)
    scale, variance = 1 / np.sqrt(np.diag(K)), np.linspace(1e-4, 1e-2, 160)
    M = np.linalg.inv(Preconditioner.of(kernel, layout, scale, variance, 70).solve(np.eye(160)))
    A = K * scale * scale[:, None] + np.diag(variance)
    assert np.linalg.eigvalsh(A - 0.5 * (M + M.T)).min() > -1e-9
    assert np.linalg.eigvalsh(0.5 * (M + M.T) - np.diag(variance)).min() > -1e-9
    assert np.trace(M) > 0.6 * np.trace(A)


@pytest.mark.parametrize("mean", [0.0, "linear"])
@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
def test_the_dense_answer_within_the_stated_error(kernel, mean):
    dense, iterative = both(kernel, field(), mean)
    x = np.random.default_rng(1).uniform(0, 4, (12, 2))
    for nu in ((0, 0), (1, 0)):
        prior = np.sqrt(kernel.cov(x[:1], nu)[0, 0])
        assert iterative.error < 1e-6
        allowed = iterative.error * (prior + dense.std(x, nu)) + 1e-11
        assert (np.abs(iterative(x, nu) - dense(x, nu)) <= allowed).all()
        excess = iterative.var(x, nu) / dense.var(x, nu) - 1
        assert -1e-7 < excess.min() <= excess.max() <= VARIANCE_ERROR
    size = dense.var(x).max()
    assert_allclose(iterative.cov(x), dense.cov(x), atol=VARIANCE_ERROR * size)
    other = np.array([1, 0])
    assert_allclose(
        iterative.cov(x[:3], 0, x[3:7], other), dense.cov(x[:3], 0, x[3:7], other), atol=1e-4 * size
    )
    assert_allclose(iterative.residuals(), dense.residuals(), atol=1e-7)
    ours, theirs = iterative.gradient(x), dense.gradient(x)
    assert_allclose(ours.mean, theirs.mean, atol=1e-6)
    assert_allclose(ours.std, theirs.std, rtol=VARIANCE_ERROR)


def test_paths_have_the_posterior_moments():
    _, post = both(KERNELS[0], field(40))
    x = np.random.default_rng(2).uniform(0, 4, (3, 2))
    paths = post.sample(x, size=4000, rng=0)
    std = post.std(x)
    assert (np.abs(paths.mean(axis=0) - post(x)) < 4.5 * std / np.sqrt(4000)).all()
    assert_allclose(paths.std(axis=0), std, rtol=0.06)


def test_more_dimensions_than_places():
    data = field(8, ndim=30, noise=0.01)
    dense, iterative = both(kernels.SquaredExponential(6.0, 1.0), data)
    x = np.random.default_rng(3).uniform(0, 4, (2, 30))
    assert_allclose(iterative(x), dense(x), atol=1e-6)
    assert_allclose(iterative.gradient(x).std, dense.gradient(x).std, rtol=VARIANCE_ERROR)


def test_the_matrix_is_never_held():
    data = field(1200)
    model = sd.GaussianProcess(kernels.Matern52(2.0, 1.0), solver="iterative")
    model.condition(data[:30])
    tracemalloc.start()
    model.condition(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.5 * 8 * len(data) ** 2


def test_it_is_tuned_on_some_of_the_rows():
    data = field(450)
    free = sd.observe(data.x, data.y, nu=data.nu)
    model = sd.GaussianProcess(kernels.SquaredExponential(), solver="iterative")
    tuned = sd.tune(model, free)
    assert all(0.035 < level < 0.065 for level in tuned.noise.values())
    assert tuned.condition(free)(data.x[:50]) == pytest.approx(
        np.sin(data.x[:50].sum(axis=1) / np.sqrt(2)), abs=0.05
    )


def test_what_it_cannot_do_is_refused():
    data = field(20)
    post = both(KERNELS[0], data)[1]
    for ask in (post.leverage, post.loo, lambda: post.edf, lambda: post.log_evidence):
        with pytest.raises(ValueError, match="solver='iterative' does without"):
            ask()
    model = sd.GaussianProcess(KERNELS[0], solver="iterative")
    for ask in (
        lambda: sd.smooth(data, model, robust=True),
        lambda: sd.smooth(data, sd.ModelAverage((model,))),
        post.loo,
        post.diagnose,
    ):
        with pytest.raises(ValueError, match=r"loo\(\), diagnose\(\), robust weights and model av"):
            ask()
    with pytest.raises(ValueError, match="row 60 is exact"):
        model.condition(data + sd.observe([[0.0, 0.0]], [0.0], yerr=0))
    faint = sd.observe(data.x, data.y, yerr=1e-9, nu=data.nu)
    smooth = sd.GaussianProcess(kernels.SquaredExponential(30.0, 1.0), solver="iterative")
    with pytest.raises(ValueError, match="did not converge"):
        smooth.condition(faint)


def test_rows_that_are_met_to_rounding_have_a_bound_of_the_error():
    x = np.random.default_rng(0).uniform(size=(60, 2))
    model = sd.GaussianProcess(kernels.Matern52(1.0, 1.0), solver="iterative")
    for yerr in np.geomspace(1e-7, 1e-6, 12):
        post = model.condition(sd.observe(x, x[:, 0], yerr))
        assert 0.0 <= post.error < 1e-6


@pytest.mark.parametrize("mean", [0.0, "constant", "linear"])
@pytest.mark.parametrize("noise", [0.3, 0.02])
@pytest.mark.parametrize("n", [30, 100, 400])
def test_limits_tell_that_the_noise_was_estimated(n, noise, mean):
    """By the leverages of what lies below the covariance: no fewer degrees of freedom."""
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(n, 2))
    data = sd.observe(x, np.sin(3 * x[:, 0]) + noise * rng.standard_normal(n))
    kernel, levels = kernels.Matern32(0.5, 1.0), {(0, 0): noise}
    dense, iterative = (
        sd.GaussianProcess(kernel, levels, mean, solver=s).condition(data)
        for s in ("dense", "iterative")
    )
    assert dense.dof <= iterative.dof * (1 + 1e-9)
    width = np.ptp(np.array([post.interval(x[:3]) for post in (dense, iterative)]), axis=1)
    assert_allclose(width[1], width[0], rtol=0.03)
    if n == 30:
        assert_allclose(iterative.dof, dense.dof, rtol=1e-6)
    known = sd.GaussianProcess(kernel, solver="iterative").condition(
        sd.observe(x, np.sin(3 * x[:, 0]), noise)
    )
    assert np.isinf(known.dof)
    slopes = sd.observe(x[:5], 3 * np.cos(3 * x[:5, 0]), nu=(1, 0))
    levels = {(0, 0): noise, (1, 0): 1.0}
    both = sd.GaussianProcess(kernel, levels, mean, solver="iterative").condition(data + slopes)
    assert np.isfinite(both.interval(x[:3], (1, 0))).all()
