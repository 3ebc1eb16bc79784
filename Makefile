# Every target sets up .venv by itself, once, and again when the pinned versions change.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test lint typecheck slow bench clean

# The first Python from 3.11 up that can make a virtual environment; PYTHON=… overrides.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := .venv/bin
READY := .venv/.ready

help: ## list the targets
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:[^#]*## / - /'

setup: $(READY) ## make .venv with the pinned versions

$(READY): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "supple needs Python 3.11 or newer with the venv module."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[onnx,test]'
	@touch $@

demo: $(READY) ## the main job on scikit-learn's digits; the report lands in runs/digits
	$(BIN)/supple optimize digits --out runs/digits --evaluations 60 --latency 0.5

test: lint typecheck ## what has to pass: lint, types, tests
	$(BIN)/python -m pytest -n 2

lint: $(READY) ## style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

typecheck: $(READY) ## strict types on the library and on example uses
	$(BIN)/mypy

slow: $(READY) ## the tests that take more than a few seconds
	$(BIN)/python -m pytest -n 2 -m slow

bench: $(READY) ## time running, training, tracing and extracting; prints ratios with spread
	$(BIN)/python benchmarks/elastic.py

clean: ## remove .venv and caches; runs/ stays
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist src/*.egg-info
