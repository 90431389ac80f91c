"""Gaussian processes with gradients, side by side: accuracy on test surfaces, and speed.

python benchmarks/gp.py accuracy [SURFACE,.. [N,.. [DESIGNS [COLUMN,..]]]]
python benchmarks/gp.py speed
python benchmarks/gp.py markov [PLACES]
python benchmarks/gp.py band
python benchmarks/gp.py large [N,..]

Needs the packages it compares with: gpytorch, tinygp (jax), celerite2, spleaf; those that are
missing are left out. Everything in float64 on the CPU. What would take more than 100 s, by what it
took for a tenth of the rows, or a table of rows by places that does not fit in memory, is not run.

accuracy: Latin hypercube designs on the unit cube, noise-free values and gradients, root mean
square error at 1000 other places over the standard deviation of the surface; medians over the
designs. default: sd.smooth with nothing said. SE: the squared exponential, one length each, exact
rows; RQ: the rational quadratic, the same. GPyTorch: RBFKernelGrad, one length each, 150 steps of
Adam at 0.1, targets standardised, noise of each order tuned, from 1e-8 on: what "SE noise tuned"
does here. GPyTorch exact: its noise held at 1e-8, as "SE" has none.
"""

import sys
import time
import tracemalloc
import warnings

import numpy as np
from gp_surfaces import SURFACES, gradient
from scipy.linalg import lapack
from scipy.stats import qmc

import smoothderiv as sd
from smoothderiv.gp import assembly
from smoothderiv.gp.dense import layout_of

try:
    import gpytorch
    import torch
except ImportError:
    gpytorch = None
try:
    import jax

    jax.config.update("jax_enable_x64", True)
    import jax.numpy as jnp
    import tinygp
except ImportError:
    tinygp = None

warnings.simplefilter("ignore")


