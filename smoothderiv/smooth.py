"""The door: fit a curve, or estimate a derivative, with no number from the user.

Engines are imported when they are first used, so that ``import smoothderiv`` is quick.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv._validate import floats, one_order, said
from smoothderiv._warn import held, warn
from smoothderiv.observations import Observations, observe

if TYPE_CHECKING:
    from smoothderiv.model import Model
    from smoothderiv.posterior import Posterior

Array = NDArray[np.float64]
Choice = Literal["auto", True, False]


def smooth(
    data: Observations,
    model: Model | None = None,
    *,
    nu: int = 2,
    robust: Choice = "auto",
    varying: Choice = "auto",
    correlated: Choice = "auto",
    circular: bool | float = False,
) -> Posterior:
    """Tune a model on data and condition it: the fitted curve with its derivatives and bands.

    Parameters
    ----------
    data : Observations
        Values and derivatives in any mix; see :func:`smoothderiv.observe`.
    model : Model, optional
        What to fit; its unknown fields are tuned, those given are held. By default a
        :class:`smoothderiv.ModelAverage` of adaptive splines and Gaussian processes
        (:func:`.default_model`), weighted by leave-one-out prediction.
    nu : int
        The highest derivative that will be asked of the default model. If the curve is rough, as
        one with kinks, and only its slope is needed, ``nu=1`` is more accurate.
    robust : {"auto", True, False}
        Whether to give outlying rows less weight (heavy-tailed noise, see
        :func:`smoothderiv.noise.robust.robust_weights`). "auto": for the default model, and only
        for orders whose leave-one-out residuals a heavy-tailed law fits better than Gauss's by 3
        nats. The weights are in ``post.data.weight``.
    varying : {"auto", True, False}
        Whether an unknown noise level may vary along x, where the residuals show it by 3 nats of
        evidence (:func:`smoothderiv.noise.heteroscedastic.varying_weights`); rows are weighted
        accordingly. "auto": for the default model.
    correlated : {"auto", True, False}
        Whether the errors of values are autocorrelated. True: the default is then the average
        of Gaussian processes of Matern 7/2 and squared exponential covariance with an
        Ornstein-Uhlenbeck process (AR(1) at even steps) for the noise; beyond 1000 rows the
        Matern alone, in O(n). "auto": the default model warns where the evidence says so
        (:func:`smoothderiv.noise.correlated.noise_gains`). In a `model` of your own,
        :class:`.Nuisance` says it.
    circular : bool or float
        Whether the values are angles: whole turns are added so that a smooth curve fits them
        (:func:`smoothderiv.circular.unwrapped`). True: in radians; a number: their period, 360
        for degrees. Derivatives and yerr are in the unit of the angles.

    Returns
    -------
    Posterior
        That of the default model integrates over the tuned parameters and over the members of the
        average. That of a `model` given is conditional on what was tuned;
        ``model=sd.ModelAverage((model,))`` integrates over that too.

    Raises
    ------
    ValueError
        A `nu` that is no order of a derivative; an unknown choice; a `circular` that is no period;
        `correlated` with a model; what the model refuses.

    Warns
    -----
    NoiseWarning
        From the default model: stated noise that the residuals contradict, errors that are
        autocorrelated or have a period, so many outliers (a tenth of the rows) that they may be
        part of the curve.
        :meth:`.Posterior.diagnose` and ``summary()`` say the same.
    UserWarning
        ``circular=True`` of what looks like degrees; values that jump as angles do, without
        `circular`; from the default model, places of a surface that lie on one line.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> t = np.linspace(0, 6, 80)
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal(80)
    >>> post = sd.smooth(sd.observe(t, np.sin(t) + noise))
    >>> lower, upper = post.interval(3.0, nu=1)
    >>> bool(lower < np.cos(3.0) < upper)
    True
    """
    from smoothderiv.model import require_model, require_observations
    from smoothderiv.noise.weighing import weighed
    from smoothderiv.tuning import tune

    require_observations(data)
    if model is not None:
        require_model(model)
    nu = one_order(nu)
    choices = {"robust": robust, "varying": varying, "correlated": correlated}
    for name, choice in choices.items():
        if choice not in ("auto", True, False):
            raise ValueError(f"{name}: {choice!r} is unknown; use 'auto', True or False")
    robust, varying, correlated = (
        choice if choice == "auto" else bool(choice) for choice in choices.values()
    )
    if correlated is True and model is not None:
        raise ValueError(
            f"correlated: True is for the default model, but {model!r} was given; add "
            "kernels.Nuisance(kernels.Matern12()) to the kernel of a GaussianProcess"
        )
    if circular is not False:
        from smoothderiv.circular import period, unwrapped

        turn = period(circular)
        data = data if turn is None else unwrapped(data, model, turn)
    wanted = _default(data, nu, correlated is True) if model is None else model
    _tell_doubts(data, circular is False, model is None)
    with held() as told:  # of a fit that may not be the answer
        post = tune(wanted, data).condition(data)
    calm, doubts = weighed(post, _leader(wanted, post), robust, varying, model is None)
    if calm is data:
        for one in told:
            one.warn()
    else:
        post = tune(wanted, calm).condition(calm)
    return _told(post, doubts, correlated == "auto") if model is None else post


def _leader(wanted: Model, post: Posterior) -> Model:
    """Return the model, of several that which weighs most, as it was before it was tuned."""
    from smoothderiv.average import ModelAverage

    if isinstance(wanted, ModelAverage) and isinstance(post.model, ModelAverage):
        return wanted.leader(post.model)
    return wanted


def _tell_doubts(data: Observations, angles: bool, places: bool) -> None:
    """Warn of data that may be fitted but look like a mistake."""
    from smoothderiv._doubts import doubts_of_angles, doubts_of_places

    for words in doubts_of_angles(data) if angles else ():
        warn(words)
    for words in doubts_of_places(data) if places else ():
        warn(words)


def _default(data: Observations, nu: int, correlated: bool) -> Model:
    """Return what is fitted when nothing is said."""
    from smoothderiv.default import default_model  # with all its engines, where it is asked for

    return default_model(data, nu, correlated)


def _told(post: Posterior, doubts: tuple[str, ...], correlated: bool) -> Posterior:
    """Warn of noise that is not as it was said or taken to be, and note what diagnosis misses."""
    from smoothderiv.answers.diagnosis import NoiseWarning
    from smoothderiv.mixture import AveragedPosterior
    from smoothderiv.noise.correlated import noise_gains

    assert isinstance(post, AveragedPosterior)
    if correlated and (gains := noise_gains(post)).correlated > 0:
        doubts = (*doubts, gains.words())
    for words in (*post.diagnose().of_noise, *doubts):
        warn(words, NoiseWarning)
    return dataclasses.replace(post, notes=doubts) if doubts else post


@dataclass(frozen=True, eq=False, repr=False)
class DerivativeEstimate:
    """A derivative at given places with its pointwise uncertainty.

    Attributes
    ----------
    x : (m,) array
        Where; datetime64 where the data are at datetimes, ``datetime`` objects where these have a
        zone.
    mean, std : arrays of the shape of y, with m along its axis
        Posterior mean and standard deviation, in unit of y / unit of x ** nu.
    lower, upper : arrays
        Pointwise limits of probability 0.95.
    posterior : Posterior, or array of them
        The whole fit, for any other question; for y of several dimensions one for each series, in
        an array of the shape of y without its axis.
    """

    x: NDArray[Any]
    mean: Array
    std: Array
    lower: Array
    upper: Array
    posterior: Any

    def __repr__(self) -> str:
        shape = np.shape(self.posterior)
        series = f" of {math.prod(shape)} series" if shape else ""
        lines = [f"DerivativeEstimate: {np.size(self.x)} places{series}"]
        for name in ("mean", "std"):
            values = getattr(self, name)
            if values.size:
                lines.append(f"  {name} from {values.min():.6g} to {values.max():.6g}")
        return "\n".join(lines)


def differentiate(
    x: ArrayLike,
    y: ArrayLike,
    nu: int = 1,
    yerr: ArrayLike | None = None,
    at: ArrayLike | None = None,
    *,
    axis: int = -1,
    robust: Choice = "auto",
    varying: Choice = "auto",
    correlated: Choice = "auto",
    circular: bool | float = False,
) -> DerivativeEstimate:
    """Estimate the derivative of order `nu` of noisy samples, with nothing to set.

    Parameters
    ----------
    x : (n,) array
        Places, in any order, repeated places allowed.
    y : array with n samples along `axis`
        NaN for missing ones. Each series of y of several dimensions is tuned for itself.
    nu : int
        Order of the derivative, 0 for the smoothed values.
    yerr : None, float, (n,) array, or array of the shape of y
        One standard deviation of y; None has it estimated.
    at : (m,) array, optional
        Where to estimate; by default at `x`.
    axis : int
        The axis of y along which x runs.
    robust, varying, correlated, circular
        As in :func:`smoothderiv.smooth`.

    Returns
    -------
    DerivativeEstimate

    Raises
    ------
    ValueError
        A shape of x that is not that of y along `axis`; what :func:`smoothderiv.observe` and
        :func:`smoothderiv.smooth` refuse.

    Warns
    -----
    NoiseWarning
        As :func:`smoothderiv.smooth`, for each series.

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> x = np.linspace(0, 6, 100)
    >>> noise = 0.05 * np.random.default_rng(0).standard_normal(100)
    >>> est = sd.differentiate(x, np.sin(x) + noise)
    >>> bool(np.mean((est.lower < np.cos(x)) & (np.cos(x) < est.upper)) > 0.9)
    True
    """
    nu, where = one_order(nu), x if at is None else at
    options = {
        "robust": robust,
        "varying": varying,
        "correlated": correlated,
        "circular": circular,
    }
    samples = floats(y, "y")
    if not (isinstance(axis, int | np.integer) and axis in range(-samples.ndim, samples.ndim)):
        raise ValueError(
            f"axis: {said(axis)}, but y has shape {samples.shape}; name the axis along which x runs"
        )
    if samples.ndim < 2:
        return _differentiate(x, samples, nu, yerr, where, options)
    if np.shape(x) != (samples.shape[axis],):
        raise ValueError(
            f"x: shape {np.shape(x)}, but y of shape {samples.shape} has {samples.shape[axis]} "
            f"samples along axis {axis}; name the axis along which x runs"
        )
    series = np.moveaxis(samples, axis, -1)
    if not series.size:
        raise ValueError(f"y: shape {samples.shape} holds no samples; give at least one series")
    errors = _error_series(yerr, samples, axis)
    every = [
        _differentiate(x, series[k], nu, errors(k), where, options)
        for k in np.ndindex(series.shape[:-1])
    ]
    shape = series.shape[:-1]

    def gathered(name: str) -> Array:
        return np.moveaxis(
            np.reshape([getattr(one, name) for one in every], (*shape, -1)), -1, axis
        )

    posteriors = np.empty(len(every), dtype=object)
    posteriors[:] = [one.posterior for one in every]
    parts = {name: gathered(name) for name in ("mean", "std", "lower", "upper")}
    return DerivativeEstimate(every[0].x, **parts, posterior=posteriors.reshape(shape))


def _differentiate(
    x: ArrayLike,
    y: ArrayLike,
    nu: int,
    yerr: ArrayLike | None,
    at: ArrayLike,
    options: dict[str, Any],
) -> DerivativeEstimate:
    from smoothderiv.answers.marginal import marginal

    post = smooth(observe(x, y, yerr), nu=nu, **options)
    found = marginal(post, at, nu)
    return DerivativeEstimate(
        post.data.asked(at), found.mean, found.std, *found.interval(0.95), post
    )


def _error_series(
    yerr: ArrayLike | None, samples: Array, axis: int
) -> Callable[[tuple[int, ...]], ArrayLike | None]:
    """Return what finds the errors of one series: shared, or one for each sample of y."""
    if yerr is None or np.shape(yerr) != samples.shape:
        return lambda k: yerr
    errors = np.moveaxis(floats(yerr, "yerr"), axis, -1)
    return lambda k: errors[k]
