# Needs Python 3.10 to 3.12, make and git; `setup` fetches the rest into .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: help run test test-wheel lint prove bench package setup

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup  ## play the demo on a local cloud
	$(BIN)/link-peer demo

test: setup  ## run all tests
	$(BIN)/pytest -n auto

test-wheel: setup  ## build the wheel, install it outside the checkout and run it
	.ci/test-wheel $(PYTHON)

lint: setup  ## run the linters, the type checker and the check of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

prove: setup  ## try every crash, duplicate and order of events (minutes)
	$(BIN)/python -m tests.simulation.prove

bench: package  ## measure build/package beside a plain handler: one table, and build/bench.json (minutes)
	$(BIN)/python -m benchmarks

package: setup  ## build build/package, which s.yaml deploys
	$(BIN)/python deploy/package.py

setup: $(INSTALLED)  ## install the pinned dependencies and the project into .venv

$(INSTALLED): requirements.txt requirements-dev.txt pyproject.toml setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
