# make demo   set up, export the embedded checkpoint, generate pictures
# make test   set up, run the tests

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PROMPTS := "a red circle" "a yellow star on a striped background" \
           "a large blue square above a small green triangle" \
           "a small purple ring to the left of a large orange cross"

.PHONY: setup demo test test-schedules test-slow test-cpp test-cpp-sanitized test-install format-check lint types format clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[cpu,openvino,export,tensorrt-rtx,sign,bench,peers,dev]"
	touch $@

demo: setup
	$(BIN)/export-all
	$(BIN)/trt-pipeline generate $(PROMPTS) --bundle engines/shapes \
		--seed 0 --guidance-scale 1.5 --eta 0.5 --output pictures

test: setup
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

test-schedules: setup
	$(BIN)/python -m pytest -m slow -k 1000 tests/runtime/test_samples.py

test-slow: setup
	$(BIN)/python -m pytest -m slow --capture=no --ignore=tests/cpp

test-cpp: setup
	$(BIN)/python -m pytest -m slow tests/cpp

test-cpp-sanitized: setup
	TRT_PIPELINE_SANITIZE=address,undefined $(BIN)/python -m pytest -m slow tests/cpp

test-install: setup
	$(BIN)/python -m pytest -m network

format-check: setup
	$(BIN)/ruff format --check .

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) pictures
