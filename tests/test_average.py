"""ModelAverage: weights by what is predicted for places left out, and the mixture."""

import dataclasses

import numpy as np
import pytest
from contracts import check_permutation, check_posterior, check_replicates, check_units, places
from numpy.testing import assert_allclose
from scipy import special

import smoothderiv as sd
from conftest import mixed_data, wave
from smoothderiv._warn import warn
from smoothderiv.model import UnsuitableError
from smoothderiv.tuning import tune_spread

MODELS = (
    sd.SmoothingSpline(3),
    sd.SmoothingSpline(2),
    sd.GaussianProcess(sd.kernels.Matern52(), mean=0.1),
)


def small(seed=0, n=40):
    return mixed_data(seed, n=(n, n // 4, 0))


def known_average():
    models = (
        sd.SmoothingSpline(3, q=4e5),
        sd.SmoothingSpline(2, q=4e3),
        sd.RegressionSpline(6, 5, noise={}),
    )
    return sd.ModelAverage(models, weights=(2.0, 1.0, 1.0))


def test_obeys_the_contract():
    check_posterior(known_average().condition(small()))


def test_the_mixture_has_the_moments_of_its_members():
    post = known_average().condition(small())
    x = places(post)
    mean = sum(w * m(x, 1) for w, m in zip(post.weights, post.members, strict=True))
    second = sum(
        w * (m.var(x, 1) + m(x, 1) ** 2) for w, m in zip(post.weights, post.members, strict=True)
    )
    assert_allclose(post(x, 1), mean)
    assert_allclose(post.var(x, 1), second - mean**2, rtol=1e-6)
    assert post.highest_order == 1
    with pytest.raises(ValueError, match="order"):
        post(x, 2)


def test_exact_rows_are_conditions_and_leave_no_residual():
    exact = np.linspace(0.03, 0.97, 12)
    data = small() + sd.observe(exact, wave(exact, 0), yerr=0)
    models = [sd.SmoothingSpline(3, q=q) for q in (1e4, 3e4, 1e5, 1e6)]
    post = sd.ModelAverage(models, weights=tuple(np.sqrt([1, 2, 3, 4]))).condition(data)
    left = post.loo()
    assert (left.residual[data.exact] == 0).all()
    assert (left.std[data.exact] == 0).all()
    assert_allclose(left.mean + left.residual, data.y, rtol=1e-14)
    means = np.array([m.loo().mean for m in post.members])
    assert_allclose(left.mean, post.weights @ means, rtol=1e-9)


def test_the_derivative_tells_of_the_same_rows_left_out():
    post = known_average().condition(small())
    slope = post.derivative(1)
    for name in ("mean", "std", "residual", "log_density"):
        assert_allclose(getattr(slope.loo(), name), getattr(post.loo(), name), rtol=1e-14)
    assert_allclose(slope.log_predictive(), post.log_predictive(), rtol=1e-14)
    assert_allclose(slope.diagnose().standardised, post.diagnose().standardised, rtol=1e-14)


@pytest.mark.parametrize(
    "model",
    [
        sd.GaussianProcess(sd.kernels.SquaredExponential(0.8, 1.2), mean="constant"),
        sd.GaussianProcess(sd.kernels.Matern52(0.8, 1.2), mean="linear"),
        sd.GaussianProcess(sd.kernels.Matern52(0.8, 1.2), mean="linear", solver="dense"),
        sd.SmoothingSpline(3, q=1.44),
    ],
)
def test_rows_without_noise_are_predicted_one_by_one(model):
    x = np.array([0, 0.3, 1.0, 1.7, 2.5, 3.1, 4.0])
    data = sd.observe(x, np.sin(2 * x), yerr=0.0)
    data = data + sd.observe(x[1:5] + 0.1, 2 * np.cos(2 * x[1:5] + 0.2), yerr=0.0, nu=1)
    found = model.condition(data).log_predictive()
    for i in range(len(data)):
        rest = model.condition(data[np.arange(len(data)) != i])
        std = float(rest.std(data.x[i], data.nu[i]))
        away = (data.y[i] - float(rest(data.x[i], data.nu[i]))) / std
        assert_allclose(found[i], -0.5 * away**2 - np.log(std * np.sqrt(2 * np.pi)), rtol=1e-8)


def test_surfaces_without_noise_are_weighed_by_what_they_predict():
    x = np.random.default_rng(0).uniform(-1, 1, (12, 2))
    data = sd.observe(x, np.exp(-(x**2).sum(axis=1)), yerr=0.0)
    for a, nu in enumerate(np.eye(2, dtype=int)):
        slope = -2 * x[:, a] * np.exp(-(x**2).sum(axis=1))
        data = data + sd.observe(x, slope, yerr=0.0, nu=nu)
    rough, smooth = (
        sd.GaussianProcess(kernel, mean=0.0)
        for kernel in (sd.kernels.Matern32(), sd.kernels.SquaredExponential())
    )
    average = sd.tune(sd.ModelAverage((rough, smooth), spread=False), data)
    assert average.shares() == ("100 % GaussianProcess(SquaredExponential)",)


def test_weights_are_the_softmax_of_what_is_predicted_for_rows_left_out():
    data = small()
    average = sd.tune(sd.ModelAverage(MODELS, spread=False), data)
    scores = [np.sum(sd.tune(model, data).condition(data).loo().log_density) for model in MODELS]
    weights = special.softmax(scores)
    kept = weights > 1e-3
    assert_allclose(average.weights, weights[kept] / weights[kept].sum(), rtol=1e-6)
    assert_allclose([score for _, score in average.tuning.tried], scores, rtol=1e-9)


def test_leaving_out_a_place_is_conditioning_on_the_others():
    """The log density of all rows of one place and order, against fitting without them."""
    data = small(n=12)
    repeated = data + data[3:6] + data[3:4]
    model = sd.SmoothingSpline(3, q=3e4)
    post = model.condition(repeated)
    found = np.sort(post.log_predictive())
    expected = []
    for x, nu in sorted(set(zip(data.x, data.nu, strict=True))):
        here = (repeated.x == x) & (repeated.nu == nu)
        rest = model.condition(repeated[~here])
        rows = repeated[here]
        cov = float(rest.var(x, nu)) + np.diag(rows.sd({}) ** 2)
        away = rows.y - rest(rows.x, rows.nu)
        log_det = np.linalg.slogdet(cov)[1]
        quadratic = away @ np.linalg.solve(cov, away)
        expected.append(-0.5 * (quadratic + log_det + len(rows) * np.log(2 * np.pi)))
    assert_allclose(found, np.sort(expected), rtol=1e-7)


def tuned_average(data):
    return sd.smooth(data, sd.ModelAverage(MODELS))


@pytest.mark.parametrize("a", [1e-9, 60.0, 1e9])
def test_units_change_nothing(a):
    models = (sd.SmoothingSpline(3), sd.SmoothingSpline(2))
    data = mixed_data(1, n=(60, 20, 0), known=False)
    check_units(lambda d: sd.smooth(d, sd.ModelAverage(models)), data, a, c=7.0, rtol=1e-7)


def test_order_of_rows_and_replicates_change_nothing():
    check_permutation(tuned_average, small(), rtol=1e-7)
    check_replicates(tuned_average, small(), rtol=1e-7)


def test_save_and_load(tmp_path):
    post = tuned_average(small())
    post.save(tmp_path / "average.npz")
    again = sd.load(tmp_path / "average.npz")
    x = places(post)
    assert np.array_equal(again(x, 1), post(x, 1))
    assert np.array_equal(again.std(x, 1), post.std(x, 1))


def test_members_that_cannot_hold_the_data_are_passed_over():
    data = sd.observe([0.0, 0.5, 1.0], [0.0, 1.0, 0.5], yerr=0.1)
    average = sd.tune(sd.ModelAverage((sd.SmoothingSpline(4), sd.SmoothingSpline(1))), data)
    assert {m.order for m in average.models} == {1}
    slopes = sd.observe([0.0, 0.5, 1.0], [0.0, 1.0, 0.5], yerr=0.1, nu=1)
    with pytest.raises(ValueError, match="constant"):
        sd.smooth(slopes, sd.ModelAverage((sd.SmoothingSpline(2), sd.SmoothingSpline(3))))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="models: there is none"):
        sd.ModelAverage(())
    for wrong in (sd.SmoothingSpline(2), 5, None):
        with pytest.raises(TypeError, match=r"models: .* is not several; give a tuple, such as"):
            sd.ModelAverage(wrong)
    with pytest.raises(TypeError, match="model: 5 is not a model"):
        sd.ModelAverage((sd.SmoothingSpline(2), 5))
    with pytest.raises(ValueError, match="one positive number is needed for each of the 1"):
        sd.ModelAverage((sd.SmoothingSpline(2),), weights=(-1.0,))
    with pytest.raises(ValueError, match=r"models\[0\].q, weights: unknown"):
        sd.ModelAverage((sd.SmoothingSpline(2),)).condition(small())


def test_spread_is_the_posterior_of_the_smoothing():
    """Mean and variance of the answer, against a fine quadrature over q (noise known)."""
    data = mixed_data(2, n=(25, 0, 0))
    tuned = sd.tune(sd.SmoothingSpline(2), data)
    x = np.linspace(0.05, 0.95, 9)
    log_q = np.log(tuned.q) + np.linspace(-7, 7, 141)
    fits = [dataclasses.replace(tuned, q=float(np.exp(v))).condition(data) for v in log_q]
    weight = special.softmax([fit.log_evidence for fit in fits])
    mean = weight @ [fit(x) for fit in fits]
    second = weight @ [fit.var(x) + (fit(x) - mean) ** 2 for fit in fits]
    post = sd.smooth(data, sd.ModelAverage((sd.SmoothingSpline(2),)))
    assert_allclose(post(x), mean, atol=0.1 * np.sqrt(second).max())
    assert_allclose(post.std(x), np.sqrt(second), rtol=0.03)
    conditional = tuned.condition(data)
    worse = np.abs(conditional.std(x) / np.sqrt(second) - 1).mean()
    assert np.abs(post.std(x) / np.sqrt(second) - 1).mean() < 0.5 * worse


def test_spread_takes_what_is_known_as_known():
    data = mixed_data(2, n=(25, 0, 0))
    models, weights = tune_spread(sd.SmoothingSpline(2, q=3e3), data)[1]()
    assert len(models) == 1
    assert weights.tolist() == [1.0]


def test_the_average_is_near_the_better_member():
    """A smooth wave: order 3 predicts better and weighs more, order 2 is nearly left out."""
    data = mixed_data(3, n=(150, 0, 0)).of(0)
    post = sd.smooth(data, sd.ModelAverage((sd.SmoothingSpline(2), sd.SmoothingSpline(3))))
    weight = {2: 0.0, 3: 0.0}
    for model, w in zip(post.model.models, post.weights, strict=True):
        weight[model.order] += w
    assert weight[3] > 0.9
    x = np.linspace(0.05, 0.95, 100)
    rough = sd.smooth(data, sd.SmoothingSpline(2))
    assert np.mean((post(x, 1) - wave(x, 1)) ** 2) < np.mean((rough(x, 1) - wave(x, 1)) ** 2)


@pytest.mark.filterwarnings("ignore::smoothderiv.TuningWarning")
def test_nodes_at_which_a_model_says_nothing_are_left_out():
    """Columns of noise: some nodes of the quadrature lie where the evidence underflows."""
    places, labels = np.random.RandomState(0).uniform(size=(30, 3)), np.arange(30) % 3
    model = sd.ModelAverage((sd.GaussianProcess(sd.kernels.RationalQuadratic(), mean="constant"),))
    tuned = sd.tune(model, sd.observe(places, labels))
    assert min(tuned.weights) > 0


def test_very_many_rows_are_tuned_on_means_of_neighbours(monkeypatch):
    """The answer is nearly that of tuning on all rows, and is conditioned on all of them."""
    rng = np.random.default_rng(7)
    x = np.sort(rng.uniform(0, 1, 6000))
    data = sd.observe(x, np.sin(7 * x) + 0.3 * rng.standard_normal(6000))
    models = sd.ModelAverage((sd.SmoothingSpline(3), sd.GaussianProcess(sd.kernels.Matern52())))
    whole = sd.smooth(data, models)
    monkeypatch.setattr("smoothderiv.binning._MANY", 5000)
    monkeypatch.setattr("smoothderiv.binning._TELLING", 600)
    quick = sd.smooth(data, models)
    ask = np.linspace(0.02, 0.98, 40)
    for nu in (0, 1):
        assert (np.abs(quick(ask, nu) - whole(ask, nu)) < 0.3 * whole.std(ask, nu)).all()
        assert_allclose(quick.std(ask, nu), whole.std(ask, nu), rtol=0.3)
    assert len(quick.data) == 6000
    assert quick.model != whole.model


def test_members_answer_the_same_on_threads(monkeypatch):
    rng = np.random.default_rng(3)
    x = np.linspace(0, 1, 150)
    data = sd.observe(x, np.sin(7 * x) + 0.1 * rng.standard_normal(150))
    ask = np.linspace(0, 1, 40)

    def answers():
        post = sd.smooth(data)
        return post.mean(ask, 1), post.std(ask, 1), post.loo().mean, post.leverage(), post.dof

    alone = answers()
    monkeypatch.setattr("smoothderiv._threads._MANY", 100)
    monkeypatch.setattr("smoothderiv._threads.cores", lambda: 3)
    for one, other in zip(alone, answers(), strict=True):
        assert_allclose(other, one, rtol=0)


def test_what_is_predicted_is_the_mixture_of_what_members_predict():
    rng = np.random.default_rng(1)
    x = np.sort(rng.uniform(0, 1, 30))
    data = sd.observe(x, np.sin(6 * x) + 0.1 * rng.standard_normal(30))
    post = sd.smooth(data, sd.ModelAverage((sd.SmoothingSpline(2), sd.SmoothingSpline(3))))
    assert len(post.members) > 1
    assert np.isclose(post.log_predictive().sum(), post.loo().log_density.sum(), rtol=1e-12)


@pytest.mark.parametrize(
    "kernel", [sd.kernels.SquaredExponential(0.06, 1.4), sd.kernels.Matern72(0.3, 1.4)], ids=str
)
@pytest.mark.parametrize("level", [1e-3, 1e-6, 1e-9])
def test_digits_of_what_is_predicted_last_to_the_smallest_noise(kernel, level):
    x = np.linspace(0, 1, 30)
    y = np.sin(2 * np.pi * (2 * x + 3 * x**2))
    model = sd.GaussianProcess(kernel, noise={0: level})
    found = model.condition(sd.observe(x, y)).log_predictive()
    for i in (0, 3, 15):
        rest = np.arange(30) != i
        post = model.condition(sd.observe(x[rest], y[rest]))
        std = np.hypot(post.std(x[i]), level)
        expected = -0.5 * ((y[i] - post(x[i])) / std) ** 2 - np.log(std * np.sqrt(2 * np.pi))
        assert np.isclose(found[i], expected, rtol=1e-4, atol=1e-4)


def test_a_member_without_noise_is_weighed():
    x = np.linspace(0, 1, 50)
    clean = np.sin(2 * np.pi * (2 * x + 6 * x**2))
    noise = np.random.default_rng([1, 50, 20]).standard_normal(50)  # that some curve goes through
    post = sd.smooth(sd.observe(x, clean + 0.02 * clean.std() * noise), nu=1)
    slope = 2 * np.pi * (2 + 12 * x) * np.cos(2 * np.pi * (2 * x + 6 * x**2))
    assert np.sqrt(np.mean((post(x, 1) - slope) ** 2)) < 0.15 * slope.std()


def test_the_leader_is_the_member_that_weighs_most_in_all():
    """Not the model that does: a member is spread over several."""
    data = small().of(0)
    average = sd.ModelAverage((sd.SmoothingSpline(3), sd.SmoothingSpline(2)), weights=(0.6, 0.4))
    tuned = sd.tune(average, data)
    assert len(tuned.models) > 2
    assert average.leader(tuned) is average.models[0]
    flat = dataclasses.replace(tuned, weights=(0.2, 0.2, 0.2, 0.4), models=tuned.models[:4])
    flat = dataclasses.replace(flat, _kept=(0, 0, 0, 1))
    assert average.leader(flat) is average.models[0]


def test_an_average_of_known_models_is_fitted_as_it_is():
    known, data = known_average(), small()
    post = sd.smooth(data, known, robust=True, varying=True)
    assert post.model.weights == known.weights
    tuned = sd.smooth(data.of(0), sd.ModelAverage(MODELS[:2])).model
    again = sd.smooth(data.of(0), tuned)
    assert again.model == tuned
    assert tuned.leader(again.model) is tuned.models[int(np.argmax(tuned.weights))]


def test_members_that_cannot_hold_the_rows_are_passed_over():
    """Whatever it is that they cannot hold."""
    x = np.linspace(0, 1, 30)
    data = sd.observe(x, wave(x, 0), 0.1) + sd.observe(x[::5], wave(x[::5], 2), 5.0, nu=2)
    able = sd.SmoothingSpline(3)
    for unable in (
        sd.SmoothingSpline(2),
        sd.GaussianProcess(sd.kernels.Matern32()),
        sd.RegressionSpline(degree=1, order=1, lam=None),
        sd.GaussianProcess(sd.kernels.SquaredExponential((1.0, 1.0))),
        sd.GaussianProcess(sd.kernels.SquaredExponential(), solver="iterative"),
    ):
        exact = getattr(unable, "solver", "") == "iterative"  # which bounds its error by the noise
        rows = data + sd.observe([0.5], [0.2], 0.0) if exact else data
        post = sd.smooth(rows, sd.ModelAverage((unable, able)))
        assert post.model.shares() == ("100 % SmoothingSpline(order=3)",)
        with pytest.raises(UnsuitableError):
            sd.smooth(rows, sd.ModelAverage((unable,)))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([0.0, 1.0, 2.0], [0.0, 2.0, 4.0]),
        ([0.0, 1.0], [3.0, 3.0]),
        (np.linspace(0, 1, 30), np.full(30, 2.0)),
    ],
    ids=["three on a line", "two equal", "constant"],
)
def test_intervals_without_width_are_told_once(x, y):
    with pytest.warns(sd.TuningWarning) as told:
        sd.smooth(sd.observe(x, y))
    assert len(told) == 1
    assert "noise[0]: no noise in 100 % of the weight" in str(told[0].message)


