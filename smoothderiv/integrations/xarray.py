"""xarray: every series of a labelled grid smoothed along one dimension; lazily on Dask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv._places import coordinates, unzoned
from smoothderiv._threads import cores, threaded
from smoothderiv._validate import asked_orders
from smoothderiv._warn import warn
from smoothderiv.integrations import missing
from smoothderiv.model import Model
from smoothderiv.observations import Observations, observe
from smoothderiv.smooth import smooth as fit
from smoothderiv.statespace.bank import MANY, is_for_banks, smooth_bank

try:
    import xarray as xr
except ImportError as error:
    raise missing(error, "xarray") from None

Array = NDArray[np.float64]

_WHICH = "_mean_and_std"


def smooth(
    da: xr.DataArray,
    dim: str,
    nu: int | Sequence[int] = (0, 1),
    *,
    yerr: float | xr.DataArray | None = None,
    at: ArrayLike | None = None,
    model: Model | None = None,
) -> xr.Dataset:
    """Smooth along one dimension: posterior mean and standard deviation of each order.

    Each series along `dim` is fitted by itself, as by :func:`smoothderiv.smooth`.

    Parameters
    ----------
    da : DataArray
        Values; NaN marks what is missing. On Dask the result is as lazy, and computed chunk by
        chunk on whatever scheduler runs it. Each chunk must hold whole series: an array that is
        split along `dim` as well is rechunked, with a warning, since that moves all data.
    dim : str
        The dimension of the places, which are its coordinate: numbers or datetimes.
    nu : int or sequence of int
        Orders of the derivatives.
    yerr : None, float or DataArray
        One standard deviation of the values, of any of their dimensions; None has it estimated.
    at : array, optional
        Where to answer, the new coordinate of `dim`; by default at its present one.
    model : Model, optional
        What to fit; what it leaves unknown is tuned for each series.

    Returns
    -------
    Dataset
        ``mean_0, std_0, mean_1, ..`` with the dimensions of `da`, its coordinates and attributes;
        ``units`` become those of the derivative, such as ``K/s``, datetimes counting in seconds.
        Series without any value are NaN, and so are those that could not be fitted, which
        ``failed`` tells, without `dim`.

    Raises
    ------
    ValueError
        Places that are missing, not numbers or not finite, or arguments that do not fit.

    Warns
    -----
    UserWarning
        Some series of a chunk could not be fitted, with the first reason. (A distributed cluster
        keeps such warnings in its logs.)

    Examples
    --------
    >>> import numpy as np, xarray as xr, smoothderiv as sd
    >>> from smoothderiv.integrations.xarray import smooth
    >>> hours = np.arange("2026-01-01", "2026-01-03", dtype="datetime64[h]").astype("M8[ns]")
    >>> t = np.arange(48.0)
    >>> field = 280 + np.stack([np.sin(t / 4 + k) for k in range(3)])
    >>> field += 0.05 * np.random.default_rng(0).standard_normal(field.shape)
    >>> da = xr.DataArray(field, dims=("lon", "time"), coords={"time": hours}, attrs={"units": "K"})
    >>> ds = smooth(da, dim="time", model=sd.SmoothingSpline(order=3))
    >>> ds.mean_1.dims, ds.mean_1.attrs["units"]
    (('lon', 'time'), 'K/s')
    >>> bool(abs(3600 * ds.mean_1[0] - np.cos(t / 4) / 4).max() < 0.1)
    True
    """
    orders = asked_orders(nu)
    _check(da, dim, orders, yerr)
    x = _places(da, dim)
    ask = x if at is None else _asked(at, x, _zone(da, dim))
    da = _whole_series(da, dim)
    given, core = [da], [[dim]]
    if isinstance(yerr, xr.DataArray):
        along = dim in yerr.dims
        given.append(_whole_series(yerr, dim) if along else yerr)
        core.append([dim] if along else [])
    found = xr.apply_ufunc(
        _block,
        *given,
        input_core_dims=core,
        output_core_dims=[[_WHICH, dim]],
        exclude_dims=set() if at is None else {dim},
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {_WHICH: 2 * len(orders), dim: len(ask)}},
        kwargs={
            "x": x,
            "ask": ask,
            "orders": orders,
            "model": model,
            "level": None if isinstance(yerr, xr.DataArray) else yerr,
            "along": len(core) == 2 and bool(core[1]),
            "workers": cores() if da.chunks is None else 1,  # on Dask its scheduler's
        },
        keep_attrs=True,
    )
    if at is not None:
        found = found.assign_coords({dim: (dim, _in_zone(ask, _zone(da, dim)), da[dim].attrs)})
    return _dataset(found.transpose(_WHICH, *da.dims), da, dim, orders)


def _check(da: xr.DataArray, dim: str, orders: tuple[int, ...], yerr: Any) -> None:
    """Refuse what suits no series."""
    if not isinstance(da, xr.DataArray):
        raise TypeError(
            f"da: {type(da).__name__}, but a DataArray is needed, such as dataset[name]"
        )
    if da.dtype.kind not in "biuf":
        raise ValueError(f"da: values of dtype {da.dtype}, but real numbers are needed")
    if dim not in da.dims:
        there = ", ".join(map(str, da.dims)) or "none"
        raise ValueError(f"dim: {dim!r} is not a dimension; there are {there}")
    if dim not in da.coords:
        raise ValueError(f"dim: {dim!r} has no coordinate; give one with da.assign_coords")
    if isinstance(yerr, xr.DataArray) and (more := set(yerr.dims) - set(da.dims)):
        raise ValueError(f"yerr: has a dimension that the values lack: {more.pop()!r}")
    names = {f"{word}_{order}" for order in orders for word in ("mean", "std")} | {"failed"}
    if taken := names & set(map(str, da.coords)):
        raise ValueError(f"da: coordinate {taken.pop()!r} has the name of an answer; rename it")


def _asked(at: ArrayLike, x: NDArray[Any], zone: Any) -> NDArray[Any]:
    """Return the places asked, in UTC; refuse those that no series could answer for."""
    ask = np.atleast_1d(unzoned(at, "at", zone))
    coordinates(ask, "at", x.min() if x.dtype.kind == "M" and len(x) else None)
    if ask.ndim > 1:
        raise ValueError(f"at: shape {ask.shape}, but (m,) is needed")
    return ask


def _places(da: xr.DataArray, dim: str) -> NDArray[Any]:
    """Return the coordinate of a dimension as numbers or datetimes."""
    if _zone(da, dim) is not None:  # places in UTC; the coordinate stays as it is
        return np.asarray(da.indexes[dim].tz_convert(None))
    x = np.asarray(da[dim].values)
    if x.dtype.kind not in "iufmM":
        raise ValueError(
            f"dim: the coordinate {dim!r} holds {type(x.ravel()[0]).__name__}, but numbers or "
            "datetimes are needed (for cftime use da.convert_calendar or to_datetimeindex)"
        )
    bad = np.isnat(x) if x.dtype.kind in "mM" else ~np.isfinite(x.astype(np.float64))
    if bad.any():
        raise ValueError(f"dim: the coordinate {dim!r} is {x[bad][0]} at index {bad.argmax()}")
    return x


def _zone(da: xr.DataArray, dim: str) -> Any:
    """Return the time zone of a coordinate, None without one."""
    return getattr(da.indexes.get(dim), "tz", None)


def _in_zone(ask: NDArray[Any], zone: Any) -> Any:
    """Return places asked with the time zone of the coordinate, if it has one."""
    if zone is None:
        return ask
    from pandas import DatetimeIndex  # xarray has it

    return DatetimeIndex(ask, tz="UTC").tz_convert(zone)


def _whole_series(da: xr.DataArray, dim: str) -> xr.DataArray:
    """Return an array whose chunks hold whole series."""
    chunks = da.chunksizes.get(dim, ())
    if len(chunks) <= 1:
        return da
    warn(
        f"dim: {dim!r} is split into {len(chunks)} chunks, but a curve needs its whole series; "
        f"the array is rechunked, which moves all of it. Store or open it with {dim!r} whole, as "
        f"by da.chunk({{{dim!r}: -1}}), to spare that",
    )
    return da.chunk({name: -1 if name == dim else "auto" for name in da.dims})


def _dataset(
    found: xr.DataArray, da: xr.DataArray, dim: str, orders: tuple[int, ...]
) -> xr.Dataset:
    """Return the answers as named variables with their attributes."""
    variables = {}
    for k, order in enumerate(orders):
        for which, word in enumerate(("mean", "std")):
            values = found.isel({_WHICH: 2 * k + which})
            variables[f"{word}_{order}"] = _described(values, da, dim, order, word)
    first = variables[f"mean_{orders[0]}"]
    variables["failed"] = first.isnull().all(dim) & da.notnull().any(dim)
    variables["failed"].attrs = {"long_name": f"no curve along {dim} could be fitted"}
    return xr.Dataset(variables)


def _described(
    values: xr.DataArray, da: xr.DataArray, dim: str, order: int, word: str
) -> xr.DataArray:
    """Give an answer the attributes of the data, its own name and its own units."""
    attrs = dict(da.attrs)
    if order or word == "std":
        attrs.pop("standard_name", None)
    name = attrs.get("long_name", da.name)
    if order:
        name = f"derivative of order {order} along {dim}" + (f" of {name}" if name else "")
    if word == "std":
        name = "standard deviation" + (f" of {name}" if name else "")
    if name:
        attrs["long_name"] = name
    attrs.pop("units", None)
    units = _units(da, dim, order)
    if units:
        attrs["units"] = units
    values.attrs = attrs
    return values


def _units(da: xr.DataArray, dim: str, order: int) -> str | None:
    """Return the unit of a derivative, such as K/s^2, if those of values and places are known."""
    top = da.attrs.get("units")
    if not order or top is None:
        return top
    times = da[dim].dtype.kind in "mM" or _zone(da, dim) is not None
    bottom = "s" if times else da[dim].attrs.get("units")
    if bottom is None:
        return None
    top, bottom = (f"({u})" if not u.isalnum() and u != "%" else u for u in (str(top), str(bottom)))
    return f"{top}/{bottom}" + (f"^{order}" if order > 1 else "")


def _block(
    y: Array,
    yerr: Array | None = None,
    *,
    x: NDArray[Any],
    ask: NDArray[Any],
    orders: tuple[int, ...],
    model: Model | None,
    level: float | None,
    along: bool,
    workers: int,
) -> Array:
    """Smooth the series along the last axis: (.., n) to (.., 2 orders, m)."""
    shape, n = y.shape[:-1], y.shape[-1]
    if yerr is not None:
        yerr = yerr if along else yerr[..., None]
        shape = np.broadcast_shapes(shape, yerr.shape[:-1])
        yerr = np.broadcast_to(yerr, (*shape, n))
    y = np.broadcast_to(y, (*shape, n))
    out = np.full((*shape, 2 * len(orders), len(ask)), np.nan)
    block = _Block(y, level if yerr is None else yerr, x, ask, orders, model)
    wanted = [place for place in np.ndindex(shape) if not np.isnan(y[place]).all()]
    groups = [wanted[k : k + MANY] for k in range(0, len(wanted), MANY)]
    failed: list[str] = []
    for group, answers in threaded(block.answers, groups, workers):
        for place, answer in zip(group, answers, strict=True):
            if isinstance(answer, str):
                failed.append(answer)
            else:
                out[place] = answer
    if failed:
        warn(
            f"{len(failed)} of {math.prod(shape)} series could not be fitted and are NaN; the "
            f"first: {failed[0]}",
        )
    return out


class _Block(NamedTuple):
    """Values (.., n) and what is asked of each series."""

    y: Array
    yerr: Array | float | None
    x: NDArray[Any]
    ask: NDArray[Any]
    orders: tuple[int, ...]
    model: Model | None

    def observed(self, place: tuple[int, ...]) -> Observations:
        """Return the rows of a series."""
        given = self.yerr[place] if isinstance(self.yerr, np.ndarray) else self.yerr
        return observe(self.x, self.y[place], given)

    def answers(self, places: list[tuple[int, ...]]) -> list[Array | str]:
        """Return mean and std of each order, (2 orders, m), or why a series has none."""
        together = self.together(places) if is_for_banks(self.model, self.orders) else {}
        return [together[one] if one in together else self.alone(one) for one in places]

    def together(self, places: list[tuple[int, ...]]) -> dict[tuple[int, ...], Array]:
        """Answer for series side by side, but for those that are to be looked at alone."""
        data, asked = {}, []
        for place in places:
            try:
                rows = self.observed(place)
                asked.append(rows.coordinates(self.ask))
                data[place] = rows
            except ValueError:
                continue
        found = smooth_bank(self.model, list(data.values()), asked, self.orders)  # type: ignore[arg-type]
        every = zip(data, found, strict=True)
        shape = 2 * len(self.orders), len(self.ask)
        return {p: np.stack(one[:2], axis=1).reshape(shape) for p, one in every if one is not None}

    def alone(self, place: tuple[int, ...]) -> Array | str:
        """Answer for one series."""
        try:
            post = fit(self.observed(place), self.model, nu=max(self.orders))
            both = [(post.mean(self.ask, k), post.std(self.ask, k)) for k in self.orders]
        except (ValueError, ArithmeticError) as reason:
            return str(reason)
        return np.array([answer for pair in both for answer in pair])
