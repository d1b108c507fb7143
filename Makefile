# Every target does its own set-up. Needed on the machine: Python 3.11 (or 3.12) and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: run test check bench bench-cluster test-statistics cluster-up cluster-down test-cluster record-conformance render clean help

help:            ## this list
	@grep -hE '^[a-z-]+: .*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 18

run: $(VENV)/.run          ## set everything up, run the whole chain on UCI Adult, leave the model served
	@$(BIN)/lockgate run adult-income --welcome

test: $(VENV)/.test        ## every test that needs no cluster
	@$(BIN)/python tests/run_all.py

check: $(VENV)/.test       ## style, types, architecture, rendered files in sync
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/python tests/check_types.py
	@$(BIN)/lint-imports
	@$(BIN)/lockgate render --check

bench: $(VENV)/.test       ## the figures, with the peers beside them
	@$(BIN)/python benchmarks/run_all.py

bench-cluster: $(VENV)/.test  ## the figures on Argo, on a tests' cluster that is brought up anew; slow
	@$(BIN)/python benchmarks/run_all.py cluster_up cluster_steps cluster_release image_bytes manifest_size

test-statistics: $(VENV)/.test  ## coverage and error rates of the gates by simulation; slow
	@$(BIN)/python tests/run_all.py statistics

cluster-up: $(VENV)/.test  ## a real single-node Kubernetes for tests, in .cluster/; needs root, Linux and Go
	@$(BIN)/python -m tests.cluster.cluster up

cluster-down: $(VENV)/.test  ## stop it and leave nothing behind
	@$(BIN)/python -m tests.cluster.cluster down

test-cluster: $(VENV)/.test  ## the same workflows on a real Argo and Kubernetes, and the images; needs root, Linux and Go
	@$(BIN)/python -m tests.cluster.cluster test

record-conformance: $(VENV)/.test  ## let the cluster's Argo run the small workflows that the local engine is held against
	@$(BIN)/python -m tests.conformance.record

render: $(VENV)/.run       ## write contracts, step functions and workflows from their sources
	@$(BIN)/lockgate render

clean:           ## remove the environments made here; .lockgate/ (runs, models, keys) stays
	rm -rf $(VENV)

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v < (3, 13) or sys.exit(f"Lockgate needs Python 3.11 or 3.12; {sys.executable} is {v[0]}.{v[1]}. Next: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)")'
	@echo "setting up $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r

$(VENV)/.run: $(VENV)/.made requirements.lock pyproject.toml
	@$(INSTALL) requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.test: $(VENV)/.run tests/requirements.lock
	@$(INSTALL) tests/requirements.lock
	@touch $@
