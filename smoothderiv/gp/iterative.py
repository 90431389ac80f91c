"""The iterative solver: many rows in several dimensions, without their matrix."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv.answers.freedom import student_dof
from smoothderiv.gp import assembly
from smoothderiv.gp.assembly import Layout
from smoothderiv.gp.dense import layout_of, require_determined
from smoothderiv.gp.kernel import Kernel
from smoothderiv.gp.memory import available
from smoothderiv.gp.preconditioner import Preconditioner
from smoothderiv.gp.trend import Trend
from smoothderiv.model import Levels, Noise, UnsuitableError
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior

if TYPE_CHECKING:
    from smoothderiv.gp.process import GaussianProcess

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]
Done: TypeAlias = Callable[[Array, Array, Array, NDArray[np.intp]], NDArray[np.bool_]]

MEAN_ERROR = 1e-7  # of the prior standard deviation of what is asked
VARIANCE_ERROR = 1e-4  # of the variance that is asked
_RANKS = (200, 1200)  # of the preconditioner: a tenth of the rows within these
_COLUMNS = 64  # questions solved together
_SAMPLE = 1200  # rows to tune on
_TILE = 256  # places of a tile: large ones, for what a visit costs
_MOST_STEPS, _RESTARTS = 2000, 5


@dataclass(frozen=True, eq=False)
class System:
    """``A = S (K + R) S`` of unit diagonal, as a product with vectors."""

    kernel: Kernel
    layout: Layout
    scale: Array
    variance: Array  # the diagonal of S R S
    below: Preconditioner

    @classmethod
    def of(cls, kernel: Kernel, layout: Layout, sd: Array) -> System:
        """Prepare to solve for rows with standard deviations `sd`, in the layout's order."""
        scale = 1.0 / np.sqrt(assembly.variances(kernel, layout) + sd**2)
        variance = (sd * scale) ** 2
        below = Preconditioner.of(kernel, layout, scale, variance, _rank(len(sd)))
        return cls(kernel, layout, scale, variance, below)

    def times(self, vectors: Array) -> Array:
        """Return ``A v`` for each of the vectors (s, n)."""
        found = assembly.products(self.kernel, self.layout, vectors * self.scale)
        return np.asarray(found * self.scale + vectors * self.variance)

    def solve(self, right: Array, done: Done) -> tuple[Array, Array, Array]:
        """Return z, ``r = b - A z`` and ``r' M^-1 r >= r' A^-1 r`` for each b of `right` (s, n).

        Conjugate gradients preconditioned by M, each b until ``done(z, r, r' M^-1 r, which)``,
        as judged by the residual itself, not by the recursion for it.
        """
        solution, left = np.zeros_like(right), right.copy()
        bound = (left * self.below.solve(left)).sum(axis=1)
        for _ in range(_RESTARTS):
            which = np.flatnonzero(~done(solution, left, bound, np.arange(len(right))))
            if not len(which):
                return solution, left, bound
            solution[which] += self._descend(solution[which], left[which], done, which)
            left[which] = right[which] - self.times(solution[which])
            bound[which] = (left[which] * self.below.solve(left[which])).sum(axis=1)
        raise _no_convergence(float(bound.max()))

    def _descend(self, start: Array, residual: Array, done: Done, which: NDArray[np.intp]) -> Array:
        """Return what to add to `start`, whose residuals are given, by conjugate gradients."""
        found, residual = np.zeros_like(residual), residual.copy()
        active = np.arange(len(residual))
        step = self.below.solve(residual)
        bound = (residual * step).sum(axis=1)
        for _ in range(_MOST_STEPS):
            image = self.times(step)
            size = bound[active] / (step * image).sum(axis=1)
            found[active] += size[:, None] * step
            residual[active] -= size[:, None] * image
            better = self.below.solve(residual[active])
            fresh = (residual[active] * better).sum(axis=1)
            step = better + (fresh / bound[active])[:, None] * step
            bound[active] = fresh
            over = done(start[active] + found[active], residual[active], fresh, which[active])
            active, step = active[~over], step[~over]
            if not len(active):
                return found
        raise _no_convergence(float(bound.max()))


