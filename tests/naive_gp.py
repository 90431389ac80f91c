"""Slow, obvious references for Gaussian processes: kernels in 50 digits, regression by solve()."""

import itertools

import mpmath as mp
import numpy as np

mp.mp.dps = 50


def distance(x, y, scale):
    return mp.sqrt(mp.fsum(((a - b) / s) ** 2 for a, b, s in zip(x, y, scale, strict=True)))


def squared_exponential(x, y, scale, sigma):
    return sigma**2 * mp.exp(-(distance(x, y, scale) ** 2) / 2)


def matern(x, y, scale, sigma, k):
    """The textbook form with the modified Bessel function replaced by its finite sum."""
    z = mp.sqrt(2 * k + 1) * distance(x, y, scale)
    terms = (
        mp.factorial(k + i) / (mp.factorial(i) * mp.factorial(k - i)) * (2 * z) ** (k - i)
        for i in range(k + 1)
    )
    return sigma**2 * mp.exp(-z) * mp.factorial(k) / mp.factorial(2 * k) * mp.fsum(terms)


def rational_quadratic(x, y, scale, sigma, alpha):
    return sigma**2 * (1 + distance(x, y, scale) ** 2 / (2 * alpha)) ** (-alpha)


def periodic(x, y, scale, sigma, period):
    sines = (
        (mp.sin(mp.pi * (a - b) / period) / s) ** 2 for a, b, s in zip(x, y, scale, strict=True)
    )
    return sigma**2 * mp.exp(-2 * mp.fsum(sines))


def polynomial(x, y, degree, offset, sigma, center):
    dot = mp.fsum((a - center) * (b - center) for a, b in zip(x, y, strict=True))
    return sigma**2 * (offset**2 + dot) ** degree


def wiener(x, y, order, sigma):
    """By quadrature of its definition, for places right of 0."""
    s, t = x[0], y[0]
    m = order - 1
    weight = sigma**2 / mp.factorial(m) ** 2
    return weight * mp.quad(lambda v: (s - v) ** m * (t - v) ** m, [0, min(s, t)])


def derivative(k, x, y, p, q):
    """D_x^p D_y^q k(x, y) by differences in 50 digits."""
    ndim = len(x)
    point = [mp.mpf(float(v)) for v in (*x, *y)]
    orders = tuple(int(v) for v in (*p, *q))
    if not sum(orders):
        return k(point[:ndim], point[ndim:])
    return mp.diff(lambda *z: k(z[:ndim], z[ndim:]), tuple(point), orders)


def multi_indices(ndim, total):
    """All multi-indices of total order up to `total`."""
    every = itertools.product(range(total + 1), repeat=ndim)
    return [m for m in every if sum(m) <= total]


def regression(K, cross, prior, y, noise, H=None, h=None):
    """Mean and covariance of Gaussian process regression, with a diffuse mean H b if given."""
    inverse = np.linalg.inv(K + np.diag(noise**2))
    mean = cross @ inverse @ y
    cov = prior - cross @ inverse @ cross.T
    if H is not None:
        beta_cov = np.linalg.inv(H.T @ inverse @ H)
        beta = beta_cov @ H.T @ inverse @ y
        R = h - cross @ inverse @ H
        mean = mean + R @ beta
        cov = cov + R @ beta_cov @ R.T
    return mean, cov
