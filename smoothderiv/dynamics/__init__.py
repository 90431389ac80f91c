"""Regression between derivatives: equations of motion, and growth rates, from noisy samples."""

from smoothderiv.dynamics.growth import GrowthRate as GrowthRate
from smoothderiv.dynamics.growth import Logistic as Logistic
from smoothderiv.dynamics.growth import growth_rate as growth_rate
from smoothderiv.dynamics.regression import ExcitationWarning as ExcitationWarning
from smoothderiv.dynamics.regression import fit as fit
from smoothderiv.dynamics.result import DynamicsFit as DynamicsFit

__all__ = ["DynamicsFit", "ExcitationWarning", "GrowthRate", "Logistic", "fit", "growth_rate"]
