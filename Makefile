# The quick start is `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/sh
PYTHON := .venv/bin/python
.DEFAULT_GOAL := help
.PHONY: help venv setup up down status demo test unit lint lock env bench

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

venv: ## Make .venv from the locked requirements
	@sh local/setup/bootstrap.sh

unit: venv ## Tests that need no cluster: seconds
	$(PYTHON) -m pytest tests/unit tests/components -q

lint: venv ## ruff, mypy --strict, import-linter
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy .
	.venv/bin/lint-imports

test: lint ## All tests
	$(PYTHON) -m pytest tests -q

lock: venv ## Write the requirement locks anew, with hashes
	uv pip compile --generate-hashes --universal --python-version 3.12 --no-annotate --no-emit-index-url -q -o requirements-dev.txt requirements-dev.in
	uv pip compile --generate-hashes --universal --python-version 3.12 --no-annotate --no-emit-index-url -q -c requirements-dev.txt -o requirements.txt requirements.in
