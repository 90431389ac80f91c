"""Many series at once: a long table in, a long table out, on all cores."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import narwhals.stable.v1 as nw
import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from smoothderiv._frames import Part, Table, read_parts
from smoothderiv._places import coordinates, unzoned
from smoothderiv._threads import cores, threaded
from smoothderiv._validate import asked_orders, said
from smoothderiv._warn import warn
from smoothderiv.answers.limits import check_level
from smoothderiv.model import Model, require_model
from smoothderiv.panels._keys import split_rows
from smoothderiv.panels._series import (
    WORDS,
    Answer,
    Question,
    Series,
    Trouble,
    answer,
    answer_together,
)
from smoothderiv.panels._together import tune_together
from smoothderiv.panels._workers import on_all_cores

_ROWS = 200_000  # of series that are smoothed side by side, at most


def smooth_panel(
    frame: Any,
    by: str | Sequence[str],
    x: str = "x",
    y: str | Mapping[str, int] = "y",
    yerr: Mapping[str, float | str] | float | str | None = None,
    *,
    at: ArrayLike | int | None = None,
    nu: int | Sequence[int] = (0, 1),
    level: float = 0.95,
    model: Model | None = None,
    relative: bool = False,
    share: str | None = None,
    workers: int | None = None,
) -> Any:
    """Smooth every series of a long table: each is fitted by :func:`smoothderiv.smooth` by itself.

    Parameters
    ----------
    frame : table
        Rows of many series: pandas, polars, pyarrow, or whatever else narwhals knows.
    by : str or list of str
        The columns that tell the series apart.
    x, y, yerr, relative
        As in :meth:`smoothderiv.Observations.from_frame`: the column of places, which order each
        column observes, and its noise.
    at : array, int or None
        Where to answer: the same places for every series, that many at equal steps from its first
        row to its last, or by default at its own places, rows without y included.
    nu : int or sequence of int
        The orders of the derivatives to answer for. Each series is fitted by ``sd.smooth`` with the
        highest of them as its `nu`: for ``(0, 1)`` the default model is that of a slope.
    level : float
        Probability of ``lower`` to ``upper``, at each place.
    model : Model, optional
        What to fit; what it leaves unknown is tuned for each series.
    share : {None, "tuning"}
        "tuning" tunes one model for all series, which is quicker and steadier where they are alike:
        the sum of their criteria is minimised, over at most 32 of them, evenly spread. Needs a
        model that is tuned by its criterion; by default ``SmoothingSpline(order=3)``.
    workers : int, optional
        Cores to use, by default all: threads for splines of unknown q, processes for all else, once
        that is worth it (a model class written in the running script itself cannot leave it). 1
        uses neither.

    Returns
    -------
    table
        Of the library of `frame`, sorted as the series first occur: the columns of `by`; `x`; for
        each order ``mean_0, std_0, lower_0, upper_0, mean_1, ..``; and ``error`` and ``warning``,
        empty where all is well. A series that cannot be fitted has one row, with the reason in
        ``error`` and nothing else.

    Raises
    ------
    ValueError
        A column that the table lacks, or an argument that suits no series.

    Warns
    -----
    UserWarning
        Some series could not be fitted.

    Examples
    --------
    >>> import numpy as np, pandas as pd, smoothderiv as sd
    >>> t = np.tile(np.linspace(0, 6, 50), 3)
    >>> pos = np.sin(t) + 0.1 * np.random.default_rng(0).standard_normal(150)
    >>> frame = pd.DataFrame({"id": np.repeat(["a", "b", "c"], 50), "t": t, "pos": pos})
    >>> out = sd.smooth_panel(frame, by="id", x="t", y={"pos": 0}, at=[1.0, 2.0])
    >>> out.columns.tolist()[:6]
    ['id', 't', 'mean_0', 'std_0', 'lower_0', 'upper_0']
    >>> bool(np.abs(out.mean_1 - np.cos(out.t)).max() < 0.3)
    True
    """
    panel = Panel.of(frame, by, x, y, yerr, relative)
    question = panel.question(at, nu, level, model, share)
    answers: list[Answer | None] = [None] * len(panel)
    for number, found in panel.answers(question, range(len(panel)), workers):
        answers[number] = found
    failed = [number for number, found in enumerate(answers) if found and found.trouble]
    if failed:
        first = answers[failed[0]]
        warn(
            f"{len(failed)} of {len(panel)} series could not be fitted; column 'error' says why. "
            f"The first is {panel.label(failed[0])}: {panel.says(failed[0], first)}",
        )
    return panel.native(panel.table(range(len(panel)), answers, question.nu))


@dataclass(frozen=True, eq=False)
class Panel:
    """A long table, split into its series.

    Attributes
    ----------
    keys : narwhals frame
        The columns of `by`.
    by, x : list of str, str
        The columns that tell the series apart, and that of the places.
    parts : list of Part
        What each column of observations holds.
    relative : bool
        Whether their noise has a scale to be estimated.
    first : (s,) array
        The row of the table in which each series begins.
    rows : list of (n,) arrays
        The rows of each series.
    backend, zone
        The library of the table, and the time zone of its places, for the answer's.
    """

    keys: Any
    by: list[str]
    x: str
    parts: list[Part]
    relative: bool
    first: NDArray[np.intp]
    rows: list[NDArray[np.intp]]
    backend: Any
    zone: Any

    @classmethod
    def of(cls, frame: Any, by: Any, x: str, y: Any, yerr: Any, relative: bool) -> Panel:
        """Read a table, and which rows are of which series."""
        table = Table(frame)
        if not isinstance(by, str | Iterable):
            raise ValueError(
                f"by: {said(by)} is no name of a column; give that which tells the series apart, "
                "or use sd.smooth(Observations.from_frame(..)) for one series"
            )
        by = [by] if isinstance(by, str) else list(by)
        if not by or len(set(by)) < len(by):
            raise ValueError(f"by: {by!r}, but columns are needed that tell the series apart")
        keys = table.select(by)
        parts = read_parts(table.native, x, y, yerr, None)
        first, rows = split_rows(keys, by)
        taken = set(by) & {x, "error", "warning"}
        if taken:
            raise ValueError(f"by: column {taken.pop()!r} has another meaning here; rename it")
        return cls(keys, by, x, parts, relative, first, rows, keys.implementation, table.zone(x))

    def __len__(self) -> int:
        return len(self.rows)

    def question(
        self, at: Any, nu: Any, level: float, model: Model | None, share: str | None
    ) -> Question:
        """Return what every series is asked, the model tuned if it is shared."""
        orders = asked_orders(nu)
        answers = {f"{word}_{order}" for order in orders for word in WORDS}
        if taken := answers & {*self.by, self.x}:
            raise ValueError(f"column {taken.pop()!r} has the name of an answer; rename it")
        if model is not None:
            require_model(model)
        places = self._asked(at)
        if share not in (None, "tuning"):
            raise ValueError(f"share: {share!r}, but None or 'tuning' is needed")
        if share == "tuning":
            every = [self.series(number) for number in range(len(self))]
            model = tune_together(model, every, max(orders))
        return Question(model, places, orders, check_level(level))

    def _asked(self, at: Any) -> Any:
        """Return the places asked, or how many; refuse those that no series could answer for."""
        if at is None:
            return None
        places = unzoned(at, "at", self.zone)
        if places.ndim == 0 and places.dtype.kind in "iub":
            if places < 2:
                raise ValueError(f"at: {said(at)}, but at least 2 places are needed, or an array")
            return int(places)
        x = self.parts[0].arguments["x"]
        known = x[~np.isnat(x)] if x.dtype.kind == "M" else x[:0]
        coordinates(places, "at", known.min() if len(known) else None)
        if places.ndim != 1:
            raise ValueError(f"at: {said(at)}, but an array (m,), a whole number or None is needed")
        return places

    def series(self, number: int) -> Series:
        """Return the rows of one series."""
        rows = self.rows[number]
        parts = []
        for part in self.parts:
            given = {
                name: value[rows] if isinstance(value, np.ndarray) else value
                for name, value in part.arguments.items()
            }
            parts.append(given | {"relative": self.relative and given["yerr"] is not None})
        return Series(tuple(parts), self.parts[0].arguments["x"][rows])

    def answers(
        self, question: Question, numbers: Sequence[int], workers: int | None = None
    ) -> Iterator[tuple[int, Answer]]:
        """Yield the answers of some series as they come."""
        if workers is not None and not (isinstance(workers, Integral) and workers > 0):
            raise ValueError(
                f"workers: {said(workers)}, but a whole number from 1 on is needed, or None"
            )
        from smoothderiv.statespace.bank import is_for_banks

        left = list(numbers)
        if is_for_banks(question.model, question.nu):
            left = []
            for number, one in self._together(question, numbers, workers):
                if one is None:
                    left.append(number)
                else:
                    yield number, one
        for index, found, died in on_all_cores(answer, question, _Lazy(self, left), workers):
            yield left[index], Answer(None, Trouble(died)) if died else found

    def _together(
        self, question: Question, numbers: Sequence[int], workers: int | None
    ) -> Iterator[tuple[int, Answer | None]]:
        """Yield the answers that are found for many series at once, by threads; None for others."""
        from smoothderiv.statespace.bank import MANY

        count = cores() if workers is None else workers
        longest = max((len(self.rows[number]) for number in numbers), default=1)
        size = min(MANY, -(-len(numbers) // count), max(_ROWS // longest, 1))
        groups = [numbers[k : k + size] for k in range(0, len(numbers), max(size, 1))]

        def ask(group: Sequence[int]) -> list[Answer | None]:
            return answer_together(question, _Lazy(self, group))

        for group, found in threaded(ask, groups, count):
            yield from zip(group, found, strict=True)

    def label(self, number: int) -> str:
        """Name a series by its key."""
        values = self.keys[[int(self.first[number])]].rows()[0]
        return ", ".join(f"{name}={value!r}" for name, value in zip(self.by, values, strict=True))

    def says(self, number: int, found: Answer | None) -> str | None:
        """Say what is wrong with a series, by the columns and rows of the table."""
        if found is None or found.trouble is None:
            return None
        says, part, row, argument = found.trouble
        if part < 0:
            return says
        return f"{self.parts[part].columns[argument]}: row {self.rows[number][row]} {says}"

    def table(
        self, numbers: Sequence[int], answers: Sequence[Answer | None], nu: tuple[int, ...]
    ) -> Any:
        """Return the answers of some series as one table, keys first."""
        tables, where = [], []
        for number, found in zip(numbers, answers, strict=True):
            assert found is not None
            table = found.table if found.table is not None else self._empty(nu)
            table = table.append_column("error", _told(self.says(number, found), len(table)))
            tables.append(table.append_column("warning", _told(found.warning, len(table))))
            where.append(np.full(len(table), self.first[number]))
        if not tables:
            tables = [self._empty(nu).slice(0, 0)]
            for name in ("error", "warning"):
                tables[0] = tables[0].append_column(name, _told(None, 0))
        out = pa.concat_tables(tables, promote_options="permissive").combine_chunks()
        kind = self._kind(out["x"].type)
        out = out.set_column(0, self.x, out["x"].cast(kind, safe=False))
        rows = np.concatenate(where) if where else np.zeros(0, dtype=np.intp)
        return self.keys[rows.tolist() if not len(rows) else rows], out

    def native(self, parts: Any) -> Any:
        """Return keys and answers side by side as a table of the library they came from."""
        keys, out = parts
        answers = nw.from_arrow(out, backend=self.backend)
        return nw.concat([nw.maybe_reset_index(keys), answers], how="horizontal").to_native()

    def _empty(self, nu: tuple[int, ...]) -> pa.Table:
        """Return one row of nothing."""
        names = [f"{word}_{order}" for order in nu for word in WORDS]
        columns = {"x": pa.nulls(1, pa.null())} | {n: pa.nulls(1, pa.float64()) for n in names}
        return pa.table(columns)

    def _kind(self, found: pa.DataType) -> pa.DataType:
        """Return the type of the places: times get their zone back."""
        if pa.types.is_null(found):
            x = self.parts[0].arguments["x"]
            found = pa.from_numpy_dtype(x.dtype) if x.dtype.kind in "fmM" else pa.float64()
        if pa.types.is_date(found):
            found = pa.timestamp("us")
        if pa.types.is_timestamp(found) and self.zone is not None:
            return pa.timestamp(found.unit, tz=self.zone)
        return found


class _Lazy(Sequence[Series]):
    """Series that are cut out of the table when they are asked for."""

    def __init__(self, panel: Panel, numbers: Sequence[int]) -> None:
        self._panel, self._numbers = panel, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: Any) -> Any:
        return self._panel.series(self._numbers[index])


def _told(words: str | None, count: int) -> pa.Array:
    return pa.nulls(count, pa.string()) if words is None else pa.repeat(words, count)
