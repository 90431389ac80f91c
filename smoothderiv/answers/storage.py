"""Save a posterior and load it again: one file of plain numbers and text, nothing that runs.

A posterior is its data and its model, with the record of how it was tuned; conditioning is
deterministic, so the file holds those (``numpy.savez`` without pickle: arrays, and a JSON text of
names and numbers) and loading conditions again, to the same bits.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from smoothderiv._files import read_arrays, write_whole
from smoothderiv.observations import Observations

if TYPE_CHECKING:
    from smoothderiv.posterior import Posterior

FORMAT = "smoothderiv posterior"
VERSION = 3  # 1 had no weights, 2 no time zone, no record of tuning and no notes
_STREAM = {"order", "q", "noise", "state", "rows"}  # arrays of Stream.save
_ROWS = ("x", "y", "yerr", "nu", "relative", "weight")
_MODELS = {
    "Tuning": "smoothderiv.tuning",
    "BSplineBasis": "smoothderiv.splines.basis",
    "RegressionSpline": "smoothderiv.splines.regression",
    "AdaptiveSpline": "smoothderiv.statespace.adaptive",
    "SmoothingSpline": "smoothderiv.statespace.smoother",
    "ModelAverage": "smoothderiv.average",
    "GaussianProcess": "smoothderiv.gp.process",
}
_KERNELS = "smoothderiv.gp.kernels"  # every dataclass that it makes public


def save(post: Posterior, path: str | os.PathLike[str]) -> None:
    """Write a posterior into one file; the file appears whole or not at all."""
    arrays: dict[str, Any] = {name: getattr(post.data, name) for name in _ROWS}
    shift = getattr(post, "shift", 0)
    head = {
        "format": FORMAT,
        "version": VERSION,
        "n_missing": post.data.n_missing,
        "origin": None if post.data.origin is None else str(post.data.origin),
        "unit": None if post.data.origin is None else np.datetime_data(post.data.origin.dtype)[0],
        "zone": post.data.zone,
        "derivative": shift,
        "notes": list(post.notes),
        "model": _pack(post.model, arrays),
    }
    arrays["head"] = np.array(json.dumps(head))
    write_whole(path, lambda file: np.savez_compressed(file, **arrays))


def load(path: str | os.PathLike[str]) -> Posterior:
    """Read a posterior that :meth:`.Posterior.save` wrote; it gives the same answers, bit for bit.

    Its summary and :func:`smoothderiv.plot_tuning` are the same too. Nothing in the file is
    executed: it holds arrays and text, and names only models and kernels of this package.

    Raises
    ------
    ValueError
        The file is damaged, of another program, or of a later version, or holds a stream.

    Examples
    --------
    >>> import tempfile, smoothderiv as sd
    >>> post = sd.RegressionSpline(0).condition(sd.observe([0, 1, 2, 3.0], [1, 0, 2, 1.0], 0.1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     post.save(f"{folder}/fit.npz")
    ...     again = sd.load(f"{folder}/fit.npz")
    >>> bool(again(1.7, nu=1) == post(1.7, nu=1))
    True
    """
    with read_arrays(path, "a posterior") as arrays:
        stream = arrays.keys() >= _STREAM
        head = {} if stream else json.loads(str(arrays["head"]))
        known = stream or (head["format"] == FORMAT and head["version"] <= VERSION)
    if stream:
        raise ValueError(
            f"{path}: holds a stream, not a posterior; read it by "
            "smoothderiv.statespace.stream.Stream.load"
        )
    if not known:
        raise ValueError(
            f"{path}: format {head['format']!r}, version {head.get('version')}; this smoothderiv "
            f"reads {FORMAT!r} up to version {VERSION}; update it"
        )
    try:
        origin = None if head["origin"] is None else np.datetime64(head["origin"], head["unit"])
        x, y, yerr, nu, relative = (arrays[name] for name in _ROWS[:5])
        weight = arrays.get("weight", np.ones(len(y)))
        missing, zone = head["n_missing"], head.get("zone")
        data = Observations(x, y, yerr, nu, relative, missing, origin, weight, zone)
        model = _unpack(head["model"], arrays)
        post: Posterior = model.condition(data)
        if head.get("notes"):  # of an average alone
            post = dataclasses.replace(post, notes=tuple(head["notes"]))  # type: ignore[type-var]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: damaged, {error}") from error
    return post.derivative(head["derivative"]) if head["derivative"] else post


def _pack(value: Any, arrays: dict[str, Any]) -> Any:
    """Return numbers, texts, lists and dicts for JSON; arrays go by name into `arrays`."""
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return {"float": value.hex()}
    if isinstance(value, np.generic):
        return _pack(value.item(), arrays)
    if isinstance(value, np.ndarray):
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if isinstance(value, Mapping):
        return {"mapping": [[_pack(k, arrays), _pack(v, arrays)] for k, v in value.items()]}
    if isinstance(value, tuple | list):
        return {"tuple": [_pack(v, arrays) for v in value]}
    if dataclasses.is_dataclass(value) and type(value).__name__ in _classes():
        fields = {
            f.name: _pack(getattr(value, f.name), arrays)
            for f in dataclasses.fields(value)
            if f.init
        }
        return {"class": type(value).__name__, "fields": fields}
    raise ValueError(
        f"model: {value!r} cannot be saved; only models and kernels of this package can"
    )


def _unpack(value: Any, arrays: Mapping[str, Any]) -> Any:
    if not isinstance(value, dict):
        return value
    if "class" in value:
        fields = {name: _unpack(v, arrays) for name, v in value["fields"].items()}
        return _classes()[value["class"]](**fields)
    ((kind, inner),) = value.items()
    if kind == "mapping":
        return {_unpack(k, arrays): _unpack(v, arrays) for k, v in inner}
    readers: dict[str, Any] = {
        "array": arrays.__getitem__,
        "float": float.fromhex,
        "tuple": lambda items: tuple(_unpack(v, arrays) for v in items),
    }
    return readers[kind](inner)


def _classes() -> dict[str, type]:
    """Return the dataclasses that a file may name: models, their tuning, kernels, nothing else."""
    known: dict[str, type] = {n: getattr(import_module(m), n) for n, m in _MODELS.items()}
    kernels = import_module(_KERNELS)
    for name in kernels.__all__:
        if dataclasses.is_dataclass(getattr(kernels, name)):
            known[name] = getattr(kernels, name)
    return known
