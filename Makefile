# On a bare machine every target makes .venv first, with what it needs: the service for most, the tools too for tests.
# It needs Python 3.11 or newer and nothing else. CPU=1 takes PyTorch without CUDA, and .venv remembers it.

PYTHON ?= python3
VENV := .venv
TRACKERS := .venv-trackers
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV := $(VENV)/.dev
# whoever says CPU=yes means it; a CPU of the environment may mean something else
CHOICE := $(if $(filter command,$(origin CPU)),$(if $(filter 0 no false,$(CPU)),0,1),$(filter 0 1,$(CPU)))
OLD := $(PYTHON) is Python %d.%d, and 3.11 or newer is needed: install one, or name one that is there, as in make PYTHON=python3.12 $(or $(MAKECMDGOALS),install)
INSTALL = @command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not there: install Python 3.11 or newer, or name one that is there, as in make PYTHON=python3.12 $(or $(MAKECMDGOALS),install)" >&2; exit 1; }; \
	$(PYTHON) -c 'import sys; v = tuple(sys.version_info[:2]); sys.exit(v < (3, 11) and "$(OLD)" % v)' && \
	$(PYTHON) requirements/install.py $(if $(CHOICE),--cpu $(CHOICE)) $(if $(ANYWAY),--anyway)
LOCK := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-package training-lab-client --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade) $(LOCK_ARGS)
PYTEST := $(BIN)/python -m pytest -rs
SPREAD := --numprocesses 2 --dist loadfile --no-loadscope-reorder  # a file's tests stay with one process
CODE := app worker lab_models migrations client tests benchmarks requirements/install.py setup.py

.PHONY: anew help install demo run test fast quick check format formatted lint types contracts docs bench gpu-proof load lock audit digests chaos compose-test trackers-test fuzz clean

help:
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

install: $(STAMP) ## make .venv with the service and PyTorch, `lab` and `python` in .venv/bin; CPU=1: PyTorch without CUDA

$(STAMP): pyproject.toml $(wildcard setup.py) client/pyproject.toml requirements/worker.txt requirements/build.txt $(if $(CHOICE),anew)
	$(INSTALL) worker
	@touch $@

$(DEV): pyproject.toml $(wildcard setup.py) client/pyproject.toml requirements/dev.txt $(if $(CHOICE),anew)
	$(INSTALL) dev
	@touch $(STAMP) $@

anew:

demo: $(STAMP) ## train a small network over the API and show the result
	@$(BIN)/lab demo

run: $(STAMP) ## the service on 127.0.0.1:8000; Ctrl-C stops it
	@exec $(BIN)/lab serve

test: $(DEV) ## every test on SQLite, then those that write again on PostgreSQL; about half an hour; what needs a server that is not installed says so
	@$(BIN)/python -m tests.stages 'make test' 'about half an hour on two idle cores' \
		'all but whole services, on SQLite: $(PYTEST) $(SPREAD) --ignore=tests/e2e' \
		'whole services: $(PYTEST) $(SPREAD) tests/e2e' \
		'what writes, on PostgreSQL: LAB_TEST_DATABASE=postgresql $(PYTEST) $(SPREAD) tests/app tests/worker'

fast: $(DEV) format contracts ## under a minute, after every change: format and mend, contracts, the tests that cost least
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/python -m pytest $(SPREAD) --ignore=tests/e2e -m 'not thorough and not costly'

quick: formatted lint types contracts $(DEV) ## under five minutes, before a commit: what is said of the code, and all tests on one database but those of whole services and processes
	$(PYTEST) $(SPREAD) --ignore=tests/e2e -m 'not costly'

check: formatted lint types contracts $(DEV) ## exactly what CI runs, about twenty minutes: all but the slowest tests, whole services too, and again on PostgreSQL what writes
	@$(BIN)/python -m tests.stages 'make check' 'about twenty minutes on two idle cores' \
		'all but whole services, on SQLite: $(PYTEST) $(SPREAD) -m "not slow" --ignore=tests/e2e' \
		'whole services but their slowest faults: $(PYTEST) $(SPREAD) -m "not slow" tests/e2e' \
		'what writes, on PostgreSQL: LAB_TEST_DATABASE=postgresql $(PYTEST) $(SPREAD) -m "not slow" tests/app tests/worker'

format: $(DEV) ## write the code as the formatter would
	$(BIN)/ruff format $(CODE)

