"""Autocorrelated errors: kept out of the curve, detected, and warned of."""

import warnings

import contracts
import numpy as np
import pytest
from numpy.testing import assert_allclose

import smoothderiv as sd
from conftest import mixed_data
from smoothderiv import kernels
from smoothderiv.noise.correlated import NoiseGains, noise_gains


def curve(x, nu=0):
    return np.pi**nu * np.sin(np.pi * x + nu * np.pi / 2)


def noisy(seed, rho, n=200, sd_noise=0.15):
    """A sine with first-order autoregressive noise of that correlation, and a little white."""
    rng = np.random.default_rng(seed)
    x, noise = np.linspace(0, 4, n), np.empty(n)
    noise[0] = rng.standard_normal()
    for i in range(1, n):
        noise[i] = rho * noise[i - 1] + np.sqrt(1 - rho**2) * rng.standard_normal()
    return sd.observe(x, curve(x) + sd_noise * noise + 0.03 * rng.standard_normal(n))


def stated(data, yerr):
    return sd.observe(data.x, data.y, yerr)


def small_errors():
    """A sine with white noise of 0.1, said to be 0.02."""
    x = np.linspace(0, 6, 200)
    return sd.observe(x, np.sin(x) + 0.1 * np.random.default_rng(0).standard_normal(200), 0.02)


KERNEL = kernels.Matern72(0.4, 1.0) + kernels.Nuisance(kernels.Matern12(0.05, 0.2))
NOISE = {0: 0.1, 1: 0.5}


def test_the_posterior_is_that_of_gaussian_conditioning_on_rows_that_carry_more():
    data = mixed_data(3, n=(25, 12, 0), known=False)
    post = sd.GaussianProcess(KERNEL, NOISE).condition(data)
    signal, noise = kernels.Matern72(0.4, 1.0), kernels.Matern12(0.05, 0.2)
    values = (data.nu == 0).astype(float)
    K = signal.cov(data.x, data.nu)
    K += np.outer(values, values) * noise.cov(data.x)
    K += np.diag(np.where(values > 0, NOISE[0], NOISE[1]) ** 2)
    x = np.linspace(-0.1, 1.1, 15)
    for nu in (0, 1, 2):
        cross = signal.cov(x, nu, data.x, data.nu)
        solved = np.linalg.solve(K, cross.T)
        assert_allclose(post(x, nu), data.y @ solved, rtol=1e-8, atol=1e-10)
        cov = signal.cov(x, nu) - cross @ solved
        assert_allclose(post.cov(x, nu), cov, rtol=1e-7, atol=1e-9 * np.abs(cov).max())
    hat = signal.cov(data.x, data.nu) @ np.linalg.inv(K)
    assert_allclose(post.edf, np.clip(np.diag(hat), 0, 1).sum(), rtol=1e-8)
    logs = np.linalg.slogdet(K)[1] + data.y @ np.linalg.solve(K, data.y)
    assert_allclose(post.log_evidence, -0.5 * (logs + len(data) * np.log(2 * np.pi)))


def test_the_contract_holds():
    data = mixed_data(3, n=(30, 10, 0), known=False)
    model = sd.GaussianProcess(KERNEL, NOISE)
    contracts.check_posterior(model.condition(data))
    contracts.check_permutation(model.condition, data)


def test_rows_left_out_are_predicted_as_by_the_rest():
    """Of each row without it: by the residuals of a fit to all, and by a fit without it."""
    data = mixed_data(3, n=(25, 12, 0), known=False)
    model = sd.GaussianProcess(KERNEL, NOISE)
    post = model.condition(data)
    density = post.loo().log_density
    assert_allclose(np.sort(post.log_predictive()), np.sort(density), rtol=1e-8)
    for row in (3, 30):
        rest = np.delete(np.arange(len(data)), row)
        gain = post.log_evidence - model.condition(data[rest]).log_evidence
        assert_allclose(density[row], gain, rtol=1e-8)


def test_units_change_nothing_with_tuning():
    free = kernels.SquaredExponential() + kernels.Nuisance(kernels.Matern12())
    fit = lambda data: sd.smooth(data, sd.GaussianProcess(free))  # noqa: E731
    for a in (1e-9, 1e9):
        contracts.check_units(fit, noisy(4, 0.8, n=80), a, c=1e-6, rtol=1e-6)


def test_the_gradient_of_the_evidence_is_that_of_central_differences():
    free = kernels.Matern72() + kernels.Nuisance(kernels.Matern12())
    data = noisy(5, 0.8, n=60)
    search = sd.GaussianProcess(free).search(data, "evidence")
    point = search.starts[0] if search.starts.ndim == 2 else search.starts[0, 0]
    point = point + 0.3
    _, slope = search.loss(point)
    for j, step in enumerate(1e-5 * np.eye(len(point))):
        difference = (search.loss(point + step)[0] - search.loss(point - step)[0]) / 2e-5
        assert_allclose(slope[j], difference, rtol=1e-5, atol=1e-6)


