"""Laws of Observations: what goes in comes out, selected, joined, and refused by name."""

import copy
import datetime as dt
import operator
import pickle
import zoneinfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import smoothderiv as sd
from smoothderiv import _places, _validate

FRAMES = {
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
    "lazy": lambda columns: pl.DataFrame(columns).lazy(),
    "pyarrow": pa.table,
}
FIELDS = ("x", "y", "yerr", "nu", "relative")
frames = pytest.mark.parametrize("frame", FRAMES.values(), ids=FRAMES)

floats = st.floats(-1e6, 1e6)
orders = st.integers(0, 4)


def columns(n):
    """Draw x, y with missing rows, yerr, nu for n rows."""
    return st.tuples(
        hnp.arrays(float, n, elements=floats),
        hnp.arrays(float, n, elements=st.one_of(floats, st.just(np.nan))),
        hnp.arrays(float, n, elements=st.floats(0, 10)),
        hnp.arrays(np.int64, n, elements=orders),
    )


tables = st.integers(0, 12).flatmap(columns)


def build(table):
    x, y, yerr, nu = table
    return sd.observe(x, y, yerr, nu)


def assert_same(a, b):
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert a.origin == b.origin


# What goes in comes out


@given(tables)
def test_rows_that_are_not_missing_are_kept_in_order(table):
    x, y, yerr, nu = table
    data, keep = build(table), ~np.isnan(table[1])
    for got, given_ in zip((data.x, data.y, data.yerr, data.nu), (x, y, yerr, nu), strict=True):
        np.testing.assert_array_equal(got, given_[keep])
    assert len(data) + data.n_missing == len(x)


@given(tables, tables)
def test_joining_concatenates_and_selection_distributes(first, second):
    a, b = build(first), build(second)
    joined = a + b
    assert len(joined) == len(a) + len(b)
    assert joined.n_missing == a.n_missing + b.n_missing
    assert_same(joined[: len(a)], a)
    assert_same(joined[len(a) :], b)


@given(tables, st.randoms())
def test_orders_partition_the_rows(table, random):
    data = build(table)
    assert data.orders == tuple(sorted({int(v) for v in data.nu}))
    assert sum(len(data.of(nu)) for nu in data.orders) == len(data)
    for nu in data.orders:
        assert_same(data.of(nu), data[data.nu == nu])
    index = random.sample(range(len(data)), len(data))
    np.testing.assert_array_equal(data[index].y, data.y[index])
    np.testing.assert_array_equal(data[::-1].x, data.x[::-1])


@given(tables)
def test_a_mask_an_index_and_a_slice_select_the_same_rows(table):
    data = build(table)
    half = len(data) // 2
    mask = np.arange(len(data)) < half
    assert_same(data[mask], data[:half])
    assert_same(data[list(range(half))], data[:half])
    assert_same(data[list(mask)], data[:half])


def test_frozen_and_apart_from_what_was_given():
    x, y, yerr, nu = (
        np.array([1.0, 2.0]),
        np.array([3.0, 4.0]),
        np.array([0.1, 0.2]),
        np.array([0, 1]),
    )
    data = sd.observe(x, y, yerr, nu)
    for given_ in (x, y, yerr, nu):
        given_[:] = 7
    np.testing.assert_array_equal(data.x, [1, 2])
    np.testing.assert_array_equal(data.nu, [0, 1])
    for twin in (data, copy.deepcopy(data), pickle.loads(pickle.dumps(data))):
        assert_same(twin, data)
        for name in (*FIELDS, "exact", "estimated", "places"):
            with pytest.raises(ValueError, match="read-only"):
                getattr(twin, name)[0] = 9
    with pytest.raises(AttributeError):
        data.x = x
    with pytest.raises(TypeError, match="not one array; take its x, y, yerr or nu"):
        np.asarray(data)


def test_one_place_one_observation():
    assert_same(sd.observe(2.0, 5.0, yerr=0), sd.observe([2.0], [5.0], yerr=[0.0]))


# Noise: known, unknown, relative, exact


