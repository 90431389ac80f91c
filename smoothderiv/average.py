"""ModelAverage: several models weighed by what they predict for the rows left out."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy import special

from smoothderiv._labels import label
from smoothderiv._threads import each
from smoothderiv._validate import said
from smoothderiv._warn import Told, held, warn
from smoothderiv.binning import telling
from smoothderiv.mixture import AveragedPosterior
from smoothderiv.model import (
    Model,
    Noise,
    SelfTunedModel,
    UnsuitableError,
    require_known,
    require_model,
)
from smoothderiv.observations import Observations
from smoothderiv.posterior import Array
from smoothderiv.tuning import Spread, Tuning, TuningWarning, tune_spread

_NEGLIGIBLE = 1e-3  # a weight below it costs more time than it changes the answer


@dataclass(frozen=True)
class ModelAverage(SelfTunedModel):
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
    its own ``tuning.ends`` say so, and a warning says of which orders the members that are kept
    leave no noise. Exact rows are conditions and count for nothing, but where no row has noise they
    are what is left out.

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
        if not isinstance(self.models, Iterable):
            raise TypeError(
                f"models: {said(self.models)} is not several; give a tuple, such as (first, second)"
            )
        models = tuple(self.models)
        if not models:
            raise ValueError("models: there is none; give at least one model")
        for model in models:
            require_model(model)
        object.__setattr__(self, "models", models)
        if self.weights is not None:
            weights = np.asarray(self.weights, dtype=float)
            if weights.shape != (len(models),) or not (np.isfinite(weights) & (weights > 0)).all():
                raise ValueError(
                    f"weights: {said(self.weights)}, but one positive number is needed for each of "
                    f"the {len(models)} models"
                )
            total = float(weights.sum())
            rounding = len(weights) * np.finfo(float).eps  # scaled weights stay as they are
            scaled = weights if abs(total - 1.0) <= rounding else weights / total
            object.__setattr__(self, "weights", tuple(scaled.tolist()))

    @property
    def noise(self) -> Noise | None:  # type: ignore[override]
        """None: each member has its own."""
        return None

    def shares(self) -> tuple[str, ...]:
        """Return the kinds of the members with their weights in percent, heaviest first."""
        weights = self.weights or [1.0 / len(self.models)] * len(self.models)
        total: dict[str, float] = {}
        for model, weight in zip(self.models, weights, strict=True):
            name = label(model)
            total[name] = total.get(name, 0.0) + weight
        ranked = sorted(total.items(), key=lambda item: -item[1])
        return tuple(f"{100 * weight:.3g} % {name}" for name, weight in ranked)

    def leader(self, tuned: ModelAverage) -> Model:
        """Return the member, as it is here, that weighs most in the average tuned from this."""
        assert tuned.weights is not None
        every = range(len(self.models))
        kept = every if tuned is self else tuned._kept  # as it is, where nothing was to be tuned
        return self.models[int(np.bincount(kept, tuned.weights).argmax())]

    def condition(self, data: Observations) -> AveragedPosterior:
        """Return the mixture of the members' posteriors; see :meth:`.Model.condition`."""
        require_known(self, data)
        assert self.weights is not None
        members = each(lambda model: model.condition(data), self.models, len(data))
        return AveragedPosterior(data, self, tuple(members), np.array(self.weights))

    def unknown(self, data: Observations) -> tuple[str, ...]:
        """Return the names of the unknown fields of the members, and of the weights."""
        names = [
            f"models[{k}].{name}"
            for k, model in enumerate(self.models)
            for name in model.unknown(data)
        ]
        return (*names, *(["weights"] if self.weights is None else []))

    def tuned(self, data: Observations, criterion: str) -> ModelAverage:
        """Return the average in which every member is tuned and weighed."""
        members, log_density = _tune_members(self.models, data, criterion, self.spread)
        scores = _scores(log_density) - [member.tuned.flattery for member in members]
        if self.weights is None:
            logs = scores - special.logsumexp(scores)
        else:
            kept = np.array([self.weights[member.index] for member in members])
            logs = np.log(kept / kept.sum())
        keep = np.flatnonzero(logs >= math.log(_NEGLIGIBLE))
        for k in keep:
            for one in members[k].told:
                one.warn()
        weights = np.exp(logs[keep] - special.logsumexp(logs[keep]))
        _tell_of_no_noise([members[k] for k in keep], weights)
        report = Tuning(
            criterion,
            names=(),
            log_values=np.zeros(0),
            loss=-float(weights @ scores[keep]),
            gradient=np.zeros(0),
            ends=(),
            curve=(np.zeros((0, 0)), np.zeros(0)),
            tried=tuple((label(m.tuned), float(s)) for m, s in zip(members, scores, strict=True)),
        )
        chosen = [(members[k], *members[k].spread()) for k in keep]
        return dataclasses.replace(
            self,
            models=tuple(model for _, models, _ in chosen for model in models),
            weights=tuple(
                float(weight * share)
                for weight, (_, _, shares) in zip(weights, chosen, strict=True)
                for share in shares
            ),
            tuning=report,
            _kept=tuple(member.index for member, models, _ in chosen for _ in models),
        )


