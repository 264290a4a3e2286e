# The one long run; all else is in CONTRIBUTING.md.
PYTHON ?= .venv/bin/python

.PHONY: torture
torture:
	$(PYTHON) -m pytest -m long
