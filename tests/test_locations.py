"""Roots, peaks and steepest places: against known curves, by coverage, and when there is none."""

import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import smoothderiv as sd
from conftest import mixed_data, wave
from smoothderiv.splines import BSplineBasis

BASIS = BSplineBasis.clamped(np.linspace(0, 1, 17)[1:-1], 0, 1, 5)
MODEL = sd.RegressionSpline(BASIS)


def true_roots(nu, value=0.0, sign=0):
    x = np.linspace(0, 1, 200_001)
    y = wave(x, nu) - value
    at = np.flatnonzero((y[:-1] < 0) != (y[1:] < 0))
    at = at[(sign == 0) | (np.sign(y[at + 1] - y[at]) == sign)]
    return x[at] - y[at] * (x[1] - x[0]) / (y[at + 1] - y[at])


def sharp(n=400, noise=1e-4):
    x = np.linspace(0, 1, n)
    rng = np.random.default_rng(0)
    return MODEL.condition(sd.observe(x, wave(x) + noise * rng.standard_normal(n), noise))


def test_sharp_data_find_every_root_peak_and_inflection():
    post, within = sharp(), (0.02, 0.98)
    cases = [
        (post.roots(0, 0.3, within, rng=0), true_roots(0, 0.3)),
        (post.maxima(within, rng=0), true_roots(1, sign=-1)),
        (post.minima(within, rng=0), true_roots(1, sign=1)),
        (post.inflections(within, rng=0), true_roots(2)),
    ]
    for found, everywhere in cases:
        truth = everywhere[(everywhere > 0.02) & (everywhere < 0.98)]
        assert len(found) == len(truth)
        assert_allclose(found.x, truth, atol=2e-3)
        assert (found.probability == 1).all()
        assert (found.lower <= found.x).all()
        assert (found.x <= found.upper).all()
    assert_allclose(post.maxima(within, rng=0).height, wave(true_roots(1, sign=-1)), atol=1e-3)


@pytest.mark.parametrize("name", ["roots", "maxima", "minima", "inflections", "argmax"])
def test_two_calls_say_the_same_unless_paths_are_drawn_anew(name):
    ask = getattr(sharp(60, 0.1), name)
    one, two, anew = ask(), ask(), ask(rng=None)
    assert_allclose(one.std, two.std, rtol=0)
    assert (one.std != anew.std).any()


def test_bands_over_surfaces_are_the_same_at_each_call():
    x = np.random.default_rng(0).uniform(size=(12, 2))
    model = sd.GaussianProcess(sd.kernels.Matern52(1.0, 1.0))
    post = model.condition(sd.observe(x, x[:, 0], 0.1))
    assert_allclose(post.band(x)[1], post.band(x)[1], rtol=0)
    assert (post.band(x)[1] != post.band(x, rng=None)[1]).any()


def test_the_words_tell_how_surely_the_largest_value_is_at_an_end():
    x = np.linspace(0, 1, 30)
    rising = sd.RegressionSpline(0, 2).condition(sd.observe(x, x, 0.3)).argmax()
    assert 0.5 < rising.at_edge[0] < 1
    assert f"at an end of the range with probability {rising.at_edge[0]:.3f}" in repr(rising)
    inner = sharp().argmax(within=(0.3, 0.98))
    assert inner.at_edge[0] == 0
    assert "end" not in repr(inner)


def waves(x=None):
    """Three waves as high as each other."""
    t = np.linspace(0, 6 * np.pi, 200)
    noise = 0.1 * np.random.default_rng(0).standard_normal(200)
    data = sd.observe(t if x is None else x(t), np.sin(t) + noise, 0.1)
    return sd.tune(sd.SmoothingSpline(3), data).condition(data)


