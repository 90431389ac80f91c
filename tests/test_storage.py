"""Saved and loaded posteriors answer bit for bit; foreign and damaged files run nothing."""

import datetime
import importlib
import json
import os
import pickle
import stat
import zoneinfo

import matplotlib as mpl
import numpy as np
import pytest

import smoothderiv as sd
from conftest import mixed_data
from smoothderiv.splines import BSplineBasis

mpl.use("Agg")
BASIS = BSplineBasis.clamped(np.linspace(0, 1, 9)[1:-1], 0, 1, 5)
TIMES = np.datetime64("2026-01-01T00:00", "s") + np.arange(20) * np.timedelta64(90, "s")
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
UTC_TIMES = [t.replace(tzinfo=datetime.UTC) for t in TIMES.tolist()]
POSTERIORS = {
    "plain": lambda: sd.RegressionSpline(BASIS).condition(mixed_data()),
    "array knots": lambda: sd.RegressionSpline(np.array([0.3, 0.5])).condition(mixed_data()),
    "tuned": lambda: sd.smooth(mixed_data(known=False, n=(60, 40, 30))),
    "infinite lam": lambda: sd.RegressionSpline(4, lam=np.inf).condition(mixed_data()),
    "derivative": lambda: sd.RegressionSpline(BASIS).condition(mixed_data()).derivative(1),
    "smoothing spline": lambda: sd.smooth(mixed_data(), sd.SmoothingSpline(order=3)),
    "markov process": lambda: sd.GaussianProcess(
        sd.kernels.Matern52(scale=0.3, sigma=1.0), solver="markov"
    ).condition(mixed_data()),
    "sum of kernels": lambda: sd.GaussianProcess(
        sd.kernels.Matern52(scale=0.3, sigma=1.0)
        + sd.kernels.SquaredExponential(scale=0.9, sigma=1.0)
        * sd.kernels.Periodic(period=0.5, scale=1.0, sigma=1.0),
        mean="linear",
    ).condition(mixed_data()),
    "zoned times": lambda: sd.RegressionSpline(3).condition(
        sd.observe([t.astimezone(BERLIN) for t in UTC_TIMES], np.sin(np.arange(20.0)), 0.1)
    ),
    "datetimes": lambda: sd.RegressionSpline(3).condition(
        sd.observe(TIMES, np.sin(np.arange(20.0)), 0.1)
    ),
}


@pytest.mark.parametrize("name", POSTERIORS)
def test_answers_are_the_same_bit_for_bit(name, tmp_path):
    post = POSTERIORS[name]()
    post.save(tmp_path / "fit.npz")
    again = sd.load(tmp_path / "fit.npz")
    asked = {"datetimes": TIMES[3:9], "zoned times": UTC_TIMES[3:9]}
    x = asked.get(name, np.linspace(0, 1, 33))
    for nu in (0, 1):
        assert np.array_equal(again(x, nu), post(x, nu))
        assert np.array_equal(again.std(x, nu), post.std(x, nu))
        assert np.array_equal(again.sample(x, nu, 3, rng=0), post.sample(x, nu, 3, rng=0))
    assert again.log_evidence == post.log_evidence
    assert again.noise == post.noise
    assert again.dof == post.dof
    assert again.data.origin == post.data.origin
    assert again.data.zone == post.data.zone == ("Europe/Berlin" if "zone" in name else None)
    assert [p.name for p in tmp_path.iterdir()] == ["fit.npz"]


def test_doubts_of_the_noise_stay_with_the_fit(tmp_path):
    x = np.linspace(0, 6, 100)
    data = sd.observe(x, np.sin(x) + 0.1 * np.random.default_rng(0).standard_normal(100), 0.01)
    with pytest.warns(sd.NoiseWarning):
        post = sd.smooth(data)
    assert post.notes
    post.save(tmp_path / "fit.npz")
    assert sd.load(tmp_path / "fit.npz").notes == post.notes


@pytest.mark.parametrize(
    "model",
    [None, sd.SmoothingSpline(3), sd.RegressionSpline(degree=5), sd.AdaptiveSpline(3)],
    ids=["default", "smoothing", "regression", "adaptive"],
)
def test_how_it_was_tuned_is_kept(model, tmp_path):
    post = sd.smooth(mixed_data(known=False, n=(60, 40, 0)), model)
    post.save(tmp_path / "fit.npz")
    again = sd.load(tmp_path / "fit.npz")
    assert again.summary() == post.summary()
    assert "Tuned" in again.summary()
    one, two = post.model.tuning, again.model.tuning
    assert two.tried == one.tried
    for a, b in zip(one.curve, two.curve, strict=True):
        assert np.array_equal(a, b)
    assert sd.plot_tuning(again).shape == sd.plot_tuning(post).shape


def older(head, arrays, version):
    """Make what version 1 or 2 wrote of what is written now."""
    head["version"] = version
    del head["notes"], head["zone"], head["model"]["fields"]["tuning"]
    if version == 1:
        del arrays["weight"]


