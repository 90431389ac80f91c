"""
The Lorenz equations
====================

Identified by PySINDy from noisy samples at irregular times::

    python examples/30_sindy_lorenz.py [FOLDER]
"""

import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pysindy as ps
from matplotlib import pyplot as plt
from scipy.integrate import solve_ivp

import smoothderiv as sd
from smoothderiv.integrations.pysindy import SmoothDifferentiation

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())


def lorenz(_, state):
    x, y, z = state
    return np.array([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z])


rng = np.random.default_rng(0)
t = np.sort(rng.uniform(0, 10, 1500))
path = solve_ivp(lorenz, (0, 10), [-8, 8, 27], t_eval=t, rtol=1e-10, atol=1e-10).y.T
samples = path + 0.5 * rng.standard_normal(path.shape)
slopes = lorenz(0, path.T).T

# Columns 1, x, y, z, x², xy, xz, y², yz, z².
truth = np.zeros((3, 10))
truth[0, [1, 2]], truth[1, [1, 2, 6]], truth[2, [3, 5]] = (-10, 10), (28, -1, -1), (-8 / 3, 1)

methods = {
    "FiniteDifference": ps.FiniteDifference(),
    "SmoothedFiniteDifference": ps.SmoothedFiniteDifference(smoother_kws={"window_length": 31}),
    "SpectralDerivative": ps.SpectralDerivative(),
}
for half in (0.03, 0.05, 0.1, 0.2):  # only the truth shows which width is best
    methods[f"savitzky_golay, ±{half}"] = ps.SINDyDerivative(
        kind="savitzky_golay", left=half, right=half, order=3
    )
methods["smoothderiv, nothing to set"] = SmoothDifferentiation(sd.SmoothingSpline(order=3))

print(f"{'method':30} error of slopes  of coefficients  terms right (of 7), wrong")
models = {}
for name, method in methods.items():
    model = ps.SINDy(
        optimizer=ps.STLSQ(threshold=0.5),
        feature_library=ps.PolynomialLibrary(degree=2),
        differentiation_method=method,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PySINDy's: sparsity, division by small steps
        models[name] = model.fit(samples, t=t, feature_names=["x", "y", "z"])
        error = np.linalg.norm(method(samples, t) - slopes) / np.linalg.norm(slopes)
    found = model.coefficients()
    off = np.linalg.norm(found - truth) / np.linalg.norm(truth)
    right, wrong = np.sum((found != 0) & (truth != 0)), np.sum((found != 0) & (truth == 0))
    print(f"{name:30} {error:15.3f} {off:16.3f} {right:17d} {wrong:10d}")

best = models["smoothderiv, nothing to set"]
print("\nfound:")
best.print()

simulated = best.simulate(path[0], t[t < 2])
figure, axis = plt.subplots(figsize=(8, 3.5), layout="constrained")
axis.plot(t[t < 2], samples[t < 2, 0], ".", ms=3, color="#999999", label="samples of x")
axis.plot(t[t < 2], path[t < 2, 0], "--", color="#D55E00", label="truth")
axis.plot(t[t < 2], simulated[:, 0], color="#0072B2", label="simulated from what was found")
axis.set(xlabel="t", ylabel="x")
axis.legend()
figure.savefig(folder / "sindy_lorenz.png", dpi=150)
print(f"picture: {folder / 'sindy_lorenz.png'}")
