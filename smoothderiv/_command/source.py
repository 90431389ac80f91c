"""Tables read from disk and from standard input: CSV, TSV, other separated text, and Parquet."""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import compute as pc
from pyarrow import csv as pa_csv
from pyarrow import parquet as pa_parquet

from smoothderiv._command.tables import DELIMITERS, ENDINGS, PARQUET, STREAM, RefusalError
from smoothderiv._validate import RowError

_MISSING = [
    f"{before}{word}{after}"  # pyarrow takes blanks off numbers alone
    for word in (*pa_csv.ConvertOptions().null_values, "-", "--", "---")
    for before in ("", " ")
    for after in ("", " ")
]
_WORDS = {",": "comma-separated", "\t": "tab-separated", ";": "semicolon-separated"}
_TABS = ("tab", r"\t")  # as typed
_NAMED = 30  # columns in a message, at most

_DATE = r"^\s*\d{1,4}[./-]\d{1,2}[./-]\d{1,4}(\D|$)"  # as it is written in many ways
_DECIMAL_COMMA = r"^\s*[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d+)?\s*$"  # or no decimals
_NO_NUMBERS = re.compile(rb"[^-+0-9\s.,;:|/\"TZeEnNaA]|^[^0-9]*$")


@dataclass(frozen=True)
class Layout:
    """How a text table is written, as typed; no delimiter is told by the ending of the file."""

    delimiter: str | None = None
    decimal: str = "."
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        if self.delimiter in _TABS:
            object.__setattr__(self, "delimiter", "\t")
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '\r\n"'):
            raise RefusalError(f"--delimiter {self.delimiter}: not one sign, such as ';', or tab")
        if self.decimal not in (".", ","):
            raise RefusalError(f"--decimal {self.decimal}: decimal signs are . and ,")

    def is_parquet(self, name: str, path: str, raw: bytes) -> bool:
        """Tell Parquet by the ending of a file or the first bytes of a stream, or refuse it."""
        suffix = Path(path).suffix.lower()
        parquet = raw[:4] == b"PAR1" if path == STREAM else suffix in PARQUET
        if parquet and self != Layout():
            raise RefusalError(
                f"{name}: --delimiter, --decimal and --encoding are for text, but this is Parquet"
            )
        if not parquet and path != STREAM and self.delimiter is None and suffix not in DELIMITERS:
            raise RefusalError(
                f"{name}: the ending tells the format; use one of {ENDINGS}, or give --delimiter"
            )
        return parquet

    def decoded(self, name: str, raw: bytes) -> bytes:
        """Return text as UTF-8 without a byte order mark, or refuse the line that is none."""
        sort = "utf-8-sig" if self.encoding.lower() in ("utf-8", "utf8") else self.encoding
        try:
            return raw.decode(sort).removeprefix("\ufeff").encode()
        except LookupError:
            raise RefusalError(
                f"--encoding {self.encoding}: unknown; give one such as utf-8, latin-1 or utf-16"
            ) from None
        except UnicodeDecodeError as error:
            line = raw[: error.start].count(b"\n") + 1
            known = "UTF-8" if sort == "utf-8-sig" else self.encoding
            raise RefusalError(
                f"{name}: line {line} is not {known} text; save the table as UTF-8, or give "
                "its --encoding, such as latin-1"
            ) from None


