"""The public names are few and locked; imports point one way; importing is quick."""

import ast
import dataclasses
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import smoothderiv as sd

ROOT = Path(sd.__file__).parent
PUBLIC = [
    "AdaptiveSpline",
    "ContradictionError",
    "GaussianProcess",
    "ModelAverage",
    "NoiseWarning",
    "Observations",
    "RegressionSpline",
    "SmoothingSpline",
    "TuningWarning",
    "UndeterminedError",
    "UnsuitableError",
    "differentiate",
    "dynamics",
    "kernels",
    "load",
    "observe",
    "plot",
    "plot_field",
    "plot_residuals",
    "plot_sizer",
    "plot_tuning",
    "sizer",
    "smooth",
    "smooth_panel",
    "splines",
    "tune",
]
# What each part may import of the package; DESIGN: cli, plotting, dynamics -> smooth -> engines,
# tuning -> model, posterior -> observations. Splines and state space never import each other.
BASE = {"_files", "_validate", "_places", "_frames", "_labels", "_warn", "observations"}
SEAM = BASE | {
    "answers",
    "binning",
    "derivative",
    "minimiser",
    "model",
    "moments",
    "newton",
    "posterior",
    "tuning",
}
MAY_IMPORT = {
    "_files": set(),
    "_validate": set(),
    "_places": {"_validate"},
    "_frames": {"_validate"},
    "_labels": set(),
    "_threads": {"_warn"},
    "_units": set(),
    "_warn": set(),
    "observations": {"_validate", "_places", "_frames"},
    "model": BASE,
    "newton": set(),
    "minimiser": BASE | {"model", "newton"},
    "binning": {"observations"},
    "moments": BASE | {"model"},
    "answers": BASE | {"_threads"},
    "posterior": BASE | {"answers", "derivative", "moments"},
    "derivative": BASE | {"answers", "model", "moments", "posterior"},
    "tuning": BASE | {"binning", "minimiser", "model", "newton", "posterior"},
    "splines": SEAM,
    "statespace": SEAM,
    "gp": SEAM | {"statespace"},
    "scale_space": SEAM | {"splines", "statespace"},
    "plotting": SEAM | {"smooth", "scale_space", "_units"},
    "mixture": SEAM | {"_threads"},
    "average": SEAM | {"mixture", "_threads"},
    "_doubts": {"observations"},
    "circular": SEAM | {"statespace"},
    "noise": SEAM | {"mixture", "gp", "statespace"},
    "default": SEAM | {"average", "noise", "splines", "statespace", "gp"},
    "smooth": SEAM
    | {"_doubts", "default", "average", "mixture", "circular", "noise", "statespace"},
    "dynamics": SEAM | {"smooth", "splines", "statespace", "gp", "plotting", "_units"},
    "panels": SEAM | {"smooth", "statespace", "_threads"},
    "integrations": SEAM | {"smooth", "splines", "statespace", "gp", "_threads"},
    "_demo": set(),
    "_command": SEAM | {"smooth", "panels", "plotting", "statespace", "_demo", "_units"},
    "cli": {"_command"},
}


OPTIONAL = (
    "sklearn",
    "xarray",
    "pysindy",
    "derivative",
    "filterpy",
)  # integrations, named as what they need


def modules():
    return sorted(ROOT.rglob("*.py"))


