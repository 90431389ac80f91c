"""
Gradients of a surface
======================

The gradient field of a surface over the plane, from noisy heights, with its uncertainty::

    python examples/10_gp_surface_gradients.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.patches import Ellipse

import smoothderiv as sd

mpl.use("Agg")
from matplotlib import pyplot as plt

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())


def height(x, y):
    return np.sin(2 * x) * np.cos(y) + 0.3 * x


def slopes(x, y):
    return np.stack([2 * np.cos(2 * x) * np.cos(y) + 0.3, -np.sin(2 * x) * np.sin(y)], axis=-1)


rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (120, 2))
X = X[~((X[:, 0] > 0.4) & (X[:, 1] > 0.2))]  # no data in the north-east
data = sd.observe(X, height(*X.T) + 0.05 * rng.standard_normal(len(X)))

# A length scale for each direction, the amplitude and the noise are tuned.
model = sd.tune(sd.GaussianProcess(sd.kernels.Matern72(), mean="constant"), data)
post = model.condition(data)
print(f"{len(X)} heights; noise {model.noise[0, 0]:.3f} estimated, 0.050 true")
print("length scales: " + ", ".join(f"{length:.2f}" for length in model.kernel.scale))

axis = np.linspace(-1.8, 1.8, 10)
grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
gradient = post.gradient(grid)
error = gradient.mean - slopes(*grid.T)
whitened = np.linalg.solve(np.linalg.cholesky(gradient.cov), error[..., None])[..., 0]
inside = np.mean((whitened**2).sum(axis=1) < 5.991)
print(f"true gradients inside the 95 % ellipses: {inside:.0%}")

summit = post.hessian([[np.pi / 4, 0.0]])
print(f"curvature near the summit: {summit.mean[0, 0, 0]:.2f} ± {summit.std[0, 0, 0]:.2f}, true -4")

fig, ax = plt.subplots(figsize=(6.6, 5.4), layout="constrained")
fine = np.linspace(-2, 2, 80)
mesh = np.stack(np.meshgrid(fine, fine), axis=-1)
fitted = post(mesh.reshape(-1, 2)).reshape(80, 80)
shown = ax.contourf(*mesh.transpose(2, 0, 1), fitted, 20, cmap="Greys", alpha=0.6)
fig.colorbar(shown, ax=ax, label="height")
ax.plot(*X.T, ".", color="#0072B2", ms=5, clip_on=False)
step = 0.12
ends = grid + step * gradient.mean
ax.quiver(*grid.T, *(step * gradient.mean).T, angles="xy", scale_units="xy", scale=1, width=0.004)
for end, cov in zip(ends, gradient.cov, strict=True):
    size, direction = np.linalg.eigh(cov)
    angle = np.degrees(np.arctan2(*direction[::-1, 1]))
    width, depth = 2 * step * np.sqrt(5.991 * size[::-1])
    ax.add_patch(Ellipse(end, width, depth, angle=angle, color="#D55E00", alpha=0.35, lw=0))
title = "gradients (arrows) with 95 % ellipses, and data (dots)"
ax.set(title=title, xlabel="x", ylabel="y", xlim=(-2, 2), ylim=(-2, 2))
fig.savefig(folder / "surface_gradients.png", dpi=150)
print(f"picture: {folder / 'surface_gradients.png'}")
