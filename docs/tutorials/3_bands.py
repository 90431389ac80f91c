"""
Derivative bands
================

What may be said of a derivative: at one place, along the whole curve, of its peaks, and of its
sign.
"""

import matplotlib.pyplot as plt
import numpy as np

import smoothderiv as sd

rng = np.random.default_rng(2)


def curve(x, nu=0):
    """A broad peak and a small one, and their slope."""
    broad, small = (x - 0.3) / 0.12, (x - 0.7) / 0.08
    if nu == 0:
        return np.exp(-(broad**2)) + 0.4 * np.exp(-(small**2))
    return -2 / 0.12 * broad * np.exp(-(broad**2)) - 0.8 / 0.08 * small * np.exp(-(small**2))


x = np.sort(rng.uniform(0, 1, 120))
data = sd.observe(x, curve(x) + 0.05 * rng.standard_normal(120))
post = sd.smooth(data)
grid = np.linspace(x[0], x[-1], 300)

# %%
# At one place, or along the curve
# --------------------------------
# ``interval`` is right at each place by itself: 95 % limits hold the truth at about 95 % of the
# places. ``band`` is right for all places together: in 95 of 100 data sets the *whole* curve lies
# within it. It is wider, by a factor that depends on how far the curve turns.

lower, upper = post.interval(grid, nu=1)
low, high = post.band(grid, nu=1)
print(f"mean width of the limits at each place {np.mean(upper - lower):.1f}")
print(f"mean width of the limits for all       {np.mean(high - low):.1f}")

figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.fill_between(grid, low, high, color="#0072B2", alpha=0.15, lw=0, label="for all places")
ax.fill_between(grid, lower, upper, color="#0072B2", alpha=0.3, lw=0, label="for each place")
ax.plot(grid, post(grid, 1), color="#0072B2")
ax.plot(grid, curve(grid, 1), "--", color="#D55E00", lw=1, label="truth")
ax.set(xlabel="x", ylabel="f'")
_ = ax.legend()

# %%
# A band over places holds at these places; ``within`` makes it hold everywhere between two ends,
# however finely one may look. The default is an average of models, and its band has to hold those
# too that are rougher than most: the band of one model is narrower, and trusts it more.

at_ten = np.linspace(0.1, 0.9, 10)
for name, limits in (
    ("each of 10 places", post.interval(at_ten, nu=1)),
    ("10 places together", post.band(at_ten, nu=1)),
    ("all of 0.1 to 0.9", post.band(at_ten, nu=1, within=(0.1, 0.9))),
):
    factor = np.mean((limits[1] - limits[0]) / (2 * post.std(at_ten, 1)))
    print(f"{name:20s} half width {factor:.2f} standard deviations")
one = sd.smooth(data, sd.SmoothingSpline(order=3))
low, high = one.band(at_ten, nu=1, within=(0.1, 0.9))
factor = np.mean((high - low) / (2 * one.std(at_ten, 1)))
print(f"{'the same, one model':20s} half width {factor:.2f} standard deviations")

# %%
# Peaks
# -----
# ``maxima`` searches the mean curve, and joint draws of the curve tell how surely each peak is
# there: a plateau gets a long interval, and a bump that may be noise a probability below one.

print(post.maxima())
print("steepest rise:")
print(post.argmax(nu=1))

# %%
# Signs
# -----
# ``prob_positive`` is the probability that the slope is positive, place by place. ``regions`` are
# the intervals in which the sign is sure, all of them together with probability 0.95.

print("P(f' > 0) at 0.2, 0.3, 0.4:", post.prob_positive([0.2, 0.3, 0.4], nu=1).round(3))
print(post.regions(nu=1))

# %%
# The plot shows all of it: the band as lines, peaks with their intervals (hollow where unsure), and
# where f surely rises or falls, in strips along the foot of its panel.

axes = sd.plot(post, nu=(0, 1), show=("band", "peaks", "signs"))

# %%
# How much smoothing a sign survives
# ----------------------------------
# A slope that is surely positive at one smoothing may not be at another. The map shows all of them:
# places along x, smoothing upwards.

ax = sd.plot_sizer(sd.sizer(data))

# %%
# Where limits fail
# -----------------
# All of this is as good as the belief about the curve. One smoothing for all of a curve that is
# flat here and steep there is too stiff at the step, where limits are then too narrow, and too
# loose elsewhere. How often limits held in simulations, also where they did not, is told in
# :doc:`/calibration`.

plt.close("all")
