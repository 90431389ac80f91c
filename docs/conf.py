"""Sphinx: `make docs` builds these pages into docs/_build, warnings being errors."""

import os
from importlib.util import find_spec
from pathlib import Path

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):  # scripts are timed: one core each
    os.environ.setdefault(name, "1")

import smoothderiv

project = "smoothderiv"
author = "The smoothderiv authors"
copyright = author
release = version = smoothderiv.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "tutorials/*"]
html_theme = "furo"
html_title = f"smoothderiv {release}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_show_sourcelink = False
smartquotes = False  # primes are not quotation marks

myst_enable_extensions = ["amsmath", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Types stand in the docstrings, with shapes and units; signatures show names and defaults.
autodoc_typehints = "none"
autodoc_inherit_docstrings = False
autodoc_member_order = "bysource"
autosummary_generate = True
numpydoc_show_class_members = False

# Scripts of both galleries run as they stand; an error in one is an error of the build.
sphinx_gallery_conf = {
    "examples_dirs": ["tutorials", "../examples"],
    "gallery_dirs": ["learn", "gallery"],
    "filename_pattern": r"/[0-9a-z]",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "capture_repr": ("_repr_html_", "__repr__"),
    "default_thumb_file": str(Path(__file__).with_name("demo.png")),
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
}
if find_spec("pysindy") is None:
    print("docs: pysindy is not installed, so that the Lorenz example is left out")
    sphinx_gallery_conf["ignore_pattern"] = "30_sindy_lorenz"
templates_path = ["_templates"]
