"""
A motor from end to end
=======================

From encoder counts and voltages to feed-forward constants::

    python examples/20_motor.py [FOLDER]

The motor (simulated, so that there is a truth): x'' = a x' + b u + f sgn(x') with a = -4 per
second, b = 30 rad/s² per volt and f = -15 rad/s². Its encoder counts 2048 steps a turn, and the
voltage switches at random for 6 seconds. The constants are judged by their use: the voltage that
they give for a desired motion is applied to the motor in open loop, and the motion is compared
with the desired one.
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

TRUTH = {"rate": -4.0, "input": 30.0, "friction": -15.0}  # 1/s, rad/s²/V, rad/s²
COUNT = 2 * np.pi / 2048  # rad


def motor(t, volts, parts=40):
    """Run the true motor, in small steps; return angle and speed at the times."""
    a, b, f = TRUTH.values()
    x, v = np.zeros((2, len(t)))
    angle, speed = 0.0, 0.0
    for i, h in enumerate(np.diff(t) / parts):
        for _ in range(parts):
            drive = a * speed + b * volts[i]
            if speed == 0.0 and abs(drive) <= -f:
                continue
            sign = np.sign(speed) or np.sign(drive)
            new = speed + h * (drive + f * sign)
            new = 0.0 if new * sign < 0 else new  # it stops before it turns
            angle += 0.5 * h * (speed + new)
            speed = new
        x[i + 1], v[i + 1] = angle, speed
    return x, v


t = 0.01 * np.arange(601)
rng = np.random.default_rng(3)
volts = np.repeat(rng.choice([-6.0, -3.0, 3.0, 6.0], 31), 20)[:601]
angle, speed = motor(t, volts)
measured = COUNT * np.round(angle / COUNT)

terms = ("rate", "input", "friction")
fits = {
    name: sd.dynamics.fit(t, measured, volts, terms=terms, method=name)
    for name in ("difference", "kalman")
}
print(fits["kalman"].summary())
print(f"truth: {', '.join(f'{k} {v:g}' for k, v in TRUTH.items())}\n")

# The use of the constants: one turn forth and back, in one second each.
s = np.linspace(0, 1, 101)
turn = 2 * np.pi * (10 * s**3 - 15 * s**4 + 6 * s**5)
fast = 2 * np.pi * (30 * s**2 - 60 * s**3 + 30 * s**4)
bend = 2 * np.pi * (60 * s - 180 * s**2 + 120 * s**3)
desired, rate, acceleration = np.concatenate(
    ([turn, fast, bend], [turn[::-1], -fast, -bend]), axis=1
)
clock = 0.01 * np.arange(len(desired))

figure, axes = plt.subplots(2, 1, sharex=True, figsize=(7, 5), layout="constrained")
axes[0].plot(clock, desired, color="0.3", lw=3, alpha=0.4, label="desired")
for (name, fit), color in zip(fits.items(), ("#D55E00", "#0072B2"), strict=True):
    gain = fit.feedforward.gains
    voltage = gain["Ka"] * acceleration + gain["Kv"] * rate + gain["Ks"] * np.sign(rate)
    reached, _ = motor(clock, 0.5 * (voltage + np.append(voltage[1:], 0.0)))
    off = np.sqrt(np.mean((reached - desired) ** 2))
    print(f"{name:10s} {fit.feedforward}\n{'':10s} off by {np.degrees(off):.1f} degrees")
    axes[0].plot(clock, reached, color=color, lw=1.5, label=f"constants by {name}")
    axes[1].step(clock, voltage, color=color, lw=1.2, where="post")
axes[0].set_ylabel("angle (rad)")
axes[1].set(xlabel="t (s)", ylabel="voltage (V)")
axes[0].legend(frameon=False)
figure.savefig(folder / "feedforward.png", dpi=150)

figure = fits["kalman"].plot(t_unit="s", x_unit="rad")
figure.axes[-1].set_ylabel("u (V)")
figure.savefig(folder / "motor.png", dpi=150)
print(f"pictures: {folder / 'motor.png'}, {folder / 'feedforward.png'}")
