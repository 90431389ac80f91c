"""Names of models: short ones to tell candidates apart, and with their numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

_FEW = 4  # numbers of a tuple that are shown
_LONGEST = 60


def label(thing: Any) -> str:
    """Name a model or a kernel by its class and what it is made of.

    A sum or product by its parts; what holds a kernel by that; others by their whole numbers, the
    first of them and those that are not their defaults. What is tuned is left out.
    """
    name = type(thing).__name__
    parts = getattr(thing, "parts", ())
    if parts:
        return _sign(thing).join(map(label, parts))
    if not dataclasses.is_dataclass(thing):
        return name
    shown = [(f, getattr(thing, f.name)) for f in dataclasses.fields(thing)]
    kernels = [label(value) for _, value in shown if hasattr(value, "cov")]
    whole = [(f, value) for f, value in shown if type(value) is int]
    words = [f"{f.name}={value}" for f, value in whole[:1]]
    words += [f"{f.name}={value}" for f, value in whole[1:] if value != f.default]
    inner = ", ".join(kernels or words)
    return f"{name}({inner})" if inner else name


def model_words(model: Any) -> str:
    """Name a model or a kernel with the fields that are not their defaults.

    An average by its shares, a sum or product by its parts.
    """
    if hasattr(model, "shares"):
        return f"average of {'; '.join(model.shares())}"
    if parts := getattr(model, "parts", ()):
        return _sign(model).join(map(model_words, parts))
    words = []
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        hidden = field.name == "tuning" or field.name.startswith("_")
        if not (hidden or value is None or _same(value, field.default)):
            words.append(f"{field.name}={_value_words(value)}")
    return f"{type(model).__name__}({', '.join(words)})"


def _sign(kernel: Any) -> str:
    """Return what stands between the parts of a product, or of a sum."""
    return " * " if type(kernel).__name__ == "Product" else " + "


def _value_words(value: Any) -> str:
    """Return a field of a model as text: numbers to five digits, kernels as models are."""
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, np.ndarray) or (isinstance(value, tuple) and len(value) > _FEW):
        return f"<{len(value)} numbers>"
    if hasattr(value, "items"):
        return "{" + ", ".join(f"{k}: {v:.5g}" for k, v in value.items()) + "}"
    if dataclasses.is_dataclass(value):
        return model_words(value)
    shown = repr(value)
    return shown if len(shown) <= _LONGEST else f"{shown[: _LONGEST - 3]}..."


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and not isinstance(value, np.ndarray) and value == default
