"""
Position, speed and acceleration of one run
===========================================

Three kinds of observations, each at its own times with its own errors, determine one curve::

    python examples/01_position_speed_acceleration.py [FOLDER]

The table beside this file is long: the order of the derivative (ord), time x, the observation y
and its standard deviation sd. It was simulated; the truth is 2 + x - x^2/2.
"""

import sys
import tempfile
from pathlib import Path

from pyarrow import csv

import smoothderiv as sd

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

table = csv.read_csv(Path(sys.argv[0]).with_name("position_speed_acceleration.csv"))
data = sd.Observations.from_frame(table, x="x", y="y", yerr="sd", nu="ord")
print(data)

# Least squares on a cubic spline with two knots: known errors are the weights.
basis = sd.splines.BSplineBasis.clamped([3.0, 6.0], 0.0, 9.0, 3)
fixed = sd.RegressionSpline(knots=basis).condition(data)
# The default: an average of splines and Gaussian processes.
tuned = sd.smooth(data)
# The five positions alone, if it were known that the curve is a parabola.
alone = sd.RegressionSpline(knots=0, degree=2).condition(data.of(0))

print("\nat 9 s, where only accelerations are near: position, speed, acceleration")
for name, post in (("cubic spline", fixed), ("sd.smooth", tuned), ("positions alone", alone)):
    words = (f"{post(9.0, nu):7.2f} ± {post.std(9.0, nu):.2f}" for nu in range(3))
    print(f"  {name:16s}", *words)
truth = (2 + 9 - 9**2 / 2, 1 - 9, -1)
print(f"  {'truth':16s}", *(f"{value:7.2f}       " for value in truth))

axes = sd.plot(tuned, nu=(0, 1, 2), x_unit="s", y_unit="m")
axes[0].figure.savefig(folder / "position_speed_acceleration.png", dpi=150)
print(f"\npicture: {folder / 'position_speed_acceleration.png'}")
