"""Engine 1: a finite basis of B-splines, fitted by least squares."""

from smoothderiv.splines.basis import BSplineBasis
from smoothderiv.splines.regression import RegressionSpline
from smoothderiv.splines.regression_posterior import RegressionSplinePosterior

__all__ = ["BSplineBasis", "RegressionSpline", "RegressionSplinePosterior"]
