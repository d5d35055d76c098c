# What a person calls: demo, test, lint, plugin. Needs Python 3.11 or newer and make; sets up the rest itself.
# Everything made is in .venv, .build and dist; `make clean` removes it.

SOURCES := plugin queue worker tools tests
MYPY_PACKAGES := stash_courier.plugin stash_courier.queue stash_courier.worker tools tests
PYTEST_ARGS ?=
BENCH_ARGS ?=
TORTURE_ARGS ?=

.PHONY: help demo test torture bench lint format plugin zip lock clean
.DELETE_ON_ERROR:
.NOTPARALLEL:

help:
	@echo "make demo     shows the plugin at work, on this machine only"
	@echo "make test     runs all tests (make test PYTEST_ARGS='-k hook' runs some)"
	@echo "make torture  breaks everything around it (make torture TORTURE_ARGS='bad_receivers --reduced' runs a row, smaller)"
	@echo "make bench    measures what it costs, beside its targets (make bench BENCH_ARGS='--quick' shows that it runs)"
	@echo "make lint     ruff, mypy and the import contract"
	@echo "make format   lets ruff lay out the code"
	@echo "make plugin   puts dist/stash_courier together, to be dropped into Stash's plugins folder"
	@echo "make zip      the same folder as dist/stash_courier.zip"
	@echo "make lock     locks the newest versions that pyproject.toml admits"
	@echo "make clean    removes all of this"

demo: .venv/.installed
	.venv/bin/python -m tests.demo

test: .venv/.installed .build/wheels/.fetched .build/mypy/stash_courier .build/fuzz/.installed
	.venv/bin/python -m pytest -n 2 --dist worksteal $(PYTEST_ARGS)

torture: .venv/.installed .build/fuzz/.installed
	.venv/bin/python -m tests.faults $(TORTURE_ARGS)

# Where it can't be had, the file says so in a sentence, and the row that needs it is skipped with that sentence.
.build/fuzz/.installed: requirements/fuzz.txt | .venv/.installed
	@mkdir -p $(@D)
	.venv/bin/python -m venv --clear $(@D)/venv
	@if $(@D)/venv/bin/python -m pip --quiet --disable-pip-version-check install --only-binary :all: \
		--require-hashes --requirement $<; then : >$@; \
	else echo "atheris can't be installed for this system and interpreter: the codec is not fuzzed" | tee $@; fi

# The others' queues stand beside ours in an environment of their own, so that .venv stays as it is locked.
bench: .venv/.installed .build/bench/venv/.installed
	.venv/bin/python -m tests.benchmarks $(BENCH_ARGS)

.build/bench/venv/.installed: requirements/bench.txt | .venv/.installed
	.venv/bin/python -m venv --clear $(@D)
	$(@D)/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes --requirement $<
	@touch $@

# Without a cache: mypy's doesn't notice a module that is new in a package, and calls it missing.
lint: .venv/.installed .build/mypy/stash_courier
	.venv/bin/ruff check $(SOURCES)
	.venv/bin/ruff format --check $(SOURCES)
	.venv/bin/mypy --cache-dir /dev/null $(MYPY_PACKAGES:%=-p %)
	@rm -rf .build/imports && mkdir -p .build/imports/stash_courier/queue
	@cd .build/imports/stash_courier && touch __init__.py queue/__init__.py && \
		ln -s "$(CURDIR)/plugin" "$(CURDIR)/worker" . && ln -s "$(CURDIR)"/queue/*.py queue/
	@PYTHONPATH=.build/imports .venv/bin/lint-imports --no-cache

format: .venv/.installed
	.venv/bin/ruff check --fix $(SOURCES)
	.venv/bin/ruff format $(SOURCES)

plugin: .venv/.installed .build/wheels/.fetched
	.venv/bin/python tools/build_plugin.py

zip: .venv/.installed .build/wheels/.fetched
	.venv/bin/python tools/build_plugin.py --zip

.venv/.installed: requirements/test.txt tools/set_up.sh
	tools/set_up.sh
	@touch $@

# Wheels for every system and interpreter: whatever would need a compiled part is refused here.
.build/wheels/.fetched: requirements/runtime.txt | .venv/.installed
	@mkdir -p $(@D)
	.venv/bin/python -m pip --quiet --disable-pip-version-check download --require-hashes --no-deps \
		--only-binary :all: --platform any --implementation py --abi none --python-version 3.11 \
		--requirement $< --dest $(@D)
	@touch $@

# mypy knows the checkout by the name that the code imports.
.build/mypy/stash_courier:
	@mkdir -p $(@D)
	ln -sfn ../.. $@

# For developers. --universal: one lock for every system and every Python from 3.11 on.
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
