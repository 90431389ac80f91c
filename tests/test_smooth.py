"""The door: what most people type."""

import io
import warnings

import contracts
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from pyarrow import csv

import smoothderiv as sd
from conftest import mixed_data, wave
from smoothderiv.model import UndeterminedError


def test_smooth_fits_values_slopes_and_curvatures_together():
    data = mixed_data(3, n=(50, 50, 20))
    post = sd.smooth(data)
    values = sd.smooth(data.of(0))
    x = np.linspace(0.02, 0.98, 200)
    for nu, most in ((0, 0.05), (1, 0.6), (2, 12.0)):
        error = np.sqrt(np.mean((post(x, nu) - wave(x, nu)) ** 2))
        assert error < most
        assert error < np.sqrt(np.mean((values(x, nu) - wave(x, nu)) ** 2))


def test_pointwise_intervals_cover_and_are_not_too_wide():
    """95 % intervals of f and f' over 20 data sets, unknown noise, and their width by the error."""
    x = np.linspace(0.02, 0.98, 60)
    inside, error, std = np.zeros((3, 2, 20))
    for seed in range(20):
        data = mixed_data(seed, n=(120, 0, 0), known=False).of(0)
        post = sd.smooth(data, correlated=False)  # "auto" warns of one such data set in a hundred
        for nu in (0, 1):
            lower, upper = post.interval(x, nu)
            inside[nu, seed] = np.mean((lower <= wave(x, nu)) & (wave(x, nu) <= upper))
            error[nu, seed] = np.mean((post(x, nu) - wave(x, nu)) ** 2)
            std[nu, seed] = np.mean(post.var(x, nu))
    assert 0.92 < inside[0].mean() < 0.985
    assert inside[1].mean() > 0.93
    ratio = np.sqrt(std.mean(axis=1) / error.mean(axis=1))
    assert (ratio > 0.9).all()
    assert (ratio < [1.25, 1.7]).all()


@given(
    rows=st.integers(2, 8),
    slopes=st.integers(0, 3),
    nu=st.integers(0, 4),
    yerr=st.sampled_from([None, 0.1, 0.0]),
    size=st.sampled_from([0.0, 0.1, 1.0]),
    seed=st.integers(0, 99),
)
def test_a_few_rows_are_met_without_a_word(rows, slopes, nu, yerr, size, seed):
    """Finite answers; nothing is said of a stated noise that so few rows cannot contradict."""
    rng = np.random.default_rng(seed)
    data = sd.observe(rng.uniform(0, 1, rows), size * rng.standard_normal(rows), yerr)
    if slopes:
        data += sd.observe(rng.uniform(0, 1, slopes), rng.standard_normal(slopes), 1.0, nu=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sd.TuningWarning)  # of ends, which are to be expected
        if size != yerr:
            warnings.simplefilter("ignore", sd.NoiseWarning)  # it is not as it was stated
        post = sd.smooth(data, nu=nu)
    for order in range(nu + 1):
        assert np.isfinite(post.interval(np.linspace(0, 1, 5), order)).all()


@pytest.mark.filterwarnings("ignore::smoothderiv.NoiseWarning")  # equal replicates are too equal
@pytest.mark.parametrize("rows", [3, 4, 6, 7])
def test_replicates_of_few_rows_change_nothing(rows):
    x = np.linspace(0, 1, rows)
    data = sd.observe(x, np.sin(4 * x) + 0.1 * np.cos(9 * x), 0.1)
    contracts.check_replicates(lambda d: sd.smooth(d, robust=False), data, rtol=1e-6)


@pytest.mark.parametrize("rows", [2, 3])
def test_two_or_three_places_tell_no_slope_for_sure(rows):
    x = np.repeat(np.linspace(0, 1, rows), 10)
    for seed in range(5):
        noise = np.random.default_rng(seed).standard_normal(len(x))
        post = sd.smooth(sd.observe(x, noise))
        assert post.std(0.5, 1) > 0.3  # of the difference of means: 0.45
        assert_allclose(post(x), np.repeat(noise.reshape(rows, 10).mean(axis=1), 10), atol=0.2)


