# Everything from a fresh clone, Python >= 3.11 and a package registry:
#   make run    install, then the main job on built-in data, ending in the table
#   make test   install, then lint, type check and tests
#   make test-all     and all tests: more cases, sizes and processes
#   make site   install, then the leaderboard of what is under results/
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3))
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-all types pytest install site golden lock clean
.DEFAULT_GOAL := run

run: $(VENV)/run
	$(BIN)/zcbench run --config configs/quick.toml --out runs/quick

test: WHICH = -m "not thorough"
test test-all: $(VENV)/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(MAKE) --no-print-directory -j 2 types pytest WHICH='$(WHICH)'

types:
	$(BIN)/mypy

pytest:  # three on two cores: a third of the time is waiting for processes
	$(BIN)/pytest -n 3 --dist loadfile --no-loadscope-reorder $(WHICH)

install: $(VENV)/test

site: $(VENV)/run  # the leaderboard, from the runs that are committed
	$(BIN)/zcbench site results -o site

golden: $(VENV)/run  # after a change of scores that is meant
	rm -rf runs/golden
	$(BIN)/zcbench run --config configs/ci.toml --out runs/golden
	mkdir -p results/golden
	cp runs/golden/manifest.json results/golden/
	gzip -9 -n -c runs/golden/scores.jsonl > results/golden/scores.jsonl.gz

lock: $(VENV)/test  # exact versions of what is installed; WHEELS="…" for builds of torch
	$(BIN)/python -m pip freeze --all --exclude pip --exclude-editable | sed 's/+cpu$$//' > $(VENV)/pins
	test -x $(VENV)/uv/bin/python || $(PYTHON) -m venv $(VENV)/uv
	$(VENV)/uv/bin/python -m pip install --quiet uv
	$(VENV)/uv/bin/python scripts/lock.py $(VENV)/pins $(WHEELS)

# What is imported is compiled, and kept: a quarter of what is installed.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt

$(BIN)/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), "zcbench needs Python 3.11 or newer: make PYTHON=python3.11"'
	$(PYTHON) -m venv $(VENV)

$(VENV)/run: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	touch $@

$(VENV)/test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[test]'
	touch $(VENV)/run $@

clean:
	rm -rf $(VENV) runs site build dist *.egg-info
