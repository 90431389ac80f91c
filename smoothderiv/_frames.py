"""Tables in: any dataframe that narwhals knows, read column by column, with errors by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
from numpy.typing import NDArray


class Table:
    """One eager dataframe of any library, asked for columns by name."""

    def __init__(self, frame: Any) -> None:
        try:
            self._frame = nw.from_native(frame)
        except TypeError:
            raise TypeError(
                f"frame: {type(frame).__name__} is not a table that narwhals can read; "
                "give a pandas, polars or pyarrow table"
            ) from None
        if isinstance(self._frame, nw.LazyFrame):
            self._frame = self._frame.collect()

    def column(self, name: str) -> NDArray[Any]:
        """Return one column: floats with NaN for empty cells, or datetime64 / timedelta64."""
        if name not in self._frame.columns:
            raise ValueError(
                f"column {name!r} is not in the table; it has {', '.join(self._frame.columns)}"
            )
        series = self._frame[name]
        dtype = series.dtype
        if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        if dtype in (nw.Datetime, nw.Date):
            return np.asarray(series.cast(nw.Datetime("ns")).to_numpy(), dtype="datetime64[ns]")
        if dtype == nw.Duration:
            return np.asarray(series.to_numpy(), dtype="timedelta64[ns]")
        return _numbers(series, name)


def read_parts(
    frame: Any,
    x: str | list[str],
    y: str | Mapping[str, Any],
    yerr: Mapping[str, float | str] | str | float | None,
    nu: str | None,
) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Return for each order of a table the names of its columns and the arguments of observe."""
    table = Table(frame)
    if isinstance(x, str):
        places = table.column(x)
    else:
        places = np.column_stack([table.column(name) for name in x])
    x_name = x if isinstance(x, str) else ", ".join(x)
    if nu is not None:
        return _long_parts(table, x_name, places, y, yerr, nu)
    columns = {y: 0} if isinstance(y, str) else dict(y)
    errors = _errors_by_column(yerr, columns)
    parts = []
    for name, order in columns.items():
        error = errors.get(name)
        names = {"x": x_name, "y": name, "yerr": error if isinstance(error, str) else name}
        values = table.column(error) if isinstance(error, str) else error
        parts.append((names, {"x": places, "y": table.column(name), "yerr": values, "nu": order}))
    return parts


def _long_parts(
    table: Table, x_name: str, places: NDArray[Any], y: Any, yerr: Any, nu: str
) -> list[tuple[dict[str, str], dict[str, Any]]]:
    """Read a long table: one part for rows of known noise, one for rows with an empty yerr."""
    if not isinstance(y, str):
        raise ValueError(f"y: a long table (nu={nu!r}) has one column of observations; name it")
    if isinstance(yerr, Mapping):
        raise ValueError("yerr: a long table has one column of yerr; name it, or give a number")
    names = {"x": x_name, "y": y, "nu": nu, "yerr": str(yerr)}
    values, order = table.column(y), table.column(nu)
    if yerr is None:
        return [(names, {"x": places, "y": values, "yerr": None, "nu": order})]
    error = table.column(yerr) if isinstance(yerr, str) else np.full(len(values), float(yerr))
    known = ~np.isnan(error)
    parts = []
    for rows, given in ((known, error[known]), (~known, None)):
        if rows.any() or (given is not None and not len(values)):
            part = {"x": places[rows], "y": values[rows], "yerr": given, "nu": order[rows]}
            parts.append((names, part))
    return parts


def _errors_by_column(yerr: Any, columns: Mapping[str, Any]) -> dict[str, Any]:
    if yerr is None:
        return {}
    if not isinstance(yerr, Mapping):
        if len(columns) > 1:
            raise ValueError(
                "yerr: several columns of y need a mapping from column to number or column, "
                f"such as {{{next(iter(columns))!r}: 0.1}}"
            )
        return dict.fromkeys(columns, yerr)
    for name in yerr:
        if name not in columns:
            raise ValueError(
                f"yerr: {name!r} is not a column of observations; y names {', '.join(columns)}"
            )
    return dict(yerr)


def _numbers(series: Any, name: str) -> NDArray[np.float64]:
    """Return a column as floats, empty cells as NaN; name the row of what is not a number."""
    values = series.to_list()
    out = np.empty(len(values))
    for row, value in enumerate(values) if not series.dtype.is_numeric() else ():
        try:
            out[row] = np.nan if value is None or value == "" else float(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"column {name!r}: row {row} is {value!r}, which is not a number; correct the "
                "cell, or leave it empty if the observation is missing"
            ) from None
    if series.dtype.is_numeric():
        out = series.cast(nw.Float64).fill_null(float("nan")).to_numpy()
    return np.array(out, dtype=np.float64)