def test_noise_of_every_kind():
    data = (
        sd.observe([0, 1], [0, 0], yerr=0.5)
        + sd.observe([0, 1], [0, 0], nu=1)
        + sd.observe([0, 1], [0, 0], yerr=[1, 3], nu=2, relative=True)
        + sd.observe([0], [0], yerr=0, nu=3)
        + sd.observe([0], [0], yerr=7, nu=1)
    )
    assert data.estimated_orders == (1, 2)
    np.testing.assert_array_equal(data.sd({1: 2.0, 2: 10.0}), [0.5, 0.5, 2, 2, 10, 30, 0, 7])
    np.testing.assert_array_equal(data.exact, [False] * 6 + [True, False])
    with pytest.raises(ValueError, match=r"noise: the level of order 2 is unknown.*tune"):
        data.sd({1: 2.0})


def test_an_exact_row_stays_exact_among_relative_ones():
    data = sd.observe([0, 1], [0, 1], yerr=[0, 1], relative=True)
    np.testing.assert_array_equal(data.estimated, [False, True])
    np.testing.assert_array_equal(data.sd({0: 2.0}), [0, 2])


def test_unknown_and_relative_noise_of_one_order_is_refused():
    with pytest.raises(ValueError, match=r"yerr: order 1 .*unknown.*relative"):
        sd.observe([0], [0], nu=1) + sd.observe([1], [0], yerr=1, nu=1, relative=True)
    mixed = sd.observe([0], [0], nu=0) + sd.observe([1], [0], yerr=1, nu=1, relative=True)
    assert mixed.estimated_orders == (0, 1)
    with pytest.raises(ValueError, match="relative=True needs yerr"):
        sd.observe([0], [0], relative=True)


# Several dimensions


def test_multi_indices():
    x = np.arange(6.0).reshape(3, 2)
    data = sd.observe(x, [1, 2, 3]) + sd.observe(x, [1, 2, 3], nu=(1, 0))
    data += sd.observe(x[:2], [1, 2], nu=[(0, 1), (1, 0)])
    assert data.ndim == 2
    assert data.orders == ((0, 0), (0, 1), (1, 0))
    assert len(data.of((1, 0))) == 4
    assert data[data.is_of((0, 1))].nu.tolist() == [[0, 1]]
    with pytest.raises(ValueError, match=r"nu: .*multi-index \(2,\)"):
        sd.observe(x, [1, 2, 3], nu=1)
    with pytest.raises(ValueError, match="cannot join observations in 2 and in 1 dimensions"):
        data + sd.observe([1], [1])


# Refusals: the argument, the first bad row, its value, the remedy


@settings(max_examples=50)
@given(st.data())
def test_the_first_bad_row_is_named(data):
    n = data.draw(st.integers(1, 9))
    rows = {"x": [0.0] * n, "y": [0.0] * n, "yerr": [1.0] * n, "nu": [0.0] * n}
    cases = [(c, v) for c in ("x", "yerr", "nu") for v in (np.nan, np.inf)]
    cases += [("y", np.inf), ("yerr", -1.0), ("nu", -1.0), ("nu", 0.5), ("x", "a"), ("y", "a")]
    name, value = data.draw(st.sampled_from(cases))
    row = data.draw(st.integers(0, n - 1))
    rows[name][row] = value
    if row + 1 < n:
        rows[name][n - 1] = value
    with pytest.raises(_validate.RowError) as caught:
        sd.observe(**{k: np.array(v, dtype=object if "a" in v else float) for k, v in rows.items()})
    assert (caught.value.argument, caught.value.row) == (name, row)
    shown = repr(value) if isinstance(value, str) else f"{value:g}"
    assert str(caught.value).startswith(f"{name}: row {row} is {shown}, ")
    assert ";" in str(caught.value)  # the remedy follows


