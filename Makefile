# Two commands on a fresh machine: `make demo` and `make test`. Each sets itself up.
#   PYTHON=python3.12 make demo     another interpreter
#   VENV=elsewhere make test        another place for the virtual environment

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Test workers share the cores; libraries that start a thread per core would fight over them.
WORKERS ?= auto
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: demo test check lint types imports docs schema clean

demo: $(VENV)/.core
	$(BIN)/sanmaru demo --folder demo

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --cov --cov-report=term:skip-covered

# Everything but the tests.
check: lint types imports docs

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

imports: $(VENV)/.dev
	$(BIN)/lint-imports

docs: $(VENV)/.dev
	$(BIN)/mkdocs build --strict --quiet --site-dir build/site

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Sanmaru needs Python 3.11 or newer; name one with: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "Python's venv module is missing. On Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The constraints pin torch without a local version, so an installer that has a CPU build of it takes that one.
$(VENV)/.core: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/pip pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.core

clean:
	rm -rf build demo .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