def imported(path):
    """Yield the dotted names that a file imports, at any depth, but for its types alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_of_the_package(path):
    for name in imported(path):
        top, _, rest = name.partition(".")
        part = rest.partition(".")[0]
        if top == "smoothderiv" and ((ROOT / part).is_dir() or (ROOT / f"{part}.py").exists()):
            yield part


def public_classes():
    for path in sorted(ROOT.rglob("*.py")):
        name = ".".join(("smoothderiv", *path.relative_to(ROOT).with_suffix("").parts))
        if "integrations" in name or name.rpartition(".")[2].startswith("_"):
            continue  # what they need is an extra; compiled loops
        module = importlib.import_module(name)
        yield from (
            found
            for found in vars(module).values()
            if isinstance(found, type)
            and found.__module__ == name
            and not found.__name__.startswith("_")
        )


@pytest.mark.parametrize("found", list(public_classes()), ids=lambda c: c.__qualname__)
def test_every_public_method_says_what_it_does_or_its_base_does(found):
    for name, member in list(vars(found).items()):
        if name.startswith("_") or not (callable(member) or hasattr(type(member), "__get__")):
            continue
        said = any(getattr(vars(base).get(name), "__doc__", None) for base in found.__mro__)
        field = any(name in vars(base).get("__annotations__", {}) for base in found.__mro__)
        assert said or field, f"{found.__qualname__}.{name} has no docstring"


@pytest.mark.parametrize("found", list(public_classes()), ids=lambda c: c.__qualname__)
def test_every_field_is_told_where_fields_are(found):
    """Or, in a class that has a base, by that."""
    said = (found.__doc__ or "").partition("Attributes\n")[2]
    if said and dataclasses.is_dataclass(found) and found.__bases__ == (object,):
        fields = {f.name for f in dataclasses.fields(found) if f.name[0] != "_"}
        assert not fields - set(re.findall(r"\w+", said))


@pytest.mark.parametrize("found", list(public_classes()), ids=lambda c: c.__qualname__)
def test_what_holds_arrays_is_compared_as_an_object(found):
    """Generated equality asks for the truth of an array, and generated hashes for its hash."""
    if dataclasses.is_dataclass(found) and "__eq__" in vars(found):
        compared = [f.name for f in dataclasses.fields(found) if f.compare and "Array" in f.type]
        assert not compared


def test_the_public_names():
    assert sd.__all__ == PUBLIC
    for name in PUBLIC:
        assert getattr(sd, name).__doc__
    assert not set(PUBLIC) - set(dir(sd))
    with pytest.raises(AttributeError, match=r"no attribute 'fit'; smooth\(data\) fits a curve"):
        sd.fit(None)
    with pytest.raises(AttributeError, match=r"no attribute 'nothing'$"):
        _ = sd.nothing


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if part == "__init__":
        return
    assert part in MAY_IMPORT, f"{part} is new: say above what it may import"
    used = set(parts_of_the_package(path)) - {"", part}
    assert used <= MAY_IMPORT[part], f"{part} may not import {used - MAY_IMPORT[part]}"


@pytest.mark.parametrize("path", [p for p in modules() if p.name.endswith("_loops.py")], ids=str)
def test_compiled_code_sees_arrays_alone(path):
    """And no other module of loops: numba's cache would not see a change in another file."""
    roots = {name.partition(".")[0] for name in imported(path)}
    assert roots <= {"numpy", "numba", "math", "__future__"}  # math: numba compiles it too


def test_every_folder_of_an_engine_has_its_loops_apart():
    for path in modules():
        if not path.name.endswith("_loops.py"):
            assert "numba" not in {n.partition(".")[0] for n in imported(path)}, path


def test_importing_is_quick():
    code = (
        "import sys, smoothderiv\n"
        "heavy = {'numba', 'matplotlib', 'typer', 'pandas', 'polars', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT.parent)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=env)


def test_what_is_missing_is_named_with_what_to_install():
    code = (
        "import sys, importlib\n"
        "sys.modules[sys.argv[1]] = None\n"
        "try: importlib.import_module('smoothderiv.integrations.' + sys.argv[1])\n"
        "except ImportError as error: print(error)\n"
    )
    env = os.environ | {"PYTHONPATH": str(ROOT.parent)}
    for package in OPTIONAL:
        done = subprocess.run(
            [sys.executable, "-c", code, package],
            capture_output=True,
            env=env,
            text=True,
            check=False,
        )
        assert f"pip install 'smoothderiv[{package}]'" in done.stdout, done.stderr


def test_the_package_says_its_version_and_that_it_is_typed():
    assert sd.__version__.count(".") == 2
    assert (ROOT / "py.typed").exists()
