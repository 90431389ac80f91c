"""Markov priors: what is believed about f, as a linear stochastic differential equation.

A prior says how a state z of d numbers moves over a step h > 0 and which number is which
derivative::

    z(x + h) = A(h) z(x) + noise,   noise ~ N(0, Q(h)),   D^i f(x) = units[i] * z_i(x)

z is nondimensional in x: `units` carries the unit of y / unit of x ** i. A new prior is one frozen
class with `dimension`, `units`, `diffusion`, `stationary()` and `steps()`; the loops do the rest.

Two kinds of steps exist. An integrated Wiener process hands over the steps alone, since its
transition is a Taylor shift and its noise factor is constant up to powers of h. Any other prior
hands over dense transitions and square roots of the noise, with whatever accuracy it can.
"""

from __future__ import annotations

import functools
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from smoothderiv.statespace import _step_loops

Array = NDArray[np.float64]

_SHORTEST = 1e-100  # of the span: shorter steps are none, since their powers leave all numbers


class Steps(NamedTuple):
    """The n steps between sorted places, as the loops want them.

    Attributes
    ----------
    h : (n,) array
        Nondimensional step *before* each place; 0 where nothing moves (and for the first place).
    basis : (d, d) array
        Unit upper triangular factor of the noise of an integrated Wiener process at h = 1:
        ``Q(h) = S basis diag(weight) basis' S``, S diagonal in powers of h.
    weight : (1, d) or (n, d) array
        Its weights at h = 1: the same for all steps, or those of each.
    transition : (n, d, d) array or None
        A of each step; None for an integrated Wiener process, whose A is a Taylor shift.
    root : (n, d, d) array or None
        Square root of the noise of each step, ``Q = root root'``.
    """

    h: Array
    basis: Array
    weight: Array
    transition: Array | None
    root: Array | None

    def of(self, rows: Any) -> Steps:
        """Return the steps of some of the rows."""
        weight = self.weight[rows] if len(self.weight) > 1 else self.weight
        if self.transition is None or self.root is None:
            return self._replace(h=self.h[rows], weight=weight)
        return self._replace(h=self.h[rows], transition=self.transition[rows], root=self.root[rows])