def timed(call, repeats=3):
    """Return the shortest wall time of a call, in seconds."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return min(found)


# Accuracy.


def ours(X, y, G, Xs, kernel, slopes=True, yerr=0.0):
    data = with_slopes(X, y, G, yerr) if slopes else sd.observe(X, y, yerr=yerr)
    model = sd.GaussianProcess(kernel, mean="constant")
    return sd.tune(model, data).condition(data)(Xs)


def by_default(X, y, G, Xs):
    return sd.smooth(with_slopes(X, y, G, 0.0))(Xs)


def with_slopes(X, y, G, yerr):
    data = sd.observe(X, y, yerr=yerr)
    for nu, column in zip(np.eye(X.shape[1], dtype=int), G.T, strict=True):
        data = data + sd.observe(X, column, yerr=yerr, nu=nu)
    return data


def of_gpytorch(X, y, G, Xs, steps=150, noisy=True):
    size = y.std()
    shift = y.mean()
    targets = torch.tensor(np.c_[(y - shift) / size, G / size])
    inputs, d = torch.tensor(X), X.shape[1]

    class Model(gpytorch.models.ExactGP):
        def __init__(self, likelihood):
            super().__init__(inputs, targets, likelihood)
            self.mean_module = gpytorch.means.ConstantMeanGrad()
            self.covar_module = gpytorch.kernels.ScaleKernel(
                gpytorch.kernels.RBFKernelGrad(ard_num_dims=d)
            )

        def forward(self, x):
            return gpytorch.distributions.MultitaskMultivariateNormal(
                self.mean_module(x), self.covar_module(x)
            )

    likelihood = gpytorch.likelihoods.MultitaskGaussianLikelihood(
        num_tasks=d + 1, noise_constraint=gpytorch.constraints.GreaterThan(1e-8)
    )
    model = Model(likelihood).double()
    likelihood.double()
    if not noisy:
        likelihood.noise = likelihood.task_noises = 2e-8
        for parameter in likelihood.parameters():
            parameter.requires_grad = False
    model.covar_module.base_kernel.lengthscale = 0.3 * np.sqrt(d)
    model.train(), likelihood.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    loss = gpytorch.mlls.ExactMarginalLogLikelihood(likelihood, model)
    with exact():
        for _ in range(steps):
            optimizer.zero_grad()
            value = -loss(model(inputs), targets)
            value.backward()
            optimizer.step()
        model.eval(), likelihood.eval()
        with torch.no_grad():  # in parts: it builds the covariance of all that is asked
            parts = torch.tensor(Xs).split(50)
            mean = np.concatenate([model(part).mean[:, 0].numpy() for part in parts])
    return shift + size * mean


def exact():
    """GPyTorch by Cholesky: its default is iterative."""
    settings = gpytorch.settings
    stack = __import__("contextlib").ExitStack()
    stack.enter_context(settings.fast_computations(False, False, False))
    stack.enter_context(settings.max_cholesky_size(100_000))
    return stack


def accuracy(names, counts, designs, only=()):
    kernels = sd.kernels
    columns = {
        "default": by_default,
        "SE": lambda *a: ours(*a, kernels.SquaredExponential()),
        "RQ": lambda *a: ours(*a, kernels.RationalQuadratic()),
        "SE noise tuned": lambda *a: ours(*a, kernels.SquaredExponential(), yerr=None),
        "Matern 7/2": lambda *a: ours(*a, kernels.Matern72()),
        "values only": lambda *a: ours(*a, kernels.SquaredExponential(), slopes=False),
    }
    if gpytorch is not None:
        columns["GPyTorch"] = of_gpytorch
        columns["GPyTorch exact"] = lambda *a: of_gpytorch(*a, noisy=False)
    columns = {name: call for name, call in columns.items() if not only or name in only}
    print(f"{'':18}" + "".join(f"{name:>21}" for name in columns))
    for name in names:
        f, d = SURFACES[name]
        Xs = qmc.LatinHypercube(d, seed=999).random(1000)
        truth = f(Xs.T)
        for n in counts:
            cells = ""
            for call in columns.values():
                errors, start = [], time.perf_counter()
                for seed in range(designs):
                    X = qmc.LatinHypercube(d, seed=seed).random(n)
                    try:
                        mean = call(X, f(X.T), gradient(f, X), Xs)
                    except Exception as error:  # a failed fit counts as no fit
                        mean = np.nan
                        print(f"  {type(error).__name__}: {str(error)[:80]}")
                    errors.append(np.sqrt(np.mean((mean - truth) ** 2)) / truth.std())
                took = (time.perf_counter() - start) / designs
                cells += f"{np.median(np.nan_to_num(errors, nan=np.inf)):12.1e} {took:6.1f} s"
            print(f"{name:12} {n:4d} {cells}", flush=True)


# Speed of the dense solver.


def speed():
    print("conditioning on values and gradients; std of f and f' at 500 places each\n")
    print(
        f"{'':22}{'Cholesky':>9}{'assembly':>9}{'condition':>10}{'ratio':>7}"
        f"{'solve':>8}{'500 std':>9}"
    )
    rng = np.random.default_rng(0)
    for d, n in ((1, 1000), (1, 2000), (1, 4000), (2, 700), (2, 1400), (2, 2600)):
        X = rng.uniform(0, n / 10 if d == 1 else 10, (n, d))
        x = X[:, 0] if d == 1 else X
        data = sd.observe(x, rng.standard_normal(n), yerr=0.1)
        for nu in (1,) if d == 1 else np.eye(d, dtype=int):
            data = data + sd.observe(x, rng.standard_normal(n), yerr=0.1, nu=nu)
        kernel = sd.kernels.Matern52(1.0, 1.0)
        model, size = sd.GaussianProcess(kernel, solver="dense"), len(data)
        post = model.condition(data)
        layout, matrix = layout_of(data), np.empty((size, size))
        ask = rng.uniform(0, 10, (500, d))[:, 0] if d == 1 else rng.uniform(0, 10, (500, d))
        rows = rng.standard_normal((500, size))
        repeats = 3 if size < 5000 else 2
        assembling = timed(lambda: assembly.lower(kernel, layout, matrix, np.ones(size)), repeats)
        conditioning = timed(lambda: model.condition(data), repeats)

        def cholesky():
            assembly.lower(kernel, layout, matrix, np.ones(size))
            np.fill_diagonal(matrix, 1e3)
            lapack.dpotrf(matrix.T, lower=0, clean=0, overwrite_a=1)

        factoring = timed(cholesky, repeats) - assembling
        solving = timed(lambda: post._factor.halve(rows), repeats)
        asking = timed(lambda: post.std(ask), repeats)
        print(
            f"d = {d}, matrix of {size:5d} {factoring:8.3f} {assembling:8.3f} {conditioning:9.3f}"
            f" {conditioning / factoring:6.2f} {solving:7.3f} {asking:8.3f}",
            flush=True,
        )
    others()


def others():
    """Values and slopes on a line and in the plane; f and its slopes with std, side by side."""
    rng = np.random.default_rng(0)
    x, ask = np.sort(rng.uniform(0, 100, 1000)), np.linspace(0, 100, 500)
    title = "values and slopes at n = 1000 on a line, mean and std of f and f' at 500 places"
    compared(title, x[:, None], np.sin(x), np.cos(x)[:, None], ask[:, None])
    X, ask = rng.uniform(0, 20, (667, 2)), rng.uniform(0, 20, (333, 2))
    (u, v), y = X.T, np.sin(X).prod(axis=1)
    G = np.c_[np.cos(u) * np.sin(v), np.sin(u) * np.cos(v)]
    title = "values and gradients at n = 667 in the plane, mean and std of both at 333 places"
    compared(title, X, y, G, ask)


def compared(title, X, y, G, ask):
    """Print what conditioning and asking costs, squared exponential of length 1, noise 0.1."""
    d = X.shape[1]
    data = with_slopes(X, y, G, 0.1) if d > 1 else with_slope(X[:, 0], y, G[:, 0])
    orders = np.r_[np.zeros((1, d), dtype=int), np.eye(d, dtype=int)]

    def house(solver):
        model = sd.GaussianProcess(sd.kernels.SquaredExponential(1.0, 1.0), solver=solver)

        def call():
            post = model.condition(data)
            if d == 1:
                return post(ask[:, 0], orders), post.std(ask[:, 0], orders)
            return tuple(np.stack([f(ask, nu) for nu in orders]) for f in (post.mean, post.std))

        return call

    calls = {"smoothderiv, dense": house("dense")}
    if d == 1:
        calls["smoothderiv, auto"] = house("auto")
    if gpytorch is not None:
        calls["GPyTorch, Cholesky"] = by_gpytorch(X, y, G, ask)
    if tinygp is not None:
        calls["tinygp, dense"] = by_tinygp(X, y, G, ask)
    mean, std = calls["smoothderiv, dense"]()
    print("\n" + title)
    for name, call in calls.items():
        m, s = call()
        differences = np.abs(m - mean).max(), np.abs(s - std).max()
        off = "   largest differences {:.1e} {:.1e}".format(*differences)
        print(f"{name:20} {timed(call, 5):7.3f} s{off}", flush=True)


def with_slope(x, y, v):
    return sd.observe(x, y, yerr=0.1) + sd.observe(x, v, yerr=0.1, nu=1)


def by_gpytorch(X, y, G, ask):
    inputs, targets = torch.tensor(X), torch.tensor(np.c_[y, G])
    places = torch.tensor(ask)

    class Model(gpytorch.models.ExactGP):
        def __init__(self, likelihood):
            super().__init__(inputs, targets, likelihood)
            self.mean_module = gpytorch.means.ConstantMeanGrad()
            self.covar_module = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernelGrad())

        def forward(self, at):
            return gpytorch.distributions.MultitaskMultivariateNormal(
                self.mean_module(at), self.covar_module(at)
            )

    def call():
        likelihood = gpytorch.likelihoods.MultitaskGaussianLikelihood(
            num_tasks=1 + X.shape[1], has_task_noise=False
        )
        model = Model(likelihood).double()
        likelihood.double()
        model.covar_module.base_kernel.lengthscale = 1.0
        model.covar_module.outputscale = 1.0
        likelihood.noise = 0.01
        model.eval(), likelihood.eval()
        with torch.no_grad(), exact():
            found = model(places)
            return found.mean.numpy().T, found.variance.sqrt().numpy().T

    return call


def by_tinygp(X, y, G, ask):
    class WithSlopes(tinygp.kernels.Kernel):
        """The derivative kernel of tinygp's tutorial, for any number of dimensions."""

        def evaluate(self, a, b):
            (t, p), (s, q) = a, b
            base = lambda u, w: jnp.exp(-0.5 * ((u - w) ** 2).sum())  # noqa: E731
            by_t, by_s = jax.grad(base, 0)(t, s), jax.grad(base, 1)(t, s)
            both = jax.jacfwd(jax.grad(base, 1), 0)(t, s).T
            first = jnp.concatenate([base(t, s)[None], by_s])[None]
            return jnp.concatenate([first, jnp.column_stack([by_t, both])])[p, q]

    d = X.shape[1]

    def rows(x):
        return jnp.tile(jnp.array(x), (1 + d, 1)), jnp.repeat(jnp.arange(1 + d), len(x))

    data, places, targets = rows(X), rows(ask), jnp.array(np.r_[y, G.T.ravel()])

    @jax.jit
    def solve():
        process = tinygp.GaussianProcess(WithSlopes(), data, diag=0.01)
        found = process.condition(targets, places).gp
        return found.loc.reshape(1 + d, -1), jnp.sqrt(found.variance).reshape(1 + d, -1)

    return lambda: tuple(np.asarray(part) for part in solve())


