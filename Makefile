# Needs Python 3.10 to 3.12, make and git; `setup` fetches the rest into .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed

.PHONY: run test lint prove bench package setup

run: setup  ## the whole story on a local cloud
	$(BIN)/link-peer demo

test: setup  ## all tests
	$(BIN)/pytest -n auto

lint: setup  ## linters and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

prove: setup  ## every crash, duplicate and order of events, tried out (minutes)
	$(BIN)/python -m tests.simulation.prove

bench: setup  ## cold start, calls an event, cost of a sweep
	$(BIN)/python -m benchmarks.cold_start
	PYTHONPATH=functions $(BIN)/python -m benchmarks.event_cost
	$(BIN)/python -m benchmarks.sweep_cost

package: setup  ## build/package, which s.yaml deploys
	$(BIN)/python deploy/package.py

setup: $(INSTALLED)

$(INSTALLED): requirements.txt requirements-dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@
