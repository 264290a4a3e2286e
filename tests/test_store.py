import errno
import os
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from congener.disk import explained, file_sum, map_matrix
from congener.errors import GalleryBusyError, GalleryError
from congener.schema import COLUMNS, rewrite_images
from congener.stamp import Stamp, is_same
from congener.store import Row, Store

ENCODER = {"name": "fake", "dimension": 4}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def feature(number: float) -> NDArray[np.float32]:
    return np.full(4, number, np.float32)


def add(store: Store, *numbers: int) -> None:
    """Add images number.jpg whose feature is four times that number."""
    with store.transaction() as changes:
        for number in numbers:
            slot = changes.append(feature(number))
            changes.put(Row(0, f"{number}.jpg", 1, 2, bytes([number]), *slot))


def contents(store: Store) -> dict[str, float]:
    ids, features = store.features()
    rows = {row.id: row.path for row in store.rows()}
    return {rows[id]: float(value) for id, value in zip(ids.tolist(), features[:, 0], strict=True)}


def matrix(folder: Path) -> Path:
    (path,) = folder.glob("features-*.f16")
    return path


def test_what_is_written_is_there_when_opened_again(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1, 2)
    store.set("exclude", ["*.gif"])
    store.close()
    again = Store.open(folder)
    assert contents(again) == {"1.jpg": 1, "2.jpg": 2}
    assert len(again) == 2
    assert again.get("encoder") == ENCODER
    assert again.get("exclude") == ["*.gif"]
    again.close()


def test_an_empty_gallery_has_no_features(folder: Path) -> None:
    ids, features = Store.create(folder, ENCODER).features()
    assert ids.shape == (0,)
    assert features.shape == (0, 4)