# The iterative solver.


def large(counts):
    """Values and gradients at n places of the plane: dense and iterative, seconds and memory."""
    print("conditioning, 500 means of f, 64 standard deviations of f, seconds; peak of memory\n")
    for n in counts:
        rng = np.random.default_rng(0)
        x = rng.uniform(0, np.sqrt(n) / 8, (n, 2))
        data = sd.observe(x, np.sin(x).prod(axis=1) + 0.05 * rng.standard_normal(n), yerr=0.05)
        for a in (0, 1):
            slope = np.cos(x[:, a]) * np.sin(x[:, 1 - a]) + 0.05 * rng.standard_normal(n)
            data = data + sd.observe(x, slope, yerr=0.05, nu=np.eye(2, dtype=int)[a])
        for kernel in (sd.kernels.SquaredExponential(1.5, 1.0), sd.kernels.Matern52(1.5, 1.0)):
            for solver in ("dense", "iterative"):
                model = sd.GaussianProcess(kernel, solver=solver)
                model.condition(data[:30]).std(x[:2])
                tracemalloc.start()
                start = time.perf_counter()
                try:
                    post = model.condition(data)
                except ValueError as error:
                    print(f"{n} places: {str(error)[:70]}")
                    continue
                marks = [time.perf_counter()]
                post(x[:500] + 0.01)
                marks.append(time.perf_counter())
                post.std(x[:64] + 0.01)
                marks.append(time.perf_counter())
                peak = tracemalloc.get_traced_memory()[1] / 2**20
                tracemalloc.stop()
                took = "".join(f"{s:9.2f}" for s in np.diff([start, *marks]))
                name = type(kernel).__name__
                print(f"{n:6d} places  {name:20}{solver:10}{took}{peak:9.0f} MiB", flush=True)


