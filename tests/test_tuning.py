"""The tuner by itself, on criteria that need no engine, and its reports."""

import dataclasses
import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

import smoothderiv as sd
from conftest import mixed_data
from smoothderiv.minimiser import Optimum, Search
from smoothderiv.model import SearchedModel, SelfTunedModel, UndeterminedError
from smoothderiv.tuning import Tuning, _left_to_gain, _nodes, tune_spread


@dataclasses.dataclass(frozen=True, eq=False)
class Toy(SearchedModel):
    """A model whose criterion is a given function of one or two log parameters."""

    loss: object
    dimension: int = 1
    point: tuple[float, ...] | None = None
    ends: tuple[str, str] = ("nothing", "everything")
    noise: None = None
    tuning: object = None
    choices: tuple[float, ...] = (0.0,)
    offset: float = 0.0

    def unknown(self, data):
        return () if self.point is not None else ("a",)

    def candidates(self, data, criterion):
        yield [dataclasses.replace(self, offset=v) for v in self.choices]

    def search(self, data, criterion):
        if not np.isfinite(self.offset):
            raise UndeterminedError("this candidate is free")
        size = self.dimension
        starts = np.linspace(-4, 4, 9)[:, None] * np.ones(size)
        return Search(
            tuple("ab"[:size]),
            starts,
            np.full(size, -5.0),
            np.full(size, 5.0),
            (self.ends,) * size,
            self.loss,
            lambda point: dataclasses.replace(self, point=tuple(point)),
        )

    def merit(self, data, criterion):
        return -self.tuning.loss + self.offset

    def condition(self, data):
        raise NotImplementedError


def wavy(point):
    """Many local minima, the lowest near 1.9."""
    t = point[0]
    loss = 0.3 * (t - 2) ** 2 + 3 * np.cos(3 * t)
    return loss, np.array([0.6 * (t - 2) - 9 * np.sin(3 * t)])


def valley(point):
    """Rosenbrock's valley, its minimum at (1, 1)."""
    a, b = point
    loss = (1 - a) ** 2 + 20 * (b - a * a) ** 2
    return loss, np.array([-2 * (1 - a) - 80 * a * (b - a * a), 40 * (b - a * a)])


DATA = mixed_data()


def test_finds_the_lowest_of_many_minima_to_all_digits():
    tuned = sd.tune(Toy(wavy), DATA)
    grid = np.linspace(-5, 5, 100_001)
    best = grid[np.argmin([wavy([t])[0] for t in grid])]
    assert abs(tuned.point[0] - best) < 1e-3
    assert np.abs(tuned.tuning.gradient).max() < 1e-11
    points, losses = tuned.tuning.curve
    assert len(points) == len(losses) >= 9
    assert_allclose(tuned.tuning.loss, losses.min(), atol=1e-12)


def test_follows_a_curved_valley():
    assert_allclose(sd.tune(Toy(valley, 2), DATA).point, [1, 1], rtol=1e-9)


@pytest.mark.parametrize("sign", [-1, 1])
def test_an_optimum_at_an_end_is_taken_and_reported(sign):
    def flat(point):
        return np.exp(-sign * 6 * point[0]), np.array([-6 * sign * np.exp(-6 * sign * point[0])])

    word = "everything" if sign > 0 else "nothing"
    with pytest.warns(sd.TuningWarning, match=f"a: {word}"):
        tuned = sd.tune(Toy(flat), DATA)
    assert tuned.point == (sign * np.inf,)
    assert tuned.tuning.ends == (f"a: {word}",)


def test_an_end_that_is_worse_is_not_taken():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tuned = sd.tune(Toy(lambda p: ((p[0] - 4.9) ** 2, np.array([2 * (p[0] - 4.9)]))), DATA)
    assert_allclose(tuned.point, 4.9)