@pytest.mark.parametrize("rows", [(2, 0), (3, 0), (4, 0), (2, 2), (3, 3), (4, 2)])
@pytest.mark.parametrize("a", [1e-6, 60.0])
def test_few_rows_of_unknown_noise_say_the_same_in_any_unit(rows, a):
    """What smoothness and noise share is shared evenly, where no row tells them apart."""
    rng = np.random.default_rng(2)
    data = sd.observe(rng.uniform(0, 1, rows[0]), rng.standard_normal(rows[0]))
    if rows[1]:
        data += sd.observe(rng.uniform(0, 1, rows[1]), 3 * rng.standard_normal(rows[1]), nu=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sd.TuningWarning)
        contracts.check_units(sd.smooth, data, a, c=3.0, rtol=1e-6)


@pytest.mark.parametrize("model", [None, sd.SmoothingSpline(3), sd.AdaptiveSpline(3)])
def test_one_row_does_not_tell_its_noise(model):
    """A log of slopes with a start of which no error is stated."""
    x = np.linspace(0, 5, 30)
    slopes = np.cos(x) + 0.1 * np.random.default_rng(0).standard_normal(30)
    data = sd.observe(x, slopes, nu=1) + sd.observe([0.0], [0.0])
    with pytest.raises(ValueError, match=r"noise\[0\]: row 30 alone .* give its yerr, 0 if"):
        sd.smooth(data, model)
    pinned = sd.observe(x, slopes, nu=1) + sd.observe([0.0], [0.0], 0.0)
    assert_allclose(sd.smooth(pinned, model)(x), np.sin(x), atol=0.5)


def test_intervals_of_two_and_three_rows_hold_a_line():
    """Of 100 sets, with no word about the noise."""
    for rows in (2, 3):
        held = []
        for seed in range(100):
            rng = np.random.default_rng(seed)
            x = np.linspace(0, 1, rows)
            lower, upper = sd.smooth(sd.observe(x, 2 * x + rng.standard_normal(rows))).interval(
                x, 1
            )
            held.append(np.mean((lower <= 2) & (upper >= 2)))
        assert np.mean(held) > 0.9