@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 5))
def test_lengths_that_differ_are_refused_in_words(n, n_y, n_yerr):
    if n == n_y and n_yerr in (1, n_y):
        return
    with pytest.raises(ValueError, match=r"^(x|yerr): .*rows?"):
        sd.observe(np.zeros(n), np.zeros(n_y), yerr=np.ones(n_yerr))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"x": [[1.0], [2.0]]}, r"x: shape \(2, 1\).*x\[:, 0\]"),
        ({"x": np.zeros((2, 2, 2))}, r"x: shape \(2, 2, 2\)"),
        ({"x": [[1, 2], [3]]}, "x: its rows differ in length"),
        ({"y": [[1, 2], [3, 4]]}, "y: shape .* one by one"),
        ({"y": [1, 1j]}, "y: row 1 is 1j, which is not a real number"),
        ({"y": np.array(["2020-01-01"] * 2, "M8[D]")}, "y: row 0 is .* not a real number"),
        ({"yerr": np.timedelta64(1, "s")}, "yerr: row 0 is .* not a real number"),
        ({"yerr": np.ma.array([1.0, 2.0], mask=[0, 1])}, "yerr: row 1 is nan"),
        ({"x": np.ma.array([1.0, 2.0], mask=[0, 1])}, "x: row 1 is nan"),
        ({"nu": np.ma.array([0, 1], mask=[0, 1])}, "nu: row 1 is nan"),
        ({"nu": "a"}, "nu: 'a' is not the order of a derivative"),
        ({"nu": True}, "nu: True is not the order of a derivative"),
        ({"x": [dt.datetime(2020, 1, 1), 3]}, "x: row 1 is 3, but other rows are times"),
        ({"x": np.array(["2020-01-01", "NaT"], "M8[s]")}, "x: row 1 is NaT"),
        ({"x": np.array([1, "NaT"], "m8[s]")}, "x: row 1 is NaT"),
        ({"x": np.ma.array([1, 2], "m8[s]", mask=[0, 1])}, "x: row 1 is NaT"),
        ({"x": np.array([1, 2], "m8[M]")}, "x: months and years differ in length"),
        ({"x": np.zeros((2, 2), "M8[s]")}, "x: times in several dimensions"),
    ],
)
def test_refusals(arguments, words):
    with pytest.raises(ValueError, match=words):
        sd.observe(**({"x": [0.0, 1.0], "y": [0.0, 1.0]} | arguments))


def test_what_a_missing_row_holds_does_not_matter():
    data = sd.observe(
        [0, np.nan, 2], np.ma.array([1, 5, 3], mask=[0, 1, 0]), yerr=[1, -1, 2], nu=[0, np.nan, 1]
    )
    assert_same(data, sd.observe([0, 2], [1, 3], yerr=[1, 2], nu=[0, 1]))
    assert data.n_missing == 1


def test_a_mask_of_the_wrong_length_is_refused():
    with pytest.raises(IndexError):
        sd.observe([0, 1], [0, 1])[np.array([True])]


# Times

moments = st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2250, 1, 1))


@given(st.lists(moments, min_size=1, max_size=6), st.lists(moments, min_size=1, max_size=6))
def test_joined_times_keep_their_distances(first, second):
    a = sd.observe(np.array(first, "M8[us]"), np.zeros(len(first)))
    b = sd.observe(second, np.zeros(len(second)), nu=1)
    assert a.origin == min(first)
    joined = a + b
    exact = np.array([(t - min(first)).total_seconds() for t in [*first, *second]])
    np.testing.assert_allclose(joined.x, exact, rtol=1e-15, atol=2e-6)
    np.testing.assert_allclose(joined.coordinates([*first, *second]), exact, rtol=1e-15, atol=2e-6)
    back = _places.times(joined.x, joined.origin)
    assert np.abs(back - np.array([*first, *second], "M8[us]")).max() <= np.timedelta64(5, "us")


