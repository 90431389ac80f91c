"""ModelAverage: several models weighed by what they predict for the rows left out."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from smoothderiv.leave_one_out import LeaveOneOut
from smoothderiv.model import Model, Noise, UnsuitableError, require_known
from smoothderiv.observations import Observations
from smoothderiv.posterior import Array, Orders, Posterior
from smoothderiv.tuning import Search, Tuning, TuningWarning, tune, tune_spread

_NEGLIGIBLE = 1e-3  # a weight below it costs more time than it changes the answer


@dataclass(frozen=True)
class ModelAverage(Model):
    """Several models at once, each with a weight: a mixture of their posteriors.

    Tuning fills the unknown fields of each member by itself and then the weights, by the log
    densities that each member predicts for the rows left out,

        weight_k  proportional to  exp(sum_i log p_k(y_i | all rows but those of the same place
        and order)),

    which, unlike the evidence under diffuse starts of different orders, may be compared across
    members ("pseudo-Bayesian model averaging"). Members that cannot hold the data, and those with
    a weight below 0.001, are left out.

    With `spread`, each tuned member is then replaced by a few of its kind whose parameters stand
    for how well the data determine them (:func:`smoothderiv.tuning.tune_spread`), so that the
    posterior is not conditional on what was tuned: ``ModelAverage((model,))`` does so for one
    model. A member that is best at an end of its range (no noise, a straight line) is taken there;
    its own ``tuning.ends`` say so.

    The posterior is the mixture: its mean is the weighted mean, its variance holds the spread
    between the members' means, and a sample path is a path of one member.

    Parameters
    ----------
    models : tuple of Model
    weights : tuple of float, optional
        Positive, scaled to sum to 1; None has them tuned.
    spread : bool
        Whether tuning is to integrate over the tuned parameters of the members.

    Raises
    ------
    ValueError
        No members, or weights that are not one positive number for each.

    References
    ----------
    Geisser and Eddy (1979), doi:10.1080/01621459.1979.10481632; Yao, Vehtari, Simpson and Gelman
    (2018), doi:10.1214/17-BA1091, section 3.4.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> x = np.linspace(0, 1, 50)
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal(50)
    >>> data = sd.observe(x, np.sin(6 * x) + noise)
    >>> models = sd.ModelAverage((sd.SmoothingSpline(2), sd.SmoothingSpline(3)))
    >>> post = sd.smooth(data, models)
    >>> abs(sum(post.model.weights) - 1) < 1e-12
    True
    """

    models: tuple[Model, ...]
    weights: tuple[float, ...] | None = None
    spread: bool = True
    tuning: Tuning | None = dataclasses.field(default=None, compare=False, repr=False)
    _kept: tuple[int, ...] = dataclasses.field(default=(), compare=False, repr=False)

    def __post_init__(self) -> None:
        models = tuple(self.models)
        if not models:
            raise ValueError("models: there is none; give at least one model")
        object.__setattr__(self, "models", models)
        if self.weights is not None:
            weights = np.asarray(self.weights, dtype=float)
            if weights.shape != (len(models),) or not (np.isfinite(weights) & (weights > 0)).all():
                raise ValueError(
                    f"weights: {self.weights!r}, but one positive number is needed for each of the "
                    f"{len(models)} models"
                )
            object.__setattr__(self, "weights", tuple((weights / weights.sum()).tolist()))

    @property
    def noise(self) -> Noise | None:  # type: ignore[override]
        """None: each member has its own."""
        return None

    def shares(self) -> tuple[str, ...]:
        """Return the kinds of the members with their weights in percent, heaviest first."""
        weights = self.weights or [1.0 / len(self.models)] * len(self.models)
        total: dict[str, float] = {}
        for model, weight in zip(self.models, weights, strict=True):
            name = _kind(model)
            total[name] = total.get(name, 0.0) + weight
        ranked = sorted(total.items(), key=lambda item: -item[1])
        return tuple(f"{100 * weight:.3g} % {name}" for name, weight in ranked)

    def leader(self, tuned: ModelAverage) -> Model:
        """Return the member, as it is here, that weighs most in the average tuned from this."""
        assert tuned.weights is not None
        return self.models[tuned._kept[int(np.argmax(tuned.weights))]]

    def condition(self, data: Observations) -> AveragedPosterior:
        """Return the mixture of the members' posteriors; see :meth:`.Model.condition`."""
        require_known(self, data)
        assert self.weights is not None
        return AveragedPosterior(
            data, self, tuple(m.condition(data) for m in self.models), np.array(self.weights)
        )

    def unknown(self, data: Observations) -> tuple[str, ...]:
        """Return the names of the unknown fields of the members, and of the weights."""
        names = [
            f"models[{k}].{name}"
            for k, model in enumerate(self.models)
            for name in model.unknown(data)
        ]
        return (*names, *(["weights"] if self.weights is None else []))

    def candidates(self, data: Observations, criterion: str) -> Iterable[Iterable[Model]]:
        """Yield the one average in which every member is tuned and weighed."""
        yield [self._tuned(data, criterion)]

    def search(self, data: Observations, criterion: str) -> Search:
        """Refuse: nothing is left to search once the members are tuned."""
        raise NotImplementedError("the members are searched one by one")

    def merit(self, data: Observations, criterion: str) -> float:
        """Return what the weighed members predict for the rows left out, in nats."""
        return 0.0 if self.tuning is None else -self.tuning.loss

    def _tuned(self, data: Observations, criterion: str) -> ModelAverage:
        members = list(_tune_members(self.models, data, criterion, self.spread))
        scores = _scores(np.array([member.log_density for member in members]))
        if self.weights is None:
            logs = scores - special.logsumexp(scores)
        else:
            kept = np.array([self.weights[member.index] for member in members])
            logs = np.log(kept / kept.sum())
        keep = np.flatnonzero(logs >= math.log(_NEGLIGIBLE))
        for k in keep:
            members[k].repeat_warnings()
        weights = np.exp(logs[keep] - special.logsumexp(logs[keep]))
        report = Tuning(
            criterion,
            names=(),
            log_values=np.zeros(0),
            loss=-float(weights @ scores[keep]),
            gradient=np.zeros(0),
            ends=(),
            curve=(np.zeros((0, 0)), np.zeros(0)),
            tried=tuple(
                (repr(m.models[0]), float(s)) for m, s in zip(members, scores, strict=True)
            ),
        )
        chosen = [members[k] for k in keep]
        return dataclasses.replace(
            self,
            models=tuple(itertools.chain.from_iterable(m.models for m in chosen)),
            weights=tuple(
                float(w * share) for w, m in zip(weights, chosen, strict=True) for share in m.shares
            ),
            tuning=report,
            _kept=tuple(m.index for m in chosen for _ in m.models),
        )


