"""Laws of processes and threads: every task once, whatever happens to who does it."""

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from smoothderiv._threads import threaded
from smoothderiv._warn import warn
from smoothderiv.panels import _workers
from smoothderiv.panels._workers import on_all_cores

ROOT = Path(__file__).parents[1]


def times_and_who(factor, task):
    time.sleep(0.02)
    return factor * task, os.getpid()


def dies_of_three(parent, task):
    if task == 3 and os.getpid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.2 if os.getpid() == parent else 0.01)
    return 10 * task


def raises_at_two(_, task):
    print("what is printed does not meet the answers")
    if task == 2:
        raise KeyError("two")
    return task


@pytest.fixture
def started(monkeypatch):
    """Return a list to which every process is added that is started."""
    found, start = [], _workers._start
    monkeypatch.setattr(_workers, "_start", lambda given: found.append(start(given)) or found[-1])
    return found


def have_ended(processes):
    """Tell whether all have ended and were waited for: of others the code is not known."""
    return all(process.returncode is not None for process in processes)


@pytest.mark.parametrize("workers", [1, 2, 3, None])
def test_every_task_is_done_once(workers):
    done = list(on_all_cores(times_and_who, 3, range(17), workers))
    assert sorted(d.task for d in done) == list(range(17))
    assert all(d.result[0] == 3 * d.task for d in done)
    if workers in (1, None):  # little work starts nothing
        assert {d.result[1] for d in done} == {os.getpid()}


def test_others_work_too_where_there_is_work():
    done = list(on_all_cores(times_and_who, 3, range(300), 2))
    assert len({d.result[1] for d in done}) == 2
    assert sorted(d.task for d in done) == list(range(300))


def test_no_task_is_no_work():
    assert list(on_all_cores(times_and_who, 3, [], 2)) == []


def test_a_process_that_dies_takes_one_task_with_it(started):
    tasks = [0, *range(4, 40), 3]
    done = {d.task: d for d in on_all_cores(dies_of_three, os.getpid(), tasks, 2)}
    assert len(done) == len(tasks)
    for index, task in enumerate(tasks):
        if done[index].died:
            assert task == 3
            assert "SIGKILL" in done[index].died
        else:
            assert done[index].result == 10 * task
    assert started
    assert have_ended(started)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_task_raises_is_raised_and_ends_the_processes(workers, started):
    with pytest.raises(KeyError, match="two"):
        list(on_all_cores(raises_at_two, None, range(3), workers))
    assert len(started) == workers - 1
    assert have_ended(started)


def test_an_error_on_the_way_keeps_its_kind_and_its_traceback():
    error = _workers._sendable(ValueError("here"))
    assert isinstance(error, ValueError)
    assert error.__notes__
    odd = type("Odd", (Exception,), {})("there")  # no other process knows its class
    assert isinstance(_workers._sendable(odd), RuntimeError)


def test_a_call_that_is_left_ends_its_processes(started):
    results = on_all_cores(times_and_who, 1, range(1000), 2)
    next(results)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(started) == 1
        assert not have_ended(started)
        results.close()
    assert have_ended(started)


def test_a_script_needs_no_guard_and_its_own_functions_stay_in_it(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import os\n"
        "from smoothderiv.panels._workers import on_all_cores\n"
        "def own(common, task): return os.getpid()\n"
        "import operator\n"
        "assert {d.result for d in on_all_cores(own, 1, range(5), 2)} == {os.getpid()}\n"
        "print(sorted(d.result for d in on_all_cores(operator.add, 1, range(5), 2)))\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)], capture_output=True, env=env, check=False
    )
    assert done.stdout == b"[1, 2, 3, 4, 5]\n", done.stderr


@pytest.mark.parametrize("workers", [1, 3])
def test_threads_yield_in_order_and_raise_what_a_task_raises(workers):
    found = threaded(lambda task: 12 / task, [4, 1, 3, 2], workers)
    assert list(found) == [(4, 3), (1, 12), (3, 4), (2, 6)]
    with pytest.raises(ZeroDivisionError):
        list(threaded(lambda task: 12 / task, [4, 0, 3], workers))


def test_threads_are_a_few_tasks_ahead_and_stop_when_no_more_is_asked():
    done = []
    found = threaded(done.append, list(range(50)), 2)
    next(found)
    found.close()
    assert len(done) < 10


@pytest.mark.parametrize("workers", [1, 2])
def test_warnings_of_threads_point_at_who_called(workers):
    with pytest.warns(UserWarning, match="of") as told:
        list(threaded(lambda k: warn(f"of {k}"), [1, 2, 3], workers))
    assert [one.filename for one in told] == [__file__] * 3
