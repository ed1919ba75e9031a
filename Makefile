# One verb a line; each makes the environment it needs (.venv, once) and says what it does.
#
#   PYTHON=/path/to/python3    the interpreter that builds .venv; else the newest of 3.11 to 3.13 in PATH
#   TORCH=torch==X             another torch; after a change of either: make clean
#                              With no more said, pip's own configuration decides whence torch comes, and on Linux x86_64
#                              that is usually a CUDA build. PyTorch keeps one index per backend, for example for a driver
#                              from 525 on:  make demo TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cu126"
#                              and  .../whl/cpu  for none.
#   JOBS=2                     test processes side by side
#
# Nothing outside this folder is written: not your home, not your Python, not pip's cache.

.DEFAULT_GOAL := help
.PHONY: help env demo test test-fast lint docs bench soak inject planted clean
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

TORCH ?= $(shell grep '^torch==' requirements/constraints.txt)
JOBS ?= 2
BIN := .venv/bin
PIP := $(BIN)/python -m pip --no-cache-dir --disable-pip-version-check --quiet install
say = @printf '\033[1m%s\033[0m\n' "$(1)" >&2
ifdef NO_COLOR
say = @printf '%s\n' "$(1)" >&2
endif
comma := ,

help: ## this list
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/make \1\t\2/' | expand -t 16

demo: env ## a phantom data set, a sweep of 3 augmentations x 5 folds and its report, in ./demo (about 5 minutes)
	$(call say,A whole sweep on a phantom: everything goes to ./demo)
	@mkdir -p demo/cache/matplotlib
	@ORCH_HOME="$(CURDIR)/demo/home" ORCH_STATE="$(CURDIR)/demo/state" ORCH_LOCAL="$(CURDIR)/demo/local" \
	 ORCH_CACHE="$(CURDIR)/demo/cache" MPLCONFIGDIR="$(CURDIR)/demo/cache/matplotlib" $(BIN)/orch demo demo

test: env ## all tests
	$(call say,All tests in $(JOBS) processes)
	@$(BIN)/python -m pytest -n $(JOBS)

test-fast: env ## the tests that take seconds
	$(call say,The quick tests in $(JOBS) processes)
	@$(BIN)/python -m pytest -n $(JOBS) -m "not slow"

lint: env ## style, types, layers
	$(call say,ruff: style and format)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	$(call say,mypy: types)
	@$(BIN)/mypy
	$(call say,import-linter: layers)
	@$(BIN)/lint-imports

docs: env ## write the generated pages again (docs/cli.md, docs/protocols, the trainer's schema)
	$(call say,Generated pages: docs/cli.md$(comma) docs/protocols and orchestrator/trainer_schema.json)
	@$(BIN)/python -I -m trainer schema > .venv/schema.json
	@$(BIN)/python -I -m json.tool --indent 2 --no-ensure-ascii .venv/schema.json orchestrator/trainer_schema.json.new
	@mv orchestrator/trainer_schema.json.new orchestrator/trainer_schema.json
	@$(BIN)/python -I -m orchestrator.cli.reference > docs/cli.md.new
	@mv docs/cli.md.new docs/cli.md
	@$(BIN)/orch protocols --site pilcam2 --expected --out docs/protocols >/dev/null

bench: env ## the budgets, with peers in the same run (PEERS=no leaves them out)
	$(call say,Benchmarks: jobs$(comma) the command line$(comma) the index$(comma) the hosts$(comma) Slurm$(comma) the data)
	@$(BIN)/python benchmarks/bench_jobs.py $(if $(filter no,$(PEERS)),,--with-peers)
	@$(BIN)/python benchmarks/bench_cli.py
	@$(BIN)/python benchmarks/bench_index.py $(if $(filter no,$(PEERS)),,--with-peers)
	@$(BIN)/python benchmarks/bench_scale.py
	@$(BIN)/python benchmarks/bench_hosts.py
	@$(BIN)/python benchmarks/bench_fleet.py
	@$(BIN)/python benchmarks/bench_slurm.py
	@$(BIN)/python benchmarks/bench_data.py

soak: env ## all faults at random on real processes for SOAK_MINUTES=30; what was injected, lost and doubled
	$(call say,Faults at random$(comma) for $(or $(SOAK_MINUTES),30) minutes)
	@PYTHONPATH=tests SOAK_MINUTES="$(SOAK_MINUTES)" SOAK_SEED="$(SOAK_SEED)" $(BIN)/python tests/jobs/soak.py

inject: env ## each system call of keeper and watcher fails with each errno, one in each run (INJECT_SECONDS= for a part; hours)
	$(call say,System calls that fail)
	@INJECT="$(INJECT)" INJECT_SECONDS="$(or $(INJECT_SECONDS),0)" $(BIN)/python -m pytest -n 0 -q -s tests/jobs/test_syscall_errors.py -k calls_fail

planted: env ## is the suite sharp? 60 faults, one in each copy of the tree; their tests must fail (under 40 minutes)
	$(call say,Planted faults)
	@PLANTED="$(PLANTED)" CLEAN="$(CLEAN)" JOBS="$(JOBS)" $(BIN)/python tests/planted/run.py

clean: ## delete .venv, ./demo and what the tools left
	$(call say,Deleting .venv$(comma) demo and caches)
	@rm -rf .venv demo dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

env: .venv/made-by-make ## only the environment

# torch goes first and is pinned for everything after it; the pins of the rest are the tested ones.
.venv/made-by-make: pyproject.toml requirements/constraints.txt
	$(call say,Making the environment in .venv (once; a few minutes$(comma) most of it downloading))
	@python="$$(PYTHON="$(PYTHON)" requirements/find-python)" && "$$python" -m venv .venv
	@echo "  $$($(BIN)/python --version), $(firstword $(TORCH))" >&2
	@$(PIP) $(TORCH)
	@{ grep -v '^torch==' requirements/constraints.txt; $(BIN)/python -m pip freeze | grep '^torch=='; } > .venv/constraints.txt
	@$(PIP) --constraint .venv/constraints.txt hatchling editables
	@$(PIP) --constraint .venv/constraints.txt --no-build-isolation --editable '.[trainer,notebook,dev]'
	@touch $@
