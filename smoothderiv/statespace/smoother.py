"""SmoothingSpline: the smoothing spline of any order by Kalman filter and smoother, in O(n)."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv._validate import asked_orders, said
from smoothderiv.minimiser import Search
from smoothderiv.model import (
    Noise,
    SearchedModel,
    UndeterminedError,
    UnsuitableError,
    missing_noise,
    require_known,
    settled_noise,
)
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior
from smoothderiv.statespace import _loops
from smoothderiv.statespace.markov import MarkovRows
from smoothderiv.statespace.polynomials import free_polynomial
from smoothderiv.statespace.priors import IntegratedWiener
from smoothderiv.statespace.spline_posterior import spline_posterior
from smoothderiv.tuning import Tuning

if TYPE_CHECKING:
    from smoothderiv.statespace.blocks import BlockwiseSmoothing
    from smoothderiv.statespace.stream import Stream

Orders = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class SmoothingSpline(SearchedModel):
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
    U D U' factors (Bierman), so exact rows are fine, and so are close ones. Beside a step r times
    as long as those after it answers are differences of terms ``r^(order - 1)`` times as large: of
    order 3 they lose all digits from about r = 1e8 on, of order 5 from 1e4. A warning tells where
    fewer than three are left.

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
            raise ValueError(f"order: {said(self.order)} is not a whole number from 1 to {highest}")
        if self.q is not None and not 0 <= self.q < math.inf:
            raise ValueError(
                f"q: {said(self.q)} must be finite and not negative; 0 is a polynomial, None is "
                "tuned"
            )
        object.__setattr__(self, "noise", settled_noise(self.noise, zero=True))

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
            raise UnsuitableError(
                f"x: {data.ndim} dimensions, but SmoothingSpline is for curves of one variable; "
                "use GaussianProcess(kernel)"
            )
        if data.nu.max(initial=0) >= self.order:
            worst = int(data.nu.max())
            raise UnsuitableError(
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

    def widened(self, factor: float) -> SmoothingSpline:
        """Return the spline of ``q / factor^(2 order)``: see :meth:`.Model.widened`."""
        if not self.q:
            raise ValueError("model: it was tuned to a polynomial (q = 0); hold a q > 0 instead")
        return dataclasses.replace(self, q=self.q / factor ** (2 * self.order), tuning=None)

    def unknown(self, data: Observations) -> tuple[str, ...]:
        names = () if self.q is not None else ("q",)
        return names + tuple(f"noise[{order}]" for order in missing_noise(self.noise, data))

    def candidates(self, data: Observations, criterion: str) -> Iterable[Iterable[SearchedModel]]:
        yield [self]

    def search(self, data: Observations, criterion: str) -> Search:
        from smoothderiv.statespace.search import spline_search

        return spline_search(self, data, criterion)

    def merit(self, data: Observations, criterion: str) -> float:
        if self.tuning is not None and self.tuning.criterion == criterion:
            return -self.tuning.loss
        from smoothderiv.statespace.criteria import spline_loss

        return -spline_loss(self, data, criterion)


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
