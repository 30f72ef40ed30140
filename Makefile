# On a fresh machine with git, make and Python 3.11 or newer:  make demo,  make test
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help demo test test-quick test-aws test-random lint bench bench-aws bench-scale screenshots lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(READY)  ## three days of lidar files, from raw file to plots, in ./demo
	$(BIN)/tidegate demo

# Without compiled code, each of the many processes would compile Tidegate and each run all tests.
unexport PYTHONDONTWRITEBYTECODE

# Deployments mostly wait for builds and for the emulator: more processes than cores.
WORKERS ?= 4
PYTEST := $(BIN)/python -m pytest --no-loadscope-reorder

# Where an older Tsdat cannot be installed, the tests that need it fail; all others run.
test: $(READY)  ## all tests
	-$(MAKE) --no-print-directory --keep-going .venvs/tsdat-0.8.5/.ready .venvs/tsdat-0.9.3/.ready
	-sh scripts/cdk_cli.sh
	$(PYTEST) -n $(WORKERS)

OLD := 0.4 0.5 0.7.1 0.10
old-tsdat: $(READY)  ## Tsdat 0.4, 0.5, 0.7.1 and 0.10 on Python 3.8, 3.9 and 3.13, for tests/runtime/test_old_pythons.py
	-$(MAKE) --no-print-directory --keep-going $(OLD:%=.venvs/tsdat-%/.ready)

test-quick: $(READY)  ## the unit tests: no child process, no emulator
	$(PYTEST) -n auto -m unit

test-aws: $(READY)  ## the integration tests: the AWS emulator, registries, real images
	-sh scripts/cdk_cli.sh
	$(PYTEST) -n $(WORKERS) -m integration

test-random: $(READY)  ## tests in random order: make test-random TESTS=tests/local SEED=7
	$(PYTEST) -n $(WORKERS) -p randomly $(SEED:%=--randomly-seed=%) $(TESTS)

lint: $(READY)  ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY)  ## the benchmarks, against plain Tsdat, as ratios
	$(BIN)/python -m benchmarks

bench-aws: $(READY)  ## the same on the AWS emulator, against plain Tsdat with its own FileSystemS3
	$(BIN)/python -m benchmarks e f g h i k

bench-scale: $(READY)  ## a million files on record (makes 4 GB), a burst, and Dagster beside Tidegate
	$(BIN)/python -m benchmarks o q

screenshots: $(READY)  ## the pictures of the dashboard in docs/images, with Debian's chromium
	$(BIN)/python -m scripts.screenshots

lock: $(READY)  ## resolve the lock files again
	UV=$(BIN)/uv sh scripts/lock.sh

clean:  ## remove what make made
	rm -rf .venv .venvs .images .tools demo

# Packages are compiled, but for those of which few modules are ever imported: two thirds of all code.
SELDOM := /(aws_cdk|cfnlint|moto|mypy|networkx|pip|setuptools|sympy|tests)/

# Only uv is installed with pip; uv does the rest, from lock files with hashes.
$(READY): requirements/dev.txt requirements/uv.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Tidegate needs Python 3.11 or newer; say which: make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/dev.txt
	-$(BIN)/python -m compileall -qq -j 0 -x '$(SELDOM)' .venv/lib
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

# The runtime is tested beside older Tsdat too, where Python 3.10 can be found.
.venvs/tsdat-%/.ready: requirements/tsdat-%.txt $(READY)
	UV=$(BIN)/uv sh scripts/old_tsdat.sh $*
