"""Places of data and of questions: numbers or times, with their zones, as floats and back."""

from __future__ import annotations

import datetime
import re
import zoneinfo
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv._validate import RowError, finite, floats, said, unmasked

_SECOND = np.timedelta64(1, "s")
_EPOCH = np.datetime64(0, "s")


def places(
    x: ArrayLike, keep: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], np.datetime64 | None, str | None]:
    """Return the x of observations, (n,) or (n, d > 1), the origin that they count from, the zone.

    Datetimes become seconds from the earliest of them. Rows that are not kept may be NaN or NaT.
    """
    array, zone = _times(x, "x")
    array = np.atleast_1d(array)
    if array.ndim > 2:
        raise ValueError(f"x: shape {array.shape}, but (n,) or (n, d) is needed")
    if array.ndim == 2 and array.shape[1] < 2:
        raise ValueError(f"x: shape {array.shape}; in one dimension give shape (n,), as in x[:, 0]")
    if len(array) != len(keep):
        raise ValueError(
            f"x: {len(array)} rows, but y has {len(keep)}; give one place for each observation "
            "(observe orders with different places one by one and join them with +)"
        )
    if array.dtype.kind not in "mM":
        values = floats(array, "x")
        finite(values, "x", keep)
        return values, None, None
    if array.ndim > 1:
        raise ValueError("x: times in several dimensions; give numbers, in units that you choose")
    _refuse_nat(array, "x", keep)
    if array.dtype.kind == "m":
        return array / _SECOND, None, None
    origin = array[keep].min() if keep.any() else np.datetime64(0, "s")
    return _seconds_from(origin, array), origin, zone


def coordinates(
    x: ArrayLike, name: str, origin: np.datetime64 | None, zone: str | None = None
) -> NDArray[np.float64]:
    """Return the x of a question as finite floats that count from `origin`.

    Times in any zone are taken where the data have a `zone`, times without one where they do not.
    """
    array = _times(x, name)[0] if origin is None else unzoned(x, name, zone, written=True)
    if array.dtype.kind in "mM":
        _refuse_nat(array, name)
        if array.dtype.kind == "m":
            return np.asarray(array / _SECOND)
        if origin is None:
            raise ValueError(
                f"{name}: datetimes were given, but the data are at numbers; give numbers here too"
            )
        return _seconds_from(origin, array)
    if origin is not None and array.size:
        raise ValueError(
            f"{name}: the data are at datetimes (from {time_words(origin, zone)}), but "
            f"{said(array.ravel()[0])} was given; give datetimes here too"
        )
    values = floats(array, name)
    finite(values if values.ndim == 2 else values.ravel(), name)
    return values


def unzoned(x: ArrayLike, name: str, zone: str | None, *, written: bool = False) -> NDArray[Any]:
    """Return places of a question as an array, zoned times in UTC; refuse what lacks a zone.

    Or has one where the data, which are in `zone`, have none. Numbers stay as they are. Where
    times may be `written`, text in ISO form is one.
    """
    array, own = _times(_read(x, name) if written else x, name)
    if array.dtype.kind != "M" or not array.size or (own is None) == (zone is None):
        return array
    if own is None:
        raise ValueError(
            f"{name}: times without a time zone were asked, but the data are in {zone}; give "
            f"zoned times, such as pandas.Timestamp('2026-03-01 08:00', tz={zone!r})"
        )
    raise ValueError(
        f"{name}: times in {own} were asked, but those of the data have no time zone; ask without "
        "one, or give the data theirs, as pandas does by tz_localize"
    )


def _read(x: Any, name: str) -> Any:
    """Return text in ISO form as times, all else as it is."""
    texts = np.asarray(x) if isinstance(x, str | list | tuple | np.ndarray) else np.empty(0)
    if texts.dtype.kind not in "UT":
        return x
    found = np.empty(texts.shape, dtype=object)
    for row, index in enumerate(np.ndindex(texts.shape)):
        try:
            found[index] = datetime.datetime.fromisoformat(str(texts[index]))
        except ValueError:
            says = f"is {str(texts[index])!r}, which is no time in ISO form, as 2026-02-01 10:00 is"
            raise RowError(name, row, says) from None
    return found


