# Each verb does all set-up by itself: it needs Python ≥ 3.11 with pip and venv, nothing else.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
.PHONY: help setup browser format check test demo bench docs

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/.ready  ## a virtual environment in .venv with exactly the tested versions

.venv/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "petmood needs Python 3.11 or newer; name one with make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint constraints.txt --editable '.[dev,offline]'
	@touch $@

browser:  ## Chromium and a Korean font for the tests of pages, where apt may install them
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium fonts-noto-cjk >/dev/null; } \
	|| echo "no Chromium here and none could be installed: the tests that open pages are skipped"

format: setup  ## ruff: format and sort imports
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check: setup  ## ruff and mypy, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

test: setup browser  ## the whole test suite
	$(BIN)/python -m pytest -n 2

demo: setup  ## made-up clips through every stage to a report in demo/
	$(BIN)/petmood demo demo --force

bench: setup  ## the benchmarks at a small size; docs/benchmarks.md has the full commands
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable '.[dev,offline,bench]'
	$(BIN)/python benchmarks/index.py --clips 200
	$(BIN)/python benchmarks/pack.py --clips 40
	$(BIN)/python benchmarks/curate.py --clips 600 --repeats 1
	$(BIN)/python benchmarks/near_copies.py --hashes 20000
	$(BIN)/python benchmarks/loader.py --clips 2 --frames 8 --size 640x360 --repeats 1
	$(BIN)/python benchmarks/probe.py --solver --rows 5000 --repeats 1
	$(BIN)/python benchmarks/train_gpu.py --toy
	$(BIN)/python benchmarks/curation.py --clips 60 --frames 16 --seeds 1 --steps 30
	$(BIN)/python benchmarks/imbalance.py --largest 40 --smallest 4 --tested 6 --frames 3 --seeds 1 --steps 30

docs: setup  ## command reference in docs/reference.md from the commands themselves
	$(BIN)/python docs/make_reference.py
