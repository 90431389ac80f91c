"""Simultaneous bands: closed forms against quadrature, known formulas, draws, and refinement."""

import contracts
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import integrate, linalg, special, stats

import smoothderiv as sd
from conftest import mixed_data, wave
from smoothderiv.answers import bands

RNG = np.random.default_rng(2)
X = np.sort(RNG.uniform(0, 1, 60))
DATA = sd.observe(X, wave(X) + 0.1 * RNG.standard_normal(60), 0.1)
SMOOTH = sd.RegressionSpline(8, 5).condition(DATA)
ROUGH = sd.SmoothingSpline(2, q=4e3).condition(DATA)


def critical(post, x, nu=0, level=0.95, **options):
    """Return the factor of the standard deviation that a band uses; the same everywhere."""
    half = post.band(x, nu, level, **options)[1] - post(x, nu)
    factor = half / post.std(x, nu)
    assert_allclose(factor, factor.flat[0], rtol=1e-6)
    return float(factor.flat[0])


@pytest.mark.parametrize("angle", [1e-3, 0.1, 0.7, 1.2, np.pi / 2])
@pytest.mark.parametrize("c", [0.8, 2.0, 3.5])
def test_the_turning_formula_is_a_bivariate_normal_probability(angle, c):
    """P(|Z1| <= c, |Z2| > c) for correlation cos(angle), by quadrature over Z1."""
    r, s = np.cos(angle), np.sin(angle)

    def beyond(z):
        return stats.norm.pdf(z) * (special.ndtr((r * z - c) / s) + special.ndtr((-r * z - c) / s))

    edge = min(20 * angle, c)
    exact = sum(
        integrate.quad(beyond, a, b, epsabs=1e-14)[0] for a, b in [(0, c - edge), (c - edge, c)]
    )
    found = bands.turning(np.array([angle]), np.ones(1), np.array([c]))[0]
    assert_allclose(found, 2 * exact, rtol=1e-5)


def test_ever_nearer_places_give_rices_formula():
    c = np.array([2.0, 3.0])
    everywhere = bands.turning(np.array([4.0]), np.array([np.inf]), c)
    assert_allclose(everywhere, 4.0 / np.pi * np.exp(-0.5 * c**2))
    steps = bands.turning(np.array([4.0]), np.array([1e4]), c)
    assert_allclose(steps, everywhere, rtol=1e-5)


def test_exit_rates_at_roots_of_hermite_polynomials():
    """He_n is the eigenfunction of n: its smallest positive root leaves at rate n, for even n."""
    roots = [1.0, np.sqrt(3 - np.sqrt(6))]
    assert_allclose(bands.exit_rate(np.array(roots)), [2.0, 4.0], rtol=1e-10)


@pytest.mark.parametrize("time", [1e-2, 0.1, 0.5, 3.0])
@pytest.mark.parametrize("c", [2.0, 3.0])
def test_the_hazard_of_a_rough_path_seen_at_places(time, c):
    """Against the largest eigenvalue of the transition truncated to -c..c, by Nystrom's method."""
    node, weight = np.polynomial.legendre.leggauss(160)
    node, weight, r = c * node, c * weight, np.exp(-time)
    spread = np.sqrt(1 - r * r)
    to = stats.norm.pdf((node - r * node[:, None]) / spread) / spread
    size = np.sqrt(weight * stats.norm.pdf(node))
    exact = 1 - linalg.eigvalsh(to * size[:, None] * (weight / size)).max()
    found = bands.wandering(np.array([time]), np.ones(1), np.array([c]))[0]
    assert_allclose(found, exact, rtol=0.06)


def test_a_straight_line_everywhere_is_near_scheffes_band():
    """Over all x the deviation of a line is a chi-square of two: an upper bound that is near."""
    line = sd.SmoothingSpline(2, q=0.0).condition(sd.observe([0, 1, 2, 3.0], [0, 1, 1, 3.0], 0.5))
    far = 1e4
    c = critical(line, np.linspace(-far, far, 3), within=(-far, far))
    scheffe = np.sqrt(stats.chi2.ppf(0.95, 2))
    assert scheffe < c < 1.05 * scheffe