@dataclass(frozen=True)
class Source:
    """One input table, with what is needed to say where in the file a row stands.

    The text is UTF-8 from the header on; `above` lines of comments were before it. Without a
    delimiter it is Parquet.
    """

    name: str
    table: pa.Table
    text: bytes
    delimiter: str | None = None
    decimal: str = "."
    above: int = 0

    @classmethod
    def read(cls, path: str, layout: Layout | None = None) -> Source:
        """Read a table from a file, by its ending, or from standard input, by its first bytes."""
        name, layout = "standard input" if path == STREAM else path, layout or Layout()
        try:
            raw = sys.stdin.buffer.read() if path == STREAM else Path(path).read_bytes()
        except OSError as error:
            raise RefusalError(f"{name}: {error.strerror or error}; name a table to read") from None
        if layout.is_parquet(name, path, raw):
            return cls(name, _parquet(name, raw), raw)
        if path != STREAM and layout.delimiter is None:
            layout = dataclasses.replace(layout, delimiter=DELIMITERS[Path(path).suffix.lower()])
        return cls.of(name, raw, layout)

    @classmethod
    def of(cls, name: str, raw: bytes, layout: Layout) -> Source:
        """Read a table from the bytes of a text; a header with tabs says that they separate."""
        above, text = _below_comments(layout.decoded(name, raw))
        tabs = "\t" if b"\t" in text.partition(b"\n")[0] else ","
        source = cls(name, pa.table({}), text, layout.delimiter or tabs, layout.decimal, above)
        return dataclasses.replace(source, table=source._separated())

    @property
    def columns(self) -> str:
        """The names of the columns, for messages."""
        names = [repr(name) for name in self.table.column_names]
        return ", ".join([*names[:_NAMED], *([".."] if len(names) > _NAMED else [])])

    def with_labels(self, names: list[str]) -> Source:
        """Return the table with columns of labels as they are written, if that tells more apart.

        As numbers 001 and 1 would be the same, and NA would be missing.
        """
        names = [name for name in dict.fromkeys(names) if name in self.table.column_names]
        if self.delimiter is None or not names:
            return self
        header = dict(zip(self.table.column_names, self._header, strict=True))
        options = pa_csv.ConvertOptions(
            include_columns=[header[name] for name in names],
            column_types=dict.fromkeys(header.values(), pa.string()),
        )
        written = self._parsed(options).rename_columns(names)
        table = self.table
        for name in names:
            if not table[name].cast(pa.string()).equals(written[name]):
                table = table.set_column(table.column_names.index(name), name, written[name])
        return dataclasses.replace(self, table=table)

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse columns that the table lacks, or holds twice."""
        for name in self.table.column_names:
            if self.table.column_names.count(name) > 1:
                raise RefusalError(f"{self.name}: column {name!r} occurs twice; rename one of them")
        for name in names:
            if name not in self.table.column_names:
                raise RefusalError(
                    f"{self.name}: column {name!r} is not in the table; it has {self.columns}"
                )

    def check_decimals(self, names: Iterable[str]) -> None:
        """Refuse the first cell that is no number with a decimal comma, if that is what was typed.

        Others are refused where they are read; there a decimal comma is no number.
        """
        for name in names if self.decimal == "," else ():
            cells = self.table[name]
            if not pa.types.is_string(cells.type):
                continue
            row = pc.index(pc.match_substring_regex(cells, _DECIMAL_COMMA), False).as_py()
            if row >= 0:
                raise RefusalError(
                    f"{self.name}: {self.place(row)}, column {name!r} is {cells[row].as_py()!r}, "
                    "which is not a number with a decimal comma, as --decimal says; "
                    f"{_remedy(cells[row].as_py())}"
                )

    def place(self, row: int) -> str:
        """Say where a row of the table stands: its line in a text file, else its number."""
        if self.delimiter is None:
            return f"row {row} (counted from 0)"
        return f"line {next(itertools.islice(self._records(), row + 1, None))[0]}"

    def refusal(self, error: ValueError) -> RefusalError:
        """Return what is wrong in the words of the file: its name, and the place of a row."""
        if not isinstance(error, RowError):
            return RefusalError(f"{self.name}: {error}")
        says, cell = error.says, re.match(r"is '([^']*)', which is not a number", error.says)
        if cell and re.match(_DECIMAL_COMMA, cell[1]):
            says = f"is {cell[1]!r}; if that is a number with a decimal comma, give --decimal ,"
        elif cell and re.match(_DATE, cell[1]):
            says = f"is {cell[1]!r}; {_remedy(cell[1])}"
        return RefusalError(f"{self.name}: {self.place(error.row)}, {error.argument} {says}")

    @property
    def _header(self) -> list[str]:
        """The cells of the header, as they are written."""
        return next(self._records(), (1, [""]))[1]

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the records of a text table, its header first, with the lines they begin at."""
        lines = io.TextIOWrapper(io.BytesIO(self.text), encoding="utf-8", newline="")
        reader, line = csv.reader(lines, delimiter=self.delimiter or ","), 1
        for record in reader:
            if record:
                yield line + self.above, record
            line = reader.line_num + 1

    def _parsed(
        self, options: pa_csv.ConvertOptions, handler: Callable[[Any], str] | None = None
    ) -> pa.Table:
        """Return the table as pyarrow reads it, without blanks around names that differ anyhow."""
        table = pa_csv.read_csv(
            io.BytesIO(self.text),
            parse_options=pa_csv.ParseOptions(
                delimiter=self.delimiter, invalid_row_handler=handler, newlines_in_values=True
            ),
            convert_options=options,
        )
        names = table.column_names
        bare = [name.strip() for name in names]
        return table.rename_columns(bare) if len(set(bare)) == len(set(names)) else table

    def _separated(self) -> pa.Table:
        word = _WORDS.get(self.delimiter or "", f"{self.delimiter!r}-separated")
        self._refuse_other_delimiters()
        bad: list[Any] = []

        def note(row: Any) -> str:
            bad.append(row)
            return "skip"

        options = pa_csv.ConvertOptions(
            strings_can_be_null=True, null_values=_MISSING, decimal_point=self.decimal
        )
        try:
            table = self._parsed(options, note)
        except pa.ArrowException as error:
            raise RefusalError(
                f"{self.name}: not a table of {word} text ({_one_line(error)}); correct the file"
            ) from None
        if bad:
            self._refuse_ragged(bad[0].expected_columns, word)
        return table

    def _refuse_ragged(self, wanted: int, word: str) -> None:
        """Refuse the first record that has not as many cells as the header."""
        header, *_ = next(self._records())
        line, record = next(r for r in self._records() if len(r[1]) != wanted)
        cells = f"{self.name}: line {line} has {len(record)} cells, but the header has {wanted}; "
        if wanted == 1:
            raise RefusalError(
                f"{cells}if line {header} is a title and not the header, delete it, or begin it "
                "with #"
            )
        raise RefusalError(f"{cells}correct the line, or give {word} cells without comments")

    def _refuse_other_delimiters(self) -> None:
        """Refuse a header of one cell that would be several between other signs."""
        header = self._header
        other = next((sign for sign in ";\t|," if sign in header[0]), None)
        if len(header) == 1 and other is not None:
            sign, word = ("tabs", "tab") if other == "\t" else (repr(other), repr(other))
            also = ", and --decimal , if its numbers have decimal commas" if other != "," else ""
            raise RefusalError(
                f"{self.name}: the header is one cell, {header[0]!r}; is it separated by {sign}? "
                f"give --delimiter {word}{also}"
            )


def _below_comments(text: bytes) -> tuple[int, bytes]:
    """Return how many lines of comments are above a table, and the text below them.

    They begin with #. Where numbers follow, the last of them is the header, as numpy writes it.
    """
    start = last = above = 0
    while text[start : start + 1] == b"#":
        last, start, above = start, text.find(b"\n", start) + 1 or len(text), above + 1
    if above and not _NO_NUMBERS.search(text[start:].partition(b"\n")[0]):
        return above - 1, text[last:].lstrip(b"# ")
    return above, text[start:]


def _parquet(name: str, raw: bytes) -> pa.Table:
    try:
        return pa_parquet.read_table(io.BytesIO(raw))
    except pa.ArrowException as error:
        raise RefusalError(f"{name}: not a Parquet file ({_one_line(error)})") from None


def _one_line(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")


def _remedy(cell: str) -> str:
    """Say what to do about a cell that is no number."""
    if re.match(_DATE, cell):
        return "dates are read in ISO form alone, such as 2026-02-01 10:00"
    return "correct the cell, or leave it empty if the observation is missing"