@pytest.mark.parametrize(
    "times",
    [
        [dt.datetime(2024, 3, 31, 0, 30) + dt.timedelta(hours=h) for h in range(4)],
        pd.date_range("2024-03-31 00:30", periods=4, freq="h"),
        pd.Series(pd.date_range("2024-03-31 00:30", periods=4, freq="h")),
        pd.date_range("2024-03-31 01:30", periods=4, freq="h", tz="Europe/Paris"),
        pd.Series(pd.date_range("2024-03-31 01:30", periods=4, freq="h", tz="Europe/Paris")),
        pl.datetime_range(
            pl.datetime(2024, 3, 31, 0, 30),
            pl.datetime(2024, 3, 31, 3, 30),
            "1h",
            time_zone="UTC",
            eager=True,
        ).dt.convert_time_zone("Europe/Paris"),
        pa.array(pd.date_range("2024-03-31 00:30", periods=4, freq="h", tz="UTC")),
    ],
    ids=["python", "index", "series", "tz-index", "tz-series", "polars-tz", "pyarrow"],
)
def test_times_of_every_library_across_a_clock_change(times):
    data = sd.observe(times, np.zeros(4))
    np.testing.assert_array_equal(data.x, 3600.0 * np.arange(4))
    assert data.origin == np.datetime64("2024-03-31T00:30")
    if isinstance(times, pa.Array):
        frame = pa.table({"x": times, "y": np.zeros(4)})
    elif isinstance(times, pl.Series):
        frame = pl.DataFrame({"x": times, "y": np.zeros(4)})
    else:
        frame = pd.DataFrame({"x": list(times), "y": np.zeros(4)})
    read = sd.Observations.from_frame(frame)
    assert_same(read, data)
    assert read.zone == data.zone


def test_dates_months_spans_and_nanoseconds():
    assert sd.observe([dt.date(2020, 1, 1), dt.date(2020, 1, 3)], [0, 0]).x[1] == 2 * 86400
    assert sd.observe(np.array(["2020-02", "2020-03"], "M8[M]"), [0, 0]).x[1] == 29 * 86400
    assert sd.observe([dt.timedelta(hours=1)], [0]).x[0] == 3600
    assert sd.observe([dt.timedelta(hours=1)], [0]).origin is None
    stamps = pd.to_datetime([0, 1], unit="ns", utc=True)
    assert sd.observe(stamps, [0, 0]).x[1] == 1e-9
    far = np.array(["1600-01-01", "2300-01-01"], "M8[D]")
    assert sd.observe(far, [0, 0]).x[1] == (far[1] - far[0]).astype(float) * 86400


BERLIN = pd.date_range("2026-10-25 01:30", periods=30, freq="5min", tz="Europe/Berlin")
OTHERS = {
    "python": [time.to_pydatetime() for time in BERLIN],
    "index": BERLIN,
    "series": pd.Series(BERLIN),
    "polars": pl.Series(BERLIN),
    "arrow": pa.array(BERLIN, pa.timestamp("us", "Europe/Berlin")),
}


@pytest.mark.parametrize("library", OTHERS)
def test_the_zone_of_times_is_kept(library):
    times = OTHERS[library]
    data = sd.observe(times, np.zeros(30))
    assert data.zone == "Europe/Berlin"
    assert data.origin == np.datetime64("2026-10-24T23:30")
    assert "s after 2026-10-25T01:30:00+02:00 (Europe/Berlin)" in repr(data)
    for other in (data[3:], data[:2] + data[2:], pickle.loads(pickle.dumps(data)), data + data):
        assert other.zone == "Europe/Berlin"
    for question in OTHERS.values():
        np.testing.assert_array_equal(data.coordinates(question), data.x)
    back = data.as_given(data.x)
    assert [time.astimezone(dt.UTC) for time in back] == list(BERLIN.tz_convert("UTC"))
    assert [time.hour for time in back[[0, 11, 18]]] == [1, 2, 2]
    assert back[18] - back[6] == dt.timedelta(hours=1), "the clock was set back between them"


