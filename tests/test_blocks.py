"""Laws of series longer than memory: block by block is the same as at once."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

import smoothderiv as sd
from smoothderiv.model import UndeterminedError


def rows(n=300, seed=0, exact=False):
    """Values, slopes and a few exact rows at irregular, repeated places, with a gap."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.choice(np.linspace(0, 5, n), n))
    x[x > 3] += 2.0
    nu = (rng.random(n) < 0.3).astype(int)
    y = np.where(nu, np.cos(x), np.sin(x)) + 0.1 * rng.standard_normal(n)
    yerr = rng.uniform(0.05, 0.2, n)
    if exact:
        pins = np.flatnonzero(np.diff(x, prepend=-1) > 0)[:: n // 8]
        yerr[pins], nu[pins] = 0.0, 0
    return sd.observe(x, y, yerr, nu)


def cut(data, borders):
    return [data[a:b] for a, b in zip([0, *borders], [*borders, len(data)], strict=True)]


def same(model, data, blocks, folder, nu=(0, 1), at=None):
    post = model.condition(data)
    found = model.smooth_blocks(iter(blocks), folder, nu, at)
    x, mean, std = (np.concatenate(part) for part in zip(*found, strict=True))
    expected = data.x if at is None else np.sort(at)
    assert_allclose(x, expected, rtol=1e-14)
    for k, order in enumerate(nu):
        scale = np.abs(post(x, order)).max()
        assert_allclose(mean[:, k], post(x, order), rtol=1e-9, atol=1e-11 * scale)
        largest = post.std(x, order).max()
        assert_allclose(std[:, k], post.std(x, order), rtol=1e-7, atol=1e-9 * largest)
    assert found.log_evidence == pytest.approx(post.log_evidence, rel=1e-9)
    assert found.edf == pytest.approx(post.edf, rel=1e-8)
    assert found.rows == len(data)
    return found


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("borders", [[], [100, 200], [1, 2, 3, 150, 151, 299]])
def test_block_by_block_is_the_same_as_at_once(tmp_path, order, borders):
    data = rows()
    model = sd.SmoothingSpline(order=order, q=3.0)
    found = same(model, data, cut(data, borders), tmp_path / "new")
    assert len(found) <= len(borders) + 1
    assert {path.name[:6] for path in found.folder.iterdir()} == {"answer"}


@pytest.mark.parametrize("order", [8, 12])
def test_the_evidence_of_high_orders_keeps_its_digits(tmp_path, order):
    """A Gram matrix of powers has none left at order 12."""
    data, model = rows(), sd.SmoothingSpline(order=order, q=3.0)
    found = model.smooth_blocks(cut(data, [100, 200]), tmp_path, (0,))
    assert found.log_evidence == pytest.approx(model.condition(data).log_evidence, abs=1e-9)


def test_exact_rows_pass_borders(tmp_path):
    data = rows(exact=True)
    same(sd.SmoothingSpline(order=3, q=3.0), data, cut(data, [37, 38, 120]), tmp_path)


def test_places_before_between_and_beyond_the_rows(tmp_path):
    data = rows()
    at = np.array([8.0, -1.0, 0.013, 2.9, 3.7, 4.9, 6.999, 7.5])
    model = sd.SmoothingSpline(order=3, q=3.0)
    same(model, data, cut(data, [80, 160, 240]), tmp_path, (0, 1, 2), at)


def test_unknown_noise_is_the_models_and_the_unit_of_x_is_no_matter(tmp_path):
    rng = np.random.default_rng(2)
    x = np.cumsum(rng.exponential(1e-6, 200))
    data = sd.observe(x, np.sin(3e4 * x) + 0.1 * rng.standard_normal(200))
    model = sd.tune(sd.SmoothingSpline(order=2), data)
    same(model, data, cut(data, [50, 130]), tmp_path)


def test_times_come_back_as_times(tmp_path):
    t = np.datetime64("2026-01-01", "ns") + np.arange(90) * np.timedelta64(1, "h")
    y = np.sin(np.arange(90) / 9.0)
    blocks = [sd.observe(t[a : a + 30], y[a : a + 30], 0.1) for a in (0, 30, 60)]
    model = sd.SmoothingSpline(order=2, q=1e-12)
    found = model.smooth_blocks(blocks, tmp_path, 0)
    x, mean, _ = (np.concatenate(part) for part in zip(*found, strict=True))
    assert (x == t).all()
    assert_allclose(mean[:, 0], model.condition(sd.observe(t, y, 0.1))(t), rtol=1e-9)


def test_zoned_times_come_back_in_their_zone(tmp_path):
    t = pd.date_range("2026-03-28", periods=90, freq="h", tz="Europe/Berlin")
    blocks = [sd.observe(t[a : a + 30], np.sin(np.arange(a, a + 30) / 9.0), 0.1) for a in (0, 30)]
    model = sd.SmoothingSpline(order=2, q=1e-12)
    found = model.smooth_blocks(blocks, tmp_path / "a", 0)
    assert [time for block in found for time in block.x] == list(t[:60])
    asked = model.smooth_blocks(blocks, tmp_path / "b", 0, at=t[5:7])
    assert [time for block in asked for time in block.x] == list(t[5:7])
    blocks[1] = sd.observe(t[30:60].tz_localize(None), np.zeros(30), 0.1)
    with pytest.raises(ValueError, match="no time zone"):
        model.smooth_blocks(blocks, tmp_path / "c", 0)


def test_only_one_block_is_asked_for_at_a_time(tmp_path):
    asked = []

    def blocks():
        for part in cut(rows(), [100, 200]):
            asked.append(len(list(tmp_path.glob("state-*"))))
            yield part

    sd.SmoothingSpline(order=2, q=1.0).smooth_blocks(blocks(), tmp_path)
    assert asked == [0, 1, 2]


def test_what_cannot_be_is_refused(tmp_path):
    data, model = rows(), sd.SmoothingSpline(order=2, q=1.0)
    parts = cut(data, [150])
    with pytest.raises(ValueError, match=r"blocks: block 1 begins at x = 0\b.*in order of x"):
        model.smooth_blocks(parts[::-1], tmp_path / "a")
    with pytest.raises(ValueError, match=r"q: unknown\. Tune the model on some of the rows"):
        sd.SmoothingSpline(order=2).smooth_blocks(parts, tmp_path / "b")
    with pytest.raises(ValueError, match="noise: the level of order 0 is unknown"):
        model.smooth_blocks([sd.observe([0, 1, 2], [0, 1, 2])], tmp_path / "c")
    with pytest.raises(UndeterminedError, match="free"):
        model.smooth_blocks([data[:1], data[:0]], tmp_path / "d")
    with pytest.raises(ValueError, match="blocks: there is no row"):
        model.smooth_blocks([], tmp_path / "e")
    with pytest.raises(ValueError, match="nu: 2 was asked"):
        model.smooth_blocks(parts, tmp_path / "f", 2)
    (tmp_path / "g").mkdir()
    (tmp_path / "g" / "mine").touch()
    with pytest.raises(ValueError, match=r"folder: .* is not empty"):
        model.smooth_blocks(parts, tmp_path / "g")


def test_an_exact_row_given_again_in_any_block_takes_nothing_more(tmp_path):
    data = rows(exact=True)
    again = np.sort(np.concatenate((np.arange(300), np.repeat(np.flatnonzero(data.exact), 2))))
    often, pin = data[again], int(np.flatnonzero(data.exact[again])[4])
    found = same(
        sd.SmoothingSpline(2, 1.0), often, cut(often, [pin + 1, pin + 2, 200]), tmp_path / "often"
    )
    assert found.edf == pytest.approx(sd.SmoothingSpline(2, 1.0).condition(data).edf, rel=1e-8)
