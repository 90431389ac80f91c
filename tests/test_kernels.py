"""Kernels: every derivative in closed form, to 1e-13 of 50-digit arithmetic, exact at r = 0."""

import functools
import math

import mpmath as mp
import naive_gp as naive
import numpy as np
import pytest
from numpy.testing import assert_allclose

import smoothderiv as sd
from smoothderiv import kernels

SCALE = (0.7, 1.3)
MATERN = [kernels.Matern12, kernels.Matern32, kernels.Matern52, kernels.Matern72]


def cases(ndim):
    """Each kernel with its 50-digit form."""
    scale = SCALE[:ndim]
    tied = scale if ndim > 1 else scale[0]
    yield (
        kernels.SquaredExponential(tied, 1.7),
        functools.partial(naive.squared_exponential, scale=scale, sigma=mp.mpf(1.7)),
    )
    for k, cls in enumerate(MATERN):
        yield (
            cls(tied, 1.7),
            functools.partial(naive.matern, scale=scale, sigma=mp.mpf(1.7), k=k),
        )
    yield (
        kernels.RationalQuadratic(tied, 1.7, alpha=0.8),
        functools.partial(
            naive.rational_quadratic, scale=scale, sigma=mp.mpf(1.7), alpha=mp.mpf(0.8)
        ),
    )
    yield (
        kernels.Periodic(2.1, tied, 1.7),
        functools.partial(naive.periodic, scale=scale, sigma=mp.mpf(1.7), period=mp.mpf(2.1)),
    )
    yield (
        kernels.Polynomial(3, 0.4, 1.7, center=-0.25),
        functools.partial(
            naive.polynomial, degree=3, offset=mp.mpf(0.4), sigma=mp.mpf(1.7), center=mp.mpf(-0.25)
        ),
    )
    yield (
        kernels.Linear(1.7, center=-0.25),
        functools.partial(
            naive.polynomial, degree=1, offset=0, sigma=mp.mpf(1.7), center=mp.mpf(-0.25)
        ),
    )
    yield kernels.Constant(1.7), lambda x, y: mp.mpf(1.7) ** 2


def combinations(ndim):
    """Sums and products, Leibniz' rule at work."""
    found = {type(k).__name__: (k, ref) for k, ref in cases(ndim)}
    (a, fa), (b, fb) = found["Matern52"], found["Periodic"]
    (c, fc), (d, fd) = found["SquaredExponential"], found["Polynomial"]
    yield a + b, lambda x, y: fa(x, y) + fb(x, y)
    yield a * b, lambda x, y: fa(x, y) * fb(x, y)
    yield 2.5 * (c * d * b) + a, lambda x, y: 2.5 * fc(x, y) * fd(x, y) * fb(x, y) + fa(x, y)


def agrees(kernel, reference, x, y, ndim, most=2):
    orders = naive.multi_indices(ndim, min(most, kernel.smoothness))
    # the size of what cancels: a derivative that vanishes by cancellation has no relative error
    for p in orders:
        for q in orders:
            got = kernel.cov([x], [p], [y], [q]) if ndim > 1 else kernel.cov(x, p[0], y, q[0])
            exact = naive.derivative(reference, x, y, p, q)
            scale = max(abs(exact), mp.mpf(10) ** -25 if np.array_equal(x, y) else 0)
            assert abs(mp.mpf(float(got[0, 0])) - exact) <= 1e-13 * scale, (kernel, p, q)


DISTANCES = [(0.0, 0.0), (1e-12, 1e-12), (0.31, -0.67)]


@pytest.mark.parametrize("step", DISTANCES)
@pytest.mark.parametrize("case", list(cases(1)) + list(combinations(1)), ids=lambda c: str(c[0]))
def test_derivatives_in_one_dimension(case, step):
    x = np.array([0.4])
    agrees(*case, x, x + step[0], 1)