def test_zones_differ_freely_and_are_named():
    moment = dt.datetime(2026, 3, 1, 8, tzinfo=dt.timezone(dt.timedelta(hours=-3)))
    other = zoneinfo.ZoneInfo("Asia/Tokyo")
    data = sd.observe([moment, moment.astimezone(other)], [0, 0])
    assert data.zone == "-03:00"
    assert data.x.tolist() == [0, 0]
    assert "s after 2026-03-01T08:00:00-03:00\n" in repr(data)
    for zone in (dt.UTC, "UTC", zoneinfo.ZoneInfo("UTC")):
        assert sd.observe(pd.DatetimeIndex([moment]).tz_convert(zone), [0]).zone == "UTC"
    assert (data + sd.observe([moment.astimezone(other)], [1])).x.tolist() == [0, 0, 0]
    assert data.coordinates(moment.astimezone(other) + dt.timedelta(seconds=5)) == 5


def test_times_with_and_without_a_zone_do_not_mix():
    zoned, plain = (
        sd.observe(BERLIN, np.zeros(30)),
        sd.observe(BERLIN.tz_localize(None), np.zeros(30)),
    )
    assert plain.zone is None
    when = dt.datetime(2026, 10, 25, 2)
    for naive in (when, np.datetime64(when), pd.Timestamp(when), [when], pl.Series([when])):
        with pytest.raises(ValueError, match=r"within: times without a time zone .*Europe/Berlin"):
            zoned.coordinates(naive, "within")
        assert plain.coordinates(naive).size == 1
    with pytest.raises(ValueError, match=r"x: times in Europe/Berlin were asked.*tz_localize"):
        plain.coordinates(BERLIN)
    for one, two in ((zoned, plain), (plain, zoned)):
        with pytest.raises(ValueError, match="cannot join times in Europe/Berlin"):
            one + two
    with pytest.raises(ValueError, match="x: row 1 is 2026-10-25 02:00:00, without a time zone"):
        sd.observe([BERLIN[0], when], [0, 0])
    assert sd.observe([BERLIN[0], None, pd.NaT], [0, np.nan, np.nan]).zone == "Europe/Berlin"


def test_an_index_of_pandas_is_no_column():
    days = pd.date_range("2026-01-01", periods=3)
    for name, words in ((None, "'index'"), ("day", "'day'")):
        frame = pd.DataFrame({"pos": [1.0, 2.0, 4.0]}, index=days.rename(name))
        with pytest.raises(ValueError, match=rf"it has pos; .*reset_index\(\) makes it .*{words}"):
            sd.Observations.from_frame(frame, x="day", y="pos")
        again = frame.reset_index()
        assert len(sd.Observations.from_frame(again, x=words.strip("'"), y="pos")) == 3
    with pytest.raises(ValueError, match=r"it has pos$"):
        sd.Observations.from_frame(frame.reset_index(drop=True), x="day", y="pos")


def test_values_are_said_as_people_write_them():
    clock = sd.observe([dt.datetime(2020, 1, 1)], [0])
    for place, words in ((np.float64(3), "3.0"), ([7, 8], "7")):
        with pytest.raises(ValueError, match=f"but {words} was given; give datetimes here too"):
            clock.coordinates(place)
    with pytest.raises(ValueError, match=r"x: row 0 is 'a', which is not .*numbers or datetimes"):
        sd.observe(["a"], [0.0])
    with pytest.raises(ValueError, match="x: row 0 is 'a', which is not a real number"):
        sd.observe([0.0], [0.0]).coordinates("a")
    post = sd.RegressionSpline(0).condition(sd.observe(np.arange(5.0), np.arange(5.0), 0.1))
    with pytest.raises(ValueError, match="nu: 9 was asked"):
        post(0.0, nu=np.int64(9))
    for value, words in (
        (np.float64(1.5), "1.5"),
        (np.array([1, 2]), "[1, 2]"),
        ((np.int64(1), "a"), "(1, 'a')"),
        (np.array(3.0), "3.0"),
        (np.datetime64("2020-01-01T00:00", "ns"), "2020-01-01T00:00:00.000000000"),
        (np.array(["2020-01-01"], "M8[ns]"), "[2020-01-01T00:00:00.000000000]"),
        ((None,), "(None,)"),
    ):
        assert _validate.said(value) == words
    assert len(_validate.said(np.arange(1000))) == 60


