"""Stream: the same smoothing spline, row by row as they come."""

from __future__ import annotations

import math
import operator
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv._files import read_arrays, write_whole
from smoothderiv._validate import said
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior
from smoothderiv.statespace import _loops
from smoothderiv.statespace.kept import states_of
from smoothderiv.statespace.priors import IntegratedWiener
from smoothderiv.statespace.states import covariances, diagonal, multiplied, pack

if TYPE_CHECKING:
    from smoothderiv.statespace.smoother import SmoothingSpline

Array = NDArray[np.float64]

_HEAD = 3  # x, whether there was a row, how many rows


@dataclass(eq=False)
class Stream:
    """A smoothing spline that takes rows one by one, in order of x, at O(1) each.

    At every moment it equals the posterior of the rows so far at its last place. All rows are
    kept, so that :meth:`smooth` and :meth:`lagged` can answer for the past.

    Made by ``model.stream()``; q must be given, and `noise` for rows without yerr.

    Examples
    --------
    >>> import smoothderiv as sd
    >>> stream = sd.SmoothingSpline(order=2, q=1.0).stream()
    >>> for t in range(5):
    ...     stream.update(t, 2.0 * t, yerr=0.1)
    >>> mean, cov = stream.state()
    >>> mean.round(9).tolist()
    [8.0, 2.0]
    >>> stream.predict(5.0)[0].round(9).tolist()
    [10.0, 2.0]
    """

    model: SmoothingSpline
    _state: Array = field(repr=False)
    _rows: Array = field(repr=False)
    _basis: Array = field(repr=False)
    _weight: Array = field(repr=False)
    _levels: dict[int, float] = field(repr=False)

    @classmethod
    def of(cls, model: SmoothingSpline) -> Stream:
        """Return an empty stream; see :meth:`.SmoothingSpline.stream`."""
        if model.q is None:
            raise ValueError(
                "q: unknown. A stream needs it: tune the model on earlier data, or give q"
            )
        d = model.order
        state = np.zeros(_HEAD + d * (d + 2))
        state[_HEAD + d * (d + 1) :] = 1.0
        steps = IntegratedWiener(d, model.q).steps(np.zeros(1))
        levels = {
            k: float(v) for k, v in (model.noise or {}).items() if isinstance(k, (int, np.integer))
        }
        return cls(model, state, np.empty((16, 4)), steps.basis, steps.weight[0], levels)

    def __len__(self) -> int:
        return int(self._state[2])

    def update(self, x: float, y: float, yerr: float | None = None, nu: int = 0) -> None:
        """Take in one row ``y = D^nu f(x) + N(0, yerr^2)``; NaN for y moves on to x alone.

        Parameters
        ----------
        x, y : float
            Not before the last x.
        yerr : float, optional
            One standard deviation; without it the model's ``noise[nu]`` counts. 0: exact.
        nu : int

        Raises
        ------
        ValueError
            A late row (the remedy is :meth:`smooth` on all rows), entries that are not finite, an
            order that the model lacks, an exact row that contradicts earlier ones, or one so far on
            that the state overflows. The stream is then as it was.
        """
        try:
            nu = operator.index(nu)
        except TypeError:
            raise ValueError(
                f"nu: {said(nu)} is not the order of a derivative; give 0, 1, 2, .."
            ) from None
        if yerr is None:
            yerr = self._level(nu)
        x, y, yerr = _number(x, "x"), _number(y, "y"), _number(yerr, "yerr")
        k = int(self._state[2])
        if k == len(self._rows):
            self._rows = np.concatenate((self._rows, np.empty_like(self._rows)))
        before = self._state.copy()
        code = _loops.take(self._state, self._rows, x, y, yerr, nu, self._basis, self._weight)
        if code:
            self._refuse(code, x, y, yerr, nu)
        if not math.isfinite(sum(self._state.tolist())):  # quicker than numpy's, of so few
            self._state = before
            raise self._too_far(x)

    def _level(self, nu: int) -> float:
        if nu not in self._levels:
            raise ValueError(
                f"yerr: not given, and the model has no noise level for order {nu}; give yerr or "
                f"SmoothingSpline(noise={{{nu}: level}})"
            )
        return self._levels[nu]

    def _refuse(self, code: int, x: float, y: float, yerr: float, nu: int) -> None:
        last = self._state[0]
        raise ValueError(
            {
                1: f"x: {said(x)} is before the last row at {said(last)}; a stream only goes "
                "forward. Collect late rows and condition the model on stream.data() + them",
                2: f"x, y, yerr: ({said(x)}, {said(y)}, {said(yerr)}) must be finite, with yerr "
                "not negative",
                3: f"nu: {said(nu)}, but SmoothingSpline(order={self.model.order}) can be observed "
                f"at orders 0 to {self.model.order - 1}",
                4: f"y: the exact row {said(y)} at x = {said(x)} contradicts earlier exact rows",
            }[code]
        )

    def _too_far(self, x: float) -> ValueError:
        """Return the error for a step after which the state is beyond what floats hold."""
        return ValueError(
            f"x: the state at {said(x)} overflows from that of the last row, at "
            f"{said(self._state[0])}; give x in another unit, or begin a new stream there"
        )

    def state(self) -> tuple[Array, Array]:
        """Return mean (m,) and covariance (m, m) of (f, f', ..) at the last x, given all so far.

        Infinite variances mark what the rows so far leave free.
        """
        return self.predict(float(self._state[0]))

    def predict(self, x: float) -> tuple[Array, Array]:
        """Return mean (m,) and covariance (m, m) of (f, f', ..) at `x`, not before the last row."""
        d = self.model.order
        if not math.isfinite(x):
            raise ValueError(f"x: {said(x)} is not finite")
        if self._state[1] and not x >= self._state[0]:
            raise ValueError(
                f"x: {said(x)} is before the last row at {said(self._state[0])}; use smooth() for "
                "the past"
            )
        state = self._state.copy()
        _loops.take(state, np.empty((0, 4)), float(x), math.nan, 1.0, 0, self._basis, self._weight)
        factor = state[None, _HEAD + d : _HEAD + d + d * d].reshape(1, d, d)
        packed = pack(factor)
        unit = np.array([math.factorial(i) for i in range(d)])
        with np.errstate(over="ignore", invalid="ignore"):
            mean = multiplied(packed, state[None, _HEAD : _HEAD + d])[0] * unit
            cov = covariances(packed)[0] * unit[:, None] * unit
        if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
            raise self._too_far(float(x))
        infinite = state[_HEAD + d * (d + 1) :] > 0
        if infinite.any():
            U = np.triu(factor[0], 1) + np.eye(d)
            free = (U[:, infinite] != 0).any(axis=1)
            mean[free], cov[free], cov[:, free] = np.nan, np.nan, np.nan
            cov[free, free] = np.inf
        return mean, cov

    def data(self) -> Observations:
        """Return the rows so far."""
        rows = self._rows[: len(self)]
        return Observations(
            rows[:, 0].copy(),
            rows[:, 1].copy(),
            rows[:, 2].copy(),
            rows[:, 3].astype(np.int64),
            np.zeros(len(rows), dtype=bool),
        )

    def smooth(self) -> Posterior:
        """Return the posterior given all rows so far, for every x: O(n)."""
        return self.model.condition(self.data())

    def lagged(self, lag: int) -> tuple[Array, Array]:
        """Return mean and standard deviation (m,) of (f, f', ..) `lag` rows back, given all so far.

        Equal to :meth:`smooth` there. O(n) here: fixed-lag answers at every row are cheaper by
        smoothing in blocks.
        """
        if not (isinstance(lag, int | np.integer) and 0 <= lag < len(self)):
            raise ValueError(
                f"lag: {said(lag)}, but there are rows 0 to {len(self) - 1} back; give a whole "
                "number of them"
            )
        order = np.arange(self.model.order)
        rows = self.model.rows(self.data())
        mean, factor = states_of(rows).at(self._rows[len(self) - 1 - lag, :1])
        unit = rows.prior.units
        std = np.sqrt(diagonal(np.repeat(factor, len(order), axis=0), order))
        return mean[0] * unit, std * unit

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the stream to a file of plain arrays (npz, nothing pickled), bit for bit.

        The file appears whole or not at all.
        """
        arrays: dict[str, Any] = {
            "order": np.array(self.model.order),
            "q": np.array(self.model.q),
            "noise": np.array(list(self._levels.items()), dtype=float).reshape(-1, 2),
            "state": self._state,
            "rows": self._rows[: len(self)],
        }
        write_whole(path, lambda file: np.savez(file, **arrays))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Stream:
        """Read what :meth:`save` wrote and go on from there.

        Raises
        ------
        ValueError
            The file is damaged, or no stream's.
        """
        from smoothderiv.statespace.smoother import SmoothingSpline

        with read_arrays(path, "a stream") as kept:
            noise: dict[Any, float] = {int(k): float(v) for k, v in kept["noise"]}
            model = SmoothingSpline(int(kept["order"]), float(kept["q"]), noise or None)
            stream = cls.of(model)
            stream._state = np.array(kept["state"])
            stream._rows = np.concatenate((kept["rows"], np.empty((16, 4))))
        return stream


def _number(value: Any, name: str) -> float:
    """Return a float, of compiled code's only kind, or say what is none."""
    if type(value) is float:
        return value
    array = np.asarray(value)
    if array.ndim or array.dtype.kind not in "biuf":
        raise ValueError(
            f"{name}: {value!r} is not a number; give one number a row (times as seconds, NaN for "
            "a missing y)"
        )
    return float(array)
