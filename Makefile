# Everything a contributor needs, from nothing but Python 3.11 or newer, make and git.
# `make help` lists the targets. No target reads a kubeconfig that happens to lie around.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# How many test processes; "make test WORKERS=0" runs in one, which is easier to debug.
WORKERS ?= auto
PYTEST_ARGS ?=

# A clean environment: no kubeconfig, no proxy for loopback, no settings of the person who runs this.
CLEAN := env -u KUBECONFIG -u VMKIT_KUBECONFIG -u VMKIT_CONTEXT -u VMKIT_NAMESPACE NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-thorough test-cluster lint format coverage bench wheel-test docs lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: vmkit needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)."; \
	    echo "hint: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)"; exit 2; }
	@echo "Setting up $(VENV) (once) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "hint: on Debian and Ubuntu, apt install python3-venv"; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: $(READY) ## make .venv with everything pinned in requirements-dev.lock

demo: $(READY) ## create, start, stop and show VMs on a practice cluster
	@$(CLEAN) PATH="$(CURDIR)/$(BIN):$$PATH" sh examples/first-steps/run.sh

test: $(READY) ## the whole test suite
	@$(CLEAN) $(BIN)/python -m pytest -n $(WORKERS) $(PYTEST_ARGS)

test-thorough: $(READY) ## the tests that take minutes: every change of every clock in ten years
	@$(CLEAN) $(BIN)/python -m pytest -n $(WORKERS) -m thorough $(PYTEST_ARGS)

test-cluster: $(READY) ## the contract suite on a cluster: VMKIT_TEST_KUBECONFIG=FILE make test-cluster
	@$(CLEAN) $(BIN)/python -m pytest tests/contract -m cluster $(PYTEST_ARGS)

lint: $(READY) ## style, types and import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## let ruff rewrite what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

coverage: $(READY) ## the test suite with branch coverage
	@$(CLEAN) $(BIN)/python -m pytest -n $(WORKERS) --cov --cov-report=term $(PYTEST_ARGS)

bench: $(READY) ## speed and memory, as ratios taken in one run
	@for script in tests/bench/bench_*.py; do \
	  echo "== $$script"; $(CLEAN) $(BIN)/python "$$script" || exit 1; done

wheel-test: $(READY) ## build the wheel and try it from outside the checkout
	@$(CLEAN) PATH="$(CURDIR)/$(BIN):$$PATH" sh tests/wheel/run.sh

docs: $(READY) ## regenerate the parts of docs/ that come from the code
	@$(BIN)/python -m tests.reference --write

lock: ## pin the development environment anew
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile pyproject.toml --group dev --generate-hashes --no-emit-index-url \
	  --universal --python-version 3.11 --no-header --quiet --output-file requirements-dev.lock --upgrade

clean: ## remove what the targets above made
	@rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage*
