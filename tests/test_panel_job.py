"""Laws of ``smoothderiv panel``: what Python gives, whole or not at all, and never twice."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_cli import HERE, refused, run

import smoothderiv as sd
from smoothderiv._command import panel_job

COLUMNS = ["--by", "id", "--x", "t", "--y", "pos:0", "--y", "vel:1", "--yerr", "vel=0.2"]
QUICK = [*COLUMNS, "--order", 3, "--grid", 5, "--workers", 1]


def table(count, n=40):
    rng = np.random.default_rng(5)
    t = np.tile(np.linspace(0, 5, n), count)
    pos = np.round(np.sin(t) + 0.1 * rng.standard_normal(len(t)), 4)
    vel = np.round(np.cos(t) + 0.2 * rng.standard_normal(len(t)), 4)
    ids = np.repeat([f"run {i}" for i in range(count)], n)
    return pd.DataFrame({"id": ids, "t": t, "pos": pos, "vel": vel})


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Stand in a folder with many.parquet and many.csv, of six series."""
    monkeypatch.chdir(tmp_path)
    frame = table(6)
    frame.to_parquet("many.parquet")
    frame.to_csv("many.csv", index=False)
    return tmp_path


def expected(frame):
    model = sd.SmoothingSpline(order=3)
    y, yerr = {"pos": 0, "vel": 1}, {"vel": 0.2}
    return sd.smooth_panel(frame, "id", "t", y, yerr, at=5, model=model, workers=1)


def assert_same(found, wanted):
    pd.testing.assert_frame_equal(found, wanted, check_dtype=False, rtol=1e-12)


@pytest.mark.parametrize("source", ["many.parquet", "many.csv"])
def test_it_writes_what_python_gives(here, source):
    result = run("panel", source, *QUICK, "--out", "out.parquet")
    assert result.exit_code == 0, result.output
    assert_same(pd.read_parquet("out.parquet"), expected(table(6)))
    assert f"{source}: 6 series\n" in result.stdout
    assert "Written: out.parquet" in result.stdout
    assert not (here / "out.parquet.parts").exists()


def test_names_of_series_are_as_they_are_written(here):
    """As numbers or missing values some would be one."""
    names = ["001", "1", "NA", "null", "1e3", "1000", ""]
    frame = table(len(names))
    frame["id"] = np.repeat(names, 40)
    frame.to_csv("named.csv", index=False)
    result = run("panel", "named.csv", *QUICK, "--out", "out.csv")
    assert result.exit_code == 0, result.output
    assert "7 series" in result.stdout
    found = pd.read_csv("out.csv", dtype={"id": str}, keep_default_na=False)
    assert list(dict.fromkeys(found["id"])) == names


def test_a_stream_gets_the_table_alone(here):
    result = run("panel", "-", *QUICK, stdin=(here / "many.csv").read_bytes())
    assert result.stdout.startswith("id,t,mean_0,std_0,")
    assert len(result.stdout.splitlines()) == 31
    assert "series" in result.stderr
    assert "\x1b" not in result.stderr  # no bar in a pipe
    assert "━" not in result.stderr


def test_derivatives_by_times_are_per_second(here):
    frame = table(2)
    frame["t"] = pd.Timestamp("2024-03-01") + pd.to_timedelta(frame["t"], "s")
    frame.to_parquet("clock.parquet")
    result = run("panel", "clock.parquet", *QUICK)
    assert "Units: mean_1 per s (column 't' holds times, which count in seconds)" in result.stderr


def test_a_bad_series_is_noted(here):
    frame = table(3)
    frame.loc[50, "pos"] = np.inf
    frame.to_parquet("bad.parquet")
    result = run("panel", "bad.parquet", *QUICK, "--out", "out.csv")
    assert result.exit_code == 0
    assert "Note: 1 could not be fitted" in result.stdout
    out = pd.read_csv("out.csv")
    assert out.error.dropna().iloc[0].startswith("column 'pos': row 50 is inf")
    assert len(out) == 11


def test_sharing_is_offered(here):
    options = ["--by", "id", "--x", "t", "--y", "pos:0", "--order", 3, "--grid", 5, "--share"]
    run("panel", "many.parquet", *options, "--out", "out.parquet")
    model = sd.SmoothingSpline(order=3)
    wanted = sd.smooth_panel(table(6), "id", "t", "pos", at=5, model=model, share="tuning")
    assert_same(pd.read_parquet("out.parquet"), wanted)


SLOWLY = """
import time
from smoothderiv import cli
from smoothderiv._command import panel_job
honest = panel_job.Panel.answers
def answers(*arguments):
    for found in honest(*arguments):
        time.sleep(0.05)
        yield found
panel_job.Panel.answers, panel_job._SERIES = answers, 2
cli.main()
"""


