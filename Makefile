# Every target installs what it needs. You need Python 3.11 or 3.12, and make.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: run test check audit bench bench-cluster test-statistics test-faults cluster-up cluster-down test-cluster test-cluster-sample cluster-programs record-conformance docs coverage lock render clean help

help:            ## list the targets
	@grep -hE '^[a-z-]+: .*##' Makefile | sed -E 's/:[^#]*## */\t/' | expand -t 20

run: $(VENV)/.run          ## install everything, run the whole chain on UCI Adult, leave the model served
	@$(BIN)/lockgate run adult-income --welcome

test: $(VENV)/.test        ## run every test that needs no cluster
	@$(BIN)/python tests/run_all.py

check: $(VENV)/.test       ## check style, types, import rules and rendered files
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .
	@$(BIN)/python tests/check_types.py
	@$(BIN)/lint-imports
	@$(BIN)/lockgate render --check

bench: $(VENV)/.test       ## measure the figures, and those of comparable tools
	@$(BIN)/python benchmarks/run_all.py

bench-cluster: $(VENV)/.test  ## measure the figures on Argo, on a new test cluster; slow
	@$(BIN)/python benchmarks/run_all.py cluster_up cluster_steps cluster_release image_bytes manifest_size

test-statistics: $(VENV)/.test  ## simulate the coverage and error rates of the gates; slow
	@$(BIN)/python tests/run_all.py statistics

test-faults: $(VENV)/.test  ## search for inputs that break something, for $LOCKGATE_FAULT_SECONDS (600)
	@$(BIN)/python tests/run_all.py faults

audit: $(VENV)/.test       ## write the SBOM of each lock to build/sbom, and look for known vulnerabilities
	@$(BIN)/python tests/audit/run.py

cluster-up: $(VENV)/.test  ## start a single-node Kubernetes for tests, in .cluster/; needs root, Linux and Go
	@$(BIN)/python -m tests.cluster.cluster up

cluster-down: $(VENV)/.test  ## stop it and delete its state
	@$(BIN)/python -m tests.cluster.cluster down

test-cluster: $(VENV)/.test  ## test the workflows and images on a real Argo and Kubernetes; needs root, Linux and Go
	@$(BIN)/python -m tests.cluster.cluster test

test-cluster-sample: $(VENV)/.test  ## run the part of these tests that CI runs; needs root, Linux and Go
	@$(BIN)/python -m tests.cluster.cluster sample

cluster-programs: $(VENV)/.test  ## build the programs of the test cluster, once; needs Go
	@$(BIN)/python -m tests.cluster.tools

record-conformance: $(VENV)/.test  ## record how Argo runs the workflows that the local engine is tested against
	@$(BIN)/python -m tests.conformance.record

docs: $(VENV)/.docs        ## build the documentation site in site/; a warning is an error
	@rm -rf site
	@$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env --doctree-dir $(VENV)/doctrees docs site
	@echo "  site/index.html"

coverage: $(VENV)/.test    ## measure which lines the tests of lockgate execute, in htmlcov/; slow
	@$(BIN)/coverage erase
	@$(BIN)/coverage run tests/run_all.py lockgate rendered contracts conformance journeys sdk
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage html --quiet
	@$(BIN)/coverage report

lock: $(VENV)/.run        ## compile the requirements.lock files again; needs a package index
	@for part in . tests docs; do $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links $$part/requirements.in --output-file $$part/requirements.lock; done

render: $(VENV)/.run       ## write contracts, step functions and workflows from their sources
	@$(BIN)/lockgate render

clean:           ## delete the environments; keep .lockgate/ (runs, models, keys)
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

$(VENV)/.docs: $(VENV)/.test docs/requirements.lock
	@$(INSTALL) docs/requirements.lock
	@touch $@
