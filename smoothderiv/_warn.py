"""Warnings that point at the line that called the package, however deep they arise.

The package holds its own back by :func:`held`, never by ``warnings.catch_warnings``: that is of the
whole process, so that threads which leave it in another order would lose warnings for good.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from types import FrameType
from typing import NamedTuple, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_HOUSE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_CALLER: ContextVar[FrameType | None] = ContextVar("caller", default=None)  # of a thread's work
_HELD: ContextVar[list[Told] | None] = ContextVar("held", default=None)


class Told(NamedTuple):
    """A warning that was held back."""

    message: str | Warning
    category: type[Warning]

    def warn(self) -> None:
        """Give the warning after all."""
        warn(self.message, self.category)


@contextmanager
def held() -> Iterator[list[Told]]:
    """Hold back the warnings of the package in this thread, and in threads that it starts."""
    told: list[Told] = []
    token = _HELD.set(told)
    try:
        yield told
    finally:
        _HELD.reset(token)


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn from the line that called the package, whatever libraries lie between it and here.

    Python shows a warning once for each line, so that one that points into the package would be
    shown for the first fit alone.
    """
    told = _HELD.get()
    if told is not None:
        told.append(Told(message, category))
        return
    frame = _CALLER.get() or _caller()
    if frame is None:
        warnings.warn(message, category, stacklevel=2)
        return
    warnings.warn_explicit(
        message,
        category,
        frame.f_code.co_filename,
        frame.f_lineno,
        frame.f_globals.get("__name__"),
        frame.f_globals.setdefault("__warningregistry__", {}),
    )


def from_here(function: Callable[[T], R]) -> Callable[[T], R]:
    """Return `function` for a thread of the package, whose warnings are as if given from here.

    A thread begins in Python's own code, which has no caller, and holds nothing back.
    """
    context = copy_context()
    context.run(_CALLER.set, _CALLER.get() or _caller())
    return lambda item: context.copy().run(function, item)


def _caller() -> FrameType | None:
    """Return the frame that called the package."""
    frame: FrameType | None = sys._getframe()
    outermost = frame
    while frame is not None:
        if frame.f_code.co_filename.startswith(_HOUSE):
            outermost = frame
        frame = frame.f_back
    return outermost.f_back if outermost else None
