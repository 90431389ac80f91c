"""AdaptiveSpline: a smoothing spline whose smoothness changes along x."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv._validate import said
from smoothderiv.model import Model, Noise, SelfTunedModel, missing_noise, require_known
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior
from smoothderiv.statespace.markov import MarkovRows
from smoothderiv.statespace.smoother import SmoothingSpline
from smoothderiv.statespace.spline_posterior import spline_posterior
from smoothderiv.statespace.varying import VaryingWiener
from smoothderiv.tuning import Tuning

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AdaptiveSpline(SelfTunedModel):
    """A smoothing spline whose smoothness changes along x: ``D^order f`` is noise of density q(x).

    log q is linear between knots, and constant beyond them (between two neighbouring places of the
    data q is taken to be what it is in their middle). The posterior mean minimises
    ``sum_i ((y_i - D^nu_i f(x_i)) / sd_i)^2 + integral (D^order f)^2 / q``: stiff where the curve
    is calm, yielding where it turns.

    What log q does along x is a random walk: with l_k its values at K knots,

        l_(k+1) - l_k ~ N(0, variation^2 / (K - 1)),

    so that `variation` is how far it wanders from end to end; 0 is a :class:`.SmoothingSpline`. q
    and the noise levels are tuned to maximise restricted likelihood times that density.
    `variation` is tuned by Laplace's approximation of the evidence, with a half-Cauchy prior of
    scale 5: over 0, 3 and 10, and 30 and 90 where 10 is about as good or better.

    Parameters
    ----------
    order : int
        m: as in :class:`.SmoothingSpline`; rows of order below m can be observed.
    variation : float or None
        Standard deviation of log q from the first knot to the last; None is tuned.
    knots : tuple of float, or None
        Ascending places of the knots; None: 17 at quantiles of the places of the data, so that
        it may change most where rows are close; 65 where log q wanders far (by 30 or more).
    q : tuple of float, or None
        Spectral density at each knot, in (unit of y)^2 / (unit of x)^(2 m - 1); None is tuned.
    noise : mapping from order to level, or None
        As in :class:`.SmoothingSpline`.

    Raises
    ------
    ValueError
        Fields out of range; the message names the field.

    References
    ----------
    Pintore, Speckman and Holmes, "Spatially adaptive smoothing splines", Biometrika 93, 2006.
    Tierney and Kadane, "Accurate approximations for posterior moments and marginal densities", JASA
    81, 1986. Gelman, "Prior distributions for variance parameters", Bayesian Analysis 1, 2006.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> x = np.linspace(-1, 1, 200)
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal(200)
    >>> data = sd.observe(x, np.tanh(20 * x) + noise)
    >>> model = sd.tune(sd.AdaptiveSpline(order=3), data)
    >>> bool(model.variation > 0 and max(model.q) > 1000 * model.q[0])
    True
    """

    order: int = 3
    variation: float | None = None
    knots: tuple[float, ...] | None = None
    q: tuple[float, ...] | None = None
    noise: Noise | None = None
    tuning: Tuning | None = field(default=None, repr=False, kw_only=True)
    _beside: tuple[tuple[Model, float], ...] = field(default=(), repr=False, kw_only=True)
    _freedom: float = field(default=0.0, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        settled = SmoothingSpline(self.order, noise=self.noise)  # refuses what it refuses
        object.__setattr__(self, "noise", settled.noise)
        if self.variation is not None and not 0 <= self.variation < math.inf:
            raise ValueError(
                f"variation: {said(self.variation)} must be finite and not negative; None is tuned"
            )
        if self.knots is not None:
            knots = np.asarray(self.knots, dtype=float)
            if knots.ndim != 1 or len(knots) < 2 or not (np.diff(knots) > 0).all():
                raise ValueError("knots: give two places or more, in ascending order")
            object.__setattr__(self, "knots", tuple(knots.tolist()))
        if self.q is not None:
            q = np.asarray(self.q, dtype=float)
            if self.knots is None or q.shape != (len(self.knots),):
                raise ValueError(
                    f"q: {said(self.q)}, but one density is needed for each of the knots, which "
                    "must be given too"
                )
            if not ((q > 0) & np.isfinite(q)).all() and q.any():
                raise ValueError(f"q: {said(self.q)} must be finite and positive, or all 0")
            object.__setattr__(self, "q", tuple(q.tolist()))

    @property
    def is_constant(self) -> bool:
        """Whether q is the same everywhere."""
        return self.q is not None and min(self.q) == max(self.q)

    def uniform(self) -> SmoothingSpline:
        """Return the smoothing spline of the same order and noise, of constant q if that is so."""
        q = self.q[0] if self.q is not None and self.is_constant else None
        return SmoothingSpline(self.order, q, self.noise)

    def condition(self, data: Observations) -> Posterior:
        """Return the posterior of f given the rows: see :meth:`.Model.condition`."""
        require_known(self, data)
        return spline_posterior(self, data, self.rows(data))

    def rows(self, data: Observations) -> MarkovRows:
        """Return the rows as the engine sees them; refuse what the model cannot represent."""
        assert self.q is not None
        rows = self.uniform().rows(data, q=1.0, sd=data.sd(self.noise))
        if self.is_constant:
            return rows.having(dataclasses.replace(rows.prior, q=self.q[0]))  # type: ignore[type-var]
        return rows.having(self.prior(rows, np.log(self.q)))

    def prior(self, rows: MarkovRows, logs: Array) -> VaryingWiener:
        """Return the process that these rows see if log q takes some values at the knots."""
        base: Any = rows.prior
        places = rows.x[np.append(True, np.diff(rows.x) > 0)]
        middle = 0.5 * (places[1:] + places[:-1])
        density = (
            np.exp(np.interp(middle, np.asarray(self.knots), logs)) if len(middle) else np.ones(1)
        )
        return VaryingWiener(base.order, 1.0, base.span, places, density)

    def widened(self, factor: float) -> AdaptiveSpline:
        """Return the spline of ``q / factor^(2 order)``: see :meth:`.Model.widened`."""
        if not any(self.q or ()):
            raise ValueError("model: it was tuned to a polynomial (q = 0); hold a q > 0 instead")
        q = tuple(one / factor ** (2 * self.order) for one in self.q or ())
        return dataclasses.replace(self, q=q, tuning=None, _beside=())

    @property
    def flattery(self) -> float:
        """Half of the effective number of densities tuned, beyond the one of a smoothing spline.

        By simulation from nine curves: 0.4 of it, from 0 to 0.7. Parameters tuned to left-out
        densities would flatter them by all of it; evidence predicts each row from half of the
        others on average.
        """
        return 0.5 * self._freedom

    def alternatives(self) -> tuple[tuple[Model, ...], Array]:
        """Return models that stand for what tuning left open, this one first, and their weights."""
        weights = np.array([1.0 - sum(share for _, share in self._beside)])
        others = tuple(model for model, _ in self._beside)
        return (self, *others), np.append(weights, [share for _, share in self._beside])

    def unknown(self, data: Observations) -> tuple[str, ...]:
        names = () if self.q is not None else ("q",)
        return names + tuple(f"noise[{order}]" for order in missing_noise(self.noise, data))

    def tuned(self, data: Observations, criterion: str) -> AdaptiveSpline:
        """Return the spline of the likeliest variation, q and noise, with what stands beside it."""
        from smoothderiv.statespace.adaptive_search import tuned

        return tuned(self, data, criterion)
