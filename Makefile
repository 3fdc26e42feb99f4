# The quick start is `make demo` and `make test`. `make help` lists the rest.
# CROSSOVER_KUBE_CONTEXT=NAME takes that context of your kubeconfig instead of the local cluster.
SHELL := /bin/sh
PYTHON := .venv/bin/python
NAME ?= event_bus
UNIT := tests/unit tests/components -q -n auto --dist worksteal
SERVERS := tests/model tests/contract tests/browser tests/plugins tests/cluster -q -n 3 --dist worksteal --durations=10
CLUSTER := tests/e2e -q --durations=10
.DEFAULT_GOAL := help
.PHONY: help venv setup up down status env demo test unit lint lock bench

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

venv: ## Find or make a Python 3.12 or 3.13, and .venv from the locked requirements
	@sh local/setup/bootstrap.sh

setup: venv ## Tools: Go programs, Pulumi and its plugins, the stack `local`, .crossover/env
	@$(PYTHON) -m local.setup tools

up: venv ## setup, and the images, and the cluster with them in it
	@$(PYTHON) -m local.setup

down: venv ## Remove every process, mount, namespace and file of the local cluster, and its stack's state
	@$(PYTHON) -m local.setup down

status: venv ## What runs: the cluster's processes, node, pods and volumes
	@$(PYTHON) -m local.cluster status

env: ## How to give this shell pulumi, kubectl and crossover
	@echo '. .crossover/env'

demo: venv ## The whole story: up, deploy, move each component under load and back, print the proof
	@$(PYTHON) -m local.demo

unit: venv ## Tests that need no cluster: under a minute
	$(PYTHON) -m pytest $(UNIT)

lint: venv ## ruff, mypy --strict, import-linter
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy .
	.venv/bin/lint-imports

test: lint ## All tests, on real servers and on the cluster
	@$(PYTHON) -m local.setup tests
	@$(PYTHON) -m local.setup
	$(PYTHON) -m pytest $(UNIT)
	. .crossover/env && $(PYTHON) -m pytest $(SERVERS)
	. .crossover/env && $(PYTHON) -m pytest $(CLUSTER)

bench: venv ## Run a benchmark: make bench NAME=event_bus, or database
	@if [ -f .crossover/env ]; then . .crossover/env; fi; $(PYTHON) -m benchmarks $(NAME)

lock: venv ## Write the requirement locks anew, with hashes
	.venv/bin/uv pip compile --generate-hashes --universal --python-version 3.12 --no-annotate --no-emit-index-url -q -o requirements-dev.txt requirements-dev.in
	.venv/bin/uv pip compile --generate-hashes --universal --python-version 3.12 --no-annotate --no-emit-index-url -q -c requirements-dev.txt -o requirements.txt requirements.in
	.venv/bin/uv pip compile --generate-hashes --universal --python-version 3.12 --no-annotate --no-emit-index-url -q -o policy/requirements.txt policy/requirements.in
	.venv/bin/uv pip compile --generate-hashes --universal --python-version 3.12 --no-annotate --no-emit-index-url -q -o local/release/requirements.txt local/release/requirements.in
