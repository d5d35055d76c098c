# Commands for people: demo, test, lint, plugin. Needs make and Python 3.11 or newer; it installs everything else.
# All output is in .venv, .build and dist; `make clean` removes it.

SOURCES := plugin queue worker tools tests
MYPY_PACKAGES := stash_courier.plugin stash_courier.queue stash_courier.worker tools tests
PYTEST_ARGS ?=
BENCH_ARGS ?=
TORTURE_ARGS ?=

.PHONY: help demo test check torture bench lint format plugin release lock clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@echo "make demo     show the plugin at work, on this machine only"
	@echo "make test     run the tests, or some: make test PYTEST_ARGS='-k hook'"
	@echo "make check    run what takes longer: the page in Chromium, Node's judges, slow processes, faults"
	@echo "make torture  run the fault suite, or one row: make torture TORTURE_ARGS='bad_receivers --reduced'"
	@echo "make bench    run the benchmarks; a quick check that they work: make bench BENCH_ARGS='--quick'"
	@echo "make lint     check with ruff, mypy, the import contract, and the page with tsc and eslint"
	@echo "make format   format the code with ruff"
	@echo "make plugin   build dist/stash_courier, the folder to copy into Stash's plugins folder"
	@echo "make release  build what a source for Stash serves: the zip, index.yml, checksums, an SBOM"
	@echo "make lock     lock the newest versions that pyproject.toml allows"
	@echo "make clean    remove all output"

demo: .venv/.installed
	.venv/bin/python -m tests.demo

test: .venv/.installed .build/wheels/.fetched .build/mypy/stash_courier
	.venv/bin/python -m pytest -n 2 --dist worksteal -m "not check" tests/unit tests/integration $(PYTEST_ARGS)

check: .venv/.installed .build/wheels/.fetched .build/mypy/stash_courier .build/npm/.installed \
		.build/page/.installed
	.venv/bin/python -m pytest -n 2 --dist worksteal -m check $(PYTEST_ARGS)

torture: .venv/.installed
	.venv/bin/python -m tests.faults $(TORTURE_ARGS)

# Node-RED and the judges of webhooks that npm has. If they can't be installed, the file contains the reason, and
# their tests are skipped with that text.
.build/npm/.installed: tests/npm/package.json tests/npm/package-lock.json
	@mkdir -p $(@D)
	@cp $^ $(@D)
	@if ! command -v npm >/dev/null; then echo "npm is not installed" | tee $@; \
	elif (cd $(@D) && npm ci --silent --no-audit --no-fund --ignore-scripts --engine-strict); then : >$@; \
	else echo "npm can't install what tests/npm/package-lock.json lists" | tee $@; fi

# The libraries of Stash's page and the judges of ours. --legacy-peer-deps: Stash mixes versions that name each
# other's successors. esbuild's program is a package of its own, so no install script has to run.
.build/page/.installed: tests/page/package.json tests/page/package-lock.json
	@mkdir -p $(@D)
	@cp $^ $(@D)
	@if ! command -v npm >/dev/null; then echo "npm is not installed" | tee $@; \
	elif (cd $(@D) && npm ci --silent --no-audit --no-fund --ignore-scripts --legacy-peer-deps); then : >$@; \
	else echo "npm can't install what tests/page/package-lock.json lists" | tee $@; fi

# The queues that ours is compared with have their own environment, so that .venv contains only what is locked.
bench: .venv/.installed .build/bench/venv/.installed
	.venv/bin/python -m tests.benchmarks $(BENCH_ARGS)

.build/bench/venv/.installed: requirements/bench.txt | .venv/.installed
	.venv/bin/python -m venv --clear $(@D)
	$(@D)/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes --requirement $<
	@touch $@

# Without a cache: with one, mypy reports a new module of a package as missing.
lint: .venv/.installed .build/mypy/stash_courier .build/page/.installed
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy --cache-dir /dev/null $(MYPY_PACKAGES:%=-p %)
	@rm -rf .build/imports && mkdir -p .build/imports/stash_courier/queue
	@cd .build/imports/stash_courier && touch __init__.py queue/__init__.py && \
		ln -s "$(CURDIR)/plugin" "$(CURDIR)/worker" . && ln -s "$(CURDIR)"/queue/* queue/
	@PYTHONPATH=.build/imports .venv/bin/lint-imports --no-cache
	@if [ -s .build/page/.installed ]; then \
		echo "The page is not checked: $$(cat .build/page/.installed)"; \
	else \
		PATH="$(CURDIR)/.build/page/node_modules/.bin:$$PATH"; \
		tsc --project tests/page && eslint --config tests/page/eslint.config.mjs plugin/ui tests/page/host && \
			echo "The page: tsc and eslint found nothing"; \
	fi

format: .venv/.installed
	.venv/bin/ruff check --fix $(SOURCES)
	.venv/bin/ruff format $(SOURCES)

plugin: .venv/.installed .build/wheels/.fetched
	.venv/bin/python -m tools.build_plugin

release: .venv/.installed .build/wheels/.fetched
	.venv/bin/python -m tools.release

.venv/.installed: requirements/test.txt tools/set_up.sh
	tools/set_up.sh
	@touch $@

# Only wheels for every system and interpreter; this fails for a package with compiled parts.
.build/wheels/.fetched: requirements/runtime.txt | .venv/.installed
	@mkdir -p $(@D)
	.venv/bin/python -m pip --quiet --disable-pip-version-check download --require-hashes --no-deps \
		--only-binary :all: --platform any --implementation py --abi none --python-version 3.11 \
		--requirement $< --dest $(@D)
	@touch $@

# Lets mypy find the checkout under the name that the code imports.
.build/mypy/stash_courier:
	@mkdir -p $(@D)
	ln -sfn ../.. $@

# For developers. --universal: one lock for all systems and all Python versions from 3.11.
LOCK := .build/lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
	--generate-hashes --no-annotate --custom-compile-command "make lock" pyproject.toml
lock: .venv/.installed
	.venv/bin/python -m venv .build/lock
	.build/lock/bin/python -m pip --quiet --disable-pip-version-check install --upgrade uv
	$(LOCK) --output-file requirements/runtime.txt
	$(LOCK) --extra test --constraint requirements/runtime.txt --output-file requirements/test.txt

clean:
	rm -rf .venv .build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find $(SOURCES) -name __pycache__ -type d -prune -exec rm -rf {} +
