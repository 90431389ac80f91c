"""A grid several times the memory of the workers, smoothed by a Dask cluster of two.

    python benchmarks/dask_memory.py [--times 2] [--limit 600] [--rows 20000] [--nu 0]

The grid is simulated lazily, chunk by chunk, `--times` the limit (MB) of both workers together;
mean and standard deviation of the orders `--nu` are made of every value and reduced to means over
the grid. Printed are the sizes and the largest memory that each worker's process had. The fit has
its numbers given, so that the passage of data is what is tried.
"""

import argparse
import resource
import time

import dask.array as da
import numpy as np
import xarray as xr
from distributed import Client, LocalCluster

import smoothderiv as sd
from smoothderiv.integrations.xarray import smooth


def peak():
    """Return the largest resident size of this process, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=float, default=2.0)
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--nu", type=int, nargs="*", default=[0])
    given = parser.parse_args()
    series = int(given.times * 2 * given.limit * 1e6 / (8 * given.rows))
    cluster = LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        memory_limit=f"{given.limit}MB",
        dashboard_address=None,
    )
    with cluster, Client(cluster) as client:
        noise = da.random.default_rng(0).standard_normal(
            (series, given.rows), chunks=(max(1, int(8e6 / (8 * given.rows))), given.rows)
        )
        t = np.linspace(0, 100, given.rows)
        field = xr.DataArray(np.sin(t) + 0.1 * noise, dims=("cell", "t"), coords={"t": t})
        model = sd.RegressionSpline(knots=60, noise={0: 0.1})
        found = smooth(field, "t", given.nu, model=model)
        begun = time.perf_counter()
        mean = found.mean("cell").compute()
        taken = time.perf_counter() - begun
        peaks = client.run(peak)
    answers = 2 * len(given.nu) * field.nbytes
    print(f"{field.nbytes / 1e6:.0f} MB in, {answers / 1e6:.0f} MB of answers, {taken:.0f} s")
    print(
        f"limit {given.limit} MB a worker, peaks {', '.join(f'{p:.0f}' for p in peaks.values())} MB"
    )
    for nu in given.nu:
        error = float(abs(mean[f"mean_{nu}"] - np.sin(t + nu * np.pi / 2)).max())
        print(f"largest error of the mean curve, order {nu}: {error:.2g}")


if __name__ == "__main__":
    main()
