"""What every posterior must obey, whatever engine made it (the laws of DESIGN.md).

Each function takes what it judges and asserts; an engine's own tests call them.
"""

import copy
import pickle
import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

import smoothderiv as sd
from smoothderiv.answers.limits import least_dof
from smoothderiv.observations import Observations

Z = 4.5  # standard errors within which a Monte Carlo moment must lie


def places(post, count=23, margin=0.05):
    """Places inside and a little outside of the data, off the data themselves."""
    low, high = post.data.x.min(), post.data.x.max()
    span = high - low
    return np.linspace(low - margin * span, high + margin * span, count) + 0.0137 * span / count


def check_posterior(post, orders=(0, 1), rng=0):
    """Run every law that one posterior can be asked about."""
    x = places(post)
    check_derivative(post, x, orders)
    check_moments(post, x, orders)
    check_samples(post, x, orders, rng)
    check_integral(post)
    check_intervals(post, x, orders)
    check_joint(post, x, orders)
    check_bands(post, x, orders, rng)
    check_rows(post)
    check_copies(post, x, orders)
    check_far(post)
    if post.highest_order < 4:
        check_highest_order(post, int(post.highest_order))


def check_far(post):
    """However far from the data, an answer is finite, or refused by the place."""
    for x in (1e20, -1e20, 1e100, -1e155, -1e300):
        for ask in (post.mean, post.var, post.cov, post.interval, post.prob_positive):
            try:
                with np.errstate(all="ignore"):
                    found = ask([0.5, x])
            except ValueError as refusal:
                assert f"x: row 1 is {x}, so far from the data" in str(refusal)  # noqa: PT017
            else:
                assert np.isfinite(found).all()


def check_copies(post, x, orders):
    """A posterior goes to other processes and comes back as it was."""
    for other in (pickle.loads(pickle.dumps(post)), copy.deepcopy(post)):
        assert other.noise == post.noise
        for nu in orders:
            assert_array_equal(other(x, nu=nu), post(x, nu=nu))
            assert_array_equal(other.std(x, nu=nu), post.std(x, nu=nu))


def check_derivative(post, x, orders):
    """Law 1: derivatives are derivatives, in the wrapper and by differences of the mean."""
    for nu in orders:
        if nu + 1 > post.highest_order:
            continue
        assert_allclose(post.derivative(1)(x, nu=nu), post(x, nu=nu + 1), rtol=1e-13)
        assert_allclose(post.derivative(1).std(x, nu=nu), post.std(x, nu=nu + 1), rtol=1e-13)
        h = 1e-4 * np.ptp(post.data.x) / len(x)
        differences = (post(x + h, nu=nu) - post(x - h, nu=nu)) / (2 * h)
        size = np.abs(post(x, nu=nu + 1)).max() + np.abs(post(x, nu=nu)).max() / np.ptp(x)
        assert_allclose(differences, post(x, nu=nu + 1), atol=1e-6 * size)
    for one in (post, post.derivative(1)) if post.highest_order else (post,):
        with pytest.raises(ValueError, match="nu: -1 is not the order of a derivative"):
            one.derivative(-1)


def check_moments(post, x, orders):
    """Law 1: std^2 is the diagonal of cov, cov is a covariance, joint questions broadcast."""
    for wrong in ("1", None, 0.5, -1, True, np.inf):
        words = f"nu: {wrong!r} is not the order of a derivative"
        asks = [post, post.cov, lambda _, nu: post.roots(nu), lambda _, nu: post.derivative(nu)]
        for ask in asks if wrong is None else [*asks, post.frame]:
            with pytest.raises(ValueError, match=words):
                ask(x, nu=wrong)
    nu = np.array(orders)[:, None]
    joint = post.cov(np.broadcast_to(x, (len(orders), len(x))), nu)
    var = post.var(x, nu)
    assert var.shape == (len(orders), len(x))
    assert (var >= 0).all()
    assert_allclose(np.diag(joint), var.ravel(), rtol=1e-7, atol=1e-12 * var.max())
    assert_allclose(post.std(x, nu) ** 2, var, rtol=1e-13)
    root = np.sqrt(np.maximum(np.diag(joint), 1e-300))
    correlation = joint / root / root[:, None]
    assert_allclose(correlation, correlation.T, atol=1e-9)
    assert np.linalg.eigvalsh(0.5 * (correlation + correlation.T)).min() > -1e-7 * len(root)
    cross = post.cov(x, orders[0], x[:5], orders[-1])
    assert_allclose(
        cross,
        joint[: len(x), -len(x) :][:, :5],
        rtol=1e-7,
        atol=1e-9 * np.sqrt(var[0].max() * var[-1].max()),
    )
    for row, order in enumerate(orders):
        assert_allclose(post.var(x, order), var[row], rtol=1e-9)  # BLAS sums otherwise
        assert_allclose(post(x, nu)[row], post(x, order), rtol=1e-12)


