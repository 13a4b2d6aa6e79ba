# On a bare machine every target makes .venv first: it needs Python 3.11 or newer and nothing else.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade) $(LOCK_ARGS)
SPREAD := --numprocesses 2 --dist loadfile --no-loadscope-reorder  # what starts no service shares two cores; what does has them for itself
CODE := app worker lab_models migrations tests benchmarks

.PHONY: help install demo run test fast quick check format formatted lint types contracts docs bench load lock audit digests chaos compose-test fuzz clean

help:
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: $(STAMP) ## make .venv with everything, `lab` and `python` in .venv/bin

$(STAMP): pyproject.toml requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: call make with PYTHON=python3.11 or newer"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes --requirement requirements/dev.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

demo: $(STAMP) ## train a small network over the API and show the result
	@$(BIN)/lab demo

run: $(STAMP) ## the service on 127.0.0.1:8000; Ctrl-C stops it
	@exec $(BIN)/lab serve

test: $(STAMP) ## every test on SQLite, then those that write again on PostgreSQL; what needs a server that is not installed says so
	$(BIN)/python -m pytest -rs $(SPREAD) --ignore=tests/e2e
	$(BIN)/python -m pytest -rs tests/e2e
	LAB_TEST_DATABASE=postgresql $(BIN)/python -m pytest -rs $(SPREAD) tests/app tests/worker

fast: $(STAMP) format contracts ## under a minute, after every change: format and mend, contracts, the tests that cost least
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/python -m pytest $(SPREAD) --ignore=tests/e2e -m 'not thorough and not costly'

quick: formatted lint types contracts $(STAMP) ## under five minutes, before a commit: what is said of the code, and all tests on one database but those of whole services and processes
	$(BIN)/python -m pytest -rs $(SPREAD) --ignore=tests/e2e -m 'not costly'

check: formatted lint types contracts $(STAMP) ## exactly what CI runs: all of quick, whole services but their slowest faults, and again on PostgreSQL what writes
	$(BIN)/python -m pytest -rs $(SPREAD) --ignore=tests/e2e
	$(BIN)/python -m pytest -rs -m 'not slow' tests/e2e
	LAB_TEST_DATABASE=postgresql $(BIN)/python -m pytest -rs $(SPREAD) tests/app tests/worker

format: $(STAMP) ## write the code as the formatter would
	$(BIN)/ruff format $(CODE)

formatted: $(STAMP)
	$(BIN)/ruff format --check $(CODE)

lint: $(STAMP) ## ruff
	$(BIN)/ruff check $(CODE)

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

contracts: $(STAMP) ## which room may import which
	$(BIN)/lint-imports

docs: $(STAMP) ## write the generated tables of the documents
	$(BIN)/python -m app.commands.reference docs/*.md

bench: $(STAMP) ## benchmarks: a table, and JSON in benchmarks/latest.json
	$(PIP) --require-hashes --requirement requirements/bench.txt || echo "Lightning could not be installed: its row is left out"
	$(BIN)/python -m benchmarks

load: $(STAMP) ## a class and bursts while every core trains: tables, benchmarks/load.json, and what it must reach; STACK=sqlite, PARTS="bursts rates", SECONDS=48, URL=
	$(BIN)/python -m benchmarks.load --check $(if $(STACK),--stack $(STACK)) $(if $(PARTS),--parts $(PARTS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(URL),--url $(URL))

lock: $(STAMP) ## write requirements/ by what pyproject.toml asks for: versions stay where they fit, UPGRADE=1 takes the newest
	$(PIP) --require-hashes --requirement requirements/supply.txt
	$(LOCK) pyproject.toml --extra postgres --extra lab --extra dev --group build --output-file requirements/dev.txt
	$(LOCK) pyproject.toml --extra postgres --constraint requirements/dev.txt --output-file requirements/service.txt
	$(LOCK) pyproject.toml --extra postgres --extra lab --constraint requirements/dev.txt --output-file requirements/worker.txt
	$(LOCK) pyproject.toml --extra postgres --extra lab --extra dev --extra bench --group build --constraint requirements/dev.txt --output-file requirements/bench.txt
	$(LOCK) --group pyproject.toml:build --constraint requirements/dev.txt --output-file requirements/build.txt
	$(LOCK) --group pyproject.toml:supply --constraint requirements/dev.txt --output-file requirements/supply.txt

audit: $(STAMP) ## whether what is locked has a known vulnerability; needs an index that carries advisories
	$(PIP) --require-hashes --requirement requirements/supply.txt
	$(BIN)/python -m tests.audit requirements/bench.txt requirements/supply.txt

digests: $(STAMP) ## name the images of others by digest too, in Dockerfile and docker-compose.yml; needs a Docker engine and the registry
	$(BIN)/python -m tests.compose.digests

chaos: $(STAMP) ## random faults on both stacks, then the proof that nothing was lost: MINUTES=10, SEED= repeats a run
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

compose-test: $(STAMP) ## the containers: build, up, faults, down; needs a Docker engine and docker-compose
	$(BIN)/python -m tests.compose

fuzz: $(STAMP) ## odd requests by the OpenAPI document to a real service: CASES=5000, SEED= repeats a run
	$(BIN)/python -m tests.fuzz --cases $(or $(CASES),5000) $(if $(SEED),--seed $(SEED))

clean: ## remove what make made
	rm -rf $(VENV) .lab-demo build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
