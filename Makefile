# What a person does with this repository. `make help` lists it; every target installs what it needs into .venv.
# Needed beforehand: make and Python >= 3.11 with its venv module (Debian: python3-venv; Fedora: python3).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.ONESHELL:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
# Tests start Python hundreds of times, and what pytest makes of their assertions is dear: compiled files are kept (they
# are ignored by git), also where the environment says otherwise.
PYTEST := PYTHONDONTWRITEBYTECODE= $(BIN)/pytest
# Extra arguments: `make run ARGS="--port 9000"`, `make unit ARGS="-k settings"`.
ARGS ?=
# Tests run in so many processes: as many as there are cores, at least 2, since they wait a lot, and at most 4. What is
# kept together tests/distribution.py says; they go in the order of the files, so that short ones come last.
WORKERS ?= $(shell cores=$$(nproc); echo $$((cores < 2 ? 2 : cores > 4 ? 4 : cores)))

# `make test` plays the simulations' seeds from 0 on, and finds the bugs that are planted in them; `make sim` plays others.
FIRST_SEED ?= 10000

.PHONY: help run test check check-gateway check-neuron check-rest bench soak format lint types imports unit arch sim docs versions notes copr token publish mistralrs clean rpm srpm rpm-test fedora-test

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

run: $(VENV)/run.stamp ## a whole fleet on this machine: gateway, neuron, real engine (ARGS="--port 9000")
	@exec $(BIN)/cortex up $(ARGS)

