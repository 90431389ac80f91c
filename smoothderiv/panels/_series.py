"""One series of many: its rows, the question, and the answer or what is wrong with it."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import scipy
from numpy.typing import NDArray

from smoothderiv._places import times
from smoothderiv._validate import RowError
from smoothderiv._warn import held
from smoothderiv.model import Model
from smoothderiv.observations import Observations, observe
from smoothderiv.posterior import Posterior
from smoothderiv.smooth import smooth

if TYPE_CHECKING:
    from smoothderiv.statespace.bank import Smoothed

WORDS = ("mean", "std", "lower", "upper")


class Trouble(NamedTuple):
    """Why a series has no answer: words, and where the row is if one row is to blame."""

    says: str
    part: int = -1
    row: int = -1
    argument: str = ""


class Answer(NamedTuple):
    """A table as of ``post.frame``, or trouble; and what was warned of."""

    table: pa.Table | None
    trouble: Trouble | None = None
    warning: str | None = None


class Series(NamedTuple):
    """The arguments of ``observe`` for each column observed, and all places of the rows."""

    parts: tuple[dict[str, Any], ...]
    places: NDArray[Any]

    def observations(self) -> Observations:
        """Return the rows, or raise what is wrong with one of them, with its part as a note."""
        return functools.reduce(operator.add, map(_observed, range(len(self.parts)), self.parts))


class _PartError(ValueError):
    def __init__(self, part: int, error: RowError) -> None:
        super().__init__(part, error)
        self.part, self.error = part, error


def _observed(number: int, part: dict[str, Any]) -> Observations:
    try:
        return observe(**part)
    except RowError as error:
        raise _PartError(number, error) from None


@dataclass(frozen=True)
class Question:
    """What is asked of every series.

    Attributes
    ----------
    model : Model or None
        What is fitted; None is the default of :func:`smoothderiv.smooth`.
    at : array, int or None
        Places, how many at equal steps over the series, or None for its own places.
    nu : tuple of int
    level : float
    """

    model: Model | None
    at: NDArray[Any] | int | None
    nu: tuple[int, ...]
    level: float

    _last: list[Any] = field(default_factory=list, compare=False, repr=False)

    def stds(
        self, post: Posterior, places: NDArray[Any]
    ) -> dict[tuple[int, ...], NDArray[np.float64]]:
        """Return where to keep standard deviations, with those that `post` shares with the last.

        Under a model with no unknown number, series of the same places, orders and noise have the
        same ones, whatever was observed; a mixture's depend on y.
        """
        data = post.data
        if post.model is not self.model or len(post._parts()) > 1:
            return {}
        arrays = data.x, data.nu, data.sd(post.noise), places
        key = [str(data.origin), *((a.dtype.str, a.tobytes()) for a in arrays)]
        if not self._last or self._last[0] != key:
            self._last[:] = [key, {}]
        found: dict[tuple[int, ...], NDArray[np.float64]] = self._last[1]
        return found

    def places(self, series: Series, data: Observations) -> NDArray[Any]:
        """Return where a series is asked, in the kind of places in which its rows are."""
        if isinstance(self.at, np.ndarray):
            return self.at
        if self.at is None:
            own = series.places
            return np.unique(own[~(np.isnat(own) if own.dtype.kind in "mM" else np.isnan(own))])
        even = np.linspace(data.x.min(), data.x.max(), self.at)
        if data.origin is not None:
            return times(even, data.origin)
        if series.places.dtype.kind == "m":
            return np.rint(even * 1e9).astype("m8[ns]")
        return even


def answer(question: Question, series: Series) -> Answer:
    """Fit one series and ask it; say what is wrong instead of raising it."""
    with held() as told, np.errstate(all="ignore"):
        try:
            data = series.observations()
            if not len(data):
                return Answer(None, Trouble(f"no row to fit ({data.n_missing} are missing)"))
            post = smooth(data, question.model, nu=max(question.nu))
            places = question.places(series, data)
            table = post._frame(places, question.nu, question.level, question.stds(post, places))
        except _PartError as error:
            bad = error.error
            return Answer(None, Trouble(bad.says, error.part, bad.row, bad.argument))
        except Exception as error:  # whatever it is, it is of this series alone
            plain = isinstance(error, ValueError | MemoryError)
            return Answer(None, Trouble((plain and str(error)) or repr(error)))
    said = dict.fromkeys(str(one.message) for one in told)
    return Answer(table, None, "; ".join(said) or None)


def answer_together(question: Question, series: Sequence[Series]) -> list[Answer | None]:
    """Fit many series side by side and ask them; None for what :func:`answer` is to look at."""
    from smoothderiv.statespace.bank import smooth_bank

    data, places, asked = {}, {}, []
    for k, one in enumerate(series):
        try:
            rows = one.observations()
            if len(rows):
                places[k] = question.places(one, rows)
                asked.append(rows.coordinates(places[k]))
                data[k] = rows
        except (ValueError, MemoryError):
            continue
    found = smooth_bank(question.model, list(data.values()), asked, question.nu)  # type: ignore[arg-type]
    answers = {k: one for k, one in zip(data, found, strict=True) if one is not None}
    tables = _tables(question, [places[k] for k in answers], list(answers.values()))
    out: list[Answer | None] = [None] * len(series)
    for k, table in zip(answers, tables, strict=True):
        out[k] = Answer(table)
    return out


def _tables(
    question: Question, places: list[NDArray[Any]], found: list[Smoothed]
) -> list[pa.Table]:
    """Return the answers of some series as tables, as ``post.frame`` does, made at once."""
    if len({where.dtype for where in places}) != 1:
        return [_table(question, [x], [one]) for x, one in zip(places, found, strict=True)]
    whole, ends = _table(question, places, found), np.cumsum([0, *map(len, places)]).tolist()
    return [whole.slice(a, b - a) for a, b in itertools.pairwise(ends)]


def _table(question: Question, places: list[NDArray[Any]], found: list[Smoothed]) -> pa.Table:
    dof, probability = np.array([one.dof for one in found]), 0.5 + 0.5 * question.level
    with np.errstate(invalid="ignore"):
        student, normal = scipy.special.stdtrit(dof, probability), scipy.special.ndtri(probability)
    wide = np.repeat(np.where(np.isfinite(dof), student, normal), [len(x) for x in places])
    columns: dict[str, Any] = {"x": np.concatenate(places)}
    means, stds = (
        np.concatenate(all_, axis=1) for all_ in zip(*(one[:2] for one in found), strict=True)
    )
    for order, mean, std in zip(question.nu, means, stds, strict=True):
        values = (mean, std, mean - wide * std, mean + wide * std)
        for word, value in zip(WORDS, values, strict=True):
            columns[f"{word}_{order}"] = value
    return pa.table(columns)
