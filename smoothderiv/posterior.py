"""Posterior: what every engine returns. The questions people ask, once for all engines."""

from __future__ import annotations

import functools
import itertools
import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv._places import in_arrow_units
from smoothderiv._validate import (
    asked_orders,
    one_number,
    require_kind,
    said,
    whole_orders,
    within_floats,
)
from smoothderiv.answers.contrast import variance_of_sum
from smoothderiv.answers.diagnosis import Diagnosis, diagnose
from smoothderiv.answers.freedom import dof_of_order
from smoothderiv.answers.gradient import Gradient, Hessian
from smoothderiv.answers.leave_one_out import LeaveOneOut, leave_one_out, log_predictive
from smoothderiv.answers.limits import check_level, half_width
from smoothderiv.answers.locations import Locations, find_argmax, find_roots
from smoothderiv.answers.marginal import marginal
from smoothderiv.answers.regions import Regions, find_regions
from smoothderiv.answers.storage import save
from smoothderiv.answers.summary import summary_html, summary_text
from smoothderiv.moments import Moments

if TYPE_CHECKING:
    import pyarrow as pa

Array = NDArray[np.float64]
Orders = NDArray[np.int64]

_HEIGHT = "give the height to cross"


class Posterior(Moments):
    """The curve given the data: a Gaussian over f and its derivatives.

    `x` is any array of places, `nu` an order or an array that broadcasts with it, so that one call
    can ask for several orders jointly; for x of d > 1 dimensions `nu` is a multi-index. Answers
    of order nu have unit of y / unit of x ** nu. Extrapolation continues the model.

    Attributes
    ----------
    data : Observations
    model : Model
        With every field filled: what the answer is conditional on.
    noise : mapping from order to the noise level (yerr=None) or scale (relative=True) used
    log_evidence : float
        Restricted (diffuse) log marginal likelihood, in nats. It compares models of the same order
        and mean: what others leave free changes it, and by units of x and y.
    edf : float
        Effective degrees of freedom, the trace of the map from y to the fitted values.
    dof : float
        Degrees of freedom of the noise that was estimated, those of the residuals; infinite where
        all noise is known. Where several levels were estimated, or not all, Satterthwaite's on the
        average over the rows; limits of each order then have their own.
    """

    def interval(self, x: ArrayLike, nu: ArrayLike = 0, level: float = 0.95) -> tuple[Array, Array]:
        """Return pointwise limits of probability `level`, as much below as above, at each place.

        ``mean -+ t * std``, t the quantile of Student's distribution with the `dof` of the order
        (the normal one when all noise is known). Of a mixture (:class:`.ModelAverage`) they are
        the quantiles of the mixture of its members' distributions, which may be skew.
        """
        return marginal(self, x, nu).interval(check_level(level))

    def band(
        self,
        x: ArrayLike,
        nu: ArrayLike = 0,
        level: float = 0.95,
        rng: int | np.random.Generator | None = 0,
        *,
        within: tuple[Any, Any] | None = None,
    ) -> tuple[Array, Array]:
        """Return simultaneous limits: they hold at all of `x` together with probability `level`.

        ``mean -+ c * std`` with one c for all places and orders asked: ``x[:, None], nu=[0, 1]`` is
        a band for f and f' together. It is about the places asked, however many; with `within` it
        is about the whole curve over a range, seen at `x`: what finer and finer places tend to.

        In one dimension c comes from the expected number of exits
        (:mod:`smoothderiv.answers.bands`); nothing is drawn. It is right for high levels and errs
        to the safe side where paths oscillate: 95 % bands hold 94.5 to 96.5 % of paths (93 to 97 %
        of averages of unlike members; more at one place), 50 % bands 49 to 65 %. It is Student-like
        where a noise level was estimated. In several dimensions c is a quantile over joint draws,
        so many that the standard error of the level is a twentieth of ``1 - level``.

        Parameters
        ----------
        rng : int, Generator or None
            Of these draws: by default the same at each call, and so is the answer; None draws anew.
        within : (low, high), optional
            The band shall hold all along this range, datetimes if the data are at datetimes.

        References
        ----------
        Sun & Loader, "Simultaneous confidence bands for linear regression and smoothing", Ann.
        Statist. 22, 1994. Worsley, "An improved Bonferroni inequality and applications",
        Biometrika 69, 1982. Rice, "Mathematical analysis of random noise", 1945.

        Examples
        --------
        >>> import numpy as np, smoothderiv as sd
        >>> t = np.linspace(0, 1, 20)
        >>> post = sd.RegressionSpline(4).condition(sd.observe(t, t**2, yerr=0.1))
        >>> for places in (t, np.linspace(0, 1, 100), np.linspace(0, 1, 10000)):
        ...     upper = post.band(places)[1]
        ...     print(round(float((upper[0] - post(0.0)) / post.std(0.0)), 3))
        2.905
        2.966
        2.969
        >>> upper = post.band(t, within=(0, 1))[1]
        >>> print(round(float((upper[0] - post(0.0)) / post.std(0.0)), 3))
        2.969
        """
        half = half_width(self, x, nu, check_level(level), within, rng)
        mean = self.mean(x, nu)
        return mean - half, mean + half

    def __repr__(self) -> str:
        rows, words = len(self.data), type(self.model).__name__
        return f"Posterior: {words} given {rows} row{'s' * (rows != 1)}; .summary() says more"

    def derivative(self, nu: int = 1) -> Posterior:
        """Return the posterior of the derivative of order `nu`."""
        if self.data.ndim > 1:
            raise ValueError("derivative: x has several dimensions; ask for nu=(..) or gradient(x)")
        from smoothderiv.derivative import Derivative  # it is a posterior itself

        order = self._order(nu, "derivative")
        return Derivative.of(self, order) if order else self

    def integral(self, a: ArrayLike, b: ArrayLike) -> tuple[float, float]:
        """Return mean and standard deviation of the integral of f from `a` to `b`."""
        if self.data.ndim > 1:
            raise ValueError("integral: only for x of one dimension")
        if np.ndim(a) or np.ndim(b):
            raise ValueError(
                f"a, b: {said(a)}, {said(b)}, but an integral goes from one place to one; ask for "
                "several one by one"
            )
        ends = self.data.coordinates(np.array([a, b]), "a, b")
        mean, var = self._integral(float(ends[0]), float(ends[1]))
        return mean, math.sqrt(var)

    def gradient(self, x: ArrayLike) -> Gradient:
        """Return the gradient of f at each place: mean (n, d) and covariance (n, d, d).

        Of places (.., d) the shapes are (.., d) and (.., d, d); one place alone is n = 1.
        """
        orders = self._multi_indices(1)
        places, _, shape = self._question(x, orders[0])
        mean = [self._mean(places, np.broadcast_to(nu, places.shape)) for nu in orders]
        cov = within_floats(self._joint(places, orders), places)
        d, shape = len(orders), shape or (1,)
        return Gradient(np.stack(mean, axis=1).reshape(*shape, d), cov.reshape(*shape, d, d))

    def hessian(self, x: ArrayLike) -> Hessian:
        """Return the second derivatives of f at each place: mean and variance (n, d, d)."""
        orders, d = self._multi_indices(2), self.data.ndim
        places, _, shape = self._question(x, orders[0])
        mean, var = np.empty((2, len(places), d, d))
        for nu, (a, b) in zip(
            orders, itertools.combinations_with_replacement(range(d), 2), strict=True
        ):
            here = np.broadcast_to(nu, places.shape)
            mean[:, a, b] = mean[:, b, a] = self._mean(places, here)
            var[:, a, b] = var[:, b, a] = self._var(places, here)
        within_floats(mean + var, places)
        shape = shape or (1,)
        return Hessian(mean.reshape(*shape, d, d), var.reshape(*shape, d, d))

    def gradient_of_variance(self, x: ArrayLike) -> Array:
        """Return how the variance of f changes with the place, ``d Var f(x) / d x_a``: (n, d).

        It is ``2 Cov(df/dx_a, f)`` at x, and says where f is known better; how well the slope is
        known is the covariance of :meth:`gradient`.
        """
        first = self._multi_indices(1)
        places, _, shape = self._question(x, first[0])
        joint = self._joint(places, np.concatenate((0 * first[:1], first)))
        return (2.0 * joint[:, 1:, 0]).reshape(*(shape or (1,)), len(first))

    def _multi_indices(self, total: int) -> Orders:
        """Return the orders of a total, one for each set of axes: (P,), or (P, d) for d > 1."""
        d = self.data.ndim
        sets = itertools.combinations_with_replacement(np.eye(d, dtype=np.int64), total)
        orders = np.array([np.sum(axes, axis=0) for axes in sets])
        return orders[:, 0] if d == 1 else orders

    def contrast(self, x: ArrayLike, weights: ArrayLike, nu: ArrayLike = 0) -> tuple[float, float]:
        """Return mean and standard deviation of ``sum_i weights_i D^nu_i f(x_i)``.

        Differences over short distances keep their digits where the derivative exists; of what
        cancels besides, the standard deviation is at least the rounding of its parts.
        """
        x_, nu_, shape = self._question(x, nu)
        weights_ = np.asarray(weights, dtype=float)
        if weights_.shape not in ((), (1,), shape) or not np.isfinite(weights_).all():
            raise ValueError(
                f"weights: {said(weights)}, but one finite number for each of {math.prod(shape)} "
                "places is needed"
            )
        weights_ = np.broadcast_to(weights_, shape).ravel()
        std = math.sqrt(variance_of_sum(self, x_, nu_, weights_))
        return float(weights_ @ self._mean(x_, nu_)), std

    def prob_positive(self, x: ArrayLike, nu: ArrayLike = 0) -> Array:
        """Return the probability that ``D^nu f`` is positive, at each place by itself."""
        return marginal(self, x, nu).above(0.0)

    def regions(
        self,
        nu: int = 1,
        value: float = 0.0,
        level: float = 0.95,
        within: tuple[Any, Any] | None = None,
    ) -> Regions:
        """Return the intervals of x in which ``D^nu f`` is surely above or below `value`.

        Where the curve surely rises or falls (nu = 1), or bends up or down (nu = 2): where the
        simultaneous band over the range lies on one side, so that all signs hold together with
        probability `level`.

        Parameters
        ----------
        value : float
            In unit of y / unit of x ** nu.
        within : (low, high), optional
            Range searched; by default that of the data.

        Examples
        --------
        >>> import numpy as np, smoothderiv as sd
        >>> t = np.linspace(0, 1, 40)
        >>> post = sd.RegressionSpline(5).condition(sd.observe(t, np.sin(6 * t), yerr=0.05))
        >>> post.regions()
        Regions: D^1 f against 0, level 0.95, 3 found
          0 to 0.236889: above
          0.288134 to 0.761285: below
          0.804655 to 1: above
        """
        order, height = self._order(nu, "regions"), one_number(value, "value", _HEIGHT)
        return find_regions(self, order, height, check_level(level), within)

    def roots(
        self,
        nu: int = 0,
        value: float = 0.0,
        within: tuple[Any, Any] | None = None,
        level: float = 0.95,
        rng: int | np.random.Generator | None = 0,
    ) -> Locations:
        """Return where ``D^nu f = value``, with standard deviations, intervals, probabilities.

        Parameters
        ----------
        nu : int
            Order of the derivative; ``D^(nu+1) f`` need not exist.
        value : float
            In unit of y / unit of x ** nu.
        within : (low, high), optional
            Range searched; by default that of the data.
        level : float
            Of the intervals.
        rng : int, Generator or None
            Of the 2000 joint paths that tell how surely each root is there, and where: by default
            the same at each call, and so is the answer; None draws anew.
        """
        order, height = self._order(nu, "roots"), one_number(value, "value", _HEIGHT)
        return find_roots(self, order, height, within, check_level(level), rng)

    def maxima(
        self,
        within: tuple[Any, Any] | None = None,
        level: float = 0.95,
        rng: int | np.random.Generator | None = 0,
        *,
        nu: int = 0,
    ) -> Locations:
        """Return the peaks of ``D^nu f`` inside a range, with their heights, as :meth:`roots`.

        They are falling roots of ``D^(nu+1) f``; `probability` says how surely each is higher than
        the troughs beside it, if the curve is as rough everywhere as the model has it. Where it is
        flatter than elsewhere, noise makes humps of which .5 to .9 are given: take those for peaks
        that are nearly certain, or that lie between a sure rise and a sure fall of
        ``regions(nu + 1)``, which hold all together with their level.

        Examples
        --------
        >>> import numpy as np, smoothderiv as sd
        >>> t = np.linspace(0, 6, 60)
        >>> y = np.sin(t) + 0.1 * np.random.default_rng(0).standard_normal(60)
        >>> sd.smooth(sd.observe(t, y)).maxima().x.round(1)
        array([1.7])
        """
        return self._extrema("maxima", nu, within, level, rng, -1)

    def minima(
        self,
        within: tuple[Any, Any] | None = None,
        level: float = 0.95,
        rng: int | np.random.Generator | None = 0,
        *,
        nu: int = 0,
    ) -> Locations:
        """Return the troughs of ``D^nu f`` inside a range, as :meth:`maxima`."""
        return self._extrema("minima", nu, within, level, rng, 1)

    def _extrema(
        self,
        question: str,
        nu: int,
        within: tuple[Any, Any] | None,
        level: float,
        rng: int | np.random.Generator | None,
        direction: int,
    ) -> Locations:
        order = self._order(nu, question)
        slope = self._order(order + 1, question)
        return find_roots(self, slope, 0.0, within, check_level(level), rng, direction, order)

    def inflections(
        self,
        within: tuple[Any, Any] | None = None,
        level: float = 0.95,
        rng: int | np.random.Generator | None = 0,
    ) -> Locations:
        """Return the roots of f'', where the curvature changes its sign, as :meth:`roots`."""
        order = self._order(2, "inflections")
        return find_roots(self, order, 0.0, within, check_level(level), rng)

    def argmax(
        self,
        nu: int = 0,
        within: tuple[Any, Any] | None = None,
        level: float = 0.95,
        rng: int | np.random.Generator | None = 0,
    ) -> Locations:
        """Return where ``D^nu f`` is largest in a range, its height there, and their intervals.

        For nu = 1 the steepest place and its rate. ``at_edge`` is the share of paths whose largest
        value lies at an end of the range. A step between two neighbouring rows is as steep as the
        model makes it: nothing was seen there. An interval that lies strictly within that gap rests
        on the model alone, and is too narrow for a sharper step.
        """
        return find_argmax(self, self._order(nu, "argmax"), within, check_level(level), rng)

    def frame(self, x: ArrayLike, nu: ArrayLike | None = None, level: float = 0.95) -> pa.Table:
        """Return the answers at places x as a pyarrow table, a row for each place.

        Columns ``x`` (datetimes where the data have them, in their zone) and, for each order of
        `nu`, ``mean_0, std_0, lower_0, upper_0, mean_1, ..`` with the limits of :meth:`interval`;
        for x of several dimensions places are in columns ``x_0, x_1, ..``, `nu` is a multi-index or
        a list of them, and columns are ``mean_1_0, ..``. By default f and its first derivatives.
        It turns into another library's table by ``.to_pandas()`` or ``polars.from_arrow``.
        """
        if nu is None:
            first = self._multi_indices(1)
            nu = np.concatenate((0 * first[:1], first))
        return self._frame(x, nu, level, {})

    def _frame(
        self, x: ArrayLike, nu: Any, level: float, stds: dict[tuple[int, ...], Array]
    ) -> pa.Table:
        """Return :meth:`frame`; standard deviations that are known are taken, others are kept."""
        import pyarrow as pa

        several = self.data.ndim > 1
        at_least = np.atleast_2d if several else np.atleast_1d
        places = at_least(self.data.asked(x))
        if places.ndim > 1 + several:
            wanted = f"(n, {self.data.ndim})" if several else "(n,)"
            raise ValueError(f"x: shape {places.shape}, but {wanted} is needed")
        orders = at_least(whole_orders(nu)) if several else np.array(asked_orders(nu))[:, None]
        columns: dict[str, Any] = {"x": in_arrow_units(places)}
        if several:
            columns = {f"x_{axis}": places[:, axis] for axis in range(self.data.ndim)}
        if self.data.zone is not None:
            columns["x"] = pa.array(places, pa.timestamp("us", self.data.zone))
        for key in dict.fromkeys(map(tuple, orders.tolist())):
            here = marginal(self, places, key if several else key[0], stds.get(key))
            stds[key] = here.std
            values = (here.mean, here.std, *here.interval(check_level(level)))
            for word, value in zip(("mean", "std", "lower", "upper"), values, strict=True):
                columns["_".join((word, *map(str, key)))] = value
        return pa.table(columns)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the posterior into one safe file, from which :func:`smoothderiv.load` reads it."""
        save(self, path)

    def residuals(self) -> Array:
        """Return ``y_i - D^nu_i f(x_i)`` for each row, in its unit: (n,)."""
        return self.data.y - self._mean(self.data.x, self.data.nu)

    def diagnose(self) -> Diagnosis:
        """Return standardised residuals, a test of each order's noise, and what to look at.

        Examples
        --------
        >>> import numpy as np, smoothderiv as sd
        >>> rng = np.random.default_rng(0)
        >>> x = np.linspace(0, 1, 100)
        >>> y = np.sin(6 * x) + 0.3 * rng.standard_normal(100)
        >>> post = sd.RegressionSpline(5).condition(sd.observe(x, y, yerr=0.1))
        >>> found = post.diagnose()
        >>> round(found.orders[0].ratio, 2), found.orders[0].p_value < 1e-9
        (2.87, True)
        """
        return diagnose(self)

    def summary(self) -> str:
        """Return what was fitted and how well it did, in words."""
        return summary_text(self)

    def _repr_html_(self) -> str:
        return summary_html(self)

    def leverage(self) -> Array:
        """Return ``Var(f_i | y) / sd_i^2`` for each row: the weight of y_i in its own fit. (n,)."""
        return self._leverage()

    def _dof(self, nu: Orders) -> float:
        key = tuple(np.atleast_1d(nu).tolist())
        if key not in self._dof_of_order:
            self._dof_of_order[key] = dof_of_order(self, nu)
        return self._dof_of_order[key]

    @functools.cached_property
    def _dof_of_order(self) -> dict[tuple[int, ...], float]:
        return {}

    def noise_dof(self) -> dict[Any, float]:
        """Return for each estimated noise level the degrees of freedom that it rests on.

        Rows less their leverages: what the curve took from them is what the level cost.
        """
        data, free = self.data, 1.0 - self._leverage()
        return {o: float(free[data.is_of(o) & data.estimated].sum()) for o in self.noise}

    def loo(self) -> LeaveOneOut:
        """Return what the model, at its present parameters, predicts for each row without it.

        Exact by leverage h: residual ``e_i / (1 - h_i)``, variance ``sd_i^2 / (1 - h_i)``.
        """
        return leave_one_out(self.residuals(), self._leverage(), self.data, self.noise)

    def log_predictive(self) -> Array:
        """Return the log density of each place's rows (of one order) given all others. (places,).

        Its sum compares models of any kind on the same data. Exact rows are conditions and not
        counted; but where no row has noise they are what is predicted, one by one.
        """
        if len(self.data) and self.data.exact.all():
            return self._log_predictive_exact()
        each = self.loo().log_density
        return log_predictive(*self._unexplained(), each, self.data, self.noise)

    def _log_predictive_exact(self) -> Array:
        """Return the log density of each row given all others, no row having noise: (n,).

        An engine that does not know it says -inf: it predicts nothing, and has no weight in an
        average.
        """
        return np.full(len(self.data), -np.inf)

    def _unexplained(self) -> tuple[Array, Array]:
        """Return residuals and leverages of all that is not white noise, correlated noise too."""
        return self.residuals(), self._leverage()


def require_posterior(post: Any, or_else: str = "") -> None:
    """Refuse what is not a posterior; `or_else` says what else might be given."""
    remedy = "give what sd.smooth(data) or model.condition(data) returns"
    require_kind(post, Posterior, "post", f"a posterior; {remedy}{or_else}")
