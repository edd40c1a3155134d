# What a person, a hook and CI run. `make` alone lists it.
PYTHON ?= python3
PORT ?= 5000
PY := .venv/bin/python
PYTEST := $(PY) -m pytest -n 2 --dist loadgroup --durations=30
READY := .venv/.ready
TORCH := $(shell grep '^torch==' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help setup params repro test test-all test-rest test-fast check format docs-reference site sweep ui serve bench clean

help: ## List what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with the exact versions of constraints.txt, DVC and MLflow ready (all others call it)

# torch goes first and by its own pin: a resolver that sees a range may take a build for other hardware.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11, 3.12 or 3.13 is needed, this is " + sys.version.split()[0] + "; try make PYTHON=python3.11 ...")'
	@echo "installing into .venv, once (a few minutes)"
	@test -x $(PY) || $(PYTHON) -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@git rev-parse --git-dir >/dev/null 2>&1 || .venv/bin/dvc config --local core.no_scm true
	@$(PY) -c 'from flywheel.project.tracking import prepare; prepare()'
	@touch $(READY)

params: $(READY) ## Compose params.yaml from conf/
	@.venv/bin/flywheel params

repro: params ## Rebuild what changed: data, models, reports, registry (`dvc repro`)
	@.venv/bin/dvc repro

# Those of the web page want a Chromium: one that is there, else Debian's where apt may be used, else Playwright's own.
test: $(READY) ## Run the quick tests, and of every subsystem something from end to end
	@$(PY) tests/browser.py
	@$(PYTEST) -m "not slow or end_to_end"

test-all: $(READY) ## Run every test
	@$(PY) tests/browser.py
	@$(PYTEST)

test-rest: $(READY) ## Run the tests that `make test` leaves out
	@$(PY) tests/browser.py
	@$(PYTEST) -m "slow and not end_to_end"

test-fast: $(READY) ## Run the quick tests alone
	@$(PYTEST) -m "not slow"

check: $(READY) ## Lint, types, and whether params.yaml and the reference pages are what conf/ and the code give
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/flywheel params --check
	@$(PY) -m docs.reference --check

format: $(READY) ## Bring the code into its form
	@.venv/bin/ruff check --fix --quiet .
	@.venv/bin/ruff format .

docs-reference: $(READY) ## Write the reference pages of docs/ (settings, groups, commands, routes) from the code
	@$(PY) -m docs.reference

# mkdocs is no part of `make setup`: nothing but this needs it.
.venv/.docs: $(READY)
	@$(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	@touch $@

site: .venv/.docs ## Make a site with a search of docs/ in build/site/; a broken link is an error
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet --strict
	@echo "build/site/index.html"

sweep: $(READY) ## Try four settings of fashion: make sweep ARGS='task=mnist5k optimizer.lr=1e-3,3e-3'
	@$(PY) -m flywheel.train -m $(or $(ARGS),task=mnist5k model=mlp,cnn optimizer.lr=1e-3,3e-3)

ui: $(READY) ## Compare runs in a browser: MLflow's pages on 127.0.0.1:$(PORT)
	@.venv/bin/flywheel ui --port $(PORT)

serve: $(READY) ## Serve all champions on 127.0.0.1:8080: make serve TASKS='fashion tweets' PORT=8000
	@.venv/bin/flywheel serve $(TASKS) $(if $(filter command line environment,$(origin PORT)),--port $(PORT))

bench: $(READY) ## Measure what bench/RESULTS.md claims
	@$(PY) -m bench

clean: ## Remove what stages left half-done; data, models and runs stay
	@rm -rf .flywheel/runs .flywheel/sweeps .flywheel/cache .pytest_cache .mypy_cache .ruff_cache
