"""B-spline rows and least squares, side by side with scipy, in one run on one core.

    python benchmarks/splines.py [--quick]

CPU time, best of three; memory is the peak beyond the data. Ratios above 1 favour smoothderiv.
"""

import argparse
import gc
import time
import tracemalloc

import numpy as np
from rich.console import Console
from rich.table import Table
from scipy import sparse
from scipy.interpolate import BSpline, LSQUnivariateSpline, make_lsq_spline

import smoothderiv as sd
from smoothderiv.splines import BSplineBasis


def cpu(work, repeat=3):
    best = np.inf
    for _ in range(repeat):
        gc.collect()
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def peak(work):
    gc.collect()
    tracemalloc.start()
    work()
    size = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return size / 2**20


def places(n, seed=0):
    return np.sort(np.random.default_rng(seed).uniform(0, 1, n))


def basis_rows(console, n):
    table = Table(title=f"basis rows at {n:g} places, ns a place")
    for name in (
        "degree",
        "places",
        "ours f",
        "ours f, f', f''",
        "design_matrix",
        "__call__",
        "ratio",
    ):
        table.add_column(name, justify="right")
    for k in (3, 5):
        basis = BSplineBasis.clamped(np.linspace(0, 1, 998)[1:-1], 0, 1, k)
        coef = np.ones(basis.n_coef)
        for kind in ("sorted", "unsorted"):
            x = places(n)
            if kind == "unsorted":
                x = np.random.default_rng(1).permutation(x)
            one = cpu(lambda: basis.rows(x))
            three = cpu(lambda: [basis.rows(x, nu) for nu in range(3)])
            matrix = cpu(lambda: BSpline.design_matrix(x, basis.t, k))
            call = cpu(lambda: BSpline(basis.t, coef, k)(x))
            times = [f"{1e9 * v / n:.0f}" for v in (one, three, matrix, call)]
            table.add_row(str(k), kind, *times, f"{matrix / three:.1f}")
    console.print(table)
    console.print("ratio: design_matrix for values alone over ours for all three orders\n")


def values_only(console, sizes):
    table = Table(title="least squares, cubic, values only, n/20 knots, seconds")
    for name in ("n", "ours", "ours, all", "FITPACK", "norm-eq", "qr", "ratio"):
        table.add_column(name, justify="right")
    for n in sizes:
        x = places(n)
        y = np.sin(20 * x) + 0.1 * np.random.default_rng(2).standard_normal(n)
        inner = np.linspace(x[0], x[-1], n // 20 + 2)[1:-1]
        basis = BSplineBasis.clamped(inner, x[0], x[-1], 3)
        model, data = sd.RegressionSpline(basis), sd.observe(x, y, 0.1)
        coef = cpu(lambda: solve_only(basis, data))
        full = cpu(lambda: model.condition(data))
        fitpack = cpu(lambda: LSQUnivariateSpline(x, y, inner, k=3))
        others = [fitpack]
        for method in ("norm-eq", "qr"):
            if method == "qr" and n > 2e4:
                continue
            others.append(cpu(lambda m=method: make_lsq_spline(x, y, basis.t, method=m), 1))
        row = [f"{v:.4f}" for v in (coef, full, *others)] + ["-"] * (3 - len(others))
        table.add_row(f"{n:g}", *row, f"{min(others) / coef:.1f}")
    console.print(table)
    console.print("ours: coefficients; ours, all: the whole posterior with its variances\n")


def solve_only(basis, data):
    """Coefficients alone, as the others return them."""
    from smoothderiv.splines import _loops
    from smoothderiv.splines.constraints import Coordinates
    from smoothderiv.splines.system import reduce_rows

    soft = np.ones(len(data), dtype=bool)
    factor = reduce_rows(basis, Coordinates.unconstrained(basis), data, soft)
    return _loops.solve_unit(factor.unit, factor.rhs)


def mixed_orders(console, sizes):
    table = Table(title="least squares, quintic, values + slopes + curvatures (3 n rows)")
    names = (
        "n",
        "ours s",
        "all s",
        "assembly s",
        "norm-eq s",
        "lsqr s",
        "ratio",
        "ours MB",
        "theirs MB",
    )
    for name in names:
        table.add_column(name, justify="right")
    for n in sizes:
        parts = []
        for nu, size in ((0, 0.1), (1, 2.0), (2, 40.0)):
            x = places(n, nu)
            y = 20.0**nu * np.sin(20 * x + nu * np.pi / 2)
            parts.append(sd.observe(x, y, size, nu=nu))
        data = parts[0] + parts[1] + parts[2]
        inner = np.linspace(0, 1, n // 20 + 2)[1:-1]
        basis = BSplineBasis.clamped(inner, 0, 1, 5)
        model = sd.RegressionSpline(basis)
        ours, full = cpu(lambda: solve_only(basis, data)), cpu(lambda: model.condition(data))

        def assemble(parts=parts, basis=basis):
            blocks = [by_hand(basis, part, nu) for nu, part in enumerate(parts)]
            return sparse.vstack(blocks).tocsc(), np.concatenate([p.y / p.yerr for p in parts])

        def normal(assemble=assemble):
            matrix, target = assemble()
            return sparse.linalg.spsolve((matrix.T @ matrix).tocsc(), matrix.T @ target)

        def iterative(assemble=assemble):
            matrix, target = assemble()
            return sparse.linalg.lsqr(matrix, target, atol=1e-12, btol=1e-12)[0]

        assembly, norm = cpu(assemble, 2), cpu(normal, 1)
        lsqr = cpu(iterative, 1) if n <= 1e5 else None
        table.add_row(
            f"{n:g}",
            *(f"{v:.3f}" for v in (ours, full, assembly, norm)),
            "-" if lsqr is None else f"{lsqr:.2f}",
            f"{norm / ours:.1f}",
            f"{peak(lambda b=basis, d=data: solve_only(b, d)):.1f}",
            f"{peak(normal):.1f}",
        )
    console.print(table)
    console.print("ratio: scipy's quickest complete route (norm-eq) over our coefficients\n")


def by_hand(basis, part, nu):
    """Return rows of a derivative with scipy: the design of degree k - nu times differences."""
    k, t = basis.k, basis.t
    matrix = BSpline.design_matrix(part.x, t[nu : len(t) - nu], k - nu)
    for d in range(k - nu + 1, k + 1):
        trimmed = t[k - d : len(t) - (k - d)]
        gaps = trimmed[d + 1 : -1] - trimmed[1 : -d - 1]
        scale = d / gaps
        size = len(gaps)
        matrix = matrix @ sparse.diags([-scale, scale], [0, 1], shape=(size, size + 1))
    return sparse.diags(1 / part.yerr) @ matrix


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    quick = parser.parse_args().quick
    console = Console(width=110)
    basis_rows(console, 10**5 if quick else 10**6)
    values_only(console, (10**4, 10**5) if quick else (10**4, 10**5, 10**6))
    mixed_orders(console, (10**4,) if quick else (10**4, 10**5, 10**6))


if __name__ == "__main__":
    main()
