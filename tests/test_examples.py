"""Examples and the README run as they stand, and show what they say they show."""

import os
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from smoothderiv import cli

ROOT = Path(__file__).parents[1]
NEEDS = {"30_sindy_lorenz": "pysindy"}  # beyond what the package itself needs
EXAMPLES = [
    path
    for path in sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))
    if path.stem not in NEEDS or find_spec(NEEDS[path.stem])
]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.S)
ENV = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}


def run(script, folder, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", str(script), *arguments],
        cwd=folder,
        env=ENV,
        capture_output=True,
        text=True,
        timeout=240,  # under 10 s once the loops are compiled
        check=False,
    )


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    """Run each example once, into a folder of its own; return what it printed."""
    printed = {}

    def of(script):
        if script.stem not in printed:
            folder, elsewhere = (tmp_path_factory.mktemp(script.stem) for _ in range(2))
            done = run(script, elsewhere, str(folder))
            assert done.returncode == 0, done.stderr
            assert list(folder.glob("*.png"))
            assert not list(elsewhere.iterdir()), "wrote beside the folder it was given"
            printed[script.stem] = done.stdout
        return printed[script.stem]

    return of


def numbers(text, pattern):
    """Return the numbers that a pattern captures in its one match."""
    match = re.search(pattern, text)
    assert match, f"{pattern} is not in:\n{text}"
    return [float(word) for word in match.groups()]


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda p: p.stem)
def test_examples_run_and_write_a_picture_where_told(script, output):
    assert "picture" in output(script)


def test_accelerations_and_speeds_tell_where_positions_end(output):
    text = output(EXAMPLES[0])
    (fixed,) = numbers(text, r"cubic spline +-29.98 ± ([\d.]+)")  # golden case of the field
    (alone,) = numbers(text, r"positions alone +\S+ ± ([\d.]+)")
    assert fixed < 0.5 * alone


def test_simultaneous_bands_hold_more_of_the_curve(output):
    for nu in (1, 2):
        pointwise, together = numbers(
            output(EXAMPLES[1]), rf"order {nu}: pointwise ([\d.]+)%, simultaneous ([\d.]+)%"
        )
        assert 80 < pointwise <= together


def test_measured_slopes_tighten_the_curve(output):
    text = output(EXAMPLES[2])
    value, slope = numbers(text, r"values alone  ln P ([\d.]+), slope ([\d.]+)%")
    value_with, slope_with = numbers(text, r"with slopes   ln P ([\d.]+), slope ([\d.]+)%")
    assert value_with < 0.5 * value
    assert slope_with < 0.25 * slope
    held = r"against the measured ones ([\d.]+), against IAPWS-95 ([\d.]+)"
    measured, reference = numbers(text, rf"values alone  {held}")
    measured_with, reference_with = numbers(text, rf"with slopes   {held}")
    assert measured_with < measured
    assert reference_with < 0.5 * reference


def test_constants_of_the_motor_move_it_where_it_should_be(output):
    text = output(ROOT / "examples" / "20_motor.py")
    (by_differences,) = numbers(text, r"difference +Feedforward.*\n +off by ([\d.]+)")
    (by_likelihood,) = numbers(text, r"kalman +Feedforward.*\n +off by ([\d.]+)")
    assert by_likelihood < 0.2 * by_differences


def test_the_census_grows_as_pearl_and_reed_saw_it(output):
    text = output(ROOT / "examples" / "21_growth.py")
    low, high = numbers(text, r"censuses to 1920[\s\S]*?K [\d.]+ \(([\d.]+) to ([\d.]+)\)")
    assert low < 197.3 < high


@pytest.mark.skipif(find_spec("pysindy") is None, reason="an optional package")
def test_equations_are_found_in_noisy_samples(output):
    (script,) = (path for path in EXAMPLES if path.stem == "30_sindy_lorenz")
    text = output(script)
    row = r"([\d.]+) +([\d.]+) +(\d+) +(\d+)"
    slope, coefficient, right, wrong = numbers(text, rf"nothing to set +{row}")
    assert (right, wrong) == (7, 0)
    assert coefficient < 0.03
    for line in re.findall(rf"savitzky_golay, \S+ +{row}", text):
        assert slope < float(line[0])
        assert coefficient < float(line[1])


@pytest.fixture(scope="module")
def readme(tmp_path_factory):
    """Run the Python of the README as it stands; return its folder and what it printed."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "readme.py").write_text("\n".join(BLOCKS), encoding="utf-8")
    done = run(folder / "readme.py", folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_the_python_of_the_readme_runs_as_it_stands(readme):
    folder, printed = readme
    assert (folder / "curve.png").exists()
    shown = re.findall(r"^print\(.*\n((?:# .*\n)+)", "\n".join(BLOCKS), flags=re.M)
    assert shown, "what is printed stands below some of the calls"
    for words in shown:
        assert re.sub("^# ", "", words, flags=re.M) in printed


def test_the_commands_of_the_readme_run_after_its_python(readme, monkeypatch):
    folder, _ = readme
    monkeypatch.chdir(folder)
    text = README.replace("\\\n", " ")
    commands = re.findall(r"^smoothderiv (.*)$", text, flags=re.M)
    assert {command.split()[0] for command in commands} == {"fit", "panel"}
    for command in ["demo", *commands]:  # "make demo" comes first on the page
        result = CliRunner().invoke(cli.app, shlex.split(command))
        assert result.exit_code == 0, f"{command}: {result.output}"


def test_the_readme_names_files_and_targets_that_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make (\w+)", README)):
        assert f"\n{target}:" in makefile
    for link in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / link).exists(), link
