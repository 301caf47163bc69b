# `make serve` runs the chat, `make test` the tests, `make check` all that CI runs.
# Each sets up what it needs, once.

.DEFAULT_GOAL := help
.PHONY: help setup serve test chaos bench check format lint types fresh lock schema reload clean

BIN := .venv/bin
PAGE := graphql_app/static/playground.html
SOURCES := graphql_app tests benchmarks docs README.md CONTRIBUTING.md
CLIENT := $(shell find client/src -type f) client/playground.html client/tsconfig.json client/vite.config.ts

help: ## Lists these targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready $(PAGE) ## Makes .venv with the locked dependencies and builds the browser pages.

serve: setup ## Serves on http://127.0.0.1:3000, in memory, with simulated answers.
	$(BIN)/graphql-app serve

test: setup ## Runs the tests.
	$(BIN)/pytest

chaos: setup ## Attacks every store with real faults for 15 minutes, or as CHAOS="…" says.
	$(BIN)/python -m tests.chaos $(CHAOS)

bench: setup benchmarks/peers/node_modules/.ready ## Measures streaming beside other servers, or as BENCH="…" says.
	$(BIN)/python -m benchmarks.streaming $(BENCH)

check: setup lint types fresh ## Runs all that CI runs.
	CI=true $(BIN)/pytest

format: .venv/.ready ## Formats the code.
	$(BIN)/ruff check --fix-only --quiet $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

lint: .venv/.ready ## Checks format, style and the direction of imports.
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/lint-imports

types: setup ## Checks the types, of the tests too.
	$(BIN)/mypy
	cd client && npm run check

fresh: .venv/.ready ## Checks that what is generated is what its source says.
	$(BIN)/graphql-app schema | diff - schema.graphql

schema: .venv/.ready ## Writes schema.graphql.
	$(BIN)/graphql-app schema > schema.graphql

reload: .venv/.ready ## Records docs/reload.svg, the picture of the README.
	$(BIN)/python docs/reload.py

lock: .venv/.ready ## Locks the dependencies anew, with names, versions and hashes only.
	$(BIN)/pip-compile --quiet --upgrade --extra dev --extra sql --extra redis --generate-hashes --allow-unsafe \
	  --strip-extras --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --output-file requirements.txt pyproject.toml

clean: ## Removes what the other targets made.
	rm -rf .venv client/node_modules graphql_app/static

.venv/.ready: requirements.txt pyproject.toml
	python3 -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

client/node_modules/.ready: client/package.json client/package-lock.json
	cd client && npm ci --no-audit --no-fund
	touch $@

benchmarks/peers/node_modules/.ready: benchmarks/peers/package.json benchmarks/peers/package-lock.json
	cd benchmarks/peers && npm ci --no-audit --no-fund
	touch $@

$(PAGE): client/node_modules/.ready $(CLIENT)
	cd client && npm run build
	touch $@