def check_samples(post, x, orders, rng, size=4000):
    """Law 1: joint paths have the posterior's mean and covariance, for all orders together."""
    nu = np.array(orders)[:, None]
    paths = post.sample(x, nu, size=size, rng=rng)
    assert paths.shape == (size, len(orders), len(x))
    assert_allclose(paths, post.sample(x, nu, size=size, rng=rng))
    assert post.sample(x, nu, size=0).shape == (0, len(orders), len(x))
    for wrong in (-1, 1.5, None):
        with pytest.raises(ValueError, match=rf"size: {wrong} is no number of paths; give a whole"):
            post.sample(x, nu, size=wrong)
    flat = paths.reshape(size, -1)
    std = post.std(x, nu).ravel()
    mean = post(x, nu).ravel()
    tiny = 1e-9 * (np.abs(mean) + std.max())
    assert (np.abs(flat.mean(axis=0) - mean) <= Z * std / np.sqrt(size) + tiny).all()
    cov = post.cov(np.broadcast_to(x, (len(orders), len(x))), nu)
    error = np.sqrt((np.outer(std, std) ** 2 + cov**2) / size)
    deviation = np.abs((flat - mean).T @ (flat - mean) / size - cov)
    assert (deviation <= 1.3 * Z * error + np.outer(tiny, tiny)).all()


def check_integral(post, rtol=1e-8):
    """The integral is the one of the mean; it adds up, and its variance is a variance."""
    low, high = post.data.x.min(), post.data.x.max()
    middle = low + 0.37 * (high - low)
    whole, std = post.integral(low, high)
    parts = post.integral(low, middle)[0] + post.integral(middle, high)[0]
    node, weight = np.polynomial.legendre.leggauss(20)
    inside = post._jumps(int(post.highest_order)) if np.isfinite(post.highest_order) else []
    edges = np.unique(np.concatenate((post.data.x, np.linspace(low, high, 60), inside)))
    edges = edges[(edges >= low) & (edges <= high)]
    half, centre = 0.5 * np.diff(edges)[:, None], 0.5 * (edges[1:] + edges[:-1])[:, None]
    quadrature = float((half * weight * post(centre + half * node)).sum())
    size = np.abs(post(edges)).max() * (high - low)
    assert_allclose(whole, parts, atol=1e-9 * size)
    assert_allclose(whole, quadrature, atol=1e-7 * size)
    backward = post.integral(high, low)
    assert_allclose(backward, (-whole, std), rtol=1e-9, atol=1e-12 * size)
    with pytest.raises(ValueError, match=r"a, b: \[.*\], .*, but an integral goes from one place"):
        post.integral([low, middle], high)
    x = (centre + half * node).ravel()
    w = (half * weight).ravel()
    if len(x) <= 4000:
        missed = 8 / 3 - weight @ np.abs(node[:, None] - node) @ weight  # where u = v, of |u - v|
        rough = 0.5 * missed * (half**3).ravel() @ post._diffusion(0, centre.ravel())
        assert_allclose(std, np.sqrt(w @ post.cov(x) @ w - rough), rtol=rtol)
    if post.highest_order >= 1:
        increment, spread = post.derivative(1).integral(low, high)
        assert_allclose(increment, post(high) - post(low), atol=1e-9 * size / (high - low))
        assert spread >= 0
        near = middle + 1e-9 * (high - low)
        short = post.derivative(1).integral(middle, near)[1]
        assert_allclose(short, (near - middle) * post.std(middle, 1), rtol=1e-4)


def check_intervals(post, x, orders):
    """Intervals have as much probability on either side as they say, and lie within the band."""
    for nu in orders:
        for level in (0.5, 0.95):
            lower, upper = post.interval(x, nu, level=level)
            side = np.full(len(x), 0.5 - 0.5 * level)
            assert_allclose(below(post, lower, x, nu), side, rtol=1e-7)
            assert_allclose(below(post, upper, x, nu), 1.0 - side, rtol=1e-7)
        assert_allclose(1.0 - below(post, 0.0, x, nu), post.prob_positive(x, nu), atol=1e-12)
        low, high = post.band(x, nu, level=0.95, rng=1)
        assert (low <= lower + 1e-9 * np.abs(lower)).all()
        assert (upper <= high + 1e-9 * np.abs(high)).all()