@pytest.mark.parametrize(("post", "nu"), [(SMOOTH, 0), (SMOOTH, 2), (ROUGH, 0), (ROUGH, 1)])
def test_a_band_is_about_the_places_asked_and_settles_as_they_get_finer(post, nu):
    low, high = X[0], X[-1]
    whole = critical(post, X[:3], nu, within=(low, high))
    found = [critical(post, np.linspace(low, high, n), nu) for n in (1, 3, 30, 300, 10_000)]
    assert_allclose(found[0], special.ndtri(0.975), rtol=1e-6)
    assert (np.diff(found) > 0).all()
    assert found[-1] <= whole * (1 + 1e-9)
    rough = nu == post.highest_order
    assert_allclose(found[-1], whole, rtol=0.03 if rough else 1e-4)


def test_the_band_of_independent_places_is_sidaks():
    """Places far beyond the memory of the process."""
    x = np.arange(5.0)
    kernel = sd.kernels.Matern32(scale=0.01, sigma=1.0)
    post = sd.GaussianProcess(kernel, solver="dense").condition(sd.observe(x, x, 0.1))
    sidak = special.ndtri(0.5 + 0.5 * 0.95 ** (1 / 5))
    assert_allclose(critical(post, x + 0.5), sidak, rtol=2e-3)


def test_orders_asked_together_hold_together():
    x = np.linspace(X[0], X[-1], 200)
    one, both = critical(SMOOTH, x), critical(SMOOTH, x[:, None], [0, 1])
    assert both > max(one, critical(SMOOTH, x, 1))
    assert_allclose(both, critical(SMOOTH, x, 0, 1 - 0.5 * 0.05), rtol=0.02)


def test_estimated_noise_widens_by_students_scale():
    data = sd.observe(X[::3], DATA.y[::3])
    post = sd.RegressionSpline(2, 3, noise={0: 0.4}).condition(data)
    x = np.linspace(X[0], X[-1], 400)
    assert post.dof < 16
    paths = (post.sample(x, size=20_000, rng=0) - post(x)) / post.std(x)
    scale = np.sqrt(np.random.default_rng(1).chisquare(post.dof, 20_000) / post.dof)
    peak = np.abs(paths).max(axis=1) / scale
    assert abs(np.mean(peak <= critical(post, x)) - 0.95) < 0.008


def test_the_highest_derivative_of_a_spline_jumps_at_its_knots():
    """Nine spans, of which each counts as a place of its own: Sidak's bound."""
    sidak = special.ndtri(0.5 + 0.5 * 0.95 ** (1 / 9))
    x = np.linspace(X[0], X[-1], 500)
    assert_allclose(critical(SMOOTH, x, 5), sidak, rtol=2e-3)
    assert_allclose(critical(SMOOTH, X[:2], 5, within=(X[0], X[-1])), sidak, rtol=2e-3)
    paths = SMOOTH.sample(x, 5, size=4000, rng=0)
    lower, upper = SMOOTH.band(x, 5)
    assert ((lower <= paths) & (paths <= upper)).all(axis=1).mean() > 0.94


def test_exact_places_have_no_width_and_do_not_count():
    post = sd.RegressionSpline(8, 5).condition(DATA + sd.observe(0.5, 0.2, 0.0))
    lower, upper = post.band([0.2, 0.5])
    assert_allclose(lower[1], upper[1], rtol=1e-12)
    assert_allclose((upper - post([0.2, 0.5]))[0] / post.std(0.2), special.ndtri(0.975), rtol=1e-6)


class Mixture:
    """Three beliefs of very different smoothness about the same data, with weights."""

    data, dof = DATA, np.inf
    weights = np.array([0.2, 0.5, 0.3])
    members = tuple(
        sd.GaussianProcess(sd.kernels.SquaredExponential(s, 1.0), solver="dense").condition(DATA)
        for s in (0.06, 0.1, 0.15)
    )

    def _mean(self, x, nu):
        return sum(w * m._mean(x, nu) for w, m in self._parts())

    def _var(self, x, nu):
        mean = self._mean(x, nu)
        return sum(w * (m._var(x, nu) + (m._mean(x, nu) - mean) ** 2) for w, m in self._parts())

    def _parts(self):
        return list(zip(self.weights, self.members, strict=True))


