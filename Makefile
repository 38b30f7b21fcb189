# All targets work from a fresh checkout with Python 3.11+; nothing has to be activated or installed first.
#
#   PYTHON=…   the interpreter for .venv                 (default: the first of python3.11 … python3 that is new enough)
#   TORCH=…    the torch build: cpu, cu126, cu128, auto … (default: the choice of pip, which on Linux includes CUDA)
#   LABS=…     the labs for `notebooks`, `outputs` and `test`    (default: all)
#   WORKERS=…  processes for the tests, one thread each               (default: 2; 0: no extra process)
#   PROFILE=…  tiny, laptop or full, for `notebooks`       (default: tiny)

SHELL       := bash
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-builtin-rules --no-print-directory

TORCH   ?=
LABS    ?= $(sort $(patsubst %/,%,$(dir $(wildcard Lab-*/01-Setup.ipynb))))
PROFILE ?= tiny
VENV    := .venv/bin
NOTEBOOKS = $(foreach lab,$(LABS),$(sort $(wildcard $(lab)/0[1-4]-*.ipynb)))

# The micro-models are too small to gain from more threads; the time limits are set for 2 cores.
THREADS := OMP_NUM_THREADS=$${OMP_NUM_THREADS:-2} TOKENIZERS_PARALLELISM=false
# Two processes with one thread each are faster than one with two. The notebooks of a lab stay together and in order.
WORKERS ?= 2
PYTEST  := HF_HUB_OFFLINE=1 PEFT_LABS_PROFILE=tiny OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} TOKENIZERS_PARALLELISM=false \
  $(VENV)/python -m pytest -n $(WORKERS) --no-loadscope-reorder

.PHONY: help setup demo test test-unit test-slow test-gpu test-network lint format notebooks outputs clean

help:  ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s '|'

setup:  ## create .venv from requirements.lock and install this package in editable mode (repeated only if they change)
	@python="$${PYTHON:-}"; \
	if [ -z "$$python" ]; then \
	  for candidate in python3.11 python3.12 python3.13 python3 python; do \
	    if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
	  done; \
	fi; \
	if [ -z "$$python" ]; then \
	  echo "set-up stopped: no Python 3.11 or newer on your path" >&2; \
	  echo "  fix: install one, or give its path: make PYTHON=/path/to/python3.11 demo" >&2; \
	  exit 1; \
	fi; \
	"$$python" -I .ci/set_up.py $(TORCH)

demo: setup  ## Lab-01 on the tiny profile: a trained, evaluated, merged and served LoRA adapter in about 3 minutes
	@$(VENV)/peft-labs run-labs Lab-01-LoRA --profile tiny --summary

test: setup lint  ## lint, unit tests, all notebooks, and one lab with other parameters (no network)
	@echo "test: $(words $(NOTEBOOKS)) notebooks, each lab's in order, and all other tests, in $(WORKERS) processes"
	@$(PYTEST) --nbmake --nbmake-timeout=900 tests $(NOTEBOOKS)

test-unit: setup  ## only the fast tests
	@$(PYTEST) tests -m "not slow and not gpu and not network and not labs"

test-slow: setup  ## the tests that take minutes
	@$(PYTEST) tests -m "slow and not gpu and not network"

test-gpu: setup  ## the tests that need an NVIDIA GPU
	@$(VENV)/python -m pytest tests -m gpu

test-network: setup  ## the tests that fetch models or data
	@$(VENV)/python -m pytest tests -m network

lint: setup  ## ruff, notebooks included
	@echo "lint: ruff over Python files and notebooks"
	@$(VENV)/python -m ruff check --quiet .
	@$(VENV)/python -m ruff format --check --quiet . || { $(VENV)/python -m ruff format --check .; echo "  fix: make format"; exit 1; }

format: setup  ## sort imports and format Python files and notebooks with ruff
	@$(VENV)/python -m ruff check --quiet --fix .
	@$(VENV)/python -m ruff format .

notebooks: setup  ## run all labs (LABS=, PROFILE=); executed copies go to runs/_executed
	@$(VENV)/peft-labs run-labs $(LABS) --profile $(PROFILE)

outputs: setup  ## execute the notebooks on tiny and store their outputs, with the fingerprint of the code, in place
	@$(THREADS) $(VENV)/peft-labs outputs $(LABS)

clean:  ## delete run folders, caches and build files (.venv is kept)
	@rm -rf runs outputs build dist .pytest_cache .ruff_cache ./*.egg-info
	@find . -path ./.venv -prune -o -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) -exec rm -rf {} +
