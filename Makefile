# Starloop. `make demo` and `make test` do all their own set-up: a fresh clone, Python 3.11, 3.12 or 3.13 and make are enough.
# PYTHON=… chooses the Python; DEMO=… and TESTS=… pass options on.

PYTEST = .venv/bin/python -m pytest
TESTS_AT_ONCE ?= 2

.PHONY: help demo test servers check covered ci soak bench docs pictures changelog build clean setup setup-dev

help:
	@echo "make demo    the whole service on a simulated neighbourhood, in one process"
	@echo "make test    the tests, with what they need installed into .venv"
	@echo "make servers the servers that tests run against: Kafka, InfluxDB, PostgreSQL and others; tests without theirs skip"
	@echo "make check   format, lint, types, and which room may import which"
	@echo "make ci      check, then the tests with coverage"
	@echo "make soak    thousands of seeds, minutes of load"
	@echo "make bench   the benchmark"
	@echo "make docs    the documentation as a site, in build/site; make pictures takes the tutorial's again"
	@echo "make changelog  the notes of the next release; VERSION=0.3.0 moves them into CHANGELOG.md"
	@echo "make build   the wheel and its bill of materials (CycloneDX), in dist"
	@echo "make clean   removes .venv and what tools left"

setup:
	@scripts/setup requirements.lock

setup-dev:
	@scripts/setup requirements-dev.lock

demo: setup
	@exec .venv/bin/starloop demo $(DEMO)

test: setup-dev
	$(PYTEST) -n $(TESTS_AT_ONCE) -m "not soak" $(TESTS)

servers:
	@scripts/servers/install

check: setup-dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports

covered: setup-dev
	rm -f .coverage .coverage.*
	$(PYTEST) -n $(TESTS_AT_ONCE) -m "not soak" --cov --cov-report= $(TESTS)
	scripts/coverage

ci: check covered

soak: setup-dev
	STARLOOP_WORLD_SEEDS=5000 $(PYTEST) -n $(TESTS_AT_ONCE) tests/evaluation/simulation
	$(PYTEST) -n $(TESTS_AT_ONCE) -m soak $(TESTS)

bench: setup-dev
	@exec .venv/bin/starloop bench $(BENCH)

docs: setup-dev
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

pictures: setup-dev
	.venv/bin/python scripts/pictures.py

changelog: setup-dev
	.venv/bin/towncrier build $(if $(VERSION),--yes --version $(VERSION),--draft --version next)

build: setup-dev
	scripts/build

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* htmlcov dist build
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
