"""What a worker's process may be asked in the tests without importing more than it has."""

import sys


def loaded(names: list[str]) -> list[str]:
    """Return those of the modules that have been imported."""
    return [name for name in names if name in sys.modules]
