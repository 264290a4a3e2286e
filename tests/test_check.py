"""`check` finds what isn't as it was written; `--repair` and the next update bring everything back."""

import ast
import hashlib
import io
import json
import os
import pickle
import shutil
import sqlite3
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import congener
from congener import Gallery
from congener.check import CheckReport, check
from congener.disk import row_sums
from congener.encoders import Identity
from congener.encoders.checkpoint import read_checkpoint
from congener.errors import EncoderError, GalleryBusyError, GalleryError
from congener.examination import Examination
from congener.schema import COLUMNS, fitted_sum, image_sum, put_fact
from congener.store import Store

from .conftest import MeanColour, plain, write
from .test_cli import Run, run

__all__ = ["run"]  # a fixture

COLOURS = {
    "warm/red.png": (255, 0, 0),
    "warm/orange.png": (255, 128, 0),
    "cold/blue.png": (0, 0, 255),
    "cold/cyan.png": (0, 255, 255),
    "green.png": (0, 255, 0),
}
QUERY = plain((250, 60, 10))
Spoil = Callable[[Path], object]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An indexed folder of five colours, with an approximate index."""
    folder = tmp_path_factory.mktemp("template") / "colours"
    for name, colour in COLOURS.items():
        write(folder / name, colour)
    with Gallery(folder, encoder=MeanColour()) as gallery:
        gallery.update(exclude=["*.gif"], index="approximate")
    return folder


@pytest.fixture
def colours(template: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(template, tmp_path / "colours"))


@pytest.fixture
def store(colours: Path) -> Path:
    """Its store."""
    return colours / ".congener"


def checked(store: Path, **options: Any) -> CheckReport:
    return check(store, encoder=MeanColour(), **options)


def found(report: CheckReport) -> list[str]:
    return sorted({finding.what for finding in report.findings})


def unstamped(place: Path, path: str) -> None:
    """Have a gallery forget the ctime and inode of an image."""
    with closing(Store.open(place)) as store, store.transaction() as changes:
        row = store.find(path=path)
        assert row is not None
        changes.put(row._replace(ctime_ns=0, inode=0))


def answer(folder: Path) -> list[tuple[str, float]]:
    with Gallery(folder, encoder=MeanColour()) as gallery:
        return [(hit.path, hit.score) for hit in gallery.search(QUERY, 20)]


def the(store: Path, glob: str) -> Path:
    (path,) = store.glob(glob)
    return path


def flip(store: Path, glob: str, at: int) -> None:
    path = the(store, glob)
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def sql(store: Path, *statements: str) -> None:
    with closing(sqlite3.connect(store / "catalogue.sqlite", isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def test_a_sound_gallery_is_told_so_with_counts_that_add_up(store: Path, colours: Path) -> None:
    shutil.copy(colours / "green.png", colours / "copy.png")
    with Gallery(colours, encoder=MeanColour()) as gallery:
        gallery.update()
    report = checked(store)
    assert report.sound
    assert not report.findings
    assert not report.unused
    assert (report.images, report.features, report.embeddings, report.waiting) == (6, 5, {"blend": 5}, 0)
    assert report.graph == 5
    assert json.loads(json.dumps(report.as_dict()))["sound"] is True


def other_embedding(store: Path, kinds: Sequence[str] = ("f16", "i8")) -> None:
    """An embedding that has its checksum, but isn't what its feature gives."""
    for kind in kinds:
        dtype = np.dtype(np.float16 if kind == "f16" else np.int8)
        path = the(store, f"embeddings-*.{kind}")
        rows = np.fromfile(path, dtype).reshape(5, -1)
        rows[2] = rows[1]
        path.write_bytes(rows.tobytes())
        the(store, f"embeddings-*.{kind}.crc").write_bytes(row_sums(rows).tobytes())


def another_path(catalogue: Path) -> None:
    """A path that has become that of another image, which the index doesn't know of."""
    data = catalogue.read_bytes()
    for at in range(len(data)):
        if data.startswith(b"cold/cyan.png", at):  # in the table, or in its index
            catalogue.write_bytes(data[:at] + b"cold/blue.png" + data[at + 13 :])
            with closing(sqlite3.connect(catalogue)) as db:
                paths = [path for (path,) in db.execute("SELECT path FROM images NOT INDEXED")]
            if paths.count(b"cold/blue.png") == 2:
                return
    raise AssertionError("not found")


