"""Observations: noisy values and derivatives of one curve, validated once and frozen.

Every row says ``y_i = (D^nu_i f)(x_i) + e_i`` with ``e_i ~ N(0, sd_i^2)``. This is the only place
where user data are checked; everything behind it may trust what it gets.
"""

from __future__ import annotations

import dataclasses
import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv import _places, _validate

Order: TypeAlias = int | tuple[int, ...]
"""The order of a derivative: an int for 1-D x, a multi-index for x of several dimensions."""

LIGHT = 0.2  # of the typical weight: a row of less counts for little


@dataclass(frozen=True, eq=False, repr=False)
class Observations:
    """Rows ``y_i = (D^nu_i f)(x_i) + e_i``, of any mix of orders, each with its own noise.

    Made by :func:`observe` or :meth:`from_frame`, joined by ``+``, selected by slices, index
    arrays and boolean masks. Arrays are read-only copies; rows keep the order in which they were
    given.

    Attributes
    ----------
    x : (n,) or (n, d) array
        Where each row was observed. Times are seconds from `origin`.
    y : (n,) array
        What was observed, in unit of y / unit of x ** nu.
    yerr : (n,) array
        One standard deviation of each row in the unit of that row; NaN where it is unknown; 0 for
        an exact row. Where `relative` holds it is a relative size.
    nu : (n,) or (n, d) array of int
        The order of the derivative that each row observes.
    relative : (n,) array of bool
        True where `yerr` is a relative size, with one scale for each order to be estimated.
    n_missing : int
        How many values were left out because they were NaN: of wide tables, cells of all columns.
    origin : numpy.datetime64 or None
        For datetime x: the time that x counts from, in seconds; in UTC where there is a zone.
    weight : (n,) array
        The part of its precision that each row keeps, 1 for an ordinary row: its noise variance is
        ``yerr_i^2 / weight_i``. Robust fits give outlying rows less (:meth:`reweighted`).
    zone : str or None
        The time zone of datetime x, such as ``"Europe/Berlin"``; None of times without one.
        Questions have one then too, whichever it is. Answers that are times are as this zone has
        them, ``datetime`` objects with their distance from UTC, to the microsecond.

    Examples
    --------
    >>> import smoothderiv as sd
    >>> data = sd.observe([0, 1, 2], [0.1, 0.9, 4.2], yerr=0.1) + sd.observe([1.5], [3.0], nu=1)
    >>> data
    Observations: 4 rows, x from 0 to 2
      order 0: 3 rows, yerr 0.1
      order 1: 1 row, yerr unknown
    >>> data.orders
    (0, 1)
    >>> len(data[data.x > 0.5])
    3
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    yerr: NDArray[np.float64]
    nu: NDArray[np.int64]
    relative: NDArray[np.bool_]
    n_missing: int = 0
    origin: np.datetime64 | None = None
    weight: NDArray[np.float64] = None  # type: ignore[assignment]  # ones
    zone: str | None = None

    def __post_init__(self) -> None:
        if self.weight is None:
            object.__setattr__(self, "weight", np.broadcast_to(1.0, np.shape(self.y)))
        for name, (kind, check) in _FIELDS.items():
            array = getattr(self, name)
            if not (isinstance(array, np.ndarray) and array.dtype == kind):
                array = _validate.whole_orders(array) if kind == "i8" else np.array(array, kind)
            if array.flags.writeable:  # what is not is of other rows, and was looked at there
                array = _frozen(array.copy())
                check(array)
            object.__setattr__(self, name, array)
        self._check_shapes()

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        x: str | Sequence[str] = "x",
        y: str | Mapping[str, Order] = "y",
        yerr: Mapping[str, float | str] | str | float | None = None,
        *,
        nu: str | None = None,
        relative: bool = False,
    ) -> Observations:
        """Read one table: pandas, polars, pyarrow, or whatever else narwhals knows.

        Parameters
        ----------
        frame : table
            Wide (a column for each order; empty cells are missing rows), or long (`nu` given).
        x : str, or list or tuple of str
            The column of places, or one column for each dimension.
        y : mapping from column to order, or str
            Wide: which order each column observes, ``{"pos": 0, "vel": 1}``. A single name is
            order 0, or, with `nu`, the column of all observations of a long table.
        yerr : mapping from column to number or column, number, str, or None
            One standard deviation for each column of `y`: a number or the name of a column.
            Columns that are not named have unknown noise.
        nu : str, optional
            Long tables: the column that holds the order of each row. Rows with an empty `yerr`
            cell have unknown noise and come after the others.
        relative : bool
            As in :func:`observe`.

        Raises
        ------
        ValueError
            A column that the table lacks (the message lists those it has), or what
            :func:`observe` refuses, with the name of the column.

        Examples
        --------
        >>> import pandas as pd, smoothderiv as sd
        >>> frame = pd.DataFrame({"t": [0.0, 1.0], "pos": [0.1, 1.2], "vel": [1.0, float("nan")]})
        >>> sd.Observations.from_frame(frame, x="t", y={"pos": 0, "vel": 1}, yerr={"pos": 0.1})
        Observations: 3 rows, x from 0 to 1, 1 missing value left out
          order 0: 2 rows, yerr 0.1
          order 1: 1 row, yerr unknown
        """
        from smoothderiv import _frames  # it imports a library of dataframes

        parts = []
        for part in _frames.read_parts(frame, x, y, yerr, nu):
            known = part.arguments["yerr"] is not None
            try:
                rows = observe(**part.arguments, relative=relative and known)
                parts.append(dataclasses.replace(rows, zone=part.zone or rows.zone))
            except _validate.RowError as error:
                raise part.in_the_table(error) from None
        return functools.reduce(operator.add, parts)

    def __reduce__(self) -> tuple[Any, ...]:  # copies and pickles are read-only too
        *fields, _, zone = (getattr(self, f.name) for f in dataclasses.fields(self))
        return Observations, (*fields, self._given_weight, zone)

    def __len__(self) -> int:
        return len(self.y)

    def __array__(self, *_: Any, **__: Any) -> NDArray[Any]:
        raise TypeError("data: observations are not one array; take its x, y, yerr or nu")

    def __getitem__(self, rows: Any) -> Observations:
        index, weight = _places_of(rows, len(self)), self._given_weight
        return Observations(
            self.x[index],
            self.y[index],
            self.yerr[index],
            self.nu[index],
            self.relative[index],
            origin=self.origin,
            weight=None if weight is None else weight[index],  # type: ignore[arg-type]
            zone=self.zone,
        )

    def __add__(self, other: Observations) -> Observations:
        if not isinstance(other, Observations):
            return NotImplemented
        if not (len(self) and len(other)):
            full = self if len(self) else other
            return dataclasses.replace(full, n_missing=self.n_missing + other.n_missing)
        if self.ndim != other.ndim:
            raise ValueError(
                f"x: cannot join observations in {self.ndim} and in {other.ndim} dimensions; "
                "both must be functions of the same variables"
            )
        other_x = other.x + self.seconds_to(other)
        plain = self._given_weight is None and other._given_weight is None
        joined = Observations(
            np.concatenate((self.x, other_x)),
            np.concatenate((self.y, other.y)),
            np.concatenate((self.yerr, other.yerr)),
            np.concatenate((self.nu, other.nu)),
            np.concatenate((self.relative, other.relative)),
            self.n_missing + other.n_missing,
            self.origin,
            None if plain else np.concatenate((self.weight, other.weight)),  # type: ignore[arg-type]
            self.zone,
        )
        joined._check_one_meaning()
        return joined

    def __repr__(self) -> str:
        n, lines = len(self), []
        where = ""
        if n and self.ndim == 1:
            where = f", x from {self.x.min():.6g} to {self.x.max():.6g}"
            where += self.origin_words()
        elif n:
            where = f", x in {self.ndim} dimensions"
        missing = f", {_count(self.n_missing, 'missing value')} left out" if self.n_missing else ""
        for order in self.orders:
            part = self.of(order)
            light = len(part.downweighted)
            down = f", {light} downweighted" if light else ""
            lines.append(f"  order {order}: {_count(len(part), 'row')}, {_noise_words(part)}{down}")
        return "\n".join([f"Observations: {_count(n, 'row')}{where}{missing}", *lines])

    @property
    def ndim(self) -> int:
        """The number of dimensions of x."""
        return 1 if self.x.ndim == 1 else self.x.shape[1]

    @functools.cached_property
    def orders(self) -> tuple[Order, ...]:
        """The orders that occur, ascending; multi-indices when x has several dimensions."""
        return _distinct(self.nu)

    @functools.cached_property
    def places(self) -> NDArray[np.float64]:
        """The distinct places, ascending; only for x of one dimension."""
        return _frozen(np.unique(self.x))

    def is_of(self, nu: Order) -> NDArray[np.bool_]:
        """Mark the rows of order `nu`: (n,) array of bool."""
        same = self.nu == np.asarray(nu)
        return np.asarray(same if self.ndim == 1 else same.all(axis=1), dtype=bool)

    def of(self, nu: Order) -> Observations:
        """Select the rows of order `nu`."""
        return self[self.is_of(nu)]

    @functools.cached_property
    def exact(self) -> NDArray[np.bool_]:
        """Mark the exact rows (``yerr=0``): (n,) array of bool."""
        return _frozen(np.asarray(self.yerr == 0.0))

    @functools.cached_property
    def estimated(self) -> NDArray[np.bool_]:
        """Mark the rows whose noise holds an unknown level or scale: (n,) array of bool."""
        return _frozen((np.isnan(self.yerr) | self.relative) & ~self.exact)

    @functools.cached_property
    def estimated_orders(self) -> tuple[Order, ...]:
        """The orders with an unknown noise level (or scale): the keys of a model's `noise`."""
        return self.orders if self.estimated.all() else _distinct(self.nu[self.estimated])

    @property
    def relative_sd(self) -> NDArray[np.float64]:
        """Noise of each row up to the unknown levels: `yerr`, 1 where unknown, by weight. (n,)."""
        return _frozen(self._relative_sd())

    def _relative_sd(self) -> NDArray[np.float64]:
        sd = np.where(np.isnan(self.yerr), 1.0, self.yerr)
        if self._given_weight is not None:
            sd /= np.sqrt(self.weight)
        return sd

    @property
    def _given_weight(self) -> NDArray[np.float64] | None:
        """The weights, or None where they are the single 1 that stands for all rows."""
        plain = self.weight.strides == (0,) and (self.weight[:1] == 1.0).all()
        return None if plain else self.weight

    def sd(self, noise: Mapping[Any, float] | None = None) -> NDArray[np.float64]:
        """Return one standard deviation for each row, with the levels in `noise` filled in.

        ``sd_i = noise[nu_i]`` where yerr is unknown, ``noise[nu_i] * yerr_i`` where it is
        relative, ``yerr_i`` where it is known, each over ``sqrt(weight_i)``. Shape (n,), unit of
        y / unit of x ** nu.
        """
        sd = self._relative_sd()
        for order in self.estimated_orders:
            if noise is None or order not in noise:
                raise ValueError(
                    f"noise: the level of order {order} is unknown; give noise={{{order}: level}}, "
                    "give yerr to observe(), or use tune(model, data) to estimate it"
                )
            mine = self.is_of(order) & self.estimated
            np.multiply(sd, noise[order], out=sd, where=mine)
        return sd

    @property
    def downweighted(self) -> NDArray[np.intp]:
        """The rows that count for less than a fifth of the typical one of their order. (k,).

        Outliers, or rows of a stretch where the noise is strong; see :func:`smoothderiv.smooth`.
        """
        light = np.zeros(len(self), dtype=bool)
        for order in self.orders if self._given_weight is not None else ():
            rows = self.is_of(order) & ~self.exact
            if rows.any():
                light |= rows & (self.weight < LIGHT * np.median(self.weight[rows]))
        return np.flatnonzero(light)

    def reweighted(self, weight: ArrayLike) -> Observations:
        """Return the same rows with other weights, positive: (n,)."""
        weights = np.broadcast_to(np.asarray(weight, dtype=float), self.y.shape).copy()
        return dataclasses.replace(self, weight=weights)

    def coordinates(self, x: ArrayLike, name: str = "x") -> NDArray[np.float64]:
        """Convert places of a question to the floats that `x` holds (datetimes by the origin).

        Where these are datetimes, text in ISO form is one: ``post("2026-02-01 10:00")``.
        """
        return _places.coordinates(x, name, self.origin, self.zone)

    def asked(self, x: ArrayLike) -> NDArray[Any]:
        """Return places of a question as an array, as :meth:`as_given` would: numbers or times."""
        plain = _places.unzoned(x, "x", self.zone, written=self.origin is not None)
        return plain if self.zone is None else self.as_given(self.coordinates(x))

    def as_given(self, x: ArrayLike) -> NDArray[Any]:
        """Convert floats as `x` holds them to places as the user gives them: numbers or times.

        Where there is a zone, to an array of datetimes as it has them, with their distance from
        UTC, to the microsecond.
        """
        return _places.as_given(x, self.origin, self.zone)

    def seconds_to(self, other: Observations) -> float:
        """Return what to add to the x of other rows so that they count from this origin."""
        zones = self.zone, other.zone
        return _places.seconds_between(self.origin, other.origin, zones)

    def origin_words(self) -> str:
        """Say what x counts from, if it counts seconds."""
        if self.origin is None:
            return ""
        return f" s after {_places.time_words(self.origin, self.zone)}"

    def _check_shapes(self) -> None:
        """Refuse arrays that are not of one length, and orders that do not fit the places."""
        n = self.x.shape[:1]
        for name in ("y", "yerr", "relative", "weight"):
            shape = getattr(self, name).shape
            if shape != n:
                raise ValueError(f"{name}: shape {shape}, but x has {self.x.shape}; give (n,)")
        if self.nu.shape != self.x.shape:
            raise ValueError(
                f"nu: shape {self.nu.shape}, but x has {self.x.shape}; give one order for each "
                "entry of x"
            )

    def _check_one_meaning(self) -> None:
        """Refuse an order that has both an unknown level and an unknown scale."""
        for order in self.estimated_orders:
            part = self[self.is_of(order) & self.estimated]
            if part.relative.any() and not part.relative.all():
                raise ValueError(
                    f"yerr: order {order} has rows of unknown noise (yerr=None) and rows of "
                    "relative noise; give both relative sizes (yerr=..., relative=True)"
                )