@pytest.mark.parametrize("seed", range(4))
def test_a_noisy_line_is_the_same_in_any_unit_and_order(seed):
    """Where scale and amplitude of smooth processes run to the ends of their ranges together."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.random(40))
    data = sd.observe(x, 2 * x + 0.1 * rng.standard_normal(40))
    contracts.check_units(sd.smooth, data, 60.0, c=1e3, rtol=3e-7)
    some = np.linspace(0, 1, 7)
    post, other = sd.smooth(data), sd.smooth(data[rng.permutation(40)])
    for order in (0, 1):
        assert_allclose(other(some, order), post(some, order), rtol=1e-6)
        assert_allclose(other.std(some, order), post.std(some, order), rtol=1e-6)


def test_higher_orders_raise_the_degree():
    x, noise = np.linspace(0, 2, 30), 0.01 * np.random.default_rng(0).standard_normal((2, 30))
    data = sd.observe(x, np.exp(x) + noise[0], 0.01) + sd.observe(x, np.exp(x) + noise[1], 0.01, 4)
    assert_allclose(sd.smooth(data)(x, 4), np.exp(x), rtol=0.02)


def test_differentiate_takes_gaps_disorder_and_repeats():
    rng = np.random.default_rng(4)
    x = rng.choice(np.linspace(0, 1, 90), 150)
    y = wave(x) + 0.05 * rng.standard_normal(150)
    y[::7] = np.nan
    est = sd.differentiate(x, y)
    assert est.mean.shape == x.shape
    assert np.isfinite(est.std).all()
    assert_allclose(est.mean, wave(x, 1), atol=6 * est.std.max())
    assert_allclose((est.lower, est.upper), est.posterior.interval(x, 1))
    at = np.linspace(0, 1, 7)
    assert_allclose(sd.differentiate(x, y, nu=2, at=at).mean, est.posterior(at, 2))


@pytest.mark.filterwarnings("ignore::smoothderiv.TuningWarning")  # some curve goes through all
@pytest.mark.parametrize("kind", [list, tuple, pd.Series, np.asarray])
@pytest.mark.parametrize(
    ("x", "holds"),
    [
        (np.linspace(0, 4, 8).tolist(), "f"),
        (list(pd.date_range("2026-03-01", periods=8)), "M"),
        (list(pd.date_range("2026-03-01", periods=8, tz="Europe/Berlin")), "O"),
    ],
    ids=["numbers", "times", "zoned"],
)
def test_places_of_an_estimate_are_an_array(kind, x, holds):
    y = np.sin(np.arange(8.0)) + 0.1 * np.random.default_rng(1).standard_normal((2, 8))
    for values in (y, y[0]):
        est = sd.differentiate(kind(x), values, at=kind(x[:3]))
        assert isinstance(est.x, np.ndarray)
        assert est.x.dtype.kind == holds
        assert (est.x == np.array(x[:3], "M8[ns]" if holds == "M" else None)).all()


@pytest.mark.filterwarnings("ignore::smoothderiv.TuningWarning")
@pytest.mark.filterwarnings("ignore::smoothderiv.NoiseWarning")  # less noise than stated
def test_datetimes_go_through_from_data_to_question():
    t = np.datetime64("2026-03-01T12:00") + np.arange(50) * np.timedelta64(10, "m")
    seconds = (t - t[0]) / np.timedelta64(1, "s")
    est = sd.differentiate(t, 3.0 * seconds, yerr=0.1)
    assert_allclose(est.mean, 3.0, rtol=1e-6)  # splines exactly, covariances nearly
    with pytest.raises(ValueError, match="data are at datetimes"):
        est.posterior(5.0)


@pytest.mark.filterwarnings("ignore::smoothderiv.NoiseWarning")  # equal replicates are no noise
def test_the_default_obeys_the_contract():
    data = mixed_data(3, n=(40, 20, 0), known=False)
    contracts.check_posterior(sd.smooth(data))
    contracts.check_permutation(sd.smooth, data, rtol=1e-7)
    contracts.check_replicates(sd.smooth, mixed_data(3, n=(40, 20, 0)), rtol=1e-7)


@pytest.mark.parametrize(("a", "b"), [(1e-9, 0.0), (1e9, 0.0), (60.0, 1e3)])
def test_units_change_nothing(a, b):
    data = mixed_data(3, n=(60, 0, 0), known=False)
    contracts.check_units(sd.smooth, data, a, c=1e-6, b=b)


def test_band_holds_the_whole_curve_more_often_than_intervals():
    x = np.linspace(0.03, 0.97, 80)
    held = {"interval": 0, "band": 0}
    for seed in range(20):
        post = sd.smooth(mixed_data(seed, n=(150, 0, 0)).of(0))
        for name in held:
            lower, upper = getattr(post, name)(x)
            held[name] += bool(((lower <= wave(x)) & (wave(x) <= upper)).all())
    assert held["band"] >= 17
    assert held["band"] > held["interval"]


def test_no_rows_and_unknown_derivatives_are_refused():
    with pytest.raises(ValueError, match="no row to fit"):
        sd.smooth(sd.observe([], []))
    with pytest.raises(ValueError, match="no row to fit \\(1 rows were missing"):
        sd.differentiate([0.0], [np.nan])
    noise = 0.02 * np.random.default_rng(0).standard_normal(40)
    rough = sd.observe(np.linspace(0, 1, 40), np.abs(np.linspace(-1, 1, 40)) + noise, 0.02)
    with pytest.raises(ValueError, match="order 0 to 1; ask for those"):
        sd.smooth(rough, nu=1)(0.5, nu=2)


def test_higher_derivatives_than_two_are_had_for_the_asking():
    x = np.linspace(0, 6, 200)
    data = sd.observe(x, np.sin(x) + 0.01 * np.random.default_rng(0).standard_normal(200))
    for nu in (3, 4):
        post = sd.smooth(data, nu=nu)
        inside = x[20:-20]
        error = post(inside, nu) - np.sin(inside + nu * np.pi / 2)
        assert np.sqrt(np.mean(error**2)) < 0.3
        assert np.mean(np.abs(error) < 3 * post.std(inside, nu)) > 0.9


def test_many_series_at_once_along_any_axis():
    rng = np.random.default_rng(2)
    x = np.linspace(0, 1, 40)
    y = wave(x) * np.array([[1.0], [2.0]]) + 0.05 * rng.standard_normal((2, 40))
    y[1, ::6] = np.nan
    at = np.linspace(0, 1, 11)
    est = sd.differentiate(x, y, at=at)
    assert est.mean.shape == est.lower.shape == (2, 11)
    assert est.posterior.shape == (2,)
    turned = sd.differentiate(x, y.T, at=at, axis=0)
    assert_allclose(turned.std, est.std.T)
    alone = sd.differentiate(x, y[1], at=at)
    assert_allclose(est.mean[1], alone.mean)
    errors = np.full(y.shape, 0.05)
    assert_allclose(
        sd.differentiate(x, y, at=at, yerr=errors).mean,
        sd.differentiate(x, y, at=at, yerr=0.05).mean,
    )
    with pytest.raises(ValueError, match="samples along axis 0; name the axis"):
        sd.differentiate(x, y, axis=0)
    for axis in (2, -3, 1.0):
        with pytest.raises(ValueError, match=rf"axis: {axis}, but y has shape \(2, .*name"):
            sd.differentiate(x, y, axis=axis)
    with pytest.raises(ValueError, match=r"y: shape \(0, .*\) holds no samples; give at least one"):
        sd.differentiate(x, y[:0])


@pytest.mark.parametrize("series", [(), (2,)], ids=["one", "two"])
def test_what_is_masked_is_missing(series):
    """Of y and of its errors, in one series or in each of several."""
    x = np.linspace(0, 1, 30)
    hidden = np.zeros((*series, 30), dtype=bool)
    hidden[..., 7] = True
    rng = np.random.default_rng(0)
    y, yerr = wave(x) + 0.05 * rng.standard_normal(hidden.shape), np.full(hidden.shape, 0.05)
    y[hidden], yerr[hidden] = 1e6, -1.0
    y, yerr = np.ma.masked_array(y, hidden), np.ma.masked_array(yerr, hidden)
    est = sd.differentiate(x, y, yerr=yerr)
    fits = np.atleast_1d(est.posterior)
    assert [fit.data.n_missing for fit in fits] == [1] * len(fits)
    assert np.abs(est.mean).max() < 100


def test_frame_is_the_answers_as_a_table():
    post = sd.smooth(mixed_data())
    x = np.linspace(0, 1, 5)
    table = post.frame(x, nu=(0, 2), level=0.9)
    assert table.column_names[:5] == ["x", "mean_0", "std_0", "lower_0", "upper_0"]
    assert_allclose(table["std_2"].to_numpy(), post.std(x, 2))
    assert_allclose(table["upper_2"].to_numpy(), post.interval(x, 2, level=0.9)[1])
    with pytest.raises(ValueError, match=r"x: shape \(1, 2\), but \(n,\) is needed"):
        post.frame([[1, 2]])
    t = np.datetime64("2026-03-01", "s") + np.arange(9) * np.timedelta64(60, "s")
    times = sd.RegressionSpline(0).condition(sd.observe(t, np.arange(9.0), 0.1)).frame(t[:2], nu=1)
    assert times["x"].to_numpy().astype("datetime64[s]").tolist() == t[:2].tolist()
    assert times.column_names == ["x", "mean_1", "std_1", "lower_1", "upper_1"]


@pytest.mark.parametrize("unit", ["Y", "M", "W", "D", "h", "m", "ms"])
@pytest.mark.parametrize("kind", ["M8", "m8"])
def test_the_table_takes_times_of_any_unit(kind, unit):
    if kind == "m8" and unit in "YM":
        pytest.skip("spans of months differ in length")
    t = np.arange(9).astype(f"{kind}[{unit}]")
    table = sd.RegressionSpline(0).condition(sd.observe(t, np.arange(9.0), 0.1)).frame(t[:2])
    assert (np.array(table["x"]).astype(f"{kind}[ms]") == t[:2].astype(f"{kind}[ms]")).all()


def test_exact_rows_of_a_line_are_a_line():
    """Rounding is no contradiction: the smoothest curve through them is found, by any member."""
    x = np.linspace(0, 1, 12)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sd.TuningWarning)
        post = sd.smooth(sd.observe(x, 2 * x + 1, 0.0))
    assert_allclose(post([0.3, 0.77], 1), 2.0, rtol=1e-6)
    assert_allclose(post([0.3, 0.77]), [1.6, 2.54], rtol=1e-9)


def test_choices_may_be_any_truth():
    x = np.linspace(0, 6, 120)
    y = np.sin(x) + 0.05 * np.random.default_rng(0).standard_normal(120)
    y[[20, 70]] += 3.0
    model = sd.SmoothingSpline(3)
    least = [
        sd.smooth(sd.observe(x, y), model, robust=choice).data.weight.min()
        for choice in (True, 1, np.True_)
    ]
    assert least[0] < 0.01
    assert least == [least[0]] * 3
    with pytest.raises(ValueError, match="correlated: True"):
        sd.smooth(sd.observe(x, y), model, correlated=np.True_)


@pytest.mark.parametrize("nu", [-1, 1.5, (0, 1), "slope", None, np.nan, True, np.inf])
def test_an_order_that_is_none_is_refused_before_anything_is_fitted(nu, monkeypatch):
    monkeypatch.setattr("smoothderiv.tuning.tune", lambda *_: pytest.fail("it was fitted"))
    x = np.linspace(0, 6, 20)
    for ask in (
        lambda: sd.smooth(sd.observe(x, np.sin(x)), nu=nu),
        lambda: sd.differentiate(x, np.sin(x), nu=nu),
    ):
        with pytest.raises(ValueError, match=r"nu: .* is not the order of a derivative; give 0, 1"):
            ask()


def test_arrays_are_told_where_to_go():
    array = np.arange(5.0)
    model = sd.SmoothingSpline(2, q=1.0)
    for ask in (sd.smooth, sd.sizer, model.condition, lambda data: sd.tune(model, data)):
        with pytest.raises(TypeError, match=r"data: ndarray is not Observations; give sd\.observe"):
            ask(array)
    with pytest.raises(
        TypeError, match=r"DataFrame is not Observations; .*Observations\.from_frame"
    ):
        sd.smooth(pd.DataFrame({"t": [0.0, 1.0]}))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("spline", r"'spline' is not a model, such as sd\.SmoothingSpline"),
        (
            sd.SmoothingSpline,
            r"the class SmoothingSpline is not a model, as SmoothingSpline\(\) is",
        ),
        (int, r"the class int is not a model, such as sd\.SmoothingSpline"),
        (sd.kernels.Matern52(), r"not a model, as sd\.GaussianProcess\(kernel\) is"),
    ],
)
def test_what_is_no_model_is_told(model, words):
    data = sd.observe([0.0, 1.0, 2.0], [0.0, 1.0, 3.0])
    for ask in (lambda: sd.smooth(data, model), lambda: sd.tune(model, data)):
        with pytest.raises(TypeError, match=f"model: .*{words}"):
            ask()


def lined():
    """Values on a line, of which every tuner says that its optimum lies at an end."""
    x = np.linspace(0, 1, 40)
    return x, 2 * x + 0.1 * np.random.default_rng(1).standard_normal(40)


def hanging():
    """Values whose noise is a random walk."""
    rng = np.random.default_rng(1)
    x = np.linspace(0, 10, 200)
    return x, np.sin(x) + 0.1 * np.cumsum(rng.standard_normal(200))


def sharp():
    """Values whose leave-one-out density under :func:`lost` is lost in rounding."""
    x = np.linspace(0, 600, 1200)
    return sd.observe(x, np.sin(x), yerr=1e-6)


def lost():
    return sd.GaussianProcess(sd.kernels.SquaredExponential(), solver="band")


@pytest.mark.parametrize(
    "ask",
    [
        lambda: sd.tune(sd.SmoothingSpline(2), sd.observe(*lined())),
        lambda: sd.smooth(sd.observe(*lined()), sd.SmoothingSpline(2)),
        lambda: sd.tune(sd.AdaptiveSpline(2), sd.observe(*lined())),
        lambda: sd.tune(sd.ModelAverage((lost(),), spread=False), sharp(), "loo"),
        lambda: sd.smooth(sd.observe(*hanging())),
        lambda: sd.differentiate(*hanging()),
        lambda: (
            sd.SmoothingSpline(2, 1.0).condition(sd.observe(*hanging(), 0.01)).diagnose().warn()
        ),
    ],
    ids=["tune", "smooth", "adaptive", "average", "default", "differentiate", "diagnosis"],
)
def test_warnings_point_at_the_line_that_called(ask):
    """Python shows a warning once for each line: one inside the package would hide the others."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        ask()
    assert given
    assert {warning.filename for warning in given} == {__file__}


