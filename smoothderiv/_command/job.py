"""One run of the command line: what was typed, the fit, what is written and said of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from smoothderiv import _demo
from smoothderiv._command.columns import Columns, unit_words, usage
from smoothderiv._command.source import Layout, Source
from smoothderiv._command.tables import (
    STREAM,
    Outputs,
    RefusalError,
    table_writer,
    write_stream,
)
from smoothderiv._labels import model_words
from smoothderiv._units import derivative_unit, with_unit
from smoothderiv._warn import held
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior
from smoothderiv.smooth import smooth

PICTURES = (".png", ".pdf", ".svg")


@dataclass(frozen=True)
class Question:
    """What to write of the fitted curve, and what is said to `smooth` of the values."""

    nu: tuple[int, ...]
    grid: int
    level: float
    circular: float | None = None
    robust: Any = "auto"
    correlated: Any = "auto"

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            usage(f"--level {self.level}: not a probability between 0 and 1, such as 0.95")
        if self.circular is not None and not 0 < self.circular < np.inf:
            usage(f"--circular {self.circular}: not a period of angles, such as 360 for degrees")

    def answer(self, post: Posterior, x: str, kind: pa.DataType) -> pa.Table:
        """Return the table of the curve: places, then mean, std, lower, upper of each order."""
        table = post.frame(self.places(post.data), self.nu, self.level)
        if pa.types.is_timestamp(kind) and kind.tz:
            table = table.set_column(0, "x", table["x"].cast(pa.timestamp("us", tz=kind.tz)))
        return table.rename_columns([x, *table.column_names[1:]])

    def places(self, data: Observations) -> NDArray[Any]:
        """Return places over the data at equal steps, datetimes to the microsecond."""
        places = data.as_given(np.linspace(data.x.min(), data.x.max(), self.grid))
        return places.astype("datetime64[us]") if places.dtype.kind == "M" else places


@dataclass(frozen=True)
class Target:
    """Where to write, and the units to tell."""

    out: str | None
    plot: Path | None
    x_unit: str | None
    y_unit: str | None

    @property
    def file(self) -> Path | None:
        """The table's place on disk, if it has one."""
        return None if self.out in (None, STREAM) else Path(str(self.out))

    def check(self, outputs: Outputs, source: str) -> None:
        """Refuse places that cannot be written before any work is done."""
        given = None if source == STREAM else source
        if self.out is not None:
            table_writer(self.out, pa.table({}))
        if self.file is not None:
            outputs.check(self.file, given)
        if self.plot is None:
            return
        if self.plot.suffix.lower() not in PICTURES:
            raise RefusalError(
                f"{self.plot}: the ending tells the format; use one of {', '.join(PICTURES)}"
            )
        outputs.check(self.plot, given)
        if self.file is not None and self.plot.resolve() == self.file.resolve():
            raise RefusalError(f"{self.plot}: --out and --plot are the same file; name two")

    def write(
        self,
        outputs: Outputs,
        post: Posterior,
        table: pa.Table,
        columns: Columns,
        question: Question,
    ) -> None:
        """Write table and picture: both or none."""
        if self.plot is not None:
            outputs.write(self.plot, lambda file: self._draw(file, post, columns, question))
        if self.file is not None:
            outputs.write(self.file, table_writer(str(self.file), table))
        outputs.commit()
        if self.out == STREAM:
            write_stream(table)

    def in_seconds(self, x: str) -> Target:
        """Return the same of a column of times, which count in seconds; refuse other units."""
        if self.x_unit not in (None, "s"):
            usage(
                f"--x-unit {self.x_unit}: column {x!r} holds times, and derivatives are then per "
                "second; leave it out, or give numbers in that unit"
            )
        return dataclasses.replace(self, x_unit="s")

    def units(self, nu: tuple[int, ...]) -> dict[int, str]:
        """Return the unit of each order, as far as it is known."""
        units = {order: derivative_unit(self.x_unit, self.y_unit, order) for order in nu}
        return {order: unit for order, unit in units.items() if unit}

    def _draw(self, file: Any, post: Posterior, columns: Columns, question: Question) -> None:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot

        from smoothderiv.plotting import plot

        levels = sorted({0.5, question.level})
        axes = plot(post, question.nu, level=levels, x_unit=self.x_unit, y_unit=self.y_unit)
        units = self.units(question.nu)
        for ax, nu in zip(axes, question.nu, strict=True):
            ax.set_ylabel(with_unit(columns.name(nu), units.get(nu)))
        numbers = post.data.origin is None
        axes[-1].set_xlabel(with_unit(columns.x, self.x_unit if numbers else post.data.zone))
        figure = axes[0].figure
        figure.savefig(file, format=str(self.plot).rpartition(".")[2].lower(), dpi=150)
        pyplot.close(figure)


