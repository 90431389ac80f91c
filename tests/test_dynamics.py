"""Equations of motion from noisy samples: laws, against simulated truth and other witnesses."""

import dataclasses
import datetime as dt
import itertools
import warnings

import contracts
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, linalg, optimize, signal

import smoothderiv as sd
from smoothderiv.dynamics import _loops
from smoothderiv.dynamics.cells import Cells
from smoothderiv.dynamics.likelihood import Likelihood, Point
from smoothderiv.dynamics.problem import pose
from smoothderiv.dynamics.search import freed, search
from smoothderiv.dynamics.timeline import tables

METHODS = ("kalman", "gradient", "modulating", "fourier", "integral", "arimax", "difference")
UNBIASED = ("kalman", "modulating", "fourier", "integral")
STEP = 0.02


def switching(n=400, every=20, seed=0, levels=(-1.0, 1.0, 3.0)):
    """An input that jumps among levels."""
    return np.repeat(np.random.default_rng(seed).choice(levels, n // every), every)


def motion(t, u, drift, b=2.0, c=-1.0, start=None):
    """Simulate ``D^d x = drift . state + b u + c`` for held u, by scipy's matrix exponential."""
    d = len(drift)
    F = np.diag(np.ones(d - 1), 1)
    F[-1] = drift
    state = np.zeros(d) if start is None else np.asarray(start, dtype=float)
    out = [state]
    for h, force in zip(np.diff(t), b * u + c, strict=False):
        block = np.zeros((d + 1, d + 1))
        block[:d, :d], block[d - 1, d] = F, force
        state = (linalg.expm(block * h) @ np.append(state, 1.0))[:d]
        out.append(state)
    return np.array(out).T


def swung(t):
    """``x'' = -0.4 x' - 4.04 x``, a swing that fades."""
    return np.cos(2 * t) * np.exp(-0.2 * t)


def disturbed_motion(u, strength, rng):
    """Draw x with white noise of root spectral density `strength` in x''."""
    A, G, Q = (table[0, 0] for table in tables(np.array([STEP]), np.array([0.0, -3.0])))
    root, state, x = np.linalg.cholesky(strength**2 * Q), np.zeros(2), []
    for force in 2 * u - 1:
        x.append(state[0])
        state = A @ state + G[:, 0] * force + root @ rng.standard_normal(2)
    return np.array(x)


def noisy(x, level, seed=0):
    return x + level * np.random.default_rng(seed).standard_normal(np.shape(x))


def near(fit, truth, z=4.0):
    """Every coefficient lies within z standard deviations of the truth, and those are of use."""
    std = np.sqrt(np.diag(fit.covariance))
    assert (np.abs(fit.values - truth) <= z * std).all(), (fit.values, truth, std)
    assert (std < 0.25 * np.abs(truth)).all()


@pytest.fixture(scope="module")
def motor():
    t = STEP * np.arange(400)
    u = switching()
    return t, u, motion(t, u, (0.0, -3.0))


# The parts


@pytest.mark.parametrize("drift", [(-3.0,), (0.0,), (0.0, -3.0), (-40.0, -0.5), (0.0, 2.0, -30.0)])
def test_a_step_is_the_exponential_of_the_matrix(drift):
    drift = np.array(drift)
    d = len(drift)
    F = np.diag(np.ones(d - 1), 1)
    F[-1] = drift
    for h in (1e-6, 0.02, 0.7, 5.0):
        A, G, Q = _loops.discretise(np.array([h]), drift)
        assert_allclose(A[0, 0], linalg.expm(F * h), rtol=1e-11, atol=1e-13)
        last = np.eye(d)[:, -1:]
        discrete = signal.cont2discrete((F, last, np.eye(d), np.zeros((d, 1))), h)
        assert_allclose(G[0, 0], discrete[1], rtol=1e-9, atol=1e-15)
        node, weight = np.polynomial.legendre.leggauss(60)
        kicks = [linalg.expm(F * s) @ last for s in 0.5 * h * (node + 1)]
        exact = 0.5 * h * sum(w * k @ k.T for w, k in zip(weight, kicks, strict=True))
        assert_allclose(Q[0, 0], exact, rtol=1e-9)
        for j in range(d):
            turn = np.zeros((d, d))
            turn[-1, j] = h
            exact = linalg.expm_frechet(F * h, turn, compute_expm=False)
            assert_allclose(A[0, 1 + j], exact, rtol=1e-9, atol=1e-14)


def test_derivatives_of_a_step_are_derivatives():
    drift, h = np.array([-2.0, -3.0]), np.array([0.3, 2.0])
    found = _loops.discretise(h, drift)
    for j in range(2):
        e = np.eye(2)[j] * 1e-5
        up, down = _loops.discretise(h, drift + e), _loops.discretise(h, drift - e)
        for value, high, low in zip(found, up, down, strict=True):
            assert_allclose(value[:, 1 + j], (high[:, 0] - low[:, 0]) / 2e-5, rtol=1e-6, atol=1e-9)


def mixed_problem(n=60, known=False):
    """Uneven times, a gap, missing samples, rates and accelerations, two unknown noise levels."""
    rng = np.random.default_rng(4)
    t = np.sort(rng.uniform(0, 3, n))
    u = rng.choice([-1.0, 2.0], n)
    x, v = motion(t, u, (-2.0, -1.0))
    x = noisy(x, 0.05, 1)
    x[10:14] = np.nan
    also = sd.observe(t[::3], noisy(v[::3], 0.1, 2), nu=1)
    also = also + sd.observe([0.5, 1.5], [0.3, -0.2], yerr=0.5, nu=2)
    terms = ("position", "rate", "input", "constant")
    return pose(t, x, u, 2, terms, 0.05 if known else None, also)


def dense_loss(likelihood, point):
    """The restricted likelihood by dense matrices: the covariance of all rows, written out."""
    line, d = likelihood.line, likelihood.problem.order
    n, (before, here) = len(line.t), likelihood.forces
    A, G, Q = (table[:, 0] for table in tables(np.diff(line.t), point.drift))
    rows = np.concatenate((np.eye(d), point.drift[None]))
    states = [np.hstack((np.zeros((d, before.shape[1])), np.eye(d)))]  # answers to the linear terms
    cov = [[np.zeros((d, d))]]
    for i in range(1, n):
        kick = np.hstack((G[i - 1] * before[i], np.zeros((d, d))))
        states.append(A[i - 1] @ states[-1] + kick)
        last = [A[i - 1] @ c for c in cov[-1]]  # cov[i][j] = Cov(state i, state j), j <= i
        cov.append([*last, last[-1] @ A[i - 1].T + point.q * Q[i - 1]])
    seen = np.flatnonzero(line.component >= 0)
    H = [rows[line.component[i]] for i in seen]
    X = np.array([h @ states[i] for h, i in zip(H, seen, strict=True)])
    X[line.component[seen] == d, : here.shape[1]] += here[seen[line.component[seen] == d]]
    S = np.diag(line.variances(point.levels)[seen])
    for a, i in enumerate(seen):
        for b, j in enumerate(seen[: a + 1]):
            S[a, b] = S[b, a] = S[a, b] + H[a] @ cov[i][j] @ H[b]
    y = line.y[seen]
    inverse = np.linalg.inv(S)
    information = X.T @ inverse @ X
    beta = np.linalg.solve(information, X.T @ inverse @ y)
    r = y - X @ beta
    weigh = X / line.variances(likelihood.pilot)[seen][:, None]
    logs = np.linalg.slogdet(S)[1] + np.linalg.slogdet(information)[1]
    return 0.5 * (logs - np.linalg.slogdet(X.T @ weigh)[1] + r @ inverse @ r), beta


@pytest.mark.parametrize("q", [0.0, 3.0])
def test_likelihood_is_that_of_dense_matrices(q):
    likelihood = Likelihood.of(mixed_problem())
    point = Point(np.array([-15.0, -2.0]), q, np.array([0.05, 0.03]))
    value = likelihood.at(point)
    loss, beta = dense_loss(likelihood, point)
    assert_allclose(value.loss, loss, rtol=1e-10)
    assert_allclose(value.beta, beta, rtol=1e-8)


@pytest.mark.parametrize("q", [0.0, 3.0])
@pytest.mark.parametrize("known", [False, True])
def test_gradient_of_the_likelihood_is_its_gradient(q, known):
    likelihood = Likelihood.of(mixed_problem(known=known))
    levels = np.array([0.03]) if known else np.array([0.05, 0.03])
    point = Point(np.array([-15.0, -2.0]), q, levels)
    gradient = likelihood.at(point).gradient
    for j, slope in enumerate(gradient):
        e = np.eye(len(gradient))[j] * 1e-5
        high, low = (likelihood.at(point.moved(s * e, likelihood.free)).loss for s in (1, -1))
        assert_allclose(slope, (high - low) / 2e-5, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_the_optimum_has_no_slope(motor, strength):
    t, u, (x, _) = motor
    if strength:
        x = disturbed_motion(u, strength, np.random.default_rng(8))
    likelihood = Likelihood.of(
        pose(t, noisy(x, 1e-2, 3), u, 2, ("rate", "input", "constant"), None, None)
    )
    point, value = search(likelihood)
    assert (point.q > 0) == (strength > 0)
    assert (np.abs(value.gradient) <= 1e-7 * np.sqrt(np.diag(value.score))).all()
    for q in (1e-6, 1e-3, 1.0, 1e3):
        assert value.loss <= likelihood.at(Point(point.drift, q, point.levels)).loss + 1e-4


def wave_of(t, drift, start):
    """Return x and its derivatives by drift and start, of ``x'' = drift . (x, x')``."""
    F = np.array([[0.0, 1.0], drift])
    x, by_drift = np.empty((len(t), 2)), np.empty((len(t), 2))
    for i, s in enumerate(t):
        x[i] = linalg.expm(F * s)[0]
        for j in range(2):
            turn = np.zeros((2, 2))
            turn[1, j] = s
            by_drift[i, j] = linalg.expm_frechet(F * s, turn, compute_expm=False)[0] @ start
    return x @ start, np.column_stack((by_drift, x))


@pytest.mark.parametrize("n", [12, 25])
def test_without_a_disturbance_it_is_nonlinear_least_squares(n):
    """Coefficients, their covariance, and a noise level that pays for all coefficients."""
    t = np.linspace(0, 6, n)
    y = noisy(swung(t), 0.02, 1)
    fit = sd.dynamics.fit(t, y, terms=("position", "rate"))
    assert fit.disturbance == 0.0
    found = optimize.least_squares(
        lambda p: wave_of(t, p[:2], p[2:])[0] - y,
        [*fit.values, 1.0, -0.2],
        lambda p: wave_of(t, p[:2], p[2:])[1],
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    variance = 2.0 * found.cost / (n - 4)
    assert_allclose(fit.values, found.x[:2], rtol=1e-6)
    assert_allclose(fit.noise[0], np.sqrt(variance), rtol=1e-6)
    covariance = variance * np.linalg.inv(found.jac.T @ found.jac)[:2, :2]
    assert_allclose(fit.covariance, covariance, rtol=1e-5)
    assert fit.dof == n - 4 == fit.trajectory.dof


@pytest.mark.parametrize("strength", [0.0, 0.3])
def test_the_degrees_of_freedom_of_the_noise_are_those_of_the_fit(motor, strength):
    """Of all levels together, whatever else there is."""
    t, u, _ = motor
    x, v = motion(t, u, (0.0, -3.0))
    if strength:
        x = disturbed_motion(u, strength, np.random.default_rng(8))
    also = sd.observe(t[::5], noisy(v[::5], 0.1, 2), nu=1)
    terms = ("rate", "input", "constant")
    likelihood = Likelihood.of(pose(t, noisy(x, 1e-2, 3), u, 2, terms, None, also))
    point, value = search(likelihood)
    rows = len(value.residual)
    assert_allclose(value.spare[0].sum(), rows - 4, rtol=1e-9)
    assert_allclose(value.spare[1].sum(), rows - 5, rtol=1e-9)
    other, there = freed(likelihood, point, value)
    assert (other.levels > point.levels).all()
    assert_allclose(there.residual @ there.residual, rows - 5, rtol=2e-3)


# Coefficients


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("order", [1, 2])
def test_noise_free_samples_give_the_truth(method, order):
    t = STEP * np.arange(400)
    u = switching()
    x = motion(t, u, (-3.0,) if order == 1 else (0.0, -3.0))[0]
    fit = sd.dynamics.fit(t, x, u, order=order, method=method)
    exact = {"kalman": 1e-8, "integral": 1e-8, "arimax": 1e-8, "modulating": 2e-3, "fourier": 2e-3}
    assert_allclose(fit.values, [-3.0, 2.0, -1.0], rtol=exact.get(method, 0.25))
    if method in UNBIASED:
        assert fit.r_squared > 1 - 1e-6


def test_gradients_of_noise_tell_no_equation():
    t = np.linspace(0, 6, 40)
    for seed in range(1, 4):
        x = 5 + 0.1 * np.random.default_rng(seed).standard_normal(40)
        with pytest.raises(sd.UndeterminedError, match="leave the term out"):
            sd.dynamics.fit(t, x, terms=("position", "rate"), method="gradient")


def test_gradients_of_a_curve_whose_rows_lie_elsewhere_are_its_extrapolation():
    t = np.linspace(0, 6, 60)
    post = sd.smooth(sd.observe(t, np.cos(t), 0.02), sd.SmoothingSpline(3))

    def found(shift):
        fit = sd.dynamics.fit(t + shift, post, terms=("position", "rate"), method="gradient")
        assert_allclose(fit.values[0], -1.0, atol=3 * fit.std["position"])
        return fit.std["position"]

    assert found(0.0) < found(2.0)
    with pytest.raises(sd.UndeterminedError, match="position is nowhere as large as its standard"):
        found(10.0)


def test_next_velocity_is_exact_for_rates():
    t, u = STEP * np.arange(400), switching()
    rate = motion(t, u, (-3.0,))[0]
    fit = sd.dynamics.fit(t, rate, u, order=1, method="next_velocity")
    assert_allclose(fit.values, [-3.0, 2.0, -1.0], rtol=1e-8)


@pytest.mark.parametrize("level", [1e-2, 1e-4, 1e-6])
def test_regression_of_derivatives_is_as_good_as_its_posterior(level):
    """Means over wide cells bring no error of their own, however small the noise is."""
    t, off = np.linspace(0, 6, 80), []
    for seed in range(20):
        data = sd.observe(t, noisy(swung(t), level, seed), level)
        post = sd.RegressionSpline(16, 9).condition(data)
        fit = sd.dynamics.fit(t, post, terms=("rate", "position"), method="gradient")
        off.append((fit.values - [-0.4, -4.04]) / np.sqrt(np.diag(fit.covariance)))
    assert (np.abs(np.mean(off, axis=0)) < 4 / np.sqrt(20)).all()
    assert 0.7 < np.sqrt(np.mean(np.square(off))) < 1.3


@pytest.mark.parametrize("level", [1e-3, 1e-4])
def test_samples_are_smoothed_by_a_curve_that_knows_its_derivatives(level):
    t, off = np.linspace(0, 6, 80), []
    for seed in range(5):
        y = noisy(swung(t), level, seed)
        fit = sd.dynamics.fit(t, y, terms=("rate", "position"), method="gradient")
        off.append((fit.values - [-0.4, -4.04]) / np.sqrt(np.diag(fit.covariance)))
        assert (np.sqrt(np.diag(fit.covariance)) < 2 * level).all()
    assert np.abs(off).max() < 3


def test_means_over_cells_are_those_of_integrals():
    t = np.linspace(0, 6, 80)
    post = sd.SmoothingSpline(3, q=1.0).condition(sd.observe(t, swung(t), 0.1))
    cells = Cells.of(post, 0.0, 6.0, 0.75, 5, np.inf)
    mean, slope = cells.mean(), cells.slope(0)
    V, between = mean.covariance(post, mean), mean.covariance(post, slope)
    exact = np.array([post.integral(*ends) for ends in itertools.pairwise(cells.ends)])
    exact /= cells.lengths[:, None]
    assert_allclose(cells.resolved(post.mean, 0.01), exact[:, 0], rtol=1e-6)
    assert_allclose(np.sqrt(np.diag(V)), exact[:, 1], rtol=1e-3)
    whole = cells.lengths @ V @ cells.lengths
    assert_allclose(np.sqrt(whole), post.integral(0, 6)[1], rtol=1e-3)
    total = post.cov(cells.nodes, 0, [0.0, 6.0]) @ [-1.0, 1.0]
    assert_allclose(between @ cells.lengths, mean.weights @ total, rtol=1e-7)


def test_a_rule_is_refined_where_a_function_bends():
    ends = np.array([0.0, 0.3, 0.5, 1.0])
    cells = Cells(ends)
    wave = cells.resolved(lambda x: np.cos(60.0 * x), 1e-6)
    assert_allclose(wave, np.diff(np.sin(60.0 * ends)) / 60.0 / np.diff(ends), rtol=1e-8)


@pytest.mark.parametrize("method", UNBIASED)
@pytest.mark.parametrize("level", [1e-3, 1e-2])
def test_noise_does_not_dilute(motor, method, level):
    t, u, (x, _) = motor
    near(sd.dynamics.fit(t, noisy(x, level), u, method=method), [-3.0, 2.0, -1.0])


def test_differences_dilute(motor):
    t, u, (x, _) = motor
    assert sd.dynamics.fit(t, noisy(x, 0.03), u, method="difference").coefficients["rate"] > -2.0
    steady = np.where(t > 1, 2.0, 0.0)
    y = noisy(motion(t, steady, (0, -3.0))[0], 1e-2)
    with pytest.raises(ValueError, match=r"phi = -.*method='kalman'"):
        sd.dynamics.fit(t, y, steady, method="arimax")


@pytest.mark.parametrize("method", ["kalman", "integral", "modulating"])
def test_first_order_with_noise(method):
    t, u = STEP * np.arange(400), switching()
    x = motion(t, u, (-3.0,))[0]
    near(sd.dynamics.fit(t, noisy(x, 0.01), u, order=1, method=method), [-3.0, 2.0, -1.0])


@pytest.mark.parametrize("method", ["kalman", "gradient", "modulating", "fourier", "integral"])
def test_several_inputs_by_name(motor, method):
    t, u, _ = motor
    load = switching(seed=3, every=25, levels=(0.0, 1.0))
    x = motion(t, u - 0.75 * load, (0.0, -3.0))[0]
    inputs = {"voltage": u, "load": load}
    fit = sd.dynamics.fit(t, noisy(x, 1e-3), inputs, method=method)
    assert fit.names == ("rate", "voltage", "load", "constant")
    if method == "gradient":  # what has been smoothed away is not come by again
        assert_allclose(fit.values, [-3.0, 2.0, -1.5, -1.0], rtol=0.03)
    else:
        near(fit, [-3.0, 2.0, -1.5, -1.0])
    columns = sd.dynamics.fit(t, noisy(x, 1e-3), np.column_stack((u, load)), method=method)
    assert columns.names == ("rate", "input[0]", "input[1]", "constant")
    assert_allclose(columns.values, fit.values, rtol=1e-9)


def rubbing(t, u):
    """``x'' = -3 x' + 2 u - 0.5 - sgn(x')`` by scipy, sticking left out."""
    state, out = np.zeros(2), [np.zeros(2)]

    def stop(_, s, sign, force):
        return s[1] if sign else 1.0

    stop.terminal = True
    for h, force in zip(np.diff(t), 2 * u - 0.5, strict=False):
        left = h
        while left > 1e-14:
            sign = np.sign(state[1]) or np.sign(force)
            found = integrate.solve_ivp(
                lambda _, s, sign, force: (s[1], -3 * s[1] + force - sign),
                (0, left),
                state + np.array([0, 1e-15 * sign]),
                args=(sign, force),
                events=stop,
                rtol=1e-11,
                atol=1e-13,
            )
            state = found.y[:, -1].copy()
            if found.status == 1:
                state[1] = 0.0
            left -= found.t[-1]
        out.append(state)
    return np.array(out).T


@pytest.fixture(scope="module")
def rubbed():
    t = STEP * np.arange(300)
    u = switching(300, 30, 1, (-3.0, -1.5, 2.0, 4.0))
    return t, u, rubbing(t, u)


def test_friction_is_found_where_the_motion_turns(rubbed):
    t, u, (x, v) = rubbed
    terms = ("rate", "input", "constant", "friction")
    fit = sd.dynamics.fit(t, noisy(x, 1e-3), u, terms=terms)
    near(fit, [-3.0, 2.0, -0.5, -1.0])
    assert (fit.trajectory.std(t, 1) < 0.02).all()
    assert_allclose(fit.trajectory(t, 1), v, atol=0.02)
    assert fit.feedforward.names == ("Ka", "Kv", "Ks", "Kg")
    assert abs(fit.feedforward.gains["Ks"] - 0.5) < 4 * fit.feedforward.std["Ks"]
    for method in ("integral", "modulating", "gradient"):
        other = sd.dynamics.fit(t, noisy(x, 1e-3), u, terms=terms, method=method)
        assert_allclose(other.values, [-3.0, 2.0, -0.5, -1.0], rtol=0.06)


def test_simulation_rubs_and_sticks(rubbed):
    t, u, truth = rubbed
    terms = ("rate", "input", "constant", "friction")
    states = _loops.respond_rubbing(
        np.diff(t), np.array([0.0, -3.0]), -1.0, 2 * u - 0.5, np.zeros(2)
    )
    assert_allclose(states.T, truth, atol=1e-8)
    fit = sd.dynamics.fit(t, truth[0], u, terms=terms)
    assert_allclose(fit.simulate(), truth, atol=1e-6)
    # a body thrown at rate 2 against friction 1 stops after 2 at 2, and stays
    slides = _loops.respond_rubbing(
        np.full(30, 0.1), np.zeros(2), -1.0, np.full(31, 0.3), np.array([0, 2.0])
    )
    stop = 2.0 / 0.7
    assert_allclose(slides[-1], [0.5 * 2.0 * stop, 0.0], rtol=1e-12)


def test_missing_samples_uneven_times_and_any_order_of_rows(motor):
    t, u, (x, _) = motor
    rng = np.random.default_rng(5)
    y = noisy(x, 1e-3)
    y[rng.choice(400, 150, replace=False)] = np.nan
    fit = sd.dynamics.fit(t, y, u)
    near(fit, [-3.0, 2.0, -1.0])
    assert fit.problem.data.n_missing == 150
    shuffle = rng.permutation(400)
    again = sd.dynamics.fit(t[shuffle], y[shuffle], u[shuffle])
    assert_allclose(again.values, fit.values, rtol=1e-9)
    uneven = np.sort(rng.uniform(0, 8, 300))
    x, _ = motion(uneven, switching(300), (0.0, -3.0))
    for method in ("kalman", "integral"):
        near(
            sd.dynamics.fit(uneven, noisy(x, 1e-3), switching(300), method=method),
            [-3.0, 2.0, -1.0],
        )


def test_known_rates_and_accelerations_help(motor):
    t, u, (x, v) = motor
    y = noisy(x, 0.02)
    alone = sd.dynamics.fit(t, y, u)
    rates = sd.observe(t + 0.3 * STEP, noisy(np.interp(t + 0.3 * STEP, t, v), 0.05, 1), nu=1)
    # between the samples the rate bends: take the truth there
    exact = np.exp(-3 * 0.3 * STEP) * v + (2 * u - 1) * -np.expm1(-3 * 0.3 * STEP) / 3
    rates = sd.observe(t + 0.3 * STEP, noisy(exact, 0.05, 1), nu=1)
    both = sd.dynamics.fit(t, y, u, also=rates)
    near(both, [-3.0, 2.0, -1.0])
    assert both.std["rate"] < 0.8 * alone.std["rate"]
    assert_allclose([both.noise[0], both.noise[1]], [0.02, 0.05], rtol=0.12)
    accelerations = sd.observe(t, noisy(-3 * v + 2 * u - 1, 0.1, 2), yerr=0.1, nu=2)
    all_three = sd.dynamics.fit(t, y, u, also=rates + accelerations)
    near(all_three, [-3.0, 2.0, -1.0])
    assert all_three.std["rate"] < 0.8 * both.std["rate"]
    only = sd.dynamics.fit(t, None, u, also=rates)
    near(only, [-3.0, 2.0, -1.0])
    by_gradient = sd.dynamics.fit(t, y, u, also=rates, method="gradient")
    assert_allclose(by_gradient.values, [-3.0, 2.0, -1.0], rtol=0.15)


def test_a_spring_and_a_function(motor):
    t, u, _ = motor
    spring = motion(t, u, (-20.0, -1.0))[0]
    terms = ("position", "rate", "input", "constant")
    near(sd.dynamics.fit(t, noisy(spring, 1e-3), u, terms=terms), [-20.0, -1.0, 2.0, -1.0])
    for method in ("modulating", "fourier", "gradient"):
        fit = sd.dynamics.fit(t, noisy(spring, 1e-3), u, terms=terms, method=method)
        assert_allclose(fit.values, [-20.0, -1.0, 2.0, -1.0], rtol=0.05)
    with pytest.warns(UserWarning, match="position along the smoothed curve, as if it were known"):
        fit = sd.dynamics.fit(t, noisy(spring, 1e-3), u, terms=terms, method="integral")
    assert_allclose(fit.values, [-20.0, -1.0, 2.0, -1.0], rtol=0.05)

    def cubic(state, u):
        return state[0] ** 3

    def slope(_, s, force):
        return s[1], -3 * s[1] - 8 * s[0] ** 3 + force

    states = [np.zeros(2)]
    for h, force in zip(np.diff(t), 2 * u - 1, strict=False):
        found = integrate.solve_ivp(
            slope, (0, h), states[-1], args=(force,), rtol=1e-10, atol=1e-12
        )
        states.append(found.y[:, -1])
    x = np.array(states).T
    for method in ("modulating", "fourier", "integral", "gradient"):
        fit = sd.dynamics.fit(
            t, noisy(x[0], 1e-4), u, terms=("rate", cubic, "input", "constant"), method=method
        )
        assert fit.names[1] == "cubic"
        assert_allclose(fit.values, [-3.0, -8.0, 2.0, -1.0], rtol=0.03)
    exact = sd.dynamics.fit(
        t, x[0], u, terms=("rate", cubic, "input", "constant"), method="modulating"
    )
    assert_allclose(exact.simulate(start=(0, 0))[0], x[0], atol=1e-3)
    with pytest.raises(ValueError, match=r"cubic is a function.*method='integral'"):
        sd.dynamics.fit(t, x[0], u, terms=("rate", cubic, "input"))


@pytest.mark.parametrize("method", ["kalman", "integral", "modulating", "fourier", "gradient"])
def test_nothing_but_the_input(motor, method):
    t, u, _ = motor
    x = motion(t, u, (0.0, 0.0))[0]
    terms = ("input", "constant")
    near(sd.dynamics.fit(t, noisy(x, 1e-3), u, terms=terms, method=method), [2.0, -1.0])


def test_inputs_of_a_simulation_are_taken_by_name_and_in_the_order_given(motor):
    t, u, x = motor
    other = np.cos(3 * t)
    fit = sd.dynamics.fit(t, noisy(x[0], 1e-3), {"a": u, "b": other})
    assert_allclose(fit.simulate({"b": other, "a": u}), fit.simulate(), rtol=1e-6)
    with pytest.raises(ValueError, match="u: inputs a, c, but the equation has a, b"):
        fit.simulate({"a": u, "c": other})
    mixed = np.random.default_rng(0).permutation(len(t))
    again = sd.dynamics.fit(t[mixed], noisy(x[0], 1e-3)[mixed], u[mixed])
    assert_allclose(again.simulate(u[mixed]), again.simulate(), rtol=1e-6)
    with pytest.raises(ValueError, match="t: row 1 is before row 0; give ascending times"):
        again.simulate(u[:3], t=[2.0, 1.0, 0.0], start=(0.0, 0.0))
    with pytest.raises(ValueError, match=r"start: \[nan, 0\.0\], but 2 finite numbers"):
        again.simulate(start=(np.nan, 0.0))


@pytest.mark.parametrize("method", ["modulating", "fourier", "integral", "difference"])
def test_stated_noise_is_not_ignored_in_silence(motor, method):
    t, u, x = motor
    with pytest.raises(ValueError, match=f"yerr: method='{method}' .* method='kalman'"):
        sd.dynamics.fit(t, x[0], u, yerr=0.1, method=method)


def test_modulating_functions_warn_of_gaps(motor):
    t, u, x = motor
    holed = noisy(x[0], 1e-3)
    holed[50:60] = np.nan
    with pytest.warns(UserWarning, match=r"no sample for 11 steps after .* method='kalman'"):
        sd.dynamics.fit(t, holed, u, method="modulating")
    near(sd.dynamics.fit(t, holed, u), [-3.0, 2.0, -1.0])


def test_rows_before_the_input_is_known_are_refused(motor):
    t, u, x = motor
    late = t >= t[40]
    early = sd.observe(t[:40], x[0][:40])
    with pytest.raises(ValueError, match=r"also: a row is at .* but u is known from"):
        sd.dynamics.fit(t[late], x[0][late], u[late], also=early)


def test_arguments_are_named_as_they_are_given(motor):
    t, u, x = motor
    with pytest.raises(ValueError, match=r"^t: row 0 is nan"):
        sd.dynamics.fit(np.where(t == t[0], np.nan, t), x[0], terms=("rate",))
    with pytest.raises(ValueError, match=r"^u: a 400, b 3 rows; give inputs of one length"):
        sd.dynamics.fit(t, x[0], {"a": u, "b": np.ones(3)})
    with pytest.raises(ValueError, match=r"^t: shape \(400,\), but n has 399 rows"):
        sd.dynamics.growth_rate(t, np.ones(399))


def test_motions_that_run_away_or_swing_for_long(motor):
    t, u, _ = motor
    away = motion(t, u, (0.0, 0.8))[0]
    near(sd.dynamics.fit(t, noisy(away, 1e-3), u), [0.8, 2.0, -1.0])
    swing = motion(t, u, (-900.0, -0.5))[0]
    terms = ("position", "rate", "input", "constant")
    near(sd.dynamics.fit(t, noisy(swing, 1e-3), u, terms=terms), [-900.0, -0.5, 2.0, -1.0])


def test_a_disturbed_system_is_known_less(motor):
    """White noise drives x'': the intervals know of it, and its strength is found."""
    t, u, _ = motor
    rng, hits, strength = np.random.default_rng(8), [], []
    for _ in range(12):
        x = disturbed_motion(u, 0.3, rng)
        fit = sd.dynamics.fit(t, x + 1e-3 * rng.standard_normal(len(t)), u)
        limits = fit.interval()
        hits += [
            low < c < high for (low, high), c in zip(limits.values(), (-3, 2, -1), strict=True)
        ]
        strength.append(fit.disturbance)
    assert np.mean(hits) > 0.8
    assert_allclose(np.median(strength), 0.3, rtol=0.1)


def test_intervals_hold_the_truth():
    """Coverage over 40 data sets of three coefficients; 0.78 is 5 standard errors from 0.95."""
    t, u = 0.05 * np.arange(120), switching(120, 12)
    x = motion(t, u, (0.0, -3.0))[0]
    hits = []
    for seed in range(40):
        limits = sd.dynamics.fit(t, noisy(x, 0.01, seed), u).interval()
        hits.append([a < c < b for (a, b), c in zip(limits.values(), (-3, 2, -1), strict=True)])
    assert (np.mean(hits, axis=0) > 0.78).all()
    assert np.mean(hits) > 0.86


@pytest.mark.parametrize("method", METHODS)
def test_units_change_the_coefficients_by_their_units(motor, method):
    t, u, (x, _) = motor
    y = noisy(x, 1e-4 if method in ("arimax", "difference") else 1e-3)
    fit = sd.dynamics.fit(t, y, u, method=method)
    for a, b, c, e in ((1e3, 5.0, 1e-6, 20.0), (1e-6, 0.0, 1e4, 1e-3)):
        other = sd.dynamics.fit(a * t + b, c * y, e * u, method=method)
        scale = np.array([1 / a, c / a**2 / e, c / a**2])
        rtol = 1e-8 if method != "gradient" else 1e-6
        assert_allclose(other.values, fit.values * scale, rtol=rtol)
        std = np.sqrt(np.diag(other.covariance))
        assert_allclose(std, np.sqrt(np.diag(fit.covariance)) * scale, rtol=1e-6)
        assert_allclose(other.condition_number, fit.condition_number, rtol=1e-5)
        assert_allclose(other.r_squared, fit.r_squared, rtol=1e-7)
        assert_allclose(other.noise[0], c * fit.noise[0], rtol=1e-6)


def test_datetimes_count_in_seconds(motor):
    t, u, (x, _) = motor
    times = np.datetime64("2026-01-01T12:00") + np.rint(t * 1e9).astype("m8[ns]")
    fit, plain = sd.dynamics.fit(times, noisy(x, 1e-3), u), sd.dynamics.fit(t, noisy(x, 1e-3), u)
    assert_allclose(fit.values, plain.values, rtol=1e-8)
    assert_allclose(fit.trajectory(times[7], 1), plain.trajectory(t[7], 1), rtol=1e-7)
    zoned = [time.replace(tzinfo=dt.UTC) for time in times.astype("M8[us]").tolist()]
    also = sd.dynamics.fit(zoned, noisy(x, 1e-3), u)
    assert_allclose(also.values, plain.values, rtol=1e-4)
    assert_allclose(also.trajectory(zoned[7], 1), plain.trajectory(t[7], 1), rtol=1e-3)


# The answer


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_the_trajectory_obeys_the_laws_of_posteriors(motor, strength):
    t, u, _ = motor
    x = (
        disturbed_motion(u[:80], strength, np.random.default_rng(2))
        if strength
        else motor[2][0][:80]
    )
    fit = sd.dynamics.fit(t[:80], noisy(x, 1e-2, 3), u[:80])
    assert (fit.disturbance > 0) == (strength > 0)
    post = fit.trajectory
    places = contracts.places(post)
    contracts.check_moments(post, places, (0, 1))
    contracts.check_derivative(post, places, (0,))
    contracts.check_samples(post, places, (0, 1), 0)
    contracts.check_integral(post, rtol=1e-6)  # steps of the motion
    contracts.check_intervals(post, places, (0, 1))
    contracts.check_rows(post)
    again = post.model.condition(post.data)
    assert_allclose(again(places, 1), post(places, 1), rtol=1e-9)


def test_the_trajectory_covers_the_truth(motor):
    t, u, states = motor
    hits = np.zeros((2, 400))
    for seed in range(6):
        post = sd.dynamics.fit(t, noisy(states[0], 1e-2, seed), u).trajectory
        for nu in (0, 1):
            low, high = post.interval(t, nu)
            hits[nu] += (low < states[nu]) & (states[nu] < high)
    assert (hits.mean(axis=1) > 4.5).all()  # of 6; places of one motion hang together


def test_simulation_agrees_with_scipy(motor):
    t, u, states = motor
    fit = sd.dynamics.fit(t, noisy(states[0], 1e-3), u)
    a, b, c = fit.values
    system = (np.array([[0, 1], [0, a]]), np.array([[0], [1]]), np.eye(2), np.zeros((2, 1)))
    held = signal.dlsim(
        (*signal.cont2discrete(system, STEP)[:4], STEP), (b * u + c)[:, None], x0=[0.1, 0.2]
    )
    assert_allclose(fit.simulate(start=(0.1, 0.2)), held[1].T, rtol=1e-9, atol=1e-12)
    other = fit.simulate(np.ones(50), t=0.1 * np.arange(50), start=(0.0, 1.0))
    assert_allclose(
        other[1],
        1.0 * np.exp(a * 0.1 * np.arange(50)) - (b + c) / a * -np.expm1(a * 0.1 * np.arange(50)),
    )
    assert 1 - 1e-5 < fit.r_squared < 1
    with pytest.raises(ValueError, match="start: give x"):
        fit.simulate(np.ones(5), t=np.arange(5.0))
    with pytest.raises(ValueError, match="u: shape"):
        fit.simulate(np.ones(5))


def test_feedforward_solves_for_the_input(motor):
    t, u, (x, _) = motor
    fit = sd.dynamics.fit(t, noisy(x, 1e-3), u)
    a, b, c = fit.values
    view = fit.feedforward
    assert_allclose([view.gains[k] for k in ("Ka", "Kv", "Ks")], [1 / b, -a / b, -c / b])
    draws = np.random.default_rng(0).multivariate_normal(fit.values, fit.covariance, 20000)
    spread = np.std(
        [1 / draws[:, 1], -draws[:, 0] / draws[:, 1], -draws[:, 2] / draws[:, 1]], axis=1
    )
    assert_allclose([view.std[k] for k in ("Ka", "Kv", "Ks")], spread, rtol=0.03)
    assert "Kv = 1.49" in repr(view)
    two = sd.dynamics.fit(t, x, np.column_stack((u, switching(seed=9))), method="integral")
    with pytest.raises(ValueError, match="2"):
        _ = two.feedforward


def test_summary_repr_and_picture(motor):
    t, u, (x, _) = motor
    fit = sd.dynamics.fit(t, noisy(x, 1e-3), u)
    text = fit.summary()
    for word in ("x'' = rate + input + constant", "95 % interval", "condition number", "R²", "Ka"):
        assert word in text
    assert repr(fit).startswith("DynamicsFit (kalman): rate -3")
    figure = fit.plot("s", "rad")
    assert [ax.get_ylabel() for ax in figure.axes] == [
        "x (rad)",
        "x\N{PRIME} (rad/s)",
        "x\N{DOUBLE PRIME} (rad/s²)",
        "u",
    ]
    names = {line.get_label() for line in figure.axes[0].lines}
    assert {"smoothed", "re-simulated", "data"} <= names
    assert len(sd.dynamics.fit(t, x, order=1, terms=("rate", "constant")).plot().axes) == 2
    with pytest.raises(AttributeError):
        fit.order = 3


def test_the_picture_of_datetimes_is_per_second_or_another_unit_of_time(motor):
    t, u, (x, _) = motor
    when = np.datetime64("2026-03-01") + np.rint(1e6 * t).astype("m8[us]")
    fit = sd.dynamics.fit(when, noisy(x, 1e-3), u)
    plain, by_minute = fit.plot(x_unit="m"), fit.plot("min", "m")
    assert [ax.get_ylabel() for ax in plain.axes[:2]] == ["x (m)", "x\N{PRIME} (m/s)"]
    assert by_minute.axes[1].get_ylabel() == "x\N{PRIME} (m/min)"
    for nu in range(2):
        one, other = (f.axes[nu].lines[0].get_ydata() for f in (plain, by_minute))
        assert_allclose(other, 60**nu * one, rtol=1e-12)
    with pytest.raises(ValueError, match="t_unit: 'week'"):
        fit.plot("week")


def test_gradient_takes_any_posterior(motor):
    t, u, (x, _) = motor
    data = sd.observe(t, noisy(x, 1e-3))
    for model in (sd.SmoothingSpline(order=3), sd.RegressionSpline(knots=60, degree=5)):
        post = sd.smooth(data, model)
        fit = sd.dynamics.fit(t, post, u, method="gradient")
        assert fit.trajectory is post
        assert_allclose(fit.values, [-3.0, 2.0, -1.0], rtol=0.05)
        assert fit.r_squared > 0.999
    with pytest.raises(ValueError, match="method='gradient'"):
        sd.dynamics.fit(t, post, u)


# Warnings and refusals


def test_poor_excitation_is_warned_of(motor):
    t, _, _ = motor
    step = np.where(t > 7.5, 2.0, 1.0)
    x = motion(t, step, (0.0, -3.0), start=(0.0, 1 / 3))[0]
    with pytest.warns(sd.dynamics.ExcitationWarning, match=r"condition number \d.*rate and input"):
        sd.dynamics.fit(t, noisy(x, 1e-3), step)
    with pytest.raises(ValueError, match="input and constant cannot be told apart"):
        sd.dynamics.fit(t, noisy(x, 1e-3), np.ones(400))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = sd.dynamics.fit(t, noisy(motion(t, switching(), (0.0, -3.0))[0], 1e-3), switching())
    assert fit.condition_number < 10


@pytest.mark.parametrize("method", ["fourier", "arimax", "next_velocity"])
def test_uneven_times_are_refused_with_a_way_out(motor, method):
    t, u, (x, _) = motor
    uneven = t.copy()
    uneven[100:] += 0.005
    with pytest.raises(ValueError, match=rf"t: the step after row 99.*{method}.*method='kalman'"):
        sd.dynamics.fit(uneven, x, u, method=method)
    missing = x.copy()
    missing[7] = np.nan
    with pytest.raises(ValueError, match=r"x: row 7 is missing.*method='kalman'"):
        sd.dynamics.fit(t, missing, u, method=method)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"method": "magic"}, "method: 'magic' is unknown; use one of kalman"),
        ({"order": 3}, "order: 3"),
        ({"terms": ("rate", "inputs")}, "terms: 'inputs' is unknown"),
        ({"terms": "rate"}, "terms: 'rate'; give a tuple"),
        ({"terms": ("rate", "rate", "input")}, "terms: 'rate' stands twice"),
        ({"terms": ("rate", "constant")}, "u: given, but no term uses it"),
        (
            {"terms": ("rate", lambda s, u: np.ones(3), "input"), "method": "integral"},
            "terms: function",
        ),
        ({"terms": ("position",), "order": 1}, "with order=1"),
        ({"u": None}, "terms: 'input' is a term, but no u was given"),
        ({"u": np.ones(7)}, "u: 7 rows, but t has 400"),
        ({"u": np.full(400, np.nan)}, "u: row 0"),
        ({"x": np.ones(400)}, "x: all samples are equal"),
        ({"x": np.ones(9)}, "x: 9 rows, but t has 400"),
        ({"x": np.full(400, np.nan)}, "x: every sample is missing"),
        ({"x": None}, "x: None"),
        ({"t": np.zeros(400)}, "t: all times are equal"),
        ({"yerr": 0.0}, r"yerr: row 0 is exact"),
        ({"yerr": -1.0}, r"yerr: row 0"),
        ({"also": sd.observe([1.0], [1.0], nu=3)}, "also: derivatives of order 3"),
        ({"also": sd.observe([1.0], [1.0], nu=1), "method": "integral"}, "method='kalman'"),
    ],
)
def test_refusals_name_the_argument(motor, change, words):
    t, u, (x, _) = motor
    arguments = {"t": t, "x": x, "u": u} | change
    with pytest.raises(ValueError, match=words):
        sd.dynamics.fit(**arguments)


def test_a_problem_of_other_times_has_other_states():
    """What one problem has worked out is not taken for another's, as of one with more times."""
    t = np.linspace(0, 6, 40)
    x = np.sin(t) + 0.01 * np.random.default_rng(0).standard_normal(40)
    problem = pose(t, x, None, 2, ("position", "rate"), None, None)
    assert problem.states.shape == (2, 40)
    fewer = dataclasses.replace(problem, t=problem.t[::2], x=problem.x[::2], u=problem.u[::2])
    assert_allclose(fewer.states, problem.states[:, ::2], rtol=1e-9, atol=1e-12)
