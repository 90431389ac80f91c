"""Warnings that point at the line that called the package, however deep they arise."""

from __future__ import annotations

import os
import sys
import warnings
from types import FrameType

_HOUSE = os.path.dirname(os.path.abspath(__file__)) + os.sep


def warn(message: str | Warning, category: type[Warning] = UserWarning) -> None:
    """Warn from the line that called the package, whatever libraries lie between it and here.

    Python shows a warning once for each line, so that one that points into the package would be
    shown for the first fit alone.
    """
    frame: FrameType | None = sys._getframe()
    level, outermost = 1, 1
    while frame is not None:
        if frame.f_code.co_filename.startswith(_HOUSE):
            outermost = level
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=outermost + 1)
