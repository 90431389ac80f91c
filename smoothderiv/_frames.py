"""Tables in: any dataframe that narwhals knows, read column by column, with errors by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
from numpy.typing import NDArray

from smoothderiv._validate import RowError, said


@dataclass(frozen=True)
class Part:
    """The arguments of one call of observe(), and where in the table they came from."""

    arguments: dict[str, Any]
    columns: dict[str, str]
    rows: NDArray[np.int64]
    zone: str | None = None

    def in_the_table(self, error: RowError) -> RowError:
        """Say an error by the names and the rows of the table."""
        place = self.columns[error.argument]
        return RowError(place, int(self.rows[error.row]) if len(self.rows) else 0, error.says)


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

    @property
    def native(self) -> Any:
        """The table as its library has it, collected."""
        return self._frame.to_native()

    def select(self, names: list[str]) -> Any:
        """Return some columns as a narwhals table."""
        for name in names:
            self._require(name)
        return self._frame.select(names)

    def zone(self, name: str) -> str | None:
        """Return the time zone of a column of datetimes, None without one."""
        self._require(name)
        dtype = self._frame.get_column(name).dtype
        return dtype.time_zone if isinstance(dtype, nw.Datetime) else None

    def _require(self, name: str) -> None:
        if name not in self._frame.columns:
            names = ", ".join(map(str, self._frame.columns))
            raise ValueError(
                f"column {name!r} is not in the table; it has {names}{self._index_words()}"
            )

    def _index_words(self) -> str:
        """Say that an index is no column, where there is one that holds something."""
        index = nw.maybe_get_index(self._frame)
        if index is None or type(index).__name__ == "RangeIndex":
            return ""
        named = "index" if index.name is None else index.name
        return f"; its index is no column, but frame.reset_index() makes it column {named!r}"

    def column(self, name: str) -> NDArray[Any]:
        """Return one column: floats with NaN for empty cells, or datetime64 / timedelta64."""
        self._require(name)
        series = self._frame.get_column(name)
        dtype = series.dtype
        if isinstance(dtype, nw.Datetime) and dtype.time_zone is not None:
            series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        if dtype in (nw.Datetime, nw.Duration):
            return np.asarray(series.to_numpy())
        if dtype == nw.Date:
            return np.array(series.to_list(), dtype="datetime64[D]")
        if dtype.is_numeric():
            values = series.cast(nw.Float64).fill_null(float("nan")).to_numpy()
            return np.array(values, dtype=np.float64)
        return _parsed(series.to_list(), name)


def read_parts(
    frame: Any,
    x: str | Sequence[str],
    y: str | Mapping[str, Any],
    yerr: Mapping[str, float | str] | str | float | None,
    nu: str | None,
) -> list[Part]:
    """Return the arguments of observe() for each column of a wide table, or for a long one."""
    table = Table(frame)
    if isinstance(x, list | tuple):
        places, x_name = np.column_stack([table.column(name) for name in x]), ", ".join(x)
    elif isinstance(x, str):
        places, x_name = table.column(x), x
    else:
        raise ValueError(
            f"x: {said(x)} is no name of a column; give one, or a list of them. An index becomes a "
            "column by frame.reset_index()"
        )
    parts = _parts(table, x_name, places, y, yerr, nu)
    zone = table.zone(x) if isinstance(x, str) else None
    return [dataclasses.replace(part, zone=zone) for part in parts]


def _parts(
    table: Table, x_name: str, places: NDArray[Any], y: Any, yerr: Any, nu: str | None
) -> list[Part]:
    """Return the parts of :func:`read_parts`, at places that lost their zone."""
    if nu is not None:
        return _long_parts(table, x_name, places, y, yerr, nu)
    if not isinstance(y, str | Mapping):
        names = list(y) if isinstance(y, Iterable) else []
        orders = dict(zip(map(str, names), range(len(names)), strict=True)) or {"pos": 0}
        raise ValueError(
            f"y: {said(y)} does not say the order of each column; give a mapping such as {orders}"
        )
    columns = {y: 0} if isinstance(y, str) else dict(y)
    if not columns:
        raise ValueError("y: no column is named; give at least one, such as {'pos': 0}")
    errors = _errors_by_column(yerr, columns)
    parts = []
    for name, order in columns.items():
        error = errors.get(name)
        label = _label(error) if isinstance(error, str) else f"yerr of {_label(name)}"
        labels = _labels(x_name, name) | {"yerr": label, "nu": f"order of {_label(name)}"}
        size = table.column(error) if isinstance(error, str) else error
        values = table.column(name)
        arguments = {"x": places, "y": values, "yerr": size, "nu": order}
        parts.append(Part(arguments, labels, np.arange(len(values))))
    return parts


def _long_parts(
    table: Table, x_name: str, places: NDArray[Any], y: Any, yerr: Any, nu: str
) -> list[Part]:
    """Read a long table: one part for rows of known noise, one for rows with an empty yerr."""
    if not isinstance(y, str):
        raise ValueError(f"y: a long table (nu={nu!r}) has one column of observations; name it")
    if isinstance(yerr, Mapping):
        raise ValueError("yerr: a long table has one column of yerr; name it, or give a number")
    labels = _labels(x_name, y) | {"nu": _label(nu)}
    labels["yerr"] = _label(yerr) if isinstance(yerr, str) else "yerr"
    values, order = table.column(y), table.column(nu)
    if isinstance(yerr, str):
        error = table.column(yerr)
    else:
        error = np.full(len(values), np.nan if yerr is None else float(yerr))
    known = ~np.isnan(error)
    parts = []
    for rows, given in ((known, error[known]), (~known, None)):
        if rows.any() or not len(values):
            arguments = {"x": places[rows], "y": values[rows], "yerr": given, "nu": order[rows]}
            parts.append(Part(arguments, labels, np.flatnonzero(rows)))
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


def _label(column: str) -> str:
    return f"column {column!r}"


def _labels(x: str, y: str) -> dict[str, str]:
    return {"x": _label(x), "y": _label(y)}


def _parsed(values: list[Any], name: str) -> NDArray[Any]:
    """Return cells of text or of objects as floats, or as they are if they are times."""
    out = np.full(len(values), np.nan)
    for row, value in enumerate(values):
        if value is None or value == "":
            continue
        try:
            out[row] = float(value)
        except (TypeError, ValueError):
            if hasattr(value, "isoformat") or hasattr(value, "total_seconds"):
                return np.array(values, dtype=object)
            raise RowError(
                _label(name),
                row,
                f"is {value!r}, which is not a number; correct the cell, or leave it empty if "
                "the observation is missing",
            ) from None
    return out