def _kind(model: Model) -> str:
    """Name a model by its class and by what is not tuned, as far as it is whole or a kernel."""
    words = []
    for item in dataclasses.fields(model):  # type: ignore[arg-type]
        value = getattr(model, item.name)
        if isinstance(value, int) and not isinstance(value, bool):
            words.append(f"{item.name}={value}")
        elif item.name == "kernel":
            words.append(type(value).__name__)
    return f"{type(model).__name__}({', '.join(words)})"


@dataclass(frozen=True)
class _Member:
    """One tuned member: where it stood, what it predicts for places left out, what was warned.

    `models` are the tuned one and those that stand for its uncertainty, with their `shares`.
    """

    index: int
    models: tuple[Model, ...]
    shares: Array
    log_density: Array
    told: tuple[warnings.WarningMessage, ...]

    def repeat_warnings(self) -> None:
        for warning in self.told:
            warnings.warn(warning.message, warning.category, stacklevel=6)


def _tune_members(
    models: tuple[Model, ...], data: Observations, criterion: str, spread: bool
) -> Iterator[_Member]:
    """Tune each member by itself; those that cannot hold the data are passed over."""
    refusal: UnsuitableError | None = None
    count = 0
    for index, model in enumerate(models):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always", TuningWarning)
            try:
                if spread:
                    tuned, shares = tune_spread(model, data, criterion)
                else:
                    tuned, shares = (tune(model, data, criterion),), np.ones(1)
                density = tuned[0].condition(data).log_predictive()
            except UnsuitableError as error:
                refusal = refusal or error
                continue
        count += 1
        at_end = tuned[0].tuning is not None and bool(tuned[0].tuning.ends)
        yield _Member(index, tuned, shares, density, () if at_end else tuple(told))
    if not count:
        assert refusal is not None
        raise refusal


def _scores(log_density: Array) -> Array:
    """Return each member's sum over the places that at least one member can predict."""
    predicted = np.isfinite(log_density).any(axis=0)
    scores = log_density[:, predicted].sum(axis=1)
    return scores if np.isfinite(scores).any() else np.zeros(len(scores))


