"""Laws of labelled grids: every series as if alone, the same on every Dask scheduler."""

import os
import signal
import time

import dask
import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose

import smoothderiv as sd
from smoothderiv.integrations.xarray import smooth

SPLINE = sd.SmoothingSpline(order=3)
ORDERS = (0, 1)


def grid(lat=4, lon=3, n=60, seed=0, start="2026-03-01"):
    """A field in kelvin, irregular in time, with a gap and a masked series."""
    rng = np.random.default_rng(seed)
    t = np.sort(rng.choice(10 * n, n, replace=False))
    field = 280 + np.sin(t / 100) + 0.1 * rng.standard_normal((lat, lon, n))
    field[1, 1, 20:35] = np.nan
    field[0, 2] = np.nan
    when = np.datetime64(start, "ns") + t * np.timedelta64(60, "s")
    return xr.DataArray(
        field,
        dims=("lat", "lon", "time"),
        coords={"time": when, "lat": np.arange(lat), "area": (("lat", "lon"), field[..., 0])},
        attrs={"units": "K", "standard_name": "air_temperature", "source": "simulated"},
        name="t2m",
    )


@pytest.fixture(scope="module")
def da():
    return grid()


@pytest.fixture(scope="module")
def eager(da):
    return smooth(da, "time", ORDERS, model=SPLINE)


def assert_same(found, expected):
    found = found.compute()
    for name in expected:
        scale = float(abs(expected[name]).max())
        assert_allclose(found[name], expected[name], rtol=1e-12, atol=1e-12 * scale, err_msg=name)
        assert found[name].dims == expected[name].dims
        assert found[name].attrs == expected[name].attrs
    assert set(found.coords) == set(expected.coords)


def test_each_series_is_smoothed_as_if_alone(da, eager):
    for place in ((0, 0), (1, 1), (3, 2)):
        series = da[place]
        post = sd.smooth(sd.observe(series.time.values, series.values), SPLINE)
        for nu in ORDERS:
            mean, std = post(da.time.values, nu), post.std(da.time.values, nu)
            scale = abs(mean).max()  # means of slopes go through zero
            assert_allclose(eager[f"mean_{nu}"][place], mean, rtol=1e-12, atol=1e-12 * scale)
            assert_allclose(eager[f"std_{nu}"][place], std, rtol=1e-12)


def test_coordinates_attributes_and_units(da, eager):
    assert eager.mean_1.dims == da.dims
    assert set(eager.coords) == set(da.coords)
    assert eager.mean_0.attrs == da.attrs | {"long_name": "t2m"}
    assert eager.mean_1.attrs["units"] == eager.std_1.attrs["units"] == "K/s"
    assert eager.std_0.attrs["units"] == "K"
    assert "standard_name" not in eager.mean_1.attrs
    assert eager.mean_1.attrs["source"] == "simulated"


@pytest.mark.parametrize(
    ("unit", "along", "expected"),
    [
        ("K", "m", "K/m^2"),
        ("m/s", "s", "(m/s)/s^2"),
        ("kg m-2", "km h-1", "(kg m-2)/(km h-1)^2"),
        ("K", None, None),
        (None, "m", None),
    ],
)
def test_units_of_numbers(unit, along, expected):
    x = np.linspace(0, 5, 30)
    attrs = {} if along is None else {"units": along}
    da = xr.DataArray(np.sin(x), dims="z", coords={"z": ("z", x, attrs)})
    da.attrs = {} if unit is None else {"units": unit}
    given = sd.SmoothingSpline(order=3, q=1.0, noise={0: 0.1})
    assert smooth(da, "z", 2, model=given).mean_2.attrs.get("units") == expected


def test_gaps_are_bridged_and_masked_series_stay_empty(eager):
    assert np.isfinite(eager.mean_1[1, 1]).all()
    assert eager.std_0[1, 1, 27] > 2 * eager.std_0[1, 0, 27]
    assert np.isnan(eager.mean_0[0, 2]).all()
    assert not eager.failed.any()