def observe(
    x: ArrayLike,
    y: ArrayLike,
    yerr: ArrayLike | None = None,
    nu: ArrayLike = 0,
    *,
    relative: bool = False,
) -> Observations:
    """Record noisy observations of a curve's values or derivatives.

    Each row says ``y_i = (D^nu_i f)(x_i) + e_i``, ``e_i ~ N(0, yerr_i^2)`` independent.

    Parameters
    ----------
    x : (n,) or (n, d) array
        Places, finite. Datetimes and timedeltas become float seconds (datetimes from the first
        one, kept as ``.origin``; their time zone, if they have one, as ``.zone``). Repeated and
        unsorted places are fine.
    y : (n,) array
        Observations, in unit of y / unit of x ** nu. NaN marks a missing row, which is left out
        and counted in ``.n_missing``.
    yerr : None, float or (n,) array
        One standard deviation, in the unit of that row. None: unknown, one level for each order
        is estimated. 0: an exact row, which the curve must meet.
    nu : int, (n,) array of int; for d > 1 a multi-index (d,) or (n, d)
        The order of the derivative that was observed.
    relative : bool
        `yerr` gives relative sizes; one scale for each order is estimated.

    Returns
    -------
    Observations

    Raises
    ------
    ValueError
        Lengths that differ, entries that are not finite, a negative `yerr`, a `nu` that is not a
        whole number from 0 on. The message names the argument, the first bad row, its value, and
        what to do.

    Examples
    --------
    >>> import smoothderiv as sd
    >>> sd.observe([0.0, 0.5, 1.0], [0.0, 0.4, 1.1], yerr=0.1) + sd.observe([0.0], [1.0], nu=1)
    Observations: 4 rows, x from 0 to 1
      order 0: 3 rows, yerr 0.1
      order 1: 1 row, yerr unknown
    """
    y_ = _validate.vector(y, "y")
    n = len(y_)
    keep = ~np.isnan(y_)
    x_, origin, zone = _places.places(x, keep)
    nu_ = _validate.orders(nu, n, 1 if x_.ndim == 1 else x_.shape[1], keep)
    if yerr is None and relative:
        raise ValueError("relative: relative=True needs yerr, the relative sizes of the noise")
    kept = int(keep.sum())
    unknown = np.broadcast_to(np.nan, kept)  # one number for all rows, as the weight
    yerr_ = unknown if yerr is None else _validate.errors(yerr, n, keep)[keep]
    _validate.finite(y_, "y", keep)
    relative_ = np.broadcast_to(relative, kept)
    return Observations(
        x_[keep], y_[keep], yerr_, nu_[keep], relative_, n - kept, origin, zone=zone
    )