@dataclass(frozen=True)
class _Member:
    """One tuned member: where it stood, and what was warned besides the ends of its range.

    `spread` finds the models that stand for its uncertainty, the tuned one first, and their shares.
    """

    index: int
    tuned: Model
    spread: Spread
    told: tuple[Told, ...]


def _tell_of_no_noise(members: list[_Member], weights: Array) -> None:
    """Warn, once for all members, of the orders of which some of them leave no noise."""
    share: dict[str, float] = {}
    for member, weight in zip(members, weights.tolist(), strict=True):
        for words in () if member.tuned.has_noise else member.tuned.at_ends:
            if words.endswith(": no noise"):
                share[words] = share.get(words, 0.0) + weight
    if share:
        orders = "; ".join(f"{words} in {100 * part:.3g} %" for words, part in share.items())
        warn(
            f"members of the average meet rows of unknown noise to rounding ({orders} of the "
            "weight), and have intervals of next to no width there. If you expect noise, give "
            "yerr, or add rows",
            TuningWarning,
        )


def _tune_members(
    models: tuple[Model, ...], data: Observations, criterion: str, spread: bool
) -> tuple[list[_Member], Array]:
    """Tune each member by itself, and return them with what they predict for places left out.

    Those that cannot hold the data are passed over.
    """
    members: list[_Member] = []
    refusals: list[UnsuitableError] = []
    few = telling(data)
    for index, model in enumerate(models):
        with held() as told:
            try:
                tuned, several = tune_spread(model, few, criterion)
            except UnsuitableError as error:
                refusals.append(error)
                continue
        found = several if spread else functools.partial(_alone, tuned)
        ends = "; ".join(tuned.at_ends)
        besides = tuple(one for one in told if not ends or ends not in str(one.message))
        members.append(_Member(index, tuned, found, besides))
    densities = each(lambda member: _log_predictive(member.tuned, data), members, len(data))
    refusals += [found for found in densities if isinstance(found, UnsuitableError)]
    able = [k for k, found in enumerate(densities) if not isinstance(found, UnsuitableError)]
    if not able:
        raise refusals[0]
    return [members[k] for k in able], np.array([densities[k] for k in able])


def _log_predictive(model: Model, data: Observations) -> Array | UnsuitableError:
    """Return the log densities of the places left out, or why the model cannot hold the data."""
    try:
        return model.condition(data).log_predictive()
    except UnsuitableError as error:
        return error


def _alone(model: Model) -> tuple[tuple[Model, ...], Array]:
    return (model,), np.ones(1)


def _scores(log_density: Array) -> Array:
    """Return each member's sum over the places that at least one member can predict."""
    predicted = np.isfinite(log_density).any(axis=0)
    scores = log_density[:, predicted].sum(axis=1)
    return scores if np.isfinite(scores).any() else np.zeros(len(scores))