def loses_images(store: Path) -> None:
    for path in store.glob("features-*"):
        path.unlink()


DAMAGE: dict[str, tuple[str, Spoil]] = {
    "path": ("image", lambda s: sql(s, "UPDATE images SET path = CAST('warm/rod.png' AS BLOB) WHERE id = 5")),
    "path of another": ("image", lambda s: another_path(s / "catalogue.sqlite")),
    "slot": ("image", lambda s: sql(s, "UPDATE images SET slot = 1 WHERE id = 5")),
    "slot beyond": ("image", lambda s: sql(s, "UPDATE images SET slot = 1 << 40 WHERE id = 5")),
    "slot below": ("image", lambda s: sql(s, "UPDATE images SET slot = -3 WHERE id = 5")),
    "slot of text": ("image", lambda s: sql(s, "UPDATE images SET slot = 'x' WHERE id = 5")),
    "content": ("image", lambda s: sql(s, "UPDATE images SET content = x'00' WHERE id = 2")),
    "size": ("image", lambda s: sql(s, "UPDATE images SET size = size + 1 WHERE id = 2")),
    "id": ("image", lambda s: sql(s, "UPDATE images SET id = 77 WHERE id = 2")),
    "feature": ("feature", lambda s: flip(s, "features-*", 7)),
    "torn features": ("feature", lambda s: os.truncate(the(s, "features-*"), 21)),
    "no features": ("feature", loses_images),
    "embedding": ("embeddings", lambda s: flip(s, "embeddings-*.f16", 8)),
    "packed": ("embeddings", lambda s: flip(s, "embeddings-*.i8", 8)),
    "checksum": ("embeddings", lambda s: flip(s, "embeddings-*.i8.crc", 8)),
    "torn embeddings": ("embeddings", lambda s: os.truncate(the(s, "embeddings-*.f16"), 21)),
    "no embeddings": ("embeddings", lambda s: the(s, "embeddings-*.i8").unlink()),
    "other embedding": ("embeddings", other_embedding),
    "other bytes": ("embeddings", lambda s: other_embedding(s, ["i8"])),
    "array": ("fitted", lambda s: sql(s, "UPDATE fitted SET value = zeroblob(length(value)) WHERE name = 'mean'")),
    "no array": ("fitted", lambda s: sql(s, "DELETE FROM fitted WHERE name = 'mean'")),
    "generation": ("fact", lambda s: sql(s, "UPDATE meta SET value = replace(value, '5', '4') WHERE key='generation'")),
    "no generation": ("fact", lambda s: sql(s, "DELETE FROM meta WHERE key = 'generation'")),
    "other key": ("fact", lambda s: sql(s, "UPDATE meta SET key = 'generatiom' WHERE key = 'generation'")),
    "matrix": ("fact", lambda s: sql(s, "UPDATE meta SET value = '2' WHERE key = 'matrix'")),
    "changed": ("fact", lambda s: sql(s, "UPDATE meta SET value = 'x' WHERE key = 'changed'")),
    "graph": ("graph", lambda s: flip(s, "graph-*", 99)),
}


NOT_SEEN = {"graph", "other embedding", "other bytes", "changed"}
"""By a search: it does without the first, and the last isn't its concern; the others would take fresh embeddings."""


@pytest.mark.parametrize("damage", DAMAGE)
def test_damage_is_found_refused_mended_and_made_good_by_the_next_update(
    store: Path, colours: Path, damage: str
) -> None:
    before = answer(colours)
    what, spoil = DAMAGE[damage]
    spoil(store)
    report = checked(store)
    assert what in found(report)
    assert not report.sound
    if damage not in NOT_SEEN:
        with pytest.raises(GalleryError, match=r"damaged|no sound gallery|can't use"):
            answer(colours)
    files = {path.name: path.read_bytes() for path in store.glob("*-*") if path.suffix not in {"-shm", "-wal"}}
    assert found(checked(store)) == found(report)  # to look changes nothing
    assert files == {name: (store / name).read_bytes() for name in files}
    mended = checked(store, repair=True)
    assert mended.sound, mended.findings
    assert what in found(mended)
    again = checked(store, repair=True)
    assert not again.findings
    assert not again.unused
    assert {path for path, _ in answer(colours)} <= {path for path, _ in before}
    with Gallery(colours, encoder=MeanColour()) as gallery:
        gallery.update()
    assert dict(answer(colours)) == pytest.approx(dict(before), abs=2e-3)
    assert checked(store).sound