@pytest.mark.parametrize("step", DISTANCES)
@pytest.mark.parametrize("case", list(cases(2)) + list(combinations(2)), ids=lambda c: str(c[0]))
def test_derivatives_in_two_dimensions(case, step):
    x = np.array([0.4, -0.2])
    agrees(*case, x, x + step, 2, most=1 if "+" in str(case[0]) else 2)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_wiener_is_the_integral_that_defines_it(order):
    kernel = kernels.Wiener(order, 1.3)
    for s, t in [(0.7, 0.7), (0.3, 1.1), (1.1, 0.3)]:
        reference = functools.partial(naive.wiener, order=order, sigma=mp.mpf(1.3))
        exact = reference([mp.mpf(s)], [mp.mpf(t)])
        assert kernel.cov([s], 0, [t], 0)[0, 0] == pytest.approx(float(exact), rel=1e-13)
        for p in range(order):
            for q in range(order):  # D^p of an m-fold integral is an (m - p)-fold one
                m, n = order - 1 - p, order - 1 - q
                weight = mp.mpf(1.3) ** 2 / mp.factorial(m) / mp.factorial(n)
                exact = weight * mp.quad(
                    lambda v, s=s, t=t, m=m, n=n: (s - v) ** m * (t - v) ** n, [0, min(s, t)]
                )
                got = kernel.cov([s], p, [t], q)[0, 0]
                assert got == pytest.approx(float(exact), rel=1e-13)
                mirrored = kernel.cov([-s], p, [-t], q)[0, 0]
                assert mirrored == pytest.approx((-1) ** (p + q) * got, rel=1e-15)
    assert kernel.cov([-0.4], 0, [0.4], 0)[0, 0] == 0.0


@pytest.mark.parametrize("k", [0, 1, 2, 3])
@pytest.mark.parametrize("scale", [1e-9, 0.3, 1e9])
def test_prior_variances_of_matern_match_the_closed_formula(k, scale):
    nu = k + 0.5
    for q in range(k + 1):
        half = math.gamma(q + 0.5) * math.gamma(nu - q) / (math.gamma(0.5) * math.gamma(nu))
        exact = 4.0 * (2 * nu / scale**2) ** q * half
        got = MATERN[k](scale, 2.0).cov([5.0], q)[0, 0]
        assert got == pytest.approx(exact, rel=1e-13)


def test_squared_exponential_is_the_hermite_formula():
    from scipy.special import eval_hermitenorm

    x, y, scale = 0.3, 1.4, 0.8
    r = (x - y) / scale
    for a in range(4):
        for b in range(4):
            hermite = eval_hermitenorm(a + b, r) * math.exp(-r * r / 2)
            exact = (-1) ** a * scale ** -(a + b) * hermite
            got = kernels.SquaredExponential(scale, 1.0).cov([x], a, [y], b)[0, 0]
            assert got == pytest.approx(exact, rel=1e-12)


def every_kernel(ndim):
    found = [k for k, _ in (*cases(ndim), *combinations(ndim))]
    return found + ([kernels.Wiener(3, 1.3, anchor=(0.1, 0.8))] if ndim == 1 else [])


@pytest.mark.parametrize("ndim", [1, 2])
def test_matrices_of_mixed_orders_are_positive_semidefinite(ndim):
    rng = np.random.default_rng(1)
    for kernel in every_kernel(ndim):
        most = min(2, kernel.smoothness)
        orders = np.array(naive.multi_indices(ndim, int(most)))
        x = rng.uniform(-1, 1, (40, ndim))
        nu = orders[rng.integers(len(orders), size=40)]
        K = kernel.cov(x, nu) if ndim > 1 else kernel.cov(x[:, 0], nu[:, 0])
        assert np.abs(K - K.T).max() <= 1e-13 * np.abs(K).max()
        scale = np.sqrt(np.where(np.diag(K) > 0, np.diag(K), 1.0))
        eigenvalues = np.linalg.eigvalsh(K / np.outer(scale, scale))
        assert eigenvalues[0] >= -1e-13 * eigenvalues[-1], kernel


@pytest.mark.parametrize("ndim", [1, 2])
def test_diagonal_is_the_diagonal_of_the_blocks(ndim):
    x = np.random.default_rng(2).uniform(-1, 1, (7, ndim))
    for kernel in every_kernel(ndim):
        orders = np.array(naive.multi_indices(ndim, int(min(2, kernel.smoothness))))
        blocks = kernel.blocks(x, orders, x, orders)
        diagonal = np.einsum("pqii->pqi", blocks)
        np.testing.assert_allclose(
            kernel.diagonal(x, orders, orders), diagonal, rtol=1e-13, atol=1e-13
        )


