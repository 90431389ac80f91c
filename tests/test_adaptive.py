"""AdaptiveSpline: against the definition in many digits, its laws, and what its tuner finds."""

import contracts
import mpmath as mp
import numpy as np
import pytest
from naive_statespace import DenseSpline, wiener_cov
from numpy.testing import assert_allclose

import smoothderiv as sd
from conftest import mixed_data, wave
from smoothderiv.statespace.adaptive_loss import Objective
from smoothderiv.statespace.adaptive_search import spaced
from smoothderiv.statespace.backward import errors_of

KNOTS = (0.0, 0.25, 0.5, 1.0)
DENSITY = (1e2, 1e5, 3e3, 10.0)


class DenseAdaptive(DenseSpline):
    """The same by a density for each stretch between neighbouring places."""

    def __init__(self, order, knots, density, x, *rows):
        self.places = np.unique(x)
        middle = 0.5 * (self.places[1:] + self.places[:-1])
        self.density = np.exp(np.interp(middle, knots, np.log(density)))
        super().__init__(order, 1.0, x, *rows)

    def _cov(self, s, a, t, b):
        total = mp.mpf(0)
        for k, density in enumerate(self.density):
            last = k == len(self.density) - 1
            parts = [wiener_cov(self.order, s - p, a, t - p, b) for p in self._ends(k, last)]
            total += mp.mpf(float(density)) * (parts[0] - sum(parts[1:]))
        return total

    def _ends(self, k, last):
        return [mp.mpf(float(p)) for p in self.places[k : k + (1 if last else 2)]]


