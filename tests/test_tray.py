import os
from collections.abc import Iterator

import pytest

from congener.tray import Tray

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="the system shares no memory without a name")


@pytest.fixture
def tray() -> Iterator[Tray]:
    """One for 64 bytes."""
    tray = Tray.create(64)
    assert tray is not None
    yield tray
    tray.close()


def test_what_one_lays_the_other_sees(tray: Tray) -> None:
    other = Tray(os.dup(tray.descriptor))
    start = other.lay(b"abc", b"de")
    assert start is not None
    seen = tray.part(start, 5)
    assert seen.tobytes() == b"abcde"
    assert tray.lay(b"f") == start + 8  # each knows where the other has gone on; aligned
    other.clear()
    assert tray.lay(b"g") == start
    assert seen.tobytes() == b"gbcde"
    other.close()
    assert (tray.laid, seen.tobytes()) == (3, b"gbcde")


def test_what_is_laid_stays_until_it_is_cleared(tray: Tray) -> None:
    starts = [tray.lay(bytes([number]) * 16) for number in range(4)]
    assert None not in starts
    assert [tray.part(start or 0, 16).tobytes() for start in starts] == [bytes([n]) * 16 for n in range(4)]
    assert tray.lay(b"x") is None
    assert tray.lay(b"") is not None
    assert tray.part(starts[3] or 0, 16).tobytes() == b"\3" * 16
    tray.clear()
    assert tray.lay(b"x" * 64) == starts[0]
    assert tray.laid == 6


@pytest.mark.parametrize(("start", "size"), [(0, 8), (-1, 4), (8, 8), (16, 65), (88, 0), (16, -8), (1 << 70, 1)])
def test_there_is_nothing_beyond_it(tray: Tray, start: int, size: int) -> None:
    with pytest.raises(ValueError, match="beyond the tray"):
        tray.part(start, size)


def test_nobody_can_make_it_smaller(tray: Tray) -> None:
    for size in (0, 8, 1 << 20):
        with pytest.raises(PermissionError):
            os.ftruncate(tray.descriptor, size)


def test_a_system_may_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(1, "not here")

    assert Tray.create(0) is None
    for name in ("os.ftruncate", "fcntl.fcntl", "os.memfd_create"):
        handles = len(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch:
            patch.setattr(name, refuse)
            assert Tray.create(64) is None
        assert len(os.listdir("/proc/self/fd")) == handles
    monkeypatch.delattr(os, "memfd_create")
    assert Tray.create(64) is None