@pytest.mark.filterwarnings("ignore::smoothderiv.TuningWarning")  # some curve goes through all
def test_a_posterior_shows_itself_in_a_line():
    x = np.linspace(0, 6, 40)
    shown = repr(sd.smooth(sd.observe(x, np.sin(x) + 0.1 * np.cos(40 * x))))
    assert shown == "Posterior: ModelAverage given 40 rows; .summary() says more"


def test_in_several_dimensions_orders_are_multi_indices():
    rng = np.random.default_rng(0)
    x = rng.uniform(size=(20, 2))
    kernel = sd.kernels.Matern52(scale=0.5, sigma=1.0)
    post = sd.GaussianProcess(kernel).condition(sd.observe(x, x[:, 0] ** 2 + x[:, 1], 0.1))
    for ask in (post.mean, post.std, post.interval, post.prob_positive):
        with pytest.raises(ValueError, match="multi-index"):
            ask(x, nu=1)
    table = post.frame(x[:3]).to_pydict()
    for nu in ((0, 0), (1, 0), (0, 1)):
        name = f"mean_{nu[0]}_{nu[1]}"
        assert np.array_equal(table[name], post.mean(x[:3], nu))
    assert np.array_equal(np.column_stack((table["x_0"], table["x_1"])), x[:3])
    assert list(post.frame(x[:3], nu=(1, 0)).to_pydict()) == ["x_0", "x_1"] + [
        f"{word}_1_0" for word in ("mean", "std", "lower", "upper")
    ]
    csv.write_csv(post.frame(x[:3]), io.BytesIO())