def test_a_run_that_is_killed_leaves_whole_parts_and_goes_on(here):
    arguments = ["panel", "many.parquet", *map(str, QUICK), "--out", "out.parquet"]
    killed = subprocess.Popen([sys.executable, "-W", "error", "-c", SLOWLY, *arguments], env=HERE)
    folder = here / "out.parquet.parts"
    while not list(folder.glob("*.parquet")):
        assert killed.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not (here / "out.parquet").exists()
    parts = [pd.read_parquet(path) for path in folder.glob("*.parquet")]
    done = sum(part.id.nunique() for part in parts)
    assert 0 < done < 6
    assert sum(map(len, parts)) == 5 * done
    result = run(*arguments)
    assert f"6 series, {done} of them done before" in result.stdout
    assert not folder.exists()
    assert_same(pd.read_parquet("out.parquet"), expected(table(6)))


def test_finished_series_are_not_done_again(here, monkeypatch):
    wanted, asked = expected(table(6)), []

    def answers(self, question, numbers, workers=None):
        for number in numbers:
            if len(asked) == 4:
                raise KeyboardInterrupt
            asked.append(number)
            yield from honest(self, question, [number], 1)

    honest = panel_job.Panel.answers
    monkeypatch.setattr(panel_job, "_SERIES", 2)
    monkeypatch.setattr(panel_job.Panel, "answers", answers)
    words = refused(run("panel", "many.parquet", *QUICK, "--out", "out.parquet"))
    assert words == (
        "interrupted; 4 of 6 series are in out.parquet.parts, from which the same command goes on"
    )
    assert not (here / "out.parquet").exists()
    other = refused(run("panel", "many.parquet", *QUICK, "--nu", "0", "--out", "out.parquet"))
    assert other.startswith("out.parquet.parts: holds the parts of a run with other data or")
    asked.clear()
    assert run("panel", "many.parquet", *QUICK, "--out", "out.parquet").exit_code == 0
    assert asked == [4, 5]
    assert_same(pd.read_parquet("out.parquet"), wanted)


def test_two_runs_at_once_count_once(here):
    frame = table(6)
    columns = panel_job.Columns("t", ["pos:0"], [], False, False)
    panel = panel_job._read(panel_job.Source.read("many.parquet"), ["id"], columns)
    wanted = panel_job.Wanted((0,), 3, 0.95, 3, False, 1)
    found = sorted(panel.answers(wanted.question(panel), range(6), 1))
    parts = panel_job.Parts.of("out.csv", "same", False)
    for group in (found[:4], found[2:], found[:1]):
        parts.add(panel_job._labelled(panel, group, (0,)))
    table_ = parts.table()
    assert table_["id"].to_pylist() == [name for name in frame.id.unique() for _ in range(3)]
    parts.remove()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            [*COLUMNS[2:], "--by", "name"],
            "many.csv: column 'name' is not in the table; it has 'id'",
        ),
        (["--by", "id", "--x", "t"], "--y: name the columns of observations"),
        ([*COLUMNS, "--by", "id"], "many.csv: by: ['id', 'id'], but columns are needed"),
        ([*COLUMNS, "--nu", 5, "--order", 2], "--nu 5: smoothing splines of --order 2 have deriv"),
        ([*COLUMNS, "--level", "95"], "many.csv: level: 95.0 is not a probability"),
        ([*COLUMNS, "--out", "out.xls"], "out.xls: the ending tells the format"),
        ([*COLUMNS, "--out", "no/out.csv"], "no/out.csv: there is no folder no"),
    ],
)
def test_what_is_typed_wrong_is_refused_in_one_line(here, options, words):
    before = sorted(here.iterdir())
    assert refused(run("panel", "many.csv", *options)).startswith(words)
    assert sorted(here.iterdir()) == before


def test_bad_cells_are_named_by_line(here):
    Path("word.csv").write_text("id,t,pos,vel\na,0,1,\na,1,oops,\n")
    words = refused(run("panel", "word.csv", *QUICK))
    assert words.startswith("word.csv: line 3, column 'pos' is 'oops', which is not a number")


def test_progress_is_shown_on_a_terminal_alone(here):
    """A bar with its count on a pseudo terminal; in a pipe nothing but words."""
    pty = pytest.importorskip("pty")  # of POSIX
    command = [sys.executable, "-W", "error", "-m", "smoothderiv.cli", "panel", "many.parquet"]
    command += list(map(str, QUICK))
    upper, lower = pty.openpty()
    env = HERE | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(
        [*command, "--out", "seen.parquet"], stdin=lower, stdout=lower, stderr=lower, env=env
    ) as shown:
        os.close(lower)
        said = b""
        while True:
            try:
                more = os.read(upper, 4096)
            except OSError:  # how Linux tells that the other side is closed
                break
            if not more:
                break
            said += more
    os.close(upper)
    assert shown.returncode == 0, said.decode()
    assert "6/6" in said.decode()
    assert "━" in said.decode()
    silent = run("panel", "many.parquet", *QUICK, "--out", "out.parquet")
    assert not set("━\x1b\r") & set(silent.output)
    assert "Written: out.parquet" in silent.stdout
    assert_same(pd.read_parquet("seen.parquet"), pd.read_parquet("out.parquet"))