def below(post, value, x, nu):
    """The probability that the curve is below a value, by what each member of a mixture says."""
    parts = post._parts()
    each = [stats.t.cdf(value, one._dof(nu), one.mean(x, nu), one.std(x, nu)) for _, one in parts]
    return np.array([weight for weight, _ in parts]) @ each


def check_highest_order(post, highest):
    """What is asked of the highest derivative is answered, of a higher one refused by its name."""
    largest = post.argmax(nu=highest)
    x = np.linspace(post.data.x.min(), post.data.x.max(), 1001)
    mean = post(x, nu=highest)
    assert largest.height[0] >= mean.max() - 1e-6 * np.ptp(mean)
    assert_allclose(post.derivative(highest)(x), mean, rtol=1e-12)
    assert (post.roots(nu=highest, within=(x[0], x[100])).std >= 0).all()
    for ask in (
        lambda nu: post(post.data.x[:1], nu=nu),
        lambda nu: post.argmax(nu=nu),
        lambda nu: post.roots(nu=nu),
        lambda nu: post.regions(nu=nu),
        post.derivative,
        lambda nu: post.maxima(nu=nu - 1),
    ):
        with pytest.raises(ValueError, match=f"nu: {highest + 1} was asked.*order 0 to {highest}"):
            ask(highest + 1)
    for ask in (post.argmax, post.roots, post.regions, post.derivative, post.minima):
        for nu in (-1, 0.5, [0, 1]):
            with pytest.raises(ValueError, match="not the order of a derivative"):
                ask(nu=nu)


def check_joint(post, x, orders):
    """The covariance of several orders at one place is that of the joint question."""
    known = [nu for nu in range(max(orders) + 2) if nu <= post.highest_order]
    nu = np.array(known)
    joint = post._joint(x, nu)
    std = post.std(x[:, None], nu)
    for here, place, size in zip(joint, x, std, strict=True):
        expected = post.cov(np.full(len(nu), place), nu)
        assert_allclose(here, expected, rtol=1e-6, atol=1e-9 * np.outer(size, size).max())
    if max(known) == post.highest_order and post._diffusion(known[-1], post.data.x[:1])[0] == 0:
        beyond = post._joint(x, np.array([known[-1], known[-1] + 1]))
        assert_allclose(beyond[:, 0, 0], std[:, -1] ** 2, rtol=1e-6)
        assert (beyond[:, :, 1] == 0).all(), "a derivative that does not exist has no share"


def check_bands(post, x, orders, rng, size=2000):
    """Bands hold about as many paths as they say, over places, over the curve, and jointly."""
    low, high = post.data.x.min(), post.data.x.max()
    fine = np.linspace(low, high, 300)
    questions = [(x, nu, {}) for nu in orders] + [(fine, nu, {}) for nu in orders]
    questions.append((fine, np.array(orders)[:, None], {}))
    for places_, nu, options in questions:
        lower, upper = post.band(places_, nu, 0.9, **options)
        paths = post.sample(places_, nu, size=size, rng=rng)
        if np.isfinite(dof := least_dof(post, np.ravel(nu))):
            scale = np.random.default_rng(rng).chisquare(dof, size) / dof
            mean = post(places_, nu)
            widened = np.sqrt(scale).reshape(-1, *[1] * mean.ndim)
            paths = mean + (paths - mean) / widened
        slack = 1e-9 * (np.abs(upper).max() + np.abs(lower).max())
        inside = (paths >= lower - slack) & (paths <= upper + slack)
        held = inside.reshape(size, -1).all(axis=1).mean()
        assert 0.9 - 0.5 * Z * np.sqrt(0.09 / size) - 0.012 < held < 0.962, (nu, held)
    whole = [post.band(fine, nu, within=(low, high)) for nu in orders]
    for nu, (lower, upper) in zip(orders, whole, strict=True):
        inner = post.band(fine, nu)
        assert (lower <= inner[0] + 1e-9 * np.abs(lower)).all(), "finer places: a wider band"
        assert (upper >= inner[1] - 1e-9 * np.abs(upper)).all()


