# One command for everything. `make demo` and `make test` need Python 3.11 and nothing else.
PYTHON ?= python3
TORCH  ?= torch==2.13.0
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: install demo test lint docs bench faults fuzz fuzz-guided clean

install: $(VENV)/.installed

# PyTorch first and by itself, so that another build of it (TORCH=...) can be chosen by hand.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet "$(TORCH)"
	$(BIN)/python -m pip install --quiet --editable ".[dev,sb3,nethack,ray,slurm,arrays,lerobot,minari,logging,onnx,hub,games]"
	touch $@

demo: install
	$(BIN)/isoclone run breakout

# One thread each for NumPy and torch, as in every worker: more only get in each other's way.
test: install
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

lint: install
	$(BIN)/ruff check src tests studies benchmarks
	$(BIN)/ruff check --preview --select PLW1514 src  # files have their encoding named
	$(BIN)/ruff format --check src tests studies benchmarks
	$(BIN)/mypy

docs: install
	$(BIN)/python -m isoclone.cli.reference > docs/cli.new && mv docs/cli.new docs/cli.md
	$(BIN)/python tests/rooms.py

# The benchmarks that take minutes, and docs/benchmarks.md with their tables; on a quiet machine.
bench: install
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python benchmarks/page.py

# The suite does a sample of these two; here they are in full (three quarters of an hour, two cores).
faults: install
	$(BIN)/python tests/faults/harness.py --kills 100

fuzz: install
	$(BIN)/python tests/fuzz/campaign.py --inputs 1000

# Inputs chosen by the branches they lead to: needs `pip install atheris`, and says so.
fuzz-guided: install
	$(BIN)/python tests/fuzz/guided.py --seconds 60

clean:
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