# The Markov solver.


_PATIENCE = 100.0  # seconds of one run, expected from a tenth of the rows
_TABLE = 10**8  # rows by places, of which others hold several tables


def markov(places):
    """Mean and variance at some places: of f, f', f'' here, of f alone elsewhere."""
    print(f"conditioning on n values, then mean and variance at {places} places, seconds\n")
    print(f"{'':40}{'n = 1e4':>10}{'1e5':>10}{'1e6':>10}")
    for name, call in (
        ("smoothderiv, f, f', f'', Matern 5/2", ours_markov),
        ("smoothderiv, f, Matern 5/2", lambda *a: ours_markov(*a, orders=1)),
        ("celerite2, f, Matern 3/2", celerite),
        ("tinygp quasiseparable, f, Matern 5/2", quasiseparable),
        ("spleaf, f, Matern 5/2", of_spleaf),
    ):
        print(f"{name:40}", end="", flush=True)
        took = 0.0
        for n in (10**4, 10**5, 10**6):
            if not name.startswith("smoothderiv") and n * places > _TABLE:
                print(f"{'memory':>10}", end="")
                continue
            if 10.0 * took > _PATIENCE:
                print(f"{'> ' + format(_PATIENCE, '.0f'):>10}", end="")
                continue
            rng = np.random.default_rng(0)
            x = np.cumsum(rng.uniform(0.01, 0.2, n))
            y, ask = np.sin(x) + 0.1 * rng.standard_normal(n), np.linspace(x[0], x[-1], places)
            try:
                took = timed(call(x, y, ask), 2 if took < 3.0 else 1)
                print(f"{took:10.3f}", end="", flush=True)
            except ImportError:
                print(f"{'absent':>10}", end="")
            except Exception as error:  # what cannot run says why
                print(f"  {type(error).__name__}: {str(error)[:100]}", end="")
        print(flush=True)


