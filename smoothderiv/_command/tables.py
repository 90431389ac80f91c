"""Tables on disk and on standard streams: CSV, TSV and Parquet in, out, whole or not at all."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import csv as pa_csv
from pyarrow import parquet as pa_parquet

from smoothderiv._files import passing_name

STREAM = "-"
DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
PARQUET = (".parquet", ".pq")
ENDINGS = ", ".join((*DELIMITERS, *PARQUET))


class RefusalError(Exception):
    """What is wrong with the input or the outputs, in one line for the person who typed it."""


@dataclass(frozen=True)
class Source:
    """One input table, with what is needed to say where in the file a row stands."""

    name: str
    table: pa.Table
    text: bytes
    delimiter: str | None

    @classmethod
    def read(cls, path: str) -> Source:
        """Read a table from a file, by its ending, or from standard input, by its first bytes."""
        name = "standard input" if path == STREAM else path
        try:
            text = sys.stdin.buffer.read() if path == STREAM else Path(path).read_bytes()
        except OSError as error:
            raise RefusalError(f"{name}: {error.strerror or error}; name a table to read") from None
        return cls.of(name, text, _delimiter(name, path, text))

    @classmethod
    def of(cls, name: str, text: bytes, delimiter: str | None) -> Source:
        """Read a table from the bytes of a file; without a delimiter they are Parquet."""
        source = cls(name, pa.table({}), text, delimiter)
        table = source._parquet() if delimiter is None else source._separated(delimiter)
        return cls(name, table, text, delimiter)

    def with_labels(self, names: list[str]) -> Source:
        """Return the table with columns of labels as they are written, if that tells more apart.

        As numbers 001 and 1 would be the same, and NA would be missing.
        """
        names = [name for name in dict.fromkeys(names) if name in self.table.column_names]
        if self.delimiter is None or not names:
            return self
        written = pa_csv.read_csv(
            io.BytesIO(self.text),
            parse_options=pa_csv.ParseOptions(delimiter=self.delimiter, newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                include_columns=names, column_types=dict.fromkeys(names, pa.string())
            ),
        )
        table = self.table
        for name in names:
            if not table[name].cast(pa.string()).equals(written[name]):
                table = table.set_column(table.column_names.index(name), name, written[name])
        return dataclasses.replace(self, table=table)

    def place(self, row: int) -> str:
        """Say where a row of the table stands: its line in a text file, else its number."""
        if self.delimiter is None:
            return f"row {row} (counted from 0)"
        return f"line {next(itertools.islice(self._records(), row + 1, None))[0]}"

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the records of a text table, its header first, with the lines they begin at."""
        lines = io.TextIOWrapper(io.BytesIO(self.text), encoding="utf-8-sig", newline="")
        reader, line = csv.reader(lines, delimiter=self.delimiter or ","), 1
        for record in reader:
            if record:
                yield line, record
            line = reader.line_num + 1

    def _parquet(self) -> pa.Table:
        try:
            return pa_parquet.read_table(io.BytesIO(self.text))
        except pa.ArrowException as error:
            raise RefusalError(f"{self.name}: not a Parquet file ({_one_line(error)})") from None

    def _separated(self, delimiter: str) -> pa.Table:
        self._refuse_other_encodings()
        self._refuse_other_delimiters(delimiter)
        bad: list[Any] = []

        def note(row: Any) -> str:
            bad.append(row)
            return "skip"

        try:
            table = pa_csv.read_csv(
                io.BytesIO(self.text),
                parse_options=pa_csv.ParseOptions(
                    delimiter=delimiter, invalid_row_handler=note, newlines_in_values=True
                ),
                convert_options=pa_csv.ConvertOptions(strings_can_be_null=True),
            )
        except pa.ArrowException as error:
            raise RefusalError(
                f"{self.name}: not a table of {_word(delimiter)} text ({_one_line(error)}); "
                "correct the file"
            ) from None
        if bad:
            wanted = bad[0].expected_columns
            line, record = next(r for r in self._records() if len(r[1]) != wanted)
            raise RefusalError(
                f"{self.name}: line {line} has {len(record)} cells, but the header has {wanted}; "
                f"correct the line, or give {_word(delimiter)} cells without comments"
            )
        return table

    def _refuse_other_delimiters(self, delimiter: str) -> None:
        """Refuse a header of one cell that would be several between other signs."""
        _, header = next(self._records(), (1, [""]))
        other = next((sign for sign in ";\t|," if sign in header[0]), None)
        if len(header) == 1 and other is not None:
            sign = "tabs" if other == "\t" else f"{other!r}"
            advice = (
                "name it .tsv" if other == "\t" else "save it with commas, and points in numbers"
            )
            raise RefusalError(
                f"{self.name}: the header is one cell, {header[0]!r}; is it separated by {sign}? "
                f"{advice}"
            )

    def _refuse_other_encodings(self) -> None:
        try:
            self.text.decode()
        except UnicodeDecodeError as error:
            line = self.text[: error.start].count(b"\n") + 1
            raise RefusalError(
                f"{self.name}: line {line} is not UTF-8 text; save the table as UTF-8"
            ) from None


