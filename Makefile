# `make demo` and `make test` are all a newcomer needs; both set up what they use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.requirements
FILE ?= sandbox/sample.xml

.DEFAULT_GOAL := help
.PHONY: help demo test lint types check bench requirements docs clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

$(STAMP): requirements.txt requirements-dev.txt
	@echo "setting up $(VENV) (once for each version of the requirements)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

demo: $(STAMP)  ## run the main job on an embedded Aruna and GFBio; FILE=path takes your own ABCD
	@$(BIN)/python -m sandbox.demo "$(FILE)"

test: $(STAMP)  ## run all tests, the fast ones first, on two cores
	@$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(STAMP)  ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)  ## mypy --strict
	@$(BIN)/mypy

check: lint types test  ## all of it, as CI does

bench: $(STAMP)  ## all benchmarks, a quarter of an hour; docs/performance.md is made of them
	@$(BIN)/python -m bench

docs: $(STAMP)  ## write the generated parts of README anew
	@$(BIN)/python -m tests.documented

requirements:  ## resolve the pins and hashes anew from pyproject.toml
	@$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 -o requirements.txt pyproject.toml
	@$(BIN)/uv pip compile --quiet --generate-hashes --python-version 3.11 --group dev -c requirements.txt -o requirements-dev.txt pyproject.toml

clean:  ## remove what make has made
	@rm -rf $(VENV) .demo