def test_the_words_say_that_the_largest_value_may_be_on_another_peak():
    post = waves()
    words = repr(post.argmax())
    share = float(re.search(r"but on another peak with probability (0\.\d+)$", words)[1])
    draws = post.sample(np.linspace(0, 6 * np.pi, 600), size=2000, rng=1)
    wave = np.argmax(draws, axis=1) // 200
    here = int(post.argmax().x[0] // (2 * np.pi))
    assert abs(share - np.mean(wave != here)) < 0.05
    assert "probability" not in repr(post.argmax(within=(0, 5)))


def test_the_words_leave_out_a_height_that_was_asked():
    post = waves()
    assert "height" not in repr(post.roots(value=0.5))
    assert "height" not in repr(post.roots())
    assert "probability 1.000" in repr(post.roots(value=0.5))
    assert repr(post.roots(nu=1)).count("height") == 6


def test_the_words_tell_the_unit_of_a_std_of_datetimes():
    first = np.datetime64("2026-01-01", "ms")
    words = repr(waves(lambda t: first + (3.6e6 * t).astype("m8[ms]")).maxima())
    assert len(re.findall(r"\(std [23]\d\d s, 2026-01-01T", words)) == 3
    assert "e+" not in words


def test_position_std_is_the_delta_methods_where_that_holds():
    post = sharp(noise=1e-3)
    found = post.maxima((0.02, 0.98), rng=1)
    delta = post.std(found.x, 1) / np.abs(post(found.x, 2))
    assert_allclose(found.std, delta, rtol=0.1)


def test_noise_on_a_rising_curve_makes_no_sure_peaks():
    """Rough models follow noise: their means and paths have many peaks, of which few are sure."""
    x, found = np.linspace(0, 1, 200), []
    for seed in range(10):
        noise = 0.1 * np.random.default_rng(seed).standard_normal(len(x))
        post = sd.smooth(sd.observe(x, 3 * x + noise, 0.1), sd.SmoothingSpline(2, q=1e4))
        found.append(post.maxima().probability)
    assert np.mean([len(p) for p in found]) > 5
    assert np.mean([np.sum(p >= 0.95) for p in found]) < 0.5


def test_a_peak_with_a_dent_in_its_top_is_one_sure_peak():
    """And the place of it may be on either side of the dent."""
    x = np.linspace(0, 1, 41)
    dent = np.where(np.abs(x - 0.49) < 0.03, -0.25, 0.0)
    y = np.exp(-0.5 * ((x - 0.5) / 0.15) ** 2) + dent
    found = sd.SmoothingSpline(2, q=1e3).condition(sd.observe(x, y, 0.1)).maxima()
    assert len(found) == 2
    assert found.probability.max() > 0.99
    assert 0.3 < found.probability.min() < 0.95
    main = np.argmax(found.probability)
    assert found.lower[main] < found.x.min()
    assert found.upper[main] > found.x.max()


def test_two_equal_peaks_are_two():
    post = sharp(noise=1e-3)
    assert_allclose(wave(true_roots(1, sign=-1)[:2]), wave(true_roots(1, sign=-1)[0]), rtol=1e-3)
    found = post.maxima((0.02, 0.98))
    assert (found.probability[:2] == 1).all()
    assert (found.upper[:2] - found.lower[:2] < 1e-3).all()


def test_peaks_of_derivatives():
    post, within = sharp(), (0.02, 0.98)
    for nu in (1, 2):
        found, same = post.maxima(within, nu=nu), post.derivative(nu).maxima(within)
        assert_allclose(found.x, same.x)
        assert_allclose(found.height, post(found.x, nu))
        assert_allclose(found.height, same.height)
    rising = true_roots(2, sign=1)
    rising = rising[(rising > 0.02) & (rising < 0.98)]
    assert_allclose(post.minima(within, nu=1).x, rising, atol=2e-3)


def test_the_largest_value_of_the_highest_derivative_is_found():
    x = np.linspace(0, 1, 60)
    for model in (sd.SmoothingSpline(2), sd.RegressionSpline(8, 3, lam=None), sd.AdaptiveSpline(2)):
        post = sd.smooth(sd.observe(x, wave(x), 0.01), model)
        nu = int(post.highest_order)
        grid = np.linspace(0, 1, 20_001)
        assert_allclose(post.argmax(nu).height, post(grid, nu).max(), rtol=1e-3)


def test_surfaces_have_no_roots():
    x = np.random.default_rng(0).uniform(size=(12, 2))
    post = sd.GaussianProcess(sd.kernels.Matern52(1.0, 1.0)).condition(sd.observe(x, x[:, 0], 0.1))
    for name in ("roots", "maxima", "minima", "inflections", "argmax", "regions"):
        with pytest.raises(ValueError, match=f"{name}: x has 2 dimensions"):
            getattr(post, name)()


def test_intervals_of_peaks_and_of_the_steepest_place_cover():
    truth = true_roots(1, sign=-1)[0]
    grid = np.linspace(0.5, 1, 50_001)
    steepest = grid[np.argmax(wave(grid, 1))]
    peak, height, steep = [], [], []
    for seed in range(120):
        post = MODEL.condition(mixed_data(seed, n=(120, 40, 0)))
        found = post.maxima((0.0, 0.3), rng=seed)
        nearest = np.argmin(np.abs(found.x - truth))
        peak.append(found.lower[nearest] <= truth <= found.upper[nearest])
        low, high = found.height_lower[nearest], found.height_upper[nearest]
        height.append(low <= wave(truth) <= high)
        rate = post.argmax(1, (0.5, 1.0), rng=seed)
        steep.append(rate.lower[0] <= steepest <= rate.upper[0])
    assert 0.89 <= np.mean(peak) <= 0.99
    assert 0.87 <= np.mean(height) <= 0.99
    assert 0.89 <= np.mean(steep) <= 1.0


def test_limits_of_heights_are_those_of_the_curve_at_a_sharp_peak():
    """Where the place is as good as known; of few rows of unknown noise Student's limits."""
    x = np.linspace(0, 1, 8)
    data = sd.observe(x, -((x - 0.5) ** 2) + 0.001 * np.random.default_rng(1).standard_normal(8))
    post = sd.smooth(data, sd.RegressionSpline(0, 2))
    for level in (0.5, 0.95):
        found = post.maxima(level=level)
        lower, upper = post.interval(found.x, level=level)
        assert_allclose(found.height_upper - found.height, upper - found.height, rtol=0.1)
        assert_allclose(found.height - found.height_lower, found.height - lower, rtol=0.1)
    assert (found.height_upper - found.height > 2.4 * post.std(found.x)).all(), "1.96 is too few"


def test_of_curves_drawn_from_the_model_peaks_are_there_as_often_as_it_says():
    """Each higher than its bases on the drawn curve, though chosen on the mean."""
    x, fine = np.linspace(0, 1, 60), np.linspace(0, 1, 1001)
    wide = sd.SmoothingSpline(3, q=1e6).condition(sd.observe(x[::19], np.zeros(4), 3.0))
    stated, there = [], []
    for seed, curve in enumerate(wide.sample(fine, size=60, rng=5)):
        noise = np.random.default_rng(seed).standard_normal(60)
        data = sd.observe(x, np.interp(x, fine, curve) + noise, 1.0)
        post = sd.SmoothingSpline(3, q=1e6).condition(data)
        mean, found = post(fine), post.maxima()
        for at, top, share in zip(found.x, found.height, found.probability, strict=True):
            i, higher = np.searchsorted(fine, at), np.flatnonzero(mean > top)
            a, b = max(higher[higher < i], default=0), min(higher[higher >= i], default=1000)
            bases = [a + np.argmin(mean[a:i]), i + np.argmin(mean[i : b + 1])]
            there.append((np.interp(at, fine, curve) > curve[bases]).all())
            stated.append(share)
    stated, there = np.array(stated), np.array(there)
    doubtful = (stated > 0.4) & (stated < 0.95)
    spread = np.sqrt(np.sum((stated * (1 - stated))[doubtful]))
    assert doubtful.sum() > 15
    assert abs(np.sum((there - stated)[doubtful])) < 3 * spread
    assert there[stated >= 0.95].mean() > 0.95


def test_humps_of_noise_on_flat_stretches_lie_between_no_sure_rise_and_fall():
    day = np.arange(365.0)
    mu = 200 + 120 * np.exp(-(((day - 120) / 25) ** 2)) + 60 * np.exp(-(((day - 260) / 15) ** 2))
    found = []
    for seed in range(2):
        counts = np.random.default_rng(seed).poisson(mu).astype(float)
        post = sd.smooth(sd.observe(day, counts))
        rises = post.regions()
        turns = (rises.sign[:-1] > 0) & (rises.sign[1:] < 0)
        pairs = list(zip(rises.end[:-1][turns], rises.start[1:][turns], strict=True))
        peaks = post.maxima()
        assert len(peaks) > len(pairs), "the mean has humps beside them"
        for low, high in pairs:
            inside = (peaks.x > low) & (peaks.x < high)
            assert (peaks.probability[inside] > 0.99).any()
        found.append(pairs)
    for pairs in found:
        assert [low < 120 < high or low < 260 < high for low, high in pairs] == [True, True]


def test_a_plateau_has_doubtful_peaks():
    rng = np.random.default_rng(3)
    x = np.linspace(0, 1, 100)
    post = MODEL.condition(sd.observe(x, 0.1 * rng.standard_normal(100), 0.1))
    found = post.maxima(rng=0)
    assert len(found) > 1
    assert (found.probability < 0.97).any()
    assert (found.upper - found.lower > 0.02).all()


def test_a_largest_value_at_the_edge_is_said_to_be_there():
    x = np.linspace(0, 1, 50)
    post = sd.RegressionSpline(0, 3).condition(sd.observe(x, x, 0.05))
    found = post.argmax(rng=0)
    assert found.x[0] == 1.0
    assert found.at_edge[0] > 0.9
    inner = sharp().argmax(0, rng=0)
    assert inner.at_edge[0] == 0.0
    fine = np.linspace(0, 1, 100_001)
    assert_allclose(inner.x, fine[np.argmax(wave(fine))], atol=1e-3)
    assert_allclose(inner.height, wave(fine).max(), atol=1e-3)


def test_locations_move_with_the_units():
    post = sharp(noise=0.05)
    data = post.data
    a = 1e6
    scaled = BSplineBasis(a * BASIS.t, 5)
    other = sd.RegressionSpline(scaled).condition(sd.observe(a * data.x, 1e-3 * data.y, 5e-5))
    assert_allclose(other.maxima(rng=0).x, a * post.maxima(rng=0).x, rtol=1e-9)
    assert_allclose(other.maxima(rng=0).std, a * post.maxima(rng=0).std, rtol=1e-6)


def test_events_of_zoned_times_are_told_in_their_zone_and_can_be_asked():
    times = pd.date_range("2026-10-25 01:30", periods=60, freq="5min", tz="Europe/Berlin")
    y = np.cos((np.arange(60) - 20.0) / 10)
    post = sd.RegressionSpline(8).condition(sd.observe(times, y, 0.05))
    top, rising = post.argmax(), post.regions()
    assert abs(top.x[0] - times[20]) < pd.Timedelta("2min")
    assert "x = 2026-10-25T02:09:5" in repr(top), "for the second time that day, in winter"
    assert "+01:00 (std" in repr(top)
    assert "  2026-10-25T01:33:17.4" in repr(rising)
    assert_allclose(post(top.x), top.height, rtol=1e-9)
    assert_allclose(post(top.x[0]), top.height[0], rtol=1e-9)
    assert post.maxima((rising.start[0], times[40])).x[0] == top.x[0]
    table = post.frame(times[:2].tz_convert("Asia/Tokyo"))
    assert str(table["x"].type) == "timestamp[us, tz=Europe/Berlin]"
    assert table["x"].to_pylist() == list(times[:2])
    assert "s after 2026-10-25T01:30:00+02:00 (Europe/Berlin)" in post.summary()


def test_events_and_regions_of_datetimes_are_datetimes():
    origin = np.datetime64("2026-03-01T00:00:00")
    x = sharp(60, 0.05).data.x * 86400.0
    y = wave(x / 86400.0)
    times = origin + np.round(1e3 * x).astype("m8[ms]")
    clock = sd.RegressionSpline(15, 5).condition(sd.observe(times, y, 0.05))
    plain = sd.RegressionSpline(15, 5).condition(sd.observe(x, y, 0.05))
    within = (times[5], times[-5])
    for name in ("maxima", "minima", "inflections"):
        found, expected = (
            getattr(p, name)(w, rng=0) for p, w in ((clock, within), (plain, (x[5], x[-5])))
        )
        assert_allclose((found.x - times[0]) / np.timedelta64(1, "s"), expected.x - x[0], atol=0.1)
        assert (found.lower < found.upper).all()
    steepest = clock.argmax(1, within, rng=0)
    assert "2026-03-01T" in repr(steepest)
    rising = clock.regions()
    assert_allclose(
        (rising.end - times[0]) / np.timedelta64(1, "s"), plain.regions().end - x[0], atol=20.0
    )
    assert (
        rising.at(rising.start + (rising.end - rising.start) // 2).tolist() == rising.sign.tolist()
    )


def test_answers_are_sequences_and_tables():
    post = sharp(noise=1e-3)
    for found in (post.maxima(), post.argmax(1), post.regions(), post.roots(0, 50.0)):
        assert len(list(found)) == len(found) == len(found.frame())
        assert list(found) == [found[k] for k in range(len(found))]
        assert [one._asdict() for one in found] == found.frame().to_pylist()
    assert post.maxima()[-1].x == post.maxima().x[-1]
    assert [sign for _, _, sign in post.regions()] == post.regions().sign.tolist()
    with pytest.raises(IndexError):
        post.maxima()[99]


def test_tables_of_events_keep_times_and_zones():
    times = pd.date_range("2026-10-25 01:30", periods=60, freq="5min", tz="Europe/Berlin")
    y = np.cos((np.arange(60) - 20.0) / 10)
    for zone, kind in (("Europe/Berlin", "us, tz=Europe/Berlin"), (None, "ns")):
        post = sd.RegressionSpline(8).condition(sd.observe(times.tz_convert(zone), y, 0.05))
        for found in (post.argmax(), post.regions()):
            table = found.frame()
            assert str(table.column(0).type) == f"timestamp[{kind}]"
            first = getattr(found, table.column_names[0])
            assert pd.Timestamp(table.column(0)[0].as_py()) == pd.Timestamp(first[0])


def test_no_event_is_an_empty_table_and_bad_ranges_are_refused():
    post = sharp()
    assert len(post.roots(0, 50.0, rng=0)) == 0
    assert "0 found" in repr(post.roots(0, 50.0, rng=0))
    with pytest.raises(ValueError, match="within"):
        post.maxima((0.5, 0.1))
    with pytest.raises(ValueError, match="level"):
        post.maxima(level=95)


def test_probabilities_of_sign_and_contrasts():
    post = MODEL.condition(mixed_data(1))
    x = np.linspace(0.1, 0.9, 30)
    draws = post.sample(x, 1, size=4000, rng=0)
    assert_allclose(post.prob_positive(x, 1), (draws > 0).mean(axis=0), atol=0.04)
    mean, std = post.contrast([0.2, 0.8], [1.0, -1.0])
    cov = post.cov([0.2, 0.8])
    assert_allclose(mean, post(0.2) - post(0.8))
    assert_allclose(std, np.sqrt(cov[0, 0] + cov[1, 1] - 2 * cov[0, 1]))


def test_what_is_no_question_is_refused_by_name():
    t = np.linspace(0, 1, 20)
    post = sd.RegressionSpline(4).condition(sd.observe(t, t**2, yerr=0.1))
    for value in (np.nan, np.inf, [0, 1], "high", None):
        for ask in (post.roots, post.regions):
            with pytest.raises(ValueError, match=r"value: .* is not one finite number; give the"):
                ask(value=value)
    with pytest.raises(ValueError, match="within: 5 is not a range"):
        post.roots(within=5)
    for weights in ([1.0, np.nan], [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match=r"weights: .* each of 2 places"):
            post.contrast([0.1, 0.2], weights)
