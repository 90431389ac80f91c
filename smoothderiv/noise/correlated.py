"""Autocorrelated errors: are there any, and the models that take them into account."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from smoothderiv.gp.kernel import Kernel
from smoothderiv.gp.kernels import Matern12, Matern52, Matern72, Nuisance, SquaredExponential
from smoothderiv.gp.process import GaussianProcess
from smoothderiv.gp.trend import Mean
from smoothderiv.gp.unknowns import least_scale, neighbours, thinned
from smoothderiv.mixture import AveragedPosterior
from smoothderiv.model import Model
from smoothderiv.observations import Observations
from smoothderiv.posterior import Posterior
from smoothderiv.statespace.adaptive import AdaptiveSpline
from smoothderiv.tuning import fit_quietly

_TELLING = 40  # values from which on neighbours tell
_ENOUGH = 1000  # rows that tell
_FLEXIBLE = 40  # effective number of parameters from which on noise may be what is followed
_BY_MATRIX = 1000  # rows up to which kernels are taken that need the matrix
_SEEN = 5.0  # distances of neighbours: at smaller scales a process passes for such noise
_ROUGH = 0.6  # weight of the roughest members from which on correlation is looked for


def correlated_models(data: Observations, highest: int = 0) -> tuple[Model, ...]:
    """Return models of f with correlated noise of the values: Matern 7/2, squared exponential.

    That is, those which have derivatives up to the `highest`, the first about a free line, the
    other about a free constant, as in the default. The noise beside the white one is an
    Ornstein-Uhlenbeck process (``Matern12``; AR(1) at even steps), whose variance and correlation
    length are tuned with the curve. The scale of the curve is at least 5 times the distance of
    neighbours, as :class:`.AtLeast` has it: a quicker one would be such noise by another name. The
    squared exponential takes the matrix of all rows, and is left out for more than 1000 where the
    Matern suffices, which is O(n).
    """
    scale, known = least_scale(data, _SEEN), not data.is_of(0).any()
    beliefs: list[tuple[Kernel, Mean]] = [
        (Matern72(scale), "linear"),
        (SquaredExponential(scale), "constant"),
    ]
    able = [(kernel, mean) for kernel, mean in beliefs if kernel.smoothness >= highest]
    return tuple(
        GaussianProcess(kernel + Nuisance(Matern12()), mean=0.0 if known else mean)
        for kernel, mean in (able if len(data) <= _BY_MATRIX else able[:1])
    )


@dataclass(frozen=True)
class NoiseGains:
    """Nats by which other noise explains the values better than independent noise as it was said.

    Attributes
    ----------
    correlated : float
        Of noise of which an Ornstein-Uhlenbeck process is a part; minus infinity where that is not
        asked.
    scaled : float
        Of stated noise with a scale; minus infinity where the noise of values is not stated, and
        where `correlated` is not positive, so that there is nothing to explain.
    scale : float
        The factor that the evidence puts before the stated noise, 1 where that is not asked.
    """

    correlated: float = -math.inf
    scaled: float = -math.inf
    scale: float = 1.0

    def words(self) -> str:
        """Say what the noise may be, what the evidence prefers, and how to have it so."""
        if not self.scale > 1.0:  # it was not stated, or not as too small
            return (
                "the errors of neighbouring values are autocorrelated, or the curve is very rough "
                f"(log evidence {self.correlated:.1f} nats higher): intervals are too narrow then. "
                "correlated=True keeps such errors out of the curve; correlated=False says that "
                "errors are independent"
            )
        preferred = "the last" if self.scaled > self.correlated else "the first"
        return (
            "the errors of neighbouring values are autocorrelated (log evidence "
            f"{self.correlated:.1f} nats higher), or the curve is very rough, or yerr is too small "
            f"({abs(self.scaled):.1f} nats {'higher' if self.scaled > 0 else 'lower'} with "
            f"{self.scale:.2g} times yerr): the evidence prefers {preferred}. "
            "Intervals are wrong then. observe(.., yerr, relative=True) has its scale estimated; "
            "correlated=True keeps autocorrelated errors out of the curve; correlated=False says "
            "that errors are independent and as stated"
        )


def noise_gains(post: AveragedPosterior) -> NoiseGains:
    """Return by how many nats other noise explains the values better, beyond its price.

    The log evidence of Matern 7/2 with an Ornstein-Uhlenbeck nuisance, less that of the better of
    Matern 5/2 and squared exponential without, less ``log n`` for the two numbers more (Schwarz's
    criterion); on at most 1000 neighbouring rows, and on as many spread over all, whichever is
    more. Where that is positive and the noise was stated, also the log evidence of the better of
    the latter two with the stated noise scaled, less theirs without and half of ``log n``. Minus
    infinity where that is not asked: few values, several dimensions, or an average that its
    roughest members do not lead or that is stiff (an effective number of parameters below 40 and a
    tenth of the values): both follow such noise best.

    References
    ----------
    Schwarz (1978), doi:10.1214/aos/1176344136.
    """
    data = post.data
    if data.ndim > 1 or (values := int(data.is_of(0).sum())) < _TELLING:
        return NoiseGains()
    rough = float(post.weights @ [_is_rough(model) for model in post.model.models])
    if rough < _ROUGH or post.edf < min(values / 10, _FLEXIBLE):
        return NoiseGains()
    samples = [neighbours(data, _ENOUGH)]
    if len(data) > 2 * _ENOUGH:
        samples.append(thinned(data, _ENOUGH))
    gains = (_gains(data[np.sort(rows)]) for rows in samples)
    return max(gains, key=lambda found: found.correlated)


def _gains(data: Observations) -> NoiseGains:
    values = data.y[data.is_of(0)]
    if len(values) < _TELLING:
        return NoiseGains()
    mean, price = float(np.mean(values)), 0.5 * math.log(len(data))

    def fit(kernel: Kernel, rows: Observations = data) -> Posterior:
        return fit_quietly(GaussianProcess(kernel, mean=mean), rows)

    def best(rows: Observations) -> Posterior:
        fits = (fit(kernel, rows) for kernel in (Matern52(), SquaredExponential()))
        return max(fits, key=lambda found: found.log_evidence)

    plain = best(data).log_evidence
    together = fit(Matern72() + Nuisance(Matern12())).log_evidence
    correlated = together - plain - 2 * price
    stated = data.is_of(0) & ~data.exact
    if not correlated > 0 or not stated.any() or data.estimated[stated].any():
        return NoiseGains(correlated)
    scaled = best(dataclasses.replace(data, relative=stated | data.relative))
    return NoiseGains(correlated, scaled.log_evidence - plain - price, scaled.noise[0])


def _is_rough(model: Model) -> bool:
    """Tell whether a member of the default is of its roughest."""
    if isinstance(model, GaussianProcess):
        return isinstance(model.kernel, Matern52 | Matern72)
    return isinstance(model, AdaptiveSpline) and model.order < 3
