# make demo: install, cook 1,000 answers with what is in the box, serve them.
PYTHON ?= python3
N ?= 1000
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo offline-demo serve build test test-long bench check clean

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 " + "setup")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[build,openai,redis,test]'
	touch $@

build: setup
	$(BIN)/precompute build --n $(N)

serve: setup
	$(BIN)/python -m app

demo: build serve

offline-demo: setup
	$(BIN)/python -m demo.offline

check: setup
	$(BIN)/precompute check

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 -m 'not long'

test-long: setup
	$(BIN)/pytest -n 2 -m long

bench: setup
	$(BIN)/python -m bench

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
