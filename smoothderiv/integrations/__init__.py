"""smoothderiv inside other packages, each of which is needed only by the module of its name.

``smoothderiv.integrations.sklearn``, ``.xarray`` (with Dask), ``.pysindy``, ``.derivative``,
``.filterpy``.
"""


def missing(error: ImportError, extra: str) -> ImportError:
    """Return the error that names what to install for a package that is not there."""
    return ImportError(
        f"{error.name}: not installed, but smoothderiv.integrations.{extra} needs it; "
        f"pip install 'smoothderiv[{extra}]'",
        name=error.name,
    )