@pytest.mark.parametrize("ndim", [1, 2])
def test_slopes_are_the_derivatives_by_the_logarithm_of_each_parameter(ndim):
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-1, 1, (5, ndim)), rng.uniform(-1, 1, (4, ndim))
    y[:2] = x[:2]
    for kernel in every_kernel(ndim):
        orders = np.array(naive.multi_indices(ndim, int(min(2, kernel.smoothness))))
        weights = rng.normal(size=(len(orders), len(orders), 5, 4))
        slopes = kernel.slopes(weights, x, orders, y, orders)
        values = [p.value for p in kernel.parameters(ndim)]
        assert len(slopes) == len(values)
        for i, value in enumerate(values):
            step, sums = 1e-5, []
            for sign in (1, -1):
                moved = [*values[:i], value * math.exp(sign * step), *values[i + 1 :]]
                blocks = kernel.filled(moved).blocks(x, orders, y, orders)
                sums.append((weights * blocks).sum())
            size = np.abs(weights * kernel.blocks(x, orders, y, orders)).sum()
            assert slopes[i] == pytest.approx((sums[0] - sums[1]) / 2e-5, abs=1e-8 * size)


def test_gradient_covariance_at_one_place_is_isotropic():
    eye = np.eye(2, dtype=int)
    for cls in (kernels.SquaredExponential, *MATERN[1:]):
        K = cls(0.7, 1.0).cov(np.full((2, 2), 0.3), eye)
        assert K[0, 1] == K[1, 0] == 0.0
        assert K[0, 0] == K[1, 1] > 0


def test_what_is_omitted_of_the_other_side_is_that_of_the_first():
    """As for a posterior: places and orders by themselves."""
    kernel = kernels.SquaredExponential(1.0, 1.0)
    post = sd.GaussianProcess(kernel).condition(sd.observe([50.0], [0.0], 0.1))  # far: the prior
    x, other = np.array([0.3, 0.9]), np.array([0.1, 0.4])
    for ask in (kernel.cov, post.cov):
        assert_allclose(ask([0.3], 0, nu2=1), 0.0, atol=1e-12)
        assert_allclose(ask(x, 0, nu2=1), kernel.cov(x, 0, x, 1), atol=1e-12)
        assert_allclose(ask(x, 1), kernel.cov(x, 1, x, 1), atol=1e-12)
        assert_allclose(ask(x, 1, other), kernel.cov(x, 1, other, 1), atol=1e-12)
        assert_allclose(ask(x, 1, other, 0), kernel.cov(x, 1, other, 0), atol=1e-12)
        assert_allclose(ask(x), kernel.cov(x, 0, x, 0), atol=1e-12)