@pytest.mark.parametrize("even", [True, False])
def test_noise_about_a_constant_has_next_to_no_slope(even):
    """A process quicker than the samples would fit as well, with slopes of any size."""
    x = np.arange(300.0) if even else np.sort(np.random.default_rng(9).uniform(0, 300, 300))
    for seed in range(4):
        est = sd.differentiate(x, np.random.default_rng(seed).standard_normal(300))
        assert (np.abs(est.mean) < 3 * est.std).all()
        assert np.median(est.std) < 0.05  # white noise would pass for slopes of about 1


@pytest.mark.parametrize("known", [True, False])
def test_limits_hold_a_constant(known):
    """Its level is free: the mean of the values is not it, and no more sure than they are."""
    x, held = np.arange(20.0), []
    for seed in range(24):
        y = 5 + 0.1 * np.random.default_rng(seed).standard_normal(20)
        lower, upper = sd.smooth(sd.observe(x, y, 0.1 if known else None)).interval(x)
        held.append(np.mean((lower <= 5) & (upper >= 5)))
    assert np.mean(held) > 0.88


@pytest.mark.parametrize("known", [True, False])
def test_limits_hold_the_slope_of_a_line_that_hardly_rises(known):
    """It is one standard error: members about a constant alone hold it in .78 and .77."""
    rng, held = np.random.default_rng(2), []
    for _ in range(16):
        x = np.sort(rng.uniform(0, 1, 12))
        slope = 1 / np.sqrt(((x - x.mean()) ** 2).sum())
        y = slope * x + rng.standard_normal(12)
        lower, upper = sd.smooth(sd.observe(x, y, 1.0 if known else None)).interval(x, nu=1)
        held.append(np.mean((lower <= slope) & (slope <= upper)))
    assert np.mean(held) > 0.9