test: $(VENV)/dev.stamp ## every test, also with the real engine (WORKERS=0: one after the other)
	@$(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(VENV)/dev.stamp ## format, lint, types, import rules, unit tests: under a minute
	@$(MAKE) --no-print-directory --jobs=4 --output-sync=target types check-rest check-gateway check-neuron imports lint

# The unit tests in three parts: two cores are busy while one waits. With ARGS="-k …" a part may have nothing to run (5).
GATEWAY := tests/unit/gateway
NEURON := tests/unit/neuron tests/unit/kit
check-gateway: $(VENV)/dev.stamp
	@$(PYTEST) -q $(GATEWAY) $(ARGS) || test $$? -eq 5

check-neuron: $(VENV)/dev.stamp
	@$(PYTEST) -q $(NEURON) $(ARGS) || test $$? -eq 5

check-rest: $(VENV)/dev.stamp
	@$(PYTEST) -q tests/unit tests/arch $(patsubst %,--ignore=%,$(GATEWAY) $(NEURON)) $(ARGS) || test $$? -eq 5

bench: $(VENV)/run.stamp ## gateway against nginx and others, into bench/RESULTS.md
	@exec bench/run $(ARGS)

soak: $(VENV)/run.stamp ## half an hour with 500 streams, clients that leave and engines that die, into bench/SOAK.md (ARGS="--minutes 5")
	@exec $(BIN)/python -m bench.soak $(ARGS)

format: $(VENV)/dev.stamp ## rewrite the code in the house's format
	@$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format

lint: $(VENV)/dev.stamp ## ruff
	@$(BIN)/ruff format --check
	$(BIN)/ruff check

types: $(VENV)/dev.stamp ## mypy, strict
	@$(BIN)/mypy

imports: $(VENV)/dev.stamp ## import directions
	@$(BIN)/lint-imports --no-logo

unit: $(VENV)/dev.stamp ## unit tests only
	@$(PYTEST) -q tests/unit $(ARGS)

arch: $(VENV)/dev.stamp ## the tests of the house rules
	@$(PYTEST) -q tests/arch $(ARGS)

sim: $(VENV)/dev.stamp ## more seeds of the simulated fleets than tests play (SEEDS=2000 plays longer)
	@FIRST_SEED=$(FIRST_SEED) $(PYTEST) -q -n $(WORKERS) --dist worksteal -m seeds tests/simulation $(ARGS)

docs: $(VENV)/docs.stamp ## the documentation as a site, into build/site
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet $(ARGS)
	echo "open build/site/index.html"

# What the workflows in .gitea/ call; docs/recipes/making-a-release.md says when.
versions: ## whether package, changelog, spec and TAG=v1.2.3 name one version
	@python3 packaging/ci/version.py $${TAG:+"$$TAG"}

notes: ## what CHANGELOG.md says of TAG=v1.2.3
	@python3 packaging/ci/changelog.py "$$TAG" $${TREE:+"$$TREE"}

SRPMS ?= dist/cortex-*.src.rpm
copr: $(VENV)/release.stamp ## build SRPMS on COPR, with the account in COPR_CONFIG
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python packaging/ci/copr.py build $(SRPMS)

token: $(VENV)/release.stamp ## whether the token in COPR_CONFIG holds for another month
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python packaging/ci/copr.py token

# Links in the notes lead to the files as they are at the tag.
publish: ## make the forge's release of TAG, with its notes and the packages in dist/; in the forge's CI
	@mkdir -p dist
	python3 packaging/ci/changelog.py "$$TAG" "$${GITHUB_SERVER_URL:-}/$${GITHUB_REPOSITORY:-}/src/tag/$$TAG" > dist/notes.md
	python3 packaging/ci/forge.py release "$$TAG" dist/notes.md $(wildcard dist/*.rpm)

# Only gathering the sources needs the network.
mistralrs: ## source RPMs of mistral.rs for CUDA 12 and 13, into dist/mistralrs
	@version=$$(sed -nE 's/^Version: +(.*)/\1/p' packaging/mistralrs/mistralrs-cuda.spec)
	packaging/mistralrs/make-sources "$$version" dist/mistralrs
	for flavour in 12 13; do packaging/mistralrs/make-srpm $$flavour dist/mistralrs dist/mistralrs; done

rpm: $(VENV)/dev.stamp ## the RPMs, into dist/ (needs rpmbuild)
	@$(BIN)/python packaging/rpm/build.py rpm $(ARGS)

srpm: $(VENV)/dev.stamp ## the source RPM, into dist/ (needs rpmbuild)
	@$(BIN)/python packaging/rpm/build.py srpm $(ARGS)

rpm-test: $(VENV)/dev.stamp ## the RPMs: built, read, installed, upgraded, removed and run in a scratch root
	@$(BIN)/pytest -q tests/packaging/rpm $(ARGS)

# Fedora's libraries are older than PyPI's. click is typer's: this one reads only what was before 8.2.
FEDORA := build/fedora43
fedora-test: ## the unit tests with the libraries that Fedora 43 was released with
	@python=$$(.ci/python)
	mkdir -p $(FEDORA)
	"$$python" -m venv --clear $(FEDORA)
	sed -nE 's/^python3\.14dist\(([a-z0-9-]+)(\[[a-z]+\])?\) = ([0-9.]+) .*/\1==\3/p' packaging/rpm/ci/fedora43.provides > $(FEDORA)/constraints
	echo 'click<8.2' >> $(FEDORA)/constraints
	$(FEDORA)/bin/python -m pip --quiet --disable-pip-version-check install --upgrade 'pip>=25.1'
	$(FEDORA)/bin/python -m pip --quiet --disable-pip-version-check install --constraint $(FEDORA)/constraints \
		--editable '.[embedded,neuron,store,trace]' --group dev
	PYTHONDONTWRITEBYTECODE= $(FEDORA)/bin/python -m pytest -q tests/unit $(ARGS)

clean: ## remove the environment and what tools left
	@rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# The stamps make a second `make` instant; a changed pyproject.toml installs again.
$(VENV)/run.stamp: pyproject.toml src/cortex/__init__.py | $(VENV)/bin/python
	@echo "installing cortex and its embedded engine into $(VENV) (once; a few minutes on a slow line)"
	$(PIP) install --editable '.[embedded,neuron,store]'
	# uvloop makes the gateway faster and has no wheel for every Python; without it all works.
	$(PIP) install --only-binary :all: --editable '.[fast]' || echo "no uvloop for this Python: going on without it"
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp
	@echo "installing the tools for tests and checks into $(VENV)"
	$(PIP) install --editable '.[store,trace]' --group dev
	touch $@

$(VENV)/docs.stamp: pyproject.toml | $(VENV)/run.stamp
	@echo "installing what makes the site into $(VENV)"
	$(PIP) install --group docs
	touch $@

$(VENV)/release.stamp: pyproject.toml | $(VENV)/bin/python
	@echo "installing what speaks to COPR into $(VENV)"
	$(PIP) install --group release
	touch $@

$(VENV)/bin/python:
	@python=$$(.ci/python)
	echo "making $(VENV) with $$python ($$($$python --version))"
	"$$python" -m venv --clear $(VENV)
	# Dependency groups (PEP 735) need pip 25.1, newer than what some distributions put into a new environment.
	$(PIP) install --upgrade 'pip>=25.1'
