"""Robust weights: outliers lose theirs, clean rows keep them, and bands remain right."""

import dataclasses
import warnings

import numpy as np
import pytest
from contracts import check_units, places
from numpy.testing import assert_allclose
from scipy import optimize, stats

import smoothderiv as sd
from smoothderiv.answers.skewness import skew_gain
from smoothderiv.noise.robust import robust_weights, tail_weights
from smoothderiv.noise.tails import Contaminated, law_of

MODEL = sd.SmoothingSpline(3)


def curve(x, nu=0):
    return 3.0**nu * np.sin(3 * x + nu * np.pi / 2)


def noisy(seed, kind="normal", n=200, share=0.02):
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 4, n)
    noise = {
        "normal": rng.standard_normal,
        "laplace": lambda n: rng.laplace(size=n) / np.sqrt(2),
        "uniform": lambda n: rng.uniform(-1, 1, n) * np.sqrt(3),
    }.get(kind, rng.standard_normal)(n)
    bad = np.zeros(n, dtype=bool)
    if kind == "outliers":
        bad[rng.choice(n, max(1, int(share * n)), replace=False)] = True
        noise[bad] += rng.choice([-1, 1], bad.sum()) * rng.uniform(8, 20, bad.sum())
    return sd.observe(x, curve(x) + 0.1 * noise), bad


@pytest.mark.parametrize("dof", [2.0, 4.0])
def test_tails_are_those_of_scipy(dof):
    z = stats.t(dof, scale=0.7).rvs(3000, random_state=1)
    law, gain = law_of(z)
    student = stats.t(law.dof, scale=law.scale).logpdf(z)
    normal = stats.norm(scale=np.sqrt(np.mean(z**2))).logpdf(z)
    assert_allclose(law.log_density(z), student, rtol=1e-10)
    assert_allclose(gain, student.sum() - normal.sum(), rtol=1e-8)
    for other in (0.9, 1.1):
        assert stats.t(law.dof, scale=law.scale * other).logpdf(z).sum() < student.sum()
    assert 0.6 * dof <= law.dof <= 1.6 * dof
    given, gain = law_of(z, scale=0.7)
    student = stats.t(given.dof, scale=0.7).logpdf(z).sum()
    assert_allclose(gain, student - stats.norm(scale=0.7).logpdf(z).sum(), rtol=1e-8)


@pytest.mark.parametrize("scale", [None, 0.5])
def test_a_few_outliers_are_a_contaminated_normal(scale):
    rng = np.random.default_rng(0)
    z = 0.5 * rng.standard_normal(1000)
    z[:30] *= 20.0
    law, gain = law_of(z, scale)
    assert isinstance(law, Contaminated)
    assert_allclose([law.share, law.scale], [0.03, 0.5], rtol=0.25)
    assert 9.0 <= law.factor <= 27.0
    one, other = (stats.norm(scale=law.scale * k).logpdf(z) for k in (1.0, law.factor))
    mixed = np.log((1 - law.share) * np.exp(one) + law.share * np.exp(other))
    assert_allclose(law.log_density(z), mixed, rtol=1e-10)
    outlying = np.exp(np.log(law.share) + other - mixed)
    assert_allclose(law.weight(z), 1 - outlying + outlying / law.factor**2, rtol=1e-8)
    normal = stats.norm(scale=scale or np.sqrt(np.mean(z**2))).logpdf(z).sum()
    assert 100 < gain < mixed.sum() - normal
    for share in (0.5, 2.0):  # the most likely share
        worse = dataclasses.replace(law, share=share * law.share)
        assert worse.log_density(z).sum() < law.log_density(z).sum()


def test_normal_residuals_have_no_tails():
    for seed in range(20):
        z = np.random.default_rng(seed).standard_normal(100)
        assert law_of(z)[1] < 3.0


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_the_skewed_law_is_the_two_piece_normal_of_highest_likelihood(sign):
    z = sign * (np.random.default_rng(0).gamma(16.0, size=2000) - 16.0) / 4.0

    def log_density(mode, low, high):
        width = np.where(z < mode, low, high)
        return (np.log(2 / (low + high)) + stats.norm.logpdf((z - mode) / width)).sum()

    found = optimize.minimize(
        lambda p: -log_density(p[0], *np.exp(p[1:])), np.zeros(3), method="Nelder-Mead"
    )
    normal = stats.norm.logpdf(z, scale=np.sqrt(np.mean(z**2))).sum()
    assert_allclose(skew_gain(z), -found.fun - normal, rtol=1e-3)
    assert skew_gain(5.0 * z) == pytest.approx(skew_gain(z))


