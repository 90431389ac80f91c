"""Terms: what stands on the right of ``D^order x = sum_j coefficient_j term_j(state, input)``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Function: TypeAlias = Callable[..., Any]

WORDS = ("rate", "position", "input", "constant", "friction")


@dataclass(frozen=True)
class Term:
    """One regressor with one coefficient.

    Attributes
    ----------
    name : str
        Of the coefficient, as the results call it.
    kind : {"state", "input", "constant", "friction", "function"}
    index : int
        The component of the state, or the column of the input.
    function : callable or None
        ``function(state, u)``: see :func:`smoothderiv.dynamics.fit`.
    """

    name: str
    kind: str
    index: int = 0
    function: Function | None = None


def parse(terms: Sequence[str | Function], order: int, inputs: tuple[str, ...]) -> tuple[Term, ...]:
    """Return one Term for each coefficient; refuse words that mean nothing here."""
    if isinstance(terms, str) or not len(terms):
        raise ValueError(f"terms: {terms!r}; give a tuple such as ('rate', 'input', 'constant')")
    found: list[Term] = []
    for word in terms:
        if callable(word):
            name = getattr(word, "__name__", type(word).__name__)
            found.append(Term("function" if name == "<lambda>" else name, "function", 0, word))
        elif word == "rate":
            found.append(Term("rate", "state", order - 1))
        elif word == "position" and order > 1:
            found.append(Term("position", "state", 0))
        elif word == "position":
            raise ValueError("terms: with order=1 the coefficient of x itself is called 'rate'")
        elif word == "input":
            if not inputs:
                raise ValueError(
                    "terms: 'input' is a term, but no u was given; give u, or leave it out"
                )
            found.extend(Term(name, "input", j) for j, name in enumerate(inputs))
        elif word in ("constant", "friction"):
            found.append(Term(word, word))
        else:
            raise ValueError(
                f"terms: {word!r} is unknown; use {', '.join(map(repr, WORDS))}, or a function of "
                "(state, u)"
            )
    if inputs and not any(term.kind in ("input", "function") for term in found):
        raise ValueError("u: given, but no term uses it; add 'input' to terms, or leave u out")
    return tuple(_distinct(found))


def _distinct(terms: list[Term]) -> list[Term]:
    """Number functions of equal names; refuse a word that stands twice."""
    out: list[Term] = []
    for term in terms:
        same = [t for t in terms if t.name == term.name]
        if len(same) > 1 and not all(t.kind == "function" for t in same):
            raise ValueError(f"terms: {term.name!r} stands twice; name each coefficient once")
        name = term.name if len(same) == 1 else f"{term.name}[{same.index(term)}]"
        out.append(Term(name, term.kind, term.index, term.function))
    return out


def sign_average(before: Array, after: Array, std: Array) -> Array:
    """Return the mean of ``E sgn(v)`` while the mean of v goes straight from before to after.

    v is normal about its mean: ``E sgn = erf(mean / (std sqrt 2))``, whose integral is
    ``E|v|``, so that the mean over the step is a difference quotient of ``E|v|``.
    """
    change, middle = after - before, 0.5 * (before + after)
    flat = np.abs(change) <= 1e-3 * std
    quotient = (_expected_size(after, std) - _expected_size(before, std)) / np.where(
        flat | (change == 0), 1.0, change
    )
    return np.asarray(np.where(flat | (change == 0), expected_sign(middle, std), quotient))


def expected_sign(mean: Array, std: Array) -> Array:
    """Return ``E sgn(v)`` for normal v."""
    from scipy import special

    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(std > 0, special.erf(mean / (std * np.sqrt(2.0))), np.sign(mean))


def _expected_size(mean: Array, std: Array) -> Array:
    """Return ``E |v|`` for normal v."""
    with np.errstate(divide="ignore", invalid="ignore"):
        bulge = np.where(std > 0, std * np.exp(-0.5 * (mean / std) ** 2), 0.0)
    return np.asarray(mean * expected_sign(mean, std) + np.sqrt(2.0 / np.pi) * bulge)
