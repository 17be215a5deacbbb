# Postmeter's tasks. `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNTIME := $(VENV)/.runtime-$(shell cksum < requirements.txt | cut -d' ' -f1)
DEV := $(VENV)/.dev-$(shell cat requirements.txt requirements-dev.txt | cksum | cut -d' ' -f1)
PIP := $(BIN)/pip --quiet --disable-pip-version-check
BROKER ?= embedded

.PHONY: help
help: ## list the tasks
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

$(RUNTIME): requirements.txt
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11) and "Postmeter needs Python 3.11 or newer; this is " + sys.version.split()[0])'
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing the pinned packages (first run only)"
	@$(PIP) install --require-hashes -r requirements.txt
	@$(PIP) install --no-build-isolation --no-deps -e .
	@touch $@

$(DEV): $(RUNTIME) requirements-dev.txt
	@echo "installing the pinned tools (first run only)"
	@$(PIP) install --require-hashes -r requirements-dev.txt
	@touch $@

.PHONY: install
install: $(RUNTIME) ## make .venv with the postmeter command in it

.PHONY: dev
dev: $(DEV) ## make .venv with the test tools too

.PHONY: lint
lint: $(DEV) ## ruff, mypy, import rules
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | tail -n 3

.PHONY: format
format: $(DEV) ## rewrite the code in the house format
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

PYTEST := $(BIN)/pytest
SUITES ?= tests
# More than the cores: most of what the suites do is wait.
JOBS ?= 4

# The ledger's own tests once more, on PostgreSQL; virtual time costs a round trip a statement there.
ON_POSTGRESQL := tests/unit/ledger -k "not virtual_time or thrown_up_and_down"

.PHONY: test
test: lint ## lint, then all but the slow tests; installs Debian packages only if it may
	@POSTFIX_ROOT="$$(tests/support/packages.sh)" $(BIN)/python tests/support/suites.py $(JOBS) -q -m "not slow" $(SUITES)
ifeq ($(SUITES),tests)
	@TEST_LEDGER=postgresql $(BIN)/python tests/support/suites.py $(JOBS) -q -m "not slow" $(ON_POSTGRESQL)
endif

.PHONY: test-slow
test-slow: $(DEV) ## the tests of more than ten seconds: outages, forecasts, many seeds; half an hour
	@POSTFIX_ROOT="$$(tests/support/packages.sh --slow)" $(BIN)/python tests/support/suites.py $(JOBS) -q -m slow $(SUITES)

# The tests that need a broker, on queues of the one type and then of the other.
WITH_BROKER := tests/support/suites.py $(JOBS) -q -m "rabbitmq and not slow" $(SUITES)

.PHONY: test-queues
test-queues: $(DEV) ## the tests that need a broker, with quorum queues and with classic ones
	@tests/support/packages.sh >/dev/null
	@RABBITMQ_QUEUE_TYPE=quorum $(BIN)/python $(WITH_BROKER)
	@RABBITMQ_QUEUE_TYPE=classic $(BIN)/python $(WITH_BROKER)

.PHONY: test-rabbitmq4
test-rabbitmq4: $(DEV) ## the same on RabbitMQ 4, in a Debian trixie that the first run makes; root
	@tests/support/packages.sh --rabbitmq4 >/dev/null
	@RABBITMQ_QUEUE_TYPE=quorum tests/support/rabbitmq4.sh $(BIN)/python $(WITH_BROKER)
	@RABBITMQ_QUEUE_TYPE=classic tests/support/rabbitmq4.sh $(BIN)/python $(WITH_BROKER)

.PHONY: unit
unit: $(DEV) ## the tests that need no server
	@$(PYTEST) -q tests/unit tests/contract

.PHONY: demo
demo: $(RUNTIME) ## 90 s: limits held while a worker is killed (BROKER=rabbitmq for a private one)
ifeq ($(BROKER),embedded)
	@$(BIN)/postmeter demo
else
	@tests/support/packages.sh >/dev/null
	@$(BIN)/python -m tests.support.with_rabbitmq $(BIN)/postmeter demo --broker-url
endif

PEERS := .venv-prove/.peers-$(shell cksum < requirements-prove.txt | cut -d' ' -f1)

$(PEERS): requirements-prove.txt
	@test -x .venv-prove/bin/python || { echo "making .venv-prove"; $(PYTHON) -m venv .venv-prove; }
	@echo "installing the peers (first run only)"
	@.venv-prove/bin/pip --quiet --disable-pip-version-check install --require-hashes -r $<
	@touch $@

.PHONY: prove
prove: $(DEV) $(PEERS) ## up to 60 min: limits, losses and peers at the receiving server; docs/proof.md
	@tests/support/packages.sh --prove >/dev/null
	@$(BIN)/python -m tests.prove

MINUTES ?= 60
.PHONY: soak
soak: $(DEV) ## MINUTES=60 at 30 a minute, 10,000 waiting: memory, time-outs, what is unacknowledged
	@tests/support/packages.sh >/dev/null
	@$(BIN)/python -m tests.prove.soak --minutes $(MINUTES)

.PHONY: scale
scale: $(DEV) ## 8 min, root: 1, 2, 4 processes and hosts: throughput, connections, load; docs/capacity.md
	@tests/support/packages.sh --prove >/dev/null
	@$(BIN)/python -m tests.prove.scale

.PHONY: clean
clean: ## remove what the other tasks made
	rm -rf $(VENV) .venv-prove dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
