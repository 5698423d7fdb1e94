# make tutorial   run lesson 01 from top to bottom; the result lies in build/ (LESSON=02: another)
# make lab        open the lessons in JupyterLab
# make test       everything that is tested
# make soak       malformed peers by many seeds (minutes; `make test` has a few of them)
# make outputs    run the lessons and store their outputs in them, after a change (LESSON=02: one)
# make class      a folder and a zip for a class (NAMES=names.txt; WHEELS=1: for no internet)
#
# On Linux without a GPU, PyPI's torch brings gigabytes of CUDA libraries. PyTorch's own index has a
# small CPU build:
#     make tutorial TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin
LESSON ?=
NAMES ?=
WHEELS ?=

.PHONY: tutorial lab class test soak outputs notebook-test colab-test lint install clear-outputs \
    clean

tutorial: install
	$(BIN)/python notebooks/run_tutorial.py $(or $(LESSON),01)

outputs: install
	TQDM_DISABLE=1 $(BIN)/python notebooks/run_tutorial.py --store $(LESSON)

lab: install
	$(BIN)/jupyter lab notebooks

class: install
	TORCH_INDEX=$(TORCH_INDEX) $(BIN)/python notebooks/make_class.py \
	    $(if $(NAMES),--names $(NAMES)) $(if $(WHEELS),--wheels)

test: install lint
	$(BIN)/python -m pytest
	$(MAKE) --no-print-directory notebook-test

soak: install
	MAGICIAN_SOAK=1 $(BIN)/python -m pytest tests/whole/test_malformed_peers.py

# Every output of every lesson is compared, and a connection to anywhere but this computer fails. A
# slow computer would show progress bars that a fast one does not. Each lesson has a table of
# progress of its own: what a learner did elsewhere must not show.
notebook-test: install
	@progress=$$(mktemp -d) && trap 'rm -rf "$$progress"' EXIT && \
	for lesson in notebooks/$(or $(LESSON),0)*.ipynb; do \
	    echo "$$lesson" && TQDM_DISABLE=1 PYTHONPATH=tests/whole/offline \
	    MAGICIAN_PROGRESS="$$progress/$$(basename "$$lesson").json" \
	    $(BIN)/python -m pytest --nbval --nbval-current-env \
	    --nbval-sanitize-with tests/whole/sanitize.cfg --nbval-cell-timeout 300 -x "$$lesson" \
	    || exit 1; \
	done

# The same in an environment with the versions of Google Colab, where only Cell 1 installs; needs
# the package index
colab-test:
	TORCH_INDEX=$(TORCH_INDEX) $(PYTHON) tests/whole/as_on_colab.py

lint: install
	$(BIN)/ruff check

install: .venv/installed

.venv/installed: requirements.txt requirements-dev.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) \
	    or sys.exit("Python 3.11 or later is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX),$(BIN)/pip install --index-url $(TORCH_INDEX) \
	    $(shell grep '^torch==' constraints.txt))
	$(BIN)/pip install --quiet -c constraints.txt -r requirements-dev.txt -e .
	touch $@

clear-outputs: install
	$(BIN)/nbstripout notebooks/0*.ipynb

clean:
	rm -rf build .venv
