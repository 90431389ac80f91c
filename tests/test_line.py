"""Laws of the search along a line: the lowest minimum, to its last digits, ends included."""

import math

import numpy as np
import pytest

from smoothderiv.statespace.line import answered, lowest


def waves(place):
    """Many minima, the lowest near 1; the value and the slope."""
    wave, bowl = 5.0 * math.cos(0.7 * (place - 1.0)), 0.01 * (place - 1.3) ** 2
    return bowl - wave, 0.02 * (place - 1.3) + 3.5 * math.sin(0.7 * (place - 1.0))


def test_the_lowest_of_many_minima_is_found():
    found, _ = answered(lowest(-40.0, 45.0), waves)
    places = np.linspace(-40.0, 45.0, 200001)
    values = [waves(place)[0] for place in places]
    assert found.value <= min(values)
    assert abs(found.slope) < 1e-9
    assert found.curvature == pytest.approx(0.02 + 2.45, rel=0.01)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_end_is_found_where_all_slopes_to_it(sign):
    found, _ = answered(lowest(-3.0, 7.0), lambda place: (sign * place, sign))
    assert found.place == (-3.0 if sign > 0 else 7.0)


def test_no_place_beyond_the_ends_is_asked_for_but_by_a_first_difference():
    asked = []
    answered(lowest(0.0, 10.0), lambda place: asked.append(place) or waves(place))
    assert min(asked) >= 0.0
    assert max(asked) <= 10.0
    assert len(asked) == len(set(asked))
