# Two commands matter: `make run` and `make test`. The rest is what they are made of.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
CLIENT := engine/client
# The newest Python that is here and new enough.
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

PRESET ?= infotwip
SEEDS ?= 200
KILLS ?= 300
SECONDS_EACH ?= 300
MINUTES ?= 20
RULES := build/rules.json

.PHONY: run test lint types client-test unit bench bench-media bench-market bench-money bench-quality bench-flood soak features sim bank mutation fuzz clean help

help:
	@echo "make run        start Talktime with demo data on http://127.0.0.1:$${TALKTIME_PORT:-8080}"
	@echo "                (PRESET=infotwip, or azmoudegan)"
	@echo "make test       lint, format check, types and all tests"
	@echo "make features   docs/features.md: every promised rule and the tests that keep it"
	@echo "make bench      the benchmarks, a table and one JSON line"
	@echo "make bench-media  CPU and delay of the media plane beside Janus and a bare native loop"
	@echo "make bench-quality  calls of real browsers through loss, beside Janus"
	@echo "make bench-flood  calls while strangers flood the media port"
	@echo "make bench-money  what money costs: holds and captures, idle sessions, cutoffs, recovery"
	@echo "make bench-market  the storefront and cabinets over a big store on PostgreSQL"
	@echo "make sim        the whole engine on virtual time with seeded faults (SEEDS=200)"
	@echo "make bank       engine processes on PostgreSQL, killed again and again (KILLS=300)"
	@echo "make soak       calls that come and go, and what of them stays behind (MINUTES=20)"
	@echo "make fuzz       fuzzers of the packet plane (SECONDS_EACH=300)"
	@echo "make mutation   mutants of the money code that the tests must notice"
	@echo "make clean      remove what the commands above made, but not the data in var/"

run: $(VENV)/.runtime $(VENV)/.native $(CLIENT)/dist/.built
	@TALKTIME_PRESET=$(PRESET) exec $(BIN)/python run_engine.py --demo

test:
	@tools/ensure-test-programs
	@$(MAKE) --no-print-directory lint types client-test unit
	@$(BIN)/python -m tests.features $(RULES)

# Renew docs/features.md; fails, as the tests do, for a promised rule without a passing test.
features:
	@tools/ensure-test-programs
	@$(MAKE) --no-print-directory unit
	@$(BIN)/python -m tests.features $(RULES) --write

lint: $(VENV)/.dev
	@echo "== lint and format"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(VENV)/.dev
	@echo "== types"
	@$(BIN)/mypy

client-test: $(CLIENT)/dist/.built
	@echo "== browser client"
	@cd $(CLIENT) && npm run --silent check && npm test --silent

unit: $(VENV)/.dev $(VENV)/.native $(CLIENT)/dist/.built
	@echo "== tests"
	@$(BIN)/pytest -q -n 2 --dist load --maxschedchunk 1 --rules-report=$(RULES)

bench: $(VENV)/.dev $(VENV)/.native $(CLIENT)/dist/.built
	@$(BIN)/python -m loadtests.bench

bench-media: $(VENV)/.dev
	@tools/ensure-bench-programs
	@$(BIN)/python -m loadtests.media

bench-quality: $(VENV)/.dev
	@tools/ensure-test-programs
	@tools/ensure-bench-programs
	@$(BIN)/python -m loadtests.media.quality

bench-flood: $(VENV)/.dev $(VENV)/.native
	@tools/ensure-bench-programs
	@$(BIN)/python -m loadtests.media.flood

bench-money: $(VENV)/.dev
	@$(BIN)/python -m loadtests.bench.money

bench-market: $(VENV)/.dev
	@tools/ensure-test-programs
	@$(BIN)/python -m loadtests.bench.market

sim: $(VENV)/.dev
	@$(BIN)/python -m tests.simulation --seeds $(SEEDS)

bank: $(VENV)/.dev
	@$(BIN)/python -m tests.bank --kills $(KILLS)

soak: $(VENV)/.dev $(VENV)/.native $(CLIENT)/dist/.built
	@$(BIN)/python -m loadtests.soak --minutes $(MINUTES)

# Fuzz the compiled packet plane and its parsers for longer than the tests do.
fuzz: $(VENV)/.dev $(VENV)/.native
	@$(BIN)/python -m tests.fuzz.media.differential --seeds 2000
	@for target in sdp stun rtcp; do $(BIN)/python -m tests.fuzz.guided.target $$target \
		tests/fuzz/guided/corpora/$$target -max_total_time=$(SECONDS_EACH) -max_len=3000 || exit 1; done
	@$(BIN)/python -m tests.native.build --seconds $(SECONDS_EACH)

mutation: $(VENV)/.dev
	@tools/ensure-test-programs
	@$(BIN)/python -m tests.mutation

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then echo "Python 3.11 or newer is needed and was not found"; exit 1; fi
	@echo "== creating the virtual environment with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "the venv module is missing: install python3-venv"; exit 1; }

$(VENV)/.runtime: pyproject.toml | $(VENV)/bin/python
	@echo "== installing Python packages (a minute or two the first time)"
	@$(BIN)/pip install --disable-pip-version-check --progress-bar on -e .
	@touch $@ $(VENV)/.native

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "== installing Python packages and test tools (a minute or two the first time)"
	@$(BIN)/pip install --disable-pip-version-check --progress-bar on -e '.[dev]'
	@touch $@ $(VENV)/.runtime $(VENV)/.native

# The compiled packet plane. Without a compiler the engine runs on its Python twin.
$(VENV)/.native: setup.py $(wildcard engine/media/native/*.[ch]) | $(VENV)/.runtime
	@echo "== compiling the packet plane"
	@$(BIN)/pip install --disable-pip-version-check --quiet --no-deps -e .
	@touch $@

$(CLIENT)/node_modules/.installed: $(CLIENT)/package-lock.json
	@node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null || \
		{ echo "Node 20 or newer is needed and was not found"; exit 1; }
	@echo "== installing the browser client's packages"
	@cd $(CLIENT) && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

$(CLIENT)/dist/.built: $(CLIENT)/node_modules/.installed $(shell find $(CLIENT)/src -type f 2>/dev/null) \
		$(wildcard $(CLIENT)/*.json $(CLIENT)/*.mjs)
	@echo "== building the browser client"
	@cd $(CLIENT) && npm run --silent build
	@touch $@

clean:
	rm -rf $(VENV) $(CLIENT)/node_modules $(CLIENT)/dist build *.egg-info .mypy_cache .ruff_cache .pytest_cache
