"""Means of neighbours say what their rows say, of curves that are straight within them."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import smoothderiv as sd
from conftest import mixed_data
from smoothderiv.binning import _scatter, binned, summarised


def test_precisions_add_up_and_means_are_weighted():
    data = sd.observe([3.0, 0.0, 1.0, 2.0], [3.0, 0.0, 2.0, 2.0], [0.5, 1.0, 0.5, 0.5])
    few = binned(data, 2)
    assert_allclose(few.x, [0.8, 2.5])
    assert_allclose(few.y, [1.6, 2.5])
    assert_allclose(few.sd(), [1 / np.sqrt(5), 1 / np.sqrt(8)])


@pytest.mark.parametrize("known", [True, False])
def test_a_line_is_the_same(known):
    """The posterior of a straight line takes means for rows, given their noise."""
    rng = np.random.default_rng(0)
    x = np.concatenate((rng.uniform(0, 1, 40), rng.uniform(0, 1, 20)))
    nu = np.repeat([0, 1], [40, 20])
    yerr = rng.uniform(0.5, 2, 60) if known else None
    data = sd.observe(x, 2 * x * (nu == 0) + 2 + rng.standard_normal(60), yerr, nu)
    few = binned(data, 15)
    assert 15 <= len(few) <= 16
    assert few.estimated_orders == data.estimated_orders
    model = sd.SmoothingSpline(2, q=0.0, noise=None if known else {0: 1.0, 1: 3.0})
    whole, part = model.condition(data), model.condition(few)
    ask = np.linspace(-1, 2, 5)
    assert_allclose(part.std(ask, 1), whole.std(ask, 1), rtol=0.1)
    assert (np.abs(part(ask) - whole(ask)) < 0.5 * whole.std(ask)).all()


def test_few_rows_and_exact_ones_stay():
    data = mixed_data()
    assert binned(data, len(data)) is data
    pinned = data + sd.observe([0.0, 1.0], [0.0, 0.0], 0.0)
    few = binned(pinned, 20)
    assert few.exact.sum() == 2
    assert few.orders == data.orders


@pytest.mark.parametrize(("turns", "same"), [(3, False), (250, True), (900, True), (6000, True)])
def test_bins_that_would_hide_some_of_the_curve_are_not_made(turns, same):
    """Bins hold 20 rows; the curve turns slowly, within some bins, within one, or faster."""
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(0, 1, 20_000))
    data = sd.observe(x, np.sin(2 * np.pi * turns * x) + 0.5 * rng.standard_normal(20_000))
    few = summarised(data, 1000)
    assert (few is data) == same
    assert len(few) in (1000, 20_000)


@pytest.mark.parametrize("yerr", [None, 0.03, 1.0])
@pytest.mark.parametrize(("step", "same"), [(0.1, True), (0.5, False), (1.0, False)])
def test_steps_of_rounded_values_are_seen_where_bins_would_hide_them(step, same, yerr):
    """The values rise by a tenth, half or whole of what they are rounded to from row to row.

    Stated noise of more than the steps says that these are none of the curve's.
    """
    same = same and yerr != 1.0
    data = sd.observe(np.arange(6000.0), np.round(step * np.arange(6000.0) + 0.2), yerr)
    assert (summarised(data, 500) is data) == same


def test_scatter_is_the_noise():
    rng = np.random.default_rng(2)
    x = np.linspace(0, 1, 30_000)
    data = sd.observe(x, x + 2.0 * rng.standard_normal(30_000), 2.0)
    for size in (3, 5, 50):
        assert_allclose(_scatter(data, size), 1.0, rtol=0.03)
