# make search   a first search on synthetic EMG, from nothing
# make test     the whole test suite
# make test-cluster   machines on one machine, with faults: needs root, sshd, rsync, tmux
# make check    lint, format, types, tests: what CI runs
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CLUSTER_READY := $(VENV)/.cluster-ready

.PHONY: search test test-cluster check lint format setup cluster-setup clean

search: $(READY)
	$(BIN)/python -m search.run spaces/deep.yaml

test: $(READY)
	$(BIN)/python -m pytest

test-cluster: $(READY)
	$(BIN)/python -m pytest tests/cluster -m cluster -rs

check: lint test

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

setup: $(READY)

# What a node of a cluster needs: no tests, no linters; Ray's dashboard and cloud clients.
cluster-setup: $(CLUSTER_READY)

$(READY): EXTRA := dev
$(CLUSTER_READY): EXTRA := cluster

# Made anew whenever the pinned versions or the project's needs change.
$(READY) $(CLUSTER_READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"emgsearch needs Python 3.11 to 3.13, and {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.11")'
	@echo "Setting up $(VENV) with the pinned versions of constraints.txt (a minute or two) ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRA)]'
	@touch $@
	@echo "$(VENV) is ready."

clean:
	rm -rf $(VENV) build *.egg-info .mypy_cache .ruff_cache .pytest_cache
