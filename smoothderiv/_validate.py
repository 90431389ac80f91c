"""Checks at the border: each names the argument, the first bad row, its value, and the remedy."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SECOND = np.timedelta64(1, "s")


def vector(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return a fresh (n,) float array; masked entries become NaN."""
    array = _floats(values, name)
    if array.ndim == 0:
        array = array[None]
    if array.ndim != 1:
        raise ValueError(
            f"{name}: shape {array.shape}, but one entry for each row, shape (n,), is needed; "
            "observe several columns one by one and join them with +"
        )
    return array


def finite(array: NDArray[np.float64], name: str, keep: NDArray[np.bool_] | None = None) -> None:
    """Refuse NaN and infinite entries among the rows in `keep`."""
    bad = ~np.isfinite(array) if array.ndim == 1 else ~np.isfinite(array).all(axis=1)
    if keep is not None:
        bad &= keep
    if bad.any():
        row = int(np.argmax(bad))
        advice = "" if name.startswith("y") else " (only a missing y may be NaN)"
        raise ValueError(
            f"{name}: row {row} is {_show(array[row])}, but every entry must be finite{advice}; "
            f"correct the row or leave it out"
        )


def coordinates(
    x: ArrayLike,
    name: str,
    origin: np.datetime64 | None = None,
    keep: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float64], np.datetime64 | None]:
    """Return x as floats and the origin they count from: datetimes become seconds from it.

    Without an `origin`, datetimes count from the earliest of them.
    """
    array = _times(x)
    if array.dtype.kind == "M":
        missing = np.isnat(array)
        rows = missing if keep is None or keep.shape != missing.shape else missing & keep
        if rows.any():
            raise ValueError(f"{name}: row {int(np.argmax(rows))} is NaT; leave the row out")
        if origin is None:
            origin = array[~missing].min() if (~missing).any() else np.datetime64(0, "s")
        return np.where(missing, np.nan, (array - origin) / _SECOND), origin
    if origin is not None and array.dtype.kind != "m":
        raise ValueError(
            f"{name}: numbers were given, but the data are at datetimes (from {origin}); "
            "give datetimes here too"
        )
    if array.dtype.kind == "m":
        if origin is not None:
            return array / _SECOND, origin
        return array / _SECOND, None
    values = _floats(array, name)
    finite(values.reshape(-1) if values.ndim != 2 else values, name, keep)
    return values, None


def places(x: NDArray[np.float64], n: int) -> None:
    """Refuse an x that is not (n,) or (n, d > 1)."""
    if x.ndim not in (1, 2):
        raise ValueError(f"x: shape {x.shape}, but (n,) or (n, d) is needed")
    if x.ndim == 2 and x.shape[1] < 2:
        raise ValueError(f"x: shape {x.shape}; in one dimension give shape (n,), as in x[:, 0]")
    if len(x) != n:
        raise ValueError(
            f"x: {len(x)} rows, but y has {n}; give one place for each observation "
            "(observe orders with different places one by one and join them with +)"
        )


def orders(nu: ArrayLike, n: int, ndim: int) -> NDArray[np.int64]:
    """Return the order of each row, (n,), or (n, d) multi-indices for d > 1."""
    array = np.asarray(nu)
    if array.dtype.kind not in "iufb":
        raise ValueError(f"nu: {nu!r} is not a number; give the order of the derivative, 0, 1, ..")
    shape = (n,) if ndim == 1 else (n, ndim)
    if ndim > 1 and array.ndim == 0 and array == 0:
        array = np.zeros(ndim, dtype=np.int64)
    if array.shape not in (shape, shape[1:]):
        wanted = "an int or (n,)" if ndim == 1 else f"a multi-index ({ndim},) or (n, {ndim})"
        raise ValueError(f"nu: shape {array.shape} for {n} rows, but {wanted} is needed")
    whole = np.isfinite(array) & (array >= 0) & (array == np.floor(array))
    if not whole.all():
        bad = np.atleast_1d(~whole if whole.ndim < 2 else ~whole.all(axis=1))
        row = int(np.argmax(bad))
        value = np.broadcast_to(array, shape)[row] if n else array
        raise ValueError(
            f"nu: row {row} is {_show(value)}, but the order of a derivative is a whole number "
            "from 0 on; give 0 for values, 1 for slopes, 2 for second derivatives"
        )
    return np.broadcast_to(array.astype(np.int64), shape).copy()


def errors(yerr: ArrayLike, n: int, keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the standard deviation of each row, (n,)."""
    array = _floats(yerr, "yerr")
    if array.shape not in ((), (1,), (n,)):
        raise ValueError(f"yerr: shape {array.shape}, but y has {n} rows; give a number or (n,)")
    array = np.broadcast_to(array, (n,)).copy()
    finite(array, "yerr", keep)
    bad = (array < 0) & keep
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"yerr: row {row} is {array[row]:g}, but a standard deviation cannot be negative; "
            "give one standard deviation, 0 for an exact row, or None to have it estimated"
        )
    return array


def seconds_between(a: np.datetime64 | None, b: np.datetime64 | None) -> float:
    """Return what to add to floats that count from `b` so that they count from `a`."""
    if a is None and b is None:
        return 0.0
    if a is None or b is None:
        raise ValueError("x: cannot join datetimes with numbers; give both as datetimes")
    return float((b - a) / _SECOND)


def _times(x: Any) -> NDArray[Any]:
    """Return an array whose times are datetime64 or timedelta64."""
    array = np.asarray(x)
    if array.dtype.kind != "O" or array.size == 0:
        return array
    first = array.flat[0]
    if isinstance(first, datetime.datetime) and first.tzinfo is not None:
        naive = [t.astimezone(datetime.UTC).replace(tzinfo=None) for t in array.ravel()]
        return np.array(naive, dtype="datetime64[us]").reshape(array.shape)
    if isinstance(first, datetime.date):
        return array.astype("datetime64[us]")
    if isinstance(first, datetime.timedelta):
        return array.astype("timedelta64[us]")
    return array


def _floats(values: Any, name: str) -> NDArray[np.float64]:
    """Return a fresh float array of any shape; masked entries become NaN."""
    if isinstance(values, np.ma.MaskedArray):
        values = np.ma.filled(values.astype(float), np.nan)
    try:
        array = np.array(values)
        if array.dtype.kind == "c":
            raise TypeError("complex")
        return array.astype(np.float64)
    except (TypeError, ValueError):
        row, value = _first_not_a_number(values)
        raise ValueError(
            f"{name}: row {row} is {value!r}, which is not a real number; give numbers"
        ) from None


def _first_not_a_number(values: Any) -> tuple[int, Any]:
    for row, value in enumerate(values if np.iterable(values) else [values]):
        try:
            float(value)
        except (TypeError, ValueError):
            return row, value
    return 0, values


def _show(value: Any) -> str:
    if np.ndim(value):
        return "(" + ", ".join(f"{v:g}" for v in value) + ")"
    return f"{float(value):g}"
