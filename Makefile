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
# Processes of the tests; each needs up to 2 GB. The longest files come first, as tests/conftest.py orders them.
TEST_PROCESSES ?= 2

# The oldest versions that pyproject.toml allows, which exist as wheels for Python 3.11 alone.
LOWEST := .venv-lowest
LOWEST_PYTHON ?= python3.11
LOWEST_TESTS ?= tests/test_*.py tests/config tests/ci tests/doctor tests/shape tests/cli/test_main.py tests/cli/test_exit_codes.py \
	tests/cli/test_training_commands.py tests/datasets/test_crops.py tests/phantom/test_phantom_shape.py \
	tests/inference/test_generation.py tests/inference/test_posterior.py tests/imaging/reading/test_ingest.py \
	tests/imaging/registration/test_register.py tests/models/test_build.py tests/reports/test_report.py \
	tests/samplers/test_kernels.py tests/runs/test_checkpoint.py tests/runs/test_hostile_checkpoint.py \
	tests/training/test_parts.py tests/training/test_train.py

.PHONY: help demo test test-quick lint docs format audit lower-bounds clean

help:
	@echo "make demo    the whole job on an embedded data set: phantom CT -> crops -> training -> synthetic cochleae -> shape"
	@echo "make test    all tests"
	@echo "make test-quick  all tests but the slow ones"
	@echo "make lint    ruff (lint and format) and mypy"
	@echo "make docs    the documentation site, in site/"
	@echo "make format  rewrite the code in ruff's format"
	@echo "make audit   known vulnerabilities of the packages in .venv, by pip-audit"
	@echo "make lower-bounds  a part of the tests with the oldest packages that pyproject.toml allows, in .venv-lowest"
	@echo "make clean   remove .venv, .venv-lowest, site/ and caches (never data/ or runs/)"

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11, 3.12 or 3.13 found; install one or run make PYTHON=/path/to/python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev,pipelines,mlflow]"
	@touch $(STAMP)

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable ".[docs]"
	@touch $(DOCS_STAMP)

demo: $(STAMP)
	$(BIN)/medlangevin demo --out $(DEMO_OUT)

test: $(STAMP)
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-quick:
	@$(MAKE) --no-print-directory test PYTEST_ARGS='-m "not slow" $(PYTEST_ARGS)'

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

audit: $(STAMP)
	$(BIN)/python .ci/audit.py

lower-bounds:
	@command -v $(LOWEST_PYTHON) >/dev/null || { echo "error: no $(LOWEST_PYTHON); run make lower-bounds LOWEST_PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(LOWEST_PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/uv pip install --python $(LOWEST)/bin/python --resolution lowest-direct --editable ".[dev]"
	$(LOWEST)/bin/python -m pytest -p no:cacheprovider $(LOWEST_TESTS)

clean:
	rm -rf $(VENV) $(LOWEST) site .coverage* .pytest_cache .mypy_cache .ruff_cache .hypothesis
