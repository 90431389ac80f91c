"""What is fitted when no model is given."""

from __future__ import annotations

import numpy as np

from smoothderiv.average import ModelAverage
from smoothderiv.gp import kernels
from smoothderiv.gp.kernel import Kernel
from smoothderiv.gp.process import GaussianProcess
from smoothderiv.gp.radial import Scale
from smoothderiv.gp.unknowns import least_scale
from smoothderiv.model import Model, UndeterminedError, require_rows
from smoothderiv.noise.correlated import correlated_models
from smoothderiv.observations import Observations
from smoothderiv.splines.regression import RegressionSpline
from smoothderiv.statespace.adaptive import AdaptiveSpline

_TELLING = 4  # distinct rows from which on smoothness is weighed
_TELLING_NOISE = 8  # rows from which on it is, if a noise level is unknown
_SEEN = 1.5  # distances of neighbours: at smaller scales a process passes for white noise
_SEEN_BESIDE = 1.0  # the same where neighbours lie on all sides


def default_model(data: Observations, nu: int = 2, correlated: bool = False) -> ModelAverage:
    """Return the model that :func:`smoothderiv.smooth` tunes when none is given.

    For x of one dimension the average of all that has the derivatives observed and asked: adaptive
    splines of order 2 and 3 (4 for third derivatives; a penalised regression spline for higher
    ones), and Gaussian processes of scales that the places can see: squared exponential about a
    free constant, and Matern 5/2 (7/2 for third derivatives: both would say almost the same twice)
    about a free line. (About constants alone, intervals of small slopes would be too narrow; about
    lines alone, those of small curvatures.)
    Fewer than 4 distinct rows (or 8 rows, if a noise level is unknown) tell no smoothness: they are
    met by a regression spline with as high a penalty as they determine. For x of more dimensions
    the average of Gaussian processes of Matern and rational quadratic covariance, a mixture of
    squared exponentials of many lengths, which becomes the one that suffices, both about free
    constants; their scales are bounded as above where any row has noise. With `correlated` noise
    :func:`smoothderiv.noise.correlated.correlated_models`.
    """
    highest = max(nu, int(np.atleast_2d(data.nu.T).sum(axis=0).max(initial=0)))
    if correlated:
        return ModelAverage(correlated_models(data, highest))
    if data.ndim > 1:
        require_rows(data)
        _require_surface(data)
        scales = None if data.exact.all() else least_scale(data, _SEEN_BESIDE)
        both = (*_rough(highest, scales), kernels.RationalQuadratic(scales))
        return ModelAverage(tuple(GaussianProcess(k, mean="constant") for k in both))
    rows, unknown = _distinct(data, _TELLING_NOISE), len(data.estimated_orders)
    if rows < _TELLING or (unknown and len(data) < _TELLING_NOISE):
        return ModelAverage((_regression(highest, min(rows, len(data) - unknown)),))
    models: list[Model] = [AdaptiveSpline(m) for m in (2, 3) if m > highest]
    if not models:
        models = [AdaptiveSpline(4) if highest == 3 else _regression(highest, rows)]
    if data.is_of(0).any():
        scale = least_scale(data, _SEEN)
        models.append(GaussianProcess(kernels.SquaredExponential(scale), mean="constant"))
        models += [GaussianProcess(kernel, mean="linear") for kernel in _rough(highest, scale)]
    return ModelAverage(tuple(models))


def _rough(highest: int, scale: Scale) -> list[Kernel]:
    """Return the roughest kernel from Matern 5/2 on that has the derivatives, 7/2 at most."""
    found: tuple[Kernel, ...] = (kernels.Matern52(scale), kernels.Matern72(scale))
    return [kernel for kernel in found if kernel.smoothness >= highest][:1]


def _require_surface(data: Observations) -> None:
    """Refuse rows that tell no smoothness, and dimensions along which nothing is said at all."""
    least = data.ndim + 2 + bool(len(data.estimated_orders))  # one more than a plane, or the noise
    rows = _distinct(data, least)
    if rows < least:
        raise UndeterminedError(
            f"data: {rows} distinct rows tell no smoothness in {data.ndim} dimensions, for which "
            f"{least} are needed; add rows, or give a model such as GaussianProcess("
            "kernels.Matern52(scale, sigma), noise={0: level})"
        )
    silent = (np.ptp(data.x, axis=0) == 0) & ~data.nu.any(axis=0)
    if silent.any():
        axis = int(np.argmax(silent))
        raise UndeterminedError(
            f"x: dimension {axis} is {data.x[0, axis]:g} in all of {len(data)} rows, which say "
            "nothing of how f varies along it; leave it out, or add rows elsewhere along it"
        )


def _distinct(data: Observations, enough: int) -> int:
    """Return how many distinct rows there are, which replicates add nothing to; or `enough`."""
    if data.ndim == 1 and len(data.places) >= enough:
        return enough
    rows = np.unique(np.column_stack((data.x, data.nu)), axis=0)
    return min(len(rows), enough)


def _regression(highest: int, rows: int) -> Model:
    """Return the penalised regression spline for derivatives up to `highest` of so many rows."""
    order = min(max(3, highest + 1), max(rows, 1))
    return RegressionSpline(degree=max(5, highest + 3), lam=None, order=order)