def _no_convergence(bound: float) -> ValueError:
    return ValueError(
        f"solver: 'iterative' did not converge in {_MOST_STEPS} steps (its error is still up to "
        f"{math.sqrt(bound):.1g} prior standard deviations); the noise is too small beside the "
        "signal for so many rows: state a larger yerr, use a shorter scale or a rougher kernel, "
        "or fit fewer rows with solver='dense'"
    )


def condition(model: GaussianProcess, data: Observations) -> IterativePosterior:
    """Return the posterior by conjugate gradients; the model's numbers must be known."""
    _check(data)
    trend = Trend.of(model.mean, model.kernel.null_degree, data)
    kernel = model.kernel.anchored(float(trend.center[0]), float(trend.span[0]))
    layout = layout_of(data, _TILE)
    x = data.x.reshape(len(data), -1)[layout.rows]
    nu = data.nu.reshape(len(data), -1)[layout.rows]
    require_determined(trend, x, nu)
    system = System.of(kernel, layout, data.sd(model.noise)[layout.rows])
    right = np.vstack((data.y[layout.rows] - trend.fixed(x, nu), trend.rows(x, nu).T))
    right *= system.scale
    size = np.sqrt((right * system.below.solve(right)).sum(axis=1) / len(data))
    limit = (MEAN_ERROR * np.maximum(size, 1.0)) ** 2
    found, left, bound = system.solve(right, lambda z, r, error, which: error <= limit[which])
    gram = found[1:] @ right[1:].T
    root = np.linalg.cholesky(0.5 * (gram + gram.T))
    beta = np.linalg.solve(gram, found[1:] @ right[0])
    whole = np.concatenate(([1.0], -beta))
    alpha, rest = whole @ found, whole @ left
    error = math.sqrt(max(float(rest @ system.below.solve(rest[None])[0]), 0.0))
    size_of_fit = math.sqrt(max(float(alpha @ (whole @ right)), 0.0))
    error += size_of_fit * float(np.abs(np.linalg.inv(root) @ np.sqrt(bound[1:])).sum())
    used = {order: (model.noise or {})[order] for order in data.estimated_orders}
    return IterativePosterior(
        data,
        model,
        Levels(used),
        error=error,
        _trend=trend,
        _system=system,
        _alpha=alpha * system.scale,
        _beta=beta,
        _free=found[1:] * system.scale,
        _root=np.asarray(root),
    )


