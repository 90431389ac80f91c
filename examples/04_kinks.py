"""
Kinks and steps
===============

A lift waits, starts, rides and brakes. Its speed has kinks, and one amount of smoothing for the
whole ride is either too much there or too little elsewhere::

    python examples/04_kinks.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import smoothderiv as sd

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

rng = np.random.default_rng(0)
t = np.linspace(0, 30, 400)  # s
speed = np.interp(t, [0, 6, 8, 20, 23, 30], [0, 0, 2.5, 2.5, 0, 0])  # m/s
height = np.concatenate(([0.0], np.cumsum(0.5 * (speed[1:] + speed[:-1]) * np.diff(t))))
data = sd.observe(t, height + 0.1 * rng.standard_normal(400))  # noise unknown

fits = {
    "smoothing spline": sd.smooth(data, sd.SmoothingSpline(order=2)),
    "adaptive spline": sd.smooth(data, sd.AdaptiveSpline(order=2)),
    "the default": sd.smooth(data, nu=1),
}
print("error of the speed, m/s, and its 95 % pointwise intervals")
for name, post in fits.items():
    error = post(t, 1) - speed
    low, high = post.interval(t, 1)
    inside = np.mean((low <= speed) & (speed <= high))
    print(
        f"  {name:17} {np.sqrt(np.mean(error**2)):.3f}; contain {inside:.0%} of the ride, "
        f"{np.mean(high - low):.2f} wide"
    )

model = fits["adaptive spline"].model
print(f"\nlog q varies by {np.ptp(np.log(model.q)):.0f}; it is largest at t =", end=" ")
print(", ".join(f"{model.knots[k]:.1f}" for k in sorted(np.argsort(model.q)[-4:])))

fits.pop("the default")
axes = sd.plot(fits, nu=(0, 1), x_unit="s", y_unit="m")
axes[1].plot(t, speed, color="black", lw=1, ls="--")
axes[0].figure.savefig(folder / "kinks.png", dpi=150)
print(f"picture (dashed: the truth): {folder / 'kinks.png'}")
