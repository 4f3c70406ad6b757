# make demo: build the default model in INT8 and run it on a photograph.   make test: lint and the whole test suite.
# make lint: style and types alone.   make soak: the long runs and all evidence, for hours.

VENV := .venv
BIN := $(VENV)/bin
PICTURE := hgedge/pictures/astronaut.jpg

# The first Python of at least 3.10; choose another with: make PYTHON=python3.12
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	"$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo "$$python" && break; done)

PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --constraint constraints.txt

.PHONY: demo test lint pycuda soak clean
.DELETE_ON_ERROR:

demo: $(VENV)/.demo
	$(BIN)/hgedge build --precision int8
	$(BIN)/hgedge run --source $(PICTURE) --save demo.jpg --no-window
	@echo "the picture with the pose drawn on it: $(CURDIR)/demo.jpg"

# A process a core, with one thread each; the tests of a file share what it prepares, so they stay together.
test:
	$(MAKE) --jobs 2 lint pycuda
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadfile

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Only where the headers of CUDA are; it is run on a simulated driver.
pycuda: $(VENV)/.test
	@tests/runtime/cuda/driver/install_pycuda.sh $(BIN)/python

# 5 is pytest's answer where no test is marked soak.
soak: $(VENV)/.test
	$(BIN)/python -m pytest -m soak tests benchmarks || test $$? -eq 5

clean:
	rm -rf $(VENV) dist

$(VENV)/.demo: $(VENV)/.python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[export,openvino]'
	@touch $@

$(VENV)/.test: $(VENV)/.python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.demo

$(VENV)/.python:
	@test -n "$(PYTHON)" || { echo "hgedge needs Python 3.10 or newer, but found none; install one, or name it: make PYTHON=/path/to/python3"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@touch $@
