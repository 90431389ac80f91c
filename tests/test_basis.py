"""B-spline bases against the definition, scipy, and their own identities."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.interpolate import BSpline, PPoly

from smoothderiv.splines import BSplineBasis

KNOTS = {
    "simple": [0.7, 1.1, 2.9],
    "double": [0.7, 1.1, 1.1, 2.9],
    "none": [],
    "uneven": [1e-6, 0.5, 0.5001, 2.999],
}


def scipy_rows(basis, x, nu):
    eye = np.eye(basis.n_coef)
    spline = BSpline(basis.t, eye, basis.k)
    return spline(x, nu=nu)


@pytest.mark.parametrize("k", range(12))
@pytest.mark.parametrize("name", KNOTS)
def test_rows_of_every_order_equal_scipy(k, name):
    knots = KNOTS[name] if k else np.unique(KNOTS[name])
    basis = BSplineBasis.clamped(knots, 0.0, 3.0, k)
    x = np.concatenate((np.linspace(0, 3, 41)[1:-1] + 1e-3, [0.0, 3.0]))
    for nu in range(k + 1):
        rows = basis.rows(x, nu)
        assert rows.indptr.tolist() == list(range(0, len(x) * (k + 1) + 1, k + 1))
        expected = scipy_rows(basis, x, nu)
        assert_allclose(rows.toarray(), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@given(
    k=st.integers(0, 5),
    interior=st.lists(st.integers(1, 9), max_size=7),
    x=st.lists(st.floats(0, 10), min_size=1, max_size=6),
    nu=st.integers(0, 6),
)
def test_rows_equal_the_definition(k, interior, x, nu):
    inner = sorted(v for v in set(interior) for _ in range(min(interior.count(v), k + 1)))
    basis = BSplineBasis.clamped(inner, 0.0, 10.0, k)
    expected = naive.basis_matrix(basis.t, k, x, [nu] * len(x))
    scale = max(1.0, np.abs(expected).max())
    assert_allclose(basis.rows(x, nu).toarray(), expected, atol=1e-12 * scale)


@pytest.mark.parametrize("k", [0, 1, 3, 5, 8])
def test_sums_are_one_and_sums_of_derivatives_vanish(k):
    basis = BSplineBasis.clamped([0.2, 0.2, 0.9] if k else [0.2, 0.9], 0.0, 1.0, k)
    x = np.linspace(0, 1, 33)
    assert_allclose(basis.rows(x).sum(axis=1), 1.0, rtol=1e-13)
    for nu in range(1, k + 3):
        rows = basis.rows(x, nu).toarray()
        assert_allclose(rows.sum(axis=1), 0.0, atol=1e-13 * max(1.0, np.abs(rows).max()))
    assert not basis.rows(x, k + 1).toarray().any()


def test_right_derivative_inside_and_left_derivative_at_the_last_knot():
    basis = BSplineBasis.clamped([1.0], 0.0, 2.0, 1)
    hat = np.array([0.0, 1.0, 0.0])
    assert_allclose(basis.rows([0.0, 0.5, 1.0, 2.0], 1) @ hat, [1.0, 1.0, -1.0, -1.0])


def test_outside_the_end_polynomials_continue():
    rng = np.random.default_rng(0)
    basis = BSplineBasis.clamped([0.3, 0.8], 0.0, 1.0, 4)
    coef = rng.standard_normal(basis.n_coef)
    spline = BSpline(basis.t, coef, 4, extrapolate=True)
    x = np.array([-0.7, -1e-9, 1.0, 1.0 + 1e-9, 1.9])
    for nu in range(5):
        assert_allclose(basis.rows(x, nu) @ coef, spline(x, nu=nu), rtol=1e-10, atol=1e-10)


def test_one_order_for_each_row_and_unsorted_places():
    rng = np.random.default_rng(1)
    basis = BSplineBasis.clamped(np.arange(1, 30), 0.0, 30.0, 3)
    x, nu = rng.uniform(0, 30, 200), rng.integers(0, 5, 200)
    rows = basis.rows(x, nu).toarray()
    for order in range(5):
        assert_allclose(rows[nu == order], basis.rows(x[nu == order], order).toarray())


@pytest.mark.parametrize(("k", "m"), [(1, 1), (3, 2), (5, 3), (5, 0), (4, 4), (2, 3)])
def test_penalty_is_the_exact_integral_of_products(k, m):
    basis = BSplineBasis.clamped([0.5, 0.6, 2.0], 0.0, 3.0, k)
    eye = np.eye(basis.n_coef)
    dense = np.zeros((basis.n_coef, basis.n_coef))
    for i in range(basis.n_coef):
        for j in range(basis.n_coef):
            a, b = (PPoly.from_spline(BSpline(basis.t, eye[r], k)).derivative(m) for r in (i, j))
            for s in range(len(a.x) - 1):
                if a.x[s + 1] > a.x[s]:
                    product = np.polyint(np.polymul(a.c[:, s], b.c[:, s]))
                    dense[i, j] += np.polyval(product, a.x[s + 1] - a.x[s])
    penalty = basis.penalty(m).toarray()
    assert_allclose(penalty, dense, atol=1e-11 * max(1.0, np.abs(dense).max()))
    far = np.abs(np.subtract.outer(np.arange(basis.n_coef), np.arange(basis.n_coef))) > k
    assert not penalty[far].any()


@pytest.mark.parametrize("k", [0, 1, 3, 6])
def test_integral_rows_are_differences_of_the_antiderivative(k):
    rng = np.random.default_rng(k)
    basis = BSplineBasis.clamped([0.4, 1.0, 1.7], 0.0, 2.0, k)
    coef = rng.standard_normal(basis.n_coef)
    antiderivative = BSpline(basis.t, coef, k).antiderivative()
    a, b = rng.uniform(-0.3, 2.3, (2, 20))
    expected = antiderivative(b) - antiderivative(a)
    assert_allclose(basis.integral_rows(a, b) @ coef, expected, rtol=1e-11, atol=1e-12)
    assert_allclose(basis.integral_rows(0.0, 2.0).sum(), 2.0, rtol=1e-14)


@pytest.mark.parametrize(
    ("t", "k", "words"),
    [
        ([0, 0, 1, 0.5, 2, 2], 1, "knot 3 is 0.5"),
        ([0, 0, 1], 1, "needs at least 4"),
        ([0, 0, 1, 1, 1, 2, 2], 1, "more than 2 knots at 1"),
        ([0, 0, 0, 0], 1, "more than 2 knots at 0"),
        ([0, 0, np.nan, 1], 1, "row 2 is nan"),
        ([0, 1, 2, 3], -1, "degree"),
    ],
)
def test_bad_knots_are_refused_by_name(t, k, words):
    with pytest.raises(ValueError, match=words):
        BSplineBasis(np.array(t, dtype=float), k)


def test_interior_knots_outside_are_refused():
    with pytest.raises(ValueError, match="interior: knot 1 is 5, not between 0 and 3"):
        BSplineBasis.clamped([1.0, 5.0], 0.0, 3.0, 3)