def test_the_default_warns_of_it_and_the_remedy_covers():
    """Over 8 sets: intervals of f and f' of the plain default, and with correlated=True."""
    held = np.zeros((2, 2, 8))
    for seed in range(8):
        data = noisy(seed, 0.8, n=300)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            plain = sd.smooth(data)
        assert any("are autocorrelated" in str(w.message) for w in told)
        together = sd.smooth(data, correlated=True)
        for k, post in enumerate((plain, together)):
            for nu in (0, 1):
                lower, upper = post.interval(data.x, nu)
                exact = curve(data.x, nu)
                held[k, nu, seed] = np.mean((lower <= exact) & (exact <= upper))
    assert held[0, 0].mean() < 0.7
    assert (held[1].mean(axis=1) > 0.9).all()


def test_such_noise_about_nothing_is_not_taken_for_a_curve():
    """Over 8 sets: a curve of no signal is within its band, and far below the noise of .3."""
    held, size = [], []
    for seed in range(8):
        data = noisy(seed, 0.5, sd_noise=0.3)
        post = sd.smooth(sd.observe(data.x, data.y - curve(data.x)), nu=1, correlated=True)
        lower, upper = post.interval(data.x)
        held.append(np.mean((lower <= 0) & (upper >= 0)))
        size.append(np.sqrt(np.mean(post(data.x) ** 2)))
    assert np.mean(held) > 0.9
    assert np.mean(size) < 0.2 * 0.3


@pytest.mark.parametrize(
    ("data", "preferred"),
    [(small_errors(), "last"), (stated(noisy(0, 0.8, n=300), 0.03), "first")],
    ids=["yerr too small", "autocorrelated"],
)
def test_stated_noise_that_is_followed_is_told_with_all_its_causes(data, preferred):
    """And stays with the posterior, where the residuals of the fit say nothing."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        post = sd.smooth(data, robust=False)
    every = [str(one.message) for one in told]
    (words,) = (w for w in every if "relative=True" in w and "correlated=True" in w)
    assert "or yerr is too small" in words
    assert f"the evidence prefers the {preferred}." in words
    assert "relative=True" in words
    assert words in post.diagnose().warnings
    assert words in post.derivative().diagnose().of_noise
    assert words in post.summary()
    assert "none" not in post.summary().splitlines()[-1]


def test_the_scale_of_noise_that_is_said_too_small_is_found():
    gains = noise_gains(sd.smooth(small_errors(), correlated=False))
    assert gains.scale == pytest.approx(5.0, rel=0.1)
    assert gains.scaled > gains.correlated > 100


def test_a_scale_is_not_asked_of_noise_that_is_not_stated():
    gains = noise_gains(sd.smooth(noisy(1, 0.8, n=300), correlated=False))
    assert gains.correlated > 0
    assert gains.scaled == -np.inf
    assert "yerr" not in gains.words()
    assert "yerr" not in NoiseGains(5.0, 1.0, 0.7).words(), "it is not too small"


@pytest.mark.parametrize(("n", "rho"), [(200, 0.5), (400, 0.7), (1000, 0.98), (6000, 0.999)])
def test_noise_of_any_reach_is_warned_of(n, rho):
    """Of neighbours alone, of 50 rows, and of 1000."""
    with pytest.warns(sd.NoiseWarning, match="are autocorrelated"):
        sd.smooth(noisy(1, rho, n=n), nu=1)


def test_slopes_without_values_beside_them_are_no_reason_to_ask():
    """Of 1000 neighbours in the middle none is a value."""
    rng, x = np.random.default_rng(0), np.linspace(0, 4, 1500)
    few = noisy(1, 0.98, n=50)
    rough = sd.observe(x, np.sign(np.sin(20 * x)) + 0.1 * rng.standard_normal(1500), nu=1)
    edges = few.x + np.where(few.x < 2, -4.0, 4.0)
    post = sd.smooth(sd.observe(edges, few.y) + rough, nu=1, correlated="auto")
    assert noise_gains(post).correlated == -np.inf


@pytest.mark.parametrize("seed", range(4))
def test_white_noise_is_not_taken_for_it(seed):
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 4, 200)
    saw = 2 * np.abs(x % 1 - 0.5)
    for truth in (curve(x), saw):
        sd.smooth(sd.observe(x, truth + 0.1 * rng.standard_normal(200)))  # warnings are errors
    assert noise_gains(sd.smooth(noisy(seed, 0.0))).correlated <= 0


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ValueError, match="is noise alone"):
        sd.GaussianProcess(kernels.Nuisance(kernels.Matern12()))
    with pytest.raises(ValueError, match="no factor of a product"):
        _ = kernels.Matern52() * kernels.Nuisance(kernels.Matern12())
    with pytest.raises(ValueError, match="knows no correlated noise"):
        sd.GaussianProcess(KERNEL, solver="iterative")
    with pytest.raises(ValueError, match="of finite variance"):
        kernels.Nuisance(kernels.Wiener(2))
    data = noisy(0, 0.0, n=20)
    with pytest.raises(ValueError, match="True is for the default model"):
        sd.smooth(data, sd.SmoothingSpline(2), correlated=True)
    with pytest.raises(ValueError, match="correlated: 'maybe' is unknown"):
        sd.smooth(data, correlated="maybe")


def test_a_stated_noise_that_residuals_contradict_is_warned_of():
    x = np.linspace(0, 4, 100)
    y = curve(x) + 0.1 * np.random.default_rng(0).standard_normal(100)
    with pytest.warns(sd.NoiseWarning, match="times the stated noise"):
        sd.smooth(sd.observe(x, y, 0.3))
