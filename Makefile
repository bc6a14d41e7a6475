# Everything that a checkout needs; `make` alone lists it.

PYTHON ?= python3
UV_VERSION := 0.13.9

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
INSTALLED := $(VENV)/.installed
TRANSLATED := meter/locale/zh/LC_MESSAGES/kashi.mo
INTEROP := $(VENV)/interop/.installed
# What is compiled runs instead of its source, and so is made anew when that was changed.
COMPILED := deploy/compiling.py $(shell sed -n 's/.*sources = \["\(.*\)"\].*/\1/p' pyproject.toml)
# When the last commit was made; a build takes it for its own time.
COMMITTED = $(shell git log -1 --format=%ct)

.DEFAULT_GOAL := help
.PHONY: help setup messages demo demo-web screenshots test all vectors interop faults ha fuzz mutants bench check lock sbom wheel images clean

help: ## List these commands
	@echo 'Kashi: compute vouchers metered exactly, on a ledger that anyone can verify offline'
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20
	@echo
	@echo 'With PYTHON=python3.12 a new $(VENV) is made by that Python (3.11 or newer);'
	@echo '`make clean` first when there is one already.'

setup: $(INSTALLED) $(TRANSLATED) ## Make the virtual environment with the locked dependencies

demo: $(INSTALLED) ## Run the whole story on a real database; TRACE=FILE replays a cluster trace
	@$(BIN)/kashi demo $(if $(TRACE),--trace '$(TRACE)')

demo-web: $(INSTALLED) ## Serve seven months for a browser, with a link for each role; PORT=8080
	@$(BIN)/kashi demo --serve --port $(or $(PORT),8080)

test: $(INSTALLED) $(TRANSLATED) ## Run the tests side by side, WORKERS=4 so many; ARGS='-k rating' only these, one by one
	@$(BIN)/python -m pytest -n $(or $(WORKERS),$(if $(ARGS),0,auto)) $(ARGS)

all: setup check interop test ## What CI runs, in its order

vectors: $(INSTALLED) ## Write the test vectors, for readers in other languages
	@$(BIN)/python -m tests.vectors

faults: $(INSTALLED) ## Kill, cut, stop and fill what the service runs on, hundreds of times
	@$(BIN)/python -m tests.faults $(ARGS)

ha: $(INTEROP) ## Break a cluster of etcd, Patroni and Kashi, twenty times in each way; it goes on where it stopped
	@$(BIN)/python -m tests.ha $(or $(ARGS),--out build/ha.json --page)

fuzz: $(INSTALLED) ## Fuzz every reader of hostile bytes; TARGET=note SECONDS=600 one, and for longer
	@$(BIN)/python -m tests.fuzz $(TARGET) --seconds $(or $(SECONDS),60)

screenshots: $(INSTALLED) ## Write pictures of the pages into docs/screenshots/, with Chromium
	@$(BIN)/python -m tests.browser.screenshots $(ARGS)

mutants: $(INSTALLED) ## Plant small faults in the code one by one; ARGS='--sample 100 --seed 1' only some
	@$(BIN)/python -m tests.mutants $(ARGS)

bench: $(INSTALLED) ## Measure speed for a quarter of an hour, into docs/benchmarks.md; ARGS='--quick' looks only
	@$(BIN)/python -m tests.bench $(or $(ARGS),--out docs)

check: $(INSTALLED) ## Lint, formatting, types and translations
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m deploy.catalogue check

messages: $(INSTALLED) ## Bring the catalogue of translations up to date with the code
	@$(BIN)/python -m deploy.catalogue update

interop: $(INTEROP) ## Install the programs by others that read our formats

lock: | $(BIN)/pip ## Choose the dependencies anew; the file holds hashes and no addresses
	$(PIP) install uv==$(UV_VERSION)
	$(BIN)/python -c 'import tomllib; \
	  print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	| $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	  --generate-hashes --no-header --no-annotate --extra server --extra audit --extra dask --extra dev \
	  --output-file requirements.lock pyproject.toml -

sbom: $(INSTALLED) ## Write what the service is made of, as CycloneDX, into dist/sbom.json
	@SOURCE_DATE_EPOCH=$(COMMITTED) $(BIN)/python deploy/sbom.py requirements.lock dist/sbom.json

# Neither the folder, nor the umask, nor the times of files, nor what is not committed gets into it.
wheel: $(INSTALLED) ## Build the wheel of the last commit into dist/, each time the same bytes
	@rm -rf build/wheel
	@mkdir -p build/wheel
	@umask 022 && git archive HEAD | tar --extract --no-same-permissions --directory build/wheel
	@cd build/wheel && umask 022 && SOURCE_DATE_EPOCH=$(COMMITTED) PYTHONHASHSEED=0 \
	  CFLAGS='-ffile-prefix-map=$(CURDIR)/build/wheel=.' $(abspath $(BIN))/python -m pip wheel --quiet \
	  --no-build-isolation --no-deps --no-cache-dir --wheel-dir $(CURDIR)/dist .

images: ## Write today's digests of the base images into deploy/, with docker
	@deploy/pin-images

clean: ## Remove what the other commands made
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	find . -path ./$(VENV) -prune -o -name '*.so' -exec rm -f {} +

# The build backend is in the lock too, so nothing is fetched that has no hash.
$(INSTALLED): requirements.lock pyproject.toml $(COMPILED) | $(BIN)/pip
	@echo 'Installing the locked dependencies into $(VENV), and compiling the rules'
	@$(PIP) install --require-hashes --no-deps -r requirements.lock
	@PYTHONWARNINGS=ignore $(PIP) install --no-build-isolation --no-deps --editable .
	@touch $@

$(TRANSLATED): $(TRANSLATED:.mo=.po) | $(INSTALLED)
	@$(BIN)/python -c 'from deploy.compiling import translate; translate()'

$(INTEROP): $(wildcard tests/interop/*.json tests/*/requirements.txt) tests/interop/install | $(INSTALLED)
	@echo 'Installing programs by others into $(VENV)/interop'
	@tests/interop/install
	@touch $@

# pip is the last thing that venv makes: without it, an interrupted one is made again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(v < (3, 11) and \
	  "Python 3.11 or newer is needed, this is %d.%d; name one with PYTHON=" % v)'
	@$(PYTHON) -m venv $(VENV)
