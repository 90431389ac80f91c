"""The windowed frequency domain: derivatives are multiplications, and corrections for the window.

With w and its first derivatives zero at both ends, ``(w x'')^ = (i omega)^2 (w x)^ - 2 i omega
(w' x)^ + (w'' x)^`` and ``(w x')^ = i omega (w x)^ - (w' x)^``, ^ the Fourier transform over the
record: nothing is differenced, and nothing leaks. The window is ``sin^4(pi t / T)``.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from smoothderiv.dynamics.estimate import Estimate
from smoothderiv.dynamics.modulating import held_columns, with_noise
from smoothderiv.dynamics.moments import MomentEquations
from smoothderiv.dynamics.problem import Problem

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]

_HARMONICS = {-2: 1 / 16, -1: -1 / 4, 0: 3 / 8, 1: -1 / 4, 2: 1 / 16}  # of the window
_MOST, _FEWEST = 200, 60  # bins
_ABOVE = 2.0  # standard deviations of noise that a bin must reach to be of use


def fit(problem: Problem) -> tuple[Estimate, None]:
    """Regress the bins of the windowed spectrum on each other, weighted by signal over noise.

    White noise on x has a known covariance between bins up to its level, which grows as omega^2
    for x''; weighted by it, and freed of the noise in the regressors (see ``moments``), bins where
    noise drowns the signal count for nothing. Bins above the last that stands out are left out.
    Even times; inputs are transformed exactly, as held.
    """
    problem.require_even("fourier")
    problem.require_plain("fourier")
    n = len(problem.t) - 1  # the last sample meets the window's zero
    if n < 8 * (len(problem.terms) + 1):
        raise ValueError(
            f"x: {n + 1} samples are too few for method='fourier'; use method='kalman'"
        )
    most = min(_MOST, n // 8)
    shapes = [_spectrum(problem.x[:n], most, k) for k in range(problem.order + 1)]
    noise = _noise(most, n, problem.order)
    level = _level(problem.x)
    stands = np.abs(shapes[problem.order]) > _ABOVE * level * np.sqrt(noise)
    kept = min(max(_FEWEST, 1 + int(np.max(np.flatnonzero(stands), initial=0))), most)
    held = held_columns(problem)
    inputs = np.array([_held_spectrum(held[:, j], kept) for j in range(held.shape[1])])
    noisy = problem.indices("state")
    Z = np.array([_real(row) for row in inputs]).T
    for j in noisy:
        Z[:, j] = _real(shapes[problem.terms[j].index][:kept])
    orders = [problem.order, *(problem.terms[j].index for j in noisy)]
    tests = [_tests(kept, k) for k in orders]
    scale = n / tests[0].shape[1] / n**2  # sums over n even samples of 1/n each
    cov = np.array([[scale * (a @ b.T) for b in tests] for a in tests])
    y = _real(shapes[problem.order][:kept])
    estimate = MomentEquations(y, Z, noisy, cov, problem.names).solve()
    estimate.notes["bins"] = kept
    return with_noise(estimate), None


def _window(t: Array, order: int) -> Array:
    """Return a derivative of the window at times from 0 to 1."""
    found = np.zeros(len(t), dtype=complex)
    for m, weight in _HARMONICS.items():
        found += weight * (2j * math.pi * m) ** order * np.exp(2j * math.pi * m * t)
    return found.real


def _combined(parts: list[Complex], omega: Array, order: int) -> Complex:
    """Return the transform of ``w D^order x`` from those of ``w^(k) x``, k <= order.

    ``int w e D^q x = (-1)^q int D^q(w e) x`` with ``e = exp(-i omega t)``: Leibniz' rule gives the
    corrections.
    """
    total = np.zeros(len(omega), dtype=complex)
    for k in range(order + 1):
        total += math.comb(order, k) * (-1.0) ** k * (1j * omega) ** (order - k) * parts[k]
    return total


def _spectrum(x: Array, bins: int, order: int) -> Complex:
    """Return the first bins of the transform of ``w D^order x`` from n even samples over T = 1."""
    n = len(x)
    t = np.arange(n) / n
    parts = [np.fft.fft(_window(t, k) * x)[:bins] / n for k in range(order + 1)]
    return _combined(parts, 2.0 * math.pi * np.arange(float(bins)), order)


def _tests(bins: int, order: int) -> Array:
    """Return the test functions, real and imaginary, on a grid that sums their products exactly."""
    size = 2 * (bins + 4) + 2
    t = np.arange(size) / size
    omega = 2.0 * math.pi * np.arange(bins)
    wave = np.exp(-1j * omega[:, None] * t)
    total = np.zeros((bins, size), dtype=complex)
    for k in range(order + 1):
        factor = math.comb(order, k) * (-1.0) ** k * (1j * omega) ** (order - k)
        total += factor[:, None] * _window(t, k) * wave
    return _real(total)


def _real(values: Complex) -> Array:
    """Return real parts, then imaginary parts but for that of bin 0, which is zero."""
    return np.concatenate((values.real, values.imag[1:]))


def _noise(bins: int, n: int, order: int) -> Array:
    """Return the variance of each bin at unit noise: (bins,)."""
    tests = _tests(bins, order)
    size = tests.shape[1]
    square = np.append((tests**2).sum(axis=1), 0.0) / size / n
    real, imag = square[:bins], np.concatenate(([0.0], square[bins : 2 * bins - 1]))
    return np.asarray(real + imag)


def _level(x: Array) -> float:
    """Return a rough noise level from third differences of even samples."""
    return float(np.sqrt(np.mean(np.diff(x, 3) ** 2) / 20.0))


def _held_spectrum(values: Array, bins: int) -> Complex:
    """Return the transform of ``w u`` for u held over n even steps of T = 1, exactly."""
    n = len(values)
    k = np.arange(-2, bins + 2)
    plain = np.fft.fft(values)
    table = plain[k % n]
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.where(k == 0, 1.0 / n, (1.0 - np.exp(-2j * math.pi * k / n)) / (2j * math.pi * k))
    held = table * step
    total = np.zeros(bins, dtype=complex)
    for m, weight in _HARMONICS.items():
        total += weight * held[np.arange(bins) - m + 2]
    return total