def _rank(count: int) -> int:
    return min(max(count // 10, _RANKS[0]), _RANKS[1], count)


def sample(data: Observations) -> Observations:
    """Return the rows at every k-th place, sorted by coordinates: about 1200 rows to tune on."""
    places, which = np.unique(data.x.reshape(len(data), -1), axis=0, return_inverse=True)
    count = max(_SAMPLE * len(places) // len(data), 1)
    return data[which.ravel() % -(-len(places) // count) == 0]


def _check(data: Observations) -> None:
    """Refuse exact rows, and more rows than the preconditioner fits in memory for."""
    if data.exact.any():
        raise UnsuitableError(
            f"yerr: row {int(np.argmax(data.exact))} is exact (yerr=0), but solver='iterative' "
            "bounds its error by the noise; give every row a positive yerr, or use solver='dense'"
        )
    free = available()
    need = 8.0 * len(data) * (3 * _rank(len(data)) + 6 * _COLUMNS)
    if need > 0.9 * free:
        raise UnsuitableError(
            f"data: {len(data)} rows need {need / 2**30:.1f} GiB for solver='iterative', but "
            f"{free / 2**30:.1f} GiB are available; fit fewer rows"
        )


@dataclass(frozen=True, eq=False, repr=False)
class IterativePosterior(Posterior):
    """The posterior of a :class:`.GaussianProcess` by conjugate gradients, to a stated accuracy.

    Means are within ``error`` prior standard deviations of the exact ones (rounding apart; with an
    estimated mean, prior plus what that adds), `error` being about 1e-7 unless y is far larger
    than the prior says. Variances are at most 1e-4 of
    themselves too large, and never too small: for ``b = S k*`` a solve that is left with r gives
    ``b' A^-1 b - r' M^-1 r <= z'b + z'r <= b' A^-1 b``. Each place that is asked for a variance is
    a solve; means cost one pass over the rows.

    What needs a solve for each row is refused: leverages, `edf`, `loo`. So is `log_evidence`,
    whose determinant would be a guess. `dof` is by the leverages of the preconditioner, which lies
    below the covariance, and so is at least that of the dense solver: the same for few rows, while
    of many, Student's distribution is nearly normal either way.

    Attributes
    ----------
    error : float
        Bound on the error of means, in prior standard deviations of what is asked: by
        ``|k*' S (A^-1 b - z)| <= sqrt(k** r' M^-1 r)``, r what the solve left.

    References
    ----------
    Gardner et al. (2018), NeurIPS 31. Ament & Gomes (2022), ICML 162: products with gradients.
    Hestenes & Stiefel (1952): the error that is left.
    """

    data: Observations
    model: GaussianProcess
    noise: Noise
    error: float
    _trend: Trend = field(repr=False)
    _system: System = field(repr=False)
    _alpha: Array = field(repr=False)
    _beta: Array = field(repr=False)
    _free: Array = field(repr=False)
    _root: Array = field(repr=False)

    @property
    def highest_order(self) -> float:
        return self.model.kernel.smoothness

    @property
    def log_evidence(self) -> float:  # type: ignore[override]
        """Not known."""
        raise self._unaffordable("log_evidence", "the determinant of the whole matrix")

    @property
    def edf(self) -> float:  # type: ignore[override]
        """Not known."""
        raise self._unaffordable("edf", "a solve for each row")

    @cached_property
    def dof(self) -> float:  # type: ignore[override]
        """Degrees of freedom of the noise that was estimated, at least; else infinite."""
        layout, sd = self._system.layout, self.data.sd(self.noise)
        pulled = np.linalg.solve(self._root, self._free)
        leverage = np.empty(len(sd))
        leverage[layout.rows] = (self._system.below.basis**2).sum(axis=1)
        leverage[layout.rows] += sd[layout.rows] ** 2 * (pulled**2).sum(axis=0)
        return student_dof(self.data, leverage)

    def _dof(self, nu: Orders) -> float:
        """Those of all orders: what the noise of each level takes part in needs leverages."""
        return self.dof

    def _leverage(self) -> Array:
        asked = "leverage, on which loo(), diagnose(), robust weights and model averages rest"
        raise self._unaffordable(asked, "a solve for each row")

    def _unaffordable(self, what: str, need: str) -> ValueError:
        return ValueError(
            f"{what}: needs {need}, which solver='iterative' does without; ask it of a fit of "
            "fewer rows with solver='dense'"
        )

    def residuals(self) -> Array:
        """Return ``y_i - D^nu_i f(x_i)`` for each row: ``sd_i^2 alpha_i``. (n,)."""
        out = np.empty(len(self.data))
        out[self._system.layout.rows] = self._alpha
        return np.asarray(out * self.data.sd(self.noise) ** 2)

    def _mean(self, x: Array, nu: Orders) -> Array:
        x, nu = assembly.columns(x, nu)
        layout = Layout.of(x, nu)
        out = np.empty(len(x))
        system = self._system
        out[layout.rows] = assembly.apply(system.kernel, layout, system.layout, self._alpha)
        return np.asarray(out + self._trend.fixed(x, nu) + self._trend.rows(x, nu) @ self._beta)

    def _var(self, x: Array, nu: Orders) -> Array:
        x, nu = assembly.columns(x, nu)
        out = np.empty(len(x))
        for part in _parts(len(x)):
            b, z, r, free = self._solved(x[part], nu[part])
            prior = self._prior(x[part], nu[part])
            out[part] = prior - ((b + r) * z).sum(axis=1) + (free**2).sum(axis=1)
        return np.maximum(out, 0.0)

    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array:
        (x, nu), (x2, nu2) = assembly.columns(x, nu), assembly.columns(x2, nu2)
        b, z, r, free = self._solved_all(x, nu)
        if np.array_equal(x, x2) and np.array_equal(nu, nu2):
            b2, z2, free2 = b, z, free
        else:
            b2, z2, _, free2 = self._solved_all(x2, nu2)
        rows, columns = Layout.of(x, nu), Layout.of(x2, nu2)
        prior = assembly.cross(self._system.kernel, rows, columns)
        prior = assembly.ordered(prior, rows, columns)
        return np.asarray(prior - z @ b2.T - r @ z2.T + free @ free2.T)

    def _joint(self, x: Array, orders: Orders) -> Array:
        places, orders = assembly.columns(x, orders)
        count = len(orders)
        out = np.empty((len(places), count, count))
        prior = self._system.kernel.diagonal(places, orders, orders).transpose(2, 0, 1)
        for part in _parts(len(places), max(_COLUMNS // count, 1)):
            here = places[part]
            rows = np.repeat(here, count, axis=0), np.tile(orders, (len(here), 1))
            b, z, r, free = (v.reshape(len(here), count, -1) for v in self._solved(*rows))
            out[part] = prior[part] - z @ b.transpose(0, 2, 1) - r @ z.transpose(0, 2, 1)
            out[part] += free @ free.transpose(0, 2, 1)
        return np.asarray(0.5 * (out + out.transpose(0, 2, 1)))

    def _diffusion(self, nu: int, x: Array) -> Array:
        return self._system.kernel.diffusion(x) if nu == self.highest_order else np.zeros(len(x))

    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array:
        value, vector = np.linalg.eigh(self._cov(x, nu, x, nu))
        root = vector * np.sqrt(np.maximum(value, 0.0))
        normal = rng.standard_normal((size, len(root)))
        return np.asarray(self._mean(x, nu) + normal @ root.T)

    def _integral(self, a: float, b: float) -> tuple[float, float]:
        raise self._unaffordable("integral", "rows that are integrals")

    def _prior(self, x: Array, nu: Orders) -> Array:
        layout, out = Layout.of(x, nu), np.empty(len(x))
        out[layout.rows] = assembly.variances(self._system.kernel, layout)
        return out

    def _solved_all(self, x: Array, nu: Orders) -> tuple[Array, ...]:
        parts = [self._solved(x[part], nu[part]) for part in _parts(len(x))]
        return tuple(np.concatenate(found) for found in zip(*parts, strict=True))

    def _solved(self, x: Array, nu: Orders) -> tuple[Array, Array, Array, Array]:
        """Return ``b = S k*``, z, ``b - A z``, and the root of the trend's share, by question."""
        system, layout, prior = self._system, Layout.of(x, nu), self._prior(x, nu)
        right = np.empty((len(x), len(self.data)))
        right[layout.rows] = assembly.cross(system.kernel, layout, system.layout)
        rest = self._trend.rows(x, nu) - right @ self._free.T
        free = np.asarray(np.linalg.solve(self._root, rest.T).T)
        right *= system.scale

        def done(z: Array, r: Array, error: Array, which: NDArray[np.intp]) -> NDArray[np.bool_]:
            left = prior[which] - ((right[which] + r) * z).sum(axis=1)
            return np.asarray(error <= VARIANCE_ERROR * np.maximum(left - error, 0.0))

        return right, *system.solve(right, done)[:2], free


def _parts(count: int, step: int = _COLUMNS) -> Iterator[slice]:
    return (slice(first, min(first + step, count)) for first in range(0, count, step))
