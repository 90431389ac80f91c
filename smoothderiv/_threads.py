"""The same function on many items, by threads: for what releases the interpreter's lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from smoothderiv._warn import from_here

T = TypeVar("T")
R = TypeVar("R")

_MANY = 20_000  # rows from which on threads pay


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threaded(function: Callable[[T], R], tasks: Sequence[T], workers: int) -> Iterator[tuple[T, R]]:
    """Yield each task with ``function(task)``, in order, a few ahead of what is asked for."""
    if workers < 2 or len(tasks) < 2:
        yield from ((task, function(task)) for task in tasks)
        return
    inside = from_here(function)
    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[tuple[T, Future[R]]] = deque()
        try:
            for task in tasks:
                ahead.append((task, pool.submit(inside, task)))
                if len(ahead) > workers + 1:
                    done, found = ahead.popleft()
                    yield done, found.result()
            yield from ((done, found.result()) for done, found in ahead)
        finally:
            for _, found in ahead:
                found.cancel()


def each(function: Callable[[T], R], items: Sequence[T], rows: int) -> list[R]:
    """Return ``function(item)`` of each item, by threads if each works on many rows."""
    return [found for _, found in threaded(function, items, cores() if rows > _MANY else 1)]
