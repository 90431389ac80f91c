"""One tuning for many series: the sum of their criteria is minimised."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv.minimiser import Minimiser, Search
from smoothderiv.model import Model, SearchedModel
from smoothderiv.observations import Observations
from smoothderiv.panels._series import Series
from smoothderiv.tuning import Tuning, best_candidate, reported

Array = NDArray[np.float64]

_MOST = 32  # series that say what is common to all
_KIND = "evidence"


def tune_together(model: Model | None, series: Sequence[Series], nu: int = 0) -> Model:
    """Return `model` with the unknown fields filled that suit the series together.

    By default a smoothing spline that has the derivatives observed, and `nu`.
    The criterion is the sum of theirs. Where that of a series leaves the scale of its noise free
    (all of its noise is unknown), the squares of the scales found are averaged by numbers of rows.
    """
    chosen = np.unique(np.linspace(0, len(series) - 1, _MOST).round().astype(int))
    data = [found for found in (_usable(series[i]) for i in chosen) if found is not None]
    if model is None:
        from smoothderiv.statespace.smoother import SmoothingSpline

        highest = max([nu, *(int(rows.nu.max()) for rows in data)])
        model = SmoothingSpline(order=max(3, highest + 1))
    if data and not model.unknown(data[0]):
        return model
    if not isinstance(model, SearchedModel):
        raise ValueError(
            f"share: {type(model).__name__} is tuned series by series alone, since its parts are "
            "weighed by what each series says; leave share out, or give one engine such as "
            "sd.SmoothingSpline(order=3)"
        )
    data = [rows for rows in data if _suits(model, rows)]
    if not data:
        raise ValueError("share: no series to tune on; without share each one's error says why")
    batches = model.candidates(data[0], _KIND)
    best, tried, _ = best_candidate(batches, lambda candidate: _tuned(candidate, data))
    if best is None:
        raise ValueError(f"share: the series do not tune {model} together; leave share out")
    return reported(best, tried)


def _usable(series: Series) -> Observations | None:
    """Return the rows of a series, None if something is wrong with them."""
    try:
        data = series.observations()
    except ValueError:
        return None
    return data if len(data) else None


def _suits(model: SearchedModel, data: Observations) -> bool:
    """Tell whether a model can be tuned on a series."""
    try:
        candidate = next(iter(next(iter(model.candidates(data, _KIND)))))
        if candidate.unknown(data):
            candidate.search(data, _KIND)
    except (ValueError, StopIteration):
        return False
    return True


def _tuned(model: SearchedModel, data: list[Observations]) -> tuple[SearchedModel, float]:
    """Fill the continuous unknowns of one candidate; return it and its merit."""
    if model.unknown(data[0]):
        searches = [model.search(rows, _KIND) for rows in data]
        joint = _joint(searches)
        optimum = Minimiser(joint).run()
        point = optimum.point
        report = Tuning(
            _KIND,
            joint.names,
            point,
            optimum.loss,
            optimum.gradient,
            joint.words_at(point),
            optimum.curve,
        )
        weights = [len(rows) for rows in data]
        model = _pooled([search.fill(point) for search in searches], weights)
        model = dataclasses.replace(model, tuning=report)  # type: ignore[type-var]
        return model, -optimum.loss
    return model, sum(model.merit(rows, _KIND) for rows in data)


def _joint(searches: list[Search]) -> Search:
    """Return the sum of searches; beyond its own range each is constant."""
    first = searches[0]
    if any(search.names != first.names for search in searches):
        raise ValueError(
            "share: the series differ in what is unknown of them (orders observed, or noise "
            "given); tune each for itself, without share"
        )

    def loss(point: Array) -> tuple[float, Array]:
        total, slope = 0.0, np.zeros(len(point))
        for search in searches:
            inside = np.clip(point, search.lower, search.upper)
            value, gradient = search.loss(inside)
            total += value
            slope += np.where(inside == point, gradient, 0.0)
        return total, slope

    own = np.array([_start(search) for search in searches])
    starts = np.unique(np.quantile(own, [0.0, 0.25, 0.5, 0.75, 1.0], axis=0), axis=0)
    ends = first.ends if all(s.ends == first.ends for s in searches) else (("", ""),) * own.shape[1]
    return Search(
        names=first.names,
        starts=starts,
        lower=np.min([search.lower for search in searches], axis=0),
        upper=np.max([search.upper for search in searches], axis=0),
        ends=ends,
        loss=loss,
        fill=first.fill,
    )


def _start(search: Search) -> Array:
    """Return the best starting point of a search."""
    starts = np.clip(np.atleast_2d(search.starts), search.lower, search.upper)
    return np.asarray(starts[np.argmin([search.loss(start)[0] for start in starts])])


def _pooled(models: list[SearchedModel], weights: list[int]) -> SearchedModel:
    """Return one model for models that differ by the scale of their noise alone.

    Averaged by weight are the squares of noise levels and the fields that are proportional to
    these, such as q; what is the same in all stays as it is.
    """
    first, share = models[0], np.array(weights) / sum(weights)
    changed: dict[str, Any] = {}
    for item in dataclasses.fields(first):  # type: ignore[arg-type]
        values = [getattr(model, item.name) for model in models]
        if isinstance(values[0], float) and any(value != values[0] for value in values):
            changed[item.name] = float(share @ np.array(values))
    if any(model.noise != first.noise for model in models):
        changed["noise"] = {
            order: float(np.sqrt(share @ np.square([(m.noise or {})[order] for m in models])))
            for order in first.noise or {}
        }
    return dataclasses.replace(first, **changed) if changed else first  # type: ignore[type-var]
