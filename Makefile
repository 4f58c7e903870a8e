# Every target makes ready what it needs: Debian packages as root, .venv/ in any case (.ci/setup).
.PHONY: help install setup demo test test-libvirt lint bench conformance campaign soak fuzz clean
.DEFAULT_GOAL := help

python := .venv/bin/python

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1:\2/p' Makefile | awk -F: '{ printf "make %-12s %s\n", $$1, $$2 }'

install: ## make .venv/ with the entry points in .venv/bin/
	@.ci/setup --venv-only

setup:
	@.ci/setup

demo: setup ## watch a guest use its TPM, and tampered state be refused (under a minute)
	@$(python) -m examples.demo

test: setup ## format, lint, types and all tests
	@.ci/check

test-libvirt: ## domains of libvirt through their lives, with the TPMs of this project (as root)
	@.ci/setup --libvirt
	@$(python) -m pytest -m libvirt tests/libvirt tests/windows

lint: setup ## format, lint and types alone
	@.ci/check --static

bench: setup ## time the TPM beside swtpm
	@$(python) -m tests.bench

conformance: ## foreign test suites and the matrix of guests
	@.ci/setup --conformance
	@$(python) -m tests.conformance

soak: setup ## kill writers for a minute (SECONDS=3600 for an hour): nothing acknowledged may be lost
	@$(python) -m tests.soak --seconds $(or $(SECONDS),60)

fuzz: setup ## any octets to everything that reads octets, a minute for each target (SECONDS=600 for ten)
	@$(python) -c 'import atheris' 2>/dev/null || $(python) -m pip install --quiet -c constraints.txt atheris || \
		echo 'fuzz: not guided by coverage, since atheris could not be installed' >&2
	@$(python) -m tests.fuzz --seconds $(or $(SECONDS),60)

campaign: setup ## random commands for swtpm and this TPM, compared octet by octet
	@$(python) -m tests.differential --commands 120000

clean: ## remove .venv/ and all that tools leave behind
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