def ragged(order, n=11, seed=1):
    """Values and slopes at irregular places, some of them shared, of uneven noise."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, 1, n))
    x[5] = x[4]
    nu = np.where(np.arange(n) % 4 == 3, min(1, order - 1), 0)
    yerr = np.where(nu == 0, 0.1, 1.0) * rng.uniform(0.5, 2, n)
    return x, wave(x, 0) * (nu == 0) + wave(x, 1) * (nu == 1), yerr, nu


@pytest.mark.parametrize("order", [1, 2, 3])
def test_many_digits(order):
    """Mean, deviations, evidence, P y and diag P between and beyond the rows."""
    x, y, yerr, nu = ragged(order)
    exact = DenseAdaptive(order, KNOTS, DENSITY, x, y, yerr, nu)
    model = sd.AdaptiveSpline(order, knots=KNOTS, q=DENSITY)
    post = model.condition(sd.observe(x, y, yerr, nu))
    ask = np.append(np.linspace(x[0], x[-1], 9), 1.1)
    for k in range(order):
        orders = np.full(len(ask), k)
        mean = exact.mean(ask, orders)
        assert_allclose(post(ask, k), mean, rtol=1e-10, atol=1e-11 * np.abs(mean).max())
        assert_allclose(post.std(ask, k), exact.std(ask, orders), rtol=1e-10)
    assert_allclose(post.log_evidence, exact.log_evidence(), rtol=1e-11)
    pull, precision = exact.errors()
    found = errors_of(post.rows)[1]
    assert_allclose(found.pull, pull, rtol=1e-9)
    assert_allclose(found.diagonal, precision, rtol=1e-10)


@pytest.mark.parametrize("order", [2, 3])
def test_contract(order):
    data = mixed_data(n=(40, 30, 15 if order > 2 else 0))
    model = sd.AdaptiveSpline(order, knots=KNOTS, q=DENSITY)
    contracts.check_posterior(model.condition(data), range(order))
    contracts.check_permutation(model.condition, data, orders=range(order))
    contracts.check_replicates(model.condition, data, orders=range(order))
    contracts.check_polynomials(model.condition, order - 1)
    twice = data + sd.observe(data.x, data.y, data.yerr, data.nu)  # or pieces would be merged
    contracts.check_leave_one_out(model, twice, range(0, 60, 7))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_constant_density_is_the_smoothing_spline(order):
    data = mixed_data(n=(40, 30 if order > 1 else 0, 0))
    plain = sd.SmoothingSpline(order, q=300.0).condition(data)
    nearly = np.full(4, 300.0) * (1 + 1e-13 * np.arange(4))  # so that the loops see it vary
    x = contracts.places(plain)
    for q in (np.full(4, 300.0), nearly):
        post = sd.AdaptiveSpline(order, knots=KNOTS, q=tuple(q)).condition(data)
        for nu in range(order):
            size = np.abs(plain(x, nu)).max()
            assert_allclose(post(x, nu), plain(x, nu), atol=1e-10 * size)
            assert_allclose(post.std(x, nu), plain.std(x, nu), rtol=1e-9)
        assert_allclose(post.edf, plain.edf, rtol=1e-10)
        assert_allclose(post.log_evidence, plain.log_evidence, rtol=1e-10)


def objective(order, known):
    x, y, yerr, nu = ragged(order, 16)
    data = sd.observe(x, y, yerr, nu) if known else sd.observe(x, y, yerr, nu, relative=True)
    model = sd.AdaptiveSpline(order, knots=tuple(np.linspace(data.x.min(), data.x.max(), 5)))
    levels = () if known else data.estimated_orders
    point = np.append(8 + 2 * np.random.default_rng(0).standard_normal(5), np.log([1.3, 0.8]))
    return Objective(model, data, levels), point[: 5 + len(levels)]


@pytest.mark.parametrize("known", [True, False])
def test_gradient_is_the_slope_of_the_loss(known):
    ask, point = objective(3, known)
    slopes = [
        (ask.penalised(4.0, point + step).loss - ask.penalised(4.0, point - step).loss) / 2e-4
        for step in 1e-4 * np.eye(len(point))
    ]
    assert_allclose(ask.penalised(4.0, point).gradient, slopes, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_information_is_that_of_dense_matrices(order):
    """``tr(P dSigma_a P dSigma_b) / 2``, with P and the derivatives of Sigma by many digits."""
    ask, point = objective(order, known=False)
    data, knots = ask.data, np.array(ask.model.knots)
    yerr = data.sd(dict(zip(ask.levels, np.exp(point[5:]), strict=True)))
    exact = DenseAdaptive(order, knots, np.exp(point[:5]), data.x, data.y, yerr, data.nu)
    n, density = len(data), exact.density
    P = np.array(exact.inverse[:n, :n].tolist(), dtype=float)
    middle = 0.5 * (exact.places[1:] + exact.places[:-1])
    changes = []
    for hat in np.eye(5):
        exact.density = density * np.interp(middle, knots, hat)
        K = [[exact._cov(s, a, t, b) for t, b in rows_of(exact)] for s, a in rows_of(exact)]
        changes.append(np.array(K, dtype=float))
    changes += [np.diag(2 * yerr**2 * (data.nu == k)) for k in ask.levels]
    expected = [[0.5 * np.trace(P @ a @ P @ b) for b in changes] for a in changes]
    found = ask.information(ask.likelihood(point))
    # noise of which less than a millionth is left is forgotten
    assert_allclose(found, expected, rtol=1e-5, atol=1e-8 * np.max(expected))


def rows_of(exact):
    return list(zip(exact.x, exact.nu, strict=True))


def jump(n=200, seed=0, known=True):
    """Values of a step, whose smoothness is anything but constant."""
    x = np.linspace(-1, 1, n)
    y = np.tanh(20 * x) + 0.1 * np.random.default_rng(seed).standard_normal(n)
    return sd.observe(x, y, 0.1 if known else None)


@pytest.mark.parametrize("known", [True, False])
def test_a_step_is_seen_and_the_optimum_is_one(known):
    """The gradient of the documented loss is zero; density and accuracy follow the curve."""
    data = jump(known=known)
    model = sd.tune(sd.AdaptiveSpline(3), data)
    assert model.variation > 0
    assert np.abs(model.tuning.gradient).max() < 1e-6
    q = np.log(model.q)
    assert q[len(q) // 2] - max(q[0], q[-1]) > 5
    post = model.condition(data)
    plain = sd.smooth(data, sd.SmoothingSpline(3))
    slope = 20 / np.cosh(20 * data.x) ** 2
    error, other = (np.sqrt(np.mean((p(data.x, 1) - slope) ** 2)) for p in (post, plain))
    assert error < 0.8 * other
    outer = np.abs(data.x) > 0.5
    assert (post.std(data.x[outer], 1) < plain.std(data.x[outer], 1)).all()


def test_a_curve_of_one_smoothness_is_left_alone():
    """There is no gain of evidence, and the answer is that of the smoothing spline."""
    x = np.linspace(0, 1, 150)
    data = sd.observe(x, wave(x) + 0.1 * np.random.default_rng(2).standard_normal(150))
    model = sd.tune(sd.AdaptiveSpline(3), data)
    assert model.variation == 0.0
    plain = sd.smooth(data, sd.SmoothingSpline(3))
    assert_allclose(model.condition(data)(x, 1), plain(x, 1), rtol=1e-12, atol=1e-12)


def test_kinks_call_for_more_knots():
    x = np.linspace(0, 1, 300)
    y = np.abs(x - 0.37) + 0.01 * np.random.default_rng(5).standard_normal(300)
    data = sd.observe(x, y)
    model = sd.tune(sd.AdaptiveSpline(2), data)
    assert model.variation > 10
    assert len(model.knots) == 65
    post, plain = model.condition(data), sd.smooth(data, sd.SmoothingSpline(2))
    truth = np.sign(x - 0.37)
    error, other = (np.sqrt(np.mean((p(x, 1) - truth) ** 2)) for p in (post, plain))
    assert error < 0.7 * other


def test_knots_follow_the_places():
    even = np.linspace(2, 6, 101)
    assert_allclose(spaced(sd.observe(even, even), 17), np.linspace(2, 6, 17))
    twice = np.append(even, even[:30])
    assert_allclose(spaced(sd.observe(twice, twice), 17), np.linspace(2, 6, 17))
    log = np.geomspace(1e-3, 1e3, 97)
    assert_allclose(spaced(sd.observe(log, log), 17), np.geomspace(1e-3, 1e3, 17))
    near = np.array([0.0, 1.0, np.nextafter(1.0, 2.0)])
    assert (np.diff(spaced(sd.observe(near, near), 17)) > 0).all()


@pytest.mark.parametrize("n", [60, 200])
def test_places_spaced_by_their_logarithms(n):
    """Over six decades, beside a spline of one smoothness."""
    x, errors, held = np.geomspace(1e-3, 1e3, n), [], []
    for seed in range(4):
        y = np.log(x) + 0.1 * np.random.default_rng(seed).standard_normal(n)
        data = sd.observe(x, y)
        post, plain = sd.smooth(data, sd.AdaptiveSpline(3)), sd.smooth(data, sd.SmoothingSpline(3))
        errors.append([np.sqrt(np.mean((p(x) - np.log(x)) ** 2)) for p in (post, plain)])
        lower, upper = post.interval(x)
        held.append(np.mean((lower < np.log(x)) & (np.log(x) < upper)))
    adaptive, plain = np.mean(errors, axis=0)
    assert adaptive < 0.07
    assert adaptive < 0.2 * plain
    assert np.mean(held) > 0.88


def test_evidence_is_what_integrating_by_brute_force_gives():
    """Laplace's approximation of the evidence of two knots, against a grid over both."""
    x = np.linspace(0, 1, 60)
    data = sd.observe(x, wave(x) + 0.1 * np.random.default_rng(2).standard_normal(60), 0.1)
    model = sd.AdaptiveSpline(2, knots=(0.0, 1.0))
    ask = Objective(model, data, ())
    start = np.log([3e4, 3e4])
    for variation in (1.0, 3.0):
        fit = ask.polished(ask.climb(variation, start))
        around = np.linspace(-5, 5, 41)
        losses = [
            [ask.penalised(variation, fit.point + np.array([a, b])).loss for b in around]
            for a in around
        ]
        grid = np.log(np.exp(-np.array(losses)).sum() * (around[1] - around[0]) ** 2)
        laplace = -fit.loss - 0.5 * np.linalg.slogdet(fit.curvature)[1] + np.log(2 * np.pi)
        assert abs(laplace - grid) < 0.2


