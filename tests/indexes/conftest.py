"""What the tests of the indexes share."""

import pytest

from congener.indexes import scan, shortlist


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a few thousand rows many blocks, on two threads, and crowds of a few hundred."""
    monkeypatch.setattr(scan, "_FIRST", 100)
    monkeypatch.setattr(scan, "_SCAN", 256)
    monkeypatch.setattr(scan, "_PART", 1000)
    monkeypatch.setattr(scan, "_PRODUCT", (256, 7))
    monkeypatch.setattr(scan, "_RANKED", 20_000)
    monkeypatch.setattr(scan, "cores", lambda: 2)
    monkeypatch.setattr(shortlist, "_NUMBERS", 1500)
    monkeypatch.setattr(shortlist, "_MULTIPLIED", 9000)
    monkeypatch.setattr(shortlist, "_CROWD", 300)
