# Everything a person runs; each target sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
COMPILE := $(BIN)/pip-compile --quiet --strip-extras --generate-hashes --allow-unsafe --no-emit-index-url \
	--no-emit-trusted-host --no-emit-find-links --no-header
DOCS_VENV := .venv-docs
DOCS_READY := $(DOCS_VENV)/.ready

.PHONY: demo test test-real test-all lint bench docs lock audit clean

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "misoflow needs Python 3.11 or newer"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { echo "venv is incomplete here: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

demo: $(READY)  ## a Segment shop session, end to end, on this machine only
	$(BIN)/misoflow demo

test: $(READY)  ## everything that needs no system package
	$(BIN)/python -m pytest -m "not real and not long" -n 3 --dist loadfile --no-loadscope-reorder

test-real: $(READY)  ## against real parts, which it installs itself
	$(BIN)/python -m pytest -m "real and not long"

test-all: $(READY)  ## every test at its full size
	MISOFLOW_FULL=1 $(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(READY)
	$(BIN)/python -m bench

# what builds the site is in nobody's way who only runs or tests misoflow
$(DOCS_READY): requirements/docs.txt
	@test -x $(DOCS_VENV)/bin/pip || $(PYTHON) -m venv $(DOCS_VENV) || { echo "venv is incomplete here: apt install python3-venv"; exit 1; }
	$(DOCS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/docs.txt
	@touch $(DOCS_READY)

docs: $(DOCS_READY)  ## the documentation site, in site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict

lock:  ## new versions within pyproject's bounds
	$(COMPILE) -o requirements/run.txt pyproject.toml
	$(COMPILE) --extra dev -c requirements/run.txt -o requirements/dev.txt pyproject.toml
	$(COMPILE) -o requirements/docs.txt requirements/docs.in
	$(COMPILE) -o requirements/singer.txt requirements/singer.in
	$(COMPILE) -o requirements/tap-postgres.txt requirements/tap-postgres.in

audit: $(READY)  ## known weaknesses of the locked packages; fails too when the list cannot be read
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/pip-audit --strict --require-hashes --disable-pip -r requirements/run.txt

clean:
	rm -rf $(VENV) $(DOCS_VENV) var dist site
