"""The door of the dynamics: one call, seven methods."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from numpy.typing import ArrayLike

from smoothderiv._warn import warn
from smoothderiv.dynamics.problem import Problem, pose
from smoothderiv.dynamics.result import DynamicsFit
from smoothderiv.dynamics.terms import Function
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior

METHODS = {
    "kalman": "kalman",
    "gradient": "gradient",
    "modulating": "modulating",
    "fourier": "fourier",
    "integral": "integral",
    "arimax": "arimax",
    "difference": "difference",
    "next_velocity": "difference",
}
_DEPENDENT = 15.0  # between the weak (10) and the strong (30) dependence of Belsley, Kuh and Welsch


class ExcitationWarning(UserWarning):
    """The data hardly tell the terms apart: the motion was not excited enough."""


def fit(
    t: ArrayLike,
    x: ArrayLike | Posterior | None,
    u: Any = None,
    order: int = 2,
    terms: Sequence[str | Function] = ("rate", "input", "constant"),
    method: str = "kalman",
    yerr: ArrayLike | None = None,
    also: Observations | None = None,
) -> DynamicsFit:
    """Estimate the equation of a motion, ``D^order x = sum_j coefficient_j term_j``, from samples.

    By default ``x'' = a x' + b u + c`` with a, b, c the coefficients of "rate", "input" and
    "constant", x sampled with noise of unknown size, and u held from each time to the next.

    Parameters
    ----------
    t : (n,) array
        Times, in any order; numbers or datetimes (then per second).
    x : (n,) array, Posterior or None
        Samples of x, NaN where missing. A posterior of the package for ``method="gradient"``.
        None where `also` holds all observations.
    u : (n,), (n, m) array, mapping from name to (n,) array, or None
        Inputs, each held from its time to the next (zero-order hold). An input that varies
        between the samples is better given as its mean over each step.
    order : int
        1 or 2.
    terms : sequence of str or callable
        What stands on the right. "rate": the derivative of order - 1 (x itself for order 1);
        "position": x (for order 2); "input": every input; "constant"; "friction": the sign of
        the rate; or functions ``function(state, u) -> (n,)`` of the state (order, n) and of the
        input as it was given, which enter linearly too.
    method : str
        =============== ===========================================================================
        "kalman"        Maximum likelihood inside the state model, exact for held inputs: any
                        times, missing rows, derivatives measured too (`also`), disturbances.
        "gradient"      Regression of the derivatives of a posterior on each other, with their
                        joint covariance: any times, any terms.
        "modulating"    Derivatives moved onto test functions: no differencing, any terms.
        "fourier"       The same with a window and waves; even times.
        "integral"      The equation integrated over lags: no differencing, any times and terms.
        "arimax"        ARIMAX(1,1,0) by least squares; even times. Biased by noise.
        "difference"    Central differences and least squares. Biased by noise.
        "next_velocity" The next difference regressed on the last; even times. Biased by noise.
        =============== ===========================================================================
    yerr : None, float or (n,) array
        One standard deviation of x; None has it estimated.
    also : Observations, optional
        More observations of the same motion at any times: rates (``nu=1``) or accelerations
        (``nu=2``), each with its own noise, known or not. An acceleration is that of the
        equation, without the disturbance.

    Returns
    -------
    DynamicsFit
        Coefficients with standard deviations and intervals, the smoothed motion, ``simulate``,
        ``feedforward``, ``summary`` and ``plot``.

    Raises
    ------
    ValueError
        What the method cannot take, with the name of one that can; terms that cannot be told
        apart; no decay where one is needed (``method="arimax"``).

    Warns
    -----
    ExcitationWarning
        The condition number of the terms along the motion is above 15; the message names those
        that the data hardly tell apart.

    Notes
    -----
    "kalman", "integral", "modulating" and "fourier" take the noise of x for white. Each estimates
    without bias where samples carry noise, unlike a regression on differences: the noise of a
    regressor is part of the objective (see the modules). Standard deviations are those of the
    stated noise model; only "kalman" knows of disturbances, white noise in ``D^order x``, and takes
    their strength for known: one too weak to be seen makes intervals too narrow (95 % ones held
    0.75 to 0.8 in simulations with a disturbance that was found in one run of six).

    References
    ----------
    Young, "Recursive estimation and time-series analysis", 2011. Shinbrot, "On the analysis of
    linear and nonlinear systems", Trans. ASME 79, 1957. Pearson & Lee, "On the identification of
    polynomial input-output differential systems", IEEE TAC 30, 1985. de Jong, "The diffuse Kalman
    filter", Ann. Statist. 19, 1991. Hansen, Heaton & Yaron, "Finite-sample properties of some
    alternative GMM estimators", JBES 14, 1996.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> t = np.linspace(0, 8, 100)  # a cup cools: x' = -0.5 x + 10
    >>> x = 20 + 60 * np.exp(-0.5 * t) + 0.1 * np.random.default_rng(0).standard_normal(100)
    >>> fit = sd.dynamics.fit(t, x, order=1, terms=("rate", "constant"))
    >>> low, high = fit.interval()["rate"]
    >>> bool(-0.51 < low < -0.5 < high < -0.49)
    True
    """
    if method not in METHODS:
        raise ValueError(f"method: {method!r} is unknown; use one of {', '.join(METHODS)}")
    problem = pose(t, x, u, order, terms, yerr, also)
    module = import_module(f"smoothderiv.dynamics.{METHODS[method]}")
    word = method if method == "next_velocity" else "fit"
    estimator: Callable[[Problem], Any] = getattr(module, word)
    estimate, path = estimator(problem)
    found = DynamicsFit.of(method, problem, estimate, path)
    _warn_of_poor_excitation(found)
    return found


def _warn_of_poor_excitation(found: DynamicsFit) -> None:
    if found.condition_number <= _DEPENDENT:
        return
    names = found.unidentified
    warn(
        f"the terms hardly differ along this motion (condition number "
        f"{found.condition_number:.3g}, above {_DEPENDENT:g}): "
        f"{' and '.join(names)} cannot be told apart well, and their "
        "standard deviations say so. Vary the input more, or leave a term out",
        ExcitationWarning,
    )
