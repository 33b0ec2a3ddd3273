# make demo   the practice cluster on the screen; without a terminal the same flight headless, as one JSON object
# make test   every test but the long matrices; make test-all those too
# make check  style, types, generated pages          make bench   the promises of speed, as ratios
#
# The virtual environment is made once in .venv and again when pyproject.toml or constraints-cpu.txt change. PYTHON=... picks another Python.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test test-all check bench docs clean

VENV := .venv
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
RUN := $(VENV)/bin/python
FLIGHT := --sim --action launch --strategy ddp --nodes 2 --nproc 2 --steps 50 --wait -o json

help:
	@sed -n '1,3s/^# //p' Makefile

demo: $(VENV)/.training
	@if [ -t 0 ] && [ -t 1 ] && [ -t 2 ]; then exec $(RUN) -m cockpit --sim; else exec $(RUN) -m cockpit $(FLIGHT); fi

test: $(VENV)/.test
	@$(RUN) -m pytest

test-all: $(VENV)/.test
	@$(RUN) -m pytest -m ""

check: $(VENV)/.test
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(RUN) docs/generate.py --check

bench: $(VENV)/.test
	@$(RUN) -m bench

docs: $(VENV)/.test
	@$(RUN) docs/generate.py

# A machine may have pip and not ensurepip (Debian without python3-venv): then its own pip installs into the environment from outside.
$(VENV)/bin/python:
	@python=$${PYTHON:-}; \
	for name in python3.11 python3.12 python3.13 python3.14 python3; do \
	  if [ -z "$$python" ] && "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; fi; \
	done; \
	if [ -z "$$python" ]; then echo "cockpit needs Python 3.11 or newer; install it, or say make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	echo "making $(VENV) with $$python" >&2; \
	"$$python" -m venv $(VENV) >/dev/null 2>&1 || { rm -rf $(VENV); "$$python" -m venv --without-pip $(VENV); }; \
	printf '%s\n' "$$python" >$(VENV)/.base

$(VENV)/.training $(VENV)/.test: $(VENV)/.%: pyproject.toml constraints-cpu.txt | $(VENV)/bin/python
	@extras=$*; if [ "$$extras" = test ]; then extras=training,test; fi; \
	if $(RUN) -m pip --version >/dev/null 2>&1; then pip="$(RUN) -m pip"; else pip="$$(cat $(VENV)/.base) -m pip --python $(RUN)"; fi; \
	echo "installing cockpit[$$extras] into $(VENV); the first time this takes a minute" >&2; \
	$$pip install --quiet --disable-pip-version-check -c constraints-cpu.txt -e ".[$$extras]" >&2; \
	touch $@

clean:
	@if [ -x $(RUN) ]; then $(RUN) -m cockpit --action sim-stop || true; fi
	@rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
