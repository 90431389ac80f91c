"""
Autocorrelated errors
=====================

A level sensor at 50 Hz has white noise, and a drift that lasts about a second. If all errors are
treated as independent, the curve follows the drift, and intervals are far too narrow; modelled as
autocorrelated errors, the drift is kept out of the curve, in O(n)::

    python examples/05_autocorrelated_errors.py [FOLDER]
"""

import sys
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import smoothderiv as sd

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

rng = np.random.default_rng(0)
t = np.arange(0, 120, 0.02)  # s
level = 2.0 + np.sin(2 * np.pi * t / 40)  # m
rate = 2 * np.pi / 40 * np.cos(2 * np.pi * t / 40)  # m/s
drift = np.zeros(len(t))
for i in range(1, len(t)):
    drift[i] = np.exp(-0.02) * drift[i - 1] + 0.1 * np.sqrt(1 - np.exp(-0.04)) * rng.normal()
data = sd.observe(t, level + drift + 0.02 * rng.standard_normal(len(t)))

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    plain = sd.smooth(data, nu=1)
print(f"the default warns: {caught[-1].message}\n")
fits = {"the default": plain, "correlated=True": sd.smooth(data, nu=1, correlated=True)}

print("error of the rate, m/s, and its 95 % pointwise intervals")
for name, post in fits.items():
    error = post(t, 1) - rate
    low, high = post.interval(t, 1)
    inside = np.mean((low <= rate) & (rate <= high))
    print(f"  {name:15} {np.sqrt(np.mean(error**2)):.3f}; contain {inside:.0%} of the rate")

model = fits["correlated=True"].model.models[0]
noise = model.kernel.parts[1].kernel
print(
    f"\nestimated drift {noise.sigma:.3f} m over {noise.scale:.2f} s (true 0.100 over 1 s), "
    f"white noise {model.noise[0]:.3f} m (true 0.020)"
)

figure, axes = plt.subplots(2, 2, figsize=(10, 6), sharex=True, layout="constrained")
for column, (name, post) in zip(axes.T, fits.items(), strict=True):
    sd.plot(post, nu=(0, 1), ax=column, x_unit="s", y_unit="m")
    column[0].set_title(name)
    column[0].get_legend().remove()
    (truth,) = column[1].plot(t, rate, color="black", lw=1, ls="--", label="truth")
handles, _ = axes[0, 1].get_legend_handles_labels()
figure.legend(handles=[*handles, truth], loc="outside lower center", ncols=5, frameon=False)
figure.savefig(folder / "correlated.png", dpi=150)
print(f"picture: {folder / 'correlated.png'}")
