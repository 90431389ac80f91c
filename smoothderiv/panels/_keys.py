"""Which rows of a long table are of which series, by the columns that tell these apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def split_rows(keys: Any, by: list[str]) -> tuple[NDArray[np.intp], list[NDArray[np.intp]]]:
    """Return the first row and all rows of each series, in the order in which they occur."""
    if not len(keys):
        return np.zeros(0, dtype=np.intp), []
    code = _numbered(keys.get_column(by[0]))
    for name in by[1:]:
        here = _numbered(keys.get_column(name))
        code = np.unique(code * (here.max() + 1) + here, return_inverse=True)[1]
    order = np.argsort(code, kind="stable")
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    groups = np.split(order, starts[1:])
    first = np.array([rows[0] for rows in groups])
    sequence = np.argsort(first, kind="stable")
    return first[sequence], [groups[i] for i in sequence]


def _numbered(column: Any) -> NDArray[np.intp]:
    """Number the distinct values of a column from 0 on; what is empty (None, NaN) is one value."""
    try:
        values = column.to_arrow()
        if isinstance(values, pa.ChunkedArray):
            values = values.unify_dictionaries().combine_chunks()
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), None, pc.add(values, 0.0))  # -0.0 is 0.0
        numbers = values.dictionary_encode().indices.cast(pa.int64()).fill_null(-1)
        return np.asarray(numbers.to_numpy() + 1, dtype=np.intp)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return _numbered_one_by_one(column)


def _numbered_one_by_one(column: Any) -> NDArray[np.intp]:
    """Number the distinct values of kinds that Arrow does not mix."""
    seen: dict[Any, int] = {}
    values = [None if value != value else value for value in column.to_list()]  # noqa: PLR0124
    try:
        return np.array([seen.setdefault(value, len(seen)) for value in values], dtype=np.intp)
    except TypeError as error:
        raise ValueError(
            f"by: column {column.name!r} cannot tell series apart ({error}); give text or numbers"
        ) from None