def test_noise_of_gauss_looks_skewed_as_often_as_is_said():
    """A gain of g has probability exp(-g)."""
    gains = [skew_gain(np.random.default_rng(seed).standard_normal(100)) for seed in range(1000)]
    for level in (0.5, 0.1, 0.02):
        share = np.mean(np.exp(-np.array(gains)) < level)
        assert abs(share - level) < 4 * np.sqrt(level / 1000)


def test_the_long_tail_of_skewed_noise_is_no_outliers():
    """The curve is its mean, within its limits, and not near its mode; the skewness is told."""
    held, rng = [], np.random.default_rng(0)
    x = np.linspace(0, 4, 200)
    for _ in range(6):
        post = sd.smooth(sd.observe(x, curve(x) + 0.3 * (rng.exponential(size=200) - 1.0)))
        lower, upper = post.interval(x)
        held.append(np.mean((lower <= curve(x)) & (curve(x) <= upper)))
        assert any("skewed" in words for words in post.diagnose().warnings)
    assert np.mean(held) > 0.9


@pytest.mark.parametrize("size", [5.0, -9999.0, 1e6])
@pytest.mark.parametrize("yerr", [0.1, None])
@pytest.mark.parametrize("robust", ["auto", True])
def test_one_row_far_off_is_not_followed(size, yerr, robust):
    """Not even where its noise is stated, and the curve could turn there."""
    for seed in range(2):
        rng = np.random.default_rng(seed)
        x = np.sort(rng.uniform(0, 4, 60))
        y = curve(x) + 0.1 * rng.standard_normal(60)
        y[30] += size
        post = sd.smooth(sd.observe(x, y, yerr), robust=robust)
        assert post.data.weight[30] < 0.01
        assert np.abs(post(x[3:-3]) - curve(x[3:-3])).max() < 0.4


def test_a_row_far_off_a_surface_of_stated_noise_is_not_followed():
    rng = np.random.default_rng(0)
    X = rng.uniform(0, 1, (60, 2))
    y = np.sin(3 * X[:, 0]) + X[:, 1] + 0.1 * rng.standard_normal(60)
    y[30] += 20.0
    model = sd.GaussianProcess(sd.kernels.Matern52(), mean="constant")
    post = sd.smooth(sd.observe(X, y, 0.1), model, robust=True)
    assert post.data.weight[30] < 0.01
    assert np.abs(post(X) - np.sin(3 * X[:, 0]) - X[:, 1]).max() < 0.5


def test_a_feature_that_three_rows_of_stated_noise_see_is_followed():
    x = np.linspace(0, 4, 100)
    peak = 3.0 * np.exp(-0.5 * ((x - 2.0) / 0.05) ** 2)
    y = curve(x) + peak + 0.1 * np.random.default_rng(1).standard_normal(100)
    post = sd.smooth(sd.observe(x, y, 0.1))
    inside = np.abs(x - 2.0) < 0.1
    assert np.abs(post(x[inside]) - (curve(x) + peak)[inside]).max() < 0.5


def test_outliers_to_one_side_are_no_skewed_noise():
    rng = np.random.default_rng(0)
    x, noise = np.linspace(0, 4, 200), 0.1 * rng.standard_normal(200)
    bad = rng.choice(200, 6, replace=False)
    noise[bad] += 1.0
    post = sd.smooth(sd.observe(x, curve(x) + noise))
    assert post.data.weight[bad].max() < 0.1
    assert np.median(post.data.weight) > 0.8


def test_outliers_do_not_pass_for_a_stretch_of_strong_noise():
    rng = np.random.default_rng(4)
    x = np.linspace(0, 4, 300)
    noise = 0.1 * rng.standard_normal(300)
    bad = [80, 84, 90]
    noise[bad] += [3.0, -4.0, 3.5]
    weight = sd.smooth(sd.observe(x, curve(x) + noise)).data.weight
    assert weight[bad].max() < 0.01
    assert np.delete(weight, bad).min() > 0.5


def test_outliers_lose_their_weight_and_only_they():
    data, bad = noisy(0, "outliers")
    post = sd.smooth(data)
    assert post.data.weight[bad].max() < 0.1
    assert np.median(post.data.weight[~bad]) > 0.8
    assert set(np.flatnonzero(bad)) <= set(post.data.downweighted)
    assert f"{len(post.data.downweighted)} downweighted" in repr(post.data)
    assert f"{len(post.data.downweighted)} downweighted: row " in post.summary()


