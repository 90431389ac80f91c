"""
A gap bridged by slopes
=======================

In the gap between the values only slopes were measured::

    python examples/13_gp_gap.py [FOLDER]
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


def curve(x, nu=0):
    return 2**nu * np.sin(2 * x + nu * np.pi / 2)


rng = np.random.default_rng(7)
x = np.concatenate([rng.uniform(0, 2, 25), rng.uniform(5, 7, 25)])
values = sd.observe(x, curve(x) + 0.05 * rng.standard_normal(50), yerr=0.05)
gap = np.linspace(2.2, 4.8, 14)
slopes = sd.observe(gap, curve(gap, 1) + 0.1 * rng.standard_normal(14), yerr=0.1, nu=1)

model = sd.GaussianProcess(sd.kernels.Matern52())
grid, middle = np.linspace(0, 7, 400), np.linspace(2, 5, 100)
fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharey=True)
for ax, (name, data) in zip(
    axes, (("values alone", values), ("slopes in the gap", values + slopes)), strict=True
):
    post = sd.tune(model, data).condition(data)
    error = np.abs(post(middle) - curve(middle)).max()
    print(f"{name:18} in the gap: error up to {error:.2f}, std up to {post.std(middle).max():.2f}")
    lower, upper = post.band(grid, rng=0)
    ax.fill_between(grid, lower, upper, color="#0072B2", alpha=0.2, lw=0, label="95 % simultaneous")
    ax.plot(grid, post(grid), color="#0072B2", label="mean")
    ax.plot(grid, curve(grid), color="#D55E00", lw=1, ls="--", label="truth")
    ax.plot(x, values.y, "k.", ms=4, label="values")
    ax.set(title=name, xlabel="x")
for place, slope in zip(gap, slopes.y, strict=True):  # a short tangent, below the curve
    ends = np.array([place - 0.05, place + 0.05])
    height = float(post(place)) - 0.6 + slope * (ends - place)
    style = {"color": "#009E73", "lw": 2.5, "solid_capstyle": "butt"}
    (tangent,) = axes[1].plot(ends, height, label="slopes (shifted down)", **style)
axes[0].set_ylabel("f")
handles, _ = axes[1].get_legend_handles_labels()
fig.legend(handles=[*handles[:4], tangent], loc="outside lower center", ncols=5, frameon=False)
fig.savefig(folder / "gap.png", dpi=150)
print(f"picture: {folder / 'gap.png'}")