def seconds_between(
    a: np.datetime64 | None, b: np.datetime64 | None, zones: tuple[str | None, str | None]
) -> float:
    """Return what to add to floats that count from `b` so that they count from `a`."""
    if a is None and b is None:
        return 0.0
    if a is None or b is None:
        raise ValueError("x: cannot join datetimes with numbers; give both as datetimes")
    if (zones[0] is None) != (zones[1] is None):
        raise ValueError(
            f"x: cannot join times in {zones[0] or zones[1]} with times that have no time zone; "
            "give the latter theirs, as pandas does by tz_localize"
        )
    return float(_seconds_from(a, b))


def as_given(seconds: ArrayLike, origin: np.datetime64 | None, zone: str | None) -> NDArray[Any]:
    """Return floats that count from `origin` as the user gives places.

    Numbers, datetime64, or where there is a zone an array of datetimes as it has them, with their
    distance from UTC, to the microsecond.
    """
    if origin is None:
        return np.asarray(seconds, dtype=np.float64)
    instants = times(seconds, origin)
    if zone is None:
        return instants
    if np.datetime_data(instants.dtype)[0] == "ns":
        instants = instants + np.timedelta64(500, "ns")
    where = zone_info(zone)
    local = np.frompyfunc(lambda t: None if t is None else _local(t, where), 1, 1)
    return np.asarray(local(instants.astype("M8[us]").astype(object)), dtype=object)


def times(seconds: ArrayLike, origin: np.datetime64) -> NDArray[np.datetime64]:
    """Return seconds from `origin` as datetimes, to the nanosecond where these reach."""
    values = np.asarray(seconds, dtype=np.float64)
    whole = np.floor(values)
    near = np.abs(np.concatenate((values.ravel(), [_seconds_from(_EPOCH, origin)]))).max() < 4e9
    unit = "ns" if near else "us"
    fraction = np.rint((values - whole) * {"ns": 1e9, "us": 1e6}[unit]).astype(f"m8[{unit}]")
    return np.asarray(origin + whole.astype("m8[s]") + fraction)


def time_words(time: np.datetime64, zone: str | None) -> str:
    """Return a time as text, with its distance from UTC and its zone if it has one."""
    if zone is None:
        return str(time)
    text = str(_local(time.astype("M8[us]").item(), zone_info(zone)).isoformat())
    return text if text.endswith(zone) else f"{text} ({zone})"


def zone_info(name: str) -> datetime.tzinfo:
    """Return the time zone of a name, such as Europe/Berlin or +02:00."""
    if re.fullmatch(r"[+-]\d\d:\d\d", name):
        zone = datetime.datetime.fromisoformat(f"2000-01-01T00:00{name}").tzinfo
        return zone or datetime.UTC
    try:
        return zoneinfo.ZoneInfo(name) if name != "UTC" else datetime.UTC
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return datetime.UTC


def in_arrow_units(x: NDArray[Any]) -> NDArray[Any]:
    """Return times of a unit that Arrow lacks (years to minutes) in seconds, all else as it is."""
    if x.dtype.kind not in "mM":
        return x
    coarse = {"M": ("Y", "M", "W", "h", "m"), "m": ("W", "D", "h", "m")}[x.dtype.kind]
    unit = np.datetime_data(x.dtype)[0]
    return x.astype(f"{x.dtype.kind}8[s]") if unit in coarse else x


def _local(time: datetime.datetime, where: datetime.tzinfo) -> datetime.datetime:
    """Return a time of a zone, with its distance from UTC alone.

    Python subtracts and compares times of the same zone by what the clock shows, whether it was
    set forward or back between them.
    """
    local = time.replace(tzinfo=datetime.UTC).astimezone(where)
    return local.replace(tzinfo=datetime.timezone(local.utcoffset() or datetime.timedelta()))