def test_a_slope_at_the_edge_of_a_range_without_a_meaning_is_reported():
    slope = Toy(lambda p: (-10 * p[0], np.array([-10.0])), ends=("", ""))
    with pytest.warns(sd.TuningWarning, match="did not converge"):
        sd.tune(slope, DATA)


@dataclasses.dataclass(frozen=True)
class Stuck(SelfTunedModel):
    """A model of many densities whose search ended on a slope."""

    slope: float
    q: tuple[float, ...] | None = None
    noise: None = None
    tuning: object = None

    def unknown(self, data):
        return () if self.q else ("q",)

    def tuned(self, data, criterion):
        names = (*(f"q[{k}]" for k in range(65)), "noise[0]", "noise[1]")
        gradient = np.zeros(len(names))
        gradient[12] = -self.slope
        none = np.zeros((0, len(names))), np.zeros(0)
        report = Tuning(criterion, names, np.zeros(len(names)), 0.0, gradient, (), none)
        return dataclasses.replace(self, q=(1.0,) * 65, tuning=report)

    def condition(self, data):
        raise NotImplementedError


def test_a_search_that_ended_on_a_slope_is_told_in_one_readable_line():
    with pytest.warns(sd.TuningWarning) as told:
        sd.tune(Stuck(0.083), DATA)
    (words,) = (str(one.message) for one in told)
    assert "(Stuck: slope 0.083 nats for an e-fold of q[12])" in words
    assert "hold one of q[0..64], noise[0], noise[1], or compare another model" in words
    assert len(words) < 250


def test_a_slope_counts_for_less_where_parameters_are_integrated_over():
    """Below 0.1 nats nothing within a factor e is better by more than a tenth."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tune_spread(Stuck(0.083), DATA)
    with pytest.warns(sd.TuningWarning, match="did not converge"):
        tune_spread(Stuck(0.2), DATA)


@pytest.mark.parametrize("n", [4, 5, 20])
@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_rows_that_the_curve_meets_to_rounding_leave_no_noise(n, scale):
    """The gradient is that of rounding then, of any size: it is not the search that failed."""
    x = np.linspace(0, 1, n)
    data = sd.observe(x, scale * x)
    for model in (sd.SmoothingSpline(2), sd.RegressionSpline(2, degree=5, lam=None, order=3)):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            tuned = sd.tune(model, data)
        assert "noise[0]: no noise" in tuned.tuning.ends
        assert ["best at an end" in str(one.message) for one in told] == [True]
    with pytest.warns(sd.TuningWarning, match="meet rows of unknown noise to rounding"):
        est = sd.differentiate(x, scale * x)
    assert_allclose(est.mean, scale, rtol=1e-9)


def test_discrete_candidates_are_compared_and_impossible_ones_skipped():
    tuned = sd.tune(Toy(wavy, choices=(np.nan, 0.0, 3.0, 3.01)), DATA)
    assert tuned.offset == 3.0, "a finer candidate must be better by more than 0.05 nats"
    assert [round(merit - tuned.tuning.tried[0][1], 6) for _, merit in tuned.tuning.tried] == [
        0.0,
        3.0,
        3.01,
    ]
    with pytest.raises(UndeterminedError, match="this candidate is free"):
        sd.tune(Toy(wavy, choices=(np.nan,)), DATA)


def test_nothing_unknown_is_nothing_done_and_criteria_are_checked():
    model = Toy(wavy, point=(0.0,))
    assert sd.tune(model, DATA) is model
    with pytest.raises(ValueError, match="criterion: 'aic' is unknown; use one of evidence"):
        sd.tune(Toy(wavy), DATA, "aic")


def test_infinite_everywhere_is_undetermined():
    with pytest.raises(UndeterminedError, match="finite at no starting point"):
        sd.tune(Toy(lambda p: (np.inf, np.zeros(1))), DATA)


@pytest.mark.parametrize("criterion", ["gcv", "loo"])
def test_residuals_are_needed_where_they_are_weighed(criterion):
    x = np.linspace(0, 1, 9)
    with pytest.raises(ValueError, match=f"'{criterion}' weighs residuals, but every row is exact"):
        sd.tune(sd.SmoothingSpline(2), sd.observe(x, np.sin(5 * x), 0.0), criterion)


@pytest.mark.parametrize("criterion", ["evidence", "gcv", "loo"])
@pytest.mark.parametrize(
    "model",
    [sd.RegressionSpline(5), sd.RegressionSpline(5, lam=None, order=3), sd.SmoothingSpline(2)],
    ids=["knots", "penalised", "smoothing"],
)
def test_nothing_but_zeros_is_fitted_by_nothing(model, criterion):
    data = sd.observe(np.linspace(0, 1, 20), np.zeros(20))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sd.TuningWarning)  # an end of a range is best
        post = sd.tune(model, data, criterion).condition(data)
    assert_allclose(post(data.x), 0.0, atol=1e-300)
    assert (post.std(data.x) < 1e-9).all()


@pytest.mark.parametrize("rows", [4, 6, 9])
def test_leaving_out_a_row_that_alone_tells_something_is_no_candidate(rows):
    """Knots as many as the rows of one order bear leave a row that is not predicted."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, rows)
    slope = sd.observe(rng.uniform(0, 1, 1), rng.standard_normal(1), 1.0, nu=1)
    data = sd.observe(x, np.sin(7 * x)) + slope
    model = sd.tune(sd.RegressionSpline(), data, "loo")
    assert np.isfinite(model.condition(data).loo().std).all()


