# dicom-node from a checkout. Needs Python 3.11 and make; everything else goes into .venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
# What pytest gets besides its own settings: make test ARGS="-k settings".
ARGS ?=
# What `make bench` leaves out: a night takes hours, the others measure nothing themselves.
NO_BENCH := $(addprefix benchmarks/,long_night.py full_ledger.py fuzz.py kill_points.py soak.py prove.py measured_node.py stub_brain.py)
# One more than two cores: tests of peers that stall wait more than they work.
WORKERS ?= 3
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Products of small matrices cost many times as much where threads of several processes wait for cores. Tests alone:
# what is measured or served runs as it is installed.
test test-slow: export OPENBLAS_NUM_THREADS ?= 1
# What Python compiles is kept, whatever the shell says: some hundred processes would compile it anew.
test test-slow: export PYTHONDONTWRITEBYTECODE :=

.PHONY: help setup demo test test-slow test-all lint format serve wheel docs bench prove lock sbom audit clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(VENV)/.ready ## make .venv with the locked versions and this package in it

demo: setup ## start a node and a small PACS, send a film, show the report (demo-out/)
	@$(BIN)/dicom-node demo --out demo-out $(ARGS)

test: setup ## the default tests, some minutes, no GPU
	@echo "== tests"
	@$(BIN)/python -m compileall -q -j 0 dicom_node
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(ARGS)

test-slow: setup ## the tests that `make test` leaves out: minutes each
	@echo "== slow tests"
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m slow $(ARGS)

test-all: test test-slow ## every test

lint: setup ## format, style, types, floors, generated pages
	@echo "== ruff format"; $(BIN)/ruff format --check .
	@echo "== ruff check"; $(BIN)/ruff check .
	@echo "== mypy"; $(BIN)/mypy
	@echo "== import contracts"; $(BIN)/lint-imports
	@echo "== generated pages"; $(BIN)/python docs/build.py --check
	@echo "== bill of materials"; $(BIN)/python docs/sbom.py --check

format: setup ## rewrite the code in its format
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

serve: setup ## run the node with the default configuration (CONFIG=DIR for another)
	@$(BIN)/dicom-node serve $(if $(CONFIG),--config $(CONFIG))

wheel: setup ## build the wheel into dist/: package, networks, templates, default configuration
	@$(BIN)/python -m build --wheel --no-isolation --outdir dist .

docs: setup ## write the generated parts of the documentation
	@$(BIN)/python docs/build.py

bench: setup ## measure (benchmarks/), results in benchmarks/out/
	@mkdir -p benchmarks/out
	@for script in $(filter-out $(NO_BENCH),$(wildcard benchmarks/[a-z]*.py)); do echo "== $$script"; $(BIN)/python $$script $(ARGS); done

lock: $(VENV)/.ready ## write requirements.lock anew: newest versions that pyproject.toml allows
	@echo "== pip-compile (minutes: it looks up the hash of every file)"
	@mkdir -p build
	@$(BIN)/python -m pip install --quiet "pip-tools>=7.4"
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"], sep="\n")' > build/dev.in
	@{ echo "# Runtime and development versions for Linux and Python 3.11, with hashes. Made by: make lock"; \
	   $(BIN)/pip-compile --quiet --upgrade --extra=ray --extra=onnx --generate-hashes --allow-unsafe --strip-extras --no-header \
	     --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
	     --annotation-style=line --output-file=- pyproject.toml build/dev.in; } > build/requirements.lock
	@mv build/requirements.lock requirements.lock
	@echo "Now: make setup sbom"

prove: setup ## prove the promises of docs/promises.md and write their figures (ARGS="P1 --long")
	@$(BIN)/python benchmarks/prove.py $(ARGS)

sbom: setup ## write sbom.cdx.json anew: what the lock brings into a default install
	@$(BIN)/python docs/sbom.py

audit: setup ## hold the lock against known advisories (needs a network that reaches pypi.org)
	@$(BIN)/python -m pip install --quiet "pip-audit>=2.7"
	@$(BIN)/python -m pip_audit -r requirements.lock --disable-pip --require-hashes --format json 2>/dev/null \
	   | $(BIN)/python docs/advisories.py

clean: ## remove .venv, caches and what builds and demos leave
	rm -rf $(VENV) build dist demo-out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@echo "== $(VENV) from $(PYTHON)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv $(VENV) \
	  || { rm -rf $(VENV); echo "No venv: on Debian, apt-get install python3.11-venv"; exit 1; }

$(VENV)/.locked: requirements.lock | $(VENV)/bin/python
	@echo "== dependencies, each checked against its hash (some minutes the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.ready: $(VENV)/.locked pyproject.toml
	@echo "== dicom-node itself"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
