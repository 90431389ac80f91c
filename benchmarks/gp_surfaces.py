"""Test surfaces on the unit cube, with their gradients, for the Gaussian process benchmark."""

import numpy as np

_HARTMANN_A = np.array([[3, 10, 30], [0.1, 10, 35], [3, 10, 30], [0.1, 10, 35]])
_HARTMANN_P = 1e-4 * np.array(
    [[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]
)
_HARTMANN_C = np.array([1.0, 1.2, 3.0, 3.2])


def branin(x):
    b, c, t = 5.1 / (4 * np.pi**2), 5 / np.pi, 1 / (8 * np.pi)
    u, v = 15 * x[0] - 5, 15 * x[1]
    return (v - b * u**2 + c * u - 6) ** 2 + 10 * (1 - t) * np.cos(u) + 10


def franke(x):
    a, b = 9 * x[0], 9 * x[1]
    return (
        0.75 * np.exp(-((a - 2) ** 2 + (b - 2) ** 2) / 4)
        + 0.75 * np.exp(-((a + 1) ** 2) / 49 - (b + 1) / 10)
        + 0.5 * np.exp(-((a - 7) ** 2 + (b - 3) ** 2) / 4)
        - 0.2 * np.exp(-((a - 4) ** 2) - (b - 7) ** 2)
    )


def six_hump_camel(x):
    u, v = 6 * x[0] - 3, 4 * x[1] - 2
    return (4 - 2.1 * u**2 + u**4 / 3) * u**2 + u * v + (4 * v**2 - 4) * v**2


def styblinski_tang(x):
    u = 10 * np.stack([x[0], x[1]]) - 5
    return 0.5 * (u**4 - 16 * u**2 + 5 * u).sum(axis=0)


def hartmann3(x):
    x = np.stack([x[0], x[1], x[2]])
    inner = sum(
        _HARTMANN_A[:, a, None] * (x[a][None] - _HARTMANN_P[:, a, None]) ** 2 for a in range(3)
    )
    return -(_HARTMANN_C[:, None] * np.exp(-inner)).sum(axis=0)


def welch(x):
    x = np.stack(list(x)) - 0.5
    return (
        5 * x[11] / (1 + x[0])
        + 5 * (x[3] - x[19]) ** 2
        + x[4]
        + 40 * x[18] ** 3
        - 5 * x[18]
        + 0.05 * x[1]
        + 0.08 * x[2]
        - 0.03 * x[5]
        + 0.03 * x[6]
        - 0.09 * x[8]
        - 0.01 * x[9]
        - 0.07 * x[10]
        + 0.25 * x[12] ** 2
        - 0.04 * x[13]
        + 0.06 * x[14]
        - 0.01 * x[16]
        - 0.03 * x[17]
    )


SURFACES = {
    "branin": (branin, 2),
    "franke": (franke, 2),
    "six-hump": (six_hump_camel, 2),
    "styblinski": (styblinski_tang, 2),
    "hartmann3": (hartmann3, 3),
    "welch": (welch, 20),
}


def gradient(f, X):
    """The exact gradient by complex steps: (n, d)."""
    columns = []
    for a in range(X.shape[1]):
        Z = X.astype(complex)
        Z[:, a] += 1e-30j
        columns.append(f(Z.T).imag / 1e-30)
    return np.array(columns).T