def test_times_and_numbers_do_not_mix():
    clock = sd.observe([dt.datetime(2020, 1, 1)], [0])
    with pytest.raises(ValueError, match="cannot join datetimes with numbers"):
        clock + sd.observe([0.0], [0])
    with pytest.raises(ValueError, match=r"x: the data are at datetimes .*give datetimes"):
        clock.coordinates([1.0])
    with pytest.raises(ValueError, match=r"x: datetimes were given.*give numbers"):
        sd.observe([0.0], [0]).coordinates(dt.datetime(2020, 1, 1))
    assert_same(sd.observe([], []) + clock, clock)
    assert_same(clock + sd.observe([], []), clock)


# Tables

WIDE = {
    "t": [0.0, 1.0, 2.0],
    "pos": [0.1, None, 0.3],
    "vel": [None, 1.0, None],
    "vel_err": [None, 0.2, None],
}
LONG = {
    "x": [0.0, 1.0, 2.0, 3.0],
    "y": [1.0, 2.0, 3.0, None],
    "nu": [0, 1, 0, 1],
    "yerr": [0.1, None, 0.2, 0.1],
}


@frames
def test_a_wide_table_says_what_observe_says(frame):
    got = sd.Observations.from_frame(
        frame(WIDE), x="t", y={"pos": 0, "vel": 1}, yerr={"pos": 0.1, "vel": "vel_err"}
    )
    assert_same(got, sd.observe([0, 2], [0.1, 0.3], 0.1) + sd.observe([1], [1], 0.2, nu=1))
    assert got.n_missing == 3


@frames
def test_a_long_table_says_what_observe_says(frame):
    got = sd.Observations.from_frame(frame(LONG), nu="nu", yerr="yerr")
    assert_same(got, sd.observe([0, 2], [1, 3], [0.1, 0.2]) + sd.observe([1], [2], nu=1))
    assert got.n_missing == 1
    bare = sd.Observations.from_frame(frame(LONG), nu="nu")
    assert_same(bare, sd.observe([0, 1, 2], [1, 2, 3], nu=[0, 1, 0]))
    scaled = sd.Observations.from_frame(frame(LONG), nu="nu", yerr=2.0, relative=True)
    assert scaled.relative.all()


@settings(max_examples=25)
@given(tables)
def test_frames_round_trip(table):
    x, y, yerr, nu = table
    for frame in FRAMES.values():
        got = sd.Observations.from_frame(
            frame({"x": x, "y": y, "yerr": yerr, "nu": nu}), nu="nu", yerr="yerr"
        )
        assert_same(got, build(table))


@frames
def test_a_table_in_two_dimensions(frame):
    columns = {"a": [0.0, 1.0], "b": [2.0, 3.0], "z": [1, 2], "z_a": [3.0, None]}
    got = sd.Observations.from_frame(frame(columns), x=["a", "b"], y={"z": (0, 0), "z_a": (1, 0)})
    assert got.orders == ((0, 0), (1, 0))
    assert len(got) == 3


@frames
@pytest.mark.parametrize(
    ("change", "question", "words"),
    [
        ({}, {"x": "tt"}, "column 'tt' is not in the table; it has t, pos, vel, vel_err"),
        ({}, {"y": {"poss": 0}}, "column 'poss' is not in the table"),
        ({}, {"yerr": {"pos": "e"}}, "column 'e' is not in the table"),
        ({}, {"y": ("pos", "vel")}, r"y: \('pos', 'vel'\) .* such as {'pos': 0, 'vel': 1}"),
        ({}, {"y": 3}, r"y: 3 does not say .* such as {'pos': 0}"),
        ({}, {"yerr": {"acc": 1}}, "yerr: 'acc' is not a column of observations; y names pos, vel"),
        ({}, {"yerr": 0.1}, "yerr: several columns of y need a mapping"),
        ({}, {"y": {}}, "y: no column is named"),
        ({}, {"y": {"pos": -1}}, "order of column 'pos': row 0 is -1, "),
        ({}, {"yerr": {"pos": -0.1}}, "yerr of column 'pos': row 0 is -0.1, "),
        (
            {"vel_err": [1.0, -1.0, 1.0]},
            {"yerr": {"vel": "vel_err"}},
            "column 'vel_err': row 1 is -1",
        ),
        ({"t": [0.0, 1.0, float("inf")]}, {}, "column 't': row 2 is inf"),
        ({"pos": ["1", "", "oops"]}, {}, "column 'pos': row 2 is 'oops', which is not a number"),
    ],
)
def test_a_bad_table_is_refused_by_column_and_row(frame, change, question, words):
    arguments = {"x": "t", "y": {"pos": 0, "vel": 1}} | question
    with pytest.raises(ValueError, match=words):
        sd.Observations.from_frame(frame(WIDE | change), **arguments)


