# make demo | test | lint | docs: each builds .venv on first use. Nothing else on the machine is touched.
SHELL := /bin/bash
PYTHON ?= $(shell for p in python3.12 python3.13 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.docs-installed
DEMO_OUT ?= demo_output
PYTEST_ARGS ?=
# Processes of the tests; each needs up to 2 GB.
TEST_PROCESSES ?= 2

.PHONY: help demo test lint docs format clean

help:
	@echo "make demo    the whole job on an embedded data set: phantom CT -> crops -> training -> synthetic cochleae -> shape"
	@echo "make test    all tests"
	@echo "make lint    ruff (lint and format) and mypy"
	@echo "make docs    the documentation site, in site/"
	@echo "make format  rewrite the code in ruff's format"
	@echo "make clean   remove .venv, site/ and caches (never data/ or runs/)"

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found; install one or run make PYTHON=/path/to/python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev,pipelines]"
	@touch $(STAMP)

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	@touch $(DOCS_STAMP)

demo: $(STAMP)
	$(BIN)/medlangevin demo --out $(DEMO_OUT)

test: $(STAMP)
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The variable silences advertising on the terminal.
docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html; with search: $(BIN)/python -m http.server --directory site"

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis
