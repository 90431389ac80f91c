"""GaussianProcess: a belief about f by its covariance, for x of any dimension."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from smoothderiv.gp import dense_posterior, iterative, markov
from smoothderiv.gp.band import posterior as band
from smoothderiv.gp.composite import Sum
from smoothderiv.gp.criteria import MOST_LEFT_OUT
from smoothderiv.gp.kernel import Kernel
from smoothderiv.gp.trend import Mean, check_mean
from smoothderiv.minimiser import Search
from smoothderiv.model import (
    Noise,
    SearchedModel,
    UnsuitableError,
    missing_noise,
    require_known,
    settled_noise,
)
from smoothderiv.observations import Observations, Order
from smoothderiv.posterior import Posterior
from smoothderiv.statespace._loops import MAX_DIMENSION
from smoothderiv.tuning import Tuning

_FEW_LEFT_OUT = 400  # rows of which leave-one-out is tuned as quickly by the matrix
SOLVERS = ("auto", "dense", "markov", "band", "iterative")


@dataclass(frozen=True, eq=False)
class GaussianProcess(SearchedModel):
    """A Gaussian process: ``f(x) = mean(x) + g(x)``, ``cov(g(x1), g(x2)) = kernel(x1, x2)``.

    Any row may observe any partial derivative that exists, at its own place with its own noise:
    ``y_i = D^nu_i f(x_i) + e_i``. With K the covariance of the rows and R their noise, the
    posterior of any ``D^nu f(x*)`` has mean ``D^nu mean + k*' (K + R)^-1 (y - mean)`` and variance
    ``k** - k*' (K + R)^-1 k*``.

    Parameters
    ----------
    kernel : Kernel
        From ``smoothderiv.kernels``; its numbers that are None are tuned.
    noise : mapping from order to level, or None
        See :class:`smoothderiv.Observations`; None: tuned where the data leave it unknown.
    mean : float, {"constant", "linear", "quadratic", "cubic"} or callable
        A number; a polynomial whose coefficients are estimated with a flat prior; or a callable
        ``mean(x, nu)`` that returns the derivative of order nu (a multi-index tuple for d > 1) at
        the places x, such as a scipy BSpline.
    solver : {"auto", "dense", "markov", "band", "iterative"}
        "dense": Cholesky, O(n^3) time and O(n^2) memory, n rows of all orders together. "markov":
        filter and smoother, O(n), and O(1) a question, for 1-D x, one kernel Matern 1/2 to 7/2, a
        sum of such (some of them :class:`.Nuisance`) or Wiener, any mean.
        "band": O(n), and O(1) a question, for 1-D x and one SquaredExponential, at most 200 rows
        exact, any mean: white noise on a grid, smoothed, which is the same to rounding (see
        :mod:`smoothderiv.gp.band.grid`). "auto": "markov" where it is exact, "band" where it can
        and pays, else "dense". Tuning goes the same way, O(n) an evaluation; leave-one-out by the
        matrix is for 5000 rows at most.
        "iterative": conjugate gradients, for more rows in several dimensions than a matrix fits;
        approximate, to a stated accuracy (see :class:`~smoothderiv.gp.iterative.IterativePosterior`
        for what it refuses), and tuned on about 1200 of the rows.

    Raises
    ------
    ValueError
        A field out of range; the message names it.

    Notes
    -----
    The matrix is scaled to unit diagonal, so that its condition does not depend on units. Only
    where neither the noise nor the matrix itself keeps its condition number below 1e13 a nugget is
    added, the smallest with a proof (see :class:`smoothderiv.gp.dense.Factor`); the posterior
    reports `nugget` and `condition`.

    References
    ----------
    Rasmussen & Williams (2006), Gaussian Processes for Machine Learning, ch. 2, 5, 9.4. Marchildon
    & Zingg (2023), J. Sci. Comput. 95, 59: condition numbers with gradients.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> x = np.linspace(0, 6, 13)
    >>> data = sd.observe(x, np.sin(x), yerr=0.01) + sd.observe(x, np.cos(x), yerr=0.01, nu=1)
    >>> post = sd.tune(sd.GaussianProcess(sd.kernels.SquaredExponential()), data).condition(data)
    >>> bool(abs(post(1.0, nu=2) + np.sin(1.0)) < 3 * post.std(1.0, nu=2) < 0.1)
    True
    """

    kernel: Kernel
    noise: Noise | None = None
    mean: Mean = 0.0
    solver: str = "auto"
    tuning: Tuning | None = field(default=None, repr=False, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.kernel, Kernel):
            raise ValueError(
                f"kernel: {self.kernel!r} is not a kernel; give one such as kernels.Matern52()"
            )
        if self.kernel.signal is None:
            raise ValueError(
                f"kernel: {self.kernel!r} is noise alone; add the kernel of the curve, such as "
                "Matern72() + Nuisance(Matern12())"
            )
        if self.solver == "iterative" and self.has_noise:
            raise ValueError(f"solver: 'iterative' knows no correlated noise ({self.kernel!r})")
        if self.solver not in SOLVERS:
            raise ValueError(f"solver: {self.solver!r} is unknown; use one of {', '.join(SOLVERS)}")
        check_mean(self.mean)
        if self.solver == "markov" and not markov.is_markov(self.kernel):
            raise ValueError(
                f"solver: 'markov' is for Matern 1/2 to 7/2, sums of these (of at most "
                f"{MAX_DIMENSION} derivatives, values counted) or Wiener, not "
                f"{self.kernel!r}; use 'dense'"
            )
        if self.solver == "band" and not band.is_band(self.kernel):
            raise ValueError(
                f"solver: 'band' is for one SquaredExponential kernel, not {self.kernel!r}; use "
                "'dense'"
            )
        object.__setattr__(self, "noise", settled_noise(self.noise))

    def unknown(self, data: Observations) -> tuple[str, ...]:
        """Return the names of the fields that these data need and that are still unknown."""
        free = (f"kernel.{p.name}" for p in self.kernel.parameters(data.ndim) if p.is_free)
        noise = levels_of(self.noise, data.ndim)
        return (*free, *(f"noise[{order}]" for order in missing_noise(noise, data)))

    @property
    def has_noise(self) -> bool:
        """Whether a part of the kernel is a :class:`.Nuisance`: see :attr:`.Model.has_noise`."""
        return self.kernel.signal is not self.kernel

    def condition(self, data: Observations) -> Posterior:
        """Return the posterior of f given the data.

        Raises
        ------
        ValueError
            An unknown field; rows of an order that the process does not have; a matrix that does
            not fit in memory.
        UndeterminedError
            The data leave a coefficient of the mean free.
        """
        self.require_fit(data)
        require_known(self, data)
        model = self._by_orders_of(data)
        if self._by_markov(data):
            return markov.condition(model, data)
        if self.solver == "iterative":
            return iterative.condition(model, data)
        if band.solves(self, data):
            try:
                return band.condition(model, data)
            except band.SpentPinsError:
                if self.solver == "band" or len(data) > band.MOST_BY_MATRIX:
                    raise
        band.require_affordable(self, data)
        return dense_posterior.condition(model, data)

    def _by_orders_of(self, data: Observations) -> GaussianProcess:
        """Return this model, its noise levels by the orders of the data: 0 stands for values."""
        levels = levels_of(self.noise, data.ndim)
        return self if levels == self.noise else dataclasses.replace(self, noise=levels)

    def _by_markov(self, data: Observations) -> bool:
        """Tell whether the Markov solver is asked for, or exact."""
        if self.solver in ("dense", "band", "iterative"):
            return False
        if data.ndim > 1 and self.solver == "markov":
            raise UnsuitableError(f"solver: 'markov' is for 1-D x, not {data.ndim} dimensions")
        return data.ndim == 1 and markov.is_markov(self.kernel)

    def require_fit(self, data: Observations) -> None:
        """Refuse data that no process of this kernel can have."""
        words, total = "", data.nu.reshape(len(data), -1).sum(axis=1)
        try:
            self.kernel.check_ndim(data.ndim)
            if len(total):
                words = f" (row {int(np.argmax(total))} of the data)"
                self.kernel.require_order(int(total.max()))
        except ValueError as error:
            raise UnsuitableError(f"{error}{words}") from None

    def candidates(self, data: Observations, criterion: str) -> Iterable[Iterable[GaussianProcess]]:
        """Yield this model: it has no discrete unknowns."""
        self.require_fit(data)
        yield (self,)

    def search(self, data: Observations, criterion: str) -> Search:
        """Return the criterion as a function of the logarithms of the continuous unknowns."""
        from smoothderiv.gp.search import process_search

        if self.solver == "iterative":
            data = iterative.sample(data)
        model = self._by_orders_of(data)
        return process_search(model, data, criterion, self._tuner(data, criterion))

    def _tuner(self, data: Observations, criterion: str) -> str:
        """Return the solver that tunes."""
        is_sum = isinstance(self.kernel, Sum)
        if self._by_markov(data) and not (is_sum and criterion == "loo"):
            return "markov"
        many = criterion == "evidence" or self.solver == "band" or len(data) > _FEW_LEFT_OUT
        if many and band.solves(self, data):
            return "band"
        band.require_affordable(self, data)
        if criterion == "loo" and len(data) > MOST_LEFT_OUT:
            raise UnsuitableError(
                f"criterion: 'loo' of {self.kernel!r} takes the matrix of all rows many times, for "
                f"at most {MOST_LEFT_OUT} rows, not {len(data)}; use 'evidence', or in one "
                "dimension one Matern kernel or SquaredExponential, which are O(n)"
            )
        return "dense"

    def merit(self, data: Observations, criterion: str) -> float:
        """Return log evidence, or the sum of leave-one-out log densities."""
        if self.tuning is not None and self.tuning.criterion == criterion:
            return -self.tuning.loss
        post = self.condition(data)
        if criterion == "evidence":
            return post.log_evidence
        exact = data.exact.all()
        return float(np.sum(post.log_predictive() if exact else post.loo().log_density))


def levels_of(noise: Noise | None, ndim: int) -> Noise | None:
    """Return noise levels by the orders of data in `ndim` dimensions, 0 standing for values."""
    if noise is None:
        return None
    values: Order = 0 if ndim == 1 else (0,) * ndim
    out: dict[Order, float] = {}
    for order, level in noise.items():
        whole = isinstance(order, int | np.integer)
        fits = whole if ndim == 1 else isinstance(order, tuple) and len(order) == ndim
        if not fits and not (whole and order == 0):
            needed = f"a multi-index of {ndim} numbers, or 0 for values" if ndim > 1 else "a number"
            raise ValueError(
                f"noise: the key {order!r} is no order of a derivative by x in {ndim} "
                f"dimension{'s' if ndim > 1 else ''}; give {needed}"
            )
        out[order if fits else values] = level
    return out