@pytest.mark.parametrize(
    "model",
    [sd.SmoothingSpline(2), sd.RegressionSpline(8, lam=None, order=2)],
    ids=["smoothing", "penalised"],
)
def test_gcv_knows_one_scale(model):
    """Two levels have no best ratio; one in a million's unit, and rows of known noise, have."""
    x, rng = np.linspace(0, 1, 40), np.random.default_rng(0)
    values = 1e6 + np.sin(6 * x) + 0.05 * rng.standard_normal(40)
    slopes = 6 * np.cos(6 * x) + 0.5 * rng.standard_normal(40)
    for yerr, names in ((None, r"noise\[0\] and noise\[1\]"), (0.05, "rows of known noise")):
        data = sd.observe(x, values, yerr) + sd.observe(x, slopes, nu=1)
        with pytest.raises(ValueError, match=f"one common scale of the noise, but.*{names}"):
            sd.tune(model, data, "gcv")

    def tuned(c, known):
        data = sd.observe(x, c * values, 0.05 * c if known else None)
        if known:
            data = data + sd.observe(x, c * slopes, 0.5 * c, nu=1)
        return sd.tune(model, data, "gcv").condition(data)(x, nu=1)

    for known in (True, False):
        for unit in (1e-9, 1e9):
            assert_allclose(tuned(unit, known) / unit, tuned(1.0, known), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("model", [sd.SmoothingSpline, sd.AdaptiveSpline])
def test_noise_is_a_mapping(model):
    with pytest.raises(ValueError, match=r"noise: 0\.1 is not a mapping"):
        model(2, noise=0.1)


@pytest.mark.parametrize(("slope", "ended"), [(0.0, True), (-0.1, False)])
def test_a_search_has_ended_where_slopes_promise_what_the_criterion_does_not_hold(slope, ended):
    """A Newton step by gradient and curvature promises 0.05 nats; it gains what the loss does."""
    gradient, curvature = np.array([-0.1]), np.array([[0.1]])
    search = Toy(lambda point: (slope * point[0], gradient)).search(None, "evidence")
    search = dataclasses.replace(search, curvature=curvature)
    end = Optimum(np.zeros(1), 1e-9, gradient, (np.zeros((1, 1)), np.zeros(1)))
    assert bool(_left_to_gain(search, end)) == ended


def test_what_is_held_is_held_by_every_criterion():
    """GCV of a held penalty moves the level alone; without a penalty it says no level at all."""
    x = np.linspace(0, 1, 40)
    data = sd.observe(x, np.sin(6 * x) + 0.1 * np.random.default_rng(0).standard_normal(40))
    for lam in (0.0, 1e-3, 1.0):
        for criterion in ("evidence", "gcv", "loo"):
            model = sd.tune(sd.RegressionSpline(10, lam=lam, order=2), data, criterion)
            assert model.lam == lam
            assert model.tuning.ends == ()
    spline = sd.RegressionSpline(10, 5, 1e-3, 2)

    def gcv(level):
        post = dataclasses.replace(spline, noise={0: level}).condition(data)
        return np.log((post.residuals() ** 2).sum() / (40 - post.edf) ** 2)

    best = sd.tune(spline, data, "gcv").noise[0]
    assert gcv(best) < min(gcv(best * factor) for factor in (0.03, 0.3, 0.97, 1.03, 3.0, 30.0))


@pytest.mark.parametrize("yerr", [0.1, None])
def test_gcv_counts_knots_by_itself(yerr):
    x = np.linspace(0, 1, 60)
    data = sd.observe(x, np.sin(15 * x) + 0.1 * np.random.default_rng(1).standard_normal(60), yerr)

    def gcv(knots):
        model = sd.tune(sd.RegressionSpline(knots, lam=0.0), data)
        post = model.condition(data)
        return np.log((post.residuals() ** 2).sum() / (60 - post.edf) ** 2)

    best = sd.tune(sd.RegressionSpline(lam=0.0), data, "gcv").knots
    tried = sd.tune(sd.RegressionSpline(lam=0.0), data, "gcv").tuning.tried if yerr is None else ()
    counts = [int(name.split("knots=")[1][:-1]) for name, _ in tried] or range(9)
    assert gcv(best) <= min(gcv(count) for count in counts) + 1e-9


def test_nothing_that_predicts_is_no_answer():
    data = sd.observe([0.0, 0.3, 0.6, 1.0], [0.0, 1.0, 0.0, 1.0], 0.1)
    with pytest.raises(UndeterminedError, match=r"knots: 4 rows tell nothing of it"):
        sd.tune(sd.RegressionSpline(degree=3, lam=0.0), data)


@pytest.mark.parametrize(
    "make",
    [
        lambda noise: sd.RegressionSpline([0.3, 0.6], 3, 1.0, noise=noise),
        lambda noise: sd.SmoothingSpline(2, q=1.0, noise=noise),
        lambda noise: sd.AdaptiveSpline(2, knots=(0, 1), q=(1, 2), noise=noise),
        lambda noise: sd.GaussianProcess(sd.kernels.Matern52(1.0, 1.0), noise=noise),
    ],
    ids=["regression", "smoothing", "adaptive", "process"],
)
def test_a_frozen_model_keeps_nothing_of_others(make):
    noise = {0: 0.1}
    model = make(noise)
    before, said = pickle.loads(pickle.dumps(model)), repr(model)
    noise[0] = 5.0
    assert model.noise == {0: 0.1} == before.noise
    assert repr(model) == said == repr(before)
    with pytest.raises(TypeError):
        model.noise[0] = 5.0


def test_knots_are_kept_as_they_were():
    knots = np.array([0.3, 0.6])
    model = sd.RegressionSpline(knots)
    knots[0] = 0.5
    assert model.knots == (0.3, 0.6)


ENGINES = {
    "smoothing": sd.SmoothingSpline(3),
    "regression": sd.RegressionSpline(12, lam=None, order=3),
    "dense": sd.GaussianProcess(sd.kernels.Matern52(), solver="dense"),
    "markov": sd.GaussianProcess(sd.kernels.Matern52(), solver="markov"),
    "band": sd.GaussianProcess(sd.kernels.SquaredExponential(), solver="band"),
}
SHARED = {  # rows, and how many of the levels that share them are unknown
    "alone": (lambda: mixed_data(n=(30, 0, 0), known=False), 0),
    "known": (lambda: mixed_data(n=(30, 6, 0)), 0),
    "both": (lambda: mixed_data(n=(30, 6, 0), known=False), 2),
    "one": (lambda: mixed_data(n=(30, 0, 0)) + mixed_data(n=(0, 6, 0), known=False), 1),
    "few": (lambda: mixed_data(n=(3, 2, 0), known=False), 0),
}


CASES = [("smoothing", "evidence", "few")] + [
    (engine, criterion, rows)
    for engine in ENGINES
    for criterion in ("evidence", "loo")
    for rows in ("alone", "known", "both", "one")
]


@pytest.mark.parametrize(("engine", "criterion", "rows"), CASES)
def test_levels_that_share_the_rows_have_a_prior_in_proportion_to_them(engine, criterion, rows):
    make, sharing = SHARED[rows]
    data, model = make(), ENGINES[engine]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sd.TuningWarning)
        tuned = sd.tune(model, data, criterion)
    post = tuned.condition(data)
    merit = post.log_evidence if criterion == "evidence" else post.loo().log_density.sum()
    levels = [tuned.noise[order] for order in data.estimated_orders]
    prior = np.log(levels).sum() if sharing else 0.0
    assert len(levels) == sharing or not sharing
    assert_allclose(-tuned.tuning.loss, merit + prior, rtol=1e-9)