def test_what_is_given_is_held():
    data = jump(known=False)
    held = sd.tune(sd.AdaptiveSpline(3, variation=4.0), data)
    assert held.variation == 4.0
    assert sd.tune(sd.AdaptiveSpline(3, variation=0.0), data).q[0] > 0
    levels = sd.tune(sd.AdaptiveSpline(2, knots=KNOTS, q=DENSITY), data)
    assert levels.q == DENSITY
    assert_allclose(levels.noise[0], 0.1, rtol=0.5)
    assert sd.tune(sd.AdaptiveSpline(2, knots=KNOTS), data).knots == KNOTS


def test_averages_integrate_over_variation_and_mean():
    data = jump(60)
    model = sd.tune(sd.AdaptiveSpline(3), data)
    models, weights = model.alternatives()
    assert models[0] is model
    assert_allclose(weights.sum(), 1.0)
    assert (weights > 0).all()
    post = sd.smooth(data, sd.ModelAverage((sd.AdaptiveSpline(3),)))
    assert len(post.members) == len(models)
    x = np.linspace(-1, 1, 30)
    assert (post.std(x, 1) > 0.9 * model.condition(data).std(x, 1)).all()


def test_replicates_and_saving(tmp_path):
    data = jump(80)
    contracts.check_permutation(lambda d: sd.smooth(d, sd.AdaptiveSpline(2)), data)
    contracts.check_replicates(lambda d: sd.smooth(d, sd.AdaptiveSpline(2)), data, rtol=1e-6)
    post = sd.smooth(data, sd.AdaptiveSpline(2))
    post.save(tmp_path / "fit.npz")
    again = sd.load(tmp_path / "fit.npz")
    assert np.array_equal(again(data.x, 1), post(data.x, 1))
    assert np.array_equal(again.std(data.x, 1), post.std(data.x, 1))