def test_outliers_among_kinks_are_not_followed():
    rng = np.random.default_rng(14)
    t = np.linspace(0, 4, 400)
    clean = 2 * np.abs((t / 3 + t**2 / 4.5) % 1 - 0.5)  # of slopes up to 4.2
    noise = 0.1 * clean.std() * rng.standard_normal(400)
    spoilt = rng.choice(400, 4, replace=False)
    noise[spoilt] = rng.choice([-1.0, 1.0], 4) * (1 + rng.uniform(-0.5, 0.5, 4))
    post = sd.smooth(sd.observe(t, clean + noise), nu=1)
    assert set(np.flatnonzero(post.data.weight < 0.1)) == set(spoilt)
    assert np.abs(post(t, nu=1)).max() < 8.0


def test_clean_data_keep_all_their_weight():
    for kind in ("normal", "uniform"):
        for seed in range(5):
            data, _ = noisy(seed, kind)
            assert tail_weights(sd.smooth(data, MODEL), MODEL)[1] == ()


@pytest.mark.parametrize("kind", ["outliers", "laplace"])
def test_slopes_are_better_and_their_intervals_still_hold(kind):
    plain, robust, inside = [], [], []
    for seed in range(10):
        data, _ = noisy(seed, kind)
        x = data.x[5:-5]
        plain.append(np.mean((sd.smooth(data, MODEL)(x, 1) - curve(x, 1)) ** 2))
        post = sd.smooth(data, MODEL, robust=True)
        robust.append(np.mean((post(x, 1) - curve(x, 1)) ** 2))
        lower, upper = post.interval(x, 1)
        inside.append(np.mean((lower <= curve(x, 1)) & (curve(x, 1) <= upper)))
    assert np.mean(robust) < 0.9 * np.mean(plain)
    assert np.mean(inside) > 0.92


def test_outlying_slopes_are_found_among_good_values():
    rng = np.random.default_rng(3)
    values, _ = noisy(3)
    x = np.linspace(0.1, 3.9, 60)
    slopes = curve(x, 1) + 0.2 * rng.standard_normal(60)
    slopes[[10, 30]] += 8.0
    post = sd.smooth(values + sd.observe(x, slopes, yerr=0.2, nu=1))
    weight = post.data.weight[post.data.nu == 1]
    assert weight[[10, 30]].max() < 0.05
    assert np.all(post.data.weight[post.data.nu == 0] == 1.0)


def test_weights_are_a_fixed_point():
    """The expectation of the weights given the posterior is the weights (EM has converged)."""
    data, _ = noisy(1, "outliers", n=80)
    weight = robust_weights(data, MODEL, (0,))
    lighter = data.reweighted(weight)
    post = sd.smooth(lighter, MODEL)
    level = post.noise[0]
    square = post.residuals() ** 2 + post.var(data.x)
    z = np.sqrt(square) / level
    assert_allclose(law_of(z)[0].weight(z), weight, rtol=2e-3)


@pytest.mark.parametrize("a", [1e-6, 1e6])
def test_units_change_nothing(a):
    data, _ = noisy(2, "outliers", n=60)
    check_units(lambda d: sd.smooth(d, MODEL, robust=True), data, a, c=3.0, rtol=1e-6)


def test_weights_act_as_sizes_of_the_noise():
    data, _ = noisy(0, n=50)
    weight = np.random.default_rng(0).uniform(0.1, 1.0, 50)
    relative = sd.observe(data.x, data.y, 1 / np.sqrt(weight), relative=True)
    for model in (MODEL, sd.RegressionSpline(8), sd.GaussianProcess(sd.kernels.Matern52())):
        post, other = sd.smooth(data.reweighted(weight), model), sd.smooth(relative, model)
        x = places(post)
        assert_allclose(post(x, 1), other(x, 1), rtol=1e-9)
        assert_allclose(post.std(x), other.std(x), rtol=1e-9)


