"""
Intervals and bands for derivatives
===================================

Pointwise intervals and simultaneous bands for the derivatives of noisy samples::

    python examples/02_derivative_bands.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np

import smoothderiv as sd

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(0, 1, 200))  # irregular places, noise unknown
y = np.sin(2 * np.pi * x) + 0.5 * np.sin(6 * np.pi * x) + 0.1 * rng.standard_normal(200)

# For arrays in and arrays out.
estimate = sd.differentiate(x, y, nu=1)
print("slope at five places, with 95 % pointwise intervals")
for i in range(0, 200, 45):
    print(
        f"  x = {x[i]:.3f}: {estimate.mean[i]:6.2f} ± {estimate.std[i]:.2f}"
        f"  [{estimate.lower[i]:6.2f}, {estimate.upper[i]:6.2f}]"
    )

# A fit gives everything else.
post = sd.smooth(sd.observe(x, y))
print(f"\nnoise: {post.noise[0]:.3f} estimated, 0.1 true; {post.edf:.1f} degrees of freedom")

grid = np.linspace(0, 1, 400)
truth = {
    1: 2 * np.pi * (np.cos(2 * np.pi * grid) + 1.5 * np.cos(6 * np.pi * grid)),
    2: -4 * np.pi**2 * (np.sin(2 * np.pi * grid) + 4.5 * np.sin(6 * np.pi * grid)),
}
print("\nhow much of the true curve lies inside")
for nu, curve in truth.items():
    inside = {}
    answers = {"pointwise": post.interval(grid, nu), "simultaneous": post.band(grid, nu)}
    for name, (lower, upper) in answers.items():
        inside[name] = np.mean((lower < curve) & (curve < upper))
    words = ", ".join(f"{name} {share:.1%}" for name, share in inside.items())
    print(f"  order {nu}: {words}")

mean, std = post.integral(0.0, 1.0)
print(f"\nintegral from 0 to 1: {mean:.4f} ± {std:.4f}; truth 0")

axes = sd.plot(post, level=0.95, show="band")
for nu, curve in truth.items():
    (line,) = axes[nu].plot(grid, curve, color="#D55E00", lw=1.2, ls="--", label="truth")
axes[1].legend(handles=[line], frameon=False, loc="upper center")
axes[0].figure.savefig(folder / "derivative_bands.png", dpi=150)
print(f"picture: {folder / 'derivative_bands.png'}")
