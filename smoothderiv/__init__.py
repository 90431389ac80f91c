"""Fit curves to noisy values and derivatives; estimate derivatives with honest uncertainty.

Names are imported when they are first used, so that ``import smoothderiv`` is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from smoothderiv.smooth import differentiate as differentiate
from smoothderiv.smooth import smooth as smooth  # at once: its module shares its name

if TYPE_CHECKING:
    from smoothderiv import dynamics as dynamics
    from smoothderiv import splines as splines
    from smoothderiv.answers.diagnosis import NoiseWarning as NoiseWarning
    from smoothderiv.answers.storage import load as load
    from smoothderiv.average import ModelAverage as ModelAverage
    from smoothderiv.gp import kernels as kernels
    from smoothderiv.gp.process import GaussianProcess as GaussianProcess
    from smoothderiv.model import ContradictionError as ContradictionError
    from smoothderiv.model import UndeterminedError as UndeterminedError
    from smoothderiv.model import UnsuitableError as UnsuitableError
    from smoothderiv.observations import Observations as Observations
    from smoothderiv.observations import observe as observe
    from smoothderiv.panels.panel import smooth_panel as smooth_panel
    from smoothderiv.plotting import plot as plot
    from smoothderiv.plotting import plot_field as plot_field
    from smoothderiv.plotting import plot_residuals as plot_residuals
    from smoothderiv.plotting import plot_sizer as plot_sizer
    from smoothderiv.plotting import plot_tuning as plot_tuning
    from smoothderiv.scale_space import sizer as sizer
    from smoothderiv.splines.regression import RegressionSpline as RegressionSpline
    from smoothderiv.statespace.adaptive import AdaptiveSpline as AdaptiveSpline
    from smoothderiv.statespace.smoother import SmoothingSpline as SmoothingSpline
    from smoothderiv.tuning import TuningWarning as TuningWarning
    from smoothderiv.tuning import tune as tune

_HOME = {
    "AdaptiveSpline": "smoothderiv.statespace.adaptive",
    "ContradictionError": "smoothderiv.model",
    "GaussianProcess": "smoothderiv.gp.process",
    "ModelAverage": "smoothderiv.average",
    "NoiseWarning": "smoothderiv.answers.diagnosis",
    "Observations": "smoothderiv.observations",
    "RegressionSpline": "smoothderiv.splines.regression",
    "SmoothingSpline": "smoothderiv.statespace.smoother",
    "TuningWarning": "smoothderiv.tuning",
    "UndeterminedError": "smoothderiv.model",
    "UnsuitableError": "smoothderiv.model",
    "dynamics": "smoothderiv.dynamics",
    "kernels": "smoothderiv.gp.kernels",
    "load": "smoothderiv.answers.storage",
    "observe": "smoothderiv.observations",
    "plot": "smoothderiv.plotting",
    "plot_field": "smoothderiv.plotting",
    "plot_residuals": "smoothderiv.plotting",
    "plot_sizer": "smoothderiv.plotting",
    "plot_tuning": "smoothderiv.plotting",
    "sizer": "smoothderiv.scale_space",
    "smooth_panel": "smoothderiv.panels.panel",
    "splines": "smoothderiv.splines",
    "tune": "smoothderiv.tuning",
}

_HINTS = {
    "derivative": "differentiate(x, y) estimates derivatives of arrays",
    "fit": "smooth(data) fits a curve",
    "predict": "the posterior predicts: smooth(data)(x, nu=1)",
    "save": "posteriors save themselves: smooth(data).save(path)",
}

__version__ = "0.1.0"
__all__ = sorted([*_HOME, "differentiate", "smooth"])  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        hint = f"; {_HINTS[name]}" if name in _HINTS else ""
        raise AttributeError(f"module 'smoothderiv' has no attribute {name!r}{hint}")
    module = import_module(_HOME[name])
    value = module if module.__name__.endswith(f".{name}") else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