class MarkovPrior(ABC):
    """A Gaussian process with a Markov state ``z_i = D^i f / units[i]``, i < `dimension`."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """The number d of state components; derivatives of order below d exist."""

    @property
    @abstractmethod
    def units(self) -> Array:
        """What makes a derivative of a state component: ``D^i f = units[i] * z_i``. (d,)."""

    @abstractmethod
    def stationary(self) -> Array | None:
        """Return the covariance of z at the start, (d, d), or None where it is diffuse."""

    @abstractmethod
    def steps(self, h: Array, x: Array | None = None) -> Steps:
        """Return the steps for distances `h` in unit of x: (n,), none negative.

        `x` is where each step ends, for priors that are not the same everywhere.
        """

    @property
    @abstractmethod
    def diffusion(self) -> float:
        """The quadratic variation of the highest derivative per unit of x."""

    def diffusion_at(self, x: Array) -> Array:
        """Return the quadratic variation of the highest derivative per unit of x, at x: (n,)."""
        return np.full(len(x), self.diffusion)

    @property
    def is_uniform(self) -> bool:
        """Whether steps of one length are the same everywhere."""
        return True

    @property
    def answers(self) -> NDArray[np.int64]:
        """The component that says each derivative of f, from f on: (p + 1,)."""
        return np.arange(self.dimension)

    @property
    def diffuse(self) -> int:
        """How many state components start with infinite variance: all, or none."""
        return self.dimension if self.stationary() is None else 0

    def start(self) -> tuple[Array, Array]:
        """Return the start as factors: U (d, d) unit upper triangular with D on its diagonal, E.

        The covariance is ``U diag(D + kappa E) U'`` for kappa to infinity.
        """
        d, cov = self.dimension, self.stationary()
        if cov is None:
            return np.zeros((d, d)), np.ones(d)
        return unit_upper_factor(cov), np.zeros(d)

    def earlier(self, h: Array) -> Array:
        """Return the U of `start` at distances `h` before the first place: (m, d, d)."""
        return np.tile(self.start()[0], (len(h), 1, 1))


@dataclass(frozen=True)
class IntegratedWiener(MarkovPrior):
    """The (order-1)-fold integrated Wiener process: ``D^order f`` is white noise of density q.

    The state is Taylor's, ``z_i = span**i D^i f / i!``, so that A(h) is binomial. With
    ``t = h / span``, ``Q_ij = q span**(2d-1) t**(2d-1-i-j) / ((2d-1-i-j) (d-1-i)! (d-1-j)! i! j!)``
    (Wahba 1978; Wecker & Ansley 1983), whose factors come from Legendre's polynomials.

    Attributes
    ----------
    order : int
        d, the order of the derivative that is white noise; all d components start diffuse.
    q : float
        Its spectral density, in (unit of y)**2 / (unit of x)**(2 d - 1). 0 is a polynomial.
    span : float
        The unit of time inside; it changes rounding at most.

    Examples
    --------
    >>> prior = IntegratedWiener(order=2, q=3.0)
    >>> prior.covariance(2.0)  # q * [[h**3 / 3, h**2 / 2], [h**2 / 2, h]]
    array([[8., 6.],
           [6., 6.]])
    """

    order: int
    q: float
    span: float = 1.0

    @property
    def dimension(self) -> int:
        return self.order

    @property
    def units(self) -> Array:
        return np.array([math.factorial(i) / self.span**i for i in range(self.order)])

    @property
    def diffusion(self) -> float:
        return self.q

    def stationary(self) -> None:
        return None

    def steps(self, h: Array, x: Array | None = None) -> Steps:
        basis, weight = wiener_factor(self.order)
        scaled = self.q * self.span ** (2 * self.order - 1) * weight
        steps = np.asarray(h, dtype=np.float64) / self.span
        return Steps(np.where(steps > _SHORTEST, steps, 0.0), basis, scaled[None], None, None)

    def earlier(self, h: Array) -> Array:
        """Return the basis that becomes the identity at the first place: (m, d, d).

        Every basis is as diffuse, but what later rows say is told in that of the first place.
        """
        out = np.zeros((len(h), self.order, self.order))
        for i in range(self.order):
            for j in range(i + 1, self.order):
                out[:, i, j] = math.comb(j, i) * (-h / self.span) ** (j - i)
        return out

    def covariance(self, h: float) -> Array:
        """Return the noise of ``(f, f', ..)`` over a step `h`: (d, d), in units of y and x."""
        basis, weight = wiener_factor(self.order)
        powers = np.array(
            [h ** (self.order - 1 - i) * math.factorial(i) for i in range(self.order)]
        )
        factor = powers[:, None] * basis * np.sqrt(self.q * h * weight)
        return np.asarray(factor @ factor.T)


@dataclass(frozen=True)
class Matern(MarkovPrior):
    """The Matern process of half-integer smoothness ``degree + 1/2``: 1/2, 3/2, 5/2, 7/2, ...

    With ``rate = sqrt(2 degree + 1) / scale`` the state is ``z_i = D^i f / (sigma rate**i)`` and
    ``(D + rate)^(degree+1) f`` is white noise (Hartikainen & Sarkka 2010). Every eigenvalue of the
    drift is -1, so ``A(t) = exp(-t) sum_k t**k N**k / k!`` is exact; the square root of the noise
    is Gauss-Legendre's rule for ``int exp(F s) L L' exp(F' s) ds``, free of cancellation for
    small steps.

    Attributes
    ----------
    degree : int
        How many derivatives exist; the state has degree + 1 components.
    scale, sigma : float
        Length scale and standard deviation of f.

    Examples
    --------
    >>> prior = Matern(degree=1, scale=2.0, sigma=1.0)
    >>> prior.dimension, prior.units.round(6).tolist()
    (2, [1.0, 0.866025])
    """

    degree: int
    scale: float
    sigma: float = 1.0

    @property
    def rate(self) -> float:
        """The inverse of the unit of time inside: sqrt(2 nu) / scale."""
        return math.sqrt(2 * self.degree + 1) / self.scale

    @property
    def dimension(self) -> int:
        return self.degree + 1

    @property
    def units(self) -> Array:
        rate = self.rate
        return np.array([self.sigma * rate**i for i in range(self.degree + 1)])

    @property
    def diffusion(self) -> float:
        return self.drift()[1] * self.rate * float(self.units[-1]) ** 2

    def stationary(self) -> Array:
        """Return ``cov(z_a, z_b) = (-1)**((a-b)/2) g((a+b)/2)`` for even a + b, else 0.

        ``g(k) = (2k-1)!! / ((2p-1)(2p-3)..(2p-2k+1))``, p the degree: the even moments of the
        Matern spectrum ``(1 + w**2)**-(p+1)``.
        """
        return _matern_start(self.degree)[0].copy()

    def start(self) -> tuple[Array, Array]:
        return _matern_start(self.degree)[1].copy(), np.zeros(self.dimension)

    def steps(self, h: Array, x: Array | None = None) -> Steps:
        t, d = np.minimum(np.asarray(h) * self.rate, _FORGOTTEN), self.dimension
        transition, root = np.empty((len(t), d, d)), np.empty((len(t), d, d))
        _fill_matern(t, _matern_near(d), transition, root)
        return Steps(t, np.empty((0, 0)), np.empty((0, 0)), transition, root)

    def drift(self) -> tuple[Array, float]:
        """Return F and q of ``dz = F z dt + noise``, of density q on the last component."""
        F, density = _matern_drift(self.dimension)
        return F.copy(), density


@functools.cache
def _matern_drift(d: int) -> tuple[Array, float]:
    """Return F and q of a state of d components."""
    F = np.diag(np.ones(d - 1), 1)
    F[-1] = [-math.comb(d, i) for i in range(d)]
    return F, 2.0 ** (2 * d - 1) * math.factorial(d - 1) ** 2 / math.factorial(2 * d - 2)


@functools.cache
def _matern_powers(d: int) -> tuple[Array, float]:
    """Return ``N**k / k!``, N = F + 1, and q: (d, d, d)."""
    drift, density = _matern_drift(d)
    powers = [np.eye(d)]
    for k in range(1, d):
        powers.append(powers[-1] @ (drift + np.eye(d)) / k)
    return np.array(powers), density


@functools.cache
def _matern_start(p: int) -> tuple[Array, Array]:
    """Return the covariance of the state of degree p, and its factor: (d, d) each."""
    d, moment = p + 1, [1.0]
    for k in range(1, d):
        moment.append(moment[-1] * (2 * k - 1) / (2 * p - 2 * k + 1))
    cov = np.zeros((d, d))
    for a in range(d):
        for b in range(a % 2, d, 2):
            cov[a, b] = (-1.0) ** ((a - b) // 2) * moment[(a + b) // 2]
    return cov, unit_upper_factor(cov)


_FORGOTTEN = 1e3  # a step from which on nothing is known of before: its powers would overflow
_PANELS = np.array([0.0, 0.5, 1.5, 3.5, 8.0, 16.0, 28.0, 60.0])


_PIECE, _PIECES = 0.5, 16
_TERMS = 12


@functools.cache
def _gauss() -> tuple[Array, Array]:
    """Return 12 Gauss nodes and weights on [0, 1]."""
    nodes, weights = np.polynomial.legendre.leggauss(12)
    return 0.5 + 0.5 * nodes, 0.5 * weights


def _fill_matern(t: Array, near: tuple[float, Array], transition: Array, root: Array) -> None:
    """Fill the steps of a Matern process for each t: (n, d, d) both."""
    powers, density = _matern_powers(transition.shape[1])
    _step_loops.matern_steps(t, powers, density, _PANELS, *_gauss(), near, transition, root)


@functools.cache
def _matern_near(d: int) -> tuple[float, Array]:
    """Return by which polynomials roots of the noise are interpolated, and in which pieces.

    Row a over ``t**(d - a - 1/2)`` is analytic: in a piece polynomials of degree 11 in Chebyshev's
    places meet it to a few roundings.
    """
    place = np.cos(np.pi * (np.arange(_TERMS) + 0.5) / _TERMS)
    t = (_PIECE * (np.arange(_PIECES)[:, None] + 0.5 + 0.5 * place)).ravel()
    root, low = np.empty((len(t), d, d)), np.tril_indices(d)
    _fill_matern(t, (1.0, np.empty((0, 0, 0))), np.empty_like(root), root)
    root /= (t[:, None] ** (d - 0.5 - np.arange(d)))[:, :, None]
    entries = root[:, *low].reshape(_PIECES, _TERMS, -1).swapaxes(0, 1).reshape(_TERMS, -1)
    found = np.polynomial.polynomial.polyfit(place, entries, _TERMS - 1)[::-1]
    return _PIECE, np.ascontiguousarray(found.reshape(_TERMS, _PIECES, -1).transpose(1, 2, 0))


@functools.cache
def wiener_factor(order: int) -> tuple[Array, Array]:
    """Return the unit upper triangular factor and the weights of the Wiener noise at h = 1.

    Column c is the response to Legendre's polynomial of degree order - 1 - c, in Taylor's
    coordinates ``z_i = D^i f / i!``; every entry is a correctly rounded ratio of integers.
    """
    d = order
    basis, weight = np.eye(d), np.zeros(d)
    for c in range(d):
        k = d - 1 - c
        weight[c] = float((2 * k + 1) * legendre_moment(k, k) ** 2 / math.factorial(c) ** 2)
        for i in range(c):
            ratio = legendre_moment(d - 1 - i, k) / legendre_moment(k, k)
            basis[i, c] = ratio * math.factorial(c) / math.factorial(i)
    return basis, weight


def legendre_moment(n: int, k: int) -> float:
    """Return ``int_0^1 t**n / n! P_k(2t - 1) dt``."""
    return math.factorial(n) / (math.factorial(n - k) * math.factorial(n + k + 1))


def unit_upper_factor(cov: Array) -> Array:
    """Factor ``cov = U diag(D) U'``; return U with D on its diagonal: (d, d)."""
    d = len(cov)
    left, out = np.array(cov), np.zeros((d, d))
    for j in range(d - 1, -1, -1):
        out[j, j] = left[j, j]
        if left[j, j] > 0:
            out[:j, j] = left[:j, j] / left[j, j]
            left[:j, :j] -= np.outer(out[:j, j], out[:j, j]) * left[j, j]
    return out
