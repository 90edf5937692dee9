# The commands of this project. `make run` and `make test` need nothing but Python 3.11+ and git.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STREAMING := benchmarks/peers/streaming/.venv
PIP := $(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt
SYSTEM ?= translation

export DO_NOT_TRACK = 1
export DVC_NO_ANALYTICS = 1
export PREFECT_SERVER_ANALYTICS_ENABLED = false
export MLFLOW_DISABLE_TELEMETRY = true
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: run test check bench clean

run: $(VENV)/.run  ## set up, then take SYSTEM (default: translation) from raw data to a promoted model
	$(BIN)/genworks run $(SYSTEM)

test: $(VENV)/.test  ## set up, then run every test
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TESTS)

check: $(VENV)/.test  ## lint, format, types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.bench $(STREAMING)/.ready  ## measure against bare loops and peers; prints ratios
	$(BIN)/python -m benchmarks

clean:  ## remove what make and the pipelines built (not the DVC cache)
	rm -rf $(VENV) .work .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

# One stamp per set of extras, so that `make run` does not wait for what only tests and benchmarks need.
$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing genworks into $(VENV) (about 3.5 GB, four to six minutes)"
	$(PIP) -e . && touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[dev]' && touch $@ $(VENV)/.run

$(VENV)/.bench: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e '.[dev,bench]' && touch $@ $(VENV)/.run $(VENV)/.test

# mosaicml-streaming does not resolve with the rest: an environment of its own that borrows torch and numpy from ours.
$(STREAMING)/.ready: | $(VENV)/.bench
	$(BIN)/python -m venv --without-pip $(STREAMING)
	$(BIN)/pip --disable-pip-version-check --python $(STREAMING)/bin/python install --quiet --no-deps \
		mosaicml-streaming==0.13.0 Brotli python-snappy cramjam zstd catalogue
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		> "$$($(STREAMING)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/genworks.pth"
	@touch $@
