# The two commands that matter: `make demo` and `make test`. Each sets up what it needs in .venv.

PYTHON ?= python3
BIN := .venv/bin
INSTALL = $(BIN)/uv pip sync --quiet --compile-bytecode --require-hashes
BENCH := .bench
# Tests make and drop a thousand databases: in memory, where there is enough of it, in half the time.
TEST_DIR = $(shell free=$$(df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 {print $$4}'); \
	[ "$${free:-0}" -ge 8000000 ] && echo /dev/shm || echo "$${TMPDIR:-/tmp}")
TREE = $(BIN)/uv pip install --quiet --no-deps --no-build-isolation -e . -e client

.PHONY: help setup setup-dev demo stop test check docs reference screenshots vendor recording bench bench-charges bench-reads bench-peers mutants mutants-core mutants-sql seeded-bugs requirements clean

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

setup: .venv/.ready ## Install what is needed to run
setup-dev: .venv/.ready-dev ## Install what is needed to develop

# The developers' environment has all that the users' has, so one that is there serves for both.
.venv/.ready: $(BIN)/uv requirements/server.txt pyproject.toml client/pyproject.toml
	@if [ ! -e .venv/.ready-dev ]; then $(INSTALL) requirements/server.txt && $(TREE); fi
	@touch $@

.venv/.ready-dev: $(BIN)/uv requirements/dev.txt pyproject.toml client/pyproject.toml
	@$(INSTALL) requirements/dev.txt && $(TREE)
	@touch .venv/.ready $@

$(BIN)/uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo 'Groat needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 …'; exit 1; }
	@$(PYTHON) -m venv .venv \
		|| { echo 'Python cannot make virtual environments here; on Debian: apt-get install python3-venv'; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@touch $@

demo: setup ## Start a service with sample data, charge once, show what to try
	@$(BIN)/groat demo

stop: ## Stop it
	@$(BIN)/groat stop

test: setup-dev ## Run the tests, or those that TESTS= names
	@TMPDIR=$(TEST_DIR) $(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder $(TESTS)

campaign: setup-dev ## Compare the ledger with its model for hours; goes on where it was stopped
	@$(BIN)/python -m tests.campaign

check: setup-dev ## Lint, types, layers, migrations
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --config pyproject.toml
	$(BIN)/squawk src/groat_server/migrations/versions/*.sql

docs: setup-dev ## Build the documentation's site into site/; fails on a link that leads nowhere
	@$(BIN)/python -m scripts.site

reference: setup-dev ## Write the pages that are made from the code: docs/api.md and docs/cli.md
	@$(BIN)/python -m scripts.reference

screenshots: setup-dev ## Take the pictures of the dashboard anew, from the sample data: docs/assets/*.png
	@$(BIN)/python -m scripts.screenshots

vendor: setup-dev ## Fetch the scripts and styles of the dashboard from npm, and compare them with the lock
	@$(BIN)/python -m scripts.vendor

recording: setup-dev ## Record the quickstart anew: docs/assets/quickstart.svg
	@$(BIN)/python -m scripts.recording

bench: bench-charges bench-reads ## Measure: ratios side by side, on a server of its own; half an hour
	@$(BIN)/python -m benchmarks.summary $(BENCH)

bench-charges: setup-dev ## … what writes: charges, HTTP, imports, what Groat takes
	@for name in charge over_http live footprint imports lots; do $(BIN)/python -m benchmarks.$$name --into $(BENCH) || exit; done

bench-reads: setup-dev ## … what reads, at 1 million and 20 million events: 12 GB for a while
	@$(BIN)/python -m benchmarks.reads --into $(BENCH)
	@$(BIN)/python -m benchmarks.pages --into $(BENCH)

bench-peers: setup-dev ## … charges, beside ledgers from PyPI in an environment of their own
	@$(PYTHON) -m venv $(BENCH)/peers
	@$(BIN)/uv pip sync --quiet --python $(BENCH)/peers/bin/python --require-hashes benchmarks/peers/requirements.txt
	@$(BIN)/python -m benchmarks.charge --peers $(BENCH)/peers/bin/python --into $(BENCH)

mutants: mutants-core mutants-sql seeded-bugs ## Break the code in a copy, each way, and see which test notices

mutants-core: setup-dev ## … every expression of core/, by mutmut; at least 95 % must be noticed
	@$(BIN)/python -m mutation.core

mutants-sql: setup-dev ## … the SQL, by the list in mutation/sql.toml; all must be noticed
	@$(BIN)/python -m mutation.run sql

seeded-bugs: setup-dev ## … bugs that somebody could have written, by mutation/seeded.toml; all must be noticed
	@$(BIN)/python -m mutation.run seeded

requirements: $(BIN)/uv ## Compile the pinned requirements anew
	@cd requirements && for name in uv server dev; do \
		../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
			--custom-compile-command 'make requirements' $$name.in -o $$name.txt; done
	@cd benchmarks/peers && ../../$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--custom-compile-command 'make requirements' requirements.in -o requirements.txt

clean: ## Remove the environment and what tools have left
	rm -rf .venv .bench .site site .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .mutation_cache
