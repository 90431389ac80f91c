"""Diagnosis and summary: what residuals say of the noise, when they are right and when not."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose

import smoothderiv as sd
from conftest import mixed_data, wave
from smoothderiv.tuning import best_candidate

RNG = np.random.default_rng(8)
X = np.sort(RNG.uniform(0, 1, 120))
Y = wave(X) + 0.1 * RNG.standard_normal(120)
MODEL = sd.RegressionSpline(18, 5)


def test_standardised_residuals_are_the_leave_one_out_ones():
    post = MODEL.condition(mixed_data())
    found, left = post.diagnose(), post.loo()
    sd_ = post.data.sd(post.noise)
    assert_allclose(found.standardised, post.residuals() / sd_ / np.sqrt(1 - post.leverage()))
    assert_allclose(found.standardised, left.residual / left.std)
    assert [check.order for check in found.orders] == [0, 1, 2]
    assert_allclose(sum(check.dof for check in found.orders), len(post.data) - post.edf)


@pytest.mark.parametrize("model", [sd.SmoothingSpline(3, q=1e6), MODEL])
def test_the_test_statistic_is_the_score_of_the_noise_scale(model):
    """d log evidence / d log scale of one order = chi - dof, by central differences."""
    data = mixed_data()
    checks = model.condition(data).diagnose().orders

    def evidence(order, factor):
        yerr = np.where(data.nu == order, factor, 1.0) * data.yerr
        scaled = sd.Observations(data.x, data.y, yerr, data.nu, data.relative)
        return model.condition(scaled).log_evidence

    for check in checks:
        h = 1e-4
        slope = (evidence(check.order, np.exp(h)) - evidence(check.order, np.exp(-h))) / (2 * h)
        assert_allclose(check.dof * (check.ratio**2 - 1), slope, rtol=1e-4, atol=1e-5)


def test_p_values_of_right_noise_are_no_smaller_than_chance():
    p, warned = [], 0
    for seed in range(150):
        found = MODEL.condition(mixed_data(seed)).diagnose()
        p += [check.p_value for check in found.orders]
        warned += len(found.warnings)
    p = np.array(p)
    assert np.mean(p < 0.05) < 0.075
    assert np.mean(p < 0.5) > 0.3, "the test still looks at the data"
    assert warned == 0


@pytest.mark.parametrize(
    ("yerr", "word"), [(0.05, "too small"), (0.2, "too large"), (0.1, None), (None, None)]
)
def test_wrong_noise_is_told_and_right_or_estimated_noise_is_not(yerr, word):
    post = sd.tune(MODEL, sd.observe(X, Y, yerr)).condition(sd.observe(X, Y, yerr))
    found = post.diagnose()
    assert [word] == [w for w in ("too small", "too large") if w in str(found.warnings)] or not word
    assert len(found.warnings) == (word is not None)
    if word:
        assert_allclose(found.orders[0].ratio, 0.1 / yerr, rtol=0.2)
        also = {"too small": "cannot follow the data", "too large": "follows the noise"}[word]
        with pytest.warns(sd.NoiseWarning, match=f"yerr is {word}, or the curve {also}"):
            found.warn()
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found.warn()


def test_one_order_of_wrong_noise_is_named():
    data = mixed_data(n=(80, 80, 0), sd_=(0.1, 0.5, 5.0))
    wrong = sd.Observations(
        data.x, data.y, np.where(data.nu == 1, 0.2, data.yerr), data.nu, data.relative
    )
    (words,) = MODEL.condition(wrong).diagnose().warnings
    assert words.startswith("order 1: residuals are 2.")


def _in_units(factor, seed=0, noise=0.05):
    rng = np.random.default_rng(seed)
    t, tv = np.sort(rng.uniform(0, 6, 60)), np.sort(rng.uniform(0, 6, 40))
    position = np.sin(2 * t) + t + noise * rng.standard_normal(60)
    speed = 2 * np.cos(2 * tv) + 1 + noise * rng.standard_normal(40)
    return sd.observe(t, position) + sd.observe(tv, factor * speed, nu=1)


@pytest.mark.parametrize("factor", [3.6, -1.0, 1e-3])
@pytest.mark.parametrize("model", [sd.SmoothingSpline(3), None])
def test_slopes_in_another_unit_are_told(factor, model):
    """Such as km/h beside metres and seconds; the sign, too."""
    data = _in_units(factor)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        post = sd.smooth(data, model)
    found = post.diagnose()
    (words,) = (w for w in found.warnings if w.startswith("order 1"))
    assert "times the slope of the curve; are their units (and sign) those of y per x?" in words
    assert_allclose(found.orders[1].factor, factor, rtol=0.1)
    assert (words in [str(one.message) for one in told]) == (model is None)


@pytest.mark.parametrize("model", [sd.SmoothingSpline(3), sd.SmoothingSpline(3, q=1e7)])
def test_slopes_in_the_right_unit_have_no_factor(model):
    """Nor where the curve follows their noise, and residuals are nearly proportional to it."""
    for seed in range(5):
        for noise in (0.05, 0.5):
            data = _in_units(1.0, seed, noise)
            found = sd.tune(model, data).condition(data).diagnose()
            assert np.isnan([check.factor for check in found.orders]).all()


@pytest.mark.parametrize("size", [1.0, 3.0, 6.0])
def test_values_that_say_little_tell_no_unit_of_precise_slopes(size):
    """As positions by satellite beside a wheel's speed."""
    x = np.linspace(0, 10, 40)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        values, slopes = rng.normal(0, size, 40), rng.normal(0, 0.05, 40)
        for known in (True, False):
            data = sd.observe(x, np.sin(x) + values, size if known else None)
            data += sd.observe(x, np.cos(x) + slopes, 0.05 if known else None, nu=1)
            found = sd.tune(sd.SmoothingSpline(3), data).condition(data).diagnose()
            assert np.isnan([check.factor for check in found.orders]).all()


