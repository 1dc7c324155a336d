# The commands of a working day. `make bench` is all that a newcomer needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
RESULTS ?= results
# Where there is no network (a lent GPU machine) the CUDA targets run from the source tree with whatever Python has torch.
CUDA_PYTHON ?= $(shell test -x $(BIN)/python && echo $(BIN)/python || echo $(PYTHON))
CUDA_PYTEST := PYTHONPATH=src PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 \
	$(CUDA_PYTHON) -m pytest -p pytest_benchmark.plugin -p mbbench.pytest_plugin

.PHONY: help venv chromium bench bench-full report test test-long test-cuda bench-cuda smoke format lint types clean

help: ## List the commands.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

venv: $(VENV)/.installed ## Make .venv and install mbbench into it.

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	# pip compiles on one core; compiled afterwards on all of them the set-up takes 73 s instead of 96 on two.
	$(BIN)/python -m pip install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	@$(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null 2>&1 || true # some packages ship files for other Pythons
	@touch $@

chromium: ## Install the browser that tests the page, where there is none and apt-get and root are there.
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit; done; { \
	test "$$(id -u)" = 0 && command -v apt-get >/dev/null && export DEBIAN_FRONTEND=noninteractive && apt-get update -q -q && \
	apt-get install -y -q -q --no-install-recommends chromium fonts-noto-cjk >/dev/null; } || \
	echo "There is no chromium and it cannot be installed here: the tests of the page in a browser are skipped."

bench: venv ## Measure the core of the suite (4 minutes at most), write reports/index.html, say the verdict.
	@status=0; $(BIN)/pytest bench/ --benchmark-only -m core --mb-results $(RESULTS) || status=$$?; \
	$(BIN)/mbbench report $(RESULTS) -o reports/index.html && exit $$status

bench-full: venv ## Measure everything, however long it takes.
	@status=0; $(BIN)/pytest bench/ --benchmark-only --mb-results $(RESULTS) || status=$$?; \
	$(BIN)/mbbench report $(RESULTS) -o reports/index.html && exit $$status

test: venv chromium ## Run the tests (6 minutes on 2 cores; the aim is 5).
	# worksteal: a file stays in one process, which makes what its tests share once.
	$(BIN)/pytest -m "not long" -n 2 --dist worksteal

test-long: venv ## Run the slow studies.
	$(BIN)/pytest -m long

test-cuda: ## Run the tests that need a GPU; they skip with their reason where there is none.
	$(CUDA_PYTEST) tests -m cuda

bench-cuda: ## Measure the CUDA cells; keep their records under results/reference/.
	$(CUDA_PYTEST) bench/ --benchmark-only -m cuda --mb-results results/reference

smoke: venv ## One step of every bench cell: does it run at all?
	$(BIN)/pytest bench/ --benchmark-disable -q

format: venv ## Check the formatting (ruff format mends it).
	$(BIN)/ruff format --check .

lint: venv ## Check the code.
	$(BIN)/ruff check .

types: venv ## Check the types.
	$(BIN)/mypy

clean: ## Remove what can be made again; records and reports stay.
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache dist
