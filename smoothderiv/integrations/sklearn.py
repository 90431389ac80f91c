"""scikit-learn: a regressor that predicts a curve, or a derivative of it, with its uncertainty."""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from smoothderiv.integrations import missing
from smoothderiv.model import Model
from smoothderiv.observations import observe
from smoothderiv.smooth import smooth

try:
    from sklearn.base import BaseEstimator, RegressorMixin
    from sklearn.metrics import r2_score
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise missing(error, "sklearn") from None

Array = NDArray[np.float64]


class SmoothRegressor(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A curve, or a surface, fitted by smoothderiv, as scikit-learn's estimators are used.

    Parameters
    ----------
    model : Model or None
        What to fit; what it leaves unknown is tuned. None is the default of
        :func:`smoothderiv.smooth`. In a grid search give several models.
    nu : int or tuple of int
        The order of the derivative to predict; for several features a multi-index, such as
        ``(1, 0)``. Values are what is fitted in any case.

    Attributes
    ----------
    posterior_ : Posterior
        All that can be asked of the fit.
    model_ : Model
        With everything tuned.
    n_features_in_ : int

    Examples
    --------
    >>> import numpy as np, smoothderiv as sd
    >>> from smoothderiv.integrations.sklearn import SmoothRegressor
    >>> x = np.linspace(0, 6, 60)[:, None]
    >>> y = np.sin(x[:, 0]) + 0.05 * np.random.default_rng(0).standard_normal(60)
    >>> slope = SmoothRegressor(sd.SmoothingSpline(order=3), nu=1).fit(x, y)
    >>> mean, std = slope.predict([[3.0]], return_std=True)
    >>> bool(abs(mean[0] - np.cos(3.0)) < 4 * std[0])
    True
    """

    def __init__(self, model: Model | None = None, nu: int | tuple[int, ...] = 0) -> None:
        self.model = model
        self.nu = nu

    def fit(self, X: ArrayLike, y: ArrayLike, yerr: ArrayLike | None = None) -> Self:
        """Fit values.

        Parameters
        ----------
        X : (n, d) array
        y : (n,) array
        yerr : None, float or (n,) array
            One standard deviation of y; None has it estimated.
        """
        least = 2 if self.model is None else 1  # rows that tell anything of smoothness
        places, values = validate_data(
            self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=least
        )
        data = observe(self._places(places), values, yerr)
        highest = int(np.sum(self.nu))
        self.posterior_ = smooth(data, self.model, nu=highest)
        self.model_ = self.posterior_.model
        return self

    def predict(self, X: ArrayLike, return_std: bool = False) -> Array | tuple[Array, Array]:
        """Return ``D^nu f`` at the rows of X, (n,), and with `return_std` its std, (n,)."""
        check_is_fitted(self)
        places = self._places(validate_data(self, X, dtype=np.float64, reset=False))
        mean = self.posterior_.mean(places, self.nu)
        return (mean, self.posterior_.std(places, self.nu)) if return_std else mean

    def score(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> float:
        """Return R^2 of the *values* at the rows of X, of whatever order predictions are."""
        check_is_fitted(self)
        places = self._places(validate_data(self, X, dtype=np.float64, reset=False))
        return float(r2_score(y, self.posterior_.mean(places), sample_weight=sample_weight))

    def _places(self, X: Array) -> Array:
        return X[:, 0] if X.shape[1] == 1 else X
