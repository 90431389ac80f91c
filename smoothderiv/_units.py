"""Names and units of derivatives, as text."""

from __future__ import annotations

import re

_PRIMES = ("", "\N{PRIME}", "\N{DOUBLE PRIME}", "\N{TRIPLE PRIME}")


def derivative_name(nu: int, name: str = "f") -> str:
    """Return a name with primes, such as ``f″``, or with the order raised beyond three."""
    return name + (_PRIMES[nu] if nu < len(_PRIMES) else f"⁽{_raised(nu)}⁾")


def derivative_unit(x_unit: str | None, y_unit: str | None, nu: int) -> str:
    """Return the unit of the derivative of order `nu`, such as ``m/s²``; empty if unknown."""
    if nu == 0:
        return y_unit or ""
    if not x_unit:
        return ""
    below = f"({x_unit})" if any(c in x_unit for c in " /·*") else x_unit
    below += "" if nu == 1 else _raised(nu)
    if y_unit is None:
        return f"per {below}"
    above = f"({y_unit})" if any(c in y_unit for c in " /·*") else y_unit
    return f"{above}/{below}"


def with_unit(name: str, unit: str | None) -> str:
    """Return a label such as ``f (m)``, the name alone where the unit is unknown.

    A name that ends in its unit, such as ``Time (min)`` or ``pos [m]′``, does not repeat it.
    """
    if not unit:
        return name
    ends = re.fullmatch(r"(.+?)\s*[(\[]([^()\[\]]+)[)\]]([′″‴]*|⁽\w+⁾)", name)  # noqa: RUF001
    if ends and unit.removeprefix("(").startswith(ends[2]):
        name = ends[1] + ends[3]
    return f"{name} ({unit})"


def _raised(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
