"""
Derivative data
===============

Position, speed and acceleration of the same run, each at its own times, each with its own noise:
one curve through all of them.
"""

import warnings

import matplotlib.pyplot as plt
import numpy as np

import smoothderiv as sd

rng = np.random.default_rng(4)


def truth(t, nu=0):
    """The motion, and its derivatives."""
    return 0.8**nu * 3.0 * np.sin(0.8 * t + nu * np.pi / 2) + (0.5 * t, 0.5, 0.0)[nu]


# %%
# Observe
# -------
# A row states that *the derivative of order nu at x is y, with standard deviation yerr*. Positions
# come from a satellite receiver that loses its signal from 5 to 8 s; how noisy they are is unknown.
# Speeds come from a wheel whose error is known. Accelerations are frequent, and noisy.

tp = np.r_[np.arange(0, 5, 0.4), np.arange(8, 12, 0.4)]
tv = np.sort(rng.uniform(0, 12, 30))
ta = np.arange(0, 12, 0.1)
position = sd.observe(tp, truth(tp) + 0.15 * rng.standard_normal(len(tp)))
speed = sd.observe(tv, truth(tv, 1) + 0.2 * rng.standard_normal(len(tv)), yerr=0.2, nu=1)
acceleration = sd.observe(ta, truth(ta, 2) + 0.4 * rng.standard_normal(len(ta)), nu=2)

data = position + speed + acceleration
print(data)

# %%
# Fit
# ---
# ``sd.smooth`` estimates what is unknown: how smooth the curve is, and the noise of each order
# without ``yerr``. Here the true levels are 0.15 and 0.4.

post = sd.smooth(data)
print(post.summary())

# %%
# Each panel shows the curve or one of its derivatives, with the observations of that order. The
# shading is the 50 and 95 % pointwise interval; the dashed line is the truth.

axes = sd.plot(post, nu=(0, 1, 2), x_unit="s", y_unit="m")
for nu, ax in enumerate(axes):
    ax.plot(ta, truth(ta, nu), "--", color="#D55E00", lw=1)

# %%
# What each kind of row adds
# --------------------------
# Rows can be selected like arrays, so a fit without some of them is one line. The standard
# deviations show what is lost; in the middle of the gap the other rows determine the position.

middle = 6.5
for name, rows in (
    ("positions alone", position),
    ("and speeds", position + speed),
    ("and accelerations", data),
):
    fitted = sd.smooth(rows)
    words = (f"{fitted(middle, nu):6.2f} ± {fitted.std(middle, nu):.2f}" for nu in range(3))
    print(f"{name:18s}", *words)
print(f"{'truth':18s}", *(f"{truth(middle, nu):6.2f}       " for nu in range(3)))

# %%
# Ask
# ---
# The posterior covers the whole curve. Where the motion reversed, how far it went from 2 to 9 s,
# and the mean position over the gap, each with its standard deviation:

print(post.roots(nu=1, within=(0, 12)))
distance, error = post.contrast([9.0, 2.0], [1, -1])
print(f"from 2 to 9 s: {distance:.2f} ± {error:.2f} m, true {truth(9) - truth(2):.2f}")
area, error = post.integral(5.0, 8.0)
print(f"mean position in the gap: {area / 3:.2f} ± {error / 3:.2f} m")

# %%
# What is known exactly
# ---------------------
# ``yerr=0`` makes an exact condition: here that the run began at the origin. The curve passes
# through it, and its standard deviation there is zero.

pinned = sd.smooth(data + sd.observe([0.0], [0.0], yerr=0.0))
print(f"at 0 s: {pinned(0.0):.3f} ± {pinned.std(0.0):.3f} m; without it {post.std(0.0):.3f}")

# %%
# When the stated noise is wrong
# ------------------------------
# Stated noise determines how rows of different orders are weighted, so it is compared with the
# residuals, and a contradiction raises a warning (``post.diagnose()`` has details). Here the stated
# standard deviation of the speeds is a quarter of the true one. (The default would give such rows
# less weight; ``robust=False`` takes the stated noise as it is.)

optimistic = sd.observe(tv, speed.y, yerr=0.05, nu=1)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    sd.smooth(position + optimistic + acceleration, robust=False)
print(*(warning.message for warning in caught), sep="\n")

# %%
# Tables
# ------
# :meth:`.Observations.from_frame` reads a table with a column for each order, and
# :meth:`.Posterior.frame` returns one.

table = post.frame(np.linspace(0, 12, 5), nu=(0, 1)).to_pandas()
print(table.round(2).to_string(index=False))

# %%
# The engines and their priors are described in :doc:`/engines`. The
# :doc:`gallery </gallery/01_position_speed_acceleration>` has the same task with a table from a
# file.

plt.close("all")