def test_names_of_any_bytes_come_back(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    names = ["Käfer.jpg", "蝶.jpg", "a\nb.jpg", "\udcff\udcfe.jpg"]
    with store.transaction() as changes:
        for name in names:
            changes.put(Row(0, name, 1, 2, b"", *changes.append(feature(1))))
    assert [row.path for row in store.rows()] == names
    found = store.find(path=names[3])
    assert found is not None
    assert found.path == names[3]


def test_a_row_is_found_by_id_or_path_or_not(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 7)
    row = store.find(path="7.jpg")
    assert row is not None
    assert store.find(id=row.id) == row
    assert store.find(path="8.jpg") is None
    assert store.find(id=99) is None


def test_a_failed_transaction_changes_nothing(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1)

    def fail() -> None:
        with store.transaction() as changes:
            changes.put(Row(0, "2.jpg", 1, 2, b"", *changes.append(feature(2))))
            changes.delete([1])
            raise RuntimeError("on the way")

    with pytest.raises(RuntimeError, match="on the way"):
        fail()
    assert contents(store) == {"1.jpg": 1}
    add(store, 3)
    assert contents(store) == {"1.jpg": 1, "3.jpg": 3}


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs /proc")
def test_features_are_synced_before_the_rows_that_point_to_them(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.create(folder, ENCODER)
    order: list[str] = []
    fsync = os.fsync

    def synced(descriptor: int) -> None:
        order.append(os.path.basename(os.readlink(f"/proc/self/fd/{descriptor}")))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", synced)
    store._db.set_trace_callback(order.append)
    add(store, 1)
    assert "features-1.f16" in order
    assert order.index("features-1.f16") < order.index("COMMIT")


def test_an_id_is_never_given_again(folder: Path) -> None:
    """Somebody may still hold it, for the image that is gone."""
    store = Store.create(folder, ENCODER)
    add(store, 1, 2)
    before = {row.id for row in store.rows()}
    with store.transaction() as changes:
        changes.delete([max(before)])
    add(store, 3)
    (new,) = {row.id for row in store.rows()} - before
    assert new > max(before)


def test_features_that_could_not_be_written_are_not_committed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(GalleryError, match="no room left"):
            add(store, 2)
    assert set(contents(store).values()) == {1}
    add(store, 3)
    assert set(contents(store).values()) == {1, 3}


def test_the_torn_end_of_an_interrupted_run_is_passed_over(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1)
    with matrix(folder).open("ab") as file:
        file.write(b"torn!")
    add(store, 2)
    assert contents(store) == {"1.jpg": 1, "2.jpg": 2}


def test_a_reader_sees_one_state_while_another_writes(folder: Path) -> None:
    writer, reader = Store.create(folder, ENCODER), Store.open(folder)
    add(writer, 1)
    before = reader.version()
    with writer.transaction() as changes:
        changes.put(Row(0, "2.jpg", 1, 2, b"", *changes.append(feature(2))))
        assert contents(reader) == {"1.jpg": 1}
        assert reader.version() == before
    assert contents(reader) == {"1.jpg": 1, "2.jpg": 2}
    assert reader.version() != before


def test_only_one_may_write_and_a_dead_one_does_not_block(folder: Path) -> None:
    first, second = Store.create(folder, ENCODER), Store.open(folder)
    with first.writing():
        with pytest.raises(GalleryBusyError, match="another process"), second.writing():
            pass
        add(first, 1)
    with second.writing():
        add(second, 2)
    assert contents(first) == {"1.jpg": 1, "2.jpg": 2}


def test_holes_are_given_back_when_they_are_the_greater_part(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("congener.store._COMPACT_BYTES", 0)
    store, reader = Store.create(folder, ENCODER), Store.open(folder)
    add(store, *range(1, 11))
    with store.transaction() as changes:
        changes.delete([1, 2, 4])
    assert not store.compact()
    with store.transaction() as changes:
        changes.delete([6, 8, 9])
        row = store.find(id=10)
        assert row is not None
        changes.put(Row(0, "copy.jpg", 1, 2, row.content, row.slot, row.checksum))
    assert store.compact()
    left = {"3.jpg": 3, "5.jpg": 5, "7.jpg": 7, "10.jpg": 10, "copy.jpg": 10}
    assert contents(store) == contents(reader) == left
    assert matrix(folder).stat().st_size == 4 * 4 * 2
    assert all(float(store.feature(row)[0]) == left[row.path] for row in store.rows())
    add(store, 12)
    assert contents(store) == left | {"12.jpg": 12}


def test_a_damaged_feature_is_noticed(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1, 2)
    data = bytearray(matrix(folder).read_bytes())
    data[9] ^= 1
    matrix(folder).write_bytes(data)
    first, second = store.rows()
    assert store.feature(first).tolist() == [1, 1, 1, 1]
    with pytest.raises(GalleryError, match=r"damaged: the feature of 2\.jpg"):
        store.feature(second)


def test_a_file_cut_short_is_noticed(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1, 2)
    matrix(folder).write_bytes(matrix(folder).read_bytes()[:9])
    with pytest.raises(GalleryError, match=r"holds 1 rows, the catalogue counts on 2"):
        store.features()
    matrix(folder).unlink()
    with pytest.raises(GalleryError, match=r"features-1.f16 is missing, as in a copy.*congener backup"):
        store.features()


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000])
def test_a_catalogue_that_is_none_is_refused(folder: Path, content: bytes) -> None:
    folder.mkdir()
    (folder / "catalogue.sqlite").write_bytes(content)
    with pytest.raises(GalleryError, match="holds no sound gallery"):
        Store.open(folder)


def test_another_programs_database_is_refused(folder: Path) -> None:
    folder.mkdir()
    with sqlite3.connect(folder / "catalogue.sqlite") as db:
        db.execute("CREATE TABLE images (id INTEGER)")
    db.close()
    with pytest.raises(GalleryError, match="holds no sound gallery"):
        Store.open(folder)


def test_a_newer_format_is_refused(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    store.set("format", 99)
    store.close()
    with pytest.raises(GalleryError, match=r"format 99.*update congener"):
        Store.open(folder)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(GalleryError, match=r"file/store.*--gallery PATH"):
        Store.create(tmp_path / "file" / "store", ENCODER)


def test_two_may_create_at_once(folder: Path) -> None:
    errors: list[BaseException] = []

    def create(number: int) -> None:
        try:
            Store.create(folder, ENCODER | {"number": number}).close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(Store.open(folder)) == 0


# generations


def twice(features: NDArray[np.float16]) -> dict[str, NDArray[np.float32]]:
    """Embed by the feature's first two numbers, and by their double."""
    values = features[:, :2].astype(np.float32)
    return {"one": values, "two": 2 * values}


def never(features: NDArray[np.float16]) -> dict[str, NDArray[np.float32]]:
    raise AssertionError(f"{len(features)} features were embedded again")


def fitted(store: Store, note: str = "first") -> None:
    store.new_generation({"note": note}, {"mean": np.arange(3.0)}, {"one": 2, "two": 2}, twice)


def embedded(store: Store, space: str = "two") -> dict[str, float]:
    found = store.embeddings(space, never)
    rows = {row.id: row.path for row in store.rows()}
    values = found.matrix[found.rows, 0].tolist()
    return {rows[id]: float(value) for id, value in zip(found.ids.tolist(), values, strict=True)}


def test_a_generation_keeps_what_was_fitted_and_every_embedding(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    assert store.generation() is None
    add(store, 1, 2)
    assert store.changed() == 2
    with store.writing():
        fitted(store)
    assert store.changed() == 0
    store.close()
    again = Store.open(folder)
    generation = again.generation()
    assert generation is not None
    assert (generation["number"], generation["note"], generation["slots"]) == (1, "first", 2)
    assert again.fitted()["mean"].tolist() == [0, 1, 2]
    assert embedded(again) == {"1.jpg": 2, "2.jpg": 4}
    again.close()


def test_a_new_generation_takes_the_place_of_the_old_one_for_readers_too(folder: Path) -> None:
    store, reader = Store.create(folder, ENCODER), Store.open(folder)
    add(store, 1)
    with store.writing():
        fitted(store)
        assert embedded(reader) == {"1.jpg": 2}
        add(store, 3)
        fitted(store, "second")
    assert embedded(reader) == {"1.jpg": 2, "3.jpg": 6}
    files = {f"embeddings-2-{space}.f16" for space in ("one", "two")}
    assert {path.name for path in folder.glob("embeddings-*")} == files | {f"{file}.crc" for file in files}


def test_what_a_generation_does_not_reach_is_embedded_when_asked_for(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1)
    with store.writing():
        fitted(store)
    add(store, 2, 3)
    seen: list[int] = []

    def embed(features: NDArray[np.float16]) -> dict[str, NDArray[np.float32]]:
        seen.append(len(features))
        return twice(features)

    found = store.embeddings("two", embed)
    assert found.ids.tolist() == [1, 2, 3]
    assert found.matrix[found.rows, 0].tolist() == [2, 4, 6]
    assert seen == [2]
    with store.writing():
        store.extend_generation(twice)
    assert embedded(store) == {"1.jpg": 2, "2.jpg": 4, "3.jpg": 6}


def test_the_rest_of_an_interrupted_extension_is_cut_off(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1)
    with store.writing():
        fitted(store)
    for path in folder.glob("embeddings-*"):
        with path.open("ab") as file:
            file.write(b"torn rows that nobody counts on")
    add(store, 2)
    with store.writing():
        store.extend_generation(twice)
    assert embedded(store) == {"1.jpg": 2, "2.jpg": 4}


def test_compaction_moves_the_embeddings_along(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("congener.store._COMPACT_BYTES", 0)
    store = Store.create(folder, ENCODER)
    add(store, *range(1, 8))
    with store.writing():
        fitted(store)
        with store.transaction() as changes:
            changes.delete([1, 2, 3, 5])
        assert store.compact()
        store.extend_generation(twice)
    assert embedded(store) == {"4.jpg": 8, "6.jpg": 12, "7.jpg": 14}


def test_a_sample_is_chosen_by_content_alone(folder: Path, tmp_path: Path) -> None:
    samples = []
    for number, order in enumerate([(5, 1, 4, 2, 3), (2, 3, 1, 5, 4)]):
        store = Store.create(tmp_path / str(number), ENCODER)
        add(store, *order)
        with store.transaction() as changes:  # a copy counts once
            row = store.find(path="1.jpg")
            assert row is not None
            changes.put(Row(0, "copy.jpg", 1, 2, row.content, row.slot, row.checksum))
        ids, features = store.sample(3)
        assert len(ids) == 3
        samples.append(features.tolist())
        store.close()
    assert samples[0] == samples[1]


def test_rows_are_those_of_the_matrix_even_where_images_are_gone_or_share_one(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1, 2, 3)
    with store.writing():
        fitted(store)
        two = store.find(path="2.jpg")
        assert two is not None
        with store.transaction() as changes:
            changes.delete([1])
            changes.put(two._replace(id=0, path="copy-of-2.jpg"))
        found = store.embeddings("one", never)
    assert [part.tolist() for part in found[:3]] == [[-1, 2, 3], [2, 3, 4], [1, 2, 1]]


# damage doesn't spread


def spoil(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_damaged_feature_is_not_made_into_embeddings_nor_fitted_on(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1, 2)
    spoil(matrix(folder), 9)
    with pytest.raises(GalleryError, match="damaged"):
        store.sample(9)
    with store.writing():
        with pytest.raises(GalleryError, match=r"damaged: the feature of 2\.jpg"):
            fitted(store)
        assert store.generation() is None
        with store.transaction() as changes:  # a hole may hold anything
            changes.delete([2])
        add(store, 3)
        fitted(store)
    assert embedded(store) == {"1.jpg": 2, "3.jpg": 6}
    store.close()


def test_nothing_is_appended_to_a_matrix_that_has_lost_rows(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1, 2)
    os.truncate(matrix(folder), 8)
    with pytest.raises(GalleryError, match=r"features-1\.f16 holds 1 rows of 2"):
        add(store, 3)
    matrix(folder).unlink()
    with pytest.raises(GalleryError, match="holds 0 rows of 2"):
        add(store, 3)
    assert not list(folder.glob("features-*"))
    assert len(store) == 2
    store.close()


def test_embeddings_that_were_lost_are_not_taken_for_zeros(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1, 2)
    with store.writing():
        fitted(store)
    os.truncate(folder / "embeddings-1-two.f16", 4)
    add(store, 3)
    with store.writing(), pytest.raises(GalleryError, match=r"embeddings-1-two\.f16 has 4 bytes.*counts on 8"):
        store.extend_generation(twice)
    store.close()


def test_compaction_gives_no_damaged_row_a_new_checksum(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("congener.store._COMPACT_BYTES", 0)
    store = Store.create(folder, ENCODER)
    add(store, *range(1, 8))
    with store.transaction() as changes:
        changes.delete([1, 2, 3, 5])
    store.connection.execute("UPDATE images SET size = 77 WHERE id = 6")
    with pytest.raises(GalleryError, match="row 6 is not the one that was written"):
        store.compact()
    assert contents_of_slots(store) == [(4, 3), (6, 5), (7, 6)]
    store.close()


def contents_of_slots(store: Store) -> list[tuple[int, int]]:
    return store.connection.execute("SELECT id, slot FROM images ORDER BY id").fetchall()


# what a hit is held against


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("features-1.f16", "feature of 2.jpg"),
        ("embeddings-1-one.f16", "embedding of 2.jpg"),
        ("embeddings-1-two.f16.crc", "embedding of 2.jpg"),
    ],
)
def test_a_hit_is_held_against_all_its_checksums(folder: Path, file: str, message: str) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1, 2)
    with store.writing():
        fitted(store)
    add(store, 3)  # without an embedding yet
    for id in (1, 2, 3):
        assert store.verified([id]).get(id) == store.find(id=id)
    assert store.verified([4]) == {}
    store.close()
    spoil(folder / file, (folder / file).stat().st_size // 2 if file.startswith("emb") else 9)
    again = Store.open(folder)
    assert again.verified([1]).get(1) == again.find(id=1)
    with pytest.raises(GalleryError, match=message):
        again.verified([2])
    assert again.verified([3]).get(3) == again.find(id=3)
    again.close()


def test_a_hit_is_found_again_where_another_process_has_moved_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("congener.store._COMPACT_BYTES", 0)
    store, reader = Store.create(folder, ENCODER), Store.open(folder)
    add(store, *range(1, 8))
    with store.writing():
        fitted(store)
        old = reader.find(id=7)
        assert old is not None
        assert reader.verified([7]) == {7: old}
        with store.transaction() as changes:
            changes.delete([1, 2, 3, 5])
        assert store.compact()
        assert reader.verified([7]) == {7: old._replace(slot=2)}
        assert reader.feature(old).tolist() == [7] * 4
        store.extend_generation(twice)
    assert reader.verified([7]) == {7: old._replace(slot=2)}
    store.close()
    reader.close()


READS: dict[str, Callable[[Store, Row], object]] = {
    "features": lambda store, _: store.features()[1].tolist(),
    "feature": lambda store, row: store.feature(row).tolist(),
    "embeddings": lambda store, _: embedded(store),
    "verified": lambda store, row: store.verified([row.id])[row.id].path,
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_files_that_a_writer_replaces_while_they_are_opened_are_not_called_damaged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Store, Row], object]
) -> None:
    """Where a reader has seen which files are in use, and finds them gone."""
    monkeypatch.setattr("congener.store._COMPACT_BYTES", 0)
    store, reader = Store.create(folder, ENCODER), Store.open(folder)
    add(store, *range(1, 8))
    with store.writing():
        fitted(store)
        with store.transaction() as changes:
            changes.delete([1, 2, 3, 5])
        row = reader.find(id=7)
        assert row is not None
        expected = read(reader, row)

        def compacted() -> None:
            assert store.compact()
            store.extend_generation(twice)

        turns: list[Callable[[], None]] = [compacted, lambda: fitted(store, "second")]

        def opened_late(*values: Any) -> Any:
            if turns:
                turns.pop(0)()
            return map_matrix(*values)

        for module in ("store", "catalogue"):
            monkeypatch.setattr(f"congener.{module}.map_matrix", opened_late)
        late = Store.open(folder, trusting=True)
        assert read(late, row) == expected
        assert len(turns) < 2
    for each in (store, reader, late):
        each.close()


def test_a_row_without_the_time_of_its_change_and_its_inode_is_of_any_file() -> None:
    assert is_same(Row(1, "a.jpg", 3, 4, b"", 0, 0), Stamp(3, 4, 5, 6))


@pytest.mark.parametrize("size", [0, 7, 2**20 + 7])
def test_the_sum_of_a_file_is_its_crc_32(tmp_path: Path, size: int) -> None:
    """It is kept in galleries: another would call their graphs damaged."""
    content = np.random.default_rng(1).bytes(size)
    (tmp_path / "file").write_bytes(content)
    assert file_sum(tmp_path / "file") == zlib.crc32(content)


def test_images_that_are_written_anew_stay_and_those_left_out_are_counted(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1, 2, 3)
    kept: Callable[[tuple[Any, ...]], tuple[Any, ...] | None]
    for count, kept in ((0, lambda values: values), (1, lambda values: None if values[1] == b"2.jpg" else values)):
        with store.transaction():
            assert rewrite_images(store.connection, f"{COLUMNS}, sum", kept) == count
    assert contents(store) == {"1.jpg": 1, "3.jpg": 3}
    store.close()


def test_a_small_catalogue_is_looked_at_as_a_whole_unless_it_is_trusted(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1, 2)
    store.close()
    with (folder / "catalogue.sqlite").open("rb+") as file:
        file.seek(36)  # the number of unused pages: there are none
        file.write(bytes([0, 0, 0, 5]))
    Store.open(folder, trusting=True).close()
    with pytest.raises(GalleryError, match="damaged: in its catalogue"):
        Store.open(folder)


@pytest.mark.parametrize(
    "read",
    [
        embedded,
        lambda reader: reader.verified([1])[1].path,
        contents,
        lambda reader: reader.feature(reader.find(id=1)).tolist(),
        lambda reader: reader.sample(9)[1].tolist(),
    ],
    ids=["embeddings", "verified", "features", "feature", "sample"],
)
def test_files_are_read_though_they_are_replaced_each_time_that_they_are_about_to_be(
    folder: Path, monkeypatch: pytest.MonkeyPatch, read: Callable[[Store], object]
) -> None:
    """As by updates in quick succession: what is gone by then was the last state's, and nothing is damaged."""
    monkeypatch.setattr("congener.store._COMPACT_BYTES", 0)
    monkeypatch.setattr(Store, "_draw_in_log", lambda _: None)  # which waits a second for readers
    store, reader = Store.create(folder, ENCODER), Store.open(folder)
    add(store, 1, 2)
    with store.writing():
        fitted(store)
    with closing(Store.open(folder)) as early:
        before, left = read(early), [5]

    def beside_a_writer(path: Path, *rest: object) -> object:
        if left[0] and threading.current_thread() is asking:
            left[0] -= 1
            with ThreadPoolExecutor(1) as pool:
                pool.submit(overtake).result(30)
        return map_matrix(path, *rest)  # type: ignore[arg-type]

    def overtake() -> None:
        with closing(Store.open(folder)) as other, other.writing():
            add(other, 3, 4, 5)  # holes, which make compaction due
            with other.transaction() as changes:
                changes.delete([row.id for row in other.rows() if row.id > 2])
            other.compact()
            fitted(other)

    asking = threading.current_thread()
    for module in ("store", "catalogue"):
        monkeypatch.setattr(f"congener.{module}.map_matrix", beside_a_writer)
    assert read(reader) == before
    assert left == [0]
    store.close()
    reader.close()


def test_a_file_that_is_gone_for_good_is_told_at_once(folder: Path) -> None:
    store = Store.create(folder, ENCODER)
    add(store, 1)
    with store.writing():
        fitted(store)
    (folder / "embeddings-1-two.f16").unlink()
    started = time.monotonic()
    with pytest.raises(GalleryError, match=r"embeddings-1-two.f16 is missing"):
        store.embeddings("two", never)
    assert time.monotonic() - started < 5
    store.close()


@pytest.mark.parametrize(("free", "is_full"), [(0, True), (2**30, False), (None, False)])
def test_an_i_o_error_is_a_matter_of_room_only_where_there_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int | None, is_full: bool
) -> None:
    def usage(_: Path) -> SimpleNamespace:
        if free is None:
            raise OSError(5, "Input/output error")
        return SimpleNamespace(free=free)

    monkeypatch.setattr("congener.disk.shutil.disk_usage", usage)
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_SHMSIZE
    with pytest.raises(GalleryError) as raised, explained(tmp_path):
        raise error
    assert ("make room" in str(raised.value)) is is_full
