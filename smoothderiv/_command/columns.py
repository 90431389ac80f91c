"""Which columns of a table hold what, as typed on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from smoothderiv._command.source import Source
from smoothderiv._command.tables import RefusalError
from smoothderiv._units import derivative_name
from smoothderiv.observations import Observations


@dataclass(frozen=True)
class Columns:
    """Which columns of a table hold what, as typed."""

    x: str
    y: list[str]
    yerr: list[str]
    long: bool
    relative: bool

    def read(self, source: Source) -> Observations:
        """Return the observations of a table, or refuse by file, line, column and remedy."""
        arguments = self.arguments(source)
        try:
            return Observations.from_frame(
                source.table, x=self.x, relative=self.relative, **arguments
            )
        except ValueError as error:
            raise source.refusal(error) from None

    def arguments(self, source: Source, by: Iterable[str] = ()) -> dict[str, Any]:
        """Return what the columns of a table are, or refuse what was typed or the table lacks."""
        if not (self.y or self.long):
            usage(
                "--y: name the columns of observations, such as --y pos:0 --y vel:1; "
                f"{source.name} has {source.columns}"
            )
        arguments = self._long(source) if self.long else self.wide()
        y, yerr = arguments["y"], arguments["yerr"]
        sizes = yerr.values() if isinstance(yerr, dict) else [yerr]
        numbers = [
            *([y, "nu"] if self.long else y),
            *(name for name in sizes if isinstance(name, str)),
        ]
        source.check_names([*by, self.x, *numbers])
        source.check_decimals([self.x, *numbers])
        return arguments

    @property
    def observed(self) -> list[str]:
        """The columns of observations, for messages."""
        return ["y"] if self.long and not self.y else [f"--y {word}" for word in self.y]

    def name(self, nu: int) -> str:
        """Name a derivative by its columns, or by one of a lower order with primes."""
        if self.long:
            return derivative_name(nu, self.y[0] if self.y else "y")
        order = {name: known for name, known in self.wide()["y"].items() if known <= nu}
        nearest = max(order.values(), default=0)
        names = [name for name, known in order.items() if known == nearest]
        if nearest == nu and names:
            return ", ".join(names)
        return derivative_name(nu - nearest, names[0]) if len(names) == 1 else derivative_name(nu)

    def wide(self) -> dict[str, Any]:
        """Return the order of each column observed, and its noise, or refuse what was typed."""
        y: dict[str, int] = {}
        for word in self.y:
            name, colon, order = word.rpartition(":")
            if not colon:
                name, order = word, "0"
            if not (name and order.isdecimal()):
                usage(f"--y {word}: not COLUMN:ORDER, with an order 0, 1, 2, ..")
            if name in y:
                usage(f"--y {word}: column {name!r} is named twice")
            y[name] = int(order)
        yerr: dict[str, float | str] = {}
        for word in self.yerr:
            alone = len(y) == 1 and _is_size(word)
            name, size = (*y, word) if alone else _name_and_size(word, y)
            yerr[name] = _size(word, size)
        if self.relative and not yerr:
            usage("--relative: is about the sizes of the noise; give them by --yerr COLUMN=SD")
        return {"y": y, "yerr": yerr}

    def _long(self, source: Source) -> dict[str, Any]:
        if len(self.y) > 1 or len(self.yerr) > 1:
            usage("--long: a long table has one column of observations and one of yerr")
        y = self.y[0] if self.y else "y"
        yerr: float | str | None = "yerr" if "yerr" in source.table.column_names else None
        if self.yerr:
            yerr = _size(self.yerr[0], self.yerr[0])
        return {"y": y, "nu": "nu", "yerr": yerr}


def unit_words(units: dict[int, str], times: str | None) -> list[str]:
    """Tell the units of the means written, and why, if a column holds times."""
    if not units:
        return []
    why = "" if times is None else f" (column {times!r} holds times, which count in seconds)"
    return [f"Units: {', '.join(f'mean_{nu} {unit}' for nu, unit in units.items())}{why}"]


def orders(words: Iterable[str], default: tuple[int, ...]) -> tuple[int, ...]:
    """Return the orders of derivatives that are typed, one by one or with commas between."""
    found: dict[int, None] = {}
    for word in words:
        for part in word.split(","):
            if not part.strip().isdecimal():
                usage(f"--nu {word}: not orders of derivatives; type --nu 0 --nu 1, or --nu 0,1")
            found[int(part)] = None
    return tuple(found) or default


def choice(option: str, word: str) -> str | bool:
    """Return auto, or what yes or no says."""
    known: dict[str, str | bool] = {"auto": "auto", "yes": True, "no": False}
    if word not in known:
        usage(f"{option} {word}: not auto, yes or no")
    return known[word]


def _name_and_size(word: str, names: Iterable[str]) -> tuple[str, str]:
    """Return which of the columns a size is of, and the size; either may hold the sign "="."""
    name, equals, size = word.partition("=")
    if not (equals and name and size):
        usage(f"--yerr {word}: not COLUMN=NUMBER or COLUMN=COLUMN")
    able = [known for known in names if word.startswith(f"{known}=") and word != f"{known}="]
    if not able:
        usage(f"--yerr {word}: {name!r} is not among the columns named by --y")
    if len(able) > 1:
        usage(f"--yerr {word}: may be of column {' or '.join(map(repr, able))}; rename one of them")
    return able[0], word.removeprefix(f"{able[0]}=")


def _size(word: str, text: str) -> float | str:
    """Return a standard deviation: a number, or the name of a column."""
    try:
        value = float(text)
    except ValueError:
        return text
    if not 0 <= value < float("inf"):
        usage(f"--yerr {word}: a standard deviation is a number from 0 on")
    return value


def _is_size(word: str) -> bool:
    """Tell whether a number is typed, which is meant for the only column there is."""
    try:
        float(word)
    except ValueError:
        return False
    return True


def usage(words: str) -> NoReturn:
    """Refuse what was typed."""
    raise RefusalError(words)
