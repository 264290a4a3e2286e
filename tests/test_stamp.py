import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from congener.stamp import Stamp, is_same, stamp_of


def test_a_stamp_is_what_the_system_tells(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    status = (tmp_path / "a").stat()
    stamp = Stamp.of(status)
    assert stamp == (3, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    assert stamp_of(stamp) == stamp


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Stamp(1, 2, 3, 4), True),
        (Stamp(9, 2, 3, 4), False),
        (Stamp(1, 9, 3, 4), False),
        (Stamp(1, 2, 9, 4), False),
        (Stamp(1, 2, 3, 9), False),
        (Stamp(1, 2, 0, 4), True),
        (Stamp(1, 2, 3, 0), True),
        (Stamp(1, 2), True),
        (Stamp(9, 2), False),
        (Stamp(1, 9), False),
        (Stamp(1, 2, 0, 9), False),
        (Stamp(1, 2, 9, 0), False),
    ],
)
def test_each_value_that_is_known_of_both_must_be_the_same(other: Stamp, same: bool) -> None:
    assert is_same(Stamp(1, 2, 3, 4), other) is same
    assert is_same(other, Stamp(1, 2, 3, 4)) is same


def test_what_64_bits_do_not_hold_is_kept_as_what_they_do() -> None:
    status = SimpleNamespace(st_size=1, st_mtime_ns=10**19, st_ctime_ns=-(10**19), st_ino=2**64 - 1)
    assert Stamp.of(cast(os.stat_result, status)) == (1, 2**63 - 1, -(2**63), 2**63 - 1)