def test_refusals():
    data = jump(30)
    with pytest.raises(ValueError, match=r"criterion: 'gcv', but AdaptiveSpline"):
        sd.tune(sd.AdaptiveSpline(2), data, "gcv")
    with pytest.raises(ValueError, match="q: unknown"):
        sd.AdaptiveSpline(2).condition(data)
    for words, fields in (
        ("order: 0", {"order": 0}),
        ("variation: -1", {"variation": -1.0}),
        ("knots: give two places", {"knots": (1.0,)}),
        ("knots: give two places", {"knots": (1.0, 0.0)}),
        ("q: .* one density", {"q": (1.0, 2.0)}),
        ("q: .* finite and positive", {"knots": (0.0, 1.0), "q": (1.0, -2.0)}),
    ):
        with pytest.raises(ValueError, match=words):
            sd.AdaptiveSpline(**fields)
    with pytest.raises(ValueError, match=r"only derivatives below 2 exist"):
        sd.tune(sd.AdaptiveSpline(2), data + sd.observe([0.0], [1.0], 0.1, nu=2))


@pytest.mark.parametrize("a", [1e-9, 1e9])
def test_units_with_tuning(a):
    x = np.linspace(0, 1, 80)
    data = sd.observe(x, np.tanh(15 * (x - 0.4)) + 0.05 * np.random.default_rng(3).normal(size=80))

    def fit(rows):
        model = sd.tune(sd.AdaptiveSpline(2), rows)
        assert model.variation > 0
        return model.condition(rows)

    contracts.check_units(fit, data, a, c=3e4, b=0.3 * a)


def test_summary_and_picture_are_short():
    post = sd.smooth(jump(known=False), sd.AdaptiveSpline(3))
    text = post.summary()
    assert "_beside" not in text
    assert len(text.splitlines()) < 25
    assert f"{len(post.model.knots)} numbers" in text
    axes = sd.plot_tuning(post)
    assert len(axes) == 1
    assert "variation" in axes[0].get_yticklabels()[0].get_text()
    held = sd.tune(sd.AdaptiveSpline(3, variation=5.0), jump())
    with pytest.raises(ValueError, match="found together"):
        sd.plot_tuning(held)


def test_exact_polynomials_are_met_without_a_search():
    x = np.linspace(-1, 1, 40)
    with pytest.warns(sd.TuningWarning, match="polynomial of degree 2") as told:
        post = sd.smooth(sd.observe(x, x**2, 0.0), sd.AdaptiveSpline(3))
    assert len(told) == 1
    assert_allclose(post(x, 1), 2 * x, atol=1e-8)


def test_a_variation_under_which_the_noise_goes_to_nothing_is_not_taken():
    """No row is left for the level then, and its evidence would have no end."""
    x = np.sort(np.random.default_rng(1).uniform(0, 1, 12))
    data = sd.observe(x, np.exp(8 * x))
    tuned = sd.tune(sd.AdaptiveSpline(3), data)
    assert tuned.variation == 0.0
    assert tuned.noise[0] > 0.0
    with pytest.raises(ValueError, match="variation: at 3 q or the noise"):
        sd.tune(sd.AdaptiveSpline(3, variation=3.0), data)


@pytest.mark.parametrize("q", [0.0, 30.0])
def test_levels_beside_a_constant_density_are_those_of_the_smoothing_spline(q):
    x = np.linspace(0, 1, 40)
    data = sd.observe(x, x**2 + 0.1 * np.cos(40 * x))
    model = sd.tune(sd.AdaptiveSpline(2, knots=(0, 1), q=(q, q)), data)
    assert model.q == (q, q)
    assert model.noise == sd.tune(sd.SmoothingSpline(2, q=q), data).noise


def test_an_average_takes_off_what_the_tuning_of_densities_flatters():
    """Half of the effective number of densities beyond one; a constant density flatters nothing."""
    data, uniform = jump(), sd.SmoothingSpline(3)
    adaptive = sd.tune(sd.AdaptiveSpline(3), data)
    assert 0.5 < adaptive.flattery < 0.5 * (len(adaptive.knots) - 1)
    assert sd.tune(sd.AdaptiveSpline(3, variation=0.0), data).flattery == 0.0
    average = sd.tune(sd.ModelAverage((sd.AdaptiveSpline(3), uniform), spread=False), data)
    predicted = [
        float(model.condition(data).log_predictive().sum())
        for model in (adaptive, sd.tune(uniform, data))
    ]
    scores = [score for _, score in average.tuning.tried]
    assert_allclose(scores[0], predicted[0] - adaptive.flattery, rtol=1e-9)
    assert_allclose(scores[1], predicted[1], rtol=1e-9)
