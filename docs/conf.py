"""Sphinx: `make docs` builds these pages into docs/_build, warnings being errors."""

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
templates_path = ["_templates"]
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
    "filename_pattern": r"\.py$",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 1e9,
    "show_signature": False,
}