@pytest.mark.parametrize("slopes", [2, 4])
@pytest.mark.parametrize("model", [None, sd.SmoothingSpline(3)], ids=["average", "smoothing"])
def test_few_rows_are_not_met_for_want_of_others(model, slopes):
    """Slopes whose noise nobody states, beside values: limits at their places hold."""
    held, levels = [], []
    for seed in range(12 if model is None else 24):
        rng = np.random.default_rng(seed)
        t, u, shift = rng.uniform(0, 1, 40), rng.uniform(0, 1, slopes), rng.uniform(0, 6)
        values = np.sin(6 * t + shift) + 0.1 * rng.standard_normal(40)
        exact = 6 * np.cos(6 * u + shift)
        seen = exact + 0.5 * rng.standard_normal(slopes)
        post = sd.smooth(sd.observe(t, values) + sd.observe(u, seen, nu=1), model)
        lower, upper = post.interval(u, 1)
        held += ((lower <= exact) & (exact <= upper)).tolist()
        levels.append(post.noise[1])
    assert min(levels) > 0.05, "of 0.5"
    assert np.mean(held) > 0.85


@pytest.mark.parametrize("skew", [-1.0, 1.0])
@pytest.mark.parametrize("steep", [4.0, 8.0, 30.0])
def test_the_spread_over_a_skewed_loss_is_that_of_its_integral(skew, steep):
    """Nodes count by the loss at them, not by its curvature, which would have no mean."""

    def loss(point):
        at = skew * point[0]
        value = steep * (np.exp(at) - at - 1.0)
        return value, np.array([skew * steep * (np.exp(at) - 1.0)])

    none = np.zeros(0)
    search = Search(
        ("q",), np.zeros((1, 1)), np.array([-9.0]), np.array([9.0]), (("", ""),), loss, lambda p: p
    )
    optimum = Optimum(np.zeros(1), *loss(np.zeros(1)), (none, none))
    points, weights = _nodes(search, optimum)
    node = np.array([0.0, *(point[0] for point in points)])
    fine = np.linspace(-6, 6, 4001)
    density = np.exp([-loss([at])[0] for at in fine])
    mean = (fine @ density) / density.sum()
    assert_allclose(weights.sum(), 1.0)
    assert_allclose(weights @ node, mean, rtol=0.1)
    spread = (fine - mean) ** 2 @ density / density.sum()
    assert_allclose(weights @ (node - weights @ node) ** 2, spread, rtol=0.2)