@dataclass(frozen=True)
class AveragedPosterior(Posterior):
    """A mixture of posteriors of the same data: ``sum_k weight_k N(mean_k, cov_k)``.

    The covariance of two answers a, b is

        sum_k weight_k (cov_k(a, b) + (mean_k(a) - mean(a)) (mean_k(b) - mean(b))).

    Pointwise intervals take the mixture as if it were Gaussian (or Student's) with that covariance;
    simultaneous bands count how often each member leaves them. `noise`, `edf`, `log_evidence` and
    leverages are weighted means of the members' (of squares, for `noise`).

    Attributes
    ----------
    members : tuple of Posterior
    weights : (K,) array, positive, of sum 1
    """

    data: Observations
    model: ModelAverage
    members: tuple[Posterior, ...]
    weights: Array

    @functools.cached_property
    def noise(self) -> Noise:  # type: ignore[override]
        """The root mean square of the members' noise levels."""
        squares = {o: [m.noise[o] ** 2 for m in self.members] for o in self.members[0].noise}
        return {order: math.sqrt(float(self.weights @ s)) for order, s in squares.items()}

    @functools.cached_property
    def log_evidence(self) -> float:  # type: ignore[override]
        """The weighted mean of the members' log evidence, in nats."""
        return float(self.weights @ [m.log_evidence for m in self.members])

    @functools.cached_property
    def edf(self) -> float:  # type: ignore[override]
        """The weighted mean of the members' effective degrees of freedom."""
        return float(self.weights @ [m.edf for m in self.members])

    @functools.cached_property
    def dof(self) -> float:  # type: ignore[override]
        """The weighted harmonic mean of the members' degrees of freedom."""
        rate = float(self.weights @ [1.0 / m.dof for m in self.members])
        return 1.0 / rate if rate > 0 else math.inf

    @property
    def highest_order(self) -> float:
        """The highest order that every member has."""
        return min(m.highest_order for m in self.members)

    def loo(self) -> LeaveOneOut:
        """Return what the mixture predicts for each row without it, at the present weights."""
        left = [m.loo() for m in self.members]
        mean = self._weighted([one.mean for one in left])
        spread = [one.std**2 + (one.mean - mean) ** 2 for one in left]
        density = special.logsumexp(
            [one.log_density for one in left], axis=0, b=self.weights[:, None]
        )
        return LeaveOneOut(mean, np.sqrt(self._weighted(spread)), self.data.y - mean, density)

    def _weighted(self, parts: Sequence[Array] | Array) -> Array:
        total: Array = np.tensordot(self.weights, np.asarray(parts), axes=1)
        return total

    def _means(self, x: Array, nu: Orders) -> tuple[Array, Array]:
        """Return the mean, and how far each member's is from it: (n,) and (K, n)."""
        parts = np.array([m._mean(x, nu) for m in self.members])
        mean = self._weighted(parts)
        return mean, parts - mean

    def _mean(self, x: Array, nu: Orders) -> Array:
        return self._means(x, nu)[0]

    def _var(self, x: Array, nu: Orders) -> Array:
        inside = self._weighted([m._var(x, nu) for m in self.members])
        return inside + self._weighted(self._means(x, nu)[1] ** 2)

    def _cov(self, x: Array, nu: Orders, x2: Array, nu2: Orders) -> Array:
        inside = self._weighted([m._cov(x, nu, x2, nu2) for m in self.members])
        apart, apart2 = self._means(x, nu)[1], self._means(x2, nu2)[1]
        between: Array = (self.weights[:, None] * apart).T @ apart2
        return inside + between

    def _joint(self, x: Array, orders: Orders) -> Array:
        inside = self._weighted([m._joint(x, orders) for m in self.members])
        apart = np.zeros((len(orders), len(self.members), len(x)))
        for part, order in zip(apart, orders, strict=True):
            if np.sum(order) <= self.highest_order:  # beyond, some members have no mean
                part[:] = self._means(x, np.broadcast_to(order, x.shape))[1]
        between: Array = np.einsum("k,pkn,qkn->npq", self.weights, apart, apart)
        return inside + between

    def _parts(self) -> Sequence[tuple[float, Posterior]]:
        return tuple(zip(self.weights.tolist(), self.members, strict=True))

    def _diffusion(self, nu: int) -> float:
        parts = [m._diffusion(nu) if nu <= m.highest_order else 0.0 for m in self.members]
        return float(self.weights @ parts)

    def _jumps(self, nu: int) -> Array:
        return np.unique(np.concatenate([m._jumps(nu) for m in self.members]))

    def _sample(self, x: Array, nu: Orders, size: int, rng: np.random.Generator) -> Array:
        counts = rng.multinomial(size, self.weights)
        drawn = zip(self.members, counts, strict=True)
        paths = np.concatenate([m._sample(x, nu, c, rng) for m, c in drawn if c])
        return np.asarray(rng.permutation(paths), dtype=float)

    def _integral(self, a: float, b: float) -> tuple[float, float]:
        means, variances = np.array([m._integral(a, b) for m in self.members]).T
        mean = float(self.weights @ means)
        return mean, float(self.weights @ (variances + (means - mean) ** 2))

    def _leverage(self) -> Array:
        return self._weighted([m._leverage() for m in self.members])