def test_series_that_cannot_be_fitted_are_told(da):
    bad = da.copy(deep=True)
    bad[2, 0, 2:] = np.nan
    with pytest.warns(UserWarning, match="1 of 12 series could not be fitted and are NaN"):
        found = smooth(bad, "time", 1, model=SPLINE)
    assert found.failed.sum() == 1
    assert found.failed[2, 0]
    assert np.isnan(found.mean_1[2, 0]).all()


@pytest.mark.parametrize("along", [False, True])
def test_noise_may_be_given_for_each_series_or_value(da, along):
    rng = np.random.default_rng(1)
    level = xr.DataArray(rng.uniform(0.1, 0.3, da.shape[1]), dims="lon")
    error = level * xr.ones_like(da.isel(lat=0, drop=True)) if along else level
    for data in (da, da.chunk(lat=2, lon=1)):
        found = smooth(data, "time", 0, yerr=error, model=SPLINE).compute()
        for k in (0, 1):
            series = da[3, k]
            one = sd.observe(series.time.values, series.values, float(level[k]))
            expected = sd.smooth(one, SPLINE).std(da.time.values)
            assert_allclose(found.std_0[3, k], expected, rtol=1e-12)


@pytest.mark.parametrize("chunked", [False, True])
def test_other_places(da, chunked):
    at = da.time.values[[3, 40]] + np.timedelta64(7, "s")
    found = smooth(da.chunk(lat=1) if chunked else da, "time", at=at, model=SPLINE).compute()
    assert (found.time == at).all()
    post = sd.smooth(sd.observe(da.time.values, da[3, 1].values), SPLINE)
    assert_allclose(found.mean_1[3, 1], post(at, 1), rtol=1e-12)
    assert found.mean_1.dims == da.dims


@pytest.mark.parametrize("dim", ["time", "lat"])
def test_any_dimension_of_any_order(da, dim):
    turned = da.fillna(280.0).transpose("time", "lon", "lat")
    model = sd.SmoothingSpline(order=3, q=1.0, noise={0: 1.0})
    found = smooth(turned, dim, model=model)
    assert found.mean_0.dims == turned.dims
    series = turned.isel({name: 0 for name in turned.dims if name != dim})
    expected = sd.smooth(sd.observe(turned[dim].values, series.values), model)(turned[dim].values)
    assert_allclose(found.mean_0.isel({n: 0 for n in turned.dims if n != dim}), expected)


def test_it_is_lazy(da):
    def refuse(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=refuse):
        found = smooth(da.chunk(lat=1), "time", model=SPLINE)
        assert found.mean_1.chunks is not None
        assert found.mean_1[0, 0].sizes == {"time": 60}


@pytest.mark.parametrize("scheduler", ["synchronous", "threads", "processes"])
def test_every_scheduler_of_this_machine_says_the_same(da, eager, scheduler):
    with dask.config.set(scheduler=scheduler, num_workers=2):
        assert_same(smooth(da.chunk(lat=2, lon=2), "time", ORDERS, model=SPLINE), eager)


def test_an_array_split_in_time_is_made_whole_and_that_is_told(da, eager):
    with pytest.warns(UserWarning, match="'time' is split into 4 chunks"):
        found = smooth(da.chunk(time=15, lat=2), "time", ORDERS, model=SPLINE)
    assert found.mean_0.chunksizes["time"] == (60,)
    assert_same(found, eager)


@pytest.fixture(scope="module")
def client():
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50
        ) as cluster,
        distributed.Client(cluster) as found,
    ):
        yield found


def test_a_cluster_says_the_same(da, eager, client):
    found = smooth(da.chunk(lat=1, lon=1), "time", ORDERS, model=SPLINE)
    assert_same(client.compute(found).result(timeout=120), eager)


