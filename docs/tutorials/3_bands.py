"""
Intervals and bands of a derivative
===================================

What the data say about a derivative: at one place, along the whole curve, about its peaks and its
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
# Pointwise interval and simultaneous band
# ----------------------------------------
# ``interval`` is pointwise: a 95 % interval contains the truth at about 95 % of the places.
# ``band`` is simultaneous: in 95 of 100 data sets the *whole* curve lies within it. It is wider, by
# a factor that depends on how much the curve varies.

lower, upper = post.interval(grid, nu=1)
low, high = post.band(grid, nu=1)
print(f"mean width of the pointwise interval  {np.mean(upper - lower):.1f}")
print(f"mean width of the simultaneous band   {np.mean(high - low):.1f}")

figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.fill_between(grid, low, high, color="#0072B2", alpha=0.15, lw=0, label="simultaneous")
ax.fill_between(grid, lower, upper, color="#0072B2", alpha=0.3, lw=0, label="pointwise")
ax.plot(grid, post(grid, 1), color="#0072B2")
ax.plot(grid, curve(grid, 1), "--", color="#D55E00", lw=1, label="truth")
ax.set(xlabel="x", ylabel="f'")
_ = ax.legend()

# %%
# A band is simultaneous over the places given; with ``within`` it is simultaneous over the whole
# range between two ends, however fine the grid. The default is an average of models, and its band
# must also include those that are rougher than most; the band of one model is narrower, and relies
# on that model.

at_ten = np.linspace(0.1, 0.9, 10)
for name, (low, high) in (
    ("each of 10 places", post.interval(at_ten, nu=1)),
    ("10 places together", post.band(at_ten, nu=1)),
    ("all of 0.1 to 0.9", post.band(at_ten, nu=1, within=(0.1, 0.9))),
):
    factor = np.mean((high - low) / (2 * post.std(at_ten, 1)))
    print(f"{name:20s} half width {factor:.2f} standard deviations")
one = sd.smooth(data, sd.SmoothingSpline(order=3))
low, high = one.band(at_ten, nu=1, within=(0.1, 0.9))
factor = np.mean((high - low) / (2 * one.std(at_ten, 1)))
print(f"{'the same, one model':20s} half width {factor:.2f} standard deviations")

# %%
# Peaks
# -----
# ``maxima`` searches the mean curve; joint draws of the curve give the probability of each peak: a
# plateau gets a long interval, and a bump that may be noise a probability below one.

print(post.maxima())
print("steepest rise:")
print(post.argmax(nu=1))

# %%
# Signs
# -----
# ``prob_positive`` is the probability that the slope is positive, at each place. ``regions`` are
# the intervals in which the sign is sure, all of them together with probability 0.95.

print("P(f' > 0) at 0.2, 0.3, 0.4:", post.prob_positive([0.2, 0.3, 0.4], nu=1).round(3))
print(post.regions(nu=1))

# %%
# The plot shows all of it: the simultaneous band as lines, peaks with their intervals (hollow if
# doubtful), and strips along the foot of each panel where its curve surely rises or falls.

axes = sd.plot(post, nu=(0, 1), show=("band", "peaks", "signs"))

# %%
# Signs at every amount of smoothing
# ----------------------------------
# A slope that is surely positive at one amount of smoothing may not be at another. The SiZer map
# shows all of them: places along x, more smoothing upwards.

ax = sd.plot_sizer(sd.sizer(data))

# %%
# Where intervals and bands fail
# ------------------------------
# All of this is only as good as the prior. One amount of smoothing for a curve that is flat here
# and steep there is too much at the step, where intervals are then too narrow, and too little
# elsewhere. :doc:`/calibration` reports the coverage in simulations, also where it is too low.

plt.close("all")
