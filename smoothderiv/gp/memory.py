"""How much memory there is."""

from __future__ import annotations

import math
import os
from pathlib import Path

_TABLE = Path("/proc/meminfo")


def available() -> float:
    """Return the bytes that can be had, those of caches among them; infinite if that is not told.

    On Linux what it says is available, elsewhere all that the machine has.
    """
    try:
        for line in _TABLE.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * float(line.split()[1])
    except OSError:
        pass
    try:
        return float(os.sysconf("SC_PAGE_SIZE")) * float(os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return math.inf
