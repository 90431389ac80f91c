"""SmoothingSpline: the smoothing spline of any order by Kalman filter and smoother, in O(n)."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv._validate import asked_orders
from smoothderiv.answers.leave_one_out import LeaveOneOut, leave_one_out_by, log_predictive_exact
from smoothderiv.answers.limits import student_dof
from smoothderiv.minimiser import Search
from smoothderiv.model import (
    Model,
    Noise,
    UndeterminedError,
    check_noise,
    missing_noise,
    require_known,
)
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior
from smoothderiv.statespace import _chain_loops, _loops
from smoothderiv.statespace.markov import Likelihood, MarkovRows
from smoothderiv.statespace.pieces import pieces, taylor
from smoothderiv.statespace.polynomials import free_polynomial
from smoothderiv.statespace.priors import IntegratedWiener
from smoothderiv.statespace.states import States, diagonal, in_parts, joint
from smoothderiv.tuning import Tuning

if TYPE_CHECKING:
    from scipy.interpolate import PPoly

    from smoothderiv.statespace.blocks import BlockwiseSmoothing
    from smoothderiv.statespace.stream import Stream

Array = NDArray[np.float64]
Orders = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SmoothingSpline(Model):
    """The smoothing spline as a belief: ``D^order f`` is white noise of spectral density q.

    The posterior mean minimises ``sum_i ((y_i - D^nu_i f(x_i)) / sd_i)^2 + (1/q) integral
    (D^order f)^2`` over all f, subject to the exact rows (``yerr=0``): a spline of degree
    2 order - 1 with a knot at every place, which is `lam = 1 / q`. Polynomials of degree below
    `order` are free (an exact diffuse start).

    Parameters
    ----------
    order : int
        m: what is penalised, and one more than the highest derivative that exists. Rows of order
        below m can be observed. 2 suits f and f', 3 suits f' and f''.
    q : float or None
        Spectral density, in (unit of y)^2 / (unit of x)^(2 m - 1); 0 is a polynomial of degree
        m - 1, None is tuned.
    noise : mapping from order to level, or None
        Noise levels (yerr=None) or scales (relative=True) of the orders that need one; 0 where the
        curve meets all rows of that order. None: tuned where the data leave it unknown.

    Raises
    ------
    ValueError
        Fields out of range; the message names the field.

    Notes
    -----
    ``log_evidence`` is Harville's restricted likelihood: with K the covariance of the rows under
    q, R the noise, Sigma = K + R and X the rows ``D^nu u^j`` (j < m) of polynomials in
    ``u = (x - x0) / L``, L the span of the data,
    ``-1/2 [log|Sigma| + log|X' Sigma^-1 X| - log|X'X| + y'Py + (n - m) log 2 pi]``, rows of X'X of
    order nu being scaled by L^nu. It does not change with the origin of x, nor with its unit if
    only values are observed. The diffuse
    likelihood of other programs (Durbin & Koopman; statsmodels) is that less 1/2 log|X'X|, in
    their units of time.

    Time is O(n m^3). A posterior keeps the data and ``n m (m + 3)`` floats, the filtered and
    smoothed states of all rows, from the first question on; of 200 000 rows or more less than a
    tenth of that until many places are asked, and of 2 000 000 always. Covariances are kept as
    U D U' factors (Bierman), so step ratios of 1e8 and exact rows are fine.

    References
    ----------
    Wahba, "Improper priors, spline smoothing and the problem of guarding against model errors in
    regression", JRSS B 40, 1978. Wecker & Ansley, "The signal extraction approach to nonlinear
    regression and spline smoothing", JASA 78, 1983. de Jong, "The diffuse Kalman filter", Ann.
    Statist. 19, 1991. Bierman, "Factorization methods for discrete sequential estimation", 1977.
    Kramer & Hennig, "Stable implementation of probabilistic ODE solvers", JMLR 25, 2024. Harville,
    "Bayesian inference for variance components using only error contrasts", Biometrika 61, 1974.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> x = np.linspace(0, 1, 8)
    >>> data = sd.observe(x, 2 * x + 1, yerr=0.1) + sd.observe([0.5], [2.0], yerr=0.1, nu=1)
    >>> post = sd.SmoothingSpline(order=2, q=10.0).condition(data)
    >>> np.allclose(post([0.25, 2.0], nu=[0, 1]), [1.5, 2.0])
    True
    """

    order: int = 2
    q: float | None = None
    noise: Noise | None = None
    tuning: Tuning | None = field(default=None, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        highest = _loops.MAX_DIMENSION - 1  # an integral takes one more
        if int(self.order) != self.order or not 1 <= self.order <= highest:
            raise ValueError(f"order: {self.order!r} is not a whole number from 1 to {highest}")
        if self.q is not None and not 0 <= self.q < math.inf:
            raise ValueError(
                f"q: {self.q!r} must be finite and not negative; 0 is a polynomial, None is tuned"
            )
        check_noise(self.noise, zero=True)

    def condition(self, data: Observations) -> Posterior:
        """Return the posterior of f given the rows: see :meth:`.Model.condition`."""
        require_known(self, data)
        return spline_posterior(self, data, self.rows(data))

    def rows(self, data: Observations, q: float | None = None, sd: Any = None) -> MarkovRows:
        """Return the rows as the engine sees them; refuse what the model cannot represent."""
        self._check(data)
        span = float(np.ptp(data.x)) or 1.0
        prior = IntegratedWiener(self.order, float(self.q or 0.0) if q is None else q, span)
        sd = data.sd(self.noise) if sd is None else sd
        rows = MarkovRows.of(prior, data.x, data.y, sd, data.nu)
        words = free_polynomial(rows.x, rows.nu, self.order) or ("a polynomial" * (rows.free > 0))
        if words:
            raise UndeterminedError(
                f"data: the rows leave {words} free, so that the curve is not determined; "
                f"{_advice(data, self.order)}"
            )
        return rows

    def _check(self, data: Observations) -> None:
        if data.ndim > 1:
            raise ValueError(
                f"x: {data.ndim} dimensions, but SmoothingSpline is for curves of one variable; "
                "use GaussianProcess(kernel)"
            )
        if data.nu.max(initial=0) >= self.order:
            worst = int(data.nu.max())
            raise ValueError(
                f"nu: row {int(data.nu.argmax())} observes order {worst}, but with order="
                f"{self.order} only derivatives below {self.order} exist; use "
                f"SmoothingSpline(order={worst + 1}) or more"
            )

    def stream(self) -> Stream:
        """Return an empty stream, which takes rows one by one: see :class:`.Stream`."""
        from smoothderiv.statespace.stream import Stream

        return Stream.of(self)

    def smooth_blocks(
        self,
        blocks: Iterable[Observations],
        folder: str | os.PathLike[str],
        nu: int | Sequence[int] = (0, 1),
        at: Any = None,
    ) -> BlockwiseSmoothing:
        """Smooth a series longer than memory: the same answers, with one block in memory at a time.

        Parameters
        ----------
        blocks : iterable of Observations
            In order of x; rows in a block in any order. Asked for one after the other.
        folder : path
            New or empty. States of the filter are written there, then replaced by answers:
            ``m (m + 3) / 2 + 4`` floats a row for the former, ``1 + 2 len(nu)`` for the latter.
        nu : int or sequence of int
            Orders to answer for.
        at : array, optional
            Where to answer; by default at every row.

        Returns
        -------
        BlockwiseSmoothing
            Iterate over it for x, mean and std, block by block; it has `log_evidence` and `edf`.

        Raises
        ------
        ValueError
            q or a noise level is unknown (tune the model on some of the rows), blocks out of
            order, or what :meth:`condition` refuses.

        Examples
        --------
        >>> import numpy as np, smoothderiv as sd, tempfile
        >>> sevens = np.full(100, 7.0)
        >>> days = (sd.observe(np.linspace(k, k + 1, 100), sevens, 0.1) for k in range(9))
        >>> model = sd.SmoothingSpline(order=2, q=1.0)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = model.smooth_blocks(days, folder)
        ...     print(len(found), all(np.allclose(mean, [7.0, 0.0]) for x, mean, std in found))
        9 True
        """
        from smoothderiv.statespace.blocks import smooth_blocks

        if self.q is None:
            raise ValueError("q: unknown. Tune the model on some of the rows first, or give q")
        return smooth_blocks(self, blocks, folder, asked_orders(nu), at)

    def unknown(self, data: Observations) -> tuple[str, ...]:  # noqa: D102
        names = () if self.q is not None else ("q",)
        return names + tuple(f"noise[{order}]" for order in missing_noise(self.noise, data))

    def candidates(self, data: Observations, criterion: str) -> Iterable[Iterable[Model]]:  # noqa: D102
        yield [self]

    def search(self, data: Observations, criterion: str) -> Search:  # noqa: D102
        from smoothderiv.statespace.search import spline_search

        return spline_search(self, data, criterion)

    def merit(self, data: Observations, criterion: str) -> float:  # noqa: D102
        if self.tuning is not None and self.tuning.criterion == criterion:
            return -self.tuning.loss
        from smoothderiv.statespace.criteria import spline_loss

        return -spline_loss(self, data, criterion)


def spline_posterior(model: Any, data: Observations, rows: MarkovRows) -> Posterior:
    """Return the posterior of a model of which nothing is unknown, whose rows these are."""
    likelihood, pull, leverage = rows.leverages()
    noise = {order: (model.noise or {})[order] for order in data.estimated_orders}
    return _SplinePosterior(
        data=data,
        model=model,
        noise=MappingProxyType(noise),
        likelihood=likelihood,
        edf=float(leverage.sum()),
        dof=student_dof(data, leverage),
        rows=rows,
        pull=pull,
        weight=leverage,
    )


def log_evidence(
    rows: MarkovRows, likelihood: Likelihood, information: float | None = None
) -> float:
    """Return Harville's restricted log likelihood; see the notes of :class:`SmoothingSpline`."""
    if information is None:
        information = polynomial_information(rows)
    constant = likelihood.rank * math.log(2 * math.pi)
    return -0.5 * (likelihood.chi + likelihood.logs + constant - information)


def polynomial_information(rows: MarkovRows) -> float:
    """Return ``log|X'X|``, by filtering with q = 0 and unit noise."""
    prior = rows.prior
    flat = IntegratedWiener(prior.dimension, 0.0, prior.span)  # type: ignore[attr-defined]
    scale = np.array([prior.span**-nu for nu in range(prior.dimension)])  # type: ignore[attr-defined]
    found = rows.having(flat, ((scale / prior.units) ** 2)[rows.nu]).likelihood()
    return found.logs - 2 * float(np.bincount(rows.nu, minlength=len(scale)) @ np.log(scale))


def _advice(data: Observations, order: int) -> str:
    """Say what to add to rows that leave a polynomial free."""
    lowest = int(data.nu.min())
    if lowest > 0:
        return (
            f"no row observes f itself (the lowest order is {lowest}): add a value, such as "
            "observe(x0, 0.0, yerr=0), or model the derivative with data of order "
            f"nu - {lowest}"
        )
    return f"add rows at other places (order={order} needs {order} or more), or lower the order"


@dataclass(frozen=True, eq=False, repr=False)
class _SplinePosterior(Posterior):
    data: Observations
    model: Any
    noise: Mapping[Any, float]
    likelihood: Likelihood
    edf: float
    dof: float
    rows: MarkovRows = field(repr=False)
    pull: Array = field(repr=False)
    weight: Array = field(repr=False)

    @property
    def highest_order(self) -> float:
        return int(self.model.order) - 1

    @cached_property
    def log_evidence(self) -> float:  # type: ignore[override]
        return log_evidence(self.rows, self.likelihood)

    @cached_property
    def states(self) -> States:
        return self.rows.states()

    @cached_property
    def _pieces(self) -> Array:
        return pieces(self.states, np.arange(len(self.states.rows.x)))

    def to_ppoly(self) -> PPoly:
        """Return the mean between the data as a piecewise polynomial, exactly.

        Degree 2 order - 1, breakpoints at the distinct places. Beyond the data the mean is the
        polynomial of degree order - 1 that :meth:`mean` gives; PPoly would continue its end pieces
        instead, so ``extrapolate`` is off.
        """
        from scipy.interpolate import PPoly

        x, steps = self.states.rows.x, np.append(np.diff(self.states.rows.x), 0.0)
        inside = steps > 0
        if not inside.any():
            raise ValueError("to_ppoly: all rows are at one place; there is no piece")
        span = self.rows.prior.span  # type: ignore[attr-defined]
        power = np.arange(2 * self.model.order)
        coefficients = (self._pieces[inside] / span**power).T[::-1]
        return PPoly(coefficients, np.append(x[inside], x[-1]), extrapolate=False)

    def residuals(self) -> Array:
        return np.asarray(self.data.sd(self.noise) ** 2 * self.pull)

    def _leverage(self) -> Array:
        return self.weight

    def loo(self) -> LeaveOneOut:
        """Return what the model predicts for each row without it; see :meth:`.Posterior.loo`.

        Where leverages are so near 1 that what is left has lost half its digits, it is by the
        diagonal of the inverse covariance, which keeps them.
        """
        if (1.0 - self._leverage()).min() > np.sqrt(np.finfo(float).eps):
            return super().loo()
        diagonal = self.rows.errors()[1].diagonal
        return leave_one_out_by(self.pull, diagonal, self.data, self.noise)

    def _log_predictive_exact(self) -> Array:
        return log_predictive_exact(self.pull, self.rows.errors()[1].diagonal)

    def _mean(self, x: Array, nu: Orders) -> Array:
        many = len(x) >= len(self.rows.x)

        def mean(x: Array, nu: Orders) -> Array:
            states = self.rows.about(x)
            if states.miss(x):
                return self._between(states, x, nu, many)
            return states.at(x)[0][np.arange(len(x)), nu] * self.rows.prior.units[nu]

        return in_parts(self.rows, mean, x, nu)

    def _var(self, x: Array, nu: Orders) -> Array:
        def var(x: Array, nu: Orders) -> Array:
            _, factor = self.rows.about(x).at(x)
            return diagonal(factor, nu) * self.rows.prior.units[nu] ** 2

        return in_parts(self.rows, var, x, nu)

    def _mean_and_var(self, x: Array, nu: Orders) -> tuple[Array, Array]:
        many = len(x) >= len(self.rows.x)

        def both(x: Array, nu: Orders) -> Array:
            states, unit = self.rows.about(x), self.rows.prior.units[nu]
            mean, factor, off = states.at_or_off(x)
            own = self._between(states, x, nu, many) if off else mean[np.arange(len(x)), nu] * unit
            return np.stack((own, diagonal(factor, nu) * unit**2))

        mean, var = in_parts(self.rows, both, x, nu)
        return mean, var

    def _between(self, states: States, x: Array, nu: Orders, many: bool) -> Array:
        """Return the mean from pieces between rows, of all of them if many places are asked."""
        nodes, span = states.rows.x, self.rows.prior.span  # type: ignore[attr-defined]
        if states.rows is self.rows and ("_pieces" in self.__dict__ or many):
            return taylor(self._pieces, nodes, span, x, nu)
        rows = np.unique(np.maximum(np.searchsorted(nodes, x, side="right") - 1, 0))
        return taylor(pieces(states, rows), nodes[rows], span, x, nu)

    def _joint(self, x: Array, orders: Orders) -> Array:
        return joint(self.rows.about(x), self.rows.prior, x, orders)

    def _diffusion(self, nu: int, x: Array) -> Array:
        prior = self.rows.prior
        return prior.diffusion_at(x) if nu == self.highest_order else np.zeros(len(x))

    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array:
        unit = self.rows.prior.units
        places, back = np.unique(np.concatenate((x, x2)), return_inverse=True)
        if not len(x) or not len(x2):
            return np.zeros((len(x), len(x2)))
        chain = self.states.chain(places)
        cov = _chain_loops.joint_cov(chain.links, back[: len(x)], nu, back[len(x) :], nu2)
        return np.asarray(unit[nu][:, None] * cov * unit[nu2])

    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array:
        if not len(x):
            return np.zeros((size, 0))
        places, back = np.unique(x, return_inverse=True)
        chain = self.states.chain(places)
        roots = psd_root(np.concatenate((chain.noise[:-1], chain.cov[-1:])))
        paths = rng.standard_normal((size, len(places), self.model.order))
        means = self._means(places)
        _chain_loops.draw(means, roots, chain.basis, chain.transition, paths)
        return np.asarray(paths[:, back, nu] * self.rows.prior.units[nu])

    def _means(self, x: Array) -> Array:
        """Return the mean of the state at places x: (m, d)."""
        order = self.model.order
        places, nu = np.repeat(x, order), np.tile(np.arange(order), len(x))
        return self._mean(places, nu).reshape(-1, order) / self.rows.prior.units

    def _integral(self, a: float, b: float) -> tuple[float, float]:
        """Condition the integral of f, which is 0 at a: the prior of one more order."""
        if a == b:
            return 0.0, 0.0
        data, prior = self.data, self.rows.prior
        longer: Any = dataclasses.replace(prior, order=prior.dimension + 1)  # type: ignore[type-var]
        x = np.append(data.x, a)
        sd = np.append(data.sd(self.noise), 0.0)
        nu = np.append(data.nu + 1, 0)
        rows = MarkovRows.of(longer, x, np.append(data.y, 0.0), sd, nu)
        mean, factor = rows.states().at(np.array([b]))
        return float(mean[0, 0]), float(diagonal(factor, np.zeros(1, dtype=np.int64))[0])


def psd_root(S: Array) -> Array:
    """Return square roots of covariances (k, d, d), which may be singular."""
    scale = np.sqrt(np.maximum(np.diagonal(S, axis1=1, axis2=2), 0.0))
    safe = np.where(scale > 0, scale, 1.0)
    value, vector = np.linalg.eigh(S / safe[:, :, None] / safe[:, None, :])
    return np.asarray(scale[:, :, None] * vector * np.sqrt(np.maximum(value, 0.0))[:, None, :])
