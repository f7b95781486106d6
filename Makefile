# Two commands do all the set-up on a machine that has only Python and make:
#   make demo    own virtual environment, install, and a real fine-tune from start to answer
#   make test    install with all extras, then every check and every test
# A second run reuses the environment and starts at once.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.NOTPARALLEL:
.SUFFIXES:
.PHONY: help demo test check lint style format types unit docs docs-check recordings gpu-check mutants clean

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The tested release, for every environment.
# For the CPU only, where the index has both builds: make demo TORCH=torch==2.13.0+cpu
TORCH ?= torch==2.13.0
PYTEST_ARGS ?=
# Without a GPU: make gpu-check GPU_CHECK_ARGS='--device cpu --size toy'
GPU_CHECK_ARGS ?=
# Two test workers for a core, since many tests wait for a process or a connection;
# `make test WORKERS=0` runs the tests in one process.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * os.cpu_count())')
# mkdocs-material prints an announcement at every run.
export NO_MKDOCS_2_WARNING := 1
# Hundreds of processes that tests start would each compile the package again.
unexport PYTHONDONTWRITEBYTECODE

INSTALL := $(BIN)/python tests/install.py

# Python of Ubuntu and Debian may lack venv: print one sentence instead of a traceback.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "ftsdk needs Python 3.11 or newer: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "this Python has no venv: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.uv: $(BIN)/python
	$(BIN)/python -m pip --disable-pip-version-check --no-input --quiet --quiet install 'uv>=0.9'
	@touch $@

# The stamps depend on pyproject.toml: a changed dependency is installed at the next run.
$(VENV)/.local: pyproject.toml $(VENV)/.uv
	@echo "installing ftsdk with the training stack"
	$(INSTALL) -e '.[local]' '$(TORCH)'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.uv
	@echo "installing ftsdk with everything the checks need"
	$(INSTALL) -e '.[dev]' '$(TORCH)'
	@touch $@ $(VENV)/.local

$(VENV)/.mutation: $(VENV)/.dev
	@echo "installing cosmic-ray"
	$(INSTALL) -e '.[dev,mutation]' '$(TORCH)'
	@touch $@

# A real model of 135 million parameters, for tests that a toy model cannot pass.
$(VENV)/.model: $(VENV)/.dev
	@echo "fetching the small model"
	FTSDK_HOME=$(VENV)/home $(BIN)/ftsdk models pull smollm2-135m >$(VENV)/pull.log || \
	  { cat $(VENV)/pull.log; exit 1; }
	@touch $@

help:
	@echo "make demo     fine-tune a small model on this machine, from install to answer"
	@echo "make test     every check and every test, as CI runs them"
	@echo "make lint     ruff and mypy"
	@echo "make format   format the source with ruff"
	@echo "make mutants  change one line of the package at a time, and list what no test sees"
	@echo "make gpu-check  what a machine with a CUDA device is asked; writes gpu-check.json"
	@echo "make docs     build the documentation into site/"
	@echo "make recordings  type the commands of the documentation's pictures again"
	@echo "make clean    remove the environment and everything built"

demo: $(VENV)/.local
	$(BIN)/python examples/demo.py

lint: style types

style: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

unit: $(VENV)/.model
	folder=$$($(BIN)/python tests/scratch.py) && trap 'rm -rf "$$folder"' EXIT && \
	  TMPDIR="$$folder" FTSDK_TEST_SMOLLM2=$(VENV)/home/models/smollm2-135m \
	  $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(PYTEST_ARGS)

docs: $(VENV)/.dev
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict

docs-check: $(VENV)/.dev
	$(BIN)/python docs/generate.py --check
	$(BIN)/mkdocs build --strict --quiet

# The pictures of a terminal in the README and in the documentation, from the real program.
recordings: $(VENV)/.dev
	$(BIN)/python docs/terminal.py
	$(BIN)/python docs/first_hour.py --torch '$(TORCH)'

# Another SEED is another sample. A run goes on where it was interrupted; `make mutants SURVIVORS=1`
# runs again what survived. Groups: money, rendering, backends, evaluation, submission.
SAMPLE ?= 150
SEED ?= 1
mutants: $(VENV)/.mutation $(VENV)/.model
	FTSDK_TEST_SMOLLM2=$(VENV)/home/models/smollm2-135m \
	  $(BIN)/python -m tests.mutation.run --sample $(SAMPLE) --seed $(SEED) \
	  $(if $(GROUPS),--groups $(GROUPS)) $(if $(ONLY),--only $(ONLY)) $(if $(FIRST),--first $(FIRST)) $(if $(SURVIVORS),--survivors)

# Types are checked while the tests run; unless they are wrong, the summary of the tests is the last
# line. The tests also do what `docs-check` does.
test: style $(VENV)/.model
	@$(BIN)/python tests/beside.py "$(MAKE) --no-print-directory types" "$(MAKE) --no-print-directory unit"

# From a wheel and local models, so that the package is checked as it is installed.
gpu-check: $(VENV)/.local
	rm -rf build/wheel
	$(BIN)/python -m pip --disable-pip-version-check wheel --quiet --no-deps --wheel-dir build/wheel .
	$(BIN)/python benchmarks/gpu_check.py --wheel build/wheel/*.whl $(GPU_CHECK_ARGS)

clean:
	rm -rf $(VENV) site dist build .demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .mutants