def run_fit(
    path: str, layout: Layout, columns: Columns, question: Question, target: Target, force: bool
) -> Posterior:
    """Read a table, fit it, write the answer; say what was done."""
    with Outputs(force) as outputs:
        target.check(outputs, path)
        return _fit(Source.read(path, layout), columns, question, target, outputs)


def run_demo(folder: Path, force: bool) -> None:
    """Write the simulated train ride and its fit into a folder; say what was done."""
    ride, question = folder / "train.csv", Question((0, 1, 2), 200, 0.95)
    columns = Columns("t", ["pos:0", "vel:1", "acc:2"], ["pos=pos_err"], False, False)
    target = Target(str(folder / "fit.csv"), folder / "fit.png", "s", "m")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RefusalError(f"{folder}: {error.strerror}; name another folder") from None
    with Outputs(force) as outputs:
        outputs.check(ride)
        target.check(outputs, STREAM)
        outputs.write(ride, lambda file: file.write(_demo.TABLE))
        source = Source.of(str(ride), _demo.TABLE, Layout())
        post = _fit(source, columns, question, target, outputs)
    t = _demo.grid()
    errors = (f"{_demo.rmse(post(t, nu), nu):.3g} {u}" for nu, u in enumerate(_demo.UNITS))
    Console(highlight=False).print(
        f"The truth is known here; root mean square error: {', '.join(errors)}", soft_wrap=True
    )


def _fit(
    source: Source, columns: Columns, question: Question, target: Target, outputs: Outputs
) -> Posterior:
    data = columns.read(source)
    if not len(data):
        missing = f" ({data.n_missing} are empty)" if data.n_missing else ""
        raise RefusalError(
            f"{source.name}: no cell to fit in {', '.join(columns.observed)}{missing}; "
            "give at least a few rows"
        )
    kind = source.table.schema.field(columns.x).type
    timed = pa.types.is_temporal(kind)
    if timed:
        target = target.in_seconds(columns.x)
    with held() as told, np.errstate(all="ignore"):
        try:
            post = smooth(
                data,
                nu=max(2, *question.nu),
                robust=question.robust,
                correlated=question.correlated,
                circular=question.circular or False,
            )
            table = question.answer(post, columns.x, kind)
            target.write(outputs, post, table, columns, question)
        except ValueError as error:
            raise RefusalError(f"{source.name}: {error}") from None
    units = unit_words(target.units(question.nu), columns.x if timed else None)
    notes = [f"Note: {one.message}" for one in told]
    _summarise(source.name, post, target, [*units, *notes])
    return post


def _summarise(name: str, post: Posterior, target: Target, notes: list[str]) -> None:
    """Print rows and noise by order, what was tuned, degrees of freedom, and where files are."""
    console = Console(stderr=target.out == STREAM, highlight=False)
    data = post.data
    table = Table("order", "rows", "noise (1 sd)", box=None)
    dof = post.noise_dof()
    for nu in data.orders:
        part = data.of(nu)
        level = (post.noise[nu], dof[nu]) if nu in dof else None
        table.add_row(str(nu), str(len(part)), _noise_words(part, level))
    missing = f", {data.n_missing} empty cells" if data.n_missing else ""
    console.print(f"{name}: {len(data)} observations{missing}", soft_wrap=True, markup=False)
    console.print(table)
    files = [str(path) for path in (target.file, target.plot) if path is not None]
    lines = [
        f"Model: {model_words(post.model)}",
        f"Effective degrees of freedom: {post.edf:.3g}",
        *notes,
        *([f"Written: {', '.join(files)}"] if files else []),
    ]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


def _noise_words(part: Observations, level: tuple[float, float] | None) -> str:
    words = []
    given = part.yerr[~part.estimated & ~part.exact]
    if len(given):
        low, high = f"{given.min():.3g}", f"{given.max():.3g}"
        words.append(f"{low if low == high else f'{low} to {high}'} (given)")
    if level is not None:
        scale = " times yerr" if part.relative.any() else ""
        words.append(f"{level[0]:.3g}{scale} (estimated, {level[1]:.3g} degrees of freedom)")
    if part.exact.any():
        words.append(f"{int(part.exact.sum())} exact")
    return ", ".join(words)