def test_a_dropped_image_is_named_and_read_again(store: Path, colours: Path) -> None:
    flip(store, "features-*", 7)
    (finding,) = checked(store, repair=True).findings
    assert (finding.where, finding.mended) == ("cold/cyan.png", True)
    with Gallery(colours, encoder=MeanColour()) as gallery:
        assert len(gallery) == 4
        report = gallery.update()
        assert (report.indexed, report.unchanged) == (1, 4)


def test_new_images_never_get_the_embeddings_of_lost_ones(store: Path, colours: Path) -> None:
    os.truncate(the(store, "features-*"), 3 * 6)
    write(colours / "white.png", "white")
    with Gallery(colours, encoder=MeanColour()) as gallery, pytest.raises(GalleryError, match="damaged"):
        gallery.update()
    assert checked(store, repair=True).sound
    with Gallery(colours, encoder=MeanColour()) as gallery:
        gallery.update()
        assert gallery.search(plain("white"), 1)[0].path == "white.png"
    assert checked(store).sound


def test_damage_of_several_kinds_at_once_is_mended(store: Path, colours: Path) -> None:
    before = answer(colours)
    for damage in ("changed", "path", "feature", "packed", "array", "graph"):
        DAMAGE[damage][1](store)
    report = checked(store, repair=True)
    assert report.sound, report.findings
    assert set(found(report)) >= {"fact", "image", "feature", "fitted"}
    with Gallery(colours, encoder=MeanColour()) as gallery:
        assert gallery.update().images == 5
    assert dict(answer(colours)) == pytest.approx(dict(before), abs=2e-3)