def test_weights_go_with_their_rows(tmp_path):
    data, _ = noisy(0, n=30)
    light = data.reweighted(np.linspace(0.1, 1.0, 30))
    assert_allclose(light[5:9].weight, light.weight[5:9])
    assert_allclose((light + data).weight[:30], light.weight)
    post = sd.smooth(light, MODEL)
    post.save(tmp_path / "fit.npz")
    assert np.array_equal(sd.load(tmp_path / "fit.npz").std(data.x), post.std(data.x))
    with pytest.raises(ValueError, match=r"row 1 has 0\.0, but weights are positive"):
        data[:2].reweighted([1.0, 0.0])
    with pytest.raises(ValueError, match="robust: 'yes' is unknown"):
        sd.smooth(data, robust="yes")


def test_features_that_few_rows_see_are_not_taken_for_outliers_in_silence():
    """Of a narrow peak three rows of 30 tell: to reject them may be right, and is said."""
    x = np.linspace(0, 1, 30)
    y = np.exp(-(((x - 0.5) / 0.02) ** 2)) + 0.01 * np.random.default_rng(0).standard_normal(30)
    y[[4, 5, 20]] += 1
    with pytest.warns(sd.NoiseWarning, match=r"of 30 rows count for less .* robust=False") as told:
        post = sd.smooth(sd.observe(x, y))
    assert told[0].filename == __file__
    light = int((post.data.weight < 0.2).sum())
    assert light >= 3
    assert f"{light} of 30" in str(told[0].message)
    assert "yerr" not in str(told[0].message)
    assert str(told[0].message) in post.diagnose().warnings
    sd.smooth(sd.observe(x, y), robust=True)
    sd.smooth(sd.observe(x, y), robust=False)


def test_many_outliers_may_be_noise_of_which_yerr_says_too_little():
    x = np.linspace(0, 6, 200)
    y = np.sin(x) + 0.1 * np.random.default_rng(0).standard_normal(200)
    with pytest.warns(sd.NoiseWarning, match=r"20 of 200 rows .* yerr says too little: .*relative"):
        sd.smooth(sd.observe(x, y, 0.05), correlated=False)


def test_the_tails_of_many_rows_are_told_whatever_their_order():
    rng = np.random.default_rng(0)
    z = rng.standard_normal(40_000)
    z[1::20] *= 30.0  # of two sensors in turn, one fails at times
    law, gain = law_of(z, 1.0)
    assert gain > 1e4
    assert law_of(rng.permutation(z), 1.0) == (law, gain)
    assert_allclose(law.share, 0.05, rtol=0.1)


QUICK = {
    "peak": (lambda t: np.exp(-(t**2) / 2), np.arange(-20.0, 21.0)),
    "decay": (lambda t: 1 / (1 + t), np.arange(51.0)),
    "transient": (lambda t: 1 - np.exp(-2 * t), np.arange(51.0)),
}


@pytest.mark.parametrize(("kind", "noise"), [(k, s) for k in QUICK for s in (0.03, 1e-3)])
def test_what_several_rows_see_is_no_outlier_nor_is_where_a_curve_begins(kind, noise):
    """Quiet stretches beside quick ones, which one smoothness meets without any noise."""
    (curve, x), held, error = QUICK[kind], [], []
    for seed in range(2):
        y = curve(x) + noise * np.random.default_rng(seed).standard_normal(len(x))
        for robust in ("auto", False):
            post = sd.smooth(sd.observe(x, y), robust=robust)
            lower, upper = post.interval(0.0)
            held.append(lower <= curve(0.0) <= upper)
            error.append(np.sqrt(np.mean((post(x) - curve(x)) ** 2)) / noise)
    assert np.sum(held) >= 3
    assert np.median(error) < 0.8, "of the noise: what went through all rows would have 1"


EXACT = {
    "sine": lambda x: np.sin(x / 8),
    "growth": lambda x: np.exp(x / 10),
    "cubic": lambda x: x**3,
    "kink": lambda x: np.maximum(x - 25, 0.0),
}


@pytest.mark.parametrize("curve", EXACT.values(), ids=EXACT.keys())
def test_rows_without_noise_are_no_outliers(curve):
    x = np.arange(51.0)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        post = sd.smooth(sd.observe(x, curve(x)))
    assert not [one for one in seen if issubclass(one.category, sd.NoiseWarning)]
    assert (post.data.weight == 1.0).all()
    assert_allclose(post(x), curve(x), atol=1e-5 * np.ptp(curve(x)))


def test_a_spike_among_nothing_has_an_answer():
    y = np.r_[np.zeros(25), 5.0, np.zeros(25)]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        warnings.simplefilter("ignore", UserWarning)
        post = sd.smooth(sd.observe(np.arange(51.0), y))
    assert np.isfinite(post.std(np.arange(51.0))).all()
