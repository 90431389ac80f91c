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

import matplotlib.pyplot as plt
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

# q is the strength of the changes of speed: large while the lift starts or brakes.
model = fits["adaptive spline"].model
log_q = np.interp(t, model.knots, np.log(model.q))
ends = np.flatnonzero(np.diff(log_q > 0.5 * (log_q.min() + log_q.max())))
print(f"\nlog q varies by {np.ptp(log_q):.0f}; it is above its middle from", end=" ")
print(" and from ".join(f"{a:.1f} to {b:.1f} s" for a, b in t[ends].reshape(-1, 2)))
print("the speed changes from 6.0 to 8.0 s and from 20.0 to 23.0 s")

figure, axes = plt.subplots(2, 1, figsize=(7, 6), layout="constrained")
for ax, shown in zip(axes, (t, np.linspace(5, 9, 200)), strict=True):
    ax.plot(shown, np.interp(shown, t, speed), "k:", lw=1.4, zorder=5, label="truth")
    sd.plot(fits, nu=1, x=shown, ax=ax, x_unit="s", y_unit="m")
    ax.set_ylabel("speed (m/s)")
axes[1].get_legend().remove()
axes[1].set_title("the start")
figure.savefig(folder / "kinks.png", dpi=150)
print(f"picture: {folder / 'kinks.png'}")
