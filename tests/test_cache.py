"""What is kept, bounded, and lost without harm."""

import os
import random
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from congener import cache as cache_module
from congener.cache import Cache, thumbnail_name


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "cache.sqlite"


def names(cache: Cache) -> str:
    """Return which of a, b, c … are kept."""
    return "".join(name for name in "abcdefgh" if cache.get(name))


@pytest.mark.parametrize("on_disk", [True, False])
def test_what_is_put_is_got(place: Path, on_disk: bool) -> None:
    cache = Cache(place if on_disk else None, 100)

    assert cache.get("a") is None
    assert cache.facts("a") is None
    cache.put("a", {"width": 5, "name": "ä\udcff\n"}, b"\0abc")

    assert cache.get("a") == ({"width": 5, "name": "ä\udcff\n"}, b"\0abc")
    assert cache.facts("a") == {"width": 5, "name": "ä\udcff\n"}
    cache.close()


def test_it_is_there_the_next_time(place: Path) -> None:
    first = Cache(place, 10)
    first.put("a", {}, b"12345")
    first.close()

    second = Cache(place, 10)
    assert names(second) == "a"
    second.put("b", {}, b"12345")
    second.put("c", {}, b"1")  # what was kept before counts
    assert names(second) == "bc"
    second.close()


def test_what_came_first_goes_first(place: Path) -> None:
    cache = Cache(place, 10)
    for name in "abc":
        cache.put(name, {}, b"123")
    cache.put("a", {}, b"321")  # it comes anew
    cache.put("d", {}, b"123")

    assert names(cache) == "acd"
    assert cache.get("a") == ({}, b"321")
    cache.put("e", {}, b"1234567890")
    assert names(cache) == "e"
    cache.close()


def test_what_is_too_large_drops_nothing(place: Path) -> None:
    cache = Cache(place, 10)
    cache.put("a", {}, b"123")
    cache.put("b", {}, b"12345678901")

    assert names(cache) == "a"
    cache.close()


def test_two_processes_may_share_it(place: Path) -> None:
    one, other = Cache(place, 10), Cache(place, 10)
    for name in "abcdefgh":
        one.put(name, {}, b"12345")
        other.put(name.upper(), {}, b"12345")
    for _ in range(3):  # neither waits for room that the other has made
        other.put("x", {}, b"1234567890")
        one.put("y", {}, b"1234567890")

    assert one.get("y") == other.get("y") == ({}, b"1234567890")
    one.close()
    other.close()


@pytest.mark.parametrize("content", [b"no database", bytes(5000), b"SQLite format 3\0" + os.urandom(5000)])
def test_a_damaged_file_is_made_anew(place: Path, content: bytes) -> None:
    place.write_bytes(content)
    cache = Cache(place, 10)
    cache.put("a", {}, b"1")
    cache.close()

    again = Cache(place, 10)
    assert names(again) == "a"
    again.close()