def test_an_estimate_shows_itself_in_a_few_lines():
    x = np.linspace(0, 6, 100)
    y = np.sin(x) + 0.05 * np.random.default_rng(0).standard_normal((2, 100))
    one, two = sd.differentiate(x, y[0]), sd.differentiate(x, y)
    lines = repr(one).splitlines()
    assert lines[0] == "DerivativeEstimate: 100 places"
    assert lines[1:] == [
        f"  {name} from {part.min():.6g} to {part.max():.6g}"
        for name, part in (("mean", one.mean), ("std", one.std))
    ]
    assert repr(two).startswith("DerivativeEstimate: 100 places of 2 series\n  mean from ")
    assert repr(sd.differentiate(x, y[0], at=[])) == "DerivativeEstimate: 0 places"


@pytest.mark.parametrize("nu", [2, 3, 5])
def test_the_derivatives_asked_are_there_whatever_the_data(nu):
    """Of curves, of surfaces, and beside correlated noise."""
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 25)
    curve = sd.observe(x, np.sin(6 * x) + 0.1 * rng.normal(size=25), 0.1)
    places = rng.uniform(size=(25, 2))
    surface = sd.observe(places, places[:, 0] ** 2 + 0.1 * rng.normal(size=25), 0.1)
    order = {1: nu, 2: (nu - 1, 1)}
    for data, options in ((curve, {}), (curve, {"correlated": True}), (surface, {})):
        post = sd.smooth(data, nu=nu, **options)
        assert post.highest_order >= nu
        assert np.isfinite(post.std(data.x[:2], order[data.ndim])).all()


