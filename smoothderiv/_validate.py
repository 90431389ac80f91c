"""Checks at the border: each names the argument, the first bad row, its value, and the remedy."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_LONGEST = 60
_ENDLESS = 2**31  # no order of a derivative is that high


class RowError(ValueError):
    """What is wrong with one entry: the argument it came in, its row, and the rest of the words."""

    def __init__(self, argument: str, row: int, says: str) -> None:
        super().__init__(argument, row, says)
        self.argument, self.row, self.says = argument, row, says

    def __str__(self) -> str:
        return f"{self.argument}: row {self.row} {self.says}"


def vector(values: ArrayLike, name: str) -> NDArray[np.float64]:
    """Return a fresh (n,) float array; masked entries become NaN."""
    array = floats(values, name)
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
        advice = "" if name == "y" else " (only a missing y may be NaN)"
        raise RowError(
            name,
            row,
            f"is {_show(array[row])}, but every entry must be finite{advice}; "
            "correct the row or leave it out",
        )


def within_floats(
    answer: NDArray[np.float64], x: NDArray[np.float64], name: str = "x"
) -> NDArray[np.float64]:
    """Return an answer (n, ..) at places x, or refuse the farthest at which it is not finite."""
    if not np.isfinite(answer).all():
        finite_rows = np.isfinite(answer.reshape(len(x), -1)).all(axis=1)
        away = np.abs(x.reshape(len(x), -1)).max(axis=1)
        row = int(np.argmax(np.where(finite_rows, -1.0, away)))
        words = "so far from the data that the answer overflows; ask nearer to them"
        raise RowError(name, row, f"is {said(x[row])}, {words}")
    return answer


def whole_orders(nu: Any) -> NDArray[np.int64]:
    """Return orders of derivatives in the shape they came in, or refuse what are none."""
    found = np.asarray(nu)
    if found.dtype.kind not in "iuf":
        raise _no_order(f"{said(nu)} is")
    bad = ~((found >= 0) & (found == np.floor(found)) & (found < _ENDLESS))
    if bad.any():
        row = int(np.argwhere(np.atleast_1d(bad))[0, 0])
        raise _no_order(
            f"row {row} is {said(found[row])}, which is" if found.ndim else f"{said(nu)} is"
        )
    return found.astype(np.int64)


def _no_order(words: str) -> ValueError:
    return ValueError(
        f"nu: {words} not the order of a derivative; give 0, 1, 2, .., such as 1 for the slope"
    )


def asked_orders(nu: Any) -> tuple[int, ...]:
    """Return the distinct orders of derivatives that are asked, as they come."""
    found = whole_orders(nu)
    if found.ndim > 1 or not found.size:
        raise ValueError(f"nu: {said(nu)}, but orders of derivatives are needed: 0, 1, 2, ..")
    return tuple(dict.fromkeys(found.ravel().tolist()))


def one_order(nu: Any) -> int:
    """Return the order of one derivative, or refuse what is none."""
    order = whole_orders(nu)
    if order.ndim:
        raise _no_order(f"{said(nu)} is")
    return int(order)


def one_number(value: Any, name: str, remedy: str) -> float:
    """Return one finite number, or refuse what is none."""
    number = np.asarray(value)
    if number.ndim or number.dtype.kind not in "iuf" or not np.isfinite(number):
        raise ValueError(f"{name}: {said(value)} is not one finite number; {remedy}")
    return float(number)


def require_kind(value: Any, kind: type, name: str, words: str) -> None:
    """Refuse a value of another kind; `words` name the one needed, and how to come by it."""
    if not isinstance(value, kind):
        raise TypeError(f"{name}: {type(value).__name__} is not {words}")


def said(value: Any) -> str:
    """Return a value as people write it, numpy's as Python's own, at no great length."""
    if isinstance(value, np.ndarray):
        value = list(value) if value.ndim else value[()]
    if isinstance(value, np.datetime64 | np.timedelta64):
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    text = repr(value)
    if isinstance(value, tuple | list):
        inner = ", ".join(map(said, value))
        text = f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def orders(nu: ArrayLike, n: int, ndim: int, keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the order of each row, (n,), or (n, d) multi-indices for d > 1; 0 where not kept."""
    array = np.asarray(unmasked(nu))
    if array.dtype.kind not in "iuf":
        raise _no_order(f"{said(nu)} is")
    shape = (n,) if ndim == 1 else (n, ndim)
    if ndim > 1 and array.ndim == 0 and array == 0:
        array = np.zeros(ndim, dtype=np.int64)
    if array.shape not in (shape, shape[1:]):
        wanted = "an int or (n,)" if ndim == 1 else f"a multi-index ({ndim},) or (n, {ndim})"
        raise ValueError(f"nu: shape {array.shape} for {n} rows, but {wanted} is needed")
    rows = np.broadcast_to(array, shape)
    whole = np.isfinite(rows) & (rows >= 0) & (rows == np.floor(rows))
    bad = keep & ~(whole if ndim == 1 else whole.all(axis=1))
    if bad.any():
        row = int(np.argmax(bad))
        raise RowError(
            "nu",
            row,
            f"is {_show(rows[row])}, but the order of a derivative is a whole number from 0 on; "
            "give 0 for values, 1 for slopes, 2 for second derivatives",
        )
    return np.where(whole, rows, 0).astype(np.int64)


def errors(yerr: ArrayLike, n: int, keep: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the standard deviation of each row, (n,)."""
    array = floats(yerr, "yerr")
    if array.shape not in ((), (1,), (n,)):
        raise ValueError(f"yerr: shape {array.shape}, but y has {n} rows; give a number or (n,)")
    array = np.broadcast_to(array, (n,)).copy()
    finite(array, "yerr", keep)
    bad = (array < 0) & keep
    if bad.any():
        row = int(np.argmax(bad))
        raise RowError(
            "yerr",
            row,
            f"is {array[row]:g}, but a standard deviation cannot be negative; "
            "give one standard deviation, 0 for an exact row, or None to have it estimated",
        )
    return array


def unmasked(values: Any) -> Any:
    """Return what may be a masked array with NaN or NaT where it is masked."""
    if not isinstance(values, np.ma.MaskedArray):
        return values
    if values.dtype.kind in "mM":
        return np.where(np.ma.getmaskarray(values), np.array("NaT", values.dtype), values.data)
    return np.ma.filled(values.astype(float), np.nan)


def floats(values: Any, name: str) -> NDArray[np.float64]:
    """Return a fresh float array of any shape; masked entries become NaN."""
    values = unmasked(values)
    try:
        array = np.array(values)
        if array.dtype.kind in "cmM":
            raise TypeError("not a real number")
        return array.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        row, value = _first_not_a_number(values)
        wanted = "numbers or datetimes" if name == "x" else "numbers"
        raise RowError(
            name, row, f"is {said(value)}, which is not a real number; give {wanted}"
        ) from None


def _first_not_a_number(values: Any) -> tuple[int, Any]:
    times = datetime.date | datetime.timedelta
    for row, value in enumerate(values if np.iterable(values) else [values]):
        plain = value.item() if isinstance(value, np.generic) else value
        try:
            float(plain)
        except (TypeError, ValueError):
            return row, plain
        if isinstance(value, np.datetime64 | np.timedelta64 | times):
            return row, str(value)
    return 0, values


def _show(value: Any) -> str:
    if np.ndim(value):
        return "(" + ", ".join(f"{v:g}" for v in value) + ")"
    return f"{float(value):g}"
