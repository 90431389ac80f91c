"""Laws of panels: each series is smoothed as if it were alone, and a bad one harms no other."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import smoothderiv as sd
from smoothderiv import posterior
from smoothderiv.panels.panel import Panel

SPLINE = sd.SmoothingSpline(order=3)
TO = {"pandas": lambda f: f, "polars": pl.from_pandas, "pyarrow": pa.Table.from_pandas}


def panel(counts=(40, 30, 35), seed=0):
    """A table of series of different lengths, their rows shuffled, ids in disorder."""
    rng = np.random.default_rng(seed)
    parts = []
    for name, n in zip("cab", counts, strict=False):
        t = np.sort(rng.uniform(0, 5, n))
        pos = np.sin(t) + 0.1 * rng.standard_normal(n)
        vel = np.where(rng.random(n) < 0.5, np.cos(t) + 0.2 * rng.standard_normal(n), np.nan)
        parts.append(pd.DataFrame({"id": name, "t": t, "pos": pos, "vel": vel, "err": 0.2}))
    return pd.concat(parts).sample(frac=1, random_state=seed).reset_index(drop=True)


def alone(frame, name, model=SPLINE, nu=1):
    rows = frame[frame.id == name]
    data = sd.Observations.from_frame(rows, "t", {"pos": 0, "vel": 1}, {"vel": "err"})
    return sd.smooth(data, model, nu=nu)


def smooth(frame, **options):
    given = {"by": "id", "x": "t", "y": {"pos": 0, "vel": 1}, "yerr": {"vel": "err"}}
    return sd.smooth_panel(frame, **(given | {"model": SPLINE} | options))


@pytest.mark.parametrize("library", TO)
def test_each_series_is_smoothed_as_if_alone(library):
    frame = panel()
    out = smooth(TO[library](frame))
    assert type(out).__module__.partition(".")[0] == library
    out = out if library == "pandas" else out.to_pandas()
    assert list(out.id.unique()) == list(frame.id.unique())
    for name, rows in out.groupby("id"):
        post, t = alone(frame, name), np.sort(frame.t[frame.id == name])
        assert_allclose(rows.t, t, rtol=1e-15)
        for nu in (0, 1):
            lower, upper = post.interval(t, nu)
            for word, values in (
                ("mean", post(t, nu)),
                ("std", post.std(t, nu)),
                ("lower", lower),
                ("upper", upper),
            ):
                assert_allclose(rows[f"{word}_{nu}"], values, rtol=1e-12, atol=1e-15)
    assert out.error.isna().all()
    assert out.warning.isna().all()


def test_the_default_is_the_door():
    frame = panel((20, 20))
    out = smooth(frame, model=None, at=[1.0, 2.0], nu=1, level=0.8)
    for name, rows in out.groupby("id"):
        lower, upper = alone(frame, name, None).interval([1.0, 2.0], 1, level=0.8)
        assert_allclose(rows[["lower_1", "upper_1"]], np.column_stack((lower, upper)), rtol=1e-9)


def test_processes_change_nothing():
    frame = panel()
    one, two = (smooth(frame, workers=n, at=9) for n in (1, 2))
    pd.testing.assert_frame_equal(one, two, check_exact=False, rtol=1e-12)


def test_places_asked_the_same_for_all_or_even_over_each():
    frame = panel()
    same = smooth(frame, at=np.array([0.5, 2.5]), nu=(0, 2))
    assert list(same.t) == [0.5, 2.5] * 3
    assert "mean_2" in same
    assert "mean_1" not in same
    even = smooth(frame, at=4)
    for name, rows in even.groupby("id"):
        t = frame.t[frame.id == name]
        assert_allclose(rows.t, np.linspace(t.min(), t.max(), 4), rtol=1e-12)
        assert_allclose(rows.mean_1, alone(frame, name)(rows.t, 1), rtol=1e-12)


def test_rows_without_y_are_places_to_be_answered():
    frame = panel((30,))
    frame.loc[3:9, ["pos", "vel"]] = np.nan
    out = smooth(frame)
    assert_allclose(out.t, np.sort(frame.t))
    assert np.isfinite(out.mean_1).all()


def test_bad_series_have_an_error_row_each_and_the_rest_go_on():
    good = panel()
    frame = pd.concat(
        [
            pd.DataFrame({"id": "inf", "t": [0.0, 1.0, 2.0], "pos": [1.0, np.inf, 2.0]}),
            good,
            pd.DataFrame({"id": "few", "t": [0.0, 1.0], "pos": [1.0, 2.0]}),
            pd.DataFrame({"id": "none", "t": [0.0, 1.0], "pos": np.nan}),
        ],
        ignore_index=True,
    )
    with pytest.warns(UserWarning, match="3 of 6 series could not be fitted.*id='inf'"):
        out = smooth(frame)
    bad = out[out.error.notna()].set_index("id")
    assert list(bad.index) == ["inf", "few", "none"]
    assert bad.error["inf"].startswith("column 'pos': row 1 is inf, but every entry must be")
    assert bad.error["few"].startswith("data: the rows leave")
    assert "no row to fit" in bad.error["none"]
    assert bad.drop(columns=["error"]).isna().all(axis=None)
    rest = out[out.error.isna()].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        rest.drop(columns="error"), smooth(good).drop(columns="error"), check_dtype=False
    )


def test_whatever_fails_in_a_series_stays_in_it(monkeypatch):
    def fails_on_few(data, model, nu):
        if len(data) < 60:
            raise ZeroDivisionError("a bug")
        return sd.smooth(data, model, nu=nu)

    monkeypatch.setattr("smoothderiv.panels._series.smooth", fails_on_few)
    with pytest.warns(UserWarning, match="1 of 2 series could not be fitted"):
        out = smooth(panel((60, 30)), at=3, workers=1)
    assert list(out.error.dropna()) == ["ZeroDivisionError('a bug')"]
    assert np.isfinite(out.mean_1).sum() == 3


def test_rows_are_named_as_they_stand_in_the_table():
    frame = panel()
    frame.loc[17, "vel"] = -np.inf
    with pytest.warns(UserWarning, match=r"1 of 3 .*column 'vel': row 17 is -inf"):
        smooth(frame, at=2)


def test_keys_of_several_columns_and_of_any_kind_keep_their_type():
    frame = panel()
    frame["site"] = pd.Categorical(frame.id)
    frame["run"] = np.where(frame.id == "c", 1, 2)
    out = smooth(frame, by=["site", "run"], at=3)
    assert list(out.columns[:3]) == ["site", "run", "t"]
    assert isinstance(out.site.dtype, pd.CategoricalDtype)
    assert out.run.dtype == frame.run.dtype
    expected = smooth(frame, at=3)
    assert_allclose(out.mean_1, expected.mean_1, rtol=1e-12)
    assert list(out.site) == list(expected.id)


def test_an_empty_key_is_a_series_of_its_own():
    frame = panel((30, 30))
    frame["id"] = np.where(frame.id == "c", 1.0, np.nan)
    out = smooth(frame, at=2)
    assert len(out) == 4
    assert out.id.isna().sum() == 2


@pytest.mark.parametrize(
    "names",
    [
        ["b", "a", None, "b", np.nan, "a"],
        pd.Categorical(["b", "a", None, "b", None, "a"], ["z", "b", "a"]),
        [0.0, 2.5, np.nan, -0.0, np.nan, 2.5],
        pd.array([7, 1, None, 7, None, 1], "Int64"),
        pd.to_datetime(["2026-01-02", "2026-01-01", None, "2026-01-02", None, "2026-01-01"]),
        [(1, 2), "a", None, (1, 2), None, "a"],
        [2**70, 1, None, 2**70, None, 1],
        [True, 5.0, None, 1, None, 5],  # equal values of different kinds are one
    ],
    ids=["str", "categories", "floats", "integers", "times", "mixed", "large", "equal"],
)
def test_keys_of_any_kind_tell_series_apart_as_they_first_occur(names):
    frame = pd.DataFrame({"id": names, "second": [0, 0, 0, 0, 0, 1], "x": 0.0, "y": 0.0})
    one = Panel.of(frame, "id", "x", "y", None, False)
    assert [rows.tolist() for rows in one.rows] == [[0, 3], [1, 5], [2, 4]]
    two = Panel.of(frame, ["second", "id"], "x", "y", None, False)
    assert [rows.tolist() for rows in two.rows] == [[0, 3], [1], [2, 4], [5]]


@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("library", TO)
@pytest.mark.parametrize("at", [None, 5])
@pytest.mark.filterwarnings("ignore::smoothderiv.TuningWarning")
def test_times_come_back_as_times(library, zone, at):
    frame = panel((30, 20))
    seconds = pd.to_timedelta(np.round(frame.t * 3600, 3), unit="s")
    frame["when"] = (pd.Timestamp("2026-03-28 23:00", tz=zone) + seconds).astype(
        "datetime64[us]" if zone is None else f"datetime64[us, {zone}]"
    )
    out = smooth(TO[library](frame), x="when", at=at)
    when = out["when"]
    kind = str(when.dtype if library != "pyarrow" else when.type)
    assert ("Berlin" in kind) == (zone is not None)
    when = pd.Series(when.to_pandas() if library != "pandas" else when)
    of = {name: rows.when for name, rows in frame.groupby("id")}
    ids = pd.Series(out["id"].to_pandas() if library != "pandas" else out["id"])
    for name, moments in of.items():
        mine = when[(ids == name).to_numpy()]
        assert abs(mine.min() - moments.min()) < pd.Timedelta("1us")
        assert abs(mine.max() - moments.max()) < pd.Timedelta("1us")
        assert len(mine) == (at or len(moments))


@pytest.mark.filterwarnings("ignore::smoothderiv.TuningWarning")
def test_zoned_times_are_asked_with_a_zone():
    frame = panel((30,))
    start = pd.Timestamp("2026-03-28 23:00", tz="Europe/Berlin")
    zoned = start + pd.to_timedelta(np.round(frame.t * 3600, 3), unit="s")
    at = pd.date_range(start, periods=3, freq="30min").tz_convert("UTC")
    out = smooth(frame.assign(when=zoned), x="when", at=at)
    assert list(out["when"]) == list(at)
    with pytest.raises(ValueError, match="at: times without a time zone"):
        smooth(frame.assign(when=zoned), x="when", at=at.tz_localize(None))
    with pytest.raises(ValueError, match="at: times in UTC were asked"):
        smooth(frame.assign(when=zoned.dt.tz_localize(None)), x="when", at=at)


def copies(frame, count):
    one = frame[frame.id == "c"].drop(columns="vel")
    return pd.concat([one.assign(id=i) for i in range(count)], ignore_index=True)


@pytest.mark.parametrize(
    "model", [SPLINE, sd.RegressionSpline(knots=8, degree=5, lam=None, order=3)], ids=str
)
def test_sharing_the_tuning_of_equal_series_changes_nothing(model):
    frame = copies(panel(), 3)
    options = {"by": "id", "x": "t", "y": "pos", "model": model, "at": 7}
    own, shared = (sd.smooth_panel(frame, share=share, **options) for share in (None, "tuning"))
    pd.testing.assert_frame_equal(own, shared, rtol=1e-5)


def test_a_shared_tuning_is_one_model_at_the_least_sum():
    from smoothderiv.panels._together import tune_together
    from smoothderiv.panels.panel import Panel

    frame = panel((60, 50, 40))
    of = Panel.of(frame, "id", "t", {"pos": 0}, None, False)
    series = [of.series(i) for i in range(3)]
    model = tune_together(SPLINE, series)
    assert np.abs(model.tuning.gradient).max() < 1e-5
    assert not model.unknown(series[0].observations())
    losses = []
    for factor in (0.9, 1.0, 1.1):  # the smoothing that all share, each series' scale its own
        total = 0.0
        for part in series:
            search = SPLINE.search(part.observations(), "evidence")
            total += search.loss(np.log(model.q / model.noise[0] ** 2 * factor) * np.ones(1))[0]
        losses.append(total)
    assert losses[1] < min(losses[0], losses[2])
    out = sd.smooth_panel(frame, "id", "t", "pos", share="tuning", at=5)
    for name, rows in out.groupby("id"):
        data = sd.Observations.from_frame(frame[frame.id == name], "t", "pos")
        assert_allclose(rows.mean_1, model.condition(data)(rows.t, 1), rtol=1e-9)


def test_a_shared_tuning_at_an_end_of_its_range_says_so():
    x = np.tile(np.arange(30.0), 3)
    frame = pd.DataFrame({"id": np.repeat([1, 2, 3], 30), "x": x, "y": 2 * x + 0.1 * (-1) ** x})
    with pytest.warns(sd.TuningWarning, match="a straight line"):
        sd.smooth_panel(frame, "id", model=sd.SmoothingSpline(2), share="tuning")


def test_what_cannot_be_shared_is_said():
    frame = panel()
    frame.loc[frame.id == "a", "vel"] = np.nan
    with pytest.raises(ValueError, match="share: the series differ in what is unknown"):
        smooth(frame, yerr=None, share="tuning")
    for model in (sd.ModelAverage((sd.SmoothingSpline(2),)), sd.AdaptiveSpline(2)):
        with pytest.raises(ValueError, match=f"share: {type(model).__name__} is tuned series by"):
            smooth(frame, model=model, share="tuning")
    frame["pos"] = np.inf
    with pytest.raises(ValueError, match="share: no series to tune on"):
        smooth(frame, share="tuning")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"by": "name"}, "column 'name' is not in the table; it has id, t"),
        ({"x": "time"}, "column 'time' is not in the table"),
        ({"by": ["id", "t"]}, "by: column 't' has another meaning here"),
        ({"by": []}, r"by: \[\], but columns are needed"),
        ({"by": ["id", "id"]}, "by: .*columns are needed that tell"),
        ({"at": 1}, "at: 1, but at least 2 places"),
        ({"at": 5.0}, "at: 5.0, but an array"),
        ({"at": [[1.0, 2.0]]}, r"at: .*but an array \(m,\)"),
        ({"at": [1.0, np.nan]}, "at: row 1 is nan"),
        ({"nu": (0, 1.5)}, "nu: row 1 is 1.5, which is not the order of a derivative"),
        ({"nu": []}, "nu: .*orders of derivatives are needed"),
        ({"workers": 0}, "workers: 0, but a whole number"),
        ({"share": "all"}, "share: 'all', but None or 'tuning'"),
        ({"level": 95}, "level: 95 is not a probability"),
    ],
)
def test_arguments_that_suit_no_series_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        smooth(panel(), **options)


def test_columns_whose_names_or_cells_cannot_serve_are_refused():
    frame = panel()
    with pytest.raises(ValueError, match="'mean_0' has the name of an answer"):
        smooth(frame.rename(columns={"id": "mean_0"}), by="mean_0")
    with pytest.raises(ValueError, match=r"column 'id' cannot tell series apart .*'list'"):
        smooth(frame.assign(id=[[name] for name in frame.id]))
    with pytest.raises(TypeError, match=r"model: .*is not a model"):
        smooth(frame, model=sd.SmoothingSpline)


def test_values_beyond_the_reach_of_floats_are_an_error_not_an_endless_search():
    frame = panel().assign(vel=np.nan)
    with pytest.warns(UserWarning, match="3 of 3 series could not be fitted"):
        out = smooth(frame.assign(pos=1e200 * frame.pos), at=2)
    assert out.error.str.contains("finite at no starting point").all()


@pytest.mark.parametrize("library", TO)
def test_an_empty_table_gives_an_empty_table(library):
    frame = TO[library](panel().iloc[:0])
    out = smooth(frame)
    assert len(out) == 0
    columns = out.column_names if library == "pyarrow" else list(out.columns)
    assert columns[:3] == ["id", "t", "mean_0"]


@pytest.mark.parametrize(
    "model",
    [
        sd.SmoothingSpline(2, q=2.0, noise={0: 0.1}),
        sd.RegressionSpline(knots=8, noise={0: 0.1}),
        sd.GaussianProcess(sd.kernels.SquaredExponential(1.0, 1.0), noise={0: 0.1}),
    ],
    ids=lambda m: type(m).__name__,
)
def test_what_does_not_depend_on_y_is_found_once(model, monkeypatch):
    """Three series of the same places and noise, then one whose first place is another."""
    rng = np.random.default_rng(3)
    t = np.sort(rng.uniform(0, 5, 40))
    frame = pd.DataFrame({"id": np.repeat(list("abcd"), 40), "t": np.tile(t, 4)})
    frame["pos"] = np.sin(frame.t) + 0.1 * rng.standard_normal(160)
    frame.loc[120, "t"] -= 0.5
    asked, marginal = [], posterior.marginal
    monkeypatch.setattr(
        posterior,
        "marginal",
        lambda post, x, nu, std: asked.append(std is None) or marginal(post, x, nu, std),
    )
    out = sd.smooth_panel(frame, by="id", x="t", y="pos", model=model, workers=1)
    assert sum(asked) == 4  # two orders of two kinds of series
    for name, rows in out.groupby("id"):
        mine = frame[frame.id == name]
        post = model.condition(sd.observe(mine.t, mine.pos))
        for nu in (0, 1):
            assert_array_equal(rows[f"mean_{nu}"], post.mean(rows.t, nu))
            assert_array_equal(rows[f"std_{nu}"], post.std(rows.t, nu))


def test_the_same_distances_at_other_times_share_nothing():
    """Rows equally far from their first times, asked at the same time for all."""
    times = pd.date_range("2026-01-01", periods=30, freq="h")
    frame = pd.DataFrame(
        {
            "id": np.repeat(["early", "late"], 30),
            "t": np.concatenate((times, times + pd.Timedelta("3h"))),
            "y": np.random.default_rng(0).standard_normal(60),
        }
    )
    model = sd.SmoothingSpline(2, q=1e-9, noise={0: 1.0})
    out = sd.smooth_panel(frame, by="id", x="t", at=times[[29]], model=model, nu=0)
    for (_, rows), (_, mine) in zip(out.groupby("id"), frame.groupby("id"), strict=True):
        post = model.condition(sd.observe(mine.t, mine.y))
        assert_array_equal(rows["std_0"], post.std(times[[29]]))
    assert out.std_0[0] != out.std_0[1]


def test_a_shared_tuning_has_the_derivatives_that_are_asked():
    table = sd.smooth_panel(panel((30, 30)), "id", "t", {"pos": 0}, nu=(0, 3), share="tuning")
    assert table["mean_3"].notna().all()


def test_series_that_nothing_tells_apart_are_refused():
    frame = pd.DataFrame({"x": np.arange(9.0), "y": np.arange(9.0)})
    with pytest.raises(ValueError, match="by: None is no name of a column; give that which"):
        sd.smooth_panel(frame, by=None, x="x", y="y")
