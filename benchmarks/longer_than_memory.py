"""A smoothing spline over more rows than memory holds, block by block: seconds, memory, disk.

    python benchmarks/longer_than_memory.py [--rows 1e6 1e7 1e8] [--block 500000] [--order 2]
                                            [--folder FOLDER]

Each size runs in a process of its own; rows are simulated block by block. Printed: seconds of CPU
of the way forward and back together, the largest memory of the process beyond what its first block
took, the disk held at the end (answers for f and f' at every row), and the largest error against
the truth in standard deviations, so that the answer is seen to be one.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

import smoothderiv as sd


def peak():
    """Return the largest resident size of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def simulated(rows, block, seen):
    """Yield a noisy wave at irregular places, block by block."""
    for number, first in enumerate(range(0, rows, block)):
        rng = np.random.default_rng([3, number])
        count = min(block, rows - first)
        x = 1e-3 * (first + np.sort(rng.uniform(0, count, count)))
        yield sd.observe(x, np.sin(x) + 0.1 * rng.standard_normal(count), 0.1)
        if number == 1:
            seen.append(peak())


def run(rows, block, order, folder):
    """Smooth one size; print its row of the table."""
    model, seen = sd.SmoothingSpline(order=order, q=1.0), []
    with tempfile.TemporaryDirectory(dir=folder) as path:
        begun, clock = time.process_time(), time.perf_counter()
        found = model.smooth_blocks(simulated(rows, block, seen), path)
        cpu, wall = time.process_time() - begun, time.perf_counter() - clock
        most = peak()
        disk = sum(file.stat().st_size for file in found.folder.iterdir())
        worst = total = 0.0
        for x, mean, std in found:
            score = (mean[:, 0] - np.sin(x)) / std[:, 0]
            worst, total = max(worst, float(np.abs(score).max())), total + float(score @ score)
    first = seen[0] if seen else most
    print(
        f"{rows:12,d} {cpu:9.0f} {wall:9.0f} {1e9 * cpu / rows:9.0f} {first:9.0f} {most:9.0f} "
        f"{disk / 1e9:9.2f} {np.sqrt(total / rows):9.2f} {worst:6.1f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=float, nargs="*", default=[1e6, 1e7, 1e8])
    parser.add_argument("--block", type=int, default=500_000)
    parser.add_argument("--order", type=int, default=2)
    parser.add_argument("--folder", default=None)
    parser.add_argument("--one", type=int, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        run(given.one, given.block, given.order, given.folder)
        return
    print(
        "        rows    CPU, s   clock, s   ns/row  MB, 2 blocks  MB, all  disk, GB  rms z  max z"
    )
    for rows in given.rows:
        options = ["--one", str(int(rows)), "--block", str(given.block)]
        options += ["--order", str(given.order)]
        options += ["--folder", given.folder] if given.folder else []
        subprocess.run([sys.executable, __file__, *options], check=True)


if __name__ == "__main__":
    main()
