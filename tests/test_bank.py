"""Laws of banks: each series is tuned and answered as if alone, what they share is found once."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import smoothderiv as sd
from smoothderiv.statespace import _bank_loops, _loops
from smoothderiv.statespace.backward import errors_of
from smoothderiv.statespace.bank import smooth_bank
from smoothderiv.statespace.markov import MarkovRows
from smoothderiv.statespace.priors import IntegratedWiener

ASKED = np.array([-0.4, 0.0, 0.31, 2.2, 2.2, 4.9, 6.5])  # before, at, between and beyond the rows


def curves(count=6, n=80, same=True, seed=0):
    """Waves, each with its own smoothness and noise, at the same places or each at its own."""
    rng = np.random.default_rng(seed)
    places = np.append(0.0, np.sort(rng.uniform(0, 6, n - 1)))
    out = []
    for k in range(count):
        x = places if same else np.append(0.0, rng.uniform(0, 6, n - 1 - k))
        y = 1e3 + np.sin((1 + 0.4 * k) * x) + 0.03 * 2.0**k * rng.standard_normal(len(x))
        out.append((x, y))
    return out


def check_alone(model, data, places, nu=(0, 1), rtol=1e-10):
    """Each answer is that of the series tuned and conditioned by itself; return who has none."""
    found = smooth_bank(model, data, places, nu)
    for rows, where, answer in zip(data, places, found, strict=True):
        if answer is None:
            continue
        post = sd.tune(model, rows).condition(rows)
        assert_allclose(answer.dof, post.dof, rtol=rtol)
        for j, order in enumerate(nu):
            std = post.std(where, order)
            assert_allclose(answer.mean[j], post.mean(where, order), atol=rtol * std.max())
            assert_allclose(answer.std[j], std, rtol=rtol)
    return [k for k, answer in enumerate(found) if answer is None]


@pytest.mark.parametrize("same", [True, False])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_each_series_is_answered_as_if_alone(order, same):
    data = [sd.observe(x, y) for x, y in curves(same=same)]
    assert not check_alone(sd.SmoothingSpline(order), data, [ASKED] * len(data))
    assert not check_alone(sd.SmoothingSpline(order), data, [rows.x for rows in data])


@pytest.mark.parametrize("relative", [False, True])
def test_noise_known_or_known_in_part_shared_or_not(relative):
    sizes = np.linspace(0.5, 2.0, 80)
    given = [
        sd.observe(x, y, 0.03 * 2.0**k * sizes, relative=relative)
        for k, (x, y) in enumerate(curves())
    ]
    given += [sd.observe(x, y, sizes, relative=True) for x, y in curves(3, seed=1)]
    given += [sd.observe(x, y) for x, y in curves(3)]
    assert not check_alone(sd.SmoothingSpline(2), given, [ASKED] * len(given))
    held = sd.SmoothingSpline(2, noise={0: 0.2})
    assert not check_alone(held, given[-6:], [ASKED] * 6)


def test_the_order_of_rows_and_repeated_places_change_nothing():
    rng = np.random.default_rng(5)
    data = []
    for x, y in curves(4):
        order = rng.permutation(160)
        twice = np.tile(x, 2), np.concatenate((y, y + 0.1 * rng.standard_normal(len(x))))
        data.append(sd.observe(twice[0][order], twice[1][order]))
    assert not check_alone(sd.SmoothingSpline(2), data, [ASKED] * 4)


def test_what_is_not_clear_is_left_to_be_looked_at_alone():
    (x, y), *_ = curves(1)
    rng = np.random.default_rng(0)
    clear = sd.observe(x, y)
    data = [
        clear,
        sd.observe(x, 2 * x + 1),  # a polynomial, but for rounding
        sd.observe(x, np.where(np.arange(80) % 2, 1.0, -1.0)),  # best as a straight line
        sd.observe(x[:3], y[:3]),
        sd.observe(x, y, 0.1) + sd.observe(x, y),
        sd.observe(x, y, np.where(x == 0, 0.0, 0.1)),
        clear + sd.observe(x, np.cos(x) + 0.1 * rng.standard_normal(80), nu=1),
        sd.observe(np.zeros(5), np.arange(5.0)),
        sd.observe(np.column_stack((x, x)), y),
    ]
    assert check_alone(sd.SmoothingSpline(2), data, [ASKED] * len(data)) == list(range(1, 9))


def test_series_alike_are_filtered_by_one_where_they_ask_for_the_same(monkeypatch):
    count, whole = [], _loops.forward_each
    monkeypatch.setattr(
        _loops, "forward_each", lambda *given: count.append(len(given[5])) or whole(*given)
    )
    filtered = []
    for same in (True, False):
        count.clear()
        data = [sd.observe(x, y) for x, y in curves(12, same=same)]
        smooth_bank(sd.SmoothingSpline(2), data, [ASKED] * 12, (0,))
        filtered.append(sum(count))
    assert filtered[0] < 0.5 * filtered[1]


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_values_sent_through_the_gains_of_others_say_what_their_own_filter_does(order):
    """``y'Py`` and ``sum_i R_i (Py)_i^2``, whose difference is the penalty."""
    both = curves(5)
    x, noise = both[0][0], np.linspace(0.1, 0.3, 80)
    prior = IntegratedWiener(order, 3.0, 6.0)
    every = [MarkovRows.of(prior, x, y - 1e3, noise, np.zeros(80, dtype=int)) for _, y in both]
    gain, _, inverse, _ = every[0].gains
    values = np.stack([rows.y for rows in every], axis=1)
    chi, spent = _bank_loops.follow(values, noise**2, every[0].steps.h, gain, inverse)
    for k, rows in enumerate(every):
        likelihood, errors = errors_of(rows)
        assert_allclose(chi[k], likelihood.chi, rtol=1e-9)
        assert_allclose(spent[k], (noise**2 * errors.pull**2).sum(), rtol=1e-9)
        assert_allclose(chi[k] - spent[k], errors.penalty, rtol=1e-8)


