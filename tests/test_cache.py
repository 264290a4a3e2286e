"""What is kept, bounded, and lost without harm."""

import os
import sqlite3
import threading
from pathlib import Path

import pytest

from congener.cache import Cache


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

    cache = Cache(place, 10)
    cache.put("a", {}, b"1")

    assert names(cache) == "a"
    cache.close()


def test_what_damages_it_meanwhile_loses_only_what_is_kept(place: Path) -> None:
    cache = Cache(place, 10**6)
    cache.put("a", {}, bytes(10**5))
    with place.open("r+b") as file:
        file.write(os.urandom(4096))

    cache.get("a")
    cache.put("b", {}, b"1")  # neither raises
    cache.facts("b")
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
