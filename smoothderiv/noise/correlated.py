"""Noise whose errors hang together: is there any, and the models that take it into account."""

from __future__ import annotations

import math

import numpy as np

from smoothderiv.gp.kernel import Kernel
from smoothderiv.gp.kernels import Matern12, Matern52, Matern72, Nuisance, SquaredExponential
from smoothderiv.gp.process import GaussianProcess
from smoothderiv.gp.unknowns import least_scale, neighbours, thinned
from smoothderiv.mixture import AveragedPosterior
from smoothderiv.model import Model
from smoothderiv.observations import Observations
from smoothderiv.statespace.adaptive import AdaptiveSpline
from smoothderiv.tuning import fit_quietly

_TELLING = 40  # values from which on neighbours tell
_ENOUGH = 1000  # rows that tell
_FLEXIBLE = 40  # effective number of parameters from which on noise may be what is followed
_BY_MATRIX = 1000  # rows up to which kernels are taken that need the matrix
_SEEN = 5.0  # distances of neighbours: at smaller scales a process passes for such noise
_ROUGH = 0.6  # weight of the roughest members from which on correlation is looked for


def correlated_models(data: Observations) -> tuple[Model, ...]:
    """Return models of f with correlated noise of the values: Matern 7/2, squared exponential.

    The noise beside the white one is an Ornstein-Uhlenbeck process (``Matern12``; AR(1) at even
    steps), whose variance and correlation length are tuned with the curve. The scale of the curve
    is at least 5 times the distance of neighbours, as :class:`.AtLeast` has it: a quicker one would
    be such noise by another name. The squared exponential takes the matrix of all rows, and is left
    out for more than 1000; the rest is O(n).
    """
    mean = "constant" if data.is_of(0).any() else 0.0
    scale = least_scale(data, _SEEN)
    beliefs = (Matern72(scale), SquaredExponential(scale))[: 2 if len(data) <= _BY_MATRIX else 1]
    return tuple(GaussianProcess(kernel + Nuisance(Matern12()), mean=mean) for kernel in beliefs)


def correlation_gain(post: AveragedPosterior) -> float:
    """Return by how many nats correlated noise explains the values better, beyond its price.

    The log evidence of Matern 7/2 with an Ornstein-Uhlenbeck nuisance, less that of the better of
    Matern 5/2 and squared exponential without, less ``log n`` for the two numbers more (Schwarz's
    criterion); on at most 1000 neighbouring rows, and on as many spread over all, whichever is
    more. Minus infinity where that is not asked: few values, several dimensions, or an average that
    its roughest members do not lead or that is stiff (an effective number of parameters below 40
    and a tenth of the values): both follow such noise best.

    References
    ----------
    Schwarz (1978), doi:10.1214/aos/1176344136.
    """
    data = post.data
    if data.ndim > 1 or (values := int(data.is_of(0).sum())) < _TELLING:
        return -math.inf
    rough = float(post.weights @ [_is_rough(model) for model in post.model.models])
    if rough < _ROUGH or post.edf < min(values / 10, _FLEXIBLE):
        return -math.inf
    samples = [neighbours(data, _ENOUGH)]
    if len(data) > 2 * _ENOUGH:
        samples.append(thinned(data, _ENOUGH))
    return max(_gain(data[np.sort(rows)]) for rows in samples)


def _gain(data: Observations) -> float:
    values = data.y[data.is_of(0)]
    if len(values) < _TELLING:
        return -math.inf
    mean = float(np.mean(values))

    def evidence(kernel: Kernel) -> float:
        return fit_quietly(GaussianProcess(kernel, mean=mean), data).log_evidence

    plain = max(evidence(kernel) for kernel in (Matern52(), SquaredExponential()))
    return evidence(Matern72() + Nuisance(Matern12())) - plain - math.log(len(data))


def _is_rough(model: Model) -> bool:
    """Tell whether a member of the default is of its roughest."""
    if isinstance(model, GaussianProcess):
        return isinstance(model.kernel, Matern52)
    return isinstance(model, AdaptiveSpline) and model.order < 3