def panel(n=60):
    parts = [pd.DataFrame({"id": f"{k}", "t": x, "y": y}) for k, (x, y) in enumerate(curves(5, n))]
    return pd.concat(parts, ignore_index=True)


def test_a_panel_is_answered_by_banks_on_threads_and_alone_what_they_leave():
    frame = panel()
    frame.loc[frame.id == "2", "y"] = 3 - 0.5 * frame.t  # met exactly
    frame.loc[75, "y"] = np.inf
    frame.loc[20:25, "y"] = np.nan
    model = sd.SmoothingSpline(3)
    with pytest.warns(UserWarning, match=r"1 of 5 .*id='1'.*row 75 is inf"):
        out = sd.smooth_panel(frame, "id", "t", "y", model=model, workers=2, nu=(0, 2))
    assert list(dict.fromkeys(out.id)) == list("01234")
    assert out.warning[out.id == "2"].str.contains("best at an end").all()
    for name, rows in out[out.error.isna()].groupby("id"):
        mine = frame[frame.id == name]
        data = sd.observe(mine.t, mine.y)
        with pytest.warns() if name == "2" else np.errstate():
            post = sd.tune(model, data).condition(data)
        assert_allclose(rows.t, np.sort(mine.t))
        for nu in (0, 2):
            lower, upper = post.interval(rows.t, nu)
            width = (upper - lower).max() + 1e-12
            for word, value in (("mean", post(rows.t, nu)), ("lower", lower), ("upper", upper)):
                assert_allclose(rows[f"{word}_{nu}"], value, atol=1e-10 * width)


def test_banks_of_times():
    frame = panel(30)
    frame["t"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(frame.t.round(6), unit="h")
    model = sd.SmoothingSpline(2)
    out = sd.smooth_panel(frame, "id", "t", "y", at=7, model=model)
    for name, rows in out.groupby("id"):
        mine = frame[frame.id == name]
        data = sd.observe(mine.t, mine.y)
        post = sd.tune(model, data).condition(data)
        assert_allclose(rows.std_1, post.std(rows.t, 1), rtol=1e-10)
        assert rows.t.iloc[-1] == mine.t.max()
