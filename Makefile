# make reproduce   retrain the quick study, refit the posteriors, render the book, compare with what is committed
# make test        run the tests, but those that take long
# make test-slow   run those
# make extras      install Ray, datasets and polars too, so that no test of them is skipped
# make bench       measure how fast this machine trains and fits, beside the limit and peers; leave it alone meanwhile
# All set themselves up first, in .venv, from requirements.lock. Needed beforehand: make and Python 3.11 or newer.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Bytes repeat only if sums are taken in the same order: one thread a process, as many processes as cores.
export OMP_NUM_THREADS := 1
export PYTHONHASHSEED := 0

.PHONY: help setup extras reproduce test test-slow fast bench book clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

setup: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is older than 3.11; name another: make PYTHON=python3.12"; exit 2; }
	@echo "setting up $(VENV) from requirements.lock (a few minutes, once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' requirements.lock)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

extras: $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--constraint requirements.lock -r requirements-extras.lock

reproduce: $(STAMP)
	@$(BIN)/moebook reproduce

test: $(STAMP)
	@$(BIN)/python -m pytest -m "not slow"

test-slow: $(STAMP)
	@$(BIN)/python -m pytest -m slow

fast: $(STAMP)
	@$(BIN)/python -m pytest -m "not slow and not browser"

bench: $(STAMP)
	@$(BIN)/python -m benchmarks
	@$(BIN)/python -m benchmarks.fits

book: $(STAMP)
	@$(BIN)/moebook book build

clean:
	rm -rf $(VENV) build _build book/_build .cache