@pytest.mark.parametrize("version", [1, 2])
def test_older_files_are_read(version, tmp_path):
    post = sd.smooth(mixed_data(), sd.SmoothingSpline(order=3))
    post.save(tmp_path / "fit.npz")
    rewrite(tmp_path / "fit.npz", lambda head, arrays: older(head, arrays, version))
    again = sd.load(tmp_path / "fit.npz")
    assert again(0.3) == post(0.3)
    assert again.model.tuning is None


def test_a_surface_is_restored_too(tmp_path):
    places = np.random.default_rng(0).uniform(size=(30, 2))
    data = sd.observe(places, places.sum(axis=1), 0.1) + sd.observe(
        places, np.ones(30), 0.1, (1, 0)
    )
    kernel = sd.kernels.SquaredExponential(scale=(0.5, 0.8), sigma=1.0)
    post = sd.GaussianProcess(kernel).condition(data)
    post.save(tmp_path / "fit.npz")
    ask = np.array([[0.2, 0.3], [0.7, 0.1]])
    assert np.array_equal(sd.load(tmp_path / "fit.npz").gradient(ask).cov, post.gradient(ask).cov)


def test_damaged_and_foreign_files_are_refused(tmp_path):
    post = POSTERIORS["plain"]()
    good = tmp_path / "good.npz"
    post.save(good)
    raw = good.read_bytes()
    bad = tmp_path / "bad.npz"
    for content in (raw[: len(raw) // 2], b"", b"hello", pickle.dumps([1, 2])):
        bad.write_bytes(content)
        with pytest.raises(ValueError, match="not a posterior saved by smoothderiv, or damaged"):
            sd.load(bad)
    np.savez(bad, x=np.zeros(3))
    with pytest.raises(ValueError, match="not a posterior"):
        sd.load(bad)
    with pytest.raises(FileNotFoundError):
        sd.load(tmp_path / "none.npz")


def test_the_file_of_a_stream_is_told(tmp_path):
    stream = sd.SmoothingSpline(order=2, q=1.0).stream()
    stream.update(0.0, 1.0, 0.1)
    stream.save(tmp_path / "stream.npz")
    with pytest.raises(ValueError, match="holds a stream, not a posterior; read it by") as caught:
        sd.load(tmp_path / "stream.npz")
    module, kind, verb = str(caught.value).rpartition(" ")[2].rsplit(".", 2)
    load = getattr(getattr(importlib.import_module(module), kind), verb)
    assert len(load(tmp_path / "stream.npz")) == 1


def test_a_bit_that_flips_is_refused_or_changes_nothing(tmp_path):
    """A file is checked by its sums, but for what numpy does not read of it."""
    post, path = POSTERIORS["plain"](), tmp_path / "fit.npz"
    post.save(path)
    raw, refused = path.read_bytes(), 0
    for at in range(0, len(raw), 5):
        path.write_bytes(raw[:at] + bytes([raw[at] ^ (1 << at % 8)]) + raw[at + 1 :])
        try:
            assert sd.load(path)(0.3) == post(0.3)
        except ValueError:
            refused += 1
    assert refused > len(raw) // 10


@pytest.mark.parametrize("mask", [0o022, 0o077])
def test_a_file_may_be_read_by_those_whom_the_umask_lets(mask, tmp_path):
    before = os.umask(mask)
    try:
        POSTERIORS["plain"]().save(tmp_path / "fit.npz")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "fit.npz").stat().st_mode) == 0o666 & ~mask


def rewrite(path, change):
    with np.load(path) as file:
        arrays = dict(file)
    head = json.loads(str(arrays["head"]))
    change(head, arrays)
    arrays["head"] = np.array(json.dumps(head))
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda head, _: head.update(version=99), "version 99"),
        (lambda head, _: head.update(format="other"), "format 'other'"),
        (lambda head, _: head["model"].update({"class": "Path"}), "damaged, 'Path'"),
        (lambda head, _: head["model"]["fields"].update(evil=1), "damaged"),
        (lambda head, _: head.pop("origin"), "damaged"),
        (lambda head, _: head.pop("version"), "not a posterior .* or damaged"),
    ],
)
def test_files_that_were_tampered_with_are_refused(change, words, tmp_path):
    path = tmp_path / "fit.npz"
    POSTERIORS["plain"]().save(path)
    rewrite(path, change)
    with pytest.raises(ValueError, match=words):
        sd.load(path)


def test_objects_in_a_file_are_not_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit",))

    path = tmp_path / "bomb.npz"
    np.savez(path, head=np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="not a posterior"):
        sd.load(path)


def test_a_save_that_fails_leaves_nothing(tmp_path):
    post = POSTERIORS["plain"]()
    for path, kind in ((tmp_path / "none" / "fit.npz", FileNotFoundError), (tmp_path, OSError)):
        with pytest.raises(kind) as caught:
            post.save(path)
        assert caught.value.filename == str(path)
    assert not list(tmp_path.iterdir())


def test_what_a_link_leads_to_is_written(tmp_path):
    link, file = tmp_path / "link.npz", tmp_path / "below" / "fit.npz"
    file.parent.mkdir()
    link.symlink_to("below/fit.npz")
    for post in (POSTERIORS["plain"](), POSTERIORS["derivative"]()):
        post.save(link)
        assert link.is_symlink()
        assert sd.load(file)(0.3) == post(0.3)
