"""A simulated train ride between two stops: the data of ``smoothderiv demo``, and their truth.

Positions every 4 s but not in a tunnel (sd 6 m, given), speeds and accelerations at irregular
times (sd 0.8 m/s and 0.2 m/s^2, both left to be estimated). The table ``train.csv`` in this
folder was written once by ``simulate()``.
"""

from __future__ import annotations

import math
from importlib import resources

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

Array = NDArray[np.float64]

UNITS = ("m", "m/s", "m/s²")
SD = (6.0, 0.8, 0.2)
END = 100.0
TABLE = (resources.files(__package__) / "train.csv").read_bytes()


def truth(t: ArrayLike, nu: int) -> Array:
    """Return position (nu=0, m), speed (1, m/s) or acceleration (2, m/s^2) at `t` seconds.

    The speed is ``10 (tanh((t-20)/8) - tanh((t-80)/9)) - 7 exp(-((t-52)/7)^2)``: the train leaves,
    slows down on the way, and arrives.
    """
    t = np.asarray(t, dtype=np.float64)
    u, v, w = (t - 20) / 8, (t - 80) / 9, (t - 52) / 7
    if nu == 0:
        return np.asarray(_position(t) - _position(np.zeros(())))
    if nu == 1:
        return np.asarray(10 * (np.tanh(u) - np.tanh(v)) - 7 * np.exp(-(w**2)))
    leaving, arriving = 10 / 8 / np.cosh(u) ** 2, 10 / 9 / np.cosh(v) ** 2
    return np.asarray(leaving - arriving + 2 * w * np.exp(-(w**2)))


def _position(t: Array) -> Array:
    u, v, w = (t - 20) / 8, (t - 80) / 9, (t - 52) / 7
    ride = 80 * np.log(np.cosh(u)) - 90 * np.log(np.cosh(v))
    return np.asarray(ride - 7 * 7 * math.sqrt(math.pi) / 2 * special.erf(w))


def grid() -> Array:
    """Return the times at which errors against the truth are told."""
    return np.linspace(0.0, END, 401)


def rmse(fitted: Array, nu: int) -> float:
    """Return the root mean square error of a fitted curve of order `nu` on :func:`grid`."""
    return float(np.sqrt(np.mean((fitted - truth(grid(), nu)) ** 2)))


def simulate(seed: int = 3) -> str:
    """Return the table as CSV text: columns t, pos, pos_err, vel, acc; empty where not observed."""
    rng = np.random.default_rng(seed)
    every = np.arange(0.0, END + 1, 4.0)
    places = (
        every[(every < 38) | (every > 62)],
        np.round(np.sort(rng.uniform(0, END, 30)), 1),
        np.round(np.sort(rng.uniform(0, END, 60)), 1),
    )
    rows = []
    for nu, t in enumerate(places):
        for time, y in zip(t, truth(t, nu) + SD[nu] * rng.standard_normal(len(t)), strict=True):
            cells = [f"{time:g}", "", "", "", ""]
            cells[(1, 3, 4)[nu]] = f"{y:.3f}"
            cells[2] = f"{SD[0]:g}" if nu == 0 else ""
            rows.append((time, nu, ",".join(cells)))
    return "\n".join(["t,pos,pos_err,vel,acc", *(line for _, _, line in sorted(rows)), ""])
