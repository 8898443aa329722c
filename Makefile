# The two commands: `make demo` and `make test`. Both need only Python 3.11+ with venv; uv is used when it is there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SYNAPSE := .venv-synapse
GOOGLE_CHAT := .venv-google-chat
UV := $(shell command -v uv 2>/dev/null)
PORT ?= 8080

ifdef UV
INSTALL = VIRTUAL_ENV=$(VENV) uv pip install --quiet --require-hashes -r
else
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r
endif

.PHONY: help demo test slow install lint lock bench chaos picture clean
.DEFAULT_GOAL := help

help: ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1	/' | expand -t 16

# A virtual environment that runs this checkout: the locked packages, this folder on the path, a `bridge` command.
$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "bridge needs Python 3.11 or newer; choose one with: make PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c "import pathlib, sysconfig; pathlib.Path(sysconfig.get_paths()['purelib'], 'bridge_checkout.pth').write_text('$(CURDIR)\n')"
	@printf '#!%s\nfrom bridge.cli import main\nmain()\n' '$(CURDIR)/$(BIN)/python' > $(BIN)/bridge && chmod +x $(BIN)/bridge
	@touch $@

$(VENV)/.run: requirements.txt $(VENV)/.made
	@$(INSTALL) requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.made
	@$(INSTALL) requirements-dev.txt
	@touch $@ $(VENV)/.run

install: $(VENV)/.run ## .venv with the locked packages and the `bridge` command

demo: $(VENV)/.run ## the whole story on this machine, no account needed (ONCE=1: ends by itself)
	@$(BIN)/bridge demo --port $(PORT) $(if $(ONCE),--once)

test: $(VENV)/.dev ## the test suite
	@$(BIN)/python -m pytest -n auto $(ARGS)

# A real Matrix homeserver in an environment of its own: it pins what bridge has newer. Without it its tests are skipped.
$(SYNAPSE)/.made: tests/synapse-requirements.txt
	@rm -rf $(SYNAPSE) && $(PYTHON) -m venv $(SYNAPSE)
	@$(SYNAPSE)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $< && touch $@ || echo "no Synapse here: its tests are skipped"

# Google's own definition of a message, in an environment of its own: it brings gRPC.
$(GOOGLE_CHAT)/.made: tests/google-chat-requirements.txt
	@rm -rf $(GOOGLE_CHAT) && $(PYTHON) -m venv $(GOOGLE_CHAT)
	@$(GOOGLE_CHAT)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --require-hashes -r $< && touch $@ || { rm -rf $(GOOGLE_CHAT); echo "no google-apps-chat here: its tests are skipped"; }

slow: $(VENV)/.dev $(SYNAPSE)/.made $(GOOGLE_CHAT)/.made ## the suites marked slow: crash, wheel, long fuzzing, real Synapse
	@$(BIN)/python -m pytest -m slow $(ARGS)

lint: $(VENV)/.dev ## format, lint, strict types, the import contract
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/python -m tools.forms > $(VENV)/forms.py && $(BIN)/mypy $(VENV)/forms.py
	@$(BIN)/lint-imports --no-cache

bench: $(VENV)/.dev ## how fast it is, beside the limit and beside others (QUICK=1: two minutes; ONLY=accept,latency)
	@$(BIN)/python -m benchmarks --json benchmarks/results/latest.json $(if $(QUICK),--quick) $(if $(ONLY),--only $(ONLY)) $(ARGS)

chaos: $(VENV)/.dev ## a million events, a thousand kills, both engines side by side (MINUTES=5, EVENTS=, KILLS=, SEED=, ENGINE=)
	@$(BIN)/python -m tests.chaos $(if $(EVENTS),--events $(EVENTS)) $(if $(KILLS),--kills $(KILLS)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) $(if $(ENGINE),--engine $(ENGINE)) $(ARGS)

picture: $(VENV)/.dev ## docs/messages.png and docs/destinations/*.png, from what is really sent (needs chromium)
	@$(BIN)/python -m tools.picture
	@$(BIN)/python -m tools.pictures

lock: ## new lock files from pyproject.toml (needs uv)
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $(UPGRADE) -o requirements.txt pyproject.toml
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $(UPGRADE) -c requirements.txt --group dev -o requirements-dev.txt pyproject.toml
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --only-binary :all: $(UPGRADE) -o tests/synapse-requirements.txt tests/synapse-requirements.in
	@uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --only-binary :all: $(UPGRADE) -o tests/google-chat-requirements.txt tests/google-chat-requirements.in
	@$(BIN)/python tools/lock.py stamp

clean: ## everything that was made
	rm -rf $(VENV) $(SYNAPSE) $(GOOGLE_CHAT) .mypy_cache .ruff_cache .hypothesis dist
