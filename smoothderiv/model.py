"""Model: what is believed about a curve before the data, with numbers that may be unknown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv._validate import require_kind, said
from smoothderiv.observations import Observations, Order

if TYPE_CHECKING:
    from smoothderiv.minimiser import Search
    from smoothderiv.posterior import Posterior
    from smoothderiv.tuning import Tuning

Noise = Mapping[Order, float]
"""From the order of a derivative to its noise level (yerr=None) or scale (relative=True)."""


class Levels(Mapping[Any, float]):
    """Noise levels by order that were used: a mapping that does not change and can be pickled."""

    def __init__(self, levels: Mapping[Any, float]) -> None:
        self._levels: dict[Any, float] = dict(levels)

    def __getitem__(self, order: Any) -> float:
        return self._levels[order]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._levels)

    def __len__(self) -> int:
        return len(self._levels)

    def __repr__(self) -> str:
        return repr(self._levels)


class UnsuitableError(ValueError):
    """The model cannot hold these data; another candidate of the same class may."""


class UndeterminedError(UnsuitableError):
    """The data leave part of the curve free; the message names it and says what to add."""


class ContradictionError(UnsuitableError):
    """Exact rows (``yerr=0``) that no curve of the model meets together."""


class Model(ABC):
    """A Gaussian belief about f: a frozen dataclass of a few numbers.

    A field that is None is unknown: :func:`smoothderiv.tune` fills it, :meth:`condition` refuses
    it with advice. A field that is given is held.
    """

    noise: Noise | None
    tuning: Tuning | None

    @abstractmethod
    def condition(self, data: Observations) -> Posterior:
        """Return the posterior of the curve given the data.

        Raises
        ------
        ValueError
            A field is unknown; the data hold what the model cannot represent (the message says
            which model can); or they leave part of the curve undetermined.
        """

    @abstractmethod
    def unknown(self, data: Observations) -> tuple[str, ...]:
        """Return the names of the fields that these data need and that are still unknown."""

    @property
    def flattery(self) -> float:
        """What left-out densities flatter this model by, in nats, since it was tuned on all rows.

        Beside a model of one smoothness parameter and the noise levels.
        """
        return 0.0

    @property
    def at_ends(self) -> tuple[str, ...]:
        """What was taken at the ends of ranges in tuning, in words; nothing if it was not tuned."""
        return () if self.tuning is None else self.tuning.ends

    @property
    def has_noise(self) -> bool:
        """Whether the model holds noise of its own, correlated noise, beside that of each row."""
        return False

    def widened(self, factor: float) -> Model:
        """Return the model that smooths over lengths `factor` times as long, all else held.

        Raises
        ------
        ValueError
            The model has no penalty, or one that is all or nothing.
        """
        raise unpenalised(self)

    def alternatives(self) -> tuple[tuple[Model, ...], NDArray[np.float64]]:
        """Return models that stand for what tuning left open, this one first, and their weights."""
        return (self,), np.ones(1)


class SearchedModel(Model):
    """A model that says what its unknowns are; :mod:`smoothderiv.tuning` searches for them."""

    @abstractmethod
    def candidates(self, data: Observations, criterion: str) -> Iterable[Iterable[SearchedModel]]:
        """Yield batches of models in which every discrete unknown is filled, coarse to fine.

        All of a batch are tried; the next batch only if the last one was better by a nat.
        """

    @abstractmethod
    def search(self, data: Observations, criterion: str) -> Search:
        """Return the criterion as a function of the logarithms of the continuous unknowns."""

    @abstractmethod
    def merit(self, data: Observations, criterion: str) -> float:
        """Return what is maximal for the best of the candidates, once each is tuned."""


class SelfTunedModel(Model):
    """A model that is tuned in a way of its own, as one that is made of others."""

    @abstractmethod
    def tuned(self, data: Observations, criterion: str) -> SelfTunedModel:
        """Return the model with every unknown filled."""


def unpenalised(model: Model) -> ValueError:
    """Return the error for a model that is to smooth more or less, but has nothing to vary."""
    return ValueError(
        f"model: {type(model).__name__} has no penalty to vary; give sd.SmoothingSpline(order) or "
        "sd.RegressionSpline(knots, lam=None)"
    )


def require_model(model: Any) -> None:
    """Refuse what is not a model, with one that may be meant."""
    if isinstance(model, Model):
        return
    hint = "such as sd.SmoothingSpline(order=3)"
    if isinstance(model, type):
        name = f"the class {model.__name__}"
        hint = f"as {model.__name__}() is" if issubclass(model, Model) else hint
    else:
        name = said(model)
        hint = "as sd.GaussianProcess(kernel) is" if hasattr(model, "cov") else hint
    raise TypeError(f"model: {name} is not a model, {hint}")


def missing_noise(noise: Noise | None, data: Observations) -> tuple[Order, ...]:
    """Return the orders whose noise level neither the data nor the model gives."""
    return tuple(order for order in data.estimated_orders if order not in (noise or {}))


def levels_sharing(noise: Noise | None, data: Observations, free: int) -> int:
    """Return how many unknown noise levels share the rows with others: all of them, or none.

    Each of these has the prior density ``p(level) = level`` in tuning. Without it the best level of
    a few rows is often none at all, as a curve that meets them costs little. One level that all
    rows have in common stands in no such danger; nor can as few rows as meet the `free`
    coefficients of a polynomial and the levels tell any of them.

    References
    ----------
    Chung, Rabe-Hesketh, Dorie, Gelman and Liu (2013), doi:10.1007/s11336-013-9328-2, section 3:
    the gamma distribution of shape 2, in the limit of rate 0.
    """
    unknown = missing_noise(noise, data)
    noisy = np.count_nonzero(~data.exact)
    told = sum(np.count_nonzero(data.is_of(order) & data.estimated) for order in unknown)
    sharing = len(unknown) > 1 or told < noisy
    return len(unknown) if sharing and noisy > free + len(unknown) else 0


def require_one_scale(noise: Noise | None, data: Observations) -> None:
    """Refuse generalised cross-validation where noise is not known up to one common factor.

    Levels of their own have no best value there: rows of one order may be met ever more closely.
    """
    unknown = missing_noise(noise, data)
    known = ~data.exact
    for order in unknown:
        known &= ~(data.estimated & data.is_of(order))
    names = [f"noise[{order}]" for order in unknown] + ["rows of known noise"] * bool(known.any())
    if unknown and len(names) > 1:
        raise ValueError(
            f"criterion: 'gcv' knows one common scale of the noise, but {' and '.join(names)} "
            "differ; use criterion='evidence' or 'loo', or give the levels"
        )


def require_observations(data: Any) -> None:
    """Refuse data that are not observations, and say how to come in with them."""
    door = "give sd.observe(x, y), or use sd.differentiate(x, y)"
    if hasattr(data, "columns"):
        door = "give sd.Observations.from_frame(table, x='t', y={'pos': 0}), by its columns"
    require_kind(data, Observations, "data", f"Observations; {door}")


def require_rows(data: Observations) -> None:
    """Refuse to fit no rows at all, or what is not rows."""
    require_observations(data)
    if not len(data):
        missing = f" ({data.n_missing} rows were missing)" if data.n_missing else ""
        raise ValueError(f"data: there is no row to fit{missing}; give at least one observation")


def require_known(model: Model, data: Observations) -> None:
    """Refuse to condition a model with unknown fields, or on no rows at all."""
    require_rows(data)
    names = model.unknown(data)
    if names:
        raise ValueError(
            f"{', '.join(names)}: unknown. Estimate with sd.tune(model, data).condition(data), or "
            f"give {'it' if len(names) == 1 else 'them'} to {type(model).__name__}(...)"
        )


def settled_noise(noise: Any, *, zero: bool = False) -> Levels | None:
    """Return noise levels as they are now; refuse what is not positive, or 0 with `zero`."""
    if noise is None:
        return None
    if not isinstance(noise, Mapping):
        raise ValueError(f"noise: {noise!r} is not a mapping; give one such as {{0: 0.1, 1: 0.3}}")
    for order, level in noise.items():
        if not (0 < level < float("inf") or (zero and level == 0)):
            wanted = "finite and not negative" if zero else "positive and finite"
            raise ValueError(
                f"noise: the level of order {order} is {said(level)}, but it must be {wanted}; "
                "exact rows are given as yerr=0 to observe()"
            )
    return Levels(noise)
