"""Threads share posteriors, and the warnings of their process."""

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import smoothderiv as sd
from conftest import mixed_data
from smoothderiv import kernels
from smoothderiv._threads import threaded
from smoothderiv._warn import held, warn

ENGINES = [
    sd.RegressionSpline(8, 5, 1e-3, 3),
    sd.SmoothingSpline(3, 1e4),
    sd.GaussianProcess(kernels.Matern52(0.2, 1.0), solver="dense"),
    sd.GaussianProcess(kernels.Matern52(0.2, 1.0), solver="markov"),
    sd.GaussianProcess(kernels.SquaredExponential(0.2, 1.0), solver="band"),
    sd.ModelAverage((sd.SmoothingSpline(2, 1e3), sd.SmoothingSpline(3, 1e4)), weights=(0.5, 0.5)),
]


@pytest.fixture
def eager():
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("model", ENGINES, ids=lambda model: f"{model}"[:40])
def test_each_thread_gets_its_own_answers(model, eager):
    post = model.condition(mixed_data(n=(40, 30, 0)))
    places = [np.linspace(0, 1, 7), np.linspace(0.1, 0.8, 7)]
    wanted = [post.mean(x, 1) for x in places]

    def differ(k):
        return sum(not np.array_equal(post.mean(places[k], 1), wanted[k]) for _ in range(1500))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(differ, (0, 1))) == [0, 0]


def test_fits_in_threads_leave_the_warnings_of_the_process_alone(eager):
    """``warnings.catch_warnings`` is of the whole process: left in another order, it stays."""
    x = np.linspace(0, 1, 12)
    rng = np.random.default_rng(0)
    series = [sd.observe(x, np.sin(6 * x) + 0.1 * rng.normal(size=12)) for _ in range(24)]
    model = sd.ModelAverage((sd.SmoothingSpline(2), sd.RegressionSpline(5, lam=None)))
    before, show = warnings.filters[:], warnings.showwarning
    list(threaded(lambda data: sd.smooth(data, model), series, 4))
    assert warnings.filters == before
    assert warnings.showwarning is show
    with pytest.warns(UserWarning, match="still here"):
        warnings.warn("still here", stacklevel=1)


def test_warnings_are_held_back_here_and_in_threads_that_start_here():
    with held() as outer:
        warn("one")
        with held() as inner:
            list(threaded(warn, ["two", "three"], 2))
    assert [str(told.message) for told in outer] == ["one"]
    assert sorted(str(told.message) for told in inner) == ["three", "two"]
    with pytest.warns(UserWarning, match="one"):
        outer[0].warn()
