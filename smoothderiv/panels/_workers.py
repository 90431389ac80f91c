"""The same function on many tasks, by all cores: processes that live as long as the call.

Each is an interpreter of its own that is talked to through its standard streams, so that scripts
need no ``if __name__ == "__main__"`` and nothing is forked under running threads. The calling
process works as well, and few tasks, done before another would have started, need no other.
What releases the interpreter's lock is spread over threads instead (:mod:`smoothderiv._threads`).
"""

from __future__ import annotations

import math
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from smoothderiv._threads import cores

_WORTH = 4.0  # seconds of work left from which on processes are started
_BATCH = 0.2  # seconds of work in one message
_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


class Done(NamedTuple):
    """The result of one task, or how the process ended that did it."""

    task: int
    result: Any
    died: str | None = None


def on_all_cores(
    function: Callable[[Any, Any], Any],
    common: Any,
    tasks: Sequence[Any],
    workers: int | None = None,
) -> Iterator[Done]:
    """Yield ``function(common, task)`` of each task as it is done, in any order.

    `function` is found by its name in the other processes, and `common` goes there once; if either
    is of the running script they cannot be, and all is done here. With `workers` None there are as
    many as cores, once that is worth it. What a task raises is raised here.
    """
    pool = _Pool(function, common, tasks, cores() if workers is None else workers)
    begun, mine, received = math.inf, 0, 0
    try:
        while received < len(tasks):
            batch = pool.take(1)
            for index in batch:
                if workers is not None:
                    pool.grow()
                yield Done(index, function(common, tasks[index]))
                received += 1
                mine, now = mine + 1, time.perf_counter()
                begun = min(begun, now)  # the first is not counted: it loads what it needs
                if (now - begun) * len(pool.left) > _WORTH * (mine - 1):
                    pool.grow()
            for done in pool.found(wait=not batch):
                yield done
                received += 1
    finally:
        pool.stop()


class _Pool:
    """What is left to do, what was found, and the processes that do it."""

    def __init__(self, function: Any, common: Any, tasks: Sequence[Any], count: int) -> None:
        self.tasks, self.left = tasks, deque(range(len(tasks)))
        self.payload = _payload(function, common) if count > 1 and len(tasks) > 1 else None
        self.count = min(count, len(tasks))
        self._found: queue.Queue[list[Done] | Exception] = queue.Queue()
        self._lock = threading.Lock()
        self._helpers: list[_Helper] = []

    def take(self, most: int) -> list[int]:
        """Return tasks to be done next, at most a fair share of what is left."""
        with self._lock:
            fair = max(1, len(self.left) // (2 * self.count))
            return [self.left.popleft() for _ in range(min(most, fair, len(self.left)))]

    def put(self, found: list[Done] | Exception) -> None:
        """Take in what a process found."""
        self._found.put(found)

    def found(self, wait: bool) -> Iterator[Done]:
        """Yield what the processes have found since, at least one batch if told to wait."""
        with suppress(queue.Empty):
            while True:
                found = self._found.get(block=wait)
                if isinstance(found, Exception):
                    raise found
                yield from found
                wait = False

    def grow(self) -> None:
        """Start the processes, once."""
        if self.payload is not None and not self._helpers and self.left:
            self._helpers = [_Helper(self) for _ in range(self.count - 1)]

    def stop(self) -> None:
        """End the processes, whatever they are at."""
        self.left.clear()
        for helper in self._helpers:
            helper.stop()


class _Helper:
    """One process and the thread that hands it tasks."""

    def __init__(self, pool: _Pool) -> None:
        self._pool, self._stopped = pool, False
        self._process = _start(pool.payload)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        size, pool = 1, self._pool
        try:
            while batch := pool.take(size):
                begun = time.perf_counter()
                for done in self._do(batch):
                    pool.put(done)
                each = (time.perf_counter() - begun) / len(batch)
                size = max(1, min(2 * size, int(_BATCH / max(each, 1e-6))))
        except Exception as error:  # told where the results are awaited
            pool.put(error)

    def _do(self, batch: list[int]) -> Iterator[list[Done]]:
        """Have a batch done; if the process dies of it, one by one, to know which one it was."""
        try:
            _send(self._process, [self._pool.tasks[index] for index in batch])
            reply = pickle.load(self._process.stdout)  # type: ignore[arg-type]
        except (OSError, EOFError, pickle.UnpicklingError):
            if self._stopped:
                return
            died = _last_words(self._process)
            self._process = _start(self._pool.payload)
            if self._stopped:
                self._process.kill()
                return
            if len(batch) == 1:
                yield [Done(batch[0], None, died)]
            else:
                for index in batch:
                    yield from self._do([index])
            return
        if isinstance(reply, Exception):
            raise reply
        yield [Done(index, result) for index, result in zip(batch, reply, strict=True)]

    def stop(self) -> None:
        self._stopped = True
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                stream.close()  # type: ignore[union-attr]


def _payload(function: Any, common: Any) -> bytes | None:
    """Return what every process gets first, None if another process could not read it."""
    try:
        payload = pickle.dumps((function, common))
    except (pickle.PicklingError, AttributeError, TypeError):
        return None
    frozen = getattr(sys, "frozen", False) or not sys.executable
    return None if frozen or b"__main__" in payload else payload


def _start(payload: bytes | None) -> subprocess.Popen[bytes]:
    """Start a process with the paths of this one, one thread each, and its payload."""
    path = [os.path.abspath(folder) for folder in sys.path]
    serving = "from smoothderiv.panels._workers import serve; serve()"
    code = f"import sys; sys.path[:] = {path!r}; {serving}"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | dict.fromkeys(_ONE_THREAD, "1"),
    )
    assert process.stdin is not None
    with suppress(OSError):  # one that ended at once is found out when it is asked
        process.stdin.write(payload or b"")
    return process


def _send(process: subprocess.Popen[bytes], message: Any) -> None:
    assert process.stdin is not None
    pickle.dump(message, process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
    process.stdin.flush()


def _last_words(process: subprocess.Popen[bytes]) -> str:
    """Say how a process ended."""
    try:
        code = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        code = process.wait()
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):
            stream.close()  # type: ignore[union-attr]
    try:
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
    except ValueError:
        how = f"by signal {-code}"
    return f"the process that worked on it ended {how}; was there memory enough?"


def serve() -> None:
    """Answer batches of tasks from standard input on standard output, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started this one tells
    source, target = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not meet the answers
    with suppress(EOFError, BrokenPipeError):
        function, common = pickle.load(source)
        while True:
            tasks = pickle.load(source)
            reply: Any
            try:
                reply = [function(common, task) for task in tasks]
            except Exception as error:
                reply = _sendable(error)
            pickle.dump(reply, target, protocol=pickle.HIGHEST_PROTOCOL)
            target.flush()


def _sendable(error: Exception) -> Exception:
    """Return an error that survives the way, with its traceback as a note."""
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(repr(error))
    error.add_note(text)
    return error
