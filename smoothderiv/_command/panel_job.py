"""The command ``panel``: many series, answered part by part, so that a run can go on later.

Parts are whole tables in a folder beside the output; each appears in one step. The same command
finds them again by the fingerprint of its input and options, does what is missing, and puts all
together. The folder goes when the output is there.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import parquet as pa_parquet
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import smoothderiv as sd
from smoothderiv._command.columns import Columns, unit_words, usage
from smoothderiv._command.source import Layout, Source
from smoothderiv._command.tables import (
    STREAM,
    Outputs,
    RefusalError,
    table_writer,
    write_stream,
)
from smoothderiv._files import write_whole
from smoothderiv._units import derivative_unit
from smoothderiv.panels._series import Answer, Question
from smoothderiv.panels.panel import Panel

_NUMBER = "__series__"  # a column of the parts: which series of the input a row is of
_SERIES = 500  # at most so many of them in a part
_SECONDS = 2.0  # of work in a part, at least


@dataclass(frozen=True)
class Wanted:
    """What was typed of the answer: how to fit, where to answer, how many processes."""

    nu: tuple[int, ...]
    grid: int | None
    level: float
    order: int | None
    share: bool
    workers: int | None

    def __post_init__(self) -> None:
        highest = max(self.nu)
        if self.order is not None and highest >= self.order:
            usage(
                f"--nu {highest}: smoothing splines of --order {self.order} have derivatives of "
                f"order 0 to {self.order - 1}; give --order {highest + 1} or more"
            )

    def question(self, panel: Panel) -> Question:
        """Return what every series is asked."""
        model = None if self.order is None else sd.SmoothingSpline(order=self.order)
        share = "tuning" if self.share else None
        return panel.question(self.grid, self.nu, self.level, model, share)


def run_panel(
    path: str,
    layout: Layout,
    by: list[str],
    columns: Columns,
    wanted: Wanted,
    out: str,
    force: bool,
) -> None:
    """Read a table, smooth its series, write the answers; say what was done."""
    console = Console(stderr=out == STREAM, highlight=False)
    with Outputs(force) as outputs:
        table_writer(out, pa.table({}))
        if out != STREAM:
            outputs.check(Path(out), None if path == STREAM else path)
        source = Source.read(path, layout)
        panel = _read(source, by, columns)
        parts = Parts.of(out, _fingerprint(source, by, columns, wanted), force)
        try:
            table, before = _answered(source, panel, wanted, parts)
        except KeyboardInterrupt:
            kept = sum(len(numbers) for numbers in parts.numbers().values())
            where = f"; {kept} of {len(panel)} series are in {parts.folder}, from which the same "
            words = f"{where}command goes on" if kept else ""
            raise RefusalError(f"interrupted{words}") from None
        if out == STREAM:
            write_stream(table)
        else:
            outputs.write(Path(out), table_writer(out, table))
            outputs.commit()
            parts.remove()
    notes = _units(source, columns, wanted)
    _summarise(console, source.name, len(panel), before, table, notes, out)


def _read(source: Source, by: list[str], columns: Columns) -> Panel:
    arguments = columns.arguments(source, by)
    try:
        panel = Panel.of(
            source.with_labels(by).table, by, columns.x, relative=columns.relative, **arguments
        )
    except ValueError as error:
        raise source.refusal(error) from None
    if not len(panel):
        raise RefusalError(f"{source.name}: has no rows; give at least one series")
    return panel


def _answered(source: Source, panel: Panel, wanted: Wanted, parts: Parts) -> tuple[pa.Table, int]:
    """Return the answers of all series, and how many were there already."""
    done = {number for numbers in parts.numbers().values() for number in numbers}
    left = [number for number in range(len(panel)) if number not in done]
    if left:
        try:
            question = wanted.question(panel)
        except ValueError as error:
            raise RefusalError(f"{source.name}: {error}") from None
        for group in _groups(panel, question, left, wanted.workers, len(done)):
            parts.add(_labelled(panel, group, question.nu))
    return parts.table(), len(done)


def _groups(
    panel: Panel, question: Question, left: list[int], workers: int | None, done: int
) -> Iterator[list[tuple[int, Answer]]]:
    """Yield answers in groups that are worth a file, with a bar on a terminal."""
    console = Console(stderr=True)
    shown = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(
        *shown, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("series", total=done + len(left), completed=done)
        group: list[tuple[int, Answer]] = []
        begun = time.monotonic()
        for found in panel.answers(question, left, workers):
            group.append(found)
            bar.advance(task)
            if len(group) >= _SERIES or time.monotonic() - begun > _SECONDS:
                yield group
                group, begun = [], time.monotonic()
        if group:
            yield group


def _labelled(panel: Panel, group: list[tuple[int, Answer]], nu: tuple[int, ...]) -> pa.Table:
    """Return the answers of a group with the numbers of their series."""
    numbers, answers = zip(*sorted(group, key=lambda item: item[0]), strict=True)
    keys, found = panel.table(numbers, answers, nu)
    table = panel.native((keys, found))
    sizes = [1 if answer.table is None else len(answer.table) for answer in answers]
    return table.append_column(_NUMBER, pa.array(np.repeat(numbers, sizes)))


@dataclass
class Parts:
    """The folder of finished parts; kept in memory where the output is a stream."""

    folder: Path | None
    fingerprint: str
    kept: list[pa.Table]

    @classmethod
    def of(cls, out: str, fingerprint: str, force: bool) -> Parts:
        """Open the folder of an output, or make it; refuse parts of another run."""
        if out == STREAM:
            return cls(None, fingerprint, [])
        folder = Path(f"{out}.parts")
        parts = cls(folder, fingerprint, [])
        mark = folder / "fingerprint"
        if folder.exists():
            if mark.is_file() and mark.read_text() == fingerprint:
                return parts
            if not force and any(folder.iterdir()):
                raise RefusalError(
                    f"{folder}: holds the parts of a run with other data or options; repeat that "
                    "command to go on with it, or give --force to drop them"
                )
            shutil.rmtree(folder)
        try:
            folder.mkdir()
            write_whole(mark, lambda file: file.write(fingerprint.encode()))
        except OSError as error:
            raise RefusalError(f"{folder}: {error.strerror}") from None
        return parts

    def numbers(self) -> dict[Path, list[int]]:
        """Return the series of each finished part."""
        if self.folder is None or not self.folder.exists():
            return {}
        read = pa_parquet.read_table
        return {
            path: pc.unique(read(path, columns=[_NUMBER])[_NUMBER]).to_pylist()
            for path in sorted(self.folder.glob("*.parquet"))
        }

    def add(self, table: pa.Table) -> None:
        """Keep a finished part."""
        if self.folder is None:
            self.kept.append(table)
            return
        path = self.folder / f"{table[_NUMBER][0].as_py():09d}-{secrets.token_hex(4)}.parquet"
        try:
            write_whole(path, lambda file: pa_parquet.write_table(table, file))
        except OSError as error:
            raise RefusalError(f"{path}: {error.strerror or error}") from None

    def table(self) -> pa.Table:
        """Return all parts as one table, in the order of the series."""
        tables = self.kept
        if self.folder is not None:
            seen: set[int] = set()
            tables = []
            for path, numbers in self.numbers().items():
                table = pa_parquet.read_table(path)
                if seen & set(numbers):  # two runs at once have both done them
                    fresh = pa.array([number for number in numbers if number not in seen])
                    table = table.filter(pc.is_in(table[_NUMBER], fresh.cast(pa.int64())))
                seen |= set(numbers)
                tables.append(table)
        table = pa.concat_tables(tables, promote_options="permissive")
        order = np.argsort(table[_NUMBER].to_numpy(), kind="stable")
        return table.take(order).drop_columns([_NUMBER])

    def remove(self) -> None:
        """Remove the folder, the output being there."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


def _units(source: Source, columns: Columns, wanted: Wanted) -> list[str]:
    """Tell the units of derivatives where the column of places holds times."""
    if not pa.types.is_temporal(source.table.schema.field(columns.x).type):
        return []
    units = {nu: derivative_unit("s", None, nu) for nu in wanted.nu if nu}
    return unit_words(units, columns.x)


def _fingerprint(source: Source, by: list[str], columns: Columns, wanted: Wanted) -> str:
    """Return what tells one run from another: the bytes read, the options, the version."""
    cells = source.delimiter, source.decimal
    typed = (sd.__version__, cells, by, columns, dict(vars(wanted), workers=None))
    return hashlib.sha256(source.text + repr(typed).encode()).hexdigest()


def _summarise(
    console: Console,
    name: str,
    count: int,
    before: int,
    table: pa.Table,
    notes: list[str],
    out: str,
) -> None:
    failed = len(table) - table["error"].null_count
    lines = [f"{name}: {count} series" + (f", {before} of them done before" if before else "")]
    if failed:
        lines.append(f"Note: {failed} could not be fitted; column 'error' says why")
    lines += notes
    if out != STREAM:
        lines.append(f"Written: {out}")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
