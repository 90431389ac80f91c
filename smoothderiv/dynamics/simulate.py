"""Run the estimated equation forward: exactly where it is linear, with sticking where it rubs."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from smoothderiv.dynamics import _loops
from smoothderiv.dynamics.terms import Term

Array = NDArray[np.float64]


def simulate(
    terms: tuple[Term, ...],
    values: Array,
    t: Array,
    u: Array,
    raw: Any,
    start: Array,
    sizes: Array,
) -> Array:
    """Return the states (order, n) at ascending times, inputs (n, m) held between them.

    `values` are the coefficients, `sizes` (order,) what a state typically is, all in the user's
    units. Linear equations and
    friction are integrated exactly, piece by piece; functions by an adaptive Runge-Kutta rule.
    """
    if any(term.kind == "function" for term in terms):
        return _integrate(terms, values, t, raw, start, sizes)
    drift = np.zeros(len(start))
    force, friction = np.zeros(len(t)), 0.0
    for term, value in zip(terms, values, strict=True):
        if term.kind == "state":
            drift[term.index] += value
        elif term.kind == "input":
            force += value * u[:, term.index]
        elif term.kind == "constant":
            force += value
        else:
            friction = float(value)
    h = np.diff(t)
    return np.asarray(_loops.respond_rubbing(h, drift, friction, force, start).T)


def basis(order: int, drift: Array, t: Array, force: Array) -> Array:
    """Return answers (n, order, 1 + order) to the forces (n,) from rest, and to each start."""
    h, step = np.unique(np.diff(t), return_inverse=True)
    A, G, _ = _loops.discretise(h, drift)
    start = np.concatenate((np.zeros((order, 1)), np.eye(order)), axis=1)
    forces = np.zeros((len(t), 1 + order))
    forces[1:, 0] = force[:-1]
    steps = np.concatenate(([-1], step)).astype(np.int64)
    A0, G0 = np.ascontiguousarray(A[:, 0]), np.ascontiguousarray(G[:, 0, :, 0])
    found: Array = _loops.respond(steps, A0, G0, start, forces)
    return found


def _integrate(
    terms: tuple[Term, ...], values: Array, t: Array, raw: Any, start: Array, sizes: Array
) -> Array:
    from scipy import integrate

    out = np.empty((len(start), len(t)))
    out[:, 0] = state = np.asarray(start, dtype=float)
    for i in range(len(t) - 1):
        now = None if raw is None else raw[i : i + 1]

        def slope(_: float, s: Array, now: Any = now) -> Array:
            return np.append(s[1:], right_side(terms, values, s, now))

        if t[i + 1] > t[i]:
            found = integrate.solve_ivp(
                slope, (t[i], t[i + 1]), state, method="DOP853", rtol=1e-8, atol=1e-9 * sizes
            )
            state = found.y[:, -1]
        out[:, i + 1] = state
    return out


def right_side(terms: tuple[Term, ...], values: Array, state: Array, raw: Any) -> float:
    """Return ``D^order x`` at one state (order,) and input, in the user's units."""
    total = 0.0
    inputs = None if raw is None else np.atleast_2d(np.asarray(raw).reshape(1, -1))
    for term, value in zip(terms, values, strict=True):
        if term.kind == "state":
            total += value * state[term.index]
        elif term.kind == "input":
            assert inputs is not None
            total += value * inputs[0, term.index]
        elif term.kind == "constant":
            total += value
        elif term.kind == "friction":
            total += value * np.sign(state[-1])
        else:
            assert term.function is not None
            total += value * float(np.asarray(term.function(state[:, None], raw)).ravel()[0])
    return float(total)
