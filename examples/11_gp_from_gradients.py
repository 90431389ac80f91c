"""
A surface from its gradients
============================

A surface reconstructed from noisy gradients and a single height, as a potential from its force::

    python examples/11_gp_from_gradients.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np

import smoothderiv as sd

mpl.use("Agg")
from matplotlib import pyplot as plt

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())


def potential(x, y):
    return np.exp(-((x - 0.5) ** 2) - y**2) - 0.7 * np.exp(-((x + 0.8) ** 2) - 2 * (y - 0.3) ** 2)


def force(X):
    step = 1e-6 * np.eye(2)
    return np.stack([(potential(*(X + h).T) - potential(*(X - h).T)) / 2e-6 for h in step], axis=1)


rng = np.random.default_rng(1)
X = rng.uniform(-2, 2, (60, 2))
measured = force(X) + 0.03 * rng.standard_normal((60, 2))

data = sd.observe(X, measured[:, 0], yerr=0.03, nu=(1, 0))
data = data + sd.observe(X, measured[:, 1], yerr=0.03, nu=(0, 1))
data = data + sd.observe([[-2.0, -2.0]], [potential(-2.0, -2.0)], yerr=0)  # fixes the constant
model = sd.tune(sd.GaussianProcess(sd.kernels.SquaredExponential()), data)
post = model.condition(data)

axis = np.linspace(-2, 2, 60)
grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
truth, mean, std = potential(*grid.T), post(grid), post.std(grid)
print(f"60 gradients and one height; range of the potential {np.ptp(truth):.2f}")
print(f"root mean square error of the potential {np.sqrt(np.mean((mean - truth) ** 2)):.4f}")
print(f"standard deviation from {std.min():.4f} to {std.max():.4f}, median {np.median(std):.4f}")
print(f"inside two standard deviations: {np.mean(np.abs(mean - truth) < 2 * std):.0%}")

fig, axes = plt.subplots(1, 3, figsize=(9.6, 3.0), layout="constrained", sharey=True)
heights = {"levels": np.linspace(-0.8, 1.2, 21), "cmap": "viridis"}
errors = {"levels": np.linspace(-0.1, 0.1, 11), "cmap": "RdBu"}
panels = (
    ("potential", truth, heights),
    ("from its gradients (arrows)", mean, heights),
    ("error of the second", mean - truth, errors),
)
for ax, (title, values, style) in zip(axes, panels, strict=True):
    shown = ax.contourf(axis, axis, values.reshape(60, 60), extend="both", **style)
    fig.colorbar(shown, ax=ax)
    ax.set(title=title, xlabel="x")
axes[1].quiver(*X.T, *measured.T, width=0.008, color="white")
axes[0].set_ylabel("y")
fig.savefig(folder / "from_gradients.png", dpi=150)
print(f"picture: {folder / 'from_gradients.png'}")
