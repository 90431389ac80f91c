"""Laws of the command line: a table in, the posterior's table out, whole or not at all."""

import io
import itertools
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv as pa_csv
from pyarrow import parquet as pa_parquet
from typer.testing import CliRunner

import smoothderiv as sd
from smoothderiv import _demo, cli
from smoothderiv._command import job
from smoothderiv._command.columns import Columns
from smoothderiv._units import with_unit

WIDE = ["--x", "t", "--y", "pos:0", "--y", "vel:1", "--yerr", "pos=0.1", "--yerr", "vel=vel_err"]
HERE = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
SMALL = ["--grid", "7", "--nu", "0", "--nu", "1"]


def run(*arguments, stdin=None):
    return CliRunner().invoke(cli.app, [str(a) for a in arguments], input=stdin)


def refused(result):
    """Check the manners of a refusal; return its one line."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("smoothderiv: ")
    return line.removeprefix("smoothderiv: ")


@pytest.fixture(scope="module")
def columns():
    rng = np.random.default_rng(2)
    t = np.round(np.linspace(0, 5, 26), 1)
    pos = np.round(np.sin(t) + 0.1 * rng.standard_normal(26), 3)
    speed = np.round(np.cos(t) + 0.05 * rng.standard_normal(26), 3)
    vel = np.where(np.arange(26) % 2, np.nan, speed)
    return {
        "t": t,
        "pos": pos,
        "vel": vel,
        "vel_err": np.where(np.isnan(vel), np.nan, 0.05),
    }


@pytest.fixture
def here(tmp_path, monkeypatch, columns):
    """Stand in an empty folder but for data.csv, data.tsv and data.parquet."""
    monkeypatch.chdir(tmp_path)
    table = pa.table({k: pa.array(v, from_pandas=True) for k, v in columns.items()})
    pa_csv.write_csv(table, "data.csv")
    pa_csv.write_csv(table, "data.tsv", pa_csv.WriteOptions(delimiter="\t"))
    pa_parquet.write_table(table, "data.parquet")
    return tmp_path


@pytest.fixture(scope="module")
def expected(columns):
    """What Python says of the same table, as the columns of the answer."""
    data = sd.Observations.from_frame(
        pa.table(columns), "t", {"pos": 0, "vel": 1}, {"pos": 0.1, "vel": "vel_err"}
    )
    post, t = sd.smooth(data), np.linspace(0, 5, 7)
    answer = {"t": t}
    for nu in (0, 1):
        lower, upper = post.interval(t, nu, level=0.8)
        answer |= {f"mean_{nu}": post(t, nu), f"std_{nu}": post.std(t, nu)}
        answer |= {f"lower_{nu}": lower, f"upper_{nu}": upper}
    return answer


def assert_answers(table, expected):
    assert table.column_names == list(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values, rtol=1e-12, atol=1e-15, err_msg=name)


# A table in, a table out


@pytest.mark.parametrize("source", ["data.csv", "data.tsv", "data.parquet", "-"])
def test_every_format_in_gives_what_python_gives(here, source, expected):
    stdin = (here / "data.csv").read_bytes() if source == "-" else None
    result = run("fit", source, *WIDE, *SMALL, "--level", 0.8, stdin=stdin)
    assert result.exit_code == 0, result.output
    assert_answers(pa_csv.read_csv(io.BytesIO(result.stdout.encode())), expected)
    assert "26  0.1 (given)" in result.stderr.replace("    ", "  ")


@pytest.mark.parametrize("name", ["data.tsv", "data.parquet"])
def test_standard_input_is_told_by_its_first_bytes(here, name, expected):
    result = run("fit", "-", *WIDE, *SMALL, "--level", 0.8, stdin=(here / name).read_bytes())
    assert_answers(pa_csv.read_csv(io.BytesIO(result.stdout.encode())), expected)


@pytest.mark.parametrize(
    ("out", "read"),
    [
        ("fit.csv", pa_csv.read_csv),
        (
            "fit.tsv",
            lambda f: pa_csv.read_csv(f, parse_options=pa_csv.ParseOptions(delimiter="\t")),
        ),
        ("fit.parquet", pa_parquet.read_table),
    ],
)
def test_every_format_out(here, out, read, expected):
    result = run("fit", "data.csv", *WIDE, *SMALL, "--level", 0.8, "--out", out)
    assert result.exit_code == 0
    assert_answers(read(out), expected)
    assert f"Written: {out}" in result.stdout


def test_a_long_table_says_what_the_wide_one_says(here, columns, expected):
    t, pos, vel = (columns[name] for name in ("t", "pos", "vel"))
    seen = ~np.isnan(vel)
    long = {
        "x": np.concatenate((t, t[seen])),
        "y": np.concatenate((pos, vel[seen])),
        "nu": np.repeat([0, 1], (26, seen.sum())),
        "yerr": np.repeat([0.1, 0.05], (26, seen.sum())),
    }
    pa_csv.write_csv(pa.table(long), "long.csv")
    result = run("fit", "long.csv", "--long", *SMALL, "--level", 0.8)
    answer = pa_csv.read_csv(io.BytesIO(result.stdout.encode()))
    assert_answers(answer, {"x": expected["t"]} | {k: v for k, v in expected.items() if k != "t"})


def columns_of(table):
    return {name: table[name].to_numpy() for name in table.column_names}


@pytest.mark.parametrize(
    ("layout", "sign"), [("; , latin-1", ";"), ("tab , utf-8", "\t"), ("; , utf-16", ";")]
)
def test_loggers_of_other_countries(here, expected, layout, sign):
    """Semicolons, decimal commas, another encoding, comments, blanks, words for missing cells."""
    delimiter, decimal, encoding = layout.split()
    with open("data.csv") as file:
        head, *rows = [line.strip().split(",") for line in file]
    missing = itertools.cycle(["N/A", "NA", "-", "nan", "", " - ", "---", "NaN"])
    cells = [[cell.replace(".", ",") or next(missing) for cell in row] for row in rows]
    lines = ["# Gerät 5", "#", f" {sign} ".join(head), *map(sign.join, cells)]
    (here / "logger.txt").write_bytes("\r\n".join(lines).replace('"', "").encode(encoding))
    options = ["--delimiter", delimiter, "--decimal", decimal, "--encoding", encoding]
    result = run("fit", "logger.txt", *options, *WIDE, *SMALL, "--level", 0.8)
    assert result.exit_code == 0, result.output
    assert_answers(pa_csv.read_csv(io.BytesIO(result.stdout.encode())), expected)


def test_comments_above_the_header_are_skipped(here, columns):
    """Lines keep their numbers; what numpy writes has its header in the last of them."""
    (here / "notes.csv").write_text("# a, b\n# c\nt,pos\n0,1\n1,oops\n")
    assert refused(run("fit", "notes.csv", *POS)).startswith("notes.csv: line 5, column 'pos'")
    table = np.column_stack((columns["t"], columns["pos"]))
    np.savetxt("numpy.csv", table, delimiter=",", header="of a run\nt,pos")
    answer = run("fit", "numpy.csv", *POS, *SMALL)
    plain = run("fit", "data.csv", *POS, *SMALL)
    got, wanted = (pa_csv.read_csv(io.BytesIO(r.stdout.encode())) for r in (answer, plain))
    assert_answers(got, columns_of(wanted))


def test_angles_in_degrees(here):
    t = np.linspace(0, 10, 60)
    pa_csv.write_csv(pa.table({"t": t, "heading": np.mod(90 * t, 360)}), "turns.csv")
    options = ["--x", "t", "--y", "heading", *SMALL, "--circular", 360, "--out", "fit.csv"]
    assert run("fit", "turns.csv", *options).exit_code == 0
    np.testing.assert_allclose(pa_csv.read_csv("fit.csv")["mean_1"], 90, rtol=1e-6)


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_table_and_picture(here, ending):
    picture = f"fit.{ending}"
    result = run("fit", "data.csv", *WIDE, "--out", "fit.csv", "--plot", picture, "--x-unit", "s")
    assert result.exit_code == 0
    head = (here / picture).read_bytes()[:100]
    assert {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending] in head
    assert len(pa_csv.read_csv("fit.csv")) == 200
    assert f"Written: fit.csv, {picture}" in result.stdout


def test_a_picture_alone_writes_no_table(here):
    result = run("fit", "data.csv", *WIDE, *SMALL, "--plot", "fit.png")
    assert result.exit_code == 0, result.output
    assert "t,mean_0" not in result.stdout
    assert "Written: fit.png" in result.stdout
    both = run("fit", "data.csv", *WIDE, *SMALL, "--plot", "fit.png", "--force", "--out", "-")
    assert len(pa_csv.read_csv(io.BytesIO(both.stdout.encode()))) == 7
    assert "Written: fit.png" in both.stderr


def test_the_picture_names_columns_and_units(here, monkeypatch):
    seen = []
    monkeypatch.setattr("matplotlib.pyplot.close", seen.append)
    words = ["--x-unit", "s", "--y-unit", "m"]
    result = run("fit", "data.csv", *WIDE, *words, "--plot", "fit.png")
    assert "Units: mean_0 m, mean_1 m/s, mean_2 m/s²" in result.stdout
    (figure,) = seen
    assert [ax.get_ylabel() for ax in figure.axes] == ["pos (m)", "vel (m/s)", "vel′ (m/s²)"]  # noqa: RUF001
    assert figure.axes[-1].get_xlabel() == "t (s)"


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (Columns("t", ["a:0"], [], False, False), ["a", "a′", "a″"]),  # noqa: RUF001
        (Columns("t", ["a:0", "b:0"], [], False, False), ["a, b", "f′", "f″"]),  # noqa: RUF001
        (Columns("t", ["b:1"], [], False, False), ["f", "b", "b′"]),  # noqa: RUF001
        (Columns("x", [], [], True, False), ["y", "y′", "y″"]),  # noqa: RUF001
    ],
)
def test_derivatives_are_named_by_the_columns_that_observe_them(columns, names):
    assert [columns.name(nu) for nu in range(3)] == names


@pytest.mark.parametrize(
    ("name", "unit", "label"),
    [
        ("Time (min)", "min", "Time (min)"),
        ("Absorbance [AU]", "AU", "Absorbance (AU)"),
        ("Absorbance [AU]′", "AU/min", "Absorbance′ (AU/min)"),  # noqa: RUF001
        ("pos (raw)", "m", "pos (raw) (m)"),
        ("Time (min)", None, "Time (min)"),
    ],
)
def test_a_column_that_has_its_unit_in_its_name_does_not_repeat_it(name, unit, label):
    assert with_unit(name, unit) == label


def test_the_summary_tells_noise_and_what_was_tuned(here):
    result = run("fit", "data.csv", *WIDE[:6], "--yerr", "pos=0.1", *SMALL, "--out", "fit.csv")
    assert "data.csv: 39 observations, 13 empty cells" in result.stdout
    assert "(estimated, " in result.stdout
    assert "Model: average of " in result.stdout
    assert " % GaussianProcess(" in result.stdout
    assert "Effective degrees of freedom: " in result.stdout
    relative = run("fit", "data.csv", "--relative", *WIDE, *SMALL, "--out", "other.csv")
    assert "times yerr (estimated, " in relative.stdout


@pytest.mark.parametrize(
    ("first", "step", "written"),
    [
        ("2024-03-01T00:00:00Z", "m8[h]", "2024-03-01 00:00:00.000000Z"),
        ("2024-03-01 00:00:00", "m8[s]", "2024-03-01 00:00:00.000000"),
        ("2024-03-01", "m8[D]", "2024-03-01 00:00:00.000000"),
    ],
)
def test_times_come_back_as_times(here, first, step, written):
    times = np.datetime64(first.rstrip("Z")) + np.arange(20).astype(step)
    zone = "Z" if first.endswith("Z") else ""
    rows = [f"{t}{zone},{np.sin(i / 3):.4f}" for i, t in enumerate(times)]
    result = run("fit", "-", "--y", "y", "--grid", 20, stdin="\n".join(["x,y", *rows]))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.splitlines()[1].startswith(f"{written},")
    answer = pa_csv.read_csv(io.BytesIO(result.stdout.encode()))
    np.testing.assert_array_equal(answer["x"].to_numpy().astype(times.dtype), times)
    assert "Units: mean_1 per s, mean_2 per s² (column 'x' holds times" in result.stderr


def test_the_picture_of_zoned_times_names_their_zone(here, monkeypatch):
    seen = []
    monkeypatch.setattr("matplotlib.pyplot.close", seen.append)
    hours = np.datetime64("2026-06-01", "us") + np.arange(20) * np.timedelta64(1, "h")
    times = pa.array(hours).cast(pa.timestamp("us", "Europe/Berlin"))
    table = pa.table({"when": times, "y": np.sin(np.arange(20) / 3)})
    pa_parquet.write_table(table, "clock.parquet")
    run("fit", "clock.parquet", "--x", "when", "--y", "y", "--plot", "fit.png")
    assert seen[0].axes[-1].get_xlabel() == "when (Europe/Berlin)"


def test_derivatives_by_times_are_per_second(here):
    times = np.datetime64("2024-03-01T00:00:00") + np.arange(20) * np.timedelta64(3600, "s")
    table = pa.table({"x": times, "y": np.sin(np.arange(20) / 3)})
    pa_parquet.write_table(table, "clock.parquet")
    assert run("fit", "clock.parquet", "--y", "y", "--y-unit", "m").stderr.count("mean_1 m/s,") == 1
    words = refused(run("fit", "clock.parquet", "--y", "y", "--x-unit", "h"))
    assert words.startswith("--x-unit h: column 'x' holds times, and derivatives are then per sec")
    pa_parquet.write_table(table.set_column(0, "x", pa.array(np.arange(20.0) / 3)), "plain.parquet")
    assert "Units" not in run("fit", "plain.parquet", "--y", "y").stderr


# Refusals: one line, status 2, nothing written


TABLES = {
    "semicolons.csv": "t;A\n0;1,5\n1;2,5\n",
    "tabs.csv": "t\tA\n0\t1\n",
    "word.csv": "t,pos\n0,1\n\n1,oops\n2,3\n",
    "quoted.csv": 't,note,pos\n0,"two\nlines",1\n1,,oops\n',
    "windows.csv": "t,pos\r\n0,1\r\n1,oops\r\n",
    "mark.csv": "\ufefft,pos\n0,1\n1,oops\n",
    "late.csv": "t,pos\n" + "1,2\n" * 300_000 + "1,oops\n",
    "neg.csv": "t,pos,e\n0,1,0.1\n1,2,-0.1\n",
    "inf.csv": "t,pos\n0,1\n1,inf\n",
    "gap.csv": "t,pos\n0,1\n,2\n",
    "ragged.csv": "t,pos\n0,1.5\n0,1,5\n",
    "twice.csv": "t,t,pos\n0,1,2\n",
    "title.csv": "Export of 5 May\nt,pos\n0,1.5\n",
    "commas.tsv": "t\tpos\n0,5\t1,5\n1,0\t2,5\n",
    "points.csv": "t;pos\n0,5;1,5\n1,0;1.234\n2,0;oops\n",
    "dates.csv": "t;pos\n01.02.2026 10:00;1,5\n01.02.2026 11:00;2,5\n",
    "blanks.csv": "t, pos,pos\n0,1,2\n1,2,3\n",
    "none.csv": "",
    "head.csv": "t,pos\n",
    "empty.csv": "t,pos\n0,\n1,\n",
    "one.csv": "t,pos\n0,1\n",
    "order.csv": "x,y,nu\n0,1,0\n1,2,1\n2,3,0.5\n",
    "fake.parquet": "t,pos\n0,1\n",
    "text.txt": "t,pos\n0,1\n",
}
POS = ["--x", "t", "--y", "pos:0"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        (
            "word.csv",
            POS,
            "word.csv: line 4, column 'pos' is 'oops', which is not a number; correct",
        ),
        ("quoted.csv", POS, "quoted.csv: line 4, column 'pos' is 'oops'"),
        ("windows.csv", POS, "windows.csv: line 3, column 'pos' is 'oops'"),
        ("mark.csv", POS, "mark.csv: line 3, column 'pos' is 'oops'"),
        ("late.csv", POS, "late.csv: line 300002, column 'pos' is 'oops'"),
        ("neg.csv", [*POS, "--yerr", "pos=e"], "neg.csv: line 3, column 'e' is -0.1, but"),
        ("inf.csv", POS, "inf.csv: line 3, column 'pos' is inf, but every entry must be finite"),
        ("gap.csv", POS, "gap.csv: line 3, column 't' is nan"),
        ("ragged.csv", POS, "ragged.csv: line 3 has 3 cells, but the header has 2; correct"),
        (
            "title.csv",
            POS,
            "title.csv: line 2 has 2 cells, but the header has 1; if line 1 is a title and not",
        ),
        (
            "commas.tsv",
            POS,
            "commas.tsv: line 2, column 't' is '0,5'; if that is a number with a decimal comma, "
            "give --decimal ,",
        ),
        (
            "points.csv",
            [*POS, "--delimiter", ";", "--decimal", ","],
            "points.csv: line 3, column 'pos' is '1.234', which is not a number with a decimal com",
        ),
        (
            "blanks.csv",
            ["--x", "t", "--y", "place"],
            "blanks.csv: column 'place' is not in the table; it has 't', ' pos', 'pos'",
        ),
        ("data.csv", [*POS, "--delimiter", ";;"], "--delimiter ;;: not one sign, such as ';'"),
        ("data.csv", [*POS, "--decimal", "'"], "--decimal ': decimal signs are . and ,"),
        ("data.csv", [*POS, "--encoding", "klingon"], "--encoding klingon: unknown; give one"),
        (
            "data.parquet",
            [*POS, "--decimal", ","],
            "data.parquet: --delimiter, --decimal and --encoding are for text, but this is Parq",
        ),
        ("twice.csv", POS, "twice.csv: column 't' occurs twice; rename"),
        ("none.csv", POS, "none.csv: not a table of comma-separated text"),
        ("head.csv", POS, "head.csv: no cell to fit in --y pos:0"),
        ("empty.csv", POS, "empty.csv: no cell to fit in --y pos:0 (2 are empty)"),
        ("one.csv", POS, "one.csv: noise[0]: row 0 alone is of order 0, with unknown noise"),
        ("order.csv", ["--long"], "order.csv: line 4, column 'nu' is 0.5, but the order"),
        ("fake.parquet", POS, "fake.parquet: not a Parquet file"),
        ("text.txt", POS, "text.txt: the ending tells the format; use one of .csv, .tsv"),
        ("text.txt", [*POS, "--delimiter", "tab"], "text.txt: the header is one cell, 't,pos'; is"),
        ("absent.csv", POS, "absent.csv: No such file or directory"),
        (
            "semicolons.csv",
            ["--x", "t", "--y", "A"],
            "semicolons.csv: the header is one cell, 't;A'; is it separated by ';'? give "
            "--delimiter ';', and --decimal , if its numbers have decimal commas",
        ),
        (
            "tabs.csv",
            ["--x", "t", "--y", "A"],
            r"tabs.csv: the header is one cell, 't\tA'; is it sep",
        ),
        ("data.csv", ["--x", "tt", "--y", "pos"], "data.csv: column 'tt' is not in the table; it"),
        (
            "data.csv",
            ["--x", "t"],
            "--y: name the columns of observations, such as --y pos:0 --y vel:1; data.csv has 't'",
        ),
        ("data.csv", ["--x", "t", "--y", "pos:first"], "--y pos:first: not COLUMN:ORDER"),
        ("data.csv", [*POS, "--y", "pos:1"], "--y pos:1: column 'pos' is named twice"),
        ("data.csv", [*POS, "--relative"], "--relative: is about the sizes of the noise; give"),
        (
            "dates.csv",
            [*POS, "--delimiter", ";", "--decimal", ","],
            "dates.csv: line 2, column 't' is '01.02.2026 10:00', which is not a number with a "
            "decimal comma, as --decimal says; dates are read in ISO form alone, such as",
        ),
        (
            "dates.csv",
            [*POS, "--delimiter", ";"],
            "dates.csv: line 2, column 't' is '01.02.2026 10:00'; dates are read in ISO form alone",
        ),
        ("data.csv", [*POS, "--nu", "0,x"], "--nu 0,x: not orders of derivatives; type --nu 0"),
        ("data.csv", [*POS, "--robust", "maybe"], "--robust maybe: not auto, yes or no"),
        ("data.csv", [*POS, "--yerr", "pos"], "--yerr pos: not COLUMN=NUMBER or COLUMN=COLUMN"),
        ("data.csv", [*POS, "--yerr", "vel=1"], "--yerr vel=1: 'vel' is not among the columns"),
        ("data.csv", [*POS, "--yerr", "pos=-1"], "--yerr pos=-1: a standard deviation is a number"),
        (
            "data.csv",
            ["--y", "a=b", "--y", "a", "--yerr", "a=b=e"],
            "--yerr a=b=e: may be of column 'a=b' or 'a'; rename one",
        ),
        ("data.csv", [*POS, "--grid", "1000000000000"], "out of memory (Unable to allocate"),
        ("data.csv", [*POS, "--level", "95"], "--level 95.0: not a probability"),
        ("data.csv", [*POS, "--circular", "0"], "--circular 0.0: not a period of angles, such"),
        ("data.csv", [*POS, "--out", "no/fit.csv"], "no/fit.csv: there is no folder no"),
        ("data.csv", [*POS, "--out", "fit.xls"], "fit.xls: the ending tells the format"),
        ("data.csv", [*POS, "--plot", "fit.xls"], "fit.xls: the ending tells the format"),
        ("data.csv", [*POS, "--out", "data.csv", "--force"], "data.csv: is the input"),
        ("data.csv", ["--x", "t", "--y", "vel:1"], "data.csv: "),
    ],
)
def test_bad_input_is_refused_in_one_line(here, name, options, words):
    if name in TABLES:
        (here / name).write_bytes(TABLES[name].encode())
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    out = [] if "--out" in options else ["--out", "out.csv"]
    assert refused(run("fit", name, *options, *out)).startswith(words)
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


@pytest.mark.parametrize(("y", "yerr"), [("a=b", "e"), ("a=b", "e=f"), ("a", "b=e")])
def test_columns_may_hold_the_sign_of_equality(here, y, yerr):
    columns = {"x": np.arange(9.0), y: np.arange(9.0) ** 2, yerr: np.full(9, 0.25)}
    pa_parquet.write_table(pa.table(columns), "equals.parquet")
    result = run("fit", "equals.parquet", "--y", y, "--yerr", f"{y}={yerr}", "--out", "out.csv")
    assert "0.25 (given)" in result.stdout, result.output


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
@pytest.mark.parametrize("command", [["fit"], ["panel", "--by", "vel_err", "--order", "3"]])
def test_a_full_standard_output_is_told_in_one_line(here, command):
    words = [sys.executable, "-m", "smoothderiv.cli", *command, "data.csv", *POS]
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            words, stdout=full, stderr=subprocess.PIPE, text=True, env=HERE, check=False
        )
    assert done.returncode == 2
    assert done.stderr == "smoothderiv: standard output: No space left on device\n"


def test_other_encodings_are_refused_by_line(here):
    (here / "latin.csv").write_bytes("t,pos\n0,1\n1,é\n".encode("latin-1"))
    assert refused(run("fit", "latin.csv", *POS)).startswith(
        "latin.csv: line 3 is not UTF-8 text; save the table as UTF-8, or give its --encoding"
    )


def test_rows_of_parquet_are_named_by_number(here):
    pa_parquet.write_table(pa.table({"t": [0.0, 1.0], "pos": [1.0, np.inf]}), "bad.parquet")
    words = refused(run("fit", "bad.parquet", *POS))
    assert words.startswith("bad.parquet: row 1 (counted from 0), column 'pos' is inf")


# Whole or not at all


def test_nothing_is_overwritten_without_force(here, monkeypatch):
    (here / "fit.csv").write_text("mine")
    options = [*WIDE, *SMALL, "--out", "fit.csv", "--plot", "fit.png"]
    with monkeypatch.context() as before_any_work:
        before_any_work.delattr(job, "smooth")
        words = refused(run("fit", "data.csv", *options))
    assert words.startswith("fit.csv: exists already; give --force")
    assert (here / "fit.csv").read_text() == "mine"
    assert not (here / "fit.png").exists()
    assert run("fit", "data.csv", *options, "--force").exit_code == 0
    assert (here / "fit.csv").read_text().startswith("t,mean_0,")


@pytest.mark.parametrize("fails", [ValueError("no"), RuntimeError("a bug"), KeyboardInterrupt()])
@pytest.mark.parametrize("place", ["table_writer", "smooth"])
def test_a_run_that_fails_leaves_nothing(here, monkeypatch, fails, place):
    options = [*WIDE, *SMALL, "--out", "fit.csv", "--plot", "fit.png"]
    before = sorted(here.iterdir())

    def writer(path, table):
        def write(file):
            file.write(b"half a")
            raise fails

        return write

    def smooth(data, **options):
        raise fails

    monkeypatch.setattr(job, place, {"table_writer": writer, "smooth": smooth}[place])
    assert run("fit", "data.csv", *options).exit_code != 0
    assert sorted(here.iterdir()) == before


@pytest.mark.parametrize(("name", "other"), [("fit.png", "fit.csv"), ("fit.csv", "fit.png")])
def test_a_file_that_appears_meanwhile_is_kept(here, monkeypatch, name, other):
    def smooth(data, **options):
        (here / name).write_text("mine")
        return sd.smooth(data)

    monkeypatch.setattr(job, "smooth", smooth)
    result = run("fit", "data.csv", *WIDE, *SMALL, "--out", "fit.csv", "--plot", "fit.png")
    assert refused(result).startswith(f"{name}: exists already")
    assert (here / name).read_text() == "mine"
    assert not (here / other).exists()
    assert not list(here.glob(".*"))


# The demo


def test_demo_writes_its_data_table_and_picture(here):
    result = run("demo")
    assert result.exit_code == 0, result.output
    assert sorted(p.name for p in (here / "demo").iterdir()) == ["fit.csv", "fit.png", "train.csv"]
    assert (here / "demo/train.csv").read_bytes() == _demo.TABLE
    for words in ("110 observations", "6 (given)", "(estimated, ", "Effective degrees of freedom"):
        assert words in result.stdout
    assert "Written: demo/fit.csv, demo/fit.png" in result.stdout
    answer = pa_csv.read_csv("demo/fit.csv")
    t = answer["t"].to_numpy()
    for nu in range(3):
        truth = _demo.truth(t, nu)
        inside = (truth > answer[f"lower_{nu}"]) & (truth < answer[f"upper_{nu}"])
        assert inside.mean() > 0.85
    assert refused(run("demo")).startswith("demo/train.csv: exists already")
    assert run("demo", "--force").exit_code == 0
    assert run("demo", "deep/er").exit_code == 0


def test_the_packaged_ride_is_the_simulated_one():
    assert _demo.simulate() == _demo.TABLE.decode()
    t, h = np.linspace(0, 100, 11), 1e-3
    for nu in (0, 1):
        slope = (_demo.truth(t + h, nu) - _demo.truth(t - h, nu)) / (2 * h)
        np.testing.assert_allclose(slope, _demo.truth(t, nu + 1), atol=1e-7)


# The command itself


def test_the_version_is_told():
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"smoothderiv {sd.__version__}\n")
    assert "Usage" in run().output, "without a command it tells those there are"


def test_help_is_quick_and_unknown_options_are_refused():
    code = (
        "import sys; from smoothderiv import cli; from typer.testing import CliRunner\n"
        "r = CliRunner().invoke(cli.app, ['fit', '--help']); assert r.exit_code == 0\n"
        "heavy = {'numba', 'scipy', 'matplotlib', 'pyarrow', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=HERE)
    assert run("fit", "data.csv", "--nonsense").exit_code == 2
    assert run("fit", "data.csv", "--grid", "1").exit_code == 2
    assert run("fit", "data.csv", "--nu", "-1").exit_code == 2


def test_one_column_needs_no_name_for_its_noise_and_orders_may_have_commas(here):
    named = run("fit", "data.csv", *POS, "--yerr", "pos=0.1", *SMALL)
    short = run("fit", "data.csv", *POS, "--yerr", "0.1", "--grid", "7", "--nu", "0,1")
    assert short.exit_code == 0, short.stderr
    assert short.stdout == named.stdout
    words = refused(run("fit", "data.csv", *WIDE[:6], "--yerr", "0.1"))
    assert words.startswith("--yerr 0.1: not COLUMN=NUMBER")


def test_what_is_said_of_the_noise_is_as_in_python(here):
    asked = []

    def smooth(data, **options):
        asked.append(options)
        return sd.smooth(data, sd.SmoothingSpline(3))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("smoothderiv._command.job.smooth", smooth)
        done = run("fit", "data.csv", *POS, *SMALL, "--robust", "no", "--correlated", "yes")
    assert done.exit_code == 0, done.stderr
    assert (asked[0]["robust"], asked[0]["correlated"]) == (False, True)


def test_the_command_runs_from_a_shell(here):
    command = [sys.executable, "-W", "error", "-m", "smoothderiv.cli"]
    done = subprocess.run(
        [*command, "fit", "-", *WIDE, *SMALL],
        input=(here / "data.csv").read_bytes(),
        capture_output=True,
        check=False,
        timeout=120,
        env=HERE,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"t,mean_0,std_0,lower_0,upper_0,mean_1,")
    bad = subprocess.run([*command, "fit", "no.csv"], capture_output=True, check=False, env=HERE)
    assert bad.returncode == 2
    assert bad.stderr == b"smoothderiv: no.csv: No such file or directory; name a table to read\n"
