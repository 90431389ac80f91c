"""Streaming equals batch at every row; what is saved goes on bit for bit."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import smoothderiv as sd
from smoothderiv.statespace.stream import Stream


def rows(rng, n=25):
    x = np.sort(rng.uniform(0, 3, n))
    x[7] = x[6]
    nu = rng.integers(0, 2, n)
    nu[:3] = 0
    columns = (x, rng.normal(size=n), rng.uniform(0.1, 1, n), nu)
    return zip(*(column.tolist() for column in columns), strict=True)


def test_stream_equals_batch_at_every_row():
    model, table = sd.SmoothingSpline(3, q=5.0), list(rows(np.random.default_rng(0)))
    stream, orders = model.stream(), np.arange(3)
    for k, (x, y, yerr, nu) in enumerate(table):
        stream.update(x, y, yerr, nu)
        if k < 3:
            continue
        post = model.condition(sd.observe(*np.array(table[: k + 1])[:, :3].T, nu=stream.data().nu))
        for place, (mean, cov) in ((x, stream.state()), (x + 0.7, stream.predict(x + 0.7))):
            at = np.full(3, place)
            assert_allclose(mean, post(at, orders), rtol=1e-9, atol=1e-10)
            assert_allclose(cov, post.cov(at, orders), rtol=1e-9, atol=1e-10)
    post = stream.smooth()
    mean, std = stream.lagged(4)
    assert_allclose(mean, post(np.full(3, table[-5][0]), orders), rtol=1e-12)
    assert_allclose(std, post.std(np.full(3, table[-5][0]), orders), rtol=1e-12)


def test_what_is_free_is_infinite():
    stream = sd.SmoothingSpline(2, q=1.0, noise={0: 0.1}).stream()
    stream.update(0.0, 5.0)
    mean, cov = stream.state()
    assert_allclose((mean[0], cov[0, 0]), (5.0, 0.01))
    assert np.isinf(cov[1, 1])
    stream.update(1.0, float("nan"))
    assert len(stream) == 1
    assert np.isinf(stream.state()[1][0, 0])


def test_save_and_load_bit_for_bit(tmp_path):
    model, table = (
        sd.SmoothingSpline(3, q=5.0, noise={0: 0.3}),
        list(rows(np.random.default_rng(1))),
    )
    whole, first = model.stream(), model.stream()
    for row in table[:11]:
        first.update(*row)
    first.save(tmp_path / "stream.npz")
    second = Stream.load(tmp_path / "stream.npz")
    for row in table:
        whole.update(*row)
    for row in table[11:]:
        second.update(*row)
    whole.update(4.0, 1.0)
    second.update(4.0, 1.0)
    assert np.array_equal(whole.state()[0], second.state()[0])
    assert np.array_equal(whole.state()[1], second.state()[1])
    assert np.array_equal(whole.data().y, second.data().y)


def test_a_file_of_something_else_is_no_stream(tmp_path):
    path = tmp_path / "fit.npz"
    sd.RegressionSpline(0).condition(sd.observe([0.0, 1, 2, 3], np.ones(4), 0.1)).save(path)
    for content in (path.read_bytes(), path.read_bytes()[:99], b""):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a stream saved by smoothderiv, or damaged"):
            Stream.load(path)


def test_a_save_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    stream, path = sd.SmoothingSpline(2, q=1.0, noise={0: 0.1}).stream(), tmp_path / "stream.npz"
    stream.update(0.0, 1.0)
    stream.save(path)
    stream.update(1.0, 1.0)

    def full(file, **arrays):
        file.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OSError, match="no space"):
        stream.save(path)
    assert [p.name for p in tmp_path.iterdir()] == ["stream.npz"]
    assert len(Stream.load(path)) == 1


def test_refusals():
    stream = sd.SmoothingSpline(2, q=1.0).stream()
    stream.update(1.0, 0.0, 0.0)
    with pytest.raises(ValueError, match=r"only goes forward.*stream\.data\(\)"):
        stream.update(0.5, 0.0, 0.1)
    with pytest.raises(ValueError, match="finite"):
        stream.update(2.0, float("inf"), 0.1)
    with pytest.raises(ValueError, match="orders 0 to 1"):
        stream.update(2.0, 0.0, 0.1, 2)
    with pytest.raises(ValueError, match="contradicts"):
        stream.update(1.0, 1.0, 0.0)
    with pytest.raises(ValueError, match="noise level"):
        stream.update(2.0, 1.0)
    with pytest.raises(ValueError, match="q"):
        sd.SmoothingSpline(2).stream()
    for lag in (1.5, -1, 1):
        with pytest.raises(ValueError, match=rf"lag: {lag}, but there are rows 0 to 0 back; give"):
            stream.lagged(lag)
    for x in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"x: .* is not finite"):
            stream.predict(x)
    assert len(stream) == 1


@pytest.mark.parametrize("order", [2, 3])
def test_a_step_beyond_what_floats_hold_is_refused(order):
    """And the stream goes on from where it was."""
    stream = sd.SmoothingSpline(order, q=1.0, noise={0: 0.1}).stream()
    for k in range(5):
        stream.update(float(k), 1.0)
    mean, cov = stream.state()
    for ask in (lambda x: stream.update(x, 1.0), stream.predict):
        with pytest.raises(ValueError, match=r"x: the state at 1e\+308 overflows .* at 4\.0; give"):
            ask(1e308)
    assert np.array_equal(stream.state()[0], mean)
    assert np.array_equal(stream.state()[1], cov)
    stream.update(5.0, 1.0)
    assert len(stream) == 6


def test_orders_are_whole_numbers_of_any_kind():
    stream = sd.SmoothingSpline(2, q=1.0, noise={np.int64(0): 0.1}).stream()
    stream.update(0.0, 1.0, nu=np.int64(0))
    with pytest.raises(ValueError, match=r"nu: 1\.0 is not the order"):
        stream.update(1.0, 1.0, 0.1, nu=1.0)


@pytest.mark.parametrize("value", [None, "1", [1.0], 1j, np.datetime64("2020-01-01", "ns")])
def test_what_is_no_number_is_told(value):
    stream = sd.SmoothingSpline(2, q=1.0, noise={0: 0.1}).stream()
    with pytest.raises(ValueError, match=r"x: .* is not a number"):
        stream.update(value, 1.0)
    with pytest.raises(ValueError, match=r"y: .* is not a number"):
        stream.update(1.0, value)
    stream.update(np.float32(1), np.array(2), True)
    assert len(stream) == 1
