"""Feed-forward constants: which input a wanted motion needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_OF = {"Kp": "position", "Kv": "rate", "Ks": "friction", "Kg": "constant"}


@dataclass(frozen=True, eq=False)
class Feedforward:
    """The equation of motion solved for its one input.

    ``u = Ks + Kv x' + Ka x''`` with ``Ka = 1/b``, ``Kv = -a/b``, ``Ks = -c/b``; with a friction
    term of coefficient f ``Ks = -f/b`` goes with ``sgn(x')`` and the constant's is ``Kg = -c/b``;
    with a position term of coefficient k ``Kp = -k/b`` goes with x. For order 1 read one
    derivative less.

    Attributes
    ----------
    names : tuple of str
    values : (g,) array
        Ka in unit of u / unit of ``D^order x``, the others accordingly.
    covariance : (g, g) array
        By the delta method, from that of the coefficients.
    """

    names: tuple[str, ...]
    values: Array
    covariance: Array

    @classmethod
    def of(cls, names: tuple[str, ...], values: Array, covariance: Array, b: int) -> Feedforward:
        """Solve for the input whose coefficient is number b."""
        found, rows, columns = ["Ka"], [1.0 / values[b]], [np.zeros(len(names))]
        columns[0][b] = -1.0 / values[b] ** 2
        rubs = "friction" in names
        for gain, name in _OF.items():
            word = "constant" if gain == "Ks" and not rubs else name
            if word not in names or (gain == "Kg" and not rubs):
                continue
            j = names.index(word)
            slope = np.zeros(len(names))
            slope[j], slope[b] = -1.0 / values[b], values[j] / values[b] ** 2
            found.append(gain)
            rows.append(-values[j] / values[b])
            columns.append(slope)
        J = np.array(columns)
        return cls(tuple(found), np.array(rows), J @ covariance @ J.T)

    @property
    def gains(self) -> dict[str, float]:
        """The constants by name."""
        return dict(zip(self.names, self.values.tolist(), strict=True))

    @property
    def std(self) -> dict[str, float]:
        """Their standard deviations by name."""
        return dict(zip(self.names, np.sqrt(np.diag(self.covariance)).tolist(), strict=True))

    def __repr__(self) -> str:
        std = self.std
        words = [f"{k} = {v:.6g} ± {std[k]:.2g}" for k, v in self.gains.items()]
        return "Feedforward: " + ", ".join(words)
