# Every target does its own set-up: a bare clone needs Python 3.11 or newer and make, nothing else.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# One more than cores: many tests wait, for servers, browsers and clocks.
TEST_PROCESSES ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')

.PHONY: help quickstart test lint docs format clean
.DEFAULT_GOAL := help

help:            ## Show the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

quickstart: $(VENV)/.installed   ## Train on the embedded digits, evaluate, then open a page to draw on
	$(BIN)/inksight quickstart

test: $(VENV)/.installed-dev     ## Run every test
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.installed-dev     ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-dev     ## Write docs/settings.md from the code
	$(BIN)/python docs/make_settings.py

format: $(VENV)/.installed-dev   ## Format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## Remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

# ensurepip's own pip is good enough; a stamp file per set of requirements keeps later runs instant. Of 23,000 files a
# training imports a sixth: compiling all of them beforehand costs 80 s of a slow core.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[dev]'
	@touch $@ $(VENV)/.installed
