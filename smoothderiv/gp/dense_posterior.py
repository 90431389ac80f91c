"""The posterior of a Gaussian process by a dense Cholesky factor."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from smoothderiv._warn import warn
from smoothderiv.answers.diagnosis import NoiseWarning
from smoothderiv.answers.freedom import shared
from smoothderiv.answers.leave_one_out import LeaveOneOut, leave_one_out_by, log_predictive_exact
from smoothderiv.gp import assembly, joint
from smoothderiv.gp.assembly import Layout
from smoothderiv.gp.dense import Factor, Fit, check_size, layout_of, require_consistent
from smoothderiv.gp.kernel import Kernel
from smoothderiv.gp.process_posterior import ProcessPosterior
from smoothderiv.gp.quadrature import integral_rows
from smoothderiv.gp.trend import Trend
from smoothderiv.model import Levels, Noise
from smoothderiv.observations import Observations

if TYPE_CHECKING:
    from smoothderiv.gp.process import GaussianProcess

Array: TypeAlias = NDArray[np.float64]
Orders: TypeAlias = NDArray[np.int64]

_FAR = 30.0  # times the nugget's noise that an exact row is missed
_DOUBTFUL = 1e-6  # share of the prior variance below which a difference may be its rounding
_CHUNK = 8_000_000  # numbers in the cross-covariance of one chunk of a question


def condition(model: GaussianProcess, data: Observations) -> GaussianPosterior:
    """Return the posterior by Cholesky; the model's numbers must be known."""
    check_size(len(data))
    require_consistent(data)
    trend = Trend.of(model.mean, model.kernel.null_degree, data)
    kernel = model.kernel.anchored(float(trend.center[0]), float(trend.span[0]))
    signal = kernel.signal  # the questions'; rows may carry correlated noise besides
    assert signal is not None
    layout = layout_of(data)
    factor = Factor.of(kernel, layout, data.sd(model.noise)[layout.rows])
    fit = Fit.of(factor, trend, data)
    _tell_of_missed_rows(data, model, factor, fit)
    used = {order: (model.noise or {})[order] for order in data.estimated_orders}
    return GaussianPosterior(
        data, model, Levels(used), fit.log_evidence, signal, trend, factor, fit
    )


def _tell_of_missed_rows(
    data: Observations, model: GaussianProcess, factor: Factor, fit: Fit
) -> None:
    """Warn of exact rows that the nugget lets go.

    The nugget is a noise of ``sqrt(nugget) / S_i``, by which an exact row is missed at most a few
    times over where the kernel can follow the rows; it is missed by ``nugget alpha_i / S_i^2``.
    """
    rows, size = factor.layout.rows, np.sqrt(factor.nugget) / factor.scale
    missed = np.where(data.exact[rows], np.abs(fit.alpha) * size, 0.0)
    worst = int(np.argmax(missed))
    if not missed[worst] > _FAR:
        return
    warn(
        f"row {int(rows[worst])} is exact (yerr=0), but missed by "
        f"{missed[worst] * size[worst]:.2g}: the matrix of {model.kernel!r} is "
        "singular to rounding and cannot follow the rows; use shorter lengths or a "
        "rougher kernel, such as Matern72, or a positive yerr",
        NoiseWarning,
    )


