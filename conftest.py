"""Leave out what needs optional packages that are not installed: the rest passes without them.

Tests that run side by side, by xdist, share the cores: linear algebra takes one for each. Figures
that a test or an example leaves open are closed.
"""

import os
import sys
from importlib.util import find_spec

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # before numpy is imported
    for library in ("OPENBLAS", "OMP", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")

_NEEDS = {
    "sklearn": ("smoothderiv/integrations/sklearn.py", "tests/test_sklearn.py"),
    "xarray": ("smoothderiv/integrations/xarray.py", "tests/test_xarray.py"),
    "pysindy": ("smoothderiv/integrations/pysindy.py", "tests/test_pysindy.py"),
    "derivative": ("smoothderiv/integrations/derivative.py", "tests/test_pysindy.py"),
    "dask": ("tests/test_xarray.py",),
}
collect_ignore = [
    path for package, paths in _NEEDS.items() if find_spec(package) is None for path in paths
]


@pytest.fixture(autouse=True)
def _no_figure_stays_open():
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