def _seconds_from(origin: np.datetime64, array: Any) -> NDArray[np.float64]:
    """Return ``array - origin`` in seconds; by whole seconds, since nanoseconds overflow."""
    whole, start = array.astype("M8[s]"), origin.astype("M8[s]")
    rest = (array - whole) / _SECOND - (origin - start) / _SECOND
    return np.asarray((whole - start) / _SECOND + rest, dtype=np.float64)


def _refuse_nat(array: NDArray[Any], name: str, keep: NDArray[np.bool_] | None = None) -> None:
    bad = np.isnat(array) if keep is None else np.isnat(array) & keep
    if bad.any():
        raise RowError(name, int(np.argmax(bad)), "is NaT, not a time; leave the row out")


def _times(x: Any, name: str) -> tuple[NDArray[Any], str | None]:
    """Return an array whose times are datetime64 or timedelta64, in UTC, and the zone they had.

    Their units are of fixed length.
    """
    try:
        array = np.asarray(unmasked(x))
    except ValueError:
        raise ValueError(f"{name}: its rows differ in length; give shape (n,) or (n, d)") from None
    kind = getattr(x, "dtype", getattr(x, "type", None))  # of pandas, polars and pyarrow
    zone = _zone_name(getattr(kind, "tz", None) or getattr(kind, "time_zone", None))
    if array.dtype.kind == "O":
        array, zone = _times_of_objects(array, name)
    if array.dtype.kind in "mM" and np.datetime_data(array.dtype)[0] in ("Y", "M"):
        if array.dtype.kind == "m":
            raise ValueError(f"{name}: months and years differ in length; give days or seconds")
        array = array.astype("datetime64[s]")
    return array, zone if array.dtype.kind == "M" else None


def _times_of_objects(array: NDArray[Any], name: str) -> tuple[NDArray[Any], str | None]:
    """Convert an array of Python or pandas times; leave one that holds no time as it is."""
    flat = array.ravel()
    stamps, spans = datetime.date | np.datetime64, datetime.timedelta | np.timedelta64
    if not any(isinstance(value, stamps | spans) for value in flat):
        return array, None
    kind = stamps if any(isinstance(value, stamps) for value in flat) else spans
    for row, value in enumerate(flat):
        if not (value is None or isinstance(value, kind)):
            raise RowError(name, row, f"is {value!r}, but other rows are times; give one kind")
    dtype = "datetime64" if kind is stamps else "timedelta64"
    zones = [getattr(value, "tzinfo", None) for value in flat]
    zone = next((one for one in zones if one is not None), None)
    for row, (value, own) in enumerate(zip(flat, zones, strict=True)):
        missing = value is None or value != value  # noqa: PLR0124  # NaT is not itself
        if zone is not None and own is None and not missing:
            raise RowError(
                name, row, f"is {value}, without a time zone, but other rows have one; give it one"
            )
    array = np.array([_naive(value) for value in flat], dtype=dtype).reshape(array.shape)
    return array, _zone_name(zone)


def _zone_name(zone: datetime.tzinfo | str | None) -> str | None:
    """Return the name by which a time zone is found again, UTC for one that has none."""
    if zone is None:
        return None
    fixed = None if isinstance(zone, str) else zone.utcoffset(None)
    name = str(datetime.timezone(fixed)).removeprefix("UTC") if fixed else str(zone)
    return name if zone_info(name) is not datetime.UTC else "UTC"


def _naive(value: Any) -> Any:
    """Return a time that numpy reads: in UTC without a zone, and to the nanosecond if it can."""
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value = value.astimezone(datetime.UTC).replace(tzinfo=None)
    for exact in ("to_datetime64", "to_timedelta64"):
        value = getattr(value, exact)() if hasattr(value, exact) else value
    return value
