"""Descent by exact gradients ends where the gradient is zero, or at a bound that stops it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from smoothderiv.newton import newton, promise

FREE = np.full(2, -9.0), np.full(2, 9.0)
A = np.array([[3.0, 1.0], [1.0, 2.0]])


def bowl(point):
    return 0.5 * float(point @ A @ point) - point[0], A @ point - [1.0, 0.0]


def banana(point):
    u, v = point
    bent = v - u * u
    value = (1 - u) ** 2 + 100 * bent**2
    return value, np.array([2 * (u - 1) - 400 * u * bent, 200 * bent])


def test_a_quadratic_is_met_by_one_step_which_gains_what_it_promised():
    start, exact = np.array([2.0, -1.0]), np.linalg.solve(A, [1.0, 0.0])
    point, hessian = newton(bowl, start, *FREE, steps=1)
    assert_allclose(point, exact, atol=1e-10)
    assert_allclose(hessian, A, atol=1e-9)
    gain = bowl(start)[0] - bowl(exact)[0]
    assert promise(bowl, start, A, *FREE) == pytest.approx(gain, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_curved_valley_is_followed_to_its_end(scale):
    def loss(point):
        value, slope = banana(point)
        return scale * value, scale * slope

    point, _ = newton(loss, np.array([-1.2, 1.0]), *FREE, steps=200)
    assert_allclose(point, [1.0, 1.0], atol=1e-5 / min(scale, 1.0) ** 0.5)


def test_bounds_are_kept_and_the_other_logs_minimised():
    lower, upper = np.array([-9.0, 0.5]), np.array([9.0, 9.0])
    point, _ = newton(bowl, np.array([2.0, 5.0]), lower, upper)
    assert point[1] == 0.5
    assert_allclose(A[0] @ point, 1.0, rtol=1e-9)
    assert bowl(point)[1][1] > 0


def test_it_ends_where_less_is_promised_than_asked():
    asked = []

    def loss(point):
        asked.append(point)
        return banana(point)

    start = np.array([-1.2, 1.0])
    point, hessian = newton(loss, start, *FREE, nats=0.5, steps=200)
    few = len(asked)
    assert promise(banana, point, hessian, *FREE) < 0.5
    newton(loss, start, *FREE, steps=200)
    assert few < len(asked) - few


def test_infinite_losses_are_stepped_back_from():
    def loss(point):
        return bowl(point) if point[0] > 0 else (np.inf, np.zeros(2))

    hessian = 0.1 * A  # the first step goes too far
    point, _ = newton(loss, np.array([2.0, -1.0]), *FREE, hessian)
    assert_allclose(point, np.linalg.solve(A, [1.0, 0.0]), atol=1e-7)