@frames
def test_rows_of_a_long_table_are_named_as_they_stand_in_it(frame):
    bad = LONG | {"yerr": [None, None, -0.2, 0.1]}
    with pytest.raises(ValueError, match=r"^column 'yerr': row 2 is -0.2"):
        sd.Observations.from_frame(frame(bad), nu="nu", yerr="yerr")
    bad = LONG | {"nu": [0.0, 1.5, 0.0, 1.0]}
    with pytest.raises(ValueError, match=r"^column 'nu': row 1 is 1.5"):
        sd.Observations.from_frame(frame(bad), nu="nu", yerr="yerr")
    with pytest.raises(ValueError, match="y: a long table"):
        sd.Observations.from_frame(frame(LONG), y={"y": 0}, nu="nu")


def test_what_is_no_table_is_refused():
    with pytest.raises(TypeError, match="dict is not a table"):
        sd.Observations.from_frame(WIDE, x="t", y="pos")


# What it says of itself


def test_repr_tells_rows_orders_and_noise():
    data = (
        sd.observe([0, 1, np.nan], [0, 1, np.nan], yerr=[0.1, 0.3, 1])
        + sd.observe([0.5], [1], yerr=0, nu=1)
        + sd.observe([0.5], [1], yerr=2, nu=2, relative=True)
    )
    assert repr(data) == (
        "Observations: 4 rows, x from 0 to 1, 1 missing value left out\n"
        "  order 0: 2 rows, yerr 0.1 to 0.3\n"
        "  order 1: 1 row, exact\n"
        "  order 2: 1 row, relative yerr 2"
    )
    assert repr(sd.observe([], [])) == "Observations: 0 rows"
    assert "2 dimensions" in repr(sd.observe([[0, 1]], [1]))
    clock = repr(sd.observe([dt.datetime(2020, 1, 1)], [1]))
    assert "s after 2020-01-01" in clock


def test_only_observations_join():
    with pytest.raises(TypeError):
        operator.add(sd.observe([0], [0]), 3)


def test_ordinary_rows_share_one_weight():
    """Joined, selected and pickled too; weights that were given are kept row by row."""
    data = sd.observe([0.0, 1.0, 2.0], [1.0, 2.0, 3.0])
    light = data.reweighted([0.5, 1.0, 0.25])
    for same in (data, data + data, data[1:], data[data.x > 0], pickle.loads(pickle.dumps(data))):
        assert same.weight.strides == (0,)
        assert (same.weight == 1.0).all()
        assert len(same.weight) == len(same)
    assert (light + data[:1]).weight.tolist() == [0.5, 1.0, 0.25, 1.0]
    assert (data[:1] + light[::2]).weight.tolist() == [1.0, 0.5, 0.25]
    assert pickle.loads(pickle.dumps(light)).weight.tolist() == [0.5, 1.0, 0.25]
    assert light.relative_sd == pytest.approx([2.0**0.5, 1.0, 2.0], rel=1e-15)
    with pytest.raises(ValueError, match="read-only"):
        data.weight[0] = 2.0


@pytest.mark.parametrize("rows", [True, np.bool_(True), None])
def test_one_truth_value_selects_no_rows(rows):
    with pytest.raises(IndexError, match="selects no rows; give numbers, a slice, or a mask of 3"):
        sd.observe([0.0, 1.0, 2.0], [0.0, 1.0, 2.0])[rows]


