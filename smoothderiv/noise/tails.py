"""Laws of noise with heavy tails: Student's, and a normal law of which a share is much wider."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array: TypeAlias = NDArray[np.float64]

_DOF = np.array([1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 14.0, 25.0, 60.0])
_FACTOR = 3.0 ** np.array([1, 2, 3, 4, 5, 6, 7, 9, 11, 13, 16])  # by which outliers are wider
_MOST = 0.25  # of the rows are outliers
_STEPS = 40
_ENOUGH = 20_000  # residuals that tell the tails
_EXTRA = 2.0  # nats by which a law of one more number must be better
_LOG_ROOT = 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True)
class Student:
    """Student's law of `dof` degrees of freedom, Gauss's if that is infinite."""

    dof: float
    scale: float

    def log_density(self, z: Array) -> Array:
        """Return the log density of each standardised residual."""
        square = (z / self.scale) ** 2
        if math.isinf(self.dof):
            return -0.5 * square - _LOG_ROOT - math.log(self.scale)
        return _log_student(square, self.dof) - math.log(self.scale)

    def weight(self, z: Array) -> Array:
        """Return the precision that each row is expected to have, in units of the typical one."""
        if math.isinf(self.dof):
            return np.ones(len(z))
        return (self.dof + 1.0) / (self.dof + (z / self.scale) ** 2)


@dataclass(frozen=True)
class Contaminated:
    """Gauss's law, but of a `share` of the rows with `factor` times its standard deviation.

    References
    ----------
    Tukey (1960), A survey of sampling from contaminated distributions.
    """

    share: float
    factor: float
    scale: float

    def log_density(self, z: Array) -> Array:
        """Return the log density of each standardised residual."""
        square = (z / self.scale) ** 2
        return _log_contaminated(square, self.share, self.factor) - math.log(self.scale)

    def weight(self, z: Array) -> Array:
        """Return the precision that each row is expected to have, in units of the typical one."""
        square = (z / self.scale) ** 2
        return 1.0 - _outlying(square, self.share, self.factor) * (1.0 - self.factor**-2)


Law: TypeAlias = Student | Contaminated


def law_of(z: Array, scale: float | None = None) -> tuple[Law, float]:
    """Return the law of highest likelihood of some standardised residuals, and what it gains.

    Either of Student's, by its dof (and scale, unless that is given), or of a contaminated normal,
    which must be better by 2 nats since it has a number more. The gain is beyond Gauss's law, in
    nats, less that.
    """
    rows = len(z)
    if rows < 2:
        return Student(math.inf, 1.0), 0.0
    if len(z) >= 2 * _ENOUGH:  # every so many of the sizes, whatever the order of the rows
        step = len(z) // _ENOUGH
        z = np.sort(np.abs(z))[step // 2 :: step]
    square = z**2
    typical = np.median(square) / 0.455 if scale is None else scale**2
    if not typical > 0:
        return Student(math.inf, 1.0), 0.0
    variance = float(np.mean(square)) if scale is None else scale**2
    normal = float(Student(math.inf, math.sqrt(variance)).log_density(z).sum())
    free = scale is None
    student, contaminated = _student(square, typical, free), _contaminated(square, typical, free)
    law, value = student if student[1] >= contaminated[1] else contaminated
    return law, (value - normal) * rows / len(z)


def _student(square: Array, typical: float, free: bool) -> tuple[Student, float]:
    """Return Student's law of highest likelihood, and its log."""
    dof, s2 = _DOF[:, None], np.full((len(_DOF), 1), typical)
    for _ in range(_STEPS if free else 0):
        s2 = np.mean((dof + 1) / (dof + square / s2) * square, axis=1, keepdims=True)
    value = (_log_student(square / s2, dof) - 0.5 * np.log(s2)).sum(axis=1)
    best = int(np.argmax(value))
    return Student(float(_DOF[best]), math.sqrt(float(s2[best, 0]))), float(value[best])


def _contaminated(square: Array, typical: float, free: bool) -> tuple[Contaminated, float]:
    """Return the contaminated normal law of highest likelihood, and its log less an allowance."""
    factor, s2 = _FACTOR[:, None], np.full((len(_FACTOR), 1), typical)
    share = np.full_like(s2, 0.1 * _MOST)
    for _ in range(_STEPS):
        outlying = _outlying(square / s2, share, factor)
        share = np.minimum(np.mean(outlying, axis=1, keepdims=True), _MOST)
        if free:
            weight = 1.0 - outlying * (1.0 - factor**-2)
            s2 = np.mean(weight * square, axis=1, keepdims=True)
    share = np.maximum(share, 1e-3 / square.size)  # a law without outliers has one place for them
    value = (_log_contaminated(square / s2, share, factor) - 0.5 * np.log(s2)).sum(axis=1)
    best = int(np.argmax(value))
    law = Contaminated(float(share[best, 0]), float(_FACTOR[best]), math.sqrt(float(s2[best, 0])))
    return law, float(value[best]) - _EXTRA


def _log_student(square: Array, dof: Array | float) -> Array:
    constant = special.gammaln(0.5 * (dof + 1)) - special.gammaln(0.5 * dof)
    constant = constant - 0.5 * np.log(dof * math.pi)
    return np.asarray(constant - 0.5 * (dof + 1) * np.log1p(square / dof))


def _log_contaminated(square: Array, share: Array | float, factor: Array | float) -> Array:
    core = np.log1p(-share) - 0.5 * square
    wide = np.log(share / factor) - 0.5 * square / factor**2
    return np.asarray(np.logaddexp(core, wide) - _LOG_ROOT)


def _outlying(square: Array, share: Array | float, factor: Array | float) -> Array:
    """Return the probability of each residual to be of the wide part."""
    with np.errstate(divide="ignore"):  # of a share of 0
        odds = np.log(share / ((1.0 - share) * factor))
    return np.asarray(special.expit(odds + 0.5 * square * (1.0 - factor**-2)))