def _places_of(rows: Any, count: int) -> NDArray[np.int64]:
    """Return the numbers of the rows that an index selects."""
    if isinstance(rows, slice):
        return np.arange(*rows.indices(count))
    if isinstance(rows, np.ndarray) and rows.dtype.kind == "i" and rows.ndim == 1:
        return rows
    if rows is None or isinstance(rows, bool | np.bool_):
        raise IndexError(
            f"rows: {rows} selects no rows; give numbers, a slice, or a mask of {count} entries"
        )
    return np.atleast_1d(np.arange(count)[rows])


def _distinct(nu: NDArray[np.int64]) -> tuple[Order, ...]:
    """Return the orders that occur, ascending."""
    if nu.ndim == 1:
        if len(nu) and nu.min() == nu.max():
            return (int(nu[0]),)
        return tuple(int(v) for v in np.unique(nu))
    return tuple(tuple(int(v) for v in row) for row in np.unique(nu, axis=0))


def _check_yerr(yerr: NDArray[np.float64]) -> None:
    bad = ~(np.isnan(yerr) | ((yerr >= 0) & (yerr < np.inf)))
    if bad.any():
        row = int(np.argmax(bad))
        raise _validate.RowError(
            "yerr",
            row,
            f"is {yerr[row]:g}, but a standard deviation is finite and not negative; give one, 0 "
            "for an exact row, or NaN to have it estimated",
        )


