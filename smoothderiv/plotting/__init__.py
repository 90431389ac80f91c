"""Pictures: curves with bands and data, residuals, tuning, gradient fields, maps of sure slopes."""

from smoothderiv.plotting.curve import plot
from smoothderiv.plotting.field import plot_field
from smoothderiv.plotting.residuals import plot_residuals
from smoothderiv.plotting.scales import plot_sizer
from smoothderiv.plotting.style import BINS
from smoothderiv.plotting.tuner import plot_tuning

__all__ = [
    "BINS",
    "plot",
    "plot_field",
    "plot_residuals",
    "plot_sizer",
    "plot_tuning",
]