def test_an_order_that_does_not_exist_is_refused_with_a_kernel_that_has_it():
    with pytest.raises(ValueError, match=r"order 2 .*1 derivative; kernels.Matern52"):
        kernels.Matern32(1.0, 1.0).cov([0.0], 2)
    with pytest.raises(ValueError, match="SquaredExponential"):
        kernels.Matern72(1.0, 1.0).cov([0.0], 4)
    with pytest.raises(ValueError, match=r"order 1 .*Matern32"):
        (kernels.Matern12(1.0, 1.0) + kernels.SquaredExponential(1.0, 1.0)).cov([0.0], 1)
    with pytest.raises(ValueError, match="order 2"):  # mixed partials count in total
        kernels.Matern32(1.0, 1.0).cov([[0.0, 0.0]], [[1, 1]])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: kernels.Matern52(scale=-1.0), "scale: -1.0"),
        (lambda: kernels.Matern52(scale="a"), "scale: 'a', but a positive number is needed"),
        (lambda: kernels.Periodic(scale=[1.0, "a"]), r"scale\[1\]: 'a', but a positive number"),
        (lambda: kernels.Matern52(sigma=0.0), "sigma: 0.0"),
        (lambda: kernels.Matern52(scale=(1.0, math.nan)), r"scale\[1\]: nan"),
        (lambda: kernels.Matern52((None, 1.0), isotropic=True), r"one length .*\(None, 1\.0\)"),
        (lambda: kernels.Periodic(scale=(1.0, 2.0), isotropic=True), "isotropic: True is one"),
        (lambda: kernels.Wiener(0), "order: 0"),
        (lambda: kernels.Polynomial(degree=0), "degree: 0"),
        (lambda: kernels.LogNormal(1.0, 0.5), "factor above 1"),
        (lambda: kernels.AtLeast(0.0), "value must be positive"),
        (lambda: kernels.Matern52().cov([0.0]), "scale: unknown"),
        (lambda: -1.0 * kernels.Matern52(1.0, 1.0), "positive number"),
        (lambda: 2.0 * kernels.Matern52(), "is tuned"),
        (lambda: kernels.Wiener(2) * kernels.Matern52(), "leaves polynomials free"),
        (lambda: kernels.Wiener(2, 1.0).cov([[0.0, 1.0]]), "x of one dimension"),
        (lambda: kernels.Matern52((1.0, 2.0), 1.0).cov([0.0]), "2 lengths"),
        (lambda: kernels.Constant(1.0).cov([0.0, math.nan]), "x: row 1 is nan"),
        (lambda: kernels.Constant(1.0).cov([0.0, 1.0], [0, -1]), "nu: row 1 is -1"),
        (
            lambda: kernels.Constant(1.0).cov([0.0, 1.0], True),
            "nu: True is not the order",
        ),
        (
            lambda: kernels.Constant(1.0).cov([0.0, 1.0], [0, 1, 2]),
            r"nu: shape \(3,\) does not fit",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("kind", [int, float, np.float32, np.int64])
def test_a_number_of_any_kind_is_given(kind):
    kernel = kernels.RationalQuadratic(kind(1), alpha=kind(2), sigma=kind(3))
    given = kernel.parameters(1)
    assert {p.name: p.value for p in given} == {"scale": 1.0, "alpha": 2.0, "sigma": 3.0}
    assert {type(p.value) for p in given} == {float}
    assert not any(p.is_free for p in given)


def test_parameters_name_what_is_unknown():
    kernel = kernels.Matern52() + kernels.Periodic(period=1.0) * kernels.SquaredExponential()
    names = [p.name for p in kernel.parameters(2) if p.value is None]
    assert names == [
        "parts[0].sigma",
        "parts[0].scale[0]",
        "parts[0].scale[1]",
        "parts[1].parts[0].sigma",
        "parts[1].parts[0].scale[0]",
        "parts[1].parts[0].scale[1]",
        "parts[1].parts[1].scale[0]",
        "parts[1].parts[1].scale[1]",
    ]
    values = [float(i + 1) for i in range(len(kernel.parameters(2)))]
    filled = kernel.filled(values)
    assert [p.value for p in filled.parameters(2)] == values
    assert len(kernels.Matern52(isotropic=True).parameters(5)) == 2


def test_one_amplitude_of_a_factor_of_unknown_size_is_1():
    constant, line, curve = kernels.Constant, kernels.Linear, kernels.SquaredExponential
    for kernel, amplitudes in (
        (curve() * line(), [None, 1.0]),
        (line() * curve(), [None, 1.0]),
        ((curve() + line()) * (constant() + line()), [None, None, 1.0, None]),
        (curve() * (line() + constant()), [None, None, 1.0]),
        (curve() * (line(2.0) + constant()), [None, 2.0, None]),  # its size is given
        (curve(sigma=3.0) * line(), [3.0, None]),  # 1 in what unit?
        (curve(sigma=3.0) * constant(), [3.0, 1.0]),
        (curve(sigma=3.0) * line() * line(), [3.0, None, 1.0]),
        (curve() * (line() * constant() + line()), [None, 1.0, 1.0, None]),
    ):
        found = [p.value for p in kernel.parameters(1) if p.kind == "amplitude"]
        assert found == amplitudes
