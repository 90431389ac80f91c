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
# A row says *the derivative of order nu at x was y, give or take yerr*. Positions come from a
# satellite receiver that loses its signal from 5 to 8 s, and nobody knows how noisy they are.
# Speeds come from a wheel whose error is known. Accelerations come fast, and are noisy.

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
# ``sd.smooth`` finds what is unknown: how smooth the curve is, and the noise of each order that has
# no ``yerr``. Here the true levels are 0.15 and 0.4.

post = sd.smooth(data)
print(post.summary())

# %%
# Each panel shows the same curve, differentiated, with the rows that were observed there. Shaded
# are limits of 50 and 95 % at each place; dashed is the truth.

axes = sd.plot(post, nu=(0, 1, 2), x_unit="s", y_unit="m")
for nu, ax in enumerate(axes):
    ax.plot(ta, truth(ta, nu), "--", color="#D55E00", lw=1)

# %%
# What each kind of row adds
# --------------------------
# Rows select like arrays, so that a fit without some of them is one line. Standard deviations tell
# what is lost; in the middle of the gap the other rows carry the position.

middle = 6.5
for name, rows in (
    ("positions alone", position),
    ("and speeds", position + speed),
    ("and accelerations", data),
):
    fitted = sd.smooth(rows)
    told = (f"{fitted(middle, nu):6.2f} ± {fitted.std(middle, nu):.2f}" for nu in range(3))
    print(f"{name:18s}", *told)
print(f"{'truth':18s}", *(f"{truth(middle, nu):6.2f}       " for nu in range(3)))

# %%
# Ask
# ---
# The answer is a belief about the whole curve. Where it turned round, how far it went from 2 to
# 9 s, and the mean position over the gap, each with its standard deviation:

print(post.roots(nu=1, within=(0, 12)))
distance, error = post.contrast([9.0, 2.0], [1, -1])
print(f"from 2 to 9 s: {distance:.2f} ± {error:.2f} m, true {truth(9) - truth(2):.2f}")
area, error = post.integral(5.0, 8.0)
print(f"mean position in the gap: {area / 3:.2f} ± {error / 3:.2f} m")

# %%
# What is known exactly
# ---------------------
# ``yerr=0`` is a condition, not a measurement: here that the run began at the origin. The curve
# goes through it, and its standard deviation there is zero.

pinned = sd.smooth(data + sd.observe([0.0], [0.0], yerr=0.0))
print(f"at 0 s: {pinned(0.0):.3f} ± {pinned.std(0.0):.3f} m; without it {post.std(0.0):.3f}")

# %%
# When the noise is not what was said
# -----------------------------------
# Stated noise decides how rows of different orders are weighed, so it is compared with the
# residuals, and what contradicts it is warned of (``post.diagnose()`` says more). Here the speeds
# are said to be four times better than they are (the default would give such rows less weight,
# ``robust=False`` takes the word for it):

boast = sd.observe(tv, speed.y, yerr=0.05, nu=1)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    sd.smooth(position + boast + acceleration, robust=False)
print(*(line.message for line in told), sep="\n")

# %%
# Tables
# ------
# A table with a column for each order is read by :meth:`.Observations.from_frame`, and
# :meth:`.Posterior.frame` gives one back.

table = post.frame(np.linspace(0, 12, 5), nu=(0, 1)).to_pandas()
print(table.round(2).to_string(index=False))

# %%
# What an engine believes is told in :doc:`/engines`. The
# :doc:`gallery </gallery/01_position_speed_acceleration>` has the same with a table from a file.

plt.close("all")