def test_rows_that_are_made_by_hand_are_copied_and_looked_at():
    x, y, yerr = np.arange(3.0), np.ones(3), np.array([0.1, 0.0, np.nan])
    nu, relative = np.array([0, 1, 0]), np.zeros(3, dtype=bool)
    data = sd.Observations(x, y, yerr, nu, relative)
    for mine, theirs in ((x, data.x), (y, data.y), (yerr, data.yerr), (nu, data.nu)):
        assert mine.flags.writeable
        assert not theirs.flags.writeable
        assert not np.shares_memory(mine, theirs)
    y[0] = 7.0
    assert data.y[0] == 1.0
    assert len(sd.Observations([0, 1], [1, 2], [0.1, 0.1], [0, 0], [False, False])) == 2
    good = {"x": x, "y": y, "yerr": yerr, "nu": nu, "relative": relative}
    for change, words in (
        ({"y": np.array([1.0, np.nan, 2.0])}, "y: row 1 is nan"),
        ({"x": np.array([1.0, 3.0, np.inf])}, "x: row 2 is inf"),
        ({"yerr": np.array([0.1, 0.1, -1.0])}, "yerr: row 2 is -1, but a standard deviation"),
        ({"yerr": np.array([0.1, 0.1, np.inf])}, "yerr: row 2 is inf"),
        ({"nu": np.array([0, -1, 0])}, "nu: row 1 is -1"),
        ({"nu": np.array([0, 1])}, r"nu: shape \(2,\), but x has \(3,\)"),
        ({"yerr": np.array(0.1)}, r"yerr: shape \(\), but x has"),
        ({"weight": np.array([1.0, 0.0, 1.0])}, "weight: row 1 has 0.0, but weights are positive"),
    ):
        with pytest.raises(ValueError, match=words):
            sd.Observations(**{**good, **change})


def test_columns_of_places_are_a_list_or_a_tuple_and_nothing_else():
    frame = pd.DataFrame({"lon": [0.0, 1.0], "lat": [1.0, 0.0], "y": [1.0, 2.0]})
    listed = sd.Observations.from_frame(frame, x=["lon", "lat"], y="y")
    assert np.array_equal(sd.Observations.from_frame(frame, x=("lon", "lat"), y="y").x, listed.x)
    for bad in (frame.index, None, 0):
        with pytest.raises(ValueError, match=r"x: .* is no name of a column.*reset_index"):
            sd.Observations.from_frame(frame, x=bad, y="y")


def test_cells_that_are_empty_are_counted_in_all_columns():
    nan = np.nan
    frame = pd.DataFrame({"x": [0.0, 1.0], "a": [1.0, nan], "b": [nan, nan]})
    data = sd.Observations.from_frame(frame, x="x", y={"a": 0, "b": 1})
    assert "1 row, x from 0 to 0, 3 missing values left out" in repr(data)


def test_text_in_iso_form_asks_where_places_are_datetimes():
    days = pd.date_range("2026-01-01", periods=12)
    y = np.sin(np.arange(12.0))
    post = sd.SmoothingSpline(3, q=1e-16).condition(sd.observe(days, y, 0.1))
    asked = ["2026-01-05", "2026-01-06T12:00"]
    times = np.array(asked, dtype="M8[s]")
    assert np.array_equal(post(asked), post(times))
    assert post("2026-01-05").shape == post(times[0]).shape
    assert post.integral(*asked) == post.integral(*times)
    assert post.frame(asked).equals(post.frame(times.astype("M8[us]")))
    with pytest.raises(ValueError, match=r"x: row 1 is '5\.1\.2026', which is no time in ISO form"):
        post(["2026-01-05", "5.1.2026"])
    zoned = sd.SmoothingSpline(3, q=1e-16).condition(
        sd.observe(days.tz_localize("Europe/Berlin"), y, 0.1)
    )
    assert zoned("2026-01-05T00:00+01:00") == post("2026-01-05")
    with pytest.raises(ValueError, match="without a time zone"):
        zoned("2026-01-05")
