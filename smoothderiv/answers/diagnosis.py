"""Does the fit agree with what was said of the noise? Residuals by order, tests, and words."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy  # its parts load when they are used
from numpy.typing import NDArray

from smoothderiv._warn import warn
from smoothderiv.answers.skewness import skew_gain
from smoothderiv.observations import Order

if TYPE_CHECKING:
    from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]

_CHANCE = 1e-4  # what is less probable than this under the fit is said
_ROUNDING = 1e-8  # 1 less the leverage, of a row that the curve goes through whatever it says
_FEW = 30  # rows below which neighbours say little
_PERIOD = 8.0  # rows: what is slower is followed
_SEVERAL = 8  # rows from which on a factor between them and the curve is asked
_EXPLAINED = 0.75  # of the squares of rows, and of residuals, by a factor that is no chance
_ANOTHER = 1.5  # a factor from here on, or its inverse, or below 0, may be that of another unit
_SURE = 4.0  # standard errors, of how the lowest order follows the curve
_MOST = 1000  # rows at uneven places whose periods are asked
_SKEWED = (
    "order {0.order}: residuals are skewed (p = {0.skew_p:.1g}); the curve is the mean, the long "
    "tail with it; robust=True if that is outliers"
)


class NoiseWarning(UserWarning):
    """Residuals contradict what was said of the noise, or what is believed of the curve.

    Examples
    --------
    >>> import warnings, smoothderiv as sd
    >>> x = [0, 1, 2, 3, 4, 5, 6, 7]
    >>> post = sd.RegressionSpline(0, 1).condition(sd.observe(x, [0, 3, 0, 3, 0, 3, 0, 3], 0.1))
    >>> with warnings.catch_warnings(record=True) as given:
    ...     warnings.simplefilter("always")
    ...     post.diagnose().warn()
    >>> given[0].category is sd.NoiseWarning
    True
    """


@dataclass(frozen=True)
class OrderCheck:
    """What the residuals of one order say of its noise.

    Attributes
    ----------
    order : int or tuple
    kind : {"stated", "estimated", "scaled"}
        Whether the noise was given, was estimated, or has a scale that was (``relative=True``).
    rows : int
    noise : (float, float)
        Smallest and largest standard deviation of its rows, in their unit.
    dof : float
        Rows less their leverages: what is left to judge the noise by.
    ratio : float
        ``sqrt(sum (e_i / sd_i)^2 / dof)``: by which factor residuals exceed the noise; 1 by
        construction where the level was estimated by evidence.
    p_value : float
        Probability of a ratio so far from 1 if the noise is as stated; 1 where it was estimated.
    largest, largest_row : float, int
        The largest standardised residual in size, and its row of the data.
    outlier_p : float
        Probability that the largest of so many is so large.
    neighbours : float
        Correlation of the residuals of neighbours in x; NaN for few rows or several dimensions.
    period, period_p : float
        The period of 2 to 8 rows that the residuals have most of, and the probability that noise
        has so much of any (Fisher's test; of more than 1000 rows at even places alone); NaN and 1
        where it is not asked.
    skew_p : float
        About the probability that residuals without skewness look so skewed: ``exp(-gain)`` of
        the nats of :func:`.skew_gain`; 1 for few rows.
    factor : float
        By which factor rows look like the fitted derivative of their order, where that explains
        three quarters of their squares, and of those of their residuals; relative to the rows
        of the lowest order. NaN elsewhere, and where it is about 1.
    """

    order: Order
    kind: str
    rows: int
    noise: tuple[float, float]
    dof: float
    ratio: float
    p_value: float
    largest: float
    largest_row: int
    outlier_p: float
    neighbours: float
    period: float
    period_p: float
    skew_p: float
    factor: float


@dataclass(frozen=True, eq=False, repr=False)
class Diagnosis:
    """Residuals of a fit, what each order's say of its noise, and what to look at.

    Attributes
    ----------
    standardised : (n,) array
        ``e_i / (sd_i sqrt(1 - h_i))``, h the leverages: of variance 1 if model and noise are
        right. They are also the leave-one-out residuals over their standard deviations. 0 for
        exact rows and for rows that alone determine something.
    orders : tuple of OrderCheck
    warnings : tuple of str
        What is less probable than 1 in 10000 if model and noise are right, and what
        :func:`smoothderiv.smooth` found by other models (``post.notes``).
    of_noise : tuple of str
        Those of them about the noise of a whole order, not about one row.
    """

    standardised: Array
    orders: tuple[OrderCheck, ...]
    warnings: tuple[str, ...]
    of_noise: tuple[str, ...]

    def __repr__(self) -> str:
        rows, told = len(self.standardised), len(self.warnings)
        lines = [f"Diagnosis: {rows} rows, {told} warning{'s' * (told != 1)}"]
        for check in self.orders:
            low, high = (f"{value:.4g}" for value in check.noise)
            size = low if low == high else f"{low} to {high}"
            chance = f" (p = {check.p_value:.2g})" if check.kind == "stated" else ""
            lines.append(
                f"  order {check.order}: {check.rows} rows, noise {size} {check.kind}, residuals "
                f"{check.ratio:.3g} times that{chance}, largest {check.largest:.3g} sd "
                f"(row {check.largest_row})"
            )
        return "\n".join([*lines, *(f"  {words}" for words in self.warnings)])

    def warn(self) -> None:
        """Give each of the warnings as a :class:`NoiseWarning`."""
        for words in self.warnings:
            warn(words, NoiseWarning)


def diagnose(post: Posterior) -> Diagnosis:
    """Return the residuals of a posterior and what they say; see :class:`Diagnosis`.

    The test of a stated noise level is the score test of its scale: the derivative of the log
    evidence in ``log sd`` of an order is ``sum (e_i / sd_i)^2 - sum (1 - h_i)``. The sum of squares
    is compared with a chi-square of as many degrees of freedom, or if these are fewer than 1 with
    so much of a chi-square of 1, whose variance is no less than its own, so that the test errs to
    the silent side. Rows that the curve goes through whatever they say (1 - h_i of rounding) tell
    nothing.
    """
    left = post.loo()
    free = np.clip(1.0 - post.leverage(), 0.0, 1.0)
    with np.errstate(invalid="ignore"):
        usable = np.isfinite(left.std) & (left.std > 0) & (free > _ROUNDING)
    free = np.where(usable, free, 0.0)
    standardised = np.divide(left.residual, left.std, out=np.zeros(len(left.std)), where=usable)
    data, checks = post.data, []
    for order in data.orders:
        for estimated in (False, True):
            mask = data.is_of(order) & ~data.exact & (data.estimated == estimated)
            if mask.any():
                checks.append(_check(post, order, np.flatnonzero(mask), standardised, free))
    of_noise = [*(words for check in checks for words in _noise_words(check)), *post.notes]
    of_rows = [words for check in checks for words in _row_words(check, post)]
    skewed = (check for check in checks if check.skew_p < _CHANCE and math.isnan(check.factor))
    of_rows += map(_SKEWED.format, skewed)
    return Diagnosis(standardised, tuple(checks), (*of_noise, *of_rows), tuple(of_noise))


def _check(
    post: Posterior, order: Order, rows: NDArray[np.intp], standardised: Array, free: Array
) -> OrderCheck:
    data, sd, z = post.data, post.data.sd(post.noise)[rows], standardised[rows]
    dof, total = float(free[rows].sum()), float((z**2 * free[rows]).sum())
    kind = "stated"
    if data.estimated[rows[0]]:
        kind = "scaled" if data.relative[rows[0]] else "estimated"
    p_value = 1.0
    if kind == "stated" and dof > 0:
        whole = max(dof, 1.0)
        below = float(scipy.special.chdtr(whole, total * whole / dof))
        above = float(scipy.special.chdtrc(whole, total * whole / dof))
        p_value = min(2.0 * min(below, above), 1.0)
    largest = int(np.argmax(np.abs(z)))
    ratio = math.sqrt(total / dof) if dof > 0 else math.nan
    known = kind == "stated" and not (p_value < _CHANCE and ratio > 1)  # else judged by its scatter
    size = float(z[largest]) / (1.0 if kind != "stated" or known else ratio)
    return OrderCheck(
        order,
        kind,
        len(rows),
        (float(sd.min()), float(sd.max())),
        dof,
        ratio,
        p_value,
        float(z[largest]),
        int(rows[largest]),
        _outlier_p(size, len(rows), math.inf if known else dof),
        _neighbours(data.x[rows], z) if data.ndim == 1 else math.nan,
        *(_quick_period(data.x[rows], z, dof) if data.ndim == 1 else (math.nan, 1.0)),
        math.exp(-skew_gain(z)) if len(z) >= _FEW else 1.0,
        _factor(post, order, rows),
    )


def _factor(post: Posterior, order: Order, rows: NDArray[np.intp]) -> float:
    """Return by which factor rows look like the fitted derivative of their order, or NaN.

    Relative to the factor of the lowest order, since the curve may be a compromise between two
    units, or so stiff that it looks flat to all rows; that factor is known to four of its standard
    errors. What one says of values leaves their constant open.
    """
    data = post.data
    lowest = data.orders[0]
    first = np.flatnonzero(data.is_of(lowest) & ~data.exact)
    if data.ndim > 1 or order == lowest or min(len(first), len(rows)) < _SEVERAL:
        return math.nan
    known, values, weight = _centred(post, lowest, first)
    if not (square := float(weight @ known**2)) > 0:
        return math.nan
    own = float(weight @ (known * values)) / square
    error = float(np.linalg.norm(weight * (values - own * known) * known)) / square
    low, high = own - _SURE * error, own + _SURE * error
    slope, values, weight = _centred(post, order, rows)
    square = float(weight @ slope**2)
    if not (square > 0 and low > 0):
        return math.nan
    factor = float(weight @ (slope * values)) / square
    off = float(weight @ (values - factor * slope) ** 2)
    least = min(factor**2, (factor - low) ** 2, (factor - high) ** 2) * square  # and of residuals
    clear = least > _EXPLAINED / (1.0 - _EXPLAINED) * off
    about_one = low / _ANOTHER < factor < high * _ANOTHER
    return factor / own if clear and not about_one else math.nan


def _centred(post: Posterior, order: Order, rows: NDArray[np.intp]) -> tuple[Array, Array, Array]:
    """Return the fitted derivative at rows, the rows and their precisions before robust weights.

    Values and their curve less their means.
    """
    data = post.data
    weight = 1.0 / (data.sd(post.noise)[rows] ** 2 * data.weight[rows])
    weight /= weight.sum()
    values = data.y[rows]
    fitted = values - post.residuals()[rows]
    if order == 0:
        fitted, values = fitted - weight @ fitted, values - weight @ values
    return fitted, values, weight


def _outlier_p(z: float, rows: int, dof: float) -> float:
    """Return the probability of so large a residual among so many; estimated noise contains it."""
    if math.isinf(dof):
        single = 2.0 * float(scipy.special.ndtr(-abs(z)))
    elif dof <= z * z or dof <= 1.0:
        return 1.0 if dof <= 2.0 else 0.0
    else:
        t = abs(z) * math.sqrt((dof - 1.0) / (dof - z * z))
        single = 2.0 * float(scipy.special.stdtr(dof - 1.0, -t))
    return -math.expm1(rows * math.log1p(-min(single, 1.0 - 1e-16)))


def _neighbours(x: Array, z: Array) -> float:
    """Return the correlation of residuals of neighbours."""
    if len(x) < _FEW or not (z @ z) > 0:
        return math.nan
    ordered = z[np.argsort(x, kind="stable")]
    return float(ordered[1:] @ ordered[:-1] / (z @ z))


def _quick_period(x: Array, z: Array, dof: float) -> tuple[float, float]:
    """Return the period of 2 to 8 rows that residuals have most of, and how probable that is.

    Of white noise the share of a sine in residuals exceeds r with probability ``(1 - r)^(dof / 2 -
    1)``, times as many frequencies as are asked (Fisher 1929, Proc. R. Soc. 125, 54, for even
    places).
    """
    n, total = len(x), float(z @ z)
    along = np.argsort(x, kind="stable")
    gaps = np.diff(x[along])
    apart = float(np.median(gaps)) if n >= _FEW else 0.0
    if not (apart > 0 and total > 0):
        return math.nan, 1.0
    if bool(np.ptp(gaps) <= 1e-6 * apart):
        amplitudes: NDArray[Any] = np.fft.rfft(z[along])
        frequency = np.fft.rfftfreq(n, apart)
        asked = (frequency > 1 / (_PERIOD * apart)) & (np.arange(len(frequency)) < n / 2)
        amplitudes, frequency = amplitudes[asked], frequency[asked]
    elif n <= _MOST:
        span = float(gaps.sum())
        frequency = np.arange(math.ceil(span / (_PERIOD * apart)), span / (2 * apart)) / span
        amplitudes = np.asarray(np.exp(-2j * np.pi * np.outer(frequency, x - x.min())) @ z)
    else:
        return math.nan, 1.0
    if not len(frequency):
        return math.nan, 1.0
    top = int(np.argmax(np.abs(amplitudes)))
    share = min(2.0 * float(np.abs(amplitudes[top])) ** 2 / (n * total), 1.0)
    chance = min(len(frequency) * (1.0 - share) ** max(0.5 * dof - 1.0, 0.0), 1.0)
    return 1.0 / float(frequency[top]), chance


def _noise_words(check: OrderCheck) -> Iterator[str]:
    """Say what is improbable of the noise of one order."""
    if check.p_value < _CHANCE:
        side = (
            "yerr is too small, or the curve cannot follow the data"
            if check.ratio > 1
            else "yerr is too large, or the curve follows the noise"
        )
        yield (
            f"order {check.order}: residuals are {check.ratio:.3g} times the stated noise "
            f"(chi-square, p = {check.p_value:.1g}): {side}; relative=True has its scale estimated"
        )
    if not math.isnan(check.factor):
        what = "slope of the curve" if check.order == 1 else "derivative of the curve"
        per = "y per x" if check.order == 1 else f"y per x**{check.order}"
        yield (
            f"order {check.order}: rows look like {check.factor:.2g} times the {what}; are their "
            f"units (and sign) those of {per}? If so, the curve is too stiff"
        )
        return  # what else there is follows from that
    if check.neighbours > scipy.special.ndtri(1.0 - _CHANCE) / math.sqrt(check.rows):
        yield (
            f"order {check.order}: residuals of neighbours are correlated "
            f"({check.neighbours:.2g}): errors are autocorrelated, or the curve is too stiff; "
            "intervals are too narrow then"
        )
    if check.period_p < _CHANCE:
        yield (
            f"order {check.order}: residuals have a period of {check.period:.4g} (Fisher's test, "
            f"p = {check.period_p:.1g}), taken for noise since few rows see it: slopes "
            "are without it. If the curve has it, sample more densely, or say so: "
            "sd.GaussianProcess(sd.kernels.Matern52() + sd.kernels.Periodic("
            f"sd.kernels.LogNormal({check.period:.4g}, 1.02)))"
        )


def _row_words(check: OrderCheck, post: Posterior) -> Iterator[str]:
    """Say which row of one order is improbable."""
    if check.outlier_p < _CHANCE:
        place = f" at x = {post.data.x[check.largest_row]:.6g}" if post.data.ndim == 1 else ""
        yield (
            f"order {check.order}: row {check.largest_row}{place} lies {abs(check.largest):.1f} "
            "standard deviations off what the rest says; is it a mistake?"
        )