def _check_weight(weight: NDArray[np.float64]) -> None:
    bad = ~(np.isfinite(weight) & (weight > 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise _validate.RowError(
            "weight",
            row,
            f"has {weight[row]}, but weights are positive numbers; leave a row out by slicing",
        )


_FIELDS: dict[str, tuple[str, Callable[[NDArray[Any]], object]]] = {
    "x": ("f8", lambda x: _validate.finite(x, "x")),
    "y": ("f8", lambda y: _validate.finite(y, "y")),
    "yerr": ("f8", _check_yerr),
    "nu": ("i8", _validate.whole_orders),
    "relative": ("?", lambda relative: None),
    "weight": ("f8", _check_weight),
}


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _noise_words(part: Observations) -> str:
    """Say the noise of the rows of one order, for the repr."""
    words = []
    given = ~np.isnan(part.yerr) & ~part.exact
    for name, rows in (("yerr", ~part.relative), ("relative yerr", part.relative)):
        sizes = part.yerr[given & rows]
        if len(sizes):
            low, high = f"{sizes.min():.4g}", f"{sizes.max():.4g}"
            words.append(f"{name} {low}" if low == high else f"{name} {low} to {high}")
    if np.isnan(part.yerr).any():
        words.append("yerr unknown")
    if part.exact.any():
        words.append("exact" if part.exact.all() else f"{int(part.exact.sum())} exact")
    return ", ".join(words)