@pytest.mark.parametrize("nu", [0, 1])
@pytest.mark.parametrize("count", [12, 300])
def test_a_mixture_is_held_as_often_as_it_says(nu, count):
    mixture, size = Mixture(), 10_000
    x = np.linspace(X[0], X[-1], count)
    orders = np.full(count, nu)
    c = bands.critical_value(bands.ways_through(mixture, x, orders), 0.95, np.inf)
    mean, std = mixture._mean(x, orders), np.sqrt(mixture._var(x, orders))
    rng = np.random.default_rng(1)
    paths = [m._sample(x, orders, int(size * w), rng) for w, m in mixture._parts()]
    held = (np.abs(np.concatenate(paths) - mean) <= c * std).all(axis=1).mean()
    assert 0.935 < held < 0.965
    whole = bands.critical_value(bands.ways_along(mixture, orders[:1], x[0], x[-1]), 0.95, np.inf)
    assert c <= whole * (1 + 1e-9)


def test_the_band_of_a_mixture_goes_by_an_exact_place_between_those_asked():
    data = DATA + sd.observe(0.5, 0.2, 0.0)
    models = [sd.SmoothingSpline(3, q=q) for q in (1e4, 1e5)]
    post = sd.ModelAverage(models, weights=(1, 2)).condition(data)
    x = np.linspace(0.025, 0.975, 20)
    paths = post.sample(x, size=10_000, rng=0)
    lower, upper = post.band(x)
    held = ((lower <= paths) & (paths <= upper)).all(axis=1).mean()
    assert 0.935 < held < 0.965


def test_several_dimensions_are_drawn():
    X2 = RNG.uniform(size=(30, 2))
    kernel = sd.kernels.Matern52(scale=0.5, sigma=1.0)
    post = sd.GaussianProcess(kernel).condition(sd.observe(X2, X2.sum(axis=1), 0.1))
    ask = RNG.uniform(size=(40, 2))
    c = critical(post, ask, rng=0)
    assert special.ndtri(0.975) < c < special.ndtri(0.5 + 0.5 * 0.95 ** (1 / 40)) + 0.1
    paths = (post.sample(ask, size=4000, rng=5) - post(ask)) / post.std(ask)
    assert abs(np.mean(np.abs(paths).max(axis=1) <= c) - 0.95) < 0.02
    with pytest.raises(ValueError, match="within"):
        post.band(ask, within=(0, 1))


def test_units_and_datetimes():
    x = np.linspace(0, 1, 50)
    big = sd.SmoothingSpline(2, q=4e3 * 1e-27).condition(sd.observe(1e9 * X, DATA.y, 0.1))
    assert_allclose(critical(big, 1e9 * x, 1), critical(ROUGH, x, 1), rtol=1e-6)
    start = np.datetime64("2026-01-01")
    times = start + (X * 1e9).astype("m8[us]")
    clock = sd.RegressionSpline(8, 5).condition(sd.observe(times, DATA.y, 0.1))
    lower, upper = clock.band(times[3:5], within=(times[0], times[-1]))
    assert (lower < upper).all()
    with pytest.raises(ValueError, match="lies outside"):
        SMOOTH.band([-0.5], within=(0, 1))


def test_regions_are_where_the_band_lies_on_one_side():
    post = SMOOTH
    low, high = X[0], X[-1]
    x = np.linspace(low, high, 3001)
    for nu, value in [(1, 0.0), (0, 0.4), (2, 0.0)]:
        found = post.regions(nu, value)
        lower, upper = post.band(x, nu, within=(low, high))
        expected = np.where(lower > value, 1, np.where(upper < value, -1, 0))
        assert (found.at(x) != expected).mean() < 2e-3
        edges = np.concatenate((found.start[found.start > low], found.end[found.end < high]))
        at = post.band(edges, nu, within=(low, high))
        nearest = np.minimum(*(np.abs(limit - value) for limit in at))
        assert (nearest < 1e-6 * np.abs(upper).max()).all()
    rising = post.regions()
    assert rising.sign.tolist()[:2] == [1, -1]
    assert "above" in repr(rising)
    assert len(rising) == repr(rising).count(" to ")
    truth = wave(x, 1)
    sure = rising.at(x)
    assert (np.sign(truth)[sure != 0] == sure[sure != 0]).all()
    assert len(post.regions(0, 50.0)) == 1
    assert len(post.regions(1, within=(0.085, 0.09))) <= 1
    with pytest.raises(ValueError, match="has derivatives of order 0 to 5"):
        post.regions(6)