def check_rows(post):
    """Residuals, leverages, effective degrees of freedom and leave-one-out hang together."""
    data = post.data
    residual = np.array(
        [y - float(post(x, nu)) for x, y, nu in zip(data.x, data.y, data.nu, strict=True)]
    )
    scale = np.abs(data.y).max() + np.abs(residual).max()
    assert_allclose(post.residuals(), residual, atol=1e-10 * scale)
    leverage = post.leverage()
    assert ((leverage >= 0) & (leverage <= 1 + 1e-8)).all()
    assert_allclose(post.edf, leverage.sum(), rtol=1e-7)
    assert np.isfinite(post.log_evidence)


def check_leave_one_out(model, data, rows, rtol=1e-6):
    """Leave-one-out by leverage equals fitting without the row (knots etc. given, not counts)."""
    post = model.condition(data)
    left = post.loo()
    for i in rows:
        rest = model.condition(data[np.arange(len(data)) != i])
        x, nu = data.x[i], data.nu[i]
        sd_i = data.sd(post.noise)[i]
        std = np.sqrt(float(rest.var(x, nu)) + sd_i**2)
        assert_allclose(
            left.residual[i], data.y[i] - float(rest(x, nu)), rtol=rtol, atol=rtol * sd_i
        )
        assert_allclose(left.std[i], std, rtol=rtol)
        scaled = left.residual[i] / std
        density = -0.5 * scaled**2 - np.log(std) - 0.5 * np.log(2 * np.pi)
        assert_allclose(left.log_density[i], density, rtol=1e-5, atol=1e-5)


def check_permutation(fit, data, orders=(0, 1), rtol=1e-9):
    """Law 2: the order of the rows changes nothing. `fit` maps data to a posterior."""
    post = fit(data)
    shuffled = fit(data[np.random.default_rng(5).permutation(len(data))])
    _same_answers(post, shuffled, orders, rtol)


def check_replicates(fit, data, orders=(0, 1), rtol=1e-8):
    """Law 2: a row of known noise split into equal replicates changes nothing."""
    half = Observations(
        data.x, data.y, data.yerr * np.sqrt(2), data.nu, data.relative, 0, data.origin
    )
    _same_answers(fit(data), fit(half + half), orders, rtol)


def check_units(fit, data, a, c=1.0, b=0.0, orders=(0, 1), rtol=1e-8):
    """Law 3: x -> a x + b and y -> c y scale order nu by c / a^nu, tuning included."""
    post = fit(data)
    other = fit(rescaled(data, a, b, c))
    x = places(post)
    for nu in orders:
        scale = c / float(a) ** nu
        expected = post(x, nu) * scale
        size = np.abs(expected).max()
        assert_allclose(other(a * x + b, nu), expected, atol=rtol * size, rtol=0)
        assert_allclose(other.std(a * x + b, nu), post.std(x, nu) * scale, rtol=rtol)
    for order, level in post.noise.items():
        assert_allclose(other.noise[order], level * c / float(a) ** order, rtol=rtol)


def rescaled(data, a, b=0.0, c=1.0):
    """Return the same observations in other units."""
    scale = c / float(a) ** data.nu
    yerr = np.where(data.relative, data.yerr, data.yerr * scale)
    return Observations(a * data.x + b, data.y * scale, yerr, data.nu, data.relative)


def check_polynomials(fit, degree, orders=(0, 1, 2), seed=0, at_slopes=True):
    """Law 4: a polynomial below the model's order is reproduced with its derivatives."""
    rng = np.random.default_rng(seed)
    polynomial = np.polynomial.Polynomial(rng.standard_normal(degree + 1))
    x = np.sort(rng.uniform(-1, 2, 17))
    data = sd.observe(x, polynomial(x), yerr=0.3)
    if at_slopes and degree >= 1:
        data = data + sd.observe(x[::3], polynomial.deriv()(x[::3]), yerr=0.2, nu=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", sd.TuningWarning)
        post = fit(data)
    ask = np.linspace(-1.2, 2.3, 31)
    for nu in orders:
        if nu > post.highest_order:
            continue
        exact = polynomial.deriv(nu)(ask) if nu else polynomial(ask)
        assert_allclose(post(ask, nu), exact, atol=1e-8 * max(1.0, np.abs(exact).max()))


def _same_answers(post, other, orders, rtol):
    x = places(post)
    for nu in orders:
        mean, std = post(x, nu), post.std(x, nu)
        size = np.abs(mean).max() + std.max()
        assert_allclose(other(x, nu), mean, atol=rtol * size, rtol=0)
        assert_allclose(other.std(x, nu), std, atol=rtol * size, rtol=1e-6)
