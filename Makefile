# One command each, from a fresh machine with Python 3.11 or 3.12, venv and make. `make help` lists them.

BASE_PYTHON ?= $(shell for python in python3.11 python3.12 python3; do \
	$$python -c "" 2>/dev/null && echo $$python && break; done)
PYTHON := .venv/bin/python
UV := .venv/bin/uv
INSTALLED := .venv/.installed
# the system's certificates, as pip takes them: behind a proxy that has its own, uv's own list does not suffice
export UV_SYSTEM_CERTS ?= 1

DATASET ?= fmnist
TRIALS ?=
MAX_EPOCHS ?=
ARGS ?=
SEARCH_ARGS = --dataset $(DATASET) $(if $(TRIALS),--trials $(TRIALS)) \
	$(if $(MAX_EPOCHS),--max-epochs $(MAX_EPOCHS)) $(ARGS)

# Ray starts many Python processes: without byte-code on disk, each of them would compile torch again
export PYTHONDONTWRITEBYTECODE =

.DEFAULT_GOAL := help
.PHONY: help install data search headline test check format docs docs-serve lock audit histories fuzz bench bench-evaluation bench-scale ablation soak gpu-check \
	cluster-test clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  make search DATASET=digits TRIALS=8 MAX_EPOCHS=9 ARGS='--seed 1'    # see $(PYTHON) -m tune search --help"

install: $(INSTALLED)  ## Install the locked packages into .venv

data: $(INSTALLED)  ## Get the data set's files and verify them
	@$(PYTHON) -m vae.data $(DATASET)

search: data  ## Search, evaluate the best, write the report
	@$(PYTHON) -m tune search $(SEARCH_ARGS)

headline: data  ## The two searches of the headline in BENCHMARKS.md; hours on two cores
	$(PYTHON) -m tune search --space tune/headline_64d.yaml --name headline-64d --trials 24 --max-epochs 30 \
		--grace-period 5 --finalists 2 --finalist-seeds 3 $(ARGS)
	$(PYTHON) -m tune search --space tune/headline_10d.yaml --name headline-10d --trials 16 --max-epochs 20 \
		--grace-period 4 --finalists 2 --finalist-seeds 2 $(ARGS)

# Two processes on two cores: more threads than one each would wait for one another
test: data  ## Run all tests
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(INSTALLED)  ## Check format, lint and types
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

format: $(INSTALLED)  ## Format the code and correct what lint can
	$(PYTHON) -m ruff check --fix-only --quiet .
	$(PYTHON) -m ruff format .

docs: $(INSTALLED)  ## Build the pages of docs/ as a site in site/; needs no network
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet
	@echo "site/index.html"

docs-serve: docs  ## The same at http://127.0.0.1:8000, with its search
	$(PYTHON) -m http.server --bind 127.0.0.1 --directory site 8000

lock: $(INSTALLED)  ## Update requirements.lock from pyproject.toml
	$(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --extra dev \
		pyproject.toml -o requirements.lock

audit: $(INSTALLED)  ## Known vulnerabilities, licences and an SBOM of the locked packages: audit/
	$(PYTHON) -m tests.audit

bench: $(INSTALLED)  ## Measure the time of an epoch
	$(PYTHON) -m tests.benchmarks.epoch $(ARGS)

gpu-check: $(INSTALLED)  ## Check results, speed, memory and resume on a GPU, in 8 minutes: gpu_check.json
	$(PYTHON) -m tests.benchmarks.gpu_check $(ARGS)

bench-evaluation: data  ## Measure the evaluation of ARGS=<folder of checkpoints> against the notebook's way, or with --old WORKTREE another commit
	$(PYTHON) -m tests.benchmarks.evaluation $(ARGS)

bench-scale: $(INSTALLED)  ## Measure the overhead of a search of 1,000 trials
	$(PYTHON) -m tests.benchmarks.scale $(ARGS)

ablation: $(INSTALLED)  ## Replay searches on stored curves, ours against stock Ray Tune
	$(PYTHON) -m tests.benchmarks.ablation $(ARGS)

histories: $(INSTALLED)  ## Try 2,000 random histories of a search, or ARGS=<how many>, against a model of its state
	HISTORIES=$(or $(ARGS),2000) $(PYTHON) -m pytest --quiet --timeout 0 tests/tune/histories

fuzz: $(INSTALLED)  ## Damage the files that a run reads, for an hour of processor time or ARGS='--minutes 5'
	$(PYTHON) -m tests.fuzz $(ARGS)

soak: $(INSTALLED)  ## Kill and resume 20 searches at random moments and check each
	$(PYTHON) -m tests.soak $(ARGS)

cluster-test: $(INSTALLED)  ## Run a search on hosts made of namespaces, by `ray up`; skipped if not root
	$(PYTHON) -m tests.cluster

clean:  ## Delete .venv and caches; data/ and runs/ stay
	rm -rf .venv site .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# pip installs only uv, with the hashes of the lock; uv installs the rest, four times faster than pip
$(INSTALLED): requirements.lock pyproject.toml
	@$(BASE_PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || \
		{ echo "error: $(BASE_PYTHON) must be Python 3.11 or 3.12; use make install BASE_PYTHON=python3.11" >&2; exit 2; }
	$(BASE_PYTHON) -m venv .venv
	sed -n '/^uv==/,/# via/p' requirements.lock > .venv/uv.lock
	$(PYTHON) -m pip install --quiet --require-hashes --no-deps -r .venv/uv.lock
	$(UV) pip install --python $(PYTHON) --require-hashes --compile-bytecode -r requirements.lock
	$(UV) pip install --python $(PYTHON) --no-deps --no-build-isolation --quiet -e .
	@touch $@
