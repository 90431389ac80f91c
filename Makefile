# make demo    fit a simulated train ride and write table and picture into demo/
# make test    format, lint, types, tests with doctests and examples, one run without compilation
# make format  put the code in order
# make docs    build the pages into docs/_build (index.html), every script in them run
#
# Each makes its own virtual environment in .venv. Another Python: make test PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CODE = smoothderiv tests examples benchmarks docs
WITHOUT_JIT = tests/test_basis.py tests/test_kernels.py tests/test_scratch.py

.PHONY: demo test format docs clean
PAGES = docs/_build docs/reference docs/learn docs/gallery docs/sg_execution_times.rst

demo: $(VENV)/installed
	$(BIN)/smoothderiv demo demo --force

test: $(VENV)/installed-test
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses 2 --dist loadfile
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest --numprocesses 2 $(WITHOUT_JIT)

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

docs: $(VENV)/installed-docs
	rm -rf $(PAGES)
	$(BIN)/python -m sphinx -W --keep-going -n -q docs docs/_build
	@echo docs/_build/index.html

clean:
	rm -rf $(PAGES) $(VENV) demo .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/installed $(VENV)/installed-test $(VENV)/installed-docs: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable \
		'.$(patsubst installed-%,[%],$(filter installed-%,$(@F)))'
	@touch $@