@dataclass(frozen=True, eq=False, repr=False)
class GaussianPosterior(ProcessPosterior):
    """The posterior of a :class:`GaussianProcess` by a dense Cholesky factor.

    Attributes
    ----------
    nugget : float
        What was added to the diagonal of the matrix scaled to unit diagonal; usually 0.
    condition : float
        Estimate of the condition number of that matrix, in the 1-norm.
    beta : (p,) array
        Estimated coefficients of the mean in the monomials of ``(x - centre) / span``.
    """

    data: Observations
    model: GaussianProcess
    noise: Noise
    log_evidence: float
    _kernel: Kernel = field(repr=False)
    _trend: Trend = field(repr=False)
    _factor: Factor = field(repr=False)
    _fit: Fit = field(repr=False)

    @property
    def nugget(self) -> float:
        """What was added to the unit diagonal of the scaled matrix."""
        return self._factor.nugget

    @property
    def condition(self) -> float:
        """The condition number of the scaled matrix, as LAPACK estimates it in the 1-norm."""
        return self._factor.condition

    def _mean(self, x: Array, nu: Orders) -> Array:
        x, nu = assembly.columns(x, nu)
        layout = Layout.of(x, nu)
        out = np.empty(len(x))
        out[layout.rows] = assembly.apply(
            self._kernel, layout, self._factor.layout, self._fit.alpha
        )
        out += self._trend.fixed(x, nu) + self._trend.rows(x, nu) @ self._fit.beta
        return out

    def _var(self, x: Array, nu: Orders) -> Array:
        x, nu = assembly.columns(x, nu)
        out = np.empty(len(x))
        for part in self._chunks(len(x)):
            layout = Layout.of(x[part], nu[part])
            half, free = self._halves(x[part], nu[part], layout)
            out[part][layout.rows] = self._variances(x[part], nu[part], layout, half, free)
        return out

    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array:
        (x, nu), (x2, nu2) = assembly.columns(x, nu), assembly.columns(x2, nu2)
        if np.array_equal(x, x2) and np.array_equal(nu, nu2):
            return self._own_cov(x, nu)
        rows, columns = Layout.of(x, nu), Layout.of(x2, nu2)
        left, right = self._halves(x, nu, rows), self._halves(x2, nu2, columns)
        for layout, halves in ((rows, left), (columns, right)):
            prior = assembly.variances(self._kernel, layout)
            if len(_doubtful(_difference(prior, *halves), prior)):
                whole = self._own_cov(np.concatenate((x, x2)), np.concatenate((nu, nu2)))
                return whole[: len(x), len(x) :]
        out = assembly.cross(self._kernel, rows, columns)
        out -= left[0] @ right[0].T
        out += left[1] @ right[1].T
        return assembly.ordered(out, rows, columns)

    def _own_cov(self, x: Array, nu: Orders) -> Array:
        """Return the covariance of answers with themselves, of which some may be the same."""
        distinct, which = np.unique(np.column_stack((x, nu)), axis=0, return_inverse=True)
        if len(distinct) < len(x):
            _, first = np.unique(which, return_index=True)
            return self._own_cov(x[first], nu[first])[np.ix_(which.ravel(), which.ravel())]
        layout = Layout.of(x, nu)
        half, free = self._halves(x, nu, layout)
        out = assembly.cross(self._kernel, layout, layout)
        out -= half @ half.T
        out += free @ free.T
        var = self._variances(x, nu, layout, half, free)
        prior = assembly.variances(self._kernel, layout)
        np.fill_diagonal(out, var)
        if len(_doubtful(var, prior)):
            out = joint.positive(out, var, *self._noise_and_size(prior, half, free))
        return assembly.ordered(out, layout, layout)

    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array:
        root = joint.sampling_root(self._cov(x, nu, x, nu))
        return self._mean(x, nu) + rng.standard_normal((size, len(root))) @ root

    def _integral(self, a: float, b: float) -> tuple[float, float]:
        if a == b:
            return 0.0, 0.0
        node, weight, row, prior = integral_rows(self._kernel, self._factor.layout, a, b)
        nu = np.zeros((len(node), 1), dtype=np.int64)
        half = self._factor.halve((row * self._factor.scale)[None])
        free = self._free(weight @ self._trend.rows(node[:, None], nu), half)
        mean = row @ self._fit.alpha + weight @ self._trend.fixed(node[:, None], nu)
        mean += weight @ self._trend.rows(node[:, None], nu) @ self._fit.beta
        return float(mean), float(self._variance(np.array([prior]), half, free)[0])

    @cached_property
    def _kept(self) -> Array:
        """The diagonal of ``1 - R P``: what rows say of themselves, of f and correlated noise."""
        sd = self.data.sd(self.noise)
        kept = np.where(sd > 0, np.clip(1.0 - sd**2 * self._precision, 0.0, 1.0), 1.0)
        return shared(kept, self.data, sd)

    def _leverage(self) -> Array:
        return self._curve

    @cached_property
    def _curve(self) -> Array:
        """The diagonal of ``K_f P``: of ``1 - R P`` less that of ``K_g P``, g correlated noise."""
        if not self._has_noise:
            return self._kept
        whole, layout, scale = self.model.kernel, self._factor.layout, self._factor.scale
        whole = whole.anchored(float(self._trend.center[0]), float(self._trend.span[0]))
        noise = assembly.cross(whole, layout, layout) - assembly.cross(self._kernel, layout, layout)
        solved = self._factor.unhalve(self._factor.halve(noise * scale)) * scale
        free = self._pulled
        out = self._kept.copy()
        out[layout.rows] -= np.diag(solved) - np.einsum("ij,pj,pi->i", noise, free, free)
        return np.asarray(np.clip(out, 0.0, 1.0))

    @cached_property
    def _precision(self) -> Array:
        """The diagonal of P, in the order of the data: one over the leave-one-out variances."""
        known = self._factor.inverse_diagonal()
        left = known - (self._pulled**2).sum(axis=0)
        out = np.empty(len(self.data))
        rounding = 8 * np.finfo(float).eps * known
        out[self._factor.layout.rows] = np.where(left > rounding, left, 0.0)
        return out

    @cached_property
    def _pulled(self) -> Array:
        """The root of what the mean's coefficients take out of P, in the layout's order: (p, n)."""
        return np.asarray(self._factor.unhalve(self._fit.basis.copy()) * self._factor.scale)

    def _unexplained(self) -> tuple[Array, Array]:
        if not self._has_noise:
            return self.residuals(), self._kept
        out = np.empty(len(self.data))
        out[self._factor.layout.rows] = self._fit.alpha
        return out * self.data.sd(self.noise) ** 2, self._kept

    def _log_predictive_exact(self) -> Array:
        alpha = np.empty(len(self.data))
        alpha[self._factor.layout.rows] = self._fit.alpha
        return log_predictive_exact(alpha, self._precision)

    def loo(self) -> LeaveOneOut:
        """Return what the model, at its present parameters, predicts for each row without it.

        Residual ``(P y)_i / P_ii`` and variance ``1 / P_ii``, P the inverse covariance without the
        mean's coefficients; exact for any noise (Rasmussen & Williams 2006, eq. 5.10-5.12).
        """
        alpha = np.empty(len(self.data))
        alpha[self._factor.layout.rows] = self._fit.alpha
        return leave_one_out_by(alpha, self._precision, self.data, self.noise)

    def _joint(self, x: Array, orders: Orders) -> Array:
        places, orders = assembly.columns(x, orders)
        count = len(orders)
        out = np.empty((len(places), count, count))
        for part in self._chunks(len(places), count):
            here = places[part]
            rows = np.repeat(here, count, axis=0), np.tile(orders, (len(here), 1))
            layout = Layout.of(*rows)
            halves = self._halves(*rows, layout)
            var = _reordered(self._variances(*rows, layout, *halves), layout).reshape(-1, count)
            prior = self._kernel.diagonal(here, orders, orders).transpose(2, 0, 1)
            half, free = (_reordered(v, layout).reshape(len(here), count, -1) for v in halves)
            out[part] = prior - half @ half.transpose(0, 2, 1) + free @ free.transpose(0, 2, 1)
            out[part][:, range(count), range(count)] = var
            whole = np.diagonal(prior, axis1=1, axis2=2)
            for k in np.unique(_doubtful(var, whole) // count):
                noise, size = self._noise_and_size(whole[k], half[k], free[k])
                out[part][k] = joint.positive(out[part][k], var[k], noise, size)
        return out

    def _diffusion(self, nu: int, x: Array) -> Array:
        return self._kernel.diffusion(x) if nu == self.highest_order else np.zeros(len(x))

    def _halves(self, x: Array, nu: Orders, layout: Layout) -> tuple[Array, Array]:
        """Return V = (L^-1 S k*)' and the trend's share, in the layout's order: (m, n), (m, p)."""
        half = assembly.cross(self._kernel, layout, self._factor.layout)
        half *= self._factor.scale
        self._factor.halve(half)
        return half, self._free(self._trend.rows(x[layout.rows], nu[layout.rows]), half)

    def _free(self, rows: Array, half: Array) -> Array:
        """Return the root of what the estimated trend adds to the variance: (m, p)."""
        if not rows.size:
            return np.zeros((len(half), 0))
        whitened = np.linalg.solve(self._fit.triangle.T, np.atleast_2d(rows).T).T
        return np.asarray(whitened - half @ self._fit.basis.T)

    def _variances(self, x: Array, nu: Orders, layout: Layout, half: Array, free: Array) -> Array:
        """Return the variances of answers, in the layout's order: (m,)."""
        prior = assembly.variances(self._kernel, layout)
        out = self._variance(prior, half, free)
        if not self._has_noise:
            for i in _doubtful(out, prior):
                place = layout.rows[i]
                row = self._row_of.get((*x[place].tolist(), *nu[place].tolist()))
                if row is not None:  # by its leverage
                    noise = self._row_noise[row]
                    kept = 1.0 - noise * self._precision[self._factor.layout.rows[row]]
                    out[i] = noise * min(max(kept, 0.0), 1.0)
        return out

    def _variance(self, prior: Array, half: Array, free: Array) -> Array:
        """Return ``prior - |half|^2 + |free|^2``, or a bound where that is mere rounding: (m,).

        With weights w of the rows in an answer's mean it is at least the variance of the noise in
        it, ``sum_j w_j^2 sd_j^2``, and no better known than to the rounding of its parts,
        ``eps (sqrt(prior) + sum_j |w_j| / S_j)^2`` at most.
        """
        out = _difference(prior, half, free)
        doubtful = _doubtful(out, prior)
        if len(doubtful):
            parts = (part[doubtful] for part in (prior, half, free))
            noise, size = self._noise_and_size(*parts)
            least = np.maximum((noise**2).sum(axis=1), np.finfo(float).eps * size**2)
            out[doubtful] = np.maximum(out[doubtful], least)
        return out

    def _noise_and_size(self, prior: Array, half: Array, free: Array) -> tuple[Array, Array]:
        """Return ``W R^(1/2)`` and the sizes that answers are differences of: (m, n), (m,).

        W are the weights of the rows in the answers, whose sizes are the sums of the standard
        deviations of what they are made of.
        """
        weights = self._weights(half, free)
        size = np.sqrt(prior) + np.abs(weights) @ (1.0 / self._factor.scale)
        return weights * np.sqrt(self._row_noise), size

    def _weights(self, half: Array, free: Array) -> Array:
        """Return the weights of the rows in the means of answers, in the layout's order: (m, n)."""
        by_process = self._factor.unhalve(half.copy()) * self._factor.scale
        return np.asarray(by_process + free @ self._pulled)

    @cached_property
    def _row_noise(self) -> Array:
        """The noise variance of each row with what the nugget adds, in the layout's order: (n,)."""
        factor = self._factor
        sd = self.data.sd(self.noise)[factor.layout.rows]
        return np.asarray(sd**2 + factor.nugget / factor.scale**2)

    @cached_property
    def _row_of(self) -> dict[tuple[float, ...], int]:
        """The row of least noise, in the layout's order, that observed a place and its order."""
        rows = self._factor.layout.rows
        keys = np.column_stack(assembly.columns(self.data.x, self.data.nu))[rows]
        order = np.argsort(-self._row_noise, kind="stable")  # the last of a kind is kept
        return dict(zip(map(tuple, keys[order].tolist()), order.tolist(), strict=True))

    def _chunks(self, count: int, width: int = 1) -> Iterable[slice]:
        step = max(_CHUNK // (len(self.data) * width), 1)
        return (slice(first, min(first + step, count)) for first in range(0, count, step))


def _reordered(rows: Array, layout: Layout) -> Array:
    out = np.empty_like(rows)
    out[layout.rows] = rows
    return out


def _difference(prior: Array, half: Array, free: Array) -> Array:
    """Return ``prior - |half|^2 + |free|^2``: (m,)."""
    out = prior - np.einsum("ij,ij->i", half, half) + np.einsum("ij,ij->i", free, free)
    return np.asarray(out)


def _doubtful(var: Array, prior: Array) -> NDArray[np.intp]:
    """Return which variances are so small that a difference from the prior may be rounding."""
    return np.flatnonzero((var < _DOUBTFUL * prior).ravel())
