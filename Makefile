# make demo    fit a simulated train ride and write table and picture into demo/
# make test    format, lint, types, tests with doctests and examples, one run without compilation
# make format  put the code in order
#
# Each makes its own virtual environment in .venv. Another Python: make test PYTHON=python3.12

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
CODE = smoothderiv tests examples benchmarks
WITHOUT_JIT = tests/test_basis.py tests/test_kernels.py

.PHONY: demo test format clean

demo: $(VENV)/installed
	$(BIN)/smoothderiv demo demo --force

test: $(VENV)/installed-test
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses 2 --dist loadfile
	NUMBA_DISABLE_JIT=1 $(BIN)/pytest $(WITHOUT_JIT)

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

clean:
	rm -rf $(VENV) demo .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/installed $(VENV)/installed-test: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable \
		'.$(if $(findstring test,$(@F)),[test])'
	@touch $@