@dataclass
class Outputs:
    """Files that appear together when all are written, or not at all.

    Each is written under a passing name beside its place; :meth:`commit` moves them there, and
    leaving the ``with`` block removes what was not moved.
    """

    force: bool
    _parts: list[tuple[Path, Path]] = field(default_factory=list)
    _passing: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> Outputs:
        return self

    def __exit__(self, *_: object) -> None:
        self._passing.close()

    def check(self, path: Path, source: str | None = None) -> None:
        """Refuse a place that cannot be written, or that holds a file, before any work is done."""
        if not path.parent.is_dir():
            raise RefusalError(f"{path}: there is no folder {path.parent}; make it first")
        if path.is_dir():
            raise RefusalError(f"{path}: is a folder; name a file")
        if source is not None and path.exists() and path.samefile(source):
            raise RefusalError(f"{path}: is the input; name another file")
        if path.exists() and not self.force:
            raise RefusalError(_exists(path))

    def write(self, path: Path, writer: Callable[[BinaryIO], object]) -> None:
        """Write one file under a passing name."""
        passing = self._passing.enter_context(passing_name(path))
        try:
            with passing.open("xb") as file:
                writer(file)
        except OSError as error:
            raise RefusalError(f"{path}: {error.strerror or error}") from None
        self._parts.append((passing, path))

    def commit(self) -> None:
        """Move every file to its place; undo what was moved if one cannot be."""
        done: list[Path] = []
        try:
            for passing, path in self._parts:
                _move(passing, path, self.force)
                done.append(path)
        except OSError as error:
            for moved in done if not self.force else ():
                moved.unlink()
            raise RefusalError(
                _exists(path) if isinstance(error, FileExistsError) else f"{path}: {error.strerror}"
            ) from None


def _move(passing: Path, path: Path, replace: bool) -> None:
    """Give a file its name in one step; unless `replace`, fail if there is one of that name."""
    if replace:
        os.replace(passing, path)
        return
    try:
        os.link(passing, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError from None
        os.replace(passing, path)


def table_writer(path: str, table: pa.Table) -> Callable[[BinaryIO], None]:
    """Return what writes a table in the format of the ending of `path`, CSV for a stream."""
    suffix = Path(path).suffix.lower()
    if suffix in PARQUET:
        return lambda file: pa_parquet.write_table(table, file)
    if path != STREAM and suffix not in DELIMITERS:
        raise RefusalError(f"{path}: the ending tells the format; use one of {ENDINGS}")
    return lambda file: _write_separated(file, table, DELIMITERS.get(suffix, ","))


def write_stream(table: pa.Table) -> None:
    """Write a table to standard output; where nobody reads on, that is no refusal."""
    try:
        table_writer(STREAM, table)(sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        with suppress(OSError):
            sys.stdout.close()  # or what is left of the table is tried again at the end
        raise RefusalError(f"standard output: {error.strerror or error}") from None


def _write_separated(file: BinaryIO, table: pa.Table, delimiter: str) -> None:
    header = io.StringIO()
    csv.writer(header, delimiter=delimiter, lineterminator="\n").writerow(table.column_names)
    file.write(header.getvalue().encode())
    options = pa_csv.WriteOptions(include_header=False, delimiter=delimiter)
    pa_csv.write_csv(table, file, write_options=options)


def check_names(source: Source, names: Iterable[str]) -> None:
    """Refuse a column that the table holds twice."""
    for name in names:
        if source.table.column_names.count(name) > 1:
            raise RefusalError(f"{source.name}: column {name!r} occurs twice; rename one of them")


def _delimiter(name: str, path: str, text: bytes) -> str | None:
    """Return what separates the cells of a text table, None for Parquet."""
    if path == STREAM:
        if text[:4] == b"PAR1":
            return None
        return "\t" if b"\t" in text.partition(b"\n")[0] else ","
    suffix = Path(path).suffix.lower()
    if suffix in PARQUET:
        return None
    if suffix not in DELIMITERS:
        raise RefusalError(f"{name}: the ending tells the format; use one of {ENDINGS}")
    return DELIMITERS[suffix]


def _exists(path: Path) -> str:
    return f"{path}: exists already; give --force to replace it, or name another file"


def _word(delimiter: str) -> str:
    return "tab-separated" if delimiter == "\t" else "comma-separated"


def _one_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