def test_a_worker_that_is_killed_changes_nothing(client):
    da = grid(lat=160, lon=3)
    expected = smooth(da, "time", ORDERS, model=SPLINE)
    pids = client.run(os.getpid)
    future = client.compute(smooth(da.chunk(lat=1), "time", ORDERS, model=SPLINE))
    while not any(client.run(lambda dask_worker: len(dask_worker.data)).values()):
        time.sleep(0.01)  # until something has been done
    os.kill(next(iter(pids.values())), signal.SIGKILL)
    assert not future.done()
    assert_same(future.result(timeout=120), expected)
    assert set(client.run(os.getpid).values()) != set(pids.values())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda da: (da, "when"), "dim: 'when' is not a dimension; there are lat, lon, time"),
        (lambda da: (da, "lon"), "dim: 'lon' has no coordinate"),
        (lambda da: (da.assign_coords(lat=list("abcd")), "lat"), "'lat' holds str_, but numbers"),
        (lambda da: (da.assign_coords(lat=[0, 1, np.nan, 3]), "lat"), "'lat' is nan at index 2"),
        (lambda da: (da.astype(complex), "time"), "da: values of dtype complex128, but real"),
        (lambda da: (da.astype(object), "time"), "da: values of dtype object, but real"),
        (lambda da: (da.assign_coords(std_1=1.0), "time"), "coordinate 'std_1' has the name"),
        (lambda da: (da, "time", 1.5), "nu: 1.5 is not the order of a derivative"),
        (lambda da: (da, "time", []), "nu: .*orders of derivatives are needed"),
    ],
)
def test_what_is_no_curve_is_refused(da, change, words):
    with pytest.raises(ValueError, match=words):
        smooth(*change(da))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"at": [1.0]}, "at: the data are at datetimes"),
        ({"at": np.array([["2026-03-02"]], "M8[ns]")}, r"at: shape \(1, 1\)"),
        ({"at": np.array(["NaT"], "M8[ns]")}, "at: row 0 is NaT"),
        ({"yerr": xr.DataArray([0.1], dims="member")}, "yerr: has a dimension .*'member'"),
    ],
)
def test_questions_that_suit_no_series_are_refused(da, options, words):
    with pytest.raises(ValueError, match=words):
        smooth(da, "time", **options)


def test_what_is_no_array_is_refused(da):
    with pytest.raises(TypeError, match="da: Dataset, but a DataArray is needed"):
        smooth(da.to_dataset(), "time")


def test_times_with_a_zone_are_instants(da, eager):
    zoned = da.indexes["time"].tz_localize("UTC").tz_convert("America/New_York")
    found = smooth(da.assign_coords(time=zoned), "time", ORDERS, model=SPLINE)
    assert_allclose(found.mean_1.values, eager.mean_1.values, rtol=1e-12)
    assert found.mean_1.attrs["units"] == "K/s"
    assert found.indexes["time"].equals(zoned)
    asked = zoned[2:5].tz_convert("UTC")
    few = smooth(da.assign_coords(time=zoned), "time", ORDERS, model=SPLINE, at=asked)
    assert_allclose(few.mean_1.values, found.mean_1.isel(time=slice(2, 5)).values, rtol=1e-9)
    assert few.indexes["time"].equals(zoned[2:5])
    with pytest.raises(ValueError, match="at: times without a time zone"):
        smooth(da.assign_coords(time=zoned), "time", model=SPLINE, at=asked.tz_localize(None))


@pytest.mark.parametrize("kind", ["float32", "int16", "uint8"])
def test_values_of_other_kinds_are_read_as_numbers(kind):
    x, noise = np.arange(40.0), np.random.default_rng(0).standard_normal(40)
    values = (100 + 60 * np.sin(x / 5) + 10 * noise).astype(kind)
    found, expected = (
        smooth(xr.DataArray(v, dims="t", coords={"t": x}), "t", model=SPLINE)
        for v in (values, values.astype(float))
    )
    assert found.mean_1.dtype == np.float64
    assert_allclose(found.mean_1, expected.mean_1, rtol=1e-12)
