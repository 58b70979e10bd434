# make search   a first search on synthetic EMG, from nothing
# make install  .venv alone, for searches
# make test     every behaviour, in minutes; WORKERS=4 for more than two processes at once
# make test-all       also kills at random, hundreds of trials, faults again and again
# make test-cluster   machines on one machine, with faults: needs root, sshd, rsync, tmux
# make docs     the documentation as a site, in site/: open site/index.html
# make pictures the pictures of README and docs, from one search: four minutes on two cores
# make check    lint, format, types, make test-all: what CI runs, beside make test-cluster
PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
# A module's tests stay in one process, which starts Ray once and trains what they share once.
PYTEST := $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# What is installed, one on top of the other: for a search, for the tests, for lint; for a cluster's node.
READY := $(VENV)/.ready
TEST_READY := $(VENV)/.test-ready
LINT_READY := $(VENV)/.lint-ready
CLUSTER_READY := $(VENV)/.cluster-ready
DOCS_READY := $(VENV)/.docs-ready

.PHONY: install search test test-all test-cluster check lint format docs pictures setup cluster-setup clean

search: $(READY)
	$(BIN)/python -m search.run spaces/deep.yaml

test: $(TEST_READY)
	$(PYTEST) -m "not slow and not cluster"

test-all: $(TEST_READY)
	$(PYTEST) -m "not cluster"

test-cluster: $(TEST_READY)
	$(PYTEST) tests/cluster -m "cluster and not alone" -rs
	$(BIN)/python -m pytest tests/cluster -m alone -rs

check: lint test-all

lint: $(LINT_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(LINT_READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS_READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "The documentation is in site/: open site/index.html"

pictures: $(TEST_READY)
	$(BIN)/python -m benchmarks.pictures

install: $(READY)

setup: $(LINT_READY)

# What a node of a cluster needs: no tests, no linters; Ray's dashboard and cloud clients.
cluster-setup: $(CLUSTER_READY)

# pip compiles on one core, which took as long as everything else. Some files of packages are of other
# Pythons and do not compile; nothing imports them.
# Each is made again whenever the pinned versions or the project's needs change. pip shows its progress:
# the packages are large.
$(READY): constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else f"emgsearch needs Python 3.11 to 3.13, and {sys.executable} is {v[0]}.{v[1]}: make PYTHON=python3.11")'
	@echo "Setting up $(VENV) with the pinned versions of constraints.txt: about 0.5 GB to download and 1.7 GB on disk with torch for CPUs, several GB more where pip takes torch for GPUs ..."
	$(PYTHON) -m venv $(VENV)
	$(PIP) --no-compile torch
	$(PIP) --no-compile -e .
	@echo "Compiling them on all cores, which prints nothing until it is done ..."
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null 2>&1 || true
	@touch $@
	@echo "$(VENV) is ready for a search."

# KenLM has no wheel: without a C++ compiler and cmake its tests skip, and say so.
$(TEST_READY): $(READY)
	@echo "Adding what the tests need, about 0.7 GB on disk ..."
	$(PIP) -e '.[test]'
	@$(PIP) kenlm > $(VENV)/kenlm.log 2>&1 || echo "note: KenLM could not be built, which takes a C++ compiler and cmake ($(VENV)/kenlm.log says why): its tests will skip. After mending it: rm $@"
	@touch $@

$(LINT_READY): $(TEST_READY)
	$(PIP) -e '.[dev]'
	@touch $@

$(DOCS_READY): $(READY)
	@echo "Adding what the site needs, about 50 MB on disk ..."
	$(PIP) -e '.[docs]'
	@touch $@

# No tests, no linters; Ray's dashboard and cloud clients.
$(CLUSTER_READY): $(READY)
	$(PIP) -e '.[cluster]'
	@touch $@

clean:
	rm -rf $(VENV) build site *.egg-info .mypy_cache .ruff_cache .pytest_cache
