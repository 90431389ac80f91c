"""Warnings that point at the line that called the package, however deep they arise."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from contextvars import ContextVar
from types import FrameType
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_HOUSE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_CALLER: ContextVar[FrameType | None] = ContextVar("caller", default=None)  # of a thread's work


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn from the line that called the package, whatever libraries lie between it and here.

    Python shows a warning once for each line, so that one that points into the package would be
    shown for the first fit alone.
    """
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
    """Return `function` for a thread of the package, whose warnings point at who called from here.

    A thread begins in Python's own code, which has no caller.
    """
    caller = _CALLER.get() or _caller()

    def inside(item: T) -> R:
        token = _CALLER.set(caller)
        try:
            return function(item)
        finally:
            _CALLER.reset(token)

    return inside


def _caller() -> FrameType | None:
    """Return the frame that called the package."""
    frame: FrameType | None = sys._getframe()
    outermost = frame
    while frame is not None:
        if frame.f_code.co_filename.startswith(_HOUSE):
            outermost = frame
        frame = frame.f_back
    return outermost.f_back if outermost else None
