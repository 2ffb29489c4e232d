# make demo and make test set everything up by themselves; only Python 3.11+ and make are needed.
PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?= -n auto --dist loadscope --no-loadscope-reorder
DEMO_ARGS ?=
BENCH_DIR ?= outputs/benchmarks

STAMP := $(VENV)/.installed
SETUP := pyproject.toml requirements/constraints.txt requirements/demo.txt

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all coverage lint format bench clean

help: ## Show the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

install: $(STAMP) ## Make .venv with all extras, versions pinned

$(STAMP): $(SETUP)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "tinybert needs Python 3.11 or newer: make install PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		-c requirements/constraints.txt -e '.[tensorboard,export,dev]'
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --require-hashes -r requirements/demo.txt
	@touch $@

demo: $(STAMP) ## Distil a real teacher, end to end, offline, in minutes
	$(VENV)/bin/tinybert demo $(DEMO_ARGS)

# One thread a worker: pytest already runs one worker a core.
test: $(STAMP) ## Run the tests but for the slow ones, which are counted as deselected
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest $(PYTEST_ARGS) -m 'not slow'

test-all: $(STAMP) ## Run all tests
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest $(PYTEST_ARGS)

# Half as long again as the tests alone: torch makes many calls.
coverage: $(STAMP) ## Run all tests and see that they cover the code
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest $(PYTEST_ARGS) \
		--cov --cov-report=term --cov-fail-under=90

lint: $(STAMP) ## Check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

format: $(STAMP) ## Put the code into the house style
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(STAMP) ## Run every benchmark; tables to the terminal, JSON to outputs/benchmarks
	@mkdir -p $(BENCH_DIR)
	@set -e; for script in benchmarks/[a-z]*.py; do \
		echo "== $$script"; \
		$(VENV)/bin/python $$script --json $(BENCH_DIR)/$$(basename $$script .py).json; \
	done

clean: ## Remove the environment and everything that was built
	rm -rf $(VENV) build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis \
		.coverage .coverage.* htmlcov
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
