"""
Values and slopes
=================

Values at some places and slopes at others: what the slopes add::

    python examples/12_gp_values_and_slopes.py [FOLDER]
"""

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import numpy as np

import smoothderiv as sd

mpl.use("Agg")

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())


def curve(x, nu=0):
    return 3**nu * np.sin(3 * x + nu * np.pi / 2) + (0.5 * x, 0.5)[nu]


rng = np.random.default_rng(3)
x, xv = rng.uniform(0, 4, 9), rng.uniform(0, 4, 9)
values = sd.observe(x, curve(x) + 0.1 * rng.standard_normal(9), yerr=0.1)
both = values + sd.observe(xv, curve(xv, 1) + 0.2 * rng.standard_normal(9), yerr=0.2, nu=1)

# Nine values alone hardly determine the length scale: a prior on it keeps the result sensible.
kernel = sd.kernels.Matern72(scale=sd.kernels.LogNormal(1.0, 2.0))
model = sd.GaussianProcess(kernel, mean="constant")
grid = np.linspace(0, 4, 300)
for name, data in (("values alone", values), ("with slopes", both)):
    post = sd.tune(model, data).condition(data)
    error = [np.sqrt(np.mean((post(grid, nu) - curve(grid, nu)) ** 2)) for nu in (0, 1)]
    std = [np.mean(post.std(grid, nu)) for nu in (0, 1)]
    print(
        f"{name:12}  error of f {error[0]:.3f} (stated {std[0]:.3f}),"
        f" of f' {error[1]:.3f} (stated {std[1]:.3f})"
    )

axes = sd.plot(post, nu=(0, 1), x=grid)
for nu in (0, 1):
    (line,) = axes[nu].plot(grid, curve(grid, nu), color="#D55E00", lw=1.2, ls="--", label="truth")
axes[0].legend(handles=[line], frameon=False, loc="upper left")
axes[0].figure.savefig(folder / "values_and_slopes.png", dpi=150)
print(f"picture: {folder / 'values_and_slopes.png'}")
