# Two commands do everything on a fresh machine with Python, make and a C compiler: `make demo` and `make test`.
# Each installs what it needs into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint types unit coverage test-slow bench model fuzz soak test-pure format clean

FUZZ_SECONDS ?= 300

demo: $(STAMP)
	$(BIN)/stdioproc demo
	$(BIN)/python tests/shim/demo.py

test: lint types unit

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy
	$(BIN)/mypy fuzz/*.py

unit: $(STAMP)
	$(BIN)/python -bb -m pytest -m "not slow" --numprocesses=2

# By itself: before Python 3.12 counting branches takes as long as the tests.
coverage: $(STAMP)
	$(BIN)/python -bb -m pytest -m "not slow" --numprocesses=2 --cov --cov-report=term --quiet

test-slow: $(STAMP)
	$(BIN)/python -bb -m pytest -m slow

bench: $(STAMP)
	$(BIN)/python -m bench

model: $(STAMP)
	$(BIN)/python -m model.generate
	$(BIN)/python -m model.check

soak: $(STAMP)
	$(BIN)/python tests/soak.py

# The same without the compiled codec, as where there was no compiler.
test-pure: $(STAMP)
	$(BIN)/python -bb tests/without_native.py -m "not slow" tests/dumpfmt tests/stdioproc tests/specload_examples

fuzz: $(STAMP)
	$(BIN)/python fuzz/run.py $(FUZZ_SECONDS)

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# editable_mode=compat is a plain path entry: the other kind imports a finder into every Python that starts, children included.
$(STAMP): pyproject.toml requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check setuptools wheel
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		--config-settings editable_mode=compat --editable '.[testing]' --requirement requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage .coverage.*
