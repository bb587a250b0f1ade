# `make demo` and `make test` are all a newcomer needs; both set up what they use. PYTHON=python3.13
# says on which Python; without it, the one of .venv stays, or the first that is new enough is taken.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin
FILE ?= sandbox/sample.xml

.DEFAULT_GOAL := help
.PHONY: help demo test image lint types check bench requirements docs clean
.NOTPARALLEL:

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-16s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# The sets of requirements: sandbox, tests, development.
with-%:
	@PYTHON="$(PYTHON)" requirements/install $(VENV) $*

demo:  ## run the main job on an embedded Aruna and GFBio; FILE=path takes your own ABCD
	@bash -c '((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 404)) && command -v curl >/dev/null' \
	  || { echo "make demo needs bash 4.4 or newer and curl (macOS: brew install bash)" >&2; exit 2; }
	@PYTHON="$(PYTHON)" requirements/install $(VENV) sandbox
	@$(BIN)/python -m sandbox.demo "$(FILE)"

test: with-tests  ## run all tests, the fast ones first, on two cores; PYTHON=python3.13 on that one
	@$(BIN)/python -VV
	@$(BIN)/python -m pytest -n 2 --dist loadfile

image: with-tests  ## build the container image by buildah, and run it (as root)
	@$(BIN)/python -m pytest -m image tests/deploy

lint: with-tests  ## ruff: rules and format; import-linter: what may import what
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: with-development  ## mypy --strict
	@$(BIN)/mypy

check: lint types test  ## all of it, as CI does

bench: with-development  ## all benchmarks, a quarter of an hour; docs/performance.md is made of them
	@$(BIN)/python -m bench

docs: with-tests  ## write the generated parts of README anew
	@$(BIN)/python -m tests.documented

requirements: with-development  ## resolve the pins and hashes anew from pyproject.toml
	@requirements/resolve $(BIN)/uv

clean:  ## remove what make has made
	@rm -rf $(VENV) .demo .image
