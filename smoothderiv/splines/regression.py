"""RegressionSpline: least squares on a B-spline basis, with or without a roughness penalty."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smoothderiv import _validate
from smoothderiv._validate import said
from smoothderiv.answers.freedom import satterthwaite
from smoothderiv.minimiser import Search
from smoothderiv.model import (
    Levels,
    Noise,
    SearchedModel,
    UnsuitableError,
    missing_noise,
    require_known,
    require_rows,
    settled_noise,
    unpenalised,
)
from smoothderiv.observations import Observations
from smoothderiv.splines.basis import BSplineBasis
from smoothderiv.splines.criteria import Criterion
from smoothderiv.splines.regression_posterior import RegressionSplinePosterior
from smoothderiv.splines.system import System
from smoothderiv.tuning import Tuning

_FIRST_BATCH = 3000  # coefficients up to which all numbers of knots are tried


@dataclass(frozen=True, eq=False)
class RegressionSpline(SearchedModel):
    """Least squares on B-splines: ``f(x) = sum_i c_i B_{i,k}(x)``.

    Minimises ``sum_i ((y_i - D^nu_i f(x_i)) / sd_i)^2 + lam * integral (D^order f)^2`` subject to
    the exact rows (``yerr=0``). As a belief: c is flat for lam = 0, else D^order f is white noise
    of spectral density 1 / lam on the basis, polynomials below `order` being free.

    Parameters
    ----------
    knots : None, int, array or BSplineBasis
        Interior knots; or how many, at quantiles of the distinct places of all orders, with the
        ends at the data's ends; None: how many is tuned. A basis is taken as it is.
    degree : int
        Degree k of the polynomials; that of the basis counts if one is given.
    lam : float or None
        Weight of the penalty, in unit of x ** (2 order - 1) / unit of y ** 2: 0 for none, infinite
        for a polynomial of degree order - 1, None to have it tuned.
    order : int
        Order of the derivative that is penalised.
    noise : mapping from order to level, or None
        See :class:`smoothderiv.Observations`; None: tuned where the data leave it unknown.

    Raises
    ------
    ValueError
        Fields out of range; the message names the field.

    Notes
    -----
    Variances are right given the basis: they know of the noise, not of what the knots cannot
    follow. Between the data of a penalised spline with knots at the data they are too small, for
    order 2 by up to 27 % for f and 66 % for f' (standard deviations of the smoothing spline's
    process). Rows are reduced by banded Givens rotations, O(n k^2) time and O(n_coef k) memory
    beyond the data; variances come from square roots of the blocks of the inverse, O(k^2) a query.

    With ``knots=None`` and a penalty, numbers of knots are compared by evidence: the priors they
    stand for differ only in resolution, so their evidences are comparable. Without a penalty the
    leave-one-out log predictive density is compared, as a flat prior has no comparable evidence.
    So few rows that the evidence cannot tell smoothness from noise, as three for a penalty of
    order 2 and an unknown noise level, are shared evenly: half of what a polynomial leaves over is
    noise.

    References
    ----------
    Cox, "The least squares solution of overdetermined linear equations having band or augmented
    band structure", IMA J. Numer. Anal. 1, 1981. Gentleman, "Least squares computations by Givens
    transformations without square roots", J. Inst. Maths Applics 12, 1973. O'Sullivan, "A
    statistical perspective on ill-posed inverse problems", Statist. Sci. 1, 1986. Harville,
    "Bayesian inference for variance components using only error contrasts", Biometrika 61, 1974.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> t = np.linspace(0, 3, 30)
    >>> data = sd.observe(t, t**2, yerr=0.1) + sd.observe([0.0], [0.0], yerr=0.0, nu=1)
    >>> post = sd.RegressionSpline(knots=2).condition(data)
    >>> np.allclose(post(1.5, nu=[0, 1, 2]), [2.25, 3.0, 2.0])
    True
    >>> float(post.std(0.0, nu=1))
    0.0
    """

    knots: Any = None
    degree: int = 3
    lam: float | None = 0.0
    order: int = 2
    noise: Noise | None = None
    tuning: Tuning | None = field(default=None, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if isinstance(self.knots, BSplineBasis):
            object.__setattr__(self, "degree", self.knots.k)
        if int(self.degree) != self.degree or self.degree < 0:
            raise ValueError(f"degree: {said(self.degree)} is not a whole number from 0 on")
        if self.lam is not None and not self.lam >= 0:
            raise ValueError(
                f"lam: {said(self.lam)} is negative; give 0 for no penalty, None to tune"
            )
        if int(self.order) != self.order or self.order < 1:
            raise ValueError(
                f"order: {said(self.order)} is not the order of a derivative from 1 on"
            )
        if self.lam != 0.0 and self.order > self.degree:
            raise ValueError(
                f"order: a penalty on derivative {self.order} needs degree {self.order} at least, "
                f"not {self.degree}; raise the degree or lower the order"
            )
        if isinstance(self.knots, int | np.integer) and self.knots < 0:
            raise ValueError(f"knots: {self.knots} knots; give a number from 0 on")
        if not (self.knots is None or isinstance(self.knots, int | np.integer | BSplineBasis)):
            knots = _validate.vector(self.knots, "knots")
            _validate.finite(knots, "knots")
            object.__setattr__(self, "knots", tuple(knots.tolist()))
        object.__setattr__(self, "noise", settled_noise(self.noise))

    @property
    def kind(self) -> str:
        """Without a penalty "plain", with lam = inf "polynomial", else "penalised"."""
        if self.lam is None or 0 < self.lam < np.inf:
            return "penalised"
        return "plain" if self.lam == 0 else "polynomial"

    def basis(self, data: Observations) -> BSplineBasis:
        """Return the basis on which `data` are fitted."""
        if isinstance(self.knots, BSplineBasis):
            return self.knots
        low, high = float(data.places[0]), float(data.places[-1])
        if not low < high:
            raise ValueError(
                f"x: all rows are at x = {low:g}, and a spline needs an interval; add rows "
                "elsewhere, or give knots=BSplineBasis(...) with ends of your own"
            )
        if isinstance(self.knots, int | np.integer):
            rank = np.arange(1, self.knots + 1) / (self.knots + 1) * (len(data.places) - 1)
            inner = np.unique(np.interp(rank, np.arange(len(data.places)), data.places))
            return BSplineBasis.clamped(
                inner[(inner > low) & (inner < high)], low, high, self.degree
            )
        return BSplineBasis.clamped(self.knots, low, high, self.degree)

    def unknown(self, data: Observations) -> tuple[str, ...]:
        """Return the names of the fields that these data need and that are still unknown."""
        names = [name for name in ("knots", "lam") if getattr(self, name) is None]
        return (*names, *(f"noise[{order}]" for order in missing_noise(self.noise, data)))

    def condition(self, data: Observations) -> RegressionSplinePosterior:
        """Return the posterior of the curve given the data.

        Raises
        ------
        ValueError
            An unknown field; rows of an order above the degree; exact rows that contradict each
            other.
        UndeterminedError
            The data leave a polynomial, or the curve in some interval, free.
        """
        self._require_fit(data)
        require_known(self, data)
        system = System.assemble(self.basis(data), data, self.order, self.kind)
        given = self.noise or {}
        levels = np.array([1.0 if key is None else given[key] for key in system.keys])
        solution = system.solve(self.lam, levels)
        used = Levels({key: given[key] for key in data.estimated_orders})
        traces = solution.traces[: len(levels)] / levels**2
        estimated = np.array([key is not None for key in system.keys], dtype=bool)
        left = np.where(estimated, system.counts - traces, np.inf)
        return RegressionSplinePosterior(
            data,
            self,
            used,
            float(traces.sum()) + system.coordinates.n_locked,
            satterthwaite(traces, left) if estimated.any() else np.inf,
            basis=system.basis,
            coef=solution.coef,
            _system=system,
            _solution=solution,
        )

    def widened(self, factor: float) -> RegressionSpline:
        """Return the spline of ``lam factor^(2 order)``: see :meth:`.Model.widened`."""
        if not self.lam:
            raise unpenalised(self)
        if math.isinf(self.lam):
            raise ValueError("model: it was tuned to a polynomial (lam = inf); hold a finite lam")
        return dataclasses.replace(self, lam=self.lam * factor ** (2 * self.order), tuning=None)

    def candidates(
        self, data: Observations, criterion: str
    ) -> Iterable[Iterable[RegressionSpline]]:
        """Yield models with numbers of knots from coarse to fine; this one if knots are given."""
        self._require_fit(data)
        if self.knots is not None:
            yield (self,)
            return
        places = len(data.places)
        if self.lam == 0.0:
            most = max(places * len(data.orders) // 2 - self.degree - 1, 0)
            most = min(most, max(places - 2, 0))
            counts = list(range(min(most, 8) + 1))
            while counts[-1] < most:
                counts.append(min(most, int(np.ceil(1.25 * counts[-1]))))
        else:
            most = max(places - 2, 0)
            counts = [min(most, 10)]
            while counts[-1] < most:
                counts.append(min(most, 2 * counts[-1]))
        first = tuple(count for count in counts if count <= _FIRST_BATCH)
        yield tuple(self._with_knots(count) for count in first)
        for count in counts[len(first) :]:
            yield (self._with_knots(count),)

    def search(self, data: Observations, criterion: str) -> Search:
        """Return the criterion as a function of the logarithms of the continuous unknowns."""
        return Criterion(self, data, criterion).search()

    def merit(self, data: Observations, criterion: str) -> float:
        """Return minus log GCV where that is asked, evidence, or leave-one-out density (plain)."""
        if (criterion == "gcv" or self.kind != "plain") and self.tuning is not None:
            return -self.tuning.loss
        if criterion == "gcv":
            return -Criterion(self, data, criterion).loss(np.empty(0))[0]
        if self.kind != "plain" and criterion == "evidence":
            return self.condition(data).log_evidence
        return float(self.condition(data).loo().log_density.sum())

    def _with_knots(self, count: int) -> RegressionSpline:
        return RegressionSpline(count, self.degree, self.lam, self.order, self.noise)

    def _require_fit(self, data: Observations) -> None:
        """Refuse data that no spline of this degree can represent."""
        require_rows(data)
        if data.ndim > 1:
            raise UnsuitableError(
                f"x: {data.ndim} dimensions, but a spline is a curve of one; "
                "use sd.GaussianProcess for several"
            )
        above = data.nu > self.degree
        if above.any():
            row = int(np.argmax(above))
            raise UnsuitableError(
                f"nu: row {row} observes order {data.nu[row]}, but a spline of degree "
                f"{self.degree} has none above {self.degree}; use RegressionSpline(degree="
                f"{data.nu[row] + 2})"
            )