formatted: $(DEV)
	$(BIN)/ruff format --check $(CODE)

lint: $(DEV) ## ruff
	$(BIN)/ruff check $(CODE)

types: $(DEV) ## mypy, strict
	$(BIN)/mypy

contracts: $(DEV) ## which room may import which
	$(BIN)/lint-imports
	cd client && ../$(BIN)/lint-imports

docs: $(DEV) ## write the generated tables of the documents
	$(BIN)/python -m app.commands.reference docs/*.md

bench: $(DEV) ## benchmarks: a table, and JSON in benchmarks/latest.json
	$(INSTALL) bench || echo "Lightning could not be installed: its row is left out"
	$(BIN)/python -m benchmarks

gpu-proof: $(DEV) ## on a machine with an NVIDIA GPU, nine minutes: whether all that is promised of one holds there; benchmarks/gpu.json; PRETEND=1 runs it without a card, SHORT=1 the least of it, PHASES="G5 G6"
	$(BIN)/python -m benchmarks.gpu $(if $(PRETEND),--pretend) $(if $(SHORT),--short) $(if $(PHASES),--only $(PHASES))

load: $(DEV) ## a class and bursts while every core trains: tables, benchmarks/load.json, and what it must reach; STACK=sqlite, PARTS="bursts rates", SECONDS=48, URL=
	$(BIN)/python -m benchmarks.load --check $(if $(STACK),--stack $(STACK)) $(if $(PARTS),--parts $(PARTS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(URL),--url $(URL))

lock: $(DEV) ## write requirements/ by what pyproject.toml asks for: versions stay where they fit, UPGRADE=1 takes the newest
	$(INSTALL) supply
	$(LOCK) pyproject.toml --extra postgres --extra lab --extra dev --group build --output-file requirements/dev.txt
	$(LOCK) pyproject.toml --extra postgres --extra s3 --constraint requirements/dev.txt --output-file requirements/service.txt
	$(LOCK) pyproject.toml --extra postgres --extra s3 --extra lab --constraint requirements/dev.txt --output-file requirements/worker.txt
	$(LOCK) pyproject.toml --extra postgres --extra lab --extra dev --extra bench --group build --constraint requirements/dev.txt --output-file requirements/bench.txt
	$(LOCK) --group pyproject.toml:build --constraint requirements/dev.txt --output-file requirements/build.txt
	$(LOCK) --group pyproject.toml:supply --constraint requirements/dev.txt --output-file requirements/supply.txt
	$(LOCK) --group pyproject.toml:trackers --output-file requirements/trackers.txt

audit: $(DEV) ## whether what is locked has a known vulnerability; needs an index that carries advisories
	$(INSTALL) supply
	$(BIN)/python -m tests.audit requirements/bench.txt requirements/supply.txt

digests: $(DEV) ## name the images of others by digest too, in Dockerfile and docker-compose.yml; needs a Docker engine and the registry
	$(BIN)/python -m tests.compose.digests

chaos: $(DEV) ## random faults on both stacks, then the proof that nothing was lost: MINUTES=10, SEED= repeats a run
	$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

compose-test: $(DEV) ## the containers: build, up, faults, down; needs a Docker engine and docker-compose
	$(BIN)/python -m tests.compose

$(TRACKERS)/.installed: $(DEV) requirements/trackers.txt
	$(PYTHON) -m venv --clear $(TRACKERS)
	$(TRACKERS)/bin/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements/trackers.txt
	$(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > "$$($(TRACKERS)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/service.pth"
	@touch $@

trackers-test: $(TRACKERS)/.installed ## what `lab sync` has sent, read by W&B, TensorBoard, trackio and MLflow themselves, in .venv-trackers: 1 GB, two minutes
	PYTHONPATH="$(CURDIR)/client:$(CURDIR)" $(TRACKERS)/bin/python -m pytest -rs -p no:cacheprovider -W ignore tests/client/test_trackers.py \
		'tests/e2e/test_sessions.py::test_a_shell_has_all_from_the_login_to_the_tracker[wandb]'

fuzz: $(DEV) ## odd requests by the OpenAPI document to a real service: CASES=5000, SEED= repeats a run
	$(BIN)/python -m tests.fuzz --cases $(or $(CASES),5000) $(if $(SEED),--seed $(SEED))

clean: ## remove what make made
	rm -rf $(VENV) $(TRACKERS) .lab-demo build *.egg-info client/build client/*.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