def test_a_file_of_other_tables_is_no_cache(place: Path) -> None:
    with sqlite3.connect(place) as other:
        other.execute("CREATE TABLE kept (x)")
    other.close()

    before = place.read_bytes()
    cache = Cache(place, 10)
    cache.put("a", {}, b"1")

    assert names(cache) == "a"
    cache.close()
    assert place.read_bytes() == before  # it isn't ours to delete


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("number", range(12))
def test_a_damaged_page_has_it_made_anew(place: Path, number: int, first: bool, caplog: Any) -> None:
    """Whatever page it is, and whether what comes next reads or writes: one line, and it keeps again."""
    full = Cache(place, 10**6)
    for letter in "abcdefgh":
        full.put(letter, {"letter": letter}, letter.encode() * 10**4)
    full.close()
    pages = place.stat().st_size // 4096
    with place.open("r+b") as file:
        file.seek(number * pages // 12 * 4096)
        file.write(random.Random(number).randbytes(4096))

    cache = Cache(place, 10**6)
    if first:
        assert cache.put("new", {}, b"1")
        assert cache.get("new") == ({}, b"1")
    for letter in "abcdefgh":  # as it was, or not at all
        assert cache.get(letter) in (({"letter": letter}, letter.encode() * 10**4), None)
    if not first:
        assert cache.put("new", {}, b"1")
    assert cache.put("last", {}, bytes(10**5))
    assert cache.get("last") == ({}, bytes(10**5))
    cache.close()
    assert len([each for each in caplog.records if "made anew" in each.message]) == 1
    assert len(caplog.records) == 1
    again = Cache(place, 10**6)
    assert again.get("last")
    again.close()


@pytest.mark.parametrize("how", ["cut", "emptied", "gone", "other"])
def test_what_happens_to_its_file_meanwhile_loses_only_what_is_kept(place: Path, how: str) -> None:
    cache = Cache(place, 10**6)
    cache.put("a", {}, bytes(10**5))
    cache._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    if how == "gone":
        for each in place.parent.iterdir():
            each.unlink()
    elif how == "other":
        with place.open("r+b") as file:
            file.write(os.urandom(4096))
    else:
        os.truncate(place, 8192 if how == "cut" else 0)

    cache.get("a")  # doesn't raise
    cache.facts("a")
    if how in ("cut", "emptied"):
        assert cache.put("b", {}, b"1")
        assert cache.get("b") == ({}, b"1")
    cache.put("b", {}, b"1")
    cache.close()
    again = Cache(place, 10**6)
    assert again.put("c", {}, b"1")
    assert again.get("c") == ({}, b"1")
    again.close()


def test_a_full_disk_is_no_damage(place: Path, caplog: Any) -> None:
    cache = Cache(place, 10**8)
    assert cache.put("a", {}, bytes(10**5))
    cache._db.execute("PRAGMA max_page_count = 40")  # SQLite says of it what it says of a disk

    assert not cache.put("b", {}, bytes(10**5))
    assert cache.get("a") == ({}, bytes(10**5))
    assert not caplog.records
    cache._db.execute("PRAGMA max_page_count = 4000")
    assert cache.put("b", {}, bytes(10**5))
    cache.close()


@pytest.mark.parametrize("kind", ["folder", "link", "pipe"])
def test_what_is_no_file_of_ours_is_left_alone(place: Path, kind: str) -> None:
    target = place.with_name("diary.sqlite")
    target.write_bytes(b"somebody's diary" * 100)
    if kind == "folder":
        place.mkdir()
    elif kind == "link":
        place.symlink_to(target)
    else:
        os.mkfifo(place)

    cache = Cache(place, 100)
    assert cache.put("a", {}, b"1")
    assert cache.get("a") == ({}, b"1")
    cache.close()
    assert target.read_bytes() == b"somebody's diary" * 100
    assert place.is_dir() == (kind == "folder")
    assert place.is_fifo() == (kind == "pipe")


def test_one_of_an_older_format_is_made_anew(place: Path, caplog: Any) -> None:
    old = sqlite3.connect(place)
    old.execute(cache_module._SCHEMA)
    old.execute("INSERT INTO kept (name, facts, content) VALUES ('0011-320', '{}', x'31')")
    old.commit()
    old.close()

    cache = Cache(place, 100)
    assert cache.get("0011-320") is None
    assert cache.put("a", {}, b"1")
    cache.close()
    assert not caplog.records  # nothing is wrong


def test_what_is_dropped_is_gone_from_the_disk(place: Path) -> None:
    kept, gone = "ab" * 32, "cd" * 32
    cache = Cache(place, 10**6)
    secret = os.urandom(50_000)
    for name, content in ((kept, b"kept" * 5000), (gone, secret)):
        for side in (320, 1280):
            cache.put(thumbnail_name(name, side), {}, content)
    cache.put("upload-" + gone[:32], {}, b"sent")
    assert cache.contents() == {kept, gone}
    cache.drop([gone])

    assert cache.contents() == {kept}
    assert cache.get(thumbnail_name(kept, 320))
    assert cache.get("upload-" + gone[:32])
    for path in place.parent.iterdir():
        held = path.read_bytes()
        assert not any(secret[at : at + 64] in held for at in range(0, len(secret), 1000))
    cache.close()


def test_in_memory_it_is_small(place: Path) -> None:
    cache = Cache(None, 2**30)
    for number in range(20):
        cache.put(str(number), {}, bytes(5 * 2**20))

    assert sum(cache.get(str(number)) is not None for number in range(20)) == 12
    cache.close()


def test_where_nothing_can_be_written_memory_serves(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "nowhere/cache.sqlite", 10)
    cache.put("a", {}, b"1")

    assert names(cache) == "a"
    cache.close()


def test_threads_may_share_it(place: Path) -> None:
    cache = Cache(place, 500)
    failed: list[BaseException] = []

    def use(number: int) -> None:
        try:
            for each in range(50):
                cache.put(f"{number}-{each}", {"n": each}, bytes(10))
                cache.get(f"{number}-{each}")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not failed
    held = [cache.get(f"{number}-{each}") for number in range(6) for each in range(50)]
    assert sum(each is not None for each in held) == 50
    cache.close()
