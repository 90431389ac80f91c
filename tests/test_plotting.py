"""Laws of the plot: what is drawn is what the posterior says, and the data where they belong."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

from matplotlib import dates, pyplot
from matplotlib.collections import LineCollection
from matplotlib.container import ErrorbarContainer
from matplotlib.quiver import Quiver

import smoothderiv as sd
from smoothderiv import plotting
from smoothderiv._units import derivative_unit
from smoothderiv.plotting import (
    plot,
    plot_field,
    plot_residuals,
    plot_sizer,
    plot_tuning,
)


@pytest.fixture(scope="module")
def post():
    """A curve from values of unknown noise, slopes of known noise, and a pinned curvature."""
    rng = np.random.default_rng(5)
    t, tv = np.sort(rng.uniform(0, 6, 40)), np.sort(rng.uniform(0, 6, 15))
    data = sd.observe(t, np.sin(t) + 0.1 * rng.standard_normal(40))
    data += sd.observe(tv, np.cos(tv) + 0.2 * rng.standard_normal(15), yerr=0.2, nu=1)
    data += sd.observe(3.0, -np.sin(3.0), yerr=0, nu=2)
    return sd.tune(sd.RegressionSpline(knots=6, degree=5), data).condition(data)


def points(ax):
    """Return x, y, and half lengths of the bars of the data with error bars, or None."""
    drawn = [c for c in ax.containers if isinstance(c, ErrorbarContainer)]
    if not drawn:
        return None
    x, y = drawn[0][0].get_data()
    segments = np.array(drawn[0][2][0].get_segments())
    return np.asarray(x), np.asarray(y), np.ptp(segments[:, :, 1], axis=1) / 2


def line(ax, label):
    return next((a.get_data() for a in ax.lines if a.get_label() == label), None)


def bars(ax):
    """Return the ends of all bars that stand alone, each (2, 2)."""
    drawn = [c for c in ax.collections if isinstance(c, LineCollection)]
    return [bar for each in drawn for bar in each.get_segments()]


def band(ax, level):
    """Return lower and upper limits as drawn, at the places of the mean."""
    area = next(c for c in ax.collections if c.get_label() == f"{100 * level:g} % pointwise")
    corners, count = area.get_paths()[0].vertices, len(line(ax, "mean")[0])
    return corners[1 : count + 1, 1], corners[count + 2 : 2 * count + 2, 1][::-1]


@pytest.mark.parametrize("nu", [0, 1, 2])
def test_mean_and_bands_are_those_of_the_posterior(post, nu):
    (ax,) = plot(post, nu)
    x, mean = line(ax, "mean")
    assert (x[0], x[-1]) == (post.data.x.min(), post.data.x.max())
    np.testing.assert_array_equal(mean, post(x, nu))
    for level in (0.5, 0.95):
        for drawn, expected in zip(band(ax, level), post.interval(x, nu, level), strict=True):
            np.testing.assert_allclose(drawn, expected, rtol=1e-12)


def test_data_stand_in_the_panel_of_their_order_with_their_errors(post):
    axes = plot(post)
    for nu, sd_ in ((0, post.noise[0]), (1, 0.2)):
        x, y, bars = points(axes[nu])
        part = post.data.of(nu)
        np.testing.assert_array_equal(x, part.x)
        np.testing.assert_array_equal(y, part.y)
        np.testing.assert_allclose(bars, sd_, rtol=1e-10)
    assert points(axes[2]) is None
    np.testing.assert_array_equal(line(axes[2], "exact"), ([3.0], [-np.sin(3.0)]))
    assert line(axes[0], "exact") is None


def test_rows_that_count_for_little_are_crossed():
    x = np.linspace(0, 1, 30)
    data = sd.observe(x, np.sin(6 * x), 0.1)
    light = data.reweighted(np.where(np.arange(30) == 7, 0.01, 1.0))
    model = sd.RegressionSpline(3)
    (ax,) = plot(model.condition(light), 0)
    np.testing.assert_array_equal(line(ax, "downweighted"), (x[[7]], data.y[[7]]))
    (ax,) = plot(model.condition(data), 0)
    assert line(ax, "downweighted") is None


def test_all_means_and_data_are_in_sight(post):
    for ax in plot(post, x=np.linspace(-1, 7, 50)):
        low, high = ax.get_ylim()
        _, mean = line(ax, "mean")
        assert low < mean.min() <= mean.max() < high
        if points(ax):
            _, y, bars = points(ax)
            assert low < (y - bars).min() <= (y + bars).max() < high


def test_labels_units_and_legend(post):
    axes = plot(post, (0, 1, 2, 4), x_unit="s", y_unit="m")
    assert [a.get_ylabel() for a in axes] == ["f (m)", "f′ (m/s)", "f″ (m/s²)", "f⁽⁴⁾ (m/s⁴)"]  # noqa: RUF001
    assert [a.get_xlabel() for a in axes] == ["", "", "", "x (s)"]
    (legend,) = axes[0].figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words == ["mean", "95 % pointwise", "50 % pointwise", "data ± 1 std", "exact"]


@pytest.mark.parametrize(
    ("x_unit", "y_unit", "nu", "unit"),
    [
        (None, None, 0, ""),
        (None, "m", 0, "m"),
        (None, "m", 1, ""),
        ("s", None, 2, "per s²"),
        ("s", "m", 1, "m/s"),
        ("s", "m", 12, "m/s¹²"),
        ("h", "km/h", 1, "(km/h)/h"),
        ("m/s", "N", 2, "N/(m/s)²"),
    ],
)
def test_units_of_derivatives(x_unit, y_unit, nu, unit):
    assert derivative_unit(x_unit, y_unit, nu) == unit


def test_axes_that_are_given_are_used_and_no_figure_is_made(post):
    figure, given = pyplot.subplots(1, 2)
    before = pyplot.get_fignums()
    assert list(plot(post, ax=given)) == list(given)
    assert list(plot(post, 1, ax=given[0])) == [given[0]]
    assert pyplot.get_fignums() == before
    assert not figure.legends
    assert given[0].get_legend() is not None
    with pytest.raises(ValueError, match="ax: 2 axes for 3 orders"):
        plot(post, (0, 1, 2), ax=given)


def test_orders_that_the_model_lacks(post, monkeypatch):
    assert len(plot(post)) == 3
    monkeypatch.setattr(type(post), "highest_order", property(lambda _: 1))
    assert len(plot(post)) == 2
    with pytest.raises(ValueError, match=r"nu: 2 was asked.*0 to 1"):
        plot(post, (0, 2))
    for nu in (-1, 0.5):
        for each in (post, post.derivative(1)):
            with pytest.raises(ValueError, match=rf"nu: {nu} is not the order of a derivative"):
                plot(each, nu)


def test_the_posterior_of_a_derivative_is_drawn_as_that_derivative(post):
    (ax,) = plot(post.derivative(1), 0, y_unit="m", x_unit="s")
    assert ax.get_ylabel() == "f′ (m/s)"  # noqa: RUF001
    x, mean = line(ax, "mean")
    np.testing.assert_array_equal(mean, post(x, 1))
    np.testing.assert_array_equal(points(ax)[1], post.data.of(1).y)
    assert len(plot(post.derivative(1))) == 3


def test_places_asked_are_sorted_and_what_lies_beyond_the_data_is_shaded(post):
    (ax,) = plot(post, 0, x=[7.0, -1.0, 3.0])
    np.testing.assert_array_equal(line(ax, "mean")[0], [-1, 3, 7])
    shaded = sorted((p.get_x(), p.get_x() + p.get_width()) for p in ax.patches)
    data = post.data.x
    np.testing.assert_allclose(shaded, [(-1, data.min()), (data.max(), 7)])
    assert not plot(post, 0)[0].patches


def test_the_band_of_the_whole_curve_is_drawn_as_lines(post):
    (ax,) = plot(post, 1, show="band")
    x, upper = line(ax, "95 % simultaneous")
    expected = post.band(x, 1, within=(x[0], x[-1]))[1]
    np.testing.assert_allclose(upper, expected, rtol=1e-12)
    assert (upper > band(ax, 0.95)[1]).all()


def test_paths_peaks_and_signs(post):
    axes = plot(post, (0, 1), show=("paths", "peaks", "signs"))
    for nu, ax in enumerate(axes):
        paths = [a for a in ax.lines if a.get_label() == "sample paths" or a.get_lw() == 0.6]
        assert len(paths) == 12
        here = post.derivative(nu)
        for name in ("maxima", "minima"):
            found = getattr(here, name)(rng=0)
            drawn = [
                line(ax, label)
                for label in (f"{name}, 95 %", f"doubtful {name}")
                if line(ax, label) is not None
            ]
            x = np.sort(np.concatenate([d[0] for d in drawn])) if drawn else []
            np.testing.assert_allclose(x, found.x, rtol=1e-9)
            for lower, upper in zip(found.height_lower, found.height_upper, strict=True):
                assert any(np.array_equal(bar[:, 1], [lower, upper]) for bar in bars(ax))
        x, rising = line(ax, "surely rises")
        sign = here.regions(1, within=(x[0], x[-1])).at(x)
        np.testing.assert_array_equal(np.isfinite(rising), sign == 1)
        np.testing.assert_array_equal(np.isfinite(line(ax, "surely falls")[1]), sign == -1)
    assert len(plot(post, 5, show=("peaks", "signs"))[0].lines) == 1
    assert "no peaks or signs" in plot(post, 5, show=("peaks", "signs"))[0].get_title(loc="right")
    with pytest.raises(ValueError, match="show: 'dots' is unknown"):
        plot(post, show="dots")


@pytest.mark.parametrize("names", [["mean"], ["quintic", "cubic"]])
def test_signs_neither_hide_the_mean_nor_share_its_colour(post, names):
    other = sd.RegressionSpline(knots=3, degree=3, noise={0: 0.1}).condition(post.data)
    posts = post if names == ["mean"] else dict(zip(names, (post, other), strict=True))
    axes = plot(posts, (0, 1), show="signs")
    for ax in axes:
        drawn = {a.get_label(): a for a in ax.lines}
        shown = {*names, "surely rises", "surely falls"}
        assert len({drawn[name].get_color() for name in shown}) == len(shown)
        assert {a.get_label() for a in ax.lines if len(a.get_xdata()) == 400} == shown
        feet = [a.get_ydata() for a in ax.lines if a.get_label().startswith("surely")]
        low, high = ax.get_ylim()
        top = low + np.nanmax(feet) * (high - low)
        assert top < min(line(ax, name)[1].min() for name in names)
    (legend,) = axes[0].figure.legends
    entries = zip(legend.get_texts(), legend.legend_handles, strict=True)
    colours = {text.get_text(): handle for text, handle in entries}
    assert all(colours[name].get_color() == drawn[name].get_color() for name in shown)


def test_limits_that_the_line_hides_are_told():
    t = np.linspace(0, 1, 50)
    exact, noisy = (
        sd.RegressionSpline(3, 5).condition(sd.observe(t, np.sin(6 * t), yerr))
        for yerr in (1e-4, 0.3)
    )
    (ax,) = plot(exact, 0, level=(0.5, 0.9), y_unit="V")
    low, high = exact.interval(line(ax, "mean")[0], level=0.9)
    words = (
        f"90 % pointwise interval, hidden by the line: about ± {np.median(high - low) / 2:.2g} V"
    )
    assert ax.get_title(loc="right") == words
    assert plot(noisy, 0)[0].get_title(loc="right") == ""


def test_an_interval_that_is_wide_in_one_place_is_shown_there_and_told_as_a_range():
    """As that of a slope in a step between rows that are nearly exact."""
    t = np.concatenate((np.linspace(0, 4, 40), np.linspace(6, 10, 40)))
    step = sd.SmoothingSpline(2, q=1.0).condition(sd.observe(t, np.tanh(t - 5), 1e-3))
    (ax,) = plot(step, 0)
    x = line(ax, "mean")[0]
    low, high = step.interval(x)
    bottom, top = ax.get_ylim()
    inner = (x > 0.5) & (x < 9.5)
    assert bottom < low[inner].min()
    assert high[inner].max() < top
    half = 0.5 * (high - low)[12:-12]
    assert half.max() > 3 * np.median(half)
    words = f"partly hidden by the line: ± {half.min():.2g} to {half.max():.2g}"
    assert ax.get_title(loc="right") == f"95 % pointwise interval, {words}"


def test_several_posteriors_are_compared_in_the_same_panels(post):
    other = sd.RegressionSpline(knots=3, degree=3, noise={0: 0.1}).condition(post.data)
    axes = plot({"quintic": post, "cubic": other}, show="band")
    assert len(axes) == 3
    for nu, ax in enumerate(axes):
        for name, each in (("quintic", post), ("cubic", other)):
            x, mean = line(ax, name)
            np.testing.assert_array_equal(mean, each(x, nu))
    looks = {(a.get_color(), a.get_linestyle()) for a in axes[0].lines if a.get_lw() == 1.6}
    assert len(looks) == 2, "told apart by colour and by dashes"
    (legend,) = axes[0].figure.legends
    words = [text.get_text() for text in legend.get_texts()]
    assert words[:4] == ["quintic", "cubic", "95 % pointwise", "95 % simultaneous"]
    with pytest.raises(ValueError, match="different orders"):
        plot({"a": post, "b": post.derivative(1)})
    with pytest.raises(ValueError, match="nu: 4 was asked"):
        plot({"quintic": post, "cubic": other}, 4)
    with pytest.raises(ValueError, match="empty"):
        plot({})


@pytest.mark.parametrize("zones", [(None, None), ("UTC", "Europe/Berlin")])
def test_fits_of_times_that_begin_on_different_days_share_their_axis(zones):
    first = ("2026-03-01", "2026-03-04")
    days = [pd.date_range(t, periods=9, tz=z) for t, z in zip(first, zones, strict=True)]
    fits = [sd.RegressionSpline(0).condition(sd.observe(t, np.arange(9.0) ** 2, 0.1)) for t in days]
    (ax,) = plot(dict(zip(("one", "two"), fits, strict=True)), 0)
    for name, each in zip(("one", "two"), fits, strict=True):
        x, mean = line(ax, name)
        np.testing.assert_array_equal(mean, each(x))
        assert (x[0], x[-1]) == (days[0][0], days[0][-1])
    other = sd.RegressionSpline(0).condition(sd.observe(np.arange(9.0), np.arange(9.0), 0.1))
    with pytest.raises(ValueError, match="datetimes with numbers; give both as datetimes"):
        plot({"one": fits[0], "other": other})


def test_residuals_are_drawn_by_order(post):
    axes = plot_residuals(post)
    assert axes.shape == (2, 2)
    z = post.diagnose().standardised
    for row, nu in enumerate((0, 1)):
        rows = post.data.is_of(nu) & ~post.data.exact
        drawn = [a for a in axes[row, 0].lines if len(a.get_xdata()) == rows.sum()]
        np.testing.assert_array_equal(drawn[0].get_ydata(), z[rows])
        quantiles = axes[row, 1].lines[-1]
        np.testing.assert_array_equal(quantiles.get_ydata(), np.sort(z[rows]))
    assert "stated" in axes[1, 0].get_title("left")
    pinned = sd.RegressionSpline(0, 1).condition(sd.observe([0, 1.0], [0, 1.0], 0.0))
    with pytest.raises(ValueError, match="exact"):
        plot_residuals(pinned)


def test_residuals_of_many_rows_and_of_several_dimensions():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, 50_000)
    fitted = sd.RegressionSpline(2).condition(sd.observe(x, rng.standard_normal(50_000), 1.0))
    ((left, right),) = plot_residuals(fitted)
    assert sum(len(a.get_xdata()) for ax in (left, right) for a in ax.lines) < 2000
    flat = sd.GaussianProcess(sd.kernels.SquaredExponential(1.0, 1.0)).condition(
        sd.observe(rng.uniform(size=(30, 2)), rng.standard_normal(30), 1.0)
    )
    assert plot_residuals(flat)[0, 0].get_xlabel() == "fitted value"


def test_rows_that_leave_no_residual_have_no_ratio_in_words():
    post = sd.RegressionSpline(0, 1).condition(sd.observe([0.0, 1.0], [1.0, 2.0], 0.1))
    assert plot_residuals(post)[0, 0].get_title(loc="left") == "2 rows, noise stated"


@pytest.mark.filterwarnings("ignore::smoothderiv.TuningWarning")
def test_the_tuner_is_drawn_with_every_point_it_saw(post):
    model = sd.tune(sd.RegressionSpline(degree=5, lam=None, order=3), post.data)
    axes = plot_tuning(model)
    assert len(axes) == len(model.tuning.names) + 1
    assert [a.get_xlabel() for a in axes[:-1]] == list(model.tuning.names)
    _, losses = model.tuning.curve
    near = losses - model.tuning.loss
    drawn = axes[0].lines[0].get_ydata()
    np.testing.assert_allclose(np.sort(drawn), np.sort(near[near <= 25]))
    assert "knots=" in axes[-1].get_yticklabels()[0].get_text()
    assert len(plot_tuning(model.condition(post.data))) == len(axes)
    straight = sd.tune(sd.SmoothingSpline(2), sd.observe([0, 1, 2, 3.0], [0, 1, 2, 3.0], 0.1))
    assert "straight" in plot_tuning(straight)[0].get_title()
    with pytest.raises(ValueError, match="not tuned"):
        plot_tuning(sd.RegressionSpline(3))


@pytest.mark.parametrize("several", [False, True])
def test_names_of_candidates_are_whole_and_in_sight(post, several):
    matern, bell = sd.kernels.Matern52(), sd.kernels.SquaredExponential()
    model = sd.RegressionSpline(degree=5, lam=None, order=3)
    names = None
    if not several:
        nuisance = sd.kernels.Nuisance(sd.kernels.Matern12())
        members = sd.GaussianProcess(matern), sd.GaussianProcess(bell + nuisance)
        model = sd.ModelAverage(members)
        names = {
            "GaussianProcess(Matern52)",
            "GaussianProcess(SquaredExponential + Nuisance(Matern12))",
        }
    axes = plot_tuning(sd.tune(model, post.data))
    figure = axes[0].figure
    figure.canvas.draw()
    words = axes[-1].get_yticklabels()
    assert names is None or {word.get_text() for word in words} == names
    assert several != ("leave-one-out" in axes[-1].get_title())
    for word in words:
        box = word.get_window_extent()
        assert box.x0 >= 0, "cut at the edge of the figure"
        assert box.x1 <= axes[-1].get_window_extent().x0
        for other in axes[:-1]:
            assert not box.overlaps(other.get_tightbbox())


def test_fields_tell_sure_slopes_from_others():
    rng = np.random.default_rng(1)
    X = rng.uniform(size=(40, 2))
    kernel = sd.kernels.Matern52(scale=1.0, sigma=1.0)
    steep = sd.GaussianProcess(kernel).condition(sd.observe(X, 5 * X[:, 0], 0.01))
    flat = sd.GaussianProcess(kernel).condition(sd.observe(X, 0 * X[:, 0], 1.0))
    counts = []
    for post_ in (steep, flat):
        ax = plot_field(post_, x_unit="km", y_unit="K")
        arrows = [c for c in ax.collections if isinstance(c, Quiver)]
        counts.append([len(c.U) for c in arrows])
        assert sum(counts[-1]) == 14 * 14
        assert ax.get_xlabel() == "x₁ (km)"
        words = [text.get_text() for text in ax.get_legend().get_texts()]
        assert words[-1] == "data"
        for count, word in zip(counts[-1], ("uphill, less sure", "uphill, 95 % sure"), strict=True):
            assert (word in words) == (count > 0)
        assert ax.figure.axes[-1].get_ylabel() == "mean of f (K)"
    assert counts[0][1] > 150
    assert counts[1][1] == 0
    box = plot_field(steep, bounds=((0, 2), (0, 1)))
    assert box.get_xlim() == (0, 2)
    half = plot_field(steep, bounds=((0, 0.5), (0, 1)))
    np.testing.assert_array_equal(line(half, "data")[0], X[X[:, 0] <= 0.5, 0])
    with pytest.raises(ValueError, match="bounds"):
        plot_field(steep, bounds=((2, 0), (0, 1)))
    with pytest.raises(ValueError, match=r"level: 1\.5 is not a probability"):
        plot_field(steep, level=1.5)
    with pytest.raises(ValueError, match="1 dimensions"):
        plot_field(sd.RegressionSpline(0, 1).condition(sd.observe([0, 1.0], [0, 1.0], 0.1)))


def test_datetimes_on_the_axis(post):
    origin = np.datetime64("2024-02-28T12:00")
    times = origin + (post.data.x[:40] * 86400e3).astype("m8[ms]")
    data = sd.observe(times, post.data.y[:40])
    clock = sd.tune(sd.RegressionSpline(knots=4, degree=5), data).condition(data)
    (ax,) = plot(clock, 0, y_unit="m")
    x, mean = line(ax, "mean")
    assert x[0] == times.min()
    np.testing.assert_allclose(mean, clock(x))
    assert isinstance(ax.xaxis.get_major_formatter(), dates.ConciseDateFormatter)
    assert plot(clock, 1, y_unit="m")[0].get_ylabel() == "f′ (m/s)"  # noqa: RUF001
    plot(clock, x=origin + np.arange(4).astype("m8[D]"))
    with pytest.raises(ValueError, match="x_unit: 'h', but the data are at datetimes"):
        plot(clock, x_unit="h")


def test_many_rows_are_drawn_in_bins():
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, 100_000)
    yerr = rng.choice([0.1, 10.0], len(x))  # a bin's mean is that of its good rows
    data = sd.observe(x, 2 * x + yerr * rng.standard_normal(len(x)), yerr=yerr)
    fitted = sd.RegressionSpline(knots=2, degree=3).condition(data)
    (ax,) = plot(fitted, 0)
    at, mean, bars = points(ax)
    assert len(at) == plotting.BINS
    assert np.abs(mean - 2 * at).max() < 0.02  # 5 sd of the mean of 625 rows of sd 0.1
    half = bars.mean()  # half of the rows reach out, so the central 95 % are 90 % of theirs
    assert abs(half - 1.645 * 10.0) < 0.5
    assert sum(len(a.get_xdata()) for a in ax.lines) < 1000


def test_one_place_and_no_spread():
    data = sd.observe(2.0, 5.0, yerr=0.1) + sd.observe(2.0, 0.0, yerr=0.1, nu=1)
    for ax in plot(sd.GaussianProcess(sd.kernels.SquaredExponential(1.0, 1.0)).condition(data)):
        low, high = ax.get_ylim()
        assert low < high


def test_only_curves_of_one_variable_are_drawn():
    data = sd.observe(np.eye(2), [1.0, 2.0], yerr=0.1)
    flat = sd.GaussianProcess(sd.kernels.SquaredExponential(1.0, 1.0)).condition(data)
    with pytest.raises(ValueError, match="x has 2 dimensions"):
        plot(flat)


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_figure_prints(post, tmp_path, ending):
    plot(post)[0].figure.savefig(tmp_path / f"curve.{ending}")
    assert (tmp_path / f"curve.{ending}").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (plot, "post: {} is not a posterior; give what .*, or several of them by name"),
        (sd.plot_residuals, "post: {} is not a posterior; give what sd.smooth"),
        (sd.plot_field, "post: {} is not a posterior; give what sd.smooth"),
        (sd.plot_sizer, "found: {} is not a SiZer map; give that of sd.sizer"),
        (sd.plot_tuning, "model: .* is not a model"),
    ],
)
@pytest.mark.parametrize("wrong", [5, [1], None])
def test_what_cannot_be_drawn_is_refused_by_name(draw, words, wrong):
    with pytest.raises(TypeError, match=words.format(type(wrong).__name__)):
        draw(wrong)


def test_orders_to_draw_are_some(post):
    with pytest.raises(ValueError, match="nu: names no order; give those to show"):
        plot(post, nu=())


def test_levels_are_probabilities(post):
    with pytest.raises(ValueError, match="level: 95"):
        plot(post, level=95)
    (ax,) = plot(post, 0, level=0.8)
    assert len(ax.collections) == 2  # one band, and the error bars


def test_the_map_of_scales_shows_signs_by_place_and_smoothing(post):
    found = sd.sizer(post.data.of(0), count=7)
    ax = plot_sizer(found)
    mesh = ax.collections[0]
    np.testing.assert_array_equal(np.asarray(mesh.get_array()), found.sign)
    assert ax.get_yscale() == "log"
    assert {text.get_text() for text in ax.get_legend().get_texts()} >= {"f′ > 0", "f′ < 0"}  # noqa: RUF001
    (right,) = (other for other in ax.figure.axes if other is not ax)
    words = [text.get_text() for text in right.get_yticklabels()]
    assert len(words) == len(set(words)) > 2


def test_zoned_times_are_drawn_in_their_zone_and_it_is_named():
    times = pd.date_range("2026-06-01 08:00", periods=49, freq="5min", tz="Europe/Berlin")
    data = sd.observe(times, np.sin(np.arange(49) / 8), 0.1)
    post = sd.RegressionSpline(6).condition(data)
    axes = plot(post, (0, 1), show=("band", "paths", "peaks", "signs"))
    pictures = {
        "curve": axes[-1],
        "residuals": plot_residuals(post)[0, 0],
        "sizer": plot_sizer(sd.sizer(data, sd.SmoothingSpline(3, noise={}), count=3)),
    }
    for ax in pictures.values():
        ax.figure.canvas.draw()
        hours = [label.get_text() for label in ax.get_xticklabels()]
        assert hours[0] in {"08:00", "07:45", "08:30"}
        assert hours[-1] in {"12:00", "11:30"}
        assert ax.get_xlabel() == "time (Europe/Berlin)"
    x, mean = line(axes[0], "mean")
    np.testing.assert_allclose(mean, post(x))


def test_rows_that_crowd_the_panel_are_below_the_curves():
    """Few rows are drawn above them, in black."""
    x = np.linspace(0, 1, 200)
    for rows, below in ((x, True), (x[::5], False)):
        data = sd.observe(rows, np.sin(6 * rows), 0.1)
        fits = {str(d): sd.RegressionSpline(3, d).condition(data) for d in (3, 5)}
        for each in (fits, fits["3"]):
            (ax,) = plot(each, 0)
            (dots,) = (drawn for drawn in ax.lines if drawn.get_marker() == "o")
            means = [drawn.get_zorder() for drawn in ax.lines if len(drawn.get_xdata()) == 400]
            assert (dots.get_zorder() < min(means)) == below
            (bars,) = (drawn for drawn in ax.collections if isinstance(drawn, LineCollection))
            assert (bars.get_zorder() < min(means)) == below


def test_long_legends_take_two_rows_and_stay_in_the_picture():
    x = np.linspace(0, 6, 50)
    noise = 0.1 * np.random.default_rng(0).standard_normal(50)
    post = sd.smooth(sd.observe(x, np.sin(x) + noise))
    for nu in ((0, 1, 2), (0,)):
        axes = plot(post, nu, show=("band", "paths", "peaks", "signs"))
        figure = axes[0].figure
        figure.canvas.draw()
        (legend,) = figure.legends
        boxes = [text.get_window_extent() for text in legend.get_texts()]
        assert len({round(box.y0) for box in boxes}) == 2
        frame = legend.get_window_extent()
        assert frame.x0 >= -1
        assert frame.x1 <= figure.bbox.width + 1
    words = [text.get_text() for text in legend.get_texts()]
    assert {"95, 50 % pointwise", "maxima, minima, 95 %", "surely rises, falls"} <= set(words)
    paths = [drawn for drawn in axes[0].lines if drawn.get_lw() == 0.6]
    assert len(paths) == 12
    assert paths[0].get_color() != line_of(axes[0], "mean").get_color()


def line_of(ax, name):
    (found,) = (drawn for drawn in ax.lines if drawn.get_label() == name)
    return found


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_tuned_parameters_are_over_logarithmic_axes(scale):
    """The line goes through the points that were evaluated; the ticks are few, in any unit."""
    x = np.linspace(0, 6, 200)
    noise = 0.1 * np.random.default_rng(0).standard_normal(200)
    data = sd.observe(scale * x, np.sin(x) + noise, 0.1)
    (ax,) = plot_tuning(sd.tune(sd.SmoothingSpline(2), data))
    assert ax.get_xscale() == "log"
    curve, dots = ax.lines[:2]
    x, y = curve.get_data()
    assert len(x) == 200
    low = np.argmin(dots.get_ydata())
    assert abs(np.interp(dots.get_xdata()[low], x, y) - dots.get_ydata()[low]) < 0.1
    ax.figure.canvas.draw()
    inside = [t for t in ax.get_xticks() if ax.get_xlim()[0] <= t <= ax.get_xlim()[1]]
    assert 2 <= len(inside) <= 6