def test_autocorrelation_is_told_whatever_is_asked():
    rng = np.random.default_rng(0)
    error = np.zeros(120)
    for i, white in enumerate(rng.normal(size=120)):
        error[i] = 0.8 * error[i - 1] + 0.6 * white
    x = np.linspace(0, 1, 120)
    data = sd.observe(x, np.sin(6 * x) + 0.2 * error)
    for nu in (1, 2, 3):
        with pytest.warns(sd.NoiseWarning, match="autocorrelated"):
            sd.smooth(data, nu=nu)


@pytest.mark.parametrize("n", [15, 30])
def test_noise_does_not_pass_for_a_surface(n):
    """A process quicker than neighbours are apart is as likely as white noise."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        places = rng.uniform(size=(n, 2)) * [1.0, 1e3]
        post = sd.smooth(sd.observe(places, 5 + 0.1 * rng.standard_normal(n)))
        assert all(level > 0.04 for level in post.noise.values())
        assert post.edf < n / 2
        assert (post.gradient([[0.5, 500.0]]).std * [1.0, 1e3] < 2.0).all()


def test_a_surface_of_which_too_little_is_said_is_refused():
    rng = np.random.default_rng(0)
    places = rng.uniform(size=(12, 2))
    y = places[:, 0] + 0.1 * rng.standard_normal(12)
    for rows in (places[:4], np.repeat(places[:4], 3, axis=0)):
        with pytest.raises(UndeterminedError, match=r"data: 4 distinct rows .* 5 are needed"):
            sd.smooth(sd.observe(rows, y[: len(rows)]))
    line = places * [1.0, 0.0] + [0.0, 0.5]
    with pytest.raises(UndeterminedError, match=r"x: dimension 1 is 0\.5 in all of 12 rows"):
        sd.smooth(sd.observe(line, y))
    slopes = sd.observe(line[:3], [0.1, -0.1, 0.05], 0.1, nu=(0, 1))
    assert np.isfinite(sd.smooth(sd.observe(line, y) + slopes)(line)).all()
