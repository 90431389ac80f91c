"""Files that appear whole or not at all, and archives of arrays that may be damaged."""

from __future__ import annotations

import os
import secrets
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    RuntimeError,  # of the zip file: a flag of encryption, or of another compression
    zipfile.BadZipFile,
    zlib.error,
)


@contextmanager
def passing_name(path: Path) -> Iterator[Path]:
    """Give a name beside `path` to write under; a file that still has it at the end is removed."""
    passing = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield passing
    finally:
        passing.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """Write a file under a passing name, then give it its own in one step.

    Where `path` is a link, what it leads to is written. An error names `path`.
    """
    place = Path(os.path.realpath(path))
    try:
        with passing_name(place) as passing:
            with passing.open("xb") as file:
                write(file)
            os.replace(passing, place)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), os.fspath(path)) from error


@contextmanager
def read_arrays(path: str | os.PathLike[str], what: str) -> Iterator[dict[str, Any]]:
    """Give the arrays that ``numpy.savez`` wrote; what cannot be read or used is a ValueError.

    Objects are not unpickled. `what` the file should hold is said by the error.
    """
    with open(path, "rb") as raw:
        try:
            with np.load(raw, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            yield arrays
        except _DAMAGED as error:
            raise ValueError(f"{path}: not {what} saved by smoothderiv, or damaged") from error