@pytest.mark.parametrize("yerr", [0.1, None])
def test_an_outlier_is_told(yerr):
    y = Y.copy()
    y[37] += 1.0
    data = sd.observe(X, y, yerr)
    found = sd.tune(MODEL, data).condition(data).diagnose()
    assert any("row 37 at x =" in words for words in found.warnings)
    assert found.orders[0].largest_row == 37


def test_noise_that_hangs_together_is_told():
    y = np.cumsum(RNG.standard_normal(400)) * 0.1
    data = sd.observe(np.arange(400.0), y)
    found = sd.tune(sd.RegressionSpline(4), data).condition(data).diagnose()
    assert "autocorrelated" in str(found.warnings)
    assert found.orders[0].neighbours > 0.5


@pytest.mark.parametrize("even", [True, False])
def test_a_wave_seen_by_few_rows_is_told_and_found_with_the_remedy(even):
    """3.4 rows a period look like noise to all that believe in smooth curves."""
    rng = np.random.default_rng(1)
    x = np.linspace(0, 1, 50) if even else np.sort(rng.uniform(0, 1, 50))
    rate = 30 * np.pi
    y = np.sin(rate * x) + np.cos(5 * x) + 0.05 * rng.standard_normal(50)
    data = sd.observe(x, y)
    found = sd.tune(sd.RegressionSpline(2), data).condition(data).diagnose()
    (check,) = found.orders
    assert check.period == pytest.approx(1 / 15, rel=0.03)
    assert check.period_p < 1e-6
    (words,) = (w for w in found.warnings if "period of" in w)
    model = eval(words.rpartition(": ")[2], {"sd": sd})
    post = sd.smooth(data, model)
    truth = rate * np.cos(rate * x) - 5 * np.sin(5 * x)
    assert np.sqrt(np.mean((post(x, 1) - truth) ** 2)) < 0.1 * rate
    assert np.mean(np.abs(post(x, 1) - truth) < 2 * post.std(x, 1)) > 0.8


