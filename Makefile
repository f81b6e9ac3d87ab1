# Every target sets up its own virtual environment on a fresh machine.
PYTHON ?= python3
BIN := .venv/bin
LOWEST := .venv-lowest/bin
SEED ?= 18
COUNT ?= 20

.PHONY: quick test thorough lowest mutations check counters compare-check peers churn filters \
  hostile metrics dimension reduce adaptive tune uses clean

quick: .venv/ready ## the first look: 50,000 real vectors, every index, figures in results/quick
	$(BIN)/ann run experiments/configs/quick.toml --out results/quick

test: .venv/ready ## the whole test suite, a file at a time on every core
	$(BIN)/python -m pytest --numprocesses logical --dist loadfile --no-loadscope-reorder

thorough: .venv/ready ## what shows in long runs only: life, damage, kills, threads, every line, levels
	ANN_STEPS=100000 ANN_CORRUPTIONS=20000 ANN_KILLS=300 ANN_CHANGES=1000 ANN_STRIDE=1 \
	  ANN_LEVELS=all $(BIN)/python -m pytest --numprocesses logical --dist loadfile \
	  $(addprefix tests/ann/test_,change.py concurrency.py levels.py saving.py storage.py \
	  whole_changes.py)

# Each file leans on some dependency: compiled kernels, threads, scikit-learn, files, figures, the
# command line. NumPy's types are read from .venv: those of its lowest version are older than ours.
lowest: .venv-lowest/ready .venv/ready ## every dependency at its lower bound, with Python 3.11
	NUMBA_CACHE_DIR=$(CURDIR)/.venv-lowest/kernels $(LOWEST)/python -m pytest \
	  --numprocesses logical --dist loadfile --no-loadscope-reorder \
	  $(addprefix tests/ann/test_,flat.py import.py int8.py neighbors.py parallel.py simd.py) \
	  $(addprefix tests/experiments/test_,cli.py config.py interop_*.py datasets_*.py \
	  measure.py page*.py plots.py streaming_runbook.py text_corpus.py uses.py)
	$(LOWEST)/ruff check .
	$(LOWEST)/ruff format --check .
	$(LOWEST)/mypy --cache-dir .venv-lowest/mypy --python-executable $(BIN)/python
	$(LOWEST)/lint-imports --no-cache

mutations: .venv/ready ## whether tests notice COUNT small faults drawn by SEED; takes hours
	$(BIN)/python -m tests.mutations --seed $(SEED) --count $(COUNT)

check: .venv/ready ## style, types and the layering of the rooms
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

counters: .venv/ready ## the work of a search against the committed counts
	$(BIN)/ann run experiments/configs/counters.toml --out .counters --force
	$(BIN)/ann compare results/counters .counters --threshold 0.02 \
	  --measure distance_computations --measure index_bytes

compare-check: .venv/ready ## whether ann compare is right about code that is known
	rm -rf build/planted
	$(BIN)/python -m experiments.planted experiments/configs/planted.toml --out build/planted

peers: .venv/ready ## the other libraries to compare with
	$(BIN)/pip install --quiet -e '.[peers]'

speed-% front-% rabitq-%: peers ## beside the peers: all, quantized graphs, lists of RaBitQ codes
	$(BIN)/ann run experiments/configs/$@.toml

ablation-%: .venv/ready ## what each trick pays: ablation-wordnet, ablation-front
	$(BIN)/ann ablation experiments/configs/$@.toml

bulk-%: peers ## exact search of a batch, and k-means: bulk-wordnet, bulk-patches, bulk-synthetic
	$(BIN)/ann bulk experiments/configs/$@.toml

churn filters hostile: peers ## trust: changes, filters, data that is not kind
	$(BIN)/ann trust experiments/configs/$@-wordnet.toml

metrics dimension reduce adaptive tune: .venv/ready ## lessons: what near means, and choices
	$(BIN)/ann lesson $@

uses: .venv/ready ## what nearest neighbours are good for: eight examples, a figure each
	$(BIN)/ann use --all

# What is imported is compiled then; all of it took half of the minute and a half.
.venv/ready: pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --no-compile -e '.[dev]'
	touch $@

.venv-lowest/ready: pyproject.toml
	$(PYTHON) -m venv .venv-lowest
	grep -oE '[[:alnum:]-]+>=[0-9.]+' $< | sed 's/>=/==/' > .venv-lowest/bounds.txt
	$(LOWEST)/pip install --quiet --only-binary :all: -c .venv-lowest/bounds.txt setuptools
	$(LOWEST)/pip install --quiet --no-compile --only-binary :all: --no-build-isolation \
	  -c .venv-lowest/bounds.txt -e '.[dev,report]'
	touch $@

clean:
	rm -rf .venv .venv-lowest .counters build *.egg-info results/quick
