"""Names of models: short ones to tell candidates apart, and with their numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

_LONGEST = 60


def label(thing: Any) -> str:
    """Name a model or a kernel by its class and what it is made of.

    A sum or product by its parts; what holds a kernel by that; others by their whole numbers, the
    first of them and those that are not their defaults. What is tuned is left out.
    """
    name = type(thing).__name__
    parts = getattr(thing, "parts", ())
    if parts:
        return (" * " if name == "Product" else " + ").join(map(label, parts))
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
    """Name a model with the fields that are not their defaults, an average with its shares."""
    if hasattr(model, "shares"):
        return f"average of {'; '.join(model.shares())}"
    words = []
    for field in dataclasses.fields(model):
        value = getattr(model, field.name)
        hidden = field.name == "tuning" or field.name.startswith("_")
        if hidden or value is None or _same(value, field.default):
            continue
        shown = f"{value:.5g}" if isinstance(value, float) else repr(value)
        if isinstance(value, np.ndarray):
            shown = f"<{len(value)} numbers>"
        elif hasattr(value, "items"):
            shown = "{" + ", ".join(f"{k}: {v:.5g}" for k, v in value.items()) + "}"
        if len(shown) > _LONGEST:
            shown = shown[: _LONGEST - 3] + "..."
        words.append(f"{field.name}={shown}")
    return f"{type(model).__name__}({', '.join(words)})"


def _same(value: Any, default: Any) -> bool:
    return type(value) is type(default) and not isinstance(value, np.ndarray) and value == default
