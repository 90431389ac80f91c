"""Tables written to disk and to standard output, as CSV, TSV and Parquet: whole or not at all."""

from __future__ import annotations

import csv
import io
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

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


def _exists(path: Path) -> str:
    return f"{path}: exists already; give --force to replace it, or name another file"