def test_all_of_a_graph_is_looked_at(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = the(store, "graph-*")
    flip(store, "graph-*", path.stat().st_size // 2)
    written = int.from_bytes(path.read_bytes()[-4:], "little")
    monkeypatch.setattr("congener.indexes.approximate._sum", lambda mapped: written)  # as where it samples other pages
    assert found(checked(store)) == ["graph"]


def test_in_a_small_gallery_no_hit_is_missing_for_its_damage(store: Path, colours: Path) -> None:
    path = the(store, "embeddings-*.f16")
    rows = np.fromfile(path, np.float16).reshape(5, 3)
    with Gallery(colours, encoder=MeanColour()) as gallery:
        best = gallery.search(QUERY, 1)[0]
        row = gallery.find(best.id)
    assert row is not None
    rows[row.slot] *= -1
    path.write_bytes(rows.tobytes())
    with pytest.raises(GalleryError, match="damaged"), Gallery(colours, encoder=MeanColour()) as gallery:
        gallery.search(QUERY, 1)


# bad state: what no repair can make a gallery of


def another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE images (id INTEGER)")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        put_fact(db, "format", 99)


BAD: dict[str, tuple[str, Spoil]] = {
    "garbage": ("no sound gallery", lambda path: path.write_bytes(b"garbage" * 1000)),
    "empty": ("no sound gallery", lambda path: path.write_bytes(b"")),
    "cut": ("no sound gallery|damaged", lambda path: os.truncate(path, 5000)),
    "another program's": ("no sound gallery", another_program),
    "a pickle": ("no sound gallery", lambda path: path.write_bytes(pickle.dumps({"format": 4}))),
    "no encoder": ("encoder", lambda path: sql(path.parent, "DELETE FROM meta WHERE key = 'encoder'")),
    "other tables": ("tables", lambda path: sql(path.parent, "ALTER TABLE images ADD COLUMN more TEXT")),
}


@pytest.mark.parametrize("state", BAD)
def test_what_is_no_gallery_is_refused_and_left_as_it_is(store: Path, colours: Path, state: str) -> None:
    message, spoil = BAD[state]
    catalogue = store / "catalogue.sqlite"
    spoil(catalogue)
    before = {path: path.read_bytes() for path in store.iterdir()}
    with pytest.raises(GalleryError, match=message) as refused:
        answer(colours)
    assert "\n" not in str(refused.value)
    report = checked(store, repair=True)
    assert not report.sound
    assert "delete the folder" in report.findings[0].remedy
    assert {path: path.read_bytes() for path in before} == before


def test_a_newer_gallery_is_not_called_damaged(store: Path, colours: Path) -> None:
    newer(store / "catalogue.sqlite")
    before = {path: path.read_bytes() for path in store.iterdir()}
    for ask in (lambda: answer(colours), lambda: checked(store, repair=True)):
        with pytest.raises(GalleryError, match=r"format 99.*update congener") as refused:
            ask()
        assert "delete" not in str(refused.value)
    assert {path: path.read_bytes() for path in before} == before


def test_a_catalogue_that_is_gone_while_other_files_are_there_is_told(store: Path) -> None:
    (store / "catalogue.sqlite").unlink()
    (finding,) = checked(store, repair=True).findings
    assert (finding.what, finding.problem) == ("catalogue", "there is none")
    assert the(store, "features-*").exists()


def test_no_advice_to_delete_follows_where_other_things_lie(store: Path, tmp_path: Path) -> None:
    (store / "catalogue.sqlite").write_bytes(b"garbage" * 1000)
    (finding,) = checked(store).findings
    assert f"delete the folder {store}" in finding.remedy
    (store / "holiday.jpg").write_bytes(b"mine")
    (finding,) = checked(store).findings
    assert finding.remedy == "keep another gallery with --gallery PATH"
    (store / "catalogue.sqlite").unlink()
    assert "delete" not in checked(store).findings[0].remedy
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/holiday.jpg").write_bytes(b"mine")
    with pytest.raises(GalleryError, match="there is no gallery"):
        checked(tmp_path / "mine")


def test_what_keeps_a_check_from_looking_is_not_called_damage(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = Examination.report

    def interrupted(self: Examination) -> CheckReport:
        self._store.connection.set_progress_handler(lambda: 1, 1)
        return looked(self)

    monkeypatch.setattr(Examination, "report", interrupted)
    with pytest.raises(GalleryError, match=r"can't use the gallery.*interrupted") as said:
        checked(store)
    assert "delete" not in str(said.value)


def test_a_folder_in_a_files_place_is_told(store: Path, colours: Path) -> None:
    path = the(store, "embeddings-*.f16")
    path.unlink()
    path.mkdir()
    with pytest.raises(GalleryError, match="can't use the gallery"):
        answer(colours)
    assert found(checked(store)) == ["embeddings"]


def test_a_lock_that_is_none_is_told_and_what_to_do(store: Path, colours: Path) -> None:
    (store / "lock").write_bytes(b"garbage" * 100)
    with Gallery(colours, encoder=MeanColour()) as gallery, pytest.raises(GalleryError, match="move that file away"):
        gallery.update()


def test_where_there_is_no_gallery_or_another_encoder_is_given_it_is_refused(store: Path, tmp_path: Path) -> None:
    with pytest.raises(GalleryError, match="congener index FOLDER"):
        check(tmp_path / "nowhere")

    class Other(MeanColour):
        identity = Identity("other-net", "f" * 64, "none", "float32", 3)

    with pytest.raises(GalleryError, match=r"mean-colour.*other-net"):
        check(store, encoder=Other())


def test_it_waits_for_no_writer(store: Path) -> None:
    with closing(Store.open(store)) as other, other.writing(), pytest.raises(GalleryBusyError):
        checked(store)


def test_the_rest_of_an_interrupted_run_is_no_damage_and_cleared_away(store: Path, colours: Path) -> None:
    with closing(Store.open(store)) as opened:
        opened.claim(store / "embeddings-9-blend.f16")
    (store / "embeddings-9-blend.f16").write_bytes(b"rest")
    with the(store, "features-*").open("ab") as file:
        file.write(b"torn")
    report = checked(store)
    assert report.sound
    assert report.unused == ("embeddings-9-blend.f16", "4 bytes of a torn row at the end of the features")
    before = answer(colours)
    assert checked(store, repair=True).unused == ()
    assert the(store, "features-*").stat().st_size == 5 * 6
    assert answer(colours) == before


# readers and a repair


def test_a_reader_goes_on_while_embeddings_are_made_again(store: Path, colours: Path) -> None:
    with Gallery(colours, encoder=MeanColour()) as reader:
        before = list(reader.search(QUERY, 5))
        held = reader.vectors(reader.lens()).matrix
        values = held.tolist()
        flip(store, "embeddings-*.i8", 8)
        assert checked(store, repair=True).sound
        assert held.tolist() == values  # what it has mapped is still there
        assert list(reader.search(QUERY, 5)) == before
    assert {path.name for path in store.glob("embeddings-*")} == {
        f"embeddings-2-blend.{end}" for end in ("f16", "f16.crc", "i8", "i8.crc")
    }


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_tail_may_be_cut_off_under_a_reader(store: Path, encoder: MeanColour) -> None:
    """Where a map reached into what is cut, reading it would end the process (SIGBUS)."""
    path = the(store, "embeddings-*.f16")
    with path.open("ab") as file:  # an interrupted run wrote on, and committed nothing
        file.write(bytes(100_000))
    with closing(Store.open(store)) as reader:
        found = reader.embeddings("blend", lambda features: {})
        os.truncate(path, 5 * 6)  # what the next run does first
        assert found.matrix.sum() == pytest.approx(np.fromfile(path, np.float16).sum(), abs=1e-3)
        assert found.matrix.shape == (5, 3)


# pictures


def test_pictures_are_read_again_if_asked_to(store: Path, colours: Path) -> None:
    report = checked(store, folder=colours)
    assert (report.pictures, report.changed, report.findings) == (5, 0, ())
    (colours / "warm/red.png").unlink()
    os.utime(colours / "warm/orange.png", (1, 1))
    green = colours / "green.png"
    status = green.stat()
    swapped = bytearray(green.read_bytes())
    swapped[-1] ^= 1
    green.write_bytes(swapped)
    os.utime(green, ns=(status.st_atime_ns, status.st_mtime_ns))
    report = checked(store, folder=colours)  # its ctime tells
    assert (report.pictures, report.changed, report.findings) == (5, 3, ())
    unstamped(store, "green.png")  # as where a disk fails, which leaves the ctime as it was
    report = checked(store, folder=colours, repair=True)
    assert (report.pictures, report.changed) == (4, 2)
    (finding,) = report.findings
    assert (finding.what, finding.where, finding.mended) == ("picture", "green.png", True)
    assert "same size and times" in finding.problem


def test_a_feature_that_its_picture_does_not_give_is_found(
    store: Path, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = MeanColour.encode

    def other(self: MeanColour, pixels: Any) -> Any:
        return encode(self, 255 - pixels)

    monkeypatch.setattr(MeanColour, "encode", other)
    assert {finding.what for finding in checked(store, folder=colours).findings} == {"picture"}


# the command line


def test_the_command_tells_by_its_exit_code_and_in_json(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    write(folder / "red.png", "red")
    write(folder / "blue.png", "blue")
    assert run("check", folder).code == 2
    run("index", folder)
    done = run("check", folder)
    assert (done.code, done.lines[-1]) == (0, "nothing is wrong")
    flip(folder / ".congener", "features-*", 1)
    done = run("check", folder, "--json")
    assert (done.code, done.json["sound"], done.json["findings"][0]["where"]) == (1, False, "blue.png")
    assert "blue.png" in run("check", folder).lines[-1]
    done = run("check", folder, "--repair")
    assert (done.code, "mended" in done.lines[-1]) == (0, True)
    assert run("index", folder, "--json").json["indexed"] == 1
    assert run("check", folder, "--images", "--json").json["pictures"] == 2


# the log


def test_the_log_is_drawn_in_after_each_run_though_readers_are_there(store: Path, colours: Path) -> None:
    with Gallery(colours, encoder=MeanColour()) as reader, Gallery(colours, encoder=MeanColour()) as writer:
        reader.search(QUERY, 5)
        write(colours / "white.png", "white")
        writer.update()
        assert (store / "catalogue.sqlite-wal").stat().st_size == 0
        assert reader.search(plain("white"), 1)[0].path == "white.png"


# galleries of older formats


@pytest.fixture(params=[1, 2, 3])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A gallery as an older version left it: eleven colours, two of them equal, one image gone."""
    folder = tmp_path / "older"
    with zipfile.ZipFile(Path(__file__).parent / f"data/format-{request.param}.zip") as stored:
        stored.extractall(folder)
    for path in folder.rglob("*.png"):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return folder


def test_a_gallery_of_an_older_format_is_brought_to_this_one(older: Path) -> None:
    assert checked(older / ".congener", folder=older).findings == ()
    with Gallery(older, encoder=MeanColour()) as gallery:
        first = gallery.search(older / "warm/red.png", 1)
        assert first[0].path in {"warm/scarlet.png", "warm/gold.png"}  # a copy; adapted, any of its label
        assert first[0].score == pytest.approx(1, abs=1e-3)
        assert (gallery.info().format, gallery.excluded) == (4, ["*.gif"])
        report = gallery.update()
        assert (report.unchanged, report.images) == (11, 11)
        nearest = [hit.path for hit in gallery.search(older / "warm/red.png", 3, adapted=False)]
        assert nearest == ["warm/scarlet.png", "warm/maroon.png", "warm/orange.png"]
    after = checked(older / ".congener", folder=older)
    assert after.findings == ()
    assert (after.images, after.features, after.embeddings["blend"], after.pictures) == (11, 10, 10, 11)


@pytest.mark.parametrize("older", [3], indirect=True)
def test_what_is_damaged_before_a_migration_is_known_to_be_afterwards(older: Path) -> None:
    with closing(sqlite3.connect(older / ".congener/catalogue.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE images SET path = ? WHERE path = ?", (b"green.pnG", b"green.png"))
        db.execute("UPDATE meta SET value = '[]' WHERE key = 'exclude'")
    assert found(checked(older / ".congener")) == ["fact", "image"]


@pytest.mark.parametrize("older", [3], indirect=True)
def test_a_migrated_gallery_knows_its_own_files(older: Path) -> None:
    place = older / ".congener"
    with closing(Store.open(place)) as store:
        names = {name for (name,) in store.connection.execute("SELECT name FROM files")}
        assert names == {path.name for path in place.iterdir() if path.suffix in {".f16", ".i8", ".crc"}}


def test_a_migrated_gallery_is_as_a_new_one(older: Path, encoder: MeanColour, tmp_path: Path) -> None:
    with closing(Store.open(older / ".congener")) as store, store.transaction() as changes:
        row = next(store.rows())
        changes.delete([max(each.id for each in store.rows())])
        changes.put(row._replace(id=0, path="new.png"))
        new = store.find(path="new.png")
        assert new is not None
        assert new.id == 13  # no id is given twice
    assert checked(older / ".congener").findings == ()


def test_a_gallery_of_an_older_format_that_cannot_be_written_is_told(
    older: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(GalleryError, match=r"format [123] and can't be written"):
        Gallery(older, encoder=MeanColour())


# nothing let in


class Harm:
    """Unpickled, it runs code."""

    def __reduce__(self) -> Any:
        return os.mkdir, (str(PWNED),)


PWNED = Path("harm-was-done")


@pytest.fixture
def harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[bytes]:
    monkeypatch.chdir(tmp_path)
    yield pickle.dumps(Harm())
    assert not PWNED.exists()


def test_nothing_in_the_package_reads_pickles_or_runs_text_but_what_may() -> None:
    allowed = {
        "encoders/checkpoint.py": {"pickle"},  # four names, after the file's hash was checked
        "workers.py": {"pickle"},  # from the process to its workers
        "child.py": {"pickle"},
    }
    root = Path(congener.__file__).parent
    modules = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "yaml", "code"}
    for path in root.rglob("*.py"):
        used = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                used |= {alias.name.split(".")[0] for alias in node.names} & modules
            elif isinstance(node, ast.ImportFrom) and node.module:
                used |= {node.module.split(".")[0]} & modules
            elif isinstance(node, ast.Call):
                name = node.func.id if isinstance(node.func, ast.Name) else ""
                used |= {name} & {"eval", "exec", "compile", "__import__"}
                used |= {"allow_pickle" for each in node.keywords if each.arg == "allow_pickle" and each.value.value}  # type: ignore[attr-defined]
        assert used <= allowed.get(path.relative_to(root).as_posix(), set()), path


def npy(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["pickle", "objects", "huge"])
def test_a_prepared_array_is_refused_though_its_checksum_is_right(
    store: Path, colours: Path, harm: bytes, kind: str
) -> None:
    value = {
        "pickle": harm,
        "objects": npy(np.array([Harm()])),
        "huge": npy(np.zeros(1)).replace(b"(1,)", b"(9" + b"9" * 14 + b",)"),
    }[kind]
    with closing(sqlite3.connect(store / "catalogue.sqlite", isolation_level=None)) as db:
        db.execute("UPDATE fitted SET value = ? WHERE name = 'mean'", (value,))
        (text,) = db.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
        total = fitted_sum(db.execute("SELECT name, value FROM fitted ORDER BY name"))
        put_fact(db, "generation", json.loads(text) | {"fitted": total})
    with pytest.raises(GalleryError, match="what was fitted"):
        answer(colours)
    assert found(checked(store)) == ["fitted"]


@pytest.mark.parametrize("glob", ["features-*", "embeddings-*.f16", "embeddings-*.crc", "graph-*", "catalogue.sqlite"])
def test_a_pickle_in_a_files_place_does_nothing(store: Path, colours: Path, harm: bytes, glob: str) -> None:
    before = answer(colours)
    for path in store.glob(glob):
        path.write_bytes(harm * (path.stat().st_size // len(harm) + 1))
    try:
        assert answer(colours) == before  # without its graph
    except GalleryError:
        assert glob != "graph-*"
    assert not checked(store).sound


def test_a_pickle_in_the_weights_place_does_nothing(harm: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(harm)
    with pytest.raises(EncoderError, match="SHA-256"):
        read_checkpoint(path, "0" * 64)
    with pytest.raises(EncoderError, match="refused"):
        read_checkpoint(path, hashlib.sha256(harm).hexdigest())


@pytest.mark.parametrize("path", ["/etc/passwd", "../secret.png", "warm/../../secret.png"])
def test_a_prepared_path_leads_nowhere_though_its_checksum_is_right(store: Path, colours: Path, path: str) -> None:
    with closing(sqlite3.connect(store / "catalogue.sqlite", isolation_level=None)) as db:
        row = db.execute(f"SELECT {COLUMNS} FROM images WHERE id = 5").fetchone()
        values = (row[0], path.encode(), *row[2:])
        db.execute("UPDATE images SET path = ?, sum = ? WHERE id = 5", (path.encode(), image_sum(*values)))
    with pytest.raises(GalleryError, match="damaged"):
        answer(colours)
    with Gallery(colours, encoder=MeanColour()) as gallery, pytest.raises(GalleryError, match="damaged"):
        gallery.file(5)
    assert found(checked(store)) == ["image"]


@pytest.mark.parametrize(
    "facts",
    [
        {"spaces": {"../../x": 3}},
        {"spaces": {"blend": "3"}},
        {"slots": -1},
        {"number": "../1"},
        {"spaces": []},
    ],
)
def test_a_prepared_generation_names_no_other_files(store: Path, colours: Path, facts: dict[str, Any]) -> None:
    with closing(sqlite3.connect(store / "catalogue.sqlite", isolation_level=None)) as db:
        (text,) = db.execute("SELECT value FROM meta WHERE key = 'generation'").fetchone()
        put_fact(db, "generation", json.loads(text) | facts)
    with pytest.raises(GalleryError, match="damaged"):
        answer(colours)
    assert found(checked(store)) == ["fact"]


def test_an_unreadable_file_is_told(store: Path, colours: Path) -> None:
    if sys.platform == "win32" or os.geteuid() == 0:
        pytest.skip("everything can be read here")
    the(store, "embeddings-*.f16").chmod(0)
    with pytest.raises(GalleryError, match="Permission denied"):
        answer(colours)


def test_the_checksum_of_rows_is_that_of_their_bytes() -> None:
    rows = np.arange(12, dtype=np.float16).reshape(3, 4)
    assert row_sums(rows).tolist() == [zlib.crc32(row.tobytes()) for row in rows]