def ours_markov(x, y, ask, orders=3):
    model = sd.GaussianProcess(sd.kernels.Matern52(1.0, 1.0), solver="markov")
    data = sd.observe(x, y, yerr=0.1)
    nu = np.arange(orders)[:, None]

    def call():
        post = model.condition(data)
        return post(ask, nu), post.var(ask, nu)

    return call


def celerite(x, y, ask):
    import celerite2

    def call():
        process = celerite2.GaussianProcess(celerite2.terms.Matern32Term(sigma=1.0, rho=1.0))
        process.compute(x, yerr=0.1)
        return process.predict(y, t=ask, return_var=True)

    return call


def quasiseparable(x, y, ask):
    if tinygp is None:
        raise ImportError
    from tinygp.kernels import quasisep

    @jax.jit
    def solve():
        process = tinygp.GaussianProcess(quasisep.Matern52(scale=1.0), jnp.array(x), diag=0.01)
        found = process.condition(jnp.array(y), jnp.array(ask)).gp
        return found.loc, found.variance

    return lambda: [np.asarray(part) for part in solve()]


def of_spleaf(x, y, ask):
    from spleaf import cov, term

    def call():
        error = term.Error(np.full(len(x), 0.1))
        process = cov.Cov(x, err=error, signal=term.Matern52Kernel(1.0, 1.0))
        return process.conditional(y, ask, calc_cov="diag")

    return call


# The band solver.


def band():
    """Tune, condition, and slopes with their deviations at 400 places, by matrix and by band."""
    print("squared exponential, n values on ten waves: tune, condition, f' with std; seconds\n")
    counts = (100, 400, 1600, 10**4, 10**5)
    print(f"{'':10}" + "".join(f"{n:10}" for n in counts))
    for solver, most in (("dense", 1600), ("band", 10**5)):
        cells = f"{solver:10}"
        for n in counts:
            if n > most:
                cells += f"{'-':>10}"
                continue
            rng = np.random.default_rng(0)
            x, ask = np.sort(rng.uniform(0, 60, n)), np.linspace(0, 60, 400)
            data = sd.observe(x, np.sin(x) + 0.1 * rng.standard_normal(n))
            model = sd.GaussianProcess(sd.kernels.SquaredExponential(), solver=solver)

            def call():
                post = sd.tune(model, data).condition(data)
                return post(ask, 1), post.std(ask, 1)

            call()
            cells += f"{timed(call, 2):10.3f}"
        print(cells, flush=True)


if __name__ == "__main__":
    section, *rest = sys.argv[1:] or ["speed"]
    if section == "accuracy":
        asked = rest[0].split(",") if rest else list(SURFACES)
        places = [int(n) for n in rest[1].split(",")] if len(rest) > 1 else [20, 40, 100]
        accuracy(
            asked,
            places,
            int(rest[2]) if len(rest) > 2 else 10,
            rest[3].split(",") if len(rest) > 3 else (),
        )
    elif section == "speed":
        speed()
    elif section == "markov":
        markov(int(rest[0]) if rest else 500)
    elif section == "band":
        band()
    elif section == "large":
        large([int(n) for n in rest[0].split(",")] if rest else [1000, 3000, 10_000])
