"""Angles: turns are added by the model, not by the last neighbour."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import smoothderiv as sd
from smoothderiv.circular import TURN, unwrapped

T = np.linspace(0, 10, 200)


def heading(t, nu=0):
    return 2 * t + 3 * np.sin(t) if nu == 0 else 2 + 3 * np.cos(t)


def wrapped(noise, seed=0):
    y = heading(T) + noise * np.random.default_rng(seed).standard_normal(len(T))
    return np.mod(y + np.pi, TURN) - np.pi


@pytest.mark.parametrize("noise", [0.05, 0.5, 0.8])
def test_rates_of_noisy_headings(noise):
    """At 0.8 rad neighbours differ by more than half a turn now and then."""
    est = sd.differentiate(T, wrapped(noise), circular=True)
    error = est.mean - heading(T, 1)
    assert np.sqrt(np.mean(error**2)) < 1.0 * noise + 0.1
    inside = (est.lower <= heading(T, 1)) & (heading(T, 1) <= est.upper)
    assert inside.mean() > 0.85


def test_only_whole_turns_are_added():
    data = sd.observe(T, wrapped(0.3), 0.3)
    turned = unwrapped(data, sd.SmoothingSpline(3))
    turns = (turned.y - data.y) / TURN
    assert_allclose(turns, np.round(turns), atol=1e-12)
    away = turned.y - heading(T)
    assert np.ptp(np.round(away / TURN)) == 0


def test_measured_rates_tell_the_turns_of_sparse_headings():
    t = np.linspace(0, 10, 12)  # turns more than half between neighbours
    rates = np.linspace(0, 10, 80)
    angles = sd.observe(t, np.mod(7 * t + 2 * np.sin(t) + np.pi, TURN) - np.pi, 0.05)
    data = angles + sd.observe(rates, 7 + 2 * np.cos(rates), 0.05, nu=1)
    post = sd.smooth(data, sd.SmoothingSpline(3), circular=True)
    assert_allclose(post(rates[5:-5], 1), 7 + 2 * np.cos(rates[5:-5]), atol=0.2)


def test_what_is_no_angle_is_refused():
    with pytest.raises(ValueError, match="circular: angles are rows of order 0"):
        sd.smooth(sd.observe(T, T, 0.1, nu=1), circular=True)


def degrees(noise=0.1):
    return np.mod(np.rad2deg(wrapped(noise)), 360)


@pytest.mark.parametrize(("turn", "values"), [(360, degrees()), (24.0, degrees() / 15)])
def test_angles_of_any_unit(turn, values):
    """A period is a unit of the angles, and nothing else changes."""
    est = sd.differentiate(T, values, circular=turn)
    assert_allclose(est.mean * TURN / turn, sd.differentiate(T, wrapped(0.1), circular=True).mean)


def test_the_model_and_measured_rates_are_in_the_unit_of_the_angles():
    noise = np.random.default_rng(3).standard_normal((2, len(T)))
    angle = np.mod(np.rad2deg(heading(T)) + 5 * noise[0], 360)
    rate = np.rad2deg(heading(T, 1)) + 10 * noise[1]
    data = sd.observe(T, angle, 5.0) + sd.observe(T, rate, 10.0, nu=1)
    post = sd.smooth(data, sd.SmoothingSpline(3), circular=360)
    assert np.sqrt(np.mean((post(T, 1) - np.rad2deg(heading(T, 1))) ** 2)) < 5


def test_degrees_that_are_taken_for_radians_are_doubted():
    for values in (degrees(), degrees() - 180):
        with pytest.warns(UserWarning, match="look like degrees; give circular=360"):
            unwrapped(sd.observe(T, values, 0.1), sd.SmoothingSpline(3))
    unwrapped(sd.observe(T, wrapped(0.1) + np.pi, 0.1), sd.SmoothingSpline(3))  # 0 to 2 pi


@pytest.mark.parametrize(
    ("circular", "said"),
    [("yes", "'yes'"), (0, "0"), (-360, "-360"), (np.inf, "inf"), (None, "No")],
)
def test_what_is_no_period_is_refused(circular, said):
    with pytest.raises(ValueError, match=f"circular: {said}.* is no period of an angle; give True"):
        sd.smooth(sd.observe(T, wrapped(0.1)), circular=circular)


def test_no_angles_are_asked_by_false():
    data = sd.observe(T, T + 0.1 * wrapped(0.1), 0.1)
    plain = sd.smooth(data, sd.SmoothingSpline(3))
    for none in (False, np.False_):
        assert_allclose(sd.smooth(data, sd.SmoothingSpline(3), circular=none)(T), plain(T))