def test_a_straight_line_with_noise_is_an_end_without_a_word():
    x = np.linspace(0, 1, 30)
    data = sd.observe(x, x + 0.1 * np.random.default_rng(1).standard_normal(30))
    average = sd.tune(sd.ModelAverage(MODELS[:2]), data)
    assert any(model.tuning and model.tuning.ends for model in average.models)


def test_what_is_told_of_members_besides_their_ends_is_told(monkeypatch):
    """Only the ends are taken without a word."""

    def tuned(model, data, criterion):
        warn("the search did not converge", sd.TuningWarning)
        return tune_spread(model, data, criterion)

    monkeypatch.setattr("smoothderiv.average.tune_spread", tuned)
    x = np.linspace(0, 1, 30)
    data = sd.observe(x, x + 0.1 * np.random.default_rng(1).standard_normal(30))
    with pytest.warns(sd.TuningWarning) as told:
        average = sd.tune(sd.ModelAverage(MODELS[:1]), data)
    assert average.models[0].tuning.ends
    assert [str(one.message) for one in told] == ["the search did not converge"]


@pytest.mark.filterwarnings("ignore::smoothderiv.TuningWarning")
def test_ends_that_members_took_are_in_the_summary():
    """A parabola without noise: what has no noise says so, member by member."""
    x = np.linspace(0, 1, 20)
    post = sd.smooth(sd.observe(x, x**2), sd.ModelAverage(MODELS[:2]))
    ends = [line for line in post.summary().splitlines() if "at an end" in line]
    assert ends
    assert all(line.endswith("(SmoothingSpline(order=3))") for line in ends)
