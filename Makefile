# make demo: install what serving and cooking from the box need, store the whole answers that the
#            makers wrote, serve them and compose what else is asked.
# make setup: install the rest, for developers: every provider's client, and the test tools.
PYTHON ?= python3
N ?= 1000
PROVIDER ?= written
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: setup demo offline-demo serve build quick test test-long bench soak check clean

setup: $(VENV)/.installed

$(VENV)/.demo: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed, this is " + sys.version.split()[0] + "; try: make PYTHON=python3.12 " + "setup")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --editable '.[tools]'
	touch $@

$(VENV)/.installed: $(VENV)/.demo requirements.txt
	$(PIP) --editable '.[build,legacy,line,openai,redis,test]'
	touch $@

build: $(VENV)/.demo
	$(BIN)/precompute build --provider $(PROVIDER) --n $(N)

serve: $(VENV)/.demo
	$(BIN)/python -m app

demo: build serve

# It needs the clients of the three services, which a recorded application brings.
offline-demo: $(VENV)/.demo
	$(PIP) --editable '.[build,openai]'
	$(BIN)/python -m demo.offline

check: $(VENV)/.demo
	$(BIN)/precompute check

# What needs no browser and no server: within a minute.
QUICK := $(addprefix tests/,kinds ledger store providers precompute/plan precompute/pieces precompute/cook test_layout.py test_readme.py)

quick: setup
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --quick -m 'not long' $(QUICK)

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 -m 'not long'

test-long: setup
	$(BIN)/pytest -n 2 -m long --timeout 900 -o faulthandler_timeout=1000

bench: setup
	$(BIN)/python -m bench

MINUTES ?= 60
soak: setup
	$(BIN)/python -m bench.soak --minutes $(MINUTES)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build *.egg-info
