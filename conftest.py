"""Leave out what needs optional packages that are not installed: the rest passes without them."""

from importlib.util import find_spec

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