@pytest.mark.parametrize("name", ["Matern12", "Matern32", "Matern52"])
def test_roughness_is_the_kink_of_the_covariance(name):
    """``E (D^k f(x + h) - D^k f(x))^2 / h`` as h -> 0, of kernels, their sums and products."""
    kernel = getattr(sd.kernels, name)(scale=0.7, sigma=1.3)
    wave_ = sd.kernels.Periodic(period=2.0, scale=1.0, sigma=1.5)
    cases = [kernel, kernel + sd.kernels.Matern72(1.0, 1.0), kernel + kernel, kernel * wave_]
    cases += [kernel * kernel, kernel * sd.kernels.Matern72(scale=2.0, sigma=0.8) * kernel]
    line = sd.kernels.Linear(2.0, center=0.3)
    cases += [kernel * line, kernel * kernel * line + line, line * (kernel + kernel * wave_)]
    x, h = np.array([0.0, 0.3, 2.0]), 1e-5
    for case in cases:
        cov = [case.cov([place, place + h], int(case.smoothness)) for place in x]
        grown = [(c[0, 0] - c[0, 1] - c[1, 0] + c[1, 1]) / h for c in cov]
        assert_allclose(case.diffusion(x), grown, rtol=2e-3, atol=2e-3 * max(grown))
    assert (sd.kernels.SquaredExponential(1.0, 1.0).diffusion(x) == 0.0).all()
    assert_allclose(sd.kernels.Wiener(2, 3.0).diffusion(x), 9.0)


def test_bands_of_a_rough_process_that_grows():
    """The slope of a process whose variance is zero at a place, and not elsewhere."""
    kernel = sd.kernels.Matern32(0.5, 1.0) * sd.kernels.Linear(1.0, center=0.0)
    post = sd.GaussianProcess(kernel).condition(mixed_data(n=(40, 20, 0)))
    contracts.check_bands(post, contracts.places(post), (1,), 0)


def test_every_engine_keeps_the_promise_of_its_rough_derivative():
    data = mixed_data(n=(40, 20, 0))
    for model in (
        sd.SmoothingSpline(2, q=4e3),
        sd.GaussianProcess(sd.kernels.Matern32(0.3, 1.0), solver="markov"),
        sd.GaussianProcess(sd.kernels.Matern32(0.3, 1.0), solver="dense"),
    ):
        post = model.condition(data)
        contracts.check_bands(post, contracts.places(post), (1,), 0)


def test_exit_rates_at_any_distance():
    """They fall to nothing, without a jump; limits of hardly known noise are found."""
    c = np.concatenate((np.linspace(0.1, 30, 400), [1e3, 1e6, 1e9]))
    rate = bands.exit_rate(c)
    assert (np.diff(rate) <= 0).all()
    assert rate[-1] == 0.0
    near = bands.exit_rate(np.array([6.999, 7.001]))
    assert abs(near[1] / near[0] / np.exp(-0.5 * (7.001**2 - 6.999**2)) - 1) < 0.05
    for dof in (1.0, 2.0):
        way = bands.Way(np.full(20, 0.5), np.full(20, np.inf), True, 0)
        found = bands.critical_value([(1.0, [way])], 0.95, dof)
        assert 10 < found < 1e3


@pytest.mark.parametrize("light", [0.03, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("places", [1, 2, 3, 10, 200])
def test_bands_of_an_average_of_unlike_members(places, light):
    """Near a step one member lies off the limits at few places: seen there, it is outside."""
    rng = np.random.default_rng(0)
    x = np.linspace(0, 1, 50)
    data = sd.observe(x, (x > 0.5) + 0.1 * rng.normal(size=50), 0.1)
    members = (sd.SmoothingSpline(2, q=1e4), sd.SmoothingSpline(2, q=0.5))
    post = sd.ModelAverage(members, weights=(1 - light, light)).condition(data)
    at = np.linspace(0, 1, places + 2)[1:-1]
    for nu in (0, 1):
        lower, upper = post.band(at, nu)
        paths = post.sample(at, nu, size=4000, rng=1)
        held = ((lower <= paths) & (paths <= upper)).all(axis=1).mean()
        assert held > 0.935 - contracts.Z * np.sqrt(0.05 * 0.95 / 4000)
        assert places == 1 or held < 0.975
