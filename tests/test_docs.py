"""The pages say what is so: names, commands, includes and scripts, checked without Sphinx."""

import doctest
import re
import runpy
import shlex
import warnings
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from matplotlib import pyplot as plt

import smoothderiv as sd

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
BUILT = ("_build", "reference", "learn", "gallery")
PAGES = [
    page for page in sorted(DOCS.rglob("*.md")) if page.relative_to(DOCS).parts[0] not in BUILT
]
TUTORIALS = sorted((DOCS / "tutorials").glob("*.py"))
NEEDS = {"many": ("pandas", "xarray")}  # pages whose code needs optional packages
API = (DOCS / "api.md").read_text(encoding="utf-8")


def listed():
    """Return the dotted names of the reference."""
    return re.findall(r"^   ~?(smoothderiv\.[\w.]+)$", API, flags=re.M)


def resolve(name):
    """Import as much of a dotted name as is modules, and look up the rest."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            found = import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise AssertionError(name)


@pytest.mark.parametrize("space", [sd, sd.kernels, sd.dynamics], ids=lambda s: s.__name__)
def test_every_public_name_is_in_the_reference(space):
    last = {name.rpartition(".")[2] for name in listed()}
    modules = {"dynamics", "kernels", "splines"}
    assert not set(space.__all__) - modules - last


def test_every_module_for_another_package_is_in_the_reference():
    for path in (ROOT / "smoothderiv" / "integrations").glob("[a-z]*.py"):
        assert f"smoothderiv.integrations.{path.stem}." in API


def test_the_reference_lists_what_exists():
    for name in listed():
        package = name.split(".")[2] if ".integrations." in name else "numpy"
        if find_spec(package):
            assert resolve(name).__doc__, name


def texts(name):
    """Yield the docstrings of a listed object, and of its members that have one of their own."""
    found = resolve(name)
    yield found.__doc__
    for member in vars(found).values() if isinstance(found, type) else ():
        own = member.fget if isinstance(member, property) else member
        if callable(own) and getattr(own, "__module__", "").startswith("smoothderiv"):
            yield own.__doc__ or ""


def test_what_docstrings_refer_to_is_in_the_reference():
    names = [n for n in listed() if ".integrations." not in n]
    places = set(names) | {f"{resolve(n).__module__}.{n.rpartition('.')[2]}" for n in names}
    classes = [n for n in names if isinstance(resolve(n), type)]
    places |= {f"{n}.{member}" for n in classes for member in dir(resolve(n))}
    role = re.compile(r":(?:func|class|meth):`~?([\w.]+)`")
    for name in names:
        inside = (name, name.rpartition(".")[0], resolve(name).__module__)
        for target in role.findall("".join(texts(name))):
            wanted = (target, *(f"{place}.{target}" for place in inside))
            if target.startswith("."):
                assert any(place.endswith(target) for place in places), f"{name}: {target}"
            else:
                assert places & set(wanted), f"{name}: {target}"


def commands():
    """Yield the page, the script and the rest of every command for a benchmark."""
    for page in [ROOT / "README.md", ROOT / "CHANGELOG.md", *PAGES]:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for script, rest in re.findall(r"python (benchmarks/\w+\.py)((?:(?!python )[^`])*)", text):
            yield page.name, script, rest


def test_commands_name_benchmarks_and_options_that_exist():
    found = list(commands())
    assert len(found) > 5
    for page, script, rest in found:
        assert (ROOT / script).is_file(), f"{page}: {script}"
        source = (ROOT / script).read_text(encoding="utf-8")
        for word in shlex.split(rest):
            if word.startswith("--"):
                assert f'"{word}"' in source, f"{page}: {script} has no {word}"


def test_what_is_included_is_there():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for target, options in re.findall(r"```\{include\} (\S+)\n((?::.*\n)*)```", text):
            source = (page.parent / target).read_text(encoding="utf-8")
            marks = re.findall(r':(?:start-after|end-before): "(.*)"', options)
            places = [source.index(mark) for mark in marks]
            assert places == sorted(places), f"{page.name}: {marks}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_code_on_the_pages_runs(page):
    text = page.read_text(encoding="utf-8")
    assert "```python" not in text, "use pycon, with what it prints"
    blocks = re.findall(r"```pycon\n(.*?)```", text, flags=re.S)
    if not all(find_spec(package) for package in NEEDS.get(page.stem, ())):
        pytest.skip("an optional package")
    test = doctest.DocTestParser().get_doctest("".join(blocks), {}, page.name, str(page), 0)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    assert doctest.DocTestRunner(optionflags=flags).run(test).failed == 0


@pytest.mark.parametrize("script", TUTORIALS, ids=lambda p: p.stem)
def test_tutorials_run(script, capsys):
    pytest.importorskip("pandas")
    plt.switch_backend("agg")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runpy.run_path(str(script))
    plt.close("all")
    assert capsys.readouterr().out
