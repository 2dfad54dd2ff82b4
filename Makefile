# `make demo` and `make test` need only Python 3.11 or newer, git and make; they install the rest into .venv.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
# The first of these that runs and is 3.13 or newer; a pyenv shim can be on the PATH and not run.
PYTHON_BIGQUERY ?= python3.13 python3.14 $(wildcard $(HOME)/.pyenv/versions/3.13*/bin/python)
BIN := .venv/bin
SANDBOX := $(BIN)/python -m gorgias_assets.sandbox
SOURCES := gorgias_assets gorgias_assets_tests
# As `. .venv/bin/activate` sets it; `dg` warns if its environment is not the project's.
export VIRTUAL_ENV := $(CURDIR)/.venv
# Tables, reports and histories are closed to other users; `make dev UMASK=027` lets a group read new ones.
UMASK ?= 077
HAS_ACCOUNT := [ -n "$$GORGIAS_URI" ] || grep -qs '^GORGIAS_URI=.' .env

.PHONY: demo dev backfill status sql test test-bigquery test-wheel soak screenshots docs check fix bench sandbox emulator clean

demo: .venv/installed  ## materialize the last days of a simulated account into warehouse.duckdb and query them
	@$(HISTORIES); $(SIMULATED) $(BIN)/python -m gorgias_assets.sandbox.demo

# A history of each account, the real one and the simulated one.
HISTORIES = umask $(UMASK); mkdir -p .dagster/real .dagster/simulated; \
	for home in .dagster/real .dagster/simulated; do cp deploy/dagster.yaml $$home/; done
# It answers ten times the calls of a usual account, so that nobody waits for a budget.
SIMULATED = DAGSTER_HOME=$(CURDIR)/.dagster/simulated exec $(SANDBOX) --limit 400 --port 0 --run
# Run a command on GORGIAS_URI's account if it is set (here or in .env), else on the simulated one.
ON_ACCOUNT = @$(HISTORIES); \
	if $(HAS_ACCOUNT); then \
		echo "On the account of GORGIAS_URI"; \
		DAGSTER_HOME=$(CURDIR)/.dagster/real exec $(1); \
	else \
		echo "On a simulated account; set GORGIAS_URI, here or in .env, for a real one"; \
		$(SIMULATED) $(1); \
	fi

dev: .venv/installed  ## the Dagster UI; turn on sensors and the full sweep under Automation
	$(call ON_ACCOUNT,$(BIN)/dg dev)

backfill: .venv/installed  ## materialize the days FROM to TO in one run: `make backfill FROM=2025-01-01 TO=2025-06-30`
	$(call ON_ACCOUNT,$(BIN)/python -m gorgias_assets backfill $(FROM) $(TO))

status: .venv/installed  ## rows, missing days, and API calls in use
	$(call ON_ACCOUNT,$(BIN)/python -m gorgias_assets status)

sql: .venv/installed  ## DuckDB's shell on a copy of the tables, of GORGIAS_URI's account or of the simulated one
	@$(HAS_ACCOUNT) || export GORGIAS_SCHEMA=gorgias_demo; exec $(BIN)/python -W ignore -m gorgias_assets sql

test: .venv/installed .venv-bigquery/installed  ## all tests; those on a BigQuery emulator need Python 3.13
	$(BIN)/pytest

test-bigquery: .venv/installed  ## tests on Google's service, in a scratch dataset of PROJECT, in LOCATION if not US
	$(BIN)/python -m gorgias_assets_tests.bigquery.account --project "$(PROJECT)" $(if $(LOCATION),--location $(LOCATION))

test-wheel: .venv/installed  ## the wheel in empty environments, on each Python or PYTHON, with PACKAGES=pinned, newest, or both
	$(BIN)/pytest -m soak -n 0 -o faulthandler_timeout=0 gorgias_assets_tests/test_wheel.py

soak: .venv/installed .venv-bigquery/installed .venv-dbt/installed $(if $(DAGSTER_CHART),.venv/chart)  ## tests that take minutes: a month of a living account with faults and kills, a run that Dagster retries, the image, DAGSTER_CHART, more on BigQuery
	$(BIN)/pytest -m soak -n 0 -s -o faulthandler_timeout=0

screenshots: .venv/installed  ## the pictures of the documents: the overview's, its report's, and those of Dagster's pages; needs Chromium
	$(BIN)/python -m gorgias_assets_tests.pictures docs/overview.png
	@mkdir -p docs/screenshots
	SCREENSHOTS=docs/screenshots $(BIN)/pytest -m soak -n 0 -o faulthandler_timeout=0 gorgias_assets_tests/test_browser.py

docs: .venv/installed  ## write the generated parts of the documents, and .env.example
	$(BIN)/python -m gorgias_assets_tests.documents

check: .venv/installed  ## linter, formatter, types, definitions; writes nothing
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/deptry gorgias_assets
	$(BIN)/deptry gorgias_assets_tests --ignore DEP002,DEP004
	$(BIN)/dg check defs

fix: .venv/installed  ## format, and fix lint errors that ruff can fix
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

bench: .venv/installed  ## cost of a backfill, of old days and kills in calls, shares of the budget, time of checks, of runs of many days, of loading, of a privacy policy, of a quiet day, of questions to views, of metrics and of the report; ten minutes
	$(BIN)/python -m gorgias_assets_tests.benchmarks.backfill
	$(BIN)/python -m gorgias_assets_tests.benchmarks.calls
	$(BIN)/python -m gorgias_assets_tests.benchmarks.budget
	$(BIN)/python -m gorgias_assets_tests.benchmarks.checks
	$(BIN)/python -m gorgias_assets_tests.benchmarks.ranges
	$(BIN)/python -m gorgias_assets_tests.benchmarks.loading
	$(BIN)/python -m gorgias_assets_tests.benchmarks.privacy
	$(BIN)/python -m gorgias_assets_tests.benchmarks.quiet_day
	$(BIN)/python -m gorgias_assets_tests.benchmarks.views
	$(BIN)/python -m gorgias_assets_tests.benchmarks.backlog
	$(BIN)/python -m gorgias_assets_tests.benchmarks.metrics
	$(BIN)/python -m gorgias_assets_tests.benchmarks.report

sandbox: .venv/installed  ## a simulated account on http://127.0.0.1:8765/api until Ctrl-C
	$(SANDBOX)

emulator: .venv/installed .venv-bigquery/installed  ## a BigQuery emulator on http://127.0.0.1:9050 until Ctrl-C
	$(BIN)/python -m gorgias_assets_tests.bigquery.emulator

clean:
	rm -rf .venv .venv-bigquery .dagster

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.venv/chart: pyproject.toml constraints.txt | .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[chart]'
	@touch $@

.venv-dbt/installed: gorgias_assets_tests/dbt/requirements.txt pyproject.toml
	$(PYTHON) -m venv --clear .venv-dbt
	.venv-dbt/bin/python -m pip install --quiet --disable-pip-version-check -r $< -e .
	@touch $@

.venv-bigquery/installed: gorgias_assets_tests/bigquery/emulator/requirements.txt | .venv/installed
	@for python in $(PYTHON_BIGQUERY); do \
		$$python -c 'import sys; sys.exit(sys.version_info < (3, 13))' 2>/dev/null || continue; \
		$$python -m venv --clear .venv-bigquery && \
		.venv-bigquery/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $< && \
		$(BIN)/python -m gorgias_assets_tests.bigquery.googlesql && \
		touch $@; \
		exit; \
	done; \
	echo "There is no Python 3.13 or newer: tests on a BigQuery emulator will be skipped"
