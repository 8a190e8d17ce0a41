# Everything a developer or a newcomer runs. Python 3.11 and make are enough to start.

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers
PYTHON ?= $(shell command -v python3.11 || command -v python3)
HOME_OF_DEMO := $(CURDIR)/build/demo

# Servers and orchestrators phone home by default; this project does not.
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true
export LOOKALIKE_ROOT ?= $(HOME_OF_DEMO)
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Without bytecode TensorFlow takes 14 s longer to import, in each process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo up down test test-all bench lint format lock install browser clean

demo: $(READY) ## The sample shop through Airflow, then real queries
	$(BIN)/python -m pipelines.demo

up: $(READY) ## Airflow, MLflow and the search page, until `make down`
	$(BIN)/python -m pipelines.processes up

down: $(READY)
	$(BIN)/python -m pipelines.processes down

test: $(READY) browser ## What CI runs: everything but the slow tests
	$(BIN)/python -m pytest -q -m "not slow" -n 2 --dist loadfile

test-all: $(READY) browser ## The slow ones too: real scheduler, every extra alone, real photos
	$(BIN)/python -m pytest -q

BENCHES := $(filter-out bare_uvicorn bento_api big_bundle figures load mixture peers servers shops,$(basename $(notdir $(wildcard tests/bench/*.py))))

bench: $(READY) $(if $(filter search,$(NAME)),$(PEERS)) ## Figures beside peers: make bench NAME=quality, and QUICK=1 for a glance
	@$(if $(filter $(NAME),$(BENCHES)),,$(error No benchmark `$(NAME)`. Use NAME= one of: $(BENCHES)))
	$(BIN)/python -m tests.bench.$(NAME)

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(READY)

# uv comes from the lock like everything else, with its hash.
$(READY): lock/all.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 13) else f"Python 3.11 or 3.12 is needed, this is {v[0]}.{v[1]}. Use: make PYTHON=python3.11")'
	@$(PYTHON) -m venv $(VENV) || (echo "Install python3-venv, then run make again." && exit 1)
	@awk '/^[a-z]/ {keep = /^uv==/} keep' lock/all.txt > $(VENV)/uv.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r $(VENV)/uv.txt
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes lock/all.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

# Other search engines, to compare with; one of them is compiled, which takes g++.
$(PEERS): $(READY) lock/bench.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r lock/bench.txt
	@touch $@

# The page is tested in Debian's Chromium.
browser:
	@command -v chromium > /dev/null || (echo "Installing chromium for the tests of the page" && \
	  (apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium) > /dev/null)

UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-annotate \
  --python-version 3.11 pyproject.toml

lock: ## Resolve again: one lock for what is installed here, and one for each extra that agrees
	$(UV_COMPILE) $(addprefix --extra ,orchestrate train serve hub dev) -o lock/all.txt
	for extra in orchestrate train serve bench; do \
	  $(UV_COMPILE) --extra $$extra --constraint lock/all.txt -o lock/$$extra.txt || exit 1; done

clean:
	rm -rf build $(VENV)
