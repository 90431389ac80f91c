"""
Gradients from noisy samples
============================

The slope, second derivative or gradient of a function that was only sampled, at irregular places,
with noise of unknown size: and how far to trust it.
"""

import matplotlib.pyplot as plt
import numpy as np

import smoothderiv as sd

rng = np.random.default_rng(1)
x = np.sort(rng.uniform(0, 10, 150))
y = np.sin(x) + 0.3 * np.sin(3 * x) + 0.1 * rng.standard_normal(150)
slope = np.cos(x) + 0.9 * np.cos(3 * x)

# %%
# Arrays in, arrays out
# ---------------------
# :func:`smoothderiv.differentiate` needs no settings. Differences of neighbours, here by
# ``np.gradient``, divide the noise by small steps.

estimate = sd.differentiate(x, y)
print(f"error of differences   {np.sqrt(np.mean((np.gradient(y, x) - slope) ** 2)):.3f}")
print(f"error of the estimate  {np.sqrt(np.mean((estimate.mean - slope) ** 2)):.3f}")
print(f"standard deviation that it states  {np.sqrt(np.mean(estimate.std**2)):.3f}")
inside = (estimate.lower < slope) & (slope < estimate.upper)
print(f"true slopes inside the 95 % pointwise intervals  {inside.mean():.0%}")

# %%
figure, ax = plt.subplots(figsize=(7, 3.5), layout="constrained")
ax.plot(x, np.gradient(y, x), ".", color="0.7", ms=4, label="differences")
ax.fill_between(x, estimate.lower, estimate.upper, color="#0072B2", alpha=0.25, lw=0)
ax.plot(x, estimate.mean, color="#0072B2", label="estimate, 95 % interval")
ax.plot(x, slope, "--", color="#D55E00", lw=1, label="truth")
ax.set(ylim=(-4, 4), xlabel="x", ylabel="dy/dx")
_ = ax.legend(ncols=3, loc="upper center")

# %%
# Elsewhere, higher, and many at once
# -----------------------------------
# ``at`` gives the places, ``nu`` the derivative. Arrays of several dimensions are differentiated
# along ``axis``, each series tuned separately; NaN marks missing values.

bend = sd.differentiate(x, y, nu=2, at=[2.0, 5.0, 8.0])
print("second derivatives", bend.mean.round(2), "±", bend.std.round(2))
print("truth             ", (-np.sin(bend.x) - 2.7 * np.sin(3 * np.array(bend.x))).round(2))

both = np.stack((y, np.where(x < 5, y, np.nan)))
few = sd.differentiate(x, both, at=[2.0, 7.0], axis=1)
print("at 2 and at 7, all samples    ", few.mean[0].round(2), "±", few.std[0].round(2))
print("at 2 and at 7, none beyond 5  ", few.mean[1].round(2), "±", few.std[1].round(2))

# %%
# The second series ends at 5: its slope at 7 is a guess, and the standard deviation shows it.
#
# Outliers
# --------
# Rows that Gaussian noise cannot explain are down-weighted, if the residuals call for it. The
# weights are in the data of the fit.

spoiled = y.copy()
spoiled[::15] += 2.0 * rng.standard_normal(10)
post = sd.smooth(sd.observe(x, spoiled), nu=1)
kept = sd.smooth(sd.observe(x, spoiled), nu=1, robust=False)
for name, fit in (("reweighted", post), ("as Gaussian noise", kept)):
    print(f"{name:18s} error of the slope {np.sqrt(np.mean((fit(x, 1) - slope) ** 2)):.3f}")
print(f"downweighted: {len(post.data.downweighted)} of 150 rows")

# %%
# Kinks
# -----
# The default assumes that two derivatives exist. If the curve has kinks and you need only the
# slope, ``nu=1`` admits rougher curves: here the error is nearly halved.

saw = np.abs((x % 4) - 2) + 0.05 * rng.standard_normal(150)
steep = np.where(x % 4 < 2, -1.0, 1.0)
for nu in (2, 1):
    fit = sd.smooth(sd.observe(x, saw), nu=nu)
    print(f"nu={nu}: error of the slope {np.sqrt(np.mean((fit(x, 1) - steep) ** 2)):.3f}")

# %%
# Surfaces
# --------
# For x of several dimensions a Gaussian process gives the gradient with the covariance of its
# components.

places = rng.uniform(-2, 2, (80, 2))
height = np.exp(-(places[:, 0] ** 2) - 0.5 * places[:, 1] ** 2) + 0.02 * rng.standard_normal(80)
surface = sd.smooth(sd.observe(places, height), sd.GaussianProcess(sd.kernels.Matern52()))
gradient = surface.gradient([[0.5, 0.5]])
print("gradient at (0.5, 0.5):", gradient.mean[0].round(3), "±", gradient.std[0].round(3))
print("truth:                 ", (np.exp(-0.375) * np.array([-1.0, -0.5])).round(3))
ax = sd.plot_field(surface)

# %%
# :class:`.Posterior` lists everything else that a fit can compute; :doc:`/learn/3_bands` explains
# intervals, bands and how to find peaks.