@pytest.mark.parametrize("even", [True, False])
def test_noise_has_a_period_as_often_as_is_said(even):
    """p is uniform at even places; at others it errs to the silent side but for its far tail."""
    p = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x = np.arange(60.0) if even else np.sort(rng.uniform(0, 60, 60))
        data = sd.observe(x, np.sin(x / 9) + 0.3 * rng.standard_normal(60))
        p.append(
            sd.RegressionSpline(4, noise={0: 0.3}).condition(data).diagnose().orders[0].period_p
        )
    for level in (0.3, 0.1, 0.03):
        share = np.mean(np.array(p) < level)
        assert share < level + 3 * np.sqrt(level / 200)
        assert share > level - 3 * np.sqrt(level / 200) or not even


def test_residuals_show_themselves_in_a_few_lines():
    y = Y.copy()
    y[37] += 1.0
    data = sd.observe(X, y, 0.1) + sd.observe(0.5, Y[len(Y) // 2], 0.0)
    post = sd.tune(MODEL, data).condition(data)
    found, left = post.diagnose(), post.loo()
    check = found.orders[0]
    lines = repr(found).splitlines()
    assert lines[0] == f"Diagnosis: {len(data)} rows, 2 warnings"
    assert lines[1].startswith(f"  order 0: {check.rows} rows, noise 0.1 stated, residuals ")
    assert f"{check.ratio:.3g} times that (p = " in lines[1]
    assert lines[1].endswith(f"largest {check.largest:.3g} sd (row 37)")
    assert lines[2:] == [f"  {words}" for words in found.warnings]
    lines = repr(left).splitlines()
    assert (
        lines[0] == f"LeaveOneOut: {len(data)} rows, log density {left.log_density.sum():.6g} nats"
    )
    assert lines[1].startswith("  residual / std: root mean square 1.")
    assert "(row 37)" in lines[1]
    assert lines[2:] == ["  1 of them exact"]
    alone = sd.RegressionSpline(0, 1).condition(sd.observe([0, 1.0], [0, 1.0], 0.1)).loo()
    assert repr(alone).splitlines()[1:] == ["  2 of them without which the curve is undetermined"]


def test_the_summary_says_what_was_done():
    data = mixed_data(known=False).of(0) + mixed_data().of(1) + sd.observe(0.5, 0.0, 0.0)
    post = sd.smooth(data)
    text, page = post.summary(), post._repr_html_()
    for word in (" % GaussianProcess(", "71 rows", "1 exact", "estimated", "stated", "density"):
        assert word in text
        assert word in page
    assert f"{post.edf:.2f}" in text
    assert f"{post.noise[0]:.4g}" in text
    assert "Members" in text
    assert f"({post.loo().log_density.sum() / 70:.3f} a row)" in text, "the exact one is no row"
    assert max(map(len, text.splitlines())) < 140
    assert page.count("<table>") == page.count("</table>")
    assert "Derivative" not in post.derivative(1).summary()


def test_the_summary_says_which_models_the_evidence_compares():
    """What a model leaves free changes it, by a number that depends on the units."""
    x = np.linspace(0, 1, 20)
    data = sd.observe(x, np.sin(6 * x), 0.1)
    order, wiener = sd.SmoothingSpline(2, q=1e3), sd.kernels.Wiener(2, 1.0)
    for model, words in (
        (order, "of the same order and mean"),
        (sd.GaussianProcess(wiener), "of the same order and mean"),
        (sd.RegressionSpline(5, 3), "of the same basis"),
    ):
        post = model.condition(data)
        assert f"{post.log_evidence:.2f} nats" in post.summary()
        assert f"(to compare models of these rows {words})" in post.summary()
    average = sd.ModelAverage((order,), weights=(1.0,)).condition(data)
    assert "evidence" not in average.summary()
    rest = sd.observe(x, 1e3 * data.y, 100.0)
    evidence = [
        sd.SmoothingSpline(m, q=q * c**2).condition(d).log_evidence
        for d, c in ((data, 1.0), (rest, 1e3))
        for m, q in ((2, 1e3), (2, 1e2), (3, 1e4))
    ]
    gains = np.diff(np.reshape(evidence, (2, 3)), axis=1)
    assert_allclose(gains[0, 0], gains[1, 0], atol=1e-6)
    assert_allclose(gains[1, 1] - gains[0, 1], np.log(1e3), atol=1e-6)


def test_the_summary_tells_candidates_by_what_they_lack_to_the_best():
    data = mixed_data(known=False)
    knots = sd.tune(sd.RegressionSpline(degree=5), data)
    average = sd.tune(sd.ModelAverage((sd.SmoothingSpline(3), sd.SmoothingSpline(4))), data)
    for model, title, best in ((knots, "Tried", "best"), (average, "Members", "best on rows left")):
        lines = model.condition(data).summary().splitlines()
        first = next(i for i, line in enumerate(lines) if line.startswith(title))
        (_, top), (name, second) = sorted(model.tuning.tried, key=lambda pair: pair[1])[-1:-3:-1]
        assert best in lines[first]
        assert f"{top - second:.2f} nats worse" in lines[first + 1]
        assert name.partition("(")[0] in lines[first + 1]
        assert f"{top:.2f} nats" not in lines[first], "an absolute number beside differences"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (sd.SmoothingSpline(), "SmoothingSpline(order=2)"),
        (sd.SmoothingSpline(3, q=1.5), "SmoothingSpline(order=3)"),
        (sd.RegressionSpline(12), "RegressionSpline(knots=12)"),
        (
            sd.RegressionSpline(12, 5, lam=None, order=3),
            "RegressionSpline(knots=12, degree=5, order=3)",
        ),
        (sd.RegressionSpline(np.array([0.1, 0.2])), "RegressionSpline(degree=3)"),
        (sd.GaussianProcess(sd.kernels.Matern52(1.0)), "GaussianProcess(Matern52)"),
        (sd.GaussianProcess(sd.kernels.Wiener(2)), "GaussianProcess(Wiener(order=2))"),
        (
            sd.GaussianProcess(
                sd.kernels.Matern72()
                + sd.kernels.Periodic() * sd.kernels.SquaredExponential()
                + sd.kernels.Nuisance(sd.kernels.Matern12())
            ),
            "GaussianProcess(Matern72 + Periodic * SquaredExponential + Nuisance(Matern12))",
        ),
    ],
)
def test_models_have_one_name_wherever_they_are_named(model, name):
    average = sd.ModelAverage((model,), weights=(1.0,))
    assert average.shares() == (f"100 % {name}",)
    _, tried, _ = best_candidate([[model]], lambda _: (None, 0.0))
    assert tried == ((name, 0.0),)


def test_summaries_of_few_rows_and_of_several_dimensions():
    few = sd.RegressionSpline(0, 1).condition(sd.observe([0, 1.0], [0, 1.0], 0.1))
    assert "nan" in few.summary()
    pinned = sd.RegressionSpline(0, 1).condition(sd.observe([0, 1.0], [0, 1.0], 0.0))
    assert "all rows are exact" in pinned.summary()
    X2 = RNG.uniform(size=(20, 2))
    post = sd.GaussianProcess(sd.kernels.Matern52(1.0, 1.0)).condition(
        sd.observe(X2, X2 @ [1, 2], 0.1)
    )
    assert "2 dimensions" in post.summary()
    model = sd.GaussianProcess(sd.kernels.Matern52(1.0, 1.0), solver="iterative")
    large = model.condition(sd.observe(X2, X2 @ [1, 2], 0.1))
    assert "needs a solve for each row" in large.summary()
